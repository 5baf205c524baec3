/* SPDX-License-Identifier: MIT */
/*
 * Closing foreign descriptors. A close may take as long as whoever made the descriptor likes (a
 * socket that lingers, a file system of theirs), so that a janitor may be kept, but not for long.
 */
#include "executor_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000u

/*
 * Without a descriptor left no janitor can be had, and without a janitor none is ever given back:
 * what a janitor takes is kept for it.
 */
static void executor_reserve(struct executor *e)
{
	while (e->reserved < EXECUTOR_RESERVE) {
		int fd = fcntl(e->timer, F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			return;
		e->reserve[e->reserved++] = fd;
	}
}

static void executor_unreserve(struct executor *e)
{
	while (e->reserved > 0)
		(void)close(e->reserve[--e->reserved]);
}

int executor_janitor_init(struct executor *e)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	e->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->timer < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->timer, &event) < 0)
		return -errno;
	executor_reserve(e);
	return 0;
}

void executor_janitor_arm(struct executor *e)
{
	const struct itimerspec after = {
		.it_value = {
			.tv_sec = EXECUTOR_JANITOR_MS / 1000,
			.tv_nsec = (long)(EXECUTOR_JANITOR_MS % 1000) * NS_PER_MS,
		}};

	if (!e->timing)
		e->timing = timerfd_settime(e->timer, 0, &after, NULL) == 0;
}

static void executor_close_last(struct executor *e, int fd, uint64_t owner)
{
	executor_close_here(fd);
	executor_closed(e, owner);
}

static bool executor_janitors_idle(const struct executor *e)
{
	const struct executor_worker *worker = e->janitors;

	while (worker && worker->load == 0)
		worker = worker->next;
	return !worker;
}

/*
 * Tries again with what no janitor could take. The kernel limits how many descriptors a user may
 * have on their way. While none of them are ours, only processes of our own user, who could as well
 * kill us, have used that up, perhaps on connections that can end only when we close them: nobody
 * gains by our waiting.
 */
static void executor_janitor_adopt(struct executor *e)
{
	struct executor_orphan *orphan = TAKE_PTR(e->orphans), *next;
	const bool here = e->crowded && executor_janitors_idle(e);

	e->crowded = false;
	e->orphan_count = 0;
	for (; orphan; orphan = next) {
		next = orphan->next;
		if (here)
			executor_close_last(e, orphan->fd, orphan->owner);
		else
			executor_dispose_for(e, orphan->fd, orphan->owner);
		free(orphan);
	}
}

void executor_janitor_tick(struct executor *e)
{
	struct executor_worker *worker;
	bool busy = false;
	uint64_t expired;

	if (read(e->timer, &expired, sizeof(expired)) != sizeof(expired))
		return;
	e->timing = false;
	executor_janitor_adopt(e);
	executor_reserve(e);
	for (worker = e->janitors; worker; worker = worker->next) {
		if (worker->gone || worker->load == 0)
			continue;
		busy = true;
		if (executor_now() - worker->since_ns >= (uint64_t)EXECUTOR_JANITOR_MS * NS_PER_MS)
			executor_worker_kill(worker); /* what it did not get goes to another */
	}
	busy = executor_closer_tick(e) || busy;
	if (busy || e->reserved < EXECUTOR_RESERVE)
		executor_janitor_arm(e);
}

static int executor_janitor_new(struct executor *e, struct executor_worker **ret_worker)
{
	int r = executor_worker_new(e, 0, true, true, ret_worker);

	if ((r != -EMFILE && r != -ENFILE) || e->reserved == 0)
		return r;
	executor_unreserve(e);
	return executor_worker_new(e, 0, true, true, ret_worker);
}

/* The least busy janitor, another one while all are busy; NULL when none can be had. */
static struct executor_worker *executor_janitor(struct executor *e)
{
	struct executor_worker *best = NULL, *worker;
	uint32_t living = 0;

	for (worker = e->janitors; worker; worker = worker->next) {
		if (worker->gone)
			continue;
		living++;
		if (!best || worker->load < best->load)
			best = worker;
	}
	if ((best && best->load == 0) || living >= EXECUTOR_JANITORS ||
		e->janitor_count >= EXECUTOR_JANITORS_MAX || e->closing)
		return best;
	if (executor_janitor_new(e, &worker) < 0)
		return best;
	worker->next = e->janitors;
	e->janitors = worker;
	e->janitor_count++;
	return worker;
}

void executor_on_closed(
	struct executor *executor, void (*closed)(void *ctx, uint64_t owner), void *ctx)
{
	executor->closed = closed;
	executor->closed_ctx = ctx;
}

void executor_closed(const struct executor *e, uint64_t owner)
{
	if (owner && e->closed)
		e->closed(e->closed_ctx, owner);
}

void executor_postpone(struct executor *e, int fd, uint64_t owner)
{
	struct executor_orphan *orphan = e->closing ? NULL : malloc(sizeof(*orphan));

	if (!orphan) {
		executor_close_last(e, fd, owner);
		return;
	}
	*orphan = (struct executor_orphan){e->orphans, owner, fd};
	e->orphans = orphan;
	e->orphan_count++;
	executor_janitor_arm(e);
}

void executor_janitor_done(struct executor *e)
{
	struct executor_orphan *orphan;

	executor_unreserve(e);
	while ((orphan = e->orphans) != NULL) {
		e->orphans = orphan->next;
		executor_close_last(e, orphan->fd, orphan->owner);
		free(orphan);
	}
}

void executor_dispose_for(struct executor *executor, int fd, uint64_t owner)
{
	struct hw_op op = {.lane = owner, .fd_count = 1, .fds = {fd, -1}};
	struct executor_worker *janitor;

	if (fd < 0 || executor_closer_dispose(executor, fd, owner))
		return;
	janitor = executor_janitor(executor);
	if (!janitor || executor_worker_push(janitor, WORKER_DISPOSE, true, &op) < 0)
		executor_postpone(executor, fd, owner);
	else
		executor_janitor_arm(executor);
}

void executor_dispose(struct executor *executor, int fd)
{
	executor_dispose_for(executor, fd, 0);
}

uint32_t executor_backlog(const struct executor *executor)
{
	uint32_t count = executor->orphan_count + executor->closer.count;

	for (const struct executor_worker *worker = executor->janitors; worker;
		worker = worker->next)
		count += worker->load;
	return count;
}
