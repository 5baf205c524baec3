/* SPDX-License-Identifier: MIT */
/* Devices and bindings: who may have them, all or nothing, and what becomes of what cannot be
 * detached. */
#include "fixture.h"
#include "suite.h"

#include <errno.h>

#define SHARED 5

static struct fixture f;
static struct actor a, c;

static const struct set_id own = {0};

static void setup(void)
{
	fixture_config(&f);
	f.model.group_of[2] = f.model.group_of[1]; /* functions 1 and 2 are one group */
	f.model.width_of[8] = 8;
	f.model.width_of[9] = 0;
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 20);
}

static void teardown(void)
{
	fixture_leave(&f);
}

/* ------------------------------------------------------------------ death, F38, D */

START_TEST(death_detaches_everything_and_quarantines)
	{
		struct device_id devices[] = {
			fixture_add(&f, &a, 0, 10), fixture_add(&f, &a, 3, 10)};
		struct hpasid host = fixture_allocate(&f, &a), other = fixture_allocate(&f, &c);
		struct device_id slice, theirs;
		struct set_info info;

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &a, SHARED);
		theirs = fixture_slice(&f, &c, SHARED);
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &c, other, &theirs, 1), 0);
		broker_session_end(f.broker, 10);
		model_run(&f);
		fixture_recount(&f);
		ck_assert_uint_eq(model_entries(&f), 1);
		ck_assert(model_has(&f, SHARED, other.v));
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		ck_assert_int_eq(broker_set_get(f.broker, &c, own, &info, &f.error), 0);
		ck_assert_uint_eq(info.bindings, 1);
	}
END_TEST

START_TEST(death_while_an_operation_is_under_way)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct pasid_ref ref = {false, host.v};
		struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};
		struct outcome outcome;

		ck_assert_int_eq(broker_bind(f.broker, &a, own, ref, &pair, 1, 1, &f.error), 0);
		ck_assert_int_eq(broker_unbind(f.broker, &a, own, ref, NULL, 0, 2, &f.error), 0);
		broker_session_end(f.broker, 10);
		/* what waited is refused at once, what runs is waited for */
		ck_assert(broker_next_outcome(f.broker, &outcome));
		ck_assert_uint_eq(outcome.cookie, 2);
		ck_assert_uint_eq(outcome.error.reason, REASON_SET_DYING);
		model_run(&f);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
	}
END_TEST

/* F35 */
START_TEST(on_a_shared_device_time_alone_never_moves_a_number)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id slice = fixture_slice(&f, &a, SHARED);
		struct hpasid host = fixture_allocate(&f, &a), again;
		struct allocate exact = {.min = host.v, .max = host.v, .count = 1};
		uint32_t released;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		ck_assert_int_eq(
			broker_allocate(f.broker, &c, &exact, &again, &f.error), STATUS_EXHAUSTED);
		/* the set that had it may have it again, and bind it again */
		ck_assert_int_eq(broker_allocate(f.broker, &a, &exact, &again, &f.error), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		ck_assert_int_eq(broker_device_drained(f.broker, &a, shared, &released, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		ck_assert_uint_eq(released, 1);
		fixture_pass_second(&f);
		ck_assert_int_eq(broker_allocate(f.broker, &c, &exact, &again, &f.error), 0);
	}
END_TEST

START_TEST(undrained_numbers_outlive_their_set)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id slice = fixture_slice(&f, &a, SHARED);
		struct hpasid host = fixture_allocate(&f, &a);
		struct broker_status status;
		uint32_t released;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		broker_session_end(f.broker, 10);
		model_run(&f);
		fixture_pass_second(&f);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.pasids.current, 1);
		ck_assert_int_eq(
			broker_device_remove(f.broker, &f.admin, own, shared, 1, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_DEVICE_BUSY);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
		ck_assert_int_eq(
			broker_device_remove(f.broker, &f.admin, own, shared, 2, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
	}
END_TEST

START_TEST(what_death_cannot_detach_stays_until_it_is_proven)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct set_info info;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		model_arrange(&f, HW_CLOSE, STATUS_HARDWARE, 0, 1);
		broker_session_end(f.broker, 10);
		model_run(&f);
		fixture_pass_second(&f);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, a.set, &info, &f.error), 0);
		ck_assert(info.dying);
		/* the kernel binds the function anew: its last user is gone, and with it the entry
		 */
		(void)fixture_add(&f, &c, 0, 11);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, a.set, &info, &f.error),
			STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(a_lost_worker_taints_an_exclusive_device)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct grant_info info;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		model_lose_lane(&f, a.set.v);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_assert_int_eq(
			broker_host_find(f.broker, &a, (struct set_id){0}, host, &info, &f.error),
			0);
		ck_assert_uint_eq(info.quarantine, QUARANTINE_TAINTED);
		ck_assert_int_eq(
			fixture_bind(&f, &a, fixture_allocate(&f, &a), &device, 1), STATUS_STATE);
	}
END_TEST

START_TEST(a_lost_worker_closes_a_shared_device)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id slice = fixture_slice(&f, &a, SHARED);
		struct hpasid host = fixture_allocate(&f, &a);
		struct grant_info info;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		model_lose_lane(&f, UINT64_C(1) << 63 | shared.v);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_assert_int_eq(
			broker_host_find(f.broker, &a, (struct set_id){0}, host, &info, &f.error),
			0);
		ck_assert_uint_eq(info.quarantine, QUARANTINE_UNDRAINED);
	}
END_TEST

START_TEST(a_worker_lost_in_the_middle_fails_the_bind)
	{
		struct device_id slice, device = fixture_add(&f, &a, 0, 10);
		struct device_id shared = fixture_share(&f, SHARED);
		struct hpasid host = fixture_allocate(&f, &a);
		struct bind_pair pairs[2] = {
			{{0}, {.kind = HW_TABLE_SPACE}}, {device, {.kind = HW_TABLE_SPACE}}};
		struct outcome outcome;

		slice = fixture_slice(&f, &a, SHARED);
		pairs[0].device = slice;
		ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, host.v},
					 pairs, 2, 1, &f.error),
			0);
		ck_assert(model_step(&f, 0)); /* the slice is bound */
		model_lose_lane(&f, UINT64_C(1) << 63 | shared.v);
		outcome = fixture_outcome(&f, 1);
		ck_assert_uint_eq(outcome.error.reason, REASON_WORKER_LOST);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

/* It starts with the death of the first worker, and that of the second one is its answer. */
START_TEST(a_bind_that_waited_fails_when_the_next_worker_dies_too)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};
		struct memory memory = {.device = device, .length = 4096};

		ck_assert_int_eq(broker_memory_map(f.broker, &a, &memory, 90, 1, &f.error), 0);
		ck_assert_int_eq(
			broker_bind(f.broker, &a, own, (struct pasid_ref){.number = host.v}, &pair,
				1, 2, &f.error),
			0);
		model_lose_lane(&f, a.set.v);
		model_lose_lane(&f, a.set.v);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_WORKER_LOST);
		ck_assert_uint_eq(fixture_outcome(&f, 2).error.reason, REASON_WORKER_LOST);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

/* It was sent to the next worker, which knows of no device: that is no reason to tell. */
START_TEST(an_unbind_of_what_was_lost_says_so)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id slice = fixture_slice(&f, &a, SHARED);
		struct device_id both[2] = {slice, fixture_add(&f, &a, 0, 10)};
		struct hpasid host = fixture_allocate(&f, &a);
		struct pasid_ref ref = {false, host.v};

		ck_assert_int_eq(fixture_bind(&f, &a, host, both, 2), 0);
		ck_assert_int_eq(broker_unbind(f.broker, &a, own, ref, &slice, 1, 1, &f.error), 0);
		ck_assert_int_eq(broker_unbind(f.broker, &a, own, ref, both, 2, 2, &f.error), 0);
		model_arrange(&f, HW_DETACH, -EPIPE, 0, 1);
		ck_assert(model_step(&f, 0));
		broker_lane_lost(f.broker, UINT64_C(1) << 63 | shared.v);
		model_arrange(&f, HW_DETACH, STATUS_NOT_FOUND, 0, 1);
		ck_assert_uint_eq(fixture_outcome(&f, 2).error.reason, REASON_WORKER_LOST);
		ck_assert(!model_has(&f, 0, host.v));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {death_detaches_everything_and_quarantines,
		death_while_an_operation_is_under_way,
		on_a_shared_device_time_alone_never_moves_a_number,
		undrained_numbers_outlive_their_set,
		what_death_cannot_detach_stays_until_it_is_proven,
		a_lost_worker_taints_an_exclusive_device, a_lost_worker_closes_a_shared_device,
		a_worker_lost_in_the_middle_fails_the_bind, an_unbind_of_what_was_lost_says_so,
		a_bind_that_waited_fails_when_the_next_worker_dies_too};

	return suite_run(
		"broker, death", "death and reuse", tests, ARRAY_SIZE(tests), setup, teardown);
}
