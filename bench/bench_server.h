/* SPDX-License-Identifier: MIT */
/*
 * What the files of bench_server share: the program that puts the same load on pasidd and on its
 * peers. Every helper ends the program with a message when something fails: a figure is measured
 * as a whole or not at all.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct pasid_client;

/* A server that runs already: where it listens, and whose processor time is counted. */
struct bench_server {
	const char *path; /* NULL: not there */
	pid_t pid;
};

struct bench_options {
	unsigned rounds; /* 0: as many as the figure takes by itself */
	int cpu;         /* where this program runs; -1: anywhere */
	struct bench_server pasidd, second, redis, memcached;
	const char *simulation; /* directory of the simulated IOMMU */
	const char *sim_tool;   /* pasid-sim */
	const char *program;    /* pasidd, for figures that start it themselves */
	const char *home;       /* where such a daemon keeps everything */
	const char *empty_home; /* and another one */
};

/* ------------------------------------------------------------ bench_server_measure.c */

uint64_t bench_now_ns(void);
void bench_sleep_ms(unsigned ms);
/* Processor time that the process has used so far, in user and kernel. */
uint64_t bench_cpu_ns(pid_t pid);
/* Bytes that only this process has: private and anonymous memory. */
uint64_t bench_memory(pid_t pid);
void bench_pin(int cpu);
/* As many descriptors as may be. */
void bench_raise_files(void);
/* Sort the values. */
double bench_median(double *values, size_t count);
double bench_percentile(double *values, size_t count, double percent);

/* One value for each round and side; sides are measured in turns, so that what slows the machine
 * down slows down all of them. */
#define BENCH_SIDES_MAX  6
#define BENCH_ROUNDS_MAX 512
struct bench_series {
	unsigned rounds;
	double values[BENCH_SIDES_MAX][BENCH_ROUNDS_MAX];
};

/* A figure: the median of the rounds' ratios between two sides, and each side's own median. */
struct bench_figure {
	const char *id, *name, *unit;
	double target; /* 0: for information, none was set */
	bool at_least; /* the target is a lower bound */
	double scale;  /* of values to the unit; 0: 1 */
};
void bench_report(const struct bench_figure *figure, const struct bench_series *series,
	unsigned ours, unsigned peer);
/* One that has no peer but a limit: the ratio of the two. */
void bench_report_limit(
	const struct bench_figure *figure, double ours, double limit, unsigned rounds);

/* ------------------------------------------------------------ bench_server_load.c, _peer.c */

/* A client that asks one of the servers for one thing, as often as it is told. */
struct bench_load {
	const char *name;
	pid_t pid; /* of the server */
	/* Sends `depth` requests at once and returns when all are answered. */
	void (*batch)(struct bench_load *load, unsigned depth);
	/* Between rounds, not measured: gives back what the requests took. NULL: nothing to do. */
	void (*refill)(struct bench_load *load);
	int fd;
	char *request;       /* one request; of peers */
	size_t request_size; /* bytes */
	unsigned lines;      /* in one reply; of peers */
	char *out, *in;      /* buffers of peers */
	struct pasid_client *client;
	uint32_t count; /* numbers in one request */
	uint32_t taken; /* since they were given back */
	unsigned waiting;
};

#define BENCH_DEPTH_MAX  256u
#define BENCH_NUMBERS    (UINT32_C(1) << 20)
#define BENCH_FIRST_FREE UINT32_C(1024)

/* Numbers from pasidd, `count` in each request, by libpasid: its synchronous call at depth 1, else
 * its asynchronous calls, flushed together. */
void bench_load_pasid(struct bench_load *load, const struct bench_server *server, const char *set,
	uint32_t count);
/* A process that returns every 64 bytes: two system calls and nothing else. */
void bench_load_echo(struct bench_load *load);
void bench_load_redis_incr(struct bench_load *load, const struct bench_server *server);
/* The same job: a number out of those that are free, and whose it is, in one script. */
void bench_load_redis_job(struct bench_load *load, const struct bench_server *server);
/* `count` numbers out of those that are free, without a note of whose they are. */
void bench_load_redis_spop(
	struct bench_load *load, const struct bench_server *server, uint32_t count);
void bench_load_memcached_incr(struct bench_load *load, const struct bench_server *server);
int bench_connect(const char *path, int type);

/* ------------------------------------------------------------ bench_server_wire.c */

/* Connections without a library, of which there can be thousands: a socket and a counter each. */
struct bench_wire {
	int fd;
	uint64_t id;
};
struct bench_session {
	uint64_t id, set;
	uint8_t token[16];
	bool resumed;
};
/* Asks whether the daemon is there, and so waits until the connection was accepted. */
void bench_wire_ping(struct bench_wire *wire);
/* Takes up that session; NULL: a new one. */
void bench_wire_send_hello(struct bench_wire *wire, const struct bench_session *resume);
void bench_wire_receive_hello(struct bench_wire *wire, struct bench_session *ret_session);
/* Connects and says hello. */
void bench_wire_open(struct bench_wire *wire, const char *path);
/* A set of its own. */
void bench_wire_set(struct bench_wire *wire, unsigned number, uint32_t quota);
void bench_wire_send_allocate(struct bench_wire *wire);
/* The reply to what was sent last; must be a success. */
void bench_wire_receive(struct bench_wire *wire);
/* So many numbers for the connection's set, with private data. */
void bench_wire_allocate(
	struct bench_wire *wire, uint64_t data, uint32_t count, uint32_t *ret_numbers);
/* How many the connection's set has. */
uint64_t bench_wire_count(struct bench_wire *wire);
/* Each of them, at most 256, must be the set's, in use, and have that data. */
void bench_wire_find(
	struct bench_wire *wire, uint64_t data, uint32_t count, const uint32_t *numbers);

/* ------------------------------------------------------------ bench_server_daemon.c */

/* A daemon of our own on a simulated IOMMU, which can be ended and started again. */
struct bench_daemon {
	const char *program;
	const char *home; /* everything it keeps, and its config.json */
	char socket[108];
	pid_t pid;
};
/* Returns how long it took until it answered: ns. */
uint64_t bench_daemon_start(struct bench_daemon *daemon);
void bench_daemon_end(struct bench_daemon *daemon, int signal);

/* ------------------------------------------------------------ the figures */

void bench_latency(const struct bench_options *options);     /* P1, P2 */
void bench_batches(const struct bench_options *options);     /* P3 */
void bench_many_ids(const struct bench_options *options);    /* P4 */
void bench_connections(const struct bench_options *options); /* P5 */
void bench_memory_use(const struct bench_options *options);  /* P6 */
void bench_map(const struct bench_options *options);         /* P11 */
void bench_events(const struct bench_options *options);      /* P15 */
void bench_hang(const struct bench_options *options);        /* P12 */
void bench_resume(const struct bench_options *options);      /* P14 */

#endif
