/* SPDX-License-Identifier: MIT */
/*
 * Sets at run time, and the ledger that every number is charged to: set, user and host. Pure.
 *
 * A set's quota is debited from the host's capacity when it is made, so that what a set was
 * promised is there when it asks. Numbers in quarantine stay charged to their set and user, also
 * after the set is gone (invariant Q): a gone set keeps its place in the ledger until the last of
 * them is released.
 */
#ifndef PASIDD_SET_H
#define PASIDD_SET_H

#include "base.h"
#include "error.h"
#include "metrics.h"
#include "translate.h"

#define LEDGER_USERS_MAX 1024

/* What the broker keeps of a set beside its record. */
struct set {
	struct account pasids;
	uint32_t user;        /* index in the ledger */
	uint32_t active;      /* grants active or free-pending */
	uint32_t quarantined; /* pasids.current == active + quarantined */
	uint32_t devices, bindings;
	uint32_t grants;     /* lists of grant slots: active and free-pending; */
	uint32_t returnable; /* cooled, but for this set only until a shared device is drained */
	uint32_t first_device;
	uint32_t first_op, last_op, ops;
	bool has_lane;                          /* a worker of its own was asked for */
	uint32_t recounted, recounted_bindings; /* scratch of broker_recount() */
	struct translate map;
};

struct ledger_user {
	uint32_t uid;
	uint32_t sets; /* gone ones too; 0: the place is free */
	struct account pasids;
};

struct ledger {
	struct account host;
	uint32_t committed;     /* quotas of living sets and what gone sets still have */
	uint32_t user_quota;    /* 0: none of its own */
	uint32_t sets_per_user; /* 0: none of its own */
	struct ledger_user users[LEDGER_USERS_MAX];
};

/* capacity: how many numbers may be out at once. */
void ledger_init(
	struct ledger *ledger, uint32_t capacity, uint32_t user_quota, uint32_t sets_per_user);

/* What is not yet promised to any set. */
uint32_t ledger_remaining(const struct ledger *ledger);

/* Debits a new set's quota. STATUS_QUOTA when the host has less, or the user has too many sets. */
int ledger_open(struct ledger *ledger, struct set *set, uint32_t uid, uint32_t quota,
	struct error *ret_error);

/* Another quota. STATUS_QUOTA below use or beyond what remains. */
int ledger_adjust(struct ledger *ledger, struct set *set, uint32_t quota, struct error *ret_error);

/* The set is gone; what it still has is charged on until it is released, and so is its place. */
void ledger_close(struct ledger *ledger, struct set *set);
/* Nothing of it is left: its user may have another. */
void ledger_forget(struct ledger *ledger, const struct set *set);

/* How many more numbers the set may have, at all three levels. */
uint32_t ledger_room(const struct ledger *ledger, const struct set *set);

/* The error for a set that has no room for n more, counted as a hit of the limit that refused it.
 */
int ledger_refuse(struct ledger *ledger, struct set *set, const char *name, uint32_t n,
	struct error *ret_error);

/* Charges n numbers, for which there is room; gives n back. `open`: the set was not closed yet. */
void ledger_charge(struct ledger *ledger, struct set *set, uint32_t n);
void ledger_release(struct ledger *ledger, struct set *set, uint32_t n, bool open);

#endif
