/* SPDX-License-Identifier: MIT */
/*
 * A set's guest->host map: its pages are charged before they are taken.
 */
#include "broker_private.h"

#include <string.h>

int map_attach(struct broker *b, uint32_t set, struct gpasid guest, struct hpasid host,
	struct error *ret_error)
{
	uint32_t need = translate_need(&b->sets[set].map, guest);
	int r = 0;

	if (need)
		r = set_charge(b, set, RESOURCE_MAP_PAGES, need, ret_error);
	if (r)
		return r;
	r = translate_attach(&b->sets[set].map, guest, host);
	if (r == 0 || (MUTANT(G) && r == STATUS_EXISTS))
		return 0;
	set_release(b, set, RESOURCE_MAP_PAGES, need);
	return error_set(ret_error, REASON_NO_MEMORY,
		"there is no memory for the translation table of set '%.*s'", SET_NAME(b, set));
}

void map_detach(struct broker *b, uint32_t set, struct gpasid guest)
{
	struct translate *map = &b->sets[set].map;
	uint32_t held = translate_held(map);

	(void)translate_detach(map, guest);
	set_release(b, set, RESOURCE_MAP_PAGES, held - translate_held(map));
}

void map_clear(struct broker *b, uint32_t set)
{
	set_release(b, set, RESOURCE_MAP_PAGES, translate_held(&b->sets[set].map));
	translate_done(&b->sets[set].map);
}
