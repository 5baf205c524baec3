/* SPDX-License-Identifier: MIT */
/* P5, P6: what many connections cost in processor time, and connections and grants in memory. */
#include "bench_server.h"

#include "libpasid.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#define FEW    100u
#define MANY   5000u
#define WAVE   100u /* requests under way at once, on as many connections */
#define ROUNDS 20u

/* With a quota, each makes a set of its own. */
static struct bench_wire *connections_open(const char *path, unsigned count, uint32_t quota)
{
	struct bench_wire *wires = calloc(count, sizeof(*wires));

	if (wires == NULL)
		errx(1, "no memory");
	for (unsigned i = 0; i < count; i++) {
		bench_wire_open(&wires[i], path);
		if (quota > 0)
			bench_wire_set(&wires[i], i, quota);
	}
	return wires;
}

/* One request after another on every connection, as many of them as make MANY. */
static double connections_cost(
	const struct bench_server *server, struct bench_wire *wires, unsigned count)
{
	const uint64_t begin = bench_cpu_ns(server->pid);

	for (unsigned done = 0; done < MANY; done += WAVE) {
		struct bench_wire *wave = &wires[done % count];

		for (unsigned i = 0; i < WAVE; i++)
			bench_wire_send_allocate(&wave[i]);
		for (unsigned i = 0; i < WAVE; i++)
			bench_wire_receive(&wave[i]);
	}
	return (double)(bench_cpu_ns(server->pid) - begin) / MANY;
}

void bench_connections(const struct bench_options *options)
{
	static struct bench_series series;
	const struct bench_figure figure = {.id = "P5",
		.name = "server CPU a request, 5000 connections against 100",
		.target = 1.5,
		.unit = "ns"};
	struct bench_wire *many, *few;

	bench_raise_files();
	many = connections_open(options->pasidd.path, MANY, BENCH_NUMBERS / 2 / MANY);
	few = connections_open(options->second.path, FEW, BENCH_NUMBERS / 2 / FEW);
	(void)connections_cost(&options->pasidd, many, MANY);
	(void)connections_cost(&options->second, few, FEW);
	series.rounds = options->rounds > 0 ? options->rounds : ROUNDS;
	for (unsigned round = 0; round < series.rounds; round++) {
		series.values[0][round] = connections_cost(&options->pasidd, many, MANY);
		series.values[1][round] = connections_cost(&options->second, few, FEW);
	}
	bench_report(&figure, &series, 0, 1);
	free(many);
	free(few);
}

/* ------------------------------------------------------------ memory */

#define IDLE        5000u
#define IDLE_WARM   200u
#define IDLE_LIMIT  640.0
#define GRANT_LIMIT 32.0
#define WHOLE_LIMIT (48.0 * 1048576)
#define SET_MAX     65536u /* quota of a set, as configured by default */
#define SETS        (BENCH_NUMBERS / SET_MAX)

static void memory_idle(const struct bench_server *server)
{
	const struct bench_figure figure = {.id = "P6",
		.name = "memory of an idle connection, against 640 bytes",
		.target = 1,
		.unit = "B"};
	struct bench_wire *warm = connections_open(server->path, IDLE_WARM, 0);
	const uint64_t before = bench_memory(server->pid);
	struct bench_wire *idle = connections_open(server->path, IDLE, 0);

	bench_report_limit(
		&figure, (double)(bench_memory(server->pid) - before) / IDLE, IDLE_LIMIT, 1);
	free(warm);
	free(idle);
}

static void memory_check(struct pasid_client *client, int r)
{
	if (r != 0)
		errx(1, "pasidd: %s", pasid_last_error(client)->message);
}

/* A VMM that takes so many numbers; lives as long as this program. */
static unsigned memory_take(const char *path, unsigned number, unsigned count)
{
	static uint32_t numbers[PASID_ALLOCATE_MAX];
	const struct pasid_options options = {.path = path, .name = "bench"};
	struct pasid_set_create_args args = {.has_quota = true, .quota = count};
	struct pasid_client *client;
	struct pasid_error error;
	char name[32];

	if (pasid_open(&options, &client, &error) != 0)
		errx(1, "pasidd: %s", error.message);
	(void)snprintf(name, sizeof(name), "full%u", number);
	args.name = name;
	memory_check(client, pasid_set_create(client, &args, NULL));
	for (unsigned taken = 0; taken < count;) {
		const unsigned left = count - taken;
		const uint32_t now = left < PASID_ALLOCATE_MAX ? left : PASID_ALLOCATE_MAX;

		memory_check(client, pasid_allocate(client,
					     &(struct pasid_allocate_args){.count = now}, numbers));
		taken += now;
	}
	return count;
}

/* Every number there is, in as many sets as quotas make necessary. */
static void memory_grants(const struct bench_server *server)
{
	const struct bench_figure grant = {.id = "P6",
		.name = "memory of a grant, against 32 bytes",
		.target = 1,
		.unit = "B"};
	const struct bench_figure whole = {.id = "P6",
		.name = "memory of the daemon with all 2^20 numbers granted, against 48 MiB",
		.target = 1,
		.unit = "MiB",
		.scale = 1.0 / 1048576};
	const uint64_t before = bench_memory(server->pid);
	unsigned taken = 0;
	uint64_t after;

	for (unsigned i = 0; i < SETS; i++)
		taken += memory_take(server->path, i, i + 1 < SETS ? SET_MAX : SET_MAX - 1);
	after = bench_memory(server->pid);
	bench_report_limit(&grant, (double)(after - before) / taken, GRANT_LIMIT, 1);
	bench_report_limit(&whole, (double)after, WHOLE_LIMIT, 1);
}

void bench_memory_use(const struct bench_options *options)
{
	bench_raise_files();
	memory_idle(&options->pasidd);
	memory_grants(&options->second);
}
