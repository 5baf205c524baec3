/* SPDX-License-Identifier: MIT */
#include "state_check_rig.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct state_file *file;
const struct state *state;
struct set_slot *sets;
struct grant_slot *grants;
struct device_slot *devices;
struct binding_slot *bindings;
struct host_slot *host;
struct session_slot *sessions;
struct reply_slot *replies;
struct tie_slot *ties;

void state_check_setup(void)
{
	ck_assert_int_eq(state_file_memory(&file), 0);
	state = state_file_state(file);
	sets = state->table[STATE_SETS];
	grants = state->table[STATE_GRANTS];
	devices = state->table[STATE_DEVICES];
	bindings = state->table[STATE_BINDINGS];
	host = state->table[STATE_HOST];
	sessions = state->table[STATE_SESSIONS];
	replies = state->table[STATE_REPLIES];
	ties = state->table[STATE_TIES];
	state_rig_fill(state);
	state_rig_fill_ties(state);
}

void state_check_teardown(void)
{
	state_file_free(file);
}

int state_check_run(struct state_problem *ret_problem)
{
	uint32_t used[STATE_TABLES];
	size_t size;
	void *scratch;
	int r;

	for (unsigned t = 0; t < STATE_TABLES; t++)
		used[t] = state_file_used(file, (enum state_table)t);
	size = state_check_scratch(used);
	scratch = malloc(size);
	ck_assert_ptr_nonnull(scratch);
	memset(scratch, 0xa5, size);
	r = state_check(state, used, scratch, ret_problem);
	free(scratch);
	return r;
}

void state_check_accepted(void)
{
	struct state_problem problem = {.text = ""};

	ck_assert_msg(state_check_run(&problem) == 0, "%s", problem.text);
}

void state_check_found(enum state_table table, uint32_t slot, uint64_t value)
{
	struct state_problem problem = {.text = ""};
	char name[32];

	ck_assert_int_eq(state_check_run(&problem), -EBADMSG);
	ck_assert_msg(problem.table == table && problem.slot == slot && problem.value == value,
		"%s", problem.text);
	(void)snprintf(name, sizeof(name), "table %s, slot %u", state_table_name(table), slot);
	ck_assert_msg(strstr(problem.text, name) != NULL, "%s", problem.text);
	state_check_teardown();
	state_check_setup();
}
