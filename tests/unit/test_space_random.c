/* SPDX-License-Identifier: MIT */
/* Random histories of spaces, each step compared with an array of bool. PASIDD_SEED repeats one. */
#include "random.h"
#include "space_model.h"

#include <check.h>
#include <string.h>

/* --- random histories against the reference
 * --------------------------------------------------------- */

/* Numbers gather around edges of words, groups and tops; the rest are anywhere. */
static uint32_t any_number(struct random *r)
{
	static const uint32_t sizes[] = {64, 1024, 4096, 262144};
	const uint32_t size = sizes[random_below(r, ARRAY_SIZE(sizes))];

	if (random_chance(r, 30))
		return random_below(r, PASID_COUNT);
	return (random_below(r, PASID_COUNT / size) * size + random_below(r, 5) - 2) % PASID_COUNT;
}

static struct space_query any_query(struct random *r, uint32_t width)
{
	struct space_query q = {.min = any_number(r), .order = random_below(r, SPACE_ORDERS)};

	q.max = q.min + random_below(r, width);
	if (q.max >= PASID_COUNT || random_chance(r, 2)) {
		q.max = PASID_LAST;
		q.min = PASID_COUNT - width;
	}
	q.start = random_chance(r, 80) ? random_between(r, q.min, q.max) : any_number(r);
	return q;
}

/* Whether a block is all free or all taken, so that it may be toggled. */
static bool is_uniform(unsigned i, uint32_t first, uint32_t size)
{
	return size == 1 || memcmp(&reference[i][first], &reference[i][first + 1], size - 1) == 0;
}

/* A little of everything; percent of the numbers are free afterwards, more or less. */
static void scatter(struct random *r, unsigned i, uint32_t first, uint32_t last, uint32_t percent)
{
	uint32_t n = first;

	while (n <= last) {
		const unsigned order = random_below(r, SPACE_ORDERS);
		const bool free = random_chance(r, percent);
		uint32_t end = n + random_below(r, 1u << order);

		for (end = end > last ? last : end; n <= end; n++) {
			if (reference[i][n] != free)
				both_toggle(i, n);
		}
	}
}

static void change_something(struct random *r, unsigned i)
{
	const unsigned order = random_below(r, SPACE_ORDERS);
	const uint32_t n = any_number(r);
	const uint32_t first = n & ~((1u << order) - 1);

	if (random_chance(r, 50))
		both_toggle(i, n);
	else if (is_uniform(i, first, 1u << order))
		both_toggle_block(i, first, order);
	else if (random_chance(r, 20))
		both_open(i, first, first + (1u << order) - 1);
}

static void ask_something(struct random *r, size_t count, uint32_t width)
{
	struct space_query q = any_query(r, width);
	const uint32_t want = 1 + random_below(r, random_chance(r, 50) ? 64 : 5000);

	expect_find(count, &q, reference_find(count, &q));
	q.order = 0;
	expect_find(count, &q, reference_find(count, &q));
	expect_find_many(count, &q, want);
}

START_TEST(random_histories_of_one_space)
	{
		static const uint32_t percent[] = {0, 1, 10, 50, 90, 99, 100};
		struct random r = random_begin("random_histories_of_one_space");

		scatter(&r, 0, 0, PASID_LAST, percent[_i]);
		for (unsigned i = 0; i < 6000; i++) {
			change_something(&r, 0);
			if (i % 4 == 0)
				ask_something(&r, 1, 3000);
			if (i % 400 == 0)
				ask_something(&r, 1, PASID_COUNT);
			if (i % 100 == 0)
				ck_assert(space_check(&spaces[0]));
		}
		expect_equal(0);
	}
END_TEST

/* The spaces agree in most numbers, or else nothing larger than a number would ever be free in all.
 */
static void scatter_alike(struct random *r, size_t count, uint32_t first, uint32_t last)
{
	scatter(r, 0, first, last, 60);
	for (unsigned i = 1; i < count; i++) {
		for (uint32_t n = first; n <= last; n++) {
			if (reference[i][n] != reference[0][n])
				both_toggle(i, n);
		}
	}
}

START_TEST(random_histories_of_several_spaces)
	{
		const size_t count = (size_t)_i;
		struct random r = random_begin("random_histories_of_several_spaces");
		const uint32_t window = random_below(&r, 200) * 4096;

		scatter_alike(&r, count, window, window + 49999);
		for (unsigned i = 0; i < 2000; i++) {
			change_something(&r, random_below(&r, (uint32_t)count));
			both_toggle(random_below(&r, (uint32_t)count),
				random_between(&r, window, window + 49999));
			if (i % 4 == 0)
				ask_something(&r, count, 5000);
			if (i % 200 == 0)
				ask_something(&r, count, PASID_COUNT);
		}
		for (unsigned i = 0; i < count; i++)
			expect_equal(i);
	}
END_TEST

/* Next-fit as the broker does it, from nearly full to full: every number once, then none. */
START_TEST(last_numbers_are_all_found)
	{
		struct random r = random_begin("last_numbers_are_all_found");
		struct space_query q = {
			.min = 1, .max = PASID_LAST, .start = random_below(&r, PASID_COUNT)};

		for (unsigned i = 0; i < 100; i++) {
			const uint32_t n = any_number(&r) | 1;

			both_open(0, n, n);
		}
		for (uint32_t left = space_free_count(&spaces[0]); left > 0; left--) {
			uint32_t n = UNSET;

			ck_assert_int_eq(space_find(all, 1, &q, &n), 0);
			ck_assert_uint_eq(n, reference_find(1, &q));
			both_toggle(0, n);
			q.start = n + 1;
		}
		expect_find(1, &q, UNSET);
		expect_equal(0);
	}
END_TEST

static void add_property(Suite *s)
{
	TCase *c = tcase_create("property");

	tcase_add_checked_fixture(c, model_setup, NULL);
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, random_histories_of_one_space, 0, 7);
	tcase_add_loop_test(c, random_histories_of_several_spaces, 2, SPACES + 1);
	tcase_add_test(c, last_numbers_are_all_found);
	suite_add_tcase(s, c);
}

int main(void)
{
	Suite *s = suite_create("space_random");
	SRunner *runner;
	int failed;

	add_property(s);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
