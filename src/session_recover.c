/* SPDX-License-Identifier: MIT */
/* Sessions and what they were answered, made anew of what an earlier run has recorded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

/* A reply that begins in this slot. */
struct recovered_reply {
	uint64_t id;
	uint32_t session, slot;
};

struct recovery {
	struct sessions *sessions;
	uint32_t session_count, reply_count; /* slots that may be in use */
	struct session **of_slot;
	struct recovered_reply *heads; /* by session, then by id */
	uint32_t head_count;
	uint32_t pieces,
		pieces_found; /* slots of longer replies: counted, and reached from heads */
};

static unsigned recovered_state(uint64_t word)
{
	return STATE_WORD_STATE(word);
}

/* ---------------------------------------------------------------- slots */

/* All slots of a table that may be in use can be written, and the free ones are known to be. */
static int recover_pool(
	struct sessions *sessions, struct session_pool *pool, size_t slot_size, uint32_t *ret_count)
{
	const struct state *state = sessions->config.state;
	const uint8_t *table = state->table[pool->table];
	const uint64_t mark = *pool->recorded;
	int r;

	if (mark > state->capacity[pool->table])
		return -EBADMSG;
	*ret_count = (uint32_t)mark;
	if (!mark)
		return 0;
	r = state_reserve(state, pool->table, (uint32_t)mark);
	if (r)
		return r;
	pool->stack = malloc((size_t)mark * sizeof(*pool->stack));
	if (!pool->stack)
		return -ENOMEM;
	pool->mark = pool->fresh = (uint32_t)mark;
	/* The first ones are taken first: what is used stays together. */
	for (uint64_t i = mark; i--;) {
		uint64_t word;

		memcpy(&word, table + i * slot_size, sizeof(word));
		if (!word)
			session_pool_give(pool, (uint32_t)i);
	}
	pool->usable = pool->top;
	return 0;
}

/* ---------------------------------------------------------------- sessions */

static int recover_peer(
	struct sessions *sessions, const struct session_slot *slot, struct peer **ret_peer)
{
	/* Its groups are learnt when it resumes; until then nobody acts for it. */
	const struct policy_peer who = {.uid = slot->uid};
	struct error error;
	struct peer *peer;

	if (peer_new(&who, slot->pid, slot->born, sessions->config.limits, &peer, &error))
		return -ENOMEM;
	if (peer_charge(peer, sessions->config.limits, slot->charged, &error)) {
		(void)peer_unref(peer, sessions->config.limits);
		return -ENOMEM;
	}
	*ret_peer = peer;
	return 0;
}

static int recover_session(struct recovery *recovery, uint32_t index)
{
	struct sessions *sessions = recovery->sessions;
	const struct session_slot *slot = &sessions->slots[index];
	struct session *session;
	struct peer *peer;
	int r;

	if (!slot->word)
		return 0;
	if (recovered_state(slot->word) != SESSION_LIVE || !slot->id ||
		slot->id >= sessions->host->session)
		return -EBADMSG;
	r = recover_peer(sessions, slot, &peer);
	if (r)
		return r;
	session = session_new(sessions, peer);
	(void)peer_unref(peer, sessions->config.limits);
	if (!session)
		return -ENOMEM;
	session->id = slot->id;
	session->slot = index;
	session->role = (enum role)(slot->word >> SESSION_WORD_ROLE & 0xf);
	session->handed = slot->word & SESSION_WORD_HANDED;
	session->set.v = slot->set;
	session->floor = slot->floor;
	session->newest_id = slot->floor ? slot->floor - 1 : 0;
	limits_charge_anyway(sessions->config.limits, NULL, session->user, RESOURCE_SESSIONS, 1);
	session_enter(sessions, session);
	recovery->of_slot[index] = session;
	return 0;
}

/* ---------------------------------------------------------------- replies */

/* The pieces of a longer one are there, and as long as it is. */
static int recover_pieces(struct recovery *recovery, const struct reply_slot *head)
{
	uint32_t left = session_word_size(head->word);
	const struct reply_slot *slot = head;

	if (left > SESSION_ROOM_MAX)
		return -EBADMSG;
	for (left -= left < STATE_REPLY_FIRST ? left : STATE_REPLY_FIRST; left;) {
		const uint32_t n = left < STATE_REPLY_MORE ? left : STATE_REPLY_MORE;

		if (slot->more >= recovery->reply_count)
			return -EBADMSG;
		slot = &recovery->sessions->replies[slot->more];
		if (recovered_state(slot->word) != REPLY_MORE ||
			session_word_size(slot->word) != n || slot->session != head->session)
			return -EBADMSG;
		recovery->pieces_found++;
		left -= n;
	}
	return 0;
}

static int recover_head(struct recovery *recovery, uint32_t index)
{
	const struct reply_slot *slot = &recovery->sessions->replies[index];

	if (slot->session >= recovery->session_count || !recovery->of_slot[slot->session])
		return -EBADMSG;
	recovery->heads[recovery->head_count++] =
		(struct recovered_reply){slot->id, slot->session, index};
	return recovered_state(slot->word) == REPLY_FINAL ? recover_pieces(recovery, slot) : 0;
}

static int recover_heads(struct recovery *recovery)
{
	int r = 0;

	for (uint32_t i = 0; i < recovery->reply_count && !r; i++) {
		switch (recovered_state(recovery->sessions->replies[i].word)) {
		case REPLY_FREE:
			break;
		case REPLY_UNDER_WAY:
		case REPLY_FINAL:
			r = recover_head(recovery, i);
			break;
		case REPLY_MORE:
			recovery->pieces++;
			break;
		default:
			r = -EBADMSG;
		}
	}
	/* None belongs to two replies, or to none. */
	if (!r && recovery->pieces != recovery->pieces_found)
		r = -EBADMSG;
	return r;
}

static int recovered_compare(const void *a, const void *b)
{
	const struct recovered_reply *left = a, *right = b;

	if (left->session != right->session)
		return left->session < right->session ? -1 : 1;
	if (left->id != right->id)
		return left->id < right->id ? -1 : 1;
	return 0;
}

static int recover_reply(struct recovery *recovery, const struct recovered_reply *head)
{
	struct sessions *sessions = recovery->sessions;
	const struct reply_slot *slot = &sessions->replies[head->slot];
	struct session *session = recovery->of_slot[head->session];
	struct remembered *last = TAILQ_LAST(&session->remembered, remembered_list);
	struct remembered *remembered;

	if ((last && last->id == head->id) || session->remembered_count == SESSION_WINDOW)
		return -EBADMSG;
	remembered = session_memory_add(sessions, session, slot->id, slot->digest);
	if (!remembered)
		return -ENOMEM;
	remembered->slot = head->slot;
	remembered->number = (uint16_t)(slot->word >> REPLY_WORD_NUMBER);
	remembered->final = recovered_state(slot->word) == REPLY_FINAL;
	remembered->interrupted = remembered->idle = !remembered->final;
	if (!remembered->final)
		return 0;
	remembered->had_fds = slot->word & REPLY_WORD_FDS;
	remembered->size = session_word_size(slot->word);
	session->weight += session_weight(remembered->size) - session_weight(0);
	session_count_reply(session, remembered->size);
	return 0;
}

static int recover_replies(struct recovery *recovery)
{
	int r;

	recovery->heads = calloc(recovery->reply_count + (size_t)1, sizeof(*recovery->heads));
	if (!recovery->heads)
		return -ENOMEM;
	r = recover_heads(recovery);
	if (r)
		return r;
	qsort(recovery->heads, recovery->head_count, sizeof(*recovery->heads), recovered_compare);
	for (uint32_t i = 0; i < recovery->head_count && !r; i++)
		r = recover_reply(recovery, &recovery->heads[i]);
	return r;
}

/* ---------------------------------------------------------------- all of it */

static void recover_charge(struct sessions *sessions, struct session *session)
{
	session->last_id = session->newest_id;
	session->charged = session_pieces(session->weight);
	if (session->charged)
		limits_charge_anyway(sessions->config.limits, NULL, session->user,
			RESOURCE_REMEMBERED, session->charged);
	if (MUTANT(X)) {
		session_memory_clear(sessions, session, true);
		session->last_id = session->newest_id = session->floor ? session->floor - 1 : 0;
	}
}

static int recover_all(struct recovery *recovery, session_recovered_fn *take, void *ctx)
{
	struct sessions *sessions = recovery->sessions;
	int r;

	r = recover_pool(
		sessions, &sessions->reply_pool, sizeof(struct reply_slot), &recovery->reply_count);
	if (!r)
		r = recover_pool(sessions, &sessions->session_pool, sizeof(struct session_slot),
			&recovery->session_count);
	if (r)
		return r;
	recovery->of_slot = calloc(recovery->session_count + (size_t)1, sizeof(struct session *));
	if (!recovery->of_slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < recovery->session_count && !r; i++)
		r = recover_session(recovery, i);
	if (!r)
		r = recover_replies(recovery);
	/* Also when a reply was refused: what is dropped with a session was charged. */
	for (uint32_t i = 0; i < recovery->session_count; i++)
		if (recovery->of_slot[i])
			recover_charge(sessions, recovery->of_slot[i]);
	for (uint32_t i = 0; i < recovery->session_count && !r; i++)
		if (recovery->of_slot[i])
			r = take(ctx, recovery->of_slot[i]);
	return r;
}

int sessions_recover(struct sessions *sessions, session_recovered_fn *take, void *ctx)
{
	struct recovery recovery = {.sessions = sessions};
	int r = recover_all(&recovery, take, ctx);

	free(recovery.of_slot);
	free(recovery.heads);
	return r;
}
