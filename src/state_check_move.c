/* SPDX-License-Identifier: MIT */
/* The check of sets that are under way between two hosts. */
#include "state_check_private.h"

static enum set_move state_move_of(const struct state_checking *c, uint32_t set)
{
	return (enum set_move)((c->sets[set].word & SET_MOVE_MASK) >> SET_MOVE_SHIFT);
}

static int state_compare_moves(const struct state_checking *c, uint32_t a, uint32_t b)
{
	const uint64_t *left = c->sets[a].move, *right = c->sets[b].move;

	if (left[0] != right[0])
		return left[0] < right[0] ? -1 : 1;
	return left[1] < right[1] ? -1 : left[1] > right[1];
}

/* Its numbers are another host's, or may become so: nothing of it is attached here. */
static bool state_is_elsewhere(enum set_move move)
{
	return move == MOVE_GIVEN || move == MOVE_COMING || move == MOVE_RESERVED;
}

static int state_check_move(const struct state_checking *c, uint32_t set)
{
	const enum set_move move = state_move_of(c, set);
	const uint64_t word = c->sets[set].word;

	if (move > MOVE_TAKEN)
		return state_check_fail(
			c, STATE_SETS, set, word, "there is no state %u of a move", (unsigned)move);
	if (c->sets[set].move[0] == 0 && c->sets[set].move[1] == 0)
		return state_check_fail(
			c, STATE_SETS, set, word, "a set is under way with a move without a name");
	if (STATE_WORD_STATE(word) != SET_ACTIVE && move != MOVE_GIVEN && move != MOVE_TAKEN)
		return state_check_fail(
			c, STATE_SETS, set, word, "a set that ends is under way to another host");
	return 0;
}

int state_check_moves(const struct state_checking *c)
{
	uint32_t moved = 0, slot;

	for (uint32_t i = 0; i < c->used[STATE_SETS]; i++) {
		int r;

		if (c->sets[i].word == 0 || state_move_of(c, i) == MOVE_NONE)
			continue;
		r = state_check_move(c, i);
		if (r != 0)
			return r;
		c->keys[moved++] = i;
	}
	if (!state_check_differ(c, c->keys, moved, state_compare_moves, &slot))
		return state_check_fail(c, STATE_SETS, slot, c->sets[slot].move[0],
			"another set is under way with the same move");
	for (uint32_t i = 0; i < c->used[STATE_BINDINGS]; i++) {
		const struct binding_slot *binding = &c->bindings[i];

		if (binding->word != 0 && STATE_WORD_STATE(binding->word) != BINDING_DRAINING &&
			state_is_elsewhere(state_move_of(c, binding->set)))
			return state_check_fail(c, STATE_BINDINGS, i, binding->set,
				"it belongs to a set that is another host's");
	}
	for (uint32_t i = 0; i < c->used[STATE_DEVICES]; i++) {
		const uint32_t set = c->devices[i].set;

		if (c->devices[i].word != 0 && set != STATE_NONE &&
			state_is_elsewhere(state_move_of(c, set)) &&
			state_move_of(c, set) != MOVE_GIVEN)
			return state_check_fail(c, STATE_DEVICES, i, set,
				"it belongs to a set that is not taken yet");
	}
	return 0;
}
