/* SPDX-License-Identifier: MIT */
/*
 * The port of exported maps in memory of this process. A store into a page that was not reserved
 * ends the test. What is dropped stays where it is: a reader still has it.
 */
#ifndef PASIDD_FAKE_EXPORT_H
#define PASIDD_FAKE_EXPORT_H

#include "export.h"

#define FAKE_EXPORTS 32

struct fake_map {
	struct set_id set;
	uint8_t *base;
	bool kept;      /* by the broker */
	unsigned since; /* exports that were made before it */
};

struct fake_export {
	struct fake_map maps[FAKE_EXPORTS];
	unsigned count;                   /* that were ever made */
	unsigned fail_make, fail_reserve; /* the so-manieth fails; 0: none */
};

struct export_port fake_export_port(struct fake_export *exports);
void fake_export_free(struct fake_export *exports);

/* The memory that the set has, or had last; NULL: none. */
struct fake_map *fake_export_of(struct fake_export *exports, struct set_id set);
/* What a reader finds there: the host's number, or 0. */
uint32_t fake_export_read(const struct fake_map *map, uint32_t guest);

#endif
