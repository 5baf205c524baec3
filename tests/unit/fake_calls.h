/* SPDX-License-Identifier: MIT */
/*
 * A scripted kernel for tests of the backend: remembers what it was asked, keeps the objects and
 * attachments that it granted, and fails where it is told to. As the real one it replaces an
 * attachment without a word, and answers 0 to a PASID attach on a device without PASIDs.
 */
#ifndef TEST_FAKE_CALLS_H
#define TEST_FAKE_CALLS_H

#include "hw/calls.h"

#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#define FAKE_FDS     32
#define FAKE_OBJECTS 640
#define FAKE_RID     0xffffffffu /* as a PASID: the attachment of the RID */

enum fake_kind { FAKE_NONE = 0, FAKE_IOMMUFD, FAKE_DEVICE, FAKE_MEMFD, FAKE_FILE };

struct fake {
	/* What the descriptors are; two with one `file` are one open file. */
	struct {
		enum fake_kind kind;
		int file;
		uint32_t rid, group;
		bool bound;
		uint32_t dev_id;
	} fd[FAKE_FDS];
	struct fake_object {
		uint32_t id;
		struct calls_hwpt hwpt; /* data is not kept; of others pt_id, what it is over */
		bool ioas;
		bool viommu, vdevice;
		uint64_t virt_id;
	} object[FAKE_OBJECTS];
	uint32_t devices;  /* how many were bound: the first is device 7, then 8, ... */
	uint32_t smmu[32]; /* which SMMU a device is behind, by its id */
	struct {
		int device;
		uint32_t pasid, pt_id;
	} attached[FAKE_OBJECTS];
	size_t attached_count, mapped;
	int removal_fd; /* of the device that was watched last */
	uint32_t next_id;
	int next_fd;
	uint32_t open_rid; /* what an opened node really belongs to, 0: what was asked for */
	struct calls_info info;
	/* The last nested table as the kernel got it. */
	uint8_t data[64];
	/* The script: fail call number `fail_at` (from 1), or those of the name, with -fail_error.
	 */
	unsigned int calls, fail_at;
	const char *fail_name;
	int fail_error;
	int fail_at_error;       /* of that number; 0: fail_error */
	unsigned int fail_times; /* with fail_name: so often only; 0: always */
	char log[2048];
};

__attribute__((format(printf, 2, 3))) static inline void fake_log(
	struct fake *fake, const char *format, ...)
{
	size_t used = strlen(fake->log);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(fake->log + used, sizeof(fake->log) - used, format, args);
	va_end(args);
}

static inline int fake_fails(struct fake *fake, const char *name)
{
	fake->calls++;
	if (fake->calls == fake->fail_at)
		return fake->fail_at_error ? -fake->fail_at_error : -fake->fail_error;
	if (fake->fail_name && strcmp(fake->fail_name, name) == 0) {
		if (fake->fail_times && --fake->fail_times == 0)
			fake->fail_name = NULL;
		return -fake->fail_error;
	}
	return 0;
}

static inline int fake_add_fd(struct fake *fake, enum fake_kind kind, int file, uint32_t rid)
{
	int fd = fake->next_fd++;

	ck_assert_int_lt(fd, FAKE_FDS);
	fake->fd[fd].kind = kind;
	fake->fd[fd].file = file;
	fake->fd[fd].rid = rid;
	fake->fd[fd].group = rid + 100;
	return fd;
}

static inline void fake_init(struct fake *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->next_fd = 10;
	fake->next_id = 1;
}

static inline size_t fake_open_fds(const struct fake *fake)
{
	size_t count = 0;

	for (size_t i = 0; i < FAKE_FDS; i++)
		count += fake->fd[i].kind != FAKE_NONE;
	return count;
}

static inline size_t fake_objects(const struct fake *fake)
{
	size_t count = 0;

	for (size_t i = 0; i < FAKE_OBJECTS; i++)
		count += fake->object[i].id != 0;
	return count;
}

static inline uint32_t fake_add_object(struct fake *fake, bool ioas, const struct calls_hwpt *hwpt)
{
	for (size_t i = 0; i < FAKE_OBJECTS; i++) {
		if (fake->object[i].id)
			continue;
		fake->object[i].id = fake->next_id++;
		fake->object[i].ioas = ioas;
		if (hwpt)
			fake->object[i].hwpt = *hwpt;
		return fake->object[i].id;
	}
	ck_abort_msg("too many objects");
	return 0;
}

static inline const struct calls_hwpt *fake_hwpt(const struct fake *fake, uint32_t id)
{
	for (size_t i = 0; i < FAKE_OBJECTS; i++)
		if (fake->object[i].id == id && !fake->object[i].ioas)
			return &fake->object[i].hwpt;
	return NULL;
}

static inline struct fake_object *fake_find(struct fake *fake, uint32_t id)
{
	for (size_t i = 0; id && i < FAKE_OBJECTS; i++)
		if (fake->object[i].id == id)
			return &fake->object[i];
	return NULL;
}

/* The page table attached to a PASID, or FAKE_RID; 0: none. */
static inline uint32_t fake_attached(const struct fake *fake, int device, uint32_t pasid)
{
	for (size_t i = 0; i < fake->attached_count; i++)
		if (fake->attached[i].device == device && fake->attached[i].pasid == pasid)
			return fake->attached[i].pt_id;
	return 0;
}

static inline int fake_check_iommufd(void *ctx, int fd, struct error *ret_error)
{
	struct fake *fake = ctx;

	if (fake->fd[fd].kind != FAKE_IOMMUFD)
		return error_set(ret_error, REASON_FD_KIND, "a regular file was passed");
	return 0;
}

static inline int fake_check_device(
	void *ctx, int fd, struct calls_node *ret_node, struct error *ret_error)
{
	struct fake *fake = ctx;

	if (fake->fd[fd].kind != FAKE_DEVICE)
		return error_set(ret_error, REASON_FD_KIND, "a regular file was passed");
	ret_node->rid.v = fake->fd[fd].rid;
	ret_node->group = fake->fd[fd].group;
	return 0;
}

static inline int fake_check_memory(
	void *ctx, int fd, const struct hw_op *op, struct error *ret_error)
{
	struct fake *fake = ctx;

	(void)op;
	if (fake->fd[fd].kind != FAKE_MEMFD)
		return error_set(ret_error, REASON_FD_KIND, "a regular file was passed");
	return 0;
}

static inline int fake_same_file(void *ctx, int a, int b)
{
	struct fake *fake = ctx;

	return fake->fd[a].file == fake->fd[b].file;
}

static inline int fake_open_iommufd(void *ctx, int *ret_fd)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "open_iommufd");

	fake_log(fake, "open-iommufd;");
	if (r == 0)
		*ret_fd = fake_add_fd(fake, FAKE_IOMMUFD, 1000 + fake->next_fd, 0);
	return r;
}

static inline int fake_open_device(void *ctx, struct rid rid, int *ret_fd)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "open_device");

	fake_log(fake, "open-device %x;", rid.v);
	if (r == 0)
		*ret_fd = fake_add_fd(fake, FAKE_DEVICE, 1000 + fake->next_fd,
			fake->open_rid ? fake->open_rid : rid.v);
	return r;
}

static inline int fake_bind(void *ctx, int device, int iommufd, uint32_t *ret_dev_id)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "bind");

	fake_log(fake, "bind %d %d;", device, iommufd);
	if (r == 0 && fake->fd[device].bound)
		r = -EINVAL;
	if (r < 0)
		return r;
	fake->fd[device].bound = true;
	*ret_dev_id = fake->fd[device].dev_id = 7 + fake->devices++;
	return 0;
}

static inline int fake_hw_info(void *ctx, int iommufd, uint32_t dev_id, struct calls_info *ret_info)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "hw_info");

	(void)iommufd;
	fake_log(fake, "info %u;", dev_id);
	if (r == 0)
		*ret_info = fake->info;
	return r;
}

static inline int fake_ioas_alloc(void *ctx, int iommufd, uint32_t *ret_ioas)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "ioas_alloc");

	(void)iommufd;
	if (r == 0)
		*ret_ioas = fake_add_object(fake, true, NULL);
	fake_log(fake, "ioas;");
	return r;
}

static inline int fake_map_file(void *ctx, int iommufd, uint32_t ioas, int memfd, uint64_t offset,
	uint64_t length, uint64_t iova, uint32_t map_flags)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "map");

	(void)iommufd, (void)memfd, (void)offset, (void)length, (void)map_flags;
	fake_log(fake, "map %u %llx;", ioas, (unsigned long long)iova);
	fake->mapped += r == 0;
	return r;
}

static inline int fake_unmap(void *ctx, int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "unmap");

	(void)iommufd, (void)length;
	fake_log(fake, "unmap %u %llx;", ioas, (unsigned long long)iova);
	fake->mapped -= r == 0;
	return r;
}

/* Linux, drivers/iommu/arm/arm-smmu-v3. Page tables that the VMM made are not known here. */
static inline int fake_smmuv3_check(struct fake *fake, const struct calls_hwpt *hwpt)
{
	const struct fake_object *under = fake_find(fake, hwpt->pt_id);

	if (hwpt->data_type)
		return hwpt->flags || !under || !under->viommu ? -EOPNOTSUPP : 0;
	return hwpt->flags == (CALLS_HWPT_NEST_PARENT | CALLS_HWPT_PASID) ? -EOPNOTSUPP : 0;
}

static inline int fake_viommu_alloc(
	void *ctx, int iommufd, uint32_t type, uint32_t dev_id, uint32_t hwpt, uint32_t *ret_viommu)
{
	struct fake *fake = ctx;
	const struct fake_object *under = fake_find(fake, hwpt);
	int r = fake_fails(fake, "viommu");

	(void)iommufd;
	fake_log(fake, "viommu %u/%u;", dev_id, hwpt);
	if (r == 0 && type != HW_IOMMU_SMMUV3)
		r = -EOPNOTSUPP;
	if (r == 0 && under &&
		(!(under->hwpt.flags & CALLS_HWPT_NEST_PARENT) ||
			fake->smmu[under->hwpt.dev_id] != fake->smmu[dev_id]))
		r = -EINVAL;
	if (r < 0)
		return r;
	*ret_viommu =
		fake_add_object(fake, false, &(struct calls_hwpt){.dev_id = dev_id, .pt_id = hwpt});
	fake_find(fake, *ret_viommu)->viommu = true;
	return 0;
}

static inline int fake_vdevice_alloc(void *ctx, int iommufd, uint32_t viommu, uint32_t dev_id,
	uint64_t virt_id, uint32_t *ret_vdevice)
{
	struct fake *fake = ctx;
	const struct fake_object *under = fake_find(fake, viommu);
	int r = fake_fails(fake, "vdevice");

	(void)iommufd;
	fake_log(fake, "vdevice %u/%u=%u;", viommu, dev_id, (uint32_t)virt_id);
	if (r == 0 && (!under || !under->viommu))
		r = -ENOENT;
	if (r == 0 && fake->smmu[under->hwpt.dev_id] != fake->smmu[dev_id])
		r = -EINVAL;
	for (size_t i = 0; r == 0 && i < FAKE_OBJECTS; i++)
		if (fake->object[i].vdevice && (fake->object[i].hwpt.dev_id == dev_id ||
						       (fake->object[i].hwpt.pt_id == viommu &&
							       fake->object[i].virt_id == virt_id)))
			r = -EEXIST;
	if (r < 0)
		return r;
	*ret_vdevice = fake_add_object(
		fake, false, &(struct calls_hwpt){.dev_id = dev_id, .pt_id = viommu});
	fake_find(fake, *ret_vdevice)->vdevice = true;
	fake_find(fake, *ret_vdevice)->virt_id = virt_id;
	return 0;
}

static inline int fake_hwpt_alloc(
	void *ctx, int iommufd, const struct calls_hwpt *hwpt, uint32_t *ret_hwpt)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, hwpt->data_type ? "nest" : "hwpt");

	(void)iommufd;
	fake_log(fake, "hwpt %u/%x%s;", hwpt->pt_id, hwpt->flags, hwpt->data_type ? " s1" : "");
	if (r == 0 && fake->info.type == HW_IOMMU_SMMUV3)
		r = fake_smmuv3_check(fake, hwpt);
	if (r < 0)
		return r;
	ck_assert_uint_le(hwpt->data_len, sizeof(fake->data));
	if (hwpt->data)
		memcpy(fake->data, hwpt->data, hwpt->data_len);
	*ret_hwpt = fake_add_object(fake, false, hwpt);
	return 0;
}

/* On SMMUv3 a guest's table needs its vDEVICE, and excludes PASIDs, both ways (trap 7). */
static inline int fake_guest_check(
	struct fake *fake, int device, uint32_t pt_id, const struct hpasid *pasid)
{
	const struct fake_object *table = fake_find(fake, pt_id), *rid;
	int r = -ENOENT;

	rid = fake_find(fake, fake_attached(fake, device, FAKE_RID));
	if (pasid)
		return rid && rid->hwpt.data_type == 2 ? -EINVAL : 0;
	if (!table || table->hwpt.data_type != 2)
		return 0;
	for (size_t i = 0; i < fake->attached_count; i++)
		if (fake->attached[i].device == device && fake->attached[i].pasid != FAKE_RID)
			return -EINVAL;
	for (size_t i = 0; i < FAKE_OBJECTS; i++)
		if (fake->object[i].vdevice && fake->object[i].hwpt.pt_id == table->hwpt.pt_id &&
			fake->object[i].hwpt.dev_id == fake->fd[device].dev_id)
			r = 0;
	return r;
}

static inline int fake_attach(void *ctx, int device, uint32_t pt_id, const struct hpasid *pasid)
{
	struct fake *fake = ctx;
	uint32_t number = pasid ? pasid->v : FAKE_RID;
	int r = fake_fails(fake, "attach");
	size_t i = 0;

	fake_log(fake, "attach %d %d %u;", device, pasid ? (int)pasid->v : -1, pt_id);
	if (r == 0)
		r = fake_guest_check(fake, device, pt_id, pasid);
	if (r < 0 || (pasid && fake->info.max_pasid_log2 == 0))
		return r;
	while (i < fake->attached_count &&
		(fake->attached[i].device != device || fake->attached[i].pasid != number))
		i++;
	ck_assert_uint_lt(i, FAKE_OBJECTS);
	fake->attached[i].device = device;
	fake->attached[i].pasid = number;
	fake->attached[i].pt_id = pt_id;
	if (i == fake->attached_count)
		fake->attached_count++;
	return 0;
}

static inline int fake_detach(void *ctx, int device, const struct hpasid *pasid)
{
	struct fake *fake = ctx;
	uint32_t number = pasid ? pasid->v : FAKE_RID;
	int r = fake_fails(fake, "detach");

	fake_log(fake, "detach %d %d;", device, pasid ? (int)pasid->v : -1);
	for (size_t i = 0; r == 0 && i < fake->attached_count; i++)
		if (fake->attached[i].device == device && fake->attached[i].pasid == number)
			fake->attached[i] = fake->attached[--fake->attached_count];
	return r;
}

static inline int fake_destroy(void *ctx, int iommufd, uint32_t id)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "destroy");

	(void)iommufd;
	fake_log(fake, "destroy %u;", id);
	if (r < 0)
		return r;
	for (size_t i = 0; i < fake->attached_count; i++)
		if (fake->attached[i].pt_id == id)
			return -EBUSY;
	for (size_t i = 0; i < FAKE_OBJECTS; i++)
		if (fake->object[i].id && !fake->object[i].ioas && fake->object[i].hwpt.pt_id == id)
			return -EBUSY;
	for (size_t i = 0; i < FAKE_OBJECTS; i++)
		if (fake->object[i].id == id) {
			memset(&fake->object[i], 0, sizeof(fake->object[i]));
			return 0;
		}
	return -ENOENT;
}

static inline int fake_watch_removal(void *ctx, int device, int *ret_fd)
{
	struct fake *fake = ctx;
	int r = fake_fails(fake, "watch_removal");

	fake_log(fake, "watch %d;", device);
	if (r == 0)
		*ret_fd = fake->removal_fd = eventfd(0, EFD_CLOEXEC);
	return r;
}

static inline void fake_close(void *ctx, int fd)
{
	struct fake *fake = ctx;

	fake_log(fake, "close %d;", fd);
	ck_assert_int_ge(fd, 0);
	ck_assert_msg(fake->fd[fd].kind != FAKE_NONE, "descriptor %d closed twice", fd);
	memset(&fake->fd[fd], 0, sizeof(fake->fd[fd]));
}

static const struct calls fake_calls = {
	.check_iommufd = fake_check_iommufd,
	.check_device = fake_check_device,
	.check_memory = fake_check_memory,
	.same_file = fake_same_file,
	.open_iommufd = fake_open_iommufd,
	.open_device = fake_open_device,
	.bind = fake_bind,
	.hw_info = fake_hw_info,
	.ioas_alloc = fake_ioas_alloc,
	.map_file = fake_map_file,
	.unmap = fake_unmap,
	.hwpt_alloc = fake_hwpt_alloc,
	.viommu_alloc = fake_viommu_alloc,
	.vdevice_alloc = fake_vdevice_alloc,
	.attach = fake_attach,
	.detach = fake_detach,
	.destroy = fake_destroy,
	.watch_removal = fake_watch_removal,
	.close = fake_close,
};

#endif
