/* SPDX-License-Identifier: MIT */
/* Inside the tree's view: what was read, in order, and numbers that are alike as runs. */
#ifndef VIEW_TREE_RUNS_H
#define VIEW_TREE_RUNS_H

#include "view_tree.h"

/* Numbers in a row that are in the same state. */
struct view_run {
	uint32_t first, last; /* VIEW_TREE_NONE: the RID */
	uint32_t guest;       /* of a single number, with `all`; else VIEW_TREE_NONE */
	uint32_t bound, held; /* how many of them */
	const char *state;
};

struct view_runs {
	struct view_run *runs; /* to be freed */
	size_t count;
};

/* Sets by user and name, everything else by what it belongs to. */
void view_tree_sort(struct view_tree *tree);
/* The end of the sets of the user of the set at `first`. */
size_t view_last_of_user(const struct view_tree *tree, size_t first);
/* Where the devices of a set begin, 0: shared ones; the end of all when it has none. */
size_t view_first_device(const struct view_tree *tree, uint64_t set);

struct view_runs view_runs_of_set(const struct view_tree *tree, uint64_t set);
/* What is bound on a device. */
struct view_runs view_runs_of_device(const struct view_tree *tree, uint64_t device);
/* Of sets that are gone. */
struct view_runs view_runs_of_none(const struct view_tree *tree);

const char *view_mode_text(enum pasid_set_mode mode);
const char *view_kind_text(enum pasid_device_kind kind);

#endif
