/* SPDX-License-Identifier: MIT */
/* Files of this host, or of a copy of another one's. */
#include "pasidctl_doctor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_MAX ((size_t)8 << 20)

bool doctor_path(char path[static DOCTOR_PATH_MAX], const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(path, DOCTOR_PATH_MAX, format, args);
	va_end(args);
	return length >= 0 && length < DOCTOR_PATH_MAX;
}

static char *read_all(int fd, size_t *ret_size)
{
	size_t size = 0, room = 4096;
	char *text = malloc(room + 1);

	while (text != NULL) {
		ssize_t n = read(fd, text + size, room - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* what came before an error stands: a config space ends with one for
				  some */
		size += (size_t)n;
		if (size < room)
			continue;
		char *larger = room < READ_MAX ? realloc(text, room * 2 + 1) : NULL;
		if (larger == NULL) {
			free(text);
			return NULL;
		}
		text = larger;
		room *= 2;
	}
	if (text != NULL) {
		text[size] = '\0';
		*ret_size = size;
	}
	return text;
}

char *doctor_read(const struct doctor_host *host, const char *path, size_t *ret_size)
{
	char full[DOCTOR_PATH_MAX], *text;
	struct stat st;
	size_t size;
	int fd;

	if (!doctor_path(full, "%s%s", host->root, path))
		return NULL;
	/* A copy may hold anything: what is no file might make us wait for ever. */
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return NULL;
	text = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read_all(fd, &size) : NULL;
	(void)close(fd);
	if (text != NULL && ret_size != NULL)
		*ret_size = size;
	return text;
}

bool doctor_target(
	const struct doctor_host *host, const char *path, char ret_target[static DOCTOR_LINK_MAX])
{
	char full[DOCTOR_PATH_MAX];
	ssize_t length;

	if (!doctor_path(full, "%s%s", host->root, path))
		return false;
	length = readlink(full, ret_target, DOCTOR_LINK_MAX);
	if (length < 0 || length == DOCTOR_LINK_MAX)
		return false;
	ret_target[length] = '\0';
	return true;
}

bool doctor_link(
	const struct doctor_host *host, const char *path, char ret_name[static DOCTOR_LINK_MAX])
{
	char target[DOCTOR_LINK_MAX];
	const char *slash;

	if (!doctor_target(host, path, target))
		return false;
	slash = strrchr(target, '/');
	(void)snprintf(ret_name, DOCTOR_LINK_MAX, "%s", slash ? slash + 1 : target);
	return true;
}

bool doctor_there(const struct doctor_host *host, const char *path)
{
	char full[DOCTOR_PATH_MAX];
	struct stat st;

	return doctor_path(full, "%s%s", host->root, path) && stat(full, &st) == 0;
}

size_t doctor_each(const struct doctor_host *host, const char *path, const char *prefix,
	void (*each)(void *ctx, const char *name), void *ctx)
{
	char full[DOCTOR_PATH_MAX];
	struct dirent **entries;
	size_t found = 0;
	int count;

	if (!doctor_path(full, "%s%s", host->root, path))
		return 0;
	count = scandir(full, &entries, NULL, alphasort);
	if (count < 0)
		return 0;
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;

		if (name[0] != '.' && strncmp(name, prefix, strlen(prefix)) == 0) {
			found++;
			if (each != NULL)
				each(ctx, name);
		}
		free(entries[i]);
	}
	free(entries);
	return found;
}

void doctor_stat(const struct doctor_host *host, const char *path, struct doctor_node *ret_node)
{
	char full[DOCTOR_PATH_MAX];
	struct stat st;

	*ret_node = (struct doctor_node){.path = path};
	if (!doctor_path(full, "%s%s", host->root, path) || stat(full, &st) < 0)
		return;
	ret_node->there = true;
	ret_node->mode = st.st_mode;
	ret_node->uid = st.st_uid;
	ret_node->gid = st.st_gid;
	if (host->live) {
		ret_node->asked = true;
		ret_node->allowed = access(full, R_OK | W_OK) == 0;
	}
}
