/* SPDX-License-Identifier: MIT */
/*
 * What clients were told, and what must be so because of it: plain arrays that are gone through
 * from end to end. Nothing of it comes from the broker, but for what a request leaves open: which
 * numbers are granted, how far the end of a set has got, what became of what failed. Such an answer
 * is taken over when it is one of those that may be.
 */
#ifndef PASIDD_SIM_TRUTH_H
#define PASIDD_SIM_TRUTH_H

#include "world.h"

#define TRUTH_HOLDERS 2u
#define TRUTH_PARTIES 3u

struct truth_number {
	uint64_t set; /* the name of its owner */
	uint64_t data;
	uint64_t cooled;                   /* when it has cooled, once it was freed */
	uint32_t guest, holds, quarantine; /* holds of its VM */
	uint32_t others[TRUTH_HOLDERS];    /* of an admin, and of a participant */
	uint32_t awaits;                   /* participants that have not let go since its free */
	uint32_t unbind_awaits;            /* nor since its unbind was told */
	uint64_t unbind_told;              /* when that was */
	bool unbind_lost;                  /* what it was about went meanwhile */
	uint8_t state;                     /* enum grant_state */
	bool has_guest;
	bool was_bound;
	bool earlier; /* it served an earlier VM of its set */
	bool doubt;   /* an attach or a detach of it failed or was interrupted */
};

/* A number of scope rids: the set's in the tables of some groups, a bit each. */
struct truth_claim {
	uint64_t set, data;
	uint64_t cooled; /* as above */
	uint32_t host, groups;
	uint8_t state;
	bool was_bound;
};

enum truth_life {
	TRUTH_GONE = 0, /* or nothing but charged for numbers in quarantine */
	TRUTH_LIVES,
	TRUTH_EMPTYING, /* its VM is gone, it comes back */
	TRUTH_ENDS,
};

struct truth_set {
	uint64_t name, session;
	uint64_t emptied; /* ms: when its next VM came; 0: it has its first one */
	uint32_t uid, quota;
	uint8_t life, mode, vm;
	bool doubt; /* a recovery may be at work in it */
};

struct truth_device {
	uint64_t name, set, lane;
	uint32_t rid;
	uint8_t kind, state;
	bool going;       /* its removal was asked for */
	bool interrupted; /* and the daemon died in that, so it is asked for again */
	bool told;        /* somebody knows of it */
	bool lost;        /* its worker died */
	bool seen;        /* scratch of the comparison */
};

struct truth_bound {
	uint64_t set, device, lane;
	uint32_t rid, host;    /* host 0: the RID itself */
	bool leaving;          /* its end was asked for */
	struct hw_table table; /* what stands there */
};

struct truth_op {
	uint64_t cookie, set;
	uint64_t devices[3];
	uint32_t host; /* 0: none */
	uint32_t rid;
	struct hw_table table; /* of a replacement */
	uint8_t kind;          /* enum step_kind of who asked */
	uint8_t count;
};

#define TRUTH_SETS    32u
#define TRUTH_DEVICES 32u
#define TRUTH_BOUND   64u
#define TRUTH_OPS     32u
#define TRUTH_CLAIMS  WORLD_CAPACITY

struct truth {
	bool unconfirmed;
	uint32_t removals;                   /* that recoveries go on with */
	uint64_t parties[TRUTH_PARTIES];     /* sessions of participants; 0: none */
	uint32_t parties_late, parties_left; /* unbinds do not wait for these; since time passed */
	uint32_t set_count, device_count, bound_count, op_count, claim_count;
	struct truth_number numbers[WORLD_NUMBERS];
	struct truth_set sets[TRUTH_SETS];
	struct truth_device devices[TRUTH_DEVICES];
	struct truth_bound bound[TRUTH_BOUND];
	struct truth_op ops[TRUTH_OPS];
	struct truth_claim claims[TRUTH_CLAIMS];
};

void truth_init(struct truth *truth);
/* Only as much of it as there is. */
void truth_copy(struct truth *to, const struct truth *from);

static inline struct truth_number *truth_number(struct truth *truth, uint32_t host)
{
	return &truth->numbers[host - WORLD_FIRST];
}

/* Holds that do not end with the set. */
static inline uint32_t truth_others(const struct truth_number *number)
{
	return number->others[0] + number->others[1];
}

/* NULL: there is none, or none any more. */
struct truth_set *truth_set(struct truth *truth, uint64_t name);
/* The set that the VM uses: it lives, or is being emptied. */
struct truth_set *truth_set_of_vm(struct truth *truth, unsigned vm);
struct truth_set *truth_set_new(struct truth *truth);
struct truth_device *truth_device(struct truth *truth, uint64_t name);
struct truth_device *truth_device_new(struct truth *truth);
void truth_device_drop(struct truth *truth, struct truth_device *device);
struct truth_bound *truth_bound(struct truth *truth, uint32_t host, uint32_t rid);
void truth_bound_add(struct truth *truth, const struct truth_bound *bound);
void truth_bound_drop(struct truth *truth, struct truth_bound *bound);
struct truth_op *truth_op_new(struct truth *truth, uint64_t cookie, enum step_kind kind);
/* false: nobody waits for it. */
bool truth_op_take(struct truth *truth, uint64_t cookie, struct truth_op *ret_op);
/* NULL: the set has no such number of scope rids. */
struct truth_claim *truth_claim(struct truth *truth, uint64_t set, uint32_t host);
struct truth_claim *truth_claim_new(struct truth *truth);
void truth_claim_drop(struct truth *truth, struct truth_claim *claim);
/* Somebody's in one of these tables, or of the set in any. */
bool truth_claimed(const struct truth *truth, uint64_t set, uint32_t host, uint32_t groups);
/* Operations that are about a number. */
unsigned truth_ops_of(const struct truth *truth, uint32_t host);
unsigned truth_bound_of(const struct truth *truth, uint32_t host);
/* Without those whose end was asked for. */
unsigned truth_stays_bound(const struct truth *truth, uint32_t host);
void truth_doubt(struct truth *truth, uint32_t host);

/* Numbers of a set in that state; with GRANT_FREE all that it is charged for. */
unsigned truth_count(const struct truth *truth, uint64_t set, enum grant_state state);
unsigned truth_devices_of(const struct truth *truth, uint64_t set);
/* Promised and used numbers: of a user, or with uid 0 of the host. */
unsigned truth_promised(const struct truth *truth, uint32_t uid);
unsigned truth_used(const struct truth *truth, uint32_t uid);
/* Of them, what the first VM's sets have, or the one of these that is not gone. */
unsigned truth_promised_first(const struct truth *truth, bool all);
uint32_t truth_uid(const struct truth *truth, uint64_t set);

/* ------------------------------------------------------------------ what follows from something */

/* An active number is freed. */
void truth_free(struct truth *truth, uint32_t host, uint64_t now_ms);
/* A number waits to be reclaimed, and nothing uses it any more: it cools. */
void truth_settle(struct truth *truth, uint32_t host, uint64_t now_ms);
/* The end of a set was asked for. */
void truth_end(struct truth *truth, struct truth_set *set, enum truth_life life);
/* The worker of a lane is gone. */
void truth_lose(struct truth *truth, uint64_t lane);
/* A bit for each participant. */
uint32_t truth_live_parties(const struct truth *truth);
/* What an unbind waits for is forgotten with the daemon. */
void truth_interrupt_parties(struct truth *truth);
/* The daemon died: nobody hears any more of what was asked for. */
void truth_interrupt(struct truth *truth);

#endif
