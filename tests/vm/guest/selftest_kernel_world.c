/* SPDX-License-Identifier: MIT */
/* The real iommufd: pasidd's own calls, whose devices are the self-test's. */
#include "selftest.h"
#include "selftest_kernel.h"

#include "hw/iommufd.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define FDS_MAX 64

/* A device is a file that nobody else has; its function is remembered here, as sysfs would say it.
   The observer of an iommufd is made when it is first asked. */
static struct {
	struct iommufd_host host; /* the context of iommufd_calls */
	struct calls calls;
	struct {
		uint32_t rid;
		int observer;
	} fd[FDS_MAX];
} kernel;

static int kernel_open_device(void *ctx, struct rid rid, int *ret_fd)
{
	int fd = memfd_create("selftest-device", MFD_CLOEXEC);
	int r;

	(void)ctx;
	if (fd < 0)
		return -errno;
	r = fd < FDS_MAX ? selftest_device_add(fd) : -EMFILE;
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	kernel.fd[fd].rid = rid.v;
	*ret_fd = fd;
	return 0;
}

static int kernel_check_device(
	void *ctx, int fd, struct calls_node *ret_node, struct error *ret_error)
{
	(void)ctx;
	if (!selftest_is_device(fd))
		return error_set(ret_error, REASON_FD_KIND, "not a device of the self-test");
	ret_node->rid.v = (uint16_t)kernel.fd[fd].rid;
	ret_node->group = kernel.fd[fd].rid;
	return 0;
}

static void kernel_close(void *ctx, int fd)
{
	selftest_device_drop(fd);
	if (fd >= 0 && fd < FDS_MAX)
		kernel.fd[fd].rid = 0;
	if (fd >= 0 && fd < FDS_MAX)
		kernel.fd[fd].observer = 0;
	iommufd_calls.close(ctx, fd);
}

static bool kernel_stands(
	const struct world *world, struct rid rid, const struct hpasid *pasid, uint32_t pt_id)
{
	(void)world;
	for (int fd = 0; fd < FDS_MAX; fd++)
		if (kernel.fd[fd].rid == rid.v && selftest_is_device(fd))
			return selftest_stands(fd, pasid, pt_id);
	return false;
}

static bool kernel_nested_is(
	const struct world *world, int iommufd, uint32_t hwpt, const struct hw_table *table)
{
	(void)world;
	return selftest_nested_is(iommufd, hwpt, table);
}

static unsigned kernel_objects(const struct world *world, int iommufd)
{
	int *observer = &kernel.fd[iommufd].observer;

	(void)world;
	if (*observer == 0)
		*observer = selftest_observe(iommufd);
	if (*observer < 0)
		selftest_die("no mock device: is the kernel built with CONFIG_IOMMUFD_TEST?");
	return selftest_objects(iommufd, *observer);
}

/* The mock driver does so by itself. */
static void kernel_fail_second(const struct world *world, struct hpasid pasid)
{
	(void)world;
	if (pasid.v != SELFTEST_FAILS)
		selftest_die("the mock driver fails at %u only", SELFTEST_FAILS);
}

struct world world_kernel(bool smmuv3)
{
	if (smmuv3)
		selftest_be_smmuv3();
	else
		selftest_be_vtd();
	iommufd_host_init(&kernel.host);
	kernel.host.ioctl = selftest_ioctl;
	kernel.calls = iommufd_calls;
	kernel.calls.open_device = kernel_open_device;
	kernel.calls.check_device = kernel_check_device;
	kernel.calls.close = kernel_close;
	return (struct world){
		.name = smmuv3 ? "kernel, SMMUv3" : "kernel",
		.iommu = smmuv3 ? HW_IOMMU_SMMUV3 : HW_IOMMU_VTD,
		.queues = smmuv3,
		.calls = &kernel.calls,
		.ctx = &kernel.host,
		.stands = kernel_stands,
		.nested_is = kernel_nested_is,
		.objects = kernel_objects,
		.fail_second = kernel_fail_second,
	};
}
