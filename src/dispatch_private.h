/* SPDX-License-Identifier: MIT */
/*
 * What the dispatcher's files share. Nobody else includes this.
 *
 *   dispatch.c             links, datagrams in, time
 *   dispatch_request.c     one request: preconditions, the window, its reply
 *   dispatch_cost.c        what requests cost
 *   dispatch_configure.c   other settings at run time
 *   dispatch_operation.c   what is under way in hardware: cookies, deadlines, outcomes
 *   dispatch_output.c      datagrams out
 *   dispatch_watch.c       events
 *   dispatch_audit.c       what happened and who caused it, for the audit trail
 *   dispatch_connect.c     connections that serve one set
 *   dispatch_handover.c    sessions that go to another process
 *   dispatch_recover.c     sessions of an earlier run
 *   dispatch_move.c        sets that move, and the words that daemons give each other
 *   dispatch_table.c       the table of operations
 *   dispatch_*.c, others   the handlers in it
 *
 * The rule of records: what a request has done and the reply that is remembered of it are one
 * change. dispatch_settle() comes when both are there, and before the server gets a chance to send
 * the reply: at the end of each change that is done at once, of each outcome, of hello, and of
 * whatever else has touched the broker or a session (pump, disconnect). Not between the two. What
 * asks hardware is recorded as under way before the broker is asked; the broker settles that
 * together with its intent, before it hands anything to the hardware.
 */
#ifndef PASIDD_DISPATCH_PRIVATE_H
#define PASIDD_DISPATCH_PRIVATE_H

#include <sys/queue.h>

#include "dispatch.h"
#include "session.h"
#include "wire.h"

#define DISPATCH_PAGE_DEFAULT  128u /* entries of a list's page */
#define DISPATCH_PAGE_MAX      512u
#define DISPATCH_STATUS_MAX    512u /* bytes of an encoded status */
#define DISPATCH_WATCH_BUCKETS 256u
#define DISPATCH_PATIENCE_MAX_MS                                                                   \
	60000u /* a function that answers nothing keeps its reset so long */
#define DISPATCH_DONE_MAX 4
/* Descriptors on their way are counted by the kernel, for the daemon as a whole. */
#define DISPATCH_EXPORTS_MAX 8u

/* ---------------------------------------------------------------- links and their output */

/* A datagram on its way out. */
struct outbuf {
	TAILQ_ENTRY(outbuf) link;
	uint8_t *data;
	uint32_t size, room;
	int fd;      /* goes with one of its replies; -1: none */
	bool fd_own; /* from ports.hand() */
	bool sealed; /* takes no more */
};
TAILQ_HEAD(outbuf_list, outbuf);

#define WATCH_CLASSES 3u /* of priority: 0 is before 1 */

/* Which events a link wants. */
struct watch_wish {
	uint64_t from;  /* 0: only those to come */
	uint64_t set;   /* 0: of any */
	uint64_t name;  /* hash of a set's; 0: of any */
	uint64_t kinds; /* a bit each, 0: all */
	uint32_t priority;
};

/* A link that wants events. */
struct watcher {
	TAILQ_ENTRY(watcher) link;
	struct link *owner;
	struct change *changes; /* a ring */
	uint32_t first, count, room;
	uint64_t lost; /* after the last one in the ring; lost_sequence is the last of them */
	uint64_t lost_sequence;
	uint64_t set; /* whose list it is in; 0: that of those who hear everything */
	struct watch_wish wish;
	uint64_t next; /* while it is behind: the first one that is not in the ring */
	bool behind;   /* events that others had are still to be had from the broker */
};
TAILQ_HEAD(watcher_list, watcher);

/* What a link is that serves one set. */
struct handed {
	TAILQ_ENTRY(handed) link;
	struct link *owner;
	struct set_id set;
	uint32_t uid; /* who is charged */
	/* It is not the one of its set: it was made for who takes over, or is left by who did not.
	 */
	bool spare;
	struct handover *handover; /* of those, while it waits */
};
TAILQ_HEAD(handed_list, handed);

/*
 * A session that is to be another process's; once it is, what that process is known by if its hello
 * was not answered.
 */
struct handover {
	TAILQ_ENTRY(handover) same; /* with the same hash */
	TAILQ_ENTRY(handover) open; /* until it is taken: first to end first */
	struct session *session;
	struct link *heir; /* the connection that was made for it; NULL: none */
	uint64_t digest;   /* of the secret */
	uint64_t until;
	uint8_t secret[SESSION_TOKEN_SIZE]; /* until it is taken */
	bool taken;
};
TAILQ_HEAD(handover_list, handover);

struct link {
	TAILQ_ENTRY(link) all;
	TAILQ_ENTRY(link) ready;
	struct session *session; /* NULL before hello */
	struct peer *peer;       /* NULL: handed, and nobody is known yet */
	struct handed *handed;   /* NULL: it was accepted */
	void *user;
	struct outbuf_list output;
	struct watcher *watcher; /* NULL: it does not watch */
	uint32_t unsent;         /* bytes that wait to be sent */
	uint32_t reserved;       /* for replies of operations under way that it waits for */
	uint32_t charged;        /* of both, to `place` */
	uint32_t place;          /* of who is charged, in the limits */
	uint16_t abuse;
	uint16_t exports; /* descriptors of exported maps that it was given */
	uint8_t ready_class;
	bool is_ready : 1;  /* in the list of its class */
	bool announced : 1; /* the server knows that there is output */
	bool doomed : 1;
	bool ending : 1; /* doomed once everything was sent */
	bool bereft : 1; /* its session was handed over */
};
TAILQ_HEAD(link_list, link);

/* ---------------------------------------------------------------- operations under way */

struct operation_type;

/* A change that waits for the hardware. */
struct operation {
	TAILQ_ENTRY(operation) by_deadline; /* those with one, or the list of free ones */
	struct session *session;            /* NULL: it has ended */
	struct remembered *remembered;
	const struct operation_type *type;
	uint64_t deadline; /* UINT64_MAX: none */
	uint32_t generation, number;
	uint32_t reserved;               /* in its link, while the client waits */
	struct dispatch_subject subject; /* without a name */
	bool waiting;                    /* the client wants the reply as soon as there is one */
	bool used;
};
TAILQ_HEAD(operation_list, operation);

/* ---------------------------------------------------------------- requests */

/* One request while it is handled, or one outcome while its reply is made. */
struct call {
	struct dispatch *d;
	struct session *session; /* NULL before hello */
	struct link *link;
	struct actor actor;
	const ProtobufCMessage *message; /* of the operation's type */
	const struct operation_type *type;
	uint64_t id, cookie;
	uint32_t operation;
	uint32_t cost;
	const int *fds;
	size_t fd_count; /* 0 once the broker has them */
	int own_fd;      /* from ports.hand(), goes with the reply */
	bool has_own_fd;
	struct dispatch_subject subject;
	struct wire_out out; /* the result's fields */
	struct error error;
};

#define ALLOW_VMM         (1u << ROLE_VMM)
#define ALLOW_ADMIN       (1u << ROLE_ADMIN)
#define ALLOW_OBSERVER    (1u << ROLE_OBSERVER)
#define ALLOW_PARTICIPANT (1u << ROLE_PARTICIPANT)
#define ALLOW_HANDED      (1u << 7) /* a VMM on a connection that serves one set */

/* One line of the table. */
struct operation_type {
	/*
	 * Does it, and writes the result's fields to call->out. Returns 0, or why not with
	 * call->error filled. `is_async`: 0 means that the broker took it, with call->cookie.
	 */
	int (*handle)(struct call *call);
	/* The result of an operation that has ended well. NULL: it has none. */
	int (*finish)(struct call *call, const struct outcome *outcome);
	/* What the request takes beyond that it came, in numbers, entries and the like; NULL:
	 * next to nothing. */
	uint32_t (*cost)(const struct call *call);
	/* Of a change: the most bytes of its result, and for each unit of cost; 0: not more than a
	 * status. */
	uint16_t reply;
	uint8_t reply_each;
	uint8_t roles;     /* ALLOW_* */
	uint8_t fd_counts; /* bit n: it may come with n descriptors */
	bool no_hello;     /* allowed before hello */
	bool is_change;    /* done once, reply remembered */
	bool is_async;
	bool is_end; /* of a set: at most one for each, which the broker never refuses for load */
	bool has_result; /* pasid.v1.Reply has a field of the same number */
	/*
	 * Of one without a result: refusals that say that it is so already. That is a success where
	 * a restart interrupted it, because it was in order when it was begun.
	 */
	uint8_t done[DISPATCH_DONE_MAX];
};
_Static_assert(REASON_COUNT <= UINT8_MAX, "a reason fits in a byte");

/* NULL: not an operation. */
const struct operation_type *operation_type(uint32_t operation);

struct dispatch {
	struct dispatch_config config;
	struct dispatch_ports ports;
	struct broker *broker;
	struct sessions *sessions;
	uint64_t started;
	bool shutting_down;
	bool has_waits; /* somebody began to wait in this datagram */
	uint32_t dear;  /* what this datagram has cost beyond its size */
	uint64_t cost;  /* of all since the start */
	uint64_t edge[EDGE_COUNT];

	struct link_list links, ready[WATCH_CLASSES];
	struct outbuf_list spare;
	uint32_t spare_count;

	struct operation *operations; /* operations_max of them, and the ends of all sets */
	uint32_t operations_touched;  /* those above were never used */
	struct operation_list free_operations, by_deadline;
	uint32_t operation_count, end_count;

	uint64_t next_change;
	uint32_t watcher_count;
	struct watcher_list watch_all[WATCH_CLASSES];
	struct watcher_list watch_set[DISPATCH_WATCH_BUCKETS];

	struct handed_list handed[DISPATCH_WATCH_BUCKETS];
	uint32_t handed_count;
	bool handed_gone; /* a set of one may be gone */

	struct handover_list handovers[DISPATCH_WATCH_BUCKETS], open_handovers;

	uint64_t refused[REASON_COUNT];

	uint64_t next_told; /* the next change for the audit trail */
	struct dispatch_cause cause;

	/* Scratch, for one datagram, request or outcome at a time. */
	const struct peer *peer_read; /* whose peer this is */
	struct policy_peer peer;
	struct wire_arena arena;
	struct wire_batch batch;
	struct outcome outcome;
	struct dispatch_datagram datagram;
	struct hpasid numbers[BROKER_ALLOCATE_MAX];
	union {
		struct pasid_ref refs[WIRE_LIST_MAX];
		struct device_id devices[BROKER_PAIRS_MAX];
		struct bind_pair pairs[BROKER_PAIRS_MAX];
	};
	uint8_t body[WIRE_DATAGRAM_MAX];
};

/* ---------------------------------------------------------------- dispatch.c */

/* With numbers for those that are 0. */
struct dispatch_config dispatch_defaults(const struct dispatch_config *from);
/* NULL: no memory. */
struct link *link_new(struct dispatch *d);
void link_free(struct dispatch *d, struct link *link);
/* May it be taken up on another connection? */
bool dispatch_survives(const struct session *session);
/* The session is over, in the broker too. Not for one that is parked. */
void dispatch_end_session(struct dispatch *d, struct session *session);
/* The link loses its session. */
void dispatch_leave(struct dispatch *d, struct link *link);
/* And is to be closed. */
void dispatch_detach(struct dispatch *d, struct link *link);
/* Who asks, into call->actor. */
void dispatch_set_actor(struct call *call);
/* All that was done and remembered until now has happened, for good. */
void dispatch_settle(struct dispatch *d);
/* The end of a turn: it is settled, and hardware is asked for what it takes. */
void dispatch_flush(struct dispatch *d);
/* Counts a refusal and returns its status. */
void dispatch_count(struct dispatch *d, const struct error *error);
void dispatch_dispose(struct dispatch *d, const int *fds, size_t count);

/* ---------------------------------------------------------------- dispatch_audit.c */

/* What changes from now on is caused by the session (NULL: one that is not there yet), with this
 * operation, on this link (NULL: none). */
void dispatch_cause_begin(struct dispatch *d, const struct session *session,
	const struct link *link, uint32_t operation);
/* What changed since is told as caused so; what comes is nobody's. */
void dispatch_cause_end(struct dispatch *d);
/* The same for an operation that has ended well: what changed in its set. */
void dispatch_cause_outcome(struct dispatch *d, const struct operation *operation);
/* The call's error is a refusal. */
void dispatch_tell_refusal(const struct call *call);
/* A whole datagram was refused. */
void dispatch_tell_refused(struct dispatch *d, const struct link *link, const struct error *error);

/* ---------------------------------------------------------------- dispatch_request.c */

/* Handles one request; takes the datagram's descriptors, which are this request's. */
void dispatch_request(struct dispatch *d, struct link *link, const struct wire_request *request,
	const int *fds, size_t fd_count, bool fds_truncated);
/* Makes call->out ready for the result's fields. */
void dispatch_result_begin(struct call *call);
/*
 * The encoded reply without its id, in d->body: the result in call->out when *r is 0, else the
 * refusal, which is counted. An error of ours in *r becomes a status that a client can be told.
 */
void dispatch_encode(struct call *call, int *r, const uint8_t **ret_body, size_t *ret_size);
/*
 * A restart interrupted this change, and now it is refused: only because it is done? Then that is
 * no refusal.
 */
bool dispatch_was_done(const struct call *call, const struct remembered *remembered);
/* The most bytes that a reply takes to a request of that cost: of a change its result, else a
 * refusal. */
uint32_t dispatch_reply_room(const struct operation_type *type, uint32_t cost);

/* ---------------------------------------------------------------- dispatch_operation.c */

int operations_init(struct dispatch *d);
/* A place and a cookie for the call. */
int operation_open(
	struct call *call, struct remembered *remembered, struct operation **ret_operation);
/* Its handler has read it: whatever comes of it later is told of with what it is about. */
void operation_begun(struct operation *operation, const struct call *call);
void operation_close(struct dispatch *d, struct operation *operation);
/*
 * The client waits from now on, up to its deadline; room for the reply is kept in the link's
 * account. STATUS_RETRY with REASON_OVERLOAD when there is none.
 */
int operation_wait(
	struct call *call, struct operation *operation, const struct wire_request *request);
/* Nobody waits any more; the work goes on. */
void operation_unwait(struct dispatch *d, struct operation *operation);
/* Answers what has ended; was there anything? */
bool operations_drain(struct dispatch *d);
/* Answers PENDING where a deadline has passed. */
void operations_tick(struct dispatch *d, uint64_t now);
uint64_t operations_next_tick(const struct dispatch *d);

/* ---------------------------------------------------------------- dispatch_output.c */

/*
 * Room for `size` bytes of a reply, in memory and in the accounts. STATUS_RETRY with
 * REASON_NO_MEMORY or REASON_OVERLOAD.
 */
int link_make_room(struct dispatch *d, struct link *link, size_t size, struct error *ret_error);
/* Of that, the accounts alone. */
int link_check_account(struct dispatch *d, struct link *link, size_t size, struct error *ret_error);
/* Keeps the account in step with what is unsent and reserved, as far as it goes. */
void link_account(struct dispatch *d, struct link *link);
/*
 * Queues a reply; takes the descriptor (-1: none). Without memory, which link_make_room() rules
 * out, the link is doomed: a client that misses a reply would wait for ever.
 */
void link_reply(struct dispatch *d, struct link *link, uint64_t id, const uint8_t *body,
	size_t size, int fd);
/* The same with a descriptor from ports.hand(). */
void link_reply_own(struct dispatch *d, struct link *link, uint64_t id, const uint8_t *body,
	size_t size, int fd);
/* Queues the refusal of a whole datagram. */
void link_refuse(struct dispatch *d, struct link *link, int status, const struct error *error);
void link_announce(struct dispatch *d, struct link *link);
void link_doom(struct dispatch *d, struct link *link);
void output_clear(struct dispatch *d, struct link *link);
void output_done(struct dispatch *d);

/* ---------------------------------------------------------------- dispatch_watch.c */

/*
 * Begins, or goes on with another wish. STATUS_QUOTA with REASON_LIMIT, STATUS_RETRY with
 * REASON_NO_MEMORY; STATUS_INVALID with REASON_BAD_RANGE for events that are still to come.
 */
int watch_start(struct dispatch *d, struct link *link, const struct watch_wish *wish,
	struct error *ret_error);
void watch_stop(struct dispatch *d, struct link *link);
/* The session's set is another one now. */
void watch_moved(struct dispatch *d, struct link *link);
/* Hands changes to those who watch. */
void watch_drain(struct dispatch *d);
/* Writes the link's events to a datagram, as many as there is room for. */
void watch_write(struct dispatch *d, struct link *link, struct wire_out *out);
/* Is there one for the link? */
bool watch_has_events(const struct link *link);

/* ---------------------------------------------------------------- dispatch_connect.c */

void handed_free(struct dispatch *d, struct link *link);
/* Ends the links whose set is gone, after what they are still to be sent. */
void handed_sweep(struct dispatch *d);
int handed_hello(struct call *call, const Pasid__V1__Hello *hello, struct session **ret_session);

/* The connection that was made for the set just now. */
struct link *handed_newest(struct dispatch *d, struct set_id set);

/* ---------------------------------------------------------------- dispatch_handover.c */

/* The session ends, or another one begins to wait; NULL is fine. */
void handover_end(struct dispatch *d, struct handover *handover);
void handovers_free(struct dispatch *d);
/* Those that nobody took in time. */
void handover_tick(struct dispatch *d, uint64_t now);
uint64_t handover_next_tick(const struct dispatch *d);
/* Hello with a secret, on a connection of either kind. */
int handover_hello(struct call *call, const Pasid__V1__Hello *hello, struct session **ret_session);
/* A session of an earlier run may have been taken over. -ENOMEM. */
int handover_recover(struct dispatch *d, struct session *session);

/* ---------------------------------------------------------------- handlers' helpers
 * (dispatch_ref.c) */

/* The set that a request names; v == 0 when it names none: its own, or in a list of an admin's all.
 */
int ref_set(struct call *call, const Pasid__V1__SetRef *ref, struct set_id *ret_set);
/* The same for a list: a set that is named must be there. */
int ref_list(struct call *call, const Pasid__V1__SetRef *ref, struct set_id *ret_set);
/* The request is about that number, for the audit trail: the first one that it names counts. */
void ref_number(struct call *call, uint32_t number, bool guest);
int ref_pasid(struct call *call, const Pasid__V1__PasidRef *ref, struct pasid_ref *ret_ref);
int ref_device(struct call *call, uint64_t id, struct device_id *ret_device);
/* Into d->devices. */
int ref_devices(struct call *call, const uint64_t *ids, size_t count);
int ref_address(struct call *call, const char *text, struct rid *ret_rid);

/* A page of a list while it is written. */
struct page {
	struct call *call;
	uint64_t cursor; /* for the broker's iteration */
	uint64_t next;   /* where the page after this one begins */
	uint32_t left;
	bool full;
	/* The broker's iteration passes over what is not wanted, from `first` on. */
	bool scans;
	uint64_t first;
	uint32_t calls;
};

struct page page_begin(struct call *call, uint64_t after, uint32_t limit);
/* May the iteration go on, for this request? Otherwise, or when it found nothing more for now, the
 * page says where the next one begins. For what can be passed over in great numbers. */
bool page_goes_on(struct page *page);
/* Adds an entry that the iteration found; false: it belongs to the next page, stop. */
bool page_add(struct page *page, const ProtobufCMessage *entry);
void page_end(struct page *page);

void call_fill_counter(Pasid__V1__Counter *counter, const struct account *account);
/* The message's fields as the result's. */
void call_write(struct call *call, const ProtobufCMessage *message);

/* ---------------------------------------------------------------- dispatch_cost.c */

uint32_t cost_search(const struct call *call);
uint32_t cost_status(const struct call *call);
uint32_t cost_allocate(const struct call *call);
uint32_t cost_free(const struct call *call);
uint32_t cost_set_destroy(const struct call *call);
uint32_t cost_set_move(const struct call *call);
uint32_t cost_set_move_reserve(const struct call *call);
uint32_t cost_bind(const struct call *call);
uint32_t cost_unbind(const struct call *call);
/* About what it takes to grant a number. */
uint32_t cost_one(const struct call *call);
uint32_t cost_acknowledge(const struct call *call);
uint32_t cost_watch(const struct call *call);
/* What goes to a worker, or makes something that has to be looked for. */
uint32_t cost_work(const struct call *call);

/* ---------------------------------------------------------------- the handlers, by file */

int handle_hello(struct call *call);
int handle_ping(struct call *call);
int handle_get_status(struct call *call);
int handle_watch(struct call *call);
int handle_limit_list(struct call *call);
int handle_recover(struct call *call);
int handle_hand_over(struct call *call);
/* May who says hello have this role? */
int hello_check_role(struct call *call, enum role role);
/* Goes on with it on this connection, whatever it had before. */
void hello_go_on(struct call *call, struct session *session);

int handle_set_create(struct call *call);
int handle_set_adjust(struct call *call);
int handle_set_destroy(struct call *call);
int finish_set_destroy(struct call *call, const struct outcome *outcome);
int handle_set_get(struct call *call);
int handle_set_list(struct call *call);
int handle_set_connect(struct call *call);
int handle_set_export(struct call *call);
int handle_set_move_export(struct call *call);
int handle_set_move_reserve(struct call *call);
int handle_set_move_commit(struct call *call);
int handle_set_move_take(struct call *call);
int handle_set_move_cancel(struct call *call);
int handle_set_move_release(struct call *call);
int handle_set_move_status(struct call *call);
/* The set as the result. */
int set_write(struct call *call, struct set_id set);

int handle_allocate(struct call *call);
int handle_extend(struct call *call);
int handle_free(struct call *call);
int handle_guest_attach(struct call *call);
int handle_guest_detach(struct call *call);
int handle_guest_find(struct call *call);
int handle_host_find(struct call *call);
int handle_data_set(struct call *call);
int handle_grant_list(struct call *call);
int handle_quarantine_end(struct call *call);
int handle_acknowledge(struct call *call);
int handle_hold(struct call *call);
int handle_release(struct call *call);
int handle_hold_list(struct call *call);

int handle_device_add(struct call *call);
int handle_device_share(struct call *call);
int finish_device(struct call *call, const struct outcome *outcome);
int handle_device_slice(struct call *call);
int handle_device_remove(struct call *call);
int handle_device_list(struct call *call);
int handle_device_drained(struct call *call);
int handle_memory_map(struct call *call);
int handle_memory_unmap(struct call *call);

int handle_bind(struct call *call);
int finish_bind(struct call *call, const struct outcome *outcome);
int handle_unbind(struct call *call);
int handle_rid_attach(struct call *call);
int finish_rid_attach(struct call *call, const struct outcome *outcome);
int handle_rid_detach(struct call *call);
int handle_replace(struct call *call);

/* ---------------------------------------------------------------- dispatch_filter.c */

/* The device that a list is about. */
struct device_filter {
	bool given;
	struct device_id id; /* v == 0: all with that RID */
	struct rid rid;
};
int filter_read(
	struct call *call, const Pasid__V1__DeviceRef *device, struct device_filter *ret_filter);
int handle_binding_list(struct call *call);

#endif
