/* SPDX-License-Identifier: MIT */
/* F4: numbers of scope rids, which are a set's in the tables of some devices and nowhere else. */
#include "scope_rig.h"
#include "suite.h"

/* ------------------------------------------------------------------ whose a number is */

/* F4 */
START_TEST(one_number_is_two_sets_on_different_devices)
	{
		ck_assert_uint_eq(scope_take_on(&a, &a0, 1, 7), 7);
		ck_assert_uint_eq(scope_take_on(&c, &c3, 1, 7), 7);
		ck_assert_uint_eq(scope_info_of(&a, 7).set.v, a.set.v);
		ck_assert_uint_eq(scope_info_of(&c, 7).set.v, c.set.v);
		ck_assert_uint_eq(scope_info_of(&a, 7).scope, SCOPE_RIDS);
		ck_assert_uint_eq(scope_info_of(&a, 7).group_count, 1);
		ck_assert_uint_eq(scope_info_of(&a, 7).groups[0], f.model.group_of[0]);
		ck_assert_uint_eq(scope_claims_of(&a), 1);
	}
END_TEST

START_TEST(both_are_bound_and_gone_apart_from_each_other)
	{
		const struct hpasid seven = {7};

		(void)scope_take_on(&a, &a0, 1, 7);
		(void)scope_take_on(&c, &c3, 1, 7);
		ck_assert_int_eq(fixture_bind(&f, &a, seven, &a0, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &c, seven, &c3, 1), 0);
		ck_assert(model_has(&f, 0, 7) && model_has(&f, 3, 7));
		ck_assert_int_eq(fixture_unbind(&f, &a, seven), 0);
		ck_assert(!model_has(&f, 0, 7) && model_has(&f, 3, 7));
		ck_assert_int_eq(fixture_free(&f, &a, seven), 0);
		scope_not_free_on(&a, &a0, 1, 7); /* it cools there */
		fixture_pass_second(&f);
		ck_assert_uint_eq(scope_claims_of(&a), 0);
		ck_assert_uint_eq(scope_take_on(&a, &a0, 1, 7), 7);
		ck_assert_uint_eq(scope_info_of(&c, 7).bindings, 1);
	}
END_TEST

START_TEST(a_number_is_free_on_all_named_devices_at_once)
	{
		const struct device_id both[] = {a0, a1};

		(void)scope_take_on(&a, &a0, 1, 1);
		(void)scope_take_on(&a, &a1, 1, 2);
		/* 1 is taken in one table, 2 in the other */
		ck_assert_uint_eq(scope_take_on(&a, both, 2, 0), 3);
		ck_assert_uint_eq(scope_claims_of(&a), 4);
		scope_not_free_on(&a, both, 2, 1);
		scope_not_free_on(&a, both, 2, 2);
	}
END_TEST

START_TEST(a_set_has_a_number_once)
	{
		(void)scope_take_on(&a, &a0, 1, 1);
		scope_not_free_on(&a, &a1, 1, 1);
		ck_assert_uint_eq(scope_take_on(&a, &a1, 1, 0), 2);
	}
END_TEST

START_TEST(two_devices_of_one_group_are_one_table)
	{
		const struct device_id group[] = {a1, fixture_add(&f, &a, 2, 10)};

		ck_assert_uint_eq(scope_take_on(&a, group, 2, 9), 9);
		ck_assert_uint_eq(scope_claims_of(&a), 1);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){9}, &group[1], 1), 0);
	}
END_TEST

START_TEST(slices_of_one_device_never_meet)
	{
		struct device_id of_a, of_c;
		const struct hpasid four = {4};

		(void)fixture_share(&f, SCOPE_SHARED);
		of_a = fixture_slice(&f, &a, SCOPE_SHARED);
		of_c = fixture_slice(&f, &c, SCOPE_SHARED);
		(void)scope_take_on(&a, &of_a, 1, 4);
		scope_not_free_on(&c, &of_c, 1, 4);
		(void)scope_take_on(&c, &of_c, 1, 5);
		ck_assert_int_eq(fixture_bind(&f, &a, four, &of_a, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, four), 0);
		ck_assert_int_eq(fixture_free(&f, &a, four), 0);
		fixture_pass_second(&f);
		/* queued in the device perhaps: neither the one nor the other has it again by time
		 */
		scope_not_free_on(&c, &of_c, 1, 4);
		scope_not_free_on(&a, &of_a, 1, 4);
		(void)scope_take_on(&c, &c3, 1, 4); /* another table */
	}
END_TEST

/* ------------------------------------------------------------------ global ones */

START_TEST(a_global_number_is_nobody_elses_anywhere)
	{
		struct hpasid global = fixture_allocate(&f, &a);

		scope_not_free_on(&c, &c3, 1, global.v);
		scope_not_free_on(&a, &a0, 1, global.v);
		(void)scope_take_on(&c, &c3, 1, global.v + 1);
		/* and the other way round */
		ck_assert_uint_ne(fixture_allocate(&f, &a).v, global.v + 1);
		ck_assert_int_eq(fixture_free(&f, &a, global), 0);
		fixture_pass_second(&f);
		(void)scope_take_on(&c, &c3, 1, global.v);
		(void)scope_take_on(&a, &a0, 1, global.v);
	}
END_TEST

START_TEST(it_is_global_again_when_nobody_has_it)
	{
		const uint32_t number = f.config.reserved_last + 1;
		struct allocate global = {.min = number, .max = number, .count = 1};

		(void)scope_take_on(&a, &a0, 1, number);
		(void)scope_take_on(&c, &c3, 1, number);
		scope_refused(&a, &global, REASON_NONE_FREE);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){number}), 0);
		fixture_pass_second(&f);
		scope_refused(&a, &global, REASON_NONE_FREE);
		ck_assert_int_eq(fixture_free(&f, &c, (struct hpasid){number}), 0);
		fixture_pass_second(&f);
		ck_assert_uint_eq(scope_take(&a, &global), number);
	}
END_TEST

START_TEST(the_kernels_numbers_are_for_scope_rids_too)
	{
		ck_assert_uint_gt(f.config.reserved_last, 0);
		ck_assert_uint_eq(scope_take_on(&a, &a0, 1, 0), 1);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){1}), 0);
		fixture_pass_second(&f);
		ck_assert_uint_eq(scope_take_on(&c, &c3, 1, 0), 1);
		ck_assert_uint_gt(fixture_allocate(&f, &a).v, f.config.reserved_last);
	}
END_TEST

/* ------------------------------------------------------------------ the search */

START_TEST(many_and_blocks)
	{
		const struct device_id both[] = {a0, a1};
		struct allocate many = scope_ask(both, 2);
		struct hpasid numbers[16];

		(void)scope_take_on(&a, &a0, 1, 18);
		many.count = 8;
		many.consecutive = true;
		ck_assert_uint_eq(scope_take(&a, &many), 8);
		ck_assert_uint_eq(scope_take(&a, &many), 24); /* 0 is none, 18 is taken */
		many.consecutive = false;
		many.count = 16;
		ck_assert_int_eq(broker_allocate(f.broker, &a, &many, numbers, &f.error), 0);
		ck_assert_uint_eq(numbers[0].v, 1);
		ck_assert_uint_eq(numbers[6].v, 7);
		ck_assert_uint_eq(numbers[7].v, 16);
		ck_assert_uint_eq(numbers[9].v, 19);
		ck_assert_uint_eq(scope_claims_of(&a), 1 + 16 + 16 + 32);
		fixture_recount(&f);
	}
END_TEST

START_TEST(a_block_around_a_number_of_the_set_is_passed_over)
	{
		struct allocate block = scope_ask(&a1, 1);

		(void)scope_take_on(&a, &a0, 1, 5); /* on another device */
		block.count = 4;
		block.consecutive = true;
		ck_assert_uint_eq(scope_take(&a, &block), 8);
	}
END_TEST

START_TEST(a_search_comes_round)
	{
		struct allocate few = scope_ask(&a0, 1);

		f.broker->config.policy = BROKER_CYCLIC;
		few.min = 10;
		few.max = 13;
		ck_assert_uint_eq(scope_take(&a, &few), 10);
		ck_assert_uint_eq(scope_take(&a, &few), 11);
		f.broker->rids_cursor = 13;
		ck_assert_uint_eq(scope_take(&a, &few), 13);
		ck_assert_uint_eq(scope_take(&a, &few), 12);
		scope_refused(&a, &few, REASON_NONE_FREE);
		few.min = few.max = 20;
		few.count = 2;
		scope_refused(&a, &few, REASON_NONE_FREE);
	}
END_TEST

START_TEST(devices_bound_the_choice)
	{
		struct device_id narrow = fixture_add(&f, &a, 8, 10);
		struct allocate allocate = scope_ask(&narrow, 1);
		uint32_t added;

		allocate.min = 256;
		scope_refused(&a, &allocate, REASON_NONE_FREE);
		(void)scope_take_on(&a, &a0, 1, 300);
		ck_assert_int_eq(broker_extend(f.broker, &a, own, (struct pasid_ref){false, 300},
					 &narrow, 1, &added, &f.error),
			STATUS_INVALID);
		ck_assert_uint_eq(f.error.reason, REASON_PASID_WIDTH);
	}
END_TEST

START_TEST(what_cannot_be_asked_for)
	{
		struct device_id many[17];
		struct allocate allocate = scope_ask(NULL, 0);

		scope_refused(&a, &allocate, REASON_BAD_ARGUMENT);
		allocate = scope_ask(&c3, 1);
		scope_refused(&a, &allocate, REASON_NO_DEVICE);
		allocate.scope = (enum scope)3;
		scope_refused(&a, &allocate, REASON_BAD_ARGUMENT);
		for (size_t i = 0; i < ARRAY_SIZE(many); i++)
			many[i] = a0;
		allocate = scope_ask(many, ARRAY_SIZE(many));
		allocate.count = BROKER_ALLOCATE_MAX / ARRAY_SIZE(many) + 1;
		scope_refused(&a, &allocate, REASON_LIMIT);
		allocate = scope_ask(&a0, 1);
		allocate.count = 41;
		scope_refused(&a, &allocate, REASON_SET_QUOTA);
		allocate.count = 64;
		allocate.consecutive = true;
		scope_refused(&a, &allocate, REASON_SET_QUOTA);
	}
END_TEST

START_TEST(a_device_that_is_being_added_has_no_table_yet)
	{
		int fds[] = {10, MODEL_DEVICE_FD(4)};
		struct device_id adding;
		struct allocate allocate;
		uint32_t slot = 0;

		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, fds, 2, NULL, 9, &f.error), 0);
		while (device_state(f.broker, slot) != DEVICE_ADDING)
			slot++;
		adding.v = device_name_of(f.broker, slot);
		allocate = scope_ask(&adding, 1);
		scope_refused(&a, &allocate, REASON_NONE_FREE); /* its width is not known */
		(void)scope_take_on(&a, &a0, 1, 6);
		ck_assert_int_eq(scope_extend(&a, 6, &adding, 1, &(uint32_t){0}), STATUS_BUSY);
		ck_assert_int_eq(fixture_outcome(&f, 9).status, 0);
	}
END_TEST

/* ------------------------------------------------------------------ more devices */

START_TEST(a_number_is_extended_and_then_bound_there)
	{
		const struct device_id both[] = {a0, a1};
		uint32_t added = 9;

		(void)scope_take_on(&a, &a0, 1, 6);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){6}, both, 2), STATUS_STATE);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(scope_extend(&a, 6, both, 2, &added), 0);
		ck_assert_uint_eq(added, 1);
		ck_assert_int_eq(scope_extend(&a, 6, both, 2, &added), 0);
		ck_assert_uint_eq(added, 0);
		ck_assert_uint_eq(scope_claims_of(&a), 2);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){6}, both, 2), 0);
	}
END_TEST

START_TEST(where_it_is_taken_it_is_refused_for_all)
	{
		struct device_id of[3] = {a0, a1};
		uint32_t added = 9;

		(void)fixture_share(&f, SCOPE_SHARED);
		of[2] = fixture_slice(&f, &a, SCOPE_SHARED);
		(void)scope_take_on(
			&c, &(struct device_id){fixture_slice(&f, &c, SCOPE_SHARED).v}, 1, 6);
		(void)scope_take_on(&a, &a0, 1, 6);
		ck_assert_int_eq(scope_extend(&a, 6, of, 3, &added), STATUS_EXISTS);
		ck_assert_uint_eq(f.error.reason, REASON_PASID_TAKEN);
		ck_assert_uint_eq(scope_claims_of(&a), 1);
		ck_assert_int_eq(scope_extend(&a, 6, of, 2, &added), 0);
	}
END_TEST

START_TEST(what_is_not_extended)
	{
		struct hpasid global = fixture_allocate(&f, &a);
		uint32_t added = 9;

		ck_assert_int_eq(scope_extend(&a, global.v, &a1, 1, &added), 0);
		ck_assert_uint_eq(added, 0);
		ck_assert_int_eq(scope_extend(&a, 4, &a1, 1, &added), STATUS_NOT_FOUND);
		(void)scope_take_on(&a, &a0, 1, 4);
		ck_assert_int_eq(scope_extend(&c, 4, &c3, 1, &added), STATUS_NOT_FOUND);
		ck_assert_int_eq(scope_extend(&a, 4, &c3, 1, &added), STATUS_NOT_FOUND);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){4}), 0);
		ck_assert_int_eq(scope_extend(&a, 4, &a1, 1, &added), STATUS_STATE);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		one_number_is_two_sets_on_different_devices,
		both_are_bound_and_gone_apart_from_each_other,
		a_number_is_free_on_all_named_devices_at_once,
		a_set_has_a_number_once,
		two_devices_of_one_group_are_one_table,
		slices_of_one_device_never_meet,
		a_global_number_is_nobody_elses_anywhere,
		it_is_global_again_when_nobody_has_it,
		the_kernels_numbers_are_for_scope_rids_too,
		many_and_blocks,
		a_block_around_a_number_of_the_set_is_passed_over,
		a_search_comes_round,
		devices_bound_the_choice,
		what_cannot_be_asked_for,
		a_device_that_is_being_added_has_no_table_yet,
		a_number_is_extended_and_then_bound_there,
		where_it_is_taken_it_is_refused_for_all,
		what_is_not_extended,
	};

	return suite_run(
		"broker_scope", "scope", tests, ARRAY_SIZE(tests), scope_setup, scope_teardown);
}
