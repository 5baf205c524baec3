/* SPDX-License-Identifier: MIT */
/* F32: the formats of SMMUv3's tables, both ways. */
#include "hw/smmuv3_table.h"

#include "random.h"
#include "suite.h"

#include <check.h>
#include <string.h>

/* Examples worked out by hand from Arm IHI 0070, section 5.2. */
START_TEST(a_stream_table_entry_is_read_field_by_field)
	{
		const uint64_t ste[SMMUV3_STE_WORDS] = {
			/* V, Config 5, S1Fmt 2, S1ContextPtr 0xfedcba9876540, S1CDMax 20 */
			UINT64_C(20) << 59 | UINT64_C(0x000fedcba9876540) | 2 << 4 | 5 << 1 | 1,
			/* S1DSS 2, S1CIR 1, S1COR 1, S1CSH 3, S1STALLD, EATS 1 */
			UINT64_C(0x180000d6),
			/* S2VMID 0x1234, S2T0SZ 16, S2SL0 2, S2TG 0, S2PS 5, S2AA64, S2R */
			UINT64_C(0x1234) | UINT64_C(16) << 32 | UINT64_C(2) << 38 |
				UINT64_C(5) << 48 | UINT64_C(1) << 51 | UINT64_C(1) << 58,
			UINT64_C(0x0000000123450000)};
		static const struct {
			enum smmuv3_ste_field field;
			uint64_t value;
		} is[] = {{SMMUV3_STE_V, 1}, {SMMUV3_STE_Config, SMMUV3_STAGE1},
			{SMMUV3_STE_S1Fmt, SMMUV3_LEAF_64K},
			{SMMUV3_STE_S1ContextPtr, UINT64_C(0x000fedcba9876540)},
			{SMMUV3_STE_S1CDMax, 20}, {SMMUV3_STE_S1DSS, SMMUV3_DSS_ZERO},
			{SMMUV3_STE_S1CIR, 1}, {SMMUV3_STE_S1COR, 1}, {SMMUV3_STE_S1CSH, 3},
			{SMMUV3_STE_S1STALLD, 1}, {SMMUV3_STE_EATS, SMMUV3_EATS_ON},
			{SMMUV3_STE_STRW, 0}, {SMMUV3_STE_S2VMID, 0x1234}, {SMMUV3_STE_S2T0SZ, 16},
			{SMMUV3_STE_S2SL0, 2}, {SMMUV3_STE_S2PS, 5}, {SMMUV3_STE_S2AA64, 1},
			{SMMUV3_STE_S2R, 1}, {SMMUV3_STE_S2PTW, 0},
			{SMMUV3_STE_S2TTB, UINT64_C(0x123450000)}};
		uint64_t made[SMMUV3_STE_WORDS] = {0};

		for (size_t i = 0; i < ARRAY_SIZE(is); i++) {
			ck_assert_uint_eq(smmuv3_ste_get(ste, is[i].field), is[i].value);
			smmuv3_ste_set(made, is[i].field, is[i].value);
		}
		ck_assert_mem_eq(made, ste, sizeof(ste));
	}
END_TEST

static uint64_t word_of(struct random *rng)
{
	return (uint64_t)random_next(rng) << 32 | random_next(rng);
}

START_TEST(a_field_changes_no_other)
	{
		struct random rng = random_begin("a_field_changes_no_other");

		for (uint32_t i = 0; i < 2000; i++) {
			enum smmuv3_ste_field field =
				(enum smmuv3_ste_field)(i % SMMUV3_STE_FIELD_COUNT);
			uint64_t ste[SMMUV3_STE_WORDS], before[SMMUV3_STE_WORDS];
			uint64_t value = word_of(&rng), got;

			for (size_t k = 0; k < SMMUV3_STE_WORDS; k++)
				ste[k] = before[k] = word_of(&rng);
			smmuv3_ste_set(ste, field, value);
			got = smmuv3_ste_get(ste, field);
			for (uint32_t other = 0; other < SMMUV3_STE_FIELD_COUNT; other++)
				if (other != field)
					ck_assert_uint_eq(smmuv3_ste_get(ste, other),
						smmuv3_ste_get(before, other));
			smmuv3_ste_set(ste, field, got);
			ck_assert_uint_eq(smmuv3_ste_get(ste, field), got);
			smmuv3_ste_set(ste, field, smmuv3_ste_get(before, field));
			ck_assert_mem_eq(ste, before, sizeof(ste));
		}
	}
END_TEST

START_TEST(every_bit_has_one_field_or_none)
	{
		uint64_t seen[4] = {0};

		for (uint32_t word = 0; word < 4; word++)
			for (uint32_t bit = 0; bit < 64; bit++) {
				enum smmuv3_ste_field field = smmuv3_ste_find(word, bit);

				if (field == SMMUV3_STE_FIELD_COUNT)
					continue;
				ck_assert(smmuv3_ste_mask(field) >> bit & 1);
				seen[word] |= UINT64_C(1) << bit;
			}
		ck_assert_uint_eq(seen[0], ~(UINT64_C(7) << 56));
		ck_assert_uint_eq(seen[1], UINT64_C(0xff1fffeffffff));
		ck_assert_str_eq(smmuv3_ste_name(smmuv3_ste_find(1, 25)), "S2FWB");
		ck_assert_str_eq(smmuv3_ste_name(smmuv3_ste_find(0, 57)), "a reserved bit");
	}
END_TEST

START_TEST(configurations_have_names)
	{
		static const char *const names[] = {"abort", "abort", "abort", "abort", "bypass",
			"stage-1", "stage-2", "nested", "abort"};

		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			ck_assert_str_eq(smmuv3_config_text(i), names[i]);
	}
END_TEST

/* A table is aligned to its size, and to a descriptor at least. */
START_TEST(tables_of_descriptors_are_aligned_to_their_size)
	{
		ck_assert_uint_eq(smmuv3_context_align(SMMUV3_LINEAR, 0), 6);
		ck_assert_uint_eq(smmuv3_context_align(SMMUV3_LINEAR, 8), 14);
		ck_assert_uint_eq(smmuv3_context_align(SMMUV3_LEAF_4K, 6), 6);
		ck_assert_uint_eq(smmuv3_context_align(SMMUV3_LEAF_4K, 20), 17);
		ck_assert_uint_eq(smmuv3_context_align(SMMUV3_LEAF_64K, 12), 6);
		ck_assert_uint_eq(smmuv3_context_align(SMMUV3_LEAF_64K, 20), 13);
	}
END_TEST

START_TEST(identification_registers_both_ways)
	{
		/* As a SMMU-600 would: S1, S2, two levels of everything, 20 bits, 48 bits out */
		uint64_t idr[SMMUV3_IDRS] = {0x8080403, 20 << 6 | 32, 0, 0x100, 0, 0x15}, made[6];
		struct smmuv3_caps caps = smmuv3_caps_decode(idr);
		static const uint32_t widths[] = {32, 36, 40, 42, 44, 48, 52, 52};

		ck_assert(caps.stage1 && caps.stage2 && caps.ats && caps.two_level_cd);
		ck_assert(caps.two_level_stream && caps.force_write_back && caps.granule_4k);
		ck_assert_uint_eq(caps.substream_width, 20);
		ck_assert_uint_eq(caps.stream_width, 32);
		smmuv3_caps_encode(&caps, made);
		ck_assert_mem_eq(made, idr, sizeof(idr));
		for (uint32_t i = 0; i < ARRAY_SIZE(widths); i++) {
			idr[5] = i;
			ck_assert_uint_eq(smmuv3_caps_decode(idr).output_width, widths[i]);
		}
		memset(idr, 0, sizeof(idr));
		caps = smmuv3_caps_decode(idr);
		ck_assert(!caps.stage1 && !caps.stage2 && !caps.two_level_cd && !caps.granule_4k);
		ck_assert_uint_eq(caps.substream_width, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_stream_table_entry_is_read_field_by_field,
		a_field_changes_no_other,
		every_bit_has_one_field_or_none,
		configurations_have_names,
		tables_of_descriptors_are_aligned_to_their_size,
		identification_registers_both_ways,
	};

	return suite_run("smmuv3_table", "formats", tests, ARRAY_SIZE(tests), NULL, NULL);
}
