/* SPDX-License-Identifier: MIT */
/*
 * F42: a set moves from one host to another, whichever of the two dies at whichever store, and
 * whatever is sent twice; or the move is called off, and all is as before.
 */
#include "move_rig.h"
#include "suite.h"

static const struct {
	enum set_mode mode;
	bool by_admin;
} kinds[] = {{SET_TRANSLATED, false}, {SET_TRANSLATED, true}, {SET_IDENTITY, false}};

static void open_kind(unsigned kind)
{
	move_open(kinds[kind].mode, kinds[kind].by_admin);
}

START_TEST(a_set_moves_with_its_guest_numbers_and_data)
	{
		for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
			open_kind(kind);
			move_until(STEPS);
			move_check_moved();
			move_close();
		}
	}
END_TEST

START_TEST(every_message_may_come_twice)
	{
		for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
			open_kind(kind);
			for (enum move_step i = STEP_EXPORT; i < STEPS; i++) {
				move_do(i);
				move_do(i);
			}
			/* late ones change nothing any more */
			move_do(STEP_FIRST);
			move_do(STEP_SECOND);
			move_do(STEP_TAKE);
			move_check_moved();
			move_do(STEP_RELEASE);
			move_close();
		}
	}
END_TEST

/* F42: at each store of each step; then whoever moves it begins again, knowing nothing. */
START_TEST(a_move_is_finished_wherever_a_daemon_dies)
	{
		const unsigned kind = (unsigned)_i / STEPS;
		const enum move_step step = (enum move_step)(_i % STEPS);
		unsigned at = 1;

		for (bool died = true; died; at++) {
			open_kind(kind);
			move_until(step);
			died = move_send_dying(step, at);
			move_finish();
			move_check_moved();
			move_close();
		}
		ck_assert_uint_gt(at, 2);
	}
END_TEST

/* The other daemon, which nothing was asked of, dies beside it. */
START_TEST(both_daemons_may_die_after_every_step)
	{
		for (enum move_step step = STEP_EXPORT; step < STEPS; step++) {
			open_kind((unsigned)_i);
			move_until(step);
			move_restart(SOURCE);
			move_restart(TARGET);
			move_check();
			move_do(step);
			move_restart(TARGET);
			move_restart(SOURCE);
			move_check();
			move_finish();
			move_check_moved();
			move_close();
		}
	}
END_TEST

START_TEST(a_move_is_called_off_wherever_a_daemon_dies)
	{
		const enum move_step until = (enum move_step)(1 + _i % 3);
		const enum move_step step = _i / 3 ? STEP_DROP : STEP_KEEP;
		bool died = true;

		for (unsigned at = 1; died; at++) {
			move_open(SET_TRANSLATED, true);
			move_until(until);
			if (step == STEP_DROP)
				move_do(STEP_KEEP);
			died = move_send_dying(step, at);
			move_call_off();
			move_call_off(); /* done already */
			move_check_stayed();
			move_close();
		}
	}
END_TEST

START_TEST(a_move_that_was_called_off_is_begun_anew_as_another_one)
	{
		struct move_token before;

		move_open(SET_TRANSLATED, false);
		move_until(STEP_COMMIT);
		before = m.token;
		move_call_off();
		fixture_pass_second(&m.host[TARGET]);
		move_do(STEP_EXPORT);
		ck_assert_uint_ne(m.token.v[0], before.v[0]);
		move_until(STEPS);
		move_check_moved();
		move_close();
	}
END_TEST

/* There, the set can move on; what it remembers of its first move goes with that. */
START_TEST(a_set_that_came_can_go_on)
	{
		struct fixture *t = &m.host[TARGET];
		const struct move_token next = {{9, 9}};
		struct move_info info;
		struct set_info set;

		move_open(SET_TRANSLATED, false);
		move_until(STEPS);
		move_check_moved();
		ck_assert(move_has_set(TARGET, &set));
		ck_assert_int_eq(
			broker_move_export(t->broker, &t->admin, set.id, &next, &info, &t->error),
			0);
		ck_assert_uint_eq(info.token.v[0], 9);
		ck_assert_int_eq(info.state, MOVE_LEAVING);
		ck_assert_uint_eq(info.grants, MOVE_GRANTS);
		ck_assert_uint_eq(info.sum, m.exported.sum);
		ck_assert_int_eq(broker_move_keep(t->broker, &t->admin, &next, &t->error), 0);
		fixture_settle(t);
		move_close();
	}
END_TEST

/* ------------------------------------------------------------------ its VMM dies meanwhile */

START_TEST(a_set_whose_vmm_dies_before_it_is_given_does_not_move)
	{
		struct fixture *s = &m.host[SOURCE];
		struct set_info info;

		move_open(SET_TRANSLATED, false);
		move_until(STEP_COMMIT);
		broker_session_end(s->broker, 10);
		model_run(s);
		fixture_settle(s);
		ck_assert_int_eq(move_send(STEP_COMMIT), STATUS_NOT_FOUND);
		move_call_off();
		ck_assert(!move_has_set(TARGET, &info));
		ck_assert(!move_has_set(SOURCE, &info) || info.dying);
		move_close();
	}
END_TEST

START_TEST(a_set_whose_vmm_dies_after_it_is_given_moves)
	{
		struct fixture *s = &m.host[SOURCE];

		move_open(SET_TRANSLATED, false);
		(void)fixture_add(s, &m.vmm, 3, 50);
		move_until(STEP_TAKE);
		broker_session_end(s->broker, 10);
		ck_assert_int_eq(move_state(SOURCE), MOVE_GIVEN);
		broker_session_end(s->broker, 10);
		model_run(s);
		fixture_settle(s);
		move_restart(SOURCE);
		broker_session_end(s->broker, 10); /* as a recovery does that finds no session */
		model_run(s);
		fixture_settle(s);
		ck_assert_int_eq(move_state(SOURCE), MOVE_GIVEN);
		move_finish();
		move_check_moved();
		move_close();
	}
END_TEST

START_TEST(a_set_that_was_given_is_released_while_it_is_emptied)
	{
		struct fixture *s = &m.host[SOURCE];
		struct set_info info;

		move_open(SET_TRANSLATED, true);
		(void)fixture_add(s, &(struct actor){ROLE_VMM, 11, m.set, &s->peer}, 3, 50);
		move_until(STEP_RELEASE);
		broker_set_empty(s->broker, m.set);
		fixture_settle(s);
		ck_assert(move_has_set(SOURCE, &info) && info.emptying);
		ck_assert_int_eq(move_state(SOURCE), MOVE_GIVEN);
		/* force does not make it forget whose it is */
		ck_assert_int_eq(
			broker_set_destroy(s->broker, &s->admin, m.set, true, 0, &s->error),
			STATUS_STATE);
		ck_assert_uint_eq(s->error.reason, REASON_SET_MOVED);
		move_do(STEP_RELEASE);
		move_check_moved();
		move_close();
	}
END_TEST

START_TEST(a_leaving_set_whose_vm_goes_is_emptied_and_stays)
	{
		struct fixture *s = &m.host[SOURCE];
		struct set_info info;

		move_open(SET_TRANSLATED, true);
		move_until(STEP_COMMIT);
		broker_set_empty(s->broker, m.set);
		model_run(s);
		fixture_settle(s);
		ck_assert(move_has_set(SOURCE, &info) && !info.dying);
		ck_assert_int_eq(info.move, MOVE_NONE);
		ck_assert_uint_eq(info.active, 0);
		move_call_off();
		move_close();
	}
END_TEST

/* A set that has many numbers ends over several ticks. */
START_TEST(what_was_reserved_of_a_large_set_goes_at_once_for_who_asks)
	{
		struct fixture *t = &m.host[TARGET];
		static struct move_grant grants[BROKER_MOVE_PAGE];
		struct move_reserve reserve;
		struct set_info info;

		move_open(SET_TRANSLATED, true);
		reserve = move_request(0, BROKER_MOVE_PAGE, false);
		reserve.create.quota = reserve.total = 8 * BROKER_MOVE_PAGE;
		reserve.grants = grants;
		for (; reserve.first < reserve.total; reserve.first += BROKER_MOVE_PAGE) {
			ck_assert_int_eq(
				broker_move_reserve(t->broker, &t->admin, &reserve, &m.reserved,
					m.conflicts, &m.conflict_count, &t->error),
				0);
			ck_assert_uint_le(t->crash.stores, STATE_CHANGE_BASE);
			fixture_settle(t);
		}
		move_do(STEP_DROP);
		ck_assert_int_eq(move_state(TARGET), MOVE_NONE);
		ck_assert(move_has_set(TARGET, &info) && info.dying);
		move_restart(TARGET);
		for (unsigned i = 0; i < 8; i++)
			fixture_pass_second(t);
		ck_assert(!move_has_set(TARGET, &info));
		move_close();
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_set_moves_with_its_guest_numbers_and_data,
		every_message_may_come_twice,
		a_move_that_was_called_off_is_begun_anew_as_another_one,
		a_set_that_came_can_go_on,
		a_set_whose_vmm_dies_before_it_is_given_does_not_move,
		a_set_whose_vmm_dies_after_it_is_given_moves,
		a_set_that_was_given_is_released_while_it_is_emptied,
		a_leaving_set_whose_vm_goes_is_emptied_and_stays,
		what_was_reserved_of_a_large_set_goes_at_once_for_who_asks,
	};
	Suite *suite = suite_create("broker, sets that move");
	TCase *tc = tcase_create("move");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 600);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(tc, tests[i]);
	tcase_add_loop_test(
		tc, a_move_is_finished_wherever_a_daemon_dies, 0, STEPS * (int)ARRAY_SIZE(kinds));
	tcase_add_loop_test(tc, both_daemons_may_die_after_every_step, 0, (int)ARRAY_SIZE(kinds));
	tcase_add_loop_test(tc, a_move_is_called_off_wherever_a_daemon_dies, 0, 6);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
