/* SPDX-License-Identifier: MIT */
/* What is remembered of the changes that a session asked for: invariant X. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

/* What is short is its own digest: there is nothing that it could be mistaken for. */
#define DIGEST_SHORT      6u /* bytes */
#define DIGEST_IS_CONTENT (UINT64_C(1) << 63)

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
	free(sessions->room);
	while (sessions->chunks) {
		struct session_chunk *chunk = sessions->chunks;

		sessions->chunks = chunk->next;
		free(chunk);
	}
}

/* What a remembered change takes: its record, and a reply that does not fit inside. */
static uint32_t session_weight(uint32_t reply_size)
{
	return (uint32_t)sizeof(struct remembered) +
	       (reply_size > SESSION_REPLY_MAX ? reply_size : 0);
}

static bool session_is_running(const struct remembered *remembered)
{
	return !remembered->reply;
}

/* Charges are made in pieces of this size, so that a change seldom needs one. */
#define ACCOUNT_PIECE 4096u

static uint32_t session_pieces(uint32_t weight)
{
	return (weight + ACCOUNT_PIECE - 1) / ACCOUNT_PIECE * ACCOUNT_PIECE;
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

static void session_drop(
	struct sessions *sessions, struct session *session, struct remembered *remembered)
{
	uint32_t size = remembered->size;

	TAILQ_REMOVE(&session->remembered, remembered, link);
	session->remembered_count--;
	if (session_is_running(remembered)) {
		size = remembered->room_size;
		free(remembered->room);
	} else if (remembered->reply != remembered->inside) {
		session->remembered_bytes -= size;
		free(remembered->reply);
	}
	session_lighten(sessions, session, session_weight(size));
	/* The one used last is in the cache. */
	TAILQ_INSERT_HEAD(&sessions->spare, remembered, link);
}

void session_memory_clear(struct sessions *sessions, struct session *session)
{
	while (!TAILQ_EMPTY(&session->remembered))
		session_drop(sessions, session, TAILQ_FIRST(&session->remembered));
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
static void session_raise_floor(struct session *session, uint64_t floor)
{
	if (floor > session->floor)
		session->floor = floor;
}

/* Forgets the oldest that has ended; false: all are under way. */
static bool session_evict(
	struct sessions *sessions, struct session *session, const struct remembered *keep)
{
	struct remembered *remembered;

	TAILQ_FOREACH(remembered, &session->remembered, link)
	{
		if (remembered == keep || session_is_running(remembered))
			continue;
		session_raise_floor(session, remembered->id + 1);
		session_drop(sessions, session, remembered);
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
	uint64_t digest, struct remembered **ret_remembered, struct error *ret_error)
{
	struct remembered *remembered;
	int r;

	if (session->remembered_count == SESSION_WINDOW && !session_evict(sessions, session, NULL))
		return error_set_limit(ret_error, REASON_WINDOW_FULL, id, SESSION_WINDOW,
			session->remembered_count,
			"%u changes of this session are under way; wait for replies",
			SESSION_WINDOW);
	if (TAILQ_EMPTY(&sessions->spare) && session_memory_grow(sessions))
		return error_set(ret_error, REASON_NO_MEMORY,
			"no memory to remember the reply in; try again");
	r = session_charge(sessions, session, NULL, session_weight(0), ret_error);
	if (r)
		return r;
	session->weight += session_weight(0);
	remembered = TAILQ_FIRST(&sessions->spare);
	TAILQ_REMOVE(&sessions->spare, remembered, link);
	remembered->id = id;
	remembered->digest = digest;
	remembered->operation = NULL;
	remembered->reply = NULL;
	remembered->room = NULL;
	remembered->room_size = 0;
	TAILQ_INSERT_TAIL(&session->remembered, remembered, link);
	session->remembered_count++;
	if (id > session->newest_id)
		session->newest_id = id;
	*ret_remembered = remembered;
	return 0;
}

int session_begin(struct sessions *sessions, struct session *session, uint64_t id, uint64_t digest,
	enum session_verdict *ret_verdict, struct remembered **ret_remembered,
	struct error *ret_error)
{
	struct remembered *remembered = session_find(session, id);
	int r;

	if (remembered && remembered->digest != digest) {
		(void)error_set(ret_error, REASON_ID_REUSED,
			"request %llu had another content before; ids must rise",
			(unsigned long long)id);
		ret_error->object = id;
		return STATUS_INVALID;
	}
	if (remembered) {
		*ret_verdict = session_is_running(remembered) ? SESSION_WAIT : SESSION_REPLAY;
		*ret_remembered = remembered;
		return 0;
	}
	if (id < session->floor)
		return error_set_limit(ret_error, REASON_ID_TOO_OLD, id, session->floor, id,
			"replies below request %llu are forgotten (a window of %u, or seen_below); "
			"ids must rise",
			(unsigned long long)session->floor, SESSION_WINDOW);
	r = session_add(sessions, session, id, digest, ret_remembered, ret_error);
	if (r)
		return r;
	*ret_verdict = SESSION_RUN;
	return 0;
}

static int session_no_room(struct error *ret_error)
{
	return error_set(ret_error, REASON_NO_MEMORY,
		"no memory to remember the reply in, so nothing was done; try again");
}

/* For a change that is done at once, there only has to be some. */
static int session_reserve_shared(struct sessions *sessions, struct session *session,
	const struct remembered *remembered, size_t size, struct error *ret_error)
{
	if (!sessions->room)
		sessions->room = malloc(SESSION_ROOM_MAX);
	if (!sessions->room)
		return session_no_room(ret_error);
	return session_charge(sessions, session, remembered, (uint32_t)size, ret_error);
}

int session_reserve(struct sessions *sessions, struct session *session,
	struct remembered *remembered, size_t size, bool keep, struct error *ret_error)
{
	int r;

	assert(session_is_running(remembered) && size <= SESSION_ROOM_MAX);
	if (size <= SESSION_REPLY_MAX)
		return 0;
	if (!keep)
		return session_reserve_shared(sessions, session, remembered, size, ret_error);
	r = session_charge(sessions, session, remembered, (uint32_t)size, ret_error);
	if (r)
		return r;
	remembered->room = malloc(size);
	if (!remembered->room)
		return session_no_room(ret_error);
	session->weight += (uint32_t)size;
	remembered->room_size = (uint32_t)size;
	return 0;
}

/* Memory for a reply that does not fit inside: a tight piece, or what was reserved for it. */
static uint8_t *session_take_room(struct sessions *sessions, uint8_t *room, size_t size)
{
	uint8_t *tight = malloc(size);

	if (tight) {
		free(room);
		return tight;
	}
	return room ? room : TAKE_PTR(sessions->room);
}

void session_finish(struct sessions *sessions, struct session *session,
	struct remembered *remembered, const uint8_t *reply, size_t size, bool had_fds)
{
	uint8_t *room = remembered->room;

	assert(session_is_running(remembered) && size <= SESSION_ROOM_MAX);
	remembered->operation = NULL;
	if (remembered->id < session->seen_below) { /* nobody will ask for it any more */
		session_drop(sessions, session, remembered);
		return;
	}
	session->weight += session_weight((uint32_t)size);
	session_lighten(sessions, session, session_weight(remembered->room_size));
	if (size <= SESSION_REPLY_MAX) {
		free(room);
		remembered->reply = remembered->inside;
	} else {
		remembered->reply = session_take_room(sessions, room, size);
		assert(remembered->reply);
	}
	if (size)
		memcpy(remembered->reply, reply, size);
	remembered->size = (uint32_t)size;
	remembered->had_fds = had_fds;
	if (remembered->reply == remembered->inside)
		return;
	session->remembered_bytes += remembered->size;
	while (session->remembered_bytes > sessions->config.reply_max &&
		session_evict(sessions, session, remembered))
		;
}

void session_forget(
	struct sessions *sessions, struct session *session, struct remembered *remembered)
{
	session_drop(sessions, session, remembered);
}

void session_seen_below(struct sessions *sessions, struct session *session, uint64_t below)
{
	struct remembered *remembered, *next;

	if (below <= session->seen_below)
		return;
	session->seen_below = below;
	session_raise_floor(session, below);
	for (remembered = TAILQ_FIRST(&session->remembered); remembered; remembered = next) {
		next = TAILQ_NEXT(remembered, link);
		if (remembered->id < below && !session_is_running(remembered))
			session_drop(sessions, session, remembered);
	}
}
