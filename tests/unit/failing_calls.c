/* SPDX-License-Identifier: MIT */
#include "failing_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	enum failing_call call;
	unsigned skip, times;
	int error;
	void (*hook)(void);
	const char *text;
	bool armed, lies, happened;
} plan;

void calls_fail(enum failing_call call, unsigned skip, unsigned times, int error)
{
	memset(&plan, 0, sizeof(plan));
	plan.call = call;
	plan.skip = skip;
	plan.times = times;
	plan.error = error;
	plan.armed = true;
}

void calls_before(enum failing_call call, unsigned skip, void (*hook)(void))
{
	calls_fail(call, skip, 1, 0);
	plan.hook = hook;
}

void calls_lie(enum failing_call call, unsigned skip, const char *text)
{
	calls_fail(call, skip, 1, 0);
	plan.text = text;
	plan.lies = true;
}

bool calls_recover(void)
{
	plan.armed = false;
	return plan.happened;
}

/* Is this the call that is meant? */
static bool call_is_meant(enum failing_call call)
{
	if (!plan.armed || plan.call != call)
		return false;
	if (plan.skip > 0) {
		plan.skip--;
		return false;
	}
	plan.armed = --plan.times > 0;
	plan.happened = true;
	return true;
}

/* The error of this call, or 0 when it goes on; then its hook has run. */
static int call_error(enum failing_call call)
{
	if (plan.lies || !call_is_meant(call))
		return 0;
	if (plan.hook)
		plan.hook();
	errno = plan.error;
	return plan.error;
}

static bool call_lies(enum failing_call call)
{
	return plan.armed && plan.lies && call_is_meant(call);
}

/* ---------------------------------------------------------------- the calls */

#define CALL(type, name, parameters, arguments, kind, failed)                                      \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return call_error(kind) ? (failed) : __real_##name arguments;                      \
	}

CALL(int, fstat, (int fd, struct stat *st), (fd, st), CALL_FSTAT, -1)
CALL(int, access, (const char *path, int mode), (path, mode), CALL_ACCESS, -1)
CALL(int, ftruncate, (int fd, off_t size), (fd, size), CALL_FTRUNCATE, -1)
CALL(int, posix_fallocate, (int fd, off_t from, off_t size), (fd, from, size), CALL_FALLOCATE,
	plan.error)
CALL(int, rename, (const char *from, const char *to), (from, to), CALL_RENAME, -1)
CALL(void *, mmap, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
	(at, size, prot, flags, fd, offset), CALL_MMAP, MAP_FAILED)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __real_lstat(const char *path, struct stat *st);
int __wrap_lstat(const char *path, struct stat *st);
ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __real_pread(int fd, void *to, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *to, size_t size, off_t offset);
ssize_t __real_pwrite(int fd, const void *from, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *from, size_t size, off_t offset);

int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & O_CREAT)
		mode = va_arg(args, mode_t);
	va_end(args);
	return call_error(CALL_OPEN) ? -1 : __real_open(path, flags, mode);
}

int __wrap_fcntl(int fd, int command, ...)
{
	void *argument;
	va_list args;

	va_start(args, command);
	argument = va_arg(args, void *);
	va_end(args);
	return call_error(CALL_FCNTL) ? -1 : __real_fcntl(fd, command, argument);
}

int __wrap_lstat(const char *path, struct stat *st)
{
	const bool lies = call_lies(CALL_LSTAT);
	int r = lies || !call_error(CALL_LSTAT) ? __real_lstat(path, st) : -1;

	if (lies)
		st->st_dev++;
	return r;
}

ssize_t __wrap_read(int fd, void *to, size_t size)
{
	size_t length;

	if (!call_lies(CALL_READ))
		return call_error(CALL_READ) ? -1 : __real_read(fd, to, size);
	length = strlen(plan.text) < size ? strlen(plan.text) : size;
	memcpy(to, plan.text, length);
	return (ssize_t)length;
}

ssize_t __wrap_pread(int fd, void *to, size_t size, off_t offset)
{
	if (call_lies(CALL_PREAD))
		return 0;
	return call_error(CALL_PREAD) ? -1 : __real_pread(fd, to, size, offset);
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t size, off_t offset)
{
	if (call_lies(CALL_PWRITE))
		return 0;
	return call_error(CALL_PWRITE) ? -1 : __real_pwrite(fd, from, size, offset);
}
