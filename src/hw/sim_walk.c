/* SPDX-License-Identifier: MIT */
/* Looking at the tables from outside, as a device or a person would. */
#include "sim_memory.h"

#include <errno.h>
#include <string.h>

static struct sim_node *node_find(const struct sim *sim, struct rid rid)
{
	for (uint32_t i = 0; i < sim->header->config.device_count; i++)
		if (sim->header->nodes[i].config.rid.v == rid.v)
			return &sim->header->nodes[i];
	return NULL;
}

/* Which file an address of frames belongs to, and where in it. */
static bool frame_find(
	const struct sim *sim, uint64_t phys, uint32_t *ret_file, uint64_t *ret_offset)
{
	uint64_t file = (phys - SIM_FRAMES) >> SIM_FRAMES_FILE;

	if (phys < SIM_FRAMES || file >= SIM_FILES_MAX || !sim->header->files[file].used)
		return false;
	*ret_file = (uint32_t)file;
	*ret_offset = phys & ((1ull << SIM_FRAMES_FILE) - 1);
	return true;
}

/* With the global lock held. */
static uint64_t read_locked(void *ctx, uint64_t phys, bool *ok)
{
	struct sim *sim = ctx;
	uint64_t offset, *word = sim_word(sim, phys);
	uint32_t file;

	if (word)
		return __atomic_load_n(word, __ATOMIC_ACQUIRE);
	if (frame_find(sim, phys, &file, &offset))
		return sim_file_read(sim, file, offset, ok);
	*ok = false;
	return 0;
}

uint64_t sim_read(void *ctx, uint64_t phys, bool *ok)
{
	struct sim *sim = ctx;
	uint64_t word;

	if (sim_lock(sim) < 0) {
		*ok = false;
		return 0;
	}
	word = read_locked(sim, phys, ok);
	sim_unlock(sim);
	return word;
}

bool sim_device(const struct sim *sim, uint32_t index, struct sim_device_config *ret_device)
{
	const struct sim_node *node = &sim->header->nodes[index % SIM_DEVICES_MAX];

	if (index >= sim->header->config.device_count)
		return false;
	*ret_device = node->config;
	ret_device->pasid_width = node->width;
	ret_device->group = sim->header->groups[node->group].number;
	return true;
}

int sim_root(const struct sim *sim, struct rid rid, uint64_t *ret_root)
{
	const struct sim_node *node = node_find(sim, rid);

	if (!node)
		return -ENODEV;
	*ret_root = sim->header->units[node->config.unit].root;
	return 0;
}

int sim_walk(struct sim *sim, struct rid rid, const struct hpasid *pasid, uint64_t address,
	bool write, struct sim_walk_result *ret_result)
{
	const struct vtd_memory memory = {.read = read_locked, .ctx = sim};
	struct vtd_request request = {
		.rid = rid, .has_pasid = pasid != NULL, .address = address, .write = write};
	struct sim_node *node = node_find(sim, rid);
	uint32_t file;
	int r;

	if (!node)
		return -ENODEV;
	if (pasid)
		request.pasid = *pasid;
	r = sim_lock(sim);
	if (r < 0)
		return r;
	sim_reap_locked(sim);
	memset(ret_result, 0, sizeof(*ret_result));
	vtd_walk(&memory, sim->header->units[node->config.unit].root, &request, &ret_result->vtd);
	if (ret_result->vtd.stop == VTD_REACHED &&
		frame_find(sim, ret_result->vtd.phys, &file, &ret_result->offset)) {
		ret_result->has_file = true;
		ret_result->dev = sim->header->files[file].dev;
		ret_result->ino = sim->header->files[file].ino;
	}
	sim_unlock(sim);
	return 0;
}

int sim_entries_init(struct sim_entries *entries, struct sim *sim)
{
	*entries = (struct sim_entries){.sim = sim};
	return sim_reap(sim);
}

/* With the global lock held: the next entry of the device that the iterator is at. */
static bool entries_step(struct sim_entries *entries, struct sim_entry *ret_entry)
{
	const struct vtd_memory memory = {.read = read_locked, .ctx = entries->sim};
	struct sim_header *header = entries->sim->header;
	struct sim_node *node = &header->nodes[entries->device];

	if (!entries->open)
		vtd_entries_init(&entries->vtd, &memory, header->units[node->config.unit].root,
			node->config.rid);
	entries->open = vtd_entries_next(&entries->vtd, &ret_entry->at);
	if (!entries->open)
		return false;
	ret_entry->rid = node->config.rid;
	ret_entry->unit = node->config.unit;
	ret_entry->group = header->groups[node->group].number;
	return true;
}

int sim_entries_next(struct sim_entries *entries, struct sim_entry *ret_entry)
{
	struct sim *sim = entries->sim;
	int r = sim_lock(sim);

	if (r < 0)
		return r;
	while (r == 0 && entries->device < sim->header->config.device_count) {
		if (entries_step(entries, ret_entry))
			r = 1;
		else
			entries->device++;
	}
	sim_unlock(sim);
	return r;
}
