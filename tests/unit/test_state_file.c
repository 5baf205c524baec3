/* SPDX-License-Identifier: MIT */
/*
 * Which files are opened, which are made, and which are refused and left alone.
 */
#include "state_rig.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Opening is refused for this reason, with a text that names the file, and changes nothing. */
static void refused(enum state_found found, int expected, const char *says)
{
	struct state_rig_bytes before = state_rig_read(rig_path);
	struct state_file *file = (void *)&before;
	struct state_note note;

	ck_assert_int_eq(state_file_open(rig_path, rig_boot, &file, &note), expected);
	ck_assert_msg(note.found == found, "%u: %s", note.found, note.text);
	ck_assert_msg(strstr(note.text, rig_path) != NULL, "%s", note.text);
	ck_assert_msg(strstr(note.text, says) != NULL, "%s", note.text);
	ck_assert_ptr_eq(file, (void *)&before);
	state_rig_same(rig_path, &before);
	free(before.pages);
}

/* A file with a record, a settled change and an unfinished one. */
static void make_file(void)
{
	struct state_file *file = state_rig_open(STATE_FOUND_NEW);
	const struct state *state = state_file_state(file);
	struct grant_slot *grants = state->table[STATE_GRANTS];

	ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 3), 0);
	grants[1].data = 77;
	state_commit(state, &grants[1].word, 0x4002);
	state_settle(state);
	state_commit(state, &grants[1].word, 0x4003);
	state_commit(state, &grants[2].word, 0x5002);
	state_commit(state, &grants[1].word, 0x4004);
	state_file_free(file);
}

/* ------------------------------------------------------------------ made and kept */

START_TEST(a_new_file_is_private_small_and_empty)
	{
		struct state_file *file = state_rig_open(STATE_FOUND_NEW);
		struct stat stat;

		ck_assert_int_eq(lstat(rig_path, &stat), 0);
		ck_assert_uint_eq(stat.st_mode, S_IFREG | 0600);
		ck_assert_int_lt(stat.st_blocks * 512, 128 << 10);
		for (unsigned t = 0; t < STATE_TABLES; t++)
			ck_assert_uint_eq(state_file_used(file, (enum state_table)t), 0);
		ck_assert_int_eq(state_reserve(state_file_state(file), STATE_GRANTS, 1), 0);
		ck_assert_int_eq(state_reserve(state_file_state(file), STATE_HOST, 1), 0);
		ck_assert_int_eq(lstat(rig_path, &stat), 0);
		ck_assert_int_lt(stat.st_blocks * 512, 256 << 10);
		state_file_free(file);
	}
END_TEST

START_TEST(what_is_settled_is_kept_and_the_rest_taken_back)
	{
		struct state_file *file = NULL;
		struct state_note note;
		const struct grant_slot *grants;

		make_file();
		ck_assert_int_eq(state_file_open(rig_path, rig_boot, &file, &note), 0);
		ck_assert_uint_eq(note.found, STATE_FOUND_KEPT);
		ck_assert_uint_eq(note.undone, 3);
		ck_assert_uint_eq(note.version, STATE_FILE_VERSION);
		ck_assert_mem_eq(note.boot_id, rig_boot, sizeof(rig_boot));
		grants = state_file_state(file)->table[STATE_GRANTS];
		ck_assert_uint_eq(grants[1].word, 0x4002);
		ck_assert_uint_eq(grants[1].data, 77);
		ck_assert_uint_eq(grants[2].word, 0);
		ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), 3);
		state_file_free(file);
		state_file_free(state_rig_open(STATE_FOUND_KEPT));
	}
END_TEST

START_TEST(a_file_of_an_earlier_boot_is_replaced_as_a_whole)
	{
		struct state_file *file = NULL;
		struct state_note note;
		struct stat before, after;

		make_file();
		ck_assert_int_eq(lstat(rig_path, &before), 0);
		ck_assert_int_eq(state_file_open(rig_path, rig_other_boot, &file, &note), 0);
		ck_assert_uint_eq(note.found, STATE_FOUND_EARLIER);
		ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), 0);
		ck_assert_mem_eq(note.boot_id, rig_other_boot, sizeof(rig_boot));
		state_file_free(file);
		ck_assert_int_eq(lstat(rig_path, &after), 0);
		ck_assert_uint_ne(before.st_ino, after.st_ino);
		state_file_free(state_rig_open(STATE_FOUND_EARLIER));
	}
END_TEST

static void edit_newer(struct state_header *header)
{
	header->version = STATE_FILE_VERSION + 1;
}

START_TEST(a_newer_layout_of_an_earlier_boot_is_replaced_too)
	{
		struct state_file *file = NULL;
		struct state_note note;

		make_file();
		state_rig_edit(rig_path, edit_newer, true);
		ck_assert_int_eq(state_file_open(rig_path, rig_other_boot, &file, &note), 0);
		ck_assert_uint_eq(note.found, STATE_FOUND_EARLIER);
		state_file_free(file);
	}
END_TEST

START_TEST(what_a_killed_process_left_while_making_one_is_no_obstacle)
	{
		char path[128];
		int fd;

		(void)snprintf(path, sizeof(path), "%s.new", rig_path);
		fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		ck_assert_int_eq(write(fd, "half", 4), 4);
		close(fd);
		state_file_free(state_rig_open(STATE_FOUND_NEW));
		ck_assert_int_lt(access(path, F_OK), 0);
		state_file_free(state_rig_open(STATE_FOUND_KEPT));
	}
END_TEST

START_TEST(space_that_a_copy_lost_is_there_again)
	{
		struct state_file *file;
		struct stat whole, holed, mended;
		int fd;

		make_file();
		ck_assert_int_eq(lstat(rig_path, &whole), 0);
		fd = open(rig_path, O_WRONLY | O_CLOEXEC);
		ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					 (off_t)8192, (off_t)STATE_CHUNK - 8192),
			0);
		close(fd);
		ck_assert_int_eq(lstat(rig_path, &holed), 0);
		ck_assert_int_lt(holed.st_blocks, whole.st_blocks);
		file = state_rig_open(STATE_FOUND_KEPT);
		ck_assert_int_eq(lstat(rig_path, &mended), 0);
		ck_assert_int_ge(mended.st_blocks, whole.st_blocks);
		state_file_free(file);
	}
END_TEST

/* ------------------------------------------------------------------ refused */

START_TEST(a_truncated_file_is_damaged)
	{
		static const off_t sizes[] = {0, 7, 39, 41, 191, 4096, 1 << 20};

		make_file();
		ck_assert_int_eq(truncate(rig_path, (off_t)state_size() - 1), 0);
		refused(STATE_FOUND_DAMAGED, -EBADMSG, "bytes");
		for (size_t i = ARRAY_SIZE(sizes); i-- > 0;) {
			ck_assert_int_eq(truncate(rig_path, sizes[i]), 0);
			refused(STATE_FOUND_DAMAGED, -EBADMSG, "pasidctl recover");
		}
	}
END_TEST

START_TEST(each_byte_of_the_fixed_header_has_its_checksum)
	{
		make_file();
		for (size_t i = 0; i < STATE_FIXED_BYTES; i++) {
			struct state_rig_bytes all = state_rig_read(rig_path);
			const uint8_t was = all.pages[i], wrong = was ^ 0x20;

			state_rig_poke(rig_path, i, &wrong, 1);
			refused(STATE_FOUND_DAMAGED, -EBADMSG, "damaged");
			state_rig_poke(rig_path, i, &was, 1);
			free(all.pages);
		}
		state_file_free(state_rig_open(STATE_FOUND_KEPT));
	}
END_TEST

static void edit_magic(struct state_header *header)
{
	header->magic[0] ^= 1;
}

static void edit_version(struct state_header *header)
{
	header->version = 0;
}
static void edit_size(struct state_header *header)
{
	header->size--;
}
static void edit_log_offset(struct state_header *header)
{
	header->log_offset += 8;
}
static void edit_log_capacity(struct state_header *header)
{
	header->log_capacity = UINT32_MAX;
}
static void edit_tables(struct state_header *header)
{
	header->table_count = 3;
}
static void edit_table_offset(struct state_header *header)
{
	header->tables[STATE_REPLIES].offset = UINT64_MAX - 63;
}
static void edit_slot_size(struct state_header *header)
{
	header->tables[STATE_SETS].slot_size = 0;
}
static void edit_capacity(struct state_header *header)
{
	header->tables[STATE_GRANTS].capacity *= 2;
}
static void edit_used(struct state_header *header)
{
	header->used[STATE_GRANTS] = header->room[STATE_GRANTS] + 1;
}
static void edit_room(struct state_header *header)
{
	header->room[STATE_HOST] = 2;
}
static void edit_log_room(struct state_header *header)
{
	header->log_room = STATE_CHANGE_MAX + 1;
}
static void edit_changes(struct state_header *header)
{
	header->changes = header->log_room + 1;
}
static void edit_fixed_small(struct state_header *header)
{
	header->fixed_bytes = 39;
}
static void edit_fixed_large(struct state_header *header)
{
	header->fixed_bytes = UINT32_MAX;
}

START_TEST(impossible_values_are_damage_also_with_a_right_checksum)
	{
		static void (*const edits[])(struct state_header *) = {edit_version, edit_size,
			edit_log_offset, edit_log_capacity, edit_tables, edit_table_offset,
			edit_slot_size, edit_capacity, edit_used, edit_room, edit_log_room,
			edit_changes};

		for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
			make_file();
			state_rig_edit(rig_path, edits[i], true);
			refused(STATE_FOUND_DAMAGED, -EBADMSG, "damaged");
			ck_assert_int_eq(unlink(rig_path), 0);
		}
		make_file();
		state_rig_edit(rig_path, edit_fixed_small, false);
		refused(STATE_FOUND_DAMAGED, -EBADMSG, "impossible size");
		state_rig_edit(rig_path, edit_fixed_large, false);
		refused(STATE_FOUND_DAMAGED, -EBADMSG, "impossible size");
	}
END_TEST

START_TEST(a_log_entry_outside_of_records_is_damage)
	{
		struct state_header layout;
		uint64_t wrong[10];

		state_header_make(rig_boot, &layout);
		wrong[0] = 0;
		wrong[1] = offsetof(struct state_header, changes);
		wrong[2] = layout.log_offset;
		wrong[3] = layout.tables[STATE_GRANTS].offset + 4;
		wrong[4] = layout.tables[STATE_GRANTS].offset + 3 * sizeof(struct grant_slot);
		wrong[5] = layout.tables[STATE_REPLIES].offset;
		wrong[6] = layout.size;
		wrong[7] = layout.size - 8;
		wrong[8] = UINT64_MAX;
		wrong[9] = layout.tables[STATE_SETS].offset - 8;
		for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
			make_file();
			state_rig_poke(rig_path, layout.log_offset + sizeof(struct state_undo),
				&wrong[i], sizeof(wrong[i]));
			refused(STATE_FOUND_DAMAGED, -EBADMSG, "entry 1 of its log");
			ck_assert_int_eq(unlink(rig_path), 0);
		}
	}
END_TEST

START_TEST(a_newer_layout_of_this_boot_is_refused_as_that)
	{
		make_file();
		state_rig_edit(rig_path, edit_newer, true);
		refused(STATE_FOUND_NEWER, -EPROTONOSUPPORT, "layout version 3");
	}
END_TEST

static void refuse_foreign(const char *says)
{
	struct state_file *file = NULL;
	struct state_note note;

	ck_assert_int_eq(state_file_open(rig_path, rig_boot, &file, &note), -EPERM);
	ck_assert_uint_eq(note.found, STATE_FOUND_FOREIGN);
	ck_assert_msg(strstr(note.text, says) != NULL, "%s", note.text);
	ck_assert_ptr_null(file);
}

START_TEST(what_is_no_regular_file_is_foreign)
	{
		char target[128];

		(void)snprintf(target, sizeof(target), "%s/elsewhere", rig_dir);
		ck_assert_int_eq(symlink(target, rig_path), 0);
		refuse_foreign("symbolic link");
		ck_assert_int_lt(access(target, F_OK), 0);
		ck_assert_int_eq(unlink(rig_path), 0);
		ck_assert_int_eq(mkfifo(rig_path, 0600), 0);
		refuse_foreign("no regular file");
		ck_assert_int_eq(unlink(rig_path), 0);
		ck_assert_int_eq(mkdir(rig_path, 0700), 0);
		refuse_foreign("no regular file");
	}
END_TEST

START_TEST(a_link_where_the_new_file_is_made_is_foreign)
	{
		char path[128];

		(void)snprintf(path, sizeof(path), "%s.new", rig_path);
		ck_assert_int_eq(symlink("/dev/null", path), 0);
		refuse_foreign("state.new");
		ck_assert_int_lt(access(rig_path, F_OK), 0);
	}
END_TEST

START_TEST(a_file_that_others_own_or_write_is_foreign)
	{
		make_file();
		ck_assert_int_eq(chmod(rig_path, 0660), 0);
		refused(STATE_FOUND_FOREIGN, -EPERM, "may write to");
		ck_assert_int_eq(chmod(rig_path, 0600), 0);
		if (geteuid() != 0) {
			printf("SKIP: another user's file: only root can make one\n");
			return;
		}
		ck_assert_int_eq(chown(rig_path, 65534, (gid_t)-1), 0);
		refused(STATE_FOUND_FOREIGN, -EPERM, "another user");
	}
END_TEST

START_TEST(one_process_at_a_time_has_it)
	{
		struct state_file *first = state_rig_open(STATE_FOUND_NEW);

		refused(STATE_FOUND_LOCKED, -EBUSY, "another process");
		state_file_free(first);
		state_file_free(state_rig_open(STATE_FOUND_KEPT));
	}
END_TEST

START_TEST(a_folder_that_is_not_there_is_a_failure_of_the_system)
	{
		struct state_file *file = NULL;
		struct state_note note;

		ck_assert_int_eq(
			state_file_open("/nonexistent/state", rig_boot, &file, &note), -ENOENT);
		ck_assert_uint_eq(note.found, STATE_FOUND_FAILED);
		ck_assert_ptr_nonnull(strstr(note.text, "/nonexistent/state"));
	}
END_TEST

/* ------------------------------------------------------------------ looking */

START_TEST(looking_shows_the_settled_state_and_changes_nothing)
	{
		struct state_rig_bytes before;
		struct state_file *copy = NULL;
		struct state_note note;
		const struct grant_slot *grants;

		make_file();
		before = state_rig_read(rig_path);
		ck_assert_int_eq(state_file_look(rig_path, rig_boot, &copy, &note), 0);
		ck_assert_uint_eq(note.found, STATE_FOUND_KEPT);
		ck_assert_uint_eq(note.undone, 3);
		ck_assert(!note.locked);
		grants = state_file_state(copy)->table[STATE_GRANTS];
		ck_assert_uint_eq(grants[1].word, 0x4002);
		ck_assert_uint_eq(grants[2].word, 0);
		state_file_free(copy);
		state_rig_same(rig_path, &before);
		free(before.pages);
		ck_assert_int_eq(state_file_look(rig_path, rig_other_boot, &copy, &note), 0);
		ck_assert_uint_eq(note.found, STATE_FOUND_EARLIER);
		state_file_free(copy);
	}
END_TEST

START_TEST(looking_is_in_nobodys_way)
	{
		struct state_file *file = state_rig_open(STATE_FOUND_NEW), *copy = NULL;
		struct state_note note;

		ck_assert_int_eq(state_file_look(rig_path, rig_boot, &copy, &note), 0);
		ck_assert(note.locked);
		state_file_free(file);
		state_file_free(state_rig_open(STATE_FOUND_KEPT));
		state_file_free(copy);
	}
END_TEST

START_TEST(looking_refuses_what_opening_refuses)
	{
		struct state_file *copy = NULL;
		struct state_note note;

		ck_assert_int_eq(state_file_look(rig_path, rig_boot, &copy, &note), -ENOENT);
		make_file();
		state_rig_edit(rig_path, edit_newer, true);
		ck_assert_int_eq(
			state_file_look(rig_path, rig_boot, &copy, &note), -EPROTONOSUPPORT);
		ck_assert_ptr_null(copy);
		ck_assert_int_eq(state_file_look(rig_path, rig_other_boot, &copy, &note), 0);
		ck_assert_uint_eq(note.found, STATE_FOUND_EARLIER);
		ck_assert_ptr_null(copy);
		ck_assert_int_eq(truncate(rig_path, 100), 0);
		ck_assert_int_eq(state_file_look(rig_path, rig_boot, &copy, &note), -EBADMSG);
		ck_assert_uint_eq(note.found, STATE_FOUND_DAMAGED);
	}
END_TEST

static void look_is_of_no_state(const char *path)
{
	struct state_file *copy = NULL;
	struct state_note note;

	ck_assert_int_eq(state_file_look(path, rig_boot, &copy, &note), -EBADMSG);
	ck_assert_uint_eq(note.found, STATE_FOUND_OTHER);
	ck_assert_str_eq(state_found_name(note.found), "no-state");
	ck_assert_ptr_nonnull(strstr(note.text, "is no state file of pasidd"));
	ck_assert_ptr_null(strstr(note.text, "eboot"));
	ck_assert_ptr_null(copy);
}

START_TEST(looking_at_another_file_advises_nothing_about_that)
	{
		char link[PATH_MAX];

		look_is_of_no_state("/");
		look_is_of_no_state("/dev/null");
		make_file();
		(void)snprintf(link, sizeof(link), "%s-link", rig_path);
		ck_assert_int_eq(symlink(rig_path, link), 0);
		look_is_of_no_state(link);
		ck_assert_int_eq(unlink(link), 0);
		state_rig_edit(rig_path, edit_magic, true);
		look_is_of_no_state(rig_path);
		ck_assert_int_eq(truncate(rig_path, 7), 0);
		look_is_of_no_state(rig_path);
		ck_assert_int_eq(truncate(rig_path, 0), 0);
		look_is_of_no_state(rig_path);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_new_file_is_private_small_and_empty,
		what_is_settled_is_kept_and_the_rest_taken_back,
		a_file_of_an_earlier_boot_is_replaced_as_a_whole,
		a_newer_layout_of_an_earlier_boot_is_replaced_too,
		what_a_killed_process_left_while_making_one_is_no_obstacle,
		space_that_a_copy_lost_is_there_again,
		a_truncated_file_is_damaged,
		each_byte_of_the_fixed_header_has_its_checksum,
		impossible_values_are_damage_also_with_a_right_checksum,
		a_log_entry_outside_of_records_is_damage,
		a_newer_layout_of_this_boot_is_refused_as_that,
		what_is_no_regular_file_is_foreign,
		a_link_where_the_new_file_is_made_is_foreign,
		a_file_that_others_own_or_write_is_foreign,
		one_process_at_a_time_has_it,
		a_folder_that_is_not_there_is_a_failure_of_the_system,
		looking_shows_the_settled_state_and_changes_nothing,
		looking_is_in_nobodys_way,
		looking_refuses_what_opening_refuses,
		looking_at_another_file_advises_nothing_about_that,
	};

	return suite_run("state_file", "open", tests, ARRAY_SIZE(tests), state_rig_setup,
		state_rig_teardown);
}
