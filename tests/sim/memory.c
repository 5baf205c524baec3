/* SPDX-License-Identifier: MIT */
/*
 * Large blocks for the broker, of which each life touches a few pages only: kept, and where they
 * were touched cleared again. To map them anew, and to take the faults, would be most of the time
 * of a history. The linker passes the core's calls here, but for builds with sanitizers.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LARGE      (1u << 17)
#define BLOCKS_MAX 16u
#define PAGE       4096u
#define PAGES_MAX  8192u

void *__real_calloc(size_t count, size_t size);
void __real_free(void *block);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *block);

static struct {
	uint8_t *base;
	size_t size;
	int taken;
} blocks[BLOCKS_MAX];

/* A page that is there was touched. One that was swapped out within a millisecond would be missed.
 */
static void block_clear(uint8_t *base, size_t size)
{
	static unsigned char there[PAGES_MAX];
	size_t pages = (size + PAGE - 1) / PAGE;

	if (mincore(base, size, there) != 0) {
		memset(base, 0, size);
		return;
	}
	for (size_t i = 0; i < pages; i++) {
		if (there[i] & 1)
			memset(base + i * PAGE, 0, PAGE);
	}
}

static void *block_make(size_t size)
{
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return NULL;
	(void)madvise(base, size, MADV_NOHUGEPAGE);
	return base;
}

void *__wrap_calloc(size_t count, size_t size)
{
	const size_t all = count * size;

	if (all < LARGE || all > (size_t)PAGES_MAX * PAGE)
		return __real_calloc(count, size);
	for (unsigned i = 0; i < BLOCKS_MAX; i++) {
		if (blocks[i].base && (blocks[i].taken || blocks[i].size != all))
			continue;
		if (blocks[i].base)
			block_clear(blocks[i].base, all);
		else
			blocks[i].base = block_make(all);
		blocks[i].size = all;
		blocks[i].taken = blocks[i].base != NULL;
		return blocks[i].base;
	}
	return __real_calloc(count, size);
}

void __wrap_free(void *block)
{
	for (unsigned i = 0; block && i < BLOCKS_MAX; i++) {
		if (blocks[i].base == block) {
			blocks[i].taken = 0;
			return;
		}
	}
	__real_free(block);
}
