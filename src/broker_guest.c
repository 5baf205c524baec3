/* SPDX-License-Identifier: MIT */
/*
 * Tables that guests own (F7, F32): a guest's stream table entry of SMMUv3, and with it the PASID
 * table that it names, under the RID of a device.
 *
 * The entry claims the whole RID. Numbers and such an entry are kept apart by three rules: only a
 * set whose guest owns its tables has entries, and it has no numbers; a group has one set; what
 * other sets kept of numbers in that group from when it was theirs, or a dead worker left there,
 * comes before the entry, and nothing is added to it while the entry stands or may have been left.
 */
#include "broker_private.h"

#include <string.h>

_Static_assert(HW_TABLE_SMMUV3 == BINDING_KIND_STREAM, "as it is recorded");

/* ------------------------------------------------------------------ which device has one */

/*
 * Also under one that was lost with its worker, until the function is bound anew: that another
 * function of its group can be had says nothing when it comes with the same iommufd.
 */
static bool guest_has_table(const struct broker *b, uint32_t device)
{
	const uint32_t binding = b->devices[device].rid_binding;

	return binding != STATE_NONE && binding_kind(b, binding) == HW_TABLE_SMMUV3;
}

/* Any function of the group; looks at all devices. */
static bool guest_has_group(const struct broker *b, uint32_t group)
{
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		if (device_state(b, i) != DEVICE_FREE && b->device_slots[i].group == group &&
			guest_has_table(b, i))
			return true;
	}
	return false;
}

/* Bound there, left there, or not drained yet: all of them have records. */
static bool guest_has_number(const struct broker *b, uint32_t device)
{
	uint32_t i = b->devices[device].bindings;

	while (i != STATE_NONE && b->binding_slots[i].grant == STATE_NONE)
		i = b->binding_slots[i].device_next;
	return i != STATE_NONE;
}

/*
 * Whether a number is somebody's in the table of that group, attached to a function or, as far as
 * is known, left there; or may be queued in a device that was shared: the guest's table would
 * translate that, too.
 */
static bool guest_has_numbers(const struct broker *b, uint32_t group)
{
	for (uint32_t i = 0; i < b->device_pool.used; i++) {
		if (device_state(b, i) != DEVICE_FREE && b->device_slots[i].group == group &&
			guest_has_number(b, i))
			return true;
	}
	return scope_owner(b, group) != STATE_NONE;
}

/* ------------------------------------------------------------------ checks */

int guest_check_mode(const struct broker *b, uint32_t device, const struct hw_table *table,
	struct error *ret_error)
{
	const uint32_t set = b->device_slots[device].set;
	const bool owned = set_mode(b, set) == SET_GUEST_OWNED;
	const bool entry = table->kind == HW_TABLE_SMMUV3;

	if (owned == entry || (entry && MUTANT(T)))
		return 0;
	if (owned)
		return error_set_limit(ret_error, REASON_SET_MODE, device_name_of(b, device), 0, 0,
			"the guest of set '%.*s' owns its tables; install its stream table entry, "
			"which may as well be one that bypasses the first stage",
			SET_NAME(b, set));
	return error_set_limit(ret_error, REASON_SET_MODE, device_name_of(b, device), 0, 0,
		"set '%.*s' has PASIDs of the host's, and a guest's stream table entry claims all "
		"of a device; make the set with mode guest-owned",
		SET_NAME(b, set));
}

static int guest_check_stream(
	const struct broker *b, uint32_t device, uint32_t stream, struct error *ret_error)
{
	const struct device_slot *slot = &b->device_slots[device];
	uint32_t d = b->sets[slot->set].first_device;

	for (; d != STATE_NONE; d = b->devices[d].set_next) {
		const struct device_slot *other = &b->device_slots[d];
		struct rid rid = {other->rid};

		/* a stream id is one device's of its IOMMU; which one that is may be unknown */
		if (guest_has_table(b, d) && other->group != slot->group &&
			other->unit == slot->unit && other->stream == stream)
			return error_set_limit(ret_error, REASON_STREAM_TAKEN, stream, 1, 1,
				"stream id %u is device " RID_FORMAT
				"'s; a guest's devices have different ones, give this one another",
				stream, RID_ARGS(rid));
	}
	return 0;
}

int guest_check_table(const struct broker *b, uint32_t device, const struct hw_table *table,
	struct error *ret_error)
{
	const struct device_slot *slot = &b->device_slots[device];
	const uint32_t width = hw_stream_width(table); /* all else in it the worker checks */
	struct rid rid = {slot->rid};

	if (slot->iommu != HW_IOMMU_SMMUV3 || !(slot->caps & HW_CAP_NESTED))
		return error_set_limit(ret_error, REASON_NO_NESTING, device_name_of(b, device), 0,
			0,
			"the IOMMU of device " RID_FORMAT
			" takes no stream table entry of a guest's; that needs an SMMUv3 with nesting, "
			"whose firmware says that it is coherent, and Linux 6.13",
			RID_ARGS(rid));
	if (width > slot->pasid_width)
		return error_set_limit(ret_error, REASON_TABLE_FIELD, width, slot->pasid_width,
			width,
			"S1CDMax is %u, and device " RID_FORMAT
			" takes PASIDs of %u bits; tell the guest so in its SMMU's SSIDSIZE",
			width, RID_ARGS(rid), slot->pasid_width);
	if (guest_has_numbers(b, slot->group) && !MUTANT(T))
		return error_set_limit(ret_error, REASON_RID_PASIDS, slot->group, 0, 0,
			"PASIDs are left in IOMMU group %u from when a device of it was another's; "
			"free those of scope rids, have a shared device drained, or register a "
			"function again whose worker died, then install the guest's table",
			slot->group);
	return guest_check_stream(b, device, table->stream, ret_error);
}

int guest_check_replace(const struct broker *b, uint32_t binding, const struct hw_table *table,
	struct error *ret_error)
{
	const struct binding_slot *stands = &b->binding_slots[binding];
	const struct device_slot *slot = &b->device_slots[stands->device];
	struct rid rid = {slot->rid};

	if (binding_kind(b, binding) == HW_TABLE_SMMUV3 && slot->stream == table->stream &&
		BINDING_PARENT(stands->word) == table->parent_kind && stands->table_id == table->id)
		return 0;
	return error_set_limit(ret_error, REASON_STREAM_FIXED, table->stream, 0, slot->stream,
		"what is attached to the RID of device " RID_FORMAT
		" is no entry of stream %u over this parent, and only such a one is replaced by it; "
		"detach the RID first, then attach it",
		RID_ARGS(rid), table->stream);
}

int guest_check_number(const struct broker *b, uint32_t device, struct error *ret_error)
{
	const struct device_slot *slot = &b->device_slots[device];
	struct rid rid = {slot->rid};

	if (MUTANT(T) || !guest_has_group(b, slot->group))
		return 0;
	return error_set_limit(ret_error, REASON_RID_CLAIMED, device_name_of(b, device), 0, 0,
		"the PASID table of device " RID_FORMAT
		" (IOMMU group %u) is a guest's, and no PASID of the host's is had there; name other "
		"devices, or register the function again that the guest had",
		RID_ARGS(rid), slot->group);
}

/* ------------------------------------------------------------------ records */

void guest_record_stream(struct broker *b, uint32_t device, uint32_t stream)
{
	struct device_slot *slot = &b->device_slots[device];

	state_commit32(b->ports.state, &slot->stream, stream);
	state_commit32(b->ports.state, &slot->viommu, 0);
	state_commit32(b->ports.state, &slot->vdevice, 0);
}

void guest_record_ids(struct broker *b, uint32_t device, const struct hw_result *result)
{
	struct device_slot *slot = &b->device_slots[device];

	state_commit32(b->ports.state, &slot->viommu, result->viommu);
	state_commit32(b->ports.state, &slot->vdevice, result->vdevice);
}

void guest_tell(const struct broker *b, uint32_t binding, struct attached_table *told)
{
	const struct device_slot *slot = &b->device_slots[b->binding_slots[binding].device];

	told->viommu = told->vdevice = told->stream = 0;
	if (binding_kind(b, binding) != HW_TABLE_SMMUV3)
		return;
	told->viommu = slot->viommu;
	told->vdevice = slot->vdevice;
	told->stream = slot->stream;
}

/* ------------------------------------------------------------------ the recount */

/* T: beside a guest's table there is no number in that group, by claim or attached. */
static int guest_recount_device(const struct broker *b, uint32_t device, struct error *ret_error)
{
	const uint32_t group = b->device_slots[device].group;
	const uint32_t set = b->device_slots[device].set;

	if (set_mode(b, set) != SET_GUEST_OWNED)
		return recount_wrong(ret_error, "T: a set with numbers has a guest's table", set);
	if (guest_has_numbers(b, group))
		return recount_wrong(
			ret_error, "T: a number is there beside a guest's table", group);
	return 0;
}

int guest_recount(const struct broker *b, struct error *ret_error)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < b->device_pool.used; i++)
		if (device_state(b, i) != DEVICE_FREE && guest_has_table(b, i))
			r = guest_recount_device(b, i, ret_error);
	return r;
}
