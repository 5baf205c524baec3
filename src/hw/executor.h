/* SPDX-License-Identifier: MIT */
/*
 * Carries operations to worker processes and results back, without ever blocking: the parent's
 * side.
 *
 * One process a lane, started with the lane's first operation. Everything that may block (ioctls,
 * fstat and close of foreign descriptors) happens there. The executor has an epoll descriptor to be
 * watched by the loop, and uses no signals.
 */
#ifndef PASIDD_HW_EXECUTOR_H
#define PASIDD_HW_EXECUTOR_H

#include "hw.h"

#include <sys/types.h>

#define EXECUTOR_LANE_OPS 256 /* operations under way in a lane before hw_submit() says -EAGAIN */

struct executor;

struct executor_options {
	const char
		*program; /* NULL: /proc/self/exe; is started with --worker, see worker_asked() */
	const char *simulate_dir; /* NULL: the real kernel */
};

/* The strings are copied. Returns 0 or -errno. */
int executor_new(const struct executor_options *options, struct executor **ret_executor);

/*
 * Closes the workers' sockets, which makes each close everything and end; waits for none of them.
 * Results that were not dispatched are lost. NULL is fine.
 */
void executor_free(struct executor *executor);

/* The port for the broker. Valid as long as the executor. */
struct hw executor_hw(struct executor *executor);

/*
 * Goes on with a worker that an earlier run had started for the lane: process `pid`, whose socket
 * was kept. What was sent to it before is done, and its answers are dropped. Takes the socket on
 * success only. -ESRCH: it is gone; -EEXIST: the lane has a worker.
 */
int executor_adopt(struct executor *executor, uint64_t lane, int32_t pid, int socket);
/* Is there a worker for that lane? */
bool executor_lane_stands(const struct executor *executor, uint64_t lane);

/*
 * A lane's worker was started (stands) or its process is gone. The socket is ours of the two; a
 * copy of it, kept elsewhere, keeps the worker when this process ends. -1 when it is gone.
 */
typedef void executor_lane_fn(void *ctx, uint64_t lane, int32_t pid, int socket, bool stands);
/* Who is told; NULL: nobody. */
void executor_on_lane(struct executor *executor, executor_lane_fn *changed, void *ctx);

/*
 * From now on this process cannot start what workers are started by (confine.h); of what was
 * started there are two, which make up for each other.
 */
void executor_confine(struct executor *executor);
/* Both have ended at once: no lane can begin any more, until this process is started anew. */
bool executor_is_helpless(const struct executor *executor);

/* Readable when executor_dispatch() has something to do. Stays the executor's. */
int executor_fd(const struct executor *executor);

struct executor_handler {
	/* A result; descriptors in it belong to the handler. May submit further operations. */
	void (*complete)(void *ctx, const struct hw_result *result);
	/*
	 * The worker of `lane` ended without being asked to, and has been reaped: its descriptors
	 * are gone, and all its operations were completed with REASON_WORKER_LOST before. The next
	 * operation in that lane starts a new worker, which knows nothing. `version` of the
	 * messages is what it spoke, where it was ended because that is not ours; else 0.
	 */
	void (*lost)(void *ctx, uint64_t lane, uint32_t version);
	void *ctx;
};

/* Delivers what has arrived, up to a fair budget; call it again while executor_fd() is readable. */
void executor_dispatch(struct executor *executor, const struct executor_handler *handler);

/*
 * Closes a foreign descriptor in another process: always takes it, does not block. While no process
 * can be had it is kept; only when there is no memory for that either is it closed here. -1 is
 * fine.
 */
void executor_dispose(struct executor *executor, int fd);
/* The same; closed() is told of `owner`, which is not 0, when it is closed. */
void executor_dispose_for(struct executor *executor, int fd, uint64_t owner);
/* Who is told; may be called from within executor_dispose_for(). NULL: nobody. */
void executor_on_closed(
	struct executor *executor, void (*closed)(void *ctx, uint64_t owner), void *ctx);

/* How many descriptors given to executor_dispose() are not closed yet. */
uint32_t executor_backlog(const struct executor *executor);

/*
 * Starts another process that reads the settings, from `path`, or from where they are by default
 * with NULL, and prints them to `output`, as pasidd --check-config --json does. It is the caller's
 * child, to be waited for. 0 or -errno.
 */
int executor_read_settings(
	struct executor *executor, const char *path, int output, pid_t *ret_pid, int *ret_pidfd);

/* What a lane is doing, for status. */
struct executor_lane {
	uint64_t lane;
	int32_t pid;
	uint32_t pending;  /* operations without a result, the current one included */
	uint32_t kind;     /* enum hw_kind of the current operation, 0 when idle */
	uint32_t device;   /* its device handle */
	uint64_t op_id;    /* its id */
	uint64_t since_ns; /* CLOCK_MONOTONIC when it became the current one */
	struct rid rid;    /* of the device, 0 where the operation names none */
	bool ending;       /* HW_END was submitted, or the worker is gone and not yet reaped */
};

/* Fills up to `max` entries, in no order; returns how many lanes there are. */
size_t executor_lanes(const struct executor *executor, struct executor_lane *ret_lanes, size_t max);
/* The same of those whose current operation has taken `age_ns` or more. */
size_t executor_hanging(const struct executor *executor, uint64_t age_ns,
	struct executor_lane *ret_lanes, size_t max);

#endif
