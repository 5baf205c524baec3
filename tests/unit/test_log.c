/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* In place of libc's: so much later is it for the log. */
static int64_t later_ms;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	const long r = syscall(SYS_clock_gettime, clock, now);

	now->tv_sec += later_ms / 1000;
	return (int)r;
}

/* In place of libc's: what the journal was told since the test asked. */
static char journal_fields[8192];
static bool journal_full;

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	size_t at = strlen(journal_fields);

	(void)fd;
	ck_assert_int_ne(flags & MSG_DONTWAIT, 0);
	ck_assert_str_eq(((const struct sockaddr_un *)msg->msg_name)->sun_path,
		"/run/systemd/journal/socket");
	if (journal_full) {
		errno = EAGAIN;
		return -1;
	}
	for (size_t i = 0; i < msg->msg_iovlen; i++)
		at += (size_t)snprintf(journal_fields + at, sizeof(journal_fields) - at, "%.*s",
			(int)msg->msg_iov[i].iov_len, (const char *)msg->msg_iov[i].iov_base);
	return 1;
}

static int reader, kept_stderr;
static char seen[65536];

/* Standard error becomes a pipe that the test reads. */
static void setup(void)
{
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	kept_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
	close(ends[1]);
	reader = ends[0];
	log_open(LOG_LEVEL_INFO);
}

static void teardown(void)
{
	dup2(kept_stderr, STDERR_FILENO);
	close(kept_stderr);
	close(reader);
}

static const char *written(void)
{
	struct pollfd ready = {.fd = reader, .events = POLLIN};
	size_t length = 0;

	while (length < sizeof(seen) - 1 && poll(&ready, 1, 0) == 1) {
		ssize_t n = read(reader, seen + length, sizeof(seen) - 1 - length);

		if (n <= 0)
			break;
		length += (size_t)n;
	}
	seen[length] = '\0';
	return seen;
}

START_TEST(a_line_has_level_text_and_fields)
	{
		const struct log_about about = {.operation = "bind",
			.reason = "policy-denies",
			.set = 5,
			.vm = "vm1",
			.device = "0000:3a:00.1",
			.device_id = 6,
			.pasid = 1024,
			.guest = 0,
			.has_guest = true,
			.uid = 1000,
			.has_uid = true,
			.session = 9};

		log_write(LOG_LEVEL_WARNING, &about, "refused %d", 3);
		ck_assert_str_eq(written(),
			"pasidd: warning: refused 3 [operation=bind reason=policy-denies session=9 vm=vm1 "
			"set=5 device=0000:3a:00.1 device_id=6 pasid=1024 guest_pasid=0 uid=1000]\n");
		log_write(LOG_LEVEL_INFO, NULL, "plain");
		ck_assert_str_eq(written(), "pasidd: plain\n");
	}
END_TEST

START_TEST(levels_below_are_left_out)
	{
		ck_assert(log_wanted(LOG_LEVEL_INFO));
		ck_assert(!log_wanted(LOG_LEVEL_DEBUG));
		log_write(LOG_LEVEL_DEBUG, NULL, "hidden");
		ck_assert_str_eq(written(), "");
	}
END_TEST

START_TEST(long_texts_are_cut_and_end_with_a_newline)
	{
		char text[5000];

		memset(text, 'x', sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		const struct log_about about = {.operation = text, .reason = text};

		log_write(LOG_LEVEL_ERROR, &about, "%s", text);
		ck_assert_uint_lt(strlen(written()), 2000);
		ck_assert_int_eq(seen[strlen(seen) - 1], '\n');
	}
END_TEST

START_TEST(what_clients_cause_is_limited)
	{
		const struct log_about about = {.by_client = true};
		size_t lines = 0;

		for (int i = 0; i < LOG_CLIENT_BURST + 20; i++)
			log_write(LOG_LEVEL_INFO, &about, "again");
		for (const char *p = written(); *p != '\0'; p++)
			lines += *p == '\n';
		ck_assert_uint_eq(lines, LOG_CLIENT_BURST);
		log_write(LOG_LEVEL_INFO, NULL, "ours");
		ck_assert_str_eq(written(), "pasidd: ours\n");
	}
END_TEST

static size_t lines_written(void)
{
	size_t lines = 0;

	for (const char *p = written(); *p != '\0'; p++)
		lines += *p == '\n';
	return lines;
}

/* What one user's clients cause costs another's none of theirs, and it is said how much was left
 * out, of whom. */
START_TEST(each_user_has_a_limit_and_a_count)
	{
		struct log_about about = {.by_client = true, .has_uid = true, .uid = 1000};
		const char *text;

		for (int i = 0; i < LOG_CLIENT_BURST + 20; i++)
			log_write(LOG_LEVEL_INFO, &about, "hostile");
		ck_assert_uint_eq(lines_written(), LOG_CLIENT_BURST);
		about.uid = 1001;
		log_write(LOG_LEVEL_INFO, &about, "honest");
		ck_assert_str_eq(written(), "pasidd: honest [uid=1001]\n");
		log_flush();
		ck_assert_str_eq(written(), "");
		later_ms = LOG_CLIENT_MS;
		log_flush();
		text = written();
		ck_assert_str_eq(text,
			"pasidd: warning: 20 lines that clients of user 1000 caused were left out "
			"[operation=log uid=1000]\n");
		log_flush();
		ck_assert_str_eq(written(), "");
		about.uid = 1000;
		log_write(LOG_LEVEL_INFO, &about, "again");
		ck_assert_str_eq(written(), "pasidd: again [uid=1000]\n");
	}
END_TEST

/* Users share a place when there are many; then nobody is named. */
START_TEST(a_count_of_several_users_names_none)
	{
		struct log_about about = {.by_client = true, .has_uid = true, .uid = 1000};

		for (int i = 0; i < LOG_CLIENT_BURST + 2; i++)
			log_write(LOG_LEVEL_INFO, &about, "one");
		about.uid = 1000 + 64 * 3;
		log_write(LOG_LEVEL_INFO, &about, "other");
		(void)written();
		later_ms = 2 * (int64_t)LOG_CLIENT_MS;
		log_write(LOG_LEVEL_INFO, &about, "more");
		ck_assert_str_eq(written(),
			"pasidd: warning: 3 lines that clients caused were left out "
			"[operation=log]\npasidd: more [uid=1192]\n");
	}
END_TEST

START_TEST(a_full_pipe_never_blocks_and_errno_is_kept)
	{
		errno = ENOENT;
		for (int i = 0; i < 3000; i++)
			log_write(LOG_LEVEL_INFO, NULL, "%0200d", i);
		ck_assert_int_eq(errno, ENOENT);
	}
END_TEST

START_TEST(journal_only_when_the_stream_is_ours)
	{
		/* Another file's identity: lines still come here. */
		setenv("JOURNAL_STREAM", "1:2", 1);
		log_open(LOG_LEVEL_INFO);
		log_write(LOG_LEVEL_INFO, NULL, "here");
		ck_assert_str_eq(written(), "pasidd: here\n");
	}
END_TEST

static void has_field(const char *field)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "%s\n", field);
	ck_assert_msg(strstr(journal_fields, line) != NULL, "no %s in:\n%s", field, journal_fields);
}

static void journal_is_ours(void)
{
	struct stat st;
	char stream[64];

	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	(void)snprintf(
		stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open(LOG_LEVEL_INFO);
}

/* Nobody is waited for, and nothing is left out unsaid. */
START_TEST(a_journal_that_does_not_read_loses_lines_and_is_told)
	{
		journal_is_ours();
		journal_full = true;
		for (int i = 0; i < 3; i++)
			log_write(LOG_LEVEL_INFO, NULL, "line %d", i);
		journal_full = false;
		log_write(LOG_LEVEL_INFO, NULL, "reads again");
		has_field("MESSAGE=reads again");
		has_field("MESSAGE=3 lines were lost: the journal did not read");
		ck_assert_ptr_null(strstr(journal_fields, "MESSAGE=line"));
		journal_fields[0] = '\0';
		log_write(LOG_LEVEL_INFO, NULL, "once more");
		ck_assert_ptr_null(strstr(journal_fields, "lost"));
		ck_assert_str_eq(written(), "");
	}
END_TEST

/* Whoever asks for a set of such a name writes no line of ours, and no terminal obeys. */
START_TEST(control_characters_are_not_passed_on)
	{
		const struct log_about about = {.vm = "x\npasidd: \033[31m"};

		log_write(LOG_LEVEL_INFO, &about, "no set 'a\nb\r\t\177\302\233\303\251\302\240'");
		ck_assert_str_eq(written(),
			"pasidd: no set 'a?b?????\303\251\302\240' [vm=x?pasidd: ?[31m]\n");
		journal_is_ours();
		log_write(LOG_LEVEL_INFO, &about, "no set 'a\nPRIORITY=0'");
		has_field("MESSAGE=no set 'a?PRIORITY=0'");
		has_field("PASIDD_VM=x?pasidd: ?[31m");
	}
END_TEST

START_TEST(the_journal_gets_fields_and_an_id)
	{
		const struct log_about about = {.message = LOG_MESSAGE_BOUND,
			.operation = "bind",
			.vm = "vm1",
			.device = "0000:3a:00.1",
			.set = 5,
			.pasid = 1024,
			.guest = 7,
			.has_guest = true,
			.uid = 1000,
			.has_uid = true};

		journal_is_ours();
		log_write(LOG_LEVEL_INFO, &about, "bound");
		has_field("MESSAGE=bound");
		has_field("SYSLOG_IDENTIFIER=pasidd");
		has_field("PRIORITY=6");
		has_field("PASIDD_VM=vm1");
		has_field("PASIDD_SET=5");
		has_field("PASIDD_PASID=1024");
		has_field("PASIDD_GUEST_PASID=7");
		has_field("PASIDD_DEVICE=0000:3a:00.1");
		has_field("PASIDD_OPERATION=bind");
		has_field("PASIDD_UID=1000");
#define M(name, id)                                                                                \
	if (LOG_MESSAGE_##name == LOG_MESSAGE_BOUND)                                               \
		has_field("MESSAGE_ID=" id);
		LOG_MESSAGES(M)
#undef M
		ck_assert_str_eq(written(), "");
		journal_fields[0] = '\0';
		log_write(LOG_LEVEL_INFO, NULL, "plain");
		ck_assert_ptr_null(strstr(journal_fields, "MESSAGE_ID"));
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_line_has_level_text_and_fields);
	tcase_add_test(tc, levels_below_are_left_out);
	tcase_add_test(tc, long_texts_are_cut_and_end_with_a_newline);
	tcase_add_test(tc, what_clients_cause_is_limited);
	tcase_add_test(tc, each_user_has_a_limit_and_a_count);
	tcase_add_test(tc, a_count_of_several_users_names_none);
	tcase_add_test(tc, a_full_pipe_never_blocks_and_errno_is_kept);
	tcase_add_test(tc, journal_only_when_the_stream_is_ours);
	tcase_add_test(tc, a_journal_that_does_not_read_loses_lines_and_is_told);
	tcase_add_test(tc, control_characters_are_not_passed_on);
	tcase_add_test(tc, the_journal_gets_fields_and_an_id);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
