/* SPDX-License-Identifier: MIT */
#include "failing_memory.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __real__mark_point(const char *file, int line);
void __wrap__mark_point(const char *file, int line);

static bool failing, failed, once;
static unsigned left;

static bool memory_fails(void)
{
	if (!failing || left-- > 0)
		return false;
	left = 0;
	failed = true;
	failing = !once;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return memory_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return memory_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return memory_fails() ? NULL : __real_realloc(old, size);
}

/* What Check needs for itself, at every assertion, is there. */
void __wrap__mark_point(const char *file, int line)
{
	const bool was = failing;

	failing = false;
	__real__mark_point(file, line);
	failing = was;
}

void memory_fail_after(unsigned count)
{
	failing = true;
	failed = once = false;
	left = count;
}

void memory_fail_once_after(unsigned count)
{
	memory_fail_after(count);
	once = true;
}

bool memory_recover(void)
{
	failing = false;
	return failed;
}
