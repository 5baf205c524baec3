/* SPDX-License-Identifier: MIT */
/* One request: what must be so before it is tried, whether it was done before, and its reply. */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "dispatch_private.h"

/* In front of a result: its tag and length. Behind it: room for a status in the same reply. */
#define BODY_HEAD 8u
#define BODY_TAIL 512u

void dispatch_result_begin(struct call *call)
{
	call->out = wire_out_init(
		call->d->body + BODY_HEAD, sizeof(call->d->body) - BODY_HEAD - BODY_TAIL);
}

/* ---------------------------------------------------------------- replies */

uint32_t dispatch_reply_room(const struct operation_type *type, uint32_t cost)
{
	uint32_t most = type->reply + (uint32_t)type->reply_each * cost;

	if (most < DISPATCH_STATUS_MAX)
		most = DISPATCH_STATUS_MAX;
	return most + BODY_HEAD + WIRE_REPLY_OVERHEAD;
}

bool dispatch_was_done(const struct call *call, const struct remembered *remembered)
{
	if (!remembered->interrupted)
		return false;
	for (size_t i = 0; i < DISPATCH_DONE_MAX && call->type->done[i]; i++) {
		if (call->type->done[i] == call->error.reason)
			return true;
	}
	return false;
}

/* What a client is told: the reason that was given, and of an error of ours that it is one. */
static int dispatch_public(struct call *call, int r)
{
	if (call->error.reason != REASON_NONE)
		return (int)reason_status((enum reason)call->error.reason);
	if (r == -ENOMEM)
		return error_set(&call->error, REASON_NO_MEMORY, "out of memory; try again");
	(void)error_set(&call->error, REASON_INTERNAL, "the daemon failed (%d); see its log", r);
	call->error.sys_errno = r < 0 ? -r : 0;
	return STATUS_INTERNAL;
}

void dispatch_encode(struct call *call, int *r, const uint8_t **ret_body, size_t *ret_size)
{
	struct dispatch *d = call->d;
	size_t size = call->out.size, head;
	struct wire_out out;

	assert(!call->out.full);
	if (*r) {
		*r = dispatch_public(call, *r);
		dispatch_count(d, &call->error);
		dispatch_tell_refusal(call);
		out = wire_out_init(d->body, sizeof(d->body));
		wire_out_status(&out, WIRE_REPLY_STATUS, *r, &call->error);
		*ret_body = d->body;
		*ret_size = out.size;
		return;
	}
	*ret_body = d->body + BODY_HEAD;
	*ret_size = 0;
	if (!call->type->has_result)
		return;
	/* The front is written where it ends just before the result. */
	head = wire_field_size(call->operation, size) - size;
	assert(head <= BODY_HEAD);
	out = wire_out_init(d->body + BODY_HEAD - head, sizeof(d->body) - (BODY_HEAD - head));
	wire_out_front(&out, call->operation, size);
	*ret_body = out.data;
	*ret_size = head + size;
	assert(!call->type->is_change || *ret_size <= dispatch_reply_room(call->type, call->cost));
}

/* A descriptor of ours is made last: nothing that is refused has one. */
static void dispatch_send(struct call *call, int r, const uint8_t *body, size_t size)
{
	if (call->has_own_fd) {
		assert(r == 0);
		link_reply_own(call->d, call->link, call->id, body, size, call->own_fd);
		return;
	}
	link_reply(call->d, call->link, call->id, body, size, -1);
}

static void dispatch_reply(struct call *call, int *r, const uint8_t **ret_body, size_t *ret_size)
{
	dispatch_encode(call, r, ret_body, ret_size);
	dispatch_send(call, *r, *ret_body, *ret_size);
}

static void dispatch_refuse_call(struct call *call, int r)
{
	const uint8_t *body;
	size_t size;

	dispatch_reply(call, &r, &body, &size);
}

/* ---------------------------------------------------------------- preconditions */

static int check_descriptors(
	struct call *call, const struct wire_request *request, bool fds_truncated)
{
	if (fds_truncated)
		return error_set(&call->error, REASON_FD_TRUNCATED,
			"descriptors were lost on the way; send the request again");
	if (request->descriptors != call->fd_count)
		return error_set_limit(&call->error, REASON_FD_COUNT, request->id,
			request->descriptors, call->fd_count,
			"the request says %u descriptors, %zu came", request->descriptors,
			call->fd_count);
	if (request->descriptors > WIRE_FDS_MAX ||
		!(call->type->fd_counts & 1u << request->descriptors))
		return error_set(&call->error, REASON_FD_COUNT,
			"this operation does not come with %u descriptors", request->descriptors);
	return 0;
}

static int refuse_role(struct call *call)
{
	const struct session *session = call->session;

	if (session->handed)
		return error_set(&call->error, REASON_ROLE,
			"this connection does the business of set %llu and nothing else; the set "
			"itself is its admin's",
			(unsigned long long)session->set.v);
	if (session->role == ROLE_OBSERVER)
		return error_set(&call->error, REASON_ROLE,
			"an observer changes nothing; ask for another role in hello");
	if (session->role == ROLE_PARTICIPANT)
		return error_set(&call->error, REASON_ROLE,
			"a participant hears what happens, acknowledges and holds, and does nothing "
			"else; ask for another role in hello");
	return error_set(&call->error, REASON_ROLE, "for %s only; ask for that role in hello",
		call->type->roles & ALLOW_ADMIN ? "admins" : "participants");
}

static int check_role(struct call *call)
{
	if (call->link->bereft)
		return error_set(&call->error, REASON_HANDED_OVER,
			"the session of this connection was handed over to another process");
	if (!call->session)
		return call->type->no_hello
			       ? 0
			       : error_set(&call->error, REASON_HELLO_FIRST,
					 "hello must be the first request of a connection");
	if (call->type->roles & (call->session->handed ? ALLOW_HANDED : 1u << call->session->role))
		return 0;
	return refuse_role(call);
}

static int check_load(struct call *call)
{
	struct dispatch *d = call->d;

	if (d->shutting_down)
		return error_set(&call->error, REASON_SHUTTING_DOWN,
			"the daemon is about to stop; try again when it is back");
	if (call->link->unsent >= d->config.output_max)
		return error_set_limit(&call->error, REASON_OVERLOAD, call->id,
			d->config.output_max, call->link->unsent,
			"%u bytes of replies were not read, of at most %u; read them first",
			call->link->unsent, d->config.output_max);
	return 0;
}

static int dispatch_admit(struct call *call, const struct wire_request *request, bool fds_truncated)
{
	int r = check_load(call);

	if (!r)
		r = check_role(call);
	if (!r)
		r = check_descriptors(call, request, fds_truncated);
	return r;
}

/* ---------------------------------------------------------------- doing it */

/* Reads the request and what it costs. */
static int dispatch_read(struct call *call, const struct wire_request *request)
{
	int r = wire_unpack_operation(&call->d->arena, request, &call->message, &call->error);

	if (!r && call->type->cost)
		call->cost = call->type->cost(call);
	return r;
}

/* Is there that much left in the datagram? What comes first and cannot be divided is done. */
static int dispatch_spend(struct call *call)
{
	struct dispatch *d = call->d;

	if (call->cost && d->dear && (uint64_t)d->dear + call->cost > DISPATCH_COST_MAX)
		return error_set_limit(&call->error, REASON_OVERLOAD, call->id, DISPATCH_COST_MAX,
			d->dear,
			"the datagram asks for more than is done in one turn (%u numbers, or so "
			"many lists); ask for the rest in another",
			DISPATCH_COST_MAX);
	d->dear += call->cost;
	d->cost += call->cost;
	return 0;
}

/* What only looks: its reply may turn out to be larger than there is room for. */
static void dispatch_run(struct call *call, const struct wire_request *request)
{
	struct dispatch *d = call->d;
	const uint8_t *body;
	size_t size;
	int r = link_make_room(d, call->link, dispatch_reply_room(call->type, 0), &call->error);

	if (!r)
		r = dispatch_read(call, request);
	if (!r)
		r = dispatch_spend(call);
	if (!r)
		r = call->type->handle(call);
	dispatch_encode(call, &r, &body, &size);
	if (!r && size > DISPATCH_STATUS_MAX) {
		r = link_make_room(d, call->link, size + WIRE_REPLY_OVERHEAD, &call->error);
		if (r)
			dispatch_encode(call, &r, &body, &size);
	}
	dispatch_send(call, r, body, size);
}

/*
 * Reads a change, and finds room for its reply, to be sent and to be remembered: without that it is
 * not done.
 */
static int dispatch_prepare(
	struct call *call, const struct wire_request *request, struct remembered *remembered)
{
	struct dispatch *d = call->d;
	const int bad = dispatch_read(call, request);
	const uint32_t room = dispatch_reply_room(call->type, bad ? 0 : call->cost);
	int r = session_reserve(
		d->sessions, call->session, remembered, room, call->type->is_async, &call->error);

	if (!r)
		r = link_make_room(d, call->link, room, &call->error);
	if (!r)
		r = bad ? bad : dispatch_spend(call);
	return r;
}

static void dispatch_run_change(
	struct call *call, const struct wire_request *request, struct remembered *remembered)
{
	struct sessions *sessions = call->d->sessions;
	const uint8_t *body;
	size_t size;
	int r = dispatch_prepare(call, request, remembered);

	if (!r)
		r = call->type->handle(call);
	dispatch_reply(call, &r, &body, &size);
	if (r == STATUS_RETRY) /* nothing was done: it may be tried again */
		session_forget(sessions, call->session, remembered);
	else
		session_finish(sessions, call->session, remembered, body, size, call->has_own_fd);
	dispatch_settle(call->d);
}

/* A bit less than the client waits, which then hears why, not only that it goes on. */
static uint64_t dispatch_until(const struct dispatch *d, const struct wire_request *request)
{
	uint64_t wait = request->deadline_ms;

	if (!request->has_deadline)
		return 0;
	if (wait > DISPATCH_PATIENCE_MAX_MS)
		wait = DISPATCH_PATIENCE_MAX_MS;
	return d->ports.now_ms(d->ports.ctx) + wait - wait / 8;
}

static void dispatch_run_async(
	struct call *call, const struct wire_request *request, struct remembered *remembered)
{
	struct dispatch *d = call->d;
	struct operation *operation = NULL;
	const uint8_t *body;
	size_t size;
	int r;

	r = dispatch_prepare(call, request, remembered);
	if (!r)
		r = operation_open(call, remembered, &operation);
	if (!r)
		r = operation_wait(call, operation, request);
	if (!r) {
		session_start(d->sessions, call->session, remembered, operation);
		broker_set_until(d->broker, dispatch_until(d, request));
		r = call->type->handle(call);
		broker_set_until(d->broker, 0);
	}
	if (!r) { /* settled by the broker before hardware hears of it, or with its outcome */
		operation_begun(operation, call);
		return;
	}
	if (operation)
		operation_close(d, operation);
	if (dispatch_was_done(call, remembered))
		r = 0;
	dispatch_reply(call, &r, &body, &size);
	if (r == STATUS_RETRY) /* nothing was done: it may be tried again */
		session_forget(d->sessions, call->session, remembered);
	else
		session_finish(d->sessions, call->session, remembered, body, size, false);
	dispatch_settle(d);
}

/* A final reply once more; descriptors that went with it are not had again. */
static void dispatch_replay(struct call *call, const struct remembered *remembered)
{
	struct dispatch *d = call->d;
	struct wire_out out = wire_out_init(d->body, sizeof(d->body));
	const size_t room = remembered->size + DISPATCH_STATUS_MAX + WIRE_REPLY_OVERHEAD;
	int r = link_make_room(d, call->link, room, &call->error);

	if (r) {
		dispatch_refuse_call(call, r);
		return;
	}
	if (remembered->had_fds) {
		(void)error_set(&call->error, REASON_FD_NOT_KEPT,
			"it was done, but the descriptor of its reply was not kept; undo it and "
			"ask again");
		dispatch_count(d, &call->error);
		wire_out_status(&out, WIRE_REPLY_STATUS, STATUS_STATE, &call->error);
	}
	assert(remembered->size <= out.room - out.size);
	session_reply(d->sessions, remembered, d->body + out.size);
	link_reply(d, call->link, call->id, d->body, out.size + remembered->size, -1);
}

static void dispatch_wait(
	struct call *call, struct operation *operation, const struct wire_request *request)
{
	int r = operation_wait(call, operation, request);

	if (r)
		dispatch_refuse_call(call, r);
}

/* Invariant X: a change is done once, however often it is asked for. */
static void dispatch_change(struct call *call, const struct wire_request *request)
{
	struct dispatch *d = call->d;
	enum session_verdict verdict = SESSION_RUN;
	struct remembered *remembered;
	uint64_t digest = session_digest(d->sessions, request->operation, request->descriptors,
		request->body, request->body_size);
	int r;

	r = session_begin(d->sessions, call->session, call->id, request->operation, digest,
		&verdict, &remembered, &call->error);
	if (r)
		dispatch_refuse_call(call, r);
	else if (verdict == SESSION_REPLAY)
		dispatch_replay(call, remembered);
	else if (verdict == SESSION_WAIT)
		dispatch_wait(call, remembered->operation, request);
	else if (call->type->is_async)
		dispatch_run_async(call, request, remembered);
	else
		dispatch_run_change(call, request, remembered);
}

void dispatch_request(struct dispatch *d, struct link *link, const struct wire_request *request,
	const int *fds, size_t fd_count, bool fds_truncated)
{
	struct call call;
	int r;

	/* All but the text of an error, which is most of it and nearly always of no use. */
	memset(&call, 0, offsetof(struct call, error) + offsetof(struct error, text));
	call.error.text[0] = '\0';
	call.d = d;
	call.session = link->session;
	call.link = link;
	call.id = request->id;
	call.operation = request->operation;
	call.type = operation_type(request->operation);
	call.fds = fds;
	call.fd_count = fd_count;
	d->cost++;
	assert(call.type); /* wire_read_batch() knows the same operations */
	dispatch_result_begin(&call);
	wire_arena_reset(&d->arena);
	if (call.session) {
		dispatch_set_actor(&call);
		call.subject.set = call.session->set.v;
	}
	dispatch_cause_begin(d, call.session, link, call.operation);
	r = dispatch_admit(&call, request, fds_truncated);
	if (r)
		dispatch_refuse_call(&call, r);
	else if (call.type->is_change)
		dispatch_change(&call, request);
	else
		dispatch_run(&call, request);
	dispatch_cause_end(d);
	if (call.session && call.session->last_id < call.id)
		call.session->last_id = call.id;
	dispatch_dispose(d, call.fds, call.fd_count);
}
