/* SPDX-License-Identifier: MIT */
/* The exported form of a map, as a reader sees it. */
#include "export.h"
#include "fake_export.h"
#include "libpasid.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>

static struct fake_export exports;
static struct export e;
static const struct set_id own = {0x700000001};

static void setup(void)
{
	struct export_port port;
	uint8_t *base;

	memset(&exports, 0, sizeof(exports));
	port = fake_export_port(&exports);
	ck_assert_int_eq(port.make(port.ctx, own, &base), 0);
	export_format(&e, base, own);
}

static void teardown(void)
{
	fake_export_free(&exports);
}

static void attach(uint32_t guest, uint32_t host)
{
	struct export_port port = fake_export_port(&exports);
	const struct gpasid g = {guest};

	if (!export_has(&e, g)) {
		ck_assert_int_eq(port.reserve(port.ctx, own, export_offset(g)), 0);
		export_add(&e, g);
	}
	export_attach(&e, g, (struct hpasid){host});
}

static uint32_t find(uint32_t guest)
{
	return fake_export_read(&exports.maps[0], guest);
}

START_TEST(what_is_attached_is_read_and_nothing_else)
	{
		static const uint32_t guests[] = {1, 1023, 1024, 524287, 524288, PASID_LAST};

		for (unsigned i = 0; i < ARRAY_SIZE(guests); i++)
			attach(guests[i], 5000 + i);
		for (unsigned i = 0; i < ARRAY_SIZE(guests); i++)
			ck_assert_uint_eq(find(guests[i]), 5000 + i);
		ck_assert_uint_eq(find(2), 0);
		ck_assert_uint_eq(find(600000), 0);
		ck_assert_uint_eq(export_pages(&e), EXPORT_FIXED + 5);
		export_detach(&e, (struct gpasid){1024});
		ck_assert_uint_eq(find(1024), 0);
		ck_assert_uint_eq(find(1023), 5001);
		export_detach(&e, (struct gpasid){700000}); /* has no table */
		ck_assert_uint_eq(export_pages(&e), EXPORT_FIXED + 5);
	}
END_TEST

/* F39 */
START_TEST(the_librarys_lookup_reads_the_same)
	{
		const struct pasid_map table = {exports.maps[0].base, EXPORT_SIZE};
		uint32_t host = 0;

		attach(77, 4096);
		attach(PASID_LAST, PASID_LAST);
		ck_assert_int_eq(pasid_map_find(&table, 77, &host), 1);
		ck_assert_uint_eq(host, 4096);
		ck_assert_int_eq(pasid_map_find(&table, PASID_LAST, &host), 1);
		ck_assert_uint_eq(host, PASID_LAST);
		ck_assert_int_eq(pasid_map_find(&table, 78, &host), 0);
		ck_assert_int_eq(pasid_map_find(&table, 5000, &host), 0);
		ck_assert_int_eq(pasid_map_find(&table, PASID_LAST + 1, &host), 0);
		export_close(&e);
		ck_assert_int_eq(pasid_map_find(&table, 77, &host), -ESTALE);
		ck_assert_uint_eq(host, PASID_LAST); /* untouched */
	}
END_TEST

/* Whatever stands in the memory, the lookup stays in it. */
START_TEST(a_lookup_never_leaves_the_memory)
	{
		uint8_t *memory = malloc(EXPORT_SIZE);
		const struct pasid_map table = {memory, EXPORT_SIZE};
		uint32_t host;

		for (unsigned pattern = 0; pattern < 256; pattern += 51) {
			memset(memory, (int)pattern, EXPORT_SIZE);
			memset(memory, 0, 16);
			for (uint32_t guest = 0; guest <= PASID_LAST; guest += 4093)
				(void)pasid_map_find(&table, guest, &host);
		}
		free(memory);
	}
END_TEST

START_TEST(what_is_closed_says_nothing)
	{
		uint32_t word;

		attach(9, 4000);
		export_close(&e);
		ck_assert_ptr_null(e.base);
		ck_assert_uint_eq(export_pages(&e), 0);
		ck_assert_uint_eq(find(9), 0);
		memcpy(&word, exports.maps[0].base + (size_t)EXPORT_FIXED * TRANSLATE_PAGE + 36,
			sizeof(word));
		ck_assert_uint_eq(word, 0);
		ck_assert(!export_adopt(&e, exports.maps[0].base, own));
	}
END_TEST

START_TEST(only_its_own_memory_is_taken_up)
	{
		struct export found = {0};
		uint8_t *base = exports.maps[0].base;
		static const size_t words[] = {
			0, 8, 12, 16, 24, 32, TRANSLATE_PAGE, 3 * TRANSLATE_PAGE - 8};

		attach(9, 4000);
		ck_assert(export_adopt(&found, base, own));
		ck_assert_uint_eq(export_pages(&found), EXPORT_FIXED + 1);
		ck_assert(!export_adopt(&found, base, (struct set_id){own.v + 1}));
		for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
			base[words[i]] ^= 2;
			ck_assert_msg(!export_adopt(&found, base, own), "at %zu", words[i]);
			base[words[i]] ^= 2;
		}
		ck_assert(export_adopt(&found, base, own));
	}
END_TEST

/* ---------------------------------------------------------------- beside a map */

static _Alignas(4096) uint8_t pages[8 * TRANSLATE_PAGE];
static uint64_t fresh;

static int take(void *ctx, uint64_t *ret_offset)
{
	(void)ctx;
	*ret_offset = fresh;
	fresh += TRANSLATE_PAGE;
	return fresh <= sizeof(pages) ? 0 : -ENOSPC;
}

static void give(void *ctx, uint64_t offset)
{
	(void)ctx;
	memset(pages + offset, 0, TRANSLATE_PAGE);
}

START_TEST(every_difference_is_found_and_corrected)
	{
		const struct translate_pages port = {.base = pages, .take = take, .give = give};
		struct translate map;

		memset(pages, 0, sizeof(pages));
		fresh = 0;
		translate_init(&map, &port);
		ck_assert(export_equals(&e, &map));
		ck_assert_int_eq(
			translate_attach(&map, (struct gpasid){5}, (struct hpasid){3000}), 0);
		ck_assert(!export_equals(&e, &map)); /* there, and no table */
		attach(5, 3001);
		ck_assert(!export_equals(&e, &map)); /* another number */
		attach(6, 3001);
		export_correct(&e, &map);
		ck_assert(export_equals(&e, &map));
		ck_assert_uint_eq(find(5), 3000);
		ck_assert_uint_eq(find(6), 0);
		attach(9000, 3002);
		ck_assert(!export_equals(&e, &map)); /* too many */
		export_correct(&e, &map);
		ck_assert(export_equals(&e, &map));
		e.tables++;
		ck_assert(!export_equals(&e, &map)); /* miscounted */
		e.tables--;
		exports.maps[0].base[TRANSLATE_PAGE] ^= 2; /* a directory that points elsewhere */
		ck_assert(!export_equals(&e, &map));
		translate_done(&map);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {what_is_attached_is_read_and_nothing_else,
		the_librarys_lookup_reads_the_same, a_lookup_never_leaves_the_memory,
		what_is_closed_says_nothing, only_its_own_memory_is_taken_up,
		every_difference_is_found_and_corrected};

	return suite_run("export", "layout", tests, ARRAY_SIZE(tests), setup, teardown);
}
