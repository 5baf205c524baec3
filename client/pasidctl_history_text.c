/* SPDX-License-Identifier: MIT */
/* history: records as JSON, and as lines for people. */
#include "pasidctl.h"
#include "pasidctl_history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------ times and addresses */

static bool history_parse_ago(const char *text, time_t now, uint64_t *ret_ms)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *end;
	if (text[0] < '0' || text[0] > '9' || strlen(text) > 9)
		return false;
	const uint64_t count = strtoul(text, &end, 10);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (end[0] != units[i].unit || end[1] != '\0')
			continue;
		const uint64_t ago = count * units[i].seconds;
		*ret_ms = ago < (uint64_t)now ? ((uint64_t)now - ago) * 1000 : 0;
		return true;
	}
	return false;
}

bool history_parse_time(const char *text, time_t now, uint64_t *ret_ms)
{
	static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S",
		"%Y-%m-%dT%H:%M:%S", "%H:%M", "%H:%M:%S"};
	if (history_parse_ago(text, now, ret_ms))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		struct tm tm;
		if (localtime_r(&now, &tm) == NULL)
			return false;
		tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
		const char *end = strptime(text, formats[i], &tm);
		if (end == NULL || *end != '\0')
			continue;
		tm.tm_isdst = -1;
		const time_t at = mktime(&tm);
		if (at < 0)
			return false;
		*ret_ms = (uint64_t)at * 1000;
		return true;
	}
	return false;
}

static json_t *history_time(uint64_t ms)
{
	const time_t seconds = (time_t)(ms / 1000);
	char text[64] = "", whole[80];
	struct tm tm;
	/* A file of anybody has any time. */
	if (ms / 1000 < UINT64_C(1) << 40 && gmtime_r(&seconds, &tm) != NULL)
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(whole, sizeof(whole), "%s.%03uZ", text, (unsigned)(ms % 1000));
	return json_string(whole);
}

/* ------------------------------------------------------------ how long it lasted */

static bool history_is(const struct audit_record *record, const char *kind)
{
	return strcmp(audit_kind_text(record->kind), kind) == 0;
}

/* The number that is asked for is of both; without one, all numbers of `end` are of `begin`. */
static bool history_covers(const struct audit_query *query, const struct audit_record *begin,
	const struct audit_record *end)
{
	if (query->has_host)
		return audit_is_about(begin, query->host) && audit_is_about(end, query->host);
	return audit_is_about(begin, end->host) &&
	       audit_is_about(begin, end->host + audit_span(end) - 1);
}

/* What the record ended, of the records before it; NULL: it ended nothing, or that is not there. */
static const struct audit_record *history_begin(
	const struct audit_query *query, const struct audit_found *found, size_t at)
{
	static const struct {
		const char *end, *begin;
		bool device;
	} spans[] = {
		{"unbound", "bound", true},
		{"binding-lost", "bound", true},
		{"freed", "granted", false},
		{"quarantined", "granted", false},
		{"free-again", "quarantined", false},
		{"set-destroyed", "set-created", false},
		{"device-removed", "device-added", true},
	};
	const struct audit_record *end = &found->records[at];
	const size_t far = at > 4096 ? at - 4096 : 0; /* so that it takes no time to speak of */
	for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
		if (!history_is(end, spans[i].end))
			continue;
		for (size_t j = at; j-- > far;) {
			const struct audit_record *begin = &found->records[j];
			if (history_covers(query, begin, end) && begin->set == end->set &&
				begin->boot == end->boot &&
				(!spans[i].device || begin->device == end->device) &&
				history_is(begin, spans[i].begin))
				return begin;
		}
	}
	return NULL;
}

/* ------------------------------------------------------------ JSON */

static json_t *history_integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *history_optional(bool has, uint64_t value)
{
	return has ? history_integer(value) : json_null();
}

static json_t *history_words(const char *text)
{
	return text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *history_address(uint32_t rid)
{
	char text[16];
	if (rid == AUDIT_NO_RID)
		return json_null();
	(void)snprintf(text, sizeof(text), "%04x:%02x:%02x.%x", rid >> 16, rid >> 8 & 0xff,
		rid >> 3 & 0x1f, rid & 7);
	return json_string(text);
}

static json_t *history_record(
	const struct audit_query *query, const struct audit_found *found, size_t at)
{
	const struct audit_record *record = &found->records[at];
	const struct audit_record *begin = history_begin(query, found, at);
	const bool is_run = record->kind == AUDIT_STARTED || record->kind == AUDIT_STOPPED;
	const bool has_peer = record->flags & AUDIT_HAS_PEER;
	json_t *json = json_object();
	char name[AUDIT_NAME_MAX + 1], boot[16];
	audit_name(record, name);
	(void)snprintf(boot, sizeof(boot), "%08" PRIx32, record->boot);
	json_object_set_new(json, "sequence", history_integer(record->sequence));
	json_object_set_new(json, "time", history_time(record->time_ms));
	json_object_set_new(json, "time_ms", history_integer(record->time_ms));
	json_object_set_new(json, "boot", json_string(boot));
	json_object_set_new(json, "event", json_string(audit_kind_text(record->kind)));
	json_object_set_new(json, "pasid", history_optional(record->host != 0, record->host));
	json_object_set_new(json, "count", history_optional(record->host != 0, audit_span(record)));
	json_object_set_new(
		json, "guest", history_optional(record->flags & AUDIT_HAS_GUEST, record->guest));
	json_object_set_new(json, "set", is_run ? json_null() : history_words(name));
	json_object_set_new(json, "set_id", history_optional(record->set != 0, record->set));
	json_object_set_new(json, "address", history_address(record->rid));
	json_object_set_new(json, "device",
		history_optional(record->device != 0 && record->kind != AUDIT_MISSED &&
					 !(record->flags & AUDIT_IS_SPAN),
			record->device));
	json_object_set_new(
		json, "lost", history_optional(record->kind == AUDIT_MISSED, record->device));
	json_object_set_new(json, "version", is_run ? history_words(name) : json_null());
	json_object_set_new(
		json, "operation", history_words(audit_operation_text(record->operation)));
	json_object_set_new(json, "reason",
		record->kind == AUDIT_REFUSED
			? json_string(reason_text((enum reason)record->reason))
			: json_null());
	json_object_set_new(json, "uid", history_optional(has_peer, record->uid));
	json_object_set_new(json, "pid", history_optional(has_peer, record->pid));
	json_object_set_new(json, "doubtful", json_boolean(record->flags & AUDIT_DOUBTFUL));
	json_object_set_new(json, "lasted_ms",
		history_optional(begin != NULL && begin->time_ms <= record->time_ms,
			begin != NULL ? record->time_ms - begin->time_ms : 0));
	return json;
}

json_t *history_json(
	const char *file, const struct audit_query *query, const struct audit_found *found)
{
	json_t *json = json_object(), *records = json_array();
	for (size_t i = 0; i < found->count; i++)
		json_array_append_new(records, history_record(query, found, i));
	json_object_set_new(json, "file", json_string(file));
	json_object_set_new(json, "records", records);
	json_object_set_new(json, "passed_over", history_integer(found->passed_over));
	json_object_set_new(json, "damaged", history_integer(found->damaged));
	/* Older ones may have been overwritten, if they are asked for at all. */
	json_object_set_new(json, "complete_since",
		found->lost_ms > query->since_ms ? history_time(found->lost_ms) : json_null());
	return json;
}

/* ------------------------------------------------------------ lines */

static const char *history_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool history_has(const json_t *object, const char *key)
{
	return json_is_integer(json_object_get(object, key));
}

static long long history_number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

/* "2 h 5 min", "3.250 s" */
static void history_show_lasted(uint64_t ms)
{
	const uint64_t s = ms / 1000;
	if (s < 60)
		printf(", after %" PRIu64 ".%03" PRIu64 " s", s, ms % 1000);
	else if (s < 3600)
		printf(", after %" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		printf(", after %" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
	else
		printf(", after %" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}

/* Of the local clock. */
static void history_show_time(uint64_t ms)
{
	const time_t seconds = (time_t)(ms / 1000);
	char text[64] = "?";
	struct tm tm;
	if (ms / 1000 < UINT64_C(1) << 40 && localtime_r(&seconds, &tm) != NULL)
		(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s.%03u", text, (unsigned)(ms % 1000));
}

static void history_show_cause(const json_t *record)
{
	const char *operation = history_string(record, "operation");
	if (!history_has(record, "uid"))
		return;
	printf("  (user %lld, process %lld%s%s)", history_number(record, "uid"),
		history_number(record, "pid"), operation != NULL ? ", " : "",
		operation != NULL ? operation : "");
}

static void history_show_record(const json_t *record)
{
	const char *set = history_string(record, "set"), *text;
	history_show_time((uint64_t)history_number(record, "time_ms"));
	printf("  %-15s", history_string(record, "event"));
	if (history_number(record, "count") > 1)
		printf(" PASIDs %lld to %lld", history_number(record, "pasid"),
			history_number(record, "pasid") + history_number(record, "count") - 1);
	else if (history_has(record, "pasid"))
		printf(" PASID %lld", history_number(record, "pasid"));
	if (history_has(record, "guest"))
		printf(" guest %lld", history_number(record, "guest"));
	if (set != NULL)
		printf(" set %s", set);
	else if (history_has(record, "set_id"))
		printf(" set id:%lld", history_number(record, "set_id"));
	if ((text = history_string(record, "address")) != NULL)
		printf(" on %s", text);
	if ((text = history_string(record, "reason")) != NULL)
		printf(": %s", text);
	if ((text = history_string(record, "version")) != NULL)
		printf(" pasidd %s", text);
	if (history_has(record, "lost"))
		printf(" %lld changes", history_number(record, "lost"));
	if (history_has(record, "lasted_ms"))
		history_show_lasted((uint64_t)history_number(record, "lasted_ms"));
	history_show_cause(record);
	if (json_is_true(json_object_get(record, "doubtful")))
		printf("  (the daemon died right then: it may have been taken back)");
	putchar('\n');
}

static void history_show_now(const json_t *now)
{
	const char *set = history_string(now, "set");
	printf("now                      %-15s PASID %lld", history_string(now, "state"),
		history_number(now, "pasid"));
	if (history_has(now, "guest"))
		printf(" guest %lld", history_number(now, "guest"));
	if (set != NULL)
		printf(" set %s, %lld bindings", set, history_number(now, "bindings"));
	putchar('\n');
}

void ctl_show_history(const struct ctl *ctl, const json_t *answer)
{
	const json_t *records = json_object_get(answer, "records"), *record, *before = NULL;
	const json_t *now = json_object_get(answer, "now");
	size_t i;
	(void)ctl;
	if (json_is_string(json_object_get(answer, "complete_since")))
		printf("Records before %s may have been overwritten.\n",
			history_string(answer, "complete_since"));
	if (history_number(answer, "passed_over") > 0)
		printf("%lld earlier ones are not shown: --limit 0 shows all.\n",
			history_number(answer, "passed_over"));
	if (json_array_size(records) == 0)
		puts("Nothing of it is in the audit trail.");
	json_array_foreach ((json_t *)json_object_get(answer, "records"), i, record) {
		if (before != NULL && !json_equal(json_object_get(before, "boot"),
					      json_object_get(record, "boot")))
			puts("-- the host was booted --");
		history_show_record(record);
		before = record;
	}
	if (json_is_object(now))
		history_show_now(now);
}
