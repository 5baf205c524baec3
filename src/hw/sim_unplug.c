/* SPDX-License-Identifier: MIT */
/*
 * Hot-unplug: the kernel asks whoever has the function open to let go of it, through its request
 * interrupt, and waits until nobody has. Here the interrupt is a change of the node's file, which
 * inotify(7) tells to every process that wants to know.
 */
#include "sim_memory.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

/* Truncating it to the size that it has is a change, too. */
static int request(struct sim *sim, uint32_t node)
{
	return ftruncate(sim->node_fds[node], 0) < 0 ? -errno : 0;
}

int sim_watch_removal(struct sim *sim, uint32_t node, int *ret_fd)
{
	char path[32];
	int fd, r = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", sim->node_fds[node]);
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (inotify_add_watch(fd, path, IN_MODIFY) < 0)
		r = -errno;
	else if (sim->header->nodes[node].going)
		r = request(sim, node); /* as the kernel repeats it */
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int unplug_locked(struct sim *sim, uint32_t node)
{
	struct sim_node *at = &sim->header->nodes[node];
	int r = 0;

	if (!at->going) {
		at->going = 1;
		r = request(sim, node);
	}
	sim_reap_locked(sim);
	if (r == 0 && (at->bound || sim_node_held(sim, node)))
		r = -EBUSY;
	return r;
}

int sim_unplug(struct sim *sim, struct rid rid)
{
	uint32_t node;
	int r = sim_lock(sim);

	if (r < 0)
		return r;
	r = sim_node_find(sim, rid, &node) ? unplug_locked(sim, node) : -ENODEV;
	sim_unlock(sim);
	return r;
}

int sim_plug(struct sim *sim, struct rid rid)
{
	uint32_t node;
	int r = sim_lock(sim);

	if (r < 0)
		return r;
	if (sim_node_find(sim, rid, &node))
		sim->header->nodes[node].going = 0;
	else
		r = -ENODEV;
	sim_unlock(sim);
	return r;
}
