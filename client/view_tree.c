/* SPDX-License-Identifier: MIT */
#include "view_tree.h"

#include <stdlib.h>
#include <string.h>

#include "pasidctl_colour.h"
#include "view_tree_runs.h"

/* Runs of numbers that are shown of one set or device without --all. */
#define TREE_RUNS_MAX 8

#define TREE_DEPTH 8

/* Where the walk is: at each level, whether more comes behind. */
struct tree_out {
	FILE *to;
	const struct view_look *look;
	const struct view_tree *tree;
	unsigned depth;
	bool more[TREE_DEPTH];
};

/* The beginning of a line; `more`: another one of its level follows. */
static void tree_line(struct tree_out *out, bool more)
{
	bool utf8 = out->look->utf8;
	for (unsigned i = 0; i + 1 < out->depth; i++)
		fputs(out->more[i] ? (utf8 ? "\u2502  " : "|  ") : "   ", out->to);
	if (out->depth > 0) {
		out->more[out->depth - 1] = more;
		if (utf8)
			fputs(more ? "\u251c\u2500 " : "\u2514\u2500 ", out->to);
		else
			fputs(more ? "|- " : "`- ", out->to);
	}
}

static void tree_state(const struct tree_out *out, const char *state)
{
	enum colour colour = colour_of("state", state);
	fprintf(out->to, "%s%s%s", colour_start(colour), state, colour_end(colour));
}

/* ------------------------------------------------------------ numbers */

static void tree_run(struct tree_out *out, const struct view_run *run, bool more)
{
	tree_line(out, more);
	if (run->first == VIEW_TREE_NONE) {
		fputs("RID", out->to);
	} else {
		fputs("PASID ", out->to);
		view_range(out->to, run->first, run->last);
	}
	if (run->guest != VIEW_TREE_NONE)
		fprintf(out->to, " guest %u", run->guest);
	if (strcmp(run->state, "active") != 0) {
		fputc(' ', out->to);
		tree_state(out, run->state);
	}
	if (run->bound > 0)
		fprintf(out->to, ", %u bound", run->bound);
	if (run->held > 0)
		fprintf(out->to, ", %u held", run->held);
	fputc('\n', out->to);
}

/* The runs, or the first of them and how many more there are. `more`: other lines follow. */
static void tree_runs(struct tree_out *out, const struct view_runs *runs, bool more)
{
	size_t shown = runs->count, numbers = 0;
	if (!out->tree->all && shown > TREE_RUNS_MAX)
		shown = TREE_RUNS_MAX - 1;
	for (size_t i = 0; i < shown; i++)
		tree_run(out, &runs->runs[i], more || i + 1 < runs->count);
	if (shown == runs->count)
		return;
	for (size_t i = shown; i < runs->count; i++)
		numbers += runs->runs[i].last - runs->runs[i].first + 1;
	tree_line(out, more);
	view_count(out->to, numbers, "more number", "more numbers");
	fprintf(out->to, " in %zu ranges: --all shows them\n", runs->count - shown);
}

/* ------------------------------------------------------------ devices */

/* What a shared device serves: its slices have the bindings. */
static void tree_slices(struct tree_out *out, uint64_t shared)
{
	const struct pasid_device_info *devices = out->tree->devices;
	uint64_t slices = 0, bound = 0;
	for (size_t i = 0; i < out->tree->device_count; i++) {
		if (devices[i].kind != PASID_DEVICE_SLICE || devices[i].shared != shared)
			continue;
		slices++;
		bound += devices[i].bindings;
	}
	fputs(", ", out->to);
	view_count(out->to, slices, "slice", "slices");
	fprintf(out->to, ", %llu bound", (unsigned long long)bound);
}

static void tree_device(struct tree_out *out, const struct pasid_device_info *device, bool more)
{
	struct view_runs runs = view_runs_of_device(out->tree, device->id);
	tree_line(out, more);
	fprintf(out->to, "%s %s, device %llu", device->address, view_kind_text(device->kind),
		(unsigned long long)device->id);
	if (device->pasid_width > 0)
		fprintf(out->to, ", %u bits", device->pasid_width);
	if (device->kind == PASID_DEVICE_SHARED)
		tree_slices(out, device->id);
	else
		fprintf(out->to, ", %u bound", device->bindings);
	if (device->tainted) {
		fputs(", ", out->to);
		tree_state(out, "tainted");
	}
	fputc('\n', out->to);
	out->depth++;
	tree_runs(out, &runs, false);
	out->depth--;
	free(runs.runs);
}

/* The devices of a set; 0: those that the daemon shares. */
static void tree_devices(struct tree_out *out, uint64_t set)
{
	size_t first = view_first_device(out->tree, set), last = first;
	while (last < out->tree->device_count && out->tree->devices[last].set == set)
		last++;
	for (size_t i = first; i < last; i++)
		tree_device(out, &out->tree->devices[i], i + 1 < last);
}

static bool tree_has_devices(const struct view_tree *tree, uint64_t set)
{
	size_t first = view_first_device(tree, set);
	return first < tree->device_count && tree->devices[first].set == set;
}

/* ------------------------------------------------------------ sets and users */

static void tree_set(struct tree_out *out, const struct pasid_set_info *set, bool more)
{
	struct view_runs runs = view_runs_of_set(out->tree, set->id);
	tree_line(out, more);
	fprintf(out->to, "set %s (id:%llu) %s, %llu of ", set->name, (unsigned long long)set->id,
		view_mode_text(set->mode), (unsigned long long)set->pasids.current);
	view_count(out->to, set->pasids.limit, "PASID", "PASIDs");
	if (set->quarantined > 0)
		fprintf(out->to, ", %s%u in quarantine%s", colour_start(COLOUR_WARN),
			set->quarantined, colour_end(COLOUR_WARN));
	fprintf(out->to, ", %u bound%s\n", set->bindings, set->dying ? ", dying" : "");
	out->depth++;
	tree_runs(out, &runs, tree_has_devices(out->tree, set->id));
	tree_devices(out, set->id);
	out->depth--;
	free(runs.runs);
}

static void tree_user(struct tree_out *out, size_t first, size_t last, bool more)
{
	const struct pasid_set_info *sets = out->tree->sets;
	const char *name = out->tree->user != NULL ? out->tree->user(sets[first].uid) : NULL;
	uint64_t used = 0;
	for (size_t i = first; i < last; i++)
		used += sets[i].pasids.current;
	tree_line(out, more);
	fprintf(out->to, "user %s%s%u%s: ", name != NULL ? name : "", name != NULL ? " (" : "",
		sets[first].uid, name != NULL ? ")" : "");
	view_count(out->to, last - first, "set", "sets");
	fputs(", ", out->to);
	view_count(out->to, used, "PASID\n", "PASIDs\n");
	out->depth++;
	for (size_t i = first; i < last; i++)
		tree_set(out, &sets[i], i + 1 < last);
	out->depth--;
}

/* Numbers that rest and whose set is gone; shared devices. */
static void tree_rest(struct tree_out *out)
{
	struct view_runs runs = view_runs_of_none(out->tree);
	bool shared = tree_has_devices(out->tree, 0);
	if (runs.count > 0) {
		tree_line(out, shared);
		fputs("of sets that are gone\n", out->to);
		out->depth++;
		tree_runs(out, &runs, false);
		out->depth--;
	}
	if (shared) {
		tree_line(out, false);
		fputs("shared devices\n", out->to);
		out->depth++;
		tree_devices(out, 0);
		out->depth--;
	}
	free(runs.runs);
}

void view_tree_print(FILE *to, struct view_tree *tree, const struct view_look *look)
{
	struct tree_out out = {.to = to, .look = look, .tree = tree};
	view_tree_sort(tree);
	struct view_runs none = view_runs_of_none(tree);
	bool rest = none.count > 0 || tree_has_devices(tree, 0);
	free(none.runs);
	fprintf(to, "%s\n", tree->host);
	out.depth = 1;
	for (size_t first = 0, last; first < tree->set_count; first = last) {
		last = view_last_of_user(tree, first);
		tree_user(&out, first, last, last < tree->set_count || rest);
	}
	tree_rest(&out);
}
