/* SPDX-License-Identifier: MIT */
/* The objects of an iommufd: names, reference counts, page tables (Linux, drivers/iommu/iommufd).
 */
#include "sim_memory.h"
#include "uapi.h"

#include <errno.h>
#include <string.h>

struct sim_object *sim_object_at(struct sim *sim, uint32_t context, uint32_t id)
{
	return &sim->objects[(size_t)context * SIM_OBJECTS_MAX + id - 1];
}

struct sim_object *sim_object_find(struct sim *sim, uint32_t context, uint32_t id)
{
	struct sim_object *object;

	if (id == 0 || id > SIM_OBJECTS_MAX)
		return NULL;
	object = sim_object_at(sim, context, id);
	return object->type == OBJECT_NONE ? NULL : object;
}

static struct sim_object *find_type(
	struct sim *sim, uint32_t context, uint32_t id, enum object_type type)
{
	struct sim_object *object = sim_object_find(sim, context, id);

	return object && object->type == (uint32_t)type ? object : NULL;
}

struct sim_area *sim_areas(struct sim *sim, uint32_t context)
{
	return &sim->areas[(size_t)context * SIM_AREAS_MAX];
}

int sim_object_add(
	struct sim *sim, uint32_t context, const struct sim_object *object, uint32_t *ret_id)
{
	for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++) {
		struct sim_object *slot = sim_object_at(sim, context, id);
		struct sim_object filled = *object;

		if (slot->type != OBJECT_NONE)
			continue;
		filled.type = OBJECT_NONE;
		*slot = filled;
		__atomic_store_n(&slot->type, object->type, __ATOMIC_RELEASE);
		*ret_id = id;
		return 0;
	}
	return -ENOMEM;
}

static int did_alloc(struct sim *sim, uint32_t *ret_did)
{
	for (uint32_t did = SIM_DID_FIRST; did < 65536; did++) {
		if (sim->header->dids[did / 64] >> did % 64 & 1)
			continue;
		sim->header->dids[did / 64] |= 1ull << did % 64;
		*ret_did = did;
		return 0;
	}
	return -ENOMEM;
}

static void did_free(struct sim *sim, uint32_t did)
{
	sim->header->dids[did / 64] &= ~(1ull << did % 64);
}

struct sim_paging sim_hwpt_paging(const struct sim *sim, const struct sim_object *hwpt)
{
	const struct sim_config *config = &sim->header->config;

	return (struct sim_paging){
		.arm = config->smmuv3,
		.first = hwpt->first != 0,
		.levels = config->five_level && !config->smmuv3 ? 5 : 4,
		.root = hwpt->root,
	};
}

/* Makes the tables of a page table over everything its address space maps. */
static int hwpt_fill(struct sim *sim, uint32_t context, struct sim_object *hwpt)
{
	struct sim_area *areas = sim_areas(sim, context);
	uint64_t aperture = sim_aperture(sim->header, hwpt->first);
	struct sim_paging paging;
	int r = sim_pages_alloc(sim, 1, &hwpt->root);

	if (r < 0)
		return r;
	paging = sim_hwpt_paging(sim, hwpt);
	for (uint32_t i = 0; r == 0 && i < SIM_AREAS_MAX; i++) {
		struct sim_area *area = &areas[i];

		if (area->ioas != hwpt->ioas)
			continue;
		if (area->iova + area->length > aperture)
			r = -EADDRINUSE;
		else
			r = sim_paging_map(sim, &paging, area->iova, area->phys, area->length,
				area->write != 0);
	}
	if (r < 0)
		sim_paging_free(sim, &paging);
	return r;
}

/* A page table over an address space. */
static int hwpt_paging(struct sim *sim, uint32_t context, const struct calls_hwpt *args,
	bool automatic, uint32_t *ret_id)
{
	struct sim_config *config = &sim->header->config;
	uint32_t flags = args->flags, ioas = args->pt_id;
	struct sim_object hwpt = {
		.type = OBJECT_HWPT, .ioas = ioas, .flags = flags, .automatic = automatic};
	struct sim_paging tables;
	int r;

	if ((flags & ~(CALLS_HWPT_NEST_PARENT | CALLS_HWPT_PASID)) ||
		((flags & CALLS_HWPT_NEST_PARENT) && !config->nesting))
		return -EOPNOTSUPP;
	/* Trap 7: on SMMUv3 one thing or the other. */
	if (config->smmuv3 && flags == (CALLS_HWPT_NEST_PARENT | CALLS_HWPT_PASID))
		return -EOPNOTSUPP;
	/* As Linux: first stage where it can, but what others are nested on is second stage. */
	hwpt.first = (config->first_stage || config->smmuv3) && !(flags & CALLS_HWPT_NEST_PARENT);
	hwpt.unit =
		sim->header->nodes[sim_object_at(sim, context, args->dev_id)->device].config.unit;
	r = hwpt_fill(sim, context, &hwpt);
	if (r < 0)
		return r;
	r = did_alloc(sim, &hwpt.did);
	if (r < 0)
		goto free_tables;
	r = sim_object_add(sim, context, &hwpt, ret_id);
	if (r < 0)
		goto free_did;
	sim_object_at(sim, context, ioas)->users++;
	return 0;
free_did:
	did_free(sim, hwpt.did);
free_tables:
	tables = sim_hwpt_paging(sim, &hwpt);
	sim_paging_free(sim, &tables);
	return r;
}

/* A guest's first-stage table on a page table made with NEST_PARENT. As in the kernel, neither the
   width nor the flags are compared with the capabilities here: that happens when it is attached
   (trap 16). */
static int hwpt_nested(
	struct sim *sim, uint32_t context, const struct calls_hwpt *args, uint32_t *ret_id)
{
	struct sim_object *parent = sim_object_at(sim, context, args->pt_id);
	struct sim_object hwpt = {
		.type = OBJECT_HWPT, .parent = args->pt_id, .flags = args->flags, .first = 1};
	struct uapi_hwpt_vtd_s1 s1;
	int r;

	if (args->flags & ~CALLS_HWPT_PASID || args->data_len == 0)
		return -EOPNOTSUPP;
	if (parent->parent || !(parent->flags & CALLS_HWPT_NEST_PARENT))
		return -EINVAL;
	if (!sim->header->config.nesting)
		return -EOPNOTSUPP;
	if (args->data_type != UAPI_HWPT_DATA_VTD_S1 || args->data_len < sizeof(s1) || !args->data)
		return -EINVAL;
	memcpy(&s1, args->data, sizeof(s1));
	if (s1.flags & ~(uint64_t)(HW_VTD_S1_SRE | HW_VTD_S1_EAFE | HW_VTD_S1_WPE))
		return -EOPNOTSUPP;
	hwpt.s1_flags = s1.flags;
	hwpt.s1_root = s1.pgtbl_addr;
	hwpt.s1_width = s1.addr_width;
	r = did_alloc(sim, &hwpt.did);
	if (r == 0)
		r = sim_object_add(sim, context, &hwpt, ret_id);
	if (r == 0)
		parent->users++;
	else if (hwpt.did)
		did_free(sim, hwpt.did);
	return r;
}

int sim_hwpt_alloc(
	struct sim *sim, uint32_t context, const struct calls_hwpt *args, uint32_t *ret_id)
{
	struct sim_object *on = sim_object_find(sim, context, args->pt_id);

	if (!find_type(sim, context, args->dev_id, OBJECT_DEVICE))
		return -ENOENT;
	if (!on)
		return -EINVAL; /* as any other id that is no page table */
	if (args->data_type == UAPI_HWPT_DATA_NONE && args->data_len != 0)
		return -EINVAL;
	if (on->type == OBJECT_VIOMMU)
		return sim_ste_alloc(sim, context, args, ret_id);
	if (on->type == OBJECT_HWPT)
		return sim->header->config.smmuv3 ? -EOPNOTSUPP
						  : hwpt_nested(sim, context, args, ret_id);
	if (on->type != OBJECT_IOAS)
		return -EINVAL;
	if (args->data_len != 0)
		return -EOPNOTSUPP;
	return hwpt_paging(sim, context, args, false, ret_id);
}

int sim_hwpt_automatic(
	struct sim *sim, uint32_t context, uint32_t dev_id, uint32_t ioas, uint32_t *ret_id)
{
	const struct calls_hwpt args = {.dev_id = dev_id, .pt_id = ioas};
	const struct sim_header *header = sim->header;
	uint32_t unit = header->nodes[sim_object_at(sim, context, dev_id)->device].config.unit;

	for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++) {
		struct sim_object *object = sim_object_at(sim, context, id);

		if (object->type == OBJECT_HWPT && object->automatic && object->ioas == ioas &&
			(object->unit == unit || !header->config.smmuv3)) {
			*ret_id = id;
			return 0;
		}
	}
	return hwpt_paging(sim, context, &args, true, ret_id);
}

static void hwpt_destroy(struct sim *sim, uint32_t context, struct sim_object *hwpt)
{
	struct sim_paging paging = sim_hwpt_paging(sim, hwpt);
	uint32_t on = hwpt->parent ? hwpt->parent : hwpt->ioas;
	bool nested = hwpt->parent != 0;

	__atomic_store_n(&hwpt->type, OBJECT_NONE, __ATOMIC_RELEASE);
	did_free(sim, hwpt->did);
	if (!nested)
		sim_paging_free(sim, &paging);
	sim_object_at(sim, context, on)->users--;
}

static void ioas_destroy(struct sim *sim, uint32_t context, uint32_t id)
{
	struct sim_area *areas = sim_areas(sim, context);

	for (uint32_t i = 0; i < SIM_AREAS_MAX; i++)
		if (areas[i].ioas == id)
			sim_area_drop(sim, &areas[i]);
	__atomic_store_n(&sim_object_at(sim, context, id)->type, OBJECT_NONE, __ATOMIC_RELEASE);
}

/* What only has a name, and something that it stands on. */
static void child_destroy(struct sim *sim, uint32_t context, struct sim_object *object)
{
	__atomic_store_n(&object->type, OBJECT_NONE, __ATOMIC_RELEASE);
	sim_object_at(sim, context, object->parent)->users--;
}

int sim_object_destroy(struct sim *sim, uint32_t context, uint32_t id)
{
	struct sim_object *object = sim_object_find(sim, context, id);

	if (!object)
		return -ENOENT;
	if (object->users > 0)
		return -EBUSY;
	if (object->type == OBJECT_HWPT)
		hwpt_destroy(sim, context, object);
	else if (object->type == OBJECT_IOAS)
		ioas_destroy(sim, context, id);
	else if (object->type == OBJECT_VIOMMU || object->type == OBJECT_VDEVICE)
		child_destroy(sim, context, object);
	else
		return -EBUSY; /* a device goes with its descriptor */
	return 0;
}

void sim_context_free(struct sim *sim, uint32_t context)
{
	bool again = true;

	/* Children first: nothing is used from outside any more, so each round frees what it can.
	 */
	for (int round = 0; again && round < 6; round++) {
		again = false;
		for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++)
			if (sim_object_destroy(sim, context, id) == -EBUSY)
				again = true;
	}
	__atomic_store_n(&sim->header->contexts[context], 0, __ATOMIC_RELEASE);
}

/* Derived state of one object; counters of what it stands on. Page tables of attachments count
 * later. */
static int object_rebuild(struct sim *sim, uint32_t context, uint32_t id)
{
	struct sim_object *object = sim_object_at(sim, context, id);
	struct sim_header *header = sim->header;

	if (object->type == OBJECT_DEVICE) {
		struct sim_node *node = &header->nodes[object->device];

		/* Died between making the object and binding. */
		if (node->bound != context + 1 || node->dev_id != id)
			object->type = OBJECT_NONE;
		object->users = 1;
	}
	if (object->type == OBJECT_VIOMMU || object->type == OBJECT_VDEVICE)
		sim_object_at(sim, context, object->parent)->users++;
	if (object->type != OBJECT_HWPT)
		return 0;
	header->dids[object->did / 64] |= 1ull << object->did % 64;
	sim_object_at(sim, context, object->parent ? object->parent : object->ioas)->users++;
	return object->parent ? 0 : hwpt_fill(sim, context, object);
}

static int context_rebuild(struct sim *sim, uint32_t context)
{
	struct sim_area *areas = sim_areas(sim, context);
	int r = 0;

	for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++)
		sim_object_at(sim, context, id)->users = 0;
	for (uint32_t i = 0; i < SIM_AREAS_MAX; i++)
		if (areas[i].ioas)
			sim->header->files[areas[i].phys >> SIM_FRAMES_FILE & (SIM_FILES_MAX - 1)]
				.users++;
	for (uint32_t id = 1; r == 0 && id <= SIM_OBJECTS_MAX; id++)
		r = object_rebuild(sim, context, id);
	return r;
}

int sim_objects_rebuild(struct sim *sim)
{
	struct sim_header *header = sim->header;
	int r = 0;

	memset(header->dids, 0, sizeof(header->dids));
	for (uint32_t i = 0; i < SIM_FILES_MAX; i++)
		header->files[i].users = 0;
	for (uint32_t i = 0; r == 0 && i < SIM_CONTEXTS_MAX; i++)
		if (header->contexts[i])
			r = context_rebuild(sim, i);
	for (uint32_t i = 0; i < SIM_FILES_MAX; i++)
		if (header->files[i].users == 0)
			header->files[i].used = 0;
	return r;
}
