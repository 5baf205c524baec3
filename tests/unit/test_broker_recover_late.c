/* SPDX-License-Identifier: MIT */
/*
 * Recoveries in which something comes late: an answer, a death, or what a set began meanwhile; and
 * of records that are odd.
 */
#include "broker_private.h"
#include "recover_rig.h"
#include "suite.h"

#include <errno.h>

static const struct set_id own = {0};
static struct actor vmm;

/* The worker dies before it closed the device, and the daemon before it heard so. */
START_TEST(a_device_whose_end_was_interrupted_can_be_registered_again)
	{
		struct bind_pair pair = {.table = {.kind = HW_TABLE_SPACE}};
		struct hpasid host;
		struct actor other;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		other = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
		pair.device = fixture_add(&f, &vmm, 0, 10);
		host = fixture_allocate(&f, &vmm);
		ck_assert_int_eq(fixture_bind(&f, &vmm, host, &pair.device, 1), 0);
		ck_assert_int_eq(broker_rid_attach(f.broker, &vmm, own, &pair, 1, &f.error), 0);
		broker_flush(f.broker);
		broker_session_end(f.broker, vmm.session);
		model_lose_lane(&f, vmm.set.v);
		fixture_settle(&f);
		recover_begin(true);
		recover_run();
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		(void)fixture_add(&f, &other, 0, 11);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, vmm.set, &(struct set_info){0},
					 &f.error),
			STATUS_NOT_FOUND);
	}
END_TEST

/* What a set began when its own recovery was over is none of the shared device's recovery. */
START_TEST(a_recovery_takes_back_what_an_earlier_run_began_only)
	{
		struct device_id slice;
		struct hpasid host;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		(void)fixture_share(&f, 5);
		slice = fixture_slice(&f, &vmm, 5);
		host = fixture_allocate(&f, &vmm);
		ck_assert_int_eq(fixture_bind(&f, &vmm, host, &slice, 1), 0);
		for (uint64_t cookie = 1; cookie <= 2; cookie++) {
			ck_assert_int_eq(broker_unbind(f.broker, &vmm, own,
						 (struct pasid_ref){.number = host.v}, NULL, 0,
						 cookie, &f.error),
				0);
			if (cookie == 1)
				recover_begin(true);
		}
		f.model.fail_kind = HW_DETACH;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		recover_run();
		ck_assert_uint_eq(recover_set("a").bindings, 0);
	}
END_TEST

/* The worker dies before it is known what it has, and the function is registered by another set:
 * what was asked of that worker is no answer about the record that went, nor about its place. */
START_TEST(an_answer_about_a_device_that_went_meanwhile_changes_nothing)
	{
		struct hw_result late = {.status = -EPIPE};
		struct device_id device, again;
		struct actor other;
		struct hw_op report;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		other = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
		device = fixture_add(&f, &vmm, 0, 10);
		fixture_settle(&f);
		recover_begin(true);
		broker_flush(f.broker);
		ck_assert_uint_eq(f.model.count, 1);
		report = model_take(&f.model, 0);
		ck_assert_int_eq(report.kind, HW_REPORT);
		model_lose_lane(&f, report.lane);
		again = fixture_add(&f, &other, 0, 11);
		ck_assert_int_eq(broker_device_get(f.broker, &f.admin, device,
					 &(struct device_info){0}, &f.error),
			STATUS_NOT_FOUND);
		late.id = report.id;
		(void)error_set(&late.error, REASON_WORKER_LOST, "the worker is gone");
		broker_complete(f.broker, &late);
		recover_run();
		ck_assert_uint_eq(recover_set("a").devices, 0);
		ck_assert_uint_eq(recover_device(DEVICE_EXCLUSIVE).id.v, again.v);
		fixture_recount(&f);
	}
END_TEST

/* ------------------------------------------------------------------ asked for, and not taken */

/* What is on its way to hardware is not taken now. */
static void refuse_what_waits(void)
{
	f.model.submit_status = -EAGAIN;
	broker_flush(f.broker);
	f.model.submit_status = 0;
}

static void pass_time(void)
{
	f.now_ms += 1000;
	broker_tick(f.broker);
	recover_run();
}

START_TEST(a_worker_may_be_lost_before_it_was_asked_to_detach)
	{
		struct device_id device;
		struct hpasid host;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		device = fixture_add(&f, &vmm, 0, 10);
		host = fixture_allocate(&f, &vmm);
		ck_assert_int_eq(fixture_bind(&f, &vmm, host, &device, 1), 0);
		f.model.hung_lane = vmm.set.v;
		ck_assert_int_eq(
			broker_unbind(f.broker, &vmm, own, (struct pasid_ref){.number = host.v},
				NULL, 0, 1, &f.error),
			0);
		broker_flush(f.broker);
		f.model.hung_lane = 0;
		f.model.count = 0; /* the worker never got it */
		recover_begin(true);
		ck_assert(model_step(&f, 0)); /* what it has */
		refuse_what_waits();
		model_lose_lane(&f, vmm.set.v);
		pass_time();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
		ck_assert_int_eq(fixture_free(&f, &vmm, host), 0);
		pass_time();
		ck_assert_uint_eq(recover_grant(host).quarantine, QUARANTINE_TAINTED);
	}
END_TEST

/* A set's recovery waits for a worker that dies unasked; the function is another set's by then. */
START_TEST(a_set_is_not_empty_while_its_recovery_goes_on)
	{
		struct actor other;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		other = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
		(void)fixture_add(&f, &vmm, 0, 10);
		fixture_settle(&f);
		f.model.submit_status = -EAGAIN;
		recover_begin(true);
		f.model.submit_status = 0;
		model_lose_lane(&f, vmm.set.v);
		(void)fixture_add(&f, &other, 0, 11);
		ck_assert_uint_eq(recover_set("a").devices, 0);
		ck_assert_int_eq(
			broker_set_destroy(f.broker, &vmm, own, false, 1, &f.error), STATUS_BUSY);
		ck_assert_uint_eq(f.error.reason, REASON_SET_NOT_EMPTY);
		pass_time();
		ck_assert_int_eq(broker_set_destroy(f.broker, &vmm, own, false, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	}
END_TEST

/* Two numbers of the set are tainted in a shared device, and the earlier run detached one of them.
 * The set itself begins with the other while the device's recovery is under way. */
START_TEST(a_recovery_takes_back_the_one_and_leaves_the_other_to_its_set)
	{
		struct device_id slice;
		struct hpasid hosts[2];

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		(void)fixture_share(&f, 5);
		slice = fixture_slice(&f, &vmm, 5);
		f.model.fail_kind = HW_DETACH;
		for (int i = 0; i < 2; i++) {
			hosts[i] = fixture_allocate(&f, &vmm);
			ck_assert_int_eq(fixture_bind(&f, &vmm, hosts[i], &slice, 1), 0);
		}
		for (int i = 0; i < 2; i++) {
			f.model.fail_status = STATUS_HARDWARE;
			f.model.fail_times = 1;
			ck_assert_int_eq(fixture_unbind(&f, &vmm, hosts[i]), STATUS_HARDWARE);
		}
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(broker_unbind(f.broker, &vmm, own,
						 (struct pasid_ref){.number = hosts[i].v}, NULL, 0,
						 (uint64_t)i, &f.error),
				0);
			if (i == 0)
				recover_begin(true);
		}
		/* the first one is the recovery's, until that is over */
		ck_assert_int_eq(
			broker_unbind(f.broker, &vmm, own, (struct pasid_ref){.number = hosts[0].v},
				NULL, 0, 2, &f.error),
			0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, STATUS_BUSY);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		recover_run();
		ck_assert_uint_eq(recover_set("a").bindings, 0);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

/* ------------------------------------------------------------------ removals */

/* A device with a tainted number, whose removal the daemon did not live to see. */
static struct hpasid tainted_and_removing(void)
{
	struct device_id device;
	struct hpasid host;

	vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
	device = fixture_add(&f, &vmm, 0, 10);
	host = fixture_allocate(&f, &vmm);
	ck_assert_int_eq(fixture_bind(&f, &vmm, host, &device, 1), 0);
	f.model.fail_kind = HW_DETACH;
	f.model.fail_status = STATUS_HARDWARE;
	f.model.fail_times = 1;
	ck_assert_int_eq(fixture_unbind(&f, &vmm, host), STATUS_HARDWARE);
	ck_assert_int_eq(broker_device_remove(f.broker, &vmm, own, device, 1, &f.error), 0);
	broker_flush(f.broker);
	return host;
}

START_TEST(a_removal_of_a_tainted_device_goes_on_and_heals_its_number)
	{
		struct hpasid host = tainted_and_removing();

		f.model.count = 0; /* the worker never got it */
		recover_begin(true);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_FREE);
		ck_assert_int_eq(fixture_free(&f, &vmm, host), 0);
		pass_time();
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
	}
END_TEST

START_TEST(a_removal_that_fails_again_leaves_the_device_tainted)
	{
		(void)tainted_and_removing();
		f.model.count = 0;
		recover_begin(true);
		f.model.fail_kind = HW_CLOSE;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
	}
END_TEST

/* The worker dies, then the daemon: it had heard of the one and not of the other. */
START_TEST(a_removal_whose_worker_was_lost_before_ends_as_lost)
	{
		(void)tainted_and_removing();
		f.model.count = 0;
		model_lose_lane(&f, vmm.set.v);
		fixture_settle(&f);
		recover_begin(true);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
	}
END_TEST

/* The worker dies in the recovery, before the removal had its turn. */
START_TEST(a_removal_whose_worker_is_lost_meanwhile_ends_as_lost)
	{
		(void)tainted_and_removing();
		f.model.count = 0;
		recover_begin(true);
		model_lose_lane(&f, vmm.set.v);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
	}
END_TEST

/* ------------------------------------------------------------------ odd records */

static uint64_t *device_word(struct device_id id)
{
	struct device_slot *slots = f.state.table[STATE_DEVICES];

	return &slots[(id.v & SLOT_MASK) - 1].word;
}

/* The shared device's removal was begun, and yet a slice or a number is left of it. */
static struct device_id shared_and_removing(bool slice, bool draining)
{
	struct device_id part, shared;
	struct hpasid host;

	vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
	part = fixture_add(&f, &vmm, 9, 10); /* its place is free when it is gone */
	shared = fixture_share(&f, 5);
	ck_assert_int_eq(broker_device_remove(f.broker, &vmm, own, part, 1, &f.error), 0);
	ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	f.model.group_of[5] = 5;
	part = fixture_slice(&f, &vmm, 5);
	host = fixture_allocate(&f, &vmm);
	if (draining) {
		ck_assert_int_eq(fixture_bind(&f, &vmm, host, &part, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &vmm, host), 0);
	}
	if (!slice) {
		ck_assert_int_eq(broker_device_remove(f.broker, &vmm, own, part, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	}
	fixture_settle(&f);
	*device_word(shared) += DEVICE_REMOVING - DEVICE_READY;
	return shared;
}

/* Its worker says that it has no such device: that is only a proof when nothing was left. */
static void ck_stays_when_unknown(bool slice, bool draining)
{
	(void)shared_and_removing(slice, draining);
	f.model.submit_status = -EAGAIN;
	recover_begin(true);
	f.model.submit_status = 0;
	for (unsigned i = 0; i < MODEL_DEVICES; i++)
		f.model.devices[i].used = false;
	pass_time();
	ck_assert_int_eq(recover_device(DEVICE_SHARED).state, DEVICE_TAINTED);
}

START_TEST(a_shared_device_with_a_slice_was_not_closed)
	{
		ck_stays_when_unknown(true, false);
	}
END_TEST

START_TEST(a_shared_device_with_a_draining_number_was_not_closed)
	{
		ck_stays_when_unknown(false, true);
	}
END_TEST

START_TEST(a_lost_shared_device_stays_as_long_as_its_slice)
	{
		(void)shared_and_removing(true, false);
		recover_begin(false);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_SHARED).state, DEVICE_TAINTED);
		ck_assert_int_eq(recover_device(DEVICE_SLICE).state, DEVICE_TAINTED);
	}
END_TEST

/* The next one knows none of its devices, which says nothing of what the first had attached. */
START_TEST(another_worker_does_not_say_that_a_removal_is_done)
	{
		struct device_id devices[3];
		struct pasid_ref ref = {0};
		struct hpasid host;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		for (uint32_t i = 0; i < 3; i++)
			devices[i] = fixture_add(&f, &vmm, i, 10);
		host = fixture_allocate(&f, &vmm);
		ref.number = host.v;
		ck_assert_int_eq(fixture_bind(&f, &vmm, host, &devices[1], 1), 0);
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
		ck_assert_int_eq(broker_unbind(f.broker, &vmm, own, ref, NULL, 0, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, STATUS_HARDWARE);
		ck_assert_int_eq(fixture_free(&f, &vmm, host), 0);
		ck_assert_int_eq(
			broker_device_remove(f.broker, &vmm, own, devices[1], 2, &f.error), 0);
		f.model.submit_status = -EAGAIN; /* it is recorded, and no worker hears of it */
		broker_flush(f.broker);
		f.model.submit_status = 0;
		recover_begin(true);
		model_lose_lane(&f, vmm.set.v);
		recover_run();
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert(model_has(&f, 1, host.v));
		ck_assert_uint_eq(recover_grant(host).quarantine, QUARANTINE_TAINTED);
	}
END_TEST

/* A detach that failed is the shared device's to try again, in its own recovery. */
START_TEST(a_set_may_end_while_a_detach_is_tried_again)
	{
		struct pasid_ref ref = {0};
		struct device_id shared = fixture_share(&f, 5), slice;
		struct hpasid host;
		uint32_t released;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		slice = fixture_slice(&f, &vmm, 5);
		host = fixture_allocate(&f, &vmm);
		ref.number = host.v;
		ck_assert_int_eq(fixture_bind(&f, &vmm, host, &slice, 1), 0);
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
		ck_assert_int_eq(fixture_unbind(&f, &vmm, host), STATUS_HARDWARE);
		ck_assert_int_eq(broker_unbind(f.broker, &vmm, own, ref, NULL, 0, 2, &f.error), 0);
		ck_assert_int_eq(broker_set_destroy(f.broker, &vmm, own, true, 3, &f.error), 0);
		fixture_settle(&f);
		recover_begin(true);
		recover_run();
		ck_assert(!model_has(&f, 5, host.v));
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_uint_eq(recover_grant(host).quarantine, QUARANTINE_UNDRAINED);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
	}
END_TEST

START_TEST(a_number_with_two_grants_is_a_refusal)
	{
		struct grant_slot *slots = f.state.table[STATE_GRANTS];
		uint64_t before;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		for (int i = 0; i < 2; i++)
			(void)fixture_allocate(&f, &vmm);
		fixture_settle(&f);
		before = slots[1].word;
		slots[1].word = slots[0].word;
		ck_assert_int_eq(fixture_recover(&f, fixture_all_stand, NULL), STATUS_INTERNAL);
		ck_assert_uint_eq(f.error.reason, REASON_INTERNAL);
		slots[1].word = before; /* nothing else was written */
		fixture_restart(&f, fixture_all_stand, NULL);
		ck_assert_uint_eq(recover_set("a").active, 2);
	}
END_TEST

START_TEST(the_search_begins_anew_behind_the_last_number)
	{
		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		ck_assert_int_eq(recover_allocate(&vmm, PASID_LAST), 0);
		recover_restart(true);
		ck_assert_uint_eq(fixture_allocate(&f, &vmm).v, f.config.reserved_last + 1);
	}
END_TEST

/* A dying set asks a worker to let go of its slice, which does not know the device any more. */
START_TEST(a_slice_that_is_being_given_up_is_not_gone_before_that_is_told)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		struct hpasid host;
		struct device_id slice;

		(void)fixture_share(&f, 4);
		slice = fixture_slice(&f, &a, 4);
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(
			broker_set_destroy(f.broker, &f.admin, a.set, true, 0, &f.error), 0);
		fixture_settle(&f);
		f.model.submit_status = -EAGAIN;
		broker_flush(f.broker);
		f.model.submit_status = 0;
		for (unsigned i = 0; i < MODEL_DEVICES; i++) /* its worker was started anew */
			f.model.devices[i].used = false;
		for (unsigned i = 0; i < MODEL_ENTRIES; i++)
			f.model.entries[i].used = false;
		recover_begin(true);
		/* until it is asked to, and answers that it does not know it */
		while (recover_device(DEVICE_SLICE).state != DEVICE_REMOVING)
			ck_assert(model_step(&f, 0));
		while (f.model.ops[0].kind != HW_LEAVE)
			ck_assert(model_step(&f, 0) && f.model.count);
		/* the function can be shared again meanwhile */
		ck_assert_int_eq(
			broker_device_share(f.broker, &f.admin, (struct rid){4}, 9, &f.error), 0);
		broker_flush(f.broker);
		while (f.model.count > 1) /* the other lane */
			ck_assert(model_step(&f, 1));
		recover_run();
		ck_assert_int_eq(fixture_outcome(&f, 9).status, 0);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_uint_eq(recover_grant(host).quarantine, QUARANTINE_UNDRAINED);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_device_whose_end_was_interrupted_can_be_registered_again,
		a_recovery_takes_back_what_an_earlier_run_began_only,
		an_answer_about_a_device_that_went_meanwhile_changes_nothing,
		a_worker_may_be_lost_before_it_was_asked_to_detach,
		a_set_is_not_empty_while_its_recovery_goes_on,
		a_recovery_takes_back_the_one_and_leaves_the_other_to_its_set,
		a_removal_of_a_tainted_device_goes_on_and_heals_its_number,
		a_removal_that_fails_again_leaves_the_device_tainted,
		a_removal_whose_worker_was_lost_before_ends_as_lost,
		a_removal_whose_worker_is_lost_meanwhile_ends_as_lost,
		a_shared_device_with_a_slice_was_not_closed,
		a_shared_device_with_a_draining_number_was_not_closed,
		a_lost_shared_device_stays_as_long_as_its_slice,
		a_slice_that_is_being_given_up_is_not_gone_before_that_is_told,
		another_worker_does_not_say_that_a_removal_is_done,
		a_set_may_end_while_a_detach_is_tried_again, a_number_with_two_grants_is_a_refusal,
		the_search_begins_anew_behind_the_last_number};

	return suite_run("broker, what comes late in a recovery", "late", tests, ARRAY_SIZE(tests),
		recover_setup, recover_teardown);
}
