/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <string.h>

#define WIRE_TYPE_VARINT 0u
#define WIRE_TYPE_BYTES  2u

static size_t wire_varint_size(uint64_t value)
{
	return value < 0x80 ? 1 : (size_t)(63 - __builtin_clzll(value)) / 7 + 1;
}

static size_t wire_tag_size(uint32_t field)
{
	return wire_varint_size((uint64_t)field << 3);
}

static size_t wire_uint_size(uint32_t field, uint64_t value)
{
	return wire_tag_size(field) + wire_varint_size(value);
}

size_t wire_field_size(uint32_t field, size_t content)
{
	return wire_tag_size(field) + wire_varint_size(content) + content;
}

/* The caller has made sure that there is room. */
static void wire_put_varint(struct wire_out *out, uint64_t value)
{
	while (value > 0x7f) {
		out->data[out->size++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	out->data[out->size++] = (uint8_t)value;
}

static void wire_put_tag(struct wire_out *out, uint32_t field, uint32_t type)
{
	wire_put_varint(out, (uint64_t)field << 3 | type);
}

/* Room for so many bytes? A message that misses a field must not be sent: full stays. */
static bool wire_out_fits(struct wire_out *out, size_t size)
{
	if (size > out->room - out->size)
		out->full = true;
	return !out->full;
}

/* The most that a tag and a number take. */
#define WIRE_HEAD_MAX 15u

/* Writes the front of a field of which `content` bytes follow, if all of it fits. */
static inline bool wire_out_open(struct wire_out *out, uint32_t field, size_t content)
{
	/* How long the front is matters only where the room ends. */
	if ((out->full || out->room - out->size < content + WIRE_HEAD_MAX) &&
		!wire_out_fits(out, wire_field_size(field, content)))
		return false;
	wire_put_tag(out, field, WIRE_TYPE_BYTES);
	wire_put_varint(out, content);
	return true;
}

void wire_out_front(struct wire_out *out, uint32_t field, size_t content)
{
	if (wire_out_open(out, field, content))
		out->size += content;
}

void wire_out_uint(struct wire_out *out, uint32_t field, uint64_t value)
{
	if ((out->full || out->room - out->size < WIRE_HEAD_MAX) &&
		!wire_out_fits(out, wire_uint_size(field, value)))
		return;
	wire_put_tag(out, field, WIRE_TYPE_VARINT);
	wire_put_varint(out, value);
}

static void wire_put_bytes(struct wire_out *out, const void *data, size_t size)
{
	if (size)
		memcpy(out->data + out->size, data, size);
	out->size += size;
}

void wire_out_bytes(struct wire_out *out, uint32_t field, const void *data, size_t size)
{
	if (wire_out_open(out, field, size))
		wire_put_bytes(out, data, size);
}

void wire_out_string(struct wire_out *out, uint32_t field, const char *text)
{
	wire_out_bytes(out, field, text, strlen(text));
}

void wire_out_message(struct wire_out *out, uint32_t field, const ProtobufCMessage *message)
{
	if (wire_out_open(out, field, protobuf_c_message_get_packed_size(message)))
		out->size += protobuf_c_message_pack(message, out->data + out->size);
}

void wire_out_fields(struct wire_out *out, const ProtobufCMessage *message)
{
	if (wire_out_fits(out, protobuf_c_message_get_packed_size(message)))
		out->size += protobuf_c_message_pack(message, out->data + out->size);
}

void wire_out_run(struct wire_out *out, uint32_t field, uint32_t first, uint32_t count)
{
	if (!wire_out_open(out, field, 2 + wire_varint_size(first) + wire_varint_size(count)))
		return;
	wire_put_tag(out, 1, WIRE_TYPE_VARINT);
	wire_put_varint(out, first);
	wire_put_tag(out, 2, WIRE_TYPE_VARINT);
	wire_put_varint(out, count);
}

void wire_out_status(struct wire_out *out, uint32_t field, int status, const struct error *error)
{
	Pasid__V1__Limit limit = PASID__V1__LIMIT__INIT;
	Pasid__V1__Status message = PASID__V1__STATUS__INIT;

	message.code = (Pasid__V1__Code)status;
	message.reason = (char *)reason_text((enum reason)error->reason);
	message.message = (char *)error->text;
	message.object = error->object;
	message.sys_errno = error->sys_errno;
	if (error->limit || error->used) {
		limit.limit = error->limit;
		limit.used = error->used;
		message.limits_case = PASID__V1__STATUS__LIMITS_LIMIT;
		message.limit = &limit;
	}
	wire_out_message(out, field, &message.base);
}

void wire_out_request(
	struct wire_out *out, const struct wire_request *request, const ProtobufCMessage *message)
{
	size_t size =
		wire_uint_size(1, request->id) +
		wire_field_size(request->operation, protobuf_c_message_get_packed_size(message));

	if (request->has_deadline)
		size += wire_uint_size(2, request->deadline_ms);
	if (request->descriptors)
		size += wire_uint_size(3, request->descriptors);
	if (!wire_out_open(out, WIRE_TO_SERVER_REQUESTS, size))
		return;
	wire_out_uint(out, 1, request->id);
	if (request->has_deadline)
		wire_out_uint(out, 2, request->deadline_ms);
	if (request->descriptors)
		wire_out_uint(out, 3, request->descriptors);
	wire_out_message(out, request->operation, message);
}

void wire_out_reply(struct wire_out *out, uint64_t id, uint32_t descriptors, const uint8_t *body,
	size_t body_size)
{
	size_t size = wire_uint_size(1, id) + body_size;

	if (descriptors)
		size += wire_uint_size(3, descriptors);
	if (!wire_out_open(out, WIRE_TO_CLIENT_REPLIES, size))
		return;
	wire_out_uint(out, 1, id);
	if (descriptors)
		wire_out_uint(out, 3, descriptors);
	wire_put_bytes(out, body, body_size);
}
