/* SPDX-License-Identifier: MIT */
/*
 * The records of bindings: which lists they are in, what they count for, and what becomes of them.
 */
#include "broker_private.h"

#include <assert.h>
#include <string.h>

void binding_commit_state(struct broker *b, uint32_t binding, enum binding_state state)
{
	uint64_t word = b->binding_slots[binding].word;

	broker_commit(b, &b->binding_slots[binding].word, (word & ~UINT64_C(0xf)) | state);
}

static void device_link(struct broker *b, uint32_t binding, uint32_t device)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	struct device *run = &b->devices[device];

	if (slot->device != device)
		state_commit32(b->ports.state, &slot->device, device);
	slot->device_prev = STATE_NONE;
	slot->device_next = run->bindings;
	if (run->bindings != STATE_NONE)
		b->binding_slots[run->bindings].device_prev = binding;
	run->bindings = binding;
	if (slot->grant == STATE_NONE)
		run->rid_binding = binding;
}

static void device_unlink(struct broker *b, uint32_t binding)
{
	struct binding_slot *slot = &b->binding_slots[binding];

	if (slot->grant == STATE_NONE)
		b->devices[slot->device].rid_binding = STATE_NONE;
	if (slot->device_prev != STATE_NONE)
		b->binding_slots[slot->device_prev].device_next = slot->device_next;
	else
		b->devices[slot->device].bindings = slot->device_next;
	if (slot->device_next != STATE_NONE)
		b->binding_slots[slot->device_next].device_prev = slot->device_prev;
}

/* Counts a binding that is or may be attached, or stops counting it. */
static void binding_count(struct broker *b, uint32_t binding, bool live)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	uint32_t one = live ? 1 : UINT32_MAX;

	b->bound += one;
	b->devices[slot->device].binding_count += one;
	b->sets[slot->set].bindings += one;
}

int binding_charge_tables(struct broker *b, uint32_t binding, uint32_t device,
	const struct hw_table *table, struct error *ret_error)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	struct table_charge charge;
	int r = table_charge(b, device, table, &charge, ret_error);

	if (r)
		return r;
	slot->table_shared = charge.shared;
	slot->table_own = charge.own;
	return 0;
}

void binding_release_tables(struct broker *b, uint32_t binding, uint32_t device)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	struct table_charge charge = {slot->table_shared, slot->table_own};

	table_release(b, device, &charge);
	slot->table_shared = STATE_NONE;
	slot->table_own = 0;
	replace_forget(b, binding);
}

/* A record and what it is charged for; nothing of it when there is no room for all. */
static int binding_take(struct broker *b, uint32_t set, const struct op_pair *pair,
	uint32_t *ret_binding, struct error *ret_error)
{
	uint32_t binding;
	int r;

	if (pool_take(b, &b->binding_pool, &binding))
		return pool_refuse(
			&b->binding_pool, "binding", "unbind some, or try again later", ret_error);
	broker_clear_slot(b, &b->binding_slots[binding], sizeof(b->binding_slots[binding]));
	r = set_charge(b, set, RESOURCE_BINDINGS, 1, ret_error);
	if (r) {
		pool_give(&b->binding_pool, binding);
		return r;
	}
	r = binding_charge_tables(b, binding, pair->device, &pair->table, ret_error);
	if (r) {
		set_release(b, set, RESOURCE_BINDINGS, 1);
		pool_give(&b->binding_pool, binding);
		return r;
	}
	*ret_binding = binding;
	return 0;
}

int binding_make(struct broker *b, uint32_t set, uint32_t grant, const struct op_pair *pair,
	uint32_t *ret_binding, struct error *ret_error)
{
	uint32_t binding = STATE_NONE; /* gcc does not see that it is set */
	struct binding_slot *slot;
	uint64_t word = BINDING_BINDING | (uint64_t)pair->table.kind << BINDING_KIND_SHIFT |
			(uint64_t)pair->table.parent_kind << BINDING_PARENT_SHIFT;
	int r = binding_take(b, set, pair, &binding, ret_error);

	if (r)
		return r;
	slot = &b->binding_slots[binding];
	slot->set = set;
	slot->grant = grant;
	slot->table_id = pair->table.id;
	slot->next_shared = STATE_NONE;
	slot->grant_next = STATE_NONE;
	if (grant != STATE_NONE) {
		word |= BINDING_WORD_PASID;
		slot->grant_next = b->grant_slots[grant].bindings;
		b->grant_slots[grant].bindings = binding;
	}
	if (pair->table.kind == HW_TABLE_SMMUV3)
		guest_record_stream(b, pair->device, pair->table.stream);
	device_link(b, binding, pair->device);
	binding_count(b, binding, true);
	broker_commit(b, &slot->word, broker_generation(b) | word);
	*ret_binding = binding;
	return 0;
}

void binding_recover(struct broker *b, uint32_t binding)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	const struct hw_table table = {
		.kind = slot->word >> BINDING_KIND_SHIFT & 0xf,
		.parent_kind = slot->word >> BINDING_PARENT_SHIFT & 0xf,
		.id = slot->table_id,
	};
	struct error error;
	int r = 0;

	set_charge_anyway(b, slot->set, RESOURCE_BINDINGS, 1);
	slot->table_shared = slot->next_shared = slot->grant_next = STATE_NONE;
	slot->table_own = slot->next_own = 0;
	if (slot->grant != STATE_NONE) {
		slot->grant_next = b->grant_slots[slot->grant].bindings;
		b->grant_slots[slot->grant].bindings = binding;
	}
	device_link(b, binding, slot->device);
	if (binding_is_live(b, binding))
		binding_count(b, binding, true);
	else
		b->devices[slot->device].draining++;
	/* what a shared device keeps for a slice that is gone has no table */
	if (device_kind(b, slot->device) != DEVICE_SHARED)
		r = binding_charge_tables(b, binding, slot->device, &table, &error);
	assert(r == 0); /* limits are waived */
	(void)r;
	if (binding_is_replaced(b, binding))
		replace_recover(b, binding);
}

static void grant_chain_remove(struct broker *b, uint32_t binding)
{
	uint32_t *link = &b->grant_slots[b->binding_slots[binding].grant].bindings;

	while (*link != binding)
		link = &b->binding_slots[*link].grant_next;
	*link = b->binding_slots[binding].grant_next;
}

static void binding_drained(struct broker *b, uint32_t binding)
{
	const struct binding_slot *slot = &b->binding_slots[binding];

	b->devices[slot->device].draining--;
	broker_change(b, CHANGE_BINDING_DRAINED, slot->set, slot->grant, slot->device);
}

void binding_drop(struct broker *b, uint32_t binding)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	uint32_t grant = slot->grant;

	if (binding_is_live(b, binding))
		binding_count(b, binding, false);
	else
		binding_drained(b, binding);
	binding_release_tables(b, binding, slot->device);
	set_release(b, slot->set, RESOURCE_BINDINGS, 1);
	device_unlink(b, binding);
	if (grant != STATE_NONE)
		grant_chain_remove(b, binding);
	broker_commit(b, &slot->word, 0);
	pool_give(&b->binding_pool, binding);
	if (grant == STATE_NONE)
		return;
	grant_settle(b, grant);
	grant_requeue(b, grant);
}

/* What outlives the slice that it went through belongs to the shared device itself. */
static void binding_move_to_holder(struct broker *b, uint32_t binding)
{
	uint32_t holder = device_holder(b, b->binding_slots[binding].device);

	assert(binding_is_live(b, binding)); /* what drains is the holder's already */
	if (holder == b->binding_slots[binding].device)
		return;
	/* tables of a slice are the slice's: what is left counts as a binding only */
	binding_release_tables(b, binding, b->binding_slots[binding].device);
	binding_count(b, binding, false);
	device_unlink(b, binding);
	device_link(b, binding, holder);
	binding_count(b, binding, true);
}

void binding_gone(struct broker *b, uint32_t binding)
{
	struct binding_slot *slot = &b->binding_slots[binding];
	uint32_t holder = device_holder(b, slot->device), grant = slot->grant;

	if (device_kind(b, holder) != DEVICE_SHARED) {
		binding_drop(b, binding);
		return;
	}
	assert(grant != STATE_NONE); /* the RID of a shared device stays unattached */
	binding_release_tables(b, binding, slot->device);
	binding_move_to_holder(b, binding);
	binding_count(b, binding, false);
	b->devices[holder].draining++;
	binding_commit_state(b, binding, BINDING_DRAINING);
	grant_settle(b, grant);
	grant_requeue(b, grant);
}

void binding_taint(struct broker *b, uint32_t binding, enum change_kind kind)
{
	uint32_t grant = b->binding_slots[binding].grant;

	if (binding_state(b, binding) == BINDING_TAINTED)
		return;
	replace_forget(b, binding);
	broker_change(
		b, kind, b->binding_slots[binding].set, grant, b->binding_slots[binding].device);
	binding_commit_state(b, binding, BINDING_TAINTED);
	metrics_add(&b->metrics, METRIC_TAINTED, 1);
	device_taint(b, b->binding_slots[binding].device);
	binding_move_to_holder(b, binding);
	if (grant == STATE_NONE)
		return;
	grant_settle(b, grant);
	grant_requeue(b, grant);
}

void binding_hw(const struct broker *b, uint32_t binding, enum hw_kind kind, struct hw_op *ret_hw)
{
	const struct binding_slot *slot = &b->binding_slots[binding];
	const struct device_slot *device = &b->device_slots[slot->device];

	*ret_hw = (struct hw_op){
		.kind = kind,
		.lane = device->lane,
		.device = device->handle,
		.rid.v = device->rid,
		.owner = set_name_of(b, slot->set),
		.has_pasid = slot->grant != STATE_NONE,
	};
	if (slot->grant != STATE_NONE)
		ret_hw->pasid.v = grant_host(&b->grant_slots[slot->grant]);
}

void binding_tell_end(struct broker *b, uint32_t binding)
{
	const struct binding_slot *slot = &b->binding_slots[binding];

	broker_change(b, CHANGE_BINDING_UNBINDING, slot->set, slot->grant, slot->device);
}

void binding_begin_end(struct broker *b, uint32_t binding)
{
	binding_commit_state(b, binding, BINDING_UNBINDING);
	binding_tell_end(b, binding);
}

void binding_submit_detach(struct broker *b, struct op *op, uint32_t binding, enum op_phase phase)
{
	struct hw_op hw;

	op->phase = phase;
	op->pair_count = 1;
	op->pairs[0].device = b->binding_slots[binding].device;
	op->pairs[0].binding = binding;
	binding_begin_end(b, binding);
	binding_hw(b, binding, HW_DETACH, &hw);
	op_submit(b, op, &hw);
}

uint32_t binding_find(const struct broker *b, uint32_t grant, uint32_t device)
{
	uint32_t group = b->device_slots[device].group, i;

	if (grant != STATE_NONE) {
		for (i = b->grant_slots[grant].bindings; i != STATE_NONE;
			i = b->binding_slots[i].grant_next) {
			if (b->device_slots[b->binding_slots[i].device].group == group)
				return i;
		}
		return STATE_NONE;
	}
	for (uint32_t d = b->sets[b->device_slots[device].set].first_device; d != STATE_NONE;
		d = b->devices[d].set_next) {
		if (b->device_slots[d].group == group && b->devices[d].rid_binding != STATE_NONE)
			return b->devices[d].rid_binding;
	}
	return STATE_NONE;
}

void binding_take_draining(struct broker *b, uint32_t binding, uint32_t device)
{
	b->devices[b->binding_slots[binding].device].draining--;
	device_unlink(b, binding);
	device_link(b, binding, device);
	binding_count(b, binding, true);
	binding_commit_state(b, binding, BINDING_BINDING);
}

/* Whether a detach of the set's failed in the table of this group, and was not made good. */
static bool group_is_tainted(const struct broker *b, uint32_t set, uint32_t holder)
{
	for (uint32_t i = b->devices[holder].bindings; i != STATE_NONE;
		i = b->binding_slots[i].device_next) {
		if (binding_state(b, i) == BINDING_TAINTED && b->binding_slots[i].set == set)
			return true;
	}
	return false;
}

static void device_heal(struct broker *b, uint32_t device)
{
	device_commit_state(b, device, DEVICE_READY);
	broker_change(b, CHANGE_DEVICE_HEALED, b->device_slots[device].set, STATE_NONE, device);
}

void binding_heal(struct broker *b, uint32_t set, uint32_t group)
{
	for (uint32_t d = b->sets[set].first_device; d != STATE_NONE; d = b->devices[d].set_next) {
		if (b->device_slots[d].group == group && device_state(b, d) == DEVICE_TAINTED &&
			!(b->device_slots[d].word & DEVICE_WORD_CLOSED) &&
			!group_is_tainted(b, set, device_holder(b, d)))
			device_heal(b, d);
	}
}
