/* SPDX-License-Identifier: MIT */
/*
 * Drives iommufd by hand, for tests that need the kernel without pasidd: reads one command a line
 * on standard input and answers each with one line on standard output, "ok ..." or "error ERRNO
 * text". One process is one iommufd; what it holds goes with it when it ends.
 *
 * The structures are declared here once more, not taken from the daemon: two people had to make
 * the same mistake before a test that uses both would miss it. Source: Linux 7.3,
 * include/uapi/linux/iommufd.h and vfio.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
	DEVICE_RESET = 0x6f,
	DEVICE_ATTACH = 0x77,
	DEVICE_DETACH = 0x78,
	IOMMU_DESTROY = 0x80,
	IOAS_ALLOC = 0x81,
	IOAS_MAP = 0x85,
	HWPT_ALLOC = 0x89,
	GET_HW_INFO = 0x8a,
};

enum { WITH_PASID = 1, MAP_FIXED_READ_WRITE = 7, HWPT_WITH_PASID = 8, NO_PASID = UINT32_MAX };
enum { MAX_DEVICES = 16, MAX_WORDS = 5, PAGE = 4096 };

struct device {
	int fd;
	uint32_t id;
};

static struct device devices[MAX_DEVICES];
static int device_count;
static int iommufd = -1;

static int report(int r)
{
	if (r < 0)
		printf("error %s %s\n", strerrorname_np(errno), strerror(errno));
	else
		printf("ok\n");
	return r;
}

static int report_id(int r, uint32_t id)
{
	if (r < 0)
		return report(r);
	printf("ok %u\n", id);
	return r;
}

static uint32_t number(const char *word)
{
	return word ? (uint32_t)strtoul(word, NULL, 0) : NO_PASID;
}

static struct device *find_device(const char *word)
{
	uint32_t i = number(word);

	if (i < (uint32_t)device_count && devices[i].fd >= 0)
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

/* open FUNCTION: opens and binds it; answers with the device's number in this process. */
static int probe_open(char **words)
{
	struct vfio_bind bind = {.argsz = sizeof(bind), .iommufd = iommufd};
	int fd = -1;

	errno = ENFILE;
	if (device_count < MAX_DEVICES && words[1])
		fd = open_function(words[1]);
	if (fd < 0)
		return report(-1);
	if (ioctl(fd, CALL(DEVICE_BIND), &bind) < 0) {
		report(-1);
		close(fd);
		return -1;
	}
	devices[device_count] = (struct device){.fd = fd, .id = bind.out_devid};
	return report_id(0, (uint32_t)device_count++);
}

/* close DEVICE */
static int probe_close(char **words)
{
	struct device *device = find_device(words[1]);
	int r;

	if (!device)
		return report(-1);
	r = close(device->fd);
	device->fd = -1;
	return report(r);
}

/* info DEVICE: type, width, capability and extended capability register. */
static int probe_info(char **words)
{
	struct device *device = find_device(words[1]);
	struct vtd_info vtd = {0};
	struct iommu_hw_info info = {
		.size = sizeof(info), .data_len = sizeof(vtd), .data_uptr = (uintptr_t)&vtd};

	if (!device)
		return report(-1);
	info.dev_id = device->id;
	if (ioctl(iommufd, CALL(GET_HW_INFO), &info) < 0)
		return report(-1);
	printf("ok %u %u %#llx %#llx\n", info.out_type, info.out_max_pasid_log2,
		(unsigned long long)vtd.cap, (unsigned long long)vtd.ecap);
	return 0;
}

/* ioas: a new address space. */
static int probe_ioas(char **words)
{
	struct iommu_ioas_alloc alloc = {.size = sizeof(alloc)};
	int r = ioctl(iommufd, CALL(IOAS_ALLOC), &alloc);

	(void)words;
	return report_id(r, alloc.out_id);
}

/* map IOAS IOVA TEXT: a page of this process that begins with TEXT. */
static int probe_map(char **words)
{
	struct iommu_ioas_map map = {.size = sizeof(map),
		.flags = MAP_FIXED_READ_WRITE,
		.ioas_id = number(words[1]),
		.length = PAGE};
	char *page;

	errno = EINVAL;
	if (!words[2] || !words[3])
		return report(-1);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	if (page == MAP_FAILED)
		return report(-1);
	snprintf(page, PAGE, "%s", words[3]);
	map.user_va = (uintptr_t)page;
	map.iova = strtoull(words[2], NULL, 0);
	return report(ioctl(iommufd, CALL(IOAS_MAP), &map));
}

/* hwpt DEVICE IOAS: a page table that PASIDs can be attached to. */
static int probe_hwpt(char **words)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = HWPT_WITH_PASID, .pt_id = number(words[2])};
	struct device *device = find_device(words[1]);
	int r;

	if (!device)
		return report(-1);
	alloc.dev_id = device->id;
	r = ioctl(iommufd, CALL(HWPT_ALLOC), &alloc);
	return report_id(r, alloc.out_id);
}

/* attach DEVICE HWPT [PASID]; without PASID, the RID itself. */
static int probe_attach(char **words)
{
	struct vfio_attach attach = {.argsz = sizeof(attach), .pt_id = number(words[2])};
	struct device *device = find_device(words[1]);

	if (!device)
		return report(-1);
	if (words[3]) {
		attach.flags = WITH_PASID;
		attach.pasid = number(words[3]);
	}
	return report(ioctl(device->fd, CALL(DEVICE_ATTACH), &attach));
}

/* detach DEVICE [PASID] */
static int probe_detach(char **words)
{
	struct vfio_detach detach = {.argsz = sizeof(detach)};
	struct device *device = find_device(words[1]);

	if (!device)
		return report(-1);
	if (words[2]) {
		detach.flags = WITH_PASID;
		detach.pasid = number(words[2]);
	}
	return report(ioctl(device->fd, CALL(DEVICE_DETACH), &detach));
}

/* reset DEVICE */
static int probe_reset(char **words)
{
	struct device *device = find_device(words[1]);

	return report(device ? ioctl(device->fd, CALL(DEVICE_RESET)) : -1);
}

/* destroy ID: an address space or a page table. */
static int probe_destroy(char **words)
{
	struct iommu_destroy destroy = {.size = sizeof(destroy), .id = number(words[1])};

	return report(ioctl(iommufd, CALL(IOMMU_DESTROY), &destroy));
}

static const struct {
	const char *name;
	int (*run)(char **words);
} commands[] = {
	{"open", probe_open},
	{"close", probe_close},
	{"info", probe_info},
	{"ioas", probe_ioas},
	{"map", probe_map},
	{"hwpt", probe_hwpt},
	{"attach", probe_attach},
	{"detach", probe_detach},
	{"reset", probe_reset},
	{"destroy", probe_destroy},
};

static void run_line(char *line)
{
	char *words[MAX_WORDS + 1] = {0};
	char *rest = NULL;
	int count = 0;

	for (char *word = strtok_r(line, " \n", &rest); word && count < MAX_WORDS;
		word = strtok_r(NULL, " \n", &rest))
		words[count++] = word;
	for (size_t i = 0; words[0] && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(words[0], commands[i].name) == 0) {
			commands[i].run(words);
			return;
		}
	errno = ENOSYS;
	report(-1);
}

int main(void)
{
	char line[512];

	setvbuf(stdout, NULL, _IOLBF, 0);
	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (report(iommufd) < 0)
		return 1;
	while (fgets(line, sizeof(line), stdin))
		run_line(line);
	return 0;
}
