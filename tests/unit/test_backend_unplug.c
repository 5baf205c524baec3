/* SPDX-License-Identifier: MIT */
/* Whose request interrupt the backend asks for. */
#include "backend_fixture.h"

#include <fcntl.h>

START_TEST(the_interrupt_of_a_device_that_only_we_have_is_ours)
	{
		const struct hw_op close_op = {.kind = HW_CLOSE, .device = 1};
		int fd;

		ck_assert_int_eq(backend_removal_fd(backend), -1);
		open_shared(1);
		fd = backend_removal_fd(backend);
		ck_assert_int_eq(fd, fake.removal_fd);
		ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(run(close_op), 0);
		ck_assert_int_eq(backend_removal_fd(backend), -1);
		ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
	}
END_TEST

START_TEST(the_interrupt_of_a_vmms_device_is_the_vmms)
	{
		int iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 1, 0);

		fake.fail_name = "watch_removal"; /* nor is it asked for */
		fake.fail_error = EIO;
		(void)open_device(1);
		ck_assert_int_eq(backend_removal_fd(backend), -1);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
					 .device = 2,
					 .rid = {RID + 2},
					 .fd_count = 1,
					 .fds = {iommufd}}),
			0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 2}), 0);
		ck_assert_int_eq(backend_removal_fd(backend), -1);
	}
END_TEST

START_TEST(a_device_without_one_is_as_good)
	{
		static const int errors[] = {EINVAL, ENOTTY};

		fake.fail_name = "watch_removal";
		fake.fail_error = errors[_i];
		open_shared(1);
		ck_assert_int_eq(backend_removal_fd(backend), -1);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(3))), STATUS_INVALID);
	}
END_TEST

START_TEST(a_device_that_cannot_be_watched_is_not_opened)
	{
		const struct hw_op identify = {.kind = HW_IDENTIFY, .device = 1, .rid = {RID}};

		ck_assert_int_eq(run(identify), 0);
		fake.fail_name = "watch_removal";
		fake.fail_error = EMFILE;
		ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 1}), STATUS_QUOTA);
		ck_assert_uint_eq(result.error.reason, REASON_LIMIT);
		ck_assert_ptr_nonnull(strstr(result.error.text, "VFIO_DEVICE_SET_IRQS"));
		fake.fail_name = NULL;
		ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 1}), 0);
		ck_assert_int_ge(backend_removal_fd(backend), 0);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("backend_unplug");
	TCase *tc = tcase_create("backend_unplug");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_interrupt_of_a_device_that_only_we_have_is_ours);
	tcase_add_test(tc, the_interrupt_of_a_vmms_device_is_the_vmms);
	tcase_add_loop_test(tc, a_device_without_one_is_as_good, 0, 2);
	tcase_add_test(tc, a_device_that_cannot_be_watched_is_not_opened);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
