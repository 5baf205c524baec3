/* SPDX-License-Identifier: MIT */
/* What the tests of guests' tables share: an SMMUv3 behind the scripted kernel, and entries. */
#ifndef TEST_BACKEND_GUEST_FIXTURE_H
#define TEST_BACKEND_GUEST_FIXTURE_H

#include "backend_fixture.h"
#include "hw/smmuv3_table.h"

static int device; /* the descriptor of device 1, which iommufd knows as 7 */

static inline void begin(void)
{
	const struct smmuv3_caps caps = {
		.stage1 = true,
		.stage2 = true,
		.two_level_cd = true,
		.substream_width = 16,
		.output_width = 48,
	};

	setup();
	fake.info.type = HW_IOMMU_SMMUV3;
	fake.info.max_pasid_log2 = 16;
	smmuv3_caps_encode(&caps, fake.info.raw);
	device = open_device(1);
}

/* A guest's table over the VMM's page table 33, the device being stream 8 there. */
static inline struct hw_table entry(uint64_t config, uint64_t context)
{
	struct hw_table table = {
		.kind = HW_TABLE_SMMUV3, .parent_kind = HW_TABLE_HWPT, .id = 33, .stream = 8};

	smmuv3_ste_set(table.ste, SMMUV3_STE_V, 1);
	smmuv3_ste_set(table.ste, SMMUV3_STE_Config, config);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, context);
	return table;
}

static inline struct hw_table guest(void)
{
	return entry(SMMUV3_STAGE1, 0x40000000);
}

static inline struct hw_table guest_over(enum hw_table_kind kind, uint32_t id)
{
	struct hw_table table = guest();

	table.parent_kind = kind;
	table.id = id;
	return table;
}

static inline struct hw_op replace_op(uint32_t handle, struct hw_table table)
{
	struct hw_op op = attach_op(handle, FAKE_RID, table);

	op.kind = HW_REPLACE;
	return op;
}

static inline struct hw_result ask(enum hw_kind kind)
{
	ck_assert_int_eq(run((struct hw_op){.kind = kind, .device = 1}), 0);
	return result;
}

static inline void arrange(const char *name, int error, unsigned times)
{
	fake.fail_name = name;
	fake.fail_error = error;
	fake.fail_times = times;
}

#endif
