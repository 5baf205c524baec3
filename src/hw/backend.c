/* SPDX-License-Identifier: MIT */
/* Operations, devices and descriptors of a lane; what is on a device is in backend_table.c. */
#include "backend.h"

#include "backend_state.h"
#include "probe.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int backend_new(const struct calls *calls, void *ctx, struct backend **ret_backend)
{
	struct backend *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->calls = calls;
	b->ctx = ctx;
	*ret_backend = b;
	return 0;
}

static uint64_t backend_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void backend_be_patient(struct backend *b)
{
	b->until_ms = backend_now_ms() + BACKEND_REPAIR_MS;
}

bool backend_again(const struct backend *b, int r)
{
	const struct timespec pause = {.tv_nsec = BACKEND_PAUSE_MS * 1000000L};

	if (r != -EBUSY || backend_now_ms() >= b->until_ms)
		return false;
	(void)nanosleep(&pause, NULL);
	return true;
}

/* --- descriptors on their way in: what no handler took is closed --- */

struct backend_fds {
	struct backend *b;
	int fd[HW_FDS_MAX];
};

static void backend_fds_cleanup(struct backend_fds *fds)
{
	for (size_t i = 0; i < HW_FDS_MAX; i++)
		if (fds->fd[i] >= 0)
			fds->b->calls->close(fds->b->ctx, fds->fd[i]);
}

/* The close of what may be anything is not for us: it could keep the lane as long as it likes. */
static void backend_fds_return(struct backend_fds *fds, struct hw_result *result)
{
	result->fd_count = 0;
	for (size_t i = 0; i < HW_FDS_MAX; i++)
		if (fds->fd[i] >= 0)
			result->fds[result->fd_count++] = TAKE_FD(fds->fd[i]);
}

/* --- iommufds --- */

/* Closes it with its last device. */
static void backend_iommufd_put(struct backend *b, struct backend_iommufd *iommufd)
{
	struct backend_iommufd **link = &b->iommufds;

	if (!iommufd || --iommufd->refs > 0)
		return;
	while (*link != iommufd)
		link = &(*link)->next;
	*link = iommufd->next;
	backend_guest_forget_all(iommufd);
	b->calls->close(b->ctx, iommufd->fd);
	free(iommufd);
}

/* Takes *fd, when memory suffices. The caller gets a reference. */
static struct backend_iommufd *backend_iommufd_add(struct backend *b, int *fd, bool own)
{
	struct backend_iommufd *iommufd = calloc(1, sizeof(*iommufd));

	if (!iommufd)
		return NULL;
	iommufd->fd = TAKE_FD(*fd);
	iommufd->own = own;
	iommufd->refs = 1;
	iommufd->next = b->iommufds;
	b->iommufds = iommufd;
	return iommufd;
}

/* The VMM's iommufd: one that is known already is used, and *fd left to be closed. */
static int backend_iommufd_take(
	struct backend *b, int *fd, struct backend_iommufd **ret_iommufd, struct error *ret_error)
{
	struct backend_iommufd *iommufd;
	int r = b->calls->check_iommufd(b->ctx, *fd, ret_error);

	if (r)
		return r;
	for (iommufd = b->iommufds; iommufd; iommufd = iommufd->next) {
		r = b->calls->same_file(b->ctx, iommufd->fd, *fd);
		if (r < 0)
			return error_set(ret_error, REASON_INTERNAL,
				"the kernel cannot compare open files (kcmp): %s", strerror(-r));
		if (r > 0 && iommufd->own)
			return error_set(ret_error, REASON_FD_FOREIGN, "that iommufd is pasidd's");
		if (r > 0) {
			iommufd->refs++;
			*ret_iommufd = iommufd;
			return 0;
		}
	}
	*ret_iommufd = backend_iommufd_add(b, fd, false);
	if (!*ret_iommufd)
		return error_set(ret_error, REASON_NO_MEMORY, "no memory for an iommufd");
	return 0;
}

/* The lane's own iommufd, opened with its first shared device. */
static int backend_iommufd_own(
	struct backend *b, struct backend_iommufd **ret_iommufd, struct error *ret_error)
{
	const struct backend_site site = {.call = BACKEND_OPEN_IOMMUFD};
	struct backend_iommufd *iommufd = b->iommufds;
	struct backend_fds opened = {.b = b, .fd = {-1, -1}};
	int r;

	while (iommufd && !iommufd->own)
		iommufd = iommufd->next;
	if (iommufd) {
		iommufd->refs++;
		*ret_iommufd = iommufd;
		return 0;
	}
	r = b->calls->open_iommufd(b->ctx, &opened.fd[0]);
	if (r < 0)
		return backend_error(ret_error, &site, r);
	*ret_iommufd = backend_iommufd_add(b, &opened.fd[0], true);
	if (*ret_iommufd)
		return 0;
	backend_fds_cleanup(&opened);
	return error_set(ret_error, REASON_NO_MEMORY, "no memory for an iommufd");
}

/* --- devices --- */

static struct backend_device **backend_device_find(struct backend *b, uint32_t handle)
{
	for (size_t i = 0; i < BACKEND_DEVICES_MAX; i++)
		if (b->devices[i] && b->devices[i]->handle == handle)
			return &b->devices[i];
	return NULL;
}

/* Lets go of the descriptors and the memory, without a detach. The device first: it pins the
 * iommufd. */
static void backend_device_drop(struct backend *b, struct backend_device *device)
{
	if (device->removal_fd >= 0)
		(void)close(device->removal_fd);
	if (device->fd >= 0)
		b->calls->close(b->ctx, device->fd);
	backend_forget(device);
	backend_iommufd_put(b, device->iommufd);
	free(device);
}

/* Takes the device's descriptor from those of the operation, or opens it, and learns what it is. */
static int backend_device_take(struct backend *b, struct backend_device *device,
	const struct hw_op *op, struct backend_fds *fds, struct error *ret_error)
{
	const struct backend_site site = {.call = BACKEND_OPEN_DEVICE, .rid = op->rid};
	struct calls_node node = {0};
	bool passed = op->fd_count == 2;
	int r;

	if (!passed) {
		r = b->calls->open_device(b->ctx, op->rid, &device->fd);
		if (r < 0)
			return backend_error(ret_error, &site, r);
	}
	r = b->calls->check_device(b->ctx, passed ? fds->fd[1] : device->fd, &node, ret_error);
	if (r)
		return r;
	if (!passed && node.rid.v != op->rid.v)
		return error_set(ret_error, REASON_NO_DEVICE,
			"the node that was opened belongs to another function");
	if (passed)
		device->fd = TAKE_FD(fds->fd[1]);
	device->rid = node.rid;
	device->group = node.group;
	return 0;
}

/* Fills the descriptors of a new device from those of the operation, or opens them. */
static int backend_device_fill(struct backend *b, struct backend_device *device,
	const struct hw_op *op, struct backend_fds *fds, struct error *ret_error)
{
	int r;

	if (op->fd_count > 0)
		r = backend_iommufd_take(b, &fds->fd[0], &device->iommufd, ret_error);
	else
		r = backend_iommufd_own(b, &device->iommufd, ret_error);
	if (r)
		return r;
	r = backend_device_take(b, device, op, fds, ret_error);
	if (r)
		return r;
	device->hand_back = op->fd_count == 1;
	device->ours = op->fd_count == 0;
	return 0;
}

/* What a device is; of its iommufd the descriptor, which the other side makes a key of. */
static void backend_tell(const struct backend_device *device, struct hw_result *result)
{
	result->rid = device->rid;
	result->group = device->group;
	result->iommufd_key = (uint64_t)device->iommufd->fd;
	result->dev_id = device->dev_id;
	backend_guest_tell(device, device->at_rid.made, result);
}

static int backend_identify(struct backend *b, const struct hw_op *op, struct backend_fds *fds,
	struct hw_result *result)
{
	struct backend_device **place = NULL, *device;
	int r;

	for (size_t i = 0; i < BACKEND_DEVICES_MAX && !place; i++)
		if (!b->devices[i])
			place = &b->devices[i];
	if (backend_device_find(b, op->device))
		return error_set(&result->error, REASON_INTERNAL, "this device handle is in use");
	if (!place)
		return error_set_limit(&result->error, REASON_LIMIT, op->lane, BACKEND_DEVICES_MAX,
			BACKEND_DEVICES_MAX, "a set has at most %d devices", BACKEND_DEVICES_MAX);
	device = calloc(1, sizeof(*device));
	if (!device)
		return error_set(&result->error, REASON_NO_MEMORY, "no memory for a device");
	device->fd = device->removal_fd = -1;
	device->handle = op->device;
	r = backend_device_fill(b, device, op, fds, &result->error);
	if (r) {
		backend_device_drop(b, device);
		return r;
	}
	*place = device;
	backend_tell(device, result);
	return 0;
}

/* A device without a request interrupt is none that somebody unplugs. */
static int backend_watch(struct backend *b, struct backend_device *device, struct error *ret_error)
{
	const struct backend_site site = {.call = BACKEND_WATCH, .rid = device->rid};
	int r;

	if (!device->ours || device->removal_fd >= 0)
		return 0;
	r = b->calls->watch_removal(b->ctx, device->fd, &device->removal_fd);
	return r < 0 && r != -EINVAL && r != -ENOTTY ? backend_error(ret_error, &site, r) : 0;
}

int backend_removal_fd(const struct backend *backend)
{
	for (size_t i = 0; i < BACKEND_DEVICES_MAX; i++)
		if (backend->devices[i] && backend->devices[i]->removal_fd >= 0)
			return backend->devices[i]->removal_fd;
	return -1;
}

static int backend_open(struct backend *b, struct backend_device *device, struct hw_result *result)
{
	struct backend_site site = {.call = BACKEND_BIND, .rid = device->rid};
	struct calls_info raw = {0};
	int r;

	if (device->opened)
		return error_set(&result->error, REASON_INTERNAL, "the device is open already");
	/* Nothing takes a bind back: when the next step failed, the second try goes on from there.
	 */
	r = device->bound
		    ? 0
		    : b->calls->bind(b->ctx, device->fd, device->iommufd->fd, &device->dev_id);
	if (r < 0)
		return backend_error(&result->error, &site, r);
	device->bound = true;
	r = backend_watch(b, device, &result->error);
	if (r)
		return r;
	site.call = BACKEND_HW_INFO;
	r = b->calls->hw_info(b->ctx, device->iommufd->fd, device->dev_id, &raw);
	if (r < 0)
		return backend_error(&result->error, &site, r);
	device->kind = probe_kind(raw.type);
	device->info.iommu = raw.type;
	device->info.pasid_width = raw.max_pasid_log2;
	memcpy(device->info.raw, raw.raw, sizeof(device->info.raw));
	device->kind->decode(&raw, &device->info);
	device->opened = true;

	result->info = device->info;
	result->dev_id = device->dev_id;
	result->rid = device->rid;
	result->group = device->group;
	if (device->hand_back) {
		result->fds[0] = device->fd;
		result->fd_count = 1;
	}
	return 0;
}

static int backend_close(struct backend *b, struct backend_device **place, struct error *ret_error)
{
	int r = (*place)->opened ? backend_strip(b, *place, ret_error) : 0;

	if (r)
		return r;
	backend_device_drop(b, TAKE_PTR(*place));
	return 0;
}

static void backend_drop_all(struct backend *b)
{
	for (size_t i = 0; i < BACKEND_DEVICES_MAX; i++)
		if (b->devices[i])
			backend_device_drop(b, TAKE_PTR(b->devices[i]));
	assert(!b->iommufds);
}

void backend_free(struct backend *backend)
{
	if (!backend)
		return;
	backend_drop_all(backend);
	free(backend);
}

/* --- operations --- */

/* What each kind needs; `open`: the device must have been opened. */
static const struct backend_need {
	uint8_t fds_min, fds_max;
	bool open;
} needs[] = {
	[HW_IDENTIFY] = {0, 2, false},
	[HW_OPEN] = {0, 0, false},
	[HW_CLOSE] = {0, 0, false},
	[HW_MAP] = {1, 1, true},
	[HW_UNMAP] = {0, 0, true},
	[HW_ATTACH] = {0, 0, true},
	[HW_DETACH] = {0, 0, true},
	[HW_LEAVE] = {0, 0, true},
	[HW_END] = {0, 0, false},
	[HW_REPORT] = {0, 0, true},
	[HW_REPLACE] = {0, 0, true},
	[HW_LOOK] = {0, 0, true},
};
_Static_assert(ARRAY_SIZE(needs) == HW_LOOK + 1, "every kind says what it needs");

static int backend_run_device(struct backend *b, const struct hw_op *op,
	struct backend_device **place, const struct backend_fds *fds, struct hw_result *result)
{
	if (needs[op->kind].open && !(*place)->opened)
		return error_set(&result->error, REASON_NO_DEVICE, "the device was never opened");
	switch ((enum hw_kind)op->kind) {
	case HW_OPEN:
		return backend_open(b, *place, result);
	case HW_CLOSE:
		return backend_close(b, place, &result->error);
	case HW_MAP:
		return backend_map(b, *place, op, fds->fd[0], &result->error);
	case HW_UNMAP:
		return backend_unmap(b, *place, op, &result->error);
	case HW_ATTACH:
		return backend_attach(b, *place, op, result);
	case HW_DETACH:
		return backend_detach(b, *place, op->has_pasid ? &op->pasid : NULL, &result->error);
	case HW_LEAVE:
		return backend_leave(b, *place, op->owner, &result->error);
	case HW_REPORT:
		backend_tell(*place, result);
		return 0;
	case HW_REPLACE:
		return backend_replace(b, *place, op, result);
	case HW_LOOK:
		backend_look(*place, op, result);
		return 0;
	case HW_IDENTIFY:
	case HW_END:
		break;
	}
	return error_set(&result->error, REASON_INTERNAL, "no such operation");
}

static int backend_run(struct backend *b, const struct hw_op *op, struct backend_fds *fds,
	struct hw_result *result)
{
	const struct backend_need *need = &needs[op->kind];
	struct backend_device **place;

	if (op->fd_count < need->fds_min || op->fd_count > need->fds_max)
		return error_set(&result->error, REASON_FD_COUNT, "wrong number of descriptors: %u",
			op->fd_count);
	if (op->kind == HW_IDENTIFY)
		return backend_identify(b, op, fds, result);
	if (op->kind == HW_END) {
		backend_drop_all(b);
		return 0;
	}
	place = backend_device_find(b, op->device);
	if (!place)
		return error_set(
			&result->error, REASON_NO_DEVICE, "the worker holds no such device");
	return backend_run_device(b, op, place, fds, result);
}

void backend_execute(struct backend *backend, const struct hw_op *op, struct hw_result *ret_result)
{
	__attribute__((cleanup(backend_fds_cleanup))) struct backend_fds fds = {
		.b = backend, .fd = {-1, -1}};

	memset(ret_result, 0, sizeof(*ret_result));
	ret_result->id = op->id;
	ret_result->device = op->device;
	backend->until_ms = op->until_ms;
	for (uint32_t i = 0; i < HW_FDS_MAX; i++) {
		ret_result->fds[i] = -1;
		if (i < op->fd_count)
			fds.fd[i] = op->fds[i];
	}
	if (op->kind < HW_IDENTIFY || op->kind > HW_LOOK)
		ret_result->status =
			error_set(&ret_result->error, REASON_INTERNAL, "no such operation");
	else
		ret_result->status = backend_run(backend, op, &fds, ret_result);
	if (ret_result->status)
		backend_fds_return(&fds, ret_result);
}
