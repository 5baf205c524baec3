/* SPDX-License-Identifier: MIT */
/*
 * Where in a text of JSON a value stands. jansson says that only of what it cannot read; of what it
 * has read, and we refuse, it remembers no place.
 */
#ifndef PASIDD_CONFIG_PLACE_H
#define PASIDD_CONFIG_PLACE_H

#include "base.h"

#define JSON_DEPTH_MAX 8 /* of what has a table of keys */

/* One step from a value to one within it. */
struct json_step {
	const char *key; /* of an object; NULL: an element of an array */
	size_t index;
};

struct json_place {
	uint32_t line, column; /* from 1; columns count characters, not bytes */
};

/*
 * The place of the key that the last step names, or of the element. The text is one that jansson
 * accepts as an object; of another one the answer is false, or some place within it. false: there
 * is no such value. No steps: the beginning of the object.
 */
bool json_place_find(const char *text, size_t length, const struct json_step *steps, size_t depth,
	struct json_place *ret_place);

#endif
