/* SPDX-License-Identifier: MIT */
#include "selftest_kernel.h"

#include "hw/smmuv3_table.h"
#include "hw/uapi.h"
#include "hw/vtd_table.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- the self-test's interface: iommufd_test.h of Linux 7.3, as far as it is used here --- */

enum test_op {
	TEST_MOCK_DOMAIN_FLAGS = 12,
	TEST_MD_CHECK_IOTLB = 14,
	TEST_PASID_ATTACH = 18,
	TEST_PASID_REPLACE = 19,
	TEST_PASID_DETACH = 20,
	TEST_PASID_CHECK_HWPT = 21,
};

struct test_cmd {
	uint32_t size;
	uint32_t op;
	uint32_t id;
	uint32_t reserved;
	union {
		struct {
			uint32_t out_stdev_id;
			uint32_t out_hwpt_id;
			uint32_t out_idev_id;
			uint32_t dev_flags;
		} mock;
		struct {
			uint32_t pasid;
			uint32_t pt_id;
		} pasid;
		struct {
			uint32_t index;
			uint32_t value;
		} iotlb;
		uint64_t room[6];
	};
	uint32_t last;
};
ASSERT_SIZE(struct test_cmd, 72);

#define TEST_DEVICE_PASID     4u
#define TEST_INFO_TYPE        0xfeedbeefu
#define TEST_INFO_REGISTER    0xdeadbeefu
#define TEST_HWPT_DATA        0xdeadu
#define TEST_VIOMMU_TYPE      0xdeadbeefu
#define TEST_QUEUE_TYPE       0xbeefbeefu
#define TEST_NESTED_IOTLB_NUM 4u
/* IOMMU_NO_PASID: these calls then mean the RID. */
#define TEST_RID 0u

struct test_hw_info {
	uint32_t flags;
	uint32_t test_reg;
};

struct test_hwpt_data {
	uint32_t iotlb;
	uint32_t pagetable_type; /* 0: the usual one */
};

/* --- devices --- */

#define DEVICES_MAX  16
#define ATTACHED_MAX 64
#define OBJECTS_MAX  160 /* an iommufd has fewer here; a new one gets the lowest free id */

struct selftest_device {
	int fd;      /* -1: the place is free */
	int iommufd; /* a copy, as VFIO has a reference; -1: not bound */
	uint32_t stdev, idev;
	/* What VFIO remembers: what is attached is replaced by a further attach, what is not needs
	   no detach. TEST_RID is the RID. */
	uint32_t attached[ATTACHED_MAX];
	size_t count;
};

static struct selftest_device devices[DEVICES_MAX];
static size_t device_count;
static uint32_t iommu_type; /* enum hw_iommu */
static uint64_t caps[6];

static struct {
	int fd;        /* /proc/thread-self/fail-nth; 0: not yet opened */
	unsigned left; /* places to come; 0: not armed, or done */
	bool fired;
} fault;

/* Not the libc's, which may be ours (selftest_preload.c). */
static int kernel_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

/* The places of a call that fail are counted on from those of the call before. */
static int real_ioctl(int fd, unsigned long request, void *arg)
{
	char text[16] = "";
	int r, error;

	if (fault.left == 0)
		return kernel_ioctl(fd, request, arg);
	(void)snprintf(text, sizeof(text), "%u", fault.left);
	if (pwrite(fault.fd, text, strlen(text), 0) < 0)
		abort();
	r = kernel_ioctl(fd, request, arg);
	error = errno;
	memset(text, 0, sizeof(text));
	if (pread(fault.fd, text, sizeof(text) - 1, 0) <= 0)
		abort();
	fault.left = (unsigned)strtoul(text, NULL, 10);
	fault.fired = fault.left == 0;
	if (pwrite(fault.fd, "0", 1, 0) < 0)
		abort();
	errno = error;
	return r;
}

int selftest_arm(unsigned n)
{
	if (fault.fd == 0)
		fault.fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fault.fd < 0)
		return -errno;
	fault.left = n;
	fault.fired = false;
	return 0;
}

bool selftest_disarm(void)
{
	fault.left = 0;
	return fault.fired;
}

static int test_call(int iommufd, enum test_op op, uint32_t id, struct test_cmd *cmd)
{
	cmd->size = sizeof(*cmd);
	cmd->op = op;
	cmd->id = id;
	return real_ioctl(iommufd, SELFTEST_REQUEST, cmd);
}

/* As test_call(), beside what is counted and may fail. 0 or -errno. */
static int test_ask(int iommufd, enum test_op op, uint32_t id, struct test_cmd *cmd)
{
	unsigned left = fault.left;
	int r;

	fault.left = 0;
	r = test_call(iommufd, op, id, cmd) < 0 ? -errno : 0;
	fault.left = left;
	return r;
}

static struct selftest_device *device_find(int fd)
{
	for (size_t i = 0; i < device_count; i++)
		if (devices[i].fd == fd && fd >= 0)
			return &devices[i];
	return NULL;
}

int selftest_device_add(int fd)
{
	size_t i = 0;

	while (i < device_count && devices[i].fd >= 0)
		i++;
	if (i == DEVICES_MAX)
		return -ENOSPC;
	if (i == device_count)
		device_count++;
	devices[i] = (struct selftest_device){.fd = fd, .iommufd = -1};
	return 0;
}

bool selftest_is_device(int fd)
{
	return device_find(fd) != NULL;
}

void selftest_be_vtd(void)
{
	const struct vtd_caps vtd = {
		.sagaw = 1u << 2,
		.mgaw = 48,
		.scalable = true,
		.pasid = true,
		.pasid_width = 20,
		.nest = true,
		.first_stage = true,
		.second_stage = true,
		.supervisor = true,
		.extended_access = true,
	};

	vtd_caps_encode(&vtd, &caps[0], &caps[1]);
	iommu_type = HW_IOMMU_VTD;
}

void selftest_be_smmuv3(void)
{
	const struct smmuv3_caps smmu = {
		.stage1 = true,
		.stage2 = true,
		.ats = true,
		.two_level_cd = true,
		.substream_width = 20,
		.stream_width = 16,
		.force_write_back = true,
		.granule_4k = true,
		.output_width = 48,
	};

	smmuv3_caps_encode(&smmu, caps);
	iommu_type = HW_IOMMU_SMMUV3;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

static int destroy(int iommufd, uint32_t id)
{
	struct uapi_destroy arg = {.size = sizeof(arg), .id = id};

	return kernel_ioctl(iommufd, UAPI_DESTROY, &arg);
}

/*
 * A mock device comes attached; a VFIO device does not. The address space that it needs for that
 * goes at once. Returns the self-test's object, and that of the device.
 */
static int mock_new(int iommufd, uint32_t *ret_stdev, uint32_t *ret_idev)
{
	struct uapi_ioas_alloc ioas = {.size = sizeof(ioas)};
	struct test_cmd cmd = {.mock.dev_flags = TEST_DEVICE_PASID}, detach = {0};
	int r, error;

	if (kernel_ioctl(iommufd, UAPI_IOAS_ALLOC, &ioas) < 0)
		return -1;
	r = test_call(iommufd, TEST_MOCK_DOMAIN_FLAGS, ioas.out_ioas_id, &cmd);
	error = errno;
	if (r == 0) {
		detach.pasid.pasid = TEST_RID;
		r = test_ask(iommufd, TEST_PASID_DETACH, cmd.mock.out_stdev_id, &detach);
		error = -r;
		*ret_stdev = cmd.mock.out_stdev_id;
		*ret_idev = cmd.mock.out_idev_id;
	}
	if (destroy(iommufd, ioas.out_ioas_id) < 0 && r == 0)
		return -1;
	return r == 0 ? 0 : fail(error);
}

/* VFIO_DEVICE_BIND_IOMMUFD */
static int device_bind(struct selftest_device *device, struct uapi_device_bind *arg)
{
	if (device->iommufd >= 0)
		return fail(EINVAL);
	if (mock_new(arg->iommufd, &device->stdev, &device->idev) < 0)
		return -1;
	device->iommufd = fcntl(arg->iommufd, F_DUPFD_CLOEXEC, 0);
	if (device->iommufd < 0)
		return -1;
	arg->out_devid = device->idev;
	return 0;
}

static uint32_t *attached_find(struct selftest_device *device, uint32_t number)
{
	for (size_t i = 0; i < device->count; i++)
		if (device->attached[i] == number)
			return &device->attached[i];
	return NULL;
}

/* VFIO_DEVICE_ATTACH_IOMMUFD_PT: drivers/vfio/iommufd.c replaces what it attached itself. */
static int device_attach(struct selftest_device *device, struct uapi_device_attach *arg)
{
	bool has_pasid = (arg->flags & UAPI_ATTACH_PASID) != 0;
	uint32_t number = has_pasid ? arg->pasid : TEST_RID;
	struct test_cmd cmd = {.pasid = {.pasid = number, .pt_id = arg->pt_id}};
	bool replace = attached_find(device, number) != NULL;

	if (device->iommufd < 0)
		return fail(EINVAL);
	if (!replace && device->count == ATTACHED_MAX)
		return fail(ENOSPC);
	if (test_call(device->iommufd, replace ? TEST_PASID_REPLACE : TEST_PASID_ATTACH,
		    device->stdev, &cmd) < 0)
		return -1;
	arg->pt_id = cmd.pasid.pt_id;
	if (!replace)
		device->attached[device->count++] = number;
	return 0;
}

/* VFIO_DEVICE_DETACH_IOMMUFD_PT */
static int device_detach(struct selftest_device *device, const struct uapi_device_detach *arg)
{
	uint32_t number = arg->flags & UAPI_ATTACH_PASID ? arg->pasid : TEST_RID;
	struct test_cmd cmd = {.pasid.pasid = number};
	uint32_t *at = attached_find(device, number);

	if (device->iommufd < 0)
		return fail(EINVAL);
	if (!at)
		return 0;
	if (test_call(device->iommufd, TEST_PASID_DETACH, device->stdev, &cmd) < 0)
		return -1;
	*at = device->attached[--device->count];
	return 0;
}

void selftest_device_drop(int fd)
{
	struct selftest_device *device = device_find(fd);
	struct test_cmd cmd = {0};

	if (!device)
		return;
	device->fd = -1;
	if (device->iommufd < 0)
		return;
	for (size_t i = device->count; i > 0; i--) {
		cmd.pasid.pasid = device->attached[i - 1];
		if (cmd.pasid.pasid != TEST_RID)
			(void)test_ask(device->iommufd, TEST_PASID_DETACH, device->stdev, &cmd);
	}
	if (destroy(device->iommufd, device->stdev) < 0)
		perror("selftest: the mock device stays");
	(void)close(device->iommufd);
}

/* --- the iommufd --- */

union hw_info_data {
	struct uapi_hw_info_vtd vtd;
	struct uapi_hw_info_smmuv3 smmuv3;
};

static uint32_t hw_info_fill(union hw_info_data *data)
{
	memset(data, 0, sizeof(*data));
	if (iommu_type == HW_IOMMU_VTD) {
		data->vtd.cap_reg = caps[0];
		data->vtd.ecap_reg = caps[1];
		return sizeof(data->vtd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(data->smmuv3.idr); i++)
		data->smmuv3.idr[i] = (uint32_t)caps[i];
	return sizeof(data->smmuv3);
}

/* What is asked of the self-test's hardware is answered for the one that it is to be. */
static int iommufd_hw_info(int fd, struct uapi_hw_info *arg)
{
	struct test_hw_info info = {0};
	struct uapi_hw_info real = *arg;
	union hw_info_data data;
	uint32_t known = hw_info_fill(&data);

	real.data_len = sizeof(info);
	real.data_uptr = (uintptr_t)&info;
	if (real_ioctl(fd, UAPI_GET_HW_INFO, &real) < 0)
		return -1;
	if (real.out_data_type != TEST_INFO_TYPE || info.test_reg != TEST_INFO_REGISTER)
		return fail(EPROTO);
	memcpy((void *)(uintptr_t)arg->data_uptr, &data,
		arg->data_len < known ? arg->data_len : known);
	arg->data_len = known;
	arg->out_data_type = iommu_type;
	arg->out_max_pasid_log2 = real.out_max_pasid_log2;
	arg->out_capabilities = real.out_capabilities;
	return 0;
}

/* Another number for each description, as far as tests go. */
static uint32_t number_of(uint64_t a, uint64_t b, uint32_t c)
{
	return (uint32_t)(a >> 12) * 31 + (uint32_t)(a >> 57) * 13 + (uint32_t)a * 17 +
	       (uint32_t)b * 7 + (uint32_t)(b >> 32) + c;
}

static uint32_t number_of_table(const struct hw_table *table)
{
	/* A stream table entry that is not valid is nothing but that. */
	if (table->kind == HW_TABLE_SMMUV3)
		return table->ste[0] & 1 ? number_of(table->ste[0], table->ste[1], 0) : 0;
	return number_of(table->pgtbl_addr, table->flags, table->addr_width);
}

/* What the kernel was given as a description, as that number; false: it is none. */
static bool number_of_arg(const struct uapi_hwpt_alloc *arg, uint32_t *ret_number)
{
	const struct uapi_hwpt_vtd_s1 *s1 = (const void *)(uintptr_t)arg->data_uptr;
	const struct uapi_hwpt_smmuv3 *ste = (const void *)(uintptr_t)arg->data_uptr;

	if (arg->data_type == UAPI_HWPT_DATA_VTD_S1 && arg->data_len == sizeof(*s1))
		*ret_number = number_of(s1->pgtbl_addr, s1->flags, s1->addr_width);
	else if (arg->data_type == UAPI_HWPT_DATA_ARM_SMMUV3 && arg->data_len == sizeof(*ste))
		*ret_number = number_of(le64toh(ste->ste[0]), le64toh(ste->ste[1]), 0);
	else
		return false;
	return true;
}

static int iommufd_hwpt_alloc(int fd, struct uapi_hwpt_alloc *arg)
{
	struct uapi_hwpt_alloc real = *arg;
	struct test_hwpt_data data = {0};

	if (arg->data_type == UAPI_HWPT_DATA_NONE)
		return real_ioctl(fd, UAPI_HWPT_ALLOC, arg);
	if (!number_of_arg(arg, &data.iotlb))
		return fail(EINVAL);
	real.data_type = TEST_HWPT_DATA;
	real.data_len = sizeof(data);
	real.data_uptr = (uintptr_t)&data;
	if (real_ioctl(fd, UAPI_HWPT_ALLOC, &real) < 0)
		return -1;
	arg->out_hwpt_id = real.out_hwpt_id;
	return 0;
}

static int iommufd_viommu_alloc(int fd, struct uapi_viommu_alloc *arg)
{
	struct uapi_viommu_alloc real = *arg;

	if (arg->type != UAPI_VIOMMU_ARM_SMMUV3 || iommu_type != HW_IOMMU_SMMUV3)
		return fail(EOPNOTSUPP);
	real.type = TEST_VIOMMU_TYPE;
	if (real_ioctl(fd, UAPI_VIOMMU_ALLOC, &real) < 0)
		return -1;
	arg->out_viommu_id = real.out_viommu_id;
	return 0;
}

int selftest_ioctl(int fd, unsigned long request, void *arg)
{
	struct selftest_device *device = device_find(fd);

	if (device && request == UAPI_DEVICE_BIND)
		return device_bind(device, arg);
	if (device && request == UAPI_DEVICE_ATTACH)
		return device_attach(device, arg);
	if (device && request == UAPI_DEVICE_DETACH)
		return device_detach(device, arg);
	if (device)
		return fail(ENOTTY);
	if (request == UAPI_GET_HW_INFO)
		return iommufd_hw_info(fd, arg);
	if (request == UAPI_HWPT_ALLOC)
		return iommufd_hwpt_alloc(fd, arg);
	if (request == UAPI_VIOMMU_ALLOC)
		return iommufd_viommu_alloc(fd, arg);
	return real_ioctl(fd, request, arg);
}

/* --- what is true --- */

bool selftest_stands(int device, const struct hpasid *pasid, uint32_t pt_id)
{
	const struct selftest_device *at = device_find(device);
	struct test_cmd cmd = {.pasid = {.pasid = pasid ? pasid->v : TEST_RID, .pt_id = pt_id}};

	return at && test_ask(at->iommufd, TEST_PASID_CHECK_HWPT, at->stdev, &cmd) == 0;
}

bool selftest_nested_is(int iommufd, uint32_t hwpt, const struct hw_table *table)
{
	for (uint32_t i = 0; i < TEST_NESTED_IOTLB_NUM; i++) {
		struct test_cmd cmd = {.iotlb = {.index = i, .value = number_of_table(table)}};

		if (test_ask(iommufd, TEST_MD_CHECK_IOTLB, hwpt, &cmd) < 0)
			return false;
	}
	return true;
}

/* struct iommu_veventq_alloc */
struct event_queue {
	uint32_t size, flags, viommu, type, depth, out_id, out_fd, reserved;
};

int selftest_event_queue(int iommufd, uint32_t viommu, uint32_t *ret_id, int *ret_fd)
{
	struct event_queue arg = {
		.size = sizeof(arg), .viommu = viommu, .type = TEST_QUEUE_TYPE, .depth = 2};

	if (kernel_ioctl(iommufd, UAPI_IO(0x93), &arg) < 0)
		return -errno;
	*ret_id = arg.out_id;
	*ret_fd = (int)arg.out_fd;
	return 0;
}

int selftest_observe(int iommufd)
{
	uint32_t stdev = 0, idev = 0;

	return mock_new(iommufd, &stdev, &idev) < 0 ? -errno : (int)stdev;
}

/* The check of a PASID tells an id that names nothing from all others. */
unsigned selftest_objects(int iommufd, int observer)
{
	unsigned count = 0;

	for (uint32_t id = 1; id < OBJECTS_MAX; id++) {
		struct test_cmd cmd = {.pasid = {.pasid = 1, .pt_id = id}};

		if (test_ask(iommufd, TEST_PASID_CHECK_HWPT, (uint32_t)observer, &cmd) != -ENOENT)
			count++;
	}
	return count;
}
