/* SPDX-License-Identifier: MIT */
/*
 * What an earlier run of the daemon left: everything that is not recorded is made anew from the
 * records, then every intent among them is taken back or brought to its end.
 *
 * Acknowledged grants, sets, devices and bindings are there again (invariant C). A binding whose
 * attach was under way is detached, because nobody was told of it; one whose detach was under way
 * is detached; a device that was being registered is closed. Of a lane whose worker is gone nothing
 * can be detached: its bindings are lost as if the worker had died now. All of this goes through
 * the same steps as ever, so a recovery may itself be interrupted anywhere.
 */
#include "broker_private.h"

#include <assert.h>

/* ------------------------------------------------------------------ from the records */

static int recover_fail(struct error *ret_error, const char *what, uint64_t object)
{
	return error_set_limit(ret_error, REASON_INTERNAL, object, 0, 0,
		"the recorded state cannot be taken up: %s (%llu)", what,
		(unsigned long long)object);
}

/* Slots in use, and the free ones below the last of them. `word` is the first one's. */
static void recover_pool(struct pool *pool, const void *table, size_t size, uint32_t used)
{
	pool->used = used;
	for (uint32_t slot = used; slot-- > 0;) {
		const uint64_t *word = (const void *)((const uint8_t *)table + slot * size);

		pool->live++;
		if (STATE_WORD_STATE(*word) == 0)
			pool_give(pool, slot);
	}
}

static void recover_set(struct broker *b, uint32_t set)
{
	struct set *run = &b->sets[set];
	struct error error;
	int r;

	*run = (struct set){
		.grants = STATE_NONE,
		.returnable = STATE_NONE,
		.first_device = STATE_NONE,
		.first_op = STATE_NONE,
		.last_op = STATE_NONE,
	};
	r = ledger_open(&b->ledger, run, b->set_slots[set].uid, b->set_slots[set].name, &error);
	assert(r == 0); /* there is a place for each */
	r = ledger_promise(&b->ledger, run, b->set_slots[set].quota, true, &error);
	assert(r == 0); /* limits are waived */
	(void)r;
	run->name_hash = broker_name_hash(b, b->set_slots[set].name);
	translate_init(&run->map, &b->ports.pages);
	if (set_state(b, set) != SET_ZOMBIE)
		set_enter_buckets(b, set);
}

/* Those that are gone come first: what is reserved for a name is kept for the one that is there. */
static void recover_sets(struct broker *b, bool gone)
{
	for (uint32_t i = 0; i < b->set_pool.used; i++) {
		if (set_state(b, i) != SET_FREE && (set_state(b, i) == SET_ZOMBIE) == gone)
			recover_set(b, i);
	}
}

/* Its list, and what it is charged for; slices are counted when all devices are there. */
static void recover_device(struct broker *b, uint32_t device)
{
	const struct device_slot *slot = &b->device_slots[device];
	struct device *run = &b->devices[device];
	uint32_t *link =
		slot->set == STATE_NONE ? &b->first_shared : &b->sets[slot->set].first_device;

	*run = (struct device){.bindings = STATE_NONE,
		.rid_binding = STATE_NONE,
		.set_next = *link,
		.removing = device_state(b, device) == DEVICE_REMOVING};
	*link = device;
	if (slot->set == STATE_NONE)
		return;
	b->sets[slot->set].devices++;
	if (device_kind(b, device) == DEVICE_EXCLUSIVE && !device_is_closed(b, device))
		run->descriptors = 2;
	set_charge_anyway(b, slot->set, RESOURCE_DEVICES, 1);
	set_charge_anyway(b, slot->set, RESOURCE_DESCRIPTORS, run->descriptors);
	set_charge_anyway(b, slot->set, RESOURCE_PAGE_TABLES, table_count(b, device));
}

/* Another has its number, and they are not of two sets in scope rids. */
static bool recover_is_taken(const struct broker *b, uint32_t grant)
{
	const struct grant_slot *slot = &b->grant_slots[grant];
	const uint32_t other = grant_of_host(b, grant_host(slot));

	return other != STATE_NONE &&
	       (!grant_is_rids(slot) || !grant_is_rids(&b->grant_slots[other]) ||
		       grant_of_set(b, slot->set, grant_host(slot)) != STATE_NONE);
}

/* Cooling numbers keep their time; what only waits for a device is sorted out when they are due. */
static int recover_grant(struct broker *b, uint32_t grant, struct error *ret_error)
{
	struct grant_slot *slot = &b->grant_slots[grant];
	struct set *run = &b->sets[slot->set];
	uint32_t host = grant_host(slot);
	bool resting = grant_state(slot) == GRANT_QUARANTINED;

	if (host <= b->config.reserved_last && !grant_is_rids(slot))
		return error_set_limit(ret_error, REASON_BAD_RANGE, host, b->config.reserved_last,
			0,
			"PASID %u is granted, and the configuration now leaves numbers up to %u to "
			"the kernel; start with the earlier kernel_reserved until it is freed",
			host, b->config.reserved_last);
	if (recover_is_taken(b, grant))
		return recover_fail(ret_error, "a number has two grants", host);
	if (!MUTANT(K))
		scope_enter(b, grant);
	slot->bindings = STATE_NONE;
	ledger_charge(&b->ledger, run, 1);
	run->active += !resting;
	run->quarantined += resting;
	b->quarantined += resting;
	grant_link(b, grant, resting ? LIST_COOLING : LIST_SET);
	if (!grant_has_guest(slot))
		return 0;
	return map_attach(
		b, slot->set, (struct gpasid){grant_guest(slot)}, (struct hpasid){host}, ret_error);
}

static int recover_grants(struct broker *b, uint32_t used, struct error *ret_error)
{
	int r = 0;

	b->grant_used = used;
	for (uint32_t grant = used; r == 0 && grant-- > 0;) {
		if (grant_state(&b->grant_slots[grant]) != GRANT_FREE) {
			r = recover_grant(b, grant, ret_error);
			continue;
		}
		b->grant_slots[grant].next = b->grant_free;
		b->grant_free = grant;
	}
	return r;
}

static void recover_sets_and_devices(struct broker *b, const struct recovery *recovery)
{
	recover_pool(&b->set_pool, b->set_slots, sizeof(*b->set_slots), recovery->used[STATE_SETS]);
	recover_pool(&b->device_pool, b->device_slots, sizeof(*b->device_slots),
		recovery->used[STATE_DEVICES]);
	recover_pool(&b->binding_pool, b->binding_slots, sizeof(*b->binding_slots),
		recovery->used[STATE_BINDINGS]);
	recover_pool(&b->tie_pool, b->tie_slots, sizeof(*b->tie_slots), recovery->used[STATE_TIES]);
	recover_sets(b, true);
	recover_sets(b, false);
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		if (device_state(b, i) != DEVICE_FREE)
			recover_device(b, i);
	}
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		if (device_state(b, i) != DEVICE_FREE && b->device_slots[i].shared != STATE_NONE)
			b->devices[b->device_slots[i].shared].slices++;
	}
}

/* Numbers that were freed and whose last binding went in the meantime; sets that are only charged.
 */
static void recover_rest(struct broker *b)
{
	grants_order_cooling(b); /* before others follow */
	for (uint32_t grant = 0; grant < b->grant_used; grant++)
		grant_settle(b, grant);
	for (uint32_t set = 0; set < b->set_pool.used; set++) {
		if (set_state(b, set) == SET_ZOMBIE)
			ledger_close(&b->ledger, &b->sets[set]);
	}
	reserve_yield(&b->ledger);
}

/* ------------------------------------------------------------------ lanes whose worker is gone */

/* Its registration, or its removal, was never answered. */
static void recover_lost_device(struct broker *b, uint32_t device)
{
	const enum device_state state = device_state(b, device);
	uint32_t set = b->device_slots[device].set;

	if (state == DEVICE_ADDING) {
		device_drop(b, device);
		return;
	}
	device_lost(b, device);
	if (state != DEVICE_REMOVING || b->devices[device].bindings != STATE_NONE ||
		b->devices[device].slices)
		return;
	broker_change(b, CHANGE_DEVICE_REMOVED, set, STATE_NONE, device);
	device_drop(b, device);
}

/* Slices first: what is left of their bindings belongs to the device that they are part of. */
static void recover_lost_devices(struct broker *b, const struct recovery *recovery, bool slices)
{
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		/* its worker was lost, and what that had done of the removal was not heard of */
		if (device_state(b, i) == DEVICE_REMOVING && device_is_closed(b, i))
			device_doubt_bindings(b, i);
		if (device_state(b, i) == DEVICE_FREE || device_is_closed(b, i) ||
			(device_kind(b, i) == DEVICE_SLICE) != slices ||
			recovery->lane_stands(recovery->ctx, b->device_slots[i].lane))
			continue;
		recover_lost_device(b, i);
	}
}

/* Sets that were gone, and which only their outcome or what is lost now kept: nobody else looks. */
static void recover_reap(struct broker *b)
{
	for (uint32_t set = 0; set < b->set_pool.used; set++)
		set_reap(b, set);
}

/* ------------------------------------------------------------------ lanes whose worker lives */

/*
 * A binding on the device whose attach, detach or replacement was under way; STATE_NONE: none. On a
 * shared device a set that has its recovery behind it may be at one that is tainted, which is its
 * own.
 */
static uint32_t next_intent(const struct broker *b, uint32_t device)
{
	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE;
		i = b->binding_slots[i].device_next) {
		if ((binding_state(b, i) == BINDING_BINDING ||
			    binding_state(b, i) == BINDING_UNBINDING ||
			    binding_is_replaced(b, i)) &&
			!op_has_binding(b, i))
			return i;
	}
	return STATE_NONE;
}

static void submit_device(
	struct broker *b, struct op *op, uint32_t device, enum op_phase phase, enum hw_kind kind)
{
	struct hw_op hw;

	op->phase = phase;
	op->step = device;
	op->device_name = device_name_of(b, device);
	device_hw(b, device, kind, &hw);
	op_submit(b, op, &hw);
}

/* The next step for a device; false: there is none. */
static bool recover_step(struct broker *b, struct op *op, uint32_t device)
{
	const bool slice = device_kind(b, device) == DEVICE_SLICE;
	uint32_t binding;

	if (device_is_closed(b, device))
		return false;
	if (device_state(b, device) == DEVICE_ADDING) {
		submit_device(b, op, device, PHASE_CLOSE, HW_CLOSE);
		return true;
	}
	if (!slice && !b->devices[device].known) {
		submit_device(b, op, device, PHASE_OPEN, HW_REPORT);
		return true;
	}
	binding = next_intent(b, device);
	if (binding != STATE_NONE && binding_is_replaced(b, binding))
		replace_submit_look(b, op, binding);
	else if (binding != STATE_NONE)
		binding_submit_detach(b, op, binding, PHASE_UNDO);
	return binding != STATE_NONE;
}

static void recover_end(struct broker *b, struct op *op)
{
	const uint32_t then = op->then;

	op_end(b, op);
	if (then != STATE_NONE)
		op_queue(b, &b->ops[then]);
}

/* A shared device that is not there any more; its place may be another's. */
static bool recover_is_gone(const struct broker *b, const struct op *op)
{
	return op->set == STATE_NONE && !device_is_meant(b, op->device, op->device_name);
}

/* A shared device's worker has nothing more to do once its device is not there. */
static void recover_done(struct broker *b, struct op *op)
{
	if (op->set == STATE_NONE && (recover_is_gone(b, op) || device_is_closed(b, op->device)))
		lane_end(b, op, op->hw.lane);
	else
		recover_end(b, op);
}

static void recover_next(struct broker *b, struct op *op)
{
	uint32_t device = op->set == STATE_NONE ? op->device : b->sets[op->set].first_device;

	if (recover_is_gone(b, op)) {
		recover_done(b, op);
		return;
	}
	while (device != STATE_NONE) {
		if (recover_step(b, op, device))
			return;
		device = op->set == STATE_NONE ? STATE_NONE : b->devices[device].set_next;
	}
	recover_done(b, op);
}

void recover_start(struct broker *b, struct op *op)
{
	recover_next(b, op);
}

/* Its worker has no such device. What asks it to let go of a slice is still to be told so. */
static void recover_unknown(struct broker *b, uint32_t device)
{
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		if (device_state(b, i) == DEVICE_FREE || b->device_slots[i].shared != device)
			continue;
		if (device_state(b, i) == DEVICE_REMOVING)
			device_set_closed(b, i);
		else
			device_lost(b, i);
	}
	device_lost(b, device);
}

/*
 * Nothing but its removal makes a worker that lives forget a device, and only when that succeeded:
 * nothing is attached any more. Of one that was lost meanwhile another one knows nothing.
 */
static bool recover_was_closed(
	const struct broker *b, uint32_t device, const struct hw_result *result)
{
	const struct device *run = &b->devices[device];

	return result->status && result->error.reason == REASON_NO_DEVICE && run->removing &&
	       run->slices == 0 && run->draining == 0 && !device_is_closed(b, device);
}

/* Whoever asked for the removal asks again, and hears that it is done. */
static void recover_closed(struct broker *b, struct op *op, uint32_t device)
{
	uint32_t next, set = b->device_slots[device].set;

	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE; i = next) {
		next = b->binding_slots[i].device_next;
		broker_change(b, CHANGE_BINDING_UNBOUND, set, b->binding_slots[i].grant, device);
		binding_gone(b, i);
	}
	broker_change(b, CHANGE_DEVICE_REMOVED, set, STATE_NONE, device);
	device_drop(b, device);
	op->phase = PHASE_CLOSE;
}

static void recover_reported(struct broker *b, struct op *op, const struct hw_result *result)
{
	const uint32_t device = op->step;
	struct device_slot *slot = &b->device_slots[device];

	if (recover_was_closed(b, device, result)) {
		recover_closed(b, op, device);
		return;
	}
	if (result->status || result->rid.v != slot->rid) {
		recover_unknown(b, device);
		return;
	}
	slot->iommufd_key = result->iommufd_key;
	b->devices[device].known = true;
}

static void recover_detached(struct broker *b, struct op *op, const struct hw_result *result)
{
	uint32_t binding = op->pairs[0].binding;
	const struct binding_slot *slot;

	op->pair_count = 0;
	if (binding == STATE_NONE)
		return; /* lost with its worker */
	slot = &b->binding_slots[binding];
	if (result->status) {
		binding_taint(b, binding, CHANGE_BINDING_TAINTED);
		return;
	}
	broker_change(b, CHANGE_BINDING_UNBOUND, slot->set, slot->grant, slot->device);
	binding_gone(b, binding);
}

void recover_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	if (op->phase == PHASE_END) {
		recover_end(b, op);
		return;
	}
	if (op->phase == PHASE_OPEN) {
		/* its worker died, and with the function registered anew the record went */
		if (device_is_meant(b, op->step, op->device_name))
			recover_reported(b, op, result);
	} else if (op->phase == PHASE_UNDO) {
		recover_detached(b, op, result);
	} else if (op->phase == PHASE_LOOK) {
		replace_looked(b, op, result);
	} else {
		assert(op->phase == PHASE_CLOSE);
		device_drop(b, op->step); /* nothing was attached yet */
	}
	recover_next(b, op);
}

/* ------------------------------------------------------------------ what goes on */

static bool has_tainted(const struct broker *b, uint32_t device)
{
	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE;
		i = b->binding_slots[i].device_next) {
		if (binding_state(b, i) == BINDING_TAINTED)
			return true;
	}
	return false;
}

static bool has_bound(const struct broker *b, uint32_t device)
{
	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE;
		i = b->binding_slots[i].device_next) {
		if (binding_state(b, i) == BINDING_BOUND)
			return true;
	}
	return false;
}

/*
 * The removal of a device that a request asked for, once more; still to be queued. Only one that
 * detaches what is attached begins while something is.
 */
static struct op *recover_removal(struct broker *b, uint32_t device)
{
	struct op *op = NULL;
	struct error error;
	int r = op_new(b, OP_DEVICE_REMOVE, b->device_slots[device].set, 0, &op, &error);

	assert(r == 0); /* limits are waived */
	(void)r;
	op->device = device;
	op->device_name = device_name_of(b, device);
	op->going = device_kind(b, device) == DEVICE_EXCLUSIVE && has_bound(b, device);
	return op;
}

/* Until now it was on its way out, for whoever comes after us. */
void recover_remove_start(struct broker *b, const struct op *op)
{
	const uint32_t device = op->device;

	if (!device_is_meant(b, device, op->device_name) || !b->devices[device].removing)
		return;
	b->devices[device].removing = false;
	if (device_state(b, device) == DEVICE_REMOVING)
		device_commit_state(b, device,
			device_is_closed(b, device) || has_tainted(b, device) ? DEVICE_TAINTED
									      : DEVICE_READY);
}

/* Operations on shared devices have no order of their own, so its removal is told when to start. */
static void recover_shared(struct broker *b, uint32_t device)
{
	struct op *op;

	if (device_is_closed(b, device))
		return;
	op = op_new_duty(b, OP_RECOVER, STATE_NONE, 0);
	op->device = device;
	op->device_name = device_name_of(b, device);
	op->hw.lane = b->device_slots[device].lane;
	if (device_state(b, device) == DEVICE_REMOVING)
		op->then = (uint32_t)(recover_removal(b, device) - b->ops);
	op_queue(b, op);
}

/* Those of a set that is torn down go with it; recover_shared() has the others' turn. */
static void recover_removals(struct broker *b)
{
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		uint32_t set = b->device_slots[i].set;

		if (device_state(b, i) == DEVICE_REMOVING &&
			(set == STATE_NONE ? device_is_closed(b, i)
					   : set_state(b, set) == SET_ACTIVE))
			op_queue(b, recover_removal(b, i));
	}
}

static void recover_go_on(struct broker *b, const struct recovery *recovery)
{
	for (uint32_t i = 0; i < b->set_pool.used; i++) {
		if (set_state(b, i) == SET_FREE)
			continue;
		b->sets[i].has_lane = recovery->lane_stands(recovery->ctx, set_name_of(b, i));
		if (b->sets[i].first_device != STATE_NONE)
			op_queue(b, op_new_duty(b, OP_RECOVER, i, 0));
	}
	for (uint32_t i = b->first_shared; i != STATE_NONE; i = b->devices[i].set_next)
		recover_shared(b, i);
	recover_removals(b);
	for (uint32_t i = 0; i < b->set_pool.used; i++) {
		if (set_state(b, i) == SET_DYING)
			op_queue(b, op_new_duty(b, OP_DESTROY, i, 0));
	}
}

static int recover_records(
	struct broker *b, const struct recovery *recovery, struct error *ret_error)
{
	int r;

	recover_sets_and_devices(b, recovery);
	r = recover_grants(b, recovery->used[STATE_GRANTS], ret_error);
	if (r == 0)
		r = scope_recover(b, ret_error);
	if (r == 0)
		r = hold_recover(b, ret_error);
	participant_recover(b);
	if (r)
		return r;
	for (uint32_t i = 0; i < b->binding_pool.used; i++) {
		if (binding_state(b, i) != BINDING_FREE)
			binding_recover(b, i);
	}
	recover_rest(b);
	return 0;
}

int broker_recover(struct broker *b, const struct recovery *recovery, struct error *ret_error)
{
	int r;

	/* what was recorded counts, under whatever limits */
	limits_waive(b->ports.limits, true);
	b->was_recovered = true;
	r = recover_records(b, recovery, ret_error);
	if (r == 0 && b->host_slot->cursor > b->config.reserved_last &&
		b->host_slot->cursor <= PASID_LAST)
		b->cursor = (uint32_t)b->host_slot->cursor;
	if (r == 0 && b->host_slot->rids_cursor <= PASID_LAST)
		b->rids_cursor = (uint32_t)b->host_slot->rids_cursor;
	if (r == 0) {
		recover_lost_devices(b, recovery, true);
		recover_lost_devices(b, recovery, false);
		recover_reap(b);
		recover_go_on(b, recovery);
		r = MUTANT(K) ? 0 : broker_recount(b, ret_error);
	}
	limits_waive(b->ports.limits, false);
	if (r == 0) /* what is refused stays as it was found */
		state_settle(b->ports.state);
	return r;
}

int recover_check_confirmed(const struct broker *b, struct error *ret_error)
{
	if (!b->host_slot->unconfirmed || MUTANT(N))
		return 0;
	return error_set(ret_error, REASON_UNCONFIRMED, BROKER_UNCONFIRMED_TEXT);
}
