/* SPDX-License-Identifier: MIT */
/* VT-d: capabilities, checks of a guest's first-stage table, and the order of nesting. */
#include "hw/vtd.h"

#include "fake_calls.h"
#include "hw/uapi.h"
#include "hw/vtd_table.h"

#include <stdlib.h>

static struct fake fake;
static struct backend *backend;
static struct hw_result result;
static int device;

/* An IOMMU that has everything. */
static struct vtd_caps all_caps(void)
{
	return (struct vtd_caps){
		.sagaw = 0xc,
		.mgaw = 48,
		.fl5lp = true,
		.scalable = true,
		.pasid = true,
		.pasid_width = 20,
		.nest = true,
		.first_stage = true,
		.second_stage = true,
		.supervisor = true,
		.extended_access = true,
	};
}

static struct hw_info info_of(const struct vtd_caps *caps)
{
	struct calls_info raw = {.type = HW_IOMMU_VTD, .max_pasid_log2 = 20};
	struct hw_info info = {.iommu = HW_IOMMU_VTD, .pasid_width = 20};

	vtd_caps_encode(caps, &raw.raw[0], &raw.raw[1]);
	memcpy(info.raw, raw.raw, sizeof(info.raw));
	vtd_kind.decode(&raw, &info);
	return info;
}

static int run(struct hw_op op)
{
	backend_execute(backend, &op, &result);
	return result.status;
}

static void open_with(const struct vtd_caps *caps)
{
	int iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 1, 0);

	device = fake_add_fd(&fake, FAKE_DEVICE, 2, 0x108);
	fake.info.type = HW_IOMMU_VTD;
	fake.info.max_pasid_log2 = 20;
	vtd_caps_encode(caps, &fake.info.raw[0], &fake.info.raw[1]);
	ck_assert_int_eq(
		run((struct hw_op){
			.kind = HW_IDENTIFY, .device = 1, .fd_count = 2, .fds = {iommufd, device}}),
		0);
	ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 1}), 0);
	fake.log[0] = '\0';
}

static void setup(void)
{
	const struct vtd_caps caps = all_caps();

	fake_init(&fake);
	ck_assert_int_eq(backend_new(&fake_calls, &fake, &backend), 0);
	open_with(&caps);
}

static void teardown(void)
{
	backend_free(backend);
}

static struct hw_table guest_table(void)
{
	return (struct hw_table){
		.kind = HW_TABLE_VTD_S1,
		.parent_kind = HW_TABLE_HWPT,
		.id = 33,
		.addr_width = 48,
		.pgtbl_addr = 0x123000,
	};
}

static int attach(uint32_t pasid, struct hw_table table)
{
	return run((struct hw_op){.kind = HW_ATTACH,
		.device = 1,
		.owner = 5,
		.has_pasid = pasid != FAKE_RID,
		.pasid = {pasid},
		.table = table});
}

static int detach(uint32_t pasid)
{
	return run((struct hw_op){
		.kind = HW_DETACH, .device = 1, .has_pasid = pasid != FAKE_RID, .pasid = {pasid}});
}

static void map_space(void)
{
	int memfd = fake_add_fd(&fake, FAKE_MEMFD, 900, 0);

	ck_assert_int_eq(run((struct hw_op){.kind = HW_MAP,
				 .device = 1,
				 .owner = 5,
				 .space = 4,
				 .length = 4096,
				 .fd_count = 1,
				 .fds = {memfd, -1}}),
		0);
	fake.log[0] = '\0';
}

START_TEST(capabilities_are_told_one_by_one)
	{
		struct vtd_caps caps = all_caps();

		ck_assert_uint_eq(info_of(&caps).caps, HW_CAP_PASID | HW_CAP_NESTED | HW_CAP_SRE |
							       HW_CAP_WPE | HW_CAP_EAFE |
							       HW_CAP_FL5);
		caps.fl5lp = false;
		ck_assert_uint_eq(info_of(&caps).caps & HW_CAP_FL5, 0);
		caps.extended_access = false;
		ck_assert_uint_eq(info_of(&caps).caps & HW_CAP_EAFE, 0);
		caps.supervisor = false;
		ck_assert_uint_eq(info_of(&caps).caps, HW_CAP_PASID | HW_CAP_NESTED);
		caps.nest = false;
		ck_assert_uint_eq(info_of(&caps).caps, HW_CAP_PASID);
	}
END_TEST

START_TEST(nesting_needs_both_stages_and_scalable_mode)
	{
		struct vtd_caps caps = all_caps();

		caps.first_stage = false;
		ck_assert_uint_eq(info_of(&caps).caps & HW_CAP_NESTED, 0);
		caps = all_caps();
		caps.second_stage = false;
		ck_assert_uint_eq(info_of(&caps).caps & HW_CAP_NESTED, 0);
		caps = all_caps();
		caps.scalable = false;
		ck_assert_uint_eq(info_of(&caps).caps & HW_CAP_NESTED, 0);
	}
END_TEST

/* Refused with the reason, and nothing reached the kernel. */
static void assert_refused(struct hw_table table, enum reason reason)
{
	ck_assert_int_gt(attach(5, table), 0);
	ck_assert_uint_eq(result.error.reason, reason);
	ck_assert_str_eq(fake.log, "");
}

START_TEST(trap_16_width_is_checked_before_the_kernel)
	{
		struct vtd_caps caps = all_caps();
		struct hw_table table = guest_table();
		struct hw_info info;
		struct error error;

		table.addr_width = 39;
		assert_refused(table, REASON_TABLE_WIDTH);
		table.addr_width = 0;
		assert_refused(table, REASON_TABLE_WIDTH);
		table.addr_width = 57;
		ck_assert_int_eq(attach(5, table), 0);
		caps.fl5lp = false;
		info = info_of(&caps);
		ck_assert_int_eq(vtd_check_nested(&info, &table, &error), STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_TABLE_WIDTH);
		ck_assert_uint_eq(error.limit, 48);
		table.addr_width = 48;
		ck_assert_int_eq(vtd_check_nested(&info, &table, &error), 0);
	}
END_TEST

START_TEST(trap_16_flags_are_checked_before_the_kernel)
	{
		struct vtd_caps caps = all_caps();
		struct hw_table table = guest_table();
		struct hw_info all = info_of(&caps), info;
		struct error error;

		table.flags = 8;
		assert_refused(table, REASON_TABLE_FLAGS);
		table.flags = 1ull << 40 | HW_VTD_S1_SRE;
		assert_refused(table, REASON_TABLE_FLAGS);

		caps.supervisor = false;
		caps.extended_access = false;
		info = info_of(&caps);
		for (uint64_t flag = HW_VTD_S1_SRE; flag <= HW_VTD_S1_WPE; flag <<= 1) {
			table.flags = flag;
			ck_assert_int_eq(vtd_check_nested(&all, &table, &error), 0);
			ck_assert_int_eq(vtd_check_nested(&info, &table, &error), STATUS_INVALID);
			ck_assert_uint_eq(error.reason, REASON_TABLE_FLAGS);
		}
	}
END_TEST

START_TEST(trap_16_address_is_checked_before_the_kernel)
	{
		struct hw_table table = guest_table();

		table.pgtbl_addr = 0x123800;
		assert_refused(table, REASON_TABLE_ADDRESS);
		table.pgtbl_addr = 1ull << 48;
		assert_refused(table, REASON_TABLE_ADDRESS);
		table.pgtbl_addr = (1ull << 48) - 0x1000;
		ck_assert_int_eq(attach(5, table), 0);
	}
END_TEST

START_TEST(iommu_without_nesting_is_named)
	{
		struct vtd_caps caps = all_caps();

		caps.nest = false;
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		open_with(&caps);
		assert_refused(guest_table(), REASON_NO_NESTING);
	}
END_TEST

START_TEST(guest_table_reaches_the_kernel_as_it_is)
	{
		struct hw_table table = guest_table();
		struct uapi_hwpt_vtd_s1 data;

		table.flags = HW_VTD_S1_SRE | HW_VTD_S1_WPE;
		table.addr_width = 57;
		ck_assert_int_eq(attach(5, table), 0);
		memcpy(&data, fake.data, sizeof(data));
		ck_assert_uint_eq(data.flags, 5);
		ck_assert_uint_eq(data.pgtbl_addr, 0x123000);
		ck_assert_uint_eq(data.addr_width, 57);
		ck_assert_uint_eq(data.reserved, 0);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->data_type, UAPI_HWPT_DATA_VTD_S1);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->data_len, 24);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->pt_id, 33);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->flags, CALLS_HWPT_PASID);
		ck_assert_uint_eq(result.made_pt, 1);
		ck_assert_uint_eq(fake_attached(&fake, device, 5), result.pt_id);
	}
END_TEST

START_TEST(nesting_over_a_space_makes_one_parent_first)
	{
		struct hw_table table = guest_table();
		char expected[200];

		map_space();
		table.parent_kind = HW_TABLE_SPACE;
		table.id = 4;
		ck_assert_int_eq(attach(5, table), 0);
		ck_assert_int_eq(attach(6, table), 0);
		/* IOAS 1; parent 2 with NEST_PARENT and PASID; nested 3 and 4 */
		(void)snprintf(expected, sizeof(expected),
			"hwpt 1/9;hwpt 2/8 s1;attach %d 5 3;hwpt 2/8 s1;attach %d 6 4;", device,
			device);
		ck_assert_str_eq(fake.log, expected);
		fake.log[0] = '\0';
		ck_assert_int_eq(detach(5), 0);
		ck_assert_int_eq(detach(6), 0);
		(void)snprintf(expected, sizeof(expected),
			"detach %d 5;destroy 3;detach %d 6;destroy 4;destroy 2;", device, device);
		ck_assert_str_eq(fake.log, expected);
	}
END_TEST

START_TEST(plain_and_nested_use_of_a_space_are_two_tables)
	{
		struct hw_table nested = guest_table();

		map_space();
		nested.parent_kind = HW_TABLE_SPACE;
		nested.id = 4;
		ck_assert_int_eq(attach(5, nested), 0);
		ck_assert_int_eq(attach(6, (struct hw_table){.kind = HW_TABLE_SPACE, .id = 4}), 0);
		ck_assert_uint_eq(fake_hwpt(&fake, result.pt_id)->flags, CALLS_HWPT_PASID);
		ck_assert_uint_eq(fake_objects(&fake), 4);
	}
END_TEST

START_TEST(attach_broken_off_at_any_step_undoes_the_others)
	{
		struct hw_table table = guest_table();

		map_space();
		table.parent_kind = HW_TABLE_SPACE;
		table.id = 4;
		fake.fail_error = EIO;
		for (unsigned int k = 1;; k++) {
			fake.fail_at = fake.calls + k;
			if (attach(5, table) == 0) {
				ck_assert_uint_eq(k, 4); /* parent, nested, attach */
				break;
			}
			ck_assert_uint_eq(fake_objects(&fake), 1);
			ck_assert_uint_eq(fake.attached_count, 0);
		}
	}
END_TEST

START_TEST(close_destroys_children_before_parents)
	{
		struct hw_table table = guest_table();
		char expected[200];

		map_space();
		table.parent_kind = HW_TABLE_SPACE;
		table.id = 4;
		ck_assert_int_eq(attach(FAKE_RID, table), 0);
		ck_assert_int_eq(attach(5, table), 0);
		fake.log[0] = '\0';
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		(void)snprintf(expected, sizeof(expected),
			"detach %d 5;destroy 4;detach %d -1;destroy 3;destroy 2;destroy 1;"
			"close %d;close %d;",
			device, device, device, device - 1);
		ck_assert_str_eq(fake.log, expected);
	}
END_TEST

START_TEST(nested_table_that_cannot_be_destroyed_goes_with_the_close)
	{
		struct hw_table table = guest_table();

		map_space();
		table.parent_kind = HW_TABLE_SPACE;
		table.id = 4;
		ck_assert_int_eq(attach(5, table), 0);
		fake.fail_name = "destroy";
		fake.fail_error = EBUSY;
		ck_assert_int_eq(detach(5), 0);
		ck_assert_uint_eq(fake_objects(&fake), 3);
		fake.fail_name = NULL;
		ck_assert_int_eq(run((struct hw_op){.kind = HW_CLOSE, .device = 1}), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

START_TEST(kernel_that_cannot_nest_is_named)
	{
		fake.fail_name = "nest";
		fake.fail_error = EOPNOTSUPP;
		ck_assert_int_eq(attach(5, guest_table()), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(result.error.reason, REASON_NO_NESTING);
		fake.fail_error = EINVAL;
		ck_assert_int_eq(attach(5, guest_table()), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_KIND);
		ck_assert_ptr_nonnull(strstr(result.error.text, "NEST_PARENT"));
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vtd");
	TCase *tc = tcase_create("vtd");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, capabilities_are_told_one_by_one);
	tcase_add_test(tc, nesting_needs_both_stages_and_scalable_mode);
	tcase_add_test(tc, trap_16_width_is_checked_before_the_kernel);
	tcase_add_test(tc, trap_16_flags_are_checked_before_the_kernel);
	tcase_add_test(tc, trap_16_address_is_checked_before_the_kernel);
	tcase_add_test(tc, iommu_without_nesting_is_named);
	tcase_add_test(tc, guest_table_reaches_the_kernel_as_it_is);
	tcase_add_test(tc, nesting_over_a_space_makes_one_parent_first);
	tcase_add_test(tc, plain_and_nested_use_of_a_space_are_two_tables);
	tcase_add_test(tc, attach_broken_off_at_any_step_undoes_the_others);
	tcase_add_test(tc, close_destroys_children_before_parents);
	tcase_add_test(tc, nested_table_that_cannot_be_destroyed_goes_with_the_close);
	tcase_add_test(tc, kernel_that_cannot_nest_is_named);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
