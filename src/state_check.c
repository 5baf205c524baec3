/* SPDX-License-Identifier: MIT */
#include "state_check_private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *state_table_name(enum state_table table)
{
	static const char *const names[STATE_TABLES] = {
		[STATE_SETS] = "sets",
		[STATE_GRANTS] = "grants",
		[STATE_DEVICES] = "devices",
		[STATE_BINDINGS] = "bindings",
		[STATE_HOST] = "host",
		[STATE_SESSIONS] = "sessions",
		[STATE_REPLIES] = "replies",
		[STATE_TIES] = "ties",
	};

	return (unsigned)table < STATE_TABLES ? names[table] : "?";
}

int state_check_fail(const struct state_checking *c, enum state_table table, uint32_t slot,
	uint64_t value, const char *format, ...)
{
	struct state_problem *problem = c->problem;
	va_list args;
	int n = snprintf(problem->text, sizeof(problem->text),
		"table %s, slot %u, value 0x%llx: ", state_table_name(table), slot,
		(unsigned long long)value);

	problem->table = table;
	problem->slot = slot;
	problem->value = value;
	va_start(args, format);
	(void)vsnprintf(problem->text + n, sizeof(problem->text) - (size_t)n, format, args);
	va_end(args);
	return -EBADMSG;
}

/* ------------------------------------------------------------------ small questions */

static bool state_has_set(const struct state_checking *c, uint32_t set)
{
	return set < c->used[STATE_SETS] && STATE_WORD_STATE(c->sets[set].word) != SET_FREE;
}

/* One that something can be in. */
static bool state_has_device(const struct state_checking *c, uint32_t device)
{
	return device < c->used[STATE_DEVICES] &&
	       STATE_WORD_STATE(c->devices[device].word) > DEVICE_ADDING;
}

int state_check_state(const struct state_checking *c, enum state_table table, uint32_t slot,
	uint64_t word, unsigned last)
{
	if (STATE_WORD_STATE(word) == 0)
		return state_check_fail(c, table, slot, word, "a free slot's word is 0");
	if (STATE_WORD_STATE(word) > last)
		return state_check_fail(
			c, table, slot, word, "there is no state %u", STATE_WORD_STATE(word));
	return 0;
}

/* ------------------------------------------------------------------ no two of a kind */

/* A group and a key below `keys` that only one slot of a group may have; false: it has none. */
typedef bool (*state_pair)(
	const struct state_checking *c, uint32_t slot, uint32_t *ret_group, uint32_t *ret_key);

/* The slot that has the same pair as an earlier one; there is one. */
__attribute__((cold)) static uint32_t state_find_second(const struct state_checking *c,
	enum state_table table, state_pair pair, uint32_t group, uint32_t key)
{
	uint32_t found = 0, slot_group, slot_key;

	for (uint32_t i = 0; i < c->used[table]; i++)
		if (pair(c, i, &slot_group, &slot_key) && slot_group == group && slot_key == key)
			found = i;
	return found;
}

/*
 * Sorts the keys by group, then looks whether one comes twice in a group. A loop that the compiler
 * sees whole, with `pair` in it.
 */
__attribute__((always_inline)) static inline bool state_sort_pairs(const struct state_checking *c,
	enum state_table table, uint32_t groups, state_pair pair, uint32_t *ret_slot)
{
	uint32_t group, key, at = 0;

	for (uint32_t g = 0; g < groups; g++) {
		const uint32_t count = c->starts[g];

		c->starts[g] = at;
		at += count;
	}
	for (uint32_t i = 0; i < c->used[table]; i++)
		if (pair(c, i, &group, &key))
			c->keys[c->starts[group]++] = key;
	at = 0;
	for (uint32_t g = 0; g < groups; g++) {
		const uint32_t first = at;

		for (; at < c->starts[g]; at++)
			if (state_test_and_set(c->bits, c->keys[at])) {
				*ret_slot = state_find_second(c, table, pair, g, c->keys[at]);
				return false;
			}
		for (uint32_t i = first; i < at; i++)
			c->bits[c->keys[i] / 64] = 0;
	}
	return true;
}

/* Whether no two slots have the same pair. Keys that rise in each group need no sorting. */
__attribute__((always_inline)) static inline bool state_pairs_differ(const struct state_checking *c,
	enum state_table table, uint32_t groups, state_pair pair, uint32_t *ret_slot)
{
	bool rising = true;
	uint32_t group, key;

	memset(c->starts, 0, groups * sizeof(*c->starts));
	memset(c->last, 0, groups * sizeof(*c->last));
	for (uint32_t i = 0; i < c->used[table]; i++)
		if (pair(c, i, &group, &key)) {
			rising = rising && key >= c->last[group];
			c->last[group] = key + 1;
			c->starts[group]++;
		}
	return rising || state_sort_pairs(c, table, groups, pair, ret_slot);
}

static void state_sift(const struct state_checking *c, uint32_t *heap, uint32_t from,
	uint32_t count, state_compare compare)
{
	for (uint32_t child = 2 * from + 1; child < count; child = 2 * from + 1) {
		uint32_t moved = heap[from];

		if (child + 1 < count && compare(c, heap[child], heap[child + 1]) < 0)
			child++;
		if (compare(c, moved, heap[child]) >= 0)
			return;
		heap[from] = heap[child];
		heap[child] = moved;
		from = child;
	}
}

static bool state_is_rising(const struct state_checking *c, const uint32_t *slots, uint32_t count,
	state_compare compare)
{
	for (uint32_t i = 1; i < count; i++)
		if (compare(c, slots[i - 1], slots[i]) >= 0)
			return false;
	return true;
}

bool state_check_differ(const struct state_checking *c, uint32_t *slots, uint32_t count,
	state_compare compare, uint32_t *ret_slot)
{
	if (state_is_rising(c, slots, count, compare))
		return true;
	for (uint32_t i = count / 2; i-- > 0;)
		state_sift(c, slots, i, count, compare);
	for (uint32_t end = count; end-- > 1;) {
		const uint32_t largest = slots[0];

		slots[0] = slots[end];
		slots[end] = largest;
		state_sift(c, slots, 0, end, compare);
		if (compare(c, slots[0], largest) == 0) {
			*ret_slot = slots[0] > largest ? slots[0] : largest;
			return false;
		}
	}
	return true;
}

/* ------------------------------------------------------------------ sets */

static bool state_name_is_valid(const char *name)
{
	const size_t length = strnlen(name, STATE_NAME_MAX);

	for (size_t i = 0; i < length; i++) {
		const char ch = name[i];

		if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
			    (ch >= '0' && ch <= '9') || ch == '.' || ch == '_' || ch == '-'))
			return false;
	}
	return length > 0;
}

static int state_compare_names(const struct state_checking *c, uint32_t a, uint32_t b)
{
	return strncmp(c->sets[a].name, c->sets[b].name, STATE_NAME_MAX);
}

static int state_check_sets(const struct state_checking *c)
{
	uint32_t named = 0, slot;
	int r = 0;

	for (uint32_t i = 0; i < c->used[STATE_SETS]; i++) {
		const uint64_t word = c->sets[i].word;
		const unsigned mode = STATE_WORD_KIND(word);

		if (word == 0)
			continue;
		r = state_check_state(c, STATE_SETS, i, word, SET_ZOMBIE);
		if (r != 0)
			return r;
		if (mode < SET_TRANSLATED || mode > SET_GUEST_OWNED)
			return state_check_fail(
				c, STATE_SETS, i, word, "a set has no mode %u", mode);
		if (!state_name_is_valid(c->sets[i].name))
			return state_check_fail(c, STATE_SETS, i, (uint8_t)c->sets[i].name[0],
				"a set's name has 1 to %u characters of a-z A-Z 0-9 . _ -",
				STATE_NAME_MAX);
		if (c->sets[i].quota == 0 || c->sets[i].quota > PASID_COUNT)
			return state_check_fail(c, STATE_SETS, i, c->sets[i].quota,
				"a set's quota is 1 to %u", PASID_COUNT);
		if (STATE_WORD_STATE(word) != SET_ZOMBIE)
			c->keys[named++] = i;
	}
	if (!state_check_differ(c, c->keys, named, state_compare_names, &slot))
		return state_check_fail(c, STATE_SETS, slot, c->sets[slot].word,
			"another set has the same name, '%.*s'",
			(int)strnlen(c->sets[slot].name, STATE_NAME_MAX), c->sets[slot].name);
	return 0;
}

/* ------------------------------------------------------------------ grants */

static uint32_t state_guest_of(uint64_t word)
{
	return (uint32_t)(word >> GRANT_GUEST_SHIFT) & PASID_LAST;
}

static bool state_guest_pair(
	const struct state_checking *c, uint32_t slot, uint32_t *ret_group, uint32_t *ret_key)
{
	const struct grant_slot *grant = &c->grants[slot];

	*ret_group = grant->set;
	*ret_key = state_guest_of(grant->word);
	return grant->word & GRANT_HAS_GUEST;
}

/* Of scope rids a set has a number once. */
static bool state_rids_pair(
	const struct state_checking *c, uint32_t slot, uint32_t *ret_group, uint32_t *ret_key)
{
	*ret_group = c->grants[slot].set;
	*ret_key = state_host_of(c->grants[slot].word);
	return c->grants[slot].word & GRANT_RIDS;
}

static int state_check_grant(const struct state_checking *c, uint32_t slot)
{
	const struct grant_slot *grant = &c->grants[slot];
	const uint64_t word = grant->word;
	const uint32_t host = state_host_of(word);
	int r = state_check_state(c, STATE_GRANTS, slot, word, GRANT_QUARANTINED);

	if (r != 0)
		return r;
	if (host == 0)
		return state_check_fail(c, STATE_GRANTS, slot, word, "PASID 0 is never granted");
	if (!(word & GRANT_RIDS) && state_test_and_set(c->hosts, host))
		return state_check_fail(
			c, STATE_GRANTS, slot, host, "PASID %u is granted twice", host);
	if (!state_has_set(c, grant->set))
		return state_check_fail(c, STATE_GRANTS, slot, grant->set,
			"PASID %u belongs to a set that is not there", host);
	if (word & GRANT_HAS_GUEST && STATE_WORD_STATE(word) != GRANT_ACTIVE)
		return state_check_fail(c, STATE_GRANTS, slot, word,
			"PASID %u has a guest PASID and is not active", host);
	return 0;
}

/* No set has more than its quota. */
static int state_check_quotas(const struct state_checking *c)
{
	memset(c->starts, 0, c->used[STATE_SETS] * sizeof(*c->starts));
	for (uint32_t i = 0; i < c->used[STATE_GRANTS]; i++) {
		const uint32_t set = c->grants[i].set;

		if (c->grants[i].word != 0 && ++c->starts[set] > c->sets[set].quota)
			return state_check_fail(c, STATE_GRANTS, i, set,
				"set %u has more grants than its quota, %u", set,
				c->sets[set].quota);
	}
	return 0;
}

/* When those of scope global are known. */
static int state_check_rids(const struct state_checking *c)
{
	uint32_t slot;

	for (uint32_t i = 0; i < c->used[STATE_GRANTS]; i++) {
		const uint64_t word = c->grants[i].word;
		const uint32_t host = state_host_of(word);

		if ((word & GRANT_RIDS) && (c->hosts[host / 64] >> (host % 64) & 1))
			return state_check_fail(c, STATE_GRANTS, i, host,
				"PASID %u is granted in both scopes", host);
	}
	if (!state_pairs_differ(c, STATE_GRANTS, c->used[STATE_SETS], state_rids_pair, &slot))
		return state_check_fail(c, STATE_GRANTS, slot, state_host_of(c->grants[slot].word),
			"another grant of set %u has the same PASID", c->grants[slot].set);
	return 0;
}

static int state_check_grants(const struct state_checking *c)
{
	uint32_t slot;
	int r = 0;

	for (uint32_t i = 0; i < c->used[STATE_GRANTS] && r == 0; i++)
		r = c->grants[i].word == 0 ? 0 : state_check_grant(c, i);
	if (r != 0)
		return r;
	if (!state_pairs_differ(c, STATE_GRANTS, c->used[STATE_SETS], state_guest_pair, &slot))
		return state_check_fail(c, STATE_GRANTS, slot, state_guest_of(c->grants[slot].word),
			"another grant of set %u has the same guest PASID", c->grants[slot].set);
	r = state_check_rids(c);
	return r ? r : state_check_quotas(c);
}

/* ------------------------------------------------------------------ devices and bindings */

static int state_check_device(const struct state_checking *c, uint32_t slot)
{
	const struct device_slot *device = &c->devices[slot];
	const unsigned kind = STATE_WORD_KIND(device->word);
	int r = state_check_state(c, STATE_DEVICES, slot, device->word, DEVICE_TAINTED);

	if (r != 0)
		return r;
	if (kind < DEVICE_EXCLUSIVE || kind > DEVICE_SLICE)
		return state_check_fail(
			c, STATE_DEVICES, slot, device->word, "a device has no kind %u", kind);
	if (kind == DEVICE_SHARED ? device->set != STATE_NONE : !state_has_set(c, device->set))
		return state_check_fail(c, STATE_DEVICES, slot, device->set,
			kind == DEVICE_SHARED ? "a shared device belongs to no set"
					      : "a device belongs to a set that is not there");
	if (kind != DEVICE_SLICE && device->shared != STATE_NONE)
		return state_check_fail(c, STATE_DEVICES, slot, device->shared,
			"only a slice is a part of another device");
	if (kind == DEVICE_SLICE &&
		(!state_has_device(c, device->shared) ||
			STATE_WORD_KIND(c->devices[device->shared].word) != DEVICE_SHARED))
		return state_check_fail(c, STATE_DEVICES, slot, device->shared,
			"a slice is a part of no shared device");
	return 0;
}

/* By grant; those of RIDs are the last group. */
static bool state_binding_pair(
	const struct state_checking *c, uint32_t slot, uint32_t *ret_group, uint32_t *ret_key)
{
	const struct binding_slot *binding = &c->bindings[slot];

	*ret_group = binding->grant != STATE_NONE ? binding->grant : c->used[STATE_GRANTS];
	*ret_key = binding->device;
	return binding->word != 0;
}

/* What outlives its slice is the shared device's. */
static bool state_is_misplaced(const struct state_checking *c, const struct binding_slot *binding)
{
	const unsigned kind = STATE_WORD_KIND(c->devices[binding->device].word);
	const unsigned state = STATE_WORD_STATE(binding->word);

	return state == BINDING_DRAINING ? kind != DEVICE_SHARED
					 : state == BINDING_TAINTED && kind == DEVICE_SLICE;
}

/* A guest's own table claims a RID, and is its set's only kind; only such a one replaces it. */
static int state_check_stream(const struct state_checking *c, uint32_t slot)
{
	const struct binding_slot *binding = &c->bindings[slot];
	const bool next = BINDING_NEXT_KIND(binding->next_table) == BINDING_KIND_STREAM;
	const bool stream = BINDING_KIND(binding->word) == BINDING_KIND_STREAM;

	if (binding->next_table && next != stream)
		return state_check_fail(c, STATE_BINDINGS, slot, binding->next_table,
			"a guest's own table is replaced by another kind, or replaces one");
	if (!stream)
		return 0;
	if (binding->grant != STATE_NONE ||
		STATE_WORD_KIND(c->sets[binding->set].word) != SET_GUEST_OWNED)
		return state_check_fail(c, STATE_BINDINGS, slot, binding->set,
			"a guest's own table is of a PASID, or of a set that does not let it");
	if (STATE_WORD_KIND(c->devices[binding->device].word) != DEVICE_EXCLUSIVE)
		return state_check_fail(c, STATE_BINDINGS, slot, binding->device,
			"a guest's own table is on a device that is shared");
	return 0;
}

static int state_check_binding(const struct state_checking *c, uint32_t slot)
{
	const struct binding_slot *binding = &c->bindings[slot];
	const uint32_t grant = binding->grant;
	int r = state_check_state(c, STATE_BINDINGS, slot, binding->word, BINDING_DRAINING);

	if (r != 0)
		return r;
	if (!state_has_set(c, binding->set))
		return state_check_fail(c, STATE_BINDINGS, slot, binding->set,
			"it belongs to a set that is not there");
	if (!state_has_device(c, binding->device))
		return state_check_fail(c, STATE_BINDINGS, slot, binding->device,
			"it is in a device that is not there");
	if (!(binding->word & BINDING_WORD_PASID) != (grant == STATE_NONE))
		return state_check_fail(
			c, STATE_BINDINGS, slot, binding->word, "it is of a PASID and of a RID");
	if (binding->next_table && (STATE_WORD_STATE(binding->word) != BINDING_BOUND ||
					   !BINDING_NEXT_KIND(binding->next_table)))
		return state_check_fail(c, STATE_BINDINGS, slot, binding->next_table,
			"a page table is replaced that is not bound, or by none");
	if (state_is_misplaced(c, binding))
		return state_check_fail(c, STATE_BINDINGS, slot, binding->device,
			"what is left of it belongs to a shared device");
	r = state_check_stream(c, slot);
	if (r != 0 || grant == STATE_NONE)
		return r;
	if (grant >= c->used[STATE_GRANTS] || c->grants[grant].word == 0)
		return state_check_fail(
			c, STATE_BINDINGS, slot, grant, "it is of a grant that is not there");
	if (c->grants[grant].set != binding->set)
		return state_check_fail(c, STATE_BINDINGS, slot, binding->set,
			"its grant belongs to another set, %u", c->grants[grant].set);
	return 0;
}

static int state_check_bindings(const struct state_checking *c)
{
	uint32_t slot;
	int r = 0;

	for (uint32_t i = 0; i < c->used[STATE_DEVICES] && r == 0; i++)
		r = c->devices[i].word == 0 ? 0 : state_check_device(c, i);
	for (uint32_t i = 0; i < c->used[STATE_BINDINGS] && r == 0; i++)
		r = c->bindings[i].word == 0 ? 0 : state_check_binding(c, i);
	if (r != 0 || c->used[STATE_BINDINGS] == 0)
		return r;
	if (!state_pairs_differ(
		    c, STATE_BINDINGS, c->used[STATE_GRANTS] + 1, state_binding_pair, &slot))
		return state_check_fail(c, STATE_BINDINGS, slot, c->bindings[slot].device,
			"there is another one of the same PASID or RID in the same device");
	return 0;
}

/* ------------------------------------------------------------------ all */

static uint32_t state_most(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* Hands out the scratch memory, or says how much it is (NULL). */
static size_t state_check_share(
	struct state_checking *c, const uint32_t used[static STATE_TABLES], uint8_t *scratch)
{
	const uint32_t groups = state_most(
		state_most(used[STATE_SETS], used[STATE_SESSIONS]), used[STATE_GRANTS] + 1);
	const uint32_t keys = state_most(
		state_most(state_most(used[STATE_GRANTS], used[STATE_TIES]), used[STATE_BINDINGS]),
		state_most(
			state_most(used[STATE_SETS], used[STATE_SESSIONS]), used[STATE_REPLIES]));
	const uint32_t bits =
		state_most(PASID_COUNT, state_most(used[STATE_DEVICES], used[STATE_REPLIES]));
	size_t at = PASID_COUNT / 8;

	if (scratch != NULL) {
		c->hosts = (uint64_t *)(void *)scratch;
		c->bits = (uint64_t *)(void *)(scratch + at);
	}
	at += (bits + 63u) / 64 * sizeof(uint64_t);
	if (scratch != NULL) {
		c->starts = (uint32_t *)(void *)(scratch + at);
		c->last = c->starts + groups;
		c->keys = c->last + groups;
		memset(scratch, 0, at);
	}
	return at + ((size_t)groups * 2 + keys) * sizeof(uint32_t);
}

size_t state_check_scratch(const uint32_t used[static STATE_TABLES])
{
	struct state_checking none;

	return state_check_share(&none, used, NULL);
}

int state_check(const struct state *state, const uint32_t used[static STATE_TABLES], void *scratch,
	struct state_problem *ret_problem)
{
	struct state_checking c = {
		.used = used,
		.sets = state->table[STATE_SETS],
		.grants = state->table[STATE_GRANTS],
		.devices = state->table[STATE_DEVICES],
		.bindings = state->table[STATE_BINDINGS],
		.host = state->table[STATE_HOST],
		.sessions = state->table[STATE_SESSIONS],
		.replies = state->table[STATE_REPLIES],
		.ties = state->table[STATE_TIES],
		.problem = ret_problem,
	};
	int r = 0;

	assert(scratch != NULL);
	(void)state_check_share(&c, used, scratch);
	if (used[STATE_HOST] > 0 && c.host->word != 0)
		r = state_check_state(&c, STATE_HOST, 0, c.host->word, HOST_USED);
	if (r == 0 && used[STATE_HOST] > 0 && c.host->policy > STATE_POLICIES)
		r = state_check_fail(&c, STATE_HOST, 0, c.host->policy,
			"there are %u policies, and this is none", STATE_POLICIES);
	if (r == 0)
		r = state_check_sets(&c);
	if (r == 0)
		r = state_check_grants(&c);
	if (r == 0)
		r = state_check_bindings(&c);
	if (r == 0)
		r = state_check_ties(&c);
	if (r == 0)
		r = state_check_moves(&c);
	if (r == 0)
		r = state_check_sessions(&c);
	return r == 0 ? state_check_replies(&c) : r;
}
