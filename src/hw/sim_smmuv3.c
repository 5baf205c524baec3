/* SPDX-License-Identifier: MIT */
/*
 * The simulated SMMUv3: what Linux (drivers/iommu/arm/arm-smmu-v3) writes into stream table and
 * context descriptors, and the objects of iommufd that a guest's table needs.
 */
#include "sim_memory.h"
#include "uapi.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define STREAM_BITS 16u /* a requester id; the segment is what the unit is for */
#define INPUT_T0SZ  16u /* 48 bits */
#define SIZE_48     5u  /* IPS, S2PS: 48 bits */
#define WRITE_BACK  1u  /* IR0, OR0, S1CIR, S1COR: with allocation */
#define INNER       3u  /* SH0, S1CSH */
#define INCOMING    1u  /* SHCFG */
#define LEAF_BITS   10u /* of a leaf of 64 KiB */

/* What the kernel takes from a guest (STRTAB_STE_0_NESTING_ALLOWED, STRTAB_STE_1_NESTING_ALLOWED).
 */
#define GUEST_WORD_0 UINT64_C(0xf80fffffffffffff)
#define GUEST_WORD_1 UINT64_C(0x00000000380000ff)

/* --- tables --- */

/* Zeroed pages that are aligned to their size; `count` is a power of two. */
static int pages_aligned(struct sim *sim, uint32_t count, uint64_t *ret_phys)
{
	uint64_t size = (uint64_t)count * SIM_PAGE, all, phys;
	uint32_t before;
	int r = sim_pages_alloc(sim, 2 * count - 1, &all);

	if (r < 0)
		return r;
	phys = (all + size - 1) & ~(size - 1);
	before = (uint32_t)((phys - all) / SIM_PAGE);
	if (before > 0)
		sim_pages_free(sim, all, before);
	if (before < count - 1)
		sim_pages_free(sim, phys + size, count - 1 - before);
	*ret_phys = phys;
	return 0;
}

static uint32_t pages_for(uint64_t bytes)
{
	uint32_t pages = 1;

	while ((uint64_t)pages * SIM_PAGE < bytes)
		pages *= 2;
	return pages;
}

struct smmuv3_streams sim_smmuv3_streams(const struct sim *sim, uint32_t unit)
{
	return (struct smmuv3_streams){
		.base = sim->header->units[unit].root,
		.width = STREAM_BITS,
		.two_level = !sim->header->config.linear,
	};
}

/* Makes the stream table of a unit, and the second level for the bus of a function. */
static int streams_make(struct sim *sim, const struct sim_node *node)
{
	const bool linear = sim->header->config.linear;
	struct sim_unit *unit = &sim->header->units[node->config.unit];
	uint64_t size = linear ? (uint64_t)SMMUV3_STE_BYTES << STREAM_BITS
			       : UINT64_C(8) << (STREAM_BITS - SMMUV3_SPLIT);
	uint64_t *word, phys;
	int r = unit->root ? 0 : pages_aligned(sim, pages_for(size), &unit->root);

	if (r < 0 || linear)
		return r;
	word = sim_word(sim, unit->root + (node->config.rid.v >> SMMUV3_SPLIT & 0xff) * 8ull);
	if (*word)
		return 0;
	r = pages_aligned(sim, pages_for((uint64_t)SMMUV3_STE_BYTES << SMMUV3_SPLIT), &phys);
	if (r == 0)
		__atomic_store_n(word, phys | (SMMUV3_SPLIT + 1), __ATOMIC_RELEASE);
	return r;
}

static uint64_t *ste_at(struct sim *sim, const struct sim_node *node, uint64_t *ret_phys)
{
	uint64_t base = sim->header->units[node->config.unit].root;
	uint32_t stream = node->config.rid.v & 0xffff;

	if (!sim->header->config.linear) {
		base = *sim_word(sim, base + (stream >> SMMUV3_SPLIT) * 8ull) &
		       SMMUV3_L1STD_POINTER;
		stream &= (1u << SMMUV3_SPLIT) - 1;
	}
	*ret_phys = base + (uint64_t)stream * SMMUV3_STE_BYTES;
	return sim_word(sim, *ret_phys);
}

static void ste_write(struct sim *sim, const struct sim_node *node, const uint64_t *ste)
{
	uint64_t phys;

	sim_words_write(ste_at(sim, node, &phys), ste, SMMUV3_STE_WORDS);
}

static uint64_t node_format(const struct sim_node *node)
{
	return node->width > LEAF_BITS ? SMMUV3_LEAF_64K : SMMUV3_LINEAR;
}

int sim_smmuv3_init(struct sim *sim, struct sim_node *node)
{
	uint64_t ste[SMMUV3_STE_WORDS] = {0};
	uint64_t size = UINT64_C(1) << smmuv3_context_align(node_format(node), node->width);
	int r = streams_make(sim, node);

	if (r == 0)
		r = pages_aligned(sim, pages_for(size), &node->directory);
	if (r < 0)
		return r;
	smmuv3_ste_set(ste, SMMUV3_STE_V, 1);
	ste_write(sim, node, ste);
	return 0;
}

/* --- context descriptors --- */

/* The host's descriptor of a PASID; `make`: with the leaf that it is in. NULL: there is none. */
static uint64_t *cd_at(
	struct sim *sim, const struct sim_node *node, uint32_t pasid, bool make, uint64_t *ret_phys)
{
	uint64_t table = node->directory, phys, *word;

	if (node_format(node) == SMMUV3_LEAF_64K) {
		word = sim_word(sim, table + (uint64_t)(pasid >> LEAF_BITS) * 8);
		if (!*word && make &&
			pages_aligned(
				sim, pages_for((uint64_t)SMMUV3_CD_BYTES << LEAF_BITS), &phys) == 0)
			__atomic_store_n(word, phys | SMMUV3_L1CD_V, __ATOMIC_RELEASE);
		if (!*word)
			return NULL;
		table = *word & SMMUV3_L1CD_POINTER;
		pasid &= (1u << LEAF_BITS) - 1;
	}
	*ret_phys = table + (uint64_t)pasid * SMMUV3_CD_BYTES;
	return sim_word(sim, *ret_phys);
}

static void cd_write(uint64_t *cd, const struct sim_object *hwpt)
{
	static const struct {
		enum smmuv3_cd_field field;
		uint64_t value;
	} constant[] = {{SMMUV3_CD_T0SZ, INPUT_T0SZ}, {SMMUV3_CD_IR0, WRITE_BACK},
		{SMMUV3_CD_OR0, WRITE_BACK}, {SMMUV3_CD_SH0, INNER}, {SMMUV3_CD_EPD1, 1},
		{SMMUV3_CD_V, 1}, {SMMUV3_CD_IPS, SIZE_48}, {SMMUV3_CD_AA64, 1}, {SMMUV3_CD_R, 1},
		{SMMUV3_CD_A, 1}, {SMMUV3_CD_ASET, 1}};
	uint64_t word[SMMUV3_CD_WORDS] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(constant); i++)
		smmuv3_cd_set(word, constant[i].field, constant[i].value);
	smmuv3_cd_set(word, SMMUV3_CD_ASID, hwpt->did);
	smmuv3_cd_set(word, SMMUV3_CD_TTB0, hwpt->root);
	sim_words_write(cd, word, SMMUV3_CD_WORDS);
}

static void cd_clear(struct sim *sim, const struct sim_node *node, uint32_t pasid)
{
	uint64_t phys, *cd = cd_at(sim, node, pasid, false, &phys);

	for (uint32_t i = 0; cd && i < SMMUV3_CD_WORDS; i++)
		__atomic_store_n(&cd[i], 0, __ATOMIC_RELEASE);
}

/* --- stream table entries --- */

/* arm_smmu_make_cdtable_ste() */
static void ste_stage1(const struct sim_node *node, enum smmuv3_dss dss, uint64_t *ste)
{
	smmuv3_ste_set(ste, SMMUV3_STE_V, 1);
	smmuv3_ste_set(ste, SMMUV3_STE_Config, SMMUV3_STAGE1);
	smmuv3_ste_set(ste, SMMUV3_STE_S1Fmt, node_format(node));
	smmuv3_ste_set(ste, SMMUV3_STE_S1ContextPtr, node->directory);
	smmuv3_ste_set(ste, SMMUV3_STE_S1CDMax, node->width);
	smmuv3_ste_set(ste, SMMUV3_STE_S1DSS, (uint64_t)dss);
	smmuv3_ste_set(ste, SMMUV3_STE_S1CIR, WRITE_BACK);
	smmuv3_ste_set(ste, SMMUV3_STE_S1COR, WRITE_BACK);
	smmuv3_ste_set(ste, SMMUV3_STE_S1CSH, INNER);
	smmuv3_ste_set(ste, SMMUV3_STE_SHCFG, INCOMING);
}

/* arm_smmu_make_s2_domain_ste() */
static void ste_stage2(const struct sim_object *hwpt, uint64_t *ste)
{
	smmuv3_ste_set(ste, SMMUV3_STE_V, 1);
	smmuv3_ste_set(ste, SMMUV3_STE_Config, SMMUV3_STAGE2);
	smmuv3_ste_set(ste, SMMUV3_STE_SHCFG, INCOMING);
	smmuv3_ste_set(ste, SMMUV3_STE_S2VMID, hwpt->did);
	smmuv3_ste_set(ste, SMMUV3_STE_S2T0SZ, INPUT_T0SZ);
	smmuv3_ste_set(ste, SMMUV3_STE_S2SL0, 2);
	smmuv3_ste_set(ste, SMMUV3_STE_S2IR0, WRITE_BACK);
	smmuv3_ste_set(ste, SMMUV3_STE_S2OR0, WRITE_BACK);
	smmuv3_ste_set(ste, SMMUV3_STE_S2SH0, INNER);
	smmuv3_ste_set(ste, SMMUV3_STE_S2PS, SIZE_48);
	smmuv3_ste_set(ste, SMMUV3_STE_S2AA64, 1);
	smmuv3_ste_set(ste, SMMUV3_STE_S2PTW, 1);
	smmuv3_ste_set(ste, SMMUV3_STE_S2R, 1);
	smmuv3_ste_set(ste, SMMUV3_STE_S2TTB, hwpt->root);
}

/* arm_smmu_make_nested_domain_ste(): ATS stays off, as no device here has it. */
static void ste_nested(
	struct sim *sim, uint32_t context, const struct sim_object *hwpt, uint64_t *ste)
{
	const struct sim_object *viommu = sim_object_at(sim, context, hwpt->parent);
	uint64_t config = smmuv3_ste_get(hwpt->ste, SMMUV3_STE_Config);

	smmuv3_ste_set(ste, SMMUV3_STE_V, 1);
	if (!smmuv3_ste_get(hwpt->ste, SMMUV3_STE_V) || config == SMMUV3_ABORT)
		return;
	ste_stage2(sim_object_at(sim, context, viommu->parent), ste);
	if (config == SMMUV3_BYPASS)
		return;
	ste[0] = hwpt->ste[0];
	ste[1] |= hwpt->ste[1];
	smmuv3_ste_set(ste, SMMUV3_STE_Config, SMMUV3_NESTED);
	smmuv3_ste_set(ste, SMMUV3_STE_EATS, SMMUV3_EATS_OFF);
	smmuv3_ste_set(ste, SMMUV3_STE_MEV, 1);
}

int sim_smmuv3_set(struct sim *sim, struct sim_node *node, const struct sim_smmuv3_place *place,
	const struct sim_object *hwpt)
{
	uint64_t ste[SMMUV3_STE_WORDS] = {0}, phys, *cd = NULL;

	if (hwpt->first && !hwpt->parent) {
		cd = cd_at(sim, node, place->pasid, true, &phys);
		if (!cd)
			return -ENOMEM;
	}
	if (node->reset_until)
		return 0;
	if (cd)
		cd_write(cd, hwpt);
	if (place->pasid && place->rid)
		return 0; /* the entry has the table already */
	if (hwpt->parent)
		ste_nested(sim, place->context, hwpt, ste);
	else if (cd)
		ste_stage1(node, place->pasid ? SMMUV3_DSS_TERMINATE : SMMUV3_DSS_ZERO, ste);
	else
		ste_stage2(hwpt, ste);
	ste_write(sim, node, ste);
	if (!cd)
		cd_clear(sim, node, place->pasid);
	return 0;
}

void sim_smmuv3_clear(struct sim *sim, struct sim_node *node, const struct sim_smmuv3_place *place)
{
	uint64_t ste[SMMUV3_STE_WORDS] = {0};

	smmuv3_ste_set(ste, SMMUV3_STE_V, 1);
	if (place->pasids)
		ste_stage1(node, SMMUV3_DSS_TERMINATE, ste);
	if (!place->pasid || !place->rid)
		ste_write(sim, node, ste);
	cd_clear(sim, node, place->pasid);
}

int sim_smmuv3_entry_next(struct sim *sim, const struct sim_node *node, uint32_t *next,
	struct sim_smmuv3_entry *ret_entry)
{
	struct sim_smmuv3_entry entry = {0};
	const uint64_t *ste = ste_at(sim, node, &entry.phys), *cd = NULL;
	uint64_t phys = 0;

	if (smmuv3_ste_get(ste, SMMUV3_STE_Config) < SMMUV3_BYPASS)
		return 0;
	memcpy(entry.ste, ste, sizeof(entry.ste));
	for (entry.pasid = (*next)++; entry.pasid > 0; entry.pasid = (*next)++) {
		if (entry.pasid >> node->width)
			return 0;
		cd = cd_at(sim, node, entry.pasid, false, &phys);
		if (cd && smmuv3_cd_get(cd, SMMUV3_CD_V))
			break;
		if (!cd)
			*next = (entry.pasid | ((1u << LEAF_BITS) - 1)) + 1;
	}
	if (entry.pasid > 0)
		entry.phys = phys;
	else if (smmuv3_ste_get(ste, SMMUV3_STE_Config) == SMMUV3_STAGE1)
		cd = cd_at(sim, node, 0, false, &phys);
	entry.has_cd = cd != NULL && smmuv3_cd_get(cd, SMMUV3_CD_V);
	if (entry.has_cd)
		memcpy(entry.cd, cd, sizeof(entry.cd));
	*ret_entry = entry;
	return 1;
}

/* --- what the kernel attaches, and where --- */

static uint32_t unit_of(const struct sim *sim, uint32_t node)
{
	return sim->header->nodes[node].config.unit;
}

/* The vDEVICE of a node; 0: it has none. */
static uint32_t vdevice_find(struct sim *sim, uint32_t context, uint32_t node)
{
	for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++) {
		const struct sim_object *object = sim_object_at(sim, context, id);

		if (object->type == OBJECT_VDEVICE && object->device == node)
			return id;
	}
	return 0;
}

int sim_smmuv3_fits(struct sim *sim, uint32_t node, uint32_t context, uint32_t pasid,
	const struct sim_object *hwpt)
{
	uint32_t vdevice;

	if (hwpt->unit != unit_of(sim, node) || (pasid && (!hwpt->first || hwpt->parent)))
		return -EINVAL;
	if (!hwpt->parent)
		return 0;
	vdevice = vdevice_find(sim, context, node);
	if (!vdevice || sim_object_at(sim, context, vdevice)->parent != hwpt->parent)
		return -ENOENT; /* trap 8 */
	return 0;
}

/* --- objects --- */

int sim_viommu_alloc(struct sim *sim, uint32_t context, uint32_t node, uint32_t type, uint32_t hwpt,
	uint32_t *ret_id)
{
	const struct sim_config *config = &sim->header->config;
	struct sim_object viommu = {
		.type = OBJECT_VIOMMU, .parent = hwpt, .unit = unit_of(sim, node)};
	struct sim_object *parent = sim_object_find(sim, context, hwpt);
	int r;

	if (!config->smmuv3 || !config->nesting || type != HW_IOMMU_SMMUV3)
		return -EOPNOTSUPP;
	if (!parent || parent->type != OBJECT_HWPT)
		return -ENOENT;
	if (!(parent->flags & CALLS_HWPT_NEST_PARENT) || parent->unit != viommu.unit)
		return -EINVAL;
	r = sim_object_add(sim, context, &viommu, ret_id);
	if (r == 0)
		parent->users++;
	return r;
}

int sim_vdevice_alloc(struct sim *sim, uint32_t context, uint32_t node, uint32_t viommu,
	uint64_t virt_id, uint32_t *ret_id)
{
	struct sim_object vdevice = {
		.type = OBJECT_VDEVICE, .parent = viommu, .device = node, .virt_id = virt_id};
	struct sim_object *parent = sim_object_find(sim, context, viommu);
	int r;

	if (!parent || parent->type != OBJECT_VIOMMU)
		return -ENOENT;
	if (parent->unit != unit_of(sim, node))
		return -EINVAL;
	if (vdevice_find(sim, context, node))
		return -EEXIST;
	for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++) {
		const struct sim_object *other = sim_object_at(sim, context, id);

		if (other->type == OBJECT_VDEVICE && other->parent == viommu &&
			other->virt_id == virt_id)
			return -EEXIST;
	}
	r = sim_object_add(sim, context, &vdevice, ret_id);
	if (r == 0)
		parent->users++;
	return r;
}

void sim_vdevice_release(struct sim *sim, uint32_t context, uint32_t node)
{
	uint32_t id = vdevice_find(sim, context, node);

	if (id)
		(void)sim_object_destroy(sim, context, id);
}

/* arm_smmu_validate_vste() */
static int ste_check(uint64_t ste[2])
{
	uint64_t config = smmuv3_ste_get(ste, SMMUV3_STE_Config);

	if (!smmuv3_ste_get(ste, SMMUV3_STE_V)) {
		ste[0] = ste[1] = 0;
		return 0;
	}
	if ((ste[0] & ~GUEST_WORD_0) || (ste[1] & ~GUEST_WORD_1) ||
		smmuv3_ste_get(ste, SMMUV3_STE_EATS) > SMMUV3_EATS_ON)
		return -EIO;
	return config == SMMUV3_ABORT || config == SMMUV3_BYPASS || config == SMMUV3_STAGE1 ? 0
											    : -EIO;
}

int sim_ste_alloc(
	struct sim *sim, uint32_t context, const struct calls_hwpt *args, uint32_t *ret_id)
{
	struct sim_object *viommu = sim_object_at(sim, context, args->pt_id);
	struct sim_object hwpt = {
		.type = OBJECT_HWPT, .parent = args->pt_id, .first = 1, .unit = viommu->unit};
	struct uapi_hwpt_smmuv3 data;
	int r;

	if (args->flags || args->data_len == 0)
		return -EOPNOTSUPP;
	if (args->data_type != UAPI_HWPT_DATA_ARM_SMMUV3 || args->data_len < sizeof(data) ||
		!args->data)
		return -EINVAL;
	memcpy(&data, args->data, sizeof(data));
	for (uint32_t i = 0; i < UAPI_STE_WORDS; i++)
		hwpt.ste[i] = le64toh(data.ste[i]);
	r = ste_check(hwpt.ste);
	if (r == 0)
		r = sim_object_add(sim, context, &hwpt, ret_id);
	if (r == 0)
		viommu->users++;
	return r;
}
