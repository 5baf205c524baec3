/* SPDX-License-Identifier: MIT */
/*
 * The parts of the settings that are lists: roles, devices, the simulated devices, the limits. Of
 * config.c only.
 */
#ifndef PASIDD_CONFIG_RULES_H
#define PASIDD_CONFIG_RULES_H

#include "config_json.h"

/* Readers for tables of keys; the field is the whole struct config. */
int config_read_devices(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
int config_read_sim_devices(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* The field is a struct policy_who, which is replaced. */
int config_read_who(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* A group by name or number, or null for none; the field is a struct config_socket. */
int config_read_socket_group(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* The section "limits"; the field is the whole struct config. */
int config_read_limits(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* The field is the whole struct config. */
int config_read_reservations(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* Whether there is so much that could be reserved. */
int config_check_reservations(struct json_reader *reader, const struct config *config);
void config_reservations_done(struct config *config);
/* A user by name or number. */
int config_read_user(struct json_reader *reader, const json_t *value, uint32_t *ret_uid);
/* What no single key of it can see. */
int config_check_limits(struct json_reader *reader, const struct config *config);
/* A text, or null for none; the field is a char * that owns it. */
int config_read_path(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* The same, and the text is an absolute path. */
int config_read_absolute(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);
/* "0660"; the field is a uint32_t. */
int config_read_mode(
	struct json_reader *reader, const json_t *value, const struct json_key *key, void *field);

/* Everything that can be set; config.c has the table. */
extern const struct json_key config_keys[];
/* All of it, with numbers for users and groups. NULL: no memory. */
json_t *config_write_json(const struct config *config);

/* Makes a list that allows two users. Returns 0 or -ENOMEM. */
int config_who_init(struct policy_who *who, uint32_t uid, uint32_t other_uid);
void config_who_done(struct policy_who *who);
/* Frees the rules about cgroups. */
void config_cgroups_done(struct policy *policy);

#endif
