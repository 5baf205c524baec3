/* SPDX-License-Identifier: MIT */
#include "translate.h"

#include "random.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#define POOL_PAGES 1100u
#define POOL_BYTES ((size_t)POOL_PAGES * TRANSLATE_PAGE)
#define UNSET      UINT32_C(0xdeadbeef)

/*
 * The port: pages of a pool that moves with every take, if asked to, and that refuses one. What was
 * given back is overwritten, and so is where the pool was before, so that nobody reads there
 * unnoticed.
 */
struct pool {
	struct translate_pages pages;
	bool used[POOL_PAGES];
	uint32_t used_count;
	bool moves;
	uint32_t fail_at; /* the take that fails, counted from 1; 0: none */
	uint32_t takes;
	int failure;
};

static struct pool pool;
static struct translate map;

/* What the map should hold: host + 1 by guest, 0 where nothing is mapped. */
static uint32_t reference[PASID_COUNT];
static uint32_t reference_count;

static void pool_move(struct pool *p)
{
	uint8_t *base = aligned_alloc(TRANSLATE_PAGE, POOL_BYTES);

	ck_assert_ptr_nonnull(base);
	if (p->pages.base != NULL) {
		memcpy(base, p->pages.base, POOL_BYTES);
		free(p->pages.base);
	}
	p->pages.base = base;
}

static int pool_take(void *ctx, uint64_t *ret_offset)
{
	struct pool *p = ctx;
	size_t i = 0;

	if (++p->takes == p->fail_at)
		return p->failure;
	while (p->used[i])
		i++;
	if (p->moves || p->pages.base == NULL)
		pool_move(p);
	memset(p->pages.base + i * (size_t)TRANSLATE_PAGE, 0, TRANSLATE_PAGE);
	p->used[i] = true;
	p->used_count++;
	*ret_offset = i * (size_t)TRANSLATE_PAGE;
	return 0;
}

static void pool_give(void *ctx, uint64_t offset)
{
	struct pool *p = ctx;

	ck_assert_uint_eq(offset % TRANSLATE_PAGE, 0);
	ck_assert_uint_lt(offset / TRANSLATE_PAGE, POOL_PAGES);
	ck_assert_msg(p->used[offset / TRANSLATE_PAGE], "page %llu was not taken",
		(unsigned long long)(offset / TRANSLATE_PAGE));
	memset(p->pages.base + offset, 0xff, TRANSLATE_PAGE);
	p->used[offset / TRANSLATE_PAGE] = false;
	p->used_count--;
}

static void setup(void)
{
	pool = (struct pool){.pages = {.take = pool_take, .give = pool_give, .ctx = &pool}};
	memset(reference, 0, sizeof(reference));
	reference_count = 0;
	translate_init(&map, &pool.pages);
}

static void teardown(void)
{
	translate_done(&map);
	ck_assert_uint_eq(pool.used_count, 0);
	free(pool.pages.base);
}

/* --- the table as the processor reads it, from its layout alone
 * --------------------------------------- */

/* What an entry of 8 bytes points to. Plain tests, for assertions of Check are slow: each makes a
 * note. */
static void *walk_entry(uint64_t entry)
{
	if (entry == 0)
		return NULL;
	if ((entry & 0xfff) != 1 || entry >> 12 >= POOL_PAGES || !pool.used[entry >> 12])
		ck_abort_msg("directory entry %#llx", (unsigned long long)entry);
	return pool.pages.base + (entry & ~UINT64_C(0xfff));
}

/* Compares the numbers of one table entry's worth of guests; returns how many are mapped. */
static uint32_t expect_table(const uint32_t *table, uint32_t first)
{
	uint32_t mapped = 0;

	for (uint32_t i = 0; i < 1024; i++) {
		const uint32_t host = reference[first + i];
		const uint32_t entry = table ? table[i] : 0;

		if (entry != (host ? (UINT32_C(1) << 31 | (host - 1)) : 0))
			ck_abort_msg("guest %u: entry %#x, expected host %d", first + i, entry,
				(int)host - 1);
		mapped += host != 0;
	}
	return mapped;
}

/* The table equals the map, number by number, and holds no page that it does not need. */
static void expect_equal(void)
{
	uint32_t mapped = 0, pages = 0;

	for (uint32_t first = 0; first < PASID_COUNT; first += 1024) {
		const uint64_t *directory = walk_entry(map.roots[first >> 19]);
		const uint32_t *table = directory ? walk_entry(directory[first >> 10 & 511]) : NULL;
		const uint32_t here = expect_table(table, first);

		if (table && here == 0)
			ck_abort_msg("an empty table at guest %u", first);
		pages += table != NULL;
		mapped += here;
	}
	pages += map.roots[0] != 0;
	pages += map.roots[1] != 0;
	ck_assert_uint_eq(mapped, reference_count);
	ck_assert_uint_eq(translate_count(&map), reference_count);
	ck_assert_uint_eq(pool.used_count, pages);
}

static int attach(uint32_t guest, uint32_t host)
{
	const int r = translate_attach(&map, (struct gpasid){guest}, (struct hpasid){host});

	if (r == 0) {
		reference[guest] = host + 1;
		reference_count++;
	}
	return r;
}

static int detach(uint32_t guest)
{
	const int r = translate_detach(&map, (struct gpasid){guest});

	if (r == 0) {
		reference[guest] = 0;
		reference_count--;
	}
	return r;
}

static void expect_host(uint32_t guest, uint32_t host)
{
	struct hpasid found = {UNSET};
	const int r = translate_find(&map, (struct gpasid){guest}, &found);

	ck_assert_int_eq(r, host == UNSET ? STATUS_NOT_FOUND : 0);
	ck_assert_uint_eq(found.v, host);
}

static void expect_next(uint32_t from, uint32_t guest, uint32_t host)
{
	struct gpasid found_guest = {UNSET};
	struct hpasid found_host = {UNSET};
	const int r = translate_next(&map, (struct gpasid){from}, &found_guest, &found_host);

	ck_assert_int_eq(r, guest == UNSET ? STATUS_NOT_FOUND : 0);
	ck_assert_uint_eq(found_guest.v, guest);
	ck_assert_uint_eq(found_host.v, host);
}

/* --- unit tests
 * --------------------------------------------------------------------------------------- */

/* Both sides of every boundary of tables and directories. */
static const uint32_t edges[] = {
	0, 1, 1023, 1024, 2047, 2048, 524287, 524288, 525311, 525312, PASID_LAST - 1, PASID_LAST};

START_TEST(empty_map_holds_no_page)
	{
		ck_assert_uint_eq(translate_count(&map), 0);
		expect_host(0, UNSET);
		expect_host(PASID_LAST, UNSET);
		expect_next(0, UNSET, UNSET);
		ck_assert_int_eq(translate_detach(&map, (struct gpasid){5}), STATUS_NOT_FOUND);
		ck_assert_uint_eq(pool.takes, 0);
		expect_equal();
	}
END_TEST

START_TEST(edges_stand_in_the_hardware_layout)
	{
		pool.moves = true;
		for (uint32_t i = 0; i < ARRAY_SIZE(edges); i++) {
			ck_assert_int_eq(attach(edges[i], PASID_LAST - edges[i]), 0);
			expect_equal();
		}
		for (uint32_t i = 0; i < ARRAY_SIZE(edges); i++)
			expect_host(edges[i], PASID_LAST - edges[i]);
		expect_host(2, UNSET);
		expect_host(300000, UNSET);
		for (uint32_t i = 0; i < ARRAY_SIZE(edges); i++) {
			ck_assert_int_eq(detach(edges[i]), 0);
			expect_equal();
		}
	}
END_TEST

START_TEST(first_mapping_takes_a_directory_and_a_table)
	{
		ck_assert_int_eq(attach(7, 70), 0);
		ck_assert_uint_eq(pool.used_count, 2);
		ck_assert_int_eq(attach(8, 80), 0);
		ck_assert_uint_eq(pool.used_count, 2);
		ck_assert_int_eq(attach(1024, 90), 0);
		ck_assert_uint_eq(pool.used_count, 3);
		ck_assert_int_eq(attach(524288, 100), 0);
		ck_assert_uint_eq(pool.used_count, 5);
		expect_equal();
	}
END_TEST

START_TEST(mapped_guest_keeps_its_host)
	{
		ck_assert_int_eq(attach(7, 70), 0);
		ck_assert_int_eq(attach(7, 71), STATUS_EXISTS);
		ck_assert_int_eq(attach(7, 70), STATUS_EXISTS);
		expect_host(7, 70);
		expect_equal();
	}
END_TEST

START_TEST(host_0_is_not_taken_for_nothing)
	{
		ck_assert_int_eq(attach(7, 0), 0);
		expect_host(7, 0);
		expect_next(0, 7, 0);
		ck_assert_int_eq(attach(7, 1), STATUS_EXISTS);
		expect_equal();
	}
END_TEST

START_TEST(detach_of_what_is_not_mapped_changes_nothing)
	{
		ck_assert_int_eq(attach(7, 70), 0);
		ck_assert_int_eq(detach(8), STATUS_NOT_FOUND);
		ck_assert_int_eq(detach(1024), STATUS_NOT_FOUND);
		ck_assert_int_eq(detach(524288), STATUS_NOT_FOUND);
		expect_equal();
	}
END_TEST

START_TEST(table_goes_back_with_its_last_entry)
	{
		ck_assert_int_eq(attach(1024, 1), 0);
		ck_assert_int_eq(attach(2047, 2), 0);
		ck_assert_int_eq(attach(2048, 3), 0);
		ck_assert_uint_eq(pool.used_count, 3);
		ck_assert_int_eq(detach(1024), 0);
		ck_assert_uint_eq(pool.used_count, 3);
		ck_assert_int_eq(detach(2047), 0);
		ck_assert_uint_eq(pool.used_count, 2);
		expect_equal();
		ck_assert_int_eq(detach(2047), STATUS_NOT_FOUND);
		ck_assert_int_eq(attach(1024, 4), 0);
		expect_equal();
	}
END_TEST

START_TEST(done_gives_all_back_and_leaves_an_empty_map)
	{
		for (uint32_t i = 0; i < ARRAY_SIZE(edges); i++)
			ck_assert_int_eq(attach(edges[i], i), 0);
		translate_done(&map);
		ck_assert_uint_eq(pool.used_count, 0);
		memset(reference, 0, sizeof(reference));
		reference_count = 0;
		expect_equal();
		translate_done(&map);
		ck_assert_int_eq(attach(PASID_LAST, 9), 0);
		expect_equal();
	}
END_TEST

START_TEST(next_walks_in_guest_order)
	{
		uint32_t from = 0;

		for (uint32_t i = ARRAY_SIZE(edges); i > 0; i--)
			ck_assert_int_eq(attach(edges[i - 1], 100 + i), 0);
		for (uint32_t i = 0; i < ARRAY_SIZE(edges); i++) {
			expect_next(from, edges[i], 101 + i);
			expect_next(edges[i], edges[i], 101 + i);
			from = edges[i] + 1;
		}
		ck_assert_uint_eq(from, PASID_COUNT);
		expect_next(from, UNSET, UNSET);
		expect_next(UINT32_MAX, UNSET, UNSET);
	}
END_TEST

/* The k-th page is refused: the attach that needed it fails with the port's words, and nothing has
 * changed. */
START_TEST(refused_page_changes_nothing)
	{
		static const uint32_t guests[] = {5, 6, 1024, 524288, 600000};
		const uint32_t pages = 2 + 0 + 1 + 2 + 1;

		for (uint32_t k = 1; k <= pages; k++) {
			uint32_t refused = 0;

			setup();
			pool.fail_at = k;
			pool.failure = _i == 0 ? -ENOMEM : STATUS_QUOTA;
			for (uint32_t i = 0; i < ARRAY_SIZE(guests); i++) {
				const uint32_t used = pool.used_count;
				const int r = attach(guests[i], 10 + i);

				if (r == 0)
					continue;
				refused++;
				ck_assert_int_eq(r, pool.failure);
				ck_assert_uint_eq(pool.used_count, used);
				expect_host(guests[i], UNSET);
				expect_equal();
				ck_assert_int_eq(attach(guests[i], 10 + i), 0);
			}
			ck_assert_uint_eq(refused, 1);
			expect_equal();
			teardown();
		}
		setup();
	}
END_TEST

START_TEST(misuse_is_asserted)
	{
		struct hpasid host;

		switch (_i) {
		case 0:
			translate_attach(&map, (struct gpasid){PASID_COUNT}, (struct hpasid){1});
			break;
		case 1:
			translate_attach(&map, (struct gpasid){1}, (struct hpasid){PASID_COUNT});
			break;
		case 2:
			translate_detach(&map, (struct gpasid){PASID_COUNT});
			break;
		default:
			translate_find(&map, (struct gpasid){PASID_COUNT}, &host);
			break;
		}
	}
END_TEST

/* --- random histories
 * --------------------------------------------------------------------------------- */

/* Crowded in a few tables, lonely in the rest. */
static uint32_t any_guest(struct random *r)
{
	const uint32_t table =
		random_chance(r, 80) ? random_below(r, 3) * 511 : random_below(r, 1024);

	return table * 1024 + random_below(r, random_chance(r, 50) ? 4 : 1024);
}

static void expect_next_of_reference(uint32_t from)
{
	uint32_t guest = from;

	while (guest < PASID_COUNT && reference[guest] == 0)
		guest++;
	if (guest == PASID_COUNT)
		expect_next(from, UNSET, UNSET);
	else
		expect_next(from, guest, reference[guest] - 1);
}

static void change_something(struct random *r)
{
	const uint32_t guest = any_guest(r);
	const bool was_mapped = reference[guest] != 0;
	int status;

	if (random_chance(r, 55)) {
		pool.fail_at = random_chance(r, 10) ? pool.takes + 1 + random_below(r, 2) : 0;
		status = attach(guest, random_below(r, PASID_COUNT));
		if (was_mapped)
			ck_assert_int_eq(status, STATUS_EXISTS);
		else
			ck_assert(status == 0 || (status == -ENOMEM && pool.takes == pool.fail_at));
	} else {
		status = detach(guest);
		ck_assert_int_eq(status, was_mapped ? 0 : STATUS_NOT_FOUND);
	}
}

START_TEST(random_history_keeps_table_and_map_equal)
	{
		struct random r = random_begin("random_history_keeps_table_and_map_equal");

		pool.failure = -ENOMEM;
		for (uint32_t i = 0; i < 10000; i++) {
			const uint32_t guest = any_guest(&r);

			change_something(&r);
			expect_host(guest, reference[guest] ? reference[guest] - 1 : UNSET);
			if (i % 100 == 0)
				expect_next_of_reference(random_below(&r, PASID_COUNT));
			if (i % 1000 == 0)
				expect_equal();
		}
		expect_equal();
	}
END_TEST

START_TEST(every_guest_can_be_mapped_at_once)
	{
		for (uint32_t guest = 0; guest < PASID_COUNT; guest++) {
			if (attach(guest, guest ^ PASID_LAST))
				ck_abort_msg("guest %u", guest);
		}
		expect_equal();
		ck_assert_uint_eq(pool.used_count, 1026);
		for (uint32_t guest = 0; guest < PASID_COUNT; guest++) {
			if (detach(guest))
				ck_abort_msg("guest %u", guest);
		}
		expect_equal();
		ck_assert_uint_eq(pool.used_count, 2);
	}
END_TEST

static TCase *make_case(const char *name)
{
	TCase *c = tcase_create(name);

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	return c;
}

static void add_unit(Suite *s)
{
	TCase *c = make_case("unit");

	tcase_add_test(c, empty_map_holds_no_page);
	tcase_add_test(c, edges_stand_in_the_hardware_layout);
	tcase_add_test(c, first_mapping_takes_a_directory_and_a_table);
	tcase_add_test(c, mapped_guest_keeps_its_host);
	tcase_add_test(c, host_0_is_not_taken_for_nothing);
	tcase_add_test(c, detach_of_what_is_not_mapped_changes_nothing);
	tcase_add_test(c, table_goes_back_with_its_last_entry);
	tcase_add_test(c, done_gives_all_back_and_leaves_an_empty_map);
	tcase_add_test(c, next_walks_in_guest_order);
	tcase_add_loop_test(c, refused_page_changes_nothing, 0, 2);
	tcase_add_loop_test_raise_signal(c, misuse_is_asserted, SIGABRT, 0, 4);
	suite_add_tcase(s, c);
}

static void add_property(Suite *s)
{
	TCase *c = make_case("property");

	tcase_add_loop_test(c, random_history_keeps_table_and_map_equal, 0, 4);
	tcase_add_test(c, every_guest_can_be_mapped_at_once);
	suite_add_tcase(s, c);
}

int main(void)
{
	Suite *s = suite_create("translate");
	SRunner *runner;
	int failed;

	add_unit(s);
	add_property(s);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
