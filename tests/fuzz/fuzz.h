/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets have in common. A target is a file fuzz_<name>.c with the entry points of
 * libFuzzer; without libFuzzer replay.c calls them.
 */
#ifndef PASIDD_FUZZ_H
#define PASIDD_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Targets that have one. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
	size_t size2, uint8_t *out, size_t max_out_size, unsigned int seed);
/* The fuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Says what was promised and did not hold, and ends the program: the fuzzer keeps the input. */
#define FUZZ_FAIL(...) fuzz_fail(__FILE__, __LINE__, __VA_ARGS__)
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			FUZZ_FAIL("%s", #condition);                                               \
	} while (0)

_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Small numbers that follow from a seed. */
static inline uint32_t fuzz_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 32);
}

static inline uint32_t fuzz_below(uint64_t *state, uint32_t limit)
{
	return fuzz_random(state) % limit;
}

#endif
