/* SPDX-License-Identifier: MIT */
/* What is remembered of the changes that a session asked for: invariant X. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

/* What is short is its own digest: there is nothing that it could be mistaken for. */
#define DIGEST_SHORT      6u /* bytes */
#define DIGEST_IS_CONTENT (UINT64_C(1) << 63)

uint64_t session_seal(const struct sessions *sessions, uint64_t purpose, const uint64_t words[2])
{
	uint8_t bytes[16];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(words[i / 8] >> 8 * (i % 8));
	/* far from the prefixes of requests */
	return siphash(
		&sessions->key, UINT64_C(0x7365616c00000000) | purpose, bytes, sizeof(bytes));
}

uint64_t session_digest(const struct sessions *sessions, uint32_t operation, uint32_t descriptors,
	const uint8_t *body, size_t size)
{
	uint64_t head = (uint64_t)operation << 32 | descriptors;
	uint64_t digest = 0;

	if (size > DIGEST_SHORT || operation > 0x3ff || descriptors > 3)
		return siphash(&sessions->key, head, body, size) & ~DIGEST_IS_CONTENT;
	for (size_t i = 0; i < size; i++)
		digest = digest << 8 | body[i];
	return DIGEST_IS_CONTENT | (uint64_t)size << 60 | (uint64_t)descriptors << 58 |
	       (uint64_t)operation << 48 | digest;
}

/* ---------------------------------------------------------------- memory, shared by all sessions
 */

static int session_memory_grow(struct sessions *sessions)
{
	struct session_chunk *chunk = malloc(sizeof(*chunk));

	if (!chunk)
		return STATUS_RETRY;
	chunk->next = sessions->chunks;
	sessions->chunks = chunk;
	for (size_t i = 0; i < SESSION_CHUNK; i++)
		TAILQ_INSERT_TAIL(&sessions->spare, &chunk->remembered[i], link);
	return 0;
}

void session_memory_done(struct sessions *sessions)
{
	while (sessions->chunks) {
		struct session_chunk *chunk = sessions->chunks;

		sessions->chunks = chunk->next;
		free(chunk);
	}
}

struct remembered *session_memory_add(
	struct sessions *sessions, struct session *session, uint64_t id, uint64_t digest)
{
	struct remembered *remembered;

	if (TAILQ_EMPTY(&sessions->spare) && session_memory_grow(sessions))
		return NULL;
	remembered = TAILQ_FIRST(&sessions->spare);
	TAILQ_REMOVE(&sessions->spare, remembered, link);
	*remembered = (struct remembered){.id = id, .digest = digest, .slot = STATE_NONE};
	TAILQ_INSERT_TAIL(&session->remembered, remembered, link);
	session->remembered_count++;
	session->weight += session_weight(0);
	if (id > session->newest_id)
		session->newest_id = id;
	return remembered;
}

static uint32_t session_more_weight(uint32_t slots)
{
	return slots * (uint32_t)sizeof(struct reply_slot);
}

uint32_t session_weight(size_t reply_size)
{
	return (uint32_t)sizeof(struct remembered) +
	       session_more_weight(1 + session_record_more(reply_size));
}

/* Charges are made in pieces of this size, so that a change seldom needs one. */
#define ACCOUNT_PIECE 4096u

uint32_t session_pieces(uint32_t weight)
{
	return (weight + ACCOUNT_PIECE - 1) / ACCOUNT_PIECE * ACCOUNT_PIECE;
}

void session_count_reply(struct session *session, uint32_t size)
{
	if (size > STATE_REPLY_FIRST)
		session->remembered_bytes += size;
}

/* So much less is remembered, or reserved. */
static void session_lighten(
	const struct sessions *sessions, struct session *session, uint32_t weight)
{
	uint32_t n;

	session->weight -= weight;
	n = session->charged - session_pieces(session->weight);
	if (!n)
		return;
	session->charged -= n;
	limits_release(sessions->config.limits, NULL, session->user, RESOURCE_REMEMBERED, n);
}

/* What was kept for a reply is not needed any more. */
static void session_unkeep(
	struct sessions *sessions, struct session *session, struct remembered *remembered)
{
	const uint32_t kept = remembered->kept;

	if (!kept)
		return;
	remembered->kept = 0;
	sessions->reply_pool.kept -= kept;
	session_lighten(sessions, session, session_more_weight(kept));
}

/* `record`: it is forgotten in the records, too. */
static void session_drop(struct sessions *sessions, struct session *session,
	struct remembered *remembered, bool record)
{
	TAILQ_REMOVE(&session->remembered, remembered, link);
	session->remembered_count--;
	session_unkeep(sessions, session, remembered);
	if (remembered->size > STATE_REPLY_FIRST)
		session->remembered_bytes -= remembered->size;
	session_lighten(sessions, session, session_weight(remembered->size));
	if (record)
		session_record_drop(sessions, remembered);
	/* The one used last is in the cache. */
	TAILQ_INSERT_HEAD(&sessions->spare, remembered, link);
}

void session_memory_clear(struct sessions *sessions, struct session *session, bool record)
{
	while (!TAILQ_EMPTY(&session->remembered))
		session_drop(sessions, session, TAILQ_FIRST(&session->remembered), record);
}

/* ---------------------------------------------------------------- the window */

static struct remembered *session_find(struct session *session, uint64_t id)
{
	struct remembered *remembered;

	/* Ids rise, so this is what happens nearly always. */
	if (id > session->newest_id)
		return NULL;
	TAILQ_FOREACH(remembered, &session->remembered, link)
	{
		if (remembered->id == id)
			return remembered;
	}
	return NULL;
}

/* An id is never done a second time, once what it did is not known any more. */
static void session_raise_floor(struct sessions *sessions, struct session *session, uint64_t floor)
{
	if (floor <= session->floor)
		return;
	session->floor = floor;
	session_record_floor(sessions, session);
}

/*
 * Forgets the oldest that has ended; false: there is none. One that was interrupted has not: who
 * asks for it again must be told what became of it.
 */
static bool session_evict(
	struct sessions *sessions, struct session *session, const struct remembered *keep)
{
	struct remembered *remembered;

	TAILQ_FOREACH(remembered, &session->remembered, link)
	{
		if (remembered == keep || !remembered->final)
			continue;
		session_raise_floor(sessions, session, remembered->id + 1);
		session_drop(sessions, session, remembered, true);
		return true;
	}
	return false;
}

static int session_charge_more(struct sessions *sessions, struct session *session,
	const struct remembered *keep, uint32_t n, struct error *ret_error)
{
	struct limits *limits = sessions->config.limits;
	uint32_t more;

	while (session->weight + n > session->charged) {
		more = session_pieces(session->weight + n) - session->charged;
		if (limits_room(limits, NULL, session->user, RESOURCE_REMEMBERED) < more &&
			session_evict(sessions, session, keep))
			continue;
		if (limits_charge(
			    limits, NULL, session->user, RESOURCE_REMEMBERED, more, ret_error)) {
			ret_error->reason = REASON_OVERLOAD;
			return STATUS_RETRY;
		}
		session->charged += more;
	}
	return 0;
}

/* Has the account hold `n` more bytes; replies of this session are forgotten for it. */
static inline int session_charge(struct sessions *sessions, struct session *session,
	const struct remembered *keep, uint32_t n, struct error *ret_error)
{
	if (session->weight + n <= session->charged)
		return 0;
	return session_charge_more(sessions, session, keep, n, ret_error);
}

static int session_add(struct sessions *sessions, struct session *session, uint64_t id,
	uint32_t operation, uint64_t digest, struct remembered **ret_remembered,
	struct error *ret_error)
{
	struct remembered *remembered;
	int r;

	if (session->remembered_count == SESSION_WINDOW && !session_evict(sessions, session, NULL))
		return error_set_limit(ret_error, REASON_WINDOW_FULL, id, SESSION_WINDOW,
			session->remembered_count,
			"%u changes of this session are under way; wait for replies",
			SESSION_WINDOW);
	r = session_charge(sessions, session, NULL, session_weight(0), ret_error);
	if (r)
		return r;
	remembered = session_memory_add(sessions, session, id, digest);
	if (!remembered) {
		session_lighten(sessions, session, 0); /* what was charged for it */
		return error_set(ret_error, REASON_NO_MEMORY,
			"no memory to remember the reply in; try again");
	}
	remembered->number = (uint16_t)operation;
	*ret_remembered = remembered;
	return 0;
}

static int session_refuse_reused(uint64_t id, struct error *ret_error)
{
	(void)error_set(ret_error, REASON_ID_REUSED,
		"request %llu had another content before; ids must rise", (unsigned long long)id);
	ret_error->object = id;
	return STATUS_INVALID;
}

/* What a change that is known already asks for: its reply; or once more that it is done. */
static enum session_verdict session_again(struct remembered *remembered)
{
	if (remembered->final)
		return SESSION_REPLAY;
	if (!remembered->idle)
		return SESSION_WAIT;
	remembered->idle = false;
	return SESSION_RUN;
}

int session_begin(struct sessions *sessions, struct session *session, uint64_t id,
	uint32_t operation, uint64_t digest, enum session_verdict *ret_verdict,
	struct remembered **ret_remembered, struct error *ret_error)
{
	struct remembered *remembered = session_find(session, id);
	int r;

	if (remembered && remembered->digest != digest)
		return session_refuse_reused(id, ret_error);
	if (remembered) {
		*ret_verdict = session_again(remembered);
		*ret_remembered = remembered;
		return 0;
	}
	if (id < session->floor)
		return error_set_limit(ret_error, REASON_ID_TOO_OLD, id, session->floor, id,
			"replies below request %llu are forgotten (a window of %u, or seen_below); "
			"ids must rise",
			(unsigned long long)session->floor, SESSION_WINDOW);
	r = session_add(sessions, session, id, operation, digest, ret_remembered, ret_error);
	if (r)
		return r;
	*ret_verdict = SESSION_RUN;
	return 0;
}

static int session_no_room(struct error *ret_error)
{
	return error_set(ret_error, REASON_NO_MEMORY,
		"there is no room to record the reply in, so nothing was done; free space in the "
		"runtime directory, or try again");
}

/* Slots in the records; older replies of the session are forgotten for them. */
static inline int session_reserve_slots(struct sessions *sessions, struct session *session,
	const struct remembered *remembered, uint32_t slots, struct error *ret_error)
{
	while (session_pool_prepare(sessions, &sessions->reply_pool, slots)) {
		if (!session_evict(sessions, session, remembered))
			return session_no_room(ret_error);
	}
	return 0;
}

int session_reserve(struct sessions *sessions, struct session *session,
	struct remembered *remembered, size_t size, bool keep, struct error *ret_error)
{
	const uint32_t more = session_record_more(size);
	int r;

	assert(!remembered->final && size <= SESSION_ROOM_MAX);
	r = session_charge(sessions, session, remembered, session_more_weight(more), ret_error);
	if (!r)
		r = session_reserve_slots(sessions, session, remembered, more + 1, ret_error);
	if (r || !keep)
		return r;
	if (remembered->slot == STATE_NONE)
		remembered->slot = session_pool_take(&sessions->reply_pool);
	session->weight += session_more_weight(more);
	sessions->reply_pool.kept += more;
	remembered->kept = (uint16_t)more;
	return 0;
}

void session_start(struct sessions *sessions, struct session *session,
	struct remembered *remembered, void *operation)
{
	assert(!remembered->final && remembered->slot != STATE_NONE);
	remembered->operation = operation;
	session_record_start(sessions, session, remembered);
}

void session_finish(struct sessions *sessions, struct session *session,
	struct remembered *remembered, const uint8_t *reply, size_t size, bool had_fds)
{
	assert(!remembered->final && size <= SESSION_ROOM_MAX);
	remembered->operation = NULL;
	if (remembered->id < session->seen_below) { /* nobody will ask for it any more */
		session_drop(sessions, session, remembered, true);
		return;
	}
	/* What was charged for it is not given up before it is used. */
	session->weight += session_weight(size) - session_weight(0);
	session_unkeep(sessions, session, remembered);
	remembered->size = (uint32_t)size;
	remembered->had_fds = had_fds;
	session_record_finish(sessions, session, remembered, reply);
	remembered->final = true;
	remembered->interrupted = false;
	if (size <= STATE_REPLY_FIRST)
		return;
	session_count_reply(session, (uint32_t)size);
	while (session->remembered_bytes > sessions->config.reply_max &&
		session_evict(sessions, session, remembered))
		;
}

void session_forget(
	struct sessions *sessions, struct session *session, struct remembered *remembered)
{
	remembered->operation = NULL;
	if (!remembered->interrupted || remembered->id < session->seen_below) {
		session_drop(sessions, session, remembered, true);
		return;
	}
	/* What it did before it was interrupted is still not known. */
	session_unkeep(sessions, session, remembered);
	remembered->idle = true;
}

void session_seen_below(struct sessions *sessions, struct session *session, uint64_t below)
{
	struct remembered *remembered, *next;

	if (below <= session->seen_below)
		return;
	session->seen_below = below;
	session_raise_floor(sessions, session, below);
	for (remembered = TAILQ_FIRST(&session->remembered); remembered; remembered = next) {
		next = TAILQ_NEXT(remembered, link);
		if (remembered->id < below && (remembered->final || remembered->idle))
			session_drop(sessions, session, remembered, true);
	}
}
