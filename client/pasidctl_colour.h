/* SPDX-License-Identifier: MIT */
/*
 * Colour, on terminals only. Decided once at the start; where there is none, every function here
 * gives empty text, so that callers print what they get without asking.
 */
#ifndef PASIDCTL_COLOUR_H
#define PASIDCTL_COLOUR_H

#include <stdbool.h>

/* What --colour says. */
enum colour_wish {
	COLOUR_AUTO = 0,
	COLOUR_ALWAYS,
	COLOUR_NEVER,
};

/* What something means, not how it looks. */
enum colour {
	COLOUR_NONE = 0,
	COLOUR_GOOD,
	COLOUR_WARN, /* rests, waits, will pass */
	COLOUR_BAD,  /* needs somebody */
	COLOUR_DIM,
};

/* auto, always or never; false: it is none of them. */
bool colour_parse(const char *text, enum colour_wish *ret_wish);
/*
 * Whether to colour: `terminal`: standard output is one; no_color, term: $NO_COLOR and $TERM, which
 * may be NULL. What the command line says goes before the environment.
 */
bool colour_wanted(enum colour_wish wish, bool terminal, const char *no_color, const char *term);
/* Decides for this process, from its standard output and environment. */
void colour_decide(enum colour_wish wish);
bool colour_is_on(void);

/* Starts a colour, ends every colour: escape sequences, or "". Static text. */
const char *colour_start(enum colour colour);
const char *colour_end(enum colour colour);
/* What the word in a column with this key means: the key and value of an answer. */
enum colour colour_of(const char *key, const char *value);

#endif
