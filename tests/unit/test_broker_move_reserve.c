/* SPDX-License-Identifier: MIT */
/* F42: what cannot be reserved for a set that comes from another host, and what is left then. */
#include "move_rig.h"
#include "suite.h"

static const struct set_id own = {0};

/* ------------------------------------------------------------------ what cannot be reserved */

static int ask_reserve(const struct move_reserve *reserve)
{
	struct fixture *t = &m.host[TARGET];

	return broker_move_reserve(t->broker, &t->admin, reserve, &m.reserved, m.conflicts,
		&m.conflict_count, &t->error);
}

static void nothing_is_reserved(void)
{
	struct fixture *t = &m.host[TARGET];
	struct set_info info;

	fixture_settle(t);
	fixture_pass_second(t);
	ck_assert(!move_has_set(TARGET, &info));
	ck_assert_uint_eq(limits_account(t->limits, LIMITS_NO_USER, RESOURCE_PASIDS)->current, 0);
	ck_assert_uint_eq(limits_account(t->limits, LIMITS_NO_USER, RESOURCE_PROMISED)->current, 0);
	move_check();
}

START_TEST(a_refusal_at_the_target_leaves_nothing)
	{
		struct fixture *t = &m.host[TARGET];

		/* what is promised, what a user has, what the map may take: whichever it is */
		for (unsigned i = 0; i < 3; i++) {
			static const enum resource limited[] = {
				RESOURCE_PROMISED, RESOURCE_PASIDS, RESOURCE_MAP_PAGES};
			static const uint32_t limit[] = {19, 5, 1};

			move_open(SET_TRANSLATED, false);
			limits_set_host(t->limits, limited[i], limit[i]);
			move_do(STEP_EXPORT);
			if (move_reserve(0, 4, false) == 0)
				fixture_settle(t);
			ck_assert_int_eq(move_reserve(0, MOVE_GRANTS, true), STATUS_QUOTA);
			nothing_is_reserved();
			move_call_off();
			move_check_stayed();
			move_close();
		}
	}
END_TEST

START_TEST(numbers_that_an_identity_set_cannot_have_are_all_told)
	{
		struct fixture *t = &m.host[TARGET];
		struct actor other;
		struct allocate allocate = {.count = 1};
		struct hpasid host;
		struct move_reserve reserve;

		move_open(SET_IDENTITY, false);
		other = fixture_vmm(t, 20, "other", SET_TRANSLATED, 20);
		for (unsigned i = 1; i < MOVE_GRANTS; i += 2) {
			allocate.min = allocate.max = m.numbers[i].v;
			ck_assert_int_eq(
				broker_allocate(t->broker, &other, &allocate, &host, &t->error), 0);
		}
		fixture_settle(t);
		move_do(STEP_EXPORT);
		reserve = move_request(0, MOVE_GRANTS, true);
		for (unsigned only_check = 0; only_check < 2; only_check++) {
			reserve.only_check = only_check;
			ck_assert_int_eq(ask_reserve(&reserve), 0);
			ck_assert_uint_eq(t->crash.stores, 0);
			ck_assert_uint_eq(m.conflict_count, 3);
			for (unsigned i = 0; i < 3; i++)
				ck_assert_uint_eq(m.conflicts[i].v, m.numbers[2 * i + 1].v);
			ck_assert_int_eq(move_state(TARGET), MOVE_NONE);
		}
		/* found late: what was reserved before it goes */
		reserve = move_request(0, 1, false);
		ck_assert_int_eq(ask_reserve(&reserve), 0);
		ck_assert_uint_eq(m.conflict_count, 0);
		fixture_settle(t);
		reserve = move_request(1, 1, false);
		reserve.only_check = true;
		ck_assert_int_eq(ask_reserve(&reserve), 0);
		ck_assert_uint_eq(m.conflict_count, 1);
		ck_assert_int_eq(move_state(TARGET), MOVE_COMING);
		reserve.only_check = false;
		ck_assert_int_eq(ask_reserve(&reserve), 0);
		ck_assert_uint_eq(m.conflict_count, 1);
		ck_assert_int_eq(move_state(TARGET), MOVE_NONE);
		fixture_settle(t);
		move_close();
	}
END_TEST

START_TEST(numbers_that_are_never_granted_are_conflicts)
	{
		const uint32_t never[] = {0, 1023, PASID_LAST + 1};
		struct move_reserve reserve;

		move_open(SET_IDENTITY, false);
		move_do(STEP_EXPORT);
		for (unsigned i = 0; i < ARRAY_SIZE(never); i++)
			m.grants[i].guest.v = never[i];
		reserve = move_request(0, 3, false);
		ck_assert_int_eq(ask_reserve(&reserve), 0);
		ck_assert_uint_eq(m.conflict_count, 3);
		nothing_is_reserved();
		move_close();
	}
END_TEST

START_TEST(what_is_sealed_is_not_dropped_for_a_number_that_cannot_be_had)
	{
		struct fixture *t = &m.host[TARGET];
		struct move_reserve reserve;

		move_open(SET_IDENTITY, false);
		move_until(STEP_TAKE); /* the source has given it: it is nowhere else */
		m.grants[1].guest.v = 1023;
		for (unsigned only_check = 0; only_check < 2; only_check++) {
			reserve = move_request(0, MOVE_GRANTS, true);
			reserve.only_check = only_check;
			ck_assert_int_eq(ask_reserve(&reserve), 0);
			ck_assert_uint_eq(t->crash.stores, 0);
			ck_assert_uint_eq(m.conflict_count, 0);
			ck_assert_int_eq(move_state(TARGET), MOVE_RESERVED);
		}
		m.grants[1].guest = (struct gpasid){m.numbers[1].v};
		move_do(STEP_TAKE);
		move_do(STEP_RELEASE);
		move_check_moved();
		move_close();
	}
END_TEST

START_TEST(a_reserve_that_makes_no_sense_is_refused)
	{
		struct fixture *s = &m.host[SOURCE], *t = &m.host[TARGET];
		struct move_reserve reserve;

		move_open(SET_TRANSLATED, false);
		move_do(STEP_EXPORT);
		reserve = move_request(0, 1, false);
		reserve.count = BROKER_MOVE_PAGE + 1;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_LIMIT);
		reserve = move_request(0, 1, false);
		reserve.token = (struct move_token){{0}};
		ck_refused(ask_reserve(&reserve), TARGET, REASON_BAD_ARGUMENT);
		reserve = move_request(0, 1, false);
		reserve.create.has_quota = false;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_BAD_ARGUMENT);
		reserve.create.has_quota = true;
		reserve.create.quota = 0;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_BAD_ARGUMENT);
		reserve.create.quota = MOVE_GRANTS - 1;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_BAD_ARGUMENT);
		reserve = move_request(0, 1, false);
		reserve.first = MOVE_GRANTS + 1;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_BAD_ARGUMENT);
		reserve.first = MOVE_GRANTS;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_BAD_ARGUMENT);
		reserve = move_request(0, 1, false);
		reserve.create.mode = SET_GUEST_OWNED;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_SET_MODE);
		reserve = move_request(0, 1, false);
		ck_refused(broker_move_reserve(s->broker, &s->admin, &reserve, &m.reserved,
				   m.conflicts, &m.conflict_count, &s->error),
			SOURCE, REASON_BAD_ARGUMENT);
		(void)fixture_vmm(t, 20, "vm", SET_TRANSLATED, 20);
		fixture_settle(t);
		ck_refused(ask_reserve(&reserve), TARGET, REASON_SET_EXISTS);
		move_close();
	}
END_TEST

/* Such a set has no numbers; it moves, too. */
START_TEST(a_set_whose_guest_owns_its_tables_moves_without_numbers)
	{
		struct fixture *s = &m.host[SOURCE];
		struct move_reserve reserve;

		move_open(SET_TRANSLATED, true);
		move_do(STEP_EXPORT);
		reserve = move_request(0, 0, true);
		reserve.token = (struct move_token){{0, 5}};
		reserve.create.mode = SET_GUEST_OWNED;
		reserve.total = 0;
		reserve.only_check = true;
		ck_assert_int_eq(ask_reserve(&reserve), 0);
		ck_assert_int_eq(m.reserved.state, MOVE_NONE);
		reserve.only_check = false;
		ck_assert_int_eq(ask_reserve(&reserve), 0);
		ck_assert_int_eq(m.reserved.state, MOVE_RESERVED);
		ck_assert_uint_eq(m.reserved.grants, 0);
		ck_assert_uint_eq(m.reserved.sum, 0);
		fixture_settle(&m.host[TARGET]);
		m.token = reserve.token;
		move_do(STEP_DROP);
		m.token = m.exported.token;
		move_do(STEP_KEEP);
		move_do(STEP_EXPORT);
		move_do(STEP_FIRST);
		move_do(STEP_SECOND);
		move_do(STEP_COMMIT);
		reserve = move_request(0, 1, false);
		ck_refused(broker_move_reserve(s->broker, &s->admin, &reserve, &m.reserved,
				   m.conflicts, &m.conflict_count, &s->error),
			SOURCE, REASON_BAD_ARGUMENT);
		move_finish();
		move_check_moved();
		move_close();
	}
END_TEST

START_TEST(a_move_is_of_one_set_all_the_time)
	{
		struct fixture *t = &m.host[TARGET];
		struct move_reserve reserve;
		struct set_info info;

		move_open(SET_TRANSLATED, false);
		move_until(STEP_SECOND);
		reserve = move_request(4, 1, false);
		reserve.proof++;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_MOVE_WORD);
		reserve = move_request(4, 1, false);
		reserve.create.name = "another";
		ck_refused(ask_reserve(&reserve), TARGET, REASON_MOVE_WORD);
		reserve = move_request(4, 1, false);
		reserve.create.mode = SET_IDENTITY;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_MOVE_WORD);
		move_do(STEP_SECOND);
		reserve = move_request(MOVE_GRANTS, 1, false);
		reserve.total++;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_MOVE_STEP);
		reserve = move_request(MOVE_GRANTS - 1, 0, true);
		reserve.total--;
		ck_refused(ask_reserve(&reserve), TARGET, REASON_MOVE_STEP);
		move_do(STEP_COMMIT);
		move_do(STEP_TAKE);
		/* it is a set like any other by now */
		ck_assert(move_has_set(TARGET, &info));
		broker_set_empty(t->broker, info.id);
		fixture_settle(t);
		model_run(t);
		fixture_settle(t);
		ck_assert_int_eq(move_state(TARGET), MOVE_TAKEN);
		ck_assert_int_eq(
			broker_set_destroy(t->broker, &t->admin, info.id, true, 0, &t->error), 0);
		fixture_settle(t);
		reserve = move_request(0, 1, false);
		if (move_state(TARGET) != MOVE_NONE)
			ck_refused(ask_reserve(&reserve), TARGET, REASON_SET_DYING);
		move_do(STEP_RELEASE);
		move_close();
	}
END_TEST

START_TEST(a_translated_set_keeps_below_what_its_devices_take)
	{
		struct fixture *t = &m.host[TARGET];
		struct move_reserve reserve;
		struct grant_info info;
		uint64_t cursor = 0;

		move_open(SET_TRANSLATED, false);
		move_do(STEP_EXPORT);
		reserve = move_request(0, MOVE_GRANTS, true);
		reserve.max = 1023 + MOVE_GRANTS;
		ck_assert_int_eq(ask_reserve(&reserve), 0);
		fixture_settle(t);
		while (broker_grant_next(t->broker, &t->admin, own, true, &cursor, &info))
			ck_assert_uint_le(info.host.v, reserve.max);
		move_do(STEP_KEEP);
		move_do(STEP_DROP);
		reserve.max--;
		fixture_pass_second(t);
		move_do(STEP_EXPORT);
		reserve.token = m.token;
		ck_assert_int_eq(ask_reserve(&reserve), STATUS_EXHAUSTED);
		nothing_is_reserved();
		move_close();
	}
END_TEST

static int no_reserve(void *ctx, enum state_table table, uint32_t count)
{
	(void)ctx;
	(void)count;
	return table == STATE_GRANTS ? -1 : 0;
}

/* There may be room again in a moment: what was reserved stays. */
START_TEST(a_lack_of_room_does_not_end_a_reservation)
	{
		struct fixture *t = &m.host[TARGET];
		struct state_ops narrow;

		move_open(SET_TRANSLATED, false);
		move_until(STEP_SECOND);
		narrow = *t->state.ops;
		narrow.reserve = no_reserve;
		const struct state_ops *wide = t->state.ops;
		t->state.ops = &narrow;
		ck_assert_int_eq(move_send(STEP_SECOND), STATUS_RETRY);
		t->state.ops = wide;
		fixture_settle(t);
		ck_assert_int_eq(move_state(TARGET), MOVE_COMING);
		move_finish();
		move_check_moved();
		move_close();
	}
END_TEST

START_TEST(nothing_is_reserved_while_records_are_missing)
	{
		struct fixture *t = &m.host[TARGET];

		move_open(SET_TRANSLATED, false);
		broker_block(t->broker);
		fixture_settle(t);
		move_do(STEP_EXPORT);
		ck_refused(move_reserve(0, 4, false), TARGET, REASON_UNCONFIRMED);
		move_close();
	}
END_TEST

START_TEST(what_comes_cannot_be_sent_on_and_what_goes_cannot_leave)
	{
		struct fixture *s = &m.host[SOURCE], *t = &m.host[TARGET];
		const struct move_token token = {{9, 9}};
		struct move_info moving;
		struct set_info info;

		move_open(SET_TRANSLATED, true);
		move_until(STEP_SECOND);
		ck_assert(move_has_set(TARGET, &info));
		ck_refused(broker_move_export(
				   t->broker, &t->admin, info.id, &token, &moving, &t->error),
			TARGET, REASON_SET_MOVING);
		move_do(STEP_SECOND);
		ck_refused(broker_move_export(
				   t->broker, &t->admin, info.id, &token, &moving, &t->error),
			TARGET, REASON_SET_MOVING);
		move_call_off();
		ck_refused(
			broker_move_export(s->broker, &s->admin, own, &token, &moving, &s->error),
			SOURCE, REASON_NO_SET);
		/* it has a worker to wait for */
		(void)fixture_add(s, &(struct actor){ROLE_VMM, 11, m.set, &s->peer}, 3, 50);
		broker_set_empty(s->broker, m.set);
		fixture_settle(s);
		ck_refused(
			broker_move_export(s->broker, &s->admin, m.set, &token, &moving, &s->error),
			SOURCE, REASON_SET_EMPTYING);
		move_close();
	}
END_TEST

/* What is for some devices at the source is for the whole host here, whatever comes later. */
START_TEST(numbers_of_a_set_without_global_ones_are_reserved)
	{
		struct fixture *t = &m.host[TARGET];
		struct move_reserve reserve;
		struct set_info info;
		struct allocate more = {.max = PASID_LAST, .count = 1};
		struct hpasid ignored;

		move_open(SET_TRANSLATED, false);
		move_do(STEP_EXPORT);
		reserve = move_request(0, MOVE_GRANTS, true);
		reserve.scopes = 4;
		ck_assert_int_eq(broker_move_reserve(t->broker, &t->admin, &reserve, &m.reserved,
					 m.conflicts, &m.conflict_count, &t->error),
			STATUS_INVALID);
		ck_assert(!move_has_set(TARGET, &info));
		reserve.scopes = SCOPE_RIDS;
		ck_assert_int_eq(broker_move_reserve(t->broker, &t->admin, &reserve, &m.reserved,
					 m.conflicts, &m.conflict_count, &t->error),
			0);
		move_do(STEP_COMMIT);
		move_do(STEP_TAKE);
		ck_assert(move_has_set(TARGET, &info));
		ck_assert_uint_eq(info.scopes, SCOPE_RIDS);
		ck_assert_uint_eq(info.active, MOVE_GRANTS);
		more.set = info.id;
		ck_assert_int_eq(broker_allocate(t->broker, &t->admin, &more, &ignored, &t->error),
			STATUS_DENIED);
		move_do(STEP_RELEASE);
		move_check();
		move_close();
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		numbers_of_a_set_without_global_ones_are_reserved,
		a_refusal_at_the_target_leaves_nothing,
		numbers_that_an_identity_set_cannot_have_are_all_told,
		numbers_that_are_never_granted_are_conflicts,
		what_is_sealed_is_not_dropped_for_a_number_that_cannot_be_had,
		a_reserve_that_makes_no_sense_is_refused,
		a_move_is_of_one_set_all_the_time,
		a_set_whose_guest_owns_its_tables_moves_without_numbers,
		a_translated_set_keeps_below_what_its_devices_take,
		a_lack_of_room_does_not_end_a_reservation,
		nothing_is_reserved_while_records_are_missing,
		what_comes_cannot_be_sent_on_and_what_goes_cannot_leave,
	};

	return suite_run(
		"broker, what is reserved", "reserve", tests, ARRAY_SIZE(tests), NULL, NULL);
}
