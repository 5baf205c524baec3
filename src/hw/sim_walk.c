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

bool sim_is_smmuv3(const struct sim *sim)
{
	return sim->header->config.smmuv3;
}

int sim_root(const struct sim *sim, struct rid rid, uint64_t *ret_root)
{
	const struct sim_node *node = node_find(sim, rid);

	if (!node)
		return -ENODEV;
	*ret_root = sim->header->units[node->config.unit].root;
	return 0;
}

static void walk_smmuv3(struct sim *sim, const struct sim_node *node,
	const struct vtd_request *request, struct sim_walk_result *result)
{
	const struct smmuv3_memory memory = {.read = read_locked, .ctx = sim};
	const struct smmuv3_streams streams = sim_smmuv3_streams(sim, node->config.unit);
	const struct smmuv3_request wanted = {
		.stream = request->rid.v & 0xffff,
		.has_substream = request->has_pasid,
		.substream = request->pasid.v,
		.address = request->address,
		.write = request->write,
	};

	result->is_smmuv3 = true;
	smmuv3_walk(&memory, &streams, &wanted, &result->smmuv3);
}

int sim_walk(struct sim *sim, struct rid rid, const struct hpasid *pasid, uint64_t address,
	bool write, struct sim_walk_result *ret_result)
{
	const struct vtd_memory memory = {.read = read_locked, .ctx = sim};
	struct vtd_request request = {
		.rid = rid, .has_pasid = pasid != NULL, .address = address, .write = write};
	struct sim_node *node = node_find(sim, rid);
	uint64_t phys;
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
	if (sim->header->config.smmuv3)
		walk_smmuv3(sim, node, &request, ret_result);
	else
		vtd_walk(&memory, sim->header->units[node->config.unit].root, &request,
			&ret_result->vtd);
	phys = ret_result->is_smmuv3 ? ret_result->smmuv3.phys : ret_result->vtd.phys;
	if (sim_walk_reached(ret_result) && frame_find(sim, phys, &file, &ret_result->offset)) {
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

	ret_entry->rid = node->config.rid;
	ret_entry->unit = node->config.unit;
	ret_entry->group = header->groups[node->group].number;
	ret_entry->is_smmuv3 = header->config.smmuv3;
	if (header->config.smmuv3)
		return sim_smmuv3_entry_next(
			entries->sim, node, &entries->next_pasid, &ret_entry->smmuv3);
	if (!entries->open)
		vtd_entries_init(&entries->vtd, &memory, header->units[node->config.unit].root,
			node->config.rid);
	entries->open = vtd_entries_next(&entries->vtd, &ret_entry->at);
	return entries->open;
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
		else {
			entries->device++;
			entries->next_pasid = 0;
		}
	}
	sim_unlock(sim);
	return r;
}
