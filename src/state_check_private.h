/* SPDX-License-Identifier: MIT */
/*
 * What the files of the check share.
 *
 *   state_check.c          sets, grants, devices, bindings
 *   state_check_session.c  sessions, replies
 *   state_check_tie.c      ties
 *   state_check_move.c     sets that are under way to another host
 */
#ifndef PASIDD_STATE_CHECK_PRIVATE_H
#define PASIDD_STATE_CHECK_PRIVATE_H

#include "state_check.h"

struct state_checking {
	const uint32_t *used;
	const struct set_slot *sets;
	const struct grant_slot *grants;
	const struct device_slot *devices;
	const struct binding_slot *bindings;
	const struct host_slot *host;
	const struct session_slot *sessions;
	const struct reply_slot *replies;
	const struct tie_slot *ties;
	struct state_problem *problem;
	/* scratch */
	uint64_t *hosts;  /* a bit for each host PASID */
	uint64_t *bits;   /* a bit for each guest PASID, device or reply */
	uint32_t *starts; /* of groups among the keys */
	uint32_t *last;   /* the highest key of each group so far, plus one */
	uint32_t *keys;   /* sorted by group; or slots sorted by what they say */
};

/* Says what is wrong; -EBADMSG. */
int state_check_fail(const struct state_checking *c, enum state_table table, uint32_t slot,
	uint64_t value, const char *format, ...) __attribute__((cold, format(printf, 5, 6)));
/* A word of which no record is: free, or not. */
int state_check_state(const struct state_checking *c, enum state_table table, uint32_t slot,
	uint64_t word, unsigned last);

/* Less than 0, 0, more than 0, as of what two slots say. */
typedef int (*state_compare)(const struct state_checking *c, uint32_t a, uint32_t b);
/* Whether all of these slots differ; sorts them, on the spot. If not, the second of two. */
bool state_check_differ(const struct state_checking *c, uint32_t *slots, uint32_t count,
	state_compare compare, uint32_t *ret_slot);

static inline uint32_t state_host_of(uint64_t word)
{
	return (uint32_t)(word >> GRANT_HOST_SHIFT) & PASID_LAST;
}

static inline bool state_test_and_set(uint64_t *bits, uint32_t bit)
{
	const uint64_t mask = UINT64_C(1) << (bit % 64);
	const bool was = bits[bit / 64] & mask;

	bits[bit / 64] |= mask;
	return was;
}

/* ---------------------------------------------------------------- state_check_session.c */

int state_check_sessions(const struct state_checking *c);
int state_check_replies(const struct state_checking *c);

/* ---------------------------------------------------------------- state_check_tie.c */

int state_check_ties(const struct state_checking *c);

/* ---------------------------------------------------------------- state_check_move.c */

/* After bindings and devices: what they belong to is there. */
int state_check_moves(const struct state_checking *c);

#endif
