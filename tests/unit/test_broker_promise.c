/* SPDX-License-Identifier: MIT */
/* What users are promised and charged for, and who learns of it. */
#include "limit_rig.h"
#include "suite.h"

#include <string.h>

static const struct set_id own = {0};

/* ------------------------------------------------------------------ sets and what they were
 * promised */

START_TEST(sets_of_a_user_are_limited_until_they_are_gone_for_good)
	{
		struct set_id set;
		struct actor a, c = {ROLE_VMM, 12, {0}, &f.peer};
		struct policy_peer peer = {.uid = 2000};
		struct actor other = {ROLE_VMM, 13, {0}, &peer};

		limit_open(RESOURCE_SETS, 0, 1, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1);
		(void)fixture_allocate(&f, &a);
		limit_ck_refused(limit_create(&c, "c", 1, &set), "user 1000 has 1 of 1 sets");
		ck_assert_int_eq(limit_create(&other, "o", 1, &set), 0);
		broker_session_end(f.broker, 10);
		limit_ck_refused(limit_create(&c, "c", 1, &set), "limits.sets.user");
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_int_eq(limit_create(&c, "c", 1, &set), 0);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(sets_that_end_unheard_of_keep_their_place)
	{
		struct actor a = {ROLE_VMM, 10, {0}, &f.peer};
		struct outcome outcome;
		int made = 0;

		limit_open(RESOURCE_SETS, 0, 4, 0);
		for (uint64_t i = 0; i < 10; i++) {
			if (limit_create(&a, "a", 1, &a.set))
				continue;
			made++;
			ck_assert_int_eq(
				broker_set_destroy(f.broker, &a, own, true, i + 1, &f.error), 0);
			a.set.v = 0;
		}
		ck_assert_int_eq(made, 4); /* the place of each end is taken until it is told */
		while (broker_next_outcome(f.broker, &outcome))
			ck_assert_int_eq(outcome.status, 0);
		ck_assert_int_eq(limit_create(&a, "a", 1, &a.set), 0);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(quotas_are_promised_within_what_a_user_may_have)
	{
		struct policy_peer peer = {.uid = 2000};
		struct actor a = {ROLE_VMM, 10, {0}, &f.peer}, c = {ROLE_VMM, 11, {0}, &peer};
		struct set_info info;
		struct set_id set;

		limit_open(RESOURCE_PROMISED, 0, 100, 150);
		ck_assert_int_eq(limit_create(&a, "a", 80, &a.set), 0);
		ck_assert_int_eq(limit_create(&f.admin, "a2", 21, &set), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_USER_QUOTA);
		ck_assert_uint_eq(f.error.limit, 100);
		ck_assert_uint_eq(f.error.used, 80);
		ck_assert_ptr_nonnull(strstr(f.error.text, "limits.promised_pasids.user"));
		ck_assert_uint_eq(limit_host_use(RESOURCE_PROMISED), 80);
		/* "what remains": of the user, then of the host */
		ck_assert_int_eq(limit_create(&f.admin, "a2", 0, &set), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, set, &info, &f.error), 0);
		ck_assert_uint_eq(info.pasids.limit, 20);
		ck_assert_int_eq(limit_create(&f.admin, "a3", 0, &set), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_USER_QUOTA);
		ck_assert_int_eq(limit_create(&c, "c", 0, &c.set), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &c, own, &info, &f.error), 0);
		ck_assert_uint_eq(info.pasids.limit, 50);
		ck_assert_int_eq(
			broker_set_adjust(f.broker, &f.admin, a.set, 81, &f.error), STATUS_QUOTA);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, 70, &f.error), 0);
		ck_assert_uint_eq(limit_host_use(RESOURCE_PROMISED), 140);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, 80, &f.error), 0);
	}
END_TEST

START_TEST(numbers_of_a_gone_set_stay_promised_until_they_are_released)
	{
		struct actor a, c = {ROLE_VMM, 11, {0}, &f.peer};

		limit_open(RESOURCE_PROMISED, 0, 10, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		(void)fixture_allocate(&f, &a);
		(void)fixture_allocate(&f, &a);
		broker_session_end(f.broker, 10);
		ck_assert_uint_eq(limit_host_use(RESOURCE_PROMISED), 2);
		ck_assert_int_eq(limit_create(&c, "c", 9, &c.set), STATUS_QUOTA);
		ck_assert_int_eq(limit_create(&c, "c", 8, &c.set), 0);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(an_admin_makes_a_set_that_another_user_is_charged_for)
	{
		struct set_create owned = {"o", SET_TRANSLATED, true, 5, true, 2000, 0};
		struct actor vmm = {ROLE_VMM, 10, {0}, &f.peer};
		struct set_info info;
		struct set_id set;
		uint32_t user;

		ck_assert_int_eq(
			broker_set_create(f.broker, &vmm, &owned, &set, &f.error), STATUS_DENIED);
		ck_assert_uint_eq(f.error.reason, REASON_ROLE);
		owned.owner_uid = 1000; /* not even its own */
		ck_assert_int_eq(
			broker_set_create(f.broker, &vmm, &owned, &set, &f.error), STATUS_DENIED);
		owned.owner_uid = 2000;
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &owned, &set, &f.error), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, set, &info, &f.error), 0);
		ck_assert_uint_eq(info.uid, 2000);
		ck_assert(!info.owned_by_session);
		ck_assert_int_eq(limits_user_open(f.limits, 2000, &user, &f.error), 0);
		ck_assert_uint_eq(limits_account(f.limits, user, RESOURCE_SETS)->current, 1);
		ck_assert_uint_eq(limits_account(f.limits, user, RESOURCE_PROMISED)->current, 5);
		limits_user_close(f.limits, user);
	}
END_TEST

/* ------------------------------------------------------------------ who learns what */

START_TEST(accounts_are_shown_to_those_who_may_see_the_set)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct actor none = {ROLE_VMM, 12, {0}, &f.peer};
		struct limit_info info;
		uint64_t cursor = 0;
		unsigned own_count = 0, count = 0;

		(void)fixture_allocate(&f, &a);
		while (broker_limit_next(f.broker, &a, own, &cursor, &info)) {
			own_count++;
			ck_assert_uint_eq(info.set.v, a.set.v);
			ck_assert_str_eq(info.set_name, "a");
			ck_assert_uint_eq(info.uid, 1000);
			if (info.resource == RESOURCE_PASIDS) {
				ck_assert_uint_eq(info.account.limit, 10);
				ck_assert_uint_eq(info.account.current, 1);
			}
		}
		for (cursor = 0; broker_limit_next(f.broker, &f.observer, own, &cursor, &info);)
			count++;
		ck_assert_uint_eq(count, own_count + own_count);
		for (cursor = count = 0;
			broker_limit_next(f.broker, &f.admin, c.set, &cursor, &info); count++)
			ck_assert_str_eq(info.set_name, "c");
		ck_assert_uint_eq(count, own_count);
		cursor = 0;
		ck_assert(!broker_limit_next(f.broker, &a, c.set, &cursor, &info));
		ck_assert(!broker_limit_next(f.broker, &none, own, &cursor, &info));
		cursor = UINT64_MAX;
		ck_assert(!broker_limit_next(f.broker, &f.admin, own, &cursor, &info));
		cursor = UINT64_MAX;
		ck_assert(!broker_limit_next(f.broker, &a, own, &cursor, &info));
	}
END_TEST

/* The same request in two states of the host that are no business of the VMM. */
static void ck_same_error(const struct error *one, const struct error *two)
{
	ck_assert_uint_eq(one->reason, two->reason);
	ck_assert_str_eq(one->text, two->text);
	ck_assert_mem_eq(one, two, sizeof(*one));
	ck_assert_uint_eq(one->limit + one->used, 0);
}

START_TEST(a_vmm_does_not_learn_how_the_host_stands)
	{
		struct actor a, c = {ROLE_VMM, 11, {0}, &f.peer};
		struct policy_peer peer = {.uid = 2000};
		struct actor other = {ROLE_VMM, 12, {0}, &peer};
		struct allocate allocate = {.min = 5000, .max = 5003, .count = 2};
		struct hpasid numbers[4];
		struct error first;

		f.config.capacity = 20;
		limit_open(RESOURCE_PROMISED, 0, 0, 20);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 8);
		ck_assert_int_eq(limit_create(&c, "c", 15, &c.set), STATUS_QUOTA);
		first = f.error;
		ck_assert_uint_eq(first.reason, REASON_HOST_QUOTA);
		ck_assert_int_eq(limit_create(&other, "o", 4, &other.set), 0);
		ck_assert_int_eq(limit_create(&c, "c", 15, &c.set), STATUS_QUOTA);
		ck_same_error(&first, &f.error);
		ck_assert_int_eq(limit_create(&f.admin, "c", 15, &c.set), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.limit, 20);
		ck_assert_uint_eq(f.error.used, 12);

		/* none free: because of others, or of others and oneself */
		allocate.count = 4;
		ck_assert_int_eq(
			broker_allocate(f.broker, &other, &allocate, numbers, &f.error), 0);
		allocate.count = 2;
		ck_assert_int_eq(broker_allocate(f.broker, &a, &allocate, numbers, &f.error),
			STATUS_EXHAUSTED);
		first = f.error;
		(void)fixture_allocate(&f, &a);
		ck_assert_int_eq(broker_allocate(f.broker, &a, &allocate, numbers, &f.error),
			STATUS_EXHAUSTED);
		ck_same_error(&first, &f.error);
		allocate.set = a.set;
		ck_assert_int_eq(broker_allocate(f.broker, &f.admin, &allocate, numbers, &f.error),
			STATUS_EXHAUSTED);
		ck_assert_uint_eq(f.error.limit, 20);
		ck_assert_uint_eq(f.error.used, 5);
	}
END_TEST

START_TEST(a_name_is_not_to_be_had_whoever_has_it)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = {ROLE_VMM, 11, {0}, &f.peer};

		(void)a;
		ck_assert_int_eq(limit_create(&c, "a", 1, &c.set), STATUS_EXISTS);
		ck_assert_ptr_nonnull(strstr(f.error.text, "'a' is not to be had"));
		ck_assert_ptr_null(strstr(f.error.text, "exists"));
		ck_assert_uint_eq(f.error.object + f.error.limit + f.error.used, 0);
	}
END_TEST

START_TEST(what_is_not_shared_and_what_the_policy_denies_are_the_same_to_a_vmm)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct device_id shared = fixture_share(&f, 5), slice;
		struct error first;

		f.policy.any_device = false;
		for (int by_id = 0; by_id < 2; by_id++) {
			ck_assert_int_eq(broker_device_slice(f.broker, &a, own,
						 by_id ? shared : (struct device_id){0},
						 (struct rid){5}, &slice, &f.error),
				STATUS_NOT_FOUND);
			first = f.error;
			ck_assert_int_eq(
				broker_device_slice(f.broker, &a, own,
					by_id ? (struct device_id){77} : (struct device_id){0},
					(struct rid){6}, &slice, &f.error),
				STATUS_NOT_FOUND);
			ck_same_error(&first, &f.error);
		}
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {sets_of_a_user_are_limited_until_they_are_gone_for_good,
		sets_that_end_unheard_of_keep_their_place,
		quotas_are_promised_within_what_a_user_may_have,
		numbers_of_a_gone_set_stay_promised_until_they_are_released,
		an_admin_makes_a_set_that_another_user_is_charged_for,
		accounts_are_shown_to_those_who_may_see_the_set,
		a_vmm_does_not_learn_how_the_host_stands, a_name_is_not_to_be_had_whoever_has_it,
		what_is_not_shared_and_what_the_policy_denies_are_the_same_to_a_vmm};

	return suite_run(
		"broker, promises", "users", tests, ARRAY_SIZE(tests), limit_setup, limit_teardown);
}
