/* SPDX-License-Identifier: MIT */
#include "smmuv3.h"

#include "smmuv3_table.h"
#include "uapi.h"

#include <assert.h>
#include <endian.h>

_Static_assert(ARRAY_SIZE(((struct hw_table *)0)->ste) == UAPI_STE_WORDS, "passed through");

/* The kernel's mask of S1ContextPtr ends at bit 51 (STRTAB_STE_0_S1CTXPTR_MASK). */
#define CONTEXT_BITS 52u

static void smmuv3_decode(const struct calls_info *raw, struct hw_info *info)
{
	const struct smmuv3_caps caps = smmuv3_caps_decode(raw->raw);

	if (info->pasid_width > caps.substream_width)
		info->pasid_width = caps.substream_width;
	info->caps = info->pasid_width > 0 ? HW_CAP_PASID : 0;
	/* Whether the platform is coherent enough, too, is known when a vIOMMU is made. */
	if (caps.stage1 && caps.stage2)
		info->caps |= HW_CAP_NESTED;
}

static uint64_t smmuv3_accepted(uint32_t word)
{
	static const enum smmuv3_ste_field accepted[UAPI_STE_WORDS][6] = {
		{SMMUV3_STE_V, SMMUV3_STE_Config, SMMUV3_STE_S1Fmt, SMMUV3_STE_S1ContextPtr,
			SMMUV3_STE_S1CDMax, SMMUV3_STE_V},
		{SMMUV3_STE_S1DSS, SMMUV3_STE_S1CIR, SMMUV3_STE_S1COR, SMMUV3_STE_S1CSH,
			SMMUV3_STE_S1STALLD, SMMUV3_STE_EATS},
	};
	uint64_t mask = 0;

	for (size_t i = 0; i < ARRAY_SIZE(accepted[word]); i++)
		mask |= smmuv3_ste_mask(accepted[word][i]);
	if (word == 0)
		mask &= ~(smmuv3_ste_mask(SMMUV3_STE_S1ContextPtr) &
			  ~((UINT64_C(1) << CONTEXT_BITS) - 1));
	return mask;
}

/* Nothing may be set that the kernel does not take from a guest. */
static int smmuv3_check_bits(const struct hw_table *table, struct error *ret_error)
{
	for (uint32_t word = 0; word < UAPI_STE_WORDS; word++) {
		uint64_t rest = table->ste[word] & ~smmuv3_accepted(word);
		uint32_t bit = rest ? (uint32_t)__builtin_ctzll(rest) : 0;

		if (rest)
			return error_set(ret_error, REASON_TABLE_FIELD,
				"%s (bit %u of word %u) is not a guest's to set in its stream "
				"table entry: clear it",
				smmuv3_ste_name(smmuv3_ste_find(word, bit)), bit, word);
	}
	return 0;
}

/* 5.2: the table of context descriptors lies where the SMMU can read it. */
static int smmuv3_check_context(
	const struct smmuv3_caps *caps, const struct hw_table *table, struct error *ret_error)
{
	uint64_t context = smmuv3_ste_get(table->ste, SMMUV3_STE_S1ContextPtr);
	uint64_t format = smmuv3_ste_get(table->ste, SMMUV3_STE_S1Fmt);
	uint32_t cdmax = (uint32_t)smmuv3_ste_get(table->ste, SMMUV3_STE_S1CDMax);
	uint32_t align = smmuv3_context_align(cdmax ? format : SMMUV3_LINEAR, cdmax);
	uint32_t width = caps->output_width;

	assert(width <= CONTEXT_BITS);
	if (context >> width)
		return error_set_limit(ret_error, REASON_TABLE_FIELD, context,
			(UINT64_C(1) << width) - 1, context,
			"S1ContextPtr 0x%llx is beyond the %u address bits of the SMMU (IDR5.OAS)",
			(unsigned long long)context, width);
	if (context & ((UINT64_C(1) << align) - 1))
		return error_set(ret_error, REASON_TABLE_FIELD,
			"S1ContextPtr 0x%llx must be aligned to 2^%u bytes, the size of a table "
			"for S1CDMax %u",
			(unsigned long long)context, align, cdmax);
	return 0;
}

static int smmuv3_check_stage1(
	const struct hw_info *info, const struct hw_table *table, struct error *ret_error)
{
	const struct smmuv3_caps caps = smmuv3_caps_decode(info->raw);
	uint64_t format = smmuv3_ste_get(table->ste, SMMUV3_STE_S1Fmt);
	uint64_t cdmax = smmuv3_ste_get(table->ste, SMMUV3_STE_S1CDMax);

	if (cdmax > info->pasid_width)
		return error_set_limit(ret_error, REASON_TABLE_FIELD, cdmax, info->pasid_width,
			cdmax,
			"S1CDMax %llu is beyond the %u PASID bits of device and SMMU "
			"(IDR1.SSIDSIZE)",
			(unsigned long long)cdmax, info->pasid_width);
	if (cdmax > 0 && format > SMMUV3_LEAF_64K)
		return error_set(ret_error, REASON_TABLE_FIELD,
			"S1Fmt 3 is reserved: 0 is a linear table, 1 and 2 have two levels");
	if (cdmax > 0 && format != SMMUV3_LINEAR && !caps.two_level_cd)
		return error_set(ret_error, REASON_TABLE_FIELD,
			"S1Fmt %llu: the SMMU reads linear tables of context descriptors only "
			"(IDR0.CD2L)",
			(unsigned long long)format);
	if (cdmax > 0 && smmuv3_ste_get(table->ste, SMMUV3_STE_S1DSS) > SMMUV3_DSS_ZERO)
		return error_set(ret_error, REASON_TABLE_FIELD,
			"S1DSS 3 is reserved: 0 terminates, 1 bypasses, 2 uses descriptor 0");
	return smmuv3_check_context(&caps, table, ret_error);
}

int smmuv3_check_nested(
	const struct hw_info *info, const struct hw_table *table, struct error *ret_error)
{
	uint64_t config = smmuv3_ste_get(table->ste, SMMUV3_STE_Config);
	uint64_t eats = smmuv3_ste_get(table->ste, SMMUV3_STE_EATS);
	int r;

	if (!(info->caps & HW_CAP_NESTED))
		return error_set(ret_error, REASON_NO_NESTING,
			"this SMMU does not have both stages (IDR0.S1P, IDR0.S2P)");
	if (!smmuv3_ste_get(table->ste, SMMUV3_STE_V))
		return 0;
	r = smmuv3_check_bits(table, ret_error);
	if (r)
		return r;
	if (config != SMMUV3_ABORT && config != SMMUV3_BYPASS && config != SMMUV3_STAGE1)
		return error_set(ret_error, REASON_TABLE_FIELD,
			"Config %llu is not a guest's: 0 aborts, 4 bypasses, 5 is stage 1",
			(unsigned long long)config);
	if (eats != SMMUV3_EATS_OFF && eats != SMMUV3_EATS_ON)
		return error_set(ret_error, REASON_TABLE_FIELD,
			"EATS %llu is not a guest's: 0 refuses, 1 is full ATS",
			(unsigned long long)eats);
	return config == SMMUV3_STAGE1 ? smmuv3_check_stage1(info, table, ret_error) : 0;
}

/* No flag is taken on such a table (trap 7); its parent is the guest's IOMMU. */
static int smmuv3_nest(const struct calls *calls, void *ctx, int iommufd, uint32_t dev_id,
	uint32_t viommu, const struct hw_table *table, uint32_t *ret_hwpt)
{
	bool valid = smmuv3_ste_get(table->ste, SMMUV3_STE_V);
	const struct uapi_hwpt_smmuv3 data = {
		.ste = {valid ? htole64(table->ste[0]) : 0, valid ? htole64(table->ste[1]) : 0},
	};
	const struct calls_hwpt hwpt = {
		.dev_id = dev_id,
		.pt_id = viommu,
		.data_type = UAPI_HWPT_DATA_ARM_SMMUV3,
		.data_len = sizeof(data),
		.data = &data,
	};

	return calls->hwpt_alloc(ctx, iommufd, &hwpt, ret_hwpt);
}

const struct backend_kind smmuv3_kind = {
	.name = "SMMUv3",
	.nests = HW_TABLE_SMMUV3,
	.decode = smmuv3_decode,
	.check_nested = smmuv3_check_nested,
	.nest = smmuv3_nest,
};
