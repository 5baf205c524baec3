/* SPDX-License-Identifier: MIT */
/* Claims of scope rids from the records alone: taken up after a restart, and recounted. */
#include "broker_private.h"

/* ------------------------------------------------------------------ recovery */

static int recover_tie(struct broker *b, uint32_t i)
{
	struct tie_slot *tie = &b->tie_slots[i];
	const uint32_t grant = tie->grant, host = grant_host(&b->grant_slots[grant]);
	const uint32_t owner = scope_owner_take(b, (uint32_t)tie->to);

	if (owner == STATE_NONE || !space_is_free(&b->owner_spaces[owner], host))
		return -1;
	space_take(&b->owner_spaces[owner], host);
	b->owners[owner].claims++;
	tie->next = b->first_tie[grant] - 1; /* 0 is none */
	b->first_tie[grant] = i + 1;
	set_charge_anyway(b, b->grant_slots[grant].set, RESOURCE_CLAIMS, 1);
	return 0;
}

int scope_recover(struct broker *b, struct error *ret_error)
{
	for (uint32_t i = 0; i < b->tie_pool.used; i++) {
		const uint64_t word = b->tie_slots[i].word;

		if (word == 0 || STATE_WORD_KIND(word) != TIE_OWNER)
			continue;
		scope_begin(b);
		if (recover_tie(b, i))
			return error_set_limit(ret_error, REASON_INTERNAL, b->tie_slots[i].to, 0, 0,
				"the recorded state cannot be taken up: a claim in IOMMU group %llu",
				(unsigned long long)b->tie_slots[i].to);
	}
	return 0;
}

/* ------------------------------------------------------------------ recount */

/* What is claimed in one group: as many numbers as there are claims. */
static int recount_owner(const struct broker *b, uint32_t owner, struct error *ret_error)
{
	const struct space *space = &b->owner_spaces[owner];
	const struct owner *run = &b->owners[owner];

	if (run->claims == 0 || space_free_count(space) + run->claims != PASID_LAST ||
		!space_check(space))
		return recount_wrong(ret_error, "U: claims of an IOMMU group", run->group);
	return 0;
}

static int recount_tie(const struct broker *b, uint32_t i, struct error *ret_error)
{
	const struct tie_slot *tie = &b->tie_slots[i];
	const struct grant_slot *grant = &b->grant_slots[tie->grant];
	const uint32_t owner = scope_owner(b, (uint32_t)tie->to);

	if (grant_state(grant) == GRANT_FREE || !grant_is_rids(grant) || owner == STATE_NONE ||
		space_is_free(&b->owner_spaces[owner], grant_host(grant)))
		return recount_wrong(ret_error, "U: a claim of a number that is free", tie->to);
	return 0;
}

/* A number of scope rids: its set's own, not anybody's globally, and bound where it is claimed. */
static int recount_grant(const struct broker *b, uint32_t grant, struct error *ret_error)
{
	const struct grant_slot *slot = &b->grant_slots[grant];
	const uint32_t host = grant_host(slot);
	uint32_t groups[BROKER_PAIRS_MAX];

	if (!b->has_unshared || !space_is_free(b->unshared, host))
		return recount_wrong(ret_error, "U: a number is granted in both scopes", host);
	if (grant_groups(b, grant, groups) == 0 || grant_of_set(b, slot->set, host) != grant)
		return recount_wrong(ret_error, "U: a number of scope rids is nobody's", host);
	for (uint32_t i = slot->bindings; i != STATE_NONE; i = b->binding_slots[i].grant_next)
		if (!grant_claims(b, grant, b->device_slots[b->binding_slots[i].device].group))
			return recount_wrong(
				ret_error, "U: a number is bound outside its scope", host);
	return 0;
}

static int recount_unshared(const struct broker *b, uint32_t global, struct error *ret_error)
{
	if (b->has_unshared &&
		(space_free_count(b->unshared) + global != PASID_LAST || !space_check(b->unshared)))
		return recount_wrong(ret_error, "U: numbers that are not granted globally", global);
	return 0;
}

int scope_recount(struct broker *b, struct error *ret_error)
{
	uint32_t global = 0, claims = 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < b->grant_used; i++) {
		const struct grant_slot *slot = &b->grant_slots[i];

		if (grant_state(slot) == GRANT_FREE)
			continue;
		global += !grant_is_rids(slot);
		r = grant_is_rids(slot) ? recount_grant(b, i, ret_error) : 0;
	}
	for (uint32_t i = 0; r == 0 && i < b->tie_pool.used; i++)
		if (b->tie_slots[i].word && STATE_WORD_KIND(b->tie_slots[i].word) == TIE_OWNER)
			r = recount_tie(b, i, ret_error);
	for (uint32_t i = 0; r == 0 && i < b->owner_used; i++) {
		claims += b->owners[i].taken ? b->owners[i].claims : 0;
		r = b->owners[i].taken ? recount_owner(b, i, ret_error) : 0;
	}
	for (uint32_t i = 0; r == 0 && i < b->set_pool.used; i++)
		claims -= set_state(b, i) == SET_FREE ? 0 : b->sets[i].recounted_claims;
	if (r == 0 && claims)
		r = recount_wrong(ret_error, "U: claims that no set has", claims);
	return r ? r : recount_unshared(b, global, ret_error);
}
