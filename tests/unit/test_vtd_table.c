/* SPDX-License-Identifier: MIT */
#include "hw/vtd_table.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* --- layouts: each field at the bits that the specification gives it --- */

START_TEST(caps_fields_are_where_11_4_puts_them)
	{
		struct vtd_caps caps = vtd_caps_decode((1ull << 60) | (1ull << 56) | (3ull << 34) |
							       (47ull << 16) | (0xcull << 8) |
							       (1ull << 7),
			(1ull << 48) | (1ull << 47) | (1ull << 46) | (1ull << 45) | (1ull << 43) |
				(1ull << 40) | (19ull << 35) | (1ull << 34) | (1ull << 31) |
				(1ull << 29) | (1ull << 26) | (1ull << 6) | (1ull << 2));

		ck_assert(caps.fl5lp && caps.fl1gp && caps.second_2m && caps.second_1g &&
			  caps.caching);
		ck_assert_uint_eq(caps.mgaw, 48);
		ck_assert_uint_eq(caps.sagaw, 0xc);
		ck_assert(caps.page_walk_snoop && caps.first_stage && caps.second_stage &&
			  caps.dirty);
		ck_assert(caps.scalable && caps.pasid && caps.extended_access && caps.supervisor);
		ck_assert(caps.page_requests && caps.nest && caps.pass_through && caps.device_tlb);
		ck_assert_uint_eq(caps.pasid_width, 20);
	}
END_TEST

START_TEST(caps_bit_by_bit_decide_one_thing_each)
	{
		static const int cap_bits[] = {60, 56, 34, 35, 7},
				 ecap_bits[] = {48, 47, 46, 45, 43, 34, 31, 29, 26, 6, 2};
		struct vtd_caps none = vtd_caps_decode(0, 0), caps;
		uint64_t cap, ecap;

		for (size_t i = 0; i < ARRAY_SIZE(cap_bits) + ARRAY_SIZE(ecap_bits); i++) {
			bool first = i < ARRAY_SIZE(cap_bits);
			uint64_t bit =
				1ull << (first ? cap_bits[i] : ecap_bits[i - ARRAY_SIZE(cap_bits)]);

			caps = vtd_caps_decode(first ? bit : 0, first ? 0 : bit);
			ck_assert_mem_ne(&caps, &none, sizeof(caps));
			vtd_caps_encode(&caps, &cap, &ecap);
			ck_assert_uint_eq(first ? cap : ecap, bit);
			ck_assert_uint_eq(first ? ecap : cap, 0);
		}
	}
END_TEST

START_TEST(caps_without_pasid_have_no_width)
	{
		ck_assert_uint_eq(vtd_caps_decode(0, 19ull << 35).pasid_width, 0);
		ck_assert_uint_eq(vtd_caps_decode(0, 1ull << 40).pasid_width, 1);
	}
END_TEST

START_TEST(entry_fields_are_where_9_6_puts_them)
	{
		struct vtd_entry entry = {.present = true};
		uint64_t word[VTD_ENTRY_WORDS];
		static const struct {
			size_t index;
			uint64_t value;
		} expected[] = {{0, 0x123456789000 | 3 << 6 | 2 << 2 | 1}, {1, 0xbeef | 3ull << 23},
			{2, 0xabcdef012000 | 1 << 7 | 1 << 4 | 1 << 2 | 1}};

		entry.pgtt = VTD_PGTT_NESTED;
		entry.aw = 2;
		entry.second = 0x123456789000;
		entry.did = 0xbeef;
		entry.page_walk_snoop = entry.page_snoop = true;
		entry.first = 0xabcdef012000;
		entry.supervisor = entry.write_protect = entry.extended_access = true;
		entry.fspm = 1;
		vtd_entry_encode(&entry, word);
		for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
			ck_assert_uint_eq(word[expected[i].index], expected[i].value);
		for (size_t i = 3; i < VTD_ENTRY_WORDS; i++)
			ck_assert_uint_eq(word[i], 0);
		ck_assert(vtd_entry_reserved_ok(word));
	}
END_TEST

START_TEST(context_fields_are_where_9_4_puts_them)
	{
		const struct vtd_context context = {.present = true,
			.pasid_enable = true,
			.pdts = 5,
			.rid_pasid = 0xfffff,
			.directory = 0x7000};
		uint64_t word[VTD_CONTEXT_WORDS];

		vtd_context_encode(&context, word);
		ck_assert_uint_eq(word[0], 0x7000 | 5 << 9 | 1 << 3 | 1);
		ck_assert_uint_eq(word[1], 0xfffff);
		ck_assert_uint_eq(word[2] | word[3], 0);
	}
END_TEST

static uint64_t seed;

static uint64_t random_word(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return seed ^ seed >> 29;
}

/* Decoding what was encoded gives the same, and encoding what was decoded keeps every defined bit.
 */
START_TEST(encodings_round_trip)
	{
		seed = 1;
		for (int i = 0; i < 500; i++) {
			uint64_t in[VTD_ENTRY_WORDS], out[VTD_ENTRY_WORDS], again[VTD_ENTRY_WORDS];
			struct vtd_entry entry;
			struct vtd_context context;
			struct vtd_root root;
			struct vtd_directory directory;

			for (size_t w = 0; w < VTD_ENTRY_WORDS; w++)
				in[w] = random_word();
			entry = vtd_entry_decode(in);
			vtd_entry_encode(&entry, out);
			entry = vtd_entry_decode(out);
			vtd_entry_encode(&entry, again);
			ck_assert_mem_eq(out, again, sizeof(out));
			ck_assert_uint_eq(out[0], in[0] & 0xfffffffffffff3dfull);
			ck_assert_uint_eq(out[1], in[1] & 0x180ffffull);
			ck_assert_uint_eq(out[2], in[2] & 0xfffffffffffff0ffull);
			context = vtd_context_decode(in);
			vtd_context_encode(&context, out);
			ck_assert_uint_eq(out[0], in[0] & 0xfffffffffffffe1full);
			ck_assert_uint_eq(out[1], in[1] & 0x1fffffull);
			root = vtd_root_decode(in);
			vtd_root_encode(&root, out);
			ck_assert_uint_eq(out[1], in[1] & 0xfffffffffffff001ull);
			directory = vtd_directory_decode(in[0]);
			ck_assert_uint_eq(
				vtd_directory_encode(&directory), in[0] & 0xfffffffffffff003ull);
		}
	}
END_TEST

START_TEST(reserved_bits_of_an_entry_are_found)
	{
		for (unsigned bit = 0; bit < 512; bit++) {
			uint64_t word[VTD_ENTRY_WORDS] = {0};
			bool reserved = bit == 10 || bit == 11 || (bit >= 80 && bit <= 86) ||
					bit == 131 || (bit >= 136 && bit <= 139) || bit >= 192;

			word[bit / 64] = 1ull << bit % 64;
			ck_assert_msg(vtd_entry_reserved_ok(word) == !reserved, "bit %u", bit);
		}
	}
END_TEST

START_TEST(paging_entries_of_both_stages)
	{
		struct vtd_pte first = vtd_pte_decode(true, 0x1000 | 0x67), second;

		ck_assert(first.present && first.write && first.user && first.accessed &&
			  first.dirty);
		ck_assert(!first.large);
		ck_assert_uint_eq(vtd_pte_encode(true, &first), 0x1000 | 0x67);
		second = vtd_pte_decode(false, 0x200000 | 1 << 9 | 1 << 8 | 1 << 7 | 2);
		ck_assert(second.present && second.write && !second.read && second.large);
		ck_assert_uint_eq(
			vtd_pte_encode(false, &second), 0x200000 | 1 << 9 | 1 << 8 | 1 << 7 | 2);
		ck_assert(!vtd_pte_decode(true, 0xffffffffffffff00ull).present);
		ck_assert(!vtd_pte_decode(false, 0xfffffffffffffffcull).present);
		ck_assert_uint_eq(vtd_pte_index(0x0000123456789abcull, 1), 0x189);
		ck_assert_uint_eq(vtd_pte_index(0x01ffffffffffffffull, 5), 0x1ff);
	}
END_TEST

/* --- walks over a little memory --- */

#define PAGES 64
static uint64_t memory[PAGES][512];
static unsigned reads;

static uint64_t memory_read(void *ctx, uint64_t phys, bool *ok)
{
	(void)ctx;
	reads++;
	if (phys % 8 != 0 || phys / 4096 >= PAGES) {
		*ok = false;
		return 0;
	}
	return memory[phys / 4096][phys % 4096 / 8];
}

static const struct vtd_memory reader = {.read = memory_read};

#define ROOT      0x1000ull
#define CONTEXT   0x2000ull
#define DIRECTORY 0x3000ull
#define TABLE     0x5000ull
#define PASID     0x85u /* directory entry 2, table entry 5 */
static const struct rid rid = {0x0389};

static void put(uint64_t phys, uint64_t word)
{
	memory[phys / 4096][phys % 4096 / 8] = word;
}

static uint64_t *entry_at(uint32_t pasid)
{
	return &memory[TABLE / 4096][(pasid & 63ul) * VTD_ENTRY_WORDS];
}

/* Bus 3, devfn 0x89: the upper context table, entry 9. A directory of 512, one table in it. */
static void tables_setup(void)
{
	const struct vtd_context context = {
		.present = true, .pasid_enable = true, .pdts = 2, .directory = DIRECTORY};

	memset(memory, 0, sizeof(memory));
	reads = 0;
	put(ROOT + 3 * 16ull + 8, CONTEXT | 1);
	vtd_context_encode(&context, &memory[CONTEXT / 4096][9ul * VTD_CONTEXT_WORDS]);
	put(DIRECTORY + 2 * 8ull, TABLE | 1);
}

static struct vtd_walk_result walk(uint64_t address, bool write)
{
	const struct vtd_request request = {.rid = rid,
		.has_pasid = true,
		.pasid = {PASID},
		.address = address,
		.write = write};
	struct vtd_walk_result result;

	vtd_walk(&reader, ROOT, &request, &result);
	return result;
}

/* First stage at 0x10000: 0x40001000 -> 0x7777000, writeable; 0x40200000 -> 0x8000000, 2 MiB, not.
 */
static void first_stage_setup(void)
{
	const struct vtd_entry entry = {
		.present = true, .pgtt = VTD_PGTT_FIRST, .first = 0x10000, .aw = 2, .did = 4};

	vtd_entry_encode(&entry, entry_at(PASID));
	put(0x10000, 0x11000 | 7);
	put(0x11000 + 8, 0x12000 | 7);
	put(0x12000, 0x13000 | 7);
	put(0x12000 + 8, 0x8000000 | 1 << 7 | 5);
	put(0x13000 + 8, 0x7777000 | 7);
}

START_TEST(walk_stops_where_the_tables_end)
	{
		struct vtd_request request = {.rid = rid, .has_pasid = true, .pasid = {PASID}};
		struct vtd_walk_result result;

		ck_assert_int_eq(walk(0, false).stop, VTD_NO_ENTRY);
		put(DIRECTORY + 2 * 8ull, TABLE);
		ck_assert_int_eq(walk(0, false).stop, VTD_NO_DIRECTORY);
		request.pasid.v = 512 * 64;
		vtd_walk(&reader, ROOT, &request, &result);
		ck_assert_int_eq(result.stop, VTD_PASID_RANGE);
		memory[CONTEXT / 4096][9ul * VTD_CONTEXT_WORDS] &= ~8ull;
		ck_assert_int_eq(walk(0, false).stop, VTD_PASID_DISABLED);
		memory[CONTEXT / 4096][9ul * VTD_CONTEXT_WORDS] = 0;
		ck_assert_int_eq(walk(0, false).stop, VTD_NO_CONTEXT);
		put(ROOT + 3 * 16ull + 8, 0);
		ck_assert_int_eq(walk(0, false).stop, VTD_NO_ROOT);
		/* The lower half is another table. */
		put(ROOT + 3 * 16ull, CONTEXT | 1);
		ck_assert_int_eq(walk(0, false).stop, VTD_NO_ROOT);
		put(ROOT + 3 * 16ull + 8, 0x7ffffff000 | 1);
		ck_assert_int_eq(walk(0, false).stop, VTD_UNREADABLE);
	}
END_TEST

START_TEST(walk_first_stage)
	{
		struct vtd_walk_result result;

		first_stage_setup();
		result = walk(0x40001234, true);
		ck_assert_int_eq(result.stop, VTD_REACHED);
		ck_assert_uint_eq(result.phys, 0x7777234);
		ck_assert_uint_eq(result.page_size, 4096);
		ck_assert(result.writeable && result.has_entry);
		ck_assert_uint_eq(result.entry.did, 4);
		ck_assert_uint_eq(result.step_count, 8);
		ck_assert_uint_eq(result.steps[3].kind, VTD_STEP_ENTRY);
		ck_assert_uint_eq(result.steps[7].phys, 0x13008);
		ck_assert_uint_eq(result.steps[7].level, 1);
		result = walk(0x40312345, false);
		ck_assert_int_eq(result.stop, VTD_REACHED);
		ck_assert_uint_eq(result.phys, 0x8112345);
		ck_assert_uint_eq(result.page_size, 1 << 21);
		ck_assert(!result.writeable);
		ck_assert_int_eq(walk(0x40312345, true).stop, VTD_FIRST_DENIED);
		ck_assert_int_eq(walk(0x40002000, false).stop, VTD_FIRST_ABSENT);
		ck_assert_int_eq(walk(0x0000800000000000ull, false).stop, VTD_ADDRESS);
		ck_assert_int_eq(walk(0xffff800000000000ull, false).stop, VTD_FIRST_ABSENT);
		put(0x13000 + 8, 0x7777000 | 3); /* supervisor only */
		ck_assert_int_eq(walk(0x40001000, false).stop, VTD_FIRST_DENIED);
		put(0x12000, 0x13000 | 5); /* not writeable above */
		put(0x13000 + 8, 0x7777000 | 7);
		ck_assert_int_eq(walk(0x40001000, true).stop, VTD_FIRST_DENIED);
		ck_assert(!walk(0x40001000, false).writeable);
	}
END_TEST

START_TEST(walk_second_stage_widths)
	{
		struct vtd_entry entry = {
			.present = true, .pgtt = VTD_PGTT_SECOND, .second = 0x10000, .aw = 1};

		vtd_entry_encode(&entry, entry_at(PASID)); /* three levels: 39 bits */
		put(0x10000 + 8, 0x11000 | 3);
		put(0x11000, 0x12000 | 3);
		put(0x12000 + 2 * 8ull, 0x5555000 | 1);
		ck_assert_uint_eq(walk(0x40002010, false).phys, 0x5555010);
		ck_assert_int_eq(walk(0x40002010, true).stop, VTD_SECOND_DENIED);
		ck_assert_int_eq(walk(0x40003000, false).stop, VTD_SECOND_ABSENT);
		ck_assert_int_eq(walk(1ull << 39, false).stop, VTD_ADDRESS);
		put(0x11000, 0x1000 | 1 << 7 | 3); /* 2 MiB page at an address that is not */
		ck_assert_int_eq(walk(0x40002010, false).stop, VTD_RESERVED);
		put(0x12000 + 2 * 8ull, 0x5555000 | 2); /* write-only: a read is denied */
		put(0x11000, 0x12000 | 3);
		ck_assert_int_eq(walk(0x40002010, false).stop, VTD_SECOND_DENIED);
		entry.aw = 0;
		vtd_entry_encode(&entry, entry_at(PASID));
		ck_assert_int_eq(walk(0, false).stop, VTD_BAD_ENTRY);
	}
END_TEST

/* Guest-physical 0x0-0x3f000 is host-physical the same, by second-stage tables at 0x20000; the
   guest's first-stage root is at guest-physical 0x10000. Guest page 0x30000 is read-only, 0x31000
   not there. */
static void nested_setup(void)
{
	const struct vtd_entry entry = {.present = true,
		.pgtt = VTD_PGTT_NESTED,
		.second = 0x20000,
		.first = 0x10000,
		.aw = 2};

	first_stage_setup();
	vtd_entry_encode(&entry, entry_at(PASID));
	put(0x20000, 0x21000 | 3);
	put(0x21000, 0x22000 | 3);
	put(0x22000, 0x23000 | 3);
	for (uint64_t page = 0; page < 0x31; page++)
		put(0x23000 + page * 8, page << 12 | (page == 0x30 ? 1 : 3));
	put(0x13000 + 8, 0x2f000 | 7);
	put(0x13000 + 16, 0x30000 | 7);
	put(0x13000 + 24, 0x31000 | 7);
}

/* F47 */
START_TEST(walk_nested)
	{
		struct vtd_walk_result result;

		nested_setup();
		result = walk(0x40001abc, true);
		ck_assert_int_eq(result.stop, VTD_REACHED);
		ck_assert_uint_eq(result.phys, 0x2fabc);
		ck_assert_uint_eq(result.page_size, 4096);
		ck_assert_uint_eq(result.step_count, 4 + 4 * 5 + 4);
		ck_assert_int_eq(walk(0x40002000, true).stop, VTD_SECOND_DENIED);
		ck_assert_int_eq(walk(0x40002000, false).stop, VTD_REACHED);
		ck_assert(!walk(0x40002000, false).writeable);
		ck_assert_int_eq(walk(0x40003000, false).stop, VTD_SECOND_ABSENT);
		put(0x13000 + 8, (1ull << 48) | 7); /* a guest that points beyond its memory */
		ck_assert_int_eq(walk(0x40001000, false).stop, VTD_ADDRESS);
		put(0x23000 + 0x13 * 8ull, 0); /* a table of the guest is not mapped */
		ck_assert_int_eq(walk(0x40001000, false).stop, VTD_SECOND_ABSENT);
	}
END_TEST

START_TEST(walk_without_pasid_uses_the_number_of_the_context)
	{
		struct vtd_request request = {.rid = rid, .address = 0x40001000};
		struct vtd_walk_result result;

		first_stage_setup();
		vtd_walk(&reader, ROOT, &request, &result);
		ck_assert_int_eq(result.stop, VTD_NO_DIRECTORY);
		memory[CONTEXT / 4096][9ul * VTD_CONTEXT_WORDS + 1] = PASID;
		vtd_walk(&reader, ROOT, &request, &result);
		ck_assert_int_eq(result.stop, VTD_REACHED);
		ck_assert_uint_eq(result.pasid, PASID);
	}
END_TEST

START_TEST(walk_pass_through_and_bad_entries)
	{
		struct vtd_entry entry = {.present = true, .pgtt = VTD_PGTT_PASS_THROUGH};

		vtd_entry_encode(&entry, entry_at(PASID));
		ck_assert_uint_eq(walk(0x123456, true).phys, 0x123456);
		for (uint32_t pgtt = 0; pgtt < 8; pgtt++) {
			entry.pgtt = pgtt;
			vtd_entry_encode(&entry, entry_at(PASID));
			if (pgtt < VTD_PGTT_FIRST || pgtt > VTD_PGTT_PASS_THROUGH)
				ck_assert_int_eq(walk(0, false).stop, VTD_BAD_ENTRY);
		}
		entry.pgtt = VTD_PGTT_PASS_THROUGH;
		vtd_entry_encode(&entry, entry_at(PASID));
		entry_at(PASID)[7] = 1;
		ck_assert_int_eq(walk(0, false).stop, VTD_BAD_ENTRY);
		entry = (struct vtd_entry){.present = true, .pgtt = VTD_PGTT_FIRST, .fspm = 2};
		vtd_entry_encode(&entry, entry_at(PASID));
		ck_assert_int_eq(walk(0, false).stop, VTD_BAD_ENTRY);
	}
END_TEST

/* Paging entries that point at their own table must not hold anybody up. */
START_TEST(walk_ends_in_tables_that_point_at_themselves)
	{
		struct vtd_entry entry = {.present = true,
			.pgtt = VTD_PGTT_NESTED,
			.second = 0x20000,
			.first = 0x20000,
			.aw = 3,
			.fspm = 1};

		vtd_entry_encode(&entry, entry_at(PASID));
		for (unsigned i = 0; i < 512; i++)
			put(0x20000 + i * 8, 0x20000 | 7);
		reads = 0;
		ck_assert_int_eq(walk(0x12345678, false).stop, VTD_REACHED);
		ck_assert_uint_le(reads, 64);
		ck_assert_uint_le(walk(0x12345678, false).step_count, VTD_STEPS_MAX);
	}
END_TEST

static uint64_t garbage_read(void *ctx, uint64_t phys, bool *ok)
{
	uint64_t word = random_word();

	(void)ctx;
	(void)phys;
	reads++;
	*ok = word % 31 != 0;
	/* Mostly present, or the walk would end at once. */
	return word >> 7 & 7 ? random_word() | 1 : random_word();
}

START_TEST(garbage_is_survived_in_bounded_time)
	{
		const struct vtd_memory garbage = {.read = garbage_read};
		bool seen[VTD_STOP_COUNT] = {false};
		unsigned kinds = 0;

		seed = 42;
		for (int i = 0; i < 20000; i++) {
			const struct vtd_request request = {.rid = {(uint32_t)random_word()},
				.has_pasid = i % 2,
				.pasid = {(uint32_t)random_word() & PASID_LAST},
				.address = random_word() >> (i % 40),
				.write = i % 3 == 0};
			struct vtd_walk_result result;

			reads = 0;
			vtd_walk(&garbage, random_word(), &request, &result);
			ck_assert_uint_le(
				reads, VTD_STEPS_MAX + VTD_CONTEXT_WORDS + VTD_ENTRY_WORDS);
			ck_assert_uint_lt((unsigned)result.stop, VTD_STOP_COUNT);
			seen[result.stop] = true;
		}
		for (unsigned i = 0; i < VTD_STOP_COUNT; i++)
			kinds += seen[i];
		ck_assert_uint_ge(kinds, 8);
	}
END_TEST

START_TEST(iterator_over_garbage_ends)
	{
		const struct vtd_memory garbage = {.read = garbage_read};
		struct vtd_entries entries;
		struct vtd_entry_at at;

		seed = 7;
		do {
			vtd_entries_init(&entries, &garbage, 0, rid);
		} while (entries.end == 0);
		reads = 0;
		while (vtd_entries_next(&entries, &at))
			;
		ck_assert_uint_le(reads, 10ul * PASID_COUNT);
	}
END_TEST

START_TEST(iterator_finds_all_entries_in_order)
	{
		const struct vtd_entry entry = {
			.present = true, .pgtt = VTD_PGTT_PASS_THROUGH, .did = 9};
		static const uint32_t pasids[] = {0x80, 0x85, 0xbf, 511 * 64 + 3};
		struct vtd_entries entries;
		struct vtd_entry_at at;

		put(DIRECTORY + 511 * 8ull, 0x6000 | 1);
		put(DIRECTORY + 4 * 8ull, 0x7fffff000 | 1); /* cannot be read */
		vtd_entry_encode(&entry, &memory[6][3ul * VTD_ENTRY_WORDS]);
		for (size_t i = 0; i < 3; i++)
			vtd_entry_encode(&entry, entry_at(pasids[i]));
		vtd_entries_init(&entries, &reader, ROOT, rid);
		ck_assert_int_eq(entries.stop, VTD_REACHED);
		for (size_t i = 0; i < ARRAY_SIZE(pasids); i++) {
			ck_assert(vtd_entries_next(&entries, &at));
			ck_assert_uint_eq(at.pasid, pasids[i]);
			ck_assert_uint_eq(at.entry.did, 9);
		}
		ck_assert(!vtd_entries_next(&entries, &at));
		ck_assert_int_eq(entries.stop, VTD_UNREADABLE);
		vtd_entries_init(&entries, &reader, ROOT, (struct rid){0x0408});
		ck_assert(!vtd_entries_next(&entries, &at));
		ck_assert_int_eq(entries.stop, VTD_NO_ROOT);
	}
END_TEST

START_TEST(texts_exist_for_all)
	{
		for (unsigned i = 0; i < VTD_STOP_COUNT; i++) {
			ck_assert_ptr_nonnull(vtd_stop_text((enum vtd_stop)i));
			ck_assert_ptr_nonnull(vtd_stop_sentence((enum vtd_stop)i));
		}
		ck_assert_str_eq(vtd_stop_text((enum vtd_stop)99), "unknown");
		ck_assert_str_eq(vtd_pgtt_text(VTD_PGTT_NESTED), "nested");
		ck_assert_str_eq(vtd_pgtt_text(7), "reserved");
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vtd_table");
	TCase *layout = tcase_create("layout"), *walks = tcase_create("walk");
	SRunner *runner;
	int failed;

	tcase_add_test(layout, caps_fields_are_where_11_4_puts_them);
	tcase_add_test(layout, caps_bit_by_bit_decide_one_thing_each);
	tcase_add_test(layout, caps_without_pasid_have_no_width);
	tcase_add_test(layout, entry_fields_are_where_9_6_puts_them);
	tcase_add_test(layout, context_fields_are_where_9_4_puts_them);
	tcase_add_test(layout, encodings_round_trip);
	tcase_add_test(layout, reserved_bits_of_an_entry_are_found);
	tcase_add_test(layout, paging_entries_of_both_stages);
	tcase_add_test(layout, texts_exist_for_all);
	tcase_add_checked_fixture(walks, tables_setup, NULL);
	tcase_add_test(walks, walk_stops_where_the_tables_end);
	tcase_add_test(walks, walk_first_stage);
	tcase_add_test(walks, walk_second_stage_widths);
	tcase_add_test(walks, walk_nested);
	tcase_add_test(walks, walk_without_pasid_uses_the_number_of_the_context);
	tcase_add_test(walks, walk_pass_through_and_bad_entries);
	tcase_add_test(walks, walk_ends_in_tables_that_point_at_themselves);
	tcase_add_test(walks, garbage_is_survived_in_bounded_time);
	tcase_add_test(walks, iterator_over_garbage_ends);
	tcase_add_test(walks, iterator_finds_all_entries_in_order);
	suite_add_tcase(suite, layout);
	suite_add_tcase(suite, walks);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
