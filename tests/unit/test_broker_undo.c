/* SPDX-License-Identifier: MIT */
/* Hardware that fails while something is taken back, or that is lost before it was asked. */
#include "broker_private.h"
#include "fixture.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

#define SHARED 5

static struct fixture f;
static struct actor a, c;
static const struct set_id own = {0};

static void setup(void)
{
	fixture_config(&f);
	/* functions 1 to 3 are one group */
	f.model.group_of[2] = f.model.group_of[3] = f.model.group_of[1];
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 20);
}

static void teardown(void)
{
	fixture_leave(&f);
}

static uint64_t lane_of(struct device_id shared)
{
	return BROKER_SHARED_LANE | shared.v;
}

static struct pasid_ref ref_of(struct hpasid host)
{
	return (struct pasid_ref){.number = host.v};
}

/* What is on its way to hardware is not taken now. */
static void refuse_what_waits(void)
{
	f.model.submit_status = -EAGAIN;
	broker_flush(f.broker);
	f.model.submit_status = 0;
}

static void start_unbind(struct hpasid host, const struct device_id *devices, size_t count)
{
	ck_assert_int_eq(
		broker_unbind(f.broker, &a, own, ref_of(host), devices, count, 1, &f.error), 0);
}

static void start_bind(struct hpasid host, const struct device_id *devices, size_t count)
{
	struct bind_pair pairs[4] = {0};

	for (size_t i = 0; i < count; i++)
		pairs[i] = (struct bind_pair){devices[i], {.kind = HW_TABLE_SPACE}};
	ck_assert_int_eq(
		broker_bind(f.broker, &a, own, ref_of(host), pairs, count, 1, &f.error), 0);
}

static struct grant_info info_of(struct hpasid host)
{
	struct grant_info info;

	ck_assert_int_eq(
		broker_host_find(f.broker, &f.admin, (struct set_id){0}, host, &info, &f.error), 0);
	return info;
}

static enum device_state state_of(struct device_id device)
{
	struct device_info info;

	if (broker_device_get(f.broker, &f.admin, device, &info, &f.error))
		return DEVICE_FREE;
	return info.state;
}

/* ------------------------------------------------------------------ binds that are taken back */

START_TEST(a_bind_that_cannot_be_recorded_leaves_no_intent_of_a_group)
	{
		struct device_id devices[] = {fixture_add(&f, &a, 1, 10),
			fixture_add(&f, &a, 2, 10), fixture_add(&f, &a, 3, 10)};
		struct hpasid host = fixture_allocate(&f, &a);
		struct bind_pair pairs[3] = {0};

		for (uint32_t i = 0; i < 3; i++)
			pairs[i] = (struct bind_pair){
				devices[i], {.kind = HW_TABLE_SPACE, .id = i == 2}};
		ck_assert_int_eq(
			broker_bind(f.broker, &a, own, ref_of(host), pairs, 3, 1, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_GROUP_TABLE);
		fixture_recount(&f);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 3), 0);
	}
END_TEST

/* A number that is bound nowhere, and may be queued in the shared device still. */
static struct hpasid draining_number(struct device_id slice)
{
	struct hpasid host = fixture_allocate(&f, &a);

	ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
	ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
	return host;
}

static void ck_drains_alone(struct hpasid host)
{
	fixture_recount(&f);
	ck_assert_uint_eq(info_of(host).bindings, 0);
	ck_assert_uint_eq(model_entries(&f), 0);
	/* it still waits for that */
	ck_assert_int_eq(fixture_free(&f, &a, host), 0);
	fixture_pass_second(&f);
	ck_assert_uint_eq(info_of(host).quarantine, QUARANTINE_UNDRAINED);
}

START_TEST(a_bind_that_cannot_be_recorded_leaves_draining_what_drained)
	{
		struct device_id devices[3];
		struct bind_pair pairs[3] = {0};
		struct hpasid host;

		(void)fixture_share(&f, SHARED);
		devices[0] = fixture_slice(&f, &a, SHARED);
		devices[1] = fixture_add(&f, &a, 1, 10);
		devices[2] = fixture_add(&f, &a, 2, 10);
		host = draining_number(devices[0]);
		for (uint32_t i = 0; i < 3; i++)
			pairs[i] = (struct bind_pair){
				devices[i], {.kind = HW_TABLE_SPACE, .id = i == 2}};
		ck_assert_int_eq(
			broker_bind(f.broker, &a, own, ref_of(host), pairs, 3, 1, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 1).error.reason, REASON_GROUP_TABLE);
		ck_drains_alone(host);
	}
END_TEST

START_TEST(a_bind_that_fails_before_a_slice_leaves_draining_what_drained)
	{
		struct device_id devices[2];
		struct hpasid host;

		(void)fixture_share(&f, SHARED);
		devices[1] = fixture_slice(&f, &a, SHARED);
		devices[0] = fixture_add(&f, &a, 1, 10);
		host = draining_number(devices[1]);
		model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, 0, 1);
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), STATUS_HARDWARE);
		ck_drains_alone(host);
	}
END_TEST

START_TEST(an_undo_that_fails_twice_is_told_once_with_the_first_failure)
	{
		struct device_id devices[] = {fixture_add(&f, &a, 1, 10),
			fixture_add(&f, &a, 7, 10), fixture_add(&f, &a, 8, 10)};
		struct hpasid host = fixture_allocate(&f, &a);
		struct outcome outcome;

		model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, 2, 1);
		start_bind(host, devices, 3);
		for (int i = 0; i < 3; i++)
			ck_assert(model_step(&f, 0));
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 2);
		outcome = fixture_outcome(&f, 1);
		ck_assert_uint_eq(outcome.error.reason, REASON_UNDO_FAILED);
		ck_assert_uint_eq(model_entries(&f), 2);
		ck_assert_int_eq(state_of(devices[0]), DEVICE_TAINTED);
		ck_assert_int_eq(state_of(devices[1]), DEVICE_TAINTED);
		ck_assert_int_eq(state_of(devices[2]), DEVICE_READY);
	}
END_TEST

/* The worker dies before it could be asked to detach: the number counts as attached. */
START_TEST(an_undo_that_was_not_taken_ends_when_its_worker_is_lost)
	{
		struct device_id devices[2];
		struct hpasid host = fixture_allocate(&f, &a);
		struct outcome outcome;

		(void)fixture_share(&f, SHARED);
		devices[0] = fixture_add(&f, &a, 1, 10);
		devices[1] = fixture_slice(&f, &a, SHARED);
		model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, 1, 1);
		start_bind(host, devices, 2);
		ck_assert(model_step(&f, 0));
		ck_assert(model_step(&f, 0));
		refuse_what_waits();
		model_lose_lane(&f, a.set.v);
		fixture_pass_second(&f);
		outcome = fixture_outcome(&f, 1);
		ck_assert_uint_eq(outcome.error.reason, REASON_KERNEL_REFUSED);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		fixture_pass_second(&f);
		ck_assert_uint_eq(info_of(host).quarantine, QUARANTINE_TAINTED);
	}
END_TEST

START_TEST(a_worker_that_is_not_to_be_had_is_told_with_the_remedy)
	{
		static const struct {
			int status;
			const char *text;
		} told[] = {{-EAGAIN, "takes no more operations"}, {-EMFILE, "LimitNOFILE"},
			{-ENFILE, "LimitNOFILE"}, {-EUSERS, "LimitNPROC"}, {-EPIPE, "no worker"}};
		const struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
			f.model.submit_status = told[i].status;
			ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), STATUS_RETRY);
			ck_assert_ptr_nonnull(strstr(f.error.text, told[i].text));
			ck_assert_int_eq(f.error.sys_errno, -told[i].status);
			ck_assert_uint_eq(info_of(host).bindings, 0);
		}
		f.model.submit_status = 0;
		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
	}
END_TEST

/* ------------------------------------------------------------------ unbinds */

START_TEST(an_unbind_that_was_not_taken_ends_when_its_worker_is_lost)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		start_unbind(host, NULL, 0);
		refuse_what_waits();
		model_lose_lane(&f, a.set.v);
		fixture_pass_second(&f);
		ck_assert_int_ne(fixture_outcome(&f, 1).status, 0);
		ck_assert_int_eq(state_of(device), DEVICE_TAINTED);
		ck_assert(model_has(&f, 1, host.v));
	}
END_TEST

/* An unbind hangs in a shared device; behind it the worker of the other device dies. */
static struct outcome unbind_while_the_other_is_lost(int status)
{
	struct device_id devices[2], shared = fixture_share(&f, SHARED);
	struct hpasid host = fixture_allocate(&f, &a);

	devices[0] = fixture_slice(&f, &a, SHARED);
	devices[1] = fixture_add(&f, &a, 1, 10);
	ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
	f.model.hung_lane = lane_of(shared);
	start_unbind(host, devices, 2);
	model_lose_lane(&f, a.set.v);
	f.model.hung_lane = 0;
	if (status)
		model_arrange(&f, HW_DETACH, status, 0, 1);
	return fixture_outcome(&f, 1);
}

START_TEST(an_unbind_says_that_one_of_its_devices_was_lost)
	{
		struct outcome outcome = unbind_while_the_other_is_lost(0);

		ck_assert_uint_eq(outcome.error.reason, REASON_WORKER_LOST);
	}
END_TEST

START_TEST(an_unbind_says_what_failed_before_what_was_lost)
	{
		struct outcome outcome = unbind_while_the_other_is_lost(STATUS_HARDWARE);

		ck_assert_uint_eq(outcome.error.reason, REASON_KERNEL_REFUSED);
	}
END_TEST

START_TEST(an_unbind_of_a_device_that_went_meanwhile_is_refused)
	{
		struct device_id devices[] = {
			fixture_add(&f, &a, 1, 10), fixture_add(&f, &a, 7, 10)};
		struct hpasid host = fixture_allocate(&f, &a);
		struct outcome outcome;

		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 1), 0);
		ck_assert_int_eq(
			broker_device_remove(f.broker, &a, own, devices[1], 2, &f.error), 0);
		start_unbind(host, devices, 2);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		outcome = fixture_outcome(&f, 1);
		ck_assert_uint_eq(outcome.error.reason, REASON_NO_DEVICE);
		ck_assert(model_has(&f, 1, host.v));
	}
END_TEST

START_TEST(an_unbind_from_several_devices_detaches_from_each)
	{
		struct device_id devices[] = {fixture_add(&f, &a, 1, 10),
			fixture_add(&f, &a, 7, 10), fixture_add(&f, &a, 8, 10)};
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 3), 0);
		start_unbind(host, devices, 2);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		ck_assert(!model_has(&f, 1, host.v) && !model_has(&f, 7, host.v));
		ck_assert(model_has(&f, 8, host.v));
	}
END_TEST

/* Two sets have numbers tainted in one shared device: who makes good its own has its slice again.
 */
START_TEST(a_slice_is_good_again_whatever_others_failed_to_detach)
	{
		const struct actor *actors[] = {&a, &c};
		struct device_id slices[2];
		struct hpasid hosts[2];

		(void)fixture_share(&f, SHARED);
		for (int i = 0; i < 2; i++) {
			slices[i] = fixture_slice(&f, actors[i], SHARED);
			hosts[i] = fixture_allocate(&f, actors[i]);
			ck_assert_int_eq(fixture_bind(&f, actors[i], hosts[i], &slices[i], 1), 0);
			model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
			ck_assert_int_eq(fixture_unbind(&f, actors[i], hosts[i]), STATUS_HARDWARE);
			ck_assert_int_eq(state_of(slices[i]), DEVICE_TAINTED);
		}
		ck_assert_int_eq(fixture_unbind(&f, &a, hosts[0]), 0);
		ck_assert_int_eq(state_of(slices[0]), DEVICE_READY);
		ck_assert_int_eq(state_of(slices[1]), DEVICE_TAINTED);
		ck_assert_int_eq(fixture_unbind(&f, &c, hosts[1]), 0);
		ck_assert_int_eq(state_of(slices[1]), DEVICE_READY);
	}
END_TEST

/* ------------------------------------------------------------------ who waited too long */

/* A mapping hangs on the device, and what is asked for the number there waits behind it. Meanwhile
 * the number is freed, and has cooled. */
static struct hpasid number_that_went(bool bind)
{
	struct memory memory = {.device = fixture_add(&f, &a, 1, 10), .length = 4096};
	struct hpasid host = fixture_allocate(&f, &a);

	f.model.hung_lane = a.set.v;
	ck_assert_int_eq(broker_memory_map(f.broker, &a, &memory, 3, 2, &f.error), 0);
	if (bind)
		start_bind(host, &memory.device, 1);
	else
		start_unbind(host, &memory.device, 1);
	ck_assert_int_eq(fixture_free(&f, &a, host), 0);
	fixture_pass_second(&f);
	ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
	return host;
}

/* The record of the number is nobody's, the same set's for another number, or another set's. */
static void ck_not_meant(bool bind, const struct actor *next, enum reason reason)
{
	struct hpasid went = number_that_went(bind), other = {0};
	struct outcome outcome;

	if (next) {
		other = fixture_allocate(&f, next);
		ck_assert_uint_ne(other.v, went.v);
	}
	f.model.hung_lane = 0;
	outcome = fixture_outcome(&f, 1);
	ck_assert_uint_eq(outcome.error.reason, reason);
	ck_assert_uint_eq(model_entries(&f), 0);
	fixture_recount(&f);
	fixture_close(&f);
	setup();
}

START_TEST(a_bind_that_waited_never_reaches_the_next_number_in_the_same_place)
	{
		ck_not_meant(true, NULL, REASON_NOT_ACTIVE);
		ck_not_meant(true, &a, REASON_NOT_ACTIVE);
		ck_not_meant(true, &c, REASON_NOT_ACTIVE);
	}
END_TEST

START_TEST(an_unbind_that_waited_never_reaches_the_next_number_in_the_same_place)
	{
		ck_not_meant(false, NULL, REASON_NOT_BOUND);
		ck_not_meant(false, &a, REASON_NOT_BOUND);
		ck_not_meant(false, &c, REASON_NOT_BOUND);
	}
END_TEST

/* ------------------------------------------------------------------ ends of sets */

static struct outcome destroy(const struct actor *actor)
{
	ck_assert_int_eq(broker_set_destroy(f.broker, &f.admin, actor->set, true, 3, &f.error), 0);
	return fixture_outcome(&f, 3);
}

START_TEST(the_end_of_a_set_tells_the_first_failure_and_taints_what_did_not_detach)
	{
		struct device_id slice;
		struct hpasid hosts[2];
		struct outcome outcome;

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &a, SHARED);
		for (int i = 0; i < 2; i++) {
			hosts[i] = fixture_allocate(&f, &a);
			ck_assert_int_eq(fixture_bind(&f, &a, hosts[i], &slice, 1), 0);
		}
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 2);
		outcome = destroy(&a);
		ck_assert_uint_eq(outcome.error.reason, REASON_KERNEL_REFUSED);
		fixture_pass_second(&f);
		for (int i = 0; i < 2; i++)
			ck_assert_uint_eq(info_of(hosts[i]).quarantine, QUARANTINE_TAINTED);
		ck_assert_uint_eq(model_entries(&f), 2);
	}
END_TEST

START_TEST(the_end_of_a_set_says_that_a_slice_was_not_left)
	{
		struct outcome outcome;
		struct device_id slice;

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &a, SHARED);
		model_arrange(&f, HW_LEAVE, STATUS_HARDWARE, 0, 1);
		outcome = destroy(&a);
		ck_assert_uint_eq(outcome.error.reason, REASON_KERNEL_REFUSED);
		ck_assert_int_eq(state_of(slice), DEVICE_FREE);
	}
END_TEST

START_TEST(the_end_of_a_set_goes_on_when_a_worker_is_lost_before_it_was_asked)
	{
		struct device_id slice, shared = fixture_share(&f, SHARED);
		struct hpasid host = fixture_allocate(&f, &a);

		slice = fixture_slice(&f, &a, SHARED);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		broker_session_end(f.broker, a.session);
		refuse_what_waits();
		model_lose_lane(&f, lane_of(shared));
		fixture_pass_second(&f);
		model_run(&f);
		ck_assert_int_eq(state_of(slice), DEVICE_FREE);
		fixture_pass_second(&f);
		ck_assert_uint_eq(info_of(host).quarantine, QUARANTINE_UNDRAINED);
	}
END_TEST

START_TEST(the_end_of_a_set_ends_the_holds_of_a_freed_number)
	{
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(broker_hold(f.broker, &a, own, host, &f.error), 0);
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_FREE_PENDING);
		broker_session_end(f.broker, a.session);
		model_run(&f);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
	}
END_TEST

START_TEST(an_admins_removal_waits_for_the_end_of_the_set)
	{
		struct device_id device = fixture_add(&f, &a, 1, 10);

		f.model.hung_lane = a.set.v;
		broker_session_end(f.broker, a.session);
		ck_assert_int_eq(
			broker_device_remove(f.broker, &f.admin, own, device, 5, &f.error), 0);
		model_run(&f);
		ck_assert_int_eq(state_of(device), DEVICE_REMOVING);
		f.model.hung_lane = 0;
		ck_assert_uint_eq(fixture_outcome(&f, 5).error.reason, REASON_NO_DEVICE);
		ck_assert_int_eq(
			broker_set_get(f.broker, &f.admin, a.set, &(struct set_info){0}, &f.error),
			STATUS_NOT_FOUND);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_bind_that_cannot_be_recorded_leaves_no_intent_of_a_group,
		a_bind_that_cannot_be_recorded_leaves_draining_what_drained,
		a_bind_that_fails_before_a_slice_leaves_draining_what_drained,
		an_undo_that_fails_twice_is_told_once_with_the_first_failure,
		an_undo_that_was_not_taken_ends_when_its_worker_is_lost,
		a_worker_that_is_not_to_be_had_is_told_with_the_remedy,
		an_unbind_that_was_not_taken_ends_when_its_worker_is_lost,
		an_unbind_says_that_one_of_its_devices_was_lost,
		an_unbind_says_what_failed_before_what_was_lost,
		an_unbind_of_a_device_that_went_meanwhile_is_refused,
		an_unbind_from_several_devices_detaches_from_each,
		a_slice_is_good_again_whatever_others_failed_to_detach,
		a_bind_that_waited_never_reaches_the_next_number_in_the_same_place,
		an_unbind_that_waited_never_reaches_the_next_number_in_the_same_place,
		the_end_of_a_set_tells_the_first_failure_and_taints_what_did_not_detach,
		the_end_of_a_set_says_that_a_slice_was_not_left,
		the_end_of_a_set_goes_on_when_a_worker_is_lost_before_it_was_asked,
		the_end_of_a_set_ends_the_holds_of_a_freed_number,
		an_admins_removal_waits_for_the_end_of_the_set,
	};
	return suite_run(
		"broker, what is taken back", "undo", tests, ARRAY_SIZE(tests), setup, teardown);
}
