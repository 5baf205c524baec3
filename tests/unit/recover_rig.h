/* SPDX-License-Identifier: MIT */
/* What tests of recoveries share: a broker that dies and comes back, and looks at its records. */
#ifndef PASIDD_TEST_RECOVER_RIG_H
#define PASIDD_TEST_RECOVER_RIG_H

#include "fixture.h"

extern struct fixture f;

void recover_setup(void);
/* The recount agrees once more. */
void recover_teardown(void);

/* All that was asked is acknowledged, the daemon is started anew, and its recovery has run. */
void recover_restart(bool workers_stand);
/* It dies with what is under way, what was not settled is taken back; the recovery only begins. */
void recover_begin(bool workers_stand);
/* The recovery runs to its end. */
void recover_run(void);

struct set_info recover_set(const char *name);
struct grant_info recover_grant(struct hpasid host);
/* The first device of that kind; state DEVICE_FREE: there is none. */
struct device_info recover_device(enum device_kind kind);
uint32_t recover_host_use(enum resource resource);
/* Allocates exactly that number; the status. */
int recover_allocate(const struct actor *actor, uint32_t number);
/* Takes a bind to address space 0 of each device up to its first hardware operation. */
void recover_bind(const struct actor *actor, struct hpasid host, const struct device_id *devices,
	size_t count);

#endif
