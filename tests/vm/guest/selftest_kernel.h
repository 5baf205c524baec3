/* SPDX-License-Identifier: MIT */
/*
 * The kernel's self-test device in the place of a VFIO device (CONFIG_IOMMUFD_TEST, ioctl 0x3ba0 of
 * /dev/iommu: drivers/iommu/iommufd/{iommufd_test.h,selftest.c} of Linux 7.3).
 *
 * What pasidd asks of a device goes to a mock device in the same iommufd, by the functions of
 * iommufd that VFIO calls as well; what it asks of the iommufd goes there as it stands, apart from
 * two answers and one argument: hardware information says that it is VT-d with nesting, and a
 * guest's first-stage table is made with the self-test's data. The mock attaches by way of the real
 * core and writes no table.
 */
#ifndef SELFTEST_KERNEL_H
#define SELFTEST_KERNEL_H

#include "hw/hw.h"
#include "hw/uapi.h"

#define SELFTEST_REQUEST UAPI_IO(0xa0)

/* As ioctl(2), for struct iommufd_host. `fd` may be a device of selftest_device_add(). */
int selftest_ioctl(int fd, unsigned long request, void *arg);

/* From now on `fd` is a device that nobody bound. 0 or -ENOSPC. */
int selftest_device_add(int fd);
bool selftest_is_device(int fd);
/* What VFIO does when the last descriptor of a device goes: detaches everything, unbinds. */
void selftest_device_drop(int fd);

/* Hardware information is that of a VT-d, or of an SMMUv3, with nesting from now on. */
void selftest_be_vtd(void);
void selftest_be_smmuv3(void);

/*
 * Is exactly page table `pt_id` attached to the PASID (NULL: the RID) of a bound device, 0: none?
 * The core says it, not what was remembered here.
 */
bool selftest_stands(int device, const struct hpasid *pasid, uint32_t pt_id);
/* What the self-test keeps of a nested table: a number made of the guest's description. */
bool selftest_nested_is(int iommufd, uint32_t hwpt, const struct hw_table *table);
/* A queue for the events of a guest's IOMMU, as a VMM makes one; its object and descriptor. 0 or
 * -errno. */
int selftest_event_queue(int iommufd, uint32_t viommu, uint32_t *ret_id, int *ret_fd);
/* An observer's mock device in an iommufd, by which its objects can be counted; its id, or -errno.
 */
int selftest_observe(int iommufd);
/* How many objects there are in it. */
unsigned selftest_objects(int iommufd, int observer);

/*
 * From now on the n-th place where an allocation can fail fails, once, counted over the calls that
 * are made for pasidd; 0: none. Needs the kernel's fault injection; 0 or -errno.
 */
int selftest_arm(unsigned n);
/* Ends that. Has it failed anywhere? */
bool selftest_disarm(void);

#endif
