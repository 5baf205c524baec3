/* SPDX-License-Identifier: MIT */
/*
 * The words of libpasid: limits, codes, and what the daemon tells about sets, numbers, devices and
 * bindings. Included by libpasid.h, which says how they are used.
 *
 * In structs that the library fills, text is always terminated, and cut when it is longer than its
 * room.
 */
#ifndef LIBPASID_TYPES_H
#define LIBPASID_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define PASID_SOCKET_DEFAULT  "/run/pasidd/pasidd.socket"
#define PASID_SOCKET_ENV      "PASIDD_SOCKET"
#define PASID_TIMEOUT_DEFAULT 30000u     /* milliseconds */
#define PASID_TIMEOUT_NONE    UINT32_MAX /* wait as long as it takes */
#define PASID_MAX             0xfffffu   /* the highest PASID */
#define PASID_NAME_MAX        64u /* bytes in the name of a set or client, without the terminator */
#define PASID_ALLOCATE_MAX    4096u /* numbers in one allocate */
#define PASID_PAIRS_MAX       32u   /* devices in one bind */

/* The codes of the protocol; texts from pasid_status_text(). */
enum pasid_status {
	PASID_OK = 0,
	PASID_INVALID = 1,     /* malformed or out of range; the same request can never succeed */
	PASID_NOT_FOUND = 2,   /* no such object, or none that you may see */
	PASID_DENIED = 3,      /* policy says no */
	PASID_EXISTS = 4,      /* taken already */
	PASID_BUSY = 5,        /* in use */
	PASID_QUOTA = 6,       /* a limit of the set, user or host is reached */
	PASID_EXHAUSTED = 7,   /* no number is free where one was asked for */
	PASID_UNSUPPORTED = 8, /* hardware, kernel or daemon cannot do it */
	PASID_STATE = 9,       /* not in this state of the object */
	PASID_PENDING = 10,    /* the time is over, the work goes on: pasid_again() */
	PASID_HARDWARE = 11,   /* the kernel or the device refused */
	PASID_RETRY = 12,      /* nothing was done; the same request may succeed later */
	PASID_INTERNAL = 13,   /* a fault of the daemon; nothing was done */
};

/* "quota", "not-found", ...; never NULL. */
const char *pasid_status_text(int status);

struct pasid_error {
	int code;        /* what the function returned */
	int sys_errno;   /* what the kernel told the daemon; 0 when it was not asked */
	uint64_t object; /* the set, PASID, device or request that it is about */
	bool has_limit;  /* limit and used mean something */
	uint64_t limit, used;
	char reason[48];   /* stable: "set-quota", "pasid-zero", ... */
	char message[256]; /* a sentence: object, limit, use and remedy */
};

/* ------------------------------------------------------------ words */

/* A set. All zero: the caller's own (VMMs); in lists of admins and observers: all sets. */
struct pasid_set_ref {
	uint64_t id;      /* or 0 and: */
	const char *name; /* NULL: by id */
};

/* A PASID of the set, by either of its numbers. */
struct pasid_number {
	bool guest; /* value is a guest PASID */
	uint32_t value;
};

struct pasid_counter {
	uint64_t limit, current, peak;
	uint64_t hits; /* how often the limit refused something */
};

enum pasid_set_mode {
	PASID_SET_TRANSLATED = 1,  /* the guest picks its numbers, pasidd maps them */
	PASID_SET_IDENTITY = 2,    /* the guest is given the host's numbers */
	PASID_SET_GUEST_OWNED = 3, /* the guest owns its devices' tables */
};

/* Where a set is on its way from one host to another; see pasid_move_export(). */
enum pasid_move_state {
	PASID_MOVE_NONE = 0,
	PASID_MOVE_LEAVING = 1,  /* at the source: it stays as it is until it is given or kept */
	PASID_MOVE_GIVEN = 2,    /* it is the target's; what is left at the source is to go */
	PASID_MOVE_COMING = 3,   /* at the target: its numbers are being reserved */
	PASID_MOVE_RESERVED = 4, /* they all are, and serve nobody until it is taken */
	PASID_MOVE_TAKEN = 5,    /* it is the target's, and like any other set there */
};

#define PASID_MOVE_TOKEN 16u /* bytes */
#define PASID_MOVE_PROOF 8u
#define PASID_MOVE_WORD  16u
#define PASID_MOVE_MAX   1024u /* numbers in one reserve */

struct pasid_move_info {
	uint8_t token[PASID_MOVE_TOKEN]; /* names the move at both hosts */
	uint64_t set;
	char name[PASID_NAME_MAX + 1];
	enum pasid_move_state state;
	bool ending; /* what is left of it here goes */
	enum pasid_set_mode mode;
	uint32_t uid, quota, scopes;
	uint32_t pasids; /* active numbers; pasid_grant_list() has them */
	uint64_t sum;    /* export and the last reserve: over their guest PASIDs and data */
	bool has_proof;  /* export: to be reserved with; the last reserve: to be committed with */
	bool has_word;   /* see pasid_move_commit(), _cancel(), _take() */
	uint8_t proof[PASID_MOVE_PROOF], word[PASID_MOVE_WORD];
	uint64_t reserved[4];
};

struct pasid_set_info {
	uint64_t id;
	char name[PASID_NAME_MAX + 1];
	enum pasid_set_mode mode;
	uint32_t uid;
	struct pasid_counter pasids; /* current counts quarantined numbers too */
	uint32_t active, quarantined, devices, bindings;
	bool owned_by_session; /* dies with its VMM */
	bool dying;
	uint32_t scopes; /* bits of enum pasid_scope that it may use */
	enum pasid_move_state move;
	uint64_t reserved[4];
};

/* Where a number is its set's own. */
enum pasid_scope {
	PASID_SCOPE_GLOBAL = 1, /* on the whole host */
	PASID_SCOPE_RIDS = 2,   /* in the tables of some devices; another set's elsewhere */
};

enum pasid_grant_state {
	PASID_GRANT_IDLE = 1, /* nobody has it */
	PASID_GRANT_ACTIVE = 2,
	PASID_GRANT_FREE_PENDING = 3, /* freed, but still bound or held */
	PASID_GRANT_QUARANTINED = 4,
};

/* A session whose acknowledgement is waited for; see pasid_acknowledge(). */
struct pasid_participant {
	uint64_t session;
	uint32_t uid;
	uint32_t pid; /* its process; 0: not known */
};

struct pasid_grant_info {
	uint32_t host_pasid;
	enum pasid_grant_state state;
	uint64_t set;
	char set_name[PASID_NAME_MAX + 1];
	bool has_guest;
	uint32_t guest_pasid;
	uint64_t data;
	uint32_t holds, bindings;
	char quarantine[96]; /* reasons, separated by spaces: cooling, unacknowledged, tainted,
				undrained */
	uint64_t cooling_ms; /* left */
	enum pasid_scope scope;
	uint32_t group_count; /* of scope rids: the IOMMU groups that it is for */
	uint32_t groups[PASID_PAIRS_MAX];
	/*
	 * Of a number that was freed: whom it waits for; a VMM is not told. In a callback valid
	 * until it returns, after pasid_host_find() until the next call of a function with this
	 * client.
	 */
	uint32_t awaited_count;
	const struct pasid_participant *awaited;
	uint64_t reserved[2];
};

enum pasid_device_kind {
	PASID_DEVICE_EXCLUSIVE = 1,
	PASID_DEVICE_SHARED = 2,
	PASID_DEVICE_SLICE = 3, /* a set's part of a shared device */
};

struct pasid_device_info {
	uint64_t id;
	enum pasid_device_kind kind;
	char address[32]; /* segment:bus:device.function */
	uint64_t set;     /* 0: a shared device itself */
	uint64_t shared;  /* the shared device that a slice is a part of */
	uint32_t group;
	uint32_t pasid_width; /* bits; 0: it takes no PASIDs */
	uint32_t dev_id;      /* iommufd's name for it, exclusive devices only */
	uint32_t bindings;
	bool tainted;
	char iommu[16];          /* vtd, smmuv3 */
	char capabilities[256];  /* separated by spaces */
	uint32_t register_count; /* capability registers of the IOMMU, as the kernel gave them */
	uint64_t registers[8];
	uint64_t reserved[4];
};

enum pasid_binding_state {
	PASID_BINDING_BINDING = 1,
	PASID_BINDING_BOUND = 2,
	PASID_BINDING_UNBINDING = 3,
	PASID_BINDING_TAINTED = 4, /* may still be attached: see pasidctl(1), release */
};

struct pasid_attached {
	uint64_t device;
	uint32_t hwpt; /* iommufd's name for the page table; 0 on a slice */
	bool made;     /* by the daemon, goes with the binding */
};

/* A guest's stream table entry, by iommufd's names; see libpasid_stream.h. */
struct pasid_stream_info {
	uint64_t device;
	uint32_t hwpt;    /* the nested page table that was made of it */
	uint32_t viommu;  /* the guest's IOMMU, to invalidate and to take events by */
	uint32_t vdevice; /* the device in it */
	uint32_t stream;  /* the guest's stream id of the device */
};

struct pasid_binding_info {
	uint64_t id;
	uint64_t set;
	char set_name[PASID_NAME_MAX + 1];
	uint64_t device;
	char address[32];
	bool has_pasid; /* false: the RID itself */
	uint32_t host_pasid;
	bool has_guest;
	uint32_t guest_pasid;
	enum pasid_binding_state state;
	struct pasid_attached table;
	/* of a guest's stream table entry, otherwise 0; see struct pasid_stream_info */
	uint32_t viommu, vdevice, stream, reserved0;
	uint64_t reserved[2];
};

#define PASID_SECRET_SIZE 16
/* What the process has to know that takes a session over. */
struct pasid_hand_over {
	uint8_t secret[PASID_SECRET_SIZE];
	uint32_t valid_ms;
};

/* What a session holds. */
struct pasid_hold_info {
	uint64_t session;
	uint32_t uid; /* who is charged */
	uint64_t set;
	char set_name[PASID_NAME_MAX + 1];
	uint32_t host_pasid;
	uint32_t times;
	enum pasid_grant_state state; /* of the number */
	uint64_t reserved[4];
};

struct pasid_host_status {
	char version[32];
	uint8_t instance[16];
	char backend[16]; /* simulated, vtd, smmuv3, none */
	uint64_t uptime_ms;
	struct pasid_counter pasids; /* current counts quarantined numbers too */
	uint64_t quarantined, sets, devices, bindings, sessions, operations;
	uint32_t reserved_first, reserved_last; /* PASIDs left to the kernel */
	bool consistent; /* a recount agrees with the counters; admins only */
	uint32_t note_count;
	char notes[8][256]; /* what an operator should know, a sentence each */
	uint32_t counter_count;
	struct {
		char name[48];
		uint64_t value;
	} counters[64];
	uint32_t
		pasid_width; /* bits: no device that is registered now is told more; 0: not known */
	uint32_t reserved32;
	uint64_t reserved[3];
};

enum pasid_limit_level {
	PASID_LIMIT_HOST = 1,
	PASID_LIMIT_USER = 2,
	PASID_LIMIT_SET = 3,
	PASID_LIMIT_RESERVATION = 4, /* PASIDs for sets of that name and user only */
};

/* One resource at one level: how much of it may be used, and is. */
struct pasid_limit_info {
	char resource[32]; /* connections, sets, bindings, ... */
	enum pasid_limit_level level;
	uint32_t uid; /* of a user, and of a set's user */
	uint64_t set; /* of a set */
	char set_name[PASID_NAME_MAX + 1];
	struct pasid_counter use; /* limit 0: none at this level */
	char key[64];             /* what changes the limit: in the configuration, or a command */
	uint32_t aside;           /* of a reservation: promised to nobody */
	uint32_t reserved32;
	uint64_t reserved[3];
};

enum pasid_event_kind {
	PASID_EVENT_SET_CREATED = 1,
	PASID_EVENT_SET_ADJUSTED = 2,
	PASID_EVENT_SET_DESTROYED = 3,
	PASID_EVENT_SET_ENDING = 4,
	PASID_EVENT_SET_EMPTIED = 5,
	PASID_EVENT_SET_LEAVING = 11,  /* it is to move to another host, and stays as it is */
	PASID_EVENT_SET_KEPT = 12,     /* it does not move */
	PASID_EVENT_SET_GIVEN = 13,    /* it is another host's */
	PASID_EVENT_SET_RESERVED = 14, /* of another host: its numbers are reserved here */
	PASID_EVENT_SET_TAKEN = 15,    /* it is this host's */
	PASID_EVENT_GRANT_ALLOCATED = 16,
	PASID_EVENT_GRANT_FREE_PENDING = 17,
	PASID_EVENT_GRANT_QUARANTINED = 18,
	PASID_EVENT_GRANT_RELEASED = 19,
	PASID_EVENT_GUEST_ATTACHED = 20,
	PASID_EVENT_GUEST_DETACHED = 21,
	PASID_EVENT_GRANT_EXTENDED = 30, /* to further devices */
	PASID_EVENT_GRANT_HELD = 22,
	PASID_EVENT_GRANT_LET_GO = 23,
	PASID_EVENT_GRANT_DATA = 24,
	PASID_EVENT_GRANT_WAITING = 25,
	PASID_EVENT_GRANT_ACKNOWLEDGED = 26,
	PASID_EVENT_BINDING_BOUND = 32,
	PASID_EVENT_BINDING_UNBOUND = 33,
	PASID_EVENT_BINDING_LOST = 34,
	PASID_EVENT_BINDING_UNBINDING = 35,
	PASID_EVENT_BINDING_DRAINED = 36,
	PASID_EVENT_BINDING_TAINTED = 37,
	PASID_EVENT_UNBIND_UNACKNOWLEDGED = 38,
	PASID_EVENT_BINDING_REPLACED = 40,
	PASID_EVENT_DEVICE_ADDED = 48,
	PASID_EVENT_DEVICE_REMOVED = 49,
	PASID_EVENT_DEVICE_TAINTED = 50,
	PASID_EVENT_DEVICE_HEALED = 51,
};

struct pasid_event {
	uint64_t sequence; /* rises by one for every event of the host; a gap: not meant for you, or
			      a loss */
	enum pasid_event_kind kind;
	uint64_t set;
	uint64_t device;
	uint32_t host_pasid;
	bool has_guest;
	uint32_t guest_pasid;
	uint64_t lost; /* events for you that were dropped before this one */
};
/* Of all who are told of a change, those of a class are told before those of the next one. */
enum pasid_event_priority {
	PASID_EVENT_PRIORITY_CPU = 1,
	PASID_EVENT_PRIORITY_IOMMU = 2,
	PASID_EVENT_PRIORITY_DEVICE = 3,
};
struct pasid_watch_args {
	uint64_t from; /* a sequence: from that event on, as far as it is kept; 0: from now on */
	struct pasid_set_ref set; /* only of this set; one that is named may be still to come */
	uint64_t kinds;           /* only these, 1 << kind of each; 0: all */
	enum pasid_event_priority priority; /* 0: device */
	/* Participants, of all sets and kinds: frees and unbinds wait for pasid_acknowledge(). */
	bool acknowledge;
};
/* "grant-allocated", ...; "unknown" for a number that is none. Never NULL. */
const char *pasid_event_text(enum pasid_event_kind kind);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
