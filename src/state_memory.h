/* SPDX-License-Identifier: MIT */
/*
 * The state port in memory of the process alone: records are gone with it.
 *
 * Every table is there in full as address space, and only pages that were written cost memory, so
 * an idle host pays for a handful of them.
 */
#ifndef PASIDD_STATE_MEMORY_H
#define PASIDD_STATE_MEMORY_H

#include "state.h"
#include "translate.h"

/* Slots of each table. */
#define STATE_MEMORY_SETS     16384u
#define STATE_MEMORY_GRANTS   (1u << 20)
#define STATE_MEMORY_DEVICES  8192u
#define STATE_MEMORY_BINDINGS (1u << 20)
#define STATE_MEMORY_SESSIONS 65536u
#define STATE_MEMORY_REPLIES  (1u << 21)
/* Pages for the guest->host maps of all sets: 512 MiB when all are used. */
#define STATE_MEMORY_PAGES 131072u

struct state_memory;

/* Empty tables. Returns 0 or -ENOMEM. */
int state_memory_new(struct state_memory **ret_memory);
/* Everything goes. NULL is fine. */
void state_memory_free(struct state_memory *memory);

/* The state port; valid as long as the memory. Reserving beyond a table's capacity is -ENOSPC. */
const struct state *state_memory_state(const struct state_memory *memory);

/*
 * The port of pages for guest->host maps, valid as long as the memory; the base never moves. A page
 * that is given back may be taken again at once: nobody outside the process reads these. -ENOSPC
 * when all are taken.
 */
struct translate_pages state_memory_pages(struct state_memory *memory);

/* How many pages are taken. */
uint32_t state_memory_pages_taken(const struct state_memory *memory);

#endif
