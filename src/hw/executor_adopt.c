/* SPDX-License-Identifier: MIT */
/*
 * Workers that outlived the daemon that started them.
 *
 * Somebody (systemd's descriptor store) kept our end of their socket, so they never saw it end:
 * they have all their descriptors still, what they attached stands, and what had been sent to them
 * they do, or did. The answers to that concern nobody any more, and come first: all that arrives
 * before the answer to a greeting, which nobody can have asked for before, is passed over.
 */
#include "executor_state.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Ids of operations never have such an upper half. */
#define GREETING_IDS (UINT64_C(0xffffffff) << 32)

static int executor_adopt_greet(struct executor_worker *worker)
{
	struct hw_op greeting = {.lane = worker->lane};
	uint32_t nonce;

	if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
		return -EIO;
	greeting.id = worker->greeting = GREETING_IDS | nonce;
	return executor_worker_push(worker, WORKER_GREET, true, &greeting);
}

/*
 * While the other end of the socket is open its one owner lives, and the number is still its own:
 * so look after the process was opened, not before.
 */
static int executor_adopt_open(struct executor_worker *worker, int32_t pid, int socket)
{
	struct pollfd end = {.fd = socket, .events = POLLIN | POLLRDHUP};

	worker->pidfd = pidfd_open(pid, 0);
	if (worker->pidfd < 0)
		return -errno;
	if (poll(&end, 1, 0) < 0 || (end.revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL)))
		return -ESRCH;
	worker->pid = pid;
	worker->socket = socket;
	return executor_worker_watch(worker);
}

int executor_adopt(struct executor *executor, uint64_t lane, int32_t pid, int socket)
{
	struct executor_worker *worker;
	int r;

	if (executor_lane_stands(executor, lane))
		return -EEXIST;
	r = executor_worker_new(executor, lane, false, false, &worker);
	if (r < 0)
		return r;
	r = executor_adopt_open(worker, pid, socket);
	if (r == 0)
		r = executor_adopt_greet(worker);
	if (r < 0) {
		if (worker->socket >= 0)
			executor_worker_unwatch(worker);
		worker->socket = -1; /* the caller's */
		executor_worker_free(worker);
		return r;
	}
	executor_enter(worker);
	return 0;
}

bool executor_answer_is_old(struct executor_worker *worker, struct hw_result *result)
{
	if (worker->greeting == 0)
		return false;
	if (result->id == worker->greeting) {
		worker->greeting = 0;
		return false;
	}
	executor_worker_drop_refused(worker);
	for (uint32_t i = 0; i < result->fd_count; i++)
		executor_dispose(worker->executor, result->fds[i]);
	return true;
}

void executor_on_lane(struct executor *executor, executor_lane_fn *changed, void *ctx)
{
	executor->lane_changed = changed;
	executor->lane_ctx = ctx;
}

void executor_tell_lane(const struct executor_worker *worker, bool stands)
{
	const struct executor *e = worker->executor;

	if (e->lane_changed && !worker->janitor && worker->pid != 0)
		e->lane_changed(e->lane_ctx, worker->lane, worker->pid, worker->socket, stands);
}
