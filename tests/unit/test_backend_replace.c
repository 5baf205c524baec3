/* SPDX-License-Identifier: MIT */
/* F34: what the kernel is asked when a page table is replaced, and how a failure is made good. */
#include "backend_fixture.h"
#include "suite.h"

static int device;

static struct hw_op replace_op(uint32_t pasid, struct hw_table table)
{
	struct hw_op op = attach_op(1, pasid, table);

	op.kind = HW_REPLACE;
	return op;
}

static struct hw_result look(uint32_t pasid)
{
	struct hw_op op = detach_op(1, pasid);

	op.kind = HW_LOOK;
	ck_assert_int_eq(run(op), 0);
	return result;
}

static void arrange(const char *name, int error, unsigned times)
{
	fake.fail_name = name;
	fake.fail_error = error;
	fake.fail_times = times;
}

static struct hw_table nested(uint32_t width)
{
	return (struct hw_table){.kind = HW_TABLE_VTD_S1,
		.parent_kind = HW_TABLE_HWPT,
		.id = 7,
		.addr_width = width,
		.pgtbl_addr = 0x1000};
}

static void begin(void)
{
	setup();
	/* VT-d with nesting: CAP.MGAW 47, ECAP.NEST, SMTS, SLTS, FLTS, PASID */
	fake.info.type = HW_IOMMU_VTD;
	fake.info.raw[0] = UINT64_C(47) << 16;
	fake.info.raw[1] = UINT64_C(1) << 26 | UINT64_C(1) << 43 | UINT64_C(1) << 46 |
			   UINT64_C(1) << 47 | UINT64_C(1) << 40 | UINT64_C(19) << 35;
	device = open_device(1);
	ck_assert_int_eq(run(attach_op(1, 100, VMM_TABLE(7))), 0);
	ck_assert_int_eq(run(attach_op(1, FAKE_RID, VMM_TABLE(7))), 0);
	fake.log[0] = '\0';
}

START_TEST(trap_03_a_replacement_is_one_call)
	{
		const uint32_t pasid = _i ? FAKE_RID : 100;

		ck_assert_int_eq(run(replace_op(pasid, VMM_TABLE(9))), 0);
		ck_assert_ptr_null(strstr(fake.log, "detach"));
		ck_assert_uint_eq(fake_attached(&fake, device, pasid), 9);
		ck_assert_uint_eq(result.pt_id, 9);
		ck_assert_uint_eq(result.made_pt, 0);
		ck_assert_uint_eq(look(pasid).pt_id, 9);
	}
END_TEST

START_TEST(a_table_of_ours_goes_when_it_was_replaced)
	{
		ck_assert_int_eq(run(replace_op(100, VMM_IOAS(3))), 0);
		ck_assert_uint_eq(result.made_pt, 1);
		ck_assert_uint_eq(fake_objects(&fake), 1);
		ck_assert_int_eq(run(replace_op(100, VMM_IOAS(4))), 0);
		ck_assert_uint_eq(fake_objects(&fake), 1);
		ck_assert_uint_eq(look(100).made_pt, 1);
		ck_assert_int_eq(run(replace_op(100, nested(48))), 0);
		ck_assert_uint_eq(fake_objects(&fake), 1);
		ck_assert_int_eq(run(replace_op(100, VMM_TABLE(7))), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
	}
END_TEST

/* The kernel would tear the entry down before it finds out. */
START_TEST(trap_16_a_bad_width_is_refused_before_anything_is_touched)
	{
		struct hw_table table = nested(57);

		ck_assert_int_eq(run(replace_op(100, nested(47))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_WIDTH);
		ck_assert_int_eq(run(replace_op(100, table)), STATUS_INVALID);
		table = nested(48);
		table.flags = HW_VTD_S1_SRE;
		ck_assert_int_eq(run(replace_op(100, table)), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_TABLE_FLAGS);
		ck_assert_uint_eq(result.left, HW_LEFT_EARLIER);
		ck_assert_str_eq(fake.log, "");
		ck_assert_uint_eq(look(100).pt_id, 7);
	}
END_TEST

START_TEST(trap_16_a_failed_replacement_is_detached_and_attached_again)
	{
		const uint32_t pasid = _i ? FAKE_RID : 100;

		arrange("attach", EINVAL, 1);
		ck_assert_int_ne(run(replace_op(pasid, VMM_IOAS(3))), 0);
		ck_assert_int_eq(result.error.sys_errno, EINVAL);
		ck_assert_ptr_nonnull(strstr(result.error.text, "attached again"));
		ck_assert_uint_eq(result.left, HW_LEFT_EARLIER);
		ck_assert_ptr_nonnull(strstr(fake.log, "detach"));
		ck_assert_uint_eq(fake_attached(&fake, device, pasid), 7);
		ck_assert_uint_eq(fake_objects(&fake), 0);
		ck_assert_uint_eq(look(pasid).pt_id, 7);
	}
END_TEST

/* What the kernel refuses before it looks at the entry is no reason to detach it. */
START_TEST(what_touched_nothing_is_not_repaired)
	{
		static const int errors[] = {EBUSY, ENOENT};

		arrange("attach", errors[_i], 0);
		ck_assert_int_ne(run(replace_op(100, VMM_TABLE(9))), 0);
		ck_assert_uint_eq(result.left, HW_LEFT_EARLIER);
		ck_assert_ptr_null(strstr(fake.log, "detach"));
		fake.fail_name = NULL;
		ck_assert_uint_eq(look(100).pt_id, 7);
		/* nor is a table that was not made */
		arrange("hwpt", ENOMEM, 1);
		ck_assert_int_ne(run(replace_op(100, VMM_IOAS(3))), 0);
		ck_assert_ptr_null(strstr(fake.log, "detach"));
		ck_assert_uint_eq(look(100).pt_id, 7);
	}
END_TEST

START_TEST(what_cannot_be_attached_again_is_gone)
	{
		ck_assert_int_eq(run(replace_op(100, VMM_IOAS(3))), 0);
		arrange("attach", EINVAL, 2);
		ck_assert_int_ne(run(replace_op(100, VMM_TABLE(9))), 0);
		ck_assert_uint_eq(result.left, HW_LEFT_NOTHING);
		ck_assert_uint_eq(fake_attached(&fake, device, 100), 0);
		ck_assert_uint_eq(fake_objects(&fake), 0);
		ck_assert_uint_eq(look(100).left, HW_LEFT_NOTHING);
		ck_assert_int_eq(run(attach_op(1, 100, VMM_TABLE(7))), 0);
	}
END_TEST

START_TEST(what_cannot_be_detached_is_in_doubt_until_it_is)
	{
		fake.fail_at = fake.calls + 2; /* the detach; the attach fails by its name */
		arrange("attach", EINVAL, 1);
		ck_assert_int_ne(run(replace_op(100, VMM_TABLE(9))), 0);
		ck_assert_uint_eq(result.left, HW_LEFT_DOUBT);
		ck_assert_uint_eq(look(100).left, HW_LEFT_DOUBT);
		ck_assert_int_eq(run(replace_op(100, VMM_TABLE(9))), STATUS_NOT_FOUND);
		ck_assert_uint_eq(result.left, HW_LEFT_DOUBT);
		ck_assert_int_eq(run(detach_op(1, 100)), 0);
		ck_assert_uint_eq(look(100).left, HW_LEFT_NOTHING);
	}
END_TEST

/* A reset that begins between the two: the repair is not bound to the caller's deadline. */
START_TEST(trap_17_a_repair_waits_for_the_end_of_a_reset)
	{
		fake.fail_at = fake.calls + 1;
		fake.fail_at_error = EINVAL;
		arrange(_i ? "attach" : "detach", EBUSY, 3);
		ck_assert_int_ne(run(replace_op(100, VMM_TABLE(9))), 0);
		ck_assert_int_eq(result.error.sys_errno, EINVAL);
		ck_assert_uint_eq(result.left, HW_LEFT_EARLIER);
		ck_assert_uint_eq(fake_attached(&fake, device, 100), 7);
	}
END_TEST

START_TEST(what_is_not_attached_is_not_replaced)
	{
		ck_assert_int_eq(run(replace_op(101, VMM_TABLE(9))), STATUS_NOT_FOUND);
		ck_assert_uint_eq(result.error.reason, REASON_NOT_BOUND);
		ck_assert_uint_eq(result.left, HW_LEFT_DOUBT);
		ck_assert_int_eq(run(replace_op(0, VMM_TABLE(9))), STATUS_INVALID);
		ck_assert_uint_eq(result.error.reason, REASON_PASID_ZERO);
		ck_assert_str_eq(fake.log, "");
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {
		{trap_03_a_replacement_is_one_call, 2},
		{a_table_of_ours_goes_when_it_was_replaced, 1},
		{trap_16_a_bad_width_is_refused_before_anything_is_touched, 1},
		{trap_16_a_failed_replacement_is_detached_and_attached_again, 2},
		{what_touched_nothing_is_not_repaired, 2},
		{what_cannot_be_attached_again_is_gone, 1},
		{what_cannot_be_detached_is_in_doubt_until_it_is, 1},
		{trap_17_a_repair_waits_for_the_end_of_a_reset, 2},
		{what_is_not_attached_is_not_replaced, 1},
	};
	Suite *suite = suite_create("backend: replacement");
	TCase *tc = tcase_create("replacement");
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
