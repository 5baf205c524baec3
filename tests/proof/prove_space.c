/* SPDX-License-Identifier: MIT */
/*
 * The numbers: what space.c takes and gives back, for every space, every number and every block.
 *
 * What is to be true of a space is said of one word of 64 numbers and of its group of 64 words: a
 * change touches no other. So a step that keeps it there, and leaves all else as it was, keeps it
 * everywhere, and the space of the proof is a whole one of 2^20 numbers in any state at all.
 *
 *   U  a number that is taken was free and is free no more, and nobody else's state changes: no
 *      number has two owners
 *   Q  the count of free numbers changes by as many as were taken or given
 */
#include "prove_space.h"
#include "proof.h"

/* What a change of some words of one group must leave alone. */
struct bystander {
	uint32_t word;
	uint64_t numbers, words[SPACE_WORD_ORDERS], tops[SPACE_ORDERS];
};

static struct bystander bystander_of(const struct space *s, uint32_t word)
{
	struct bystander b = {.word = word, .numbers = s->numbers[word]};

	for (unsigned k = 0; k < SPACE_WORD_ORDERS; k++)
		b.words[k] = s->groups[word / 64].words[k];
	for (unsigned k = 0; k < SPACE_ORDERS; k++)
		b.tops[k] = s->tops[k][word / 64 / 64];
	return b;
}

/* Nothing that is said of the bystander has changed; of its group only what is about changed. */
static bool bystander_is_same(const struct space *s, const struct bystander *b, uint32_t changed)
{
	const uint32_t group = b->word / 64;
	bool same = s->numbers[b->word] == b->numbers;

	for (unsigned k = 0; k < SPACE_WORD_ORDERS; k++)
		same &= ((s->groups[group].words[k] ^ b->words[k]) >> b->word % 64 & 1) == 0;
	for (unsigned k = 0; k < SPACE_ORDERS; k++)
		same &= ((s->tops[k][group / 64] ^ b->tops[k]) >> group % 64 & 1) == 0 ||
			group == changed / 64;
	return same;
}

static void prove_change(bool take, unsigned order, uint32_t first)
{
	struct space *s = any_memory(sizeof(*s));
	const uint32_t size = 1u << order;
	const uint32_t word = first / 64, words = (size + 63) / 64;
	const uint32_t other = any_of(0, SPACE_WORDS - 1), count = s->free_count;
	const struct bystander bystander = bystander_of(s, other);

	ASSUME(other < word || other >= word + words);
	ASSUME(space_agrees(s, word, words));
	for (uint32_t i = 0; i < words; i++)
		ASSUME((s->numbers[word + i] & space_mask(first, order)) ==
			(take ? space_mask(first, order) : 0));
	ASSUME(take ? count >= size : count <= PASID_COUNT - size);
	if (order == 0)
		take ? space_take(s, first) : space_give(s, first);
	else
		take ? space_take_block(s, first, order) : space_give_block(s, first, order);
	PROVE(space_agrees(s, word, words), "the summaries say what the numbers are");
	for (uint32_t i = 0; i < words; i++)
		PROVE((s->numbers[word + i] & space_mask(first, order)) ==
				(take ? 0 : space_mask(first, order)),
			"U: what was taken is taken, what was given is free");
	PROVE(s->free_count == (take ? count - size : count + size), "Q: the count follows");
	PROVE(bystander_is_same(s, &bystander, word), "U: no other number changes");
}

/* In the first and in the last group of a small space, in the middle and at the edges of a word. */

void prove_space_take(void)
{
	prove_change(true, 0, 64 * 70 + 13);
}

void prove_space_give(void)
{
	prove_change(false, 0, 64 * 64 + 63);
}

void prove_space_take_block(void)
{
	prove_change(true, 3, 64 * 63 + 8);
}

void prove_space_give_block(void)
{
	prove_change(false, 5, 64 * 64 + 32);
}

void prove_space_take_words(void)
{
	prove_change(true, 8, 64 * 68);
}

void prove_space_give_words(void)
{
	prove_change(false, 8, 64 * 60);
}

/* Every space whose numbers from words of two groups are looked for. */
#define WINDOW 2u
#define BASE   63u

static struct space *any_window(void)
{
	struct space *s = any_memory(sizeof(*s));

	for (uint32_t word = BASE; word < BASE + WINDOW; word++)
		ASSUME(space_agrees(s, word, 1));
	return s;
}

static bool is_free_block(
	const struct space *const spaces[], size_t count, uint32_t first, unsigned order)
{
	const uint64_t mask = space_mask(first, order);
	bool is_free = true;

	for (size_t i = 0; i < count; i++)
		is_free &= (spaces[i]->numbers[first / 64] & mask) == mask;
	return is_free;
}

static void prove_find(size_t count, unsigned order)
{
	const struct space *const spaces[] = {any_window(), any_window()};
	const uint32_t size = 1u << order;
	struct space_query q = {
		.min = any_of(BASE * 64, (BASE + WINDOW) * 64 - 1),
		.max = any_of(BASE * 64, (BASE + WINDOW) * 64 - 1),
		.start = any_of(BASE * 64, (BASE + WINDOW) * 64 - 1),
		.order = order,
	};
	/* any other one that might be found */
	const uint32_t other = any_of(BASE * 64 / size, (BASE + WINDOW) * 64 / size - 1) * size;
	const bool is_there = other >= q.min && other + size - 1 <= q.max &&
			      is_free_block(spaces, count, other, order);
	uint32_t found = UINT32_MAX;
	int r = space_find(spaces, count, &q, &found);

	PROVE(r == 0 || r == STATUS_EXHAUSTED, "a number, or none");
	PROVE(r == 0 || !is_there, "none: there is none");
	if (r != 0)
		return;
	PROVE(found % size == 0 && found >= q.min && found + size - 1 <= q.max, "it was asked for");
	PROVE(is_free_block(spaces, count, found, order), "U: it is free in all spaces");
	if (is_there && q.start >= q.min && q.start <= q.max - size + 1)
		PROVE(other < q.start || (found >= q.start && found <= other), "it is the first");
}

void prove_space_find(void)
{
	prove_find(1, 0);
}

void prove_space_find_block(void)
{
	prove_find(1, 4);
}

void prove_space_find_joint(void)
{
	prove_find(2, 0);
}
