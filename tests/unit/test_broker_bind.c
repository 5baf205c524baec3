/* SPDX-License-Identifier: MIT */
/* Devices and bindings: who may have them, all or nothing, and what becomes of what cannot be
 * detached. */
#include "fixture.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

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

static int add_status(const struct actor *actor, uint32_t rid, int iommufd)
{
	int fds[] = {iommufd, MODEL_DEVICE_FD(rid)};
	struct outcome outcome;
	int r = broker_device_add(f.broker, actor, own, fds, 2, NULL, 1, &f.error);

	if (r)
		return r;
	outcome = fixture_outcome(&f, 1);
	f.error = outcome.error;
	return outcome.status;
}

/* ------------------------------------------------------------------ devices: F2, F9, F37 */

START_TEST(one_function_serves_one_set)
	{
		(void)fixture_add(&f, &a, 0, 10);
		ck_assert_int_eq(add_status(&c, 0, 11), STATUS_EXISTS);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_TAKEN);
		ck_assert_int_eq(add_status(&a, 0, 10), STATUS_EXISTS);
	}
END_TEST

START_TEST(trap_06_a_group_serves_one_set_through_one_iommufd)
	{
		(void)fixture_add(&f, &a, 1, 10);
		ck_assert_int_eq(add_status(&c, 2, 11), STATUS_EXISTS);
		ck_assert_uint_eq(f.error.reason, REASON_GROUP_TAKEN);
		ck_assert_int_eq(add_status(&a, 2, 12), STATUS_EXISTS);
		ck_assert_uint_eq(f.error.reason, REASON_GROUP_TAKEN);
		(void)fixture_add(&f, &a, 2, 10);
	}
END_TEST

START_TEST(an_iommufd_serves_one_set)
	{
		(void)fixture_add(&f, &a, 0, 10);
		ck_assert_int_eq(add_status(&c, 3, 10), STATUS_DENIED);
		ck_assert_uint_eq(f.error.reason, REASON_FD_FOREIGN);
		(void)fixture_add(&f, &a, 3, 10);
	}
END_TEST

START_TEST(two_sets_asking_for_one_function_at_once)
	{
		int fds[] = {10, MODEL_DEVICE_FD(0)}, others[] = {11, MODEL_DEVICE_FD(0)};
		struct outcome first, second;

		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, fds, 2, NULL, 1, &f.error), 0);
		ck_assert_int_eq(
			broker_device_add(f.broker, &c, own, others, 2, NULL, 2, &f.error), 0);
		/* both are identified before either is opened */
		ck_assert(model_step(&f, 0));
		ck_assert(model_step(&f, 0));
		model_run(&f);
		ck_assert(broker_next_outcome(f.broker, &first));
		ck_assert(broker_next_outcome(f.broker, &second));
		ck_assert_int_eq(first.status + second.status, STATUS_EXISTS);
	}
END_TEST

START_TEST(a_failed_registration_leaves_nothing)
	{
		static const enum hw_kind kinds[] = {HW_IDENTIFY, HW_OPEN};
		struct broker_status status;

		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			model_arrange(&f, kinds[i], STATUS_HARDWARE, 0, 1);
			ck_assert_int_eq(add_status(&a, 0, 10), STATUS_HARDWARE);
			broker_status(f.broker, &status);
			ck_assert_uint_eq(status.devices, 0);
		}
		(void)fixture_add(&f, &a, 0, 10);
	}
END_TEST

START_TEST(descriptors_come_back_when_the_worker_takes_nothing)
	{
		int fds[] = {10, MODEL_DEVICE_FD(0)};
		struct outcome outcome;

		f.model.submit_status = -EAGAIN;
		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, fds, 2, NULL, 1, &f.error), 0);
		outcome = fixture_outcome(&f, 1);
		ck_assert_int_eq(outcome.status, STATUS_RETRY);
		ck_assert_uint_eq(outcome.unused_count, 2);
		ck_assert_int_eq(outcome.unused[0], 10);
		ck_assert_int_eq(outcome.unused[1], MODEL_DEVICE_FD(0));
	}
END_TEST

START_TEST(device_opened_by_the_daemon_needs_policy)
	{
		struct rid rid = {3};
		int iommufd = 10;
		struct outcome outcome;

		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, &iommufd, 1, &rid, 1, &f.error), 0);
		outcome = fixture_outcome(&f, 1);
		ck_assert_int_eq(outcome.status, 0);
		f.policy.any_device = false;
		rid.v = 4;
		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, &iommufd, 1, &rid, 2, &f.error),
			STATUS_DENIED);
		ck_assert_uint_eq(f.error.reason, REASON_POLICY);
	}
END_TEST

START_TEST(device_descriptor_count_is_exact)
	{
		int fds[] = {10, 11};
		struct rid rid = {3};

		ck_assert_int_eq(broker_device_add(f.broker, &a, own, fds, 1, NULL, 1, &f.error),
			STATUS_INVALID);
		ck_assert_int_eq(broker_device_add(f.broker, &a, own, fds, 2, &rid, 1, &f.error),
			STATUS_INVALID);
		ck_assert_uint_eq(f.error.reason, REASON_FD_COUNT);
	}
END_TEST

START_TEST(sharing_is_for_admins_and_each_set_has_one_slice)
	{
		struct device_id slice;

		ck_assert_int_eq(
			broker_device_share(f.broker, &a, (struct rid){SHARED}, 1, &f.error),
			STATUS_DENIED);
		ck_assert_int_eq(broker_device_slice(f.broker, &a, own, (struct device_id){0},
					 (struct rid){SHARED}, &slice, &f.error),
			STATUS_NOT_FOUND);
		(void)fixture_share(&f, SHARED);
		(void)fixture_slice(&f, &a, SHARED);
		(void)fixture_slice(&f, &c, SHARED);
		ck_assert_int_eq(broker_device_slice(f.broker, &a, own, (struct device_id){0},
					 (struct rid){SHARED}, &slice, &f.error),
			STATUS_EXISTS);
		ck_assert_int_eq(add_status(&a, SHARED, 10), STATUS_EXISTS);
	}
END_TEST

START_TEST(devices_of_others_look_missing)
	{
		struct device_id theirs = fixture_add(&f, &a, 0, 10);
		struct hpasid mine = fixture_allocate(&f, &c);
		struct device_info info;

		ck_assert_int_eq(
			broker_device_get(f.broker, &c, theirs, &info, &f.error), STATUS_NOT_FOUND);
		ck_assert_int_eq(fixture_bind(&f, &c, mine, &theirs, 1), STATUS_NOT_FOUND);
		ck_assert_int_eq(broker_device_remove(f.broker, &c, own, theirs, 1, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(broker_rid_detach(f.broker, &c, own, theirs, 1, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(broker_device_get(f.broker, &a, theirs, &info, &f.error), 0);
		ck_assert_uint_eq(info.rid.v, 0);
		ck_assert_uint_eq(info.dev_id, 100);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

/* ------------------------------------------------------------------ bind: A, F3, F30 */

START_TEST(one_number_stands_in_two_tables)
	{
		struct device_id devices[] = {
			fixture_add(&f, &a, 0, 10), fixture_add(&f, &a, 3, 10)};
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
		ck_assert(model_has(&f, 0, host.v) && model_has(&f, 3, host.v));
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(failed_bind_leaves_no_entry_at_any_step)
	{
		struct device_id devices[4];
		struct hpasid host = fixture_allocate(&f, &a);
		static const uint32_t rids[] = {0, 1, 3, 4};

		for (unsigned i = 0; i < 4; i++)
			devices[i] = fixture_add(&f, &a, rids[i], 10);
		for (unsigned step = 0; step < 4; step++) {
			model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, step, 1);
			ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 4), STATUS_HARDWARE);
			ck_assert_uint_eq(model_entries(&f), 0);
			fixture_recount(&f);
		}
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 4), 0);
		ck_assert_uint_eq(model_entries(&f), 4);
	}
END_TEST

START_TEST(undo_that_fails_taints_and_keeps_the_number)
	{
		struct device_id devices[] = {
			fixture_add(&f, &a, 0, 10), fixture_add(&f, &a, 3, 10)};
		struct hpasid host = fixture_allocate(&f, &a), other;
		struct grant_info info;
		struct bind_pair pairs[2] = {0};
		struct outcome outcome;

		for (int i = 0; i < 2; i++)
			pairs[i] = (struct bind_pair){devices[i], {.kind = HW_TABLE_SPACE}};
		ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, host.v},
					 pairs, 2, 1, &f.error),
			0);
		ck_assert(model_step(&f, 0));
		model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, 0, 1);
		ck_assert(model_step(&f, 0));
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
		outcome = fixture_outcome(&f, 1);
		ck_assert_int_eq(outcome.status, STATUS_HARDWARE);
		ck_assert_uint_eq(outcome.error.reason, REASON_UNDO_FAILED);
		ck_assert(model_has(&f, 0, host.v));
		/* freed and cooled, it is still nobody's */
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_assert_int_eq(broker_host_find(f.broker, &f.admin, (struct set_id){0}, host,
					 &info, &f.error),
			0);
		ck_assert_uint_eq(info.quarantine, QUARANTINE_TAINTED);
		ck_assert_int_eq(broker_quarantine_end(
					 f.broker, &f.admin, (struct set_id){0}, host, &f.error),
			STATUS_STATE);
		other = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, other, devices, 1), STATUS_STATE);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_TAINTED);
		/* a detach that succeeds proves it */
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
		ck_assert_int_eq(fixture_bind(&f, &a, other, devices, 1), 0);
	}
END_TEST

START_TEST(trap_01_device_without_width_is_refused_before_the_kernel)
	{
		struct device_id device = fixture_add(&f, &a, 9, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		unsigned before = f.model.carried_out;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_NO_WIDTH);
		ck_assert_uint_eq(f.model.carried_out, before);
	}
END_TEST

START_TEST(trap_01_number_beyond_the_width_is_refused_before_the_kernel)
	{
		struct device_id device = fixture_add(&f, &a, 8, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		unsigned before = f.model.carried_out;
		struct allocate fitting = {
			.max = PASID_LAST, .count = 1, .devices = &device, .device_count = 1};

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), STATUS_INVALID);
		ck_assert_uint_eq(f.error.reason, REASON_PASID_WIDTH);
		ck_assert_uint_eq(f.error.limit, 255);
		ck_assert_uint_eq(f.model.carried_out, before);
		/* and with the device named, the allocation itself says that nothing fits */
		ck_assert_int_eq(
			broker_allocate(f.broker, &a, &fitting, &host, &f.error), STATUS_EXHAUSTED);
	}
END_TEST

START_TEST(trap_02_pasid_zero_is_refused_before_the_kernel)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);

		ck_assert_int_eq(
			fixture_bind(&f, &a, (struct hpasid){0}, &device, 1), STATUS_INVALID);
		ck_assert_uint_eq(f.error.reason, REASON_PASID_ZERO);
	}
END_TEST

START_TEST(trap_03_second_bind_never_replaces_the_first)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), STATUS_EXISTS);
		ck_assert_uint_eq(f.error.reason, REASON_ALREADY_BOUND);
	}
END_TEST

/* F2 */
START_TEST(trap_06_a_binding_counts_once_a_group)
	{
		struct device_id devices[] = {
			fixture_add(&f, &a, 1, 10), fixture_add(&f, &a, 2, 10)};
		struct hpasid host = fixture_allocate(&f, &a);
		struct bind_pair pairs[2] = {{devices[0], {.kind = HW_TABLE_SPACE}},
			{devices[1], {.kind = HW_TABLE_SPACE, .id = 1}}};
		struct broker_status status;

		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.bindings, 1);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &devices[1], 1), STATUS_EXISTS);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_uint_eq(model_entries(&f), 0);
		/* one table, so both must name the same */
		ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, host.v},
					 pairs, 2, 1, &f.error),
			0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_GROUP_TABLE);
	}
END_TEST

START_TEST(rid_is_attached_once_and_detached)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct bind_pair pair = {device, {.kind = HW_TABLE_HWPT, .id = 7}};

		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert(model_has(&f, 0, 0));
		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 2, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 2).error.reason, REASON_RID_ATTACHED);
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, device, 3, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, device, 4, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 4).error.reason, REASON_NOT_BOUND);
	}
END_TEST

START_TEST(slices_take_no_kernel_ids_and_no_rid)
	{
		struct device_id slice;
		struct hpasid host = fixture_allocate(&f, &a);
		struct bind_pair pair;

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &a, SHARED);
		pair = (struct bind_pair){slice, {.kind = HW_TABLE_HWPT, .id = 7}};
		ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, host.v},
					 &pair, 1, 1, &f.error),
			0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_TABLE_KIND);
		pair.table = (struct hw_table){.kind = HW_TABLE_SPACE, .id = BROKER_SPACES_MAX};
		ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, host.v},
					 &pair, 1, 2, &f.error),
			0);
		ck_assert_uint_eq(fixture_outcome(&f, 2).error.reason, REASON_TABLE_ID);
		pair.table.id = 0;
		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 3, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 3).error.reason, REASON_DEVICE_SHARED);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
	}
END_TEST

/* ------------------------------------------------------------------ order, F23, F41 */

START_TEST(bind_unbind_and_free_sent_together_take_effect_in_order)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);
		struct pasid_ref ref = {false, host.v};
		struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};
		struct outcome outcome;

		ck_assert_int_eq(broker_bind(f.broker, &a, own, ref, &pair, 1, 1, &f.error), 0);
		ck_assert_int_eq(broker_unbind(f.broker, &a, own, ref, NULL, 0, 2, &f.error), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_FREE_PENDING);
		model_run(&f);
		for (uint64_t cookie = 1; cookie <= 2; cookie++) {
			ck_assert(broker_next_outcome(f.broker, &outcome));
			ck_assert_uint_eq(outcome.cookie, cookie);
			ck_assert_int_eq(outcome.status, 0);
		}
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
	}
END_TEST

START_TEST(a_bound_number_is_reclaimed_at_its_last_unbind)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_FREE_PENDING);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), STATUS_STATE);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
	}
END_TEST

START_TEST(a_hung_device_delays_nothing_else)
	{
		struct device_id stuck = fixture_add(&f, &a, 0, 10),
				 good = fixture_add(&f, &c, 3, 11);
		struct hpasid host = fixture_allocate(&f, &a), other = fixture_allocate(&f, &c);
		struct bind_pair pair = {stuck, {.kind = HW_TABLE_SPACE}};

		f.model.hung_lane = a.set.v;
		ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, host.v},
					 &pair, 1, 1, &f.error),
			0);
		(void)fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &c, other, &good, 1), 0);
		ck_assert(model_has(&f, 3, other.v));
	}
END_TEST

START_TEST(too_many_waiting_operations_are_refused_for_that_set_only)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10),
				 other = fixture_add(&f, &c, 3, 11);
		struct hpasid host = fixture_allocate(&f, &a), free = fixture_allocate(&f, &c);
		struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};
		int r = 0, taken = 0;

		f.model.hung_lane = a.set.v;
		while (r == 0 && taken < 1000) {
			r = broker_bind(f.broker, &a, own, (struct pasid_ref){false, host.v}, &pair,
				1, 100, &f.error);
			taken += r == 0;
		}
		ck_assert_int_eq(r, STATUS_RETRY);
		ck_assert_uint_eq(f.error.reason, REASON_OVERLOAD);
		ck_assert_int_eq(taken, 64);
		ck_assert_int_eq(fixture_bind(&f, &c, free, &other, 1), 0);
	}
END_TEST

START_TEST(devices_are_removed_when_nothing_is_bound)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 1, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_DEVICE_BUSY);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 2, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 3, &f.error),
			STATUS_NOT_FOUND);
		(void)fixture_add(&f, &c, 0, 11);
	}
END_TEST

START_TEST(memory_ranges_are_checked)
	{
		struct device_id device = fixture_add(&f, &a, 0, 10);
		struct memory bad[] = {{own, device, 0, 0x1000, 0, 0, true},
			{own, device, 0, 0x1001, 0x1000, 0, true},
			{own, device, 0, 0, 0x1000, 1, true}, {own, device, 16, 0, 0x1000, 0, true},
			{own, device, 0, UINT64_C(0xfffffffffffff000), 0x2000, 0, true}};
		struct memory good = {
			own, device, 15, UINT64_C(0xfffffffffffff000), 0x1000, 0, true};

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			ck_assert_int_eq(broker_memory_map(f.broker, &a, &bad[i], 50, 1, &f.error),
				STATUS_INVALID);
		ck_assert_int_eq(broker_memory_map(f.broker, &a, &good, 50, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(broker_memory_unmap(f.broker, &a, &good, 2, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {one_function_serves_one_set,
		trap_06_a_group_serves_one_set_through_one_iommufd, an_iommufd_serves_one_set,
		two_sets_asking_for_one_function_at_once, a_failed_registration_leaves_nothing,
		descriptors_come_back_when_the_worker_takes_nothing,
		device_opened_by_the_daemon_needs_policy, device_descriptor_count_is_exact,
		sharing_is_for_admins_and_each_set_has_one_slice, devices_of_others_look_missing,
		one_number_stands_in_two_tables, failed_bind_leaves_no_entry_at_any_step,
		undo_that_fails_taints_and_keeps_the_number,
		trap_01_device_without_width_is_refused_before_the_kernel,
		trap_01_number_beyond_the_width_is_refused_before_the_kernel,
		trap_02_pasid_zero_is_refused_before_the_kernel,
		trap_03_second_bind_never_replaces_the_first, trap_06_a_binding_counts_once_a_group,
		rid_is_attached_once_and_detached, slices_take_no_kernel_ids_and_no_rid,
		bind_unbind_and_free_sent_together_take_effect_in_order,
		a_bound_number_is_reclaimed_at_its_last_unbind, a_hung_device_delays_nothing_else,
		too_many_waiting_operations_are_refused_for_that_set_only,
		devices_are_removed_when_nothing_is_bound, memory_ranges_are_checked};

	return suite_run("broker, bindings", "devices and bindings", tests, ARRAY_SIZE(tests),
		setup, teardown);
}
