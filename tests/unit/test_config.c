/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWN_UID 4242

static struct config *config;
static struct config_error error;

static void setup(void)
{
	config = NULL;
	memset(&error, 0, sizeof(error));
}

static void teardown(void)
{
	config_free(config);
}

static int parse(const char *text)
{
	config_free(config);
	config = NULL;
	error.text[0] = '\0';
	return config_parse("test.json", text, strlen(text), OWN_UID, &config, &error);
}

static void accepted(const char *text)
{
	int r = parse(text);

	ck_assert_msg(r == 0, "refused: %s", error.text);
}

/* Refused, and the message is exactly this one; places are for other tests, but there is one. */
static void refused(const char *text, const char *message)
{
	char place[32] = "";
	char *end, *name = error.text + strlen("test.json");
	size_t length;

	ck_assert_int_eq(parse(text), STATUS_INVALID);
	length = strspn(name, ":0123456789");
	ck_assert_msg(length >= strlen(":1:1:"), "no place: %s", error.text);
	(void)snprintf(place, sizeof(place), "test.json%.*s", (int)length - 1, name);
	if (strncmp(message, place, strlen(place)) != 0) {
		end = name + length - 1;
		memmove(name, end, strlen(end) + 1);
	}
	ck_assert_str_eq(error.text, message);
	ck_assert_ptr_null(config);
}

/* The whole documentation, for the caller to free. */
static char *read_documentation(void)
{
	static const char document[] = "/../../docs/CONFIGURATION.md";
	char path[PATH_MAX] = __FILE__;
	char *slash = strrchr(path, '/');
	char *text = calloc(1, 1 << 16);
	FILE *file;

	ck_assert_ptr_nonnull(slash);
	ck_assert_uint_lt((size_t)(slash - path) + sizeof(document), sizeof(path));
	memcpy(slash, document, sizeof(document));
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
	ck_assert_uint_lt(fread(text, 1, (1 << 16) - 1, file), (1 << 16) - 1);
	fclose(file);
	return text;
}

START_TEST(empty_object_gives_the_defaults)
	{
		const struct policy_peer self = {.uid = OWN_UID}, root = {.uid = 0},
					 other = {.uid = 7};

		accepted("{}");
		ck_assert_uint_eq(config->broker.reserved_last, 1023);
		ck_assert_uint_eq(config->broker.pasid_width, PASID_BITS);
		ck_assert_uint_eq(config->broker.cooling_ms, 1000);
		ck_assert_uint_eq(config->broker.unbind_wait_ms, 1000);
		ck_assert_uint_eq(config->session.grace_ms, 30000);
		ck_assert_uint_eq(config->socket.mode, 0666);
		ck_assert_ptr_null(config->socket.path);
		ck_assert_uint_eq(config->simulate.device_count, 4);
		ck_assert_uint_eq(config->simulate.devices[3].rid.v, 0x20);
		ck_assert(policy_allows_role(&config->policy, &self, ROLE_ADMIN));
		ck_assert(policy_allows_role(&config->policy, &root, ROLE_ADMIN));
		ck_assert(policy_allows_role(&config->policy, &self, ROLE_OBSERVER));
		ck_assert(!policy_allows_role(&config->policy, &other, ROLE_ADMIN));
		ck_assert(policy_allows_role(&config->policy, &other, ROLE_VMM));
		ck_assert(!config->policy.any_device);
	}
END_TEST

START_TEST(documented_example_parses_and_names_every_key)
	{
		char *text = read_documentation();
		char *begin = strstr(text, "```json\n");
		char *end = begin != NULL ? strstr(begin + 8, "```") : NULL;

		ck_assert_ptr_nonnull(end);
		*end = '\0';
		accepted(begin + 8);
		ck_assert_uint_eq(config->policy.device_count, 2);
		ck_assert_uint_eq(config->policy.devices[0].rid.v, 0x3a01);
		ck_assert_uint_eq(config->policy.devices[1].use, POLICY_USE_SHARED);
		ck_assert_uint_eq(config->policy.devices[1].who.uids[0], 1000);
		ck_assert_uint_eq(config->simulate.devices[1].width, 16);
		ck_assert_uint_eq(config->simulate.devices[1].group, 7);
		ck_assert_uint_eq(config->simulate.devices[1].unit, 1);
		ck_assert_str_eq(config->reservations[0].name, "db");
		free(text);
	}
END_TEST

START_TEST(documented_defaults_are_the_defaults)
	{
		struct config *defaults;
		struct broker_config broker;
		char *text = read_documentation();
		char *begin = strstr(text, "```json\n");

		*strstr(begin + 8, "```") = '\0';
		accepted(begin + 8);
		ck_assert_int_eq(config_new(OWN_UID, &defaults), 0);
		broker = config->broker;
		broker.reservations = NULL; /* nothing is reserved */
		broker.reservation_count = 0;
		ck_assert_mem_eq(&broker, &defaults->broker, sizeof(broker));
		ck_assert_mem_eq(&config->session, &defaults->session, sizeof(config->session));
		ck_assert_mem_eq(&config->limits, &defaults->limits, sizeof(config->limits));
		ck_assert_mem_eq(
			&config->connection, &defaults->connection, sizeof(config->connection));
		ck_assert_uint_eq(config->audit.records, defaults->audit.records);
		ck_assert_str_eq(config->audit.path, "/var/log/pasidd/audit");
		ck_assert_uint_eq(config->log_level, defaults->log_level);
		ck_assert_uint_eq(config->socket.mode, defaults->socket.mode);
		config_free(defaults);
		free(text);
	}
END_TEST

/* "| `sets` | – | 3072 | 0 |", as the table of limits has it. */
static void format_row(
	enum resource resource, const struct limit_levels *levels, char *ret_row, size_t size)
{
	char name[24], set[16] = "–";

	config_limit_name(resource, name, sizeof(name));
	if (levels->set != 0)
		(void)snprintf(set, sizeof(set), "%u", levels->set);
	(void)snprintf(
		ret_row, size, "\n| `%s` | %s | %u | %u | ", name, set, levels->user, levels->host);
}

START_TEST(documentation_has_every_limit_with_its_defaults)
	{
		struct limits_config defaults;
		char *text = read_documentation();
		const char *table = strstr(text, "\n| key | set | user | host |");
		const char *end = table != NULL ? strstr(table, "\n\n") : NULL;
		char row[128];
		size_t lines = 0;

		ck_assert_ptr_nonnull(end);
		limits_defaults(&defaults);
		for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
			format_row((enum resource)i, &defaults.of[i], row, sizeof(row));
			ck_assert_msg(strstr(table, row) != NULL, "not in the table: %s", row);
		}
		for (const char *c = table; c < end; c++)
			lines += *c == '\n';
		ck_assert_uint_eq(lines, RESOURCE_COUNT + 2);
		free(text);
	}
END_TEST

START_TEST(every_limit_is_read_at_every_level_it_has)
	{
		static const char *const levels[] = {"set", "user", "host"};
		struct limits_config defaults;
		char name[24], text[128];

		limits_defaults(&defaults);
		for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
			config_limit_name((enum resource)i, name, sizeof(name));
			for (unsigned level = 0; level < 3; level++) {
				const uint32_t *of = NULL;

				(void)snprintf(text, sizeof(text),
					"{\"limits\": {\"%s\": {\"%s\": 131999}}}", name,
					levels[level]);
				if (level == 0 && defaults.of[i].set == 0) {
					ck_assert_int_eq(parse(text), STATUS_INVALID);
					ck_assert_ptr_nonnull(strstr(error.text,
						": there is no such limit for each set"));
					continue;
				}
				if (i == RESOURCE_OPERATIONS && level == 2)
					continue; /* has a range of its own */
				accepted(text);
				of = &config->limits.of[i].set;
				ck_assert_uint_eq(of[level], 131999);
			}
		}
	}
END_TEST

START_TEST(limits_that_nothing_fits_into_are_refused)
	{
		refused("{\"limits\": {\"unread_bytes\": {\"set\": 131071}}}",
			"test.json: limits.unread_bytes.set: found 131071, expected 0 or at least "
			"131072");
		refused("{\"limits\": {\"remembered_bytes\": {\"user\": 1}}}",
			"test.json: limits.remembered_bytes.user: found 1, expected 0 or at least "
			"131072");
		refused("{\"limits\": {\"operations\": {\"host\": 0}}}",
			"test.json: limits.operations.host: found 0, expected 1 to 65536");
		refused("{\"limits\": {\"operations\": {\"host\": 65537}}}",
			"test.json: limits.operations.host: found 65537, expected 1 to 65536");
		refused("{\"limits\": {\"requests_per_datagram\": 257}}",
			"test.json: limits.requests_per_datagram: found 257, expected an integer from 1 "
			"to 256");
		refused("{\"limits\": {\"sets\": {\"user\": 4294967295}}}",
			"test.json: limits.sets.user: found 4294967295, expected an integer from 0 to "
			"4294967294");
		refused("{\"limits\": {\"sets\": {\"group\": 1}}}",
			"test.json: limits.sets.group: unknown key; known here: set, user, host");
		refused("{\"limits\": {\"sets\": 1}}",
			"test.json: limits.sets: found 1, expected an object");
		accepted("{\"limits\": {\"unread_bytes\": {\"set\": 0, \"host\": 131072}}}");
		ck_assert_uint_eq(config->limits.of[RESOURCE_UNREAD].set, 0);
		ck_assert_uint_eq(config->limits.of[RESOURCE_UNREAD].host, 131072);
	}
END_TEST

START_TEST(syntax_errors_have_a_position)
	{
		ck_assert_int_eq(
			parse("{\n  \"log\": {\n    \"level\" \"info\"\n  }\n}"), STATUS_INVALID);
		ck_assert_msg(strncmp(error.text, "test.json:3:", 12) == 0, "%s", error.text);
		ck_assert_int_eq(parse(""), STATUS_INVALID);
		ck_assert_msg(strncmp(error.text, "test.json:1:0: ", 15) == 0, "%s", error.text);
		ck_assert_int_eq(parse("{} x"), STATUS_INVALID);
		ck_assert_msg(strncmp(error.text, "test.json:1:", 12) == 0, "%s", error.text);
	}
END_TEST

START_TEST(duplicate_keys_have_a_position)
	{
		ck_assert_int_eq(parse("{\"log\": {},\n \"log\": {}}"), STATUS_INVALID);
		ck_assert_msg(strncmp(error.text, "test.json:2:", 12) == 0, "%s", error.text);
		ck_assert_ptr_nonnull(strstr(error.text, "duplicate"));
	}
END_TEST

START_TEST(unknown_keys_are_named_with_their_path)
	{
		refused("{\"quota\": {\"per_set\": 1}}",
			"test.json: quota.per_set: unknown key; known here: set_default, set_max");
		refused("{\"quotas\": {}}",
			"test.json: quotas: unknown key; known here: socket, namespace, quota, "
			"quarantine, participants, session, roles, scopes, devices, simulate, log, audit, "
			"limits, reservations");
		refused("{\"roles\": {\"admins\": {\"user\": []}}}",
			"test.json: roles.admins.user: unknown key; known here: users, groups, "
			"cgroups, everyone");
	}
END_TEST

START_TEST(wrong_kinds_and_ranges_say_found_and_allowed)
	{
		refused("{\"namespace\": {\"reserved_last\": \"many\"}}",
			"test.json: namespace.reserved_last: found \"many\", expected an integer from 0 "
			"to 1048574");
		refused("{\"namespace\": {\"reserved_last\": 1048575}}",
			"test.json: namespace.reserved_last: found 1048575, expected an integer from 0 to "
			"1048574");
		refused("{\"namespace\": {\"pasid_width\": 0}}",
			"test.json: namespace.pasid_width: found 0, expected an integer from 1 to 20");
		refused("{\"quota\": {\"set_max\": 0}}",
			"test.json: quota.set_max: found 0, expected an integer from 1 to 1048575");
		refused("{\"quota\": {\"set_max\": 1.5}}",
			"test.json: quota.set_max: found 1.5, expected an integer from 1 to 1048575");
		refused("{\"participants\": {\"unbind_wait_ms\": 60001}}",
			"test.json: participants.unbind_wait_ms: found 60001, expected an integer "
			"from 0 to 60000");
		refused("{\"namespace\": {\"policy\": \"random\"}}",
			"test.json: namespace.policy: found \"random\", expected one of \"cyclic\", "
			"\"lowest\", \"randomized\"");
		refused("{\"simulate\": {\"nesting\": 1}}",
			"test.json: simulate.nesting: found 1, expected true or false");
		refused("{\"log\": []}", "test.json: log: found an array, expected an object");
		refused("[]", "test.json: found an array, expected an object");
	}
END_TEST

START_TEST(socket_mode_and_group)
	{
		accepted(
			"{\"socket\": {\"mode\": \"0660\", \"group\": 12, \"path\": \"/x\", "
			"\"admin_path\": \"/y\"}}");
		ck_assert_uint_eq(config->socket.mode, 0660);
		ck_assert(config->socket.has_group);
		ck_assert_uint_eq(config->socket.group, 12);
		ck_assert_str_eq(config->socket.path, "/x");
		ck_assert_str_eq(config->socket.admin_path, "/y");
		refused("{\"socket\": {\"mode\": \"0777\"}}",
			"test.json: socket.mode: found \"0777\", expected an octal mode of read and write "
			"bits such as \"0660\"");
		refused("{\"socket\": {\"path\": \"\"}}",
			"test.json: socket.path: found \"\", expected a text of 1 to 107 bytes");
	}
END_TEST

START_TEST(cgroups_are_numbered_rules)
	{
		struct policy_peer peer = {.uid = 7};

		accepted(
			"{\"roles\": {\"vmms\": {\"cgroups\": [\"/machine.slice\"]}, "
			"\"admins\": {\"cgroups\": [\"/system.slice/libvirtd.service\", "
			"\"/machine.slice\"]}}, \"devices\": [{\"address\": \"1:0.0\", \"use\": "
			"\"shared\", \"cgroups\": [\"/\"]}]}");
		ck_assert_uint_eq(config->policy.cgroup_count, 3);
		ck_assert(!policy_allows_role(&config->policy, &peer, ROLE_VMM));
		peer.cgroups = policy_match_cgroups(&config->policy, "/machine.slice/vm-1.scope");
		ck_assert(policy_allows_role(&config->policy, &peer, ROLE_VMM));
		ck_assert(policy_allows_role(&config->policy, &peer, ROLE_ADMIN));
		ck_assert(!policy_allows_role(&config->policy, &peer, ROLE_OBSERVER));
		ck_assert(policy_allows_device(
			&config->policy, &peer, (struct rid){0x100}, POLICY_USE_SHARED));
		peer.cgroups =
			policy_match_cgroups(&config->policy, "/system.slice/libvirtd.service");
		ck_assert(!policy_allows_role(&config->policy, &peer, ROLE_VMM));
		ck_assert(policy_allows_role(&config->policy, &peer, ROLE_ADMIN));
	}
END_TEST

START_TEST(paths_of_cgroups_are_checked)
	{
		static const char *const wrong[] = {
			"machine.slice", "", "/a/", "/a//b", "//", "/.", "/a/../b", "/..", "/a/."};
		char text[4096] = "{\"roles\": {\"vmms\": {\"cgroups\": [";

		for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
			char one[160];

			(void)snprintf(one, sizeof(one),
				"{\"roles\": {\"vmms\": {\"cgroups\": [\"%s\"]}}}", wrong[i]);
			ck_assert_int_eq(parse(one), STATUS_INVALID);
			ck_assert_ptr_nonnull(strstr(error.text, "roles.vmms.cgroups[0]: found"));
		}
		refused("{\"roles\": {\"vmms\": {\"cgroups\": [7]}}}",
			"test.json: roles.vmms.cgroups[0]: found 7, expected the path of a cgroup such as \"/machine.slice\"");
		for (int i = 0; i < 64; i++)
			(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
				"%s\"/a%d\"", i > 0 ? ", " : "", i);
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
			"]}, \"admins\": {\"cgroups\": [\"/a0\", \"/a/..b/...\"]}}}");
		refused(text,
			"test.json: roles.admins.cgroups[1]: more than 64 different cgroups in all "
			"lists together");
	}
END_TEST

START_TEST(roles_by_name_and_number_replace_the_default)
	{
		const struct policy_peer root = {.uid = 0},
					 grouped = {.uid = 5, .group_count = 1, .groups = {0}};

		accepted(
			"{\"roles\": {\"admins\": {\"users\": [\"root\", 12]}, \"vmms\": "
			"{\"groups\": [\"root\"]}, \"observers\": {}}}");
		ck_assert_uint_eq(config->policy.admins.uid_count, 2);
		ck_assert(policy_allows_role(&config->policy, &root, ROLE_ADMIN));
		ck_assert(!policy_allows_role(&config->policy, &root, ROLE_OBSERVER));
		ck_assert(!policy_allows_role(&config->policy, &root, ROLE_VMM));
		ck_assert(policy_allows_role(&config->policy, &grouped, ROLE_VMM));
		refused("{\"roles\": {\"admins\": {\"users\": [\"no such user\"]}}}",
			"test.json: roles.admins.users[0]: found \"no such user\", expected the name or "
			"number of a user");
		refused("{\"roles\": {\"admins\": {\"groups\": [1, -1]}}}",
			"test.json: roles.admins.groups[1]: found -1, expected the name or number of a "
			"group");
		refused("{\"roles\": {\"admins\": {\"groups\": [4294967295]}}}",
			"test.json: roles.admins.groups[0]: found 4294967295, expected the name or number "
			"of a group");
	}
END_TEST

START_TEST(device_addresses)
	{
		accepted(
			"{\"devices\": [{\"address\": \"00AB:ff:1F.7\", \"use\": \"shared\", "
			"\"everyone\": true}, {\"address\": \"1:2.3\", \"use\": \"exclusive\", "
			"\"everyone\": true}]}");
		ck_assert_uint_eq(config->policy.devices[0].rid.v, 0x00abffffu);
		ck_assert_uint_eq(config->policy.devices[1].rid.v, 0x0113);

		const char *const bad[] = {"", ":", "1:2", "1:2.8", "1:20.0", "100:0.0",
			"0:1:2.3.4", "x:1.0", "1:2.", "10000:1:2.3", "1:2:3:4.5", "1:2.3 ",
			"-1:2.3"};
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			char text[128], expected[256];

			(void)snprintf(text, sizeof(text), "{\"devices\": [{\"address\": \"%s\"}]}",
				bad[i]);
			(void)snprintf(expected, sizeof(expected),
				"test.json: devices[0].address: found \"%s\", expected a PCI address such "
				"as \"0000:3a:00.1\" or \"3a:00.1\"",
				bad[i]);
			refused(text, expected);
		}
	}
END_TEST

START_TEST(devices_are_complete_and_distinct)
	{
		refused("{\"devices\": [{\"address\": \"1:2.3\", \"everyone\": true}]}",
			"test.json: devices[0]: \"address\" and \"use\" are required");
		refused("{\"devices\": [{\"use\": \"shared\", \"everyone\": true}]}",
			"test.json: devices[0]: \"address\" and \"use\" are required");
		refused("{\"devices\": [{\"address\": \"1:2.3\", \"use\": \"shared\", \"users\": []}]}",
			"test.json: devices[0]: nobody may have it: give \"users\", \"groups\", "
			"\"cgroups\" or \"everyone\": true");
		refused("{\"devices\": [{\"address\": \"1:2.3\", \"use\": \"shared\", \"users\": [1]}, "
			"{\"address\": \"0:1:2.3\", \"use\": \"exclusive\", \"users\": [1]}]}",
			"test.json: devices[1]: the address is that of devices[0]");
	}
END_TEST

START_TEST(reservations_are_complete_distinct_and_fit)
	{
		accepted(
			"{\"reservations\": [{\"name\": \"db\", \"user\": 7, \"pasids\": 40}, "
			"{\"name\": \"web\", \"user\": \"root\", \"pasids\": 1}]}");
		ck_assert_uint_eq(config->broker.reservation_count, 2);
		ck_assert_str_eq(config->broker.reservations[0].name, "db");
		ck_assert_uint_eq(config->broker.reservations[0].uid, 7);
		ck_assert_uint_eq(config->broker.reservations[0].pasids, 40);
		ck_assert_uint_eq(config->broker.reservations[1].uid, 0);
		refused("{\"reservations\": [{\"name\": \"db\", \"user\": 7}]}",
			"test.json: reservations[0]: \"name\", \"user\" and \"pasids\" are required");
		refused("{\"reservations\": [{\"name\": \"db\", \"pasids\": 7}]}",
			"test.json: reservations[0]: \"name\", \"user\" and \"pasids\" are required");
		refused("{\"reservations\": [{\"user\": 3, \"pasids\": 7}]}",
			"test.json: reservations[0]: \"name\", \"user\" and \"pasids\" are required");
		refused("{\"reservations\": [{\"name\": \"a b\", \"user\": 3, \"pasids\": 7}]}",
			"test.json: reservations[0]: \"a b\" can be no set's name: those have a-z A-Z "
			"0-9 . _ -");
		refused("{\"reservations\": [{\"name\": \"a\", \"user\": 3, \"pasids\": 7}, "
			"{\"name\": \"a\", \"user\": 4, \"pasids\": 7}]}",
			"test.json: reservations[1]: the name is that of reservations[0]");
		refused("{\"reservations\": [{\"name\": \"a\", \"user\": 3, \"pasids\": 0}]}",
			"test.json: reservations[0].pasids: found 0, expected an integer from 1 to "
			"1048575");
		refused("{\"reservations\": [{\"name\": \"a\", \"user\": -1, \"pasids\": 1}]}",
			"test.json: reservations[0].user: found -1, expected the name or number of a "
			"user");
		refused("{\"namespace\": {\"capacity\": 100}, \"reservations\": [{\"name\": \"a\", "
			"\"user\": 3, \"pasids\": 70}, {\"name\": \"b\", \"user\": 3, \"pasids\": "
			"31}]}",
			"test.json: reservations[1].pasids: found 31, but 30 are left of what the host "
			"may promise (namespace.capacity, limits.pasids.host, "
			"limits.promised_pasids.host) when those before are reserved");
		refused("{\"limits\": {\"promised_pasids\": {\"host\": 5}}, \"reservations\": "
			"[{\"name\": \"a\", \"user\": 3, \"pasids\": 6}]}",
			"test.json: reservations[0].pasids: found 6, but 5 are left of what the host "
			"may promise (namespace.capacity, limits.pasids.host, "
			"limits.promised_pasids.host) when those before are reserved");
	}
END_TEST

START_TEST(simulated_devices_replace_the_default)
	{
		accepted("{\"simulate\": {\"devices\": [{\"address\": \"0:5.0\", \"width\": 0}]}}");
		ck_assert_uint_eq(config->simulate.device_count, 1);
		ck_assert_uint_eq(config->simulate.devices[0].width, 0);
		refused("{\"simulate\": {\"devices\": [{\"address\": \"0:5.0\", \"width\": 21}]}}",
			"test.json: simulate.devices[0].width: found 21, expected an integer from 0 to 20");
		refused("{\"simulate\": {\"devices\": [{}]}}",
			"test.json: simulate.devices[0]: \"address\" is required");
		refused("{\"simulate\": {\"devices\": [{\"address\": \"0:5.0\"}, {\"address\": "
			"\"0:5.0\"}]}}",
			"test.json: simulate.devices[1]: the address is that of simulate.devices[0]");
	}
END_TEST

START_TEST(keys_that_contradict_each_other)
	{
		refused("{\"namespace\": {\"reserved_last\": 1048000, \"capacity\": 1000}}",
			"test.json: namespace.capacity: found 1000, but only 575 numbers are above "
			"namespace.reserved_last (1048000)");
		refused("{\"quota\": {\"set_default\": 100, \"set_max\": 99}}",
			"test.json: quota.set_default: found 100, expected at most quota.set_max (99)");
	}
END_TEST

START_TEST(long_names_are_cut_and_never_overflow)
	{
		char text[4096];
		char key[3000];

		memset(key, 'k', sizeof(key) - 1);
		key[sizeof(key) - 1] = '\0';
		(void)snprintf(text, sizeof(text), "{\"limits\": {\"%s\": 1}}", key);
		ck_assert_int_eq(parse(text), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "unknown key"));
		(void)snprintf(text, sizeof(text), "{\"log\": {\"level\": \"%s\"}}", key);
		ck_assert_int_eq(parse(text), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "expected one of"));
	}
END_TEST

START_TEST(file_errors_name_the_file)
	{
		ck_assert_int_eq(
			config_load("/nonexistent/pasidd.json", OWN_UID, &config, &error), -ENOENT);
		ck_assert_str_eq(error.text, "/nonexistent/pasidd.json: No such file or directory");
		ck_assert_int_eq(config_load("/dev/zero", OWN_UID, &config, &error), -EINVAL);
		ck_assert_str_eq(error.text, "/dev/zero: is no regular file");
		ck_assert_int_eq(config_load("/", OWN_UID, &config, &error), -EISDIR);
	}
END_TEST

START_TEST(files_are_read)
	{
		char path[] = "/tmp/test-config-XXXXXX";
		int fd = mkstemp(path);

		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(write(fd, "{\"log\": {\"level\": \"debug\"}}", 27), 27);
		close(fd);
		ck_assert_int_eq(config_load(path, OWN_UID, &config, &error), 0);
		ck_assert_uint_eq(config->log_level, CONFIG_LEVEL_DEBUG);
		unlink(path);
	}
END_TEST

START_TEST(levels_by_name)
	{
		uint32_t level = 99;

		ck_assert_int_eq(config_level_parse("warning", &level), 0);
		ck_assert_uint_eq(level, CONFIG_LEVEL_WARNING);
		ck_assert_int_eq(config_level_parse("loud", &level), STATUS_INVALID);
		ck_assert_uint_eq(level, CONFIG_LEVEL_WARNING);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, empty_object_gives_the_defaults);
	tcase_add_test(tc, documented_example_parses_and_names_every_key);
	tcase_add_test(tc, documented_defaults_are_the_defaults);
	tcase_add_test(tc, documentation_has_every_limit_with_its_defaults);
	tcase_add_test(tc, every_limit_is_read_at_every_level_it_has);
	tcase_add_test(tc, limits_that_nothing_fits_into_are_refused);
	tcase_add_test(tc, syntax_errors_have_a_position);
	tcase_add_test(tc, duplicate_keys_have_a_position);
	tcase_add_test(tc, unknown_keys_are_named_with_their_path);
	tcase_add_test(tc, wrong_kinds_and_ranges_say_found_and_allowed);
	tcase_add_test(tc, socket_mode_and_group);
	tcase_add_test(tc, cgroups_are_numbered_rules);
	tcase_add_test(tc, paths_of_cgroups_are_checked);
	tcase_add_test(tc, roles_by_name_and_number_replace_the_default);
	tcase_add_test(tc, device_addresses);
	tcase_add_test(tc, devices_are_complete_and_distinct);
	tcase_add_test(tc, reservations_are_complete_distinct_and_fit);
	tcase_add_test(tc, simulated_devices_replace_the_default);
	tcase_add_test(tc, keys_that_contradict_each_other);
	tcase_add_test(tc, long_names_are_cut_and_never_overflow);
	tcase_add_test(tc, file_errors_name_the_file);
	tcase_add_test(tc, files_are_read);
	tcase_add_test(tc, levels_by_name);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
