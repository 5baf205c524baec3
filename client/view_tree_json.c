/* SPDX-License-Identifier: MIT */
/* The tree for programs. */
#include <stdlib.h>

#include "view_tree_runs.h"

static json_t *tree_integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *tree_run(const struct view_run *run, bool all)
{
	json_t *json = json_object();
	bool rid = run->first == VIEW_TREE_NONE;
	json_object_set_new(json, "first", rid ? json_null() : tree_integer(run->first));
	json_object_set_new(json, "last", rid ? json_null() : tree_integer(run->last));
	json_object_set_new(json, "count", tree_integer(rid ? 1 : run->last - run->first + 1));
	json_object_set_new(json, "state", json_string(run->state));
	if (all)
		json_object_set_new(json, "guest",
			run->guest != VIEW_TREE_NONE ? tree_integer(run->guest) : json_null());
	return json;
}

/* Takes the runs. `of_set`: says how many of each are bound and held. */
static json_t *tree_runs(const struct view_tree *tree, struct view_runs runs, bool of_set)
{
	json_t *array = json_array();
	for (size_t i = 0; i < runs.count; i++) {
		json_t *json = tree_run(&runs.runs[i], tree->all);
		if (of_set) {
			json_object_set_new(json, "bound", tree_integer(runs.runs[i].bound));
			json_object_set_new(json, "held", tree_integer(runs.runs[i].held));
		}
		json_array_append_new(array, json);
	}
	free(runs.runs);
	return array;
}

static json_t *tree_devices(const struct view_tree *tree, uint64_t set)
{
	json_t *array = json_array();
	for (size_t i = view_first_device(tree, set);
		i < tree->device_count && tree->devices[i].set == set; i++) {
		const struct pasid_device_info *device = &tree->devices[i];
		json_t *json = json_object();
		json_object_set_new(json, "id", tree_integer(device->id));
		json_object_set_new(json, "address", json_string(device->address));
		json_object_set_new(json, "kind", json_string(view_kind_text(device->kind)));
		json_object_set_new(json, "pasid_width", tree_integer(device->pasid_width));
		json_object_set_new(json, "tainted", json_boolean(device->tainted));
		json_object_set_new(json, "bindings", tree_integer(device->bindings));
		json_object_set_new(json, "bound",
			tree_runs(tree, view_runs_of_device(tree, device->id), false));
		json_array_append_new(array, json);
	}
	return array;
}

static json_t *tree_set(const struct view_tree *tree, const struct pasid_set_info *set)
{
	json_t *json = json_object();
	json_object_set_new(json, "id", tree_integer(set->id));
	json_object_set_new(json, "name", json_string(set->name));
	json_object_set_new(json, "mode", json_string(view_mode_text(set->mode)));
	json_object_set_new(json, "used", tree_integer(set->pasids.current));
	json_object_set_new(json, "quota", tree_integer(set->pasids.limit));
	json_object_set_new(json, "quarantined", tree_integer(set->quarantined));
	json_object_set_new(json, "bindings", tree_integer(set->bindings));
	json_object_set_new(json, "dying", json_boolean(set->dying));
	json_object_set_new(json, "pasids", tree_runs(tree, view_runs_of_set(tree, set->id), true));
	json_object_set_new(json, "devices", tree_devices(tree, set->id));
	return json;
}

static json_t *tree_user(const struct view_tree *tree, size_t first, size_t last)
{
	json_t *json = json_object(), *sets = json_array();
	uint32_t uid = tree->sets[first].uid;
	const char *name = tree->user != NULL ? tree->user(uid) : NULL;
	json_object_set_new(json, "uid", tree_integer(uid));
	json_object_set_new(json, "name", name != NULL ? json_string(name) : json_null());
	for (size_t i = first; i < last; i++)
		json_array_append_new(sets, tree_set(tree, &tree->sets[i]));
	json_object_set_new(json, "sets", sets);
	return json;
}

json_t *view_tree_json(struct view_tree *tree)
{
	json_t *json = json_object(), *users = json_array();
	view_tree_sort(tree);
	for (size_t first = 0, last; first < tree->set_count; first = last) {
		last = view_last_of_user(tree, first);
		json_array_append_new(users, tree_user(tree, first, last));
	}
	json_object_set_new(json, "users", users);
	json_object_set_new(json, "gone", tree_runs(tree, view_runs_of_none(tree), true));
	json_object_set_new(json, "shared_devices", tree_devices(tree, 0));
	return json;
}
