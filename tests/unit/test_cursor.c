/* SPDX-License-Identifier: MIT */
/* Where a watch of pasidctl goes on, and files that are whole at every moment. */
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pasidctl_cursor.h"
#include "pasidctl_file.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static char folder[] = "/tmp/pasid-cursor-XXXXXX";
static char path[64], other[64], beside[64];

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/state", folder);
	snprintf(other, sizeof(other), "%s/other", folder);
	snprintf(beside, sizeof(beside), "%s/.state.new", folder);
}

static void teardown(void)
{
	(void)unlink(path);
	(void)unlink(other);
	ck_assert_int_eq(rmdir(folder), 0); /* nothing else was left there */
}

START_TEST(a_cursor_comes_back_from_its_file)
	{
		struct cursor cursor = {.next = UINT64_C(1) << 60, .session = 7, .boot = "b"},
			      found;
		enum cursor_fit fit;
		struct stat status;
		ck_assert_int_eq(cursor_read(path, &found, &fit), 0);
		ck_assert_int_eq(fit, CURSOR_NONE);
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(cursor_write(path, &cursor), 0);
			ck_assert_int_eq(cursor_read(path, &found, &fit), 0);
			ck_assert_int_eq(fit, CURSOR_GOOD);
			ck_assert(found.next == cursor.next && found.session == 7 &&
				  strcmp(found.boot, "b") == 0);
		}
		ck_assert_int_eq(stat(path, &status), 0);
		ck_assert_uint_eq(status.st_mode & 07777, 0600);
	}
END_TEST

START_TEST(what_is_no_cursor_is_refused)
	{
		static const char *const wrong[] = {"x", "{}", "[]", "null", "{\"next\": 1}",
			"{\"next\": 0, \"session\": 1, \"boot\": \"\"}",
			"{\"next\": -1, \"session\": 1, \"boot\": \"\"}",
			"{\"next\": 1.5, \"session\": 1, \"boot\": \"\"}",
			"{\"next\": 1, \"session\": 1, \"boot\": 5}",
			"{\"next\": 1, \"next\": 2, \"session\": 1, \"boot\": \"\"}",
			/* a boot's id that is too long */
			"{\"next\": 1, \"session\": 1, \"boot\": \"0123456789012345678901234567890123456789\"}",
			"{\"next\": 1, \"session\": 1, \"boot\": \"\"} x",
			"{\"next\": 1, \"session\": 99999999999999999999, \"boot\": \"\"}"};
		struct cursor cursor;
		enum cursor_fit fit;
		char big[600];
		for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
			ck_assert_msg(!cursor_parse(wrong[i], &cursor), "%s", wrong[i]);
			ck_assert_int_eq(file_replace(path, 0600, wrong[i], strlen(wrong[i])), 0);
			ck_assert_int_eq(cursor_read(path, &cursor, &fit), -EBADMSG);
		}
		memset(big, ' ', sizeof(big));
		ck_assert_int_eq(file_replace(path, 0600, big, sizeof(big)), 0);
		ck_assert_int_eq(cursor_read(path, &cursor, &fit), -EBADMSG);
		ck_assert_int_eq(cursor_read(folder, &cursor, &fit), -EISDIR);
	}
END_TEST

START_TEST(numbers_of_another_boot_or_other_records_mean_something_else)
	{
		struct cursor cursor = {.next = 5, .session = 7, .boot = "b"};
		struct cursor now = {.session = 8, .boot = "b"};
		ck_assert_int_eq(cursor_fits(&cursor, &now), CURSOR_GOOD);
		now.session = 7;
		ck_assert_int_eq(cursor_fits(&cursor, &now), CURSOR_RECORDS);
		now.session = 1;
		ck_assert_int_eq(cursor_fits(&cursor, &now), CURSOR_RECORDS);
		now = (struct cursor){.session = 8, .boot = "c"};
		ck_assert_int_eq(cursor_fits(&cursor, &now), CURSOR_BOOTED);
		ck_assert(cursor_parse("", &cursor));
		ck_assert_int_eq(cursor_fits(&cursor, &now), CURSOR_EMPTY);
		ck_assert_str_eq(cursor_text(CURSOR_BOOTED), "booted");
		ck_assert_str_eq(cursor_text(CURSOR_RECORDS), "records-lost");
		ck_assert_str_eq(cursor_text(CURSOR_EMPTY), "state-lost");
		ck_assert_str_eq(cursor_text((enum cursor_fit)99), "none");
	}
END_TEST

START_TEST(this_boot_has_an_id)
	{
		char boot[CURSOR_BOOT_SIZE];
		cursor_boot(boot);
		ck_assert_uint_eq(strlen(boot),
			access("/proc/sys/kernel/random/boot_id", R_OK) == 0 ? 36 : 0);
	}
END_TEST

START_TEST(nothing_but_a_file_is_replaced_and_nothing_is_left_over)
	{
		char *text = NULL;
		ck_assert_int_eq(symlink("/dev/null", path), 0);
		ck_assert_int_eq(file_replace(path, 0644, "x", 1), -EEXIST);
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(mkfifo(path, 0600), 0);
		ck_assert_int_eq(file_replace(path, 0644, "x", 1), -EEXIST);
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(file_replace(folder, 0644, "x", 1), -EISDIR);
		ck_assert_int_eq(file_replace("/nonexistent/file", 0644, "x", 1), -ENOENT);
		ck_assert_int_eq(file_replace(path, 0644, "before", 6), 0);
		ck_assert_int_eq(
			link(path, other), 0); /* who has it open goes on reading what was there */
		ck_assert_int_eq(file_replace(path, 0644, "after\n", 6), 0);
		ck_assert_int_eq(file_read(path, 6, &text), 0);
		ck_assert_str_eq(text, "after\n");
		free(text);
		ck_assert_int_eq(file_read(other, 6, &text), 0);
		ck_assert_str_eq(text, "before");
		free(text);
		ck_assert_int_eq(file_read(path, 5, &text), -EFBIG);
	}
END_TEST

static void put(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

START_TEST(what_a_killed_writer_left_is_the_next_ones)
	{
		char *text = NULL;
		put(beside, "half of what was to be wri");
		ck_assert_int_eq(file_replace(path, 0640, "whole\n", 6), 0);
		ck_assert_int_eq(file_read(path, 64, &text), 0);
		ck_assert_str_eq(text, "whole\n");
		free(text);
		ck_assert_int_ne(access(beside, F_OK), 0);
	}
END_TEST

START_TEST(what_others_can_change_is_not_put_in_its_place)
	{
		put(other, "somebody's");
		ck_assert_int_eq(link(other, beside), 0);
		ck_assert_int_eq(file_replace(path, 0644, "x", 1), -EPERM);
		ck_assert_int_eq(unlink(beside), 0);
		ck_assert_int_eq(symlink(other, beside), 0);
		ck_assert_int_eq(file_replace(path, 0644, "x", 1), -ELOOP);
		ck_assert_int_eq(unlink(beside), 0);
		ck_assert_int_eq(mkfifo(beside, 0600), 0);
		ck_assert_int_eq(file_replace(path, 0644, "x", 1), -ENXIO);
		int reader = open(beside, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		ck_assert_int_ge(reader, 0);
		ck_assert_int_eq(file_replace(path, 0644, "x", 1), -EPERM);
		close(reader);
		ck_assert_int_eq(unlink(beside), 0);
		ck_assert_int_ne(access(path, F_OK), 0);
		char *text = NULL;
		ck_assert_int_eq(file_read(other, 64, &text), 0);
		ck_assert_str_eq(text, "somebody's");
		free(text);
	}
END_TEST

/* One of several writers: each puts its letter in the file, as many times as it has bytes. */
static void write_many(char letter)
{
	char data[20000];
	memset(data, letter, sizeof(data));
	for (int i = 0; i < 300; i++)
		if (file_replace(path, 0644, data, sizeof(data) - (size_t)(letter - 'a') * 1000) !=
			0)
			_exit(1);
	_exit(0);
}

START_TEST(writers_of_one_file_do_not_mix)
	{
		enum { WRITERS = 4 };
		for (int i = 0; i < WRITERS; i++) {
			pid_t child = fork();
			ck_assert_int_ge(child, 0);
			if (child == 0)
				write_many((char)('a' + i));
		}
		int ended = 0, status;
		while (ended < WRITERS) {
			char *text;
			int r = file_read(path, 20000, &text);
			ck_assert(r == 0 || r == -ENOENT);
			if (r == 0) {
				char all[2] = {text[0], '\0'};
				ck_assert_uint_eq(strspn(text, all), strlen(text));
				ck_assert_uint_eq(
					strlen(text), 20000 - (size_t)(text[0] - 'a') * 1000);
				free(text);
			}
			if (waitpid(-1, &status, WNOHANG) > 0) {
				ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
				ended++;
			}
		}
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_cursor_comes_back_from_its_file,
		what_is_no_cursor_is_refused,
		numbers_of_another_boot_or_other_records_mean_something_else, this_boot_has_an_id,
		nothing_but_a_file_is_replaced_and_nothing_is_left_over,
		what_a_killed_writer_left_is_the_next_ones,
		what_others_can_change_is_not_put_in_its_place, writers_of_one_file_do_not_mix};
	return suite_run("cursor", "cursor", tests, ARRAY_SIZE(tests), setup, teardown);
}
