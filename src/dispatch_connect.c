/* SPDX-License-Identifier: MIT */
/*
 * Connections that an admin has made for one set, to be handed to its VMM. The authority is the
 * connection: whoever has it may do the business of that set and nothing else. Who that is, for
 * policy and log, is known from the datagram that hello came in.
 */
#include <assert.h>
#include <stdlib.h>

#include "dispatch_private.h"

static struct handed_list *handed_bucket(struct dispatch *d, struct set_id set)
{
	return &d->handed[set.v % DISPATCH_WATCH_BUCKETS];
}

/* The one of the set; NULL: none. */
static struct handed *handed_find(struct dispatch *d, struct set_id set)
{
	struct handed *handed;

	TAILQ_FOREACH(handed, handed_bucket(d, set), link)
	{
		if (handed->set.v == set.v && !handed->spare)
			return handed;
	}
	return NULL;
}

struct link *handed_newest(struct dispatch *d, struct set_id set)
{
	const struct handed *handed = TAILQ_LAST(handed_bucket(d, set), handed_list);

	assert(handed && handed->set.v == set.v);
	return handed->owner;
}

void handed_free(struct dispatch *d, struct link *link)
{
	struct handed *handed = link->handed;

	if (!handed)
		return;
	handover_end(d, handed->handover);
	TAILQ_REMOVE(handed_bucket(d, handed->set), handed, link);
	d->handed_count--;
	free(handed);
	link->handed = NULL;
}

int dispatch_connect_handed(struct dispatch *d, struct set_id set, uint32_t uid,
	struct link **ret_link, struct error *ret_error)
{
	struct handed *handed = calloc(1, sizeof(*handed));
	struct link *link = handed ? link_new(d) : NULL;
	int r;

	if (!link) {
		free(handed);
		return error_set(
			ret_error, REASON_NO_MEMORY, "no memory for another connection; try again");
	}
	r = limits_user_open(d->config.limits, uid, &link->place, ret_error);
	if (r) {
		link_free(d, link);
		free(handed);
		return r;
	}
	*handed = (struct handed){.owner = link, .set = set, .uid = uid};
	link->handed = handed;
	TAILQ_INSERT_TAIL(handed_bucket(d, set), handed, link);
	d->handed_count++;
	*ret_link = link;
	return 0;
}

int dispatch_identify(struct dispatch *d, struct link *link, const struct dispatch_peer *peer,
	struct error *ret_error)
{
	struct peer *found = NULL;
	int r = 0;

	if (link->session || !link->handed)
		return 0;
	if (peer)
		r = peer_new(
			&peer->who, peer->pid, peer->born, d->config.limits, &found, ret_error);
	if (!r && found)
		r = peer_charge(found, d->config.limits, link->handed->uid, ret_error);
	if (r)
		found = peer_unref(found, d->config.limits);
	(void)peer_unref(link->peer, d->config.limits);
	link->peer = found;
	return r;
}

/* ---------------------------------------------------------------- the end of its set */

static void handed_end(struct dispatch *d, struct handed *handed)
{
	handed->owner->ending = true;
	link_announce(d, handed->owner);
}

void handed_sweep(struct dispatch *d)
{
	struct handed *handed;

	if (!d->handed_count || !d->handed_gone)
		return;
	d->handed_gone = false;
	for (size_t i = 0; i < DISPATCH_WATCH_BUCKETS; i++) {
		TAILQ_FOREACH(handed, &d->handed[i], link)
		{
			if (!broker_set_lives(d->broker, handed->set))
				handed_end(d, handed);
		}
	}
}

/* ---------------------------------------------------------------- hello on it */

int handed_hello(struct call *call, const Pasid__V1__Hello *hello, struct session **ret_session)
{
	const struct handed *handed = call->link->handed;
	struct session *session;
	int r;

	if (hello->role != PASID__V1__ROLE__ROLE_UNSPECIFIED &&
		hello->role != PASID__V1__ROLE__ROLE_VMM)
		return error_set(&call->error, REASON_ROLE,
			"this connection serves set %llu; who has it is a VMM and nothing else",
			(unsigned long long)handed->set.v);
	if (hello->resume_case == PASID__V1__HELLO__RESUME_RESUME_TOKEN)
		return error_set(&call->error, REASON_RESUME_UNKNOWN,
			"this connection has a session of its own and takes up no other; say hello "
			"without a token");
	if (!call->link->peer)
		return error_set(&call->error, REASON_PEER,
			"hello came without credentials, or from a process that is gone or cannot "
			"be seen from here");
	if (handed->spare || hello->resume_case == PASID__V1__HELLO__RESUME_TAKE_OVER)
		return handover_hello(call, hello, ret_session);
	r = session_open(call->d->sessions, call->link->peer, ROLE_VMM, &session, &call->error);
	if (r)
		return r;
	session_serve(call->d->sessions, session, handed->set);
	*ret_session = session;
	return 0;
}

/* ---------------------------------------------------------------- making one */

/* Who closes one and asks for the next does not have to wait until we have looked at both. */
static void handed_notice_end(struct dispatch *d, struct set_id set)
{
	const struct handed *handed = handed_find(d, set);

	if (handed)
		d->ports.notice_end(d->ports.ctx, handed->owner->user);
}

static int connect_check(struct call *call, const struct set_info *info)
{
	if (info->emptying)
		return error_set_limit(&call->error, REASON_SET_EMPTYING, info->id.v, 0, 0,
			"what the last VM of set '%s' had is being detached; try again in a moment",
			info->name);
	if (info->dying)
		return error_set_limit(&call->error, REASON_SET_DYING, info->id.v, 0, 0,
			"set '%s' is being destroyed", info->name);
	if (info->move != MOVE_NONE && info->move != MOVE_TAKEN)
		return error_set_limit(&call->error,
			info->move == MOVE_GIVEN ? REASON_SET_MOVED : REASON_SET_MOVING, info->id.v,
			0, 0,
			"set '%s' is under way between two hosts and serves no VM meanwhile; "
			"finish its move, or cancel it (pasidctl move)",
			info->name);
	if (info->owned_by_session)
		return error_set_limit(&call->error, REASON_SET_CONNECTED, info->id.v, 1, 1,
			"set '%s' was made by its VMM, over the connection that serves it; make a "
			"set for it first, then its connection",
			info->name);
	if (handed_find(call->d, info->id))
		return error_set_limit(&call->error, REASON_SET_CONNECTED, info->id.v, 1, 1,
			"set '%s' has its connection; it is free for another one when that is "
			"closed everywhere",
			info->name);
	return 0;
}

int handle_set_connect(struct call *call)
{
	const Pasid__V1__SetConnect *request = (const void *)call->message;
	struct dispatch *d = call->d;
	struct set_info info;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		handed_notice_end(d, set);
	if (!r)
		r = broker_set_get(d->broker, &call->actor, set, &info, &call->error);
	if (!r)
		r = connect_check(call, &info);
	if (!r)
		r = set_write(call, info.id);
	if (!r)
		r = d->ports.hand(d->ports.ctx, info.id, info.uid, &call->own_fd, &call->error);
	call->has_own_fd = !r;
	return r;
}
