/* SPDX-License-Identifier: MIT */
/* The memory of exported maps that an earlier run has left in the descriptor store. */
#ifndef PASIDD_RUNTIME_EXPORT_H
#define PASIDD_RUNTIME_EXPORT_H

#include "export_memory.h"
#include "runtime_store.h"

struct broker;

/*
 * After broker_recover(): readers of each map that was passed go on reading, and see what the map
 * is now; those of a set that is gone are told so. What cannot be had is forgotten, and its VMM
 * asks for another.
 */
void runtime_export_adopt(struct runtime_passed *passed, struct export_memory *memory,
	struct broker *broker, struct runtime_store *store);

#endif
