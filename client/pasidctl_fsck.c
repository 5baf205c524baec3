/* SPDX-License-Identifier: MIT */
/* The command that looks at the records which a daemon left in a file; no daemon is asked. */
#include "pasidctl.h"

#include "state_check.h"
#include "state_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fsck {
	const char *path;
	struct state_note note;
	struct state_file *copy; /* NULL: of an earlier boot, in a layout that is not known */
	struct state_problem problem;
	int checked; /* what the check returned */
};

static json_t *fsck_integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *fsck_boot_id(const uint8_t id[static STATE_BOOT_ID_SIZE])
{
	char text[STATE_BOOT_ID_SIZE * 2 + 1];

	for (size_t i = 0; i < STATE_BOOT_ID_SIZE; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", id[i]);
	return json_string(text);
}

/* Records that are in use; each begins with its word. */
static uint32_t fsck_live(const struct state_file *file, enum state_table table)
{
	static const size_t sizes[STATE_TABLES] = {
		[STATE_SETS] = sizeof(struct set_slot),
		[STATE_GRANTS] = sizeof(struct grant_slot),
		[STATE_DEVICES] = sizeof(struct device_slot),
		[STATE_BINDINGS] = sizeof(struct binding_slot),
		[STATE_HOST] = sizeof(struct host_slot),
		[STATE_SESSIONS] = sizeof(struct session_slot),
		[STATE_REPLIES] = sizeof(struct reply_slot),
		[STATE_TIES] = sizeof(struct tie_slot),
	};
	const uint8_t *slots = state_file_state(file)->table[table];
	uint32_t live = 0;

	for (uint32_t i = 0; i < state_file_used(file, table); i++) {
		uint64_t word;

		memcpy(&word, slots + i * sizes[table], sizeof(word));
		live += word != 0;
	}
	return live;
}

static json_t *fsck_tables(const struct state_file *file)
{
	json_t *tables = json_object();

	for (unsigned t = 0; t < STATE_TABLES; t++) {
		const enum state_table table = (enum state_table)t;
		json_t *json = json_object();

		json_object_set_new(json, "live", fsck_integer(fsck_live(file, table)));
		json_object_set_new(json, "used", fsck_integer(state_file_used(file, table)));
		json_object_set_new(
			json, "capacity", fsck_integer(state_file_state(file)->capacity[t]));
		json_object_set_new(tables, state_table_name(table), json);
	}
	return tables;
}

static json_t *fsck_problem(const struct state_problem *problem)
{
	json_t *json = json_object();
	char value[24];

	(void)snprintf(value, sizeof(value), "0x%llx", (unsigned long long)problem->value);
	json_object_set_new(json, "table", json_string(state_table_name(problem->table)));
	json_object_set_new(json, "slot", fsck_integer(problem->slot));
	json_object_set_new(json, "value", json_string(value));
	json_object_set_new(json, "text", json_string(problem->text));
	return json;
}

/* What is wrong is a problem of the next daemon's only if that would use these records. */
static bool fsck_is_ok(const struct fsck *fsck)
{
	return fsck->checked == 0 || fsck->note.found == STATE_FOUND_EARLIER;
}

static json_t *fsck_answer(const struct fsck *fsck)
{
	const bool readable = fsck->copy != NULL;
	json_t *json = json_object();

	json_object_set_new(json, "ok", json_boolean(fsck_is_ok(fsck)));
	json_object_set_new(json, "file", json_string(fsck->path));
	json_object_set_new(json, "found", json_string(state_found_name(fsck->note.found)));
	json_object_set_new(json, "version", fsck_integer(fsck->note.version));
	json_object_set_new(json, "boot_id", fsck_boot_id(fsck->note.boot_id));
	json_object_set_new(json, "this_boot", json_boolean(fsck->note.found == STATE_FOUND_KEPT));
	json_object_set_new(json, "in_use", json_boolean(fsck->note.locked));
	json_object_set_new(json, "undone", fsck_integer(fsck->note.undone));
	json_object_set_new(json, "tables", readable ? fsck_tables(fsck->copy) : json_null());
	json_object_set_new(
		json, "problem", fsck->checked != 0 ? fsck_problem(&fsck->problem) : json_null());
	return json;
}

static const char *fsck_text(const json_t *answer, const char *key)
{
	const char *text = json_string_value(json_object_get(answer, key));

	return text != NULL ? text : "";
}

static long long fsck_number(const json_t *answer, const char *key)
{
	return json_integer_value(json_object_get(answer, key));
}

static void fsck_show_tables(const json_t *tables)
{
	const char *name;
	json_t *table;

	printf("%-10s%10s%10s%10s\n", "TABLE", "LIVE", "USED", "CAPACITY");
	json_object_foreach ((json_t *)tables, name, table)
		printf("%-10s%10lld%10lld%10lld\n", name, fsck_number(table, "live"),
			fsck_number(table, "used"), fsck_number(table, "capacity"));
}

static void fsck_show_verdict(const json_t *answer)
{
	const json_t *problem = json_object_get(answer, "problem");
	const bool used = json_is_true(json_object_get(answer, "this_boot"));

	if (!json_is_null(problem))
		printf("%s\n", fsck_text(problem, "text"));
	if (!used)
		puts("ok: a daemon that starts makes a new one");
	else if (json_is_null(problem))
		puts("ok");
	else if (json_is_true(json_object_get(answer, "in_use")))
		puts("A daemon has it open: look again when it has ended, or ask that one: pasidctl "
		     "status");
	else
		puts("No daemon starts with it. Reboot the host; or make sure that no VMM holds a "
		     "device, move\nthe file away and run `pasidctl recover --confirm-no-devices`.");
}

void ctl_show_fsck(const struct ctl *ctl, const json_t *answer)
{
	const json_t *tables = json_object_get(answer, "tables");

	(void)ctl;
	printf("%s: layout version %lld, of %s (%s)\n", fsck_text(answer, "file"),
		fsck_number(answer, "version"),
		json_is_true(json_object_get(answer, "this_boot")) ? "this boot"
								   : "an earlier boot",
		fsck_text(answer, "boot_id"));
	if (json_is_true(json_object_get(answer, "in_use")))
		puts("A daemon has it open: what is shown may be in motion.");
	if (json_is_object(tables)) {
		fsck_show_tables(tables);
		printf("unfinished change: %lld stores would be taken back\n",
			fsck_number(answer, "undone"));
	}
	fsck_show_verdict(answer);
}

static int fsck_failed(const struct ctl *ctl, const char *reason, const char *text)
{
	json_t *json = json_object();

	fprintf(stderr, "pasidctl: %s (%s)\n", text, reason);
	json_object_set_new(json, "ok", json_false());
	json_object_set_new(json, "reason", json_string(reason));
	json_object_set_new(json, "message", json_string(text));
	if (ctl->json) {
		json_dumpf(json, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(json);
	return strcmp(reason, state_found_name(STATE_FOUND_FAILED)) == 0 ? EXIT_FAILED
									 : EXIT_REFUSED;
}

/* Looks at all records; 0, or -ENOMEM. */
static int fsck_check(struct fsck *fsck)
{
	uint32_t used[STATE_TABLES];
	void *scratch;

	for (unsigned t = 0; t < STATE_TABLES; t++)
		used[t] = state_file_used(fsck->copy, (enum state_table)t);
	scratch = malloc(state_check_scratch(used));
	if (scratch == NULL)
		return -ENOMEM;
	fsck->checked = state_check(state_file_state(fsck->copy), used, scratch, &fsck->problem);
	free(scratch);
	return 0;
}

int ctl_fsck(struct ctl *ctl)
{
	struct fsck fsck = {.path = ctl->args[0]};
	uint8_t boot_id[STATE_BOOT_ID_SIZE];
	int r = state_boot_id(boot_id);

	if (r != 0)
		return fsck_failed(ctl, state_found_name(STATE_FOUND_FAILED), strerror(-r));
	r = state_file_look(fsck.path, boot_id, &fsck.copy, &fsck.note);
	if (r != 0)
		return fsck_failed(ctl, state_found_name(fsck.note.found), fsck.note.text);
	if (fsck.copy != NULL)
		r = fsck_check(&fsck);
	if (r == 0)
		ctl->answer = fsck_answer(&fsck);
	state_file_free(fsck.copy);
	if (r != 0)
		return fsck_failed(ctl, state_found_name(STATE_FOUND_FAILED), strerror(-r));
	if (fsck_is_ok(&fsck))
		return EXIT_DONE;
	ctl_print(ctl);
	return EXIT_REFUSED;
}
