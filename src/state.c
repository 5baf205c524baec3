/* SPDX-License-Identifier: MIT */
/*
 * The port's three functions, on a mapping that may be a file's.
 *
 * What the death of the process leaves is what its instructions had stored, up to one of them. So
 * the order that counts is that of the compiled stores, not the one in which other processors see
 * them, and a barrier for the compiler is all it takes.
 */
#include "state_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t state_round(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* ------------------------------------------------------------------ space */

/*
 * Space for `want` entries of a region with space for `have`, in chunks; *ret_room says for how
 * many there is now. Memory has it already.
 */
static int state_grow(const struct state_file *file, const struct state_region *region,
	uint32_t have, uint32_t want, uint32_t *ret_room)
{
	const uint64_t end =
		state_round((uint64_t)region->capacity * region->slot_size, STATE_PAGE);
	const uint64_t from = (uint64_t)have * region->slot_size / STATE_PAGE * STATE_PAGE;
	uint64_t to = state_round((uint64_t)want * region->slot_size, STATE_CHUNK);
	int r = 0;

	if (to > end)
		to = end;
	if (file->fd >= 0)
		do
			r = posix_fallocate(
				file->fd, (off_t)(region->offset + from), (off_t)(to - from));
		while (r == EINTR);
	if (r != 0)
		return r == ENOMEM ? -ENOMEM : -ENOSPC;
	/* Mapped at once, which is cheaper than a fault for each page; no matter if it is not. */
	if (file->fd >= 0)
		(void)madvise(file->base + region->offset + from, to - from, MADV_POPULATE_WRITE);
	*ret_room = to == end ? region->capacity : (uint32_t)(to / region->slot_size);
	return 0;
}

static int state_grow_log(struct state_file *file, uint32_t have, uint32_t want)
{
	const struct state_region log = {.offset = file->header->log_offset,
		.slot_size = sizeof(struct state_undo),
		.capacity = STATE_CHANGE_MAX};
	uint32_t room;
	int r = state_grow(file, &log, have, want, &room);

	if (r == 0)
		file->log_room = file->header->log_room = room;
	return r;
}

/* The log has room for the largest change before there are the records that it could be about. */
static uint32_t state_log_need(uint32_t used)
{
	const uint64_t need = STATE_CHANGE_BASE + (uint64_t)STATE_CHANGE_SLOT * used;

	return need < STATE_CHANGE_MAX ? (uint32_t)need : STATE_CHANGE_MAX;
}

static int state_reserve_more(struct state_file *file, enum state_table table, uint32_t count)
{
	struct state_header *header = file->header;
	const uint32_t used = file->used + (count - header->used[table]);
	uint32_t room;
	int r = 0;

	if (state_log_need(used) > file->log_room)
		r = state_grow_log(file, file->log_room, state_log_need(used));
	if (r == 0 && count > header->room[table]) {
		r = state_grow(file, &header->tables[table], header->room[table], count, &room);
		if (r == 0)
			header->room[table] = room;
	}
	if (r != 0)
		return r;
	/* Not before it has room: a file whose counters contradict each other is damaged. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	header->used[table] = count;
	file->used = used;
	return 0;
}

static int state_file_reserve(void *ctx, enum state_table table, uint32_t count)
{
	struct state_file *file = ctx;

	assert((unsigned)table < STATE_TABLES);
	if (count > file->state.capacity[table])
		return -ENOSPC;
	return count <= file->header->used[table] ? 0 : state_reserve_more(file, table, count);
}

int state_make_room(struct state_file *file)
{
	struct state_header *header = file->header;
	const uint32_t need = state_log_need(file->used);
	uint32_t room;
	int r = state_grow_log(file, 0, need > file->log_room ? need : file->log_room);

	for (unsigned table = 0; table < STATE_TABLES && r == 0; table++)
		if (header->room[table] > 0)
			r = state_grow(file, &header->tables[table], 0, header->room[table], &room);
	return r;
}

/* ------------------------------------------------------------------ changes */

static void state_file_settle(void *ctx)
{
	struct state_file *file = ctx;

	file->changes = 0;
	__atomic_store_n(&file->header->changes, 0, __ATOMIC_RELEASE);
	/* What is stored from here on must not be there before: the log says how to undo it. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* More than anybody may rely on: grows if it can, settles if not. */
__attribute__((noinline, cold)) static void state_log_full(struct state_file *file)
{
	if (file->log_room == STATE_CHANGE_MAX ||
		state_grow_log(file, file->log_room, file->log_room + 1) != 0)
		state_file_settle(file);
}

static void state_file_commit(void *ctx, uint64_t *word, uint64_t value)
{
	struct state_file *file = ctx;
	const uint64_t offset = (uint64_t)((uint8_t *)word - file->base);
	struct state_undo *undo;

	assert(offset < file->size && offset % sizeof(*word) == 0);
	if (file->changes == file->log_room)
		state_log_full(file);
	undo = &file->log[file->changes++];
	undo->offset = offset;
	undo->value = *word;
	__atomic_store_n(&file->header->changes, file->changes, __ATOMIC_RELEASE);
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static const struct state_ops state_file_ops = {
	.reserve = state_file_reserve,
	.commit = state_file_commit,
	.settle = state_file_settle,
};

/* ------------------------------------------------------------------ the whole */

int state_map(int fd, struct state_file **ret_file)
{
	const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	struct state_file *file = calloc(1, sizeof(*file));
	struct state_header layout;
	void *base;

	if (file == NULL)
		return -ENOMEM;
	file->size = state_size();
	base = mmap(NULL, file->size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED || state_pages_init(&file->pages) != 0) {
		if (base != MAP_FAILED)
			(void)munmap(base, file->size);
		state_pages_done(&file->pages);
		free(file);
		return -ENOMEM;
	}
	/* A mapping keeps the file open and its lock held, also in a child that sleeps for ever in
	   somebody's close (executor_closer.c): then no other daemon could start. */
	if (fd >= 0)
		(void)madvise(base, file->size, MADV_DONTFORK);
	state_header_make((const uint8_t[STATE_BOOT_ID_SIZE]){0}, &layout);
	file->base = base;
	file->header = base;
	file->log = (struct state_undo *)(void *)(file->base + layout.log_offset);
	file->fd = fd;
	file->state.ops = &state_file_ops;
	file->state.ctx = file;
	for (unsigned table = 0; table < STATE_TABLES; table++) {
		file->state.table[table] = file->base + layout.tables[table].offset;
		file->state.capacity[table] = layout.tables[table].capacity;
	}
	*ret_file = file;
	return 0;
}

void state_take_counters(struct state_file *file)
{
	file->log_room = file->header->log_room;
	file->changes = file->header->changes;
	file->used = 0;
	for (unsigned table = 0; table < STATE_TABLES; table++)
		file->used += file->header->used[table];
}

int state_file_memory(struct state_file **ret_file)
{
	struct state_file *file;
	int r = state_map(-1, &file);

	if (r != 0)
		return r;
	state_header_make((const uint8_t[STATE_BOOT_ID_SIZE]){0}, file->header);
	r = state_make_room(file);
	assert(r == 0);
	*ret_file = file;
	return r;
}

void state_file_free(struct state_file *file)
{
	if (file == NULL)
		return;
	(void)munmap(file->base, file->size);
	state_pages_done(&file->pages);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

const struct state *state_file_state(const struct state_file *file)
{
	return &file->state;
}

uint32_t state_file_used(const struct state_file *file, enum state_table table)
{
	return file->header->used[table];
}
