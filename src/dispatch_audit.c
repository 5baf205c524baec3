/* SPDX-License-Identifier: MIT */
/* What happened and who caused it, for whoever keeps it: the audit trail. */
#include "dispatch_private.h"

#include <assert.h>

static void tell(struct dispatch *d, const struct change *change, uint64_t set)
{
	static const struct dispatch_cause nobody;
	const bool caused = set == UINT64_MAX || set == change->set;

	d->ports.changed(d->ports.ctx, change, caused ? &d->cause : &nobody);
}

/* Tells what changed: caused as d->cause says, `set` UINT64_MAX: all of it, else what is of it. */
static void tell_changes(struct dispatch *d, uint64_t set)
{
	struct change change;

	if (!d->ports.changed)
		return;
	while (broker_change_get(d->broker, d->next_told, &change)) {
		if (change.sequence > d->next_told) {
			const struct change missed = {.device = change.sequence - d->next_told};

			d->ports.changed(d->ports.ctx, &missed, &(struct dispatch_cause){0});
		}
		d->next_told = change.sequence + 1;
		tell(d, &change, set);
	}
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
