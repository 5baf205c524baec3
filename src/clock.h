/* SPDX-License-Identifier: MIT */
/*
 * The daemon's clock: milliseconds that never go back and go on during a suspend (CLOCK_BOOTTIME).
 *
 * Read once a wake-up; everything that is done in one wake-up happens at the same time.
 */
#ifndef PASIDD_CLOCK_H
#define PASIDD_CLOCK_H

#include <stdint.h>
#include <time.h>

struct clock {
	uint64_t now_ms;
};

static inline void clock_read(struct clock *clock)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	clock->now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The form in which the broker and the dispatcher take it; ctx is a struct clock. */
static inline uint64_t clock_now_ms(void *ctx)
{
	const struct clock *clock = ctx;

	return clock->now_ms;
}

#endif
