/* SPDX-License-Identifier: MIT */
/*
 * Binding, attaching and detaching, as three layers of the kernel do it together: VFIO (who
 * attached what through this descriptor), iommufd (groups, reference counts, which tables go
 * together) and the VT-d driver (what is written, and when).
 */
#include "sim_memory.h"

#include <errno.h>

#define WIDTH_4 48u
#define WIDTH_5 57u

/* One place in a group: a PASID, or 0 for the RID. */
struct place {
	struct sim_node *node;
	struct sim_group *group;
	uint32_t context;
	uint32_t pasid;
	uint64_t mine; /* the bits of this member in the word, when it attached this way */
	uint64_t *word;
};

static uint64_t *attach_word(struct sim *sim, uint32_t group, uint32_t pasid)
{
	return &sim->attach[(size_t)group * PASID_COUNT + pasid];
}

/* The iommufd that holds a group: that of any bound member. False when none is. */
static bool group_context(struct sim *sim, const struct sim_group *group, uint32_t *ret_context)
{
	for (uint32_t i = 0; i < group->member_count; i++) {
		uint32_t bound = sim->header->nodes[group->members[i]].bound;

		if (bound) {
			*ret_context = bound - 1;
			return true;
		}
	}
	return false;
}

static struct place place_of(struct sim *sim, uint32_t index, const struct hpasid *pasid)
{
	struct sim_node *node = &sim->header->nodes[index];
	uint32_t number = pasid ? pasid->v : 0;
	struct place place = {
		.node = node,
		.group = &sim->header->groups[node->group],
		.pasid = number,
		/* Trap 2: PASID 0 takes the RID's path, and VFIO remembers that it came as a
		   number. */
		.mine = ATTACH_MEMBER(node->member) |
			(pasid && number == 0 ? ATTACH_NAMED(node->member) : 0),
		.word = attach_word(sim, node->group, number),
	};

	(void)group_context(sim, place.group, &place.context);
	return place;
}

/* Did this member attach here, the same way? */
static bool place_mine(const struct place *place)
{
	uint64_t bits = ATTACH_MEMBER(place->node->member) | ATTACH_NAMED(place->node->member);

	return (*place->word & bits) == place->mine;
}

static void word_write(struct place *place, uint64_t value)
{
	uint16_t *chunk = &place->group->chunk[place->pasid / SIM_CHUNK];
	bool was = *place->word != 0;

	if (value && !was)
		(*chunk)++;
	__atomic_store_n(place->word, value, __ATOMIC_RELEASE);
	if (!value && was)
		(*chunk)--;
}

static struct sim_object *hwpt_at(struct sim *sim, const struct place *place, uint32_t id)
{
	return sim_object_at(sim, place->context, id);
}

/* Drops references to a page table; one that an attach made goes with the last. */
static void hwpt_put(struct sim *sim, uint32_t context, uint32_t id, uint32_t count)
{
	struct sim_object *hwpt = sim_object_at(sim, context, id);

	hwpt->users -= count;
	if (hwpt->users == 0 && hwpt->automatic)
		(void)sim_object_destroy(sim, context, id);
}

/* Does the hardware have a table in which this member's entry stands? Trap 1: without a width it
   has not, and nobody says so. */
static bool node_takes(const struct sim_node *node, uint32_t pasid)
{
	return pasid == 0 || node->width > 0;
}

static struct sim_node *member_at(struct sim *sim, const struct sim_group *group, uint32_t i)
{
	return &sim->header->nodes[group->members[i]];
}

/* The member whose entry is written first, or NULL. */
static struct sim_node *first_taker(struct sim *sim, const struct place *place)
{
	for (uint32_t i = 0; i < place->group->member_count; i++)
		if (node_takes(member_at(sim, place->group, i), place->pasid))
			return member_at(sim, place->group, i);
	return NULL;
}

/* intel_pasid_setup_nested(): the capabilities are compared when the entry is written, not before.
 */
static bool nested_fits(const struct sim_config *config, const struct sim_object *hwpt)
{
	if (hwpt->s1_width != WIDTH_4 && !(hwpt->s1_width == WIDTH_5 && config->five_level))
		return false;
	return (config->supervisor || !(hwpt->s1_flags & HW_VTD_S1_SRE)) &&
	       (config->extended_access || !(hwpt->s1_flags & HW_VTD_S1_EAFE));
}

static struct vtd_entry hwpt_entry(struct sim *sim, uint32_t context, const struct sim_object *hwpt)
{
	struct vtd_entry entry = {
		.present = true,
		.did = hwpt->did,
		.aw = sim->header->config.five_level ? 3 : 2,
		.page_walk_snoop = true,
	};

	if (hwpt->parent) {
		entry.pgtt = VTD_PGTT_NESTED;
		entry.first = hwpt->s1_root;
		entry.second = sim_object_at(sim, context, hwpt->parent)->root;
		entry.fspm = hwpt->s1_width == WIDTH_5;
		entry.supervisor = (hwpt->s1_flags & HW_VTD_S1_SRE) != 0;
		entry.write_protect = entry.supervisor && (hwpt->s1_flags & HW_VTD_S1_WPE) != 0;
		entry.extended_access = (hwpt->s1_flags & HW_VTD_S1_EAFE) != 0;
	} else if (hwpt->first) {
		entry.pgtt = VTD_PGTT_FIRST;
		entry.first = hwpt->root;
		entry.fspm = sim->header->config.five_level;
	} else {
		entry.pgtt = VTD_PGTT_SECOND;
		entry.second = hwpt->root;
	}
	return entry;
}

/* Are numbers other than this place's attached? */
static bool group_has_others(const struct place *place)
{
	const uint64_t *words = place->word - place->pasid;
	uint32_t others = place->group->chunk[0];

	for (uint32_t i = 1; i < PASID_COUNT / SIM_CHUNK; i++)
		others += place->group->chunk[i];
	return others > (words[0] != 0 ? 1u : 0u) + (place->pasid && *place->word ? 1u : 0u);
}

static struct sim_smmuv3_place smmuv3_place(const struct place *place)
{
	return (struct sim_smmuv3_place){
		.context = place->context,
		.pasid = place->pasid,
		.rid = *(place->word - place->pasid) != 0,
		.pasids = group_has_others(place),
	};
}

static void entry_clear(struct sim *sim, const struct place *place, struct sim_node *node)
{
	const struct sim_smmuv3_place at = smmuv3_place(place);

	if (sim->header->config.smmuv3)
		sim_smmuv3_clear(sim, node, &at);
	else
		sim_entry_clear(sim, node, place->pasid);
}

static int entry_set(struct sim *sim, const struct place *place, struct sim_node *node,
	const struct sim_object *hwpt)
{
	const struct sim_smmuv3_place at = smmuv3_place(place);
	struct vtd_entry entry;

	if (sim->header->config.smmuv3)
		return sim_smmuv3_set(sim, node, &at, hwpt);
	entry = hwpt_entry(sim, place->context, hwpt);
	return sim_entry_set(sim, node, place->pasid, &entry);
}

static void entries_clear(struct sim *sim, const struct place *place)
{
	for (uint32_t i = 0; i < place->group->member_count; i++)
		entry_clear(sim, place, member_at(sim, place->group, i));
}

static int entries_set(struct sim *sim, const struct place *place, uint32_t id)
{
	struct sim_object *hwpt = hwpt_at(sim, place, id);
	int r = 0;

	if (!sim->header->config.smmuv3 && hwpt->parent && !nested_fits(&sim->header->config, hwpt))
		return -EINVAL;
	for (uint32_t i = 0; r == 0 && i < place->group->member_count; i++) {
		struct sim_node *node = member_at(sim, place->group, i);

		if (node_takes(node, place->pasid))
			r = entry_set(sim, place, node, hwpt);
	}
	return r;
}

/* iommu_attach_device_pasid(): no number beyond any member's width, and nothing during a reset
 * (trap 17). */
static int group_check(struct sim *sim, const struct place *place)
{
	for (uint32_t i = 0; i < place->group->member_count; i++) {
		struct sim_node *node = member_at(sim, place->group, i);

		if (node->width > 0 && place->pasid >> node->width != 0)
			return -EINVAL;
		if (node->reset_until)
			return -EBUSY;
	}
	return 0;
}

/* iommufd_hwpt_pasid_compat(): trap 4. Where PASIDs are attached, the RID's table has ALLOC_PASID
 * too. */
static int table_check(struct sim *sim, const struct place *place, uint32_t id)
{
	uint64_t rid = *(place->word - place->pasid);
	bool compatible = (hwpt_at(sim, place, id)->flags & CALLS_HWPT_PASID) != 0;

	if (place->pasid == 0)
		return compatible || !group_has_others(place) ? 0 : -EINVAL;
	if (!compatible)
		return -EINVAL;
	if (ATTACH_HWPT(rid) && !(hwpt_at(sim, place, ATTACH_HWPT(rid))->flags & CALLS_HWPT_PASID))
		return -EINVAL;
	return 0;
}

/* What the driver of an SMMUv3 looks at in each member before it writes anything. */
static int driver_check(struct sim *sim, const struct place *place, uint32_t id)
{
	int r = 0;

	for (uint32_t i = 0; sim->header->config.smmuv3 && r == 0 && i < place->group->member_count;
		i++)
		if (node_takes(member_at(sim, place->group, i), place->pasid))
			r = sim_smmuv3_fits(sim, place->group->members[i], place->context,
				place->pasid, hwpt_at(sim, place, id));
	return r;
}

static int place_attach(struct sim *sim, struct place *place, uint32_t id)
{
	uint64_t word = *place->word;
	int r = 0;

	if (word & ATTACH_MEMBER(place->node->member))
		return -EBUSY; /* attached the other way: the RID, and PASID 0 */
	if (word && ATTACH_HWPT(word) != id)
		return -EINVAL; /* trap 6: another member named another table */
	if (!word) {
		r = table_check(sim, place, id);
		if (r == 0)
			r = group_check(sim, place);
		if (r == 0)
			r = driver_check(sim, place, id);
		if (r < 0)
			return r;
		r = entries_set(sim, place, id);
		if (r < 0) {
			entries_clear(sim, place);
			return r;
		}
		word = id;
	}
	hwpt_at(sim, place, id)->users++;
	word_write(place, word | place->mine);
	return 0;
}

/* Trap 16: between teardown and set-up the entry is absent, for everybody to see. */
static int replace_pause(
	struct sim *sim, const struct place *place, uint32_t id, uint32_t references)
{
	struct sim_unit *unit = &sim->header->units[place->node->config.unit];
	uint32_t us = sim->header->config.replace_us;
	int r;

	if (us == 0 || sim->header->config.smmuv3)
		return 0;
	unit->changing_to = place->context << 16 | id;
	__atomic_store_n(&unit->changing, references, __ATOMIC_RELEASE);
	sim_unlock(sim);
	sim_sleep_us(us);
	r = sim_lock(sim);
	__atomic_store_n(&unit->changing, 0, __ATOMIC_RELEASE);
	return r;
}

/* Trap 3: replaces without a word. Trap 16: what fails after the teardown leaves a PASID's entry
   absent on the first member, while everybody believes the old table attached; a RID gets its old
   table back. */
static int place_replace(struct sim *sim, struct place *place, uint32_t id)
{
	uint32_t old = ATTACH_HWPT(*place->word);
	uint32_t members = (uint32_t)__builtin_popcount(ATTACH_MEMBERS(*place->word));
	struct sim_node *first;
	int r;

	if (old == id)
		return 0;
	r = table_check(sim, place, id);
	if (r == 0)
		r = group_check(sim, place);
	if (r == 0)
		r = driver_check(sim, place, id);
	if (r < 0)
		return r;
	hwpt_at(sim, place, id)->users += members;
	first = first_taker(sim, place);
	if (first && !sim->header->config.smmuv3)
		sim_entry_clear(sim, first, place->pasid);
	r = replace_pause(sim, place, id, members);
	if (r < 0)
		return r;
	r = entries_set(sim, place, id);
	if (r < 0) {
		hwpt_put(sim, place->context, id, members);
		if (place->pasid)
			word_write(place, *place->word | ATTACH_TORN);
		else
			(void)entries_set(sim, place, old);
		return r;
	}
	word_write(place, (*place->word & ~(uint64_t)0xffff & ~ATTACH_TORN) | id);
	hwpt_put(sim, place->context, old, members);
	return 0;
}

static void place_detach(struct sim *sim, struct place *place)
{
	uint64_t word = *place->word & ~place->mine;
	uint32_t id = ATTACH_HWPT(word);

	if (!ATTACH_MEMBERS(word)) { /* trap 6: entries stay until the last member's detach */
		entries_clear(sim, place);
		word = 0;
	}
	word_write(place, word);
	hwpt_put(sim, place->context, id, 1);
}

int sim_bind(struct sim *sim, uint32_t index, uint32_t context, uint32_t *ret_dev_id)
{
	struct sim_node *node = &sim->header->nodes[index];
	struct sim_group *group = &sim->header->groups[node->group];
	struct sim_object object = {.type = OBJECT_DEVICE, .device = index, .users = 1};
	uint32_t id;
	int r;

	for (uint32_t i = 0; i < group->member_count; i++) {
		uint32_t bound = member_at(sim, group, i)->bound;

		if (bound && bound != context + 1)
			return -EPERM; /* trap 6: one group, one iommufd */
	}
	r = sim_object_add(sim, context, &object, &id);
	if (r < 0)
		return r;
	node->dev_id = id;
	__atomic_store_n(&node->bound, context + 1, __ATOMIC_RELEASE);
	*ret_dev_id = id;
	return 0;
}

int sim_attach(struct sim *sim, uint32_t index, uint32_t pt_id, const struct hpasid *pasid)
{
	struct sim_object *table;
	struct place place;
	uint32_t id = pt_id;
	int r = 0;

	if (pasid && pasid->v >= PASID_COUNT)
		return -EINVAL;
	place = place_of(sim, index, pasid);
	table = sim_object_find(sim, place.context, pt_id);
	if (!table)
		return -ENOENT;
	if (table->type == OBJECT_IOAS && place.pasid == 0)
		r = sim_hwpt_automatic(sim, place.context, place.node->dev_id, pt_id, &id);
	else if (table->type != OBJECT_HWPT)
		r = -EINVAL; /* trap 4 */
	if (r < 0)
		return r;
	r = place_mine(&place) ? place_replace(sim, &place, id) : place_attach(sim, &place, id);
	if (r < 0 && id != pt_id)
		hwpt_put(sim, place.context, id, 0);
	return r;
}

int sim_detach(struct sim *sim, uint32_t index, const struct hpasid *pasid)
{
	struct place place;

	if (pasid && pasid->v >= PASID_COUNT)
		return 0;
	place = place_of(sim, index, pasid);
	if (place_mine(&place))
		place_detach(sim, &place);
	return 0; /* also for what was never attached */
}

/* Calls `each` for every PASID of the node's group where something is attached. */
static void group_each(
	struct sim *sim, uint32_t index, void (*each)(struct sim *sim, struct place *place))
{
	uint32_t group = sim->header->nodes[index].group;

	for (uint32_t chunk = 0; chunk < PASID_COUNT / SIM_CHUNK; chunk++) {
		if (!sim->header->groups[group].chunk[chunk])
			continue;
		for (uint32_t i = 0; i < SIM_CHUNK; i++) {
			struct hpasid pasid = {chunk * SIM_CHUNK + i};
			struct place place = place_of(sim, index, pasid.v ? &pasid : NULL);

			if (*place.word)
				each(sim, &place);
		}
	}
}

static void pasid_release(struct sim *sim, struct place *place)
{
	if (place->pasid && place_mine(place))
		place_detach(sim, place);
}

static void rid_release(struct sim *sim, struct place *place)
{
	uint64_t bits = ATTACH_MEMBER(place->node->member) | ATTACH_NAMED(place->node->member);

	place->mine = *place->word & bits;
	if (!place->pasid && place->mine)
		place_detach(sim, place);
}

void sim_release(struct sim *sim, uint32_t index)
{
	struct sim_node *node = &sim->header->nodes[index];
	uint32_t context = node->bound - 1, id = node->dev_id;

	group_each(sim, index, pasid_release);
	group_each(sim, index, rid_release);
	sim_vdevice_release(sim, context, index);
	__atomic_store_n(&node->bound, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&sim_object_at(sim, context, id)->type, OBJECT_NONE, __ATOMIC_RELEASE);
}

static void place_park(struct sim *sim, struct place *place)
{
	entry_clear(sim, place, place->node);
}

void sim_node_park(struct sim *sim, uint32_t index)
{
	group_each(sim, index, place_park);
}

/* Writes the entry of this member as the word says. The tables exist or there is memory for them:
   what stood there before had them too. */
static void place_restore(struct sim *sim, struct place *place)
{
	if (!node_takes(place->node, place->pasid) ||
		((*place->word & ATTACH_TORN) && first_taker(sim, place) == place->node))
		return;
	(void)entry_set(sim, place, place->node, hwpt_at(sim, place, ATTACH_HWPT(*place->word)));
}

void sim_node_restore(struct sim *sim, uint32_t index)
{
	group_each(sim, index, place_restore);
}

/* After a reset Linux attaches what it believes attached: that mends a torn entry. */
static void place_mend(struct sim *sim, struct place *place)
{
	if (node_takes(place->node, place->pasid) && first_taker(sim, place) == place->node)
		word_write(place, *place->word & ~ATTACH_TORN);
	place_restore(sim, place);
}

void sim_node_mend(struct sim *sim, uint32_t index)
{
	group_each(sim, index, place_mend);
}

static void place_count(struct sim *sim, struct place *place)
{
	uint32_t members = (uint32_t)__builtin_popcount(ATTACH_MEMBERS(*place->word));

	place->group->chunk[place->pasid / SIM_CHUNK]++;
	hwpt_at(sim, place, ATTACH_HWPT(*place->word))->users += members;
}

/* Counts the words of a group again: the chunks say where some may be. */
static void group_rebuild(struct sim *sim, uint32_t index)
{
	struct sim_group *group = &sim->header->groups[index];

	for (uint32_t chunk = 0; chunk < PASID_COUNT / SIM_CHUNK; chunk++) {
		uint32_t first = chunk * SIM_CHUNK;

		if (!group->chunk[chunk])
			continue;
		group->chunk[chunk] = 0;
		for (uint32_t pasid = first; pasid < first + SIM_CHUNK; pasid++) {
			struct hpasid number = {pasid};
			struct place place =
				place_of(sim, group->members[0], pasid ? &number : NULL);

			if (*place.word)
				place_count(sim, &place);
		}
	}
	for (uint32_t i = 0; i < group->member_count; i++)
		sim_node_restore(sim, group->members[i]);
}

void sim_attach_rebuild(struct sim *sim)
{
	struct sim_header *header = sim->header;

	for (uint32_t i = 0; i < header->group_count; i++)
		group_rebuild(sim, i);
	for (uint32_t i = 0; i < SIM_UNITS_MAX; i++) {
		struct sim_unit *unit = &header->units[i];

		if (unit->changing)
			sim_object_at(sim, unit->changing_to >> 16, unit->changing_to & 0xffff)
				->users += unit->changing;
	}
	/* Page tables of an attach that died before it attached them. */
	for (uint32_t context = 0; context < SIM_CONTEXTS_MAX; context++) {
		for (uint32_t id = 1; header->contexts[context] && id <= SIM_OBJECTS_MAX; id++) {
			struct sim_object *object = sim_object_at(sim, context, id);

			if (object->type == OBJECT_HWPT && object->automatic)
				hwpt_put(sim, context, id, 0);
		}
	}
}
