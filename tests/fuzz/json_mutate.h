/* SPDX-License-Identifier: MIT */
/* JSON that stays JSON when it is changed. */
#ifndef PASIDD_FUZZ_JSON_MUTATE_H
#define PASIDD_FUZZ_JSON_MUTATE_H

#include "fuzz.h"

/* The first texts that come are mixed with others from now on, and their keys are tried. */
void json_mutate_learn(const uint8_t *data, size_t size);
/* Changes a value, a key or a list. Returns the new size, or 0 when it is no JSON or does not fit.
 */
size_t json_mutate(uint8_t *data, size_t size, size_t max_size, uint64_t *random);

#endif
