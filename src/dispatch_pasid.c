/* SPDX-License-Identifier: MIT */
/* Operations on numbers. */
#include "broker_participant.h"
#include "dispatch_private.h"

/* ---------------------------------------------------------------- allocate, free */

static int allocate_read(
	struct call *call, const Pasid__V1__Allocate *request, struct allocate *ret_allocate)
{
	struct allocate allocate = {
		.max = PASID_LAST,
		.count = request->count ? request->count : 1,
		.consecutive = request->consecutive,
		.data = request->data,
		.devices = call->d->devices,
		.device_count = request->n_devices,
		.scope = (enum scope)request->scope,
	};
	int r;

	if (request->lowest_case == PASID__V1__ALLOCATE__LOWEST_MIN)
		allocate.min = request->min;
	if (request->highest_case == PASID__V1__ALLOCATE__HIGHEST_MAX)
		allocate.max = request->max;
	if (request->guest_case == PASID__V1__ALLOCATE__GUEST_GUEST_PASID) {
		allocate.has_guest = true;
		allocate.guest.v = request->guest_pasid;
		ref_number(call, request->guest_pasid, true);
	}
	r = ref_set(call, request->set, &allocate.set);
	if (!r)
		r = ref_devices(call, request->devices, request->n_devices);
	if (r)
		return r;
	*ret_allocate = allocate;
	return 0;
}

/* Neighbours in one run. */
static void allocate_write(struct call *call, const struct hpasid *numbers, uint32_t count)
{
	uint32_t first = 0;

	for (uint32_t i = 1; i <= count; i++) {
		if (i < count && numbers[i].v == numbers[i - 1].v + 1)
			continue;
		wire_out_run(&call->out, 1, numbers[first].v, i - first);
		first = i;
	}
}

int handle_allocate(struct call *call)
{
	struct dispatch *d = call->d;
	struct allocate allocate;
	int r;

	r = allocate_read(call, (const void *)call->message, &allocate);
	if (!r)
		r = broker_allocate(d->broker, &call->actor, &allocate, d->numbers, &call->error);
	if (r)
		return r;
	allocate_write(call, d->numbers, allocate.count);
	return 0;
}

static int free_named(struct call *call, const Pasid__V1__Free *request, struct set_id set,
	uint32_t *ret_freed, uint32_t *ret_unchanged)
{
	struct dispatch *d = call->d;
	int r = 0;

	for (size_t i = 0; i < request->n_pasids && !r; i++)
		r = ref_pasid(call, request->pasids[i], &d->refs[i]);
	if (r)
		return r;
	return broker_free_pasids(d->broker, &call->actor, set, d->refs, request->n_pasids,
		ret_freed, ret_unchanged, &call->error);
}

int handle_extend(struct call *call)
{
	const Pasid__V1__Extend *request = (const void *)call->message;
	struct pasid_ref ref;
	struct set_id set;
	uint32_t added = 0;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = ref_pasid(call, request->pasid, &ref);
	if (!r)
		r = ref_devices(call, request->devices, request->n_devices);
	if (!r && request->n_devices == 0)
		r = error_set(&call->error, REASON_BAD_ARGUMENT,
			"Extend names the devices that the PASID is to be for, too");
	if (!r)
		r = broker_extend(call->d->broker, &call->actor, set, ref, call->d->devices,
			request->n_devices, &added, &call->error);
	if (r)
		return r;
	if (added)
		wire_out_uint(&call->out, 1, added);
	return 0;
}

int handle_free(struct call *call)
{
	const Pasid__V1__Free *request = (const void *)call->message;
	uint32_t freed = 0, unchanged = 0;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (r)
		return r;
	if (request->all == (request->n_pasids > 0))
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"Free names numbers, or says all; one of the two");
	if (request->all)
		r = broker_free_all(call->d->broker, &call->actor, set, &freed, &call->error);
	else
		r = free_named(call, request, set, &freed, &unchanged);
	if (r)
		return r;
	if (freed)
		wire_out_uint(&call->out, 1, freed);
	if (unchanged)
		wire_out_uint(&call->out, 2, unchanged);
	return 0;
}

/* ---------------------------------------------------------------- guest PASIDs, private data */

int handle_guest_attach(struct call *call)
{
	const Pasid__V1__GuestAttach *request = (const void *)call->message;
	struct hpasid host = {request->host_pasid};
	struct gpasid guest = {request->guest_pasid};
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	ref_number(call, host.v, false);
	if (r)
		return r;
	return broker_guest_attach(call->d->broker, &call->actor, set, host, guest, &call->error);
}

int handle_guest_detach(struct call *call)
{
	const Pasid__V1__GuestDetach *request = (const void *)call->message;
	struct gpasid guest = {request->guest_pasid};
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	ref_number(call, guest.v, true);
	if (r)
		return r;
	return broker_guest_detach(call->d->broker, &call->actor, set, guest, &call->error);
}

int handle_guest_find(struct call *call)
{
	const Pasid__V1__GuestFind *request = (const void *)call->message;
	struct gpasid guest = {request->guest_pasid};
	struct hpasid host;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	ref_number(call, guest.v, true);
	if (!r)
		r = broker_guest_find(
			call->d->broker, &call->actor, set, guest, &host, &call->error);
	if (r)
		return r;
	wire_out_uint(&call->out, 1, host.v);
	return 0;
}

int handle_data_set(struct call *call)
{
	const Pasid__V1__DataSet *request = (const void *)call->message;
	struct pasid_ref ref;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = ref_pasid(call, request->pasid, &ref);
	if (r)
		return r;
	return broker_data_set(
		call->d->broker, &call->actor, set, ref, request->data, &call->error);
}

/* ---------------------------------------------------------------- what there is */

#define QUARANTINE_TEXTS 6u

struct grant_message {
	Pasid__V1__GrantInfo info;
	char *quarantine[QUARANTINE_TEXTS];
	Pasid__V1__Participant *awaited[BROKER_PARTICIPANTS];
};

/* Who can be waited for, by index: looked up once for all numbers of a reply that wait. */
struct parties {
	bool read;
	uint32_t there; /* bits of those that are */
	Pasid__V1__Participant of[BROKER_PARTICIPANTS];
};

static void parties_read(const struct call *call, struct parties *parties)
{
	struct participant_info info;
	uint32_t cursor = 0;

	parties->read = true;
	while (broker_participant_next(call->d->broker, &cursor, &info)) {
		const struct session *session = session_by_id(call->d->sessions, info.session);
		Pasid__V1__Participant *party = &parties->of[info.index];

		pasid__v1__participant__init(party);
		party->session = info.session;
		party->uid = session->peer->uid;
		party->pid = (uint32_t)session->peer->pid;
		parties->there |= 1u << info.index;
	}
}

/* Who it is, is nothing that a VMM may know. One that has left is waited for no more. */
static void grant_fill_awaited(const struct call *call, struct grant_message *message,
	struct parties *parties, uint32_t awaited)
{
	if (!awaited || call->actor.role == ROLE_VMM)
		return;
	if (!parties->read)
		parties_read(call, parties);
	for (uint32_t i = 0; i < BROKER_PARTICIPANTS; i++) {
		if (awaited & parties->there & 1u << i)
			message->awaited[message->info.n_awaited++] = &parties->of[i];
	}
	message->info.awaited = message->awaited;
}

static void grant_fill_quarantine(struct grant_message *message, uint32_t quarantine)
{
	static const struct {
		uint32_t bit;
		const char *text;
	} texts[] = {
		{QUARANTINE_COOLING, "cooling"},
		{QUARANTINE_TAINTED, "tainted"},
		{QUARANTINE_UNDRAINED, "undrained"},
		{QUARANTINE_HELD, "held"},
		{QUARANTINE_UNACKNOWLEDGED, "unacknowledged"},
	};
	_Static_assert(ARRAY_SIZE(texts) <= QUARANTINE_TEXTS, "room for every reason");

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (quarantine & texts[i].bit)
			message->quarantine[message->info.n_quarantine++] = (char *)texts[i].text;
	}
	message->info.quarantine = message->quarantine;
}

static void grant_fill(const struct call *call, struct grant_message *message,
	struct parties *parties, struct grant_info *info)
{
	pasid__v1__grant_info__init(&message->info);
	message->info.host_pasid = info->host.v;
	message->info.state = (Pasid__V1__GrantState)info->state;
	if (info->state == GRANT_IDLE)
		return;
	message->info.set = info->set.v;
	message->info.set_name = info->set_name;
	message->info.data = info->data;
	message->info.holds = info->holds;
	message->info.bindings = info->bindings;
	message->info.cooling_ms = info->cooling_ms;
	message->info.scope = (Pasid__V1__Scope)info->scope;
	message->info.groups = info->groups;
	message->info.n_groups = info->group_count;
	if (info->has_guest) {
		message->info.guest_case = PASID__V1__GRANT_INFO__GUEST_GUEST_PASID;
		message->info.guest_pasid = info->guest.v;
	}
	grant_fill_quarantine(message, info->quarantine);
	grant_fill_awaited(call, message, parties, info->awaited);
}

int handle_host_find(struct call *call)
{
	const Pasid__V1__HostFind *request = (const void *)call->message;
	struct hpasid host = {request->host_pasid};
	struct grant_message message;
	struct parties parties = {0};
	struct grant_info info;
	struct set_id set;
	int r = ref_list(call, request->set, &set);

	ref_number(call, host.v, false);
	if (!r)
		r = broker_host_find(call->d->broker, &call->actor, set, host, &info, &call->error);
	if (r)
		return r;
	/* Whose number it is, is a participant's business; what the set notes about it is not. */
	if (call->actor.role == ROLE_PARTICIPANT)
		info.data = 0;
	grant_fill(call, &message, &parties, &info);
	call_write(call, &message.info.base);
	return 0;
}

static bool grant_matches(const struct call *call, const Pasid__V1__GrantList *request,
	const struct device_filter *filter, const struct grant_info *info)
{
	/* what rests has no private data any more */
	if (request->key_case == PASID__V1__GRANT_LIST__KEY_DATA &&
		(info->state == GRANT_QUARANTINED || info->data != request->data))
		return false;
	return !filter->given || broker_grant_is_on(call->d->broker, info, filter->id, filter->rid);
}

int handle_grant_list(struct call *call)
{
	const Pasid__V1__GrantList *request = (const void *)call->message;
	struct page page = page_begin(call, request->after, request->limit);
	struct grant_message message;
	struct parties parties = {0};
	struct device_filter filter;
	struct grant_info info;
	struct set_id set;
	int r = ref_list(call, request->set, &set);

	if (!r)
		r = filter_read(call, request->device, &filter);
	if (r)
		return r;
	while (page_goes_on(&page) && broker_grant_next(call->d->broker, &call->actor, set,
					      request->quarantined, &page.cursor, &info)) {
		if (!grant_matches(call, request, &filter, &info))
			continue;
		grant_fill(call, &message, &parties, &info);
		if (!page_add(&page, &message.info.base))
			break;
	}
	page_end(&page);
	return 0;
}

int handle_quarantine_end(struct call *call)
{
	const Pasid__V1__QuarantineEnd *request = (const void *)call->message;
	struct hpasid host = {request->host_pasid};

	struct set_id set;
	int r = ref_list(call, request->set, &set);

	ref_number(call, host.v, false);
	return r ? r
		 : broker_quarantine_end(call->d->broker, &call->actor, set, host, &call->error);
}
