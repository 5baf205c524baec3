/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
/* Linux 6.5, include/uapi/asm-generic/socket.h */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* More groups than we keep: reads them all and keeps the first. */
static int peer_many_groups(int socket, socklen_t size, struct policy_peer *who)
{
	gid_t *all = malloc(size);
	int r = 0;

	if (all == NULL)
		return -ENOMEM;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, all, &size) < 0) {
		r = -errno;
	} else {
		for (size_t i = 0; i < size / sizeof(*all); i++)
			if (who->group_count < POLICY_GROUPS_MAX)
				who->groups[who->group_count++] = all[i];
	}
	free(all);
	return r;
}

/* Appends the supplementary groups to the primary one. */
static int peer_groups(int socket, struct policy_peer *who)
{
	gid_t groups[POLICY_GROUPS_MAX - 1];
	socklen_t size = sizeof(groups);

	_Static_assert(sizeof(gid_t) == sizeof(who->groups[0]), "groups are copied as they are");
	if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return errno == ERANGE ? peer_many_groups(socket, size, who) : -errno;
	memcpy(&who->groups[who->group_count], groups, size);
	who->group_count += (uint32_t)(size / sizeof(groups[0]));
	return 0;
}

/* Is the process of that number the user's? */
static int peer_check_user(int32_t pid, uint32_t uid)
{
	char path[32];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &st) < 0)
		return -ESRCH;
	return st.st_uid == uid ? 0 : -EPERM;
}

int peer_pidfd_by_number(int socket, int32_t pid, uint32_t uid, int *ret_pidfd)
{
	struct pollfd connected = {.fd = socket};
	int pidfd, r;

	if (pid <= 0)
		return -ESRCH; /* of another PID namespace: its death could not be seen */
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	r = peer_check_user(pid, uid);
	if (r == 0 && poll(&connected, 1, 0) == 1)
		r = -ESRCH;
	if (r < 0) {
		close(pidfd);
		return r;
	}
	*ret_pidfd = pidfd;
	return 0;
}

static int peer_pidfd(int socket, const struct ucred *cred, int *ret_pidfd)
{
	int pidfd = -1;
	socklen_t size = sizeof(pidfd);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0) {
		*ret_pidfd = pidfd;
		return 0;
	}
	if (errno == ENOPROTOOPT)
		return peer_pidfd_by_number(socket, cred->pid, cred->uid, ret_pidfd);
	/* EINVAL is what kernels before 6.16 say of a process that is gone. */
	return errno == EINVAL ? -ESRCH : -errno;
}

int peer_identify(int socket, struct dispatch_peer *ret_peer, int *ret_pidfd)
{
	struct dispatch_peer peer = {.who = {.group_count = 1}};
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int pidfd = -1, r;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	peer.pid = cred.pid;
	peer.who.uid = cred.uid;
	peer.who.groups[0] = cred.gid;
	r = peer_groups(socket, &peer.who);
	if (r < 0)
		return r;
	r = peer_pidfd(socket, &cred, &pidfd);
	if (r < 0)
		return r;
	*ret_peer = peer;
	*ret_pidfd = pidfd;
	return 0;
}
