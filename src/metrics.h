/* SPDX-License-Identifier: MIT */
/*
 * Counters: an account has a limit and is charged; a metric only rises. Pure.
 */
#ifndef PASIDD_METRICS_H
#define PASIDD_METRICS_H

#include <assert.h>

#include "base.h"

/* Numbers in use against a limit, of a set, a user or the host. Invariant Q: current <= limit. */
struct account {
	uint32_t limit;
	uint32_t current;
	uint32_t peak;
	uint32_t hits; /* how often the limit refused something; stops at its largest value */
};

/* M(name, text): what has happened since the daemon started. */
#define METRICS(M)                                                                                 \
	M(ALLOCATED, "pasids-allocated")                                                           \
	M(FREED, "pasids-freed")                                                                   \
	M(RELEASED, "pasids-released")                                                             \
	M(REUSED, "pasids-returned-to-own-set")                                                    \
	M(TAINTED, "bindings-tainted")                                                             \
	M(BINDS, "binds")                                                                          \
	M(BIND_FAILURES, "binds-failed")                                                           \
	M(UNBINDS, "unbinds")                                                                      \
	M(REPLACES, "replacements")                                                                \
	M(REPLACE_FAILURES, "replacements-failed")                                                 \
	M(DEVICES_ADDED, "devices-added")                                                          \
	M(DEVICES_REMOVED, "devices-removed")                                                      \
	M(SETS_CREATED, "sets-created")                                                            \
	M(SETS_DESTROYED, "sets-destroyed")                                                        \
	M(TEARDOWNS, "teardowns-after-death")                                                      \
	M(HARDWARE_OPS, "hardware-operations")                                                     \
	M(HARDWARE_FAILURES, "hardware-failures")                                                  \
	M(LANES_LOST, "workers-lost")                                                              \
	M(REFUSED, "requests-refused")

enum metric {
#define M(name, text) METRIC_##name,
	METRICS(M)
#undef M
		METRIC_COUNT
};

struct metrics {
	uint64_t value[METRIC_COUNT];
};

/* The name of a metric as programs see it, never NULL. */
const char *metric_text(enum metric metric);
void metrics_add(struct metrics *metrics, enum metric metric, uint64_t n);

/* Counts a hit; false. */
bool account_refuse(struct account *account);

/* What follows is done several times for each request. */

/* Room for n more? A refusal is counted as a hit. */
static inline bool account_room(struct account *account, uint32_t n)
{
	if (account->current <= account->limit && n <= account->limit - account->current)
		return true;
	return account_refuse(account);
}

/* Charges n, be it more than the limit. */
static inline void account_add(struct account *account, uint32_t n)
{
	assert(n <= UINT32_MAX - account->current);
	account->current += n;
	if (account->peak < account->current)
		account->peak = account->current;
}

/* Charges n; the caller has asked account_room() before. */
static inline void account_charge(struct account *account, uint32_t n)
{
	assert(MUTANT(Q) || account->current + n <= account->limit);
	account_add(account, n);
}

static inline void account_release(struct account *account, uint32_t n)
{
	assert(n <= account->current);
	account->current -= n;
}

#endif
