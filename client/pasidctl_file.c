/* SPDX-License-Identifier: MIT */
#include "pasidctl_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* Beside the file, and with a name that none who reads "*.prom" takes. */
static char *file_temporary(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	char *temporary;
	if (asprintf(&temporary, "%.*s.%s.XXXXXX", (int)(name - path), path, name) < 0)
		return NULL;
	return temporary;
}

int file_replace(const char *path, mode_t mode, const void *data, size_t size)
{
	struct stat old;
	if (lstat(path, &old) == 0 && !S_ISREG(old.st_mode))
		return S_ISDIR(old.st_mode) ? -EISDIR : -EEXIST;
	char *temporary = file_temporary(path);
	if (temporary == NULL)
		return -ENOMEM;
	int fd = mkostemp(temporary, O_CLOEXEC);
	int r = fd < 0 ? -errno : file_write_all(fd, data, size);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (fd >= 0 && close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r != 0 && fd >= 0)
		(void)unlink(temporary);
	free(temporary);
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
