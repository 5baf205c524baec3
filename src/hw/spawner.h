/* SPDX-License-Identifier: MIT */
/*
 * A process that starts the workers, in place of the daemon: a new process begins with copies of
 * all descriptors of whoever started it, and among the daemon's there may be foreign ones, whose
 * close can take for ever, also that of a copy. This one has none.
 *
 * It is not confined as the daemon is (confine.h), whose children would be so, too. So it also does
 * what the daemon may not do any more: it starts a spare one of its kind, compares open files, and
 * starts who reads the settings anew (the same program, pasidd --check-config --json).
 */
#ifndef PASIDD_HW_SPAWNER_H
#define PASIDD_HW_SPAWNER_H

#include "../base.h"

enum spawner_kind {
	SPAWNER_WORKER = 1, /* start a worker; its end of its socket is attached */
	SPAWNER_SPARE,      /* start another spawner; the same */
	SPAWNER_COMPARE,    /* which of `others` is the same open file as `file`? */
	SPAWNER_SETTINGS,   /* start who reads the settings; its standard output is attached */
};

#define SPAWNER_FILES    32
#define SPAWNER_PATH_MAX 4096

/* Descriptor `fd` of a process. */
struct spawner_file {
	int32_t pid, fd;
};

struct spawner_request {
	uint32_t kind;               /* enum spawner_kind */
	uint32_t count;              /* of `others` */
	char lane[32];               /* shown to operators */
	char path[SPAWNER_PATH_MAX]; /* of the settings; empty: where they are by default */
	struct spawner_file file, others[SPAWNER_FILES];
};

/* What is answered. The process is the asker's own child, also one that failed to become a worker.
 */
struct spawner_reply {
	int32_t pid;    /* 0: there is none. Of a comparison: its index, or `count` */
	int32_t status; /* 0 or -errno */
};

/* Serves `socket` until its end; starts `program`. Returns the exit status. */
int spawner_main(int socket, const char *program, const char *simulate_dir);

#endif
