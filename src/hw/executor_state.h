/* SPDX-License-Identifier: MIT */
/* What the executor remembers; shared by its files, by nobody else. */
#ifndef PASIDD_HW_EXECUTOR_STATE_H
#define PASIDD_HW_EXECUTOR_STATE_H

#include "executor.h"
#include "spawner.h"
#include "worker.h"

#include <sys/types.h>

/* An operation under way: queued, or sent and not yet answered. Workers answer in order. */
struct executor_item {
	struct executor_item *next;
	uint32_t type;   /* enum worker_type */
	bool internal;   /* the result concerns nobody */
	struct hw_op op; /* of WORKER_DISPOSE, `lane` is who is told */
};

struct executor_worker {
	struct executor_worker *next; /* in its bucket, or among the janitors */
	struct executor *executor;
	uint64_t lane;
	bool janitor;      /* closes foreign descriptors; belongs to no lane */
	bool sending;      /* the socket is full: wait until it is not */
	bool gone;         /* nothing can be sent any more: end of file, or killed */
	bool ending;       /* HW_END was submitted */
	bool ended;        /* ... and answered; the result waits for the process to be reaped */
	pid_t pid;         /* 0: HW_END was all there was, and no process needed for that */
	int pidfd;         /* -1 when pid is 0 */
	int socket;        /* -1 after end of file, or when pid is 0 */
	uint64_t greeting; /* of one that was adopted: until its answer all others are old; 0: none
			    */
	uint32_t version;  /* not ours, and it is ended for that; 0: ours */
	uint32_t count;    /* items that are not internal */
	uint32_t load;     /* all items */
	uint64_t since_ns;
	struct executor_item *first, **last; /* oldest first */
	struct executor_item *unsent;        /* from here on not sent yet */
	int refused[HW_FDS_MAX];             /* to be closed when the next result comes */
	uint32_t refused_count;
	struct executor_worker *reap_next;
};

/* A descriptor to be closed that no janitor could take yet. */
struct executor_orphan {
	struct executor_orphan *next;
	uint64_t owner;
	int fd;
};

/* A device's iommufd: descriptor `fd` of a worker, and the key that all its copies share. */
struct executor_key {
	struct executor_key *next;
	const struct executor_worker *worker;
	uint32_t device;
	int fd;
	uint64_t key;
};

#define EXECUTOR_BUCKETS  256u
#define EXECUTOR_JANITORS 4u

/*
 * A janitor that a close keeps for longer is killed, which ends most such closes, and replaced. A
 * process that sleeps uninterruptibly stays as long as it does: so many of them are borne.
 */
#define EXECUTOR_JANITOR_MS   1000u
#define EXECUTOR_JANITORS_MAX 32u
#define EXECUTOR_RESERVE      3 /* descriptors: both ends of a janitor's socket, its pidfd */

#define EXECUTOR_SHORTCUTS 8u

#define EXECUTOR_CLOSES_MAX  (1u << 20) /* descriptors: fs.nr_open allows no more by itself */
#define EXECUTOR_CLOSERS_MAX 16u
#define EXECUTOR_OWN_MAX     8u

struct executor_close {
	uint64_t owner; /* who is told when it is closed; 0: nobody */
	int fd;
};

struct executor_file {
	uint32_t dev_major, dev_minor;
	uint64_t inode;
};

/* A process that shares our table of descriptors and closes a batch of them. */
struct executor_closer {
	int standin;                 /* a regular file that anybody can close */
	struct executor_close *list; /* oldest first; its memory is used as it grows */
	uint32_t count;
	uint32_t batch; /* so many of them are the running process's */
	pid_t pid;      /* 0: none runs */
	pid_t guard;    /* clears the table when we have left it; 0: none */
	uint64_t since_ns;
	struct executor_progress *progress;
	pid_t stuck[EXECUTOR_CLOSERS_MAX]; /* left alone with what they could not close */
	uint32_t stuck_count;
	struct executor_file own[EXECUTOR_OWN_MAX]; /* files that we had open before anybody came */
	uint32_t own_count;
};

/* In the epoll data of a worker: its pidfd is readable, not its socket. */
#define EXECUTOR_PIDFD 1u

struct executor_spawner {
	pid_t pid;  /* 0: none */
	int socket; /* -1: none */
};

struct executor {
	int epoll;
	int wake;  /* eventfd: something is to be dispatched that no worker says */
	int timer; /* timerfd: janitors are looked after while one has something to do */
	bool timing;
	char *program;
	char *simulate_dir;
	struct executor_worker *buckets[EXECUTOR_BUCKETS];
	struct executor_worker *janitors;
	uint32_t janitor_count;
	int reserve[EXECUTOR_RESERVE]; /* given up for a janitor when no descriptor is left */
	uint32_t reserved;
	bool crowded; /* the kernel lets us pass on no more descriptors: ETOOMANYREFS */
	struct executor_worker *hot; /* was given an operation last */
	uint32_t load;               /* items of all workers */
	uint32_t shortcuts;          /* answers of it in a row for which nobody else was asked */
	struct executor_key *keys;
	uint64_t last_key;
	struct executor_spawner spawner, spare;
	bool confined; /* we can start no spawner any more that is not as confined as we are */
	struct executor_closer closer;
	bool closing; /* no more janitors */
	struct executor_orphan *orphans;
	uint32_t orphan_count;
	void (*closed)(void *ctx, uint64_t owner);
	void *closed_ctx;
	executor_lane_fn *lane_changed;
	void *lane_ctx;
};

/* --- executor_spawn.c --- */

/*
 * Starts a worker with one end of a socket pair and nothing else but standard error. `lane` is
 * shown to operators. The caller owns the process and both descriptors. 0 or -errno.
 */
int executor_spawn(
	struct executor *e, const char *lane, pid_t *ret_pid, int *ret_pidfd, int *ret_socket);
/* Starts the process that starts the others (spawner.h) with its spare, and ends both. 0 or -errno.
 */
int executor_spawner_start(struct executor *e);
/* Makes up for one that has ended. */
void executor_spawner_tend(struct executor *e);
/* Asks it to compare open files: the index of the first that is the same, or `count`. 0 or -errno.
 */
int executor_spawner_compare(
	struct executor *e, const struct spawner_request *request, uint32_t *ret_index);
void executor_spawner_stop(struct executor *e);

/* --- executor_adopt.c --- */

/* An answer to what an earlier run asked: then it was dropped. */
bool executor_answer_is_old(struct executor_worker *worker, struct hw_result *result);
/* Tells whoever wants to know of lanes. */
void executor_tell_lane(const struct executor_worker *worker, bool stands);

/* --- executor.c --- */

/* Its lane is served by it from here on. */
void executor_enter(struct executor_worker *worker);

/* --- executor_closer.c: descriptors whose close may keep whoever does it, last copy or not --- */

/* Notes what is open now, before anything foreign is. 0 or -errno. */
int executor_closer_init(struct executor *e);
/* Takes a descriptor of that kind and tells its owner when it is closed; any other is left. */
bool executor_closer_dispose(struct executor *e, int fd, uint64_t owner);
/*
 * Gives something harmless for a descriptor of that kind, which is then closed by and by in a
 * process of its own; any other descriptor as it is.
 */
int executor_closer_screen(struct executor *e, int fd);
/* Goes on with it; returns whether there is more to do later. */
bool executor_closer_tick(struct executor *e);
void executor_closer_done(struct executor *e);

/* --- executor_janitor.c --- */

/* The timer of a new executor, in its epoll descriptor. 0 or -errno. */
int executor_janitor_init(struct executor *e);
/* Has the timer say so, soon. */
void executor_janitor_arm(struct executor *e);
/* Looks after the janitors when the timer says so. */
void executor_janitor_tick(struct executor *e);
/* Keeps a descriptor until the timer says so, then tries again. */
void executor_postpone(struct executor *e, int fd, uint64_t owner);
/* Closes what was kept; nobody is left who could. */
void executor_janitor_done(struct executor *e);
/* It is closed; 0 is nobody. */
void executor_closed(const struct executor *e, uint64_t owner);

/* --- executor_keys.c --- */

/*
 * Gives the iommufd that `worker` holds as `fd` for `device` its key: that of an equal open file in
 * any lane, otherwise a new one. 0 or -errno.
 */
int executor_keys_add(struct executor *e, const struct executor_worker *worker, uint32_t device,
	int fd, uint64_t *ret_key);
void executor_keys_remove(
	struct executor *e, const struct executor_worker *worker, uint32_t device);
void executor_keys_remove_worker(struct executor *e, const struct executor_worker *worker);

/* --- executor_worker.c: the conversation with one worker --- */

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t executor_now(void);

/* A worker that is started, or with `start` false only an entry. 0 or -errno. */
int executor_worker_new(struct executor *e, uint64_t lane, bool janitor, bool start,
	struct executor_worker **ret_worker);
/* Has its socket and its end noticed. 0 or -errno. */
int executor_worker_watch(struct executor_worker *worker);
/* Its socket is no longer looked at, whoever has copies of it. */
void executor_worker_unwatch(struct executor_worker *worker);
/* Nothing can be sent or heard any more. */
void executor_worker_close_socket(struct executor_worker *worker);
/* Closes our end and frees everything; unsent descriptors are disposed of. Waits for nothing. */
void executor_worker_free(struct executor_worker *worker);

/* Queues an operation and takes its descriptors; sends what can be sent. 0 or -ENOMEM. */
int executor_worker_push(
	struct executor_worker *worker, uint32_t type, bool internal, const struct hw_op *op);
void executor_worker_flush(struct executor_worker *worker);
/* Takes the oldest operation out, for executor_item_free(). NULL: none. */
struct executor_item *executor_worker_pop(struct executor_worker *worker);
/* Frees an operation; descriptors that the worker never got are disposed of. */
void executor_item_free(const struct executor_worker *worker, struct executor_item *item);
/*
 * One result from the socket with its descriptors: 1, or 0 when there is none now (worker->gone
 * tells whether ever).
 */
int executor_worker_receive(struct executor_worker *worker, struct hw_result *ret_result);
/*
 * Disposes of what the worker gave back: it has closed its own copies before it sent the result.
 */
void executor_worker_drop_refused(struct executor_worker *worker);
/* When no process can be had to close a descriptor in: bars the usual way to make a close wait. */
void executor_close_here(int fd);
/* The conversation makes no sense any more: ends the process. */
void executor_worker_kill(struct executor_worker *worker);

#endif
