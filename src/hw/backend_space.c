/* SPDX-License-Identifier: MIT */
/*
 * Address spaces of one device, and what is mapped in them.
 *
 * The kernel keeps some hundred bytes for each mapping, as long as it lasts, and limits their
 * number by nothing. So they are counted here, by where they begin: an unmap takes whole ones only.
 */
#include "backend_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPACE_MAPPINGS_FIRST 16u /* room for so many; doubled as needed */

struct backend_space *backend_space_find(
	const struct backend_device *device, uint64_t owner, uint32_t number)
{
	struct backend_space *space = device->spaces;

	while (space && (space->owner != owner || space->number != number))
		space = space->next;
	return space;
}

static int space_new(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct backend_space **ret_space, struct error *ret_error)
{
	struct backend_space *space;
	int r;

	if (device->space_count >= BACKEND_SPACES_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, op->rid.v, BACKEND_SPACES_MAX,
			device->space_count, "a device has at most %d address spaces",
			BACKEND_SPACES_MAX);
	space = calloc(1, sizeof(*space));
	if (!space)
		return error_set(ret_error, REASON_NO_MEMORY, "no memory for an address space");
	r = b->calls->ioas_alloc(b->ctx, device->iommufd->fd, &space->ioas);
	if (r < 0) {
		free(space);
		return backend_fail(ret_error, device, BACKEND_IOAS_ALLOC, 0, r);
	}
	space->owner = op->owner;
	space->number = op->space;
	space->next = device->spaces;
	device->spaces = space;
	device->space_count++;
	*ret_space = space;
	return 0;
}

static void space_free(struct backend_space *space)
{
	free(space->starts);
	free(space);
}

int backend_space_drop(
	struct backend *b, struct backend_device *device, struct backend_space *space)
{
	struct backend_space **link = &device->spaces;
	int r = b->calls->destroy(b->ctx, device->iommufd->fd, space->ioas);

	if (r < 0 && r != -ENOENT)
		return r;
	while (*link != space)
		link = &(*link)->next;
	*link = space->next;
	device->space_count--;
	space_free(space);
	return 0;
}

void backend_space_forget_all(struct backend_device *device)
{
	while (device->spaces) {
		struct backend_space *next = device->spaces->next;

		space_free(device->spaces);
		device->spaces = next;
	}
}

/* --- mappings --- */

/* Of an owner, in all its address spaces of the device. */
static uint32_t mappings_count(const struct backend_device *device, uint64_t owner)
{
	uint32_t count = 0;

	for (const struct backend_space *space = device->spaces; space; space = space->next)
		count += space->owner == owner ? space->mappings : 0;
	return count;
}

/* The place of the first that begins there or above. */
static uint32_t mappings_from(const struct backend_space *space, uint64_t start)
{
	uint32_t low = 0, high = space->mappings;

	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;

		if (space->starts[middle] < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Makes sure that one more can be noted. */
static int mappings_reserve(
	const struct backend_device *device, struct backend_space *space, struct error *ret_error)
{
	const uint32_t room = space->room ? space->room * 2 : SPACE_MAPPINGS_FIRST;
	const uint32_t count = mappings_count(device, space->owner);
	uint64_t *starts;

	if (count >= BACKEND_MAPPINGS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, device->rid.v, BACKEND_MAPPINGS_MAX,
			count,
			"a set maps at most %u pieces of memory for a device; map larger ones, or "
			"unmap some",
			BACKEND_MAPPINGS_MAX);
	if (space->mappings < space->room)
		return 0;
	starts = realloc(space->starts, room * sizeof(*starts));
	if (!starts)
		return error_set(ret_error, REASON_NO_MEMORY, "no memory for another mapping");
	space->starts = starts;
	space->room = room;
	return 0;
}

static void mappings_add(struct backend_space *space, uint64_t start)
{
	const uint32_t at = mappings_from(space, start);

	memmove(&space->starts[at + 1], &space->starts[at],
		(space->mappings - at) * sizeof(space->starts[0]));
	space->starts[at] = start;
	space->mappings++;
}

/* All that begin in the range, which is what the kernel took out. */
static void mappings_remove(struct backend_space *space, uint64_t start, uint64_t length)
{
	const uint64_t last = start + length - 1;
	const uint32_t at = mappings_from(space, start);
	const uint32_t end = last == UINT64_MAX ? space->mappings : mappings_from(space, last + 1);

	memmove(&space->starts[at], &space->starts[end],
		(space->mappings - end) * sizeof(space->starts[0]));
	space->mappings -= end - at;
}

/* --- operations --- */

static int space_map(struct backend *b, const struct backend_device *device,
	struct backend_space *space, const struct hw_op *op, int memfd, struct error *ret_error)
{
	int r = mappings_reserve(device, space, ret_error);

	if (r)
		return r;
	r = b->calls->map_file(b->ctx, device->iommufd->fd, space->ioas, memfd, op->offset,
		op->length, op->iova, op->map_flags);
	if (r < 0)
		return backend_fail(ret_error, device, BACKEND_MAP, space->ioas, r);
	mappings_add(space, op->iova);
	return 0;
}

int backend_map(struct backend *b, struct backend_device *device, const struct hw_op *op, int memfd,
	struct error *ret_error)
{
	struct backend_space *space = backend_space_find(device, op->owner, op->space);
	bool fresh = !space;
	int r = b->calls->check_memory(b->ctx, memfd, op, ret_error);

	if (r)
		return r;
	if (fresh) {
		r = space_new(b, device, op, &space, ret_error);
		if (r)
			return r;
	}
	assert(space);
	space->left = false;
	r = space_map(b, device, space, op, memfd, ret_error);
	if (r && fresh)
		(void)backend_space_drop(b, device, space); /* if not now, then with the device */
	return r;
}

int backend_unmap(struct backend *b, struct backend_device *device, const struct hw_op *op,
	struct error *ret_error)
{
	struct backend_space *space = backend_space_find(device, op->owner, op->space);
	int r;

	if (!space)
		return error_set(ret_error, REASON_NOT_MAPPED,
			"nothing was ever mapped in address space %u", op->space);
	r = b->calls->unmap(b->ctx, device->iommufd->fd, space->ioas, op->iova, op->length);
	if (r < 0)
		return backend_fail(ret_error, device, BACKEND_UNMAP, space->ioas, r);
	mappings_remove(space, op->iova, op->length);
	return 0;
}
