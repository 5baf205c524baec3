/* SPDX-License-Identifier: MIT */
/*
 * A worker process: receives operations on a socket, carries them out one after the other, sends
 * results. It holds the descriptors of one lane and nothing else, and ends when its socket does.
 */
#ifndef PASIDD_HW_WORKER_H
#define PASIDD_HW_WORKER_H

#include "hw.h"

#include <stddef.h>

/* How a worker ends that let go of a function because that is to be unplugged. */
#define WORKER_EXIT_UNPLUGGED 3

#define WORKER_SOCKET 3 /* the descriptor on which a worker finds its socket */

/*
 * The conversation, in datagrams of plain memory between two copies of one program, or of two
 * versions of it: a worker that was kept may be older than the daemon that goes on with it, after
 * an upgrade, or newer. Each message says its version and has its own size:
 *
 * - What is added is 0 where it means nothing, and is added in `spare` or behind it. Who gets less
 *   takes the rest for 0; who gets more, and not 0, cannot do what is asked: a worker refuses that
 *   operation (REASON_FEATURE), a daemon passes over it.
 * - Any other change of the layout, of what a field means, of numbers (enum hw_kind, enum reason:
 * add at the end) is another WORKER_VERSION. A worker of another version says so when it is
 * greeted, and is ended: what it held is lost, as with any that dies.
 *
 * The assertions below hold the layout still.
 *
 * Descriptors go ahead in a WORKER_FDS message of their own. The operation follows once the sender
 * has closed its copies: so the last close of a hostile descriptor, which may block, never falls to
 * the sender.
 */
enum worker_type {
	WORKER_FDS = 1, /* `op` is unused; descriptors attached */
	WORKER_OP, /* carry out `op` with the descriptors received before; answer with a hw_result
		    */
	WORKER_GREET,   /* answer with a hw_result; from a daemon that was started anew. Also
			   answered, without one, when the version is another */
	WORKER_DISPOSE, /* close the descriptors received before; answer with a hw_result */
};

/*
 * The other way, descriptors that the worker had no use for go ahead of the result in the same
 * manner, in a message of this size: their close is a janitor's, or the next operation would wait
 * for it.
 */
#define WORKER_REFUSED_SIZE 1u

#define WORKER_VERSION   1u
#define WORKER_EXTRA_MAX 512u /* bytes that a message may have beyond what is known here */

struct worker_message {
	uint32_t version; /* this and type stay where they are, whatever the version */
	uint32_t type;    /* enum worker_type */
	uint32_t fd_count;
	uint32_t gap;
	struct hw_op op; /* its fds mean nothing here */
};

struct worker_answer {
	uint32_t version; /* stays where it is */
	uint32_t gap;
	struct hw_result result;
};

/* What the first version had: no message of an operation, and no answer, is smaller. */
#define WORKER_MESSAGE_LEAST (offsetof(struct worker_message, op) + offsetof(struct hw_op, spare))
#define WORKER_ANSWER_LEAST                                                                        \
	(offsetof(struct worker_answer, result) + offsetof(struct hw_result, spare))

#define WORKER_HOLDS(type, member, at)                                                             \
	_Static_assert(offsetof(type, member) == (at), "kept workers have it there: see above")
WORKER_HOLDS(struct worker_message, op, 16);
WORKER_HOLDS(struct hw_op, kind, 24);
WORKER_HOLDS(struct hw_op, rid, 32);
WORKER_HOLDS(struct hw_op, fds, 56);
WORKER_HOLDS(struct hw_op, until_ms, 88);
WORKER_HOLDS(struct hw_op, table, 96);
WORKER_HOLDS(struct hw_op, spare, 152);
WORKER_HOLDS(struct worker_answer, result, 8);
WORKER_HOLDS(struct hw_result, status, 8);
WORKER_HOLDS(struct hw_result, iommufd_key, 24);
WORKER_HOLDS(struct hw_result, fds, 60);
WORKER_HOLDS(struct hw_result, info, 72);
WORKER_HOLDS(struct hw_result, error, 136);
WORKER_HOLDS(struct hw_result, spare, 400);

/*
 * Serves `socket` (SOCK_SEQPACKET, blocking) until HW_END or end of file; then everything is
 * closed. With `simulate_dir` the calls go to the simulated kernel there. Returns the exit status.
 */
int worker_main(int socket, const char *simulate_dir);

/*
 * For main(): when argv says `--worker [--lane N] [--simulate DIR] [--start PROGRAM]`, serves
 * WORKER_SOCKET and returns true with *ret_exit set; otherwise returns false and does nothing.
 */
bool worker_asked(int argc, char *const argv[], int *ret_exit);

#endif
