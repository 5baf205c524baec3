/* SPDX-License-Identifier: MIT */
/* What tests of the broker's limits share: a broker with limits, and a look at the accounts. */
#ifndef PASIDD_TEST_LIMIT_RIG_H
#define PASIDD_TEST_LIMIT_RIG_H

#include "fixture.h"

extern struct fixture f;

/* A broker with the default limits; at the end everything is recounted. */
void limit_setup(void);
void limit_teardown(void);
/* Begins anew with other limits. */
void limit_open(enum resource resource, uint32_t set, uint32_t user, uint32_t host);

struct account limit_of_host(enum resource resource);
uint32_t limit_host_use(enum resource resource);
/* Of the VMM's own set. */
struct account limit_of_set(const struct actor *actor, enum resource resource);
uint32_t limit_use(const struct actor *actor, enum resource resource);

/* Refused for a limit, with these words, and the recount agrees. */
void limit_ck_refused(int status, const char *what);
/* The sessions 10 to 19 are over, and everything cools down. */
void limit_end_all(void);
/* Nobody is charged for anything. */
void limit_ck_nothing_left(void);

/* A translated set with a quota, as broker_set_create(). */
int limit_create(
	const struct actor *actor, const char *name, uint32_t quota, struct set_id *ret_set);

#endif
