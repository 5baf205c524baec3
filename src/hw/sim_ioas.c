/* SPDX-License-Identifier: MIT */
/*
 * Mappings of address spaces, and the memory behind them. Each file that is mapped gets a window of
 * simulated physical addresses; the same byte of a file is the same address, whoever maps it.
 */
#include "sim_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define WINDOW (1ull << SIM_FRAMES_FILE)

uint64_t sim_aperture(const struct sim_header *header, bool first)
{
	unsigned width = header->config.five_level ? 57 : 48;

	if (header->config.smmuv3)
		return 1ull << 48;

	/* The upper half of a first stage is reached by canonical addresses only: Linux leaves it
	 * out. */
	return 1ull << (first ? width - 1 : width);
}

/* Makes or drops a range in every page table over an address space; a failure undoes what was made.
 */
static void tables_unmap(
	struct sim *sim, uint32_t context, uint32_t end, const struct sim_area *area)
{
	for (uint32_t id = 1; id < end; id++) {
		struct sim_object *hwpt = sim_object_at(sim, context, id);
		struct sim_paging paging = sim_hwpt_paging(sim, hwpt);

		if (hwpt->type == OBJECT_HWPT && hwpt->ioas == area->ioas)
			sim_paging_unmap(sim, &paging, area->iova, area->length);
	}
}

static int tables_map(struct sim *sim, uint32_t context, const struct sim_area *area)
{
	for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++) {
		struct sim_object *hwpt = sim_object_at(sim, context, id);
		struct sim_paging paging = sim_hwpt_paging(sim, hwpt);

		if (hwpt->type == OBJECT_HWPT && hwpt->ioas == area->ioas &&
			sim_paging_map(sim, &paging, area->iova, area->phys, area->length,
				area->write != 0) < 0) {
			tables_unmap(sim, context, id, area);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Can [iova, iova + length) be mapped? Errors as iopt_check_iova() gives them. */
static int range_check(
	struct sim *sim, uint32_t context, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct sim_area *areas = sim_areas(sim, context);
	uint64_t last;

	if (length == 0 || iova % SIM_PAGE != 0 || length % SIM_PAGE != 0)
		return -EINVAL;
	if (__builtin_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	for (uint32_t id = 1; id <= SIM_OBJECTS_MAX; id++) {
		struct sim_object *hwpt = sim_object_at(sim, context, id);

		if (hwpt->type == OBJECT_HWPT && hwpt->ioas == ioas &&
			last >= sim_aperture(sim->header, hwpt->first))
			return -EINVAL;
	}
	for (uint32_t i = 0; i < SIM_AREAS_MAX; i++)
		if (areas[i].ioas == ioas && areas[i].iova <= last &&
			iova <= areas[i].iova + areas[i].length - 1)
			return -EEXIST;
	return 0;
}

static int file_find(struct sim *sim, uint64_t dev, uint64_t ino, uint32_t *ret_file)
{
	struct sim_file *files = sim->header->files;
	uint32_t unused = SIM_FILES_MAX;

	for (uint32_t i = 0; i < SIM_FILES_MAX; i++) {
		if (files[i].used && files[i].dev == dev && files[i].ino == ino) {
			*ret_file = i;
			return 0;
		}
		if (!files[i].used && unused == SIM_FILES_MAX)
			unused = i;
	}
	if (unused == SIM_FILES_MAX)
		return -ENOMEM;
	files[unused] = (struct sim_file){.dev = dev, .ino = ino, .pid = -1, .fd = -1};
	__atomic_store_n(&files[unused].used, 1, __ATOMIC_RELEASE);
	*ret_file = unused;
	return 0;
}

static void file_put(struct sim *sim, uint32_t file)
{
	struct sim_file *slot = &sim->header->files[file];

	if (slot->users > 0)
		return;
	__atomic_store_n(&slot->used, 0, __ATOMIC_RELEASE);
	/* Our copy keeps the memory of a machine that may be gone; others' are swept by them. */
	if (sim->file_fds[file] >= 0) {
		(void)close(sim->file_fds[file]);
		sim->file_fds[file] = -1;
	}
}

static int area_add(struct sim *sim, uint32_t context, const struct sim_area *area)
{
	struct sim_area *areas = sim_areas(sim, context), filled = *area;
	int r;

	for (uint32_t i = 0; i < SIM_AREAS_MAX; i++) {
		if (areas[i].ioas)
			continue;
		r = tables_map(sim, context, area);
		if (r < 0)
			return r;
		filled.ioas = 0;
		areas[i] = filled;
		__atomic_store_n(&areas[i].ioas, area->ioas, __ATOMIC_RELEASE);
		return 0;
	}
	return -ENOMEM;
}

static bool ioas_exists(struct sim *sim, uint32_t context, uint32_t ioas)
{
	struct sim_object *object = sim_object_find(sim, context, ioas);

	return object && object->type == OBJECT_IOAS;
}

/* The area, backed by the file (dev, ino) from `offset`; *ret_file is its window. */
static int map_window(struct sim *sim, uint32_t context, struct sim_area *area, uint64_t dev,
	uint64_t ino, uint64_t offset, uint32_t *ret_file)
{
	int r = range_check(sim, context, area->ioas, area->iova, area->length);

	if (r < 0)
		return r;
	if (offset >= WINDOW || area->length > WINDOW - offset)
		return -EINVAL;
	r = file_find(sim, dev, ino, ret_file);
	if (r < 0)
		return r;
	area->phys = SIM_FRAMES | (uint64_t)*ret_file << SIM_FRAMES_FILE | offset;
	r = area_add(sim, context, area);
	if (r == 0)
		sim->header->files[*ret_file].users++;
	else
		file_put(sim, *ret_file);
	return r;
}

/* Keeps a copy of the memfd, to read a guest's tables. Without one, such a walk ends unreadable. */
static void file_keep(struct sim *sim, uint32_t file, int memfd)
{
	struct sim_file *slot = &sim->header->files[file];

	sim_files_sweep(sim);
	if (sim->file_fds[file] < 0)
		sim->file_fds[file] = fcntl(memfd, F_DUPFD_CLOEXEC, 3);
	if (sim->file_fds[file] >= 0) {
		slot->pid = (int32_t)getpid();
		slot->fd = sim->file_fds[file];
	}
}

int sim_map_memfd(struct sim *sim, uint32_t context, uint32_t ioas, int memfd, uint64_t offset,
	uint64_t length, uint64_t iova, uint32_t map_flags)
{
	struct sim_area area = {.ioas = ioas,
		.write = (map_flags & HW_MAP_WRITE) != 0,
		.iova = iova,
		.length = length};
	struct statfs fs;
	struct stat st;
	uint64_t end;
	uint32_t file;
	int r;

	if (!ioas_exists(sim, context, ioas))
		return -ENOENT;
	if (fstat(memfd, &st) < 0 || fstatfs(memfd, &fs) < 0)
		return -errno;
	/* memfd_pin_folios() takes shared memory and huge pages only, and no more than there is. */
	if (!S_ISREG(st.st_mode) || (fs.f_type != TMPFS_MAGIC && fs.f_type != HUGETLBFS_MAGIC) ||
		offset % SIM_PAGE != 0)
		return -EINVAL;
	if (__builtin_add_overflow(offset, length, &end))
		return -EOVERFLOW;
	if (end > (uint64_t)st.st_size)
		return -EINVAL;
	r = map_window(sim, context, &area, st.st_dev, st.st_ino, offset, &file);
	if (r == 0)
		file_keep(sim, file, memfd);
	return r;
}

int sim_map_nothing(struct sim *sim, uint32_t context, uint32_t ioas, uint64_t length,
	uint64_t iova, uint32_t map_flags)
{
	struct sim_area area = {.ioas = ioas,
		.write = (map_flags & HW_MAP_WRITE) != 0,
		.iova = iova,
		.length = length};
	uint32_t file;

	if (!ioas_exists(sim, context, ioas))
		return -ENOENT;
	return map_window(sim, context, &area, 0, ++sim->header->anonymous, 0, &file);
}

void sim_area_drop(struct sim *sim, struct sim_area *area)
{
	uint32_t file = (uint32_t)(area->phys >> SIM_FRAMES_FILE & (SIM_FILES_MAX - 1));

	__atomic_store_n(&area->ioas, 0, __ATOMIC_RELEASE);
	sim->header->files[file].users--;
	file_put(sim, file);
}

int sim_unmap(struct sim *sim, uint32_t context, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct sim_area *areas = sim_areas(sim, context);
	bool all = iova == 0 && length == UINT64_MAX, some = false;
	uint64_t last;

	if (!ioas_exists(sim, context, ioas))
		return -ENOENT;
	if (length == 0)
		return -EINVAL;
	if (__builtin_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	for (uint32_t i = 0; i < SIM_AREAS_MAX; i++) {
		uint64_t area_last = areas[i].iova + areas[i].length - 1;

		if (areas[i].ioas != ioas || area_last < iova || areas[i].iova > last)
			continue;
		if (areas[i].iova < iova || area_last > last) /* mappings are never cut */
			return -ENOENT;
		some = true;
	}
	for (uint32_t i = 0; i < SIM_AREAS_MAX; i++) {
		if (areas[i].ioas != ioas || areas[i].iova < iova || areas[i].iova > last)
			continue;
		tables_unmap(sim, context, SIM_OBJECTS_MAX + 1, &areas[i]);
		sim_area_drop(sim, &areas[i]);
	}
	return some || all ? 0 : -ENOENT;
}

static bool same_file(int fd, const struct sim_file *slot)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == slot->dev && st.st_ino == slot->ino;
}

void sim_files_sweep(struct sim *sim)
{
	for (uint32_t i = 0; i < SIM_FILES_MAX; i++) {
		struct sim_file *slot = &sim->header->files[i];

		if (sim->file_fds[i] < 0 || (slot->used && same_file(sim->file_fds[i], slot)))
			continue;
		(void)close(sim->file_fds[i]);
		sim->file_fds[i] = -1;
	}
}

/* A descriptor of the file behind a window: our copy, or a look into the process that mapped it. */
static int file_open(struct sim *sim, uint32_t file, int *ret_close)
{
	struct sim_file *slot = &sim->header->files[file];
	char path[64];
	int fd;

	*ret_close = -1;
	if (sim->file_fds[file] >= 0 && same_file(sim->file_fds[file], slot))
		return sim->file_fds[file];
	if (slot->pid <= 0)
		return -1;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", slot->pid, slot->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && !same_file(fd, slot)) {
		(void)close(fd);
		return -1;
	}
	*ret_close = fd;
	return fd;
}

uint64_t sim_file_read(struct sim *sim, uint32_t file, uint64_t offset, bool *ok)
{
	uint64_t word = 0;
	int fd, borrowed;

	if (!sim->header->files[file].used || sim->header->files[file].dev == 0) {
		*ok = false;
		return 0;
	}
	fd = file_open(sim, file, &borrowed);
	if (fd < 0 || pread(fd, &word, sizeof(word), (off_t)offset) != (ssize_t)sizeof(word))
		*ok = false;
	if (borrowed >= 0)
		(void)close(borrowed);
	return word;
}
