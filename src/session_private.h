/* SPDX-License-Identifier: MIT */
/*
 * What the files of the session module share.
 *
 *   session.c          peers, sessions, parking
 *   session_memory.c   the window of changes
 *   session_record.c   slots of the records: sessions, replies
 *   session_recover.c  sessions made of them
 */
#ifndef PASIDD_SESSION_PRIVATE_H
#define PASIDD_SESSION_PRIVATE_H

#include "session.h"
#include "siphash.h"

#define SESSION_BUCKETS 1024u
#define SESSION_CHUNK   64u /* remembered changes that are allocated at once */

struct session_chunk {
	struct session_chunk *next;
	struct remembered remembered[SESSION_CHUNK];
};

/*
 * Slots of one table. Those from `fresh` on were never used; of the others, the free ones are in
 * the stack: below `usable` those that may be taken, above it those that were freed in this change
 * and may not until it is settled (state.h).
 */
struct session_pool {
	enum state_table table;
	uint32_t batch;     /* by which `mark` rises */
	uint64_t *recorded; /* the mark, in the records */
	uint32_t *stack;    /* of `mark` slots */
	uint32_t usable, top;
	uint32_t fresh;
	uint32_t mark; /* slots below this can be written */
	uint32_t kept; /* of all that can be taken so many are promised */
};

struct sessions {
	struct session_config config;
	session_random_fn *random;
	void *random_ctx;
	struct siphash_key key; /* for digests and for the table of tokens; the same in every run */
	struct host_slot *host;
	struct session_slot *slots;
	struct reply_slot *replies;
	struct session_pool session_pool, reply_pool;
	uint64_t last_session;
	uint32_t count;
	TAILQ_HEAD(session_list, session) parked; /* first to end first */
	struct remembered_list spare;
	struct session_chunk *chunks; /* kept: at most what all sessions needed at once */
	struct session *by_token[SESSION_BUCKETS];
};

/* ---------------------------------------------------------------- session.c */

/* A session of this peer that nobody has counted, charged or recorded yet. NULL: no memory. */
struct session *session_new(struct sessions *sessions, struct peer *peer);
/* Makes it known by the token in its slot. */
void session_enter(struct sessions *sessions, struct session *session);

/* ---------------------------------------------------------------- session_memory.c */

/* Forgets all that a session has asked for; `record`: in the records, too. */
void session_memory_clear(struct sessions *sessions, struct session *session, bool record);
void session_memory_done(struct sessions *sessions);
/* Another one, with nothing in it, at the end of the session's list; NULL: no memory. */
struct remembered *session_memory_add(
	struct sessions *sessions, struct session *session, uint64_t id, uint64_t digest);
/* What a remembered change with a reply of this size takes. */
uint32_t session_weight(size_t reply_size);
/* In pieces of which charges are made. */
uint32_t session_pieces(uint32_t weight);
/* Counts a final reply of this size to the bytes of its session. */
void session_count_reply(struct session *session, uint32_t size);

/* ---------------------------------------------------------------- session_record.c */

/* -ENOMEM, -ENOSPC. */
int session_record_init(struct sessions *sessions);
void session_record_done(struct sessions *sessions);

/*
 * Makes sure that `n` slots more than are kept can be taken; may settle. -ENOSPC, -ENOMEM.
 */
int session_pool_prepare(struct sessions *sessions, struct session_pool *pool, uint32_t n);
/* One that session_pool_prepare() made sure of. */
uint32_t session_pool_take(struct session_pool *pool);
/* Its word is 0 already. */
void session_pool_give(struct session_pool *pool, uint32_t slot);

/* Records a new session, in a slot that session_pool_prepare() made sure of. */
void session_record_open(struct sessions *sessions, struct session *session);
void session_record_close(struct sessions *sessions, struct session *session);
/* Another token, and what it was taken over with. */
void session_record_token(
	struct sessions *sessions, const struct session *session, uint64_t secret);
void session_record_floor(struct sessions *sessions, const struct session *session);

/* Slots that a reply takes beyond its first. */
static inline uint32_t session_record_more(size_t size)
{
	if (size <= STATE_REPLY_FIRST)
		return 0;
	return (uint32_t)((size - STATE_REPLY_FIRST + STATE_REPLY_MORE - 1) / STATE_REPLY_MORE);
}

/* The change is under way; it has its slot. */
void session_record_start(struct sessions *sessions, const struct session *session,
	const struct remembered *remembered);
/* Its reply, of remembered->size bytes. */
void session_record_finish(struct sessions *sessions, const struct session *session,
	struct remembered *remembered, const uint8_t *reply);
/* Frees what it has in the records. */
void session_record_drop(struct sessions *sessions, struct remembered *remembered);

/* What a slot's word says. */
static inline uint32_t session_word_size(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

#define SESSION_WORD_ROLE   4u
#define SESSION_WORD_HANDED (UINT64_C(1) << 8)
#define REPLY_WORD_FDS      (UINT64_C(1) << 4)
#define REPLY_WORD_NUMBER   8u

#endif
