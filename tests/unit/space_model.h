/* SPDX-License-Identifier: MIT */
/*
 * Several spaces, and beside each what it should be, in the plainest form there is: an array of
 * bool that is searched number by number. Each question is put to both.
 */
#ifndef PASIDD_TEST_SPACE_MODEL_H
#define PASIDD_TEST_SPACE_MODEL_H

#include "space.h"

#define SPACES 8
#define UNSET                                                                                      \
	UINT32_C(0xdeadbeef) /* no number, and what an output holds that must stay untouched */

extern struct space spaces[SPACES];
extern bool reference[SPACES][PASID_COUNT];
extern const struct space *const all[SPACES];

/* All taken, in all spaces. */
void model_setup(void);

/* A change of space i, and of what it should be. A block that is toggled is wholly free or wholly
 * taken. */
void both_open(unsigned i, uint32_t first, uint32_t last);
void both_toggle(unsigned i, uint32_t n);
void both_toggle_block(unsigned i, uint32_t first, unsigned order);

/* What the search should find in the first count spaces: UNSET when nothing. */
uint32_t reference_find(size_t count, const struct space_query *q);

/* Fail the test when the first count spaces answer anything else. */
void expect_find(size_t count, const struct space_query *q, uint32_t expected);
void expect_find_many(size_t count, const struct space_query *q, uint32_t want);

/* Fails the test unless space i is what it should be, number by number and in its summaries. */
void expect_equal(unsigned i);

#endif
