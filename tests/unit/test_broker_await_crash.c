/* SPDX-License-Identifier: MIT */
/* The daemon dies while an unbind waits for participants, and at each store of what ends the wait.
 */
#include "wait_rig.h"

/* It has begun nothing: who asked asks again, and it is announced again. */
START_TEST(a_daemon_that_dies_meanwhile_has_begun_nothing)
	{
		struct change change;

		wait_unbind(x, 5);
		ck_assert_uint_eq(wait_acknowledge(&one, x), 1);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		model_run(&f);
		ck_assert(wait_bound(x));
		ck_assert_int_eq(wait_listed(), BINDING_BOUND);
		ck_assert_uint_eq(wait_acknowledge(&one, x), 0);
		wait_unbind(x, 6);
		ck_assert_uint_eq(wait_told(CHANGE_BINDING_UNBINDING, &change), 1);
		wait_nothing_ended();
		ck_assert_uint_eq(wait_acknowledge(&one, x) + wait_acknowledge(&two, x), 2);
		ck_assert_int_eq(wait_ended(6), 0);
	}
END_TEST

static void end_by_acknowledgement(void)
{
	(void)wait_acknowledge(&two, x);
}

static void end_by_time(void)
{
	f.now_ms += WAIT_MS;
	broker_tick(f.broker);
}

static void end_by_a_death(void)
{
	broker_session_end(f.broker, two.session);
}

static void end_by_destruction(void)
{
	(void)broker_set_destroy(f.broker, &a, own, true, 0, &f.error);
}

static void (*const ends[])(void) = {
	end_by_acknowledgement, end_by_time, end_by_a_death, end_by_destruction};

/* Dies at that store; false: it was over before. */
static bool dies_at(int how, unsigned at, bool *ret_waiting)
{
	volatile bool over = false;

	*ret_waiting = true;
	f.crash.countdown = at;
	if (setjmp(f.crash.die) != 0) {
		*ret_waiting = !over;
		return true;
	}
	wait_unbind(x, 0);
	(void)wait_acknowledge(&one, x);
	fixture_settle(&f);
	over = true;
	ends[how]();
	fixture_settle(&f);
	model_run(&f);
	f.crash.countdown = 0;
	*ret_waiting = false;
	return false;
}

START_TEST(nothing_is_detached_before_wherever_the_daemon_dies)
	{
		bool died = true, waiting;

		for (unsigned at = 1; died; at++) {
			struct outcome outcome;

			wait_open();
			died = dies_at(_i, at, &waiting);
			fixture_restart(&f, fixture_all_stand, NULL);
			model_run(&f);
			/* while it waited nothing was begun; what was begun is brought to its end
			 */
			ck_assert(!waiting || wait_bound(x));
			ck_assert(wait_bound(x) ? wait_listed() == BINDING_BOUND
						: model_entries(&f) == 0);
			ck_assert(died || !wait_bound(x));
			fixture_recount(&f);
			while (broker_next_outcome(f.broker, &outcome)) {
			}
			wait_close();
		}
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("broker, deaths while unbinds wait");
	TCase *waits = tcase_create("waits"), *deaths = tcase_create("deaths");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(waits, wait_open, wait_close);
	tcase_add_test(waits, a_daemon_that_dies_meanwhile_has_begun_nothing);
	tcase_add_loop_test(
		deaths, nothing_is_detached_before_wherever_the_daemon_dies, 0, ARRAY_SIZE(ends));
	suite_add_tcase(suite, waits);
	suite_add_tcase(suite, deaths);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
