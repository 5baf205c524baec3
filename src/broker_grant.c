/* SPDX-License-Identifier: MIT */
#include "broker_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Aligned blocks of up to 2^10 numbers: what the space finds in one step. */
#define BLOCK_MAX (1u << SPACE_MAX_ORDER)

uint32_t grant_of_host(const struct broker *b, uint32_t host)
{
	return host <= PASID_LAST ? b->grant_of[host] - 1 : STATE_NONE;
}

void grant_commit_state(struct broker *b, uint32_t grant, enum grant_state state)
{
	uint64_t word = b->grant_slots[grant].word;

	broker_commit(b, &b->grant_slots[grant].word, (word & ~UINT64_C(0xf)) | state);
}

int grant_resolve(struct broker *b, uint32_t set, struct pasid_ref ref, uint32_t *ret_grant,
	struct error *ret_error)
{
	struct hpasid host = {ref.number};
	uint32_t grant;

	if (ref.number == 0)
		return error_set(ret_error, REASON_PASID_ZERO,
			"PASID 0 stands for the device's own requests and is never granted");
	if (ref.number > PASID_LAST)
		return error_set_limit(ret_error, REASON_BAD_RANGE, ref.number, PASID_LAST, 0,
			"%u is no PASID; they are 20 bits wide", ref.number);
	if (ref.guest && translate_find(&b->sets[set].map, (struct gpasid){ref.number}, &host) != 0)
		return error_set_limit(ret_error, REASON_GUEST_UNKNOWN, ref.number, 0, 0,
			"set '%.*s' has no guest PASID %u", SET_NAME(b, set), ref.number);
	grant = grant_of_host(b, host.v);
	if (grant == STATE_NONE || (b->grant_slots[grant].set != set && !MUTANT(O)))
		return error_set_limit(ret_error, REASON_NO_PASID, ref.number, 0, 0,
			"set '%.*s' has no PASID %u", SET_NAME(b, set), ref.number);
	*ret_grant = grant;
	return 0;
}

static int grant_resolve_active(struct broker *b, uint32_t set, struct pasid_ref ref,
	uint32_t *ret_grant, struct error *ret_error)
{
	uint32_t grant;
	int r;

	r = grant_resolve(b, set, ref, &grant, ret_error);
	if (r)
		return r;
	if (grant_state(&b->grant_slots[grant]) != GRANT_ACTIVE)
		return error_set_limit(ret_error, REASON_NOT_ACTIVE, ref.number, 0, 0,
			"PASID %u of set '%.*s' was freed already", ref.number, SET_NAME(b, set));
	*ret_grant = grant;
	return 0;
}

/* ------------------------------------------------------------------ allocate: checks */

/* The range that is left of the caller's when reserved numbers and the devices' widths are taken
 * off. */
static int allocate_range(struct broker *b, uint32_t set, const struct allocate *a,
	uint32_t *ret_min, uint32_t *ret_max, struct error *ret_error)
{
	uint32_t first = b->config.reserved_last + 1;
	uint32_t min = a->min < first ? first : a->min;
	uint32_t max = a->max;

	if (a->min > a->max || a->max > PASID_LAST)
		return error_set_limit(ret_error, REASON_BAD_RANGE, a->min, PASID_LAST, a->max,
			"%u to %u is no range of PASIDs; they go from 1 to %u", a->min, a->max,
			PASID_LAST);
	for (size_t i = 0; i < a->device_count; i++) {
		uint32_t device = device_slot_of(b, a->devices[i]), width;

		if (device == STATE_NONE || b->device_slots[device].set != set)
			return error_set_limit(ret_error, REASON_NO_DEVICE, a->devices[i].v, 0, 0,
				"set '%.*s' has no device %llu", SET_NAME(b, set),
				(unsigned long long)a->devices[i].v);
		width = b->device_slots[device_holder(b, device)].pasid_width;
		max = (1u << width) - 1 < max ? (1u << width) - 1 : max;
	}
	if (min > max)
		return error_set_limit(ret_error, REASON_NONE_FREE, a->min, max, a->max,
			"no PASID from %u to %u can be granted: numbers up to %u are left to the "
			"kernel, and the named devices take numbers up to %u",
			a->min, a->max, b->config.reserved_last, max);
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

static int allocate_check(
	struct broker *b, uint32_t set, const struct allocate *a, struct error *ret_error)
{
	if (set_mode(b, set) == SET_GUEST_OWNED)
		return error_set(ret_error, REASON_SET_MODE,
			"the guest of set '%.*s' owns its PASID tables and their numbers; the host "
			"grants none",
			SET_NAME(b, set));
	if (a->count == 0 || a->count > BROKER_ALLOCATE_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, a->count, BROKER_ALLOCATE_MAX, 0,
			"one request allocates 1 to %u PASIDs, not %u; use several requests",
			BROKER_ALLOCATE_MAX, a->count);
	if (a->consecutive && (a->count > BLOCK_MAX || (a->count & (a->count - 1)) != 0))
		return error_set_limit(ret_error, REASON_BAD_ARGUMENT, a->count, BLOCK_MAX, 0,
			"consecutive PASIDs come in powers of two up to %u, not %u", BLOCK_MAX,
			a->count);
	return allocate_check_guest(b, set, a, ret_error);
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

/* Adds returnable numbers until there are `count`; says how many there are in the end. */
static uint32_t choose_returnable(const struct broker *b, uint32_t set, const struct allocate *a,
	const struct space_query *range, uint32_t have, struct hpasid *numbers)
{
	return have +
	       grants_returnable(b, set, range->min, range->max, numbers + have, a->count - have);
}

static int choose(struct broker *b, uint32_t set, const struct allocate *a, bool tell,
	const struct space_query *range, struct hpasid *ret_numbers, struct choice *ret_choice,
	struct error *ret_error)
{
	const struct space *spaces[] = {&b->numbers};
	uint32_t room = ledger_room(&b->ledger, &b->sets[set]);
	uint32_t want = room < a->count ? room : a->count, found = 0, total;

	if (a->consecutive && room >= a->count) {
		*ret_choice = (struct choice){a->count, a->count};
		return choose_block(b, a, tell, range, ret_numbers, ret_error);
	}
	_Static_assert(sizeof(*ret_numbers) == sizeof(uint32_t), "a number is its type");
	if (want == 1)
		found = space_find(spaces, 1, range, &ret_numbers->v) == 0;
	else if (want && space_find_many(spaces, 1, range, want, &ret_numbers->v, &found))
		found = 0;
	total = found;
	if (found < a->count && !a->consecutive)
		total = choose_returnable(b, set, a, range, found, ret_numbers);
	if (total == a->count) {
		*ret_choice = (struct choice){found, total};
		return 0;
	}
	if (found < want)
		return none_free(b, a, tell, range, ret_error);
	char name[STATE_NAME_MAX + 1] = {0};
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

static void grant_make(struct broker *b, uint32_t set, const struct allocate *a, struct hpasid host)
{
	uint32_t grant = grant_slot_take(b);

	if (!MUTANT(U))
		space_take(&b->numbers, host.v);
	b->grant_of[host.v] = grant + 1;
	b->grant_slots[grant].bindings = STATE_NONE;
	grant_write(b, grant, set, a, host.v);
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
	const struct choice *choice, const struct hpasid *numbers)
{
	for (uint32_t i = 0; i < choice->fresh; i++)
		grant_make(b, set, a, numbers[i]);
	for (uint32_t i = choice->fresh; i < choice->total; i++)
		grant_return(b, set, a, numbers[i]);
	ledger_charge(&b->ledger, &b->sets[set], choice->fresh);
	if (choice->fresh)
		b->host_slot->cursor = b->cursor = numbers[choice->fresh - 1].v + 1;
	metrics_add(&b->metrics, METRIC_ALLOCATED, choice->total);
}

int broker_allocate(struct broker *b, const struct actor *actor, const struct allocate *a,
	struct hpasid *ret_numbers, struct error *ret_error)
{
	struct space_query range = {0};
	struct choice choice = {0};
	uint32_t set;
	int r;

	r = set_for_change(b, actor, a->set, &set, ret_error);
	if (r == 0)
		r = recover_check_confirmed(b, ret_error);
	if (r)
		return r;
	r = allocate_check(b, set, a, ret_error);
	if (r)
		return r;
	r = allocate_range(b, set, a, &range.min, &range.max, ret_error);
	if (r)
		return r;
	range.start = b->config.policy == BROKER_CYCLIC ? b->cursor : range.min;
	r = choose(b, set, a, actor_sees_all(actor), &range, ret_numbers, &choice, ret_error);
	if (r)
		return r;
	r = reserve_grants(b, choice.fresh, ret_error);
	if (r)
		return r;
	r = attach_guests(b, set, a, ret_numbers, ret_error);
	if (r)
		return r;
	allocate_effect(b, set, a, &choice, ret_numbers);
	return 0;
}

/* ------------------------------------------------------------------ free */

int broker_free_pasids(struct broker *b, const struct actor *actor, struct set_id id,
	const struct pasid_ref *refs, size_t count, uint32_t *ret_freed, uint32_t *ret_unchanged,
	struct error *ret_error)
{
	uint32_t set, grant, freed = 0, unchanged = 0;
	struct error ignored;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = grant_resolve(b, set, refs[i], &grant, ret_error);
	if (r)
		return r;
	for (size_t i = 0; i < count; i++) {
		/* a number named twice, the second time by a guest number that went with the first
		 */
		if (grant_resolve(b, set, refs[i], &grant, &ignored) == 0 && grant_free(b, grant))
			freed++;
		else
			unchanged++;
	}
	*ret_freed = freed;
	*ret_unchanged = unchanged;
	return 0;
}

int broker_free_all(struct broker *b, const struct actor *actor, struct set_id id,
	uint32_t *ret_freed, struct error *ret_error)
{
	uint32_t set, next, freed = 0;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	for (uint32_t grant = b->sets[set].grants; grant != STATE_NONE; grant = next) {
		next = b->grant_slots[grant].next;
		freed += grant_free(b, grant);
	}
	*ret_freed = freed;
	return 0;
}

/* ------------------------------------------------------------------ guest numbers, data, holds */

void grant_drop_guest(struct broker *b, uint32_t grant)
{
	struct grant_slot *slot = &b->grant_slots[grant];

	if (!grant_has_guest(slot))
		return;
	map_detach(b, slot->set, (struct gpasid){grant_guest(slot)});
	broker_change(b, CHANGE_GUEST_DETACHED, slot->set, grant, STATE_NONE);
	broker_commit(b, &slot->word,
		slot->word & ~(GRANT_HAS_GUEST | (uint64_t)PASID_LAST << GRANT_GUEST_SHIFT));
}

static int guest_attach_check(struct broker *b, uint32_t set, uint32_t grant, struct gpasid guest,
	struct error *ret_error)
{
	struct hpasid other;

	if (set_mode(b, set) != SET_TRANSLATED)
		return error_set(ret_error, REASON_SET_MODE,
			"set '%.*s' does not translate; its guest uses the host's numbers",
			SET_NAME(b, set));
	if (guest.v == 0 || guest.v > PASID_LAST)
		return error_set(ret_error, REASON_BAD_ARGUMENT,
			"a guest PASID is from 1 to %u, not %u", PASID_LAST, guest.v);
	if (grant_has_guest(&b->grant_slots[grant]) && !MUTANT(G))
		return error_set_limit(ret_error, REASON_GUEST_TAKEN, guest.v, 0, 0,
			"host PASID %u stands for guest PASID %u already; detach that first",
			grant_host(&b->grant_slots[grant]), grant_guest(&b->grant_slots[grant]));
	if (translate_find(&b->sets[set].map, guest, &other) == 0)
		return error_set_limit(ret_error, REASON_GUEST_TAKEN, guest.v, 0, 0,
			"guest PASID %u of set '%.*s' stands for host PASID %u already; detach it "
			"first or choose another",
			guest.v, SET_NAME(b, set), other.v);
	return 0;
}

int broker_guest_attach(struct broker *b, const struct actor *actor, struct set_id id,
	struct hpasid host, struct gpasid guest, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve_active(b, set, (struct pasid_ref){.number = host.v}, &grant, ret_error);
	if (r)
		return r;
	r = guest_attach_check(b, set, grant, guest, ret_error);
	if (r)
		return r;
	r = map_attach(b, set, guest, host, ret_error);
	if (r)
		return r;
	broker_commit(b, &b->grant_slots[grant].word,
		b->grant_slots[grant].word | GRANT_HAS_GUEST |
			(uint64_t)guest.v << GRANT_GUEST_SHIFT);
	broker_change(b, CHANGE_GUEST_ATTACHED, set, grant, STATE_NONE);
	return 0;
}

int broker_guest_detach(struct broker *b, const struct actor *actor, struct set_id id,
	struct gpasid guest, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	if (set_mode(b, set) == SET_IDENTITY)
		return error_set(ret_error, REASON_SET_MODE,
			"set '%.*s' does not translate; free the PASID instead", SET_NAME(b, set));
	r = grant_resolve(b, set, (struct pasid_ref){true, guest.v}, &grant, ret_error);
	if (r)
		return r;
	grant_drop_guest(b, grant);
	return 0;
}

int broker_guest_find(struct broker *b, const struct actor *actor, struct set_id id,
	struct gpasid guest, struct hpasid *ret_host, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_reading(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve(b, set, (struct pasid_ref){true, guest.v}, &grant, ret_error);
	if (r)
		return r;
	ret_host->v = grant_host(&b->grant_slots[grant]);
	return 0;
}

int broker_data_set(struct broker *b, const struct actor *actor, struct set_id id,
	struct pasid_ref ref, uint64_t data, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve_active(b, set, ref, &grant, ret_error);
	if (r)
		return r;
	broker_commit(b, &b->grant_slots[grant].data, data);
	return 0;
}

int broker_hold(struct broker *b, const struct actor *actor, struct set_id id, struct hpasid host,
	struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve_active(b, set, (struct pasid_ref){.number = host.v}, &grant, ret_error);
	if (r)
		return r;
	if (grant_holds(&b->grant_slots[grant]) == GRANT_HOLDS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, host.v, GRANT_HOLDS_MAX,
			GRANT_HOLDS_MAX, "PASID %u is held %u times, the most there can be", host.v,
			GRANT_HOLDS_MAX);
	broker_commit(b, &b->grant_slots[grant].word,
		b->grant_slots[grant].word + (UINT64_C(1) << GRANT_HOLD_SHIFT));
	return 0;
}

int broker_release(struct broker *b, const struct actor *actor, struct set_id id,
	struct hpasid host, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve(b, set, (struct pasid_ref){.number = host.v}, &grant, ret_error);
	if (r)
		return r;
	if (grant_holds(&b->grant_slots[grant]) == 0)
		return error_set_limit(
			ret_error, REASON_NOT_HELD, host.v, 0, 0, "PASID %u is not held", host.v);
	broker_commit(b, &b->grant_slots[grant].word,
		b->grant_slots[grant].word - (UINT64_C(1) << GRANT_HOLD_SHIFT));
	grant_settle(b, grant);
	return 0;
}
