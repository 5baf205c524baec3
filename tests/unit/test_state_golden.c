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
#include "state_check.h"
#include "state_rig.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 32u

static const uint32_t golden_used[STATE_TABLES] = {
	RIG_SETS, RIG_GRANTS, RIG_DEVICES, RIG_BINDINGS, 1, RIG_SESSIONS, RIG_REPLIES};

/* The records, and a change that is not finished. */
static void golden_make(void)
{
	struct state_file *file = state_rig_open(STATE_FOUND_NEW);
	const struct state *state = state_file_state(file);
	struct grant_slot *grants = state->table[STATE_GRANTS];
	struct session_slot *sessions = state->table[STATE_SESSIONS];

	state_rig_fill(state);
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

static void same_records(
	const struct state *a, const struct state *b, const struct state_file *file)
{
	static const size_t sizes[STATE_TABLES] = {128, 32, 128, 64, 128, 128, 64};

	for (unsigned t = 0; t < STATE_TABLES; t++) {
		ck_assert_uint_eq(state_file_used(file, (enum state_table)t), golden_used[t]);
		ck_assert_mem_eq(a->table[t], b->table[t], golden_used[t] * sizes[t]);
	}
}

START_TEST(a_file_of_version_1_says_what_it_said)
	{
		struct state_file *file = NULL, *expected = NULL;
		struct state_problem problem = {.text = ""};
		struct state_note note;
		void *scratch = malloc(state_check_scratch(golden_used));

		golden_unpack("version-1");
		ck_assert_msg(
			state_file_open(rig_path, rig_boot, &file, &note) == 0, "%s", note.text);
		ck_assert_uint_eq(note.found, STATE_FOUND_KEPT);
		ck_assert_uint_eq(note.version, 1);
		ck_assert_uint_eq(note.undone, 3);
		ck_assert_int_eq(state_file_memory(&expected), 0);
		state_rig_fill(state_file_state(expected));
		same_records(state_file_state(file), state_file_state(expected), file);
		ck_assert_msg(
			state_check(state_file_state(file), golden_used, scratch, &problem) == 0,
			"%s", problem.text);
		state_file_free(file);
		state_file_free(expected);
		free(scratch);
	}
END_TEST

START_TEST(this_version_writes_its_layout_to_the_byte)
	{
		char path[128], *golden = NULL, *made = NULL;
		size_t golden_size, made_size;
		FILE *f;

		golden_unpack("version-1");
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
START_TEST(a_damaged_file_of_version_1_is_refused)
	{
		static const uint64_t fields[] = {offsetof(struct state_header, magic),
			offsetof(struct state_header, version),
			offsetof(struct state_header, fixed_bytes),
			offsetof(struct state_header, boot_id),
			offsetof(struct state_header, checksum),
			offsetof(struct state_header, size),
			offsetof(struct state_header, log_offset),
			offsetof(struct state_header, tables),
			offsetof(struct state_header, used) + 3,
			offsetof(struct state_header, log_room) + 3,
			offsetof(struct state_header, changes) + 3, STATE_PAGE};

		for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
			struct state_rig_bytes before;
			struct state_file *file = NULL;
			struct state_note note;

			golden_unpack("version-1");
			state_rig_poke(rig_path, fields[i], &(uint8_t){0x99}, 1);
			before = state_rig_read(rig_path);
			ck_assert_int_eq(
				state_file_open(rig_path, rig_boot, &file, &note), -EBADMSG);
			ck_assert_uint_eq(note.found, STATE_FOUND_DAMAGED);
			state_rig_same(rig_path, &before);
			free(before.pages);
			ck_assert_int_eq(unlink(rig_path), 0);
		}
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
		a_file_of_version_1_says_what_it_said,
		this_version_writes_its_layout_to_the_byte,
		a_damaged_file_of_version_1_is_refused,
	};

	if (argc == 3 && strcmp(argv[1], "--write") == 0) {
		golden_to = argv[2];
		return suite_run("state_golden", "write", writing, ARRAY_SIZE(writing),
			state_rig_setup, state_rig_teardown);
	}
	return suite_run("state_golden", "golden", tests, ARRAY_SIZE(tests), state_rig_setup,
		state_rig_teardown);
}
