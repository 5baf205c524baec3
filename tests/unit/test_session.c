/* SPDX-License-Identifier: MIT */
#include "session.h"
#include "siphash.h"
#include "state_file.h"

#include <check.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define GRACE     30000
#define REPLY_MAX 4096

static struct state_file *memory;
static struct limits *limits;
static struct sessions *sessions;
static struct session *session;
static struct peer *peer;
static struct error error;
static uint64_t seed;

static void test_random(void *ctx, void *ret_bytes, size_t size)
{
	uint8_t *bytes = ret_bytes;

	(void)ctx;
	for (size_t i = 0; i < size; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		bytes[i] = (uint8_t)(seed >> 56);
	}
}

static struct peer *new_peer(uint32_t uid)
{
	struct policy_peer who = {.uid = uid, .group_count = 2, .groups = {uid, 27}};
	struct peer *made;

	ck_assert_int_eq(peer_new(&who, 4711, 99, limits, &made, &error), 0);
	return made;
}

static void setup(void)
{
	struct session_config config = {GRACE, NULL, REPLY_MAX, NULL};
	struct limits_config of;

	limits_defaults(&of);
	of.of[RESOURCE_SESSIONS].user = 3;
	ck_assert_int_eq(limits_new(&of, &limits), 0);
	config.limits = limits;
	ck_assert_int_eq(state_file_memory(&memory), 0);
	config.state = state_file_state(memory);
	seed = 1;
	ck_assert_int_eq(sessions_new(&config, test_random, NULL, &sessions), 0);
	peer = new_peer(1000);
	ck_assert_int_eq(session_open(sessions, peer, ROLE_VMM, &session, &error), 0);
	session->link = &peer; /* connected, to anything */
}

static void teardown(void)
{
	sessions_free(sessions);
	peer = peer_unref(peer, limits);
	ck_assert_uint_eq(limits_sum(limits, RESOURCE_SESSIONS), 0);
	limits_free(limits);
	state_file_free(memory);
}

static enum session_verdict begin(uint64_t id, uint64_t digest, struct remembered **ret_remembered)
{
	enum session_verdict verdict = 0;

	ck_assert_int_eq(
		session_begin(sessions, session, id, 48, digest, &verdict, ret_remembered, &error),
		0);
	return verdict;
}

static void expect_refusal(uint64_t id, uint64_t digest, enum reason reason)
{
	struct remembered *remembered;
	enum session_verdict verdict;

	ck_assert_int_eq(
		session_begin(sessions, session, id, 48, digest, &verdict, &remembered, &error),
		(int)reason_status(reason));
	ck_assert_uint_eq(error.reason, reason);
}

/* A change with this id that ended with a reply of `size` bytes of value id. */
static void done(uint64_t id, size_t size)
{
	uint8_t reply[REPLY_MAX];
	struct remembered *remembered;

	memset(reply, (int)id, sizeof(reply));
	ck_assert_int_eq(begin(id, id, &remembered), SESSION_RUN);
	ck_assert_int_eq(session_reserve(sessions, session, remembered, size, id % 2, &error), 0);
	session_finish(sessions, session, remembered, reply, size, false);
	sessions_settle(sessions);
}

static void expect_reply(const struct remembered *remembered, const void *reply, size_t size)
{
	uint8_t got[REPLY_MAX];

	ck_assert_uint_eq(remembered->size, size);
	session_reply(sessions, remembered, got);
	ck_assert_mem_eq(got, reply, size);
}

/* The change ends with a short reply. */
static void finish(struct remembered *remembered, const void *reply, size_t size, bool had_fds)
{
	ck_assert_int_eq(session_reserve(sessions, session, remembered, size, false, &error), 0);
	session_finish(sessions, session, remembered, reply, size, had_fds);
	sessions_settle(sessions);
}

/* ---------------------------------------------------------------- SipHash */

START_TEST(siphash_as_in_the_paper)
	{
		/* Appendix A: key 00..0f, input 00..0e */
		struct siphash_key key;
		uint8_t input[16];

		for (uint8_t i = 0; i < 16; i++)
			input[i] = i;
		memcpy(&key, input, sizeof(key));
		ck_assert_uint_eq(siphash(&key, UINT64_C(0x0706050403020100), input + 8, 7),
			UINT64_C(0xa129ca6149be45e5));
	}
END_TEST

START_TEST(a_digest_depends_on_everything)
	{
		uint64_t digest = session_digest(sessions, 48, 0, (const uint8_t *)"abc", 3);

		ck_assert_uint_eq(
			digest, session_digest(sessions, 48, 0, (const uint8_t *)"abc", 3));
		ck_assert_uint_ne(
			digest, session_digest(sessions, 48, 0, (const uint8_t *)"abd", 3));
		ck_assert_uint_ne(
			digest, session_digest(sessions, 48, 0, (const uint8_t *)"ab", 2));
		ck_assert_uint_ne(
			digest, session_digest(sessions, 49, 0, (const uint8_t *)"abc", 3));
		ck_assert_uint_ne(
			digest, session_digest(sessions, 48, 1, (const uint8_t *)"abc", 3));
		ck_assert_uint_ne(session_digest(sessions, 48, 0, (const uint8_t *)"\0a", 2),
			session_digest(sessions, 48, 0, (const uint8_t *)"a", 1));
		ck_assert_uint_ne(session_digest(sessions, 48, 0, (const uint8_t *)"abcdefg", 7),
			session_digest(sessions, 48, 0, (const uint8_t *)"abcdefh", 7));
	}
END_TEST

/* ---------------------------------------------------------------- sessions */

START_TEST(a_peer_keeps_its_groups)
	{
		struct policy_peer who;

		peer_read(peer, &who);
		ck_assert_uint_eq(who.uid, 1000);
		ck_assert_uint_eq(who.group_count, 2);
		ck_assert_uint_eq(who.groups[1], 27);
		ck_assert_int_eq(peer->pid, 4711);
	}
END_TEST

START_TEST(a_token_is_known_to_its_user_only)
	{
		uint8_t token[SESSION_TOKEN_SIZE];

		memcpy(token, session_token(sessions, session), sizeof(token));
		ck_assert_ptr_eq(session_by_token(sessions, token, 1000), session);
		ck_assert_ptr_null(session_by_token(sessions, token, 1001));
		for (size_t i = 0; i < sizeof(token); i++) {
			token[i] ^= 1;
			ck_assert_ptr_null(session_by_token(sessions, token, 1000));
			token[i] ^= 1;
		}
		session_close(sessions, session);
		ck_assert_ptr_null(session_by_token(sessions, token, 1000));
	}
END_TEST

START_TEST(tokens_and_ids_differ)
	{
		struct session *other;

		ck_assert_int_eq(session_open(sessions, peer, ROLE_ADMIN, &other, &error), 0);
		ck_assert_mem_ne(session_token(sessions, other), session_token(sessions, session),
			SESSION_TOKEN_SIZE);
		ck_assert_uint_ne(other->id, session->id);
		ck_assert_uint_ne(session->id, 0);
		ck_assert_ptr_eq(session_by_id(sessions, session->id), session);
		ck_assert_ptr_eq(session_by_id(sessions, other->id), other);
		ck_assert_ptr_null(session_by_id(sessions, other->id + 1));
		session_close(sessions, other);
	}
END_TEST

START_TEST(a_user_has_so_many_sessions_and_others_are_not_affected)
	{
		struct session *more[2], *one;
		struct peer *other = new_peer(1001);

		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(
				session_open(sessions, peer, ROLE_VMM, &more[i], &error), 0);
		ck_assert_int_eq(
			session_open(sessions, peer, ROLE_VMM, &one, &error), STATUS_QUOTA);
		ck_assert_uint_eq(error.reason, REASON_LIMIT);
		ck_assert_uint_eq(error.limit, 3);
		ck_assert_int_eq(session_open(sessions, other, ROLE_VMM, &one, &error), 0);
		ck_assert_uint_eq(sessions_count(sessions), 4);
		session_close(sessions, more[0]);
		ck_assert_int_eq(session_open(sessions, peer, ROLE_VMM, &more[0], &error), 0);
		(void)peer_unref(other, limits);
	}
END_TEST

START_TEST(what_is_remembered_is_charged_to_the_user)
	{
		const struct account *account =
			limits_account(limits, peer->user, RESOURCE_REMEMBERED);
		struct remembered *slow;

		ck_assert_uint_eq(account->current, 0);
		ck_assert_int_eq(begin(1, 1, &slow), SESSION_RUN);
		ck_assert_int_eq(session_reserve(sessions, session, slow, 9000, true, &error), 0);
		ck_assert_uint_ge(account->current, 9000);
		session_finish(sessions, session, slow, (const uint8_t *)"x", 1, false);
		ck_assert_uint_lt(account->current, 9000);
		for (uint64_t id = 2; id < 100; id++)
			done(id, 9);
		ck_assert_uint_ge(account->current, 98 * sizeof(struct remembered));
		session_seen_below(sessions, session, 100);
		ck_assert_uint_eq(account->current, 0);
		ck_assert_uint_eq(limits_sum(limits, RESOURCE_REMEMBERED), 0);
	}
END_TEST

START_TEST(a_shorter_time_ends_those_first_that_have_it)
	{
		struct session *second, *third;
		int a, b, c;

		ck_assert_int_eq(session_open(sessions, peer, ROLE_VMM, &second, &error), 0);
		ck_assert_int_eq(session_open(sessions, peer, ROLE_VMM, &third, &error), 0);
		session_park(sessions, session, 1000, &a);
		sessions_configure(sessions, 5, REPLY_MAX);
		session_park(sessions, second, 1020, &b);
		ck_assert_ptr_eq(sessions_parked(sessions), second);
		ck_assert_uint_eq(sessions_next_expiry(sessions), 1025);
		sessions_configure(sessions, 50, REPLY_MAX);
		session_park(sessions, third, 1030, &c); /* between both */
		ck_assert_ptr_eq(sessions_expired(sessions, 1025), second);
		ck_assert_ptr_eq(session_unpark(sessions, second), &b);
		ck_assert_ptr_eq(sessions_parked(sessions), third);
		ck_assert_ptr_eq(session_unpark(sessions, third), &c);
		ck_assert_ptr_eq(session_unpark(sessions, session), &a);
		session_close(sessions, second);
		session_close(sessions, third);
	}
END_TEST

START_TEST(parked_sessions_end_in_their_order)
	{
		struct session *second;
		int a, b;

		ck_assert_int_eq(session_open(sessions, peer, ROLE_VMM, &second, &error), 0);
		ck_assert_uint_eq(sessions_next_expiry(sessions), UINT64_MAX);
		session_park(sessions, session, 100, &a);
		session_park(sessions, second, 200, &b);
		ck_assert_uint_eq(sessions_next_expiry(sessions), 100 + GRACE);
		ck_assert_ptr_null(sessions_expired(sessions, 99 + GRACE));
		ck_assert_ptr_eq(sessions_expired(sessions, 100 + GRACE), session);
		ck_assert_ptr_eq(session_unpark(sessions, session), &a);
		ck_assert_ptr_null(sessions_expired(sessions, 100 + GRACE));
		ck_assert_ptr_eq(sessions_parked(sessions), second);
		ck_assert_ptr_eq(session_unpark(sessions, second), &b);
		ck_assert_ptr_null(sessions_parked(sessions));
	}
END_TEST

START_TEST(an_idle_session_is_small)
	{
		size_t bytes = malloc_usable_size(session) + malloc_usable_size(peer);

		/* the connection's part is looked at in test_dispatch */
		ck_assert_uint_le(bytes, 256);
	}
END_TEST

/* ---------------------------------------------------------------- invariant X */

START_TEST(the_same_request_gets_the_same_reply)
	{
		struct remembered *remembered;

		done(5, 3);
		ck_assert_int_eq(begin(5, 5, &remembered), SESSION_REPLAY);
		ck_assert_uint_eq(remembered->size, 3);
		expect_reply(remembered, "\5\5\5", 3);
	}
END_TEST

START_TEST(an_empty_reply_is_a_reply)
	{
		struct remembered *remembered;

		done(5, 0);
		ck_assert_int_eq(begin(5, 5, &remembered), SESSION_REPLAY);
		ck_assert_uint_eq(remembered->size, 0);
	}
END_TEST

START_TEST(while_it_runs_the_same_request_waits)
	{
		struct remembered *first, *again;

		ck_assert_int_eq(begin(5, 5, &first), SESSION_RUN);
		ck_assert_int_eq(begin(5, 5, &again), SESSION_WAIT);
		ck_assert_ptr_eq(first, again);
		expect_refusal(5, 6, REASON_ID_REUSED);
	}
END_TEST

START_TEST(an_id_with_other_content_is_refused)
	{
		done(5, 1);
		expect_refusal(5, 6, REASON_ID_REUSED);
	}
END_TEST

START_TEST(what_was_not_done_may_be_asked_again)
	{
		struct remembered *remembered;

		ck_assert_int_eq(begin(5, 5, &remembered), SESSION_RUN);
		session_forget(sessions, session, remembered);
		ck_assert_int_eq(begin(5, 5, &remembered), SESSION_RUN);
	}
END_TEST

START_TEST(seen_replies_are_forgotten_and_not_done_again)
	{
		struct remembered *remembered;

		done(5, 1);
		done(6, 100);
		session_seen_below(sessions, session, 6);
		expect_refusal(5, 5, REASON_ID_TOO_OLD);
		ck_assert_int_eq(begin(6, 6, &remembered), SESSION_REPLAY);
		session_seen_below(sessions, session, 3); /* it never falls */
		expect_refusal(4, 4, REASON_ID_TOO_OLD);
		session_seen_below(sessions, session, 7);
		ck_assert_uint_eq(session->remembered_count, 0);
		ck_assert_uint_eq(session->remembered_bytes, 0);
	}
END_TEST

START_TEST(the_window_forgets_the_oldest)
	{
		struct remembered *remembered;

		for (uint64_t id = 1; id <= SESSION_WINDOW; id++)
			done(id, 1);
		ck_assert_int_eq(begin(1, 1, &remembered), SESSION_REPLAY);
		done(SESSION_WINDOW + 1, 1);
		expect_refusal(1, 1, REASON_ID_TOO_OLD);
		ck_assert_uint_eq(error.limit, 2);
		ck_assert_int_eq(begin(2, 2, &remembered), SESSION_REPLAY);
	}
END_TEST

START_TEST(a_window_of_running_changes_is_full)
	{
		struct remembered *running[SESSION_WINDOW], *more;

		for (uint64_t id = 0; id < SESSION_WINDOW; id++)
			ck_assert_int_eq(begin(id + 1, id, &running[id]), SESSION_RUN);
		expect_refusal(SESSION_WINDOW + 1, 0, REASON_WINDOW_FULL);
		finish(running[7], NULL, 0, false);
		ck_assert_int_eq(begin(SESSION_WINDOW + 1, 0, &more), SESSION_RUN);
		/* what made room is never done again */
		expect_refusal(8, 7, REASON_ID_TOO_OLD);
	}
END_TEST

START_TEST(a_slow_change_keeps_its_reply_when_later_ones_are_forgotten)
	{
		struct remembered *slow, *again;

		ck_assert_int_eq(begin(1, 1, &slow), SESSION_RUN);
		for (uint64_t id = 2; id <= UINT64_C(3) * SESSION_WINDOW; id++)
			done(id, 1);
		finish(slow, "x", 1, false);
		ck_assert_int_eq(begin(1, 1, &again), SESSION_REPLAY);
	}
END_TEST

START_TEST(a_running_change_that_was_declared_seen_is_not_kept)
	{
		struct remembered *running;

		ck_assert_int_eq(begin(1, 1, &running), SESSION_RUN);
		session_seen_below(sessions, session, 10);
		ck_assert_int_eq(begin(1, 1, &running), SESSION_WAIT);
		finish(running, "x", 1, false);
		expect_refusal(1, 1, REASON_ID_TOO_OLD);
		ck_assert_uint_eq(session->remembered_count, 0);
	}
END_TEST

START_TEST(ids_may_come_out_of_order_within_the_window)
	{
		struct remembered *remembered;

		done(10, 1);
		ck_assert_int_eq(begin(9, 9, &remembered), SESSION_RUN);
		finish(remembered, NULL, 0, true);
		ck_assert_int_eq(begin(9, 9, &remembered), SESSION_REPLAY);
		ck_assert(remembered->had_fds);
	}
END_TEST

START_TEST(bytes_of_replies_are_bounded)
	{
		struct remembered *remembered;

		for (uint64_t id = 1; id <= 5; id++) {
			done(id, REPLY_MAX / 4);
			ck_assert_uint_le(session->remembered_bytes, REPLY_MAX);
		}
		expect_refusal(1, 1, REASON_ID_TOO_OLD);
		ck_assert_int_eq(begin(2, 2, &remembered), SESSION_REPLAY);
		done(6, REPLY_MAX); /* alone */
		ck_assert_uint_eq(session->remembered_count, 1);
		ck_assert_int_eq(begin(6, 6, &remembered), SESSION_REPLAY);
		ck_assert_uint_eq(remembered->size, REPLY_MAX);
	}
END_TEST

/* Any history: nothing runs twice, and a reply that is had again is the one that was given. */
START_TEST(no_history_does_a_change_twice)
	{
		static uint8_t ran[4000];
		uint64_t next = 1;
		uint32_t x = 12345;

		memset(ran, 0, sizeof(ran));
		for (int i = 0; i < 20000 && next < sizeof(ran); i++) {
			struct remembered *remembered = NULL;
			enum session_verdict verdict = 0;
			uint64_t id;
			int r;

			x = x * 1664525 + 1013904223;
			id = x >> 30 ? next - (x >> 8) % (next < 600 ? next : 600) : next++;
			if ((x & 0xfff) == 7)
				session_seen_below(sessions, session, id);
			if (id == 0)
				continue;
			r = session_begin(
				sessions, session, id, 48, id, &verdict, &remembered, &error);
			if (r) {
				ck_assert_uint_eq(error.reason, REASON_ID_TOO_OLD);
				continue;
			}
			if (verdict == SESSION_RUN) {
				ck_assert_uint_eq(ran[id], 0);
				ran[id] = 1;
				if (x & 0x10000)
					continue; /* goes on running */
			} else if (verdict == SESSION_REPLAY) {
				uint64_t was;

				session_reply(sessions, remembered, (uint8_t *)&was);
				ck_assert_uint_eq(was, id);
				continue;
			}
			finish(remembered, &id, sizeof(id), false);
		}
		ck_assert_uint_gt(next, 1000);
	}
END_TEST

static Suite *suite(void)
{
	const TTest *const tests[] = {
		siphash_as_in_the_paper,
		a_digest_depends_on_everything,
		a_peer_keeps_its_groups,
		a_token_is_known_to_its_user_only,
		tokens_and_ids_differ,
		a_user_has_so_many_sessions_and_others_are_not_affected,
		what_is_remembered_is_charged_to_the_user,
		parked_sessions_end_in_their_order,
		a_shorter_time_ends_those_first_that_have_it,
		an_idle_session_is_small,
		the_same_request_gets_the_same_reply,
		an_empty_reply_is_a_reply,
		while_it_runs_the_same_request_waits,
		an_id_with_other_content_is_refused,
		what_was_not_done_may_be_asked_again,
		seen_replies_are_forgotten_and_not_done_again,
		the_window_forgets_the_oldest,
		a_window_of_running_changes_is_full,
		a_slow_change_keeps_its_reply_when_later_ones_are_forgotten,
		a_running_change_that_was_declared_seen_is_not_kept,
		ids_may_come_out_of_order_within_the_window,
		bytes_of_replies_are_bounded,
		no_history_does_a_change_twice,
	};
	TCase *all = tcase_create("session");
	Suite *s = suite_create("session");

	tcase_add_checked_fixture(all, setup, teardown);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(all, tests[i]);
	suite_add_tcase(s, all);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
