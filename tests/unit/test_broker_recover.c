/* SPDX-License-Identifier: MIT */
/* What a broker that takes up the records of an earlier one has again. */
#include "recover_rig.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

static const struct set_id own = {0};

/* ------------------------------------------------------------------ sets */

START_TEST(sets_keep_name_mode_quota_and_owner)
	{
		const struct set_create owned = {"c", SET_GUEST_OWNED, true, 9, true, 2000, 0};
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct set_info info;
		struct set_id c;

		(void)fixture_vmm(&f, 11, "b", SET_IDENTITY, 8);
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &owned, &c, &f.error), 0);
		recover_restart(true);
		info = recover_set("a");
		ck_assert(info.id.v == a.set.v && info.mode == SET_TRANSLATED && !info.dying);
		ck_assert(info.uid == 1000 && info.pasids.limit == 7 && info.owned_by_session);
		info = recover_set("b");
		ck_assert(info.mode == SET_IDENTITY && info.pasids.limit == 8);
		info = recover_set("c");
		ck_assert(info.id.v == c.v && info.mode == SET_GUEST_OWNED);
		ck_assert(info.uid == 2000 && info.pasids.limit == 9 && !info.owned_by_session);
		ck_assert_uint_eq(recover_host_use(RESOURCE_SETS), 3);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 24);
	}
END_TEST

START_TEST(names_of_sets_stay_taken)
	{
		struct actor a = {ROLE_VMM, 12, {0}, &f.peer};
		const struct set_create create = {"a", SET_TRANSLATED, true, 1, false, 0, 0};

		(void)fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		recover_restart(true);
		ck_assert_int_eq(
			broker_set_create(f.broker, &a, &create, &a.set, &f.error), STATUS_EXISTS);
	}
END_TEST

START_TEST(sets_end_with_the_sessions_that_made_them)
	{
		uint64_t cursor = 0, session, seen = 0;
		const struct set_create owned = {"c", SET_TRANSLATED, true, 9, false, 0, 0};
		struct set_id c;

		(void)fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		(void)fixture_vmm(&f, 100, "b", SET_TRANSLATED, 7);
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &owned, &c, &f.error), 0);
		recover_restart(true);
		while (broker_session_next(f.broker, &cursor, &session))
			seen += session;
		ck_assert_uint_eq(seen, 110);
		broker_session_end(f.broker, 10);
		recover_run(); /* its worker ends */
		ck_assert_uint_eq(recover_host_use(RESOURCE_SETS), 2);
		ck_assert_uint_eq(recover_set("b").pasids.limit, 7);
	}
END_TEST

START_TEST(a_quota_that_was_adjusted_stays)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);

		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, 3, &f.error), 0);
		recover_restart(true);
		ck_assert_uint_eq(recover_set("a").pasids.limit, 3);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 3);
	}
END_TEST

/* ------------------------------------------------------------------ numbers */

START_TEST(what_was_granted_before_is_granted_with_guest_data_and_holds)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct hpasid host = fixture_allocate_guest(&f, &a, 5), found;
		struct pasid_ref ref = {.number = host.v};
		struct grant_info info;

		ck_assert_int_eq(
			broker_data_set(f.broker, &a, own, ref, UINT64_MAX - 1, &f.error), 0);
		ck_assert_int_eq(broker_hold(f.broker, &a, own, host, &f.error), 0);
		ck_assert_int_eq(broker_hold(f.broker, &a, own, host, &f.error), 0);
		recover_restart(true);
		info = recover_grant(host);
		ck_assert(info.state == GRANT_ACTIVE && info.set.v == a.set.v);
		ck_assert(info.has_guest && info.guest.v == 5 && info.data == UINT64_MAX - 1);
		ck_assert_uint_eq(info.holds, 2);
		ck_assert_int_eq(
			broker_guest_find(f.broker, &a, own, (struct gpasid){5}, &found, &f.error),
			0);
		ck_assert_uint_eq(found.v, host.v);
		ck_assert_uint_eq(recover_set("a").active, 1);
		ck_assert_uint_eq(recover_host_use(RESOURCE_MAP_PAGES), 2); /* a leaf, the root */
	}
END_TEST

START_TEST(what_was_granted_before_is_not_given_again)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
		struct hpasid host = fixture_allocate(&f, &a);

		recover_restart(true);
		ck_assert_int_eq(recover_allocate(&c, host.v), STATUS_EXHAUSTED);
		ck_assert_int_eq(recover_allocate(&a, host.v), STATUS_EXHAUSTED);
		ck_assert_int_eq(recover_allocate(&c, host.v + 1), 0);
		ck_assert_int_eq(fixture_free(&f, &c, host), STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(a_guest_number_that_was_detached_stays_free)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct hpasid host = fixture_allocate_guest(&f, &a, 5);

		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){5}, &f.error), 0);
		recover_restart(true);
		ck_assert(!recover_grant(host).has_guest);
		(void)fixture_allocate_guest(&f, &a, 5);
	}
END_TEST

START_TEST(a_held_number_that_was_freed_waits_for_its_release)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(broker_hold(f.broker, &a, own, host, &f.error), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		recover_restart(true);
		ck_assert_int_eq(recover_grant(host).state, GRANT_FREE_PENDING);
		ck_assert_uint_eq(recover_set("a").active, 1);
		ck_assert_int_eq(broker_release(f.broker, &a, own, host, &f.error), 0);
		ck_assert_int_eq(recover_grant(host).state, GRANT_QUARANTINED);
	}
END_TEST

/* ------------------------------------------------------------------ quarantine */

START_TEST(each_number_cools_until_its_own_time)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct hpasid host[3];

		for (unsigned i = 0; i < 3; i++)
			host[i] = fixture_allocate(&f, &a);
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_int_eq(fixture_free(&f, &a, host[i]), 0);
			f.now_ms += 300;
		}
		recover_restart(true);
		ck_assert_uint_eq(recover_set("a").quarantined, 3);
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_uint_eq(recover_grant(host[i]).quarantine, QUARANTINE_COOLING);
			ck_assert_uint_eq(recover_grant(host[i]).cooling_ms, 100 + 300 * i);
		}
		for (unsigned i = 0; i < 3; i++) {
			f.now_ms = broker_next_tick(f.broker);
			ck_assert_uint_eq(f.now_ms, 1001000 + 300 * i);
			broker_tick(f.broker);
			for (unsigned k = 0; k < 3; k++)
				ck_assert_int_eq(recover_grant(host[k]).state,
					k <= i ? GRANT_IDLE : GRANT_QUARANTINED);
		}
		ck_assert_uint_eq(recover_host_use(RESOURCE_PASIDS), 0);
	}
END_TEST

START_TEST(a_number_cools_as_long_as_it_was_said_before)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct hpasid slow = fixture_allocate(&f, &a), quick = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_free(&f, &a, slow), 0);
		f.config.cooling_ms = 10;
		recover_restart(true);
		ck_assert_uint_eq(recover_grant(slow).cooling_ms, 1000);
		ck_assert_int_eq(fixture_free(&f, &a, quick), 0);
		ck_assert_uint_eq(recover_grant(quick).cooling_ms, 10);
		f.now_ms += 999;
		broker_tick(f.broker);
		ck_assert_int_eq(recover_grant(slow).state, GRANT_QUARANTINED);
		f.now_ms++;
		broker_tick(f.broker);
		ck_assert_int_eq(recover_grant(slow).state, GRANT_IDLE);
		ck_assert_int_eq(recover_grant(quick).state, GRANT_IDLE);
	}
END_TEST

START_TEST(a_tainted_number_stays_out_of_use)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct device_id device = fixture_add(&f, &a, 3, 50);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		f.model.fail_kind = HW_DETACH;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		ck_assert_int_eq(fixture_unbind(&f, &a, host), STATUS_HARDWARE);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		for (unsigned i = 0; i < 2; i++) {
			recover_restart(true);
			f.now_ms += 1000;
			broker_tick(f.broker);
			ck_assert_uint_eq(recover_grant(host).quarantine, QUARANTINE_TAINTED);
			ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
			ck_assert_int_eq(broker_quarantine_end(f.broker, &f.admin,
						 (struct set_id){0}, host, &f.error),
				STATUS_STATE);
		}
		/* a detach that succeeds ends it, as ever */
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(recover_grant(host).state, GRANT_IDLE);
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_READY);
	}
END_TEST

/* A number of `actor` that was detached from shared device 5 and freed. */
static struct hpasid draining_number(struct actor *actor)
{
	struct device_id slice;
	struct hpasid host;

	(void)fixture_share(&f, 5);
	slice = fixture_slice(&f, actor, 5);
	host = fixture_allocate(&f, actor);
	ck_assert_int_eq(fixture_bind(&f, actor, host, &slice, 1), 0);
	ck_assert_int_eq(fixture_unbind(&f, actor, host), 0);
	ck_assert_int_eq(fixture_free(&f, actor, host), 0);
	return host;
}

START_TEST(an_undrained_number_returns_to_its_set_only)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
		struct hpasid host = draining_number(&a);

		recover_restart(true);
		ck_assert_uint_eq(
			recover_grant(host).quarantine, QUARANTINE_COOLING | QUARANTINE_UNDRAINED);
		ck_assert_int_eq(recover_allocate(&a, host.v), STATUS_EXHAUSTED);
		f.now_ms += 1000;
		broker_tick(f.broker);
		recover_restart(true);
		ck_assert_uint_eq(recover_grant(host).quarantine, QUARANTINE_UNDRAINED);
		ck_assert_int_eq(recover_allocate(&c, host.v), STATUS_EXHAUSTED);
		ck_assert_int_eq(recover_allocate(&a, host.v), 0);
	}
END_TEST

START_TEST(an_undrained_number_of_an_earlier_vm_returns_to_nobody)
	{
		struct set_create create = {"a", SET_TRANSLATED, true, 7, false, 0, 0};
		struct actor a = {ROLE_VMM, 10, {0}, &f.peer};
		struct hpasid host;
		uint32_t released = 0;

		ck_assert_int_eq(
			broker_set_create(f.broker, &f.admin, &create, &a.set, &f.error), 0);
		host = draining_number(&a);
		broker_set_empty(f.broker, a.set);
		model_run(&f);
		recover_restart(true);
		f.now_ms += 2000;
		broker_tick(f.broker);
		recover_restart(true);
		ck_assert(!recover_set("a").dying);
		ck_assert_int_eq(recover_allocate(&a, host.v), STATUS_EXHAUSTED);
		ck_assert_int_eq(broker_device_drained(f.broker, &f.admin,
					 recover_device(DEVICE_SHARED).id, &released, &f.error),
			0);
		ck_assert_uint_eq(released, 1);
		ck_assert_int_eq(recover_allocate(&a, host.v), 0);
	}
END_TEST

START_TEST(a_set_that_is_gone_stays_charged_for_its_numbers)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct actor c = {ROLE_VMM, 11, {0}, &f.peer};
		struct hpasid host = fixture_allocate(&f, &a);

		broker_session_end(f.broker, 10);
		recover_restart(true);
		ck_assert_uint_eq(recover_grant(host).set.v, a.set.v);
		ck_assert_uint_eq(recover_host_use(RESOURCE_SETS), 1);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PASIDS), 1);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 1);
		c = fixture_vmm(&f, 11, "a", SET_TRANSLATED, 1); /* the name is free */
		ck_assert_uint_ne(c.set.v, a.set.v);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_int_eq(recover_grant(host).state, GRANT_IDLE);
		ck_assert_uint_eq(recover_host_use(RESOURCE_SETS), 1);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 1);
	}
END_TEST

/* ------------------------------------------------------------------ what is counted */

START_TEST(a_set_that_went_before_anybody_heard_is_forgotten)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);

		ck_assert_int_eq(broker_set_destroy(f.broker, &a, own, false, 1, &f.error), 0);
		fixture_settle(&f);
		recover_begin(true);
		ck_assert_uint_eq(recover_host_use(RESOURCE_SETS), 0);
		ck_assert_int_eq(
			broker_set_get(f.broker, &f.admin, a.set, &(struct set_info){0}, &f.error),
			STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(everything_is_charged_as_before)
	{
		static const enum resource of[] = {RESOURCE_SETS, RESOURCE_PROMISED,
			RESOURCE_PASIDS, RESOURCE_OPERATIONS, RESOURCE_DESCRIPTORS,
			RESOURCE_DEVICES, RESOURCE_PAGE_TABLES, RESOURCE_BINDINGS,
			RESOURCE_MAP_PAGES};
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct broker_status before, after;
		uint32_t use[ARRAY_SIZE(of)];
		struct device_id devices[2];
		struct hpasid host;

		(void)draining_number(&a);
		devices[0] = fixture_add(&f, &a, 3, 50);
		devices[1] = recover_device(DEVICE_SLICE).id;
		host = fixture_allocate_guest(&f, &a, 70000);
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
		for (size_t i = 0; i < ARRAY_SIZE(of); i++)
			use[i] = recover_host_use(of[i]);
		broker_status(f.broker, &before);
		recover_restart(true);
		broker_status(f.broker, &after);
		for (size_t i = 0; i < ARRAY_SIZE(of); i++)
			ck_assert_msg(recover_host_use(of[i]) == use[i], "%s: %u, was %u",
				resource_text(of[i]), recover_host_use(of[i]), use[i]);
		ck_assert_uint_eq(after.bindings, before.bindings);
		ck_assert_uint_eq(after.devices, before.devices);
		ck_assert_uint_eq(after.sets, before.sets);
		ck_assert_uint_eq(after.quarantined, before.quarantined);
		ck_assert_uint_eq(after.operations, 0);
		ck_assert_uint_eq(model_entries(&f), 2);
	}
END_TEST

START_TEST(smaller_limits_take_nothing_away_and_let_nothing_in)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct actor c = {ROLE_VMM, 11, {0}, &f.peer};
		const struct set_create create = {"c", SET_TRANSLATED, true, 1, false, 0, 0};
		struct device_id devices[2] = {fixture_add(&f, &a, 3, 50)};
		struct hpasid host[2] = {
			fixture_allocate_guest(&f, &a, 1), fixture_allocate_guest(&f, &a, 70000)};

		devices[1] = fixture_add(&f, &a, 4, 50);
		ck_assert_int_eq(fixture_bind(&f, &a, host[0], devices, 2), 0);
		for (unsigned i = 0; i < RESOURCE_COUNT; i++)
			f.limits_config.of[i] = (struct limit_levels){1, 1, 1};
		f.config.set_quota_max = f.config.set_quota_default = 1;
		recover_restart(true);
		ck_assert_uint_eq(recover_set("a").pasids.limit, 7);
		ck_assert_uint_eq(recover_set("a").bindings, 2);
		ck_assert_uint_eq(recover_grant(host[1]).guest.v, 70000);
		ck_assert_int_eq(recover_allocate(&a, 5000), STATUS_QUOTA);
		ck_assert_int_eq(
			broker_set_create(f.broker, &c, &create, &c.set, &f.error), STATUS_QUOTA);
		ck_assert_int_eq(fixture_bind(&f, &a, host[1], devices, 1), STATUS_QUOTA);
		ck_assert_uint_eq(model_entries(&f), 2);
		/* what is there can be given back */
		ck_assert_int_eq(fixture_unbind(&f, &a, host[0]), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host[0]), 0);
	}
END_TEST

START_TEST(removals_go_on_beyond_the_limit_of_operations)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct device_id devices[3];

		for (uint32_t i = 0; i < 3; i++)
			devices[i] = fixture_add(&f, &a, i, 50);
		for (uint32_t i = 0; i < 3; i++)
			ck_assert_int_eq(
				broker_device_remove(f.broker, &a, own, devices[i], 0, &f.error),
				0);
		f.limits_config.of[RESOURCE_OPERATIONS] = (struct limit_levels){1, 1, 1};
		recover_begin(true);
		ck_assert_uint_eq(recover_host_use(RESOURCE_OPERATIONS), 3);
		ck_assert_int_eq(
			broker_device_share(f.broker, &f.admin, (struct rid){5}, 0, &f.error),
			STATUS_RETRY);
		recover_run();
		ck_assert_uint_eq(recover_host_use(RESOURCE_DEVICES), 0);
	}
END_TEST

START_TEST(numbers_that_the_kernel_would_get_are_a_refusal)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct hpasid host = fixture_allocate(&f, &a);
		unsigned settles;
		char words[64];

		(void)snprintf(words, sizeof(words), "PASID %u is granted", host.v);
		fixture_settle(&f);
		settles = f.crash.settles;
		f.config.reserved_last = host.v;
		ck_assert_int_eq(fixture_recover(&f, fixture_all_stand, NULL), STATUS_INVALID);
		ck_assert_uint_eq(f.crash.settles, settles); /* the next run takes it back */
		ck_assert_ptr_nonnull(strstr(f.error.text, words));
		ck_assert_ptr_nonnull(strstr(f.error.text, "kernel_reserved"));
		/* nothing was changed by that */
		f.config.reserved_last = host.v - 1;
		recover_restart(true);
		ck_assert_int_eq(recover_grant(host).state, GRANT_ACTIVE);
	}
END_TEST

/* ------------------------------------------------------------------ never twice */

/* So many sets that came and went: a name and two events each. */
static struct set_id pass_sets(unsigned count)
{
	const struct set_create create = {"passing", SET_TRANSLATED, true, 1, false, 0, 0};
	struct set_id set = {0}, last = {0};

	while (count-- > 0) {
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &set, &f.error), 0);
		ck_assert_uint_gt(set.v, last.v);
		last = set;
		ck_assert_int_eq(
			broker_set_destroy(f.broker, &f.admin, set, false, 0, &f.error), 0);
		fixture_settle(&f);
	}
	return last;
}

START_TEST(names_and_events_never_repeat)
	{
		static const unsigned counts[] = {1, 2047, 1, 2, 4095, 4096, 1};
		uint64_t name = 0, sequence = 0;

		for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
			struct set_id first = pass_sets(1);

			ck_assert_uint_gt(first.v, name);
			ck_assert_uint_ge(broker_change_sequence(f.broker), sequence);
			name = pass_sets(counts[i]).v;
			sequence = broker_change_sequence(f.broker);
			recover_restart(true);
			ck_assert_uint_ge(broker_change_sequence(f.broker), sequence);
		}
	}
END_TEST

static uint32_t last_handle(void)
{
	uint32_t last = 0;

	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (f.model.devices[i].used && f.model.devices[i].handle > last)
			last = f.model.devices[i].handle;
	}
	return last;
}

START_TEST(names_for_workers_never_repeat)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		uint32_t handle = 0;

		for (unsigned i = 0; i < 4200; i++) {
			struct device_id device = fixture_add(&f, &a, 3, 50);
			struct outcome outcome;

			ck_assert_uint_gt(last_handle(), handle);
			handle = last_handle();
			ck_assert_int_eq(
				broker_device_remove(f.broker, &a, own, device, 1, &f.error), 0);
			outcome = fixture_outcome(&f, 1);
			ck_assert_int_eq(outcome.status, 0);
			fixture_settle(&f);
			if (i % 1400 == 0 || i == 4095 || i == 4096)
				recover_begin(true);
		}
	}
END_TEST

START_TEST(events_of_an_earlier_run_are_not_told)
	{
		struct change change;
		uint64_t next;

		(void)pass_sets(3);
		recover_restart(true);
		next = broker_change_sequence(f.broker);
		ck_assert(!broker_change_get(f.broker, 1, &change));
		(void)fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		ck_assert(broker_change_get(f.broker, 1, &change));
		ck_assert_uint_eq(change.sequence, next);
		ck_assert_uint_eq(change.kind, CHANGE_SET_CREATED);
	}
END_TEST

START_TEST(the_cyclic_search_goes_on)
	{
		struct actor a;
		struct hpasid host;

		fixture_close(&f);
		f.config.policy = BROKER_CYCLIC;
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		recover_restart(true);
		ck_assert_uint_eq(fixture_allocate(&f, &a).v, host.v + 1);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {sets_keep_name_mode_quota_and_owner, names_of_sets_stay_taken,
		sets_end_with_the_sessions_that_made_them, a_quota_that_was_adjusted_stays,
		what_was_granted_before_is_granted_with_guest_data_and_holds,
		what_was_granted_before_is_not_given_again,
		a_guest_number_that_was_detached_stays_free,
		a_held_number_that_was_freed_waits_for_its_release,
		each_number_cools_until_its_own_time, a_number_cools_as_long_as_it_was_said_before,
		a_tainted_number_stays_out_of_use, an_undrained_number_returns_to_its_set_only,
		an_undrained_number_of_an_earlier_vm_returns_to_nobody,
		a_set_that_is_gone_stays_charged_for_its_numbers,
		a_set_that_went_before_anybody_heard_is_forgotten, everything_is_charged_as_before,
		smaller_limits_take_nothing_away_and_let_nothing_in,
		removals_go_on_beyond_the_limit_of_operations,
		numbers_that_the_kernel_would_get_are_a_refusal, names_and_events_never_repeat,
		names_for_workers_never_repeat, events_of_an_earlier_run_are_not_told,
		the_cyclic_search_goes_on};

	return suite_run("broker, recovery", "records", tests, ARRAY_SIZE(tests), recover_setup,
		recover_teardown);
}
