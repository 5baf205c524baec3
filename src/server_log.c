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

static struct change_text server_change_text(enum change_kind kind)
{
	switch (kind) {
	case CHANGE_SET_CREATED:
		return (struct change_text){LOG_LEVEL_INFO, "set-create", "set created"};
	case CHANGE_SET_ADJUSTED:
		return (struct change_text){LOG_LEVEL_INFO, "set-adjust", "quota of set changed"};
	case CHANGE_SET_DESTROYED:
		return (struct change_text){LOG_LEVEL_INFO, "set-destroy", "set destroyed"};
	case CHANGE_SET_LEAVING:
		return (struct change_text){
			LOG_LEVEL_INFO, "set-move-export", "set is about to move to another host"};
	case CHANGE_SET_KEPT:
		return (struct change_text){
			LOG_LEVEL_INFO, "set-move-cancel", "set does not move; it stays here"};
	case CHANGE_SET_GIVEN:
		return (struct change_text){
			LOG_LEVEL_INFO, "set-move-commit", "set given to another host"};
	case CHANGE_SET_RESERVED:
		return (struct change_text){LOG_LEVEL_INFO, "set-move-reserve",
			"numbers reserved for a set of another host"};
	case CHANGE_SET_TAKEN:
		return (struct change_text){
			LOG_LEVEL_INFO, "set-move-take", "set taken from another host"};
	case CHANGE_GRANT_ALLOCATED:
		return (struct change_text){LOG_LEVEL_DEBUG, "allocate", "PASID granted"};
	case CHANGE_GRANT_FREE_PENDING:
		return (struct change_text){LOG_LEVEL_DEBUG, "free", "PASID freed while in use"};
	case CHANGE_GRANT_QUARANTINED:
		return (struct change_text){LOG_LEVEL_DEBUG, "quarantine", "PASID in quarantine"};
	case CHANGE_GRANT_RELEASED:
		return (struct change_text){LOG_LEVEL_DEBUG, "release", "PASID free again"};
	case CHANGE_GUEST_ATTACHED:
		return (struct change_text){LOG_LEVEL_DEBUG, "guest-attach", "guest PASID mapped"};
	case CHANGE_GUEST_DETACHED:
		return (struct change_text){
			LOG_LEVEL_DEBUG, "guest-detach", "guest PASID unmapped"};
	case CHANGE_GRANT_EXTENDED:
		return (struct change_text){
			LOG_LEVEL_DEBUG, "extend", "PASID granted on further devices"};
	case CHANGE_GRANT_HELD:
		return (struct change_text){LOG_LEVEL_DEBUG, "hold", "PASID held"};
	case CHANGE_GRANT_LET_GO:
		return (struct change_text){LOG_LEVEL_DEBUG, "release", "hold ended"};
	case CHANGE_BINDING_BOUND:
		return (struct change_text){LOG_LEVEL_DEBUG, "bind", "bound"};
	case CHANGE_BINDING_UNBOUND:
		return (struct change_text){LOG_LEVEL_DEBUG, "unbind", "unbound"};
	case CHANGE_BINDING_LOST:
		return (struct change_text){
			LOG_LEVEL_WARNING, "bind", "binding lost with its worker"};
	case CHANGE_BINDING_REPLACED:
		return (struct change_text){LOG_LEVEL_DEBUG, "replace", "page table replaced"};
	case CHANGE_DEVICE_ADDED:
		return (struct change_text){LOG_LEVEL_INFO, "device-add", "device registered"};
	case CHANGE_DEVICE_REMOVED:
		return (struct change_text){LOG_LEVEL_INFO, "device-remove", "device removed"};
	case CHANGE_DEVICE_TAINTED:
		return (struct change_text){LOG_LEVEL_ERROR, "device-taint",
			"device tainted: something may be attached that could not be detached; its "
			"numbers stay in quarantine"};
	}
	return (struct change_text){LOG_LEVEL_ERROR, "change", "unknown change"};
}

static void server_log_change(const struct change *change, const struct change_text *text)
{
	const struct log_about about = {.operation = text->operation,
		.set = change->set,
		.device = change->device,
		.pasid = change->host,
		.by_client = text->level > LOG_LEVEL_WARNING};

	log_write(text->level, &about, "%s", text->text);
}

void server_log_changes(struct server *server)
{
	struct change change;

	while (server->change_next < broker_change_sequence(server->options.broker) &&
		broker_change_get(server->options.broker, server->change_next, &change)) {
		const struct change_text text = server_change_text((enum change_kind)change.kind);

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
