/* SPDX-License-Identifier: MIT */
/*
 * The state port: records in fixed-size slots, each committed by its state word, written last.
 *
 * The broker's records are these slots; there is no second copy that could disagree. A table is an
 * array that is there in full as address space; slots are all zero (free) until used. What a record
 * says counts from the moment its word is committed, and a change that needs hardware is committed
 * as an intent first (BINDING, UNBINDING, DYING, ...), so that whoever finds the records later
 * knows what may have happened.
 *
 * A word of 0 is a free slot. Its other fields mean nothing and are written as memory is, before
 * the word is committed. Of a slot that is in use, each field is written through the port, but for
 * those that a recovery makes anew: they are marked "volatile" below.
 *
 * What is committed between two calls of state_settle() is one change: a daemon that is killed in
 * between leaves none of it. So a request and its remembered reply are there together or not at
 * all. Before hardware is asked, the intent is settled. A slot that was freed must not be taken
 * again within the same change, unless its fields are written through the port too.
 */
#ifndef PASIDD_STATE_H
#define PASIDD_STATE_H

#include "base.h"

enum state_table {
	STATE_SETS,
	STATE_GRANTS,
	STATE_DEVICES,
	STATE_BINDINGS,
	STATE_HOST,     /* one slot */
	STATE_SESSIONS, /* clients' standing; of the edge, as the replies are */
	STATE_REPLIES,  /* what sessions were answered (invariant X) */
	STATE_TIES,     /* of grants: table owners that they are for, sessions that hold them */
	STATE_TABLES,
};

#define STATE_NONE     UINT32_MAX /* a link to nothing */
#define STATE_NAME_MAX 64

/*
 * Words keep their state in the lowest four bits, those of sets, devices and bindings a generation
 * above the numbers of slots: an object's name outside is the generation with slot + 1.
 */
#define STATE_WORD_STATE(word) ((unsigned)((word)&0xf))
#define STATE_WORD_KIND(word)  ((unsigned)((word) >> 4) & 0xf)
#define WORD_GENERATION_SHIFT  24
#define SLOT_MASK              0xffffffu

#define SET_MOVE_SHIFT 10
#define SET_MOVE_MASK  (UINT64_C(7) << SET_MOVE_SHIFT)

enum set_state {
	SET_FREE = 0,
	SET_ACTIVE = 1,
	SET_DYING = 2,  /* being torn down: an intent */
	SET_ZOMBIE = 3, /* gone, but numbers of it are in quarantine or a device of it is tainted */
};

enum scope { /* the numbers of pasid.v1.Scope, and bits */
	SCOPE_GLOBAL = 1,
	SCOPE_RIDS = 2,
};

/* Where a set is on its way from one host's daemon to another's (broker_move.c). */
enum set_move {
	MOVE_NONE = 0,
	MOVE_LEAVING = 1,  /* it is here, and stays as it is until it is given or kept */
	MOVE_GIVEN = 2,    /* it is the target's; what is left of it here goes at its release */
	MOVE_COMING = 3,   /* its numbers are being reserved here */
	MOVE_RESERVED = 4, /* they all are, and serve nobody until it is taken */
	MOVE_TAKEN = 5,    /* it is here, like any other, and remembers how it came */
};

enum set_mode {
	SET_TRANSLATED = 1,
	SET_IDENTITY = 2,
	SET_GUEST_OWNED = 3,
};

/*
 * word: state | mode << 4 | owned by its session << 8 | comes back empty << 9 | enum set_move << 10
 *       | generation << 24
 * A DYING set that comes back is ACTIVE again once everything of it is torn down.
 */
struct set_slot {
	uint64_t word;
	uint64_t session; /* of the VMM that made it; 0: made by an admin */
	uint32_t uid;     /* the user who is charged */
	uint32_t quota;
	char name[STATE_NAME_MAX]; /* terminated unless it fills the field */
	/* numbers whose cooling ends before (ms since boot) served an earlier VM of it */
	uint64_t emptied;
	uint32_t scopes; /* bits of enum scope that it may use; 0: global only */
	uint8_t reserved[4];
	/* of its move; 0 before the first one */
	uint64_t move[2];    /* which one: the same at both hosts */
	uint64_t move_proof; /* tells the other daemon's word from anybody's; see broker_move.c */
};
ASSERT_SIZE(struct set_slot, 128);

enum grant_state {
	GRANT_FREE = 0,
	GRANT_IDLE = 1,
	GRANT_ACTIVE = 2,
	GRANT_FREE_PENDING = 3, /* freed by its owner, still bound or held */
	GRANT_QUARANTINED = 4,
};

/*
 * word: state | host PASID << 4 | guest PASID << 24 | has guest << 44 | list << 45
 *       | of scope rids << 47 | holds << 48
 * 32 bytes, because there may be 2^20 of them.
 */
#define GRANT_HOST_SHIFT  4
#define GRANT_GUEST_SHIFT 24
#define GRANT_HAS_GUEST   (UINT64_C(1) << 44)
#define GRANT_LIST_SHIFT  45 /* enum grant_list of the broker */
#define GRANT_RIDS        (UINT64_C(1) << 47)
#define GRANT_HOLD_SHIFT  48
/* In place of a guest PASID, of one that was freed: the participants that it waits for. */
#define GRANT_AWAIT_SHIFT GRANT_GUEST_SHIFT
#define GRANT_AWAIT_MASK  0xffffu

struct grant_slot {
	uint64_t word;
	/* private data; in quarantine the time (ms since boot) at which cooling ends */
	uint64_t data;
	uint32_t set;        /* slot of the set */
	uint32_t bindings;   /* volatile: first binding slot, or STATE_NONE */
	uint32_t next, prev; /* volatile: in the list of its set, or of its kind of quarantine */
};
ASSERT_SIZE(struct grant_slot, 32);

enum tie_state {
	TIE_FREE = 0,
	TIE_MADE = 1,
};

enum tie_kind {
	TIE_OWNER =
		1, /* a grant of scope rids: the number is its set's in the table of this group */
	TIE_HOLD = 2,        /* a session holds the number */
	TIE_PARTICIPANT = 3, /* of no grant: a session whose acknowledgement of frees is awaited */
};

#define TIE_OWNERS_MAX 32u /* groups that one number can be for */

/*
 * word: state | kind << 4 | held by its set's VMM << 8 | times held << 32; of a hold the user who
 * is charged for it is in two halves, << 16 and << 48.
 */
#define TIE_WORD_OWN    (UINT64_C(1) << 8)
#define TIE_TIMES_SHIFT 32

/* Of a participant: state | kind << 4 | index << 8 | leaving << 12 */
#define TIE_INDEX_SHIFT  8
#define TIE_WORD_LEAVING (UINT64_C(1) << 12)

static inline uint32_t tie_index(uint64_t word)
{
	return (uint32_t)(word >> TIE_INDEX_SHIFT) & 0xf;
}

static inline uint64_t tie_of_user(uint32_t uid)
{
	return (uint64_t)(uid & 0xffff) << 16 | (uint64_t)(uid >> 16) << 48;
}

static inline uint32_t tie_user(uint64_t word)
{
	return (uint32_t)(word >> 16 & 0xffff) | (uint32_t)(word >> 48) << 16;
}

struct tie_slot {
	uint64_t word;
	uint64_t to;               /* an IOMMU group; the id of a session */
	uint32_t grant;            /* slot */
	uint32_t next, peer, prev; /* volatile: lists */
};
ASSERT_SIZE(struct tie_slot, 32);

enum device_state {
	DEVICE_FREE = 0,
	DEVICE_ADDING = 1, /* an intent: descriptors are with the worker */
	DEVICE_READY = 2,
	DEVICE_REMOVING = 3, /* an intent */
	DEVICE_TAINTED = 4,  /* something may be attached that we could not detach */
};

enum device_kind {
	DEVICE_EXCLUSIVE = 1,
	DEVICE_SHARED = 2, /* the daemon's */
	DEVICE_SLICE = 3,  /* a part of a shared one */
};

/* word: state | kind << 4 | generation << 24 */
struct device_slot {
	uint64_t word;
	uint64_t lane;
	uint64_t iommufd_key; /* volatile: of this run of the daemon only */
	uint64_t raw[6];
	uint32_t rid, group, handle, dev_id;
	uint32_t iommu, pasid_width, caps, unit;
	uint32_t set;    /* slot of the owner; STATE_NONE: the daemon (a shared device) */
	uint32_t shared; /* slot of the shared device that a slice is a part of, or STATE_NONE */
	uint32_t spaces; /* bits of address spaces that were made for mappings */
	/* while its RID has a stream table entry of its guest's (broker_guest.c): the guest's name
	   of it, and iommufd's names of what the entry was made with, 0 until it stands */
	uint32_t stream, viommu, vdevice;
};
ASSERT_SIZE(struct device_slot, 128);

enum binding_state {
	BINDING_FREE = 0,
	BINDING_BINDING = 1, /* an intent: it may or may not be attached */
	BINDING_BOUND = 2,
	BINDING_UNBINDING = 3, /* an intent */
	BINDING_TAINTED = 4,   /* we failed to detach it */
	BINDING_DRAINING = 5,  /* detached, but queued work of a shared device may still carry it */
};

#define BINDING_WORD_PASID (UINT64_C(1) << 4)

#define BINDING_KIND_SHIFT   8
#define BINDING_PARENT_SHIFT 12
#define BINDING_KIND(word)   ((unsigned)((word) >> BINDING_KIND_SHIFT) & 0xf)
#define BINDING_PARENT(word) ((unsigned)((word) >> BINDING_PARENT_SHIFT) & 0xf)
#define BINDING_KIND_STREAM  5u /* enum hw_table_kind: a guest's own table, HW_TABLE_SMMUV3 */

/* of struct binding_slot.next_table: kind | kind of its parent << 4 | id << 32 */
#define BINDING_NEXT_KIND(next)   ((next)&0xf)
#define BINDING_NEXT_PARENT_SHIFT 4
#define BINDING_NEXT_ID_SHIFT     32

/*
 * word: state | has pasid << 4 | table made by us << 5 | table kind << 8 | kind of its parent << 12
 *       | generation << 24
 */
struct binding_slot {
	uint64_t word;
	uint32_t set;
	uint32_t grant;  /* STATE_NONE: the RID itself */
	uint32_t device; /* slot it was attached through: a device, or a slice */
	uint32_t pt_id;
	uint32_t grant_next, device_next; /* volatile: lists */
	uint32_t device_prev;             /* volatile */
	uint32_t table_id;
	uint32_t table_shared, table_own; /* volatile: as charged; see struct table_charge */
	/* an intent: the table that is to stand there instead, BINDING_NEXT_*; 0: none. BOUND only
	 */
	uint64_t next_table;
	uint32_t next_shared, next_own; /* volatile: as charged for that */
};
ASSERT_SIZE(struct binding_slot, 64);

enum host_state {
	HOST_FREE = 0, /* nothing was ever recorded */
	HOST_USED = 1,
};

/*
 * What is never given out twice while the host is up. Numbers are taken in batches: all below the
 * recorded one may have been used, none at or above it was.
 * word: state
 */
struct host_slot {
	uint64_t word;
	uint64_t generation; /* of records (broker) */
	uint64_t sequence;   /* of events (broker) */
	uint64_t session;    /* ids (edge) */
	uint64_t digest[2];  /* key of the digests that replies are remembered under (edge) */
	uint64_t handle;     /* names of devices for workers (broker) */
	uint64_t cursor;     /* where the cyclic search goes on; a hint, stored as memory is */
	/* slots at or above these were never used (edge): a recovery reads no more of the tables */
	uint64_t session_slots, reply_slots;
	uint64_t unconfirmed; /* not 0: earlier records of this boot are missing (broker) */
	uint64_t rids_cursor; /* as `cursor`, of scope rids */
	uint64_t policy; /* 1 + the one of STATE_POLICIES that is in force (broker); 0: none yet */
	uint8_t reserved[24];
};
ASSERT_SIZE(struct host_slot, 128);

#define STATE_POLICIES 3u

enum session_state {
	SESSION_FREE = 0,
	SESSION_LIVE = 1,
};

/* word: state | role << 4 | on a handed connection << 8 */
struct session_slot {
	uint64_t word;
	uint64_t id;
	uint64_t token[2];
	uint64_t set;   /* name of its set, 0: none */
	uint64_t floor; /* changes below this that no reply is left of are over */
	uint64_t born;  /* tells its process from another one with the same number; 0: unknown */
	union {
		struct {
			uint32_t uid; /* who it belongs to */
			int32_t pid;
		};
		uint64_t who; /* both, to be written through the port */
	};
	uint32_t charged; /* the user who is charged */
	uint8_t reserved4[4];
	uint64_t taken; /* digest of the secret that its process took it over with; 0: none */
	uint8_t reserved[48];
};
ASSERT_SIZE(struct session_slot, 128);

enum reply_state {
	REPLY_FREE = 0,
	REPLY_UNDER_WAY = 1, /* hardware was asked */
	REPLY_FINAL = 2,
	REPLY_MORE = 3, /* bytes of a longer one */
};

#define REPLY_BYTES_SHIFT 32

#define STATE_REPLY_FIRST 32u /* bytes of a reply that are in its first slot */
#define STATE_REPLY_MORE  48u /* in each that follows */

#define STATE_REPLY_MAX       49152u /* bytes of a reply */
#define STATE_SESSION_REPLIES 256u   /* that are remembered, or under way */

/*
 * A change that a session asked for, with the encoded reply (pasid.v1.Reply without its id) when it
 * is final.
 * word: state | came with descriptors << 4 | operation << 8 | bytes << 32
 */
struct reply_slot {
	uint64_t word;
	uint32_t session; /* slot */
	uint32_t more;    /* slot of the next bytes, or STATE_NONE */
	union {
		struct {
			uint64_t id;
			uint64_t digest;
			uint8_t first[STATE_REPLY_FIRST];
		};
		uint8_t bytes[STATE_REPLY_MORE]; /* of REPLY_MORE */
	};
};
ASSERT_SIZE(struct reply_slot, 64);

struct state_ops {
	/* Makes sure that slots [0, count) can be written. -ENOSPC or -ENOMEM: they cannot. */
	int (*reserve)(void *ctx, enum state_table table, uint32_t count);
	/*
	 * Stores a record's word, or another eight bytes of it, after everything that was written
	 * before. What was there comes back unless the change is settled. A change of more stores
	 * than STATE_CHANGE_MAX, or than STATE_CHANGE_BASE and STATE_CHANGE_SLOT for each slot
	 * that was ever reserved, may be settled on its way: nobody may rely on more.
	 */
	void (*commit)(void *ctx, uint64_t *word, uint64_t value);
	/* The moment that counts: all that was committed stays. */
	void (*settle)(void *ctx);
};

#define STATE_CHANGE_MAX  65536u
#define STATE_CHANGE_BASE 4096u
#define STATE_CHANGE_SLOT 8u

/* The injected state. `table` and `capacity` do not change while it is in use. */
struct state {
	const struct state_ops *ops;
	void *ctx;
	void *table[STATE_TABLES];
	uint32_t capacity[STATE_TABLES]; /* slots */
};

static inline int state_reserve(const struct state *state, enum state_table table, uint32_t count)
{
	return state->ops->reserve(state->ctx, table, count);
}

static inline void state_commit(const struct state *state, uint64_t *word, uint64_t value)
{
	state->ops->commit(state->ctx, word, value);
}

/* Half of eight aligned bytes, which are stored together. */
static inline void state_commit32(const struct state *state, uint32_t *field, uint32_t value)
{
	uint64_t *word = (uint64_t *)((uintptr_t)field & ~(uintptr_t)7);
	union {
		uint64_t word;
		uint32_t half[2];
	} both = {*word};

	both.half[(uintptr_t)field / 4 & 1] = value;
	state_commit(state, word, both.word);
}

static inline void state_settle(const struct state *state)
{
	state->ops->settle(state->ctx);
}

#endif
