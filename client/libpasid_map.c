/* SPDX-License-Identifier: MIT */
/*
 * Exported maps: opened, kept over a restart of the daemon, closed.
 *
 * A daemon that was started anew may have the same memory or another one. With each session that is
 * taken up each view is asked for again, and another memory takes the place of the old one at the
 * same address, so that threads which read never see anything else than a map.
 */
#include "libpasid_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VIEW_PAGE 4096u
#define VIEW_MAX  (UINT64_C(1) << 30) /* nobody needs more */

struct view {
	struct pasid_map shown; /* first: what the application has */
	struct view *next;
	uint64_t set;
	dev_t device;
	ino_t inode;
};

/* Memory that could shrink would take us down with it. */
static int view_check(int fd, const struct pasid_result_exported *exported, struct stat *ret_found)
{
	const int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, ret_found) < 0 ||
		(uint64_t)ret_found->st_size != exported->size || exported->size < VIEW_PAGE ||
		exported->size > VIEW_MAX || exported->size % VIEW_PAGE != 0 ||
		exported->version != 1)
		return -EPROTO;
	return 0;
}

/* At `place`, or anywhere when that is NULL. */
static int view_map(struct view *view, int fd, const struct stat *found, void *place)
{
	void *base = mmap(place, (size_t)found->st_size, PROT_READ,
		MAP_SHARED | (place != NULL ? MAP_FIXED : 0), fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	view->shown.base = base;
	view->shown.size = (size_t)found->st_size;
	view->device = found->st_dev;
	view->inode = found->st_ino;
	return 0;
}

/* ------------------------------------------------------------ opened and closed */

static int start_view(struct pasid_client *client, const struct pasid_set_ref *set,
	struct view *again, struct sync *sync)
{
	struct set_key key;
	struct target target = {.sync = sync, .view = again};
	Pasid__V1__SetExport message = PASID__V1__SET_EXPORT__INIT;
	if (set != NULL)
		message.set = set_key(&key, set);
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_SET_EXPORT, &message.base, NULL, 0, target);
}

static int view_open(
	struct pasid_client *client, const struct pasid_result *result, struct pasid_map **ret_map)
{
	struct stat found;
	struct view *view;
	int r = view_check(result->fd, &result->exported, &found);
	if (r != 0)
		return client_fail(
			client, r, "malformed", "what the daemon gave is not the map of a set");
	view = calloc(1, sizeof(*view));
	if (view == NULL)
		return client_fail(client, -ENOMEM, "no-memory", "no memory for a view");
	r = view_map(view, result->fd, &found, NULL);
	if (r != 0) {
		free(view);
		return client_fail(client, r, "no-memory", "the map cannot be mapped");
	}
	view->set = result->exported.set;
	view->next = client->views;
	client->views = view;
	*ret_map = &view->shown;
	return 0;
}

int pasid_map_open(
	struct pasid_client *client, const struct pasid_set_ref *set, struct pasid_map **ret_map)
{
	SYNC(client);
	int r = sync_wait(&sync, start_view(client, set, NULL, &sync));
	return r != 0 ? r : view_open(client, &sync.call->result, ret_map);
}

static void view_free(struct view *view)
{
	if (view->shown.base != NULL)
		munmap((void *)(uintptr_t)view->shown.base, view->shown.size);
	free(view);
}

int pasid_map_close(struct pasid_client *client, struct pasid_map *map)
{
	if (map == NULL)
		return 0;
	int r = client_check(client);
	if (r != 0)
		return r;
	for (struct view **link = &client->views; *link != NULL; link = &(*link)->next) {
		struct view *found = *link;
		if (&found->shown != map)
			continue;
		*link = found->next;
		call_forget_view(client, found);
		view_free(found);
		return 0;
	}
	return client_fail(client, -EINVAL, "bad-argument", "this map is not this client's");
}

void view_free_all(struct pasid_client *client)
{
	while (client->views != NULL) {
		struct view *view = client->views;
		client->views = view->next;
		view_free(view);
	}
}

/* ------------------------------------------------------------ another daemon */

void view_ask_again(struct pasid_client *client)
{
	for (struct view *view = client->views; view != NULL; view = view->next) {
		const struct pasid_set_ref set = {.id = view->set};
		(void)start_view(client, &set, view, NULL);
	}
}

/* Nothing is true in it any more: readers find that, in memory that nobody else has. */
static void view_close_memory(struct view *view)
{
	void *place = (void *)(uintptr_t)view->shown.base;
	uint32_t *base = mmap(place, view->shown.size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return;
	__atomic_store_n(&base[3], 1, __ATOMIC_RELEASE);
	(void)mprotect(base, view->shown.size, PROT_READ);
	view->inode = 0;
}

void view_renew(struct view *view, const struct call *call)
{
	struct stat found;
	const int fd = call->result.fd;
	if (call->error.code == -ECONNRESET || call->error.code == -ENOTCONN)
		return; /* who lost the daemon knows */
	if (call->error.code != 0 || view_check(fd, &call->result.exported, &found) != 0 ||
		(size_t)found.st_size != view->shown.size) {
		view_close_memory(view);
		return;
	}
	if (found.st_dev == view->device && found.st_ino == view->inode)
		return;
	if (view_map(view, fd, &found, (void *)(uintptr_t)view->shown.base) != 0)
		view_close_memory(view);
}
