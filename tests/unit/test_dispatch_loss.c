/* SPDX-License-Identifier: MIT */
/* Lost connections, resumed sessions, dead peers; and events. */
#include "dispatch_rig.h"

#include <malloc.h>
#include <string.h>

#define GRACE UINT64_C(30000)

static struct rig rig, *const r = &rig;
static int user; /* its address is what a server would keep for a parked session */

static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
static Pasid__V1__SetGet set_get = PASID__V1__SET_GET__INIT;
static Pasid__V1__Free free_all = PASID__V1__FREE__INIT;
static Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;

/* ---------------------------------------------------------------- loss */

/* A VMM with a set, whose token is noted. */
static struct link *vmm_with_token(uint8_t *ret_token)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	struct link *link = rig_connect(r, RIG_VMM_UID);
	const Pasid__V1__Reply *reply;

	hello.version_min = hello.version_max = 1;
	reply = rig_ok(r, link, OPERATION(HELLO), &hello);
	memcpy(ret_token, reply->hello->resume_token.data, WIRE_TOKEN_SIZE);
	create.name = "vm1";
	(void)rig_ok(r, link, OPERATION(SET_CREATE), &create);
	return link;
}

static Pasid__V1__Hello resume_message(uint8_t *token)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
	hello.resume_token = (ProtobufCBinaryData){WIRE_TOKEN_SIZE, token};
	return hello;
}

static uint32_t sets(void)
{
	struct broker_status status;

	broker_status(r->f.broker, &status);
	return status.sets;
}

/* Roles may be for a cgroup: another process of the user need not be in it. */
START_TEST(a_session_is_not_resumed_by_who_may_not_have_its_role)
	{
		uint8_t token[WIRE_TOKEN_SIZE];
		struct link *link = vmm_with_token(token), *other = rig_connect(r, RIG_VMM_UID);
		Pasid__V1__Hello hello = resume_message(token);

		r->f.policy.vmms.everyone = false;
		rig_refused(r, other, OPERATION(HELLO), &hello, REASON_ROLE);
		ck_assert(!dispatch_doomed(link));
		(void)rig_allocate(r, link);
		r->f.policy.vmms.everyone = true;
		ck_assert(rig_ok(r, other, OPERATION(HELLO), &hello)->hello->resumed);
		ck_assert(dispatch_doomed(link));
	}
END_TEST

START_TEST(a_lost_session_is_resumed_with_its_set_and_its_replies)
	{
		uint8_t token[WIRE_TOKEN_SIZE];
		struct link *link = vmm_with_token(token);
		Pasid__V1__Hello hello = resume_message(token);
		const Pasid__V1__Reply *reply;
		uint32_t number;

		rig_begin(r);
		rig_add_as(r, 50, RIG_NO_DEADLINE, 0, OPERATION(ALLOCATE), &allocate);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		/* lost before the reply was read */
		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, link, false, &user));
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
		r->f.now_ms += GRACE - 1;
		dispatch_tick(r->d);
		ck_assert_uint_eq(r->unparks, 0);

		link = rig_connect(r, RIG_VMM_UID);
		reply = rig_ok(r, link, OPERATION(HELLO), &hello);
		ck_assert(reply->hello->resumed);
		ck_assert_uint_ne(reply->hello->set, 0);
		ck_assert_uint_eq(reply->hello->last_id, 50);
		ck_assert_ptr_eq(r->unparked, &user);
		ck_assert_uint_eq(r->unparks, 1);
		rig_begin(r);
		rig_add_as(r, 50, RIG_NO_DEADLINE, 0, OPERATION(ALLOCATE), &allocate);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		number = rig_reply(r, link, 50)->allocate->runs[0]->first;
		ck_assert_uint_eq(number, 1024);
		ck_assert_uint_eq(
			rig_ok(r, link, OPERATION(SET_GET), &set_get)->set_get->active, 1);
		r->f.now_ms += 10 * GRACE; /* it does not end any more */
		dispatch_tick(r->d);
		ck_assert_uint_eq(sets(), 1);
	}
END_TEST

START_TEST(a_session_ends_with_its_grace_period)
	{
		uint8_t token[WIRE_TOKEN_SIZE];
		struct link *link = vmm_with_token(token);
		Pasid__V1__Hello hello = resume_message(token);

		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, link, false, &user));
		ck_assert_uint_eq(dispatch_next_tick(r->d), r->f.now_ms + GRACE);
		r->f.now_ms += GRACE;
		dispatch_tick(r->d);
		rig_run(r);
		ck_assert_ptr_eq(r->unparked, &user);
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
		ck_assert_uint_eq(sets(), 0);
		rig_refused(r, rig_connect(r, RIG_VMM_UID), OPERATION(HELLO), &hello,
			REASON_RESUME_UNKNOWN);
	}
END_TEST

START_TEST(a_dead_peer_ends_its_session_now)
	{
		uint8_t token[WIRE_TOKEN_SIZE];
		struct link *link = vmm_with_token(token);
		struct session *parked;

		ck_assert_ptr_null(dispatch_disconnect(r->d, link, true, &user));
		rig_run(r);
		ck_assert_uint_eq(sets(), 0);
		ck_assert_uint_eq(r->unparks, 0); /* it was never taken */

		link = vmm_with_token(token);
		parked = dispatch_disconnect(r->d, link, false, &user);
		dispatch_peer_dead(r->d, parked);
		rig_run(r);
		ck_assert_uint_eq(sets(), 0);
		ck_assert_uint_eq(r->unparks, 1);
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
	}
END_TEST

START_TEST(a_connection_without_a_session_leaves_nothing)
	{
		ck_assert_ptr_null(
			dispatch_disconnect(r->d, rig_connect(r, RIG_VMM_UID), false, &user));
		ck_assert_ptr_null(
			dispatch_disconnect(r->d, rig_hello(r, ROLE_OBSERVER), false, &user));
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
	}
END_TEST

START_TEST(resuming_takes_a_session_from_a_connection_that_is_still_there)
	{
		uint8_t token[WIRE_TOKEN_SIZE];
		struct link *old = vmm_with_token(token), *link = rig_connect(r, RIG_VMM_UID);
		Pasid__V1__Hello hello = resume_message(token);

		(void)rig_ok(r, link, OPERATION(HELLO), &hello);
		ck_assert(dispatch_doomed(old));
		ck_assert_ptr_eq(dispatch_next_output(r->d), old); /* so that it is noticed */
		ck_assert_ptr_null(dispatch_disconnect(r->d, old, false, &user));
		ck_assert_uint_eq(sets(), 1);
		(void)rig_allocate(r, link);
	}
END_TEST

START_TEST(a_token_of_another_user_is_unknown)
	{
		uint8_t token[WIRE_TOKEN_SIZE];
		struct link *link = vmm_with_token(token);
		Pasid__V1__Hello hello = resume_message(token);

		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, link, false, &user));
		rig_refused(r, rig_connect(r, RIG_VMM_UID + 7), OPERATION(HELLO), &hello,
			REASON_RESUME_UNKNOWN);
	}
END_TEST

START_TEST(work_goes_on_while_nobody_is_connected)
	{
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		uint8_t token[WIRE_TOKEN_SIZE];
		struct link *link = vmm_with_token(token);
		Pasid__V1__Hello hello = resume_message(token);

		rig_begin(r);
		rig_add_as(r, 50, 500, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, link, (int[]){5, MODEL_DEVICE_FD(8)}, 2), 0);
		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, link, false, &user));
		r->f.now_ms += 1000; /* nobody is there to be told PENDING */
		dispatch_tick(r->d);
		rig_run(r);
		link = rig_connect(r, RIG_VMM_UID);
		(void)rig_ok(r, link, OPERATION(HELLO), &hello);
		rig_begin(r);
		rig_add_as(r, 50, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, link, (int[]){6, 7}, 2), 0);
		ck_assert_ptr_null(rig_reply(r, link, 50)->status);
	}
END_TEST

START_TEST(a_session_may_end_under_its_operations)
	{
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);

		rig_begin(r);
		rig_add_as(r, 50, 500, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, link, (int[]){5, MODEL_DEVICE_FD(8)}, 2), 0);
		ck_assert_ptr_null(dispatch_disconnect(r->d, link, true, NULL));
		rig_run(r);
		ck_assert_uint_eq(dispatch_operations(r->d), 0);
		ck_assert_uint_eq(sets(), 0);
		r->f.now_ms += 1000;
		dispatch_tick(r->d);
	}
END_TEST

START_TEST(what_is_left_at_the_end_comes_back)
	{
		Pasid__V1__Ping ping = PASID__V1__PING__INIT;
		struct link *link = rig_hello(r, ROLE_VMM);

		(void)dispatch_disconnect(r->d, rig_hello(r, ROLE_VMM), false, &user);
		rig_begin(r);
		rig_add(r, OPERATION(PING), &ping);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		rig_close(r);
		ck_assert_uint_eq(r->unparks, 1);
		rig_config(r);
		rig_open(r);
	}
END_TEST

START_TEST(an_idle_connection_costs_little)
	{
		const unsigned count = 1000;
		struct mallinfo2 before, after;

		rig_close(r);
		rig_config(r);
		rig_open(r);
		(void)rig_hello(r, ROLE_VMM); /* buffers that all share */
		before = mallinfo2();
		for (unsigned i = 0; i < count; i++)
			(void)rig_hello(r, ROLE_VMM);
		after = mallinfo2();
		/* a sanitizer's allocator does not count here, and then this proves nothing */
		ck_assert_uint_le(after.uordblks - before.uordblks, UINT64_C(360) * count);
	}
END_TEST

/* ---------------------------------------------------------------- events */

static void expect_event(size_t i, Pasid__V1__EventKind kind, uint32_t host)
{
	ck_assert_uint_gt(r->got->n_events, i);
	ck_assert_int_eq(r->got->events[i]->kind, kind);
	ck_assert_uint_eq(r->got->events[i]->host_pasid, host);
}

START_TEST(a_watcher_hears_of_its_own_set_only)
	{
		struct link *vm1 = rig_vmm(r, "vm1", SET_TRANSLATED);
		struct link *vm2 = rig_vmm(r, "vm2", SET_TRANSLATED);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint32_t number;

		(void)rig_ok(r, vm1, OPERATION(WATCH), &watch);
		(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
		(void)rig_ok(r, admin, OPERATION(WATCH), &watch); /* twice is once */
		(void)rig_allocate(r, vm2);
		ck_assert(!rig_read(r, vm1));
		ck_assert(rig_read(r, admin));
		ck_assert_uint_eq(r->got->n_events, 1);
		ck_assert(!rig_read(r, admin));
		number = rig_allocate(r, vm1);
		expect_event(0, PASID__V1__EVENT_KIND__EVENT_GRANT_ALLOCATED, number);
		ck_assert(rig_read(r, admin));
		expect_event(0, PASID__V1__EVENT_KIND__EVENT_GRANT_ALLOCATED, number);
	}
END_TEST

START_TEST(a_watch_begins_where_it_says_and_ends_when_told)
	{
		struct link *vm1 = rig_vmm(r, "vm1", SET_TRANSLATED);
		uint64_t next;

		(void)rig_allocate(r, vm1);
		next = rig_ok(r, vm1, OPERATION(WATCH), &watch)->watch->next_sequence;
		ck_assert_uint_eq(r->got->n_events, 0);
		(void)rig_allocate(r, vm1);
		ck_assert_uint_eq(r->got->n_events, 1);
		ck_assert_uint_eq(r->got->events[0]->sequence, next);
		watch.stop = true;
		(void)rig_ok(r, vm1, OPERATION(WATCH), &watch);
		(void)rig_allocate(r, vm1);
		ck_assert_uint_eq(r->got->n_events, 0);
	}
END_TEST

START_TEST(a_watch_goes_with_the_set_that_comes_later_and_hears_its_end)
	{
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		struct link *vmm = rig_hello(r, ROLE_VMM);

		(void)rig_ok(r, vmm, OPERATION(WATCH), &watch);
		create.name = "vm1";
		(void)rig_ok(r, vmm, OPERATION(SET_CREATE), &create);
		expect_event(0, PASID__V1__EVENT_KIND__EVENT_SET_CREATED, 0);
		(void)rig_ok(r, vmm, OPERATION(SET_DESTROY), &destroy);
		expect_event(0, PASID__V1__EVENT_KIND__EVENT_SET_ENDING, 0);
		expect_event(1, PASID__V1__EVENT_KIND__EVENT_SET_DESTROYED, 0);
		ck_assert_uint_eq(link_set(vmm).v, 0);
		/* and it may have another one */
		(void)rig_ok(r, vmm, OPERATION(SET_CREATE), &create);
		expect_event(0, PASID__V1__EVENT_KIND__EVENT_SET_CREATED, 0);
	}
END_TEST

START_TEST(a_guest_number_is_in_its_event)
	{
		Pasid__V1__GuestAttach attach = PASID__V1__GUEST_ATTACH__INIT;
		struct link *vm1 = rig_vmm(r, "vm1", SET_TRANSLATED);

		(void)rig_ok(r, vm1, OPERATION(WATCH), &watch);
		attach.host_pasid = rig_allocate(r, vm1);
		attach.guest_pasid = 7;
		(void)rig_ok(r, vm1, OPERATION(GUEST_ATTACH), &attach);
		expect_event(0, PASID__V1__EVENT_KIND__EVENT_GUEST_ATTACHED, attach.host_pasid);
		ck_assert_int_eq(
			r->got->events[0]->guest_case, PASID__V1__EVENT__GUEST_GUEST_PASID);
		ck_assert_uint_eq(r->got->events[0]->guest_pasid, 7);
	}
END_TEST

/* Reads all events; returns how many there were, adds what is said to be lost. */
static unsigned read_events(struct link *link, uint64_t *ret_lost)
{
	uint64_t last = 0;
	unsigned count = 0;

	while (rig_read(r, link)) {
		for (size_t i = 0; i < r->got->n_events; i++) {
			ck_assert_uint_gt(r->got->events[i]->sequence, last);
			last = r->got->events[i]->sequence;
			*ret_lost += r->got->events[i]->lost;
			if (r->got->events[i]->kind == PASID__V1__EVENT_KIND__EVENT_UNSPECIFIED)
				ck_assert_uint_gt(r->got->events[i]->lost, 0);
			else
				count++;
		}
	}
	return count;
}

START_TEST(events_that_are_not_read_are_counted_as_lost)
	{
		struct link *vm1 = rig_vmm(r, "vm1", SET_TRANSLATED);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__Allocate many = PASID__V1__ALLOCATE__INIT;
		uint64_t lost = 0, first;

		(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
		many.count = 512;
		for (int i = 0; i < 2; i++)
			(void)rig_ok(r, vm1, OPERATION(ALLOCATE), &many);
		ck_assert_uint_eq(read_events(admin, &lost), 1024);
		ck_assert_uint_eq(lost, 0);
		/* more than one event for each of 1024 numbers, and room for 1024 */
		free_all.all = true;
		first = broker_change_sequence(r->f.broker);
		(void)rig_ok(r, vm1, OPERATION(FREE), &free_all);
		r->f.now_ms += 2000;
		dispatch_tick(r->d);
		ck_assert_uint_eq(read_events(admin, &lost), 1024);
		ck_assert_uint_eq(lost, broker_change_sequence(r->f.broker) - first - 1024);
		ck_assert_uint_gt(lost, 0);
		/* and then it goes on */
		lost = 0;
		(void)rig_allocate(r, vm1);
		ck_assert_uint_eq(read_events(admin, &lost), 1);
		ck_assert_uint_eq(lost, 0);
	}
END_TEST

START_TEST(more_changes_than_the_broker_keeps_are_lost_visibly)
	{
		Pasid__V1__Allocate many = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		struct link *vm1 = rig_hello(r, ROLE_VMM), *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t lost = 0, first, last;

		create.name = "vm1";
		create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
		create.pasids = 20000;
		(void)rig_ok(r, vm1, OPERATION(SET_CREATE), &create);
		many.count = 4096;
		for (int i = 0; i < 4; i++)
			(void)rig_ok(r, vm1, OPERATION(ALLOCATE), &many);
		first = rig_ok(r, admin, OPERATION(WATCH), &watch)->watch->next_sequence;
		free_all.all = true;
		(void)rig_ok(r, vm1, OPERATION(FREE), &free_all);
		last = broker_change_sequence(r->f.broker);
		ck_assert_uint_ge(last - first, 16384);
		ck_assert_uint_eq(read_events(admin, &lost) + lost, last - first);
		ck_assert_uint_gt(lost, 8000);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_session_is_not_resumed_by_who_may_not_have_its_role,
		a_lost_session_is_resumed_with_its_set_and_its_replies,
		a_session_ends_with_its_grace_period,
		a_dead_peer_ends_its_session_now,
		a_connection_without_a_session_leaves_nothing,
		resuming_takes_a_session_from_a_connection_that_is_still_there,
		a_token_of_another_user_is_unknown,
		work_goes_on_while_nobody_is_connected,
		a_session_may_end_under_its_operations,
		what_is_left_at_the_end_comes_back,
		an_idle_connection_costs_little,
		a_watcher_hears_of_its_own_set_only,
		a_watch_begins_where_it_says_and_ends_when_told,
		a_watch_goes_with_the_set_that_comes_later_and_hears_its_end,
		a_guest_number_is_in_its_event,
		events_that_are_not_read_are_counted_as_lost,
		more_changes_than_the_broker_keeps_are_lost_visibly,
	};

	return rig_main(r, "dispatch_loss", tests, ARRAY_SIZE(tests));
}
