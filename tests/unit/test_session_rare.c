/* SPDX-License-Identifier: MIT */
/* Sessions where something runs out, many of them in one place, and records that are odd. */
#include "failing_memory.h"
#include "session_private.h"
#include "session_rig.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

#define MANY (SESSION_BUCKETS + 400)

/* ---------------------------------------------------------------- what runs out */

static struct state_ops narrow;
static enum state_table narrow_table;

static int narrow_reserve(void *ctx, enum state_table table, uint32_t count)
{
	(void)ctx;
	(void)count;
	return table == narrow_table ? -ENOSPC : 0;
}

/* Records of this table cannot grow, as when the file system is full. */
static void make_narrow(enum state_table table)
{
	narrow = *journal.state.ops;
	narrow.reserve = narrow_reserve;
	narrow_table = table;
	journal.state.ops = &narrow;
}

static void nothing_random(void *ctx, void *ret_bytes, size_t size)
{
	(void)ctx;
	memset(ret_bytes, 1, size);
}

static int new_sessions(struct sessions **ret_sessions)
{
	const struct session_config config = {1, limits, REPLY_MAX, &journal.state};

	return sessions_new(&config, nothing_random, NULL, ret_sessions);
}

START_TEST(without_a_record_of_the_host_there_are_no_sessions)
	{
		struct sessions *other = NULL;

		make_narrow(STATE_HOST);
		ck_assert_int_eq(new_sessions(&other), -ENOSPC);
		ck_assert_ptr_null(other);
		make_narrow(STATE_TABLES);
		memory_fail_after(0);
		ck_assert_int_eq(new_sessions(&other), -ENOMEM);
		ck_assert(memory_recover());
		ck_assert_ptr_null(other);
	}
END_TEST

START_TEST(a_session_that_has_no_record_is_refused)
	{
		const uint32_t mark = sessions->session_pool.mark;
		struct session *made = NULL;

		make_narrow(STATE_SESSIONS);
		for (uint32_t i = sessions->session_pool.fresh; i < mark; i++)
			(void)open_session();
		ck_assert_int_eq(
			session_open(sessions, peer, ROLE_VMM, &made, &error), STATUS_RETRY);
		ck_assert_uint_eq(error.reason, REASON_NO_MEMORY);
		ck_assert_ptr_null(made);
		make_narrow(STATE_TABLES);
		memory_fail_after(0);
		ck_assert_int_eq(
			session_open(sessions, peer, ROLE_VMM, &made, &error), STATUS_RETRY);
		ck_assert(memory_recover());
		(void)open_session();
		ck_assert_uint_eq(sessions_count(sessions), mark + 1);
		memory_fail_after(0); /* its record is there already */
		ck_assert_int_eq(
			session_open(sessions, peer, ROLE_VMM, &made, &error), STATUS_RETRY);
		ck_assert(memory_recover());
		ck_assert_str_eq(error.text, "no memory for another session; try again");
		ck_assert_uint_eq(sessions_count(sessions), mark + 1);
	}
END_TEST

START_TEST(a_change_whose_reply_has_no_room_in_the_account_is_not_begun)
	{
		struct remembered *remembered;

		ck_assert_int_eq(begin(1, &remembered), SESSION_RUN);
		limits_charge_anyway(limits, NULL, session->user, RESOURCE_REMEMBERED, 33554432);
		ck_assert_int_eq(
			session_reserve(sessions, session, remembered, 20000, true, &error),
			STATUS_RETRY);
		ck_assert_uint_eq(error.reason, REASON_OVERLOAD);
		limits_release(limits, NULL, session->user, RESOURCE_REMEMBERED, 33554432);
		ck_assert_int_eq(
			session_reserve(sessions, session, remembered, 500, true, &error), 0);
		finish(remembered, 500, false);
		expect_reply(1, 500);
	}
END_TEST

START_TEST(nobody_is_charged_who_has_no_place)
	{
		uint32_t place, uid = 100000;
		const uint32_t before = peer->user;

		while (limits_user_open(limits, uid, &place, &error) == 0)
			uid++;
		ck_assert_int_eq(peer_charge(peer, limits, uid, &error), STATUS_QUOTA);
		ck_assert_uint_eq(peer->user, before);
		ck_assert_int_eq(peer_charge(peer, limits, uid - 1, &error), 0);
		ck_assert_uint_eq(peer->user, place);
	}
END_TEST

/* ---------------------------------------------------------------- many */

START_TEST(sessions_in_one_place_are_told_apart)
	{
		static struct session *all[MANY];
		static uint8_t tokens[MANY][SESSION_TOKEN_SIZE];
		uint8_t wrong[SESSION_TOKEN_SIZE];

		for (unsigned i = 0; i < MANY; i++) {
			all[i] = open_session();
			memcpy(tokens[i], session_token(sessions, all[i]), sizeof(tokens[i]));
			sessions_settle(sessions);
		}
		for (unsigned i = 0; i < MANY; i++) { /* the oldest is the last in its place */
			ck_assert_ptr_eq(session_by_token(sessions, tokens[i], 1000), all[i]);
			ck_assert_ptr_null(session_by_token(sessions, tokens[i], 1001));
			memcpy(wrong, tokens[i], sizeof(wrong));
			wrong[i % sizeof(wrong)] ^= 1;
			ck_assert_ptr_null(session_by_token(sessions, wrong, 1000));
			session_close(sessions, all[i]);
			ck_assert_ptr_null(session_by_token(sessions, tokens[i], 1000));
			if (i + 1 < MANY)
				ck_assert_ptr_eq(session_by_token(sessions, tokens[i + 1], 1000),
					all[i + 1]);
		}
	}
END_TEST

/* Whatever is large about it, it is not taken for another one. */
START_TEST(digests_tell_what_is_asked_apart)
	{
		static const uint32_t operations[] = {0, 1, 0x3ff, 0x400, 0x401, UINT32_MAX};
		static const uint32_t descriptors[] = {0, 3, 4, 8};
		static const uint8_t body[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
		static const size_t sizes[] = {0, 1, 5, 6, 7, 10};
		uint64_t seen[6 * 4 * 6];
		size_t count = 0;

		for (size_t o = 0; o < ARRAY_SIZE(operations); o++)
			for (size_t d = 0; d < ARRAY_SIZE(descriptors); d++)
				for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
					seen[count++] = session_digest(sessions, operations[o],
						descriptors[d], body, sizes[s]);
		ck_assert_uint_eq(count, ARRAY_SIZE(seen));
		for (size_t i = 0; i < count; i++)
			for (size_t k = 0; k < i; k++)
				ck_assert_uint_ne(seen[i], seen[k]);
	}
END_TEST

START_TEST(one_reply_may_be_longer_than_all_that_are_kept)
	{
		done(1, 100);
		sessions->config.reply_max = 1000;
		done(2, 5000);
		expect_reply(2, 5000);
		expect_refusal(1, 1, REASON_ID_TOO_OLD);
		done(3, 10);
		expect_reply(3, 10);
	}
END_TEST

/* Their replies are in the records in whatever order. */
START_TEST(replies_of_several_sessions_are_had_again)
	{
		struct session *first = session, *second = open_session();

		for (uint64_t id = 1; id <= 20; id++) {
			session = id % 3 ? second : first;
			done(id, 300);
		}
		sessions_settle(sessions);
		restart();
		ck_assert_uint_eq(recovered, 2);
		first = session;
		for (uint64_t id = 1; id <= 20; id++) {
			session = id % 3 ? others[0] : first;
			expect_reply(id, 300);
		}
	}
END_TEST

/* ---------------------------------------------------------------- records */

START_TEST(half_of_a_key_is_a_key)
	{
		struct host_slot *host = journal.state.table[STATE_HOST];
		const uint64_t before =
			session_digest(sessions, 1, 0, (const uint8_t *)"a longer one", 12);

		host->digest[0] = 0;
		host->digest[1] = 5;
		restart();
		ck_assert_uint_eq(host->digest[0], 0);
		ck_assert_uint_eq(host->digest[1], 5);
		ck_assert_uint_ne(
			session_digest(sessions, 1, 0, (const uint8_t *)"a longer one", 12),
			before);
	}
END_TEST

/* One that was interrupted and that nobody asks for again any more. */
START_TEST(what_was_interrupted_is_forgotten_once_it_was_seen)
	{
		struct remembered *remembered;

		ck_assert_int_eq(begin(1, &remembered), SESSION_RUN);
		ck_assert_int_eq(
			session_reserve(sessions, session, remembered, 10, true, &error), 0);
		session_start(sessions, session, remembered, &remembered);
		sessions_settle(sessions);
		crash();
		ck_assert_int_eq(begin(1, &remembered), SESSION_RUN);
		ck_assert(remembered->interrupted);
		session_seen_below(sessions, session, 2); /* it is under way again */
		session_forget(sessions, session, remembered);
		ck_assert_int_eq(session->remembered_count, 0);
	}
END_TEST

static void break_word(struct reply_slot *replies, struct session_slot *slots)
{
	(void)replies;
	slots[0].word = (slots[0].word & ~UINT64_C(0xf)) | 7;
}

static void break_size(struct reply_slot *replies, struct session_slot *slots)
{
	(void)slots;
	replies[0].word |= UINT64_C(0xffffffff) << 32;
}

static struct reply_slot *piece_of(struct reply_slot *replies)
{
	return &replies[replies[0].more];
}

static void break_piece_state(struct reply_slot *replies, struct session_slot *slots)
{
	(void)slots;
	piece_of(replies)->word = (piece_of(replies)->word & ~UINT64_C(0xf)) | REPLY_UNDER_WAY;
}

static void break_piece_size(struct reply_slot *replies, struct session_slot *slots)
{
	(void)slots;
	piece_of(replies)->word ^= UINT64_C(1) << 32;
}

static void break_piece_session(struct reply_slot *replies, struct session_slot *slots)
{
	(void)slots;
	piece_of(replies)->session++;
}

static void break_session(struct reply_slot *replies, struct session_slot *slots)
{
	(void)slots;
	replies[0].session = 1; /* whose slot is free */
}

static void break_session_far(struct reply_slot *replies, struct session_slot *slots)
{
	(void)slots;
	replies[0].session = UINT32_MAX;
}

static void shorten(struct reply_slot *replies, struct session_slot *slots)
{
	(void)slots;
	replies[0].word = (replies[0].word & UINT64_C(0xffffffff)) | UINT64_C(1) << 32;
}

START_TEST(odd_records_are_refused_and_nothing_is_charged)
	{
		static void (*const faults[])(struct reply_slot *, struct session_slot *) = {
			break_word, break_size, break_piece_state, break_piece_size,
			break_piece_session, break_session, break_session_far, shorten};
		struct reply_slot *replies = journal.state.table[STATE_REPLIES];
		struct session_slot *slots = journal.state.table[STATE_SESSIONS];
		struct reply_slot kept[16];
		const struct session_slot kept_session = slots[0];

		done(1, 100);
		sessions_settle(sessions);
		memcpy(kept, replies, sizeof(kept));
		for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
			sessions_free(sessions);
			faults[i](replies, slots);
			expect_no_start(-EBADMSG);
			memcpy(replies, kept, sizeof(kept));
			slots[0] = kept_session;
		}
		restart();
		expect_reply(1, 100);
	}
END_TEST

/* More than a session may have remembered. */
START_TEST(a_window_that_is_too_full_is_refused)
	{
		struct reply_slot *replies = journal.state.table[STATE_REPLIES];
		struct host_slot *host = journal.state.table[STATE_HOST];
		uint32_t slot;

		for (uint64_t id = 1; id <= (uint64_t)SESSION_WINDOW; id++)
			done(id, 10);
		ck_assert_int_eq(session_pool_prepare(sessions, &sessions->reply_pool, 1), 0);
		slot = session_pool_take(&sessions->reply_pool);
		sessions_settle(sessions);
		ck_assert_uint_lt(slot, host->reply_slots);
		replies[slot] = replies[0];
		replies[slot].id = SESSION_WINDOW + 1;
		sessions_free(sessions);
		expect_no_start(-EBADMSG);
		replies[slot].word = 0;
		restart();
		expect_reply(SESSION_WINDOW, 10);
	}
END_TEST

static int refuse_take(void *ctx, struct session *found)
{
	(void)ctx;
	(void)found;
	return -EMFILE;
}

/* Each allocation fails once, then the records grow no more, then a user has no place. */
START_TEST(a_start_takes_over_all_or_fails)
	{
		struct session_slot *slots = journal.state.table[STATE_SESSIONS];
		struct sessions *other;
		uint32_t place, uid = 100000;
		unsigned n = 0;

		done(1, 100);
		done(2, 100);
		(void)open_session();
		sessions_settle(sessions);
		sessions_free(sessions);
		for (;; n++) {
			int r;

			ck_assert_int_eq(new_sessions(&other), 0);
			memory_fail_once_after(n);
			r = sessions_recover(other, refuse_take, NULL);
			if (!memory_recover()) {
				ck_assert_int_eq(r, -EMFILE);
				break;
			}
			ck_assert_int_eq(r, -ENOMEM);
			sessions_free(other);
			ck_assert_uint_eq(limits_sum(limits, RESOURCE_SESSIONS), 0);
			ck_assert_uint_eq(limits_sum(limits, RESOURCE_REMEMBERED), 0);
		}
		ck_assert_uint_ge(n, 7); /* two stacks, places, two sessions with peers, replies */
		sessions_free(other);
		make_narrow(STATE_REPLIES);
		expect_no_start(-ENOSPC);
		sessions_free(sessions);
		make_narrow(STATE_TABLES);
		while (limits_user_open(limits, uid, &place, &error) == 0)
			uid++;
		slots[0].charged = uid;
		expect_no_start(-ENOMEM);
		sessions_free(sessions);
		slots[0].charged = 1000;
		slots[0].uid = uid; /* it may have no place for a moment either */
		expect_no_start(-ENOMEM);
		sessions_free(sessions);
		slots[0].uid = 1000;
		start();
		expect_reply(1, 100);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {without_a_record_of_the_host_there_are_no_sessions,
		a_session_that_has_no_record_is_refused,
		a_change_whose_reply_has_no_room_in_the_account_is_not_begun,
		nobody_is_charged_who_has_no_place, sessions_in_one_place_are_told_apart,
		digests_tell_what_is_asked_apart, one_reply_may_be_longer_than_all_that_are_kept,
		replies_of_several_sessions_are_had_again, half_of_a_key_is_a_key,
		what_was_interrupted_is_forgotten_once_it_was_seen,
		odd_records_are_refused_and_nothing_is_charged,
		a_window_that_is_too_full_is_refused, a_start_takes_over_all_or_fails};

	return suite_run("session, what is rare", "rare", tests, ARRAY_SIZE(tests),
		session_rig_open, session_rig_close);
}
