/* SPDX-License-Identifier: MIT */
/*
 * Who may do what. Pure: the rules are read from configuration elsewhere and stay with their owner.
 */
#ifndef PASIDD_POLICY_H
#define PASIDD_POLICY_H

#include "base.h"

enum role {
	ROLE_NONE = 0,
	ROLE_VMM = 1,         /* one set of its own */
	ROLE_ADMIN = 2,       /* everything */
	ROLE_OBSERVER = 3,    /* sees everything, changes nothing */
	ROLE_PARTICIPANT = 4, /* is told of everything that happens, and asks for nothing else */
};

#define POLICY_GROUPS_MAX  64
#define POLICY_CGROUPS_MAX 64 /* different rules about cgroups; a bit each in 64 bits */

/* Who is at the other end, from the socket's credentials; and the rules its cgroup matched. */
struct policy_peer {
	uint64_t cgroups; /* of policy_match_cgroups() */
	uint32_t uid;
	bool admitted; /* came in by a door that is open to admins only */
	uint32_t group_count;
	uint32_t groups[POLICY_GROUPS_MAX]; /* the primary one first */
};

enum policy_use {
	POLICY_USE_EXCLUSIVE = 1, /* the daemon may open it for one set */
	POLICY_USE_SHARED = 2,    /* the daemon may keep it; sets may have slices of it */
};

/* One list of users, groups and cgroups, of which one has to match. */
struct policy_who {
	bool everyone;
	uint64_t cgroups; /* bit n: policy.cgroups[n] */
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
	struct policy_who admins, observers, vmms, participants;
	struct policy_who global, rids; /* whose sets may have numbers of that scope */
	/* the rules: absolute paths without a '/' at the end, or "/"; NULL: no rule has that bit */
	const char *const *cgroups;
	size_t cgroup_count; /* at most POLICY_CGROUPS_MAX */
	const struct policy_device *devices;
	size_t device_count;
	bool any_device; /* simulation: every device for everyone, as either kind */
};

/* The rules that name this cgroup v2 path or one above it. */
uint64_t policy_match_cgroups(const struct policy *policy, const char *path);

/*
 * Numbers the rules of the next policy so that those that the present one has, too, keep their
 * bits, as far as there is room for that, in `rules`, which has POLICY_CGROUPS_MAX places and is to
 * be the next one's. `next` has no gaps in its rules yet; `devices` are its devices. Returns the
 * bits that mean the same in both: what a peer matched of others is nothing that the next policy
 * knows.
 */
uint64_t policy_renumber(struct policy *next, struct policy_device *devices,
	const struct policy *present, const char **rules);

/* Who was admitted may be anything, whatever the rules say of its credentials. */
bool policy_allows_role(
	const struct policy *policy, const struct policy_peer *peer, enum role role);

#define POLICY_GLOBAL 1u /* the bits of enum scope, which is further up (state.h) */
#define POLICY_RIDS   2u

/* The scopes that a set of this peer may use. */
uint32_t policy_scopes(const struct policy *policy, const struct policy_peer *peer);

/* May a set of this peer have the device, opened by the daemon and used in this way? */
bool policy_allows_device(const struct policy *policy, const struct policy_peer *peer,
	struct rid rid, enum policy_use use);

#endif
