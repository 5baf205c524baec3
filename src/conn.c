/* SPDX-License-Identifier: MIT */
#include "conn.h"

#include "peer.h"
#include "wire.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn_control {
	_Alignas(struct cmsghdr)
		uint8_t bytes[CMSG_SPACE(CONN_FDS_MAX * sizeof(int)) + PEER_CONTROL_SIZE];
};

/*
 * What came over one connection and waits to be closed; it may have to do that for longer than the
 * connection is there. VMs of one user have a connection each: none may use up all that is the
 * user's.
 */
struct conn_share {
	LIST_ENTRY(conn_share) link;
	uint32_t user;
	uint32_t count;
	bool abandoned; /* the connection is gone */
};

/*
 * A socket that was given up while its other end had descriptors of ours to read. These are on
 * their way, and counted by the kernel as such, until they are read or the other end is closed
 * everywhere, whatever becomes of our end; when a user has too many of them on their way, nothing
 * can be passed to workers any more. So whoever leaves them unread stays charged for the
 * connection.
 */
struct conn_kept {
	LIST_ENTRY(conn_kept) link;
	uint32_t user;
	int fd;
};

/* The descriptors of the datagram that the dispatcher has before it. */
struct conn_intake {
	struct conn_share *share;
	const int *fds;
	size_t count, next; /* `next` is where the one that is disposed of next is likely to be */
	uint32_t charged;   /* of them, not yet passed on to be closed */
};

struct conn_buffers {
	LIST_HEAD(, conn_share) shares;
	LIST_HEAD(, conn_kept) kept;
	struct conn_intake intake;
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
	struct conn_share *share;

	if (buffers == NULL)
		return;
	while ((share = LIST_FIRST(&buffers->shares)) != NULL) {
		LIST_REMOVE(share, link);
		free(share);
	}
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

/* ---------------------------------------------------------------- whose descriptors they are */

/* Who is told that a descriptor is closed: a share, by its address, or the user of a connection. */
#define OWNER_CONNECTION 1u

static uint64_t conn_owner(uint32_t user)
{
	return (uint64_t)(user + 1) << 8 | OWNER_CONNECTION;
}

static void conn_settle_share(struct conn_share *share)
{
	if (share->count > 0 || !share->abandoned)
		return;
	LIST_REMOVE(share, link);
	free(share);
}

void conn_closed(const struct conn_io *io, uint64_t owner)
{
	struct conn_share *share = (void *)(uintptr_t)owner;
	const bool connection = (owner & OWNER_CONNECTION) != 0;
	const uint32_t user = connection ? (uint32_t)(owner >> 8) - 1 : share->user;

	limits_release(
		io->limits, NULL, user, connection ? RESOURCE_CONNECTIONS : RESOURCE_RECEIVED, 1);
	limits_user_close(io->limits, user);
	if (connection)
		return;
	share->count--;
	conn_settle_share(share);
}

/* How many more descriptors may come. */
static uint32_t conn_room(const struct conn_io *io, const struct conn *conn)
{
	const uint32_t room = limits_room(io->limits, NULL, conn->user, RESOURCE_RECEIVED);
	const uint32_t count = conn->share != NULL ? conn->share->count : 0;
	const uint32_t own = count < io->received_max ? io->received_max - count : 0;

	return own < room ? own : room;
}

bool conn_has_room(const struct conn_io *io, const struct conn *conn)
{
	return conn_room(io, conn) >= CONN_FDS_MAX;
}

static struct conn_share *conn_share(const struct conn_io *io, struct conn *conn)
{
	if (conn->share == NULL)
		conn->share = calloc(1, sizeof(*conn->share));
	else
		return conn->share;
	if (conn->share != NULL) {
		conn->share->user = conn->user;
		LIST_INSERT_HEAD(&io->buffers->shares, conn->share, link);
	}
	return conn->share;
}

static void conn_charge(const struct conn_io *io, struct conn *conn, const int *fds, size_t count)
{
	struct conn_intake *intake = &io->buffers->intake;
	struct error error;

	*intake = (struct conn_intake){.fds = fds, .count = count};
	if (count > 0)
		intake->share = conn_share(io, conn);
	/* There is room: conn_receive() asks for no more datagrams than that. */
	if (intake->share != NULL && limits_charge(io->limits, NULL, conn->user, RESOURCE_RECEIVED,
					     (uint32_t)count, &error) == 0)
		intake->charged = (uint32_t)count;
}

/* What was not passed on to be closed is the broker's now, which charges it to a set. */
static void conn_discharge(const struct conn_io *io)
{
	struct conn_intake *intake = &io->buffers->intake;

	if (intake->charged > 0)
		limits_release(
			io->limits, NULL, intake->share->user, RESOURCE_RECEIVED, intake->charged);
	intake->count = intake->charged = 0;
}

/* Did it come with the datagram? They are disposed of in their order, mostly. */
static bool conn_is_received(struct conn_intake *intake, int fd)
{
	for (size_t i = 0; i < intake->count; i++) {
		const size_t at = (intake->next + i) % intake->count;

		if (intake->fds[at] != fd)
			continue;
		intake->next = at + 1;
		return true;
	}
	return false;
}

void conn_dispose(const struct conn_io *io, int fd)
{
	struct conn_intake *intake = &io->buffers->intake;

	if (intake->charged == 0 || !conn_is_received(intake, fd)) {
		executor_dispose(io->executor, fd);
		return;
	}
	intake->charged--;
	intake->share->count++;
	(void)limits_user_ref(io->limits, intake->share->user);
	executor_dispose_for(io->executor, fd, (uintptr_t)intake->share);
}

/* ---------------------------------------------------------------- a burst */

/* One datagram of a burst. */
static enum conn_result conn_take(
	const struct conn_io *io, struct conn *conn, struct mmsghdr *received, const uint8_t *data)
{
	struct msghdr *header = &received->msg_hdr;
	const bool fds_cut = (header->msg_flags & MSG_CTRUNC) != 0;
	size_t size = received->msg_len;
	int fds[CONN_FDS_MAX], r;
	size_t fd_count = conn_collect(header, fds);

	if (size == 0 && fd_count == 0 && !fds_cut && conn_is_over(conn))
		return CONN_LOST;
	if (conn->asking)
		conn_identify(io, conn, header);
	if (header->msg_flags & MSG_TRUNC)
		size = WIRE_DATAGRAM_MAX + 1;
	if (fd_count > 0)
		conn_charge(io, conn, fds, fd_count);
	r = dispatch_receive(io->dispatch, conn->link, data, size, fds, fd_count, fds_cut);
	if (fd_count > 0)
		conn_discharge(io);
	return r != 0 ? CONN_ABUSE : CONN_OK;
}

/* A datagram that nobody will look at any more. */
static void conn_discard(const struct conn_io *io, struct conn *conn, struct mmsghdr *received)
{
	int fds[CONN_FDS_MAX];
	size_t count = conn_collect(&received->msg_hdr, fds);

	peer_discard_sender(&received->msg_hdr);
	conn_charge(io, conn, fds, count);
	for (size_t i = 0; i < count; i++)
		conn_dispose(io, fds[i]);
	conn_discharge(io);
}

/* So often a burst is filled before a larger one is asked for, which costs when it is not filled.
 */
#define CONN_PATIENCE 8

/*
 * A client that fills its burst gets a larger one, so that an idle one costs a single short call;
 * one that asks for much gets a small one, so that others wait for no more than that.
 */
static void conn_adapt(struct conn *conn, unsigned received, uint64_t cost)
{
	if (cost > CONN_TURN_COST)
		conn->burst = 1;
	else if (received < conn->burst)
		conn->burst = (uint8_t)received;
	else if (++conn->filled < CONN_PATIENCE)
		return;
	else if (conn->burst <= CONN_BURST_MAX / 2)
		conn->burst = (uint8_t)(conn->burst * 2);
	else
		conn->burst = CONN_BURST_MAX;
	conn->filled = 0;
}

enum conn_result conn_receive(const struct conn_io *io, struct conn *conn)
{
	const uint32_t room = conn_room(io, conn);
	const uint64_t cost = dispatch_cost(io->dispatch);
	struct conn_buffers *buffers = io->buffers;
	enum conn_result result = CONN_OK;
	unsigned burst = conn->burst;
	int n;

	if (room < burst * CONN_FDS_MAX)
		burst = room / CONN_FDS_MAX;
	if (burst == 0)
		return CONN_HELD;
	conn_prepare(buffers, burst);
	n = recvmmsg(conn->fd, buffers->headers, burst, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? CONN_OK : CONN_LOST;
	for (int i = 0; i < n; i++) {
		if (result == CONN_OK)
			result = conn_take(io, conn, &buffers->headers[i], buffers->data[i]);
		else
			conn_discard(io, conn, &buffers->headers[i]);
	}
	conn_adapt(conn, (unsigned)n, dispatch_cost(io->dispatch) - cost);
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

enum conn_result conn_send(const struct conn_io *io, struct conn *conn, uint32_t *ret_sent)
{
	const struct dispatch_datagram *datagram;

	*ret_sent = 0;
	while ((datagram = dispatch_peek(io->dispatch, conn->link)) != NULL) {
		if (conn_send_one(conn->fd, datagram) >= 0) {
			*ret_sent += (uint32_t)datagram->size;
			conn->passed = conn->passed || datagram->fd_count > 0;
			dispatch_sent(io->dispatch, conn->link);
		} else if (errno == EAGAIN) {
			return CONN_BLOCKED;
		} else if (errno != EINTR) {
			return CONN_LOST; /* a session survives it */
		}
	}
	return CONN_OK;
}

/* ---------------------------------------------------------------- the end */

/* Is nothing that we sent unread? Where the kernel does not say, nothing is. */
static bool conn_was_read(int fd)
{
	uint32_t memory[SK_MEMINFO_VARS] = {0};
	socklen_t size = sizeof(memory);

	(void)getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size);
	return memory[SK_MEMINFO_WMEM_ALLOC] == 0;
}

/* Takes the socket, and the charge for it, if the other end has descriptors to read. */
static bool conn_keep(const struct conn_io *io, struct conn *conn)
{
	struct conn_kept *kept;

	if (!conn->passed || conn->user == LIMITS_NO_USER || conn_was_read(conn->fd))
		return false;
	kept = malloc(sizeof(*kept));
	if (kept == NULL)
		return false;
	(void)shutdown(conn->fd, SHUT_RDWR); /* for who reads what there is this is the end of it */
	*kept = (struct conn_kept){.user = conn->user, .fd = conn->fd};
	LIST_INSERT_HEAD(&io->buffers->kept, kept, link);
	conn->user = LIMITS_NO_USER;
	return true;
}

bool conn_let_go(const struct conn_io *io, bool all)
{
	struct conn_kept *kept = LIST_FIRST(&io->buffers->kept), *next;

	for (; kept != NULL; kept = next) {
		next = LIST_NEXT(kept, link);
		if (!all && !conn_was_read(kept->fd))
			continue;
		LIST_REMOVE(kept, link);
		executor_dispose_for(io->executor, kept->fd, conn_owner(kept->user));
		free(kept);
	}
	return !LIST_EMPTY(&io->buffers->kept);
}

bool conn_keeps(const struct conn_io *io)
{
	return !LIST_EMPTY(&io->buffers->kept);
}

/* Closes the socket, or has that done. */
static void conn_close_socket(const struct conn_io *io, struct conn *conn)
{
	if (conn->eof)
		close(conn->fd);
	else if (conn->user == LIMITS_NO_USER)
		executor_dispose(io->executor, conn->fd);
	else
		executor_dispose_for(io->executor, conn->fd, conn_owner(conn->user));
	if (!conn->eof) /* the charge goes when it is closed */
		conn->user = LIMITS_NO_USER;
}

void conn_close(const struct conn_io *io, struct conn *conn)
{
	if (!conn_keep(io, conn))
		conn_close_socket(io, conn);
	conn->fd = -1;
	if (conn->share == NULL)
		return;
	conn->share->abandoned = true;
	conn_settle_share(TAKE_PTR(conn->share));
}
