/* SPDX-License-Identifier: MIT */
/* A device that is about to be unplugged: all that is attached goes with it, and nothing else. */
#include "recover_rig.h"

#include <errno.h>

#define FUNCTION 3

static const struct set_id own = {0};

static struct actor a, c;
static struct device_id device, other;
static struct hpasid numbers[2];

/* Two numbers bound to two devices each, and the RID of the first attached. */
static void setup(void)
{
	struct bind_pair pair;
	struct device_id both[2];

	recover_setup();
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
	both[0] = device = fixture_add(&f, &a, FUNCTION, 50);
	both[1] = other = fixture_add(&f, &a, FUNCTION + 1, 50);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		numbers[i] = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, numbers[i], both, 2), 0);
	}
	pair = (struct bind_pair){device, {.kind = HW_TABLE_SPACE}};
	ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 1, &f.error), 0);
	ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	fixture_settle(&f);
}

static struct outcome going(uint64_t cookie)
{
	ck_assert_int_eq(broker_device_going(f.broker, &a, own, device, cookie, &f.error), 0);
	return fixture_outcome(&f, cookie);
}

static uint32_t bindings_of(struct hpasid host)
{
	return recover_grant(host).bindings;
}

START_TEST(what_is_attached_goes_with_it)
	{
		ck_assert_int_eq(going(2).status, 0);
		ck_assert(!model_has(&f, FUNCTION, numbers[0].v));
		ck_assert(model_has(&f, FUNCTION + 1, numbers[0].v));
		ck_assert_uint_eq(bindings_of(numbers[0]), 1);
		ck_assert_uint_eq(bindings_of(numbers[1]), 1);
		ck_assert_uint_eq(recover_host_use(RESOURCE_DEVICES), 1);
		(void)fixture_add(&f, &c, FUNCTION, 51);
	}
END_TEST

START_TEST(the_number_can_be_used_on_as_if_unbound)
	{
		ck_assert_int_eq(going(2).status, 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, numbers[0]), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, numbers[0], &other, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, numbers[0], &device, 1), STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(without_that_word_it_stays)
	{
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 2, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 2).error.reason, REASON_DEVICE_BUSY);
		ck_assert(model_has(&f, FUNCTION, numbers[0].v));
	}
END_TEST

START_TEST(what_does_not_detach_is_tainted_and_can_be_tried_again)
	{
		f.model.fail_kind = HW_CLOSE;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		ck_assert_int_eq(going(2).status, STATUS_HARDWARE);
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
		ck_assert_uint_eq(bindings_of(numbers[0]), 2);
		ck_assert_int_eq(fixture_free(&f, &a, numbers[0]), 0);
		model_run(&f);
		ck_assert_int_ne(fixture_state(&f, numbers[0]), GRANT_IDLE);
		ck_assert_int_eq(going(3).status, 0);
		ck_assert_uint_eq(bindings_of(numbers[1]), 1);
		(void)fixture_add(&f, &c, FUNCTION, 51);
	}
END_TEST

START_TEST(it_waits_for_what_is_under_way)
	{
		struct hpasid late = fixture_allocate(&f, &a);
		struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};

		ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, late.v},
					 &pair, 1, 2, &f.error),
			0);
		ck_assert_int_eq(broker_device_going(f.broker, &a, own, device, 3, &f.error), 0);
		ck_assert_int_eq(broker_bind(f.broker, &a, own, (struct pasid_ref){false, late.v},
					 &pair, 1, 4, &f.error),
			0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
		ck_assert_uint_eq(fixture_outcome(&f, 4).error.reason, REASON_NO_DEVICE);
		ck_assert(!model_has(&f, FUNCTION, late.v));
	}
END_TEST

/* Memory that is being unmapped keeps the removal waiting, and the unbind is not to overtake it. */
START_TEST(an_unbind_that_names_no_device_keeps_its_turn)
	{
		struct pasid_ref ref = {false, numbers[0].v};
		struct memory memory = {.device = device, .length = 4096};

		ck_assert_int_eq(broker_memory_unmap(f.broker, &a, &memory, 2, &f.error), 0);
		ck_assert_int_eq(broker_device_going(f.broker, &a, own, device, 3, &f.error), 0);
		ck_assert_int_eq(broker_unbind(f.broker, &a, own, ref, NULL, 0, 4, &f.error), 0);
		(void)fixture_outcome(&f, 2);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 4).status, 0);
		ck_assert_uint_eq(bindings_of(numbers[0]), 0);
		ck_assert_uint_eq(bindings_of(numbers[1]), 1);
	}
END_TEST

START_TEST(it_is_for_a_device_of_the_sets_own)
	{
		struct device_id shared = fixture_share(&f, 5), slice = fixture_slice(&f, &a, 5);

		ck_assert_int_ne(
			broker_device_going(f.broker, &f.admin, own, shared, 2, &f.error), 0);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_SHARED);
		ck_assert_int_ne(broker_device_going(f.broker, &a, own, slice, 2, &f.error), 0);
		ck_assert_uint_eq(f.error.reason, REASON_DEVICE_SHARED);
		ck_assert_int_eq(broker_device_going(f.broker, &c, own, device, 2, &f.error),
			STATUS_NOT_FOUND);
		ck_assert(model_has(&f, FUNCTION, numbers[0].v));
	}
END_TEST

/* The daemon dies meanwhile: before the worker has begun, or when it has closed the device. */
static void going_and_die(bool closed, bool stands)
{
	ck_assert_int_eq(broker_device_going(f.broker, &a, own, device, 0, &f.error), 0);
	fixture_settle(&f);
	if (closed)
		(void)model_step(&f, 0);
	recover_begin(stands);
	recover_run();
}

START_TEST(it_goes_on_after_a_restart)
	{
		going_and_die(false, true);
		ck_assert(!model_has(&f, FUNCTION, numbers[0].v));
		ck_assert(model_has(&f, FUNCTION + 1, numbers[0].v));
		ck_assert_uint_eq(bindings_of(numbers[0]), 1);
		ck_assert_uint_eq(recover_host_use(RESOURCE_DEVICES), 1);
	}
END_TEST

START_TEST(what_nobody_knows_after_a_restart_is_tainted)
	{
		going_and_die(_i & 1, false);
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
		ck_assert_int_eq(fixture_free(&f, &a, numbers[0]), 0);
		model_run(&f);
		f.now_ms += 100000;
		broker_tick(f.broker);
		ck_assert_int_ne(fixture_state(&f, numbers[0]), GRANT_IDLE);
	}
END_TEST

/* What is bound on it may be named by another function of its group. */
START_TEST(an_unbind_through_its_neighbour_keeps_its_turn)
	{
		struct hpasid number = fixture_allocate(&f, &a);
		struct device_id neighbour, goes;

		f.model.group_of[7] = f.model.group_of[6];
		neighbour = fixture_add(&f, &a, 6, 50);
		goes = fixture_add(&f, &a, 7, 50);
		ck_assert_int_eq(fixture_bind(&f, &a, number, &goes, 1), 0);
		f.model.submit_status = -EAGAIN; /* it is not on its way yet */
		ck_assert_int_eq(
			broker_unbind(f.broker, &a, own, (struct pasid_ref){false, number.v},
				&neighbour, 1, 2, &f.error),
			0);
		broker_flush(f.broker);
		f.model.submit_status = 0;
		ck_assert_int_eq(broker_device_going(f.broker, &a, own, goes, 3, &f.error), 0);
		model_run(&f);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
		ck_assert_uint_eq(bindings_of(number), 0);
		fixture_recount(&f);
	}
END_TEST

/* As above, of the RID: the detach was told of a binding that was gone, and tainted whatever was in
 * its place. */
START_TEST(a_detach_of_the_rid_through_its_neighbour_keeps_its_turn)
	{
		struct bind_pair pair = {.table = {.kind = HW_TABLE_SPACE}};
		struct device_id neighbour;
		struct device_info info;

		f.model.group_of[7] = f.model.group_of[6];
		neighbour = fixture_add(&f, &a, 6, 50);
		pair.device = fixture_add(&f, &a, 7, 50);
		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 2, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		f.model.submit_status = -EAGAIN; /* it is not on its way yet */
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, neighbour, 3, &f.error), 0);
		broker_flush(f.broker);
		f.model.submit_status = 0;
		ck_assert_int_eq(
			broker_device_going(f.broker, &a, own, pair.device, 4, &f.error), 0);
		model_run(&f);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_outcome(&f, 3).status, 0);
		ck_assert_int_eq(fixture_outcome(&f, 4).status, 0);
		ck_assert_int_ne(broker_device_get(f.broker, &a, pair.device, &info, &f.error), 0);
		ck_assert_int_eq(broker_device_get(f.broker, &a, neighbour, &info, &f.error), 0);
		ck_assert_int_eq(info.state, DEVICE_READY);
		fixture_recount(&f);
	}
END_TEST

/* The worker dies before it is asked, and the daemon before the next one has said so. */
START_TEST(what_a_lost_worker_was_not_asked_is_tainted_after_a_restart)
	{
		f.model.submit_status = -EAGAIN;
		ck_assert_int_eq(broker_device_going(f.broker, &a, own, device, 0, &f.error), 0);
		model_lose_lane(&f, a.set.v);
		f.model.submit_status = 0;
		fixture_settle(&f);
		recover_begin(false);
		ck_assert_uint_eq(bindings_of(numbers[0]), 2);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
		ck_assert_int_eq(
			broker_set_destroy(f.broker, &f.admin, a.set, true, 2, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_int_eq(fixture_state(&f, numbers[0]), GRANT_QUARANTINED);
		ck_assert_uint_eq(recover_grant(numbers[0]).quarantine & QUARANTINE_TAINTED,
			QUARANTINE_TAINTED);
	}
END_TEST

/* The same of a device that goes with its set. */
START_TEST(what_a_lost_worker_was_not_asked_is_tainted_in_a_set_that_ends)
	{
		f.model.submit_status = -EAGAIN;
		ck_assert_int_eq(
			broker_set_destroy(f.broker, &f.admin, a.set, true, 0, &f.error), 0);
		model_lose_lane(&f, a.set.v);
		f.model.submit_status = 0;
		fixture_settle(&f);
		recover_begin(false);
		recover_run();
		fixture_pass_second(&f);
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
		ck_assert_int_eq(fixture_state(&f, numbers[0]), GRANT_QUARANTINED);
		ck_assert_uint_eq(recover_grant(numbers[0]).quarantine, QUARANTINE_TAINTED);
	}
END_TEST

START_TEST(a_device_with_nothing_attached_goes_with_its_set)
	{
		(void)fixture_add(&f, &c, 9, 51);
		f.model.submit_status = -EAGAIN;
		ck_assert_int_eq(
			broker_set_destroy(f.broker, &f.admin, c.set, true, 0, &f.error), 0);
		model_lose_lane(&f, c.set.v);
		f.model.submit_status = 0;
		fixture_settle(&f);
		ck_assert_uint_eq(recover_host_use(RESOURCE_DEVICES), 3);
		recover_begin(false);
		recover_run();
		ck_assert_uint_eq(recover_host_use(RESOURCE_DEVICES), 2);
		c = fixture_vmm(&f, 12, "d", SET_TRANSLATED, 7);
		(void)fixture_add(&f, &c, 9, 52);
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {{what_is_attached_goes_with_it, 1},
		{the_number_can_be_used_on_as_if_unbound, 1}, {without_that_word_it_stays, 1},
		{what_does_not_detach_is_tainted_and_can_be_tried_again, 1},
		{it_waits_for_what_is_under_way, 1},
		{an_unbind_that_names_no_device_keeps_its_turn, 1},
		{an_unbind_through_its_neighbour_keeps_its_turn, 1},
		{a_detach_of_the_rid_through_its_neighbour_keeps_its_turn, 1},
		{it_is_for_a_device_of_the_sets_own, 1}, {it_goes_on_after_a_restart, 1},
		{what_nobody_knows_after_a_restart_is_tainted, 2},
		{what_a_lost_worker_was_not_asked_is_tainted_after_a_restart, 1},
		{what_a_lost_worker_was_not_asked_is_tainted_in_a_set_that_ends, 1},
		{a_device_with_nothing_attached_goes_with_its_set, 1}};
	Suite *suite = suite_create("broker, a device that goes");
	TCase *tc = tcase_create("going");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, recover_teardown);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i].test, 0, tests[i].count);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
