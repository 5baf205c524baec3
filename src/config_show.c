/* SPDX-License-Identifier: MIT */
/* What is in effect, and which file says so. */
#include "config_files.h"
#include "config_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOW_PATH_MAX 160

/* A walk over what is in effect, a line or a member for each value. */
struct show {
	const struct config_files *files;
	FILE *out;      /* the lines; NULL: none are wanted */
	json_t *set_by; /* an object; NULL: it is not wanted */
	size_t depth;
	struct json_step steps[JSON_DEPTH_MAX];
	bool failed;
};

/* Who may be what, an entry of a list, and what is no object, is shown as one. */
static bool show_descends(const struct show *show, const json_t *value)
{
	const char *top = show->depth > 0 ? show->steps[0].key : "";

	if (show->depth == 2 && (strcmp(top, "roles") == 0 || strcmp(top, "scopes") == 0))
		return false;
	if (show->depth == 1 && config_is_appended(top))
		return json_array_size(value) > 0;
	return json_is_object(value) && (show->depth < 2 || strcmp(top, "limits") == 0);
}

static void show_line(struct show *show, const json_t *value, const char *path, const char *origin)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY);

	if (text == NULL || fprintf(show->out, "%s = %s  # %s\n", path, text, origin) < 0)
		show->failed = true;
	free(text);
}

static void show_member(struct show *show, const char *path, const struct config_file *file,
	const struct json_place *place)
{
	json_t *by = json_pack("{s:s, s:i, s:i}", "file", file->name, "line", (int)place->line,
		"column", (int)place->column);

	if (json_object_set_new(show->set_by, path, by) != 0)
		show->failed = true;
}

static void show_value(struct show *show, const json_t *value)
{
	struct json_step within[JSON_DEPTH_MAX];
	struct json_place place = {1, 1};
	const struct config_file *file;
	char path[SHOW_PATH_MAX], origin[256] = "default";
	size_t depth;

	json_path_format(show->steps, show->depth, path, sizeof(path));
	if (config_origin(show->files, show->steps, show->depth, &file, within, &depth)) {
		(void)json_place_find(file->text, file->length, within, depth, &place);
		(void)snprintf(origin, sizeof(origin), "%.200s:%u:%u", file->name, place.line,
			place.column);
		if (show->set_by != NULL)
			show_member(show, path, file, &place);
	}
	if (show->out != NULL)
		show_line(show, value, path, origin);
}

/* Recursive as deep as the tables of keys nest. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static void show_walk(struct show *show, json_t *value)
{
	const char *key;
	json_t *member;

	if (!show_descends(show, value)) {
		show_value(show, value);
		return;
	}
	json_object_foreach (value, key, member) {
		show->steps[show->depth++] = (struct json_step){.key = key};
		show_walk(show, member);
		show->depth--;
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		show->steps[show->depth++] = (struct json_step){.index = i};
		show_value(show, json_array_get(value, i));
		show->depth--;
	}
}

/* ---------------------------------------------------------------- for people */

static void show_heading(const struct config_files *files, FILE *out)
{
	const char *name, *why;

	for (size_t i = 0; (name = config_files_name(files, i)) != NULL; i++)
		(void)fprintf(out, "# read: %s\n", name);
	if (files->count == 0)
		(void)fprintf(out, "# no file is there: all is at its default\n");
	for (size_t i = 0; (name = config_files_ignored(files, i, &why)) != NULL; i++)
		(void)fprintf(out, "# ignored: %s (%s)\n", name, why);
}

static char *show_text(json_t *effective, const struct config_files *files)
{
	char *text = NULL;
	size_t size;
	struct show show = {.files = files, .out = open_memstream(&text, &size)};

	if (show.out == NULL)
		return NULL;
	show_heading(files, show.out);
	show_walk(&show, effective);
	if (fclose(show.out) != 0)
		show.failed = true;
	if (!show.failed)
		return text;
	free(text);
	return NULL;
}

/* ---------------------------------------------------------------- for programs */

static json_t *show_names(const struct config_files *files)
{
	json_t *list = json_array();
	const char *name;

	for (size_t i = 0; (name = config_files_name(files, i)) != NULL; i++)
		(void)json_array_append_new(list, json_string(name));
	return list;
}

static json_t *show_ignored(const struct config_files *files)
{
	json_t *list = json_array();
	const char *name, *why;

	for (size_t i = 0; (name = config_files_ignored(files, i, &why)) != NULL; i++)
		(void)json_array_append_new(
			list, json_pack("{s:s, s:s}", "name", name, "why", why));
	return list;
}

static char *show_json(json_t *effective, const struct config_files *files)
{
	struct show show = {.files = files, .set_by = json_object()};
	json_t *all;
	char *text;

	show_walk(&show, effective);
	all = json_pack("{s:b, s:o, s:o, s:O, s:o}", "ok", 1, "files", show_names(files), "ignored",
		show_ignored(files), "effective", effective, "set_by", show.set_by);
	text = all != NULL && !show.failed ? json_dumps(all, JSON_COMPACT) : NULL;
	json_decref(all);
	return text;
}

char *config_show(const struct config *config, const struct config_files *files, bool json)
{
	json_t *effective = config_write_json(config);
	char *text = NULL;

	if (effective != NULL)
		text = json ? show_json(effective, files) : show_text(effective, files);
	json_decref(effective);
	return text;
}

char *config_show_error(const struct config_error *error)
{
	json_t *object = json_pack("{s:b, s:s}", "ok", 0, "error", error->text);
	char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}
