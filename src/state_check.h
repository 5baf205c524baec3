/* SPDX-License-Identifier: MIT */
/*
 * Whether records mean something: each by itself, and all of them together.
 *
 * What a daemon finds in a file when it starts was written by another one, perhaps of another
 * version, and may have been damaged by what had no business there. The broker relies on all of
 * this and checks none of it again.
 *
 * - sets: a known mode; a valid name, which no other set that is not gone has; a quota
 *   of 1 to 2^20, and no more grants than that
 * - grants: a host PASID of 1 to 2^20 - 1 that no other has, or of scope rids no other of the set
 * and none of scope global; a set; a guest PASID if active only, which no other grant of the set
 * has
 * - ties: a grant; a claim is of one of scope rids, which has 1 to 32 of them, and no other has its
 *   number in the same IOMMU group
 * - devices: a known kind; a set, unless it is a shared one; a slice is one of a shared device
 * - bindings: a set and a device; a grant of the same set, or none; one for each grant and device;
 *   what drains or is tainted is not in a slice; nothing is in a device that is being added
 * - sessions: an id that was given out, which no other has; in a slot that the host's record counts
 * - replies: a session, which has no other of the same id, nor more than its window; as many slots
 *   as its bytes take, none of them another's; in slots that the host's record counts
 *
 * So a recovery of sessions (session_recover.c) refuses nothing that is accepted here.
 *
 * Fields that are marked volatile in state.h are not looked at.
 */
#ifndef PASIDD_STATE_CHECK_H
#define PASIDD_STATE_CHECK_H

#include "state.h"

/* The first thing that is wrong. */
struct state_problem {
	enum state_table table;
	uint32_t slot;
	uint64_t value; /* the one that cannot be */
	char text[200]; /* a sentence that names all three */
};

/* Bytes of scratch memory that a check of so many slots takes; at most 18 MiB. */
size_t state_check_scratch(const uint32_t used[static STATE_TABLES]);

/*
 * Checks slots [0, used) of each table, in a time proportional to their number; of sets, sessions
 * and the replies of each, of which there are few, n log n. `scratch` has what
 * state_check_scratch() says, aligned for a uint64_t. 0, or -EBADMSG with the problem.
 */
int state_check(const struct state *state, const uint32_t used[static STATE_TABLES], void *scratch,
	struct state_problem *ret_problem);

/* What a table's records are called. */
const char *state_table_name(enum state_table table);

#endif
