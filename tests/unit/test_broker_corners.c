/* SPDX-License-Identifier: MIT */
/* What seldom happens: rare refusals, lists beside others, and what was tried in vain before. */
#include "broker_private.h"
#include "recover_rig.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

#define SHARED 5
#define FAR    70000u /* a number behind all others */

static struct actor a, c;
static const struct set_id own = {0};

static void setup(void)
{
	recover_setup();
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 2);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
}

static void ck_refused(int r, enum reason reason)
{
	ck_assert_int_eq(r, reason_status(reason));
	ck_assert_uint_eq(f.error.reason, reason);
	fixture_recount(&f);
}

static int allocate_in(const struct actor *actor, uint32_t min, uint32_t max, struct hpasid *ret)
{
	const struct allocate allocate = {.min = min, .max = max, .count = 1};

	return broker_allocate(f.broker, actor, &allocate, ret, &f.error);
}

/* ------------------------------------------------------------------ refusals */

START_TEST(zero_is_no_number_of_a_set)
	{
		const struct pasid_ref zero = {0};

		ck_refused(
			broker_data_set(f.broker, &a, own, zero, 7, &f.error), REASON_PASID_ZERO);
	}
END_TEST

START_TEST(what_has_more_than_20_bits_is_no_number)
	{
		const struct pasid_ref beyond = {.number = PASID_LAST + 1};

		ck_refused(
			broker_data_set(f.broker, &a, own, beyond, 7, &f.error), REASON_BAD_RANGE);
		ck_assert_uint_eq(f.error.limit, PASID_LAST);
	}
END_TEST

START_TEST(a_vmm_has_a_quota_that_the_configuration_lets_it_have)
	{
		struct set_create create = {.name = "large",
			.mode = SET_TRANSLATED,
			.has_quota = true,
			.quota = f.config.set_quota_max + 1};
		const struct actor vmm = {ROLE_VMM, 12, {0}, &f.peer};
		struct set_id set;

		ck_refused(
			broker_set_create(f.broker, &vmm, &create, &set, &f.error), REASON_LIMIT);
		ck_assert_uint_eq(f.error.limit, f.config.set_quota_max);
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &set, &f.error), 0);
	}
END_TEST

START_TEST(a_guest_number_of_anothers_set_is_not_looked_up)
	{
		struct hpasid host = {77};

		(void)fixture_allocate_guest(&f, &c, 5);
		ck_refused(
			broker_guest_find(f.broker, &a, c.set, (struct gpasid){5}, &host, &f.error),
			REASON_NO_SET);
		ck_assert_uint_eq(host.v, 77);
		ck_assert_int_eq(
			broker_guest_find(f.broker, &c, c.set, (struct gpasid){5}, &host, &f.error),
			0);
	}
END_TEST

START_TEST(an_observer_unmaps_nothing)
	{
		const struct memory memory = {
			.set = a.set, .device = fixture_add(&f, &a, 1, 10), .length = 4096};

		ck_refused(broker_memory_unmap(f.broker, &f.observer, &memory, 1, &f.error),
			REASON_ROLE);
	}
END_TEST

START_TEST(a_set_has_one_of_three_modes)
	{
		struct set_create create = {.name = "odd", .mode = (enum set_mode)77};
		struct set_id set = {5};

		ck_refused(broker_set_create(f.broker, &f.admin, &create, &set, &f.error),
			REASON_BAD_ARGUMENT);
		ck_assert_ptr_nonnull(strstr(f.error.text, "77"));
		ck_assert_uint_eq(set.v, 5);
	}
END_TEST

/* How far the host is used is told to those who may see all of it. */
START_TEST(numbers_that_the_host_does_not_have_are_refused)
	{
		struct allocate allocate = {.set = {0}, .max = PASID_LAST, .count = 3};
		struct hpasid numbers[3];

		fixture_leave(&f);
		fixture_config(&f);
		f.limits_config.of[RESOURCE_PASIDS].host = 2;
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		ck_refused(broker_allocate(f.broker, &a, &allocate, numbers, &f.error),
			REASON_HOST_QUOTA);
		ck_assert_uint_eq(f.error.limit, 0);
		allocate.set = a.set;
		ck_refused(broker_allocate(f.broker, &f.admin, &allocate, numbers, &f.error),
			REASON_HOST_QUOTA);
		ck_assert_uint_eq(f.error.limit, 2);
		allocate.count = 2;
		ck_assert_int_eq(
			broker_allocate(f.broker, &f.admin, &allocate, numbers, &f.error), 0);
	}
END_TEST

/* ------------------------------------------------------------------ beside others */

START_TEST(a_list_of_bindings_leaves_out_those_of_other_sets)
	{
		const struct device_id theirs = fixture_add(&f, &c, 1, 10);
		const struct device_id device = fixture_add(&f, &a, 3, 11);
		const struct hpasid host = fixture_allocate(&f, &a);
		struct binding_info info;
		uint64_t cursor = 0;

		ck_assert_int_eq(fixture_bind(&f, &c, fixture_allocate(&f, &c), &theirs, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		ck_assert(broker_binding_next(f.broker, &a, own, &cursor, &info));
		ck_assert_uint_eq(info.set.v, a.set.v);
		ck_assert_uint_eq(info.host.v, host.v);
		ck_assert(!broker_binding_next(f.broker, &a, own, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_END);
	}
END_TEST

/* The set has all that it may, and one of these may be had again: where it was asked for. */
START_TEST(a_number_beyond_a_wide_range_is_not_had_again)
	{
		const uint32_t wide = 1024 + 2 * BROKER_SEARCH_MAX;
		struct device_id slice;
		struct hpasid host, again;

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &a, SHARED);
		(void)fixture_allocate(&f, &a);
		ck_assert_int_eq(allocate_in(&a, FAR, FAR, &host), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_refused(allocate_in(&a, 1024, wide, &again), REASON_SET_QUOTA);
		ck_assert_int_eq(allocate_in(&a, wide + 1, PASID_LAST, &again), 0);
		ck_assert_uint_eq(again.v, FAR);
	}
END_TEST

/* ------------------------------------------------------------------ in vain before */

static struct device_id bound_twice(struct hpasid *numbers)
{
	const struct device_id device = fixture_add(&f, &a, 3, 10);

	for (unsigned i = 0; i < 2; i++) {
		numbers[i] = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, numbers[i], &device, 1), 0);
	}
	return device;
}

static int going(struct device_id device, uint64_t cookie)
{
	ck_assert_int_eq(broker_device_going(f.broker, &a, own, device, cookie, &f.error), 0);
	return fixture_outcome(&f, cookie).status;
}

static unsigned lost_since(uint64_t sequence)
{
	struct change change;
	unsigned lost = 0;

	while (broker_change_get(f.broker, sequence++, &change))
		lost += change.kind == CHANGE_BINDING_LOST;
	return lost;
}

/* What is lost is told once. */
START_TEST(a_device_that_cannot_be_closed_twice_loses_its_numbers_once)
	{
		struct hpasid numbers[2];
		const struct device_id device = bound_twice(numbers);
		uint64_t told = broker_change_sequence(f.broker);

		model_arrange(&f, HW_CLOSE, STATUS_HARDWARE, 0, 2);
		ck_assert_int_eq(going(device, 1), STATUS_HARDWARE);
		ck_assert_uint_eq(lost_since(told), 2);
		told = broker_change_sequence(f.broker);
		ck_assert_int_eq(going(device, 2), STATUS_HARDWARE);
		ck_assert_uint_eq(lost_since(told), 0);
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
		ck_assert_uint_eq(recover_grant(numbers[0]).bindings, 1);
		ck_assert_int_eq(going(device, 3), 0);
		ck_assert_uint_eq(recover_grant(numbers[0]).bindings, 0);
	}
END_TEST

/* Nobody can vouch for a number whose detaching failed. */
START_TEST(what_is_tainted_is_not_drained)
	{
		const struct device_id shared = fixture_share(&f, SHARED);
		const struct device_id slice = fixture_slice(&f, &a, SHARED);
		struct hpasid numbers[2];
		uint32_t released;

		for (unsigned i = 0; i < 2; i++) {
			numbers[i] = fixture_allocate(&f, &a);
			ck_assert_int_eq(fixture_bind(&f, &a, numbers[i], &slice, 1), 0);
		}
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
		ck_assert_int_eq(fixture_unbind(&f, &a, numbers[0]), STATUS_HARDWARE);
		ck_assert_int_eq(fixture_unbind(&f, &a, numbers[1]), 0);
		broker_session_end(f.broker, 10);
		model_arrange(&f, HW_LEAVE, STATUS_HARDWARE, 0, 1);
		fixture_pass_second(&f);
		model_run(&f);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		ck_assert_uint_eq(released, 1);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, numbers[1]), GRANT_IDLE);
		ck_assert_int_eq(fixture_state(&f, numbers[0]), GRANT_QUARANTINED);
	}
END_TEST

/* The daemon died before its worker heard of it. */
START_TEST(a_device_that_was_to_go_is_in_order_until_it_does)
	{
		struct hpasid numbers[2];
		const struct device_id device = bound_twice(numbers);

		fixture_settle(&f);
		f.model.submit_status = -EAGAIN;
		ck_assert_int_eq(broker_device_going(f.broker, &a, own, device, 1, &f.error), 0);
		fixture_settle(&f);
		recover_begin(true);
		f.model.submit_status = 0;
		fixture_pass_second(&f);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_FREE);
		ck_assert_uint_eq(recover_grant(numbers[0]).bindings, 0);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

/* All of it waits for the recovery of its set; the number does not. */
START_TEST(an_unbind_of_a_number_that_went_meanwhile_keeps_no_device)
	{
		const struct device_id device = fixture_add(&f, &a, 3, 10);
		const struct hpasid host = fixture_allocate(&f, &a);

		fixture_settle(&f);
		recover_begin(true);
		ck_assert_int_eq(broker_unbind(f.broker, &a, own, (struct pasid_ref){false, host.v},
					 NULL, 0, 1, &f.error),
			0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 2, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_NOT_BOUND);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
	}
END_TEST

/* What a mapping was charged for goes with the device's record, whose place may be another's. */
START_TEST(a_mapping_may_outlive_its_device)
	{
		struct memory memory = {.device = fixture_add(&f, &a, 0, 50), .length = 4096};
		struct device_id device;

		ck_assert_int_eq(broker_memory_map(f.broker, &a, &memory, 77, 5, &f.error), 0);
		/* before it went to the worker, which is another one then */
		model_end(&f.model, a.set.v);
		broker_lane_lost(f.broker, a.set.v);
		f.model.hung_lane = a.set.v; /* and which answers late */
		device = fixture_add(&f, &c, 0, 51);
		f.model.hung_lane = 0;
		ck_assert_int_eq(fixture_outcome(&f, 5).status, STATUS_NOT_FOUND);
		memory.device = device;
		ck_assert_int_eq(broker_memory_map(f.broker, &c, &memory, 78, 6, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 6).status, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {zero_is_no_number_of_a_set,
		what_has_more_than_20_bits_is_no_number,
		a_vmm_has_a_quota_that_the_configuration_lets_it_have,
		a_guest_number_of_anothers_set_is_not_looked_up, an_observer_unmaps_nothing,
		a_set_has_one_of_three_modes, numbers_that_the_host_does_not_have_are_refused,
		a_list_of_bindings_leaves_out_those_of_other_sets,
		a_number_beyond_a_wide_range_is_not_had_again,
		a_device_that_cannot_be_closed_twice_loses_its_numbers_once,
		what_is_tainted_is_not_drained, a_device_that_was_to_go_is_in_order_until_it_does,
		an_unbind_of_a_number_that_went_meanwhile_keeps_no_device,
		a_mapping_may_outlive_its_device};

	return suite_run(
		"broker, corners", "corners", tests, ARRAY_SIZE(tests), setup, recover_teardown);
}
