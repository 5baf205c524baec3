/* SPDX-License-Identifier: MIT */
/*
 * Memory runs out, or places for users do: what was asked is refused, or the connection ends;
 * nothing is half done, and with memory it goes on.
 */
#include "dispatch_private.h"
#include "dispatch_rig.h"
#include "failing_memory.h"

#include <errno.h>
#include <string.h>

#define FAILURES_MAX 64u

static struct rig rig, *const r = &rig;

static Pasid__V1__Ping ping = PASID__V1__PING__INIT;
static Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

/* Buffers of datagrams that were sent are kept for others; without them each needs memory. */
static void forget_spare(void)
{
	output_done(r->d);
	r->d->spare_count = 0;
}

/* ---------------------------------------------------------------- comes to be */

START_TEST(a_dispatcher_comes_with_all_its_memory_or_not_at_all)
	{
		const struct dispatch_ports ports = r->d->ports;
		struct dispatch *d = NULL;
		unsigned n = 0;
		int status;

		dispatch_free(r->d);
		for (;; n++) {
			memory_fail_once_after(n);
			status = dispatch_new(&r->config, &ports, r->f.broker, &d);
			if (!memory_recover())
				break;
			ck_assert_int_eq(status, -ENOMEM);
			ck_assert_ptr_null(d);
		}
		ck_assert_uint_ge(n, 3); /* itself, its operations, the sessions */
		ck_assert_int_eq(status, 0);
		r->d = d;
		ck_assert_int_eq(dispatch_recover(r->d), 0);
		(void)rig_vmm(r, "vm1", SET_TRANSLATED);
		dispatch_free(NULL);
	}
END_TEST

START_TEST(a_connection_comes_with_all_its_memory_or_not_at_all)
	{
		const struct dispatch_peer peer = {.who = {.uid = 7}, .pid = 1};
		struct link *link = NULL;
		unsigned n = 0;

		for (;; n++) {
			int status;

			memory_fail_once_after(n);
			status = dispatch_connect(r->d, &peer, &link, &r->error);
			if (!memory_recover())
				break;
			ck_assert_int_eq(status, STATUS_RETRY);
			ck_assert_uint_eq(r->error.reason, REASON_NO_MEMORY);
			ck_assert_ptr_null(link);
		}
		ck_assert_uint_eq(n, 2); /* the link, the peer */
		ck_assert_ptr_null(dispatch_disconnect(r->d, link, false, NULL));
	}
END_TEST

static uint64_t make_set(struct link *admin)
{
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;

	create.name = "handed";
	return rig_ok(r, admin, OPERATION(SET_CREATE), &create)->set_create->id;
}

START_TEST(a_handed_connection_comes_with_all_its_memory_or_not_at_all)
	{
		const struct dispatch_peer peer = {.who = {.uid = 7}, .pid = 1};
		const struct set_id set = {make_set(rig_hello(r, ROLE_ADMIN))};
		struct link *link = NULL;
		unsigned n = 0;

		for (;; n++) {
			int status;

			memory_fail_once_after(n);
			status = dispatch_connect_handed(r->d, set, 7, &link, &r->error);
			if (!memory_recover())
				break;
			ck_assert_int_eq(status, STATUS_RETRY);
			ck_assert_uint_eq(r->error.reason, REASON_NO_MEMORY);
		}
		ck_assert_uint_eq(n, 2); /* what it is, the link */
		memory_fail_after(0);
		ck_assert_int_eq(dispatch_identify(r->d, link, &peer, &r->error), STATUS_RETRY);
		ck_assert(memory_recover());
		ck_assert_ptr_null(link->peer);
		ck_assert_int_eq(dispatch_identify(r->d, link, &peer, &r->error), 0);
		ck_assert_uint_eq(link->peer->uid, 7);
	}
END_TEST

/* ---------------------------------------------------------------- places for users */

static struct limits *full;
static uint32_t last_place;

/* From here on nobody who is not known yet gets a place. */
static void fill_places(void)
{
	struct error error;
	uint32_t uid = 100000;

	full = r->limits;
	while (limits_user_open(full, uid, &last_place, &error) == 0)
		uid++;
	ck_assert_uint_eq(error.reason, REASON_LIMIT);
}

START_TEST(more_users_than_there_are_places_for_are_not_connected)
	{
		const struct dispatch_peer stranger = {.who = {.uid = 7}, .pid = 1};
		struct link *admin = rig_hello(r, ROLE_ADMIN), *link = NULL, *handed;
		const struct set_id set = {make_set(admin)};
		uint32_t place;

		ck_assert_int_eq(
			dispatch_connect_handed(r->d, set, RIG_ADMIN_UID, &handed, &r->error), 0);
		fill_places();
		ck_assert_int_eq(dispatch_connect(r->d, &stranger, &link, &r->error), STATUS_QUOTA);
		ck_assert_int_eq(
			dispatch_connect_handed(r->d, set, 7, &link, &r->error), STATUS_QUOTA);
		ck_assert_ptr_null(link);
		ck_assert_int_eq(
			dispatch_identify(r->d, handed, &stranger, &r->error), STATUS_QUOTA);
		ck_assert_ptr_null(handed->peer);
		/* who has a place has one more connection */
		ck_assert_int_eq(limits_user_open(r->limits, RIG_ADMIN_UID, &place, &r->error), 0);
		limits_user_close(r->limits, place);
		(void)rig_hello(r, ROLE_ADMIN);
	}
END_TEST

/* ---------------------------------------------------------------- requests */

static Pasid__V1__GetStatus get_status = PASID__V1__GET_STATUS__INIT;
static Pasid__V1__Allocate named = PASID__V1__ALLOCATE__INIT;
static uint64_t devices[] = {1, 2, 3};

static const struct request_case {
	const void *message;
	uint32_t operation;
	enum reason reason; /* with memory */
} requests[] = {
	{&ping, OPERATION(PING), REASON_NONE},
	{&watch, OPERATION(WATCH), REASON_NONE},
	{&get_status, OPERATION(GET_STATUS), REASON_NONE},
	{&named, OPERATION(ALLOCATE), REASON_NO_SET},
};

/* Asks without memory from the n-th allocation on; whether some was missing. */
static bool ask_without(
	const struct request_case *request, void (*fail_after)(unsigned count), unsigned n)
{
	struct link *link = rig_hello(r, ROLE_VMM);
	const Pasid__V1__Reply *reply;
	bool failed;

	wire_arena_done(&r->d->arena); /* as before the first request */
	wire_arena_init(&r->d->arena, NULL, WIRE_ARENA_SIZE);
	named.n_devices = ARRAY_SIZE(devices);
	named.devices = devices;
	rig_begin(r);
	rig_add(r, request->operation, request->message);
	fail_after(n);
	(void)rig_send(r, link, NULL, 0);
	failed = memory_recover();
	if (!dispatch_doomed(link)) {
		reply = rig_reply(r, link, r->last_id);
		if (failed && reply->status)
			ck_assert_int_eq(reply->status->code, PASID__V1__CODE__RETRY);
		else if (request->reason)
			rig_expect(r, reply, request->reason);
		else
			ck_assert_ptr_null(reply->status);
	}
	(void)dispatch_disconnect(r->d, link, true, NULL);
	return failed;
}

/* All allocations from the n-th on fail, or that one. */
static void try_request(const struct request_case *request, void (*fail_after)(unsigned count))
{
	unsigned n = 0;

	do {
		rig_close(r);
		rig_config(r);
		rig_open(r);
		ck_assert_uint_lt(n, FAILURES_MAX);
	} while (ask_without(request, fail_after, n++));
}

START_TEST(without_memory_a_request_is_refused_or_its_connection_ends)
	{
		for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
			try_request(&requests[i], memory_fail_after);
			try_request(&requests[i], memory_fail_once_after);
		}
	}
END_TEST

/* Fills the datagram that waits for the link, so that the next reply needs another one. */
static void fill_tail(struct link *link)
{
	uint8_t payload[WIRE_STRING_MAX] = {0};
	Pasid__V1__Ping big = PASID__V1__PING__INIT;

	big.payload = (ProtobufCBinaryData){sizeof(payload), payload};
	rig_begin(r);
	for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
		rig_add(r, OPERATION(PING), &big);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
}

START_TEST(who_cannot_be_told_is_doomed_and_nothing_more_is_done_for_it)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		const uint64_t numbers =
			limits_account(r->limits, LIMITS_NO_USER, RESOURCE_PASIDS)->current;

		rig_begin(r);
		rig_add(r, OPERATION(PING), &ping);
		rig_add(r, OPERATION(ALLOCATE), &allocate);
		forget_spare();
		memory_fail_after(0);
		(void)rig_send(r, link, NULL, 0);
		ck_assert(memory_recover());
		ck_assert(dispatch_doomed(link));
		ck_assert(!dispatch_readable(r->d, link));
		ck_assert_ptr_eq(dispatch_next_output(r->d), link);
		ck_assert_uint_eq(
			limits_account(r->limits, LIMITS_NO_USER, RESOURCE_PASIDS)->current,
			numbers);
	}
END_TEST

START_TEST(a_datagram_that_cannot_even_be_refused_ends_its_connection)
	{
		static const uint8_t nonsense[] = {0xff, 0xff, 0xff};
		struct link *link = rig_connect(r, RIG_VMM_UID);

		memory_fail_after(0);
		ck_assert_int_eq(
			dispatch_receive(r->d, link, nonsense, sizeof(nonsense), NULL, 0, false),
			1);
		ck_assert(memory_recover());
		ck_assert(dispatch_doomed(link));
		ck_assert(!rig_read(r, link));
	}
END_TEST

/* ---------------------------------------------------------------- replies and events */

/* Lists 200 numbers without memory from the n-th allocation on. */
static bool list_without(unsigned n, unsigned *refused)
{
	Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;
	Pasid__V1__Allocate many = PASID__V1__ALLOCATE__INIT;
	struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
	const Pasid__V1__Reply *reply;
	bool failed;

	many.count = 200;
	(void)rig_ok(r, link, OPERATION(ALLOCATE), &many);
	forget_spare();
	rig_begin(r);
	rig_add(r, OPERATION(GRANT_LIST), &list);
	memory_fail_after(n);
	(void)rig_send(r, link, NULL, 0);
	failed = memory_recover();
	if (!dispatch_doomed(link)) {
		reply = rig_reply(r, link, r->last_id);
		*refused += reply->status != NULL;
		if (reply->status)
			rig_expect(r, reply, REASON_NO_MEMORY);
		else
			ck_assert_uint_eq(reply->grant_list->n_grants, DISPATCH_PAGE_DEFAULT);
	}
	(void)dispatch_disconnect(r->d, link, true, NULL);
	rig_run(r);
	return failed;
}

/* It does not fit into the room that every reply has. */
START_TEST(a_large_reply_that_has_no_room_is_a_refusal)
	{
		unsigned refused = 0, n = 0;

		while (list_without(n++, &refused))
			ck_assert_uint_lt(n, FAILURES_MAX);
		ck_assert_uint_ge(refused, 1);
	}
END_TEST

START_TEST(events_that_there_is_no_memory_for_are_counted_as_lost)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		uint64_t lost = 0, told = 0;

		(void)rig_ok(r, link, OPERATION(WATCH), &watch);
		rig_begin(r);
		rig_add(r, OPERATION(ALLOCATE), &allocate);
		memory_fail_after(0);
		(void)rig_send(r, link, NULL, 0);
		ck_assert(memory_recover());
		(void)rig_allocate(r, link);
		do {
			for (size_t i = 0; i < r->got->n_events; i++) {
				lost += r->got->events[i]->lost;
				told += r->got->events[i]->host_pasid != 0;
			}
		} while (rig_read(r, link));
		ck_assert_uint_ge(lost, 1);
		ck_assert_uint_eq(lost + told, 2);
	}
END_TEST

START_TEST(events_wait_for_memory_to_be_sent)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);

		(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
		(void)rig_vmm(r, "vm1", SET_TRANSLATED);
		forget_spare();
		memory_fail_after(0);
		ck_assert(!rig_read(r, admin));
		ck_assert(memory_recover());
		ck_assert(!dispatch_doomed(admin));
		ck_assert(rig_read(r, admin));
		ck_assert_uint_eq(r->got->n_events, 1);
	}
END_TEST

START_TEST(events_go_behind_the_replies_of_a_long_datagram)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		unsigned events = 0;

		(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
		fill_tail(admin);
		(void)rig_vmm(r, "vm1", SET_TRANSLATED);
		while (rig_read(r, admin)) {
			if (r->got->n_events)
				ck_assert_uint_gt(r->got->n_replies, 0);
			events += (unsigned)r->got->n_events;
		}
		ck_assert_uint_eq(events, 1);
	}
END_TEST

/* ---------------------------------------------------------------- a start */

START_TEST(sessions_of_an_earlier_run_all_come_back_or_the_start_fails)
	{
		struct dispatch_ports ports;
		struct dispatch *d;
		unsigned n = 0;
		int status;

		for (unsigned i = 0; i < 70; i++)
			(void)rig_hello(r, ROLE_VMM);
		ports = r->d->ports;
		dispatch_free(r->d);
		for (;; n++) {
			ck_assert_int_eq(dispatch_new(&r->config, &ports, r->f.broker, &d), 0);
			memory_fail_once_after(n);
			status = dispatch_recover(d);
			if (!memory_recover())
				break;
			ck_assert_int_eq(status, -ENOMEM);
			dispatch_free(d);
		}
		ck_assert_uint_ge(n, 140);
		ck_assert_int_eq(status, 0);
		r->d = d;
		ck_assert_uint_eq(dispatch_sessions(d), 70);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_dispatcher_comes_with_all_its_memory_or_not_at_all,
		a_connection_comes_with_all_its_memory_or_not_at_all,
		a_handed_connection_comes_with_all_its_memory_or_not_at_all,
		more_users_than_there_are_places_for_are_not_connected,
		without_memory_a_request_is_refused_or_its_connection_ends,
		who_cannot_be_told_is_doomed_and_nothing_more_is_done_for_it,
		a_datagram_that_cannot_even_be_refused_ends_its_connection,
		a_large_reply_that_has_no_room_is_a_refusal,
		events_that_there_is_no_memory_for_are_counted_as_lost,
		events_wait_for_memory_to_be_sent,
		events_go_behind_the_replies_of_a_long_datagram,
		sessions_of_an_earlier_run_all_come_back_or_the_start_fails,
	};

	return rig_main(r, "dispatch_memory", tests, ARRAY_SIZE(tests));
}
