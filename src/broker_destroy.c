/* SPDX-License-Identifier: MIT */
/*
 * The end of a set, or of the VM that used it: what is attached is detached, descriptors are
 * dropped, numbers go into quarantine.
 *
 * Nothing is remembered between the steps but the records themselves: each step looks for what is
 * still there. What cannot be detached stays, tainted, and keeps its record and the set's name
 * alive.
 */
#include "broker_private.h"

#include <assert.h>
#include <string.h>

/*
 * A binding on a slice that is not yet known to be gone or lost; STATE_NONE: no more. What failed
 * to detach, or drains, is the shared device's.
 */
static uint32_t next_bound(const struct broker *b, uint32_t slice)
{
	uint32_t binding = b->devices[slice].bindings;

	assert(binding == STATE_NONE || binding_state(b, binding) == BINDING_BOUND);
	return binding;
}

static void submit_device(struct broker *b, struct op *op, uint32_t device, enum op_phase phase)
{
	struct hw_op hw;

	op->phase = phase;
	op->device = device;
	device_commit_state(b, device, DEVICE_REMOVING);
	device_hw(b, device, phase == PHASE_LEAVE ? HW_LEAVE : HW_CLOSE, &hw);
	op_submit(b, op, &hw);
}

/*
 * A device that no step has dealt with yet; those that failed to close stay as tainted. Slices come
 * last: a shared device that hangs must not keep the descriptors of an exclusive one.
 */
static uint32_t next_device(const struct broker *b, uint32_t set)
{
	uint32_t slice = STATE_NONE;

	for (uint32_t d = b->sets[set].first_device; d != STATE_NONE; d = b->devices[d].set_next) {
		if (device_is_closed(b, d))
			continue;
		if (device_kind(b, d) != DEVICE_SLICE)
			return d;
		slice = d;
	}
	return slice;
}

/*
 * The lost or closed ones of which nothing tainted is left need no hardware any more. Of the others
 * one may still be on its way out, when the daemon died between the worker's end and its answer:
 * nobody takes that up. Until it is known to be lost what was bound there counts as bound, and
 * nobody may register the function again.
 */
static void drop_closed(struct broker *b, uint32_t set)
{
	uint32_t next;

	for (uint32_t d = b->sets[set].first_device; d != STATE_NONE; d = next) {
		next = b->devices[d].set_next;
		if (!device_is_closed(b, d))
			continue;
		if (device_state(b, d) == DEVICE_REMOVING)
			device_lost(b, d);
		if (b->devices[d].bindings != STATE_NONE)
			continue;
		broker_change(b, CHANGE_DEVICE_REMOVED, set, STATE_NONE, d);
		device_drop(b, d);
	}
}

/* Frees what the work until the next tick is enough for; false: there is more. */
static bool destroy_numbers(struct broker *b, uint32_t set)
{
	uint32_t next;

	for (uint32_t g = b->sets[set].grants; g != STATE_NONE; g = next) {
		if (b->work == 0)
			return false;
		b->work--;
		next = b->grant_slots[g].next;
		grant_end(b, g);
	}
	/* what might have come back to this set must wait for draining now */
	for (uint32_t g = b->sets[set].returnable; g != STATE_NONE; g = next) {
		if (b->work == 0)
			return false;
		b->work--;
		next = b->grant_slots[g].next;
		grant_requeue(b, g);
	}
	return true;
}

static void destroy_done(struct broker *b, struct op *op)
{
	if (set_is_emptying(b, op->set))
		set_return(b, op->set);
	else
		set_close(b, op->set);
	op_end(b, op);
}

/* The set has more numbers than one turn is for. */
static void destroy_later(struct broker *b, struct op *op)
{
	uint32_t index = (uint32_t)(op - b->ops);

	op->phase = PHASE_NUMBERS;
	op->refused_next = STATE_NONE;
	if (b->long_last == STATE_NONE)
		b->long_first = index;
	else
		b->ops[b->long_last].refused_next = index;
	b->long_last = index;
}

static void destroy_next(struct broker *b, struct op *op)
{
	uint32_t device, binding;

	drop_closed(b, op->set);
	device = next_device(b, op->set);
	if (device == STATE_NONE) {
		if (!destroy_numbers(b, op->set))
			destroy_later(b, op);
		else if (b->sets[op->set].has_lane)
			lane_end(b, op, set_name_of(b, op->set));
		else
			destroy_done(b, op);
		return;
	}
	if (device_kind(b, device) != DEVICE_SLICE) {
		submit_device(b, op, device, PHASE_CLOSE);
		return;
	}
	binding = next_bound(b, device);
	if (binding != STATE_NONE)
		binding_submit_detach(b, op, binding, PHASE_FORWARD);
	else
		submit_device(b, op, device, PHASE_LEAVE);
}

void destroy_start(struct broker *b, struct op *op)
{
	destroy_next(b, op);
}

void destroy_tick(struct broker *b)
{
	while (b->long_first != STATE_NONE && b->work) {
		struct op *op = &b->ops[b->long_first];

		b->long_first = op->refused_next;
		if (b->long_first == STATE_NONE)
			b->long_last = STATE_NONE;
		destroy_next(b, op);
	}
}

static void detach_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	uint32_t binding = op->pairs[0].binding;
	const struct binding_slot *slot;

	op->pair_count = 0;
	if (result->status)
		op_take_error(op, result);
	if (binding == STATE_NONE)
		return; /* lost with its worker while the detach was not taken */
	if (result->status) {
		binding_taint(b, binding, CHANGE_BINDING_TAINTED);
		return;
	}
	slot = &b->binding_slots[binding];
	broker_change(b, CHANGE_BINDING_UNBOUND, op->set, slot->grant, slot->device);
	binding_gone(b, binding);
}

/* Success proves that nothing is attached. Otherwise nobody knows, and the end of the lane closes
 * what we have. */
static void close_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	uint32_t next, device = op->device;

	if (result->status) {
		op_take_error(op, result);
		device_set_closed(b, device);
		device_taint(b, device);
	}
	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE; i = next) {
		next = b->binding_slots[i].device_next;
		if (result->status) {
			binding_taint(b, i, CHANGE_BINDING_LOST);
			continue;
		}
		broker_change(
			b, CHANGE_BINDING_UNBOUND, op->set, b->binding_slots[i].grant, device);
		binding_gone(b, i);
	}
	if (result->status == 0) {
		broker_change(b, CHANGE_DEVICE_REMOVED, op->set, STATE_NONE, device);
		metrics_add(&b->metrics, METRIC_DEVICES_REMOVED, 1);
		device_drop(b, device);
	}
}

/* Mappings that could not be undone reach memory of the dead set only, and no table names them any
 * more. */
static void leave_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	uint32_t device = op->device;

	if (result->status)
		op_take_error(op, result);
	broker_change(b, CHANGE_DEVICE_REMOVED, op->set, STATE_NONE, device);
	device_drop(b, device);
}

void destroy_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	if (op->phase == PHASE_END) {
		destroy_done(b, op);
		return;
	}
	if (op->phase == PHASE_FORWARD) {
		detach_completed(b, op, result);
	} else if (op->phase == PHASE_CLOSE) {
		close_completed(b, op, result);
	} else {
		assert(op->phase == PHASE_LEAVE);
		leave_completed(b, op, result);
	}
	op->device = STATE_NONE;
	destroy_next(b, op);
}
