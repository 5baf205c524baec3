/* SPDX-License-Identifier: MIT */
/*
 * Bytes <-> messages of pasid.v1, for the daemon and the client library. No I/O.
 *
 * The daemon reads in two steps. wire_read_batch() walks a datagram without allocating anything and
 * refuses, as a whole, what is no batch of well-formed requests; then wire_unpack_operation() makes
 * one request at a time into its protobuf-c message. So what a datagram can make the daemon spend
 * is bounded before anything is spent: protobuf-c 1.4 by itself has no such bound.
 *
 * Writing appends fields to a buffer. Fields of one message may come in any order and datagrams may
 * be put together from them, so that batches need no message built in memory first.
 */
#ifndef PASIDD_WIRE_H
#define PASIDD_WIRE_H

#include <pasid.pb-c.h>

#include "error.h"

#define WIRE_DATAGRAM_MAX 65536u /* bytes */
#define WIRE_REQUESTS_MAX 256u   /* in a datagram */
#define WIRE_FDS_MAX      2u     /* descriptors that any request or reply has */
#define WIRE_LIST_MAX     4096u  /* elements of the longest list in a request */
#define WIRE_STRING_MAX   64u    /* bytes of a string or byte field in a request */
#define WIRE_TOKEN_SIZE   16u    /* of a resume token and of an instance id */
#define WIRE_ARENA_SIZE   (1u << 20)

/* ---------------------------------------------------------------- memory for protobuf-c */

/* Memory that is handed out once and taken back as a whole. */
struct wire_arena {
	uint8_t *block;
	size_t size, used;
	uint32_t allocations, allocations_max;
	bool owned;     /* the block is ours to free */
	bool exhausted; /* something did not fit since the last reset */
	ProtobufCAllocator allocator;
};

/*
 * With block NULL, `size` bytes are allocated at the first use. Otherwise the block is the
 * caller's, and outlives the arena. The arena must not be moved in memory.
 */
void wire_arena_init(struct wire_arena *arena, void *block, size_t size);
void wire_arena_reset(struct wire_arena *arena);
void wire_arena_done(struct wire_arena *arena);

/* ---------------------------------------------------------------- the daemon reads */

/* A request as it stands in the datagram, validated. */
struct wire_request {
	uint64_t id;                            /* never 0 */
	const uint8_t *body;                    /* the operation's message, in the datagram */
	const ProtobufCMessageDescriptor *type; /* of that */
	uint32_t body_size;
	uint32_t operation; /* field number in pasid.v1.Request, one that exists */
	uint32_t descriptors;
	uint32_t deadline_ms;
	bool has_deadline;
};

struct wire_batch {
	uint64_t seen_below;
	size_t count;
	struct wire_request requests[WIRE_REQUESTS_MAX];
};

/*
 * Checks a datagram down to its last field: well-formed, no unknown field or enum value, no field
 * twice, numbers that fit their type, strings that are UTF-8 without NUL and within
 * WIRE_STRING_MAX, lists within their limits, every request with an id and exactly one operation,
 * at most one with descriptors. Returns 0, or STATUS_* with the reason; error->object is then the
 * id of the request at fault, where it is known.
 */
int wire_read_batch(
	const uint8_t *data, size_t size, struct wire_batch *ret_batch, struct error *ret_error);

/*
 * The operation's message, of the type that pasid.v1.Request has for it; lives until the arena is
 * reset. STATUS_INVALID with REASON_TOO_LARGE when it does not fit the arena (a whole
 * WIRE_ARENA_SIZE is enough for all that wire_read_batch() accepts), STATUS_RETRY with
 * REASON_NO_MEMORY.
 */
int wire_unpack_operation(struct wire_arena *arena, const struct wire_request *request,
	const ProtobufCMessage **ret_message, struct error *ret_error);

/* How many elements a repeated field of a request may have; 0: it is none. For tests and documents.
 */
uint32_t wire_list_max(const ProtobufCMessageDescriptor *message, const char *field);

/* ---------------------------------------------------------------- the client reads */

/* Fields that are not known are passed over. Lives until the arena is reset. */
int wire_unpack_replies(struct wire_arena *arena, const uint8_t *data, size_t size,
	const Pasid__V1__ToClient **ret_message, struct error *ret_error);

/*
 * What a status says; NULL, which means done, gives STATUS_OK and an error without reason. A reason
 * that this library does not know becomes REASON_NONE; its text is in status->reason. Returns the
 * status.
 */
int wire_read_status(const Pasid__V1__Status *status, struct error *ret_error);

/* The reason with this stable text, REASON_NONE when there is none. */
enum reason wire_reason(const char *text);

/* ---------------------------------------------------------------- both write */

/* A buffer that is appended to. What does not fit is not written at all, and sets `full` for good.
 */
struct wire_out {
	uint8_t *data;
	size_t size, room;
	bool full;
};

static inline struct wire_out wire_out_init(uint8_t *data, size_t room)
{
	return (struct wire_out){.data = data, .room = room};
}

/* A number; like all of these, with its field number in the message that is being written. */
void wire_out_uint(struct wire_out *out, uint32_t field, uint64_t value);
void wire_out_bytes(struct wire_out *out, uint32_t field, const void *data, size_t size);
void wire_out_string(struct wire_out *out, uint32_t field, const char *text);
/* A message as a field. */
void wire_out_message(struct wire_out *out, uint32_t field, const ProtobufCMessage *message);
/* Its fields, as those of the message that is being written. */
void wire_out_fields(struct wire_out *out, const ProtobufCMessage *message);
#define WIRE_RUN_MAX 10u /* bytes that a run takes at most: numbers have 20 bits */
/* A pasid.v1.PasidRun. */
void wire_out_run(struct wire_out *out, uint32_t field, uint32_t first, uint32_t count);
/* A pasid.v1.Status from what was refused. */
void wire_out_status(struct wire_out *out, uint32_t field, int status, const struct error *error);

/* The tag and length of a field of which `content` bytes are in place behind `data + size`, within
 * room. */
void wire_out_front(struct wire_out *out, uint32_t field, size_t content);

/* How many bytes a field with this many bytes of content takes, its tag and length included. */
size_t wire_field_size(uint32_t field, size_t content);

/* A pasid.v1.Request into a ToServer; only the head of `request` is used, the operation is
 * `message`. */
void wire_out_request(
	struct wire_out *out, const struct wire_request *request, const ProtobufCMessage *message);

/* Field numbers of the envelopes. */
#define WIRE_TO_SERVER_REQUESTS   1u
#define WIRE_TO_SERVER_SEEN_BELOW 2u
#define WIRE_TO_CLIENT_REPLIES    1u
#define WIRE_TO_CLIENT_EVENTS     2u
#define WIRE_TO_CLIENT_REFUSED    3u
#define WIRE_REPLY_STATUS         2u
#define WIRE_OPERATION_FIRST      16u

/* The most that wire_out_reply() adds to the body. */
#define WIRE_REPLY_OVERHEAD 32u

/* A pasid.v1.Reply into a ToClient: the body is its encoded status and result, as they are wanted.
 */
void wire_out_reply(struct wire_out *out, uint64_t id, uint32_t descriptors, const uint8_t *body,
	size_t body_size);

/* ---------------------------------------------------------------- RIDs as text */

#define WIRE_RID_LEN sizeof("ffff:ff:1f.7")

/* "ssss:bb:dd.f", always with the segment. */
void wire_rid_format(struct rid rid, char ret_text[static WIRE_RID_LEN]);
/* "[ssss:]bb:dd.f" in hexadecimal digits, full width. Returns 0 or STATUS_INVALID. */
int wire_rid_parse(const char *text, struct rid *ret_rid);

#endif
