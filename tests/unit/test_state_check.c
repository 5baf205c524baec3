/* SPDX-License-Identifier: MIT */
/*
 * Records that go together are accepted; each thing that may not be is found, and said where.
 */
#include "random.h"
#include "state_check_rig.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

START_TEST(records_that_go_together_are_accepted)
	{
		state_check_accepted();
		for (unsigned t = 0; t < STATE_TABLES; t++)
			state_reserve(state, (enum state_table)t, t == STATE_HOST ? 1 : 5000);
		state_check_accepted();
	}
END_TEST

START_TEST(nothing_at_all_is_accepted)
	{
		state_check_teardown();
		ck_assert_int_eq(state_file_memory(&file), 0);
		state = state_file_state(file);
		state_check_accepted();
		state_reserve(state, STATE_HOST, 1); /* room for a record is none yet */
		state_check_accepted();
		ck_assert_str_eq(state_table_name(STATE_TABLES), "?");
	}
END_TEST

START_TEST(states_that_are_none)
	{
		for (unsigned t = 0; t < STATE_TABLES; t++) {
			uint64_t *word = state->table[t]; /* each slot begins with it */

			*word |= 0xf;
			state_check_found(
				(enum state_table)t, 0, *(uint64_t *)state->table[t] | 0xf);
			word = state->table[t];
			*word &= ~UINT64_C(0xf);
			*word |= 1 << 4;
			state_check_found((enum state_table)t, 0,
				(*(uint64_t *)state->table[t] & ~UINT64_C(0xf)) | 1 << 4);
		}
	}
END_TEST

START_TEST(sets_and_their_names)
	{
		const uint64_t word = sets[0].word;

		sets[0].word = word & ~UINT64_C(0xf0);
		state_check_found(STATE_SETS, 0, word & ~UINT64_C(0xf0));
		sets[0].word = (word & ~UINT64_C(0xf0)) | 4 << 4;
		state_check_found(STATE_SETS, 0, (word & ~UINT64_C(0xf0)) | 4 << 4);
		sets[2].name[0] = '\0';
		state_check_found(STATE_SETS, 2, 0);
		sets[1].name[0] = '{';
		state_check_found(STATE_SETS, 1, '{');
		sets[1].name[63] = '/';
		state_check_found(STATE_SETS, 1, 'v');
		memcpy(sets[1].name, "vm0", 4);
		state_check_found(STATE_SETS, 1, sets[1].word);
	}
END_TEST

START_TEST(sets_have_a_quota_and_no_more_grants)
	{
		sets[0].quota = 0;
		state_check_found(STATE_SETS, 0, 0);
		sets[1].quota = PASID_COUNT + 1;
		state_check_found(STATE_SETS, 1, PASID_COUNT + 1);
		sets[0].quota = 2;
		state_check_found(STATE_GRANTS, 3, 0);
		sets[0].quota = 3;
		state_check_accepted();
	}
END_TEST

START_TEST(grants_numbers)
	{
		const uint64_t word = grants[2].word,
			       mask = (uint64_t)PASID_LAST << GRANT_HOST_SHIFT;

		grants[2].word = word & ~mask;
		state_check_found(STATE_GRANTS, 2, word & ~mask);
		grants[2].word = (word & ~mask) | (uint64_t)1027 << GRANT_HOST_SHIFT;
		state_check_found(STATE_GRANTS, 3, 1027);
		grants[2].word = word | mask;
		state_check_accepted();
		grants[4].set = RIG_SETS;
		state_check_found(STATE_GRANTS, 4, RIG_SETS);
		grants[4].set = STATE_NONE;
		state_check_found(STATE_GRANTS, 4, STATE_NONE);
		sets[2].word = 0;
		state_check_found(STATE_GRANTS, 4, 2);
	}
END_TEST

START_TEST(grants_guests)
	{
		const uint64_t guest = UINT64_C(5) << GRANT_GUEST_SHIFT | GRANT_HAS_GUEST;

		grants[3].word |= guest;
		state_check_found(STATE_GRANTS, 3, grants[3].word | guest);
		/* both have 7, each in its own set */
		state_check_accepted();
		grants[2].set = 0;
		state_check_found(STATE_GRANTS, 2, 7);
	}
END_TEST

START_TEST(guest_numbers_in_any_order)
	{
		struct random random = random_begin("guest_numbers_in_any_order");
		const uint32_t first = RIG_GRANTS, count = 20000;

		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, first + count), 0);
		sets[0].quota = sets[1].quota = PASID_COUNT;
		for (uint32_t i = 0; i < count; i++) {
			/* 40503 is odd: all numbers below 2^20 come once */
			const uint64_t number = (uint64_t)i * 40503 % PASID_COUNT;

			grants[first + i].set = i % 2;
			grants[first + i].word = number << GRANT_GUEST_SHIFT | GRANT_HAS_GUEST |
						 (uint64_t)(4096 + i) << GRANT_HOST_SHIFT |
						 GRANT_ACTIVE;
		}
		grants[0].word = grants[1].word = grants[2].word = 0;
		memset(state->table[STATE_TIES], 0, RIG_TIES * sizeof(struct tie_slot));
		bindings[0].word = bindings[1].word = 0;
		state_check_accepted();
		for (unsigned i = 0; i < 20; i++) {
			const uint32_t a = first + 2 * random_below(&random, count / 2),
				       b = first + 2 * random_below(&random, count / 2);
			const uint64_t mask = (uint64_t)PASID_LAST << GRANT_GUEST_SHIFT;
			const uint64_t was = grants[b].word;
			struct state_problem problem;

			if (a == b)
				continue;
			grants[b].word = (was & ~mask) | (grants[a].word & mask);
			ck_assert_int_eq(state_check_run(&problem), -EBADMSG);
			ck_assert_uint_eq(problem.slot, a > b ? a : b);
			grants[b].word = was;
		}
		state_check_accepted();
	}
END_TEST

START_TEST(devices_and_what_they_are_of)
	{
		const uint64_t word = devices[0].word;

		devices[0].word = word & ~UINT64_C(0xf0);
		state_check_found(STATE_DEVICES, 0, word & ~UINT64_C(0xf0));
		devices[0].word = (word & ~UINT64_C(0xf0)) | (DEVICE_SLICE + 1) << 4;
		state_check_found(
			STATE_DEVICES, 0, (word & ~UINT64_C(0xf0)) | (DEVICE_SLICE + 1) << 4);
		devices[0].set = STATE_NONE;
		state_check_found(STATE_DEVICES, 0, STATE_NONE);
		devices[1].set = 0;
		state_check_found(STATE_DEVICES, 1, 0);
		devices[2].set = RIG_SETS;
		state_check_found(STATE_DEVICES, 2, RIG_SETS);
		devices[0].shared = 1;
		state_check_found(STATE_DEVICES, 0, 1);
		devices[1].shared = 1;
		state_check_found(STATE_DEVICES, 1, 1);
		devices[2].shared = 0;
		state_check_found(STATE_DEVICES, 2, 0);
		devices[2].shared = STATE_NONE;
		state_check_found(STATE_DEVICES, 2, STATE_NONE);
		devices[2].shared = RIG_DEVICES;
		state_check_found(STATE_DEVICES, 2, RIG_DEVICES);
	}
END_TEST

START_TEST(bindings_and_what_they_are_of)
	{
		const uint64_t word = bindings[3].word;

		bindings[0].set = RIG_SETS;
		state_check_found(STATE_BINDINGS, 0, RIG_SETS);
		bindings[0].set = 1;
		state_check_found(STATE_BINDINGS, 0, 1);
		bindings[0].device = RIG_DEVICES;
		state_check_found(STATE_BINDINGS, 0, RIG_DEVICES);
		bindings[2].grant = RIG_GRANTS;
		state_check_found(STATE_BINDINGS, 2, RIG_GRANTS);
		grants[3].word = 0;
		state_check_found(STATE_BINDINGS, 2, 3);
		bindings[3].word |= BINDING_WORD_PASID;
		state_check_found(STATE_BINDINGS, 3, word | BINDING_WORD_PASID);
		bindings[0].grant = STATE_NONE;
		state_check_found(STATE_BINDINGS, 0, bindings[0].word);
		bindings[2].device = 2;
		state_check_found(STATE_BINDINGS, 2, 2);
		bindings[1].word += BINDING_TAINTED - BINDING_BINDING;
		state_check_found(STATE_BINDINGS, 1, 2);
		bindings[0].next_table = UINT64_C(1) << BINDING_NEXT_ID_SHIFT | 3;
		state_check_accepted();
		bindings[0].next_table = UINT64_C(1) << BINDING_NEXT_ID_SHIFT;
		state_check_found(STATE_BINDINGS, 0, UINT64_C(1) << BINDING_NEXT_ID_SHIFT);
		bindings[1].next_table = 3;
		state_check_found(STATE_BINDINGS, 1, 3);
		devices[0].word -= DEVICE_READY - DEVICE_ADDING;
		state_check_found(STATE_BINDINGS, 0, 0);
		devices[1].word -= DEVICE_READY - DEVICE_ADDING;
		state_check_found(STATE_DEVICES, 2, 1);
	}
END_TEST

#define KIND(kind) ((uint64_t)(kind) << BINDING_KIND_SHIFT)

/* F32 */
START_TEST(guests_tables_are_of_rids_and_of_sets_that_let_them)
	{
		const uint64_t mode = (SET_TRANSLATED ^ SET_GUEST_OWNED) << 4;

		bindings[3].word |= KIND(BINDING_KIND_STREAM);
		state_check_found(STATE_BINDINGS, 3, 0); /* the set has numbers */
		sets[0].word ^= mode;
		bindings[3].word |= KIND(BINDING_KIND_STREAM);
		state_check_accepted();
		bindings[3].next_table = BINDING_KIND_STREAM;
		state_check_accepted();
		bindings[3].next_table = 1;
		state_check_found(STATE_BINDINGS, 3, 1);
		bindings[3].next_table = BINDING_KIND_STREAM; /* of another kind */
		state_check_found(STATE_BINDINGS, 3, BINDING_KIND_STREAM);
		sets[0].word ^= mode;
		bindings[0].word |= KIND(BINDING_KIND_STREAM);
		state_check_found(STATE_BINDINGS, 0, 0);
		sets[0].word ^= mode;
		bindings[3].word |= KIND(BINDING_KIND_STREAM);
		bindings[3].device = 2;
		state_check_found(STATE_BINDINGS, 3, 2);
	}
END_TEST

START_TEST(one_binding_of_a_number_in_a_device)
	{
		bindings[1].device = 0;
		state_check_found(STATE_BINDINGS, 1, 0);
		bindings[2].word &= ~BINDING_WORD_PASID;
		bindings[2].grant = STATE_NONE;
		state_check_accepted();
		bindings[2].word -= BINDING_DRAINING - BINDING_BOUND;
		bindings[2].device = 0;
		state_check_found(STATE_BINDINGS, 3, 0);
		bindings[0].grant = bindings[1].grant = 3;
		state_check_accepted();
		bindings[0].device = 1;
		state_check_found(STATE_BINDINGS, 2, 1);
	}
END_TEST

START_TEST(bindings_of_a_number_in_any_order_beside_free_slots)
	{
		bindings[0].device = 2;
		bindings[1].device = 0;
		bindings[2].word = 0;
		state_check_accepted();
		bindings[3].grant = 0;
		bindings[3].word |= BINDING_WORD_PASID;
		state_check_found(STATE_BINDINGS, 3, 0);
	}
END_TEST

START_TEST(sessions_and_their_sets)
	{
		const uint64_t gone = UINT64_C(2) << WORD_GENERATION_SHIFT | 1;

		sessions[1].id = 0;
		state_check_found(STATE_SESSIONS, 1, 0);
		sessions[1].id = 11;
		state_check_found(STATE_SESSIONS, 1, 11);
		sessions[1].id = 3000;
		state_check_found(STATE_SESSIONS, 1, 3000);
		sessions[1].id = 2999;
		sessions[0].set = gone; /* it ended, and its session was told */
		state_check_accepted();
	}
END_TEST

START_TEST(slots_that_were_never_used)
	{
		const uint64_t session = sessions[1].word, reply = replies[4].word;

		host->session_slots = RIG_SESSIONS + 1;
		state_check_found(STATE_HOST, 0, RIG_SESSIONS + 1);
		host->policy = STATE_POLICIES;
		state_check_accepted();
		host->policy++;
		state_check_found(STATE_HOST, 0, STATE_POLICIES + 1);
		host->reply_slots = UINT64_MAX;
		state_check_found(STATE_HOST, 0, UINT64_MAX);
		host->session_slots = 1;
		state_check_found(STATE_SESSIONS, 1, session);
		host->reply_slots = 4;
		state_check_found(STATE_REPLIES, 4, reply);
		host->session_slots = 1;
		sessions[1].word = 0;
		state_check_accepted();
		ck_assert_int_eq(state_reserve(state, STATE_REPLIES, 100), 0);
		host->reply_slots = 100;
		state_check_accepted();
	}
END_TEST

START_TEST(many_sessions_are_told_apart)
	{
		struct random random = random_begin("many_sessions_are_told_apart");
		struct state_problem problem;
		const uint32_t count = 5000;

		ck_assert_int_eq(state_reserve(state, STATE_SESSIONS, count), 0);
		host->session_slots = count;
		host->session = UINT64_MAX;
		for (uint32_t i = RIG_SESSIONS; i < count; i++) {
			sessions[i].id = (uint64_t)i * 0x9e3779b97f4a7c15;
			sessions[i].word = SESSION_LIVE;
		}
		state_check_accepted();
		for (unsigned i = 0; i < 20; i++) {
			const uint32_t a = random_between(&random, 2, count - 2),
				       b = random_between(&random, a + 1, count - 1);
			const uint64_t was = sessions[b].id;

			sessions[b].id = sessions[a].id;
			ck_assert_int_eq(state_check_run(&problem), -EBADMSG);
			ck_assert_uint_eq(problem.slot, b);
			sessions[b].id = was;
		}
		state_check_accepted();
	}
END_TEST

START_TEST(replies_and_their_sessions)
	{
		replies[0].session = RIG_SESSIONS;
		state_check_found(STATE_REPLIES, 0, RIG_SESSIONS);
		sessions[0].word = 0;
		state_check_found(STATE_REPLIES, 0, 0);
		replies[2].id = replies[0].id;
		state_check_found(STATE_REPLIES, 2, replies[0].id);
		replies[2].id = replies[0].id;
		replies[2].session = 1;
		state_check_accepted();
	}
END_TEST

START_TEST(replies_and_their_bytes)
	{
		const uint64_t word = replies[1].word, more = replies[3].word;
		const uint64_t one = UINT64_C(1) << REPLY_BYTES_SHIFT;

		replies[0].more = 3;
		state_check_found(STATE_REPLIES, 0, 3);
		replies[0].word += one;
		state_check_found(STATE_REPLIES, 0, STATE_NONE);
		replies[1].word = word - one;
		state_check_found(STATE_REPLIES, 1, 3);
		replies[1].word = word + one;
		state_check_found(STATE_REPLIES, 3, more);
		replies[1].word = word + (STATE_REPLY_MORE - 1) * one;
		replies[3].word = more + (STATE_REPLY_MORE - 1) * one;
		state_check_accepted();
		replies[1].word = word + STATE_REPLY_MORE * one;
		state_check_found(STATE_REPLIES, 1, STATE_NONE);
		replies[1].word |= UINT64_C(0xffffffff) << REPLY_BYTES_SHIFT;
		state_check_found(STATE_REPLIES, 1, UINT32_MAX);
		replies[1].word = word - (STATE_REPLY_MORE + 1) * one;
		replies[1].more = STATE_NONE;
		state_check_found(STATE_REPLIES, 3, more);
	}
END_TEST

START_TEST(replies_and_the_slots_that_they_go_on_in)
	{
		const uint64_t word = replies[1].word;
		const uint64_t piece = replies[4].word - (UINT64_C(1) << REPLY_BYTES_SHIFT);

		replies[3].more = 4;
		state_check_found(STATE_REPLIES, 1, 4);
		replies[2].word = word;
		replies[2].more = 4;
		state_check_found(STATE_REPLIES, 2, 4);
		replies[1].more = RIG_REPLIES;
		state_check_found(STATE_REPLIES, 1, RIG_REPLIES);
		replies[1].more = 2;
		state_check_found(STATE_REPLIES, 1, 2);
		replies[3].session = 1;
		state_check_found(STATE_REPLIES, 3, 1);
		replies[4].word = piece;
		state_check_found(STATE_REPLIES, 4, piece);
	}
END_TEST

START_TEST(what_is_under_way_has_no_bytes_yet)
	{
		const uint64_t word = replies[2].word | UINT64_C(1) << REPLY_BYTES_SHIFT;

		replies[2].word = word;
		state_check_found(STATE_REPLIES, 2, word);
		/* where they go on is written before the word that says so */
		replies[2].more = 3;
		state_check_accepted();
	}
END_TEST

START_TEST(a_session_has_no_more_than_its_window)
	{
		const uint32_t count = RIG_REPLIES + STATE_SESSION_REPLIES;

		ck_assert_int_eq(state_reserve(state, STATE_REPLIES, count), 0);
		host->reply_slots = count;
		for (uint32_t i = RIG_REPLIES; i < count; i++) {
			/* 101 is odd: the ids are 1000 to 1255 in some order */
			replies[i].id = 1000 + i * 101 % STATE_SESSION_REPLIES;
			replies[i].session = 1;
			replies[i].more = STATE_NONE;
			replies[i].word = REPLY_FINAL;
		}
		state_check_accepted();
		replies[count - 1].id = replies[RIG_REPLIES + 7].id;
		state_check_found(STATE_REPLIES, count - 1,
			1000 + (RIG_REPLIES + 7) * 101 % STATE_SESSION_REPLIES);
	}
END_TEST

START_TEST(a_session_has_more_than_its_window)
	{
		const uint32_t count = RIG_REPLIES + STATE_SESSION_REPLIES + 1;

		ck_assert_int_eq(state_reserve(state, STATE_REPLIES, count), 0);
		host->reply_slots = count;
		for (uint32_t i = RIG_REPLIES; i < count; i++) {
			replies[i].id = i;
			replies[i].session = 1;
			replies[i].more = STATE_NONE;
			replies[i].word = REPLY_FINAL;
		}
		state_check_found(STATE_REPLIES, count - 1, 1);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		records_that_go_together_are_accepted,
		nothing_at_all_is_accepted,
		states_that_are_none,
		sets_and_their_names,
		sets_have_a_quota_and_no_more_grants,
		grants_numbers,
		grants_guests,
		guest_numbers_in_any_order,
		devices_and_what_they_are_of,
		bindings_and_what_they_are_of,
		guests_tables_are_of_rids_and_of_sets_that_let_them,
		one_binding_of_a_number_in_a_device,
		bindings_of_a_number_in_any_order_beside_free_slots,
		sessions_and_their_sets,
		slots_that_were_never_used,
		many_sessions_are_told_apart,
		replies_and_their_sessions,
		replies_and_their_bytes,
		replies_and_the_slots_that_they_go_on_in,
		what_is_under_way_has_no_bytes_yet,
		a_session_has_no_more_than_its_window,
		a_session_has_more_than_its_window,
	};

	return suite_run("state_check", "check", tests, ARRAY_SIZE(tests), state_check_setup,
		state_check_teardown);
}
