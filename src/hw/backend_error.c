/* SPDX-License-Identifier: MIT */
#include "backend_state.h"

#include "../fd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const call_names[] = {
	[BACKEND_ANY] = "call",
	[BACKEND_OPEN_IOMMUFD] = "open of /dev/iommu",
	[BACKEND_OPEN_DEVICE] = "open of its VFIO device node",
	[BACKEND_BIND] = "VFIO_DEVICE_BIND_IOMMUFD",
	[BACKEND_HW_INFO] = "IOMMU_GET_HW_INFO",
	[BACKEND_IOAS_ALLOC] = "IOMMU_IOAS_ALLOC",
	[BACKEND_MAP] = "IOMMU_IOAS_MAP_FILE",
	[BACKEND_UNMAP] = "IOMMU_IOAS_UNMAP",
	[BACKEND_HWPT_ALLOC] = "IOMMU_HWPT_ALLOC",
	[BACKEND_NEST_PARENT] = "IOMMU_HWPT_ALLOC of a nest parent",
	[BACKEND_NEST] = "IOMMU_HWPT_ALLOC of a nested table",
	[BACKEND_VIOMMU_ALLOC] = "IOMMU_VIOMMU_ALLOC",
	[BACKEND_VDEVICE_ALLOC] = "IOMMU_VDEVICE_ALLOC",
	[BACKEND_NEST_STE] = "IOMMU_HWPT_ALLOC of a stream table entry",
	[BACKEND_ATTACH] = "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
	[BACKEND_ATTACH_RID] = "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
	[BACKEND_DETACH] = "VFIO_DEVICE_DETACH_IOMMUFD_PT",
	[BACKEND_DESTROY] = "IOMMU_DESTROY",
	[BACKEND_WATCH] = "VFIO_DEVICE_SET_IRQS",
};
_Static_assert(ARRAY_SIZE(call_names) == BACKEND_CALL_COUNT, "every call has a name");

#define MEMLOCK_TEXT "locked memory is used up: raise LimitMEMLOCK of pasidd.service"

/* The first row that fits decides; BACKEND_ANY fits every call. Linux 7.3, drivers/iommu/iommufd,
 * drivers/vfio. */
static const struct backend_meaning {
	enum backend_call call;
	int error;
	enum reason reason;
	const char *text;
} meanings[] = {
	{BACKEND_OPEN_IOMMUFD, ENOENT, REASON_KERNEL_REFUSED,
		"no iommufd here: load the module iommufd, or use a kernel that has it"},
	{BACKEND_OPEN_DEVICE, ENODEV, REASON_NO_DEVICE,
		"no VFIO device node: is the function there, and bound to vfio-pci?"},
	{BACKEND_OPEN_DEVICE, EACCES, REASON_KERNEL_REFUSED,
		"pasidd may not open it: give its user access to /dev/vfio/devices"},
	{BACKEND_BIND, EINVAL, REASON_BIND_REFUSED,
		"it is bound already; close what bound it, open the node anew and pass it unbound, pasidd "
		"binds it (or the platform lacks cache coherency)"},
	{BACKEND_BIND, EBADF, REASON_FD_KIND, "the other descriptor is no iommufd"},
	{BACKEND_BIND, EBADFD, REASON_FD_KIND, "the other descriptor is no iommufd"},
	{BACKEND_BIND, EPERM, REASON_BIND_REFUSED,
		"its group is held through another iommufd: use one for the whole group"},
	{BACKEND_BIND, EBUSY, REASON_DEVICE_BUSY,
		"a kernel driver holds a member of its group: bind all to vfio-pci"},
	{BACKEND_HW_INFO, EOPNOTSUPP, REASON_KERNEL_REFUSED,
		"kernel or device has no IOMMU to ask: real tables need Linux 6.15 or later"},
	{BACKEND_MAP, EEXIST, REASON_MAP_OVERLAP, "the range overlaps a mapping: unmap that first"},
	{BACKEND_MAP, EINVAL, REASON_BAD_RANGE,
		"needs a memfd, and whole pages inside it and inside what the IOMMU can address"},
	{BACKEND_MAP, EBADF, REASON_FD_KIND, "the descriptor is no memfd"},
	{BACKEND_MAP, ENOTTY, REASON_KERNEL_REFUSED,
		"this kernel maps no files: Linux 6.13 or later does"},
	{BACKEND_UNMAP, ENOENT, REASON_NOT_MAPPED,
		"no mapping lies in the range, or it would be split"},
	{BACKEND_HWPT_ALLOC, EOPNOTSUPP, REASON_NO_PASID_ATTACH,
		"kernel or IOMMU makes no page tables for PASIDs: Linux 6.15 or later on VT-d"},
	{BACKEND_HWPT_ALLOC, EINVAL, REASON_TABLE_KIND,
		"no IOAS has this id, or the device cannot use it"},
	{BACKEND_NEST_PARENT, EOPNOTSUPP, REASON_NO_NESTING,
		"kernel or IOMMU cannot nest page tables for PASIDs"},
	{BACKEND_NEST_PARENT, EINVAL, REASON_TABLE_KIND,
		"no IOAS has this id, or the device cannot use it"},
	{BACKEND_NEST, EOPNOTSUPP, REASON_NO_NESTING,
		"kernel or IOMMU cannot nest page tables of guests"},
	{BACKEND_NEST, EINVAL, REASON_TABLE_KIND,
		"the parent must be a page table made with IOMMU_HWPT_ALLOC_NEST_PARENT"},
	{BACKEND_VIOMMU_ALLOC, EOPNOTSUPP, REASON_NO_NESTING,
		"the IOMMU nests no tables of guests: it needs S2FWB, or a device that the firmware "
		"says is coherent (CANWBS)"},
	{BACKEND_VIOMMU_ALLOC, EINVAL, REASON_TABLE_KIND,
		"the parent must be a page table made with IOMMU_HWPT_ALLOC_NEST_PARENT, on the "
		"IOMMU of this device"},
	{BACKEND_VIOMMU_ALLOC, ENOENT, REASON_TABLE_ID, "the iommufd has no page table of this id"},
	{BACKEND_VDEVICE_ALLOC, EEXIST, REASON_STREAM_TAKEN,
		"another device has the stream id in its guest's IOMMU, or somebody else made a "
		"vDEVICE of this one: destroy that first"},
	{BACKEND_VDEVICE_ALLOC, EOPNOTSUPP, REASON_NO_NESTING,
		"a device with several streams cannot have a guest's table"},
	{BACKEND_NEST_STE, EOPNOTSUPP, REASON_NO_NESTING, "the IOMMU nests no tables of guests"},
	{BACKEND_NEST_STE, EIO, REASON_TABLE_FIELD,
		"the kernel does not take a field of the guest's stream table entry"},
	{BACKEND_ATTACH, EOPNOTSUPP, REASON_NO_PASID_ATTACH,
		"driver or IOMMU attaches no PASIDs: only vfio-pci does, and not on AMD yet"},
	{BACKEND_ATTACH, EINVAL, REASON_TABLE_PASID,
		"not a page table with IOMMU_HWPT_ALLOC_PASID, or the group uses another"},
	{BACKEND_ATTACH_RID, EOPNOTSUPP, REASON_NO_NESTING,
		"a device with several streams cannot have a guest's table"},
	{BACKEND_ATTACH_RID, EINVAL, REASON_TABLE_KIND,
		"not a page table for this device, or its group uses another"},
	{BACKEND_ATTACH, EBUSY, REASON_RESET_RUNNING,
		"a reset has not ended in time, or, if none is running, something else than pasidd "
		"attached it: try again later"},
	{BACKEND_ATTACH_RID, EBUSY, REASON_RESET_RUNNING,
		"a reset has not ended in time, or, if none is running, something else than pasidd "
		"attached it: try again later"},
	{BACKEND_ATTACH, ENOENT, REASON_TABLE_ID, "the iommufd has no page table of this id"},
	{BACKEND_ATTACH_RID, ENOENT, REASON_TABLE_ID,
		"the iommufd has no page table of this id; or, for a guest's, its vDEVICE is gone"},
	{BACKEND_DETACH, EBUSY, REASON_RESET_RUNNING,
		"a reset has not ended in time: try again later"},
	{BACKEND_ANY, ENOMEM, REASON_MEMLOCK, MEMLOCK_TEXT},
	{BACKEND_ANY, ENODEV, REASON_DEVICE_GOING, "the device is being removed"},
	{BACKEND_ANY, EMFILE, REASON_LIMIT,
		"no descriptor is left: raise LimitNOFILE of pasidd.service"},
	{BACKEND_ANY, ENOTTY, REASON_KERNEL_REFUSED,
		"this kernel is too old: real tables need Linux 6.15 or later"},
};

static const struct backend_meaning *backend_meaning(enum backend_call call, int error)
{
	static const struct backend_meaning unknown = {
		BACKEND_ANY, 0, REASON_KERNEL_REFUSED, "the kernel refused; see its log"};

	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if ((meanings[i].call == call || meanings[i].call == BACKEND_ANY) &&
			meanings[i].error == error)
			return &meanings[i];
	return &unknown;
}

int backend_error(struct error *ret_error, const struct backend_site *site, int r)
{
	const struct backend_meaning *meaning = backend_meaning(site->call, -r);
	const char *name = strerrorname_np(-r);
	char where[FD_RID_LEN], pasid[32] = "", object[32] = "";
	int status;

	fd_format_rid(site->rid, where);
	if (site->pasid)
		(void)snprintf(pasid, sizeof(pasid), " PASID %u", site->pasid->v);
	if (site->id)
		(void)snprintf(object, sizeof(object), " (id %u)", site->id);
	status = error_set(ret_error, meaning->reason, "%s%s: %s%s: %s: %s", where, pasid,
		call_names[site->call], object, name ? name : "unknown error", meaning->text);
	ret_error->sys_errno = -r;
	ret_error->object = site->pasid ? site->pasid->v : site->rid.v;
	return status;
}
