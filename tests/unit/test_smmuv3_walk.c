/* SPDX-License-Identifier: MIT */
/* F32, F47: what an SMMUv3 does with a transaction, event by event; over tables written by hand. */
#include "hw/smmuv3_walk.h"

#include "random.h"
#include "suite.h"

#include <check.h>
#include <string.h>

#define BYTES 0x40000u

/* Physical memory from 0 on. The tables stand at these addresses: */
static uint64_t memory[BYTES / 8];
#define STREAMS  0x1000u /* two levels: the first, ... */
#define STREAMS2 0x4000u /* ... the second of stream ids 0x100 to 0x1ff */
#define CONTEXTS 0x8000u
#define LEAF     0x9000u
#define FIRST    0x10000u /* tables of the first stage, level by level */
#define SECOND   0x20000u

#define STREAM  0x108u
#define ADDRESS UINT64_C(0x123456789008)

static struct smmuv3_walk_result result;
static struct smmuv3_request request;
static struct smmuv3_streams streams;

static uint64_t read_word(void *ctx, uint64_t phys, bool *ok)
{
	(void)ctx;
	if (phys >= BYTES || phys % 8) {
		*ok = false;
		return 0;
	}
	return memory[phys / 8];
}

static enum smmuv3_stop walk(void)
{
	const struct smmuv3_memory reader = {.read = read_word};

	smmuv3_walk(&reader, &streams, &request, &result);
	ck_assert_uint_le(result.step_count, SMMUV3_STEPS_MAX);
	return result.stop;
}

static void ste_set(enum smmuv3_ste_field field, uint64_t value)
{
	smmuv3_ste_set(&memory[(STREAMS2 + 8 * 64) / 8], field, value);
}

static void cd_set(uint64_t at, enum smmuv3_cd_field field, uint64_t value)
{
	smmuv3_cd_set(&memory[at / 8], field, value);
}

static uint64_t shift_of(uint32_t level)
{
	return 12 + 9 * (3 - (uint64_t)level);
}

/* The descriptor of an address at a level, when a table of each level follows the other. */
static uint64_t *pte_at(uint64_t tables, uint32_t level, uint64_t address)
{
	return &memory[(tables + level * 0x1000ul) / 8 + (address >> shift_of(level) & 511)];
}

/* Maps the page of an address; `last`: the level that has it. */
static void map(uint64_t tables, bool first, uint64_t address, uint64_t phys, uint32_t last)
{
	for (uint32_t level = 0; level <= last; level++) {
		struct smmuv3_pte pte = {.valid = true,
			.table = level < last || last == 3,
			.accessed = level == last,
			.read = true,
			.write = true,
			.user = true,
			.address = level == last ? phys : tables + (level + 1) * 0x1000ul};

		*pte_at(tables, level, address) = smmuv3_pte_encode(first, &pte);
	}
}

static void write_cd(uint64_t at)
{
	cd_set(at, SMMUV3_CD_V, 1);
	cd_set(at, SMMUV3_CD_AA64, 1);
	cd_set(at, SMMUV3_CD_T0SZ, 16);
	cd_set(at, SMMUV3_CD_TTB0, FIRST);
}

/* One function with four descriptors, first stage only. */
static void begin(void)
{
	memset(memory, 0, sizeof(memory));
	streams = (struct smmuv3_streams){.base = STREAMS, .width = 16, .two_level = true};
	request = (struct smmuv3_request){
		.stream = STREAM, .has_substream = true, .substream = 2, .address = ADDRESS};
	memory[STREAMS / 8 + 1] = STREAMS2 | 9;
	ste_set(SMMUV3_STE_V, 1);
	ste_set(SMMUV3_STE_Config, SMMUV3_STAGE1);
	ste_set(SMMUV3_STE_S1ContextPtr, CONTEXTS);
	ste_set(SMMUV3_STE_S1CDMax, 2);
	ste_set(SMMUV3_STE_S1DSS, SMMUV3_DSS_ZERO);
	write_cd(CONTEXTS + 2 * 64);
	map(FIRST, true, ADDRESS, 0x30000, 3);
}

static void second_stage(uint64_t config)
{
	ste_set(SMMUV3_STE_Config, config);
	ste_set(SMMUV3_STE_S2T0SZ, 16);
	ste_set(SMMUV3_STE_S2SL0, 2);
	ste_set(SMMUV3_STE_S2AA64, 1);
	ste_set(SMMUV3_STE_S2TTB, SECOND);
}

START_TEST(a_page_is_reached)
	{
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, 0x30008);
		ck_assert_uint_eq(result.page_size, 4096);
		ck_assert(result.writeable && result.has_ste && result.has_cd);
		ck_assert_uint_eq(result.step_count, 7);
		request.write = true;
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
	}
END_TEST

START_TEST(streams_that_there_are_not)
	{
		request.stream = 0x10000 | STREAM;
		ck_assert_int_eq(walk(), SMMUV3_BAD_STREAMID);
		request.stream = 0x208;
		ck_assert_int_eq(walk(), SMMUV3_BAD_STREAMID);
		request.stream = STREAM + 1;
		ck_assert_int_eq(walk(), SMMUV3_BAD_STE);
		/* a second level that ends before it */
		request.stream = STREAM;
		memory[STREAMS / 8 + 1] = STREAMS2 | 4;
		ck_assert_int_eq(walk(), SMMUV3_BAD_STREAMID);
		memory[STREAMS / 8 + 1] = STREAMS2 | 5;
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		streams = (struct smmuv3_streams){.base = STREAMS2, .width = 4};
		request.stream = 8;
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.step_count, 6);
		request.stream = 16;
		ck_assert_int_eq(walk(), SMMUV3_BAD_STREAMID);
	}
END_TEST

START_TEST(substreams_that_there_are_not)
	{
		request.substream = 3;
		ck_assert_int_eq(walk(), SMMUV3_BAD_CD);
		request.substream = 4;
		ck_assert_int_eq(walk(), SMMUV3_BAD_SUBSTREAMID);
		request.substream = 0; /* is what those without one use */
		ck_assert_int_eq(walk(), SMMUV3_BAD_SUBSTREAMID);
		request.substream = 2;
		ste_set(SMMUV3_STE_S1CDMax, 0);
		ck_assert_int_eq(walk(), SMMUV3_BAD_SUBSTREAMID);
		ste_set(SMMUV3_STE_Config, SMMUV3_BYPASS);
		ck_assert_int_eq(walk(), SMMUV3_BAD_SUBSTREAMID);
		ste_set(SMMUV3_STE_Config, SMMUV3_ABORT);
		ck_assert_int_eq(walk(), SMMUV3_ABORTED);
	}
END_TEST

START_TEST(transactions_without_a_substream)
	{
		request.has_substream = false;
		ck_assert_int_eq(walk(), SMMUV3_BAD_CD);
		write_cd(CONTEXTS);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, 0x30008);
		ste_set(SMMUV3_STE_S1DSS, SMMUV3_DSS_TERMINATE);
		ck_assert_int_eq(walk(), SMMUV3_DISABLED);
		ste_set(SMMUV3_STE_S1DSS, SMMUV3_DSS_BYPASS);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, ADDRESS);
		ste_set(SMMUV3_STE_S1DSS, SMMUV3_DSS_TERMINATE);
		ste_set(SMMUV3_STE_S1CDMax, 0);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, 0x30008);
		ste_set(SMMUV3_STE_Config, SMMUV3_BYPASS);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, ADDRESS);
	}
END_TEST

/* Leaves of 64 and of 1024 descriptors. */
START_TEST(tables_of_two_levels)
	{
		const uint32_t bits = _i ? 10 : 6, number = 1u << bits | 2;

		ste_set(SMMUV3_STE_S1Fmt, _i ? SMMUV3_LEAF_64K : SMMUV3_LEAF_4K);
		ste_set(SMMUV3_STE_S1CDMax, 12);
		request.substream = number;
		ck_assert_int_eq(walk(), SMMUV3_BAD_SUBSTREAMID);
		memory[CONTEXTS / 8 + 1] = LEAF | SMMUV3_L1CD_V;
		ck_assert_int_eq(walk(), SMMUV3_BAD_CD);
		write_cd(LEAF + 2 * 64);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ste_set(SMMUV3_STE_S1Fmt, 3);
		ck_assert_int_eq(walk(), SMMUV3_BAD_STE);
	}
END_TEST

START_TEST(descriptors_that_say_what_they_may_not)
	{
		const uint64_t cd = CONTEXTS + 2 * 64;

		cd_set(cd, SMMUV3_CD_AA64, 0);
		ck_assert_int_eq(walk(), SMMUV3_BAD_CD);
		write_cd(cd);
		cd_set(cd, SMMUV3_CD_TG0, 1);
		ck_assert_int_eq(walk(), SMMUV3_BAD_CD);
		cd_set(cd, SMMUV3_CD_TG0, 0);
		cd_set(cd, SMMUV3_CD_T0SZ, 15);
		ck_assert_int_eq(walk(), SMMUV3_BAD_CD);
		cd_set(cd, SMMUV3_CD_T0SZ, 40);
		ck_assert_int_eq(walk(), SMMUV3_BAD_CD);
		cd_set(cd, SMMUV3_CD_T0SZ, 16);
		cd_set(cd, SMMUV3_CD_EPD0, 1);
		ck_assert_int_eq(walk(), SMMUV3_TRANSLATION);
		ck_assert_uint_eq(result.stage, 1);
		cd_set(cd, SMMUV3_CD_EPD0, 0);
		request.address |= UINT64_C(1) << 48;
		ck_assert_int_eq(walk(), SMMUV3_TRANSLATION);
	}
END_TEST

START_TEST(narrow_tables_begin_later)
	{
		const uint64_t cd = CONTEXTS + 2 * 64;

		request.address = UINT64_C(0x3456789008);
		cd_set(cd, SMMUV3_CD_T0SZ, 25); /* 39 bits */
		cd_set(cd, SMMUV3_CD_TTB0, FIRST + 0x1000);
		map(FIRST, true, request.address, 0x31000, 3);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, 0x31008);
		ck_assert_uint_eq(result.step_count, 6);
		request.address |= UINT64_C(1) << 39;
		ck_assert_int_eq(walk(), SMMUV3_TRANSLATION);
	}
END_TEST

START_TEST(blocks)
	{
		map(FIRST, true, ADDRESS, UINT64_C(0x200000) * 7, 2);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.page_size, 0x200000);
		ck_assert_uint_eq(result.phys, 0x200000ul * 7 + (ADDRESS & 0x1fffff));
		map(FIRST, true, ADDRESS, UINT64_C(0x40000000) * 3, 1);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.page_size, 0x40000000);
		ck_assert_uint_eq(result.phys, UINT64_C(0x40000000) * 3 + (ADDRESS & 0x3fffffff));
		/* none of 512 GiB, and no page that is a block */
		map(FIRST, true, ADDRESS, 0, 0);
		ck_assert_int_eq(walk(), SMMUV3_TRANSLATION);
		map(FIRST, true, ADDRESS, 0x30000, 3);
		*pte_at(FIRST, 3, ADDRESS) &= ~UINT64_C(2);
		ck_assert_int_eq(walk(), SMMUV3_TRANSLATION);
	}
END_TEST

START_TEST(rights)
	{
		uint64_t *page = pte_at(FIRST, 3, ADDRESS), *table = pte_at(FIRST, 1, ADDRESS);

		*page ^= UINT64_C(1) << 10; /* AF */
		ck_assert_int_eq(walk(), SMMUV3_ACCESS);
		cd_set(CONTEXTS + 2 * 64, SMMUV3_CD_AFFD, 1);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		*page ^= UINT64_C(1) << 10;
		*page ^= UINT64_C(1) << 7; /* AP[2]: read-only */
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert(!result.writeable);
		request.write = true;
		ck_assert_int_eq(walk(), SMMUV3_PERMISSION);
		*page ^= UINT64_C(1) << 7;
		*table ^= UINT64_C(1) << 62; /* APTable: the same for all below */
		ck_assert_int_eq(walk(), SMMUV3_PERMISSION);
		request.write = false;
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		*table ^= UINT64_C(1) << 61; /* privileged only */
		ck_assert_int_eq(walk(), SMMUV3_PERMISSION);
		*table = smmuv3_pte_encode(
			true, &(struct smmuv3_pte){
				      .valid = true, .table = true, .address = FIRST + 0x2000});
		*page ^= UINT64_C(1) << 6; /* AP[1] */
		ck_assert_int_eq(walk(), SMMUV3_PERMISSION);
		*page = 0;
		ck_assert_int_eq(walk(), SMMUV3_TRANSLATION);
	}
END_TEST

/* Every address that the first stage has goes through the second: of the table of descriptors, of
   each page table, and of the page. F47 */
START_TEST(nested)
	{
		static const uint64_t used[] = {
			CONTEXTS, FIRST, FIRST + 0x1000, FIRST + 0x2000, FIRST + 0x3000, 0x30000};

		second_stage(SMMUV3_NESTED);
		for (size_t i = 0; i < ARRAY_SIZE(used); i++) {
			ck_assert_int_eq(walk(), SMMUV3_TRANSLATION);
			ck_assert_uint_eq(result.stage, 2);
			map(SECOND, false, used[i], used[i] == 0x30000 ? 0x35000 : used[i], 3);
		}
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, 0x35008);
		ck_assert_uint_eq(result.step_count, 2 + 1 + 4 + 4 * 5 + 4);
		/* the second stage may forbid, whatever the first allows */
		*pte_at(SECOND, 3, 0x30000) &= ~(UINT64_C(1) << 7);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert(!result.writeable);
		request.write = true;
		ck_assert_int_eq(walk(), SMMUV3_PERMISSION);
		ck_assert_uint_eq(result.stage, 2);
		request.write = false;
		*pte_at(SECOND, 3, FIRST) &= ~(UINT64_C(1) << 6);
		ck_assert_int_eq(walk(), SMMUV3_PERMISSION);
		ck_assert_uint_eq(result.stage, 2);
	}
END_TEST

START_TEST(the_second_stage_alone)
	{
		request.has_substream = false;
		request.address = 0x30008;
		second_stage(SMMUV3_STAGE2);
		map(SECOND, false, 0x30000, 0x36000, 3);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, 0x36008);
		request.address = UINT64_C(1) << 48;
		ck_assert_int_eq(walk(), SMMUV3_TRANSLATION);
		/* two tables side by side at level 1: 40 bits */
		ste_set(SMMUV3_STE_S2T0SZ, 24);
		ste_set(SMMUV3_STE_S2SL0, 1);
		ste_set(SMMUV3_STE_S2TTB, 0x28000);
		request.address = UINT64_C(0x8000030008);
		memory[(0x28000 + 0x1000) / 8] = (SECOND + 0x2000) | 3;
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, 0x36008);
		ste_set(SMMUV3_STE_S2SL0, 3);
		ck_assert_int_eq(walk(), SMMUV3_BAD_STE);
		ste_set(SMMUV3_STE_S2SL0, 2); /* level 0 would have one entry at most */
		ste_set(SMMUV3_STE_S2T0SZ, 25);
		ck_assert_int_eq(walk(), SMMUV3_BAD_STE);
		ste_set(SMMUV3_STE_S2TG, 1);
		ste_set(SMMUV3_STE_S2T0SZ, 16);
		ck_assert_int_eq(walk(), SMMUV3_BAD_STE);
	}
END_TEST

START_TEST(addresses_that_are_too_wide)
	{
		const uint64_t wide = UINT64_C(1) << 36;

		*pte_at(FIRST, 3, ADDRESS) |= wide;
		ck_assert_int_eq(walk(), SMMUV3_ADDR_SIZE);
		ck_assert_uint_eq(result.stage, 1);
		cd_set(CONTEXTS + 2 * 64, SMMUV3_CD_IPS, 2); /* 40 bits */
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
		ck_assert_uint_eq(result.phys, wide | 0x30008);
		request.has_substream = false;
		request.address = 0x30008;
		second_stage(SMMUV3_STAGE2);
		map(SECOND, false, 0x30000, wide, 3);
		ck_assert_int_eq(walk(), SMMUV3_ADDR_SIZE);
		ck_assert_uint_eq(result.stage, 2);
		ste_set(SMMUV3_STE_S2PS, 5);
		ck_assert_int_eq(walk(), SMMUV3_REACHED);
	}
END_TEST

START_TEST(memory_that_cannot_be_read_is_said)
	{
		*pte_at(FIRST, 2, ADDRESS) = (BYTES + 0x1000) | 3;
		ck_assert_int_eq(walk(), SMMUV3_UNREADABLE);
		ste_set(SMMUV3_STE_S1ContextPtr, BYTES);
		ck_assert_int_eq(walk(), SMMUV3_UNREADABLE);
		memory[STREAMS / 8 + 1] = BYTES | 9;
		ck_assert_int_eq(walk(), SMMUV3_UNREADABLE);
		streams.base = BYTES;
		ck_assert_int_eq(walk(), SMMUV3_UNREADABLE);
	}
END_TEST

/* Whatever stands in memory: it ends, within its steps, and says something. */
START_TEST(any_bits_are_survived)
	{
		struct random rng = random_begin("any_bits_are_survived");
		uint32_t seen[SMMUV3_STOP_COUNT] = {0};

		for (uint32_t round = 0; round < 20000; round++) {
			begin();
			if (random_chance(&rng, 50))
				second_stage(SMMUV3_NESTED);
			for (uint32_t i = random_below(&rng, 12); i > 0; i--) {
				static const uint32_t at[] = {STREAMS + 8, STREAMS2 + 512,
					STREAMS2 + 520, STREAMS2 + 528, STREAMS2 + 536,
					CONTEXTS + 128, CONTEXTS + 136, FIRST, SECOND};
				uint32_t word = at[random_below(&rng, ARRAY_SIZE(at))] / 8;

				memory[word] ^= UINT64_C(1) << random_below(&rng, 64);
			}
			for (uint32_t i = random_below(&rng, 3); i > 0; i--)
				memory[random_below(&rng, BYTES / 8)] =
					(uint64_t)random_below(&rng, BYTES) | 0x7c3;
			request.has_substream = random_chance(&rng, 70);
			request.write = random_chance(&rng, 50);
			seen[walk()]++;
			ck_assert_str_ne(smmuv3_stop_text(result.stop), "");
		}
		ck_assert_uint_gt(seen[SMMUV3_REACHED], 0);
		ck_assert_uint_gt(seen[SMMUV3_BAD_CD], 0);
	}
END_TEST

START_TEST(words_for_people)
	{
		ck_assert_str_eq(smmuv3_stop_text(SMMUV3_BAD_SUBSTREAMID), "C_BAD_SUBSTREAMID");
		ck_assert_str_eq(smmuv3_stop_text(SMMUV3_STOP_COUNT), "unknown");
		ck_assert_str_eq(
			smmuv3_stop_sentence(SMMUV3_TRANSLATION), "nothing is mapped there");
		ck_assert_str_eq(smmuv3_stop_sentence(SMMUV3_STOP_COUNT), "unknown");
		ck_assert_str_eq(smmuv3_step_text(SMMUV3_STEP_CD), "context");
		ck_assert_str_eq(smmuv3_step_text((enum smmuv3_step_kind)99), "unknown");
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {
		{a_page_is_reached, 1},
		{streams_that_there_are_not, 1},
		{substreams_that_there_are_not, 1},
		{transactions_without_a_substream, 1},
		{tables_of_two_levels, 2},
		{descriptors_that_say_what_they_may_not, 1},
		{narrow_tables_begin_later, 1},
		{blocks, 1},
		{rights, 1},
		{nested, 1},
		{the_second_stage_alone, 1},
		{addresses_that_are_too_wide, 1},
		{memory_that_cannot_be_read_is_said, 1},
		{any_bits_are_survived, 1},
		{words_for_people, 1},
	};
	Suite *suite = suite_create("smmuv3_walk");
	TCase *tc = tcase_create("walk");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, begin, NULL);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i].test, 0, tests[i].count);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
