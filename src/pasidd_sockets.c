/* SPDX-License-Identifier: MIT */
#include "pasidd_sockets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SOCKETS_ADMIN      "admin.socket"
#define SOCKETS_ADMIN_MODE 0600u

static int sockets_path(char ret_path[static RUNTIME_PATH_MAX], const char *asked,
	const char *directory, const char *name, struct runtime_error *ret_error)
{
	const int length = asked != NULL
				   ? snprintf(ret_path, RUNTIME_PATH_MAX, "%s", asked)
				   : snprintf(ret_path, RUNTIME_PATH_MAX, "%s/%s", directory, name);

	if (length >= RUNTIME_PATH_MAX)
		return runtime_fail(ret_error, -ENAMETOOLONG,
			"the path of the socket is too long: %.100s...", ret_path);
	return 0;
}

int sockets_name(struct sockets *sockets, const char *asked, const struct config_socket *config,
	const char *directory, struct runtime_error *ret_error)
{
	int r = sockets_path(sockets->path, asked != NULL ? asked : config->path, directory,
		RUNTIME_SOCKET, ret_error);

	if (r == 0)
		r = sockets_path(sockets->admin_path, config->admin_path, directory, SOCKETS_ADMIN,
			ret_error);
	if (r == 0 && strcmp(sockets->path, sockets->admin_path) == 0)
		return runtime_fail(ret_error, -EINVAL,
			"%s is the socket for admins already (socket.admin_path); that for "
			"everybody needs a path of its own",
			sockets->path);
	return r;
}

void sockets_take(struct sockets *sockets, const struct runtime_passed *passed)
{
	sockets->fd = passed->listen_fd;
	sockets->admin_fd = passed->admin_fd;
}

int sockets_listen(struct sockets *sockets, const struct config_socket *config,
	struct runtime_error *ret_error)
{
	const struct config_socket admin = {.mode = SOCKETS_ADMIN_MODE};
	int r = 0;

	if (sockets->admin_fd < 0) {
		r = runtime_listen(sockets->admin_path, &admin, &sockets->admin_fd, ret_error);
		sockets->own_admin = r == 0;
	}
	if (r == 0 && sockets->fd < 0) {
		r = runtime_listen(sockets->path, config, &sockets->fd, ret_error);
		sockets->own = r == 0;
	}
	return r;
}

void sockets_remove(const struct sockets *sockets)
{
	if (sockets->own)
		(void)unlink(sockets->path);
	if (sockets->own_admin)
		(void)unlink(sockets->admin_path);
}

void sockets_close(struct sockets *sockets)
{
	if (sockets->fd >= 0)
		(void)close(sockets->fd);
	if (sockets->admin_fd >= 0)
		(void)close(sockets->admin_fd);
	sockets->fd = sockets->admin_fd = -1;
}
