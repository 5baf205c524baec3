/* SPDX-License-Identifier: MIT */
/*
 * What the proofs share. A proof is a function that CBMC takes as the program's start: what it
 * makes with any_*() is every value at once, what it ASSUMEs is left out of them, and what it
 * PROVEs holds for all that are left, or CBMC says for which it does not. Assertions of the
 * production code, bounds of arrays, pointers and signed arithmetic are proven with it.
 */
#ifndef PASIDD_PROOF_H
#define PASIDD_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef __CPROVER__ /* of others, which only look whether it is C */
void __CPROVER_assume(bool condition);
void __CPROVER_assert(bool condition, const char *what);
#endif

#define ASSUME(condition)      __CPROVER_assume(condition)
#define PROVE(condition, what) __CPROVER_assert(condition, what)

/* Any value. */
bool nondet_bool(void);
uint32_t nondet_u32(void);
uint64_t nondet_u64(void);

/* One of first..last. */
static inline uint32_t any_of(uint32_t first, uint32_t last)
{
	uint32_t n = nondet_u32();

	ASSUME(n >= first && n <= last);
	return n;
}

/* Memory with anything in it; with zeros. It is not freed. */
static inline void *any_memory(size_t size)
{
	void *memory = malloc(size);

	ASSUME(memory != NULL);
	return memory;
}

static inline void *zero_memory(size_t size)
{
	void *memory = calloc(1, size);

	ASSUME(memory != NULL);
	return memory;
}

#endif
