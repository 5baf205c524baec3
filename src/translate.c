/* SPDX-License-Identifier: MIT */
#include "translate.h"

#include <assert.h>

/* The processor reads both kinds of entries little-endian, and so do those who map the pages. */
_Static_assert(
	__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the tables are stored as the host stores");

/* The root entry of g's directory. */
static uint64_t *translate_root(struct translate *t, struct gpasid g)
{
	return &t->roots[g.v >> 19];
}

/* What a present entry points to. */
static void *translate_page(const struct translate *t, uint64_t entry)
{
	return t->pages->base + (entry & TRANSLATE_ADDRESS);
}

/* The directory entry of g, whose directory is present. */
static uint64_t *translate_slot(const struct translate *t, struct gpasid g)
{
	uint64_t *directory = translate_page(t, t->roots[g.v >> 19]);

	return &directory[(g.v >> 10) % TRANSLATE_DIR_ENTRIES];
}

/* The table that g's entry is in, or NULL. */
static uint32_t *translate_table(const struct translate *t, struct gpasid g)
{
	uint64_t slot;

	if (t->roots[g.v >> 19] == 0)
		return NULL;
	slot = *translate_slot(t, g);
	return slot == 0 ? NULL : translate_page(t, slot);
}

/* The valid table entry of g, or NULL. */
static uint32_t *translate_entry(const struct translate *t, struct gpasid g)
{
	uint32_t *table = translate_table(t, g);
	uint32_t *entry;

	if (table == NULL)
		return NULL;
	entry = &table[g.v % TRANSLATE_TABLE_ENTRIES];
	return *entry & TRANSLATE_VALID ? entry : NULL;
}

/* A fresh page, as the entry that will point to it. */
static int translate_take(struct translate *t, uint64_t *ret_entry)
{
	uint64_t offset;
	int r;

	r = t->pages->take(t->pages->ctx, &offset);
	if (r != 0)
		return r;
	assert(offset % TRANSLATE_PAGE == 0);
	t->held++;
	*ret_entry = offset | TRANSLATE_PRESENT;
	return 0;
}

/* Unlinks a page, then gives it back: readers must not be able to find it any more. */
static void translate_give(struct translate *t, uint64_t *link)
{
	const uint64_t offset = *link & TRANSLATE_ADDRESS;

	__atomic_store_n(link, 0, __ATOMIC_RELEASE);
	t->pages->give(t->pages->ctx, offset);
	t->held--;
}

/* Makes sure that there is a table for g. The port may move the pages: addresses are found after
 * the takes. */
static int translate_grow(struct translate *t, struct gpasid g)
{
	uint64_t *root = translate_root(t, g);
	const bool had_directory = *root != 0;
	uint64_t entry;
	int r;

	if (!had_directory) {
		r = translate_take(t, &entry);
		if (r != 0)
			return r;
		__atomic_store_n(root, entry, __ATOMIC_RELEASE);
	}
	r = translate_take(t, &entry);
	if (r != 0) {
		if (!had_directory)
			translate_give(t, root);
		return r;
	}
	__atomic_store_n(translate_slot(t, g), entry, __ATOMIC_RELEASE);
	return 0;
}

void translate_init(struct translate *t, const struct translate_pages *pages)
{
	*t = (struct translate){.pages = pages};
}

void translate_done(struct translate *t)
{
	for (uint32_t d = 0; d < TRANSLATE_DIRECTORIES; d++) {
		if (t->roots[d] == 0)
			continue;
		for (uint32_t i = 0; i < TRANSLATE_DIR_ENTRIES; i++) {
			uint64_t *directory = translate_page(t, t->roots[d]);

			if (directory[i] != 0)
				translate_give(t, &directory[i]);
		}
		translate_give(t, &t->roots[d]);
	}
	t->count = 0;
}

int translate_attach(struct translate *t, struct gpasid g, struct hpasid h)
{
	uint32_t *entry;
	int r;

	assert(g.v < PASID_COUNT && h.v < PASID_COUNT);

	if (translate_entry(t, g) != NULL)
		return STATUS_EXISTS;
	if (translate_table(t, g) == NULL) {
		r = translate_grow(t, g);
		if (r != 0)
			return r;
	}
	entry = translate_table(t, g) + g.v % TRANSLATE_TABLE_ENTRIES;
	__atomic_store_n(entry, h.v | TRANSLATE_VALID, __ATOMIC_RELEASE);
	t->count++;
	return 0;
}

/* Looks first at the neighbours of the entry that went: sets are emptied upwards or downwards, so
 * one of them mostly says no. */
static bool translate_table_is_empty(const uint32_t *table, uint32_t gone)
{
	if (table[(gone - 1) % TRANSLATE_TABLE_ENTRIES] != 0)
		return false;
	for (uint32_t i = 1; i < TRANSLATE_TABLE_ENTRIES; i++) {
		if (table[(gone + i) % TRANSLATE_TABLE_ENTRIES] != 0)
			return false;
	}
	return true;
}

int translate_detach(struct translate *t, struct gpasid g)
{
	uint32_t *entry;

	assert(g.v < PASID_COUNT);

	entry = translate_entry(t, g);
	if (entry == NULL)
		return STATUS_NOT_FOUND;
	__atomic_store_n(entry, 0, __ATOMIC_RELEASE);
	t->count--;
	if (translate_table_is_empty(translate_table(t, g), g.v))
		translate_give(t, translate_slot(t, g));
	return 0;
}

int translate_find(const struct translate *t, struct gpasid g, struct hpasid *ret_host)
{
	const uint32_t *entry;

	assert(g.v < PASID_COUNT);

	entry = translate_entry(t, g);
	if (entry == NULL)
		return STATUS_NOT_FOUND;
	ret_host->v = *entry & TRANSLATE_HOST;
	return 0;
}

uint32_t translate_count(const struct translate *t)
{
	return t->count;
}

uint32_t translate_need(const struct translate *t, struct gpasid g)
{
	if (t->roots[g.v >> 19] == 0)
		return 2;
	return translate_table(t, g) == NULL ? 1 : 0;
}

uint32_t translate_held(const struct translate *t)
{
	return t->held;
}

uint32_t translate_recount(const struct translate *t)
{
	uint32_t pages = 0;

	for (uint32_t d = 0; d < TRANSLATE_DIRECTORIES; d++) {
		const uint64_t *directory =
			t->roots[d] == 0 ? NULL : translate_page(t, t->roots[d]);

		pages += directory != NULL;
		for (uint32_t i = 0; directory != NULL && i < TRANSLATE_DIR_ENTRIES; i++)
			pages += directory[i] != 0;
	}
	return pages;
}

int translate_next(const struct translate *t, struct gpasid from, struct gpasid *ret_guest,
	struct hpasid *ret_host)
{
	struct gpasid g = from;

	while (g.v < PASID_COUNT) {
		const uint32_t *entry = translate_entry(t, g);

		if (entry != NULL) {
			ret_host->v = *entry & TRANSLATE_HOST;
			*ret_guest = g;
			return 0;
		}
		if (translate_table(t, g) == NULL) /* on to the next table's numbers */
			g.v |= TRANSLATE_TABLE_ENTRIES - 1;
		g.v++;
	}
	return STATUS_NOT_FOUND;
}
