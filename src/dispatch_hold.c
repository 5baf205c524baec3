/* SPDX-License-Identifier: MIT */
/* Operations on holds, and what participants acknowledge. */
#include "broker_participant.h"
#include "dispatch_private.h"

int handle_hold(struct call *call)
{
	const Pasid__V1__Hold *request = (const void *)call->message;
	struct hpasid host = {request->host_pasid};
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	ref_number(call, host.v, false);
	if (r)
		return r;
	return broker_hold(call->d->broker, &call->actor, set, host, &call->error);
}

int handle_release(struct call *call)
{
	const Pasid__V1__Release *request = (const void *)call->message;
	struct hpasid host = {request->host_pasid};
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	ref_number(call, host.v, false);
	if (r)
		return r;
	return broker_release(call->d->broker, &call->actor, set, host, &call->error);
}

int handle_acknowledge(struct call *call)
{
	const Pasid__V1__Acknowledge *request = (const void *)call->message;
	struct dispatch *d = call->d;
	uint32_t acknowledged = 0;
	int r;

	for (size_t i = 0; i < request->n_host_pasids; i++)
		d->numbers[i].v = request->host_pasids[i];
	r = broker_acknowledge(d->broker, &call->actor, d->numbers, request->n_host_pasids,
		request->seen, &acknowledged, &call->error);
	if (r)
		return r;
	if (acknowledged)
		wire_out_uint(&call->out, 1, acknowledged);
	if (acknowledged < request->n_host_pasids)
		wire_out_uint(&call->out, 2, request->n_host_pasids - acknowledged);
	return 0;
}

static void hold_fill(Pasid__V1__HoldInfo *message, struct hold_info *info)
{
	pasid__v1__hold_info__init(message);
	message->session = info->session;
	message->uid = info->uid;
	message->set = info->set.v;
	message->set_name = info->set_name;
	message->host_pasid = info->host.v;
	message->times = info->times;
	message->state = (Pasid__V1__GrantState)info->state;
}

int handle_hold_list(struct call *call)
{
	const Pasid__V1__HoldList *request = (const void *)call->message;
	struct page page = page_begin(call, request->after, request->limit);
	Pasid__V1__HoldInfo message;
	struct hold_info info;
	struct set_id set;
	int r = ref_list(call, request->set, &set);

	if (r)
		return r;
	while (page_goes_on(&page) &&
		broker_hold_next(call->d->broker, &call->actor, set, &page.cursor, &info)) {
		hold_fill(&message, &info);
		if (!page_add(&page, &message.base))
			break;
	}
	page_end(&page);
	return 0;
}
