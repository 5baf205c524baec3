/* SPDX-License-Identifier: MIT */
/*
 * The real kernel as a `struct calls`: the only ioctls of the project, one function each.
 */
#ifndef PASIDD_HW_IOMMUFD_H
#define PASIDD_HW_IOMMUFD_H

#include "calls.h"

/* Where the host is found; the context of iommufd_calls. Tests put a scripted kernel here. */
struct iommufd_host {
	const char *sysfs;                                      /* mount point of sysfs */
	const char *dev;                                        /* folder of device nodes */
	int (*ioctl)(int fd, unsigned long request, void *arg); /* as ioctl(2), sets errno */
	int (*open)(const char *path, int flags);               /* as open(2), sets errno */
};

/* The host that we run on: /sys, /dev, ioctl(2), open(2). */
void iommufd_host_init(struct iommufd_host *host);

/* All requests that are ever made, by their numbers: what a worker's filter lets through. */
#define IOMMUFD_REQUESTS 12u
extern const uint32_t iommufd_requests[IOMMUFD_REQUESTS];

/*
 * Interrupted calls are repeated. A page table that is in truth an IOAS is refused with -EINVAL:
 * the kernel would attach a table of its own making to a RID, one without ALLOC_PASID (KERNEL trap
 * 4).
 */
extern const struct calls iommufd_calls;

#endif
