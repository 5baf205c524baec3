/* SPDX-License-Identifier: MIT */
#include "wire_in.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* protobuf-c stores pointers and 64-bit numbers. */
#define WIRE_ALIGN 8u
/* The smallest allocation that is worth counting is 8 bytes, so that this is a second bound only.
 */
#define WIRE_ALLOCATIONS_MAX 65536u

static void *wire_arena_alloc(void *ctx, size_t size)
{
	struct wire_arena *arena = ctx;
	size_t need = (size + WIRE_ALIGN - 1) & ~(size_t)(WIRE_ALIGN - 1);

	if (!arena->block || need < size || need > arena->size - arena->used ||
		arena->allocations >= arena->allocations_max) {
		arena->exhausted = true;
		return NULL;
	}
	arena->used += need;
	arena->allocations++;
	return arena->block + arena->used - need;
}

static void wire_arena_free(void *ctx, void *pointer)
{
	/* Taken back as a whole by the reset. */
	(void)ctx;
	(void)pointer;
}

void wire_arena_init(struct wire_arena *arena, void *block, size_t size)
{
	assert(((uintptr_t)block & (WIRE_ALIGN - 1)) == 0);
	*arena = (struct wire_arena){
		.block = block,
		.size = size,
		.allocations_max = WIRE_ALLOCATIONS_MAX,
		.allocator = {wire_arena_alloc, wire_arena_free, arena},
	};
}

void wire_arena_reset(struct wire_arena *arena)
{
	arena->used = 0;
	arena->allocations = 0;
	arena->exhausted = false;
}

void wire_arena_done(struct wire_arena *arena)
{
	if (arena->owned)
		free(arena->block);
	*arena = (struct wire_arena){0};
}

static int wire_arena_prepare(struct wire_arena *arena, struct error *ret_error)
{
	if (arena->block)
		return 0;
	arena->block = malloc(arena->size);
	if (!arena->block)
		return error_set(ret_error, REASON_NO_MEMORY,
			"no memory to read messages in (%zu bytes); try again", arena->size);
	arena->owned = true;
	return 0;
}

static int wire_unpack(struct wire_arena *arena, const ProtobufCMessageDescriptor *type,
	const uint8_t *data, size_t size, ProtobufCMessage **ret_message, struct error *ret_error)
{
	/* protobuf-c takes NULL for a failure to allocate even when there are no bytes. */
	static const uint8_t nothing[1];
	ProtobufCMessage *message;
	int r;

	r = wire_arena_prepare(arena, ret_error);
	if (r)
		return r;
	message = wire_unpack_plain(arena, type, data, size);
	if (!message)
		message = protobuf_c_message_unpack(
			type, &arena->allocator, size, data ? data : nothing);
	if (message) {
		*ret_message = message;
		return 0;
	}
	if (arena->exhausted)
		return error_set_limit(ret_error, REASON_TOO_LARGE, 0, arena->size, arena->used,
			"%s needs more than the %zu bytes that a message may take",
			type->short_name, arena->size);
	return error_set(ret_error, REASON_MALFORMED, "not a well-formed %s", type->short_name);
}

int wire_unpack_operation(struct wire_arena *arena, const struct wire_request *request,
	const ProtobufCMessage **ret_message, struct error *ret_error)
{
	ProtobufCMessage *message = NULL;
	int r;

	r = wire_unpack(
		arena, request->type, request->body, request->body_size, &message, ret_error);
	if (r)
		return r;
	*ret_message = message;
	return 0;
}

int wire_unpack_replies(struct wire_arena *arena, const uint8_t *data, size_t size,
	const Pasid__V1__ToClient **ret_message, struct error *ret_error)
{
	ProtobufCMessage *message = NULL;
	int r;

	if (size > WIRE_DATAGRAM_MAX)
		return error_set_limit(ret_error, REASON_TOO_LARGE, 0, WIRE_DATAGRAM_MAX, size,
			"a datagram of more than %u bytes", WIRE_DATAGRAM_MAX);
	r = wire_unpack(arena, &pasid__v1__to_client__descriptor, data, size, &message, ret_error);
	if (r)
		return r;
	*ret_message = (const Pasid__V1__ToClient *)message;
	return 0;
}

enum reason wire_reason(const char *text)
{
	for (unsigned reason = REASON_NONE + 1u; reason < REASON_COUNT; reason++) {
		if (strcmp(reason_text((enum reason)reason), text) == 0)
			return (enum reason)reason;
	}
	return REASON_NONE;
}

int wire_read_status(const Pasid__V1__Status *status, struct error *ret_error)
{
	struct error error = {0};

	if (status) {
		error.reason = wire_reason(status->reason);
		error.sys_errno = status->sys_errno;
		error.object = status->object;
		if (status->limits_case == PASID__V1__STATUS__LIMITS_LIMIT) {
			error.limit = status->limit->limit;
			error.used = status->limit->used;
		}
		strncpy(error.text, status->message, sizeof(error.text) - 1);
	}
	*ret_error = error;
	return status ? (int)status->code : STATUS_OK;
}
