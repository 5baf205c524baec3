/* SPDX-License-Identifier: MIT */
/*
 * The guest -> host map of a set once more, in memory that its VMM maps read-only, so that a
 * translation needs no request. Entries and directories are those of translate.h, every address an
 * offset from the start of the memory:
 *
 *   page 0           struct export_header
 *   pages 1, 2       the two directories
 *   pages 3 to 1026  the tables: that of guest PASID g is page 3 + (g >> 10), always
 *
 * A table has its one place for good, and stays when it is empty again: a reader that has found it
 * and comes late reads an absent entry there, never what belongs to another number. Entries change
 * by one aligned store each. Pages that no table needs are holes.
 *
 * The memory comes from a port; nothing here allocates, and nothing is stored into a page that was
 * not reserved.
 */
#ifndef PASIDD_EXPORT_H
#define PASIDD_EXPORT_H

#include "translate.h"

#define EXPORT_MAGIC   UINT64_C(0x0050414d44495341) /* "ASIDMAP" */
#define EXPORT_VERSION 1u
#define EXPORT_FIXED   (1u + TRANSLATE_DIRECTORIES) /* pages that each has */
#define EXPORT_TABLES  (TRANSLATE_DIRECTORIES * TRANSLATE_DIR_ENTRIES)
#define EXPORT_SIZE    ((uint64_t)(EXPORT_FIXED + EXPORT_TABLES) * TRANSLATE_PAGE)

struct export_header {
	uint64_t magic;
	uint32_t version;
	uint32_t closed; /* not kept up to date any more; nothing is found in it */
	uint64_t set;
	uint64_t roots[TRANSLATE_DIRECTORIES]; /* in the form of a directory entry; never change */
};

/*
 * Where the memory of a set comes from. `make`: EXPORT_SIZE bytes that read as zero, the first
 * EXPORT_FIXED pages reserved. `reserve`: from now on the page at this offset can be stored to.
 * Both return 0 or -errno. `drop`: the daemon's mapping goes; whoever has the memory keeps it.
 */
struct export_port {
	int (*make)(void *ctx, struct set_id set, uint8_t **ret_base);
	int (*reserve)(void *ctx, struct set_id set, uint64_t offset);
	void (*drop)(void *ctx, struct set_id set);
	void *ctx;
};

struct export
{
	uint8_t *base;   /* NULL: nobody has asked for it */
	uint32_t tables; /* that were reserved */
};

/* Makes memory that reads as zero an export of this set, without entries. */
void export_format(struct export *e, uint8_t *base, struct set_id set);
/* Takes up memory that an earlier run has left; false: it is not of this set, or was closed. */
bool export_adopt(struct export *e, uint8_t *base, struct set_id set);

/* Is there a table for g? Where would it be? Entries go only where there is one. */
bool export_has(const struct export *e, struct gpasid g);
uint64_t export_offset(struct gpasid g);
/* The page of g's table was reserved. */
void export_add(struct export *e, struct gpasid g);

void export_attach(struct export *e, struct gpasid g, struct hpasid h);
void export_detach(struct export *e, struct gpasid g);
/* Every entry that the map has otherwise becomes as it is there; what has no table is left out. */
void export_correct(struct export *e, const struct translate *map);
/* Readers are told, then every entry goes. */
void export_close(struct export *e);

/* Does it hold what the map holds, and nothing else, and count its tables right? */
bool export_equals(const struct export *e, const struct translate *map);
/* How many pages it takes; 0 when there is none. */
uint32_t export_pages(const struct export *e);

#endif
