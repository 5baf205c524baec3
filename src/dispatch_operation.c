/* SPDX-License-Identifier: MIT */
/* What is under way in hardware: cookies, deadlines, outcomes. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dispatch_private.h"

#define NO_DEADLINE UINT64_MAX

int operations_init(struct dispatch *d)
{
	/* Pages of it are there once they are used. */
	const size_t ends = broker_sets_max(d->broker) + (size_t)1; /* one that is refused */

	d->operations = calloc(d->config.operations_max + ends, sizeof(*d->operations));
	return d->operations ? 0 : -ENOMEM;
}

/* A cookie names one use of a place, so that a late outcome finds nothing. */
static uint64_t operation_cookie(const struct dispatch *d, const struct operation *operation)
{
	return (uint64_t)operation->generation << 32 | (uint64_t)(operation - d->operations + 1);
}

static struct operation *operation_find(struct dispatch *d, uint64_t cookie)
{
	uint32_t index = (uint32_t)cookie;
	struct operation *operation;

	if (index == 0 || index > d->operations_touched)
		return NULL;
	operation = &d->operations[index - 1];
	return operation->used && operation_cookie(d, operation) == cookie ? operation : NULL;
}

static int operation_check_room(struct call *call)
{
	struct dispatch *d = call->d;

	if (call->session->running >= d->config.operations_per_session)
		return error_set_limit(&call->error, REASON_OVERLOAD, call->id,
			d->config.operations_per_session, call->session->running,
			"%u operations of this session are under way, of at most %u; wait for "
			"replies",
			call->session->running, d->config.operations_per_session);
	/* Nobody is charged for the end of a set: however many hang, others have their places. */
	if (!call->type->is_end && d->operation_count - d->end_count >= d->config.operations_max)
		return error_set_limit(&call->error, REASON_OVERLOAD, call->id,
			d->config.operations_max, d->operation_count - d->end_count,
			"%u operations of all sessions are under way, of at most %u; try again",
			d->operation_count - d->end_count, d->config.operations_max);
	return 0;
}

int operation_open(
	struct call *call, struct remembered *remembered, struct operation **ret_operation)
{
	struct dispatch *d = call->d;
	struct operation *operation;
	int r = operation_check_room(call);

	if (r)
		return r;
	operation = TAILQ_FIRST(&d->free_operations);
	if (operation)
		TAILQ_REMOVE(&d->free_operations, operation, by_deadline);
	else
		operation = &d->operations[d->operations_touched++];
	operation->session = call->session;
	operation->remembered = remembered;
	operation->type = call->type;
	operation->number = call->operation;
	operation->deadline = NO_DEADLINE;
	operation->generation++;
	operation->waiting = false;
	operation->reserved = 0;
	operation->used = true;
	d->operation_count++;
	d->end_count += call->type->is_end;
	call->session->running++;
	call->cookie = operation_cookie(d, operation);
	*ret_operation = operation;
	return 0;
}

void operation_begun(struct operation *operation, const struct call *call)
{
	operation->subject = call->subject;
	operation->subject.set_name = NULL; /* it goes with the request */
}

void operation_close(struct dispatch *d, struct operation *operation)
{
	operation_unwait(d, operation);
	if (operation->session)
		operation->session->running--;
	operation->session = NULL;
	operation->remembered = NULL;
	operation->used = false;
	d->operation_count--;
	d->end_count -= operation->type->is_end;
	TAILQ_INSERT_HEAD(&d->free_operations, operation, by_deadline);
}

/* ---------------------------------------------------------------- deadlines */

/* Keeps the list in order. Requests tend to have the same deadline, so the place is near the end.
 */
static void operation_queue(struct dispatch *d, struct operation *operation, uint64_t deadline)
{
	struct operation *before = TAILQ_LAST(&d->by_deadline, operation_list);

	operation->deadline = deadline;
	while (before && before->deadline > deadline)
		before = TAILQ_PREV(before, operation_list, by_deadline);
	if (before)
		TAILQ_INSERT_AFTER(&d->by_deadline, before, operation, by_deadline);
	else
		TAILQ_INSERT_HEAD(&d->by_deadline, operation, by_deadline);
}

void operation_unwait(struct dispatch *d, struct operation *operation)
{
	struct link *link;

	if (operation->deadline != NO_DEADLINE)
		TAILQ_REMOVE(&d->by_deadline, operation, by_deadline);
	operation->deadline = NO_DEADLINE;
	operation->waiting = false;
	link = operation->session ? operation->session->link : NULL;
	if (link && operation->reserved) {
		link->reserved -= operation->reserved;
		link_account(d, link);
	}
	operation->reserved = 0;
}

int operation_wait(
	struct call *call, struct operation *operation, const struct wire_request *request)
{
	const uint32_t room = dispatch_reply_room(operation->type, 0);
	struct dispatch *d = call->d;
	int r;

	operation_unwait(d, operation);
	r = link_check_account(d, call->link, room, &call->error);
	if (r)
		return r;
	call->link->reserved += room;
	link_account(d, call->link);
	operation->reserved = room;
	operation->waiting = true;
	d->has_waits = true;
	if (request->has_deadline)
		operation_queue(d, operation, d->ports.now_ms(d->ports.ctx) + request->deadline_ms);
	return 0;
}

/* What a reply to this operation is made from. */
static struct call operation_call(struct dispatch *d, const struct operation *operation)
{
	struct call call = {
		.d = d,
		.session = operation->session,
		.link = operation->session->link,
		.type = operation->type,
		.operation = operation->number,
		.id = operation->remembered->id,
		.subject = operation->subject,
	};

	dispatch_set_actor(&call);
	dispatch_result_begin(&call);
	return call;
}

static void operation_answer_pending(struct dispatch *d, struct operation *operation)
{
	struct call call = operation_call(d, operation);
	const uint8_t *body;
	size_t size;
	int r;

	r = error_set(&call.error, REASON_DEADLINE,
		"the deadline passed and the work goes on; send the same request again to wait "
		"for its result");
	call.error.object = call.id;
	dispatch_encode(&call, &r, &body, &size);
	operation_unwait(d, operation);
	link_reply(d, call.link, call.id, body, size, -1);
}

void operations_tick(struct dispatch *d, uint64_t now)
{
	struct operation *operation;

	d->peer_read = NULL;
	while ((operation = TAILQ_FIRST(&d->by_deadline)) && operation->deadline <= now)
		operation_answer_pending(d, operation);
}

uint64_t operations_next_tick(const struct dispatch *d)
{
	const struct operation *operation = TAILQ_FIRST(&d->by_deadline);

	return operation ? operation->deadline : UINT64_MAX;
}

/* ---------------------------------------------------------------- outcomes */

static int outcome_result(struct call *call, struct outcome *outcome)
{
	if (outcome->status) {
		call->error = outcome->error;
		return outcome->status;
	}
	return call->type->finish ? call->type->finish(call, outcome) : 0;
}

/* The reply goes out if somebody waits for it, and is remembered either way. */
static void outcome_answer(struct dispatch *d, struct operation *operation, struct outcome *outcome)
{
	struct call call = operation_call(d, operation);
	struct remembered *remembered = operation->remembered;
	bool waiting = operation->waiting;
	int fd = outcome->fd_count ? outcome->fd : -1;
	const uint8_t *body;
	size_t size;
	int r;

	assert(!waiting || call.link);
	if (!outcome->status)
		dispatch_cause_outcome(d, operation);
	r = outcome_result(&call, outcome);
	if (r && dispatch_was_done(&call, remembered))
		r = 0;
	dispatch_encode(&call, &r, &body, &size);
	operation_unwait(d, operation); /* the reply takes the room that was kept */
	if (waiting)
		link_reply(d, call.link, call.id, body, size, fd);
	else if (fd >= 0)
		d->ports.dispose_fd(d->ports.ctx, fd);
	operation_close(d, operation);
	if (r == STATUS_RETRY)
		session_forget(d->sessions, call.session, remembered);
	else
		session_finish(d->sessions, call.session, remembered, body, size, fd >= 0);
	dispatch_settle(d);
}

bool operations_drain(struct dispatch *d)
{
	bool any = false;
	struct outcome *outcome = &d->outcome;

	while (broker_next_outcome(d->broker, outcome)) {
		struct operation *operation = operation_find(d, outcome->cookie);

		any = true;
		dispatch_dispose(d, outcome->unused, outcome->unused_count);
		if (operation && operation->session) {
			outcome_answer(d, operation, outcome);
			continue;
		}
		if (operation)
			operation_close(d, operation);
		else if (d->ports.ended)
			d->ports.ended(d->ports.ctx, outcome);
		if (outcome->fd_count)
			d->ports.dispose_fd(d->ports.ctx, outcome->fd);
	}
	return any;
}
