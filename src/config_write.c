/* SPDX-License-Identifier: MIT */
/*
 * The settings as JSON, by the same table that reads them: all of them, with numbers for users and
 * groups, so that whoever reads it needs to look nothing up.
 */
#include "config_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *write_u32(const struct config *config, const struct json_key *key, const void *field)
{
	(void)config;
	(void)key;
	return json_integer(*(const uint32_t *)field);
}

static json_t *write_u64(const struct config *config, const struct json_key *key, const void *field)
{
	(void)config;
	(void)key;
	return json_integer((json_int_t) * (const uint64_t *)field);
}

static json_t *write_bool(
	const struct config *config, const struct json_key *key, const void *field)
{
	(void)config;
	(void)key;
	return json_boolean(*(const bool *)field);
}

static json_t *write_choice(
	const struct config *config, const struct json_key *key, const void *field)
{
	const struct json_choice *choice = key->choices;

	(void)config;
	while (choice->text != NULL && choice->value != *(const uint32_t *)field)
		choice++;
	return choice->text != NULL ? json_string(choice->text) : json_null();
}

static json_t *write_text(
	const struct config *config, const struct json_key *key, const void *field)
{
	const char *text = *(char *const *)field;

	(void)config;
	(void)key;
	return text != NULL ? json_string(text) : json_null();
}

static json_t *write_mode(
	const struct config *config, const struct json_key *key, const void *field)
{
	char text[8];

	(void)config;
	(void)key;
	(void)snprintf(text, sizeof(text), "%04o", *(const uint32_t *)field);
	return json_string(text);
}

static json_t *write_socket_group(
	const struct config *config, const struct json_key *key, const void *field)
{
	const struct config_socket *socket = field;

	(void)config;
	(void)key;
	return socket->has_group ? json_integer(socket->group) : json_null();
}

/* ---------------------------------------------------------------- lists */

static json_t *write_ids(const uint32_t *ids, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(list, json_integer(ids[i])) != 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static json_t *write_cgroups(const struct policy *policy, uint64_t rules)
{
	json_t *list = json_array();

	for (size_t i = 0; i < policy->cgroup_count; i++)
		if ((rules & UINT64_C(1) << i) != 0 && policy->cgroups[i] != NULL &&
			json_array_append_new(list, json_string(policy->cgroups[i])) != 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

/* Adds the four keys of it to an object. */
static int write_who_into(json_t *object, const struct policy *policy, const struct policy_who *who)
{
	/* each of them takes a value that could not be made for a failure */
	return json_object_set_new(object, "users", write_ids(who->uids, who->uid_count)) |
	       json_object_set_new(object, "groups", write_ids(who->gids, who->gid_count)) |
	       json_object_set_new(object, "cgroups", write_cgroups(policy, who->cgroups)) |
	       json_object_set_new(object, "everyone", json_boolean(who->everyone));
}

static json_t *write_or_drop(json_t *object, int failed)
{
	if (failed == 0)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *write_who(const struct config *config, const struct json_key *key, const void *field)
{
	json_t *object = json_object();

	(void)key;
	return write_or_drop(object, write_who_into(object, &config->policy, field));
}

static json_t *write_address(struct rid rid)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%04x:%02x:%02x.%u", rid.v >> 16 & 0xffff,
		rid.v >> 8 & 0xff, rid.v >> 3 & 0x1f, rid.v & 7);
	return json_string(text);
}

static json_t *write_device(const struct policy *policy, const struct policy_device *device)
{
	json_t *object = json_object();
	int failed = json_object_set_new(object, "address", write_address(device->rid));

	failed |= json_object_set_new(object, "use",
		json_string(device->use == POLICY_USE_SHARED ? "shared" : "exclusive"));
	failed |= write_who_into(object, policy, &device->who);
	return write_or_drop(object, failed);
}

static json_t *write_devices(
	const struct config *config, const struct json_key *key, const void *field)
{
	const struct policy *policy = &config->policy;
	json_t *list = json_array();
	int failed = 0;

	(void)key;
	(void)field;
	for (size_t i = 0; i < policy->device_count; i++)
		failed |= json_array_append_new(list, write_device(policy, &policy->devices[i]));
	return write_or_drop(list, failed);
}

static json_t *write_sim_devices(
	const struct config *config, const struct json_key *key, const void *field)
{
	json_t *list = json_array();
	int failed = 0;

	(void)key;
	(void)field;
	for (uint32_t i = 0; i < config->simulate.device_count; i++) {
		const struct config_sim_device *device = &config->simulate.devices[i];

		failed |= json_array_append_new(
			list, json_pack("{s:o, s:i, s:i, s:i}", "address",
				      write_address(device->rid), "width", (int)device->width,
				      "group", (int)device->group, "unit", (int)device->unit));
	}
	return write_or_drop(list, failed);
}

static json_t *write_reservations(
	const struct config *config, const struct json_key *key, const void *field)
{
	json_t *list = json_array();
	int failed = 0;

	(void)key;
	(void)field;
	for (uint32_t i = 0; i < config->broker.reservation_count; i++) {
		const struct broker_reservation *one = &config->reservations[i];

		failed |= json_array_append_new(
			list, json_pack("{s:s, s:I, s:I}", "name", one->name, "user",
				      (json_int_t)one->uid, "pasids", (json_int_t)one->pasids));
	}
	return write_or_drop(list, failed);
}

static json_t *write_levels(const struct limit_levels *levels, bool has_set)
{
	json_t *object = json_pack(
		"{s:I, s:I}", "user", (json_int_t)levels->user, "host", (json_int_t)levels->host);

	if (has_set && json_object_set_new(object, "set", json_integer(levels->set)) != 0)
		return write_or_drop(object, -1);
	return object;
}

static json_t *write_limits(
	const struct config *config, const struct json_key *key, const void *field)
{
	json_t *object = json_object();
	struct limits_config defaults;
	int failed = 0;
	char name[32];

	(void)key;
	(void)field;
	limits_defaults(&defaults);
	for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
		config_limit_name((enum resource)i, name, sizeof(name));
		failed |= json_object_set_new(
			object, name, write_levels(&config->limits.of[i], defaults.of[i].set != 0));
	}
	failed |= json_object_set_new(
		object, "unread_events", json_integer(config->connection.unread_events));
	failed |= json_object_set_new(object, "requests_per_datagram",
		json_integer(config->connection.requests_per_datagram));
	return write_or_drop(object, failed);
}

/* ---------------------------------------------------------------- all of it */

static json_t *write_object(
	const struct config *config, const struct json_key *key, const void *field);

/* What reads a value, and what writes it. */
static const struct writer {
	int (*read)(struct json_reader *reader, const json_t *value, const struct json_key *key,
		void *field);
	json_t *(*write)(
		const struct config *config, const struct json_key *key, const void *field);
} writers[] = {
	{json_read_u32, write_u32},
	{json_read_u64, write_u64},
	{json_read_bool, write_bool},
	{json_read_choice, write_choice},
	{json_read_object, write_object},
	{config_read_path, write_text},
	{config_read_absolute, write_text},
	{config_read_mode, write_mode},
	{config_read_socket_group, write_socket_group},
	{config_read_who, write_who},
	{config_read_devices, write_devices},
	{config_read_sim_devices, write_sim_devices},
	{config_read_limits, write_limits},
	{config_read_reservations, write_reservations},
};

static json_t *write_value(
	const struct config *config, const struct json_key *key, const void *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(writers); i++)
		if (writers[i].read == key->read)
			return writers[i].write(config, key, field);
	return NULL;
}

static json_t *write_keys(
	const struct config *config, const struct json_key *keys, const void *base)
{
	json_t *object = json_object();
	int failed = 0;

	for (const struct json_key *key = keys; key->name != NULL; key++)
		failed |= json_object_set_new(object, key->name,
			write_value(config, key, (const char *)base + key->offset));
	return write_or_drop(object, failed);
}

static json_t *write_object(
	const struct config *config, const struct json_key *key, const void *field)
{
	return write_keys(config, key->keys, field);
}

json_t *config_write_json(const struct config *config)
{
	return write_keys(config, config_keys, config);
}

char *config_write(const struct config *config)
{
	json_t *object = config_write_json(config);
	char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}
