/* SPDX-License-Identifier: MIT */
/* The section "reservations": PASIDs that are kept for sets of one name and user. */
#include "config_files.h"
#include "config_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int config_read_owner(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	(void)key;
	return config_read_user(reader, value, field);
}

static const struct json_key reservation_keys[] = {
	{.name = "name",
		.read = json_read_text,
		.offset = offsetof(struct broker_reservation, name),
		.min = 1,
		.max = STATE_NAME_MAX},
	{.name = "user",
		.read = config_read_owner,
		.offset = offsetof(struct broker_reservation, uid)},
	{.name = "pasids",
		.read = json_read_u32,
		.offset = offsetof(struct broker_reservation, pasids),
		.min = 1,
		.max = PASID_LAST},
	{.name = NULL},
};

/* What the keys one by one could not see. */
static int config_check_reservation(struct json_reader *reader, const struct config *config,
	const json_t *element, const struct broker_reservation *reservation)
{
	if (json_object_get(element, "name") == NULL || json_object_get(element, "user") == NULL ||
		json_object_get(element, "pasids") == NULL)
		return json_fail(reader, "\"name\", \"user\" and \"pasids\" are required");
	if (!broker_set_name_is_valid(reservation->name))
		return json_fail(reader,
			"\"%s\" can be no set's name: those have a-z A-Z 0-9 . _ -",
			reservation->name);
	for (uint32_t i = 0; i < config->broker.reservation_count; i++)
		if (strcmp(config->reservations[i].name, reservation->name) == 0)
			return config_fail_same(reader, "the name", "reservations", i);
	return 0;
}

static int config_read_reservation(struct json_reader *reader, const json_t *element, void *context)
{
	struct config *config = context;
	struct broker_reservation *reservation =
		&config->reservations[config->broker.reservation_count];
	int r = json_read_keys(reader, element, reservation_keys, reservation);

	if (r == 0)
		r = config_check_reservation(reader, config, element, reservation);
	if (r != 0) {
		free((void *)(uintptr_t)reservation->name);
		*reservation = (struct broker_reservation){0};
		return r;
	}
	config->broker.reservation_count++;
	return 0;
}

int config_read_reservations(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field)
{
	struct config *config = field;

	(void)key;
	config->broker.reservations = config->reservations;
	return json_read_array(reader, value,
		CONFIG_RESERVATIONS_MAX - config->broker.reservation_count, config_read_reservation,
		config);
}

static uint32_t config_least(uint32_t room, uint32_t limit)
{
	return limit != 0 && limit < room ? limit : room;
}

static int config_fail_reservation(
	struct json_reader *reader, uint32_t i, uint32_t wanted, uint32_t room)
{
	char path[48];

	(void)snprintf(path, sizeof(path), "reservations[%u].pasids", i);
	return config_fail_about(reader, path, NULL,
		"found %u, but %u are left of what the host may promise (namespace.capacity, "
		"limits.pasids.host, limits.promised_pasids.host) when those before are reserved",
		wanted, room);
}

int config_check_reservations(struct json_reader *reader, const struct config *config)
{
	const uint32_t numbers = PASID_LAST - config->broker.reserved_last;
	uint32_t room = config_least(config_least(numbers, config->broker.capacity),
		config->limits.of[RESOURCE_PROMISED].host);

	room = config_least(room, config->limits.of[RESOURCE_PASIDS].host);
	for (uint32_t i = 0; i < config->broker.reservation_count; i++) {
		const uint32_t wanted = config->reservations[i].pasids;

		if (wanted > room)
			return config_fail_reservation(reader, i, wanted, room);
		room -= wanted;
	}
	return 0;
}

void config_reservations_done(struct config *config)
{
	for (uint32_t i = 0; i < config->broker.reservation_count; i++)
		free((void *)(uintptr_t)config->reservations[i].name);
}
