/* SPDX-License-Identifier: MIT */
/*
 * Numbers of scope rids (F4): a set's in the tables of some owners, IOMMU groups, and nowhere else.
 *
 * An owner has a space of its own once it has such a number, and each of its numbers a record, a
 * claim. So the same number may be another set's in other tables; in one set it is there once. A
 * number that is granted globally is nobody else's anywhere: `unshared` has the numbers that are
 * not, and is kept from the first claim on, so that who needs no claims pays nothing for them.
 */
#include "broker_private.h"

#include <assert.h>
#include <string.h>

/* ------------------------------------------------------------------ owners */

static uint32_t *owner_bucket(struct broker *b, uint32_t group)
{
	return &b->owner_buckets[group % BROKER_OWNER_BUCKETS];
}

uint32_t scope_owner(const struct broker *b, uint32_t group)
{
	uint32_t owner = b->owner_buckets[group % BROKER_OWNER_BUCKETS];

	while (owner != STATE_NONE && b->owners[owner].group != group)
		owner = b->owners[owner].next;
	return owner;
}

uint32_t scope_owner_take(struct broker *b, uint32_t group)
{
	uint32_t owner = scope_owner(b, group);

	if (owner != STATE_NONE)
		return owner;
	for (owner = 0; owner < b->owner_used && b->owners[owner].taken; owner++)
		;
	if (owner == b->owner_capacity)
		return STATE_NONE;
	if (owner == b->owner_used)
		b->owner_used++;
	b->owners[owner] =
		(struct owner){.taken = true, .group = group, .next = *owner_bucket(b, group)};
	*owner_bucket(b, group) = owner;
	space_init(&b->owner_spaces[owner]);
	space_open(&b->owner_spaces[owner], 1, PASID_LAST);
	return owner;
}

/* The place is free again when nothing is claimed there. */
static void owner_settle(struct broker *b, uint32_t owner)
{
	uint32_t *link = owner_bucket(b, b->owners[owner].group);

	if (b->owners[owner].claims)
		return;
	while (*link != owner)
		link = &b->owners[*link].next;
	*link = b->owners[owner].next;
	b->owners[owner].taken = false;
}

/* ------------------------------------------------------------------ numbers that are not global */

void scope_begin(struct broker *b)
{
	if (b->has_unshared)
		return;
	space_init(b->unshared);
	space_open(b->unshared, 1, PASID_LAST);
	for (uint32_t i = 0; i < b->grant_used; i++) {
		const struct grant_slot *slot = &b->grant_slots[i];

		if (grant_state(slot) != GRANT_FREE && !grant_is_rids(slot))
			space_take(b->unshared, grant_host(slot));
	}
	b->has_unshared = true;
}

/* ------------------------------------------------------------------ whose number it is */

void scope_enter(struct broker *b, uint32_t grant)
{
	const uint32_t host = grant_host(&b->grant_slots[grant]);

	if (grant_is_rids(&b->grant_slots[grant])) {
		b->same_number[grant] = b->grant_of[host];
		if (b->grant_of[host] == 0 && host > b->config.reserved_last)
			space_take(&b->numbers, host);
	} else {
		if (!MUTANT(U))
			space_take(&b->numbers, host);
		if (b->has_unshared)
			space_take(b->unshared, host);
	}
	b->grant_of[host] = grant + 1;
}

static void scope_leave_rids(struct broker *b, uint32_t grant, uint32_t host)
{
	uint32_t *link = &b->grant_of[host];

	while (*link != grant + 1)
		link = &b->same_number[*link - 1];
	*link = b->same_number[grant];
	if (b->grant_of[host] == 0 && host > b->config.reserved_last)
		space_give(&b->numbers, host);
}

void scope_leave(struct broker *b, uint32_t grant)
{
	const uint32_t host = grant_host(&b->grant_slots[grant]);

	if (grant_is_rids(&b->grant_slots[grant])) {
		scope_leave_rids(b, grant, host);
		return;
	}
	if (!MUTANT(U))
		space_give(&b->numbers, host);
	if (b->has_unshared)
		space_give(b->unshared, host);
	b->grant_of[host] = 0;
}

uint32_t grant_of_set(const struct broker *b, uint32_t set, uint32_t host)
{
	uint32_t grant = grant_of_host(b, host);

	while (grant != STATE_NONE && b->grant_slots[grant].set != set && !MUTANT(O))
		grant = grant_same_number(b, grant);
	return grant;
}

uint32_t grant_same_number(const struct broker *b, uint32_t grant)
{
	return grant_is_rids(&b->grant_slots[grant]) ? b->same_number[grant] - 1 : STATE_NONE;
}

int grant_named(struct broker *b, const struct actor *actor, struct set_id id, struct hpasid host,
	uint32_t *ret_grant, struct error *ret_error)
{
	uint32_t set, grant = grant_of_host(b, host.v);
	int r;

	if (id.v) {
		r = set_for_reading(b, actor, id, &set, ret_error);
		if (r)
			return r;
		grant = grant_of_set(b, set, host.v);
	} else if (grant != STATE_NONE && grant_same_number(b, grant) != STATE_NONE) {
		return error_set_limit(ret_error, REASON_AMBIGUOUS, host.v, 1, 2,
			"PASID %u is several sets', each on devices of its own; name the set, too",
			host.v);
	}
	*ret_grant = grant;
	return 0;
}

/* ------------------------------------------------------------------ claims */

bool grant_claims(const struct broker *b, uint32_t grant, uint32_t group)
{
	for (uint32_t i = b->first_tie[grant] - 1; i != STATE_NONE; i = b->tie_slots[i].next) {
		const struct tie_slot *tie = &b->tie_slots[i];

		if (STATE_WORD_KIND(tie->word) == TIE_OWNER && tie->to == group)
			return true;
	}
	return false;
}

uint32_t grant_groups(const struct broker *b, uint32_t grant, uint32_t *groups)
{
	uint32_t count = 0;

	for (uint32_t i = b->first_tie[grant] - 1; i != STATE_NONE; i = b->tie_slots[i].next) {
		const struct tie_slot *tie = &b->tie_slots[i];

		if (STATE_WORD_KIND(tie->word) == TIE_OWNER)
			groups[count++] = (uint32_t)tie->to;
	}
	return count;
}

void scope_recount_claims(struct broker *b)
{
	for (uint32_t i = 0; i < b->set_pool.used; i++)
		b->sets[i].recounted_claims = 0;
	for (uint32_t i = 0; i < b->tie_pool.used; i++) {
		const struct tie_slot *tie = &b->tie_slots[i];

		if (tie->word && STATE_WORD_KIND(tie->word) == TIE_OWNER)
			b->sets[b->grant_slots[tie->grant].set].recounted_claims++;
	}
}

int scope_check_bind(
	const struct broker *b, uint32_t grant, uint32_t device, struct error *ret_error)
{
	const struct rid rid = {b->device_slots[device].rid};
	const uint32_t host = grant_host(&b->grant_slots[grant]);

	if (!grant_is_rids(&b->grant_slots[grant]) ||
		grant_claims(b, grant, b->device_slots[device].group))
		return 0;
	return error_set_limit(ret_error, REASON_OUTSIDE_SCOPE, host, 0, 0,
		"PASID %u is its set's on some devices, and device " RID_FORMAT
		" is none of them; extend it to that device first, or bind another number",
		host, RID_ARGS(rid));
}

/* Takes the number there. The slot may have been freed in this change, so all of it goes through
 * the port; its word last. */
static void claim_make(struct broker *b, uint32_t grant, uint32_t owner)
{
	struct tie_slot *tie;
	uint32_t i;
	int r = pool_take(b, &b->tie_pool, &i);

	assert(r == 0); /* reserved */
	(void)r;
	tie = &b->tie_slots[i];
	broker_commit(b, &tie->to, b->owners[owner].group);
	state_commit32(b->ports.state, &tie->grant, grant);
	tie->next = b->first_tie[grant] - 1; /* 0 is none */
	b->first_tie[grant] = i + 1;
	broker_commit(b, &tie->word, (uint64_t)TIE_OWNER << 4 | TIE_MADE);
	if (!MUTANT(S))
		space_take(&b->owner_spaces[owner], grant_host(&b->grant_slots[grant]));
	b->owners[owner].claims++;
}

void scope_claim(struct broker *b, uint32_t grant, const struct groups *scope)
{
	for (uint32_t i = 0; i < scope->count; i++)
		claim_make(b, grant, scope_owner(b, scope->groups[i]));
}

void scope_drop(struct broker *b, uint32_t grant)
{
	const uint32_t set = b->grant_slots[grant].set;
	uint32_t i, next, claims = 0;

	for (i = b->first_tie[grant] - 1; i != STATE_NONE; i = next) {
		struct tie_slot *tie = &b->tie_slots[i];
		const uint32_t owner = scope_owner(b, (uint32_t)tie->to);

		next = tie->next;
		assert(STATE_WORD_KIND(tie->word) == TIE_OWNER); /* nobody holds it any more */
		if (!MUTANT(S))
			space_give(&b->owner_spaces[owner], grant_host(&b->grant_slots[grant]));
		b->owners[owner].claims--;
		owner_settle(b, owner);
		broker_commit(b, &tie->word, 0);
		pool_give(&b->tie_pool, i);
		claims++;
	}
	b->first_tie[grant] = 0;
	set_release(b, set, RESOURCE_CLAIMS, claims);
}

/* ------------------------------------------------------------------ what a request names */

static int scope_device(struct broker *b, uint32_t set, struct device_id id, uint32_t *ret_device,
	struct error *ret_error)
{
	int r = device_of_set(b, set, id, ret_device, ret_error);

	if (r)
		return r;
	if (device_state(b, *ret_device) == DEVICE_ADDING)
		return error_set_limit(ret_error, REASON_BUSY, id.v, 0, 0,
			"device %llu of set '%.*s' is being added; ask when that is done",
			(unsigned long long)id.v, SET_NAME(b, set));
	return guest_check_number(b, *ret_device, ret_error);
}

int scope_read(struct broker *b, uint32_t set, const struct device_id *devices, size_t count,
	struct groups *ret_scope, struct error *ret_error)
{
	ret_scope->count = 0;
	for (size_t i = 0; i < count; i++) {
		uint32_t device, group, k = 0;
		int r = scope_device(b, set, devices[i], &device, ret_error);

		if (r)
			return r;
		group = b->device_slots[device].group;
		while (k < ret_scope->count && ret_scope->groups[k] != group)
			k++;
		if (k == BROKER_PAIRS_MAX)
			return error_set_limit(ret_error, REASON_LIMIT, count, BROKER_PAIRS_MAX, k,
				"one PASID can be for %u IOMMU groups; name fewer devices",
				BROKER_PAIRS_MAX);
		if (k == ret_scope->count)
			ret_scope->groups[ret_scope->count++] = group;
	}
	return 0;
}

/* Slots for n more ties are writeable. */
static int ties_reserve(struct broker *b, uint32_t n, struct error *ret_error)
{
	const uint32_t spare = b->tie_pool.used - b->tie_pool.live;
	const uint32_t fresh = n > spare ? n - spare : 0;

	if (fresh > b->tie_pool.capacity - b->tie_pool.used)
		return error_set(ret_error, REASON_LIMIT,
			"the host has no place for %u more claims; free PASIDs of scope rids", n);
	if (fresh && state_reserve(b->ports.state, STATE_TIES, b->tie_pool.used + fresh))
		return error_set(ret_error, REASON_NO_MEMORY,
			"there is no room to record %u more claims; free space in the runtime "
			"directory",
			n);
	return 0;
}

void scope_unprepare(struct broker *b, uint32_t set, const struct groups *scope, uint32_t n)
{
	for (uint32_t i = 0; i < scope->count; i++) {
		const uint32_t owner = scope_owner(b, scope->groups[i]);

		if (owner != STATE_NONE)
			owner_settle(b, owner);
	}
	set_release(b, set, RESOURCE_CLAIMS, n * scope->count);
}

int scope_prepare(struct broker *b, uint32_t set, const struct groups *scope, uint32_t n,
	struct error *ret_error)
{
	const uint32_t claims = n * scope->count;
	int r;

	if (claims == 0)
		return 0;
	r = set_charge(b, set, RESOURCE_CLAIMS, claims, ret_error);
	if (r)
		return r;
	r = ties_reserve(b, claims, ret_error);
	for (uint32_t i = 0; r == 0 && i < scope->count; i++)
		if (scope_owner_take(b, scope->groups[i]) == STATE_NONE)
			r = error_set_limit(ret_error, REASON_LIMIT, scope->groups[i],
				b->owner_capacity, b->owner_capacity,
				"PASIDs of scope rids are in use in %u IOMMU groups, the most there "
				"can be; use scope global",
				b->owner_capacity);
	if (r) {
		scope_unprepare(b, set, scope, n);
		return r;
	}
	return 0;
}

/* ------------------------------------------------------------------ the search */

/* From `from` to `to`, then the part before. */
struct walk {
	const struct space *spaces[BROKER_PAIRS_MAX + 1];
	size_t count;
	uint32_t from, to, again_from, again_to;
	unsigned order;
};

static void walk_begin(const struct broker *b, const struct groups *scope,
	const struct space_query *range, struct walk *walk)
{
	const uint32_t last = (1u << range->order) - 1;
	uint32_t start = range->start;

	if (start < range->min || start > range->max)
		start = range->min;
	*walk = (struct walk){.from = start,
		.to = range->max,
		.again_from = range->min,
		.again_to = start + last <= range->max ? start + last - 1 : range->max,
		.order = range->order};
	walk->spaces[walk->count++] = b->unshared;
	for (uint32_t i = 0; i < scope->count; i++) {
		const uint32_t owner = scope_owner(b, scope->groups[i]);

		/* what has no space yet has every number free */
		if (owner != STATE_NONE)
			walk->spaces[walk->count++] = &b->owner_spaces[owner];
	}
}

static bool walk_next(struct walk *walk, uint32_t *ret_first)
{
	for (unsigned part = 0; part < 2; part++) {
		const struct space_query query = {.min = walk->from,
			.max = walk->to,
			.start = walk->from,
			.order = walk->order};

		if (walk->from <= walk->to &&
			space_find(walk->spaces, walk->count, &query, ret_first) == 0) {
			walk->from = *ret_first + (1u << walk->order);
			return true;
		}
		walk->from = walk->again_from;
		walk->to = walk->again_to;
		walk->again_from = 1;
		walk->again_to = 0;
	}
	return false;
}

/* Whether the set has one of them, on other devices. */
static bool set_has_one(const struct broker *b, uint32_t set, uint32_t first, unsigned order)
{
	for (uint32_t host = first; host < first + (1u << order); host++)
		if (grant_of_set(b, set, host) != STATE_NONE)
			return true;
	return false;
}

uint32_t scope_find(struct broker *b, uint32_t set, const struct groups *scope,
	const struct space_query *range, uint32_t want, struct hpasid *numbers)
{
	struct walk walk;
	uint32_t found = 0, passed = 0, first;

	scope_begin(b);
	walk_begin(b, scope, range, &walk);
	while (found < want && passed < BROKER_SEARCH_MAX && walk_next(&walk, &first)) {
		if (set_has_one(b, set, first, range->order)) {
			passed++;
			continue;
		}
		for (uint32_t i = 0; i < 1u << range->order; i++)
			numbers[found++].v = first + i;
	}
	return found;
}

/* ------------------------------------------------------------------ one more device */

/* What is left of the scope that the number has not yet, and whether it is free there. */
static int extend_check(
	struct broker *b, uint32_t grant, struct groups *scope, struct error *ret_error)
{
	const uint32_t host = grant_host(&b->grant_slots[grant]);
	uint32_t groups[BROKER_PAIRS_MAX], added = 0;
	const uint32_t has = grant_groups(b, grant, groups);

	for (uint32_t i = 0; i < scope->count; i++) {
		const uint32_t owner = scope_owner(b, scope->groups[i]);

		if (grant_claims(b, grant, scope->groups[i]))
			continue;
		if (owner != STATE_NONE && !space_is_free(&b->owner_spaces[owner], host))
			return error_set_limit(ret_error, REASON_PASID_TAKEN, host,
				scope->groups[i], 0,
				"PASID %u is taken in the table of IOMMU group %u; allocate a number "
				"for all of the devices together",
				host, scope->groups[i]);
		scope->groups[added++] = scope->groups[i];
	}
	scope->count = added;
	if (has + added > BROKER_PAIRS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, host, BROKER_PAIRS_MAX, has,
			"PASID %u is for %u IOMMU groups, %u more are beyond the %u that there can "
			"be",
			host, has, added, BROKER_PAIRS_MAX);
	return 0;
}

static int extend_check_width(struct broker *b, uint32_t grant, const struct device_id *devices,
	size_t count, struct error *ret_error)
{
	const uint32_t host = grant_host(&b->grant_slots[grant]);
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = device_check_width(b, device_slot_of(b, devices[i]), host, ret_error);
	return r;
}

int broker_extend(struct broker *b, const struct actor *actor, struct set_id id,
	struct pasid_ref ref, const struct device_id *devices, size_t count, uint32_t *ret_added,
	struct error *ret_error)
{
	struct groups scope;
	uint32_t set, grant;
	int r = set_for_change(b, actor, id, &set, ret_error);

	if (r == 0)
		r = recover_check_confirmed(b, ret_error);
	if (r == 0)
		r = grant_resolve_active(b, set, ref, &grant, ret_error);
	if (r == 0)
		r = scope_read(b, set, devices, count, &scope, ret_error);
	if (r == 0)
		r = extend_check_width(b, grant, devices, count, ret_error);
	if (r)
		return r;
	*ret_added = 0;
	if (!grant_is_rids(&b->grant_slots[grant]))
		return 0;
	r = extend_check(b, grant, &scope, ret_error);
	if (r == 0)
		r = scope_prepare(b, set, &scope, 1, ret_error);
	if (r || scope.count == 0)
		return r;
	scope_claim(b, grant, &scope);
	broker_change(b, CHANGE_GRANT_EXTENDED, set, grant, STATE_NONE);
	*ret_added = scope.count;
	return 0;
}
