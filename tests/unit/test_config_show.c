/* SPDX-License-Identifier: MIT */
/* What is in effect: written, shown, read by another process, compared, and documented. */
#include "config_rig.h"
#include "suite.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---------------------------------------------------------------- read anew */

static void note_path(void *ctx, const char *path)
{
	char *list = ctx;

	strcat(list, path);
	strcat(list, " ");
}

START_TEST(what_was_shown_is_read_by_another_process)
	{
		struct config *other = NULL;
		struct config_files *names = NULL;
		const char *why;
		char *shown, *text, *again;

		put("p.json", everything);
		put("p.json.d/1", "");
		loaded();
		shown = config_show(config, files, true);
		ck_assert_int_eq(
			config_read_shown(shown, strlen(shown), 1, &other, &names, &error), 0);
		text = config_write(config);
		again = config_write(other);
		ck_assert_str_eq(text, again);
		ck_assert_str_eq(config_files_name(names, 0), path_of("p.json"));
		ck_assert_str_eq(config_files_ignored(names, 0, &why), path_of("p.json.d/1"));
		config_free(other);
		config_files_free(names);
		free(shown);
		free(text);
		free(again);
	}
END_TEST

START_TEST(whatever_another_process_prints_is_checked)
	{
		static const char *const texts[] = {"", "{", "[]", "{}", "{\"ok\":true}",
			"{\"effective\":5}", "{\"effective\":{\"quota\":{\"set_max\":0}}}",
			"{\"ok\":false,\"error\":\"a.json: why\"}",
			"{\"files\":5,\"ignored\":[5],\"effective\":{\"a\":1}}"};
		struct config *other = NULL;
		struct config_files *names = NULL;

		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			error.text[0] = '\0';
			ck_assert_int_eq(config_read_shown(texts[i], strlen(texts[i]), 1, &other,
						 &names, &error),
				STATUS_INVALID);
			ck_assert_uint_gt(strlen(error.text), 4);
			ck_assert_ptr_null(other);
			ck_assert_ptr_null(names);
		}
		ck_assert_int_eq(
			config_read_shown(texts[7], strlen(texts[7]), 1, &other, &names, &error),
			STATUS_INVALID);
		ck_assert_str_eq(error.text, "a.json: why");
	}
END_TEST

START_TEST(differences_are_named_by_their_path)
	{
		struct config *other;
		char list[1024] = "", *one, *two;

		ck_assert_int_eq(config_new(OWN_UID, &other), 0);
		put("p.json",
			"{\"quota\": {\"set_max\": 2000}, \"limits\": {\"sets\": {\"user\": "
			"4}}, \"roles\": {\"vmms\": {}}, \"devices\": [" DEVICE("1:0.0") "]}");
		loaded();
		one = config_write(other);
		two = config_write(config);
		ck_assert(config_compare(one, two, note_path, list));
		ck_assert_str_eq(list, "quota.set_max roles.vmms devices limits.sets.user ");
		list[0] = '\0';
		ck_assert(config_compare(two, two, note_path, list));
		ck_assert_str_eq(list, "");
		ck_assert(!config_compare("{", two, note_path, list));
		config_free(other);
		free(one);
		free(two);
	}
END_TEST

START_TEST(settings_in_use_are_exchanged_in_place)
	{
		const struct policy *policy;
		struct config *next;
		uint64_t same = 0;
		char *before, *after, *text;

		put("p.json", "{\"roles\": {\"vmms\": {\"cgroups\": [\"/x\", \"/a\"]}}}");
		loaded();
		next = config;
		config = NULL;
		put("p.json", everything); /* with "/b" and "/a" */
		loaded();
		policy = &next->policy;
		before = config_write(config);
		after = config_write(next);
		ck_assert_int_eq(config_exchange(next, config, &same), 0);
		ck_assert_uint_eq(same, 2); /* "/a" is where it was */
		ck_assert_str_eq(policy->cgroups[1], "/a");
		ck_assert_str_eq(policy->cgroups[0], "/b");
		ck_assert_uint_eq(policy->admins.cgroups, 3);
		ck_assert_uint_eq(policy->vmms.cgroups, 2);
		ck_assert_ptr_eq(next->broker.reservations, next->reservations);
		text = config_write(config);
		ck_assert_str_eq(text, after);
		free(text);
		/* in another order, and otherwise the same */
		text = config_write(next);
		ck_assert_uint_eq(strlen(text), strlen(before));
		free(text);
		free(before);
		free(after);
		config_free(next);
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
	const TTest *const tests[] = {
		what_is_written_reads_as_the_same,
		everything_is_written,
		each_value_is_shown_with_its_file,
		what_was_shown_is_read_by_another_process,
		whatever_another_process_prints_is_checked,
		differences_are_named_by_their_path,
		settings_in_use_are_exchanged_in_place,
		every_key_is_documented_and_every_documented_key_is_one,
	};

	return suite_run(
		"config: shown", "files", tests, ARRAY_SIZE(tests), config_setup, config_teardown);
}
