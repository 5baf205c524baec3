/* SPDX-License-Identifier: MIT */
/* Connections that serve one set; participants. */
#include "dispatch_rig.h"

#include <string.h>

static struct rig rig;

/* A set of the admin's. */
static uint64_t make_set(struct rig *r, struct link *admin, const char *name)
{
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;

	create.name = (char *)name;
	return rig_ok(r, admin, OPERATION(SET_CREATE), &create)->set_create->id;
}

static Pasid__V1__SetRef ref_of(uint64_t set)
{
	Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;

	ref.key_case = PASID__V1__SET_REF__KEY_ID;
	ref.id = set;
	return ref;
}

static const Pasid__V1__Reply *try_connect(struct rig *r, struct link *admin, uint64_t set)
{
	Pasid__V1__SetRef ref = ref_of(set);
	Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;

	connect.set = &ref;
	return rig_call(r, admin, OPERATION(SET_CONNECT), &connect);
}

static Pasid__V1__Hello hello_as(Pasid__V1__Role role)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.role = role;
	return hello;
}

/* A handed connection on which the user has said hello. */
static struct link *handed_vmm(struct rig *r, struct link *admin, uint64_t set, uint32_t uid)
{
	Pasid__V1__Hello hello = hello_as(PASID__V1__ROLE__ROLE_UNSPECIFIED);
	struct link *link = rig_hand(r, admin, set);

	rig_identify(r, link, uid);
	(void)rig_ok(r, link, OPERATION(HELLO), &hello);
	return link;
}

static const Pasid__V1__SetInfo *info_of(struct rig *r, struct link *admin, uint64_t set)
{
	Pasid__V1__SetRef ref = ref_of(set);
	Pasid__V1__SetGet get = PASID__V1__SET_GET__INIT;

	get.set = &ref;
	return rig_ok(r, admin, OPERATION(SET_GET), &get)->set_get;
}

START_TEST(hello_makes_a_vmm_of_that_set)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a");
		struct link *link = rig_hand(r, admin, set);
		Pasid__V1__Hello hello = hello_as(PASID__V1__ROLE__ROLE_VMM);
		const Pasid__V1__Reply *reply;

		/* even where the policy lets nobody be one */
		r->f.policy.vmms.everyone = false;
		rig_identify(r, link, RIG_VMM_UID);
		reply = rig_ok(r, link, OPERATION(HELLO), &hello);
		ck_assert_uint_eq(reply->hello->set, set);
		ck_assert_int_eq(reply->hello->role, PASID__V1__ROLE__ROLE_VMM);
		ck_assert_uint_eq(reply->hello->resume_token.len, 0);
		ck_assert_uint_eq(reply->hello->grace_ms, 0);
		ck_assert_uint_eq(link_set(link).v, set);
		(void)rig_allocate(r, link);
		ck_assert_uint_eq(info_of(r, admin, set)->active, 1);
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_HELLO_TWICE);
	}
END_TEST

START_TEST(it_is_a_vmm_and_nothing_else)
	{
		static const Pasid__V1__Role roles[] = {PASID__V1__ROLE__ROLE_ADMIN,
			PASID__V1__ROLE__ROLE_OBSERVER, PASID__V1__ROLE__ROLE_PARTICIPANT};
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *link = rig_hand(r, admin, make_set(r, admin, "a"));
		Pasid__V1__Hello hello;

		rig_identify(r, link, RIG_ADMIN_UID);
		for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
			hello = hello_as(roles[i]);
			rig_refused(r, link, OPERATION(HELLO), &hello, REASON_ROLE);
		}
		ck_assert_uint_eq(link_session(link), 0);
	}
END_TEST

START_TEST(who_cannot_be_known_is_refused)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *link = rig_hand(r, admin, make_set(r, admin, "a"));
		Pasid__V1__Hello hello = hello_as(PASID__V1__ROLE__ROLE_VMM);
		Pasid__V1__Ping ping = PASID__V1__PING__INIT;

		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_PEER);
		(void)rig_ok(r, link, OPERATION(PING), &ping);
		/* who was known before does not count: the descriptor may have gone on */
		rig_identify(r, link, RIG_VMM_UID);
		rig_identify(r, link, RIG_NOBODY);
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_PEER);
	}
END_TEST

START_TEST(sessions_are_not_taken_up_on_it_nor_from_it)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *link = rig_hand(r, admin, make_set(r, admin, "a"));
		Pasid__V1__Hello hello = hello_as(PASID__V1__ROLE__ROLE_VMM);
		uint64_t before;
		uint8_t token[16];

		hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
		hello.resume_token.data = token;
		hello.resume_token.len = sizeof(token);
		memset(token, 0, sizeof(token));
		rig_identify(r, link, RIG_VMM_UID);
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_RESUME_UNKNOWN);
		/* the token is not told: look at what the source of randomness gave for it */
		before = r->random;
		hello.resume_case = PASID__V1__HELLO__RESUME__NOT_SET;
		(void)rig_ok(r, link, OPERATION(HELLO), &hello);
		r->random = before;
		rig_random(r, token, sizeof(token));
		hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
		rig_refused(r, rig_connect(r, RIG_VMM_UID), OPERATION(HELLO), &hello,
			REASON_RESUME_UNKNOWN);
		ck_assert_uint_ne(link_session(link), 0);
	}
END_TEST

START_TEST(the_set_itself_is_the_admins)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a"), other = make_set(r, admin, "b");
		struct link *link = handed_vmm(r, admin, set, RIG_ADMIN_UID);
		uint64_t sets[] = {set, other};

		for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
			Pasid__V1__SetRef ref = ref_of(sets[i]);
			Pasid__V1__SetAdjust adjust = PASID__V1__SET_ADJUST__INIT;
			Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
			Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;

			adjust.set = destroy.set = connect.set = &ref;
			rig_refused(r, link, OPERATION(SET_ADJUST), &adjust, REASON_ROLE);
			rig_refused(r, link, OPERATION(SET_DESTROY), &destroy, REASON_ROLE);
			rig_refused(r, link, OPERATION(SET_CONNECT), &connect, REASON_ROLE);
		}
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		create.name = (char *)"c";
		rig_refused(r, link, OPERATION(SET_CREATE), &create, REASON_ROLE);
	}
END_TEST

START_TEST(its_set_may_be_named_and_others_do_not_exist)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a"), other = make_set(r, admin, "b");
		struct link *link = handed_vmm(r, admin, set, RIG_VMM_UID);
		Pasid__V1__SetRef mine = ref_of(set), foreign = ref_of(other);
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__SetList list = PASID__V1__SET_LIST__INIT;

		allocate.set = &mine;
		(void)rig_ok(r, link, OPERATION(ALLOCATE), &allocate);
		allocate.set = &foreign;
		rig_refused(r, link, OPERATION(ALLOCATE), &allocate, REASON_NO_SET);
		foreign = ref_of(other + 1);
		rig_refused(r, link, OPERATION(ALLOCATE), &allocate, REASON_NO_SET);
		ck_assert_uint_eq(rig_ok(r, link, OPERATION(SET_LIST), &list)->set_list->n_sets, 1);
	}
END_TEST

START_TEST(a_set_has_one_at_a_time)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a");
		struct link *link = rig_hand(r, admin, set);

		rig_expect(r, try_connect(r, admin, set), REASON_SET_CONNECTED);
		ck_assert_uint_eq(r->hands, 1);
		/* closed before anybody said hello */
		ck_assert_ptr_null(dispatch_disconnect(r->d, link, false, NULL));
		link = handed_vmm(r, admin, set, RIG_VMM_UID);
		rig_expect(r, try_connect(r, admin, set), REASON_SET_CONNECTED);
		ck_assert_ptr_null(dispatch_disconnect(r->d, link, false, NULL));
		(void)handed_vmm(r, admin, set, RIG_VMM_UID);
	}
END_TEST

START_TEST(an_end_is_noticed_at_the_latest_when_another_is_asked_for)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a"), other = make_set(r, admin, "b");

		(void)rig_hand(r, admin, set);
		r->handed_over = true;
		(void)rig_hand(r, admin, set);
		r->handed_over = false;
		rig_expect(r, try_connect(r, admin, set), REASON_SET_CONNECTED);
		(void)dispatch_disconnect(r->d, r->handed, false, NULL);
		(void)rig_device(r, handed_vmm(r, admin, other, RIG_VMM_UID), 1, 10);
		r->handed_over = true;
		rig_expect(r, try_connect(r, admin, other), REASON_SET_EMPTYING);
	}
END_TEST

START_TEST(a_vmms_own_set_has_its_connection)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *vmm = rig_vmm(r, "a", SET_TRANSLATED);

		rig_expect(r, try_connect(r, admin, link_set(vmm).v), REASON_SET_CONNECTED);
		rig_expect(r, try_connect(r, admin, 12345), REASON_NO_SET);
		rig_expect(r, try_connect(r, vmm, link_set(vmm).v), REASON_ROLE);
	}
END_TEST

START_TEST(its_end_empties_the_set)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a");
		struct link *link = handed_vmm(r, admin, set, RIG_VMM_UID);
		const Pasid__V1__SetInfo *info;

		(void)rig_allocate(r, link);
		(void)rig_device(r, link, 1, 10);
		/* the process lives, and still there is no grace period */
		ck_assert_ptr_null(dispatch_disconnect(r->d, link, false, NULL));
		rig_expect(r, try_connect(r, admin, set), REASON_SET_EMPTYING);
		rig_run(r);
		info = info_of(r, admin, set);
		ck_assert_uint_eq(info->active + info->devices, 0);
		ck_assert_uint_eq(info->quarantined, 1);
		ck_assert(!info->dying);
		(void)rig_device(r, handed_vmm(r, admin, set, RIG_VMM_UID), 1, 11);
	}
END_TEST

START_TEST(the_admins_end_changes_nothing)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *link = handed_vmm(r, admin, make_set(r, admin, "a"), RIG_VMM_UID);

		(void)dispatch_disconnect(r->d, admin, true, NULL);
		rig_run(r);
		(void)rig_allocate(r, link);
	}
END_TEST

START_TEST(the_end_of_the_set_ends_it_after_its_replies)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN), *next;
		uint64_t set = make_set(r, admin, "a"), id;
		struct link *link = handed_vmm(r, admin, set, RIG_VMM_UID);
		Pasid__V1__SetRef ref = ref_of(set);
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		int fds[] = {10, MODEL_DEVICE_FD(1)};

		destroy.set = &ref;
		destroy.force = true;
		rig_begin(r);
		id = ++r->last_id;
		rig_add_as(r, id, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
		(void)rig_ok(r, admin, OPERATION(SET_DESTROY), &destroy);
		ck_assert(!dispatch_readable(r->d, link));
		ck_assert_msg(!dispatch_doomed(link), "closed before its reply was sent");
		(void)rig_reply(r, link, id);
		ck_assert(dispatch_doomed(link));
		while ((next = dispatch_next_output(r->d)) && next != link)
			;
		ck_assert_ptr_eq(next, link);
		ck_assert_ptr_null(dispatch_disconnect(r->d, link, false, NULL));
	}
END_TEST

/* It goes with its own set, when that is gone, and not with another one before. */
START_TEST(one_that_waits_for_the_hardware_ends_when_its_set_has)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a"), other = make_set(r, admin, "b");
		struct link *link = handed_vmm(r, admin, set, RIG_VMM_UID);
		Pasid__V1__SetRef ref = ref_of(set);
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		int fds[] = {10, MODEL_DEVICE_FD(1)};

		r->f.model.hung_lane = set;
		destroy.set = &ref;
		destroy.force = true;
		rig_begin(r);
		rig_add_as(r, ++r->last_id, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
		rig_begin(r);
		(void)rig_add(r, OPERATION(SET_DESTROY), &destroy);
		ck_assert_int_eq(rig_send(r, admin, NULL, 0), 0);
		ref = ref_of(other);
		(void)rig_ok(r, admin, OPERATION(SET_DESTROY), &destroy);
		ck_assert(dispatch_readable(r->d, link));
		ck_assert(!dispatch_doomed(link));
		r->f.model.hung_lane = 0;
		rig_run(r);
		ck_assert(!dispatch_readable(r->d, link));
		while (rig_read(r, link))
			ck_assert_uint_ge(r->got->n_replies, 1);
		ck_assert(dispatch_doomed(link));
		ck_assert_ptr_null(dispatch_disconnect(r->d, link, false, NULL));
	}
END_TEST

START_TEST(one_that_nobody_used_ends_with_its_set)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a");
		struct link *link = rig_hand(r, admin, set);
		struct link *other = rig_hand(r, admin, make_set(r, admin, "b"));
		Pasid__V1__SetRef ref = ref_of(set);
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;

		destroy.set = &ref;
		(void)rig_ok(r, admin, OPERATION(SET_DESTROY), &destroy);
		ck_assert(dispatch_doomed(link));
		ck_assert(!dispatch_doomed(other));
	}
END_TEST

START_TEST(a_repeated_request_makes_no_other_connection)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef ref = ref_of(make_set(r, admin, "a"));
		Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;
		const Pasid__V1__Reply *reply;

		connect.set = &ref;
		(void)rig_ok(r, admin, OPERATION(SET_CONNECT), &connect);
		ck_assert_int_eq(r->got_fd, RIG_HANDED_FD);
		ck_assert_uint_eq(r->own_closed_count, 1);
		rig_begin(r);
		rig_add_as(r, r->last_id, RIG_NO_DEADLINE, 0, OPERATION(SET_CONNECT), &connect);
		ck_assert_int_eq(rig_send(r, admin, NULL, 0), 0);
		reply = rig_reply(r, admin, r->last_id);
		rig_expect(r, reply, REASON_FD_NOT_KEPT);
		ck_assert_uint_eq(reply->set_connect->id, ref.id);
		ck_assert_int_eq(r->got_fd, -1);
		ck_assert_uint_eq(r->hands, 1);
	}
END_TEST

START_TEST(a_reply_that_is_never_sent_closes_what_goes_with_it)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef ref = ref_of(make_set(r, admin, "a"));
		Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;

		connect.set = &ref;
		rig_begin(r);
		(void)rig_add(r, OPERATION(SET_CONNECT), &connect);
		ck_assert_int_eq(rig_send(r, admin, NULL, 0), 0);
		(void)dispatch_disconnect(r->d, admin, true, NULL);
		ck_assert_uint_eq(r->own_closed_count, 1);
		ck_assert_int_eq(r->own_closed[0], RIG_HANDED_FD);
		ck_assert_uint_eq(r->disposed_count, 0);
		/* its closing is what the server sees next */
		ck_assert_ptr_null(dispatch_disconnect(r->d, r->handed, false, NULL));
	}
END_TEST

START_TEST(what_cannot_be_made_is_refused_and_may_be_tried_again)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a");

		r->refuse_hand = REASON_OVERLOAD;
		rig_expect(r, try_connect(r, admin, set), REASON_OVERLOAD);
		r->refuse_hand = REASON_NONE;
		(void)rig_hand(r, admin, set);
	}
END_TEST

START_TEST(the_sets_user_is_charged)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *link = handed_vmm(r, admin, make_set(r, admin, "a"), RIG_VMM_UID);
		uint32_t cursor = 0, user;

		while (limits_next_user(r->config.limits, &cursor, &user)) {
			uint32_t sessions =
				limits_account(r->config.limits, user, RESOURCE_SESSIONS)->current;

			ck_assert_uint_eq(sessions,
				limits_user_uid(r->config.limits, user) == RIG_ADMIN_UID ? 2 : 0);
		}
		ck_assert_ptr_null(dispatch_disconnect(r->d, link, true, NULL));
		ck_assert_uint_eq(limits_sum(r->config.limits, RESOURCE_SESSIONS), 1);
	}
END_TEST

START_TEST(it_hears_of_its_set)
	{
		struct rig *r = &rig;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t set = make_set(r, admin, "a"), other = make_set(r, admin, "b");
		struct link *link = handed_vmm(r, admin, set, RIG_VMM_UID);
		Pasid__V1__SetRef ref = ref_of(other);
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;

		(void)rig_ok(r, link, OPERATION(WATCH), &watch);
		allocate.set = &ref;
		(void)rig_ok(r, admin, OPERATION(ALLOCATE), &allocate);
		ck_assert(!rig_read(r, link));
		ref.id = set;
		(void)rig_ok(r, admin, OPERATION(ALLOCATE), &allocate);
		ck_assert(rig_read(r, link));
		ck_assert_uint_eq(r->got->n_events, 1);
		ck_assert_uint_eq(r->got->events[0]->set, set);
	}
END_TEST

/* ---------------------------------------------------------------- participants */

START_TEST(a_participant_hears_everything_and_finds_owners)
	{
		struct rig *r = &rig;
		struct link *link = rig_hello(r, ROLE_PARTICIPANT);
		struct link *vmm = rig_vmm(r, "a", SET_TRANSLATED);
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
		Pasid__V1__HostFind find = PASID__V1__HOST_FIND__INIT;
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		const Pasid__V1__GrantInfo *found;

		(void)rig_ok(r, link, OPERATION(WATCH), &watch);
		allocate.data = 77;
		find.host_pasid =
			rig_ok(r, vmm, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first;
		ck_assert(rig_read(r, link));
		ck_assert_uint_eq(r->got->n_events, 1);
		found = rig_ok(r, link, OPERATION(HOST_FIND), &find)->host_find;
		ck_assert_uint_eq(found->set, link_set(vmm).v);
		ck_assert_msg(found->data == 0, "private data is the set's");
		find.host_pasid++;
		found = rig_ok(r, link, OPERATION(HOST_FIND), &find)->host_find;
		ck_assert_int_eq(found->state, PASID__V1__GRANT_STATE__GRANT_IDLE);
		/* it may hold numbers, so that it can come back */
		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, link, false, NULL));
	}
END_TEST

START_TEST(a_participant_sees_and_changes_nothing_else)
	{
		struct rig *r = &rig;
		struct link *link = rig_hello(r, ROLE_PARTICIPANT);
		Pasid__V1__SetList list = PASID__V1__SET_LIST__INIT;
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;

		create.name = (char *)"a";
		rig_refused(r, link, OPERATION(SET_LIST), &list, REASON_ROLE);
		rig_refused(r, link, OPERATION(SET_CREATE), &create, REASON_ROLE);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		hello_makes_a_vmm_of_that_set,
		it_is_a_vmm_and_nothing_else,
		who_cannot_be_known_is_refused,
		sessions_are_not_taken_up_on_it_nor_from_it,
		the_set_itself_is_the_admins,
		its_set_may_be_named_and_others_do_not_exist,
		a_set_has_one_at_a_time,
		an_end_is_noticed_at_the_latest_when_another_is_asked_for,
		a_vmms_own_set_has_its_connection,
		its_end_empties_the_set,
		the_admins_end_changes_nothing,
		the_end_of_the_set_ends_it_after_its_replies,
		one_that_waits_for_the_hardware_ends_when_its_set_has,
		one_that_nobody_used_ends_with_its_set,
		a_repeated_request_makes_no_other_connection,
		a_reply_that_is_never_sent_closes_what_goes_with_it,
		what_cannot_be_made_is_refused_and_may_be_tried_again,
		the_sets_user_is_charged,
		it_hears_of_its_set,
		a_participant_hears_everything_and_finds_owners,
		a_participant_sees_and_changes_nothing_else,
	};

	return rig_main(&rig, "dispatch_connect", tests, ARRAY_SIZE(tests));
}
