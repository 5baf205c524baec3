/* SPDX-License-Identifier: MIT */
/*
 * Unbinds that wait for participants (F22): a detach begins when each of them has let go of the
 * number, has ended, or had its time.
 *
 * Nothing of a wait is recorded. What is bound stays so until it is over, and only then the detach
 * is committed as an intent; a daemon that dies before has begun nothing, and whoever asked asks
 * again, which is announced again. It never takes back what the participants let go of for good:
 * a number that is freed has marks of its own (broker_participant.c), and goes to nobody before
 * these are gone, whether or not its unbind was waited for in vain.
 *
 * One whose time was up is late. No unbind waits for it until it acknowledges something, so that a
 * participant that never does costs the host one wait, and not one for each unbind.
 */
#include "broker_private.h"

#include <assert.h>

/* Whom the unbind of the number waits for: who let go of it when it was freed does not count. */
static uint32_t await_whom(const struct broker *b, const struct grant_slot *slot)
{
	uint32_t mask = grant_state(slot) == GRANT_ACTIVE ? b->awaited : grant_awaits(slot);

	return mask & b->awaited & ~b->late;
}

/* All have the same time, so the list is in the order of its ends. */
static void await_link(struct broker *b, struct op *op)
{
	const uint32_t index = (uint32_t)(op - b->ops);

	op->await_next = STATE_NONE;
	op->await_prev = b->await_last;
	if (b->await_last != STATE_NONE)
		b->ops[b->await_last].await_next = index;
	else
		b->await_first = index;
	b->await_last = index;
}

static void await_unlink(struct broker *b, struct op *op)
{
	if (op->await_prev != STATE_NONE)
		b->ops[op->await_prev].await_next = op->await_next;
	else
		b->await_first = op->await_next;
	if (op->await_next != STATE_NONE)
		b->ops[op->await_next].await_prev = op->await_prev;
	else
		b->await_last = op->await_prev;
}

bool await_begin(struct broker *b, struct op *op)
{
	uint32_t awaits;

	if (op->grant == STATE_NONE || b->config.unbind_wait_ms == 0 || MUTANT(B))
		return false;
	awaits = await_whom(b, &b->grant_slots[op->grant]);
	if (awaits == 0)
		return false;
	for (uint32_t i = 0; i < op->pair_count; i++) {
		if (op->pairs[i].binding != STATE_NONE)
			binding_tell_end(b, op->pairs[i].binding);
	}
	op->phase = PHASE_AWAIT;
	op->awaits = awaits;
	op->announced = b->change_next - 1;
	op->await_until = broker_now(b) + b->config.unbind_wait_ms;
	await_link(b, op);
	return true;
}

/* The detach begins. Its operation may end here, and others of its set start. */
static void await_over(struct broker *b, struct op *op)
{
	await_unlink(b, op);
	op->phase = PHASE_FORWARD;
	op->awaits = 0;
	unbind_go_on(b, op);
}

static void await_drop(struct broker *b, struct op *op, uint32_t mask)
{
	op->awaits &= ~mask;
	if (op->awaits == 0)
		await_over(b, op);
}

/*
 * The unbind of the number that waits: one at most, because those of one number take their turns.
 * The last binding of a freed one may have been lost meanwhile, and its place be another's.
 */
static struct op *await_find(const struct broker *b, uint32_t grant)
{
	uint32_t i = b->sets[b->grant_slots[grant].set].first_op;

	if (b->await_first == STATE_NONE)
		return NULL;
	for (; i != STATE_NONE; i = b->ops[i].next) {
		struct op *op = &b->ops[i];

		if (op->phase == PHASE_AWAIT && op->grant == grant && op_grant_is_meant(b, op))
			return op;
	}
	return NULL;
}

bool await_acknowledge(struct broker *b, uint32_t grant, uint32_t mask, uint64_t seen)
{
	struct op *op = await_find(b, grant);

	if (!op || !(op->awaits & mask) || op->announced > seen)
		return false;
	await_drop(b, op, mask);
	return true;
}

/* They stay in the order of their ends. */
void await_shorten(struct broker *b)
{
	const uint64_t until = broker_now(b) + b->config.unbind_wait_ms;

	for (uint32_t i = b->await_first; i != STATE_NONE; i = b->ops[i].await_next) {
		if (b->ops[i].await_until > until)
			b->ops[i].await_until = until;
	}
}

/* There are as many as operations at most, and each is looked at briefly. */
void await_forget(struct broker *b, uint32_t mask)
{
	uint32_t next;

	for (uint32_t i = b->await_first; i != STATE_NONE; i = next) {
		next = b->ops[i].await_next;
		if (b->ops[i].awaits & mask)
			await_drop(b, &b->ops[i], mask);
	}
}

void await_end_set(struct broker *b, uint32_t set)
{
	uint32_t next;

	for (uint32_t i = b->sets[set].first_op; i != STATE_NONE; i = next) {
		next = b->ops[i].next;
		if (b->ops[i].phase == PHASE_AWAIT)
			await_over(b, &b->ops[i]);
	}
}

static void await_time_is_up(struct broker *b, struct op *op)
{
	for (uint32_t i = 0; i < BROKER_PARTICIPANTS; i++) {
		struct participant *participant = &b->participants[i];

		if (!(op->awaits >> i & 1))
			continue;
		participant->missed = op->outcome.host.v;
		participant->missed_count++;
		if (b->late >> i & 1)
			continue;
		b->late |= 1u << i;
		participant->late_ms = broker_now(b);
		broker_change_of(
			b, CHANGE_UNBIND_UNACKNOWLEDGED, op->set, op->grant, participant->session);
	}
	await_over(b, op);
}

void await_tick(struct broker *b)
{
	const uint64_t now = broker_now(b);

	while (await_next_tick(b) <= now) /* as above; what starts meanwhile waits longer */
		await_time_is_up(b, &b->ops[b->await_first]);
}

uint64_t await_next_tick(const struct broker *b)
{
	return b->await_first == STATE_NONE ? UINT64_MAX : b->ops[b->await_first].await_until;
}

bool await_has(const struct broker *b, uint32_t binding)
{
	const uint32_t grant = b->binding_slots[binding].grant;
	const struct op *op = grant == STATE_NONE ? NULL : await_find(b, grant);

	for (uint32_t i = 0; op && i < op->pair_count; i++) {
		if (op->pairs[i].binding == binding)
			return true;
	}
	return false;
}

int await_check(const struct broker *b, struct error *ret_error)
{
	for (uint32_t i = b->await_first; i != STATE_NONE; i = b->ops[i].await_next) {
		const struct op *op = &b->ops[i];

		if (op->phase != PHASE_AWAIT || op->awaits == 0 || (op->awaits & ~b->awaited))
			return recount_wrong(
				ret_error, "D: an unbind waits for nobody", op->outcome.host.v);
	}
	return 0;
}
