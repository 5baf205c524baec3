/* SPDX-License-Identifier: MIT */
/* Where the daemon listens: for everybody, and for admins alone. */
#ifndef PASIDD_SOCKETS_H
#define PASIDD_SOCKETS_H

#include "runtime.h"
#include "runtime_store.h"

struct sockets {
	char path[RUNTIME_PATH_MAX];       /* for everybody */
	char admin_path[RUNTIME_PATH_MAX]; /* for whoever can open it: only we and root, by its mode
					    */
	int fd, admin_fd;                  /* -1: not there yet */
	bool own, own_admin;               /* made by us, not passed by systemd */
};

#define SOCKETS_NONE                                                                               \
	{                                                                                          \
		.fd = -1, .admin_fd = -1                                                           \
	}

/*
 * The paths: `asked` (NULL: none) before that of the configuration, else the usual names in the
 * runtime directory. Returns 0; -ENAMETOOLONG, or -EINVAL when both are one path, with the error
 * filled.
 */
int sockets_name(struct sockets *sockets, const char *asked, const struct config_socket *config,
	const char *directory, struct runtime_error *ret_error);
/* Takes what systemd passed; stays usable without. */
void sockets_take(struct sockets *sockets, const struct runtime_passed *passed);
/* Makes those that are missing. 0 or -errno of runtime_listen(). */
int sockets_listen(struct sockets *sockets, const struct config_socket *config,
	struct runtime_error *ret_error);
/* Nobody finds what we made any more. */
void sockets_remove(const struct sockets *sockets);
void sockets_close(struct sockets *sockets);

#endif
