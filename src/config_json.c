/* SPDX-License-Identifier: MIT */
#include "config_json.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_PATH_MAX 160

void json_path_format(const struct json_step *steps, size_t depth, char *ret_path, size_t size)
{
	size_t length = 0;

	ret_path[0] = '\0';
	for (size_t i = 0; i < depth && length < size; i++) {
		if (steps[i].key)
			(void)snprintf(ret_path + length, size - length, "%s%.60s",
				i > 0 ? "." : "", steps[i].key);
		else
			(void)snprintf(ret_path + length, size - length, "[%zu]", steps[i].index);
		length = strlen(ret_path);
	}
}

int json_fail(struct json_reader *reader, const char *format, ...)
{
	char text[CONFIG_ERROR_MAX / 2], path[JSON_PATH_MAX], at[32] = "";
	struct json_place place;
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_path_format(reader->steps, reader->depth, path, sizeof(path));
	if (reader->text &&
		json_place_find(reader->text, reader->length, reader->steps, reader->depth, &place))
		(void)snprintf(at, sizeof(at), ":%u:%u", place.line, place.column);
	(void)snprintf(reader->error->text, sizeof(reader->error->text), "%.200s%s: %s%s%s",
		reader->name, at, path, path[0] ? ": " : "", text);
	return STATUS_INVALID;
}

/* A value as a person would name it. */
static void json_describe(const json_t *value, char *ret_text, size_t size)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		(void)snprintf(ret_text, size, "an object");
		break;
	case JSON_ARRAY:
		(void)snprintf(ret_text, size, "an array");
		break;
	case JSON_STRING:
		(void)snprintf(ret_text, size, "\"%.60s\"", json_string_value(value));
		break;
	case JSON_INTEGER:
		(void)snprintf(ret_text, size, "%lld", (long long)json_integer_value(value));
		break;
	case JSON_REAL:
		(void)snprintf(ret_text, size, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL:
		(void)snprintf(ret_text, size, "%s",
			json_is_null(value)   ? "null"
			: json_is_true(value) ? "true"
					      : "false");
		break;
	}
}

int json_fail_found(struct json_reader *reader, const json_t *value, const char *expected)
{
	char found[80] = "";

	json_describe(value, found, sizeof(found));
	return json_fail(reader, "found %s, expected %s", found, expected);
}

/* One step further down; the tables of keys nest less than there is room for. */
static void json_enter(struct json_reader *reader, const char *key, size_t index)
{
	assert(reader->depth < JSON_DEPTH_MAX);
	reader->steps[reader->depth++] = (struct json_step){key, index};
}

static int json_fail_unknown(
	struct json_reader *reader, const char *name, const struct json_key *keys)
{
	char known[256] = "";
	size_t length = 0;

	for (const struct json_key *key = keys; key->name != NULL; key++) {
		int n = snprintf(known + length, sizeof(known) - length, "%s%s",
			length > 0 ? ", " : "", key->name);

		if (n < 0 || (size_t)n >= sizeof(known) - length)
			break;
		length += (size_t)n;
	}
	json_enter(reader, name, 0);
	return json_fail(reader, "unknown key; known here: %s", known);
}

static const struct json_key *json_find_key(const struct json_key *keys, const char *name)
{
	while (keys->name != NULL && strcmp(keys->name, name) != 0)
		keys++;
	return keys->name != NULL ? keys : NULL;
}

int json_read_keys(
	struct json_reader *reader, const json_t *value, const struct json_key *keys, void *base)
{
	/* jansson iterates over const objects only by its read functions, which take them so. */
	json_t *object = (json_t *)(uintptr_t)value;
	const char *name;
	json_t *member;
	int r;

	if (!json_is_object(value))
		return json_fail_found(reader, value, "an object");
	json_object_foreach (object, name, member) {
		const struct json_key *key = json_find_key(keys, name);

		if (key == NULL)
			return json_fail_unknown(reader, name, keys);
		json_enter(reader, name, 0);
		r = key->read(reader, member, key, (char *)base + key->offset);
		if (r != 0)
			return r;
		reader->depth--;
	}
	return 0;
}

static int json_read_integer(struct json_reader *reader, const json_t *value,
	const struct json_key *key, int64_t *ret_number)
{
	char expected[96];

	if (json_is_integer(value) && json_integer_value(value) >= key->min &&
		(json_integer_value(value) <= key->max || MUTANT(C))) {
		*ret_number = json_integer_value(value);
		return 0;
	}
	(void)snprintf(expected, sizeof(expected), "an integer from %lld to %lld",
		(long long)key->min, (long long)key->max);
	return json_fail_found(reader, value, expected);
}

int json_read_u32(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	int64_t number = 0;
	int r = json_read_integer(reader, value, key, &number);

	if (r == 0)
		*(uint32_t *)field = (uint32_t)number;
	return r;
}

int json_read_u64(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	int64_t number = 0;
	int r = json_read_integer(reader, value, key, &number);

	if (r == 0)
		*(uint64_t *)field = (uint64_t)number;
	return r;
}

int json_read_bool(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	(void)key;
	if (!json_is_boolean(value))
		return json_fail_found(reader, value, "true or false");
	*(bool *)field = json_is_true(value);
	return 0;
}

int json_read_choice(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	char expected[96] = "one of";
	size_t length = strlen(expected);

	for (const struct json_choice *choice = key->choices; choice->text != NULL; choice++) {
		if (json_is_string(value) && strcmp(json_string_value(value), choice->text) == 0) {
			*(uint32_t *)field = choice->value;
			return 0;
		}
		(void)snprintf(expected + length, sizeof(expected) - length, "%s \"%s\"",
			choice == key->choices ? "" : ",", choice->text);
		length = strlen(expected);
	}
	return json_fail_found(reader, value, expected);
}

int json_read_text(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	char **owner = field;
	char expected[64];
	char *copy;

	/* A text with a NUL in it is longer than strlen() says. */
	if (!json_is_string(value) || (int64_t)json_string_length(value) < key->min ||
		(int64_t)json_string_length(value) > key->max ||
		strlen(json_string_value(value)) != json_string_length(value)) {
		(void)snprintf(expected, sizeof(expected), "a text of %lld to %lld bytes",
			(long long)key->min, (long long)key->max);
		return json_fail_found(reader, value, expected);
	}
	copy = strdup(json_string_value(value));
	if (copy == NULL) {
		(void)json_fail(reader, "out of memory");
		return -ENOMEM;
	}
	free(*owner);
	*owner = copy;
	return 0;
}

int json_read_object(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	return json_read_keys(reader, value, key->keys, field);
}

int json_read_array(struct json_reader *reader, const json_t *value, size_t max,
	int (*read)(struct json_reader *reader, const json_t *element, void *context),
	void *context)
{
	int r;

	if (!json_is_array(value))
		return json_fail_found(reader, value, "an array");
	if (json_array_size(value) > max)
		return json_fail(reader, "found %zu elements, at most %zu are allowed",
			json_array_size(value), max);
	for (size_t i = 0; i < json_array_size(value); i++) {
		json_enter(reader, NULL, i);
		r = read(reader, json_array_get(value, i), context);
		if (r != 0)
			return r;
		reader->depth--;
	}
	return 0;
}
