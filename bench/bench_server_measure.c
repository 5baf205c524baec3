/* SPDX-License-Identifier: MIT */
/* Clocks, processors, memory, and the lines that are printed. */
#include "bench_server.h"

#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t bench_clock_ns(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		err(1, "clock_gettime");
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t bench_now_ns(void)
{
	return bench_clock_ns(CLOCK_MONOTONIC);
}

void bench_sleep_ms(unsigned ms)
{
	const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	(void)nanosleep(&t, NULL);
}

uint64_t bench_cpu_ns(pid_t pid)
{
	clockid_t clock;
	int r = clock_getcpuclockid(pid, &clock);

	if (r != 0)
		errx(1, "process %d: %s", (int)pid, strerror(r));
	return bench_clock_ns(clock);
}

/* The KiB of a line of smaps_rollup, if it is one that counts. */
static uint64_t bench_memory_line(const char *line)
{
	static const char *const names[] = {"Private_Clean:", "Private_Dirty:", "Swap:"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(line, names[i], strlen(names[i])) == 0)
			return strtoull(line + strlen(names[i]), NULL, 10);
	}
	return 0;
}

uint64_t bench_memory(pid_t pid)
{
	char path[64], line[256];
	uint64_t sum = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	file = fopen(path, "re");
	if (file == NULL)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), file) != NULL)
		sum += bench_memory_line(line) * 1024;
	(void)fclose(file);
	return sum;
}

void bench_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		err(1, "processor %d", cpu);
}

void bench_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(1, "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int bench_compare(const void *a, const void *b)
{
	const double x = *(const double *)a;
	const double y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_percentile(double *values, size_t count, double percent)
{
	const size_t at = (size_t)((double)count * percent / 100);

	qsort(values, count, sizeof(*values), bench_compare);
	return values[at < count ? at : count - 1];
}

double bench_median(double *values, size_t count)
{
	return bench_percentile(values, count, 50);
}

/* ------------------------------------------------------------ one JSON line a figure */

static void bench_print(const struct bench_figure *figure, double ratio, double ours,
	const char *peer_name, double peer, unsigned rounds)
{
	const double scale = figure->scale > 0 ? figure->scale : 1;
	const bool met = figure->at_least ? ratio >= figure->target : ratio <= figure->target;

	(void)printf(
		"{\"id\":\"%s\",\"name\":\"%s\",\"ratio\":%.4g,", figure->id, figure->name, ratio);
	if (figure->target > 0)
		(void)printf("\"target\":%g,\"met\":%s,", figure->target, met ? "true" : "false");
	else
		(void)printf("\"target\":null,\"met\":null,");
	(void)printf("\"ours\":%.5g,\"%s\":%.5g,\"unit\":\"%s\",\"rounds\":%u}\n", ours * scale,
		peer_name, peer * scale, figure->unit, rounds);
	(void)fflush(stdout);
}

void bench_report(const struct bench_figure *figure, const struct bench_series *series,
	unsigned ours, unsigned peer)
{
	double ratios[BENCH_ROUNDS_MAX], a[BENCH_ROUNDS_MAX], b[BENCH_ROUNDS_MAX];

	for (unsigned i = 0; i < series->rounds; i++) {
		a[i] = series->values[ours][i];
		b[i] = series->values[peer][i];
		ratios[i] = a[i] / b[i];
	}
	bench_print(figure, bench_median(ratios, series->rounds), bench_median(a, series->rounds),
		"peer", bench_median(b, series->rounds), series->rounds);
}

void bench_report_limit(
	const struct bench_figure *figure, double ours, double limit, unsigned rounds)
{
	bench_print(figure, ours / limit, ours, "limit", limit, rounds);
}
