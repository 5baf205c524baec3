/* SPDX-License-Identifier: MIT */
/* F22: a freed number waits for participants. */
#include "broker_private.h"
#include "fixture.h"
#include "suite.h"

static struct fixture f;
static struct actor a, one, two;

static void setup(void)
{
	fixture_config(&f);
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 9000);
	one = (struct actor){ROLE_PARTICIPANT, 21, {0}, &f.peer};
	two = (struct actor){ROLE_PARTICIPANT, 22, {0}, &f.peer};
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

static void participate(const struct actor *actor)
{
	ck_assert_int_eq(broker_participate(f.broker, actor, &f.error), 0);
}

static uint32_t acknowledge(const struct actor *actor, struct hpasid host)
{
	uint32_t acknowledged = 99;

	ck_assert_int_eq(
		broker_acknowledge(f.broker, actor, &host, 1, 0, &acknowledged, &f.error), 0);
	return acknowledged;
}

static uint32_t why(struct hpasid host)
{
	struct grant_info info;

	ck_assert_int_eq(
		broker_host_find(f.broker, &f.admin, (struct set_id){0}, host, &info, &f.error), 0);
	ck_assert(!info.has_guest && info.guest.v == 0);
	return info.quarantine;
}

static void restart(void)
{
	fixture_settle(&f);
	fixture_restart(&f, fixture_all_stand, NULL);
	model_run(&f);
}

static void pass(void)
{
	fixture_pass_second(&f);
}

/* F22 */
START_TEST(a_freed_number_waits_for_all_who_participate)
	{
		struct hpasid x = fixture_allocate_guest(&f, &a, 7), y;

		participate(&one);
		participate(&two);
		participate(&two);
		ck_assert_uint_eq(acknowledge(&one, x), 0); /* it was not freed */
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(why(x), QUARANTINE_COOLING | QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(acknowledge(&one, x), 1);
		ck_assert_uint_eq(acknowledge(&one, x), 0);
		pass();
		ck_assert_uint_eq(why(x), QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(acknowledge(&two, x), 1);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		ck_assert_uint_eq(acknowledge(&two, x), 0);
		/* before it has cooled, too */
		y = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_free(&f, &a, y), 0);
		ck_assert_uint_eq(acknowledge(&one, y) + acknowledge(&two, y), 2);
		ck_assert_uint_eq(why(y), QUARANTINE_COOLING);
	}
END_TEST

START_TEST(only_participants_acknowledge_and_only_numbers)
	{
		struct hpasid none[] = {{5}, {0}}, x = fixture_allocate(&f, &a);
		uint32_t acknowledged;

		ck_refused(broker_participate(f.broker, &f.admin, &f.error), REASON_ROLE);
		ck_refused(broker_acknowledge(f.broker, &a, none, 1, 0, &acknowledged, &f.error),
			REASON_ROLE);
		participate(&one);
		ck_refused(broker_acknowledge(f.broker, &one, none, 2, 0, &acknowledged, &f.error),
			REASON_BAD_RANGE);
		none[1].v = PASID_LAST + 1;
		ck_refused(broker_acknowledge(f.broker, &one, none, 2, 0, &acknowledged, &f.error),
			REASON_BAD_RANGE);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(acknowledge(&two, x), 0); /* is not waited for */
		ck_assert_uint_eq(acknowledge(&one, (struct hpasid){99}), 0);
	}
END_TEST

START_TEST(the_end_of_a_session_is_an_acknowledgement)
	{
		struct hpasid x = fixture_allocate(&f, &a);

		participate(&one);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		broker_session_end(f.broker, one.session);
		broker_session_end(f.broker, one.session);
		ck_assert_uint_eq(broker_next_tick(f.broker), 0);
		pass();
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		ck_assert_uint_eq(f.broker->tie_pool.live, 0);
		/* what is freed later waits for nobody */
		x = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(why(x), QUARANTINE_COOLING);
	}
END_TEST

START_TEST(an_end_takes_as_many_ticks_as_there_are_numbers)
	{
		static struct hpasid numbers[2 * BROKER_ALLOCATE_MAX];
		struct allocate many = {.max = PASID_LAST, .count = BROKER_ALLOCATE_MAX};
		uint32_t freed;

		participate(&one);
		participate(&two);
		for (size_t i = 0; i < 2; i++)
			ck_assert_int_eq(broker_allocate(f.broker, &a, &many,
						 &numbers[i * BROKER_ALLOCATE_MAX], &f.error),
				0);
		ck_assert_int_eq(
			broker_free_all(f.broker, &a, (struct set_id){0}, &freed, &f.error), 0);
		broker_session_end(f.broker, one.session);
		broker_tick(f.broker);
		broker_session_end(f.broker, two.session); /* in the middle of it */
		ck_assert_uint_eq(broker_next_tick(f.broker), 0);
		fixture_recount(&f);
		for (unsigned i = 0; i < 8; i++)
			broker_tick(f.broker);
		ck_assert_uint_gt(broker_next_tick(f.broker), 0);
		ck_assert_uint_eq(f.broker->tie_pool.live, 0);
		ck_assert_uint_eq(why(numbers[0]), QUARANTINE_COOLING);
		ck_assert_uint_eq(why(numbers[2 * BROKER_ALLOCATE_MAX - 1]), QUARANTINE_COOLING);
	}
END_TEST

START_TEST(an_admin_ends_the_wait)
	{
		struct hpasid x = fixture_allocate(&f, &a), y = fixture_allocate(&f, &a);
		struct device_id shared = fixture_share(&f, 5), slice = fixture_slice(&f, &a, 5);

		(void)shared;
		participate(&one);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_int_eq(
			broker_quarantine_end(f.broker, &f.admin, (struct set_id){0}, x, &f.error),
			0);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		ck_assert_int_eq(fixture_bind(&f, &a, y, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, y), 0);
		ck_assert_int_eq(fixture_free(&f, &a, y), 0);
		pass();
		ck_assert_uint_eq(why(y), QUARANTINE_UNDRAINED | QUARANTINE_UNACKNOWLEDGED);
		ck_assert_int_eq(
			broker_quarantine_end(f.broker, &f.admin, (struct set_id){0}, y, &f.error),
			0);
		ck_assert_int_eq(fixture_state(&f, y), GRANT_IDLE);
	}
END_TEST

START_TEST(an_unacknowledged_number_does_not_come_back_to_its_set)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		struct allocate again = {.min = x.v, .max = x.v, .count = 1};
		struct device_id shared = fixture_share(&f, 5), slice = fixture_slice(&f, &a, 5);

		(void)shared;
		participate(&one);
		ck_assert_int_eq(fixture_bind(&f, &a, x, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, x), 0);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		pass();
		ck_assert_int_eq(
			broker_allocate(f.broker, &a, &again, &x, &f.error), STATUS_EXHAUSTED);
		ck_assert_uint_eq(acknowledge(&one, x), 1);
		ck_assert_int_eq(broker_allocate(f.broker, &a, &again, &x, &f.error), 0);
	}
END_TEST

/* F22 */
START_TEST(the_wait_survives_a_restart_and_the_set)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		uint64_t cursor = 0, session, found = 0;

		participate(&one);
		participate(&two);
		broker_session_end(f.broker, two.session); /* and is still to be swept */
		broker_session_end(f.broker, a.session);
		model_run(&f);
		restart();
		while (broker_session_next(f.broker, &cursor, &session))
			found += session == one.session;
		ck_assert_uint_eq(found, 1);
		pass();
		ck_assert_uint_eq(why(x), QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(f.broker->tie_pool.live, 1);
		ck_assert_uint_eq(acknowledge(&one, x), 1);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
	}
END_TEST

START_TEST(so_many_participate)
	{
		for (unsigned i = 0; i < BROKER_PARTICIPANTS; i++)
			participate(&(struct actor){ROLE_PARTICIPANT, 100 + i, {0}, NULL});
		ck_refused(broker_participate(f.broker, &one, &f.error), REASON_LIMIT);
		broker_session_end(f.broker, 103);
		ck_refused(broker_participate(f.broker, &one, &f.error), REASON_LIMIT);
		broker_tick(f.broker);
		participate(&one);
		broker_session_end(f.broker, one.session);
		broker_tick(f.broker);
		f.broker->tie_pool.capacity = f.broker->tie_pool.used;
		f.broker->tie_pool.free = STATE_NONE;
		ck_refused(broker_participate(f.broker, &one, &f.error), REASON_LIMIT);
	}
END_TEST

START_TEST(a_recount_finds_what_does_not_agree)
	{
		struct hpasid x = fixture_allocate(&f, &a);
		struct error error = {0};
		uint64_t *word;

		participate(&one);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		f.broker->awaited |= 2;
		ck_assert_int_eq(broker_recount(f.broker, &error), STATUS_INTERNAL);
		f.broker->awaited = 1;
		f.broker->leaving = 1;
		ck_assert_int_eq(broker_recount(f.broker, &error), STATUS_INTERNAL);
		f.broker->leaving = 0;
		word = &f.broker->grant_slots[grant_of_host(f.broker, x.v)].word;
		*word |= UINT64_C(8) << GRANT_AWAIT_SHIFT;
		ck_assert_int_eq(broker_recount(f.broker, &error), STATUS_INTERNAL);
		*word &= ~(UINT64_C(8) << GRANT_AWAIT_SHIFT);
		broker_session_end(f.broker, one.session);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_freed_number_waits_for_all_who_participate,
		only_participants_acknowledge_and_only_numbers,
		the_end_of_a_session_is_an_acknowledgement,
		an_end_takes_as_many_ticks_as_there_are_numbers,
		an_admin_ends_the_wait,
		an_unacknowledged_number_does_not_come_back_to_its_set,
		the_wait_survives_a_restart_and_the_set,
		so_many_participate,
		a_recount_finds_what_does_not_agree,
	};

	return suite_run(
		"broker, participants", "participants", tests, ARRAY_SIZE(tests), setup, teardown);
}
