/* SPDX-License-Identifier: MIT */
/* The traps of the kernel interface: what is refused before it is asked, and how its answers are
 * told. */
#include "backend_fixture.h"

#include <time.h>

START_TEST(trap_01_no_width_is_refused_before_the_kernel)
	{
		fake.info.max_pasid_log2 = 0;
		(void)open_device(1);
		ck_assert_uint_eq(result.info.pasid_width, 0);
		ck_assert_uint_eq(result.info.caps & HW_CAP_PASID, 0);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(result.error.reason, REASON_DEVICE_NO_WIDTH);
		ck_assert_str_eq(fake.log, "");
		/* Whole functions work, with a page table that needs no PASID flag. */
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_IOAS(3))), 0);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->flags, 0);
	}
END_TEST

START_TEST(trap_01_width_is_enforced)
	{
		fake.info.max_pasid_log2 = 9;
		(void)open_device(1);
		ck_assert_int_eq(run(attach_op(1, 512, VMM_TABLE(3))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_PASID_WIDTH);
		ck_assert_uint_eq(result.error.limit, 511);
		ck_assert_str_eq(fake.log, "");
		ck_assert_int_eq(run(attach_op(1, 511, VMM_TABLE(3))), 0);
	}
END_TEST

START_TEST(trap_02_pasid_zero_is_refused_before_the_kernel)
	{
		(void)open_device(1);
		ck_assert_int_eq(run(attach_op(1, 0, VMM_TABLE(3))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_PASID_ZERO);
		ck_assert_int_eq(run(detach_op(1, 0)), STATUS_INVALID);
		ck_assert_str_eq(fake.log, "");
	}
END_TEST

START_TEST(trap_03_second_attach_never_replaces)
	{
		int device = open_device(1);

		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), 0);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_TABLE(3))), 0);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(4))), STATUS_EXISTS);
		ck_assert_uint_eq(result.error.reason, REASON_ALREADY_BOUND);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_TABLE(4))), STATUS_EXISTS);
		ck_assert_uint_eq(result.error.reason, REASON_RID_ATTACHED);
		ck_assert_uint_eq(fake_attached(&fake, device, 5), 3);
		ck_assert_uint_eq(fake_attached(&fake, device, FAKE_RID), 3);
	}
END_TEST

START_TEST(trap_04_ioas_is_never_attached_itself)
	{
		int device = open_device(1);

		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(77))), 0);
		ck_assert_uint_ne(fake_attached(&fake, device, 5), 77);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->pt_id, 77);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->flags, CALLS_HWPT_PASID);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->dev_id, 7);
		/* The RID's page table carries the flag as well: PASIDs can be attached beside it.
		 */
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_IOAS(77))), 0);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->flags, CALLS_HWPT_PASID);
	}
END_TEST

START_TEST(trap_04_table_without_pasid_flag_is_named)
	{
		(void)open_device(1);
		fake.fail_name = "attach";
		fake.fail_error = EINVAL;
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_PASID);
		ck_assert_int_eq(result.error.sys_errno, EINVAL);
		ck_assert_ptr_nonnull(strstr(result.error.text, "0000:01:01.1 PASID 5"));
	}
END_TEST

START_TEST(trap_06_detach_of_nothing_succeeds_and_asks_the_kernel)
	{
		int device = open_device(1);
		char expected[32];

		ck_assert_int_eq(run(detach_op(1, 5)), 0);
		(void)snprintf(expected, sizeof(expected), "detach %d 5;", device);
		ck_assert_str_eq(fake.log, expected);
	}
END_TEST

START_TEST(trap_09_close_detaches_before_it_lets_go)
	{
		int device = open_device(1);
		char expected[160];

		ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_IOAS(77))), 0);
		ck_assert_int_eq(run(attach_op(1, 70000, VMM_TABLE(3))), 0);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(78))), 0);
		fake.log[0] = '\0';
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		(void)snprintf(expected, sizeof(expected),
			"detach %d 5;destroy 2;detach %d 70000;detach %d -1;destroy 1;"
			"close %d;close %d;",
			device, device, device, device, device - 1);
		ck_assert_str_eq(fake.log, expected);
		ck_assert_uint_eq(fake.attached_count, 0);
		ck_assert_uint_eq(fake_open_fds(&fake), 0);
	}
END_TEST

START_TEST(trap_09_close_whose_detach_fails_is_no_success)
	{
		int device = open_device(1);

		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), 0);
		ck_assert_int_eq(run(attach_op(1, 6, VMM_TABLE(3))), 0);
		fake.fail_at = fake.calls + 1;
		fake.fail_error = EIO;
		ck_assert_int_eq(
			run((struct hw_op){.kind = HW_CLOSE, .device = 1}), STATUS_HARDWARE);
		ck_assert_uint_eq(fake_attached(&fake, device, 5), 3);
		ck_assert_uint_eq(fake_attached(&fake, device, 6), 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		ck_assert_uint_eq(fake.attached_count, 0);
	}
END_TEST

START_TEST(trap_10_locked_memory_is_named_with_its_remedy)
	{
		(void)open_device(1);
		fake.fail_name = "hwpt";
		fake.fail_error = ENOMEM;
		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(3))), STATUS_HARDWARE);
		ck_assert_uint_eq(result.error.reason, REASON_MEMLOCK);
		ck_assert_ptr_nonnull(strstr(result.error.text, "LimitMEMLOCK"));
		ck_assert_ptr_nonnull(strstr(result.error.text, "IOMMU_HWPT_ALLOC"));
		fake.fail_name = "map";
		ck_assert_int_eq(map(1, 5, 0, 0), STATUS_HARDWARE);
		ck_assert_uint_eq(result.error.reason, REASON_MEMLOCK);
	}
END_TEST

START_TEST(trap_10_second_open_of_a_node_fails_at_its_bind)
	{
		(void)open_device(1);
		fake.fail_name = "bind";
		fake.fail_error = EINVAL;
		int iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 2, 0);
		int device = fake_add_fd(&fake, FAKE_DEVICE, 300, RID);

		ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
					 .device = 2,
					 .fd_count = 2,
					 .fds = {iommufd, device}}),
			0);
		ck_assert_int_eq(
			run((struct hw_op){.kind = HW_OPEN, .device = 2}), STATUS_HARDWARE);
		ck_assert_uint_eq(result.error.reason, REASON_BIND_REFUSED);
		ck_assert_ptr_nonnull(strstr(result.error.text, "bound already"));
	}
END_TEST

START_TEST(trap_12_driver_without_pasid_attach_is_named)
	{
		(void)open_device(1);
		fake.fail_name = "attach";
		fake.fail_error = EOPNOTSUPP;
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(result.error.reason, REASON_NO_PASID_ATTACH);
		ck_assert_ptr_nonnull(strstr(result.error.text, "EOPNOTSUPP"));
	}
END_TEST

START_TEST(trap_17_attach_during_a_reset_is_to_be_retried)
	{
		(void)open_device(1);
		fake.fail_name = "attach";
		fake.fail_error = EBUSY;
		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(3))), STATUS_RETRY);
		ck_assert_uint_eq(result.error.reason, REASON_RESET_RUNNING);
		ck_assert_uint_eq(fake_objects(&fake), 0);
		fake.fail_name = NULL;
		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(3))), 0);
	}
END_TEST

static uint64_t now_ms(void)
{
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_BOOTTIME, &now), 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

START_TEST(trap_17_a_reset_that_ends_in_time_is_not_seen)
	{
		struct hw_op op = attach_op(1, 5, VMM_IOAS(3));
		int device = open_device(1);

		op.until_ms = now_ms() + 60000;
		fake.fail_name = "attach";
		fake.fail_error = EBUSY;
		fake.fail_times = 3;
		ck_assert_int_eq(run(op), 0);
		ck_assert_uint_eq(fake_attached(&fake, device, 5), result.pt_id);
		op.kind = HW_DETACH;
		fake.fail_name = "detach";
		fake.fail_times = 3;
		ck_assert_int_eq(run(op), 0);
		ck_assert_uint_eq(fake_attached(&fake, device, 5), 0);
	}
END_TEST

START_TEST(trap_17_a_reset_is_waited_for_until_the_time_that_was_said)
	{
		struct hw_op op = attach_op(1, 5, VMM_IOAS(3));
		uint64_t begin = now_ms();

		(void)open_device(1);
		op.until_ms = begin + 60;
		fake.fail_name = "attach";
		fake.fail_error = EBUSY;
		ck_assert_int_eq(run(op), STATUS_RETRY);
		ck_assert_uint_eq(result.error.reason, REASON_RESET_RUNNING);
		ck_assert_uint_ge(now_ms(), begin + 60);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(trap_17_what_is_refused_otherwise_is_not_tried_again)
	{
		struct hw_op op = attach_op(1, 5, VMM_IOAS(3));

		(void)open_device(1);
		op.until_ms = now_ms() + 60000;
		fake.fail_name = "attach";
		fake.fail_error = EIO;
		fake.fail_times = 1;
		ck_assert_int_eq(run(op), STATUS_HARDWARE);
	}
END_TEST

START_TEST(trap_21_what_is_attached_is_remembered_over_the_whole_range)
	{
		static const uint32_t pasids[] = {1, 1023, 1024, 1025, 524288, 1048575};
		int device = open_device(1);

		for (size_t i = 0; i < ARRAY_SIZE(pasids); i++)
			ck_assert_int_eq(run(attach_op(1, pasids[i], VMM_TABLE(3))), 0);
		for (size_t i = 0; i < ARRAY_SIZE(pasids); i++)
			ck_assert_int_eq(run(attach_op(1, pasids[i], VMM_TABLE(4))), STATUS_EXISTS);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		for (size_t i = 0; i < ARRAY_SIZE(pasids); i++)
			ck_assert_uint_eq(fake_attached(&fake, device, pasids[i]), 0);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("traps");
	TCase *tc = tcase_create("traps");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, trap_01_no_width_is_refused_before_the_kernel);
	tcase_add_test(tc, trap_01_width_is_enforced);
	tcase_add_test(tc, trap_02_pasid_zero_is_refused_before_the_kernel);
	tcase_add_test(tc, trap_03_second_attach_never_replaces);
	tcase_add_test(tc, trap_04_ioas_is_never_attached_itself);
	tcase_add_test(tc, trap_04_table_without_pasid_flag_is_named);
	tcase_add_test(tc, trap_06_detach_of_nothing_succeeds_and_asks_the_kernel);
	tcase_add_test(tc, trap_09_close_detaches_before_it_lets_go);
	tcase_add_test(tc, trap_09_close_whose_detach_fails_is_no_success);
	tcase_add_test(tc, trap_10_locked_memory_is_named_with_its_remedy);
	tcase_add_test(tc, trap_10_second_open_of_a_node_fails_at_its_bind);
	tcase_add_test(tc, trap_12_driver_without_pasid_attach_is_named);
	tcase_add_test(tc, trap_17_attach_during_a_reset_is_to_be_retried);
	tcase_add_test(tc, trap_17_a_reset_that_ends_in_time_is_not_seen);
	tcase_add_test(tc, trap_17_a_reset_is_waited_for_until_the_time_that_was_said);
	tcase_add_test(tc, trap_17_what_is_refused_otherwise_is_not_tried_again);
	tcase_add_test(tc, trap_21_what_is_attached_is_remembered_over_the_whole_range);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
