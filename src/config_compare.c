/* SPDX-License-Identifier: MIT */
/* What another process has read and shown, and in what two configurations differ. */
#include "config_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int shown_fail(struct config_error *ret_error, int r, const char *text)
{
	(void)snprintf(ret_error->text, sizeof(ret_error->text), "%s", text);
	return r;
}

/* The names alone: what was in them is in what was merged. */
static int shown_names(const json_t *shown, struct config_files *files)
{
	const json_t *names = json_object_get(shown, "files");
	const json_t *ignored = json_object_get(shown, "ignored");

	files->files = calloc(json_array_size(names) + 1, sizeof(*files->files));
	files->ignored = calloc(json_array_size(ignored) + 1, sizeof(*files->ignored));
	if (files->files == NULL || files->ignored == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));

		files->files[files->count++].name = strdup(name != NULL ? name : "");
	}
	for (size_t i = 0; i < json_array_size(ignored); i++) {
		const char *name =
			json_string_value(json_object_get(json_array_get(ignored, i), "name"));
		struct config_ignored *entry = &files->ignored[files->ignored_count++];

		entry->name = strdup(name != NULL ? name : "");
		entry->why = "see --check-config";
	}
	return 0;
}

static int shown_config(json_t *effective, uint32_t own_uid, struct config **ret_config,
	struct config_error *ret_error)
{
	char name[] = "what was read", text[] = "";
	struct config_file file = {.name = name, .text = text, .root = effective};
	const struct config_files one = {.files = &file, .count = 1};

	return config_merge(&one, own_uid, ret_config, ret_error);
}

static int shown_take(const json_t *shown, uint32_t own_uid, struct config **ret_config,
	struct config_files *files, struct config_error *ret_error)
{
	json_t *effective = json_object_get(shown, "effective");
	const char *error = json_string_value(json_object_get(shown, "error"));

	if (error != NULL)
		return shown_fail(ret_error, STATUS_INVALID, error);
	if (effective == NULL)
		return shown_fail(ret_error, STATUS_INVALID, "nothing was read");
	if (shown_names(shown, files) != 0)
		return shown_fail(ret_error, -ENOMEM, "out of memory");
	return shown_config(effective, own_uid, ret_config, ret_error);
}

int config_read_shown(const char *text, size_t length, uint32_t own_uid, struct config **ret_config,
	struct config_files **ret_files, struct config_error *ret_error)
{
	struct config_files *files = NULL;
	json_t *shown = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	int r;

	if (shown == NULL)
		return shown_fail(ret_error, STATUS_INVALID, "what was read is no JSON");
	r = config_files_none(&files, ret_error);
	if (r == 0)
		r = shown_take(shown, own_uid, ret_config, files, ret_error);
	json_decref(shown);
	if (r != 0)
		config_files_free(files);
	else
		*ret_files = files;
	return r;
}

/* ---------------------------------------------------------------- differences */

struct comparison {
	void (*differs)(void *ctx, const char *path);
	void *ctx;
	size_t depth;
	struct json_step steps[JSON_DEPTH_MAX];
};

static bool compare_descends(const struct comparison *comparison, const json_t *value)
{
	const char *top = comparison->depth > 0 ? comparison->steps[0].key : "";

	return json_is_object(value) &&
	       (comparison->depth < 2 || (comparison->depth < 3 && strcmp(top, "limits") == 0));
}

/* Recursive as deep as the tables of keys nest. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static void compare_walk(struct comparison *comparison, const json_t *value, json_t *other)
{
	char path[160];
	const char *key;
	json_t *member;

	if (!compare_descends(comparison, other)) {
		json_path_format(comparison->steps, comparison->depth, path, sizeof(path));
		if (!json_equal(value, other))
			comparison->differs(comparison->ctx, path);
		return;
	}
	json_object_foreach (other, key, member) {
		comparison->steps[comparison->depth++] = (struct json_step){.key = key};
		compare_walk(comparison, json_object_get(value, key), member);
		comparison->depth--;
	}
}

bool config_compare(const char *text, const char *other,
	void (*differs)(void *ctx, const char *path), void *ctx)
{
	struct comparison comparison = {.differs = differs, .ctx = ctx};
	json_t *one = json_loads(text, 0, NULL), *two = json_loads(other, 0, NULL);
	const bool read = one != NULL && two != NULL;

	if (read)
		compare_walk(&comparison, one, two);
	json_decref(one);
	json_decref(two);
	return read;
}
