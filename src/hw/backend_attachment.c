/* SPDX-License-Identifier: MIT */
#include "backend_state.h"

#include <assert.h>
#include <stdlib.h>

static struct backend_leaf **backend_attachment_leaf(
	struct backend_device *device, const struct hpasid *pasid)
{
	assert(pasid->v < PASID_COUNT);
	return &device->leaf[pasid->v / BACKEND_LEAF];
}

struct backend_attachment *backend_attachment_find(
	struct backend_device *device, const struct hpasid *pasid)
{
	struct backend_attachment *at = &device->at_rid;

	if (pasid) {
		struct backend_leaf *leaf = *backend_attachment_leaf(device, pasid);

		if (!leaf)
			return NULL;
		at = &leaf->at[pasid->v % BACKEND_LEAF];
	}
	return at->used ? at : NULL;
}

struct backend_attachment *backend_attachment_reserve(
	struct backend_device *device, const struct hpasid *pasid)
{
	struct backend_leaf **leaf;

	if (!pasid)
		return &device->at_rid;
	leaf = backend_attachment_leaf(device, pasid);
	if (!*leaf)
		*leaf = calloc(1, sizeof(**leaf));
	return *leaf ? &(*leaf)->at[pasid->v % BACKEND_LEAF] : NULL;
}

static void backend_attachment_set_pasid(
	struct backend_leaf **leaf, uint32_t index, const struct backend_attachment *at)
{
	struct backend_attachment *place = &(*leaf)->at[index];

	if (at && !place->used)
		(*leaf)->used++;
	else if (!at && place->used)
		(*leaf)->used--;
	*place = at ? *at : (struct backend_attachment){0};
	if ((*leaf)->used == 0) {
		free(*leaf);
		*leaf = NULL;
	}
}

void backend_attachment_set(struct backend_device *device, const struct hpasid *pasid,
	const struct backend_attachment *at)
{
	if (pasid)
		backend_attachment_set_pasid(
			backend_attachment_leaf(device, pasid), pasid->v % BACKEND_LEAF, at);
	else
		device->at_rid = at ? *at : (struct backend_attachment){0};
}

bool backend_attachment_next(struct backend_device *device, struct hpasid *pasid)
{
	for (uint32_t v = pasid->v; v < PASID_COUNT; v++) {
		const struct backend_leaf *leaf = device->leaf[v / BACKEND_LEAF];

		if (!leaf) {
			v |= BACKEND_LEAF - 1;
		} else if (leaf->at[v % BACKEND_LEAF].used) {
			pasid->v = v;
			return true;
		}
	}
	return false;
}
