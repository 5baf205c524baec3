/* SPDX-License-Identifier: MIT */
#include "broker_private.h"

#include <assert.h>
#include <string.h>

/* Aligned blocks of up to 2^10 numbers: what the space finds in one step. */
#define BLOCK_MAX (1u << SPACE_MAX_ORDER)

/* ------------------------------------------------------------------ allocate: checks */

/* The range that is left of the caller's when reserved numbers and the devices' widths are taken
 * off. */
static int allocate_range(struct broker *b, uint32_t set, const struct allocate *a,
	uint32_t *ret_min, uint32_t *ret_max, struct error *ret_error)
{
	/* the kernel's allocator never shares a device that VFIO has */
	uint32_t first = a->scope == SCOPE_RIDS ? 1 : b->config.reserved_last + 1;
	uint32_t min = a->min < first ? first : a->min;
	uint32_t max = a->max;

	if (a->min > a->max || a->max > PASID_LAST)
		return error_set_limit(ret_error, REASON_BAD_RANGE, a->min, PASID_LAST, a->max,
			"%u to %u is no range of PASIDs; they go from 1 to %u", a->min, a->max,
			PASID_LAST);
	for (size_t i = 0; i < a->device_count; i++) {
		uint32_t device, width;
		int r = device_of_set(b, set, a->devices[i], &device, ret_error);

		if (r)
			return r;
		width = b->device_slots[device_holder(b, device)].pasid_width;
		max = (1u << width) - 1 < max ? (1u << width) - 1 : max;
	}
	if (min > max)
		return error_set_limit(ret_error, REASON_NONE_FREE, a->min, max, a->max,
			"no PASID from %u to %u can be granted: numbers up to %u are left to the "
			"kernel, and the named devices take numbers up to %u",
			a->min, a->max, first - 1, max);
	*ret_min = min;
	*ret_max = max;
	return 0;
}

static int allocate_check_guest(
	struct broker *b, uint32_t set, const struct allocate *a, struct error *ret_error)
{
	struct hpasid host;

	if (!a->has_guest)
		return 0;
	if (a->count != 1 || a->guest.v == 0 || a->guest.v > PASID_LAST)
		return error_set(ret_error, REASON_BAD_ARGUMENT,
			"a guest PASID is from 1 to %u and goes with a count of 1", PASID_LAST);
	if (set_mode(b, set) != SET_TRANSLATED)
		return error_set(ret_error, REASON_SET_MODE,
			"set '%.*s' does not translate; its guest uses the host's numbers",
			SET_NAME(b, set));
	if (!MUTANT(G) && translate_find(&b->sets[set].map, a->guest, &host) == 0)
		return error_set_limit(ret_error, REASON_GUEST_TAKEN, a->guest.v, 0, 0,
			"guest PASID %u of set '%.*s' stands for host PASID %u already; detach it "
			"first or choose another",
			a->guest.v, SET_NAME(b, set), host.v);
	return 0;
}

static int allocate_check_scope(
	struct broker *b, uint32_t set, const struct allocate *a, struct error *ret_error)
{
	const enum scope scope = a->scope ? a->scope : SCOPE_GLOBAL;
	/* a set that was made before there were scopes has none recorded */
	const uint32_t allowed = b->set_slots[set].scopes ? b->set_slots[set].scopes : SCOPE_GLOBAL;

	if (scope != SCOPE_GLOBAL && scope != SCOPE_RIDS)
		return error_set(
			ret_error, REASON_BAD_ARGUMENT, "there is no scope %u", (unsigned)scope);
	if (!(allowed & scope))
		return error_set(ret_error, REASON_SCOPE,
			"set '%.*s' may not have PASIDs of scope %s; ask for scope %s, or make the "
			"set with that scope, if the policy allows it",
			SET_NAME(b, set), scope == SCOPE_RIDS ? "rids" : "global",
			scope == SCOPE_RIDS ? "global" : "rids");
	if (scope == SCOPE_RIDS && a->device_count == 0)
		return error_set(ret_error, REASON_BAD_ARGUMENT,
			"a PASID of scope rids is for devices; name those that it is to be used on");
	if (scope == SCOPE_RIDS && a->count * a->device_count > BROKER_ALLOCATE_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, a->count,
			BROKER_ALLOCATE_MAX / a->device_count, 0,
			"one request allocates up to %u PASIDs for one device, not %u for %zu; use "
			"several requests",
			BROKER_ALLOCATE_MAX, a->count, a->device_count);
	return 0;
}

static int allocate_check(
	struct broker *b, uint32_t set, const struct allocate *a, struct error *ret_error)
{
	int r;

	if (set_mode(b, set) == SET_GUEST_OWNED)
		return grant_refuse_guest_owned(b, set, ret_error);
	if (a->count == 0 || a->count > BROKER_ALLOCATE_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, a->count, BROKER_ALLOCATE_MAX, 0,
			"one request allocates 1 to %u PASIDs, not %u; use several requests",
			BROKER_ALLOCATE_MAX, a->count);
	if (a->consecutive && (a->count > BLOCK_MAX || (a->count & (a->count - 1)) != 0))
		return error_set_limit(ret_error, REASON_BAD_ARGUMENT, a->count, BLOCK_MAX, 0,
			"consecutive PASIDs come in powers of two up to %u, not %u", BLOCK_MAX,
			a->count);
	r = allocate_check_scope(b, set, a, ret_error);
	return r ? r : allocate_check_guest(b, set, a, ret_error);
}

/* ------------------------------------------------------------------ allocate: the search */

struct choice {
	uint32_t fresh; /* numbers from the space; the rest are the set's own returnable ones */
	uint32_t total;
};

/* A VMM learns what it asked for and did not get, not how the host stands. */
static int none_free(const struct broker *b, const struct allocate *a, bool tell,
	const struct space_query *range, struct error *ret_error)
{
	const struct account *host =
		limits_account(b->ports.limits, LIMITS_NO_USER, RESOURCE_PASIDS);
	const char *verb = a->count == 1 ? "is not even" : "are not";
	const char *what = a->consecutive ? " consecutive ones" : "";

	if (!tell)
		return error_set_limit(ret_error, REASON_NONE_FREE, a->count, 0, 0,
			"there %s %u free%s from %u to %u; widen the range or wait for quarantined "
			"ones",
			verb, a->count, what, range->min, range->max);
	return error_set_limit(ret_error, REASON_NONE_FREE, a->count, host->limit, host->current,
		"there %s %u free%s from %u to %u; %u of the host's %u PASIDs are out; widen the "
		"range or wait for quarantined ones",
		verb, a->count, what, range->min, range->max, host->current, host->limit);
}

static unsigned block_order(uint32_t count)
{
	unsigned order = 0;

	while (1u << order < count)
		order++;
	return order;
}

static int choose_block(struct broker *b, const struct allocate *a, bool tell,
	const struct space_query *range, struct hpasid *ret_numbers, struct error *ret_error)
{
	const struct space *spaces[] = {&b->numbers};
	struct space_query query = *range;
	uint32_t first;

	query.order = block_order(a->count);
	if (space_find(spaces, 1, &query, &first))
		return none_free(b, a, tell, range, ret_error);
	for (uint32_t i = 0; i < a->count; i++)
		ret_numbers[i].v = first + i;
	return 0;
}

/*
 * Of scope rids: `want` single numbers, or all of a block; says how many there are. A block of more
 * than the set may have is refused for that, if there are as many numbers as it may have.
 */
static uint32_t choose_scoped(struct broker *b, uint32_t set, const struct allocate *a,
	const struct groups *scope, const struct space_query *range, uint32_t want,
	struct hpasid *numbers)
{
	struct space_query query = *range;

	if (a->consecutive && want == a->count)
		query.order = block_order(a->count);
	return scope_find(b, set, scope, &query, want, numbers);
}

/* Adds returnable numbers until there are `count`; says how many there are in the end. */
static uint32_t choose_returnable(const struct broker *b, uint32_t set, const struct allocate *a,
	const struct space_query *range, uint32_t have, struct hpasid *numbers)
{
	return have +
	       grants_returnable(b, set, range->min, range->max, numbers + have, a->count - have);
}

/* Single numbers of scope global: up to `want` from the space, the rest are returnable ones. */
static void choose_singles(struct broker *b, uint32_t set, const struct allocate *a,
	const struct space_query *range, uint32_t want, struct hpasid *numbers,
	struct choice *ret_choice)
{
	const struct space *spaces[] = {&b->numbers};
	uint32_t found = 0;

	_Static_assert(sizeof(*numbers) == sizeof(uint32_t), "a number is its type");
	if (want == 1)
		found = space_find(spaces, 1, range, &numbers->v) == 0;
	else if (want && space_find_many(spaces, 1, range, want, &numbers->v, &found))
		found = 0;
	*ret_choice = (struct choice){found, found};
	if (found < a->count && !a->consecutive)
		ret_choice->total = choose_returnable(b, set, a, range, found, numbers);
}

/* Where is looked, and whether whoever asks may know how the host stands. */
struct wanted {
	struct groups scope;
	struct space_query range;
	bool tell;
};

static int choose(struct broker *b, uint32_t set, const struct allocate *a,
	const struct wanted *wanted, struct hpasid *ret_numbers, struct choice *ret_choice,
	struct error *ret_error)
{
	const struct groups *scope = &wanted->scope;
	const struct space_query *range = &wanted->range;
	const bool tell = wanted->tell;
	uint32_t room = ledger_room(&b->ledger, &b->sets[set]);
	uint32_t want = room < a->count ? room : a->count;
	char name[STATE_NAME_MAX + 1] = {0};

	if (scope->count) {
		ret_choice->fresh = choose_scoped(b, set, a, scope, range, want, ret_numbers);
		ret_choice->total = ret_choice->fresh;
	} else if (a->consecutive && room >= a->count) {
		*ret_choice = (struct choice){a->count, a->count};
		return choose_block(b, a, tell, range, ret_numbers, ret_error);
	} else {
		choose_singles(b, set, a, range, want, ret_numbers, ret_choice);
	}
	if (ret_choice->total == a->count)
		return 0;
	if (ret_choice->fresh < want)
		return none_free(b, a, tell, range, ret_error);
	memcpy(name, b->set_slots[set].name, STATE_NAME_MAX);
	return ledger_refuse(&b->ledger, &b->sets[set], name, a->count, tell, ret_error);
}

/* ------------------------------------------------------------------ allocate: the effect */

/* Guest numbers first, because only they can fail; all of them or none. */
static int attach_guests(struct broker *b, uint32_t set, const struct allocate *a,
	const struct hpasid *numbers, struct error *ret_error)
{
	bool identity = set_mode(b, set) == SET_IDENTITY;
	int r = 0;

	if (!identity && !a->has_guest)
		return 0;
	for (uint32_t i = 0; i < a->count; i++) {
		struct gpasid guest = a->guest;

		if (identity)
			guest.v = numbers[i].v;
		r = map_attach(b, set, guest, numbers[i], ret_error);
		if (r == 0)
			continue;
		while (i-- > 0)
			map_detach(b, set, (struct gpasid){numbers[i].v});
		return r;
	}
	return 0;
}

/* How many of n grants find a slot that was used before. */
static uint32_t spare_grants(const struct broker *b, uint32_t n)
{
	uint32_t spare = 0;

	for (uint32_t i = b->grant_free; i != STATE_NONE && spare < n; i = b->grant_slots[i].next)
		spare++;
	return spare;
}

/* Slots for n new grants are writeable: those that are free again, and fresh ones for the rest. */
static int reserve_grants(struct broker *b, uint32_t n, struct error *ret_error)
{
	const uint32_t fresh = n - spare_grants(b, n);

	/* there is a slot for each number */
	assert(fresh <= b->ports.state->capacity[STATE_GRANTS] - b->grant_used);
	if (fresh == 0 || state_reserve(b->ports.state, STATE_GRANTS, b->grant_used + fresh) == 0)
		return 0;
	return error_set(ret_error, REASON_NO_MEMORY,
		"there is no room to record %u more grants; free space in the runtime directory",
		n);
}

static uint32_t grant_slot_take(struct broker *b)
{
	uint32_t grant = b->grant_free;

	if (grant == STATE_NONE)
		return b->grant_used++;
	b->grant_free = b->grant_slots[grant].next;
	return grant;
}

static void grant_write(
	struct broker *b, uint32_t grant, uint32_t set, const struct allocate *a, uint32_t host)
{
	bool identity = set_mode(b, set) == SET_IDENTITY;
	uint64_t guest = identity ? host : a->guest.v;
	uint64_t word = GRANT_ACTIVE | (uint64_t)host << GRANT_HOST_SHIFT;

	if (a->scope == SCOPE_RIDS)
		word |= GRANT_RIDS;
	if (identity || a->has_guest)
		word |= GRANT_HAS_GUEST | guest << GRANT_GUEST_SHIFT;
	/* one that comes back is in use */
	if (b->grant_slots[grant].word)
		broker_commit(b, &b->grant_slots[grant].data, a->data);
	b->grant_slots[grant].data = a->data;
	b->grant_slots[grant].set = set;
	grant_link(b, grant, LIST_SET);
	broker_commit(b, &b->grant_slots[grant].word, word);
	broker_change(b, CHANGE_GRANT_ALLOCATED, set, grant, STATE_NONE);
}

static void grant_make(struct broker *b, uint32_t set, const struct allocate *a,
	const struct groups *scope, struct hpasid host)
{
	uint32_t grant = grant_slot_take(b);

	b->grant_slots[grant].bindings = STATE_NONE;
	grant_write(b, grant, set, a, host.v);
	scope_enter(b, grant);
	scope_claim(b, grant, scope);
	b->sets[set].active++;
}

/* One of the set's own numbers comes back before its shared device is drained: it stays charged. */
static void grant_return(
	struct broker *b, uint32_t set, const struct allocate *a, struct hpasid host)
{
	uint32_t grant = grant_of_host(b, host.v);

	grant_unlink(b, grant);
	b->sets[set].quarantined--;
	b->quarantined--;
	b->sets[set].active++;
	grant_write(b, grant, set, a, host.v);
	metrics_add(&b->metrics, METRIC_REUSED, 1);
}

static void allocate_effect(struct broker *b, uint32_t set, const struct allocate *a,
	const struct groups *scope, const struct choice *choice, const struct hpasid *numbers)
{
	for (uint32_t i = 0; i < choice->fresh; i++)
		grant_make(b, set, a, scope, numbers[i]);
	for (uint32_t i = choice->fresh; i < choice->total; i++)
		grant_return(b, set, a, numbers[i]);
	ledger_charge(&b->ledger, &b->sets[set], choice->fresh);
	if (choice->fresh && scope->count)
		b->host_slot->rids_cursor = b->rids_cursor = numbers[choice->fresh - 1].v + 1;
	else if (choice->fresh)
		b->host_slot->cursor = b->cursor = numbers[choice->fresh - 1].v + 1;
	metrics_add(&b->metrics, METRIC_ALLOCATED, choice->total);
}

/* What is asked for can be: in which range, and where. */
static int allocate_read(struct broker *b, uint32_t set, const struct allocate *a,
	struct groups *ret_scope, struct space_query *ret_range, struct error *ret_error)
{
	int r = allocate_check(b, set, a, ret_error);

	ret_scope->count = 0;
	if (r == 0)
		r = allocate_range(b, set, a, &ret_range->min, &ret_range->max, ret_error);
	if (r == 0 && a->scope == SCOPE_RIDS)
		r = scope_read(b, set, a->devices, a->device_count, ret_scope, ret_error);
	if (r)
		return r;
	ret_range->start = policy_start(
		b, ret_scope->count ? b->rids_cursor : b->cursor, ret_range->min, ret_range->max);
	return 0;
}

/* Room for what was chosen; the guests' numbers are last, because they are there at once. */
static int allocate_prepare(struct broker *b, uint32_t set, const struct allocate *a,
	const struct groups *scope, const struct choice *choice, const struct hpasid *numbers,
	struct error *ret_error)
{
	int r = reserve_grants(b, choice->fresh, ret_error);

	if (r == 0)
		r = scope_prepare(b, set, scope, choice->fresh, ret_error);
	if (r)
		return r;
	r = attach_guests(b, set, a, numbers, ret_error);
	if (r)
		scope_unprepare(b, set, scope, choice->fresh);
	return r;
}

int grant_allocate(struct broker *b, uint32_t set, bool tell, const struct allocate *a,
	struct hpasid *ret_numbers, struct error *ret_error)
{
	struct wanted wanted = {.tell = tell};
	struct choice choice = {0};
	int r = allocate_read(b, set, a, &wanted.scope, &wanted.range, ret_error);

	if (r == 0)
		r = choose(b, set, a, &wanted, ret_numbers, &choice, ret_error);
	if (r == 0)
		r = allocate_prepare(b, set, a, &wanted.scope, &choice, ret_numbers, ret_error);
	if (r == 0)
		allocate_effect(b, set, a, &wanted.scope, &choice, ret_numbers);
	return r;
}

int broker_allocate(struct broker *b, const struct actor *actor, const struct allocate *a,
	struct hpasid *ret_numbers, struct error *ret_error)
{
	uint32_t set;
	int r = set_for_change(b, actor, a->set, &set, ret_error);

	if (r == 0)
		r = recover_check_confirmed(b, ret_error);
	if (r)
		return r;
	return grant_allocate(b, set, actor_sees_all(actor), a, ret_numbers, ret_error);
}
