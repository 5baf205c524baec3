/* SPDX-License-Identifier: MIT */
/* A daemon whose records are in a grave: it dies, and the next one is made of what it left. */
#ifndef PASIDD_FUZZ_MORTAL_H
#define PASIDD_FUZZ_MORTAL_H

#include "../unit/fixture.h"
#include "dispatch.h"

struct mortal {
	struct fixture f;
	struct dispatch *dispatch;
	struct dispatch_config config;
	struct error error;
	uint8_t randomness; /* what was given last */
};

extern struct mortal mortal;

/* Checks what the last one left, and takes it up. */
void mortal_open(void);
void mortal_end(void);

#endif
