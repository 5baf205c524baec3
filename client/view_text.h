/* SPDX-License-Identifier: MIT */
/* What the views of pasidctl have in common: where they are shown, and how numbers are said. */
#ifndef VIEW_TEXT_H
#define VIEW_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Where something is shown. */
struct view_look {
	unsigned columns; /* of the terminal; at least VIEW_COLUMNS_MIN are used */
	bool utf8;        /* boxes and shades of Unicode; else ASCII */
};
#define VIEW_COLUMNS_MIN 40u
#define VIEW_COLUMNS     80u /* where nothing says how wide it is */

/* Of standard output: its width, or COLUMNS; Unicode on a terminal whose locale has it. */
struct view_look view_look_here(void);

/* "1024", or "1024-1151 (128)". */
void view_range(FILE *out, uint32_t first, uint32_t last);
/* "1 set", "2 sets". */
void view_count(FILE *out, uint64_t count, const char *one, const char *many);
/* "A-B" or one number, decimal or 0x, 0 to 2^20-1, A <= B. */
bool view_parse_range(const char *text, uint32_t *ret_first, uint32_t *ret_last);

#endif
