/* SPDX-License-Identifier: MIT */
/*
 * One VMM hands another a descriptor over a socket: what the daemon must notice when it is an
 * iommufd that has an owner already.
 */
#ifndef EXAMPLES_VMM_LEND_H
#define EXAMPLES_VMM_LEND_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static inline int vmm_lend_address(const char *path, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	strcpy(ret_address->sun_path, path);
	return 0;
}

/* Listens at path, until vmm_lend_give(). A descriptor, or -errno. */
static inline int vmm_lend_listen(const char *path)
{
	struct sockaddr_un address;
	int r = vmm_lend_address(path, &address);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0)
		return -errno;
	unlink(path);
	if (r == 0 && (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
			      listen(listener, 1) < 0))
		r = -errno;
	if (r == 0)
		return listener;
	close(listener);
	return r;
}

/* Somebody is there: gives him a copy. Closes the listener. */
static inline void vmm_lend_give(int listener, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (peer >= 0) {
		(void)sendmsg(peer, &message, MSG_NOSIGNAL);
		close(peer);
	}
	close(listener);
}

/* The descriptor that is lent at path, or -errno. */
static inline int vmm_borrow(const char *path)
{
	struct sockaddr_un address;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	int fd, r = vmm_lend_address(path, &address);
	int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer < 0)
		return -errno;
	if (r == 0 && (connect(peer, (struct sockaddr *)&address, sizeof(address)) < 0 ||
			      recvmsg(peer, &message, MSG_CMSG_CLOEXEC) < 0))
		r = -errno;
	close(peer);
	if (r < 0)
		return r;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header == NULL || header->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

#endif
