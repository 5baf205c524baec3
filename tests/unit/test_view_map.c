/* SPDX-License-Identifier: MIT */
/* pasidctl map: numbers in, a grid and runs out. */
#include "suite.h"

#include <stdlib.h>
#include <string.h>

#include "pasidctl_colour.h"
#include "view_map.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static struct view_map map;
static char *text;

static void setup(void)
{
	colour_decide(COLOUR_NEVER);
	map = (struct view_map){.last = VIEW_MAP_NUMBERS - 1, .marks = calloc(VIEW_MAP_NUMBERS, 1)};
	ck_assert_ptr_nonnull(map.marks);
	text = NULL;
}

static void teardown(void)
{
	free(map.marks);
	free(text);
}

static void draw(unsigned columns, bool utf8)
{
	struct view_look look = {columns, utf8};
	size_t size;
	free(text);
	FILE *out = open_memstream(&text, &size);
	view_map_print(out, &map, &look);
	fclose(out);
}

/* Line n of what was drawn, 0 the first. */
static const char *line(unsigned n)
{
	static char copy[512];
	const char *begin = text;
	while (n-- > 0) {
		begin = strchr(begin, '\n');
		ck_assert_ptr_nonnull(begin);
		begin++;
	}
	size_t length = strcspn(begin, "\n");
	ck_assert_uint_lt(length, sizeof(copy));
	memcpy(copy, begin, length);
	copy[length] = '\0';
	return copy;
}

static void mark(uint32_t first, uint32_t last, unsigned marks)
{
	for (uint32_t number = first; number <= last; number++)
		view_map_mark(&map, number, marks);
}

START_TEST(the_whole_namespace_is_sixteen_rows_that_fit)
	{
		draw(80, false);
		ck_assert_str_eq(line(0), "PASIDs 0 to 1048575, a cell for 1024");
		ck_assert_uint_eq(strlen(line(1)), 9 + 64);
		ck_assert_int_eq(strncmp(line(16), "  983040 .", 10), 0);
		ck_assert_ptr_nonnull(strstr(line(17), "free"));
		ck_assert_str_eq(line(19), "0 in use, 0 in quarantine, 0 tainted; of all 0 bound");
		ck_assert_str_eq(line(20), "0 the kernel's, 1048576 free");
		for (unsigned columns = 0; columns < 73; columns++) {
			draw(columns, false);
			ck_assert_uint_le(strlen(line(1)), columns < 25 ? 25 : columns);
			ck_assert_ptr_nonnull(strstr(line(17), "free"));
		}
	}
END_TEST

START_TEST(a_cell_shows_what_stands_out_in_it)
	{
		mark(0, 1023, VIEW_MAP_RESERVED);
		mark(1024, 1024, VIEW_MAP_USED);        /* one of 1024 */
		mark(2048, 2048 + 255, VIEW_MAP_USED);  /* a quarter */
		mark(3072, 3072 + 256, VIEW_MAP_USED);  /* more than a quarter */
		mark(4096, 4096 + 767, VIEW_MAP_USED);  /* three */
		mark(5120, 5120 + 1023, VIEW_MAP_USED); /* all */
		mark(6144, 6144 + 1023, VIEW_MAP_USED);
		mark(6200, 6200, VIEW_MAP_RESTS); /* one rests */
		mark(7168, 7168 + 1, VIEW_MAP_RESTS);
		mark(7168, 7168, VIEW_MAP_TAINTED);
		draw(80, false);
		ck_assert_int_eq(strncmp(line(1), "       0 k--+*#qT.", 18), 0);
		draw(80, true);
		ck_assert_ptr_nonnull(strstr(line(1), "k\u2591\u2591\u2592\u2593\u2588qT\u00b7"));
		/* one number is one thing: what needs somebody most */
		ck_assert_ptr_nonnull(strstr(
			text, ", 2 in quarantine, 1 tainted; of all 0 bound\n1024 the kernel's, "));
	}
END_TEST

START_TEST(a_range_is_shown_to_its_ends_and_no_further)
	{
		map.first = 1024;
		map.last = 1024;
		mark(1023, 1025, VIEW_MAP_USED | VIEW_MAP_BOUND);
		draw(80, false);
		ck_assert_str_eq(line(0), "PASIDs 1024 to 1024, a cell each");
		ck_assert_str_eq(line(1), "    1024 #");
		ck_assert_ptr_nonnull(
			strstr(text, "1 in use, 0 in quarantine, 0 tainted; of all 1 bound"));
		map.first = VIEW_MAP_NUMBERS - 1025;
		map.last = VIEW_MAP_NUMBERS - 1;
		mark(map.last, map.last, VIEW_MAP_TAINTED);
		draw(80, false);
		ck_assert_str_eq(line(0), "PASIDs 1047551 to 1048575, a cell for 2");
		ck_assert_str_eq(line(9), " 1048575 T");
		map.first = map.last = 0;
		draw(80, false);
		ck_assert_str_eq(line(1), "       0 .");
	}
END_TEST

START_TEST(what_is_beyond_the_namespace_is_passed_over)
	{
		view_map_mark(&map, VIEW_MAP_NUMBERS, VIEW_MAP_USED);
		view_map_mark(&map, UINT32_MAX, VIEW_MAP_TAINTED);
		draw(80, false);
		ck_assert_ptr_nonnull(strstr(text, "1048576 free"));
	}
END_TEST

START_TEST(runs_say_the_same_to_programs)
	{
		mark(0, 1023, VIEW_MAP_RESERVED);
		mark(1024, 1151, VIEW_MAP_USED);
		mark(1030, 1031, VIEW_MAP_BOUND);
		mark(VIEW_MAP_NUMBERS - 1, VIEW_MAP_NUMBERS - 1, VIEW_MAP_TAINTED | VIEW_MAP_RESTS);
		json_t *json = view_map_json(&map);
		char *dump = json_dumps(json_object_get(json, "runs"), JSON_COMPACT);
		ck_assert_str_eq(dump,
			"[{\"first\":0,\"last\":1023,\"count\":1024,\"state\":\"reserved\",\"bound\":false},"
			"{\"first\":1024,\"last\":1029,\"count\":6,\"state\":\"used\",\"bound\":false},"
			"{\"first\":1030,\"last\":1031,\"count\":2,\"state\":\"used\",\"bound\":true},"
			"{\"first\":1032,\"last\":1151,\"count\":120,\"state\":\"used\",\"bound\":false},"
			"{\"first\":1048575,\"last\":1048575,\"count\":1,\"state\":\"tainted\",\"bound\":false}]");
		free(dump);
		dump = json_dumps(json_object_get(json, "totals"), JSON_COMPACT);
		ck_assert_str_eq(dump,
			"{\"used\":128,\"bound\":2,\"quarantined\":0,\"tainted\":1,"
			"\"reserved\":1024,\"free\":1047423}");
		free(dump);
		json_decref(json);
	}
END_TEST

START_TEST(colour_begins_and_ends_in_a_row)
	{
		colour_decide(COLOUR_ALWAYS);
		mark(1024, 3071, VIEW_MAP_USED);
		mark(4096, 4096, VIEW_MAP_TAINTED);
		draw(80, false);
		ck_assert_int_eq(
			strncmp(line(1), "       0 .\033[32m##\033[0m.\033[1;31mT\033[0m.", 31), 0);
	}
END_TEST

START_TEST(ranges_are_two_numbers_in_order)
	{
		uint32_t first = 7, last = 7;
		ck_assert(view_parse_range("1024-0x7ff", &first, &last) && first == 1024 &&
			  last == 2047);
		ck_assert(view_parse_range("5", &first, &last) && first == 5 && last == 5);
		ck_assert(view_parse_range("0-1048575", &first, &last) && first == 0 &&
			  last == 1048575);
		static const char *const wrong[] = {"", "-", "1-", "-1", "2-1", "0x", "0x-1",
			"1048576", "0-1048576", "1 - 2", "1-2-3", "a-b", "+1",
			"99999999999999999999"};
		for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
			ck_assert_msg(!view_parse_range(wrong[i], &first, &last), "%s", wrong[i]);
		ck_assert_uint_eq(last, 1048575);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {the_whole_namespace_is_sixteen_rows_that_fit,
		a_cell_shows_what_stands_out_in_it, a_range_is_shown_to_its_ends_and_no_further,
		what_is_beyond_the_namespace_is_passed_over, runs_say_the_same_to_programs,
		colour_begins_and_ends_in_a_row, ranges_are_two_numbers_in_order};
	return suite_run("view_map", "map", tests, ARRAY_SIZE(tests), setup, teardown);
}
