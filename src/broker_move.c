/* SPDX-License-Identifier: MIT */
/*
 * Sets that move from one host's daemon to another's (tests/proof/move.pml is the same as a model).
 *
 * What is recorded decides, at each host by itself: whoever carries the messages has no memory that
 * counts. A set that is LEAVING stays as it is, so that what the target reserves is what the source
 * gives. GIVEN is one store, and from there on the set is the target's, which serves nobody before
 * it has the source's word for it. Neither side ever decides by time: a source that has not given
 * the set can always keep it, a target that has reserved it can only wait for a word.
 */
#include "broker_move_private.h"

#include <assert.h>
#include <string.h>

/* ------------------------------------------------------------------ what is under way */

static bool move_is_named(const struct broker *b, uint32_t set, const struct move_token *token)
{
	const struct set_slot *slot = &b->set_slots[set];

	/* of a free place the word is 0 */
	return set_move(b, set) != MOVE_NONE && slot->move[0] == token->v[0] &&
	       slot->move[1] == token->v[1];
}

/* Moves are few and far between: there is no table of them. */
uint32_t move_find(const struct broker *b, const struct move_token *token)
{
	for (uint32_t set = 0; set < b->set_pool.used; set++) {
		if (move_is_named(b, set, token))
			return set;
	}
	return STATE_NONE;
}

int move_check_admin(const struct actor *actor, struct error *ret_error)
{
	return actor_must_be_admin(actor, "moving a set", ret_error);
}

int move_refuse_unknown(struct error *ret_error)
{
	return error_set(ret_error, REASON_NO_MOVE,
		"no set of this host is under way with that move; it is over here, or never began");
}

int move_refuse_step(const struct broker *b, uint32_t set, const char *what, const char *remedy,
	struct error *ret_error)
{
	static const char *const states[] = {
		[MOVE_NONE] = "is not under way",
		[MOVE_LEAVING] = "is leaving and not given yet",
		[MOVE_GIVEN] = "was given to the other host",
		[MOVE_COMING] = "is not wholly reserved yet",
		[MOVE_RESERVED] = "is reserved and not taken yet",
		[MOVE_TAKEN] = "was taken",
	};

	return error_set_limit(ret_error, REASON_MOVE_STEP, set_name_of(b, set), 0, 0,
		"set '%.*s' %s, so that it cannot be %s; %s", SET_NAME(b, set),
		states[set_move(b, set)], what, remedy);
}

int move_refuse_word(
	const struct broker *b, uint32_t set, const char *what, struct error *ret_error)
{
	return error_set_limit(ret_error, REASON_MOVE_WORD, set_name_of(b, set), 0, 0,
		"that is not the other host's word that %s set '%.*s'; ask the other host for it",
		what, SET_NAME(b, set));
}

void move_commit_state(struct broker *b, uint32_t set, enum set_move move)
{
	const uint64_t word = b->set_slots[set].word & ~SET_MOVE_MASK;

	broker_commit(b, &b->set_slots[set].word, word | (uint64_t)move << SET_MOVE_SHIFT);
}

int move_refuse(const struct broker *b, uint32_t set, bool letting_go, struct error *ret_error)
{
	const enum set_move move = set_move(b, set);

	if (move == MOVE_NONE || move == MOVE_TAKEN)
		return 0;
	if (move == MOVE_COMING || move == MOVE_RESERVED)
		return error_set_limit(ret_error, REASON_SET_MOVING, set_name_of(b, set), 0, 0,
			"set '%.*s' comes from another host and serves nobody before it is taken; "
			"finish its move (pasidctl move), or cancel it",
			SET_NAME(b, set));
	if (letting_go)
		return 0;
	if (move == MOVE_LEAVING)
		return error_set_limit(ret_error, REASON_SET_MOVING, set_name_of(b, set), 0, 0,
			"set '%.*s' is about to move to another host and stays as it is until "
			"then; try again, or finish or cancel its move (pasidctl move)",
			SET_NAME(b, set));
	return error_set_limit(ret_error, REASON_SET_MOVED, set_name_of(b, set), 0, 0,
		"set '%.*s' was given to another host and is served there; what is left here goes "
		"when its move is finished (pasidctl move)",
		SET_NAME(b, set));
}

void move_end(struct broker *b, uint32_t set)
{
	const enum set_move move = set_move(b, set);

	if (move != MOVE_LEAVING && move != MOVE_COMING && move != MOVE_RESERVED)
		return;
	move_commit_state(b, set, MOVE_NONE);
	if (move == MOVE_LEAVING)
		broker_change(b, CHANGE_SET_KEPT, set, STATE_NONE, STATE_NONE);
}

/* ------------------------------------------------------------------ what moves */

static uint64_t move_mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

/* Numbers have no order that both hosts know, so what is summed up must need none. */
void move_sum(const struct broker *b, uint32_t set, struct move_info *info)
{
	info->grants = 0;
	info->sum = 0;
	for (uint32_t g = b->sets[set].grants; g != STATE_NONE; g = b->grant_slots[g].next) {
		const struct grant_slot *slot = &b->grant_slots[g];
		uint64_t guest = 0;

		if (grant_state(slot) != GRANT_ACTIVE)
			continue;
		if (grant_has_guest(slot))
			guest = PASID_COUNT | grant_guest(slot);
		info->grants++;
		info->sum += move_mix(move_mix(guest + 1) ^ slot->data);
	}
}

void move_fill(const struct broker *b, uint32_t set, struct move_info *ret_info)
{
	const struct set_slot *slot = &b->set_slots[set];

	*ret_info = (struct move_info){
		.token = {{slot->move[0], slot->move[1]}},
		.set = {set_name_of(b, set)},
		.state = set_move(b, set),
		.ending = set_state(b, set) != SET_ACTIVE && !set_is_emptying(b, set),
		.mode = set_mode(b, set),
		.uid = slot->uid,
		.quota = slot->quota,
		.scopes = slot->scopes,
		.grants = b->sets[set].active,
		.proof = slot->move_proof,
	};
	memcpy(ret_info->name, slot->name, STATE_NAME_MAX);
}

int broker_move_get(struct broker *b, const struct actor *actor, const struct move_token *token,
	struct move_info *ret_info, struct error *ret_error)
{
	const uint32_t set = move_find(b, token);
	int r = move_check_admin(actor, ret_error);

	if (r)
		return r;
	if (set == STATE_NONE)
		return move_refuse_unknown(ret_error);
	move_fill(b, set, ret_info);
	return 0;
}

int broker_move_of_set(struct broker *b, const struct actor *actor, struct set_id id,
	struct move_info *ret_info, struct error *ret_error)
{
	uint32_t set;
	int r = move_check_admin(actor, ret_error);

	if (r == 0)
		r = set_for_reading(b, actor, id, &set, ret_error);
	if (r)
		return r;
	if (set_move(b, set) == MOVE_NONE)
		return move_refuse_unknown(ret_error);
	move_fill(b, set, ret_info);
	return 0;
}

bool broker_move_next(
	struct broker *b, const struct actor *actor, uint64_t *cursor, struct move_info *ret_info)
{
	if (actor->role != ROLE_ADMIN)
		*cursor = BROKER_END;
	for (; *cursor < b->set_pool.used; (*cursor)++) {
		const uint32_t set = (uint32_t)*cursor;

		if (set_move(b, set) == MOVE_NONE || set_move(b, set) == MOVE_TAKEN)
			continue;
		move_fill(b, set, ret_info);
		(*cursor)++;
		return true;
	}
	*cursor = BROKER_END;
	return false;
}

/* ------------------------------------------------------------------ the source */

int broker_move_export(struct broker *b, const struct actor *actor, struct set_id id,
	const struct move_token *fresh, struct move_info *ret_info, struct error *ret_error)
{
	struct set_slot *slot;
	uint32_t set;
	int r = move_check_admin(actor, ret_error);

	if (r == 0)
		r = set_for_reading(b, actor, id, &set, ret_error);
	if (r)
		return r;
	slot = &b->set_slots[set];
	if (set_move(b, set) == MOVE_COMING || set_move(b, set) == MOVE_RESERVED)
		return move_refuse(b, set, false, ret_error);
	if (set_move(b, set) == MOVE_NONE || set_move(b, set) == MOVE_TAKEN) {
		if (set_state(b, set) != SET_ACTIVE)
			return set_refuse_ending(b, set, ret_error);
		broker_commit(b, &slot->move[0], fresh->v[0]);
		broker_commit(b, &slot->move[1], fresh->v[1]);
		broker_commit(b, &slot->move_proof, 0);
		move_commit_state(b, set, MOVE_LEAVING);
		broker_change(b, CHANGE_SET_LEAVING, set, STATE_NONE, STATE_NONE);
	}
	move_fill(b, set, ret_info);
	move_sum(b, set, ret_info);
	return 0;
}

/* What was attached here would go on reaching memory that the VM has elsewhere by then. */
static int commit_check_idle(const struct broker *b, uint32_t set, struct error *ret_error)
{
	const struct set *run = &b->sets[set];

	if (run->ops)
		return error_set_limit(ret_error, REASON_BUSY, set_name_of(b, set), 0, run->ops,
			"%u operations of set '%.*s' are under way; give it when they are over",
			run->ops, SET_NAME(b, set));
	if (run->bindings)
		return error_set_limit(ret_error, REASON_SET_BOUND, set_name_of(b, set), 0,
			run->bindings,
			"%u bindings of set '%.*s' are, or may be, attached to devices of this "
			"host; let its VMM unbind all and detach its RIDs before the set is given",
			run->bindings, SET_NAME(b, set));
	return 0;
}

static int commit_check_content(const struct broker *b, uint32_t set, uint32_t grants, uint64_t sum,
	struct error *ret_error)
{
	struct move_info info;

	move_sum(b, set, &info);
	if (info.grants == grants && info.sum == sum)
		return 0;
	return error_set_limit(ret_error, REASON_MOVE_CONTENT, set_name_of(b, set), info.grants,
		grants,
		"the target has reserved something else (%u numbers) than set '%.*s' has (%u); "
		"cancel the move and begin it anew",
		grants, SET_NAME(b, set), info.grants);
}

static int commit_check(const struct broker *b, uint32_t set, uint32_t grants, uint64_t sum,
	struct error *ret_error)
{
	int r;

	if (set_move(b, set) != MOVE_LEAVING)
		return move_refuse_step(
			b, set, "given", "it is at its source that a set is given", ret_error);
	r = commit_check_idle(b, set, ret_error);
	return r ? r : commit_check_content(b, set, grants, sum, ret_error);
}

int broker_move_commit(struct broker *b, const struct actor *actor, const struct move_token *token,
	uint64_t proof, uint32_t grants, uint64_t sum, struct error *ret_error)
{
	const uint32_t set = move_find(b, token);
	int r = move_check_admin(actor, ret_error);

	if (r)
		return r;
	if (set == STATE_NONE)
		return move_refuse_unknown(ret_error);
	if (set_move(b, set) == MOVE_GIVEN) {
		if (b->set_slots[set].move_proof == proof)
			return 0;
		return error_set_limit(ret_error, REASON_MOVE_WORD, set_name_of(b, set), 0, 0,
			"set '%.*s' was given to another target than this one; finish the move "
			"with that one",
			SET_NAME(b, set));
	}
	r = commit_check(b, set, grants, sum, ret_error);
	if (r)
		return r;
	broker_commit(b, &b->set_slots[set].move_proof, proof);
	move_commit_state(b, set, MOVE_GIVEN);
	broker_change(b, CHANGE_SET_GIVEN, set, STATE_NONE, STATE_NONE);
	return 0;
}

int broker_move_keep(struct broker *b, const struct actor *actor, const struct move_token *token,
	struct error *ret_error)
{
	const uint32_t set = move_find(b, token);
	int r = move_check_admin(actor, ret_error);

	if (r)
		return r;
	if (set == STATE_NONE)
		return 0;
	if (set_move(b, set) != MOVE_LEAVING)
		return move_refuse_step(b, set, "kept",
			"finish the move; a set that was given comes back by another one",
			ret_error);
	move_end(b, set);
	return 0;
}

int broker_move_release(struct broker *b, const struct actor *actor, const struct move_token *token,
	uint64_t proof, bool force, struct error *ret_error)
{
	const uint32_t set = move_find(b, token);
	int r = move_check_admin(actor, ret_error);

	if (r || set == STATE_NONE)
		return r;
	if (set_move(b, set) != MOVE_GIVEN)
		return move_refuse_step(
			b, set, "released", "it is released once the target has it", ret_error);
	if (!force && b->set_slots[set].move_proof != proof)
		return move_refuse_word(b, set, "it has taken", ret_error);
	if (set_is_emptying(b, set))
		set_take_over_end(b, set, 0);
	else if (set_state(b, set) == SET_ACTIVE)
		set_begin_end(b, set, op_new_duty(b, OP_DESTROY, set, 0));
	return 0;
}

/* ------------------------------------------------------------------ the recount */

int move_check_set(const struct broker *b, uint32_t set, struct error *ret_error)
{
	const enum set_move move = set_move(b, set);
	const struct set *run = &b->sets[set];
	const bool coming = move == MOVE_COMING || move == MOVE_RESERVED;
	const char *what = NULL;

	if ((coming || move == MOVE_LEAVING) && set_state(b, set) != SET_ACTIVE)
		what = "a set that ends is under way to another host";
	else if ((coming || move == MOVE_GIVEN) && run->bindings)
		what = "a set is bound that is another host's";
	else if (coming && (run->devices || run->ops))
		what = "a set that comes from another host is used before it is taken";
	if (!what)
		return 0;
	return error_set_limit(ret_error, REASON_INTERNAL, set, 0, 0,
		"the recount contradicts the records: M: %s (%u)", what, set);
}
