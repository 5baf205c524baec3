/* SPDX-License-Identifier: MIT */
/* Operations that wait, run or are given up while what they name goes away under them. */
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
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 20);
}

static void teardown(void)
{
	f.model.hung_lane = 0;
	f.model.submit_status = 0;
	model_run(&f);
	broker_tick(f.broker);
	model_run(&f);
	fixture_recount(&f);
	fixture_close(&f);
}

/* How often this was told of the device. */
static unsigned told(enum change_kind kind, struct device_id device)
{
	struct change change;
	unsigned count = 0;

	for (uint64_t from = 1; broker_change_get(f.broker, from, &change);
		from = change.sequence + 1)
		count += change.kind == kind && change.device == device.v;
	return count;
}

static uint64_t lane_of(struct device_id shared)
{
	return UINT64_C(1) << 63 | shared.v;
}

static void start_bind(struct hpasid host, struct device_id device, uint64_t cookie)
{
	struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};

	ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, host.v}, &pair, 1,
				 cookie, &f.error),
		0);
}

static void start_unbind(struct hpasid host, uint64_t cookie)
{
	ck_assert_int_eq(broker_unbind(f.broker, &a, own, (struct pasid_ref){false, host.v}, NULL,
				 0, cookie, &f.error),
		0);
}

/* A number whose detach failed. */
static struct hpasid tainted_number(struct device_id device)
{
	struct hpasid host = fixture_allocate(&f, &a);

	ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
	model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
	ck_assert_int_eq(fixture_unbind(&f, &a, host), STATUS_HARDWARE);
	return host;
}

static void start_remove(const struct actor *actor, struct device_id device, uint64_t cookie)
{
	ck_assert_int_eq(broker_device_remove(f.broker, actor, own, device, cookie, &f.error), 0);
}

static enum device_state state_of(struct device_id device)
{
	struct device_info info;

	if (broker_device_get(f.broker, &f.admin, device, &info, &f.error))
		return DEVICE_FREE;
	return info.state;
}

/* ------------------------------------------------------------------ names outlive slots: O */

/*
 * A bind on a slice hangs; behind it, for the same number, a bind on `device` waits, and behind
 * that the map and the removal of `device`. Meanwhile an earlier removal takes the device away.
 */
static void queue_behind_a_hang(struct device_id device, struct hpasid host)
{
	struct memory memory = {.device = device, .length = 4096};
	struct device_id shared = fixture_share(&f, SHARED);

	f.model.hung_lane = lane_of(shared);
	start_bind(host, fixture_slice(&f, &a, SHARED), 1);
	start_remove(&a, device, 2);
	start_bind(host, device, 3);
	ck_assert_int_eq(broker_memory_unmap(f.broker, &a, &memory, 4, &f.error), 0);
	start_remove(&a, device, 5);
	ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
}

START_TEST(a_waiting_operation_never_reaches_another_sets_device_in_the_same_place)
	{
		struct device_id theirs, device = fixture_add(&f, &a, 0, 10);

		queue_behind_a_hang(device, fixture_allocate(&f, &a));
		theirs = fixture_add(&f, &c, 7, 11);
		ck_assert_uint_eq(theirs.v & 0xffffff, device.v & 0xffffff);
		f.model.hung_lane = 0;
		ck_assert_uint_eq(fixture_outcome(&f, 5).error.reason, REASON_NO_DEVICE);
		ck_assert_int_eq(state_of(theirs), DEVICE_READY);
	}
END_TEST

START_TEST(a_waiting_operation_never_reaches_the_next_device_in_the_same_place)
	{
		struct device_id next, device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct outcome outcome;

		queue_behind_a_hang(device, host);
		next = fixture_add(&f, &a, 7, 10);
		ck_assert_uint_eq(next.v & 0xffffff, device.v & 0xffffff);
		f.model.hung_lane = 0;
		model_run(&f);
		while (broker_next_outcome(f.broker, &outcome))
			ck_assert_int_eq(outcome.status == 0, outcome.cookie == 1);
		ck_assert(!model_has(&f, 7, host.v));
		ck_assert_int_eq(state_of(next), DEVICE_READY);
	}
END_TEST

/* ------------------------------------------------------------------ one binding, two operations: D
 */

START_TEST(trap_06_a_rid_is_detached_once_when_asked_through_both_functions_of_a_group)
	{
		struct device_id one = fixture_add(&f, &a, 1, 10), two = fixture_add(&f, &a, 2, 10);
		struct bind_pair pair = {one, {.kind = HW_TABLE_SPACE}};

		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, one, 2, &f.error), 0);
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, two, 3, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 3).error.reason, REASON_BUSY);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

START_TEST(trap_06_a_rid_is_not_detached_through_a_neighbour_while_it_is_attached)
	{
		struct device_id one = fixture_add(&f, &a, 1, 10), two = fixture_add(&f, &a, 2, 10);
		struct bind_pair pair = {one, {.kind = HW_TABLE_SPACE}};

		model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, 0, 1);
		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 1, &f.error), 0);
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, two, 2, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 2).error.reason, REASON_BUSY);
		model_run(&f);
		ck_assert_int_eq(state_of(one), DEVICE_READY);
	}
END_TEST

START_TEST(an_unbind_waits_for_a_running_removal_which_detaches)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = tainted_number(device);

		start_remove(&a, device, 1);
		start_unbind(host, 2);
		ck_assert_uint_eq(fixture_outcome(&f, 2).error.reason, REASON_NOT_BOUND);
		ck_assert_int_eq(state_of(device), DEVICE_FREE);
	}
END_TEST

START_TEST(an_unbind_leaves_alone_what_the_removal_of_a_shared_device_detaches)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id slice = fixture_slice(&f, &a, SHARED);
		struct hpasid host = tainted_number(slice);

		start_remove(&a, slice, 1);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		start_remove(&f.admin, shared, 2);
		start_unbind(host, 3);
		ck_assert_uint_eq(fixture_outcome(&f, 3).error.reason, REASON_DEVICE_GOING);
	}
END_TEST

START_TEST(an_unbind_of_what_a_lost_worker_held_is_refused_before_the_function_heals)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		model_lose_lane(&f, a.set.v);
		f.model.hung_lane = a.set.v;
		start_unbind(host, 1);
		(void)fixture_add(&f, &c, 0, 11);
		broker_flush(f.broker);
		ck_assert_uint_eq(f.model.count, 0);
		fixture_recount(&f);
	}
END_TEST

START_TEST(an_unbind_detaches_the_rest_when_one_device_is_lost)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct device_id slice;
		struct hpasid host = fixture_allocate(&f, &a);

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &a, SHARED);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		model_lose_lane(&f, a.set.v);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), STATUS_STATE);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_TAINTED);
		ck_assert(!model_has(&f, SHARED, host.v));
	}
END_TEST

START_TEST(a_tainted_number_stays_in_quarantine_while_it_is_detached_again)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid again, host = tainted_number(device);
		struct allocate exact = {.min = host.v, .max = host.v, .count = 1};

		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		start_unbind(host, 1);
		/* neither an admin's word nor time: the detach has not been proven */
		ck_assert_int_eq(broker_quarantine_end(
					 f.broker, &f.admin, (struct set_id){0}, host, &f.error),
			STATUS_STATE);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_TAINTED);
		fixture_pass_second(&f);
		ck_assert_int_eq(
			broker_allocate(f.broker, &a, &exact, &again, &f.error), STATUS_EXHAUSTED);
		fixture_recount(&f);
		ck_assert(model_has(&f, 0, host.v));
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
	}
END_TEST

/* ------------------------------------------------------------------ the end of a set */

START_TEST(nothing_that_waited_starts_in_a_set_that_is_being_destroyed)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct device_id shared = fixture_share(&f, SHARED);
		struct outcome outcome;

		f.model.hung_lane = lane_of(shared);
		start_bind(host, fixture_slice(&f, &a, SHARED), 1);
		start_bind(host, device, 2); /* waits for the number */
		start_remove(&a, device, 3); /* waits for the bind before it alone */
		broker_session_end(f.broker, 10);
		broker_flush(f.broker);
		ck_assert_uint_eq(f.model.count, 1);
		for (uint64_t cookie = 2; cookie <= 3; cookie++) {
			ck_assert(broker_next_outcome(f.broker, &outcome));
			ck_assert_uint_eq(outcome.cookie, cookie);
			ck_assert_uint_eq(outcome.error.reason, REASON_SET_DYING);
		}
	}
END_TEST

START_TEST(a_shared_device_that_hangs_does_not_keep_an_exclusive_one_open)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct device_id slice, shared = fixture_share(&f, SHARED);
		struct hpasid host = fixture_allocate(&f, &a);

		slice = fixture_slice(&f, &a, SHARED);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		f.model.hung_lane = lane_of(shared);
		broker_session_end(f.broker, 10);
		model_run(&f);
		ck_assert(!model_has(&f, 0, host.v));
		ck_assert(model_has(&f, SHARED, host.v));
	}
END_TEST

START_TEST(whoever_watches_learns_of_every_device_that_goes)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct device_id lost = fixture_add(&f, &c, 3, 11);

		(void)tainted_number(device);
		start_remove(&a, device, 1);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_uint_eq(told(CHANGE_BINDING_UNBOUND, device), 1);
		ck_assert_uint_eq(told(CHANGE_DEVICE_REMOVED, device), 1);
		model_lose_lane(&f, c.set.v);
		broker_session_end(f.broker, 11);
		model_run(&f);
		ck_assert_uint_eq(told(CHANGE_DEVICE_REMOVED, lost), 1);
	}
END_TEST

START_TEST(traffic_of_others_does_not_put_off_what_must_be_done)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		f.model.submit_status = -EAGAIN;
		broker_session_end(f.broker, 10);
		f.model.submit_status = 0;
		/* whoever asks for the time, at every request, is told the same */
		for (unsigned i = 0; i < 10; i++) {
			uint64_t at = broker_next_tick(f.broker);

			if (at <= f.now_ms)
				broker_tick(f.broker);
			f.now_ms += 30;
		}
		model_run(&f);
		ck_assert(!model_has(&f, 0, host.v));
	}
END_TEST

/* ------------------------------------------------------------------ lost while it is removed */

/* The removal is asked for when the worker is gone already, which nobody has noticed. */
static void remove_as_the_worker_dies(struct device_id device, uint64_t lane)
{
	f.model.submit_status = -EPIPE;
	start_remove(&a, device, 1);
	f.model.submit_status = 0;
	model_lose_lane(&f, lane);
	fixture_pass_second(&f);
	ck_assert_int_ne(fixture_outcome(&f, 1).status, 0);
	ck_assert_int_eq(state_of(device), DEVICE_TAINTED);
}

START_TEST(a_device_that_is_lost_while_it_is_removed_can_be_removed_and_added_again)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);

		remove_as_the_worker_dies(device, a.set.v);
		start_remove(&a, device, 2);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		(void)fixture_add(&f, &c, 0, 11);
	}
END_TEST

START_TEST(a_slice_that_is_lost_while_it_is_removed_is_not_ready_again)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id slice = fixture_slice(&f, &a, SHARED);

		remove_as_the_worker_dies(slice, lane_of(shared));
		start_remove(&a, slice, 2);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		start_remove(&f.admin, shared, 3);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
	}
END_TEST

START_TEST(a_slice_that_failed_to_detach_is_not_ready_again_because_its_removal_fails)
	{
		struct device_id slice;

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &a, SHARED);
		(void)tainted_number(slice);
		model_arrange(&f, HW_LEAVE, STATUS_BUSY, 0, 1);
		start_remove(&a, slice, 1);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, STATUS_BUSY);
		ck_assert_int_eq(state_of(slice), DEVICE_TAINTED);
	}
END_TEST

/* ------------------------------------------------------------------ a function that comes back */

START_TEST(sharing_a_lost_device_again_does_not_prove_that_it_is_drained)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id slice = fixture_slice(&f, &a, SHARED);
		struct hpasid host = fixture_allocate(&f, &a), again;
		struct allocate exact = {.min = host.v, .max = host.v, .count = 1};
		uint32_t released;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		model_lose_lane(&f, lane_of(shared));
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		(void)fixture_share(&f, SHARED);
		fixture_pass_second(&f);
		ck_assert_int_eq(
			broker_allocate(f.broker, &c, &exact, &again, &f.error), STATUS_EXHAUSTED);
		/* its own set may have it again, on its slice of the new registration */
		ck_assert_int_eq(state_of(slice), DEVICE_FREE);
		slice = fixture_slice(&f, &a, SHARED);
		ck_assert_int_eq(broker_allocate(f.broker, &a, &exact, &again, &f.error), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		ck_assert_uint_eq(released, 0); /* it is the new one's now */
		start_remove(&f.admin, shared, 1);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	}
END_TEST

START_TEST(an_undrained_number_is_not_bound_on_the_function_that_was_shared)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id device, slice = fixture_slice(&f, &a, SHARED);
		struct hpasid host = fixture_allocate(&f, &a);
		uint32_t released;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		model_lose_lane(&f, lane_of(shared));
		device = fixture_add(&f, &a, SHARED, 10);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), STATUS_BUSY);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_BUSY);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
	}
END_TEST

START_TEST(a_slice_that_is_being_given_up_keeps_its_shared_device)
	{
		struct device_id shared = fixture_share(&f, SHARED);
		struct device_id slice = fixture_slice(&f, &a, SHARED);

		f.model.submit_status = -EPIPE;
		start_remove(&a, slice, 1);
		broker_flush(f.broker);
		f.model.submit_status = 0;
		model_lose_lane(&f, lane_of(shared));
		(void)fixture_share(&f, SHARED);
		ck_assert_int_eq(state_of(shared), DEVICE_TAINTED);
		fixture_pass_second(&f);
		ck_assert_int_ne(fixture_outcome(&f, 1).status, 0);
		start_remove(&a, slice, 2);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		start_remove(&f.admin, shared, 3);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
	}
END_TEST

/* Two functions of one group, each with a number, whose worker is lost. */
static void lose_a_group(struct hpasid numbers[2])
{
	for (uint32_t i = 0; i < 2; i++) {
		struct device_id device = fixture_add(&f, &a, 1 + i, 10);

		numbers[i] = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, numbers[i], &device, 1), 0);
	}
	model_lose_lane(&f, a.set.v);
}

START_TEST(trap_06_a_lost_group_comes_back_one_function_after_the_other)
	{
		struct hpasid numbers[2];
		struct grant_info info;

		lose_a_group(numbers);
		/* the VMM, too, has begun anew */
		(void)fixture_add(&f, &a, 1, 12);
		ck_assert_int_eq(broker_host_find(f.broker, &a, (struct set_id){0}, numbers[0],
					 &info, &f.error),
			0);
		ck_assert_uint_eq(info.bindings, 0);
		ck_assert_int_eq(broker_host_find(f.broker, &a, (struct set_id){0}, numbers[1],
					 &info, &f.error),
			0);
		ck_assert_uint_eq(info.bindings, 1);
		(void)fixture_add(&f, &a, 2, 12);
		ck_assert_int_eq(broker_host_find(f.broker, &a, (struct set_id){0}, numbers[1],
					 &info, &f.error),
			0);
		ck_assert_uint_eq(info.bindings, 0);
	}
END_TEST

START_TEST(trap_06_the_group_of_a_dead_set_can_be_had_by_another)
	{
		struct hpasid numbers[2];

		lose_a_group(numbers);
		broker_session_end(f.broker, 10);
		model_run(&f);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, numbers[0]), GRANT_QUARANTINED);
		(void)fixture_add(&f, &c, 1, 11);
		ck_assert_int_eq(fixture_state(&f, numbers[0]), GRANT_IDLE);
		ck_assert_int_eq(fixture_state(&f, numbers[1]), GRANT_QUARANTINED);
		(void)fixture_add(&f, &c, 2, 11);
		ck_assert_int_eq(fixture_state(&f, numbers[1]), GRANT_IDLE);
	}
END_TEST

/* ------------------------------------------------------------------ what a worker says */

START_TEST(a_width_beyond_all_pasids_is_as_good_as_all_of_them)
	{
		struct device_id device;
		struct allocate allocate = {
			.max = PASID_LAST, .count = 1, .devices = &device, .device_count = 1};
		struct device_info info;
		struct hpasid host;

		f.model.width_of[7] = 32;
		device = fixture_add(&f, &a, 7, 10);
		f.model.width_of[7] = 20;
		ck_assert_int_eq(broker_device_get(f.broker, &a, device, &info, &f.error), 0);
		ck_assert_uint_eq(info.hw.pasid_width, PASID_BITS);
		ck_assert_int_eq(broker_allocate(f.broker, &a, &allocate, &host, &f.error), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
	}
END_TEST

START_TEST(a_shared_device_that_is_being_registered_is_not_removed_under_that)
	{
		/* names are in order, so that of the next device can be guessed */
		struct device_id shared = fixture_share(&f, SHARED), next;

		start_remove(&f.admin, shared, 1);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		next.v = shared.v + (UINT64_C(1) << 24);
		ck_assert_int_eq(
			broker_device_share(f.broker, &f.admin, (struct rid){SHARED}, 2, &f.error),
			0);
		start_remove(&f.admin, next, 3);
		ck_assert_uint_eq(fixture_outcome(&f, 3).error.reason, REASON_BUSY);
		ck_assert_int_eq(state_of(next), DEVICE_READY);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_waiting_operation_never_reaches_another_sets_device_in_the_same_place,
		a_waiting_operation_never_reaches_the_next_device_in_the_same_place,
		trap_06_a_rid_is_detached_once_when_asked_through_both_functions_of_a_group,
		trap_06_a_rid_is_not_detached_through_a_neighbour_while_it_is_attached,
		an_unbind_waits_for_a_running_removal_which_detaches,
		an_unbind_leaves_alone_what_the_removal_of_a_shared_device_detaches,
		an_unbind_of_what_a_lost_worker_held_is_refused_before_the_function_heals,
		an_unbind_detaches_the_rest_when_one_device_is_lost,
		a_tainted_number_stays_in_quarantine_while_it_is_detached_again,
		nothing_that_waited_starts_in_a_set_that_is_being_destroyed,
		traffic_of_others_does_not_put_off_what_must_be_done,
		a_device_that_is_lost_while_it_is_removed_can_be_removed_and_added_again,
		a_slice_that_is_lost_while_it_is_removed_is_not_ready_again,
		a_slice_that_failed_to_detach_is_not_ready_again_because_its_removal_fails,
		sharing_a_lost_device_again_does_not_prove_that_it_is_drained,
		an_undrained_number_is_not_bound_on_the_function_that_was_shared,
		a_slice_that_is_being_given_up_keeps_its_shared_device,
		trap_06_a_lost_group_comes_back_one_function_after_the_other,
		trap_06_the_group_of_a_dead_set_can_be_had_by_another,
		a_shared_device_that_hangs_does_not_keep_an_exclusive_one_open,
		whoever_watches_learns_of_every_device_that_goes,
		a_width_beyond_all_pasids_is_as_good_as_all_of_them,
		a_shared_device_that_is_being_registered_is_not_removed_under_that,
	};

	return suite_run("broker, what goes away in the middle", "lifetimes", tests,
		ARRAY_SIZE(tests), setup, teardown);
}
