/* SPDX-License-Identifier: MIT */
#include "runtime_export.h"

#include "broker.h"

void runtime_export_adopt(struct runtime_passed *passed, struct export_memory *memory,
	struct broker *broker, struct runtime_store *store)
{
	for (size_t i = 0; i < passed->map_count; i++) {
		struct runtime_map *map = &passed->maps[i];
		uint8_t *base;

		if (export_memory_adopt(memory, map->set, map->fd, &base) != 0) {
			runtime_store_map(store, map->set, -1, false);
			continue;
		}
		map->fd = -1;
		if (broker_export_adopt(broker, map->set, base) != 0)
			export_memory_drop(memory, map->set); /* which tells the store */
	}
}
