/* SPDX-License-Identifier: MIT */
/*
 * The guest->host map of a set: two or three steps of translate.c from an empty map, of any guest
 * PASIDs, with any page refused. Its pages are small ones: two directories of two entries, tables
 * of four.
 *
 *   G  a guest PASID that is mapped is not mapped again, to anything; what is found is what was
 *      attached; each change leaves all other guest PASIDs alone; the table that others read says
 *      the same as the map
 *   Q  the pages that the map holds are those that are in its tables; a failure keeps none
 */
#include "proof.h"
#include "translate.h"

#define PAGES 4u
#define FIRST 5u /* of the first directory, in its second table */

static uint64_t memory[PAGES][TRANSLATE_PAGE / sizeof(uint64_t)];
static uint32_t pages_taken, pages_given;

static int pages_take(void *ctx, uint64_t *ret_offset)
{
	(void)ctx;
	if (pages_taken == PAGES || nondet_bool())
		return STATUS_RETRY;
	*ret_offset = (uint64_t)TRANSLATE_PAGE * pages_taken++;
	return 0;
}

static void pages_give(void *ctx, uint64_t offset)
{
	(void)ctx;
	PROVE(offset / TRANSLATE_PAGE < pages_taken, "Q: a page that was taken is given back");
	pages_given++;
}

static struct gpasid any_guest(void)
{
	return (struct gpasid){any_of(0, PASID_LAST)};
}

static void prove_detach(struct translate *t, struct gpasid g, struct gpasid other)
{
	struct hpasid host, before = {0};
	const int was = translate_find(t, other, &before);
	const uint32_t count = translate_count(t);
	const int mapped = translate_find(t, g, &host);

	PROVE(translate_detach(t, g) == mapped, "G: what is mapped can be unmapped");
	PROVE(translate_find(t, g, &host) == STATUS_NOT_FOUND, "G: it is not mapped any more");
	PROVE(translate_count(t) == count - (mapped == 0), "Q: the count follows");
	if (other.v != g.v)
		PROVE(translate_find(t, other, &host) == was && (was || host.v == before.v),
			"G: nothing else changes");
}

static void prove_attach(struct translate *t, struct gpasid g, struct gpasid other)
{
	const struct hpasid h = {any_of(0, PASID_LAST)};
	struct hpasid host, before = {0}, old = {0};
	const int was = translate_find(t, other, &before), mapped = translate_find(t, g, &old);
	const uint32_t held = translate_held(t), need = translate_need(t, g);
	int r = translate_attach(t, g, h);

	PROVE((r == STATUS_EXISTS) == (mapped == 0), "G: never a second time");
	PROVE(translate_held(t) == held + (r == 0 ? need : 0), "Q: as many pages as it said");
	if (r == 0)
		PROVE(translate_find(t, g, &host) == 0 && host.v == h.v, "G: what was attached");
	else
		PROVE(translate_find(t, g, &host) == mapped && (mapped || host.v == old.v),
			"G: a failure changes nothing");
	if (other.v != g.v)
		PROVE(translate_find(t, other, &host) == was && (was || host.v == before.v),
			"G: nothing else changes");
}

static const struct translate_pages pages = {
	.base = (uint8_t *)memory, .take = pages_take, .give = pages_give};

/* One is there already, which stands for all others: what happens to it, happens to them. */
static void map_any(struct translate *t)
{
	const struct gpasid first = {FIRST};

	translate_init(t, &pages);
	(void)translate_attach(t, first, (struct hpasid){any_of(0, PASID_LAST)});
}

void prove_translate_attach(void)
{
	struct translate t;

	map_any(&t);
	prove_attach(&t, any_guest(), (struct gpasid){FIRST});
	PROVE(translate_held(&t) == pages_taken - pages_given, "Q: pages are held or given back");
}

void prove_translate_detach(void)
{
	const struct gpasid second = any_guest();
	struct translate t;

	map_any(&t);
	(void)translate_attach(&t, second, (struct hpasid){any_of(0, PASID_LAST)});
	if (nondet_bool())
		prove_detach(&t, second, (struct gpasid){FIRST});
	else
		prove_detach(&t, (struct gpasid){FIRST}, second);
	PROVE(translate_held(&t) == pages_taken - pages_given, "Q: pages are held or given back");
}
