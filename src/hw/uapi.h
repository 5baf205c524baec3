/* SPDX-License-Identifier: MIT */
/*
 * The kernel's iommufd and VFIO interface, as far as it is used here: numbers, structures, flags.
 *
 * Distribution headers are too old (Debian 12 has no linux/iommufd.h, Debian 13 lacks the PASID
 * attach), so the project declares what it uses. Layouts are asserted below, and uapi.c compares
 * them with the system's headers wherever those are new enough. Source: Linux 7.3,
 * include/uapi/linux/{iommufd,vfio}.h.
 */
#ifndef PASIDD_HW_UAPI_H
#define PASIDD_HW_UAPI_H

#include "../base.h"

/* _IO(';', n) */
#define UAPI_IO(n) (0x3b00u | (n))

#define UAPI_DEVICE_SET_IRQS UAPI_IO(0x6e)

#define UAPI_DEVICE_BIND   UAPI_IO(0x76)
#define UAPI_DEVICE_ATTACH UAPI_IO(0x77)
#define UAPI_DEVICE_DETACH UAPI_IO(0x78)
#define UAPI_DESTROY       UAPI_IO(0x80)
#define UAPI_IOAS_ALLOC    UAPI_IO(0x81)
#define UAPI_IOAS_MAP      UAPI_IO(0x85)
#define UAPI_IOAS_UNMAP    UAPI_IO(0x86)
#define UAPI_HWPT_ALLOC    UAPI_IO(0x89)
#define UAPI_GET_HW_INFO   UAPI_IO(0x8a)
#define UAPI_IOAS_MAP_FILE UAPI_IO(0x8f)
#define UAPI_VIOMMU_ALLOC  UAPI_IO(0x90)
#define UAPI_VDEVICE_ALLOC UAPI_IO(0x91)

/* On a device: struct vfio_device_bind_iommufd, without the token of later kernels (24 bytes
 * there). */
struct uapi_device_bind {
	uint32_t argsz;
	uint32_t flags;
	int32_t iommufd;
	uint32_t out_devid;
};
ASSERT_SIZE(struct uapi_device_bind, 16);

#define UAPI_ATTACH_PASID 1u

struct uapi_device_attach {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pt_id; /* in: page table; out: the one that the kernel attached */
	uint32_t pasid;
};
ASSERT_SIZE(struct uapi_device_attach, 16);
/* The structure of kernels before PASID attach ends there: what a RID's attach passes as argsz. */
#define UAPI_ATTACH_RID_SIZE 12u

struct uapi_device_detach {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pasid;
};
ASSERT_SIZE(struct uapi_device_detach, 12);
#define UAPI_DETACH_RID_SIZE 8u

/* On a bound device: struct vfio_irq_set with one eventfd. */
struct uapi_device_irq {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
	int32_t eventfd;
};
ASSERT_SIZE(struct uapi_device_irq, 24);
#define UAPI_IRQ_EVENTFD (1u << 2)
#define UAPI_IRQ_TRIGGER (1u << 5)
#define UAPI_IRQ_REQUEST 4u /* the function is to be removed: let go of it */

/* On an iommufd. */
struct uapi_destroy {
	uint32_t size;
	uint32_t id;
};
ASSERT_SIZE(struct uapi_destroy, 8);

struct uapi_ioas_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_ioas_id;
};
ASSERT_SIZE(struct uapi_ioas_alloc, 12);

#define UAPI_MAP_FIXED_IOVA 1u
#define UAPI_MAP_WRITEABLE  2u
#define UAPI_MAP_READABLE   4u

struct uapi_ioas_map_file {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	int32_t fd;
	uint64_t start;
	uint64_t length;
	uint64_t iova;
};
ASSERT_SIZE(struct uapi_ioas_map_file, 40);
_Static_assert(offsetof(struct uapi_ioas_map_file, start) == 16, "as in the kernel");

struct uapi_ioas_unmap {
	uint32_t size;
	uint32_t ioas_id;
	uint64_t iova;
	uint64_t length; /* in: bytes to unmap; out: bytes unmapped */
};
ASSERT_SIZE(struct uapi_ioas_unmap, 24);

#define UAPI_HWPT_NEST_PARENT 1u
#define UAPI_HWPT_PASID       8u

struct uapi_hwpt_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t dev_id;
	uint32_t pt_id;
	uint32_t out_hwpt_id;
	uint32_t reserved;
	uint32_t data_type;
	uint32_t data_len;
	uint64_t data_uptr;
	uint32_t fault_id;
	uint32_t reserved2;
};
ASSERT_SIZE(struct uapi_hwpt_alloc, 48);
_Static_assert(offsetof(struct uapi_hwpt_alloc, data_uptr) == 32, "as in the kernel");
_Static_assert(offsetof(struct uapi_hwpt_alloc, fault_id) == 40, "as in the kernel");

#define UAPI_HWPT_DATA_NONE       0u
#define UAPI_HWPT_DATA_VTD_S1     1u
#define UAPI_HWPT_DATA_ARM_SMMUV3 2u

struct uapi_hwpt_vtd_s1 {
	uint64_t flags;
	uint64_t pgtbl_addr;
	uint32_t addr_width;
	uint32_t reserved;
};
ASSERT_SIZE(struct uapi_hwpt_vtd_s1, 24);

#define UAPI_STE_WORDS 2

struct uapi_hwpt_smmuv3 {
	uint64_t ste[UAPI_STE_WORDS]; /* little-endian */
};
ASSERT_SIZE(struct uapi_hwpt_smmuv3, 16);

/* Not the number that the hardware information has for it. */
#define UAPI_VIOMMU_ARM_SMMUV3 1u

struct uapi_viommu_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t type;
	uint32_t dev_id;
	uint32_t hwpt_id; /* the nest parent */
	uint32_t out_viommu_id;
	uint32_t data_len;
	uint32_t reserved;
	uint64_t data_uptr;
};
ASSERT_SIZE(struct uapi_viommu_alloc, 40);
_Static_assert(offsetof(struct uapi_viommu_alloc, out_viommu_id) == 20, "as in the kernel");

struct uapi_vdevice_alloc {
	uint32_t size;
	uint32_t viommu_id;
	uint32_t dev_id;
	uint32_t out_vdevice_id;
	uint64_t virt_id;
};
ASSERT_SIZE(struct uapi_vdevice_alloc, 24);
_Static_assert(offsetof(struct uapi_vdevice_alloc, virt_id) == 16, "as in the kernel");

struct uapi_hw_info {
	uint32_t size;
	uint32_t flags;
	uint32_t dev_id;
	uint32_t data_len; /* in: room at data_uptr; out: what the kernel knows */
	uint64_t data_uptr;
	uint32_t out_data_type;
	uint8_t out_max_pasid_log2;
	uint8_t reserved[3];
	uint64_t out_capabilities;
};
ASSERT_SIZE(struct uapi_hw_info, 40);
_Static_assert(offsetof(struct uapi_hw_info, out_max_pasid_log2) == 28, "as in the kernel");

struct uapi_hw_info_vtd {
	uint32_t flags;
	uint32_t reserved;
	uint64_t cap_reg;
	uint64_t ecap_reg;
};
ASSERT_SIZE(struct uapi_hw_info_vtd, 24);

struct uapi_hw_info_smmuv3 {
	uint32_t flags;
	uint32_t reserved;
	uint32_t idr[6];
	uint32_t iidr;
	uint32_t aidr;
};
ASSERT_SIZE(struct uapi_hw_info_smmuv3, 40);

#endif
