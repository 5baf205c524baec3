/* SPDX-License-Identifier: MIT */
#include "state_file.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct state_file *memory;

static void setup(void)
{
	ck_assert_int_eq(state_file_memory(&memory), 0);
}

static void teardown(void)
{
	state_file_free(memory);
}

/* Memory of this process that really is there, in KiB. */
static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[128] = "", *rest = line;

	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	fclose(f);
	(void)strtol(line, &rest, 10);
	return strtol(rest, NULL, 10) * 4;
}

START_TEST(reserve_goes_up_to_capacity_exactly)
	{
		const struct state *state = state_file_state(memory);
		const uint32_t expected[] = {
			16384, 1u << 20, 8192, 1u << 20, 1, 65536, 1u << 21, 1u << 20};

		for (unsigned t = 0; t < STATE_TABLES; t++) {
			ck_assert_uint_eq(state->capacity[t], expected[t]);
			ck_assert_int_eq(state_reserve(state, (enum state_table)t, expected[t]), 0);
			ck_assert_int_eq(state_reserve(state, (enum state_table)t, expected[t] + 1),
				-ENOSPC);
		}
	}
END_TEST

START_TEST(slots_start_free_and_the_last_one_can_be_written)
	{
		const struct state *state = state_file_state(memory);
		struct grant_slot *grants = state->table[STATE_GRANTS];
		struct binding_slot *bindings = state->table[STATE_BINDINGS];
		struct set_slot *sets = state->table[STATE_SETS];
		struct device_slot *devices = state->table[STATE_DEVICES];

		ck_assert_uint_eq(grants[STATE_FILE_GRANTS - 1].word, 0);
		state_commit(state, &grants[STATE_FILE_GRANTS - 1].word, 42);
		state_commit(state, &bindings[STATE_FILE_BINDINGS - 1].word, 43);
		state_commit(state, &sets[STATE_FILE_SETS - 1].word, 44);
		state_commit(state, &devices[STATE_FILE_DEVICES - 1].word, 45);
		ck_assert_uint_eq(grants[STATE_FILE_GRANTS - 1].word, 42);
		ck_assert_uint_eq(bindings[STATE_FILE_BINDINGS - 1].word, 43);
		ck_assert_uint_eq(grants[STATE_FILE_GRANTS - 2].word, 0);
	}
END_TEST

START_TEST(untouched_tables_cost_nothing)
	{
		const long before = resident_kib();
		struct state_file *other;

		ck_assert_int_eq(state_file_memory(&other), 0);
		ck_assert_int_lt(resident_kib() - before, 256);
		state_file_free(other);
	}
END_TEST

START_TEST(pages_are_aligned_zero_and_distinct)
	{
		struct translate_pages pages = state_file_pages(memory);
		const uint8_t zero[TRANSLATE_PAGE] = {0};
		uint64_t a, b;

		ck_assert_int_eq(pages.take(pages.ctx, &a), 0);
		ck_assert_int_eq(pages.take(pages.ctx, &b), 0);
		ck_assert_uint_ne(a, b);
		ck_assert_uint_eq((uintptr_t)(pages.base + a) % TRANSLATE_PAGE, 0);
		ck_assert_uint_eq(b % TRANSLATE_PAGE, 0);
		memset(pages.base + a, 0xa5, TRANSLATE_PAGE);
		ck_assert_mem_eq(pages.base + b, zero, TRANSLATE_PAGE);
		pages.give(pages.ctx, a);
		ck_assert_uint_eq(state_file_pages_taken(memory), 1);
		ck_assert_int_eq(pages.take(pages.ctx, &b), 0);
		ck_assert_mem_eq(pages.base + b, zero, TRANSLATE_PAGE);
	}
END_TEST

START_TEST(pages_are_bounded_and_come_back)
	{
		struct translate_pages pages = state_file_pages(memory);
		uint64_t offset, more = 7;

		for (uint32_t i = 0; i < STATE_FILE_PAGES; i++)
			ck_assert_int_eq(pages.take(pages.ctx, &offset), 0);
		ck_assert_int_eq(pages.take(pages.ctx, &more), -ENOSPC);
		ck_assert_uint_eq(more, 7);
		pages.give(pages.ctx, offset);
		ck_assert_int_eq(pages.take(pages.ctx, &more), 0);
		ck_assert_uint_eq(more, offset);
	}
END_TEST

START_TEST(a_map_leaves_no_page_behind)
	{
		struct translate_pages pages = state_file_pages(memory);
		struct translate map;
		struct hpasid host;

		translate_init(&map, &pages);
		for (uint32_t g = 0; g < PASID_COUNT; g += 4099)
			ck_assert_int_eq(
				translate_attach(&map, (struct gpasid){g}, (struct hpasid){g + 1}),
				0);
		ck_assert_int_eq(translate_find(&map, (struct gpasid){4099}, &host), 0);
		ck_assert_uint_eq(host.v, 4100);
		translate_done(&map);
		ck_assert_uint_eq(state_file_pages_taken(memory), 0);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("state");
	TCase *tc = tcase_create("memory");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reserve_goes_up_to_capacity_exactly);
	tcase_add_test(tc, slots_start_free_and_the_last_one_can_be_written);
	tcase_add_test(tc, untouched_tables_cost_nothing);
	tcase_add_test(tc, pages_are_aligned_zero_and_distinct);
	tcase_add_test(tc, pages_are_bounded_and_come_back);
	tcase_add_test(tc, a_map_leaves_no_page_behind);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
