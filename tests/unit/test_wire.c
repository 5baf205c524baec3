/* SPDX-License-Identifier: MIT */
#include "random.h"
#include "wire.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static uint8_t buffer[WIRE_DATAGRAM_MAX + 64];
static struct wire_batch batch;
static struct error error;

/* A datagram of one request with this body of an operation. */
static size_t one_request(uint32_t operation, const uint8_t *body, size_t size)
{
	uint8_t inner[4096];
	struct wire_out request = wire_out_init(inner, sizeof(inner));
	struct wire_out out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);

	wire_out_uint(&request, 1, 7);
	wire_out_bytes(&request, operation, body, size);
	wire_out_bytes(&out, WIRE_TO_SERVER_REQUESTS, inner, request.size);
	ck_assert(!request.full && !out.full);
	return out.size;
}

static int read_body(uint32_t operation, const struct wire_out *body)
{
	memset(&error, 0, sizeof(error));
	return wire_read_batch(
		buffer, one_request(operation, body->data, body->size), &batch, &error);
}

static void expect_refusal(uint32_t operation, const struct wire_out *body, enum reason reason)
{
	ck_assert_int_eq(read_body(operation, body), (int)reason_status(reason));
	ck_assert_str_eq(reason_text((enum reason)error.reason), reason_text(reason));
	ck_assert_uint_eq(error.object, 7);
	ck_assert_uint_gt(strlen(error.text), 0);
}

static uint8_t body_bytes[4096];

static struct wire_out body_begin(void)
{
	return wire_out_init(body_bytes, sizeof(body_bytes));
}

/* ---------------------------------------------------------------- reading */

START_TEST(a_request_is_read_as_it_was_written)
	{
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		struct wire_request head = {.id = 300, .has_deadline = true, .descriptors = 2};
		struct wire_out out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);
		const ProtobufCMessage *message = NULL;
		uint64_t devices[] = {5, UINT64_MAX};
		struct wire_arena arena;

		allocate.count = 64;
		allocate.n_devices = 2;
		allocate.devices = devices;
		allocate.lowest_case = PASID__V1__ALLOCATE__LOWEST_MIN;
		allocate.min = 0;
		head.operation = PASID__V1__REQUEST__OPERATION_ALLOCATE;
		wire_out_request(&out, &head, &allocate.base);
		wire_out_uint(&out, WIRE_TO_SERVER_SEEN_BELOW, 299);
		ck_assert_int_eq(wire_read_batch(buffer, out.size, &batch, &error), 0);
		ck_assert_uint_eq(batch.count, 1);
		ck_assert_uint_eq(batch.seen_below, 299);
		ck_assert_uint_eq(batch.requests[0].id, 300);
		ck_assert(batch.requests[0].has_deadline);
		ck_assert_uint_eq(batch.requests[0].deadline_ms, 0);
		ck_assert_uint_eq(batch.requests[0].descriptors, 2);
		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
		ck_assert_int_eq(
			wire_unpack_operation(&arena, &batch.requests[0], &message, &error), 0);
		const Pasid__V1__Allocate *got = (const void *)message;
		ck_assert_uint_eq(got->count, 64);
		ck_assert_uint_eq(got->n_devices, 2);
		ck_assert_uint_eq(got->devices[1], UINT64_MAX);
		ck_assert_int_eq(got->lowest_case, PASID__V1__ALLOCATE__LOWEST_MIN);
		ck_assert_int_eq(got->highest_case, PASID__V1__ALLOCATE__HIGHEST__NOT_SET);
		wire_arena_done(&arena);
	}
END_TEST

START_TEST(an_absent_deadline_is_not_a_deadline_of_zero)
	{
		Pasid__V1__Ping ping = PASID__V1__PING__INIT;
		struct wire_request head = {
			.id = 1, .operation = PASID__V1__REQUEST__OPERATION_PING};
		struct wire_out out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);

		wire_out_request(&out, &head, &ping.base);
		ck_assert_int_eq(wire_read_batch(buffer, out.size, &batch, &error), 0);
		ck_assert(!batch.requests[0].has_deadline);
		ck_assert_uint_eq(batch.requests[0].body_size, 0);
	}
END_TEST

START_TEST(an_empty_datagram_is_an_empty_batch)
	{
		ck_assert_int_eq(wire_read_batch(NULL, 0, &batch, &error), 0);
		ck_assert_uint_eq(batch.count, 0);
	}
END_TEST

START_TEST(unknown_fields_are_refused_wherever_they_are)
	{
		struct wire_out body = body_begin(), out;

		wire_out_uint(&body, 99, 1);
		expect_refusal(PASID__V1__REQUEST__OPERATION_ALLOCATE, &body, REASON_UNKNOWN_FIELD);
		/* in a message inside: SetGet.set = 1, SetRef has no field 9 */
		body = body_begin();
		wire_out_bytes(&body, 1, "\x48\x01", 2);
		expect_refusal(PASID__V1__REQUEST__OPERATION_SET_GET, &body, REASON_UNKNOWN_FIELD);
		/* in the request itself, and in the datagram */
		out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);
		wire_out_bytes(&out, 1, "\x08\x07\x20\x01", 4);
		ck_assert_int_eq(wire_read_batch(buffer, out.size, &batch, &error), STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_UNKNOWN_FIELD);
		out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);
		wire_out_uint(&out, 3, 1);
		ck_assert_int_eq(wire_read_batch(buffer, out.size, &batch, &error), STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_UNKNOWN_FIELD);
	}
END_TEST

START_TEST(an_operation_of_a_later_version_is_named_as_such)
	{
		struct wire_out body = body_begin();

		expect_refusal(200, &body, REASON_UNKNOWN_OPERATION);
	}
END_TEST

START_TEST(a_request_needs_an_id_and_one_operation)
	{
		static const struct {
			const char *bytes;
			size_t size;
		} bad[] = {
			{"\x0a\x03\x8a\x01\x00", 5},                      /* ping without an id */
			{"\x0a\x05\x08\x00\x8a\x01\x00", 7},              /* id 0 */
			{"\x0a\x02\x08\x07", 4},                          /* no operation */
			{"\x0a\x08\x08\x07\x8a\x01\x00\x8a\x01\x00", 10}, /* the operation twice */
			{"\x0a\x08\x08\x07\x8a\x01\x00\x92\x01\x00", 10}, /* two operations */
			{"\x0a\x07\x08\x07\x08\x07\x8a\x01\x00", 9},      /* the id twice */
			{"\x0a\x06\x08\x07\x88\x01\x00\x00", 8}, /* an operation that is a number */
		};

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			ck_assert_int_eq(wire_read_batch((const uint8_t *)bad[i].bytes, bad[i].size,
						 &batch, &error),
				STATUS_INVALID);
			ck_assert_uint_eq(error.reason, REASON_MALFORMED);
		}
		ck_assert_int_eq(wire_read_batch((const uint8_t *)"\x0a\x05\x08\x07\x8a\x01\x00", 7,
					 &batch, &error),
			0);
	}
END_TEST

START_TEST(a_choice_taken_twice_is_refused)
	{
		struct wire_out body = body_begin();

		wire_out_bytes(&body, 1, "\x08\x05\x12\x01x", 5); /* SetRef: id and name */
		expect_refusal(PASID__V1__REQUEST__OPERATION_SET_GET, &body, REASON_MALFORMED);
	}
END_TEST

START_TEST(numbers_that_do_not_fit_their_type_are_refused_not_cut)
	{
		struct wire_out body = body_begin();

		wire_out_uint(&body, 4, UINT64_C(1) << 32); /* Allocate.count */
		expect_refusal(PASID__V1__REQUEST__OPERATION_ALLOCATE, &body, REASON_BAD_ARGUMENT);
		body = body_begin();
		wire_out_uint(&body, 5, 2); /* Allocate.consecutive */
		expect_refusal(PASID__V1__REQUEST__OPERATION_ALLOCATE, &body, REASON_BAD_ARGUMENT);
		body = body_begin();
		wire_out_uint(&body, 2, 4); /* SetCreate.mode */
		expect_refusal(
			PASID__V1__REQUEST__OPERATION_SET_CREATE, &body, REASON_BAD_ARGUMENT);
		body = body_begin();
		wire_out_uint(&body, 2, UINT64_MAX); /* -1 as an enum */
		expect_refusal(
			PASID__V1__REQUEST__OPERATION_SET_CREATE, &body, REASON_BAD_ARGUMENT);
	}
END_TEST

START_TEST(strings_are_short_utf8_without_nul)
	{
		static const char *const bad[] = {"\xc0\x80", "\x80", "\xed\xa0\x80",
			"\xf5\x80\x80\x80", "\xe0\x80\x80", "\xc3", "\xf0\x80\x80\x80",
			"\xf4\x90\x80\x80", "\xe2\x82", "\xe2\x28\xa1"};
		char longest[WIRE_STRING_MAX + 1];
		struct wire_out body = body_begin();

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			body = body_begin();
			wire_out_string(&body, 1, bad[i]);
			expect_refusal(
				PASID__V1__REQUEST__OPERATION_SET_CREATE, &body, REASON_MALFORMED);
		}
		body = body_begin();
		wire_out_bytes(&body, 1, "a\0b", 3);
		expect_refusal(PASID__V1__REQUEST__OPERATION_SET_CREATE, &body, REASON_MALFORMED);
		memset(longest, 'x', sizeof(longest));
		body = body_begin();
		wire_out_bytes(&body, 1, longest, WIRE_STRING_MAX + 1);
		expect_refusal(PASID__V1__REQUEST__OPERATION_SET_CREATE, &body, REASON_TOO_LARGE);
		body = body_begin();
		wire_out_bytes(&body, 1, longest, WIRE_STRING_MAX);
		ck_assert_int_eq(read_body(PASID__V1__REQUEST__OPERATION_SET_CREATE, &body), 0);
		body = body_begin();
		wire_out_string(&body, 1, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
		ck_assert_int_eq(read_body(PASID__V1__REQUEST__OPERATION_SET_CREATE, &body), 0);
	}
END_TEST

START_TEST(lists_stop_at_their_limit_packed_or_not)
	{
		uint8_t packed[40];
		struct wire_out body = body_begin();

		memset(packed, 1, sizeof(packed));
		wire_out_bytes(&body, 8, packed, 32); /* Allocate.devices */
		ck_assert_int_eq(read_body(PASID__V1__REQUEST__OPERATION_ALLOCATE, &body), 0);
		wire_out_uint(&body, 8, 1);
		expect_refusal(PASID__V1__REQUEST__OPERATION_ALLOCATE, &body, REASON_TOO_LARGE);
		body = body_begin();
		wire_out_bytes(&body, 8, packed, 33);
		expect_refusal(PASID__V1__REQUEST__OPERATION_ALLOCATE, &body, REASON_TOO_LARGE);
		body = body_begin();
		for (int i = 0; i < 33; i++)
			wire_out_bytes(&body, 3, "", 0); /* Bind.pairs */
		expect_refusal(PASID__V1__REQUEST__OPERATION_BIND, &body, REASON_TOO_LARGE);
		body = body_begin();
		wire_out_bytes(&body, 8, "\x80", 1); /* a number that does not end */
		expect_refusal(PASID__V1__REQUEST__OPERATION_ALLOCATE, &body, REASON_MALFORMED);
	}
END_TEST

static void every_list_has_a_limit(const ProtobufCMessageDescriptor *message)
{
	unsigned lists = 0;

	ck_assert_uint_le(message->n_fields, 64); /* a bit each in the walk */
	for (unsigned i = 0; i < message->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->fields[i];

		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			lists++;
			ck_assert_msg(wire_list_max(message, field->name) > 0, "%s.%s",
				message->short_name, field->name);
		}
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			every_list_has_a_limit(field->descriptor);
	}
	ck_assert_uint_le(lists, 1); /* the walk counts one list a message */
}

START_TEST(every_list_of_a_request_has_a_limit)
	{
		every_list_has_a_limit(&pasid__v1__to_server__descriptor);
		ck_assert_uint_eq(wire_list_max(&pasid__v1__set_list__descriptor, "after"), 0);
	}
END_TEST

START_TEST(a_datagram_has_no_more_requests_than_its_limit)
	{
		struct wire_out out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);

		for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
			wire_out_bytes(&out, 1, "\x08\x07\x8a\x01\x00", 5);
		ck_assert_int_eq(wire_read_batch(buffer, out.size, &batch, &error), 0);
		ck_assert_uint_eq(batch.count, WIRE_REQUESTS_MAX);
		wire_out_bytes(&out, 1, "\x08\x07\x8a\x01\x00", 5);
		ck_assert_int_eq(wire_read_batch(buffer, out.size, &batch, &error), STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_TOO_LARGE);
		ck_assert_uint_eq(error.limit, WIRE_REQUESTS_MAX);
	}
END_TEST

START_TEST(a_datagram_that_was_cut_is_too_large)
	{
		ck_assert_int_eq(wire_read_batch(buffer, WIRE_DATAGRAM_MAX + 1, &batch, &error),
			STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_TOO_LARGE);
	}
END_TEST

START_TEST(descriptors_belong_to_one_request)
	{
		static const uint8_t two[] =
			"\x0a\x07\x08\x07\x18\x01\x8a\x01\x00"
			"\x0a\x07\x08\x08\x18\x01\x8a\x01\x00";

		ck_assert_int_eq(wire_read_batch(two, 9, &batch, &error), 0);
		ck_assert_int_eq(wire_read_batch(two, 18, &batch, &error), STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_FD_COUNT);
		ck_assert_uint_eq(error.object, 8);
	}
END_TEST

/* Every prefix of a good datagram, and every one with a byte changed, is accepted or refused with a
 * reason. */
START_TEST(damage_never_gets_past_the_walk)
	{
		Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
		struct wire_request head = {
			.id = 1, .operation = PASID__V1__REQUEST__OPERATION_HELLO};
		struct wire_out out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);
		char *features[] = {"events", "x"};
		const ProtobufCMessage *message;
		struct wire_arena arena;
		unsigned accepted = 0;

		hello.version_max = 1;
		hello.client = "test";
		hello.n_required_features = 2;
		hello.required_features = features;
		wire_out_request(&out, &head, &hello.base);
		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
		for (size_t i = 0; i < out.size * 256; i++) {
			uint8_t before = buffer[i / 256];
			int r;

			buffer[i / 256] = (uint8_t)i;
			r = wire_read_batch(buffer, i % 3 ? out.size : i / 256, &batch, &error);
			ck_assert(r == 0 || error.reason != REASON_NONE);
			for (size_t k = 0; r == 0 && k < batch.count; k++, accepted++) {
				wire_arena_reset(&arena);
				ck_assert_int_eq(wire_unpack_operation(&arena, &batch.requests[k],
							 &message, &error),
					0);
			}
			buffer[i / 256] = before;
		}
		ck_assert_uint_gt(accepted, 1000);
		wire_arena_done(&arena);
	}
END_TEST

/* ---------------------------------------------------------------- memory */

START_TEST(a_flood_of_empty_messages_is_refused_before_memory_is_spent)
	{
		static uint8_t pasids[64000], inner[65000];
		struct wire_out body = wire_out_init(pasids, sizeof(pasids));
		struct wire_out request = wire_out_init(inner, sizeof(inner));
		struct wire_out out = wire_out_init(buffer, WIRE_DATAGRAM_MAX);

		while (!body.full)
			wire_out_bytes(&body, 2, "", 0); /* Free.pasids */
		wire_out_uint(&request, 1, 7);
		wire_out_bytes(&request, PASID__V1__REQUEST__OPERATION_FREE, pasids, body.size);
		wire_out_bytes(&out, WIRE_TO_SERVER_REQUESTS, inner, request.size);
		ck_assert(!out.full);
		ck_assert_int_eq(wire_read_batch(buffer, out.size, &batch, &error), STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_TOO_LARGE);
	}
END_TEST

START_TEST(the_largest_request_fits_the_arena)
	{
		static uint8_t inner[65000];
		struct wire_out request = wire_out_init(inner, sizeof(inner));
		struct wire_request largest = {.id = 1, .type = &pasid__v1__free__descriptor};
		const ProtobufCMessage *message;
		struct wire_arena arena;

		for (unsigned i = 0; i < WIRE_LIST_MAX; i++)
			wire_out_bytes(&request, 2, "\x08\xff\xff\x3f", 4);
		largest.body = inner;
		largest.body_size = (uint32_t)request.size;
		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
		ck_assert_int_eq(wire_unpack_operation(&arena, &largest, &message, &error), 0);
		ck_assert_uint_eq(((const Pasid__V1__Free *)message)->n_pasids, WIRE_LIST_MAX);
		wire_arena_done(&arena);
	}
END_TEST

START_TEST(the_arena_refuses_what_does_not_fit_and_works_again_after_a_reset)
	{
		static _Alignas(8) uint8_t block[256];
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		struct wire_request request = {.id = 1, .type = &pasid__v1__set_create__descriptor};
		struct wire_out body = body_begin();
		const ProtobufCMessage *message = NULL;
		struct wire_arena arena;
		int r = 0;

		create.name = "a-name";
		wire_out_fields(&body, &create.base);
		request.body = body.data;
		request.body_size = (uint32_t)body.size;
		wire_arena_init(&arena, block, sizeof(block));
		for (int i = 0; i < 8 && r == 0; i++)
			r = wire_unpack_operation(&arena, &request, &message, &error);
		ck_assert_int_eq(r, STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_TOO_LARGE);
		ck_assert_uint_eq(error.limit, sizeof(block));
		wire_arena_reset(&arena);
		ck_assert_int_eq(wire_unpack_operation(&arena, &request, &message, &error), 0);
		ck_assert_str_eq(((const Pasid__V1__SetCreate *)message)->name, "a-name");
		wire_arena_done(&arena);
	}
END_TEST

START_TEST(the_arena_counts_allocations)
	{
		struct wire_arena arena;

		wire_arena_init(&arena, body_bytes, sizeof(body_bytes));
		arena.allocations_max = 2;
		ck_assert_ptr_nonnull(arena.allocator.alloc(&arena, 1));
		ck_assert_ptr_nonnull(arena.allocator.alloc(&arena, 1));
		ck_assert_uint_eq(arena.used, 16);
		ck_assert_ptr_null(arena.allocator.alloc(&arena, 1));
		ck_assert(arena.exhausted);
		wire_arena_reset(&arena);
		ck_assert_ptr_null(arena.allocator.alloc(&arena, SIZE_MAX - 2));
		ck_assert_ptr_nonnull(arena.allocator.alloc(&arena, sizeof(body_bytes)));
	}
END_TEST

/* A value that fits the field. */
static uint64_t some_value(struct random *r, const ProtobufCFieldDescriptor *field)
{
	if (field->type == PROTOBUF_C_TYPE_BOOL || field->type == PROTOBUF_C_TYPE_ENUM)
		return random_below(r, 2);
	if (field->type == PROTOBUF_C_TYPE_UINT32)
		return random_below(r, UINT32_MAX) >> random_below(r, 32);
	return ((uint64_t)random_below(r, UINT32_MAX) << 32 | random_below(r, UINT32_MAX)) >>
	       random_below(r, 64);
}

static void some_message(
	struct random *r, const ProtobufCMessageDescriptor *type, struct wire_out *out);

/* A field of the message; a list of messages has some elements. */
static void some_field(
	struct random *r, const ProtobufCFieldDescriptor *field, struct wire_out *out)
{
	static const char *const texts[] = {"", "vm1", "0000:00:01.0"};
	uint8_t inner[2048];
	const uint32_t elements =
		field->label == PROTOBUF_C_LABEL_REPEATED ? random_below(r, 4) : 1;

	for (uint32_t i = 0; i < elements; i++) {
		struct wire_out nested = wire_out_init(inner, sizeof(inner));

		if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
			some_message(r, field->descriptor, &nested);
			wire_out_bytes(out, field->id, nested.data, nested.full ? 0 : nested.size);
		} else if (field->type == PROTOBUF_C_TYPE_STRING) {
			wire_out_string(out, field->id, texts[random_below(r, 3)]);
		} else if (field->type != PROTOBUF_C_TYPE_BYTES) {
			wire_out_uint(out, field->id, some_value(r, field));
		} else if (random_chance(r, 5)) {
			wire_out_bytes(out, field->id, inner, random_below(r, 3));
		}
	}
}

/* A third of the fields, perhaps two of a choice, and now and then one of them twice. */
static void some_message(
	struct random *r, const ProtobufCMessageDescriptor *type, struct wire_out *out)
{
	for (unsigned i = 0; i < type->n_fields; i++) {
		if (random_chance(r, 33))
			some_field(r, &type->fields[i], out);
		if (random_chance(r, 1))
			some_field(r, &type->fields[i], out);
	}
}

/* The message that we made (NULL: none), and what protobuf-c makes of the same bytes. */
static void expect_same(const ProtobufCMessageDescriptor *type, const ProtobufCMessage *message,
	const struct wire_out *body)
{
	ProtobufCMessage *expected = protobuf_c_message_unpack(type, NULL, body->size, body->data);
	static uint8_t ours[WIRE_DATAGRAM_MAX], theirs[WIRE_DATAGRAM_MAX];

	ck_assert((message != NULL) == (expected != NULL));
	if (expected == NULL)
		return;
	ck_assert_uint_eq(
		protobuf_c_message_pack(message, ours), protobuf_c_message_pack(expected, theirs));
	ck_assert_mem_eq(ours, theirs, protobuf_c_message_get_packed_size(expected));
	protobuf_c_message_free_unpacked(expected, NULL);
}

START_TEST(requests_are_read_as_protobuf_c_reads_them)
	{
		struct random r = random_begin("requests_are_read_as_protobuf_c_reads_them");
		const ProtobufCMessageDescriptor *all = &pasid__v1__request__descriptor;
		struct wire_arena arena;
		unsigned read = 0;

		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
		for (unsigned i = 0; i < 200 * all->n_fields; i++) {
			const ProtobufCFieldDescriptor *field = &all->fields[i % all->n_fields];
			struct wire_request request = {.type = field->descriptor};
			const ProtobufCMessage *message = NULL;
			struct wire_out body = body_begin();

			if (field->type != PROTOBUF_C_TYPE_MESSAGE)
				continue;
			some_message(&r, field->descriptor, &body);
			ck_assert(!body.full);
			request.body = body.data;
			request.body_size = (uint32_t)body.size;
			wire_arena_reset(&arena);
			if (wire_unpack_operation(&arena, &request, &message, &error) == 0)
				read++;
			expect_same(field->descriptor, message, &body);
		}
		ck_assert_uint_gt(read, 1000);
		wire_arena_done(&arena);
	}
END_TEST

START_TEST(replies_are_read_as_protobuf_c_reads_them)
	{
		struct random r = random_begin("replies_are_read_as_protobuf_c_reads_them");
		struct wire_arena arena;
		unsigned read = 0;

		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
		for (unsigned i = 0; i < 4000; i++) {
			const Pasid__V1__ToClient *message = NULL;
			struct wire_out body = body_begin();

			some_message(&r, &pasid__v1__to_client__descriptor, &body);
			if (body.full)
				continue;
			wire_arena_reset(&arena);
			if (wire_unpack_replies(&arena, body.data, body.size, &message, &error) ==
				0)
				read++;
			expect_same(&pasid__v1__to_client__descriptor,
				message != NULL ? &message->base : NULL, &body);
		}
		ck_assert_uint_gt(read, 1000);
		wire_arena_done(&arena);
	}
END_TEST

static Suite *suite(void)
{
	const TTest *const tests[] = {
		a_request_is_read_as_it_was_written,
		an_absent_deadline_is_not_a_deadline_of_zero,
		an_empty_datagram_is_an_empty_batch,
		unknown_fields_are_refused_wherever_they_are,
		an_operation_of_a_later_version_is_named_as_such,
		a_request_needs_an_id_and_one_operation,
		a_choice_taken_twice_is_refused,
		numbers_that_do_not_fit_their_type_are_refused_not_cut,
		strings_are_short_utf8_without_nul,
		lists_stop_at_their_limit_packed_or_not,
		every_list_of_a_request_has_a_limit,
		a_datagram_has_no_more_requests_than_its_limit,
		a_datagram_that_was_cut_is_too_large,
		descriptors_belong_to_one_request,
		damage_never_gets_past_the_walk,
		a_flood_of_empty_messages_is_refused_before_memory_is_spent,
		the_largest_request_fits_the_arena,
		the_arena_refuses_what_does_not_fit_and_works_again_after_a_reset,
		the_arena_counts_allocations,
		requests_are_read_as_protobuf_c_reads_them,
		replies_are_read_as_protobuf_c_reads_them,
	};
	TCase *all = tcase_create("wire");
	Suite *s = suite_create("wire");

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(all, tests[i]);
	suite_add_tcase(s, all);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
