/* SPDX-License-Identifier: MIT */
/*
 * The host as a tree: users, their sets, what each has. Data in, text or JSON out; pure. A number
 * takes 32 bytes here, so that a host that has granted all of them takes 32 MiB.
 */
#ifndef VIEW_TREE_H
#define VIEW_TREE_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "libpasid_types.h"
#include "view_text.h"

#define VIEW_TREE_NONE UINT32_MAX /* no guest PASID; no PASID */

struct view_grant {
	uint64_t set; /* 0, or one that is gone: only in quarantine */
	uint32_t pasid, guest, bindings, holds;
	uint8_t state; /* enum pasid_grant_state */
	bool tainted;
};

struct view_binding {
	uint64_t device;
	uint32_t pasid; /* VIEW_TREE_NONE: the RID */
	uint32_t guest;
	uint8_t state; /* enum pasid_binding_state */
};

/* What was read; the view sorts it in place. */
struct view_tree {
	const char *host; /* its name, and what there is to be said of the daemon */
	struct pasid_set_info *sets;
	size_t set_count;
	struct pasid_device_info *devices;
	size_t device_count;
	struct view_grant *grants;
	size_t grant_count;
	struct view_binding *bindings;
	size_t binding_count;
	bool all; /* each number by itself */
	/* The name of a user, or NULL. Valid until the next call. */
	const char *(*user)(uint32_t uid);
};

void view_tree_print(FILE *out, struct view_tree *tree, const struct view_look *look);
/* The same, nested; the caller owns it. */
json_t *view_tree_json(struct view_tree *tree);

#endif
