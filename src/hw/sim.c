/* SPDX-License-Identifier: MIT */
/* Making a simulation, and attaching to one. */
#include "sim_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC         0x4d49532d44495341ull /* "ASID-SIM" */
#define VERSION       3u
#define PAGES_DEFAULT 131072u
#define PAGES_MIN     4096u
#define PAGES_MAX     (1u << 24)
#define MODE_FILE     0660
#define MODE_DIR      0770

static void close_fd(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}
#define FD __attribute__((cleanup(close_fd))) int

/* One hexadecimal number of at most `digits`, up to `max`, followed by `end`. Returns what follows.
 */
static const char *hex_parse(const char *text, size_t digits, uint32_t max, char end, uint32_t *ret)
{
	size_t count = strspn(text, "0123456789abcdefABCDEF");

	if (count == 0 || count > digits || text[count] != end)
		return NULL;
	*ret = (uint32_t)strtoul(text, NULL, 16);
	return *ret <= max ? text + count + 1 : NULL;
}

int sim_rid_parse(const char *text, struct rid *ret_rid)
{
	uint32_t segment = 0, bus, device, function;
	const char *colon = strchr(text, ':');

	if (colon && strchr(colon + 1, ':'))
		text = hex_parse(text, 4, 0xffff, ':', &segment);
	if (text)
		text = hex_parse(text, 2, 0xff, ':', &bus);
	if (text)
		text = hex_parse(text, 2, 0x1f, '.', &device);
	if (!text || !hex_parse(text, 1, 7, '\0', &function))
		return -EINVAL;
	ret_rid->v = segment << 16 | bus << 8 | device << 3 | function;
	return 0;
}

void sim_rid_format(struct rid rid, char ret_text[SIM_RID_TEXT])
{
	(void)snprintf(ret_text, SIM_RID_TEXT, "%04x:%02x:%02x.%x", rid.v >> 16, rid.v >> 8 & 0xff,
		rid.v >> 3 & 0x1f, rid.v & 7);
}

static int device_check(const struct sim_config *config, uint32_t index, struct error *ret_error)
{
	const struct sim_device_config *device = &config->devices[index];
	uint32_t members = 0;
	char text[SIM_RID_TEXT];

	sim_rid_format(device->rid, text);
	if (device->pasid_width > PASID_BITS)
		return error_set(ret_error, REASON_BAD_RANGE,
			"simulated device %s: PASID width %u, at most %d bits", text,
			device->pasid_width, PASID_BITS);
	if (device->unit >= SIM_UNITS_MAX)
		return error_set(ret_error, REASON_BAD_RANGE,
			"simulated device %s: IOMMU unit %u, units are 0 to %d", text, device->unit,
			SIM_UNITS_MAX - 1);
	for (uint32_t i = 0; i < index; i++) {
		const struct sim_device_config *other = &config->devices[i];

		if (other->rid.v == device->rid.v)
			return error_set(ret_error, REASON_BAD_ARGUMENT,
				"simulated device %s is configured twice", text);
		if (device->group == 0 || other->group != device->group)
			continue;
		if (other->unit != device->unit)
			return error_set(ret_error, REASON_BAD_ARGUMENT,
				"simulated device %s: group %u has devices on two IOMMU units",
				text, device->group);
		if (++members >= SIM_MEMBERS_MAX)
			return error_set(ret_error, REASON_BAD_RANGE,
				"simulated device %s: group %u has more than %u devices", text,
				device->group, SIM_MEMBERS_MAX);
	}
	return 0;
}

static int config_check(const struct sim_config *config, struct error *ret_error)
{
	int r = 0;

	if (config->device_count > SIM_DEVICES_MAX)
		return error_set(ret_error, REASON_BAD_RANGE, "%u simulated devices, at most %d",
			config->device_count, SIM_DEVICES_MAX);
	if (config->iommu_width > PASID_BITS)
		return error_set(ret_error, REASON_BAD_RANGE,
			"simulated IOMMU: PASID width %u, at most %d bits", config->iommu_width,
			PASID_BITS);
	if (config->pages && (config->pages < PAGES_MIN || config->pages > PAGES_MAX))
		return error_set(ret_error, REASON_BAD_RANGE,
			"simulated IOMMU: %u pages for tables, %u to %u (or 0) are possible",
			config->pages, PAGES_MIN, PAGES_MAX);
	for (uint32_t i = 0; r == 0 && i < config->device_count; i++)
		r = device_check(config, i, ret_error);
	return r;
}

/* The lowest group number that no device was given. */
static uint32_t group_number(const struct sim_header *header)
{
	const struct sim_config *config = &header->config;

	for (uint32_t number = 1;; number++) {
		bool taken = false;

		for (uint32_t i = 0; i < config->device_count; i++)
			taken = taken || config->devices[i].group == number;
		for (uint32_t i = 0; i < header->group_count; i++)
			taken = taken || header->groups[i].number == number;
		if (!taken)
			return number;
	}
}

static void node_init(struct sim_header *header, uint32_t index)
{
	struct sim_node *node = &header->nodes[index];
	const struct sim_config *config = &header->config;
	uint32_t number = config->devices[index].group, i = header->group_count;
	struct sim_group *group;

	node->config = config->devices[index];
	node->width = node->config.pasid_width < config->iommu_width ? node->config.pasid_width
								     : config->iommu_width;
	for (uint32_t other = 0; number && other < header->group_count; other++)
		if (header->groups[other].number == number)
			i = other;
	group = &header->groups[i];
	if (i == header->group_count) {
		group->number = number ? number : group_number(header);
		header->group_count++;
	}
	node->group = i;
	node->member = group->member_count;
	group->members[group->member_count++] = index;
}

static void caps_init(struct sim_header *header)
{
	const struct sim_config *config = &header->config;
	const struct vtd_caps caps = {
		.sagaw = config->five_level ? 0xc : 0x4,
		.mgaw = config->five_level ? 57 : 48,
		.fl5lp = config->five_level,
		.second_2m = true,
		.scalable = true,
		.pasid = config->iommu_width > 0,
		.pasid_width = config->iommu_width,
		.nest = config->nesting,
		.first_stage = config->first_stage,
		.second_stage = true,
		.supervisor = config->supervisor,
		.extended_access = config->extended_access,
		.page_walk_snoop = true,
	};

	const struct smmuv3_caps smmuv3 = {
		.stage1 = true,
		.stage2 = config->nesting,
		.two_level_cd = true,
		.two_level_stream = !config->linear,
		.substream_width = config->iommu_width,
		.stream_width = 16,
		.granule_4k = true,
		.output_width = 48,
	};

	vtd_caps_encode(&caps, &header->cap, &header->ecap);
	smmuv3_caps_encode(&smmuv3, header->idr);
}

static uint64_t round_up(uint64_t value)
{
	return (value + SIM_PAGE - 1) / SIM_PAGE * SIM_PAGE;
}

/* Where everything stands in DIR/memory. */
static void layout_init(struct sim_header *header)
{
	uint64_t at = round_up(sizeof(*header));

	header->page_count = header->config.pages ? header->config.pages : PAGES_DEFAULT;
	header->objects = at;
	at += round_up(sizeof(struct sim_object) * SIM_OBJECTS_MAX * SIM_CONTEXTS_MAX);
	header->areas = at;
	at += round_up(sizeof(struct sim_area) * SIM_AREAS_MAX * SIM_CONTEXTS_MAX);
	header->attach = at;
	at += sizeof(uint64_t) * PASID_COUNT * (uint64_t)header->group_count;
	header->bitmap = at;
	at += round_up(header->page_count / 8 + 8);
	header->pool = at;
	header->size = at + (uint64_t)header->page_count * SIM_PAGE;
}

static int header_init(struct sim_header *header, const struct sim_config *config)
{
	int r;

	header->config = *config;
	for (uint32_t i = 0; i < config->device_count; i++)
		node_init(header, i);
	caps_init(header);
	layout_init(header);
	r = sim_mutex_init(&header->lock);
	for (uint32_t i = 0; r == 0 && i < SIM_UNITS_MAX; i++)
		r = sim_mutex_init(&header->units[i].lock);
	header->header_size = sizeof(*header);
	header->version = VERSION;
	header->stale = 1; /* the first look makes the tables */
	header->magic = MAGIC;
	return r;
}

static int node_create(int dir, const char *name)
{
	FD fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, MODE_FILE);

	return fd < 0 ? -errno : 0;
}

static void node_name(struct rid rid, char ret_name[32])
{
	char text[SIM_RID_TEXT];

	sim_rid_format(rid, text);
	(void)snprintf(ret_name, 32, "devices/%s", text);
}

static int nodes_create(int dir, const struct sim_config *config)
{
	char name[32];
	int r = node_create(dir, "iommu");

	if (r == 0 && mkdirat(dir, "devices", MODE_DIR) < 0 && errno != EEXIST)
		r = -errno;
	for (uint32_t i = 0; r == 0 && i < config->device_count; i++) {
		node_name(config->devices[i].rid, name);
		r = node_create(dir, name);
	}
	return r;
}

/* Fills the file under its temporary name; its own name, given last, says that all is there. */
static int memory_fill(int fd, const struct sim_config *config)
{
	struct sim_header *header;
	int r;

	if (ftruncate(fd, (off_t)sizeof(*header)) < 0)
		return -errno;
	header = mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (header == MAP_FAILED)
		return -errno;
	r = header_init(header, config);
	if (r == 0 && ftruncate(fd, (off_t)header->size) < 0)
		r = -errno;
	(void)munmap(header, sizeof(*header));
	return r;
}

static int memory_create(int dir, const struct sim_config *config)
{
	char name[32];
	FD fd = -1;
	int r;

	(void)snprintf(name, sizeof(name), "memory.%ld", (long)getpid());
	fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, MODE_FILE);
	if (fd < 0)
		return -errno;
	r = memory_fill(fd, config);
	if (r == 0 && linkat(dir, name, dir, "memory", 0) < 0)
		r = -errno;
	(void)unlinkat(dir, name, 0);
	return r;
}

int sim_create(const char *path, const struct sim_config *config, struct error *ret_error)
{
	FD dir = -1;
	int r = config_check(config, ret_error);

	if (r != 0)
		return r;
	if (mkdir(path, MODE_DIR) < 0 && errno != EEXIST)
		return -errno;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	if (faccessat(dir, "memory", F_OK, 0) == 0)
		return -EEXIST;
	r = nodes_create(dir, config);
	return r < 0 ? r : memory_create(dir, config);
}

static bool header_valid(const struct sim_header *header, const struct stat *st)
{
	return header->magic == MAGIC && header->version == VERSION &&
	       header->header_size == sizeof(*header) && header->size == (uint64_t)st->st_size;
}

static int memory_open(struct sim *sim)
{
	FD fd = openat(sim->dir_fd, "memory", O_RDWR | O_CLOEXEC);
	struct stat st;
	void *base;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(struct sim_header))
		return -EINVAL;
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return -errno;
	sim->header = base;
	sim->size = (size_t)st.st_size;
	if (!header_valid(sim->header, &st))
		return -EINVAL;
	sim->objects = (struct sim_object *)(void *)((char *)base + sim->header->objects);
	sim->areas = (struct sim_area *)(void *)((char *)base + sim->header->areas);
	sim->attach = (uint64_t *)(void *)((char *)base + sim->header->attach);
	sim->bitmap = (uint64_t *)(void *)((char *)base + sim->header->bitmap);
	return 0;
}

int sim_node_open(struct sim *sim, uint32_t node, int *ret_fd)
{
	char name[32] = "iommu";
	int fd;

	if (node != SIM_NODE_IOMMU)
		node_name(sim->header->nodes[node].config.rid, name);
	fd = openat(sim->dir_fd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int observers_open(struct sim *sim)
{
	struct stat st;
	int r = sim_node_open(sim, SIM_NODE_IOMMU, &sim->iommu_fd);

	if (r < 0)
		return r;
	if (fstat(sim->iommu_fd, &st) < 0)
		return -errno;
	sim->iommu_dev = st.st_dev;
	sim->iommu_ino = st.st_ino;
	for (uint32_t i = 0; i < sim->header->config.device_count; i++) {
		r = sim_node_open(sim, i, &sim->node_fds[i]);
		if (r < 0)
			return r;
		if (fstat(sim->node_fds[i], &st) < 0)
			return -errno;
		sim->node_dev[i] = st.st_dev;
		sim->node_ino[i] = st.st_ino;
	}
	return 0;
}

int sim_open(const char *dir, struct sim **ret_sim)
{
	__attribute__((cleanup(sim_close_p))) struct sim *sim = calloc(1, sizeof(*sim));
	int r;

	if (!sim)
		return -ENOMEM;
	sim->iommu_fd = -1;
	for (uint32_t i = 0; i < SIM_DEVICES_MAX; i++)
		sim->node_fds[i] = -1;
	for (uint32_t i = 0; i < SIM_FILES_MAX; i++)
		sim->file_fds[i] = -1;
	sim->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (sim->dir_fd < 0)
		return -errno;
	r = memory_open(sim);
	if (r == 0)
		r = observers_open(sim);
	if (r == 0)
		r = sim_reap(sim);
	if (r < 0)
		return r;
	*ret_sim = TAKE_PTR(sim);
	return 0;
}

void sim_close(struct sim *sim)
{
	if (!sim)
		return;
	for (uint32_t i = 0; i < SIM_FILES_MAX; i++)
		close_fd(&sim->file_fds[i]);
	for (uint32_t i = 0; i < SIM_DEVICES_MAX; i++)
		close_fd(&sim->node_fds[i]);
	close_fd(&sim->iommu_fd);
	close_fd(&sim->dir_fd);
	if (sim->header)
		(void)munmap(sim->header, sim->size);
	free(sim);
}
