/* SPDX-License-Identifier: MIT */
/*
 * Whether everything happened that histories are for.
 */
#ifndef PASIDD_SIM_COVERAGE_H
#define PASIDD_SIM_COVERAGE_H

#include "play.h"

void coverage_add(struct coverage *sum, const struct coverage *more);
/* Says on stderr what never happened; how many of them. */
unsigned coverage_check(const struct coverage *coverage);
void coverage_print(const struct coverage *coverage, FILE *file);

#endif
