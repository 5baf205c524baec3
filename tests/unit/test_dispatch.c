/* SPDX-License-Identifier: MIT */
/* The dispatcher's side of the protocol: hello, datagrams, descriptors, the window, deadlines,
 * loss. */
#include "dispatch_rig.h"

#include <stdlib.h>
#include <string.h>

static struct rig rig, *const r = &rig;

static Pasid__V1__Ping ping = PASID__V1__PING__INIT;
static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
static Pasid__V1__SetGet set_get = PASID__V1__SET_GET__INIT;

static Pasid__V1__Hello hello_message(void)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	return hello;
}

/* ---------------------------------------------------------------- hello */

START_TEST(hello_says_what_the_daemon_is)
	{
		Pasid__V1__Hello hello = hello_message();
		char *features[] = {"events", "shared-devices"};
		const Pasid__V1__Reply *reply;

		hello.n_required_features = 2;
		hello.required_features = features;
		reply = rig_ok(r, rig_connect(r, RIG_VMM_UID), OPERATION(HELLO), &hello);
		ck_assert_uint_eq(reply->hello->version, 1);
		ck_assert_uint_eq(reply->hello->instance.len, WIRE_TOKEN_SIZE);
		ck_assert_uint_eq(reply->hello->instance.data[2], 3);
		ck_assert_uint_eq(reply->hello->resume_token.len, WIRE_TOKEN_SIZE);
		ck_assert_int_eq(reply->hello->role, PASID__V1__ROLE__ROLE_VMM);
		ck_assert_uint_eq(reply->hello->window, 256);
		ck_assert_uint_eq(reply->hello->datagram_limit, WIRE_DATAGRAM_MAX);
		ck_assert_uint_eq(reply->hello->request_limit, WIRE_REQUESTS_MAX);
		ck_assert_uint_eq(reply->hello->grace_ms, 30000);
		ck_assert_uint_eq(reply->hello->set, 0);
		ck_assert_uint_eq(reply->hello->last_id, 0);
		ck_assert(!reply->hello->resumed);
	}
END_TEST

START_TEST(hello_is_first_and_once_but_ping_needs_none)
	{
		Pasid__V1__Hello hello = hello_message();
		struct link *link = rig_connect(r, RIG_VMM_UID);

		rig_refused(r, link, OPERATION(SET_GET), &set_get, REASON_HELLO_FIRST);
		(void)rig_ok(r, link, OPERATION(PING), &ping);
		(void)rig_ok(r, link, OPERATION(HELLO), &hello);
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_HELLO_TWICE);
	}
END_TEST

START_TEST(hello_refuses_what_the_client_cannot_do_without)
	{
		Pasid__V1__Hello hello = hello_message();
		struct link *link = rig_connect(r, RIG_VMM_UID);
		char *features[] = {"time-travel"};

		hello.version_min = hello.version_max = 2;
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_VERSION);
		hello.version_min = hello.version_max = 0;
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_VERSION);
		hello = hello_message();
		hello.n_required_features = 1;
		hello.required_features = features;
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_FEATURE);
		hello = hello_message();
		hello.role = PASID__V1__ROLE__ROLE_ADMIN;
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_ROLE);
		hello = hello_message();
		hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
		hello.resume_token = (ProtobufCBinaryData){16, (uint8_t *)"sixteen bytes..."};
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_RESUME_UNKNOWN);
		hello.resume_token.len = 0;
		rig_refused(r, link, OPERATION(HELLO), &hello, REASON_RESUME_UNKNOWN);
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
	}
END_TEST

START_TEST(hello_and_work_may_travel_together)
	{
		Pasid__V1__Hello hello = hello_message();
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		struct link *link = rig_connect(r, RIG_VMM_UID);

		create.name = "vm1";
		rig_begin(r);
		rig_add(r, OPERATION(HELLO), &hello);
		rig_add(r, OPERATION(SET_CREATE), &create);
		rig_add(r, OPERATION(ALLOCATE), &allocate);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		ck_assert(rig_read(r, link));
		ck_assert_uint_eq(r->got->n_replies, 3);
		for (size_t i = 0; i < 3; i++) {
			ck_assert_uint_eq(r->got->replies[i]->id, i + 1);
			ck_assert_ptr_null(r->got->replies[i]->status);
		}
		ck_assert(!rig_read(r, link));
	}
END_TEST

START_TEST(roles_decide_what_may_be_asked)
	{
		Pasid__V1__DeviceShare share = PASID__V1__DEVICE_SHARE__INIT;
		Pasid__V1__QuarantineEnd end = PASID__V1__QUARANTINE_END__INIT;
		struct link *observer = rig_hello(r, ROLE_OBSERVER);
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);

		share.address = "0000:00:01.0";
		rig_refused(r, observer, OPERATION(ALLOCATE), &allocate, REASON_ROLE);
		rig_refused(r, observer, OPERATION(DEVICE_SHARE), &share, REASON_ROLE);
		rig_refused(r, vmm, OPERATION(DEVICE_SHARE), &share, REASON_ROLE);
		rig_refused(r, vmm, OPERATION(QUARANTINE_END), &end, REASON_ROLE);
	}
END_TEST

START_TEST(every_operation_of_the_protocol_is_known)
	{
		const ProtobufCMessageDescriptor *request = &pasid__v1__request__descriptor;
		struct link *link = rig_connect(r, RIG_VMM_UID);
		unsigned operations = 0;

		for (unsigned i = 0; i < request->n_fields; i++) {
			ProtobufCMessage *message;
			const ProtobufCMessageDescriptor *type = request->fields[i].descriptor;

			if (request->fields[i].id < WIRE_OPERATION_FIRST)
				continue;
			message = calloc(1, type->sizeof_message);
			protobuf_c_message_init(type, message);
			/* refused or done, but there */
			(void)rig_call(r, link, request->fields[i].id, message);
			free(message);
			operations++;
		}
		ck_assert_uint_eq(operations, 49);
		ck_assert_uint_eq(dispatch_refusals(r->d, REASON_HELLO_FIRST), 47);
	}
END_TEST

/* ---------------------------------------------------------------- datagrams */

START_TEST(a_bad_datagram_is_refused_whole_and_counted)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		int fds[] = {7, 8};

		rig_begin(r);
		rig_add(r, OPERATION(ALLOCATE), &allocate);
		wire_out_uint(&r->out, 9, 1);
		ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
		ck_assert(rig_read(r, link));
		ck_assert_uint_eq(r->got->n_replies, 0);
		ck_assert_str_eq(r->got->refused->reason, "unknown-field");
		ck_assert_uint_eq(dispatch_refusals(r->d, REASON_UNKNOWN_FIELD), 1);
		ck_assert_uint_eq(r->disposed_count, 2);
		/* nothing was done: the next number is the first */
		ck_assert_uint_eq(rig_allocate(r, link), 1024);
	}
END_TEST

START_TEST(each_refusal_has_a_datagram_of_its_own)
	{
		struct link *link = rig_hello(r, ROLE_VMM);

		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(dispatch_receive(r->d, link, (const uint8_t *)"\xff", 1,
						 NULL, 0, false),
				0);
		rig_begin(r);
		rig_add(r, OPERATION(PING), &ping);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		for (int i = 0; i < 3; i++) {
			ck_assert(rig_read(r, link));
			ck_assert_str_eq(r->got->refused->reason, "malformed");
		}
		ck_assert(rig_read(r, link));
		ck_assert_ptr_null(r->got->refused);
		ck_assert_uint_eq(r->got->n_replies, 1);
	}
END_TEST

START_TEST(repeated_abuse_closes_the_connection)
	{
		struct link *link = rig_hello(r, ROLE_VMM);

		for (int round = 0; round < 2; round++) {
			for (int i = 0; i < DISPATCH_ABUSE_MAX; i++)
				ck_assert_int_eq(
					dispatch_receive(r->d, link, (const uint8_t *)"\xff", 1,
						NULL, 0, false),
					0);
			if (round == 0) { /* a good one in between starts the count again */
				rig_begin(r);
				ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
			}
		}
		ck_assert_int_eq(
			dispatch_receive(r->d, link, (const uint8_t *)"\xff", 1, NULL, 0, false),
			1);
	}
END_TEST

START_TEST(a_full_batch_is_answered_in_one_datagram)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);

		rig_begin(r);
		for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
			rig_add(r, OPERATION(ALLOCATE), &allocate);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		ck_assert_ptr_eq(dispatch_next_output(r->d), link);
		ck_assert_ptr_null(dispatch_next_output(r->d));
		ck_assert(rig_read(r, link));
		ck_assert_uint_eq(r->got->n_replies, WIRE_REQUESTS_MAX);
		for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
			ck_assert_uint_eq(r->got->replies[i]->allocate->runs[0]->first, 1024 + i);
		ck_assert(!rig_read(r, link));
		ck_assert_uint_eq(dispatch_unsent(link), 0);
	}
END_TEST

START_TEST(one_request_of_a_batch_fails_alone)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		Pasid__V1__Allocate much = PASID__V1__ALLOCATE__INIT;

		much.count = 2000; /* of 1024 */
		rig_begin(r);
		rig_add(r, OPERATION(ALLOCATE), &allocate);
		rig_add(r, OPERATION(ALLOCATE), &much);
		rig_add(r, OPERATION(ALLOCATE), &allocate);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		ck_assert(rig_read(r, link));
		ck_assert_ptr_null(r->got->replies[0]->status);
		rig_expect(r, r->got->replies[1], REASON_SET_QUOTA);
		ck_assert_uint_eq(r->got->replies[1]->status->limit->limit, 1024);
		ck_assert_ptr_null(r->got->replies[2]->status);
	}
END_TEST

START_TEST(who_does_not_read_is_not_read)
	{
		struct link *link;
		Pasid__V1__Ping big = PASID__V1__PING__INIT;
		uint8_t payload[WIRE_STRING_MAX] = {0};
		unsigned datagrams = 0, refused = 0;

		link = rig_hello(r, ROLE_VMM);
		big.payload = (ProtobufCBinaryData){sizeof(payload), payload};
		while (dispatch_readable(r->d, link) && datagrams++ < 1000) {
			rig_begin(r);
			for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
				rig_add(r, OPERATION(PING), &big);
			ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		}
		ck_assert_uint_lt(dispatch_unsent(link), (256u << 10) + WIRE_DATAGRAM_MAX);
		/* one that is read all the same is refused, request by request */
		rig_begin(r);
		rig_add(r, OPERATION(PING), &big);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		while (rig_read(r, link)) {
			for (size_t i = 0; i < r->got->n_replies; i++)
				refused += r->got->replies[i]->status != NULL;
		}
		ck_assert_uint_ge(refused, 1);
		ck_assert(dispatch_readable(r->d, link));
		(void)rig_ok(r, link, OPERATION(PING), &big);
	}
END_TEST

START_TEST(one_datagram_does_not_ask_for_many_lists)
	{
		struct link *link = rig_hello(r, ROLE_OBSERVER);
		Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;

		rig_begin(r);
		for (int i = 0; i < 9; i++)
			rig_add(r, OPERATION(GRANT_LIST), &list);
		rig_add(r, OPERATION(PING), &ping);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		ck_assert(rig_read(r, link));
		ck_assert_ptr_null(r->got->replies[7]->status);
		rig_expect(r, r->got->replies[8], REASON_OVERLOAD);
		ck_assert_ptr_null(r->got->replies[9]->status);
		(void)rig_ok(r, link, OPERATION(GRANT_LIST), &list);
	}
END_TEST

START_TEST(a_daemon_that_stops_refuses_with_that_reason)
	{
		struct link *link = rig_hello(r, ROLE_VMM);

		dispatch_shut_down(r->d);
		rig_refused(r, link, OPERATION(PING), &ping, REASON_SHUTTING_DOWN);
	}
END_TEST

/* ---------------------------------------------------------------- descriptors */

static Pasid__V1__DeviceAdd device_add = PASID__V1__DEVICE_ADD__INIT;

/* Sends one device_add that says `said` descriptors, with `came` of them; all are disposed of. */
static void refused_descriptors(
	struct link *link, uint32_t said, size_t came, bool truncated, enum reason reason)
{
	int fds[] = {51, 52, 53};
	unsigned before = r->disposed_count;

	rig_begin(r);
	rig_add_as(r, ++r->last_id, RIG_NO_DEADLINE, said, OPERATION(DEVICE_ADD), &device_add);
	ck_assert_int_eq(
		dispatch_receive(r->d, link, r->datagram, r->out.size, fds, came, truncated), 0);
	rig_expect(r, rig_reply(r, link, r->last_id), reason);
	ck_assert_uint_eq(r->disposed_count, before + came);
}

START_TEST(descriptors_are_as_many_as_the_request_says)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);

		refused_descriptors(link, 2, 1, false, REASON_FD_COUNT);
		refused_descriptors(link, 2, 3, false, REASON_FD_COUNT);
		refused_descriptors(link, 3, 3, false, REASON_FD_COUNT);
		refused_descriptors(link, 0, 0, false, REASON_FD_COUNT);
		refused_descriptors(link, 1, 1, false, REASON_FD_COUNT); /* and no address */
		refused_descriptors(link, 2, 1, true, REASON_FD_TRUNCATED);
		refused_descriptors(link, 2, 2, true, REASON_FD_TRUNCATED);
		ck_assert_uint_eq(r->f.model.count, 0);
	}
END_TEST

START_TEST(descriptors_that_nobody_claims_are_disposed_of)
	{
		struct link *link = rig_hello(r, ROLE_VMM);
		int fds[] = {51, 52, 53};

		rig_begin(r);
		rig_add(r, OPERATION(PING), &ping);
		ck_assert_int_eq(rig_send(r, link, fds, 3), 0);
		ck_assert(rig_read(r, link));
		ck_assert_str_eq(r->got->refused->reason, "descriptor-count");
		ck_assert_uint_eq(r->disposed_count, 3);
		ck_assert_int_eq(
			dispatch_receive(r->d, link, r->datagram, r->out.size, NULL, 0, true), 0);
		ck_assert(rig_read(r, link));
		ck_assert_str_eq(r->got->refused->reason, "descriptors-truncated");
	}
END_TEST

START_TEST(descriptors_stay_with_their_request_in_a_batch)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		int fds[] = {51, MODEL_DEVICE_FD(8)};
		uint64_t id;

		rig_begin(r);
		rig_add(r, OPERATION(PING), &ping);
		id = ++r->last_id;
		rig_add_as(r, id, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &device_add);
		rig_add(r, OPERATION(PING), &ping);
		ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
		rig_run(r);
		ck_assert(rig_read(r, link));
		ck_assert_uint_eq(r->got->n_replies, 3);
		ck_assert_uint_eq(r->got->replies[2]->id, id); /* the hardware took its time */
		ck_assert_str_eq(r->got->replies[2]->device_add->address, "0000:00:01.0");
		ck_assert_uint_eq(r->disposed_count, 0);
	}
END_TEST

/* The daemon opens the device: its reply has a descriptor. Leaves the last step undone. */
static uint64_t open_device(struct link *link, uint32_t deadline_ms)
{
	Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
	int fd = 51;

	add.open_case = PASID__V1__DEVICE_ADD__OPEN_ADDRESS;
	add.address = "00:01.0";
	rig_begin(r);
	rig_add_as(r, ++r->last_id, deadline_ms, 1, OPERATION(DEVICE_ADD), &add);
	ck_assert_int_eq(rig_send(r, link, &fd, 1), 0);
	return r->last_id;
}

static void finish_open(int fd)
{
	struct hw_result result = {.fd_count = 1, .fds = {fd}, .dev_id = 3};

	ck_assert(model_step(&r->f, 0)); /* identified */
	dispatch_pump(r->d);
	ck_assert_uint_eq(r->f.model.count, 1);
	ck_assert_uint_eq(r->f.model.ops[0].kind, HW_OPEN);
	result.id = r->f.model.ops[0].id;
	result.device = r->f.model.ops[0].device;
	r->f.model.count = 0;
	broker_complete(r->f.broker, &result);
	dispatch_pump(r->d);
}

START_TEST(a_descriptor_comes_back_once)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);
		uint64_t id = open_device(link, RIG_NO_DEADLINE);
		const Pasid__V1__Reply *reply;

		finish_open(77);
		reply = rig_reply(r, link, id);
		ck_assert_ptr_null(reply->status);
		ck_assert_uint_eq(reply->descriptors, 1);
		ck_assert_int_eq(r->got_fd, 77);
		ck_assert_int_eq(r->disposed[r->disposed_count - 1], 77); /* our copy, when sent */
		r->last_id--;
		id = open_device(link, RIG_NO_DEADLINE); /* the same again */
		reply = rig_reply(r, link, id);
		rig_expect(r, reply, REASON_FD_NOT_KEPT);
		ck_assert_uint_eq(reply->descriptors, 0);
		ck_assert_uint_ne(reply->device_add->id, 0);
		ck_assert_int_eq(r->disposed[r->disposed_count - 1], 51);
	}
END_TEST

START_TEST(a_descriptor_that_nobody_waits_for_is_disposed_of)
	{
		struct link *link = rig_vmm(r, "vm1", SET_TRANSLATED);

		(void)open_device(link, 0);
		rig_expect(r, rig_reply(r, link, r->last_id), REASON_DEADLINE);
		finish_open(77);
		ck_assert_int_eq(r->disposed[r->disposed_count - 1], 77);
		ck_assert(!rig_read(r, link));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		hello_says_what_the_daemon_is,
		hello_is_first_and_once_but_ping_needs_none,
		hello_refuses_what_the_client_cannot_do_without,
		hello_and_work_may_travel_together,
		roles_decide_what_may_be_asked,
		every_operation_of_the_protocol_is_known,
		a_bad_datagram_is_refused_whole_and_counted,
		each_refusal_has_a_datagram_of_its_own,
		repeated_abuse_closes_the_connection,
		a_full_batch_is_answered_in_one_datagram,
		one_request_of_a_batch_fails_alone,
		who_does_not_read_is_not_read,
		one_datagram_does_not_ask_for_many_lists,
		a_daemon_that_stops_refuses_with_that_reason,
		descriptors_are_as_many_as_the_request_says,
		descriptors_that_nobody_claims_are_disposed_of,
		descriptors_stay_with_their_request_in_a_batch,
		a_descriptor_comes_back_once,
		a_descriptor_that_nobody_waits_for_is_disposed_of,
	};

	return rig_main(r, "dispatch", tests, ARRAY_SIZE(tests));
}
