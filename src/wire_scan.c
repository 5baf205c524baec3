/* SPDX-License-Identifier: MIT */
/*
 * The daemon's first look at a datagram: a walk along the bytes with the descriptors of pasid.v1 in
 * hand, which allocates nothing. What passes is what protobuf-c then reads without surprise.
 */
#include "wire_in.h"

#include <string.h>

/* The longest lists of requests; a repeated field that is not named here is not accepted at all. */
static const struct {
	const ProtobufCMessageDescriptor *message;
	const char *field;
	uint32_t max;
} wire_lists[] = {
	{&pasid__v1__to_server__descriptor, "requests", WIRE_REQUESTS_MAX},
	{&pasid__v1__hello__descriptor, "required_features", 16},
	{&pasid__v1__set_create__descriptor, "scopes", 2},
	{&pasid__v1__watch__descriptor, "kinds", 64},
	{&pasid__v1__acknowledge__descriptor, "host_pasids", WIRE_LIST_MAX},
	{&pasid__v1__allocate__descriptor, "devices", 32},
	{&pasid__v1__extend__descriptor, "devices", 32},
	{&pasid__v1__free__descriptor, "pasids", WIRE_LIST_MAX},
	{&pasid__v1__bind__descriptor, "pairs", 32},
	{&pasid__v1__unbind__descriptor, "devices", 32},
	{&pasid__v1__set_move_reserve__descriptor, "grants", 1024},
};

uint32_t wire_list_max(const ProtobufCMessageDescriptor *message, const char *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(wire_lists); i++) {
		if (wire_lists[i].message == message && strcmp(wire_lists[i].field, field) == 0)
			return wire_lists[i].max;
	}
	return 0;
}

bool wire_in_long_varint(struct wire_in *in, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
		uint8_t byte = *in->at++;

		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

static int wire_malformed(const char *message, struct error *ret_error)
{
	return error_set(ret_error, REASON_MALFORMED, "not a well-formed %s", message);
}

/* How many bytes the character at the front has, 0 when it is none. Unicode 15, table 3-7. */
static unsigned wire_utf8_length(const uint8_t *at, size_t size)
{
	uint8_t low = 0x80, high = 0xbf;
	unsigned length;

	if (at[0] < 0x80)
		return at[0] ? 1 : 0;
	if (at[0] < 0xc2 || at[0] > 0xf4)
		return 0;
	length = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
	if (at[0] == 0xe0)
		low = 0xa0;
	else if (at[0] == 0xed)
		high = 0x9f;
	else if (at[0] == 0xf0)
		low = 0x90;
	else if (at[0] == 0xf4)
		high = 0x8f;
	if (size < length || at[1] < low || at[1] > high)
		return 0;
	for (unsigned i = 2; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

static bool wire_is_text(struct wire_in in)
{
	while (in.at < in.end) {
		unsigned length = wire_utf8_length(in.at, (size_t)(in.end - in.at));

		if (!length)
			return false;
		in.at += length;
	}
	return true;
}

static int wire_check_number(const ProtobufCMessageDescriptor *message,
	const ProtobufCFieldDescriptor *type, uint64_t value, struct error *ret_error)
{
	bool fits;

	if (type->type == PROTOBUF_C_TYPE_ENUM)
		fits = value <= INT32_MAX &&
		       protobuf_c_enum_descriptor_get_value(type->descriptor, (int)value);
	else if (type->type == PROTOBUF_C_TYPE_BOOL)
		fits = value <= 1;
	else if (type->type == PROTOBUF_C_TYPE_UINT32)
		fits = value <= UINT32_MAX;
	else
		fits = type->type == PROTOBUF_C_TYPE_UINT64;
	if (fits)
		return 0;
	return error_set(ret_error, REASON_BAD_ARGUMENT, "%s.%s cannot be %llu",
		message->short_name, type->name, (unsigned long long)value);
}

static int wire_check_string(const ProtobufCMessageDescriptor *message,
	const ProtobufCFieldDescriptor *type, struct wire_in in, struct error *ret_error)
{
	size_t size = (size_t)(in.end - in.at);

	if (size > WIRE_STRING_MAX)
		return error_set_limit(ret_error, REASON_TOO_LARGE, 0, WIRE_STRING_MAX, size,
			"%s.%s has %zu bytes, at most %u are accepted", message->short_name,
			type->name, size, WIRE_STRING_MAX);
	if (type->type == PROTOBUF_C_TYPE_STRING && !wire_is_text(in))
		return error_set(ret_error, REASON_MALFORMED, "%s.%s is not UTF-8 without NUL",
			message->short_name, type->name);
	return 0;
}

static int wire_check_message(
	const ProtobufCMessageDescriptor *message, struct wire_in in, struct error *ret_error);

/* Which fields of a message were there. */
struct wire_seen {
	uint64_t fields;   /* bit: index in the descriptor */
	uint32_t elements; /* of its list; no message of requests has more than one */
};

/* A choice is taken twice when another field with the same quantifier was there. */
static bool wire_seen_before(const ProtobufCMessageDescriptor *message,
	const ProtobufCFieldDescriptor *type, uint64_t seen)
{
	if (seen & UINT64_C(1) << (type - message->fields))
		return true;
	if (!(type->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
		return false;
	for (; seen; seen &= seen - 1) {
		const ProtobufCFieldDescriptor *other = &message->fields[__builtin_ctzll(seen)];

		if ((other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
			other->quantifier_offset == type->quantifier_offset)
			return true;
	}
	return false;
}

static int wire_check_length(const ProtobufCMessageDescriptor *message,
	const ProtobufCFieldDescriptor *type, struct wire_seen *seen, struct error *ret_error)
{
	uint32_t max = wire_list_max(message, type->name);

	if (++seen->elements <= max)
		return 0;
	return error_set_limit(ret_error, REASON_TOO_LARGE, 0, max, seen->elements,
		"%s.%s has more than %u elements; send the rest in another request",
		message->short_name, type->name, max);
}

/* Numbers in a list may stand in one field, or each in one of its own. */
static int wire_check_packed(const ProtobufCMessageDescriptor *message,
	const ProtobufCFieldDescriptor *type, struct wire_in in, struct wire_seen *seen,
	struct error *ret_error)
{
	uint64_t value;
	int r;

	while (in.at < in.end) {
		if (!wire_in_varint(&in, &value))
			return wire_malformed(message->short_name, ret_error);
		r = wire_check_length(message, type, seen, ret_error);
		if (!r)
			r = wire_check_number(message, type, value, ret_error);
		if (r)
			return r;
	}
	return 0;
}

static bool wire_is_number(const ProtobufCFieldDescriptor *type)
{
	return type->type != PROTOBUF_C_TYPE_STRING && type->type != PROTOBUF_C_TYPE_BYTES &&
	       type->type != PROTOBUF_C_TYPE_MESSAGE;
}

static int wire_check_value(const ProtobufCMessageDescriptor *message,
	const ProtobufCFieldDescriptor *type, const struct wire_field *field,
	struct error *ret_error)
{
	if (field->type == WIRE_TYPE_VARINT) {
		if (!wire_is_number(type))
			return wire_malformed(message->short_name, ret_error);
		return wire_check_number(message, type, field->value, ret_error);
	}
	if (wire_is_number(type))
		return wire_malformed(message->short_name, ret_error);
	if (type->type == PROTOBUF_C_TYPE_MESSAGE)
		return wire_check_message(type->descriptor, field->in, ret_error);
	return wire_check_string(message, type, field->in, ret_error);
}

static int wire_check_field(const ProtobufCMessageDescriptor *message,
	const struct wire_field *field, struct wire_seen *seen, struct error *ret_error)
{
	const ProtobufCFieldDescriptor *type = wire_field_type(message, field->number);
	int r;

	if (!type && MUTANT(W))
		return 0;
	if (!type)
		return error_set(ret_error, REASON_UNKNOWN_FIELD, "%s has no field %u here",
			message->short_name, field->number);
	if (type->label == PROTOBUF_C_LABEL_REPEATED) {
		if (field->type == WIRE_TYPE_BYTES && wire_is_number(type))
			return wire_check_packed(message, type, field->in, seen, ret_error);
		r = wire_check_length(message, type, seen, ret_error);
		if (r)
			return r;
	} else {
		if (wire_seen_before(message, type, seen->fields))
			return error_set(ret_error, REASON_MALFORMED,
				"%s.%s is there twice, or with another one of its choice",
				message->short_name, type->name);
		seen->fields |= UINT64_C(1) << (type - message->fields);
	}
	return wire_check_value(message, type, field, ret_error);
}

/* No message type contains itself, so the depth is that of the protocol. */
static int wire_check_message(
	const ProtobufCMessageDescriptor *message, struct wire_in in, struct error *ret_error)
{
	struct wire_seen seen = {0};
	struct wire_field field;
	int r;

	while (in.at < in.end) {
		if (!wire_in_field(&in, &field))
			return wire_malformed(message->short_name, ret_error);
		r = wire_check_field(message, &field, &seen, ret_error);
		if (r)
			return r;
	}
	return 0;
}

static int wire_read_operation(
	const struct wire_field *field, struct wire_request *request, struct error *ret_error)
{
	const ProtobufCFieldDescriptor *type = protobuf_c_message_descriptor_get_field(
		&pasid__v1__request__descriptor, field->number);

	if (!type)
		return error_set(ret_error, REASON_UNKNOWN_OPERATION,
			"no operation %u in this version of the protocol", field->number);
	if (field->type != WIRE_TYPE_BYTES || request->operation)
		return wire_malformed("Request", ret_error);
	request->operation = field->number;
	request->type = type->descriptor;
	request->body = field->in.at;
	request->body_size = (uint32_t)(field->in.end - field->in.at);
	return wire_check_message(request->type, field->in, ret_error);
}

/* One of the numbers in front of the operation. */
static int wire_read_head(const struct wire_field *field, uint32_t *seen,
	struct wire_request *request, struct error *ret_error)
{
	if (field->number > 3)
		return error_set(ret_error, REASON_UNKNOWN_FIELD, "Request has no field %u here",
			field->number);
	if (field->type != WIRE_TYPE_VARINT || (*seen & 1u << field->number) ||
		(field->number != 1 && field->value > UINT32_MAX))
		return wire_malformed("Request", ret_error);
	*seen |= 1u << field->number;
	if (field->number == 1)
		request->id = field->value;
	else if (field->number == 2)
		request->deadline_ms = (uint32_t)field->value;
	else
		request->descriptors = (uint32_t)field->value;
	request->has_deadline = *seen & 1u << 2;
	return 0;
}

static int wire_read_request(
	struct wire_in in, struct wire_request *request, struct error *ret_error)
{
	struct wire_field field;
	uint32_t seen = 0;
	int r;

	*request = (struct wire_request){0};
	while (in.at < in.end) {
		if (!wire_in_field(&in, &field))
			return wire_malformed("Request", ret_error);
		r = field.number >= WIRE_OPERATION_FIRST
			    ? wire_read_operation(&field, request, ret_error)
			    : wire_read_head(&field, &seen, request, ret_error);
		if (r)
			return r;
	}
	if (!request->operation)
		return error_set(ret_error, REASON_MALFORMED, "a request without an operation");
	/* the window's floor is one above an id, so the largest number cannot be one */
	if (request->id == 0 || request->id == UINT64_MAX)
		return error_set(
			ret_error, REASON_MALFORMED, "a request's id is from 1 to 2^64 - 2");
	return 0;
}

static int wire_read_field(
	const struct wire_field *field, struct wire_batch *batch, struct error *ret_error)
{
	int r;

	if (field->number == WIRE_TO_SERVER_SEEN_BELOW && field->type == WIRE_TYPE_VARINT &&
		!batch->seen_below) {
		batch->seen_below = field->value;
		return 0;
	}
	if (field->number > WIRE_TO_SERVER_SEEN_BELOW)
		return error_set(ret_error, REASON_UNKNOWN_FIELD, "ToServer has no field %u here",
			field->number);
	if (field->type != WIRE_TYPE_BYTES || field->number != WIRE_TO_SERVER_REQUESTS)
		return wire_malformed("ToServer", ret_error);
	if (batch->count == WIRE_REQUESTS_MAX)
		return error_set_limit(ret_error, REASON_TOO_LARGE, 0, WIRE_REQUESTS_MAX,
			WIRE_REQUESTS_MAX + 1, "more than %u requests in a datagram",
			WIRE_REQUESTS_MAX);
	r = wire_read_request(field->in, &batch->requests[batch->count], ret_error);
	if (r) {
		ret_error->object = batch->requests[batch->count].id;
		return r;
	}
	batch->count++;
	return 0;
}

/* Descriptors have no name of their own: two requests could not tell whose they are. */
static int wire_check_descriptors(const struct wire_batch *batch, struct error *ret_error)
{
	size_t with = 0;

	for (size_t i = 0; i < batch->count; i++) {
		if (!batch->requests[i].descriptors || !with++)
			continue;
		(void)error_set(ret_error, REASON_FD_COUNT,
			"two requests of a datagram have descriptors; send them in two datagrams");
		ret_error->object = batch->requests[i].id;
		return STATUS_INVALID;
	}
	return 0;
}

int wire_read_batch(
	const uint8_t *data, size_t size, struct wire_batch *ret_batch, struct error *ret_error)
{
	struct wire_in in = {data, data ? data + size : NULL};
	struct wire_field field;
	int r;

	ret_batch->count = 0;
	ret_batch->seen_below = 0;
	if (size > WIRE_DATAGRAM_MAX)
		return error_set_limit(ret_error, REASON_TOO_LARGE, 0, WIRE_DATAGRAM_MAX, size,
			"a datagram of more than %u bytes", WIRE_DATAGRAM_MAX);
	while (in.at < in.end) {
		if (!wire_in_field(&in, &field))
			return wire_malformed("ToServer", ret_error);
		r = wire_read_field(&field, ret_batch, ret_error);
		if (r)
			return r;
	}
	return wire_check_descriptors(ret_batch, ret_error);
}
