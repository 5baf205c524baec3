/* SPDX-License-Identifier: MIT */
/* What a client is sent: well-formed, an answer to what it asked, and about its own things. */
#include "world.h"

#include <string.h>

void world_note_owners(struct world *w)
{
	struct actor admin = {ROLE_ADMIN, UINT64_MAX, {0}, &w->f.peer};
	struct set_info info;
	uint64_t cursor = 0;

	while (broker_set_next(w->f.broker, &admin, &cursor, &info)) {
		unsigned i = 0;

		while (i < w->owner_count && w->owners[i].set != info.id.v)
			i++;
		if (i == w->owner_count && i < WORLD_OWNERS)
			w->owners[w->owner_count++] = (struct world_owner){info.id.v, info.uid};
	}
}

/* Is this set somebody else's? Of one that came and went unnoticed nobody knows. */
static bool world_is_foreign(const struct world *w, enum world_slot slot, uint64_t set)
{
	uint32_t uid = world_uid(slot);

	if (slot == WORLD_HANDED)
		return set && set != w->handed_set;
	for (unsigned i = 0; i < w->owner_count; i++) {
		if (w->owners[i].set == set)
			return w->owners[i].uid != uid;
	}
	return false;
}

static void world_judge_field(struct world *w, enum world_slot slot,
	const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);

/* Any message that names a set, wherever it stands in a reply. */
static void world_judge_message(
	struct world *w, enum world_slot slot, const ProtobufCMessage *message)
{
	FUZZ_CHECK(!message->n_unknown_fields);
	for (unsigned i = 0; i < message->descriptor->n_fields; i++)
		world_judge_field(w, slot, message, &message->descriptor->fields[i]);
}

static void world_judge_field(struct world *w, enum world_slot slot,
	const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const uint8_t *base = (const uint8_t *)message;
	const void *value = base + field->offset;
	bool names_set = !strcmp(field->name, "set") ||
			 (message->descriptor == &pasid__v1__set_info__descriptor &&
				 !strcmp(field->name, "id"));

	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
		*(const uint32_t *)(const void *)(base + field->quantifier_offset) != field->id)
		return;
	if (names_set && field->type == PROTOBUF_C_TYPE_UINT64 &&
		world_is_foreign(w, slot, *(const uint64_t *)value))
		FUZZ_FAIL("user %u is told of set %llu of somebody else (%s)", world_uid(slot),
			(unsigned long long)*(const uint64_t *)value, message->descriptor->name);
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);

		for (size_t i = 0; i < count; i++)
			world_judge_message(w, slot, (*(ProtobufCMessage *const *const *)value)[i]);
	} else if (*(ProtobufCMessage *const *)value) {
		world_judge_message(w, slot, *(ProtobufCMessage *const *)value);
	}
}

static void world_judge_status(struct world *w, const Pasid__V1__Status *status)
{
	int r = wire_read_status(status, &w->error);

	FUZZ_CHECK(r > 0 && r <= STATUS_INTERNAL);
	if (w->error.reason == REASON_NONE || w->error.reason == REASON_INTERNAL)
		FUZZ_FAIL("%s: %s", status->reason, status->message);
	FUZZ_CHECK((int)reason_status((enum reason)w->error.reason) == r);
	FUZZ_CHECK(status->message[0]);
}

static void world_judge_reply(
	struct world *w, struct world_link *link, const Pasid__V1__Reply *reply)
{
	struct world_request *request = link->requests;
	struct world_request *end = request + link->requests_count;

	while (request < end && request->id != reply->id)
		request++;
	if (request == end)
		FUZZ_FAIL("reply %llu was not asked for here", (unsigned long long)reply->id);
	if (++request->answered > request->sent)
		FUZZ_FAIL("reply %llu came %u times to %u requests", (unsigned long long)reply->id,
			request->answered, request->sent);
	if (reply->status)
		world_judge_status(w, reply->status);
}

void world_judge(struct world *w, enum world_slot slot, const struct dispatch_datagram *datagram)
{
	struct world_link *link = &w->links[slot];
	const Pasid__V1__ToClient *message;
	uint32_t descriptors = 0;

	FUZZ_CHECK(datagram->size && datagram->size <= WIRE_DATAGRAM_MAX);
	wire_arena_reset(&w->arena);
	FUZZ_CHECK(wire_unpack_replies(
			   &w->arena, datagram->data, datagram->size, &message, &w->error) == 0);
	for (size_t i = 0; i < message->n_replies; i++) {
		world_judge_reply(w, link, message->replies[i]);
		descriptors += message->replies[i]->descriptors;
	}
	FUZZ_CHECK(descriptors == datagram->fd_count && descriptors <= 1);
	if (message->refused) {
		world_judge_status(w, message->refused);
		FUZZ_CHECK(++link->refused_count <= link->datagrams);
	}
	if (world_uid(slot) != 0)
		world_judge_message(w, slot, &message->base);
}
