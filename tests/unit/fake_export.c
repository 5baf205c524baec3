/* SPDX-License-Identifier: MIT */
#include "fake_export.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int fake_fails(unsigned *countdown)
{
	return *countdown && --*countdown == 0 ? -ENOMEM : 0;
}

/* The place of the one that was dropped longest ago, as far as anybody can tell. */
static struct fake_map *fake_place(struct fake_export *exports)
{
	struct fake_map *found = NULL;

	for (unsigned i = 0; i < FAKE_EXPORTS; i++) {
		struct fake_map *map = &exports->maps[i];

		if (!map->kept && (!found || map->since < found->since))
			found = map;
	}
	assert(found);
	return found;
}

static int fake_make(void *ctx, struct set_id set, uint8_t **ret_base)
{
	struct fake_export *exports = ctx;
	struct fake_map *map = fake_place(exports);

	if (fake_fails(&exports->fail_make))
		return -ENOMEM;
	if (map->base)
		(void)munmap(map->base, EXPORT_SIZE);
	map->base = mmap(
		NULL, EXPORT_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert(map->base != MAP_FAILED);
	(void)mprotect(map->base, (size_t)EXPORT_FIXED * TRANSLATE_PAGE, PROT_READ | PROT_WRITE);
	map->set = set;
	map->kept = true;
	map->since = ++exports->count;
	*ret_base = map->base;
	return 0;
}

static int fake_reserve(void *ctx, struct set_id set, uint64_t offset)
{
	struct fake_export *exports = ctx;
	struct fake_map *map = fake_export_of(exports, set);

	assert(map && map->kept && offset % TRANSLATE_PAGE == 0 && offset < EXPORT_SIZE);
	if (fake_fails(&exports->fail_reserve))
		return -ENOMEM;
	return mprotect(map->base + offset, TRANSLATE_PAGE, PROT_READ | PROT_WRITE);
}

static void fake_drop(void *ctx, struct set_id set)
{
	struct fake_map *map = fake_export_of(ctx, set);

	assert(map && map->kept);
	map->kept = false;
}

struct export_port fake_export_port(struct fake_export *exports)
{
	return (struct export_port){fake_make, fake_reserve, fake_drop, exports};
}

void fake_export_free(struct fake_export *exports)
{
	for (unsigned i = 0; i < FAKE_EXPORTS; i++) {
		if (exports->maps[i].base)
			(void)munmap(exports->maps[i].base, EXPORT_SIZE);
	}
	memset(exports, 0, sizeof(*exports));
}

struct fake_map *fake_export_of(struct fake_export *exports, struct set_id set)
{
	struct fake_map *found = NULL;

	for (unsigned i = 0; i < FAKE_EXPORTS; i++) {
		struct fake_map *map = &exports->maps[i];

		if (map->base && map->set.v == set.v && (!found || map->since > found->since))
			found = map;
	}
	return found;
}

/* By the layout, not by the code that writes it. */
uint32_t fake_export_read(const struct fake_map *map, uint32_t guest)
{
	uint64_t root, directory;
	uint32_t closed, entry;

	memcpy(&closed, map->base + 12, sizeof(closed));
	if (closed)
		return 0;
	memcpy(&root, map->base + 24 + (size_t)(guest >> 19) * sizeof(root), sizeof(root));
	if (!(root & 1))
		return 0;
	memcpy(&directory,
		map->base + (root & ~UINT64_C(0xfff)) + (size_t)((guest >> 10) % 512) * 8,
		sizeof(directory));
	if (!(directory & 1))
		return 0;
	memcpy(&entry, map->base + (directory & ~UINT64_C(0xfff)) + (size_t)(guest % 1024) * 4,
		sizeof(entry));
	return entry >> 31 ? entry & 0xfffff : 0;
}
