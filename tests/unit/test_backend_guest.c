/* SPDX-License-Identifier: MIT */
/*
 * F32: a guest's stream table entry (SMMUv3): what the kernel is asked, in which order, and that a
 * step that is broken off leaves nothing behind; the claim of the whole RID.
 */
#include "backend_guest_fixture.h"

START_TEST(trap_08_objects_are_made_in_order_and_go_in_reverse)
	{
		uint64_t words[2];
		struct hw_table table = guest();

		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		ck_assert_str_eq(fake.log, "viommu 7/33;vdevice 1/7=8;hwpt 1/0 s1;attach 11 -1 3;");
		ck_assert_uint_eq(result.pt_id, 3);
		ck_assert_uint_eq(result.made_pt, 1);
		ck_assert_uint_eq(result.viommu, 1);
		ck_assert_uint_eq(result.vdevice, 2);
		memcpy(words, fake.data, sizeof(words));
		ck_assert_mem_eq(words, table.ste, sizeof(words));
		fake.log[0] = '\0';
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_str_eq(fake.log, "detach 11 -1;destroy 3;destroy 2;destroy 1;");
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(trap_07_a_parent_of_ours_is_a_nest_parent_and_nothing_else)
	{
		const bool space = _i;
		struct hw_table table =
			guest_over(space ? HW_TABLE_SPACE : HW_TABLE_IOAS, space ? 4 : 2100);
		char expected[200];

		if (space)
			ck_assert_int_eq(map(1, 5, 4, 0), 0);
		fake.log[0] = '\0';
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		(void)snprintf(expected, sizeof(expected), "hwpt %u/1;viommu 7/%u;vdevice",
			space ? 1 : 2100, space ? 2 : 1);
		ck_assert_msg(strncmp(fake.log, expected, strlen(expected)) == 0, "%s", fake.log);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_uint_eq(fake_objects(&fake), space ? 1 : 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(aborts_and_bypasses_are_entries_like_others)
	{
		struct hw_table table = entry(_i ? SMMUV3_BYPASS : SMMUV3_ABORT, 0);

		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		ck_assert_uint_eq(fake_attached(&fake, device, FAKE_RID), 3);
		ck_assert_int_eq(run(replace_op(1, guest())), 0);
		ck_assert_uint_eq(fake_objects(&fake), 3);
		ck_assert_int_eq(run(replace_op(1, table)), 0);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

/* Every call fails once, with a parent of the VMM's and with one of ours. */
START_TEST(a_step_that_is_broken_off_leaves_nothing)
	{
		static const struct {
			const char *call;
			int error;
			enum reason reason;
		} steps[] = {
			{"hwpt", EOPNOTSUPP, REASON_NO_NESTING},
			{"hwpt", EINVAL, REASON_TABLE_KIND},
			{"hwpt", ENOMEM, REASON_MEMLOCK},
			{"viommu", EOPNOTSUPP, REASON_NO_NESTING},
			{"viommu", EINVAL, REASON_TABLE_KIND},
			{"viommu", ENOENT, REASON_TABLE_ID},
			{"viommu", ENOTTY, REASON_KERNEL_REFUSED},
			{"vdevice", EEXIST, REASON_STREAM_TAKEN},
			{"vdevice", EOPNOTSUPP, REASON_NO_NESTING},
			{"vdevice", ENOMEM, REASON_MEMLOCK},
			{"nest", EIO, REASON_TABLE_FIELD},
			{"nest", EOPNOTSUPP, REASON_NO_NESTING},
			{"nest", ENOMEM, REASON_MEMLOCK},
			{"attach", EINVAL, REASON_TABLE_KIND},
			{"attach", EOPNOTSUPP, REASON_NO_NESTING},
			{"attach", ENODEV, REASON_DEVICE_GOING},
		};

		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			const struct hw_table table = guest_over(HW_TABLE_IOAS, 2100);

			arrange(steps[i].call, steps[i].error, 1);
			ck_assert_int_gt(run(attach_op(1, FAKE_RID, table)), 0);
			ck_assert_msg(result.error.reason == steps[i].reason, "%s: %s",
				steps[i].call, result.error.text);
			ck_assert_int_eq(result.error.sys_errno, steps[i].error);
			ck_assert_uint_eq(fake_objects(&fake), 0);
			ck_assert_uint_eq(fake_attached(&fake, device, FAKE_RID), 0);
			/* and does not stand in the way of the next try */
			ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
			ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
			ck_assert_uint_eq(fake_objects(&fake), 0);
		}
	}
END_TEST

START_TEST(refusals_are_made_before_the_kernel_is_asked)
	{
		struct hw_table table = guest();

		table.ste[1] |= UINT64_C(1) << 25;
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_FIELD);
		ck_assert_int_eq(run(attach_op(1, 5, guest())), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_KIND);
		table = guest_over(HW_TABLE_VTD_S1, 3);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_KIND);
		table = guest_over(HW_TABLE_SPACE, 9);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), STATUS_NOT_FOUND);
		ck_assert_uint_eq(result.error.reason, REASON_NOT_MAPPED);
		table = (struct hw_table){.kind = HW_TABLE_VTD_S1,
			.parent_kind = HW_TABLE_HWPT,
			.id = 33,
			.addr_width = 48};
		ck_assert_int_eq(run(attach_op(1, 5, table)), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(result.error.reason, REASON_NO_NESTING);
		ck_assert_str_eq(fake.log, "");
	}
END_TEST

START_TEST(other_iommus_take_no_stream_table_entry)
	{
		fake.info.type = _i ? HW_IOMMU_VTD : 3;
		(void)open_device(2);
		ck_assert_int_eq(run(attach_op(2, FAKE_RID, guest())), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(result.error.reason, REASON_NO_NESTING);
		ck_assert_str_eq(fake.log, "");
	}
END_TEST

START_TEST(a_shared_device_takes_no_parent_of_somebodys_iommufd)
	{
		static const uint32_t kinds[] = {HW_TABLE_HWPT, HW_TABLE_IOAS};

		open_shared(2);
		ck_assert_int_eq(
			run(attach_op(2, FAKE_RID, guest_over(kinds[_i], 33))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_KIND);
		ck_assert_str_eq(fake.log, "");
	}
END_TEST

START_TEST(devices_of_one_smmu_share_the_iommu_of_their_guest)
	{
		struct hw_table table = guest();
		uint32_t viommu;

		(void)open_device(2);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		viommu = result.viommu;
		/* the same name twice is refused, and leaves the first as it is */
		ck_assert_int_eq(run(attach_op(2, FAKE_RID, table)), STATUS_EXISTS);
		ck_assert_uint_eq(result.error.reason, REASON_STREAM_TAKEN);
		ck_assert_uint_eq(fake_objects(&fake), 3);
		table.stream = 16;
		ck_assert_int_eq(run(attach_op(2, FAKE_RID, table)), 0);
		ck_assert_uint_eq(result.viommu, viommu);
		ck_assert_uint_eq(fake_objects(&fake), 5);
		fake.log[0] = '\0';
		/* it goes with the last of them, whoever was first */
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		ck_assert_ptr_null(strstr(fake.log, "destroy 1;"));
		ck_assert_uint_eq(fake_objects(&fake), 3);
		ck_assert_int_eq(run(detach_op(2, FAKE_RID)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(devices_of_two_smmus_have_an_iommu_each)
	{
		struct hw_table table = guest_over(HW_TABLE_IOAS, 2100);
		uint32_t viommu;

		fake.smmu[8] = 1;
		(void)open_device(2);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		viommu = result.viommu;
		table.stream = 16;
		ck_assert_int_eq(run(attach_op(2, FAKE_RID, table)), 0);
		ck_assert_uint_ne(result.viommu, viommu);
		ck_assert_uint_eq(fake_objects(&fake), 8);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_int_eq(run(detach_op(2, FAKE_RID)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(other_parents_have_other_iommus)
	{
		struct hw_table table = guest();

		(void)open_device(2);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, table)), 0);
		table.id = 34;
		ck_assert_int_eq(run(attach_op(2, FAKE_RID, table)), 0);
		ck_assert_uint_eq(fake_objects(&fake), 6);
	}
END_TEST

START_TEST(a_replacement_keeps_the_device_in_its_guests_iommu)
	{
		uint32_t viommu, vdevice, table;

		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		viommu = result.viommu;
		vdevice = result.vdevice;
		table = result.pt_id;
		fake.log[0] = '\0';
		ck_assert_int_eq(run(replace_op(1, entry(SMMUV3_STAGE1, 0x50000000))), 0);
		ck_assert_str_eq(fake.log, "hwpt 1/0 s1;attach 11 -1 4;destroy 3;");
		ck_assert_uint_eq(result.viommu, viommu);
		ck_assert_uint_eq(result.vdevice, vdevice);
		ck_assert_uint_ne(result.pt_id, table);
		ck_assert_uint_eq(fake_objects(&fake), 3);
	}
END_TEST

/* Whatever the kernel gives: what stands there is one of the two, and nothing else is left. */
START_TEST(a_failed_replacement_leaves_the_earlier_entry)
	{
		static const struct {
			const char *call;
			int error;
		} steps[] = {{"nest", EIO}, {"nest", ENOMEM}, {"attach", EINVAL}, {"attach", EIO}};
		uint32_t table;

		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		table = result.pt_id;
		arrange(steps[_i].call, steps[_i].error, 1);
		ck_assert_int_gt(run(replace_op(1, entry(SMMUV3_ABORT, 0))), 0);
		ck_assert_uint_eq(result.left, HW_LEFT_EARLIER);
		ck_assert_uint_eq(fake_attached(&fake, device, FAKE_RID), table);
		ck_assert_uint_eq(fake_objects(&fake), 3);
		ck_assert_uint_eq(ask(HW_LOOK).pt_id, table);
		ck_assert_uint_eq(result.viommu, 1);
	}
END_TEST

START_TEST(a_replacement_that_cannot_be_made_good_leaves_nothing)
	{
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		arrange("attach", EINVAL, 2);
		ck_assert_int_gt(run(replace_op(1, entry(SMMUV3_ABORT, 0))), 0);
		ck_assert_uint_eq(result.left, HW_LEFT_NOTHING);
		ck_assert_uint_eq(fake_objects(&fake), 0);
		ck_assert_uint_eq(ask(HW_LOOK).left, HW_LEFT_NOTHING);
		ck_assert_uint_eq(result.viommu, 0);
	}
END_TEST

START_TEST(stream_and_parent_stay_while_a_table_is_attached)
	{
		struct hw_table other = guest();

		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		fake.log[0] = '\0';
		other.stream = 9;
		ck_assert_int_eq(run(replace_op(1, other)), STATUS_STATE);
		ck_assert_uint_eq(result.error.reason, REASON_STREAM_FIXED);
		ck_assert_uint_eq(result.left, HW_LEFT_EARLIER);
		other = guest_over(HW_TABLE_HWPT, 34);
		ck_assert_int_eq(run(replace_op(1, other)), STATUS_STATE);
		other = guest_over(HW_TABLE_IOAS, 33);
		ck_assert_int_eq(run(replace_op(1, other)), STATUS_STATE);
		ck_assert_str_eq(fake.log, "");
		ck_assert_uint_eq(fake_objects(&fake), 3);
	}
END_TEST

START_TEST(plain_tables_and_guests_replace_each_other)
	{
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_TABLE(33))), 0);
		ck_assert_int_eq(run(replace_op(1, guest())), 0);
		ck_assert_uint_eq(result.viommu, 1);
		ck_assert_uint_eq(fake_objects(&fake), 3);
		ck_assert_int_eq(run(replace_op(1, VMM_TABLE(33))), 0);
		ck_assert_uint_eq(result.viommu, 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
		/* then as another stream */
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(40))), 0);
	}
END_TEST

START_TEST(what_is_there_can_be_asked)
	{
		ck_assert_uint_eq(ask(HW_REPORT).viommu, 0);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		ck_assert_uint_eq(ask(HW_LOOK).pt_id, 3);
		ck_assert_uint_eq(result.viommu, 1);
		ck_assert_uint_eq(result.vdevice, 2);
		ck_assert_uint_eq(ask(HW_REPORT).viommu, 1);
		ck_assert_uint_eq(result.vdevice, 2);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_uint_eq(ask(HW_REPORT).vdevice, 0);
	}
END_TEST

/* The kernel would say EINVAL and not why. */
START_TEST(trap_07_the_claim_of_the_rid_excludes_pasids)
	{
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		fake.log[0] = '\0';
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(40))), STATUS_STATE);
		ck_assert_uint_eq(result.error.reason, REASON_RID_CLAIMED);
		ck_assert_str_eq(fake.log, "");
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(40))), 0);
	}
END_TEST

START_TEST(trap_07_pasids_exclude_the_claim_of_the_rid)
	{
		const bool rid = _i;

		if (rid)
			ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_TABLE(40))), 0);
		ck_assert_int_eq(run(attach_op(1, 5, VMM_TABLE(40))), 0);
		fake.log[0] = '\0';
		ck_assert_int_eq(
			run(rid ? replace_op(1, guest()) : attach_op(1, FAKE_RID, guest())),
			STATUS_STATE);
		ck_assert_uint_eq(result.error.reason, REASON_PASIDS_BOUND);
		ck_assert_str_eq(fake.log, "");
		ck_assert_int_eq(run(detach_op(1, 5)), 0);
		ck_assert_int_eq(
			run(rid ? replace_op(1, guest()) : attach_op(1, FAKE_RID, guest())), 0);
	}
END_TEST

/* Attachments are the group's (trap 6). */
START_TEST(trap_07_the_claim_is_for_the_group)
	{
		int iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 1, 0);
		int other = fake_add_fd(&fake, FAKE_DEVICE, 202, RID + 2);

		fake.fd[other].group = fake.fd[device].group;
		ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
					 .device = 2,
					 .fd_count = 2,
					 .fds = {iommufd, other}}),
			0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 2}), 0);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), 0);
		ck_assert_int_eq(run(attach_op(2, 5, VMM_TABLE(40))), STATUS_STATE);
		ck_assert_uint_eq(result.error.reason, REASON_RID_CLAIMED);
		ck_assert_int_eq(run(detach_op(1, FAKE_RID)), 0);
		ck_assert_int_eq(run(attach_op(2, 5, VMM_TABLE(40))), 0);
		ck_assert_int_eq(run(attach_op(1, FAKE_RID, guest())), STATUS_STATE);
		ck_assert_uint_eq(result.error.reason, REASON_PASIDS_BOUND);
	}
END_TEST

/* F33: where there are substreams, page tables of ours are made for PASIDs; elsewhere none. */
START_TEST(trap_01_pasids_where_there_are_substreams_only)
	{
		ck_assert_int_eq(run(attach_op(1, 5, VMM_IOAS(2100))), 0);
		ck_assert_str_eq(fake.log, "hwpt 2100/8;attach 11 5 1;");
		ck_assert_int_eq(run(attach_op(1, 1 << 16, VMM_IOAS(2100))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_PASID_WIDTH);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);

		fake.info.raw[1] = 0; /* IDR1.SSIDSIZE */
		(void)open_device(2);
		ck_assert_int_eq(run(attach_op(2, 5, VMM_IOAS(2100))), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(result.error.reason, REASON_DEVICE_NO_WIDTH);
		ck_assert_str_eq(fake.log, "");
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {
		{trap_08_objects_are_made_in_order_and_go_in_reverse, 1},
		{trap_07_a_parent_of_ours_is_a_nest_parent_and_nothing_else, 2},
		{aborts_and_bypasses_are_entries_like_others, 2},
		{a_step_that_is_broken_off_leaves_nothing, 1},
		{refusals_are_made_before_the_kernel_is_asked, 1},
		{other_iommus_take_no_stream_table_entry, 2},
		{a_shared_device_takes_no_parent_of_somebodys_iommufd, 2},
		{devices_of_one_smmu_share_the_iommu_of_their_guest, 1},
		{devices_of_two_smmus_have_an_iommu_each, 1},
		{other_parents_have_other_iommus, 1},
		{a_replacement_keeps_the_device_in_its_guests_iommu, 1},
		{a_failed_replacement_leaves_the_earlier_entry, 4},
		{a_replacement_that_cannot_be_made_good_leaves_nothing, 1},
		{stream_and_parent_stay_while_a_table_is_attached, 1},
		{plain_tables_and_guests_replace_each_other, 1},
		{what_is_there_can_be_asked, 1},
		{trap_07_the_claim_of_the_rid_excludes_pasids, 1},
		{trap_07_pasids_exclude_the_claim_of_the_rid, 2},
		{trap_07_the_claim_is_for_the_group, 1},
		{trap_01_pasids_where_there_are_substreams_only, 1},
	};
	Suite *suite = suite_create("backend: tables of guests");
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
