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

static const uint8_t output_widths[8] = {32, 36, 40, 42, 44, 48, 52, 52};

uint32_t smmuv3_size_bits(uint64_t size)
{
	return output_widths[size & 7];
}

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
		.output_width = smmuv3_size_bits(idr[5]),
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

static const struct smmuv3_place cd_places[] = {
#define F(name, word, bit, bits) {#name, word, bit, bits, (bits) >= 48},
	SMMUV3_CD_FIELDS(F)
#undef F
};
_Static_assert(ARRAY_SIZE(cd_places) == SMMUV3_CD_FIELD_COUNT, "every field has a place");

static uint64_t place_mask(const struct smmuv3_place *place)
{
	return ((UINT64_C(1) << place->bits) - 1) << place->bit;
}

static uint64_t place_get(const struct smmuv3_place *place, const uint64_t word[])
{
	uint64_t value = word[place->word] & place_mask(place);

	return place->address ? value : value >> place->bit;
}

static void place_set(const struct smmuv3_place *place, uint64_t word[], uint64_t value)
{
	uint64_t mask = place_mask(place);

	word[place->word] &= ~mask;
	word[place->word] |= (place->address ? value : value << place->bit) & mask;
}

uint64_t smmuv3_ste_mask(enum smmuv3_ste_field field)
{
	assert(field < SMMUV3_STE_FIELD_COUNT);
	return place_mask(&places[field]);
}

uint64_t smmuv3_ste_get(const uint64_t ste[], enum smmuv3_ste_field field)
{
	return place_get(&places[field], ste);
}

void smmuv3_ste_set(uint64_t ste[], enum smmuv3_ste_field field, uint64_t value)
{
	place_set(&places[field], ste, value);
}

uint64_t smmuv3_cd_get(const uint64_t cd[], enum smmuv3_cd_field field)
{
	return place_get(&cd_places[field], cd);
}

void smmuv3_cd_set(uint64_t cd[], enum smmuv3_cd_field field, uint64_t value)
{
	place_set(&cd_places[field], cd, value);
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

uint32_t smmuv3_leaf_bits(uint64_t format)
{
	return format == SMMUV3_LEAF_4K ? 6 : 10;
}

uint32_t smmuv3_context_align(uint64_t format, uint32_t s1cdmax)
{
	uint32_t split = smmuv3_leaf_bits(format);
	uint32_t bits;

	if (format == SMMUV3_LINEAR)
		return 6 + s1cdmax;
	/* The first level: 8 bytes a leaf. */
	bits = s1cdmax > split ? s1cdmax - split + 3 : 3;
	return bits > 6 ? bits : 6;
}

/* --- translation tables --- */

#define PTE_VALID    UINT64_C(1)
#define PTE_TABLE    UINT64_C(2)
#define PTE_ATTR_S2  (UINT64_C(0xf) << 2) /* MemAttr: normal, write-back */
#define PTE_AP_USER  (UINT64_C(1) << 6)
#define PTE_AP_RO    (UINT64_C(1) << 7)
#define PTE_S2_READ  (UINT64_C(1) << 6)
#define PTE_S2_WRITE (UINT64_C(1) << 7)
#define PTE_SH_INNER (UINT64_C(3) << 8)
#define PTE_AF       (UINT64_C(1) << 10)
#define PTE_NG       (UINT64_C(1) << 11)
#define PTE_ADDRESS  UINT64_C(0x0000fffffffff000)
#define PTE_BELOW_RO (UINT64_C(1) << 62)
#define PTE_BELOW_PR (UINT64_C(1) << 61)

struct smmuv3_pte smmuv3_pte_decode(bool first_stage, uint64_t word)
{
	return (struct smmuv3_pte){
		.valid = word & PTE_VALID,
		.table = word & PTE_TABLE,
		.accessed = word & PTE_AF,
		.read = first_stage || (word & PTE_S2_READ),
		.write = first_stage ? !(word & PTE_AP_RO) : (word & PTE_S2_WRITE) != 0,
		.user = !first_stage || (word & PTE_AP_USER),
		.below_read_only = first_stage && (word & PTE_BELOW_RO),
		.below_privileged = first_stage && (word & PTE_BELOW_PR),
		.address = word & PTE_ADDRESS,
	};
}

uint64_t smmuv3_pte_encode(bool first_stage, const struct smmuv3_pte *pte)
{
	uint64_t word = pte->address & PTE_ADDRESS;

	if (!pte->valid)
		return 0;
	word |= PTE_VALID | (pte->table ? PTE_TABLE : 0);
	if (!pte->accessed) /* a table: attributes are those of its pages */
		return word;
	word |= PTE_AF | PTE_SH_INNER;
	if (first_stage)
		return word | PTE_NG | (pte->user ? PTE_AP_USER : 0) | (pte->write ? 0 : PTE_AP_RO);
	return word | PTE_ATTR_S2 | (pte->read ? PTE_S2_READ : 0) | (pte->write ? PTE_S2_WRITE : 0);
}
