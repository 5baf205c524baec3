/* SPDX-License-Identifier: MIT */
/* What the two files of the session module share. */
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

struct sessions {
	struct session_config config;
	session_random_fn *random;
	void *random_ctx;
	struct siphash_key key; /* of this run: for digests and for the table of tokens */
	uint64_t last_session;
	uint32_t count;
	TAILQ_HEAD(, session) parked; /* first to end first */
	struct remembered_list spare;
	struct session_chunk *chunks; /* kept: at most what all sessions needed at once */
	uint8_t *
		room; /* of SESSION_ROOM_MAX bytes, for the next reply that malloc() has none for */
	struct session *by_token[SESSION_BUCKETS];
};

/* Forgets all that a session has asked for. */
void session_memory_clear(struct sessions *sessions, struct session *session);
void session_memory_done(struct sessions *sessions);

#endif
