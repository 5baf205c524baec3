/* SPDX-License-Identifier: MIT */
/*
 * The files of the settings, read and taken apart, and which of them a value is from. Of config*.c
 * only.
 */
#ifndef PASIDD_CONFIG_FILES_H
#define PASIDD_CONFIG_FILES_H

#include "config_json.h"

struct config_file {
	char *name;
	char *text;
	size_t length;
	json_t *root; /* of `text`, an object */
};

struct config_ignored {
	char *name;
	const char *why;
};

struct config_files {
	struct config_file *files; /* in their order */
	size_t count;
	size_t bytes; /* of all texts */
	struct config_ignored *ignored;
	size_t ignored_count;
};

/* Takes a text apart and appends it; copies both. STATUS_INVALID or -ENOMEM, with the error. */
int config_files_add(struct config_files *files, const char *name, const char *text, size_t length,
	struct config_error *ret_error);

/* Is it a list to which each file adds, by the key at the top? */
bool config_is_appended(const char *key);

/*
 * Which file the value at these steps of the whole configuration is from. false: none, it is a
 * default. *ret_steps are the steps to it within that file, of which there are *ret_depth: fewer
 * where what the file replaced was more than this value.
 */
bool config_origin(const struct config_files *files, const struct json_step *steps, size_t depth,
	const struct config_file **ret_file, struct json_step ret_steps[static JSON_DEPTH_MAX],
	size_t *ret_depth);

/*
 * Fails about a value of the whole configuration, such as "quota.set_max", and names its file; and
 * the file of `other`, which it contradicts, where that is set in another one. Returns
 * STATUS_INVALID.
 */
__attribute__((format(printf, 4, 5))) int config_fail_about(
	struct json_reader *reader, const char *path, const char *other, const char *format, ...);
/* Fails because an entry is there already: "the name is that of reservations[2] in a.json". */
int config_fail_same(struct json_reader *reader, const char *what, const char *list, size_t index);

#endif
