/* SPDX-License-Identifier: MIT */
/*
 * A set's guest->host map, and its export if somebody asked for it: their pages are charged before
 * they are taken, and both change together.
 */
#include "broker_private.h"

#include <string.h>

static struct set_id set_id_of(const struct broker *b, uint32_t set)
{
	return (struct set_id){set_name_of(b, set)};
}

static bool map_is_exported(const struct broker *b, uint32_t set)
{
	return b->sets[set].export.base != NULL;
}

static int map_no_memory(struct broker *b, uint32_t set, struct error *ret_error)
{
	return error_set(ret_error, REASON_NO_MEMORY,
		"there is no memory for the translation table of set '%.*s'", SET_NAME(b, set));
}

/* Makes sure that the export has a table for guest; what it takes is charged already. */
static int map_reserve(struct broker *b, uint32_t set, struct gpasid guest)
{
	const struct export_port *port = &b->ports.export;
	struct export *export = &b->sets[set].export;
	int r;

	if (!map_is_exported(b, set) || export_has(export, guest))
		return 0;
	r = port->reserve(port->ctx, set_id_of(b, set), export_offset(guest));
	if (r == 0)
		export_add(export, guest);
	return r;
}

static uint32_t map_need(const struct broker *b, uint32_t set, struct gpasid guest)
{
	const struct set *run = &b->sets[set];

	return translate_need(&run->map, guest) +
	       (map_is_exported(b, set) && !export_has(&run->export, guest));
}

static uint32_t map_held(const struct broker *b, uint32_t set)
{
	return translate_held(&b->sets[set].map) + export_pages(&b->sets[set].export);
}

int map_attach(struct broker *b, uint32_t set, struct gpasid guest, struct hpasid host,
	struct error *ret_error)
{
	struct set *run = &b->sets[set];
	const uint32_t before = map_held(b, set), need = map_need(b, set, guest);
	int r = 0;

	if (need)
		r = set_charge(b, set, RESOURCE_MAP_PAGES, need, ret_error);
	if (r)
		return r;
	r = map_reserve(b, set, guest);
	if (r == 0)
		r = translate_attach(&run->map, guest, host);
	/* a table of the export stays, whatever became of the entry */
	set_release(b, set, RESOURCE_MAP_PAGES, need - (map_held(b, set) - before));
	if (r != 0 && !(MUTANT(G) && r == STATUS_EXISTS))
		return map_no_memory(b, set, ret_error);
	if (map_is_exported(b, set))
		export_attach(&run->export, guest, host);
	return 0;
}

void map_detach(struct broker *b, uint32_t set, struct gpasid guest)
{
	struct translate *map = &b->sets[set].map;
	uint32_t held = translate_held(map);

	if (map_is_exported(b, set) && !MUTANT(E))
		export_detach(&b->sets[set].export, guest);
	(void)translate_detach(map, guest);
	set_release(b, set, RESOURCE_MAP_PAGES, held - translate_held(map));
}

/* Whoever has the memory is told that it says nothing any more. */
static void map_close_export(struct broker *b, uint32_t set)
{
	export_close(&b->sets[set].export);
	b->ports.export.drop(b->ports.export.ctx, set_id_of(b, set));
}

void map_clear(struct broker *b, uint32_t set)
{
	set_release(b, set, RESOURCE_MAP_PAGES, map_held(b, set));
	if (map_is_exported(b, set)) {
		set_release(b, set, RESOURCE_DESCRIPTORS, 1);
		map_close_export(b, set);
	}
	translate_done(&b->sets[set].map);
}

/* ------------------------------------------------------------------ the export */

static uint32_t map_tables(const struct broker *b, uint32_t set)
{
	struct gpasid guest = {0};
	struct hpasid host;
	uint32_t tables = 0;

	while (guest.v < PASID_COUNT &&
		translate_next(&b->sets[set].map, guest, &guest, &host) == 0) {
		guest.v = (guest.v | (TRANSLATE_TABLE_ENTRIES - 1)) + 1;
		tables++;
	}
	return tables;
}

/* A table for each of the map's, with its entries. */
static int map_fill(struct broker *b, uint32_t set)
{
	struct set *run = &b->sets[set];
	struct gpasid guest = {0};
	struct hpasid host;

	while (guest.v < PASID_COUNT && translate_next(&run->map, guest, &guest, &host) == 0) {
		const int r = map_reserve(b, set, guest);

		if (r != 0)
			return r;
		guest.v = (guest.v | (TRANSLATE_TABLE_ENTRIES - 1)) + 1;
	}
	export_correct(&run->export, &run->map);
	return 0;
}

/* One descriptor, whoever has copies of it, and pages. */
static int map_charge_export(
	struct broker *b, uint32_t set, uint32_t pages, struct error *ret_error)
{
	int r = set_charge(b, set, RESOURCE_DESCRIPTORS, 1, ret_error);

	if (r)
		return r;
	r = set_charge(b, set, RESOURCE_MAP_PAGES, pages, ret_error);
	if (r)
		set_release(b, set, RESOURCE_DESCRIPTORS, 1);
	return r;
}

static int map_make_export(struct broker *b, uint32_t set)
{
	uint8_t *base;
	int r = b->ports.export.make(b->ports.export.ctx, set_id_of(b, set), &base);

	if (r != 0)
		return r;
	export_format(&b->sets[set].export, base, set_id_of(b, set));
	r = map_fill(b, set);
	if (r != 0)
		map_close_export(b, set);
	return r;
}

static int map_export(struct broker *b, uint32_t set, struct error *ret_error)
{
	const uint32_t pages = EXPORT_FIXED + map_tables(b, set);
	int r = map_charge_export(b, set, pages, ret_error);

	if (r)
		return r;
	r = map_make_export(b, set);
	if (r == 0)
		return 0;
	set_release(b, set, RESOURCE_MAP_PAGES, pages);
	set_release(b, set, RESOURCE_DESCRIPTORS, 1);
	(void)map_no_memory(b, set, ret_error);
	ret_error->sys_errno = -r;
	return STATUS_RETRY;
}

int broker_set_export(struct broker *b, const struct actor *actor, struct set_id id,
	struct set_id *ret_set, struct error *ret_error)
{
	uint32_t set;
	int r;

	r = set_for_change(b, actor, id, &set, ret_error);
	if (r)
		return r;
	if (set_mode(b, set) == SET_GUEST_OWNED)
		return error_set(ret_error, REASON_SET_MODE,
			"set '%.*s' has no numbers of the host to translate to; its guest owns the "
			"PASID tables",
			SET_NAME(b, set));
	if (!map_is_exported(b, set))
		r = map_export(b, set, ret_error);
	if (r == 0)
		*ret_set = set_id_of(b, set);
	return r;
}

int broker_export_adopt(struct broker *b, struct set_id id, uint8_t *base)
{
	const uint32_t set = set_slot_of(b, id);
	struct export found;

	if (!export_adopt(&found, base, id))
		return STATUS_NOT_FOUND;
	if (set == STATE_NONE || set_state(b, set) != SET_ACTIVE || map_is_exported(b, set)) {
		export_close(&found);
		return STATUS_NOT_FOUND;
	}
	b->sets[set].export = found;
	if (map_fill(b, set) != 0) {
		export_close(&b->sets[set].export);
		return STATUS_RETRY;
	}
	set_charge_anyway(b, set, RESOURCE_DESCRIPTORS, 1);
	set_charge_anyway(b, set, RESOURCE_MAP_PAGES, export_pages(&b->sets[set].export));
	return 0;
}
