/* SPDX-License-Identifier: MIT */
/*
 * Included before everything else when clang-tidy reads a file. Its analyzer sees one file at a
 * time: it does not know that -errno is negative and that error_set() never returns 0, and would
 * follow each refusal as if it were a success without an output.
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

#if __has_include("error.h") && !defined(TIDY_ERROR_C)
#include "error.h"

static inline int tidy_refused(int status)
{
	if (status <= 0)
		__builtin_unreachable();
	return status;
}
#define error_set(...)       tidy_refused(error_set(__VA_ARGS__))
#define error_set_limit(...) tidy_refused(error_set_limit(__VA_ARGS__))
#endif
