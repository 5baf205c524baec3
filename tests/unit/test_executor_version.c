/* SPDX-License-Identifier: MIT */
/*
 * A daemon and a worker of different builds: a worker that was kept is gone on with after an
 * upgrade for as long as both mean the same, and is ended clearly when they do not.
 */
#include "executor_fixture.h"

#define LANE  7u
#define OTHER (WORKER_VERSION + 1)

/* How the other build of a worker is. */
static struct build {
	uint32_t version;
	size_t answer;  /* bytes that it sends */
	uint64_t extra; /* what it says where this build knows nothing */
} build;
static bool endless; /* its errors */

struct long_answer {
	struct worker_answer answer;
	uint64_t extra;
};

struct long_message {
	struct worker_message message;
	uint64_t extra;
};

/* Tells the kind of each operation in `group`, as its own build would answer. */
__attribute__((noreturn)) static void other_worker(int socket)
{
	struct long_message in;

	while (recv(socket, &in, sizeof(in), 0) > 0) {
		struct long_answer out = {
			.answer = {.version = build.version,
				.result = {.id = in.message.op.id, .group = in.message.op.kind}},
			.extra = build.extra};

		if (in.message.type == WORKER_FDS)
			continue;
		memset(out.answer.result.spare, 0xff, sizeof(out.answer.result.spare));
		if (endless)
			memset(&out.answer.result.error.text, 'x',
				sizeof(out.answer.result.error.text));
		(void)send(socket, &out, build.answer, MSG_NOSIGNAL);
	}
	_exit(0);
}

static pid_t adopt_other(void)
{
	int pair[2];
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(pair[0]);
		other_worker(pair[1]);
	}
	(void)close(pair[1]);
	ck_assert_int_eq(executor_adopt(executor, LANE, pid, pair[0]), 0);
	return pid;
}

START_TEST(an_older_worker_is_understood_and_what_it_does_not_say_is_nothing)
	{
		const struct hw_result *result;

		build = (struct build){WORKER_VERSION, WORKER_ANSWER_LEAST, 0};
		(void)adopt_other();
		for (unsigned i = 0; i < 3; i++) {
			result = run(ping(LANE));
			ck_assert_int_eq(result->status, 0);
			ck_assert_uint_eq(result->group, HW_UNMAP);
			for (size_t j = 0; j < ARRAY_SIZE(result->spare); j++)
				ck_assert_uint_eq(result->spare[j], 0);
		}
		ck_assert_uint_eq(lost_count, 0);
	}
END_TEST

START_TEST(an_error_ends_whatever_a_worker_says)
	{
		const struct hw_result *result;

		build = (struct build){WORKER_VERSION, sizeof(struct worker_answer), 0};
		endless = true;
		(void)adopt_other();
		result = run(ping(LANE));
		ck_assert_uint_eq(strnlen(result->error.text, sizeof(result->error.text)),
			sizeof(result->error.text) - 1);
	}
END_TEST

START_TEST(a_newer_worker_is_understood_as_far_as_anything_is_known)
	{
		build = (struct build){WORKER_VERSION, sizeof(struct long_answer), 4711};
		(void)adopt_other();
		for (unsigned i = 0; i < 3; i++)
			ck_assert_uint_eq(run(ping(LANE))->group, HW_UNMAP);
		ck_assert_uint_eq(lost_count, 0);
	}
END_TEST

START_TEST(a_worker_of_another_version_is_ended_and_that_is_said)
	{
		const size_t sizes[] = {offsetof(struct worker_answer, result),
			sizeof(struct worker_answer), sizeof(struct long_answer)};
		struct hw_op op = ping(LANE);

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			build = (struct build){OTHER, sizes[i], 0};
			(void)adopt_other();
			op.id = 10 + i;
			result_count = lost_count = 0;
			ck_assert_int_eq(submit(op), 0);
			pump(1, 1);
			ck_assert_uint_eq(lost[0], LANE);
			ck_assert_uint_eq(lost_version, OTHER);
			ck_assert_uint_eq(results[0].error.reason, REASON_WORKER_LOST);
			ck_assert_ptr_nonnull(strstr(
				results[0].error.text, "another version of pasidd (2, this"));
			/* The lane begins anew with one of ours. */
			ck_assert_uint_ne(run(ping(LANE))->error.reason, REASON_WORKER_LOST);
			(void)run((struct hw_op){.kind = HW_END, .lane = LANE});
		}
	}
END_TEST

START_TEST(an_answer_that_is_too_short_or_too_long_ends_the_worker)
	{
		const size_t sizes[] = {4, WORKER_ANSWER_LEAST - 1};
		struct hw_op op = ping(LANE);

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			build = (struct build){WORKER_VERSION, sizes[i], 0};
			(void)adopt_other();
			op.id = 10 + i;
			result_count = lost_count = 0;
			ck_assert_int_eq(submit(op), 0);
			pump(1, 1);
			(void)run((struct hw_op){.kind = HW_END, .lane = LANE});
		}
	}
END_TEST

/* --- the other way: a worker of ours, and another daemon --- */

static int worker_socket;
static pid_t worker_pid;

static void start_worker(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	worker_pid = fork();
	if (worker_pid == 0) {
		(void)close(pair[0]);
		_exit(worker_main(pair[1], dir));
	}
	(void)close(pair[1]);
	worker_socket = pair[0];
}

static ssize_t ask(
	const struct long_message *message, size_t size, struct worker_answer *ret_answer)
{
	ck_assert_int_eq(send(worker_socket, message, size, MSG_NOSIGNAL), (ssize_t)size);
	return recv(worker_socket, ret_answer, sizeof(*ret_answer), 0);
}

static int end_worker(void)
{
	int status;

	(void)close(worker_socket);
	ck_assert_int_eq(waitpid(worker_pid, &status, 0), worker_pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(a_worker_takes_the_operations_of_an_older_and_a_newer_daemon)
	{
		const size_t sizes[] = {WORKER_MESSAGE_LEAST, sizeof(struct worker_message),
			sizeof(struct long_message)};
		struct worker_answer answer;

		start_worker();
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct long_message message = {.message = {.version = WORKER_VERSION,
							       .type = WORKER_OP,
							       .op = ping(LANE)}};

			message.message.op.id = i + 1;
			ck_assert_int_eq(ask(&message, sizes[i], &answer), sizeof(answer));
			ck_assert_uint_eq(answer.version, WORKER_VERSION);
			ck_assert_uint_eq(answer.result.id, i + 1);
			ck_assert_uint_ne(answer.result.error.reason, REASON_FEATURE);
		}
		ck_assert_int_eq(end_worker(), EXIT_SUCCESS);
	}
END_TEST

START_TEST(what_a_worker_does_not_know_it_refuses_and_goes_on)
	{
		struct long_message message = {
			.message = {
				.version = WORKER_VERSION, .type = WORKER_OP, .op = ping(LANE)}};
		struct worker_answer answer;

		start_worker();
		message.extra = 1;
		ck_assert_int_eq(ask(&message, sizeof(message), &answer), sizeof(answer));
		ck_assert_int_eq(answer.result.status, STATUS_UNSUPPORTED);
		ck_assert_uint_eq(answer.result.error.reason, REASON_FEATURE);
		message.extra = 0;
		message.message.op.spare[7] = 1;
		ck_assert_int_eq(ask(&message, sizeof(message), &answer), sizeof(answer));
		ck_assert_uint_eq(answer.result.error.reason, REASON_FEATURE);
		message.message.op.spare[7] = 0;
		ck_assert_int_eq(ask(&message, sizeof(message), &answer), sizeof(answer));
		ck_assert_uint_ne(answer.result.error.reason, REASON_FEATURE);
		ck_assert_int_eq(end_worker(), EXIT_SUCCESS);
	}
END_TEST

START_TEST(a_worker_that_is_greeted_in_another_version_says_its_own_and_ends)
	{
		struct long_message message = {.message = {.version = OTHER, .type = WORKER_GREET}};
		struct worker_answer answer = {0};

		start_worker();
		ck_assert_int_eq(ask(&message, offsetof(struct worker_message, fd_count), &answer),
			offsetof(struct worker_answer, result));
		ck_assert_uint_eq(answer.version, WORKER_VERSION);
		ck_assert_int_eq(recv(worker_socket, &answer, sizeof(answer), 0), 0);
		ck_assert_int_eq(end_worker(), EXIT_FAILURE);
	}
END_TEST

START_TEST(a_message_that_is_too_short_ends_the_worker)
	{
		struct long_message message = {
			.message = {
				.version = WORKER_VERSION, .type = WORKER_OP, .op = ping(LANE)}};
		struct worker_answer answer;

		start_worker();
		ck_assert_int_le(ask(&message, WORKER_MESSAGE_LEAST - 1, &answer), 0);
		ck_assert_int_eq(end_worker(), EXIT_FAILURE);
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
	suite = suite_create("other builds");
	tc = tcase_create("other builds");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, an_older_worker_is_understood_and_what_it_does_not_say_is_nothing);
	tcase_add_test(tc, an_error_ends_whatever_a_worker_says);
	tcase_add_test(tc, a_newer_worker_is_understood_as_far_as_anything_is_known);
	tcase_add_test(tc, a_worker_of_another_version_is_ended_and_that_is_said);
	tcase_add_test(tc, an_answer_that_is_too_short_or_too_long_ends_the_worker);
	tcase_add_test(tc, a_worker_takes_the_operations_of_an_older_and_a_newer_daemon);
	tcase_add_test(tc, what_a_worker_does_not_know_it_refuses_and_goes_on);
	tcase_add_test(tc, a_worker_that_is_greeted_in_another_version_says_its_own_and_ends);
	tcase_add_test(tc, a_message_that_is_too_short_ends_the_worker);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	result = srunner_ntests_failed(runner);
	srunner_free(runner);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
