/* SPDX-License-Identifier: MIT */
/*
 * A worker process: receives operations on a socket, carries them out one after the other, sends
 * results. It holds the descriptors of one lane and nothing else, and ends when its socket does.
 */
#ifndef PASIDD_HW_WORKER_H
#define PASIDD_HW_WORKER_H

#include "hw.h"

/* How a worker ends that let go of a function because that is to be unplugged. */
#define WORKER_EXIT_UNPLUGGED 3

#define WORKER_SOCKET 3 /* the descriptor on which a worker finds its socket */

/*
 * The conversation, in datagrams of plain memory between two copies of one program.
 *
 * Descriptors go ahead in a WORKER_FDS message of their own. The operation follows once the sender
 * has closed its copies: so the last close of a hostile descriptor, which may block, never falls to
 * the sender.
 */
enum worker_type {
	WORKER_FDS = 1, /* `op` is unused; descriptors attached */
	WORKER_OP, /* carry out `op` with the descriptors received before; answer with a hw_result
		    */
	WORKER_GREET,   /* answer with a hw_result; from a daemon that was started anew */
	WORKER_DISPOSE, /* close the descriptors received before; answer with a hw_result */
};

/*
 * The other way, descriptors that the worker had no use for go ahead of the result in the same
 * manner, in a message of this size: their close is a janitor's, or the next operation would wait
 * for it.
 */
#define WORKER_REFUSED_SIZE 1u

struct worker_message {
	uint32_t type; /* enum worker_type */
	uint32_t fd_count;
	struct hw_op op; /* its fds mean nothing here */
};

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
