/* SPDX-License-Identifier: MIT */
/*
 * Recounts everything from the records alone and compares: invariants U, Q, D, G and the lists.
 */
#include "broker_private.h"

#include <string.h>

int recount_wrong(struct error *ret_error, const char *what, uint64_t object)
{
	return error_set_limit(ret_error, REASON_INTERNAL, object, 0, 0,
		"the recount contradicts the records: %s (%llu)", what, (unsigned long long)object);
}

/* U: the number is in range, taken, and this grant is the only one that has it. */
static int check_number(const struct broker *b, uint32_t grant, struct error *ret_error)
{
	uint32_t host = grant_host(&b->grant_slots[grant]);

	if (host <= b->config.reserved_last && !grant_is_rids(&b->grant_slots[grant]))
		return recount_wrong(ret_error, "a reserved number is granted", host);
	if (host > b->config.reserved_last && space_is_free(&b->numbers, host))
		return recount_wrong(
			ret_error, "U: a granted number is free in the namespace", host);
	if (!grant_is_rids(&b->grant_slots[grant]) && b->grant_of[host] != grant + 1)
		return recount_wrong(ret_error, "U: a number has two grants", host);
	return 0;
}

/* G: the guest's number leads back to this grant. */
static int check_guest(const struct broker *b, uint32_t grant, struct error *ret_error)
{
	const struct grant_slot *slot = &b->grant_slots[grant];
	struct hpasid host;

	if (!grant_has_guest(slot))
		return 0;
	if (grant_state(slot) != GRANT_ACTIVE)
		return recount_wrong(
			ret_error, "G: a freed number has a guest number", grant_host(slot));
	if (translate_find(&b->sets[slot->set].map, (struct gpasid){grant_guest(slot)}, &host) ||
		host.v != grant_host(slot))
		return recount_wrong(
			ret_error, "G: the map and a grant disagree", grant_host(slot));
	return 0;
}

/* D: one binding a table at most, and none that is attached under a number in quarantine. */
static int check_bindings(const struct broker *b, uint32_t grant, struct error *ret_error)
{
	const struct grant_slot *slot = &b->grant_slots[grant];

	for (uint32_t i = slot->bindings; i != STATE_NONE; i = b->binding_slots[i].grant_next) {
		const struct binding_slot *binding = &b->binding_slots[i];
		uint32_t group = b->device_slots[binding->device].group;

		if (binding_state(b, i) == BINDING_FREE || binding->grant != grant ||
			device_state(b, binding->device) == DEVICE_FREE)
			return recount_wrong(
				ret_error, "a binding and its grant disagree", grant_host(slot));
		/* a tainted one that is being detached again is an intent (UNBINDING) */
		if (grant_state(slot) == GRANT_QUARANTINED &&
			(binding_state(b, i) == BINDING_BINDING ||
				binding_state(b, i) == BINDING_BOUND))
			return recount_wrong(
				ret_error, "D: a number in quarantine is bound", grant_host(slot));
		if (grant_list(slot) == LIST_RETURNABLE && binding_is_live(b, i))
			return recount_wrong(ret_error,
				"D: a number that can be had again is attached", grant_host(slot));
		if (grant_list(slot) == LIST_RETURNABLE &&
			slot->data < b->set_slots[slot->set].emptied)
			return recount_wrong(ret_error,
				"D: a number can be had again that served an earlier VM",
				grant_host(slot));
		if (binding->set != slot->set)
			return recount_wrong(ret_error, "O: a number is bound for another set",
				grant_host(slot));
		for (uint32_t k = binding->grant_next; k != STATE_NONE;
			k = b->binding_slots[k].grant_next) {
			if (b->device_slots[b->binding_slots[k].device].group == group)
				return recount_wrong(ret_error,
					"a number is bound twice in one table", grant_host(slot));
		}
	}
	if (grant_list(slot) == LIST_RETURNABLE && grant_holds(slot))
		return recount_wrong(
			ret_error, "H: a number that can be had again is held", grant_host(slot));
	if (grant_state(slot) == GRANT_FREE_PENDING && !grant_is_bound(b, grant) &&
		grant_holds(slot) == 0)
		return recount_wrong(ret_error,
			"H: nothing uses a number that waits to be reclaimed", grant_host(slot));
	return 0;
}

static int check_grant(struct broker *b, uint32_t grant, struct error *ret_error)
{
	const struct grant_slot *slot = &b->grant_slots[grant];
	int r;

	if (slot->set >= b->set_pool.used || set_state(b, slot->set) == SET_FREE)
		return recount_wrong(ret_error, "a grant has no set", grant_host(slot));
	if ((grant_state(slot) == GRANT_QUARANTINED) == (grant_list(slot) == LIST_SET))
		return recount_wrong(ret_error, "a grant is in the wrong list", grant_host(slot));
	if (grant_state(slot) == GRANT_QUARANTINED)
		b->sets[slot->set].recounted++;
	r = check_number(b, grant, ret_error);
	if (r == 0)
		r = check_guest(b, grant, ret_error);
	if (r == 0)
		r = check_bindings(b, grant, ret_error);
	return r ? r : hold_check_grant(b, grant, ret_error);
}

/* Records, and those that are or may be attached, of each set. */
static void count_bindings(struct broker *b)
{
	for (uint32_t i = 0; i < b->set_pool.used; i++) {
		b->sets[i].recounted = b->sets[i].recounted_bindings = 0;
		b->sets[i].recounted_records = 0;
	}
	for (uint32_t i = 0; i < b->binding_pool.used; i++) {
		struct set *set = &b->sets[b->binding_slots[i].set];

		if (binding_state(b, i) == BINDING_FREE)
			continue;
		set->recounted_records++;
		set->recounted_bindings += binding_is_live(b, i);
	}
}

/* One of several grants that have its number counts, unless that is the kernel's otherwise. */
static bool is_first(const struct broker *b, uint32_t grant)
{
	const uint32_t host = grant_host(&b->grant_slots[grant]);

	return host > b->config.reserved_last && b->grant_of[host] == grant + 1;
}

static int check_grants(struct broker *b, struct error *ret_error)
{
	uint32_t out = 0,
		 quarantined = 0; /* out: numbers, which several sets may have in scope rids */
	int r;

	count_bindings(b);
	for (uint32_t i = 0; i < b->grant_used; i++) {
		enum grant_state state = grant_state(&b->grant_slots[i]);

		if (state == GRANT_FREE)
			continue;
		out += is_first(b, i);
		quarantined += state == GRANT_QUARANTINED;
		r = check_grant(b, i, ret_error);
		if (r)
			return r;
	}
	if (out + space_free_count(&b->numbers) != PASID_LAST - b->config.reserved_last)
		return recount_wrong(
			ret_error, "U: granted and free numbers are not all there are", out);
	if (quarantined != b->quarantined)
		return recount_wrong(ret_error, "Q: numbers in quarantine", quarantined);
	return space_check(&b->numbers)
		       ? 0
		       : recount_wrong(ret_error, "U: summaries of the namespace", 0);
}

/* A set that is being torn down has the operation that does it; only such a one comes back. */
static int check_ending(const struct broker *b, uint32_t set, struct error *ret_error)
{
	uint32_t ends = 0;

	for (uint32_t i = b->sets[set].first_op; i != STATE_NONE; i = b->ops[i].next)
		ends += b->ops[i].kind == OP_DESTROY;
	if (ends != (set_state(b, set) == SET_DYING))
		return recount_wrong(ret_error, "the end of a set and its operation disagree", set);
	if ((b->set_slots[set].word & SET_WORD_EMPTY) && set_state(b, set) != SET_DYING)
		return recount_wrong(ret_error, "a set is to come back that is not going", set);
	return 0;
}

/* Q and G of one set: what its list holds, what it is charged for, what its map says. */
static int check_set(const struct broker *b, uint32_t set, struct error *ret_error)
{
	const struct set *run = &b->sets[set];
	uint32_t listed = 0, guests = 0, devices = 0;

	for (uint32_t g = run->grants; g != STATE_NONE; g = b->grant_slots[g].next) {
		listed++;
		guests += grant_has_guest(&b->grant_slots[g]);
		if (b->grant_slots[g].set != set)
			return recount_wrong(
				ret_error, "O: a number is in another set's list", set);
	}
	for (uint32_t d = run->first_device; d != STATE_NONE; d = b->devices[d].set_next)
		devices++;
	if (listed != run->active || run->recounted != run->quarantined)
		return recount_wrong(ret_error, "Q: numbers of a set", set);
	if (devices != run->devices || run->recounted_bindings != run->bindings)
		return recount_wrong(ret_error, "devices or bindings of a set", set);
	if (set_state(b, set) != SET_ZOMBIE && guests != translate_count(&run->map))
		return recount_wrong(
			ret_error, "G: the map has other entries than the grants", set);
	if (set_state(b, set) != SET_ZOMBIE && !set_is_listed(b, set))
		return recount_wrong(ret_error, "a set is not found by name or session", set);
	if (run->map.held != translate_recount(&run->map))
		return recount_wrong(ret_error, "G: pages of a map", set);
	if (run->export.base && !export_equals(&run->export, &run->map))
		return recount_wrong(ret_error, "G: an exported map and the map disagree", set);
	if (move_check_set(b, set, ret_error))
		return STATUS_INTERNAL;
	return check_ending(b, set, ret_error);
}

/* A record that no set has: one that went, and was written to afterwards. */
static int check_devices(const struct broker *b, struct error *ret_error)
{
	uint32_t records = 0, listed = 0;

	for (uint32_t i = 0; i < b->device_pool.used; i++)
		records +=
			device_state(b, i) != DEVICE_FREE && b->device_slots[i].set != STATE_NONE;
	for (uint32_t i = 0; i < b->set_pool.used; i++)
		listed += set_state(b, i) == SET_FREE ? 0 : b->sets[i].devices;
	return records == listed ? 0 : recount_wrong(ret_error, "devices that no set has", records);
}

int broker_recount(struct broker *b, struct error *ret_error)
{
	int r;

	limit_clear_users(b);
	scope_recount_claims(b);
	r = check_grants(b, ret_error);
	if (r == 0)
		r = scope_recount(b, ret_error);
	if (r == 0)
		r = guest_recount(b, ret_error);
	if (r == 0)
		r = check_devices(b, ret_error);
	for (uint32_t i = 0; r == 0 && i < b->set_pool.used; i++) {
		if (set_state(b, i) != SET_FREE)
			r = check_set(b, i, ret_error);
		if (r == 0 && set_state(b, i) != SET_FREE)
			r = limit_check_set(b, i, ret_error);
	}
	if (r == 0)
		r = hold_check(b, ret_error);
	if (r == 0)
		r = participant_check(b, ret_error);
	if (r == 0)
		r = limit_check_users(b, ret_error);
	return r;
}

/* ------------------------------------------------------------------ the list of bindings */

static void binding_fill_info(
	const struct broker *b, uint32_t binding, struct binding_info *ret_info)
{
	const struct binding_slot *slot = &b->binding_slots[binding];
	const struct grant_slot *grant =
		slot->grant == STATE_NONE ? NULL : &b->grant_slots[slot->grant];

	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->id = broker_id(slot->word, binding);
	ret_info->set.v = set_name_of(b, slot->set);
	memcpy(ret_info->set_name, b->set_slots[slot->set].name, STATE_NAME_MAX);
	ret_info->device.v = device_name_of(b, slot->device);
	ret_info->rid.v = b->device_slots[slot->device].rid;
	ret_info->state = await_has(b, binding) ? BINDING_UNBINDING : binding_state(b, binding);
	ret_info->has_pasid = grant;
	ret_info->has_guest = grant && grant_has_guest(grant);
	ret_info->host.v = grant ? grant_host(grant) : 0;
	ret_info->guest.v = ret_info->has_guest ? grant_guest(grant) : 0;
	ret_info->table.device = ret_info->device;
	ret_info->table.made = slot->word & BINDING_WORD_MADE;
	ret_info->table.pt_id = device_kind(b, slot->device) == DEVICE_EXCLUSIVE ? slot->pt_id : 0;
	guest_tell(b, binding, &ret_info->table);
}

bool broker_binding_next(struct broker *b, const struct actor *actor, struct set_id id,
	uint64_t *cursor, struct binding_info *ret_info)
{
	uint32_t set = STATE_NONE, n = 0;
	struct error ignored;

	if (((id.v || !actor_sees_all(actor)) && set_for_reading(b, actor, id, &set, &ignored)) ||
		(set != STATE_NONE && b->sets[set].bindings == 0))
		*cursor = BROKER_END;
	for (; *cursor < b->binding_pool.used && n < BROKER_WORK_MAX; (*cursor)++, n++) {
		uint32_t binding = (uint32_t)*cursor;

		if (binding_state(b, binding) == BINDING_FREE || !binding_is_live(b, binding) ||
			(set != STATE_NONE && b->binding_slots[binding].set != set))
			continue;
		binding_fill_info(b, binding, ret_info);
		(*cursor)++;
		return true;
	}
	*cursor = *cursor < b->binding_pool.used ? *cursor : BROKER_END;
	return false;
}
