/* SPDX-License-Identifier: MIT */
/* What the edge has recorded: sessions, and what they were answered. */
#include <string.h>

#include "state_check_private.h"

static int state_compare_ids(const struct state_checking *c, uint32_t a, uint32_t b)
{
	const uint64_t ids[2] = {c->sessions[a].id, c->sessions[b].id};

	return (ids[0] > ids[1]) - (ids[0] < ids[1]);
}

static int state_compare_replies(const struct state_checking *c, uint32_t a, uint32_t b)
{
	const uint64_t ids[2] = {c->replies[a].id, c->replies[b].id};

	return (ids[0] > ids[1]) - (ids[0] < ids[1]);
}

/* Slots below the mark in the host's record are all that a recovery reads, and it reserves them. */
static int state_check_mark(const struct state_checking *c, enum state_table table, uint64_t mark)
{
	if (mark > c->used[table])
		return state_check_fail(c, STATE_HOST, 0, mark,
			"more slots of %s were used than there are, %u", state_table_name(table),
			c->used[table]);
	return 0;
}

/* The name of a set that is gone since is fine: names are never used again. */
static int state_check_session(const struct state_checking *c, uint32_t slot)
{
	const struct session_slot *session = &c->sessions[slot];
	int r = state_check_state(c, STATE_SESSIONS, slot, session->word, SESSION_LIVE);

	if (r != 0)
		return r;
	if (slot >= c->host->session_slots)
		return state_check_fail(c, STATE_SESSIONS, slot, session->word,
			"it is in a slot that was never used, those are below %llu",
			(unsigned long long)c->host->session_slots);
	if (session->id == 0)
		return state_check_fail(c, STATE_SESSIONS, slot, 0, "no session has the id 0");
	if (session->id >= c->host->session)
		return state_check_fail(c, STATE_SESSIONS, slot, session->id,
			"its id was not given out, those are below %llu",
			(unsigned long long)c->host->session);
	return 0;
}

int state_check_sessions(const struct state_checking *c)
{
	uint32_t live = 0, slot;
	int r = state_check_mark(c, STATE_SESSIONS, c->host->session_slots);

	for (uint32_t i = 0; i < c->used[STATE_SESSIONS] && r == 0; i++) {
		if (c->sessions[i].word == 0)
			continue;
		r = state_check_session(c, i);
		c->keys[live++] = i;
	}
	if (r != 0)
		return r;
	if (!state_check_differ(c, c->keys, live, state_compare_ids, &slot))
		return state_check_fail(c, STATE_SESSIONS, slot, c->sessions[slot].id,
			"another session has the same id");
	return 0;
}

/* One of the slots that follow a reply's first one, for so many bytes. */
static int state_check_piece(
	const struct state_checking *c, uint32_t slot, uint32_t next, uint32_t bytes)
{
	const struct reply_slot *reply = &c->replies[slot], *piece = &c->replies[next];

	if (next >= c->used[STATE_REPLIES] || STATE_WORD_STATE(piece->word) != REPLY_MORE)
		return state_check_fail(c, STATE_REPLIES, slot, next,
			"its %u bytes go on in a slot that has none",
			(uint32_t)(reply->word >> REPLY_BYTES_SHIFT));
	if (state_test_and_set(c->bits, next))
		return state_check_fail(
			c, STATE_REPLIES, slot, next, "its bytes go on in a slot of another reply");
	if (piece->session != reply->session)
		return state_check_fail(c, STATE_REPLIES, next, piece->session,
			"the reply that goes on in it is of session slot %u", reply->session);
	if (piece->word >> REPLY_BYTES_SHIFT != bytes)
		return state_check_fail(c, STATE_REPLIES, next, piece->word,
			"%u bytes of a reply are in it", bytes);
	return 0;
}

/* The slots that follow a reply's first one are as many as its bytes take, and its own. */
static int state_check_chain(const struct state_checking *c, uint32_t slot)
{
	const struct reply_slot *reply = &c->replies[slot];
	const uint32_t bytes = (uint32_t)(reply->word >> REPLY_BYTES_SHIFT);
	uint32_t left = bytes <= STATE_REPLY_FIRST ? 0 : bytes - STATE_REPLY_FIRST;
	uint32_t next = reply->more;

	if (bytes > STATE_REPLY_MAX)
		return state_check_fail(c, STATE_REPLIES, slot, bytes,
			"a reply has at most %u bytes", STATE_REPLY_MAX);
	while (left > 0) {
		const uint32_t n = left < STATE_REPLY_MORE ? left : STATE_REPLY_MORE;
		int r = state_check_piece(c, slot, next, n);

		if (r != 0)
			return r;
		next = c->replies[next].more;
		left -= n;
	}
	if (next != STATE_NONE)
		return state_check_fail(c, STATE_REPLIES, slot, next,
			"it has more slots than its %u bytes take", bytes);
	return 0;
}

/* Where its next bytes are means nothing while it is under way: it is written before the word. */
static int state_check_reply(const struct state_checking *c, uint32_t slot)
{
	const struct reply_slot *reply = &c->replies[slot];
	const uint64_t bytes = reply->word >> REPLY_BYTES_SHIFT;
	int r = state_check_state(c, STATE_REPLIES, slot, reply->word, REPLY_MORE);

	if (r != 0)
		return r;
	if (slot >= c->host->reply_slots)
		return state_check_fail(c, STATE_REPLIES, slot, reply->word,
			"it is in a slot that was never used, those are below %llu",
			(unsigned long long)c->host->reply_slots);
	if (STATE_WORD_STATE(reply->word) == REPLY_MORE)
		return 0;
	if (reply->session >= c->used[STATE_SESSIONS] || c->sessions[reply->session].word == 0)
		return state_check_fail(c, STATE_REPLIES, slot, reply->session,
			"it is of a session that is not there");
	if (STATE_WORD_STATE(reply->word) == REPLY_FINAL)
		return state_check_chain(c, slot);
	return bytes == 0
		       ? 0
		       : state_check_fail(c, STATE_REPLIES, slot, reply->word,
				 "it is under way and has %llu bytes", (unsigned long long)bytes);
}

static bool state_begins_reply(const struct reply_slot *reply)
{
	return reply->word != 0 && STATE_WORD_STATE(reply->word) != REPLY_MORE;
}

/* Replies by session: c->keys has their slots, c->starts where those of each session end. */
static int state_sort_replies(const struct state_checking *c)
{
	uint32_t at = 0;

	memset(c->starts, 0, c->used[STATE_SESSIONS] * sizeof(*c->starts));
	for (uint32_t i = 0; i < c->used[STATE_REPLIES]; i++) {
		const uint32_t session = c->replies[i].session;

		if (state_begins_reply(&c->replies[i]) &&
			++c->starts[session] > STATE_SESSION_REPLIES)
			return state_check_fail(c, STATE_REPLIES, i, session,
				"session slot %u has more than %u replies", session,
				STATE_SESSION_REPLIES);
	}
	for (uint32_t s = 0; s < c->used[STATE_SESSIONS]; s++) {
		const uint32_t count = c->starts[s];

		c->starts[s] = at;
		at += count;
	}
	for (uint32_t i = 0; i < c->used[STATE_REPLIES]; i++)
		if (state_begins_reply(&c->replies[i]))
			c->keys[c->starts[c->replies[i].session]++] = i;
	return 0;
}

/* No two of a session have the same id, and no session has more than its window. */
static int state_check_windows(const struct state_checking *c)
{
	uint32_t first = 0, slot;
	int r = state_sort_replies(c);

	for (uint32_t s = 0; s < c->used[STATE_SESSIONS] && r == 0; s++) {
		if (!state_check_differ(
			    c, c->keys + first, c->starts[s] - first, state_compare_replies, &slot))
			r = state_check_fail(c, STATE_REPLIES, slot, c->replies[slot].id,
				"another reply of its session has the same id");
		first = c->starts[s];
	}
	return r;
}

int state_check_replies(const struct state_checking *c)
{
	const uint32_t used = c->used[STATE_REPLIES];
	int r = state_check_mark(c, STATE_REPLIES, c->host->reply_slots);

	memset(c->bits, 0, (used + 63u) / 64 * sizeof(*c->bits));
	for (uint32_t i = 0; i < used && r == 0; i++)
		r = c->replies[i].word == 0 ? 0 : state_check_reply(c, i);
	if (r != 0)
		return r;
	for (uint32_t i = 0; i < used; i++)
		if (STATE_WORD_STATE(c->replies[i].word) == REPLY_MORE &&
			!state_test_and_set(c->bits, i))
			return state_check_fail(c, STATE_REPLIES, i, c->replies[i].word,
				"it goes on with a reply that is not there");
	return state_check_windows(c);
}
