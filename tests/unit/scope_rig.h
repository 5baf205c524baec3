/* SPDX-License-Identifier: MIT */
/* What tests of scope rids share: two VMs with functions of their own. */
#ifndef PASIDD_TEST_SCOPE_RIG_H
#define PASIDD_TEST_SCOPE_RIG_H

#include "broker_private.h"
#include "fixture.h"

#define SCOPE_SHARED 5  /* a function that nobody has yet */
#define SCOPE_OWNERS 6u /* as many groups have places */

extern struct fixture f;
extern struct actor a, c;
extern struct device_id a0, a1, c3; /* functions 0 and 1 of a, 3 of c */
extern const struct set_id own;

/* The lowest number comes first; functions 1 and 2 are one group, 8 takes numbers of 8 bits. */
void scope_setup(void);
void scope_teardown(void);

/* One number for these devices. */
struct allocate scope_ask(const struct device_id *devices, size_t count);
/* Allocates, up to 64; the first of them. */
uint32_t scope_take(const struct actor *actor, const struct allocate *allocate);
/* One number for these devices, which is that if it is not 0. */
uint32_t scope_take_on(
	const struct actor *actor, const struct device_id *devices, size_t count, uint32_t number);
void scope_refused(const struct actor *actor, const struct allocate *allocate, enum reason reason);
void scope_not_free_on(
	const struct actor *actor, const struct device_id *devices, size_t count, uint32_t number);
/* What broker_extend() says. */
int scope_extend(const struct actor *actor, uint32_t number, const struct device_id *devices,
	size_t count, uint32_t *ret_added);

/* What the set is charged for claims. */
uint32_t scope_claims_of(const struct actor *actor);
/* The set's number, as an admin sees it. */
struct grant_info scope_info_of(const struct actor *actor, uint32_t number);

#endif
