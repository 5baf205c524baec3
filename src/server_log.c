/* SPDX-License-Identifier: MIT */
#include "log.h"
#include "server_private.h"
#include "wire.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct change_text {
	enum log_level level;
	enum log_message message;
	const char *operation;
	const char *text;
};

static const struct change_text server_change_texts[] = {
	[CHANGE_SET_CREATED] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_CREATED, "set-create",
		"set created"},
	[CHANGE_SET_ADJUSTED] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_ADJUSTED, "set-adjust",
		"quota of set changed"},
	[CHANGE_SET_DESTROYED] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_DESTROYED, "set-destroy",
		"set destroyed"},
	[CHANGE_GRANT_ALLOCATED] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "allocate",
		"PASID granted"},
	[CHANGE_GRANT_FREE_PENDING] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "free",
		"PASID freed while in use"},
	[CHANGE_GRANT_QUARANTINED] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "quarantine",
		"PASID in quarantine"},
	[CHANGE_GRANT_RELEASED] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "release",
		"PASID free again"},
	[CHANGE_GUEST_ATTACHED] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "guest-attach",
		"guest PASID mapped"},
	[CHANGE_GUEST_DETACHED] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "guest-detach",
		"guest PASID unmapped"},
	[CHANGE_GRANT_HELD] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "hold", "PASID held"},
	[CHANGE_GRANT_LET_GO] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "release", "hold ended"},
	[CHANGE_BINDING_BOUND] = {LOG_LEVEL_INFO, LOG_MESSAGE_BOUND, "bind", "bound"},
	[CHANGE_BINDING_UNBOUND] = {LOG_LEVEL_INFO, LOG_MESSAGE_UNBOUND, "unbind", "unbound"},
	[CHANGE_BINDING_LOST] = {LOG_LEVEL_WARNING, LOG_MESSAGE_BINDING_LOST, "bind",
		"binding lost with its worker"},
	[CHANGE_DEVICE_ADDED] = {LOG_LEVEL_INFO, LOG_MESSAGE_DEVICE_ADDED, "device-add",
		"device registered"},
	[CHANGE_DEVICE_REMOVED] = {LOG_LEVEL_INFO, LOG_MESSAGE_DEVICE_REMOVED, "device-remove",
		"device removed"},
	[CHANGE_DEVICE_TAINTED] = {LOG_LEVEL_ERROR, LOG_MESSAGE_DEVICE_TAINTED, "device-taint",
		"device tainted: something may be attached that could not be detached; its "
		"numbers stay in quarantine"},
	[CHANGE_SET_ENDING] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_ENDING, "set-destroy",
		"set is torn down"},
	[CHANGE_SET_LEAVING] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_MOVE, "set-move-export",
		"set is about to move to another host"},
	[CHANGE_SET_KEPT] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_MOVE, "set-move-cancel",
		"set does not move; it stays here"},
	[CHANGE_SET_GIVEN] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_MOVE, "set-move-commit",
		"set given to another host"},
	[CHANGE_SET_RESERVED] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_MOVE, "set-move-reserve",
		"numbers reserved for a set of another host"},
	[CHANGE_SET_TAKEN] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_MOVE, "set-move-take",
		"set taken from another host"},
	[CHANGE_GRANT_EXTENDED] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "extend",
		"PASID granted on further devices"},
	[CHANGE_BINDING_REPLACED] = {LOG_LEVEL_INFO, LOG_MESSAGE_REPLACED, "replace",
		"page table replaced"},
	[CHANGE_SET_EMPTIED] = {LOG_LEVEL_INFO, LOG_MESSAGE_SET_EMPTIED, "set-empty",
		"set is empty, for another VM"},
	[CHANGE_GRANT_DATA] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "data-set",
		"data of PASID changed"},
	[CHANGE_GRANT_WAITING] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "quarantine",
		"PASID has cooled, and is waited for"},
	[CHANGE_GRANT_ACKNOWLEDGED] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_NUMBER, "acknowledge",
		"all participants have let go of PASID"},
	[CHANGE_BINDING_UNBINDING] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_UNBOUND, "unbind",
		"is being unbound"},
	[CHANGE_BINDING_DRAINED] = {LOG_LEVEL_DEBUG, LOG_MESSAGE_UNBOUND, "drained", "drained"},
	[CHANGE_UNBIND_UNACKNOWLEDGED] = {LOG_LEVEL_WARNING, LOG_MESSAGE_UNACKNOWLEDGED, "unbind",
		"a participant did not acknowledge in time; unbinds wait for it again when it "
		"acknowledges something"},
	[CHANGE_BINDING_TAINTED] = {LOG_LEVEL_WARNING, LOG_MESSAGE_BINDING_TAINTED, "unbind",
		"could not be detached"},
	[CHANGE_DEVICE_HEALED] = {LOG_LEVEL_INFO, LOG_MESSAGE_DEVICE_HEALED, "device-heal",
		"device is good again"},
};

static const struct change_text *server_change_text(uint32_t kind)
{
	static const struct change_text unknown = {
		LOG_LEVEL_ERROR, LOG_MESSAGE_NONE, "change", "unknown change"};

	if (kind < ARRAY_SIZE(server_change_texts) && server_change_texts[kind].text)
		return &server_change_texts[kind];
	return &unknown;
}

/* Fields of who caused it. */
static void server_about_cause(struct log_about *about, const struct dispatch_cause *cause)
{
	about->session = cause->session;
	about->uid = cause->uid;
	about->has_uid = cause->has_peer;
}

static void server_write_change(struct server *server, const struct change *change,
	const struct dispatch_cause *cause, const struct change_text *text)
{
	struct log_about about = {
		.message = text->message,
		.operation = text->operation,
		.vm = broker_set_name(server->options.broker, (struct set_id){change->set}),
		.set = change->set,
		.device_id = change->device,
		.pasid = change->host,
		.guest = change->guest,
		.has_guest = change->has_guest,
		.by_client = text->level > LOG_LEVEL_WARNING,
	};
	char address[WIRE_RID_LEN];

	server_about_cause(&about, cause);
	if (change->session != 0)
		about.session = change->session;
	if (change->device != 0) {
		wire_rid_format((struct rid){change->rid}, address);
		about.device = address;
	}
	log_write(text->level, &about, "%s", text->text);
}

void server_log_changes(struct server *server, const struct change *change, uint32_t count,
	const struct dispatch_cause *cause)
{
	const struct change_text *text = server_change_text(change->kind);
	struct change one = *change;

	for (uint32_t i = 0; i < count && log_wanted(text->level); i++, one.host++)
		server_write_change(server, &one, cause, text);
}

/* Is it worth a line? Who only looks may well ask for what is not there, and who is told to try
 * again will. */
static bool server_logs_refusal(const struct dispatch_refusal *refusal)
{
	const enum status status = reason_status((enum reason)refusal->error->reason);

	return status == STATUS_DENIED || refusal->cause.operation == 0 ||
	       (refusal->is_change && status != STATUS_RETRY);
}

void server_log_refusal(struct server *server, const struct dispatch_refusal *refusal,
	const char *operation, const struct rid *rid)
{
	const struct dispatch_subject *subject = &refusal->subject;
	struct log_about about = {
		.message = LOG_MESSAGE_REFUSED,
		.operation = operation,
		.reason = reason_text((enum reason)refusal->error->reason),
		.vm = subject->set_name,
		.set = subject->set,
		.device_id = subject->device,
		.pasid = subject->guest ? 0 : subject->number,
		.guest = subject->number,
		.has_guest = subject->guest,
		.by_client = true,
	};
	char address[WIRE_RID_LEN];

	if (!log_wanted(LOG_LEVEL_INFO) || !server_logs_refusal(refusal))
		return;
	server_about_cause(&about, &refusal->cause);
	if (about.vm == NULL)
		about.vm = broker_set_name(server->options.broker, (struct set_id){subject->set});
	if (rid != NULL) {
		wire_rid_format(*rid, address);
		about.device = address;
	}
	log_write(LOG_LEVEL_INFO, &about, "%s refused: %s", operation, refusal->error->text);
}

void server_log_conn(struct server *server, const struct conn *conn, const char *operation,
	const char *format, ...)
{
	const bool linked = conn->list != CONN_PARKED && conn->link != NULL;
	const struct set_id set = linked ? link_set(conn->link) : (struct set_id){0};
	struct log_about about = {.message = LOG_MESSAGE_CONNECTION,
		.operation = operation,
		.session = linked ? link_session(conn->link) : 0,
		.vm = broker_set_name(server->options.broker, set),
		.set = set.v,
		.by_client = true};
	char text[256];
	int32_t pid;
	va_list args;

	about.has_uid = linked && link_who(conn->link, &pid, &about.uid);
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_write(LOG_LEVEL_WARNING, &about, "%s", text);
}

void server_log_confirmed(void *ctx, const struct actor *actor, bool was_blocked)
{
	const struct log_about about = {.message = LOG_MESSAGE_CONFIRMED,
		.operation = "recover",
		.session = actor->session,
		.uid = actor->peer->uid,
		.has_uid = true,
		.by_client = !was_blocked};

	(void)ctx;
	log_write(LOG_LEVEL_NOTICE, &about, "user %u confirms that no VMM holds a device%s",
		actor->peer->uid,
		was_blocked ? ": numbers are granted again" : ", of which there was no doubt");
}

void server_log_handed_over(
	void *ctx, uint64_t session, struct set_id set, int32_t from, int32_t to)
{
	const struct server *server = ctx;
	const struct log_about about = {.message = LOG_MESSAGE_SESSION,
		.operation = "hand-over",
		.session = session,
		.vm = broker_set_name(server->options.broker, set),
		.set = set.v,
		.by_client = true};

	log_write(LOG_LEVEL_NOTICE, &about, "process %d took the session over from process %d", to,
		from);
}
