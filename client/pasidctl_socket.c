/* SPDX-License-Identifier: MIT */
/* Which of the daemon's sockets is asked: the one for admins, where we may open it. */
#include "pasidctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKET_ADMIN "admin.socket"

/* Whoever else could put one there could not have made the other one. */
static bool socket_is_of_the_same(const char *path, const char *other)
{
	struct stat st, of;
	return stat(path, &st) == 0 && stat(other, &of) == 0 && S_ISSOCK(st.st_mode) &&
	       (st.st_uid == 0 || st.st_uid == of.st_uid);
}

bool ctl_admin_socket(const struct ctl *ctl, char *ret_path, size_t size)
{
	const char *other = getenv(PASID_SOCKET_ENV);
	if (ctl->socket != NULL) /* that one and no other */
		return false;
	if (other == NULL || other[0] == '\0')
		other = PASID_SOCKET_DEFAULT;
	const char *name = strrchr(other, '/');
	if (name == NULL)
		return false;
	int length = snprintf(ret_path, size, "%.*s/" SOCKET_ADMIN, (int)(name - other), other);
	return length > 0 && (size_t)length < size && access(ret_path, W_OK) == 0 &&
	       socket_is_of_the_same(ret_path, other);
}
