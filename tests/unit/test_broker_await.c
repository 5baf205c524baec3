/* SPDX-License-Identifier: MIT */
/* F22: an unbind waits for participants, for a time. */
#include "broker_private.h"
#include "fixture.h"
#include "suite.h"

#define WAIT_MS 500u
#define ONE_RID 3u

static struct fixture f;
static struct actor a, one, two;
static struct device_id device;
static struct hpasid x;

static const struct set_id own = {0};

static void participate(const struct actor *actor)
{
	ck_assert_int_eq(broker_participate(f.broker, actor, &f.error), 0);
}

static void open_all(void)
{
	fixture_config(&f);
	f.config.unbind_wait_ms = WAIT_MS;
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 40);
	one = (struct actor){ROLE_PARTICIPANT, 21, {0}, &f.peer};
	two = (struct actor){ROLE_PARTICIPANT, 22, {0}, &f.peer};
	device = fixture_add(&f, &a, ONE_RID, 50);
	x = fixture_allocate_guest(&f, &a, 7);
	ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
	participate(&one);
	participate(&two);
	fixture_settle(&f);
}

static void teardown(void)
{
	f.now_ms += WAIT_MS;
	broker_tick(f.broker);
	fixture_leave(&f);
}

static uint32_t acknowledge_seen(const struct actor *actor, struct hpasid host, uint64_t seen)
{
	uint32_t acknowledged = 99;

	ck_assert_int_eq(
		broker_acknowledge(f.broker, actor, &host, 1, seen, &acknowledged, &f.error), 0);
	return acknowledged;
}

static uint32_t acknowledge(const struct actor *actor, struct hpasid host)
{
	return acknowledge_seen(actor, host, 0);
}

static void unbind(struct hpasid host, uint64_t cookie)
{
	ck_assert_int_eq(broker_unbind(f.broker, &a, own, (struct pasid_ref){.number = host.v},
				 NULL, 0, cookie, &f.error),
		0);
	model_run(&f);
}

static bool bound(struct hpasid host)
{
	return model_has(&f, ONE_RID, host.v);
}

/* The status of the operation that has ended; there is one. */
static int ended(uint64_t cookie)
{
	struct outcome outcome;

	model_run(&f);
	ck_assert(broker_next_outcome(f.broker, &outcome));
	ck_assert_uint_eq(outcome.cookie, cookie);
	f.error = outcome.error;
	return outcome.status;
}

static void nothing_ended(void)
{
	struct outcome outcome;

	model_run(&f);
	ck_assert(!broker_next_outcome(f.broker, &outcome));
}

static unsigned told(enum change_kind kind, struct change *ret_last)
{
	struct change change;
	uint64_t from = 0;
	unsigned n = 0;

	for (; broker_change_get(f.broker, from, &change); from = change.sequence + 1) {
		if (change.kind != kind)
			continue;
		*ret_last = change;
		n++;
	}
	return n;
}

static enum binding_state listed(void)
{
	struct binding_info info;
	uint64_t cursor = 0;

	ck_assert(broker_binding_next(f.broker, &f.admin, own, &cursor, &info));
	return info.state;
}

static uint32_t why(struct hpasid host)
{
	struct grant_info info;

	ck_assert_int_eq(broker_host_find(f.broker, &f.admin, own, host, &info, &f.error), 0);
	return info.quarantine;
}

static struct participant_info about(const struct actor *actor)
{
	struct participant_info info;
	uint32_t cursor = 0;

	while (broker_participant_next(f.broker, &cursor, &info)) {
		if (info.session == actor->session)
			return info;
	}
	ck_abort_msg("it does not participate");
}

static unsigned participants(void)
{
	struct participant_info info;
	uint32_t cursor = 0;
	unsigned n = 0;

	while (broker_participant_next(f.broker, &cursor, &info))
		n++;
	return n;
}

static void pass(uint32_t ms)
{
	f.now_ms += ms;
	broker_tick(f.broker);
	model_run(&f);
}

/* F22 */
START_TEST(an_unbind_waits_for_all_who_participate)
	{
		struct change change;

		ck_assert_int_eq(listed(), BINDING_BOUND);
		unbind(x, 5);
		nothing_ended();
		ck_assert(bound(x));
		ck_assert_int_eq(listed(), BINDING_UNBINDING);
		ck_assert_uint_eq(told(CHANGE_BINDING_UNBINDING, &change), 1);
		ck_assert_uint_eq(change.host, x.v);
		fixture_recount(&f);
		ck_assert_uint_eq(acknowledge(&one, x), 1);
		ck_assert_uint_eq(acknowledge(&one, x), 0);
		nothing_ended();
		ck_assert_uint_eq(acknowledge(&two, x), 1);
		ck_assert_int_eq(ended(5), 0);
		ck_assert(!bound(x));
		/* once, though the detach began later */
		ck_assert_uint_eq(told(CHANGE_BINDING_UNBINDING, &change), 1);
		ck_assert_uint_eq(told(CHANGE_BINDING_UNBOUND, &change), 1);
		ck_assert_uint_eq(acknowledge(&two, x), 0);
	}
END_TEST

START_TEST(who_has_had_its_time_is_late_until_it_acknowledges)
	{
		struct change change = {0};

		unbind(x, 5);
		ck_assert_uint_eq(broker_next_tick(f.broker), f.now_ms + WAIT_MS);
		ck_assert_uint_eq(acknowledge(&two, x), 1);
		pass(WAIT_MS - 1);
		ck_assert(bound(x));
		ck_assert(!about(&one).late);
		pass(1);
		ck_assert_int_eq(ended(5), 0);
		ck_assert_uint_eq(told(CHANGE_UNBIND_UNACKNOWLEDGED, &change), 1);
		ck_assert_uint_eq(change.session, one.session);
		ck_assert_uint_eq(change.host, x.v);
		ck_assert(about(&one).late && !about(&two).late);
		ck_assert_uint_eq(about(&one).late_ms, f.now_ms);
		ck_assert_uint_eq(about(&one).missed, 1);
		ck_assert_uint_eq(about(&one).last.v, x.v);
		/* waits for the other one only */
		ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
		unbind(x, 6);
		ck_assert_uint_eq(acknowledge(&two, x), 1);
		ck_assert_int_eq(ended(6), 0);
		/* what is freed waits for it nevertheless */
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		pass(1000);
		ck_assert_uint_eq(acknowledge(&two, x), 1);
		ck_assert_uint_eq(why(x), QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(acknowledge(&one, x), 1);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		ck_assert(!about(&one).late);
	}
END_TEST

START_TEST(one_that_never_answers_costs_one_wait)
	{
		struct hpasid y = fixture_allocate(&f, &a), z = fixture_allocate(&f, &a);
		struct change change = {0};

		ck_assert_int_eq(fixture_bind(&f, &a, y, &device, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, z, &device, 1), 0);
		unbind(x, 5);
		pass(1);
		unbind(y, 6);
		pass(WAIT_MS - 1);
		ck_assert_int_eq(ended(5), 0);
		nothing_ended();
		unbind(z, 7); /* both are late */
		ck_assert_int_eq(ended(7), 0);
		pass(1);
		ck_assert_int_eq(ended(6), 0);
		ck_assert_uint_eq(told(CHANGE_UNBIND_UNACKNOWLEDGED, &change), 2);
		ck_assert_uint_eq(about(&two).missed, 2);
		ck_assert_uint_eq(about(&two).last.v, y.v);
	}
END_TEST

START_TEST(others_go_on_and_are_not_told_apart_by_their_order)
	{
		struct hpasid numbers[4] = {x};
		const unsigned order[] = {1, 3, 0, 2};

		for (unsigned i = 1; i < 4; i++) {
			numbers[i] = fixture_allocate(&f, &a);
			ck_assert_int_eq(fixture_bind(&f, &a, numbers[i], &device, 1), 0);
		}
		for (unsigned i = 0; i < 4; i++)
			unbind(numbers[i], 100 + i);
		/* another number on the same device; the same number waits for its turn */
		ck_assert_int_eq(fixture_bind(&f, &a, fixture_allocate(&f, &a), &device, 1), 0);
		unbind(numbers[0], 200);
		for (unsigned i = 0; i < 4; i++) {
			const struct hpasid host = numbers[order[i]];

			ck_assert_uint_eq(acknowledge(&one, host) + acknowledge(&two, host), 2);
			ck_assert_int_eq(ended(100 + order[i]), 0);
			if (order[i] == 0)
				ck_assert_int_eq(ended(200), STATUS_NOT_FOUND);
			fixture_recount(&f);
		}
		ck_assert_uint_eq(broker_next_tick(f.broker), UINT64_MAX);
	}
END_TEST

START_TEST(the_end_of_a_session_ends_the_wait)
	{
		struct hpasid y = fixture_allocate(&f, &a), z = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, y, &device, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, z, &device, 1), 0);
		unbind(x, 5);
		unbind(y, 6);
		unbind(z, 7);
		ck_assert_uint_eq(acknowledge(&two, y), 1);
		ck_assert_uint_eq(acknowledge(&one, z), 1);
		ck_assert_uint_eq(participants(), 2);
		broker_session_end(f.broker, one.session);
		ck_assert_uint_eq(participants(), 1);
		ck_assert_int_eq(ended(6), 0);
		nothing_ended();
		broker_session_end(f.broker, two.session);
		ck_assert_int_eq(ended(5), 0);
		ck_assert_int_eq(ended(7), 0);
		ck_assert_uint_eq(participants(), 0);
		pass(0);
		/* and nobody is asked any more */
		ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, x), 0);
	}
END_TEST

/* F23 */
START_TEST(a_number_freed_while_bound_waits_for_who_has_not_let_go_of_it)
	{
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(acknowledge(&one, x), 1);
		unbind(x, 5);
		ck_assert_uint_eq(acknowledge(&one, x), 0);
		ck_assert(bound(x));
		ck_assert_uint_eq(acknowledge(&two, x), 1); /* both: its unbind and its free */
		ck_assert_int_eq(ended(5), 0);
		pass(1000);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		/* who acknowledges neither keeps the number, and not the device */
		x = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		unbind(x, 6);
		pass(WAIT_MS);
		ck_assert_int_eq(ended(6), 0);
		pass(1000);
		ck_assert_uint_eq(why(x), QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(acknowledge(&one, x) + acknowledge(&two, x), 2);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		/* when all have, nothing is left to wait for */
		x = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(acknowledge(&one, x) + acknowledge(&two, x), 2);
		ck_assert_int_eq(fixture_unbind(&f, &a, x), 0);
	}
END_TEST

START_TEST(what_was_announced_later_waits_on)
	{
		struct change change = {0};
		uint64_t before;

		broker_session_end(f.broker, two.session);
		before = broker_change_sequence(f.broker) - 1;
		unbind(x, 5);
		ck_assert_uint_eq(acknowledge_seen(&one, x, before), 0);
		nothing_ended();
		ck_assert_uint_eq(told(CHANGE_BINDING_UNBINDING, &change), 1);
		/* its free was announced meanwhile: what is said of the unbind is not said of that
		 */
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(acknowledge_seen(&one, x, change.sequence), 1);
		ck_assert_int_eq(ended(5), 0);
		ck_assert_uint_eq(why(x), QUARANTINE_COOLING | QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(told(CHANGE_GRANT_FREE_PENDING, &change), 1);
		ck_assert_uint_eq(acknowledge_seen(&one, x, change.sequence - 1), 0);
		ck_assert_uint_eq(acknowledge_seen(&one, x, change.sequence), 1);
		ck_assert_uint_eq(why(x), QUARANTINE_COOLING);
		/* an earlier run's announcements are before all of this one's */
		x = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		model_run(&f);
		ck_assert_uint_eq(acknowledge_seen(&one, x, 1), 1);
	}
END_TEST

START_TEST(the_end_of_a_set_waits_for_nobody)
	{
		struct hpasid y = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, y, &device, 1), 0);
		unbind(x, 5);
		unbind(x, 6); /* behind it */
		ck_assert_int_eq(broker_set_destroy(f.broker, &a, own, true, 7, &f.error), 0);
		ck_assert_int_eq(ended(6), STATUS_STATE);
		ck_assert_int_eq(ended(5), 0);
		ck_assert_int_eq(ended(7), 0);
		ck_assert_uint_eq(model_entries(&f), 0);
		pass(1000);
		/* its numbers do */
		ck_assert_uint_eq(why(y), QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(why(x), QUARANTINE_UNACKNOWLEDGED);
	}
END_TEST

START_TEST(a_death_of_the_vm_waits_for_nobody)
	{
		unbind(x, 5);
		broker_session_end(f.broker, a.session);
		model_run(&f);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(ended(5), 0);
	}
END_TEST

START_TEST(a_bind_that_is_undone_and_a_rid_wait_for_nobody)
	{
		struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};
		struct device_id second = fixture_add(&f, &a, 4, 50);
		const struct device_id both[] = {device, second};
		struct hpasid y = fixture_allocate(&f, &a);

		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 5, &f.error), 0);
		ck_assert_int_eq(ended(5), 0);
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, device, 6, &f.error), 0);
		ck_assert_int_eq(ended(6), 0);
		model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, 1, 1);
		ck_assert_int_eq(fixture_bind(&f, &a, y, both, 2), STATUS_HARDWARE);
		/* two devices: each is told, and both wait together */
		ck_assert_int_eq(fixture_bind(&f, &a, y, both, 2), 0);
		unbind(y, 7);
		ck_assert_uint_eq(
			acknowledge_seen(&one, y, broker_change_sequence(f.broker) - 2), 0);
		ck_assert_uint_eq(acknowledge(&one, y) + acknowledge(&two, y), 2);
		ck_assert_int_eq(ended(7), 0);
	}
END_TEST

START_TEST(a_worker_may_go_while_an_unbind_waits)
	{
		unbind(x, 5);
		model_lose_lane(&f, a.set.v);
		ck_assert_uint_eq(acknowledge(&one, x) + acknowledge(&two, x), 2);
		ck_assert_int_eq(ended(5), STATUS_HARDWARE);
	}
END_TEST

/* What is lost with a shared device is detached, so the number can be another's before it is over.
 */
START_TEST(a_number_may_go_while_its_unbind_waits)
	{
		const struct device_id shared = fixture_share(&f, 5),
				       slice = fixture_slice(&f, &a, 5);
		struct hpasid y = fixture_allocate(&f, &a);
		uint32_t released;

		ck_assert_int_eq(fixture_bind(&f, &a, y, &slice, 1), 0);
		ck_assert_int_eq(fixture_free(&f, &a, y), 0);
		unbind(y, 5);
		model_lose_lane(&f, f.broker->device_slots[(shared.v & SLOT_MASK) - 1].lane);
		pass(WAIT_MS - 1);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		f.broker->config.cooling_ms = 0;
		ck_assert_int_eq(broker_quarantine_end(f.broker, &f.admin, own, y, &f.error), 0);
		ck_assert_int_eq(fixture_state(&f, y), GRANT_IDLE);
		nothing_ended();
		(void)fixture_allocate(&f, &a); /* its record is another number's */
		ck_assert_uint_eq(acknowledge(&one, y), 0);
		ck_assert_int_eq(listed(), BINDING_BOUND);
		pass(1);
		ck_assert_int_ne(ended(5), 0);
	}
END_TEST

/* The second device is of the first one's group, the third has a table of its own. */
START_TEST(what_is_unbound_on_one_device_stays_bound_on_another)
	{
		struct device_id devices[3] = {device};
		struct binding_info info;
		struct hpasid y = fixture_allocate(&f, &a);
		struct pasid_ref ref = {.number = y.v};
		uint64_t cursor = 0;
		unsigned unbinding = 0, still = 0;

		f.model.group_of[4] = f.model.group_of[ONE_RID];
		devices[1] = fixture_add(&f, &a, 4, 50);
		devices[2] = fixture_add(&f, &a, 5, 50);
		ck_assert_int_eq(fixture_bind(&f, &a, y, devices, 3), 0);
		ck_assert_int_eq(broker_unbind(f.broker, &a, own, ref, devices, 2, 5, &f.error), 0);
		while (broker_binding_next(f.broker, &f.admin, own, &cursor, &info)) {
			unbinding += info.host.v == y.v && info.state == BINDING_UNBINDING;
			still += info.host.v == y.v && info.state == BINDING_BOUND;
		}
		ck_assert_uint_eq(unbinding, 1);
		ck_assert_uint_eq(still, 1);
		ck_assert_uint_eq(acknowledge(&one, y) + acknowledge(&two, y), 2);
		ck_assert_int_eq(ended(5), 0);
		ck_assert(!bound(y) && model_has(&f, 5, y.v));
	}
END_TEST

START_TEST(nobody_waits_unless_it_is_configured)
	{
		f.broker->config.unbind_wait_ms = 0;
		ck_assert_int_eq(fixture_unbind(&f, &a, x), 0);
	}
END_TEST

/* It has begun nothing: who asked asks again, and it is announced again. */
START_TEST(a_daemon_that_dies_meanwhile_has_begun_nothing)
	{
		struct change change;

		unbind(x, 5);
		ck_assert_uint_eq(acknowledge(&one, x), 1);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		model_run(&f);
		ck_assert(bound(x));
		ck_assert_int_eq(listed(), BINDING_BOUND);
		ck_assert_uint_eq(acknowledge(&one, x), 0);
		unbind(x, 6);
		ck_assert_uint_eq(told(CHANGE_BINDING_UNBINDING, &change), 1);
		nothing_ended();
		ck_assert_uint_eq(acknowledge(&one, x) + acknowledge(&two, x), 2);
		ck_assert_int_eq(ended(6), 0);
	}
END_TEST

static void end_by_acknowledgement(void)
{
	(void)acknowledge(&two, x);
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
	unbind(x, 0);
	(void)acknowledge(&one, x);
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

			open_all();
			died = dies_at(_i, at, &waiting);
			fixture_restart(&f, fixture_all_stand, NULL);
			model_run(&f);
			/* while it waited nothing was begun; what was begun is brought to its end
			 */
			ck_assert(!waiting || bound(x));
			ck_assert(bound(x) ? listed() == BINDING_BOUND : model_entries(&f) == 0);
			ck_assert(died || !bound(x));
			fixture_recount(&f);
			while (broker_next_outcome(f.broker, &outcome)) {
			}
			teardown();
		}
	}
END_TEST

START_TEST(a_recount_finds_who_waits_for_nobody)
	{
		struct error error = {0};
		struct op *op;

		unbind(x, 5);
		op = &f.broker->ops[f.broker->await_first];
		op->awaits |= 8;
		ck_assert_int_eq(broker_recount(f.broker, &error), STATUS_INTERNAL);
		op->awaits = 0;
		ck_assert_int_eq(broker_recount(f.broker, &error), STATUS_INTERNAL);
		op->awaits = 1;
		op->phase = PHASE_FORWARD;
		ck_assert_int_eq(broker_recount(f.broker, &error), STATUS_INTERNAL);
		op->phase = PHASE_AWAIT;
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		an_unbind_waits_for_all_who_participate,
		who_has_had_its_time_is_late_until_it_acknowledges,
		one_that_never_answers_costs_one_wait,
		others_go_on_and_are_not_told_apart_by_their_order,
		the_end_of_a_session_ends_the_wait,
		a_number_freed_while_bound_waits_for_who_has_not_let_go_of_it,
		what_was_announced_later_waits_on,
		the_end_of_a_set_waits_for_nobody,
		a_death_of_the_vm_waits_for_nobody,
		a_bind_that_is_undone_and_a_rid_wait_for_nobody,
		a_worker_may_go_while_an_unbind_waits,
		a_number_may_go_while_its_unbind_waits,
		what_is_unbound_on_one_device_stays_bound_on_another,
		nobody_waits_unless_it_is_configured,
		a_daemon_that_dies_meanwhile_has_begun_nothing,
		a_recount_finds_who_waits_for_nobody,
	};
	Suite *suite = suite_create("broker, unbinds that wait");
	TCase *waits = tcase_create("waits"), *deaths = tcase_create("deaths");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(waits, open_all, teardown);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(waits, tests[i]);
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
