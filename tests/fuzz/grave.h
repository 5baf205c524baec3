/* SPDX-License-Identifier: MIT */
/*
 * Records of a daemon that dies before any of its stores, and what is left of them: all that was
 * settled, and nothing of the change that was not. The daemon runs on to its end, unheard.
 */
#ifndef PASIDD_FUZZ_GRAVE_H
#define PASIDD_FUZZ_GRAVE_H

#include "state_file.h"

#define GRAVE_STORES STATE_CHANGE_MAX

struct grave {
	struct state state; /* the port */
	struct state_file *memory;
	bool dead;
	uint32_t countdown; /* stores until then; 0: it lives */
	unsigned stores;    /* since the last settle */
	uint64_t *word[GRAVE_STORES], before[GRAVE_STORES];
	uint32_t used[STATE_TABLES];
	uint8_t *bytes[STATE_TABLES];
};

extern struct grave grave;

/* The port stands on this, which is borrowed. */
void grave_open(struct state_file *memory);
/* From here on nothing that the daemon does is left. */
void grave_die(void);
/* The daemon has ended: the records are what they were when it died. */
void grave_rise(void);

#endif
