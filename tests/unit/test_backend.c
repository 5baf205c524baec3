/* SPDX-License-Identifier: MIT */
/* What a backend does with operations, whatever the IOMMU; the scripted kernel says what it was
 * asked. */
#include "backend_fixture.h"

START_TEST(identify_changes_nothing)
	{
		int iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 1, 0);
		int device = fake_add_fd(&fake, FAKE_DEVICE, 2, RID);

		ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
					 .device = 1,
					 .fd_count = 2,
					 .fds = {iommufd, device}}),
			0);
		ck_assert_str_eq(fake.log, "");
		ck_assert_uint_eq(result.rid.v, RID);
		ck_assert_uint_eq(result.group, RID + 100);
		ck_assert_uint_eq(result.iommufd_key, (uint64_t)iommufd);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		ck_assert_uint_eq(fake_open_fds(&fake), 0);
	}
END_TEST

START_TEST(identify_that_fails_keeps_nothing)
	{
		static const enum fake_kind wrong[][2] = {{FAKE_DEVICE, FAKE_DEVICE},
			{FAKE_IOMMUFD, FAKE_IOMMUFD}, {FAKE_FILE, FAKE_DEVICE},
			{FAKE_IOMMUFD, FAKE_FILE}};

		for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
			int a = fake_add_fd(&fake, wrong[i][0], 1, RID);
			int b = fake_add_fd(&fake, wrong[i][1], 2, RID);

			ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
						 .device = 1,
						 .fd_count = 2,
						 .fds = {a, b}}),
				STATUS_INVALID);
			ck_assert_uint_eq(result.error.reason, REASON_FD_KIND);
			ck_assert_uint_eq(fake_open_fds(&fake), 0);
			ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 1}),
				STATUS_NOT_FOUND);
		}
	}
END_TEST

START_TEST(one_iommufd_passed_twice_is_held_once)
	{
		int iommufd, device;

		(void)open_device(1);
		iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 1, 0);
		device = fake_add_fd(&fake, FAKE_DEVICE, 3, RID + 9);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
					 .device = 2,
					 .fd_count = 2,
					 .fds = {iommufd, device}}),
			0);
		ck_assert_uint_eq(fake_open_fds(&fake), 3);
		ck_assert_uint_ne(result.iommufd_key, (uint64_t)iommufd);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		ck_assert_uint_eq(fake_open_fds(&fake), 2);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 2}), 0);
		ck_assert_uint_eq(fake_open_fds(&fake), 0);
	}
END_TEST

START_TEST(device_opened_for_a_vmm_is_handed_back)
	{
		int iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 1, 0);

		ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
					 .device = 1,
					 .rid = {RID},
					 .fd_count = 1,
					 .fds = {iommufd, -1}}),
			0);
		ck_assert_uint_eq(result.fd_count, 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 1}), 0);
		ck_assert_uint_eq(result.fd_count, 1);
		ck_assert_int_eq(fake.fd[result.fds[0]].kind, FAKE_DEVICE);
	}
END_TEST

START_TEST(shared_devices_use_one_iommufd_of_our_own)
	{
		open_shared(1);
		ck_assert_int_eq(
			run((struct hw_op){.kind = HW_IDENTIFY, .device = 2, .rid = {RID + 1}}), 0);
		ck_assert_str_eq(fake.log, "open-device 109;");
		ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 2}), 0);
		ck_assert_uint_eq(result.fd_count, 0);
		ck_assert_uint_eq(fake_attached(&fake, 11, FAKE_RID), 0);
	}
END_TEST

START_TEST(shared_device_takes_no_ids_of_an_iommufd)
	{
		open_shared(1);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_KIND);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(3))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_KIND);
		ck_assert_str_eq(fake.log, "");
	}
END_TEST

START_TEST(our_own_iommufd_is_refused_as_a_vmms)
	{
		int own, device;

		open_shared(1);
		own = fake_add_fd(&fake, FAKE_IOMMUFD, 1010, 0); /* the first that was opened */
		device = fake_add_fd(&fake, FAKE_DEVICE, 3, RID + 1);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
					 .device = 2,
					 .fd_count = 2,
					 .fds = {own, device}}),
			STATUS_DENIED);
		ck_assert_uint_eq(result.error.reason, REASON_FD_FOREIGN);
	}
END_TEST

START_TEST(node_of_another_function_is_not_taken)
	{
		fake.open_rid = RID + 5;
		ck_assert_int_eq(
			run((struct hw_op){.kind = HW_IDENTIFY, .device = 1, .rid = {RID}}),
			STATUS_NOT_FOUND);
		ck_assert_uint_eq(fake_open_fds(&fake), 0);
	}
END_TEST

START_TEST(spaces_of_two_sets_never_meet)
	{
		uint32_t a, b;

		open_shared(1);
		ck_assert_int_eq(map(1, 5, 0, 0x1000), 0);
		ck_assert_int_eq(map(1, 6, 0, 0x1000), 0);
		ck_assert_int_eq(run(attach_op(1, 100, SPACE(0))), 0);
		a = fake_hwpt(&fake, result.pt_id)->pt_id;
		struct hw_op other = attach_op(1, 101, SPACE(0));
		other.owner = 6;
		ck_assert_int_eq(run(other), 0);
		b = fake_hwpt(&fake, result.pt_id)->pt_id;
		ck_assert_uint_ne(a, b);
		other.owner = 7;
		other.pasid.v = 102;
		ck_assert_int_eq(run(other), STATUS_NOT_FOUND);
		ck_assert_uint_eq(result.error.reason, REASON_NOT_MAPPED);
	}
END_TEST

START_TEST(one_space_on_many_pasids_is_one_page_table)
	{
		uint32_t pt_id;

		open_shared(1);
		ck_assert_int_eq(map(1, 5, 3, 0x1000), 0);
		ck_assert_int_eq(run(attach_op(1, 100, SPACE(3))), 0);
		ck_assert_uint_eq(result.made_pt, 1);
		pt_id = result.pt_id;
		ck_assert_int_eq(run(attach_op(1, 5000, SPACE(3))), 0);
		ck_assert_uint_eq(result.pt_id, pt_id);
		ck_assert_uint_eq(fake_objects(&fake), 2);
		ck_assert_int_eq(run(detach_op(1, 100)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 2);
		ck_assert_int_eq(run(detach_op(1, 5000)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 1);
	}
END_TEST

START_TEST(leave_needs_an_unbound_space_and_takes_only_its_own)
	{
		open_shared(1);
		ck_assert_int_eq(map(1, 5, 0, 0x1000), 0);
		ck_assert_int_eq(map(1, 6, 0, 0x1000), 0);
		ck_assert_int_eq(run(attach_op(1, 100, SPACE(0))), 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_LEAVE, .device = 1, .owner = 5}),
			STATUS_BUSY);
		ck_assert_uint_eq(fake_objects(&fake), 3);
		ck_assert_int_eq(run(detach_op(1, 100)), 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_LEAVE, .device = 1, .owner = 5}), 0);
		ck_assert_uint_eq(fake_objects(&fake), 1);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_UNMAP,
					 .device = 1,
					 .owner = 6,
					 .iova = 0x1000,
					 .length = 4096}),
			0);
	}
END_TEST

START_TEST(a_space_that_could_not_be_destroyed_goes_when_somebody_else_leaves)
	{
		open_shared(1);
		ck_assert_int_eq(map(1, 5, 0, 0x1000), 0);
		ck_assert_int_eq(map(1, 6, 0, 0x1000), 0);
		fake.fail_name = "destroy";
		fake.fail_error = EBUSY;
		ck_assert_int_gt(run((struct hw_op){.kind = HW_LEAVE, .device = 1, .owner = 5}), 0);
		fake.fail_name = NULL;
		ck_assert_uint_eq(fake_objects(&fake), 2);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_LEAVE, .device = 1, .owner = 6}), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(a_space_that_is_used_again_is_nobody_elses_to_destroy)
	{
		for (int bind = 0; bind < 2; bind++) {
			open_shared(1);
			ck_assert_int_eq(map(1, 5, 0, 0x1000), 0);
			fake.fail_name = "destroy";
			fake.fail_error = EBUSY;
			ck_assert_int_gt(
				run((struct hw_op){.kind = HW_LEAVE, .device = 1, .owner = 5}), 0);
			fake.fail_name = NULL;
			if (bind) {
				ck_assert_int_eq(run(attach_op(1, 9, SPACE(0))), 0);
				ck_assert_int_eq(run(detach_op(1, 9)), 0);
			} else {
				ck_assert_int_eq(map(1, 5, 0, 0x2000), 0);
			}
			ck_assert_int_eq(
				run((struct hw_op){.kind = HW_LEAVE, .device = 1, .owner = 6}), 0);
			ck_assert_uint_eq(fake_objects(&fake), 1);
			ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		}
	}
END_TEST

START_TEST(map_that_fails_leaves_no_space)
	{
		open_shared(1);
		fake.fail_name = "map";
		fake.fail_error = EEXIST;
		ck_assert_int_eq(map(1, 5, 0, 0x1000), STATUS_EXISTS);
		ck_assert_uint_eq(result.error.reason, REASON_MAP_OVERLAP);
		ck_assert_uint_eq(fake_objects(&fake), 0);
		fake.fail_name = NULL;
		ck_assert_int_eq(run((struct hw_op){.kind = HW_UNMAP, .device = 1, .owner = 5}),
			STATUS_NOT_FOUND);
		ck_assert_uint_eq(result.error.reason, REASON_NOT_MAPPED);
	}
END_TEST

/* A descriptor is closed with its operation: the script's may have one number all the time. */
static int map_again(uint64_t owner, uint32_t space, uint64_t iova)
{
	fake.next_fd = 20;
	fake.log[0] = '\0';
	return map(1, owner, space, iova);
}

static int unmap(uint64_t owner, uint32_t space, uint64_t iova, uint64_t length)
{
	return run((struct hw_op){.kind = HW_UNMAP,
		.device = 1,
		.owner = owner,
		.space = space,
		.iova = iova,
		.length = length});
}

START_TEST(mappings_of_a_set_are_counted_and_others_have_their_own)
	{
		open_shared(1);
		for (uint64_t i = 0; i < BACKEND_MAPPINGS_MAX; i++) {
			/* in two spaces, and not in the order of their addresses */
			const uint64_t page = i ^ 5;

			ck_assert_int_eq(map_again(5, i & 1, page << 12), 0);
		}
		ck_assert_int_eq(map_again(5, 0, UINT64_C(1) << 40), STATUS_QUOTA);
		ck_assert_uint_eq(result.error.reason, REASON_LIMIT);
		ck_assert_uint_eq(result.error.limit, BACKEND_MAPPINGS_MAX);
		ck_assert_int_eq(map_again(5, 7, 0), STATUS_QUOTA); /* nor in another space */
		ck_assert_int_eq(map_again(6, 0, 0), 0);
		/* Even pages of the second space: 2, 0, 6 and 4, and then all others. */
		ck_assert_int_eq(unmap(5, 1, 0, 8 << 12), 0);
		for (uint64_t i = 0; i < 4; i++)
			ck_assert_int_eq(map_again(5, 7, i << 12), 0);
		ck_assert_int_eq(map_again(5, 7, 4 << 12), STATUS_QUOTA);
		ck_assert_int_eq(unmap(5, 1, 0, UINT64_MAX), 0);
		ck_assert_int_eq(map_again(5, 7, 4 << 12), 0);
		/* The end of the address space. */
		ck_assert_int_eq(map_again(5, 9, -UINT64_C(4096)), 0);
		ck_assert_int_eq(unmap(5, 9, -UINT64_C(8192), 8192), 0);
		/* What is given up as a whole counts no more. */
		ck_assert_int_eq(run((struct hw_op){.kind = HW_LEAVE, .device = 1, .owner = 5}), 0);
		ck_assert_int_eq(map_again(5, 0, 0), 0);
	}
END_TEST

START_TEST(what_the_kernel_does_not_map_or_unmap_is_not_counted)
	{
		open_shared(1);
		for (uint64_t i = 0; i < BACKEND_MAPPINGS_MAX; i++)
			ck_assert_int_eq(map_again(5, 0, i << 12), 0);
		fake.fail_name = "unmap";
		fake.fail_error = ENOENT;
		ck_assert_int_ne(unmap(5, 0, 0, 4096), 0);
		fake.fail_name = NULL;
		ck_assert_int_eq(map_again(5, 0, UINT64_C(1) << 40), STATUS_QUOTA);
		ck_assert_int_eq(unmap(5, 0, 0, 4096), 0);
		fake.fail_name = "map";
		ck_assert_int_ne(map_again(5, 0, 0), 0);
		fake.fail_name = NULL;
		ck_assert_int_eq(map_again(5, 0, 0), 0);
		ck_assert_int_eq(map_again(5, 0, UINT64_C(1) << 40), STATUS_QUOTA);
	}
END_TEST

START_TEST(end_closes_all_and_detaches_nothing)
	{
		(void)open_device(1);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), 0);
		fake.log[0] = '\0';
		ck_assert_int_eq(run((struct hw_op){.kind = HW_END}), 0);
		ck_assert_ptr_null(strstr(fake.log, "detach"));
		ck_assert_uint_eq(fake_open_fds(&fake), 0);
	}
END_TEST

START_TEST(close_tells_the_first_of_its_failures)
	{
		(void)open_device(1);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), 0);
		ck_assert_int_eq(run(attach_op(1, 6, VMM_TABLE(3))), 0);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_TABLE(3))), 0);
		fake.fail_name = "detach";
		fake.fail_error = EIO;
		ck_assert_int_gt(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		ck_assert_uint_eq(result.error.object, 5);
		fake.fail_name = NULL;
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
	}
END_TEST

START_TEST(descriptors_of_a_refused_operation_are_closed)
	{
		static const uint32_t kinds[] = {
			HW_OPEN, HW_CLOSE, HW_MAP, HW_ATTACH, HW_DETACH, 0, 77};

		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			int a = fake_add_fd(&fake, FAKE_FILE, 1, 0);
			int b = fake_add_fd(&fake, FAKE_FILE, 2, 0);

			ck_assert_int_ne(run((struct hw_op){.kind = kinds[i],
						 .device = 1,
						 .fd_count = 2,
						 .fds = {a, b}}),
				0);
			ck_assert_uint_eq(fake_open_fds(&fake), 0);
		}
	}
END_TEST

START_TEST(open_that_failed_halfway_can_be_repeated)
	{
		int iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 1, 0);
		int device = fake_add_fd(&fake, FAKE_DEVICE, 2, RID);

		ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
					 .device = 1,
					 .fd_count = 2,
					 .fds = {iommufd, device}}),
			0);
		fake.fail_name = "hw_info";
		fake.fail_error = EOPNOTSUPP;
		ck_assert_int_eq(
			run((struct hw_op){.kind = HW_OPEN, .device = 1}), STATUS_HARDWARE);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(3))), STATUS_NOT_FOUND);
		fake.fail_name = NULL;
		ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 1}), 0);
	}
END_TEST

START_TEST(page_table_that_cannot_be_destroyed_is_used_again)
	{
		(void)open_device(1);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(77))), 0);
		fake.fail_name = "destroy";
		fake.fail_error = EBUSY;
		ck_assert_int_eq(run(detach_op(1, 5)), 0); /* absence is proven */
		ck_assert_uint_eq(fake_objects(&fake), 1);
		fake.fail_name = NULL;
		ck_assert_int_eq(run(attach_op(1, 6, VMM_IOAS(77))), 0);
		ck_assert_uint_eq(fake_objects(&fake), 1);
		ck_assert_int_eq(run(detach_op(1, 6)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

/* Each step of each operation breaks off once: afterwards all is as before. */
START_TEST(any_call_that_fails_leaves_what_was_there)
	{
		open_shared(1);
		ck_assert_int_eq(map(1, 5, 0, 0), 0);
		for (unsigned int k = 1;; k++) {
			size_t objects = fake_objects(&fake), mapped = fake.mapped;

			fake.fail_at = fake.calls + k;
			fake.fail_error = EIO;
			if (map(1, 5, 1, 0x1000) == 0)
				break;
			ck_assert_uint_eq(fake_objects(&fake), objects);
			ck_assert_uint_eq(fake.mapped, mapped);
			ck_assert_uint_lt(k, 10);
		}
		for (unsigned int k = 1;; k++) {
			size_t objects = fake_objects(&fake);

			fake.fail_at = fake.calls + k;
			if (run(attach_op(1, 9, SPACE(1))) == 0)
				break;
			ck_assert_uint_eq(fake_objects(&fake), objects);
			ck_assert_uint_eq(fake.attached_count, 0);
			ck_assert_uint_lt(k, 10);
		}
		fake.fail_at = 0;
		ck_assert_uint_eq(fake.attached_count, 1);
	}
END_TEST

START_TEST(errors_fit_and_name_everything)
	{
		static const int errors[] = {EINVAL, EBUSY, ENOMEM, EOPNOTSUPP, EIO, EPERM, ENOENT,
			ENODEV, EMFILE, ENOTTY, EFAULT};

		(void)open_device(1);
		fake.fail_name = "attach";
		for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
			fake.fail_error = errors[i];
			ck_assert_int_gt(run(attach_op(1, 1048575, VMM_TABLE(4294967295u))), 0);
			ck_assert_int_eq(result.error.sys_errno, errors[i]);
			ck_assert_uint_eq(result.error.object, 1048575);
			ck_assert_uint_lt(strlen(result.error.text), sizeof(result.error.text) - 1);
			ck_assert_ptr_nonnull(strstr(result.error.text, "PASID 1048575"));
			ck_assert_ptr_nonnull(strstr(result.error.text, "ATTACH"));
		}
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("backend");
	TCase *tc = tcase_create("backend");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, identify_changes_nothing);
	tcase_add_test(tc, identify_that_fails_keeps_nothing);
	tcase_add_test(tc, one_iommufd_passed_twice_is_held_once);
	tcase_add_test(tc, device_opened_for_a_vmm_is_handed_back);
	tcase_add_test(tc, shared_devices_use_one_iommufd_of_our_own);
	tcase_add_test(tc, shared_device_takes_no_ids_of_an_iommufd);
	tcase_add_test(tc, our_own_iommufd_is_refused_as_a_vmms);
	tcase_add_test(tc, node_of_another_function_is_not_taken);
	tcase_add_test(tc, spaces_of_two_sets_never_meet);
	tcase_add_test(tc, one_space_on_many_pasids_is_one_page_table);
	tcase_add_test(tc, leave_needs_an_unbound_space_and_takes_only_its_own);
	tcase_add_test(tc, a_space_that_could_not_be_destroyed_goes_when_somebody_else_leaves);
	tcase_add_test(tc, a_space_that_is_used_again_is_nobody_elses_to_destroy);
	tcase_add_test(tc, map_that_fails_leaves_no_space);
	tcase_add_test(tc, mappings_of_a_set_are_counted_and_others_have_their_own);
	tcase_add_test(tc, what_the_kernel_does_not_map_or_unmap_is_not_counted);
	tcase_add_test(tc, end_closes_all_and_detaches_nothing);
	tcase_add_test(tc, close_tells_the_first_of_its_failures);
	tcase_add_test(tc, descriptors_of_a_refused_operation_are_closed);
	tcase_add_test(tc, open_that_failed_halfway_can_be_repeated);
	tcase_add_test(tc, page_table_that_cannot_be_destroyed_is_used_again);
	tcase_add_test(tc, any_call_that_fails_leaves_what_was_there);
	tcase_add_test(tc, errors_fit_and_name_everything);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
