/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include "backend.h"
#include "confine.h"
#include "iommufd.h"
#include "sim.h"
#include "spawner.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct worker {
	int socket;
	const struct calls *calls;
	void *ctx;
	struct backend *backend;
	int fds[HW_FDS_MAX]; /* came ahead, belong to the next operation */
	uint32_t fd_count;
	bool unknown; /* the message asks for something that is not known here */
};

static void worker_close_fds(struct worker *worker)
{
	for (uint32_t i = 0; i < worker->fd_count; i++)
		worker->calls->close(worker->ctx, worker->fds[i]);
	worker->fd_count = 0;
}

/* Keeps the descriptors of a message; at most HW_FDS_MAX fit, the kernel drops what does not. */
static void worker_keep_fds(struct worker *worker, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (worker->fd_count < HW_FDS_MAX)
				worker->fds[worker->fd_count++] = fd;
			else
				worker->calls->close(worker->ctx, fd);
		}
	}
}

static bool worker_is_zero(const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* What came is one of ours, or a shorter or longer one of another build (worker.h). 1 or -errno. */
static int worker_check(struct worker *worker, const struct worker_message *message, size_t size,
	const uint8_t *extra)
{
	const size_t more = size > sizeof(*message) ? size - sizeof(*message) : 0;

	if (size < offsetof(struct worker_message, fd_count) || more > WORKER_EXTRA_MAX)
		return -EBADMSG;
	if (message->version != WORKER_VERSION)
		return message->type == WORKER_GREET ? 1 : -EBADMSG;
	if (size < WORKER_MESSAGE_LEAST)
		return -EBADMSG;
	worker->unknown =
		!worker_is_zero(extra, more) ||
		!worker_is_zero((const uint8_t *)message->op.spare, sizeof(message->op.spare));
	return 1;
}

/* 1 with a message, 0 at the end of the conversation, or -errno. */
static int worker_receive(struct worker *worker, struct worker_message *message)
{
	uint8_t extra[WORKER_EXTRA_MAX];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(HW_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov[] = {{message, sizeof(*message)}, {extra, sizeof(extra)}};
	struct msghdr msg = {
		.msg_iov = iov,
		.msg_iovlen = ARRAY_SIZE(iov),
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	memset(message, 0, sizeof(*message));
	do
		n = recvmsg(worker->socket, &msg, MSG_CMSG_CLOEXEC | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	worker_keep_fds(worker, &msg);
	if (n == 0)
		return 0;
	return worker_check(worker, message, (size_t)n, extra);
}

/* The first `length` bytes of the answer with a result, with all its descriptors. 0 or -errno. */
static int worker_send(struct worker *worker, const struct hw_result *result, size_t length)
{
	struct worker_answer answer = {.version = WORKER_VERSION, .result = *result};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(HW_FDS_MAX * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = &answer, .iov_len = length};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t size = result->fd_count * sizeof(int);
	ssize_t n;

	assert(result->fd_count <= HW_FDS_MAX);
	if (size > 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(size);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(c), result->fds, size);
	}
	do
		n = sendmsg(worker->socket, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Gives back what a failed operation had no use for. If that fails, we end, and with us all we
 * have. */
static int worker_refuse(struct worker *worker, struct hw_result *result)
{
	int r;

	if (result->status == 0 || result->fd_count == 0)
		return 0;
	r = worker_send(worker, result, WORKER_REFUSED_SIZE);
	for (uint32_t i = 0; i < result->fd_count; i++)
		worker->calls->close(worker->ctx, TAKE_FD(result->fds[i]));
	result->fd_count = 0;
	return r;
}

/* What came ahead of the operation goes back with its result, whose status is set. */
static void worker_give_back(
	struct worker *worker, const struct hw_op *op, struct hw_result *result)
{
	result->id = op->id;
	result->device = op->device;
	result->fd_count = worker->fd_count;
	memcpy(result->fds, worker->fds, sizeof(result->fds));
	worker->fd_count = 0;
}

/* The operation with what came ahead of it. */
static void worker_execute(
	struct worker *worker, const struct worker_message *message, struct hw_result *result)
{
	struct hw_op op = message->op;

	memset(result, 0, sizeof(*result));
	if (worker->unknown)
		result->status = error_set(&result->error, REASON_FEATURE,
			"this set's worker is of an earlier version of pasidd, and does not know "
			"that operation; it does when the set's devices were removed and "
			"registered anew");
	else if (worker->fd_count != message->fd_count)
		result->status = error_set(&result->error, REASON_FD_TRUNCATED,
			"%u of %u descriptors arrived: the worker has too many open",
			worker->fd_count, message->fd_count);
	if (result->status != 0) {
		worker_give_back(worker, &op, result);
		return;
	}
	op.fd_count = worker->fd_count;
	memcpy(op.fds, worker->fds, sizeof(op.fds));
	worker->fd_count = 0;
	backend_execute(worker->backend, &op, result);
}

/* One message; 1: go on, 0: that was the last operation, or -errno. */
static int worker_serve(struct worker *worker, const struct worker_message *message)
{
	struct hw_result result = {.id = message->op.id};
	int r;

	if (message->version != WORKER_VERSION) {
		r = worker_send(worker, &result, offsetof(struct worker_answer, result));
		return r < 0 ? r : -EPROTO;
	}
	switch ((enum worker_type)message->type) {
	case WORKER_FDS:
		return 1;
	case WORKER_GREET:
		worker_close_fds(worker); /* what came ahead of an operation that never followed */
		break;
	case WORKER_OP:
		worker_execute(worker, message, &result);
		break;
	case WORKER_DISPOSE:
		worker_close_fds(worker);
		break;
	default:
		return -EBADMSG;
	}
	r = worker_refuse(worker, &result);
	if (r == 0)
		r = worker_send(worker, &result, sizeof(struct worker_answer));
	if (r < 0)
		return r;
	return message->type != WORKER_OP || message->op.kind != HW_END;
}

/*
 * Until there is something to receive: 0, or -ENODEV when the function is to be unplugged instead,
 * or -errno. That is served first, and asks nobody: the kernel waits for us, the daemon may be
 * gone, and a worker that died is what it can deal with.
 */
static int worker_wait(const struct worker *worker)
{
	struct pollfd fds[] = {
		{.fd = worker->socket, .events = POLLIN},
		{.fd = backend_removal_fd(worker->backend), .events = POLLIN},
	};
	int r;

	if (fds[1].fd < 0)
		return 0;
	do
		r = poll(fds, ARRAY_SIZE(fds), -1);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return fds[1].revents ? -ENODEV : 0;
}

static int worker_loop(struct worker *worker)
{
	struct worker_message message;
	int r;

	do {
		r = worker_wait(worker);
		if (r == 0)
			r = worker_receive(worker, &message);
		if (r > 0)
			r = worker_serve(worker, &message);
	} while (r > 0);
	worker_close_fds(worker);
	return r;
}

static int worker_fail(const char *what, int r)
{
	(void)fprintf(stderr, "pasidd-worker: %s: %s\n", what, strerror(-r));
	return EXIT_FAILURE;
}

int worker_main(int socket, const char *simulate_dir)
{
	__attribute__((cleanup(sim_close_p))) struct sim *sim = NULL;
	struct confinement confinement; /* the daemon has said what this kernel has */
	struct iommufd_host host;
	struct worker worker = {.socket = socket, .calls = &iommufd_calls, .ctx = &host};
	int r;

	(void)prctl(PR_SET_NAME, "pasidd-worker");
	iommufd_host_init(&host);
	if (simulate_dir) {
		r = sim_open(simulate_dir, &sim);
		if (r < 0)
			return worker_fail(simulate_dir, r);
		worker.calls = sim_calls(sim);
		worker.ctx = sim;
	}
	r = backend_new(worker.calls, worker.ctx, &worker.backend);
	if (r < 0)
		return worker_fail("start", r);
	confine_worker(simulate_dir != NULL, &confinement);
	if (confinement.calls < 0)
		(void)fprintf(stderr, "pasidd-worker: less confined than it could be: %s\n",
			confinement.text);
	if (confinement.calls == -ENOMEM) /* another one may have more luck */
		return worker_fail("confine", confinement.calls);
	r = worker_loop(&worker);
	backend_free(worker.backend);
	if (r == -ENODEV) {
		(void)fputs("pasidd-worker: the device is to be unplugged: let go of it\n", stderr);
		return WORKER_EXIT_UNPLUGGED;
	}
	/* Who reads no results any more has gone: an end like end of file. */
	return r < 0 && r != -EPIPE && r != -ECONNRESET ? worker_fail("socket", r) : EXIT_SUCCESS;
}

bool worker_asked(int argc, char *const argv[], int *ret_exit)
{
	const char *simulate_dir = NULL, *program = NULL;

	if (argc < 2 || strcmp(argv[1], "--worker") != 0)
		return false;
	for (int i = 2; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--simulate") == 0)
			simulate_dir = argv[i + 1];
		if (strcmp(argv[i], "--start") == 0)
			program = argv[i + 1];
	}
	*ret_exit = program ? spawner_main(WORKER_SOCKET, program, simulate_dir)
			    : worker_main(WORKER_SOCKET, simulate_dir);
	return true;
}
