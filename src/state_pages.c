/* SPDX-License-Identifier: MIT */
#include "state_private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define STATE_PAGES_BYTES ((size_t)STATE_FILE_PAGES * TRANSLATE_PAGE)
#define STATE_GIVEN_BYTES (STATE_FILE_PAGES * sizeof(uint32_t))

/* Address space that costs nothing until it is written; NULL when there is none. */
static void *state_pages_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int state_pages_init(struct state_pages *pages)
{
	pages->base = state_pages_map(STATE_PAGES_BYTES);
	pages->given = state_pages_map(STATE_GIVEN_BYTES);
	return pages->base != NULL && pages->given != NULL ? 0 : -ENOMEM;
}

void state_pages_done(struct state_pages *pages)
{
	if (pages->base != NULL)
		(void)munmap(pages->base, STATE_PAGES_BYTES);
	if (pages->given != NULL)
		(void)munmap(pages->given, STATE_GIVEN_BYTES);
}

static int state_pages_take(void *ctx, uint64_t *ret_offset)
{
	struct state_pages *pages = ctx;
	uint64_t offset;

	if (pages->given_count > 0) {
		offset = (uint64_t)pages->given[--pages->given_count] * TRANSLATE_PAGE;
		memset(pages->base + offset, 0, TRANSLATE_PAGE);
	} else if (pages->fresh < STATE_FILE_PAGES) {
		offset = (uint64_t)pages->fresh++ * TRANSLATE_PAGE;
	} else {
		return -ENOSPC;
	}
	*ret_offset = offset;
	return 0;
}

static void state_pages_give(void *ctx, uint64_t offset)
{
	struct state_pages *pages = ctx;

	assert(offset % TRANSLATE_PAGE == 0 && offset / TRANSLATE_PAGE < pages->fresh);
	assert(pages->given_count < pages->fresh);
	pages->given[pages->given_count++] = (uint32_t)(offset / TRANSLATE_PAGE);
}

struct translate_pages state_file_pages(struct state_file *file)
{
	return (struct translate_pages){
		.base = file->pages.base,
		.take = state_pages_take,
		.give = state_pages_give,
		.ctx = &file->pages,
	};
}

uint32_t state_file_pages_taken(const struct state_file *file)
{
	return file->pages.fresh - file->pages.given_count;
}
