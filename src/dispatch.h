/* SPDX-License-Identifier: MIT */
/*
 * What the daemon does with datagrams: bytes in, bytes out.
 *
 * No I/O, no clock: the server moves datagrams and descriptors, this decides and answers. A `link`
 * is one connection; the session behind it may outlive it. Descriptors from clients are never
 * touched here: they go to the broker, or to the port's dispose_fd().
 *
 * How a server uses it:
 * - accepted: dispatch_connect(), link_set_user()
 * - readable: while dispatch_readable(), recvmsg and dispatch_receive(); nonzero: close the
 * connection
 * - something ended: broker_complete() or broker_lane_lost(), then dispatch_ended() before anything
 * else; dispatch_pump() when all that was ready has run
 * - timer: dispatch_tick() at dispatch_next_tick()
 * - after each: while dispatch_next_output() gives a link, send what dispatch_peek() shows until it
 * is NULL, calling dispatch_sent() for each; at EAGAIN stop, and go on when the socket is writable
 * - connection lost: dispatch_disconnect()
 */
#ifndef PASIDD_DISPATCH_H
#define PASIDD_DISPATCH_H

#include "broker.h"
#include "error.h"
#include "limit.h"
#include "policy.h"

#define DISPATCH_INSTANCE_SIZE 16
#define DISPATCH_ABUSE_MAX     16 /* refused datagrams in a row before the connection is closed */

/*
 * What a datagram may ask for beyond what its size costs, in numbers granted or freed, entries of
 * lists and the like: once there is more, further requests of that kind are refused until the next
 * datagram. So a datagram costs at most this, its own size, and one request that cannot be
 * divided.
 */
#define DISPATCH_COST_MAX 8192u

/* C(name, text): what happened at the edge since the start, for the status. */
#define EDGE_COUNTERS(C)                                                                           \
	C(HELLO_TIMEOUTS, "hello-timeouts")                                                        \
	C(STALLED, "stalled-disconnects")                                                          \
	C(ABUSE, "abuse-disconnects")                                                              \
	C(TURNED_AWAY, "connections-turned-away")                                                  \
	C(ACCEPT_DESCRIPTORS, "accept-pauses-descriptors")                                         \
	C(ACCEPT_LIMIT, "accept-pauses-limit")                                                     \
	C(DATAGRAMS_REFUSED, "datagrams-refused")                                                  \
	C(HELD, "connections-held")                                                                \
	C(HANDED_OVER, "sessions-handed-over")

enum edge_counter {
#define C(name, text) EDGE_##name,
	EDGE_COUNTERS(C)
#undef C
		EDGE_COUNT
};

struct dispatch;
struct link;
struct session;

struct dispatch_config {
	const char *version;                      /* of the daemon */
	const char *backend;                      /* "simulated", "vtd", "smmuv3", "none" */
	uint8_t instance[DISPATCH_INSTANCE_SIZE]; /* another one after every start */
	const char *const *notes; /* what an operator should know, a sentence each */
	size_t note_count;
	uint32_t grace_ms;               /* how long a session outlives its connection; 0: 30 s */
	uint32_t hand_over_ms;           /* how long a hand-over waits for its process; 0: 30 s */
	uint32_t operations_per_session; /* under way in hardware at once; 0: 64 */
	uint32_t operations_max;         /* of all sessions; 0: 4096 */
	uint32_t output_max;             /* bytes of unread replies of a link; 0: 256 KiB */
	uint32_t events_max;             /* unread events of a link; 0: 1024 */
	uint32_t requests_max;           /* of a datagram, at most; 0: WIRE_REQUESTS_MAX */
	uint32_t remembered_max;         /* bytes of replies that a session can ask for again; 0: */
					 /* two of the largest datagrams */
	const struct policy *policy;
	struct limits *limits;     /* users are charged for what their clients have */
	const struct state *state; /* the broker's: sessions and replies are recorded there, too */
};

/* What a request is about, as far as it says so. */
struct dispatch_subject {
	uint64_t set, device; /* 0: none */
	const char *set_name; /* as the request has it; NULL: it has none, or it is not known now */
	uint32_t number;
	bool has_number, guest; /* the number is a guest PASID */
	bool has_rid;           /* the address of a device */
	struct rid rid;
};

/* Who caused something. */
struct dispatch_cause {
	uint64_t session;   /* 0: none */
	uint32_t operation; /* on the wire; 0: none, as of the end of a session */
	uint32_t uid;
	int32_t pid;
	bool has_peer; /* uid and pid are known; false: time, hardware or the daemon itself */
};

struct dispatch_refusal {
	struct dispatch_cause cause;
	struct dispatch_subject subject;
	const struct error *error;
	bool is_change; /* of what it asked for */
};

struct dispatch_ports {
	uint64_t (*now_ms)(void *ctx);                           /* monotonic, the broker's clock */
	void (*random)(void *ctx, void *ret_bytes, size_t size); /* unguessable; cannot fail */
	void (*dispose_fd)(void *ctx, int fd); /* takes it; executor_dispose() in the daemon */
	/* A parked session was resumed or has ended: what dispatch_disconnect() took comes back,
	 * once. */
	void (*unpark)(void *ctx, void *user);
	/*
	 * Makes a connection that serves one set, charged to this user, by way of
	 * dispatch_connect_handed(); *ret_fd is its other end. A status, with the error filled.
	 */
	int (*hand)(
		void *ctx, struct set_id set, uint32_t uid, int *ret_fd, struct error *ret_error);
	/* A descriptor for reading of the set's exported map (broker_set_export()). As above. */
	int (*export_fd)(void *ctx, struct set_id set, int *ret_fd, struct error *ret_error);
	/* Disconnects a link if its other end is closed and everything was read. */
	void (*notice_end)(void *ctx, void *user);
	/*
	 * A session of an earlier run is taken over; its process had this number, and `born`. 0:
	 * it lives, or nobody can know, and *ret_user is kept for the session as that of
	 * dispatch_disconnect() is. -ESRCH: it is dead.
	 */
	int (*revive)(
		void *ctx, struct session *session, int32_t pid, uint64_t born, void **ret_user);
	/* A session is another process's from now on; NULL: nobody needs to know. */
	void (*handed_over)(
		void *ctx, uint64_t session, struct set_id set, int32_t from, int32_t to);
	/* An admin has confirmed that no VMM holds a device; NULL: nobody needs to know. */
	void (*confirmed)(void *ctx, const struct actor *actor, bool was_blocked);
	/*
	 * The hardware operation number `index` of those that take unusually long, as a sentence;
	 * false: there are not so many. NULL: nobody knows.
	 */
	bool (*hanging)(void *ctx, uint32_t index, char *ret_text, size_t size);
	/*
	 * For an audit trail; NULL: there is none, then all three are. Each change, in order, once
	 * it was made and before it is final; kind 0: `device` changes that are not known any more.
	 * `count` is 1; or more, when the same became of so many neighbouring numbers, from
	 * change->host on.
	 */
	void (*changed)(void *ctx, const struct change *change, uint32_t count,
		const struct dispatch_cause *cause);
	/* What was changed until now is final. Comes before anybody is told. */
	void (*settled)(void *ctx);
	void (*refused)(void *ctx, const struct dispatch_refusal *refusal);
	/* Something has ended that no client asked for, and no operation of ours; NULL: nobody
	 * did. */
	void (*ended)(void *ctx, const struct outcome *outcome);
	/* Closes what hand() or export_fd() gave, or our copy of it: nothing in it can block. */
	void (*close_own)(void *ctx, int fd);
	void *ctx;
};

/* Who connected. */
struct dispatch_peer {
	struct policy_peer who;
	int32_t pid;
	uint64_t born; /* tells it from another process with the same number; 0: unknown */
};

/*
 * The configuration's numbers are copied; its strings, notes, policy and limits, and the broker,
 * are borrowed until dispatch_free(). -ENOMEM.
 */
int dispatch_new(const struct dispatch_config *config, const struct dispatch_ports *ports,
	struct broker *broker, struct dispatch **ret_dispatch);
/* Frees links and sessions, which stay in the broker and in the records, for the next run; parked
 * users come back, descriptors are disposed. */
void dispatch_free(struct dispatch *dispatch);

/*
 * Once, before anything else, and after broker_recover(): takes over the sessions that an earlier
 * run has recorded, with what they were answered. Each is parked from now on, for as long as one
 * whose connection was lost; those whose process is dead, or whose connection served a set, end,
 * and so do sets whose session is not there any more. 0; -ENOMEM; -EBADMSG: the records contradict
 * themselves, and nobody must be served from them.
 */
int dispatch_recover(struct dispatch *dispatch);

/*
 * Other settings at run time. Of `config` the version, the backend, the instance, requests_max and
 * operations_max, which clients were told or have room for, stay what they were, and so do the
 * pointers to policy, limits and state; the notes are borrowed from here on. What `policy` points
 * to is another one already, and of what peers matched of its cgroups only the bits `same` mean
 * what they did. Sessions of admins, observers and participants to whom it does not allow that any
 * more are over, and their connections to be closed; how many is returned. Those that are parked
 * are asked when they come back; VMMs keep what they have.
 */
uint32_t dispatch_configure(
	struct dispatch *dispatch, const struct dispatch_config *config, uint64_t same);
/* Other notes for operators; borrowed. */
void dispatch_set_notes(struct dispatch *dispatch, const char *const *notes, size_t count);

/* From now on every request is refused with REASON_SHUTTING_DOWN. */
void dispatch_shut_down(struct dispatch *dispatch);

/*
 * STATUS_QUOTA with REASON_LIMIT, STATUS_RETRY with REASON_NO_MEMORY. The link is the
 * dispatcher's; it is gone with dispatch_disconnect().
 */
int dispatch_connect(struct dispatch *dispatch, const struct dispatch_peer *peer,
	struct link **ret_link, struct error *ret_error);
/*
 * A link for the one connection that serves this set, whoever has its other end: there must not be
 * one yet. Charged to the user. Who hello is from is told with dispatch_identify().
 * STATUS_QUOTA with REASON_LIMIT, STATUS_RETRY with REASON_NO_MEMORY.
 */
int dispatch_connect_handed(struct dispatch *dispatch, struct set_id set, uint32_t uid,
	struct link **ret_link, struct error *ret_error);
/*
 * Who sent the datagram that dispatch_receive() gets next on such a link; NULL: nobody knows. Of no
 * effect once there is a session. STATUS_QUOTA or STATUS_RETRY: then nobody is known.
 */
int dispatch_identify(struct dispatch *dispatch, struct link *link,
	const struct dispatch_peer *peer, struct error *ret_error);
void link_set_user(struct link *link, void *user);
void *link_user(const struct link *link);

/*
 * One datagram, as recvmsg() gave it: fds and fd_count what came with it, fds_truncated MSG_CTRUNC,
 * size > WIRE_DATAGRAM_MAX when it was cut (MSG_TRUNC). The descriptors are taken, always.
 * Returns 0, or 1 when the connection is to be closed for abuse (after sending what there is to
 * send).
 */
int dispatch_receive(struct dispatch *dispatch, struct link *link, const uint8_t *data, size_t size,
	const int *fds, size_t fd_count, bool fds_truncated);

/* What all requests since the start have cost. */
uint64_t dispatch_cost(const struct dispatch *dispatch);

/* May the server read more from it? false while unread replies are at a limit: its own, or its
 * user's, or the host's. */
bool dispatch_readable(const struct dispatch *dispatch, const struct link *link);
/* The link is good for nothing any more (its session was resumed on another one, its set is gone
 * and everything was sent, or memory ran out). */
bool dispatch_doomed(const struct link *link);

struct dispatch_datagram {
	const uint8_t *data;
	size_t size;
	const int *fds; /* stay the dispatcher's */
	size_t fd_count;
};

/*
 * The next link that has something to send, or is doomed, and was not returned since it last had
 * nothing. NULL: none.
 */
struct link *dispatch_next_output(struct dispatch *dispatch);
/* The next datagram for the link; valid until the next call about this link. NULL: none. */
const struct dispatch_datagram *dispatch_peek(struct dispatch *dispatch, struct link *link);
/* The datagram of the last dispatch_peek() was sent; its descriptors are disposed of. */
void dispatch_sent(struct dispatch *dispatch, struct link *link);
/* Bytes of replies that wait to be sent. */
size_t dispatch_unsent(const struct link *link);

/*
 * After each broker_complete() and broker_lane_lost(), before anything else: records the replies of
 * what ended. Whatever comes between would settle what was done without its reply, and then the
 * request would be done once more for a client that asks again after a death of the daemon.
 */
void dispatch_ended(struct dispatch *dispatch);
/* Turns what ended in the broker into replies, and what changed into events. */
void dispatch_pump(struct dispatch *dispatch);

/*
 * The connection is gone, and the link with it. With peer_dead the session ends now (NULL is
 * returned). Otherwise it is parked, if there is one: then it is returned, `user` is kept for it
 * and comes back through unpark(). When NULL is returned, `user` stays the caller's.
 */
struct session *dispatch_disconnect(
	struct dispatch *dispatch, struct link *link, bool peer_dead, void *user);
/* The process of a parked session has died: it ends now; unpark() is called from within. */
void dispatch_peer_dead(struct dispatch *dispatch, struct session *session);

/* Answers what has passed its deadline, ends sessions whose grace period is over, ends quarantines.
 */
void dispatch_tick(struct dispatch *dispatch);
/* When dispatch_tick() has something to do next: ms on the port's clock, UINT64_MAX for never. */
uint64_t dispatch_next_tick(const struct dispatch *dispatch);

void dispatch_count_edge(struct dispatch *dispatch, enum edge_counter counter);
uint64_t dispatch_edge(const struct dispatch *dispatch, enum edge_counter counter);

/* How often something was refused for this reason since the start. */
uint64_t dispatch_refusals(const struct dispatch *dispatch, enum reason reason);
/* Sessions, the parked ones too; and the operations under way. */
uint32_t dispatch_sessions(const struct dispatch *dispatch);
uint32_t dispatch_operations(const struct dispatch *dispatch);

/* For the log: the session behind the link, 0 when there is none yet; its set, v == 0 when none. */
uint64_t link_session(const struct link *link);
/* Who is at the other end; false: nobody is known yet. */
bool link_who(const struct link *link, int32_t *ret_pid, uint32_t *ret_uid);
struct set_id link_set(const struct link *link);

#endif
