/* SPDX-License-Identifier: MIT */
#include "executor_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXECUTOR_EVENTS  64 /* a dispatch looks at so many workers */
#define EXECUTOR_RESULTS 32 /* and takes so many results of each */

static int executor_init(struct executor *e, const struct executor_options *options)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	int r;

	e->program = strdup(options->program ? options->program : "/proc/self/exe");
	if (options->simulate_dir)
		e->simulate_dir = strdup(options->simulate_dir);
	if (!e->program || (options->simulate_dir && !e->simulate_dir))
		return -ENOMEM;
	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (e->epoll < 0)
		return -errno;
	e->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->wake < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->wake, &event) < 0)
		return -errno;
	r = executor_closer_init(e);
	if (r == 0)
		r = executor_spawner_start(e);
	return r < 0 ? r : executor_janitor_init(e);
}

int executor_new(const struct executor_options *options, struct executor **ret_executor)
{
	struct executor *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->epoll = -1;
	e->wake = -1;
	e->timer = -1;
	e->spawner.socket = e->spare.socket = -1;
	e->closer.standin = -1;
	r = executor_init(e, options);
	if (r < 0) {
		executor_free(e);
		return r;
	}
	*ret_executor = e;
	return 0;
}

static void executor_free_list(struct executor_worker **list)
{
	while (*list) {
		struct executor_worker *worker = *list;

		*list = worker->next;
		executor_worker_free(worker);
	}
}

void executor_free(struct executor *executor)
{
	if (!executor)
		return;
	for (size_t i = 0; i < EXECUTOR_BUCKETS; i++)
		executor_free_list(&executor->buckets[i]);
	executor->closing = true;
	executor_free_list(&executor->janitors);
	executor_janitor_done(executor);
	executor_closer_done(executor);
	executor_spawner_stop(executor);
	if (executor->wake >= 0)
		(void)close(executor->wake);
	if (executor->timer >= 0)
		(void)close(executor->timer);
	if (executor->epoll >= 0)
		(void)close(executor->epoll);
	free(executor->program);
	free(executor->simulate_dir);
	free(executor);
}

int executor_fd(const struct executor *executor)
{
	return executor->epoll;
}

/* --- lanes --- */

static struct executor_worker **executor_bucket(struct executor *e, uint64_t lane)
{
	return &e->buckets[(lane ^ lane >> 24) % EXECUTOR_BUCKETS];
}

static struct executor_worker *executor_find(struct executor *e, uint64_t lane)
{
	struct executor_worker *worker = *executor_bucket(e, lane);

	while (worker && worker->lane != lane)
		worker = worker->next;
	return worker;
}

static void executor_unlink(struct executor_worker *worker)
{
	struct executor *e = worker->executor;
	struct executor_worker **link =
		worker->janitor ? &e->janitors : executor_bucket(e, worker->lane);

	while (*link != worker)
		link = &(*link)->next;
	*link = worker->next;
	if (worker->janitor)
		e->janitor_count--;
}

void executor_enter(struct executor_worker *worker)
{
	struct executor_worker **bucket = executor_bucket(worker->executor, worker->lane);

	worker->next = *bucket;
	*bucket = worker;
}

bool executor_lane_stands(const struct executor *executor, uint64_t lane)
{
	const struct executor_worker *worker = executor_find((struct executor *)executor, lane);

	return worker && !worker->gone;
}

static int executor_lane_get(
	struct executor *e, const struct hw_op *op, struct executor_worker **ret_worker)
{
	struct executor_worker *worker = executor_find(e, op->lane);
	int r = 0;

	if (!worker) {
		/* To end a lane that never began takes no process. */
		r = executor_worker_new(e, op->lane, false, op->kind != HW_END, &worker);
		if (r < 0)
			return r;
		executor_enter(worker);
		executor_tell_lane(worker, true);
	}
	*ret_worker = worker;
	return 0;
}

static int executor_submit(void *ctx, const struct hw_op *op)
{
	struct executor *e = ctx;
	struct executor_worker *worker;
	int r;

	assert(op->fd_count <= HW_FDS_MAX);
	r = executor_lane_get(e, op, &worker);
	if (r < 0)
		return r;
	if (worker->gone || worker->ending)
		return -EPIPE;
	if (worker->count >= EXECUTOR_LANE_OPS)
		return -EAGAIN;
	r = executor_worker_push(worker, WORKER_OP, false, op);
	if (r < 0)
		return r;
	worker->ending = op->kind == HW_END;
	if (worker->pid == 0)
		(void)eventfd_write(e->wake, 1);
	return 0;
}

struct hw executor_hw(struct executor *executor)
{
	static const struct hw_ops ops = {.submit = executor_submit};

	return (struct hw){.ops = &ops, .ctx = executor};
}

/* --- results --- */

static void executor_fail(const struct executor_worker *worker, const struct executor_item *item,
	int wait_status, struct hw_result *ret_result)
{
	memset(ret_result, 0, sizeof(*ret_result));
	ret_result->id = item->op.id;
	ret_result->device = item->op.device;
	ret_result->fds[0] = ret_result->fds[1] = -1;
	/* however it ended: an answer may be lost, so nobody knows what was done */
	ret_result->status = -EPIPE;
	if (worker->version != 0) {
		(void)error_set(&ret_result->error, REASON_WORKER_LOST,
			"the worker process of this set is of another version of pasidd (%u, this "
			"one %u), and was ended",
			worker->version, WORKER_VERSION);
		return;
	}
	if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == WORKER_EXIT_UNPLUGGED) {
		(void)error_set(&ret_result->error, REASON_WORKER_LOST,
			"the device is being unplugged from the host, and its worker let go of it "
			"before it answered");
		return;
	}
	(void)error_set(&ret_result->error, REASON_WORKER_LOST,
		"the worker process of this set ended (%s %d) before it answered",
		WIFSIGNALED(wait_status) ? "signal" : "exit status",
		WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
}

/* The number of a worker's descriptor becomes the key of its open file. */
static void executor_identified(
	struct executor_worker *worker, const struct executor_item *item, struct hw_result *result)
{
	struct hw_op undo = {.lane = worker->lane, .kind = HW_CLOSE, .device = item->op.device};
	int fd = (int)result->iommufd_key, r;

	r = executor_keys_add(worker->executor, worker, item->op.device, fd, &result->iommufd_key);
	if (r == 0)
		return;
	result->iommufd_key = 0;
	if (item->op.kind == HW_REPORT)
		return; /* what is attached stays; without a key there is nothing to compare with */
	result->status = error_set(&result->error,
		r == -ENOMEM ? REASON_NO_MEMORY : REASON_INTERNAL,
		"the daemon cannot remember or compare open files of two processes (kcmp): %s",
		strerror(-r));
	(void)executor_worker_push(worker, WORKER_OP, true, &undo);
}

static void executor_note(
	struct executor_worker *worker, const struct executor_item *item, struct hw_result *result)
{
	uint32_t kind = item->op.kind;

	if (item->type != WORKER_OP || result->status != 0)
		return;
	if (kind == HW_IDENTIFY || kind == HW_REPORT)
		executor_identified(worker, item, result);
	else if (kind == HW_CLOSE)
		executor_keys_remove(worker->executor, worker, item->op.device);
	else if (kind == HW_END)
		worker->ended = true;
}

/* One answer of a worker: it is for the oldest operation. */
static void executor_answer(struct executor_worker *worker, struct hw_result *result,
	const struct executor_handler *handler)
{
	struct executor_item *item = worker->first;

	if (executor_answer_is_old(worker, result))
		return;
	executor_worker_drop_refused(worker);
	if (!item || worker->unsent == item || item->op.id != result->id) {
		for (uint32_t i = 0; i < result->fd_count; i++)
			executor_dispose(worker->executor, result->fds[i]);
		executor_worker_kill(worker);
		return;
	}
	executor_note(worker, item, result);
	if (worker->ended)
		return; /* delivered when the process is reaped: only then all is closed */
	item = executor_worker_pop(worker);
	if (item->type == WORKER_DISPOSE)
		executor_closed(worker->executor, item->op.lane);
	if (!item->internal)
		handler->complete(handler->ctx, result);
	free(item);
}

static void executor_drain(
	struct executor_worker *worker, unsigned budget, const struct executor_handler *handler)
{
	struct hw_result result;

	/* Who has answered everything is not asked again; what else there may be, epoll says. */
	while (executor_worker_receive(worker, &result) > 0) {
		executor_answer(worker, &result, handler);
		if (--budget == 0 || !worker->first)
			break;
	}
}

/*
 * While a single worker has something to do, what woke us is most likely its answer: that is read
 * without asking who it was. Once in a while all are asked. Returns whether there was an answer.
 */
static bool executor_dispatch_hot(struct executor *e, const struct executor_handler *handler)
{
	struct executor_worker *worker = e->hot;
	struct hw_result result;

	if (!worker || worker->load == 0 || worker->load != e->load || worker->unsent ||
		e->shortcuts >= EXECUTOR_SHORTCUTS ||
		executor_worker_receive(worker, &result) <= 0) {
		e->shortcuts = 0;
		return false;
	}
	e->shortcuts++;
	executor_answer(worker, &result, handler);
	return true;
}

/* --- ends --- */

/* The last of a worker: whatever was under way gets its result, then whoever cares is told. */
static void executor_bury(
	struct executor_worker *worker, int wait_status, const struct executor_handler *handler)
{
	bool ended = worker->ended && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
	const uint64_t lane = worker->lane;
	const uint32_t version = worker->version;
	const bool janitor = worker->janitor;
	struct executor_item *item;
	struct hw_result result;

	if (ended)
		executor_unlink(worker); /* the lane may begin again at once */
	while ((item = executor_worker_pop(worker)) != NULL) {
		executor_fail(worker, item, wait_status, &result);
		if (ended && item->op.kind == HW_END) {
			result.status = 0;
			memset(&result.error, 0, sizeof(result.error));
		}
		if (!item->internal)
			handler->complete(handler->ctx, &result);
		executor_item_free(worker, item);
	}
	if (!ended)
		executor_unlink(worker);
	executor_worker_close_socket(worker);
	executor_tell_lane(worker, false);
	executor_worker_free(worker);
	if (!ended && !janitor)
		handler->lost(handler->ctx, lane, version);
}

/* Reads what a worker that has ended still said, then reaps it. */
static void executor_reap(struct executor_worker *worker, const struct executor_handler *handler)
{
	siginfo_t info = {0};
	int status = 0;

	if (worker->pid != 0) {
		executor_drain(worker, UINT32_MAX, handler);
		if (waitid(P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOHANG) == 0) {
			if (info.si_pid == 0)
				return;
			status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8
							    : info.si_status & 0x7f;
		}
	}
	executor_bury(worker, status, handler);
}

/* Lanes that ended without ever having had a process. */
static void executor_dispatch_wake(struct executor *e, const struct executor_handler *handler)
{
	eventfd_t count;

	(void)eventfd_read(e->wake, &count);
	executor_janitor_tick(e);
	executor_spawner_tend(e);
	for (size_t i = 0; i < EXECUTOR_BUCKETS; i++) {
		struct executor_worker *worker = e->buckets[i], *next;

		for (; worker; worker = next) {
			next = worker->next;
			if (worker->pid != 0)
				continue;
			worker->ended = true;
			executor_reap(worker, handler);
			next = e->buckets[i]; /* the handler may have changed the list */
		}
	}
}

/* Reads from the workers that have something to say; returns those whose process has ended. */
static struct executor_worker *executor_dispatch_events(const struct epoll_event *events, int count,
	const struct executor_handler *handler, bool *ret_wake)
{
	struct executor_worker *ended = NULL;

	for (int i = 0; i < count; i++) {
		uintptr_t data = (uintptr_t)events[i].data.u64;
		struct executor_worker *worker =
			(struct executor_worker *)(data & ~(uintptr_t)EXECUTOR_PIDFD);

		if (!worker) {
			*ret_wake = true;
		} else if (data & EXECUTOR_PIDFD) {
			worker->reap_next = ended;
			ended = worker;
		} else {
			executor_worker_flush(worker);
			executor_drain(worker, EXECUTOR_RESULTS, handler);
		}
	}
	return ended;
}

void executor_dispatch(struct executor *executor, const struct executor_handler *handler)
{
	struct epoll_event events[EXECUTOR_EVENTS];
	bool wake = false;
	struct executor_worker *worker, *next;
	int count;

	if (executor_dispatch_hot(executor, handler))
		return;
	count = epoll_wait(executor->epoll, events, EXECUTOR_EVENTS, 0);
	/* Workers are freed only after the last event that may name them. */
	worker = executor_dispatch_events(events, count, handler, &wake);
	for (; worker; worker = next) {
		next = worker->reap_next;
		executor_reap(worker, handler);
	}
	if (wake)
		executor_dispatch_wake(executor, handler);
}

/* --- status --- */

static void executor_lane_fill(const struct executor_worker *worker, struct executor_lane *ret_lane)
{
	*ret_lane = (struct executor_lane){
		.lane = worker->lane,
		.pid = worker->pid,
		.pending = worker->count,
		.ending = worker->ending || worker->gone,
	};
	if (worker->first) {
		ret_lane->kind = worker->first->op.kind;
		ret_lane->device = worker->first->op.device;
		ret_lane->rid = worker->first->op.rid;
		ret_lane->op_id = worker->first->op.id;
		ret_lane->since_ns = worker->since_ns;
	}
}

size_t executor_hanging(const struct executor *executor, uint64_t age_ns,
	struct executor_lane *ret_lanes, size_t max)
{
	const uint64_t now = executor_now();
	size_t count = 0;

	for (size_t i = 0; i < EXECUTOR_BUCKETS; i++)
		for (const struct executor_worker *worker = executor->buckets[i]; worker;
			worker = worker->next) {
			if (!worker->first || now - worker->since_ns < age_ns)
				continue;
			if (count < max)
				executor_lane_fill(worker, &ret_lanes[count]);
			count++;
		}
	return count;
}

size_t executor_lanes(const struct executor *executor, struct executor_lane *ret_lanes, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < EXECUTOR_BUCKETS; i++)
		for (const struct executor_worker *worker = executor->buckets[i]; worker;
			worker = worker->next) {
			if (count < max)
				executor_lane_fill(worker, &ret_lanes[count]);
			count++;
		}
	return count;
}
