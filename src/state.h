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
 * A word of 0 is a free slot. Fields other than the word may be written while the word says so in
 * the layout below, and mean something only under the states that name them.
 */
#ifndef PASIDD_STATE_H
#define PASIDD_STATE_H

#include "base.h"

enum state_table {
	STATE_SETS,
	STATE_GRANTS,
	STATE_DEVICES,
	STATE_BINDINGS,
	STATE_TABLES,
};

#define STATE_NONE     UINT32_MAX /* a link to nothing */
#define STATE_NAME_MAX 64

/* Words keep their state in the lowest four bits. */
#define STATE_WORD_STATE(word) ((unsigned)((word)&0xf))

enum set_state {
	SET_FREE = 0,
	SET_ACTIVE = 1,
	SET_DYING = 2,  /* being torn down: an intent */
	SET_ZOMBIE = 3, /* gone, but numbers of it are in quarantine or a device of it is tainted */
};

/*
 * word: state | mode << 4 | owned by its session << 8 | comes back empty << 9 | generation << 24
 * A DYING set that comes back is ACTIVE again once everything of it is torn down.
 */
struct set_slot {
	uint64_t word;
	uint64_t session; /* of the VMM that made it; 0: made by an admin */
	uint32_t uid;     /* the user who is charged */
	uint32_t quota;
	char name[STATE_NAME_MAX]; /* terminated unless it fills the field */
	uint64_t emptied; /* numbers whose cooling ends before (ms) served an earlier VM of it */
	uint8_t reserved[32];
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
 * word: state | host PASID << 4 | guest PASID << 24 | has guest << 44 | holds << 48
 * 32 bytes, because there may be 2^20 of them.
 */
struct grant_slot {
	uint64_t word;
	uint64_t data;       /* private data; in quarantine the time (ms) at which cooling ends */
	uint32_t set;        /* slot of the set */
	uint32_t bindings;   /* first binding slot, or STATE_NONE */
	uint32_t next, prev; /* in the list of its set, or of its kind of quarantine */
};
ASSERT_SIZE(struct grant_slot, 32);

enum device_state {
	DEVICE_FREE = 0,
	DEVICE_ADDING = 1, /* an intent: descriptors are with the worker */
	DEVICE_READY = 2,
	DEVICE_REMOVING = 3, /* an intent */
	DEVICE_TAINTED = 4,  /* something may be attached that we could not detach */
};

/* word: state | kind << 4 | generation << 24 */
struct device_slot {
	uint64_t word;
	uint64_t lane;
	uint64_t iommufd_key; /* of this run of the daemon only */
	uint64_t raw[6];
	uint32_t rid, group, handle, dev_id;
	uint32_t iommu, pasid_width, caps, unit;
	uint32_t set;    /* slot of the owner; STATE_NONE: the daemon (a shared device) */
	uint32_t shared; /* slot of the shared device that a slice is a part of, or STATE_NONE */
	uint8_t reserved[16];
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

/* word: state | has pasid << 4 | table made by us << 5 | table kind << 8 | generation << 24 */
struct binding_slot {
	uint64_t word;
	uint32_t set;
	uint32_t grant;  /* STATE_NONE: the RID itself */
	uint32_t device; /* slot it was attached through: a device, or a slice */
	uint32_t pt_id;
	uint32_t grant_next, device_next; /* lists, rebuilt by a recovery */
	uint32_t device_prev;
	uint32_t table_id;
	uint32_t table_shared, table_own; /* as charged; see struct table_charge */
	uint8_t reserved[16];
};
ASSERT_SIZE(struct binding_slot, 64);

struct state_ops {
	/* Makes sure that slots [0, count) can be written. -ENOSPC or -ENOMEM: they cannot. */
	int (*reserve)(void *ctx, enum state_table table, uint32_t count);
	/* Stores a record's word, after everything that was written before. The moment that counts.
	 */
	void (*commit)(void *ctx, uint64_t *word, uint64_t value);
};

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

#endif
