/* SPDX-License-Identifier: MIT */
#include "broker_private.h"

#include <assert.h>
#include <string.h>

/* What can appear in a set's name, so that it is safe in paths, logs and command lines. */
bool broker_set_name_is_valid(const char *name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789._-";
	size_t length = strnlen(name, STATE_NAME_MAX + 1);

	return length >= 1 && length <= STATE_NAME_MAX && strspn(name, allowed) == length;
}

/* ------------------------------------------------------------------ found by name and session */

/*
 * A polynomial at a secret point, modulo a prime: names are chosen by clients, and none of them can
 * know which fall together.
 */
static uint64_t name_hash(const char *name, uint64_t key)
{
	const uint64_t prime = (UINT64_C(1) << 31) - 1;
	const uint64_t point = 256 + key % (prime - 256);
	uint64_t hash = 0;

	for (size_t i = 0; i < STATE_NAME_MAX && name[i]; i++)
		hash = (hash * point + (unsigned char)name[i]) % prime;
	return hash;
}

static uint32_t *name_bucket(const struct broker *b, const char *name)
{
	return &b->by_name[name_hash(name, b->config.name_key) % BROKER_BUCKETS];
}

/* At two points, so that two names have the same one in a billion of billions of cases. */
uint64_t broker_name_hash(const struct broker *b, const char *name)
{
	return UINT64_C(1) << 63 | name_hash(name, b->config.name_key) << 31 |
	       name_hash(name, ~b->config.name_key / 3);
}

/* Sessions are numbered by the daemon. */
static uint32_t *session_bucket(const struct broker *b, uint64_t session)
{
	return &b->by_session[session % BROKER_BUCKETS];
}

static uint32_t set_slot_by_name(const struct broker *b, const char *name)
{
	uint32_t set = *name_bucket(b, name);

	while (set != STATE_NONE && strncmp(b->set_slots[set].name, name, STATE_NAME_MAX) != 0)
		set = b->sets[set].name_next;
	return set;
}

void set_enter_buckets(struct broker *b, uint32_t set)
{
	uint32_t *name = name_bucket(b, b->set_slots[set].name);
	uint32_t *session = session_bucket(b, b->set_slots[set].session);

	b->sets[set].name_next = *name;
	*name = set;
	if (b->set_slots[set].session == 0)
		return;
	b->sets[set].session_next = *session;
	*session = set;
}

bool set_is_listed(const struct broker *b, uint32_t set)
{
	uint64_t session = b->set_slots[set].session;
	uint32_t i = *session_bucket(b, session);

	while (session && i != STATE_NONE && i != set)
		i = b->sets[i].session_next;
	return set_slot_by_name(b, b->set_slots[set].name) == set && (!session || i == set);
}

static void set_leave_buckets(struct broker *b, uint32_t set)
{
	uint32_t *link = name_bucket(b, b->set_slots[set].name);

	while (*link != set)
		link = &b->sets[*link].name_next;
	*link = b->sets[set].name_next;
	if (b->set_slots[set].session == 0)
		return;
	link = session_bucket(b, b->set_slots[set].session);
	while (*link != set)
		link = &b->sets[*link].session_next;
	*link = b->sets[set].session_next;
}

void set_commit_state(struct broker *b, uint32_t set, enum set_state state)
{
	uint64_t word = b->set_slots[set].word;

	broker_commit(b, &b->set_slots[set].word, (word & ~UINT64_C(0xf)) | state);
}

/* The broker's own actors, and admins, decide for others. */
static uint32_t allowed_scopes(const struct broker *b, const struct actor *actor)
{
	if (actor->role == ROLE_ADMIN || !actor->peer || !b->ports.policy)
		return SCOPE_GLOBAL | SCOPE_RIDS;
	return policy_scopes(b->ports.policy, actor->peer);
}

static int create_check_scopes(const struct broker *b, const struct actor *actor,
	const struct set_create *create, struct error *ret_error)
{
	const uint32_t allowed = allowed_scopes(b, actor);

	if (create->scopes & ~(uint32_t)(SCOPE_GLOBAL | SCOPE_RIDS))
		return error_set(ret_error, REASON_BAD_ARGUMENT, "there is no such scope");
	if ((create->scopes & ~allowed) == 0 && allowed != 0)
		return 0;
	return error_set(ret_error, REASON_POLICY,
		"the policy does not let sets of this user have PASIDs of scope %s; ask for a set "
		"without, or add the user to scopes of the configuration",
		allowed == 0             ? "global or rids"
		: allowed & SCOPE_GLOBAL ? "rids"
					 : "global");
}

/* The user who is charged for it. */
static uint32_t create_owner(const struct actor *actor, const struct set_create *create)
{
	if (create->has_owner)
		return create->owner_uid;
	return actor->peer ? actor->peer->uid : 0;
}

/* Nobody else takes a name away from the user that something is reserved for. */
static int create_check_reserved(struct broker *b, const struct actor *actor,
	const struct set_create *create, struct error *ret_error)
{
	const struct reservation *reservation = ledger_reservation(&b->ledger, create->name);

	if (!reservation || reservation->uid == create_owner(actor, create))
		return 0;
	if (actor->role != ROLE_ADMIN)
		return error_set(ret_error, REASON_POLICY,
			"the name '%s' is reserved for another user; choose another", create->name);
	return error_set(ret_error, REASON_POLICY,
		"the name '%s' is reserved for user %u, who has to be the set's owner; choose "
		"another, or change reservations of the configuration",
		create->name, reservation->uid);
}

static int create_check(struct broker *b, const struct actor *actor,
	const struct set_create *create, struct error *ret_error)
{
	int r;

	if (actor->role != ROLE_VMM && actor->role != ROLE_ADMIN)
		return error_set(ret_error, REASON_ROLE, "an observer creates no sets");
	if (!broker_set_name_is_valid(create->name))
		return error_set(ret_error, REASON_BAD_ARGUMENT,
			"a set's name has 1 to %u characters of a-z A-Z 0-9 . _ -", STATE_NAME_MAX);
	if (create->has_owner && actor->role != ROLE_ADMIN)
		return error_set(ret_error, REASON_ROLE,
			"only an admin makes a set that another user is charged for");
	if (actor->role == ROLE_VMM && actor->set.v)
		return error_set_limit(ret_error, REASON_SET_EXISTS, actor->set.v, 1, 1,
			"this session has its set already; one session serves one VM");
	if (set_slot_by_name(b, create->name) != STATE_NONE)
		return error_set(ret_error, REASON_SET_EXISTS,
			"the name '%s' is not to be had; choose another", create->name);
	if (create->mode != SET_TRANSLATED && create->mode != SET_IDENTITY &&
		create->mode != SET_GUEST_OWNED)
		return error_set(ret_error, REASON_BAD_ARGUMENT, "there is no set mode %u",
			(unsigned)create->mode);
	if (actor->role != ROLE_ADMIN && create->quota > b->config.set_quota_max)
		return error_set_limit(ret_error, REASON_LIMIT, create->quota,
			b->config.set_quota_max, 0,
			"a VMM's set may have up to %u PASIDs, not %u; ask for less, or raise "
			"quota.set_max",
			b->config.set_quota_max, create->quota);
	r = create_check_scopes(b, actor, create, ret_error);
	return r ? r : create_check_reserved(b, actor, create, ret_error);
}

static uint32_t create_quota(const struct broker *b, uint32_t set, const struct set_create *create)
{
	uint32_t rest = ledger_remaining(&b->ledger, &b->sets[set]);

	if (!create->has_quota && b->sets[set].reservation)
		return b->sets[set].reservation->account.limit;
	if (!create->has_quota)
		return b->config.set_quota_default;
	if (create->quota)
		return create->quota;
	return rest < b->config.set_quota_max ? rest : b->config.set_quota_max;
}

static void set_write(
	struct broker *b, uint32_t set, const struct actor *actor, const struct set_create *create)
{
	struct set_slot *slot = &b->set_slots[set];
	uint64_t flags = actor->role == ROLE_VMM ? SET_WORD_SESSION : 0;

	memset(slot->name, 0, sizeof(slot->name));
	slot->emptied = 0;
	slot->move[0] = slot->move[1] = slot->move_proof = 0;
	memcpy(slot->name, create->name, strnlen(create->name, STATE_NAME_MAX));
	slot->session = flags ? actor->session : 0;
	slot->uid = limits_user_uid(b->ports.limits, b->sets[set].user);
	slot->quota = set_quota(&b->sets[set]);
	slot->scopes = create->scopes ? create->scopes : allowed_scopes(b, actor);
	b->sets[set].name_hash = broker_name_hash(b, slot->name);
	broker_commit(b, &slot->word,
		broker_generation(b) | flags | (uint64_t)create->mode << 4 | SET_ACTIVE);
	set_enter_buckets(b, set);
}

/* A place for the set, and what it is promised. */
static int set_open(struct broker *b, const struct actor *actor, const struct set_create *create,
	uint32_t *ret_set, struct error *ret_error)
{
	uint32_t set, uid = create_owner(actor, create);
	int r;

	if (pool_take(b, &b->set_pool, &set))
		return pool_refuse(
			&b->set_pool, "set", "destroy one, or try again later", ret_error);
	b->sets[set] = (struct set){
		.grants = STATE_NONE,
		.returnable = STATE_NONE,
		.first_device = STATE_NONE,
		.first_op = STATE_NONE,
		.last_op = STATE_NONE,
	};
	r = ledger_open(&b->ledger, &b->sets[set], uid, create->name, ret_error);
	if (r) {
		pool_give(&b->set_pool, set);
		return r;
	}
	r = ledger_promise(&b->ledger, &b->sets[set], create_quota(b, set, create),
		actor_sees_all(actor), ret_error);
	if (r) {
		ledger_forget(&b->ledger, &b->sets[set]);
		pool_give(&b->set_pool, set);
		return r;
	}
	*ret_set = set;
	return 0;
}

int broker_set_create(struct broker *b, const struct actor *actor, const struct set_create *create,
	struct set_id *ret_set, struct error *ret_error)
{
	uint32_t set = STATE_NONE; /* gcc does not see that it is set */
	int r;

	r = create_check(b, actor, create, ret_error);
	if (r)
		return r;
	r = set_open(b, actor, create, &set, ret_error);
	if (r)
		return r;
	translate_init(&b->sets[set].map, &b->ports.pages);
	set_write(b, set, actor, create);
	metrics_add(&b->metrics, METRIC_SETS_CREATED, 1);
	broker_change(b, CHANGE_SET_CREATED, set, STATE_NONE, STATE_NONE);
	ret_set->v = set_name_of(b, set);
	return 0;
}

int broker_set_adjust(struct broker *b, const struct actor *actor, struct set_id id, uint32_t quota,
	struct error *ret_error)
{
	uint32_t set;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	if (actor->role != ROLE_ADMIN && quota > set_quota(&b->sets[set]))
		return error_set_limit(ret_error, REASON_ROLE, set_name_of(b, set),
			set_quota(&b->sets[set]), set_use(&b->sets[set]),
			"set '%.*s' has a quota of %u; only an admin raises it", SET_NAME(b, set),
			set_quota(&b->sets[set]));
	r = ledger_adjust(&b->ledger, &b->sets[set], quota, actor_sees_all(actor), ret_error);
	if (r)
		return r;
	state_commit32(b->ports.state, &b->set_slots[set].quota, quota);
	broker_change(b, CHANGE_SET_ADJUSTED, set, STATE_NONE, STATE_NONE);
	return 0;
}

static void set_fill_info(const struct broker *b, uint32_t set, struct set_info *ret_info)
{
	const struct set *run = &b->sets[set];

	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->id.v = set_name_of(b, set);
	memcpy(ret_info->name, b->set_slots[set].name, STATE_NAME_MAX);
	ret_info->mode = set_mode(b, set);
	ret_info->uid = b->set_slots[set].uid;
	ret_info->scopes = b->set_slots[set].scopes ? b->set_slots[set].scopes : SCOPE_GLOBAL;
	ret_info->pasids = run->accounts.of[RESOURCE_PASIDS];
	ret_info->active = run->active;
	ret_info->quarantined = run->quarantined;
	ret_info->devices = run->devices;
	ret_info->bindings = run->bindings;
	ret_info->owned_by_session = b->set_slots[set].word & SET_WORD_SESSION;
	ret_info->dying = set_state(b, set) != SET_ACTIVE;
	ret_info->emptying = set_is_emptying(b, set);
	ret_info->move = set_move(b, set);
}

int broker_set_get(struct broker *b, const struct actor *actor, struct set_id id,
	struct set_info *ret_info, struct error *ret_error)
{
	uint32_t set;
	int r;

	r = set_for_reading(b, actor, id, &set, ret_error);
	if (r)
		return r;
	set_fill_info(b, set, ret_info);
	return 0;
}

int broker_set_by_name(struct broker *b, const struct actor *actor, const char *name,
	struct set_id *ret_set, struct error *ret_error)
{
	uint32_t set = set_slot_by_name(b, name);

	if (set == STATE_NONE || !(actor_sees_all(actor) || set_name_of(b, set) == actor->set.v))
		return error_set(ret_error, REASON_NO_SET,
			"there is no set '%.64s' that this session may use", name);
	ret_set->v = set_name_of(b, set);
	return 0;
}

bool broker_set_next(
	struct broker *b, const struct actor *actor, uint64_t *cursor, struct set_info *ret_info)
{
	uint32_t own = actor_sees_all(actor) ? STATE_NONE : set_slot_of(b, actor->set);
	uint64_t end = b->set_pool.used;

	if (!actor_sees_all(actor)) {
		end = own == STATE_NONE ? 0 : own + UINT64_C(1);
		*cursor = *cursor < own ? own : *cursor;
	}
	for (; *cursor < end; (*cursor)++) {
		if (set_state(b, (uint32_t)*cursor) == SET_FREE)
			continue;
		set_fill_info(b, (uint32_t)(*cursor)++, ret_info);
		return true;
	}
	*cursor = BROKER_END;
	return false;
}

/* ------------------------------------------------------------------ the end of a set */

int set_refuse_ending(const struct broker *b, uint32_t set, struct error *ret_error)
{
	if (set_is_emptying(b, set))
		return error_set_limit(ret_error, REASON_SET_EMPTYING, set_name_of(b, set), 0, 0,
			"the VM of set '%.*s' is gone, and what it had is being detached; try "
			"again in a moment",
			SET_NAME(b, set));
	return error_set_limit(ret_error, REASON_SET_DYING, set_name_of(b, set), 0, 0,
		"set '%.*s' is being destroyed", SET_NAME(b, set));
}

static void refuse_waiting(struct broker *b, uint32_t set)
{
	uint32_t next;
	struct error error;
	int r;

	for (uint32_t i = b->sets[set].first_op; i != STATE_NONE; i = next) {
		struct op *op = &b->ops[i];

		next = op->next;
		if (op->state != OP_WAITING)
			continue;
		r = set_refuse_ending(b, set, &error);
		op_end_with(b, op, r, &error);
	}
}

void set_begin_end(struct broker *b, uint32_t set, struct op *op)
{
	move_end(b, set);
	set_commit_state(b, set, SET_DYING);
	broker_change(b, CHANGE_SET_ENDING, set, STATE_NONE, STATE_NONE);
	refuse_waiting(b, set);
	await_end_set(b, set);
	op_queue(b, op);
}

void set_take_over_end(struct broker *b, uint32_t set, uint64_t cookie)
{
	uint32_t i = b->sets[set].first_op;

	while (b->ops[i].kind != OP_DESTROY)
		i = b->ops[i].next;
	assert(b->ops[i].outcome.cookie == 0);
	b->ops[i].outcome.cookie = cookie;
	broker_commit(b, &b->set_slots[set].word, b->set_slots[set].word & ~SET_WORD_EMPTY);
}

int broker_set_destroy(struct broker *b, const struct actor *actor, struct set_id id, bool force,
	uint64_t cookie, struct error *ret_error)
{
	uint32_t set;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r && force && ret_error->reason == REASON_SET_EMPTYING) {
		set_take_over_end(b, set_slot_of(b, id.v ? id : actor->set), cookie);
		return 0;
	}
	if (r)
		return r;
	if (!force && (b->sets[set].active || b->sets[set].devices || b->sets[set].ops))
		return error_set_limit(ret_error, REASON_SET_NOT_EMPTY, set_name_of(b, set), 0,
			b->sets[set].active,
			"set '%.*s' has %u PASIDs and %u devices; free and remove them first, or "
			"destroy it with force",
			SET_NAME(b, set), b->sets[set].active, b->sets[set].devices);
	set_begin_end(b, set, op_new_duty(b, OP_DESTROY, set, cookie));
	return 0;
}

void set_begin_emptying(struct broker *b, uint32_t set)
{
	metrics_add(&b->metrics, METRIC_TEARDOWNS, 1);
	broker_commit(b, &b->set_slots[set].word, b->set_slots[set].word | SET_WORD_EMPTY);
	set_begin_end(b, set, op_new_duty(b, OP_DESTROY, set, 0));
}

static void set_end_with_session(struct broker *b, uint32_t set)
{
	/* the record of a set that was given stays until the target has taken it */
	if (set_move(b, set) == MOVE_GIVEN) {
		if (set_state(b, set) == SET_ACTIVE)
			set_begin_emptying(b, set);
		return;
	}
	if (set_is_emptying(b, set))
		set_take_over_end(b, set, 0);
	if (set_state(b, set) != SET_ACTIVE)
		return;
	metrics_add(&b->metrics, METRIC_TEARDOWNS, 1);
	set_begin_end(b, set, op_new_duty(b, OP_DESTROY, set, 0));
}

void broker_session_end(struct broker *b, uint64_t session)
{
	uint32_t next, set = *session_bucket(b, session);

	hold_end_session(b, session);
	participant_end_session(b, session);
	/* one that has nothing leaves its bucket at once, and no other one */
	for (; set != STATE_NONE; set = next) {
		next = b->sets[set].session_next;
		if (b->set_slots[set].session == session)
			set_end_with_session(b, set);
	}
}

void broker_set_empty(struct broker *b, struct set_id id)
{
	uint32_t set = set_slot_of(b, id);

	if (set == STATE_NONE || set_state(b, set) != SET_ACTIVE)
		return;
	set_begin_emptying(b, set);
}

bool broker_session_next(const struct broker *b, uint64_t *cursor, uint64_t *ret_session)
{
	uint64_t holders;
	bool found;

	while (*cursor < b->set_pool.used) {
		const uint32_t set = (uint32_t)(*cursor)++;

		if (set_state(b, set) == SET_FREE || set_state(b, set) == SET_ZOMBIE ||
			b->set_slots[set].session == 0)
			continue;
		*ret_session = b->set_slots[set].session;
		return true;
	}
	holders = *cursor - b->set_pool.used;
	found = hold_next_session(b, &holders, ret_session);
	*cursor = holders + b->set_pool.used;
	return found;
}

uint32_t broker_sets_max(const struct broker *b)
{
	return b->set_pool.capacity;
}

bool broker_set_lives(const struct broker *b, struct set_id id)
{
	uint32_t set = set_slot_of(b, id);

	return set != STATE_NONE && set_state(b, set) != SET_ZOMBIE;
}

void set_return(struct broker *b, uint32_t set)
{
	struct set *run = &b->sets[set];
	uint64_t word = b->set_slots[set].word & ~SET_WORD_EMPTY;

	map_clear(b, set);
	run->has_lane = false;
	broker_commit(b, &b->set_slots[set].emptied, broker_now(b) + b->config.cooling_ms + 1);
	broker_commit(b, &b->set_slots[set].word, (word & ~UINT64_C(0xf)) | SET_ACTIVE);
	broker_change(b, CHANGE_SET_EMPTIED, set, STATE_NONE, STATE_NONE);
}

void set_close(struct broker *b, uint32_t set)
{
	map_clear(b, set);
	ledger_close(&b->ledger, &b->sets[set]);
	metrics_add(&b->metrics, METRIC_SETS_DESTROYED, 1);
	broker_change(b, CHANGE_SET_DESTROYED, set, STATE_NONE, STATE_NONE);
	set_leave_buckets(b, set);
	set_commit_state(b, set, SET_ZOMBIE);
	set_reap(b, set);
}

void set_reap(struct broker *b, uint32_t set)
{
	struct set *run = &b->sets[set];

	if (set_state(b, set) != SET_ZOMBIE || set_use(run) || run->devices || run->ops ||
		run->untold)
		return;
	ledger_forget(&b->ledger, run);
	run->ended = set_name_of(b, set);
	broker_commit(b, &b->set_slots[set].word, 0);
	pool_give(&b->set_pool, set);
}
