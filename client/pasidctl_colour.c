/* SPDX-License-Identifier: MIT */
#include "pasidctl_colour.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool colour_on;

bool colour_parse(const char *text, enum colour_wish *ret_wish)
{
	static const char *const names[] = {"auto", "always", "never"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		*ret_wish = (enum colour_wish)i;
		return true;
	}
	return false;
}

bool colour_wanted(enum colour_wish wish, bool terminal, const char *no_color, const char *term)
{
	if (wish != COLOUR_AUTO)
		return wish == COLOUR_ALWAYS;
	/* no-color.org: present and not empty, whatever it says */
	if (no_color != NULL && no_color[0] != '\0')
		return false;
	return terminal && (term == NULL || strcmp(term, "dumb") != 0);
}

void colour_decide(enum colour_wish wish)
{
	colour_on =
		colour_wanted(wish, isatty(STDOUT_FILENO) != 0, getenv("NO_COLOR"), getenv("TERM"));
}

bool colour_is_on(void)
{
	return colour_on;
}

const char *colour_start(enum colour colour)
{
	static const char *const starts[] = {"", "\033[32m", "\033[33m", "\033[1;31m", "\033[2m"};
	return colour_on && (size_t)colour < sizeof(starts) / sizeof(starts[0]) ? starts[colour]
										: "";
}

const char *colour_end(enum colour colour)
{
	return colour_on && colour != COLOUR_NONE ? "\033[0m" : "";
}

enum colour colour_of(const char *key, const char *value)
{
	if (strcmp(key, "state") == 0 || strcmp(key, "quarantine") == 0) {
		if (strstr(value, "tainted") != NULL || strcmp(value, "refused") == 0)
			return COLOUR_BAD;
		if (strcmp(value, "quarantined") == 0 || strcmp(value, "free-pending") == 0)
			return COLOUR_WARN;
	}
	if (strcmp(key, "tainted") == 0 && strcmp(value, "yes") == 0)
		return COLOUR_BAD;
	if (strcmp(key, "dying") == 0 && strcmp(value, "yes") == 0)
		return COLOUR_WARN;
	return COLOUR_NONE;
}
