/* SPDX-License-Identifier: MIT */
/*
 * P12: what a VM notices while the device of another one hangs in the kernel. Two VMs with a
 * simulated device each, on different IOMMU units; the bind of one hangs, the other goes on.
 */
#include "bench_server.h"

#include "libpasid.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS      4u
#define HANG_MS     "5000"
#define WINDOW_NS   UINT64_C(4000000000) /* within the hang */
#define SLICE_NS    UINT64_C(100000000)
#define SLICES      (WINDOW_NS / SLICE_NS)
#define SAMPLES_MAX 20000u /* in a slice */
#define MEMORY      65536u
#define HANGS_ON    "0000:00:01.0"
#define GOES_ON     "0000:00:02.0"

struct vm {
	struct pasid_client *client;
	struct pasid_pair pair;
	uint32_t number;
	bool answered;
};

struct samples {
	double values[SAMPLES_MAX];
	size_t count;
};

static void vm_check(struct vm *vm, int r)
{
	if (r != 0)
		errx(1, "pasidd: %s", pasid_last_error(vm->client)->message);
}

static int vm_node(const char *simulation, const char *name)
{
	char path[4096];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", simulation, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

/* Some memory behind address space 0 of the device, so that a PASID can be bound to it. */
static void vm_map(struct vm *vm)
{
	const int memfd = memfd_create("guest memory", MFD_CLOEXEC);
	const struct pasid_memory_args args = {
		.device = vm->pair.device, .length = MEMORY, .writeable = true, .memfd = memfd};

	if (memfd < 0 || ftruncate(memfd, MEMORY) < 0)
		err(1, "memfd_create");
	vm_check(vm, pasid_memory_map(vm->client, &args));
	(void)close(memfd);
}

static void vm_open(struct vm *vm, const struct bench_options *options, const char *address)
{
	const struct pasid_options open = {.path = options->pasidd.path, .name = address};
	const struct pasid_set_create_args set = {
		.name = address + 8, .has_quota = true, .quota = BENCH_NUMBERS / 4};
	char node[64];
	struct pasid_device_add_args add = {0};
	struct pasid_device_info info;
	struct pasid_error error;

	*vm = (struct vm){0};
	if (pasid_open(&open, &vm->client, &error) != 0)
		errx(1, "pasidd: %s", error.message);
	vm_check(vm, pasid_set_create(vm->client, &set, NULL));
	(void)snprintf(node, sizeof(node), "devices/%s", address);
	add.iommufd = vm_node(options->simulation, "iommu");
	add.device = vm_node(options->simulation, node);
	vm_check(vm, pasid_device_add(vm->client, &add, &info, NULL));
	vm->pair.device = info.id;
	vm->pair.table.source = PASID_TABLE_SPACE;
	vm_map(vm);
	vm_check(vm,
		pasid_allocate(vm->client, &(struct pasid_allocate_args){.count = 1}, &vm->number));
}

static struct pasid_bind_args vm_bind_args(const struct vm *vm)
{
	return (struct pasid_bind_args){
		.pasid = {.value = vm->number}, .pairs = &vm->pair, .count = 1};
}

static void vm_unbind(struct vm *vm)
{
	const struct pasid_unbind_args args = {.pasid = {.value = vm->number}};

	vm_check(vm, pasid_unbind(vm->client, &args));
}

static void vm_answered(
	struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	struct vm *vm = userdata;

	(void)client;
	if (result->code != 0)
		errx(1, "pasidd: %s", result->error->message);
	vm->answered = true;
}

/* Asks for a bind and does not wait for it. */
static void vm_start_bind(struct vm *vm)
{
	const struct pasid_bind_args args = vm_bind_args(vm);

	vm->answered = false;
	vm_check(vm, pasid_bind_async(vm->client, &args, vm_answered, vm));
	vm_check(vm, pasid_flush(vm->client));
}

static void vm_end_bind(struct vm *vm)
{
	while (!vm->answered) {
		if (pasid_dispatch(vm->client, -1) < 0)
			vm_check(vm, -EIO);
	}
	vm_unbind(vm);
}

static void hang_add(struct samples *samples, uint64_t begin)
{
	if (samples->count < SAMPLES_MAX)
		samples->values[samples->count++] = (double)(bench_now_ns() - begin);
}

/* Requests and binds in turns, for a tenth of a second: the p99 of each. */
static void hang_slice(struct vm *vm, double *ret_requests, double *ret_binds)
{
	static struct samples requests, binds;
	const struct pasid_bind_args bind = vm_bind_args(vm);
	const struct pasid_allocate_args allocate = {.count = 1};
	const uint64_t end = bench_now_ns() + SLICE_NS;
	uint64_t begin = bench_now_ns();
	struct pasid_number number = {0};

	requests.count = binds.count = 0;
	do {
		vm_check(vm, pasid_allocate(vm->client, &allocate, &number.value));
		hang_add(&requests, begin);
		vm_check(vm, pasid_free(vm->client,
				     &(struct pasid_free_args){.pasids = &number, .count = 1}, NULL,
				     NULL));
		begin = bench_now_ns();
		vm_check(vm, pasid_bind(vm->client, &bind, NULL, NULL));
		hang_add(&binds, begin);
		vm_unbind(vm);
		begin = bench_now_ns();
	} while (begin < end);
	*ret_requests = bench_percentile(requests.values, requests.count, 99);
	*ret_binds = bench_percentile(binds.values, binds.count, 99);
}

/* The medians of the slices of a window: what happens beside us on the machine hits some of them.
 */
static void hang_window(struct vm *vm, double *ret_requests, double *ret_binds)
{
	const uint64_t end = bench_now_ns() + WINDOW_NS;
	double requests[SLICES], binds[SLICES];
	size_t count = 0;

	while (count < SLICES && bench_now_ns() < end) {
		hang_slice(vm, &requests[count], &binds[count]);
		count++;
	}
	*ret_requests = bench_median(requests, count);
	*ret_binds = bench_median(binds, count);
}

static void hang_arrange(const struct bench_options *options)
{
	char *const words[] = {(char *)options->sim_tool, (char *)options->simulation,
		(char *)"hang", (char *)HANGS_ON, (char *)HANG_MS, NULL};
	pid_t pid;
	int status;
	const int r = posix_spawn(&pid, options->sim_tool, NULL, NULL, words, environ);

	if (r != 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "%s does not arrange a hang", options->sim_tool);
}

void bench_hang(const struct bench_options *options)
{
	static struct bench_series requests, binds;
	const struct bench_figure request = {.id = "P12",
		.name = "requests of a VM, p99, while another one's device hangs",
		.target = 1.5,
		.unit = "us",
		.scale = 1e-3};
	const struct bench_figure bind = {.id = "P12",
		.name = "binds of a VM, p99, while another one's device hangs",
		.target = 1.5,
		.unit = "us",
		.scale = 1e-3};
	struct vm hanging, other;

	vm_open(&hanging, options, HANGS_ON);
	vm_open(&other, options, GOES_ON);
	requests.rounds = binds.rounds = options->rounds > 0 ? options->rounds : ROUNDS;
	for (unsigned i = 0; i < 2 * requests.rounds; i++) {
		const bool hangs = (i + i / 2) % 2 == 0; /* yes, no, no, yes */
		const unsigned side = hangs ? 0 : 1;

		if (hangs)
			hang_arrange(options);
		vm_start_bind(&hanging);
		hang_window(&other, &requests.values[side][i / 2], &binds.values[side][i / 2]);
		(void)pasid_dispatch(hanging.client, 0);
		if (hanging.answered == hangs)
			errx(1, hangs ? "the bind did not hang" : "the bind hangs");
		vm_end_bind(&hanging);
	}
	bench_report(&request, &requests, 0, 1);
	bench_report(&bind, &binds, 0, 1);
	pasid_close(hanging.client);
	pasid_close(other.client);
}
