/* SPDX-License-Identifier: MIT */
#include "view_tree_runs.h"

#include <stdlib.h>
#include <string.h>

#define NAME(names, value)                                                                         \
	((size_t)(value) < sizeof(names) / sizeof((names)[0]) ? (names)[value] : (names)[0])

static const char *const run_grants[] = {
	"unknown", "idle", "active", "free-pending", "quarantined"};
static const char *const run_bindings[] = {"unknown", "binding", "bound", "unbinding", "tainted"};
static const char *const run_modes[] = {"unknown", "translated", "identity", "guest-owned"};
static const char *const run_kinds[] = {"unknown", "exclusive", "shared", "slice"};

const char *view_mode_text(enum pasid_set_mode mode)
{
	return NAME(run_modes, mode);
}

const char *view_kind_text(enum pasid_device_kind kind)
{
	return NAME(run_kinds, kind);
}

/* ------------------------------------------------------------ in order */

static int run_compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int run_by_user(const void *one, const void *other)
{
	const struct pasid_set_info *a = one, *b = other;
	int order = run_compare(a->uid, b->uid);
	if (order == 0)
		order = strcmp(a->name, b->name);
	return order != 0 ? order : run_compare(a->id, b->id);
}

static int run_by_set(const void *one, const void *other)
{
	const struct pasid_device_info *a = one, *b = other;
	int order = run_compare(a->set, b->set);
	if (order == 0)
		order = strcmp(a->address, b->address);
	return order != 0 ? order : run_compare(a->id, b->id);
}

static int run_by_grant(const void *one, const void *other)
{
	const struct view_grant *a = one, *b = other;
	int order = run_compare(a->set, b->set);
	return order != 0 ? order : run_compare(a->pasid, b->pasid);
}

static int run_by_device(const void *one, const void *other)
{
	const struct view_binding *a = one, *b = other;
	int order = run_compare(a->device, b->device);
	return order != 0 ? order : run_compare(a->pasid, b->pasid);
}

static void run_sort(
	void *items, size_t count, size_t size, int (*order)(const void *one, const void *other))
{
	if (count > 1)
		qsort(items, count, size, order);
}

static bool run_is_set(const struct view_tree *tree, uint64_t id)
{
	for (size_t i = 0; i < tree->set_count; i++)
		if (tree->sets[i].id == id)
			return true;
	return false;
}

void view_tree_sort(struct view_tree *tree)
{
	uint64_t last = 0;
	bool is_set = false;
	run_sort(tree->sets, tree->set_count, sizeof(*tree->sets), run_by_user);
	run_sort(tree->devices, tree->device_count, sizeof(*tree->devices), run_by_set);
	run_sort(tree->bindings, tree->binding_count, sizeof(*tree->bindings), run_by_device);
	run_sort(tree->grants, tree->grant_count, sizeof(*tree->grants), run_by_grant);
	/* What belongs to no set that there is comes first. */
	for (size_t i = 0; i < tree->grant_count; i++) {
		if (i == 0 || tree->grants[i].set != last) {
			last = tree->grants[i].set;
			is_set = run_is_set(tree, last);
		}
		if (!is_set)
			tree->grants[i].set = 0;
	}
	run_sort(tree->grants, tree->grant_count, sizeof(*tree->grants), run_by_grant);
}

size_t view_last_of_user(const struct view_tree *tree, size_t first)
{
	size_t last = first + 1;
	while (last < tree->set_count && tree->sets[last].uid == tree->sets[first].uid)
		last++;
	return last;
}

size_t view_first_device(const struct view_tree *tree, uint64_t set)
{
	size_t i = 0;
	while (i < tree->device_count && tree->devices[i].set != set)
		i++;
	return i;
}

/* ------------------------------------------------------------ runs */

/* Goes on with the last run, or begins another one. */
static void run_add(struct view_runs *runs, const struct view_run *one, bool all)
{
	struct view_run *last = runs->count > 0 ? &runs->runs[runs->count - 1] : NULL;
	if (!all && last != NULL && one->first != VIEW_TREE_NONE && last->last + 1 == one->first &&
		strcmp(last->state, one->state) == 0) {
		last->last = one->last;
		last->bound += one->bound;
		last->held += one->held;
		return;
	}
	/* Room for twice as many each time that a power of two is reached. */
	if ((runs->count & (runs->count - 1)) == 0) {
		size_t room = runs->count > 0 ? runs->count * 2 : 1;
		struct view_run *more = realloc(runs->runs, room * sizeof(*more));
		if (more == NULL)
			abort();
		runs->runs = more;
	}
	runs->runs[runs->count++] = *one;
}

/* Where those of a set begin, by halves: there may be many of both. */
static size_t run_first_grant(const struct view_tree *tree, uint64_t set)
{
	size_t low = 0, high = tree->grant_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (tree->grants[middle].set < set)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t run_first_binding(const struct view_tree *tree, uint64_t device)
{
	size_t low = 0, high = tree->binding_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (tree->bindings[middle].device < device)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct view_runs view_runs_of_set(const struct view_tree *tree, uint64_t set)
{
	struct view_runs runs = {0};
	for (size_t i = run_first_grant(tree, set);
		i < tree->grant_count && tree->grants[i].set == set; i++) {
		const struct view_grant *grant = &tree->grants[i];
		struct view_run one = {.first = grant->pasid,
			.last = grant->pasid,
			.guest = tree->all ? grant->guest : VIEW_TREE_NONE,
			.bound = grant->bindings > 0,
			.held = grant->holds > 0,
			.state = grant->tainted ? "tainted" : NAME(run_grants, grant->state)};
		run_add(&runs, &one, tree->all);
	}
	return runs;
}

struct view_runs view_runs_of_none(const struct view_tree *tree)
{
	return view_runs_of_set(tree, 0);
}

struct view_runs view_runs_of_device(const struct view_tree *tree, uint64_t device)
{
	struct view_runs runs = {0};
	for (size_t i = run_first_binding(tree, device);
		i < tree->binding_count && tree->bindings[i].device == device; i++) {
		const struct view_binding *binding = &tree->bindings[i];
		struct view_run one = {.first = binding->pasid,
			.last = binding->pasid,
			.guest = tree->all ? binding->guest : VIEW_TREE_NONE,
			.state = NAME(run_bindings, binding->state)};
		run_add(&runs, &one, tree->all);
	}
	return runs;
}
