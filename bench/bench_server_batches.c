/* SPDX-License-Identifier: MIT */
/* P3, P4: processor time of the server for requests that come in batches. */
#include "bench_server.h"

#define ROUNDS        40u
#define ROUNDS_MANY   10u
#define REQUESTS      4096u /* in a round */
#define REQUESTS_MANY 1024u
#define WARM_BATCHES  4u
#define MANY          64u /* numbers in a request */
#define MANY_DEPTH    64u

/* Server nanoseconds a request. */
static double batches_cost(struct bench_load *load, unsigned depth, unsigned requests)
{
	uint64_t begin;

	begin = bench_cpu_ns(load->pid);
	for (unsigned done = 0; done < requests; done += depth)
		load->batch(load, depth);
	return (double)(bench_cpu_ns(load->pid) - begin) / requests;
}

/* Measures the sides in turns, the first one alternating. */
static void batches_run(struct bench_load *loads, unsigned sides, unsigned depth, unsigned requests,
	struct bench_series *series)
{
	for (unsigned side = 0; side < sides; side++) {
		for (unsigned i = 0; i < WARM_BATCHES; i++)
			loads[side].batch(&loads[side], depth);
	}
	for (unsigned round = 0; round < series->rounds; round++) {
		for (unsigned i = 0; i < sides; i++) {
			const unsigned side = round % 2 == 0 ? i : sides - 1 - i;
			struct bench_load *load = &loads[side];

			series->values[side][round] = batches_cost(load, depth, requests);
			if (load->refill != NULL)
				load->refill(load);
		}
	}
}

void bench_batches(const struct bench_options *options)
{
	static struct bench_series series;
	static const struct {
		unsigned depth;
		struct bench_figure redis, memcached;
	} steps[] = {
		{64,
			{.id = "P3",
				.name = "server CPU a request, 64 at once, against redis INCR",
				.target = 0.75,
				.unit = "ns"},
			{.id = "P3",
				.name = "server CPU a request, 64 at once, against memcached incr",
				.unit = "ns"}},
		{256,
			{.id = "P3",
				.name = "server CPU a request, 256 at once, against redis INCR",
				.target = 0.55,
				.unit = "ns"},
			{.id = "P3",
				.name = "server CPU a request, 256 at once, against memcached incr",
				.unit = "ns"}},
	};
	struct bench_load loads[3];
	const bool memcached = options->memcached.path != NULL;

	bench_load_pasid(&loads[0], &options->pasidd, "batches", 1);
	loads[0].refill = NULL; /* there are numbers enough */
	bench_load_redis_incr(&loads[1], &options->redis);
	if (memcached)
		bench_load_memcached_incr(&loads[2], &options->memcached);
	series.rounds = options->rounds > 0 ? options->rounds : ROUNDS;
	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		batches_run(loads, memcached ? 3 : 2, steps[i].depth, REQUESTS, &series);
		bench_report(&steps[i].redis, &series, 0, 1);
		if (memcached)
			bench_report(&steps[i].memcached, &series, 0, 2);
	}
}

void bench_many_ids(const struct bench_options *options)
{
	static struct bench_series series;
	const struct bench_figure figure = {.id = "P4",
		.name = "numbers a second and core, 64 in a request, against redis SPOP 64",
		.target = 25,
		.at_least = true,
		.unit = "1/s"};
	struct bench_load loads[2];

	bench_load_pasid(&loads[0], &options->pasidd, "many", MANY);
	bench_load_redis_spop(&loads[1], &options->redis, MANY);
	loads[1].refill(&loads[1]);
	series.rounds = options->rounds > 0 ? options->rounds : ROUNDS_MANY;
	batches_run(loads, 2, MANY_DEPTH, REQUESTS_MANY, &series);
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned round = 0; round < series.rounds; round++)
			series.values[side][round] = MANY * 1e9 / series.values[side][round];
	}
	bench_report(&figure, &series, 0, 1);
}
