/* SPDX-License-Identifier: MIT */
/* What happens without anybody calling: descriptors that have gone, resets that have ended,
   processes that died halfway. */
#include "sim_memory.h"

#include <errno.h>

/* Trap 9: the last reference to the device detaches its PASIDs, then the RID. */
static void node_reap(struct sim *sim, uint32_t index)
{
	struct sim_node *node = &sim->header->nodes[index];

	if (!node->bound || sim_node_held(sim, index))
		return;
	/* A release needs the unit; what hangs there is not waited for. */
	if (sim_unit_lock(sim, node->config.unit, false) < 0)
		return;
	sim_release(sim, index);
	sim_unit_unlock(sim, node->config.unit);
}

/* The iommufd lives as long as an open file or a bound device has it. */
static void context_reap(struct sim *sim, uint32_t context)
{
	struct sim_header *header = sim->header;

	if (!header->contexts[context] || sim_context_held(sim, context))
		return;
	for (uint32_t i = 0; i < header->config.device_count; i++)
		if (header->nodes[i].bound == context + 1)
			return;
	sim_context_free(sim, context);
}

static void reset_reap(struct sim *sim, uint32_t index)
{
	struct sim_node *node = &sim->header->nodes[index];

	if (!node->reset_until || sim_now() < node->reset_until)
		return;
	node->reset_until = 0;
	sim_node_mend(sim, index);
}

/* Did somebody die halfway through a replacement? */
static void unit_reap(struct sim *sim, uint32_t unit)
{
	if (!__atomic_load_n(&sim->header->units[unit].changing, __ATOMIC_ACQUIRE))
		return;
	if (sim_unit_lock(sim, unit, false) == 0)
		sim_unit_unlock(sim, unit);
}

void sim_reap_locked(struct sim *sim)
{
	struct sim_header *header = sim->header;

	for (uint32_t i = 0; i < SIM_UNITS_MAX; i++)
		unit_reap(sim, i);
	if (header->stale && sim_rebuild(sim) < 0)
		return;
	for (uint32_t i = 0; i < header->config.device_count; i++) {
		reset_reap(sim, i);
		node_reap(sim, i);
	}
	for (uint32_t i = 0; i < SIM_CONTEXTS_MAX; i++)
		context_reap(sim, i);
}

int sim_reap(struct sim *sim)
{
	int r = sim_lock(sim);

	if (r < 0)
		return r;
	sim_reap_locked(sim);
	sim_unlock(sim);
	return 0;
}

int sim_rebuild(struct sim *sim)
{
	int r;

	sim_pages_reset(sim);
	r = sim_tables_init(sim);
	if (r == 0)
		r = sim_objects_rebuild(sim);
	if (r < 0)
		return r;
	sim_attach_rebuild(sim);
	sim->header->stale = 0;
	return 0;
}
