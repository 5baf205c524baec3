/* SPDX-License-Identifier: MIT */
#include "conn.h"

#include "peer.h"
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * SCM_MAX_FD, include/net/scm.h. There is always room for all that a datagram can carry:
 * descriptors that do not fit are closed by the kernel in the middle of our recvmsg(), and a close
 * may block.
 */
#define CONN_FDS_MAX 253

struct conn_control {
	_Alignas(struct cmsghdr)
		uint8_t bytes[CMSG_SPACE(CONN_FDS_MAX * sizeof(int)) + PEER_CONTROL_SIZE];
};

struct conn_buffers {
	struct mmsghdr headers[CONN_BURST_MAX];
	struct iovec vectors[CONN_BURST_MAX];
	struct conn_control controls[CONN_BURST_MAX];
	uint8_t data[CONN_BURST_MAX][WIRE_DATAGRAM_MAX];
};

struct conn_buffers *conn_buffers_new(void)
{
	void *p = mmap(NULL, sizeof(struct conn_buffers), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void conn_buffers_free(struct conn_buffers *buffers)
{
	if (buffers != NULL)
		(void)munmap(buffers, sizeof(*buffers));
}

/* ---------------------------------------------------------------- in */

static void conn_prepare(struct conn_buffers *buffers, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		buffers->vectors[i] = (struct iovec){buffers->data[i], WIRE_DATAGRAM_MAX};
		buffers->headers[i] = (struct mmsghdr){
			.msg_hdr = {
				.msg_iov = &buffers->vectors[i],
				.msg_iovlen = 1,
				.msg_control = buffers->controls[i].bytes,
				.msg_controllen = sizeof(buffers->controls[i].bytes),
			}};
	}
}

/* The descriptors that came with a datagram. */
static size_t conn_collect(struct msghdr *header, int fds[static CONN_FDS_MAX])
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
			bytes > (CONN_FDS_MAX - count) * sizeof(int))
			continue;
		memcpy(&fds[count], CMSG_DATA(c), bytes);
		count += bytes / sizeof(int);
	}
	return count;
}

/* Nothing was read: did the other end close, or is it an empty datagram? */
static bool conn_hung_up(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/*
 * After a hang-up: has everything been read? An empty datagram looks like the end, and behind it
 * may lie descriptors that must not be closed here. With credentials asked for and no room for
 * them, the kernel says of every datagram that something was cut off, and of the end nothing.
 */
static bool conn_at_end(int fd, bool asking)
{
	const int on = 1, off = 0;
	struct msghdr header = {0};
	bool end;

	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return false;
	end = recvmsg(fd, &header, MSG_PEEK | MSG_DONTWAIT) == 0 &&
	      (header.msg_flags & MSG_CTRUNC) == 0;
	if (!asking)
		(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
	return end;
}

bool conn_is_over(struct conn *conn)
{
	if (conn_hung_up(conn->fd) && conn_at_end(conn->fd, conn->asking))
		conn->eof = true;
	return conn->eof;
}

/* A datagram that came with the credentials of who sent it; of no interest after hello. */
static void conn_identify(const struct conn_io *io, struct conn *conn, struct msghdr *header)
{
	if (link_session(conn->link) == 0)
		io->identify(io->ctx, conn, header);
	else
		peer_discard_sender(header);
}

/* One datagram of a burst. */
static enum conn_result conn_take(
	const struct conn_io *io, struct conn *conn, struct mmsghdr *received, const uint8_t *data)
{
	struct msghdr *header = &received->msg_hdr;
	const bool fds_cut = (header->msg_flags & MSG_CTRUNC) != 0;
	size_t size = received->msg_len;
	int fds[CONN_FDS_MAX];
	size_t fd_count = conn_collect(header, fds);

	conn->had_fds = conn->had_fds || fd_count > 0;
	if (size == 0 && fd_count == 0 && !fds_cut && conn_is_over(conn))
		return CONN_LOST;
	if (conn->asking)
		conn_identify(io, conn, header);
	if (header->msg_flags & MSG_TRUNC)
		size = WIRE_DATAGRAM_MAX + 1;
	if (dispatch_receive(io->dispatch, conn->link, data, size, fds, fd_count, fds_cut) != 0)
		return CONN_ABUSE;
	return CONN_OK;
}

/* A datagram that nobody will look at any more. */
static void conn_discard(const struct conn_io *io, struct mmsghdr *received)
{
	int fds[CONN_FDS_MAX];
	size_t count = conn_collect(&received->msg_hdr, fds);

	peer_discard_sender(&received->msg_hdr);
	for (size_t i = 0; i < count; i++)
		executor_dispose(io->executor, fds[i]);
}

/* A client that fills its burst gets a larger one, so that an idle one costs a single short call.
 */
static void conn_adapt(struct conn *conn, unsigned received)
{
	if (received < conn->burst)
		conn->burst = (uint8_t)received;
	else if (conn->burst <= CONN_BURST_MAX / 2)
		conn->burst = (uint8_t)(conn->burst * 2);
	else
		conn->burst = CONN_BURST_MAX;
}

enum conn_result conn_receive(const struct conn_io *io, struct conn *conn)
{
	struct conn_buffers *buffers = io->buffers;
	enum conn_result result = CONN_OK;
	int n;

	conn->had_fds = false;
	conn_prepare(buffers, conn->burst);
	n = recvmmsg(
		conn->fd, buffers->headers, conn->burst, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? CONN_OK : CONN_LOST;
	for (int i = 0; i < n; i++) {
		if (result == CONN_OK)
			result = conn_take(io, conn, &buffers->headers[i], buffers->data[i]);
		else
			conn_discard(io, &buffers->headers[i]);
	}
	conn_adapt(conn, (unsigned)n);
	return result;
}

/* ---------------------------------------------------------------- out */

static ssize_t conn_send_one(int fd, const struct dispatch_datagram *datagram)
{
	struct iovec vector = {(void *)(uintptr_t)datagram->data, datagram->size};
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))] = {0};
	struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};

	if (datagram->fd_count > 0 && datagram->fd_count <= WIRE_FDS_MAX) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(datagram->fd_count * sizeof(int));
		memcpy(CMSG_DATA(c), datagram->fds, datagram->fd_count * sizeof(int));
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(datagram->fd_count * sizeof(int));
	}
	return sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

enum conn_result conn_send(const struct conn_io *io, struct conn *conn)
{
	const struct dispatch_datagram *datagram;

	while ((datagram = dispatch_peek(io->dispatch, conn->link)) != NULL) {
		if (conn_send_one(conn->fd, datagram) >= 0)
			dispatch_sent(io->dispatch, conn->link);
		else if (errno == EAGAIN)
			return CONN_BLOCKED;
		else if (errno != EINTR)
			return CONN_LOST; /* a session survives it */
	}
	return CONN_OK;
}

void conn_close(const struct conn_io *io, struct conn *conn)
{
	if (conn->eof)
		close(conn->fd);
	else
		executor_dispose(io->executor, conn->fd);
	conn->fd = -1;
}
