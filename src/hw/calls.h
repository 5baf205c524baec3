/* SPDX-License-Identifier: MIT */
/*
 * The kernel's calls as a port: `iommufd.c` makes them, `sim.c` behaves as if it were the kernel.
 *
 * A backend (vtd.c, smmuv3.c) is written against this, so that its checks and orders are the same
 * code on the simulator and on a host. Everything may block and is called in workers only. All
 * functions return 0 or the negative errno of the kernel's call; outputs stay untouched on failure.
 */
#ifndef PASIDD_HW_CALLS_H
#define PASIDD_HW_CALLS_H

#include "hw.h"

/* The flags of IOMMU_HWPT_ALLOC that we use: linux/iommufd.h, enum iommufd_hwpt_alloc_flags. */
#define CALLS_HWPT_NEST_PARENT 1u
#define CALLS_HWPT_PASID       8u

struct calls_hwpt {
	uint32_t flags; /* CALLS_HWPT_* */
	uint32_t dev_id;
	uint32_t pt_id;     /* an IOAS, or the nest parent of a nested table */
	uint32_t data_type; /* 0 none, 1 VTD_S1, 2 ARM_SMMUV3 */
	uint32_t data_len;
	const void *data;
};

/* What IOMMU_GET_HW_INFO says. */
struct calls_info {
	uint32_t type;           /* enum hw_iommu's numbers */
	uint32_t max_pasid_log2; /* 0: no PASID */
	uint64_t capabilities;
	uint64_t raw[6]; /* VT-d: cap, ecap; SMMUv3: idr[0..5] */
};

struct calls_node {
	struct rid rid;
	uint32_t group;
};

struct calls {
	/* Is this an iommufd? 0, or STATUS_INVALID with *ret_error saying what it is instead. */
	int (*check_iommufd)(void *ctx, int fd, struct error *ret_error);
	/* Is this a VFIO device node? Its RID and group come from the system, never from the
	 * client. */
	int (*check_device)(
		void *ctx, int fd, struct calls_node *ret_node, struct error *ret_error);
	/*
	 * Is this memory that may be mapped so, with the range of `op` in it? 0, or a status with
	 * *ret_error saying what it is instead.
	 */
	int (*check_memory)(void *ctx, int fd, const struct hw_op *op, struct error *ret_error);
	/* Two descriptors of this process: 1 the same open file, 0 not, or -errno. */
	int (*same_file)(void *ctx, int a, int b);
	int (*open_iommufd)(void *ctx, int *ret_fd);
	int (*open_device)(void *ctx, struct rid rid, int *ret_fd);

	int (*bind)(void *ctx, int device, int iommufd, uint32_t *ret_dev_id);
	int (*hw_info)(void *ctx, int iommufd, uint32_t dev_id, struct calls_info *ret_info);
	int (*ioas_alloc)(void *ctx, int iommufd, uint32_t *ret_ioas);
	int (*map_file)(void *ctx, int iommufd, uint32_t ioas, int memfd, uint64_t offset,
		uint64_t length, uint64_t iova, uint32_t map_flags);
	int (*unmap)(void *ctx, int iommufd, uint32_t ioas, uint64_t iova, uint64_t length);
	int (*hwpt_alloc)(
		void *ctx, int iommufd, const struct calls_hwpt *hwpt, uint32_t *ret_hwpt);
	/* A guest's IOMMU of the device's physical one, over the nest parent `hwpt`; `type` has the
	   numbers of enum hw_iommu (IOMMU_VIOMMU_ALLOC). */
	int (*viommu_alloc)(void *ctx, int iommufd, uint32_t type, uint32_t dev_id, uint32_t hwpt,
		uint32_t *ret_viommu);
	/* The device in it, under the guest's name `virt_id` (IOMMU_VDEVICE_ALLOC). */
	int (*vdevice_alloc)(void *ctx, int iommufd, uint32_t viommu, uint32_t dev_id,
		uint64_t virt_id, uint32_t *ret_vdevice);
	/* pasid is NULL for the RID itself. */
	int (*attach)(void *ctx, int device, uint32_t pt_id, const struct hpasid *pasid);
	int (*detach)(void *ctx, int device, const struct hpasid *pasid);
	int (*destroy)(void *ctx, int iommufd, uint32_t id);
	/*
	 * The request interrupt of a bound device, which is one owner's: a descriptor that can be
	 * read from when the function is to be unplugged, which waits until all descriptors of it
	 * are closed. The caller closes it with close(2).
	 */
	int (*watch_removal)(void *ctx, int device, int *ret_fd);
	/* close(), told to the simulator. */
	void (*close)(void *ctx, int fd);
};

#endif
