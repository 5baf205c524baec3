/* SPDX-License-Identifier: MIT */
#include "json_mutate.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 256u
#define KEY_SIZE 32u
#define SEEN_MAX 128u

static char keys[KEYS_MAX][KEY_SIZE];
static unsigned key_count;
static json_t *seen[SEEN_MAX]; /* the first objects that came: the seeds */
static unsigned seen_count;

static void learn_key(const char *key)
{
	for (unsigned i = 0; i < key_count; i++) {
		if (!strcmp(keys[i], key))
			return;
	}
	if (key_count < KEYS_MAX && strlen(key) < KEY_SIZE)
		strcpy(keys[key_count++], key);
}

static void learn_value(json_t *value)
{
	const char *key;
	size_t index;
	json_t *inner;

	json_object_foreach (value, key, inner) {
		learn_key(key);
		learn_value(inner);
	}
	json_array_foreach (value, index, inner)
		learn_value(inner);
}

void json_mutate_learn(const uint8_t *data, size_t size)
{
	json_t *root;

	if (seen_count == SEEN_MAX)
		return;
	root = json_loadb((const char *)data, size, 0, NULL);
	learn_value(root);
	if (json_is_object(root))
		seen[seen_count++] = root;
	else
		json_decref(root);
}

/* What another one says is added: the fuzzer keeps few inputs that differ in their keys alone. */
static void mix_in(json_t *root, uint64_t *random)
{
	json_t *other = seen_count ? json_deep_copy(seen[fuzz_below(random, seen_count)]) : NULL;

	if (json_is_object(root) && other)
		(void)json_object_update_recursive(root, other);
	json_decref(other);
}

static json_t *new_number(uint64_t *random)
{
	static const int64_t ends[] = {-1, 0, 1, 9, 10, 64, 107, 0777, 1023, 65535, 65536, 65537,
		131072, 1048574, 1048575, 1048576, 86400000, 86400001, INT32_MAX, UINT32_MAX - 1,
		UINT32_MAX, (int64_t)UINT32_MAX + 1, INT64_MAX, INT64_MIN};

	return json_integer(fuzz_below(random, 3)
				    ? ends[fuzz_below(random, sizeof(ends) / sizeof(*ends))]
				    : (int64_t)fuzz_below(random, 4096));
}

static json_t *new_value(uint64_t *random)
{
	static const char *const texts[] = {"", "0660", "07777", "8", "cyclic", "lowest",
		"randomized", "debug", "warning", "exclusive", "shared", "root", "nobody",
		"no-such-user", "/run/x", "0000:00:01.0", "00:02.0", "zz:00.0"};
	json_t *made;

	switch (fuzz_below(random, 8)) {
	case 0:
		return json_string(texts[fuzz_below(random, sizeof(texts) / sizeof(*texts))]);
	case 1:
		return json_boolean(fuzz_below(random, 2));
	case 2:
		return fuzz_below(random, 4) ? json_object() : json_null();
	case 3:
		made = json_array();
		(void)json_array_append_new(made, new_number(random));
		return made;
	case 4:
		made = json_object();
		if (key_count)
			(void)json_object_set_new(
				made, keys[fuzz_below(random, key_count)], new_value(random));
		return made;
	default:
		return new_number(random);
	}
}

static bool is_container(const json_t *value)
{
	return json_is_object(value) || json_is_array(value);
}

static void mutate_value(json_t *value, uint64_t *random);

static void mutate_array(json_t *array, uint64_t *random)
{
	size_t size = json_array_size(array), at = size ? fuzz_below(random, (uint32_t)size) : 0;
	json_t *inner = json_array_get(array, at);

	switch (size ? fuzz_below(random, 6) : 0) {
	case 0:
		(void)json_array_append_new(array, new_value(random));
		break;
	case 1:
		(void)json_array_append_new(array, json_deep_copy(inner));
		break;
	case 2:
		(void)json_array_remove(array, at);
		break;
	case 3:
		(void)json_array_set_new(array, at, new_value(random));
		break;
	default:
		if (is_container(inner))
			mutate_value(inner, random);
		else
			(void)json_array_set_new(array, at, new_value(random));
		break;
	}
}

static void mutate_object(json_t *object, uint64_t *random)
{
	size_t size = json_object_size(object), at = size ? fuzz_below(random, (uint32_t)size) : 0;
	void *place = json_object_iter(object);
	json_t *inner;

	while (place && at-- > 0)
		place = json_object_iter_next(object, place);
	inner = place ? json_object_iter_value(place) : NULL;
	switch (place ? fuzz_below(random, 8) : 0) {
	case 0:
		if (key_count)
			(void)json_object_set_new(
				object, keys[fuzz_below(random, key_count)], new_value(random));
		break;
	case 1:
		(void)json_object_del(object, json_object_iter_key(place));
		break;
	default:
		if (is_container(inner) && fuzz_below(random, 16))
			mutate_value(inner, random);
		else
			(void)json_object_iter_set_new(object, place, new_value(random));
		break;
	}
}

static void mutate_value(json_t *value, uint64_t *random)
{
	if (json_is_object(value))
		mutate_object(value, random);
	else
		mutate_array(value, random);
}

size_t json_mutate(uint8_t *data, size_t size, size_t max_size, uint64_t *random)
{
	json_t *root = json_loadb((const char *)data, size, 0, NULL);
	size_t written = 0;

	if (!root)
		return 0;
	if (fuzz_below(random, 8) == 0)
		(void)json_object_clear(root);
	if (fuzz_below(random, 2))
		mix_in(root, random);
	for (uint32_t i = 1 + fuzz_below(random, 3); i > 0; i--)
		mutate_value(root, random);
	written = json_dumpb(root, (char *)data, max_size, JSON_COMPACT);
	json_decref(root);
	return written <= max_size ? written : 0;
}
