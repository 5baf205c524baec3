/* SPDX-License-Identifier: MIT */
#include "grave.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

struct grave grave;

static const size_t slot_size[STATE_TABLES] = {sizeof(struct set_slot), sizeof(struct grant_slot),
	sizeof(struct device_slot), sizeof(struct binding_slot), sizeof(struct host_slot),
	sizeof(struct session_slot), sizeof(struct reply_slot), sizeof(struct tie_slot)};

void grave_die(void)
{
	const struct state *under = state_file_state(grave.memory);

	grave.dead = true;
	for (unsigned i = grave.stores; i-- > 0;) {
		const uint64_t now = *grave.word[i];

		*grave.word[i] = grave.before[i];
		grave.before[i] = now;
	}
	for (unsigned t = 0; t < STATE_TABLES; t++) {
		const size_t size =
			state_file_used(grave.memory, (enum state_table)t) * slot_size[t];

		grave.used[t] = state_file_used(grave.memory, (enum state_table)t);
		grave.bytes[t] = malloc(size + 1);
		FUZZ_CHECK(grave.bytes[t]);
		memcpy(grave.bytes[t], under->table[t], size);
	}
	/* It goes on as if nothing was, so that it ends as it must; nobody hears of that. */
	for (unsigned i = 0; i < grave.stores; i++)
		*grave.word[i] = grave.before[i];
}

void grave_rise(void)
{
	const struct state *under = state_file_state(grave.memory);

	for (unsigned t = 0; t < STATE_TABLES; t++) {
		const size_t kept = grave.used[t] * slot_size[t];

		memset(under->table[t], 0,
			state_file_used(grave.memory, (enum state_table)t) * slot_size[t]);
		memcpy(under->table[t], grave.bytes[t], kept);
		free(grave.bytes[t]);
		grave.bytes[t] = NULL;
	}
	grave.dead = false;
	grave.stores = 0;
}

static int grave_reserve(void *ctx, enum state_table table, uint32_t count)
{
	(void)ctx;
	return state_reserve(state_file_state(grave.memory), table, count);
}

static void grave_settle(void *ctx)
{
	(void)ctx;
	grave.stores = 0;
	state_settle(state_file_state(grave.memory));
}

static void grave_commit(void *ctx, uint64_t *word, uint64_t value)
{
	if (grave.countdown && --grave.countdown == 0)
		grave_die();
	if (grave.stores == GRAVE_STORES)
		grave_settle(ctx);
	grave.word[grave.stores] = word;
	grave.before[grave.stores++] = *word;
	state_commit(state_file_state(grave.memory), word, value);
}

void grave_open(struct state_file *memory)
{
	static const struct state_ops ops = {grave_reserve, grave_commit, grave_settle};

	grave.memory = memory;
	grave.state = *state_file_state(memory);
	grave.state.ops = &ops;
	grave.dead = false;
	grave.countdown = grave.stores = 0;
}
