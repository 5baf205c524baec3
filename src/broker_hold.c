/* SPDX-License-Identifier: MIT */
/*
 * Holds: references of sessions to numbers, which are not reclaimed while one lasts (invariant H).
 *
 * A record for each session and number says how often; their sum is in the grant's word. The
 * records of a number are a list (next), those of a session another one (peer, prev). A hold ends
 * with its session, not with the set of the number: what another session refers to stays in
 * quarantine.
 */
#include "broker_private.h"

#include <assert.h>
#include <string.h>

#define HOLD_ONE (UINT64_C(1) << GRANT_HOLD_SHIFT)

static uint32_t hold_times(const struct tie_slot *tie)
{
	return (uint32_t)(tie->word >> TIE_TIMES_SHIFT) & GRANT_HOLDS_MAX;
}

static bool tie_is_hold(const struct broker *b, uint32_t tie)
{
	return b->tie_slots[tie].word && STATE_WORD_KIND(b->tie_slots[tie].word) == TIE_HOLD;
}

/* ------------------------------------------------------------------ who holds something */

static uint32_t *holder_bucket(const struct broker *b, uint64_t session)
{
	return &b->holder_of[session % BROKER_BUCKETS];
}

static uint32_t holder_find(const struct broker *b, uint64_t session)
{
	uint32_t holder = *holder_bucket(b, session);

	while (holder != STATE_NONE && b->holders[holder].session != session)
		holder = b->holders[holder].next;
	return holder;
}

static int holder_open(struct broker *b, uint64_t session, uint32_t uid, uint32_t *ret_holder,
	struct error *ret_error)
{
	uint32_t *bucket = holder_bucket(b, session), holder = b->holder_free, user;
	int r;

	if (holder == STATE_NONE && b->holder_used == b->holder_capacity)
		return error_set(ret_error, REASON_LIMIT,
			"as many sessions as there can be hold PASIDs; release some, or end one");
	r = limits_user_open(b->ports.limits, uid, &user, ret_error);
	if (r)
		return r;
	if (holder == STATE_NONE)
		holder = b->holder_used++;
	else
		b->holder_free = b->holders[holder].next;
	b->holders[holder] = (struct holder){session, STATE_NONE, 0, user, *bucket};
	*bucket = holder;
	*ret_holder = holder;
	return 0;
}

/* One that holds nothing any more. */
static void holder_close(struct broker *b, uint32_t holder)
{
	uint32_t *link = holder_bucket(b, b->holders[holder].session);

	if (b->holders[holder].count)
		return;
	while (*link != holder)
		link = &b->holders[*link].next;
	*link = b->holders[holder].next;
	limits_user_close(b->ports.limits, b->holders[holder].user);
	b->holders[holder] = (struct holder){.next = b->holder_free};
	b->holder_free = holder;
}

/* ------------------------------------------------------------------ lists */

static void hold_link(struct broker *b, uint32_t holder, uint32_t tie)
{
	struct tie_slot *slot = &b->tie_slots[tie];
	struct holder *run = &b->holders[holder];

	slot->next = b->first_tie[slot->grant] - 1; /* 0 is none */
	b->first_tie[slot->grant] = tie + 1;
	slot->prev = STATE_NONE;
	slot->peer = run->first;
	if (run->first != STATE_NONE)
		b->tie_slots[run->first].prev = tie;
	run->first = tie;
	run->count++;
}

static void hold_unlink(struct broker *b, uint32_t holder, uint32_t tie)
{
	struct tie_slot *slot = &b->tie_slots[tie];
	struct holder *run = &b->holders[holder];
	uint32_t i = b->first_tie[slot->grant] - 1;

	if (i == tie) {
		b->first_tie[slot->grant] = slot->next + 1;
	} else {
		while (b->tie_slots[i].next != tie)
			i = b->tie_slots[i].next;
		b->tie_slots[i].next = slot->next;
	}
	if (slot->prev == STATE_NONE)
		run->first = slot->peer;
	else
		b->tie_slots[slot->prev].peer = slot->peer;
	if (slot->peer != STATE_NONE)
		b->tie_slots[slot->peer].prev = slot->prev;
	run->count--;
}

/* The session's hold on the number, and how many sessions have one. */
static uint32_t hold_find(
	const struct broker *b, uint64_t session, uint32_t grant, uint32_t *ret_holders)
{
	uint32_t found = STATE_NONE;

	*ret_holders = 0;
	for (uint32_t i = b->first_tie[grant] - 1; i != STATE_NONE; i = b->tie_slots[i].next) {
		if (!tie_is_hold(b, i))
			continue;
		(*ret_holders)++;
		if (b->tie_slots[i].to == session)
			found = i;
	}
	return found;
}

/* ------------------------------------------------------------------ one hold more, one less */

static void hold_count(struct broker *b, uint32_t grant, uint32_t tie, uint32_t n, bool more)
{
	uint64_t *word = &b->grant_slots[grant].word, *times = &b->tie_slots[tie].word;

	broker_commit(b, word, more ? *word + n * HOLD_ONE : *word - n * HOLD_ONE);
	if (more)
		broker_commit(b, times, *times + ((uint64_t)n << TIE_TIMES_SHIFT));
	else if (hold_times(&b->tie_slots[tie]) > n)
		broker_commit(b, times, *times - ((uint64_t)n << TIE_TIMES_SHIFT));
	else
		broker_commit(b, times, 0);
	broker_change(b, more ? CHANGE_GRANT_HELD : CHANGE_GRANT_LET_GO, b->grant_slots[grant].set,
		grant, STATE_NONE);
}

/* Some of the times that a session holds a number, or all; what nobody uses any more is reclaimed.
 */
static void hold_drop(struct broker *b, uint32_t holder, uint32_t tie, uint32_t n)
{
	const uint32_t grant = b->tie_slots[tie].grant;

	hold_count(b, grant, tie, n, false);
	if (b->tie_slots[tie].word == 0) {
		hold_unlink(b, holder, tie);
		pool_give(&b->tie_pool, tie);
		limits_release(b->ports.limits, NULL, b->holders[holder].user, RESOURCE_HOLDS, 1);
	}
	grant_settle(b, grant);
	grant_requeue(b, grant);
}

static int hold_make(struct broker *b, const struct actor *actor, uint32_t holder, uint32_t grant,
	uint32_t *ret_tie, struct error *ret_error)
{
	struct holder *run = &b->holders[holder];
	const uint32_t uid = limits_user_uid(b->ports.limits, run->user);
	const uint64_t own = actor->role == ROLE_VMM ? TIE_WORD_OWN : 0;
	struct tie_slot *slot;
	uint32_t tie;
	int r;

	if (run->count >= BROKER_HOLDS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, actor->session, BROKER_HOLDS_MAX,
			run->count, "a session holds up to %u PASIDs; release one",
			BROKER_HOLDS_MAX);
	r = limits_charge(b->ports.limits, NULL, run->user, RESOURCE_HOLDS, 1, ret_error);
	if (r)
		return r;
	if (pool_take(b, &b->tie_pool, &tie)) {
		limits_release(b->ports.limits, NULL, run->user, RESOURCE_HOLDS, 1);
		return pool_refuse(&b->tie_pool, "hold", "release one", ret_error);
	}
	slot = &b->tie_slots[tie];
	broker_clear_slot(b, slot, sizeof(*slot));
	broker_commit(b, &slot->to, actor->session);
	state_commit32(b->ports.state, &slot->grant, grant);
	broker_commit(b, &slot->word, TIE_MADE | (uint64_t)TIE_HOLD << 4 | own | tie_of_user(uid));
	hold_link(b, holder, tie);
	*ret_tie = tie;
	return 0;
}

/* ------------------------------------------------------------------ requests */

/* A number that is in use, of a set that the actor may refer to. */
static int hold_resolve(struct broker *b, const struct actor *actor, struct set_id id,
	struct hpasid host, uint32_t *ret_grant, struct error *ret_error)
{
	uint32_t set, grant;
	int r;

	if (actor->role == ROLE_OBSERVER)
		return error_set(ret_error, REASON_ROLE,
			"an observer holds nothing; connect as VMM, participant or admin");
	r = set_for_reading(b, actor, id, &set, ret_error);
	if (r)
		return r;
	if (set_state(b, set) != SET_ACTIVE)
		return set_refuse_ending(b, set, ret_error);
	r = move_refuse(b, set, false, ret_error);
	if (r == 0)
		r = grant_resolve(b, set, (struct pasid_ref){.number = host.v}, &grant, ret_error);
	if (r)
		return r;
	if (grant_state(&b->grant_slots[grant]) != GRANT_ACTIVE)
		return error_set_limit(ret_error, REASON_NOT_ACTIVE, host.v, 0, 0,
			"PASID %u of set '%.*s' was freed already", host.v, SET_NAME(b, set));
	if (grant_holds(&b->grant_slots[grant]) == GRANT_HOLDS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, host.v, GRANT_HOLDS_MAX,
			GRANT_HOLDS_MAX, "PASID %u is held %u times, the most there can be", host.v,
			GRANT_HOLDS_MAX);
	*ret_grant = grant;
	return 0;
}

/* Who is charged: for a VMM whoever is for its set. */
static uint32_t hold_uid(const struct broker *b, const struct actor *actor, uint32_t grant)
{
	if (actor->role == ROLE_VMM)
		return b->set_slots[b->grant_slots[grant].set].uid;
	return actor->peer ? actor->peer->uid : 0;
}

static int hold_first(struct broker *b, const struct actor *actor, uint32_t grant,
	uint32_t *ret_tie, struct error *ret_error)
{
	uint32_t holder = holder_find(b, actor->session);
	int r = 0;

	if (holder == STATE_NONE)
		r = holder_open(b, actor->session, hold_uid(b, actor, grant), &holder, ret_error);
	if (r)
		return r;
	r = hold_make(b, actor, holder, grant, ret_tie, ret_error);
	if (r)
		holder_close(b, holder);
	return r;
}

int broker_hold(struct broker *b, const struct actor *actor, struct set_id id, struct hpasid host,
	struct error *ret_error)
{
	uint32_t grant = STATE_NONE, holders, tie; /* gcc does not see that it is set */
	int r = hold_resolve(b, actor, id, host, &grant, ret_error);

	if (r)
		return r;
	tie = hold_find(b, actor->session, grant, &holders);
	if (tie == STATE_NONE && holders >= BROKER_HOLDERS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, host.v, BROKER_HOLDERS_MAX, holders,
			"PASID %u is held by %u sessions, the most there can be", host.v, holders);
	if (tie == STATE_NONE)
		r = hold_first(b, actor, grant, &tie, ret_error);
	if (r)
		return r;
	hold_count(b, grant, tie, 1, true);
	return 0;
}

/* What it holds, a session may let go of, whatever has become of the set. */
int broker_release(struct broker *b, const struct actor *actor, struct set_id id,
	struct hpasid host, struct error *ret_error)
{
	uint32_t set = STATE_NONE, grant = STATE_NONE, tie, holder, holders;
	int r;

	if (actor->role == ROLE_OBSERVER)
		return error_set(ret_error, REASON_ROLE, "an observer holds nothing");
	r = set_for_reading(b, actor, id, &set, ret_error);
	if (r)
		return r;
	r = grant_resolve(b, set, (struct pasid_ref){.number = host.v}, &grant, ret_error);
	if (r)
		return r;
	tie = hold_find(b, actor->session, grant, &holders);
	if (tie == STATE_NONE)
		return error_set_limit(ret_error, REASON_NOT_HELD, host.v, 0, 0,
			"PASID %u is not held by this session", host.v);
	holder = holder_find(b, actor->session);
	hold_drop(b, holder, tie, 1);
	holder_close(b, holder);
	return 0;
}

void hold_end_session(struct broker *b, uint64_t session)
{
	const uint32_t holder = holder_find(b, session);

	if (holder == STATE_NONE)
		return;
	while (b->holders[holder].first != STATE_NONE) {
		const uint32_t tie = b->holders[holder].first;

		hold_drop(b, holder, tie, hold_times(&b->tie_slots[tie]));
	}
	holder_close(b, holder);
}

void hold_drop_own(struct broker *b, uint32_t grant)
{
	uint32_t next, holder;

	for (uint32_t i = b->first_tie[grant] - 1; i != STATE_NONE; i = next) {
		next = b->tie_slots[i].next;
		if (!tie_is_hold(b, i) || !(b->tie_slots[i].word & TIE_WORD_OWN))
			continue;
		holder = holder_find(b, b->tie_slots[i].to);
		hold_drop(b, holder, i, hold_times(&b->tie_slots[i]));
		holder_close(b, holder);
	}
}

/* ------------------------------------------------------------------ looking */

static void hold_fill_info(const struct broker *b, uint32_t tie, struct hold_info *ret_info)
{
	const struct tie_slot *slot = &b->tie_slots[tie];
	const struct grant_slot *grant = &b->grant_slots[slot->grant];

	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->session = slot->to;
	ret_info->times = hold_times(slot);
	ret_info->uid = tie_user(slot->word);
	ret_info->host.v = grant_host(grant);
	ret_info->state = grant_state(grant);
	ret_info->set.v = set_name_of(b, grant->set);
	memcpy(ret_info->set_name, b->set_slots[grant->set].name, STATE_NAME_MAX);
}

bool broker_hold_next(struct broker *b, const struct actor *actor, struct set_id id,
	uint64_t *cursor, struct hold_info *ret_info)
{
	const bool all = actor->role == ROLE_ADMIN || actor->role == ROLE_OBSERVER;
	uint32_t set = STATE_NONE, n = 0;
	struct error ignored;

	if ((!all && holder_find(b, actor->session) == STATE_NONE) ||
		(id.v && set_for_reading(b, actor, id, &set, &ignored)))
		*cursor = BROKER_END;
	for (; *cursor < b->tie_pool.used && n < BROKER_WORK_MAX; (*cursor)++, n++) {
		const uint32_t tie = (uint32_t)*cursor;

		if (!tie_is_hold(b, tie) || (!all && b->tie_slots[tie].to != actor->session) ||
			(set != STATE_NONE && b->grant_slots[b->tie_slots[tie].grant].set != set))
			continue;
		hold_fill_info(b, tie, ret_info);
		(*cursor)++;
		return true;
	}
	*cursor = *cursor < b->tie_pool.used ? *cursor : BROKER_END;
	return false;
}

bool hold_next_session(const struct broker *b, uint64_t *cursor, uint64_t *ret_session)
{
	if (*cursor < BROKER_PARTICIPANTS && participant_next_session(b, cursor, ret_session))
		return true;
	while (*cursor - BROKER_PARTICIPANTS < b->holder_used) {
		const struct holder *holder = &b->holders[(*cursor)++ - BROKER_PARTICIPANTS];

		if (holder->session == 0)
			continue;
		*ret_session = holder->session;
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------ recovery, recount */

int hold_recover(struct broker *b, struct error *ret_error)
{
	for (uint32_t i = 0; i < b->tie_pool.used; i++) {
		const struct tie_slot *slot = &b->tie_slots[i];
		uint32_t holder;
		int r = 0;

		if (!tie_is_hold(b, i))
			continue;
		holder = holder_find(b, slot->to);
		if (holder == STATE_NONE)
			r = holder_open(b, slot->to, tie_user(slot->word), &holder, ret_error);
		if (r)
			return r;
		hold_link(b, holder, i);
		limits_charge_anyway(
			b->ports.limits, NULL, b->holders[holder].user, RESOURCE_HOLDS, 1);
	}
	return 0;
}

int hold_check_grant(const struct broker *b, uint32_t grant, struct error *ret_error)
{
	uint64_t sum = 0;

	for (uint32_t i = b->first_tie[grant] - 1; i != STATE_NONE; i = b->tie_slots[i].next) {
		if (b->tie_slots[i].word == 0 || b->tie_slots[i].grant != grant)
			return recount_wrong(ret_error, "H: a hold and its number disagree", i);
		sum += tie_is_hold(b, i) ? hold_times(&b->tie_slots[i]) : 0;
	}
	if (sum != grant_holds(&b->grant_slots[grant]))
		return recount_wrong(
			ret_error, "H: holds of a number", grant_host(&b->grant_slots[grant]));
	return 0;
}

int hold_check(const struct broker *b, struct error *ret_error)
{
	uint32_t records = 0, listed = 0;

	for (uint32_t i = 0; i < b->tie_pool.used; i++)
		records += tie_is_hold(b, i);
	for (uint32_t h = 0; h < b->holder_used; h++) {
		const struct holder *holder = &b->holders[h];
		uint32_t count = 0;

		if (holder->session == 0)
			continue;
		for (uint32_t i = holder->first; i != STATE_NONE; i = b->tie_slots[i].peer)
			count += tie_is_hold(b, i) && b->tie_slots[i].to == holder->session;
		if (count != holder->count || count == 0)
			return recount_wrong(ret_error, "H: holds of a session", holder->session);
		b->user_scratch[(size_t)holder->user * RESOURCE_COUNT + RESOURCE_HOLDS] += count;
		listed += count;
	}
	return records == listed
		       ? 0
		       : recount_wrong(ret_error, "H: holds that no session has", records);
}
