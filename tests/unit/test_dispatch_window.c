/* SPDX-License-Identifier: MIT */
/* Changes are done once (invariant X), and deadlines. */
#include "dispatch_rig.h"

#include <errno.h>
#include <string.h>

static struct rig rig, *const r = &rig;

static Pasid__V1__Ping ping = PASID__V1__PING__INIT;
static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
static Pasid__V1__SetGet set_get = PASID__V1__SET_GET__INIT;
static Pasid__V1__DeviceAdd device_add = PASID__V1__DEVICE_ADD__INIT;

/* ---------------------------------------------------------------- the window (invariant X) */

/* Sends a request under an id of one's choice and returns its reply. */
static const Pasid__V1__Reply *ask_as(
	struct link *link, uint64_t id, uint32_t operation, const void *message)
{
	rig_begin(r);
	rig_add_as(r, id, RIG_NO_DEADLINE, 0, operation, message);
	ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
	rig_run(r);
	return rig_reply(r, link, id);
}

START_TEST(a_change_asked_twice_is_done_once)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		uint32_t first =
			ask_as(link, 50, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first;

		ck_assert_uint_eq(
			ask_as(link, 50, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first,
			first);
		ck_assert_uint_eq(
			ask_as(link, 60, OPERATION(SET_GET), &set_get)->set_get->active, 1);
	}
END_TEST

START_TEST(a_refusal_is_remembered_like_any_reply)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		Pasid__V1__Allocate one = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__SetAdjust adjust = PASID__V1__SET_ADJUST__INIT;
		Pasid__V1__SetRef set = PASID__V1__SET_REF__INIT;
		const Pasid__V1__Reply *reply;

		adjust.pasids = 1;
		(void)rig_ok(r, link, OPERATION(SET_ADJUST), &adjust);
		(void)rig_allocate(r, link);
		rig_expect(r, ask_as(link, 50, OPERATION(ALLOCATE), &one), REASON_SET_QUOTA);
		set.key_case = PASID__V1__SET_REF__KEY_NAME;
		set.name = "vm1";
		adjust.set = &set;
		adjust.pasids = 10;
		(void)rig_ok(r, rig_hello(r, ROLE_ADMIN), OPERATION(SET_ADJUST), &adjust);
		rig_expect(r, ask_as(link, 50, OPERATION(ALLOCATE), &one), REASON_SET_QUOTA);
		reply = ask_as(link, 52, OPERATION(ALLOCATE), &one);
		ck_assert_msg(!reply->status, "%s", reply->status->message);
	}
END_TEST

START_TEST(an_id_is_not_used_for_something_else)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		Pasid__V1__Allocate two = PASID__V1__ALLOCATE__INIT;

		two.count = 2;
		(void)ask_as(link, 50, OPERATION(ALLOCATE), &allocate);
		rig_expect(r, ask_as(link, 50, OPERATION(ALLOCATE), &two), REASON_ID_REUSED);
		/* reads are not remembered, so their ids mean nothing */
		ck_assert_ptr_null(ask_as(link, 50, OPERATION(PING), &ping)->status);
	}
END_TEST

START_TEST(what_the_client_has_seen_is_forgotten)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);

		(void)ask_as(link, 50, OPERATION(ALLOCATE), &allocate);
		rig_begin(r);
		wire_out_uint(&r->out, WIRE_TO_SERVER_SEEN_BELOW, 51);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		rig_expect(r, ask_as(link, 50, OPERATION(ALLOCATE), &allocate), REASON_ID_TOO_OLD);
	}
END_TEST

START_TEST(what_can_be_tried_again_may_keep_its_id)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		int fds[] = {5, MODEL_DEVICE_FD(8)};

		r->f.model.submit_status = -EAGAIN;
		rig_begin(r);
		rig_add_as(r, 50, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &device_add);
		ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
		rig_run(r);
		ck_assert_int_eq(rig_reply(r, link, 50)->status->code, PASID__V1__CODE__RETRY);
		r->f.model.submit_status = 0;
		ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
		rig_run(r);
		ck_assert_ptr_null(rig_reply(r, link, 50)->status);
	}
END_TEST

/* ---------------------------------------------------------------- deadlines */

START_TEST(a_deadline_answers_pending_and_the_same_id_gets_the_result)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		int fds[] = {5, MODEL_DEVICE_FD(8)};

		rig_begin(r);
		rig_add_as(r, 50, 100, 2, OPERATION(DEVICE_ADD), &device_add);
		ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
		ck_assert_uint_eq(dispatch_next_tick(r->d), r->f.now_ms + 100);
		r->f.now_ms += 99;
		dispatch_tick(r->d);
		ck_assert(!rig_read(r, link));
		r->f.now_ms += 1;
		dispatch_tick(r->d);
		rig_expect(r, rig_reply(r, link, 50), REASON_DEADLINE);
		ck_assert_uint_eq(dispatch_operations(r->d), 1);
		/* without a deadline, it waits; its descriptors are not needed again */
		rig_begin(r);
		rig_add_as(r, 50, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &device_add);
		ck_assert_int_eq(rig_send(r, link, (int[]){15, 16}, 2), 0);
		ck_assert_uint_eq(r->disposed_count, 2);
		ck_assert(!rig_read(r, link));
		rig_run(r);
		ck_assert_ptr_null(rig_reply(r, link, 50)->status);
		ck_assert_uint_eq(dispatch_operations(r->d), 0);
		ck_assert(!rig_read(r, link));
	}
END_TEST

START_TEST(nobody_is_told_of_a_result_after_pending_unless_he_asks)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		int fds[] = {5, MODEL_DEVICE_FD(8)};

		rig_begin(r);
		rig_add_as(r, 50, 0, 2, OPERATION(DEVICE_ADD), &device_add);
		ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
		rig_expect(r, rig_reply(r, link, 50), REASON_DEADLINE);
		rig_run(r);
		ck_assert(!rig_read(r, link));
		ck_assert_int_eq(rig_send(r, link, (int[]){15, 16}, 2), 0);
		ck_assert_ptr_null(rig_reply(r, link, 50)->status);
	}
END_TEST

START_TEST(deadlines_are_answered_in_their_order)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		static const uint32_t deadlines[] = {300, 100, 200, 100};
		static const uint64_t order[] = {51, 53, 52, 50};

		for (uint64_t i = 0; i < 4; i++) {
			rig_begin(r);
			rig_add_as(r, 50 + i, deadlines[i], 2, OPERATION(DEVICE_ADD), &device_add);
			ck_assert_int_eq(
				rig_send(r, link, (int[]){5, MODEL_DEVICE_FD(8 + i)}, 2), 0);
		}
		r->f.now_ms += 300;
		dispatch_tick(r->d);
		ck_assert(rig_read(r, link));
		ck_assert_uint_eq(r->got->n_replies, 4);
		for (size_t i = 0; i < 4; i++)
			ck_assert_uint_eq(r->got->replies[i]->id, order[i]);
		rig_run(r);
	}
END_TEST

START_TEST(operations_of_a_session_are_bounded)
	{
		struct link *link;

		rig_close(r);
		rig_config(r);
		r->config.operations_per_session = 2;
		rig_open(r);
		link = rig_vmm(r, "vm1", SET_TRANSLATED);
		for (uint32_t i = 0; i < 3; i++) {
			rig_begin(r);
			rig_add_as(
				r, 50 + i, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &device_add);
			ck_assert_int_eq(
				rig_send(r, link, (int[]){5, MODEL_DEVICE_FD(8 + i)}, 2), 0);
		}
		rig_expect(r, rig_reply(r, link, 52), REASON_OVERLOAD);
		ck_assert_uint_eq(r->error.limit, 2);
		ck_assert_uint_eq(r->disposed_count, 2);
		rig_run(r);
		ck_assert_uint_eq(dispatch_operations(r->d), 0);
		ck_assert(rig_read(r, link));
		ck_assert_uint_eq(r->got->n_replies, 2);
		/* nothing of it was done, so it may keep its id */
		ck_assert_int_eq(rig_send(r, link, (int[]){5, MODEL_DEVICE_FD(10)}, 2), 0);
		rig_run(r);
		ck_assert_ptr_null(rig_reply(r, link, 52)->status);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_change_asked_twice_is_done_once,
		a_refusal_is_remembered_like_any_reply,
		an_id_is_not_used_for_something_else,
		what_the_client_has_seen_is_forgotten,
		what_can_be_tried_again_may_keep_its_id,
		a_deadline_answers_pending_and_the_same_id_gets_the_result,
		nobody_is_told_of_a_result_after_pending_unless_he_asks,
		deadlines_are_answered_in_their_order,
		operations_of_a_session_are_bounded,
	};

	return rig_main(r, "dispatch_window", tests, ARRAY_SIZE(tests));
}
