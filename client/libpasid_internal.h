/* SPDX-License-Identifier: MIT */
/*
 * Inside libpasid. A client owns its connection and a list of calls in the order of their ids.
 *
 *   public function -> start_xxx() makes the message -> call_start() queues it
 *   io_flush() sends batches of queued calls; io_receive() matches replies with calls
 * (call_finish()) link_*() makes, loses and takes up the connection pasid_dispatch() hands finished
 * calls to their callbacks; sync_*() waits for one call
 */
#ifndef LIBPASID_INTERNAL_H
#define LIBPASID_INTERNAL_H

#include <sys/types.h>

#include "libpasid.h"
#include "wire.h"

#define CLIENT_PARKED_MAX 64   /* calls that ended pending and are kept for pasid_again() */
#define CLIENT_EVENTS_MAX 4096 /* events that wait for pasid_dispatch() */
#define CLIENT_RETRY_MS   50   /* between the first attempts to connect; each time it doubles */
#define CLIENT_RETRY_MAX  1000 /* up to this */
#define CLIENT_MARGIN_MS  2000 /* how much later than the daemon we give up on a call */

enum call_state {
	CALL_QUEUED = 1, /* not sent on this connection yet */
	CALL_SENT,
	CALL_FINISHED, /* has its result, waits to be delivered */
	CALL_PARKED,   /* ended pending */
};

struct sync;
struct view;

/* Who gets the result: a callback, a waiting function, a view of ours, or nobody. */
struct target {
	pasid_callback callback;
	void *userdata;
	struct sync *sync;
	struct view *view;
};

struct call {
	struct call *next, *prev;
	enum call_state state;
	struct target target;
	uint64_t id;
	uint32_t operation; /* field number in pasid.v1.Request */
	uint32_t deadline_ms;
	bool has_deadline;
	bool was_sent; /* on this connection or one before */
	size_t body_size;
	int fds[WIRE_FDS_MAX]; /* copies */
	uint32_t fd_count;
	struct pasid_result result;
	struct pasid_error error;
	void *storage; /* what result points to: `room`, or memory of its own */
	uint64_t room[4];
	uint8_t body[]; /* the operation's message */
};

struct call_list {
	struct call *first, *last;
	size_t count;
};

/* A synchronous call under way. */
struct sync {
	struct pasid_client *client;
	struct call *call; /* ours once it is finished */
	bool done;
};

enum link_state {
	LINK_DOWN = 1, /* no connection, trying */
	LINK_HELLO,    /* connected, hello sent */
	LINK_UP,
	LINK_GONE, /* for good */
};

struct event_ring {
	struct pasid_event *events; /* CLIENT_EVENTS_MAX, made on first use */
	size_t first, count;
	uint64_t dropped;
};

/* What is watched, while there is a callback. */
struct watch {
	uint64_t next; /* the event behind the last one that came; 0: whatever comes */
	uint64_t set, kinds;
	enum pasid_event_priority priority;
	bool acknowledge;
	char name[PASID_NAME_MAX + 1]; /* of a set, or empty */
};

struct pasid_client {
	uint8_t *mark; /* a byte that is zero in a forked child */
	pid_t pid;
	int socket, epoll, timer;
	bool epoll_out;      /* waiting until the socket takes more */
	bool blocking;       /* the socket waits unless it is told not to */
	uint32_t receive_ms; /* how long it waits at most, 0: as long as it takes */
	uint64_t timer_at;   /* what the timer is set to, 0: off */

	char *path; /* NULL: a handed connection, which cannot be made again */
	char name[PASID_NAME_MAX + 1];
	enum pasid_role role;
	uint32_t timeout_ms;

	enum link_state link;
	uint64_t lost_at, retry_at; /* ms */
	uint32_t retry_ms;          /* to wait before the attempt after the next */
	uint64_t resume_ms;         /* for how long it is tried; 0: as the daemon said */
	uint64_t hello_id;
	bool fresh; /* nothing was answered since the connection was made */
	struct pasid_session session;
	char features[512];
	uint8_t token[WIRE_TOKEN_SIZE];
	size_t token_size;
	bool taking; /* the token is the secret of a hand-over, until hello was answered */
	struct pasid_error error;
	struct pasid_error gone; /* why LINK_GONE */

	uint64_t next_id;
	struct call_list calls;    /* queued and sent */
	struct call_list finished; /* to be delivered */
	struct call_list parked;
	struct call *again; /* the last result of pasid_again(), pasid_host_find() */

	struct view *views; /* exported maps that are open */

	struct event_ring events;
	struct watch watch;
	uint64_t watch_told; /* the first event that the callback has not been told of */
	pasid_event_callback event_callback;
	void *event_userdata;
	pasid_connection_callback connection_callback;
	void *connection_userdata;
	uint32_t connection_news; /* bit per enum pasid_connection */

	bool dispatching, closing;
	struct wire_arena arena;
	uint8_t *in, *out, *scratch; /* WIRE_DATAGRAM_MAX each; in has one byte more */
};

/* ------------------------------------------------------------ libpasid.c: state of the client */

uint64_t client_now_ms(void);
/* 0, or -ECHILD in a process that did not make the client. Also refuses a client being closed. */
int client_check(struct pasid_client *client);
/* Fills the last error and returns code. */
__attribute__((format(printf, 4, 5))) int client_fail(
	struct pasid_client *client, int code, const char *reason, const char *format, ...);
__attribute__((format(printf, 4, 5))) void error_fill(
	struct pasid_error *error, int code, const char *reason, const char *format, ...);
/* Frees everything; no callback is running. */
void client_destroy(struct pasid_client *client);

/* ------------------------------------------------------------ libpasid_link.c: the connection */

/* Makes the first connection and waits for the reply to hello. */
int link_open(struct pasid_client *client, int fd);
/* The socket failed with -errno: tries again, or gives up. */
void link_lost(struct pasid_client *client, int error);
/* link_next() has come: connects, or gives up on a hello without an answer. */
void link_retry(struct pasid_client *client);
/*
 * The daemon is about to stop and did nothing: what it refuses so is as good as unanswered, where
 * the session can be taken up when it is back.
 */
bool link_waits_for_restart(const struct pasid_client *client, const Pasid__V1__Status *status);
/* The daemon says so, and why; the session is not to be taken up again. */
bool link_is_handed_over(struct pasid_client *client, const Pasid__V1__Status *refused);
/* The reply to hello. */
void link_hello(struct pasid_client *client, const Pasid__V1__Reply *reply);
/* When link_retry() is due: ms, UINT64_MAX for never. */
uint64_t link_next(const struct pasid_client *client);

/* ------------------------------------------------------------ libpasid_io.c: datagrams */

/* Sends hello on a new connection; -errno. */
int io_send_hello(struct pasid_client *client);
/* Sends queued calls as far as socket and window allow. */
void io_flush(struct pasid_client *client);
/* Reads until there is nothing more, or a budget is used up. */
void io_receive(struct pasid_client *client);
/*
 * Sleeps until a datagram comes, for at most limit_ms (0: as long as it takes), and reads that one.
 * Returns early when a signal comes, and at once where it cannot sleep: poll then.
 */
void io_receive_wait(struct pasid_client *client, uint32_t limit_ms);
/* Could io_flush() send something now? */
bool io_sendable(const struct pasid_client *client);

/* ------------------------------------------------------------ libpasid_call.c: calls */

void call_list_append(struct call_list *list, struct call *call);
void call_list_remove(struct call_list *list, struct call *call);
void call_free(struct call *call);
/* Of the calls that ended pending, of which there is one at least. */
void call_forget_oldest(struct pasid_client *client);
/* The lowest id whose reply the client has not seen. */
uint64_t call_seen_below(const struct pasid_client *client);
/*
 * Queues the operation. The descriptors are copied. 0, or the failure, with the client's error
 * filled.
 */
int call_start(struct pasid_client *client, uint32_t operation, const ProtobufCMessage *message,
	const int *fds, uint32_t fd_count, struct target target);
/* The reply to a call; the descriptor is taken, -1: none. */
void call_reply(struct pasid_client *client, const Pasid__V1__Reply *reply, int fd);
/* Ends the call with code and reason instead of a reply. */
void call_abort(struct pasid_client *client, struct call *call, const struct pasid_error *error);
void call_abort_all(struct pasid_client *client, const struct pasid_error *error, bool only_sent);
/* The view goes: what was asked for it is nobody's. */
void call_forget_view(struct pasid_client *client, const struct view *view);
/* An event came. */
void call_event(struct pasid_client *client, const Pasid__V1__Event *event);
/* Has pasid_dispatch() something to deliver? */
bool call_deliverable(const struct pasid_client *client);

/* ------------------------------------------------------------ libpasid_loop.c: waiting and
 * delivering */

/* Waits until something can be done, at most until `until` (ms), and does it. 0 or -errno. */
int loop_step(struct pasid_client *client, uint64_t until);
/* Makes pasid_fd() readable when pasid_dispatch() has something to do. */
void loop_arm(struct pasid_client *client);

static inline struct target target_async(pasid_callback callback, void *userdata)
{
	return (struct target){.callback = callback, .userdata = userdata};
}
static inline struct target target_sync(struct sync *sync)
{
	return (struct target){.sync = sync};
}
/* Waits for the call that was started with `started` as result; returns its code. */
int sync_wait(struct sync *sync, int started);
void sync_done(struct sync *sync);

/* Declares `sync`, the synchronous call of this function. */
#define SYNC(c) __attribute__((cleanup(sync_done))) struct sync sync = {.client = (c)}

/* The function pasid_NAME(client, args) of an operation that has no result but its code. */
#define SYNC_FUNCTION(name, type)                                                                  \
	int pasid_##name(struct pasid_client *client, type args)                                   \
	{                                                                                          \
		SYNC(client);                                                                      \
		return sync_wait(&sync, start_##name(client, args, target_sync(&sync)));           \
	}
/* The function pasid_NAME_async(). */
#define ASYNC_FUNCTION(name, type)                                                                 \
	int pasid_##name##_async(                                                                  \
		struct pasid_client *client, type args, pasid_callback callback, void *userdata)   \
	{                                                                                          \
		return start_##name(client, args, target_async(callback, userdata));               \
	}

/* ------------------------------------------------------------ libpasid_watch.c */

/* The session was taken up: a new connection does not have the old one's watch. */
void watch_again(struct pasid_client *client);

/* ------------------------------------------------------------ libpasid_map.c */

/* The session was taken up: asks for each map anew. */
void view_ask_again(struct pasid_client *client);
/* And that is what came. */
void view_renew(struct view *view, const struct call *call);
void view_free_all(struct pasid_client *client);

/* ------------------------------------------------------------ libpasid_decode.c */

/* Makes the reply into call->result. 0, -EPROTO (not what the operation answers) or -ENOMEM. */
int decode_reply(struct call *call, const Pasid__V1__Reply *reply);
void decode_status(const Pasid__V1__Status *status, struct pasid_error *ret_error);
void decode_event(const Pasid__V1__Event *event, struct pasid_event *ret_event);
void decode_copy(char *to, size_t room, const char *from);

/* ------------------------------------------------------------ libpasid_set.c */

/* A message that names a set; the pointer that goes into the request is NULL for the own set. */
struct set_key {
	Pasid__V1__SetRef ref;
};
Pasid__V1__SetRef *set_key(struct set_key *key, const struct pasid_set_ref *set);
void number_key(Pasid__V1__PasidRef *ref, struct pasid_number number);

typedef int list_start(
	struct pasid_client *client, const struct pasid_list_args *args, struct target target);
/* Hands one entry of a page to the caller's function. */
typedef int list_each(const struct pasid_result *page, size_t index, void *each);
/* Fetches page after page; every page is a call of its own, so `each` may use the client. */
int list_walk(struct pasid_client *client, const struct pasid_list_args *args, list_start *start,
	list_each *each, void *context);

/* The functions of a list: pasid_NAME() and pasid_NAME_async(), with start_NAME() before. */
#define LIST_FUNCTIONS(name, items, type)                                                          \
	struct name##_walk {                                                                       \
		int (*each)(const struct type *info, void *userdata);                              \
		void *userdata;                                                                    \
	};                                                                                         \
	static int name##_each(const struct pasid_result *page, size_t index, void *context)       \
	{                                                                                          \
		struct name##_walk *walk = context;                                                \
		return walk->each(&page->page.items[index], walk->userdata);                       \
	}                                                                                          \
	int pasid_##name(struct pasid_client *client, const struct pasid_list_args *args,          \
		int (*each)(const struct type *info, void *userdata), void *userdata)              \
	{                                                                                          \
		struct name##_walk walk = {each, userdata};                                        \
		return list_walk(client, args, start_##name, name##_each, &walk);                  \
	}                                                                                          \
	int pasid_##name##_async(struct pasid_client *client, const struct pasid_list_args *args,  \
		pasid_callback callback, void *userdata)                                           \
	{                                                                                          \
		struct pasid_list_args all = {0};                                                  \
		return start_##name(                                                               \
			client, args != NULL ? args : &all, target_async(callback, userdata));     \
	}

#endif
