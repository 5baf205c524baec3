/* SPDX-License-Identifier: MIT */
/*
 * Who holds what. A descriptor's identity is its open file, exactly as with the kernel's nodes, and
 * an open file shows itself by the locks it holds (fcntl(2), open file description locks): they
 * travel with every copy, and the kernel drops them with the last one, however it went.
 */
#include "../fd.h"
#include "sim_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* What same_file() tries with: far from the numbers of contexts. */
#define LOCK_SCRATCH ((off_t)1 << 40)

/* Takes or drops the lock on one byte through an open file. 0 or -errno. */
static int lock_set(int fd, off_t byte, bool take)
{
	struct flock lock = {.l_type = take ? F_WRLCK : F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* Does an open file other than that of fd hold the lock? */
static bool lock_elsewhere(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static bool stat_is(const struct statx *st, uint64_t dev, uint64_t ino)
{
	return makedev(st->stx_dev_major, st->stx_dev_minor) == dev && st->stx_ino == ino;
}

int sim_fd_is_iommu(struct sim *sim, int fd)
{
	struct statx st;
	int r = fd_stat(fd, &st);

	if (r < 0)
		return r;
	return stat_is(&st, sim->iommu_dev, sim->iommu_ino) ? 0 : -ENOTTY;
}

int sim_fd_node(struct sim *sim, int fd, uint32_t *ret_node)
{
	struct statx st;
	int r = fd_stat(fd, &st);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < sim->header->config.device_count; i++) {
		if (stat_is(&st, sim->node_dev[i], sim->node_ino[i])) {
			*ret_node = i;
			return 0;
		}
	}
	return -ENOTTY;
}

bool sim_node_held(struct sim *sim, uint32_t node)
{
	return lock_elsewhere(sim->node_fds[node], 0);
}

bool sim_context_held(struct sim *sim, uint32_t context)
{
	return lock_elsewhere(sim->iommu_fd, (off_t)context);
}

bool sim_fd_has_context(struct sim *sim, int fd, uint32_t *ret_context)
{
	for (uint32_t i = 0; i < SIM_CONTEXTS_MAX; i++) {
		if (sim->header->contexts[i] && !lock_elsewhere(fd, (off_t)i) &&
			sim_context_held(sim, i)) {
			*ret_context = i;
			return true;
		}
	}
	return false;
}

int sim_fd_context(struct sim *sim, int fd, uint32_t *ret_context)
{
	int r = sim_fd_is_iommu(sim, fd);

	if (r < 0)
		return r;
	if (sim_fd_has_context(sim, fd, ret_context))
		return 0;
	for (uint32_t i = 0; i < SIM_CONTEXTS_MAX; i++) {
		if (sim->header->contexts[i])
			continue;
		r = lock_set(fd, (off_t)i, true);
		if (r == -EBADF)
			return r;
		if (r < 0) /* left by a process that died between lock and record */
			continue;
		sim->header->contexts[i] = 1;
		*ret_context = i;
		return 0;
	}
	return -ENOSPC;
}

int sim_fd_bind(int fd)
{
	int r = lock_set(fd, 0, true);

	return r == -EAGAIN || r == -EACCES ? -EINVAL : r;
}

void sim_fd_unbind(int fd)
{
	(void)lock_set(fd, 0, false);
}

bool sim_fd_owns(struct sim *sim, int fd, uint32_t node)
{
	return sim_node_held(sim, node) && !lock_elsewhere(fd, 0);
}

int sim_fd_same(int a, int b)
{
	struct stat sa, sb;
	int r = 0;

	if (fstat(a, &sa) < 0 || fstat(b, &sb) < 0)
		return -errno;
	if (sa.st_dev != sb.st_dev || sa.st_ino != sb.st_ino)
		return 0;
	/* A byte may be held by the copy of a process that died here: try others. */
	for (off_t byte = LOCK_SCRATCH; byte < LOCK_SCRATCH + 64; byte++) {
		r = lock_set(a, byte, true);
		if (r == -EAGAIN || r == -EACCES)
			continue;
		if (r < 0)
			return r;
		r = lock_elsewhere(b, byte) ? 0 : 1;
		(void)lock_set(a, byte, false);
		return r;
	}
	return r;
}
