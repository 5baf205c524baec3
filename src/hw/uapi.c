/* SPDX-License-Identifier: MIT */
/*
 * No code: compares our declarations with the system's headers, field by field, where these are new
 * enough. A header too old for something is no reason to fail; one that contradicts us is.
 */
#include "uapi.h"

#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif
#if __has_include(<linux/vfio.h>)
#include <linux/vfio.h>
#endif

#define SAME(a, b)          _Static_assert((a) == (b), #a " differs from the system's header")
#define SAME_SIZE(a, b)     SAME(sizeof(struct a), sizeof(struct b))
#define SAME_FIELD(a, b, f) SAME(offsetof(struct a, f), offsetof(struct b, f))

/* HWPT_ALLOC and GET_HW_INFO came together, in Linux 6.6. */
#ifdef IOMMU_GET_HW_INFO
SAME(UAPI_DESTROY, IOMMU_DESTROY);
SAME_SIZE(uapi_destroy, iommu_destroy);
SAME_FIELD(uapi_destroy, iommu_destroy, id);
SAME(UAPI_IOAS_ALLOC, IOMMU_IOAS_ALLOC);
SAME_SIZE(uapi_ioas_alloc, iommu_ioas_alloc);
SAME_FIELD(uapi_ioas_alloc, iommu_ioas_alloc, out_ioas_id);
SAME(UAPI_IOAS_MAP, IOMMU_IOAS_MAP);
SAME(UAPI_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_FIXED_IOVA);
SAME(UAPI_MAP_WRITEABLE, IOMMU_IOAS_MAP_WRITEABLE);
SAME(UAPI_MAP_READABLE, IOMMU_IOAS_MAP_READABLE);
SAME(UAPI_IOAS_UNMAP, IOMMU_IOAS_UNMAP);
SAME_SIZE(uapi_ioas_unmap, iommu_ioas_unmap);
SAME_FIELD(uapi_ioas_unmap, iommu_ioas_unmap, iova);
SAME_FIELD(uapi_ioas_unmap, iommu_ioas_unmap, length);
SAME(UAPI_HWPT_ALLOC, IOMMU_HWPT_ALLOC);
SAME_FIELD(uapi_hwpt_alloc, iommu_hwpt_alloc, dev_id);
SAME_FIELD(uapi_hwpt_alloc, iommu_hwpt_alloc, pt_id);
SAME_FIELD(uapi_hwpt_alloc, iommu_hwpt_alloc, out_hwpt_id);
SAME(UAPI_GET_HW_INFO, IOMMU_GET_HW_INFO);
SAME_SIZE(uapi_hw_info, iommu_hw_info);
SAME_FIELD(uapi_hw_info, iommu_hw_info, data_uptr);
SAME_FIELD(uapi_hw_info, iommu_hw_info, out_data_type);
SAME_FIELD(uapi_hw_info, iommu_hw_info, out_capabilities);
SAME_SIZE(uapi_hw_info_vtd, iommu_hw_info_vtd);
SAME_FIELD(uapi_hw_info_vtd, iommu_hw_info_vtd, cap_reg);
SAME_FIELD(uapi_hw_info_vtd, iommu_hw_info_vtd, ecap_reg);
#endif

/* VTD_S1 came in 6.7, the invalidation in 6.8. */
#ifdef IOMMU_HWPT_INVALIDATE
SAME(UAPI_HWPT_NEST_PARENT, IOMMU_HWPT_ALLOC_NEST_PARENT);
SAME(UAPI_HWPT_DATA_VTD_S1, IOMMU_HWPT_DATA_VTD_S1);
SAME_SIZE(uapi_hwpt_vtd_s1, iommu_hwpt_vtd_s1);
SAME_FIELD(uapi_hwpt_vtd_s1, iommu_hwpt_vtd_s1, pgtbl_addr);
SAME_FIELD(uapi_hwpt_vtd_s1, iommu_hwpt_vtd_s1, addr_width);
SAME_FIELD(uapi_hwpt_alloc, iommu_hwpt_alloc, data_type);
SAME_FIELD(uapi_hwpt_alloc, iommu_hwpt_alloc, data_len);
SAME_FIELD(uapi_hwpt_alloc, iommu_hwpt_alloc, data_uptr);
#endif

/* 6.13 */
#ifdef IOMMU_IOAS_MAP_FILE
SAME(UAPI_IOAS_MAP_FILE, IOMMU_IOAS_MAP_FILE);
SAME_SIZE(uapi_ioas_map_file, iommu_ioas_map_file);
SAME_FIELD(uapi_ioas_map_file, iommu_ioas_map_file, fd);
SAME_FIELD(uapi_ioas_map_file, iommu_ioas_map_file, start);
SAME_FIELD(uapi_ioas_map_file, iommu_ioas_map_file, length);
SAME_FIELD(uapi_ioas_map_file, iommu_ioas_map_file, iova);
SAME_SIZE(uapi_hwpt_alloc, iommu_hwpt_alloc);
SAME_FIELD(uapi_hwpt_alloc, iommu_hwpt_alloc, fault_id);
SAME_SIZE(uapi_hw_info_smmuv3, iommu_hw_info_arm_smmuv3);
SAME_FIELD(uapi_hw_info_smmuv3, iommu_hw_info_arm_smmuv3, idr);
SAME(UAPI_HWPT_DATA_ARM_SMMUV3, IOMMU_HWPT_DATA_ARM_SMMUV3);
SAME_SIZE(uapi_hwpt_smmuv3, iommu_hwpt_arm_smmuv3);
SAME(UAPI_VIOMMU_ALLOC, IOMMU_VIOMMU_ALLOC);
SAME(UAPI_VIOMMU_ARM_SMMUV3, IOMMU_VIOMMU_TYPE_ARM_SMMUV3);
SAME_FIELD(uapi_viommu_alloc, iommu_viommu_alloc, type);
SAME_FIELD(uapi_viommu_alloc, iommu_viommu_alloc, dev_id);
SAME_FIELD(uapi_viommu_alloc, iommu_viommu_alloc, hwpt_id);
SAME_FIELD(uapi_viommu_alloc, iommu_viommu_alloc, out_viommu_id);
SAME(UAPI_VDEVICE_ALLOC, IOMMU_VDEVICE_ALLOC);
SAME_SIZE(uapi_vdevice_alloc, iommu_vdevice_alloc);
SAME_FIELD(uapi_vdevice_alloc, iommu_vdevice_alloc, viommu_id);
SAME_FIELD(uapi_vdevice_alloc, iommu_vdevice_alloc, dev_id);
SAME_FIELD(uapi_vdevice_alloc, iommu_vdevice_alloc, out_vdevice_id);
SAME_FIELD(uapi_vdevice_alloc, iommu_vdevice_alloc, virt_id);
#endif

/* The event queue came with the PASID attach, in 6.15. */
#ifdef IOMMU_VEVENTQ_ALLOC
SAME(UAPI_HWPT_PASID, IOMMU_HWPT_ALLOC_PASID);
SAME_FIELD(uapi_hw_info, iommu_hw_info, out_max_pasid_log2);
#endif

#ifdef VFIO_DEVICE_SET_IRQS
SAME(UAPI_DEVICE_SET_IRQS, VFIO_DEVICE_SET_IRQS);
SAME_FIELD(uapi_device_irq, vfio_irq_set, index);
SAME_FIELD(uapi_device_irq, vfio_irq_set, count);
SAME(offsetof(struct uapi_device_irq, eventfd), offsetof(struct vfio_irq_set, data));
SAME(UAPI_IRQ_EVENTFD, VFIO_IRQ_SET_DATA_EVENTFD);
SAME(UAPI_IRQ_TRIGGER, VFIO_IRQ_SET_ACTION_TRIGGER);
SAME(UAPI_IRQ_REQUEST, (unsigned int)VFIO_PCI_REQ_IRQ_INDEX);
#endif

#ifdef VFIO_DEVICE_BIND_IOMMUFD
SAME(UAPI_DEVICE_BIND, VFIO_DEVICE_BIND_IOMMUFD);
SAME_FIELD(uapi_device_bind, vfio_device_bind_iommufd, iommufd);
SAME_FIELD(uapi_device_bind, vfio_device_bind_iommufd, out_devid);
SAME(UAPI_DEVICE_ATTACH, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
SAME_FIELD(uapi_device_attach, vfio_device_attach_iommufd_pt, pt_id);
SAME(UAPI_DEVICE_DETACH, VFIO_DEVICE_DETACH_IOMMUFD_PT);
#endif
#ifdef VFIO_DEVICE_ATTACH_PASID
SAME(UAPI_ATTACH_PASID, VFIO_DEVICE_ATTACH_PASID);
SAME(UAPI_ATTACH_PASID, VFIO_DEVICE_DETACH_PASID);
SAME_SIZE(uapi_device_attach, vfio_device_attach_iommufd_pt);
SAME_FIELD(uapi_device_attach, vfio_device_attach_iommufd_pt, pasid);
SAME_SIZE(uapi_device_detach, vfio_device_detach_iommufd_pt);
SAME_FIELD(uapi_device_detach, vfio_device_detach_iommufd_pt, pasid);
#endif
