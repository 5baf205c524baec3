/* SPDX-License-Identifier: MIT */
/* Workers that outlive the executor that started them, because somebody kept its end of a socket.
 */
#include "executor_fixture.h"

#define LANE 7u

/* What was told of the lane last. */
static struct {
	int32_t pid;
	int kept; /* a copy of our end, as a store would have it */
	unsigned starts, ends;
} told;

static void on_lane(void *ctx, uint64_t lane, int32_t pid, int socket, bool stands)
{
	(void)ctx;
	if (lane != LANE)
		return;
	told.starts += stands;
	told.ends += !stands;
	told.pid = pid;
	if (stands && told.kept < 0)
		told.kept = copy_of(socket);
	if (!stands)
		ck_assert_int_eq(socket, -1);
}

static size_t own_fds(void)
{
	DIR *fds = opendir("/proc/self/fd");
	size_t count = 0;

	ck_assert_ptr_nonnull(fds);
	while (readdir(fds) != NULL)
		count++;
	ck_assert_int_eq(closedir(fds), 0);
	return count;
}

static void start_told(void)
{
	executor_free(executor);
	start(&(struct executor_options){.simulate_dir = dir});
	executor_on_lane(executor, on_lane, NULL);
	memset(&told, 0, sizeof(told));
	told.kept = -1;
}

/* The executor goes, and another one comes; what it has of the lane is still to be adopted. */
static void restart(void)
{
	executor_free(executor);
	start(&(struct executor_options){.simulate_dir = dir});
	executor_on_lane(executor, on_lane, NULL);
}

static void adopt(void)
{
	ck_assert_int_eq(executor_adopt(executor, LANE, told.pid, told.kept), 0);
	told.kept = -1;
}

/* Device 1 of the lane: RID_A, with PASID 77 attached. */
static void attach(int iommufd, int node)
{
	uint32_t ioas;

	(void)identify(LANE, 1, iommufd, node);
	ck_assert_int_eq(
		run((struct hw_op){.kind = HW_OPEN, .lane = LANE, .device = 1})->status, 0);
	ck_assert_int_eq(sim_calls(sim)->ioas_alloc(sim, iommufd, &ioas), 0);
	ck_assert_int_eq(run((struct hw_op){.kind = HW_ATTACH,
				     .lane = LANE,
				     .device = 1,
				     .has_pasid = 1,
				     .pasid = {77},
				     .table = {.kind = HW_TABLE_IOAS, .id = ioas}})
				 ->status,
		0);
}

static bool stands_in_table(void)
{
	struct sim_entries entries;
	struct sim_entry entry;

	ck_assert_int_eq(sim_entries_init(&entries, sim), 0);
	return sim_entries_next(&entries, &entry) == 1 && entry.at.pasid == 77;
}

START_TEST(an_adopted_worker_has_what_it_had)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		FD_AUTO int node = sim_fd_of(false, RID_A);
		FD_AUTO int other = sim_fd_of(false, RID_B);
		struct hw_result report, before;

		start_told();
		attach(iommufd, node);
		before = results[0];
		restart();
		adopt();
		ck_assert(executor_lane_stands(executor, LANE));
		/* the VMM's own copies are not what keeps the entry */
		ck_assert(stands_in_table());
		report = *run((struct hw_op){.kind = HW_REPORT, .lane = LANE, .device = 1});
		ck_assert_int_eq(report.status, 0);
		ck_assert_uint_eq(report.rid.v, RID_A);
		ck_assert_uint_eq(report.group, before.group);
		ck_assert_uint_ne(report.iommufd_key, 0);
		/* a copy of the same open file in another lane is known as such */
		ck_assert_uint_eq(identify(8, 2, iommufd, other)->iommufd_key, report.iommufd_key);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_DETACH,
					     .lane = LANE,
					     .device = 1,
					     .has_pasid = 1,
					     .pasid = {77}})
					 ->status,
			0);
		ck_assert(!stands_in_table());
	}
END_TEST

START_TEST(a_device_that_it_does_not_have_is_not_reported)
	{
		start_told();
		(void)run(ping(LANE));
		restart();
		adopt();
		ck_assert_int_gt(
			run((struct hw_op){.kind = HW_REPORT, .lane = LANE, .device = 1})->status,
			0);
	}
END_TEST

static void wait_for_closes(void)
{
	uint64_t end = now_ms() + 5000;

	while (executor_backlog(executor) > 0 && now_ms() < end) {
		executor_dispatch(executor, &handler);
		(void)usleep(1000);
	}
	ck_assert_uint_eq(executor_backlog(executor), 0);
}

START_TEST(old_answers_are_dropped_with_the_descriptors_among_them)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		size_t before;

		start_told();
		(void)run(ping(LANE));
		ck_assert_int_eq(kill(told.pid, SIGSTOP), 0);
		/* the daemon opens a device for its VMM: the answer brings a descriptor */
		ck_assert_int_eq(submit((struct hw_op){.id = 1,
					 .kind = HW_IDENTIFY,
					 .lane = LANE,
					 .device = 1,
					 .rid = {RID_A},
					 .fd_count = 1,
					 .fds = {copy_of(iommufd), -1}}),
			0);
		ck_assert_int_eq(
			submit((struct hw_op){.id = 2, .kind = HW_OPEN, .lane = LANE, .device = 1}),
			0);
		ck_assert_int_eq(submit(ping(LANE)), 0);
		restart();
		executor_dispose(executor, copy_of(iommufd)); /* there is a janitor now */
		wait_for_closes();
		adopt();
		before = own_fds();
		ck_assert_int_eq(kill(told.pid, SIGCONT), 0);
		/* run() checks that the first result is its own */
		ck_assert_int_eq(
			run((struct hw_op){.kind = HW_REPORT, .lane = LANE, .device = 1})->status,
			0);
		ck_assert_uint_eq(result_count, 1);
		wait_for_closes();
		ck_assert_uint_eq(own_fds(), before);
	}
END_TEST

START_TEST(descriptors_whose_operation_never_followed_are_closed)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		FD_AUTO int node = sim_fd_of(false, RID_A);
		struct worker_message message = {
			.version = WORKER_VERSION, .type = WORKER_FDS, .fd_count = 1};
		union {
			struct cmsghdr align;
			char space[CMSG_SPACE(sizeof(int))];
		} control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
		struct iovec iov = {&message, sizeof(message)};
		struct msghdr header = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control)};
		int pipes[2];

		start_told();
		(void)run(ping(LANE));
		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		memcpy(CMSG_DATA(&control.align), &pipes[1], sizeof(pipes[1]));
		ck_assert_int_gt(sendmsg(told.kept, &header, 0), 0);
		ck_assert_int_eq(close(pipes[1]), 0);
		restart();
		ck_assert(!pipe_is_closed(pipes[0], 50));
		adopt();
		ck_assert(pipe_is_closed(pipes[0], 5000));
		ck_assert_int_eq(close(pipes[0]), 0);
		ck_assert_int_eq(identify(LANE, 1, iommufd, node)->status, 0);
	}
END_TEST

START_TEST(a_worker_that_is_gone_cannot_be_adopted)
	{
		start_told();
		(void)run(ping(LANE));
		executor_free(executor);
		ck_assert_int_eq(kill(told.pid, SIGKILL), 0);
		ck_assert_int_eq(waitid(P_PID, (id_t)told.pid, NULL, WEXITED | WNOWAIT), 0);
		start(&(struct executor_options){.simulate_dir = dir});
		ck_assert_int_eq(executor_adopt(executor, LANE, told.pid, told.kept), -ESRCH);
		ck_assert(!executor_lane_stands(executor, LANE));
		ck_assert_int_eq(waitpid(told.pid, NULL, 0), told.pid);
		ck_assert_int_eq(executor_adopt(executor, LANE, told.pid, told.kept), -ESRCH);
		ck_assert_int_eq(close(told.kept), 0); /* it stayed ours */
	}
END_TEST

START_TEST(a_lane_has_one_worker)
	{
		start_told();
		(void)run(ping(LANE));
		ck_assert_int_eq(executor_adopt(executor, LANE, told.pid, told.kept), -EEXIST);
		ck_assert_int_ge(fcntl(told.kept, F_GETFD), 0);
		restart();
		adopt();
		ck_assert_int_eq(executor_adopt(executor, LANE, told.pid, 0), -EEXIST);
	}
END_TEST

START_TEST(starts_and_ends_of_lanes_are_told)
	{
		start_told();
		(void)run(ping(LANE));
		ck_assert_uint_eq(told.starts, 1);
		ck_assert_int_eq(told.pid, pid_of(LANE));
		(void)run(ping(8)); /* on_lane() passes it over */
		ck_assert_int_eq(run((struct hw_op){.kind = HW_END, .lane = LANE})->status, 0);
		ck_assert_uint_eq(told.ends, 1);
		ck_assert_int_eq(close(told.kept), 0);
	}
END_TEST

START_TEST(the_death_of_an_adopted_worker_is_a_lost_lane)
	{
		start_told();
		(void)run(ping(LANE));
		restart();
		adopt();
		(void)run(ping(LANE));
		ck_assert_int_eq(kill(told.pid, SIGKILL), 0);
		pump(1, 1);
		ck_assert_uint_eq(lost[0], LANE);
		ck_assert_uint_eq(told.ends, 1);
		ck_assert(!executor_lane_stands(executor, LANE));
		(void)run(ping(LANE)); /* another one */
		ck_assert_uint_eq(told.starts, 2);
	}
END_TEST

START_TEST(a_worker_that_hangs_is_waited_for_by_nobody_but_its_lane)
	{
		uint64_t begin;

		start_told();
		(void)run(ping(LANE));
		ck_assert_int_eq(kill(told.pid, SIGSTOP), 0);
		restart();
		begin = now_ms();
		adopt();
		ck_assert_int_eq(submit((struct hw_op){
					 .id = 5, .kind = HW_REPORT, .lane = LANE, .device = 1}),
			0);
		(void)run(ping(8));
		ck_assert_uint_lt(now_ms() - begin, 5000);
		ck_assert_uint_eq(result_count, 1);
		ck_assert_int_eq(kill(told.pid, SIGCONT), 0);
		pump(2, 0);
		ck_assert_uint_eq(results[1].id, 5);
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
	suite = suite_create("adopted workers");
	tc = tcase_create("adopted workers");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, an_adopted_worker_has_what_it_had);
	tcase_add_test(tc, a_device_that_it_does_not_have_is_not_reported);
	tcase_add_test(tc, old_answers_are_dropped_with_the_descriptors_among_them);
	tcase_add_test(tc, descriptors_whose_operation_never_followed_are_closed);
	tcase_add_test(tc, a_worker_that_is_gone_cannot_be_adopted);
	tcase_add_test(tc, a_lane_has_one_worker);
	tcase_add_test(tc, starts_and_ends_of_lanes_are_told);
	tcase_add_test(tc, the_death_of_an_adopted_worker_is_a_lost_lane);
	tcase_add_test(tc, a_worker_that_hangs_is_waited_for_by_nobody_but_its_lane);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	result = srunner_ntests_failed(runner);
	srunner_free(runner);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
