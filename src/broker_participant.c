/* SPDX-License-Identifier: MIT */
/*
 * Participants: sessions whose acknowledgement of each free is awaited before the number can be
 * anybody's again (F22). Unbinds that wait for them are in broker_await.c.
 *
 * There are up to 16, each with an index and a record. A number that is freed has no guest PASID
 * any more, so the bits of that say whom it waits for. A participant that leaves keeps its index
 * until no number waits for it: a bounded number of them is looked at in each tick.
 */
#include "broker_private.h"

static uint32_t participant_index(const struct broker *b, uint64_t session)
{
	for (uint32_t i = 0; i < BROKER_PARTICIPANTS; i++) {
		if (b->participants[i].session == session && !(b->leaving >> i & 1))
			return i;
	}
	return BROKER_PARTICIPANTS;
}

static uint32_t participant_free_index(const struct broker *b)
{
	uint32_t i = 0;

	while (i < BROKER_PARTICIPANTS && b->participants[i].session)
		i++;
	return i;
}

static int participant_make(
	struct broker *b, const struct actor *actor, uint32_t index, struct error *ret_error)
{
	struct tie_slot *slot;
	uint32_t tie;

	if (pool_take(b, &b->tie_pool, &tie))
		return pool_refuse(&b->tie_pool, "participant", "release a hold", ret_error);
	slot = &b->tie_slots[tie];
	broker_clear_slot(b, slot, sizeof(*slot));
	broker_commit(b, &slot->to, actor->session);
	state_commit32(b->ports.state, &slot->grant, STATE_NONE);
	broker_commit(b, &slot->word,
		TIE_MADE | (uint64_t)TIE_PARTICIPANT << 4 | (uint64_t)index << TIE_INDEX_SHIFT);
	b->participants[index] = (struct participant){.session = actor->session, .tie = tie};
	b->awaited |= 1u << index;
	return 0;
}

int broker_participate(struct broker *b, const struct actor *actor, struct error *ret_error)
{
	uint32_t index;

	if (actor->role != ROLE_PARTICIPANT)
		return error_set(ret_error, REASON_ROLE,
			"only a participant acknowledges; connect in that role, as a user that "
			"roles.participants names");
	if (participant_index(b, actor->session) < BROKER_PARTICIPANTS)
		return 0;
	index = participant_free_index(b);
	if (index == BROKER_PARTICIPANTS)
		return error_set_limit(ret_error, REASON_LIMIT, actor->session, BROKER_PARTICIPANTS,
			BROKER_PARTICIPANTS,
			"%u participants acknowledge already, the most there can be; end one",
			BROKER_PARTICIPANTS);
	return participant_make(b, actor, index, ret_error);
}

/* None of these is waited for by the number any more. */
static void grant_acknowledge(struct broker *b, uint32_t grant, uint32_t mask)
{
	struct grant_slot *slot = &b->grant_slots[grant];

	if (!(grant_awaits(slot) & mask))
		return;
	broker_commit(b, &slot->word, slot->word & ~((uint64_t)mask << GRANT_AWAIT_SHIFT));
	if (grant_awaits(slot))
		return;
	broker_change(b, CHANGE_GRANT_ACKNOWLEDGED, slot->set, grant, STATE_NONE);
	grant_requeue(b, grant);
}

void participant_waive(struct broker *b, uint32_t grant)
{
	grant_acknowledge(b, grant, GRANT_AWAIT_MASK);
}

static int acknowledge_check(const struct actor *actor, const struct hpasid *hosts, size_t count,
	struct error *ret_error)
{
	if (actor->role != ROLE_PARTICIPANT)
		return error_set(ret_error, REASON_ROLE, "only a participant acknowledges");
	for (size_t i = 0; i < count; i++) {
		if (hosts[i].v == 0 || hosts[i].v > PASID_LAST)
			return error_set_limit(ret_error, REASON_BAD_RANGE, hosts[i].v, PASID_LAST,
				0, "%u is no PASID that can be granted; they go from 1 to %u",
				hosts[i].v, PASID_LAST);
	}
	return 0;
}

/* Its free, if that was announced by then. */
static bool free_acknowledge(struct broker *b, uint32_t grant, uint32_t mask, uint64_t seen)
{
	if (!(grant_awaits(&b->grant_slots[grant]) & mask) || b->announced[grant] > seen)
		return false;
	grant_acknowledge(b, grant, mask);
	return true;
}

/* Of scope rids it may be several sets', each of which waits; what waits no more may be gone. */
static bool host_acknowledge(struct broker *b, struct hpasid host, uint32_t mask, uint64_t seen)
{
	bool waited = false;
	uint32_t next;

	for (uint32_t g = grant_of_host(b, host.v); g != STATE_NONE; g = next) {
		next = grant_same_number(b, g);
		waited |= await_acknowledge(b, g, mask, seen);
		waited |= free_acknowledge(b, g, mask, seen);
	}
	return waited;
}

int broker_acknowledge(struct broker *b, const struct actor *actor, const struct hpasid *hosts,
	size_t count, uint64_t seen, uint32_t *ret_acknowledged, struct error *ret_error)
{
	const uint32_t index = participant_index(b, actor->session);
	uint32_t acknowledged = 0;
	int r = acknowledge_check(actor, hosts, count, ret_error);

	if (r)
		return r;
	if (index < BROKER_PARTICIPANTS)
		b->late &= ~(1u << index);
	for (size_t i = 0; i < count && index < BROKER_PARTICIPANTS; i++)
		acknowledged +=
			host_acknowledge(b, hosts[i], 1u << index, seen ? seen : b->change_next);
	*ret_acknowledged = acknowledged;
	return 0;
}

/* ------------------------------------------------------------------ ends */

void participant_end_session(struct broker *b, uint64_t session)
{
	const uint32_t index = participant_index(b, session);
	struct tie_slot *slot;

	if (index == BROKER_PARTICIPANTS)
		return;
	slot = &b->tie_slots[b->participants[index].tie];
	broker_commit(b, &slot->word, slot->word | TIE_WORD_LEAVING);
	b->awaited &= ~(1u << index);
	b->leaving |= 1u << index;
	b->late &= ~(1u << index);
	await_forget(b, 1u << index);
}

/* Those that all numbers were looked at for are gone. */
static void sweep_done(struct broker *b)
{
	for (uint32_t i = 0; i < BROKER_PARTICIPANTS; i++) {
		if (!(b->sweeping >> i & 1))
			continue;
		broker_commit(b, &b->tie_slots[b->participants[i].tie].word, 0);
		pool_give(&b->tie_pool, b->participants[i].tie);
		b->participants[i].session = 0;
	}
	b->leaving &= ~b->sweeping;
	b->sweeping = 0;
}

uint64_t participant_next_tick(const struct broker *b)
{
	return b->leaving ? 0 : await_next_tick(b);
}

void participant_tick(struct broker *b)
{
	await_tick(b);
	if (!b->leaving)
		return;
	if (!b->sweeping) {
		b->sweeping = b->leaving;
		b->sweep_at = 0;
	}
	for (uint32_t n = 0; n < BROKER_WORK_MAX && b->sweep_at < b->grant_used; n++)
		grant_acknowledge(b, b->sweep_at++, b->sweeping);
	if (b->sweep_at >= b->grant_used)
		sweep_done(b);
}

bool participant_next_session(const struct broker *b, uint64_t *cursor, uint64_t *ret_session)
{
	while (*cursor < BROKER_PARTICIPANTS) {
		const uint32_t i = (uint32_t)(*cursor)++;

		if (!(b->awaited >> i & 1))
			continue;
		*ret_session = b->participants[i].session;
		return true;
	}
	return false;
}

bool broker_participant_next(
	const struct broker *b, uint32_t *cursor, struct participant_info *ret_info)
{
	while (*cursor < BROKER_PARTICIPANTS) {
		const uint32_t i = (*cursor)++;
		const struct participant *participant = &b->participants[i];

		if (!(b->awaited >> i & 1))
			continue;
		*ret_info = (struct participant_info){
			.session = participant->session,
			.index = i,
			.late = b->late >> i & 1,
			.late_ms = participant->late_ms,
			.missed = participant->missed_count,
			.last = {participant->missed},
		};
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------ recovery, recount */

static bool tie_is_participant(const struct broker *b, uint32_t tie)
{
	return b->tie_slots[tie].word && STATE_WORD_KIND(b->tie_slots[tie].word) == TIE_PARTICIPANT;
}

void participant_recover(struct broker *b)
{
	for (uint32_t i = 0; i < b->tie_pool.used; i++) {
		const struct tie_slot *slot = &b->tie_slots[i];
		uint32_t index;

		if (!tie_is_participant(b, i))
			continue;
		index = tie_index(slot->word);
		b->participants[index] = (struct participant){.session = slot->to, .tie = i};
		if (slot->word & TIE_WORD_LEAVING)
			b->leaving |= 1u << index;
		else
			b->awaited |= 1u << index;
	}
}

int participant_check(const struct broker *b, struct error *ret_error)
{
	uint32_t there = 0;

	for (uint32_t i = 0; i < b->tie_pool.used; i++) {
		if (tie_is_participant(b, i))
			there |= 1u << tie_index(b->tie_slots[i].word);
	}
	if (there != (b->awaited | b->leaving) || (b->awaited & b->leaving))
		return error_set_limit(ret_error, REASON_INTERNAL, there, 0, 0,
			"the recount contradicts the records: D: participants (%x)", there);
	for (uint32_t grant = 0; grant < b->grant_used; grant++) {
		if (grant_awaits(&b->grant_slots[grant]) & ~there)
			return error_set_limit(ret_error, REASON_INTERNAL, grant, 0, 0,
				"the recount contradicts the records: D: a number waits for nobody "
				"(%u)",
				grant_host(&b->grant_slots[grant]));
	}
	return await_check(b, ret_error);
}
