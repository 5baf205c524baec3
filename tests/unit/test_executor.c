/* SPDX-License-Identifier: MIT */
/* Operations through worker processes: results, keys, descriptors, and what happens when one dies.
 */
#include "executor_fixture.h"

#include <sys/resource.h>

START_TEST(operations_reach_the_tables)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		FD_AUTO int node = sim_fd_of(false, RID_A);
		struct hw_result *result = identify(7, 1, iommufd, node);
		struct sim_entries entries;
		struct sim_entry entry;
		uint32_t ioas;

		ck_assert_int_eq(result->status, 0);
		ck_assert_uint_eq(result->rid.v, RID_A);
		result = run((struct hw_op){.kind = HW_OPEN, .lane = 7, .device = 1});
		ck_assert_int_eq(result->status, 0);
		ck_assert_uint_eq(result->info.pasid_width, 20);
		ck_assert_uint_eq(result->info.iommu, HW_IOMMU_VTD);
		ck_assert_int_eq(sim_calls(sim)->ioas_alloc(sim, iommufd, &ioas), 0);
		result = run((struct hw_op){.kind = HW_ATTACH,
			.lane = 7,
			.device = 1,
			.has_pasid = 1,
			.pasid = {77},
			.table = {.kind = HW_TABLE_IOAS, .id = ioas}});
		ck_assert_msg(result->status == 0, "%s", result->error.text);
		ck_assert_int_eq(sim_entries_init(&entries, sim), 0);
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 1);
		ck_assert_uint_eq(entry.at.pasid, 77);
		result = run((struct hw_op){.kind = HW_CLOSE, .lane = 7, .device = 1});
		ck_assert_int_eq(result->status, 0);
		ck_assert_int_eq(sim_entries_init(&entries, sim), 0);
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 0);
	}
END_TEST

START_TEST(key_is_equal_for_the_same_open_file_only)
	{
		FD_AUTO int one = sim_fd_of(true, 0);
		FD_AUTO int two = sim_fd_of(true, 0);
		FD_AUTO int a = sim_fd_of(false, RID_A);
		FD_AUTO int b = sim_fd_of(false, RID_B);
		uint64_t key;

		key = identify(7, 1, one, a)->iommufd_key;
		ck_assert_uint_ne(key, 0);
		ck_assert_uint_eq(identify(7, 2, one, b)->iommufd_key, key);
		ck_assert_uint_eq(identify(8, 3, one, b)->iommufd_key, key);
		ck_assert_uint_ne(identify(8, 4, two, b)->iommufd_key, key);
		ck_assert_uint_ne(identify(9, 5, two, a)->iommufd_key, key);
	}
END_TEST

START_TEST(key_is_forgotten_with_the_last_device)
	{
		FD_AUTO int one = sim_fd_of(true, 0);
		FD_AUTO int a = sim_fd_of(false, RID_A);
		FD_AUTO int b = sim_fd_of(false, RID_B);
		uint64_t key = identify(7, 1, one, a)->iommufd_key;

		ck_assert_uint_eq(identify(7, 2, one, b)->iommufd_key, key);
		(void)run((struct hw_op){.kind = HW_CLOSE, .lane = 7, .device = 1});
		ck_assert_uint_eq(identify(8, 3, one, a)->iommufd_key, key);
		(void)run((struct hw_op){.kind = HW_CLOSE, .lane = 7, .device = 2});
		(void)run((struct hw_op){.kind = HW_CLOSE, .lane = 8, .device = 3});
		ck_assert_uint_ne(identify(9, 4, one, a)->iommufd_key, key);
	}
END_TEST

/* A worker's next descriptor has the number of the one it closed: that must not make them equal. */
START_TEST(key_does_not_follow_the_number_of_a_descriptor)
	{
		FD_AUTO int one = sim_fd_of(true, 0);
		FD_AUTO int two = sim_fd_of(true, 0);
		FD_AUTO int a = sim_fd_of(false, RID_A);
		uint64_t key = identify(7, 1, one, a)->iommufd_key;

		(void)run((struct hw_op){.kind = HW_CLOSE, .lane = 7, .device = 1});
		ck_assert_uint_ne(identify(7, 2, two, a)->iommufd_key, key);
	}
END_TEST

START_TEST(opened_device_comes_back_as_a_descriptor)
	{
		FD_AUTO int one = sim_fd_of(true, 0);
		FD_AUTO int back = -1;
		struct hw_result *result;
		struct calls_node node;
		struct error error;

		result = run((struct hw_op){.kind = HW_IDENTIFY,
			.lane = 7,
			.device = 1,
			.rid = {RID_B},
			.fd_count = 1,
			.fds = {copy_of(one), -1}});
		ck_assert_msg(result->status == 0, "%s", result->error.text);
		result = run((struct hw_op){.kind = HW_OPEN, .lane = 7, .device = 1});
		ck_assert_msg(result->status == 0, "%s", result->error.text);
		ck_assert_uint_eq(result->fd_count, 1);
		back = result->fds[0];
		ck_assert_int_eq(fcntl(back, F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(sim_calls(sim)->check_device(sim, back, &node, &error), 0);
		ck_assert_uint_eq(node.rid.v, RID_B);
	}
END_TEST

START_TEST(refused_descriptors_are_closed_everywhere)
	{
		int pipes[2];
		struct hw_result *result;

		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		result = run((struct hw_op){.kind = HW_IDENTIFY,
			.lane = 7,
			.device = 1,
			.fd_count = 2,
			.fds = {pipes[1], copy_of(pipes[1])}});
		ck_assert_int_eq(result->status, STATUS_INVALID);
		ck_assert_uint_eq(result->error.reason, REASON_FD_KIND);
		ck_assert(pipe_is_closed(pipes[0], 2000));
		ck_assert_int_eq(close(pipes[0]), 0);
	}
END_TEST

START_TEST(killed_worker_completes_all_then_the_lane_is_lost)
	{
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		result_count = 0;
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		for (uint64_t id = 1; id <= 5; id++) {
			struct hw_op op = ping(7);

			op.id = id;
			ck_assert_int_eq(submit(op), 0);
		}
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		pump(5, 1);
		for (size_t i = 0; i < 5; i++) {
			ck_assert_uint_eq(results[i].id, i + 1);
			ck_assert_int_eq(results[i].status, -EPIPE);
			ck_assert_uint_eq(results[i].error.reason, REASON_WORKER_LOST);
			ck_assert_ptr_nonnull(strstr(results[i].error.text, "signal 9"));
		}
		ck_assert_uint_eq(lost[0], 7);
		ck_assert_uint_eq(results_before_lost, 5);
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
		ck_assert_int_eq(run(ping(7))->status, STATUS_NOT_FOUND);
		ck_assert_int_ne(pid_of(7), pid);
	}
END_TEST

START_TEST(descriptors_queued_for_a_lost_worker_are_closed)
	{
		int pipes[2];
		pid_t pid;

		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		(void)run(ping(7));
		pid = pid_of(7);
		result_count = 0;
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		for (size_t i = 0; i < EXECUTOR_LANE_OPS; i++)
			ck_assert_int_eq(submit((struct hw_op){.kind = HW_IDENTIFY,
						 .lane = 7,
						 .device = 1,
						 .fd_count = 1,
						 .fds = {copy_of(pipes[1]), -1}}),
				0);
		ck_assert_int_eq(close(pipes[1]), 0);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		pump(EXECUTOR_LANE_OPS, 1);
		ck_assert(pipe_is_closed(pipes[0], 5000));
		ck_assert_int_eq(close(pipes[0]), 0);
	}
END_TEST

/* A file of an ordinary kind, which no worker is given: something else goes in its place. */
static int ordinary_file(void)
{
	int fd = open("/proc/version", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* Without a number left nothing can. */
START_TEST(what_came_beside_a_file_without_a_stand_in_is_closed)
	{
		struct rlimit limit, none;
		int pipes[2], fd;

		(void)run(ping(7));
		ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
		for (unsigned place = 0; place < 2; place++) {
			ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
			fd = ordinary_file();
			/* While one is being closed, the next has to wait, and keeps its number. */
			executor_dispose(executor, ordinary_file());
			none = limit;
			none.rlim_cur = STDERR_FILENO + 1;
			result_count = 0;
			ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
			ck_assert_int_eq(
				submit((struct hw_op){.kind = HW_IDENTIFY,
					.lane = 7,
					.id = 1,
					.device = 1,
					.fd_count = 2,
					.fds = {place ? pipes[1] : fd, place ? fd : pipes[1]}}),
				0);
			ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
			pump(1, 0);
			ck_assert_uint_eq(results[0].error.reason, REASON_FD_TRUNCATED);
			/* by a janitor, as soon as one can be had */
			for (uint64_t end = now_ms() + 5000; now_ms() < end;) {
				executor_dispatch(executor, &handler);
				if (pipe_is_closed(pipes[0], 10))
					break;
			}
			ck_assert(pipe_is_closed(pipes[0], 10));
			ck_assert_int_eq(close(pipes[0]), 0);
		}
	}
END_TEST

START_TEST(trap_18_stuck_lane_is_bounded_and_delays_nobody)
	{
		struct executor_lane lanes[4];
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		result_count = 0;
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		for (uint64_t id = 1; id <= EXECUTOR_LANE_OPS; id++) {
			struct hw_op op = ping(7);

			op.id = id;
			ck_assert_int_eq(submit(op), 0);
		}
		ck_assert_int_eq(submit(ping(7)), -EAGAIN);
		(void)run(ping(8)); /* the other lane's result comes first */
		ck_assert_uint_eq(executor_lanes(executor, lanes, ARRAY_SIZE(lanes)), 2);
		for (size_t i = 0; i < 2; i++) {
			bool stuck = lanes[i].lane == 7;

			ck_assert_uint_eq(lanes[i].pending, stuck ? EXECUTOR_LANE_OPS : 0);
			ck_assert_uint_eq(lanes[i].kind, stuck ? HW_UNMAP : 0);
			ck_assert_uint_eq(lanes[i].op_id, stuck ? 1 : 0);
			ck_assert(!stuck || lanes[i].since_ns > 0);
		}
		result_count = 0;
		ck_assert_int_eq(kill(pid, SIGCONT), 0);
		pump(EXECUTOR_LANE_OPS, 0);
		for (size_t i = 0; i < EXECUTOR_LANE_OPS; i++)
			ck_assert_uint_eq(results[i].id, i + 1);
		ck_assert_uint_eq(lost_count, 0);
	}
END_TEST

START_TEST(end_is_answered_when_the_process_is_gone)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		FD_AUTO int node = sim_fd_of(false, RID_A);
		pid_t pid;

		ck_assert_int_eq(identify(7, 1, iommufd, node)->status, 0);
		pid = pid_of(7);
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_END, .lane = 7, .id = 5}), 0);
		ck_assert_int_eq(submit(ping(7)), -EPIPE);
		pump(2, 0);
		ck_assert_uint_eq(results[1].id, 5);
		ck_assert_int_eq(results[1].status, 0);
		ck_assert_int_eq(kill(pid, 0), -1);
		ck_assert_uint_eq(executor_lanes(executor, NULL, 0), 0);
		ck_assert_uint_eq(lost_count, 0);
		ck_assert_int_eq(run(ping(7))->status, STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(end_of_a_lane_that_never_began_needs_no_process)
	{
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_END, .lane = 7, .id = 5}), 0);
		ck_assert_uint_eq(result_count, 0); /* never from within submit */
		ck_assert_int_eq(pid_of(7), 0);
		pump(1, 0);
		ck_assert_uint_eq(results[0].id, 5);
		ck_assert_int_eq(results[0].status, 0);
		ck_assert_uint_eq(executor_lanes(executor, NULL, 0), 0);
	}
END_TEST

START_TEST(worker_killed_while_it_ends_is_lost)
	{
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_END, .lane = 7, .id = 5}), 0);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		pump(2, 1);
		ck_assert_uint_eq(results[1].error.reason, REASON_WORKER_LOST);
	}
END_TEST

int main(int argc, char *argv[])
{
	SRunner *runner;
	Suite *suite;
	TCase *tc;
	int result;

	if (worker_asked(argc, argv, &result))
		return result;
	suite = suite_create("executor");
	tc = tcase_create("executor");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, operations_reach_the_tables);
	tcase_add_test(tc, key_is_equal_for_the_same_open_file_only);
	tcase_add_test(tc, key_is_forgotten_with_the_last_device);
	tcase_add_test(tc, key_does_not_follow_the_number_of_a_descriptor);
	tcase_add_test(tc, opened_device_comes_back_as_a_descriptor);
	tcase_add_test(tc, refused_descriptors_are_closed_everywhere);
	tcase_add_test(tc, killed_worker_completes_all_then_the_lane_is_lost);
	tcase_add_test(tc, descriptors_queued_for_a_lost_worker_are_closed);
	tcase_add_test(tc, what_came_beside_a_file_without_a_stand_in_is_closed);
	tcase_add_test(tc, trap_18_stuck_lane_is_bounded_and_delays_nobody);
	tcase_add_test(tc, end_is_answered_when_the_process_is_gone);
	tcase_add_test(tc, end_of_a_lane_that_never_began_needs_no_process);
	tcase_add_test(tc, worker_killed_while_it_ends_is_lost);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	result = srunner_ntests_failed(runner);
	srunner_free(runner);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
