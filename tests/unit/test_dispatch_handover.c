/* SPDX-License-Identifier: MIT */
/* F43: a session goes to another process, with all that it has. */
#include "handover_rig.h"

static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
static Pasid__V1__Ping ping = PASID__V1__PING__INIT;

/* ---------------------------------------------------------------- the way it goes */

START_TEST(it_goes_on_with_all_that_it_has)
	{
		struct link *old = vmm(), *new = heir();
		uint32_t number = rig_allocate(r, old);
		uint64_t id = r->last_id, session = link_session(old), set = link_set(old).v;
		const Pasid__V1__HelloResult *hello;
		const Pasid__V1__Reply *reply;
		uint8_t before[SECRET];

		(void)rig_device(r, old, 8, 5);
		memcpy(before, token, SECRET);
		offer(old);
		(void)rig_allocate(r, old); /* until then nothing has changed */
		hello = take(new);
		ck_assert(hello->resumed);
		ck_assert_uint_eq(hello->session, session);
		ck_assert_uint_eq(hello->set, set);
		ck_assert_uint_eq(hello->last_id, r->last_id - 1);
		ck_assert_mem_ne(hello->resume_token.data, before, SECRET);
		ck_assert_mem_ne(hello->resume_token.data, secret, SECRET);
		expect_bereft(old);
		ck_assert_uint_eq(dispatch_edge(r->d, EDGE_HANDED_OVER), 1);
		ck_assert_uint_eq(dispatch_refusals(r->d, REASON_HANDED_OVER), 1);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
		/* what it was answered, too */
		rig_begin(r);
		rig_add_as(r, id, RIG_NO_DEADLINE, 0, OPERATION(ALLOCATE), &allocate);
		ck_assert_int_eq(rig_send(r, new, NULL, 0), 0);
		reply = rig_reply(r, new, id);
		ck_assert_uint_eq(reply->allocate->runs[0]->first, number);
		ck_assert_uint_eq(status().devices, 1);
		ck_assert_uint_eq(status().pasids.current, 2);
		/* the death of the old one is nobody's business */
		ck_assert_ptr_null(dispatch_disconnect(r->d, old, true, NULL));
		rig_run(r);
		ck_assert_uint_eq(status().pasids.current, 2);
		ck_assert_uint_eq(status().quarantined, 0);
		/* that of the new one is */
		ck_assert_ptr_null(dispatch_disconnect(r->d, new, true, NULL));
		rig_run(r);
		ck_assert_uint_eq(status().quarantined, 2);
		ck_assert_uint_eq(status().devices, 0);
	}
END_TEST

START_TEST(the_old_token_is_worth_nothing_any_more)
	{
		struct link *old = vmm(), *new = heir();
		Pasid__V1__Hello hello;

		offer(old);
		(void)take(new);
		refuse_resume(connect_as(RIG_VMM_UID, OLD));
		refuse_resume(connect_as(RIG_VMM_UID, HEIR));
		ck_assert_uint_ne(link_session(new), 0);
		/* the new one is worth what a token is */
		ck_assert_ptr_null(dispatch_disconnect(r->d, old, false, NULL));
		hello = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);
		offer(new);
		new = connect_as(RIG_VMM_UID, RIVAL);
		keep_token(take(new));
		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, new, false, &rig));
		hello = hello_with(PASID__V1__HELLO__RESUME_RESUME_TOKEN, token);
		(void)rig_ok(r, connect_as(RIG_VMM_UID, RIVAL), OPERATION(HELLO), &hello);
	}
END_TEST

START_TEST(what_the_old_one_sends_then_is_not_done)
	{
		struct link *old = vmm();
		Pasid__V1__Hello hello = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);

		offer(old);
		(void)take(heir());
		expect_bereft(old);
		/* read with the same call as what came before: the server looks at it, still */
		rig_refused(r, old, OPERATION(ALLOCATE), &allocate, REASON_HANDED_OVER);
		rig_refused(r, old, OPERATION(HAND_OVER), &hand_over, REASON_HANDED_OVER);
		rig_refused(r, old, OPERATION(HELLO), &hello, REASON_HANDED_OVER);
		rig_refused(r, old, OPERATION(PING), &ping, REASON_HANDED_OVER);
		refuse(old, REASON_HANDED_OVER);
		ck_assert_uint_eq(status().pasids.current, 0);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
	}
END_TEST

START_TEST(what_is_under_way_ends_for_the_new_one)
	{
		struct link *old = vmm(), *new = heir();
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		int fds[] = {10, MODEL_DEVICE_FD(8)};
		const Pasid__V1__Reply *reply;
		uint64_t id = ++r->last_id;

		rig_begin(r);
		rig_add_as(r, id, 5000, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, old, fds, 2), 0);
		offer(old);
		/* that has carried it out, and the reply was sent before */
		(void)rig_read(r, old);
		r->f.model.hung_lane = link_set(old).v;
		add.set = NULL;
		fds[0] = 11;
		fds[1] = MODEL_DEVICE_FD(9);
		id = ++r->last_id;
		rig_begin(r);
		rig_add_as(r, id, 5000, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, old, fds, 2), 0);
		(void)take(new);
		expect_bereft(old);
		ck_assert(!rig_read(r, old));
		r->f.now_ms += 6000; /* the old one's deadline is nobody's */
		dispatch_tick(r->d);
		ck_assert(!rig_read(r, new));
		rig_begin(r);
		rig_add_as(r, id, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, new, fds, 2), 0);
		r->f.model.hung_lane = 0;
		rig_run(r);
		reply = rig_reply(r, new, id);
		ck_assert_msg(!reply->status, "%s", reply->status ? reply->status->message : "");
		ck_assert_uint_eq(status().devices, 2);
	}
END_TEST

/* Its connection is gone, and it lives: it has shut down and lets the other one begin. */
START_TEST(a_session_that_is_parked_can_be_taken)
	{
		struct link *old = vmm(), *new = heir();

		offer(old);
		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, old, false, &rig));
		(void)take(new);
		ck_assert_ptr_eq(r->unparked, &rig);
		r->f.now_ms += GRACE + 1;
		dispatch_tick(r->d);
		(void)rig_allocate(r, new);
	}
END_TEST

START_TEST(a_watch_stays_behind)
	{
		struct link *old = vmm(), *new = heir();
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;

		(void)rig_ok(r, old, OPERATION(WATCH), &watch);
		offer(old);
		(void)take(new);
		expect_bereft(old);
		(void)rig_allocate(r, new);
		ck_assert(!rig_read(r, old));
		(void)rig_ok(r, new, OPERATION(WATCH), &watch);
	}
END_TEST

/* ---------------------------------------------------------------- until it is taken */

START_TEST(a_death_before_is_a_death)
	{
		struct link *old = vmm(), *new = heir();

		(void)rig_allocate(r, old);
		offer(old);
		ck_assert_ptr_null(dispatch_disconnect(r->d, old, true, NULL));
		rig_run(r);
		ck_assert_uint_eq(status().quarantined, 1);
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
		refuse(new, REASON_HANDOVER_UNKNOWN);
	}
END_TEST

START_TEST(the_end_of_the_grace_period_is_one_too)
	{
		struct link *old = vmm(), *new = heir();
		struct session *session;

		offer(old);
		session = dispatch_disconnect(r->d, old, false, &rig);
		ck_assert_ptr_nonnull(session);
		dispatch_peer_dead(r->d, session);
		refuse(new, REASON_HANDOVER_UNKNOWN);
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
	}
END_TEST

START_TEST(it_can_be_cancelled)
	{
		struct link *old = vmm(), *new = heir();
		const Pasid__V1__Reply *reply;

		offer(old);
		hand_over.cancel = true;
		for (int i = 0; i < 2; i++) { /* twice is no error */
			reply = rig_ok(r, old, OPERATION(HAND_OVER), &hand_over);
			ck_assert_uint_eq(reply->hand_over->secret.len, 0);
		}
		refuse(new, REASON_HANDOVER_UNKNOWN);
		(void)rig_allocate(r, old);
		offer(old);
		(void)take(new);
	}
END_TEST

START_TEST(a_new_secret_makes_the_old_one_void)
	{
		struct link *old = vmm(), *new = heir();
		uint8_t first[SECRET], second[SECRET];

		offer(old);
		memcpy(first, secret, SECRET);
		offer(old);
		memcpy(second, secret, SECRET);
		ck_assert_mem_ne(first, second, SECRET);
		memcpy(secret, first, SECRET);
		refuse(new, REASON_HANDOVER_UNKNOWN);
		memcpy(secret, second, SECRET);
		(void)take(new);
	}
END_TEST

START_TEST(it_waits_no_longer_than_it_said)
	{
		struct link *old = vmm(), *new = heir();

		offer(old);
		r->f.now_ms += WAIT - 1;
		ck_assert_uint_le(dispatch_next_tick(r->d), r->f.now_ms + 1);
		dispatch_tick(r->d);
		(void)take(new);
		offer(new);
		r->f.now_ms += WAIT; /* also where no tick has come since */
		refuse(connect_as(RIG_VMM_UID, RIVAL), REASON_HANDOVER_UNKNOWN);
		dispatch_tick(r->d);
		refuse(connect_as(RIG_VMM_UID, RIVAL), REASON_HANDOVER_UNKNOWN);
		(void)rig_allocate(r, new);
	}
END_TEST

/* Whoever is first has it; the other one loses nothing but that. */
START_TEST(the_old_one_may_come_back_first)
	{
		struct link *old = vmm(), *again = connect_as(RIG_VMM_UID, OLD), *new = heir();
		Pasid__V1__Hello hello = hello_with(PASID__V1__HELLO__RESUME_RESUME_TOKEN, token);

		offer(old);
		(void)rig_ok(r, again, OPERATION(HELLO), &hello);
		ck_assert(dispatch_doomed(old));
		(void)take(new);
		expect_bereft(again);
		refuse_resume(connect_as(RIG_VMM_UID, OLD));
	}
END_TEST

/* ---------------------------------------------------------------- who may not */

START_TEST(it_is_taken_once)
	{
		struct link *old = vmm(), *new = heir();

		offer(old);
		(void)take(new);
		refuse(connect_as(RIG_VMM_UID, RIVAL), REASON_HANDOVER_UNKNOWN);
		refuse(connect_as(RIG_VMM_UID, OLD), REASON_HANDOVER_UNKNOWN);
		refuse(connect_as(RIG_ADMIN_UID, HEIR), REASON_HANDOVER_UNKNOWN);
		(void)rig_allocate(r, new);
		/* only who has it, and was not answered, may say so again */
		(void)take(connect_as(RIG_VMM_UID, HEIR));
		ck_assert(dispatch_doomed(new));
		ck_assert_uint_eq(dispatch_edge(r->d, EDGE_HANDED_OVER), 1);
	}
END_TEST

START_TEST(secrets_are_not_guessed)
	{
		struct link *old = vmm(), *new = heir();
		uint8_t right[SECRET];
		Pasid__V1__Hello hello;

		offer(old);
		memcpy(right, secret, SECRET);
		for (size_t bit = 0; bit < 8 * (size_t)SECRET; bit++) {
			memcpy(secret, right, SECRET);
			secret[bit / 8] ^= (uint8_t)(1u << bit % 8);
			refuse(new, REASON_HANDOVER_UNKNOWN);
		}
		memset(secret, 0, SECRET);
		refuse(new, REASON_HANDOVER_UNKNOWN);
		memcpy(secret, right, SECRET);
		for (size_t length = 0; length < SECRET; length++) {
			hello = taking();
			hello.take_over.len = length;
			rig_refused(r, new, OPERATION(HELLO), &hello, REASON_HANDOVER_UNKNOWN);
		}
		/* neither is one kind of secret the other */
		hello = hello_with(PASID__V1__HELLO__RESUME_RESUME_TOKEN, right);
		rig_refused(r, new, OPERATION(HELLO), &hello, REASON_RESUME_UNKNOWN);
		hello = hello_with(PASID__V1__HELLO__RESUME_TAKE_OVER, token);
		rig_refused(r, new, OPERATION(HELLO), &hello, REASON_HANDOVER_UNKNOWN);
		(void)take(new);
	}
END_TEST

START_TEST(another_user_does_not_get_it)
	{
		struct link *old = vmm(), *new = heir();

		offer(old);
		refuse(connect_as(RIG_OBSERVER_UID, RIVAL), REASON_HANDOVER_UNKNOWN);
		refuse(connect_as(RIG_PARTICIPANT_UID, RIVAL), REASON_HANDOVER_UNKNOWN);
		refuse(connect_as(RIG_VMM_UID + 100, RIVAL), REASON_HANDOVER_UNKNOWN);
		(void)take(new);
	}
END_TEST

/* Where each VM has a user of its own, the one that starts them may pass a session on. */
START_TEST(who_may_be_an_admin_does)
	{
		struct link *old = vmm(), *new = connect_as(RIG_ADMIN_UID, HEIR);
		const Pasid__V1__HelloResult *hello;

		offer(old);
		hello = take(new);
		ck_assert_int_eq(hello->role, PASID__V1__ROLE__ROLE_VMM);
		keep_token(hello);
		rig_refused(r, new, OPERATION(RECOVER),
			&(Pasid__V1__Recover)PASID__V1__RECOVER__INIT, REASON_ROLE);
		/* it is that user's from then on */
		refuse_resume(connect_as(RIG_VMM_UID, OLD));
		offer(new);
		refuse(connect_as(RIG_VMM_UID, OLD), REASON_HANDOVER_UNKNOWN);
		rig_restart(r);
		new = connect_as(RIG_ADMIN_UID, HEIR);
		{
			Pasid__V1__Hello again =
				hello_with(PASID__V1__HELLO__RESUME_RESUME_TOKEN, token);

			(void)rig_ok(r, new, OPERATION(HELLO), &again);
		}
		(void)rig_allocate(r, new);
	}
END_TEST

START_TEST(the_role_is_asked_for_again)
	{
		struct link *old = vmm(), *new = heir();

		offer(old);
		r->f.policy.vmms.everyone = false;
		refuse(new, REASON_ROLE);
		r->f.policy.vmms.everyone = true;
		(void)take(new);
	}
END_TEST

START_TEST(who_only_looks_has_nothing_to_hand_over)
	{
		struct link *observer = rig_hello(r, ROLE_OBSERVER);
		struct link *participant = rig_hello(r, ROLE_PARTICIPANT);

		rig_refused(r, observer, OPERATION(HAND_OVER), &hand_over, REASON_ROLE);
		rig_refused(r, participant, OPERATION(HAND_OVER), &hand_over, REASON_ROLE);
		rig_refused(r, heir(), OPERATION(HAND_OVER), &hand_over, REASON_HELLO_FIRST);
	}
END_TEST

START_TEST(who_has_a_session_takes_no_other)
	{
		struct link *old = vmm(), *other = rig_hello(r, ROLE_VMM);

		offer(old);
		refuse(other, REASON_HELLO_TWICE);
		refuse(old, REASON_HELLO_TWICE);
		(void)rig_allocate(r, old);
	}
END_TEST

START_TEST(an_admins_session_goes_the_same_way)
	{
		Pasid__V1__Hello hello = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);
		struct link *old = connect_as(RIG_ADMIN_UID, OLD), *new;

		hello.role = PASID__V1__ROLE__ROLE_ADMIN;
		(void)rig_ok(r, old, OPERATION(HELLO), &hello);
		offer(old);
		refuse(heir(), REASON_HANDOVER_UNKNOWN);
		new = connect_as(RIG_ADMIN_UID, HEIR);
		ck_assert_int_eq(take(new)->role, PASID__V1__ROLE__ROLE_ADMIN);
		expect_bereft(old);
	}
END_TEST

/* ---------------------------------------------------------------- the daemon dies */

START_TEST(a_restart_makes_void_what_nobody_has_taken)
	{
		struct link *old = vmm(), *new;
		Pasid__V1__Hello hello = hello_with(PASID__V1__HELLO__RESUME_RESUME_TOKEN, token);

		(void)rig_allocate(r, old);
		offer(old);
		rig_restart(r);
		new = heir();
		refuse(new, REASON_HANDOVER_UNKNOWN);
		/* the old one goes on, and may ask anew */
		old = connect_as(RIG_VMM_UID, OLD);
		(void)rig_ok(r, old, OPERATION(HELLO), &hello);
		offer(old);
		(void)take(new);
		expect_bereft(old);
		ck_assert_uint_eq(status().pasids.current, 1);
	}
END_TEST

/* It died between the record and the answer: who took it says the same again (F43). */
START_TEST(what_was_taken_and_not_answered_is_answered_after_a_restart)
	{
		struct link *old = vmm(), *new = heir();
		const Pasid__V1__HelloResult *hello;
		uint8_t told[SECRET];
		Pasid__V1__Hello resume;

		(void)rig_allocate(r, old);
		offer(old);
		memcpy(told, take(new)->resume_token.data, SECRET);
		for (int i = 0; i < 2; i++) {
			rig_restart(r);
			refuse(connect_as(RIG_VMM_UID, OLD), REASON_HANDOVER_UNKNOWN);
			refuse(connect_as(RIG_VMM_UID, RIVAL), REASON_HANDOVER_UNKNOWN);
			refuse_resume(connect_as(RIG_VMM_UID, OLD));
			hello = take(heir());
			ck_assert(hello->resumed);
			ck_assert_mem_eq(hello->resume_token.data, told, SECRET);
		}
		/* and the token is worth as much to it */
		rig_restart(r);
		resume = hello_with(PASID__V1__HELLO__RESUME_RESUME_TOKEN, told);
		new = heir();
		(void)rig_ok(r, new, OPERATION(HELLO), &resume);
		(void)rig_allocate(r, new);
		ck_assert_uint_eq(status().pasids.current, 2);
		/* a slot that is used again remembers nothing of that */
		ck_assert_ptr_null(dispatch_disconnect(r->d, new, true, NULL));
		rig_run(r);
		(void)vmm();
		rig_restart(r);
		refuse(heir(), REASON_HANDOVER_UNKNOWN);
	}
END_TEST

/* The new process is dead when the daemon looks: it ends as any other. */
START_TEST(the_one_that_took_it_is_who_must_live)
	{
		struct link *old = vmm(), *new = heir();

		offer(old);
		(void)take(new);
		r->dead = OLD;
		rig_restart(r);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
		r->dead = HEIR;
		rig_restart(r);
		rig_run(r);
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
		ck_assert_uint_eq(status().sets, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		it_goes_on_with_all_that_it_has,
		the_old_token_is_worth_nothing_any_more,
		what_the_old_one_sends_then_is_not_done,
		what_is_under_way_ends_for_the_new_one,
		a_session_that_is_parked_can_be_taken,
		a_watch_stays_behind,
		a_death_before_is_a_death,
		the_end_of_the_grace_period_is_one_too,
		it_can_be_cancelled,
		a_new_secret_makes_the_old_one_void,
		it_waits_no_longer_than_it_said,
		the_old_one_may_come_back_first,
		it_is_taken_once,
		secrets_are_not_guessed,
		another_user_does_not_get_it,
		who_may_be_an_admin_does,
		the_role_is_asked_for_again,
		who_only_looks_has_nothing_to_hand_over,
		who_has_a_session_takes_no_other,
		an_admins_session_goes_the_same_way,
		a_restart_makes_void_what_nobody_has_taken,
		what_was_taken_and_not_answered_is_answered_after_a_restart,
		the_one_that_took_it_is_who_must_live,
	};

	return rig_main(&rig, "dispatch_handover", tests, ARRAY_SIZE(tests));
}
