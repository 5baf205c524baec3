/* SPDX-License-Identifier: MIT */
#include "siphash.h"

#include <string.h>

struct siphash_state {
	uint64_t v[4];
};

static uint64_t siphash_rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void siphash_rounds(struct siphash_state *s, unsigned rounds)
{
	for (; rounds; rounds--) {
		s->v[0] += s->v[1];
		s->v[1] = siphash_rotate(s->v[1], 13) ^ s->v[0];
		s->v[0] = siphash_rotate(s->v[0], 32);
		s->v[2] += s->v[3];
		s->v[3] = siphash_rotate(s->v[3], 16) ^ s->v[2];
		s->v[0] += s->v[3];
		s->v[3] = siphash_rotate(s->v[3], 21) ^ s->v[0];
		s->v[2] += s->v[1];
		s->v[1] = siphash_rotate(s->v[1], 17) ^ s->v[2];
		s->v[2] = siphash_rotate(s->v[2], 32);
	}
}

static void siphash_word(struct siphash_state *s, uint64_t word)
{
	s->v[3] ^= word;
	siphash_rounds(s, 2);
	s->v[0] ^= word;
}

static uint64_t siphash_load(const uint8_t *data, size_t size)
{
	uint64_t word = 0;

	for (size_t i = 0; i < size; i++)
		word |= (uint64_t)data[i] << 8 * i;
	return word;
}

uint64_t siphash(const struct siphash_key *key, uint64_t prefix, const uint8_t *data, size_t size)
{
	struct siphash_state s = {{
		key->k[0] ^ UINT64_C(0x736f6d6570736575),
		key->k[1] ^ UINT64_C(0x646f72616e646f6d),
		key->k[0] ^ UINT64_C(0x6c7967656e657261),
		key->k[1] ^ UINT64_C(0x7465646279746573),
	}};
	size_t left = size;

	siphash_word(&s, prefix);
	for (; left >= 8; left -= 8, data += 8)
		siphash_word(&s, siphash_load(data, 8));
	siphash_word(&s, (uint64_t)(size + 8) << 56 | siphash_load(data, left));
	s.v[2] ^= 0xff;
	siphash_rounds(&s, 4);
	return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}
