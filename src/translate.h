/* SPDX-License-Identifier: MIT */
/*
 * The guest -> host map of one set, in the form that the processor walks for ENQCMD (Intel SDM
 * volume 3, PASID translation): two directories of 512 eight-byte entries, the one chosen by guest
 * PASID bit 19, the entry by bits 18:10; tables of 1024 four-byte entries, chosen by bits 9:0.
 *
 * - directory entry: bit 0 present, bits 63:12 the table's address; here its offset from the pages'
 * base
 * - table entry: bits 19:0 the host PASID, bit 31 valid, the rest zero
 *
 * The pages come from a port, so that they can lie in memory which a VMM maps read-only. Every
 * entry changes by one aligned store: a reader without a lock sees the old one or the new one. A
 * table that holds nothing any more goes back to the port, and only the port knows how long a
 * reader may still look at it.
 *
 * That no host number stands behind two guest numbers is the caller's to see to: it has the grants.
 */
#ifndef PASIDD_TRANSLATE_H
#define PASIDD_TRANSLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base.h"

#define TRANSLATE_PAGE          4096u
#define TRANSLATE_DIRECTORIES   2u
#define TRANSLATE_DIR_ENTRIES   512u
#define TRANSLATE_TABLE_ENTRIES 1024u

#define TRANSLATE_PRESENT UINT64_C(1)         /* directory entry */
#define TRANSLATE_VALID   (UINT32_C(1) << 31) /* table entry */
#define TRANSLATE_HOST    (UINT32_C(0xfffff)) /* table entry: the host PASID */
#define TRANSLATE_ADDRESS (~UINT64_C(0xfff))  /* directory entry: where the table is */

/*
 * Where pages come from: TRANSLATE_PAGE bytes each, aligned, named by their offset from base.
 * `take` returns one that reads as zero, or fails with a status or -errno; it may move base. `give`
 * takes one back, whatever is in it.
 */
struct translate_pages {
	uint8_t *base;
	int (*take)(void *ctx, uint64_t *ret_offset);
	void (*give)(void *ctx, uint64_t offset);
	void *ctx;
};

struct translate {
	const struct translate_pages *pages; /* borrowed */
	/* The two directories, in the form of a directory entry; 0 while nothing needs them.
	 * Whoever publishes the map publishes these. For others to read only. */
	uint64_t roots[TRANSLATE_DIRECTORIES];
	uint32_t count;
	uint32_t held; /* pages taken and not given back */
};

/* An empty map, which holds no page. pages outlives it. */
void translate_init(struct translate *t, const struct translate_pages *pages);

/* Gives all pages back and leaves an empty map. */
void translate_done(struct translate *t);

/*
 * Maps g to h, both below PASID_COUNT. Takes up to two pages. Returns 0, STATUS_EXISTS when g is
 * mapped (to anything), or what the port's `take` returned; on failure nothing has changed and no
 * page is kept.
 */
int translate_attach(struct translate *t, struct gpasid g, struct hpasid h);

/*
 * Unmaps g. The table goes back when this was its last entry; the directories stay until
 * translate_done. Returns 0 or STATUS_NOT_FOUND.
 */
int translate_detach(struct translate *t, struct gpasid g);

/* The host PASID behind g. Returns 0 or STATUS_NOT_FOUND. */
int translate_find(const struct translate *t, struct gpasid g, struct hpasid *ret_host);

/* How many guest PASIDs are mapped. */
uint32_t translate_count(const struct translate *t);

/* How many pages translate_attach() would take for g: 0, 1 or 2. */
uint32_t translate_need(const struct translate *t, struct gpasid g);
/* How many pages the map holds; the other counts them anew, in proportion to their number. */
uint32_t translate_held(const struct translate *t);
uint32_t translate_recount(const struct translate *t);

/*
 * The lowest mapped guest PASID that is not below `from`, for iteration: go on with the one found
 * plus 1, which may be PASID_COUNT. Returns 0 or STATUS_NOT_FOUND when there is none.
 */
int translate_next(const struct translate *t, struct gpasid from, struct gpasid *ret_guest,
	struct hpasid *ret_host);

#endif
