/* SPDX-License-Identifier: MIT */
/*
 * F34: a daemon that dies while a page table is replaced. The worker lives on and did either, or
 * lost it, or went with the daemon; what another daemon records is what stands there.
 */
#include "recover_rig.h"

#include <errno.h>

static struct actor a;
static struct device_id device;
static struct hpasid host;
static uint32_t tables; /* charged before */

static const struct set_id own = {0};

static struct model_entry *entry(void)
{
	return (struct model_entry *)model_entry_in(&f.model, 1, host.v);
}

static struct binding_info binding(void)
{
	struct binding_info info = {.state = BINDING_FREE};
	uint64_t cursor = 0;

	(void)broker_binding_next(f.broker, &f.admin, own, &cursor, &info);
	return info;
}

/* A replacement was asked for, and went so far that hardware has heard of it. */
static void replace_and_die(uint32_t kind, bool stands)
{
	const struct bind_pair pair = {{device.v}, {.kind = kind, .id = 1}};
	const struct pasid_ref ref = {.number = host.v};

	fixture_settle(&f);
	ck_assert_int_eq(broker_replace(f.broker, &a, own, &ref, &pair, 0, &f.error), 0);
	broker_flush(f.broker);
	recover_begin(stands);
}

static void setup(void)
{
	recover_setup();
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
	device = fixture_add(&f, &a, 1, 50);
	host = fixture_allocate(&f, &a);
	ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
	tables = recover_host_use(RESOURCE_PAGE_TABLES);
}

static void teardown(void)
{
	recover_teardown();
}

START_TEST(what_the_worker_replaced_unheard_is_what_is_recorded)
	{
		replace_and_die(_i ? HW_TABLE_HWPT : HW_TABLE_SPACE, true);
		/* both are charged until it is known which one stands */
		ck_assert_uint_eq(recover_host_use(RESOURCE_PAGE_TABLES), tables + (_i ? 0u : 1u));
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_BOUND);
		ck_assert_uint_eq(binding().table.pt_id, entry()->pt_id);
		ck_assert_uint_eq(binding().table.made, entry()->made_pt);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PAGE_TABLES), tables - (_i ? 1u : 0u));
		/* asked again, it is done again */
		replace_and_die(_i ? HW_TABLE_HWPT : HW_TABLE_SPACE, true);
		recover_run();
		ck_assert_uint_eq(recover_host_use(RESOURCE_PAGE_TABLES), tables - (_i ? 1u : 0u));
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

/* The worker refused, or failed and put the earlier table back. */
START_TEST(what_it_did_not_replace_is_as_before)
	{
		const struct model_entry before = *entry();

		replace_and_die(HW_TABLE_SPACE, true);
		*entry() = before;
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_BOUND);
		ck_assert_uint_eq(binding().table.pt_id, before.pt_id);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PAGE_TABLES), tables);
	}
END_TEST

START_TEST(what_it_could_not_put_back_is_gone)
	{
		replace_and_die(HW_TABLE_SPACE, true);
		entry()->used = false;
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_FREE);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PAGE_TABLES), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
	}
END_TEST

/* It says that it does not know, fails, or dies when it is asked. */
START_TEST(what_it_does_not_know_is_tainted)
	{
		replace_and_die(HW_TABLE_SPACE, true);
		if (_i == 0)
			entry()->doubtful = true;
		else
			model_arrange(&f, HW_LOOK, _i == 1 ? STATUS_HARDWARE : -EPIPE, 0, 1);
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_TAINTED);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
	}
END_TEST

START_TEST(a_worker_that_is_gone_leaves_it_tainted)
	{
		replace_and_die(HW_TABLE_SPACE, false);
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_TAINTED);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PAGE_TABLES), tables);
	}
END_TEST

START_TEST(a_worker_may_die_while_it_is_looked_at)
	{
		replace_and_die(HW_TABLE_SPACE, true);
		ck_assert(model_step(&f, 0)); /* its account of the device */
		broker_flush(f.broker);
		model_lose_lane(&f, a.set.v);
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_TAINTED);
	}
END_TEST

/* The loss is told before the answer. */
START_TEST(a_binding_may_be_lost_while_it_is_looked_at)
	{
		struct hw_result result = {0};

		replace_and_die(HW_TABLE_SPACE, true);
		ck_assert(model_step(&f, 0));
		broker_flush(f.broker);
		ck_assert_uint_eq(f.model.ops[0].kind, HW_LOOK);
		result.id = f.model.ops[0].id;
		result.status = -EPIPE;
		broker_lane_lost(f.broker, f.model.ops[0].lane);
		f.model.count = 0;
		broker_complete(f.broker, &result);
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_TAINTED);
	}
END_TEST

START_TEST(the_question_is_asked_until_it_is_taken)
	{
		replace_and_die(HW_TABLE_SPACE, true);
		ck_assert(model_step(&f, 0));
		f.model.submit_status = -EAGAIN;
		broker_flush(f.broker);
		f.model.submit_status = 0;
		ck_assert_uint_eq(f.model.count, 0);
		fixture_pass_second(&f);
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_BOUND);
		ck_assert_uint_eq(binding().table.pt_id, entry()->pt_id);
	}
END_TEST

/* A VMM may have named the table that was made for it. */
START_TEST(the_same_table_may_be_whose_the_worker_says)
	{
		const struct model_entry before = *entry();

		replace_and_die(HW_TABLE_HWPT, true);
		*entry() = before;
		entry()->made_pt = before.made_pt ? 0 : before.pt_id;
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_BOUND);
		ck_assert_uint_eq(binding().table.pt_id, before.pt_id);
		ck_assert_int_eq(!binding().table.made, !entry()->made_pt);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
	}
END_TEST

/* Requests of the set wait until it is known. */
START_TEST(a_recovery_may_be_interrupted)
	{
		replace_and_die(HW_TABLE_SPACE, true);
		for (unsigned steps = 0; steps < 3; steps++) {
			for (unsigned i = 0; i < steps; i++)
				(void)model_step(&f, 0);
			recover_begin(true);
		}
		recover_run();
		ck_assert_int_eq(binding().state, BINDING_BOUND);
		ck_assert_uint_eq(binding().table.pt_id, entry()->pt_id);
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {
		{what_the_worker_replaced_unheard_is_what_is_recorded, 2},
		{what_it_did_not_replace_is_as_before, 1},
		{what_it_could_not_put_back_is_gone, 1},
		{what_it_does_not_know_is_tainted, 3},
		{a_worker_that_is_gone_leaves_it_tainted, 1},
		{a_worker_may_die_while_it_is_looked_at, 1},
		{a_binding_may_be_lost_while_it_is_looked_at, 1},
		{the_question_is_asked_until_it_is_taken, 1},
		{the_same_table_may_be_whose_the_worker_says, 1},
		{a_recovery_may_be_interrupted, 1},
	};
	Suite *suite = suite_create("broker: replacement and restart");
	TCase *tc = tcase_create("restart");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i].test, 0, tests[i].count);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
