/* SPDX-License-Identifier: MIT */
/* What the dispatcher tells of changes and refusals, as records of the audit trail. */
#include "log.h"
#include "server_private.h"

#include <assert.h>
#include <string.h>

static void record_name(struct audit_record *record, const char *name)
{
	if (name != NULL)
		memcpy(record->name, name, strnlen(name, sizeof(record->name)));
}

static void record_cause(struct audit_record *record, const struct dispatch_cause *cause)
{
	record->operation = (uint8_t)cause->operation;
	if (!cause->has_peer)
		return;
	record->uid = cause->uid;
	record->pid = (uint32_t)cause->pid;
	record->flags |= AUDIT_HAS_PEER;
}

/* Numbers come and go by the million; what is bound to what must not be overwritten by that. */
static enum audit_ring ring_of(uint32_t kind)
{
	return change_is_of_number(kind) ? AUDIT_NUMBERS : AUDIT_BINDINGS;
}

static void record_change(struct server *server, const struct change *change, uint32_t count,
	const struct dispatch_cause *cause)
{
	const char *name = broker_set_name(server->options.broker, (struct set_id){change->set});
	struct audit_record record = {
		.kind = (uint8_t)(change->kind != 0 ? change->kind : AUDIT_MISSED),
		.set = change->set,
		.device = change->device,
		.host = change->host,
		.guest = change->guest,
		.rid = change->kind != 0 && change->device != 0 ? change->rid : AUDIT_NO_RID,
		.flags = change->has_guest ? AUDIT_HAS_GUEST : 0,
	};

	if (count > 1) {
		assert(change->device == 0);
		record.count = count;
		record.flags |= AUDIT_IS_SPAN;
	}
	record_cause(&record, cause);
	_Static_assert(sizeof(record.name) == STATE_NAME_MAX, "a name is as long as a name");
	if (name != NULL)
		memcpy(record.name, name, sizeof(record.name));
	audit_write(server->options.audit, ring_of(change->kind), &record);
}

void server_changed(
	void *ctx, const struct change *change, uint32_t count, const struct dispatch_cause *cause)
{
	struct server *server = ctx;

	if (server->options.audit != NULL)
		record_change(server, change, count, cause);
	if (change->kind != 0)
		server_log_changes(server, change, count, cause);
	else
		log_write(LOG_LEVEL_WARNING,
			&(struct log_about){
				.message = LOG_MESSAGE_AUDIT_MISSED, .operation = "audit"},
			"%llu changes came at once and are not in the audit trail",
			(unsigned long long)change->device);
}

void server_settled(void *ctx)
{
	const struct server *server = ctx;

	audit_settled(server->options.audit);
}

/* The address of the device that it is about; NULL: none, or it is not known. */
static const struct rid *subject_rid(
	const struct server *server, const struct dispatch_subject *subject, struct rid *buffer)
{
	if (subject->device != 0 && broker_device_rid(server->options.broker,
					    (struct device_id){subject->device}, buffer))
		return buffer;
	return subject->has_rid ? &subject->rid : NULL;
}

void server_audit_refusal(
	struct server *server, const struct dispatch_refusal *refusal, const struct rid *rid)
{
	const struct dispatch_subject *subject = &refusal->subject;
	struct audit_record record = {
		.kind = AUDIT_REFUSED,
		.reason = (uint8_t)refusal->error->reason,
		.set = subject->set,
		.device = subject->device,
		.rid = rid != NULL ? rid->v : AUDIT_NO_RID,
	};

	record_cause(&record, &refusal->cause);
	if (subject->has_number && subject->guest) {
		record.guest = subject->number;
		record.flags |= AUDIT_HAS_GUEST;
	} else if (subject->has_number) {
		record.host = subject->number;
	}
	if (subject->set_name != NULL)
		record_name(&record, subject->set_name);
	else if (subject->set != 0)
		record_name(&record,
			broker_set_name(server->options.broker, (struct set_id){subject->set}));
	audit_write(server->options.audit, AUDIT_REFUSALS, &record);
}

/* A read that was asked wrongly says nothing of anybody: neither changed is anything, nor somebody
 * else's. */
static bool is_for_the_trail(const struct dispatch_refusal *refusal)
{
	const enum status status = reason_status((enum reason)refusal->error->reason);

	return refusal->is_change || refusal->cause.operation == 0 || status == STATUS_DENIED ||
	       status == STATUS_NOT_FOUND;
}

void server_refused(void *ctx, const struct dispatch_refusal *refusal)
{
	struct server *server = ctx;
	const char *operation = audit_operation_text(refusal->cause.operation);
	struct rid buffer;
	const struct rid *rid = subject_rid(server, &refusal->subject, &buffer);

	if (is_for_the_trail(refusal))
		server_audit_refusal(server, refusal, rid);
	server_log_refusal(server, refusal, operation[0] != '\0' ? operation : "datagram", rid);
}

void server_audit_run(struct server *server, enum audit_kind kind)
{
	struct audit_record record = {.kind = (uint8_t)kind, .rid = AUDIT_NO_RID};

	record_name(&record, server->options.dispatch->version);
	audit_write(server->options.audit, AUDIT_BINDINGS, &record);
	audit_settled(server->options.audit);
}

void server_check_audit(struct server *server)
{
	const bool is_short = audit_is_short(server->options.audit);

	if (is_short && !server->audit_short)
		log_write(LOG_LEVEL_WARNING,
			&(struct log_about){
				.message = LOG_MESSAGE_AUDIT_MISSED, .operation = "audit"},
			"the disk of the audit trail is full: earlier records are overwritten "
			"before they need be; make room");
	server->audit_short = is_short;
	if (audit_is_lost(server->options.audit) && !server->audit_lost) {
		server->audit_lost = true;
		log_write(LOG_LEVEL_ERROR,
			&(struct log_about){
				.message = LOG_MESSAGE_AUDIT_MISSED, .operation = "audit"},
			"the audit trail cannot be reached any more: its disk fails, or somebody cut "
			"the file short; nothing is recorded until pasidd is restarted");
	}
}
