/* SPDX-License-Identifier: MIT */
/* Trails that made room for others: how many are kept, under which names, and what is said. */
#include "audit.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/pasidd-aside-XXXXXX", path[64];
static struct audit_error said;

static const char *kept(unsigned age)
{
	static char name[80];

	(void)snprintf(name, sizeof(name), "%s.old.%u", path, age);
	if (age == 0)
		*strrchr(name, '.') = '\0';
	return name;
}

/* A file of so many bytes, by which it is known again. */
static void make(uint32_t size)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
}

static off_t size_of(const char *name)
{
	struct stat st;

	return stat(name, &st) < 0 ? -1 : st.st_size;
}

static void setup(void)
{
	strcpy(strrchr(directory, '-'), "-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/audit", directory);
}

static void teardown(void)
{
	for (unsigned age = 0; age < AUDIT_ASIDE_MAX; age++)
		(void)remove(kept(age));
	(void)remove(path);
	(void)rmdir(directory);
}

START_TEST(four_are_kept_and_the_oldest_goes_aloud)
	{
		for (uint32_t i = 1; i <= 5; i++) {
			make(i);
			ck_assert_int_eq(audit_aside(path, &said), 0);
			ck_assert_ptr_nonnull(strstr(said.text, "kept as *.old"));
			ck_assert_int_eq(strstr(said.text, "*.old.3") != NULL, i == 5);
			ck_assert_int_eq(size_of(path), -1);
		}
		for (unsigned age = 0; age < AUDIT_ASIDE_MAX; age++)
			ck_assert_int_eq(size_of(kept(age)), 5 - (int)age);
		ck_assert_int_eq(size_of(kept(AUDIT_ASIDE_MAX)), -1);
	}
END_TEST

/* What is behind a gap stays where it is. */
START_TEST(a_gap_is_filled_first)
	{
		for (uint32_t i = 1; i <= 3; i++) {
			make(i);
			ck_assert_int_eq(audit_aside(path, &said), 0);
		}
		ck_assert_int_eq(unlink(kept(1)), 0);
		make(4);
		ck_assert_int_eq(audit_aside(path, &said), 0);
		ck_assert_int_eq(size_of(kept(0)), 4);
		ck_assert_int_eq(size_of(kept(1)), 3);
		ck_assert_int_eq(size_of(kept(2)), 1);
	}
END_TEST

START_TEST(what_cannot_be_renamed_is_said_and_stays)
	{
		char too_long[AUDIT_ASIDE_PATH];

		for (uint32_t i = 1; i <= 3; i++) {
			make(i);
			ck_assert_int_eq(audit_aside(path, &said), 0);
		}
		ck_assert_int_eq(mkdir(kept(3), 0700), 0);
		make(4);
		ck_assert_int_eq(audit_aside(path, &said), -EISDIR);
		ck_assert_ptr_nonnull(strstr(said.text, "audit.old.2 cannot be renamed"));
		ck_assert_int_eq(size_of(path), 4);
		ck_assert_int_eq(size_of(kept(0)), 3);
		memset(too_long, 'x', sizeof(too_long) - 1);
		too_long[sizeof(too_long) - 1] = '\0';
		ck_assert_int_eq(audit_aside(too_long, &said), -ENAMETOOLONG);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		four_are_kept_and_the_oldest_goes_aloud,
		a_gap_is_filled_first,
		what_cannot_be_renamed_is_said_and_stays,
	};

	return suite_run("audit, aside", "aside", tests, ARRAY_SIZE(tests), setup, teardown);
}
