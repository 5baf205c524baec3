/* SPDX-License-Identifier: MIT */
/* tree and map: all of the host at a glance. Lists are read page by page into few bytes an entry.
 */
#include "pasidctl.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "view_map.h"
#include "view_tree.h"

/* ------------------------------------------------------------ progress */

#define PROGRESS_EVERY    1024u
#define PROGRESS_AFTER_MS 500

struct progress {
	const char *what;
	uint64_t count;
	int64_t begun_ms;
	bool shown;
};

static int64_t progress_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void progress_begin(struct progress *progress, const char *what)
{
	*progress = (struct progress){.what = what, .begun_ms = progress_now_ms()};
}

/* One more. Said on standard error when that is a terminal and it takes long. */
static void progress_step(struct progress *progress)
{
	if (++progress->count % PROGRESS_EVERY != 0 || isatty(STDERR_FILENO) == 0 ||
		progress_now_ms() - progress->begun_ms < PROGRESS_AFTER_MS)
		return;
	progress->shown = true;
	fprintf(stderr, "\r%llu %s read", (unsigned long long)progress->count, progress->what);
}

static void progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}

/* ------------------------------------------------------------ reading */

/* What is read for a tree; each array has room for a power of two. */
struct views_read {
	struct view_tree tree;
	struct progress progress;
};

/* The place of one more entry. */
static void *views_grow(void *items, size_t count, size_t size)
{
	if ((count & (count - 1)) == 0) {
		items = reallocarray(items, count > 0 ? count * 2 : 1, size);
		if (items == NULL)
			abort();
	}
	return items;
}

static int views_set(const struct pasid_set_info *info, void *userdata)
{
	struct view_tree *tree = &((struct views_read *)userdata)->tree;
	tree->sets = views_grow(tree->sets, tree->set_count, sizeof(*tree->sets));
	tree->sets[tree->set_count++] = *info;
	return 0;
}

static int views_device(const struct pasid_device_info *info, void *userdata)
{
	struct view_tree *tree = &((struct views_read *)userdata)->tree;
	tree->devices = views_grow(tree->devices, tree->device_count, sizeof(*tree->devices));
	tree->devices[tree->device_count++] = *info;
	return 0;
}

static int views_grant(const struct pasid_grant_info *info, void *userdata)
{
	struct views_read *read = userdata;
	struct view_tree *tree = &read->tree;
	tree->grants = views_grow(tree->grants, tree->grant_count, sizeof(*tree->grants));
	tree->grants[tree->grant_count++] = (struct view_grant){
		.set = info->set,
		.pasid = info->host_pasid,
		.guest = info->has_guest ? info->guest_pasid : VIEW_TREE_NONE,
		.bindings = info->bindings,
		.holds = info->holds,
		.state = (uint8_t)info->state,
		.tainted = strstr(info->quarantine, "tainted") != NULL,
	};
	progress_step(&read->progress);
	return 0;
}

static int views_binding(const struct pasid_binding_info *info, void *userdata)
{
	struct views_read *read = userdata;
	struct view_tree *tree = &read->tree;
	tree->bindings = views_grow(tree->bindings, tree->binding_count, sizeof(*tree->bindings));
	tree->bindings[tree->binding_count++] = (struct view_binding){
		.device = info->device,
		.pasid = info->has_pasid ? info->host_pasid : VIEW_TREE_NONE,
		.guest = info->has_guest ? info->guest_pasid : VIEW_TREE_NONE,
		.state = (uint8_t)info->state,
	};
	progress_step(&read->progress);
	return 0;
}

static void views_free(struct views_read *read)
{
	free(read->tree.sets);
	free(read->tree.devices);
	free(read->tree.grants);
	free(read->tree.bindings);
}

/* ------------------------------------------------------------ tree */

static const char *views_user(uint32_t uid)
{
	const struct passwd *entry = getpwuid(uid);
	return entry != NULL ? entry->pw_name : NULL;
}

/* Of all sets that there are, the one that is asked for. */
static void views_keep_set(struct view_tree *tree, const struct pasid_set_ref *set)
{
	size_t kept = 0;
	for (size_t i = 0; i < tree->set_count; i++)
		if (set->name != NULL ? strcmp(tree->sets[i].name, set->name) == 0
				      : tree->sets[i].id == set->id)
			tree->sets[kept++] = tree->sets[i];
	tree->set_count = kept;
}

/* A number that is freed meanwhile is in one list and not in the other: each is shown as it was. */
static int views_read_tree(struct ctl *ctl, struct views_read *read)
{
	struct pasid_list_args args = {.set = ctl->set, .quarantined = true};
	bool one = (ctl->given & CTL_SET) != 0;
	int r = pasid_set_list(ctl->client, NULL, views_set, read);
	if (r == 0)
		r = pasid_device_list(ctl->client, &args, views_device, read);
	progress_begin(&read->progress, "numbers");
	if (r == 0)
		r = pasid_grant_list(ctl->client, &args, views_grant, read);
	progress_end(&read->progress);
	progress_begin(&read->progress, "bindings");
	if (r == 0)
		r = pasid_binding_list(ctl->client, &args, views_binding, read);
	progress_end(&read->progress);
	if (one)
		views_keep_set(&read->tree, &ctl->set);
	return r;
}

static void views_host_line(char *line, size_t size, const struct pasid_host_status *status)
{
	char name[65] = "host";
	(void)gethostname(name, sizeof(name) - 1);
	snprintf(line, size, "%s: pasidd %s, %s, %llu of %llu PASIDs out, %llu in quarantine", name,
		status->version, status->backend, (unsigned long long)status->pasids.current,
		(unsigned long long)status->pasids.limit, (unsigned long long)status->quarantined);
}

static int ctl_tree(struct ctl *ctl)
{
	struct views_read read = {.tree.all = (ctl->given & CTL_ALL) != 0, .tree.user = views_user};
	struct view_look look = view_look_here();
	struct pasid_host_status status;
	char line[256];
	int r = pasid_status(ctl->client, &status);
	if (r == 0)
		r = views_read_tree(ctl, &read);
	if (r == 0 && ctl->json) {
		ctl->answer = view_tree_json(&read.tree);
	} else if (r == 0) {
		views_host_line(line, sizeof(line), &status);
		read.tree.host = line;
		view_tree_print(stdout, &read.tree, &look);
	}
	views_free(&read);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}

/* ------------------------------------------------------------ map */

/* What is marked: everything, or what a device's tables have. */
struct views_map {
	struct view_map map;
	struct progress progress;
	bool one;       /* of one device: */
	uint32_t group; /* its IOMMU group, for numbers of scope rids */
	bool has_group;
	uint64_t device; /* by id; 0: */
	const char *address;
	char full[64]; /* with its segment */
	bool refused;  /* said already */
};

static bool views_is_there(const struct views_map *view, const struct pasid_grant_info *info)
{
	if (!view->one)
		return true;
	for (uint32_t i = 0; view->has_group && i < info->group_count; i++)
		if (info->groups[i] == view->group)
			return true;
	return false;
}

static int views_mark_grant(const struct pasid_grant_info *info, void *userdata)
{
	struct views_map *view = userdata;
	unsigned marks = info->bindings > 0 ? VIEW_MAP_USED | VIEW_MAP_BOUND : VIEW_MAP_USED;
	progress_step(&view->progress);
	if (!views_is_there(view, info))
		return 0;
	if (info->state == PASID_GRANT_QUARANTINED)
		marks = VIEW_MAP_RESTS;
	if (strstr(info->quarantine, "tainted") != NULL)
		marks |= VIEW_MAP_TAINTED;
	view_map_mark(&view->map, info->host_pasid, marks);
	return 0;
}

static int views_mark_binding(const struct pasid_binding_info *info, void *userdata)
{
	struct views_map *view = userdata;
	progress_step(&view->progress);
	if (info->has_pasid)
		view_map_mark(&view->map, info->host_pasid,
			info->state == PASID_BINDING_TAINTED ? VIEW_MAP_TAINTED
							     : VIEW_MAP_USED | VIEW_MAP_BOUND);
	return 0;
}

/* Finds the function that --device names, and its group. */
static int views_find_device(const struct pasid_device_info *info, void *userdata)
{
	struct views_map *view = userdata;
	bool same = view->device != 0 ? info->id == view->device
				      : strcmp(info->address, view->address) == 0;
	if (same) {
		view->has_group = true;
		view->group = info->group;
	}
	return 0;
}

/* The numbers that are somebody's in that device's table: of scope rids, or bound. */
static int views_map_device(struct ctl *ctl, struct views_map *view)
{
	struct pasid_list_args args = {.device = view->device, .address = view->address};
	int r = pasid_device_list(ctl->client, NULL, views_find_device, view);
	if (r == 0 && !view->has_group) {
		struct pasid_error error = {.code = PASID_NOT_FOUND, .reason = "no-device"};
		snprintf(error.message, sizeof(error.message),
			"no device %.32s is registered; see pasidctl devices", ctl->device);
		ctl_print_error(ctl, &error);
		view->refused = true;
		return error.code;
	}
	return r == 0 ? pasid_binding_list(ctl->client, &args, views_mark_binding, view) : r;
}

static int views_read_map(struct ctl *ctl, struct views_map *view)
{
	struct pasid_list_args args = {.quarantined = true};
	struct pasid_host_status status;
	int r = pasid_status(ctl->client, &status);
	if (r != 0)
		return r;
	view_map_mark(&view->map, 0, VIEW_MAP_RESERVED); /* never granted */
	/* In the table of one device they are granted as well, of scope rids. */
	for (uint32_t i = status.reserved_first;
		!view->one && i <= status.reserved_last && i <= PASID_MAX; i++)
		view_map_mark(&view->map, i, VIEW_MAP_RESERVED);
	progress_begin(&view->progress, "numbers");
	if (view->one)
		r = views_map_device(ctl, view);
	if (r == 0)
		r = pasid_grant_list(ctl->client, &args, views_mark_grant, view);
	progress_end(&view->progress);
	return r;
}

static bool views_map_args(struct ctl *ctl, struct views_map *view)
{
	view->map.last = PASID_MAX;
	if ((ctl->given & CTL_RANGE) &&
		!view_parse_range(ctl->range, &view->map.first, &view->map.last)) {
		ctl_usage("--range is FIRST-LAST, such as 1024-2047, within 0-%u", PASID_MAX);
		return false;
	}
	view->one = (ctl->given & CTL_DEVICE) != 0;
	if (view->one && strchr(ctl->device, ':') == NULL)
		return ctl_number(ctl->device, "--device", UINT64_MAX, &view->device);
	if (view->one) { /* the segment may be left out when it is 0 */
		bool whole = strchr(strchr(ctl->device, ':') + 1, ':') != NULL;
		snprintf(view->full, sizeof(view->full), "%s%s", whole ? "" : "0000:", ctl->device);
		view->address = view->full;
	}
	return true;
}

static int ctl_occupancy(struct ctl *ctl)
{
	struct views_map view = {0};
	struct view_look look = view_look_here();
	if (!views_map_args(ctl, &view))
		return EXIT_USAGE;
	view.map.marks = calloc(VIEW_MAP_NUMBERS, 1);
	if (view.map.marks == NULL)
		abort();
	int r = views_read_map(ctl, &view);
	if (r == 0 && ctl->json)
		ctl->answer = view_map_json(&view.map);
	else if (r == 0)
		view_map_print(stdout, &view.map, &look);
	free(view.map.marks);
	if (r == 0)
		return EXIT_DONE;
	return view.refused ? EXIT_REFUSED : ctl_failed(ctl, r);
}

/* ------------------------------------------------------------ the commands */

static const struct ctl_command commands[] = {
	{.name = "tree",
		.arguments = "[--set NAME] [--all]",
		.summary = "users, their sets, devices and numbers as a tree",
		.help = "Numbers in a row that are in the same state are one line, and of many such "
			"lines the first few\nare shown; --all shows each number with its guest's. "
			"--set shows one set.\n\nExamples:\n  pasidctl tree\n  pasidctl tree --set "
			"vm1 --all\n  pasidctl --json tree | jq '.users[].sets[].name'\n",
		.options = CTL_SET | CTL_ALL,
		.roles = {PASID_ROLE_OBSERVER, PASID_ROLE_VMM},
		.run = ctl_tree},
	{.name = "map",
		.arguments = "[--range FIRST-LAST] [--device DEVICE]",
		.summary = "the whole namespace at a glance: what of it is in use",
		.help = "A grid of all 2^20 numbers, or of a range of them. A cell stands for several "
			"numbers, the first\nline says for how many, and shows what stands out most "
			"in them: a tainted number, one in\nquarantine, the share that is in use. "
			"--device shows what is bound on a function, or a\nregistration by its id, "
			"and the numbers of scope rids that are somebody's there. (Memory is mapped\n"
			"with `pasidctl memory map`.)\n\nWith --json runs of numbers that are in the same state; what is in "
			"no run is free.\n\nExamples:\n  pasidctl map\n  pasidctl map --range 1024-2047\n"
			"  pasidctl map --device 0000:3b:00.0\n",
		.options = CTL_RANGE | CTL_DEVICE,
		.roles = {PASID_ROLE_OBSERVER, PASID_ROLE_VMM},
		.run = ctl_occupancy},
};
const struct ctl_group ctl_view_commands = {commands, ARRAY_SIZE(commands)};
