/* SPDX-License-Identifier: MIT */
/* Sets with very many numbers that wait for a shared device, and long lists of them. */
#include "broker_private.h"
#include "fixture.h"
#include "random.h"
#include "suite.h"

#define SHARED     5
#define QUOTA      60000u
#define NAMED_SETS 1000u

static struct fixture f;
static struct actor a, c;
static struct device_id slice;
static const struct set_id own = {0};

static void setup(void)
{
	fixture_config(&f);
	f.limits_config.of[RESOURCE_BINDINGS] = (struct limit_levels){0};
	fixture_open(&f);
	(void)fixture_share(&f, SHARED);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, QUOTA);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 100);
	slice = fixture_slice(&f, &a, SHARED);
}

static void pass_time(void)
{
	f.now_ms += 1000;
	while (broker_next_tick(f.broker) <= f.now_ms) {
		broker_tick(f.broker);
		model_run(&f);
	}
}

static void teardown(void)
{
	fixture_recount(&f);
	fixture_close(&f);
}

/* The number was bound on the slice, and is not any more. */
static struct hpasid used_number(void)
{
	struct hpasid host = fixture_allocate(&f, &a);

	ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
	ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
	return host;
}

/* So many numbers, from 1024 on, that may come back to their set alone. */
static void make_returnable(uint32_t count)
{
	while (count--) {
		struct hpasid host = used_number();

		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
	}
	pass_time();
}

static uint32_t allocate(uint32_t min, uint32_t max, uint32_t count)
{
	const struct allocate request = {.min = min, .max = max, .count = count};
	struct hpasid numbers[16];

	ck_assert_uint_le(count, ARRAY_SIZE(numbers));
	if (broker_allocate(f.broker, &a, &request, numbers, &f.error))
		return 0;
	return numbers[0].v;
}

static struct grant_info info_of(uint32_t host)
{
	struct grant_info info;

	ck_assert_int_eq(broker_host_find(f.broker, &f.admin, (struct set_id){0},
				 (struct hpasid){host}, &info, &f.error),
		0);
	return info;
}

/* ------------------------------------------------------------------ back to their set */

START_TEST(a_narrow_range_gives_back_none_of_others_and_none_that_cools)
	{
		struct hpasid foreign = fixture_allocate(&f, &c), cooling, back;

		make_returnable(1);
		back.v = foreign.v + 1;
		cooling = used_number();
		ck_assert_int_eq(fixture_free(&f, &a, cooling), 0);
		ck_assert_uint_eq(cooling.v, back.v + 1);
		ck_assert_uint_eq(allocate(foreign.v, foreign.v, 1), 0);
		ck_assert_uint_eq(allocate(cooling.v, cooling.v, 1), 0);
		ck_assert_uint_eq(allocate(foreign.v, cooling.v, 1), back.v);
		ck_assert_uint_eq(allocate(foreign.v, cooling.v, 1), 0);
	}
END_TEST

/* The search of a wide range that holds few is bounded; they are found when they are asked for
 * exactly. */
START_TEST(a_wide_range_is_searched_as_far_as_one_request_may_take)
	{
		const uint32_t count = BROKER_SEARCH_MAX + 8, first = 1024;
		const uint32_t last = first + count - 1;
		struct set_info info;

		make_returnable(count);
		ck_assert_int_eq(broker_set_get(f.broker, &a, own, &info, &f.error), 0);
		ck_assert_uint_eq(info.quarantined, count);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, count, &f.error), 0);
		/* there are none: the list was gone through as far as it may */
		ck_assert_uint_eq(allocate(last + 1, PASID_LAST, 1), 0);
		ck_assert_uint_eq(allocate(first, last, 1), last);
		ck_assert_uint_eq(allocate(first, first, 1), first);
	}
END_TEST

START_TEST(a_wide_range_leaves_out_what_is_above_it)
	{
		make_returnable(4);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, 4, &f.error), 0);
		ck_assert_uint_eq(allocate(1025, 1025 + BROKER_SEARCH_MAX, 4), 0);
		ck_assert_uint_le(allocate(1, 1025 + BROKER_SEARCH_MAX, 1), 1027);
	}
END_TEST

/* The end of a set with numbers of both kinds goes on where it stopped for this turn. */
START_TEST(the_end_of_a_set_with_many_undrained_numbers_takes_several_turns)
	{
		const uint32_t undrained = 200;

		make_returnable(undrained);
		for (uint32_t n = 0; n < BROKER_WORK_MAX - undrained / 2; n++)
			(void)fixture_allocate(&f, &a);
		broker_session_end(f.broker, a.session);
		model_run(&f);
		ck_assert(broker_set_lives(f.broker, a.set));
		ck_assert_uint_eq(broker_next_tick(f.broker), 0);
		fixture_recount(&f);
		broker_tick(f.broker);
		model_run(&f);
		ck_assert(!broker_set_lives(f.broker, a.set));
		pass_time();
		ck_assert_uint_eq(info_of(1024).quarantine, QUARANTINE_UNDRAINED);
		ck_assert_uint_eq(info_of(1024 + undrained).state, GRANT_IDLE);
	}
END_TEST

START_TEST(an_admin_ends_the_wait_for_every_device_of_a_number)
	{
		struct device_id devices[2] = {slice};
		struct hpasid host;

		(void)fixture_share(&f, SHARED + 1);
		devices[1] = fixture_slice(&f, &a, SHARED + 1);
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		pass_time();
		ck_assert_uint_eq(info_of(host.v).quarantine, QUARANTINE_UNDRAINED);
		ck_assert_int_eq(broker_quarantine_end(
					 f.broker, &f.admin, (struct set_id){0}, host, &f.error),
			0);
		ck_assert_int_eq(info_of(host.v).state, GRANT_IDLE);
	}
END_TEST

/* ------------------------------------------------------------------ lists */

START_TEST(a_list_of_bindings_passes_over_a_bounded_number_of_others)
	{
		const uint32_t others = BROKER_WORK_MAX + 10;
		struct binding_info info;
		struct hpasid host;
		uint64_t cursor = 0;

		make_returnable(others); /* draining: in no list of bindings */
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert(!broker_binding_next(f.broker, &a, own, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_WORK_MAX);
		ck_assert(broker_binding_next(f.broker, &a, own, &cursor, &info));
		ck_assert_uint_eq(info.host.v, host.v);
		ck_assert(!broker_binding_next(f.broker, &a, own, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_END);
	}
END_TEST

/* Places are taken again in another order than they were first. */
START_TEST(a_list_of_numbers_has_each_once_in_whatever_place)
	{
		struct hpasid hosts[6];
		struct grant_info info;
		uint64_t cursor = 0, before = 0;
		unsigned count = 0;

		for (int i = 0; i < 6; i++)
			hosts[i] = fixture_allocate(&f, &a);
		for (int i = 0; i < 6; i += 2)
			ck_assert_int_eq(fixture_free(&f, &a, hosts[i]), 0);
		pass_time();
		for (int i = 0; i < 3; i++)
			(void)fixture_allocate(&f, &a);
		while (broker_grant_next(f.broker, &a, own, false, &cursor, &info)) {
			ck_assert_uint_gt(cursor, before);
			before = cursor;
			count++;
		}
		ck_assert_uint_eq(count, 6);
	}
END_TEST

/* Names without a pattern: some of them have a bucket in common. */
START_TEST(sets_whose_names_fall_together_are_told_apart)
	{
		static struct actor actors[NAMED_SETS];
		static char names[NAMED_SETS][12];
		struct random random = {.state = 88172645463325252};
		struct set_id set;

		for (uint32_t i = 0; i < NAMED_SETS; i++) {
			(void)snprintf(names[i], sizeof(names[i]), "%08x", random_next(&random));
			actors[i] = fixture_vmm(&f, 100 + i, names[i], SET_TRANSLATED, 1);
		}
		fixture_recount(&f);
		for (uint32_t i = 0; i < NAMED_SETS; i += 2)
			broker_session_end(f.broker, actors[i].session);
		fixture_recount(&f);
		for (uint32_t i = 0; i < NAMED_SETS; i++) {
			int r = broker_set_by_name(f.broker, &f.admin, names[i], &set, &f.error);

			ck_assert_int_eq(r, i % 2 ? 0 : STATUS_NOT_FOUND);
			ck_assert(i % 2 == 0 || set.v == actors[i].set.v);
		}
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_narrow_range_gives_back_none_of_others_and_none_that_cools,
		a_wide_range_is_searched_as_far_as_one_request_may_take,
		a_wide_range_leaves_out_what_is_above_it,
		the_end_of_a_set_with_many_undrained_numbers_takes_several_turns,
		an_admin_ends_the_wait_for_every_device_of_a_number,
		a_list_of_bindings_passes_over_a_bounded_number_of_others,
		a_list_of_numbers_has_each_once_in_whatever_place,
		sets_whose_names_fall_together_are_told_apart,
	};

	return suite_run("broker, many", "many", tests, ARRAY_SIZE(tests), setup, teardown);
}
