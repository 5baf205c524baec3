/* SPDX-License-Identifier: MIT */
/*
 * A set's map from guest to host PASIDs in memory: a translation without a request.
 *
 *     struct pasid_map *map;
 *     uint32_t host;
 *     if (pasid_map_open(client, NULL, &map) == 0 && pasid_map_find(map, guest, &host) ==
 * 1)
 *             ...
 *
 * Layout, version 1, little-endian; an address is an offset from the start of the memory:
 * - bytes 0 to 7 "ASIDMAP\0" as a number, 8 to 11 the version, 12 to 15 nonzero once the memory is
 *   not kept up to date any more, 16 to 23 the set, from 24 two entries for the directories
 * - a directory, chosen by guest PASID bit 19, has 512 entries of eight bytes, chosen by bits
 *   18:10; bit 0 says that there is a table, bits 63:12 where
 * - a table has 1024 entries of four bytes, chosen by bits 9:0; bits 19:0 are the host PASID, bit
 *   31 says that there is one. Directories and tables are as the processor has them for ENQCMD.
 */
#ifndef LIBPASID_MAP_H
#define LIBPASID_MAP_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Made by pasid_map_open(). Its address, and that of the memory, stay. */
struct pasid_map {
	const void *base; /* of the memory */
	size_t size;      /* bytes */
};

/* The eight bytes at this offset, or 0 for what lies outside. */
static inline uint64_t pasid_map_entry(const struct pasid_map *table, uint64_t offset)
{
	const unsigned char *base = (const unsigned char *)table->base;
	if (offset > table->size - sizeof(uint64_t))
		return 0;
	return __atomic_load_n((const uint64_t *)(const void *)(base + offset), __ATOMIC_ACQUIRE);
}

/*
 * The host PASID behind a guest's: 1 and *ret_host, or 0 when there is none, or -ESTALE when the
 * set is gone or the daemon has let go of the memory: open the table again. No call into the
 * system, no lock; any number of threads may do it while the set changes, and each sees what was
 * before a change, or what is after it.
 */
static inline int pasid_map_find(
	const struct pasid_map *table, uint32_t guest_pasid, uint32_t *ret_host)
{
	const unsigned char *base = (const unsigned char *)table->base;
	const uint64_t address = ~UINT64_C(0xfff);
	if (pasid_map_entry(table, 8) >> 32 != 0)
		return -ESTALE;
	if (guest_pasid >> 20 != 0)
		return 0;
	const uint64_t root = pasid_map_entry(table, 24 + (uint64_t)(guest_pasid >> 19) * 8);
	if ((root & 1) == 0)
		return 0;
	const uint64_t slot = (root & address) + (uint64_t)(guest_pasid >> 10 & 511) * 8;
	const uint64_t directory = slot < (root & address) ? 0 : pasid_map_entry(table, slot);
	if ((directory & 1) == 0 || (directory & address) > table->size - 4096)
		return 0;
	const uint32_t entry =
		__atomic_load_n((const uint32_t *)(const void *)(base + (directory & address)) +
					(guest_pasid & 1023),
			__ATOMIC_ACQUIRE);
	if (entry >> 31 == 0)
		return 0;
	*ret_host = entry & 0xfffff;
	return 1;
}

#ifdef __cplusplus
}
#endif

#endif
