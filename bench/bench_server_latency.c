/* SPDX-License-Identifier: MIT */
/* P1, P2: one request at a time, from the call to its result, with client and server on one core.
 */
#include "bench_server.h"

#define ROUNDS  60u
#define SAMPLES 500u

enum side {
	SIDE_OURS,
	SIDE_ECHO,
	SIDE_REDIS,
	SIDE_JOB,
	SIDE_MEMCACHED,
	SIDES,
};

struct latency {
	struct bench_load loads[SIDES];
	bool present[SIDES];
	struct bench_series p50, p99;
};

static void latency_side(struct latency *latency, unsigned side, unsigned round)
{
	struct bench_load *load = &latency->loads[side];
	double samples[SAMPLES];

	for (unsigned i = 0; i < SAMPLES; i++) {
		const uint64_t begin = bench_now_ns();

		load->batch(load, 1);
		samples[i] = (double)(bench_now_ns() - begin);
	}
	latency->p50.values[side][round] = bench_median(samples, SAMPLES);
	latency->p99.values[side][round] = bench_percentile(samples, SAMPLES, 99);
}

static void latency_open(struct latency *latency, const struct bench_options *options)
{
	bench_load_pasid(&latency->loads[SIDE_OURS], &options->pasidd, "latency", 1);
	bench_load_echo(&latency->loads[SIDE_ECHO]);
	latency->present[SIDE_OURS] = latency->present[SIDE_ECHO] = true;
	if (options->redis.path != NULL) {
		bench_load_redis_incr(&latency->loads[SIDE_REDIS], &options->redis);
		bench_load_redis_job(&latency->loads[SIDE_JOB], &options->redis);
		latency->present[SIDE_REDIS] = latency->present[SIDE_JOB] = true;
	}
	if (options->memcached.path != NULL) {
		bench_load_memcached_incr(&latency->loads[SIDE_MEMCACHED], &options->memcached);
		latency->present[SIDE_MEMCACHED] = true;
	}
}

static void latency_report(const struct latency *latency)
{
	static const struct {
		struct bench_figure figure;
		enum side peer;
		bool p99;
	} figures[] = {
		{{.id = "P1",
			 .name = "one allocate, p50, against an echo of 64 bytes",
			 .target = 1.10},
			SIDE_ECHO, false},
		{{.id = "P1",
			 .name = "one allocate, p99, against an echo of 64 bytes",
			 .target = 1.4},
			SIDE_ECHO, true},
		{{.id = "P2", .name = "one allocate, p50, against redis INCR", .target = 0.90},
			SIDE_REDIS, false},
		{{.id = "P2",
			 .name = "one allocate, p50, against redis SPOP and HSET in a script",
			 .target = 0.60},
			SIDE_JOB, false},
		{{.id = "P2", .name = "one allocate, p50, against memcached incr"}, SIDE_MEMCACHED,
			false},
	};

	for (unsigned i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		struct bench_figure figure = figures[i].figure;

		figure.unit = "us";
		figure.scale = 1e-3;
		if (latency->present[figures[i].peer])
			bench_report(&figure, figures[i].p99 ? &latency->p99 : &latency->p50,
				SIDE_OURS, figures[i].peer);
	}
}

void bench_latency(const struct bench_options *options)
{
	static struct latency latency;
	const unsigned rounds = options->rounds > 0 ? options->rounds : ROUNDS;

	latency_open(&latency, options);
	latency.p50.rounds = latency.p99.rounds = rounds;
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < SIDES; i++) {
			/* Nobody is always first after somebody. */
			const unsigned side = round % 2 == 0 ? i : SIDES - 1 - i;

			if (latency.present[side])
				latency_side(&latency, side, round);
		}
	}
	latency_report(&latency);
}
