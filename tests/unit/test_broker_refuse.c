/* SPDX-License-Identifier: MIT */
/* What is refused because of what was asked, with nothing changed; and what lists leave out. */
#include "broker_private.h"
#include "fixture.h"
#include "suite.h"

#include <string.h>

#define SHARED 5
#define MANY   (BROKER_LIST_MAX + 6)

static struct fixture f;
static struct actor a, c;
static const struct set_id own = {0};

static void setup(void)
{
	fixture_config(&f);
	f.model.group_of[2] = f.model.group_of[1]; /* functions 1 and 2 are one group */
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 100);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 100);
}

static void teardown(void)
{
	fixture_leave(&f);
}

/* It was refused at once, for this reason, and the recount agrees. */
static void ck_refused(int r, enum reason reason)
{
	ck_assert_int_eq(r, reason_status(reason));
	ck_assert_uint_eq(f.error.reason, reason);
	fixture_recount(&f);
}

static struct pasid_ref host_ref(struct hpasid host)
{
	return (struct pasid_ref){.number = host.v};
}

static int bind_table(struct hpasid host, struct device_id device, struct hw_table table)
{
	const struct bind_pair pair = {device, table};
	struct outcome outcome;
	int r = broker_bind(f.broker, &a, own, host_ref(host), &pair, 1, 1, &f.error);

	if (r)
		return r;
	outcome = fixture_outcome(&f, 1);
	f.error = outcome.error;
	return outcome.status;
}

/* ------------------------------------------------------------------ binds and unbinds */

START_TEST(a_bind_without_a_page_table_is_refused)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_refused(bind_table(host, device, (struct hw_table){0}), REASON_TABLE_KIND);
		ck_refused(bind_table(host, device, (struct hw_table){.kind = HW_TABLE_VTD_S1}),
			REASON_TABLE_KIND);
		ck_refused(bind_table(host, device,
				   (struct hw_table){.kind = HW_TABLE_VTD_S1,
					   .parent_kind = HW_TABLE_VTD_S1}),
			REASON_TABLE_KIND);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

START_TEST(a_table_that_the_vmm_made_is_not_ours)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct bind_pair pair = {device, {.kind = HW_TABLE_HWPT, .id = 7}};
		struct outcome outcome;

		for (int made = 0; made < 2; made++) {
			ck_assert_int_eq(broker_bind(f.broker, &a, own, host_ref(host), &pair, 1, 1,
						 &f.error),
				0);
			outcome = fixture_outcome(&f, 1);
			ck_assert_int_eq(outcome.status, 0);
			ck_assert_int_eq(outcome.tables[0].made, made);
			ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
			pair.table = (struct hw_table){.kind = HW_TABLE_IOAS, .id = 7};
		}
	}
END_TEST

START_TEST(a_function_whose_driver_attaches_no_pasids_is_refused_before_the_kernel)
	{
		struct hpasid host = fixture_allocate(&f, &a);
		struct device_id device;
		unsigned before;
		f.model.lacks = HW_CAP_PASID;
		device = fixture_add(&f, &a, 1, 10);
		before = f.model.carried_out;
		ck_refused(fixture_bind(&f, &a, host, &device, 1), REASON_NO_PASID_ATTACH);
		ck_assert_uint_eq(f.model.carried_out, before);
	}
END_TEST

START_TEST(a_number_is_bound_to_as_many_devices_as_one_request_can_name)
	{
		struct device_id devices[BROKER_PAIRS_MAX + 1];
		struct hpasid host = fixture_allocate(&f, &a);
		const unsigned first = 20;

		for (uint32_t i = 0; i < ARRAY_SIZE(devices); i++)
			devices[i] = fixture_add(&f, &a, 10 + i, 10);
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, first), 0);
		ck_refused(fixture_bind(&f, &a, host, &devices[first], 13), REASON_LIMIT);
		ck_assert_uint_eq(model_entries(&f), first);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &devices[first], 12), 0);
		ck_refused(fixture_bind(&f, &a, host, &devices[32], 1), REASON_LIMIT);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

START_TEST(a_request_names_one_device_or_as_many_as_there_are_places_for)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct device_id devices[BROKER_PAIRS_MAX + 1];
		struct bind_pair pairs[BROKER_PAIRS_MAX + 1] = {0};

		for (uint32_t i = 0; i < ARRAY_SIZE(devices); i++) {
			devices[i] = device;
			pairs[i].device = device;
		}
		ck_refused(broker_bind(f.broker, &a, own, host_ref(host), pairs, 0, 1, &f.error),
			REASON_LIMIT);
		ck_refused(broker_bind(f.broker, &a, own, host_ref(host), pairs, ARRAY_SIZE(pairs),
				   1, &f.error),
			REASON_LIMIT);
		ck_refused(broker_unbind(f.broker, &a, own, host_ref(host), devices,
				   ARRAY_SIZE(devices), 1, &f.error),
			REASON_LIMIT);
	}
END_TEST

START_TEST(an_unbind_of_a_device_that_is_not_the_sets_is_refused)
	{
		struct device_id devices[] = {
			fixture_add(&f, &a, 1, 10), fixture_add(&f, &c, 3, 11)};
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 1), 0);
		ck_refused(
			broker_unbind(f.broker, &a, own, host_ref(host), devices, 2, 1, &f.error),
			REASON_NO_DEVICE);
		ck_refused(broker_rid_detach(f.broker, &a, own, devices[1], 1, &f.error),
			REASON_NO_DEVICE);
		ck_assert(model_has(&f, 1, host.v));
	}
END_TEST

START_TEST(an_observer_attaches_and_detaches_no_rid)
	{
		struct bind_pair pair = {fixture_add(&f, &a, 1, 10), {.kind = HW_TABLE_SPACE}};
		struct pasid_ref ref = host_ref(fixture_allocate(&f, &a));

		ck_refused(broker_rid_attach(f.broker, &f.observer, a.set, &pair, 1, &f.error),
			REASON_ROLE);
		ck_refused(
			broker_rid_detach(f.broker, &f.observer, a.set, pair.device, 1, &f.error),
			REASON_ROLE);
		ck_refused(broker_unbind(f.broker, &f.observer, a.set, ref, NULL, 0, 1, &f.error),
			REASON_ROLE);
	}
END_TEST

START_TEST(an_unbind_through_both_functions_of_a_group_detaches_once)
	{
		struct device_id devices[] = {
			fixture_add(&f, &a, 1, 10), fixture_add(&f, &a, 2, 10)};
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 1), 0);
		ck_assert_int_eq(
			broker_unbind(f.broker, &a, own, host_ref(host), devices, 2, 1, &f.error),
			0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert(!model_has(&f, 1, host.v));
	}
END_TEST

START_TEST(what_only_waits_for_draining_is_bound_nowhere)
	{
		struct device_id slice, shared = fixture_share(&f, SHARED);
		struct hpasid host = fixture_allocate(&f, &a);

		(void)shared;
		slice = fixture_slice(&f, &a, SHARED);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(
			broker_unbind(f.broker, &a, own, host_ref(host), &slice, 1, 1, &f.error),
			0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_NOT_BOUND);
	}
END_TEST

/* ------------------------------------------------------------------ memory */

START_TEST(a_mapping_that_goes_beyond_the_end_of_its_file_is_refused)
	{
		struct memory memory = {.device = fixture_add(&f, &a, 1, 10), .length = 8192};

		memory.offset = UINT64_MAX - 4095;
		ck_refused(
			broker_memory_map(f.broker, &a, &memory, 3, 1, &f.error), REASON_BAD_RANGE);
	}
END_TEST

START_TEST(nothing_is_mapped_on_a_device_that_failed_to_detach)
	{
		struct memory memory = {.device = fixture_add(&f, &a, 1, 10), .length = 4096};
		struct hpasid host = fixture_allocate(&f, &a);
		struct outcome outcome;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &memory.device, 1), 0);
		f.model.fail_kind = HW_DETACH;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		ck_assert_int_eq(fixture_unbind(&f, &a, host), STATUS_HARDWARE);
		ck_assert_int_eq(broker_memory_map(f.broker, &a, &memory, 77, 1, &f.error), 0);
		outcome = fixture_outcome(&f, 1);
		ck_assert_uint_eq(outcome.error.reason, REASON_DEVICE_GOING);
		ck_assert_uint_eq(outcome.unused_count, 1);
		ck_assert_int_eq(outcome.unused[0], 77);
	}
END_TEST

/* ------------------------------------------------------------------ numbers */

START_TEST(what_is_no_pasid_is_nobodys)
	{
		struct grant_info info;

		ck_refused(broker_host_find(f.broker, &f.admin, (struct set_id){0},
				   (struct hpasid){0}, &info, &f.error),
			REASON_BAD_RANGE);
		ck_refused(broker_host_find(f.broker, &f.admin, (struct set_id){0},
				   (struct hpasid){PASID_COUNT}, &info, &f.error),
			REASON_BAD_RANGE);
		ck_refused(broker_quarantine_end(f.broker, &f.admin, (struct set_id){0},
				   (struct hpasid){PASID_COUNT}, &f.error),
			REASON_NOT_ACTIVE);
	}
END_TEST

static int allocate(const struct actor *actor, struct allocate request)
{
	struct hpasid numbers[128];

	request.max = PASID_LAST;
	return broker_allocate(f.broker, actor, &request, numbers, &f.error);
}

START_TEST(numbers_for_a_device_that_is_not_the_sets_are_refused)
	{
		struct device_id foreign = fixture_add(&f, &c, 3, 11), none = {4711};

		ck_refused(allocate(&a,
				   (struct allocate){
					   .count = 1, .devices = &foreign, .device_count = 1}),
			REASON_NO_DEVICE);
		ck_refused(
			allocate(&a,
				(struct allocate){.count = 1, .devices = &none, .device_count = 1}),
			REASON_NO_DEVICE);
	}
END_TEST

START_TEST(a_guest_number_is_one_and_a_pasid_of_a_set_that_translates)
	{
		struct actor identity = fixture_vmm(&f, 12, "i", SET_IDENTITY, 10);
		struct allocate request = {.count = 2, .has_guest = true, .guest = {7}};

		ck_refused(allocate(&a, request), REASON_BAD_ARGUMENT);
		request.count = 1;
		request.guest.v = 0;
		ck_refused(allocate(&a, request), REASON_BAD_ARGUMENT);
		request.guest.v = PASID_COUNT;
		ck_refused(allocate(&a, request), REASON_BAD_ARGUMENT);
		request.guest.v = 7;
		ck_refused(allocate(&identity, request), REASON_SET_MODE);
		ck_assert_int_eq(allocate(&a, request), 0);
	}
END_TEST

START_TEST(a_guest_number_that_is_attached_is_a_pasid)
	{
		struct hpasid host = fixture_allocate(&f, &a);

		ck_refused(
			broker_guest_attach(f.broker, &a, own, host, (struct gpasid){0}, &f.error),
			REASON_BAD_ARGUMENT);
		ck_refused(broker_guest_attach(
				   f.broker, &a, own, host, (struct gpasid){PASID_COUNT}, &f.error),
			REASON_BAD_ARGUMENT);
		ck_assert_int_eq(broker_guest_attach(f.broker, &a, own, host,
					 (struct gpasid){PASID_LAST}, &f.error),
			0);
	}
END_TEST

START_TEST(consecutive_numbers_fit_one_block_and_the_quota)
	{
		struct allocate request = {.count = 2048, .consecutive = true};
		struct limit_info info;
		uint64_t cursor = 0;

		ck_refused(allocate(&a, request), REASON_BAD_ARGUMENT);
		request.count = 128;
		ck_refused(allocate(&a, request), REASON_SET_QUOTA);
		ck_assert(broker_limit_next(f.broker, &a, own, &cursor, &info));
		ck_assert_int_eq(info.resource, RESOURCE_PASIDS);
		ck_assert_uint_eq(info.account.current, 0);
	}
END_TEST

START_TEST(a_guest_number_that_is_freed_twice_in_one_request_is_freed_once)
	{
		const struct pasid_ref refs[] = {{true, 7}, {true, 7}};
		struct hpasid host = fixture_allocate_guest(&f, &a, 7);
		uint32_t freed, unchanged;

		ck_assert_int_eq(broker_free_pasids(
					 f.broker, &a, own, refs, 2, &freed, &unchanged, &f.error),
			0);
		ck_assert_uint_eq(freed, 1);
		ck_assert_uint_eq(unchanged, 1);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
	}
END_TEST

START_TEST(a_number_is_held_by_those_who_may_and_as_often_as_can_be_counted)
	{
		struct hpasid host = fixture_allocate(&f, &a), foreign = fixture_allocate(&f, &c);
		struct grant_info info;

		ck_refused(broker_hold(f.broker, &f.observer, a.set, host, &f.error), REASON_ROLE);
		ck_refused(
			broker_release(f.broker, &f.observer, a.set, host, &f.error), REASON_ROLE);
		ck_refused(broker_release(f.broker, &a, own, foreign, &f.error), REASON_NO_PASID);
		ck_refused(broker_hold(f.broker, &a, own, foreign, &f.error), REASON_NO_PASID);
		for (unsigned i = 0; i < GRANT_HOLDS_MAX; i++)
			ck_assert_int_eq(broker_hold(f.broker, &a, own, host, &f.error), 0);
		ck_refused(broker_hold(f.broker, &a, own, host, &f.error), REASON_LIMIT);
		ck_assert_int_eq(
			broker_host_find(f.broker, &a, (struct set_id){0}, host, &info, &f.error),
			0);
		ck_assert_uint_eq(info.holds, GRANT_HOLDS_MAX);
	}
END_TEST

/* ------------------------------------------------------------------ devices */

START_TEST(nothing_is_removed_that_is_not_there)
	{
		ck_refused(broker_device_remove(
				   f.broker, &f.admin, own, (struct device_id){4711}, 1, &f.error),
			REASON_NO_DEVICE);
		ck_refused(
			broker_device_remove(f.broker, &a, own, (struct device_id){0}, 1, &f.error),
			REASON_NO_DEVICE);
	}
END_TEST

START_TEST(a_removal_is_an_operation_like_others)
	{
		struct device_id device;

		fixture_close(&f);
		f.limits_config.of[RESOURCE_OPERATIONS].set = 1;
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 100);
		device = fixture_add(&f, &a, 1, 10);
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 1, &f.error), 0);
		ck_refused(broker_device_remove(f.broker, &a, own, device, 2, &f.error),
			REASON_OVERLOAD);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	}
END_TEST

START_TEST(a_shared_device_is_removed_once_and_only_when_no_slice_is_left)
	{
		struct device_id shared = fixture_share(&f, SHARED), slice;
		struct outcome outcome;

		slice = fixture_slice(&f, &a, SHARED);
		ck_assert_int_eq(
			broker_device_remove(f.broker, &f.admin, own, shared, 1, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_DEVICE_BUSY);
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, slice, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		for (uint64_t cookie = 1; cookie <= 2; cookie++)
			ck_assert_int_eq(broker_device_remove(
						 f.broker, &f.admin, own, shared, cookie, &f.error),
				0);
		ck_assert(broker_next_outcome(f.broker, &outcome));
		ck_assert_uint_eq(outcome.cookie, 2);
		ck_assert_uint_eq(outcome.error.reason, REASON_NO_DEVICE);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	}
END_TEST

START_TEST(only_a_shared_device_is_drained)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);
		uint32_t released = 99;

		ck_refused(broker_device_drained(f.broker, &f.admin, device, &released, &f.error),
			REASON_NO_DEVICE);
		ck_refused(broker_device_drained(
				   f.broker, &f.admin, (struct device_id){0}, &released, &f.error),
			REASON_NO_DEVICE);
		ck_assert_uint_eq(released, 99);
	}
END_TEST

static int slice_status(struct device_id shared, uint32_t rid)
{
	struct device_id slice;

	return broker_device_slice(
		f.broker, &f.admin, a.set, shared, (struct rid){rid}, &slice, &f.error);
}

START_TEST(a_slice_is_of_a_shared_device_that_is_in_order)
	{
		struct device_id exclusive = fixture_add(&f, &c, 1, 10);
		struct device_id shared = fixture_share(&f, SHARED);

		ck_refused(slice_status(exclusive, 0), REASON_NO_DEVICE);
		ck_refused(slice_status((struct device_id){0}, 1), REASON_NO_DEVICE);
		model_lose_lane(&f, BROKER_SHARED_LANE | shared.v);
		ck_refused(slice_status(shared, 0), REASON_NO_DEVICE);
		ck_refused(slice_status((struct device_id){0}, SHARED), REASON_NO_DEVICE);
		(void)fixture_share(&f, SHARED);
		ck_assert_int_eq(slice_status((struct device_id){0}, SHARED), 0);
	}
END_TEST

START_TEST(a_slice_is_charged_like_a_device)
	{
		fixture_close(&f);
		f.limits_config.of[RESOURCE_DEVICES].set = 1;
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 100);
		(void)fixture_share(&f, SHARED);
		(void)fixture_add(&f, &a, 1, 10);
		ck_refused(slice_status((struct device_id){0}, SHARED), REASON_LIMIT);
	}
END_TEST

/* ------------------------------------------------------------------ lists and events */

/* Each of the set's devices once, in the order of their places. */
static unsigned devices_listed(const struct actor *actor, struct set_id set)
{
	struct device_info info;
	uint64_t cursor = 0;
	unsigned count = 0;
	uint64_t last = 0;

	while (broker_device_next(f.broker, actor, set, &cursor, &info)) {
		ck_assert_uint_eq(info.set.v, a.set.v);
		ck_assert_uint_gt(info.id.v & SLOT_MASK, last);
		last = info.id.v & SLOT_MASK;
		count++;
	}
	ck_assert_uint_eq(cursor, BROKER_END);
	return count;
}

START_TEST(a_list_of_devices_has_each_of_the_sets_once_in_whatever_place)
	{
		struct device_id devices[4];

		for (uint32_t i = 0; i < 4; i++)
			devices[i] = fixture_add(&f, &a, 10 + i, 10);
		for (uint32_t i = 0; i < 4; i += 2) {
			ck_assert_int_eq(
				broker_device_remove(f.broker, &a, own, devices[i], 1, &f.error),
				0);
			ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		}
		/* the places of those that went are taken again, so the order is another */
		(void)fixture_add(&f, &a, 20, 10);
		(void)fixture_add(&f, &c, 21, 11);
		(void)fixture_add(&f, &a, 22, 10);
		ck_assert_uint_eq(devices_listed(&a, own), 4);
		ck_assert_uint_eq(devices_listed(&f.admin, a.set), 4);
	}
END_TEST

START_TEST(a_list_of_very_many_devices_leaves_out_those_of_others)
	{
		fixture_close(&f);
		f.limits_config.of[RESOURCE_DEVICES] = (struct limit_levels){0};
		f.limits_config.of[RESOURCE_DESCRIPTORS] = (struct limit_levels){0};
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 100);
		c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 100);
		for (uint32_t i = 0; i < MANY; i++) {
			(void)fixture_add(&f, &a, 10 + i, 10);
			if (i % 16 == 0)
				(void)fixture_add(&f, &c, 100 + i / 16, 11);
		}
		ck_assert_uint_eq(devices_listed(&a, own), MANY);
		ck_assert_uint_eq(devices_listed(&f.admin, a.set), MANY);
	}
END_TEST

START_TEST(a_list_of_limits_passes_over_sets_that_went)
	{
		struct limit_info info;
		uint64_t cursor = 0;
		unsigned of_a = 0;
		broker_session_end(f.broker, a.session);
		model_run(&f);
		while (broker_limit_next(f.broker, &f.admin, own, &cursor, &info))
			of_a += info.set.v != c.set.v;
		ck_assert_uint_eq(of_a, 0);
		ck_assert_uint_eq(cursor, BROKER_END);
	}
END_TEST

START_TEST(who_has_no_set_is_told_nothing_of_what_belongs_to_none)
	{
		const struct actor nobody = {ROLE_VMM, 99, {0}, &f.peer};
		struct change change = {0};

		(void)fixture_share(&f, SHARED);
		for (uint64_t from = 1; broker_change_get(f.broker, from, &change);
			from = change.sequence + 1)
			ck_assert(!broker_change_visible(&nobody, &change));
		ck_assert_uint_eq(change.set, 0);
		ck_assert(broker_change_visible(&f.observer, &change));
	}
END_TEST

START_TEST(a_set_of_nobody_in_particular_is_charged_to_root)
	{
		const struct set_create create = {.name = "r", .mode = SET_TRANSLATED};
		const struct actor admin = {ROLE_ADMIN, 50, {0}, NULL};
		struct set_info info;
		struct set_id set;

		ck_assert_int_eq(broker_set_create(f.broker, &admin, &create, &set, &f.error), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &admin, set, &info, &f.error), 0);
		ck_assert_uint_eq(info.uid, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_bind_without_a_page_table_is_refused,
		a_table_that_the_vmm_made_is_not_ours,
		a_function_whose_driver_attaches_no_pasids_is_refused_before_the_kernel,
		a_number_is_bound_to_as_many_devices_as_one_request_can_name,
		a_request_names_one_device_or_as_many_as_there_are_places_for,
		an_unbind_of_a_device_that_is_not_the_sets_is_refused,
		an_observer_attaches_and_detaches_no_rid,
		an_unbind_through_both_functions_of_a_group_detaches_once,
		what_only_waits_for_draining_is_bound_nowhere,
		a_mapping_that_goes_beyond_the_end_of_its_file_is_refused,
		nothing_is_mapped_on_a_device_that_failed_to_detach,
		what_is_no_pasid_is_nobodys,
		numbers_for_a_device_that_is_not_the_sets_are_refused,
		a_guest_number_is_one_and_a_pasid_of_a_set_that_translates,
		a_guest_number_that_is_attached_is_a_pasid,
		consecutive_numbers_fit_one_block_and_the_quota,
		a_guest_number_that_is_freed_twice_in_one_request_is_freed_once,
		a_number_is_held_by_those_who_may_and_as_often_as_can_be_counted,
		nothing_is_removed_that_is_not_there,
		a_removal_is_an_operation_like_others,
		a_shared_device_is_removed_once_and_only_when_no_slice_is_left,
		only_a_shared_device_is_drained,
		a_slice_is_of_a_shared_device_that_is_in_order,
		a_slice_is_charged_like_a_device,
		a_list_of_devices_has_each_of_the_sets_once_in_whatever_place,
		a_list_of_very_many_devices_leaves_out_those_of_others,
		a_list_of_limits_passes_over_sets_that_went,
		who_has_no_set_is_told_nothing_of_what_belongs_to_none,
		a_set_of_nobody_in_particular_is_charged_to_root,
	};
	return suite_run(
		"broker, refusals and lists", "refused", tests, ARRAY_SIZE(tests), setup, teardown);
}
