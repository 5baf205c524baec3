/* SPDX-License-Identifier: MIT */
/*
 * What a VMM does by itself on its own iommufd: address spaces, mappings, page tables. Declared
 * here because the headers of most distributions are older than PASID attach (Linux 6.15). The
 * layouts are the kernel's, from include/uapi/linux/iommufd.h.
 */
#ifndef EXAMPLES_VMM_KERNEL_H
#define EXAMPLES_VMM_KERNEL_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define VMM_IOCTL(number) (0x3b00 | (number))

#define VMM_MAP_FIXED     1u
#define VMM_MAP_WRITEABLE 2u
#define VMM_MAP_READABLE  4u
#define VMM_HWPT_PASID    8u /* without it a page table cannot be bound to a PASID */

struct vmm_ioas_alloc {
	uint32_t size, flags, out_ioas_id;
};

struct vmm_ioas_map {
	uint32_t size, flags, ioas_id, reserved;
	uint64_t user_va, length, iova;
};

struct vmm_hwpt_alloc {
	uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len;
	uint64_t data_uptr;
	uint32_t fault_id, reserved2;
};

struct vmm_destroy {
	uint32_t size, id;
};

_Static_assert(sizeof(struct vmm_ioas_alloc) == 12, "IOMMU_IOAS_ALLOC");
_Static_assert(sizeof(struct vmm_ioas_map) == 40, "IOMMU_IOAS_MAP");
_Static_assert(sizeof(struct vmm_hwpt_alloc) == 48, "IOMMU_HWPT_ALLOC");
_Static_assert(sizeof(struct vmm_destroy) == 8, "IOMMU_DESTROY");

/* All of them: 0 or -errno. */

static inline int vmm_ioas(int iommufd, uint32_t *ret_ioas)
{
	struct vmm_ioas_alloc args = {.size = sizeof(args)};
	if (ioctl(iommufd, VMM_IOCTL(0x81), &args) < 0)
		return -errno;
	*ret_ioas = args.out_ioas_id;
	return 0;
}

/* Guest memory: anonymous here, and left mapped until the process ends. */
static inline int vmm_map(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
	struct vmm_ioas_map args = {
		.size = sizeof(args),
		.flags = VMM_MAP_FIXED | VMM_MAP_WRITEABLE | VMM_MAP_READABLE,
		.ioas_id = ioas,
		.user_va = (uint64_t)(uintptr_t)memory,
		.length = length,
		.iova = iova,
	};
	if (ioctl(iommufd, VMM_IOCTL(0x85), &args) < 0) {
		int error = errno;
		munmap(memory, length);
		return -error;
	}
	return 0;
}

static inline int vmm_hwpt(int iommufd, uint32_t dev_id, uint32_t ioas, uint32_t *ret_hwpt)
{
	struct vmm_hwpt_alloc args = {
		.size = sizeof(args), .flags = VMM_HWPT_PASID, .dev_id = dev_id, .pt_id = ioas};
	if (ioctl(iommufd, VMM_IOCTL(0x89), &args) < 0)
		return -errno;
	*ret_hwpt = args.out_hwpt_id;
	return 0;
}

static inline int vmm_destroy(int iommufd, uint32_t id)
{
	struct vmm_destroy args = {.size = sizeof(args), .id = id};
	return ioctl(iommufd, VMM_IOCTL(0x80), &args) < 0 ? -errno : 0;
}

#endif
