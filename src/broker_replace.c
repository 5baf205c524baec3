/* SPDX-License-Identifier: MIT */
/*
 * Another page table in the place of one that is bound.
 *
 * The new table is recorded beside the old one before hardware is asked, and both are charged until
 * it is known which one stands. The worker checks first, and makes a failure good by a detach and
 * an attach of the old table, so there is never a table in the entry that is not one of the two.
 * What it could not make good is told as what it is: the binding is gone, or it is tainted.
 */
#include "broker_private.h"

#include <assert.h>

/* ------------------------------------------------------------------ the record */

static uint64_t next_of(const struct hw_table *table)
{
	return (uint64_t)table->kind | (uint64_t)table->parent_kind << BINDING_NEXT_PARENT_SHIFT |
	       (uint64_t)table->id << BINDING_NEXT_ID_SHIFT;
}

static int next_charge(
	struct broker *b, uint32_t binding, const struct hw_table *table, struct error *ret_error)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	struct table_charge charge;
	int r = table_charge(b, slot->device, table, &charge, ret_error);

	if (r)
		return r;
	slot->next_shared = charge.shared;
	slot->next_own = charge.own;
	return 0;
}

void replace_recover(struct broker *b, uint32_t binding)
{
	const uint64_t next = b->binding_slots[binding].next_table;
	const struct hw_table table = {
		.kind = BINDING_NEXT_KIND(next),
		.parent_kind = next >> BINDING_NEXT_PARENT_SHIFT & 0xf,
		.id = (uint32_t)(next >> BINDING_NEXT_ID_SHIFT),
	};
	struct error error;
	int r = next_charge(b, binding, &table, &error);

	assert(r == 0); /* limits are waived */
	(void)r;
}

/* There is no new table any more, as far as the record goes. */
static void next_clear(struct broker *b, uint32_t binding)
{
	struct binding_slot *slot = &b->binding_slots[binding];

	slot->next_shared = STATE_NONE;
	slot->next_own = 0;
	broker_commit(b, &slot->next_table, 0);
}

void replace_forget(struct broker *b, uint32_t binding)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	const struct table_charge charge = {slot->next_shared, slot->next_own};

	if (!binding_is_replaced(b, binding))
		return;
	table_release(b, slot->device, &charge);
	next_clear(b, binding);
}

/* The new table stands there. */
static void replace_take(struct broker *b, uint32_t binding, const struct hw_result *result)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	const struct table_charge old = {slot->table_shared, slot->table_own};
	const uint64_t next = slot->next_table;
	uint64_t word = slot->word;

	word &= ~(BINDING_WORD_MADE | UINT64_C(0xf) << BINDING_KIND_SHIFT |
		  UINT64_C(0xf) << BINDING_PARENT_SHIFT);
	word |= BINDING_NEXT_KIND(next) << BINDING_KIND_SHIFT;
	word |= (next >> BINDING_NEXT_PARENT_SHIFT & 0xf) << BINDING_PARENT_SHIFT;
	word |= result->made_pt ? BINDING_WORD_MADE : 0;
	broker_commit(b, &slot->word, word);
	if (binding_kind(b, binding) == HW_TABLE_SMMUV3)
		guest_record_ids(b, slot->device, result);
	state_commit32(b->ports.state, &slot->pt_id, result->pt_id);
	state_commit32(b->ports.state, &slot->table_id, (uint32_t)(next >> BINDING_NEXT_ID_SHIFT));
	table_release(b, slot->device, &old);
	slot->table_shared = slot->next_shared;
	slot->table_own = slot->next_own;
	next_clear(b, binding);
	broker_change(b, CHANGE_BINDING_REPLACED, slot->set, slot->grant, slot->device);
}

/* Proven absent, which nobody asked for. */
static void replace_gone(struct broker *b, uint32_t binding)
{
	const struct binding_slot *slot = &b->binding_slots[binding];

	broker_change(b, CHANGE_BINDING_LOST, slot->set, slot->grant, slot->device);
	binding_gone(b, binding);
}

/* ------------------------------------------------------------------ checks */

static int check_grant(struct broker *b, const struct op *op, struct error *ret_error)
{
	if (op->grant == STATE_NONE ||
		(op_grant_is_meant(b, op) &&
			grant_state(&b->grant_slots[op->grant]) == GRANT_ACTIVE))
		return 0;
	return error_set_limit(ret_error, REASON_NOT_ACTIVE, op->outcome.host.v, 0, 0,
		"PASID %u was freed, and gets no other page table; unbind it", op->outcome.host.v);
}

/* Finds the binding that the pair means; it is through one function of the group, maybe another. */
static int check_binding(
	struct broker *b, const struct op *op, struct op_pair *pair, struct error *ret_error)
{
	struct rid rid = {b->device_slots[pair->device].rid};

	pair->binding = binding_find(b, op->grant, pair->device);
	if (pair->binding == STATE_NONE || !binding_is_live(b, pair->binding))
		return error_set_limit(ret_error, REASON_NOT_BOUND, op->outcome.host.v, 0, 0,
			"%s is not bound on device " RID_FORMAT
			", so there is no page table to replace; bind one",
			op->grant == STATE_NONE ? "the RID" : "the PASID", RID_ARGS(rid));
	if (binding_state(b, pair->binding) == BINDING_TAINTED)
		return error_set_limit(ret_error, REASON_DEVICE_TAINTED,
			device_name_of(b, pair->device), 0, 0,
			"what is attached there failed to detach before; unbind it successfully, then "
			"bind it anew");
	return unbind_check_binding(b, pair->binding, ret_error);
}

/* Address spaces belong to one function, also where a group has several. */
static int check_space(struct broker *b, const struct op_pair *pair, struct error *ret_error)
{
	const uint32_t device = b->binding_slots[pair->binding].device;
	struct rid rid = {b->device_slots[device].rid};

	if (device == pair->device ||
		(pair->table.kind != HW_TABLE_SPACE && pair->table.parent_kind != HW_TABLE_SPACE))
		return 0;
	return error_set_limit(ret_error, REASON_GROUP_TABLE, b->device_slots[device].group, 0, 0,
		"it is bound through device " RID_FORMAT
		" of the same IOMMU group; name that one, whose address spaces it takes",
		RID_ARGS(rid));
}

static int replace_check(struct broker *b, struct op *op, struct error *ret_error)
{
	struct op_pair *pair = &op->pairs[0];
	int r = check_grant(b, op, ret_error);

	if (r == 0)
		r = bind_check_device(b, op, pair, ret_error);
	if (r == 0)
		r = check_binding(b, op, pair, ret_error);
	if (r == 0)
		r = bind_check_table(b, pair->device, &pair->table, ret_error);
	if (r == 0)
		r = check_space(b, pair, ret_error);
	if (r == 0 && pair->table.kind == HW_TABLE_SMMUV3)
		r = guest_check_replace(b, pair->binding, &pair->table, ret_error);
	return r;
}

/* ------------------------------------------------------------------ steps */

void replace_start(struct broker *b, struct op *op)
{
	struct op_pair *pair = &op->pairs[0];
	struct hw_op hw;
	int r = replace_check(b, op, &op->outcome.error);

	if (r == 0)
		r = next_charge(b, pair->binding, &pair->table, &op->outcome.error);
	if (r) {
		pair->binding = STATE_NONE;
		op->outcome.status = r;
		op_end(b, op);
		return;
	}
	broker_commit(b, &b->binding_slots[pair->binding].next_table, next_of(&pair->table));
	binding_hw(b, pair->binding, HW_REPLACE, &hw);
	hw.table = pair->table;
	op_submit(b, op, &hw);
}

static void tell_left(struct op *op, enum reason reason, const char *what)
{
	struct error first = op->outcome.error;

	op->outcome.status = error_set_limit(&op->outcome.error, reason, op->outcome.host.v, 0, 0,
		"%s; first failure: %.110s", what, first.text);
	op->outcome.error.sys_errno = first.sys_errno;
}

/* The worker said what stands there, or is gone and leaves nobody who knows. */
static void replace_failed(struct broker *b, struct op *op, const struct hw_result *result)
{
	const uint32_t binding = op->pairs[0].binding;

	op_take_error(op, result);
	metrics_add(&b->metrics, METRIC_REPLACE_FAILURES, 1);
	if (result->status < 0) {
		binding_taint(b, binding, CHANGE_BINDING_LOST);
	} else if (result->left == HW_LEFT_EARLIER) {
		replace_forget(b, binding);
	} else if (result->left == HW_LEFT_NOTHING) {
		tell_left(op, REASON_BINDING_LOST,
			"the page table was not replaced, and the earlier one could not be attached "
			"again: nothing is bound there now");
		replace_gone(b, binding);
	} else {
		tell_left(op, REASON_UNDO_FAILED,
			"the page table was not replaced, and what stands there could not be detached: "
			"the device is tainted, unbind the number");
		binding_taint(b, binding, CHANGE_BINDING_TAINTED);
	}
}

void replace_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	if (op->pairs[0].binding == STATE_NONE) {
		op_take_loss(op); /* its worker died, and what it had is sorted out */
	} else if (result->status) {
		replace_failed(b, op, result);
	} else {
		replace_take(b, op->pairs[0].binding, result);
		bind_tell_table(b, op, 0);
		op->outcome.table_count = 1;
		metrics_add(&b->metrics, METRIC_REPLACES, 1);
	}
	op_end(b, op);
}

void replace_submit_look(struct broker *b, struct op *op, uint32_t binding)
{
	struct hw_op hw;

	op->phase = PHASE_LOOK;
	op->pair_count = 1;
	op->pairs[0].device = b->binding_slots[binding].device;
	op->pairs[0].binding = binding;
	binding_hw(b, binding, HW_LOOK, &hw);
	op_submit(b, op, &hw);
}

/*
 * After a restart: what the worker did unheard. Nothing is done again: it may have replaced the
 * table, have made a failure good, or have lost the binding, and says which. A table that it made
 * has a number of its own as long as the other one is there; where both are one, either is true.
 */
void replace_looked(struct broker *b, struct op *op, const struct hw_result *result)
{
	const uint32_t binding = op->pairs[0].binding;
	const struct binding_slot *slot;

	op->pair_count = 0;
	if (binding == STATE_NONE)
		return; /* lost with its worker */
	slot = &b->binding_slots[binding];
	if (result->status || result->left == HW_LEFT_DOUBT)
		binding_taint(b, binding, CHANGE_BINDING_TAINTED);
	else if (result->left == HW_LEFT_NOTHING)
		replace_gone(b, binding);
	else if (result->pt_id == slot->pt_id &&
		 !result->made_pt == !(slot->word & BINDING_WORD_MADE))
		replace_forget(b, binding);
	else
		replace_take(b, binding, result);
}

int broker_replace(struct broker *b, const struct actor *actor, struct set_id id,
	const struct pasid_ref *ref, const struct bind_pair *pair, uint64_t cookie,
	struct error *ret_error)
{
	struct op *op;
	int r;

	r = bind_op_new(b, actor, OP_REPLACE, id, ref, cookie, &op, ret_error);
	if (r)
		return r;
	r = bind_op_add_pairs(b, actor, op, pair, 1, ret_error);
	if (r) {
		op_discard(b, op);
		return r;
	}
	if (!ref)
		op->device = op->pairs[0].device;
	op_queue(b, op);
	return 0;
}
