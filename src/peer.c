/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
/* Linux 6.5, include/uapi/asm-generic/socket.h, include/linux/socket.h */
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
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

static bool peer_is_dead(int pidfd)
{
	struct pollfd death = {.fd = pidfd, .events = POLLIN};

	return poll(&death, 1, 0) != 0;
}

/* ---------------------------------------------------------------- the same process later */

/* Linux 6.9, include/uapi/linux/magic.h */
#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif
#define BORN_IS_INODE (UINT64_C(1) << 63) /* of both kinds none gets that far */

static uint64_t peer_inode(int pidfd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(pidfd, &fs) < 0 || (uint32_t)fs.f_type != PID_FS_MAGIC || fstat(pidfd, &st) < 0)
		return 0;
	return (uint64_t)st.st_ino | BORN_IS_INODE;
}

uint64_t peer_born(int pidfd, int32_t pid)
{
	const uint64_t inode = peer_inode(pidfd);
	uint64_t start;

	if (inode != 0)
		return inode;
	start = peer_start_time(pid) & ~BORN_IS_INODE;
	/* What is read by the number is of this process if that still lives. */
	return peer_is_dead(pidfd) ? 0 : start;
}

int peer_reopen(int32_t pid, uint64_t born, int *ret_pidfd)
{
	int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	uint64_t now;

	if (pid <= 0)
		return -EINVAL;
	if (pidfd < 0)
		return -errno;
	now = peer_born(pidfd, pid);
	if (now != 0 && born != 0 && now != born &&
		(now & BORN_IS_INODE) == (born & BORN_IS_INODE)) {
		close(pidfd);
		return -ESRCH;
	}
	*ret_pidfd = pidfd;
	return 0;
}

/* ---------------------------------------------------------------- who connected */

/*
 * What is read by the number of a process is that process's while it lives. Takes the pidfd, which
 * says that.
 */
static int peer_finish(struct dispatch_peer *peer, const struct policy *policy, int pidfd,
	struct dispatch_peer *ret_peer, int *ret_pidfd)
{
	const bool by_cgroup = policy->cgroup_count > 0;

	if (by_cgroup)
		peer->who.cgroups = peer_cgroups(peer->pid, policy);
	peer->born = peer_born(pidfd, peer->pid);
	if (by_cgroup && peer_is_dead(pidfd)) {
		close(pidfd);
		return -ESRCH;
	}
	*ret_peer = *peer;
	*ret_pidfd = pidfd;
	return 0;
}

int peer_identify(
	int socket, const struct policy *policy, struct dispatch_peer *ret_peer, int *ret_pidfd)
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
	return peer_finish(&peer, policy, pidfd, ret_peer, ret_pidfd);
}

/* ---------------------------------------------------------------- who sent a datagram */

int peer_ask(int socket, bool on)
{
	const int value = on;

	if (setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &value, sizeof(value)) < 0)
		return -errno;
	/* Older kernels do not know it; then the process is opened by its number. */
	(void)setsockopt(socket, SOL_SOCKET, SO_PASSPIDFD, &value, sizeof(value));
	return 0;
}

/* What came with the datagram. -1: no pidfd, another negative number: the kernel could make none.
 */
static bool peer_take_sender(struct msghdr *header, struct ucred *ret_cred, int *ret_pidfd)
{
	bool found = false;

	*ret_pidfd = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(*ret_cred))) {
			memcpy(ret_cred, CMSG_DATA(c), sizeof(*ret_cred));
			found = true;
		} else if (c->cmsg_type == SCM_PIDFD && c->cmsg_len >= CMSG_LEN(sizeof(int))) {
			memcpy(ret_pidfd, CMSG_DATA(c), sizeof(int));
		}
	}
	return found;
}

void peer_discard_sender(struct msghdr *header)
{
	struct ucred cred;
	int pidfd;

	(void)peer_take_sender(header, &cred, &pidfd);
	if (pidfd >= 0)
		close(pidfd);
}

/* Who has this number now is the sender, as far as that can be known without its pidfd. */
static int peer_sender_by_number(const struct ucred *cred, int *ret_pidfd)
{
	struct policy_peer who = {.uid = cred->uid};
	int pidfd = (int)syscall(SYS_pidfd_open, cred->pid, 0);
	int r;

	if (pidfd < 0)
		return -errno;
	r = peer_status(cred->pid, &who);
	if (r < 0)
		close(pidfd);
	else
		*ret_pidfd = pidfd;
	return r;
}

int peer_identify_sender(struct msghdr *header, const struct policy *policy,
	struct dispatch_peer *ret_peer, int *ret_pidfd)
{
	static const struct policy nothing;
	struct dispatch_peer peer = {.who = {.group_count = 1}};
	struct ucred cred;
	int pidfd, r = 0;

	if (!peer_take_sender(header, &cred, &pidfd)) {
		if (pidfd >= 0)
			close(pidfd);
		return -ENODATA;
	}
	if (cred.pid <= 0)
		r = -ESRCH; /* of another PID namespace: its death could not be seen */
	else if (pidfd == -1)
		r = peer_sender_by_number(&cred, &pidfd);
	if (r == 0 && pidfd < 0)
		r = pidfd;
	if (r < 0) {
		if (pidfd >= 0)
			close(pidfd);
		return r;
	}
	peer.pid = cred.pid;
	peer.who.uid = cred.uid;
	peer.who.groups[0] = cred.gid;
	/*
	 * What cannot be read allows nothing; nor does what a process has that is not the user's:
	 * the root of a container may name any process of it as the sender, also one that came in
	 * from outside.
	 */
	r = peer_status(peer.pid, &peer.who);
	if (peer_is_dead(pidfd)) {
		close(pidfd);
		return -ESRCH;
	}
	return peer_finish(&peer, r == 0 ? policy : &nothing, pidfd, ret_peer, ret_pidfd);
}
