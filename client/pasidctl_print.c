/* SPDX-License-Identifier: MIT */
/* Answers as JSON, and JSON as tables and lines for people. */
#include "pasidctl.h"
#include "pasidctl_colour.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRINT_COLUMNS_MAX 16

/* ------------------------------------------------------------ the library's structs as JSON */

static const char *const print_modes[] = {"unknown", "translated", "identity", "guest-owned"};
static const char *const print_scope_names[] = {"unknown", "global", "rids"};
static const char *const print_grants[] = {
	"unknown", "idle", "active", "free-pending", "quarantined"};
static const char *const print_devices[] = {"unknown", "exclusive", "shared", "slice"};
static const char *const print_bindings[] = {"unknown", "binding", "bound", "unbinding", "tainted"};

#define PRINT_NAME(names, value) ((size_t)(value) < ARRAY_SIZE(names) ? (names)[value] : (names)[0])

static json_t *print_integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* A word list as an array. */
static json_t *print_words(const char *words)
{
	json_t *array = json_array();
	while (*words != '\0') {
		size_t length = strcspn(words, " ");
		json_array_append_new(array, json_stringn(words, length));
		words += length;
		words += strspn(words, " ");
	}
	return array;
}

static json_t *print_optional(bool has, uint64_t value)
{
	return has ? print_integer(value) : json_null();
}

/* 64 bits that are no count: beyond what a JSON integer holds everywhere. */
static json_t *print_hex(uint64_t value)
{
	char text[24];
	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)value);
	return json_string(text);
}

json_t *ctl_json_counter(const struct pasid_counter *counter)
{
	json_t *json = json_object();
	json_object_set_new(json, "limit", print_integer(counter->limit));
	json_object_set_new(json, "current", print_integer(counter->current));
	json_object_set_new(json, "peak", print_integer(counter->peak));
	json_object_set_new(json, "hits", print_integer(counter->hits));
	return json;
}

static json_t *print_scopes(uint32_t scopes)
{
	json_t *json = json_array();
	for (unsigned scope = PASID_SCOPE_GLOBAL; scope <= PASID_SCOPE_RIDS; scope++)
		if (scopes & scope)
			json_array_append_new(json, json_string(print_scope_names[scope]));
	return json;
}

json_t *ctl_json_set(const struct pasid_set_info *info)
{
	json_t *json = json_object();
	json_object_set_new(json, "id", print_integer(info->id));
	json_object_set_new(json, "name", json_string(info->name));
	json_object_set_new(json, "mode", json_string(PRINT_NAME(print_modes, info->mode)));
	json_object_set_new(json, "uid", print_integer(info->uid));
	json_object_set_new(json, "pasids", ctl_json_counter(&info->pasids));
	json_object_set_new(json, "active", print_integer(info->active));
	json_object_set_new(json, "quarantined", print_integer(info->quarantined));
	json_object_set_new(json, "devices", print_integer(info->devices));
	json_object_set_new(json, "bindings", print_integer(info->bindings));
	json_object_set_new(json, "owned_by_session", json_boolean(info->owned_by_session));
	json_object_set_new(json, "dying", json_boolean(info->dying));
	json_object_set_new(json, "scopes", print_scopes(info->scopes));
	return json;
}

static json_t *print_participants(const struct pasid_participant *participants, uint32_t count)
{
	json_t *json = json_array();
	for (uint32_t i = 0; i < count; i++) {
		json_t *one = json_object();
		json_object_set_new(one, "session", print_integer(participants[i].session));
		json_object_set_new(one, "uid", print_integer(participants[i].uid));
		json_object_set_new(
			one, "pid", print_optional(participants[i].pid != 0, participants[i].pid));
		json_array_append_new(json, one);
	}
	return json;
}

json_t *ctl_json_grant(const struct pasid_grant_info *info)
{
	json_t *json = json_object(), *groups = json_array();
	for (uint32_t i = 0; i < info->group_count; i++)
		json_array_append_new(groups, print_integer(info->groups[i]));
	json_object_set_new(json, "pasid", print_integer(info->host_pasid));
	json_object_set_new(json, "state", json_string(PRINT_NAME(print_grants, info->state)));
	json_object_set_new(json, "set_id", print_optional(info->set != 0, info->set));
	json_object_set_new(
		json, "set", info->set_name[0] ? json_string(info->set_name) : json_null());
	json_object_set_new(json, "guest", print_optional(info->has_guest, info->guest_pasid));
	json_object_set_new(json, "data", print_hex(info->data));
	json_object_set_new(json, "holds", print_integer(info->holds));
	json_object_set_new(json, "bindings", print_integer(info->bindings));
	json_object_set_new(json, "quarantine", print_words(info->quarantine));
	json_object_set_new(json, "cooling_ms", print_integer(info->cooling_ms));
	json_object_set_new(json, "scope", json_string(PRINT_NAME(print_scope_names, info->scope)));
	json_object_set_new(json, "groups", groups);
	json_object_set_new(
		json, "awaited", print_participants(info->awaited, info->awaited_count));
	return json;
}

json_t *ctl_json_device(const struct pasid_device_info *info)
{
	json_t *json = json_object(), *registers = json_array();
	for (uint32_t i = 0; i < info->register_count; i++)
		json_array_append_new(registers, print_hex(info->registers[i]));
	json_object_set_new(json, "id", print_integer(info->id));
	json_object_set_new(json, "kind", json_string(PRINT_NAME(print_devices, info->kind)));
	json_object_set_new(json, "address", json_string(info->address));
	json_object_set_new(json, "set_id", print_optional(info->set != 0, info->set));
	json_object_set_new(json, "shared", print_optional(info->shared != 0, info->shared));
	json_object_set_new(json, "group", print_integer(info->group));
	json_object_set_new(json, "pasid_width", print_integer(info->pasid_width));
	json_object_set_new(json, "dev_id", print_integer(info->dev_id));
	json_object_set_new(json, "bindings", print_integer(info->bindings));
	json_object_set_new(json, "tainted", json_boolean(info->tainted));
	json_object_set_new(json, "iommu", json_string(info->iommu));
	json_object_set_new(json, "capabilities", print_words(info->capabilities));
	json_object_set_new(json, "registers", registers);
	return json;
}

json_t *ctl_json_binding(const struct pasid_binding_info *info)
{
	json_t *json = json_object();
	json_object_set_new(json, "id", print_integer(info->id));
	json_object_set_new(json, "pasid", print_optional(info->has_pasid, info->host_pasid));
	json_object_set_new(json, "guest", print_optional(info->has_guest, info->guest_pasid));
	json_object_set_new(json, "set", json_string(info->set_name));
	json_object_set_new(json, "set_id", print_integer(info->set));
	json_object_set_new(json, "device", print_integer(info->device));
	json_object_set_new(json, "address", json_string(info->address));
	json_object_set_new(json, "state", json_string(PRINT_NAME(print_bindings, info->state)));
	json_object_set_new(json, "hwpt", print_integer(info->table.hwpt));
	json_object_set_new(json, "made", json_boolean(info->table.made));
	json_object_set_new(json, "viommu", print_optional(info->viommu != 0, info->viommu));
	json_object_set_new(json, "vdevice", print_optional(info->vdevice != 0, info->vdevice));
	json_object_set_new(json, "stream", print_optional(info->vdevice != 0, info->stream));
	return json;
}

json_t *ctl_json_event(const struct pasid_event *event)
{
	json_t *json = json_object();
	json_object_set_new(json, "sequence", print_integer(event->sequence));
	json_object_set_new(json, "event", json_string(pasid_event_text(event->kind)));
	json_object_set_new(json, "set_id", print_optional(event->set != 0, event->set));
	json_object_set_new(
		json, "pasid", print_optional(event->host_pasid != 0, event->host_pasid));
	json_object_set_new(json, "guest", print_optional(event->has_guest, event->guest_pasid));
	json_object_set_new(json, "device", print_optional(event->device != 0, event->device));
	json_object_set_new(json, "lost", print_integer(event->lost));
	return json;
}

json_t *ctl_json_ok(void)
{
	json_t *json = json_object();
	json_object_set_new(json, "ok", json_true());
	return json;
}

/* ------------------------------------------------------------ JSON for people */

/* The member behind a key with dots. NULL: there is none. */
static const json_t *print_member(const json_t *object, const char *key)
{
	char part[64];
	const char *dot;
	while ((dot = strchr(key, '.')) != NULL && (size_t)(dot - key) < sizeof(part)) {
		memcpy(part, key, (size_t)(dot - key));
		part[dot - key] = '\0';
		object = json_object_get(object, part);
		key = dot + 1;
	}
	return json_object_get(object, key);
}

void ctl_print_participant(FILE *out, const json_t *participant)
{
	const json_t *pid = json_object_get(participant, "pid");
	fprintf(out, "session %lld (user %lld",
		(long long)json_integer_value(json_object_get(participant, "session")),
		(long long)json_integer_value(json_object_get(participant, "uid")));
	if (json_is_integer(pid))
		fprintf(out, ", process %lld", (long long)json_integer_value(pid));
	fputc(')', out);
}

static void print_array(FILE *out, const json_t *array)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		if (i > 0)
			fputc(',', out);
		if (json_is_string(item))
			fputs(json_string_value(item), out);
		else if (json_is_object(item))
			ctl_print_participant(out, item);
		else
			json_dumpf(item, out, JSON_COMPACT | JSON_ENCODE_ANY);
	}
}

/* A value in a word or two; the caller frees it. */
static char *print_value(const json_t *value)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	if (out == NULL)
		abort();
	if (json_is_integer(value))
		fprintf(out, "%lld", (long long)json_integer_value(value));
	else if (json_is_string(value) && json_string_length(value) > 0)
		fputs(json_string_value(value), out);
	else if (json_is_array(value) && json_array_size(value) > 0)
		print_array(out, value);
	else
		fputs(json_is_true(value) ? "yes" : "-", out);
	fclose(out);
	return text;
}

struct print_table {
	const struct ctl_column *columns;
	size_t count;
	size_t widths[PRINT_COLUMNS_MAX];
	bool right[PRINT_COLUMNS_MAX]; /* numbers */
};

static void print_measure(struct print_table *table, const json_t *rows)
{
	for (size_t c = 0; c < table->count; c++) {
		table->widths[c] = strlen(table->columns[c].header);
		for (size_t r = 0; r < json_array_size(rows); r++) {
			const json_t *value =
				print_member(json_array_get(rows, r), table->columns[c].key);
			char *text = print_value(value);
			if (strlen(text) > table->widths[c])
				table->widths[c] = strlen(text);
			table->right[c] |= json_is_integer(value);
			free(text);
		}
	}
}

static void print_cell(
	const struct print_table *table, size_t column, const char *text, enum colour colour)
{
	bool last = column + 1 == table->count;
	int width = (int)table->widths[column];
	printf("%s%s%*s%s%s", column > 0 ? "  " : "", colour_start(colour),
		table->right[column] ? width
		: last               ? 0
				     : -width,
		text, colour_end(colour), last ? "\n" : "");
}

static void print_rows(const struct ctl_column *columns, const json_t *rows)
{
	struct print_table table = {.columns = columns};
	while (table.count < PRINT_COLUMNS_MAX && columns[table.count].header != NULL)
		table.count++;
	print_measure(&table, rows);
	for (size_t c = 0; c < table.count; c++)
		print_cell(&table, c, columns[c].header, COLOUR_NONE);
	for (size_t r = 0; r < json_array_size(rows); r++) {
		for (size_t c = 0; c < table.count; c++) {
			char *text =
				print_value(print_member(json_array_get(rows, r), columns[c].key));
			print_cell(&table, c, text, colour_of(columns[c].key, text));
			free(text);
		}
	}
}

void ctl_show_object(const struct ctl *ctl, const json_t *answer)
{
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)answer, key, value) {
		if (strcmp(key, "ok") == 0 && json_object_size(answer) > 1)
			continue;
		if (json_is_object(value)) {
			ctl_show_object(ctl, value);
			continue;
		}
		char *text = print_value(value);
		printf("%s: %s\n", key, text);
		free(text);
	}
}

void ctl_print(const struct ctl *ctl)
{
	if (ctl->answer == NULL)
		return;
	if (ctl->json) {
		json_dumpf(ctl->answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (ctl->columns != NULL) {
		print_rows(ctl->columns, ctl->answer);
	} else if (ctl->command->columns != NULL) {
		print_rows(ctl->command->columns, ctl->answer);
	} else if (ctl->command->show != NULL) {
		ctl->command->show(ctl, ctl->answer);
	} else {
		ctl_show_object(ctl, ctl->answer);
	}
}

void ctl_print_error(const struct ctl *ctl, const struct pasid_error *error)
{
	const char *status = error->code > 0 ? pasid_status_text(error->code) : "failed";
	fflush(stdout);
	fprintf(stderr, "pasidctl: %s (%s)\n", error->message, error->reason);
	if (!ctl->json)
		return;
	json_t *json = json_object();
	json_object_set_new(json, "ok", json_false());
	json_object_set_new(json, "code", json_integer(error->code));
	json_object_set_new(json, "status", json_string(status));
	json_object_set_new(json, "reason", json_string(error->reason));
	json_object_set_new(json, "message", json_string(error->message));
	json_object_set_new(json, "object", print_integer(error->object));
	json_object_set_new(json, "limit", print_optional(error->has_limit, error->limit));
	json_object_set_new(json, "used", print_optional(error->has_limit, error->used));
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(json);
}
