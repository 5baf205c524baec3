/* SPDX-License-Identifier: MIT */
/* What is remembered of the changes that a session asked for: invariant X. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

uint64_t session_digest(const struct sessions *sessions, uint32_t operation, uint32_t descriptors,
	const uint8_t *body, size_t size)
{
	uint64_t head = (uint64_t)operation << 32 | descriptors;

	return siphash(&sessions->key, head, body, size);
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

static void session_drop(
	struct sessions *sessions, struct session *session, struct remembered *remembered)
{
	TAILQ_REMOVE(&session->remembered, remembered, link);
	session->remembered_count--;
	if (remembered->reply && remembered->reply != remembered->inside) {
		session->remembered_bytes -= remembered->size;
		free(remembered->reply);
	}
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

static bool session_is_running(const struct remembered *remembered)
{
	return !remembered->reply;
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

static int session_add(struct sessions *sessions, struct session *session, uint64_t id,
	uint64_t digest, struct remembered **ret_remembered, struct error *ret_error)
{
	struct remembered *remembered;

	if (session->remembered_count == SESSION_WINDOW && !session_evict(sessions, session, NULL))
		return error_set_limit(ret_error, REASON_WINDOW_FULL, id, SESSION_WINDOW,
			session->remembered_count,
			"%u changes of this session are under way; wait for replies",
			SESSION_WINDOW);
	if (TAILQ_EMPTY(&sessions->spare) && session_memory_grow(sessions))
		return error_set(ret_error, REASON_NO_MEMORY,
			"no memory to remember the reply in; try again");
	remembered = TAILQ_FIRST(&sessions->spare);
	TAILQ_REMOVE(&sessions->spare, remembered, link);
	remembered->id = id;
	remembered->digest = digest;
	remembered->operation = NULL;
	remembered->reply = NULL;
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

void session_finish(struct sessions *sessions, struct session *session,
	struct remembered *remembered, const uint8_t *reply, size_t size, bool had_fds)
{
	assert(session_is_running(remembered) && size <= sessions->config.reply_max);
	remembered->operation = NULL;
	if (remembered->id < session->seen_below) { /* nobody will ask for it any more */
		session_drop(sessions, session, remembered);
		return;
	}
	remembered->reply = size <= SESSION_REPLY_MAX ? remembered->inside : malloc(size);
	if (!remembered->reply) {
		session_raise_floor(session, remembered->id + 1);
		session_drop(sessions, session, remembered);
		return;
	}
	if (size)
		memcpy(remembered->reply, reply, size);
	remembered->size = (uint32_t)size;
	remembered->had_fds = had_fds;
	if (remembered->reply == remembered->inside)
		return;
	session->remembered_bytes += remembered->size;
	while (session->remembered_bytes > sessions->config.reply_max)
		(void)session_evict(sessions, session, remembered);
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
