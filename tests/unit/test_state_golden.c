/* SPDX-License-Identifier: MIT */
/*
 * Files that versions of pasidd wrote: what they say must be understood as long as hosts may have
 * one. tests/data/state/ has their bytes that are not zero, 32 a line behind their offset.
 *
 *   test_state_golden --write tests/data/state/version-N    # once, for a new layout
 *
 * A test that fails here after a change of src/state.h means: hosts have files that say it the old
 * way. Give the layout another version, and read both.
 */
#include "failing_calls.h"
#include "state_check.h"
#include "state_rig.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LINE_BYTES 32u

static const uint32_t golden_used[][STATE_TABLES] = {
	[1] = {RIG_SETS, RIG_GRANTS, RIG_DEVICES, RIG_BINDINGS, 1, RIG_SESSIONS, RIG_REPLIES, 0},
	[2] = {RIG_SETS, RIG_GRANTS, RIG_DEVICES, RIG_BINDINGS, 1, RIG_SESSIONS, RIG_REPLIES,
		RIG_TIES},
};
static const char *const golden_names[] = {[1] = "version-1", [2] = "version-2"};
_Static_assert(ARRAY_SIZE(golden_names) == STATE_FILE_VERSION + 1, "a file of each version");

/* The records, and a change that is not finished. */
static void golden_make(void)
{
	struct state_file *file = state_rig_open(STATE_FOUND_NEW);
	const struct state *state = state_file_state(file);
	struct grant_slot *grants = state->table[STATE_GRANTS];
	struct session_slot *sessions = state->table[STATE_SESSIONS];

	state_rig_fill(state);
	state_rig_fill_ties(state);
	state_settle(state);
	state_commit(state, &grants[0].word, 0);
	state_commit(state, &sessions[1].floor, 6);
	state_commit(state, &grants[0].word, 0x7002);
	state_file_free(file);
}

/* Prints what is not zero in the first chunks, where all of it is. */
static void golden_print(const char *path, FILE *to)
{
	struct state_rig_bytes bytes = state_rig_read(path);
	struct state_header layout;

	state_header_make(rig_boot, &layout);
	(void)fprintf(to, "size %llu\n", (unsigned long long)bytes.size);
	for (size_t at = 0; at < bytes.length; at += LINE_BYTES) {
		const size_t chunk = at / STATE_CHUNK;
		const uint64_t offset =
			(chunk < 2 ? chunk * STATE_CHUNK : layout.tables[chunk - 2].offset) +
			at % STATE_CHUNK;
		const uint8_t zeros[LINE_BYTES] = {0};

		if (memcmp(bytes.pages + at, zeros, LINE_BYTES) == 0)
			continue;
		(void)fprintf(to, "%llx ", (unsigned long long)offset);
		for (size_t i = 0; i < LINE_BYTES; i++)
			(void)fprintf(to, "%02x", bytes.pages[at + i]);
		(void)fputc('\n', to);
	}
	free(bytes.pages);
}

static void golden_line(int fd, const char *line)
{
	char *rest;
	const uint64_t offset = strtoull(line, &rest, 16);
	uint8_t bytes[LINE_BYTES];

	ck_assert_msg(*rest == ' ' && strlen(rest + 1) == 2 * (size_t)LINE_BYTES, "%s", line);
	for (size_t i = 0; i < LINE_BYTES; i++) {
		const char digits[3] = {rest[1 + 2 * i], rest[2 + 2 * i], '\0'};

		bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	ck_assert_int_eq(pwrite(fd, bytes, sizeof(bytes), (off_t)offset), LINE_BYTES);
}

/* Makes the rig's file from one of tests/data/state/. */
static void golden_unpack(const char *name)
{
	const int fd = open(rig_path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	char path[4096], line[256];
	FILE *from;

	(void)snprintf(path, sizeof(path), "%s/state/%s", PASIDD_TEST_DATA, name);
	from = fopen(path, "re");
	ck_assert_msg(from != NULL, "%s", path);
	ck_assert_int_ge(fd, 0);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), from));
	ck_assert_int_eq(ftruncate(fd, (off_t)strtoull(line + strlen("size "), NULL, 10)), 0);
	while (fgets(line, sizeof(line), from) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		golden_line(fd, line);
	}
	(void)fclose(from);
	close(fd);
}

static void same_records(const struct state *a, const struct state *b,
	const struct state_file *file, const uint32_t used[static STATE_TABLES])
{
	static const size_t sizes[STATE_TABLES] = {128, 32, 128, 64, 128, 128, 64, 32};

	for (unsigned t = 0; t < STATE_TABLES; t++) {
		ck_assert_uint_eq(state_file_used(file, (enum state_table)t), used[t]);
		ck_assert_mem_eq(a->table[t], b->table[t], used[t] * sizes[t]);
	}
}

/* Opens the rig's file, which a version wrote, or one that was upgraded from it. */
static void says_what_it_said(uint32_t wrote, uint32_t version, uint32_t undone)
{
	const uint32_t *used = golden_used[wrote];
	struct state_file *file = NULL, *expected = NULL;
	struct state_problem problem = {.text = ""};
	struct state_note note;
	void *scratch = malloc(state_check_scratch(used));

	ck_assert_msg(state_file_open(rig_path, rig_boot, &file, &note) == 0, "%s", note.text);
	ck_assert_uint_eq(note.found, STATE_FOUND_KEPT);
	ck_assert_uint_eq(note.version, version);
	ck_assert_uint_eq(note.undone, undone);
	ck_assert_int_eq(state_file_memory(&expected), 0);
	state_rig_fill(state_file_state(expected));
	if (wrote >= 2)
		state_rig_fill_ties(state_file_state(expected));
	same_records(state_file_state(file), state_file_state(expected), file, used);
	ck_assert_msg(state_check(state_file_state(file), used, scratch, &problem) == 0, "%s",
		problem.text);
	state_file_free(file);
	state_file_free(expected);
	free(scratch);
}

START_TEST(a_file_of_each_version_says_what_it_said)
	{
		for (uint32_t version = 1; version <= STATE_FILE_VERSION; version++) {
			golden_unpack(golden_names[version]);
			says_what_it_said(version, version, 3);
			says_what_it_said(version, STATE_FILE_VERSION, 0);
			ck_assert_int_eq(unlink(rig_path), 0);
		}
	}
END_TEST

/* Only the size was changed when the daemon died: it is still a file of the old version. */
START_TEST(an_upgrade_that_was_killed_is_begun_again)
	{
		golden_unpack("version-1");
		ck_assert_int_eq(truncate(rig_path, (off_t)state_size()), 0);
		says_what_it_said(1, 1, 3);
		says_what_it_said(1, STATE_FILE_VERSION, 0);
	}
END_TEST

START_TEST(an_upgraded_file_has_room_for_what_is_new)
	{
		struct state_file *file;
		const struct state *state;

		golden_unpack("version-1");
		file = state_rig_open(STATE_FOUND_KEPT);
		state = state_file_state(file);
		state_rig_fill_ties(state);
		state_file_free(file);
		says_what_it_said(2, STATE_FILE_VERSION, 0);
	}
END_TEST

START_TEST(looking_at_an_old_file_changes_nothing)
	{
		struct state_file *copy = NULL;
		struct state_rig_bytes before;
		struct state_note note;

		golden_unpack("version-1");
		before = state_rig_read(rig_path);
		ck_assert_int_eq(state_file_look(rig_path, rig_boot, &copy, &note), 0);
		ck_assert_uint_eq(note.version, 1);
		ck_assert_uint_eq(state_file_used(copy, STATE_GRANTS), RIG_GRANTS);
		ck_assert_uint_eq(state_file_used(copy, STATE_TIES), 0);
		state_file_free(copy);
		state_rig_same(rig_path, &before);
		free(before.pages);
	}
END_TEST

/* A file that may not grow is not upgraded, and stays what it was. */
START_TEST(an_upgrade_that_fails_changes_nothing)
	{
		struct rlimit before, small;
		struct state_rig_bytes bytes;
		struct state_file *file = NULL;
		struct state_note note;

		golden_unpack("version-1");
		bytes = state_rig_read(rig_path);
		ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
		small = before;
		small.rlim_cur = bytes.size;
		ck_assert_ptr_ne(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
		ck_assert_int_eq(state_file_open(rig_path, rig_boot, &file, &note), -EFBIG);
		ck_assert_uint_eq(note.found, STATE_FOUND_NO_SPACE);
		ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
		state_rig_same(rig_path, &bytes);
		free(bytes.pages);
		says_what_it_said(1, 1, 3);
	}
END_TEST

static void upgrade_fails(int expected)
{
	struct state_file *file = NULL;
	struct state_note note;

	ck_assert_int_eq(state_file_open(rig_path, rig_boot, &file, &note), expected);
	ck_assert(calls_recover());
	ck_assert_uint_eq(note.found, STATE_FOUND_NO_SPACE);
	ck_assert_ptr_null(file);
}

/* The header is what says which layout it is: without the new one it is still of the old version.
 */
START_TEST(an_upgrade_whose_header_is_not_written_is_begun_again)
	{
		golden_unpack("version-1");
		calls_fail(CALL_PWRITE, 0, 1, EIO);
		upgrade_fails(-EIO);
		calls_fail(CALL_PWRITE, 0, 1, ENOSPC);
		upgrade_fails(-ENOSPC);
		calls_lie(CALL_PWRITE, 0, NULL);
		upgrade_fails(-EIO);
		calls_fail(CALL_PWRITE, 0, 3, EINTR);
		says_what_it_said(1, 1, 3);
		ck_assert(calls_recover());
		says_what_it_said(1, STATE_FILE_VERSION, 0);
	}
END_TEST

static void edit_no_version(struct state_header *header)
{
	header->version = 0;
}

START_TEST(no_version_is_none_of_ours)
	{
		struct state_rig_bytes before;
		struct state_file *file = NULL;
		struct state_note note;

		golden_make();
		state_rig_edit(rig_path, edit_no_version, true);
		before = state_rig_read(rig_path);
		ck_assert_int_eq(state_file_open(rig_path, rig_boot, &file, &note), -EBADMSG);
		ck_assert_uint_eq(note.found, STATE_FOUND_DAMAGED);
		ck_assert_ptr_nonnull(strstr(note.text, "version 0"));
		state_rig_same(rig_path, &before);
		free(before.pages);
	}
END_TEST

START_TEST(this_version_writes_its_layout_to_the_byte)
	{
		char path[128], *golden = NULL, *made = NULL;
		size_t golden_size, made_size;
		FILE *f;

		golden_unpack(golden_names[STATE_FILE_VERSION]);
		f = open_memstream(&golden, &golden_size);
		golden_print(rig_path, f);
		(void)fclose(f);
		(void)snprintf(path, sizeof(path), "%s.golden", rig_path);
		ck_assert_int_eq(rename(rig_path, path), 0);
		golden_make();
		f = open_memstream(&made, &made_size);
		golden_print(rig_path, f);
		(void)fclose(f);
		ck_assert_str_eq(made, golden);
		free(golden);
		free(made);
	}
END_TEST

/* The smallest sign of damage in each part of an old file. */
static void damaged_is_refused(const char *name)
{
	static const uint64_t fields[] = {offsetof(struct state_header, magic),
		offsetof(struct state_header, version), offsetof(struct state_header, fixed_bytes),
		offsetof(struct state_header, boot_id), offsetof(struct state_header, checksum),
		offsetof(struct state_header, size), offsetof(struct state_header, log_offset),
		offsetof(struct state_header, tables), offsetof(struct state_header, used) + 3,
		offsetof(struct state_header, log_room) + 3,
		offsetof(struct state_header, changes) + 3, STATE_PAGE};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		struct state_rig_bytes before;
		struct state_file *file = NULL;
		struct state_note note;

		golden_unpack(name);
		state_rig_poke(rig_path, fields[i], &(uint8_t){0x99}, 1);
		before = state_rig_read(rig_path);
		ck_assert_int_eq(state_file_open(rig_path, rig_boot, &file, &note), -EBADMSG);
		ck_assert_uint_eq(note.found, STATE_FOUND_DAMAGED);
		state_rig_same(rig_path, &before);
		free(before.pages);
		ck_assert_int_eq(unlink(rig_path), 0);
	}
}

START_TEST(a_damaged_file_of_each_version_is_refused)
	{
		for (uint32_t version = 1; version <= STATE_FILE_VERSION; version++)
			damaged_is_refused(golden_names[version]);
	}
END_TEST

static const char *golden_to;

START_TEST(write_one)
	{
		FILE *to = fopen(golden_to, "we");

		ck_assert_ptr_nonnull(to);
		golden_make();
		golden_print(rig_path, to);
		ck_assert_int_eq(fclose(to), 0);
	}
END_TEST

int main(int argc, char *argv[])
{
	const TTest *const writing[] = {write_one};
	const TTest *const tests[] = {
		a_file_of_each_version_says_what_it_said,
		this_version_writes_its_layout_to_the_byte,
		an_upgrade_that_was_killed_is_begun_again,
		an_upgraded_file_has_room_for_what_is_new,
		looking_at_an_old_file_changes_nothing,
		an_upgrade_that_fails_changes_nothing,
		an_upgrade_whose_header_is_not_written_is_begun_again,
		no_version_is_none_of_ours,
		a_damaged_file_of_each_version_is_refused,
	};

	if (argc == 3 && strcmp(argv[1], "--write") == 0) {
		golden_to = argv[2];
		return suite_run("state_golden", "write", writing, ARRAY_SIZE(writing),
			state_rig_setup, state_rig_teardown);
	}
	return suite_run("state_golden", "golden", tests, ARRAY_SIZE(tests), state_rig_setup,
		state_rig_teardown);
}
