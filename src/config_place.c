/* SPDX-License-Identifier: MIT */
#include "config_place.h"

#include <jansson.h>
#include <string.h>

struct cursor {
	const char *at, *end;
};

static char cursor_peek(const struct cursor *cursor)
{
	return cursor->at < cursor->end ? *cursor->at : '\0';
}

static void cursor_skip_space(struct cursor *cursor)
{
	while (cursor->at < cursor->end && strchr(" \t\r\n", *cursor->at) && *cursor->at)
		cursor->at++;
}

/* Goes on behind this character, and the space around it. */
static bool cursor_take(struct cursor *cursor, char wanted)
{
	cursor_skip_space(cursor);
	if (cursor_peek(cursor) != wanted)
		return false;
	cursor->at++;
	cursor_skip_space(cursor);
	return true;
}

/* Behind the string that begins here. */
static void cursor_skip_string(struct cursor *cursor)
{
	cursor->at++;
	while (cursor->at < cursor->end && *cursor->at != '"')
		cursor->at += *cursor->at == '\\' ? 2 : 1;
	cursor->at = cursor->at < cursor->end ? cursor->at + 1 : cursor->end;
}

/* Behind the value that begins here: what nests is only counted. */
static void cursor_skip_value(struct cursor *cursor)
{
	size_t open = 0;

	while (cursor->at < cursor->end) {
		const char c = *cursor->at;

		if (open == 0 && (c == ',' || c == '}' || c == ']'))
			return;
		if (c == '"')
			cursor_skip_string(cursor);
		else
			cursor->at++;
		if (c == '{' || c == '[')
			open++;
		if ((c == '}' || c == ']') && --open == 0)
			return;
	}
}

/* The same key, however it is written: "a" may be "\u0061". */
static bool key_is(const char *token, size_t size, const char *key)
{
	json_t *decoded;
	bool same;

	if (size == strlen(key) + 2 && memcmp(token + 1, key, size - 2) == 0)
		return true;
	if (!memchr(token, '\\', size))
		return false;
	decoded = json_loadb(token, size, JSON_DECODE_ANY, NULL);
	same = json_is_string(decoded) && strcmp(json_string_value(decoded), key) == 0;
	json_decref(decoded);
	return same;
}

/* From the object that begins here to the value of a key; *ret_place is where the key is. */
static bool cursor_find_key(struct cursor *cursor, const char *key, const char **ret_place)
{
	if (!cursor_take(cursor, '{'))
		return false;
	while (cursor_peek(cursor) == '"') {
		const char *token = cursor->at;
		size_t size;

		cursor_skip_string(cursor);
		size = (size_t)(cursor->at - token);
		if (!cursor_take(cursor, ':'))
			return false;
		if (key_is(token, size, key)) {
			*ret_place = token;
			return true;
		}
		cursor_skip_value(cursor);
		if (!cursor_take(cursor, ','))
			return false;
	}
	return false;
}

static bool cursor_find_element(struct cursor *cursor, size_t index, const char **ret_place)
{
	if (!cursor_take(cursor, '['))
		return false;
	while (index-- > 0) {
		cursor_skip_value(cursor);
		if (!cursor_take(cursor, ','))
			return false;
	}
	*ret_place = cursor->at;
	return cursor->at < cursor->end && *cursor->at != ']';
}

static struct json_place place_of(const char *text, const char *at)
{
	struct json_place place = {1, 1};

	for (const char *p = text; p < at; p++) {
		if (*p == '\n')
			place = (struct json_place){place.line + 1, 1};
		else if (((unsigned char)*p & 0xc0) != 0x80) /* not within a character of UTF-8 */
			place.column++;
	}
	return place;
}

bool json_place_find(const char *text, size_t length, const struct json_step *steps, size_t depth,
	struct json_place *ret_place)
{
	struct cursor cursor = {text, text + length};
	const char *at;

	cursor_skip_space(&cursor);
	at = cursor.at;
	for (size_t i = 0; i < depth; i++) {
		const bool found = steps[i].key ? cursor_find_key(&cursor, steps[i].key, &at)
						: cursor_find_element(&cursor, steps[i].index, &at);

		if (!found)
			return false;
	}
	*ret_place = place_of(text, at);
	return true;
}
