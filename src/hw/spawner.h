/* SPDX-License-Identifier: MIT */
/*
 * A process that starts the workers, in place of the daemon: a new process begins with copies of
 * all descriptors of whoever started it, and among the daemon's there may be foreign ones, whose
 * close can take for ever, also that of a copy. This one has none.
 */
#ifndef PASIDD_HW_SPAWNER_H
#define PASIDD_HW_SPAWNER_H

#include "../base.h"

/* What is asked, with the worker's end of its socket attached. */
struct spawner_request {
	char lane[32]; /* shown to operators */
};

/* What is answered. The process is the asker's own child, also one that failed to become a worker.
 */
struct spawner_reply {
	int32_t pid;    /* 0: there is none */
	int32_t status; /* 0 or -errno */
};

/* Serves `socket` until its end; starts `program`. Returns the exit status. */
int spawner_main(int socket, const char *program, const char *simulate_dir);

#endif
