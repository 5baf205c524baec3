/* SPDX-License-Identifier: MIT */
/*
 * Reads a JSON object strictly into a struct, by a table of its keys. Of config.c only.
 */
#ifndef PASIDD_CONFIG_JSON_H
#define PASIDD_CONFIG_JSON_H

#include "config.h"
#include "config_place.h"

#include <jansson.h>

/* Where we are, so that an error can say it: "a.json:7:3: quota.set_max: ...". */
struct json_reader {
	const char *name; /* of the file */
	const char *text; /* of the file, for places in it; NULL: there is none */
	size_t length;
	const struct config_files *files; /* of which it is one; NULL: it is the only one */
	struct config *config;            /* that is filled, for what is more than one field */
	struct config_error *error;
	size_t depth;
	struct json_step steps[JSON_DEPTH_MAX];
};

struct json_key {
	const char *name;
	/* Reads `value` into `field`. 0, or STATUS_INVALID or -ENOMEM with the error filled. */
	int (*read)(struct json_reader *reader, const json_t *value, const struct json_key *key,
		void *field);
	size_t offset; /* of the field in the struct that the object fills */
	int64_t min, max;
	const struct json_key *keys;       /* of an object; ends with a NULL name */
	const struct json_choice *choices; /* ends with a NULL text */
};

struct json_choice {
	const char *text;
	uint32_t value;
};

/* Fills `base` from an object; keys that are absent leave their field as it is. */
int json_read_keys(
	struct json_reader *reader, const json_t *value, const struct json_key *keys, void *base);

/* Readers for tables of keys. The fields are uint32_t, uint64_t, bool, an enum's uint32_t. */
int json_read_u32(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
int json_read_u64(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
int json_read_bool(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
int json_read_choice(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* A text of min to max bytes; the field is a char * that owns it. */
int json_read_text(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* A nested object; `field` is the struct that key->keys describe. */
int json_read_object(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);

/*
 * Calls `read` for each element of an array, with the path set and `context` passed on. More than
 * `max` elements are an error.
 */
int json_read_array(struct json_reader *reader, const json_t *value, size_t max,
	int (*read)(struct json_reader *reader, const json_t *element, void *context),
	void *context);

/* The path of some steps as people write it: "devices[2].address"; what does not fit is cut. */
void json_path_format(const struct json_step *steps, size_t depth, char *ret_path, size_t size);

/* Fails with "<file>:<line>:<column>: <path>: <text>"; returns STATUS_INVALID. */
__attribute__((format(printf, 2, 3))) int json_fail(
	struct json_reader *reader, const char *format, ...);
/* Fails with what was found and what is expected. */
int json_fail_found(struct json_reader *reader, const json_t *value, const char *expected);

#endif
