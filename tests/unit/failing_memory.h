/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out: a test that includes this is linked with malloc(), calloc() and realloc()
 * that fail when they are told to.
 */
#ifndef PASIDD_TEST_FAILING_MEMORY_H
#define PASIDD_TEST_FAILING_MEMORY_H

#include <stdbool.h>

/* So many allocations succeed from now on, and all others fail. */
void memory_fail_after(unsigned count);
/* After so many one allocation fails, and those after it succeed. */
void memory_fail_once_after(unsigned count);
/* They succeed again. Returns whether one has failed. */
bool memory_recover(void);

#endif
