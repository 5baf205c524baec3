/* SPDX-License-Identifier: MIT */
/*
 * What is refused to a daemon and to a worker: each test tries it in a child that is confined as
 * they are, with the same functions.
 */
#include "hw/confine.h"

#include "fd.h"
#include "hw/uapi.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum who { WORKER, SIMULATED_WORKER, DAEMON };

static char dir[] = "/tmp/pasidd-confine-XXXXXX";
static char file[64], other[] = "/tmp/pasidd-confine-other-XXXXXX";
static int device; /* answers ENOTTY to any request */

/* --- what is tried: 0 or the errno --- */

static int outcome(long r)
{
	return r < 0 ? errno : 0;
}

static int try_request(unsigned long request)
{
	uint32_t argument[16] = {0};

	return outcome(ioctl(device, request, argument));
}

static int try_open(const char *path, int flags)
{
	const int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd < 0 ? errno : outcome(close(fd));
}

static int try_socket(int family)
{
	const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? errno : outcome(close(fd));
}

static int try_program(void)
{
	(void)execl("/bin/true", "true", (char *)NULL);
	return errno;
}

static int try_clone(unsigned long flags)
{
	const long pid = syscall(SYS_clone, flags, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		(void)waitpid((pid_t)pid, NULL, 0);
	return outcome(pid);
}

/* --- in a child --- */

static void become(enum who who)
{
	const char *const folders[CONFINE_FOLDERS_MAX] = {dir};
	struct confinement result;

	if (who == DAEMON)
		confine_daemon(folders, NULL, &result);
	else
		confine_worker(who == SIMULATED_WORKER, &result);
	if (result.calls < 0)
		_exit(99);
}

static int exit_of(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	ck_assert_int_eq(WTERMSIG(status), SIGSYS);
	return 98;
}

/* Ends with what the attempt said; 98: by SIGSYS. */
#define IN(who, attempt)                                                                           \
	({                                                                                         \
		int status;                                                                        \
		const pid_t pid = fork();                                                          \
                                                                                                   \
		if (pid == 0) {                                                                    \
			become(who);                                                               \
			_exit(attempt);                                                            \
		}                                                                                  \
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);                                   \
		exit_of(status);                                                                   \
	})

static bool has_landlock(void)
{
	int status;
	const pid_t pid = fork();

	if (pid == 0)
		_exit(confine_worker_files() > 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 0)
		(void)printf("SKIP: Landlock: this kernel or build has none\n");
	return WEXITSTATUS(status);
}

static void setup(void)
{
	int fd;

	(void)unsetenv("PASIDD_REFUSED_CALL");
	(void)strcpy(dir + strlen(dir) - 6, "XXXXXX");
	(void)strcpy(other + strlen(other) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	fd = mkstemp(other);
	ck_assert_int_ge(fd, 0);
	(void)close(fd);
	(void)snprintf(file, sizeof(file), "%s/file", dir);
	device = open("/dev/null", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(device, 0);
}

static void teardown(void)
{
	(void)close(device);
	(void)unlink(file);
	(void)unlink(other);
	(void)rmdir(dir);
}

/* --- calls --- */

START_TEST(worker_makes_the_requests_of_iommufd_and_vfio_and_no_other)
	{
		const unsigned long others[] = {
			UAPI_IOAS_MAP, TIOCGWINSZ, FIONBIO, 0x3b65, 0x13b77, 0};

		for (int who = WORKER; who <= SIMULATED_WORKER; who++) {
			ck_assert_int_eq(
				IN((enum who)who, try_request(UAPI_DEVICE_ATTACH)), ENOTTY);
			ck_assert_int_eq(IN((enum who)who, try_request(UAPI_HWPT_ALLOC)), ENOTTY);
			for (size_t i = 0; i < ARRAY_SIZE(others); i++)
				ck_assert_int_eq(IN((enum who)who, try_request(others[i])), EPERM);
		}
	}
END_TEST

START_TEST(daemon_makes_no_request_at_all)
	{
		ck_assert_int_eq(IN(DAEMON, try_request(UAPI_DEVICE_ATTACH)), EPERM);
		ck_assert_int_eq(IN(DAEMON, try_request(UAPI_IOAS_ALLOC)), EPERM);
		ck_assert_int_eq(IN(DAEMON, try_request(TIOCGWINSZ)), EPERM);
	}
END_TEST

START_TEST(only_the_daemon_has_sockets_and_only_unix_ones)
	{
		ck_assert_int_eq(IN(DAEMON, try_socket(AF_UNIX)), 0);
		ck_assert_int_eq(IN(DAEMON, try_socket(AF_INET)), EPERM);
		ck_assert_int_eq(IN(DAEMON, try_socket(AF_NETLINK)), EPERM);
		ck_assert_int_eq(IN(WORKER, try_socket(AF_UNIX)), EPERM);
		ck_assert_int_eq(IN(SIMULATED_WORKER, try_socket(AF_INET)), EPERM);
	}
END_TEST

START_TEST(nobody_becomes_another_program)
	{
		ck_assert_int_eq(IN(DAEMON, try_program()), EPERM);
		ck_assert_int_eq(IN(WORKER, try_program()), EPERM);
		ck_assert_int_eq(IN(SIMULATED_WORKER, try_program()), EPERM);
	}
END_TEST

START_TEST(daemon_starts_who_closes_for_it_and_leaves_its_table)
	{
		ck_assert_int_eq(IN(DAEMON, try_clone(CLONE_FILES | SIGCHLD)), 0);
		ck_assert_int_eq(IN(DAEMON, outcome(unshare(CLONE_FILES))), 0);
		ck_assert_int_eq(IN(DAEMON, outcome(unshare(CLONE_NEWUSER))), EPERM);
		ck_assert_int_eq(IN(WORKER, outcome(unshare(CLONE_FILES))), EPERM);
	}
END_TEST

START_TEST(nobody_looks_into_others_or_mounts)
	{
		for (int who = WORKER; who <= DAEMON; who++) {
			ck_assert_int_eq(IN((enum who)who, outcome(syscall(SYS_process_vm_writev, 1,
								   NULL, 0, NULL, 0, 0))),
				EPERM);
			ck_assert_int_eq(IN((enum who)who, outcome(syscall(SYS_mount, NULL, "/",
								   NULL, 0, NULL))),
				EPERM);
			ck_assert_int_eq(
				IN((enum who)who, outcome(syscall(SYS_bpf, 0, NULL, 0))), EPERM);
			ck_assert_int_eq(IN((enum who)who, outcome(syscall(SYS_setuid, 0))), EPERM);
		}
	}
END_TEST

START_TEST(refused_call_kills_where_tests_ask_for_it)
	{
		(void)setenv("PASIDD_REFUSED_CALL", "kill", 1);
		ck_assert_int_eq(IN(DAEMON, try_request(UAPI_DEVICE_ATTACH)), 98);
		ck_assert_int_eq(IN(WORKER, try_program()), 98);
		ck_assert_int_eq(IN(WORKER, try_request(UAPI_DEVICE_ATTACH)), ENOTTY);
		(void)setenv("PASIDD_REFUSED_CALL", "allow", 1); /* means nothing */
		ck_assert_int_eq(IN(WORKER, try_program()), EPERM);
	}
END_TEST

/* --- files --- */

START_TEST(worker_opens_no_file_but_those_of_devices_and_sysfs)
	{
		if (!has_landlock())
			return;
		ck_assert_int_eq(IN(WORKER, try_open("/etc/passwd", O_RDONLY)), EACCES);
		ck_assert_int_eq(IN(WORKER, try_open(other, O_RDWR)), EACCES);
		ck_assert_int_eq(IN(WORKER, try_open(file, O_RDWR | O_CREAT)), EACCES);
		ck_assert_int_eq(IN(WORKER, try_open("/sys", O_RDONLY | O_DIRECTORY)), 0);
		ck_assert_int_eq(IN(WORKER, try_open("/sys/kernel/mm/transparent_hugepage/enabled",
						    O_WRONLY)),
			access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) ? ENOENT
										    : EACCES);
		/* The simulated kernel is in the worker, and needs what a kernel needs. */
		ck_assert_int_eq(IN(SIMULATED_WORKER, try_open(other, O_RDWR)), 0);
	}
END_TEST

START_TEST(daemon_writes_in_its_folders_only)
	{
		if (!has_landlock())
			return;
		ck_assert_int_eq(IN(DAEMON, try_open(file, O_RDWR | O_CREAT)), 0);
		ck_assert_int_eq(IN(DAEMON, try_open(file, O_WRONLY | O_TRUNC)), 0);
		ck_assert_int_eq(IN(DAEMON, outcome(unlink(file))), 0);
		ck_assert_int_eq(IN(DAEMON, try_open(other, O_RDWR)), EACCES);
		ck_assert_int_eq(IN(DAEMON, try_open(other, O_RDONLY)), EACCES);
		ck_assert_int_eq(IN(DAEMON, outcome(unlink(other))), EACCES);
		ck_assert_int_eq(IN(DAEMON, try_open("/etc/passwd", O_RDONLY)), 0);
		ck_assert_int_eq(IN(DAEMON, try_open("/etc/passwd", O_RDWR)), EACCES);
		ck_assert_int_eq(IN(DAEMON, try_open("/proc/self/status", O_RDONLY)), 0);
		ck_assert_int_eq(IN(DAEMON, try_open("/dev/null", O_RDWR)), 0);
		ck_assert_int_eq(IN(DAEMON, try_open("/dev/zero", O_RDONLY)), EACCES);
	}
END_TEST

START_TEST(settings_are_read_where_they_are)
	{
		const char *const folders[CONFINE_FOLDERS_MAX] = {dir};
		struct confinement result;
		int status;
		const pid_t pid = fork();

		if (pid == 0) {
			confine_daemon(folders, "/tmp", &result);
			_exit(try_open(other, O_RDONLY));
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	}
END_TEST

/* Memory that was passed on is opened anew for reading (export_memory.c). */
START_TEST(daemon_opens_its_own_memory)
	{
		const int fd = memfd_create("confine", MFD_CLOEXEC);
		char path[64];

		ck_assert_int_ge(fd, 0);
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ck_assert_int_eq(IN(DAEMON, try_open(path, O_RDONLY)), 0);
		(void)close(fd);
	}
END_TEST

START_TEST(it_is_said_what_came_of_it)
	{
		const char *const folders[CONFINE_FOLDERS_MAX] = {dir};
		struct confinement result;
		int status;
		const pid_t pid = fork();

		if (pid == 0) {
			confine_daemon(folders, NULL, &result);
			_exit(strncmp(result.text, "system calls are filtered, files are ", 37));
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		worker_makes_the_requests_of_iommufd_and_vfio_and_no_other,
		daemon_makes_no_request_at_all,
		only_the_daemon_has_sockets_and_only_unix_ones,
		nobody_becomes_another_program,
		daemon_starts_who_closes_for_it_and_leaves_its_table,
		nobody_looks_into_others_or_mounts,
		refused_call_kills_where_tests_ask_for_it,
		worker_opens_no_file_but_those_of_devices_and_sysfs,
		daemon_writes_in_its_folders_only,
		settings_are_read_where_they_are,
		daemon_opens_its_own_memory,
		it_is_said_what_came_of_it,
	};

	return suite_run(
		"confine", "all", tests, sizeof(tests) / sizeof(tests[0]), setup, teardown);
}
