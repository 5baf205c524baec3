/* SPDX-License-Identifier: MIT */
/* Page tables and attachments of one device; address spaces are in backend_space.c. */
#include "backend_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int backend_fail(struct error *ret_error, const struct backend_device *device,
	enum backend_call call, uint32_t id, int r)
{
	const struct backend_site site = {.call = call, .rid = device->rid, .id = id};
	int status = backend_error(ret_error, &site, r);

	assert(status > 0);
	return status;
}

/* --- page tables of ours --- */

static void backend_hwpt_unlink(struct backend_hwpt **list, struct backend_hwpt *hwpt)
{
	while (*list && *list != hwpt)
		list = &(*list)->next;
	if (*list)
		*list = hwpt->next;
}

/*
 * Destroys one of `list` that nobody uses; in the kernel first. When that fails, it is kept for a
 * later try.
 */
static void backend_hwpt_destroy(struct backend *b, struct backend_device *device,
	struct backend_hwpt **list, struct backend_hwpt *hwpt)
{
	int r = b->calls->destroy(b->ctx, device->iommufd->fd, hwpt->id);

	if (r < 0 && r != -ENOENT)
		return;
	if (list == &device->tables)
		device->table_count--;
	backend_hwpt_unlink(list, hwpt);
	free(hwpt);
}

void backend_hwpt_put(struct backend *b, struct backend_device *device, struct backend_hwpt *hwpt)
{
	struct backend_hwpt *parent;
	bool guest;

	if (!hwpt || --hwpt->refs > 0)
		return;
	parent = hwpt->parent;
	guest = hwpt->guest;
	if (hwpt->nested) {
		hwpt->parent = NULL;
		hwpt->next = device->orphans;
		device->orphans = hwpt;
	}
	backend_hwpt_destroy(b, device, hwpt->nested ? &device->orphans : &device->tables, hwpt);
	backend_hwpt_put(b, device, parent);
	if (guest)
		backend_guest_put(b, device);
}

static struct backend_hwpt *backend_hwpt_find(
	const struct backend_device *device, uint32_t ioas, uint32_t flags)
{
	struct backend_hwpt *hwpt = device->tables;

	while (hwpt && (hwpt->ioas != ioas || hwpt->flags != flags))
		hwpt = hwpt->next;
	return hwpt;
}

/* A page table over an IOAS, made when there is none yet; the caller gets a reference. */
static int backend_hwpt_over(struct backend *b, struct backend_device *device, uint32_t ioas,
	uint32_t flags, struct backend_hwpt **ret_hwpt, struct error *ret_error)
{
	const struct calls_hwpt want = {.flags = flags, .dev_id = device->dev_id, .pt_id = ioas};
	struct backend_hwpt *hwpt = backend_hwpt_find(device, ioas, flags);
	int r;

	if (!hwpt && device->table_count >= BACKEND_TABLES_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, device->rid.v, BACKEND_TABLES_MAX,
			device->table_count, "a device has at most %d page tables of ours",
			BACKEND_TABLES_MAX);
	if (!hwpt) {
		hwpt = calloc(1, sizeof(*hwpt));
		if (!hwpt)
			return error_set(ret_error, REASON_NO_MEMORY, "no memory for a page table");
		r = b->calls->hwpt_alloc(b->ctx, device->iommufd->fd, &want, &hwpt->id);
		if (r < 0) {
			free(hwpt);
			return backend_fail(ret_error, device,
				flags & CALLS_HWPT_NEST_PARENT ? BACKEND_NEST_PARENT
							       : BACKEND_HWPT_ALLOC,
				ioas, r);
		}
		hwpt->ioas = ioas;
		hwpt->flags = flags;
		hwpt->next = device->tables;
		device->tables = hwpt;
		device->table_count++;
	}
	hwpt->refs++;
	*ret_hwpt = hwpt;
	return 0;
}

int backend_table_ioas(const struct backend_device *device, uint64_t owner, uint32_t number,
	uint32_t *ret_ioas, struct error *ret_error)
{
	struct backend_space *space = backend_space_find(device, owner, number);

	if (!space)
		return error_set(ret_error, REASON_NOT_MAPPED,
			"address space %u has no memory: map some first", number);
	space->left = false;
	*ret_ioas = space->ioas;
	return 0;
}

static int backend_hwpt_over_space(struct backend *b, struct backend_device *device,
	const struct hw_op *op, uint32_t flags, struct backend_hwpt **ret_hwpt,
	struct error *ret_error)
{
	uint32_t ioas = 0;
	int r = backend_table_ioas(device, op->owner, op->table.id, &ioas, ret_error);

	return r ? r : backend_hwpt_over(b, device, ioas, flags, ret_hwpt, ret_error);
}

/* Nests the guest's table of `op` on page table `parent_id`. Takes the reference to `parent`. */
static int backend_hwpt_nest(struct backend *b, struct backend_device *device,
	const struct hw_op *op, uint32_t parent_id, struct backend_hwpt *parent,
	struct backend_hwpt **ret_hwpt, struct error *ret_error)
{
	struct backend_hwpt *hwpt = calloc(1, sizeof(*hwpt));
	int r;

	if (!hwpt) {
		backend_hwpt_put(b, device, parent);
		return error_set(ret_error, REASON_NO_MEMORY, "no memory for a page table");
	}
	r = device->kind->nest(b->calls, b->ctx, device->iommufd->fd, device->dev_id, parent_id,
		&op->table, &hwpt->id);
	if (r < 0) {
		free(hwpt);
		backend_hwpt_put(b, device, parent);
		return backend_fail(ret_error, device, BACKEND_NEST, parent_id, r);
	}
	hwpt->nested = true;
	hwpt->parent = parent;
	hwpt->refs = 1;
	*ret_hwpt = hwpt;
	return 0;
}

static int backend_hwpt_nested(struct backend *b, struct backend_device *device,
	const struct hw_op *op, uint32_t flags, struct backend_hwpt **ret_hwpt,
	struct error *ret_error)
{
	struct backend_hwpt *parent = NULL;
	uint32_t parent_id = op->table.id;
	int r;

	if (op->table.parent_kind == HW_TABLE_SPACE) {
		r = backend_hwpt_over_space(
			b, device, op, flags | CALLS_HWPT_NEST_PARENT, &parent, ret_error);
		if (r)
			return r;
		assert(parent);
		parent_id = parent->id;
	}
	return backend_hwpt_nest(b, device, op, parent_id, parent, ret_hwpt, ret_error);
}

/* Tries again what the kernel refused to destroy: nested tables before their parents. */
static void backend_sweep(struct backend *b, struct backend_device *device)
{
	struct backend_hwpt *hwpt, *next;

	for (hwpt = device->orphans; hwpt; hwpt = next) {
		next = hwpt->next;
		backend_hwpt_destroy(b, device, &device->orphans, hwpt);
	}
	for (hwpt = device->tables; hwpt; hwpt = next) {
		next = hwpt->next;
		if (hwpt->refs == 0)
			backend_hwpt_destroy(b, device, &device->tables, hwpt);
	}
	backend_guest_sweep(b, device);
}

/* Nests the guest's stream table entry of `op` in its IOMMU, with what that needs. */
static int backend_hwpt_guest(struct backend *b, struct backend_device *device,
	const struct hw_op *op, struct backend_hwpt **ret_hwpt, struct error *ret_error)
{
	struct backend_hwpt *hwpt = calloc(1, sizeof(*hwpt));
	uint32_t viommu;
	int r;

	if (!hwpt)
		return error_set(ret_error, REASON_NO_MEMORY, "no memory for a page table");
	backend_sweep(b, device); /* what is left of an earlier one is in the way */
	r = backend_guest_get(b, device, op, ret_error);
	if (r) {
		free(hwpt);
		return r;
	}
	viommu = device->vdevice.viommu->id;
	r = device->kind->nest(b->calls, b->ctx, device->iommufd->fd, device->dev_id, viommu,
		&op->table, &hwpt->id);
	if (r < 0) {
		free(hwpt);
		backend_guest_put(b, device);
		return backend_fail(ret_error, device, BACKEND_NEST_STE, viommu, r);
	}
	hwpt->nested = hwpt->guest = true;
	hwpt->refs = 1;
	*ret_hwpt = hwpt;
	return 0;
}

/* --- attachments --- */

int backend_check_pasid(
	const struct backend_device *device, const struct hpasid *pasid, struct error *ret_error)
{
	uint32_t width = device->info.pasid_width;

	if (!pasid)
		return 0;
	/* The kernel takes it for the RID itself (trap 2). */
	if (pasid->v == 0)
		return error_set(ret_error, REASON_PASID_ZERO, "PASID 0 stands for the whole RID");
	/* The kernel would answer 0 and write nothing (trap 1). */
	if (width == 0)
		return error_set(ret_error, REASON_DEVICE_NO_WIDTH,
			"the device, or its IOMMU, has no PASIDs: only its RID can be attached");
	if (width < 32 && pasid->v >> width)
		return error_set_limit(ret_error, REASON_PASID_WIDTH, pasid->v, (1ull << width) - 1,
			pasid->v, "PASID %u is beyond the %u bits of the device", pasid->v, width);
	return 0;
}

/* Ids of the VMM mean nothing on our own iommufd, and its objects have no owners. */
static bool backend_table_foreign(const struct backend_device *device, const struct hw_table *table)
{
	if (!device->iommufd->own)
		return false;
	return table->kind == HW_TABLE_HWPT || table->kind == HW_TABLE_IOAS ||
	       (hw_table_is_nested(table) && table->parent_kind != HW_TABLE_SPACE);
}

/* Is the kind one that there is, of the table and of its parent? */
static bool backend_table_known(const struct hw_table *table)
{
	if (!hw_table_is_nested(table))
		return table->kind >= HW_TABLE_HWPT && table->kind <= HW_TABLE_SPACE;
	return table->parent_kind == HW_TABLE_HWPT || table->parent_kind == HW_TABLE_SPACE ||
	       (table->parent_kind == HW_TABLE_IOAS && table->kind == HW_TABLE_SMMUV3);
}

int backend_check_table(const struct backend *b, const struct backend_device *device,
	const struct hpasid *pasid, const struct hw_table *table, struct error *ret_error)
{
	bool guest = table->kind == HW_TABLE_SMMUV3;
	int r;

	if (!backend_table_known(table))
		return error_set(ret_error, REASON_TABLE_KIND, "no such kind of page table");
	if (guest && pasid)
		return error_set(ret_error, REASON_TABLE_KIND,
			"a stream table entry is for a whole RID, not for a PASID");
	r = backend_guest_claim(b, device, pasid, guest, ret_error);
	if (r)
		return r;
	if (backend_table_foreign(device, table))
		return error_set(ret_error, REASON_TABLE_KIND,
			"a shared device takes address spaces only, no ids of an iommufd");
	if (!hw_table_is_nested(table))
		return 0;
	if (device->kind->nests != table->kind)
		return error_set(ret_error, REASON_NO_NESTING,
			"%s cannot be nested on this IOMMU (%s)",
			guest ? "stream table entries of SMMUv3" : "first-stage tables of VT-d",
			device->kind->name);
	return device->kind->check_nested(&device->info, table, ret_error);
}

int backend_table_get(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct backend_hwpt **ret_hwpt, struct error *ret_error)
{
	uint32_t flags = device->info.pasid_width > 0 ? CALLS_HWPT_PASID : 0;

	switch (op->table.kind) {
	case HW_TABLE_IOAS:
		return backend_hwpt_over(b, device, op->table.id, flags, ret_hwpt, ret_error);
	case HW_TABLE_SPACE:
		return backend_hwpt_over_space(b, device, op, flags, ret_hwpt, ret_error);
	case HW_TABLE_VTD_S1:
		return backend_hwpt_nested(b, device, op, flags, ret_hwpt, ret_error);
	case HW_TABLE_SMMUV3:
		return backend_hwpt_guest(b, device, op, ret_hwpt, ret_error);
	default:
		return 0;
	}
}

/* Everything that speaks against the attach before the kernel is asked. */
static int backend_check_attach(const struct backend *b, struct backend_device *device,
	const struct hw_op *op, const struct hpasid *pasid, struct error *ret_error)
{
	int r = backend_check_pasid(device, pasid, ret_error);

	if (r)
		return r;
	/* The kernel would replace it without a word (trap 3). */
	if (backend_attachment_find(device, pasid))
		return pasid ? error_set(ret_error, REASON_ALREADY_BOUND,
				       "PASID %u is attached already: detach it first", pasid->v)
			     : error_set(ret_error, REASON_RID_ATTACHED,
				       "the RID is attached already: detach it first");
	return backend_check_table(b, device, pasid, &op->table, ret_error);
}

int backend_attach(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct hw_result *result)
{
	const struct hpasid *pasid = op->has_pasid ? &op->pasid : NULL;
	struct backend_site site = {
		.call = pasid ? BACKEND_ATTACH : BACKEND_ATTACH_RID,
		.rid = device->rid,
		.pasid = pasid,
	};
	struct backend_attachment at = {.used = true, .pt_id = op->table.id};
	int r = backend_check_attach(b, device, op, pasid, &result->error);

	if (r)
		return r;
	r = backend_table_get(b, device, op, &at.made, &result->error);
	if (r)
		return r;
	if (at.made)
		at.pt_id = at.made->id;
	if (!backend_attachment_reserve(device, pasid)) {
		backend_hwpt_put(b, device, at.made);
		return error_set(&result->error, REASON_NO_MEMORY, "no memory for an attachment");
	}
	do
		r = b->calls->attach(b->ctx, device->fd, at.pt_id, pasid);
	while (backend_again(b, r));
	if (r < 0) {
		site.id = at.pt_id;
		backend_attachment_set(device, pasid, NULL);
		backend_hwpt_put(b, device, at.made);
		return backend_error(&result->error, &site, r);
	}
	backend_attachment_set(device, pasid, &at);
	result->pt_id = at.pt_id;
	result->made_pt = at.made != NULL;
	backend_guest_tell(device, at.made, result);
	return 0;
}

/* Also when nothing is known to be attached: the kernel then does nothing and answers 0. */
int backend_detach(struct backend *b, struct backend_device *device, const struct hpasid *pasid,
	struct error *ret_error)
{
	const struct backend_site site = {
		.call = BACKEND_DETACH, .rid = device->rid, .pasid = pasid};
	const struct backend_attachment *at;
	struct backend_hwpt *made;
	int r = backend_check_pasid(device, pasid, ret_error);

	if (r)
		return r;
	do
		r = b->calls->detach(b->ctx, device->fd, pasid);
	while (backend_again(b, r));
	if (r < 0)
		return backend_error(ret_error, &site, r);
	at = backend_attachment_find(device, pasid);
	if (!at)
		return 0;
	made = at->made;
	backend_attachment_set(device, pasid, NULL);
	backend_hwpt_put(b, device, made);
	return 0;
}

/* --- giving up --- */

static bool backend_space_used(
	const struct backend_device *device, const struct backend_space *space)
{
	for (const struct backend_hwpt *hwpt = device->tables; hwpt; hwpt = hwpt->next)
		if (hwpt->ioas == space->ioas && hwpt->refs > 0)
			return true;
	return backend_guest_uses(device->iommufd, space->ioas);
}

int backend_leave(
	struct backend *b, struct backend_device *device, uint64_t owner, struct error *ret_error)
{
	struct backend_space *space, *next;
	int r, status = 0;

	for (space = device->spaces; space; space = space->next)
		if (space->owner == owner && backend_space_used(device, space))
			return error_set(ret_error, REASON_DEVICE_BUSY,
				"address space %u is still attached: unbind first", space->number);
	backend_sweep(b, device);
	for (space = device->spaces; space; space = next) {
		next = space->next;
		if (space->owner != owner && !space->left)
			continue;
		space->left = true;
		r = backend_space_drop(b, device, space);
		if (r < 0 && status == 0 && space->owner == owner)
			status = backend_fail(ret_error, device, BACKEND_DESTROY, space->ioas, r);
	}
	return status;
}

int backend_strip(struct backend *b, struct backend_device *device, struct error *ret_error)
{
	struct backend_space *space, *next;
	struct hpasid pasid = {0};
	struct error later; /* the first failure is the one that is told */
	int r, status = 0;

	for (; backend_attachment_next(device, &pasid); pasid.v++) {
		r = backend_detach(b, device, &pasid, status ? &later : ret_error);
		status = status ? status : r;
	}
	if (backend_attachment_find(device, NULL)) {
		r = backend_detach(b, device, NULL, status ? &later : ret_error);
		status = status ? status : r;
	}
	if (status)
		return status;
	backend_sweep(b, device);
	for (space = device->spaces; space; space = next) {
		next = space->next;
		(void)backend_space_drop(b, device, space); /* else it goes with the iommufd */
	}
	return 0;
}

static void backend_forget_list(struct backend_hwpt *hwpt)
{
	while (hwpt) {
		struct backend_hwpt *next = hwpt->next;

		free(hwpt);
		hwpt = next;
	}
}

void backend_forget(struct backend_device *device)
{
	struct hpasid pasid = {0};

	/* Nested tables are in no list but their attachment's. */
	while (backend_attachment_next(device, &pasid)) {
		struct backend_hwpt *made = backend_attachment_find(device, &pasid)->made;

		if (made && made->nested)
			free(made);
		backend_attachment_set(device, &pasid, NULL);
	}
	if (device->at_rid.made && device->at_rid.made->nested)
		free(device->at_rid.made);
	backend_guest_forget(device);
	backend_forget_list(device->orphans);
	backend_forget_list(device->tables);
	backend_space_forget_all(device);
}
