/* SPDX-License-Identifier: MIT */
#include "metrics.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

START_TEST(room_up_to_the_limit_exactly)
	{
		struct account account = {.limit = 10};

		ck_assert(account_room(&account, 10));
		ck_assert(!account_room(&account, 11));
		account_charge(&account, 7);
		ck_assert(account_room(&account, 3));
		ck_assert(!account_room(&account, 4));
		ck_assert_uint_eq(account.hits, 2);
		ck_assert_uint_eq(account.current, 7);
	}
END_TEST

START_TEST(room_does_not_overflow)
	{
		struct account account = {.limit = UINT32_MAX};

		account_charge(&account, UINT32_MAX - 1);
		ck_assert(account_room(&account, 1));
		ck_assert(!account_room(&account, UINT32_MAX));
	}
END_TEST

START_TEST(no_room_when_the_limit_was_lowered_below_use)
	{
		struct account account = {.limit = 10};

		account_charge(&account, 8);
		account.limit = 5;
		ck_assert(!account_room(&account, 1));
		ck_assert(!account_room(&account, 0));
	}
END_TEST

START_TEST(peak_stays)
	{
		struct account account = {.limit = 10};

		account_charge(&account, 6);
		account_release(&account, 4);
		account_charge(&account, 1);
		ck_assert_uint_eq(account.current, 3);
		ck_assert_uint_eq(account.peak, 6);
	}
END_TEST

START_TEST(hits_stop_at_their_largest_value)
	{
		struct account account = {.limit = 0, .hits = UINT32_MAX - 1};

		ck_assert(!account_room(&account, 1));
		ck_assert_uint_eq(account.hits, UINT32_MAX);
		ck_assert(!account_room(&account, 1));
		ck_assert_uint_eq(account.hits, UINT32_MAX);
	}
END_TEST

START_TEST(every_metric_has_a_name_of_its_own)
	{
		struct metrics metrics = {.value = {0}};

		for (int i = 0; i < METRIC_COUNT; i++) {
			ck_assert(metric_text((enum metric)i)[0] != '\0');
			for (int j = 0; j < i; j++)
				ck_assert_str_ne(
					metric_text((enum metric)i), metric_text((enum metric)j));
		}
		ck_assert_str_eq(metric_text((enum metric)METRIC_COUNT), "unknown");
		metrics_add(&metrics, METRIC_BINDS, 2);
		metrics_add(&metrics, METRIC_BINDS, 3);
		ck_assert_uint_eq(metrics.value[METRIC_BINDS], 5);
		ck_assert_uint_eq(metrics.value[METRIC_UNBINDS], 0);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *tc = tcase_create("metrics");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, room_up_to_the_limit_exactly);
	tcase_add_test(tc, room_does_not_overflow);
	tcase_add_test(tc, no_room_when_the_limit_was_lowered_below_use);
	tcase_add_test(tc, peak_stays);
	tcase_add_test(tc, hits_stop_at_their_largest_value);
	tcase_add_test(tc, every_metric_has_a_name_of_its_own);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
