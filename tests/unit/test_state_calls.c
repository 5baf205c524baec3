/* SPDX-License-Identifier: MIT */
/*
 * Each call of the system fails while a state file is opened, made, replaced or looked at: that is
 * refused or made good, and what there was is there afterwards.
 */
#include "failing_calls.h"
#include "failing_memory.h"
#include "state_rig.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CALLS_MAX 64u
#define RECORD    0x4002u

/* ---------------------------------------------------------------- ways to open one */

static void make_kept(void)
{
	struct state_file *file = state_rig_open(STATE_FOUND_NEW);
	const struct state *state = state_file_state(file);
	struct grant_slot *grants = state->table[STATE_GRANTS];

	ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 3), 0);
	state_commit(state, &grants[1].word, RECORD);
	state_settle(state);
	state_commit(state, &grants[1].word, RECORD + 1); /* which is taken back */
	state_file_free(file);
}

static void make_nothing(void)
{
}

/* A copy that has holes where space had been made. */
static void make_holes(void)
{
	struct state_header layout;
	int fd;

	make_kept();
	state_header_make(rig_boot, &layout);
	fd = open(rig_path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)layout.tables[STATE_GRANTS].offset + STATE_PAGE,
				 STATE_CHUNK - STATE_PAGE),
		0);
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				 (off_t)layout.log_offset + STATE_PAGE, STATE_CHUNK - STATE_PAGE),
		0);
	close(fd);
}

static int open_kept(struct state_file **ret_file, struct state_note *ret_note)
{
	return state_file_open(rig_path, rig_boot, ret_file, ret_note);
}

static int open_earlier(struct state_file **ret_file, struct state_note *ret_note)
{
	return state_file_open(rig_path, rig_other_boot, ret_file, ret_note);
}

static int look(struct state_file **ret_file, struct state_note *ret_note)
{
	return state_file_look(rig_path, rig_boot, ret_file, ret_note);
}

static const struct way {
	void (*make)(void);
	int (*open)(struct state_file **ret_file, struct state_note *ret_note);
	bool kept; /* the record is there then */
} ways[] = {
	{make_nothing, open_kept, false},
	{make_kept, open_kept, true},
	{make_holes, open_kept, true},
	{make_kept, open_earlier, false},
	{make_kept, look, true},
};

static void check_record(const struct way *way, struct state_file *file)
{
	const struct grant_slot *grants = state_file_state(file)->table[STATE_GRANTS];

	ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), way->kept ? 3 : 0);
	ck_assert_uint_eq(grants[1].word, way->kept ? RECORD : 0);
}

static void expect_good(const struct way *way)
{
	struct state_file *file = NULL;
	struct state_note note;
	int r = way->open(&file, &note);

	ck_assert_msg(r == 0, "%d: %s", r, note.text);
	check_record(way, file);
	if (way->open != look)
		ck_assert_int_eq(state_reserve(state_file_state(file), STATE_HOST, 1), 0);
	state_file_free(file);
}

/* What it may say when this call has failed so. */
static void expect_refused(int r, int error, const struct state_note *note)
{
	ck_assert_int_lt(r, 0);
	ck_assert_msg(note->found == STATE_FOUND_FAILED || note->found == STATE_FOUND_NO_SPACE ||
			      note->found == STATE_FOUND_LOCKED ||
			      (note->found == STATE_FOUND_FOREIGN && error == ELOOP),
		"%u: %s", note->found, note->text);
	ck_assert_msg(strstr(note->text, rig_path) != NULL, "%s", note->text);
}

/* The n-th of these calls fails; false: there are not so many. */
static bool try_call(const struct way *way, enum failing_call call, unsigned n, int error)
{
	struct state_file *file = NULL;
	struct state_note note;
	bool failed;
	int r;

	state_rig_setup();
	way->make();
	calls_fail(call, n, 1, error);
	r = way->open(&file, &note);
	failed = calls_recover();
	if (r == 0) { /* it does not matter, or was made good */
		check_record(way, file);
		state_file_free(file);
	} else {
		ck_assert(failed);
		ck_assert_ptr_null(file);
		expect_refused(r, error, &note);
	}
	if (r != 0 || way->open == look)
		expect_good(way);
	state_rig_teardown();
	return failed;
}

START_TEST(whatever_fails_once_is_refused_or_made_good)
	{
		static const int errors[] = {EIO, EINTR, EAGAIN, ENOMEM, ENOSPC};
		const struct way *way = &ways[_i];
		unsigned failures = 0;

		for (unsigned call = 0; call < CALL_COUNT; call++)
			for (size_t e = 0; e < ARRAY_SIZE(errors); e++)
				for (unsigned n = 0;
					try_call(way, (enum failing_call)call, n, errors[e]); n++) {
					ck_assert_uint_lt(n, CALLS_MAX);
					failures++;
				}
		ck_assert_uint_ge(failures, 4 * ARRAY_SIZE(errors));
	}
END_TEST

static int open_with(enum failing_call call, unsigned times, int error, struct state_note *ret_note)
{
	struct state_file *file = NULL;
	int r;

	calls_fail(call, 0, times, error);
	r = state_file_open(rig_path, rig_boot, &file, ret_note);
	ck_assert(calls_recover());
	state_file_free(file);
	return r;
}

START_TEST(what_was_refused_is_called_by_its_name)
	{
		struct state_note note;

		state_rig_setup();
		ck_assert_int_eq(open_with(CALL_FALLOCATE, 1, ENOSPC, &note), -ENOSPC);
		ck_assert_str_eq(state_found_name(note.found), "no-space");
		make_kept();
		ck_assert_int_eq(open_with(CALL_FCNTL, 1, EAGAIN, &note), -EBUSY);
		ck_assert_str_eq(state_found_name(note.found), "locked");
		ck_assert_int_eq(open_with(CALL_FCNTL, 1, EACCES, &note), -EBUSY);
		ck_assert_int_eq(open_with(CALL_FCNTL, 1, ENOLCK, &note), -ENOLCK);
		ck_assert_str_eq(state_found_name(note.found), "failed");
		ck_assert_int_eq(open_with(CALL_PREAD, 5, EINTR, &note), 0);
		ck_assert_str_eq(state_found_name(note.found), "this-boot");
		ck_assert_str_eq(state_found_name((enum state_found)77), "nothing");
		state_rig_teardown();
	}
END_TEST

/* ---------------------------------------------------------------- others, meanwhile */

static char beside[128];

static void replace_file(void)
{
	ck_assert_int_eq(rename(beside, rig_path), 0);
}

static void make_beside(void)
{
	make_kept();
	(void)snprintf(beside, sizeof(beside), "%s/beside", rig_dir);
	ck_assert_int_eq(rename(rig_path, beside), 0);
}

/* It is opened by its name, which is another file's when it is looked at once more. */
START_TEST(a_file_that_is_replaced_meanwhile_is_not_the_one)
	{
		state_rig_setup();
		make_beside();
		make_kept();
		calls_before(CALL_LSTAT, 0, replace_file);
		expect_good(&ways[1]);
		ck_assert(calls_recover());
		calls_lie(CALL_LSTAT, 0, NULL);
		expect_good(&ways[1]);
		ck_assert(calls_recover());
		state_rig_teardown();
	}
END_TEST

START_TEST(a_file_that_somebody_makes_meanwhile_is_not_replaced)
	{
		state_rig_setup();
		make_beside();
		calls_before(CALL_ACCESS, 0, replace_file);
		expect_good(&ways[1]);
		ck_assert(calls_recover());
		state_rig_teardown();
	}
END_TEST

START_TEST(a_file_that_is_never_the_same_is_somebody_elses)
	{
		struct state_note note;

		state_rig_setup();
		make_kept();
		ck_assert_int_eq(open_with(CALL_LSTAT, 1000, ENOENT, &note), -EBUSY);
		ck_assert_uint_eq(note.found, STATE_FOUND_LOCKED);
		expect_good(&ways[1]);
		state_rig_teardown();
	}
END_TEST

/* ---------------------------------------------------------------- odd places */

static void expect_found(int (*open_it)(struct state_file **, struct state_note *), int expected,
	enum state_found found)
{
	struct state_file *file = NULL;
	struct state_note note;

	ck_assert_int_eq(open_it(&file, &note), expected);
	ck_assert_uint_eq(note.found, found);
	ck_assert_ptr_null(file);
}

START_TEST(a_socket_and_a_folder_are_no_files)
	{
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		state_rig_setup();
		memcpy(address.sun_path, rig_path, sizeof(rig_path));
		ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		expect_found(open_kept, -EPERM, STATE_FOUND_FOREIGN);
		expect_found(look, -EBADMSG, STATE_FOUND_OTHER);
		close(fd);
		ck_assert_int_eq(unlink(rig_path), 0);
		ck_assert_int_eq(mkdir(rig_path, 0700), 0);
		expect_found(open_kept, -EPERM, STATE_FOUND_FOREIGN);
		expect_found(look, -EBADMSG, STATE_FOUND_OTHER);
		state_rig_teardown();
	}
END_TEST

START_TEST(a_name_that_has_no_room_for_another_is_too_long)
	{
		static char path[4096];
		struct state_file *file = NULL;
		struct state_note note;
		size_t length;

		state_rig_setup();
		length = (size_t)snprintf(path, sizeof(path), "%s", rig_dir);
		memset(path + length, '/', sizeof(path) - 3 - length);
		path[sizeof(path) - 3] = 's';
		ck_assert_int_eq(state_file_open(path, rig_boot, &file, &note), -ENAMETOOLONG);
		ck_assert_uint_eq(note.found, STATE_FOUND_FAILED);
		state_rig_teardown();
	}
END_TEST

static void edit_changes(struct state_header *header)
{
	header->changes = header->log_room + 1;
}

/* Also one that only looks. */
START_TEST(a_file_that_is_shorter_than_it_says_is_not_looked_into)
	{
		struct state_file *file = NULL;
		struct state_note note;

		state_rig_setup();
		make_kept();
		calls_fail(CALL_PREAD, 1, 1, EINTR);
		ck_assert_int_eq(look(&file, &note), 0);
		ck_assert(calls_recover());
		state_file_free(file);
		file = NULL;
		calls_lie(CALL_PREAD, 0, NULL); /* the header is not there */
		expect_found(look, -EBADMSG, STATE_FOUND_OTHER);
		ck_assert(calls_recover());
		calls_lie(CALL_PREAD, 1, NULL); /* what is behind it */
		expect_found(look, -EIO, STATE_FOUND_FAILED);
		ck_assert(calls_recover());
		state_rig_edit(rig_path, edit_changes, true);
		expect_found(look, -EBADMSG, STATE_FOUND_DAMAGED);
		state_rig_teardown();
	}
END_TEST

/* ---------------------------------------------------------------- memory and space */

START_TEST(a_state_comes_with_all_its_memory_or_not_at_all)
	{
		struct state_file *file = NULL;
		unsigned n = 0;

		for (;; n++) {
			int r;

			calls_fail(CALL_MMAP, n, 1, ENOMEM);
			r = state_file_memory(&file);
			if (!calls_recover())
				break;
			ck_assert_int_eq(r, -ENOMEM);
			ck_assert_ptr_null(file);
		}
		ck_assert_uint_eq(n, 3); /* the tables, the pages, those that were given back */
		state_file_free(file);
		file = NULL;
		memory_fail_after(0);
		ck_assert_int_eq(state_file_memory(&file), -ENOMEM);
		ck_assert(memory_recover());
		ck_assert_ptr_null(file);
		state_file_free(NULL);
	}
END_TEST

/* The error of the file system is one of two: there is no room, or no memory for it. */
START_TEST(records_that_find_no_room_are_not_reserved)
	{
		static const struct {
			int error, expected;
		} cases[] = {{ENOSPC, -ENOSPC}, {EFBIG, -ENOSPC}, {ENOMEM, -ENOMEM}};

		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			for (unsigned n = 0; n < 2; n++) { /* the log's, the table's */
				struct state_file *file;
				const struct state *state;

				state_rig_setup();
				file = state_rig_open(STATE_FOUND_NEW);
				state = state_file_state(file);
				calls_fail(CALL_FALLOCATE, n, 1, cases[i].error);
				ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 10000),
					cases[i].expected);
				ck_assert(calls_recover());
				ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), 0);
				calls_fail(CALL_FALLOCATE, 0, 3, EINTR);
				ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 10000), 0);
				ck_assert(calls_recover());
				state_file_free(file);
				state_rig_teardown();
			}
		}
	}
END_TEST

/* A change that is larger than any may be: it goes on, settled in pieces. */
START_TEST(a_log_that_cannot_grow_is_settled)
	{
		struct state_file *file;
		const struct state *state;
		struct grant_slot *grants;
		struct state_note note;

		state_rig_setup();
		file = state_rig_open(STATE_FOUND_NEW);
		state = state_file_state(file);
		grants = state->table[STATE_GRANTS];
		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 1), 0);
		calls_fail(CALL_FALLOCATE, 0, 1, ENOSPC);
		do
			state_commit(state, &grants[0].data, grants[0].data + 1);
		while (file->changes != 1 || grants[0].data == 1);
		ck_assert(calls_recover());
		ck_assert_uint_eq(file->changes, 1); /* the last one, behind what is settled */
		ck_assert_uint_gt(grants[0].data, 1000);
		state_file_free(file);
		file = NULL;
		ck_assert_int_eq(open_kept(&file, &note), 0);
		ck_assert_uint_eq(note.undone, 1);
		state_file_free(file);
		state_rig_teardown();
	}
END_TEST

/* ---------------------------------------------------------------- the boot */

START_TEST(a_boot_has_an_id_that_the_kernel_made)
	{
		uint8_t id[STATE_BOOT_ID_SIZE], again[STATE_BOOT_ID_SIZE];

		ck_assert_int_eq(state_boot_id(id), 0);
		ck_assert_int_eq(state_boot_id(again), 0);
		ck_assert_mem_eq(id, again, sizeof(id));
		calls_lie(CALL_READ, 0, "00112233-4455-6677-8899-aabbccddeeff");
		ck_assert_int_eq(state_boot_id(id), 0);
		for (unsigned i = 0; i < sizeof(id); i++)
			ck_assert_uint_eq(id[i], UINT64_C(0x11) * i);
	}
END_TEST

START_TEST(what_is_no_id_of_a_boot_is_refused)
	{
		static const char *const texts[] = {"", "00112233-4455-6677-8899-aabbccddeef",
			"00112233-4455-6677-8899-aabbccddeeFF",
			"00112233445566778899aabbccddeeff0"};
		uint8_t id[STATE_BOOT_ID_SIZE] = {7};

		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			calls_lie(CALL_READ, 0, texts[i]);
			ck_assert_int_eq(state_boot_id(id), -EBADMSG);
			ck_assert(calls_recover());
		}
		calls_fail(CALL_READ, 0, 1, EIO);
		ck_assert_int_eq(state_boot_id(id), -EBADMSG);
		ck_assert(calls_recover());
		calls_fail(CALL_OPEN, 0, 1, EACCES);
		ck_assert_int_eq(state_boot_id(id), -EACCES);
		ck_assert(calls_recover());
		ck_assert_uint_eq(id[0], 7);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {what_was_refused_is_called_by_its_name,
		a_file_that_is_replaced_meanwhile_is_not_the_one,
		a_file_that_somebody_makes_meanwhile_is_not_replaced,
		a_file_that_is_never_the_same_is_somebody_elses, a_socket_and_a_folder_are_no_files,
		a_name_that_has_no_room_for_another_is_too_long,
		a_file_that_is_shorter_than_it_says_is_not_looked_into,
		a_state_comes_with_all_its_memory_or_not_at_all,
		records_that_find_no_room_are_not_reserved, a_log_that_cannot_grow_is_settled,
		a_boot_has_an_id_that_the_kernel_made, what_is_no_id_of_a_boot_is_refused};
	TCase *all = tcase_create("state_calls");
	Suite *suite = suite_create("state, calls that fail");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(all, 60);
	tcase_add_loop_test(
		all, whatever_fails_once_is_refused_or_made_good, 0, (int)ARRAY_SIZE(ways));
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_test(all, tests[i]);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
