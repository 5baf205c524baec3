/* SPDX-License-Identifier: MIT */
/*
 * The accounts of sets: shown, and recounted from the records.
 */
#include "broker_private.h"

#include <string.h>

/* What the broker charges sets for; the rest concerns users and connections. */
static const enum resource of_sets[] = {RESOURCE_PASIDS, RESOURCE_OPERATIONS, RESOURCE_DESCRIPTORS,
	RESOURCE_DEVICES, RESOURCE_PAGE_TABLES, RESOURCE_BINDINGS, RESOURCE_MAP_PAGES,
	RESOURCE_CLAIMS};
#define OF_SETS ARRAY_SIZE(of_sets)

/* ------------------------------------------------------------------ shown */

static void limit_fill_info(
	const struct broker *b, uint32_t set, enum resource resource, struct limit_info *ret_info)
{
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->resource = resource;
	ret_info->uid = b->set_slots[set].uid;
	ret_info->set.v = set_name_of(b, set);
	memcpy(ret_info->set_name, b->set_slots[set].name, STATE_NAME_MAX);
	ret_info->account = b->sets[set].accounts.of[resource];
}

/* *cursor is set slot * OF_SETS + position; it comes from a client and may be anything. */
bool broker_limit_next(struct broker *b, const struct actor *actor, struct set_id id,
	uint64_t *cursor, struct limit_info *ret_info)
{
	uint64_t first = 0, end = b->set_pool.used;
	struct error ignored;
	uint32_t only;

	if (id.v || !actor_sees_all(actor)) {
		if (set_for_reading(b, actor, id, &only, &ignored)) {
			*cursor = BROKER_END;
			return false;
		}
		first = only;
		end = only + UINT64_C(1);
	}
	if (*cursor < first * OF_SETS)
		*cursor = first * OF_SETS;
	while (*cursor < end * OF_SETS) {
		uint32_t set = (uint32_t)(*cursor / OF_SETS);

		if (set_state(b, set) == SET_FREE) {
			*cursor = (set + UINT64_C(1)) * OF_SETS;
			continue;
		}
		limit_fill_info(b, set, of_sets[*cursor % OF_SETS], ret_info);
		(*cursor)++;
		return true;
	}
	*cursor = BROKER_END;
	return false;
}

/* ------------------------------------------------------------------ recounted */

static int wrong(struct error *ret_error, const char *level, enum resource resource,
	uint64_t object, uint64_t counted)
{
	return error_set_limit(ret_error, REASON_INTERNAL, object, 0, counted,
		"the recount contradicts the records: Q: %s of %s %llu are %llu",
		resource_text(resource), level, (unsigned long long)object,
		(unsigned long long)counted);
}

/* What a device remembers of its bindings: those that share a table, by place, and its RID's. */
static bool tables_agree(const struct broker *b, uint32_t device)
{
	uint32_t refs[DEVICE_TABLES] = {0}, rid = STATE_NONE;

	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE;
		i = b->binding_slots[i].device_next) {
		const struct binding_slot *slot = &b->binding_slots[i];
		const uint32_t places[] = {slot->table_shared, slot->next_shared};

		rid = slot->grant == STATE_NONE ? i : rid;
		for (size_t k = 0; k < ARRAY_SIZE(places); k++) {
			if (places[k] != STATE_NONE && places[k] >= DEVICE_TABLES)
				return false;
			if (places[k] != STATE_NONE)
				refs[places[k]]++;
		}
	}
	for (uint32_t i = 0; i < DEVICE_TABLES; i++) {
		if (refs[i] != b->devices[device].tables[i].refs)
			return false;
	}
	return rid == b->devices[device].rid_binding;
}

/* What the devices of a set account for; false: one contradicts itself. */
static bool count_devices(const struct broker *b, uint32_t set, uint32_t *counts)
{
	for (uint32_t d = b->sets[set].first_device; d != STATE_NONE; d = b->devices[d].set_next) {
		bool open = device_kind(b, d) == DEVICE_EXCLUSIVE && !device_is_closed(b, d);

		if (b->devices[d].descriptors != (open ? 2 : 0) || !tables_agree(b, d))
			return false;
		counts[RESOURCE_DEVICES]++;
		counts[RESOURCE_DESCRIPTORS] += b->devices[d].descriptors;
		counts[RESOURCE_PAGE_TABLES] += table_count(b, d);
		for (uint32_t i = b->devices[d].bindings; i != STATE_NONE;
			i = b->binding_slots[i].device_next)
			counts[RESOURCE_PAGE_TABLES] +=
				b->binding_slots[i].table_own + b->binding_slots[i].next_own;
	}
	return true;
}

static void count_operations(const struct broker *b, uint32_t set, uint32_t *counts)
{
	for (uint32_t i = b->sets[set].first_op; i != STATE_NONE; i = b->ops[i].next) {
		counts[RESOURCE_OPERATIONS] += op_kind_counts(b->ops[i].kind);
		counts[RESOURCE_DEVICES] += b->ops[i].devices;
		counts[RESOURCE_DESCRIPTORS] += b->ops[i].descriptors;
	}
}

int limit_check_set(struct broker *b, uint32_t set, struct error *ret_error)
{
	const struct set *run = &b->sets[set];
	uint32_t *user = &b->user_scratch[(size_t)run->user * RESOURCE_COUNT];
	uint32_t counts[RESOURCE_COUNT] = {
		[RESOURCE_PASIDS] = run->active + run->quarantined,
		[RESOURCE_BINDINGS] = run->recounted_records,
		[RESOURCE_DESCRIPTORS] = run->export.base != NULL,
		[RESOURCE_CLAIMS] = run->recounted_claims,
		[RESOURCE_MAP_PAGES] = translate_recount(&run->map) + export_pages(&run->export),
	};

	if (!count_devices(b, set, counts))
		return wrong(ret_error, "a device of set", RESOURCE_DEVICES, set, 0);
	count_operations(b, set, counts);
	for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
		const struct account *account = &run->accounts.of[i];

		if (account->current != counts[i] ||
			(account->current > account->limit && !b->was_recovered))
			return wrong(ret_error, "set", (enum resource)i, set, counts[i]);
		/* those that ended count until they are told */
		user[i] += i == RESOURCE_OPERATIONS ? 0 : counts[i];
	}
	user[RESOURCE_SETS]++;
	user[RESOURCE_PROMISED] += set_quota(run);
	return reservations_check_set(b, set, ret_error);
}

void limit_clear_users(struct broker *b)
{
	uint32_t cursor = 0, user;

	reservations_clear(b);
	while (limits_next_user(b->ports.limits, &cursor, &user))
		memset(&b->user_scratch[(size_t)user * RESOURCE_COUNT], 0,
			RESOURCE_COUNT * sizeof(*b->user_scratch));
}

/* Descriptors are charged to users by those who receive them, too. */
static bool account_agrees(const struct broker *b, const struct account *account,
	enum resource resource, uint64_t counted)
{
	if (resource == RESOURCE_DESCRIPTORS)
		return account->current >= counted;
	return account->current == counted &&
	       (account->current <= account->limit || b->was_recovered);
}

static int check_level(const struct broker *b, uint32_t user, const char *level, uint64_t object,
	const uint64_t *sums, struct error *ret_error)
{
	static const enum resource others[] = {RESOURCE_SETS, RESOURCE_PROMISED, RESOURCE_HOLDS};

	for (size_t i = 0; i < OF_SETS + ARRAY_SIZE(others); i++) {
		enum resource resource = i < OF_SETS ? of_sets[i] : others[i - OF_SETS];

		if (!account_agrees(b, limits_account(b->ports.limits, user, resource), resource,
			    sums[resource]))
			return wrong(ret_error, level, resource, object, sums[resource]);
	}
	return 0;
}

int limit_check_users(struct broker *b, struct error *ret_error)
{
	uint64_t host[RESOURCE_COUNT] = {0};
	uint32_t cursor = 0, user;
	int r = 0;

	for (uint32_t i = 0; i < b->op_used; i++) {
		const struct op *op = &b->ops[i];

		if (op->state == OP_FREE || !op_kind_counts(op->kind))
			continue;
		if (op->user == LIMITS_NO_USER)
			host[RESOURCE_OPERATIONS]++;
		else
			b->user_scratch[(size_t)op->user * RESOURCE_COUNT + RESOURCE_OPERATIONS]++;
	}
	while (r == 0 && limits_next_user(b->ports.limits, &cursor, &user)) {
		uint64_t sums[RESOURCE_COUNT];

		for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
			sums[i] = b->user_scratch[(size_t)user * RESOURCE_COUNT + i];
			host[i] += sums[i];
		}
		r = check_level(
			b, user, "user", limits_user_uid(b->ports.limits, user), sums, ret_error);
	}
	if (r == 0)
		r = reservations_check_sum(b, &host[RESOURCE_PROMISED], ret_error);
	return r ? r : check_level(b, LIMITS_NO_USER, "host", 0, host, ret_error);
}
