/* SPDX-License-Identifier: MIT */
/* Functions that are registered, shared and given up while something of them fails or is lost. */
#include "broker_private.h"
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
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 20);
}

static void teardown(void)
{
	fixture_leave(&f);
}

/* What is on its way to hardware is not taken now. */
static void refuse_what_waits(void)
{
	f.model.submit_status = -EAGAIN;
	broker_flush(f.broker);
	f.model.submit_status = 0;
}

static unsigned devices_in_list(void)
{
	struct device_info info;
	uint64_t cursor = 0;
	unsigned count = 0;

	while (broker_device_next(f.broker, &f.admin, own, &cursor, &info))
		count++;
	return count;
}

static enum device_state state_of(struct device_id device)
{
	struct device_info info;

	if (broker_device_get(f.broker, &f.admin, device, &info, &f.error))
		return DEVICE_FREE;
	return info.state;
}

static int add_status(const struct actor *actor, uint32_t rid, int iommufd)
{
	int fds[] = {iommufd, MODEL_DEVICE_FD(rid)};
	struct outcome outcome;

	ck_assert_int_eq(broker_device_add(f.broker, actor, own, fds, 2, NULL, 1, &f.error), 0);
	outcome = fixture_outcome(&f, 1);
	f.error = outcome.error;
	return outcome.status;
}

/* ------------------------------------------------------------------ registered */

START_TEST(a_function_is_in_no_list_before_its_registration_is_done)
	{
		const int fds[] = {10, MODEL_DEVICE_FD(1)};

		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, fds, 2, NULL, 1, &f.error), 0);
		ck_assert_uint_eq(devices_in_list(), 0);
		ck_assert(model_step(&f, 0));
		ck_assert_uint_eq(devices_in_list(), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_uint_eq(devices_in_list(), 1);
	}
END_TEST

START_TEST(an_admin_opens_a_function_for_a_set_whatever_the_policy_says)
	{
		const struct rid rid = {1};
		const int fd = 10;

		f.policy.any_device = false;
		ck_assert_int_eq(broker_device_add(f.broker, &a, own, &fd, 1, &rid, 1, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(
			broker_device_add(f.broker, &f.admin, a.set, &fd, 1, &rid, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_uint_eq(devices_in_list(), 1);
	}
END_TEST

START_TEST(an_admin_removes_a_function_of_the_set_that_it_names)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);

		ck_assert_int_eq(
			broker_device_remove(f.broker, &f.admin, c.set, device, 1, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(
			broker_device_remove(f.broker, &f.admin, a.set, device, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(state_of(device), DEVICE_FREE);
	}
END_TEST

START_TEST(a_function_that_opens_heals_no_other_that_is_open)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), STATUS_HARDWARE);
		(void)fixture_add(&f, &a, 2, 10);
		ck_assert_int_eq(state_of(device), DEVICE_TAINTED);
	}
END_TEST

START_TEST(a_function_whose_removal_was_not_answered_is_nobody_elses)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);

		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 2, &f.error), 0);
		refuse_what_waits();
		model_lose_lane(&f, a.set.v);
		ck_assert_int_eq(add_status(&c, 1, 11), STATUS_EXISTS);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_TAKEN);
		fixture_pass_second(&f);
		ck_assert_int_ne(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(add_status(&c, 1, 11), 0);
	}
END_TEST

/* ------------------------------------------------------------------ shared */

static struct outcome share(enum hw_kind fails, int status)
{
	ck_assert_int_eq(
		broker_device_share(f.broker, &f.admin, (struct rid){SHARED}, 1, &f.error), 0);
	model_arrange(&f, fails, status, 0, 1);
	return fixture_outcome(&f, 1);
}

START_TEST(a_sharing_that_fails_leaves_nothing_at_any_step)
	{
		static const enum hw_kind steps[] = {HW_IDENTIFY, HW_OPEN};

		for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
			ck_assert_uint_eq(share(steps[i], STATUS_HARDWARE).error.reason,
				REASON_KERNEL_REFUSED);
			ck_assert_uint_eq(devices_in_list(), 0);
			fixture_recount(&f);
		}
		(void)fixture_share(&f, SHARED);
	}
END_TEST

START_TEST(a_failure_without_a_reason_is_a_lost_worker)
	{
		struct hw_result result = {.status = -EPIPE};
		struct outcome outcome;

		ck_assert_int_eq(
			broker_device_share(f.broker, &f.admin, (struct rid){SHARED}, 1, &f.error),
			0);
		broker_flush(f.broker);
		result.id = model_take(&f.model, 0).id;
		broker_complete(f.broker, &result);
		outcome = fixture_outcome(&f, 1);
		ck_assert_uint_eq(outcome.error.reason, REASON_WORKER_LOST);
		ck_assert_int_eq(outcome.status, (int)reason_status(REASON_WORKER_LOST));
	}
END_TEST

/* ------------------------------------------------------------------ not taken, and asked again */

/* How many operations of that kind hardware got with the next tick. */
static unsigned taken_with_the_next_tick(enum hw_kind kind)
{
	unsigned count = 0;

	fixture_pass_second(&f);
	broker_flush(f.broker);
	for (unsigned i = 0; i < f.model.count; i++)
		count += f.model.ops[i].kind == kind;
	return count;
}

START_TEST(closes_that_are_not_taken_are_asked_for_again)
	{
		struct device_id devices[] = {
			fixture_add(&f, &a, 1, 10), fixture_add(&f, &c, 2, 11)};
		const struct actor *actors[] = {&a, &c};
		uint64_t at;

		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(broker_device_remove(
						 f.broker, actors[i], own, devices[i], 1, &f.error),
				0);
		refuse_what_waits();
		at = broker_next_tick(f.broker);
		ck_assert_uint_eq(at, f.now_ms + BROKER_RETRY_MS);
		/* not before its time */
		f.now_ms = at - 1;
		broker_tick(f.broker);
		broker_flush(f.broker);
		ck_assert_uint_eq(f.model.count, 0);
		ck_assert_uint_eq(broker_next_tick(f.broker), at);
		ck_assert_uint_eq(taken_with_the_next_tick(HW_CLOSE), 2);
		model_run(&f);
		ck_assert_uint_eq(devices_in_list(), 0);
	}
END_TEST

START_TEST(a_leave_that_is_not_taken_is_asked_for_again)
	{
		struct device_id slice;

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &a, SHARED);
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, slice, 1, &f.error), 0);
		refuse_what_waits();
		ck_assert_uint_eq(taken_with_the_next_tick(HW_LEAVE), 1);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	}
END_TEST

START_TEST(the_end_of_a_lane_that_is_not_taken_is_asked_for_again)
	{
		ck_assert_int_eq(
			broker_device_share(f.broker, &f.admin, (struct rid){SHARED}, 1, &f.error),
			0);
		model_arrange(&f, HW_IDENTIFY, STATUS_HARDWARE, 0, 1);
		ck_assert(model_step(&f, 0));
		refuse_what_waits();
		ck_assert_uint_eq(taken_with_the_next_tick(HW_END), 1);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, STATUS_HARDWARE);
	}
END_TEST

/* What waits, and what is under way elsewhere, goes on when a worker is lost. */
START_TEST(a_lost_worker_stops_only_what_it_had)
	{
		struct device_id slice, device = fixture_add(&f, &a, 1, 10);
		struct device_id shared = fixture_share(&f, SHARED);
		struct memory memory = {.length = 4096};
		struct hpasid hosts[2];

		slice = memory.device = fixture_slice(&f, &a, SHARED);
		for (int i = 0; i < 2; i++)
			hosts[i] = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, hosts[0], &device, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, hosts[1], &slice, 1), 0);
		f.model.hung_lane = BROKER_SHARED_LANE | shared.v;
		ck_assert_int_eq(broker_memory_unmap(f.broker, &a, &memory, 1, &f.error), 0);
		ck_assert_int_eq(
			broker_unbind(f.broker, &a, own, (struct pasid_ref){.number = hosts[1].v},
				&slice, 1, 2, &f.error),
			0);
		model_lose_lane(&f, a.set.v);
		f.model.hung_lane = 0;
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(state_of(slice), DEVICE_READY);
		ck_assert_int_eq(state_of(device), DEVICE_TAINTED);
	}
END_TEST

/* ------------------------------------------------------------------ who may ask for what */

START_TEST(what_an_observer_may_not_change_stays)
	{
		struct memory memory = {.set = a.set, .length = 4096};
		struct pasid_ref ref = {.number = fixture_allocate(&f, &a).v};
		uint64_t before;

		before = broker_change_sequence(f.broker);
		memory.device = fixture_add(&f, &a, 1, 10);
		ck_assert_int_eq(broker_memory_map(f.broker, &f.observer, &memory, 3, 1, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(broker_data_set(f.broker, &f.observer, a.set, ref, 7, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(broker_guest_detach(f.broker, &f.observer, a.set,
					 (struct gpasid){7}, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(broker_guest_attach(f.broker, &f.observer, a.set,
					 (struct hpasid){ref.number}, (struct gpasid){7}, &f.error),
			STATUS_DENIED);
		ck_assert_uint_eq(broker_change_sequence(f.broker), before + 1); /* the device */
	}
END_TEST

START_TEST(private_data_is_for_a_number_of_the_sets)
	{
		struct pasid_ref foreign = {.number = fixture_allocate(&f, &c).v};

		ck_assert_int_eq(
			broker_data_set(f.broker, &a, own, foreign, 7, &f.error), STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(a_foreign_device_is_attached_to_no_rid)
	{
		struct bind_pair pair = {fixture_add(&f, &c, 1, 11), {.kind = HW_TABLE_SPACE}};

		ck_assert_int_eq(
			broker_rid_attach(f.broker, &a, own, &pair, 1, &f.error), STATUS_NOT_FOUND);
		ck_assert(!model_has(&f, 1, 0));
		fixture_recount(&f);
	}
END_TEST

/* A nested table and the one that it stands on are two, whatever their numbers. */
START_TEST(a_guests_table_and_its_parent_are_charged_apart)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct bind_pair pair = {device, {.kind = HW_TABLE_IOAS, .id = 7}};
		struct limit_info info;
		uint64_t cursor = 0;

		for (int i = 0; i < 2; i++) {
			struct hpasid host = fixture_allocate(&f, &a);

			ck_assert_int_eq(
				broker_bind(f.broker, &a, own, (struct pasid_ref){.number = host.v},
					&pair, 1, 1, &f.error),
				0);
			ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
			pair.table = (struct hw_table){
				.kind = HW_TABLE_VTD_S1, .parent_kind = HW_TABLE_IOAS, .id = 7};
		}
		while (broker_limit_next(f.broker, &a, own, &cursor, &info)) {
			if (info.resource == RESOURCE_PAGE_TABLES)
				ck_assert_uint_eq(info.account.current, 3);
		}
	}
END_TEST

/* ------------------------------------------------------------------ ends that are taken over */

START_TEST(a_destruction_takes_over_an_emptying_behind_what_is_under_way)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct memory memory = {.device = device, .length = 4096};

		for (int i = 0; i < 2; i++) {
			f.model.hung_lane = a.set.v;
			ck_assert_int_eq(
				broker_memory_unmap(f.broker, &a, &memory, 1, &f.error), 0);
			broker_set_empty(f.broker, a.set);
			/* a VMM of its own set, an admin by name */
			ck_assert_int_eq(broker_set_destroy(f.broker, i ? &f.admin : &a,
						 i ? a.set : own, true, 2, &f.error),
				0);
			f.model.hung_lane = 0;
			ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
			ck_assert(!broker_set_lives(f.broker, a.set));
			a = fixture_vmm(&f, 20, "a", SET_TRANSLATED, 20);
			memory.device = fixture_add(&f, &a, 1, 10);
		}
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_function_is_in_no_list_before_its_registration_is_done,
		an_admin_opens_a_function_for_a_set_whatever_the_policy_says,
		an_admin_removes_a_function_of_the_set_that_it_names,
		a_function_that_opens_heals_no_other_that_is_open,
		a_function_whose_removal_was_not_answered_is_nobody_elses,
		a_sharing_that_fails_leaves_nothing_at_any_step,
		a_failure_without_a_reason_is_a_lost_worker,
		closes_that_are_not_taken_are_asked_for_again,
		a_leave_that_is_not_taken_is_asked_for_again,
		the_end_of_a_lane_that_is_not_taken_is_asked_for_again,
		a_lost_worker_stops_only_what_it_had,
		what_an_observer_may_not_change_stays,
		private_data_is_for_a_number_of_the_sets,
		a_foreign_device_is_attached_to_no_rid,
		a_guests_table_and_its_parent_are_charged_apart,
		a_destruction_takes_over_an_emptying_behind_what_is_under_way,
	};

	return suite_run("broker, functions and who asks", "functions", tests, ARRAY_SIZE(tests),
		setup, teardown);
}
