/* SPDX-License-Identifier: MIT */
/* In front of each file of a coverage build: who ends with _exit() leaves its counters, too. */
#ifndef PASIDD_COVERAGE_END_H
#define PASIDD_COVERAGE_END_H

#include <unistd.h>

void __gcov_dump(void);
void __gcov_reset(void);

/* Reset, because memory may be shared with the process that goes on, which then counts anew. */
#define _exit(status) (__gcov_dump(), __gcov_reset(), _exit(status))

#endif
