/* SPDX-License-Identifier: MIT */
/* The worker processes themselves: what they hold, how they start and end, and bad ones. */
#include "executor_fixture.h"

static size_t count_fds(pid_t pid)
{
	char path[64];
	size_t count = 0;
	struct dirent *entry;
	DIR *fds;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	ck_assert_ptr_nonnull(fds);
	while ((entry = readdir(fds)) != NULL)
		count += entry->d_name[0] != '.';
	ck_assert_int_eq(closedir(fds), 0);
	return count;
}

START_TEST(worker_has_its_socket_and_nothing_else)
	{
		FD_AUTO int secret =
			open("/dev/null", O_RDONLY); /* not close-on-exec, on purpose */
		char path[64], name[32] = "";
		FILE *comm;

		executor_free(executor);
		start(&(struct executor_options){0});
		ck_assert_int_ge(secret, 0);
		(void)run(ping(7));
		ck_assert_uint_eq(count_fds(pid_of(7)), 4);
		ck_assert_int_eq(getsid(pid_of(7)), pid_of(7));
		(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid_of(7));
		comm = fopen(path, "re");
		ck_assert_ptr_nonnull(comm);
		ck_assert_ptr_nonnull(fgets(name, sizeof(name), comm));
		ck_assert_str_eq(name, "pasidd-worker\n");
		ck_assert_int_eq(fclose(comm), 0);
	}
END_TEST

START_TEST(program_that_cannot_start_takes_nothing)
	{
		FD_AUTO int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		struct hw_op op = {.kind = HW_IDENTIFY, .lane = 7, .fd_count = 1, .fds = {fd, -1}};

		executor_free(executor);
		start(&(struct executor_options){.program = "/nonexistent"});
		ck_assert_int_eq(submit(op), -ENOENT);
		ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
		ck_assert_uint_eq(executor_lanes(executor, NULL, 0), 0);
	}
END_TEST

START_TEST(program_that_ends_at_once_is_a_lost_lane)
	{
		int pipes[2];

		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		executor_free(executor);
		start(&(struct executor_options){.program = "/bin/false"});
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_IDENTIFY,
					 .lane = 7,
					 .fd_count = 1,
					 .fds = {pipes[1], -1}}),
			0);
		pump(1, 1);
		ck_assert_uint_eq(results[0].error.reason, REASON_WORKER_LOST);
		ck_assert_ptr_nonnull(strstr(results[0].error.text, "exit status 1"));
		for (int i = 0; i < 250 && !pipe_is_closed(pipes[0], 0); i++) {
			executor_dispatch(executor, &handler);
			(void)poll(NULL, 0, 20);
		}
		ck_assert(pipe_is_closed(pipes[0], 0));
		ck_assert_int_eq(close(pipes[0]), 0);
	}
END_TEST

START_TEST(worker_that_talks_nonsense_is_ended)
	{
		executor_free(executor);
		ck_assert_int_eq(setenv("TEST_WORKER", "nonsense", 1), 0);
		start(&(struct executor_options){0});
		ck_assert_int_eq(submit(ping(7)), 0);
		pump(1, 1);
		ck_assert_uint_eq(results[0].error.reason, REASON_WORKER_LOST);
		ck_assert_ptr_nonnull(strstr(results[0].error.text, "signal 9"));
	}
END_TEST

START_TEST(answer_for_another_operation_is_nonsense_too)
	{
		executor_free(executor);
		ck_assert_int_eq(setenv("TEST_WORKER", "wrong-id", 1), 0);
		start(&(struct executor_options){0});
		ck_assert_int_eq(submit(ping(7)), 0);
		pump(1, 1);
		ck_assert_uint_eq(results[0].error.reason, REASON_WORKER_LOST);
	}
END_TEST

/* A positive status would say that nothing was done, and the number could be another's at once. */
START_TEST(what_an_unplugged_worker_did_not_answer_may_have_been_done)
	{
		executor_free(executor);
		ck_assert_int_eq(setenv("TEST_WORKER", "unplugged", 1), 0);
		start(&(struct executor_options){0});
		ck_assert_int_eq(submit(ping(7)), 0);
		pump(1, 1);
		ck_assert_int_lt(results[0].status, 0);
		ck_assert_uint_eq(results[0].error.reason, REASON_WORKER_LOST);
		ck_assert_ptr_nonnull(strstr(results[0].error.text, "unplugged"));
	}
END_TEST

START_TEST(descriptor_that_got_lost_on_the_way_is_a_failure)
	{
		executor_free(executor);
		ck_assert_int_eq(setenv("TEST_WORKER", "lost-descriptor", 1), 0);
		start(&(struct executor_options){0});
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_OPEN, .lane = 7}), 0);
		pump(1, 0);
		ck_assert_int_eq(results[0].status, STATUS_RETRY);
		ck_assert_uint_eq(results[0].error.reason, REASON_FD_TRUNCATED);
		ck_assert_uint_eq(results[0].fd_count, 0);
	}
END_TEST

START_TEST(identity_that_cannot_be_compared_is_undone)
	{
		executor_free(executor);
		ck_assert_int_eq(setenv("TEST_WORKER", "bad-key", 1), 0);
		start(&(struct executor_options){0});
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_IDENTIFY, .lane = 7}), 0);
		pump(1, 0);
		ck_assert_int_eq(results[0].status, STATUS_INTERNAL);
		ck_assert_uint_eq(results[0].iommufd_key, 0);
		/* The close that undoes it is the executor's own: nobody else hears of it. */
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_UNMAP, .lane = 7}), 0);
		pump(2, 0);
		ck_assert_uint_eq(results[1].group, HW_UNMAP);
	}
END_TEST

/* A TCP connection whose close waits 20 s for a peer that reads nothing. */
static int lingering_socket(int *ret_peer)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 20};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static char data[1 << 20];

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, size), 0);
	*ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(*ret_peer, 0);
	ck_assert_int_eq(close(listener), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	return fd;
}

START_TEST(dispose_never_waits_for_a_hostile_close)
	{
		uint64_t begin = now_ms();
		int peers[8], pipes[2];

		for (size_t i = 0; i < 3; i++)
			executor_dispose(executor, lingering_socket(&peers[i]));
		executor_dispose(executor, -1);
		/* One that is stuck does not keep another from being closed. */
		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		executor_dispose(executor, pipes[1]);
		executor_dispatch(executor, &handler);
		ck_assert_uint_lt(now_ms() - begin, 5000);
		ck_assert(pipe_is_closed(pipes[0], 5000));
		ck_assert_int_eq(close(pipes[0]), 0);
		for (size_t i = 0; i < 3; i++)
			ck_assert_int_eq(close(peers[i]), 0);
		ck_assert_uint_eq(result_count, 0);
	}
END_TEST

static uint64_t closed_owners;

static void note_closed(void *ctx, uint64_t owner)
{
	(void)ctx;
	closed_owners += owner;
}

START_TEST(an_owner_is_told_when_it_is_closed_and_not_before)
	{
		uint64_t begin = now_ms();
		int peer, pipes[2];

		executor_on_closed(executor, note_closed, NULL);
		closed_owners = 0;
		/* One that its janitor is killed over, and one that was behind it. */
		executor_dispose_for(executor, lingering_socket(&peer), 1000);
		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		executor_dispose_for(executor, pipes[0], 7);
		executor_dispose_for(executor, pipes[1], 70);
		ck_assert_uint_eq(closed_owners, 0);
		ck_assert_uint_eq(executor_backlog(executor), 3);
		while (executor_backlog(executor) > 0 && now_ms() - begin < 10000) {
			executor_dispatch(executor, &handler);
			(void)usleep(1000);
		}
		ck_assert_uint_eq(closed_owners, 1077);
		ck_assert_int_eq(close(peer), 0);
	}
END_TEST

START_TEST(without_a_janitor_descriptors_wait_and_nothing_is_closed_here)
	{
		int pipes[2];

		executor_free(executor);
		start(&(struct executor_options){.program = "/nonexistent"});
		executor_on_closed(executor, note_closed, NULL);
		closed_owners = 0;
		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		executor_dispose_for(executor, pipes[1], 7);
		executor_dispatch(executor, &handler);
		ck_assert_uint_eq(executor_backlog(executor), 1);
		ck_assert_int_ge(fcntl(pipes[1], F_GETFD), 0);
		ck_assert_uint_eq(closed_owners, 0);
		executor_free(executor);
		ck_assert_uint_eq(closed_owners, 7);
		ck_assert(pipe_is_closed(pipes[0], 5000));
		ck_assert_int_eq(close(pipes[0]), 0);
		start(&(struct executor_options){0});
	}
END_TEST

START_TEST(free_waits_for_no_stuck_worker)
	{
		uint64_t begin;
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		ck_assert_int_eq(submit(ping(7)), 0);
		begin = now_ms();
		executor_free(TAKE_PTR(executor));
		ck_assert_uint_lt(now_ms() - begin, 1000);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	}
END_TEST

START_TEST(workers_end_when_the_executor_does)
	{
		int status = -1;
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		executor_free(TAKE_PTR(executor));
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status));
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	}
END_TEST

/* A daemon that dies keeps the entries: only the last copy of a device takes them away. */
START_TEST(workers_that_end_detach_nothing_that_the_vmm_holds)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		FD_AUTO int node = sim_fd_of(false, RID_A);
		struct sim_entries entries;
		struct sim_entry entry;
		uint32_t ioas;
		pid_t pid;

		(void)identify(7, 1, iommufd, node);
		(void)run((struct hw_op){.kind = HW_OPEN, .lane = 7, .device = 1});
		ck_assert_int_eq(sim_calls(sim)->ioas_alloc(sim, iommufd, &ioas), 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_ATTACH,
					     .lane = 7,
					     .device = 1,
					     .has_pasid = 1,
					     .pasid = {77},
					     .table = {.kind = HW_TABLE_IOAS, .id = ioas}})
					 ->status,
			0);
		pid = pid_of(7);
		executor_free(TAKE_PTR(executor));
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		ck_assert_int_eq(sim_entries_init(&entries, sim), 0);
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 1);
		ck_assert_uint_eq(entry.at.pasid, 77);
	}
END_TEST

/* --- bad workers --- */

static int bad_worker(const char *how)
{
	struct worker_message message;
	struct worker_answer answer = {.version = WORKER_VERSION, .result.id = 4711};
	struct hw_result *result = &answer.result;
	size_t size = strcmp(how, "nonsense") == 0 ? 3 : sizeof(answer);

	while (recv(WORKER_SOCKET, &message, sizeof(message), 0) > 0) {
		if (strcmp(how, "unplugged") == 0)
			return WORKER_EXIT_UNPLUGGED;
		if (strcmp(how, "wrong-id") != 0)
			result->id = message.op.id;
		result->iommufd_key = 999; /* no descriptor of ours */
		result->fd_count = strcmp(how, "lost-descriptor") == 0;
		/* Tells the test what came after the first operation. */
		result->group = message.op.kind;
		(void)send(WORKER_SOCKET, &answer, size, MSG_NOSIGNAL);
	}
	return EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	const char *bad = getenv("TEST_WORKER");
	SRunner *runner;
	Suite *suite;
	TCase *tc;
	int result;

	if (bad && argc > 3 && strcmp(argv[3], "spawner") != 0)
		return bad_worker(bad);
	if (worker_asked(argc, argv, &result))
		return result;
	suite = suite_create("processes");
	tc = tcase_create("processes");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, worker_has_its_socket_and_nothing_else);
	tcase_add_test(tc, program_that_cannot_start_takes_nothing);
	tcase_add_test(tc, program_that_ends_at_once_is_a_lost_lane);
	tcase_add_test(tc, worker_that_talks_nonsense_is_ended);
	tcase_add_test(tc, answer_for_another_operation_is_nonsense_too);
	tcase_add_test(tc, what_an_unplugged_worker_did_not_answer_may_have_been_done);
	tcase_add_test(tc, descriptor_that_got_lost_on_the_way_is_a_failure);
	tcase_add_test(tc, identity_that_cannot_be_compared_is_undone);
	tcase_add_test(tc, dispose_never_waits_for_a_hostile_close);
	tcase_add_test(tc, an_owner_is_told_when_it_is_closed_and_not_before);
	tcase_add_test(tc, without_a_janitor_descriptors_wait_and_nothing_is_closed_here);
	tcase_add_test(tc, free_waits_for_no_stuck_worker);
	tcase_add_test(tc, workers_end_when_the_executor_does);
	tcase_add_test(tc, workers_that_end_detach_nothing_that_the_vmm_holds);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	result = srunner_ntests_failed(runner);
	srunner_free(runner);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
