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
		if (policy->cgroups[i] && policy_is_below(path, policy->cgroups[i]))
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

/* ------------------------------------------------------------------ another policy */

#define NO_RULE POLICY_CGROUPS_MAX

static size_t rule_find(const struct policy *policy, const char *path)
{
	for (size_t i = 0; i < policy->cgroup_count; i++)
		if (policy->cgroups[i] && strcmp(policy->cgroups[i], path) == 0)
			return i;
	return NO_RULE;
}

/* Where each rule goes: the known ones first, the others where there is room. */
static uint64_t rules_place(const struct policy *next, const struct policy *present,
	const char **rules, uint8_t *ret_places)
{
	uint64_t same = 0;
	size_t room = 0;

	for (size_t i = 0; i < next->cgroup_count; i++) {
		const size_t place = rule_find(present, next->cgroups[i]);

		ret_places[i] = (uint8_t)place;
		if (place == NO_RULE)
			continue;
		rules[place] = next->cgroups[i];
		same |= UINT64_C(1) << place;
	}
	for (size_t i = 0; i < next->cgroup_count; i++) {
		if (ret_places[i] != NO_RULE)
			continue;
		while (rules[room])
			room++;
		rules[room] = next->cgroups[i];
		ret_places[i] = (uint8_t)room;
	}
	return same;
}

static void who_renumber(struct policy_who *who, const uint8_t *places, size_t count)
{
	uint64_t cgroups = 0;

	for (size_t i = 0; i < count; i++)
		if (who->cgroups & UINT64_C(1) << i)
			cgroups |= UINT64_C(1) << places[i];
	who->cgroups = cgroups;
}

uint64_t policy_renumber(struct policy *next, struct policy_device *devices,
	const struct policy *present, const char **rules)
{
	struct policy_who *const lists[] = {&next->admins, &next->observers, &next->vmms,
		&next->participants, &next->global, &next->rids};
	uint8_t places[POLICY_CGROUPS_MAX];
	uint64_t same;
	size_t count = POLICY_CGROUPS_MAX;

	memset(rules, 0, POLICY_CGROUPS_MAX * sizeof(*rules));
	same = rules_place(next, present, rules, places);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		who_renumber(lists[i], places, next->cgroup_count);
	for (size_t i = 0; i < next->device_count; i++)
		who_renumber(&devices[i].who, places, next->cgroup_count);
	while (count > 0 && !rules[count - 1])
		count--;
	next->cgroups = rules;
	next->cgroup_count = count;
	return same;
}
