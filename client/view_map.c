/* SPDX-License-Identifier: MIT */
#include "view_map.h"

#include "pasidctl_colour.h"

#define MAP_COLUMNS 64u
#define MAP_ROWS    16u
#define MAP_LABEL   9u /* a number and a space before the cells */

/* What a number is, of all that is known of it. */
enum map_kind { MAP_FREE, MAP_RESERVED, MAP_USED, MAP_RESTS, MAP_TAINTED, MAP_KINDS };

struct map_totals {
	uint32_t of[MAP_KINDS];
	uint32_t bound;
};

static enum map_kind map_kind(unsigned marks)
{
	if (marks & VIEW_MAP_TAINTED)
		return MAP_TAINTED;
	if (marks & VIEW_MAP_RESTS)
		return MAP_RESTS;
	if (marks & VIEW_MAP_USED)
		return MAP_USED;
	return marks & VIEW_MAP_RESERVED ? MAP_RESERVED : MAP_FREE;
}

void view_map_mark(struct view_map *map, uint32_t number, unsigned marks)
{
	if (number < VIEW_MAP_NUMBERS)
		map->marks[number] |= (uint8_t)marks;
}

static struct map_totals map_count(const struct view_map *map, uint32_t first, uint32_t last)
{
	struct map_totals totals = {0};
	for (uint32_t number = first; number <= last; number++) {
		totals.of[map_kind(map->marks[number])]++;
		totals.bound += (map->marks[number] & VIEW_MAP_BOUND) != 0;
	}
	return totals;
}

/* ------------------------------------------------------------ the grid */

struct map_cell {
	const char *text;
	enum colour colour;
};

static const char *const map_shades[2][4] = {
	{"-", "+", "*", "#"},
	{"\u2591", "\u2592", "\u2593", "\u2588"},
};

/* What stands out most in some numbers of one cell; a share of use is in quarters, rounded up. */
static struct map_cell map_cell(const struct map_totals *totals, bool utf8)
{
	uint32_t size = 0;
	for (unsigned kind = 0; kind < MAP_KINDS; kind++)
		size += totals->of[kind];
	if (totals->of[MAP_TAINTED] > 0)
		return (struct map_cell){"T", COLOUR_BAD};
	if (totals->of[MAP_RESTS] > 0)
		return (struct map_cell){"q", COLOUR_WARN};
	if (totals->of[MAP_USED] > 0)
		return (struct map_cell){
			map_shades[utf8][((uint64_t)totals->of[MAP_USED] * 4 - 1) / size],
			COLOUR_GOOD};
	if (totals->of[MAP_RESERVED] > 0)
		return (struct map_cell){"k", COLOUR_DIM};
	return (struct map_cell){utf8 ? "\u00b7" : ".", COLOUR_NONE};
}

static void map_row(FILE *out, const struct view_map *map, const struct view_look *look,
	uint32_t first, uint32_t cell_size, uint32_t cells)
{
	enum colour colour = COLOUR_NONE;
	fprintf(out, "%*u ", (int)MAP_LABEL - 1, first);
	for (uint32_t i = 0; i < cells && first <= map->last; i++, first += cell_size) {
		uint32_t last =
			first + cell_size - 1 < map->last ? first + cell_size - 1 : map->last;
		struct map_totals totals = map_count(map, first, last);
		struct map_cell cell = map_cell(&totals, look->utf8);
		if (cell.colour != colour)
			fprintf(out, "%s%s", colour_end(colour), colour_start(cell.colour));
		colour = cell.colour;
		fputs(cell.text, out);
	}
	fprintf(out, "%s\n", colour_end(colour));
}

static void map_legend(FILE *out, const struct view_look *look)
{
	const char *const *shades = map_shades[look->utf8];
	fprintf(out, "%*s%s free  %s%s%s%s in use, by share  k the kernel's\n", (int)MAP_LABEL, "",
		look->utf8 ? "\u00b7" : ".", shades[0], shades[1], shades[2], shades[3]);
	fprintf(out, "%*sq in quarantine  T tainted\n", (int)MAP_LABEL, "");
}

void view_map_print(FILE *out, const struct view_map *map, const struct view_look *look)
{
	struct map_totals totals = map_count(map, map->first, map->last);
	uint32_t numbers = map->last - map->first + 1, cells = MAP_COLUMNS, size = 1;
	while (cells > 16 && cells + MAP_LABEL > look->columns)
		cells /= 2;
	while ((uint64_t)size * cells * MAP_ROWS < numbers)
		size *= 2;
	fprintf(out, "PASIDs %u to %u, ", map->first, map->last);
	fputs(size == 1 ? "a cell each\n" : "a cell for ", out);
	if (size > 1)
		fprintf(out, "%u\n", size);
	for (uint32_t first = map->first; first <= map->last; first += size * cells)
		map_row(out, map, look, first, size, cells);
	map_legend(out, look);
	fprintf(out, "%u in use, %u in quarantine, %u tainted; of all %u bound\n",
		totals.of[MAP_USED], totals.of[MAP_RESTS], totals.of[MAP_TAINTED], totals.bound);
	fprintf(out, "%u the kernel's, %u free\n", totals.of[MAP_RESERVED], totals.of[MAP_FREE]);
}

/* ------------------------------------------------------------ for programs */

static json_t *map_run(uint32_t first, uint32_t last, unsigned marks)
{
	static const char *const names[] = {"free", "reserved", "used", "quarantined", "tainted"};
	json_t *json = json_object();
	json_object_set_new(json, "first", json_integer(first));
	json_object_set_new(json, "last", json_integer(last));
	json_object_set_new(json, "count", json_integer(last - first + 1));
	json_object_set_new(json, "state", json_string(names[map_kind(marks)]));
	json_object_set_new(json, "bound", json_boolean((marks & VIEW_MAP_BOUND) != 0));
	return json;
}

static bool map_same(unsigned a, unsigned b)
{
	return map_kind(a) == map_kind(b) && (a & VIEW_MAP_BOUND) == (b & VIEW_MAP_BOUND);
}

json_t *view_map_json(const struct view_map *map)
{
	json_t *json = json_object(), *runs = json_array(), *counts = json_object();
	struct map_totals totals = map_count(map, map->first, map->last);
	for (uint32_t first = map->first, next; first <= map->last; first = next) {
		next = first + 1;
		while (next <= map->last && map_same(map->marks[first], map->marks[next]))
			next++;
		if (map_kind(map->marks[first]) != MAP_FREE)
			json_array_append_new(runs, map_run(first, next - 1, map->marks[first]));
	}
	json_object_set_new(counts, "used", json_integer(totals.of[MAP_USED]));
	json_object_set_new(counts, "bound", json_integer(totals.bound));
	json_object_set_new(counts, "quarantined", json_integer(totals.of[MAP_RESTS]));
	json_object_set_new(counts, "tainted", json_integer(totals.of[MAP_TAINTED]));
	json_object_set_new(counts, "reserved", json_integer(totals.of[MAP_RESERVED]));
	json_object_set_new(counts, "free", json_integer(totals.of[MAP_FREE]));
	json_object_set_new(json, "first", json_integer(map->first));
	json_object_set_new(json, "last", json_integer(map->last));
	json_object_set_new(json, "totals", counts);
	json_object_set_new(json, "runs", runs);
	return json;
}
