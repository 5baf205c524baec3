/* SPDX-License-Identifier: MIT */
/* The simulator, in a folder of its own. What it has is read from its memory. */
#include "selftest.h"

#include "hw/sim.h"
#include "hw/sim_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct sim *simulator;

static uint32_t sim_index(struct rid rid)
{
	struct sim_device_config device;
	uint32_t i = 0;

	while (sim_device(simulator, i, &device) && device.rid.v != rid.v)
		i++;
	return i;
}

/* The entry of a function's PASID; false: there is none. */
static bool sim_entry_of(struct rid rid, const struct hpasid *pasid, struct vtd_entry *ret_entry)
{
	struct sim_walk_result result;

	if (sim_walk(simulator, rid, pasid, 0, false, &result) < 0)
		selftest_die("the simulator cannot be read");
	*ret_entry = result.vtd.entry;
	return result.vtd.has_entry;
}

static bool sim_stands(
	const struct world *world, struct rid rid, const struct hpasid *pasid, uint32_t pt_id)
{
	const struct sim_node *node = &simulator->header->nodes[sim_index(rid)];
	uint32_t number = pasid ? pasid->v : 0;
	struct vtd_entry entry;
	uint64_t word;

	/* A guest's stream table entry may abort, which is no entry. */
	if (world->iommu == HW_IOMMU_VTD && sim_entry_of(rid, pasid, &entry) != (pt_id != 0))
		return false;
	word = simulator->attach[(size_t)node->group * PASID_COUNT + number];
	return ATTACH_HWPT(word) == pt_id && !(word & ATTACH_TORN);
}

static bool sim_nested_is(
	const struct world *world, int iommufd, uint32_t hwpt, const struct hw_table *table)
{
	const struct sim_object *object;
	uint32_t context;

	(void)world;
	if (!sim_fd_has_context(simulator, iommufd, &context))
		return false;
	object = sim_object_find(simulator, context, hwpt);
	if (object && table->kind == HW_TABLE_SMMUV3)
		return object->parent && (table->ste[0] & 1 ? memcmp(object->ste, table->ste,
								      sizeof(object->ste)) == 0
							    : (object->ste[0] & 1) == 0);
	return object && object->parent && object->s1_root == table->pgtbl_addr &&
	       object->s1_width == table->addr_width && object->s1_flags == table->flags;
}

static unsigned sim_objects(const struct world *world, int iommufd)
{
	unsigned count = 0;
	uint32_t context;

	(void)world;
	if (!sim_fd_has_context(simulator, iommufd, &context))
		return 0;
	for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++)
		if (sim_object_find(simulator, context, id))
			count++;
	return count;
}

static void sim_fail_second(const struct world *world, struct hpasid pasid)
{
	const struct sim_fault fault = {
		.kind = SIM_FAULT_FAIL,
		.call = SIM_CALL_ATTACH,
		.error = ENOMEM,
		.skip = 1,
		.times = 1,
	};

	(void)world;
	(void)pasid;
	if (sim_fault_add(simulator, &fault) < 0)
		selftest_die("the simulator takes no fault");
}

struct world world_simulator(bool smmuv3)
{
	static const uint16_t rids[] = {SELFTEST_A, SELFTEST_B, SELFTEST_SHARED};
	struct sim_config config = SIM_CONFIG_DEFAULT;
	char dir[] = "/tmp/selftest-XXXXXX";
	struct error error;

	for (size_t i = 0; i < ARRAY_SIZE(rids); i++)
		config.devices[i] = (struct sim_device_config){.rid = {rids[i]}, .pasid_width = 20};
	config.device_count = ARRAY_SIZE(rids);
	config.pages = 4096;
	config.smmuv3 = smmuv3;
	if (!mkdtemp(dir) || sim_create(dir, &config, &error) != 0 || sim_open(dir, &simulator) < 0)
		selftest_die("the simulator cannot be made in %s", dir);
	return (struct world){
		.name = smmuv3 ? "simulator, SMMUv3" : "simulator",
		.iommu = smmuv3 ? HW_IOMMU_SMMUV3 : HW_IOMMU_VTD,
		.calls = sim_calls(simulator),
		.ctx = simulator,
		.stands = sim_stands,
		.nested_is = sim_nested_is,
		.objects = sim_objects,
		.fail_second = sim_fail_second,
	};
}
