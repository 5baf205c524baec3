/* SPDX-License-Identifier: MIT */
/*
 * Who may do what. Pure: the rules are read from configuration elsewhere and stay with their owner.
 */
#ifndef PASIDD_POLICY_H
#define PASIDD_POLICY_H

#include "base.h"

enum role {
	ROLE_NONE = 0,
	ROLE_VMM = 1,      /* one set of its own */
	ROLE_ADMIN = 2,    /* everything */
	ROLE_OBSERVER = 3, /* sees everything, changes nothing */
};

#define POLICY_GROUPS_MAX 64

/* Who is at the other end, from the socket's credentials. */
struct policy_peer {
	uint32_t uid;
	uint32_t group_count;
	uint32_t groups[POLICY_GROUPS_MAX]; /* the primary one first */
};

enum policy_use {
	POLICY_USE_EXCLUSIVE = 1, /* the daemon may open it for one set */
	POLICY_USE_SHARED = 2,    /* the daemon may keep it; sets may have slices of it */
};

/* One list of users and groups. */
struct policy_who {
	bool everyone;
	const uint32_t *uids;
	size_t uid_count;
	const uint32_t *gids;
	size_t gid_count;
};

struct policy_device {
	struct rid rid;
	enum policy_use use;
	struct policy_who who; /* whose sets may have it */
};

struct policy {
	struct policy_who admins, observers, vmms;
	const struct policy_device *devices;
	size_t device_count;
	bool any_device; /* simulation: every device for everyone, as either kind */
};

bool policy_allows_role(
	const struct policy *policy, const struct policy_peer *peer, enum role role);

/* May a set of this peer have the device, opened by the daemon and used in this way? */
bool policy_allows_device(const struct policy *policy, const struct policy_peer *peer,
	struct rid rid, enum policy_use use);

#endif
