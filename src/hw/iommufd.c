/* SPDX-License-Identifier: MIT */
/*
 * Every argument is a variable here, never a constant: when the kernel cannot write its answer
 * back, it detaches the RID (KERNEL trap 5).
 */
#include "iommufd.h"

#include "../fd.h"
#include "uapi.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

_Static_assert(CALLS_HWPT_NEST_PARENT == UAPI_HWPT_NEST_PARENT, "passed through");
_Static_assert(CALLS_HWPT_PASID == UAPI_HWPT_PASID, "passed through");

static int iommufd_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

static int iommufd_open(const char *path, int flags)
{
	return open(path, flags);
}

void iommufd_host_init(struct iommufd_host *host)
{
	*host = (struct iommufd_host){
		.sysfs = "/sys",
		.dev = "/dev",
		.ioctl = iommufd_ioctl,
		.open = iommufd_open,
	};
}

const uint32_t iommufd_requests[IOMMUFD_REQUESTS] = {
	UAPI_DEVICE_SET_IRQS,
	UAPI_DEVICE_BIND,
	UAPI_DEVICE_ATTACH,
	UAPI_DEVICE_DETACH,
	UAPI_DESTROY,
	UAPI_IOAS_ALLOC,
	UAPI_IOAS_UNMAP,
	UAPI_HWPT_ALLOC,
	UAPI_GET_HW_INFO,
	UAPI_IOAS_MAP_FILE,
	UAPI_VIOMMU_ALLOC,
	UAPI_VDEVICE_ALLOC,
};

static bool iommufd_knows(unsigned long request)
{
	for (size_t i = 0; i < IOMMUFD_REQUESTS; i++)
		if (iommufd_requests[i] == request)
			return true;
	return false;
}

/* One call, again while a signal interrupts it. */
static int iommufd_call(const struct iommufd_host *host, int fd, unsigned long request, void *arg)
{
	int r, error;

	assert(iommufd_knows(request)); /* or a filter of calls would refuse it */
	do {
		r = host->ioctl(fd, request, arg);
		error = errno;
	} while (r < 0 && error == EINTR);
	return r < 0 ? -error : 0;
}

static int iommufd_check_iommufd(void *ctx, int fd, struct error *ret_error)
{
	const struct iommufd_host *host = ctx;

	return fd_check_iommufd(host->sysfs, fd, ret_error);
}

static int iommufd_check_device(
	void *ctx, int fd, struct calls_node *ret_node, struct error *ret_error)
{
	const struct iommufd_host *host = ctx;

	return fd_check_device(host->sysfs, fd, &ret_node->rid, &ret_node->group, ret_error);
}

static int iommufd_check_memory(void *ctx, int fd, const struct hw_op *op, struct error *ret_error)
{
	(void)ctx;
	return fd_check_memory(
		fd, op->offset, op->length, (op->map_flags & HW_MAP_WRITE) != 0, ret_error);
}

static int iommufd_same_file(void *ctx, int a, int b)
{
	(void)ctx;
	return fd_same_file(a, b);
}

static int iommufd_open_node(const struct iommufd_host *host, const char *relative, int *ret_fd)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", host->dev, relative);
	int fd, error;

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	do {
		fd = host->open(path, O_RDWR | O_CLOEXEC);
		error = errno;
	} while (fd < 0 && error == EINTR);
	if (fd < 0)
		return -error;
	*ret_fd = fd;
	return 0;
}

static int iommufd_open_iommufd(void *ctx, int *ret_fd)
{
	return iommufd_open_node(ctx, "iommu", ret_fd);
}

static int iommufd_open_device(void *ctx, struct rid rid, int *ret_fd)
{
	const struct iommufd_host *host = ctx;
	char name[64], relative[96];
	int r = fd_find_device(host->sysfs, rid, name, sizeof(name));

	if (r < 0)
		return r;
	(void)snprintf(relative, sizeof(relative), "vfio/devices/%s", name);
	return iommufd_open_node(host, relative, ret_fd);
}

static int iommufd_bind(void *ctx, int device, int iommufd, uint32_t *ret_dev_id)
{
	struct uapi_device_bind arg = {.argsz = sizeof(arg), .iommufd = iommufd};
	int r = iommufd_call(ctx, device, UAPI_DEVICE_BIND, &arg);

	if (r == 0)
		*ret_dev_id = arg.out_devid;
	return r;
}

/* What the kernel wrote of a type that we know; it zeroes what it does not fill. */
union iommufd_info_data {
	struct uapi_hw_info_vtd vtd;
	struct uapi_hw_info_smmuv3 smmuv3;
};

static void iommufd_info_raw(
	uint32_t type, const union iommufd_info_data *data, uint64_t raw[static 6])
{
	memset(raw, 0, 6 * sizeof(raw[0]));
	if (type == HW_IOMMU_VTD) {
		raw[0] = data->vtd.cap_reg;
		raw[1] = data->vtd.ecap_reg;
	} else if (type == HW_IOMMU_SMMUV3) {
		for (size_t i = 0; i < ARRAY_SIZE(data->smmuv3.idr); i++)
			raw[i] = data->smmuv3.idr[i];
	}
}

static int iommufd_hw_info(void *ctx, int iommufd, uint32_t dev_id, struct calls_info *ret_info)
{
	union iommufd_info_data data = {0};
	struct uapi_hw_info arg = {
		.size = sizeof(arg),
		.dev_id = dev_id,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};
	int r = iommufd_call(ctx, iommufd, UAPI_GET_HW_INFO, &arg);

	if (r < 0)
		return r;
	*ret_info = (struct calls_info){
		.type = arg.out_data_type,
		.max_pasid_log2 = arg.out_max_pasid_log2,
		.capabilities = arg.out_capabilities,
	};
	iommufd_info_raw(arg.out_data_type, &data, ret_info->raw);
	return 0;
}

static int iommufd_ioas_alloc(void *ctx, int iommufd, uint32_t *ret_ioas)
{
	struct uapi_ioas_alloc arg = {.size = sizeof(arg)};
	int r = iommufd_call(ctx, iommufd, UAPI_IOAS_ALLOC, &arg);

	if (r == 0)
		*ret_ioas = arg.out_ioas_id;
	return r;
}

static int iommufd_map_file(void *ctx, int iommufd, uint32_t ioas, int memfd, uint64_t offset,
	uint64_t length, uint64_t iova, uint32_t map_flags)
{
	struct uapi_ioas_map_file arg = {
		.size = sizeof(arg),
		.flags = UAPI_MAP_FIXED_IOVA | UAPI_MAP_READABLE,
		.ioas_id = ioas,
		.fd = memfd,
		.start = offset,
		.length = length,
		.iova = iova,
	};

	if (map_flags & HW_MAP_WRITE)
		arg.flags |= UAPI_MAP_WRITEABLE;
	return iommufd_call(ctx, iommufd, UAPI_IOAS_MAP_FILE, &arg);
}

static int iommufd_unmap(void *ctx, int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct uapi_ioas_unmap arg = {
		.size = sizeof(arg), .ioas_id = ioas, .iova = iova, .length = length};

	return iommufd_call(ctx, iommufd, UAPI_IOAS_UNMAP, &arg);
}

static int iommufd_hwpt_alloc(
	void *ctx, int iommufd, const struct calls_hwpt *hwpt, uint32_t *ret_hwpt)
{
	struct uapi_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = hwpt->flags,
		.dev_id = hwpt->dev_id,
		.pt_id = hwpt->pt_id,
		.data_type = hwpt->data_type,
		.data_len = hwpt->data_len,
		.data_uptr = (uintptr_t)hwpt->data,
	};
	int r = iommufd_call(ctx, iommufd, UAPI_HWPT_ALLOC, &arg);

	if (r == 0)
		*ret_hwpt = arg.out_hwpt_id;
	return r;
}

static int iommufd_viommu_alloc(
	void *ctx, int iommufd, uint32_t type, uint32_t dev_id, uint32_t hwpt, uint32_t *ret_viommu)
{
	struct uapi_viommu_alloc arg = {
		.size = sizeof(arg),
		.type = UAPI_VIOMMU_ARM_SMMUV3,
		.dev_id = dev_id,
		.hwpt_id = hwpt,
	};
	int r = type == HW_IOMMU_SMMUV3 ? iommufd_call(ctx, iommufd, UAPI_VIOMMU_ALLOC, &arg)
					: -EOPNOTSUPP;

	if (r == 0)
		*ret_viommu = arg.out_viommu_id;
	return r;
}

static int iommufd_vdevice_alloc(void *ctx, int iommufd, uint32_t viommu, uint32_t dev_id,
	uint64_t virt_id, uint32_t *ret_vdevice)
{
	struct uapi_vdevice_alloc arg = {
		.size = sizeof(arg), .viommu_id = viommu, .dev_id = dev_id, .virt_id = virt_id};
	int r = iommufd_call(ctx, iommufd, UAPI_VDEVICE_ALLOC, &arg);

	if (r == 0)
		*ret_vdevice = arg.out_vdevice_id;
	return r;
}

static int iommufd_detach(void *ctx, int device, const struct hpasid *pasid)
{
	struct uapi_device_detach arg = {.argsz = UAPI_DETACH_RID_SIZE};

	if (pasid) {
		arg.argsz = sizeof(arg);
		arg.flags = UAPI_ATTACH_PASID;
		arg.pasid = pasid->v;
	}
	return iommufd_call(ctx, device, UAPI_DEVICE_DETACH, &arg);
}

static int iommufd_attach(void *ctx, int device, uint32_t pt_id, const struct hpasid *pasid)
{
	struct uapi_device_attach arg = {.argsz = UAPI_ATTACH_RID_SIZE, .pt_id = pt_id};
	int r;

	if (pasid) {
		arg.argsz = sizeof(arg);
		arg.flags = UAPI_ATTACH_PASID;
		arg.pasid = pasid->v;
	}
	r = iommufd_call(ctx, device, UAPI_DEVICE_ATTACH, &arg);
	if (r < 0 || arg.pt_id == pt_id)
		return r;
	/* An IOAS: the kernel attached a table of its own choice. */
	r = iommufd_detach(ctx, device, pasid);
	return r < 0 ? r : -EINVAL;
}

static int iommufd_destroy(void *ctx, int iommufd, uint32_t id)
{
	struct uapi_destroy arg = {.size = sizeof(arg), .id = id};

	return iommufd_call(ctx, iommufd, UAPI_DESTROY, &arg);
}

static int iommufd_watch_removal(void *ctx, int device, int *ret_fd)
{
	struct uapi_device_irq arg = {
		.argsz = sizeof(arg),
		.flags = UAPI_IRQ_EVENTFD | UAPI_IRQ_TRIGGER,
		.index = UAPI_IRQ_REQUEST,
		.count = 1,
		.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	int r;

	if (arg.eventfd < 0)
		return -errno;
	r = iommufd_call(ctx, device, UAPI_DEVICE_SET_IRQS, &arg);
	if (r < 0)
		(void)close(arg.eventfd);
	else
		*ret_fd = arg.eventfd;
	return r;
}

static void iommufd_close(void *ctx, int fd)
{
	(void)ctx;
	(void)close(fd); /* Linux frees the number even when it says EINTR */
}

const struct calls iommufd_calls = {
	.check_iommufd = iommufd_check_iommufd,
	.check_device = iommufd_check_device,
	.check_memory = iommufd_check_memory,
	.same_file = iommufd_same_file,
	.open_iommufd = iommufd_open_iommufd,
	.open_device = iommufd_open_device,
	.bind = iommufd_bind,
	.hw_info = iommufd_hw_info,
	.ioas_alloc = iommufd_ioas_alloc,
	.map_file = iommufd_map_file,
	.unmap = iommufd_unmap,
	.hwpt_alloc = iommufd_hwpt_alloc,
	.viommu_alloc = iommufd_viommu_alloc,
	.vdevice_alloc = iommufd_vdevice_alloc,
	.attach = iommufd_attach,
	.detach = iommufd_detach,
	.destroy = iommufd_destroy,
	.watch_removal = iommufd_watch_removal,
	.close = iommufd_close,
};
