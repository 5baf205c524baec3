/* SPDX-License-Identifier: MIT */
/* H, F18: who holds a number, how often, and what its end is. */
#include "broker_private.h"
#include "fixture.h"
#include "suite.h"

static struct fixture f;
static struct actor a, c, participant;
static const struct set_id own = {0};

static void setup(void)
{
	fixture_config(&f);
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 5000);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
	participant = (struct actor){ROLE_PARTICIPANT, 12, {0}, &f.peer};
}

static void teardown(void)
{
	fixture_leave(&f);
}

#define ck_refused(call, wanted)                                                                   \
	do {                                                                                       \
		ck_assert_int_ne((call), 0);                                                       \
		ck_assert_str_eq(reason_text((enum reason)f.error.reason), reason_text(wanted));   \
	} while (0)

static int hold(const struct actor *actor, struct set_id set, struct hpasid host)
{
	return broker_hold(f.broker, actor, set, host, &f.error);
}

static int release(const struct actor *actor, struct set_id set, struct hpasid host)
{
	return broker_release(f.broker, actor, set, host, &f.error);
}

static struct grant_info info_of(struct hpasid host)
{
	struct grant_info info;

	ck_assert_int_eq(
		broker_host_find(f.broker, &f.admin, (struct set_id){0}, host, &info, &f.error), 0);
	return info;
}

static uint32_t held(enum resource resource)
{
	return limits_account(f.limits, LIMITS_NO_USER, resource)->current;
}

static void restart(void)
{
	fixture_settle(&f);
	fixture_restart(&f, fixture_all_stand, NULL);
	model_run(&f);
}

/* ------------------------------------------------------------------ who, and how often */

/* F18 */
START_TEST(each_session_releases_what_it_holds_itself)
	{
		struct hpasid x = fixture_allocate(&f, &a);

		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&a, own, x), 0);
		ck_assert_int_eq(hold(&f.admin, a.set, x), 0);
		ck_assert_uint_eq(info_of(x).holds, 3);
		ck_assert_int_eq(release(&a, own, x), 0);
		ck_refused(release(&a, own, x), REASON_NOT_HELD);
		ck_assert_int_eq(release(&participant, a.set, x), 0);
		ck_refused(release(&participant, a.set, x), REASON_NOT_HELD);
		ck_assert_uint_eq(info_of(x).holds, 1);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_FREE_PENDING);
		ck_assert_int_eq(release(&f.admin, a.set, x), 0);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_QUARANTINED);
		ck_assert_uint_eq(held(RESOURCE_HOLDS), 0);
	}
END_TEST

START_TEST(nobody_holds_what_it_may_not)
	{
		struct hpasid x = fixture_allocate(&f, &a), y = fixture_allocate(&f, &a);

		ck_refused(hold(&f.observer, a.set, x), REASON_ROLE);
		ck_refused(release(&f.observer, a.set, x), REASON_ROLE);
		ck_refused(hold(&c, own, x), REASON_NO_PASID);
		ck_refused(hold(&c, a.set, x), REASON_NO_SET);
		ck_refused(release(&c, a.set, x), REASON_NO_SET);
		ck_refused(hold(&participant, own, x), REASON_NO_SET);
		ck_refused(hold(&participant, c.set, x), REASON_NO_PASID);
		ck_refused(hold(&participant, a.set, (struct hpasid){0}), REASON_PASID_ZERO);
		ck_refused(release(&participant, a.set, (struct hpasid){0}), REASON_PASID_ZERO);
		ck_assert_int_eq(fixture_free(&f, &a, y), 0);
		ck_refused(hold(&participant, a.set, y), REASON_NOT_ACTIVE);
		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_refused(hold(&participant, a.set, x), REASON_NOT_ACTIVE); /* being freed */
		broker_session_end(f.broker, participant.session);
		f.model.hung_lane = a.set.v;
		(void)fixture_add(&f, &c, 3, 9);
		broker_set_empty(f.broker, a.set);
		ck_assert_uint_eq(held(RESOURCE_HOLDS), 0);
	}
END_TEST

START_TEST(a_set_that_ends_is_held_no_more)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		struct device_id device = fixture_add(&f, &a, 1, 10);

		(void)device;
		f.model.hung_lane = a.set.v;
		broker_set_empty(f.broker, a.set);
		broker_flush(f.broker);
		ck_refused(hold(&participant, a.set, x), REASON_SET_EMPTYING);
	}
END_TEST

START_TEST(holds_are_counted_to_a_limit)
	{
		struct hpasid x = fixture_allocate(&f, &a);

		for (unsigned i = 0; i < GRANT_HOLDS_MAX; i++)
			ck_assert_int_eq(hold(&a, own, x), 0);
		ck_refused(hold(&participant, a.set, x), REASON_LIMIT);
		ck_assert_uint_eq(info_of(x).holds, GRANT_HOLDS_MAX);
		ck_assert_uint_eq(held(RESOURCE_HOLDS), 1); /* one record */
		broker_session_end(f.broker, 99);           /* which holds nothing */
		ck_assert_uint_eq(info_of(x).holds, GRANT_HOLDS_MAX);
		for (unsigned i = 0; i < GRANT_HOLDS_MAX; i++)
			ck_assert_int_eq(release(&a, own, x), 0);
		ck_assert_uint_eq(info_of(x).holds, 0);
	}
END_TEST

START_TEST(so_many_sessions_hold_a_number)
	{
		struct hpasid x = fixture_allocate(&f, &a);

		for (unsigned i = 0; i < BROKER_HOLDERS_MAX; i++) {
			struct actor other = {ROLE_PARTICIPANT, 1000 + i, {0}, NULL};

			ck_assert_int_eq(hold(&other, a.set, x), 0);
		}
		ck_refused(hold(&participant, a.set, x), REASON_LIMIT);
		/* in another order than they came */
		for (unsigned i = 0; i < BROKER_HOLDERS_MAX; i++)
			broker_session_end(f.broker, 1000 + (i * 7) % BROKER_HOLDERS_MAX);
		ck_assert_uint_eq(info_of(x).holds, 0);
		ck_assert_int_eq(hold(&participant, a.set, x), 0);
	}
END_TEST

START_TEST(a_session_holds_so_many_numbers_and_lets_go_of_all_at_once)
	{
		struct hpasid last = {0};

		for (unsigned i = 0; i < BROKER_HOLDS_MAX; i++) {
			last = fixture_allocate(&f, &a);
			ck_assert_int_eq(hold(&participant, a.set, last), 0);
		}
		ck_refused(hold(&participant, a.set, fixture_allocate(&f, &a)), REASON_LIMIT);
		ck_assert_int_eq(hold(&participant, a.set, last), 0); /* no new record */
		ck_assert_uint_eq(held(RESOURCE_HOLDS), BROKER_HOLDS_MAX);
		broker_session_end(f.broker, participant.session);
		ck_assert_uint_eq(held(RESOURCE_HOLDS), 0);
		ck_assert_uint_eq(info_of(last).holds, 0);
	}
END_TEST

START_TEST(a_users_holds_are_limited)
	{
		struct actor b;
		struct hpasid x, y;

		fixture_leave(&f);
		fixture_config(&f);
		f.limits_config.of[RESOURCE_HOLDS].user = 1;
		fixture_open(&f);
		b = fixture_vmm(&f, 10, "b", SET_TRANSLATED, 10);
		x = fixture_allocate(&f, &b);
		y = fixture_allocate(&f, &b);
		ck_assert_int_eq(hold(&b, own, x), 0);
		ck_refused(hold(&b, own, y), REASON_LIMIT);
		ck_refused(hold(&participant, b.set, y), REASON_LIMIT); /* the same user */
		ck_assert_int_eq(release(&b, own, x), 0);
		ck_assert_int_eq(hold(&participant, b.set, y), 0);
	}
END_TEST

START_TEST(there_is_room_for_so_many_holds_and_holders)
	{
		struct actor b, other = {ROLE_PARTICIPANT, 13, {0}, NULL};
		struct hpasid x, y;

		fixture_leave(&f);
		fixture_config(&f);
		fixture_open(&f);
		b = fixture_vmm(&f, 10, "b", SET_TRANSLATED, 10);
		x = fixture_allocate(&f, &b);
		y = fixture_allocate(&f, &b);
		f.broker->tie_pool.capacity = 1;
		f.broker->holder_capacity = 1;
		ck_assert_int_eq(hold(&participant, b.set, x), 0);
		ck_refused(hold(&participant, b.set, y), REASON_LIMIT);
		ck_refused(hold(&other, b.set, x), REASON_LIMIT);
		ck_assert_int_eq(release(&participant, b.set, x), 0);
		ck_assert_int_eq(hold(&other, b.set, x), 0);
	}
END_TEST

START_TEST(a_hold_needs_a_place_for_its_user)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		struct actor other = {ROLE_PARTICIPANT, 13, {0}, &(struct policy_peer){.uid = 77}};
		static uint32_t users[LIMITS_USERS_MAX];
		uint32_t count = 0;

		while (limits_user_open(f.limits, 100000 + count, &users[count], &f.error) == 0)
			count++;
		ck_refused(hold(&other, a.set, x), REASON_LIMIT);
		while (count)
			limits_user_close(f.limits, users[--count]);
		ck_assert_int_eq(hold(&other, a.set, x), 0);
	}
END_TEST

START_TEST(sessions_may_meet_in_a_bucket)
	{
		struct hpasid x = fixture_allocate(&f, &a), y = fixture_allocate(&f, &a);
		struct actor other = participant;
		uint64_t cursor = BROKER_PARTICIPANTS, session = 0;

		other.session += BROKER_BUCKETS;
		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&other, a.set, x), 0);
		ck_assert_int_eq(hold(&participant, a.set, y), 0);
		/* neither is what came last */
		ck_assert_int_eq(release(&participant, a.set, x), 0);
		fixture_recount(&f);
		ck_assert_int_eq(release(&participant, a.set, y), 0);
		fixture_recount(&f);
		ck_assert(hold_next_session(f.broker, &cursor, &session));
		ck_assert_uint_eq(session, other.session);
		ck_assert(!hold_next_session(f.broker, &cursor, &session));
		ck_assert_int_eq(release(&other, a.set, x), 0);
		ck_assert_uint_eq(held(RESOURCE_HOLDS), 0);
	}
END_TEST

/* ------------------------------------------------------------------ ends */

START_TEST(the_end_of_the_last_holders_session_reclaims)
	{
		struct hpasid x = fixture_allocate(&f, &a), y = fixture_allocate(&f, &a);

		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&participant, a.set, y), 0);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		broker_session_end(f.broker, participant.session);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_QUARANTINED);
		ck_assert_int_eq(fixture_state(&f, y), GRANT_ACTIVE);
		ck_assert_uint_eq(info_of(y).holds, 0);
	}
END_TEST

START_TEST(what_another_session_holds_outlives_the_set_in_quarantine)
	{
		struct hpasid x = fixture_allocate(&f, &a), y = fixture_allocate(&f, &a);

		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&a, own, x), 0);
		ck_assert_int_eq(hold(&a, own, y), 0);
		ck_assert_int_eq(fixture_free(&f, &a, y), 0);
		broker_session_end(f.broker, a.session);
		model_run(&f);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_QUARANTINED);
		ck_assert_uint_eq(info_of(x).holds, 1);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, y), GRANT_IDLE);
		ck_assert_uint_eq(info_of(x).quarantine, QUARANTINE_HELD);
		ck_refused(
			broker_quarantine_end(f.broker, &f.admin, (struct set_id){0}, x, &f.error),
			REASON_HELD);
		restart();
		fixture_pass_second(&f);
		ck_assert_uint_eq(info_of(x).quarantine, QUARANTINE_HELD);
		ck_assert_int_eq(release(&participant, a.set, x), 0);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
	}
END_TEST

START_TEST(a_held_number_does_not_come_back_to_an_emptied_set)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		struct allocate again = {.min = x.v, .max = x.v, .count = 1};
		struct device_id shared = fixture_share(&f, 5), slice = fixture_slice(&f, &a, 5);
		uint32_t released;

		ck_assert_int_eq(fixture_bind(&f, &a, x, &slice, 1), 0);
		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		broker_set_empty(f.broker, a.set);
		model_run(&f);
		fixture_pass_second(&f);
		ck_assert_uint_eq(info_of(x).quarantine, QUARANTINE_UNDRAINED | QUARANTINE_HELD);
		ck_assert_int_eq(
			broker_allocate(f.broker, &a, &again, &x, &f.error), STATUS_EXHAUSTED);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		ck_assert_uint_eq(info_of(x).quarantine, QUARANTINE_HELD);
		broker_session_end(f.broker, participant.session);
		ck_assert_int_eq(broker_allocate(f.broker, &a, &again, &x, &f.error), 0);
	}
END_TEST

/* ------------------------------------------------------------------ restarts */

/* F18 */
START_TEST(holds_survive_a_restart_with_their_sessions)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		uint64_t cursor = 0, session;
		unsigned found = 0;

		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&f.admin, a.set, x), 0);
		ck_assert_int_eq(release(&f.admin, a.set, x), 0);
		restart();
		ck_assert_uint_eq(info_of(x).holds, 2);
		ck_assert_uint_eq(held(RESOURCE_HOLDS), 1);
		while (broker_session_next(f.broker, &cursor, &session))
			found += session == participant.session;
		ck_assert_uint_eq(found, 1);
		ck_assert_int_eq(release(&participant, a.set, x), 0);
		ck_assert_int_eq(release(&participant, a.set, x), 0);
		ck_refused(release(&participant, a.set, x), REASON_NOT_HELD);
	}
END_TEST

START_TEST(a_restart_with_room_for_fewer_holders_is_refused)
	{
		struct hpasid x = fixture_allocate(&f, &a);

		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&f.admin, a.set, x), 0);
		fixture_settle(&f);
		f.state.capacity[STATE_SESSIONS] = 1;
		ck_assert_int_ne(fixture_recover(&f, fixture_all_stand, NULL), 0);
		ck_assert_int_eq(f.error.reason, REASON_LIMIT);
		f.state.capacity[STATE_SESSIONS] = 16;
		ck_assert_int_eq(fixture_recover(&f, fixture_all_stand, NULL), 0);
	}
END_TEST

/* ------------------------------------------------------------------ lists, events, recounts */

START_TEST(a_session_sees_its_holds_and_an_admin_all)
	{
		struct hpasid x = fixture_allocate(&f, &a), y = fixture_allocate(&f, &c);
		struct hold_info info;
		uint64_t cursor = 0;
		unsigned count = 0;

		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&participant, c.set, y), 0);
		ck_assert_int_eq(hold(&c, own, y), 0);
		ck_assert(broker_hold_next(f.broker, &participant, a.set, &cursor, &info));
		ck_assert(info.times == 2 && info.host.v == x.v && info.set.v == a.set.v &&
			  info.session == participant.session && info.uid == f.peer.uid &&
			  info.state == GRANT_ACTIVE);
		ck_assert_str_eq(info.set_name, "a");
		ck_assert(!broker_hold_next(f.broker, &participant, a.set, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_END);
		cursor = 0;
		ck_assert(broker_hold_next(f.broker, &c, own, &cursor, &info));
		ck_assert_uint_eq(info.session, c.session);
		ck_assert(!broker_hold_next(f.broker, &c, own, &cursor, &info));
		for (cursor = 0; broker_hold_next(f.broker, &f.observer, own, &cursor, &info);)
			count++;
		ck_assert_uint_eq(count, 3);
		cursor = 0;
		ck_assert(!broker_hold_next(f.broker, &c, a.set, &cursor, &info));
		cursor = 0;
		ck_assert(!broker_hold_next(f.broker, &a, own, &cursor, &info)); /* has none */
		ck_assert_uint_eq(cursor, BROKER_END);
	}
END_TEST

START_TEST(a_list_of_very_many_is_given_in_parts)
	{
		static struct hpasid numbers[BROKER_ALLOCATE_MAX];
		struct allocate many = {.max = PASID_LAST, .count = BROKER_ALLOCATE_MAX};
		struct hpasid mine = fixture_allocate(&f, &c);
		struct hold_info info;
		uint64_t cursor = 0;

		ck_assert_int_eq(broker_allocate(f.broker, &a, &many, numbers, &f.error), 0);
		for (uint32_t i = 0; i < BROKER_HOLDS_MAX; i++)
			ck_assert_int_eq(hold(&participant, a.set, numbers[i]), 0);
		ck_assert_int_eq(hold(&c, own, mine), 0);
		ck_assert_int_eq(release(&participant, a.set, numbers[5]), 0);
		ck_assert(!broker_hold_next(f.broker, &c, own, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_WORK_MAX);
		ck_assert(broker_hold_next(f.broker, &c, own, &cursor, &info));
		ck_assert_uint_eq(info.host.v, mine.v);
		cursor = 0;
		ck_assert(broker_hold_next(f.broker, &f.admin, c.set, &(uint64_t){4096}, &info));
		ck_assert(!broker_hold_next(f.broker, &f.admin, c.set, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_WORK_MAX);
	}
END_TEST

START_TEST(each_hold_and_its_end_is_told_once)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		uint64_t from = broker_change_sequence(f.broker);
		struct change change;

		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		broker_session_end(f.broker, participant.session);
		for (unsigned i = 0; i < 3; i++) {
			ck_assert(broker_change_get(f.broker, from + i, &change));
			ck_assert_uint_eq(
				change.kind, i < 2 ? CHANGE_GRANT_HELD : CHANGE_GRANT_LET_GO);
			ck_assert_uint_eq(change.host, x.v);
			ck_assert_uint_eq(change.set, a.set.v);
		}
		ck_assert(!broker_change_get(f.broker, from + 3, &change));
	}
END_TEST

static void ck_contradicts(const char *what)
{
	struct error error = {0};

	ck_assert_int_eq(broker_recount(f.broker, &error), STATUS_INTERNAL);
	ck_assert_ptr_nonnull(strstr(error.text, what));
}

START_TEST(a_recount_finds_what_does_not_agree)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		struct broker *b = f.broker;
		uint32_t grant = grant_of_host(b, x.v), tie;
		uint64_t word;

		ck_assert_int_eq(hold(&participant, a.set, x), 0);
		tie = b->first_tie[grant] - 1;
		word = b->tie_slots[tie].word;
		b->tie_slots[tie].word += UINT64_C(1) << TIE_TIMES_SHIFT;
		ck_contradicts("holds of a number");
		b->tie_slots[tie].word = (word & ~UINT64_C(0xf0)) | TIE_OWNER << 4;
		b->grant_slots[grant].word -= UINT64_C(1) << GRANT_HOLD_SHIFT;
		ck_contradicts("U: a claim of a number that is free");
		b->grant_slots[grant].word += UINT64_C(1) << GRANT_HOLD_SHIFT;
		b->tie_slots[tie].word = word;
		b->tie_slots[tie].to++;
		ck_contradicts("holds of a session");
		b->tie_slots[tie].to--;
		b->holders[0].count++;
		ck_contradicts("holds of a session");
		b->holders[0].count--;
		b->tie_slots[tie].grant++;
		ck_contradicts("a hold and its number disagree");
		b->tie_slots[tie].grant--;
		b->tie_slots[tie].word = 0;
		ck_contradicts("a hold and its number disagree");
		b->tie_slots[tie].word = word;
		b->holders[0].session = 0;
		ck_contradicts("holds that no session has");
		b->holders[0].session = participant.session;
		/* what is in a session's list and is no hold */
		ck_assert_int_eq(broker_participate(b, &participant, &f.error), 0);
		b->tie_slots[tie].peer = b->participants[0].tie;
		b->tie_slots[b->participants[0].tie].peer = STATE_NONE;
		b->holders[0].count++;
		ck_contradicts("holds of a session");
		b->holders[0].count--;
		b->tie_slots[tie].peer = STATE_NONE;
		/* one that has none, and its place still */
		b->holders[b->holder_used++] = (struct holder){.session = 99, .first = STATE_NONE};
		ck_contradicts("holds of a session");
		b->holder_used--;
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		each_session_releases_what_it_holds_itself,
		nobody_holds_what_it_may_not,
		a_set_that_ends_is_held_no_more,
		holds_are_counted_to_a_limit,
		so_many_sessions_hold_a_number,
		a_session_holds_so_many_numbers_and_lets_go_of_all_at_once,
		a_users_holds_are_limited,
		there_is_room_for_so_many_holds_and_holders,
		a_hold_needs_a_place_for_its_user,
		sessions_may_meet_in_a_bucket,
		the_end_of_the_last_holders_session_reclaims,
		what_another_session_holds_outlives_the_set_in_quarantine,
		a_held_number_does_not_come_back_to_an_emptied_set,
		holds_survive_a_restart_with_their_sessions,
		a_restart_with_room_for_fewer_holders_is_refused,
		a_session_sees_its_holds_and_an_admin_all,
		a_list_of_very_many_is_given_in_parts,
		each_hold_and_its_end_is_told_once,
		a_recount_finds_what_does_not_agree,
	};

	return suite_run("broker, holds", "holds", tests, ARRAY_SIZE(tests), setup, teardown);
}
