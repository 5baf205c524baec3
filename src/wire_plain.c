/* SPDX-License-Identifier: MIT */
/*
 * What protobuf-c would make of a message, in a fraction of its time: for messages without anything
 * that is rare. Everything else is left to protobuf-c.
 */
#include "wire_in.h"

#include <string.h>

static void *wire_alloc(struct wire_arena *arena, size_t size)
{
	return arena->allocator.alloc(arena, size);
}

static void *wire_member(ProtobufCMessage *message, unsigned offset)
{
	return (uint8_t *)message + offset;
}

/* Takes a choice; false: another one of it was taken, or this one before. */
static bool wire_choose(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	uint32_t *choice = wire_member(message, field->quantifier_offset);

	if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
		return true;
	if (*choice != 0)
		return false;
	*choice = field->id;
	return true;
}

static bool wire_store_number(
	ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, uint64_t value)
{
	void *at = wire_member(message, field->offset);

	if (field->type == PROTOBUF_C_TYPE_UINT32)
		*(uint32_t *)at = (uint32_t)value;
	else if (field->type == PROTOBUF_C_TYPE_UINT64)
		*(uint64_t *)at = value;
	else if (field->type == PROTOBUF_C_TYPE_BOOL)
		*(protobuf_c_boolean *)at = value != 0;
	else if (field->type == PROTOBUF_C_TYPE_ENUM || field->type == PROTOBUF_C_TYPE_INT32)
		*(int32_t *)at = (int32_t)(uint32_t)value;
	else
		return false;
	return true;
}

static bool wire_store_string(struct wire_arena *arena, ProtobufCMessage *message,
	const ProtobufCFieldDescriptor *field, struct wire_in in)
{
	const size_t size = (size_t)(in.end - in.at);
	char *text = wire_alloc(arena, size + 1);

	if (!text)
		return false;
	memcpy(text, in.at, size);
	text[size] = '\0';
	*(char **)wire_member(message, field->offset) = text;
	return true;
}

/* How many fields like this one are there from here on? */
static size_t wire_count(struct wire_in in, uint32_t number)
{
	struct wire_field field;
	size_t count = 0;

	while (in.at < in.end && wire_in_field(&in, &field))
		count += field.number == number;
	return count;
}

/* The place for another element; `rest` is what follows it. NULL: no memory. */
static ProtobufCMessage **wire_element(struct wire_arena *arena, ProtobufCMessage *message,
	const ProtobufCFieldDescriptor *field, struct wire_in rest)
{
	size_t *count = wire_member(message, field->quantifier_offset);
	ProtobufCMessage ***elements = wire_member(message, field->offset);

	/* All of them are made room for when the first one comes. */
	if (*count == 0)
		*elements = wire_alloc(arena, (1 + wire_count(rest, field->id)) * sizeof(void *));
	return *elements ? &(*elements)[(*count)++] : NULL;
}

static ProtobufCMessage *wire_plain(
	struct wire_arena *arena, const ProtobufCMessageDescriptor *type, struct wire_in in);

static bool wire_store_message(struct wire_arena *arena, ProtobufCMessage *message,
	const ProtobufCFieldDescriptor *field, struct wire_in in, struct wire_in rest)
{
	ProtobufCMessage **at = wire_member(message, field->offset);

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		at = wire_element(arena, message, field, rest);
	else if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *at)
		return false; /* two would have to be merged */
	if (!at)
		return false;
	*at = wire_plain(arena, field->descriptor, in);
	return *at != NULL;
}

static bool wire_store(struct wire_arena *arena, ProtobufCMessage *message,
	const ProtobufCFieldDescriptor *member, const struct wire_field *field, struct wire_in rest)
{
	const bool repeated = member->label == PROTOBUF_C_LABEL_REPEATED;

	if (!wire_choose(message, member))
		return false;
	if (field->type == WIRE_TYPE_BYTES && member->type == PROTOBUF_C_TYPE_MESSAGE)
		return wire_store_message(arena, message, member, field->in, rest);
	if (repeated)
		return false;
	if (field->type == WIRE_TYPE_BYTES)
		return member->type == PROTOBUF_C_TYPE_STRING &&
		       wire_store_string(arena, message, member, field->in);
	return wire_store_number(message, member, field->value);
}

/* No message type contains itself, so the depth is that of the protocol. */
static ProtobufCMessage *wire_plain(
	struct wire_arena *arena, const ProtobufCMessageDescriptor *type, struct wire_in in)
{
	ProtobufCMessage *message = wire_alloc(arena, type->sizeof_message);
	struct wire_field field;

	if (!message)
		return NULL;
	type->message_init(message);
	while (in.at < in.end) {
		const ProtobufCFieldDescriptor *member;

		if (!wire_in_field(&in, &field))
			return NULL;
		member = wire_field_type(type, field.number);
		if (!member || !wire_store(arena, message, member, &field, in))
			return NULL;
	}
	return message;
}

ProtobufCMessage *wire_unpack_plain(struct wire_arena *arena,
	const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size)
{
	const struct wire_arena before = *arena;
	ProtobufCMessage *message =
		wire_plain(arena, type, (struct wire_in){data, data ? data + size : NULL});

	if (!message)
		*arena = before;
	return message;
}
