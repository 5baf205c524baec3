/* SPDX-License-Identifier: MIT */
/* Operations about the session and the daemon: hello, ping, status, watch. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker_participant.h"
#include "dispatch_private.h"

#define PROTOCOL_VERSION 1u

/* What this daemon can do beyond the first version of the protocol would be added here. */
static const char *const hello_features[] = {
	"events",
	"shared-devices",
	"guest-tables-vtd",
	"guest-tables-smmuv3",
	"exported-maps",
	"scopes",
	"hand-over",
	"set-moves",
};

/* ---------------------------------------------------------------- hello */

static bool hello_has_feature(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(hello_features); i++) {
		if (strcmp(hello_features[i], name) == 0)
			return true;
	}
	return false;
}

static int hello_check(struct call *call, const Pasid__V1__Hello *hello)
{
	if (call->session)
		return error_set(&call->error, REASON_HELLO_TWICE,
			"this connection has its session already");
	if (hello->version_min > PROTOCOL_VERSION || hello->version_max < PROTOCOL_VERSION)
		return error_set_limit(&call->error, REASON_VERSION, 0, PROTOCOL_VERSION,
			hello->version_min,
			"the daemon speaks version %u of the protocol, the client %u to %u",
			PROTOCOL_VERSION, hello->version_min, hello->version_max);
	for (size_t i = 0; i < hello->n_required_features; i++) {
		if (!hello_has_feature(hello->required_features[i]))
			return error_set(&call->error, REASON_FEATURE,
				"the daemon does not have the feature '%s'",
				hello->required_features[i]);
	}
	return 0;
}

int hello_check_role(struct call *call, enum role role)
{
	static const char *const names[] = {
		"", "a VMM", "an admin", "an observer", "a participant"};
	struct dispatch *d = call->d;

	peer_read(call->link->peer, &d->peer);
	d->peer_read = call->link->peer;
	if (policy_allows_role(d->config.policy, &d->peer, role))
		return 0;
	return error_set(&call->error, REASON_ROLE, "the policy does not let user %u be %s",
		d->peer.uid, names[role]);
}

static int hello_open(
	struct call *call, const Pasid__V1__Hello *hello, struct session **ret_session)
{
	enum role role = hello->role ? (enum role)hello->role : ROLE_VMM;
	int r = hello_check_role(call, role);

	if (r)
		return r;
	return session_open(call->d->sessions, call->link->peer, role, ret_session, &call->error);
}

void hello_go_on(struct call *call, struct session *session)
{
	struct dispatch *d = call->d;

	if (session->link)
		dispatch_detach(d, session->link);
	else
		d->ports.unpark(d->ports.ctx, session_unpark(d->sessions, session));
	/* Another process of the same user may go on with it. */
	session_follow(d->sessions, session, call->link->peer);
	d->peer_read = NULL;
}

static int hello_resume(
	struct call *call, const Pasid__V1__Hello *hello, struct session **ret_session)
{
	struct dispatch *d = call->d;
	struct session *session = NULL;
	int r;

	if (hello->resume_token.len == SESSION_TOKEN_SIZE)
		session = session_by_token(
			d->sessions, hello->resume_token.data, call->link->peer->uid);
	if (!session || session->handed)
		return error_set(&call->error, REASON_RESUME_UNKNOWN,
			"no session has this token; it ended, say hello without one");
	r = hello_check_role(call, session->role);
	if (r)
		return r;
	hello_go_on(call, session);
	*ret_session = session;
	return 0;
}

static int hello_begin(
	struct call *call, const Pasid__V1__Hello *hello, struct session **ret_session)
{
	if (call->link->handed)
		return handed_hello(call, hello, ret_session);
	if (hello->resume_case == PASID__V1__HELLO__RESUME_RESUME_TOKEN)
		return hello_resume(call, hello, ret_session);
	if (hello->resume_case == PASID__V1__HELLO__RESUME_TAKE_OVER)
		return handover_hello(call, hello, ret_session);
	return hello_open(call, hello, ret_session);
}

static void hello_write(struct call *call, const struct session *session, bool resumed)
{
	Pasid__V1__HelloResult result = PASID__V1__HELLO_RESULT__INIT;

	result.version = PROTOCOL_VERSION;
	result.n_features = ARRAY_SIZE(hello_features);
	result.features = (char **)hello_features;
	result.instance.data = call->d->config.instance;
	result.instance.len = DISPATCH_INSTANCE_SIZE;
	result.session = session->id;
	if (!session->handed) {
		result.resume_token.data =
			(uint8_t *)(uintptr_t)session_token(call->d->sessions, session);
		result.resume_token.len = SESSION_TOKEN_SIZE;
	}
	result.resumed = resumed;
	result.role = (Pasid__V1__Role)session->role;
	result.window = SESSION_WINDOW;
	result.datagram_limit = WIRE_DATAGRAM_MAX;
	result.request_limit = call->d->config.requests_max;
	result.grace_ms = session->handed ? 0 : call->d->config.grace_ms;
	result.set = session->set.v;
	result.last_id = session->last_id;
	call_write(call, &result.base);
}

int handle_hello(struct call *call)
{
	const Pasid__V1__Hello *hello = (const void *)call->message;
	bool resume = hello->resume_case != PASID__V1__HELLO__RESUME__NOT_SET;
	struct session *session;
	int r = hello_check(call, hello);

	if (!r)
		r = hello_begin(call, hello, &session);
	if (r)
		return r;
	call->session = session;
	call->link->session = session;
	session->link = call->link;
	dispatch_settle(call->d); /* the token is a promise */
	hello_write(call, session, resume);
	return 0;
}

int handle_ping(struct call *call)
{
	const Pasid__V1__Ping *ping = (const void *)call->message;

	if (ping->payload.len)
		wire_out_bytes(&call->out, 1, ping->payload.data, ping->payload.len);
	return 0;
}

/* ---------------------------------------------------------------- status */

#define STATUS_NOTES_FIELD    14u
#define STATUS_HANGING_MAX    8u /* notes about operations that hang */
#define STATUS_HANGING_LEN    160u
#define STATUS_LATE_LEN       256u
#define STATUS_COUNTERS_FIELD 15u

static const char *const edge_texts[] = {
#define C(name, text) text,
	EDGE_COUNTERS(C)
#undef C
};

static void status_write_counter(struct call *call, const char *name, uint64_t value)
{
	Pasid__V1__NamedValue counter = PASID__V1__NAMED_VALUE__INIT;

	counter.name = (char *)name;
	counter.value = value;
	wire_out_message(&call->out, STATUS_COUNTERS_FIELD, &counter.base);
}

/* What the broker counted, and what was refused before or by it, by reason. */
static void status_write_counters(struct call *call, const struct metrics *metrics)
{
	const struct dispatch *d = call->d;
	char name[64] = "refused-";
	uint64_t refused = 0;

	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		if (i != METRIC_REFUSED)
			status_write_counter(call, metric_text((enum metric)i), metrics->value[i]);
	}
	for (unsigned i = 0; i < EDGE_COUNT; i++)
		status_write_counter(call, edge_texts[i], d->edge[i]);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		refused += d->refused[i];
		if (!d->refused[i])
			continue;
		strncpy(name + strlen("refused-"), reason_text((enum reason)i),
			sizeof(name) - sizeof("refused-"));
		status_write_counter(call, name, d->refused[i]);
	}
	status_write_counter(call, metric_text(METRIC_REFUSED), refused);
}

static bool status_is_consistent(struct call *call)
{
	struct error contradiction;

	return call->actor.role == ROLE_ADMIN &&
	       broker_recount(call->d->broker, &contradiction) == 0;
}

int handle_recover(struct call *call)
{
	const Pasid__V1__Recover *request = (const void *)call->message;
	struct dispatch *d = call->d;
	bool was_blocked = false;
	int r;

	if (!request->confirm_no_devices)
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"nothing is confirmed; set confirm_no_devices when no VMM holds a device");
	r = broker_confirm(d->broker, &call->actor, &was_blocked, &call->error);
	if (r)
		return r;
	if (d->ports.confirmed)
		d->ports.confirmed(d->ports.ctx, &call->actor, was_blocked);
	if (was_blocked)
		wire_out_uint(&call->out, 1, was_blocked);
	return 0;
}

static void status_write_hanging(struct call *call)
{
	const struct dispatch_ports *ports = &call->d->ports;
	char text[STATUS_HANGING_LEN];

	for (uint32_t i = 0; ports->hanging && i < STATUS_HANGING_MAX; i++) {
		if (!ports->hanging(ports->ctx, i, text, sizeof(text)))
			break;
		wire_out_string(&call->out, STATUS_NOTES_FIELD, text);
	}
}

static void status_write_policy(struct call *call, const struct broker_status *status)
{
	char text[STATUS_HANGING_LEN];

	if (!status->policy_waits)
		return;
	(void)snprintf(text, sizeof(text),
		"Numbers are granted by the policy \"%s\" until none is out any more; "
		"namespace.policy waits for that.",
		broker_policy_text(status->policy));
	wire_out_string(&call->out, STATUS_NOTES_FIELD, text);
}

/* Admins are told whose it is, where limits are listed. */
static void status_write_missing(struct call *call, const struct broker_status *status)
{
	char text[STATUS_HANGING_LEN];

	if (!status->missing)
		return;
	(void)snprintf(text, sizeof(text),
		"%u reserved PASIDs are promised to other sets still, and are set aside when "
		"those give them back.",
		status->missing);
	wire_out_string(&call->out, STATUS_NOTES_FIELD, text);
}

/* Who it is, is nothing that a VMM may know. */
static void status_write_late(struct call *call)
{
	struct participant_info info;
	char text[STATUS_LATE_LEN];
	uint32_t cursor = 0;

	while (call->actor.role != ROLE_VMM &&
		broker_participant_next(call->d->broker, &cursor, &info)) {
		const struct session *session;

		if (!info.late)
			continue;
		session = session_by_id(call->d->sessions, info.session);
		(void)snprintf(text, sizeof(text),
			"Participant %" PRIu64
			" (user %u, process %d) let %u unbinds wait in vain, "
			"last that of PASID %u; unbinds wait for it again when it acknowledges "
			"something.",
			info.session, session->peer->uid, session->peer->pid, info.missed,
			info.last.v);
		wire_out_string(&call->out, STATUS_NOTES_FIELD, text);
	}
}

int handle_get_status(struct call *call)
{
	struct dispatch *d = call->d;
	Pasid__V1__StatusResult result = PASID__V1__STATUS_RESULT__INIT;
	Pasid__V1__Counter pasids = PASID__V1__COUNTER__INIT;
	struct broker_status status;

	broker_status(d->broker, &status);
	call_fill_counter(&pasids, &status.pasids);
	result.version = (char *)d->config.version;
	result.instance.data = d->config.instance;
	result.instance.len = DISPATCH_INSTANCE_SIZE;
	result.backend = (char *)d->config.backend;
	result.uptime_ms = d->ports.now_ms(d->ports.ctx) - d->started;
	result.pasids = &pasids;
	result.quarantined = status.quarantined;
	result.sets = status.sets;
	result.devices = status.devices;
	result.bindings = status.bindings;
	result.sessions = sessions_count(d->sessions);
	result.operations = status.operations;
	result.reserved_first = status.reserved_last ? 1 : 0;
	result.reserved_last = status.reserved_last;
	result.pasid_width = status.pasid_width;
	result.consistent = status_is_consistent(call);
	call_write(call, &result.base);
	if (status.unconfirmed)
		wire_out_string(&call->out, STATUS_NOTES_FIELD, BROKER_UNCONFIRMED_TEXT);
	for (size_t i = 0; i < d->config.note_count; i++)
		wire_out_string(&call->out, STATUS_NOTES_FIELD, d->config.notes[i]);
	status_write_policy(call, &status);
	status_write_missing(call, &status);
	status_write_late(call);
	status_write_hanging(call);
	status_write_counters(call, &status.metrics);
	return 0;
}
