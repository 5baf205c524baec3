/* SPDX-License-Identifier: MIT */
/*
 * Another page table in the place of one that is attached.
 *
 * The kernel does it in one call, which on VT-d is a teardown and a set-up (trap 16): what fails
 * in between leaves the entry absent while the kernel believes the earlier table attached. An
 * attach of that one would do nothing then (trap 3); a detach and an attach mend it.
 */
#include "backend_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void backend_say_more(struct error *error, const char *more)
{
	size_t length = strlen(error->text);

	(void)snprintf(error->text + length, sizeof(error->text) - length, "; %s", more);
}

/*
 * Refused before the kernel touches the entry: no such page table, or a reset that goes on. In any
 * other case nobody can tell.
 */
static bool backend_untouched(int r)
{
	return r == -ENOENT || r == -EBUSY;
}

/* Puts the earlier table back; says in *result what stands there now. */
static void backend_repair(struct backend *b, struct backend_device *device,
	const struct hpasid *pasid, struct hw_result *result)
{
	struct backend_attachment *at = backend_attachment_find(device, pasid);
	struct backend_hwpt *made = at->made;
	int r;

	backend_be_patient(b);
	do
		r = b->calls->detach(b->ctx, device->fd, pasid);
	while (backend_again(b, r));
	if (r < 0) {
		at->doubtful = true;
		result->left = HW_LEFT_DOUBT;
		return;
	}
	do
		r = b->calls->attach(b->ctx, device->fd, at->pt_id, pasid);
	while (backend_again(b, r));
	if (r == 0) {
		backend_say_more(&result->error, "the earlier table is attached again");
		return;
	}
	result->left = HW_LEFT_NOTHING;
	backend_attachment_set(device, pasid, NULL);
	backend_hwpt_put(b, device, made);
}

static int backend_check_replace(const struct backend *b, struct backend_device *device,
	const struct hw_op *op, const struct hpasid *pasid, struct hw_result *result)
{
	const struct backend_attachment *at;
	int r = backend_check_pasid(device, pasid, &result->error);

	if (r)
		return r;
	at = backend_attachment_find(device, pasid);
	if (!at || at->doubtful) {
		result->left = HW_LEFT_DOUBT;
		return error_set(&result->error, REASON_NOT_BOUND,
			"the worker knows of nothing that it could replace");
	}
	/* A bad width would fail after the teardown (trap 16). */
	return backend_check_table(b, device, pasid, &op->table, &result->error);
}

int backend_replace(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct hw_result *result)
{
	const struct hpasid *pasid = op->has_pasid ? &op->pasid : NULL;
	struct backend_site site = {
		.call = pasid ? BACKEND_ATTACH : BACKEND_ATTACH_RID,
		.rid = device->rid,
		.pasid = pasid,
	};
	struct backend_attachment at = {.used = true, .pt_id = op->table.id};
	struct backend_hwpt *earlier;
	int r = backend_check_replace(b, device, op, pasid, result);

	if (r)
		return r;
	r = backend_table_get(b, device, op, &at.made, &result->error);
	if (r)
		return r;
	if (at.made)
		at.pt_id = at.made->id;
	do
		r = b->calls->attach(b->ctx, device->fd, at.pt_id, pasid);
	while (backend_again(b, r));
	if (r < 0) {
		site.id = at.pt_id;
		(void)backend_error(&result->error, &site, r);
		if (!backend_untouched(r))
			backend_repair(b, device, pasid, result);
		backend_hwpt_put(b, device, at.made);
		return (int)reason_status((enum reason)result->error.reason);
	}
	earlier = backend_attachment_find(device, pasid)->made;
	backend_attachment_set(device, pasid, &at);
	backend_hwpt_put(b, device, earlier);
	result->pt_id = at.pt_id;
	result->made_pt = at.made != NULL;
	backend_guest_tell(device, at.made, result);
	return 0;
}

void backend_look(struct backend_device *device, const struct hw_op *op, struct hw_result *result)
{
	const struct backend_attachment *at =
		backend_attachment_find(device, op->has_pasid ? &op->pasid : NULL);

	if (!at) {
		result->left = HW_LEFT_NOTHING;
		return;
	}
	result->left = at->doubtful ? HW_LEFT_DOUBT : HW_LEFT_EARLIER;
	result->pt_id = at->pt_id;
	result->made_pt = at->made != NULL;
	backend_guest_tell(device, at->made, result);
}
