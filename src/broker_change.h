/* SPDX-License-Identifier: MIT */
/* What changes are told as: part of broker.h, which includes it. */
#ifndef PASIDD_BROKER_CHANGE_H
#define PASIDD_BROKER_CHANGE_H

#include "base.h"

enum change_kind { /* the numbers of pasid.v1.EventKind */
	CHANGE_SET_CREATED = 1,
	CHANGE_SET_ADJUSTED = 2,
	CHANGE_SET_DESTROYED = 3,
	CHANGE_SET_ENDING = 4,
	CHANGE_SET_EMPTIED = 5,
	CHANGE_SET_LEAVING = 11,
	CHANGE_SET_KEPT = 12,
	CHANGE_SET_GIVEN = 13,
	CHANGE_SET_RESERVED = 14,
	CHANGE_SET_TAKEN = 15,
	CHANGE_GRANT_ALLOCATED = 16,
	CHANGE_GRANT_FREE_PENDING = 17,
	CHANGE_GRANT_QUARANTINED = 18,
	CHANGE_GRANT_RELEASED = 19,
	CHANGE_GUEST_ATTACHED = 20,
	CHANGE_GUEST_DETACHED = 21,
	CHANGE_GRANT_HELD = 22,
	CHANGE_GRANT_LET_GO = 23,
	CHANGE_GRANT_DATA = 24,
	CHANGE_GRANT_WAITING = 25,
	CHANGE_GRANT_ACKNOWLEDGED = 26,
	CHANGE_GRANT_EXTENDED = 30,
	CHANGE_BINDING_BOUND = 32,
	CHANGE_BINDING_UNBOUND = 33,
	CHANGE_BINDING_LOST = 34,
	CHANGE_BINDING_UNBINDING = 35,
	CHANGE_BINDING_DRAINED = 36,
	CHANGE_BINDING_TAINTED = 37,
	CHANGE_UNBIND_UNACKNOWLEDGED = 38,
	CHANGE_BINDING_REPLACED = 40,
	CHANGE_DEVICE_ADDED = 48,
	CHANGE_DEVICE_REMOVED = 49,
	CHANGE_DEVICE_TAINTED = 50,
	CHANGE_DEVICE_HEALED = 51,
};

struct change {
	uint64_t sequence; /* 1, 2, 3, ... */
	uint64_t set;
	uint64_t name; /* broker_name_hash() of the set's; 0: no set */
	uint64_t device;
	uint64_t session; /* of a participant; 0: none */
	uint32_t kind;    /* enum change_kind */
	uint32_t host, guest;
	uint32_t has_guest;
	uint32_t rid; /* of the device, if there is one */
};

/* Is it about a number, and no binding of it? */
static inline bool change_is_of_number(uint32_t kind)
{
	return kind >= CHANGE_GRANT_ALLOCATED && kind < CHANGE_BINDING_BOUND;
}

struct broker;

/*
 * For the journal and the audit trail, whoever asks: the name of a set, also of one that ended in
 * this turn, terminated unless it has STATE_NAME_MAX bytes; NULL: not known any more. Valid until
 * the next call that changes something.
 */
const char *broker_set_name(const struct broker *broker, struct set_id set);
/* The same for the address of a device; false: not known. */
bool broker_device_rid(const struct broker *broker, struct device_id device, struct rid *ret_rid);

#endif
