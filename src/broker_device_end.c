/* SPDX-License-Identifier: MIT */
/*
 * The end of a device registration, what is vouched for, what is lost, and what can be asked.
 */
#include "broker_private.h"

#include <string.h>

/* What the daemon has open cannot go under one set's hands; what can be done instead is said. */
static int remove_refuse_going(const struct broker *b, uint32_t device, struct error *ret_error)
{
	const struct rid rid = {b->device_slots[device].rid};

	if (device_kind(b, device) == DEVICE_SLICE)
		return error_set_limit(ret_error, REASON_DEVICE_SHARED, device_name_of(b, device),
			0, 0,
			RID_FORMAT
			" is a slice of a shared device, which is not the set's to be unplugged; "
			"unbind its numbers (pasidctl unbind --set SET PASID " RID_FORMAT
			"), then remove it without force",
			RID_ARGS(rid), RID_ARGS(rid));
	return error_set_limit(ret_error, REASON_DEVICE_SHARED, device_name_of(b, device), 0, 0,
		"shared device " RID_FORMAT
		" is the daemon's, which lets go of it when the kernel asks; let its slices end, "
		"say that it is drained, then remove it without force",
		RID_ARGS(rid));
}

static int remove_begin(struct broker *b, const struct actor *actor, struct set_id id,
	struct device_id device_id, bool going, uint64_t cookie, struct error *ret_error)
{
	uint32_t set = STATE_NONE, device;
	struct op *op;
	int r = 0;

	/* a shared device belongs to no set */
	if (id.v || actor->role != ROLE_ADMIN)
		r = set_for_letting_go(b, actor, id, &set, ret_error);
	if (r)
		return r;
	device = device_slot_of(b, device_id);
	if (actor->role == ROLE_ADMIN && id.v == 0 && device != STATE_NONE)
		set = b->device_slots[device].set;
	r = device_for_change(b, actor, set, device_id, &device, ret_error);
	if (r)
		return r;
	if (going && device_kind(b, device) != DEVICE_EXCLUSIVE)
		return remove_refuse_going(b, device, ret_error);
	r = op_new(b, OP_DEVICE_REMOVE, set, cookie, &op, ret_error);
	if (r)
		return r;
	op->device = device;
	op->device_name = device_id.v;
	op->going = going;
	op->outcome.device = device_id;
	op_queue(b, op);
	return 0;
}

int broker_device_remove(struct broker *b, const struct actor *actor, struct set_id set,
	struct device_id device, uint64_t cookie, struct error *ret_error)
{
	return remove_begin(b, actor, set, device, false, cookie, ret_error);
}

int broker_device_going(struct broker *b, const struct actor *actor, struct set_id set,
	struct device_id device, uint64_t cookie, struct error *ret_error)
{
	return remove_begin(b, actor, set, device, true, cookie, ret_error);
}

static int remove_check(struct broker *b, const struct op *op, struct error *ret_error)
{
	uint32_t device = op->device;
	const struct device *run = &b->devices[device];
	struct rid rid = {b->device_slots[device].rid};

	if (!device_is_meant(b, device, op->device_name) ||
		device_state(b, device) == DEVICE_REMOVING)
		return error_set(ret_error, REASON_NO_DEVICE, "the device is removed already");
	if (device_state(b, device) == DEVICE_ADDING)
		return error_set(ret_error, REASON_BUSY,
			"the device is being registered; wait for the reply to that");
	for (uint32_t i = run->bindings; i != STATE_NONE; i = b->binding_slots[i].device_next) {
		if (!op->going && binding_state(b, i) != BINDING_TAINTED &&
			binding_state(b, i) != BINDING_DRAINING)
			return error_set_limit(ret_error, REASON_DEVICE_BUSY,
				device_name_of(b, device), 0, run->binding_count,
				"device " RID_FORMAT " has %u bindings; unbind them first",
				RID_ARGS(rid), run->binding_count);
	}
	if (run->slices || run->draining)
		return error_set_limit(ret_error, REASON_DEVICE_BUSY, device_name_of(b, device), 0,
			run->slices,
			"shared device " RID_FORMAT
			" has %u slices and %u numbers that may still be queued in it; let its sets "
			"end, then say that it is drained",
			RID_ARGS(rid), run->slices, run->draining);
	if (device_is_closed(b, device) && run->bindings != STATE_NONE)
		return error_set_limit(ret_error, REASON_DEVICE_TAINTED, device_name_of(b, device),
			0, run->binding_count,
			"device " RID_FORMAT
			" may still have numbers attached that did not detach; only a new registration "
			"of it or a reboot ends this",
			RID_ARGS(rid));
	return 0;
}

static void remove_done(struct broker *b, struct op *op)
{
	uint32_t set = op->set, device = op->device;

	if (op->outcome.status == 0) {
		metrics_add(&b->metrics, METRIC_DEVICES_REMOVED, 1);
		broker_change(b, CHANGE_DEVICE_REMOVED, set, STATE_NONE, device);
		device_drop(b, device);
	}
	op_end(b, op);
}

void device_remove_start(struct broker *b, struct op *op)
{
	struct hw_op hw;
	int r;

	recover_remove_start(b, op);
	r = remove_check(b, op, &op->outcome.error);
	op->outcome.status = r;
	if (r) {
		op_end(b, op);
		return;
	}
	if (device_is_closed(b, op->device)) {
		remove_done(b, op);
		return;
	}
	op->phase = device_kind(b, op->device) == DEVICE_SLICE ? PHASE_LEAVE : PHASE_CLOSE;
	device_hw(b, op->device, op->phase == PHASE_LEAVE ? HW_LEAVE : HW_CLOSE, &hw);
	device_commit_state(b, op->device, DEVICE_REMOVING);
	op_submit(b, op, &hw);
}

/* Our descriptors are closed, and the worker proved that nothing of ours is attached. */
static void remove_closed(struct broker *b, struct op *op)
{
	uint32_t next;

	for (uint32_t i = b->devices[op->device].bindings; i != STATE_NONE; i = next) {
		next = b->binding_slots[i].device_next;
		broker_change(b, CHANGE_BINDING_UNBOUND, b->binding_slots[i].set,
			b->binding_slots[i].grant, op->device);
		binding_gone(b, i);
	}
	if (b->devices[op->device].draining == 0)
		return;
	op->outcome.status = error_set_limit(&op->outcome.error, REASON_DEVICE_BUSY,
		device_name_of(b, op->device), 0, b->devices[op->device].draining,
		"the device is closed, but %u numbers may still be queued in it; say that it is "
		"drained, then remove it again",
		b->devices[op->device].draining);
}

void device_doubt_bindings(struct broker *b, uint32_t device)
{
	uint32_t next;

	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE; i = next) {
		next = b->binding_slots[i].device_next;
		if (binding_state(b, i) != BINDING_BOUND)
			continue;
		binding_taint(b, i, CHANGE_BINDING_LOST);
	}
}

/*
 * The worker has the device still, so the removal can be tried again. A slice gave up nothing, and
 * is as good as it was before.
 */
static void remove_failed(struct broker *b, struct op *op, const struct hw_result *result)
{
	op_take_error(op, result);
	if (op->going)
		device_doubt_bindings(b, op->device);
	if (op->phase == PHASE_LEAVE) {
		device_commit_state(b, op->device, DEVICE_TAINTED);
		binding_heal(b, op->set, b->device_slots[op->device].group);
	} else {
		device_taint(b, op->device);
	}
	op_end(b, op);
}

void device_remove_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	struct device_slot *slot = &b->device_slots[op->device];

	if (op->phase == PHASE_END) {
		remove_done(b, op);
		return;
	}
	if (result->status) {
		remove_failed(b, op, result);
		return;
	}
	if (op->phase == PHASE_CLOSE)
		remove_closed(b, op);
	if (op->outcome.status) {
		device_set_closed(b, op->device);
		device_taint(b, op->device);
	}
	if (op->phase == PHASE_CLOSE && device_kind(b, op->device) == DEVICE_SHARED)
		lane_end(b, op, slot->lane);
	else
		remove_done(b, op);
}

/* ------------------------------------------------------------------ drained, lost */

int broker_device_drained(struct broker *b, const struct actor *actor, struct device_id id,
	uint32_t *ret_released, struct error *ret_error)
{
	uint32_t device = device_slot_of(b, id), next, released = 0;
	int r;

	r = actor_must_be_admin(actor, "vouching that a device is drained", ret_error);
	if (r)
		return r;
	if (device == STATE_NONE || device_kind(b, device) != DEVICE_SHARED)
		return error_set_limit(ret_error, REASON_NO_DEVICE, id.v, 0, 0,
			"there is no shared device %llu", (unsigned long long)id.v);
	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE; i = next) {
		next = b->binding_slots[i].device_next;
		if (binding_state(b, i) != BINDING_DRAINING)
			continue;
		binding_drop(b, i);
		released++;
	}
	*ret_released = released;
	return 0;
}

void device_lost(struct broker *b, uint32_t device)
{
	bool shared = device_kind(b, device) != DEVICE_EXCLUSIVE;
	uint32_t next;

	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE; i = next) {
		next = b->binding_slots[i].device_next;
		if (!binding_is_live(b, i))
			continue;
		op_lose_binding(b, i);
		/* only the daemon had a shared device open: with its last descriptor all was
		 * detached */
		if (!shared) {
			binding_taint(b, i, CHANGE_BINDING_LOST);
			continue;
		}
		broker_change(b, CHANGE_BINDING_LOST, b->binding_slots[i].set,
			b->binding_slots[i].grant, device);
		binding_gone(b, i);
	}
	device_set_closed(b, device);
	device_taint(b, device);
}

void broker_lane_lost(struct broker *b, uint64_t lane)
{
	metrics_add(&b->metrics, METRIC_LANES_LOST, 1);
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		struct device_slot *slot = &b->device_slots[i];

		if (slot->lane != lane)
			continue;
		if (device_state(b, i) == DEVICE_READY || device_state(b, i) == DEVICE_TAINTED)
			device_lost(b, i);
		/* its operation is still to be told, by a worker that does not know the device */
		if (device_state(b, i) == DEVICE_REMOVING)
			device_set_closed(b, i);
	}
}

/* ------------------------------------------------------------------ queries */

static void device_fill_info(const struct broker *b, uint32_t device, struct device_info *ret_info)
{
	const struct device_slot *slot = &b->device_slots[device];
	const struct device_slot *holder = &b->device_slots[device_holder(b, device)];

	*ret_info = (struct device_info){
		.id.v = device_name_of(b, device),
		.kind = device_kind(b, device),
		.state = device_state(b, device),
		.rid.v = slot->rid,
		.set.v = set_name_of(b, slot->set),
		.shared.v = device_name_of(b, slot->shared),
		.group = slot->group,
		.dev_id = device_kind(b, device) == DEVICE_EXCLUSIVE ? slot->dev_id : 0,
		.bindings = b->devices[device].binding_count,
		.hw =
			{
				.iommu = holder->iommu,
				.pasid_width = holder->pasid_width,
				.caps = holder->caps,
				.unit = holder->unit,
			},
	};
	memcpy(ret_info->hw.raw, holder->raw, sizeof(holder->raw));
}

static bool device_is_visible(const struct broker *b, const struct actor *actor, uint32_t device)
{
	if (device_state(b, device) == DEVICE_FREE || device_state(b, device) == DEVICE_ADDING)
		return false;
	return actor_sees_all(actor) ||
	       (actor->set.v && set_name_of(b, b->device_slots[device].set) == actor->set.v);
}

int broker_device_get(struct broker *b, const struct actor *actor, struct device_id id,
	struct device_info *ret_info, struct error *ret_error)
{
	uint32_t device = device_slot_of(b, id);

	if (device == STATE_NONE || !device_is_visible(b, actor, device))
		return error_set_limit(ret_error, REASON_NO_DEVICE, id.v, 0, 0,
			"there is no device %llu that this session may see",
			(unsigned long long)id.v);
	device_fill_info(b, device, ret_info);
	return 0;
}

/* The first device of a set at or above the cursor. */
static uint32_t device_at_or_above(const struct broker *b, uint32_t set, uint64_t cursor)
{
	uint32_t lowest = STATE_NONE;

	for (uint32_t d = b->sets[set].first_device; d != STATE_NONE; d = b->devices[d].set_next) {
		if (d >= cursor && d < lowest)
			lowest = d;
	}
	return lowest;
}

bool broker_device_next(struct broker *b, const struct actor *actor, struct set_id id,
	uint64_t *cursor, struct device_info *ret_info)
{
	uint32_t set = STATE_NONE;

	if (id.v || !actor_sees_all(actor)) {
		set = set_slot_of(b, id.v ? id : actor->set);
		if (set == STATE_NONE)
			*cursor = BROKER_END;
	}
	for (; *cursor < b->device_pool.used; (*cursor)++) {
		uint32_t device = (uint32_t)*cursor;

		if (set != STATE_NONE && b->sets[set].devices <= BROKER_LIST_MAX)
			device = device_at_or_above(b, set, *cursor);
		if (device == STATE_NONE)
			break;
		*cursor = device;
		if (!device_is_visible(b, actor, device) ||
			(set != STATE_NONE && b->device_slots[device].set != set))
			continue;
		device_fill_info(b, device, ret_info);
		(*cursor)++;
		return true;
	}
	*cursor = BROKER_END;
	return false;
}
