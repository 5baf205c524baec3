/* SPDX-License-Identifier: MIT */
/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit hash of short input. Whoever does not
 * know the key can neither predict it nor find two inputs with the same one.
 */
#ifndef PASIDD_SIPHASH_H
#define PASIDD_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k[2];
};

/* Of the eight bytes of `prefix` (lowest first) followed by `size` bytes of data. */
uint64_t siphash(const struct siphash_key *key, uint64_t prefix, const uint8_t *data, size_t size);

#endif
