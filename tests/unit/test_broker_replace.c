/* SPDX-License-Identifier: MIT */
/* F34: another page table in the place of a bound one, and what stands when that fails. */
#include "limit_rig.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

#define SHARED 5

static struct actor a, c;
static struct device_id device, slice;
static struct hpasid host;

static const struct set_id own = {0};
static const struct hw_table theirs = {.kind = HW_TABLE_HWPT, .id = 77};
static const struct hw_table space1 = {.kind = HW_TABLE_SPACE, .id = 1};
static const struct hw_table nested = {.kind = HW_TABLE_VTD_S1,
	.parent_kind = HW_TABLE_SPACE,
	.id = 0,
	.addr_width = 48,
	.pgtbl_addr = 0x1000};

static void prepare(void)
{
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 20);
	device = fixture_add(&f, &a, 1, 10);
	(void)fixture_share(&f, SHARED);
	slice = fixture_slice(&f, &a, SHARED);
	host = fixture_allocate(&f, &a);
	ck_assert_int_eq(fixture_bind(&f, &a, host, (struct device_id[]){device, slice}, 2), 0);
}

static void setup(void)
{
	fixture_config(&f);
	f.model.group_of[2] = f.model.group_of[1]; /* functions 1 and 2 are one group */
	fixture_open(&f);
	prepare();
}

static void teardown(void)
{
	fixture_leave(&f);
}

static int ask(const struct actor *actor, bool rid, struct device_id where,
	const struct hw_table *table, uint64_t cookie)
{
	const struct pasid_ref ref = {.number = host.v};
	const struct bind_pair pair = {where, *table};

	return broker_replace(f.broker, actor, own, rid ? NULL : &ref, &pair, cookie, &f.error);
}

/* The status of the outcome, or of the refusal; f.error is the outcome's. */
static int replace(struct device_id where, const struct hw_table *table)
{
	struct outcome outcome;

	if (ask(&a, false, where, table, 7))
		return (int)reason_status((enum reason)f.error.reason);
	outcome = fixture_outcome(&f, 7);
	f.error = outcome.error;
	return outcome.status;
}

static void refused(struct device_id where, const struct hw_table *table, enum reason reason)
{
	const unsigned before = f.model.carried_out;

	ck_assert_int_ne(replace(where, table), 0);
	ck_assert_msg(f.error.reason == (uint32_t)reason, "%s", f.error.text);
	ck_assert_uint_eq(f.model.carried_out, before);
	fixture_recount(&f);
}

/* The binding of the number on that device; state BINDING_FREE: there is none. */
static struct binding_info binding_on(struct device_id where)
{
	struct binding_info info;
	uint64_t cursor = 0;

	while (broker_binding_next(f.broker, &f.admin, own, &cursor, &info)) {
		if (info.device.v == where.v)
			return info;
	}
	return (struct binding_info){.state = BINDING_FREE};
}

static bool changed(enum change_kind kind)
{
	struct change change;

	for (uint64_t next = 1; broker_change_get(f.broker, next, &change);
		next = change.sequence + 1) {
		if (change.kind == (uint32_t)kind && change.host == host.v)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ what is done */

/* F34 */
START_TEST(a_bound_table_is_replaced_in_one_step)
	{
		const uint32_t tables = limit_use(&a, RESOURCE_PAGE_TABLES);
		const unsigned before = f.model.carried_out;
		struct outcome outcome;

		ck_assert_int_eq(ask(&a, false, device, &theirs, 7), 0);
		outcome = fixture_outcome(&f, 7);
		ck_assert_int_eq(outcome.status, 0);
		ck_assert_uint_eq(f.model.carried_out, before + 1);
		ck_assert_uint_eq(outcome.host.v, host.v);
		ck_assert_uint_eq(outcome.table_count, 1);
		ck_assert_uint_eq(outcome.tables[0].device.v, device.v);
		ck_assert_uint_eq(outcome.tables[0].pt_id, 77);
		ck_assert(!outcome.tables[0].made);
		ck_assert(changed(CHANGE_BINDING_REPLACED));
		ck_assert(!changed(CHANGE_BINDING_UNBOUND));
		ck_assert_uint_eq(binding_on(device).table.pt_id, 77);
		ck_assert_uint_eq(model_entry_in(&f.model, 1, host.v)->table.kind, HW_TABLE_HWPT);
		/* the VMM's own table costs nothing, and the daemon's is gone */
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), tables - 1);
		ck_assert_int_eq(replace(device, &nested), 0);
		ck_assert(binding_on(device).table.made);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), tables + 1);
		ck_assert_int_eq(replace(device, &nested), 0); /* another one of that kind */
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), tables + 1);
		fixture_recount(&f);
	}
END_TEST

/* Kernel ids of a shared device are not told. */
START_TEST(the_table_of_a_slice_is_replaced)
	{
		ck_assert_int_eq(replace(slice, &space1), 0);
		ck_assert_uint_eq(binding_on(slice).table.pt_id, 0);
		ck_assert_uint_eq(model_entry_in(&f.model, SHARED, host.v)->table.id, 1);
		refused(slice, &theirs, REASON_TABLE_KIND);
	}
END_TEST

START_TEST(the_table_of_a_rid_is_replaced)
	{
		const struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};
		struct outcome outcome;

		ck_assert_int_eq(ask(&a, true, device, &theirs, 7), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 7).error.reason, REASON_NOT_BOUND);
		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(ask(&a, true, device, &theirs, 7), 0);
		outcome = fixture_outcome(&f, 7);
		ck_assert_int_eq(outcome.status, 0);
		ck_assert_uint_eq(outcome.host.v, 0);
		ck_assert_uint_eq(outcome.tables[0].pt_id, 77);
		ck_assert_uint_eq(model_entry_in(&f.model, 1, 0)->table.id, 77);
		ck_assert_int_eq(ask(&a, true, slice, &space1, 7), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 7).error.reason, REASON_DEVICE_SHARED);
	}
END_TEST

/* The group's one table is replaced through the function that it is bound through. */
START_TEST(trap_06_a_replacement_counts_once_a_group)
	{
		struct device_id two = fixture_add(&f, &a, 2, 10);
		struct bind_pair pairs[] = {{device, theirs}, {two, theirs}};
		struct pasid_ref ref = {.number = fixture_allocate(&f, &a).v};
		const struct hw_table other = {.kind = HW_TABLE_HWPT, .id = 78};
		struct outcome outcome;

		ck_assert_int_eq(broker_bind(f.broker, &a, own, ref, pairs, 2, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		host.v = ref.number;
		ck_assert_int_eq(ask(&a, false, two, &other, 7), 0);
		outcome = fixture_outcome(&f, 7);
		ck_assert_int_eq(outcome.status, 0);
		ck_assert_uint_eq(outcome.tables[0].pt_id, 78);
		ck_assert_uint_eq(model_entry_in(&f.model, 1, host.v)->table.id, 78);
		/* address spaces are those of one function */
		refused(two, &space1, REASON_GROUP_TABLE);
		refused(two, &nested, REASON_GROUP_TABLE);
		ck_assert_int_eq(replace(device, &space1), 0);
	}
END_TEST

/* ------------------------------------------------------------------ what is refused */

START_TEST(what_is_not_there_is_not_replaced)
	{
		const struct hw_table none = {0}, beyond = {.kind = HW_TABLE_SPACE, .id = 99};
		const struct hpasid bound = host;
		struct device_id two = fixture_add(&f, &a, 3, 10);

		refused(two, &theirs, REASON_NOT_BOUND);
		refused(device, &none, REASON_TABLE_KIND);
		refused(device, &beyond, REASON_TABLE_ID);
		refused((struct device_id){4711}, &theirs, REASON_NO_DEVICE);
		ck_assert_int_eq(ask(&c, false, device, &theirs, 7), STATUS_NOT_FOUND);
		ck_assert_uint_eq(f.error.reason, REASON_NO_PASID);
		host.v++;
		ck_assert_int_eq(ask(&a, false, device, &theirs, 7), STATUS_NOT_FOUND);
		host = bound;
		/* somebody else's device, with a number of one's own */
		host = fixture_allocate(&f, &c);
		ck_assert_int_eq(ask(&c, false, device, &theirs, 7), STATUS_NOT_FOUND);
		ck_assert_uint_eq(f.error.reason, REASON_NO_DEVICE);
		host = bound;
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		refused(device, &theirs, REASON_NOT_ACTIVE);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		refused(device, &theirs, REASON_NOT_ACTIVE);
		broker_block(f.broker);
		ck_assert_int_eq(ask(&a, false, device, &theirs, 7), STATUS_STATE);
		ck_assert_uint_eq(f.error.reason, REASON_UNCONFIRMED);
	}
END_TEST

/* A number that only waits for its shared device to be drained is not bound. */
START_TEST(what_is_detached_and_not_drained_is_not_replaced)
	{
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		refused(slice, &space1, REASON_NOT_BOUND);
	}
END_TEST

START_TEST(both_tables_are_charged_until_one_stands)
	{
		const uint32_t tables = limit_use(&a, RESOURCE_PAGE_TABLES);

		ck_assert_int_eq(ask(&a, false, device, &nested, 7), 0);
		broker_flush(f.broker);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), tables + 2);
		fixture_recount(&f);
		ck_assert_int_eq(fixture_outcome(&f, 7).status, 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), tables + 1);
	}
END_TEST

START_TEST(a_limit_that_both_tables_exceed_refuses_the_new_one)
	{
		/* the same machine, without what ran there */
		memset(f.model.devices, 0, sizeof(f.model.devices));
		memset(f.model.entries, 0, sizeof(f.model.entries));
		limit_open(RESOURCE_PAGE_TABLES, 2, 100, 100);
		prepare();
		refused(device, &nested, REASON_LIMIT);
		ck_assert_int_eq(replace(device, &theirs), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 1);
	}
END_TEST

/* ------------------------------------------------------------------ what fails */

/* The next replacement fails, and leaves that. */
static int replace_fails(struct device_id where, int status, enum hw_left left)
{
	int r;

	model_arrange(&f, HW_REPLACE, status, 0, 1);
	f.model.fail_left = left;
	r = replace(where, &nested);
	f.model.fail_left = HW_LEFT_EARLIER;
	fixture_recount(&f);
	return r;
}

START_TEST(a_failed_replacement_leaves_the_earlier_table)
	{
		const uint32_t tables = limit_use(&a, RESOURCE_PAGE_TABLES);
		const struct binding_info before = binding_on(device);
		struct binding_info after;

		ck_assert_int_eq(
			replace_fails(device, STATUS_HARDWARE, HW_LEFT_EARLIER), STATUS_HARDWARE);
		ck_assert_uint_eq(f.error.reason, REASON_KERNEL_REFUSED);
		after = binding_on(device);
		ck_assert_int_eq(after.state, BINDING_BOUND);
		ck_assert_uint_eq(after.table.pt_id, before.table.pt_id);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), tables);
		ck_assert(!changed(CHANGE_BINDING_REPLACED));
		ck_assert_int_eq(replace(device, &nested), 0);
	}
END_TEST

START_TEST(a_binding_that_could_not_be_restored_is_gone_and_told_so)
	{
		const struct device_id where = _i ? slice : device;

		ck_assert_int_eq(
			replace_fails(where, STATUS_HARDWARE, HW_LEFT_NOTHING), STATUS_HARDWARE);
		ck_assert_uint_eq(f.error.reason, REASON_BINDING_LOST);
		ck_assert_ptr_nonnull(strstr(f.error.text, "as arranged"));
		ck_assert(changed(CHANGE_BINDING_LOST));
		ck_assert_int_eq(binding_on(where).state, BINDING_FREE);
		ck_assert(!model_has(&f, _i ? SHARED : 1, host.v));
		refused(where, &space1, REASON_NOT_BOUND);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &where, 1), 0);
	}
END_TEST

START_TEST(what_may_stand_there_is_tainted_until_it_is_detached)
	{
		const struct device_id where = _i ? slice : device;

		ck_assert_int_eq(
			replace_fails(where, STATUS_HARDWARE, HW_LEFT_DOUBT), STATUS_HARDWARE);
		ck_assert_uint_eq(f.error.reason, REASON_UNDO_FAILED);
		ck_assert_ptr_nonnull(strstr(f.error.text, "as arranged"));
		if (!_i)
			refused(where, &theirs, REASON_DEVICE_TAINTED);
		/* it is bound, as far as anybody knows, and keeps the number */
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_assert_int_ne(fixture_state(&f, host), GRANT_IDLE);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		fixture_recount(&f);
	}
END_TEST

/* Through a function of the group that came later, and has failed in nothing. */
START_TEST(what_another_function_of_the_group_left_is_not_replaced)
	{
		struct device_id two;

		ck_assert_int_eq(
			replace_fails(device, STATUS_HARDWARE, HW_LEFT_DOUBT), STATUS_HARDWARE);
		two = fixture_add(&f, &a, 2, 10);
		refused(two, &theirs, REASON_DEVICE_TAINTED);
		ck_assert_ptr_nonnull(strstr(f.error.text, "failed to detach before"));
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
	}
END_TEST

/* Nobody knows what the worker had done by then. */
START_TEST(a_worker_that_dies_leaves_what_its_death_leaves)
	{
		const struct device_id where = _i ? slice : device;
		struct device_info info;
		struct outcome outcome;

		ck_assert_int_eq(broker_device_get(f.broker, &f.admin, where, &info, &f.error), 0);
		ck_assert_int_eq(ask(&a, false, where, &space1, 7), 0);
		broker_flush(f.broker);
		model_lose_lane(&f, f.model.ops[0].lane);
		fixture_recount(&f);
		outcome = fixture_outcome(&f, 7);
		ck_assert_uint_eq(outcome.error.reason, REASON_WORKER_LOST);
		ck_assert(changed(CHANGE_BINDING_LOST) || !_i);
		if (!_i)
			ck_assert_int_eq(binding_on(where).state, BINDING_TAINTED);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_OPERATIONS), 0);
	}
END_TEST

/* The loss is told before the result of what was asked for. */
START_TEST(a_replacement_whose_binding_was_lost_fails)
	{
		struct hw_result result = {0};

		ck_assert_int_eq(ask(&a, false, device, &space1, 7), 0);
		broker_flush(f.broker);
		result.id = f.model.ops[0].id;
		result.status = -EPIPE;
		broker_lane_lost(f.broker, f.model.ops[0].lane);
		f.model.count = 0;
		broker_complete(f.broker, &result);
		fixture_recount(&f);
		ck_assert_uint_eq(fixture_outcome(&f, 7).error.reason, REASON_WORKER_LOST);
		model_end(&f.model, a.set.v);
	}
END_TEST

START_TEST(a_worker_learns_until_when_it_is_waited_for)
	{
		broker_set_until(f.broker, f.now_ms + 77);
		ck_assert_int_eq(ask(&a, false, device, &theirs, 7), 0);
		broker_set_until(f.broker, 0);
		broker_flush(f.broker);
		ck_assert_uint_eq(f.model.ops[0].kind, HW_REPLACE);
		ck_assert_uint_eq(f.model.ops[0].until_ms, f.now_ms + 77);
		ck_assert_int_eq(fixture_outcome(&f, 7).status, 0);
	}
END_TEST

START_TEST(what_the_port_does_not_take_changed_nothing)
	{
		const struct binding_info before = binding_on(device);

		f.model.submit_status = -EAGAIN;
		ck_assert_int_eq(replace(device, &nested), STATUS_RETRY);
		f.model.submit_status = 0;
		ck_assert_uint_eq(binding_on(device).table.pt_id, before.table.pt_id);
		fixture_recount(&f);
		ck_assert_int_eq(replace(device, &nested), 0);
	}
END_TEST

/* ------------------------------------------------------------------ its place among others */

START_TEST(it_takes_effect_in_the_order_of_the_requests)
	{
		const struct pasid_ref ref = {.number = host.v};

		ck_assert_int_eq(ask(&a, false, device, &space1, 1), 0);
		ck_assert_int_eq(ask(&a, false, device, &theirs, 2), 0);
		ck_assert_int_eq(broker_unbind(f.broker, &a, own, ref, NULL, 0, 3, &f.error), 0);
		ck_assert_int_eq(ask(&a, false, device, &space1, 4), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
		ck_assert_uint_eq(fixture_outcome(&f, 4).error.reason, REASON_NOT_BOUND);
		ck_assert(!model_has(&f, 1, host.v));
	}
END_TEST

/* The removal waits for it, and it for a removal; through another function of the group, too. */
START_TEST(a_removal_and_a_replacement_wait_for_each_other)
	{
		struct device_id two = fixture_add(&f, &a, 2, 10);

		ck_assert_int_eq(ask(&a, false, two, &theirs, 1), 0);
		ck_assert_int_eq(broker_device_going(f.broker, &a, own, device, 2, &f.error), 0);
		ck_assert_int_eq(ask(&a, false, two, &theirs, 3), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_uint_eq(fixture_outcome(&f, 3).error.reason, REASON_NOT_BOUND);
		ck_assert(!model_has(&f, 1, host.v));
	}
END_TEST

/* RIDs have no number whose order counts: of one group they meet in their binding. */
START_TEST(two_replacements_of_one_rid_never_meet)
	{
		struct device_id two = fixture_add(&f, &a, 2, 10);
		const struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};

		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(ask(&a, true, device, &space1, 2), 0);
		ck_assert_int_eq(ask(&a, true, two, &theirs, 3), 0);
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, two, 4, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 4).status, 0);
	}
END_TEST

START_TEST(the_end_of_a_set_waits_for_it)
	{
		ck_assert_int_eq(ask(&a, false, device, &space1, 0), 0);
		broker_flush(f.broker);
		broker_session_end(f.broker, 10);
		fixture_recount(&f);
		model_run(&f);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {
		{a_bound_table_is_replaced_in_one_step, 1},
		{the_table_of_a_slice_is_replaced, 1},
		{the_table_of_a_rid_is_replaced, 1},
		{trap_06_a_replacement_counts_once_a_group, 1},
		{what_is_not_there_is_not_replaced, 1},
		{what_is_detached_and_not_drained_is_not_replaced, 1},
		{both_tables_are_charged_until_one_stands, 1},
		{a_limit_that_both_tables_exceed_refuses_the_new_one, 1},
		{a_failed_replacement_leaves_the_earlier_table, 1},
		{a_binding_that_could_not_be_restored_is_gone_and_told_so, 2},
		{what_may_stand_there_is_tainted_until_it_is_detached, 2},
		{what_another_function_of_the_group_left_is_not_replaced, 1},
		{a_worker_that_dies_leaves_what_its_death_leaves, 2},
		{a_replacement_whose_binding_was_lost_fails, 1},
		{a_worker_learns_until_when_it_is_waited_for, 1},
		{what_the_port_does_not_take_changed_nothing, 1},
		{it_takes_effect_in_the_order_of_the_requests, 1},
		{a_removal_and_a_replacement_wait_for_each_other, 1},
		{two_replacements_of_one_rid_never_meet, 1},
		{the_end_of_a_set_waits_for_it, 1},
	};
	Suite *suite = suite_create("broker: replacement");
	TCase *tc = tcase_create("replacement");
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
