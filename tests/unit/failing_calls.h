/* SPDX-License-Identifier: MIT */
/*
 * Calls of the system that fail: a test that includes this is linked with the ones below, which do
 * what they are told to.
 */
#ifndef PASIDD_TEST_FAILING_CALLS_H
#define PASIDD_TEST_FAILING_CALLS_H

#include <stdbool.h>

enum failing_call {
	CALL_OPEN,
	CALL_FSTAT,
	CALL_LSTAT,
	CALL_ACCESS,
	CALL_FCNTL,
	CALL_READ,
	CALL_PREAD,
	CALL_PWRITE,
	CALL_FTRUNCATE,
	CALL_FALLOCATE,
	CALL_MMAP,
	CALL_RENAME,
	CALL_COUNT,
};

/* After `skip` calls of this kind the next `times` fail with this error. */
void calls_fail(enum failing_call call, unsigned skip, unsigned times, int error);
/* After `skip` calls of this kind this is done before the next one, which then goes on as ever. */
void calls_before(enum failing_call call, unsigned skip, void (*hook)(void));
/*
 * After `skip` calls of this kind the next read() has this text, pread() nothing, pwrite() wrote
 * nothing, and lstat() says that it is on another file system.
 */
void calls_lie(enum failing_call call, unsigned skip, const char *text);
/* They are as ever. Returns whether something of that has happened. */
bool calls_recover(void);

#endif
