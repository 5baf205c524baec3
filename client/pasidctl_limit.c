/* SPDX-License-Identifier: MIT */
/* status --limits: what is limited, how far it is used, and what sets the limit. */
#include "pasidctl.h"

static const struct ctl_column limit_columns[] = {
	{"LEVEL", "level"},
	{"UID", "uid"},
	{"SET", "set"},
	{"RESOURCE", "resource"},
	{"CURRENT", "current"},
	{"LIMIT", "limit"},
	{"PEAK", "peak"},
	{"HITS", "hits"},
	{"KEY", "key"},
	{0},
};

/* In the order in which they are shown. */
enum { LIMIT_HOST, LIMIT_USERS, LIMIT_SETS, LIMIT_RESERVATIONS, LIMIT_UNKNOWN, LIMIT_LEVELS };
static const char *const limit_levels[] = {"host", "user", "set", "reservation", "unknown"};

struct limit_walk {
	bool all;
	json_t *levels[LIMIT_LEVELS];
};

static unsigned limit_place(enum pasid_limit_level level)
{
	return level >= PASID_LIMIT_HOST && level <= PASID_LIMIT_RESERVATION
		       ? (unsigned)(level - PASID_LIMIT_HOST)
		       : LIMIT_UNKNOWN;
}

static json_t *limit_json(const struct pasid_limit_info *info)
{
	bool is_set = info->level == PASID_LIMIT_SET;
	bool is_reserved = info->level == PASID_LIMIT_RESERVATION;
	json_t *json = json_object(), *use = ctl_json_counter(&info->use);
	json_object_set_new(json, "level", json_string(limit_levels[limit_place(info->level)]));
	json_object_set_new(json, "uid",
		info->level == PASID_LIMIT_HOST ? json_null() : json_integer(info->uid));
	json_object_set_new(
		json, "set_id", is_set ? json_integer((json_int_t)info->set) : json_null());
	json_object_set_new(
		json, "set", is_set || is_reserved ? json_string(info->set_name) : json_null());
	json_object_set_new(json, "resource", json_string(info->resource));
	json_object_update(json, use);
	if (info->use.limit == 0)
		json_object_set_new(json, "limit", json_null());
	json_object_set_new(json, "key", json_string(info->key));
	if (is_reserved)
		json_object_set_new(json, "aside", json_integer((json_int_t)info->aside));
	json_decref(use);
	return json;
}

static int limit_read(const struct pasid_limit_info *info, void *userdata)
{
	struct limit_walk *walk = userdata;
	if (!walk->all && info->use.current == 0 && info->use.hits == 0 &&
		info->level != PASID_LIMIT_RESERVATION)
		return 0;
	return json_array_append_new(walk->levels[limit_place(info->level)], limit_json(info));
}

int ctl_limits(struct ctl *ctl)
{
	struct pasid_list_args args = {.set = ctl->set};
	struct limit_walk walk = {.all = (ctl->given & CTL_ALL) != 0};
	for (size_t i = 0; i < LIMIT_LEVELS; i++)
		walk.levels[i] = json_array();
	ctl->answer = json_array();
	ctl->columns = limit_columns;
	int r = pasid_limit_list(ctl->client, &args, limit_read, &walk);
	for (size_t i = 0; i < LIMIT_LEVELS; i++) {
		json_array_extend(ctl->answer, walk.levels[i]);
		json_decref(walk.levels[i]);
	}
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}
