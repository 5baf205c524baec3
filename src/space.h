/* SPDX-License-Identifier: MIT */
/*
 * The free numbers of one owner: the global namespace, or one table owner of scope rids.
 *
 * A bitmap of 2^20 bits, set where the number is free, under summaries for each order 0..10 that
 * say where an aligned block of 2^order free numbers is to be found. So an absent number or block
 * is answered from four words, and a search over several spaces leaves out what any one of them
 * rules out. Nothing here knows who holds a number, allocates memory or calls the system.
 *
 * Arguments are those of a caller that has validated its input: what is said to be required is
 * asserted.
 */
#ifndef PASIDD_SPACE_H
#define PASIDD_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base.h"

#define SPACE_MAX_ORDER   10u /* blocks of up to 1024 numbers */
#define SPACE_ORDERS      (SPACE_MAX_ORDER + 1u)
#define SPACE_WORD_ORDER  6u /* the order of a block that fills a word of 64 */
#define SPACE_WORD_ORDERS (SPACE_WORD_ORDER + 1u)
#define SPACE_WORDS       (PASID_COUNT / 64u)
#define SPACE_GROUPS      (SPACE_WORDS / 64u)
#define SPACE_TOPS        (SPACE_GROUPS / 64u)

/* What is said about 64 words of numbers, side by side, for one change touches most of it. */
struct space_group {
	/* bit w of words[k]: the group's word w has a free block of order k. A bit of order 6 is a
	 * word wholly free, so that orders 7..10 are aligned runs of 2, 4, 8 and 16 bits of it */
	uint64_t words[SPACE_WORD_ORDERS];
};

/* Plain data without pointers, 142 KiB: it may be copied, mapped or embedded. For space.c alone to
 * touch. */
struct space {
	/* bit n % 64 of numbers[n / 64]: n is free */
	uint64_t numbers[SPACE_WORDS];
	struct space_group groups[SPACE_GROUPS];
	/* bit g % 64 of tops[k][g / 64]: a free block of order k begins in groups[g] */
	uint64_t tops[SPACE_ORDERS][SPACE_TOPS];
	uint32_t free_count;
};

/* Makes a space in which every number is taken. */
void space_init(struct space *s);

/* Makes first..last (inclusive, first <= last < PASID_COUNT) free; those that are free already stay
 * so. */
void space_open(struct space *s, uint32_t first, uint32_t last);

/* Whether n is free. n < PASID_COUNT. */
bool space_is_free(const struct space *s, uint32_t n);

/* How many numbers are free. */
uint32_t space_free_count(const struct space *s);

/* Takes n, which must be free; gives n back, which must be taken. */
void space_take(struct space *s, uint32_t n);
void space_give(struct space *s, uint32_t n);

/* The same for the 2^order numbers from first on: first is a multiple of 2^order, order <=
 * SPACE_MAX_ORDER, and all of them are free (or taken) before. */
void space_take_block(struct space *s, uint32_t first, unsigned order);
void space_give_block(struct space *s, uint32_t first, unsigned order);

/*
 * What is looked for: a block of 2^order numbers, aligned to its size, that lies in min..max
 * (inclusive, both below PASID_COUNT; nothing is in a range whose min is above its max). The search
 * goes from start up to max, then from min up to start; a start outside the range means min. Blocks
 * are visited by their first number.
 */
struct space_query {
	uint32_t min;
	uint32_t max;
	uint32_t start;
	unsigned order;
};

/*
 * The first number, or first number of a block, that is free in all of the count spaces (at least
 * one). It is not taken. Returns 0 or STATUS_EXHAUSTED.
 */
int space_find(const struct space *const spaces[], size_t count, const struct space_query *q,
	uint32_t *ret_first);

/*
 * As many single numbers (order 0) as there are, up to want (at least 1), each free in all spaces,
 * distinct and in the order of the search. ret_numbers has room for want. Returns 0 with 1..want
 * numbers found, or STATUS_EXHAUSTED when there is none; a caller that needs all of them compares
 * ret_found with want.
 */
int space_find_many(const struct space *const spaces[], size_t count, const struct space_query *q,
	uint32_t want, uint32_t *ret_numbers, uint32_t *ret_found);

/* Whether the count and every summary equal what a recount of the numbers gives. Slow: reads it
 * all. */
bool space_check(const struct space *s);

#endif
