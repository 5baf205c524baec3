/* SPDX-License-Identifier: MIT */
#include "broker_private.h"

#include <assert.h>
#include <string.h>

#define RID_UNKNOWN UINT32_MAX /* no segment has that many functions */

void device_commit_state(struct broker *b, uint32_t device, enum device_state state)
{
	uint64_t word = b->device_slots[device].word;

	broker_commit(b, &b->device_slots[device].word, (word & ~UINT64_C(0xf)) | state);
}

uint32_t device_holder(const struct broker *b, uint32_t device)
{
	uint32_t shared = b->device_slots[device].shared;

	return shared == STATE_NONE ? device : shared;
}

void device_taint(struct broker *b, uint32_t device)
{
	if (device_state(b, device) == DEVICE_TAINTED)
		return;
	device_commit_state(b, device, DEVICE_TAINTED);
	broker_change(b, CHANGE_DEVICE_TAINTED, b->device_slots[device].set, STATE_NONE, device);
}

static int no_device(struct device_id id, struct error *ret_error)
{
	return error_set_limit(ret_error, REASON_NO_DEVICE, id.v, 0, 0,
		"there is no device %llu that this set may use", (unsigned long long)id.v);
}

int device_for_change(struct broker *b, const struct actor *actor, uint32_t set,
	struct device_id id, uint32_t *ret_device, struct error *ret_error)
{
	uint32_t device = device_slot_of(b, id);

	assert(set != STATE_NONE || actor->role == ROLE_ADMIN);
	(void)actor;
	if (device == STATE_NONE)
		return no_device(id, ret_error);
	if (b->device_slots[device].set != set && !MUTANT(O))
		return no_device(id, ret_error);
	*ret_device = device;
	return 0;
}

int device_of_set(struct broker *b, uint32_t set, struct device_id id, uint32_t *ret_device,
	struct error *ret_error)
{
	*ret_device = device_slot_of(b, id);
	if (*ret_device == STATE_NONE || b->device_slots[*ret_device].set != set)
		return error_set_limit(ret_error, REASON_NO_DEVICE, id.v, 0, 0,
			"set '%.*s' has no device %llu", SET_NAME(b, set),
			(unsigned long long)id.v);
	return 0;
}

/* ------------------------------------------------------------------ records */

static void device_init(struct broker *b, uint32_t device, uint32_t set, enum device_kind kind)
{
	struct device_slot *slot = &b->device_slots[device];
	uint32_t *link;

	broker_clear_slot(b, slot, sizeof(*slot));
	b->devices[device] = (struct device){
		.bindings = STATE_NONE, .rid_binding = STATE_NONE, .set_next = STATE_NONE};
	slot->set = set;
	slot->shared = STATE_NONE;
	slot->rid = slot->group = RID_UNKNOWN;
	slot->handle = broker_handle(b);
	link = set == STATE_NONE ? &b->first_shared : &b->sets[set].first_device;
	b->devices[device].set_next = *link;
	*link = device;
	if (set != STATE_NONE)
		b->sets[set].devices++;
	broker_commit(b, &slot->word, broker_generation(b) | (uint64_t)kind << 4 | DEVICE_ADDING);
}

static void device_drop_descriptors(struct broker *b, uint32_t device)
{
	uint32_t n = b->devices[device].descriptors;

	if (n)
		set_release(b, b->device_slots[device].set, RESOURCE_DESCRIPTORS, n);
	b->devices[device].descriptors = 0;
}

void device_set_closed(struct broker *b, uint32_t device)
{
	struct device_slot *slot = &b->device_slots[device];

	device_drop_descriptors(b, device);
	broker_commit(b, &slot->word, slot->word | DEVICE_WORD_CLOSED);
}

void device_drop(struct broker *b, uint32_t device)
{
	struct device_slot *slot = &b->device_slots[device];
	uint32_t *link =
		slot->set == STATE_NONE ? &b->first_shared : &b->sets[slot->set].first_device;

	assert(b->devices[device].bindings == STATE_NONE);
	while (*link != device)
		link = &b->devices[*link].set_next;
	*link = b->devices[device].set_next;
	if (slot->shared != STATE_NONE)
		b->devices[slot->shared].slices--;
	if (slot->set != STATE_NONE) {
		b->sets[slot->set].devices--;
		set_release(b, slot->set, RESOURCE_DEVICES, 1);
		device_drop_descriptors(b, device);
		table_drop_spaces(b, device);
	}
	broker_commit(b, &slot->word, 0);
	pool_give(&b->device_pool, device);
}

static int device_take(struct broker *b, uint32_t set, enum device_kind kind, uint32_t *ret_device,
	struct error *ret_error)
{
	uint32_t device;

	if (pool_take(b, &b->device_pool, &device))
		return pool_refuse(&b->device_pool, "device registration",
			"remove one, or try again later", ret_error);
	device_init(b, device, set, kind);
	*ret_device = device;
	return 0;
}

/* ------------------------------------------------------------------ who may have a function */

static int function_taken(struct rid rid, struct error *ret_error)
{
	return error_set_limit(ret_error, REASON_DEVICE_TAKEN, rid.v, 1, 1,
		"device " RID_FORMAT
		" is registered already; a function serves one set, or is shared",
		RID_ARGS(rid));
}

/*
 * Compares a function with one registered device. A tainted one whose descriptors we have closed
 * stands in nobody's way: when the kernel lets us bind the function anew, its last user has closed
 * it, and with that it detached everything; and it lets two functions of one group be bound through
 * one iommufd only. That iommufd cannot be compared with ours of then: its key went with the
 * worker.
 */
static int function_check_against(const struct broker *b, uint32_t other, uint32_t set,
	const struct hw_result *found, struct error *ret_error)
{
	const struct device_slot *slot = &b->device_slots[other];

	if (device_is_closed(b, other) && device_state(b, other) == DEVICE_TAINTED)
		return 0;
	if (slot->rid == found->rid.v)
		return function_taken(found->rid, ret_error);
	if (slot->group == found->group && slot->set != set)
		return error_set_limit(ret_error, REASON_GROUP_TAKEN, found->rid.v, 1, 1,
			"device " RID_FORMAT
			" is in IOMMU group %u, which another set or the daemon "
			"uses; a group has one table and so one user",
			RID_ARGS(found->rid), found->group);
	if (found->iommufd_key == 0 || slot->iommufd_key == 0)
		return 0;
	if (slot->group == found->group && slot->iommufd_key != found->iommufd_key)
		return error_set_limit(ret_error, REASON_GROUP_TAKEN, found->rid.v, 1, 1,
			"device " RID_FORMAT
			" is in IOMMU group %u, which this set uses through "
			"another iommufd; pass that one",
			RID_ARGS(found->rid), found->group);
	if (slot->iommufd_key == found->iommufd_key && slot->set != set && !MUTANT(O))
		return error_set(ret_error, REASON_FD_FOREIGN,
			"this iommufd belongs to another set; open one for each VM");
	return 0;
}

static int function_check(const struct broker *b, uint32_t self, uint32_t set,
	const struct hw_result *found, struct error *ret_error)
{
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		int r;

		if (i == self || device_state(b, i) == DEVICE_FREE ||
			device_kind(b, i) == DEVICE_SLICE)
			continue;
		r = function_check_against(b, i, set, found, ret_error);
		if (r)
			return r;
	}
	return 0;
}

/* ------------------------------------------------------------------ add and share */

int broker_device_add(struct broker *b, const struct actor *actor, struct set_id id, const int *fds,
	uint32_t fd_count, const struct rid *open_rid, uint64_t cookie, struct error *ret_error)
{
	struct op *op;
	uint32_t set;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r == 0)
		r = recover_check_confirmed(b, ret_error);
	if (r)
		return r;
	if (fd_count != (open_rid ? 1u : 2u))
		return error_set_limit(ret_error, REASON_FD_COUNT, 0, open_rid ? 1 : 2, fd_count,
			"%u descriptors came; an iommufd and a device are expected, or an iommufd "
			"alone when the daemon is to open the device",
			fd_count);
	if (open_rid && actor->role != ROLE_ADMIN &&
		!policy_allows_device(
			b->ports.policy, actor->peer, *open_rid, POLICY_USE_EXCLUSIVE))
		return error_set_limit(ret_error, REASON_POLICY, open_rid->v, 0, 0,
			"the configuration does not let this user have device " RID_FORMAT
			" opened; add it under devices",
			RID_ARGS(*open_rid));
	r = op_new(b, OP_DEVICE_ADD, set, cookie, &op, ret_error);
	if (r)
		return r;
	/* the iommufd and the device, whoever opens it */
	r = op_charge(b, op, 1, 2, ret_error);
	if (r) {
		op_discard(b, op);
		return r;
	}
	op->hw.fd_count = fd_count;
	for (uint32_t i = 0; i < fd_count; i++)
		op->hw.fds[i] = fds[i];
	op->hw.rid.v = open_rid ? open_rid->v : RID_UNKNOWN;
	op_queue(b, op);
	return 0;
}

int broker_device_share(struct broker *b, const struct actor *actor, struct rid rid,
	uint64_t cookie, struct error *ret_error)
{
	struct op *op;
	int r;

	r = actor_must_be_admin(actor, "sharing a device", ret_error);
	if (r)
		return r;
	r = op_new(b, OP_DEVICE_SHARE, STATE_NONE, cookie, &op, ret_error);
	if (r)
		return r;
	op->hw.rid = rid;
	op_queue(b, op);
	return 0;
}

void device_hw(const struct broker *b, uint32_t device, enum hw_kind kind, struct hw_op *ret_hw)
{
	const struct device_slot *slot = &b->device_slots[device];

	*ret_hw = (struct hw_op){
		.kind = kind,
		.lane = slot->lane,
		.device = slot->handle,
		.rid.v = slot->rid,
		.owner = set_name_of(b, slot->set),
	};
}

/* What can be refused without touching a descriptor. */
static int add_check(struct broker *b, const struct op *op, struct error *ret_error)
{
	struct hw_result wanted = {.rid = op->hw.rid, .group = RID_UNKNOWN - 1};

	if (op->hw.rid.v == RID_UNKNOWN)
		return 0;
	return function_check(b, STATE_NONE, op->set, &wanted, ret_error);
}

/* What was charged for the operation is the record's from here on. */
static void add_take_over(struct broker *b, struct op *op)
{
	b->sets[op->set].has_lane = true;
	b->devices[op->device].descriptors = op->descriptors;
	op->devices = op->descriptors = 0;
}

void device_add_start(struct broker *b, struct op *op)
{
	bool share = op->kind == OP_DEVICE_SHARE;
	struct hw_op hw;
	int r;

	r = add_check(b, op, &op->outcome.error);
	if (r == 0)
		r = device_take(b, op->set, share ? DEVICE_SHARED : DEVICE_EXCLUSIVE, &op->device,
			&op->outcome.error);
	if (r) {
		op->outcome.status = r;
		op_end(b, op);
		return;
	}
	b->device_slots[op->device].lane =
		share ? BROKER_SHARED_LANE | device_name_of(b, op->device)
		      : set_name_of(b, op->set);
	if (!share)
		add_take_over(b, op);
	device_hw(b, op->device, HW_IDENTIFY, &hw);
	hw.rid = op->hw.rid;
	hw.fd_count = op->hw.fd_count;
	memcpy(hw.fds, op->hw.fds, sizeof(hw.fds));
	op_submit(b, op, &hw);
}

static void add_close(struct broker *b, struct op *op)
{
	struct hw_op hw;

	device_hw(b, op->device, HW_CLOSE, &hw);
	op->phase = PHASE_CLOSE;
	op_submit(b, op, &hw);
}

/* The worker said what the descriptors are: now it is decided whether the set may have the
 * function. */
static void add_identified(struct broker *b, struct op *op, const struct hw_result *result)
{
	struct device_slot *slot = &b->device_slots[op->device];
	struct hw_op hw;
	int r;

	r = function_check(b, op->device, op->set, result, &op->outcome.error);
	if (r) {
		op->outcome.status = r;
		add_close(b, op);
		return;
	}
	slot->rid = result->rid.v;
	slot->group = result->group;
	slot->iommufd_key = result->iommufd_key;
	device_hw(b, op->device, HW_OPEN, &hw);
	op->phase = PHASE_OPEN;
	op_submit(b, op, &hw);
}

/*
 * Nothing is attached through a record of the function any more. But what a shared device has
 * queued is not proven to be done, so its numbers go on waiting for that, and so does the record.
 */
static void heal_record(struct broker *b, uint32_t device)
{
	uint32_t next, set = b->device_slots[device].set;

	for (uint32_t i = b->devices[device].bindings; i != STATE_NONE; i = next) {
		next = b->binding_slots[i].device_next;
		if (!binding_is_live(b, i))
			continue;
		broker_change(b, CHANGE_BINDING_UNBOUND, b->binding_slots[i].set,
			b->binding_slots[i].grant, device);
		binding_drop(b, i);
	}
	if (b->devices[device].bindings != STATE_NONE || b->devices[device].slices)
		return;
	broker_change(b, CHANGE_DEVICE_REMOVED, set, STATE_NONE, device);
	device_drop(b, device);
	if (set != STATE_NONE)
		set_reap(b, set);
}

static void heal_records(struct broker *b, uint32_t self, bool slices)
{
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		if (i != self && device_state(b, i) == DEVICE_TAINTED && device_is_closed(b, i) &&
			b->device_slots[i].rid == b->device_slots[self].rid &&
			(device_kind(b, i) == DEVICE_SLICE) == slices)
			heal_record(b, i);
	}
}

/* A new binding of the function proves that nothing is attached any more: what was tainted by it
 * heals, slices before the device that they are part of. */
static void heal_function(struct broker *b, uint32_t self)
{
	heal_records(b, self, true);
	heal_records(b, self, false);
}

static void add_opened(struct broker *b, struct op *op, const struct hw_result *result)
{
	struct device_slot *slot = &b->device_slots[op->device];

	slot->dev_id = result->dev_id;
	slot->iommu = result->info.iommu;
	/* what the device, the IOMMU and the configuration allow */
	slot->pasid_width = result->info.pasid_width < b->config.pasid_width
				    ? result->info.pasid_width
				    : b->config.pasid_width;
	slot->caps = result->info.caps;
	slot->unit = result->info.unit;
	memcpy(slot->raw, result->info.raw, sizeof(slot->raw));
	device_commit_state(b, op->device, DEVICE_READY);
	heal_function(b, op->device);
	metrics_add(&b->metrics, METRIC_DEVICES_ADDED, 1);
	broker_change(b, CHANGE_DEVICE_ADDED, op->set, STATE_NONE, op->device);
	op->outcome.device.v = device_name_of(b, op->device);
	if (result->fd_count) {
		op->outcome.fd_count = 1;
		op->outcome.fd = result->fds[0];
	}
	op_end(b, op);
}

void lane_end(struct broker *b, struct op *op, uint64_t lane)
{
	struct hw_op hw = {.kind = HW_END, .lane = lane};

	op->phase = PHASE_END;
	op_submit(b, op, &hw);
}

static void add_failed(struct broker *b, struct op *op)
{
	uint64_t lane = b->device_slots[op->device].lane;

	device_drop(b, op->device);
	op->device = STATE_NONE;
	if (op->kind == OP_DEVICE_SHARE)
		lane_end(b, op, lane);
	else
		op_end(b, op);
}

void device_add_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	if (op->phase == PHASE_END) {
		op_end(b, op);
		return;
	}
	if (op->phase == PHASE_CLOSE) {
		/* nothing was attached, so there is nothing that a failure could leave behind */
		add_failed(b, op);
		return;
	}
	if (result->status)
		op_take_error(op, result);
	if (result->status && op->phase == PHASE_OPEN)
		add_close(b, op);
	else if (result->status)
		add_failed(b, op);
	else if (op->phase == PHASE_OPEN)
		add_opened(b, op, result);
	else
		add_identified(b, op, result);
}

/* ------------------------------------------------------------------ slices */

static uint32_t shared_by_rid(const struct broker *b, struct rid rid)
{
	uint32_t i = b->first_shared;

	while (i != STATE_NONE &&
		(device_state(b, i) != DEVICE_READY || b->device_slots[i].rid != rid.v))
		i = b->devices[i].set_next;
	return i;
}

/* What is not shared and what the policy denies are the same to a VMM (invariant O). */
static bool slice_is_to_be_had(const struct broker *b, const struct actor *actor, uint32_t shared)
{
	struct rid rid;

	if (shared == STATE_NONE || device_kind(b, shared) != DEVICE_SHARED ||
		device_state(b, shared) != DEVICE_READY)
		return false;
	rid.v = b->device_slots[shared].rid;
	return actor->role == ROLE_ADMIN ||
	       policy_allows_device(b->ports.policy, actor->peer, rid, POLICY_USE_SHARED);
}

static int slice_check(struct broker *b, const struct actor *actor, uint32_t set, uint32_t shared,
	struct error *ret_error)
{
	struct rid rid;

	if (!slice_is_to_be_had(b, actor, shared))
		return error_set(ret_error, REASON_NO_DEVICE,
			"there is no such shared device for this user; an admin shares one first, and "
			"adds the user under devices");
	rid.v = b->device_slots[shared].rid;
	for (uint32_t i = b->sets[set].first_device; i != STATE_NONE; i = b->devices[i].set_next) {
		if (b->device_slots[i].shared == shared)
			return error_set_limit(ret_error, REASON_DEVICE_TAKEN, rid.v, 1, 1,
				"set '%.*s' has its slice of device " RID_FORMAT " already",
				SET_NAME(b, set), RID_ARGS(rid));
	}
	return 0;
}

int broker_device_slice(struct broker *b, const struct actor *actor, struct set_id id,
	struct device_id shared_id, struct rid rid, struct device_id *ret_slice,
	struct error *ret_error)
{
	uint32_t set, slice,
		shared = shared_id.v ? device_slot_of(b, shared_id) : shared_by_rid(b, rid);
	struct device_slot *slot;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r == 0)
		r = recover_check_confirmed(b, ret_error);
	if (r)
		return r;
	r = slice_check(b, actor, set, shared, ret_error);
	if (r)
		return r;
	r = set_charge(b, set, RESOURCE_DEVICES, 1, ret_error);
	if (r)
		return r;
	r = device_take(b, set, DEVICE_SLICE, &slice, ret_error);
	if (r) {
		set_release(b, set, RESOURCE_DEVICES, 1);
		return r;
	}
	slot = &b->device_slots[slice];
	slot->shared = shared;
	slot->rid = b->device_slots[shared].rid;
	slot->group = b->device_slots[shared].group;
	slot->lane = b->device_slots[shared].lane;
	slot->handle = b->device_slots[shared].handle;
	b->devices[shared].slices++;
	device_commit_state(b, slice, DEVICE_READY);
	broker_change(b, CHANGE_DEVICE_ADDED, set, STATE_NONE, slice);
	ret_slice->v = device_name_of(b, slice);
	return 0;
}
