/* SPDX-License-Identifier: MIT */
/* The side of a move that a set comes to. */
#include "broker_move_private.h"

#include <string.h>

/* What was reserved goes, by the same steps as any set; nobody waits for them. */
static void move_discard(struct broker *b, uint32_t set)
{
	set_begin_end(b, set, op_new_duty(b, OP_DESTROY, set, 0));
}

static int reserve_check(
	const struct broker *b, const struct move_reserve *reserve, struct error *ret_error)
{
	const struct set_create *create = &reserve->create;

	if (reserve->token.v[0] == 0 && reserve->token.v[1] == 0)
		return error_set(ret_error, REASON_BAD_ARGUMENT, "name the move");
	if (reserve->scopes & ~(uint32_t)(SCOPE_GLOBAL | SCOPE_RIDS))
		return error_set(ret_error, REASON_BAD_ARGUMENT, "there is no such scope");
	if (reserve->count > BROKER_MOVE_PAGE)
		return error_set_limit(ret_error, REASON_LIMIT, reserve->count, BROKER_MOVE_PAGE, 0,
			"one request reserves up to %u PASIDs, not %u; use several requests",
			BROKER_MOVE_PAGE, reserve->count);
	if (!create->has_quota || create->quota == 0 || reserve->total > create->quota ||
		reserve->first > reserve->total ||
		reserve->count > reserve->total - reserve->first ||
		(reserve->seal && reserve->count != reserve->total - reserve->first))
		return error_set_limit(ret_error, REASON_BAD_ARGUMENT, reserve->total,
			create->quota, reserve->first,
			"%u PASIDs from place %u on of %u do not fit a quota of %u", reserve->count,
			reserve->first, reserve->total, create->quota);
	if (reserve->total && create->mode == SET_GUEST_OWNED)
		return error_set(ret_error, REASON_SET_MODE,
			"the guest of such a set owns its PASID tables; there is nothing to "
			"reserve");
	return recover_check_confirmed(b, ret_error);
}

/* Messages of two moves were mixed up, or of two sets. */
static int reserve_check_same(const struct broker *b, uint32_t set,
	const struct move_reserve *reserve, struct error *ret_error)
{
	const struct set_slot *slot = &b->set_slots[set];

	if (set_move(b, set) == MOVE_LEAVING || set_move(b, set) == MOVE_GIVEN)
		return error_set_limit(ret_error, REASON_BAD_ARGUMENT, set_name_of(b, set), 0, 0,
			"set '%.*s' cannot move from this host to itself", SET_NAME(b, set));
	if (set_state(b, set) != SET_ACTIVE)
		return set_refuse_ending(b, set, ret_error);
	if (slot->move_proof != reserve->proof || set_mode(b, set) != reserve->create.mode ||
		strncmp(slot->name, reserve->create.name, STATE_NAME_MAX) != 0)
		return error_set_limit(ret_error, REASON_MOVE_WORD, set_name_of(b, set), 0, 0,
			"this move is of set '%.*s', and was begun with another description",
			SET_NAME(b, set));
	return 0;
}

static int reserve_begin(struct broker *b, const struct actor *actor,
	const struct move_reserve *reserve, uint32_t *ret_set, struct error *ret_error)
{
	struct set_slot *slot;
	struct set_id id;
	int r = broker_set_create(b, actor, &reserve->create, &id, ret_error);

	if (r)
		return r;
	*ret_set = set_slot_of(b, id);
	slot = &b->set_slots[*ret_set];
	broker_commit(b, &slot->move[0], reserve->token.v[0]);
	broker_commit(b, &slot->move[1], reserve->token.v[1]);
	broker_commit(b, &slot->move_proof, reserve->proof);
	move_commit_state(b, *ret_set, MOVE_COMING);
	return 0;
}

static bool reserve_can_have(const struct broker *b, uint32_t set, uint32_t host)
{
	const uint32_t grant = grant_of_host(b, host);

	if (host <= b->config.reserved_last || host > PASID_LAST)
		return false;
	return grant == STATE_NONE || (set != STATE_NONE && b->grant_slots[grant].set == set);
}

static uint32_t reserve_conflicts(const struct broker *b, uint32_t set,
	const struct move_reserve *reserve, struct hpasid *ret_conflicts)
{
	uint32_t count = 0;

	if (reserve->create.mode != SET_IDENTITY)
		return 0;
	for (uint32_t i = 0; i < reserve->count; i++) {
		if (!reserve_can_have(b, set, reserve->grants[i].guest.v))
			ret_conflicts[count++].v = reserve->grants[i].guest.v;
	}
	return count;
}

static int reserve_one(struct broker *b, uint32_t set, const struct move_reserve *reserve,
	const struct move_grant *grant, struct error *ret_error)
{
	const bool identity = reserve->create.mode == SET_IDENTITY;
	const struct allocate allocate = {
		.min = identity ? grant->guest.v : 0,
		.max = identity ? grant->guest.v : reserve->max,
		.count = 1,
		.has_guest = grant->has_guest && !identity,
		.guest = grant->guest,
		.data = grant->data,
	};
	struct hpasid host;

	return grant_allocate(b, set, true, &allocate, &host, ret_error);
}

/* Those that are there already come again when the reply was lost. */
static int reserve_numbers(
	struct broker *b, uint32_t set, const struct move_reserve *reserve, struct error *ret_error)
{
	const uint32_t have = b->sets[set].active;
	const uint32_t end = reserve->first + reserve->count;
	int r = 0;

	if (reserve->first > have || (end > have && set_move(b, set) == MOVE_RESERVED))
		return error_set_limit(ret_error, REASON_MOVE_STEP, have, reserve->total,
			reserve->first,
			"%u numbers of set '%.*s' are reserved; the next ones are not those from "
			"place %u on",
			have, SET_NAME(b, set), reserve->first);
	for (uint32_t i = have; r == 0 && i < end; i++)
		r = reserve_one(b, set, reserve, &reserve->grants[i - reserve->first], ret_error);
	return r;
}

static int reserve_seal(
	struct broker *b, uint32_t set, const struct move_reserve *reserve, struct error *ret_error)
{
	const uint32_t have = b->sets[set].active;

	if (have != reserve->total)
		return error_set_limit(ret_error, REASON_MOVE_STEP, have, reserve->total, have,
			"%u of the %u numbers of set '%.*s' are reserved; reserve the others first",
			have, reserve->total, SET_NAME(b, set));
	if (set_move(b, set) == MOVE_RESERVED)
		return 0;
	/* not before: numbers of any scope are reserved as global ones */
	state_commit32(b->ports.state, &b->set_slots[set].scopes, reserve->scopes);
	move_commit_state(b, set, MOVE_RESERVED);
	broker_change(b, CHANGE_SET_RESERVED, set, STATE_NONE, STATE_NONE);
	return 0;
}

/* What is refused for good leaves nothing behind. */
static int reserve_all(struct broker *b, uint32_t set, const struct move_reserve *reserve,
	struct move_info *ret_info, struct error *ret_error)
{
	int r = 0;

	if (set_move(b, set) != MOVE_TAKEN)
		r = reserve_numbers(b, set, reserve, ret_error);
	if (r == 0 && reserve->seal && set_move(b, set) != MOVE_TAKEN)
		r = reserve_seal(b, set, reserve, ret_error);
	if (r && r != STATUS_RETRY && r != STATUS_STATE)
		move_discard(b, set);
	if (r)
		return r;
	move_fill(b, set, ret_info);
	if (set_move(b, set) == MOVE_RESERVED)
		move_sum(b, set, ret_info);
	return 0;
}

int broker_move_reserve(struct broker *b, const struct actor *actor,
	const struct move_reserve *reserve, struct move_info *ret_info,
	struct hpasid *ret_conflicts, uint32_t *ret_conflict_count, struct error *ret_error)
{
	uint32_t set = move_find(b, &reserve->token);
	int r = move_check_admin(actor, ret_error);

	*ret_conflict_count = 0;
	if (r == 0)
		r = reserve_check(b, reserve, ret_error);
	if (r == 0 && set != STATE_NONE)
		r = reserve_check_same(b, set, reserve, ret_error);
	if (r)
		return r;
	/* What is sealed has all its numbers, and may have been given: only a word drops it. */
	if (set == STATE_NONE || set_move(b, set) == MOVE_COMING)
		*ret_conflict_count = reserve_conflicts(b, set, reserve, ret_conflicts);
	if (*ret_conflict_count && !reserve->only_check && set != STATE_NONE)
		move_discard(b, set);
	if (*ret_conflict_count || reserve->only_check) {
		*ret_info = (struct move_info){.token = reserve->token};
		return 0;
	}
	if (set == STATE_NONE)
		r = reserve_begin(b, actor, reserve, &set, ret_error);
	return r ? r : reserve_all(b, set, reserve, ret_info, ret_error);
}

int broker_move_take(struct broker *b, const struct actor *actor, const struct move_token *token,
	uint64_t proof, struct error *ret_error)
{
	const uint32_t set = move_find(b, token);
	int r = move_check_admin(actor, ret_error);

	if (r)
		return r;
	if (set == STATE_NONE)
		return move_refuse_unknown(ret_error);
	if (set_move(b, set) == MOVE_TAKEN)
		return 0;
	if (set_move(b, set) != MOVE_RESERVED)
		return move_refuse_step(
			b, set, "taken", "reserve all of it, then have it given", ret_error);
	if (b->set_slots[set].move_proof != proof && !MUTANT(M))
		return move_refuse_word(b, set, "it has given", ret_error);
	move_commit_state(b, set, MOVE_TAKEN);
	broker_change(b, CHANGE_SET_TAKEN, set, STATE_NONE, STATE_NONE);
	return 0;
}

int broker_move_drop(struct broker *b, const struct actor *actor, const struct move_token *token,
	uint64_t proof, bool force, struct error *ret_error)
{
	const uint32_t set = move_find(b, token);
	int r = move_check_admin(actor, ret_error);

	if (r || set == STATE_NONE)
		return r;
	if (set_move(b, set) != MOVE_COMING && set_move(b, set) != MOVE_RESERVED)
		return move_refuse_step(b, set, "dropped",
			"a set that is here ends like any other (pasidctl destroy)", ret_error);
	/* what is not sealed cannot have been given */
	if (set_move(b, set) == MOVE_RESERVED && !force && b->set_slots[set].move_proof != proof)
		return move_refuse_word(b, set, "it keeps", ret_error);
	move_discard(b, set);
	return 0;
}
