/* SPDX-License-Identifier: MIT */
/* F22: an unbind waits for participants, for a time. */
#include "wait_rig.h"

#include "suite.h"

/* F22 */
START_TEST(an_unbind_waits_for_all_who_participate)
	{
		struct change change;

		ck_assert_int_eq(wait_listed(), BINDING_BOUND);
		wait_unbind(x, 5);
		wait_nothing_ended();
		ck_assert(wait_bound(x));
		ck_assert_int_eq(wait_listed(), BINDING_UNBINDING);
		ck_assert_uint_eq(wait_told(CHANGE_BINDING_UNBINDING, &change), 1);
		ck_assert_uint_eq(change.host, x.v);
		fixture_recount(&f);
		ck_assert_uint_eq(wait_acknowledge(&one, x), 1);
		ck_assert_uint_eq(wait_acknowledge(&one, x), 0);
		wait_nothing_ended();
		ck_assert_uint_eq(wait_acknowledge(&two, x), 1);
		ck_assert_int_eq(wait_ended(5), 0);
		ck_assert(!wait_bound(x));
		/* once, though the detach began later */
		ck_assert_uint_eq(wait_told(CHANGE_BINDING_UNBINDING, &change), 1);
		ck_assert_uint_eq(wait_told(CHANGE_BINDING_UNBOUND, &change), 1);
		ck_assert_uint_eq(wait_acknowledge(&two, x), 0);
	}
END_TEST

START_TEST(who_has_had_its_time_is_late_until_it_acknowledges)
	{
		struct change change = {0};

		wait_unbind(x, 5);
		ck_assert_uint_eq(broker_next_tick(f.broker), f.now_ms + WAIT_MS);
		ck_assert_uint_eq(wait_acknowledge(&two, x), 1);
		wait_pass(WAIT_MS - 1);
		ck_assert(wait_bound(x));
		ck_assert(!wait_about(&one).late);
		wait_pass(1);
		ck_assert_int_eq(wait_ended(5), 0);
		ck_assert_uint_eq(wait_told(CHANGE_UNBIND_UNACKNOWLEDGED, &change), 1);
		ck_assert_uint_eq(change.session, one.session);
		ck_assert_uint_eq(change.host, x.v);
		ck_assert(wait_about(&one).late && !wait_about(&two).late);
		ck_assert_uint_eq(wait_about(&one).late_ms, f.now_ms);
		ck_assert_uint_eq(wait_about(&one).missed, 1);
		ck_assert_uint_eq(wait_about(&one).last.v, x.v);
		/* waits for the other one only */
		ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
		wait_unbind(x, 6);
		ck_assert_uint_eq(wait_acknowledge(&two, x), 1);
		ck_assert_int_eq(wait_ended(6), 0);
		/* what is freed waits for it nevertheless */
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		wait_pass(1000);
		ck_assert_uint_eq(wait_acknowledge(&two, x), 1);
		ck_assert_uint_eq(wait_why(x), QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(wait_acknowledge(&one, x), 1);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		ck_assert(!wait_about(&one).late);
	}
END_TEST

START_TEST(a_shorter_wait_counts_for_those_who_wait_already)
	{
		struct hpasid y = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, y, &device, 1), 0);
		wait_unbind(x, 5);
		wait_pass(WAIT_MS - 100);
		wait_unbind(y, 6);
		f.config.unbind_wait_ms = 200;
		ck_assert_int_eq(broker_configure(f.broker, &f.config, &f.limits_config), 0);
		wait_pass(100);
		ck_assert_int_eq(wait_ended(5), 0); /* it had less left */
		wait_nothing_ended();
		wait_pass(100);
		ck_assert_int_eq(wait_ended(6), 0);
		f.config.unbind_wait_ms = 0;
		ck_assert_int_eq(broker_configure(f.broker, &f.config, &f.limits_config), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, y, &device, 1), 0);
		wait_unbind(y, 7);
		ck_assert_int_eq(wait_ended(7), 0);
	}
END_TEST

START_TEST(one_that_never_answers_costs_one_wait)
	{
		struct hpasid y = fixture_allocate(&f, &a), z = fixture_allocate(&f, &a);
		struct change change = {0};

		ck_assert_int_eq(fixture_bind(&f, &a, y, &device, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, z, &device, 1), 0);
		wait_unbind(x, 5);
		wait_pass(1);
		wait_unbind(y, 6);
		wait_pass(WAIT_MS - 1);
		ck_assert_int_eq(wait_ended(5), 0);
		wait_nothing_ended();
		wait_unbind(z, 7); /* both are late */
		ck_assert_int_eq(wait_ended(7), 0);
		wait_pass(1);
		ck_assert_int_eq(wait_ended(6), 0);
		ck_assert_uint_eq(wait_told(CHANGE_UNBIND_UNACKNOWLEDGED, &change), 2);
		ck_assert_uint_eq(wait_about(&two).missed, 2);
		ck_assert_uint_eq(wait_about(&two).last.v, y.v);
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
			wait_unbind(numbers[i], 100 + i);
		/* another number on the same device; the same number waits for its turn */
		ck_assert_int_eq(fixture_bind(&f, &a, fixture_allocate(&f, &a), &device, 1), 0);
		wait_unbind(numbers[0], 200);
		for (unsigned i = 0; i < 4; i++) {
			const struct hpasid host = numbers[order[i]];

			ck_assert_uint_eq(
				wait_acknowledge(&one, host) + wait_acknowledge(&two, host), 2);
			ck_assert_int_eq(wait_ended(100 + order[i]), 0);
			if (order[i] == 0)
				ck_assert_int_eq(wait_ended(200), STATUS_NOT_FOUND);
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
		wait_unbind(x, 5);
		wait_unbind(y, 6);
		wait_unbind(z, 7);
		ck_assert_uint_eq(wait_acknowledge(&two, y), 1);
		ck_assert_uint_eq(wait_acknowledge(&one, z), 1);
		ck_assert_uint_eq(wait_participants(), 2);
		broker_session_end(f.broker, one.session);
		ck_assert_uint_eq(wait_participants(), 1);
		ck_assert_int_eq(wait_ended(6), 0);
		wait_nothing_ended();
		broker_session_end(f.broker, two.session);
		ck_assert_int_eq(wait_ended(5), 0);
		ck_assert_int_eq(wait_ended(7), 0);
		ck_assert_uint_eq(wait_participants(), 0);
		wait_pass(0);
		/* and nobody is asked any more */
		ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, x), 0);
	}
END_TEST

/* F23 */
START_TEST(a_number_freed_while_bound_waits_for_who_has_not_let_go_of_it)
	{
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(wait_acknowledge(&one, x), 1);
		wait_unbind(x, 5);
		ck_assert_uint_eq(wait_acknowledge(&one, x), 0);
		ck_assert(wait_bound(x));
		ck_assert_uint_eq(wait_acknowledge(&two, x), 1); /* both: its unbind and its free */
		ck_assert_int_eq(wait_ended(5), 0);
		wait_pass(1000);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		/* who acknowledges neither keeps the number, and not the device */
		x = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		wait_unbind(x, 6);
		wait_pass(WAIT_MS);
		ck_assert_int_eq(wait_ended(6), 0);
		wait_pass(1000);
		ck_assert_uint_eq(wait_why(x), QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(wait_acknowledge(&one, x) + wait_acknowledge(&two, x), 2);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		/* when all have, nothing is left to wait for */
		x = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(wait_acknowledge(&one, x) + wait_acknowledge(&two, x), 2);
		ck_assert_int_eq(fixture_unbind(&f, &a, x), 0);
	}
END_TEST

START_TEST(what_was_announced_later_waits_on)
	{
		struct change change = {0};
		uint64_t before;

		broker_session_end(f.broker, two.session);
		before = broker_change_sequence(f.broker) - 1;
		wait_unbind(x, 5);
		ck_assert_uint_eq(wait_acknowledge_seen(&one, x, before), 0);
		wait_nothing_ended();
		ck_assert_uint_eq(wait_told(CHANGE_BINDING_UNBINDING, &change), 1);
		/* its free was announced meanwhile: what is said of the unbind is not said of that
		 */
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(wait_acknowledge_seen(&one, x, change.sequence), 1);
		ck_assert_int_eq(wait_ended(5), 0);
		ck_assert_uint_eq(wait_why(x), QUARANTINE_COOLING | QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(wait_told(CHANGE_GRANT_FREE_PENDING, &change), 1);
		ck_assert_uint_eq(wait_acknowledge_seen(&one, x, change.sequence - 1), 0);
		ck_assert_uint_eq(wait_acknowledge_seen(&one, x, change.sequence), 1);
		ck_assert_uint_eq(wait_why(x), QUARANTINE_COOLING);
		/* an earlier run's announcements are before all of this one's */
		x = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		model_run(&f);
		ck_assert_uint_eq(wait_acknowledge_seen(&one, x, 1), 1);
	}
END_TEST

START_TEST(the_end_of_a_set_waits_for_nobody)
	{
		struct hpasid y = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, y, &device, 1), 0);
		wait_unbind(x, 5);
		wait_unbind(x, 6); /* behind it */
		ck_assert_int_eq(broker_set_destroy(f.broker, &a, own, true, 7, &f.error), 0);
		ck_assert_int_eq(wait_ended(6), STATUS_STATE);
		ck_assert_int_eq(wait_ended(5), 0);
		ck_assert_int_eq(wait_ended(7), 0);
		ck_assert_uint_eq(model_entries(&f), 0);
		wait_pass(1000);
		/* its numbers do */
		ck_assert_uint_eq(wait_why(y), QUARANTINE_UNACKNOWLEDGED);
		ck_assert_uint_eq(wait_why(x), QUARANTINE_UNACKNOWLEDGED);
	}
END_TEST

START_TEST(a_death_of_the_vm_waits_for_nobody)
	{
		wait_unbind(x, 5);
		broker_session_end(f.broker, a.session);
		model_run(&f);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(wait_ended(5), 0);
	}
END_TEST

START_TEST(a_bind_that_is_undone_and_a_rid_wait_for_nobody)
	{
		struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};
		struct device_id second = fixture_add(&f, &a, 4, 50);
		const struct device_id both[] = {device, second};
		struct hpasid y = fixture_allocate(&f, &a);

		ck_assert_int_eq(broker_rid_attach(f.broker, &a, own, &pair, 5, &f.error), 0);
		ck_assert_int_eq(wait_ended(5), 0);
		ck_assert_int_eq(broker_rid_detach(f.broker, &a, own, device, 6, &f.error), 0);
		ck_assert_int_eq(wait_ended(6), 0);
		model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, 1, 1);
		ck_assert_int_eq(fixture_bind(&f, &a, y, both, 2), STATUS_HARDWARE);
		/* two devices: each is told, and both wait together */
		ck_assert_int_eq(fixture_bind(&f, &a, y, both, 2), 0);
		wait_unbind(y, 7);
		ck_assert_uint_eq(
			wait_acknowledge_seen(&one, y, broker_change_sequence(f.broker) - 2), 0);
		ck_assert_uint_eq(wait_acknowledge(&one, y) + wait_acknowledge(&two, y), 2);
		ck_assert_int_eq(wait_ended(7), 0);
	}
END_TEST

START_TEST(a_worker_may_go_while_an_unbind_waits)
	{
		wait_unbind(x, 5);
		model_lose_lane(&f, a.set.v);
		ck_assert_uint_eq(wait_acknowledge(&one, x) + wait_acknowledge(&two, x), 2);
		ck_assert_int_eq(wait_ended(5), STATUS_HARDWARE);
	}
END_TEST

/* What is lost with a shared device is detached, so the number can be another's before it is over.
 */
START_TEST(a_number_may_go_while_its_unbind_waits)
	{
		const struct device_id shared = fixture_share(&f, 5),
				       slice = fixture_slice(&f, &a, 5);
		struct hpasid y = fixture_allocate(&f, &a), other;
		uint32_t released;

		ck_assert_int_eq(fixture_bind(&f, &a, y, &slice, 1), 0);
		ck_assert_int_eq(fixture_free(&f, &a, y), 0);
		wait_unbind(y, 5);
		model_lose_lane(&f, f.broker->device_slots[(shared.v & SLOT_MASK) - 1].lane);
		wait_pass(WAIT_MS - 1);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		f.broker->config.cooling_ms = 0;
		ck_assert_int_eq(broker_quarantine_end(f.broker, &f.admin, own, y, &f.error), 0);
		ck_assert_int_eq(fixture_state(&f, y), GRANT_IDLE);
		wait_nothing_ended();
		/* its record is another number's, whose acknowledgement is not about it */
		other = fixture_allocate(&f, &a);
		ck_assert_uint_eq(f.broker->ops[f.broker->await_first].grant,
			grant_of_host(f.broker, other.v));
		ck_assert_uint_eq(wait_acknowledge(&one, other), 0);
		ck_assert_uint_eq(wait_acknowledge(&one, y), 0);
		ck_assert_int_eq(wait_listed(), BINDING_BOUND);
		wait_pass(1);
		ck_assert_int_ne(wait_ended(5), 0);
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
		ck_assert_uint_eq(wait_acknowledge(&one, y) + wait_acknowledge(&two, y), 2);
		ck_assert_int_eq(wait_ended(5), 0);
		ck_assert(!wait_bound(y) && model_has(&f, 5, y.v));
	}
END_TEST

START_TEST(nobody_waits_unless_it_is_configured)
	{
		f.broker->config.unbind_wait_ms = 0;
		ck_assert_int_eq(fixture_unbind(&f, &a, x), 0);
	}
END_TEST

START_TEST(a_recount_finds_who_waits_for_nobody)
	{
		struct error error = {0};
		struct op *op;

		wait_unbind(x, 5);
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
		a_shorter_wait_counts_for_those_who_wait_already,
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
		a_recount_finds_who_waits_for_nobody,
	};

	return suite_run("broker, unbinds that wait", "waits", tests, ARRAY_SIZE(tests), wait_open,
		wait_close);
}
