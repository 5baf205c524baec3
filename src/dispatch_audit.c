/* SPDX-License-Identifier: MIT */
/* What happened and who caused it, for whoever keeps it: the audit trail. */
#include "dispatch_private.h"

#include <assert.h>

/*
 * Neighbouring numbers that the same became of, one after the other, upwards or downwards. A
 * request has thousands.
 */
struct run {
	struct change change; /* of the lowest one */
	uint32_t last;        /* number */
	uint32_t step;        /* to it, modulo 2^32; 0: it is the only one */
	uint32_t count;       /* 0: there is none */
	bool plain;           /* may have further ones */
};

/* Two at once: what is freed is in quarantine next, number by number. */
struct runs {
	struct run first, second;
};

/* Says no more than the number: neither a guest's nor a session. */
static bool is_plain(const struct change *change)
{
	return change->kind >= CHANGE_GRANT_ALLOCATED && change->kind <= CHANGE_GRANT_RELEASED &&
	       !change->has_guest;
}

static bool run_goes_on(const struct run *run, const struct change *next)
{
	const uint32_t step = next->host - run->last;

	return run->plain && next->kind == run->change.kind && next->set == run->change.set &&
	       !next->has_guest &&
	       (run->step ? step == run->step : step == 1 || step == UINT32_MAX);
}

/* The same numbers again, of another kind, behind the first of them. */
static bool run_goes_beside(const struct run *run, const struct change *next)
{
	return run->plain && run->count == 1 && next->host == run->last && is_plain(next);
}

static void run_begin(struct run *run, const struct change *change)
{
	*run = (struct run){
		.change = *change, .last = change->host, .count = 1, .plain = is_plain(change)};
}

static void run_add(struct run *run, const struct change *next)
{
	run->step = next->host - run->last;
	run->last = next->host;
	if (next->host < run->change.host)
		run->change.host = next->host;
	run->count++;
}

static void run_tell(struct dispatch *d, struct run *run, uint64_t set)
{
	static const struct dispatch_cause nobody;
	const bool caused = set == UINT64_MAX || set == run->change.set;

	if (run->count)
		d->ports.changed(
			d->ports.ctx, &run->change, run->count, caused ? &d->cause : &nobody);
	*run = (struct run){0};
}

static void runs_tell(struct dispatch *d, struct runs *runs, uint64_t set)
{
	run_tell(d, &runs->first, set);
	run_tell(d, &runs->second, set);
}

/* What became of a number stays in order: the first goes on only when the second has all of it. */
static void runs_take(
	struct dispatch *d, struct runs *runs, const struct change *change, uint64_t set)
{
	struct run *first = &runs->first, *second = &runs->second;

	if (run_goes_on(first, change) && (!second->count || second->count == first->count)) {
		run_add(first, change);
	} else if (run_goes_on(second, change)) {
		run_add(second, change);
	} else if (!second->count && run_goes_beside(first, change)) {
		run_begin(second, change);
	} else {
		runs_tell(d, runs, set);
		run_begin(first, change);
	}
}

static void tell_missed(struct dispatch *d, uint64_t count)
{
	const struct change missed = {.device = count};

	d->ports.changed(d->ports.ctx, &missed, 1, &(struct dispatch_cause){0});
}

/* Tells what changed: caused as d->cause says, `set` UINT64_MAX: all of it, else what is of it. */
static void tell_changes(struct dispatch *d, uint64_t set)
{
	struct runs runs = {0};
	struct change change;

	if (!d->ports.changed)
		return;
	while (broker_change_get(d->broker, d->next_told, &change)) {
		if (change.sequence > d->next_told) {
			runs_tell(d, &runs, set);
			tell_missed(d, change.sequence - d->next_told);
		}
		d->next_told = change.sequence + 1;
		runs_take(d, &runs, &change, set);
	}
	runs_tell(d, &runs, set);
}

void dispatch_settle(struct dispatch *d)
{
	tell_changes(d, UINT64_MAX);
	sessions_settle(d->sessions);
	if (d->ports.settled)
		d->ports.settled(d->ports.ctx);
}

/* Of a session, or of a link that has none. */
static struct dispatch_cause cause_of(
	const struct session *session, const struct link *link, uint32_t operation)
{
	const struct peer *peer;
	struct dispatch_cause cause = {.operation = operation};

	assert(session || link);
	peer = session ? session->peer : link->peer;
	if (session)
		cause.session = session->id;
	if (peer) {
		cause.uid = peer->uid;
		cause.pid = peer->pid;
		cause.has_peer = true;
	}
	return cause;
}

void dispatch_cause_begin(struct dispatch *d, const struct session *session,
	const struct link *link, uint32_t operation)
{
	if (!d->ports.changed)
		return;
	dispatch_cause_end(d);
	d->cause = cause_of(session, link, operation);
}

void dispatch_cause_end(struct dispatch *d)
{
	tell_changes(d, UINT64_MAX);
	d->cause = (struct dispatch_cause){0};
}

void dispatch_cause_outcome(struct dispatch *d, const struct operation *operation)
{
	if (!d->ports.changed)
		return;
	d->cause = cause_of(operation->session, NULL, operation->number);
	tell_changes(d, operation->subject.set);
	d->cause = (struct dispatch_cause){0};
}

void dispatch_tell_refusal(const struct call *call)
{
	const struct dispatch_ports *ports = &call->d->ports;
	struct dispatch_refusal refusal = {
		.cause = cause_of(call->session, call->link, call->operation),
		.subject = call->subject,
		.error = &call->error,
		.is_change = call->type->is_change,
	};

	if (!ports->refused || call->error.reason == REASON_DEADLINE)
		return;
	ports->refused(ports->ctx, &refusal);
}

void dispatch_tell_refused(struct dispatch *d, const struct link *link, const struct error *error)
{
	const struct dispatch_refusal refusal = {
		.cause = cause_of(link->session, link, 0), .error = error};

	if (d->ports.refused)
		d->ports.refused(d->ports.ctx, &refusal);
}
