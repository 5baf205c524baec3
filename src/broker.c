/* SPDX-License-Identifier: MIT */
#include "broker_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ slots and names */

int pool_take(struct broker *b, struct pool *pool, uint32_t *ret_slot)
{
	uint32_t slot = pool->free;
	int r;

	if (slot == STATE_NONE) {
		slot = pool->used;
		if (slot >= pool->capacity)
			return -ENOSPC;
		r = state_reserve(b->ports.state, pool->table, slot + 1);
		if (r)
			return r;
		pool->used++;
	} else {
		pool->free = pool->next[slot];
	}
	pool->live++;
	*ret_slot = slot;
	return 0;
}

void pool_give(struct pool *pool, uint32_t slot)
{
	pool->next[slot] = pool->free;
	pool->free = slot;
	pool->live--;
}

/*
 * A slot may be taken in the change that freed it: an operation that ends lets the next one start.
 * Every word of it goes through the port once, so that what was there comes back with the change.
 */
void broker_clear_slot(struct broker *b, void *slot, size_t size)
{
	uint64_t *words = slot;

	for (size_t i = 0; i < size / sizeof(*words); i++)
		broker_commit(b, &words[i], 0);
}

static int pool_init(struct pool *pool, enum state_table table, uint32_t capacity)
{
	pool->next = calloc(capacity, sizeof(*pool->next));
	pool->free = STATE_NONE;
	pool->capacity = capacity;
	pool->table = table;
	return pool->next ? 0 : -ENOMEM;
}

/*
 * The next of numbers that are never given twice while the host is up. The record is ahead by up to
 * a batch, so that hardly any of them costs a store.
 */
static uint64_t broker_next_of(struct broker *b, uint64_t *last, uint64_t *recorded)
{
	if (++*last >= *recorded)
		broker_commit(b, recorded, *last + BROKER_BATCH);
	return *last;
}

uint64_t broker_generation(struct broker *b)
{
	return broker_next_of(b, &b->generation, &b->host_slot->generation)
	       << WORD_GENERATION_SHIFT;
}

uint32_t broker_handle(struct broker *b)
{
	return (uint32_t)broker_next_of(b, &b->handle, &b->host_slot->handle);
}

uint64_t set_name_of(const struct broker *b, uint32_t set)
{
	return set == STATE_NONE ? 0 : broker_id(b->set_slots[set].word, set);
}

uint64_t device_name_of(const struct broker *b, uint32_t device)
{
	return device == STATE_NONE ? 0 : broker_id(b->device_slots[device].word, device);
}

bool device_is_meant(const struct broker *b, uint32_t device, uint64_t name)
{
	return device_state(b, device) != DEVICE_FREE && device_name_of(b, device) == name;
}

uint32_t set_slot_of(const struct broker *b, struct set_id id)
{
	uint32_t slot = (uint32_t)(id.v & SLOT_MASK) - 1;

	if (slot >= b->set_pool.used || set_state(b, slot) == SET_FREE)
		return STATE_NONE;
	return set_name_of(b, slot) == id.v ? slot : STATE_NONE;
}

uint32_t device_slot_of(const struct broker *b, struct device_id id)
{
	uint32_t slot = (uint32_t)(id.v & SLOT_MASK) - 1;

	if (slot >= b->device_pool.used || device_state(b, slot) == DEVICE_FREE)
		return STATE_NONE;
	return device_name_of(b, slot) == id.v ? slot : STATE_NONE;
}

void broker_commit(struct broker *b, uint64_t *word, uint64_t value)
{
	state_commit(b->ports.state, word, value);
}

uint64_t broker_now(const struct broker *b)
{
	return b->ports.now_ms(b->ports.now_ctx);
}

/* ------------------------------------------------------------------ changes */

static struct change *change_add(
	struct broker *b, enum change_kind kind, uint32_t set, uint32_t grant)
{
	struct change *change = &b->changes[b->change_next % BROKER_CHANGES];
	uint64_t sequence = b->change_next;

	(void)broker_next_of(b, &b->change_next, &b->host_slot->sequence);
	*change = (struct change){
		.sequence = sequence,
		.kind = kind,
		.set = set_name_of(b, set),
		.name = set == STATE_NONE ? 0 : b->sets[set].name_hash,
	};
	if (grant != STATE_NONE) {
		change->host = grant_host(&b->grant_slots[grant]);
		change->has_guest = grant_has_guest(&b->grant_slots[grant]);
		change->guest = change->has_guest ? grant_guest(&b->grant_slots[grant]) : 0;
	}
	return change;
}

void broker_change(
	struct broker *b, enum change_kind kind, uint32_t set, uint32_t grant, uint32_t device)
{
	struct change *change = change_add(b, kind, set, grant);

	if (device == STATE_NONE)
		return;
	change->device = device_name_of(b, device);
	change->rid = b->device_slots[device].rid;
}

void broker_change_of(
	struct broker *b, enum change_kind kind, uint32_t set, uint32_t grant, uint64_t session)
{
	change_add(b, kind, set, grant)->session = session;
}

uint64_t broker_change_sequence(const struct broker *b)
{
	return b->change_next;
}

uint64_t broker_change_oldest(const struct broker *b)
{
	uint64_t oldest = b->change_next > BROKER_CHANGES ? b->change_next - BROKER_CHANGES : 1;

	return oldest < b->change_first ? b->change_first : oldest;
}

bool broker_change_get(const struct broker *b, uint64_t from, struct change *ret_change)
{
	const uint64_t oldest = broker_change_oldest(b);

	from = from < oldest ? oldest : from;
	if (from >= b->change_next)
		return false;
	*ret_change = b->changes[from % BROKER_CHANGES];
	return true;
}

const char *broker_set_name(const struct broker *b, struct set_id id)
{
	const uint32_t slot = (uint32_t)(id.v & SLOT_MASK) - 1;

	if (slot >= b->set_pool.used ||
		(set_name_of(b, slot) != id.v && b->sets[slot].ended != id.v))
		return NULL;
	return b->set_slots[slot].name;
}

bool broker_device_rid(const struct broker *b, struct device_id id, struct rid *ret_rid)
{
	const uint32_t slot = device_slot_of(b, id);

	if (slot == STATE_NONE)
		return false;
	*ret_rid = (struct rid){b->device_slots[slot].rid};
	return true;
}

bool broker_change_visible(const struct actor *actor, const struct change *change)
{
	return actor_sees_all(actor) || (change->set != 0 && change->set == actor->set.v);
}

/* ------------------------------------------------------------------ actors */

bool actor_sees_all(const struct actor *actor)
{
	return actor->role == ROLE_ADMIN || actor->role == ROLE_OBSERVER ||
	       actor->role == ROLE_PARTICIPANT;
}

int actor_must_be_admin(const struct actor *actor, const char *what, struct error *ret_error)
{
	if (actor->role == ROLE_ADMIN)
		return 0;
	return error_set(ret_error, REASON_ROLE,
		"%s is for admins; connect with the admin role, as a user that roles.admins names",
		what);
}

static int no_set(const struct actor *actor, struct set_id id, struct error *ret_error)
{
	if (id.v == 0 && actor_sees_all(actor))
		return error_set(ret_error, REASON_NO_SET, "name the set that is meant");
	if (id.v == 0)
		return error_set(
			ret_error, REASON_NO_SET, "this session has no set yet; create one first");
	return error_set(ret_error, REASON_NO_SET, "there is no set %llu that this session may use",
		(unsigned long long)id.v);
}

int set_for_reading(struct broker *b, const struct actor *actor, struct set_id id,
	uint32_t *ret_set, struct error *ret_error)
{
	struct set_id meant = id.v == 0 ? actor->set : id;
	uint32_t set = set_slot_of(b, meant);
	bool own = meant.v == actor->set.v;

	if (set == STATE_NONE || !(own || actor_sees_all(actor) || MUTANT(O)))
		return no_set(actor, id, ret_error);
	*ret_set = set;
	return 0;
}

static int set_for(struct broker *b, const struct actor *actor, struct set_id id, bool letting_go,
	uint32_t *ret_set, struct error *ret_error)
{
	uint32_t set;
	int r;

	if (actor->role != ROLE_VMM && actor->role != ROLE_ADMIN)
		return error_set(ret_error, REASON_ROLE,
			"an observer changes nothing; connect as VMM or admin");
	r = set_for_reading(b, actor, id, &set, ret_error);
	if (r == 0)
		r = move_refuse(b, set, letting_go, ret_error);
	if (r)
		return r;
	if (set_state(b, set) != SET_ACTIVE)
		return set_refuse_ending(b, set, ret_error);
	*ret_set = set;
	return 0;
}

int set_for_change(struct broker *b, const struct actor *actor, struct set_id id, uint32_t *ret_set,
	struct error *ret_error)
{
	return set_for(b, actor, id, false, ret_set, ret_error);
}

int set_for_letting_go(struct broker *b, const struct actor *actor, struct set_id id,
	uint32_t *ret_set, struct error *ret_error)
{
	return set_for(b, actor, id, true, ret_set, ret_error);
}

/* ------------------------------------------------------------------ life, status */

/* Of scope rids: what costs memory once there are such numbers. */
static int broker_allocate_owners(struct broker *b)
{
	const uint32_t owners = b->config.owners_max ? b->config.owners_max : BROKER_OWNERS_MAX;

	b->same_number = calloc(b->ports.state->capacity[STATE_GRANTS], sizeof(*b->same_number));
	b->owners = calloc(owners, sizeof(*b->owners));
	b->owner_spaces = calloc(owners, sizeof(*b->owner_spaces));
	b->unshared = calloc(1, sizeof(*b->unshared));
	b->owner_capacity = owners;
	b->rids_cursor = 1;
	memset(b->owner_buckets, 0xff, sizeof(b->owner_buckets));
	return b->same_number && b->owners && b->owner_spaces && b->unshared ? 0 : -ENOMEM;
}

static int broker_allocate_tables(struct broker *b)
{
	const struct state *state = b->ports.state;

	b->host_slot = state->table[STATE_HOST];
	b->set_slots = state->table[STATE_SETS];
	b->grant_slots = state->table[STATE_GRANTS];
	b->device_slots = state->table[STATE_DEVICES];
	b->binding_slots = state->table[STATE_BINDINGS];
	b->tie_slots = state->table[STATE_TIES];
	b->holder_capacity = state->capacity[STATE_SESSIONS];
	b->op_capacity =
		limits_account(b->ports.limits, LIMITS_NO_USER, RESOURCE_OPERATIONS)->limit +
		2 * state->capacity[STATE_SETS] + state->capacity[STATE_DEVICES];
	b->reservations = calloc(BROKER_RESERVATIONS_MAX, sizeof(*b->reservations));
	b->user_scratch =
		calloc((size_t)LIMITS_USERS_MAX * RESOURCE_COUNT, sizeof(*b->user_scratch));
	b->sets = calloc(state->capacity[STATE_SETS], sizeof(*b->sets));
	b->devices = calloc(state->capacity[STATE_DEVICES], sizeof(*b->devices));
	b->grant_of = calloc(PASID_COUNT, sizeof(*b->grant_of));
	b->changes = calloc(BROKER_CHANGES, sizeof(*b->changes));
	b->by_name = calloc(BROKER_BUCKETS, sizeof(*b->by_name));
	b->by_session = calloc(BROKER_BUCKETS, sizeof(*b->by_session));
	b->ops = calloc(b->op_capacity, sizeof(*b->ops));
	b->first_tie = calloc(state->capacity[STATE_GRANTS], sizeof(*b->first_tie));
	b->announced = calloc(state->capacity[STATE_GRANTS], sizeof(*b->announced));
	b->holders = calloc(b->holder_capacity, sizeof(*b->holders));
	b->holder_of = calloc(BROKER_BUCKETS, sizeof(*b->holder_of));
	if (!b->by_name || !b->by_session || !b->sets || !b->devices || !b->grant_of ||
		!b->changes || !b->ops || !b->user_scratch || !b->first_tie || !b->holders ||
		!b->holder_of || !b->reservations || !b->announced)
		return -ENOMEM;
	if (pool_init(&b->set_pool, STATE_SETS, state->capacity[STATE_SETS]) ||
		pool_init(&b->device_pool, STATE_DEVICES, state->capacity[STATE_DEVICES]) ||
		pool_init(&b->binding_pool, STATE_BINDINGS, state->capacity[STATE_BINDINGS]) ||
		pool_init(&b->tie_pool, STATE_TIES, state->capacity[STATE_TIES]))
		return -ENOMEM;
	return 0;
}

int broker_check_config(const struct broker_config *config, const struct state *state)
{
	if (config->reserved_last >= PASID_LAST)
		return -EINVAL;
	if (config->set_quota_default == 0 || config->set_quota_max == 0 ||
		config->policy > BROKER_RANDOMIZED || config->pasid_width > PASID_BITS)
		return -EINVAL;
	if (reservations_check(config))
		return -EINVAL;
	/* a recovery finds a place for the user of each set */
	if (state->capacity[STATE_SETS] > LIMITS_USERS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < STATE_TABLES; i++) {
		if (state->capacity[i] == 0 || state->capacity[i] >= SLOT_MASK)
			return -EINVAL;
	}
	return 0;
}

uint32_t broker_numbers(const struct broker *b)
{
	const uint32_t records = b->ports.state->capacity[STATE_GRANTS];
	uint32_t numbers = PASID_LAST - b->config.reserved_last;

	if (b->config.capacity && b->config.capacity < numbers)
		numbers = b->config.capacity;
	return numbers > records ? records : numbers; /* each has one */
}

/* Goes on counting where an earlier run may have stopped. */
static int broker_begin_host(struct broker *b)
{
	struct host_slot *host = b->host_slot;
	int r = state_reserve(b->ports.state, STATE_HOST, 1);

	if (r)
		return r;
	if (STATE_WORD_STATE(host->word) == HOST_FREE)
		broker_commit(b, &host->word, HOST_USED);
	b->generation = host->generation;
	b->handle = host->handle;
	b->change_first = b->change_next = host->sequence ? host->sequence : 1;
	return 0;
}

int broker_new(const struct broker_config *config, const struct broker_ports *ports,
	struct broker **ret_broker)
{
	struct broker *b;

	if (broker_check_config(config, ports->state) || !ports->limits)
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->config = *config;
	if (b->config.pasid_width == 0)
		b->config.pasid_width = PASID_BITS;
	b->ports = *ports;
	if (limits_account(ports->limits, LIMITS_NO_USER, RESOURCE_OPERATIONS)->limit >
		BROKER_OPS_MAX)
		limits_set_host(ports->limits, RESOURCE_OPERATIONS, BROKER_OPS_MAX);
	if (broker_allocate_tables(b) || broker_allocate_owners(b)) {
		broker_free(b);
		return -ENOMEM;
	}
	if (broker_begin_host(b)) {
		broker_free(b);
		return -ENOSPC;
	}
	space_init(&b->numbers);
	space_open(&b->numbers, config->reserved_last + 1, PASID_LAST);
	ledger_init(&b->ledger, ports->limits, broker_numbers(b));
	reservations_open(b);
	b->cursor = config->reserved_last + 1;
	b->grant_free = b->cooling_first = b->cooling_last = STATE_NONE;
	b->op_free = b->ended_first = b->ended_last = b->refused_first = STATE_NONE;
	b->retry_first = b->submit_first = b->first_shared = STATE_NONE;
	b->long_first = b->long_last = b->holder_free = STATE_NONE;
	b->await_first = b->await_last = STATE_NONE;
	b->work = BROKER_WORK_MAX;
	memset(b->by_name, 0xff, BROKER_BUCKETS * sizeof(*b->by_name));
	memset(b->by_session, 0xff, BROKER_BUCKETS * sizeof(*b->by_session));
	memset(b->holder_of, 0xff, BROKER_BUCKETS * sizeof(*b->holder_of));
	*ret_broker = b;
	return 0;
}

void broker_free(struct broker *b)
{
	if (!b)
		return;
	for (uint32_t i = 0; i < b->set_pool.used; i++) {
		if (set_state(b, i) != SET_FREE)
			translate_done(&b->sets[i].map);
	}
	free(b->set_pool.next);
	free(b->device_pool.next);
	free(b->binding_pool.next);
	free(b->tie_pool.next);
	free(b->first_tie);
	free(b->announced);
	free(b->holders);
	free(b->holder_of);
	free(b->sets);
	free(b->devices);
	free(b->same_number);
	free(b->owners);
	free(b->owner_spaces);
	free(b->unshared);
	free(b->grant_of);
	free(b->changes);
	free(b->by_name);
	free(b->by_session);
	free(b->ops);
	free(b->user_scratch);
	free(b->reservations);
	free(b);
}

void broker_status(const struct broker *b, struct broker_status *ret_status)
{
	*ret_status = (struct broker_status){
		.pasids = *limits_account(b->ports.limits, LIMITS_NO_USER, RESOURCE_PASIDS),
		.policy = policy_in_force(b),
		.policy_waits = policy_in_force(b) != b->config.policy,
		.missing = b->ledger.missing,
		.quarantined = b->quarantined,
		.sets = b->set_pool.live,
		.devices = b->device_pool.live,
		.bindings = b->bound,
		.operations = b->op_live,
		.reserved_last = b->config.reserved_last,
		.pasid_width = b->config.pasid_width,
		.unconfirmed = b->host_slot->unconfirmed != 0,
		.metrics = b->metrics,
	};
}
