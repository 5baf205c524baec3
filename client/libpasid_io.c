/* SPDX-License-Identifier: MIT */
/* Datagrams: batches of queued calls out; replies, events and descriptors in. */
#include "libpasid_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Datagrams read before the application gets its turn. */
#define IO_BUDGET 64
/* What stands beside the requests in a datagram: seen_below. */
#define IO_RESERVE 16

/* ------------------------------------------------------------ out */

static void io_want_out(struct pasid_client *client, bool want)
{
	struct epoll_event event = {.events = want ? EPOLLIN | EPOLLOUT : EPOLLIN};
	client->epoll_out = want;
	(void)epoll_ctl(client->epoll, EPOLL_CTL_MOD, client->socket, &event);
}

/* Sends one datagram. -EAGAIN: later. */
static int io_send(struct pasid_client *client, const uint8_t *data, size_t size, const int *fds,
	uint32_t fd_count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	if (fd_count > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
	}
	ssize_t sent;
	do
		sent = sendmsg(client->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* May this call be sent now? The daemon remembers replies of so many ids above what we have seen.
 */
static bool io_in_window(const struct pasid_client *client, const struct call *call)
{
	return call->id - call_seen_below(client) < client->session.window;
}

/* Calls that wait for an answer nobody may ever want must not hold up new ones. */
static void io_make_room(struct pasid_client *client, const struct call *call)
{
	while (client->parked.first != NULL && !io_in_window(client, call))
		call_forget_oldest(client);
}

static struct call *io_first_queued(const struct pasid_client *client)
{
	struct call *call = client->calls.first;
	while (call != NULL && call->state != CALL_QUEUED)
		call = call->next;
	return call;
}

bool io_sendable(const struct pasid_client *client)
{
	if (client->link != LINK_UP || client->epoll_out)
		return false;
	const struct call *call = io_first_queued(client);
	return call != NULL && io_in_window(client, call);
}

static void io_put_call(struct pasid_client *client, struct wire_out *out, const struct call *call)
{
	struct wire_out request = wire_out_init(client->scratch, WIRE_DATAGRAM_MAX);
	wire_out_uint(&request, 1, call->id);
	if (call->has_deadline)
		wire_out_uint(&request, 2, call->deadline_ms);
	if (call->fd_count > 0)
		wire_out_uint(&request, 3, call->fd_count);
	wire_out_bytes(&request, call->operation, call->body, call->body_size);
	wire_out_bytes(out, WIRE_TO_SERVER_REQUESTS, request.data, request.size);
}

/* A batch: the calls from `first` up to, and without, the one that is returned in *ret_end. */
static size_t io_fill(struct pasid_client *client, struct call *first, struct call **ret_end,
	struct call **ret_with_fds)
{
	size_t limit = client->session.datagram_limit - IO_RESERVE;
	struct wire_out out = wire_out_init(client->out, limit);
	struct call *call = first, *with_fds = NULL;
	for (uint32_t n = 0; call != NULL && n < client->session.request_limit; n++) {
		if (!io_in_window(client, call) || (call->fd_count > 0 && with_fds != NULL))
			break;
		io_put_call(client, &out, call);
		if (out.full)
			break;
		if (call->fd_count > 0)
			with_fds = call;
		call = call->next;
	}
	struct wire_out tail = wire_out_init(client->out + out.size, IO_RESERVE);
	wire_out_uint(&tail, WIRE_TO_SERVER_SEEN_BELOW, call_seen_below(client));
	*ret_end = call;
	*ret_with_fds = with_fds;
	return out.size + tail.size;
}

/* Nothing can be sent any more. What came before that is read: it may say why. */
static void io_lost(struct pasid_client *client, int error)
{
	io_receive(client);
	if (client->link == LINK_UP)
		link_lost(client, error);
}

void io_flush(struct pasid_client *client)
{
	while (client->link == LINK_UP && !client->epoll_out) {
		struct call *first = io_first_queued(client), *end, *with_fds;
		if (first == NULL)
			return;
		io_make_room(client, first);
		size_t size = io_fill(client, first, &end, &with_fds);
		if (end == first)
			return; /* beyond the window: replies make room */
		int r = io_send(client, client->out, size, with_fds != NULL ? with_fds->fds : NULL,
			with_fds != NULL ? with_fds->fd_count : 0);
		if (r == -EAGAIN || r == -ENOBUFS) {
			io_want_out(client, true);
			return;
		}
		if (r < 0) {
			io_lost(client, r);
			return;
		}
		for (struct call *call = first; call != end; call = call->next) {
			call->state = CALL_SENT;
			call->was_sent = true;
		}
	}
}

int io_send_hello(struct pasid_client *client)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
	hello.version_min = hello.version_max = 1;
	hello.role = (Pasid__V1__Role)client->role;
	hello.client = client->name;
	if (client->taking) {
		hello.resume_case = PASID__V1__HELLO__RESUME_TAKE_OVER;
		hello.take_over.data = client->token;
		hello.take_over.len = client->token_size;
	} else if (client->token_size > 0) {
		hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
		hello.resume_token.data = client->token;
		hello.resume_token.len = client->token_size;
	}
	struct wire_request request = {
		.id = client->hello_id, .operation = PASID__V1__REQUEST__OPERATION_HELLO};
	struct wire_out out = wire_out_init(client->out, WIRE_DATAGRAM_MAX);
	wire_out_request(&out, &request, &hello.base);
	return io_send(client, out.data, out.size, NULL, 0);
}

/* ------------------------------------------------------------ in */

struct io_fds {
	int fds[WIRE_FDS_MAX];
	uint32_t count;
};

static int io_take(struct io_fds *fds)
{
	return fds->count > 0 ? fds->fds[--fds->count] : -1;
}

static void io_fds_done(struct io_fds *fds)
{
	while (fds->count > 0)
		close(io_take(fds));
}

static void io_take_control(struct msghdr *message, struct io_fds *fds)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
		header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
			if (fds->count < WIRE_FDS_MAX)
				fds->fds[fds->count++] = fd;
			else
				close(fd);
		}
	}
}

static void io_datagram(struct pasid_client *client, size_t size, struct io_fds *fds)
{
	const Pasid__V1__ToClient *message;
	struct error error;
	int r = wire_unpack_replies(&client->arena, client->in, size, &message, &error);
	if (r != 0) {
		link_lost(client, -EPROTO);
		return;
	}
	for (size_t i = 0; i < message->n_replies; i++) {
		const Pasid__V1__Reply *reply = message->replies[i];
		if (client->link == LINK_HELLO && reply->id == client->hello_id)
			link_hello(client, reply);
		else
			call_reply(client, reply, reply->descriptors > 0 ? io_take(fds) : -1);
	}
	for (size_t i = 0; i < message->n_events; i++)
		call_event(client, message->events[i]);
	if (message->refused != NULL) {
		struct pasid_error refused;
		decode_status(message->refused, &refused);
		if (client->link == LINK_HELLO)
			link_hello(client, &(Pasid__V1__Reply){.status = message->refused});
		else if (!link_is_handed_over(client, message->refused))
			call_abort_all(client, &refused, true);
	}
	wire_arena_reset(&client->arena);
}

/*
 * The kernel tells us first, and once, that the daemon closed with something of ours unread. What
 * it sent before that, such as why it does not serve us, is there still.
 */
static ssize_t io_recvmsg(const struct pasid_client *client, struct msghdr *message, int flags)
{
	ssize_t size;
	do
		size = recvmsg(client->socket, message, flags | MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR && (flags & MSG_DONTWAIT) != 0);
	if (size < 0 && errno == ECONNRESET)
		size = recvmsg(client->socket, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	return size;
}

/* One datagram. 1: handled; 0: none there, or the connection is lost. Without MSG_DONTWAIT in the
 * flags it may sleep until one comes, and 0 is an interruption too. */
static int io_receive_one(struct pasid_client *client, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = client->in, .iov_len = WIRE_DATAGRAM_MAX + 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t size = io_recvmsg(client, &message, flags);
	if (size < 0) {
		int error = errno;
		if (error != EAGAIN && error != EINTR)
			link_lost(client, -error);
		return 0;
	}
	__attribute__((cleanup(io_fds_done))) struct io_fds fds = {0};
	io_take_control(&message, &fds);
	if (size == 0)
		link_lost(client, -ECONNRESET);
	else
		io_datagram(client, (size_t)size, &fds);
	return size > 0;
}

void io_receive(struct pasid_client *client)
{
	for (int n = 0; n < IO_BUDGET && client->socket >= 0; n++)
		if (!io_receive_one(client, MSG_DONTWAIT))
			return;
}

void io_receive_wait(struct pasid_client *client, uint32_t limit_ms)
{
	const struct timeval limit = {limit_ms / 1000, (suseconds_t)(limit_ms % 1000) * 1000};
	if (!client->blocking || client->epoll_out || client->link != LINK_UP)
		return;
	if (client->receive_ms != limit_ms &&
		setsockopt(client->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return;
	client->receive_ms = limit_ms;
	(void)io_receive_one(client, 0);
}
