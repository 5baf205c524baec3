/* SPDX-License-Identifier: MIT */
#include "smmuv3_table.h"

#include <assert.h>

/* --- identification registers --- */

#define IDR0_S2P    (1u << 0)
#define IDR0_S1P    (1u << 1)
#define IDR0_ATS    (1u << 10)
#define IDR0_CD2L   (1u << 19)
#define IDR0_LEVELS (1u << 27)
#define IDR3_FWB    (1u << 8)
#define IDR5_GRAN4K (1u << 4)

/* IDR5.OAS; 7 is 56 bits, of which tables of 4 KiB granules use 52. */
static const uint8_t output_widths[8] = {32, 36, 40, 42, 44, 48, 52, 52};

struct smmuv3_caps smmuv3_caps_decode(const uint64_t idr[SMMUV3_IDRS])
{
	return (struct smmuv3_caps){
		.stage1 = idr[0] & IDR0_S1P,
		.stage2 = idr[0] & IDR0_S2P,
		.ats = idr[0] & IDR0_ATS,
		.two_level_cd = idr[0] & IDR0_CD2L,
		.two_level_stream = idr[0] & IDR0_LEVELS,
		.substream_width = idr[1] >> 6 & 0x1f,
		.stream_width = idr[1] & 0x3f,
		.force_write_back = idr[3] & IDR3_FWB,
		.granule_4k = idr[5] & IDR5_GRAN4K,
		.output_width = output_widths[idr[5] & 7],
	};
}

void smmuv3_caps_encode(const struct smmuv3_caps *caps, uint64_t ret_idr[SMMUV3_IDRS])
{
	uint32_t oas = 0;

	while (oas < 6 && output_widths[oas] < caps->output_width)
		oas++;
	ret_idr[0] = (caps->stage2 ? IDR0_S2P : 0) | (caps->stage1 ? IDR0_S1P : 0) |
		     (caps->ats ? IDR0_ATS : 0) | (caps->two_level_cd ? IDR0_CD2L : 0) |
		     (caps->two_level_stream ? IDR0_LEVELS : 0);
	ret_idr[1] = (caps->substream_width & 0x1f) << 6 | (caps->stream_width & 0x3f);
	ret_idr[2] = ret_idr[4] = 0;
	ret_idr[3] = caps->force_write_back ? IDR3_FWB : 0;
	ret_idr[5] = (caps->granule_4k ? IDR5_GRAN4K : 0) | oas;
}

/* --- stream table entries --- */

static const struct smmuv3_place {
	const char *name;
	uint8_t word, bit, bits;
	bool address;
} places[] = {
#define F(name, word, bit, bits) {#name, word, bit, bits, (bits) >= 48},
	SMMUV3_STE_FIELDS(F)
#undef F
};
_Static_assert(ARRAY_SIZE(places) == SMMUV3_STE_FIELD_COUNT, "every field has a place");

uint64_t smmuv3_ste_mask(enum smmuv3_ste_field field)
{
	assert(field < SMMUV3_STE_FIELD_COUNT);
	return ((UINT64_C(1) << places[field].bits) - 1) << places[field].bit;
}

uint64_t smmuv3_ste_get(const uint64_t ste[], enum smmuv3_ste_field field)
{
	uint64_t value = ste[places[field].word] & smmuv3_ste_mask(field);

	return places[field].address ? value : value >> places[field].bit;
}

void smmuv3_ste_set(uint64_t ste[], enum smmuv3_ste_field field, uint64_t value)
{
	const struct smmuv3_place *place = &places[field];
	uint64_t mask = smmuv3_ste_mask(field);

	ste[place->word] &= ~mask;
	ste[place->word] |= (place->address ? value : value << place->bit) & mask;
}

const char *smmuv3_ste_name(enum smmuv3_ste_field field)
{
	return field < SMMUV3_STE_FIELD_COUNT ? places[field].name : "a reserved bit";
}

enum smmuv3_ste_field smmuv3_ste_find(uint32_t word, uint32_t bit)
{
	uint32_t field = 0;

	while (field < SMMUV3_STE_FIELD_COUNT &&
		(places[field].word != word || bit < places[field].bit ||
			bit >= (uint32_t)places[field].bit + places[field].bits))
		field++;
	return (enum smmuv3_ste_field)field;
}

const char *smmuv3_config_text(uint64_t config)
{
	static const char *const names[] = {"bypass", "stage-1", "stage-2", "nested"};

	return config >= SMMUV3_BYPASS && config <= SMMUV3_NESTED ? names[config - SMMUV3_BYPASS]
								  : "abort";
}

uint32_t smmuv3_context_align(uint64_t format, uint32_t s1cdmax)
{
	uint32_t split = format == SMMUV3_LEAF_4K ? 6 : 10;
	uint32_t bits;

	if (format == SMMUV3_LINEAR)
		return 6 + s1cdmax;
	/* The first level: 8 bytes a leaf. */
	bits = s1cdmax > split ? s1cdmax - split + 3 : 3;
	return bits > 6 ? bits : 6;
}
