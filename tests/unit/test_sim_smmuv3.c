/* SPDX-License-Identifier: MIT */
/*
 * F32, F33, F47: what stands in the stream table of the simulated SMMUv3 when the backend has
 * worked, and what a DMA reaches through it.
 */
#include "smmuv3_rig.h"

/* F32, F47 */
START_TEST(a_guests_table_leads_to_exactly_its_pages)
	{
		const struct hpasid one = {1}, two = {2}, three = {3}, four = {4};
		uint64_t ste[SMMUV3_STE_WORDS];

		open_vm(rig_narrow);
		ck_assert_uint_eq(result.info.iommu, HW_IOMMU_SMMUV3);
		ck_assert_uint_eq(result.info.pasid_width, 8);
		ck_assert_uint_eq(result.info.caps, HW_CAP_PASID | HW_CAP_NESTED);
		guest_context(0, true);
		guest_context(1, true);
		guest_context(2, false);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, INPUT), SMMUV3_ABORTED);
		ck_assert_int_eq(
			run(rid_op(HW_ATTACH, guest_table(SMMUV3_STAGE1, 2, SMMUV3_DSS_ZERO))), 0);
		stream_entry(rig_narrow, ste);
		ck_assert_uint_eq(smmuv3_ste_get(ste, SMMUV3_STE_Config), SMMUV3_NESTED);
		ck_assert_uint_eq(smmuv3_ste_get(ste, SMMUV3_STE_S1ContextPtr), CONTEXTS);
		ck_assert_uint_eq(smmuv3_ste_get(ste, SMMUV3_STE_S1CDMax), 2);
		ck_assert_uint_ne(smmuv3_ste_get(ste, SMMUV3_STE_S2VMID), 0);
		ck_assert_uint_ne(smmuv3_ste_get(ste, SMMUV3_STE_S2TTB), 0);
		ck_assert_uint_eq(smmuv3_ste_get(ste, SMMUV3_STE_MEV), 1);

		ck_assert_uint_eq(reach(rig_narrow, NULL, INPUT + 8), 0x200008);
		ck_assert_uint_eq(reach(rig_narrow, &one, INPUT + 8), 0x201008);
		ck_assert_uint_eq(reach(rig_narrow, &two, INPUT), 0x202000);
		ck_assert(!walk_to(rig_narrow, &two, INPUT, false).smmuv3.writeable);
		ck_assert_int_eq(
			walk_to(rig_narrow, &two, INPUT, true).smmuv3.stop, SMMUV3_PERMISSION);
		ck_assert_int_eq(stop_of(rig_narrow, &one, INPUT + 0x1000), SMMUV3_TRANSLATION);
		ck_assert_uint_eq(walk_to(rig_narrow, &one, INPUT + 0x1000, false).smmuv3.stage, 1);
		ck_assert_int_eq(stop_of(rig_narrow, &three, INPUT), SMMUV3_BAD_CD);
		ck_assert_int_eq(stop_of(rig_narrow, &four, INPUT), SMMUV3_BAD_SUBSTREAMID);
		/* and nobody else's stream has changed */
		ck_assert_int_eq(stop_of(rig_wide, &one, INPUT), SMMUV3_ABORTED);

		ck_assert_int_eq(run((struct hw_op){.kind = HW_DETACH, .device = 1}), 0);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, INPUT), SMMUV3_ABORTED);
		ck_assert_int_eq(stop_of(rig_narrow, &one, INPUT), SMMUV3_ABORTED);
		ck_assert_uint_eq(next_id(), 3);
		close_vm();
	}
END_TEST

/* What the guest's tables name goes through the second stage, too. */
START_TEST(a_guest_reaches_nothing_but_its_own_memory)
	{
		const struct hpasid one = {1};
		struct hw_table table;

		open_vm(rig_narrow);
		guest_context(1, true);
		table = guest_table(SMMUV3_STAGE1, 2, SMMUV3_DSS_TERMINATE);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, table)), 0);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, INPUT), SMMUV3_DISABLED);
		ck_assert_uint_eq(reach(rig_narrow, &one, INPUT), 0x201000);
		/* a table of descriptors, a page table and a page beyond it */
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, RIG_IOVA + RIG_MEMORY);
		ck_assert_int_eq(run(rid_op(HW_REPLACE, table)), 0);
		ck_assert_int_eq(stop_of(rig_narrow, &one, INPUT), SMMUV3_TRANSLATION);
		ck_assert_uint_eq(walk_to(rig_narrow, &one, INPUT, false).smmuv3.stage, 2);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, CONTEXTS);
		ck_assert_int_eq(run(rid_op(HW_REPLACE, table)), 0);
		poke_word(CONTEXTS + 64 + 8, 0x1000);
		ck_assert_int_eq(stop_of(rig_narrow, &one, INPUT), SMMUV3_TRANSLATION);
		ck_assert_uint_eq(walk_to(rig_narrow, &one, INPUT, false).smmuv3.stage, 2);
		guest_context(1, true);
		poke_word(TABLES + 0x4000 + 0x3000 + (INPUT >> 12 & 511) * 8, 0x1000 | 0x443);
		ck_assert_int_eq(stop_of(rig_narrow, &one, INPUT), SMMUV3_TRANSLATION);
		ck_assert_uint_eq(walk_to(rig_narrow, &one, INPUT, false).smmuv3.stage, 2);
		close_vm();
	}
END_TEST

START_TEST(aborts_bypasses_and_entries_that_are_not_valid)
	{
		const struct hpasid one = {1};
		struct hw_table table;
		uint64_t ste[SMMUV3_STE_WORDS];

		open_vm(rig_narrow);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, guest_table(SMMUV3_BYPASS, 0, 0))), 0);
		ck_assert_uint_eq(reach(rig_narrow, NULL, RIG_IOVA + 0x5008), 0x5008);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, 0x1000), SMMUV3_TRANSLATION);
		ck_assert_int_eq(stop_of(rig_narrow, &one, RIG_IOVA), SMMUV3_BAD_SUBSTREAMID);
		stream_entry(rig_narrow, ste);
		ck_assert_uint_eq(smmuv3_ste_get(ste, SMMUV3_STE_Config), SMMUV3_STAGE2);
		ck_assert_int_eq(run(rid_op(HW_REPLACE, guest_table(SMMUV3_ABORT, 0, 0))), 0);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, RIG_IOVA), SMMUV3_ABORTED);
		table = guest_table(SMMUV3_BYPASS, 0, 0);
		ck_assert_int_eq(run(rid_op(HW_REPLACE, table)), 0);
		table.ste[0] &= ~UINT64_C(1);
		ck_assert_int_eq(run(rid_op(HW_REPLACE, table)), 0);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, RIG_IOVA), SMMUV3_ABORTED);
		close_vm();
	}
END_TEST

START_TEST(the_host_keeps_the_table_where_the_guest_does_not)
	{
		const struct hpasid pasid = {_i ? 5000 : 100}, other = {_i ? 5001 : 101};
		const struct rid rid = _i ? rig_wide : rig_narrow;
		const struct hw_table table = {.kind = HW_TABLE_IOAS};
		struct hw_op op = {.kind = HW_ATTACH, .device = 1, .has_pasid = 1, .pasid = pasid};
		struct sim_entries entries;
		struct sim_entry entry;

		open_vm(rid);
		op.table = table;
		op.table.id = vm.ioas;
		ck_assert_int_eq(run(op), 0);
		ck_assert_uint_eq(reach(rid, &pasid, RIG_IOVA + 0x3008), 0x3008);
		ck_assert_int_eq(stop_of(rid, &other, RIG_IOVA), SMMUV3_BAD_CD);
		ck_assert_int_eq(stop_of(rid, NULL, RIG_IOVA), SMMUV3_DISABLED);
		op.pasid = other;
		ck_assert_int_eq(run(op), 0);
		op.has_pasid = 0;
		ck_assert_int_eq(run(op), 0);
		ck_assert_uint_eq(reach(rid, NULL, RIG_IOVA), 0);
		ck_assert_int_eq(sim_entries_init(&entries, rig.sim), 0);
		for (uint32_t i = 0; i < 3; i++) {
			ck_assert_int_eq(sim_entries_next(&entries, &entry), 1);
			ck_assert(entry.is_smmuv3 && entry.smmuv3.has_cd);
			ck_assert_uint_eq(entry.smmuv3.pasid, i == 0 ? 0 : pasid.v + i - 1);
		}
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 0);
		/* in any order */
		op.kind = HW_DETACH;
		ck_assert_int_eq(run(op), 0);
		ck_assert_int_eq(stop_of(rid, NULL, RIG_IOVA), SMMUV3_DISABLED);
		ck_assert_uint_eq(reach(rid, &pasid, RIG_IOVA), 0);
		op.has_pasid = 1;
		ck_assert_int_eq(run(op), 0);
		op.pasid = pasid;
		ck_assert_int_eq(run(op), 0);
		ck_assert_int_eq(stop_of(rid, &pasid, RIG_IOVA), SMMUV3_ABORTED);
		ck_assert_uint_eq(next_id(), 3);
		close_vm();
	}
END_TEST

START_TEST(trap_01_without_substreams_the_kernel_says_0_and_writes_nothing)
	{
		const struct hpasid pasid = {5};
		struct hw_op op = {.kind = HW_ATTACH, .device = 1, .has_pasid = 1, .pasid = pasid};
		uint32_t hwpt;

		open_vm(rig_none);
		hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, &pasid), 0);
		ck_assert_int_eq(stop_of(rig_none, &pasid, RIG_IOVA), SMMUV3_ABORTED);
		op.table = (struct hw_table){.kind = HW_TABLE_HWPT, .id = hwpt};
		ck_assert_int_eq(run(op), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(result.error.reason, REASON_DEVICE_NO_WIDTH);
		/* the whole function can be a guest's, with one descriptor */
		ck_assert_int_eq(rig.calls->detach(rig.sim, vm.device, &pasid), 0);
		guest_context(0, true);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, guest_table(SMMUV3_STAGE1, 0, 0))), 0);
		ck_assert_uint_eq(reach(rig_none, NULL, INPUT), 0x200000);
		ck_assert_int_eq(stop_of(rig_none, &pasid, INPUT), SMMUV3_BAD_SUBSTREAMID);
		ck_assert_int_eq(
			run(rid_op(HW_REPLACE, guest_table(SMMUV3_STAGE1, 1, 0))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_FIELD);
		close_vm();
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {
		{a_guests_table_leads_to_exactly_its_pages, 1},
		{a_guest_reaches_nothing_but_its_own_memory, 1},
		{aborts_bypasses_and_entries_that_are_not_valid, 1},
		{the_host_keeps_the_table_where_the_guest_does_not, 2},
		{trap_01_without_substreams_the_kernel_says_0_and_writes_nothing, 1},
	};
	Suite *suite = suite_create("simulated SMMUv3");
	TCase *tc = tcase_create("smmuv3");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, begin, end);
	tcase_set_timeout(tc, 30);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i].test, 0, tests[i].count);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
