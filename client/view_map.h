/* SPDX-License-Identifier: MIT */
/* The namespace at a glance: what is known of each of its numbers, drawn as a grid. Pure. */
#ifndef VIEW_MAP_H
#define VIEW_MAP_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "view_text.h"

#define VIEW_MAP_NUMBERS (1u << 20)

/* Of a number, several together. */
#define VIEW_MAP_RESERVED 1u /* the kernel's, or nobody's */
#define VIEW_MAP_USED     2u
#define VIEW_MAP_BOUND    4u
#define VIEW_MAP_RESTS    8u /* in quarantine, and not tainted */
#define VIEW_MAP_TAINTED  16u

struct view_map {
	uint32_t first, last; /* what of it is shown, inclusive */
	uint8_t *marks;       /* VIEW_MAP_NUMBERS of them, the caller's */
};

/* Adds marks to a number; beyond the namespace it is passed over. */
void view_map_mark(struct view_map *map, uint32_t number, unsigned marks);
/* The grid, its legend and the totals of what is shown. */
void view_map_print(FILE *out, const struct view_map *map, const struct view_look *look);
/* {"first", "last", "totals", "runs"}; numbers that are free are in no run. The caller owns it. */
json_t *view_map_json(const struct view_map *map);

#endif
