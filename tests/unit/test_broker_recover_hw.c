/* SPDX-License-Identifier: MIT */
/* What becomes of hardware that an earlier broker was at work with, be its workers there or gone.
 */
#include "recover_rig.h"

#include <errno.h>

static const struct set_id own = {0};

static unsigned model_open_devices(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_DEVICES; i++)
		count += f.model.devices[i].used;
	return count;
}

/* The worker that has the function was started anew, unnoticed: it knows nothing of it. */
static void model_forget(uint32_t rid)
{
	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (f.model.devices[i].rid == rid)
			f.model.devices[i].used = false;
	}
}

static void model_fail_next(enum hw_kind kind, int status)
{
	f.model.fail_kind = kind;
	f.model.fail_status = status;
	f.model.fail_times = 1;
}

/* ------------------------------------------------------------------ devices on their way */

static void add_and_die(bool stands, unsigned steps, bool shared)
{
	struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
	const int fds[] = {50, MODEL_DEVICE_FD(3)};

	if (shared)
		ck_assert_int_eq(
			broker_device_share(f.broker, &f.admin, (struct rid){3}, 0, &f.error), 0);
	else
		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, fds, 2, NULL, 0, &f.error), 0);
	while (steps-- > 0)
		ck_assert(model_step(&f, 0));
	recover_begin(stands);
	ck_assert_uint_eq(recover_host_use(RESOURCE_DESCRIPTORS), stands && !shared ? 2 : 0);
	recover_run();
	ck_assert_uint_eq(recover_host_use(RESOURCE_DEVICES), 0);
	ck_assert_uint_eq(recover_host_use(RESOURCE_DESCRIPTORS), 0);
	ck_assert_uint_eq(model_open_devices(), 0);
	/* and can be had, as if it had never been asked for */
	if (shared)
		(void)fixture_share(&f, 3);
	else
		(void)fixture_add(&f, &a, 3, 50);
}

START_TEST(a_device_that_was_being_registered_is_closed)
	{
		add_and_die(_i & 1, (unsigned)_i >> 2, _i & 2);
	}
END_TEST

/* A device of the kind that is being removed: the removal was asked for, and taken this far. */
static struct actor remove_and_die(enum device_kind kind, unsigned steps, bool stands)
{
	struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
	struct device_id device;

	if (kind != DEVICE_EXCLUSIVE)
		device = fixture_share(&f, 3);
	else
		device = fixture_add(&f, &a, 3, 50);
	if (kind == DEVICE_SLICE)
		device = fixture_slice(&f, &a, 3);
	fixture_settle(&f);
	ck_assert_int_eq(broker_device_remove(f.broker, kind == DEVICE_SHARED ? &f.admin : &a, own,
				 device, 0, &f.error),
		0);
	while (steps-- > 0)
		(void)model_step(&f, 0);
	recover_begin(stands);
	return a;
}

START_TEST(a_removal_goes_on)
	{
		static const enum device_kind kinds[] = {
			DEVICE_EXCLUSIVE, DEVICE_SLICE, DEVICE_SHARED};
		enum device_kind kind = kinds[_i >> 1];
		struct actor a = remove_and_die(kind, 0, _i & 1);

		recover_run();
		ck_assert_int_eq(recover_device(kind).state, DEVICE_FREE);
		ck_assert_uint_eq(recover_host_use(RESOURCE_DEVICES), 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_DESCRIPTORS), 0);
		if (kind == DEVICE_EXCLUSIVE)
			(void)fixture_add(&f, &a, 3, 50);
		if (kind == DEVICE_SHARED)
			(void)fixture_share(&f, 3);
	}
END_TEST

START_TEST(a_removal_of_a_shared_device_goes_on_while_its_worker_ends)
	{
		(void)remove_and_die(DEVICE_SHARED, 1, true);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_SHARED).state, DEVICE_FREE);
		(void)fixture_share(&f, 3);
	}
END_TEST

START_TEST(a_removal_in_a_dying_set_is_part_of_its_end)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct device_id device = fixture_add(&f, &a, 3, 50);

		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 0, &f.error), 0);
		broker_session_end(f.broker, 10);
		fixture_settle(&f);
		recover_begin(true);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_FREE);
		ck_assert_uint_eq(recover_host_use(RESOURCE_SETS), 0);
		ck_assert_uint_eq(model_open_devices(), 0);
	}
END_TEST

/* ------------------------------------------------------------------ binds and unbinds */

/* A number that is being bound to three devices, or unbound from them. */
struct work {
	struct actor a;
	struct device_id devices[3];
	struct hpasid host;
};

static struct work work_begin(bool shared)
{
	struct work w = {.a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7)};

	w.devices[0] = fixture_add(&f, &w.a, 3, 50);
	if (shared)
		(void)fixture_share(&f, 4);
	w.devices[1] = shared ? fixture_slice(&f, &w.a, 4) : fixture_add(&f, &w.a, 4, 50);
	w.devices[2] = fixture_add(&f, &w.a, 5, 50);
	w.host = fixture_allocate_guest(&f, &w.a, 5);
	fixture_settle(&f);
	return w;
}

START_TEST(nothing_is_left_of_a_bind_that_was_under_way)
	{
		struct work w = work_begin(_i & 1);

		recover_bind(&w.a, w.host, w.devices, 3);
		for (int steps = _i >> 1; steps > 0; steps--)
			ck_assert(model_step(&f, 0));
		recover_begin(true);
		recover_run();
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_uint_eq(recover_set("a").bindings, 0);
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_ACTIVE);
		ck_assert_uint_eq(recover_grant(w.host).guest.v, 5);
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_READY);
		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
	}
END_TEST

START_TEST(a_bind_that_ended_stays_and_is_told_so)
	{
		struct work w = work_begin(true);
		struct binding_info info;
		uint64_t cursor = 0;
		unsigned count = 0;

		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
		recover_restart(true);
		ck_assert_uint_eq(model_entries(&f), 3);
		while (broker_binding_next(f.broker, &w.a, own, &cursor, &info)) {
			ck_assert_int_eq(info.state, BINDING_BOUND);
			ck_assert_uint_eq(info.host.v, w.host.v);
			ck_assert(info.table.made);
			ck_assert_uint_eq(info.table.pt_id != 0, info.rid.v != 4);
			count++;
		}
		ck_assert_uint_eq(count, 3);
		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 1), STATUS_EXISTS);
		ck_assert_int_eq(fixture_unbind(&f, &w.a, w.host), 0);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

START_TEST(an_unbind_that_was_under_way_is_done)
	{
		struct work w = work_begin(_i & 1);

		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
		ck_assert_int_eq(
			broker_unbind(f.broker, &w.a, own, (struct pasid_ref){.number = w.host.v},
				NULL, 0, 0, &f.error),
			0);
		for (int steps = _i >> 1; steps > 0; steps--)
			ck_assert(model_step(&f, 0));
		recover_begin(true);
		recover_run();
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_uint_eq(recover_set("a").bindings, 0);
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_ACTIVE);
		ck_assert_int_eq(fixture_free(&f, &w.a, w.host), 0);
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_QUARANTINED);
	}
END_TEST

START_TEST(a_number_that_was_freed_rests_when_its_unbind_is_done)
	{
		struct work w = work_begin(false);

		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
		ck_assert_int_eq(fixture_free(&f, &w.a, w.host), 0);
		ck_assert_int_eq(
			broker_unbind(f.broker, &w.a, own, (struct pasid_ref){.number = w.host.v},
				NULL, 0, 0, &f.error),
			0);
		recover_begin(true);
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_FREE_PENDING);
		recover_run();
		ck_assert_uint_eq(recover_grant(w.host).quarantine, QUARANTINE_COOLING);
	}
END_TEST

START_TEST(a_detach_that_fails_in_a_recovery_taints)
	{
		struct work w = work_begin(false);

		recover_bind(&w.a, w.host, w.devices, 3);
		ck_assert(model_step(&f, 0));
		recover_begin(true);
		model_fail_next(HW_DETACH, STATUS_HARDWARE);
		recover_run();
		ck_assert_uint_eq(recover_set("a").bindings, 1);
		ck_assert_int_eq(fixture_free(&f, &w.a, w.host), 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_uint_eq(recover_grant(w.host).quarantine, QUARANTINE_TAINTED);
	}
END_TEST

START_TEST(an_attach_to_a_rid_that_was_under_way_is_taken_back)
	{
		struct work w = work_begin(false);
		struct bind_pair pair = {w.devices[0], {.kind = HW_TABLE_SPACE}};

		ck_assert_int_eq(broker_rid_attach(f.broker, &w.a, own, &pair, 0, &f.error), 0);
		recover_begin(true);
		recover_run();
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(broker_rid_attach(f.broker, &w.a, own, &pair, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		recover_restart(true);
		ck_assert(model_has(&f, 3, 0));
		ck_assert_int_eq(broker_rid_attach(f.broker, &w.a, own, &pair, 2, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 2).error.reason, REASON_RID_ATTACHED);
	}
END_TEST

START_TEST(requests_wait_behind_the_recovery_of_their_set)
	{
		struct work w = work_begin(false);

		recover_bind(&w.a, w.host, w.devices, 3);
		recover_begin(true);
		recover_bind(&w.a, w.host, w.devices, 2);
		recover_run();
		ck_assert_uint_eq(model_entries(&f), 2);
		ck_assert_uint_eq(recover_set("a").bindings, 2);
	}
END_TEST

/* ------------------------------------------------------------------ ends of sets */

START_TEST(a_dying_set_comes_to_its_end)
	{
		struct work w = work_begin(true);

		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
		broker_session_end(f.broker, 10);
		for (int steps = _i >> 1; steps > 0; steps--)
			(void)model_step(&f, 0);
		recover_begin(_i & 1);
		recover_run();
		ck_assert(!broker_set_lives(f.broker, w.a.set));
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_QUARANTINED);
		ck_assert_int_eq(recover_device(DEVICE_SLICE).state,
			_i & 1 ? DEVICE_FREE : recover_device(DEVICE_SLICE).state);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PASIDS), 1);
		ck_assert_uint_eq(model_entries(&f) > 0, !(_i & 1) && _i < 4);
	}
END_TEST

START_TEST(a_set_that_was_being_emptied_comes_back)
	{
		struct set_create create = {"v", SET_TRANSLATED, true, 7, false, 0, 0};
		struct actor v = {ROLE_VMM, 10, {0}, &f.peer};
		struct device_id device;
		struct hpasid host;

		ck_assert_int_eq(
			broker_set_create(f.broker, &f.admin, &create, &v.set, &f.error), 0);
		device = fixture_add(&f, &v, 3, 50);
		host = fixture_allocate_guest(&f, &v, 5);
		ck_assert_int_eq(fixture_bind(&f, &v, host, &device, 1), 0);
		broker_set_empty(f.broker, v.set);
		recover_begin(true);
		ck_assert(recover_set("v").emptying);
		ck_assert_int_eq(recover_allocate(&v, 5000), STATUS_RETRY);
		recover_run();
		ck_assert_uint_eq(recover_set("v").id.v, v.set.v);
		ck_assert(!recover_set("v").dying);
		ck_assert_int_eq(recover_grant(host).state, GRANT_QUARANTINED);
		ck_assert_uint_eq(model_entries(&f), 0);
		(void)fixture_allocate_guest(&f, &v, 5);
	}
END_TEST

/* ------------------------------------------------------------------ workers that are gone */

START_TEST(what_a_gone_worker_had_of_a_set_is_tainted)
	{
		struct work w = work_begin(false);
		struct device_id again;

		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 2), 0);
		recover_restart(false);
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
		ck_assert_uint_eq(recover_host_use(RESOURCE_DESCRIPTORS), 0);
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_ACTIVE);
		ck_assert_int_eq(fixture_free(&f, &w.a, w.host), 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_uint_eq(recover_grant(w.host).quarantine, QUARANTINE_TAINTED);
		/* the kernel lets them be bound anew only when the VMM has closed them */
		again = fixture_add(&f, &w.a, 3, 60);
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_QUARANTINED);
		(void)fixture_add(&f, &w.a, 4, 60);
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_IDLE);
		ck_assert_uint_ne(again.v, w.devices[0].v);
	}
END_TEST

START_TEST(what_a_gone_worker_had_of_a_shared_device_is_detached_but_not_drained)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct device_id slice;
		struct hpasid host;
		uint32_t released;

		(void)fixture_share(&f, 5);
		slice = fixture_slice(&f, &a, 5);
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		recover_restart(false);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_uint_eq(recover_set("a").bindings, 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_uint_eq(recover_grant(host).quarantine, QUARANTINE_UNDRAINED);
		ck_assert_int_eq(broker_device_drained(f.broker, &f.admin,
					 recover_device(DEVICE_SHARED).id, &released, &f.error),
			0);
		ck_assert_int_eq(recover_grant(host).state, GRANT_IDLE);
		(void)fixture_share(&f, 5);
	}
END_TEST

START_TEST(a_bind_under_way_on_a_gone_worker_is_tainted)
	{
		struct work w = work_begin(false);

		recover_bind(&w.a, w.host, w.devices, 3);
		ck_assert(model_step(&f, 0));
		recover_begin(false);
		recover_run();
		ck_assert_uint_eq(recover_set("a").bindings, 3);
		ck_assert_int_eq(fixture_free(&f, &w.a, w.host), 0);
		ck_assert_uint_eq(
			recover_grant(w.host).quarantine & QUARANTINE_TAINTED, QUARANTINE_TAINTED);
	}
END_TEST

START_TEST(a_device_that_its_worker_does_not_know_is_lost)
	{
		struct work w = work_begin(true);

		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
		model_forget(3);
		recover_restart(true);
		ck_assert_int_eq(fixture_unbind(&f, &w.a, w.host), STATUS_STATE);
		ck_assert(model_has(&f, 3, w.host.v)); /* as far as we know */
		ck_assert(!model_has(&f, 4, w.host.v));
		ck_assert(!model_has(&f, 5, w.host.v));
		ck_assert_int_eq(fixture_free(&f, &w.a, w.host), 0);
		ck_assert(recover_grant(w.host).quarantine & QUARANTINE_TAINTED);
	}
END_TEST

START_TEST(slices_of_a_shared_device_that_its_worker_does_not_know_are_lost)
	{
		struct work w = work_begin(true);

		if (_i)
			recover_bind(&w.a, w.host, w.devices, 3);
		else
			ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
		fixture_settle(&f);
		model_run(&f);
		model_forget(4);
		for (unsigned i = 0; i < MODEL_ENTRIES; i++) /* with its only user it went */
			f.model.entries[i].used =
				f.model.entries[i].used && f.model.entries[i].rid != 4;
		recover_restart(true);
		ck_assert_int_eq(recover_device(DEVICE_SHARED).state, DEVICE_TAINTED);
		ck_assert_int_eq(recover_device(DEVICE_SLICE).state, DEVICE_TAINTED);
		ck_assert_int_eq(fixture_unbind(&f, &w.a, w.host), 0);
		ck_assert_int_eq(fixture_free(&f, &w.a, w.host), 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_uint_eq(recover_grant(w.host).quarantine, QUARANTINE_UNDRAINED);
	}
END_TEST

START_TEST(another_function_than_was_recorded_is_no_answer)
	{
		struct work w = work_begin(false);

		for (unsigned i = 0; i < MODEL_DEVICES; i++) {
			if (f.model.devices[i].used && f.model.devices[i].rid == 3)
				f.model.devices[i].rid = 9;
		}
		recover_restart(true);
		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 1), STATUS_STATE);
		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices + 1, 2), 0);
	}
END_TEST

START_TEST(a_worker_may_be_lost_in_a_recovery)
	{
		struct work w = work_begin(_i & 1);

		recover_bind(&w.a, w.host, w.devices, 3);
		ck_assert(model_step(&f, 0));
		recover_begin(true);
		for (int steps = _i >> 1; steps > 0; steps--)
			ck_assert(model_step(&f, 0));
		broker_flush(f.broker);
		ck_assert_uint_gt(f.model.count, 0);
		model_lose_lane(&f, f.model.ops[0].lane);
		recover_run();
		ck_assert_int_eq(recover_grant(w.host).state, GRANT_ACTIVE);
		ck_assert_int_eq(fixture_free(&f, &w.a, w.host), 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		fixture_recount(&f);
		/* what may be attached still is nobody else's */
		if (model_entries(&f))
			ck_assert_int_eq(recover_grant(w.host).state, GRANT_QUARANTINED);
		broker_session_end(f.broker, 10);
		recover_run();
	}
END_TEST

START_TEST(the_worker_of_a_shared_device_may_be_lost_in_a_recovery)
	{
		struct work w = work_begin(true);
		struct device_info shared = recover_device(DEVICE_SHARED);
		const uint64_t lane = UINT64_C(1) << 63 | shared.id.v;

		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
		fixture_settle(&f);
		recover_begin(true);
		model_lose_lane(&f, lane);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_SHARED).state, DEVICE_TAINTED);
		ck_assert(!model_has(&f, 4, w.host.v));
		ck_assert(model_has(&f, 3, w.host.v));
		ck_assert_int_eq(recover_set("a").bindings, 2);
	}
END_TEST

/* ------------------------------------------------------------------ what is asked of workers */

START_TEST(a_port_that_has_no_time_is_asked_again)
	{
		struct work w = work_begin(false);

		ck_assert_int_eq(fixture_bind(&f, &w.a, w.host, w.devices, 3), 0);
		fixture_settle(&f);
		f.model.submit_status = -EAGAIN;
		recover_begin(true);
		ck_assert_uint_eq(f.model.count, 0);
		ck_assert_int_eq(recover_set("a").bindings, 3);
		f.model.submit_status = 0;
		f.now_ms = broker_next_tick(f.broker);
		broker_tick(f.broker);
		recover_run();
		ck_assert_uint_eq(broker_next_tick(f.broker), UINT64_MAX);
		ck_assert_int_eq(fixture_unbind(&f, &w.a, w.host), 0);
	}
END_TEST

START_TEST(an_iommufd_is_known_again)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
		const int fds[] = {50, MODEL_DEVICE_FD(4)};

		(void)fixture_add(&f, &a, 3, 50);
		recover_restart(true);
		ck_assert_int_eq(
			broker_device_add(f.broker, &c, own, fds, 2, NULL, 1, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_FD_FOREIGN);
		(void)fixture_add(&f, &a, 4, 50);
	}
END_TEST

/* Run with _i from 0. */
struct test {
	const TTest *test;
	int count;
};

int main(void)
{
	const struct test tests[] = {{a_device_that_was_being_registered_is_closed, 8},
		{a_removal_goes_on, 6},
		{a_removal_of_a_shared_device_goes_on_while_its_worker_ends, 1},
		{a_removal_in_a_dying_set_is_part_of_its_end, 1},
		{nothing_is_left_of_a_bind_that_was_under_way, 6},
		{a_bind_that_ended_stays_and_is_told_so, 1},
		{an_unbind_that_was_under_way_is_done, 6},
		{a_number_that_was_freed_rests_when_its_unbind_is_done, 1},
		{a_detach_that_fails_in_a_recovery_taints, 1},
		{an_attach_to_a_rid_that_was_under_way_is_taken_back, 1},
		{requests_wait_behind_the_recovery_of_their_set, 1},
		{a_dying_set_comes_to_its_end, 14}, {a_set_that_was_being_emptied_comes_back, 1},
		{what_a_gone_worker_had_of_a_set_is_tainted, 1},
		{what_a_gone_worker_had_of_a_shared_device_is_detached_but_not_drained, 1},
		{a_bind_under_way_on_a_gone_worker_is_tainted, 1},
		{a_device_that_its_worker_does_not_know_is_lost, 1},
		{slices_of_a_shared_device_that_its_worker_does_not_know_are_lost, 2},
		{another_function_than_was_recorded_is_no_answer, 1},
		{a_worker_may_be_lost_in_a_recovery, 8},
		{the_worker_of_a_shared_device_may_be_lost_in_a_recovery, 1},
		{a_port_that_has_no_time_is_asked_again, 1}, {an_iommufd_is_known_again, 1}};
	Suite *suite = suite_create("broker, recovery of hardware");
	TCase *tc = tcase_create("hardware");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, recover_setup, recover_teardown);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i].test, 0, tests[i].count);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
