/* SPDX-License-Identifier: MIT */
#include "runtime.h"

#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Descriptors that are not for connections: ours, and those of workers and clients on their way. */
#define RUNTIME_SPARE_FDS ((rlim_t)512)

int runtime_fail(struct runtime_error *ret_error, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
	va_end(args);
	return r;
}

/* ---------------------------------------------------------------- directory */

static void runtime_default(char *path, size_t size)
{
	const char *made = getenv("RUNTIME_DIRECTORY");
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (made != NULL && made[0] == '/')
		/* With several names the first is ours. */
		(void)snprintf(path, size, "%.*s", (int)strcspn(made, ":"), made);
	else if (geteuid() == 0)
		(void)snprintf(path, size, "/run/pasidd");
	else if (xdg != NULL && xdg[0] == '/')
		(void)snprintf(path, size, "%s/pasidd", xdg);
	else
		(void)snprintf(path, size, "/tmp/pasidd-%u", geteuid());
}

static int runtime_check_directory(const char *path, struct runtime_error *ret_error)
{
	FD_AUTO int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		const int r = -errno;

		return runtime_fail(ret_error, r, "%s: %s", path, strerror(-r));
	}
	if (st.st_uid != geteuid())
		return runtime_fail(ret_error, -EPERM,
			"%s belongs to user %u, not to us (%u); choose another with --runtime-dir",
			path, st.st_uid, geteuid());
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return runtime_fail(ret_error, -EPERM,
			"%s can be written to by others (mode %04o); chmod go-w it", path,
			st.st_mode & 07777u);
	return 0;
}

int runtime_directory(
	const char *asked, char ret_path[static RUNTIME_PATH_MAX], struct runtime_error *ret_error)
{
	char path[4096];
	int r;

	if (asked != NULL)
		(void)snprintf(path, sizeof(path), "%s", asked);
	else
		runtime_default(path, sizeof(path));
	/* The name of a socket must fit behind it. */
	if (strlen(path) + sizeof("/" RUNTIME_SOCKET) > RUNTIME_PATH_MAX)
		return runtime_fail(ret_error, -ENAMETOOLONG,
			"%.100s...: a runtime directory's path has at most %zu bytes", path,
			RUNTIME_PATH_MAX - sizeof("/" RUNTIME_SOCKET));
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		r = -errno;
		return runtime_fail(ret_error, r, "%s: cannot be made: %s", path, strerror(-r));
	}
	r = runtime_check_directory(path, ret_error);
	if (r == 0)
		memcpy(ret_path, path, strlen(path) + 1);
	return r;
}

/* ---------------------------------------------------------------- lock */

/* What the owner of the lock wrote about itself, in one line. */
static void runtime_owner(int fd, char *ret_text, size_t size)
{
	const ssize_t n = pread(fd, ret_text, size - 1, 0);

	ret_text[n > 0 ? n : 0] = '\0';
	ret_text[strcspn(ret_text, "\n")] = '\0';
}

/*
 * Its owner has died; so another process, which had a share in its descriptors, gives the lock up
 * in a moment (hw/executor_closer.c). Numbers of another name space are never gone.
 */
static bool runtime_is_orphaned(const char *owner)
{
	static const char begin[] = "process ";
	long pid;

	if (strncmp(owner, begin, strlen(begin)) != 0)
		return false;
	pid = strtol(owner + strlen(begin), NULL, 10);
	return pid > 0 && pid <= INT32_MAX && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

bool runtime_wait(unsigned *spent_ms, unsigned most_ms)
{
	const struct timespec moment = {.tv_nsec = 10000000};

	if (*spent_ms >= most_ms)
		return false;
	*spent_ms += 10;
	(void)nanosleep(&moment, NULL);
	return true;
}

/* 0, -EWOULDBLOCK with what the owner wrote, or -errno. */
static int runtime_flock(int fd, char *ret_owner, size_t size)
{
	unsigned spent = 0;
	int r;

	do {
		r = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
		if (r == -EWOULDBLOCK)
			runtime_owner(fd, ret_owner, size);
	} while (r == -EWOULDBLOCK && runtime_is_orphaned(ret_owner) &&
		 runtime_wait(&spent, RUNTIME_ORPHAN_MS));
	return r;
}

/* The file has this text and nothing else; one that is cut short had no room. */
static int runtime_write(int fd, const char *text, size_t length)
{
	ssize_t n = ftruncate(fd, 0);

	if (n == 0)
		n = write(fd, text, length);
	if (n < 0)
		return -errno;
	return (size_t)n == length ? 0 : -ENOSPC;
}

int runtime_lock(const char *directory, const char *socket_path, int *ret_fd,
	struct runtime_error *ret_error)
{
	FD_AUTO int fd = -1;
	char path[RUNTIME_PATH_MAX + sizeof("/lock")], text[256];
	int length, r;

	(void)snprintf(path, sizeof(path), "%s/lock", directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		r = -errno;
		return runtime_fail(ret_error, r, "%s: %s", path, strerror(-r));
	}
	r = runtime_flock(fd, text, sizeof(text));
	if (r == -EWOULDBLOCK)
		return runtime_fail(ret_error, -EBUSY,
			"another pasidd is running here: %.200s; one host has one owner of its "
			"PASIDs",
			text);
	if (r < 0)
		return runtime_fail(ret_error, r, "%s: %s", path, strerror(-r));
	length = snprintf(text, sizeof(text), "process %d, socket %s\n", getpid(), socket_path);
	r = runtime_write(fd, text, (size_t)length);
	if (r)
		return runtime_fail(ret_error, r, "%s: cannot be written: %s%s", path, strerror(-r),
			r == -ENOSPC ? "; make room for one page in the file system" : "");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---------------------------------------------------------------- socket */

static int runtime_address(
	const char *path, struct sockaddr_un *ret_address, struct runtime_error *ret_error)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return runtime_fail(ret_error, -ENAMETOOLONG,
			"%.100s...: a socket's path has at most %zu bytes", path,
			sizeof(ret_address->sun_path) - 1);
	memcpy(ret_address->sun_path, path, strlen(path) + 1);
	return 0;
}

/* Removes a socket that nobody listens on; anything else stays, and is an error. */
static int runtime_clear(
	const char *path, const struct sockaddr_un *address, struct runtime_error *ret_error)
{
	FD_AUTO int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return runtime_fail(ret_error, -EADDRINUSE, "%s is there and is no socket", path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
		errno != ECONNREFUSED)
		return runtime_fail(ret_error, -EADDRINUSE,
			"%s is in use by another program; choose another with --socket", path);
	return unlink(path) < 0 ? -errno : 0;
}

/* The permissions are right before anybody can connect: that takes listen(). */
static int runtime_bind(
	int fd, const struct sockaddr_un *address, const struct config_socket *config)
{
	const mode_t before = umask(0177);
	const int r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;

	(void)umask(before);
	if (r < 0)
		return r;
	if (config->has_group && chown(address->sun_path, (uid_t)-1, config->group) < 0)
		return -errno;
	if (chmod(address->sun_path, config->mode) < 0)
		return -errno;
	return listen(fd, SOMAXCONN) < 0 ? -errno : 0;
}

int runtime_listen(const char *path, const struct config_socket *config, int *ret_fd,
	struct runtime_error *ret_error)
{
	FD_AUTO int fd = -1;
	struct sockaddr_un address;
	int r = runtime_address(path, &address, ret_error);

	if (r < 0)
		return r;
	(void)runtime_fail(ret_error, 0, "%s", "");
	r = runtime_clear(path, &address, ret_error);
	if (r == 0) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		r = fd < 0 ? -errno : runtime_bind(fd, &address, config);
	}
	if (r < 0 && ret_error->text[0] == '\0')
		return runtime_fail(ret_error, r, "%s: %s", path, strerror(-r));
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool runtime_descriptors(uint32_t *connections)
{
	struct rlimit limit;
	rlim_t room;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return false;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	room = limit.rlim_cur > 2 * RUNTIME_SPARE_FDS ? (limit.rlim_cur - RUNTIME_SPARE_FDS) / 3
						      : limit.rlim_cur / 4;
	if (room >= *connections)
		return false;
	*connections = (uint32_t)room;
	return true;
}

uint32_t runtime_descriptors_left(uint32_t connections)
{
	const rlim_t used = RUNTIME_SPARE_FDS + 2 * (rlim_t)connections;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= used)
		return 0;
	return limit.rlim_cur - used < UINT32_MAX ? (uint32_t)(limit.rlim_cur - used) : UINT32_MAX;
}
