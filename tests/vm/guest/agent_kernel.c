/* SPDX-License-Identifier: MIT */
/*
 * iommufd, driven by hand. The structures are declared here once more, not taken from the daemon:
 * two people had to make the same mistake before a test that uses both would miss it. Source: Linux
 * 7.3, include/uapi/linux/iommufd.h and vfio.h.
 */
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CALL(number) _IO(';', number)

struct vfio_bind {
	uint32_t argsz, flags;
	int32_t iommufd;
	uint32_t out_devid;
	uint64_t token;
};

struct vfio_attach {
	uint32_t argsz, flags, pt_id, pasid;
};

struct vfio_detach {
	uint32_t argsz, flags, pasid;
};

struct iommu_destroy {
	uint32_t size, id;
};

struct iommu_ioas_alloc {
	uint32_t size, flags, out_id;
};

struct iommu_ioas_map {
	uint32_t size, flags, ioas_id, reserved;
	uint64_t user_va, length, iova;
};

struct iommu_hwpt_alloc {
	uint32_t size, flags, dev_id, pt_id, out_id, reserved;
	uint32_t data_type, data_len;
	uint64_t data_uptr;
	uint32_t fault_id, reserved2;
};

struct iommu_hw_info {
	uint32_t size, flags, dev_id, data_len;
	uint64_t data_uptr;
	uint32_t out_type;
	uint8_t out_max_pasid_log2, reserved[3];
	uint64_t out_capabilities;
};

struct vtd_info {
	uint32_t flags, reserved;
	uint64_t cap, ecap;
};

enum {
	DEVICE_BIND = 0x76,
	DEVICE_SET_IRQS = 0x6e,
	DEVICE_RESET = 0x6f,
	DEVICE_ATTACH = 0x77,
	DEVICE_DETACH = 0x78,
	IOMMU_DESTROY = 0x80,
	IOAS_ALLOC = 0x81,
	IOAS_MAP = 0x85,
	HWPT_ALLOC = 0x89,
	GET_HW_INFO = 0x8a,
};

enum { WITH_PASID = 1, MAP_FIXED_READ_WRITE = 7, HWPT_WITH_PASID = 8 };
enum { MAX_DEVICES = 16, PAGE = 4096 };

struct vfio_irq_set {
	uint32_t argsz, flags, index, start, count;
	int32_t eventfd;
};

enum { IRQ_EVENTFD_TRIGGER = 1 << 2 | 1 << 5, IRQ_REQUEST = 4 };

struct device {
	int fd, request; /* the request interrupt's eventfd, 0: not asked for */
	uint32_t id;
};

static struct device devices[MAX_DEVICES];
static size_t device_count;
static int iommufd = -1;

static void report_id(int r, uint64_t id)
{
	if (r < 0)
		agent_report(r);
	else
		agent_ok_numbers(1, &id);
}

static struct device *find_device(const char *word)
{
	uint32_t i = agent_number(word);

	if (i < device_count && devices[i].fd >= 0)
		return &devices[i];
	errno = ENODEV;
	return NULL;
}

/* The device node of a PCI function that vfio-pci drives: sysfs names it. */
static int open_function(const char *function)
{
	char path[300];
	struct dirent *entry;
	DIR *folder;
	int fd = -1;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", function);
	folder = opendir(path);
	if (!folder)
		return -1;
	while (fd < 0 && (entry = readdir(folder)) != NULL) {
		if (strncmp(entry->d_name, "vfio", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(folder);
	return fd;
}

int kernel_init(void)
{
	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	return iommufd < 0 ? -errno : 0;
}

int kernel_iommufd(void)
{
	return iommufd;
}

int kernel_device(const char *word)
{
	struct device *device = find_device(word);

	return device ? device->fd : -1;
}

uint32_t kernel_device_id(const char *word)
{
	struct device *device = find_device(word);

	return device ? device->id : UINT32_MAX;
}

void kernel_bound(const char *word, uint32_t id)
{
	struct device *device = find_device(word);

	if (device)
		device->id = id;
}

/* Answers with the device's number in this process. */
static void add_device(int fd, uint32_t id)
{
	devices[device_count] = (struct device){.fd = fd, .id = id};
	report_id(0, device_count++);
}

/* node FUNCTION: opens it and leaves the binding to others. */
static void kernel_node(char **words)
{
	int fd = -1;

	errno = ENFILE;
	if (device_count < MAX_DEVICES && words[1])
		fd = open_function(words[1]);
	if (fd < 0)
		agent_report(-1);
	else
		add_device(fd, 0);
}

/* open FUNCTION: opens it and binds it to the iommufd. */
static void kernel_open(char **words)
{
	struct vfio_bind bind = {.argsz = sizeof(bind), .iommufd = iommufd};
	int fd = -1;

	errno = ENFILE;
	if (device_count < MAX_DEVICES && words[1])
		fd = open_function(words[1]);
	if (fd >= 0 && ioctl(fd, CALL(DEVICE_BIND), &bind) == 0) {
		add_device(fd, bind.out_devid);
		return;
	}
	agent_report(-1);
	if (fd >= 0)
		close(fd);
}

/* close DEVICE */
static void kernel_close(char **words)
{
	struct device *device = find_device(words[1]);
	int r;

	if (!device) {
		agent_report(-1);
		return;
	}
	r = close(device->fd);
	device->fd = -1;
	agent_report(r);
}

/* watch DEVICE: asks for its request interrupt. */
static void kernel_watch(char **words)
{
	struct device *device = find_device(words[1]);
	struct vfio_irq_set set = {.argsz = sizeof(set),
		.flags = IRQ_EVENTFD_TRIGGER,
		.index = IRQ_REQUEST,
		.count = 1};

	if (!device) {
		agent_report(-1);
		return;
	}
	set.eventfd = device->request = eventfd(0, EFD_CLOEXEC);
	agent_report(ioctl(device->fd, CALL(DEVICE_SET_IRQS), &set));
}

/* requested DEVICE MS: waits for it; answers 1 when it came, 0 when not. */
static void kernel_requested(char **words)
{
	struct device *device = find_device(words[1]);
	struct pollfd poller = {.fd = device ? device->request : -1, .events = POLLIN};

	report_id(0, (uint64_t)poll(&poller, 1, (int)agent_number(words[2])));
}

/* info DEVICE: type, width, capability and extended capability register. */
static void kernel_info(char **words)
{
	struct device *device = find_device(words[1]);
	struct vtd_info vtd = {0};
	struct iommu_hw_info info = {
		.size = sizeof(info), .data_len = sizeof(vtd), .data_uptr = (uintptr_t)&vtd};

	if (!device) {
		agent_report(-1);
		return;
	}
	info.dev_id = device->id;
	if (ioctl(iommufd, CALL(GET_HW_INFO), &info) < 0) {
		agent_report(-1);
		return;
	}
	printf("ok %u %u %#llx %#llx\n", info.out_type, info.out_max_pasid_log2,
		(unsigned long long)vtd.cap, (unsigned long long)vtd.ecap);
}

/* ioas: a new address space. */
static void kernel_ioas(char **words)
{
	struct iommu_ioas_alloc alloc = {.size = sizeof(alloc)};
	int r = ioctl(iommufd, CALL(IOAS_ALLOC), &alloc);

	(void)words;
	report_id(r, alloc.out_id);
}

/* map IOAS IOVA TEXT: a page of this process that begins with TEXT. */
static void kernel_map(char **words)
{
	struct iommu_ioas_map map = {.size = sizeof(map),
		.flags = MAP_FIXED_READ_WRITE,
		.ioas_id = agent_number(words[1]),
		.length = PAGE};
	char *page;

	errno = EINVAL;
	if (!words[2] || !words[3]) {
		agent_report(-1);
		return;
	}
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (page == MAP_FAILED) {
		agent_report(-1);
		return;
	}
	snprintf(page, PAGE, "%s", words[3]);
	map.user_va = (uintptr_t)page;
	map.iova = strtoull(words[2], NULL, 0);
	agent_report(ioctl(iommufd, CALL(IOAS_MAP), &map));
}

/* hwpt DEVICE IOAS [FLAGS]: a page table that PASIDs can be attached to, or with other flags. */
static void kernel_hwpt(char **words)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = HWPT_WITH_PASID, .pt_id = agent_number(words[2])};
	struct device *device = find_device(words[1]);
	int r;

	if (!device) {
		agent_report(-1);
		return;
	}
	alloc.dev_id = device->id;
	if (words[3])
		alloc.flags = agent_number(words[3]);
	r = ioctl(iommufd, CALL(HWPT_ALLOC), &alloc);
	report_id(r, alloc.out_id);
}

/* attach DEVICE HWPT [PASID]; without PASID, the RID itself. */
static void kernel_attach(char **words)
{
	struct vfio_attach attach = {.argsz = sizeof(attach), .pt_id = agent_number(words[2])};
	struct device *device = find_device(words[1]);

	if (!device) {
		agent_report(-1);
		return;
	}
	if (words[3]) {
		attach.flags = WITH_PASID;
		attach.pasid = agent_number(words[3]);
	}
	agent_report(ioctl(device->fd, CALL(DEVICE_ATTACH), &attach));
}

/* detach DEVICE [PASID] */
static void kernel_detach(char **words)
{
	struct vfio_detach detach = {.argsz = sizeof(detach)};
	struct device *device = find_device(words[1]);

	if (!device) {
		agent_report(-1);
		return;
	}
	if (words[2]) {
		detach.flags = WITH_PASID;
		detach.pasid = agent_number(words[2]);
	}
	agent_report(ioctl(device->fd, CALL(DEVICE_DETACH), &detach));
}

/* reset DEVICE */
static void kernel_reset(char **words)
{
	struct device *device = find_device(words[1]);

	agent_report(device ? ioctl(device->fd, CALL(DEVICE_RESET)) : -1);
}

/* destroy ID: an address space or a page table. */
static void kernel_destroy(char **words)
{
	struct iommu_destroy destroy = {.size = sizeof(destroy), .id = agent_number(words[1])};

	agent_report(ioctl(iommufd, CALL(IOMMU_DESTROY), &destroy));
}

const struct agent_command kernel_commands[] = {
	{"node", kernel_node},
	{"open", kernel_open},
	{"close", kernel_close},
	{"info", kernel_info},
	{"ioas", kernel_ioas},
	{"map", kernel_map},
	{"hwpt", kernel_hwpt},
	{"attach", kernel_attach},
	{"detach", kernel_detach},
	{"reset", kernel_reset},
	{"watch", kernel_watch},
	{"requested", kernel_requested},
	{"destroy", kernel_destroy},
	{0},
};
