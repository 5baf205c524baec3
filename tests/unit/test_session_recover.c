/* SPDX-License-Identifier: MIT */
/* Sessions, and what they were answered, across a restart and a crash of the daemon. */
#include "random.h"
#include "session_rig.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- sessions */

START_TEST(a_session_is_there_after_a_restart)
	{
		uint8_t token[SESSION_TOKEN_SIZE];
		const uint64_t id = session->id;

		memcpy(token, session_token(sessions, session), sizeof(token));
		session_use(sessions, session, (struct set_id){77});
		sessions_settle(sessions);
		restart();
		ck_assert_uint_eq(recovered, 1);
		ck_assert_uint_eq(sessions_count(sessions), 1);
		ck_assert_ptr_eq(session_by_token(sessions, token, 1000), session);
		ck_assert_ptr_null(session_by_token(sessions, token, 1001));
		ck_assert_uint_eq(session->id, id);
		ck_assert_uint_eq(session->set.v, 77);
		ck_assert_int_eq(session->role, ROLE_VMM);
		ck_assert(!session->handed);
		ck_assert_int_eq(session->peer->pid, 4711);
		ck_assert_uint_eq(session->peer->uid, 1000);
		ck_assert_uint_eq(session->peer->born, 99);
		ck_assert_uint_eq(session->peer->group_count, 0);
		ck_assert_uint_gt(open_session()->id, id);
	}
END_TEST

START_TEST(another_process_that_goes_on_with_it_is_known_after_a_restart)
	{
		const struct policy_peer who = {.uid = 1000};
		struct peer *next;

		ck_assert_int_eq(peer_new(&who, 4712, 100, limits, &next, &error), 0);
		session_follow(sessions, session, next);
		next = peer_unref(next, limits);
		sessions_settle(sessions);
		restart();
		ck_assert_int_eq(session->peer->pid, 4712);
		ck_assert_uint_eq(session->peer->uid, 1000);
		ck_assert_uint_eq(session->peer->born, 100);
	}
END_TEST

START_TEST(who_is_charged_stays_charged)
	{
		const struct policy_peer who = {.uid = 1000};
		struct peer *guest;
		struct session *made;

		ck_assert_int_eq(peer_new(&who, 4712, 100, limits, &guest, &error), 0);
		ck_assert_int_eq(peer_charge(guest, limits, 5, &error), 0);
		ck_assert_int_eq(session_open(sessions, guest, ROLE_VMM, &made, &error), 0);
		session_serve(sessions, made, (struct set_id){78});
		guest = peer_unref(guest, limits);
		sessions_settle(sessions);
		restart();
		ck_assert_uint_eq(recovered, 2);
		ck_assert(others[0]->handed);
		ck_assert_uint_eq(others[0]->set.v, 78);
		ck_assert_uint_eq(limits_user_uid(limits, others[0]->user), 5);
	}
END_TEST

START_TEST(what_was_not_settled_is_undone)
	{
		(void)open_session();
		session_use(sessions, session, (struct set_id){77});
		crash();
		ck_assert_uint_eq(recovered, 1);
		ck_assert_uint_eq(session->set.v, 0);
	}
END_TEST

START_TEST(a_session_that_is_over_does_not_come_back)
	{
		done(1, 100);
		session_close(sessions, session);
		sessions_settle(sessions);
		restart();
		ck_assert_uint_eq(recovered, 0);
		ck_assert_uint_eq(sessions_count(sessions), 0);
	}
END_TEST

START_TEST(ids_are_never_given_twice)
	{
		uint64_t last = session->id;

		for (int i = 0; i < 300; i++) {
			struct session *made = open_session();

			ck_assert_uint_gt(made->id, last);
			last = made->id;
			session_close(sessions, made);
			sessions_settle(sessions);
			if (i % 50 == 0)
				restart();
		}
	}
END_TEST

START_TEST(slots_are_used_again)
	{
		const struct host_slot *host = journal.state.table[STATE_HOST];

		for (uint64_t id = 1; id < 4000; id++) {
			done(id, 500);
			session_seen_below(sessions, session, id);
			session_close(sessions, open_session());
			sessions_settle(sessions);
			if (id % 1000 == 0)
				restart();
		}
		ck_assert_uint_le(host->session_slots, 64);
		ck_assert_uint_le(host->reply_slots, 1024);
	}
END_TEST

START_TEST(smaller_limits_end_nothing)
	{
		struct session *more;
		uint32_t before;

		(void)open_session();
		for (uint64_t id = 1; id <= 100; id++)
			done(id, 100);
		sessions_settle(sessions);
		sessions_free(sessions);
		peer = peer_unref(peer, limits);
		limits_free(limits);
		limits_config.of[RESOURCE_SESSIONS].user = 1;
		limits_config.of[RESOURCE_REMEMBERED].user = 4096;
		ck_assert_int_eq(limits_new(&limits_config, &limits), 0);
		start();
		peer = peer_ref(session->peer);
		ck_assert_uint_eq(recovered, 2);
		for (uint64_t id = 1; id <= 100; id++)
			expect_reply(id, 100);
		ck_assert_int_eq(
			session_open(sessions, peer, ROLE_VMM, &more, &error), STATUS_QUOTA);
		/* What comes takes the place of what goes. */
		before = limits_account(limits, session->user, RESOURCE_REMEMBERED)->current;
		for (uint64_t id = 101; id <= 150; id++)
			done(id, 100);
		ck_assert_uint_le(
			limits_account(limits, session->user, RESOURCE_REMEMBERED)->current,
			before);
		expect_refusal(1, 1, REASON_ID_TOO_OLD);
		expect_reply(150, 100);
	}
END_TEST

/* ---------------------------------------------------------------- replies */

START_TEST(replies_of_any_length_are_had_again)
	{
		static const size_t sizes[] = {0, 1, 31, 32, 33, 79, 80, 81, 128, 1000, 4096, 9000};

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			done(i + 1, sizes[i]);
		sessions_settle(sessions);
		for (int n = 0; n < 3; n++) {
			for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
				expect_reply(i + 1, sizes[i]);
			restart();
		}
		ck_assert_uint_gt(limits_sum(limits, RESOURCE_REMEMBERED), 14000);
		session_seen_below(sessions, session, 100);
		ck_assert_uint_eq(limits_sum(limits, RESOURCE_REMEMBERED), 0);
		sessions_settle(sessions);
		restart();
		ck_assert_uint_eq(session->remembered_count, 0);
	}
END_TEST

START_TEST(that_there_were_descriptors_is_known)
	{
		struct remembered *remembered;

		ck_assert_int_eq(begin(1, &remembered), SESSION_RUN);
		ck_assert_int_eq(
			session_reserve(sessions, session, remembered, 9, false, &error), 0);
		finish(remembered, 9, true);
		sessions_settle(sessions);
		restart();
		ck_assert_int_eq(begin(1, &remembered), SESSION_REPLAY);
		ck_assert(remembered->had_fds);
	}
END_TEST

START_TEST(other_content_is_refused_after_a_restart)
	{
		const uint8_t body[] = "something longer than six";
		const uint64_t digest = session_digest(sessions, 48, 0, body, sizeof(body));

		done(5, 1);
		sessions_settle(sessions);
		restart();
		expect_refusal(5, 6, REASON_ID_REUSED);
		ck_assert_uint_eq(session_digest(sessions, 48, 0, body, sizeof(body)), digest);
	}
END_TEST

START_TEST(what_was_forgotten_is_not_done_again)
	{
		for (uint64_t id = 1; id <= SESSION_WINDOW + 10; id++)
			done(id, 1);
		sessions_settle(sessions);
		restart();
		expect_refusal(10, 10, REASON_ID_TOO_OLD);
		expect_reply(11, 1);
		ck_assert_uint_eq(session->newest_id, SESSION_WINDOW + 10);
		ck_assert_uint_eq(session->last_id, SESSION_WINDOW + 10);
		session_seen_below(sessions, session, 1000);
		sessions_settle(sessions);
		restart();
		expect_refusal(999, 999, REASON_ID_TOO_OLD);
		ck_assert_uint_eq(session->last_id, 999);
		done(1000, 1);
	}
END_TEST

START_TEST(what_was_dropped_in_a_change_that_is_undone_is_back)
	{
		for (uint64_t id = 1; id <= 20; id++)
			done(id, 200);
		sessions_settle(sessions);
		session_seen_below(sessions, session, 15);
		for (uint64_t id = 21; id <= 60; id++)
			done(id, 150);
		crash();
		ck_assert_uint_eq(session->remembered_count, 20);
		for (uint64_t id = 1; id <= 20; id++)
			expect_reply(id, 200);
	}
END_TEST

/* ---------------------------------------------------------------- interrupted */

static void under_way(uint64_t id)
{
	struct remembered *remembered;

	ck_assert_int_eq(begin(id, &remembered), SESSION_RUN);
	ck_assert_int_eq(session_reserve(sessions, session, remembered, 1000, true, &error), 0);
	session_start(sessions, session, remembered, &remembered);
	ck_assert_ptr_nonnull(remembered->operation);
	sessions_settle(sessions);
}

START_TEST(what_was_under_way_runs_again_and_is_known_as_interrupted)
	{
		struct remembered *remembered;

		under_way(7);
		restart();
		expect_refusal(7, 8, REASON_ID_REUSED);
		ck_assert_int_eq(begin(7, &remembered), SESSION_RUN);
		ck_assert(remembered->interrupted);
		ck_assert_ptr_null(remembered->operation);
		session_forget(sessions, session, remembered); /* not now */
		ck_assert_int_eq(begin(7, &remembered), SESSION_RUN);
		ck_assert(remembered->interrupted);
		ck_assert_int_eq(
			session_reserve(sessions, session, remembered, 1000, true, &error), 0);
		session_start(sessions, session, remembered, &remembered);
		sessions_settle(sessions);
		restart();
		ck_assert_int_eq(begin(7, &remembered), SESSION_RUN);
		ck_assert(remembered->interrupted);
		ck_assert_int_eq(begin(7, &remembered), SESSION_WAIT);
		ck_assert_int_eq(
			session_reserve(sessions, session, remembered, 1000, true, &error), 0);
		finish(remembered, 1000, false);
		sessions_settle(sessions);
		restart();
		expect_reply(7, 1000);
	}
END_TEST

START_TEST(what_was_interrupted_is_not_forgotten_for_room)
	{
		struct remembered *remembered;

		under_way(1);
		restart();
		for (uint64_t id = 2; id <= UINT64_C(2) * SESSION_WINDOW; id++)
			done(id, 1);
		ck_assert_int_eq(begin(1, &remembered), SESSION_RUN);
		session_forget(sessions, session, remembered);
		session_seen_below(sessions, session, 2);
		expect_refusal(1, 1, REASON_ID_TOO_OLD);
	}
END_TEST

START_TEST(a_reply_that_was_not_settled_leaves_it_under_way)
	{
		struct remembered *remembered;

		under_way(1);
		ck_assert_int_eq(begin(1, &remembered), SESSION_WAIT);
		finish(remembered, 500, false);
		crash(); /* which finds the records sound, though the slot names more of them */
		ck_assert_int_eq(begin(1, &remembered), SESSION_RUN);
		ck_assert(remembered->interrupted);
	}
END_TEST

/* ---------------------------------------------------------------- room */

START_TEST(without_room_in_the_records_nothing_is_begun)
	{
		struct remembered *remembered;

		journal.state.capacity[STATE_REPLIES] = 8;
		for (uint64_t id = 1; id <= 20; id++) /* older ones go */
			done(id, 10);
		expect_reply(20, 10);
		ck_assert_int_eq(begin(21, &remembered), SESSION_RUN);
		ck_assert_int_eq(session_reserve(sessions, session, remembered, 500, false, &error),
			STATUS_RETRY);
		ck_assert_uint_eq(error.reason, REASON_NO_MEMORY);
		session_forget(sessions, session, remembered);
		expect_refusal(20, 20, REASON_ID_TOO_OLD);
		done(22, 100);
		expect_reply(22, 100);
	}
END_TEST

/* The last two; what comes before them is remembered when they are refused. */
static void make_ids_equal(struct reply_slot *replies, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (STATE_WORD_STATE(replies[i].word) == REPLY_FINAL && replies[i].id == 3)
			replies[i].id = 2;
}

START_TEST(records_that_contradict_themselves_are_refused)
	{
		struct reply_slot *replies = journal.state.table[STATE_REPLIES];
		struct session_slot *slots = journal.state.table[STATE_SESSIONS];
		struct host_slot *host = journal.state.table[STATE_HOST];
		uint64_t *const faults[] = {&slots[0].word, &slots[0].id, &host->session,
			&host->reply_slots, &host->session_slots};

		done(1, 100);
		done(2, 100);
		done(3, 100);
		sessions_settle(sessions);
		for (size_t i = 0; i < ARRAY_SIZE(faults) + 5; i++) {
			struct reply_slot kept[16];
			const uint64_t before = i < ARRAY_SIZE(faults) ? *faults[i] : 0;

			memcpy(kept, replies, sizeof(kept));
			sessions_free(sessions);
			if (i < ARRAY_SIZE(faults))
				*faults[i] = i < 3 ? 0 : UINT64_C(1) << 40;
			else if (i == ARRAY_SIZE(faults))
				replies[0].session = 9;
			else if (i == ARRAY_SIZE(faults) + 1)
				replies[1].word = 0;
			else if (i == ARRAY_SIZE(faults) + 2)
				replies[0].word |= 0xf;
			else if (i == ARRAY_SIZE(faults) + 3)
				make_ids_equal(replies, ARRAY_SIZE(kept));
			else
				replies[2].more = 1 << 20;
			ck_assert_int_eq(check_records(), -EBADMSG);
			expect_no_start(-EBADMSG);
			if (i < ARRAY_SIZE(faults))
				*faults[i] = before;
			memcpy(replies, kept, sizeof(kept));
		}
		restart();
		expect_reply(1, 100);
	}
END_TEST

/* ---------------------------------------------------------------- any history */

#define IDS 1000

static uint64_t *effect(uint64_t id)
{
	struct grant_slot *grants = journal.state.table[STATE_GRANTS];

	return &grants[id].data;
}

/* What the client does not know the reply of yet, in the order of ids. */
static uint64_t waiting[64];
static unsigned waiting_count;
static struct random dice;

static void answered(unsigned index)
{
	waiting_count--;
	memmove(&waiting[index], &waiting[index + 1], (waiting_count - index) * sizeof(waiting[0]));
}

/* One request; the reply reaches the client unless the daemon dies before. */
static void ask(unsigned index)
{
	const uint64_t id = waiting[index];
	const size_t size = id % 5 ? id % 40 : id % 700;
	struct remembered *remembered;

	if (begin(id, &remembered) == SESSION_RUN) {
		ck_assert_int_eq(
			session_reserve(sessions, session, remembered, size, id & 1, &error), 0);
		if (id & 1)
			session_start(sessions, session, remembered, &remembered);
		if (random_below(&dice, 20) == 0) {
			crash();
			return;
		}
		state_commit(&journal.state, effect(id), *effect(id) + 1);
		if (random_below(&dice, 20) == 0) {
			crash();
			return;
		}
		finish(remembered, size, false);
		if (random_below(&dice, 20) == 0) {
			crash();
			return;
		}
		sessions_settle(sessions);
	} else {
		expect_reply(id, size);
	}
	if (random_below(&dice, 20) == 0)
		crash();
	else
		answered(index);
}

START_TEST(each_change_is_done_once_whenever_the_daemon_dies)
	{
		uint64_t next = 1;

		dice = random_begin("session_recover");
		(void)_i;
		waiting_count = 0;
		while (next < IDS || waiting_count) {
			if (next < IDS && waiting_count < 40 && random_below(&dice, 2))
				waiting[waiting_count++] = next++;
			if (waiting_count)
				ask(random_below(&dice, waiting_count));
			if (random_below(&dice, 10) == 0)
				session_seen_below(
					sessions, session, waiting_count ? waiting[0] : next);
		}
		for (uint64_t id = 1; id < IDS; id++)
			ck_assert_uint_eq(*effect(id), 1);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_session_is_there_after_a_restart,
		another_process_that_goes_on_with_it_is_known_after_a_restart,
		who_is_charged_stays_charged,
		what_was_not_settled_is_undone,
		a_session_that_is_over_does_not_come_back,
		ids_are_never_given_twice,
		slots_are_used_again,
		smaller_limits_end_nothing,
		replies_of_any_length_are_had_again,
		that_there_were_descriptors_is_known,
		other_content_is_refused_after_a_restart,
		what_was_forgotten_is_not_done_again,
		what_was_dropped_in_a_change_that_is_undone_is_back,
		what_was_under_way_runs_again_and_is_known_as_interrupted,
		what_was_interrupted_is_not_forgotten_for_room,
		a_reply_that_was_not_settled_leaves_it_under_way,
		without_room_in_the_records_nothing_is_begun,
		records_that_contradict_themselves_are_refused,
	};
	TCase *all = tcase_create("session_recover");
	Suite *suite = suite_create("session_recover");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, session_rig_open, session_rig_close);
	tcase_set_timeout(all, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(all, tests[i]);
	tcase_add_loop_test(all, each_change_is_done_once_whenever_the_daemon_dies, 0, 4);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
