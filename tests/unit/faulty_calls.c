/* SPDX-License-Identifier: MIT */
#include "faulty_calls.h"

#include <errno.h>

#define ERRORS_MAX 10

/* What the kernel gives (KERNEL.md; Linux, drivers/vfio, drivers/iommu/iommufd). A check has words
 * of its own. */
static const int errors[FAULTY_CALL_COUNT][ERRORS_MAX] = {
	[FAULTY_SAME_FILE] = {EPERM, ENOSYS},
	[FAULTY_OPEN_IOMMUFD] = {ENOENT, EACCES, EMFILE, ENFILE, ENOMEM, EINTR},
	[FAULTY_OPEN_DEVICE] = {ENODEV, EACCES, EMFILE, ENFILE, EBUSY, EINTR},
	[FAULTY_BIND] = {EINVAL, EBADF, EBADFD, EPERM, EBUSY, ENOMEM, ENODEV, EFAULT},
	[FAULTY_HW_INFO] = {EOPNOTSUPP, ENOENT, EFAULT, ENOMEM, EIO},
	[FAULTY_IOAS_ALLOC] = {ENOMEM, ENOSPC, EFAULT},
	[FAULTY_MAP] = {EEXIST, EINVAL, ENOMEM, ENOSPC, EFAULT, EBADF, ENOTTY, EINTR},
	[FAULTY_UNMAP] = {ENOENT, EBUSY, EDEADLK, ENOMEM},
	[FAULTY_HWPT_ALLOC] = {EOPNOTSUPP, EINVAL, ENOMEM, ENOSPC, EFAULT, ENODEV, EIO},
	[FAULTY_VIOMMU_ALLOC] = {EOPNOTSUPP, EINVAL, ENOENT, ENOMEM, ENOTTY},
	[FAULTY_VDEVICE_ALLOC] = {EEXIST, EINVAL, EOPNOTSUPP, ENOENT, ENOMEM},
	[FAULTY_ATTACH] = {EINVAL, EBUSY, ENOMEM, EIO, ENODEV, EOPNOTSUPP, ENOENT, ENOSPC, EEXIST,
		EINTR},
	[FAULTY_DETACH] = {EIO, EBUSY, ENODEV, EINVAL, EINTR, ENOMEM},
	[FAULTY_DESTROY] = {EBUSY, EINTR, ENOMEM},
	[FAULTY_WATCH] = {EMFILE, EINVAL, ENOMEM, ENOTTY, EIO},
};

static const char *const names[] = {
#define C(name) [FAULTY_##name] = #name,
	FAULTY_CALLS(C)
#undef C
};

const char *faulty_text(enum faulty_call call)
{
	return names[call];
}

unsigned faulty_errors(enum faulty_call call)
{
	unsigned count = 0;

	while (count < ERRORS_MAX && errors[call][count])
		count++;
	return count ? count : 1;
}

void faulty_arm(struct faulty *faulty, unsigned first, unsigned second)
{
	faulty->calls = 0;
	faulty->first = (struct faulty_fault){.at = first};
	faulty->second = (struct faulty_fault){.at = second ? first + second : 0};
}

void faulty_disarm(struct faulty *faulty)
{
	faulty->first.at = faulty->second.at = 0;
}

static struct faulty_fault *faulty_next(struct faulty *faulty)
{
	unsigned call = ++faulty->calls;

	if (call == faulty->first.at)
		return &faulty->first;
	return call == faulty->second.at ? &faulty->second : NULL;
}

/* 0 when the call is to be made, otherwise the -errno that it fails with. */
static int faulty_fate(struct faulty *faulty, enum faulty_call call)
{
	struct faulty_fault *fault = faulty_next(faulty);

	if (!fault)
		return 0;
	fault->hit = call;
	fault->error = errors[call][faulty->tried[call]++ % faulty_errors(call)];
	return -fault->error;
}

static int faulty_check(struct faulty *faulty, enum faulty_call call, struct error *ret_error)
{
	struct faulty_fault *fault = faulty_next(faulty);

	if (!fault)
		return 0;
	fault->hit = call;
	faulty->tried[call]++;
	return error_set(ret_error, REASON_FD_KIND, "it cannot be told what this is");
}

static int faulty_check_iommufd(void *ctx, int fd, struct error *ret_error)
{
	struct faulty *faulty = ctx;
	int r = faulty_check(faulty, FAULTY_CHECK_IOMMUFD, ret_error);

	return r ? r : faulty->real->check_iommufd(faulty->ctx, fd, ret_error);
}

static int faulty_check_device(
	void *ctx, int fd, struct calls_node *ret_node, struct error *ret_error)
{
	struct faulty *faulty = ctx;
	int r = faulty_check(faulty, FAULTY_CHECK_DEVICE, ret_error);

	return r ? r : faulty->real->check_device(faulty->ctx, fd, ret_node, ret_error);
}

static int faulty_check_memory(void *ctx, int fd, const struct hw_op *op, struct error *ret_error)
{
	struct faulty *faulty = ctx;
	int r = faulty_check(faulty, FAULTY_CHECK_MEMORY, ret_error);

	return r ? r : faulty->real->check_memory(faulty->ctx, fd, op, ret_error);
}

static int faulty_same_file(void *ctx, int a, int b)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_SAME_FILE);

	return r ? r : faulty->real->same_file(faulty->ctx, a, b);
}

static int faulty_open_iommufd(void *ctx, int *ret_fd)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_OPEN_IOMMUFD);

	return r ? r : faulty->real->open_iommufd(faulty->ctx, ret_fd);
}

static int faulty_open_device(void *ctx, struct rid rid, int *ret_fd)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_OPEN_DEVICE);

	return r ? r : faulty->real->open_device(faulty->ctx, rid, ret_fd);
}

static int faulty_bind(void *ctx, int device, int iommufd, uint32_t *ret_dev_id)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_BIND);

	return r ? r : faulty->real->bind(faulty->ctx, device, iommufd, ret_dev_id);
}

static int faulty_hw_info(void *ctx, int iommufd, uint32_t dev_id, struct calls_info *ret_info)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_HW_INFO);

	return r ? r : faulty->real->hw_info(faulty->ctx, iommufd, dev_id, ret_info);
}

static int faulty_ioas_alloc(void *ctx, int iommufd, uint32_t *ret_ioas)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_IOAS_ALLOC);

	return r ? r : faulty->real->ioas_alloc(faulty->ctx, iommufd, ret_ioas);
}

static int faulty_map_file(void *ctx, int iommufd, uint32_t ioas, int memfd, uint64_t offset,
	uint64_t length, uint64_t iova, uint32_t map_flags)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_MAP);

	return r ? r
		 : faulty->real->map_file(
			   faulty->ctx, iommufd, ioas, memfd, offset, length, iova, map_flags);
}

static int faulty_unmap(void *ctx, int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_UNMAP);

	return r ? r : faulty->real->unmap(faulty->ctx, iommufd, ioas, iova, length);
}

static int faulty_hwpt_alloc(
	void *ctx, int iommufd, const struct calls_hwpt *hwpt, uint32_t *ret_hwpt)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_HWPT_ALLOC);

	return r ? r : faulty->real->hwpt_alloc(faulty->ctx, iommufd, hwpt, ret_hwpt);
}

static int faulty_viommu_alloc(
	void *ctx, int iommufd, uint32_t type, uint32_t dev_id, uint32_t hwpt, uint32_t *ret_viommu)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_VIOMMU_ALLOC);

	return r ? r
		 : faulty->real->viommu_alloc(faulty->ctx, iommufd, type, dev_id, hwpt, ret_viommu);
}

static int faulty_vdevice_alloc(void *ctx, int iommufd, uint32_t viommu, uint32_t dev_id,
	uint64_t virt_id, uint32_t *ret_vdevice)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_VDEVICE_ALLOC);

	return r ? r
		 : faulty->real->vdevice_alloc(
			   faulty->ctx, iommufd, viommu, dev_id, virt_id, ret_vdevice);
}

static int faulty_attach(void *ctx, int device, uint32_t pt_id, const struct hpasid *pasid)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_ATTACH);

	return r ? r : faulty->real->attach(faulty->ctx, device, pt_id, pasid);
}

static int faulty_detach(void *ctx, int device, const struct hpasid *pasid)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_DETACH);

	return r ? r : faulty->real->detach(faulty->ctx, device, pasid);
}

static int faulty_destroy(void *ctx, int iommufd, uint32_t id)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_DESTROY);

	return r ? r : faulty->real->destroy(faulty->ctx, iommufd, id);
}

static int faulty_watch_removal(void *ctx, int device, int *ret_fd)
{
	struct faulty *faulty = ctx;
	int r = faulty_fate(faulty, FAULTY_WATCH);

	return r ? r : faulty->real->watch_removal(faulty->ctx, device, ret_fd);
}

/* Cannot fail. */
static void faulty_close(void *ctx, int fd)
{
	struct faulty *faulty = ctx;

	faulty->real->close(faulty->ctx, fd);
}

const struct calls faulty_calls = {
	.check_iommufd = faulty_check_iommufd,
	.check_device = faulty_check_device,
	.check_memory = faulty_check_memory,
	.same_file = faulty_same_file,
	.open_iommufd = faulty_open_iommufd,
	.open_device = faulty_open_device,
	.bind = faulty_bind,
	.hw_info = faulty_hw_info,
	.ioas_alloc = faulty_ioas_alloc,
	.map_file = faulty_map_file,
	.unmap = faulty_unmap,
	.hwpt_alloc = faulty_hwpt_alloc,
	.viommu_alloc = faulty_viommu_alloc,
	.vdevice_alloc = faulty_vdevice_alloc,
	.attach = faulty_attach,
	.detach = faulty_detach,
	.destroy = faulty_destroy,
	.watch_removal = faulty_watch_removal,
	.close = faulty_close,
};
