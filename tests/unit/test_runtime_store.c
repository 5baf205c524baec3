/* SPDX-License-Identifier: MIT */
/* What systemd passes and keeps, with a socket in its place; and records that cannot be taken up.
 */
#include "fixture.h"
#include "runtime_state.h"
#include "runtime_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------------------ what is passed */

enum kind { LISTENING, LANE, FILE_OF_SOME_KIND, FOR_ADMINS, FOR_EVERYBODY };

/* What a process that was started with descriptors found. */
struct found {
	int status, listen_fd, admin_fd;
	size_t lane_count;
	struct runtime_lane lanes[4];
	bool non_blocking;
	struct runtime_error error;
};

static char admin_path[64]; /* of a socket; an address without a path: the kernel's choice */

static int make_fd(enum kind kind)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(address.sun_family);
	int pair[2], fd;

	if (kind == FILE_OF_SOME_KIND)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (kind == LANE)
		return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) ? -1 : pair[0];
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (kind != LISTENING) {
		(void)strcpy(address.sun_path, admin_path);
		(void)unlink(admin_path);
		size = sizeof(address);
	}
	if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 1) ||
		(kind != LISTENING && chmod(admin_path, kind == FOR_ADMINS ? 0660 : 0662)))
		return -1;
	return fd;
}

static void start_with(struct found *found, const char *names, const enum kind *kinds, int count)
{
	struct runtime_passed passed = {.listen_fd = -2};
	char text[16];

	for (int i = 0; i < count; i++) {
		int fd = fcntl(make_fd(kinds[i]), F_DUPFD, 100);

		if (fd < 0 || dup2(fd, 3 + i) < 0)
			_exit(1);
	}
	(void)snprintf(text, sizeof(text), "%d", getpid());
	(void)setenv("LISTEN_PID", text, 1);
	(void)snprintf(text, sizeof(text), "%d", count);
	(void)setenv("LISTEN_FDS", text, 1);
	(void)setenv("LISTEN_FDNAMES", names, 1);
	found->status = runtime_passed(&passed, &found->error);
	if (found->status)
		_exit(0);
	found->listen_fd = passed.listen_fd;
	found->admin_fd = passed.admin_fd;
	found->non_blocking =
		passed.listen_fd >= 0 && fcntl(passed.listen_fd, F_GETFL) & O_NONBLOCK;
	found->lane_count = passed.lane_count;
	for (size_t i = 0; i < passed.lane_count; i++)
		found->lanes[i] = passed.lanes[i];
	runtime_passed_done(&passed);
	for (size_t i = 0; i < found->lane_count; i++) {
		if (fcntl(found->lanes[i].fd, F_GETFD) != -1)
			_exit(1); /* left open */
	}
	_exit(0);
}

static struct found pass(const char *names, const enum kind *kinds, int count)
{
	struct found *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct found found;
	int status;
	pid_t pid;

	ck_assert(shared != MAP_FAILED);
	(void)snprintf(admin_path, sizeof(admin_path), "/tmp/test_store_admin.%d", getpid());
	pid = fork();
	if (pid == 0)
		start_with(shared, names, kinds, count);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	(void)unlink(admin_path);
	found = *shared;
	ck_assert_int_eq(munmap(shared, sizeof(*shared)), 0);
	return found;
}

START_TEST(nothing_is_passed_to_who_was_started_by_hand)
	{
		struct runtime_passed passed;
		struct runtime_error error;

		(void)unsetenv("LISTEN_FDS");
		ck_assert_int_eq(runtime_passed(&passed, &error), 0);
		ck_assert_int_eq(passed.listen_fd, -1);
		ck_assert_uint_eq(passed.lane_count, 0);
		runtime_passed_done(&passed);
	}
END_TEST

START_TEST(a_listening_socket_is_taken)
	{
		const enum kind kinds[] = {LISTENING};
		struct found found = pass("pasidd.socket", kinds, 1);

		ck_assert_int_eq(found.status, 0);
		ck_assert_int_eq(found.listen_fd, 3);
		ck_assert(found.non_blocking);
		ck_assert_uint_eq(found.lane_count, 0);
	}
END_TEST

START_TEST(the_socket_for_admins_is_told_by_its_name)
	{
		const enum kind kinds[] = {FOR_ADMINS, LISTENING};
		struct found found = pass("admin:pasidd.socket", kinds, 2);

		ck_assert_int_eq(found.status, 0);
		ck_assert_int_eq(found.admin_fd, 3);
		ck_assert_int_eq(found.listen_fd, 4);
		found = pass("admin", kinds, 1);
		ck_assert_int_eq(found.admin_fd, 3);
		ck_assert_int_eq(found.listen_fd, -1);
		found = pass("admin:admin", kinds, 2);
		ck_assert_int_eq(found.status, -EINVAL);
		ck_assert_ptr_nonnull(strstr(found.error.text, "'admin'"));
	}
END_TEST

START_TEST(a_socket_that_everybody_can_open_is_none_for_admins)
	{
		static const enum kind everybody[] = {FOR_EVERYBODY}, nameless[] = {LISTENING};
		struct found found = pass("admin", everybody, 1);

		ck_assert_int_eq(found.status, -EPERM);
		ck_assert_ptr_nonnull(strstr(found.error.text, "test_store_admin"));
		ck_assert_ptr_nonnull(strstr(found.error.text, "mode 0662"));
		ck_assert_ptr_nonnull(strstr(found.error.text, "SocketMode=0600"));
		found = pass("admin", nameless, 1);
		ck_assert_int_eq(found.status, -EPERM);
		ck_assert_ptr_nonnull(strstr(found.error.text, "no path"));
		found = pass("another", everybody, 1);
		ck_assert_int_eq(found.status, 0);
	}
END_TEST

START_TEST(lanes_are_told_by_their_names)
	{
		const enum kind kinds[] = {LANE, LISTENING, LANE};
		struct found found =
			pass("lane-8000000003000001-4711:pasidd.socket:lane-0000000001000001-1",
				kinds, 3);

		ck_assert_int_eq(found.status, 0);
		ck_assert_int_eq(found.listen_fd, 4);
		ck_assert_uint_eq(found.lane_count, 2);
		ck_assert_uint_eq(found.lanes[0].lane, UINT64_C(0x8000000003000001));
		ck_assert_int_eq(found.lanes[0].pid, 4711);
		ck_assert_int_eq(found.lanes[0].fd, 3);
		ck_assert_uint_eq(found.lanes[1].lane, 0x1000001);
		ck_assert_int_eq(found.lanes[1].pid, 1);
		ck_assert_int_eq(found.lanes[1].fd, 5);
	}
END_TEST

START_TEST(lanes_alone_are_no_listening_socket)
	{
		const enum kind kinds[] = {LANE};
		struct found found = pass("lane-0000000001000001-1", kinds, 1);

		ck_assert_int_eq(found.status, 0);
		ck_assert_int_eq(found.listen_fd, -1);
		ck_assert_uint_eq(found.lane_count, 1);
	}
END_TEST

START_TEST(what_was_not_expected_is_refused_by_its_name)
	{
		static const struct {
			const char *names, *told;
			enum kind kinds[2];
		} cases[] = {
			{"garbage", "'garbage'", {FILE_OF_SOME_KIND}},
			{"lane-1-2x", "'lane-1-2x'", {LANE}},
			{"lane-0000000001000001-0", "'lane-0000000001000001-0'", {LANE}},
			{"lane-0000000001000001--5", "'lane-0000000001000001--5'", {LANE}},
			{"lane-0000000001000001-5", "'lane-0000000001000001-5'",
				{FILE_OF_SOME_KIND}},
			{"one:two", "'two'", {LISTENING, LISTENING}},
		};
		int count = strchr(cases[_i].names, ':') ? 2 : 1;
		struct found found = pass(cases[_i].names, cases[_i].kinds, count);

		ck_assert_int_eq(found.status, -EINVAL);
		ck_assert_msg(
			strstr(found.error.text, cases[_i].told) != NULL, "%s", found.error.text);
		ck_assert_ptr_nonnull(strstr(found.error.text, "one listening Unix socket"));
	}
END_TEST

/* ------------------------------------------------------------------ what is kept */

static char folder[64];
static int systemd = -1; /* its end */

/* A socket as systemd has it; abstract with '@'. */
static void notify_open(bool abstract)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int n = snprintf(address.sun_path, sizeof(address.sun_path),
		abstract ? "@pasidd-test-%d" : "/tmp/test_store.%d", getpid());

	ck_assert_int_eq(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
	if (abstract)
		address.sun_path[0] = '\0';
	else
		(void)unlink(address.sun_path);
	systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(bind(systemd, (struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n)),
		0);
}

static void notify_close(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (path[0] == '/')
		ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(close(systemd), 0);
}

/* One message with its descriptor, or -1; false: there is none. */
static bool notify_read(char text[static 128], int *ret_fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {text, 127};
	struct msghdr header = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(systemd, &header, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return false;
	text[n] = '\0';
	*ret_fd = -1;
	if (CMSG_FIRSTHDR(&header))
		memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(*ret_fd));
	return true;
}

START_TEST(lanes_are_stored_and_dropped_under_their_names)
	{
		struct runtime_store *store;
		struct stat ours, theirs;
		char text[128];
		int pair[2], fd;

		notify_open(_i);
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
		ck_assert_int_eq(runtime_store_new(&store), 0);
		runtime_store_lane(store, UINT64_C(0x8000000003000001), 4711, pair[0], true);
		runtime_store_lane(store, UINT64_C(0x8000000003000001), 4711, -1, false);
		ck_assert(notify_read(text, &fd));
		ck_assert_str_eq(text, "FDSTORE=1\nFDPOLL=0\nFDNAME=lane-8000000003000001-4711");
		ck_assert_int_eq(fstat(fd, &theirs), 0);
		ck_assert_int_eq(fstat(pair[0], &ours), 0);
		ck_assert_uint_eq(ours.st_ino, theirs.st_ino);
		ck_assert_int_eq(close(fd), 0);
		ck_assert(notify_read(text, &fd));
		ck_assert_str_eq(text, "FDSTOREREMOVE=1\nFDNAME=lane-8000000003000001-4711");
		ck_assert_int_eq(fd, -1);
		ck_assert(!notify_read(text, &fd));
		runtime_store_free(store);
		notify_close();
	}
END_TEST

START_TEST(what_systemd_has_no_time_for_is_said_later_and_in_order)
	{
		const uint64_t count = 3000;
		struct runtime_store *store;
		uint64_t next = 0;
		char text[128];
		static const char start[] = "FDSTOREREMOVE=1\nFDNAME=lane-";
		int fd;

		notify_open(false);
		ck_assert_int_eq(runtime_store_new(&store), 0);
		for (uint64_t i = 0; i < count; i++)
			runtime_store_lane(store, i, 1, -1, false);
		while (next < count) {
			unsigned read = 0;

			while (notify_read(text, &fd)) {
				ck_assert_int_eq(strncmp(text, start, strlen(start)), 0);
				ck_assert_uint_eq(strtoul(text + strlen(start), NULL, 16), next++);
				read++;
			}
			ck_assert_uint_gt(read, 0);
			if (next < count)
				runtime_store_flush(store);
		}
		runtime_store_free(store);
		notify_close();
	}
END_TEST

START_TEST(without_systemd_nothing_is_kept)
	{
		static const char *const paths[] = {
			NULL, "", "/", "relative", "@", "/nonexistent/socket"};
		struct runtime_store *store;

		if (paths[_i])
			ck_assert_int_eq(setenv("NOTIFY_SOCKET", paths[_i], 1), 0);
		else
			ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
		ck_assert_int_eq(runtime_store_new(&store), 0);
		runtime_store_lane(store, 1, 1, 0, true);
		runtime_store_lane(store, 1, 1, -1, false);
		runtime_store_flush(store);
		runtime_store_free(store);
		runtime_store_free(NULL);
	}
END_TEST

/* ------------------------------------------------------------------ records */

START_TEST(a_record_that_cannot_be_is_named)
	{
		static struct fixture f;
		struct grant_slot *grants;
		struct error error;
		struct actor a;

		fixture_config(&f);
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		(void)fixture_allocate(&f, &a);
		fixture_settle(&f);
		grants = f.state.table[STATE_GRANTS];
		grants[0].set = 77;
		ck_assert_int_eq(runtime_state_recover(f.memory, false, f.broker,
					 fixture_none_stands, NULL, &error),
			STATUS_INTERNAL);
		ck_assert_ptr_nonnull(strstr(error.text, "grant"));
		ck_assert_ptr_nonnull(strstr(error.text, "pasidctl fsck explains"));
		grants[0].set = 0;
		fixture_close(&f);
	}
END_TEST

START_TEST(a_file_that_is_none_is_refused_and_left)
	{
		struct state_file *state = NULL;
		struct state_note note = {.text = ""};
		char path[128];
		FILE *file;

		(void)snprintf(folder, sizeof(folder), "/tmp/test_store.XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(folder));
		ck_assert_int_eq(runtime_state_open(folder, true, &state, &note), 0);
		state_file_free(state);
		(void)snprintf(path, sizeof(path), "%s/state-simulated", folder);
		ck_assert_int_eq(access(path, F_OK), 0);
		file = fopen(path, "re+");
		ck_assert_ptr_nonnull(file);
		ck_assert_int_ge(fputs("this is no state", file), 0);
		ck_assert_int_eq(fclose(file), 0);
		ck_assert_int_lt(runtime_state_open(folder, true, &state, &note), 0);
		ck_assert_str_ne(note.text, "");
		/* those of the real kernel are others */
		ck_assert_int_eq(runtime_state_open(folder, false, &state, &note), 0);
		state_file_free(state);
		ck_assert_int_eq(unlink(path), 0);
		(void)snprintf(path, sizeof(path), "%s/state", folder);
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(rmdir(folder), 0);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("what systemd keeps");
	TCase *tc = tcase_create("store");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, nothing_is_passed_to_who_was_started_by_hand);
	tcase_add_test(tc, a_listening_socket_is_taken);
	tcase_add_test(tc, the_socket_for_admins_is_told_by_its_name);
	tcase_add_test(tc, a_socket_that_everybody_can_open_is_none_for_admins);
	tcase_add_test(tc, lanes_are_told_by_their_names);
	tcase_add_test(tc, lanes_alone_are_no_listening_socket);
	tcase_add_loop_test(tc, what_was_not_expected_is_refused_by_its_name, 0, 6);
	tcase_add_loop_test(tc, lanes_are_stored_and_dropped_under_their_names, 0, 2);
	tcase_add_test(tc, what_systemd_has_no_time_for_is_said_later_and_in_order);
	tcase_add_loop_test(tc, without_systemd_nothing_is_kept, 0, 6);
	tcase_add_test(tc, a_record_that_cannot_be_is_named);
	tcase_add_test(tc, a_file_that_is_none_is_refused_and_left);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
