/* SPDX-License-Identifier: MIT */
#include "export.h"

#include <assert.h>

static struct export_header *export_head(const struct export *e)
{
	return (void *)e->base;
}

/* The directory entry of the table with this index; both directories lie one after the other. */
static uint64_t *export_slot(const struct export *e, uint32_t table)
{
	return (uint64_t *)(void *)(e->base + TRANSLATE_PAGE) + table;
}

static uint32_t *export_table(const struct export *e, uint32_t table)
{
	return (uint32_t *)(void *)(e->base + (uint64_t)(EXPORT_FIXED + table) * TRANSLATE_PAGE);
}

static uint32_t export_index(struct gpasid g)
{
	return g.v / TRANSLATE_TABLE_ENTRIES;
}

static uint32_t *export_entry(const struct export *e, struct gpasid g)
{
	return export_table(e, export_index(g)) + g.v % TRANSLATE_TABLE_ENTRIES;
}

static uint64_t export_root(uint32_t directory)
{
	return (uint64_t)(1 + directory) * TRANSLATE_PAGE | TRANSLATE_PRESENT;
}

uint64_t export_offset(struct gpasid g)
{
	return (uint64_t)(EXPORT_FIXED + export_index(g)) * TRANSLATE_PAGE;
}

/* ---------------------------------------------------------------- begin and end */

void export_format(struct export *e, uint8_t *base, struct set_id set)
{
	struct export_header *head = (void *)base;

	*e = (struct export){.base = base};
	head->version = EXPORT_VERSION;
	head->set = set.v;
	for (uint32_t d = 0; d < TRANSLATE_DIRECTORIES; d++)
		head->roots[d] = export_root(d);
	__atomic_store_n(&head->magic, EXPORT_MAGIC, __ATOMIC_RELEASE);
}

/* A directory points where this layout puts its tables, or nowhere. */
static bool export_count(struct export *e)
{
	for (uint32_t i = 0; i < EXPORT_TABLES; i++) {
		const uint64_t entry = *export_slot(e, i);
		const struct gpasid first = {i * TRANSLATE_TABLE_ENTRIES};

		if (entry != 0 && entry != (export_offset(first) | TRANSLATE_PRESENT))
			return false;
		e->tables += entry != 0;
	}
	return true;
}

bool export_adopt(struct export *e, uint8_t *base, struct set_id set)
{
	const struct export_header *head = (const void *)base;
	struct export found = {.base = base};

	if (head->magic != EXPORT_MAGIC || head->version != EXPORT_VERSION || head->closed ||
		head->set != set.v)
		return false;
	for (uint32_t d = 0; d < TRANSLATE_DIRECTORIES; d++) {
		if (head->roots[d] != export_root(d))
			return false;
	}
	if (!export_count(&found))
		return false;
	*e = found;
	return true;
}

void export_close(struct export *e)
{
	__atomic_store_n(&export_head(e)->closed, 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < EXPORT_TABLES; i++) {
		if (*export_slot(e, i) == 0)
			continue;
		for (uint32_t k = 0; k < TRANSLATE_TABLE_ENTRIES; k++)
			__atomic_store_n(export_table(e, i) + k, 0, __ATOMIC_RELEASE);
	}
	*e = (struct export){0};
}

/* ---------------------------------------------------------------- entries */

bool export_has(const struct export *e, struct gpasid g)
{
	return *export_slot(e, export_index(g)) != 0;
}

void export_add(struct export *e, struct gpasid g)
{
	assert(!export_has(e, g));
	__atomic_store_n(export_slot(e, export_index(g)), export_offset(g) | TRANSLATE_PRESENT,
		__ATOMIC_RELEASE);
	e->tables++;
}

void export_attach(struct export *e, struct gpasid g, struct hpasid h)
{
	assert(export_has(e, g));
	__atomic_store_n(export_entry(e, g), h.v | TRANSLATE_VALID, __ATOMIC_RELEASE);
}

void export_detach(struct export *e, struct gpasid g)
{
	if (export_has(e, g))
		__atomic_store_n(export_entry(e, g), 0, __ATOMIC_RELEASE);
}

/* What the map says of g, as an entry. */
static uint32_t export_wanted(const struct translate *map, struct gpasid g)
{
	struct hpasid host;

	return translate_find(map, g, &host) == 0 ? host.v | TRANSLATE_VALID : 0;
}

void export_correct(struct export *e, const struct translate *map)
{
	for (uint32_t v = 0; v < PASID_COUNT; v++) {
		const struct gpasid g = {v};

		if (!export_has(e, g)) {
			v |= TRANSLATE_TABLE_ENTRIES - 1;
			continue;
		}
		if (*export_entry(e, g) != export_wanted(map, g))
			__atomic_store_n(
				export_entry(e, g), export_wanted(map, g), __ATOMIC_RELEASE);
	}
}

bool export_equals(const struct export *e, const struct translate *map)
{
	struct export counted = {.base = e->base};
	uint32_t entries = 0;

	if (!export_count(&counted) || counted.tables != e->tables)
		return false;
	for (uint32_t v = 0; v < PASID_COUNT; v++) {
		const struct gpasid g = {v};

		if (!export_has(e, g)) {
			v |= TRANSLATE_TABLE_ENTRIES - 1;
			continue;
		}
		if (*export_entry(e, g) != export_wanted(map, g))
			return false;
		entries += *export_entry(e, g) != 0;
	}
	return entries == translate_count(map);
}

uint32_t export_pages(const struct export *e)
{
	return e->base == NULL ? 0 : EXPORT_FIXED + e->tables;
}
