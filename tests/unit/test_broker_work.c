/* SPDX-License-Identifier: MIT */
/* Whoever has much does not keep the others waiting: what one call does is bounded. */
#include "fixture.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

#define MANY 10000u /* more than two turns are for */

static struct fixture f;
static const struct set_id own = {0};
static struct hpasid numbers[BROKER_ALLOCATE_MAX];

static void setup(void)
{
	fixture_config(&f);
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_recount(&f);
	fixture_close(&f);
}

static void allocate_many(const struct actor *actor, uint32_t count)
{
	while (count) {
		struct allocate a = {.max = PASID_LAST,
			.count = count < BROKER_ALLOCATE_MAX ? count : BROKER_ALLOCATE_MAX};

		ck_assert_int_eq(broker_allocate(f.broker, actor, &a, numbers, &f.error), 0);
		count -= a.count;
	}
}

static uint32_t quarantined(void)
{
	struct broker_status status;

	broker_status(f.broker, &status);
	return status.quarantined;
}

/* ------------------------------------------------------------------ ticks */

START_TEST(the_end_of_a_set_with_many_numbers_takes_several_turns)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, MANY);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct outcome outcome;
		uint32_t before = 0;
		unsigned turns = 0;

		allocate_many(&a, MANY);
		ck_assert_int_eq(broker_set_destroy(f.broker, &a, own, true, 7, &f.error), 0);
		while (!broker_next_outcome(f.broker, &outcome)) {
			ck_assert_uint_le(quarantined() - before, 4096);
			ck_assert_uint_gt(quarantined(), before);
			before = quarantined();
			fixture_recount(&f);
			/* nobody has to wait for it, and it is not forgotten */
			ck_assert_uint_le(broker_next_tick(f.broker), f.now_ms);
			(void)fixture_allocate(&f, &c);
			ck_assert_int_eq(broker_set_destroy(f.broker, &a, own, true, 8, &f.error),
				STATUS_STATE);
			broker_tick(f.broker);
			turns++;
		}
		ck_assert_uint_eq(outcome.cookie, 7);
		ck_assert_uint_ge(turns, 2);
		ck_assert_uint_eq(quarantined(), MANY);
		ck_assert_uint_gt(broker_next_tick(f.broker), f.now_ms);
	}
END_TEST

START_TEST(ends_of_several_sets_share_the_turns)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, MANY);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, MANY);
		struct actor d = fixture_vmm(&f, 12, "d", SET_TRANSLATED, 1);
		struct set_info info;
		unsigned turns = 0;

		allocate_many(&a, MANY);
		allocate_many(&c, MANY);
		broker_session_end(f.broker, 10);
		broker_session_end(f.broker, 11);
		broker_session_end(f.broker, 12);
		/* one that has nothing ends at once, behind those that have much */
		ck_assert_int_eq(
			broker_set_get(f.broker, &d, own, &info, &f.error), STATUS_NOT_FOUND);
		while (broker_next_tick(f.broker) <= f.now_ms) {
			broker_tick(f.broker);
			fixture_recount(&f);
			ck_assert_uint_lt(turns++, 10);
		}
		ck_assert_uint_eq(quarantined(), MANY + MANY);
		for (f.now_ms += 1000; broker_next_tick(f.broker) <= f.now_ms;)
			broker_tick(f.broker);
		ck_assert_uint_eq(quarantined(), 0);
		ck_assert_int_eq(
			broker_set_get(f.broker, &a, own, &info, &f.error), STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(many_numbers_cool_down_in_several_turns)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, MANY);
		uint32_t freed, before;
		unsigned turns = 0;

		allocate_many(&a, MANY);
		ck_assert_int_eq(broker_free_all(f.broker, &a, own, &freed, &f.error), 0);
		ck_assert_uint_eq(freed, MANY);
		f.now_ms += 1000;
		while (quarantined()) {
			ck_assert_uint_le(broker_next_tick(f.broker), f.now_ms);
			before = quarantined();
			broker_tick(f.broker);
			ck_assert_uint_le(before - quarantined(), 4096);
			turns++;
		}
		ck_assert_uint_eq(turns, 3);
		ck_assert_uint_eq(broker_next_tick(f.broker), UINT64_MAX);
	}
END_TEST

/* ------------------------------------------------------------------ lists */

START_TEST(a_list_passes_over_a_bounded_number_of_others)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, MANY);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct hpasid mine;
		struct grant_info info;
		uint64_t cursor = 0, before;
		unsigned pauses = 0, found = 0;

		allocate_many(&a, MANY);
		mine = fixture_allocate(&f, &c);
		ck_assert_int_eq(fixture_free(&f, &c, mine), 0);
		for (;;) {
			before = cursor;
			if (broker_grant_next(f.broker, &c, own, true, &cursor, &info)) {
				ck_assert_uint_eq(info.host.v, mine.v);
				found++;
			} else if (cursor == BROKER_END) {
				break;
			} else {
				ck_assert_uint_gt(cursor, before);
				ck_assert_uint_le(cursor - before, 4096);
				pauses++;
			}
		}
		ck_assert_uint_eq(found, 1);
		ck_assert_uint_eq(pauses, 2);
	}
END_TEST

START_TEST(a_set_with_few_numbers_has_them_at_once)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, MANY);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct grant_info info;
		uint64_t cursor = 0;
		uint32_t first = fixture_allocate(&f, &c).v, second;

		allocate_many(&a, MANY);
		second = fixture_allocate(&f, &c).v;
		ck_assert(broker_grant_next(f.broker, &c, own, false, &cursor, &info));
		ck_assert_uint_eq(info.host.v, first);
		ck_assert(broker_grant_next(f.broker, &c, own, false, &cursor, &info));
		ck_assert_uint_eq(info.host.v, second);
		ck_assert(!broker_grant_next(f.broker, &c, own, false, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_END);
		/* a cursor is what a client says */
		cursor = UINT64_MAX - 1;
		ck_assert(!broker_grant_next(f.broker, &c, own, false, &cursor, &info));
		cursor = (UINT64_C(1) << 32) + 1;
		ck_assert(!broker_grant_next(f.broker, &c, own, true, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_END);
	}
END_TEST

START_TEST(every_list_says_where_it_ends)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor none = {ROLE_VMM, 11, {0}, &f.peer};
		struct device_id devices[3];
		struct device_info device;
		struct binding_info binding;
		struct set_info set;
		uint64_t cursor = 0;
		unsigned count = 0;

		(void)fixture_share(&f, 5);
		for (uint32_t i = 0; i < 3; i++)
			devices[i] = fixture_add(&f, &a, i, 10);
		ck_assert_int_eq(fixture_bind(&f, &a, fixture_allocate(&f, &a), devices, 3), 0);
		while (broker_device_next(f.broker, &a, own, &cursor, &device))
			ck_assert_uint_eq(device.id.v, devices[count++].v);
		ck_assert_uint_eq(count, 3);
		ck_assert_uint_eq(cursor, BROKER_END);
		for (cursor = count = 0; broker_binding_next(f.broker, &a, own, &cursor, &binding);)
			count++;
		ck_assert_uint_eq(count, 3);
		ck_assert_uint_eq(cursor, BROKER_END);
		for (cursor = count = 0;
			broker_device_next(f.broker, &f.admin, own, &cursor, &device);)
			count++;
		ck_assert_uint_eq(count, 4);
		for (cursor = count = 0; broker_set_next(f.broker, &a, &cursor, &set);)
			count++;
		ck_assert_uint_eq(count, 1);
		ck_assert_uint_eq(cursor, BROKER_END);
		cursor = 0;
		ck_assert(!broker_set_next(f.broker, &none, &cursor, &set));
		cursor = 0;
		ck_assert(!broker_device_next(f.broker, &none, own, &cursor, &device));
		cursor = 0;
		ck_assert(!broker_binding_next(f.broker, &none, own, &cursor, &binding));
		ck_assert_uint_eq(cursor, BROKER_END);
	}
END_TEST

/* ------------------------------------------------------------------ found among many */

START_TEST(sets_are_found_by_name_among_many_and_forgotten_when_they_are_gone)
	{
		struct actor actors[300];
		char name[16];
		struct set_id set;

		f.config.name_key = 0x123456789abcdef;
		fixture_close(&f);
		fixture_open(&f);
		for (uint32_t i = 0; i < 300; i++) {
			(void)snprintf(name, sizeof(name), "vm-%u", i);
			/* sessions that fall into the same bucket */
			actors[i] = fixture_vmm(&f, 10 + i * 4096, name, SET_TRANSLATED, 1);
		}
		fixture_recount(&f);
		for (uint32_t i = 0; i < 300; i += 2)
			broker_session_end(f.broker, actors[i].session);
		fixture_recount(&f);
		for (uint32_t i = 0; i < 300; i++) {
			int r;

			(void)snprintf(name, sizeof(name), "vm-%u", i);
			r = broker_set_by_name(f.broker, &f.admin, name, &set, &f.error);
			ck_assert_int_eq(r, i % 2 ? 0 : STATUS_NOT_FOUND);
			ck_assert(i % 2 == 0 || set.v == actors[i].set.v);
		}
	}
END_TEST

START_TEST(names_of_full_length_are_told_apart)
	{
		struct set_create create = {.mode = SET_TRANSLATED, .has_quota = true, .quota = 1};
		char names[2][STATE_NAME_MAX + 1];
		struct set_id ids[2], found;

		for (int i = 0; i < 2; i++) {
			memset(names[i], 'x', STATE_NAME_MAX);
			names[i][STATE_NAME_MAX - 1] = (char)('a' + i);
			names[i][STATE_NAME_MAX] = 0;
			create.name = names[i];
			ck_assert_int_eq(
				broker_set_create(f.broker, &f.admin, &create, &ids[i], &f.error),
				0);
		}
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(
				broker_set_by_name(f.broker, &f.admin, names[i], &found, &f.error),
				0);
			ck_assert_uint_eq(found.v, ids[i].v);
		}
	}
END_TEST

/* Numbers that wait for a shared device to be drained, and may come back to their set alone. */
static void make_returnable(const struct actor *actor, const uint32_t *hosts, size_t count)
{
	struct device_id slice = fixture_slice(&f, actor, 5);

	for (size_t i = 0; i < count; i++) {
		struct allocate a = {.min = hosts[i], .max = hosts[i], .count = 1};
		struct hpasid host;

		ck_assert_int_eq(broker_allocate(f.broker, actor, &a, &host, &f.error), 0);
		ck_assert_int_eq(fixture_bind(&f, actor, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, actor, host), 0);
		ck_assert_int_eq(fixture_free(&f, actor, host), 0);
	}
	f.now_ms += 1000;
	broker_tick(f.broker);
}

START_TEST(own_numbers_come_back_from_narrow_and_wide_ranges)
	{
		static const uint32_t hosts[] = {2000, 2001, 2005, 100000};
		struct allocate narrow = {.min = 2001, .max = 2004, .count = 1};
		struct allocate wide = {.min = 50000, .max = PASID_LAST, .count = 1};
		struct actor a, c;
		struct hpasid host;

		(void)fixture_share(&f, 5);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 4);
		make_returnable(&a, hosts, ARRAY_SIZE(hosts));
		ck_assert_int_eq(broker_allocate(f.broker, &a, &narrow, &host, &f.error), 0);
		ck_assert_uint_eq(host.v, 2001);
		ck_assert_int_eq(broker_allocate(f.broker, &a, &narrow, &host, &f.error),
			STATUS_QUOTA); /* the others are outside */
		ck_assert_int_eq(broker_allocate(f.broker, &a, &wide, &host, &f.error), 0);
		ck_assert_uint_eq(host.v, 100000);
		ck_assert_int_eq(
			broker_allocate(f.broker, &a, &wide, &host, &f.error), STATUS_QUOTA);
		/* nobody else has them */
		narrow.min = narrow.max = 2000;
		ck_assert_int_eq(
			broker_allocate(f.broker, &c, &narrow, &host, &f.error), STATUS_EXHAUSTED);
		ck_assert_int_eq(broker_allocate(f.broker, &a, &narrow, &host, &f.error), 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {the_end_of_a_set_with_many_numbers_takes_several_turns,
		ends_of_several_sets_share_the_turns, many_numbers_cool_down_in_several_turns,
		a_list_passes_over_a_bounded_number_of_others,
		a_set_with_few_numbers_has_them_at_once, every_list_says_where_it_ends,
		sets_are_found_by_name_among_many_and_forgotten_when_they_are_gone,
		names_of_full_length_are_told_apart,
		own_numbers_come_back_from_narrow_and_wide_ranges};

	return suite_run("broker, work", "bounded work", tests, ARRAY_SIZE(tests), setup, teardown);
}
