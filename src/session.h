/* SPDX-License-Identifier: MIT */
/*
 * Sessions: a client's standing with the daemon, over one connection at a time, and what is
 * remembered of the changes it asked for, so that each is done once (invariant X). Pure: time and
 * randomness come in as arguments.
 *
 * A reply is remembered for sure: room for it, in memory and in the user's account, is found before
 * the change is done (session_reserve).
 *
 * A session that was never used costs some 350 bytes, its peer and its connection included.
 */
#ifndef PASIDD_SESSION_H
#define PASIDD_SESSION_H

#include <sys/queue.h>

#include "error.h"
#include "limit.h"
#include "policy.h"

#define SESSION_TOKEN_SIZE 16
#define SESSION_WINDOW     256   /* changes that are under way or remembered */
#define SESSION_REPLY_MAX  32    /* bytes of a remembered reply that need no memory of their own */
#define SESSION_ROOM_MAX   49152 /* bytes that session_reserve() can be asked for */

struct sessions;

/* ---------------------------------------------------------------- who is at the other end */

/* A policy_peer of the size that it needs, shared by a connection and its session. */
struct peer {
	struct limits *limits;
	uint32_t refs;
	uint32_t user; /* its place there */
	uint64_t cgroups;
	int32_t pid;
	uint32_t uid;
	uint32_t group_count;
	uint32_t groups[];
};

/* STATUS_QUOTA with REASON_LIMIT, STATUS_RETRY with REASON_NO_MEMORY. `limits` is borrowed. */
int peer_new(const struct policy_peer *who, int32_t pid, struct limits *limits,
	struct peer **ret_peer, struct error *ret_error);
/* Has another user be charged for it, before anything was. STATUS_QUOTA with REASON_LIMIT. */
int peer_charge(struct peer *peer, uint32_t uid, struct error *ret_error);
struct peer *peer_ref(struct peer *peer);
/* NULL is fine; returns NULL. */
struct peer *peer_unref(struct peer *peer);
void peer_read(const struct peer *peer, struct policy_peer *ret_who);

/* ---------------------------------------------------------------- a session */

/* A change that the session asked for: under way while `operation` is set, else its final reply. */
struct remembered {
	TAILQ_ENTRY(remembered) link; /* oldest first; or the list of free ones */
	uint64_t id;
	uint64_t digest;
	void *operation; /* the dispatcher's; NULL: ended */
	uint8_t *reply;  /* `inside`, or memory of its own */
	uint32_t size;
	bool had_fds;
	union {
		uint8_t inside[SESSION_REPLY_MAX];
		struct { /* while it is under way: what was reserved for its reply */
			uint8_t *room;
			uint32_t room_size;
		};
	};
};
TAILQ_HEAD(remembered_list, remembered);

struct session {
	uint64_t id; /* never 0, never used again */
	uint8_t token[SESSION_TOKEN_SIZE];
	enum role role;
	uint32_t running;  /* operations under way; the dispatcher counts */
	struct set_id set; /* v == 0: none */
	struct peer *peer;
	void *link;         /* its connection; NULL: parked */
	void *parked_user;  /* while parked, for whoever parked it */
	uint64_t last_id;   /* the highest of all requests */
	uint64_t newest_id; /* the highest of all changes */
	uint64_t
		seen_below; /* what the client said: it has the replies of all changes below this */
	uint64_t floor;     /* changes below this that are not remembered were forgotten */
	struct remembered_list remembered;
	uint32_t remembered_count;
	uint32_t remembered_bytes; /* of replies with memory of their own */
	uint32_t weight;           /* of all that is remembered, and what is reserved */
	uint32_t charged;          /* for it, to the user */
	uint64_t parked_until;
	TAILQ_ENTRY(session) parked;
	struct session *next; /* with the same hash of the token */
	uint32_t user;        /* a place in the limits */
	bool handed;          /* its connection serves its set, and it ends with that */
};

struct session_config {
	uint32_t grace_ms;     /* how long one is parked */
	struct limits *limits; /* sessions are charged to users; borrowed */
	uint32_t reply_max; /* bytes of remembered replies of a session; more than any one reply has
			     */
};

typedef void session_random_fn(void *ctx, void *ret_bytes, size_t size);

/* -ENOMEM. `random` is kept, and must be unguessable. */
int sessions_new(const struct session_config *config, session_random_fn *random, void *random_ctx,
	struct sessions **ret_sessions);
/* Frees all sessions that are left. NULL is fine. */
void sessions_free(struct sessions *sessions);
uint32_t sessions_count(const struct sessions *sessions);

/* A new session with a token of its own. STATUS_QUOTA with REASON_LIMIT, STATUS_RETRY with
 * REASON_NO_MEMORY. */
int session_open(struct sessions *sessions, struct peer *peer, enum role role,
	struct session **ret_session, struct error *ret_error);
/* Forgets it. Nothing may be under way for it any more, and it must not be parked. */
void session_close(struct sessions *sessions, struct session *session);

/* The session with this token that belongs to the user, compared in constant time; NULL: none. */
struct session *session_by_token(
	struct sessions *sessions, const uint8_t token[static SESSION_TOKEN_SIZE], uint32_t uid);

/* Its connection is lost: it ends by itself at now + grace. */
void session_park(struct sessions *sessions, struct session *session, uint64_t now, void *user);
/* The opposite; returns `user`. */
void *session_unpark(struct sessions *sessions, struct session *session);
/* One that is parked and over its time, NULL when there is none; and when that will be, UINT64_MAX:
 * never. */
struct session *sessions_expired(const struct sessions *sessions, uint64_t now);
uint64_t sessions_next_expiry(const struct sessions *sessions);
/* One that is parked, NULL when there is none. */
struct session *sessions_parked(const struct sessions *sessions);

/* ---------------------------------------------------------------- what it asked for (invariant X)
 */

/* A keyed digest of a request's content. */
uint64_t session_digest(const struct sessions *sessions, uint32_t operation, uint32_t descriptors,
	const uint8_t *body, size_t size);

enum session_verdict {
	SESSION_RUN = 1, /* new: do it, then session_finish() or session_forget() */
	SESSION_WAIT,    /* under way: remembered->operation */
	SESSION_REPLAY,  /* ended: remembered->reply */
};

/*
 * A change with this id and content arrives. Refuses an id that had other content
 * (REASON_ID_REUSED), one that was forgotten (REASON_ID_TOO_OLD), and any while the whole window is
 * under way (REASON_WINDOW_FULL); REASON_NO_MEMORY. An old reply may be forgotten to make room.
 */
int session_begin(struct sessions *sessions, struct session *session, uint64_t id, uint64_t digest,
	enum session_verdict *ret_verdict, struct remembered **ret_remembered,
	struct error *ret_error);
/*
 * Room for its reply of up to `size` bytes, after SESSION_RUN and before anything is done; with
 * `keep` it lasts until the change ends, otherwise only if nothing else is reserved before. Older
 * replies of the session are forgotten for it where its user's account, or the host's, is full.
 * STATUS_RETRY with REASON_NO_MEMORY or REASON_OVERLOAD: forget it.
 */
int session_reserve(struct sessions *sessions, struct session *session,
	struct remembered *remembered, size_t size, bool keep, struct error *ret_error);
/* It ended, with this reply, which is copied. It is no larger than what was reserved. */
void session_finish(struct sessions *sessions, struct session *session,
	struct remembered *remembered, const uint8_t *reply, size_t size, bool had_fds);
/* It was not done: the same id may come again. */
void session_forget(
	struct sessions *sessions, struct session *session, struct remembered *remembered);
/* The client has all replies below this id. */
void session_seen_below(struct sessions *sessions, struct session *session, uint64_t below);

#endif
