/* SPDX-License-Identifier: MIT */
#include "config_rules.h"
#include "config_files.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int config_no_memory(struct json_reader *reader)
{
	(void)json_fail(reader, "out of memory");
	return -ENOMEM;
}

/* ---------------------------------------------------------------- who */

int config_who_init(struct policy_who *who, uint32_t uid, uint32_t other_uid)
{
	uint32_t *uids = calloc(2, sizeof(*uids));

	if (uids == NULL)
		return -ENOMEM;
	uids[0] = uid;
	uids[1] = other_uid;
	*who = (struct policy_who){.uids = uids, .uid_count = uid == other_uid ? 1 : 2};
	return 0;
}

void config_who_done(struct policy_who *who)
{
	free((void *)(uintptr_t)who->uids);
	free((void *)(uintptr_t)who->gids);
	*who = (struct policy_who){0};
}

static bool config_find_user(const char *name, uint32_t *ret_id)
{
	const struct passwd *entry = getpwnam(name);

	if (entry != NULL)
		*ret_id = entry->pw_uid;
	return entry != NULL;
}

static bool config_find_group(const char *name, uint32_t *ret_id)
{
	const struct group *entry = getgrnam(name);

	if (entry != NULL)
		*ret_id = entry->gr_gid;
	return entry != NULL;
}

struct id_kind {
	const char *expected;
	bool (*find)(const char *name, uint32_t *ret_id);
};
static const struct id_kind user_kind = {"the name or number of a user", config_find_user};
static const struct id_kind group_kind = {"the name or number of a group", config_find_group};

static int config_read_id(struct json_reader *reader, const json_t *value,
	const struct id_kind *kind, uint32_t *ret_id)
{
	const json_int_t number = json_integer_value(value);

	/* The largest number means "no change" to the kernel. */
	if (json_is_integer(value) && number >= 0 && number < (json_int_t)UINT32_MAX) {
		*ret_id = (uint32_t)number;
		return 0;
	}
	if (json_is_string(value) && kind->find(json_string_value(value), ret_id))
		return 0;
	return json_fail_found(reader, value, kind->expected);
}

int config_read_user(struct json_reader *reader, const json_t *value, uint32_t *ret_uid)
{
	return config_read_id(reader, value, &user_kind, ret_uid);
}

struct id_list {
	const struct id_kind *kind;
	uint32_t *ids;
	size_t count;
};

static int config_read_list_id(struct json_reader *reader, const json_t *element, void *context)
{
	struct id_list *list = context;
	int r = config_read_id(reader, element, list->kind, &list->ids[list->count]);

	if (r == 0)
		list->count++;
	return r;
}

static int config_read_ids(struct json_reader *reader, const json_t *value,
	const struct id_kind *kind, const uint32_t **owner, size_t *count)
{
	struct id_list list = {.kind = kind};
	int r;

	list.ids = calloc(CONFIG_WHO_MAX, sizeof(*list.ids));
	if (list.ids == NULL)
		return config_no_memory(reader);
	r = json_read_array(reader, value, CONFIG_WHO_MAX, config_read_list_id, &list);
	if (r != 0) {
		free(list.ids);
		return r;
	}
	free((void *)(uintptr_t)*owner);
	*owner = list.ids;
	*count = list.count;
	return 0;
}

static int config_read_users(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	struct policy_who *who = field;

	(void)key;
	return config_read_ids(reader, value, &user_kind, &who->uids, &who->uid_count);
}

static int config_read_groups(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	struct policy_who *who = field;

	(void)key;
	return config_read_ids(reader, value, &group_kind, &who->gids, &who->gid_count);
}

/* ---------------------------------------------------------------- cgroups */

/* An absolute path as /proc/PID/cgroup has it. */
static bool config_is_cgroup(const char *path)
{
	const char *part = path;

	if (path[0] != '/' || strlen(path) > CONFIG_CGROUP_MAX)
		return false;
	while (path[1] != '\0' && part != NULL) {
		const size_t length = strcspn(++part, "/");

		if (length == 0 || (length == 1 && part[0] == '.') ||
			(length == 2 && strncmp(part, "..", 2) == 0))
			return false;
		part = part[length] == '/' ? part + length : NULL;
	}
	return true;
}

/* The number of a rule; POLICY_CGROUPS_MAX: there is none like it. */
static size_t config_find_cgroup(const struct policy *policy, const char *path)
{
	for (size_t i = 0; i < policy->cgroup_count; i++)
		if (strcmp(policy->cgroups[i], path) == 0)
			return i;
	return POLICY_CGROUPS_MAX;
}

static int config_add_cgroup(struct json_reader *reader, struct policy *policy, const char *path)
{
	const char **rules = (const char **)(uintptr_t)policy->cgroups;

	if (policy->cgroup_count == POLICY_CGROUPS_MAX)
		return json_fail(reader, "more than %d different cgroups in all lists together",
			POLICY_CGROUPS_MAX);
	if (rules == NULL)
		rules = calloc(POLICY_CGROUPS_MAX, sizeof(*rules));
	if (rules == NULL)
		return config_no_memory(reader);
	policy->cgroups = rules;
	rules[policy->cgroup_count] = strdup(path);
	if (rules[policy->cgroup_count] == NULL)
		return config_no_memory(reader);
	policy->cgroup_count++;
	return 0;
}

void config_cgroups_done(struct policy *policy)
{
	for (size_t i = 0; i < policy->cgroup_count; i++)
		free((void *)(uintptr_t)policy->cgroups[i]);
	free((void *)(uintptr_t)policy->cgroups);
	policy->cgroups = NULL;
	policy->cgroup_count = 0;
}

static int config_read_cgroup(struct json_reader *reader, const json_t *element, void *context)
{
	struct policy *policy = &reader->config->policy;
	struct policy_who *who = context;
	const char *path = json_is_string(element) ? json_string_value(element) : "";
	size_t rule = config_find_cgroup(policy, path);
	int r = 0;

	if (!config_is_cgroup(path))
		return json_fail_found(
			reader, element, "the path of a cgroup such as \"/machine.slice\"");
	if (rule == POLICY_CGROUPS_MAX) {
		rule = policy->cgroup_count;
		r = config_add_cgroup(reader, policy, path);
	}
	if (r != 0)
		return r;
	assert(rule < POLICY_CGROUPS_MAX);
	who->cgroups |= UINT64_C(1) << rule;
	return 0;
}

static int config_read_cgroups(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	(void)key;
	return json_read_array(reader, value, POLICY_CGROUPS_MAX, config_read_cgroup, field);
}

#define WHO_KEYS(base)                                                                             \
	{.name = "users", .read = config_read_users, .offset = (base)},                            \
		{.name = "groups", .read = config_read_groups, .offset = (base)},                  \
		{.name = "cgroups", .read = config_read_cgroups, .offset = (base)},                \
	{                                                                                          \
		.name = "everyone", .read = json_read_bool,                                        \
		.offset = (base) + offsetof(struct policy_who, everyone)                           \
	}

static const struct json_key who_keys[] = {WHO_KEYS(0), {.name = NULL}};

int config_read_who(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	(void)key;
	config_who_done(field);
	return json_read_keys(reader, value, who_keys, field);
}

/* ---------------------------------------------------------------- socket */

int config_read_socket_group(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	struct config_socket *socket = field;
	int r = 0;

	(void)key;
	if (!json_is_null(value))
		r = config_read_id(reader, value, &group_kind, &socket->group);
	if (r == 0)
		socket->has_group = !json_is_null(value);
	return r;
}

int config_read_path(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	char **owner = field;

	if (!json_is_null(value))
		return json_read_text(reader, value, key, field);
	free(*owner);
	*owner = NULL;
	return 0;
}

int config_read_absolute(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	if (json_is_string(value) && json_string_value(value)[0] != '/')
		return json_fail_found(reader, value, "an absolute path");
	return config_read_path(reader, value, key, field);
}

int config_read_mode(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	const char *text = json_string_value(value);
	uint32_t mode = 0;
	size_t i;

	(void)key;
	for (i = 0; text != NULL && i < 4 && text[i] >= '0' && text[i] <= '7'; i++)
		mode = mode << 3 | (uint32_t)(text[i] - '0');
	if (text == NULL || i < 3 || text[i] != '\0' || (mode & ~0666u) != 0)
		return json_fail_found(
			reader, value, "an octal mode of read and write bits such as \"0660\"");
	*(uint32_t *)field = mode;
	return 0;
}

/* ---------------------------------------------------------------- devices */

/* A hexadecimal number of up to `digits` digits that ends with `end`. */
static bool config_read_hex(const char **text, int digits, char end, uint32_t *ret_number)
{
	const char *p = *text;
	uint32_t number = 0;

	for (; digits > 0 && *p != '\0' && strchr("0123456789abcdefABCDEF", *p) != NULL; digits--) {
		const char digit = *p++;

		number = number << 4 | (uint32_t)(digit <= '9' ? digit - '0' : (digit & 0xf) + 9);
	}
	if (p == *text || *p != end)
		return false;
	*text = end == '\0' ? p : p + 1;
	*ret_number = number;
	return true;
}

/* The field is a struct rid: "0000:3a:00.1" or "3a:00.1". */
static int config_read_address(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	const char *text = json_is_string(value) ? json_string_value(value) : "";
	const char *colon = strchr(text, ':');
	uint32_t segment = 0, bus, device, function;

	(void)key;
	if (colon != NULL && strchr(colon + 1, ':') != NULL &&
		!config_read_hex(&text, 4, ':', &segment))
		text = "";
	if (!config_read_hex(&text, 2, ':', &bus) || !config_read_hex(&text, 2, '.', &device) ||
		!config_read_hex(&text, 1, '\0', &function) || device > 0x1f || function > 7)
		return json_fail_found(
			reader, value, "a PCI address such as \"0000:3a:00.1\" or \"3a:00.1\"");
	*(struct rid *)field = (struct rid){segment << 16 | bus << 8 | device << 3 | function};
	return 0;
}

static const struct json_choice use_choices[] = {
	{"exclusive", POLICY_USE_EXCLUSIVE},
	{"shared", POLICY_USE_SHARED},
	{.text = NULL},
};

static const struct json_key device_keys[] = {
	{.name = "address",
		.read = config_read_address,
		.offset = offsetof(struct policy_device, rid)},
	{.name = "use",
		.read = json_read_choice,
		.offset = offsetof(struct policy_device, use),
		.choices = use_choices},
	WHO_KEYS(offsetof(struct policy_device, who)),
	{.name = NULL},
};

struct device_list {
	struct config *config;
	struct policy_device *devices;
};

/* What the keys one by one could not see. */
static int config_check_device(struct json_reader *reader, const struct policy *policy,
	const json_t *element, const struct policy_device *device)
{
	if (json_object_get(element, "address") == NULL || device->use == 0)
		return json_fail(reader, "\"address\" and \"use\" are required");
	if (!device->who.everyone && device->who.uid_count == 0 && device->who.gid_count == 0 &&
		device->who.cgroups == 0)
		return json_fail(reader,
			"nobody may have it: give \"users\", \"groups\", \"cgroups\" or "
			"\"everyone\": true");
	for (size_t i = 0; i < policy->device_count; i++)
		if (policy->devices[i].rid.v == device->rid.v)
			return config_fail_same(reader, "the address", "devices", i);
	return 0;
}

static int config_read_device(struct json_reader *reader, const json_t *element, void *context)
{
	const struct device_list *list = context;
	struct policy *policy = &list->config->policy;
	struct policy_device *device = &list->devices[policy->device_count];
	int r = json_read_keys(reader, element, device_keys, device);

	if (r == 0)
		r = config_check_device(reader, policy, element, device);
	if (r != 0)
		config_who_done(&device->who);
	else
		policy->device_count++;
	return r;
}

int config_read_devices(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	struct device_list list = {.config = field};
	struct policy *policy = &list.config->policy;
	const size_t count = policy->device_count + json_array_size(value);

	(void)key;
	list.devices = calloc(count > 0 ? count : 1, sizeof(*list.devices));
	if (list.devices == NULL)
		return config_no_memory(reader);
	if (policy->device_count > 0) /* those of earlier files */
		memcpy(list.devices, policy->devices, policy->device_count * sizeof(*list.devices));
	free((void *)(uintptr_t)policy->devices);
	policy->devices = list.devices;
	return json_read_array(reader, value, CONFIG_DEVICES_MAX - policy->device_count,
		config_read_device, &list);
}

static const struct json_key sim_device_keys[] = {
	{.name = "address",
		.read = config_read_address,
		.offset = offsetof(struct config_sim_device, rid)},
	{.name = "width",
		.read = json_read_u32,
		.offset = offsetof(struct config_sim_device, width),
		.max = PASID_BITS},
	{.name = "group",
		.read = json_read_u32,
		.offset = offsetof(struct config_sim_device, group),
		.max = 65535},
	{.name = "unit",
		.read = json_read_u32,
		.offset = offsetof(struct config_sim_device, unit),
		.max = 15},
	{.name = NULL},
};

static int config_read_sim_device(struct json_reader *reader, const json_t *element, void *context)
{
	struct config_simulate *simulate = context;
	struct config_sim_device device = {.width = PASID_BITS};
	int r = json_read_keys(reader, element, sim_device_keys, &device);

	if (r != 0)
		return r;
	if (json_object_get(element, "address") == NULL)
		return json_fail(reader, "\"address\" is required");
	for (uint32_t i = 0; i < simulate->device_count; i++)
		if (simulate->devices[i].rid.v == device.rid.v)
			return json_fail(reader, "the address is that of simulate.devices[%u]", i);
	simulate->devices[simulate->device_count++] = device;
	return 0;
}

int config_read_sim_devices(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	struct config *config = field;

	(void)key;
	config->simulate.device_count = 0;
	return json_read_array(
		reader, value, CONFIG_SIM_DEVICES_MAX, config_read_sim_device, &config->simulate);
}
