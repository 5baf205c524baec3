/* SPDX-License-Identifier: MIT */
/* What tests of the check of records share: records that go together, for a test to spoil. */
#ifndef PASIDD_TEST_STATE_CHECK_RIG_H
#define PASIDD_TEST_STATE_CHECK_RIG_H

#include "state_check.h"
#include "state_rig.h"

/* Filled by state_rig_fill() and state_rig_fill_ties(). */
extern struct state_file *file;
extern const struct state *state;
extern struct set_slot *sets;
extern struct grant_slot *grants;
extern struct device_slot *devices;
extern struct binding_slot *bindings;
extern struct host_slot *host;
extern struct session_slot *sessions;
extern struct reply_slot *replies;
extern struct tie_slot *ties;

void state_check_setup(void);
void state_check_teardown(void);

/* With scratch memory that is not zero, and of exactly the size that was asked for. */
int state_check_run(struct state_problem *ret_problem);
void state_check_accepted(void);
/* What was spoiled is found there; then all records are good again, and elsewhere. */
void state_check_found(enum state_table table, uint32_t slot, uint64_t value);

#endif
