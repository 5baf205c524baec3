/* SPDX-License-Identifier: MIT */
/*
 * Whose records are in the slots of the refusals, so that each user has a fair share of them. For
 * audit*.c alone; in memory, with no system call, and no memory is asked for after _new() but by
 * _rebuild().
 *
 * While there is a free slot a record takes it. Then it takes the place of another: of the user who
 * has most records at that moment, of the kind (set, operation and reason) of which that user has
 * most, the oldest. So who is refused all the time overwrites what is its own, and mostly what is
 * like it; and nobody is left with less than a fair share by another.
 *
 * AUDIT_USERS users have a share of their own. One more takes the place of the user who was not
 * refused for the longest time, if that is AUDIT_STALE_MS or more: what was refused to that one
 * goes over to the common share. Else the new user has the common share, together with all others
 * who found no place. What nobody is known to have caused is one more share.
 */
#ifndef PASIDD_AUDIT_SHARES_H
#define PASIDD_AUDIT_SHARES_H

#include "audit.h"

#define AUDIT_USERS    128u
#define AUDIT_KINDS    16u /* of a user; a hash tells them apart, so that two may be one */
#define AUDIT_STALE_MS (UINT64_C(7) * 24 * 3600 * 1000)

struct audit_shares;

/* For slots from 0 to `capacity` - 1, none of which it has yet. NULL: no memory. */
struct audit_shares *audit_shares_new(uint32_t capacity);
void audit_shares_free(struct audit_shares *shares); /* NULL is fine */

/* These slots are free: neither was given here before. */
void audit_shares_give(struct audit_shares *shares, uint32_t first, uint32_t count);
/*
 * Slots 0 to `count` - 1 are as an earlier daemon, or whatever damaged the file, left them: whole
 * records belong to their users, the others are free. To be called first. *ret_last is the last
 * record's sequence (0: there is none), *ret_next the slot behind it. 0 or -ENOMEM.
 */
int audit_shares_rebuild(struct audit_shares *shares, const struct audit_record *slots,
	uint32_t count, uint64_t *ret_last, uint32_t *ret_next);

bool audit_shares_is_full(const struct audit_shares *shares);
/*
 * The slot that this record is to be stored in; its uid, flags, set, operation, reason and time_ms
 * count. At least one slot was given.
 */
uint32_t audit_shares_take(struct audit_shares *shares, const struct audit_record *record);

#endif
