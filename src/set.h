/* SPDX-License-Identifier: MIT */
/*
 * Sets at run time, and the ledger of what they were promised and what they use. Pure.
 *
 * The ledger keeps no counts of its own: it knows which accounts of the limits (limit.h) a set's
 * life touches, and words the refusals that concern PASIDs. A set's quota is debited from its user
 * and from the host's capacity when it is made, so that what a set was promised is there when it
 * asks. Numbers in quarantine stay charged to their set and user, also after the set is gone
 * (invariant Q): a gone set keeps its place with its user until the last of them is released.
 *
 * Part of the capacity may be reserved for sets of one name and user: set_reserve.c.
 *
 * `tell`: whoever asks may know how the host stands; a VMM may not.
 */
#ifndef PASIDD_SET_H
#define PASIDD_SET_H

#include "base.h"
#include "error.h"
#include "export.h"
#include "limit.h"
#include "metrics.h"
#include "translate.h"

#define RESERVATION_NAME_MAX 64

struct set;

/* PASIDs of the host that only sets of that name and user can be promised. */
struct reservation {
	char name[RESERVATION_NAME_MAX + 1];
	uint32_t uid;
	struct account account; /* those that are promised to sets that have it; hits: it was not
				   enough for one */
	uint32_t aside;         /* those that are promised to nobody */
	struct set *live;       /* the one of its sets that is not gone */
	uint32_t recounted;     /* scratch of broker_recount() */
};

/* What the broker keeps of a set beside its record. */
struct set {
	struct accounts accounts;        /* of PASIDs the limit is the set's quota */
	uint64_t name_hash;              /* see broker_name_hash() */
	uint64_t ended;                  /* what the set that is gone from this place was called */
	uint32_t user;                   /* a place in the limits */
	struct reservation *reservation; /* that it has, or NULL */
	uint32_t covered;                /* so much of its quota is of that */
	uint32_t active;                 /* grants active or free-pending */
	uint32_t quarantined;            /* PASIDs charged == active + quarantined */
	uint32_t devices, bindings;
	uint32_t grants;     /* lists of grant slots: active and free-pending; */
	uint32_t returnable; /* cooled, but for this set only until a shared device is drained */
	uint32_t first_device;
	uint32_t first_op, last_op, ops;
	uint32_t untold;                  /* ends of it whose outcomes were not fetched */
	bool has_lane;                    /* a worker of its own was asked for */
	uint32_t name_next, session_next; /* in the broker's buckets, while it is not gone */
	/* scratch of broker_recount() */
	uint32_t recounted, recounted_bindings, recounted_records, recounted_claims;
	struct translate map;
	struct export export;
};

struct ledger {
	struct limits *limits;
	struct reservation *reservations;
	uint32_t reservation_count;
	uint32_t missing; /* of all of them together */
};

/* capacity: how many numbers may be out at once; becomes the host's limit, unless that is lower. */
void ledger_init(struct ledger *ledger, struct limits *limits, uint32_t capacity);

/*
 * Makes a new set its user's, with all accounts empty and nothing promised yet. STATUS_QUOTA when
 * the user has too many. `name`: it has what is reserved for its user under that name.
 */
int ledger_open(struct ledger *ledger, struct set *set, uint32_t uid, const char *name,
	struct error *ret_error);
/* What may still be promised to the set. */
uint32_t ledger_remaining(const struct ledger *ledger, const struct set *set);
/* Debits a new set's quota, once. STATUS_QUOTA when its user or the host has less. */
int ledger_promise(
	struct ledger *ledger, struct set *set, uint32_t quota, bool tell, struct error *ret_error);

/* Another quota. STATUS_QUOTA below use or beyond what remains. */
int ledger_adjust(
	struct ledger *ledger, struct set *set, uint32_t quota, bool tell, struct error *ret_error);

/* The set is gone; what it still has is charged on until it is released, and so is its place. */
void ledger_close(struct ledger *ledger, struct set *set);
/* Nothing of it is left, and nothing promised: its user may have another. */
void ledger_forget(struct ledger *ledger, struct set *set);

/* How many more numbers the set may have, at all three levels. */
uint32_t ledger_room(const struct ledger *ledger, const struct set *set);

/* The error for a set that has no room for n more, counted as a hit of the limit that refused it.
 */
int ledger_refuse(struct ledger *ledger, struct set *set, const char *name, uint32_t n, bool tell,
	struct error *ret_error);

/* Charges n numbers, for which there is room; gives n back. `open`: the set was not closed yet. */
void ledger_charge(struct ledger *ledger, struct set *set, uint32_t n);
void ledger_release(struct ledger *ledger, struct set *set, uint32_t n, bool open);

/* ---------------------------------------------------------------- reserved capacity */

/* Sets aside what there is room for; with names, users and limits filled by the caller, whose
 * memory it stays. */
void ledger_reserve(struct ledger *ledger, struct reservation *reservations, uint32_t count);
/* The one of that name, or NULL. */
struct reservation *ledger_reservation(const struct ledger *ledger, const char *name);
/* So many numbers could not be set aside yet. */
uint32_t reservation_missing(const struct reservation *reservation);
/* What could not be set aside before, as far as there is room now. */
void reserve_fill(struct ledger *ledger);
/* After a recovery: gives up of what was set aside what others were promised before, those that
 * were configured last first. */
void reserve_yield(struct ledger *ledger);

/*
 * Other reservations, at run time. First what was set aside is nobody's again (ledger_unreserve),
 * and each set loses what it had of a reservation (reserve_detach). Then there are new ones
 * (ledger_reserve_again), each set gets what it has of them (reserve_attach; those that are gone
 * come first), and the rest is set aside (reserve_fill).
 */
void ledger_unreserve(struct ledger *ledger);
void ledger_reserve_again(struct ledger *ledger, struct reservation *reservations, uint32_t count);
void reserve_detach(struct set *set);
void reserve_attach(
	struct ledger *ledger, struct set *set, uint32_t uid, const char *name, bool gone);

/* Of set.c: what is set aside for the set; takes up to n of it before a promise, and says what came
 * of that; and what follows when the set's quota is less than before. */
uint32_t reserve_aside(const struct set *set);
uint32_t reserve_take(struct ledger *ledger, struct set *set, uint32_t n);
void reserve_taken(struct ledger *ledger, struct set *set, uint32_t taken, bool promised);
void reserve_given_back(struct ledger *ledger, struct set *set);

static inline struct account *set_pasids(struct set *set)
{
	return &set->accounts.of[RESOURCE_PASIDS];
}
static inline uint32_t set_quota(const struct set *set)
{
	return set->accounts.of[RESOURCE_PASIDS].limit;
}
/* Numbers that it has, in quarantine too. */
static inline uint32_t set_use(const struct set *set)
{
	return set->accounts.of[RESOURCE_PASIDS].current;
}

#endif
