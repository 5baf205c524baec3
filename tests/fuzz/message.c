/* SPDX-License-Identifier: MIT */
/* What is acceptable, written a second time and from the protocol's documents, not from wire.c. */
#include "message.h"

#include <string.h>

#define MEMORY_SIZE (8u << 20)

static struct {
	_Alignas(16) uint8_t bytes[MEMORY_SIZE];
	size_t used;
} memory;

static void *memory_alloc(void *ctx, size_t size)
{
	void *at = memory.bytes + memory.used;

	(void)ctx;
	size = (size + 15) & ~(size_t)15;
	if (size > MEMORY_SIZE - memory.used)
		return NULL;
	memory.used += size;
	return at;
}

static void memory_free(void *ctx, void *at)
{
	(void)ctx;
	(void)at;
}

ProtobufCAllocator *message_allocator(void)
{
	static ProtobufCAllocator allocator = {memory_alloc, memory_free, NULL};

	return &allocator;
}

void message_reset(void)
{
	memory.used = 0;
}

/* Decodes and encodes again: other than the walk of wire_scan.c, and shorter. */
static bool text_is_acceptable(const char *text)
{
	const uint8_t *at = (const uint8_t *)text;

	while (*at) {
		unsigned more = *at < 0x80 ? 0 : *at >> 5 == 6 ? 1 : *at >> 4 == 14 ? 2 : 3;
		static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
		uint32_t code = more ? *at & (0x3fu >> more) : *at;

		if (*at >= 0x80 && (*at < 0xc0 || *at >= 0xf8))
			return false;
		for (unsigned i = 0; i < more; i++) {
			if ((*++at & 0xc0) != 0x80)
				return false;
			code = code << 6 | (*at & 0x3f);
		}
		if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
			return false;
		at++;
	}
	return true;
}

static bool value_is_acceptable(const ProtobufCFieldDescriptor *field, const void *value)
{
	const ProtobufCBinaryData *bytes = value;
	const ProtobufCMessage *const *message = value;
	const char *const *text = value;

	switch ((unsigned)field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return !*message || message_is_acceptable(*message);
	case PROTOBUF_C_TYPE_STRING:
		return !*text || (strlen(*text) <= WIRE_STRING_MAX && text_is_acceptable(*text));
	case PROTOBUF_C_TYPE_BYTES:
		return bytes->len <= WIRE_STRING_MAX;
	case PROTOBUF_C_TYPE_ENUM:
		return protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)value);
	default:
		return true;
	}
}

size_t message_value_size(const ProtobufCFieldDescriptor *field)
{
	switch ((unsigned)field->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_STRING:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_UINT64:
		return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	default:
		return sizeof(uint32_t);
	}
}

static bool field_is_acceptable(
	const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const uint8_t *base = (const uint8_t *)message;
	const void *quantifier = base + field->quantifier_offset;
	size_t count;

	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
		*(const uint32_t *)quantifier != field->id)
		return true;
	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return value_is_acceptable(field, base + field->offset);
	count = *(const size_t *)quantifier;
	if (count > wire_list_max(message->descriptor, field->name))
		return false;
	for (size_t i = 0; i < count; i++) {
		const uint8_t *list = *(const uint8_t *const *)(base + field->offset);

		if (!value_is_acceptable(field, list + i * message_value_size(field)))
			return false;
	}
	return true;
}

bool message_is_acceptable(const ProtobufCMessage *message)
{
	if (message->n_unknown_fields)
		return false;
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		if (!field_is_acceptable(message, &message->descriptor->fields[i]))
			return false;
	}
	return true;
}

bool message_is_batch(const Pasid__V1__ToServer *batch)
{
	unsigned with = 0;

	if (!message_is_acceptable(&batch->base))
		return false;
	for (size_t i = 0; i < batch->n_requests; i++) {
		const Pasid__V1__Request *request = batch->requests[i];

		if (!request->id || request->id == UINT64_MAX ||
			request->operation_case == PASID__V1__REQUEST__OPERATION__NOT_SET)
			return false;
		with += request->descriptors != 0;
	}
	return with <= 1;
}
