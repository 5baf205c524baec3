/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "state_check_private.h"

static bool state_has_grant(const struct state_checking *c, uint32_t grant)
{
	return grant < c->used[STATE_GRANTS] && c->grants[grant].word != 0;
}

static int state_check_tie(const struct state_checking *c, uint32_t i)
{
	const struct tie_slot *tie = &c->ties[i];
	const unsigned kind = STATE_WORD_KIND(tie->word);
	int r = state_check_state(c, STATE_TIES, i, tie->word, TIE_MADE);

	if (r != 0)
		return r;
	if (kind < TIE_OWNER || kind > TIE_PARTICIPANT)
		return state_check_fail(c, STATE_TIES, i, tie->word, "there is no kind %u", kind);
	if (kind == TIE_PARTICIPANT)
		return tie->grant == STATE_NONE && tie->to != 0
			       ? 0
			       : state_check_fail(c, STATE_TIES, i, tie->grant,
					 "a participant is a session, and of no grant");
	if (!state_has_grant(c, tie->grant))
		return state_check_fail(
			c, STATE_TIES, i, tie->grant, "there is no grant in slot %u", tie->grant);
	return 0;
}

/* ------------------------------------------------------------------ holds */

static bool state_is_hold(const struct tie_slot *tie)
{
	return tie->word != 0 && STATE_WORD_KIND(tie->word) == TIE_HOLD;
}

static int state_compare_holds(const struct state_checking *c, uint32_t a, uint32_t b)
{
	const struct tie_slot *left = &c->ties[a], *right = &c->ties[b];

	if (left->grant != right->grant)
		return left->grant < right->grant ? -1 : 1;
	return (left->to > right->to) - (left->to < right->to);
}

static int state_check_hold(const struct state_checking *c, uint32_t i)
{
	const struct tie_slot *tie = &c->ties[i];
	const uint32_t times = (uint32_t)(tie->word >> TIE_TIMES_SHIFT) & 0xffff;

	if (times == 0)
		return state_check_fail(
			c, STATE_TIES, i, tie->word, "a session holds a number at least once");
	if (tie->to == 0)
		return state_check_fail(c, STATE_TIES, i, tie->to, "no session has the id 0");
	c->starts[tie->grant] += times;
	return 0;
}

/* A session has one record for a number, and those of a number are as many as it says. */
static int state_check_holds(const struct state_checking *c)
{
	uint32_t holds = 0, slot;
	int r = 0;

	memset(c->starts, 0, c->used[STATE_GRANTS] * sizeof(*c->starts));
	for (uint32_t i = 0; i < c->used[STATE_TIES] && r == 0; i++) {
		if (!state_is_hold(&c->ties[i]))
			continue;
		r = state_check_hold(c, i);
		c->keys[holds++] = i;
	}
	if (r != 0)
		return r;
	if (!state_check_differ(c, c->keys, holds, state_compare_holds, &slot))
		return state_check_fail(c, STATE_TIES, slot, c->ties[slot].to,
			"the same session holds the number in another record");
	for (uint32_t i = 0; i < c->used[STATE_GRANTS]; i++) {
		const uint64_t word = c->grants[i].word;

		if (word != 0 && word >> GRANT_HOLD_SHIFT != c->starts[i])
			return state_check_fail(c, STATE_GRANTS, i, word,
				"it is held %u times, and by sessions %u times",
				(uint32_t)(word >> GRANT_HOLD_SHIFT), c->starts[i]);
	}
	return 0;
}

/* ------------------------------------------------------------------ claims */

static int state_compare_claims(const struct state_checking *c, uint32_t a, uint32_t b)
{
	const uint32_t host_a = state_host_of(c->grants[c->ties[a].grant].word);
	const uint32_t host_b = state_host_of(c->grants[c->ties[b].grant].word);

	if (c->ties[a].to != c->ties[b].to)
		return c->ties[a].to < c->ties[b].to ? -1 : 1;
	return host_a < host_b ? -1 : host_a > host_b;
}

static int state_check_claim(const struct state_checking *c, uint32_t i)
{
	const struct tie_slot *tie = &c->ties[i];

	if (!(c->grants[tie->grant].word & GRANT_RIDS))
		return state_check_fail(c, STATE_TIES, i, tie->grant,
			"the grant in slot %u is of scope global", tie->grant);
	if (tie->to > UINT32_MAX)
		return state_check_fail(c, STATE_TIES, i, tie->to, "that is no IOMMU group");
	if (++c->starts[tie->grant] > TIE_OWNERS_MAX)
		return state_check_fail(c, STATE_TIES, i, tie->grant,
			"a number is for %u IOMMU groups at most", TIE_OWNERS_MAX);
	return 0;
}

/* Each number of scope rids is for some group, and in none of them another's. */
static int state_check_claims(const struct state_checking *c)
{
	uint32_t claims = 0, slot;
	int r = 0;

	memset(c->starts, 0, c->used[STATE_GRANTS] * sizeof(*c->starts));
	for (uint32_t i = 0; i < c->used[STATE_TIES] && r == 0; i++) {
		if (c->ties[i].word == 0 || STATE_WORD_KIND(c->ties[i].word) != TIE_OWNER)
			continue;
		c->keys[claims++] = i;
		r = state_check_claim(c, i);
	}
	for (uint32_t i = 0; i < c->used[STATE_GRANTS] && r == 0; i++)
		if ((c->grants[i].word & GRANT_RIDS) && c->starts[i] == 0)
			r = state_check_fail(c, STATE_GRANTS, i, c->grants[i].word,
				"a number of scope rids is for no IOMMU group");
	if (r == 0 && !state_check_differ(c, c->keys, claims, state_compare_claims, &slot))
		r = state_check_fail(c, STATE_TIES, slot, c->ties[slot].to,
			"another one has the same number in the same IOMMU group");
	return r;
}

/* ------------------------------------------------------------------ participants */

/* Each has an index of its own, and a number waits for none that is not there. */
static int state_check_participants(const struct state_checking *c)
{
	uint32_t there = 0;

	for (uint32_t i = 0; i < c->used[STATE_TIES]; i++) {
		const uint64_t word = c->ties[i].word;

		if (word == 0 || STATE_WORD_KIND(word) != TIE_PARTICIPANT)
			continue;
		if (there >> tie_index(word) & 1)
			return state_check_fail(
				c, STATE_TIES, i, word, "another participant has the same index");
		there |= 1u << tie_index(word);
	}
	for (uint32_t i = 0; i < c->used[STATE_GRANTS]; i++) {
		const uint64_t word = c->grants[i].word;

		if (STATE_WORD_STATE(word) >= GRANT_FREE_PENDING &&
			(uint32_t)(word >> GRANT_AWAIT_SHIFT & GRANT_AWAIT_MASK) & ~there)
			return state_check_fail(c, STATE_GRANTS, i, word,
				"it waits for a participant that is not there");
	}
	return 0;
}

/* ------------------------------------------------------------------ all */

int state_check_ties(const struct state_checking *c)
{
	int r = 0;

	for (uint32_t i = 0; i < c->used[STATE_TIES] && r == 0; i++)
		r = c->ties[i].word == 0 ? 0 : state_check_tie(c, i);
	if (r == 0)
		r = state_check_holds(c);
	if (r == 0)
		r = state_check_claims(c);
	return r == 0 ? state_check_participants(c) : r;
}
