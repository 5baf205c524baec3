/* SPDX-License-Identifier: MIT */
/* The check of what ties numbers to groups and sessions: claims, holds, participants. */
#include "state_check_rig.h"
#include "suite.h"

START_TEST(holds_are_of_a_session_each_and_counted)
	{
		const uint64_t one = UINT64_C(1) << TIE_TIMES_SHIFT, word = ties[1].word;
		const uint64_t held = grants[1].word;

		ties[1].word = word & ~(3 * one);
		state_check_found(STATE_TIES, 1, word & ~(3 * one));
		ties[1].to = 0;
		state_check_found(STATE_TIES, 1, 0);
		state_reserve(state, STATE_TIES, 3);
		ties[2] = ties[1];
		ties[1].to = 0;
		state_check_found(STATE_TIES, 1, 0);
		ties[1].word = word - one;
		state_check_found(STATE_GRANTS, 1, held);
		ties[1].word = 0;
		state_check_found(STATE_GRANTS, 1, held);
		/* a second session is fine, the same one is not */
		state_reserve(state, STATE_TIES, 4);
		ties[2] = ties[1];
		ties[2].to = 12;
		ties[3] = ties[1];
		ties[3].to = 10;
		grants[1].word += UINT64_C(4) << GRANT_HOLD_SHIFT;
		state_check_accepted();
		ties[3].to = 11;
		state_check_found(STATE_TIES, 3, 11);
		/* of another number */
		state_reserve(state, STATE_TIES, 3);
		ties[2] = ties[1];
		ties[2].grant = 0;
		grants[0].word += UINT64_C(2) << GRANT_HOLD_SHIFT;
		state_check_accepted();
	}
END_TEST

START_TEST(participants_have_an_index_each_and_numbers_wait_for_them)
	{
		const uint64_t participant = TIE_MADE | TIE_PARTICIPANT << 4;
		const uint64_t third = grants[3].word, fourth = grants[4].word;

		state_reserve(state, STATE_TIES, 4);
		ties[2] = (struct tie_slot){.word = participant, .to = 5, .grant = STATE_NONE};
		ties[3] = ties[2];
		ties[3].word |= 3 << TIE_INDEX_SHIFT | TIE_WORD_LEAVING;
		grants[3].word |= UINT64_C(9) << GRANT_AWAIT_SHIFT;
		grants[4].word |= UINT64_C(8) << GRANT_AWAIT_SHIFT;
		state_check_accepted();
		ties[3].word = participant;
		state_check_found(STATE_TIES, 3, participant);
		grants[3].word = third | UINT64_C(1) << GRANT_AWAIT_SHIFT;
		state_check_found(STATE_GRANTS, 3, third | UINT64_C(1) << GRANT_AWAIT_SHIFT);
		grants[4].word = fourth | UINT64_C(1) << GRANT_AWAIT_SHIFT;
		state_check_found(STATE_GRANTS, 4, fourth | UINT64_C(1) << GRANT_AWAIT_SHIFT);
		state_reserve(state, STATE_TIES, 3);
		ties[2] = (struct tie_slot){.word = participant, .to = 5, .grant = 1};
		state_check_found(STATE_TIES, 2, 1);
		state_reserve(state, STATE_TIES, 3);
		ties[2] = (struct tie_slot){.word = participant, .grant = STATE_NONE};
		state_check_found(STATE_TIES, 2, STATE_NONE);
	}
END_TEST

START_TEST(claims_and_what_they_are_of)
	{
		const uint64_t claim = (uint64_t)TIE_OWNER << 4 | TIE_MADE;
		const uint64_t not_held = (UINT64_C(1) << GRANT_HOLD_SHIFT) - 1;

		ties[0].word = TIE_MADE;
		state_check_found(STATE_TIES, 0, TIE_MADE);
		ties[0].word = (uint64_t)(TIE_PARTICIPANT + 1) << 4 | TIE_MADE;
		state_check_found(STATE_TIES, 0, (uint64_t)(TIE_PARTICIPANT + 1) << 4 | TIE_MADE);
		ties[0].grant = RIG_GRANTS;
		state_check_found(STATE_TIES, 0, RIG_GRANTS);
		ties[0].grant = 3;
		bindings[2].word = grants[3].word = 0; /* there was one */
		state_check_found(STATE_TIES, 0, 3);
		ties[0].to = UINT64_C(1) << 32;
		state_check_found(STATE_TIES, 0, UINT64_C(1) << 32);
		ties[0].word = 0; /* a number for no group */
		state_check_found(STATE_GRANTS, 0, grants[0].word);
		ties[1].word = claim; /* one of scope global */
		grants[1].word &= not_held;
		state_check_found(STATE_TIES, 1, 1);
		ties[1].word = claim;
		grants[1].word &= not_held;
		ties[1].grant = 0;
		ties[1].to = ties[0].to; /* the same once more */
		state_check_found(STATE_TIES, 1, ties[0].to);
	}
END_TEST

START_TEST(many_claims_in_any_order)
	{
		const uint32_t count = TIE_OWNERS_MAX + 2;

		ck_assert_int_eq(state_reserve(state, STATE_TIES, count), 0);
		for (uint32_t i = RIG_TIES; i < count; i++) {
			ties[i].grant = 0;
			ties[i].to = 1000 - i;
			ties[i].word = i + 1 < count ? (uint64_t)TIE_OWNER << 4 | TIE_MADE : 0;
		}
		state_check_accepted();
		ties[count - 1].word = (uint64_t)TIE_OWNER << 4 | TIE_MADE;
		state_check_found(STATE_TIES, count - 1, 0);
	}
END_TEST

START_TEST(a_number_in_both_scopes_or_twice_in_a_set)
	{
		const uint64_t number = (uint64_t)PASID_LAST << GRANT_HOST_SHIFT;
		const uint64_t not_held = (UINT64_C(1) << GRANT_HOLD_SHIFT) - 1;

		grants[1].word = (grants[1].word & ~number) | (grants[0].word & number);
		state_check_found(STATE_GRANTS, 0, 1024);
		grants[1].word =
			((grants[1].word & ~number) | (grants[0].word & number)) | GRANT_RIDS;
		ties[1] = (struct tie_slot){
			.word = (uint64_t)TIE_OWNER << 4 | TIE_MADE, .to = 2, .grant = 1};
		state_check_found(STATE_GRANTS, 1, 1024);
		grants[2].word =
			((grants[2].word & ~number) | (grants[0].word & number)) | GRANT_RIDS;
		grants[1].word &= not_held;
		ties[1] = (struct tie_slot){
			.word = (uint64_t)TIE_OWNER << 4 | TIE_MADE, .to = 2, .grant = 2};
		state_check_accepted(); /* two sets, two groups */
		ties[1].to = 1;
		state_check_found(STATE_TIES, 1, 1);
	}
END_TEST

START_TEST(numbers_of_a_set_in_any_order)
	{
		const uint64_t rids = GRANT_ACTIVE | GRANT_RIDS;
		const uint32_t numbers[] = {1030, 1029, 1040, 1035};

		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, RIG_GRANTS + 4), 0);
		ck_assert_int_eq(state_reserve(state, STATE_TIES, RIG_TIES + 4), 0);
		sets[0].quota = PASID_COUNT;
		for (uint32_t i = 0; i < ARRAY_SIZE(numbers); i++) {
			grants[RIG_GRANTS + i].set = 0;
			grants[RIG_GRANTS + i].word =
				(uint64_t)numbers[i] << GRANT_HOST_SHIFT | rids;
			ties[RIG_TIES + i] =
				(struct tie_slot){.word = (uint64_t)TIE_OWNER << 4 | TIE_MADE,
					.to = 1,
					.grant = RIG_GRANTS + i};
		}
		state_check_accepted();
		ties[RIG_TIES + 3].to = 2;
		grants[RIG_GRANTS + 3].word = (uint64_t)numbers[0] << GRANT_HOST_SHIFT | rids;
		state_check_found(STATE_GRANTS, RIG_GRANTS + 3, numbers[0]);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		holds_are_of_a_session_each_and_counted,
		participants_have_an_index_each_and_numbers_wait_for_them,
		claims_and_what_they_are_of,
		many_claims_in_any_order,
		a_number_in_both_scopes_or_twice_in_a_set,
		numbers_of_a_set_in_any_order,
	};

	return suite_run("state_check, ties", "ties", tests, ARRAY_SIZE(tests), state_check_setup,
		state_check_teardown);
}
