/* SPDX-License-Identifier: MIT */
/* Sets, numbers, quota and who may do what. */
#include "fixture.h"
#include "suite.h"

#include <string.h>

static struct fixture f;

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

static const struct set_id own = {0};

static int allocate(const struct actor *actor, uint32_t min, uint32_t max, uint32_t count,
	bool consecutive, struct hpasid *ret_numbers)
{
	struct allocate a = {.min = min, .max = max, .count = count, .consecutive = consecutive};

	return broker_allocate(f.broker, actor, &a, ret_numbers, &f.error);
}

/* ------------------------------------------------------------------ U, F1, F8 */

/* F1 */
START_TEST(two_sets_never_get_one_number)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 100);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 100);
		struct hpasid mine[100], theirs[100];

		ck_assert_int_eq(allocate(&a, 2000, 2199, 100, false, mine), 0);
		ck_assert_int_eq(allocate(&c, 2000, 2199, 100, false, theirs), 0);
		for (int i = 0; i < 100; i++) {
			for (int k = 0; k < 100; k++)
				ck_assert_uint_ne(mine[i].v, theirs[k].v);
		}
	}
END_TEST

/* F8 */
START_TEST(trap_11_zero_and_the_kernels_numbers_are_never_granted)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid host = {0};

		ck_assert_int_eq(allocate(&a, 0, 0, 1, false, &host), STATUS_EXHAUSTED);
		ck_assert_int_eq(allocate(&a, 1, 1023, 1, false, &host), STATUS_EXHAUSTED);
		ck_assert_ptr_nonnull(strstr(f.error.text, "left to the kernel"));
		ck_assert_int_eq(allocate(&a, 0, 1024, 1, false, &host), 0);
		ck_assert_uint_eq(host.v, 1024);
	}
END_TEST

START_TEST(range_is_inclusive_and_checked)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid numbers[3];

		ck_assert_int_eq(allocate(&a, 5000, 5001, 2, false, numbers), 0);
		ck_assert_int_eq(allocate(&a, 5000, 5001, 1, false, numbers), STATUS_EXHAUSTED);
		ck_assert_uint_eq(f.error.reason, REASON_NONE_FREE);
		ck_assert_int_eq(allocate(&a, PASID_LAST, PASID_LAST, 1, false, numbers), 0);
		ck_assert_int_eq(allocate(&a, 6000, 5999, 1, false, numbers), STATUS_INVALID);
		ck_assert_int_eq(
			allocate(&a, 5000, PASID_COUNT, 1, false, numbers), STATUS_INVALID);
		ck_assert_int_eq(allocate(&a, 7000, 7001, 3, false, numbers), STATUS_EXHAUSTED);
	}
END_TEST

/* F14 */
START_TEST(consecutive_numbers_are_an_aligned_block)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 2000);
		static struct hpasid numbers[1024];

		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 16, true, numbers), 0);
		ck_assert_uint_eq(numbers[0].v % 16, 0);
		for (uint32_t i = 1; i < 16; i++)
			ck_assert_uint_eq(numbers[i].v, numbers[0].v + i);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 1024, true, numbers), 0);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 3, true, numbers), STATUS_INVALID);
		ck_assert_int_eq(allocate(&a, 9001, 9015, 8, true, numbers), 0);
		ck_assert_uint_eq(numbers[0].v, 9008);
		ck_assert_int_eq(allocate(&a, 9001, 9015, 8, true, numbers), STATUS_EXHAUSTED);
	}
END_TEST

/* F14 */
START_TEST(many_numbers_or_none)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 0);
		static struct hpasid numbers[BROKER_ALLOCATE_MAX + 1];

		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 0, false, numbers), STATUS_QUOTA);
		ck_assert_int_eq(
			allocate(&a, 0, PASID_LAST, BROKER_ALLOCATE_MAX + 1, false, numbers),
			STATUS_QUOTA);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 1024, false, numbers), 0);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 1, false, numbers), STATUS_QUOTA);
	}
END_TEST

START_TEST(cyclic_policy_comes_back_late_and_lowest_at_once)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid first = fixture_allocate(&f, &a), next;

		ck_assert_int_eq(fixture_free(&f, &a, first), 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		next = fixture_allocate(&f, &a);
		ck_assert_uint_eq(next.v, first.v + 1);

		fixture_close(&f);
		fixture_config(&f);
		f.config.policy = BROKER_LOWEST;
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		first = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_free(&f, &a, first), 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_uint_eq(fixture_allocate(&f, &a).v, first.v);
	}
END_TEST

/* ------------------------------------------------------------------ O, F9, F17 */

START_TEST(foreign_and_missing_numbers_look_the_same)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct hpasid theirs = fixture_allocate(&f, &a), missing = {60000};
		struct pasid_ref refs[] = {{false, theirs.v}, {false, missing.v}};
		struct error errors[2] = {0};
		uint32_t freed, unchanged;

		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(broker_free_pasids(f.broker, &c, own, &refs[i], 1, &freed,
						 &unchanged, &errors[i]),
				STATUS_NOT_FOUND);
			/* the text names the number that was asked for, and differs in nothing else
			 */
			ck_assert_uint_eq(errors[i].reason, REASON_NO_PASID);
			ck_assert_uint_eq(errors[i].limit + errors[i].used, 0);
		}
		ck_assert_int_eq(
			strncmp(errors[0].text, errors[1].text, strlen("set 'c' has no PASID ")),
			0);
		ck_assert_int_eq(fixture_state(&f, theirs), GRANT_ACTIVE);
	}
END_TEST

START_TEST(a_session_changes_nothing_of_another_set)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct hpasid theirs = fixture_allocate_guest(&f, &a, 5), host;
		struct set_info info;
		struct grant_info grant;
		uint32_t freed;

		ck_assert_int_eq(broker_guest_attach(
					 f.broker, &c, own, theirs, (struct gpasid){9}, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &c, own, (struct gpasid){5}, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(
			broker_guest_find(f.broker, &c, own, (struct gpasid){5}, &host, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(broker_data_set(f.broker, &c, own,
					 (struct pasid_ref){false, theirs.v}, 1, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(
			broker_hold(f.broker, &c, own, theirs, &f.error), STATUS_NOT_FOUND);
		ck_assert_int_eq(broker_host_find(f.broker, &c, (struct set_id){0}, theirs, &grant,
					 &f.error),
			STATUS_NOT_FOUND);
		/* and by naming the other set itself */
		ck_assert_int_eq(
			broker_set_get(f.broker, &c, a.set, &info, &f.error), STATUS_NOT_FOUND);
		ck_assert_int_eq(
			broker_free_all(f.broker, &c, a.set, &freed, &f.error), STATUS_NOT_FOUND);
		ck_assert_int_eq(
			broker_set_adjust(f.broker, &c, a.set, 1, &f.error), STATUS_NOT_FOUND);
		ck_assert_int_eq(broker_set_destroy(f.broker, &c, a.set, true, 1, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(
			broker_quarantine_end(f.broker, &c, (struct set_id){0}, theirs, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(fixture_state(&f, theirs), GRANT_ACTIVE);
	}
END_TEST

START_TEST(observer_sees_all_and_changes_nothing)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct grant_info info;
		struct set_create create = {"o", SET_TRANSLATED, false, 0, false, 0, 0};
		struct set_id id;
		uint32_t freed;

		ck_assert_int_eq(broker_host_find(f.broker, &f.observer, (struct set_id){0}, host,
					 &info, &f.error),
			0);
		ck_assert_str_eq(info.set_name, "a");
		ck_assert_int_eq(broker_free_all(f.broker, &f.observer, a.set, &freed, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(broker_set_create(f.broker, &f.observer, &create, &id, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(broker_host_find(f.broker, &f.observer, (struct set_id){0},
					 (struct hpasid){70000}, &info, &f.error),
			0);
		ck_assert_int_eq(info.state, GRANT_IDLE);
	}
END_TEST

START_TEST(changes_are_told_to_those_who_may_know)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		uint64_t from = broker_change_sequence(f.broker);
		struct hpasid host = fixture_allocate(&f, &a);
		struct change change;

		ck_assert(broker_change_get(f.broker, from, &change));
		ck_assert_uint_eq(change.kind, CHANGE_GRANT_ALLOCATED);
		ck_assert_uint_eq(change.host, host.v);
		ck_assert_uint_eq(change.sequence, from);
		ck_assert(broker_change_visible(&a, &change));
		ck_assert(broker_change_visible(&f.observer, &change));
		ck_assert(!broker_change_visible(&c, &change));
		ck_assert(!broker_change_get(f.broker, from + 1, &change));
	}
END_TEST

/* ------------------------------------------------------------------ sets and Q, F10-F12, F24 */

START_TEST(set_names_are_checked_and_unique)
	{
		const char *bad[] = {"", "a b", "a/b", "a:b", "\xc3\xa4",
			"12345678901234567890123456789012345678901234567890123456789012345"};
		struct actor a = {ROLE_VMM, 10, {0}, &f.peer};
		struct set_create create = {.mode = SET_TRANSLATED};
		struct set_id id;

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			create.name = bad[i];
			ck_assert_int_eq(broker_set_create(f.broker, &a, &create, &id, &f.error),
				STATUS_INVALID);
		}
		create.name = "vm.1-a_B";
		ck_assert_int_eq(broker_set_create(f.broker, &a, &create, &a.set, &f.error), 0);
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &id, &f.error),
			STATUS_EXISTS);
		create.name = "second";
		ck_assert_int_eq(
			broker_set_create(f.broker, &a, &create, &id, &f.error), STATUS_EXISTS);
		create.mode = (enum set_mode)9;
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &id, &f.error),
			STATUS_INVALID);
	}
END_TEST

START_TEST(quota_is_exact_and_its_error_names_limit_use_and_remedy)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 3);
		struct hpasid numbers[4];

		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 4, false, numbers), STATUS_QUOTA);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 3, false, numbers), 0);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 1, false, numbers), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_SET_QUOTA);
		ck_assert_uint_eq(f.error.limit, 3);
		ck_assert_uint_eq(f.error.used, 3);
		ck_assert_ptr_nonnull(strstr(f.error.text, "'a'"));
		ck_assert_ptr_nonnull(strstr(f.error.text, "3 of its 3"));
		ck_assert_ptr_nonnull(strstr(f.error.text, "free some"));
	}
END_TEST

START_TEST(quarantined_numbers_count_against_the_quota)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 1, false, &host), STATUS_QUOTA);
		f.now_ms += 999;
		broker_tick(f.broker);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 1, false, &host), STATUS_QUOTA);
		f.now_ms += 1;
		broker_tick(f.broker);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 1, false, &host), 0);
	}
END_TEST

START_TEST(churn_of_sets_cannot_exhaust_the_host)
	{
		struct hpasid numbers[10];
		struct set_create create = {"x", SET_TRANSLATED, true, 10, false, 0, 0};
		struct broker_status status;
		int made = 0;

		fixture_close(&f);
		fixture_config(&f);
		f.limits_config.of[RESOURCE_PASIDS].user = 25;
		fixture_open(&f);
		for (uint64_t session = 10; session < 20; session++) {
			struct actor a = {ROLE_VMM, session, {0}, &f.peer};

			ck_assert_int_eq(
				broker_set_create(f.broker, &a, &create, &a.set, &f.error), 0);
			made += allocate(&a, 0, PASID_LAST, 10, false, numbers) == 0;
			broker_session_end(f.broker, session);
			fixture_recount(&f);
		}
		ck_assert_int_eq(made, 2);
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.pasids.current, 20);
		ck_assert_uint_eq(status.quarantined, 20);
		f.now_ms += 1000;
		broker_tick(f.broker);
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.pasids.current, 0);
		ck_assert_uint_eq(status.sets, 0);
	}
END_TEST

/* F11, F25 */
START_TEST(quotas_are_debited_from_the_capacity)
	{
		struct set_create create = {"c", SET_TRANSLATED, true, 50, false, 0, 0};
		struct set_info info;
		struct set_id id, rest;

		fixture_close(&f);
		fixture_config(&f);
		f.config.capacity = 100;
		fixture_open(&f);
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &id, &f.error), 0);
		create.name = "d";
		create.quota = 51;
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &rest, &f.error),
			STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_HOST_QUOTA);
		create.quota = 0; /* what remains */
		ck_assert_int_eq(
			broker_set_create(f.broker, &f.admin, &create, &rest, &f.error), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, rest, &info, &f.error), 0);
		ck_assert_uint_eq(info.pasids.limit, 50);
		create.name = "e";
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &rest, &f.error),
			STATUS_QUOTA);
	}
END_TEST

/* F12 */
START_TEST(quota_is_adjusted_within_use_and_capacity)
	{
		struct actor a;
		struct hpasid numbers[5];

		fixture_close(&f);
		fixture_config(&f);
		f.config.capacity = 20;
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 5, false, numbers), 0);
		ck_assert_int_eq(
			broker_set_adjust(f.broker, &f.admin, a.set, 4, &f.error), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_BELOW_USE);
		ck_assert_int_eq(
			broker_set_adjust(f.broker, &f.admin, a.set, 21, &f.error), STATUS_QUOTA);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, 20, &f.error), 0);
		ck_assert_int_eq(broker_set_adjust(f.broker, &a, own, 5, &f.error), 0);
		ck_assert_int_eq(broker_set_adjust(f.broker, &a, own, 6, &f.error), STATUS_DENIED);
	}
END_TEST

START_TEST(a_set_is_destroyed_when_empty_or_with_force)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct set_info info;

		ck_assert_int_eq(
			broker_set_destroy(f.broker, &a, own, false, 1, &f.error), STATUS_BUSY);
		ck_assert_int_eq(broker_set_destroy(f.broker, &a, own, true, 2, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		ck_assert_int_eq(
			broker_set_destroy(f.broker, &a, own, true, 3, &f.error), STATUS_STATE);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_int_eq(
			broker_set_get(f.broker, &a, own, &info, &f.error), STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(an_admins_set_outlives_its_session)
	{
		struct set_create create = {"kept", SET_TRANSLATED, false, 0, false, 0, 0};
		struct set_id id;
		struct set_info info;

		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &id, &f.error), 0);
		broker_session_end(f.broker, f.admin.session);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, id, &info, &f.error), 0);
		ck_assert(!info.owned_by_session && !info.dying);
	}
END_TEST

START_TEST(lists_show_a_vmm_its_own_and_an_admin_all)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct hpasid numbers[3];
		struct grant_info grant;
		struct set_info set;
		uint64_t cursor = 0;
		unsigned count = 0;

		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 3, false, numbers), 0);
		(void)fixture_allocate(&f, &c);
		ck_assert_int_eq(fixture_free(&f, &a, numbers[0]), 0);
		while (broker_grant_next(f.broker, &a, own, false, &cursor, &grant))
			count++;
		ck_assert_uint_eq(count, 2);
		for (cursor = count = 0;
			broker_grant_next(f.broker, &f.admin, own, true, &cursor, &grant);)
			count++;
		ck_assert_uint_eq(count, 4);
		cursor = 0;
		ck_assert(!broker_grant_next(f.broker, &a, c.set, true, &cursor, &grant));
		for (cursor = count = 0; broker_set_next(f.broker, &c, &cursor, &set);) {
			ck_assert_str_eq(set.name, "c");
			count++;
		}
		ck_assert_uint_eq(count, 1);
	}
END_TEST

START_TEST(configuration_out_of_range_is_refused)
	{
		struct broker_ports ports = {
			.state = state_file_state(f.memory), .limits = f.limits};

		struct broker_config config = f.config;
		struct broker *broker = NULL;

		config.reserved_last = PASID_LAST;
		ck_assert_int_lt(broker_new(&config, &ports, &broker), 0);
		config = f.config;
		config.set_quota_max = 0;
		ck_assert_int_lt(broker_new(&config, &ports, &broker), 0);
		ports.limits = NULL;
		ck_assert_int_lt(broker_new(&f.config, &ports, &broker), 0);
		ck_assert_ptr_null(broker);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {two_sets_never_get_one_number,
		trap_11_zero_and_the_kernels_numbers_are_never_granted,
		range_is_inclusive_and_checked, consecutive_numbers_are_an_aligned_block,
		many_numbers_or_none, cyclic_policy_comes_back_late_and_lowest_at_once,
		foreign_and_missing_numbers_look_the_same, a_session_changes_nothing_of_another_set,
		observer_sees_all_and_changes_nothing, changes_are_told_to_those_who_may_know,
		set_names_are_checked_and_unique,
		quota_is_exact_and_its_error_names_limit_use_and_remedy,
		quarantined_numbers_count_against_the_quota, churn_of_sets_cannot_exhaust_the_host,
		quotas_are_debited_from_the_capacity, quota_is_adjusted_within_use_and_capacity,
		a_set_is_destroyed_when_empty_or_with_force, an_admins_set_outlives_its_session,
		lists_show_a_vmm_its_own_and_an_admin_all, configuration_out_of_range_is_refused};

	return suite_run("broker", "sets and numbers", tests, ARRAY_SIZE(tests), setup, teardown);
}
