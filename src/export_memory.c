/* SPDX-License-Identifier: MIT */
#include "export_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY_BUCKETS 256u
#define MEMORY_SEALS   (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define MEMORY_FIXED   ((off_t)EXPORT_FIXED * TRANSLATE_PAGE)

struct memory_entry {
	SLIST_ENTRY(memory_entry) link;
	struct set_id set;
	int fd;
	uint8_t *base;
};
SLIST_HEAD(memory_list, memory_entry);

struct export_memory {
	struct memory_list sets[MEMORY_BUCKETS];
	export_memory_fn fn;
	void *ctx;
};

static struct memory_list *memory_bucket(const struct export_memory *memory, struct set_id set)
{
	return (struct memory_list *)(uintptr_t)&memory->sets[set.v % MEMORY_BUCKETS];
}

static struct memory_entry *memory_find(const struct export_memory *memory, struct set_id set)
{
	struct memory_entry *entry = SLIST_FIRST(memory_bucket(memory, set));

	while (entry != NULL && entry->set.v != set.v)
		entry = SLIST_NEXT(entry, link);
	return entry;
}

int export_memory_new(export_memory_fn fn, void *ctx, struct export_memory **ret_memory)
{
	struct export_memory *memory = calloc(1, sizeof(*memory));

	if (memory == NULL)
		return -ENOMEM;
	memory->fn = fn;
	memory->ctx = ctx;
	*ret_memory = memory;
	return 0;
}

/* It is in no list any more. */
static void memory_release(struct memory_entry *entry)
{
	(void)munmap(entry->base, EXPORT_SIZE);
	close(entry->fd);
	free(entry);
}

void export_memory_free(struct export_memory *memory, bool kept)
{
	if (memory == NULL)
		return;
	for (unsigned i = 0; i < MEMORY_BUCKETS; i++) {
		struct memory_entry *entry = SLIST_FIRST(&memory->sets[i]);

		while (entry != NULL) {
			struct memory_entry *next = SLIST_NEXT(entry, link);
			struct export export = {.base = entry->base};

			if (!kept)
				export_close(&export);
			memory_release(entry);
			entry = next;
		}
	}
	free(memory);
}

/* ---------------------------------------------------------------- made, or found */

static int memory_insert(struct export_memory *memory, struct set_id set, int fd, uint8_t *base)
{
	struct memory_entry *entry = malloc(sizeof(*entry));

	if (entry == NULL)
		return -ENOMEM;
	*entry = (struct memory_entry){.set = set, .fd = fd, .base = base};
	SLIST_INSERT_HEAD(memory_bucket(memory, set), entry, link);
	return 0;
}

static int memory_map(struct export_memory *memory, struct set_id set, int fd, uint8_t **ret_base)
{
	uint8_t *base = mmap(NULL, EXPORT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int r;

	if (base == MAP_FAILED)
		return -errno;
	(void)madvise(base, EXPORT_SIZE, MADV_DONTFORK); /* a child may outlive the set */
	r = memory_insert(memory, set, fd, base);
	if (r != 0) {
		(void)munmap(base, EXPORT_SIZE);
		return r;
	}
	*ret_base = base;
	return 0;
}

/* A store into a page that is not there would end us if there were no memory for it. */
static int memory_fill(int fd, off_t offset, off_t length)
{
	int r;

	do
		r = posix_fallocate(fd, offset, length);
	while (r == EINTR);
	return -r;
}

static int memory_prepare(int fd)
{
	if (ftruncate(fd, (off_t)EXPORT_SIZE) < 0 || fchmod(fd, S_IRUSR) < 0 ||
		fcntl(fd, F_ADD_SEALS, MEMORY_SEALS) < 0)
		return -errno;
	return memory_fill(fd, 0, MEMORY_FIXED);
}

static int memory_make(void *ctx, struct set_id set, uint8_t **ret_base)
{
	struct export_memory *memory = ctx;
	char name[48];
	int fd, r;

	(void)snprintf(name, sizeof(name), "pasidd-map-%016llx", (unsigned long long)set.v);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = memory_prepare(fd);
	if (r == 0)
		r = memory_map(memory, set, fd, ret_base);
	if (r != 0) {
		close(fd);
		return r;
	}
	if (memory->fn != NULL)
		memory->fn(memory->ctx, set, fd, true);
	return 0;
}

static int memory_reserve(void *ctx, struct set_id set, uint64_t offset)
{
	const struct memory_entry *entry = memory_find(ctx, set);

	return entry == NULL ? -ENOENT : memory_fill(entry->fd, (off_t)offset, TRANSLATE_PAGE);
}

int export_memory_adopt(struct export_memory *memory, struct set_id set, int fd, uint8_t **ret_base)
{
	struct stat found;

	if (fstat(fd, &found) < 0)
		return -errno;
	if (!S_ISREG(found.st_mode) || (uint64_t)found.st_size != EXPORT_SIZE ||
		(fcntl(fd, F_GET_SEALS) & MEMORY_SEALS) != MEMORY_SEALS)
		return -EINVAL;
	if (memory_find(memory, set) != NULL)
		return -EEXIST;
	return memory_map(memory, set, fd, ret_base);
}

void export_memory_drop(struct export_memory *memory, struct set_id set)
{
	struct memory_entry *entry = memory_find(memory, set);

	if (entry == NULL)
		return;
	if (memory->fn != NULL)
		memory->fn(memory->ctx, set, entry->fd, false);
	SLIST_REMOVE(memory_bucket(memory, set), entry, memory_entry, link);
	memory_release(entry);
}

static void memory_drop(void *ctx, struct set_id set)
{
	export_memory_drop(ctx, set);
}

struct export_port export_memory_port(struct export_memory *memory)
{
	return (struct export_port){
		.make = memory_make,
		.reserve = memory_reserve,
		.drop = memory_drop,
		.ctx = memory,
	};
}

/* ---------------------------------------------------------------- handed out */

int export_memory_open(const struct export_memory *memory, struct set_id set, int *ret_fd)
{
	const struct memory_entry *entry = memory_find(memory, set);
	char path[32];
	int fd;

	if (entry == NULL)
		return -ENOENT;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", entry->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}
