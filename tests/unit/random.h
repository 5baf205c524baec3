/* SPDX-License-Identifier: MIT */
/* Numbers for histories that can be repeated: each test says its seed, PASIDD_SEED=<seed> brings it
 * back. */
#ifndef PASIDD_TEST_RANDOM_H
#define PASIDD_TEST_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct random {
	uint64_t state;
};

static inline uint32_t random_next(struct random *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return (uint32_t)(r->state >> 32);
}

/* 0..limit - 1 */
static inline uint32_t random_below(struct random *r, uint32_t limit)
{
	return (uint32_t)((uint64_t)random_next(r) * limit >> 32);
}

/* first..last */
static inline uint32_t random_between(struct random *r, uint32_t first, uint32_t last)
{
	return first + random_below(r, last - first + 1);
}

static inline bool random_chance(struct random *r, uint32_t percent)
{
	return random_below(r, 100) < percent;
}

static inline struct random random_begin(const char *test)
{
	const char *wanted = getenv("PASIDD_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = (uint64_t)now.tv_sec * 1000003 ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 40;
	if (wanted)
		seed = strtoull(wanted, NULL, 0);
	printf("%s: PASIDD_SEED=%llu\n", test, (unsigned long long)seed);
	fflush(stdout);
	/* neighbouring seeds begin far apart, and 0 is no state */
	return (struct random){.state = (seed ^ 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9 | 1};
}

#endif
