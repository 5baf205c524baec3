/* SPDX-License-Identifier: MIT */
#include "space_model.h"

#include <check.h>
#include <signal.h>

/* --- unit tests
 * ------------------------------------------------------------------------------------- */

/* Both sides of every boundary of the hierarchy. */
static const uint32_t edges[] = {0, 1, 63, 64, 65, 127, 128, 4095, 4096, 4097, 262143, 262144,
	524287, 524288, PASID_LAST - 64, PASID_LAST - 63, PASID_LAST - 1, PASID_LAST};

START_TEST(new_space_has_nothing)
	{
		ck_assert_uint_eq(space_free_count(&spaces[0]), 0);
		ck_assert(space_check(&spaces[0]));
		for (unsigned order = 0; order <= SPACE_MAX_ORDER; order++) {
			const struct space_query q = {
				.max = PASID_LAST, .start = 5000, .order = order};

			expect_find(1, &q, UNSET);
			expect_find(2, &q, UNSET);
		}
	}
END_TEST

START_TEST(open_makes_exactly_its_range_free)
	{
		static const uint32_t ranges[][2] = {{0, 0}, {63, 64}, {65, 126}, {128, 191},
			{200, 4094}, {4096, 8191}, {8200, 20000}, {PASID_LAST, PASID_LAST}};

		for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
			both_open(0, ranges[i][0], ranges[i][1]);
		expect_equal(0);
	}
END_TEST

START_TEST(open_again_leaves_free_numbers_free)
	{
		both_open(0, 100, 300);
		both_open(0, 100, 300);
		both_open(0, 50, 1000);
		expect_equal(0);
		both_open(0, 0, PASID_LAST);
		both_open(0, 0, PASID_LAST);
		expect_equal(0);
		ck_assert_uint_eq(space_free_count(&spaces[0]), PASID_COUNT);
	}
END_TEST

START_TEST(only_free_number_is_found_from_everywhere)
	{
		const uint32_t n = edges[_i];
		uint32_t numbers[2] = {UNSET, UNSET}, found;

		both_toggle(0, n);
		for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
			struct space_query q = {.max = PASID_LAST, .start = edges[i]};

			expect_find(1, &q, n);
			ck_assert_int_eq(space_find_many(all, 1, &q, 2, numbers, &found), 0);
			ck_assert_uint_eq(found, 1);
			ck_assert_uint_eq(numbers[0], n);
			ck_assert_uint_eq(numbers[1], UNSET);
			q.min = q.max = n;
			expect_find(1, &q, n);
		}
		ck_assert(space_check(&spaces[0]));
		both_toggle(0, n);
		ck_assert_uint_eq(space_free_count(&spaces[0]), 0);
		ck_assert(space_check(&spaces[0]));
	}
END_TEST

START_TEST(number_outside_the_range_is_not_found)
	{
		const uint32_t n = edges[_i];

		both_toggle(0, n);
		if (n > 0)
			expect_find(1, &(struct space_query){.max = n - 1}, UNSET);
		if (n < PASID_LAST)
			expect_find(
				1, &(struct space_query){.min = n + 1, .max = PASID_LAST}, UNSET);
	}
END_TEST

START_TEST(range_that_is_empty_is_exhausted)
	{
		const struct space_query q = {.min = 11, .max = 10, .start = 10};
		uint32_t found = UNSET, number = UNSET;

		both_open(0, 0, PASID_LAST);
		expect_find(1, &q, UNSET);
		ck_assert_int_eq(space_find_many(all, 1, &q, 1, &number, &found), STATUS_EXHAUSTED);
		ck_assert_uint_eq(found, UNSET);
		ck_assert_uint_eq(number, UNSET);
	}
END_TEST

START_TEST(range_without_room_for_a_block_is_exhausted)
	{
		both_open(0, 0, PASID_LAST);
		for (unsigned order = 1; order <= SPACE_MAX_ORDER; order++) {
			const uint32_t size = 1u << order;
			struct space_query q = {.min = 1, .max = 2 * size - 2, .order = order};

			expect_find(1, &q, UNSET);
			q.max++;
			expect_find(1, &q, size);
		}
	}
END_TEST

START_TEST(start_outside_the_range_means_its_beginning)
	{
		struct space_query q = {.min = 1000, .max = 2000};

		both_open(0, 0, PASID_LAST);
		q.start = 999;
		expect_find(1, &q, 1000);
		q.start = 2001;
		expect_find(1, &q, 1000);
		q.start = UINT32_MAX;
		expect_find(1, &q, 1000);
		q.start = 2000;
		expect_find(1, &q, 2000);
	}
END_TEST

START_TEST(search_goes_round_once)
	{
		struct space_query q = {.min = 1, .max = PASID_LAST, .start = 500};

		both_open(0, 400, 402);
		both_open(0, 600, 600);
		expect_find(1, &q, 600);
		both_toggle(0, 600);
		expect_find(1, &q, 400);
		q.start = 402;
		expect_find(1, &q, 402);
		both_toggle(0, 402);
		expect_find(1, &q, 400);
	}
END_TEST

/* A start within a block passes over that block; the search comes back to it last. */
START_TEST(block_search_begins_with_whole_blocks)
	{
		const unsigned order = (unsigned)_i;
		const uint32_t size = 1u << order;
		struct space_query q = {
			.max = PASID_LAST, .start = 8 * size - size / 2, .order = order};

		both_toggle_block(0, 7 * size, order);
		expect_find(1, &q, 7 * size);
		both_toggle_block(0, 5 * size, order);
		expect_find(1, &q, 5 * size);
		both_toggle_block(0, 8 * size, order);
		expect_find(1, &q, 8 * size);
		q.start = PASID_LAST;
		expect_find(1, &q, order == 0 ? 5 : 5 * size);
	}
END_TEST

START_TEST(blocks_of_each_order_at_both_ends)
	{
		const unsigned order = (unsigned)_i;
		const uint32_t last = PASID_COUNT - (1u << order);
		struct space_query q = {.max = PASID_LAST, .order = order};

		both_toggle_block(0, last, order);
		expect_equal(0);
		expect_find(1, &q, last);
		both_toggle_block(0, 0, order);
		expect_equal(0);
		expect_find(1, &q, 0);
		q.start = 1;
		expect_find(1, &q, last);
		both_toggle_block(0, last, order);
		both_toggle_block(0, 0, order);
		expect_equal(0);
		expect_find(1, &q, UNSET);
	}
END_TEST

START_TEST(free_numbers_that_straddle_are_no_block)
	{
		const unsigned order = (unsigned)_i;
		const uint32_t size = 1u << order;
		struct space_query q = {.max = PASID_LAST, .start = 77, .order = order};

		/* 2 * size - 2 in a row, none of them aligned */
		both_open(0, 16 * size + 1, 18 * size - 2);
		expect_equal(0);
		expect_find(1, &q, UNSET);
		both_toggle(0, 18 * size - 1);
		expect_find(1, &q, 17 * size);
	}
END_TEST

START_TEST(one_number_taken_breaks_all_blocks_around_it)
	{
		both_open(0, 0, 2047);
		both_toggle(0, 1023);
		expect_equal(0);
		for (unsigned order = 1; order <= SPACE_MAX_ORDER; order++) {
			const uint32_t size = 1u << order;
			struct space_query q = {.min = 1024 - size, .max = 1023, .order = order};

			expect_find(1, &q, UNSET);
			q.max = 1024 + size - 1;
			expect_find(1, &q, 1024);
		}
		both_toggle(0, 1023);
		expect_equal(0);
	}
END_TEST

START_TEST(many_are_distinct_and_in_search_order)
	{
		struct space_query q = {.min = 10, .max = 5000, .start = 4000};

		both_open(0, 0, PASID_LAST);
		for (uint32_t n = 0; n < 6000; n += 3)
			both_toggle(0, n);
		for (uint32_t want = 1; want < 5000; want += 499)
			expect_find_many(1, &q, want);
		q.start = 10;
		expect_find_many(1, &q, 4999);
		q.start = 5000;
		expect_find_many(1, &q, 4999);
		q = (struct space_query){.min = 20, .max = 40, .start = 30};
		expect_find_many(1, &q, 64);
	}
END_TEST

START_TEST(many_stop_at_the_first_word_that_is_enough)
	{
		const struct space_query q = {.min = 1024, .max = PASID_LAST, .start = 1024};

		both_open(0, 1024, PASID_LAST);
		expect_find_many(1, &q, 1);
		expect_find_many(1, &q, 64);
		expect_find_many(1, &q, 65);
	}
END_TEST

START_TEST(joint_search_of_complements_finds_nothing)
	{
		const struct space_query q = {.max = PASID_LAST, .start = 300000};

		for (uint32_t n = 0; n < PASID_COUNT; n++)
			both_toggle(n % 2, n);
		expect_find(2, &q, UNSET);
		expect_find_many(2, &q, 10);
		both_toggle(0, 299999);
		expect_find(2, &q, 299999);
		both_toggle(1, 300010);
		expect_find(2, &q, 300010);
	}
END_TEST

/* For each level: summaries of both spaces promise something in the same place, but never the same
 * thing. */
START_TEST(joint_search_goes_on_where_summaries_mislead)
	{
		static const uint32_t steps[] = {1, 64, 4096};
		const struct space_query q = {.max = PASID_LAST, .order = (unsigned)_i};
		const uint32_t size = 1u << _i;

		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			const uint32_t step = steps[i] > size ? steps[i] : size;
			const uint32_t base = (uint32_t)i * 16 * 4096;

			both_toggle_block(0, base, (unsigned)_i);
			both_toggle_block(1, base + step, (unsigned)_i);
		}
		expect_find(2, &q, UNSET);
		for (uint32_t i = 0; i < SPACES; i++)
			both_toggle_block(i, PASID_COUNT - size, (unsigned)_i);
		expect_find(2, &q, PASID_COUNT - size);
		expect_find(SPACES, &q, PASID_COUNT - size);
		both_toggle_block(7, PASID_COUNT - size, (unsigned)_i);
		expect_find(SPACES - 1, &q, PASID_COUNT - size);
		expect_find(SPACES, &q, UNSET);
	}
END_TEST

/* One wrong bit anywhere must be seen, else a check that passes means nothing. */
START_TEST(check_sees_one_wrong_bit)
	{
		struct space *s = &spaces[0];
		struct space_group *group = &s->groups[(size_t)_i * 85];

		both_open(0, 1024, PASID_LAST);
		ck_assert(space_check(s));
		s->free_count++;
		ck_assert(!space_check(s));
		s->free_count--;
		s->numbers[500] ^= 1;
		ck_assert(!space_check(s));
		s->numbers[500] ^= 1;
		for (unsigned k = 0; k < SPACE_WORD_ORDERS; k++) {
			group->words[k] ^= UINT64_C(1) << 63;
			ck_assert(!space_check(s));
			group->words[k] ^= UINT64_C(1) << 63;
		}
		for (unsigned order = 0; order < SPACE_ORDERS; order++) {
			s->tops[order][_i] ^= UINT64_C(1) << 63;
			ck_assert(!space_check(s));
			s->tops[order][_i] ^= UINT64_C(1) << 63;
		}
		ck_assert(space_check(s));
	}
END_TEST

/* --- what a caller must not do ends the program
 * ----------------------------------------------------- */

START_TEST(misuse_is_asserted)
	{
		const struct space_query wide = {.max = PASID_COUNT};
		const struct space_query high = {.min = PASID_COUNT, .max = PASID_LAST};
		const struct space_query order = {.max = PASID_LAST, .order = SPACE_MAX_ORDER + 1};
		const struct space_query pair = {.max = PASID_LAST, .order = 1};
		struct space *s = &spaces[0];
		uint32_t n;

		space_open(s, 64, 127);
		switch (_i) {
		case 0:
			space_take(s, 63);
			break;
		case 1:
			space_give(s, 64);
			break;
		case 2:
			space_is_free(s, PASID_COUNT);
			break;
		case 3:
			space_open(s, 2, 1);
			break;
		case 4:
			space_open(s, 0, PASID_COUNT);
			break;
		case 5:
			space_take_block(s, 65, 1);
			break;
		case 6:
			space_take_block(s, 64, 7);
			break;
		case 7:
			space_give_block(s, 126, 1);
			break;
		case 8:
			space_give_block(s, 0, 7);
			break;
		case 9:
			space_give_block(s, 0, SPACE_MAX_ORDER + 1);
			break;
		case 10:
			space_give_block(s, PASID_COUNT, 0);
			break;
		case 11:
			space_find(all, 0, &pair, &n);
			break;
		case 12:
			space_find(all, 1, &wide, &n);
			break;
		case 13:
			space_find(all, 1, &high, &n);
			break;
		case 14:
			space_find(all, 1, &order, &n);
			break;
		case 15:
			space_find_many(all, 0, &pair, 1, &n, &n);
			break;
		case 16:
			space_find_many(all, 1, &pair, 1, &n, &n);
			break;
		default:
			space_find_many(all, 1, &(struct space_query){.max = 5}, 0, &n, &n);
			break;
		}
	}
END_TEST

static void add_unit(Suite *s)
{
	TCase *c = tcase_create("unit");

	tcase_add_checked_fixture(c, model_setup, NULL);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, new_space_has_nothing);
	tcase_add_test(c, open_makes_exactly_its_range_free);
	tcase_add_test(c, open_again_leaves_free_numbers_free);
	tcase_add_loop_test(c, only_free_number_is_found_from_everywhere, 0, ARRAY_SIZE(edges));
	tcase_add_loop_test(c, number_outside_the_range_is_not_found, 0, ARRAY_SIZE(edges));
	tcase_add_test(c, range_that_is_empty_is_exhausted);
	tcase_add_test(c, range_without_room_for_a_block_is_exhausted);
	tcase_add_test(c, start_outside_the_range_means_its_beginning);
	tcase_add_test(c, search_goes_round_once);
	tcase_add_loop_test(c, block_search_begins_with_whole_blocks, 0, SPACE_ORDERS);
	tcase_add_loop_test(c, blocks_of_each_order_at_both_ends, 0, SPACE_ORDERS);
	tcase_add_loop_test(c, free_numbers_that_straddle_are_no_block, 1, SPACE_ORDERS);
	tcase_add_test(c, one_number_taken_breaks_all_blocks_around_it);
	tcase_add_test(c, many_are_distinct_and_in_search_order);
	tcase_add_test(c, many_stop_at_the_first_word_that_is_enough);
	tcase_add_test(c, joint_search_of_complements_finds_nothing);
	tcase_add_loop_test(c, joint_search_goes_on_where_summaries_mislead, 0, SPACE_ORDERS);
	tcase_add_loop_test(c, check_sees_one_wrong_bit, 0, 4);
	tcase_add_loop_test_raise_signal(c, misuse_is_asserted, SIGABRT, 0, 18);
	suite_add_tcase(s, c);
}

int main(void)
{
	Suite *s = suite_create("space");
	SRunner *runner;
	int failed;

	add_unit(s);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
