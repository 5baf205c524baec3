/* SPDX-License-Identifier: MIT */
/*
 * A state in memory that keeps the promise of state.h: what was not settled is undone when the
 * daemon dies.
 */
#ifndef PASIDD_TEST_JOURNAL_H
#define PASIDD_TEST_JOURNAL_H

#include "state.h"

struct journal {
	struct state state; /* capacities may be made smaller */
	const struct state *under;
	size_t count; /* stores that are not settled */
	struct {
		uint64_t *word, before;
	} stores[STATE_CHANGE_MAX];
};

/* Stands on a state that does not promise it, which is borrowed. */
void journal_open(struct journal *journal, const struct state *under);
/* The daemon dies. */
void journal_crash(struct journal *journal);

#endif
