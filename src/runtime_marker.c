/* SPDX-License-Identifier: MIT */
#include "runtime_marker.h"

#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#define MARKER_NAME           "granted"
#define MARKER_NAME_SIMULATED "granted-simulated"
#define MARKER_NAME_NEW       ".new"
#define MARKER_LINE           (SD_ID128_STRING_MAX) /* the newline stands in for the NUL */

/* ---------------------------------------------------------------- directory */

/* ~ as the environment has it, else as the system knows it; NULL: neither. */
static const char *marker_home(void)
{
	const char *home = getenv("HOME");
	const struct passwd *entry;

	if (home != NULL && home[0] == '/')
		return home;
	entry = getpwuid(geteuid());
	return entry != NULL && entry->pw_dir != NULL && entry->pw_dir[0] == '/' ? entry->pw_dir
										 : NULL;
}

/* How long the path is, or would be; -1: there is no place. */
static int marker_default(char *path, size_t size)
{
	const char *made = getenv("STATE_DIRECTORY");
	const char *xdg = getenv("XDG_STATE_HOME");
	const char *home;

	if (made != NULL && made[0] == '/')
		/* With several names the first is ours. */
		return snprintf(path, size, "%.*s", (int)strcspn(made, ":"), made);
	if (geteuid() == 0)
		return snprintf(path, size, "/var/lib/pasidd");
	if (xdg != NULL && xdg[0] == '/')
		return snprintf(path, size, "%s/pasidd", xdg);
	home = marker_home();
	return home != NULL ? snprintf(path, size, "%s/.local/state/pasidd", home) : -1;
}

static int marker_place(const struct runtime_marker_place *place, struct runtime_marker *ret_marker,
	struct runtime_error *ret_error)
{
	char *path = ret_marker->directory;
	const size_t size = sizeof(ret_marker->directory);
	int n;

	ret_marker->name = MARKER_NAME;
	if (place->asked != NULL) {
		n = snprintf(path, size, "%s", place->asked);
		if (place->simulation != NULL)
			ret_marker->name = MARKER_NAME_SIMULATED;
	} else if (place->simulation != NULL) {
		n = snprintf(path, size, "%s", place->simulation);
	} else {
		n = marker_default(path, size);
	}
	if (n < 0)
		return runtime_fail(ret_error, -ENOENT,
			"there is no place for what must outlive the runtime directory: neither "
			"$STATE_DIRECTORY nor a home directory; name one with --state-dir");
	if ((size_t)n >= size || n == 0)
		return runtime_fail(ret_error, -ENAMETOOLONG,
			"%.100s: a state directory's path has 1 to %zu bytes", path, size - 1);
	return 0;
}

/* With what leads to it, as XDG asks for. */
static int marker_make_directory(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(path, 0700); /* whatever is wrong is wrong with the last one, too */
		*slash = '/';
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int marker_open_directory(
	const struct runtime_marker *marker, int *ret_fd, struct runtime_error *ret_error)
{
	const char *path = marker->directory;
	FD_AUTO int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		const int r = -errno;

		return runtime_fail(ret_error, r,
			"%.200s: the state directory cannot be opened: %s; name another with "
			"--state-dir",
			path, strerror(-r));
	}
	if (st.st_uid != geteuid())
		return runtime_fail(ret_error, -EPERM,
			"%.200s belongs to user %u, not to us (%u); name another directory with "
			"--state-dir",
			path, st.st_uid, geteuid());
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return runtime_fail(ret_error, -EPERM,
			"%.200s can be written to by others (mode %04o); chmod go-w it", path,
			st.st_mode & 07777u);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---------------------------------------------------------------- reading */

static int marker_foreign(
	const struct runtime_marker *marker, const char *what, struct runtime_error *ret_error)
{
	return runtime_fail(ret_error, -EPERM,
		"%.200s/%s is %s; find out who put it there, and remove it or name another "
		"directory with --state-dir",
		marker->directory, marker->name, what);
}

static int marker_failed(const struct runtime_marker *marker, int r, const char *what,
	const char *remedy, struct runtime_error *ret_error)
{
	return runtime_fail(ret_error, r, "%.200s/%s cannot be %s: %s; %s", marker->directory,
		marker->name, what, strerror(-r), remedy);
}

static int marker_check_owner(
	const struct runtime_marker *marker, int fd, struct runtime_error *ret_error)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return marker_failed(marker, -errno, "read", "see to the file system", ret_error);
	if (!S_ISREG(st.st_mode))
		return marker_foreign(marker, "no regular file", ret_error);
	if (st.st_uid != geteuid())
		return marker_foreign(marker, "a file of another user", ret_error);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return marker_foreign(marker, "a file that others may write to", ret_error);
	return 0;
}

/*
 * What cannot be understood may once have said this boot. It is taken for that: better an admin is
 * asked once too often than a number granted twice.
 */
static void marker_understand(struct runtime_marker *marker, const char *text, size_t length)
{
	char line[SD_ID128_STRING_MAX] = "";
	sd_id128_t id;

	if (length == MARKER_LINE && text[length - 1] == '\n') {
		memcpy(line, text, length - 1);
		marker->is_sound = sd_id128_from_string(line, &id) >= 0;
	}
	marker->this_boot =
		!marker->is_sound || memcmp(id.bytes, marker->boot_id, sizeof(id.bytes)) == 0;
}

static int marker_read_at(
	int directory, struct runtime_marker *marker, struct runtime_error *ret_error)
{
	FD_AUTO int fd = openat(
		directory, marker->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	char text[MARKER_LINE + 1];
	ssize_t n;
	int r = fd < 0 ? -errno : 0;

	if (r == -ENOENT)
		return 0;
	if (r == -ELOOP)
		return marker_foreign(marker, "a symbolic link", ret_error);
	if (r == -ENXIO)
		return marker_foreign(marker, "no regular file", ret_error);
	if (r == 0)
		r = marker_check_owner(marker, fd, ret_error);
	else
		r = marker_failed(marker, r, "opened", "see to its permissions", ret_error);
	if (r < 0)
		return r;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return marker_failed(marker, -errno, "read", "see to the file system", ret_error);
	marker_understand(marker, text, (size_t)n);
	return 0;
}

int runtime_marker_read(const struct runtime_marker_place *place,
	const uint8_t boot_id[static STATE_BOOT_ID_SIZE], struct runtime_marker *ret_marker,
	struct runtime_error *ret_error)
{
	struct runtime_marker marker = {.this_boot = false};
	FD_AUTO int directory = -1;
	int r;

	_Static_assert(sizeof(sd_id128_t) == STATE_BOOT_ID_SIZE, "an id is an id");
	*ret_marker = marker;
	memcpy(marker.boot_id, boot_id, sizeof(marker.boot_id));
	r = marker_place(place, &marker, ret_error);
	if (r < 0)
		return r;
	r = marker_make_directory(marker.directory);
	if (r < 0)
		return runtime_fail(ret_error, r,
			"%.200s: the state directory cannot be made: %s; name another with "
			"--state-dir",
			marker.directory, strerror(-r));
	r = marker_open_directory(&marker, &directory, ret_error);
	if (r == 0)
		r = marker_read_at(directory, &marker, ret_error);
	if (r == 0)
		*ret_marker = marker;
	return r;
}

/* ---------------------------------------------------------------- writing */

static int marker_write_line(int fd, const uint8_t *boot_id)
{
	char line[MARKER_LINE];
	sd_id128_t id;
	ssize_t n;

	memcpy(id.bytes, boot_id, sizeof(id.bytes));
	(void)sd_id128_to_string(id, line);
	line[MARKER_LINE - 1] = '\n';
	n = write(fd, line, sizeof(line));
	if (n != sizeof(line))
		return n < 0 ? -errno : -ENOSPC;
	/* A name for what is not on the disk yet would be an empty file after a power cut. */
	return fsync(fd) < 0 ? -errno : 0;
}

static int marker_replace(int directory, const char *name, const uint8_t *boot_id)
{
	FD_AUTO int fd = -1;
	char other[sizeof(MARKER_NAME_SIMULATED MARKER_NAME_NEW)];
	int r;

	(void)snprintf(other, sizeof(other), "%s" MARKER_NAME_NEW, name);
	/* One that a killed daemon left, or that somebody put there. */
	(void)unlinkat(directory, other, 0);
	fd = openat(directory, other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = fd < 0 ? -errno : marker_write_line(fd, boot_id);
	if (r == 0 && renameat(directory, other, directory, name) < 0)
		r = -errno;
	if (r < 0 && fd >= 0)
		(void)unlinkat(directory, other, 0);
	if (r == 0)
		(void)fsync(directory); /* another boot has another id: nothing hangs on it */
	return r;
}

int runtime_marker_write(const struct runtime_marker *marker, struct runtime_error *ret_error)
{
	FD_AUTO int directory = -1;
	int r;

	if (marker->directory[0] == '\0' || (marker->this_boot && marker->is_sound))
		return 0;
	r = marker_open_directory(marker, &directory, ret_error);
	if (r < 0)
		return r;
	r = marker_replace(directory, marker->name, marker->boot_id);
	if (r == 0)
		return 0;
	return marker_failed(marker, r, "written",
		"without it nobody would notice that records are missing; make room or let us "
		"write there, or name another directory with --state-dir",
		ret_error);
}
