/* SPDX-License-Identifier: MIT */
/* F32: of a guest's table (SMMUv3), what the kernel keeps, and what the VMM took away. */
#include "backend_guest_fixture.h"

/* An event queue of the VMM's keeps the guest's IOMMU. */
START_TEST(an_iommu_that_stays_is_used_again)
	{
		uint32_t viommu, events;

		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		viommu = result.viommu;
		events = fake_add_object(&fake, false, &(struct calls_hwpt){.pt_id = viommu});
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 2);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		ck_assert_uint_eq(result.viommu, viommu);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		/* when the queue is closed, it goes with the next occasion */
		memset(fake_find(&fake, events), 0, sizeof(struct fake_object));
		(void)open_device(2);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 2}), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(a_device_that_stays_in_its_iommu_is_in_the_way)
	{
		struct hw_table table = guest();

		arrange("destroy", EBUSY, 0);
		for (uint32_t i = 0; i < 10; i++) {
			table.id = 100 + i;
			ck_assert_int_eq(
				run(attach_op(1, FAKE_RID, table)), i == 0 ? 0 : STATUS_HARDWARE);
			if (i == 0)
				ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		}
		ck_assert_uint_eq(fake_objects(&fake), 3);
		fake.fail_name = NULL;
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 3);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(there_is_a_limit_to_iommus_that_stay)
	{
		struct hw_table table = guest();
		uint32_t events[BACKEND_VIOMMUS_MAX];

		for (uint32_t i = 0; i < BACKEND_VIOMMUS_MAX; i++) {
			table.id = 100000 + i;
			ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
			events[i] = fake_add_object(
				&fake, false, &(struct calls_hwpt){.pt_id = result.viommu});
			ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		}
		table.id = 33;
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), STATUS_QUOTA);
		ck_assert_uint_eq(result.error.reason, REASON_LIMIT);
		ck_assert_uint_eq(fake_objects(&fake), 2ul * BACKEND_VIOMMUS_MAX);
		for (uint32_t i = 0; i < BACKEND_VIOMMUS_MAX; i++)
			memset(fake_find(&fake, events[i]), 0, sizeof(struct fake_object));
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 3);
	}
END_TEST

/* What the kernel keeps of one attach never makes another one fail for good. */
START_TEST(any_destroy_may_fail)
	{
		const struct hw_table table = guest_over(HW_TABLE_IOAS, 2100);

		for (unsigned times = 1; times < 8; times++) {
			ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
			arrange("destroy", EBUSY, times);
			ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
			ck_assert_uint_eq(fake_attached(&fake, device, FAKE_RID), 0);
			fake.fail_name = NULL;
			ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
			ck_assert_uint_eq(fake_objects(&fake), 4);
			ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
			ck_assert_uint_eq(fake_objects(&fake), 0);
		}
	}
END_TEST

/* Objects of an iommufd have no owners: the VMM can destroy ours. */
START_TEST(what_the_vmm_destroyed_is_gone)
	{
		struct hw_table table = guest();

		(void)open_device(2);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		memset(fake_find(&fake, result.vdevice), 0, sizeof(struct fake_object));
		memset(fake_find(&fake, result.viommu), 0, sizeof(struct fake_object));
		/* an entry that is replaced stays as it is, and that is said */
		ck_assert_int_gt(run(replace_op(1, entry(SMMUV3_ABORT, 0))), 0);
		ck_assert_uint_eq(result.left, HW_LEFT_EARLIER);
		/* another device gets a new one */
		table.stream = 16;
		ck_assert_int_eq(run(attach_op(2, FAKE_RID, table)), 0);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_int_eq(run(detach_op(2, FAKE_RID)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(the_end_of_a_lane_frees_what_it_remembers)
	{
		(void)open_device(2);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		arrange("destroy", EBUSY, 0);
		ck_assert_int_eq(run(attach_op(2, FAKE_RID, guest_over(HW_TABLE_IOAS, 2100))), 0);
		ck_assert_int_eq(run(detach_op(2, FAKE_RID)), 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 2}), 0);
		if (_i)
			ck_assert_int_eq(run((struct hw_op){.kind = HW_END}), 0);
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {
		{an_iommu_that_stays_is_used_again, 1},
		{a_device_that_stays_in_its_iommu_is_in_the_way, 1},
		{there_is_a_limit_to_iommus_that_stay, 1},
		{any_destroy_may_fail, 1},
		{what_the_vmm_destroyed_is_gone, 1},
		{the_end_of_a_lane_frees_what_it_remembers, 2},
	};
	Suite *suite = suite_create("backend: what is left of tables of guests");
	TCase *tc = tcase_create("guest");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, begin, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_loop_test(tc, tests[i].test, 0, tests[i].count);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
