/* SPDX-License-Identifier: MIT */
/*
 * Messages of pasid.v1 as trees, by their descriptors alone, so that what is added to the protocol
 * is mutated and judged without a change here.
 */
#ifndef PASIDD_FUZZ_MESSAGE_H
#define PASIDD_FUZZ_MESSAGE_H

#include "fuzz.h"
#include "wire.h"

/* Memory for one mutation; taken back as a whole by the next message_reset(). */
ProtobufCAllocator *message_allocator(void);
void message_reset(void);

/* Bytes of a value of this field, or of one element of its list. */
size_t message_value_size(const ProtobufCFieldDescriptor *field);

/*
 * Is it within all that wire.h says of requests: no unknown field or enum value, lists, strings and
 * bytes within their limits, text that is text?
 */
bool message_is_acceptable(const ProtobufCMessage *message);
/* The same of a whole datagram: ids, one operation each, descriptors with one of them only. */
bool message_is_batch(const Pasid__V1__ToServer *batch);

/*
 * Changes a datagram a little: values, fields, elements, whole requests; `other`, unless NULL, is
 * one to take requests from. What comes out is made with message_allocator().
 */
void message_mutate(Pasid__V1__ToServer *batch, const Pasid__V1__ToServer *other, uint64_t *random);

/*
 * The same of bytes. What is no ToServer is replaced by a new one. Returns the new size; 0 when it
 * does not fit.
 */
size_t message_mutate_bytes(uint8_t *data, size_t size, size_t max_size, const uint8_t *other,
	size_t other_size, uint64_t *random);

#endif
