/* SPDX-License-Identifier: MIT */
/*
 * Steps at random, by a VMM that means no good: the same seed gives the same steps on every kernel,
 * as long as these answer the same.
 */
#include "selftest_steps.h"

#include <stdio.h>

static uint64_t random_state;

/* 0 to count - 1 (splitmix64) */
static uint32_t pick(uint32_t count)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ z >> 31) >> 32) % count;
}

static uint32_t pick_parent(void)
{
	static const uint32_t parents[] = {V_PARENT, V_PARENT, V_PARENT, V_TABLE, V_PLAIN, V_GONE};

	return parents[pick(ARRAY_SIZE(parents))];
}

static struct hw_table pick_nested(bool space)
{
	static const uint32_t widths[] = {48, 48, 48, 48, 57, 39};
	uint64_t root = (uint64_t)pick(64) << 12 | (pick(16) ? 0 : 0x800);

	return NESTED_FULL(space ? HW_TABLE_SPACE : HW_TABLE_HWPT,
		space ? 1 + pick(2) : pick_parent(), root, widths[pick(ARRAY_SIZE(widths))],
		pick(4) ? 0 : pick(16));
}

static struct hw_table pick_entry(bool space)
{
	static const uint64_t words[] = {0xb | 0x1000, 0xb | 0x2000, STE_STAGE_1 | 0x4000, 0x9, 0x1,
		0x0, 0xd, STE_STAGE_1 | 0x40};
	bool ioas = !space && pick(4) == 0;
	uint32_t parent = space ? HW_TABLE_SPACE : ioas ? HW_TABLE_IOAS : HW_TABLE_HWPT;

	return STE_FULL(parent,
		space  ? 1 + pick(2)
		: ioas ? V_IOAS
		       : pick_parent(),
		1 + pick(2), words[pick(ARRAY_SIZE(words))], pick(8) ? 0 : UINT64_C(1) << pick(32));
}

static struct hw_table pick_table(const struct vmm *vmm, bool space, bool *ret_raw)
{
	uint32_t kind = pick(12);

	*ret_raw = false;
	if (kind < 6)
		return vmm->world->iommu == HW_IOMMU_SMMUV3 && kind < 5 ? pick_entry(space)
									: pick_nested(space);
	if (kind < 8)
		return space ? SPACE(1 + pick(2)) : IOAS(pick(4) ? V_IOAS : V_GONE);
	if (kind == 8) {
		/* What pasidd made in the VMM's iommufd, for another place. */
		uint32_t id = steps_standing(SELFTEST_A, pick(8));

		*ret_raw = id != 0;
		return TABLE(id ? id : V_GONE);
	}
	return TABLE(V_TABLE + pick(V_COUNT - V_TABLE + 1));
}

static struct step pick_step(const struct vmm *vmm, bool *ret_raw)
{
	static const uint32_t rids[] = {SELFTEST_A, SELFTEST_A, SELFTEST_B, SELFTEST_SHARED};
	static const uint32_t kinds[] = {HW_ATTACH, HW_ATTACH, HW_ATTACH, HW_ATTACH, HW_REPLACE,
		HW_REPLACE, HW_REPLACE, HW_DETACH, HW_DETACH, HW_LOOK};
	struct step step = {.rid = rids[pick(ARRAY_SIZE(rids))], .owner = 7 + pick(2)};
	bool shared = step.rid == SELFTEST_SHARED;
	uint32_t what = pick(20);

	*ret_raw = false;
	if (!steps_open(step.rid)) {
		step.kind = HW_OPEN;
	} else if (what == 0 && step.rid != SELFTEST_A) {
		step.kind = HW_CLOSE;
	} else if (what == 1 && !shared) {
		step.kind = STEP_VMM_DESTROYS;
		step.pasid = V_TABLE + pick(4);
	} else if (what < 5 && shared) {
		step.kind = what == 2 ? HW_LEAVE : HW_MAP;
		step.pasid = 1 + pick(2);
	} else {
		step.kind = kinds[pick(ARRAY_SIZE(kinds))];
		/* What is looked at is what the broker has on record. */
		step.pasid = step.kind == HW_LOOK || pick(40) ? steps_places[pick(8)]
			     : pick(2)                        ? 0
							      : 1u << 20;
		if (vmm->world->iommu == HW_IOMMU_SMMUV3 && pick(3))
			step.pasid = AT_RID;
		step.table = pick_table(vmm, shared && pick(16), ret_raw);
	}
	return step;
}

void selftest_random(const struct world *world, unsigned seed, unsigned count)
{
	struct vmm *vmm = steps_begin(world);

	random_state = seed;
	for (unsigned i = 0; i < count; i++) {
		bool raw;
		struct step step = pick_step(vmm, &raw);
		char what[160];

		(void)snprintf(what, sizeof(what),
			"%u.%u kind %u of %x at %x: table %u on %u %u, width %u, flags %llu, "
			"%llx %llx",
			seed, i, step.kind, step.rid, step.pasid, step.table.kind,
			step.table.parent_kind, raw ? 0 : step.table.id, step.table.addr_width,
			(unsigned long long)step.table.flags,
			(unsigned long long)(step.table.pgtbl_addr | step.table.ste[0]),
			(unsigned long long)step.table.ste[1]);
		step.what = what;
		steps_do(&step, raw);
	}
	vmm_end(vmm);
}
