/* SPDX-License-Identifier: MIT */
/*
 * Sessions: a client's standing with the daemon, over one connection at a time, and what is
 * remembered of the changes it asked for, so that each is done once (invariant X), also when the
 * daemon was started anew in between. Pure: time and randomness come in as arguments, records go to
 * the state port.
 *
 * A reply is remembered for sure: room for it, in the records and in the user's account, is found
 * before the change is done (session_reserve).
 *
 * What is recorded counts with sessions_settle(), which the caller calls when what it did and what
 * was remembered of that are complete, and before anybody is told. Until then all of it is undone
 * if the daemon dies.
 *
 * A session that was never used costs some 350 bytes, its peer and its connection included, and a
 * slot of the records.
 */
#ifndef PASIDD_SESSION_H
#define PASIDD_SESSION_H

#include <sys/queue.h>

#include "error.h"
#include "limit.h"
#include "policy.h"
#include "state.h"

#define SESSION_TOKEN_SIZE 16
/* changes that are under way or remembered */
#define SESSION_WINDOW   ((int)STATE_SESSION_REPLIES)
#define SESSION_ROOM_MAX STATE_REPLY_MAX /* bytes that session_reserve() can be asked for */

struct sessions;

/* ---------------------------------------------------------------- who is at the other end */

/* A policy_peer of the size that it needs, shared by a connection and its session. */
struct peer {
	uint64_t cgroups;
	uint64_t born; /* tells its process from another one with the same number; 0: unknown */
	uint32_t refs;
	uint32_t user; /* its place in the limits */
	int32_t pid;
	uint32_t uid;
	uint16_t group_count;
	bool admitted;
	uint32_t groups[];
};

/*
 * STATUS_QUOTA with REASON_LIMIT, STATUS_RETRY with REASON_NO_MEMORY. `limits` is to be the same in
 * all calls; a peer does not remember it, because idle connections are counted in bytes.
 */
int peer_new(const struct policy_peer *who, int32_t pid, uint64_t born, struct limits *limits,
	struct peer **ret_peer, struct error *ret_error);
/* Has another user be charged for it, before anything was. STATUS_QUOTA with REASON_LIMIT. */
int peer_charge(struct peer *peer, struct limits *limits, uint32_t uid, struct error *ret_error);
struct peer *peer_ref(struct peer *peer);
/* NULL is fine; returns NULL. */
struct peer *peer_unref(struct peer *peer, struct limits *limits);
void peer_read(const struct peer *peer, struct policy_peer *ret_who);

/* ---------------------------------------------------------------- a session */

/* A change that the session asked for: under way, or ended with a reply that is in the records. */
struct remembered {
	TAILQ_ENTRY(remembered) link; /* oldest first; or the list of free ones */
	uint64_t id;
	uint64_t digest;
	void *operation; /* the dispatcher's, while hardware is asked */
	uint32_t slot;   /* of the records; STATE_NONE: not there yet */
	uint32_t size;   /* of the final reply */
	uint16_t number; /* of the operation */
	uint16_t kept;   /* while it is under way: slots for the rest of its reply */
	bool final;
	bool had_fds;
	/* A daemon before this one ended in the middle of it. Nobody knows how far it came. */
	bool interrupted;
	bool idle; /* so it was, and it was not asked for again */
};
TAILQ_HEAD(remembered_list, remembered);

struct handover;

struct session {
	uint64_t id; /* never 0, never used again while the host is up */
	enum role role;
	uint32_t running;  /* operations under way; the dispatcher counts */
	struct set_id set; /* v == 0: none; see session_use() */
	struct peer *peer;
	void *link;         /* its connection; NULL: parked */
	void *parked_user;  /* while parked, for whoever parked it */
	uint64_t last_id;   /* the highest of all requests; after a restart: of those known */
	uint64_t newest_id; /* the highest of all changes */
	uint64_t
		seen_below; /* what the client said: it has the replies of all changes below this */
	uint64_t floor;     /* changes below this that are not remembered were forgotten */
	struct remembered_list remembered;
	uint32_t remembered_bytes; /* of replies that take more than one slot */
	uint32_t weight;           /* of all that is remembered, and what is reserved */
	uint32_t charged;          /* for it, to the user */
	uint16_t remembered_count;
	bool handed; /* its connection serves its set, and it ends with that */
	uint64_t parked_until;
	TAILQ_ENTRY(session) parked;
	struct session *next;      /* with the same hash of the token */
	uint32_t user;             /* a place in the limits */
	uint32_t slot;             /* of the records, where its token is, too */
	struct handover *handover; /* the dispatcher's; NULL: none */
};

struct session_config {
	uint32_t grace_ms;     /* how long one is parked */
	struct limits *limits; /* sessions are charged to users; borrowed */
	uint32_t reply_max; /* bytes of remembered replies of a session; more than any one reply has
			     */
	const struct state *state; /* borrowed */
};

typedef void session_random_fn(void *ctx, void *ret_bytes, size_t size);

/*
 * `random` is kept, and must be unguessable. What an earlier run has recorded stays as it is until
 * sessions_recover(), which comes first then. -ENOMEM, -ENOSPC.
 */
int sessions_new(const struct session_config *config, session_random_fn *random, void *random_ctx,
	struct sessions **ret_sessions);
/* Frees all sessions that are left; their records stay for the next run. NULL is fine. */
void sessions_free(struct sessions *sessions);
uint32_t sessions_count(const struct sessions *sessions);
/* Other numbers at run time; those that are parked keep their time. */
void sessions_configure(struct sessions *sessions, uint32_t grace_ms, uint32_t reply_max);
/* Of what the processes of sessions matched of the policy's cgroups only these bits are left. */
void sessions_keep_cgroups(struct sessions *sessions, uint64_t kept);
/* All that was done until now has happened, for good. */
void sessions_settle(struct sessions *sessions);

/* Gets a session that was recorded, to park or to close it. Nonzero ends the recovery. */
typedef int session_recovered_fn(void *ctx, struct session *session);
/*
 * Makes sessions of what an earlier run has recorded, with what they were answered; once, before
 * any is opened. They are charged whatever the limits are now. Changes that were under way are
 * `interrupted`. -ENOMEM; -EBADMSG: the records contradict themselves; or what `take` returned.
 */
int sessions_recover(struct sessions *sessions, session_recovered_fn *take, void *ctx);

/* A new session with a token of its own. STATUS_QUOTA with REASON_LIMIT, STATUS_RETRY with
 * REASON_NO_MEMORY. */
int session_open(struct sessions *sessions, struct peer *peer, enum role role,
	struct session **ret_session, struct error *ret_error);
/* Forgets it. Nothing may be under way for it any more, and it must not be parked. */
void session_close(struct sessions *sessions, struct session *session);

/* Its secret; valid as long as the session. */
const uint8_t *session_token(const struct sessions *sessions, const struct session *session);
/* Its set is this one from now on. */
void session_use(struct sessions *sessions, struct session *session, struct set_id set);
/* Its connection serves this set and nothing else. */
void session_serve(struct sessions *sessions, struct session *session, struct set_id set);
/* Another process goes on with it; takes a reference of its own. */
void session_follow(struct sessions *sessions, struct session *session, struct peer *peer);
/*
 * The same for good: it gets another token, and `secret`, a digest that is not 0, is recorded as
 * what the process took it over with.
 */
void session_hand_over(
	struct sessions *sessions, struct session *session, struct peer *peer, uint64_t secret);
/* What was recorded so; 0: its process did not take it over. */
uint64_t session_taken(const struct sessions *sessions, const struct session *session);

/* The session with this token that belongs to the user, compared in constant time; NULL: none. */
struct session *session_by_token(
	struct sessions *sessions, const uint8_t token[static SESSION_TOKEN_SIZE], uint32_t uid);

/* NULL: none. Looks at all sessions. */
const struct session *session_by_id(const struct sessions *sessions, uint64_t id);

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

/*
 * A keyed digest for whatever else must be known to be ours, also after a restart: of 16 bytes, for
 * a purpose of less than 32 bits.
 */
uint64_t session_seal(const struct sessions *sessions, uint64_t purpose, const uint64_t words[2]);

/* A keyed digest of a request's content. */
uint64_t session_digest(const struct sessions *sessions, uint32_t operation, uint32_t descriptors,
	const uint8_t *body, size_t size);

enum session_verdict {
	SESSION_RUN =
		1,    /* new, or `interrupted`: do it, then session_finish() or session_forget() */
	SESSION_WAIT, /* under way: remembered->operation */
	SESSION_REPLAY, /* ended: session_reply() */
};

/*
 * A change with this id and content arrives. Refuses an id that had other content
 * (REASON_ID_REUSED), one that was forgotten (REASON_ID_TOO_OLD), and any while the whole window is
 * under way (REASON_WINDOW_FULL); REASON_NO_MEMORY. An old reply may be forgotten to make room.
 */
int session_begin(struct sessions *sessions, struct session *session, uint64_t id,
	uint32_t operation, uint64_t digest, enum session_verdict *ret_verdict,
	struct remembered **ret_remembered, struct error *ret_error);
/*
 * Room for its reply of up to `size` bytes, after SESSION_RUN and before anything is done; with
 * `keep` it lasts until the change ends, otherwise only if nothing else is reserved before. Older
 * replies of the session are forgotten for it where its user's account, or the host's, is full.
 * May settle what was done before. STATUS_RETRY with REASON_NO_MEMORY or REASON_OVERLOAD: forget
 * it.
 */
int session_reserve(struct sessions *sessions, struct session *session,
	struct remembered *remembered, size_t size, bool keep, struct error *ret_error);
/*
 * It is about to be done by `operation`, and is recorded as under way; after session_reserve() with
 * `keep`.
 */
void session_start(struct sessions *sessions, struct session *session,
	struct remembered *remembered, void *operation);
/* It ended, with this reply, which is copied. It is no larger than what was reserved. */
void session_finish(struct sessions *sessions, struct session *session,
	struct remembered *remembered, const uint8_t *reply, size_t size, bool had_fds);
/* Copies the final reply: remembered->size bytes. */
void session_reply(
	const struct sessions *sessions, const struct remembered *remembered, uint8_t *ret_reply);
/* It was not done: the same id may come again. One that was interrupted stays so. */
void session_forget(
	struct sessions *sessions, struct session *session, struct remembered *remembered);
/* The client has all replies below this id. */
void session_seen_below(struct sessions *sessions, struct session *session, uint64_t below);

#endif
