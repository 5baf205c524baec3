/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a datagram, to the daemon and to the client.
 *
 * Promised: what wire_read_batch() accepts is what protobuf-c reads, field for field, and within
 * every limit; written again it is accepted again and says the same; memory is bounded by the
 * arena. And the other way: what protobuf-c reads and what is within the limits is accepted when
 * it is written as a client writes it.
 */
#include "message.h"

#include <stdlib.h>
#include <string.h>

static struct wire_batch batch, again;
static struct wire_arena arena;
static struct error error;
static uint8_t written[4 * WIRE_DATAGRAM_MAX], packed[2][WIRE_DATAGRAM_MAX + 1];

/* ---------------------------------------------------------------- what is refused */

static void check_refusal(int r)
{
	Pasid__V1__ToClient *read;
	struct wire_out out = wire_out_init(written, sizeof(written));
	struct error told;

	FUZZ_CHECK(r > 0 && r <= STATUS_INTERNAL);
	FUZZ_CHECK(error.reason != REASON_NONE && (int)reason_status(error.reason) == r);
	FUZZ_CHECK(memchr(error.text, 0, sizeof(error.text)) && error.text[0]);
	wire_out_status(&out, WIRE_TO_CLIENT_REFUSED, r, &error);
	FUZZ_CHECK(!out.full);
	message_reset();
	read = pasid__v1__to_client__unpack(message_allocator(), out.size, written);
	FUZZ_CHECK(read && read->refused && !read->base.n_unknown_fields);
	FUZZ_CHECK(wire_read_status(read->refused, &told) == r && told.reason == error.reason);
	FUZZ_CHECK(told.object == error.object && !strcmp(told.text, error.text));
}

/* ---------------------------------------------------------------- what is accepted */

/* The operation's message in a request that protobuf-c read. */
static const ProtobufCMessage *operation_of(const Pasid__V1__Request *request)
{
	const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
		request->base.descriptor, request->operation_case);

	FUZZ_CHECK(field);
	return *(ProtobufCMessage *const *)((const uint8_t *)request + field->offset);
}

static void check_request(const struct wire_request *request, const Pasid__V1__Request *read)
{
	const ProtobufCMessage *message, *other = operation_of(read);
	bool has_deadline = read->deadline_case == PASID__V1__REQUEST__DEADLINE_DEADLINE_MS;
	size_t size;

	FUZZ_CHECK(request->id == read->id && request->operation == read->operation_case);
	FUZZ_CHECK(request->descriptors == read->descriptors);
	FUZZ_CHECK(request->has_deadline == has_deadline);
	FUZZ_CHECK(!has_deadline || request->deadline_ms == read->deadline_ms);

	wire_arena_reset(&arena);
	FUZZ_CHECK(wire_unpack_operation(&arena, request, &message, &error) == 0);
	FUZZ_CHECK(!arena.exhausted && arena.used <= WIRE_ARENA_SIZE);
	FUZZ_CHECK(message->descriptor == other->descriptor);
	FUZZ_CHECK(message_is_acceptable(message));
	size = protobuf_c_message_get_packed_size(message);
	/* a list of one number may have come in a byte less than it is written with */
	FUZZ_CHECK(size <= (size_t)request->body_size + 1 && size <= sizeof(packed[0]));
	FUZZ_CHECK(size == protobuf_c_message_get_packed_size(other));
	FUZZ_CHECK(protobuf_c_message_pack(message, packed[0]) == size);
	FUZZ_CHECK(protobuf_c_message_pack(other, packed[1]) == size);
	FUZZ_CHECK(!memcmp(packed[0], packed[1], size));
}

/* Written with wire_out_request(), it is read as the same requests. */
static void check_written(const struct wire_batch *from)
{
	struct wire_out out = wire_out_init(written, sizeof(written));

	wire_out_uint(&out, WIRE_TO_SERVER_SEEN_BELOW, from->seen_below);
	for (size_t i = 0; i < from->count; i++) {
		const ProtobufCMessage *message;

		wire_arena_reset(&arena);
		FUZZ_CHECK(
			wire_unpack_operation(&arena, &from->requests[i], &message, &error) == 0);
		wire_out_request(&out, &from->requests[i], message);
	}
	FUZZ_CHECK(!out.full);
	/* how lengths are written may make it longer, by a few bytes a request */
	if (out.size > WIRE_DATAGRAM_MAX)
		return;
	FUZZ_CHECK(wire_read_batch(written, out.size, &again, &error) == 0);
	FUZZ_CHECK(again.count == from->count && again.seen_below == from->seen_below);
	for (size_t i = 0; i < again.count; i++) {
		const struct wire_request *a = &again.requests[i], *b = &from->requests[i];

		FUZZ_CHECK(a->id == b->id && a->operation == b->operation &&
			   a->descriptors == b->descriptors && a->has_deadline == b->has_deadline &&
			   a->deadline_ms == b->deadline_ms);
	}
}

static void check_accepted(const Pasid__V1__ToServer *read)
{
	FUZZ_CHECK(read);
	FUZZ_CHECK(batch.count == read->n_requests && batch.seen_below == read->seen_below);
	FUZZ_CHECK(message_is_batch(read));
	for (size_t i = 0; i < batch.count; i++)
		check_request(&batch.requests[i], read->requests[i]);
	check_written(&batch);
}

/* ---------------------------------------------------------------- what must be accepted */

static void check_canonical(const Pasid__V1__ToServer *read)
{
	size_t size = pasid__v1__to_server__get_packed_size(read);
	int r;

	if (size > WIRE_DATAGRAM_MAX || !message_is_batch(read))
		return;
	FUZZ_CHECK(pasid__v1__to_server__pack(read, written) == size);
	r = wire_read_batch(written, size, &again, &error);
	if (r)
		FUZZ_FAIL("refused what is within all limits: %s", error.text);
	FUZZ_CHECK(again.count == read->n_requests && again.seen_below == read->seen_below);
}

static void check_client(const uint8_t *data, size_t size)
{
	const Pasid__V1__ToClient *message;
	int r;

	wire_arena_reset(&arena);
	r = wire_unpack_replies(&arena, data, size, &message, &error);
	FUZZ_CHECK(arena.used <= WIRE_ARENA_SIZE);
	if (r) {
		check_refusal(r);
		return;
	}
	for (size_t i = 0; i < message->n_replies; i++)
		(void)wire_read_status(message->replies[i]->status, &error);
}

/* protobuf-c takes NULL for a failure even when there are no bytes. */
static Pasid__V1__ToServer *read_reference(const uint8_t *data, size_t size)
{
	static const uint8_t nothing[1];

	message_reset();
	return pasid__v1__to_server__unpack(message_allocator(), size, size ? data : nothing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Pasid__V1__ToServer *read;
	int r;

	if (!arena.size)
		wire_arena_init(&arena, NULL, WIRE_ARENA_SIZE);
	if (size > WIRE_DATAGRAM_MAX + 1)
		return 0;
	memset(&error, 0, sizeof(error));
	r = wire_read_batch(data, size, &batch, &error);
	if (r)
		check_refusal(r);
	read = read_reference(data, size);
	if (r == 0)
		check_accepted(read);
	if (read)
		check_canonical(read);
	check_client(data, size);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	size_t mutated;

	if (fuzz_below(&random, 3) == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	mutated = message_mutate_bytes(data, size, max_size, NULL, 0, &random);
	return mutated ? mutated : LLVMFuzzerMutate(data, size, max_size);
}
