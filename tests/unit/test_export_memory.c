/* SPDX-License-Identifier: MIT */
/* The memory of exported maps: what whoever has a descriptor of it can do, and cannot. */
#include "export_memory.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static struct export_memory *memory;
static const struct set_id own = {0x300000002};
static unsigned stands, falls;
static int stored = -1; /* a copy, as a descriptor store has it */

static void told(void *ctx, struct set_id set, int fd, bool is_there)
{
	ck_assert_ptr_null(ctx);
	ck_assert_uint_eq(set.v, own.v);
	ck_assert_int_ge(fd, 0);
	if (is_there && stored < 0)
		stored = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	*(is_there ? &stands : &falls) += 1;
}

static void setup(void)
{
	stands = falls = 0;
	stored = -1;
	ck_assert_int_eq(export_memory_new(told, NULL, &memory), 0);
}

static void teardown(void)
{
	export_memory_free(memory, true);
	if (stored >= 0)
		close(stored);
}

static uint8_t *make(struct export *ret_export)
{
	const struct export_port port = export_memory_port(memory);
	uint8_t *base;

	ck_assert_int_eq(port.make(port.ctx, own, &base), 0);
	export_format(ret_export, base, own);
	ck_assert_int_eq(port.reserve(port.ctx, own, export_offset((struct gpasid){7})), 0);
	export_add(ret_export, (struct gpasid){7});
	export_attach(ret_export, (struct gpasid){7}, (struct hpasid){4000});
	return base;
}

static uint32_t entry_of_7(const uint8_t *base)
{
	uint32_t entry;

	memcpy(&entry, base + (size_t)EXPORT_FIXED * TRANSLATE_PAGE + 28, sizeof(entry));
	return entry & TRANSLATE_HOST;
}

START_TEST(a_reader_sees_what_changes)
	{
		struct export export;
		const uint8_t *view;
		int fd = -1;

		(void)make(&export);
		ck_assert_int_eq(export_memory_open(memory, own, &fd), 0);
		view = mmap(NULL, EXPORT_SIZE, PROT_READ, MAP_SHARED, fd, 0);
		ck_assert_ptr_ne(view, MAP_FAILED);
		ck_assert_uint_eq(entry_of_7(view), 4000);
		export_attach(&export, (struct gpasid){7}, (struct hpasid){4001});
		ck_assert_uint_eq(entry_of_7(view), 4001);
		(void)munmap((void *)(uintptr_t)view, EXPORT_SIZE);
		close(fd);
	}
END_TEST

START_TEST(a_readers_descriptor_changes_nothing)
	{
		struct export export;
		int fd = -1;

		(void)make(&export);
		ck_assert_int_eq(export_memory_open(memory, own, &fd), 0);
		ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
		ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
		ck_assert_ptr_eq(
			mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
		ck_assert_int_lt(write(fd, "x", 1), 0);
		ck_assert_int_lt(ftruncate(fd, 0), 0);
		ck_assert_int_lt(
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
		ck_assert_int_lt(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
		ck_assert_int_lt(ftruncate(stored, 0), 0); /* sealed for us, too */
		close(fd);
	}
END_TEST

/* 0: it could be opened. */
static int reopened(int fd, int flags, bool as_nobody)
{
	char path[32];
	int status;
	pid_t child = fork();

	if (child == 0) {
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (as_nobody && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
			_exit(1);
		_exit(open(path, flags) >= 0 ? 0 : errno);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(another_user_cannot_open_it_for_writing_anew)
	{
		struct export export;
		int fd = -1;

		(void)make(&export);
		ck_assert_int_eq(export_memory_open(memory, own, &fd), 0);
		if (getuid() == 0)
			ck_assert_int_eq(reopened(fd, O_RDWR, true), EACCES);
		else
			ck_assert_int_eq(reopened(fd, O_RDWR, false), EACCES);
		close(fd);
	}
END_TEST

START_TEST(memory_is_taken_where_there_are_entries)
	{
		struct export export;
		struct stat found;
		int fd = -1;

		(void)make(&export);
		ck_assert_int_eq(export_memory_open(memory, own, &fd), 0);
		ck_assert_int_eq(fstat(fd, &found), 0);
		ck_assert_int_eq(found.st_size, (off_t)EXPORT_SIZE);
		ck_assert_int_eq(found.st_blocks * 512, (off_t)(EXPORT_FIXED + 1) * 4096);
		ck_assert_int_eq(found.st_mode & 07777, 0400);
		close(fd);
	}
END_TEST

START_TEST(what_an_earlier_run_left_is_mapped_again)
	{
		struct export export;
		uint8_t *base;

		(void)make(&export);
		ck_assert_uint_eq(stands, 1);
		export_memory_free(memory, true);
		ck_assert_uint_eq(falls, 0);
		ck_assert_int_eq(export_memory_new(told, NULL, &memory), 0);
		ck_assert_int_eq(export_memory_adopt(memory, own, dup(stored), &base), 0);
		ck_assert_uint_eq(entry_of_7(base), 4000);
		ck_assert(export_adopt(&export, base, own));
		ck_assert_int_eq(export_memory_adopt(memory, own, stored, &base), -EEXIST);
		export_memory_drop(memory, own);
		ck_assert_uint_eq(falls, 1);
		export_memory_drop(memory, own); /* is none */
		ck_assert_uint_eq(falls, 1);
	}
END_TEST

START_TEST(readers_are_told_when_nobody_keeps_it)
	{
		struct export export;
		uint8_t *view;
		uint32_t closed;

		(void)make(&export);
		view = mmap(NULL, EXPORT_SIZE, PROT_READ, MAP_SHARED, stored, 0);
		ck_assert_ptr_ne(view, MAP_FAILED);
		export_memory_free(memory, false);
		memory = NULL;
		memcpy(&closed, view + 12, sizeof(closed));
		ck_assert_uint_ne(closed, 0);
		ck_assert_uint_eq(entry_of_7(view), 0);
		(void)munmap(view, EXPORT_SIZE);
	}
END_TEST

START_TEST(other_things_are_not_taken_for_it)
	{
		uint8_t *base;
		int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING), ends[2];

		ck_assert_int_eq(ftruncate(fd, (off_t)EXPORT_SIZE), 0);
		ck_assert_int_eq(export_memory_adopt(memory, own, fd, &base), -EINVAL);
		close(fd);
		fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ck_assert_int_eq(
			fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
		ck_assert_int_eq(export_memory_adopt(memory, own, fd, &base), -EINVAL);
		close(fd);
		ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
		ck_assert_int_eq(export_memory_adopt(memory, own, ends[0], &base), -EINVAL);
		close(ends[0]);
		close(ends[1]);
		ck_assert_int_eq(export_memory_adopt(memory, own, -1, &base), -EBADF);
		ck_assert_int_eq(export_memory_open(memory, own, &fd), -ENOENT);
		ck_assert_uint_eq(stands + falls, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_reader_sees_what_changes,
		a_readers_descriptor_changes_nothing, another_user_cannot_open_it_for_writing_anew,
		memory_is_taken_where_there_are_entries, what_an_earlier_run_left_is_mapped_again,
		readers_are_told_when_nobody_keeps_it, other_things_are_not_taken_for_it};

	return suite_run("export memory", "memfd", tests, ARRAY_SIZE(tests), setup, teardown);
}
