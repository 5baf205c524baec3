/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <string.h>

/* Words that mean something in the world of fuzz_dispatch, and some that mean nothing. */
static const char *const words[] = {
	"honest",
	"a",
	"b",
	"vm0",
	"vm1",
	"handed",
	"",
	"b a d",
	".",
	"00:00.1",
	"00:00.2",
	"00:00.3",
	"00:00.4",
	"00:00.5",
	"0000:00:00.6",
	"00:00.7",
	"00:1f.7",
	"ffff:ff:1f.7",
	"nowhere",
	"\xc3\xa4",
	"batch",
	"sixty-four-bytes-in-a-name-are-the-most-that-a-set-can-have.....",
};

static void *take(size_t size)
{
	void *at = message_allocator()->alloc(NULL, size ? size : 1);

	if (at)
		memset(at, 0, size);
	return at;
}

/* Small numbers, numbers that are granted, names of objects, and the ends of ranges. */
static uint64_t pick_number(uint64_t *random)
{
	static const uint64_t ends[] = {0, 1, 255, 1023, 1024, 4096, 4097, 0xfffff, 0x100000,
		UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX - 1, UINT64_MAX};

	switch (fuzz_below(random, 8)) {
	case 0:
		return ends[fuzz_below(random, ARRAY_SIZE(ends))];
	case 1:
	case 2:
		return fuzz_below(random, 16);
	case 3:
	case 4:
		return 16 + fuzz_below(random, 24);
	case 5:
		return (uint64_t)fuzz_below(random, 8) << 12;
	default:
		return (uint64_t)(1 + fuzz_below(random, 16)) << 24 | (1 + fuzz_below(random, 6));
	}
}

static void mutate_message(ProtobufCMessage *message, uint64_t *random, unsigned depth);

static ProtobufCMessage *new_message(
	const ProtobufCMessageDescriptor *type, uint64_t *random, unsigned depth)
{
	ProtobufCMessage *message = take(type->sizeof_message);

	if (!message)
		return NULL;
	protobuf_c_message_init(type, message);
	for (unsigned i = 0; i < type->n_fields && depth < 4; i++)
		mutate_message(message, random, depth + 1);
	return message;
}

static void mutate_bytes(ProtobufCBinaryData *bytes, uint64_t *random)
{
	size_t size = fuzz_below(random, 4) ? WIRE_TOKEN_SIZE : fuzz_below(random, 70);

	bytes->data = take(size);
	bytes->len = bytes->data ? size : 0;
	/* the tokens of fuzz_dispatch's world look like this */
	if (bytes->len)
		memset(bytes->data, (int)fuzz_below(random, 24), size);
}

static void mutate_value(
	const ProtobufCFieldDescriptor *field, void *value, uint64_t *random, unsigned depth)
{
	const ProtobufCEnumDescriptor *values = field->descriptor;
	ProtobufCMessage **message = value;
	const char **text = value;

	switch ((unsigned)field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		if (!*message || fuzz_below(random, 8) == 0)
			*message = new_message(field->descriptor, random, depth);
		else
			mutate_message(*message, random, depth + 1);
		break;
	case PROTOBUF_C_TYPE_STRING:
		*text = words[fuzz_below(random, ARRAY_SIZE(words))];
		break;
	case PROTOBUF_C_TYPE_BYTES:
		mutate_bytes(value, random);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		*(int *)value = values->values[fuzz_below(random, values->n_values)].value;
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)value = !*(protobuf_c_boolean *)value;
		break;
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)value = pick_number(random);
		break;
	default:
		*(uint32_t *)value = (uint32_t)pick_number(random);
		break;
	}
}

/* Adds an element, changes one, or takes the last away. */
static void mutate_list(const ProtobufCFieldDescriptor *field, size_t *count, uint8_t **list,
	uint64_t *random, unsigned depth)
{
	size_t size = message_value_size(field);
	uint8_t *longer;

	if (*count && fuzz_below(random, 3) == 0) {
		(*count)--;
		return;
	}
	if (*count && fuzz_below(random, 2)) {
		mutate_value(
			field, *list + fuzz_below(random, (uint32_t)*count) * size, random, depth);
		return;
	}
	longer = take((*count + 1) * size);
	if (!longer)
		return;
	if (*count)
		memcpy(longer, *list, *count * size);
	mutate_value(field, longer + *count * size, random, depth);
	*list = longer;
	(*count)++;
}

/* Its field is set, or with a choice perhaps none of it. */
static void mutate_message(ProtobufCMessage *message, uint64_t *random, unsigned depth)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	const ProtobufCFieldDescriptor *field;
	uint8_t *base = (uint8_t *)message;

	if (type->n_fields == 0)
		return;
	field = &type->fields[fuzz_below(random, type->n_fields)];
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		mutate_list(field, (size_t *)(base + field->quantifier_offset),
			(uint8_t **)(base + field->offset), random, depth);
		return;
	}
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		uint32_t *chosen = (uint32_t *)(base + field->quantifier_offset);

		if (fuzz_below(random, 4) == 0) {
			*chosen = 0;
			return;
		}
		if (*chosen != field->id)
			memset(base + field->offset, 0, message_value_size(field));
		*chosen = field->id;
	}
	mutate_value(field, base + field->offset, random, depth);
}

/* ---------------------------------------------------------------- requests in a datagram */

static Pasid__V1__Request *new_request(uint64_t *random)
{
	const ProtobufCMessageDescriptor *type = &pasid__v1__request__descriptor;
	const ProtobufCFieldDescriptor *field;
	Pasid__V1__Request *request = take(sizeof(*request));
	ProtobufCMessage *operation;

	if (!request)
		return NULL;
	pasid__v1__request__init(request);
	do {
		field = &type->fields[fuzz_below(random, type->n_fields)];
	} while (field->id < WIRE_OPERATION_FIRST);
	operation = new_message(field->descriptor, random, 1);
	if (!operation)
		return NULL;
	request->operation_case = (Pasid__V1__Request__OperationCase)field->id;
	*(ProtobufCMessage **)((uint8_t *)request + field->offset) = operation;
	return request;
}

static void insert_request(
	Pasid__V1__ToServer *batch, const Pasid__V1__Request *from, uint64_t *random)
{
	Pasid__V1__Request **longer, *request = take(sizeof(*request));
	size_t at = fuzz_below(random, (uint32_t)batch->n_requests + 1);

	longer = take((batch->n_requests + 1) * sizeof(void *));
	if (!from || !request || !longer || batch->n_requests >= WIRE_REQUESTS_MAX)
		return;
	*request = *from;
	if (batch->n_requests) {
		memcpy(longer, batch->requests, at * sizeof(void *));
		memcpy(longer + at + 1, batch->requests + at,
			(batch->n_requests - at) * sizeof(void *));
	}
	longer[at] = request;
	batch->requests = longer;
	batch->n_requests++;
	if (fuzz_below(random, 4))
		request->id = pick_number(random) % 64;
}

static void mutate_request(Pasid__V1__Request *request, uint64_t *random)
{
	const ProtobufCMessageDescriptor *type = &pasid__v1__request__descriptor;
	const ProtobufCFieldDescriptor *field;

	switch (fuzz_below(random, 8)) {
	case 0:
		request->id = pick_number(random) % 256;
		return;
	case 1:
		request->deadline_case = fuzz_below(random, 2)
						 ? PASID__V1__REQUEST__DEADLINE_DEADLINE_MS
						 : PASID__V1__REQUEST__DEADLINE__NOT_SET;
		request->deadline_ms = fuzz_below(random, 3) * 20;
		return;
	case 2:
		request->descriptors = fuzz_below(random, 4);
		return;
	default:
		break;
	}
	field = protobuf_c_message_descriptor_get_field(type, request->operation_case);
	if (field)
		mutate_message(
			*(ProtobufCMessage **)((uint8_t *)request + field->offset), random, 0);
}

/* Ids that rise, as a client's do. */
static void number_requests(Pasid__V1__ToServer *batch, uint64_t *random)
{
	uint64_t id = 1 + fuzz_below(random, 200);

	for (size_t i = 0; i < batch->n_requests; i++)
		batch->requests[i]->id = id++;
}

static void remove_request(Pasid__V1__ToServer *batch, size_t at)
{
	batch->n_requests--;
	memmove(batch->requests + at, batch->requests + at + 1,
		(batch->n_requests - at) * sizeof(void *));
}

void message_mutate(Pasid__V1__ToServer *batch, const Pasid__V1__ToServer *other, uint64_t *random)
{
	size_t count = batch->n_requests, at = count ? fuzz_below(random, (uint32_t)count) : 0;
	size_t with = count ? fuzz_below(random, (uint32_t)count) : 0;
	Pasid__V1__Request *kept;

	switch (count ? fuzz_below(random, 16) : 0) {
	case 0:
	case 1:
		insert_request(batch, new_request(random), random);
		break;
	case 2:
		insert_request(batch, batch->requests[at], random);
		break;
	case 3:
		remove_request(batch, at);
		break;
	case 4:
		kept = batch->requests[at];
		batch->requests[at] = batch->requests[with];
		batch->requests[with] = kept;
		break;
	case 5:
		batch->seen_below = pick_number(random) % 256;
		break;
	case 6:
		number_requests(batch, random);
		break;
	case 7:
		batch->requests[at]->id = batch->requests[with]->id;
		break;
	case 8:
		if (other && other->n_requests)
			insert_request(batch,
				other->requests[fuzz_below(random, (uint32_t)other->n_requests)],
				random);
		break;
	default:
		mutate_request(batch->requests[at], random);
		break;
	}
}

size_t message_mutate_bytes(uint8_t *data, size_t size, size_t max_size, const uint8_t *other,
	size_t other_size, uint64_t *random)
{
	Pasid__V1__ToServer *batch, *from, empty = PASID__V1__TO_SERVER__INIT;

	message_reset();
	batch = pasid__v1__to_server__unpack(message_allocator(), size, data);
	if (!batch)
		batch = &empty;
	from = other ? pasid__v1__to_server__unpack(message_allocator(), other_size, other) : NULL;
	for (uint32_t i = 1 + fuzz_below(random, 4); i > 0; i--)
		message_mutate(batch, from, random);
	size = pasid__v1__to_server__get_packed_size(batch);
	if (size > max_size)
		return 0;
	(void)pasid__v1__to_server__pack(batch, data);
	return size;
}
