/* SPDX-License-Identifier: MIT */
/* The marker of the boot in which a daemon could grant: where it is, what it says, what is refused.
 */
#include "runtime_marker.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_LINE  "00112233445566778899aabbccddeeff\n"
#define OTHER_LINE "ffeeddccbbaa99887766554433221100\n"

static const uint8_t boot[STATE_BOOT_ID_SIZE] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
	0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static char dir[64], path[128];
static struct runtime_marker marker;
static struct runtime_error error;

static void setup(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/pasidd-marker-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/granted", dir);
	ck_assert_int_eq(unsetenv("STATE_DIRECTORY"), 0);
	ck_assert_int_eq(unsetenv("XDG_STATE_HOME"), 0);
	error.text[0] = '\0';
}

static void teardown(void)
{
	char command[128];

	(void)chmod(dir, 0700);
	(void)snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): our own folder */
}

static void put(const char *text)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void says(const char *at, const char *text)
{
	const int fd = open(at, O_RDONLY | O_CLOEXEC);
	char found[64] = "";

	ck_assert_msg(fd >= 0, "%s", at);
	ck_assert_int_ge(read(fd, found, sizeof(found) - 1), 0);
	close(fd);
	ck_assert_str_eq(found, text);
}

static int look_in(const char *asked, const char *simulation)
{
	const struct runtime_marker_place place = {asked, simulation};

	return runtime_marker_read(&place, boot, &marker, &error);
}

static void must_look(void)
{
	ck_assert_msg(look_in(dir, NULL) == 0, "%s", error.text);
}

static void must_refuse(int r, int wanted, const char *text)
{
	ck_assert_int_eq(r, wanted);
	ck_assert_msg(strstr(error.text, text) != NULL, "%s", error.text);
	ck_assert_str_eq(marker.directory, "");
	/* whoever goes on nevertheless changes nothing */
	ck_assert_int_eq(runtime_marker_write(&marker, &error), 0);
}

/* ---------------------------------------------------------------- what it says */

START_TEST(one_that_is_not_there_is_written)
	{
		struct stat st;

		must_look();
		ck_assert(!marker.this_boot);
		ck_assert_int_ne(access(path, F_OK), 0);
		ck_assert_int_eq(runtime_marker_write(&marker, &error), 0);
		says(path, BOOT_LINE);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_eq(st.st_mode & 07777u, 0600);
		must_look();
		ck_assert(marker.this_boot);
	}
END_TEST

START_TEST(one_of_another_boot_is_replaced)
	{
		put(OTHER_LINE);
		must_look();
		ck_assert(!marker.this_boot);
		ck_assert_int_eq(runtime_marker_write(&marker, &error), 0);
		says(path, BOOT_LINE);
	}
END_TEST

START_TEST(one_of_this_boot_is_not_written_again)
	{
		struct stat before, after;

		put(BOOT_LINE);
		ck_assert_int_eq(stat(path, &before), 0);
		must_look();
		ck_assert(marker.this_boot);
		ck_assert_int_eq(runtime_marker_write(&marker, &error), 0);
		ck_assert_int_eq(stat(path, &after), 0);
		ck_assert_uint_eq(before.st_ino, after.st_ino);
	}
END_TEST

/* Nobody can say that it did not name this boot. */
START_TEST(garbage_counts_as_this_boot_and_is_replaced)
	{
		static const char *const texts[] = {"", "\n", "nonsense\n",
			"00112233445566778899aabbccddeef\n", "00112233445566778899aabbccddeeff",
			"00112233445566778899aabbccddeexx\n",
			"ffeeddccbbaa99887766554433221100\n\n"};

		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			put(texts[i]);
			must_look();
			ck_assert_msg(marker.this_boot, "%s", texts[i]);
			ck_assert_int_eq(runtime_marker_write(&marker, &error), 0);
			says(path, BOOT_LINE);
		}
	}
END_TEST

START_TEST(what_a_killed_daemon_left_is_in_nobodys_way)
	{
		char half[160];

		(void)snprintf(half, sizeof(half), "%s.new", path);
		must_look();
		ck_assert_int_eq(symlink("/dev/full", half), 0);
		ck_assert_int_eq(runtime_marker_write(&marker, &error), 0);
		says(path, BOOT_LINE);
		ck_assert_int_ne(access(half, F_OK), 0);
	}
END_TEST

/* ---------------------------------------------------------------- what is refused */

START_TEST(a_symbolic_link_is_refused)
	{
		ck_assert_int_eq(symlink("/dev/null", path), 0);
		must_refuse(look_in(dir, NULL), -EPERM, "a symbolic link");
	}
END_TEST

START_TEST(what_is_no_file_is_refused)
	{
		ck_assert_int_eq(mkfifo(path, 0600), 0);
		must_refuse(look_in(dir, NULL), -EPERM, "no regular file");
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(mkdir(path, 0700), 0);
		must_refuse(look_in(dir, NULL), -EPERM, "no regular file");
	}
END_TEST

START_TEST(a_file_that_others_may_write_to_is_refused)
	{
		put(OTHER_LINE);
		ck_assert_int_eq(chmod(path, 0620), 0);
		must_refuse(look_in(dir, NULL), -EPERM, "others may write");
		says(path, OTHER_LINE);
	}
END_TEST

START_TEST(a_directory_that_others_may_write_to_is_refused)
	{
		ck_assert_int_eq(chmod(dir, 0770), 0);
		must_refuse(look_in(dir, NULL), -EPERM, "can be written to by others");
	}
END_TEST

START_TEST(what_is_another_users_is_refused)
	{
		if (geteuid() != 0) {
			(void)printf("SKIP: only root can give a file away\n");
			return;
		}
		put(OTHER_LINE);
		ck_assert_int_eq(chown(path, 65534, 65534), 0);
		must_refuse(look_in(dir, NULL), -EPERM, "a file of another user");
		ck_assert_int_eq(chown(dir, 65534, 65534), 0);
		must_refuse(look_in(dir, NULL), -EPERM, "belongs to user 65534");
	}
END_TEST

START_TEST(a_place_that_cannot_be_is_refused)
	{
		char long_path[1024], below[160];

		memset(long_path, 'x', sizeof(long_path));
		long_path[sizeof(long_path) - 1] = '\0';
		must_refuse(look_in(long_path, NULL), -ENAMETOOLONG, "1 to 511 bytes");
		put("");
		(void)snprintf(below, sizeof(below), "%s/below", path);
		must_refuse(look_in(below, NULL), -ENOTDIR, "--state-dir");
		must_refuse(look_in(path, NULL), -ENOTDIR, "--state-dir");
	}
END_TEST

START_TEST(one_that_cannot_be_written_says_what_to_do)
	{
		char in_the_way[160];

		must_look();
		(void)snprintf(in_the_way, sizeof(in_the_way), "%s.new", path);
		ck_assert_int_eq(mkdir(in_the_way, 0700), 0); /* holds for root, too */
		ck_assert_int_eq(runtime_marker_write(&marker, &error), -EEXIST);
		ck_assert_ptr_nonnull(strstr(error.text, "cannot be written"));
		ck_assert_ptr_nonnull(strstr(error.text, "--state-dir"));
		ck_assert_int_ne(access(path, F_OK), 0);
		ck_assert_int_eq(rmdir(in_the_way), 0);
		ck_assert_int_eq(rmdir(dir), 0);
		ck_assert_int_eq(runtime_marker_write(&marker, &error), -ENOENT);
		ck_assert_int_eq(mkdir(dir, 0700), 0);
	}
END_TEST

/* ---------------------------------------------------------------- where it is */

static void written_as(const char *asked, const char *simulation, const char *where)
{
	char at[192];

	(void)snprintf(at, sizeof(at), "%s/%s", dir, where);
	ck_assert_int_ne(access(at, F_OK), 0);
	ck_assert_msg(look_in(asked, simulation) == 0, "%s", error.text);
	ck_assert_int_eq(runtime_marker_write(&marker, &error), 0);
	says(at, BOOT_LINE);
}

START_TEST(a_simulation_has_its_own)
	{
		char asked[96];

		ck_assert_int_eq(setenv("STATE_DIRECTORY", "/nonexistent", 1), 0);
		written_as(NULL, dir, "granted");
		(void)snprintf(asked, sizeof(asked), "%s/elsewhere", dir);
		written_as(asked, dir, "elsewhere/granted-simulated");
		written_as(asked, NULL, "elsewhere/granted");
	}
END_TEST

START_TEST(the_first_of_systemds_directories_is_ours)
	{
		char list[160];

		(void)snprintf(list, sizeof(list), "%s/first:/nonexistent", dir);
		ck_assert_int_eq(setenv("STATE_DIRECTORY", list, 1), 0);
		written_as(NULL, NULL, "first/granted");
	}
END_TEST

START_TEST(a_user_has_it_at_home)
	{
		const uid_t user = geteuid();

		if (user == 0) {
			ck_assert_int_eq(chown(dir, 65534, 65534), 0);
			ck_assert_int_eq(seteuid(65534), 0);
		}
		ck_assert_int_eq(setenv("HOME", dir, 1), 0);
		written_as(NULL, NULL, ".local/state/pasidd/granted");
		ck_assert_int_eq(setenv("XDG_STATE_HOME", dir, 1), 0);
		written_as(NULL, NULL, "pasidd/granted");
		ck_assert_int_eq(seteuid(user), 0);
		(void)prctl(PR_SET_DUMPABLE, 1); /* lost on the way; LeakSanitizer needs it */
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		one_that_is_not_there_is_written,
		one_of_another_boot_is_replaced,
		one_of_this_boot_is_not_written_again,
		garbage_counts_as_this_boot_and_is_replaced,
		what_a_killed_daemon_left_is_in_nobodys_way,
		a_symbolic_link_is_refused,
		what_is_no_file_is_refused,
		a_file_that_others_may_write_to_is_refused,
		a_directory_that_others_may_write_to_is_refused,
		what_is_another_users_is_refused,
		a_place_that_cannot_be_is_refused,
		one_that_cannot_be_written_says_what_to_do,
		a_simulation_has_its_own,
		the_first_of_systemds_directories_is_ours,
		a_user_has_it_at_home,
	};

	return suite_run("runtime, marker", "marker", tests, ARRAY_SIZE(tests), setup, teardown);
}
