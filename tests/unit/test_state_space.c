/* SPDX-License-Identifier: MIT */
/*
 * Space: it is taken before it is promised, in both directions of that sentence.
 */
#include "state_rig.h"
#include "suite.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_SKIPPED 77

static int64_t file_bytes(void)
{
	struct stat stat;

	return lstat(rig_path, &stat) == 0 ? stat.st_blocks * 512 : -1;
}

/* Runs in a process of its own, which may lose what the test needs. */
static int in_child(int (*run)(void))
{
	const pid_t child = fork();
	int status;

	if (child == 0)
		_exit(run());
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status), "signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

START_TEST(what_it_takes_grows_in_chunks)
	{
		struct state_file *file = state_rig_open(STATE_FOUND_NEW);
		const struct state *state = state_file_state(file);
		const uint32_t chunk = STATE_CHUNK / sizeof(struct grant_slot);
		int64_t before;

		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 1), 0);
		before = file_bytes();
		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 2), 0);
		ck_assert_int_eq(file_bytes(), before);
		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, chunk), 0);
		ck_assert_uint_eq(file->header->room[STATE_GRANTS], chunk);
		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, chunk + 1), 0);
		ck_assert_int_ge(file_bytes(), before + STATE_CHUNK);
		ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), chunk + 1);
		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 5), 0);
		ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), chunk + 1);
		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, STATE_FILE_GRANTS), 0);
		ck_assert_int_ge(file_bytes(), (int64_t)STATE_FILE_GRANTS * 32);
		ck_assert_int_eq(
			state_reserve(state, STATE_GRANTS, STATE_FILE_GRANTS + 1), -ENOSPC);
		state_file_free(file);
		file = state_rig_open(STATE_FOUND_KEPT);
		ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), STATE_FILE_GRANTS);
		state_file_free(file);
	}
END_TEST

START_TEST(the_log_has_room_for_a_change_of_all_records)
	{
		struct state_file *file = state_rig_open(STATE_FOUND_NEW);
		const struct state *state = state_file_state(file);
		struct grant_slot *grants = state->table[STATE_GRANTS];
		const uint32_t count = STATE_CHANGE_MAX;

		ck_assert_uint_ge(file->log_room, STATE_CHANGE_BASE);
		ck_assert_int_eq(state_reserve(state, STATE_GRANTS, count), 0);
		ck_assert_uint_eq(file->log_room, STATE_CHANGE_MAX);
		for (uint32_t i = 0; i < count; i++)
			state_commit(state, &grants[i].word, i + 1);
		ck_assert_uint_eq(file->header->changes, count);
		/* one more than anybody may rely on: what was before it stays */
		state_commit(state, &grants[0].data, 5);
		ck_assert_uint_eq(file->header->changes, 1);
		state_file_free(file);
		file = state_rig_open(STATE_FOUND_KEPT);
		grants = state_file_state(file)->table[STATE_GRANTS];
		ck_assert_uint_eq(grants[count - 1].word, count);
		ck_assert_uint_eq(grants[0].data, 0);
		state_file_free(file);
	}
END_TEST

/* From here on the system has no space for this process. */
static bool refuse_space(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSPC),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int reserve_without_space(void)
{
	struct state_file *file = state_rig_open(STATE_FOUND_KEPT);
	const struct state *state = state_file_state(file);
	struct grant_slot *grants = state->table[STATE_GRANTS];
	const int64_t before = file_bytes();
	const struct state_header header = *file->header;

	if (!refuse_space())
		return CHILD_SKIPPED;
	ck_assert_int_eq(state_reserve(state, STATE_GRANTS, STATE_FILE_GRANTS), -ENOSPC);
	ck_assert_int_eq(state_reserve(state, STATE_SETS, 1), -ENOSPC);
	ck_assert_mem_eq(&header, file->header, sizeof(header));
	ck_assert_int_eq(file_bytes(), before);
	/* what there is can be used, also by more stores than have room in the log */
	ck_assert_int_eq(state_reserve(state, STATE_GRANTS, 10), 0);
	for (uint32_t i = 0; i < 3 * STATE_CHANGE_MAX; i++)
		state_commit(state, &grants[i % 10].word, i + 1);
	state_settle(state);
	state_file_free(file);
	return 0;
}

START_TEST(without_space_nothing_changes)
	{
		struct state_file *file = state_rig_open(STATE_FOUND_NEW);
		int code;

		ck_assert_int_eq(state_reserve(state_file_state(file), STATE_GRANTS, 10), 0);
		state_file_free(file);
		code = in_child(reserve_without_space);
		if (code == CHILD_SKIPPED) {
			printf("SKIP: without_space_nothing_changes: no seccomp here\n");
			return;
		}
		ck_assert_int_eq(code, 0);
		file = state_rig_open(STATE_FOUND_KEPT);
		ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), 10);
		ck_assert_uint_eq(state_file_used(file, STATE_SETS), 0);
		state_file_free(file);
	}
END_TEST

static int make_without_space(void)
{
	struct state_file *file = NULL;
	struct state_note note;
	char path[128];

	if (!refuse_space())
		return CHILD_SKIPPED;
	ck_assert_int_eq(state_file_open(rig_path, rig_boot, &file, &note), -ENOSPC);
	ck_assert_uint_eq(note.found, STATE_FOUND_NO_SPACE);
	ck_assert_ptr_nonnull(strstr(note.text, rig_path));
	(void)snprintf(path, sizeof(path), "%s.new", rig_path);
	ck_assert_int_lt(access(path, F_OK), 0);
	ck_assert_int_lt(access(rig_path, F_OK), 0);
	return 0;
}

START_TEST(without_space_none_is_made)
	{
		const int code = in_child(make_without_space);

		if (code == CHILD_SKIPPED)
			printf("SKIP: without_space_none_is_made: no seccomp here\n");
		else
			ck_assert_int_eq(code, 0);
	}
END_TEST

/* Fills a file system of 1 MiB to the last slot that was promised. */
static int fill_small_file_system(void)
{
	struct state_file *file;
	const struct state *state;
	struct grant_slot *grants;
	uint32_t n = 0;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("tmpfs", rig_dir, "tmpfs", 0, "size=1m") < 0)
		return CHILD_SKIPPED;
	file = state_rig_open(STATE_FOUND_NEW);
	state = state_file_state(file);
	grants = state->table[STATE_GRANTS];
	while (state_reserve(state, STATE_GRANTS, n + 1) == 0)
		n++;
	ck_assert_uint_ge(n, 1000);
	ck_assert_int_eq(state_reserve(state, STATE_GRANTS, n + 1), -ENOSPC);
	ck_assert_uint_eq(state_file_used(file, STATE_GRANTS), n);
	for (uint32_t round = 0; round < 3; round++)
		for (uint32_t i = 0; i < n; i++) {
			grants[i].next = i;
			state_commit(state, &grants[i].word, i + 1);
		}
	state_settle(state);
	state_file_free(file);
	file = state_rig_open(STATE_FOUND_KEPT);
	grants = state_file_state(file)->table[STATE_GRANTS];
	for (uint32_t i = 0; i < n; i++)
		ck_assert_uint_eq(grants[i].word, i + 1);
	state_file_free(file);
	return 0;
}

START_TEST(a_full_file_system_stops_no_store)
	{
		const int code = in_child(fill_small_file_system);

		if (code == CHILD_SKIPPED)
			printf("SKIP: a_full_file_system_stops_no_store: only root can mount one\n");
		else
			ck_assert_int_eq(code, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_it_takes_grows_in_chunks,
		the_log_has_room_for_a_change_of_all_records,
		without_space_nothing_changes,
		without_space_none_is_made,
		a_full_file_system_stops_no_store,
	};

	return suite_run("state_space", "space", tests, ARRAY_SIZE(tests), state_rig_setup,
		state_rig_teardown);
}
