/* SPDX-License-Identifier: MIT */
#include "policy.h"

#include <string.h>

static bool policy_listed(const uint32_t *list, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == id)
			return true;
	return false;
}

static bool policy_matches(const struct policy_who *who, const struct policy_peer *peer)
{
	if (who->everyone || policy_listed(who->uids, who->uid_count, peer->uid) ||
		(who->cgroups & peer->cgroups) != 0)
		return true;
	for (uint32_t i = 0; i < peer->group_count && i < POLICY_GROUPS_MAX; i++)
		if (policy_listed(who->gids, who->gid_count, peer->groups[i]))
			return true;
	return false;
}

/* Is it that path or below it? What lies outside of what we can see ("/../...") is below nothing.
 */
static bool policy_is_below(const char *path, const char *rule)
{
	size_t length = strlen(rule);

	if (path[0] != '/' || strncmp(path, "/..", 3) == 0)
		return false;
	if (length == 1)
		return true;
	return strncmp(path, rule, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

uint64_t policy_match_cgroups(const struct policy *policy, const char *path)
{
	uint64_t matched = 0;

	for (size_t i = 0; i < policy->cgroup_count && i < POLICY_CGROUPS_MAX; i++)
		if (policy_is_below(path, policy->cgroups[i]))
			matched |= UINT64_C(1) << i;
	return matched;
}

bool policy_allows_role(const struct policy *policy, const struct policy_peer *peer, enum role role)
{
	if (peer->admitted)
		return role != ROLE_NONE;
	switch (role) {
	case ROLE_VMM:
		return policy_matches(&policy->vmms, peer);
	case ROLE_ADMIN:
		return policy_matches(&policy->admins, peer);
	case ROLE_OBSERVER:
		return policy_matches(&policy->observers, peer);
	case ROLE_PARTICIPANT:
		return policy_matches(&policy->participants, peer);
	case ROLE_NONE:
		break;
	}
	return false;
}

uint32_t policy_scopes(const struct policy *policy, const struct policy_peer *peer)
{
	return (policy_matches(&policy->global, peer) ? POLICY_GLOBAL : 0) |
	       (policy_matches(&policy->rids, peer) ? POLICY_RIDS : 0);
}

bool policy_allows_device(const struct policy *policy, const struct policy_peer *peer,
	struct rid rid, enum policy_use use)
{
	bool named = false;

	for (size_t i = 0; i < policy->device_count; i++) {
		const struct policy_device *device = &policy->devices[i];

		if (device->rid.v != rid.v)
			continue;
		named = true;
		if (device->use == use && policy_matches(&device->who, peer))
			return true;
	}
	/* What the configuration says about a device counts, in a simulation too. */
	return policy->any_device && !named;
}
