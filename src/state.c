/* SPDX-License-Identifier: MIT */
#include "state_memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct {
	uint32_t capacity;
	uint32_t size;
} state_layout[STATE_TABLES] = {
	[STATE_SETS] = {STATE_MEMORY_SETS, sizeof(struct set_slot)},
	[STATE_GRANTS] = {STATE_MEMORY_GRANTS, sizeof(struct grant_slot)},
	[STATE_DEVICES] = {STATE_MEMORY_DEVICES, sizeof(struct device_slot)},
	[STATE_BINDINGS] = {STATE_MEMORY_BINDINGS, sizeof(struct binding_slot)},
	[STATE_HOST] = {1, sizeof(struct host_slot)},
	[STATE_SESSIONS] = {STATE_MEMORY_SESSIONS, sizeof(struct session_slot)},
	[STATE_REPLIES] = {STATE_MEMORY_REPLIES, sizeof(struct reply_slot)},
};

struct state_memory {
	struct state state;
	uint8_t *pages;  /* STATE_MEMORY_PAGES of TRANSLATE_PAGE bytes */
	uint32_t *given; /* stack of page numbers that were given back */
	uint32_t given_count;
	uint32_t fresh; /* pages from here on were never taken and are zero */
};

/* Address space that costs nothing until it is written; NULL when there is none. */
static void *state_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void state_unmap(void *p, size_t size)
{
	if (p != NULL)
		(void)munmap(p, size);
}

static size_t state_table_bytes(unsigned table)
{
	return (size_t)state_layout[table].capacity * state_layout[table].size;
}

static int state_memory_reserve(void *ctx, enum state_table table, uint32_t count)
{
	const struct state_memory *memory = ctx;

	assert((unsigned)table < STATE_TABLES);
	return count <= memory->state.capacity[table] ? 0 : -ENOSPC;
}

static void state_memory_commit(void *ctx, uint64_t *word, uint64_t value)
{
	(void)ctx;
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static void state_memory_settle(void *ctx)
{
	(void)ctx;
}

static const struct state_ops state_memory_ops = {
	.reserve = state_memory_reserve,
	.commit = state_memory_commit,
	.settle = state_memory_settle,
};

static int state_pages_take(void *ctx, uint64_t *ret_offset)
{
	struct state_memory *memory = ctx;
	uint64_t offset;

	if (memory->given_count > 0) {
		offset = (uint64_t)memory->given[--memory->given_count] * TRANSLATE_PAGE;
		memset(memory->pages + offset, 0, TRANSLATE_PAGE);
	} else if (memory->fresh < STATE_MEMORY_PAGES) {
		offset = (uint64_t)memory->fresh++ * TRANSLATE_PAGE;
	} else {
		return -ENOSPC;
	}
	*ret_offset = offset;
	return 0;
}

static void state_pages_give(void *ctx, uint64_t offset)
{
	struct state_memory *memory = ctx;

	assert(offset % TRANSLATE_PAGE == 0 && offset / TRANSLATE_PAGE < memory->fresh);
	assert(memory->given_count < memory->fresh);
	memory->given[memory->given_count++] = (uint32_t)(offset / TRANSLATE_PAGE);
}

int state_memory_new(struct state_memory **ret_memory)
{
	struct state_memory *memory = calloc(1, sizeof(*memory));

	if (memory == NULL)
		return -ENOMEM;
	memory->state.ops = &state_memory_ops;
	memory->state.ctx = memory;
	for (unsigned table = 0; table < STATE_TABLES; table++) {
		memory->state.capacity[table] = state_layout[table].capacity;
		memory->state.table[table] = state_map(state_table_bytes(table));
		if (memory->state.table[table] == NULL)
			goto fail;
	}
	memory->pages = state_map((size_t)STATE_MEMORY_PAGES * TRANSLATE_PAGE);
	memory->given = state_map(STATE_MEMORY_PAGES * sizeof(*memory->given));
	if (memory->pages == NULL || memory->given == NULL)
		goto fail;
	*ret_memory = memory;
	return 0;

fail:
	state_memory_free(memory);
	return -ENOMEM;
}

void state_memory_free(struct state_memory *memory)
{
	if (memory == NULL)
		return;
	for (unsigned table = 0; table < STATE_TABLES; table++)
		state_unmap(memory->state.table[table], state_table_bytes(table));
	state_unmap(memory->pages, (size_t)STATE_MEMORY_PAGES * TRANSLATE_PAGE);
	state_unmap(memory->given, STATE_MEMORY_PAGES * sizeof(*memory->given));
	free(memory);
}

const struct state *state_memory_state(const struct state_memory *memory)
{
	return &memory->state;
}

struct translate_pages state_memory_pages(struct state_memory *memory)
{
	return (struct translate_pages){
		.base = memory->pages,
		.take = state_pages_take,
		.give = state_pages_give,
		.ctx = memory,
	};
}

uint32_t state_memory_pages_taken(const struct state_memory *memory)
{
	return memory->fresh - memory->given_count;
}
