/* SPDX-License-Identifier: MIT */
#include "space_model.h"

#include <check.h>
#include <string.h>

struct space spaces[SPACES];
bool reference[SPACES][PASID_COUNT];

const struct space *const all[SPACES] = {&spaces[0], &spaces[1], &spaces[2], &spaces[3], &spaces[4],
	&spaces[5], &spaces[6], &spaces[7]};

void model_setup(void)
{
	for (unsigned i = 0; i < SPACES; i++)
		space_init(&spaces[i]);
	memset(reference, 0, sizeof(reference));
}

/* --- the reference
 * ---------------------------------------------------------------------------------- */

static bool reference_block(size_t count, uint32_t first, uint32_t size)
{
	for (uint32_t n = first; n < first + size; n++) {
		for (size_t i = 0; i < count; i++) {
			if (!reference[i][n])
				return false;
		}
	}
	return true;
}

/* Every aligned block in the range, in the order of the search; UNSET when none is free. */
uint32_t reference_find(size_t count, const struct space_query *q)
{
	const uint32_t size = 1u << q->order;
	const uint32_t start = q->start < q->min || q->start > q->max ? q->min : q->start;
	uint32_t wrapped = UNSET;

	for (uint32_t n = 0; n < PASID_COUNT; n += size) {
		if (n < q->min) {
			n = (q->min - 1) & ~(size - 1);
			continue;
		}
		if (n + size - 1 > q->max)
			break;
		if (n < start && wrapped != UNSET)
			n = (start - 1) & ~(size - 1);
		else if (reference_block(count, n, size)) {
			if (n >= start)
				return n;
			wrapped = n;
		}
	}
	return wrapped;
}

static uint32_t reference_find_many(
	size_t count, const struct space_query *q, uint32_t want, uint32_t *numbers)
{
	const uint32_t length = q->max - q->min + 1;
	const uint32_t start = q->start < q->min || q->start > q->max ? q->min : q->start;
	uint32_t found = 0;

	for (uint32_t i = 0; i < length && found < want; i++) {
		const uint32_t n = q->min + (start - q->min + i) % length;

		if (reference_block(count, n, 1))
			numbers[found++] = n;
	}
	return found;
}

/* --- both at once
 * ----------------------------------------------------------------------------------- */

void both_open(unsigned i, uint32_t first, uint32_t last)
{
	space_open(&spaces[i], first, last);
	memset(&reference[i][first], true, last - first + 1);
}

void both_toggle_block(unsigned i, uint32_t first, unsigned order)
{
	const bool taken = reference[i][first];

	if (taken)
		space_take_block(&spaces[i], first, order);
	else
		space_give_block(&spaces[i], first, order);
	memset(&reference[i][first], !taken, 1u << order);
}

void both_toggle(unsigned i, uint32_t n)
{
	if (reference[i][n])
		space_take(&spaces[i], n);
	else
		space_give(&spaces[i], n);
	reference[i][n] = !reference[i][n];
}

void expect_find(size_t count, const struct space_query *q, uint32_t expected)
{
	uint32_t first = UNSET;
	const int r = space_find(all, count, q, &first);

	ck_assert_msg(first == expected && r == (expected == UNSET ? STATUS_EXHAUSTED : 0),
		"%zu spaces, %u..%u from %u, order %u: %u (status %d), expected %u", count, q->min,
		q->max, q->start, q->order, first, r, expected);
}

void expect_find_many(size_t count, const struct space_query *q, uint32_t want)
{
	static uint32_t expected[5000], numbers[5000];
	const uint32_t expected_found = reference_find_many(count, q, want, expected);
	uint32_t found = UNSET;
	const int r = space_find_many(all, count, q, want, numbers, &found);

	if (expected_found == 0) {
		ck_assert_int_eq(r, STATUS_EXHAUSTED);
		ck_assert_uint_eq(found, UNSET);
		return;
	}
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(found, expected_found);
	ck_assert_mem_eq(numbers, expected, found * sizeof(*numbers));
}

void expect_equal(unsigned i)
{
	uint32_t free_count = 0;

	for (uint32_t n = 0; n < PASID_COUNT; n++) {
		if (space_is_free(&spaces[i], n) != reference[i][n])
			ck_abort_msg("number %u", n);
		free_count += reference[i][n];
	}
	ck_assert_uint_eq(space_free_count(&spaces[i]), free_count);
	ck_assert(space_check(&spaces[i]));
}
