/* SPDX-License-Identifier: MIT */
/*
 * What the summaries of a space must say, in words of its own: bit by bit, where space.c folds.
 */
#ifndef PASIDD_PROVE_SPACE_H
#define PASIDD_PROVE_SPACE_H

#include "space.h"

/* Whether there are 2^order set bits at a multiple of that. */
static inline bool bits_have_block(uint64_t bits, unsigned order)
{
	const unsigned size = 1u << order;
	const uint64_t mask = size < 64 ? (UINT64_C(1) << size) - 1 : UINT64_MAX;
	bool found = false;

	for (unsigned at = 0; at < 64; at += size)
		found |= (bits >> at & mask) == mask;
	return found;
}

/* The numbers of a block that are in each of its words. */
static inline uint64_t space_mask(uint32_t first, unsigned order)
{
	return order < SPACE_WORD_ORDER ? ((UINT64_C(1) << (1u << order)) - 1) << first % 64
					: UINT64_MAX;
}

/* What its group says of the word. */
static inline bool space_word_agrees(const struct space *s, uint32_t word)
{
	bool agrees = true;

	for (unsigned k = 0; k < SPACE_WORD_ORDERS; k++)
		agrees &= (s->groups[word / 64].words[k] >> word % 64 & 1) ==
			  bits_have_block(s->numbers[word], k);
	return agrees;
}

/* What the tops say of the group. A word with a block of an order has those of all lower ones. */
static inline bool space_group_agrees(const struct space *s, uint32_t group)
{
	bool agrees = true;

	for (unsigned k = 0; k + 1 < SPACE_WORD_ORDERS; k++)
		agrees &= (s->groups[group].words[k + 1] & ~s->groups[group].words[k]) == 0;
	for (unsigned order = 0; order < SPACE_ORDERS; order++) {
		const unsigned k = order < SPACE_WORD_ORDER ? order : SPACE_WORD_ORDER;

		agrees &= (s->tops[order][group / 64] >> group % 64 & 1) ==
			  bits_have_block(s->groups[group].words[k], order - k);
	}
	return agrees;
}

/* All of it for some words of one group. */
static inline bool space_agrees(const struct space *s, uint32_t word, uint32_t words)
{
	bool agrees = space_group_agrees(s, word / 64);

	for (uint32_t i = 0; i < words; i++)
		agrees &= space_word_agrees(s, word + i);
	return agrees;
}

#endif
