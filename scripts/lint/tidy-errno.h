/* SPDX-License-Identifier: MIT */
/*
 * Included before everything else when clang-tidy reads a file. Its analyzer does not know that -errno is
 * negative, and would follow each `return -errno` as if it returned success without an output. So errno
 * is one of a few concrete values for it.
 */
#include <errno.h>

int tidy_any(void);

static inline int *tidy_errno(int *slot)
{
	int any = tidy_any();

	*slot = any == 0 ? EAGAIN : any == 1 ? EINTR : any == 2 ? ENOENT : EIO;
	return slot;
}
#undef errno
#define errno (*tidy_errno((int[1]){0}))
