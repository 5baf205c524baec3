/* SPDX-License-Identifier: MIT */
/*
 * What the kernel wants before it nests a guest's stream table entry (SMMUv3): a page table that is
 * a nest parent, the guest's IOMMU over it, and the device in that under its guest's name (trap 8).
 *
 * A guest has one IOMMU for each parent and physical IOMMU; which one a device is behind the kernel
 * says only by refusing it. Everything is given back in the reverse order. What the kernel refuses
 * to destroy is remembered, used again if it is what is asked for, and tried again otherwise.
 */
#include "backend_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* What the parent of a guest's IOMMU is: a page table of the VMM's, or one of ours over an IOAS. */
struct guest_parent {
	uint32_t hwpt;
	uint32_t ioas;
};

static bool guest_fits(const struct backend_viommu *viommu, const struct guest_parent *parent)
{
	return viommu->id && viommu->ioas == parent->ioas &&
	       (parent->ioas || viommu->parent == parent->hwpt);
}

static int guest_parent(const struct backend_device *device, const struct hw_op *op,
	struct guest_parent *ret_parent, struct error *ret_error)
{
	const struct hw_table *table = &op->table;

	*ret_parent = (struct guest_parent){0};
	if (table->parent_kind == HW_TABLE_SPACE)
		return backend_table_ioas(
			device, op->owner, table->id, &ret_parent->ioas, ret_error);
	if (table->parent_kind == HW_TABLE_IOAS)
		ret_parent->ioas = table->id;
	else
		ret_parent->hwpt = table->id;
	return 0;
}

/* 0 when the object is gone. */
static int guest_destroy(struct backend *b, const struct backend_iommufd *iommufd, uint32_t id)
{
	int r = b->calls->destroy(b->ctx, iommufd->fd, id);

	return r == -ENOENT ? 0 : r;
}

/* --- the guest's IOMMU --- */

/* Destroys one that nobody uses, as far as the kernel lets it; what is left of it stays listed. */
static void viommu_destroy(
	struct backend *b, struct backend_iommufd *iommufd, struct backend_viommu *viommu)
{
	struct backend_viommu **link = &iommufd->viommus;

	if (viommu->id && guest_destroy(b, iommufd, viommu->id) < 0)
		return;
	viommu->id = 0;
	if (viommu->ioas && guest_destroy(b, iommufd, viommu->parent) < 0)
		return;
	while (*link != viommu)
		link = &(*link)->next;
	*link = viommu->next;
	free(viommu);
}

static void viommu_put(
	struct backend *b, struct backend_iommufd *iommufd, struct backend_viommu *viommu)
{
	if (--viommu->refs == 0)
		viommu_destroy(b, iommufd, viommu);
}

static void viommu_sweep(struct backend *b, struct backend_iommufd *iommufd)
{
	struct backend_viommu *next;

	for (struct backend_viommu *viommu = iommufd->viommus; viommu; viommu = next) {
		next = viommu->next;
		if (viommu->refs == 0)
			viommu_destroy(b, iommufd, viommu);
	}
}

/* Has the kernel make it, and its parent if that is ours; what was made before a failure is noted
 * in *viommu. */
static int viommu_make(struct backend *b, const struct backend_device *device,
	const struct guest_parent *parent, struct backend_viommu *viommu, struct error *ret_error)
{
	const struct calls_hwpt want = {
		/* Not for PASIDs as well: the kernel refuses that on SMMUv3 (trap 7). */
		.flags = CALLS_HWPT_NEST_PARENT,
		.dev_id = device->dev_id,
		.pt_id = parent->ioas,
	};
	int r;

	viommu->parent = parent->hwpt;
	if (parent->ioas) {
		r = b->calls->hwpt_alloc(b->ctx, device->iommufd->fd, &want, &viommu->parent);
		if (r < 0)
			return backend_fail(
				ret_error, device, BACKEND_NEST_PARENT, parent->ioas, r);
		viommu->ioas = parent->ioas;
	}
	r = b->calls->viommu_alloc(b->ctx, device->iommufd->fd, device->info.iommu, device->dev_id,
		viommu->parent, &viommu->id);
	return r < 0 ? backend_fail(ret_error, device, BACKEND_VIOMMU_ALLOC, viommu->parent, r) : 0;
}

/* A new one, with a reference for the caller. */
static int viommu_new(struct backend *b, const struct backend_device *device,
	const struct guest_parent *parent, struct backend_viommu **ret_viommu,
	struct error *ret_error)
{
	struct backend_iommufd *iommufd = device->iommufd;
	struct backend_viommu *viommu;
	uint32_t count = 0;
	int r;

	for (viommu = iommufd->viommus; viommu; viommu = viommu->next)
		count++;
	if (count >= BACKEND_VIOMMUS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, device->rid.v, BACKEND_VIOMMUS_MAX,
			count,
			"an iommufd has at most %d IOMMUs of guests: the kernel still has "
			"those of earlier tables, as long as their event queues are open",
			BACKEND_VIOMMUS_MAX);
	viommu = calloc(1, sizeof(*viommu));
	if (!viommu)
		return error_set(ret_error, REASON_NO_MEMORY, "no memory for a guest's IOMMU");
	viommu->refs = 1;
	viommu->next = iommufd->viommus;
	iommufd->viommus = viommu;
	r = viommu_make(b, device, parent, viommu, ret_error);
	if (r)
		viommu_put(b, iommufd, viommu);
	else
		*ret_viommu = viommu;
	return r;
}

/* --- the device in it --- */

static void vdevice_destroy(struct backend *b, struct backend_device *device)
{
	struct backend_vdevice *vdevice = &device->vdevice;

	if (guest_destroy(b, device->iommufd, vdevice->id) < 0)
		return;
	vdevice->id = 0;
	viommu_put(b, device->iommufd, vdevice->viommu);
	vdevice->viommu = NULL;
}

/*
 * Puts the device into an IOMMU of its guest that is there already. 1 done, 0 there is none that
 * takes it, or a status.
 */
static int vdevice_join(struct backend *b, struct backend_device *device,
	const struct guest_parent *parent, uint32_t stream, struct error *ret_error)
{
	struct backend_vdevice *vdevice = &device->vdevice;
	struct backend_viommu *viommu = device->iommufd->viommus;
	int r;

	for (; viommu; viommu = viommu->next) {
		if (!guest_fits(viommu, parent))
			continue;
		r = b->calls->vdevice_alloc(b->ctx, device->iommufd->fd, viommu->id, device->dev_id,
			stream, &vdevice->id);
		if (r == 0) {
			viommu->refs++;
			vdevice->viommu = viommu;
			return 1;
		}
		/* The kernel's words for another physical IOMMU, and for one that the VMM, whose
		   iommufd it is, has destroyed. */
		if (r != -EINVAL && r != -ENOENT)
			return -backend_fail(ret_error, device, BACKEND_VDEVICE_ALLOC, stream, r);
	}
	return 0;
}

static int vdevice_make(struct backend *b, struct backend_device *device,
	const struct guest_parent *parent, uint32_t stream, struct error *ret_error)
{
	struct backend_vdevice *vdevice = &device->vdevice;
	struct backend_viommu *viommu = NULL;
	int r = vdevice_join(b, device, parent, stream, ret_error);

	if (r)
		return r < 0 ? -r : 0;
	r = viommu_new(b, device, parent, &viommu, ret_error);
	if (r)
		return r;
	assert(viommu);
	r = b->calls->vdevice_alloc(
		b->ctx, device->iommufd->fd, viommu->id, device->dev_id, stream, &vdevice->id);
	if (r < 0) {
		viommu_put(b, device->iommufd, viommu);
		return backend_fail(ret_error, device, BACKEND_VDEVICE_ALLOC, stream, r);
	}
	vdevice->viommu = viommu;
	return 0;
}

int backend_guest_get(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct error *ret_error)
{
	struct backend_vdevice *vdevice = &device->vdevice;
	uint32_t stream = op->table.stream;
	struct guest_parent parent;
	bool same;
	int r = guest_parent(device, op, &parent, ret_error);

	if (r)
		return r;
	same = vdevice->id && vdevice->stream == stream && guest_fits(vdevice->viommu, &parent);
	if (vdevice->id && !same && vdevice->refs > 0)
		return error_set(ret_error, REASON_STREAM_FIXED,
			"the device is stream %u of its guest, over page table %u: that changes by "
			"an unbind and a bind only",
			vdevice->stream, vdevice->viommu->parent);
	if (!same) {
		backend_guest_sweep(b, device);
		if (vdevice->id)
			return backend_fail(
				ret_error, device, BACKEND_DESTROY, vdevice->id, -EBUSY);
		r = vdevice_make(b, device, &parent, stream, ret_error);
		if (r)
			return r;
		vdevice->stream = stream;
	}
	vdevice->refs++;
	return 0;
}

void backend_guest_put(struct backend *b, struct backend_device *device)
{
	assert(device->vdevice.refs > 0);
	if (--device->vdevice.refs == 0)
		vdevice_destroy(b, device);
}

void backend_guest_sweep(struct backend *b, struct backend_device *device)
{
	if (device->vdevice.id && device->vdevice.refs == 0)
		vdevice_destroy(b, device);
	viommu_sweep(b, device->iommufd);
}

bool backend_guest_uses(const struct backend_iommufd *iommufd, uint32_t ioas)
{
	const struct backend_viommu *viommu = iommufd->viommus;

	while (viommu && (viommu->ioas != ioas || viommu->refs == 0))
		viommu = viommu->next;
	return viommu != NULL;
}

/* --- who has the RID --- */

int backend_guest_claim(const struct backend *b, const struct backend_device *device,
	const struct hpasid *pasid, bool guest, struct error *ret_error)
{
	for (size_t i = 0; i < BACKEND_DEVICES_MAX; i++) {
		struct backend_device *member = b->devices[i];
		struct hpasid any = {0};

		if (!member || member->group != device->group)
			continue;
		if (pasid && member->at_rid.made && member->at_rid.made->guest)
			return error_set(ret_error, REASON_RID_CLAIMED,
				"a guest's table has the whole RID, and so all PASIDs: unbind that "
				"first");
		if (guest && backend_attachment_next(member, &any))
			return error_set(ret_error, REASON_PASIDS_BOUND,
				"PASID %u is attached, and a guest's table takes the whole RID: "
				"unbind all PASIDs first",
				any.v);
	}
	return 0;
}

void backend_guest_tell(const struct backend_device *device, const struct backend_hwpt *made,
	struct hw_result *result)
{
	if (!made || !made->guest)
		return;
	result->viommu = device->vdevice.viommu->id;
	result->vdevice = device->vdevice.id;
}

/* --- without the kernel --- */

void backend_guest_forget(struct backend_device *device)
{
	if (device->vdevice.viommu)
		device->vdevice.viommu->refs--;
	device->vdevice = (struct backend_vdevice){0};
}

void backend_guest_forget_all(struct backend_iommufd *iommufd)
{
	while (iommufd->viommus) {
		struct backend_viommu *next = iommufd->viommus->next;

		assert(iommufd->viommus->refs == 0);
		free(iommufd->viommus);
		iommufd->viommus = next;
	}
}
