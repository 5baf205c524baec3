/* SPDX-License-Identifier: MIT */
/*
 * Requests to bind and to unbind, and the steps of an unbind.
 */
#include "broker_private.h"

#include <assert.h>

int bind_op_add_pairs(struct broker *b, const struct actor *actor, struct op *op,
	const struct bind_pair *pairs, size_t count, struct error *ret_error)
{
	int r;

	for (size_t i = 0; i < count; i++) {
		r = device_for_change(
			b, actor, op->set, pairs[i].device, &op->pairs[i].device, ret_error);
		if (r)
			return r;
		op->pairs[i].name = pairs[i].device.v;
		op->pairs[i].table = pairs[i].table;
		op->pairs[i].binding = STATE_NONE;
	}
	op->pair_count = (uint32_t)count;
	return 0;
}

static int pair_count_check(size_t count, struct error *ret_error)
{
	if (count >= 1 && count <= BROKER_PAIRS_MAX)
		return 0;
	return error_set_limit(ret_error, REASON_LIMIT, 0, BROKER_PAIRS_MAX, count,
		"one request names 1 to %u devices, not %zu", BROKER_PAIRS_MAX, count);
}

int bind_op_new(struct broker *b, const struct actor *actor, enum op_kind kind, struct set_id id,
	const struct pasid_ref *ref, uint64_t cookie, struct op **ret_op, struct error *ret_error)
{
	uint32_t set, grant = STATE_NONE;
	struct op *op;
	int r;

	if (kind == OP_BIND || kind == OP_RID_ATTACH || kind == OP_REPLACE) {
		r = set_for_change(b, actor, id, &set, ret_error);
		if (r == 0)
			r = recover_check_confirmed(b, ret_error);
	} else {
		r = set_for_letting_go(b, actor, id, &set, ret_error);
	}
	if (r == 0 && ref)
		r = grant_resolve(b, set, *ref, &grant, ret_error);
	if (r == 0)
		r = op_new(b, kind, set, cookie, &op, ret_error);
	if (r)
		return r;
	op->grant = grant;
	if (grant != STATE_NONE)
		op->outcome.host.v = grant_host(&b->grant_slots[grant]);
	*ret_op = op;
	return 0;
}

int broker_bind(struct broker *b, const struct actor *actor, struct set_id id, struct pasid_ref ref,
	const struct bind_pair *pairs, size_t pair_count, uint64_t cookie, struct error *ret_error)
{
	struct op *op;
	int r;

	r = pair_count_check(pair_count, ret_error);
	if (r)
		return r;
	r = bind_op_new(b, actor, OP_BIND, id, &ref, cookie, &op, ret_error);
	if (r)
		return r;
	r = bind_op_add_pairs(b, actor, op, pairs, pair_count, ret_error);
	if (r) {
		op_discard(b, op);
		return r;
	}
	op_queue(b, op);
	return 0;
}

int broker_rid_attach(struct broker *b, const struct actor *actor, struct set_id id,
	const struct bind_pair *pair, uint64_t cookie, struct error *ret_error)
{
	struct op *op;
	int r;

	r = bind_op_new(b, actor, OP_RID_ATTACH, id, NULL, cookie, &op, ret_error);
	if (r)
		return r;
	r = bind_op_add_pairs(b, actor, op, pair, 1, ret_error);
	if (r) {
		op_discard(b, op);
		return r;
	}
	op->device = op->pairs[0].device;
	op_queue(b, op);
	return 0;
}

/* ------------------------------------------------------------------ unbind */

/*
 * One that another operation works on may be gone when that is done; one whose device was closed
 * can be detached by nobody here.
 */
int unbind_check_binding(struct broker *b, uint32_t binding, struct error *ret_error)
{
	uint32_t device = b->binding_slots[binding].device;
	struct rid rid = {b->device_slots[device].rid};

	if (device_is_closed(b, device))
		return error_set_limit(ret_error, REASON_DEVICE_TAINTED, device_name_of(b, device),
			0, 0,
			"the worker that held device " RID_FORMAT
			" is gone, so nothing can be detached there; close the device and register "
			"it anew",
			RID_ARGS(rid));
	if (device_state(b, device) == DEVICE_REMOVING)
		return error_set_limit(ret_error, REASON_DEVICE_GOING, device_name_of(b, device), 0,
			0, "device " RID_FORMAT " is being removed, which detaches everything",
			RID_ARGS(rid));
	if (binding_state(b, binding) != BINDING_BOUND &&
		binding_state(b, binding) != BINDING_TAINTED)
		return error_set_limit(ret_error, REASON_BUSY, device_name_of(b, device), 0, 0,
			"another attach or detach in the IOMMU group of device " RID_FORMAT
			" is under way; wait for its reply",
			RID_ARGS(rid));
	/* whatever is about this table waits for a replacement, and for its set's recovery */
	assert(!binding_is_replaced(b, binding));
	return 0;
}

/*
 * Which bindings are meant; fills op->pairs[].binding. What cannot be detached is passed over, and
 * is what the operation fails with in the end.
 */
static int unbind_choose_all(struct broker *b, struct op *op, struct error *ret_error)
{
	uint32_t i = b->grant_slots[op->grant].bindings;
	int r = 0;

	for (; i != STATE_NONE; i = b->binding_slots[i].grant_next) {
		if (!binding_is_live(b, i))
			continue;
		r = unbind_check_binding(b, i, ret_error);
		if (r) {
			op->outcome.status = r;
			continue;
		}
		assert(op->pair_count < BROKER_PAIRS_MAX);
		op->pairs[op->pair_count].device = b->binding_slots[i].device;
		op->pairs[op->pair_count++].binding = i;
	}
	if (op->pair_count || op->outcome.status)
		return op->pair_count ? 0 : op->outcome.status;
	return error_set_limit(ret_error, REASON_NOT_BOUND, op->outcome.host.v, 0, 0,
		"PASID %u is bound nowhere", op->outcome.host.v);
}

static int unbind_choose(struct broker *b, struct op *op, struct error *ret_error)
{
	for (uint32_t i = 0; i < op->pair_count; i++) {
		struct op_pair *pair = &op->pairs[i];
		struct rid rid = {b->device_slots[pair->device].rid};
		int r;

		if (!device_is_meant(b, pair->device, pair->name))
			return error_set(ret_error, REASON_NO_DEVICE,
				"the device was removed in the meantime");
		pair->binding = binding_find(b, op->grant, pair->device);
		if (pair->binding == STATE_NONE || !binding_is_live(b, pair->binding))
			return error_set_limit(ret_error, REASON_NOT_BOUND, op->outcome.host.v, 0,
				0, "%s is not bound on device " RID_FORMAT,
				op->grant == STATE_NONE ? "the RID" : "the PASID", RID_ARGS(rid));
		r = unbind_check_binding(b, pair->binding, ret_error);
		if (r)
			return r;
		for (uint32_t k = 0; k < i; k++) {
			if (op->pairs[k].binding == pair->binding)
				pair->binding = STATE_NONE; /* two devices of one group */
		}
	}
	return 0;
}

static void unbind_next(struct broker *b, struct op *op)
{
	struct hw_op hw;

	while (op->step < op->pair_count && op->pairs[op->step].binding == STATE_NONE)
		op->step++;
	if (op->step == op->pair_count) {
		if (op->lost && op->outcome.status == 0)
			op_take_loss(op);
		metrics_add(&b->metrics, METRIC_UNBINDS, 1);
		op_end(b, op);
		return;
	}
	binding_hw(b, op->pairs[op->step].binding, HW_DETACH, &hw);
	op_submit(b, op, &hw);
}

void unbind_start(struct broker *b, struct op *op)
{
	int r;

	if (op->grant != STATE_NONE && !op_grant_is_meant(b, op))
		r = error_set_limit(&op->outcome.error, REASON_NOT_BOUND, op->outcome.host.v, 0, 0,
			"PASID %u is bound nowhere", op->outcome.host.v);
	else if (op->pair_count == 0)
		r = unbind_choose_all(b, op, &op->outcome.error);
	else
		r = unbind_choose(b, op, &op->outcome.error);
	if (r) {
		op->outcome.status = r;
		op_end(b, op);
		return;
	}
	if (!await_begin(b, op))
		unbind_go_on(b, op);
}

void unbind_go_on(struct broker *b, struct op *op)
{
	for (uint32_t i = 0; i < op->pair_count; i++) {
		if (op->pairs[i].binding == STATE_NONE)
			continue;
		if (op->announced)
			binding_commit_state(b, op->pairs[i].binding, BINDING_UNBINDING);
		else
			binding_begin_end(b, op->pairs[i].binding);
	}
	unbind_next(b, op);
}

void unbind_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	struct op_pair *pair = &op->pairs[op->step++];

	if (pair->binding == STATE_NONE) {
		/* lost with its worker, which is what is told: the next one does not know it */
	} else if (result->status) {
		op_take_error(op, result);
		binding_taint(b, pair->binding, CHANGE_BINDING_TAINTED);
	} else {
		broker_change(b, CHANGE_BINDING_UNBOUND, op->set, op->grant, pair->device);
		binding_gone(b, pair->binding);
		binding_heal(b, op->set, b->device_slots[pair->device].group);
	}
	unbind_next(b, op);
}

int broker_unbind(struct broker *b, const struct actor *actor, struct set_id id,
	struct pasid_ref ref, const struct device_id *devices, size_t device_count, uint64_t cookie,
	struct error *ret_error)
{
	struct op *op;
	int r = device_count ? pair_count_check(device_count, ret_error) : 0;

	if (r)
		return r;
	r = bind_op_new(b, actor, OP_UNBIND, id, &ref, cookie, &op, ret_error);
	if (r)
		return r;
	for (size_t i = 0; r == 0 && i < device_count; i++) {
		op->pairs[i].name = devices[i].v;
		r = device_for_change(
			b, actor, op->set, devices[i], &op->pairs[i].device, ret_error);
	}
	if (r) {
		op_discard(b, op);
		return r;
	}
	op->pair_count = (uint32_t)device_count;
	op_queue(b, op);
	return 0;
}

int broker_rid_detach(struct broker *b, const struct actor *actor, struct set_id id,
	struct device_id device, uint64_t cookie, struct error *ret_error)
{
	struct op *op;
	int r;

	r = bind_op_new(b, actor, OP_RID_DETACH, id, NULL, cookie, &op, ret_error);
	if (r)
		return r;
	r = device_for_change(b, actor, op->set, device, &op->pairs[0].device, ret_error);
	if (r) {
		op_discard(b, op);
		return r;
	}
	op->pair_count = 1;
	op->pairs[0].name = device.v;
	op->device = op->pairs[0].device;
	op_queue(b, op);
	return 0;
}
