/* SPDX-License-Identifier: MIT */
/* What reaches the kernel, byte by byte: a scripted ioctl in place of the real one. */
#include "hw/iommufd.h"

#include "fd.h"
#include "hw/uapi.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	int fd;
	unsigned long request;
	union {
		uint32_t size;
		uint8_t bytes[64];
		struct uapi_device_bind bind;
		struct uapi_device_attach attach;
		struct uapi_device_detach detach;
		struct uapi_device_irq irq;
		struct uapi_destroy destroy;
		struct uapi_ioas_alloc ioas;
		struct uapi_ioas_map_file map;
		struct uapi_ioas_unmap unmap;
		struct uapi_hwpt_alloc hwpt;
		struct uapi_viommu_alloc viommu;
		struct uapi_vdevice_alloc vdevice;
		struct uapi_hw_info info;
	} arg;
	int calls, interruptions, error;
	uint32_t answer; /* written back as the kernel's own id */
	uint32_t type;
	uint32_t requests[8];
} kernel;

static size_t arg_size(unsigned long request)
{
	switch (request) {
	case UAPI_DEVICE_BIND:
		return sizeof(struct uapi_device_bind);
	case UAPI_DEVICE_ATTACH:
		return sizeof(struct uapi_device_attach);
	case UAPI_DEVICE_DETACH:
		return sizeof(struct uapi_device_detach);
	case UAPI_DEVICE_SET_IRQS:
		return sizeof(struct uapi_device_irq);
	case UAPI_DESTROY:
		return sizeof(struct uapi_destroy);
	case UAPI_IOAS_ALLOC:
		return sizeof(struct uapi_ioas_alloc);
	case UAPI_IOAS_MAP_FILE:
		return sizeof(struct uapi_ioas_map_file);
	case UAPI_IOAS_UNMAP:
		return sizeof(struct uapi_ioas_unmap);
	case UAPI_HWPT_ALLOC:
		return sizeof(struct uapi_hwpt_alloc);
	case UAPI_VIOMMU_ALLOC:
		return sizeof(struct uapi_viommu_alloc);
	case UAPI_VDEVICE_ALLOC:
		return sizeof(struct uapi_vdevice_alloc);
	case UAPI_GET_HW_INFO:
		return sizeof(struct uapi_hw_info);
	default:
		ck_abort_msg("unknown request 0x%lx", request);
		return 0;
	}
}

static void answer_info(struct uapi_hw_info *arg)
{
	struct uapi_hw_info_vtd vtd = {.cap_reg = 0x1111, .ecap_reg = 0x2222};
	struct uapi_hw_info_smmuv3 smmu = {.idr = {1, 2, 3, 4, 5, 6}};
	void *to = (void *)(uintptr_t)arg->data_uptr;

	ck_assert_uint_ge(arg->data_len, sizeof(smmu));
	memset(to, 0, arg->data_len);
	if (kernel.type == HW_IOMMU_VTD)
		memcpy(to, &vtd, sizeof(vtd));
	else if (kernel.type == HW_IOMMU_SMMUV3)
		memcpy(to, &smmu, sizeof(smmu));
	arg->out_data_type = kernel.type;
	arg->out_max_pasid_log2 = 20;
	arg->out_capabilities = 5;
}

/* Writes where the kernel writes: a constant argument would crash here (trap 5). */
static void answer(unsigned long request, void *arg)
{
	if (request == UAPI_DEVICE_BIND)
		((struct uapi_device_bind *)arg)->out_devid = kernel.answer;
	else if (request == UAPI_DEVICE_ATTACH && kernel.answer)
		((struct uapi_device_attach *)arg)->pt_id = kernel.answer;
	else if (request == UAPI_IOAS_ALLOC)
		((struct uapi_ioas_alloc *)arg)->out_ioas_id = kernel.answer;
	else if (request == UAPI_HWPT_ALLOC)
		((struct uapi_hwpt_alloc *)arg)->out_hwpt_id = kernel.answer;
	else if (request == UAPI_VIOMMU_ALLOC)
		((struct uapi_viommu_alloc *)arg)->out_viommu_id = kernel.answer;
	else if (request == UAPI_VDEVICE_ALLOC)
		((struct uapi_vdevice_alloc *)arg)->out_vdevice_id = kernel.answer;
	else if (request == UAPI_IOAS_UNMAP)
		((struct uapi_ioas_unmap *)arg)->length = 4096;
	else if (request == UAPI_GET_HW_INFO)
		answer_info(arg);
}

static int scripted_ioctl(int fd, unsigned long request, void *arg)
{
	if (kernel.interruptions > 0) {
		kernel.interruptions--;
		errno = EINTR;
		return -1;
	}
	kernel.fd = fd;
	kernel.request = request;
	ck_assert_int_lt(kernel.calls, (int)ARRAY_SIZE(kernel.requests));
	kernel.requests[kernel.calls++] = (uint32_t)request;
	memcpy(kernel.arg.bytes, arg, arg_size(request));
	if (kernel.error) {
		errno = kernel.error;
		return -1;
	}
	answer(request, arg);
	return 0;
}

static int open_flags;
static char open_path[256];

static int scripted_open(const char *path, int flags)
{
	open_flags = flags;
	(void)strncpy(open_path, path, sizeof(open_path) - 1);
	return 77;
}

static struct iommufd_host host;

static void setup(void)
{
	memset(&kernel, 0, sizeof(kernel));
	iommufd_host_init(&host);
	host.ioctl = scripted_ioctl;
	host.open = scripted_open;
}

START_TEST(bind_is_the_short_structure)
	{
		uint32_t dev_id = 0;

		kernel.answer = 9;
		ck_assert_int_eq(iommufd_calls.bind(&host, 4, 5, &dev_id), 0);
		ck_assert_uint_eq(dev_id, 9);
		ck_assert_int_eq(kernel.fd, 4);
		ck_assert_uint_eq(kernel.request, 0x3b76);
		ck_assert_uint_eq(kernel.arg.bind.argsz, 16);
		ck_assert_uint_eq(kernel.arg.bind.flags, 0);
		ck_assert_int_eq(kernel.arg.bind.iommufd, 5);
	}
END_TEST

START_TEST(attach_of_a_pasid)
	{
		const struct hpasid pasid = {0xfffff};

		ck_assert_int_eq(iommufd_calls.attach(&host, 4, 12, &pasid), 0);
		ck_assert_uint_eq(kernel.request, 0x3b77);
		ck_assert_uint_eq(kernel.arg.attach.argsz, 16);
		ck_assert_uint_eq(kernel.arg.attach.flags, 1);
		ck_assert_uint_eq(kernel.arg.attach.pt_id, 12);
		ck_assert_uint_eq(kernel.arg.attach.pasid, 0xfffff);
	}
END_TEST

START_TEST(attach_of_a_rid_is_what_old_kernels_know)
	{
		ck_assert_int_eq(iommufd_calls.attach(&host, 4, 12, NULL), 0);
		ck_assert_uint_eq(kernel.arg.attach.argsz, 12);
		ck_assert_uint_eq(kernel.arg.attach.flags, 0);
	}
END_TEST

START_TEST(detach_of_both)
	{
		const struct hpasid pasid = {5};

		ck_assert_int_eq(iommufd_calls.detach(&host, 4, &pasid), 0);
		ck_assert_uint_eq(kernel.request, 0x3b78);
		ck_assert_uint_eq(kernel.arg.detach.argsz, 12);
		ck_assert_uint_eq(kernel.arg.detach.flags, 1);
		ck_assert_uint_eq(kernel.arg.detach.pasid, 5);
		ck_assert_int_eq(iommufd_calls.detach(&host, 4, NULL), 0);
		ck_assert_uint_eq(kernel.arg.detach.argsz, 8);
		ck_assert_uint_eq(kernel.arg.detach.flags, 0);
	}
END_TEST

START_TEST(trap_04_ioas_on_a_rid_is_taken_back)
	{
		/* The kernel says with another id that it attached a table of its own making. */
		kernel.answer = 99;
		ck_assert_int_eq(iommufd_calls.attach(&host, 4, 12, NULL), -EINVAL);
		ck_assert_int_eq(kernel.calls, 2);
		ck_assert_uint_eq(kernel.requests[1], UAPI_DEVICE_DETACH);
		ck_assert_uint_eq(kernel.arg.detach.flags, 0);
	}
END_TEST

START_TEST(trap_05_answers_are_written_into_the_argument)
	{
		uint32_t ioas = 0, hwpt = 0;
		const struct calls_hwpt want = {.flags = CALLS_HWPT_PASID, .dev_id = 3, .pt_id = 4};

		kernel.answer = 21;
		ck_assert_int_eq(iommufd_calls.ioas_alloc(&host, 5, &ioas), 0);
		ck_assert_uint_eq(ioas, 21);
		ck_assert_uint_eq(kernel.request, 0x3b81);
		ck_assert_uint_eq(kernel.arg.size, 12);
		kernel.answer = 22;
		ck_assert_int_eq(iommufd_calls.hwpt_alloc(&host, 5, &want, &hwpt), 0);
		ck_assert_uint_eq(hwpt, 22);
		/* Same table again: the id that comes back is the one that went in. */
		kernel.answer = 12;
		ck_assert_int_eq(iommufd_calls.attach(&host, 4, 12, NULL), 0);
	}
END_TEST

START_TEST(page_table_with_guest_data)
	{
		const uint8_t data[24] = {1};
		const struct calls_hwpt want = {.flags = CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT,
			.dev_id = 3,
			.pt_id = 4,
			.data_type = 1,
			.data_len = sizeof(data),
			.data = data};
		uint32_t hwpt;

		ck_assert_int_eq(iommufd_calls.hwpt_alloc(&host, 5, &want, &hwpt), 0);
		ck_assert_uint_eq(kernel.request, 0x3b89);
		ck_assert_uint_eq(kernel.arg.hwpt.size, 48);
		ck_assert_uint_eq(kernel.arg.hwpt.flags, 9);
		ck_assert_uint_eq(kernel.arg.hwpt.dev_id, 3);
		ck_assert_uint_eq(kernel.arg.hwpt.pt_id, 4);
		ck_assert_uint_eq(kernel.arg.hwpt.data_type, 1);
		ck_assert_uint_eq(kernel.arg.hwpt.data_len, 24);
		ck_assert_uint_eq(kernel.arg.hwpt.data_uptr, (uintptr_t)data);
		ck_assert_uint_eq(kernel.arg.hwpt.reserved, 0);
		ck_assert_uint_eq(kernel.arg.hwpt.fault_id, 0);
	}
END_TEST

START_TEST(mapping_is_at_a_fixed_address)
	{
		ck_assert_int_eq(
			iommufd_calls.map_file(&host, 5, 6, 7, 0x1000, 0x2000, 0x3000, 0), 0);
		ck_assert_uint_eq(kernel.request, 0x3b8f);
		ck_assert_uint_eq(kernel.arg.map.size, 40);
		ck_assert_uint_eq(kernel.arg.map.flags, 5);
		ck_assert_uint_eq(kernel.arg.map.ioas_id, 6);
		ck_assert_int_eq(kernel.arg.map.fd, 7);
		ck_assert_uint_eq(kernel.arg.map.start, 0x1000);
		ck_assert_uint_eq(kernel.arg.map.length, 0x2000);
		ck_assert_uint_eq(kernel.arg.map.iova, 0x3000);
		ck_assert_int_eq(
			iommufd_calls.map_file(&host, 5, 6, 7, 0, 4096, 0, HW_MAP_WRITE), 0);
		ck_assert_uint_eq(kernel.arg.map.flags, 7);
		ck_assert_int_eq(iommufd_calls.unmap(&host, 5, 6, 0x3000, 0x2000), 0);
		ck_assert_uint_eq(kernel.request, 0x3b86);
		ck_assert_uint_eq(kernel.arg.unmap.size, 24);
		ck_assert_uint_eq(kernel.arg.unmap.iova, 0x3000);
		ck_assert_uint_eq(kernel.arg.unmap.length, 0x2000);
	}
END_TEST

START_TEST(hw_info_by_type)
	{
		struct calls_info info;

		kernel.type = HW_IOMMU_VTD;
		ck_assert_int_eq(iommufd_calls.hw_info(&host, 5, 3, &info), 0);
		ck_assert_uint_eq(kernel.request, 0x3b8a);
		ck_assert_uint_eq(kernel.arg.info.size, 40);
		ck_assert_uint_eq(kernel.arg.info.dev_id, 3);
		ck_assert_uint_eq(info.type, HW_IOMMU_VTD);
		ck_assert_uint_eq(info.max_pasid_log2, 20);
		ck_assert_uint_eq(info.capabilities, 5);
		ck_assert_uint_eq(info.raw[0], 0x1111);
		ck_assert_uint_eq(info.raw[1], 0x2222);
		ck_assert_uint_eq(info.raw[2], 0);

		kernel.type = HW_IOMMU_SMMUV3;
		ck_assert_int_eq(iommufd_calls.hw_info(&host, 5, 3, &info), 0);
		for (uint64_t i = 0; i < 6; i++)
			ck_assert_uint_eq(info.raw[i], i + 1);

		kernel.type = 0;
		ck_assert_int_eq(iommufd_calls.hw_info(&host, 5, 3, &info), 0);
		ck_assert_uint_eq(info.raw[0], 0);
	}
END_TEST

START_TEST(the_request_interrupt_is_asked_for)
	{
		static const uint32_t words[] = {24, 1 << 2 | 1 << 5, 4, 0, 1};
		int fd = -1;

		ck_assert_int_eq(iommufd_calls.watch_removal(&host, 4, &fd), 0);
		ck_assert_int_eq(kernel.fd, 4);
		ck_assert_uint_eq(kernel.request, 0x3b6e);
		ck_assert_mem_eq(kernel.arg.bytes, words, sizeof(words));
		ck_assert_int_eq(kernel.arg.irq.eventfd, fd);
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		(void)close(fd);
		kernel.error = ENOSPC;
		ck_assert_int_eq(iommufd_calls.watch_removal(&host, 4, &fd), -ENOSPC);
		ck_assert_int_eq(fcntl(kernel.arg.irq.eventfd, F_GETFD), -1);
	}
END_TEST

START_TEST(iommu_of_a_guest_and_the_device_in_it)
	{
		uint32_t id = 0;

		kernel.answer = 31;
		ck_assert_int_eq(
			iommufd_calls.viommu_alloc(&host, 5, HW_IOMMU_SMMUV3, 3, 4, &id), 0);
		ck_assert_uint_eq(id, 31);
		ck_assert_uint_eq(kernel.request, 0x3b90);
		ck_assert_uint_eq(kernel.arg.viommu.size, 40);
		ck_assert_uint_eq(kernel.arg.viommu.flags, 0);
		ck_assert_uint_eq(kernel.arg.viommu.type, 1); /* IOMMU_VIOMMU_TYPE_ARM_SMMUV3 */
		ck_assert_uint_eq(kernel.arg.viommu.dev_id, 3);
		ck_assert_uint_eq(kernel.arg.viommu.hwpt_id, 4);
		ck_assert_uint_eq(kernel.arg.viommu.data_len, 0);
		kernel.answer = 32;
		ck_assert_int_eq(
			iommufd_calls.vdevice_alloc(&host, 5, 31, 3, UINT64_C(0x100000008), &id),
			0);
		ck_assert_uint_eq(id, 32);
		ck_assert_uint_eq(kernel.request, 0x3b91);
		ck_assert_uint_eq(kernel.arg.vdevice.size, 24);
		ck_assert_uint_eq(kernel.arg.vdevice.viommu_id, 31);
		ck_assert_uint_eq(kernel.arg.vdevice.dev_id, 3);
		ck_assert_uint_eq(kernel.arg.vdevice.virt_id, UINT64_C(0x100000008));
	}
END_TEST

START_TEST(other_iommus_have_no_iommus_of_guests)
	{
		uint32_t id = 7;

		ck_assert_int_eq(
			iommufd_calls.viommu_alloc(&host, 5, HW_IOMMU_VTD, 3, 4, &id), -EOPNOTSUPP);
		ck_assert_int_eq(kernel.calls, 0);
		ck_assert_uint_eq(id, 7);
	}
END_TEST

START_TEST(interrupted_calls_are_repeated_as_they_were)
	{
		const struct hpasid pasid = {5};

		kernel.interruptions = 3;
		ck_assert_int_eq(iommufd_calls.attach(&host, 4, 12, &pasid), 0);
		ck_assert_int_eq(kernel.calls, 1);
		ck_assert_uint_eq(kernel.arg.attach.pt_id, 12);
		kernel.interruptions = 2;
		kernel.error = EBUSY;
		ck_assert_int_eq(iommufd_calls.attach(&host, 4, 12, &pasid), -EBUSY);
	}
END_TEST

START_TEST(failures_leave_outputs_alone)
	{
		uint32_t id = 0xabcd;
		struct calls_info info = {.type = 0xabcd};

		kernel.error = ENOMEM;
		ck_assert_int_eq(iommufd_calls.bind(&host, 4, 5, &id), -ENOMEM);
		ck_assert_int_eq(iommufd_calls.ioas_alloc(&host, 4, &id), -ENOMEM);
		ck_assert_int_eq(
			iommufd_calls.hwpt_alloc(&host, 4, &(struct calls_hwpt){0}, &id), -ENOMEM);
		ck_assert_int_eq(iommufd_calls.hw_info(&host, 4, 5, &info), -ENOMEM);
		ck_assert_int_eq(
			iommufd_calls.viommu_alloc(&host, 4, HW_IOMMU_SMMUV3, 1, 2, &id), -ENOMEM);
		ck_assert_int_eq(iommufd_calls.vdevice_alloc(&host, 4, 1, 2, 3, &id), -ENOMEM);
		ck_assert_int_eq(iommufd_calls.destroy(&host, 4, 5), -ENOMEM);
		ck_assert_uint_eq(kernel.arg.destroy.id, 5);
		ck_assert_uint_eq(kernel.arg.destroy.size, 8);
		ck_assert_uint_eq(id, 0xabcd);
		ck_assert_uint_eq(info.type, 0xabcd);
	}
END_TEST

START_TEST(nodes_are_opened_close_on_exec)
	{
		int fd = -1;

		ck_assert_int_eq(iommufd_calls.open_iommufd(&host, &fd), 0);
		ck_assert_int_eq(fd, 77);
		ck_assert_str_eq(open_path, "/dev/iommu");
		ck_assert_int_eq(open_flags, O_RDWR | O_CLOEXEC);
		host.sysfs = "/nonexistent";
		ck_assert_int_eq(
			iommufd_calls.open_device(&host, (struct rid){0x108}, &fd), -ENODEV);
	}
END_TEST

/* The real ioctl(2) on something that is no iommufd: the numbers go through unharmed. */
START_TEST(real_calls_on_a_wrong_file_fail_cleanly)
	{
		FD_AUTO int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		uint32_t id;

		iommufd_host_init(&host);
		ck_assert_int_eq(iommufd_calls.ioas_alloc(&host, fd, &id), -ENOTTY);
		ck_assert_int_eq(iommufd_calls.bind(&host, fd, fd, &id), -ENOTTY);
		ck_assert_int_eq(iommufd_calls.attach(&host, fd, 1, NULL), -ENOTTY);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("iommufd");
	TCase *tc = tcase_create("iommufd");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, bind_is_the_short_structure);
	tcase_add_test(tc, attach_of_a_pasid);
	tcase_add_test(tc, attach_of_a_rid_is_what_old_kernels_know);
	tcase_add_test(tc, detach_of_both);
	tcase_add_test(tc, trap_04_ioas_on_a_rid_is_taken_back);
	tcase_add_test(tc, trap_05_answers_are_written_into_the_argument);
	tcase_add_test(tc, page_table_with_guest_data);
	tcase_add_test(tc, mapping_is_at_a_fixed_address);
	tcase_add_test(tc, hw_info_by_type);
	tcase_add_test(tc, the_request_interrupt_is_asked_for);
	tcase_add_test(tc, iommu_of_a_guest_and_the_device_in_it);
	tcase_add_test(tc, other_iommus_have_no_iommus_of_guests);
	tcase_add_test(tc, interrupted_calls_are_repeated_as_they_were);
	tcase_add_test(tc, failures_leave_outputs_alone);
	tcase_add_test(tc, nodes_are_opened_close_on_exec);
	tcase_add_test(tc, real_calls_on_a_wrong_file_fail_cleanly);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
