/* SPDX-License-Identifier: MIT */
/* What the broker keeps beside its records. Included by broker_private.h, and by nobody else. */
#ifndef PASIDD_BROKER_RUN_H
#define PASIDD_BROKER_RUN_H

#include "broker.h"
#include "set.h"
#include "space.h"

#define BROKER_CHANGES     8192u      /* kept change records, a power of two */
#define BROKER_OPS_MAX     (1u << 16) /* places of operations, the ends of sets aside */
#define BROKER_WORK_MAX    4096u      /* records that one call looks at, where it may be many */
#define BROKER_SEARCH_MAX  16384u     /* the same where each is looked at only briefly */
#define BROKER_LIST_MAX    64u        /* up to here a list is walked for each of its entries */
#define BROKER_BUCKETS     4096u
#define BROKER_BATCH       4096u  /* numbers that are recorded as used before they are */
#define BROKER_PATIENCE_MS 10000u /* a reset takes a tenth of a second */
#define BROKER_RETRY_MS    100u   /* between attempts to hand a worker what must be done */
#define BROKER_SHARED_LANE (UINT64_C(1) << 63)

/* ------------------------------------------------------------------ records' words (and state.h)
 */

#define SET_WORD_SESSION   (UINT64_C(1) << 8) /* dies with the session that made it */
#define SET_WORD_EMPTY     (UINT64_C(1) << 9) /* DYING, but comes back without anything in it */
#define DEVICE_WORD_CLOSED (UINT64_C(1) << 8) /* tainted, and our descriptors of it are gone */
#define BINDING_WORD_MADE  (UINT64_C(1) << 5)

#define GRANT_HOLDS_MAX 0xffffu

/* Which list a grant's links are in. */
enum grant_list {
	LIST_SET = 0,        /* active and free-pending: its set's */
	LIST_COOLING = 1,    /* the broker's, oldest first */
	LIST_RETURNABLE = 2, /* its set's; see struct set */
	LIST_PARKED = 3,     /* none: waits for a binding record to go */
};

static inline enum grant_state grant_state(const struct grant_slot *grant)
{
	return (enum grant_state)STATE_WORD_STATE(grant->word);
}

static inline uint32_t grant_host(const struct grant_slot *grant)
{
	return (uint32_t)(grant->word >> GRANT_HOST_SHIFT) & PASID_LAST;
}

static inline uint32_t grant_guest(const struct grant_slot *grant)
{
	return (uint32_t)(grant->word >> GRANT_GUEST_SHIFT) & PASID_LAST;
}

static inline bool grant_has_guest(const struct grant_slot *grant)
{
	return grant->word & GRANT_HAS_GUEST;
}

static inline enum grant_list grant_list(const struct grant_slot *grant)
{
	return (enum grant_list)((grant->word >> GRANT_LIST_SHIFT) & 3);
}

static inline bool grant_is_rids(const struct grant_slot *grant)
{
	return grant->word & GRANT_RIDS;
}

/* The participants that a freed one waits for. */
static inline uint32_t grant_awaits(const struct grant_slot *grant)
{
	return grant_state(grant) < GRANT_FREE_PENDING
		       ? 0
		       : (uint32_t)(grant->word >> GRANT_AWAIT_SHIFT) & GRANT_AWAIT_MASK;
}

static inline uint32_t grant_holds(const struct grant_slot *grant)
{
	return (uint32_t)(grant->word >> GRANT_HOLD_SHIFT);
}

/* ------------------------------------------------------------------ operations */

enum op_kind {
	OP_DEVICE_ADD,
	OP_DEVICE_SHARE,
	OP_DEVICE_REMOVE,
	OP_MAP,
	OP_UNMAP,
	OP_BIND,
	OP_UNBIND,
	OP_RID_ATTACH,
	OP_RID_DETACH,
	OP_REPLACE,
	OP_DESTROY, /* of a set: by request, or after its session's end */
	OP_RECOVER, /* of a set, or of one shared device: what an earlier run left unfinished */
};

/* Is it charged? What must be done has a place of its own. */
static inline bool op_kind_counts(enum op_kind kind)
{
	return kind != OP_DESTROY && kind != OP_RECOVER;
}

enum op_state {
	OP_FREE = 0,
	OP_WAITING, /* for an earlier operation of its set on the same things */
	OP_RUNNING,
	OP_ENDED, /* its outcome waits to be fetched */
};

enum op_phase {
	PHASE_FORWARD = 0, /* IDENTIFY, ATTACH, DETACH, ... */
	PHASE_OPEN,        /* device add: the second step */
	PHASE_UNDO,        /* what was done is taken back */
	PHASE_CLOSE,       /* of a device */
	PHASE_LEAVE,       /* of a slice */
	PHASE_END,         /* of a lane */
	PHASE_NUMBERS,     /* of a set, many of which are still to be freed */
	PHASE_LOOK,        /* a recovery: whether a replacement took effect */
	PHASE_AWAIT,       /* an unbind: for participants, before the detach */
};

struct op_pair {
	uint32_t device;
	uint64_t name;    /* of that device: its place may be another's by the time of the start */
	uint32_t binding; /* STATE_NONE: another pair of the same group stands for it */
	bool drained_before; /* the binding was there already, waiting for draining */
	struct hw_table table;
};

struct op {
	enum op_state state;
	enum op_kind kind;
	enum op_phase phase;
	bool undo_failed;
	bool lost;    /* a worker died that had attached something for it */
	bool going;   /* a removal that detaches what is attached */
	bool fresh;   /* a mapping that makes its address space */
	uint32_t tag; /* distinguishes the uses of this place; in the id of its hardware operations
		       */
	uint32_t set; /* STATE_NONE: the daemon's; of an ended one nobody's that can be relied on */
	uint32_t user;                 /* a reference, kept to the end; LIMITS_NO_USER: none */
	bool counted;                  /* in the operations of its set */
	uint32_t devices, descriptors; /* charged to the set for it, until a record has them */
	uint32_t next, prev;           /* in its set's order */
	uint32_t grant;                /* STATE_NONE: none */
	uint32_t device;               /* held alone, STATE_NONE: none */
	uint64_t device_name;          /* as in a pair; memory and removals */
	uint32_t step, pair_count;
	uint32_t ended_next, refused_next;
	uint32_t await_next, await_prev; /* in PHASE_AWAIT */
	uint32_t awaits;                 /* the participants that it waits for */
	uint64_t announced;              /* to them, with this event; 0: it was not */
	uint64_t await_until;
	uint32_t then;      /* a recovery: what starts when it has ended, STATE_NONE: nothing */
	uint64_t until_ms;  /* a reset is waited for so long, 0: as long as usual */
	int refused;        /* what the hardware port said when it did not take the operation */
	struct hw_op again; /* what hardware is asked, or is to be asked again */
	struct hw_op hw;    /* template: descriptors, mapping */
	struct outcome outcome;
	struct op_pair pairs[BROKER_PAIRS_MAX];
};

/* A page table that several bindings of one device share. */
struct device_table {
	uint32_t kind, id, refs; /* refs 0: the place is free */
	bool parent;             /* of nested ones */
};
#define DEVICE_TABLES 32u

/* The page tables that were charged for a binding. */
struct table_charge {
	uint32_t shared; /* place in its device's tables, STATE_NONE: none */
	uint32_t own;    /* made for it alone */
};

/* What the broker keeps of a device beside its record. */
struct device {
	uint32_t bindings;      /* list of binding slots */
	uint32_t rid_binding;   /* the one of its RID among them, or STATE_NONE */
	uint32_t binding_count; /* those that are or may be attached */
	uint32_t draining;      /* shared devices: numbers that may still be queued in it */
	uint32_t slices;        /* shared devices */
	uint32_t set_next;      /* in its set's list, or in that of shared ones */
	uint32_t descriptors;   /* those that a worker has of it, as charged to its set */
	bool known;             /* after a recovery: its worker has said so */
	bool removing;          /* after a recovery: it was, until its removal starts anew */
	struct device_table tables[DEVICE_TABLES];
};
_Static_assert(BROKER_SPACES_MAX <= 32, "a bit for each");

/* Slots of one table: a free list over those used before, then the next fresh one. */
struct pool {
	uint32_t *next;
	uint32_t free, used, capacity, live;
	enum state_table table;
};

/* An IOMMU group in which sets have numbers of scope rids. */
struct owner {
	bool taken; /* the place is in use */
	uint32_t group, claims;
	uint32_t next; /* in its bucket */
};
#define BROKER_OWNER_BUCKETS 256u

_Static_assert(TIE_OWNERS_MAX == BROKER_PAIRS_MAX, "one bind reaches all of them");

/* The groups that numbers of scope rids are for. */
struct groups {
	uint32_t count;
	uint32_t groups[BROKER_PAIRS_MAX];
};

/* A session that holds numbers; `session` 0: the place is free. */
struct holder {
	uint64_t session;
	uint32_t first, count; /* its holds */
	uint32_t user;         /* a reference */
	uint32_t next;         /* in its bucket, or of the free places */
};

/* `session` 0: the place is free. */
struct participant {
	uint64_t session;
	uint32_t tie;
	uint32_t missed, missed_count; /* unbinds that went on without it; the last one's number */
	uint64_t late_ms;              /* since when it is */
};

struct broker {
	struct broker_config config;
	struct broker_ports ports;
	struct ledger ledger;
	struct metrics metrics;
	uint64_t generation;
	uint64_t handle;
	uint32_t cursor; /* where the cyclic search goes on */
	uint64_t drawn;  /* how often the randomized one began */

	struct host_slot *host_slot;
	struct set_slot *set_slots;
	struct grant_slot *grant_slots;
	struct device_slot *device_slots;
	struct binding_slot *binding_slots;
	struct tie_slot *tie_slots;
	struct set *sets;
	uint32_t *by_name, *by_session; /* buckets of sets that are not gone */
	struct device *devices;
	struct pool set_pool, device_pool, binding_pool, tie_pool;
	uint32_t *first_tie; /* of each grant, slot + 1 */
	struct holder *holders;
	uint32_t *holder_of; /* buckets by session */
	uint32_t holder_capacity, holder_used, holder_free;
	struct participant participants[BROKER_PARTICIPANTS];
	uint32_t awaited, leaving; /* a bit of each: by what is freed now; what is swept away */
	uint32_t late;             /* of those awaited: unbinds wait for them no more */
	uint32_t sweeping, sweep_at;
	uint32_t await_first, await_last; /* unbinds that wait for them */
	uint64_t *announced; /* by grant: the event that told of its free; 0: an earlier run's */
	uint32_t grant_free, grant_used; /* grants link their free slots themselves */

	struct space numbers;
	/* by host PASID: slot + 1 of the grant that has it, 0 for none; of scope rids the
	 * first */
	uint32_t *grant_of;
	uint32_t *same_number; /* by grant of scope rids: slot + 1 of the next with its
				  number */
	struct owner *owners;
	struct space *owner_spaces; /* of each owner: numbers that nobody claims there */
	uint32_t owner_capacity, owner_used;
	uint32_t owner_buckets[BROKER_OWNER_BUCKETS];
	struct space *unshared; /* numbers that are not granted globally; kept from the
				   first claim */
	bool has_unshared;
	uint32_t rids_cursor;
	uint32_t cooling_first, cooling_last;
	uint32_t quarantined, bound;
	uint32_t first_shared; /* list of devices that belong to no set */
	uint32_t work;         /* records that may still be worked on before the next tick */
	uint32_t long_first, long_last; /* ends of sets that go on with the next tick */

	struct op *ops;
	uint32_t op_capacity, op_used, op_free, op_live, destroy_live;
	struct reservation *reservations;
	uint32_t *user_scratch; /* of broker_recount(): RESOURCE_COUNT sums of each user */
	uint32_t op_tag;
	uint32_t ended_first, ended_last;
	uint32_t submit_first, submit_last; /* operations that go to hardware with the next flush */
	uint32_t refused_first;             /* those that the hardware port did not take */
	uint32_t retry_first;               /* those that must be done, to be submitted again */
	uint64_t until_ms;                  /* of operations from here on, 0: unsaid */
	uint64_t retry_at;                  /* when, while there are any */

	struct change *changes;
	uint64_t change_first, change_next; /* of this run */
	bool was_recovered;                 /* or configured anew: under other limits, perhaps */
};
_Static_assert(STATE_CHANGE_MAX > 4 * BROKER_ALLOCATE_MAX, "an allocate is one change");

#endif
