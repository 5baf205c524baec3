/* SPDX-License-Identifier: MIT */
/*
 * Bindings: a page table in a device's PASID table, or under its RID.
 *
 * A bind records an intent for every device before the first one is touched, attaches one device
 * after the other, and on a failure detaches those before it (invariant A). A detach that fails
 * leaves a tainted binding, which keeps the number out of use.
 */
#include "broker_private.h"

#include <assert.h>
#include <string.h>

/* ------------------------------------------------------------------ bind: checks */

int bind_check_table(
	struct broker *b, uint32_t device, const struct hw_table *table, struct error *ret_error)
{
	bool slice = device_kind(b, device) == DEVICE_SLICE;
	bool nested = hw_table_is_nested(table);
	uint32_t kind = nested ? table->parent_kind : table->kind;
	int r = guest_check_mode(b, device, table, ret_error);

	if (r)
		return r;
	if (kind != HW_TABLE_HWPT && kind != HW_TABLE_IOAS && kind != HW_TABLE_SPACE)
		return error_set(ret_error, REASON_TABLE_KIND,
			"the bind names no page table; it may be a HWPT, an IOAS, an address space or "
			"a guest's table");
	if (slice && kind != HW_TABLE_SPACE)
		return error_set_limit(ret_error, REASON_TABLE_KIND, device_name_of(b, device), 0,
			0,
			"device %llu is a slice of a shared device, whose page tables the daemon "
			"makes; bind an address space filled by a memory map",
			(unsigned long long)device_name_of(b, device));
	if (kind == HW_TABLE_SPACE && table->id >= BROKER_SPACES_MAX)
		return error_set_limit(ret_error, REASON_TABLE_ID, table->id, BROKER_SPACES_MAX, 0,
			"there is no address space %u; they are numbered from 0 to %u", table->id,
			BROKER_SPACES_MAX - 1);
	return table->kind == HW_TABLE_SMMUV3 ? guest_check_table(b, device, table, ret_error) : 0;
}

int device_check_width(
	const struct broker *b, uint32_t device, uint32_t host, struct error *ret_error)
{
	const struct device_slot *slot = &b->device_slots[device_holder(b, device)];
	struct rid rid = {slot->rid};

	if (slot->pasid_width == 0)
		return error_set_limit(ret_error, REASON_DEVICE_NO_WIDTH, device_name_of(b, device),
			0, 0,
			"device " RID_FORMAT
			" or its IOMMU has no PASIDs: the kernel would report "
			"success and write nothing; attach its RID instead",
			RID_ARGS(rid));
	if (!(slot->caps & HW_CAP_PASID))
		return error_set_limit(ret_error, REASON_NO_PASID_ATTACH, device_name_of(b, device),
			0, 0,
			"the kernel or driver of device " RID_FORMAT
			" attaches no PASIDs; it takes vfio-pci and Linux 6.15",
			RID_ARGS(rid));
	if (host >> slot->pasid_width)
		return error_set_limit(ret_error, REASON_PASID_WIDTH, host,
			(1u << slot->pasid_width) - 1, host,
			"PASID %u is beyond the %u bits that device " RID_FORMAT
			" takes; allocate with max %u, or name the device when you allocate",
			host, slot->pasid_width, RID_ARGS(rid), (1u << slot->pasid_width) - 1);
	return 0;
}

int bind_check_device(
	struct broker *b, const struct op *op, const struct op_pair *pair, struct error *ret_error)
{
	uint32_t device = pair->device;
	struct rid rid = {b->device_slots[device].rid};

	if (!device_is_meant(b, device, pair->name))
		return error_set(
			ret_error, REASON_NO_DEVICE, "the device was removed in the meantime");
	if (device_state(b, device) == DEVICE_TAINTED)
		return error_set_limit(ret_error, REASON_DEVICE_TAINTED, device_name_of(b, device),
			0, 0,
			"device " RID_FORMAT
			" failed to detach something; unbind that successfully, or "
			"remove the device and register it again",
			RID_ARGS(rid));
	/* an operation that adds or removes it has its place before this one */
	assert(device_state(b, device) == DEVICE_READY);
	if (op->grant == STATE_NONE && device_kind(b, device) == DEVICE_SLICE)
		return error_set_limit(ret_error, REASON_DEVICE_SHARED, device_name_of(b, device),
			0, 0,
			"device " RID_FORMAT
			" is shared; its RID stays unattached, only PASIDs are bound there",
			RID_ARGS(rid));
	return op->grant == STATE_NONE ? 0 : guest_check_number(b, device, ret_error);
}

/* A binding that is there already is in the way, unless it only waits for draining: then it is used
 * again. */
static int check_present(
	struct broker *b, const struct op *op, struct op_pair *pair, struct error *ret_error)
{
	struct rid rid = {b->device_slots[pair->device].rid};
	uint32_t binding = binding_find(b, op->grant, pair->device);

	pair->binding = STATE_NONE;
	pair->drained_before = false;
	if (binding == STATE_NONE)
		return 0;
	if (binding_state(b, binding) == BINDING_DRAINING) {
		if (device_kind(b, pair->device) != DEVICE_SLICE)
			return error_set_limit(ret_error, REASON_DEVICE_BUSY,
				device_name_of(b, pair->device), 0, 0,
				"PASID %u may still be queued in device " RID_FORMAT
				" from when it was shared; bind another number, or have an admin "
				"say that it is drained",
				grant_host(&b->grant_slots[op->grant]), RID_ARGS(rid));
		pair->binding = binding;
		pair->drained_before = true;
		return 0;
	}
	if (op->grant == STATE_NONE)
		return error_set_limit(ret_error, REASON_RID_ATTACHED,
			device_name_of(b, pair->device), 1, 1,
			"the RID of device " RID_FORMAT
			" (or of its IOMMU group) is attached "
			"already; detach it first",
			RID_ARGS(rid));
	return error_set_limit(ret_error, REASON_ALREADY_BOUND,
		grant_host(&b->grant_slots[op->grant]), 1, 1,
		"PASID %u is bound on device " RID_FORMAT
		" (or in its IOMMU group) already; unbind it first",
		grant_host(&b->grant_slots[op->grant]), RID_ARGS(rid));
}

/* Two pairs in one IOMMU group are one binding, if they name the same table (kernel: EINVAL
 * otherwise). */
static int check_group(struct broker *b, const struct op *op, uint32_t index, bool *ret_same,
	struct error *ret_error)
{
	const struct op_pair *pair = &op->pairs[index];
	uint32_t group = b->device_slots[pair->device].group;

	for (uint32_t i = 0; i < index; i++) {
		if (b->device_slots[op->pairs[i].device].group != group)
			continue;
		if (memcmp(&op->pairs[i].table, &pair->table, sizeof(pair->table)) != 0)
			return error_set_limit(ret_error, REASON_GROUP_TABLE, group, 1, 2,
				"two of the devices are in IOMMU group %u, which has one PASID table; "
				"name the same page table for both",
				group);
		*ret_same = true;
		return 0;
	}
	*ret_same = false;
	return 0;
}

static int check_pair(struct broker *b, struct op *op, uint32_t index, struct error *ret_error)
{
	struct op_pair *pair = &op->pairs[index];
	int r;

	r = bind_check_device(b, op, pair, ret_error);
	if (r == 0 && op->grant != STATE_NONE)
		r = device_check_width(
			b, pair->device, grant_host(&b->grant_slots[op->grant]), ret_error);
	if (r == 0 && op->grant != STATE_NONE)
		r = scope_check_bind(b, op->grant, pair->device, ret_error);
	if (r == 0)
		r = bind_check_table(b, pair->device, &pair->table, ret_error);
	if (r == 0)
		r = check_present(b, op, pair, ret_error);
	return r;
}

static int check_grant(struct broker *b, const struct op *op, struct error *ret_error)
{
	const struct grant_slot *slot = &b->grant_slots[op->grant];
	uint32_t bindings = 0;

	if (grant_state(slot) != GRANT_ACTIVE || !op_grant_is_meant(b, op))
		return error_set_limit(ret_error, REASON_NOT_ACTIVE, op->outcome.host.v, 0, 0,
			"PASID %u was freed; allocate another", op->outcome.host.v);
	for (uint32_t i = slot->bindings; i != STATE_NONE; i = b->binding_slots[i].grant_next)
		bindings++;
	if (bindings + op->pair_count > BROKER_PAIRS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, op->outcome.host.v,
			BROKER_PAIRS_MAX, bindings,
			"PASID %u is bound to %u devices, %u more are beyond the %u that one PASID can "
			"have",
			op->outcome.host.v, bindings, op->pair_count, BROKER_PAIRS_MAX);
	return 0;
}

/* ------------------------------------------------------------------ bind: steps */

/* An intent for one pair, unless the one of another pair stands for it. */
static int record_pair(struct broker *b, struct op *op, uint32_t index, struct error *ret_error)
{
	struct op_pair *pair = &op->pairs[index];
	bool same = false;
	int r;

	r = check_group(b, op, index, &same, ret_error);
	if (r)
		return r;
	if (same) {
		pair->binding = STATE_NONE;
		return 0;
	}
	if (pair->drained_before)
		return binding_charge_tables(
			b, pair->binding, pair->device, &pair->table, ret_error);
	return binding_make(b, op->set, op->grant, pair, &pair->binding, ret_error);
}

static void unrecord_pair(struct broker *b, const struct op_pair *pair)
{
	if (pair->binding == STATE_NONE)
		return;
	if (pair->drained_before)
		binding_release_tables(b, pair->binding, pair->device);
	else
		binding_drop(b, pair->binding);
}

/* Intents for all pairs, or none and an error. */
static int bind_record(struct broker *b, struct op *op, struct error *ret_error)
{
	for (uint32_t i = 0; i < op->pair_count; i++) {
		int r = record_pair(b, op, i, ret_error);

		if (r == 0)
			continue;
		while (i-- > 0)
			unrecord_pair(b, &op->pairs[i]);
		return r;
	}
	return 0;
}

static void bind_end(struct broker *b, struct op *op);
static void bind_undo_next(struct broker *b, struct op *op);

/* Submits the next attach, or ends the operation when all are done. */
static void bind_next(struct broker *b, struct op *op)
{
	struct hw_op hw;

	while (op->step < op->pair_count && op->pairs[op->step].binding == STATE_NONE)
		op->step++;
	if (op->step == op->pair_count && op->lost) {
		op_take_loss(op);
		op->phase = PHASE_UNDO;
		bind_undo_next(b, op);
		return;
	}
	if (op->step == op->pair_count) {
		bind_end(b, op);
		return;
	}
	binding_hw(b, op->pairs[op->step].binding, HW_ATTACH, &hw);
	hw.table = op->pairs[op->step].table;
	op_submit(b, op, &hw);
}

void bind_start(struct broker *b, struct op *op)
{
	int r = 0;

	if (op->grant != STATE_NONE)
		r = check_grant(b, op, &op->outcome.error);
	for (uint32_t i = 0; r == 0 && i < op->pair_count; i++)
		r = check_pair(b, op, i, &op->outcome.error);
	if (r == 0)
		r = bind_record(b, op, &op->outcome.error);
	if (r) {
		op->outcome.status = r;
		op_end(b, op);
		return;
	}
	for (uint32_t i = 0; i < op->pair_count; i++) {
		if (op->pairs[i].binding != STATE_NONE && op->pairs[i].drained_before)
			binding_take_draining(b, op->pairs[i].binding, op->pairs[i].device);
	}
	bind_next(b, op);
}

void bind_tell_table(struct broker *b, struct op *op, uint32_t index)
{
	const struct op_pair *pair = &op->pairs[index];
	struct attached_table *told = &op->outcome.tables[index];
	const struct binding_slot *slot;
	uint32_t binding = pair->binding;

	if (binding == STATE_NONE)
		binding = binding_find(b, op->grant, pair->device);
	slot = &b->binding_slots[binding];
	told->device.v = device_name_of(b, pair->device);
	told->made = slot->word & BINDING_WORD_MADE;
	told->pt_id = device_kind(b, pair->device) == DEVICE_SLICE ? 0 : slot->pt_id;
	guest_tell(b, binding, told);
}

/* Bound on all devices at once: until now each of them is an intent that a recovery takes back. */
static void bind_end(struct broker *b, struct op *op)
{
	for (uint32_t i = 0; i < op->pair_count; i++) {
		if (op->pairs[i].binding != STATE_NONE)
			binding_commit_state(b, op->pairs[i].binding, BINDING_BOUND);
	}
	for (uint32_t i = 0; i < op->pair_count; i++) {
		bind_tell_table(b, op, i);
		if (op->pairs[i].binding != STATE_NONE)
			broker_change(
				b, CHANGE_BINDING_BOUND, op->set, op->grant, op->pairs[i].device);
	}
	op->outcome.table_count = op->pair_count;
	metrics_add(&b->metrics, METRIC_BINDS, 1);
	op_end(b, op);
}

/* Detaches what the failed bind had attached, last first. */
static void bind_undo_next(struct broker *b, struct op *op)
{
	struct hw_op hw;

	while (op->step > 0 && op->pairs[op->step - 1].binding == STATE_NONE)
		op->step--;
	if (op->step == 0) {
		op->outcome.table_count = 0;
		metrics_add(&b->metrics, METRIC_BIND_FAILURES, 1);
		op_end(b, op);
		return;
	}
	binding_commit_state(b, op->pairs[op->step - 1].binding, BINDING_UNBINDING);
	binding_hw(b, op->pairs[op->step - 1].binding, HW_DETACH, &hw);
	op_submit(b, op, &hw);
}

static void bind_undo_failed(struct op *op)
{
	struct error first = op->outcome.error;

	op->undo_failed = true;
	op->outcome.status = error_set_limit(&op->outcome.error, REASON_UNDO_FAILED,
		op->outcome.host.v, 0, 0,
		"the bind failed and could not be undone on every device, which is tainted now and "
		"keeps the number from any other use; first failure: %.100s",
		first.text);
	op->outcome.error.sys_errno = first.sys_errno;
}

static void bind_undo_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	uint32_t binding = op->pairs[op->step - 1].binding;

	op->step--;
	if (binding == STATE_NONE) {
		/* lost with its worker while the detach was not taken */
	} else if (result->status == 0) {
		binding_gone(b, binding);
	} else {
		binding_taint(b, binding, CHANGE_BINDING_TAINTED);
		if (!op->undo_failed)
			bind_undo_failed(op);
	}
	bind_undo_next(b, op);
}

/* Its page table never stood there on behalf of this operation. */
static void bind_untouched(struct broker *b, const struct op_pair *pair)
{
	if (pair->binding == STATE_NONE)
		return;
	if (pair->drained_before)
		binding_gone(b, pair->binding);
	else
		binding_drop(b, pair->binding);
}

/* The attach at op->step failed: those behind it were never touched. */
static void bind_failed(struct broker *b, struct op *op, const struct hw_result *result)
{
	op_take_error(op, result);
	for (uint32_t i = op->step + 1; i < op->pair_count; i++)
		bind_untouched(b, &op->pairs[i]);
	/* a refusal of the kernel leaves nothing; a worker that is gone leaves nobody who knows */
	if (result->status > 0)
		bind_untouched(b, &op->pairs[op->step]);
	else if (op->pairs[op->step].binding != STATE_NONE) /* not lost before it was asked for */
		binding_taint(b, op->pairs[op->step].binding, CHANGE_BINDING_TAINTED);
	if (MUTANT(A)) {
		for (uint32_t i = 0; i < op->step; i++)
			op->pairs[i].binding = STATE_NONE;
	}
	op->phase = PHASE_UNDO;
	bind_undo_next(b, op);
}

void bind_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	struct binding_slot *slot;

	if (op->phase == PHASE_UNDO) {
		bind_undo_completed(b, op, result);
		return;
	}
	if (result->status) {
		bind_failed(b, op, result);
		return;
	}
	slot = &b->binding_slots[op->pairs[op->step].binding];
	slot->pt_id = result->pt_id;
	if (result->made_pt)
		broker_commit(b, &slot->word, slot->word | BINDING_WORD_MADE);
	if (binding_kind(b, op->pairs[op->step].binding) == HW_TABLE_SMMUV3)
		guest_record_ids(b, slot->device, result);
	op->step++;
	bind_next(b, op);
}
