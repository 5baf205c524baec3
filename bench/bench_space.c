/* SPDX-License-Identifier: MIT */
/*
 * Targets P9, P10 and P16: the numbers' hierarchical bitmap against a flat bitmap with next-fit.
 *
 * The flat one is the plain loop: it passes over a word of 64 taken numbers with one test. (Shaped
 * until a compiler makes one word a cycle of it, it needs about half the time where next-fit runs
 * far; the hierarchy's first figure would then be about 0.45.) Both are given the same numbers and
 * asked the same questions, in turns and in batches, and must answer alike. A figure is the ratio
 * of the two medians, one JSON line each, as those of bench_server. With the other half of the core
 * busy, the ratios are a fifth higher.
 *
 * usage: bench_space [ROUNDS]
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "space.h"

#define ROUNDS     1001u
#define ROUNDS_MAX 10001u
#define BATCH_MAX  64u
#define NONE       UINT32_MAX

/* What struct space keeps as well: all orders, a count, blocks that are checked before they change.
 * Ranges are of whole words. */
struct flat {
	uint64_t numbers[SPACE_WORDS];
	uint32_t free_count;
};

/* A way to lay out the numbers and one operation to be timed upon them. */
struct scenario {
	const char *id;
	const char *name;
	double target;
	unsigned order;
	uint32_t batch;       /* operations that are timed together */
	uint32_t free_blocks; /* aligned blocks of the order that are free when a batch begins */
	uint32_t singles;     /* other free numbers, scattered, none of which make a block */
	bool refill; /* whether each allocation is followed by a give within the time taken */
};

static struct space space;
static struct flat flat;
static uint64_t random_state = 88172645463325252;

static uint32_t random_below(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 32) * limit >> 32);
}

/* The bits of a block in its word, or in each of its words. */
static uint64_t flat_mask(uint32_t first, unsigned order)
{
	return order < 6 ? ((UINT64_C(1) << (1u << order)) - 1) << (first % 64) : UINT64_MAX;
}

static bool flat_all(uint32_t first, unsigned order, uint64_t mask, uint64_t want)
{
	const uint32_t words = (1u << order) / 64;

	for (uint32_t i = 1; i < words; i++) {
		if ((flat.numbers[first / 64 + i] & mask) != want)
			return false;
	}
	return (flat.numbers[first / 64] & mask) == want;
}

static void flat_toggle(uint32_t first, unsigned order, uint64_t mask)
{
	const uint32_t words = (1u << order) / 64;

	flat.numbers[first / 64] ^= mask;
	for (uint32_t i = 1; i < words; i++)
		flat.numbers[first / 64 + i] ^= mask;
}

/* The free blocks in a word; what is above a word's order is left to flat_all. */
static uint64_t flat_blocks(uint64_t bits, unsigned order)
{
	static const uint64_t aligned[] = {0x5555555555555555, 0x1111111111111111,
		0x0101010101010101, 0x0001000100010001, 0x0000000100000001, 0x0000000000000001};

	for (unsigned k = 0; k < order && k < ARRAY_SIZE(aligned); k++)
		bits &= (bits >> (1u << k)) & aligned[k];
	return bits;
}

/* From start on, a word at a time and once around; blocks of whole words are looked at one by one.
 */
static uint32_t flat_find(const struct space_query *q)
{
	const uint32_t first = q->min / 64;
	const uint32_t count = q->max / 64 - first + 1;
	const uint32_t step = q->order > 6 ? 1u << (q->order - 6) : 1;
	uint64_t mask = UINT64_MAX << (q->start % 64);
	uint32_t word = q->start / 64;

	for (uint32_t i = 0; i <= count; i += step) {
		uint64_t bits = flat.numbers[word] & mask;

		if (bits != 0)
			bits = flat_blocks(bits, q->order);
		if (bits != 0 &&
			(step == 1 || flat_all(word * 64, q->order, UINT64_MAX, UINT64_MAX)))
			return word * 64 + (uint32_t)__builtin_ctzll(bits);
		mask = UINT64_MAX;
		word = word + step < first + count ? word + step : first;
	}
	return NONE;
}

__attribute__((noinline)) static void flat_take(uint32_t first, unsigned order)
{
	const uint64_t mask = flat_mask(first, order);

	assert(flat_all(first, order, mask, mask));
	flat_toggle(first, order, mask);
	flat.free_count -= 1u << order;
}

__attribute__((noinline)) static void flat_give(uint32_t first, unsigned order)
{
	const uint64_t mask = flat_mask(first, order);

	assert(flat_all(first, order, mask, 0));
	flat_toggle(first, order, mask);
	flat.free_count += 1u << order;
}

static uint32_t hierarchy_find(const struct space_query *q)
{
	const struct space *const spaces[] = {&space};
	uint32_t first;

	return space_find(spaces, 1, q, &first) == 0 ? first : NONE;
}

static void hierarchy_take(uint32_t first, unsigned order)
{
	if (order == 0)
		space_take(&space, first);
	else
		space_take_block(&space, first, order);
}

static void hierarchy_give(uint32_t first, unsigned order)
{
	if (order == 0)
		space_give(&space, first);
	else
		space_give_block(&space, first, order);
}

/* One of the two sides; its whole memory, to be brought into the cache. */
struct side {
	uint32_t (*find)(const struct space_query *q);
	void (*take)(uint32_t first, unsigned order);
	void (*give)(uint32_t first, unsigned order);
	const void *memory;
	size_t size;
};

static const struct side flat_side = {flat_find, flat_take, flat_give, &flat, sizeof(flat)};
static const struct side our_side = {
	hierarchy_find, hierarchy_take, hierarchy_give, &space, sizeof(space)};

/* What is asked in a batch, and what came of it. */
struct batch {
	uint32_t start; /* where the next search begins: next-fit */
	uint32_t given[BATCH_MAX];
	uint32_t found[BATCH_MAX];
};

static void run(const struct side *side, const struct scenario *c, struct batch *b)
{
	struct space_query q = {.min = 0, .max = PASID_LAST, .order = c->order};

	for (uint32_t i = 0; i < c->batch; i++) {
		uint32_t first;

		q.start = b->start;
		first = side->find(&q);
		b->found[i] = first;
		if (first == NONE) {
			b->start = b->given[i];
			continue;
		}
		side->take(first, c->order);
		b->start = (first + (1u << c->order)) % PASID_COUNT;
		if (c->refill)
			side->give(b->given[i], c->order);
	}
}

static uint32_t random_block(unsigned order)
{
	return random_below(PASID_COUNT >> order) << order;
}

/* A block whose numbers are all taken. */
static uint32_t random_taken(unsigned order)
{
	uint32_t first;

	do
		first = random_block(order);
	while (!flat_all(first, order, flat_mask(first, order), 0));
	return first;
}

static void give_both(uint32_t first, unsigned order)
{
	flat_give(first, order);
	hierarchy_give(first, order);
}

static void fill(const struct scenario *c)
{
	memset(&flat, 0, sizeof(flat));
	space_init(&space);
	for (uint32_t i = 0; i < c->free_blocks; i++)
		give_both(random_taken(c->order), c->order);
	for (uint32_t i = 0; i < c->singles; i++)
		give_both(random_taken(0), 0);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Each side finds its own memory in the cache, whoever had the processor before. */
static void warm(const struct side *side)
{
	const uint64_t *words = side->memory;
	uint64_t sum = 0;

	for (size_t i = 0; i < side->size / sizeof(*words); i++)
		sum += words[i];
	__asm__ volatile("" : : "r"(sum)); /* else nothing need be read */
}

static uint64_t timed(const struct side *side, const struct scenario *c, struct batch *b)
{
	uint64_t begin;

	warm(side);
	begin = now();
	run(side, c, b);
	return now() - begin;
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a;
	const uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double median_ns(uint64_t *times, uint32_t rounds, uint32_t batch)
{
	qsort(times, rounds, sizeof(*times), compare);
	return (double)times[rounds / 2] / batch;
}

/* One batch on each side, the first turn alternating; then what was taken is given back somewhere
 * else. */
static void round_of(const struct scenario *c, uint32_t round, uint32_t *start, uint64_t *ret_flat,
	uint64_t *ret_ours)
{
	struct batch theirs = {.start = *start};
	struct batch ours;

	for (uint32_t i = 0; i < c->batch; i++)
		theirs.given[i] = c->refill ? random_taken(c->order) : random_block(c->order);
	ours = theirs;
	if (round % 2 == 0)
		*ret_flat = timed(&flat_side, c, &theirs);
	*ret_ours = timed(&our_side, c, &ours);
	if (round % 2 != 0)
		*ret_flat = timed(&flat_side, c, &theirs);

	if (memcmp(&ours, &theirs, sizeof(ours)) != 0) {
		fprintf(stderr, "%s: the two bitmaps answer differently\n", c->name);
		exit(2);
	}
	for (uint32_t i = 0; i < c->batch && !c->refill; i++) {
		if (ours.found[i] != NONE)
			give_both(random_taken(c->order), c->order);
	}
	*start = ours.start;
}

static void report(
	const struct scenario *c, uint64_t *our_times, uint64_t *flat_times, uint32_t rounds)
{
	const double theirs = median_ns(flat_times, rounds, c->batch);
	const double ours = median_ns(our_times, rounds, c->batch);

	printf("{\"id\":\"%s\",\"name\":\"%s\",\"ratio\":%.4g,\"target\":%g,\"met\":%s,"
	       "\"ours\":%.5g,\"peer\":%.5g,\"unit\":\"ns\",\"rounds\":%u}\n",
		c->id, c->name, ours / theirs, c->target,
		ours / theirs <= c->target ? "true" : "false", ours, theirs, rounds);
	(void)fflush(stdout);
}

static void measure(const struct scenario *c, uint32_t rounds)
{
	static uint64_t flat_times[ROUNDS_MAX];
	static uint64_t our_times[ROUNDS_MAX];
	uint32_t start = 0;

	fill(c);
	for (uint32_t i = 0; i < rounds; i++)
		round_of(c, i, &start, &flat_times[i], &our_times[i]);
	report(c, our_times, flat_times, rounds);
}

/* ------------------------------------------------------------------ free in several at once */

#define JOINT        8u
#define JOINT_PLACES 64u /* where the one number that is free in all of them may be */

static struct space joint[JOINT];

/* Each has one number in a hundred free; those that are free in all of them by chance are taken. */
static void joint_fill(uint32_t *ret_places)
{
	for (uint32_t i = 0; i < JOINT; i++) {
		space_init(&joint[i]);
		for (uint32_t n = 0; n < PASID_COUNT; n++)
			if (random_below(100) == 0)
				space_open(&joint[i], n, n);
	}
	for (uint32_t n = 0; n < PASID_COUNT; n++) {
		uint32_t i = 0;

		while (i < JOINT && space_is_free(&joint[i], n))
			i++;
		if (i == JOINT)
			space_take(&joint[0], n);
	}
	for (uint32_t i = 0; i < JOINT_PLACES; i++)
		ret_places[i] = random_below(PASID_COUNT);
}

static void joint_open(uint32_t n, bool *was)
{
	for (uint32_t i = 0; i < JOINT; i++) {
		was[i] = space_is_free(&joint[i], n);
		if (!was[i])
			space_give(&joint[i], n);
	}
}

static void joint_close(uint32_t n, const bool *was)
{
	for (uint32_t i = 0; i < JOINT; i++)
		if (!was[i])
			space_take(&joint[i], n);
}

/* The plain loop: the next word is looked at as soon as nothing is left of this one. */
__attribute__((noinline)) static uint32_t joint_flat(void)
{
	for (uint32_t word = 0; word < SPACE_WORDS; word++) {
		uint64_t bits = joint[0].numbers[word];

		for (uint32_t i = 1; i < JOINT && bits != 0; i++)
			bits &= joint[i].numbers[word];
		if (bits != 0)
			return word * 64 + (uint32_t)__builtin_ctzll(bits);
	}
	return NONE;
}

__attribute__((noinline)) static uint32_t joint_ours(void)
{
	const struct space_query query = {.max = PASID_LAST};
	const struct space *spaces[JOINT];
	uint32_t found = NONE;

	for (uint32_t i = 0; i < JOINT; i++)
		spaces[i] = &joint[i];
	(void)space_find(spaces, JOINT, &query, &found);
	return found;
}

static uint64_t joint_time(uint32_t (*find)(void), uint32_t wanted)
{
	uint64_t begin;

	(void)find(); /* into the caches */
	begin = now();
	if (find() != wanted) {
		fprintf(stderr, "the two searches of several spaces answer differently\n");
		exit(2);
	}
	return now() - begin;
}

static void measure_joint(uint32_t rounds)
{
	static uint64_t flat_times[ROUNDS_MAX], our_times[ROUNDS_MAX];
	const struct scenario c = {.id = "P16",
		.name = "the number that is free in 8 tables at once, each 99 % full",
		.target = 0.25,
		.batch = 1};
	uint32_t places[JOINT_PLACES];
	bool was[JOINT];

	joint_fill(places);
	for (uint32_t i = 0; i < rounds; i++) {
		const uint32_t place = places[i % JOINT_PLACES];

		joint_open(place, was);
		if (i % 2 == 0)
			flat_times[i] = joint_time(joint_flat, place);
		our_times[i] = joint_time(joint_ours, place);
		if (i % 2 != 0)
			flat_times[i] = joint_time(joint_flat, place);
		joint_close(place, was);
	}
	report(&c, our_times, flat_times, rounds);
}

int main(int argc, char *argv[])
{
	static const struct scenario scenarios[] = {
		{.id = "P9",
			.name = "allocate at 99.99 % full",
			.target = 0.3,
			.batch = 16,
			.free_blocks = PASID_COUNT / 10000},
		{.id = "P9",
			.name = "the last free number",
			.target = 0.01,
			.batch = 64,
			.free_blocks = 1,
			.refill = true},
		{.id = "P10",
			.name = "aligned block of 16 at 99 % full",
			.target = 0.8,
			.order = 4,
			.batch = 64,
			.free_blocks = PASID_COUNT / 16 / 100},
		{.id = "P10",
			.name = "block of 32 that does not exist at 90 % full",
			.target = 0.005,
			.order = 5,
			.batch = 16,
			.singles = PASID_COUNT / 10},
	};
	const uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : ROUNDS;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_space [ROUNDS], at most %u\n", ROUNDS_MAX);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		measure(&scenarios[i], rounds);
	measure_joint(rounds);
	return 0;
}
