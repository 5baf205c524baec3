/* SPDX-License-Identifier: MIT */
/* The settings in several files: which are read, how they are merged, what errors say of where. */
#include "config_place.h"
#include "config_rig.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Refused, with this text behind the name of the directory. */
static void refused(int status, const char *message)
{
	char text[CONFIG_ERROR_MAX] = "";
	const size_t length = strlen(directory) + 1;
	size_t n = 0;

	ck_assert_int_eq(load(), status);
	for (const char *p = error.text; *p;) {
		if (strncmp(p, directory, length - 1) == 0)
			p += length;
		else
			text[n++] = *p++;
	}
	ck_assert_str_eq(text, message);
}

START_TEST(no_file_at_all_is_the_defaults)
	{
		loaded();
		ck_assert_uint_eq(config->broker.reserved_last, 1023);
		ck_assert_ptr_null(config_files_name(files, 0));
		ck_assert_int_eq(
			config_files_read(path_of("p.json"), true, &files, &error), -ENOENT);
		ck_assert_ptr_nonnull(strstr(error.text, "p.json: No such file or directory"));
	}
END_TEST

START_TEST(a_directory_needs_no_file_beside_it)
	{
		put("p.json.d/1.json", "{\"log\": {\"level\": \"debug\"}}");
		loaded();
		ck_assert_uint_eq(config->log_level, CONFIG_LEVEL_DEBUG);
	}
END_TEST

START_TEST(files_are_merged_in_the_order_of_their_names)
	{
		put("p.json", "{\"quota\": {\"set_max\": 5000, \"set_default\": 7}}");
		put("p.json.d/9.json", "{\"quota\": {\"set_max\": 9}, \"quarantine\": {}}");
		put("p.json.d/10.json",
			"{\"quota\": {\"set_max\": 10}, \"log\": {\"level\": "
			"\"error\"}}");
		loaded();
		ck_assert_uint_eq(config->broker.set_quota_max, 9);
		ck_assert_uint_eq(config->broker.set_quota_default, 7);
		ck_assert_uint_eq(config->log_level, CONFIG_LEVEL_ERROR);
		ck_assert_str_eq(config_files_name(files, 0), path_of("p.json"));
		ck_assert_str_eq(config_files_name(files, 1), path_of("p.json.d/10.json"));
		ck_assert_str_eq(config_files_name(files, 2), path_of("p.json.d/9.json"));
		ck_assert_ptr_null(config_files_name(files, 3));
	}
END_TEST

START_TEST(a_list_of_who_is_replaced_as_one)
	{
		const struct policy_peer one = {.uid = 1}, two = {.uid = 2};

		put("p.json",
			"{\"roles\": {\"admins\": {\"users\": [1]}, \"observers\": "
			"{\"users\": [1]}}}");
		put("p.json.d/1.json", "{\"roles\": {\"admins\": {\"users\": [2]}}}");
		loaded();
		ck_assert(!policy_allows_role(&config->policy, &one, ROLE_ADMIN));
		ck_assert(policy_allows_role(&config->policy, &two, ROLE_ADMIN));
		ck_assert(policy_allows_role(&config->policy, &one, ROLE_OBSERVER));
	}
END_TEST

START_TEST(devices_and_reservations_are_appended)
	{
		put("p.json", "{\"devices\": [" DEVICE("1:0.0") "," DEVICE("1:0.1") "], "
			      "\"reservations\": [{\"name\": \"a\", \"user\": 1, \"pasids\": 5}]}");
		put("p.json.d/1.json", "{\"devices\": [" DEVICE("2:0.0") "], \"reservations\": ["
				       "{\"name\": \"b\", \"user\": 1, \"pasids\": 6}]}");
		loaded();
		ck_assert_uint_eq(config->policy.device_count, 3);
		ck_assert_uint_eq(config->policy.devices[1].rid.v, 0x101);
		ck_assert_uint_eq(config->policy.devices[2].rid.v, 0x200);
		ck_assert_uint_eq(config->broker.reservation_count, 2);
		ck_assert_str_eq(config->reservations[1].name, "b");
	}
END_TEST

START_TEST(what_two_files_name_is_refused_with_both)
	{
		put("p.json", "{\"devices\": [" DEVICE("1:0.0") "," DEVICE("1:0.1") "]}");
		put("p.json.d/1.json",
			"{\"devices\": [" DEVICE("2:0.0") ",\n" DEVICE("1:0.1") "]}");
		refused(STATUS_INVALID,
			"p.json.d/1.json:2:1: devices[1]: the address is that of "
			"devices[1] in p.json");
		put("p.json",
			"{\"reservations\": [{\"name\": \"a\", \"user\": 1, \"pasids\": 5}]}");
		put("p.json.d/1.json", "{\"log\": {}}");
		put("p.json.d/2.json",
			"{\"reservations\": [{\"name\": \"b\", \"user\": 1, \"pasids\": "
			"5},\n  {\"name\": \"a\", \"user\": 1, \"pasids\": 5}]}");
		refused(STATUS_INVALID,
			"p.json.d/2.json:2:3: reservations[1]: the name is that of "
			"reservations[0] in p.json");
		put("p.json.d/2.json",
			"{\"reservations\": [{\"name\": \"b\", \"user\": 1, "
			"\"pasids\": 1048000}]}");
		ck_assert_int_eq(load(), STATUS_INVALID);
		ck_assert_ptr_nonnull(
			strstr(error.text, "p.json.d/2.json:1:44: reservations[1].pasids: found "));
	}
END_TEST

START_TEST(values_that_contradict_each_other_name_both_files)
	{
		put("p.json", "{\n  \"quota\": {\n    \"set_default\": 500\n  }\n}\n");
		put("p.json.d/1.json", "{\"quota\":\n {\"set_max\": 400}}");
		refused(STATUS_INVALID,
			"p.json:3:5: quota.set_default: found 500, expected at most quota.set_max "
			"(400); quota.set_max is set at p.json.d/1.json:2:3");
		/* one of them is a default */
		put("p.json", "{}");
		refused(STATUS_INVALID,
			"p.json.d/1.json:2:3: quota.set_default: found 1024, "
			"expected at most quota.set_max (400)");
		/* the file that set it last counts */
		put("p.json", "{\"quota\": {\"set_max\": 3, \"set_default\": 4}}");
		put("p.json.d/2.json", "{\"quota\": {\"set_default\": 400}}");
		loaded();
		put("p.json.d/1.json", "{\"limits\": {\"operations\": {\n  \"host\": 0}}}");
		put("p.json.d/2.json", "{\"quota\": {\"set_default\": 1}}");
		refused(STATUS_INVALID,
			"p.json.d/1.json:2:3: limits.operations.host: found 0, expected 1 to 65536");
	}
END_TEST

START_TEST(bad_values_have_the_place_of_their_key)
	{
		put("p.json",
			"{\n  \"namespace\": {\n    \"policy\": \"lowest\",\n    "
			"\"reserved_last\": \"many\"\n  }\n}\n");
		refused(STATUS_INVALID,
			"p.json:4:5: namespace.reserved_last: found \"many\", expected "
			"an integer from 0 to 1048574");
		put("p.json", "{\"quota\": {},\n\t\"quta\": {}}");
		refused(STATUS_INVALID,
			"p.json:2:2: quta: unknown key; known here: socket, namespace, quota, "
			"quarantine, participants, session, roles, scopes, devices, simulate, log, "
			"audit, limits, reservations");
		put("p.json", "{\"roles\": {\"admins\": {\"users\": [0,\n 1, -1]}}}");
		refused(STATUS_INVALID,
			"p.json:2:5: roles.admins.users[2]: found -1, expected the "
			"name or number of a user");
		/* columns count characters, and a key is the same however it is written */
		put("p.json",
			"{\"log\": {\"level\": \"\xc3\xa4\xe2\x82\xac\\\"{[\"}, "
			"\"qu\\u006fta\": 5}");
		ck_assert_int_eq(load(), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, ":1:10: log.level: found \"\xc3\xa4"));
		put("p.json",
			"{\"socket\": {\"path\": \"\xc3\xa4\xe2\x82\xac\\\"{[\\\\\"}, "
			"\"qu\\u006fta\": 5}");
		refused(STATUS_INVALID, "p.json:1:34: quota: found 5, expected an object");
		put("p.json", "[]");
		refused(STATUS_INVALID, "p.json:1:1: found an array, expected an object");
		put("p.json", "{\"quota\": {\"set_max\": 5,\n \"set_max\": 6}}");
		ck_assert_int_eq(load(), STATUS_INVALID);
		ck_assert_ptr_nonnull(
			strstr(error.text, "p.json:2:10: duplicate object key near '\"set_max\"'"));
	}
END_TEST

START_TEST(places_are_found_in_what_is_no_json)
	{
		static const char *const texts[] = {"", "{", "{\"a\"", "{\"a\":", "{\"a\":[",
			"{\"a\":[1", "{\"a\":[1,", "{\"a\" 1}", "\"", "{\"b\":\"\\", "{\"b\\", "]",
			"{\"b\":1 2"};
		const struct json_step steps[] = {{.key = "a"}, {.index = 1}};
		struct json_place place;

		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			char *copy = strdup(texts[i]); /* for the sanitizer to see its end */

			ck_assert(!json_place_find(copy, strlen(copy), steps, 2, &place));
			free(copy);
		}
	}
END_TEST

START_TEST(what_is_ignored_is_said)
	{
		static const char *const names[] = {"p.json.d/.hidden.json", "p.json.d/README",
			"p.json.d/a.json~", "p.json.d/d.json"};
		static const char *const reasons[] = {"hidden", "the name does not end with .json",
			"a copy of an editor", "a directory"};
		const char *why = NULL;

		put("p.json", "{}");
		for (size_t i = 0; i < 3; i++)
			put(names[i], "no json");
		ck_assert_int_eq(mkdir(path_of(names[3]), 0755), 0);
		loaded();
		for (size_t i = 0; i < 4; i++) {
			ck_assert_str_eq(config_files_ignored(files, i, &why), path_of(names[i]));
			ck_assert_str_eq(why, reasons[i]);
		}
		ck_assert_ptr_null(config_files_ignored(files, 4, &why));
		ck_assert_ptr_null(config_files_name(files, 1));
	}
END_TEST

START_TEST(what_cannot_be_trusted_is_refused)
	{
		put("p.json.d/0", "{}");
		ck_assert_int_eq(symlink("0", path_of("p.json.d/1.json")), 0);
		refused(-ELOOP, "p.json.d/1.json: is a symbolic link; put the file itself there");
		ck_assert_int_eq(unlink(path_of("p.json.d/1.json")), 0);
		ck_assert_int_eq(mkfifo(path_of("p.json.d/1.json"), 0600), 0);
		refused(-EINVAL, "p.json.d/1.json: is no regular file"); /* and nothing waits */
		ck_assert_int_eq(unlink(path_of("p.json.d/1.json")), 0);
		put("p.json.d/1.json", "{}");
		ck_assert_int_eq(chmod(path_of("p.json.d/1.json"), 0666), 0);
		refused(-EPERM,
			"p.json.d/1.json: everybody may write to it, and so become an admin; "
			"chmod o-w");
		ck_assert_int_eq(chmod(path_of("p.json.d/1.json"), 0644), 0);
		ck_assert_int_eq(chmod(path_of("p.json.d"), 0777), 0);
		refused(-EPERM,
			"p.json.d: everybody may put files into it, and so become an admin; "
			"chmod o-w");
		ck_assert_int_eq(chmod(path_of("p.json.d"), 0755), 0);
		put("p.json.d/1.json", "{\"log\": {\"lev\xffl\": 1}}");
		ck_assert_int_eq(load(), STATUS_INVALID);
		ck_assert_ptr_nonnull(
			strstr(error.text, "1.json:1:13: unable to decode byte 0xff"));
		put("p.json.d/1.json", "{}");
		if (geteuid() != 0) {
			ck_assert_int_eq(chmod(path_of("p.json.d/1.json"), 0), 0);
			refused(-EACCES, "p.json.d/1.json: Permission denied");
		}
	}
END_TEST

START_TEST(a_directory_that_is_none_is_refused)
	{
		int fd = open(path_of("p.json.d"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		ck_assert_int_ge(fd, 0);
		close(fd);
		refused(-ENOTDIR, "p.json.d: Not a directory");
		ck_assert_int_eq(unlink(path_of("p.json.d")), 0);
		ck_assert_int_eq(mkdir(path_of("p.json"), 0755), 0);
		refused(-EISDIR, "p.json: Is a directory");
	}
END_TEST

START_TEST(the_trail_has_an_absolute_path_or_none)
	{
		put("p.json", "{\"audit\": {\"path\": \"/var/log/trail\"}}");
		loaded();
		ck_assert_str_eq(config->audit.path, "/var/log/trail");
		put("p.json.d/1.json", "{\"audit\": {\"path\": null}}");
		loaded();
		ck_assert_ptr_null(config->audit.path);
		put("p.json.d/1.json", "{\"audit\": {\"path\": \"trail\"}}");
		ck_assert_int_eq(load(), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(
			error.text, "audit.path: found \"trail\", expected an absolute path"));
		put("p.json.d/1.json", "{\"audit\": {\"path\": 1}}");
		ck_assert_int_eq(load(), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "expected a text of 1 to 1023 bytes"));
	}
END_TEST

START_TEST(all_files_together_have_a_limit)
	{
		const size_t half = CONFIG_SIZE_MAX / 2;
		char *text = malloc(half + 3);

		ck_assert_ptr_nonnull(text);
		memset(text, ' ', half + 2);
		text[0] = '{';
		text[1] = '}';
		text[half] = '\0';
		put("p.json", text);
		put("p.json.d/1.json", text);
		loaded();
		text[half] = ' ';
		text[half + 1] = '\0';
		put("p.json.d/1.json", text);
		refused(-EFBIG,
			"p.json.d/1.json: too large: all files together may have 1048576 bytes");
		free(text);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		no_file_at_all_is_the_defaults,
		a_directory_needs_no_file_beside_it,
		files_are_merged_in_the_order_of_their_names,
		a_list_of_who_is_replaced_as_one,
		devices_and_reservations_are_appended,
		what_two_files_name_is_refused_with_both,
		values_that_contradict_each_other_name_both_files,
		bad_values_have_the_place_of_their_key,
		places_are_found_in_what_is_no_json,
		what_is_ignored_is_said,
		what_cannot_be_trusted_is_refused,
		a_directory_that_is_none_is_refused,
		all_files_together_have_a_limit,
		the_trail_has_an_absolute_path_or_none,
	};

	return suite_run(
		"config: files", "files", tests, ARRAY_SIZE(tests), config_setup, config_teardown);
}
