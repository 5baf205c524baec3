/* SPDX-License-Identifier: MIT */
/* The settings in several files: which are read, how they are merged, what errors say of where. */
#include "config.h"
#include "config_place.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_UID 4242

static char directory[64];
static struct config *config;
static struct config_files *files;
static struct config_error error;

static void setup(void)
{
	(void)snprintf(directory, sizeof(directory), "/tmp/test-config-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	config = NULL;
	files = NULL;
	memset(&error, 0, sizeof(error));
}

static void teardown(void)
{
	char command[128];

	config_free(config);
	config_files_free(files);
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c) */
}

static const char *path_of(const char *name)
{
	static char path[2][128];
	static unsigned next;

	next++;
	(void)snprintf(path[next % 2], sizeof(path[0]), "%s/%s", directory, name);
	return path[next % 2];
}

static void put(const char *name, const char *text)
{
	FILE *file;

	(void)mkdir(path_of("p.json.d"), 0755);
	file = fopen(path_of(name), "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(path_of(name), 0644), 0);
}

static int load(void)
{
	int r;

	config_free(config);
	config_files_free(files);
	config = NULL;
	files = NULL;
	r = config_files_read(path_of("p.json"), false, &files, &error);
	return r ? r : config_merge(files, OWN_UID, &config, &error);
}

static void loaded(void)
{
	int r = load();

	ck_assert_msg(r == 0, "refused: %s", error.text);
}

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

#define DEVICE(address) "{\"address\": \"" address "\", \"use\": \"shared\", \"everyone\": true}"

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
			"limits, reservations");
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

/* ---------------------------------------------------------------- written and shown */

static const char everything[] =
	"{\"socket\": {\"path\": \"/x\", \"mode\": \"0660\", \"group\": 5}, \"namespace\": "
	"{\"policy\": \"randomized\", \"pasid_width\": 16, \"capacity\": 9999}, \"roles\": "
	"{\"admins\": {\"users\": [7, 0], \"groups\": [8], \"cgroups\": [\"/b\", \"/a\"]}, "
	"\"observers\": {}, \"vmms\": {\"cgroups\": [\"/a\"]}}, \"scopes\": {\"rids\": {\"users\": "
	"[4294967294]}}, \"devices\": [{\"address\": \"ffff:3a:1f.7\", \"use\": \"exclusive\", "
	"\"groups\": [3]}, " DEVICE("1:2.3") "], \"simulate\": {\"devices\": [{\"address\": "
	"\"1:0.0\", \"width\": 3, \"group\": 4, \"unit\": 5}], \"iommu\": \"smmuv3\", "
	"\"nesting\": false, \"latency_us\": 5}, \"log\": {\"level\": \"warning\"}, \"limits\": "
	"{\"pasids\": {\"user\": 4294967294}, \"operations\": {\"set\": 1, \"user\": 2, \"host\": "
	"3}, \"unread_events\": 77}, \"reservations\": [{\"name\": \"a\", \"user\": 3, "
	"\"pasids\": 55}], \"quarantine\": {\"cooling_ms\": 12}}";

START_TEST(what_is_written_reads_as_the_same)
	{
		char *first, *second;

		put("p.json", everything);
		loaded();
		first = config_write(config);
		ck_assert_ptr_nonnull(first);
		config_free(config);
		config = NULL;
		ck_assert_msg(config_parse("again", first, strlen(first), 1, &config, &error) == 0,
			"%s", error.text);
		ck_assert_uint_eq(config->policy.devices[0].rid.v, 0xffff3aff);
		ck_assert_uint_eq(config->limits.of[RESOURCE_PASIDS].user, UINT32_MAX - 1);
		ck_assert_uint_eq(config->simulate.devices[0].unit, 5);
		second = config_write(config);
		ck_assert_str_eq(first, second);
		free(first);
		free(second);
	}
END_TEST

/* Every key of one is in the other, and is of the same kind. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static void same_keys(const char *path, json_t *a, json_t *b)
{
	const char *key;
	json_t *value;

	json_object_foreach (a, key, value) {
		json_t *other = json_object_get(b, key);

		ck_assert_msg(other != NULL, "%s.%s is in one and not in the other", path, key);
		same_keys(key, value, other);
	}
	if (json_is_array(a) && json_is_object(json_array_get(a, 0)))
		same_keys(path, json_array_get(a, 0), json_array_get(b, 0));
}

START_TEST(everything_is_written)
	{
		json_t *given = json_loads(everything, 0, NULL), *written;
		char *text;

		put("p.json", everything);
		loaded();
		text = config_write(config);
		written = json_loads(text, 0, NULL);
		same_keys("", given, written);
		ck_assert_str_eq(json_string_value(json_object_get(
					 json_object_get(written, "socket"), "mode")),
			"0660");
		ck_assert_uint_eq(
			json_array_size(json_object_get(
				json_object_get(json_object_get(written, "roles"), "vmms"),
				"cgroups")),
			1);
		json_decref(given);
		json_decref(written);
		free(text);
	}
END_TEST

START_TEST(each_value_is_shown_with_its_file)
	{
		char *text;
		json_t *shown, *by;

		put("p.json",
			"{\"quota\": {\"set_max\": 5000},\n \"devices\": [" DEVICE("1:0.0") "]}");
		put("p.json.d/1.json", "{\"devices\": [" DEVICE("2:0.0") "], \"roles\": {\n\"vmms\": "
				       "{}}}");
		put("p.json.d/2", "");
		loaded();
		text = config_show(config, files, false);
		ck_assert_ptr_nonnull(strstr(text, "quota.set_default = 1024  # default\n"));
		ck_assert_ptr_nonnull(strstr(text, "quota.set_max = 5000  # /tmp/"));
		ck_assert_ptr_nonnull(strstr(text, "p.json:1:12\n"));
		ck_assert_ptr_nonnull(strstr(text, "# ignored: /tmp/"));
		free(text);
		text = config_show(config, files, true);
		shown = json_loads(text, 0, NULL);
		ck_assert(json_is_true(json_object_get(shown, "ok")));
		ck_assert_uint_eq(json_array_size(json_object_get(shown, "files")), 2);
		ck_assert_uint_eq(json_array_size(json_object_get(shown, "ignored")), 1);
		by = json_object_get(shown, "set_by");
		ck_assert_uint_eq(json_object_size(by), 4);
		ck_assert_str_eq(json_string_value(json_object_get(
					 json_object_get(by, "devices[1]"), "file")),
			path_of("p.json.d/1.json"));
		ck_assert_int_eq(json_integer_value(json_object_get(
					 json_object_get(by, "roles.vmms"), "line")),
			2);
		json_decref(shown);
		free(text);
		text = config_show_error(&(struct config_error){"a \"b\""});
		ck_assert_str_eq(text, "{\"ok\":false,\"error\":\"a \\\"b\\\"\"}");
		free(text);
	}
END_TEST

/* ---------------------------------------------------------------- documentation */

static char *read_documentation(void)
{
	static const char document[] = "/../../docs/CONFIGURATION.md";
	char path[PATH_MAX + sizeof(document)] = __FILE__;
	char *text = calloc(1, 1 << 17);
	FILE *file;

	memcpy(strrchr(path, '/'), document, sizeof(document));
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
	ck_assert_uint_lt(fread(text, 1, (1 << 17) - 1, file), (1 << 17) - 1);
	fclose(file);
	return text;
}

/* The keys in the first column of the tables under "## name", as members of an object. */
static json_t *documented_keys(const char *text, const char *name)
{
	json_t *keys = json_object();
	char heading[64];
	const char *at, *end;

	(void)snprintf(heading, sizeof(heading), "\n## %s\n", name);
	at = strstr(text, heading);
	ck_assert_msg(at != NULL, "docs/CONFIGURATION.md has no section %s", name);
	end = strstr(at + 4, "\n## ");
	while ((at = strchr(at + 1, '\n')) != NULL && (end == NULL || at < end)) {
		const char *column = at + 3;

		if (strncmp(at, "\n| `", 4) != 0)
			continue;
		while (*column == '`') {
			const size_t length = strcspn(++column, "`");
			char key[64];

			(void)snprintf(key, sizeof(key), "%.*s", (int)length, column);
			json_object_set_new(keys, key, json_true());
			column += length + 1;
			column += strspn(column, ", ");
		}
	}
	return keys;
}

START_TEST(every_key_is_documented_and_every_documented_key_is_one)
	{
		char *text = read_documentation(), *written;
		char *begin = strstr(text, "```json\n") + 8;
		char *end = strstr(begin, "```");
		json_t *example = json_loadb(begin, (size_t)(end - begin), 0, NULL), *known;
		const char *section;
		json_t *value;

		put("p.json", everything);
		loaded();
		written = config_write(config);
		known = json_loads(written, 0, NULL);
		/* the example has every key, too; of a list the first entry */
		json_object_foreach (known, section, value) {
			json_t *documented = documented_keys(text, section);
			json_t *entry = json_is_array(value) ? json_array_get(value, 0) : value;
			json_t *shown = json_object_get(example, section);
			const char *key;
			json_t *unused;

			ck_assert_msg(shown != NULL, "the example has no %s", section);
			shown = json_is_array(shown) ? json_array_get(shown, 0) : shown;
			json_object_foreach (entry, key, unused) {
				ck_assert_msg(json_object_get(documented, key) != NULL,
					"%s.%s is not documented", section, key);
				ck_assert_msg(json_object_get(shown, key) != NULL ||
						      strcmp(section, "devices") == 0,
					"%s.%s is not in the example", section, key);
			}
			json_object_foreach (documented, key, unused)
				ck_assert_msg(json_object_get(entry, key) != NULL,
					"%s.%s is documented, and is no key", section, key);
			json_decref(documented);
		}
		json_decref(known);
		json_decref(example);
		free(written);
		free(text);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config_files");
	TCase *tc = tcase_create("files");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, no_file_at_all_is_the_defaults);
	tcase_add_test(tc, a_directory_needs_no_file_beside_it);
	tcase_add_test(tc, files_are_merged_in_the_order_of_their_names);
	tcase_add_test(tc, a_list_of_who_is_replaced_as_one);
	tcase_add_test(tc, devices_and_reservations_are_appended);
	tcase_add_test(tc, what_two_files_name_is_refused_with_both);
	tcase_add_test(tc, values_that_contradict_each_other_name_both_files);
	tcase_add_test(tc, bad_values_have_the_place_of_their_key);
	tcase_add_test(tc, places_are_found_in_what_is_no_json);
	tcase_add_test(tc, what_is_ignored_is_said);
	tcase_add_test(tc, what_cannot_be_trusted_is_refused);
	tcase_add_test(tc, a_directory_that_is_none_is_refused);
	tcase_add_test(tc, all_files_together_have_a_limit);
	tcase_add_test(tc, what_is_written_reads_as_the_same);
	tcase_add_test(tc, everything_is_written);
	tcase_add_test(tc, each_value_is_shown_with_its_file);
	tcase_add_test(tc, every_key_is_documented_and_every_documented_key_is_one);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
