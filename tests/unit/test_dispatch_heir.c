/* SPDX-License-Identifier: MIT */
/* F43, F46: a session on a connection that was made for its set goes to another process. */
#include "handover_rig.h"

/* ---------------------------------------------------------------- handed connections */

static uint64_t handed_set;

/* A set of an admin's, and its VMM on the connection that was made for it. */
static struct link *handed_vmm(void)
{
	struct link *admin = rig_hello(r, ROLE_ADMIN), *link;
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	Pasid__V1__Hello hello = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);

	create.name = (char *)"vm";
	handed_set = rig_ok(r, admin, OPERATION(SET_CREATE), &create)->set_create->id;
	link = rig_hand(r, admin, handed_set);
	rig_identify(r, link, RIG_VMM_UID);
	(void)rig_ok(r, link, OPERATION(HELLO), &hello);
	return link;
}

static struct link *offer_handed(struct link *link)
{
	unsigned before = r->hands;

	offer(link);
	ck_assert_uint_eq(r->hands, before + 1);
	ck_assert_int_eq(r->got_fd, RIG_HANDED_FD + (int)before);
	rig_identify(r, r->handed, RIG_VMM_UID);
	return r->handed;
}

static enum reason try_connect(void)
{
	struct link *admin = rig_hello(r, ROLE_ADMIN);
	Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;
	Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;
	const Pasid__V1__Reply *reply;

	ref.key_case = PASID__V1__SET_REF__KEY_ID;
	ref.id = handed_set;
	connect.set = &ref;
	reply = rig_call(r, admin, OPERATION(SET_CONNECT), &connect);
	if (!reply->status)
		return REASON_NONE;
	ck_assert_int_eq(wire_read_status(reply->status, &r->error), (int)reply->status->code);
	return (enum reason)r->error.reason;
}

START_TEST(a_handed_connection_gets_a_successor)
	{
		struct link *old = handed_vmm(), *new = offer_handed(old);
		Pasid__V1__Hello plain = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);
		const Pasid__V1__HelloResult *hello;

		(void)rig_allocate(r, old);
		/* it serves for nothing else */
		rig_refused(r, new, OPERATION(HELLO), &plain, REASON_HANDOVER_UNKNOWN);
		ck_assert_int_eq(try_connect(), REASON_SET_CONNECTED);
		hello = take(new);
		ck_assert(hello->resumed);
		ck_assert_uint_eq(hello->resume_token.len, 0);
		ck_assert_uint_eq(hello->set, handed_set);
		ck_assert_int_eq(
			try_connect(), REASON_SET_CONNECTED); /* the old one is there still */
		expect_bereft(old);
		rig_refused(r, old, OPERATION(HELLO), &plain, REASON_HANDED_OVER);
		ck_assert_ptr_null(dispatch_disconnect(r->d, old, true, NULL));
		rig_run(r);
		(void)rig_allocate(r, new);
		ck_assert_uint_eq(status().quarantined, 0);
		ck_assert_uint_eq(status().pasids.current, 2);
		ck_assert_int_eq(try_connect(), REASON_SET_CONNECTED);
		/* and again, and then its end is the VM's */
		old = new;
		new = offer_handed(old);
		(void)take(new);
		ck_assert_ptr_null(dispatch_disconnect(r->d, new, false, NULL));
		ck_assert_ptr_null(dispatch_disconnect(r->d, old, false, NULL));
		rig_run(r);
		ck_assert_uint_eq(status().quarantined, 2);
		ck_assert_int_eq(try_connect(), REASON_NONE);
	}
END_TEST

START_TEST(the_connection_is_the_authority_there)
	{
		struct link *old = handed_vmm(), *new = offer_handed(old), *other;
		uint8_t right[SECRET];

		/* the secret alone is worth nothing, nor is the connection */
		refuse(heir(), REASON_HANDOVER_UNKNOWN);
		refuse(connect_as(RIG_ADMIN_UID, HEIR), REASON_HANDOVER_UNKNOWN);
		memcpy(right, secret, SECRET);
		secret[3] ^= 1;
		refuse(new, REASON_HANDOVER_UNKNOWN);
		memcpy(secret, right, SECRET);
		rig_identify(r, new, RIG_NOBODY);
		refuse(new, REASON_PEER);
		/* with both it does not matter who */
		rig_identify(r, new, RIG_VMM_UID + 7);
		(void)take(new);
		/* taken is taken */
		other = offer_handed(new);
		refuse(connect_as(RIG_VMM_UID + 7, HEIR), REASON_HANDOVER_UNKNOWN);
		ck_assert_ptr_null(dispatch_disconnect(r->d, other, false, NULL));
		(void)rig_allocate(r, new);
	}
END_TEST

/* Another VM's secret opens nothing on it, nor a token. */
START_TEST(it_leads_to_its_own_session_only)
	{
		struct link *vm = vmm(), *old, *new;
		Pasid__V1__Hello hello;
		uint8_t right[SECRET];
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;

		create.name = (char *)"other";
		handed_set = rig_ok(r, admin, OPERATION(SET_CREATE), &create)->set_create->id;
		offer(vm);
		old = rig_hand(r, admin, handed_set);
		rig_identify(r, old, RIG_VMM_UID);
		refuse(old, REASON_HANDOVER_UNKNOWN);
		hello = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);
		(void)rig_ok(r, old, OPERATION(HELLO), &hello);
		memcpy(right, secret, SECRET);
		new = offer_handed(old);
		memcpy(secret, right, SECRET);
		refuse(new, REASON_HANDOVER_UNKNOWN);
		/* also when its own process has taken it elsewhere */
		(void)take(connect_as(RIG_VMM_UID, 4712));
		refuse(new, REASON_HANDOVER_UNKNOWN);
		(void)rig_allocate(r, old);
	}
END_TEST

/* What was made for nothing is closed, and whoever still has it finds nothing there. */
static void expect_closed(struct link *link)
{
	Pasid__V1__Hello plain = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);

	ck_assert(dispatch_doomed(link));
	refuse(link, REASON_HANDOVER_UNKNOWN);
	rig_refused(r, link, OPERATION(HELLO), &plain, REASON_HANDOVER_UNKNOWN);
	ck_assert_uint_eq(link_session(link), 0);
	ck_assert_ptr_null(dispatch_disconnect(r->d, link, false, NULL));
}

START_TEST(a_successor_that_is_not_wanted_is_closed)
	{
		struct link *old = handed_vmm(), *new = offer_handed(old);

		hand_over.cancel = true;
		(void)rig_ok(r, old, OPERATION(HAND_OVER), &hand_over);
		expect_closed(new);
		new = offer_handed(old);
		(void)offer_handed(old); /* another one */
		expect_closed(new);
		new = r->handed;
		r->f.now_ms += WAIT;
		dispatch_tick(r->d);
		expect_closed(new);
		new = offer_handed(old);
		(void)dispatch_disconnect(r->d, old, true, NULL);
		expect_closed(new);
		rig_run(r);
		ck_assert_int_eq(try_connect(), REASON_NONE);
	}
END_TEST

START_TEST(a_successor_that_was_closed_is_no_longer_waited_for)
	{
		struct link *old = handed_vmm(), *new = offer_handed(old);

		ck_assert_ptr_null(dispatch_disconnect(r->d, new, false, NULL));
		refuse(heir(), REASON_HANDOVER_UNKNOWN);
		(void)rig_allocate(r, old);
		(void)take(offer_handed(old));
	}
END_TEST

START_TEST(a_successor_that_cannot_be_made_is_not_promised)
	{
		struct link *old = handed_vmm(), *new = offer_handed(old);

		r->refuse_hand = REASON_OVERLOAD;
		rig_refused(r, old, OPERATION(HAND_OVER), &hand_over, REASON_OVERLOAD);
		r->refuse_hand = REASON_NONE;
		(void)take(new); /* the one before still stands */
		expect_bereft(old);
		old = new;
		for (int i = 0; i < 8; i++)
			(void)offer_handed(old);
		rig_refused(r, old, OPERATION(HAND_OVER), &hand_over, REASON_LIMIT);
		(void)take(r->handed);
	}
END_TEST

START_TEST(the_end_of_the_set_ends_both)
	{
		struct link *old = handed_vmm(), *new = offer_handed(old);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;

		ref.key_case = PASID__V1__SET_REF__KEY_ID;
		ref.id = handed_set;
		destroy.set = &ref;
		destroy.force = true;
		(void)rig_ok(r, admin, OPERATION(SET_DESTROY), &destroy);
		ck_assert(dispatch_doomed(old));
		ck_assert(dispatch_doomed(new));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_handed_connection_gets_a_successor,
		the_connection_is_the_authority_there,
		it_leads_to_its_own_session_only,
		a_successor_that_is_not_wanted_is_closed,
		a_successor_that_was_closed_is_no_longer_waited_for,
		a_successor_that_cannot_be_made_is_not_promised,
		the_end_of_the_set_ends_both,
	};

	return rig_main(&rig, "dispatch_heir", tests, ARRAY_SIZE(tests));
}
