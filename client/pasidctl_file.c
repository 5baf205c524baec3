/* SPDX-License-Identifier: MIT */
#include "pasidctl_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int file_write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/*
 * Beside the file, with a name that none who reads "*.prom" takes, and always the same: what a
 * killed writer leaves is the next one's, and does not pile up.
 */
static char *file_beside(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	char *beside;
	if (asprintf(&beside, "%.*s.%s.new", (int)(name - path), path, name) < 0)
		return NULL;
	return beside;
}

/* 1: ours alone, 0: whoever had it has put it in its place meanwhile, or a negative errno. */
static int file_lock(int fd, const char *beside)
{
	struct stat opened, named;
	int r;
	if (fstat(fd, &opened) < 0)
		return -errno;
	if (!S_ISREG(opened.st_mode) || opened.st_uid != geteuid() || opened.st_nlink > 1)
		return -EPERM; /* somebody else's: they could change it afterwards */
	do
		r = flock(fd, LOCK_EX) < 0 ? -errno : 0;
	while (r == -EINTR);
	if (r < 0)
		return r;
	return lstat(beside, &named) == 0 && named.st_dev == opened.st_dev &&
	       named.st_ino == opened.st_ino;
}

/* The descriptor of an empty file under this name that no other writer has, or a negative errno. */
static int file_begin(const char *beside)
{
	for (;;) {
		int fd = open(
			beside, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
		if (fd < 0)
			return -errno;
		int r = file_lock(fd, beside);
		if (r > 0 && ftruncate(fd, 0) < 0)
			r = -errno;
		if (r > 0)
			return fd;
		close(fd);
		if (r < 0)
			return r;
	}
}

int file_replace(const char *path, mode_t mode, const void *data, size_t size)
{
	struct stat old;
	if (lstat(path, &old) == 0 && !S_ISREG(old.st_mode))
		return S_ISDIR(old.st_mode) ? -EISDIR : -EEXIST;
	char *beside = file_beside(path);
	if (beside == NULL)
		return -ENOMEM;
	int fd = file_begin(beside);
	int r = fd < 0 ? fd : file_write_all(fd, data, size);
	if (r == 0 && (fchmod(fd, mode) < 0 || rename(beside, path) < 0))
		r = -errno;
	if (r != 0 && fd >= 0)
		(void)unlink(beside);
	if (fd >= 0)
		close(fd); /* and the lock with it: not before the file has its place */
	free(beside);
	return r;
}

int file_read(const char *path, size_t limit, char **ret_text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;
	char *text = malloc(limit + 2);
	size_t have = 0;
	ssize_t n = text == NULL ? -1 : 1;
	while (n > 0 && have <= limit) {
		n = read(fd, text + have, limit + 1 - have);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			have += (size_t)n;
	}
	int r = text == NULL ? -ENOMEM : n < 0 ? -errno : have > limit ? -EFBIG : 0;
	close(fd);
	if (r != 0) {
		free(text);
		return r;
	}
	text[have] = '\0';
	*ret_text = text;
	return 0;
}
