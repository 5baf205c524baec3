/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the executor share. The workers are the test program itself, started again with
 * --worker; the kernel behind them is the simulated one. A worker that hangs in the kernel is one
 * stopped by a signal.
 */
#ifndef TEST_EXECUTOR_FIXTURE_H
#define TEST_EXECUTOR_FIXTURE_H

#include "hw/executor.h"

#include "fd.h"
#include "hw/sim.h"
#include "hw/worker.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RID_A 0x0100u
#define RID_B 0x0200u

static char dir[64];
static struct sim *sim;
static struct executor *executor;

/* What the handler was told, in order. */
static struct hw_result results[600];
static size_t result_count;
static uint64_t lost[16];
static size_t lost_count;
static uint32_t lost_version; /* of the last one */
static size_t results_before_lost;

static inline void on_complete(void *ctx, const struct hw_result *result)
{
	(void)ctx;
	ck_assert_uint_lt(result_count, ARRAY_SIZE(results));
	results[result_count++] = *result;
}

static inline void on_lost(void *ctx, uint64_t lane, uint32_t version)
{
	(void)ctx;
	ck_assert_uint_lt(lost_count, ARRAY_SIZE(lost));
	lost[lost_count++] = lane;
	lost_version = version;
	results_before_lost = result_count;
}

static const struct executor_handler handler = {.complete = on_complete, .lost = on_lost};

static inline uint64_t now_ms(void)
{
	struct timespec ts;

	ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Dispatches until there are `want` results and `want_lost` lost lanes. */
static inline void pump(size_t want, size_t want_lost)
{
	struct pollfd p = {.fd = executor_fd(executor), .events = POLLIN};
	uint64_t end = now_ms() + 10000;

	while (result_count < want || lost_count < want_lost) {
		ck_assert_msg(now_ms() < end, "%zu of %zu results, %zu of %zu lost", result_count,
			want, lost_count, want_lost);
		(void)poll(&p, 1, 100);
		executor_dispatch(executor, &handler);
	}
}

static inline void start(const struct executor_options *options)
{
	ck_assert_int_eq(executor_new(options, &executor), 0);
	result_count = lost_count = 0;
}

static inline int make_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void setup(void)
{
	struct sim_config config = SIM_CONFIG_DEFAULT;
	struct error error;

	strcpy(dir, "/tmp/test_executor.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	config.devices[0] = (struct sim_device_config){.rid = {RID_A}, .pasid_width = 20};
	config.devices[1] = (struct sim_device_config){.rid = {RID_B}, .pasid_width = 20};
	config.device_count = 2;
	ck_assert_int_eq(sim_create(dir, &config, &error), 0);
	ck_assert_int_eq(sim_open(dir, &sim), 0);
	start(&(struct executor_options){.simulate_dir = dir});
}

static inline void teardown(void)
{
	executor_free(executor);
	sim_close(sim);
	ck_assert_int_eq(nftw(dir, make_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline int submit(struct hw_op op)
{
	const struct hw hw = executor_hw(executor);

	return hw_submit(&hw, &op);
}

/* Submits and waits for the result, which must be for this very operation. */
static inline struct hw_result *run(struct hw_op op)
{
	static uint64_t id = 1000;
	size_t want = result_count + 1;

	op.id = ++id;
	ck_assert_int_eq(submit(op), 0);
	pump(want, 0);
	ck_assert_uint_eq(results[want - 1].id, id);
	return &results[want - 1];
}

static inline int sim_fd_of(bool iommufd, uint32_t rid)
{
	const struct calls *calls = sim_calls(sim);
	int fd = -1;

	ck_assert_int_eq(iommufd ? calls->open_iommufd(sim, &fd)
				 : calls->open_device(sim, (struct rid){rid}, &fd),
		0);
	return fd;
}

/* A copy for the executor, which takes it. */
static inline int copy_of(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	ck_assert_int_ge(copy, 0);
	return copy;
}

static inline struct hw_result *identify(uint64_t lane, uint32_t device, int iommufd, int node)
{
	return run((struct hw_op){.kind = HW_IDENTIFY,
		.lane = lane,
		.device = device,
		.fd_count = 2,
		.fds = {copy_of(iommufd), copy_of(node)}});
}

static inline pid_t pid_of(uint64_t lane)
{
	struct executor_lane lanes[16];
	size_t count = executor_lanes(executor, lanes, ARRAY_SIZE(lanes));

	for (size_t i = 0; i < count; i++)
		if (lanes[i].lane == lane)
			return lanes[i].pid;
	return 0;
}

/* A harmless operation that takes a round trip: refused by the worker, as it has no such device. */
static inline struct hw_op ping(uint64_t lane)
{
	return (struct hw_op){.kind = HW_UNMAP, .lane = lane, .device = 999};
}

static inline bool pipe_is_closed(int reader, int timeout_ms)
{
	struct pollfd p = {.fd = reader, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLHUP);
}

#endif
