/* SPDX-License-Identifier: MIT */
/*
 * usage: bench_bind FUNCTION FUNCTION [ROUNDS [REMARK]]
 *
 * What a bind through the daemon costs, against the same ioctls made directly plus the least that a
 * way through two processes can cost: two echoes. Runs where a real IOMMU is (scripts/vm-test
 * bench); the first function goes to pasidd, the second one stays here. A round measures the three
 * one after the other, so that what slows the machine down slows down all of them.
 */
#include "hw/uapi.h"
#include "libpasid.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000
#define PAIRS      20 /* bind and unbind, in a round */
#define TARGET     1.3
#define ECHO_SIZE  64
#define PASID      77

/* A function with a page table of this process's own. */
struct side {
	int iommufd, device;
	uint32_t dev_id, hwpt;
};

struct bench {
	struct pasid_client *client;
	struct side ours, direct;
	uint64_t device; /* pasidd's id of ours */
	uint32_t pasid;  /* what pasidd gave us */
	int echo;
};

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("bench_bind: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
	exit(EXIT_FAILURE);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void must(int r, const char *what)
{
	if (r < 0)
		fail("%s: %s", what, strerror(errno));
}

/* ------------------------------------------------------------ the kernel, directly */

static void open_side(struct side *side, const char *function)
{
	char path[512];
	struct dirent *entry;
	DIR *folder;

	side->device = -1;
	side->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	must(side->iommufd, "/dev/iommu");
	(void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", function);
	folder = opendir(path);
	if (!folder)
		fail("%s is not bound to vfio-pci", function);
	while (side->device < 0 && (entry = readdir(folder)) != NULL) {
		(void)snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
		if (strncmp(entry->d_name, "vfio", 4) == 0)
			side->device = open(path, O_RDWR | O_CLOEXEC);
	}
	(void)closedir(folder);
	must(side->device, function);
}

static void bind_side(struct side *side)
{
	struct uapi_device_bind bind = {.argsz = sizeof(bind), .iommufd = side->iommufd};

	must(ioctl(side->device, UAPI_DEVICE_BIND, &bind), "VFIO_DEVICE_BIND_IOMMUFD");
	side->dev_id = bind.out_devid;
}

/* A page table that PASIDs can be attached to. */
static void make_table(struct side *side)
{
	struct uapi_ioas_alloc ioas = {.size = sizeof(ioas)};
	struct uapi_hwpt_alloc hwpt = {
		.size = sizeof(hwpt), .flags = UAPI_HWPT_PASID, .dev_id = side->dev_id};

	must(ioctl(side->iommufd, UAPI_IOAS_ALLOC, &ioas), "IOMMU_IOAS_ALLOC");
	hwpt.pt_id = ioas.out_ioas_id;
	must(ioctl(side->iommufd, UAPI_HWPT_ALLOC, &hwpt), "IOMMU_HWPT_ALLOC");
	side->hwpt = hwpt.out_hwpt_id;
}

static void pair_directly(const struct bench *bench)
{
	const struct side *side = &bench->direct;
	struct uapi_device_attach attach = {.argsz = sizeof(attach),
		.flags = UAPI_ATTACH_PASID,
		.pt_id = side->hwpt,
		.pasid = PASID};
	struct uapi_device_detach detach = {
		.argsz = sizeof(detach), .flags = UAPI_ATTACH_PASID, .pasid = PASID};

	must(ioctl(side->device, UAPI_DEVICE_ATTACH, &attach), "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	must(ioctl(side->device, UAPI_DEVICE_DETACH, &detach), "VFIO_DEVICE_DETACH_IOMMUFD_PT");
}

/* ------------------------------------------------------------ the daemon */

static void check(const struct bench *bench, int r, const char *what)
{
	if (r != 0)
		fail("%s: %s", what, pasid_last_error(bench->client)->message);
}

static void connect_daemon(struct bench *bench)
{
	const struct pasid_options options = {.name = "bench", .role = PASID_ROLE_VMM};
	char name[32]; /* of its own: the set of the run before may still wait for its numbers */
	const struct pasid_set_create_args set = {.name = name};
	const struct pasid_device_add_args device = {
		.iommufd = bench->ours.iommufd, .device = bench->ours.device};
	const struct pasid_allocate_args allocate = {.count = 1};
	struct pasid_device_info info = {0};
	struct pasid_error error = {0};

	(void)snprintf(name, sizeof(name), "bench-%d", (int)getpid());
	if (pasid_open(&options, &bench->client, &error) != 0)
		fail("pasidd: %s", error.message);
	check(bench, pasid_set_create(bench->client, &set, NULL), "set");
	check(bench, pasid_device_add(bench->client, &device, &info, NULL), "device");
	bench->device = info.id;
	bench->ours.dev_id = info.dev_id;
	check(bench, pasid_allocate(bench->client, &allocate, &bench->pasid), "allocate");
}

static void pair_through_daemon(const struct bench *bench)
{
	const struct pasid_pair pair = {.device = bench->device,
		.table = {.source = PASID_TABLE_HWPT, .id = bench->ours.hwpt}};
	const struct pasid_bind_args bind = {
		.pasid = {.value = bench->pasid}, .pairs = &pair, .count = 1};
	const struct pasid_unbind_args unbind = {.pasid = {.value = bench->pasid}};

	check(bench, pasid_bind(bench->client, &bind, NULL, NULL), "bind");
	check(bench, pasid_unbind(bench->client, &unbind), "unbind");
}

/* ------------------------------------------------------------ echoes */

/* Sends on what comes, to `next` and back when there is one. */
__attribute__((noreturn)) static void echo_serve(int fd, int next)
{
	char data[ECHO_SIZE];
	ssize_t n;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((n = recv(fd, data, sizeof(data), 0)) > 0) {
		if (next >= 0 && (send(next, data, (size_t)n, 0) != n ||
					 recv(next, data, sizeof(data), 0) != n))
			break;
		if (send(fd, data, (size_t)n, 0) != n)
			break;
	}
	_exit(EXIT_SUCCESS);
}

static int echo_start(int next)
{
	int pair[2];
	pid_t pid;

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
	pid = fork();
	must(pid, "fork");
	if (pid == 0) {
		(void)close(pair[0]);
		echo_serve(pair[1], next);
	}
	(void)close(pair[1]);
	return pair[0];
}

/* As client, daemon and worker: two echoes for a bind and two for an unbind. */
static void pair_of_echoes(const struct bench *bench)
{
	char data[ECHO_SIZE] = {0};

	for (int i = 0; i < 2; i++)
		if (send(bench->echo, data, sizeof(data), 0) != sizeof(data) ||
			recv(bench->echo, data, sizeof(data), 0) != sizeof(data))
			fail("the echo is gone");
}

/* ------------------------------------------------------------ measuring */

static double measure(const struct bench *bench, void (*pair)(const struct bench *bench))
{
	uint64_t start = now_ns();

	for (int i = 0; i < PAIRS; i++)
		pair(bench);
	return (double)(now_ns() - start) / PAIRS / 1000;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

/* With a remark it is for information, and no target was set. */
static void report(double ratio, const char *remark)
{
	(void)printf(
		"{\"id\":\"P13\",\"name\":\"bind and unbind of one PASID against the ioctls and "
		"two echoes each%s%s\",\"ratio\":%.4g,",
		remark ? ", " : "", remark ? remark : "", ratio);
	if (remark)
		(void)printf("\"target\":null,\"met\":null,");
	else
		(void)printf(
			"\"target\":%g,\"met\":%s,", TARGET, ratio <= TARGET ? "true" : "false");
}

static void run(const struct bench *bench, unsigned rounds, const char *remark)
{
	static double daemon[ROUNDS_MAX], direct[ROUNDS_MAX], echoes[ROUNDS_MAX],
		ratios[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++) {
		daemon[i] = measure(bench, pair_through_daemon);
		direct[i] = measure(bench, pair_directly);
		echoes[i] = measure(bench, pair_of_echoes);
		ratios[i] = daemon[i] / (direct[i] + echoes[i]);
	}
	report(median(ratios, rounds), remark);
	(void)printf(
		"\"ours\":%.5g,\"ioctls\":%.5g,\"echoes\":%.5g,\"unit\":\"us\","
		"\"rounds\":%u}\n",
		median(daemon, rounds), median(direct, rounds), median(echoes, rounds), rounds);
}

int main(int argc, char *argv[])
{
	unsigned rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 100;
	struct bench bench = {0};

	if (argc < 3 || rounds == 0 || rounds > ROUNDS_MAX)
		fail("usage: bench_bind FUNCTION FUNCTION [ROUNDS [REMARK]]");
	bench.echo = echo_start(echo_start(-1));
	open_side(&bench.ours, argv[1]);
	open_side(&bench.direct, argv[2]);
	connect_daemon(&bench);
	bind_side(&bench.direct);
	make_table(&bench.ours);
	make_table(&bench.direct);
	for (int i = 0; i < PAIRS; i++) {
		pair_through_daemon(&bench);
		pair_directly(&bench);
		pair_of_echoes(&bench);
	}
	run(&bench, rounds, argc > 4 ? argv[4] : NULL);
	return EXIT_SUCCESS;
}
