/* SPDX-License-Identifier: MIT */
/* The section "limits": an object of levels for each resource, and what one connection has. */
#include "config_files.h"
#include "config_rules.h"

#include <stdio.h>

#define LIMITS_NAME_MAX    24u
#define LIMITS_CONNECTION  2u             /* keys that are no resources */
#define LIMIT_HIGHEST      UINT32_MAX - 1 /* the largest number is "none" inside */
#define LIMIT_REPLY_LOWEST (1u << 17)     /* two of the largest replies */
#define RECEIVED_LOWEST    253u           /* that a datagram can carry */
#define OPERATIONS_HIGHEST 65536u         /* their places are made when the daemon starts */

/* What belongs to a set alone, or to nobody but users and the host, has no such level. */
static int config_refuse_set(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	(void)value;
	(void)key;
	(void)field;
	return json_fail(reader,
		"there is no such limit for each set; \"user\" and \"host\" have one (the PASIDs of "
		"a set are its quota)");
}

#define LEVEL(level)                                                                               \
	{                                                                                          \
		.name = #level, .read = json_read_u32, .max = LIMIT_HIGHEST,                       \
		.offset = offsetof(struct limit_levels, level)                                     \
	}

static const struct json_key levels_of_sets[] = {
	LEVEL(set), LEVEL(user), LEVEL(host), {.name = NULL}};
static const struct json_key levels_of_users[] = {
	{.name = "set", .read = config_refuse_set}, LEVEL(user), LEVEL(host), {.name = NULL}};

#define CONNECTION(key, lowest, highest)                                                           \
	{                                                                                          \
		.name = #key, .read = json_read_u32, .min = (lowest), .max = (highest),            \
		.offset = offsetof(struct config, connection.key)                                  \
	}

static const struct json_key connection_keys[LIMITS_CONNECTION] = {
	CONNECTION(unread_events, 1, 1 << 20),
	CONNECTION(requests_per_datagram, 1, CONFIG_REQUESTS_MAX),
};

void config_limit_name(enum resource resource, char *ret_name, size_t size)
{
	(void)snprintf(ret_name, size, "%s", resource_text(resource));
	for (char *c = ret_name; *c != '\0'; c++)
		if (*c == '-')
			*c = '_';
}

int config_read_limits(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	struct json_key keys[RESOURCE_COUNT + LIMITS_CONNECTION + 1] = {{.name = NULL}};
	char names[RESOURCE_COUNT][LIMITS_NAME_MAX];
	struct limits_config defaults;

	(void)key;
	limits_defaults(&defaults);
	for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
		config_limit_name((enum resource)i, names[i], sizeof(names[i]));
		keys[i] = (struct json_key){.name = names[i],
			.read = json_read_object,
			.keys = defaults.of[i].set != 0 ? levels_of_sets : levels_of_users,
			.offset =
				offsetof(struct config, limits) + i * sizeof(struct limit_levels)};
	}
	for (unsigned i = 0; i < LIMITS_CONNECTION; i++)
		keys[RESOURCE_COUNT + i] = connection_keys[i];
	return json_read_keys(reader, value, keys, field);
}

/* ---------------------------------------------------------------- what has to fit */

static int config_fail_limit(struct json_reader *reader, const char *name, const char *level,
	uint32_t found, uint32_t lowest)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "limits.%s.%s", name, level);
	return config_fail_about(
		reader, path, NULL, "found %u, expected 0 or at least %u", found, lowest);
}

/* Below this nothing would fit, and the client would wait for ever. */
static int config_check_lowest(struct json_reader *reader, const struct config *config,
	enum resource resource, uint32_t lowest)
{
	static const char *const levels[] = {"set", "user", "host"};
	const struct limit_levels *of = &config->limits.of[resource];
	const uint32_t found[] = {of->set, of->user, of->host};
	char name[LIMITS_NAME_MAX];

	config_limit_name(resource, name, sizeof(name));
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (found[i] != 0 && found[i] < lowest)
			return config_fail_limit(reader, name, levels[i], found[i], lowest);
	return 0;
}

int config_check_limits(struct json_reader *reader, const struct config *config)
{
	const uint32_t operations = config->limits.of[RESOURCE_OPERATIONS].host;
	int r = config_check_lowest(reader, config, RESOURCE_UNREAD, LIMIT_REPLY_LOWEST);

	if (r == 0)
		r = config_check_lowest(reader, config, RESOURCE_REMEMBERED, LIMIT_REPLY_LOWEST);
	if (r == 0)
		r = config_check_lowest(reader, config, RESOURCE_RECEIVED, RECEIVED_LOWEST);
	if (r == 0 && (operations == 0 || operations > OPERATIONS_HIGHEST))
		r = config_fail_about(reader, "limits.operations.host", NULL,
			"found %u, expected 1 to %u", operations, OPERATIONS_HIGHEST);
	return r;
}
