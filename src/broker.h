/* SPDX-License-Identifier: MIT */
/*
 * The broker: every state transition of sets, grants, devices and bindings.
 *
 * Pure: it calls the three injected ports (hardware, state, clock) and nothing else. Each function
 * checks, records the intent, causes the effect and records the outcome. What needs no hardware is
 * done when the call returns. What needs hardware returns 0 once accepted, goes to hardware with
 * the next broker_flush(), and ends as an `outcome` with the caller's cookie; a call that returns
 * anything else was refused, changed nothing and has no outcome. What changed is kept as change
 * records that whoever delivers events reads.
 *
 * Every request names its actor. For a VMM, a set, number or device of somebody else and one that
 * does not exist are the same error (invariant O).
 *
 * Operations of one set that touch the same number or device take effect in the order of their
 * calls.
 */
#ifndef PASIDD_BROKER_H
#define PASIDD_BROKER_H

#include "broker_change.h"
#include "error.h"
#include "export.h"
#include "hw/hw.h"
#include "limit.h"
#include "metrics.h"
#include "policy.h"
#include "state.h"
#include "translate.h"

#define BROKER_PAIRS_MAX        32   /* devices in one bind */
#define BROKER_ALLOCATE_MAX     4096 /* numbers in one allocate */
#define BROKER_SPACES_MAX       16   /* address spaces of one device registration */
#define BROKER_OWNERS_MAX       1024 /* IOMMU groups with numbers of scope rids, at once */
#define BROKER_HOLDS_MAX        4096 /* numbers that one session holds: its end lets go of all at once */
#define BROKER_HOLDERS_MAX      64 /* sessions that hold one number */
#define BROKER_RESERVATIONS_MAX 256u
#define BROKER_PARTICIPANTS     16u /* sessions whose acknowledgement is awaited */

/*
 * Iterations (broker_*_next) take a cursor that starts at 0. They look at a bounded number of
 * records at a time: when one returns false, *cursor is BROKER_END if there is no more, and
 * otherwise where to go on, at once or in a later request.
 */
#define BROKER_END UINT64_MAX

struct broker;

enum broker_policy {
	BROKER_CYCLIC = 0, /* onwards from the last one: a number comes back as late as possible */
	BROKER_LOWEST = 1,
	BROKER_RANDOMIZED = 2, /* from anywhere in the range: nobody can say which comes next */
};

/* Numbers that only sets of that name and user can be promised. */
struct broker_reservation {
	const char *name; /* of a set */
	uint32_t uid, pasids;
};

struct broker_config {
	uint32_t reserved_last; /* 1..reserved_last are left to the kernel; 0: none */
	uint32_t capacity;      /* numbers that may be out at once; 0: all that are not reserved */
	uint32_t set_quota_default; /* when a set asks for none */
	uint32_t set_quota_max;     /* what a quota of 0 ("what remains") is cut to */
	enum broker_policy policy;
	uint32_t owners_max;     /* IOMMU groups with numbers of scope rids; 0: BROKER_OWNERS_MAX */
	uint64_t random_key[2];  /* of BROKER_RANDOMIZED: a secret, another one for each run */
	uint64_t cooling_ms;     /* quarantine by time, at least this long */
	uint64_t unbind_wait_ms; /* for participants, at most; 0: they are told, and not waited for
				  */
	uint32_t pasid_width;    /* no device is told more bits than these; 0: PASID_BITS */
	/* together at most the capacity, each of another name; not kept */
	const struct broker_reservation *reservations;
	uint32_t reservation_count;
	uint64_t name_key; /* a secret: who does not know it finds no names that slow down others */
};

struct broker_ports {
	struct hw hw;
	const struct state *state;     /* empty, or what an earlier run left: broker_recover() */
	struct translate_pages pages;  /* for the guest→host maps */
	struct export_port export;     /* and for those that a VMM reads itself */
	uint64_t (*now_ms)(void *ctx); /* monotonic, CLOCK_BOOTTIME in the daemon */
	void *now_ctx;
	const struct policy *policy;
	/*
	 * Of sets, PASIDs, promised PASIDs, operations, descriptors, devices, page tables, bindings
	 * and map pages the broker alone charges; broker_recount() compares them. Its own capacity
	 * becomes the host's limit of PASIDs and of promised ones, unless that is lower.
	 */
	struct limits *limits;
};

/* Who asks. */
struct actor {
	enum role role;
	uint64_t session;  /* never 0 */
	struct set_id set; /* a VMM's own set, v == 0 when it has none yet */
	const struct policy_peer *peer;
};

/* -ENOMEM, -EINVAL (a configuration out of range). The configuration is copied, the ports are
 * borrowed. */
int broker_new(const struct broker_config *config, const struct broker_ports *ports,
	struct broker **ret_broker);
void broker_free(struct broker *broker);
/*
 * Another configuration, and other limits, at run time. Nobody loses what it has: limits below what
 * is in use refuse what is new, sets keep their quotas, and numbers that cool keep their time,
 * before which none that is freed later is free again. What is reserved is set aside anew, as after
 * a restart. reserved_last, owners_max, both keys and the host's limit of operations stay what they
 * are. Nothing of it is recorded. -EINVAL, and nothing is changed: out of range.
 */
int broker_configure(struct broker *broker, const struct broker_config *config,
	const struct limits_config *limits);

/* What is known of an earlier run besides its records. */
struct recovery {
	const uint32_t *used; /* of each table: slots that may be in use */
	/* Is the worker of that lane there, with what it held? */
	bool (*lane_stands)(void *ctx, uint64_t lane);
	void *ctx;
};

/*
 * Takes up what an earlier run recorded (state_check() found it sound), once, before anything else
 * is asked. Everything that was acknowledged is there when it returns; what was under way is taken
 * back or brought to its end by operations in the order of each set, so that requests of that set
 * which need hardware wait behind them. What needs a worker that is gone counts as lost with it.
 *
 * STATUS_INVALID when the configuration leaves granted numbers to the kernel, STATUS_INTERNAL when
 * the records contradict themselves: then the broker is of no use but to be freed, and nothing is
 * settled, so that the records are what they were when they are opened again.
 */
int broker_recover(struct broker *broker, const struct recovery *recovery, struct error *ret_error);

/* ---------------------------------------------------------------- records that are missing */

/* What is said to whoever asks for something then. */
#define BROKER_UNCONFIRMED_TEXT                                                                    \
	"the records of this boot are missing: VMMs that ran before may still have PASIDs "        \
	"attached. Nothing is granted until an admin says that no VMM holds a device any more: "   \
	"pasidctl recover --confirm-no-devices"

/*
 * Records that an earlier run in this boot made are missing, so nobody knows which numbers are
 * attached to what. From now on, and after restarts, nothing is granted, attached or registered
 * for a set (REASON_UNCONFIRMED), whoever asks; all else goes on, and what is there can be given
 * back. Before broker_recover(), which settles it together with all else that the start records.
 */
void broker_block(struct broker *broker);
/*
 * Admins only: they vouch that no VMM holds a device any more, and it is all as ever.
 * *ret_was_blocked is false when there was nothing to confirm, which is no error.
 */
int broker_confirm(struct broker *broker, const struct actor *actor, bool *ret_was_blocked,
	struct error *ret_error);

/* ---------------------------------------------------------------- sets (F10-F12) */

struct set_create {
	const char *name; /* 1-64 of [A-Za-z0-9._-] */
	enum set_mode mode;
	bool has_quota;
	uint32_t quota;
	bool has_owner; /* admins only: charged to this user, not to the one who asks */
	uint32_t owner_uid;
	uint32_t scopes; /* bits of enum scope that it may use; 0: all that policy allows */
};

struct set_info {
	struct set_id id;
	char name[STATE_NAME_MAX + 1];
	enum set_mode mode;
	uint32_t uid;
	uint32_t scopes;       /* bits of enum scope */
	struct account pasids; /* current counts quarantined numbers too */
	uint32_t active, quarantined, devices, bindings;
	bool owned_by_session;
	bool dying;    /* or gone */
	bool emptying; /* it is dying, and comes back empty */
	enum set_move move;
};

/* 1-64 of [A-Za-z0-9._-] */
bool broker_set_name_is_valid(const char *name);
/* The set of a VMM dies with its session (broker_session_end); one made by an admin does not. */
int broker_set_create(struct broker *broker, const struct actor *actor,
	const struct set_create *create, struct set_id *ret_set, struct error *ret_error);
int broker_set_adjust(struct broker *broker, const struct actor *actor, struct set_id set,
	uint32_t quota, struct error *ret_error);
/* Outcome: none but its status. Without force refused while it has numbers or devices. */
int broker_set_destroy(struct broker *broker, const struct actor *actor, struct set_id set,
	bool force, uint64_t cookie, struct error *ret_error);
/*
 * From now on the set's map is in memory of the export port, too (export.h), as long as the set
 * lives and its VM does not change. STATUS_QUOTA when its pages are beyond a limit, STATUS_RETRY
 * with REASON_NO_MEMORY when there is none; said twice, it changes nothing.
 */
int broker_set_export(struct broker *broker, const struct actor *actor, struct set_id set,
	struct set_id *ret_set, struct error *ret_error);
/*
 * After broker_recover(): the memory of an earlier run's export, which then holds what the map
 * holds. Nonzero: it is not wanted, and readers of it were told; it stays the caller's.
 */
int broker_export_adopt(struct broker *broker, struct set_id set, uint8_t *base);
/* v == 0 means the actor's own. */
int broker_set_get(struct broker *broker, const struct actor *actor, struct set_id set,
	struct set_info *ret_info, struct error *ret_error);
int broker_set_by_name(struct broker *broker, const struct actor *actor, const char *name,
	struct set_id *ret_set, struct error *ret_error);
/* Sets that the actor may not see are passed over. */
bool broker_set_next(struct broker *broker, const struct actor *actor, uint64_t *cursor,
	struct set_info *ret_info);
/* The session is over: what it held is let go of, and its set is torn down, without an outcome. */
void broker_session_end(struct broker *broker, uint64_t session);
/*
 * The VM that used the set is gone: everything in it is torn down, without an outcome, and the set
 * stays with its name and quota, for another VM. Until then requests to it are refused with
 * REASON_SET_EMPTYING; a broker_set_destroy() with force goes on as a destruction. Nothing happens
 * to a set that is being torn down already.
 */
void broker_set_empty(struct broker *broker, struct set_id set);
/*
 * The sessions that sets or holds end with, in no order and some of them more than once; `cursor`
 * starts at 0. false: no more.
 */
bool broker_session_next(const struct broker *broker, uint64_t *cursor, uint64_t *ret_session);
/* So many sets there can be; each can be in its end once. */
uint32_t broker_sets_max(const struct broker *broker);
/* Is it there, and be it on its way out? */
bool broker_set_lives(const struct broker *broker, struct set_id set);

/* ---------------------------------------------------------------- numbers (F1-F6, F13-F17, F19,
 * F24) */

struct pasid_ref {
	bool guest; /* number is a guest PASID of the set */
	uint32_t number;
};

struct allocate {
	struct set_id set;
	uint32_t min, max; /* inclusive; 0 and PASID_LAST when the caller does not care */
	uint32_t count;    /* 1..BROKER_ALLOCATE_MAX */
	bool consecutive;  /* naturally aligned block, count a power of two up to 1024 */
	bool has_guest;    /* count 1, translated sets */
	struct gpasid guest;
	uint64_t data;
	/* whose PASID width bounds the choice; in scope rids also what the numbers are for */
	const struct device_id *devices;
	size_t device_count;
	enum scope scope; /* 0: global */
};

/*
 * All of them or none. ret_numbers has room for count; ascending when consecutive.
 *
 * Of scope rids (F4) each number is free in the tables of all named devices, and the set's in these
 * only; the same may be another set's on other devices. A set has a number once.
 */
int broker_allocate(struct broker *broker, const struct actor *actor,
	const struct allocate *allocate, struct hpasid *ret_numbers, struct error *ret_error);

/*
 * A number of scope rids is for these devices, too: STATUS_EXISTS with REASON_PASID_TAKEN when it
 * is taken in the table of one of them, and then for none. *ret_added says in how many more tables
 * it is the set's now: 0 when it was for all of them already, as a global one is.
 */
int broker_extend(struct broker *broker, const struct actor *actor, struct set_id set,
	struct pasid_ref ref, const struct device_id *devices, size_t count, uint32_t *ret_added,
	struct error *ret_error);

/*
 * Frees all of the numbers or, when one is not the set's, none. Idempotent: a number that the set
 * freed before, and that is still pending or in quarantine for it, counts as unchanged. A number
 * that is bound or held becomes free-pending and goes into quarantine at its last unbind or release
 * (F23).
 */
int broker_free_pasids(struct broker *broker, const struct actor *actor, struct set_id set,
	const struct pasid_ref *refs, size_t count, uint32_t *ret_freed, uint32_t *ret_unchanged,
	struct error *ret_error);
int broker_free_all(struct broker *broker, const struct actor *actor, struct set_id set,
	uint32_t *ret_freed, struct error *ret_error);

int broker_guest_attach(struct broker *broker, const struct actor *actor, struct set_id set,
	struct hpasid host, struct gpasid guest, struct error *ret_error);
int broker_guest_detach(struct broker *broker, const struct actor *actor, struct set_id set,
	struct gpasid guest, struct error *ret_error);
int broker_guest_find(struct broker *broker, const struct actor *actor, struct set_id set,
	struct gpasid guest, struct hpasid *ret_host, struct error *ret_error);
int broker_data_set(struct broker *broker, const struct actor *actor, struct set_id set,
	struct pasid_ref ref, uint64_t data, struct error *ret_error);

/*
 * A reference to an active number by the actor's session: the number is not reclaimed while one
 * lasts (F18). A VMM holds those of its set, admins and participants any. Counted; each is to be
 * released by the session that has it, and all end with it. Those of a VMM end with its set,
 * others' keep the number in quarantine also when the set is gone. REASON_NOT_ACTIVE for a number
 * that was freed, REASON_LIMIT.
 */
int broker_hold(struct broker *broker, const struct actor *actor, struct set_id set,
	struct hpasid host, struct error *ret_error);
/* REASON_NOT_HELD: not by this session. The last release reclaims a number that was freed. */
int broker_release(struct broker *broker, const struct actor *actor, struct set_id set,
	struct hpasid host, struct error *ret_error);

struct hold_info {
	uint64_t session;
	uint32_t uid; /* who is charged */
	struct set_id set;
	char set_name[STATE_NAME_MAX + 1];
	struct hpasid host;
	enum grant_state state;
	uint32_t times;
};

/* Holds: of the actor's own session, for admins and observers all; v != 0: on numbers of one set.
 */
bool broker_hold_next(struct broker *broker, const struct actor *actor, struct set_id set,
	uint64_t *cursor, struct hold_info *ret_info);

#define QUARANTINE_COOLING   1u /* ends by time */
#define QUARANTINE_TAINTED   2u /* ends by a proven detach, or an admin */
#define QUARANTINE_UNDRAINED 4u /* ends when the shared device is drained or reset */
#define QUARANTINE_HELD      8u /* ends with the last hold */
#define QUARANTINE_UNACKNOWLEDGED                                                                  \
	16u /* ends by the participants' acknowledgements, their sessions' ends, an admin */

struct grant_info {
	struct hpasid host;
	struct set_id set;
	char set_name[STATE_NAME_MAX + 1];
	enum grant_state
		state; /* GRANT_IDLE: a number that nobody has; then the rest means nothing */
	bool has_guest;
	struct gpasid guest;
	uint64_t data;
	uint32_t holds, bindings;
	uint32_t place;      /* for broker_grant_is_on(), until something is changed */
	uint32_t quarantine; /* QUARANTINE_* */
	uint32_t awaited;    /* bits: the participant_info.index of those that it waits for */
	enum scope scope;
	uint32_t group_count; /* of scope rids: the IOMMU groups that it is for */
	uint32_t groups[BROKER_PAIRS_MAX];
	uint64_t cooling_ms; /* left */
};

/*
 * Admins and observers learn whose it is or that it is idle; a VMM finds its own only (F17). A
 * number of scope rids may be several sets': REASON_AMBIGUOUS unless one is named (set.v != 0).
 */
int broker_host_find(struct broker *broker, const struct actor *actor, struct set_id set,
	struct hpasid host, struct grant_info *ret_info, struct error *ret_error);
/* Whether it is bound on that device (device.v == 0: on any with this RID), or may be. */
bool broker_grant_is_on(const struct broker *broker, const struct grant_info *info,
	struct device_id device, struct rid rid);
/* Of one set, or with set.v == 0 for admins and observers all. */
bool broker_grant_next(struct broker *broker, const struct actor *actor, struct set_id set,
	bool quarantined, uint64_t *cursor, struct grant_info *ret_info);
/* Admins only: they vouch that nothing can use the number any more. Refused while it is bound or
 * active. */
int broker_quarantine_end(struct broker *broker, const struct actor *actor, struct set_id set,
	struct hpasid host, struct error *ret_error);

/* ---------------------------------------------------------------- devices (F2, F30, F36, F37) */

struct device_info {
	struct device_id id;
	enum device_kind kind;
	enum device_state state;
	struct rid rid;
	struct set_id set;
	struct device_id shared;
	uint32_t group, dev_id, bindings;
	struct hw_info hw;
};

/*
 * Registers an exclusive device: fds {iommufd, device} with fd_count 2, or {iommufd} and open_rid.
 * The descriptors are taken on success only. Outcome: device; fd_count 1 with the opened device
 * when the daemon opened it.
 */
int broker_device_add(struct broker *broker, const struct actor *actor, struct set_id set,
	const int *fds, uint32_t fd_count, const struct rid *open_rid, uint64_t cookie,
	struct error *ret_error);
/* Admins (or the daemon at its start, as an admin actor): opened and kept by the daemon. Outcome:
 * device. */
int broker_device_share(struct broker *broker, const struct actor *actor, struct rid rid,
	uint64_t cookie, struct error *ret_error);
/* Needs no hardware. Names the shared device by id, or with id.v == 0 by rid. */
int broker_device_slice(struct broker *broker, const struct actor *actor, struct set_id set,
	struct device_id shared, struct rid rid, struct device_id *ret_slice,
	struct error *ret_error);
/* Refused while it has bindings (or, a shared one, slices or undrained numbers). Outcome: status
 * only. */
int broker_device_remove(struct broker *broker, const struct actor *actor, struct set_id set,
	struct device_id device, uint64_t cookie, struct error *ret_error);
/*
 * The same for an exclusive one that is about to be unplugged: whatever is attached there, the RID
 * too, is detached first, in one go with the daemon's copies of its descriptors. When the kernel
 * refuses a detach, its bindings are tainted and it can be asked for again. A slice or a shared
 * device: REASON_DEVICE_SHARED.
 */
int broker_device_going(struct broker *broker, const struct actor *actor, struct set_id set,
	struct device_id device, uint64_t cookie, struct error *ret_error);
int broker_device_get(struct broker *broker, const struct actor *actor, struct device_id device,
	struct device_info *ret_info, struct error *ret_error);
bool broker_device_next(struct broker *broker, const struct actor *actor, struct set_id set,
	uint64_t *cursor, struct device_info *ret_info);
/* Admins only: everything that the shared device had queued is done, or it was reset. */
int broker_device_drained(struct broker *broker, const struct actor *actor, struct device_id device,
	uint32_t *ret_released, struct error *ret_error);

/* ---------------------------------------------------------------- memory and bindings (F3, F30,
 * F31) */

struct memory {
	struct set_id set;
	struct device_id device;
	uint32_t space;
	uint64_t iova, length, offset;
	bool writeable;
};

/* fd: the memfd, taken on success only. Outcome: status only. */
int broker_memory_map(struct broker *broker, const struct actor *actor, const struct memory *memory,
	int fd, uint64_t cookie, struct error *ret_error);
int broker_memory_unmap(struct broker *broker, const struct actor *actor,
	const struct memory *memory, uint64_t cookie, struct error *ret_error);

struct bind_pair {
	struct device_id device;
	struct hw_table table;
};

struct attached_table {
	struct device_id device;
	uint32_t pt_id; /* 0 on a slice: kernel ids of a shared device are not given away */
	bool made;
	uint32_t viommu, vdevice, stream; /* of a guest's stream table entry, otherwise 0 */
};

/*
 * For what is asked from here on: until when an attach that a reset refuses is tried again. 0: for
 * BROKER_PATIENCE_MS.
 */
void broker_set_until(struct broker *broker, uint64_t until_ms);

/* Binds on all devices or on none. Outcome: host and tables. */
int broker_bind(struct broker *broker, const struct actor *actor, struct set_id set,
	struct pasid_ref ref, const struct bind_pair *pairs, size_t pair_count, uint64_t cookie,
	struct error *ret_error);
/* From the named devices, or from all with device_count 0. Outcome: status only. */
int broker_unbind(struct broker *broker, const struct actor *actor, struct set_id set,
	struct pasid_ref ref, const struct device_id *devices, size_t device_count, uint64_t cookie,
	struct error *ret_error);
/*
 * The RID itself, exclusive devices only. Outcome: tables[0]. HW_TABLE_SMMUV3 is for sets whose
 * guest owns its tables, which have nothing else; it claims the RID (F32): REASON_RID_PASIDS while
 * sets have numbers in the group, by scope, undrained or left by a worker that died; what would
 * bring numbers there gets REASON_RID_CLAIMED until it is gone.
 */
int broker_rid_attach(struct broker *broker, const struct actor *actor, struct set_id set,
	const struct bind_pair *pair, uint64_t cookie, struct error *ret_error);
int broker_rid_detach(struct broker *broker, const struct actor *actor, struct set_id set,
	struct device_id device, uint64_t cookie, struct error *ret_error);

/*
 * Another page table in the place of the one that is bound under the number, or under the RID of an
 * exclusive device when ref is NULL, in one step (F34). The pair may name any function of the
 * group, but for address spaces, which are those of the one that it is bound through. On VT-d the
 * entry is absent for a moment. Outcome: host and tables[0]. When it fails the earlier table
 * stands, but for REASON_BINDING_LOST (nothing is bound there any more), REASON_UNDO_FAILED
 * and REASON_WORKER_LOST (it is tainted, or was detached with a shared device). A guest's stream
 * table entry is replaced by one of the same stream and parent, REASON_STREAM_FIXED.
 */
int broker_replace(struct broker *broker, const struct actor *actor, struct set_id set,
	const struct pasid_ref *ref, const struct bind_pair *pair, uint64_t cookie,
	struct error *ret_error);

struct binding_info {
	uint64_t id;
	struct set_id set;
	char set_name[STATE_NAME_MAX + 1];
	struct device_id device;
	struct rid rid;
	enum binding_state state; /* never BINDING_DRAINING: that is told as a quarantine */
	bool has_pasid, has_guest;
	struct hpasid host;
	struct gpasid guest;
	struct attached_table table;
};

bool broker_binding_next(struct broker *broker, const struct actor *actor, struct set_id set,
	uint64_t *cursor, struct binding_info *ret_info);

/* ---------------------------------------------------------------- outcomes, events, time */

struct outcome {
	uint64_t cookie; /* 0: nobody waits for it */
	int status;
	struct error error; /* filled unless status is 0 */
	struct device_id device;
	uint32_t fd_count;
	int fd;                /* with fd_count 1 the receiver's to close */
	uint32_t unused_count; /* descriptors that were taken but not used: the receiver's to
				  dispose of */
	int unused[HW_FDS_MAX];
	struct hpasid host;
	uint32_t table_count;
	struct attached_table tables[BROKER_PAIRS_MAX];
};

/*
 * Hands to hardware what calls since the last time need of it, in their order; settles their
 * intents before. To be called at the end of each turn, when the outcomes of that turn were fetched
 * and are recorded with their replies: so a result and its reply are one change of the records.
 * There may be new outcomes afterwards, of what the port refused.
 */
void broker_flush(struct broker *broker);
/* A result from the hardware port. Its descriptors are the broker's from here on. */
void broker_complete(struct broker *broker, const struct hw_result *result);
/* The lane's worker has died and its process is gone; outstanding results have been delivered
 * before. */
void broker_lane_lost(struct broker *broker, uint64_t lane);
/* The next ended operation. false: none. */
bool broker_next_outcome(struct broker *broker, struct outcome *ret_outcome);

/* The sequence number that the next change will have. */
uint64_t broker_change_sequence(const struct broker *broker);
/* The sequence number of the oldest change that is kept, or of the next one. */
uint64_t broker_change_oldest(const struct broker *broker);
/* Tells names of sets apart, those of sets to come as well; never 0. */
uint64_t broker_name_hash(const struct broker *broker, const char *name);
/* The oldest kept change with a sequence >= from; false: none yet. Older ones may be gone. */
bool broker_change_get(const struct broker *broker, uint64_t from, struct change *ret_change);
/* May this actor be told? A VMM hears of its own set only. */
bool broker_change_visible(const struct actor *actor, const struct change *change);

/*
 * Ends quarantines whose time has come, and goes on with the ends of sets that have many numbers: a
 * bounded number of records each time.
 */
void broker_tick(struct broker *broker);
/* When that has something to do: ms on the broker's clock, in the past when it is behind;
 * UINT64_MAX for never. */
uint64_t broker_next_tick(const struct broker *broker);

/* One account of a set. */
struct limit_info {
	enum resource resource;
	uint32_t uid; /* the user who is charged, too */
	struct set_id set;
	char set_name[STATE_NAME_MAX + 1];
	struct account account; /* UINT32_MAX as a limit is none */
};

/*
 * The accounts that the broker keeps for sets: of one, or with set.v == 0 for admins and observers
 * of all. A VMM sees its own set's.
 */
bool broker_limit_next(struct broker *broker, const struct actor *actor, struct set_id set,
	uint64_t *cursor, struct limit_info *ret_info);

struct reservation_info {
	char name[STATE_NAME_MAX + 1];
	uint32_t uid;
	struct account account; /* current: promised to sets that have it */
	uint32_t aside;         /* promised to nobody */
	uint32_t missing;       /* others have it still; the rest of what is reserved */
};

/* For admins and observers. */
bool broker_reservation_next(struct broker *broker, const struct actor *actor, uint64_t *cursor,
	struct reservation_info *ret_info);

struct broker_status {
	struct account pasids;
	enum broker_policy policy; /* in force; the configured one as soon as nothing is out */
	bool policy_waits;         /* another one is configured */
	uint32_t missing;          /* of what is reserved; see struct reservation_info */
	uint32_t quarantined, sets, devices, bindings, operations;
	uint32_t reserved_last, pasid_width; /* as configured; the width is never 0 */
	bool unconfirmed;                    /* see broker_block() */
	struct metrics metrics;
};

/* The name of a policy in the configuration, never NULL. */
const char *broker_policy_text(enum broker_policy policy);
void broker_status(const struct broker *broker, struct broker_status *ret_status);
/*
 * Recounts everything and compares: invariants U, Q, D, G and the lists. 0, or STATUS_INTERNAL with
 * the first contradiction in *ret_error. Takes time in proportion to the state.
 */
int broker_recount(struct broker *broker, struct error *ret_error);

#endif
