/* SPDX-License-Identifier: MIT */
#include "hardware_model.h"

#include <errno.h>
#include <string.h>

static int model_submit(void *ctx, const struct hw_op *op)
{
	struct model *model = ctx;

	if (model->submit_status)
		return model->submit_status;
	ck_assert_uint_lt(model->count, MODEL_OPS);
	model->ops[model->count++] = *op;
	return 0;
}

const struct hw_ops model_ops = {.submit = model_submit};

static struct model_device *model_device(struct model *model, uint32_t handle)
{
	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (model->devices[i].used && model->devices[i].handle == handle)
			return &model->devices[i];
	}
	return NULL;
}

static struct model_entry *model_entry(
	struct model *model, uint32_t group, bool has_pasid, uint32_t pasid)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		struct model_entry *entry = &model->entries[i];

		if (entry->used && entry->group == group && entry->has_pasid == has_pasid &&
			(!has_pasid || entry->pasid == pasid))
			return entry;
	}
	return NULL;
}

static void model_identify(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	uint32_t rid = op->fd_count == 2 ? (uint32_t)op->fds[1] - 1000 : op->rid.v;

	ck_assert_ptr_null(model_device(model, op->device));
	if (rid >= MODEL_RIDS) {
		result->status =
			error_set(&result->error, REASON_FD_KIND, "there is no such function");
		return;
	}
	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (model->devices[i].used)
			continue;
		model->devices[i] = (struct model_device){
			.used = true,
			.by_daemon = op->fd_count == 1,
			.lane = op->lane,
			.key = op->fd_count ? (uint64_t)op->fds[0] : 0,
			.handle = op->device,
			.rid = rid,
		};
		result->rid.v = rid;
		result->group = model->group_of[rid];
		result->iommufd_key = model->devices[i].key;
		return;
	}
	ck_abort_msg("too many devices for the model");
}

/*
 * The kernel binds a function anew only when its last user is gone, and all is detached; and the
 * functions of a group through one iommufd only, so another one proves as much for its neighbours.
 */
static void model_forget_users(struct model *model, const struct model_device *device)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		struct model_entry *entry = &model->entries[i];

		if (entry->used && entry->group == model->group_of[device->rid] &&
			!model_device(model, entry->handle) &&
			(entry->rid == device->rid || entry->key != device->key))
			entry->used = false;
	}
}

static void model_open(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	struct model_device *device = model_device(model, op->device);

	ck_assert_ptr_nonnull(device);
	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (model->devices[i].used && model->devices[i].open &&
			model->devices[i].rid == device->rid) {
			/* a worker that ends has it still */
			result->status = error_set(&result->error, REASON_BIND_REFUSED,
				"the function is bound already");
			return;
		}
	}
	model_forget_users(model, device);
	device->open = true;
	result->dev_id = 100 + device->rid;
	result->info.iommu = model->smmu_of[device->rid] ? HW_IOMMU_SMMUV3 : HW_IOMMU_VTD;
	result->info.unit = model->unit_of[device->rid];
	result->info.pasid_width = model->width_of[device->rid];
	result->info.caps = (HW_CAP_PASID | HW_CAP_NESTED) & ~model->lacks;
	if (device->by_daemon && model->next_fd) {
		result->fd_count = 1;
		result->fds[0] = model->next_fd++;
	}
}

/* What a guest's stream table entry is made with, as long as it is attached. */
static void model_stream(const struct model_entry *entry, struct hw_result *result)
{
	if (entry->table.kind != HW_TABLE_SMMUV3)
		return;
	result->viommu = 700 + (uint32_t)(entry->owner & 0xff);
	result->vdevice = 800 + entry->rid;
}

static void model_table(struct model *model, struct model_entry *entry, const struct hw_op *op,
	struct hw_result *result)
{
	bool made = op->table.kind != HW_TABLE_HWPT; /* that one is the VMM's */

	entry->table = op->table;
	entry->made_pt = result->made_pt = made;
	entry->pt_id = result->pt_id = made ? 500 + model->tables++ : op->table.id;
	model_stream(entry, result);
}

/* The kernel lets neither stand beside the other: the PASID table under the RID is the guest's. */
static void model_check_alone(struct model *model, const struct hw_op *op, uint32_t group)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &model->entries[i];

		if (!entry->used || entry->group != group || !model_device(model, entry->handle))
			continue;
		if (op->has_pasid ? entry->table.kind == HW_TABLE_SMMUV3
				  : op->table.kind == HW_TABLE_SMMUV3 && entry->has_pasid)
			ck_abort_msg("group %u has a guest's table and PASID %u", group,
				op->has_pasid ? op->pasid.v : entry->pasid);
	}
}

static void model_attach(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	struct model_device *device = model_device(model, op->device);
	struct model_entry *present;
	uint32_t group;

	ck_assert_ptr_nonnull(device);
	ck_assert(device->open && device->lane == op->lane);
	group = model->group_of[device->rid];
	present = model_entry(model, group, op->has_pasid, op->pasid.v);
	if (present && !model_device(model, present->handle)) {
		/* a neighbour that only its VMM has open: the kernel refuses another table */
		result->status = error_set(
			&result->error, REASON_KERNEL_REFUSED, "the group has another table");
		return;
	}
	if (present)
		ck_abort_msg("PASID %u was attached twice in group %u", op->pasid.v, group);
	model_check_alone(model, op, group);
	ck_assert(
		!op->has_pasid || (op->pasid.v && !(op->pasid.v >> model->width_of[device->rid])));
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		if (model->entries[i].used)
			continue;
		model->entries[i] = (struct model_entry){
			.used = true,
			.has_pasid = op->has_pasid,
			.group = group,
			.pasid = op->pasid.v,
			.handle = op->device,
			.rid = device->rid,
			.key = device->key,
			.owner = op->owner,
		};
		model_table(model, &model->entries[i], op, result);
		return;
	}
	ck_abort_msg("too many entries for the model");
}

/* A replacement that fails detaches, if it went so far, and may be unable to attach again. */
static void model_left(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	const struct model_device *device = model_device(model, op->device);
	struct model_entry *entry =
		model_entry(model, model->group_of[device->rid], op->has_pasid, op->pasid.v);

	result->left = model->fail_left;
	if (entry && model->fail_left == HW_LEFT_NOTHING)
		entry->used = false;
	else if (entry)
		entry->doubtful = model->fail_left == HW_LEFT_DOUBT;
}

/* The entry must be there, and must be the set's: the kernel would replace anybody's. */
static void model_replace(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	struct model_device *device = model_device(model, op->device);
	struct model_entry *entry;

	ck_assert_ptr_nonnull(device);
	ck_assert(device->open && device->lane == op->lane);
	entry = model_entry(model, model->group_of[device->rid], op->has_pasid, op->pasid.v);
	if (!entry)
		ck_abort_msg("PASID %u was replaced, and is not attached", op->pasid.v);
	if (entry->owner != op->owner || entry->handle != op->device)
		ck_abort_msg("PASID %u was replaced by somebody else", op->pasid.v);
	model_table(model, entry, op, result);
}

static void model_look(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	const struct model_device *device = model_device(model, op->device);
	const struct model_entry *entry =
		model_entry(model, model->group_of[device->rid], op->has_pasid, op->pasid.v);

	if (entry) {
		result->pt_id = entry->pt_id;
		result->made_pt = entry->made_pt;
		model_stream(entry, result);
		result->left = entry->doubtful ? HW_LEFT_DOUBT : HW_LEFT_EARLIER;
	} else {
		result->left = HW_LEFT_NOTHING;
	}
}

static void model_detach(struct model *model, const struct hw_op *op)
{
	struct model_device *device = model_device(model, op->device);
	struct model_entry *entry;

	ck_assert_ptr_nonnull(device);
	entry = model_entry(model, model->group_of[device->rid], op->has_pasid, op->pasid.v);
	if (entry && !model_device(model, entry->handle))
		return; /* what a neighbour has that only its VMM has open is not this one's */
	if (entry && entry->owner != op->owner)
		ck_abort_msg("PASID %u was detached by somebody else", op->pasid.v);
	if (entry)
		entry->used = false;
}

static void model_close(struct model *model, uint32_t handle)
{
	struct model_device *device = model_device(model, handle);

	if (!device)
		return;
	device->used = false;
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		if (model->entries[i].used && model->entries[i].handle == handle)
			model->entries[i].used = false;
	}
}

/* A worker knows the devices that it was given; one that was started anew knows none. */
static bool model_knows(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	if (op->kind == HW_IDENTIFY || op->kind == HW_END || model_device(model, op->device))
		return true;
	result->status =
		error_set(&result->error, REASON_NO_DEVICE, "the worker has no such device");
	return false;
}

void model_end(struct model *model, uint64_t lane)
{
	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (!model->devices[i].used || model->devices[i].lane != lane)
			continue;
		if (lane >> 63)
			model_close(model, model->devices[i].handle);
		else
			model->devices[i].used = false;
	}
}

static void model_report(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	const struct model_device *device = model_device(model, op->device);

	ck_assert(device->open && device->lane == op->lane);
	result->rid.v = device->rid;
	result->group = model->group_of[device->rid];
	result->iommufd_key = device->key;
	result->dev_id = 100 + device->rid;
}

static void model_effect(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	switch ((enum hw_kind)op->kind) {
	case HW_IDENTIFY:
		model_identify(model, op, result);
		break;
	case HW_OPEN:
		model_open(model, op, result);
		break;
	case HW_CLOSE:
		model_close(model, op->device);
		break;
	case HW_ATTACH:
		model_attach(model, op, result);
		break;
	case HW_DETACH:
		model_detach(model, op);
		break;
	case HW_MAP:
	case HW_UNMAP:
	case HW_LEAVE:
		break;
	case HW_END:
		model_end(model, op->lane);
		break;
	case HW_REPORT:
		model_report(model, op, result);
		break;
	case HW_REPLACE:
		model_replace(model, op, result);
		break;
	case HW_LOOK:
		model_look(model, op, result);
		break;
	}
}

static bool model_fails(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	if (model->fail_status == 0 || model->fail_kind != (enum hw_kind)op->kind)
		return false;
	if (model->fail_skip) {
		model->fail_skip--;
		return false;
	}
	result->status = model->fail_status;
	if (op->kind == HW_REPLACE)
		model_left(model, op, result);
	(void)error_set(&result->error,
		model->fail_status > 0 ? REASON_KERNEL_REFUSED : REASON_WORKER_LOST, "as arranged");
	if (--model->fail_times == 0)
		model->fail_status = 0;
	return true;
}

void model_perform(struct model *model, const struct hw_op *op, struct hw_result *result)
{
	model->carried_out++;
	if (model_knows(model, op, result) && !model_fails(model, op, result))
		model_effect(model, op, result);
}

struct hw_op model_take(struct model *model, unsigned index)
{
	struct hw_op op = model->ops[index];

	memmove(&model->ops[index], &model->ops[index + 1],
		(model->count - index - 1) * sizeof(op));
	model->count--;
	return op;
}

void model_outlive(struct model *model, uint64_t lane, bool stands)
{
	for (unsigned i = 0; i < model->count;) {
		struct hw_result unheard = {0};
		struct hw_op op;

		if (model->ops[i].lane != lane) {
			i++;
			continue;
		}
		op = model_take(model, i);
		unheard.device = op.device;
		if (stands && model_knows(model, &op, &unheard))
			model_effect(model, &op, &unheard);
	}
	if (!stands)
		model_end(model, lane);
}

const struct model_entry *model_entry_in(const struct model *model, uint32_t rid, uint32_t pasid)
{
	return model_entry((struct model *)model, model->group_of[rid], pasid != 0, pasid);
}

bool model_stands_in(const struct model *model, uint32_t rid, uint32_t pasid)
{
	return model_entry_in(model, rid, pasid);
}
