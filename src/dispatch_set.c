/* SPDX-License-Identifier: MIT */
/* Operations on sets. */
#include <string.h>

#include "dispatch_private.h"

/* `info` outlives the message that points into it. */
struct set_message {
	Pasid__V1__SetInfo info;
	Pasid__V1__Counter pasids;
	Pasid__V1__Scope scopes[2];
};

static void set_fill(struct set_message *message, struct set_info *info)
{
	pasid__v1__set_info__init(&message->info);
	pasid__v1__counter__init(&message->pasids);
	call_fill_counter(&message->pasids, &info->pasids);
	message->info.id = info->id.v;
	message->info.name = info->name;
	message->info.mode = (Pasid__V1__SetMode)info->mode;
	message->info.uid = info->uid;
	message->info.pasids = &message->pasids;
	message->info.active = info->active;
	message->info.quarantined = info->quarantined;
	message->info.devices = info->devices;
	message->info.bindings = info->bindings;
	message->info.owned_by_session = info->owned_by_session;
	message->info.dying = info->dying;
	message->info.scopes = message->scopes;
	for (unsigned scope = SCOPE_GLOBAL; scope <= SCOPE_RIDS; scope++)
		if (info->scopes & scope)
			message->scopes[message->info.n_scopes++] = (Pasid__V1__Scope)scope;
	message->info.move = (Pasid__V1__SetMoveState)info->move;
}

int set_write(struct call *call, struct set_id set)
{
	struct set_message message;
	struct set_info info;
	int r;

	r = broker_set_get(call->d->broker, &call->actor, set, &info, &call->error);
	if (r)
		return r;
	set_fill(&message, &info);
	call_write(call, &message.info.base);
	return 0;
}

/* The session's set is now this one. */
static void set_take(struct call *call, struct set_id set)
{
	session_use(call->d->sessions, call->session, set);
	dispatch_set_actor(call);
	if (call->link)
		watch_moved(call->d, call->link);
}

/* Is there a set of the session's own? One that is destroyed is none, though it lingers with its
 * numbers. */
static bool set_is_there(struct call *call, struct set_info *ret_info)
{
	struct error gone;

	return call->session->set.v &&
	       !broker_set_get(
		       call->d->broker, &call->actor, call->session->set, ret_info, &gone) &&
	       !ret_info->dying;
}

/* A set that an admin has destroyed is not in the way of another one. */
static int set_check_none(struct call *call)
{
	struct set_info info;

	if (!set_is_there(call, &info)) {
		set_take(call, (struct set_id){0});
		return 0;
	}
	(void)error_set(&call->error, REASON_SET_EXISTS,
		"this session has the set '%s' already, and may have one", info.name);
	call->error.object = info.id.v;
	return STATUS_EXISTS;
}

int handle_set_create(struct call *call)
{
	const Pasid__V1__SetCreate *request = (const void *)call->message;
	struct set_create create = {
		.name = request->name,
		.mode = request->mode ? (enum set_mode)request->mode : SET_TRANSLATED,
		.has_quota = request->quota_case == PASID__V1__SET_CREATE__QUOTA_PASIDS,
		.has_owner = request->owner_case == PASID__V1__SET_CREATE__OWNER_UID,
	};
	struct set_id set;
	int r = 0;

	call->subject.set_name = request->name;
	for (size_t i = 0; i < request->n_scopes; i++)
		create.scopes |= request->scopes[i];
	if (create.has_quota)
		create.quota = request->pasids;
	if (create.has_owner)
		create.owner_uid = request->uid;
	if (call->actor.role == ROLE_VMM)
		r = set_check_none(call);
	if (!r)
		r = broker_set_create(call->d->broker, &call->actor, &create, &set, &call->error);
	if (r)
		return r;
	if (call->actor.role == ROLE_VMM)
		set_take(call, set);
	return set_write(call, set);
}

int handle_set_adjust(struct call *call)
{
	const Pasid__V1__SetAdjust *request = (const void *)call->message;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = broker_set_adjust(
			call->d->broker, &call->actor, set, request->pasids, &call->error);
	return r ? r : set_write(call, set);
}

/* Not a change of what is recorded, and the memory is the same each time: nothing to remember. */
int handle_set_export(struct call *call)
{
	const Pasid__V1__SetExport *request = (const void *)call->message;
	Pasid__V1__SetExportResult result = PASID__V1__SET_EXPORT_RESULT__INIT;
	struct dispatch *d = call->d;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r && call->link->exports >= DISPATCH_EXPORTS_MAX)
		r = error_set_limit(&call->error, REASON_LIMIT, set.v, DISPATCH_EXPORTS_MAX,
			call->link->exports,
			"this connection was given exported maps %u times; use what it has, or "
			"connect again",
			call->link->exports);
	if (!r)
		r = broker_set_export(d->broker, &call->actor, set, &set, &call->error);
	if (!r)
		r = d->ports.export_fd(d->ports.ctx, set, &call->own_fd, &call->error);
	if (r)
		return r;
	call->has_own_fd = true;
	call->link->exports++;
	result.set = set.v;
	result.size = EXPORT_SIZE;
	result.version = EXPORT_VERSION;
	call_write(call, &result.base);
	return 0;
}

int handle_set_destroy(struct call *call)
{
	const Pasid__V1__SetDestroy *request = (const void *)call->message;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (r)
		return r;
	return broker_set_destroy(
		call->d->broker, &call->actor, set, request->force, call->cookie, &call->error);
}

int finish_set_destroy(struct call *call, const struct outcome *outcome)
{
	struct set_info info;

	(void)outcome;
	if (!call->session->set.v || set_is_there(call, &info))
		return 0;
	watch_drain(call->d); /* its end is still for its session */
	set_take(call, (struct set_id){0});
	return 0;
}

int handle_set_get(struct call *call)
{
	const Pasid__V1__SetGet *request = (const void *)call->message;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	return r ? r : set_write(call, set);
}

int handle_set_list(struct call *call)
{
	const Pasid__V1__SetList *request = (const void *)call->message;
	struct page page = page_begin(call, request->after, request->limit);
	struct set_message message;
	struct set_info info;

	while (broker_set_next(call->d->broker, &call->actor, &page.cursor, &info)) {
		set_fill(&message, &info);
		if (!page_add(&page, &message.info.base))
			break;
	}
	page_end(&page);
	return 0;
}
