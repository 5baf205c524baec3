/* SPDX-License-Identifier: MIT */
/*
 * What page tables and address spaces are charged for: those that the daemon makes, not those that
 * a VMM made on its own iommufd.
 *
 * A worker makes one table for each address space or IOAS of a device, however many numbers are
 * bound to it, and one for each nested binding. A device remembers a handful of the first kind; a
 * binding that finds no place there is charged as if its table were its own, so what is charged is
 * never less than what is made.
 */
#include "broker_private.h"

#include <assert.h>

static uint32_t table_find(struct device *run, const struct device_table *wanted)
{
	uint32_t place = STATE_NONE;

	for (uint32_t i = 0; i < DEVICE_TABLES; i++) {
		const struct device_table *table = &run->tables[i];

		if (table->refs == 0)
			place = place == STATE_NONE ? i : place;
		else if (table->kind == wanted->kind && table->id == wanted->id &&
			 table->parent == wanted->parent)
			return i;
	}
	return place;
}

/* The table that it shares with others, if any, and whether one is made for it alone. */
static void table_plan(struct device *run, const struct hw_table *table,
	struct device_table *wanted, struct table_charge *charge)
{
	bool nested = hw_table_is_nested(table);

	wanted->parent = nested;
	wanted->kind = nested ? table->parent_kind : table->kind;
	wanted->id = table->id;
	charge->own = nested;
	charge->shared = STATE_NONE;
	if (wanted->kind == HW_TABLE_HWPT)
		return;
	charge->shared = table_find(run, wanted);
	charge->own += charge->shared == STATE_NONE;
}

int table_charge(struct broker *b, uint32_t device, const struct hw_table *table,
	struct table_charge *ret_charge, struct error *ret_error)
{
	struct device *run = &b->devices[device];
	struct table_charge charge;
	struct device_table wanted;
	uint32_t n;
	int r;

	table_plan(run, table, &wanted, &charge);
	n = charge.own + (charge.shared != STATE_NONE && run->tables[charge.shared].refs == 0);
	if (n) {
		r = set_charge(b, b->device_slots[device].set, RESOURCE_PAGE_TABLES, n, ret_error);
		if (r)
			return r;
	}
	if (charge.shared != STATE_NONE) {
		wanted.refs = run->tables[charge.shared].refs + 1;
		run->tables[charge.shared] = wanted;
	}
	*ret_charge = charge;
	return 0;
}

void table_release(struct broker *b, uint32_t device, const struct table_charge *charge)
{
	struct device *run = &b->devices[device];
	uint32_t n = charge->own;

	if (charge->shared != STATE_NONE) {
		assert(run->tables[charge->shared].refs > 0);
		n += --run->tables[charge->shared].refs == 0;
	}
	if (n)
		set_release(b, b->device_slots[device].set, RESOURCE_PAGE_TABLES, n);
}

int table_use_space(
	struct broker *b, uint32_t device, uint32_t space, bool *ret_fresh, struct error *ret_error)
{
	struct device_slot *slot = &b->device_slots[device];
	bool fresh = !(slot->spaces & 1u << space);
	int r = 0;

	if (fresh)
		r = set_charge(b, slot->set, RESOURCE_PAGE_TABLES, 1, ret_error);
	if (r)
		return r;
	if (fresh)
		state_commit32(b->ports.state, &slot->spaces, slot->spaces | 1u << space);
	*ret_fresh = fresh;
	return 0;
}

void table_drop_space(struct broker *b, uint32_t device, uint32_t space)
{
	struct device_slot *slot = &b->device_slots[device];

	assert(slot->spaces & 1u << space);
	set_release(b, slot->set, RESOURCE_PAGE_TABLES, 1);
	state_commit32(b->ports.state, &slot->spaces, slot->spaces & ~(1u << space));
}

uint32_t table_count(const struct broker *b, uint32_t device)
{
	const struct device *run = &b->devices[device];
	uint32_t count = 0;

	for (uint32_t i = 0; i < BROKER_SPACES_MAX; i++)
		count += b->device_slots[device].spaces >> i & 1u;
	for (uint32_t i = 0; i < DEVICE_TABLES; i++)
		count += run->tables[i].refs != 0;
	return count;
}

void table_drop_spaces(struct broker *b, uint32_t device)
{
	uint32_t n = table_count(b, device);

	if (n)
		set_release(b, b->device_slots[device].set, RESOURCE_PAGE_TABLES, n);
	if (b->device_slots[device].spaces)
		state_commit32(b->ports.state, &b->device_slots[device].spaces, 0);
}
