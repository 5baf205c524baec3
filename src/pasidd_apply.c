/* SPDX-License-Identifier: MIT */
/*
 * What can be applied while the daemon serves is a list of sections; whatever is not in it, also
 * what is added one day, needs a restart and says so.
 */
#include "pasidd_apply.h"

#include "conn.h"
#include "log.h"
#include "pasidd_settings.h"
#include "pasidd_share.h"
#include "runtime.h"
#include "wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside those of pasidd_share.c, which count down from the largest number. */
#define APPLY_COOKIE  (UINT64_MAX / 2 + 1)
#define APPLY_SESSION UINT64_MAX /* above all sessions of clients */

static const struct log_about about_reload = {.operation = "reload"};

/* ---------------------------------------------------------------- numbers */

static uint32_t limit_or_most(uint32_t limit)
{
	return limit != 0 ? limit : UINT32_MAX;
}

void apply_dispatch(const struct config *config, struct dispatch_config *dispatch)
{
	const struct limit_levels *limits = config->limits.of;

	dispatch->grace_ms = config->session.grace_ms;
	dispatch->operations_per_session = limit_or_most(limits[RESOURCE_OPERATIONS].set);
	dispatch->operations_max = limits[RESOURCE_OPERATIONS].host;
	dispatch->output_max = limit_or_most(limits[RESOURCE_UNREAD].set);
	dispatch->events_max = config->connection.unread_events;
	dispatch->requests_max = config->connection.requests_per_datagram;
	dispatch->remembered_max = limit_or_most(limits[RESOURCE_REMEMBERED].set);
}

void apply_server(const struct config *config, struct server_settings *ret_settings)
{
	*ret_settings = (struct server_settings){
		.hello_ms = config->session.hello_ms,
		.stalled_ms = config->session.stalled_ms,
		.received_max = limit_or_most(config->limits.of[RESOURCE_RECEIVED].set),
	};
}

/* What clients may have sent at once must not use up what there may be open. */
static void apply_received(const struct config *config, struct limits *limits, uint32_t most)
{
	const uint32_t limit = limit_or_most(config->limits.of[RESOURCE_RECEIVED].host);

	if (most < CONN_FDS_MAX)
		most = CONN_FDS_MAX;
	limits_set_host(limits, RESOURCE_RECEIVED, most < limit ? most : limit);
}

uint32_t apply_descriptors(const struct config *config, struct limits *limits)
{
	uint32_t connections = limit_or_most(config->limits.of[RESOURCE_CONNECTIONS].host);
	const bool cut = runtime_descriptors(&connections);

	limits_set_host(limits, RESOURCE_CONNECTIONS, connections);
	apply_received(config, limits, runtime_descriptors_left(connections) / 2);
	return cut ? connections : 0;
}

/* ---------------------------------------------------------------- what is said */

static void apply_tell_notes(struct apply *apply)
{
	const char *const own[] = {apply->failed, apply->restart};
	size_t count = 0;

	for (size_t i = 0; i < apply->note_count && count < APPLY_NOTES_MAX - ARRAY_SIZE(own); i++)
		apply->all[count++] = apply->notes[i];
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (own[i][0] != '\0')
			apply->all[count++] = own[i];
	server_set_notes(apply->server, apply->all, count);
}

static bool is_below(const char *path, const char *section)
{
	const size_t length = strlen(section);

	return strncmp(path, section, length) == 0 && strchr(".[", path[length]) != NULL;
}

static bool apply_is_live(const char *path)
{
	static const char *const sections[] = {"namespace", "quota", "quarantine", "participants",
		"session", "roles", "scopes", "devices", "log", "limits", "reservations"};
	static const char *const fixed[] = {"namespace.reserved_last", "limits.operations.host",
		"limits.requests_per_datagram"};

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (strcmp(path, fixed[i]) == 0)
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		if (is_below(path, sections[i]))
			return true;
	return false;
}

/* Paths with commas between them; what does not fit is left out, with "...". */
struct path_list {
	bool live;
	size_t length;
	char text[APPLY_NOTE_MAX - 256];
};

static void list_add(void *ctx, const char *path)
{
	struct path_list *list = ctx;
	const size_t room = sizeof(list->text) - list->length;

	if (apply_is_live(path) != list->live || room < 8)
		return;
	if (strlen(path) + 8 > room)
		path = "...";
	list->length += (size_t)snprintf(
		list->text + list->length, room, "%s%s", list->length > 0 ? ", " : "", path);
	if (strcmp(path, "...") == 0)
		list->length = sizeof(list->text); /* no more */
}

void apply_fail(void *ctx, const char *why)
{
	struct apply *apply = ctx;

	log_write(LOG_LEVEL_ERROR, &about_reload,
		"the settings were not applied, those before stay in effect: %s", why);
	(void)snprintf(apply->failed, sizeof(apply->failed),
		"The settings were not applied when they were last read, and those before are in "
		"effect: %.1000s",
		why);
	apply_tell_notes(apply);
}

/* ---------------------------------------------------------------- shared devices */

static bool apply_is_shared(const struct policy *policy, struct rid rid)
{
	for (size_t i = 0; i < policy->device_count; i++)
		if (policy->devices[i].rid.v == rid.v &&
			policy->devices[i].use == POLICY_USE_SHARED)
			return true;
	return false;
}

static void apply_share_failed(struct rid rid, const char *why)
{
	char address[WIRE_RID_LEN];

	wire_rid_format(rid, address);
	log_write(LOG_LEVEL_ERROR, &about_reload,
		"shared device %s is not served: %s. Mend it, then share the device (pasidctl) or "
		"restart pasidd",
		address, why);
}

static void apply_share(struct apply *apply, struct rid rid)
{
	const struct policy_peer self = {.uid = geteuid()};
	const struct actor actor = {.role = ROLE_ADMIN, .session = APPLY_SESSION, .peer = &self};
	struct error error;

	/* The cookie is the device, so that its outcome says which. */
	if (!share_stands(apply->broker, &actor, rid) &&
		broker_device_share(apply->broker, &actor, rid, APPLY_COOKIE | rid.v, &error) != 0)
		apply_share_failed(rid, error.text);
}

void apply_ended(void *ctx, const struct outcome *outcome)
{
	const struct rid rid = {(uint32_t)outcome->cookie};
	char address[WIRE_RID_LEN];

	(void)ctx;
	if (outcome->cookie >> 32 != APPLY_COOKIE >> 32)
		return;
	wire_rid_format(rid, address);
	if (outcome->status != 0)
		apply_share_failed(rid, outcome->error.text);
	else
		log_write(LOG_LEVEL_INFO, &about_reload, "shared device %s is served", address);
}

/* Those that are new are opened; one that is not named any more has slices that its VMs work with.
 */
static void apply_devices(
	struct apply *apply, const struct policy *present, const struct policy *before)
{
	char address[WIRE_RID_LEN];

	for (size_t i = 0; i < present->device_count; i++) {
		const struct policy_device *device = &present->devices[i];

		if (device->use == POLICY_USE_SHARED && !apply_is_shared(before, device->rid))
			apply_share(apply, device->rid);
	}
	for (size_t i = 0; i < before->device_count; i++) {
		const struct policy_device *device = &before->devices[i];

		if (device->use != POLICY_USE_SHARED || apply_is_shared(present, device->rid))
			continue;
		wire_rid_format(device->rid, address);
		log_write(LOG_LEVEL_WARNING, &about_reload,
			"device %s is no shared one of the settings any more: no further set has a "
			"slice of it; those that have one keep it, until an admin removes the device",
			address);
	}
}

/* ---------------------------------------------------------------- applied */

/* What cannot be changed now stays what it is, until a restart. */
static void apply_keep(struct config *next, struct config *present)
{
	const struct config_socket socket = next->socket;

	next->socket = present->socket;
	present->socket = socket; /* each is freed once */
	next->simulate = present->simulate;
	next->broker.reserved_last = present->broker.reserved_last;
	next->limits.of[RESOURCE_OPERATIONS].host = present->limits.of[RESOURCE_OPERATIONS].host;
	next->connection.requests_per_datagram = present->connection.requests_per_datagram;
}

/* 0, or why it was not done, and then nothing was. */
static const char *apply_exchange(struct apply *apply, struct config *next, uint64_t *ret_same)
{
	struct config *present = apply->config;

	if (broker_configure(apply->broker, &next->broker, &next->limits) != 0)
		return "with namespace.reserved_last as it is they do not fit; restart pasidd";
	if (config_exchange(present, next, ret_same) == 0)
		return NULL;
	(void)broker_configure(apply->broker, &present->broker, &present->limits);
	return "out of memory";
}

static void apply_rest(struct apply *apply, const struct config *before, uint64_t same)
{
	const struct config *config = apply->config;
	struct server_settings settings;
	uint32_t ended;

	(void)apply_descriptors(config, apply->limits);
	apply_dispatch(config, apply->dispatch);
	apply_server(config, &settings);
	settings.dispatch = apply->dispatch;
	ended = server_configure(apply->server, &settings, same);
	if (ended > 0)
		log_write(LOG_LEVEL_WARNING, &about_reload,
			"%u sessions were ended: the settings do not allow their role any more",
			ended);
	apply_devices(apply, &config->policy, &before->policy);
}

static void apply_say(struct apply *apply, const struct path_list *applied,
	const struct path_list *restart, const struct config_files *files)
{
	settings_log(files);
	log_write(LOG_LEVEL_INFO, &about_reload, "settings applied: %s",
		applied->length > 0 ? applied->text : "nothing has changed");
	if (restart->length > 0) {
		log_write(LOG_LEVEL_WARNING, &about_reload, "needs a restart: %s", restart->text);
		(void)snprintf(apply->restart, sizeof(apply->restart),
			"The settings have changed in what needs a restart: %s.", restart->text);
	}
}

/* What differs from what is in effect, and from what the daemon was started with. */
static bool apply_compare(struct apply *apply, const struct config *next,
	struct path_list *ret_applied, struct path_list *ret_restart)
{
	char *present = config_write(apply->config), *text = config_write(next);
	const bool compared = present != NULL && text != NULL &&
			      config_compare(present, text, list_add, ret_applied) &&
			      config_compare(apply->started, text, list_add, ret_restart);

	free(present);
	free(text);
	return compared;
}

void apply_take(void *ctx, struct config *next, const struct config_files *files)
{
	struct apply *apply = ctx;
	struct path_list applied = {.live = true}, restart = {.live = false};
	const char *why = NULL;
	uint64_t same;

	if (apply->options->has_log_level)
		next->log_level = apply->options->log_level;
	next->policy.any_device = apply->config->policy.any_device;
	if (!apply_compare(apply, next, &applied, &restart))
		why = "out of memory";
	if (why == NULL) {
		apply_keep(next, apply->config);
		why = apply_exchange(apply, next, &same);
		if (why != NULL)
			apply_keep(next, apply->config); /* the sockets go back */
	}
	if (why != NULL) {
		apply_fail(apply, why);
		config_free(next);
		return;
	}
	apply->failed[0] = apply->restart[0] = '\0';
	apply_rest(apply, next, same);
	if (apply->config->log_level > next->log_level)
		log_open((enum log_level)apply->config->log_level);
	apply_say(apply, &applied, &restart, files);
	log_open((enum log_level)apply->config->log_level); /* which may want less of all that */
	apply_tell_notes(apply);
	config_free(next);
}

int apply_begin(struct apply *apply)
{
	apply->started = config_write(apply->config);
	return apply->started != NULL ? 0 : -ENOMEM;
}

void apply_done(struct apply *apply)
{
	free(apply->started);
	apply->started = NULL;
}
