/* SPDX-License-Identifier: MIT */
#include "pasidctl_cursor.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pasidctl_file.h"

#define CURSOR_TEXT_MAX 512
#define CURSOR_BOOT_ID  "/proc/sys/kernel/random/boot_id"

enum cursor_fit cursor_fits(const struct cursor *cursor, const struct cursor *now)
{
	if (cursor->next == 0)
		return CURSOR_EMPTY;
	if (strcmp(cursor->boot, now->boot) != 0)
		return CURSOR_BOOTED;
	return cursor->session >= now->session ? CURSOR_RECORDS : CURSOR_GOOD;
}

const char *cursor_text(enum cursor_fit fit)
{
	static const char *const texts[] = {"none", "none", "booted", "records-lost", "state-lost"};
	return (size_t)fit < sizeof(texts) / sizeof(texts[0]) ? texts[fit] : texts[0];
}

static bool cursor_number(const json_t *json, const char *key, uint64_t *ret_number)
{
	const json_t *number = json_object_get(json, key);
	if (!json_is_integer(number) || json_integer_value(number) < 0)
		return false;
	*ret_number = (uint64_t)json_integer_value(number);
	return true;
}

bool cursor_parse(const char *text, struct cursor *ret_cursor)
{
	struct cursor cursor = {0};
	if (text[0] == '\0') {
		*ret_cursor = cursor;
		return true;
	}
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *boot = json_string_value(json_object_get(json, "boot"));
	bool good = boot != NULL && strlen(boot) < sizeof(cursor.boot) &&
		    cursor_number(json, "next", &cursor.next) && cursor.next > 0 &&
		    cursor_number(json, "session", &cursor.session);
	if (good) {
		memcpy(cursor.boot, boot, strlen(boot) + 1);
		*ret_cursor = cursor;
	}
	json_decref(json);
	return good;
}

size_t cursor_format(const struct cursor *cursor, char *text, size_t size)
{
	int n = snprintf(text, size, "{\"next\": %llu, \"session\": %llu, \"boot\": \"%s\"}\n",
		(unsigned long long)cursor->next, (unsigned long long)cursor->session,
		cursor->boot);
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

int cursor_read(const char *path, struct cursor *ret_cursor, enum cursor_fit *ret_fit)
{
	char *text;
	*ret_cursor = (struct cursor){0};
	*ret_fit = CURSOR_NONE;
	int r = file_read(path, CURSOR_TEXT_MAX, &text);
	if (r == -ENOENT)
		return 0;
	if (r != 0)
		return r == -EFBIG ? -EBADMSG : r;
	*ret_fit = CURSOR_GOOD;
	if (!cursor_parse(text, ret_cursor))
		r = -EBADMSG;
	free(text);
	return r;
}

int cursor_write(const char *path, const struct cursor *cursor)
{
	char text[CURSOR_TEXT_MAX];
	return file_replace(path, 0600, text, cursor_format(cursor, text, sizeof(text)));
}

void cursor_boot(char boot[CURSOR_BOOT_SIZE])
{
	char *text;
	boot[0] = '\0';
	if (file_read(CURSOR_BOOT_ID, CURSOR_TEXT_MAX, &text) != 0)
		return;
	text[strcspn(text, "\n\"\\")] = '\0';
	snprintf(boot, CURSOR_BOOT_SIZE, "%s", text);
	free(text);
}
