/* SPDX-License-Identifier: MIT */
/*
 * Slots: what state.c commits and settles, from any records, of a daemon that is killed before any
 * of its stores, and killed again while the next one takes the change back.
 *
 *   C  what was settled is there afterwards, and of what was not settled nothing is, however often
 *      taking back was interrupted
 *   A  a change is there as a whole or not at all
 *
 * Only stores that others can see through the mapping are counted: state.c makes them with
 * __atomic_store_n, state_undo_all() with memcpy. Its notes in the log are plain stores, which must
 * not matter before they are counted.
 */
#include "proof.h"

#include <string.h>

static bool is_alive = true;
static uint32_t stores_left; /* it is killed after so many */

/* Whether it lives for one more store. */
static bool crash_survived(void)
{
	if (stores_left == 0)
		is_alive = false;
	else
		stores_left--;
	return is_alive;
}

#ifndef STEPS
#define STEPS 2u
#endif
#define WORDS 3u /* of a slot */
static uint64_t *image_words;

/* What is taken back is a word of a slot. Said for each word: CBMC knows then which one it is. */
static void crash_copy(const uint64_t *to, const uint64_t *from)
{
	bool found = false;

	if (!crash_survived())
		return;
	for (uint32_t i = 0; i < WORDS; i++)
		if (to == &image_words[i]) {
			image_words[i] = *from;
			found = true;
		}
	PROVE(found, "C: only words of slots are taken back");
}

#define __atomic_store_n(to, value, order)                                                         \
	do {                                                                                       \
		if (crash_survived())                                                              \
			*(to) = (value);                                                           \
	} while (0)
#define __atomic_signal_fence(order) (void)0
#include "state.c"
#undef memcpy
#define memcpy(to, from, size) crash_copy((uint64_t *)(void *)(to), (from))
#include "state_layout.c"
#undef memcpy

/* A state file with a table of one slot. */
struct image {
	struct state_header header;
	uint32_t pad;
	struct state_undo log[STEPS + 1];
	uint64_t words[WORDS];
};

static void file_attach(struct state_file *file, struct image *image)
{
	memset(file, 0, sizeof(*file));
	file->base = (uint8_t *)image;
	file->size = sizeof(*image);
	file->header = &image->header;
	file->log = image->log;
	file->fd = -1;
	file->state.ops = &state_file_ops;
	file->state.ctx = file;
	state_take_counters(file);
}

/* One commit of any value anywhere, or the end of the change. */
static void file_step(struct state_file *file, struct image *image, uint64_t settled[WORDS])
{
	if (nondet_bool()) {
		state_settle(&file->state);
		if (is_alive)
			for (uint32_t i = 0; i < WORDS; i++)
				settled[i] = image->words[i];
		return;
	}
	switch (any_of(0, 2)) {
	case 0:
		state_commit(&file->state, &image->words[0], nondet_u64());
		break;
	case 1:
		state_commit(&file->state, &image->words[1], nondet_u64());
		break;
	default:
		state_commit(&file->state, &image->words[2], nondet_u64());
	}
}

/* The next daemon opens the file; it lives for so many stores. */
static void file_reopen(struct state_file *file, struct image *image, uint32_t stores)
{
	is_alive = true;
	stores_left = stores;
	file_attach(file, image);
	PROVE(file->changes <= STEPS, "C: no more is counted than was stored");
	(void)state_undo_all(file);
}

void prove_state_change(void)
{
	struct image *image = any_memory(sizeof(*image));
	struct state_file file;
	uint64_t settled[WORDS];

	image_words = image->words;
	image->header.changes = 0;
	image->header.log_room = STEPS + 1;
	for (uint32_t i = 0; i < WORDS; i++)
		settled[i] = image->words[i];
	file_attach(&file, image);
	stores_left = nondet_u32();
	for (uint32_t i = 0; i < STEPS && is_alive; i++)
		file_step(&file, image, settled);

	file_reopen(&file, image, any_of(0, STEPS));
	file_reopen(&file, image, UINT32_MAX);
	PROVE(image->header.changes == 0, "C: the change is over");
	for (uint32_t i = 0; i < WORDS; i++)
		PROVE(image->words[i] == settled[i], "C, A: what was settled, and nothing else");
}
