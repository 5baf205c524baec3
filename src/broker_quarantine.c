/* SPDX-License-Identifier: MIT */
/*
 * Between a number's last use and its next grant (invariant D).
 *
 * A quarantined grant first cools by time. Then it goes back to the namespace if no binding record
 * is left of it and nobody holds it; a record that is left says what is still open: a detach that
 * failed (tainted), or a shared device that may still have the number queued (draining). A number
 * that only waits for draining may return to its own set.
 */
#include "broker_private.h"

#include <string.h>

/* ------------------------------------------------------------------ lists */

static uint32_t *list_head(struct broker *b, uint32_t grant, enum grant_list list)
{
	struct set *set = &b->sets[b->grant_slots[grant].set];

	if (list == LIST_SET)
		return &set->grants;
	if (list == LIST_COOLING)
		return &b->cooling_first;
	return list == LIST_RETURNABLE ? &set->returnable : NULL;
}

static void grant_tag(struct broker *b, uint32_t grant, enum grant_list list)
{
	struct grant_slot *slot = &b->grant_slots[grant];
	uint64_t word = slot->word & ~(UINT64_C(3) << GRANT_LIST_SHIFT);

	word |= (uint64_t)list << GRANT_LIST_SHIFT;
	if (word != slot->word)
		broker_commit(b, &slot->word, word);
}

/* At the front, but for the cooling ones, which keep the order of their deadlines. */
void grant_link(struct broker *b, uint32_t grant, enum grant_list list)
{
	struct grant_slot *slot = &b->grant_slots[grant];
	uint32_t *head = list_head(b, grant, list);

	slot->next = slot->prev = STATE_NONE;
	if (list == LIST_COOLING && b->cooling_last != STATE_NONE) {
		slot->prev = b->cooling_last;
		b->grant_slots[b->cooling_last].next = grant;
	} else if (head) {
		slot->next = *head;
		if (*head != STATE_NONE)
			b->grant_slots[*head].prev = grant;
		*head = grant;
	}
	if (list == LIST_COOLING)
		b->cooling_last = grant;
	grant_tag(b, grant, list);
}

void grant_unlink(struct broker *b, uint32_t grant)
{
	struct grant_slot *slot = &b->grant_slots[grant];
	enum grant_list list = grant_list(slot);
	uint32_t *head = list_head(b, grant, list);

	if (slot->prev != STATE_NONE)
		b->grant_slots[slot->prev].next = slot->next;
	else if (head)
		*head = slot->next;
	if (slot->next != STATE_NONE)
		b->grant_slots[slot->next].prev = slot->prev;
	else if (list == LIST_COOLING)
		b->cooling_last = slot->prev;
	slot->next = slot->prev = STATE_NONE;
}

/* Two lists in the order of their deadlines become one. */
static uint32_t cooling_merge(const struct broker *b, uint32_t left, uint32_t right)
{
	uint32_t first = STATE_NONE, *link = &first;

	while (left != STATE_NONE && right != STATE_NONE) {
		uint32_t *earlier =
			b->grant_slots[right].data < b->grant_slots[left].data ? &right : &left;

		*link = *earlier;
		link = &b->grant_slots[*earlier].next;
		*earlier = *link;
	}
	*link = left != STATE_NONE ? left : right;
	return first;
}

void grants_order_cooling(struct broker *b)
{
	uint32_t sorted[PASID_BITS + 1]; /* the n-th has 2^n of them, or none */
	uint32_t grant = b->cooling_first, next, bit;

	for (bit = 0; bit <= PASID_BITS; bit++)
		sorted[bit] = STATE_NONE;
	for (; grant != STATE_NONE; grant = next) {
		next = b->grant_slots[grant].next;
		b->grant_slots[grant].next = STATE_NONE;
		for (bit = 0; sorted[bit] != STATE_NONE; bit++) {
			grant = cooling_merge(b, sorted[bit], grant);
			sorted[bit] = STATE_NONE;
		}
		sorted[bit] = grant;
	}
	b->cooling_first = STATE_NONE;
	for (bit = 0; bit <= PASID_BITS; bit++)
		b->cooling_first = cooling_merge(b, sorted[bit], b->cooling_first);
	b->cooling_last = STATE_NONE;
	for (grant = b->cooling_first; grant != STATE_NONE; grant = b->grant_slots[grant].next) {
		b->grant_slots[grant].prev = b->cooling_last;
		b->cooling_last = grant;
	}
}

/* ------------------------------------------------------------------ into quarantine and out of it
 */

static bool grant_is_held(const struct grant_slot *grant)
{
	return grant_holds(grant) && !MUTANT(H);
}

static bool grant_is_awaited(const struct grant_slot *grant)
{
	return grant_awaits(grant) && !MUTANT(P);
}

bool grant_is_bound(const struct broker *b, uint32_t grant)
{
	uint32_t i = b->grant_slots[grant].bindings;

	for (; i != STATE_NONE; i = b->binding_slots[i].grant_next) {
		enum binding_state state = binding_state(b, i);

		if (state == BINDING_BINDING || state == BINDING_BOUND ||
			state == BINDING_UNBINDING)
			return true;
	}
	return false;
}

uint32_t grant_quarantine(const struct broker *b, uint32_t grant)
{
	const struct grant_slot *slot = &b->grant_slots[grant];
	uint32_t reasons = 0;

	if (grant_state(slot) != GRANT_QUARANTINED)
		return 0;
	if (grant_list(slot) == LIST_COOLING)
		reasons |= QUARANTINE_COOLING;
	for (uint32_t i = slot->bindings; i != STATE_NONE; i = b->binding_slots[i].grant_next)
		reasons |= binding_is_live(b, i) ? QUARANTINE_TAINTED : QUARANTINE_UNDRAINED;
	if (grant_awaits(slot))
		reasons |= QUARANTINE_UNACKNOWLEDGED;
	return grant_holds(slot) ? reasons | QUARANTINE_HELD : reasons;
}

static void grant_release(struct broker *b, uint32_t grant)
{
	struct grant_slot *slot = &b->grant_slots[grant];
	uint32_t set = slot->set;

	broker_change(b, CHANGE_GRANT_RELEASED, set, grant, STATE_NONE);
	if (grant_is_rids(slot))
		scope_drop(b, grant);
	scope_leave(b, grant);
	broker_commit(b, &slot->word, 0);
	slot->next = b->grant_free;
	b->grant_free = grant;
	b->sets[set].quarantined--;
	b->quarantined--;
	if (!MUTANT(Q))
		ledger_release(&b->ledger, &b->sets[set], 1, set_state(b, set) != SET_ZOMBIE);
	metrics_add(&b->metrics, METRIC_RELEASED, 1);
	set_reap(b, set);
}

static void grant_retire(struct broker *b, uint32_t grant)
{
	struct grant_slot *slot = &b->grant_slots[grant];

	grant_unlink(b, grant);
	b->sets[slot->set].active--;
	b->sets[slot->set].quarantined++;
	b->quarantined++;
	broker_commit(b, &slot->data, broker_now(b) + b->config.cooling_ms);
	grant_commit_state(b, grant, GRANT_QUARANTINED);
	grant_link(b, grant, LIST_COOLING);
	broker_change(b, CHANGE_GRANT_QUARANTINED, slot->set, grant, STATE_NONE);
	if (MUTANT(D)) {
		grant_unlink(b, grant);
		grant_release(b, grant);
	}
}

void grant_settle(struct broker *b, uint32_t grant)
{
	const struct grant_slot *slot = &b->grant_slots[grant];

	if (grant_state(slot) != GRANT_FREE_PENDING || grant_is_bound(b, grant))
		return;
	if (grant_is_held(slot))
		return;
	grant_retire(b, grant);
}

/*
 * All that its set had is closed or lost. What a detach failed for is a shared device's, whose
 * recovery may be trying it again: the number waits for that in quarantine, as if it had not.
 */
void grant_end(struct broker *b, uint32_t grant)
{
	hold_drop_own(b, grant);
	(void)grant_free(b, grant);
	if (grant_state(&b->grant_slots[grant]) == GRANT_FREE_PENDING)
		grant_retire(b, grant); /* and is held there */
}

bool grant_free(struct broker *b, uint32_t grant)
{
	if (grant_state(&b->grant_slots[grant]) != GRANT_ACTIVE)
		return false;
	/* the guest's number goes first: from here on nothing new can be submitted under it */
	grant_drop_guest(b, grant);
	grant_commit_state(b, grant, GRANT_FREE_PENDING);
	if (b->awaited) {
		broker_commit(b, &b->grant_slots[grant].word,
			b->grant_slots[grant].word | (uint64_t)b->awaited << GRANT_AWAIT_SHIFT);
		b->announced[grant] = b->change_next; /* the event below */
	}
	metrics_add(&b->metrics, METRIC_FREED, 1);
	broker_change(b, CHANGE_GRANT_FREE_PENDING, b->grant_slots[grant].set, grant, STATE_NONE);
	grant_settle(b, grant);
	return true;
}

/*
 * May the set have it again before the shared device is drained? Not for another VM than the one
 * whose work may still be queued.
 */
static bool grant_is_returnable(const struct broker *b, uint32_t grant)
{
	const struct grant_slot *slot = &b->grant_slots[grant];

	return !(grant_quarantine(b, grant) &
		       (QUARANTINE_TAINTED | QUARANTINE_HELD | QUARANTINE_UNACKNOWLEDGED)) &&
	       !grant_is_rids(slot) && set_state(b, slot->set) == SET_ACTIVE &&
	       slot->data >= b->set_slots[slot->set].emptied;
}

void grant_requeue(struct broker *b, uint32_t grant)
{
	struct grant_slot *slot = &b->grant_slots[grant];
	const enum grant_list was = grant_list(slot);

	if (grant_state(slot) != GRANT_QUARANTINED)
		return;
	if (was == LIST_COOLING && slot->data > broker_now(b))
		return;
	grant_unlink(b, grant);
	if (slot->bindings == STATE_NONE && !grant_is_held(slot) && !grant_is_awaited(slot)) {
		grant_release(b, grant);
		return;
	}
	if (was != LIST_PARKED && was != LIST_RETURNABLE)
		broker_change(b, CHANGE_GRANT_WAITING, slot->set, grant, STATE_NONE);
	grant_link(b, grant, grant_is_returnable(b, grant) ? LIST_RETURNABLE : LIST_PARKED);
}

static bool grant_is_returnable_now(const struct broker *b, uint32_t grant, uint32_t set)
{
	const struct grant_slot *slot = &b->grant_slots[grant];

	return slot->set == set && grant_state(slot) == GRANT_QUARANTINED &&
	       grant_list(slot) == LIST_RETURNABLE;
}

/* A narrow range is gone through number by number, otherwise the list. */
uint32_t grants_returnable(const struct broker *b, uint32_t set, uint32_t min, uint32_t max,
	struct hpasid *numbers, uint32_t count)
{
	uint32_t found = 0, grant = b->sets[set].returnable;

	if (grant != STATE_NONE && max - min < BROKER_SEARCH_MAX) {
		for (uint32_t host = min; host <= max && found < count; host++) {
			uint32_t other = grant_of_host(b, host);

			if (other != STATE_NONE && grant_is_returnable_now(b, other, set))
				numbers[found++].v = host;
		}
		return found;
	}
	for (uint32_t n = 0; n < BROKER_SEARCH_MAX && grant != STATE_NONE && found < count; n++) {
		uint32_t host = grant_host(&b->grant_slots[grant]);

		if (host >= min && host <= max)
			numbers[found++].v = host;
		grant = b->grant_slots[grant].next;
	}
	return found;
}

void broker_tick(struct broker *b)
{
	uint64_t now = broker_now(b);

	b->work = BROKER_WORK_MAX;
	destroy_tick(b);
	for (uint32_t n = 0; n < BROKER_WORK_MAX && b->cooling_first != STATE_NONE; n++) {
		if (b->grant_slots[b->cooling_first].data > now)
			break;
		grant_requeue(b, b->cooling_first);
	}
	participant_tick(b);
	if (b->retry_first != STATE_NONE && b->retry_at <= now)
		op_retry(b);
}

uint64_t broker_next_tick(const struct broker *b)
{
	uint64_t cooled =
		b->cooling_first == STATE_NONE ? UINT64_MAX : b->grant_slots[b->cooling_first].data;
	uint64_t retry = b->retry_first == STATE_NONE ? UINT64_MAX : b->retry_at;
	uint64_t awaited = participant_next_tick(b);
	uint64_t earliest = cooled < retry ? cooled : retry;

	if (b->long_first != STATE_NONE)
		return 0;
	return awaited < earliest ? awaited : earliest;
}

/* ------------------------------------------------------------------ an admin's word, and queries
 */

static int quarantine_end_check(
	struct broker *b, uint32_t grant, struct hpasid host, struct error *ret_error)
{
	if (grant == STATE_NONE || grant_state(&b->grant_slots[grant]) != GRANT_QUARANTINED)
		return error_set_limit(ret_error, REASON_NOT_ACTIVE, host.v, 0, 0,
			"PASID %u is not in quarantine", host.v);
	if (grant_quarantine(b, grant) & QUARANTINE_TAINTED)
		return error_set_limit(ret_error, REASON_DEVICE_TAINTED, host.v, 0, 0,
			"PASID %u may still be attached to a device that did not detach it; only a "
			"detach that succeeds, a new registration of that device or a reboot ends "
			"this",
			host.v);
	if (grant_holds(&b->grant_slots[grant]))
		return error_set_limit(ret_error, REASON_HELD, host.v, 0,
			grant_holds(&b->grant_slots[grant]),
			"PASID %u is held; that ends when those who hold it let go of it, or when "
			"their sessions end",
			host.v);
	return 0;
}

int broker_quarantine_end(struct broker *b, const struct actor *actor, struct set_id set,
	struct hpasid host, struct error *ret_error)
{
	uint32_t grant;
	int r;

	r = actor_must_be_admin(actor, "ending a quarantine", ret_error);
	if (r == 0)
		r = grant_named(b, actor, set, host, &grant, ret_error);
	if (r)
		return r;
	r = quarantine_end_check(b, grant, host, ret_error);
	if (r)
		return r;
	broker_commit(b, &b->grant_slots[grant].data, 0); /* cooled */
	participant_waive(b, grant);
	if (grant_state(&b->grant_slots[grant]) != GRANT_QUARANTINED)
		return 0; /* that was all */
	if (b->grant_slots[grant].bindings == STATE_NONE) {
		grant_requeue(b, grant);
		return 0;
	}
	/* the last record to go takes the grant with it */
	while (b->grant_slots[grant].bindings != STATE_NONE)
		binding_drop(b, b->grant_slots[grant].bindings);
	return 0;
}

static void grant_fill_info(const struct broker *b, uint32_t grant, struct grant_info *ret_info)
{
	const struct grant_slot *slot = &b->grant_slots[grant];
	uint64_t now = broker_now(b);

	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->host.v = grant_host(slot);
	ret_info->set.v = set_name_of(b, slot->set);
	memcpy(ret_info->set_name, b->set_slots[slot->set].name, STATE_NAME_MAX);
	ret_info->state = grant_state(slot);
	ret_info->has_guest = grant_has_guest(slot);
	ret_info->guest.v = grant_has_guest(slot) ? grant_guest(slot) : 0;
	ret_info->holds = grant_holds(slot);
	ret_info->quarantine = grant_quarantine(b, grant);
	ret_info->awaited = grant_awaits(slot);
	ret_info->scope = grant_is_rids(slot) ? SCOPE_RIDS : SCOPE_GLOBAL;
	ret_info->group_count = grant_groups(b, grant, ret_info->groups);
	if (ret_info->state != GRANT_QUARANTINED)
		ret_info->data = slot->data;
	else if (slot->data > now)
		ret_info->cooling_ms = slot->data - now;
	for (uint32_t i = slot->bindings; i != STATE_NONE; i = b->binding_slots[i].grant_next)
		ret_info->bindings += binding_is_live(b, i);
}

/* The grant that the actor may know of; STATE_NONE: to it there is none. */
static int host_find_grant(struct broker *b, const struct actor *actor, struct set_id set,
	struct hpasid host, uint32_t *ret_grant, struct error *ret_error)
{
	const uint32_t own = actor->set.v ? set_slot_of(b, actor->set) : STATE_NONE;

	if (actor_sees_all(actor) || MUTANT(O))
		return grant_named(b, actor, set, host, ret_grant, ret_error);
	*ret_grant = own == STATE_NONE || (set.v && set.v != actor->set.v)
			     ? STATE_NONE
			     : grant_of_set(b, own, host.v);
	return 0;
}

int broker_host_find(struct broker *b, const struct actor *actor, struct set_id set,
	struct hpasid host, struct grant_info *ret_info, struct error *ret_error)
{
	uint32_t grant;
	int r;

	if (host.v == 0 || host.v > PASID_LAST)
		return error_set_limit(ret_error, REASON_BAD_RANGE, host.v, PASID_LAST, 0,
			"%u is no PASID that can be granted; they go from 1 to %u", host.v,
			PASID_LAST);
	r = host_find_grant(b, actor, set, host, &grant, ret_error);
	if (r)
		return r;
	if (grant != STATE_NONE) {
		grant_fill_info(b, grant, ret_info);
		return 0;
	}
	if (!actor_sees_all(actor))
		return error_set_limit(ret_error, REASON_NO_PASID, host.v, 0, 0,
			"this session's set has no PASID %u", host.v);
	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->host = host;
	ret_info->state = GRANT_IDLE;
	return 0;
}

/* The lowest grant of a short list, not in quarantine, at or above the cursor. */
static uint32_t grant_at_or_above(const struct broker *b, uint32_t set, uint64_t cursor)
{
	uint32_t lowest = STATE_NONE;

	for (uint32_t g = b->sets[set].grants; g != STATE_NONE; g = b->grant_slots[g].next) {
		if (g >= cursor && g < lowest)
			lowest = g;
	}
	return lowest;
}

static bool grant_tell(
	const struct broker *b, uint32_t grant, uint64_t *cursor, struct grant_info *ret_info)
{
	grant_fill_info(b, grant, ret_info);
	ret_info->place = grant;
	*cursor = grant + UINT64_C(1);
	return true;
}

bool broker_grant_is_on(const struct broker *b, const struct grant_info *info,
	struct device_id device, struct rid rid)
{
	uint32_t i = b->grant_slots[info->place].bindings;

	for (; i != STATE_NONE; i = b->binding_slots[i].grant_next) {
		const uint32_t at = b->binding_slots[i].device;

		if (binding_is_live(b, i) && (device.v ? device_name_of(b, at) == device.v
						       : b->device_slots[at].rid == rid.v))
			return true;
	}
	return false;
}

bool broker_grant_next(struct broker *b, const struct actor *actor, struct set_id id,
	bool quarantined, uint64_t *cursor, struct grant_info *ret_info)
{
	uint32_t set = STATE_NONE, n = 0, grant;
	struct error ignored;

	if ((id.v || !actor_sees_all(actor)) && set_for_reading(b, actor, id, &set, &ignored))
		*cursor = BROKER_END;
	else if (set != STATE_NONE && !quarantined && b->sets[set].active <= BROKER_LIST_MAX) {
		grant = grant_at_or_above(b, set, *cursor);
		if (grant != STATE_NONE)
			return grant_tell(b, grant, cursor, ret_info);
		*cursor = BROKER_END;
	}
	for (; *cursor < b->grant_used && n < BROKER_WORK_MAX; (*cursor)++, n++) {
		enum grant_state state;

		grant = (uint32_t)*cursor;
		state = grant_state(&b->grant_slots[grant]);
		if (state == GRANT_FREE || (state == GRANT_QUARANTINED && !quarantined))
			continue;
		if (set == STATE_NONE || b->grant_slots[grant].set == set)
			return grant_tell(b, grant, cursor, ret_info);
	}
	*cursor = *cursor < b->grant_used ? *cursor : BROKER_END;
	return false;
}
