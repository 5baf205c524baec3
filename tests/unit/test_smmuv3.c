/* SPDX-License-Identifier: MIT */
/* F32, F33: what an SMMUv3 can do, and which stream table entries of a guest are refused, and why.
 */
#include "hw/smmuv3.h"

#include "hw/smmuv3_table.h"
#include "hw/uapi.h"
#include "suite.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static struct smmuv3_caps all_caps(void)
{
	return (struct smmuv3_caps){
		.stage1 = true,
		.stage2 = true,
		.two_level_cd = true,
		.two_level_stream = true,
		.substream_width = 16,
		.stream_width = 16,
		.granule_4k = true,
		.output_width = 44,
	};
}

static struct hw_info info_of(const struct smmuv3_caps *caps, uint32_t device_width)
{
	struct calls_info raw = {.type = HW_IOMMU_SMMUV3, .max_pasid_log2 = device_width};
	struct hw_info info = {.iommu = HW_IOMMU_SMMUV3, .pasid_width = device_width};

	smmuv3_caps_encode(caps, raw.raw);
	memcpy(info.raw, raw.raw, sizeof(info.raw));
	smmuv3_kind.decode(&raw, &info);
	return info;
}

START_TEST(trap_01_width_is_that_of_the_narrower)
	{
		struct smmuv3_caps caps = all_caps();

		ck_assert_uint_eq(info_of(&caps, 20).pasid_width, 16);
		ck_assert_uint_eq(info_of(&caps, 8).pasid_width, 8);
		ck_assert_uint_eq(info_of(&caps, 8).caps, HW_CAP_PASID | HW_CAP_NESTED);
		ck_assert_uint_eq(info_of(&caps, 0).pasid_width, 0);
		ck_assert_uint_eq(info_of(&caps, 0).caps, HW_CAP_NESTED);
		caps.substream_width = 0;
		ck_assert_uint_eq(info_of(&caps, 20).pasid_width, 0);
		ck_assert_uint_eq(info_of(&caps, 20).caps, HW_CAP_NESTED);
	}
END_TEST

START_TEST(nesting_needs_both_stages)
	{
		struct smmuv3_caps caps = all_caps();
		struct hw_info info;
		struct hw_table table = {.kind = HW_TABLE_SMMUV3};
		struct error error;

		caps.stage2 = false;
		info = info_of(&caps, 8);
		ck_assert_uint_eq(info.caps, HW_CAP_PASID);
		ck_assert_int_eq(smmuv3_check_nested(&info, &table, &error), STATUS_UNSUPPORTED);
		ck_assert_uint_eq(error.reason, REASON_NO_NESTING);
		caps = all_caps();
		caps.stage1 = false;
		ck_assert_uint_eq(info_of(&caps, 8).caps, HW_CAP_PASID);
	}
END_TEST

static struct hw_table entry(uint64_t config)
{
	struct hw_table table = {.kind = HW_TABLE_SMMUV3};

	smmuv3_ste_set(table.ste, SMMUV3_STE_V, 1);
	smmuv3_ste_set(table.ste, SMMUV3_STE_Config, config);
	return table;
}

/* As Linux writes it for a device with substreams. */
static struct hw_table linux_entry(void)
{
	struct hw_table table = entry(SMMUV3_STAGE1);

	smmuv3_ste_set(table.ste, SMMUV3_STE_S1Fmt, SMMUV3_LEAF_64K);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, 0x40001000);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 16);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1DSS, SMMUV3_DSS_ZERO);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1CIR, 1);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1COR, 1);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1CSH, 3);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1STALLD, 1);
	smmuv3_ste_set(table.ste, SMMUV3_STE_EATS, SMMUV3_EATS_ON);
	return table;
}

static void accepts(const struct smmuv3_caps *caps, const struct hw_table *table)
{
	const struct hw_info info = info_of(caps, 20);
	struct error error = {0};

	ck_assert_msg(smmuv3_check_nested(&info, table, &error) == 0, "refused: %s", error.text);
}

static void refuses(const struct smmuv3_caps *caps, const struct hw_table *table, const char *name)
{
	const struct hw_info info = info_of(caps, 20);
	struct error error = {0};

	ck_assert_int_eq(smmuv3_check_nested(&info, table, &error), STATUS_INVALID);
	ck_assert_uint_eq(error.reason, REASON_TABLE_FIELD);
	ck_assert_msg(strstr(error.text, name) != NULL, "no %s in: %s", name, error.text);
}

START_TEST(entries_that_guests_write_are_accepted)
	{
		const struct smmuv3_caps caps = all_caps();
		struct hw_table table = linux_entry();

		accepts(&caps, &table);
		table = entry(SMMUV3_ABORT);
		accepts(&caps, &table);
		table = entry(SMMUV3_BYPASS);
		accepts(&caps, &table);
		table = entry(SMMUV3_STAGE1);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, 0x40);
		accepts(&caps, &table);
	}
END_TEST

/* Each bit that is not named in trap 8, one by one. */
START_TEST(trap_08_other_bits_are_refused_by_name)
	{
		static const uint64_t accepted[] = {
			UINT64_C(0xf80fffffffffffff), UINT64_C(0x380000ff)};
		const struct smmuv3_caps caps = all_caps();
		uint32_t refused = 0;

		for (uint32_t word = 0; word < 2; word++)
			for (uint32_t bit = 0; bit < 64; bit++) {
				struct hw_table table = entry(SMMUV3_BYPASS);

				if (accepted[word] >> bit & 1)
					continue;
				table.ste[word] |= UINT64_C(1) << bit;
				refuses(&caps, &table, smmuv3_ste_name(smmuv3_ste_find(word, bit)));
				refused++;
			}
		ck_assert_uint_eq(refused, 7 + 53);
	}
END_TEST

START_TEST(trap_08_configurations_with_a_second_stage_are_refused)
	{
		const struct smmuv3_caps caps = all_caps();

		for (uint64_t config = 0; config < 8; config++) {
			struct hw_table table = entry(config);

			if (config == SMMUV3_ABORT || config == SMMUV3_BYPASS ||
				config == SMMUV3_STAGE1)
				accepts(&caps, &table);
			else
				refuses(&caps, &table, "Config");
		}
	}
END_TEST

START_TEST(trap_08_split_ats_is_refused)
	{
		const struct smmuv3_caps caps = all_caps();
		struct hw_table table = linux_entry();

		for (uint64_t eats = 2; eats < 4; eats++) {
			smmuv3_ste_set(table.ste, SMMUV3_STE_EATS, eats);
			refuses(&caps, &table, "EATS");
		}
	}
END_TEST

START_TEST(more_descriptors_than_substreams_are_refused)
	{
		struct smmuv3_caps caps = all_caps();
		struct hw_table table = linux_entry();
		struct hw_info info = info_of(&caps, 8);
		struct error error;

		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 17);
		refuses(&caps, &table, "S1CDMax");
		/* that of the device counts, too */
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 9);
		ck_assert_int_eq(smmuv3_check_nested(&info, &table, &error), STATUS_INVALID);
		ck_assert_uint_eq(error.limit, 8);
		ck_assert_uint_eq(error.used, 9);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 8);
		ck_assert_int_eq(smmuv3_check_nested(&info, &table, &error), 0);
		caps.substream_width = 0;
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 1);
		refuses(&caps, &table, "S1CDMax");
		/* without substreams format and default mean nothing */
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 0);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1Fmt, 3);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1DSS, 3);
		accepts(&caps, &table);
	}
END_TEST

START_TEST(formats_that_the_smmu_does_not_read_are_refused)
	{
		struct smmuv3_caps caps = all_caps();
		struct hw_table table = linux_entry();

		smmuv3_ste_set(table.ste, SMMUV3_STE_S1Fmt, 3);
		refuses(&caps, &table, "S1Fmt");
		caps.two_level_cd = false;
		for (uint64_t format = SMMUV3_LEAF_4K; format <= SMMUV3_LEAF_64K; format++) {
			smmuv3_ste_set(table.ste, SMMUV3_STE_S1Fmt, format);
			refuses(&caps, &table, "S1Fmt");
		}
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1Fmt, SMMUV3_LINEAR);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, 1 << 22);
		accepts(&caps, &table);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1DSS, 3);
		refuses(&caps, &table, "S1DSS");
	}
END_TEST

START_TEST(tables_out_of_reach_are_refused)
	{
		struct smmuv3_caps caps = all_caps();
		struct hw_table table = linux_entry();

		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, UINT64_C(1) << 44);
		refuses(&caps, &table, "S1ContextPtr");
		caps.output_width = 48;
		accepts(&caps, &table);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, 0x40000200);
		accepts(&caps, &table);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, 0x40000100);
		refuses(&caps, &table, "S1ContextPtr");
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1Fmt, SMMUV3_LINEAR);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 1);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, 0x40000040);
		refuses(&caps, &table, "S1ContextPtr");
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 0);
		accepts(&caps, &table);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 16);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, 1 << 21);
		refuses(&caps, &table, "S1ContextPtr");
	}
END_TEST

/* What a bypass or an abort does not read may say anything that the kernel takes. */
START_TEST(fields_without_meaning_are_not_checked)
	{
		const struct smmuv3_caps caps = all_caps();
		struct hw_table table = entry(SMMUV3_BYPASS);

		smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, 31);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1Fmt, 3);
		smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, UINT64_C(1) << 51);
		accepts(&caps, &table);
	}
END_TEST

static struct calls_hwpt asked;
static uint64_t asked_words[2];

static int take_hwpt(void *ctx, int iommufd, const struct calls_hwpt *hwpt, uint32_t *ret_hwpt)
{
	(void)ctx, (void)iommufd;
	asked = *hwpt;
	ck_assert_uint_eq(hwpt->data_len, sizeof(asked_words));
	memcpy(asked_words, hwpt->data, sizeof(asked_words));
	*ret_hwpt = 9;
	return 0;
}

START_TEST(trap_07_the_kernel_gets_two_words_and_no_flag)
	{
		const struct calls calls = {.hwpt_alloc = take_hwpt};
		struct hw_table table = linux_entry();
		uint32_t hwpt;

		ck_assert_int_eq(smmuv3_kind.nest(&calls, NULL, 5, 3, 77, &table, &hwpt), 0);
		ck_assert_uint_eq(asked.flags, 0);
		ck_assert_uint_eq(asked.dev_id, 3);
		ck_assert_uint_eq(asked.pt_id, 77);
		ck_assert_uint_eq(asked.data_type, UAPI_HWPT_DATA_ARM_SMMUV3);
		ck_assert_uint_eq(asked_words[0], htole64(table.ste[0]));
		ck_assert_uint_eq(asked_words[1], htole64(table.ste[1]));
		ck_assert_uint_eq(hwpt, 9);
	}
END_TEST

/* The kernel makes an abort of it, so that its other bits are nobody's. */
START_TEST(an_entry_that_is_not_valid_aborts)
	{
		const struct calls calls = {.hwpt_alloc = take_hwpt};
		const struct smmuv3_caps caps = all_caps();
		struct hw_table table = {
			.kind = HW_TABLE_SMMUV3, .ste = {~UINT64_C(1), ~UINT64_C(0)}};
		uint32_t hwpt;

		accepts(&caps, &table);
		ck_assert_int_eq(smmuv3_kind.nest(&calls, NULL, 5, 3, 77, &table, &hwpt), 0);
		ck_assert_uint_eq(asked_words[0] | asked_words[1], 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		trap_01_width_is_that_of_the_narrower,
		nesting_needs_both_stages,
		entries_that_guests_write_are_accepted,
		trap_08_other_bits_are_refused_by_name,
		trap_08_configurations_with_a_second_stage_are_refused,
		trap_08_split_ats_is_refused,
		more_descriptors_than_substreams_are_refused,
		formats_that_the_smmu_does_not_read_are_refused,
		tables_out_of_reach_are_refused,
		fields_without_meaning_are_not_checked,
		trap_07_the_kernel_gets_two_words_and_no_flag,
		an_entry_that_is_not_valid_aborts,
	};

	return suite_run("smmuv3", "entries", tests, ARRAY_SIZE(tests), NULL, NULL);
}
