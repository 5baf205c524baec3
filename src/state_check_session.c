/* SPDX-License-Identifier: MIT */
/* What the edge has recorded: sessions, and what they were answered. */
#include <string.h>

#include "state_check_private.h"

static int state_compare_ids(const struct state_checking *c, uint32_t a, uint32_t b)
{
	const uint64_t ids[2] = {c->sessions[a].id, c->sessions[b].id};

	return (ids[0] > ids[1]) - (ids[0] < ids[1]);
}

/* The name of a set that is gone since is fine: names are never used again. */
int state_check_sessions(const struct state_checking *c)
{
	uint32_t live = 0, slot;

	for (uint32_t i = 0; i < c->used[STATE_SESSIONS]; i++) {
		const struct session_slot *session = &c->sessions[i];
		int r;

		if (session->word == 0)
			continue;
		r = state_check_state(c, STATE_SESSIONS, i, session->word, SESSION_LIVE);
		if (r != 0)
			return r;
		if (session->id == 0)
			return state_check_fail(c, STATE_SESSIONS, i, 0, "no session has the id 0");
		c->keys[live++] = i;
	}
	if (!state_check_differ(c, live, state_compare_ids, &slot))
		return state_check_fail(c, STATE_SESSIONS, slot, c->sessions[slot].id,
			"another session has the same id");
	return 0;
}

/* The slots that follow a reply's first one are as many as its bytes take, and its own. */
static int state_check_chain(const struct state_checking *c, uint32_t slot)
{
	const struct reply_slot *reply = &c->replies[slot];
	const uint64_t bytes = reply->word >> REPLY_BYTES_SHIFT;
	uint64_t more =
		bytes <= STATE_REPLY_FIRST
			? 0
			: (bytes - STATE_REPLY_FIRST + STATE_REPLY_MORE - 1) / STATE_REPLY_MORE;
	uint32_t next = reply->more;

	for (; more > 0; more--) {
		if (next >= c->used[STATE_REPLIES] ||
			STATE_WORD_STATE(c->replies[next].word) != REPLY_MORE)
			return state_check_fail(c, STATE_REPLIES, slot, next,
				"its %llu bytes go on in a slot that has none",
				(unsigned long long)bytes);
		if (state_test_and_set(c->bits, next))
			return state_check_fail(c, STATE_REPLIES, slot, next,
				"its bytes go on in a slot of another reply");
		next = c->replies[next].more;
	}
	if (next != STATE_NONE)
		return state_check_fail(c, STATE_REPLIES, slot, next,
			"it has more slots than its %llu bytes take", (unsigned long long)bytes);
	return 0;
}

static int state_check_reply(const struct state_checking *c, uint32_t slot)
{
	const struct reply_slot *reply = &c->replies[slot];
	int r = state_check_state(c, STATE_REPLIES, slot, reply->word, REPLY_MORE);

	if (r != 0 || STATE_WORD_STATE(reply->word) == REPLY_MORE)
		return r;
	if (reply->session >= c->used[STATE_SESSIONS] || c->sessions[reply->session].word == 0)
		return state_check_fail(c, STATE_REPLIES, slot, reply->session,
			"it is of a session that is not there");
	return state_check_chain(c, slot);
}

int state_check_replies(const struct state_checking *c)
{
	const uint32_t used = c->used[STATE_REPLIES];

	memset(c->bits, 0, (used + 63u) / 64 * sizeof(*c->bits));
	for (uint32_t i = 0; i < used; i++) {
		int r = c->replies[i].word == 0 ? 0 : state_check_reply(c, i);

		if (r != 0)
			return r;
	}
	for (uint32_t i = 0; i < used; i++)
		if (STATE_WORD_STATE(c->replies[i].word) == REPLY_MORE &&
			!state_test_and_set(c->bits, i))
			return state_check_fail(c, STATE_REPLIES, i, c->replies[i].word,
				"it goes on with a reply that is not there");
	return 0;
}
