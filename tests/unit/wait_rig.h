/* SPDX-License-Identifier: MIT */
/* What tests of unbinds that wait for participants share. */
#ifndef PASIDD_TEST_WAIT_RIG_H
#define PASIDD_TEST_WAIT_RIG_H

#include "broker_private.h"
#include "fixture.h"

#define WAIT_MS 500u
#define ONE_RID 3u

extern struct fixture f;
extern struct actor a, one, two;
extern struct device_id device;
extern struct hpasid x;
extern const struct set_id own;

void wait_participate(const struct actor *actor);
/* A VMM whose number x is bound on its device, and two who participate. */
void wait_open(void);
/* Whatever waits has had its time, and nothing else is left. */
void wait_close(void);
uint32_t wait_acknowledge_seen(const struct actor *actor, struct hpasid host, uint64_t seen);
uint32_t wait_acknowledge(const struct actor *actor, struct hpasid host);
void wait_unbind(struct hpasid host, uint64_t cookie);
/* Whether it is attached on the device. */
bool wait_bound(struct hpasid host);
/* The status of the operation that has ended; there is one. */
int wait_ended(uint64_t cookie);
void wait_nothing_ended(void);
/* How often that was told; the last one. */
unsigned wait_told(enum change_kind kind, struct change *ret_last);
/* The state of the first binding that is listed. */
enum binding_state wait_listed(void);
uint32_t wait_why(struct hpasid host);
struct participant_info wait_about(const struct actor *actor);
unsigned wait_participants(void);
void wait_pass(uint32_t ms);

#endif
