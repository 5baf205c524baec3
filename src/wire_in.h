/* SPDX-License-Identifier: MIT */
/* Of wire*.c only: fields of protobuf messages as they stand in a datagram. */
#ifndef PASIDD_WIRE_IN_H
#define PASIDD_WIRE_IN_H

#include "wire.h"

#define WIRE_TYPE_VARINT 0u
#define WIRE_TYPE_BYTES  2u

/* What is left to read. */
struct wire_in {
	const uint8_t *at, *end;
};

/* One field, as it stands. */
struct wire_field {
	uint32_t number, type;
	uint64_t value;    /* WIRE_TYPE_VARINT */
	struct wire_in in; /* WIRE_TYPE_BYTES */
};

/* A number of more than one byte; false: none, or one of more than 64 bits. */
bool wire_in_long_varint(struct wire_in *in, uint64_t *ret_value);

static inline bool wire_in_varint(struct wire_in *in, uint64_t *ret_value)
{
	const uint8_t *at = in->at;

	if (at == in->end)
		return false;
	if (*at < 0x80) {
		*ret_value = *at;
		in->at = at + 1;
		return true;
	}
	if (in->end - at == 1 || at[1] > 0x7f)
		return wire_in_long_varint(in, ret_value);
	*ret_value = (*at & 0x7fu) | (uint64_t)at[1] << 7;
	in->at = at + 2;
	return true;
}

/* The next field; false: not well-formed, or of a type that no message of ours has. */
static inline bool wire_in_field(struct wire_in *in, struct wire_field *ret_field)
{
	uint64_t tag, size;

	if (!wire_in_varint(in, &tag) || tag > UINT32_MAX || tag < 8)
		return false;
	ret_field->number = (uint32_t)tag >> 3;
	ret_field->type = tag & 7;
	if (ret_field->type == WIRE_TYPE_VARINT)
		return wire_in_varint(in, &ret_field->value);
	if (ret_field->type != WIRE_TYPE_BYTES) /* no message of ours has a fixed-size field */
		return false;
	if (!wire_in_varint(in, &size) || size > (size_t)(in->end - in->at))
		return false;
	ret_field->in = (struct wire_in){in->at, in->at + size};
	in->at += size;
	return true;
}

/* The field with this number; NULL: the message has none. */
static inline const ProtobufCFieldDescriptor *wire_field_type(
	const ProtobufCMessageDescriptor *message, uint32_t number)
{
	/* Most messages number their fields from 1 on. */
	if (number - 1 < message->n_fields && message->fields[number - 1].id == number)
		return &message->fields[number - 1];
	return protobuf_c_message_descriptor_get_field(message, number);
}

/*
 * The message, if it is plain: no packed lists, no lists of numbers, no bytes, no field twice, none
 * that is not known. NULL: leave it to protobuf-c; the arena is as it was.
 */
ProtobufCMessage *wire_unpack_plain(struct wire_arena *arena,
	const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size);

#endif
