/* SPDX-License-Identifier: MIT */
/*
 * The executor with real worker processes: this program itself, started again with --worker. The
 * kernel behind them is the simulated one. A worker that hangs in the kernel is one that is stopped
 * by a signal.
 */
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
static size_t results_before_lost;

static void on_complete(void *ctx, const struct hw_result *result)
{
	(void)ctx;
	ck_assert_uint_lt(result_count, ARRAY_SIZE(results));
	results[result_count++] = *result;
}

static void on_lost(void *ctx, uint64_t lane)
{
	(void)ctx;
	ck_assert_uint_lt(lost_count, ARRAY_SIZE(lost));
	lost[lost_count++] = lane;
	results_before_lost = result_count;
}

static const struct executor_handler handler = {.complete = on_complete, .lost = on_lost};

static uint64_t now_ms(void)
{
	struct timespec ts;

	ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Dispatches until there are `want` results and `want_lost` lost lanes. */
static void pump(size_t want, size_t want_lost)
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

static void start(const struct executor_options *options)
{
	ck_assert_int_eq(executor_new(options, &executor), 0);
	result_count = lost_count = 0;
}

static int make_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void setup(void)
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

static void teardown(void)
{
	executor_free(executor);
	sim_close(sim);
	ck_assert_int_eq(nftw(dir, make_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int submit(struct hw_op op)
{
	const struct hw hw = executor_hw(executor);

	return hw_submit(&hw, &op);
}

/* Submits and waits for the result, which must be for this very operation. */
static struct hw_result *run(struct hw_op op)
{
	static uint64_t id = 1000;
	size_t want = result_count + 1;

	op.id = ++id;
	ck_assert_int_eq(submit(op), 0);
	pump(want, 0);
	ck_assert_uint_eq(results[want - 1].id, id);
	return &results[want - 1];
}

static int sim_fd_of(bool iommufd, uint32_t rid)
{
	const struct calls *calls = sim_calls(sim);
	int fd = -1;

	ck_assert_int_eq(iommufd ? calls->open_iommufd(sim, &fd)
				 : calls->open_device(sim, (struct rid){rid}, &fd),
		0);
	return fd;
}

/* A copy for the executor, which takes it. */
static int copy_of(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	ck_assert_int_ge(copy, 0);
	return copy;
}

static struct hw_result *identify(uint64_t lane, uint32_t device, int iommufd, int node)
{
	return run((struct hw_op){.kind = HW_IDENTIFY,
		.lane = lane,
		.device = device,
		.fd_count = 2,
		.fds = {copy_of(iommufd), copy_of(node)}});
}

static pid_t pid_of(uint64_t lane)
{
	struct executor_lane lanes[16];
	size_t count = executor_lanes(executor, lanes, ARRAY_SIZE(lanes));

	for (size_t i = 0; i < count; i++)
		if (lanes[i].lane == lane)
			return lanes[i].pid;
	return 0;
}

/* A harmless operation that takes a round trip: refused by the worker, as it has no such device. */
static struct hw_op ping(uint64_t lane)
{
	return (struct hw_op){.kind = HW_UNMAP, .lane = lane, .device = 999};
}

static bool pipe_is_closed(int reader, int timeout_ms)
{
	struct pollfd p = {.fd = reader, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLHUP);
}

START_TEST(operations_reach_the_tables)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		FD_AUTO int node = sim_fd_of(false, RID_A);
		struct hw_result *result = identify(7, 1, iommufd, node);
		struct sim_entries entries;
		struct sim_entry entry;
		uint32_t ioas;

		ck_assert_int_eq(result->status, 0);
		ck_assert_uint_eq(result->rid.v, RID_A);
		result = run((struct hw_op){.kind = HW_OPEN, .lane = 7, .device = 1});
		ck_assert_int_eq(result->status, 0);
		ck_assert_uint_eq(result->info.pasid_width, 20);
		ck_assert_uint_eq(result->info.iommu, HW_IOMMU_VTD);
		ck_assert_int_eq(sim_calls(sim)->ioas_alloc(sim, iommufd, &ioas), 0);
		result = run((struct hw_op){.kind = HW_ATTACH,
			.lane = 7,
			.device = 1,
			.has_pasid = 1,
			.pasid = {77},
			.table = {.kind = HW_TABLE_IOAS, .id = ioas}});
		ck_assert_msg(result->status == 0, "%s", result->error.text);
		ck_assert_int_eq(sim_entries_init(&entries, sim), 0);
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 1);
		ck_assert_uint_eq(entry.at.pasid, 77);
		result = run((struct hw_op){.kind = HW_CLOSE, .lane = 7, .device = 1});
		ck_assert_int_eq(result->status, 0);
		ck_assert_int_eq(sim_entries_init(&entries, sim), 0);
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 0);
	}
END_TEST

START_TEST(key_is_equal_for_the_same_open_file_only)
	{
		FD_AUTO int one = sim_fd_of(true, 0);
		FD_AUTO int two = sim_fd_of(true, 0);
		FD_AUTO int a = sim_fd_of(false, RID_A);
		FD_AUTO int b = sim_fd_of(false, RID_B);
		uint64_t key;

		key = identify(7, 1, one, a)->iommufd_key;
		ck_assert_uint_ne(key, 0);
		ck_assert_uint_eq(identify(7, 2, one, b)->iommufd_key, key);
		ck_assert_uint_eq(identify(8, 3, one, b)->iommufd_key, key);
		ck_assert_uint_ne(identify(8, 4, two, b)->iommufd_key, key);
		ck_assert_uint_ne(identify(9, 5, two, a)->iommufd_key, key);
	}
END_TEST

START_TEST(key_is_forgotten_with_the_last_device)
	{
		FD_AUTO int one = sim_fd_of(true, 0);
		FD_AUTO int a = sim_fd_of(false, RID_A);
		FD_AUTO int b = sim_fd_of(false, RID_B);
		uint64_t key = identify(7, 1, one, a)->iommufd_key;

		ck_assert_uint_eq(identify(7, 2, one, b)->iommufd_key, key);
		(void)run((struct hw_op){.kind = HW_CLOSE, .lane = 7, .device = 1});
		ck_assert_uint_eq(identify(8, 3, one, a)->iommufd_key, key);
		(void)run((struct hw_op){.kind = HW_CLOSE, .lane = 7, .device = 2});
		(void)run((struct hw_op){.kind = HW_CLOSE, .lane = 8, .device = 3});
		ck_assert_uint_ne(identify(9, 4, one, a)->iommufd_key, key);
	}
END_TEST

START_TEST(opened_device_comes_back_as_a_descriptor)
	{
		FD_AUTO int one = sim_fd_of(true, 0);
		FD_AUTO int back = -1;
		struct hw_result *result;
		struct calls_node node;
		struct error error;

		result = run((struct hw_op){.kind = HW_IDENTIFY,
			.lane = 7,
			.device = 1,
			.rid = {RID_B},
			.fd_count = 1,
			.fds = {copy_of(one), -1}});
		ck_assert_msg(result->status == 0, "%s", result->error.text);
		result = run((struct hw_op){.kind = HW_OPEN, .lane = 7, .device = 1});
		ck_assert_msg(result->status == 0, "%s", result->error.text);
		ck_assert_uint_eq(result->fd_count, 1);
		back = result->fds[0];
		ck_assert_int_eq(fcntl(back, F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(sim_calls(sim)->check_device(sim, back, &node, &error), 0);
		ck_assert_uint_eq(node.rid.v, RID_B);
	}
END_TEST

START_TEST(refused_descriptors_are_closed_everywhere)
	{
		int pipes[2];
		struct hw_result *result;

		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		result = run((struct hw_op){.kind = HW_IDENTIFY,
			.lane = 7,
			.device = 1,
			.fd_count = 2,
			.fds = {pipes[1], copy_of(pipes[1])}});
		ck_assert_int_eq(result->status, STATUS_INVALID);
		ck_assert_uint_eq(result->error.reason, REASON_FD_KIND);
		ck_assert(pipe_is_closed(pipes[0], 2000));
		ck_assert_int_eq(close(pipes[0]), 0);
	}
END_TEST

START_TEST(killed_worker_completes_all_then_the_lane_is_lost)
	{
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		result_count = 0;
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		for (uint64_t id = 1; id <= 5; id++) {
			struct hw_op op = ping(7);

			op.id = id;
			ck_assert_int_eq(submit(op), 0);
		}
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		pump(5, 1);
		for (size_t i = 0; i < 5; i++) {
			ck_assert_uint_eq(results[i].id, i + 1);
			ck_assert_int_eq(results[i].status, -EPIPE);
			ck_assert_uint_eq(results[i].error.reason, REASON_WORKER_LOST);
			ck_assert_ptr_nonnull(strstr(results[i].error.text, "signal 9"));
		}
		ck_assert_uint_eq(lost[0], 7);
		ck_assert_uint_eq(results_before_lost, 5);
		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
		ck_assert_int_eq(run(ping(7))->status, STATUS_NOT_FOUND);
		ck_assert_int_ne(pid_of(7), pid);
	}
END_TEST

START_TEST(descriptors_queued_for_a_lost_worker_are_closed)
	{
		int pipes[2];
		pid_t pid;

		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		(void)run(ping(7));
		pid = pid_of(7);
		result_count = 0;
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		for (size_t i = 0; i < EXECUTOR_LANE_OPS; i++)
			ck_assert_int_eq(submit((struct hw_op){.kind = HW_IDENTIFY,
						 .lane = 7,
						 .device = 1,
						 .fd_count = 1,
						 .fds = {copy_of(pipes[1]), -1}}),
				0);
		ck_assert_int_eq(close(pipes[1]), 0);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		pump(EXECUTOR_LANE_OPS, 1);
		ck_assert(pipe_is_closed(pipes[0], 5000));
		ck_assert_int_eq(close(pipes[0]), 0);
	}
END_TEST

START_TEST(queue_of_a_stuck_lane_is_bounded_and_delays_nobody)
	{
		struct executor_lane lanes[4];
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		result_count = 0;
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		for (uint64_t id = 1; id <= EXECUTOR_LANE_OPS; id++) {
			struct hw_op op = ping(7);

			op.id = id;
			ck_assert_int_eq(submit(op), 0);
		}
		ck_assert_int_eq(submit(ping(7)), -EAGAIN);
		(void)run(ping(8)); /* the other lane's result comes first */
		ck_assert_uint_eq(executor_lanes(executor, lanes, ARRAY_SIZE(lanes)), 2);
		for (size_t i = 0; i < 2; i++) {
			bool stuck = lanes[i].lane == 7;

			ck_assert_uint_eq(lanes[i].pending, stuck ? EXECUTOR_LANE_OPS : 0);
			ck_assert_uint_eq(lanes[i].kind, stuck ? HW_UNMAP : 0);
			ck_assert_uint_eq(lanes[i].op_id, stuck ? 1 : 0);
			ck_assert(!stuck || lanes[i].since_ns > 0);
		}
		result_count = 0;
		ck_assert_int_eq(kill(pid, SIGCONT), 0);
		pump(EXECUTOR_LANE_OPS, 0);
		for (size_t i = 0; i < EXECUTOR_LANE_OPS; i++)
			ck_assert_uint_eq(results[i].id, i + 1);
		ck_assert_uint_eq(lost_count, 0);
	}
END_TEST

START_TEST(end_is_answered_when_the_process_is_gone)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		FD_AUTO int node = sim_fd_of(false, RID_A);
		pid_t pid;

		ck_assert_int_eq(identify(7, 1, iommufd, node)->status, 0);
		pid = pid_of(7);
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_END, .lane = 7, .id = 5}), 0);
		ck_assert_int_eq(submit(ping(7)), -EPIPE);
		pump(2, 0);
		ck_assert_uint_eq(results[1].id, 5);
		ck_assert_int_eq(results[1].status, 0);
		ck_assert_int_eq(kill(pid, 0), -1);
		ck_assert_uint_eq(executor_lanes(executor, NULL, 0), 0);
		ck_assert_uint_eq(lost_count, 0);
		ck_assert_int_eq(run(ping(7))->status, STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(end_of_a_lane_that_never_began_needs_no_process)
	{
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_END, .lane = 7, .id = 5}), 0);
		ck_assert_uint_eq(result_count, 0); /* never from within submit */
		ck_assert_int_eq(pid_of(7), 0);
		pump(1, 0);
		ck_assert_uint_eq(results[0].id, 5);
		ck_assert_int_eq(results[0].status, 0);
		ck_assert_uint_eq(executor_lanes(executor, NULL, 0), 0);
	}
END_TEST

START_TEST(worker_killed_while_it_ends_is_lost)
	{
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_END, .lane = 7, .id = 5}), 0);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		pump(2, 1);
		ck_assert_uint_eq(results[1].error.reason, REASON_WORKER_LOST);
	}
END_TEST

static size_t count_fds(pid_t pid)
{
	char path[64];
	size_t count = 0;
	struct dirent *entry;
	DIR *fds;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	ck_assert_ptr_nonnull(fds);
	while ((entry = readdir(fds)) != NULL)
		count += entry->d_name[0] != '.';
	ck_assert_int_eq(closedir(fds), 0);
	return count;
}

START_TEST(worker_has_its_socket_and_nothing_else)
	{
		FD_AUTO int secret =
			open("/dev/null", O_RDONLY); /* not close-on-exec, on purpose */
		char path[64], name[32] = "";
		FILE *comm;

		executor_free(executor);
		start(&(struct executor_options){0});
		ck_assert_int_ge(secret, 0);
		(void)run(ping(7));
		ck_assert_uint_eq(count_fds(pid_of(7)), 4);
		ck_assert_int_eq(getsid(pid_of(7)), pid_of(7));
		(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid_of(7));
		comm = fopen(path, "re");
		ck_assert_ptr_nonnull(comm);
		ck_assert_ptr_nonnull(fgets(name, sizeof(name), comm));
		ck_assert_str_eq(name, "pasidd-worker\n");
		ck_assert_int_eq(fclose(comm), 0);
	}
END_TEST

START_TEST(program_that_cannot_start_takes_nothing)
	{
		FD_AUTO int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		struct hw_op op = {.kind = HW_IDENTIFY, .lane = 7, .fd_count = 1, .fds = {fd, -1}};

		executor_free(executor);
		start(&(struct executor_options){.program = "/nonexistent"});
		ck_assert_int_eq(submit(op), -ENOENT);
		ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
		ck_assert_uint_eq(executor_lanes(executor, NULL, 0), 0);
	}
END_TEST

START_TEST(program_that_ends_at_once_is_a_lost_lane)
	{
		int pipes[2];

		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		executor_free(executor);
		start(&(struct executor_options){.program = "/bin/false"});
		ck_assert_int_eq(submit((struct hw_op){.kind = HW_IDENTIFY,
					 .lane = 7,
					 .fd_count = 1,
					 .fds = {pipes[1], -1}}),
			0);
		pump(1, 1);
		ck_assert_uint_eq(results[0].error.reason, REASON_WORKER_LOST);
		ck_assert_ptr_nonnull(strstr(results[0].error.text, "exit status 1"));
		for (int i = 0; i < 20 && !pipe_is_closed(pipes[0], 0); i++) {
			executor_dispatch(executor, &handler);
			(void)poll(NULL, 0, 20);
		}
		ck_assert(pipe_is_closed(pipes[0], 0));
		ck_assert_int_eq(close(pipes[0]), 0);
	}
END_TEST

START_TEST(worker_that_talks_nonsense_is_ended)
	{
		executor_free(executor);
		ck_assert_int_eq(setenv("TEST_WORKER", "nonsense", 1), 0);
		start(&(struct executor_options){0});
		ck_assert_int_eq(submit(ping(7)), 0);
		pump(1, 1);
		ck_assert_uint_eq(results[0].error.reason, REASON_WORKER_LOST);
		ck_assert_ptr_nonnull(strstr(results[0].error.text, "signal 9"));
	}
END_TEST

START_TEST(answer_for_another_operation_is_nonsense_too)
	{
		executor_free(executor);
		ck_assert_int_eq(setenv("TEST_WORKER", "wrong-id", 1), 0);
		start(&(struct executor_options){0});
		ck_assert_int_eq(submit(ping(7)), 0);
		pump(1, 1);
		ck_assert_uint_eq(results[0].error.reason, REASON_WORKER_LOST);
	}
END_TEST

/* A TCP connection whose close waits 20 s for a peer that reads nothing. */
static int lingering_socket(int *ret_peer)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 20};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static char data[1 << 20];

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, size), 0);
	*ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(*ret_peer, 0);
	ck_assert_int_eq(close(listener), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	return fd;
}

START_TEST(dispose_never_waits_for_a_hostile_close)
	{
		uint64_t begin = now_ms();
		int peers[8], pipes[2];

		for (size_t i = 0; i < 3; i++)
			executor_dispose(executor, lingering_socket(&peers[i]));
		executor_dispose(executor, -1);
		/* One that is stuck does not keep another from being closed. */
		ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
		executor_dispose(executor, pipes[1]);
		executor_dispatch(executor, &handler);
		ck_assert_uint_lt(now_ms() - begin, 5000);
		ck_assert(pipe_is_closed(pipes[0], 5000));
		ck_assert_int_eq(close(pipes[0]), 0);
		for (size_t i = 0; i < 3; i++)
			ck_assert_int_eq(close(peers[i]), 0);
		ck_assert_uint_eq(result_count, 0);
	}
END_TEST

START_TEST(free_waits_for_no_stuck_worker)
	{
		uint64_t begin;
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		ck_assert_int_eq(kill(pid, SIGSTOP), 0);
		ck_assert_int_eq(submit(ping(7)), 0);
		begin = now_ms();
		executor_free(TAKE_PTR(executor));
		ck_assert_uint_lt(now_ms() - begin, 1000);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	}
END_TEST

START_TEST(workers_end_when_the_executor_does)
	{
		int status = -1;
		pid_t pid;

		(void)run(ping(7));
		pid = pid_of(7);
		executor_free(TAKE_PTR(executor));
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(WIFEXITED(status));
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	}
END_TEST

/* A daemon that dies keeps the entries: only the last copy of a device takes them away. */
START_TEST(workers_that_end_detach_nothing_that_the_vmm_holds)
	{
		FD_AUTO int iommufd = sim_fd_of(true, 0);
		FD_AUTO int node = sim_fd_of(false, RID_A);
		struct sim_entries entries;
		struct sim_entry entry;
		uint32_t ioas;
		pid_t pid;

		(void)identify(7, 1, iommufd, node);
		(void)run((struct hw_op){.kind = HW_OPEN, .lane = 7, .device = 1});
		ck_assert_int_eq(sim_calls(sim)->ioas_alloc(sim, iommufd, &ioas), 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_ATTACH,
					     .lane = 7,
					     .device = 1,
					     .has_pasid = 1,
					     .pasid = {77},
					     .table = {.kind = HW_TABLE_IOAS, .id = ioas}})
					 ->status,
			0);
		pid = pid_of(7);
		executor_free(TAKE_PTR(executor));
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		ck_assert_int_eq(sim_entries_init(&entries, sim), 0);
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 1);
		ck_assert_uint_eq(entry.at.pasid, 77);
	}
END_TEST

/* --- bad workers --- */

static int bad_worker(const char *how)
{
	struct worker_message message;
	struct hw_result result = {.id = 4711};

	if (recv(WORKER_SOCKET, &message, sizeof(message), 0) < 0)
		return EXIT_FAILURE;
	(void)send(WORKER_SOCKET, &result, strcmp(how, "wrong-id") == 0 ? sizeof(result) : 3,
		MSG_NOSIGNAL);
	(void)pause();
	return EXIT_SUCCESS;
}

static TCase *lane_tests(void)
{
	TCase *tc = tcase_create("lanes");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, operations_reach_the_tables);
	tcase_add_test(tc, key_is_equal_for_the_same_open_file_only);
	tcase_add_test(tc, key_is_forgotten_with_the_last_device);
	tcase_add_test(tc, opened_device_comes_back_as_a_descriptor);
	tcase_add_test(tc, refused_descriptors_are_closed_everywhere);
	tcase_add_test(tc, killed_worker_completes_all_then_the_lane_is_lost);
	tcase_add_test(tc, descriptors_queued_for_a_lost_worker_are_closed);
	tcase_add_test(tc, queue_of_a_stuck_lane_is_bounded_and_delays_nobody);
	tcase_add_test(tc, end_is_answered_when_the_process_is_gone);
	tcase_add_test(tc, end_of_a_lane_that_never_began_needs_no_process);
	tcase_add_test(tc, worker_killed_while_it_ends_is_lost);
	return tc;
}

static TCase *process_tests(void)
{
	TCase *tc = tcase_create("processes");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, worker_has_its_socket_and_nothing_else);
	tcase_add_test(tc, program_that_cannot_start_takes_nothing);
	tcase_add_test(tc, program_that_ends_at_once_is_a_lost_lane);
	tcase_add_test(tc, worker_that_talks_nonsense_is_ended);
	tcase_add_test(tc, answer_for_another_operation_is_nonsense_too);
	tcase_add_test(tc, dispose_never_waits_for_a_hostile_close);
	tcase_add_test(tc, free_waits_for_no_stuck_worker);
	tcase_add_test(tc, workers_end_when_the_executor_does);
	tcase_add_test(tc, workers_that_end_detach_nothing_that_the_vmm_holds);
	return tc;
}

int main(int argc, char *argv[])
{
	const char *bad = getenv("TEST_WORKER");
	SRunner *runner;
	Suite *suite;
	int result;

	if (bad && argc > 1)
		return bad_worker(bad);
	if (worker_asked(argc, argv, &result))
		return result;
	suite = suite_create("executor");
	suite_add_tcase(suite, lane_tests());
	suite_add_tcase(suite, process_tests());
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	result = srunner_ntests_failed(runner);
	srunner_free(runner);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
