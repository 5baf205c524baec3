/* SPDX-License-Identifier: MIT */
/* The conversation with one worker. */
#include "executor_state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Control data with the descriptors of one message, in both directions. */
union executor_control {
	struct cmsghdr align;
	char space[CMSG_SPACE(HW_FDS_MAX * sizeof(int))];
};

uint64_t executor_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- life --- */

int executor_worker_watch(struct executor_worker *worker)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uintptr_t)worker};
	int epoll = worker->executor->epoll;

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, worker->socket, &event) < 0)
		return -errno;
	event.data.u64 |= EXECUTOR_PIDFD;
	return epoll_ctl(epoll, EPOLL_CTL_ADD, worker->pidfd, &event) < 0 ? -errno : 0;
}

static int executor_worker_start(struct executor_worker *worker)
{
	char name[32];
	int r;

	(void)snprintf(name, sizeof(name), worker->janitor ? "janitor" : "%" PRIu64, worker->lane);
	r = executor_spawn(worker->executor, name, &worker->pid, &worker->pidfd, &worker->socket);
	return r < 0 ? r : executor_worker_watch(worker);
}

int executor_worker_new(struct executor *e, uint64_t lane, bool janitor, bool start,
	struct executor_worker **ret_worker)
{
	struct executor_worker *worker = calloc(1, sizeof(*worker));
	int r;

	if (!worker)
		return -ENOMEM;
	worker->executor = e;
	worker->lane = lane;
	worker->janitor = janitor;
	worker->pidfd = -1;
	worker->socket = -1;
	worker->last = &worker->first;
	r = start ? executor_worker_start(worker) : 0;
	if (r < 0) {
		executor_worker_free(worker);
		return r;
	}
	*ret_worker = worker;
	return 0;
}

/* Whoever keeps a copy of the socket for us keeps it open, and it would be watched for ever. */
void executor_worker_unwatch(struct executor_worker *worker)
{
	(void)epoll_ctl(worker->executor->epoll, EPOLL_CTL_DEL, worker->socket, NULL);
}

void executor_worker_close_socket(struct executor_worker *worker)
{
	if (worker->socket >= 0) {
		executor_worker_unwatch(worker);
		(void)close(worker->socket);
	}
	worker->socket = -1;
	worker->gone = true;
}

void executor_close_here(int fd)
{
	const struct linger none = {0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	(void)close(fd);
}

/* What a living janitor could not take waits; what a dead one had left goes to another. */
static void executor_worker_discard(const struct executor_worker *worker, int fd, uint64_t owner)
{
	if (fd >= 0 && worker->janitor && !worker->gone)
		executor_postpone(worker->executor, fd, owner);
	else
		executor_dispose_for(worker->executor, fd, owner);
}

void executor_item_free(const struct executor_worker *worker, struct executor_item *item)
{
	const uint64_t owner = item->type == WORKER_DISPOSE ? item->op.lane : 0;

	/* What it had got was closed with the process. */
	if (owner && item->op.fds[0] < 0)
		executor_closed(worker->executor, owner);
	for (uint32_t i = 0; i < item->op.fd_count; i++)
		executor_worker_discard(worker, item->op.fds[i], owner);
	free(item);
}

void executor_worker_free(struct executor_worker *worker)
{
	struct executor_item *item;

	while ((item = executor_worker_pop(worker)) != NULL)
		executor_item_free(worker, item);
	executor_worker_drop_refused(worker);
	if (worker->executor->hot == worker)
		worker->executor->hot = NULL;
	executor_keys_remove_worker(worker->executor, worker);
	executor_worker_close_socket(worker);
	if (worker->pidfd >= 0)
		(void)close(worker->pidfd);
	free(worker);
}

void executor_worker_kill(struct executor_worker *worker)
{
	(void)pidfd_send_signal(worker->pidfd, SIGKILL, NULL, 0);
	executor_worker_close_socket(worker);
}

/* --- to the worker --- */

/*
 * Where there is no number for what goes in the place of a file, none of them goes: the first one
 * says whether they are still to be sent.
 */
static void executor_worker_screen(struct executor *e, struct hw_op *op)
{
	bool missing = false;

	for (uint32_t i = 0; i < op->fd_count; i++) {
		op->fds[i] = executor_closer_screen(e, op->fds[i]);
		missing = missing || op->fds[i] < 0;
	}
	for (uint32_t i = 0; missing && i < op->fd_count; i++)
		executor_dispose(e, TAKE_FD(op->fds[i]));
}

int executor_worker_push(
	struct executor_worker *worker, uint32_t type, bool internal, const struct hw_op *op)
{
	struct executor_item *item = calloc(1, sizeof(*item));

	if (!item)
		return -ENOMEM;
	item->type = type;
	item->internal = internal;
	item->op = *op;
	if (type == WORKER_OP)
		executor_worker_screen(worker->executor, &item->op);
	if (!worker->first)
		worker->since_ns = executor_now();
	if (!worker->unsent)
		worker->unsent = item;
	*worker->last = item;
	worker->last = &item->next;
	worker->load++;
	worker->executor->load++;
	worker->executor->hot = worker;
	if (!internal)
		worker->count++;
	executor_worker_flush(worker);
	return 0;
}

struct executor_item *executor_worker_pop(struct executor_worker *worker)
{
	struct executor_item *item = worker->first;

	if (!item)
		return NULL;
	worker->first = item->next;
	if (!worker->first)
		worker->last = &worker->first;
	if (worker->unsent == item)
		worker->unsent = item->next;
	worker->load--;
	worker->executor->load--;
	if (!item->internal)
		worker->count--;
	worker->since_ns = executor_now();
	return item;
}

/* One message, with `fd_count` of the operation's descriptors when it is WORKER_FDS. 0 or -errno.
 */
static int executor_worker_send(
	struct executor_worker *worker, const struct executor_item *item, uint32_t type)
{
	struct worker_message message = {.version = WORKER_VERSION,
		.type = type,
		.fd_count = item->op.fd_count,
		.op = item->op};
	union executor_control control = {0};
	struct iovec iov = {.iov_base = &message, .iov_len = sizeof(message)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t size = item->op.fd_count * sizeof(int);
	ssize_t n;

	if (type == WORKER_FDS) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(size);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(&control.align), item->op.fds, size);
	}
	do
		n = sendmsg(worker->socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Is that an error after which sending again later makes sense? */
static bool executor_worker_later(int r)
{
	return r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM;
}

/* It cannot be passed on; who waits for it to be closed waits for another one to do that. */
static void executor_worker_refuse(
	const struct executor_worker *worker, struct executor_item *item, int fd)
{
	uint64_t owner = 0;

	if (item->type == WORKER_DISPOSE) {
		owner = item->op.lane;
		item->op.lane = 0;
	}
	executor_worker_discard(worker, fd, owner);
}

/*
 * Descriptors first, so that our copies are closed before the worker learns what to do with them.
 * Those that cannot be passed on are disposed of; the worker then answers that they are missing.
 */
static int executor_worker_send_fds(struct executor_worker *worker, struct executor_item *item)
{
	struct hw_op *op = &item->op;
	bool sent;
	int r;

	if (op->fd_count == 0 || op->fds[0] < 0)
		return 0;
	r = executor_worker_send(worker, item, WORKER_FDS);
	if (executor_worker_later(r) || r == -EPIPE || r == -ECONNRESET)
		return r;
	sent = r == 0;
	worker->executor->crowded = worker->executor->crowded || r == -ETOOMANYREFS;
	for (uint32_t i = 0; i < op->fd_count; i++) {
		int fd = TAKE_FD(op->fds[i]);

		if (sent)
			(void)close(fd);
		else
			executor_worker_refuse(worker, item, fd);
	}
	return 0;
}

static int executor_worker_send_item(struct executor_worker *worker, struct executor_item *item)
{
	int r = executor_worker_send_fds(worker, item);

	return r < 0 ? r : executor_worker_send(worker, item, item->type);
}

static void executor_worker_watch_sending(struct executor_worker *worker, bool sending)
{
	struct epoll_event event = {
		.events = sending ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.u64 = (uintptr_t)worker};

	if (worker->sending == sending)
		return;
	if (epoll_ctl(worker->executor->epoll, EPOLL_CTL_MOD, worker->socket, &event) == 0)
		worker->sending = sending;
}

void executor_worker_flush(struct executor_worker *worker)
{
	int r = 0;

	if (worker->gone || worker->socket < 0)
		return;
	while (worker->unsent) {
		r = executor_worker_send_item(worker, worker->unsent);
		if (r < 0)
			break;
		worker->unsent = worker->unsent->next;
	}
	/* Any other error: the process has ended or will; what it sent before is still to be read.
	 */
	executor_worker_watch_sending(worker, executor_worker_later(r));
}

/* --- from the worker --- */

/* The descriptors of a message; returns how many. */
static uint32_t executor_worker_fds(struct msghdr *msg, int ret_fds[static HW_FDS_MAX])
{
	uint32_t came = 0;

	for (uint32_t i = 0; i < HW_FDS_MAX; i++)
		ret_fds[i] = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		came = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		assert(came <= HW_FDS_MAX);
		memcpy(ret_fds, CMSG_DATA(c), came * sizeof(int));
	}
	return came;
}

static void executor_worker_take_fds(
	struct executor_worker *worker, struct msghdr *msg, struct hw_result *result)
{
	uint32_t promised = result->fd_count;
	uint32_t came = executor_worker_fds(msg, result->fds);

	result->fd_count = 0;
	if (came == promised) {
		result->fd_count = came;
		return;
	}
	for (uint32_t i = 0; i < came; i++)
		executor_dispose(worker->executor, TAKE_FD(result->fds[i]));
	result->status = error_set(&result->error, REASON_FD_TRUNCATED,
		"%u of %u descriptors came back: raise LimitNOFILE of pasidd.service", came,
		promised);
}

void executor_worker_drop_refused(struct executor_worker *worker)
{
	while (worker->refused_count > 0)
		executor_dispose(worker->executor, worker->refused[--worker->refused_count]);
}

/* An answer of `size` bytes, with a result that is complete, whatever build of ours wrote it. */
static bool executor_worker_understands(
	struct executor_worker *worker, const struct worker_answer *answer, size_t size)
{
	if (size < offsetof(struct worker_answer, result))
		return false;
	if (answer->version != WORKER_VERSION) {
		worker->version = answer->version; /* whatever else it says, this is its end */
		return false;
	}
	return size >= WORKER_ANSWER_LEAST && size <= sizeof(*answer) + WORKER_EXTRA_MAX;
}

/*
 * One message: a result, or a part of one when only descriptors came. Its size, 0 at the end, or -1
 * as the kernel's recvmsg, also with EBADMSG.
 */
static ssize_t executor_worker_read(struct executor_worker *worker, struct hw_result *ret_result)
{
	union executor_control control;
	uint8_t extra[WORKER_EXTRA_MAX];
	struct worker_answer answer;
	struct iovec iov[] = {{&answer, sizeof(answer)}, {extra, sizeof(extra)}};
	struct msghdr msg = {
		.msg_iov = iov,
		.msg_iovlen = ARRAY_SIZE(iov),
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	do
		n = recvmsg(worker->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n;
	if (n == WORKER_REFUSED_SIZE) {
		executor_worker_drop_refused(worker);
		worker->refused_count = executor_worker_fds(&msg, worker->refused);
		return n;
	}
	if (!executor_worker_understands(worker, &answer, (size_t)n)) {
		answer.result.fd_count = executor_worker_fds(&msg, answer.result.fds);
		for (uint32_t i = 0; i < answer.result.fd_count; i++)
			executor_dispose(worker->executor, answer.result.fds[i]);
		errno = EBADMSG;
		return -1;
	}
	if ((size_t)n < sizeof(answer))
		memset((uint8_t *)&answer + n, 0, sizeof(answer) - (size_t)n);
	*ret_result = answer.result;
	/* One that somebody has taken over says what it likes. */
	ret_result->error.text[sizeof(ret_result->error.text) - 1] = '\0';
	executor_worker_take_fds(worker, &msg, ret_result);
	return n;
}

int executor_worker_receive(struct executor_worker *worker, struct hw_result *ret_result)
{
	ssize_t n;

	if (worker->socket < 0)
		return 0;
	n = executor_worker_read(worker, ret_result);
	if (n == WORKER_REFUSED_SIZE) /* one goes ahead of a result; more would keep us here */
		n = executor_worker_read(worker, ret_result);
	if (n == WORKER_REFUSED_SIZE)
		return 0; /* epoll says that there is more */
	if (n > 0)
		return 1;
	if (n < 0 && executor_worker_later(-errno))
		return 0; /* asked again at once: epoll says so as long as something is there */
	if (n == 0 || errno == ECONNRESET)
		executor_worker_close_socket(worker);
	else /* the copy of our socket that is kept for us would let it wait for ever */
		executor_worker_kill(worker);
	return 0;
}
