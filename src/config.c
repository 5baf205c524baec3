/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "config_files.h"
#include "config_rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One key whose field is a member of struct config, and a nested object in it. */
#define FIELD(key, reader, member, ...)                                                            \
	{                                                                                          \
		.name = (key), .read = (reader), .offset = offsetof(struct config, member),        \
		__VA_ARGS__                                                                        \
	}
#define SECTION(key, table)                                                                        \
	{                                                                                          \
		.name = (key), .read = json_read_object, .keys = (table)                           \
	}
#define END                                                                                        \
	{                                                                                          \
		.name = NULL                                                                       \
	}

static const struct json_key socket_keys[] = {
	FIELD("path", config_read_path, socket.path, .min = 1, .max = 107),
	FIELD("admin_path", config_read_path, socket.admin_path, .min = 1, .max = 107),
	FIELD("mode", config_read_mode, socket.mode),
	FIELD("group", config_read_socket_group, socket),
	END,
};

static const struct json_choice policy_choices[] = {{"cyclic", BROKER_CYCLIC},
	{"lowest", BROKER_LOWEST}, {"randomized", BROKER_RANDOMIZED}, {.text = NULL}};

static const struct json_key namespace_keys[] = {
	FIELD("reserved_last", json_read_u32, broker.reserved_last, .max = PASID_LAST - 1),
	FIELD("capacity", json_read_u32, broker.capacity, .max = PASID_LAST),
	FIELD("policy", json_read_choice, broker.policy, .choices = policy_choices),
	FIELD("pasid_width", json_read_u32, broker.pasid_width, .min = 1, .max = PASID_BITS),
	END,
};

static const struct json_key quota_keys[] = {
	FIELD("set_default", json_read_u32, broker.set_quota_default, .min = 1, .max = PASID_LAST),
	FIELD("set_max", json_read_u32, broker.set_quota_max, .min = 1, .max = PASID_LAST),
	END,
};

static const struct json_key quarantine_keys[] = {
	FIELD("cooling_ms", json_read_u64, broker.cooling_ms, .max = 86400000),
	END,
};

static const struct json_key participants_keys[] = {
	FIELD("unbind_wait_ms", json_read_u64, broker.unbind_wait_ms, .max = 60000),
	END,
};

static const struct json_key session_keys[] = {
	FIELD("grace_ms", json_read_u32, session.grace_ms, .min = 1, .max = 86400000),
	FIELD("hello_ms", json_read_u32, session.hello_ms, .min = 10, .max = 3600000),
	FIELD("stalled_ms", json_read_u32, session.stalled_ms, .min = 10, .max = 3600000),
	END,
};

static const struct json_key roles_keys[] = {
	FIELD("admins", config_read_who, policy.admins),
	FIELD("observers", config_read_who, policy.observers),
	FIELD("vmms", config_read_who, policy.vmms),
	FIELD("participants", config_read_who, policy.participants),
	END,
};

static const struct json_key scopes_keys[] = {
	FIELD("global", config_read_who, policy.global),
	FIELD("rids", config_read_who, policy.rids),
	END,
};

static const struct json_choice iommu_choices[] = {
	{"vtd", 0},
	{"smmuv3", 1},
	{.text = NULL},
};

static const struct json_key simulate_keys[] = {
	{.name = "devices", .read = config_read_sim_devices},
	FIELD("iommu", json_read_choice, simulate.smmuv3, .choices = iommu_choices),
	FIELD("pasid_width", json_read_u32, simulate.pasid_width, .max = PASID_BITS),
	FIELD("nesting", json_read_bool, simulate.nesting),
	FIELD("five_level", json_read_bool, simulate.five_level),
	FIELD("latency_us", json_read_u32, simulate.latency_us, .max = 10000000),
	END,
};

static const struct json_choice level_choices[] = {
	{"error", CONFIG_LEVEL_ERROR},
	{"warning", CONFIG_LEVEL_WARNING},
	{"info", CONFIG_LEVEL_INFO},
	{"debug", CONFIG_LEVEL_DEBUG},
	{.text = NULL},
};

static const struct json_key log_keys[] = {
	FIELD("level", json_read_choice, log_level, .choices = level_choices),
	END,
};

static const struct json_key audit_keys[] = {
	FIELD("records", json_read_u32, audit.records, .max = CONFIG_AUDIT_RECORDS_MAX),
	FIELD("path", config_read_absolute, audit.path, .min = 1, .max = CONFIG_AUDIT_PATH_MAX),
	END,
};

const struct json_key config_keys[] = {
	SECTION("socket", socket_keys),
	SECTION("namespace", namespace_keys),
	SECTION("quota", quota_keys),
	SECTION("quarantine", quarantine_keys),
	SECTION("participants", participants_keys),
	SECTION("session", session_keys),
	SECTION("roles", roles_keys),
	SECTION("scopes", scopes_keys),
	{.name = "devices", .read = config_read_devices},
	SECTION("simulate", simulate_keys),
	SECTION("log", log_keys),
	SECTION("audit", audit_keys),
	{.name = "limits", .read = config_read_limits},
	{.name = "reservations", .read = config_read_reservations},
	END,
};

static const struct config config_default = {
	.socket = {.mode = 0666},
	.broker = {.reserved_last = 1023,
		.set_quota_default = 1024,
		.set_quota_max = 65536,
		.policy = BROKER_CYCLIC,
		.pasid_width = PASID_BITS,
		.cooling_ms = 1000,
		.unbind_wait_ms = 1000},
	.session = {.grace_ms = 30000, .hello_ms = 10000, .stalled_ms = 10000},
	.connection = {.unread_events = 1024, .requests_per_datagram = CONFIG_REQUESTS_MAX},
	.simulate = {.device_count = 4,
		.devices = {{{0x08}, PASID_BITS, 0, 0}, {{0x10}, PASID_BITS, 0, 0},
			{{0x18}, PASID_BITS, 0, 0}, {{0x20}, PASID_BITS, 0, 0}},
		.pasid_width = PASID_BITS,
		.nesting = true},
	.policy = {.vmms = {.everyone = true},
		.global = {.everyone = true},
		.rids = {.everyone = true}},
	.audit = {.records = 65536},
	.log_level = CONFIG_LEVEL_INFO,
};

int config_new(uint32_t own_uid, struct config **ret_config)
{
	struct config *config = malloc(sizeof(*config));

	if (config == NULL)
		return -ENOMEM;
	*config = config_default;
	limits_defaults(&config->limits);
	if (config_who_init(&config->policy.admins, 0, own_uid) != 0 ||
		config_who_init(&config->policy.observers, 0, own_uid) != 0 ||
		config_who_init(&config->policy.participants, 0, own_uid) != 0) {
		config_free(config);
		return -ENOMEM;
	}
	*ret_config = config;
	return 0;
}

void config_free(struct config *config)
{
	struct policy *policy;

	if (config == NULL)
		return;
	policy = &config->policy;
	free(config->socket.path);
	free(config->socket.admin_path);
	free(config->audit.path);
	config_who_done(&policy->admins);
	config_who_done(&policy->observers);
	config_who_done(&policy->vmms);
	config_who_done(&policy->participants);
	config_who_done(&policy->global);
	config_who_done(&policy->rids);
	config_cgroups_done(policy);
	for (size_t i = 0; i < policy->device_count; i++) {
		struct policy_who who = policy->devices[i].who;

		config_who_done(&who);
	}
	free((void *)(uintptr_t)policy->devices);
	config_reservations_done(config);
	free(config);
}

/* Rules keep the places that they have in the present policy. */
static int config_renumber(struct policy *next, const struct policy *present, uint64_t *ret_same)
{
	const char **rules = calloc(POLICY_CGROUPS_MAX, sizeof(*rules));
	const char *const *before = next->cgroups;

	if (rules == NULL)
		return -ENOMEM;
	*ret_same = policy_renumber(
		next, (struct policy_device *)(uintptr_t)next->devices, present, rules);
	free((void *)(uintptr_t)before);
	return 0;
}

int config_exchange(struct config *config, struct config *next, uint64_t *ret_same)
{
	struct config *before = malloc(sizeof(*before));

	if (before == NULL)
		return -ENOMEM;
	if (config_renumber(&next->policy, &config->policy, ret_same) != 0) {
		free(before);
		return -ENOMEM;
	}
	*before = *config;
	*config = *next;
	*next = *before;
	free(before);
	if (config->broker.reservation_count > 0)
		config->broker.reservations = config->reservations;
	if (next->broker.reservation_count > 0)
		next->broker.reservations = next->reservations;
	return 0;
}

/* What no single key can see. */
static int config_check(struct json_reader *reader, const struct config *config)
{
	const struct broker_config *broker = &config->broker;
	const uint32_t numbers = PASID_LAST - broker->reserved_last;

	if (broker->capacity > numbers)
		return config_fail_about(reader, "namespace.capacity", "namespace.reserved_last",
			"found %u, but only %u numbers are above namespace.reserved_last (%u)",
			broker->capacity, numbers, broker->reserved_last);
	if (broker->set_quota_default > broker->set_quota_max)
		return config_fail_about(reader, "quota.set_default", "quota.set_max",
			"found %u, expected at most quota.set_max (%u)", broker->set_quota_default,
			broker->set_quota_max);
	if (config_check_reservations(reader, config) != 0)
		return STATUS_INVALID;
	return config_check_limits(reader, config);
}

static int config_read(
	struct json_reader *reader, const struct config_files *files, struct config *config)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < files->count; i++) {
		const struct config_file *file = &files->files[i];

		reader->name = file->name;
		reader->text = file->text;
		reader->length = file->length;
		r = json_read_keys(reader, file->root, config_keys, config);
	}
	return r != 0 ? r : config_check(reader, config);
}

int config_merge(const struct config_files *files, uint32_t own_uid, struct config **ret_config,
	struct config_error *ret_error)
{
	struct json_reader reader = {
		.name = "pasidd's defaults", .files = files, .error = ret_error};
	struct config *config;
	int r = config_new(own_uid, &config);

	if (r != 0) {
		(void)json_fail(&reader, "out of memory");
		return r;
	}
	reader.config = config;
	r = config_read(&reader, files, config);
	if (r != 0) {
		config_free(config);
		return r;
	}
	*ret_config = config;
	return 0;
}

int config_parse(const char *name, const char *text, size_t length, uint32_t own_uid,
	struct config **ret_config, struct config_error *ret_error)
{
	struct config_files *files = calloc(1, sizeof(*files));
	int r;

	if (files == NULL) {
		(void)snprintf(
			ret_error->text, sizeof(ret_error->text), "%.100s: out of memory", name);
		return -ENOMEM;
	}
	r = config_files_add(files, name, text, length, ret_error);
	if (r == 0)
		r = config_merge(files, own_uid, ret_config, ret_error);
	config_files_free(files);
	return r;
}

int config_load(const char *path, uint32_t own_uid, struct config **ret_config,
	struct config_error *ret_error)
{
	struct config_files *files = NULL;
	int r = config_files_read(path, true, &files, ret_error);

	if (r == 0)
		r = config_merge(files, own_uid, ret_config, ret_error);
	config_files_free(files);
	return r;
}

int config_level_parse(const char *text, uint32_t *ret_level)
{
	for (const struct json_choice *choice = level_choices; choice->text != NULL; choice++)
		if (strcmp(text, choice->text) == 0) {
			*ret_level = choice->value;
			return 0;
		}
	return STATUS_INVALID;
}
