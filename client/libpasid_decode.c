/* SPDX-License-Identifier: MIT */
/* Replies and events of the protocol as the plain structs of the public header. */
#include "libpasid_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void decode_copy(char *to, size_t room, const char *from)
{
	size_t size = from != NULL ? strnlen(from, room - 1) : 0;
	if (size > 0)
		memcpy(to, from, size);
	to[size] = '\0';
}

/* Words with spaces between; one that does not fit ends it. */
static void decode_words(char *to, size_t room, char *const *words, size_t count)
{
	size_t size = 0;
	to[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(words[i]);
		if (size + length + 2 > room)
			return;
		if (i > 0)
			to[size++] = ' ';
		memcpy(to + size, words[i], length + 1);
		size += length;
	}
}

void decode_status(const Pasid__V1__Status *status, struct pasid_error *ret_error)
{
	struct pasid_error error = {
		.code = (int)status->code,
		.sys_errno = status->sys_errno,
		.object = status->object,
	};
	if (status->limits_case == PASID__V1__STATUS__LIMITS_LIMIT) {
		error.has_limit = true;
		error.limit = status->limit->limit;
		error.used = status->limit->used;
	}
	if (error.code < 0)
		error.code = -EPROTO; /* those are ours: what a daemon says is positive */
	decode_copy(error.reason, sizeof(error.reason), status->reason);
	decode_copy(error.message, sizeof(error.message), status->message);
	*ret_error = error;
}

void decode_event(const Pasid__V1__Event *event, struct pasid_event *ret_event)
{
	*ret_event = (struct pasid_event){
		.sequence = event->sequence,
		.kind = (enum pasid_event_kind)event->kind,
		.set = event->set,
		.device = event->device,
		.host_pasid = event->host_pasid,
		.lost = event->lost,
	};
	if (event->guest_case == PASID__V1__EVENT__GUEST_GUEST_PASID) {
		ret_event->has_guest = true;
		ret_event->guest_pasid = event->guest_pasid;
	}
}

/* ------------------------------------------------------------ objects */

static void decode_counter(const Pasid__V1__Counter *counter, struct pasid_counter *ret)
{
	if (counter != NULL)
		*ret = (struct pasid_counter){
			counter->limit, counter->current, counter->peak, counter->hits};
}

static void decode_set(const Pasid__V1__SetInfo *set, struct pasid_set_info *ret)
{
	*ret = (struct pasid_set_info){
		.id = set->id,
		.mode = (enum pasid_set_mode)set->mode,
		.uid = set->uid,
		.active = set->active,
		.quarantined = set->quarantined,
		.devices = set->devices,
		.bindings = set->bindings,
		.owned_by_session = set->owned_by_session,
		.dying = set->dying,
		.move = (enum pasid_move_state)set->move,
	};
	for (size_t i = 0; i < set->n_scopes; i++)
		ret->scopes |= (uint32_t)set->scopes[i];
	decode_copy(ret->name, sizeof(ret->name), set->name);
	decode_counter(set->pasids, &ret->pasids);
}

/* `awaited` has room for as many as there are. */
static void decode_grant(const Pasid__V1__GrantInfo *grant, struct pasid_participant *awaited,
	struct pasid_grant_info *ret)
{
	*ret = (struct pasid_grant_info){
		.host_pasid = grant->host_pasid,
		.state = (enum pasid_grant_state)grant->state,
		.set = grant->set,
		.data = grant->data,
		.holds = grant->holds,
		.bindings = grant->bindings,
		.cooling_ms = grant->cooling_ms,
		.scope = (enum pasid_scope)grant->scope,
	};
	for (size_t i = 0; i < grant->n_groups && i < PASID_PAIRS_MAX; i++)
		ret->groups[ret->group_count++] = grant->groups[i];
	ret->awaited = awaited;
	for (size_t i = 0; i < grant->n_awaited; i++)
		awaited[ret->awaited_count++] = (struct pasid_participant){
			.session = grant->awaited[i]->session,
			.uid = grant->awaited[i]->uid,
			.pid = grant->awaited[i]->pid,
		};
	decode_copy(ret->set_name, sizeof(ret->set_name), grant->set_name);
	decode_words(
		ret->quarantine, sizeof(ret->quarantine), grant->quarantine, grant->n_quarantine);
	if (grant->guest_case == PASID__V1__GRANT_INFO__GUEST_GUEST_PASID) {
		ret->has_guest = true;
		ret->guest_pasid = grant->guest_pasid;
	}
}

static void decode_device(const Pasid__V1__DeviceInfo *device, struct pasid_device_info *ret)
{
	*ret = (struct pasid_device_info){
		.id = device->id,
		.kind = (enum pasid_device_kind)device->kind,
		.set = device->set,
		.shared = device->shared,
		.group = device->group,
		.pasid_width = device->pasid_width,
		.dev_id = device->dev_id,
		.bindings = device->bindings,
		.tainted = device->tainted,
	};
	decode_copy(ret->address, sizeof(ret->address), device->address);
	decode_copy(ret->iommu, sizeof(ret->iommu), device->iommu);
	decode_words(ret->capabilities, sizeof(ret->capabilities), device->capabilities,
		device->n_capabilities);
	for (size_t i = 0; i < device->n_registers && i < ARRAY_SIZE(ret->registers); i++)
		ret->registers[ret->register_count++] = device->registers[i];
}

static void decode_attached(const Pasid__V1__AttachedTable *table, struct pasid_attached *ret)
{
	*ret = (struct pasid_attached){table->device, table->hwpt, table->made};
}

static void decode_binding(const Pasid__V1__BindingInfo *binding, struct pasid_binding_info *ret)
{
	*ret = (struct pasid_binding_info){
		.id = binding->id,
		.set = binding->set,
		.device = binding->device,
		.state = (enum pasid_binding_state)binding->state,
	};
	decode_copy(ret->set_name, sizeof(ret->set_name), binding->set_name);
	decode_copy(ret->address, sizeof(ret->address), binding->address);
	if (binding->pasid_case == PASID__V1__BINDING_INFO__PASID_HOST_PASID) {
		ret->has_pasid = true;
		ret->host_pasid = binding->host_pasid;
	}
	if (binding->guest_case == PASID__V1__BINDING_INFO__GUEST_GUEST_PASID) {
		ret->has_guest = true;
		ret->guest_pasid = binding->guest_pasid;
	}
	if (binding->table == NULL)
		return;
	decode_attached(binding->table, &ret->table);
	ret->viommu = binding->table->viommu;
	ret->vdevice = binding->table->vdevice;
	ret->stream = binding->table->stream;
}

static void decode_hold(const Pasid__V1__HoldInfo *hold, struct pasid_hold_info *ret)
{
	*ret = (struct pasid_hold_info){
		.session = hold->session,
		.uid = hold->uid,
		.set = hold->set,
		.host_pasid = hold->host_pasid,
		.times = hold->times,
		.state = (enum pasid_grant_state)hold->state,
	};
	decode_copy(ret->set_name, sizeof(ret->set_name), hold->set_name);
}

static void decode_limit(const Pasid__V1__LimitInfo *limit, struct pasid_limit_info *ret)
{
	*ret = (struct pasid_limit_info){
		.level = (enum pasid_limit_level)limit->level,
		.aside = limit->aside,
		.uid = limit->uid,
		.set = limit->set,
	};
	decode_copy(ret->resource, sizeof(ret->resource), limit->resource);
	decode_copy(ret->set_name, sizeof(ret->set_name), limit->set_name);
	decode_copy(ret->key, sizeof(ret->key), limit->key);
	decode_counter(limit->use, &ret->use);
}

static void decode_host(const Pasid__V1__StatusResult *status, struct pasid_host_status *ret)
{
	*ret = (struct pasid_host_status){
		.uptime_ms = status->uptime_ms,
		.quarantined = status->quarantined,
		.sets = status->sets,
		.devices = status->devices,
		.bindings = status->bindings,
		.sessions = status->sessions,
		.operations = status->operations,
		.reserved_first = status->reserved_first,
		.reserved_last = status->reserved_last,
		.pasid_width = status->pasid_width,
		.consistent = status->consistent,
	};
	decode_copy(ret->version, sizeof(ret->version), status->version);
	decode_copy(ret->backend, sizeof(ret->backend), status->backend);
	if (status->instance.len == sizeof(ret->instance))
		memcpy(ret->instance, status->instance.data, sizeof(ret->instance));
	decode_counter(status->pasids, &ret->pasids);
	for (size_t i = 0; i < status->n_notes && i < ARRAY_SIZE(ret->notes); i++)
		decode_copy(ret->notes[ret->note_count++], sizeof(ret->notes[0]), status->notes[i]);
	for (size_t i = 0; i < status->n_counters && i < ARRAY_SIZE(ret->counters); i++) {
		decode_copy(ret->counters[i].name, sizeof(ret->counters[i].name),
			status->counters[i]->name);
		ret->counters[i].value = status->counters[i]->value;
		ret->counter_count++;
	}
}

/* Bytes that have to be so many, or are not there. */
static bool decode_bytes(const ProtobufCBinaryData *from, size_t size, uint8_t *to)
{
	if (from->len != size)
		return false;
	memcpy(to, from->data, size);
	return true;
}

static void decode_move(const Pasid__V1__SetMoveInfo *move, struct pasid_move_info *ret)
{
	*ret = (struct pasid_move_info){
		.set = move->set,
		.state = (enum pasid_move_state)move->state,
		.ending = move->ending,
		.mode = (enum pasid_set_mode)move->mode,
		.uid = move->uid,
		.quota = move->quota,
		.scopes = move->scopes,
		.pasids = move->pasids,
		.sum = move->sum,
	};
	decode_copy(ret->name, sizeof(ret->name), move->name);
	(void)decode_bytes(&move->token, sizeof(ret->token), ret->token);
	ret->has_proof = decode_bytes(&move->proof, sizeof(ret->proof), ret->proof);
	ret->has_word = decode_bytes(&move->word, sizeof(ret->word), ret->word);
}

/* ------------------------------------------------------------ results */

/* Room for count things, at least one, that goes with the call; NULL: no memory. */
static void *decode_room(struct call *call, size_t count, size_t size)
{
	if (call->storage != call->room)
		free(call->storage);
	if (count <= sizeof(call->room) / size)
		call->storage = memset(call->room, 0, sizeof(call->room));
	else
		call->storage = calloc(count, size);
	return call->storage;
}

static int decode_allocate(struct call *call, const Pasid__V1__AllocateResult *from)
{
	uint64_t count = 0;
	for (size_t i = 0; i < from->n_runs; i++)
		count += from->runs[i]->count;
	if (count > PASID_ALLOCATE_MAX)
		return -EPROTO;
	uint32_t *numbers = decode_room(call, count, sizeof(*numbers));
	if (numbers == NULL)
		return -ENOMEM;
	call->result.allocated.numbers = numbers;
	call->result.allocated.count = (size_t)count;
	for (size_t i = 0; i < from->n_runs; i++)
		for (uint32_t n = 0; n < from->runs[i]->count; n++)
			*numbers++ = from->runs[i]->first + n;
	return 0;
}

static int decode_bound(
	struct call *call, uint32_t host, Pasid__V1__AttachedTable *const *from, size_t count)
{
	struct pasid_attached *tables = decode_room(call, count, sizeof(*tables));
	if (tables == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		decode_attached(from[i], &tables[i]);
	call->result.bound.host_pasid = host;
	call->result.bound.tables = tables;
	call->result.bound.count = count;
	if (count == 1)
		call->result.bound.stream = (struct pasid_stream_info){from[0]->device,
			from[0]->hwpt, from[0]->viommu, from[0]->vdevice, from[0]->stream};
	return 0;
}

static int decode_host_status(struct call *call, const Pasid__V1__StatusResult *from)
{
	struct pasid_host_status *status = decode_room(call, 1, sizeof(*status));
	if (status == NULL)
		return -ENOMEM;
	decode_host(from, status);
	call->result.status = status;
	return 0;
}

/* One page of a list: an array of the decoded entries. */
#define DECODE_PAGE(name, message, items, type)                                                    \
	static int decode_##name##_page(struct call *call, const Pasid__V1__##message *from)       \
	{                                                                                          \
		struct type *page = decode_room(call, from->n_##items, sizeof(*page));             \
		if (page == NULL)                                                                  \
			return -ENOMEM;                                                            \
		for (size_t i = 0; i < from->n_##items; i++)                                       \
			decode_##name(from->items[i], &page[i]);                                   \
		call->result.page.items = page;                                                    \
		call->result.page.count = from->n_##items;                                         \
		call->result.page.next = from->next;                                               \
		return 0;                                                                          \
	}
DECODE_PAGE(set, SetListResult, sets, pasid_set_info)
DECODE_PAGE(limit, LimitListResult, limits, pasid_limit_info)
DECODE_PAGE(hold, HoldListResult, holds, pasid_hold_info)
DECODE_PAGE(device, DeviceListResult, devices, pasid_device_info)
DECODE_PAGE(binding, BindingListResult, bindings, pasid_binding_info)
DECODE_PAGE(move, SetMoveStatusResult, moves, pasid_move_info)

/* Numbers, and behind them those that they wait for. */
static int decode_grant_page(struct call *call, const Pasid__V1__GrantListResult *from)
{
	const size_t size = sizeof(struct pasid_grant_info);
	struct pasid_participant *awaited;
	struct pasid_grant_info *page;
	size_t bytes = from->n_grants * size;
	for (size_t i = 0; i < from->n_grants; i++)
		bytes += from->grants[i]->n_awaited * sizeof(*awaited);
	page = decode_room(call, bytes, 1);
	if (page == NULL)
		return -ENOMEM;
	awaited = (void *)&page[from->n_grants];
	for (size_t i = 0; i < from->n_grants; i++) {
		decode_grant(from->grants[i], awaited, &page[i]);
		awaited += page[i].awaited_count;
	}
	call->result.page.grants = page;
	call->result.page.count = from->n_grants;
	call->result.page.next = from->next;
	return 0;
}

static int decode_found(struct call *call, const Pasid__V1__GrantInfo *from)
{
	struct pasid_participant *awaited = decode_room(call, from->n_awaited, sizeof(*awaited));
	if (awaited == NULL)
		return -ENOMEM;
	decode_grant(from, awaited, &call->result.grant);
	return 0;
}

/* The move, and behind it the numbers that cannot be had. */
static int decode_moved(struct call *call, const Pasid__V1__SetMoveInfo *from)
{
	struct moved {
		struct pasid_move_info info;
		uint32_t conflicts[];
	} * moved;
	size_t count = 0;
	for (size_t i = 0; i < from->n_conflicts; i++)
		count += from->conflicts[i]->count;
	if (count > PASID_MOVE_MAX)
		return -EPROTO;
	moved = decode_room(call, 1, sizeof(*moved) + count * sizeof(moved->conflicts[0]));
	if (moved == NULL)
		return -ENOMEM;
	decode_move(from, &moved->info);
	call->result.move.info = &moved->info;
	call->result.move.conflicts = moved->conflicts;
	for (size_t i = 0; i < from->n_conflicts; i++)
		for (uint32_t n = 0; n < from->conflicts[i]->count; n++)
			moved->conflicts[call->result.move.count++] = from->conflicts[i]->first + n;
	return 0;
}

/* Results that are one thing without storage of its own. */
static int decode_plain(struct pasid_result *to, const Pasid__V1__Reply *reply)
{
	switch ((int)reply->result_case) {
	case PASID__V1__REPLY__RESULT_SET_CREATE:
	case PASID__V1__REPLY__RESULT_SET_ADJUST:
	case PASID__V1__REPLY__RESULT_SET_GET:
	case PASID__V1__REPLY__RESULT_SET_CONNECT:
		decode_set(reply->set_get, &to->set);
		return 0;
	case PASID__V1__REPLY__RESULT_SET_EXPORT:
		to->exported.set = reply->set_export->set;
		to->exported.size = reply->set_export->size;
		to->exported.version = reply->set_export->version;
		return 0;
	case PASID__V1__REPLY__RESULT_FREE:
		to->freed.freed = reply->free->freed;
		to->freed.unchanged = reply->free->unchanged;
		return 0;
	case PASID__V1__REPLY__RESULT_GUEST_FIND:
		to->host_pasid = reply->guest_find->host_pasid;
		return 0;
	case PASID__V1__REPLY__RESULT_DEVICE_ADD:
	case PASID__V1__REPLY__RESULT_DEVICE_SHARE:
	case PASID__V1__REPLY__RESULT_DEVICE_SLICE:
		decode_device(reply->device_add, &to->device);
		return 0;
	case PASID__V1__REPLY__RESULT_DEVICE_DRAINED:
		to->released = reply->device_drained->released;
		return 0;
	case PASID__V1__REPLY__RESULT_EXTEND:
		to->added = reply->extend->added;
		return 0;
	case PASID__V1__REPLY__RESULT_RECOVER:
		to->was_blocked = reply->recover->was_blocked;
		return 0;
	case PASID__V1__REPLY__RESULT_HAND_OVER:
		if (reply->hand_over->secret.len == sizeof(to->hand_over.secret))
			memcpy(to->hand_over.secret, reply->hand_over->secret.data,
				sizeof(to->hand_over.secret));
		to->hand_over.valid_ms = reply->hand_over->valid_ms;
		return 0;
	case PASID__V1__REPLY__RESULT_ACKNOWLEDGE:
		to->acknowledged = reply->acknowledge->acknowledged;
		return 0;
	case PASID__V1__REPLY__RESULT_WATCH:
		to->next_sequence = reply->watch->next_sequence;
		return 0;
	default:
		return 0; /* ping: that it came is all */
	}
}

static bool decode_has_result(uint32_t operation)
{
	switch (operation) {
	case PASID__V1__REQUEST__OPERATION_SET_DESTROY:
	case PASID__V1__REQUEST__OPERATION_GUEST_ATTACH:
	case PASID__V1__REQUEST__OPERATION_GUEST_DETACH:
	case PASID__V1__REQUEST__OPERATION_DATA_SET:
	case PASID__V1__REQUEST__OPERATION_QUARANTINE_END:
	case PASID__V1__REQUEST__OPERATION_HOLD:
	case PASID__V1__REQUEST__OPERATION_RELEASE:
	case PASID__V1__REQUEST__OPERATION_DEVICE_REMOVE:
	case PASID__V1__REQUEST__OPERATION_MEMORY_MAP:
	case PASID__V1__REQUEST__OPERATION_MEMORY_UNMAP:
	case PASID__V1__REQUEST__OPERATION_UNBIND:
	case PASID__V1__REQUEST__OPERATION_RID_DETACH:
		return false;
	default:
		return true;
	}
}

/* An operation and its result have the same field number. */
int decode_reply(struct call *call, const Pasid__V1__Reply *reply)
{
	if (!decode_has_result(call->operation))
		return 0;
	if ((uint32_t)reply->result_case != call->operation)
		return -EPROTO;
	switch ((int)reply->result_case) {
	case PASID__V1__REPLY__RESULT_GET_STATUS:
		return decode_host_status(call, reply->get_status);
	case PASID__V1__REPLY__RESULT_ALLOCATE:
		return decode_allocate(call, reply->allocate);
	case PASID__V1__REPLY__RESULT_BIND:
		return decode_bound(
			call, reply->bind->host_pasid, reply->bind->tables, reply->bind->n_tables);
	case PASID__V1__REPLY__RESULT_REPLACE:
		return decode_bound(call, reply->replace->host_pasid, reply->replace->tables,
			reply->replace->n_tables);
	case PASID__V1__REPLY__RESULT_RID_ATTACH:
		return decode_bound(call, 0, &reply->rid_attach, 1);
	case PASID__V1__REPLY__RESULT_SET_LIST:
		return decode_set_page(call, reply->set_list);
	case PASID__V1__REPLY__RESULT_LIMIT_LIST:
		return decode_limit_page(call, reply->limit_list);
	case PASID__V1__REPLY__RESULT_HOST_FIND:
		return decode_found(call, reply->host_find);
	case PASID__V1__REPLY__RESULT_GRANT_LIST:
		return decode_grant_page(call, reply->grant_list);
	case PASID__V1__REPLY__RESULT_HOLD_LIST:
		return decode_hold_page(call, reply->hold_list);
	case PASID__V1__REPLY__RESULT_DEVICE_LIST:
		return decode_device_page(call, reply->device_list);
	case PASID__V1__REPLY__RESULT_BINDING_LIST:
		return decode_binding_page(call, reply->binding_list);
	case PASID__V1__REPLY__RESULT_SET_MOVE_EXPORT:
	case PASID__V1__REPLY__RESULT_SET_MOVE_RESERVE:
	case PASID__V1__REPLY__RESULT_SET_MOVE_COMMIT:
	case PASID__V1__REPLY__RESULT_SET_MOVE_TAKE:
	case PASID__V1__REPLY__RESULT_SET_MOVE_CANCEL:
	case PASID__V1__REPLY__RESULT_SET_MOVE_RELEASE:
		return decode_moved(call, reply->set_move_export);
	case PASID__V1__REPLY__RESULT_SET_MOVE_STATUS:
		return decode_move_page(call, reply->set_move_status);
	default:
		return decode_plain(&call->result, reply);
	}
}
