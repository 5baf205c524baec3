/* SPDX-License-Identifier: MIT */
#include "space.h"

#include <assert.h>
#include <string.h>

#define NONE UINT32_MAX

#define SPACE_GROUP_NUMBERS (64u * 64u)

/* The search is compiled three times, with more or less of it constant. Without optimisation once,
 * so that what a test covers is not said thrice. */
#ifdef __OPTIMIZE__
#define SEARCH_INLINE static inline __attribute__((always_inline))
#else
#define SEARCH_INLINE static
#endif

/* One joint search: what is free in all spaces, up to a last number. */
struct search {
	const struct space *const *spaces;
	size_t count;
	unsigned order;
	uint32_t last;
};

/* From the free blocks of order k in a word (bit = first number) to those of order k + 1. */
SEARCH_INLINE uint64_t space_fold_step(uint64_t blocks, unsigned k)
{
	static const uint64_t aligned[SPACE_WORD_ORDER] = {
		0x5555555555555555, /* multiples of 2 */
		0x1111111111111111, 0x0101010101010101, 0x0001000100010001, 0x0000000100000001,
		0x0000000000000001, /* multiples of 64 */
	};

	return blocks & (blocks >> (1u << k)) & aligned[k];
}

SEARCH_INLINE uint64_t space_fold(uint64_t bits, unsigned order)
{
	for (unsigned k = 0; k < order && bits != 0; k++)
		bits = space_fold_step(bits, k);
	return bits;
}

/*
 * The lowest bit of the result is the last one of the lowest aligned block of 2^order set bits; 0
 * when there is none. That is the test for a zero byte, with blocks for bytes: subtracting 1 from
 * each borrows through to the top only where all bits are set (here: their complement is 0). Bits
 * above the lowest mean nothing.
 */
SEARCH_INLINE uint64_t space_block_ends(uint64_t bits, unsigned order)
{
	static const struct {
		uint64_t first;
		uint64_t last;
	} blocks[SPACE_WORD_ORDERS] = {
		{0xffffffffffffffff, 0xffffffffffffffff},
		{0x5555555555555555, 0xaaaaaaaaaaaaaaaa},
		{0x1111111111111111, 0x8888888888888888},
		{0x0101010101010101, 0x8080808080808080},
		{0x0001000100010001, 0x8000800080008000},
		{0x0000000100000001, 0x8000000080000000},
		{0x0000000000000001, 0x8000000000000000},
	};

	return (~bits - blocks[order].first) & bits & blocks[order].last;
}

/* Blocks above order 6 are runs of whole words: their summary is kept at this order. */
SEARCH_INLINE unsigned space_word_order(unsigned order)
{
	return order < SPACE_WORD_ORDER ? order : SPACE_WORD_ORDER;
}

/* Brings the tops of orders 6..10 up to date after a group's wholly free words changed: more has a
 * bit that less has not. */
__attribute__((noinline)) static void space_update_runs(
	struct space *s, uint32_t group, uint64_t less, uint64_t more)
{
	for (unsigned k = 0; less != more; k++) {
		if (less == 0)
			s->tops[SPACE_WORD_ORDER + k][group / 64] ^= UINT64_C(1) << (group % 64);
		if (SPACE_WORD_ORDER + k == SPACE_MAX_ORDER)
			break;
		less = space_fold_step(less, k);
		more = space_fold_step(more, k);
	}
}

/* A word begins or ceases to have free blocks of the orders first..last. */
static inline void space_flip(struct space *s, uint32_t word, unsigned first, unsigned last)
{
	const uint32_t group = word / 64;
	const uint64_t bit = UINT64_C(1) << (word % 64);
	uint64_t *words = s->groups[group].words;

	for (unsigned k = first; k <= last; k++)
		words[k] ^= bit;
	if (last == SPACE_WORD_ORDER)
		space_update_runs(s, group, words[last] & ~bit, words[last] | bit);
	else if ((words[last] & ~bit) != 0)
		return; /* other words have blocks of this order, hence of all lower ones */
	for (unsigned k = first; k <= last && k < SPACE_WORD_ORDER; k++)
		s->tops[k][group / 64] ^= (uint64_t)((words[k] & ~bit) == 0) << (group % 64);
}

/*
 * Some numbers of a word become free, or some become taken, never both at once. So of its two
 * states the one with more free numbers has all the blocks of the other, and the summary of an
 * order changes exactly when the one with less has no block of it and the other has. Once both have
 * the same blocks, all higher orders agree.
 */
__attribute__((noinline)) static void space_update(
	struct space *s, uint32_t word, uint64_t less, uint64_t more)
{
	unsigned first = 0;
	unsigned last;

	for (; less != 0; first++) {
		if (less == more)
			return;
		less = space_fold_step(less, first);
		more = space_fold_step(more, first);
	}
	if (more == 0)
		return;
	for (last = first; last < SPACE_WORD_ORDER; last++) {
		more = space_fold_step(more, last);
		if (more == 0)
			break;
	}
	space_flip(s, word, first, last);
}

/* Takes a block out of a word, or puts it back: mask is an aligned block of this order. */
static inline void space_toggle(struct space *s, uint32_t word, uint64_t mask, unsigned order)
{
	const uint64_t others = s->numbers[word] & ~mask;

	s->numbers[word] ^= mask;
	/* the case of a space that is nearly full: what changes is the block and no more */
	if (others == 0)
		space_flip(s, word, 0, order);
	else
		space_update(s, word, others, others | mask);
}

void space_init(struct space *s)
{
	memset(s, 0, sizeof(*s));
}

/* A group in which every number is taken becomes one in which every number is free. */
static void space_open_group(struct space *s, uint32_t group)
{
	memset(&s->numbers[64ul * group], 0xff, 64 * sizeof(s->numbers[0]));
	memset(&s->groups[group], 0xff, sizeof(s->groups[0]));
	for (unsigned k = 0; k < SPACE_ORDERS; k++)
		s->tops[k][group / 64] |= UINT64_C(1) << (group % 64);
	s->free_count += SPACE_GROUP_NUMBERS;
}

/* Whether nothing in it is free; a top of order 0 says that something is. */
static bool space_group_is_taken(const struct space *s, uint32_t group)
{
	return !((s->tops[0][group / 64] >> (group % 64)) & 1);
}

void space_open(struct space *s, uint32_t first, uint32_t last)
{
	assert(first <= last && last < PASID_COUNT);

	for (uint32_t word = first / 64; word <= last / 64; word++) {
		const uint64_t before = s->numbers[word];
		uint64_t mask = ~before;

		if (word % 64 == 0 && word * 64 >= first &&
			last - word * 64 >= SPACE_GROUP_NUMBERS - 1 &&
			space_group_is_taken(s, word / 64)) {
			space_open_group(s, word / 64);
			word += 63;
			continue;
		}

		if (word == first / 64)
			mask &= UINT64_MAX << (first % 64);
		if (word == last / 64)
			mask &= UINT64_MAX >> (63 - last % 64);
		s->free_count += (uint32_t)__builtin_popcountll(mask);
		s->numbers[word] = before | mask;
		space_update(s, word, before, before | mask);
	}
}

bool space_is_free(const struct space *s, uint32_t n)
{
	assert(n < PASID_COUNT);
	return (s->numbers[n / 64] >> (n % 64)) & 1;
}

uint32_t space_free_count(const struct space *s)
{
	return s->free_count;
}

void space_take(struct space *s, uint32_t n)
{
	assert(space_is_free(s, n));
	space_toggle(s, n / 64, UINT64_C(1) << (n % 64), 0);
	s->free_count--;
}

void space_give(struct space *s, uint32_t n)
{
	assert(!space_is_free(s, n));
	space_toggle(s, n / 64, UINT64_C(1) << (n % 64), 0);
	s->free_count++;
}

/* Takes words whose numbers are all free, or gives some whose numbers are all taken. */
__attribute__((noinline)) static void space_toggle_words(
	struct space *s, uint32_t word, uint32_t count, bool is_free)
{
	for (uint32_t end = word + count; word < end; word++) {
		assert(s->numbers[word] == (is_free ? UINT64_MAX : 0));
		space_toggle(s, word, UINT64_MAX, SPACE_WORD_ORDER);
	}
}

/* Takes a block whose numbers are all free, or gives one whose numbers are all taken. */
SEARCH_INLINE void space_toggle_block(struct space *s, uint32_t first, unsigned order, bool is_free)
{
	assert(order <= SPACE_MAX_ORDER);

	const uint32_t size = 1u << order;
	uint64_t mask;

	assert(first < PASID_COUNT && first % size == 0);

	if (order >= SPACE_WORD_ORDER) {
		space_toggle_words(s, first / 64, size / 64, is_free);
		return;
	}
	mask = ((UINT64_C(1) << size) - 1) << (first % 64);
	assert((s->numbers[first / 64] & mask) == (is_free ? mask : 0));
	space_toggle(s, first / 64, mask, order);
}

void space_take_block(struct space *s, uint32_t first, unsigned order)
{
	space_toggle_block(s, first, order, true);
	s->free_count -= 1u << order;
}

void space_give_block(struct space *s, uint32_t first, unsigned order)
{
	space_toggle_block(s, first, order, false);
	s->free_count += 1u << order;
}

/*
 * The search. Each level finds the next bit at or after a position in what all spaces have in
 * common, and asks the level above for the next word worth reading. A summary of all spaces may
 * promise what the level below does not keep (the spaces' free numbers may differ), so every level
 * looks for itself and goes on.
 */

SEARCH_INLINE uint32_t space_next_group(const struct search *q, uint32_t from)
{
	uint64_t mask = UINT64_MAX << (from % 64);

	for (uint32_t top = from / 64; top < SPACE_TOPS; top++, mask = UINT64_MAX) {
		uint64_t bits = mask;

		for (size_t i = 0; i < q->count; i++)
			bits &= q->spaces[i]->tops[q->order][top];
		if (bits != 0)
			return top * 64 + (uint32_t)__builtin_ctzll(bits);
	}
	return NONE;
}

SEARCH_INLINE uint32_t space_next_word(const struct search *q, uint32_t from)
{
	const unsigned order = space_word_order(q->order);
	uint64_t mask = UINT64_MAX << (from % 64);
	uint32_t group = from / 64;

	while (group <= q->last / 4096) {
		uint64_t bits = mask;

		for (size_t i = 0; i < q->count; i++)
			bits &= q->spaces[i]->groups[group].words[order];
		bits = space_fold(bits, q->order - order);
		if (bits != 0)
			return group * 64 + (uint32_t)__builtin_ctzll(bits);
		group = space_next_group(q, group + 1);
		mask = UINT64_MAX;
	}
	return NONE;
}

/* What is free in all spaces of this word. */
SEARCH_INLINE uint64_t space_joint_word(const struct search *q, uint32_t word)
{
	uint64_t bits = UINT64_MAX;

	for (size_t i = 0; i < q->count; i++)
		bits &= q->spaces[i]->numbers[word];
	return bits;
}

/* The first block from this number on, a multiple of its size, to q->last. It may lie beyond. */
SEARCH_INLINE uint32_t space_next_block(const struct search *q, uint32_t from)
{
	uint64_t mask = UINT64_MAX << (from % 64);
	uint32_t word = from / 64;
	uint64_t ends;

	if (q->order > SPACE_WORD_ORDER) {
		word = space_next_word(q, word);
		return word == NONE ? NONE : word * 64;
	}
	for (;;) {
		ends = space_block_ends(space_joint_word(q, word) & mask, q->order);
		if (ends != 0)
			break;
		word = space_next_word(q, word + 1);
		if (word > q->last / 64)
			return NONE;
		mask = UINT64_MAX;
	}
	return word * 64 + (uint32_t)__builtin_ctzll(ends) + 1 - (1u << q->order);
}

/* The first numbers that a block can have in the query's range, and where the search begins among
 * them. */
struct bounds {
	uint32_t first;
	uint32_t start;
	uint32_t last;
};

SEARCH_INLINE bool space_query_bounds(const struct space_query *q, struct bounds *ret_bounds)
{
	assert(q->order <= SPACE_MAX_ORDER && q->min < PASID_COUNT && q->max < PASID_COUNT);

	const uint32_t size = 1u << q->order;
	const uint32_t first = (q->min + size - 1) & ~(size - 1);
	const uint32_t end = (q->max + 1) & ~(size - 1);
	const uint32_t start = (q->start + size - 1) & ~(size - 1);

	if (first >= end)
		return false;
	ret_bounds->first = first;
	ret_bounds->last = end - size;
	/* from below first the difference wraps to beyond the end, where later starts are anyway */
	ret_bounds->start = start - first < end - first ? start : first;
	return true;
}

SEARCH_INLINE int space_find_joint(const struct space *const spaces[], size_t count,
	const struct space_query *q, uint32_t *ret_first)
{
	struct search search = {.spaces = spaces, .count = count, .order = q->order};
	struct bounds bounds;
	uint32_t found;

	if (!space_query_bounds(q, &bounds))
		return STATUS_EXHAUSTED;

	search.last = bounds.last;
	found = space_next_block(&search, bounds.start);
	if (found > bounds.last) {
		if (bounds.start == bounds.first)
			return STATUS_EXHAUSTED;
		search.last = bounds.start - 1;
		found = space_next_block(&search, bounds.first);
		if (found > search.last)
			return STATUS_EXHAUSTED;
	}
	*ret_first = found;
	return 0;
}

__attribute__((noinline)) static int space_find_number(
	const struct space *space, const struct space_query *q, uint32_t *ret_first)
{
	const struct space_query number = {
		.min = q->min, .max = q->max, .start = q->start, .order = 0};

	return space_find_joint(&space, 1, &number, ret_first);
}

__attribute__((noinline)) static int space_find_block(
	const struct space *space, const struct space_query *q, uint32_t *ret_first)
{
	assert(q->order <= SPACE_WORD_ORDER);
	return space_find_joint(&space, 1, q, ret_first);
}

__attribute__((noinline)) static int space_find_several(const struct space *const spaces[],
	size_t count, const struct space_query *q, uint32_t *ret_first)
{
	return space_find_joint(spaces, count, q, ret_first);
}

int space_find(const struct space *const spaces[], size_t count, const struct space_query *q,
	uint32_t *ret_first)
{
	assert(count > 0);
	if (count == 1 && q->order == 0)
		return space_find_number(spaces[0], q, ret_first);
	if (count == 1 && q->order <= SPACE_WORD_ORDER)
		return space_find_block(spaces[0], q, ret_first);
	return space_find_several(spaces, count, q, ret_first);
}

/* Up to want numbers from this one on to q->last. */
SEARCH_INLINE uint32_t space_collect(
	const struct search *q, uint32_t from, uint32_t want, uint32_t *ret_numbers)
{
	uint64_t mask = UINT64_MAX << (from % 64);
	uint32_t word = from / 64;
	uint32_t found = 0;

	while (word <= q->last / 64 && found < want) {
		uint64_t bits = space_joint_word(q, word) & mask;

		if (word == q->last / 64)
			bits &= UINT64_MAX >> (63 - q->last % 64);
		for (; bits != 0 && found < want; bits &= bits - 1)
			ret_numbers[found++] = word * 64 + (uint32_t)__builtin_ctzll(bits);
		word = space_next_word(q, word + 1);
		mask = UINT64_MAX;
	}
	return found;
}

int space_find_many(const struct space *const spaces[], size_t count, const struct space_query *q,
	uint32_t want, uint32_t *ret_numbers, uint32_t *ret_found)
{
	struct search search = {.spaces = spaces, .count = count, .order = 0};
	struct bounds bounds;
	uint32_t found;

	assert(count > 0 && want > 0 && q->order == 0);
	if (!space_query_bounds(q, &bounds))
		return STATUS_EXHAUSTED;

	search.last = bounds.last;
	found = space_collect(&search, bounds.start, want, ret_numbers);
	if (bounds.start > bounds.first) {
		search.last = bounds.start - 1;
		found += space_collect(&search, bounds.first, want - found, ret_numbers + found);
	}
	if (found == 0)
		return STATUS_EXHAUSTED;
	*ret_found = found;
	return 0;
}

/* Most words have all of their numbers free, or none: there is nothing to fold. How many are free.
 */
static uint32_t space_check_words(const uint64_t numbers[64], uint64_t words[SPACE_WORD_ORDERS])
{
	uint64_t full = 0;
	uint32_t count = 0;

	for (uint32_t w = 0; w < 64; w++) {
		full |= (uint64_t)(numbers[w] == UINT64_MAX) << w;
		if (numbers[w] == 0 || numbers[w] == UINT64_MAX)
			continue;
		count += (uint32_t)__builtin_popcountll(numbers[w]);
		for (unsigned k = 0; k < SPACE_WORD_ORDERS; k++)
			words[k] |= (uint64_t)(space_fold(numbers[w], k) != 0) << w;
	}
	for (unsigned k = 0; k < SPACE_WORD_ORDERS; k++)
		words[k] |= full;
	return count + 64 * (uint32_t)__builtin_popcountll(full);
}

/* Recounts the summaries of one group of 64 words, each order from the numbers themselves. */
static bool space_check_group(const struct space *s, uint32_t group, uint32_t *free_count)
{
	uint64_t words[SPACE_WORD_ORDERS] = {0};
	bool agree = true;

	*free_count += space_check_words(&s->numbers[64ul * group], words);
	for (unsigned k = 0; k < SPACE_WORD_ORDERS; k++)
		agree &= s->groups[group].words[k] == words[k];
	for (unsigned order = 0; order < SPACE_ORDERS; order++) {
		const unsigned k = space_word_order(order);
		const bool top = (s->tops[order][group / 64] >> (group % 64)) & 1;

		agree &= top == (space_fold(words[k], order - k) != 0);
	}
	return agree;
}

bool space_check(const struct space *s)
{
	uint32_t free_count = 0;
	bool agree = true;

	for (uint32_t group = 0; group < SPACE_GROUPS; group++)
		agree &= space_check_group(s, group, &free_count);
	return agree && free_count == s->free_count;
}
