/* SPDX-License-Identifier: MIT */
#include "log.h"
#include "server_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct change_text {
	enum log_level level;
	const char *operation;
	const char *text;
};

static const struct change_text server_change_texts[] = {
	[CHANGE_SET_CREATED] = {LOG_LEVEL_INFO, "set-create", "set created"},
	[CHANGE_SET_ADJUSTED] = {LOG_LEVEL_INFO, "set-adjust", "quota of set changed"},
	[CHANGE_SET_DESTROYED] = {LOG_LEVEL_INFO, "set-destroy", "set destroyed"},
	[CHANGE_GRANT_ALLOCATED] = {LOG_LEVEL_DEBUG, "allocate", "PASID granted"},
	[CHANGE_GRANT_FREE_PENDING] = {LOG_LEVEL_DEBUG, "free", "PASID freed while in use"},
	[CHANGE_GRANT_QUARANTINED] = {LOG_LEVEL_DEBUG, "quarantine", "PASID in quarantine"},
	[CHANGE_GRANT_RELEASED] = {LOG_LEVEL_DEBUG, "release", "PASID free again"},
	[CHANGE_GUEST_ATTACHED] = {LOG_LEVEL_DEBUG, "guest-attach", "guest PASID mapped"},
	[CHANGE_GUEST_DETACHED] = {LOG_LEVEL_DEBUG, "guest-detach", "guest PASID unmapped"},
	[CHANGE_GRANT_HELD] = {LOG_LEVEL_DEBUG, "hold", "PASID held"},
	[CHANGE_GRANT_LET_GO] = {LOG_LEVEL_DEBUG, "release", "hold ended"},
	[CHANGE_BINDING_BOUND] = {LOG_LEVEL_DEBUG, "bind", "bound"},
	[CHANGE_BINDING_UNBOUND] = {LOG_LEVEL_DEBUG, "unbind", "unbound"},
	[CHANGE_BINDING_LOST] = {LOG_LEVEL_WARNING, "bind", "binding lost with its worker"},
	[CHANGE_DEVICE_ADDED] = {LOG_LEVEL_INFO, "device-add", "device registered"},
	[CHANGE_DEVICE_REMOVED] = {LOG_LEVEL_INFO, "device-remove", "device removed"},
	[CHANGE_DEVICE_TAINTED] = {LOG_LEVEL_ERROR, "device-taint",
		"device tainted: something may be attached that could not be detached; its "
		"numbers stay in quarantine"},
	[CHANGE_SET_ENDING] = {LOG_LEVEL_INFO, "set-destroy", "set is torn down"},
	[CHANGE_SET_LEAVING] = {LOG_LEVEL_INFO, "set-move-export",
		"set is about to move to another host"},
	[CHANGE_SET_KEPT] = {LOG_LEVEL_INFO, "set-move-cancel", "set does not move; it stays here"},
	[CHANGE_SET_GIVEN] = {LOG_LEVEL_INFO, "set-move-commit", "set given to another host"},
	[CHANGE_SET_RESERVED] = {LOG_LEVEL_INFO, "set-move-reserve",
		"numbers reserved for a set of another host"},
	[CHANGE_SET_TAKEN] = {LOG_LEVEL_INFO, "set-move-take", "set taken from another host"},
	[CHANGE_GRANT_EXTENDED] = {LOG_LEVEL_DEBUG, "extend", "PASID granted on further devices"},
	[CHANGE_BINDING_REPLACED] = {LOG_LEVEL_DEBUG, "replace", "page table replaced"},
	[CHANGE_SET_EMPTIED] = {LOG_LEVEL_INFO, "set-empty", "set is empty, for another VM"},
	[CHANGE_GRANT_DATA] = {LOG_LEVEL_DEBUG, "data-set", "data of PASID changed"},
	[CHANGE_GRANT_WAITING] = {LOG_LEVEL_DEBUG, "quarantine",
		"PASID has cooled, and is waited for"},
	[CHANGE_GRANT_ACKNOWLEDGED] = {LOG_LEVEL_DEBUG, "acknowledge",
		"all participants have let go of PASID"},
	[CHANGE_BINDING_UNBINDING] = {LOG_LEVEL_DEBUG, "unbind", "is being unbound"},
	[CHANGE_BINDING_DRAINED] = {LOG_LEVEL_DEBUG, "drained", "drained"},
	[CHANGE_UNBIND_UNACKNOWLEDGED] = {LOG_LEVEL_WARNING, "unbind",
		"a participant did not acknowledge in time; unbinds wait for it again when it "
		"acknowledges something"},
	[CHANGE_BINDING_TAINTED] = {LOG_LEVEL_WARNING, "unbind", "could not be detached"},
	[CHANGE_DEVICE_HEALED] = {LOG_LEVEL_INFO, "device-heal", "device is good again"},
};

static struct change_text server_change_text(uint32_t kind)
{
	if (kind < ARRAY_SIZE(server_change_texts) && server_change_texts[kind].text)
		return server_change_texts[kind];
	return (struct change_text){LOG_LEVEL_ERROR, "change", "unknown change"};
}

static void server_log_change(const struct change *change, const struct change_text *text)
{
	const struct log_about about = {.operation = text->operation,
		.set = change->set,
		.device = change->device,
		.session = change->session,
		.pasid = change->host,
		.by_client = text->level > LOG_LEVEL_WARNING};

	log_write(text->level, &about, "%s", text->text);
}

void server_log_changes(struct server *server)
{
	struct change change;

	while (server->change_next < broker_change_sequence(server->options.broker) &&
		broker_change_get(server->options.broker, server->change_next, &change)) {
		const struct change_text text = server_change_text(change.kind);

		server->change_next = change.sequence + 1;
		if (log_wanted(text.level))
			server_log_change(&change, &text);
	}
}

void server_log_conn(struct server *server, const struct conn *conn, const char *operation,
	const char *format, ...)
{
	const bool linked = conn->list != CONN_PARKED && conn->link != NULL;
	const struct log_about about = {.operation = operation,
		.session = linked ? link_session(conn->link) : 0,
		.set = linked ? link_set(conn->link).v : 0,
		.by_client = true};
	char text[256];
	va_list args;

	(void)server;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_write(LOG_LEVEL_WARNING, &about, "%s", text);
}

void server_log_confirmed(void *ctx, const struct actor *actor, bool was_blocked)
{
	const struct log_about about = {
		.operation = "recover", .session = actor->session, .by_client = !was_blocked};

	(void)ctx;
	log_write(LOG_LEVEL_NOTICE, &about, "user %u confirms that no VMM holds a device%s",
		actor->peer->uid,
		was_blocked ? ": numbers are granted again" : ", of which there was no doubt");
}

void server_log_handed_over(
	void *ctx, uint64_t session, struct set_id set, int32_t from, int32_t to)
{
	const struct log_about about = {
		.operation = "hand-over", .session = session, .set = set.v, .by_client = true};

	(void)ctx;
	log_write(LOG_LEVEL_NOTICE, &about, "process %d took the session over from process %d", to,
		from);
}
