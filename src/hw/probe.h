/* SPDX-License-Identifier: MIT */
/*
 * What this host can do, by asking it; kernel versions are never compared.
 */
#ifndef PASIDD_HW_PROBE_H
#define PASIDD_HW_PROBE_H

#include "backend.h"

/* The backend for a type that IOMMU_GET_HW_INFO answered; never NULL: an unknown IOMMU gets one
   without nesting, so that whole functions can still be attached. */
const struct backend_kind *probe_kind(uint32_t type);

struct probe {
	bool iommufd;     /* the kernel has iommufd, and its node can be opened by us */
	bool cdev;        /* VFIO has device nodes (class vfio-dev) */
	uint32_t devices; /* functions that have a VFIO device node now */
	uint32_t iommu;   /* enum hw_iommu that sysfs shows, HW_IOMMU_NONE if none or another */
	char text[640]; /* for people: what is there, what is missing, what to do; one line each */
};

/*
 * Looks at a host without changing it; `sysfs` is "/sys", `dev` is "/dev". Whether PASIDs can be
 * attached is only known per device (hw_info). Cannot fail: what cannot be seen is reported as
 * missing.
 */
void probe_host(const char *sysfs, const char *dev, struct probe *ret_probe);

/* Is that enough to bind PASIDs on a device? */
static inline bool probe_usable(const struct probe *probe)
{
	return probe->iommufd && probe->cdev;
}

#endif
