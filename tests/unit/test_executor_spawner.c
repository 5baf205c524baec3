/* SPDX-License-Identifier: MIT */
/*
 * The process that starts workers, and its spare: who is confined as the daemon is can start none
 * itself, and cannot compare open files of its workers.
 */
#include "executor_fixture.h"

#include "hw/confine.h"
#include "hw/spawner.h"

#include <dirent.h>

#define SPAWNERS 2

/* What the kernel says of a process in one of its files; terminated, and 0 when it is gone. */
static size_t read_of(const char *pid, const char *name, char *ret_text, size_t size)
{
	char path[64];
	size_t length;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/%s", pid, name);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	length = fread(ret_text, 1, size - 1, file);
	ret_text[length] = '\0';
	(void)fclose(file);
	return length;
}

static bool is_our_spawner(const char *pid)
{
	char stat[512], command[256];
	const char *behind_name;
	size_t length;

	if (read_of(pid, "stat", stat, sizeof(stat)) == 0)
		return false;
	behind_name = strrchr(stat, ')'); /* its state and its parent */
	if (behind_name == NULL || strlen(behind_name) < 5 ||
		strtol(behind_name + 4, NULL, 10) != getpid())
		return false;
	length = read_of(pid, "cmdline", command, sizeof(command));
	return memmem(command, length, "spawner", 7) != NULL;
}

/* The spawners among our children; returns how many. */
static size_t spawners(pid_t ret_pids[static SPAWNERS])
{
	const struct dirent *entry;
	DIR *folder = opendir("/proc");
	size_t count = 0;

	ck_assert_ptr_nonnull(folder);
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && count < SPAWNERS &&
			is_our_spawner(entry->d_name))
			ret_pids[count++] = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	(void)closedir(folder);
	return count;
}

/* Until there are two again. */
static void wait_for_both(pid_t ret_pids[static SPAWNERS])
{
	struct pollfd p = {.fd = executor_fd(executor), .events = POLLIN};
	const uint64_t end = now_ms() + 10000;

	while (spawners(ret_pids) < SPAWNERS) {
		ck_assert_uint_lt(now_ms(), end);
		if (poll(&p, 1, 10) > 0)
			executor_dispatch(executor, &handler);
	}
}

static void kill_spawner(pid_t pid)
{
	pid_t now[SPAWNERS];
	struct pollfd p = {.fd = executor_fd(executor), .events = POLLIN};
	const uint64_t end = now_ms() + 10000;

	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	do {
		ck_assert_uint_lt(now_ms(), end);
		if (poll(&p, 1, 10) > 0)
			executor_dispatch(executor, &handler);
		wait_for_both(now);
	} while (now[0] == pid || now[1] == pid);
}

/*
 * The test in a child that has an executor of its own and is confined as the daemon is: what the
 * framework does at the end is no business of a daemon.
 */
static void in_daemon(void (*test)(void))
{
	const char *const folders[CONFINE_FOLDERS_MAX] = {dir};
	struct confinement result;
	int status;
	const pid_t pid = fork();

	if (pid == 0) {
		start(&(struct executor_options){.simulate_dir = dir});
		confine_daemon(folders, NULL, &result);
		ck_assert_int_eq(result.calls, 0);
		executor_confine(executor);
		test();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}

START_TEST(whichever_of_the_two_ends_there_are_two_again)
	{
		pid_t pids[SPAWNERS];

		for (unsigned i = 0; i < SPAWNERS; i++) {
			wait_for_both(pids);
			kill_spawner(pids[i]);
			(void)run(ping(1 + i));
			ck_assert_int_gt(pid_of(1 + i), 0);
		}
	}
END_TEST

static void make_up(void)
{
	pid_t pids[SPAWNERS];

	for (unsigned i = 0; i < 3 * SPAWNERS; i++) {
		wait_for_both(pids);
		kill_spawner(pids[i % SPAWNERS]);
		(void)run(ping(1 + i));
		ck_assert_int_gt(pid_of(1 + i), 0);
	}
}

START_TEST(who_is_confined_starts_workers_and_makes_up_for_dead_spawners)
	{
		in_daemon(make_up);
	}
END_TEST

static void compare(void)
{
	const int one = sim_fd_of(true, 0), two = sim_fd_of(true, 0);
	const int a = sim_fd_of(false, RID_A), b = sim_fd_of(false, RID_B);
	uint64_t first;

	first = identify(1, 1, one, a)->iommufd_key;
	ck_assert_uint_ne(first, 0);
	ck_assert_uint_eq(identify(2, 2, one, b)->iommufd_key, first);
	ck_assert_uint_ne(identify(3, 3, two, b)->iommufd_key, first);
	for (uint32_t i = 0; i < 2 * SPAWNER_FILES + 3; i++) /* asked in several parts */
		(void)identify(4 + i % 3, 100 + i, two, b);
	ck_assert_uint_eq(identify(8, 8, one, a)->iommufd_key, first);
	(void)close(one);
	(void)close(two);
	(void)close(a);
	(void)close(b);
}

START_TEST(who_is_confined_knows_which_workers_have_the_same_file)
	{
		in_daemon(compare);
	}
END_TEST

static void without(void)
{
	pid_t pids[SPAWNERS];
	uint64_t id = 1;
	int r;

	(void)run(ping(1));
	wait_for_both(pids);
	/* both at once, before anybody could make up for one */
	ck_assert_int_eq(kill(pids[0], SIGSTOP), 0);
	ck_assert_int_eq(kill(pids[1], SIGKILL), 0);
	ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
	(void)usleep(100000);
	r = submit((struct hw_op){.kind = HW_UNMAP, .lane = 2, .device = 999, .id = ++id});
	ck_assert_int_lt(r, 0);
	(void)run(ping(1));
	ck_assert_int_gt(pid_of(1), 0);
	executor_dispatch(executor, &handler);
	executor_dispatch(executor, &handler);
	ck_assert(executor_is_helpless(executor));
}

START_TEST(without_any_of_them_a_lane_is_refused_and_the_others_go_on)
	{
		in_daemon(without);
	}
END_TEST

/* One of them is asked, the other is the spare one. */
START_TEST(one_that_does_not_answer_is_given_up)
	{
		pid_t pids[SPAWNERS];

		for (unsigned i = 0; i < SPAWNERS; i++) {
			wait_for_both(pids);
			ck_assert_int_eq(kill(pids[i], SIGSTOP), 0);
			(void)run(ping(1 + i));
			ck_assert_int_gt(pid_of(1 + i), 0);
			(void)kill(pids[i], SIGCONT); /* the spare one was not missed */
		}
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
	suite = suite_create("spawners");
	tc = tcase_create("spawners");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, whichever_of_the_two_ends_there_are_two_again);
	tcase_add_test(tc, who_is_confined_starts_workers_and_makes_up_for_dead_spawners);
	tcase_add_test(tc, who_is_confined_knows_which_workers_have_the_same_file);
	tcase_add_test(tc, without_any_of_them_a_lane_is_refused_and_the_others_go_on);
	tcase_add_test(tc, one_that_does_not_answer_is_given_up);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	result = srunner_ntests_failed(runner);
	srunner_free(runner);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
