/* SPDX-License-Identifier: MIT */
/*
 * libpasid: what a VMM, or a program of an administrator, says to pasidd.
 *
 *     struct pasid_client *client;
 *     struct pasid_error error;
 *     if (pasid_open(&(struct pasid_options){.name = "my-vmm"}, &client, &error))
 *             errx(1, "%s", error.message);
 *     uint32_t host;
 *     if (pasid_allocate(client, &(struct pasid_allocate_args){.count = 1}, &host))
 *             warnx("%s", pasid_last_error(client)->message);
 *     pasid_close(client);
 *
 * Results. Every function that returns int returns 0, a positive enum pasid_status when the request
 * was refused, or a negative errno when it did not reach the daemon or the machine failed.
 * pasid_last_error() then has a sentence for people and a stable reason for programs. Outputs are
 * untouched on failure. Negative results:
 * - ENOTCONN: the connection is gone for good; open another client
 * - ECONNRESET: the connection was lost under this call and could not be taken up again: a change
 *   may or may not have been done
 * - ETIMEDOUT: the daemon did not answer in time
 * - ECHILD: the client belongs to another process (see Fork)
 * - EINVAL: an argument that cannot be sent (a name too long, too many items, a descriptor missing)
 * - E2BIG: a request beyond the daemon's datagram limit
 * - ENOMEM, and what the system calls gave
 *
 * Arguments are plain structs: start them with {0}, so that members of later versions are zero.
 * They, and all that they point to, may go as soon as the function returns. A descriptor in an
 * argument stays the caller's: the library duplicates what it has to keep and closes its copies
 * when the reply is there. A descriptor in a result is the receiver's to close, and close-on-exec.
 *
 * Threads. No global state. One client belongs to one thread at a time; several clients do not know
 * each other.
 *
 * Fork. A child cannot use its parent's client: every function says -ECHILD there, except
 * pasid_close(), which frees the child's copy and leaves the parent's session alone.
 *
 * Signals. None is raised (no SIGPIPE) and none is waited for; interrupted calls go on.
 *
 * A lost connection is taken up again, once, with the session's token, and what has no reply yet is
 * sent again under the same ids; the daemon does each of them once. That needs a client opened by
 * path: over a connected descriptor there is no second connection.
 */
#ifndef LIBPASID_H
#define LIBPASID_H

#include "libpasid_map.h"
#include "libpasid_types.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct pasid_client;

/* ------------------------------------------------------------ connection */

enum pasid_role {
	PASID_ROLE_VMM = 1,
	PASID_ROLE_ADMIN = 2,
	PASID_ROLE_OBSERVER = 3,
	PASID_ROLE_PARTICIPANT = 4, /* hears everything, finds owners, and nothing else */
};

struct pasid_options {
	bool has_fd;
	int fd;               /* with has_fd: a connected descriptor, the client's own on success */
	const char *path;     /* NULL: $PASIDD_SOCKET, else PASID_SOCKET_DEFAULT */
	enum pasid_role role; /* 0: a VMM */
	const char *name;     /* for logs, at most PASID_NAME_MAX bytes; NULL: none */
	uint32_t timeout_ms;  /* of the hello and of synchronous calls; 0: PASID_TIMEOUT_DEFAULT */
	/* For how long a lost connection is made again, such as while the daemon is restarted; 0:
	 * as long as the daemon keeps a session (30 s, unless it is configured otherwise). */
	uint64_t resume_ms;
	/* Of pasid_hand_over() in another process: this client goes on with its session. */
	const struct pasid_hand_over *take_over;
	uint64_t reserved[2];
};

/*
 * Connects and says hello. On success *ret_client is the caller's, to be given to pasid_close(). On
 * failure *ret_error, unless NULL, says why: there is no client to ask. options NULL: all defaults.
 */
int pasid_open(const struct pasid_options *options, struct pasid_client **ret_client,
	struct pasid_error *ret_error);

/*
 * Ends the connection and frees the client; NULL is fine. Calls without a reply get no callback.
 * The daemon goes on with what it has begun and tears the session down as configured. From inside a
 * callback: the client lives until the pasid_dispatch() above returns, and takes nothing more.
 */
void pasid_close(struct pasid_client *client);

/* The last failure on this client (code 0 before the first). Valid until the next call. Never NULL.
 */
const struct pasid_error *pasid_last_error(const struct pasid_client *client);

/* The time limit of synchronous calls from here on: milliseconds, or PASID_TIMEOUT_NONE. 0: do not
 * wait at all. */
int pasid_set_timeout(struct pasid_client *client, uint32_t timeout_ms);

/* What hello agreed on. Valid as long as the client. */
struct pasid_session {
	uint32_t version;
	uint64_t session;
	enum pasid_role role;
	uint8_t instance[16]; /* another one after every start of the daemon */
	uint32_t window;      /* calls that can be without a reply at once; further ones wait in the
				 library */
	uint32_t datagram_limit; /* bytes */
	uint32_t request_limit;  /* requests in a datagram */
	uint32_t grace_ms;       /* how long a session outlives its connection */
	const char *features;    /* separated by spaces */
	uint64_t set; /* that the session had when it was opened: taken over, or on a handed
			 connection; else 0 */
};
const struct pasid_session *pasid_session_info(const struct pasid_client *client);

enum pasid_connection {
	PASID_CONNECTION_LOST = 1,    /* trying to take the session up again */
	PASID_CONNECTION_RESUMED = 2, /* and did */
	PASID_CONNECTION_GONE = 3,    /* could not: every call fails from here on */
};
/* Optional: the application is told. Called from pasid_dispatch() only. callback NULL: no more. */
typedef void (*pasid_connection_callback)(
	struct pasid_client *client, enum pasid_connection connection, void *userdata);
int pasid_on_connection(
	struct pasid_client *client, pasid_connection_callback callback, void *userdata);

/* ------------------------------------------------------------ event loops
 *
 * Every operation has a second form, pasid_xxx_async(): it queues the request and returns 0, or
 * refuses it at once (no callback then). The callback gets the result, once. Callbacks are called
 * from pasid_dispatch() and from nowhere else. In a callback everything is allowed but
 * pasid_dispatch() itself, which says -EBUSY; pasid_close() is deferred.
 *
 * What is queued travels with the next pasid_flush(), pasid_dispatch() or synchronous call,
 * together, in as few datagrams as the daemon's limits allow. Requests take effect in the order of
 * the calls.
 */
struct pasid_result;
typedef void (*pasid_callback)(
	struct pasid_client *client, const struct pasid_result *result, void *userdata);

/*
 * A descriptor to poll for pasid_events(). It stays the same over a reconnect, and stays the
 * library's. It is readable when pasid_dispatch() has something to do, which includes queued
 * requests.
 */
int pasid_fd(const struct pasid_client *client);
/* poll(2) events to wait for: POLLIN. */
short pasid_events(const struct pasid_client *client);
/*
 * Sends, receives, calls callbacks. timeout_ms as in poll(2): 0 does not wait, -1 waits for the
 * first thing to do. The number of callbacks that ran, or a negative errno; -ENOTCONN when the
 * connection is gone for good and every callback has been told.
 */
int pasid_dispatch(struct pasid_client *client, int timeout_ms);
/* Sends what is queued as far as the socket takes it. 0 also when something is left for
 * pasid_dispatch(). */
int pasid_flush(struct pasid_client *client);
/* Calls that have no result yet. */
size_t pasid_outstanding(const struct pasid_client *client);

/*
 * A call that ended with PASID_PENDING goes on in the daemon. This asks for its result once more,
 * for at most the client's timeout; *ret_result is filled as the callback of the asynchronous form
 * would get it, and is valid until the next call of a function with this client. id is in
 * pasid_last_error()->object of the call that ended so. PASID_PENDING again; -ENOENT: no such call.
 * At most 64 such calls are remembered, the oldest is forgotten first.
 */
int pasid_again(struct pasid_client *client, uint64_t id, const struct pasid_result **ret_result);

/* ------------------------------------------------------------ results */

struct pasid_result_allocated {
	const uint32_t *numbers;
	size_t count;
};
struct pasid_result_freed {
	uint32_t freed, unchanged;
};
struct pasid_result_bound {
	uint32_t host_pasid; /* 0 for rid_attach */
	size_t count;
	const struct pasid_attached *tables;
	struct pasid_stream_info stream; /* stream_install, stream_replace */
};
struct pasid_result_exported {
	uint64_t set, size;
	uint32_t version;
};
struct pasid_result_page {
	size_t count;
	uint64_t next; /* for the next page; 0: this was the last */
	const struct pasid_set_info *sets;
	const struct pasid_grant_info *grants;
	const struct pasid_device_info *devices;
	const struct pasid_binding_info *bindings;
	const struct pasid_limit_info *limits;
	const struct pasid_hold_info *holds;
	const struct pasid_move_info *moves;
};
struct pasid_result_move {
	const struct pasid_move_info *info;
	size_t count; /* reserve: numbers that cannot be had */
	const uint32_t *conflicts;
};

/* What an asynchronous call ended with. Pointers are valid in the callback. */
struct pasid_result {
	uint64_t id; /* the request's */
	int code;    /* as a synchronous call would have returned; without 0 the rest means nothing
			but: */
	const struct pasid_error *error;
	union {
		struct pasid_set_info set;       /* set_create, set_adjust, set_get, set_connect */
		struct pasid_grant_info grant;   /* host_find */
		struct pasid_device_info device; /* device_add, device_share, device_slice */
		const struct pasid_host_status *status;  /* status */
		struct pasid_result_allocated allocated; /* allocate */
		struct pasid_result_freed freed;         /* free */
		uint32_t host_pasid;                     /* guest_find */
		uint32_t released;                       /* device_drained */
		uint32_t added;                          /* extend */
		bool was_blocked;                        /* recover */
		struct pasid_result_bound bound;         /* bind, rid_attach */
		struct pasid_result_page page;           /* lists; one of the pointers */
		struct pasid_result_move move;           /* move_* but move_list */
		struct pasid_result_exported exported;   /* inside the library only */
		uint64_t next_sequence;                  /* watch */
		uint32_t acknowledged;
		struct pasid_hand_over hand_over; /* hand_over */
	};
	/* device_add with address: the opened device; set_connect: the connection; hand_over: see
	 * there. The receiver's to close; else -1 */
	int fd;
};

/* ------------------------------------------------------------ operations */

/* Is the daemon there? */
int pasid_ping(struct pasid_client *client);
int pasid_ping_async(struct pasid_client *client, pasid_callback callback, void *userdata);

int pasid_status(struct pasid_client *client, struct pasid_host_status *ret_status);
int pasid_status_async(struct pasid_client *client, pasid_callback callback, void *userdata);

/*
 * After records of this boot were lost nothing is granted (reason "unconfirmed"), because VMMs that
 * ran before may still have PASIDs attached that nobody knows of. With this an admin vouches that
 * no VMM holds a device any more, which ends that. May be said twice. *ret_was_blocked, which may
 * be NULL: false when there was nothing to confirm.
 */
int pasid_recover_confirm(struct pasid_client *client, bool *ret_was_blocked);
int pasid_recover_confirm_async(
	struct pasid_client *client, pasid_callback callback, void *userdata);

/*
 * Another process of this host is to go on with the session, and nothing is detached: the set, its
 * numbers, devices and bindings stay as they are. It opens a client with pasid_options.take_over
 * within valid_ms, as the same user (or one that may be an admin); on a handed connection *ret_fd
 * is another connection, to be passed to it and used as pasid_options.fd, else *ret_fd is -1. Pass
 * the secret over a channel that nobody else reads.
 *
 * Until then this client goes on as ever, and its end, or that of its process, is the end of the
 * session. Then it is gone: PASID_CONNECTION_GONE, and pasid_last_error()->reason is "handed-over".
 * So ask when there is nothing outstanding: what the daemon had not read yet was not done
 * (-ECONNRESET or -ENOTCONN here), and what it had begun ends without an answer. Asked for again,
 * the secret before is void.
 *
 * What the new process has to know: pasid_session_info()->set, and what pasid_grant_list(),
 * pasid_device_list() and pasid_binding_list() say; ids stay the same. Maps and watches are opened
 * anew. Its own descriptors of devices and iommufds are the application's to pass; see
 * pasid_change_process(). The daemon's copies stay where they are, and so does memory that was
 * passed to it.
 */
int pasid_hand_over(
	struct pasid_client *client, struct pasid_hand_over *ret_hand_over, int *ret_fd);
int pasid_hand_over_async(struct pasid_client *client, pasid_callback callback, void *userdata);
/* The secret is void. No error when there is none. */
int pasid_hand_over_cancel(struct pasid_client *client);

/*
 * In the process that goes on: the kernel charges the memory that is mapped through this iommufd to
 * it from now on, and not to the one that mapped it (IOMMU_IOAS_CHANGE_PROCESS, Linux 6.14). Only
 * what was mapped from files (IOMMU_IOAS_MAP_FILE, or pasid_memory_map()) can be changed: with a
 * mapping by address nothing is, and -EINVAL is returned; map such memory anew. -EOPNOTSUPP: the
 * kernel does not have it. No request: pasidd is not asked.
 */
int pasid_change_process(int iommufd);

/*
 * Events from here on: callback runs in pasid_dispatch(). NULL: no more. A VMM hears of its own
 * set. Events that come while the application does not dispatch are kept up to 4096; what is
 * dropped is counted in the next one's lost.
 */
typedef void (*pasid_event_callback)(
	struct pasid_client *client, const struct pasid_event *event, void *userdata);
int pasid_watch(struct pasid_client *client, pasid_event_callback callback, void *userdata);

/*
 * The same with a choice. When the connection was lost the library goes on from the last event that
 * came; what cannot be had any more is an event of kind 0 in its place, which says how many in
 * lost.
 */
int pasid_watch_events(struct pasid_client *client, const struct pasid_watch_args *args,
	pasid_event_callback callback, void *userdata);
/*
 * The first event that the callback has not been told of: `from` for a watch that goes on after
 * this one, in another client or process. 0: nothing is watched.
 */
uint64_t pasid_watch_next(const struct pasid_client *client);

/*
 * Numbers that were freed or are being unbound: a participant has let go of them, as far as events
 * up to `seen` ask for it; ret_acknowledged may be NULL.
 */
struct pasid_acknowledge_args {
	const uint32_t *host_pasids;
	size_t count;  /* up to PASID_ALLOCATE_MAX */
	uint64_t seen; /* the last event taken account of; 0: whatever waits */
};
int pasid_acknowledge(struct pasid_client *client, const struct pasid_acknowledge_args *args,
	uint32_t *ret_acknowledged);
int pasid_acknowledge_async(struct pasid_client *client, const struct pasid_acknowledge_args *args,
	pasid_callback callback, void *userdata);

struct pasid_set_create_args {
	const char *name;         /* 1 to PASID_NAME_MAX of [A-Za-z0-9._-], unique on the host */
	enum pasid_set_mode mode; /* 0: translated */
	bool has_quota;           /* false: the configured default */
	uint32_t quota;           /* numbers; 0: what remains of the host's capacity */
	bool has_owner;           /* admins: this user is charged for it, and for its VMM */
	uint32_t owner_uid;
	uint32_t scopes; /* bits of enum pasid_scope; 0: all that the policy allows */
};
/* A VMM's set dies with its session; one made by an admin stays until it is destroyed. ret_info may
 * be NULL. */
int pasid_set_create(struct pasid_client *client, const struct pasid_set_create_args *args,
	struct pasid_set_info *ret_info);
int pasid_set_create_async(struct pasid_client *client, const struct pasid_set_create_args *args,
	pasid_callback callback, void *userdata);

struct pasid_set_adjust_args {
	struct pasid_set_ref set;
	uint32_t quota;
};
/* Below what is in use: PASID_QUOTA. */
int pasid_set_adjust(struct pasid_client *client, const struct pasid_set_adjust_args *args,
	struct pasid_set_info *ret_info);
int pasid_set_adjust_async(struct pasid_client *client, const struct pasid_set_adjust_args *args,
	pasid_callback callback, void *userdata);

struct pasid_set_destroy_args {
	struct pasid_set_ref set;
	bool force; /* unbind and free what it still has; without: PASID_BUSY then */
};
int pasid_set_destroy(struct pasid_client *client, const struct pasid_set_destroy_args *args);
int pasid_set_destroy_async(struct pasid_client *client, const struct pasid_set_destroy_args *args,
	pasid_callback callback, void *userdata);

int pasid_set_get(struct pasid_client *client, const struct pasid_set_ref *set,
	struct pasid_set_info *ret_info);
int pasid_set_get_async(struct pasid_client *client, const struct pasid_set_ref *set,
	pasid_callback callback, void *userdata);

/*
 * Admins: a connection that can do the business of this set and nothing else, for a VMM that opens
 * it with pasid_options.fd, at once or later. *ret_fd is the caller's to hand on and to close. When
 * it is closed everywhere, or the process dies that opened it, everything in the set is detached
 * and freed, and the set stays. A set has one at a time (PASID_BUSY); PASID_RETRY while it is being
 * emptied. ret_info may be NULL. For a set that an admin has made.
 */
int pasid_set_connect(struct pasid_client *client, const struct pasid_set_ref *set,
	struct pasid_set_info *ret_info, int *ret_fd);
int pasid_set_connect_async(struct pasid_client *client, const struct pasid_set_ref *set,
	pasid_callback callback, void *userdata);

/*
 * The set's map from guest to host PASIDs in memory, to be read with pasid_map_find(). set NULL:
 * the own set. The map is the client's until pasid_map_close() or pasid_close(); only its
 * lookups may be done by other threads. When the daemon was restarted, the library sees to it that
 * the map is the new daemon's, where it was, as soon as the session is taken up. In an identity
 * set each number stands for itself; PASID_STATE for a set whose guest owns its PASID tables.
 */
int pasid_map_open(
	struct pasid_client *client, const struct pasid_set_ref *set, struct pasid_map **ret_map);
/* No thread may look anything up in it any more. NULL is fine. */
int pasid_map_close(struct pasid_client *client, struct pasid_map *map);

/*
 * Lists. The synchronous form fetches page after page and calls each for every entry; each returns
 * 0 to go on, and anything else ends the list and is returned. The asynchronous form fetches one
 * page: after is 0 or the page.next of the page before, limit is entries a page (0: as many as
 * fit).
 */
struct pasid_list_args {
	struct pasid_set_ref set; /* all zero: all that the caller may see */
	bool quarantined;         /* numbers: those in quarantine too */
	bool has_host;            /* bindings: of one number */
	uint32_t host_pasid;
	bool has_data; /* numbers: with this private data only */
	uint64_t data;
	/* numbers that are bound on, and bindings of: one registration, or a whole function with
	 * its slices; 0 and NULL: any */
	uint64_t device;
	const char *address;
	uint64_t after;
	uint32_t limit;
};
int pasid_set_list(struct pasid_client *client, const struct pasid_list_args *args,
	int (*each)(const struct pasid_set_info *info, void *userdata), void *userdata);
int pasid_set_list_async(struct pasid_client *client, const struct pasid_list_args *args,
	pasid_callback callback, void *userdata);
/*
 * What is limited: of one set; or, for admins and observers, the host, then users, then sets. What
 * a user or set never used may be left out.
 */
int pasid_limit_list(struct pasid_client *client, const struct pasid_list_args *args,
	int (*each)(const struct pasid_limit_info *info, void *userdata), void *userdata);
int pasid_limit_list_async(struct pasid_client *client, const struct pasid_list_args *args,
	pasid_callback callback, void *userdata);

struct pasid_device_add_args {
	struct pasid_set_ref set;
	int iommufd;
	int device;          /* the open device; ignored with: */
	const char *address; /* the daemon opens this function and hands it back */
};
/*
 * An exclusive device. ret_info may be NULL. ret_fd is needed with address, and else NULL: the
 * opened device, the caller's to close.
 */
int pasid_device_add(struct pasid_client *client, const struct pasid_device_add_args *args,
	struct pasid_device_info *ret_info, int *ret_fd);
int pasid_device_add_async(struct pasid_client *client, const struct pasid_device_add_args *args,
	pasid_callback callback, void *userdata);

/* Admins: the daemon opens the function and keeps it, for slices. ret_info may be NULL. */
int pasid_device_share(
	struct pasid_client *client, const char *address, struct pasid_device_info *ret_info);
int pasid_device_share_async(
	struct pasid_client *client, const char *address, pasid_callback callback, void *userdata);

struct pasid_device_slice_args {
	struct pasid_set_ref set;
	uint64_t device; /* the shared device, or 0 and: */
	const char *address;
};
int pasid_device_slice(struct pasid_client *client, const struct pasid_device_slice_args *args,
	struct pasid_device_info *ret_info);
int pasid_device_slice_async(struct pasid_client *client,
	const struct pasid_device_slice_args *args, pasid_callback callback, void *userdata);

/* A device of a set. */
struct pasid_device_ref {
	struct pasid_set_ref set;
	uint64_t device;
};
/* PASID_BUSY while something is bound. */
int pasid_device_remove(struct pasid_client *client, const struct pasid_device_ref *device);
int pasid_device_remove_async(struct pasid_client *client, const struct pasid_device_ref *device,
	pasid_callback callback, void *userdata);
/*
 * The same when a device of the set's own is about to be unplugged, of which its request interrupt
 * (VFIO_PCI_REQ_IRQ_INDEX, linux/vfio.h) tells the VMM: what is attached there is detached first,
 * the RID too. The kernel waits for the VMM's descriptors next. A shared device needs no request.
 */
int pasid_device_going(struct pasid_client *client, const struct pasid_device_ref *device);
int pasid_device_going_async(struct pasid_client *client, const struct pasid_device_ref *device,
	pasid_callback callback, void *userdata);

int pasid_device_list(struct pasid_client *client, const struct pasid_list_args *args,
	int (*each)(const struct pasid_device_info *info, void *userdata), void *userdata);
int pasid_device_list_async(struct pasid_client *client, const struct pasid_list_args *args,
	pasid_callback callback, void *userdata);

/* Admins vouch that all the shared device had queued is done, or that it was reset. ret_released
 * may be NULL. */
int pasid_device_drained(struct pasid_client *client, uint64_t device, uint32_t *ret_released);
int pasid_device_drained_async(
	struct pasid_client *client, uint64_t device, pasid_callback callback, void *userdata);

struct pasid_memory_args {
	struct pasid_set_ref set;
	uint64_t device;       /* the registration that the address space belongs to */
	uint32_t space;        /* 0 to 15; made on first use */
	uint64_t iova, length; /* bytes, multiples of 4096 */
	uint64_t offset;       /* in the memfd; map only */
	bool writeable;        /* map only */
	int memfd;             /* map only */
};
/* A device behind that address space then reaches this memory. */
int pasid_memory_map(struct pasid_client *client, const struct pasid_memory_args *args);
int pasid_memory_map_async(struct pasid_client *client, const struct pasid_memory_args *args,
	pasid_callback callback, void *userdata);
int pasid_memory_unmap(struct pasid_client *client, const struct pasid_memory_args *args);
int pasid_memory_unmap_async(struct pasid_client *client, const struct pasid_memory_args *args,
	pasid_callback callback, void *userdata);

enum pasid_table_source {
	PASID_TABLE_HWPT = 1,  /* id: a page table that the VMM made on its own iommufd */
	PASID_TABLE_IOAS = 2,  /* id: the VMM's IOAS; the daemon makes the page table over it */
	PASID_TABLE_SPACE = 3, /* id: an address space filled by pasid_memory_map() */
	PASID_TABLE_GUEST = 4, /* a first-stage table of the guest, nested on a second stage: */
};

struct pasid_table {
	enum pasid_table_source source;
	uint32_t id;
	uint64_t address; /* of the guest's table: guest-physical, 4 KiB aligned */
	uint32_t width;   /* 48 or 57 */
	uint64_t flags;   /* 1 supervisor requests, 2 extended accessed flags, 4 write protection */
	bool parent_is_space; /* parent is an address space, not a page table of the VMM's */
	uint32_t parent;
};

struct pasid_pair {
	uint64_t device;
	struct pasid_table table;
};

struct pasid_bind_args {
	struct pasid_set_ref set;
	struct pasid_number pasid;
	const struct pasid_pair *pairs;
	size_t count; /* 1 to PASID_PAIRS_MAX */
};
/* On all of the devices or on none. Both outputs may be NULL; ret_tables has room for count. */
int pasid_bind(struct pasid_client *client, const struct pasid_bind_args *args,
	uint32_t *ret_host_pasid, struct pasid_attached *ret_tables);
int pasid_bind_async(struct pasid_client *client, const struct pasid_bind_args *args,
	pasid_callback callback, void *userdata);

struct pasid_unbind_args {
	struct pasid_set_ref set;
	struct pasid_number pasid;
	const uint64_t *devices; /* at most PASID_PAIRS_MAX */
	size_t count;            /* 0: from all */
};
int pasid_unbind(struct pasid_client *client, const struct pasid_unbind_args *args);
int pasid_unbind_async(struct pasid_client *client, const struct pasid_unbind_args *args,
	pasid_callback callback, void *userdata);

struct pasid_rid_args {
	struct pasid_set_ref set;
	struct pasid_pair pair;
};
/* The RID itself, for DMA without a PASID; exclusive devices only. ret_table may be NULL. */
int pasid_rid_attach(struct pasid_client *client, const struct pasid_rid_args *args,
	struct pasid_attached *ret_table);
int pasid_rid_attach_async(struct pasid_client *client, const struct pasid_rid_args *args,
	pasid_callback callback, void *userdata);
int pasid_rid_detach(struct pasid_client *client, const struct pasid_device_ref *device);
int pasid_rid_detach_async(struct pasid_client *client, const struct pasid_device_ref *device,
	pasid_callback callback, void *userdata);

struct pasid_replace_args {
	struct pasid_set_ref set;
	bool rid;                  /* the table of the RID itself; pasid is not looked at */
	struct pasid_number pasid; /* whose table it is otherwise */
	struct pasid_pair pair;    /* where, and the table that is to stand there */
};
/*
 * Puts another page table in the place of the one that is bound, in one step: there is never a
 * third table, and on VT-d for a moment (microseconds) none. When it fails the earlier one stands
 * as before, but for the reasons "binding-lost" (nothing is bound there any more), "undo-failed"
 * and "worker-lost" (unbind, or register the device anew). ret_table may be NULL.
 */
int pasid_replace(struct pasid_client *client, const struct pasid_replace_args *args,
	struct pasid_attached *ret_table);
int pasid_replace_async(struct pasid_client *client, const struct pasid_replace_args *args,
	pasid_callback callback, void *userdata);

int pasid_binding_list(struct pasid_client *client, const struct pasid_list_args *args,
	int (*each)(const struct pasid_binding_info *info, void *userdata), void *userdata);
int pasid_binding_list_async(struct pasid_client *client, const struct pasid_list_args *args,
	pasid_callback callback, void *userdata);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#include "libpasid_move.h"
#include "libpasid_number.h"
#include "libpasid_stream.h"

#endif
