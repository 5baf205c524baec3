/* SPDX-License-Identifier: MIT */
/*
 * What a VMM does on an SMMUv3: guest memory, the objects of nesting, and a device's own registers.
 * The structures are declared here once more, not taken from the daemon. Source: Linux 7.3,
 * include/uapi/linux/iommufd.h and vfio.h.
 */
#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CALL(number) _IO(';', number)

struct hwpt_alloc {
	uint32_t size, flags, dev_id, pt_id, out_id, reserved;
	uint32_t data_type, data_len;
	uint64_t data_uptr;
	uint32_t fault_id, reserved2;
};

struct viommu_alloc {
	uint32_t size, flags, type, dev_id, hwpt_id, out_id;
	uint32_t data_len, reserved;
	uint64_t data_uptr;
};

struct vdevice_alloc {
	uint32_t size, viommu_id, dev_id, out_id;
	uint64_t virt_id;
};

struct hw_info {
	uint32_t size, flags, dev_id, data_len;
	uint64_t data_uptr;
	uint32_t out_type;
	uint8_t out_max_pasid_log2, reserved[3];
	uint64_t out_capabilities;
};

struct smmu_info {
	uint32_t flags, reserved, idr[6], iidr, aidr;
};

struct ioas_map {
	uint32_t size, flags, ioas_id, reserved;
	uint64_t user_va, length, iova;
};

struct hwpt_invalidate {
	uint32_t size, hwpt_id;
	uint64_t data_uptr;
	uint32_t data_type, entry_len, entry_num, reserved;
};

struct veventq_alloc {
	uint32_t size, flags, viommu_id, type, depth, out_id, out_fd, reserved;
};

struct vfio_region {
	uint32_t argsz, flags, index, cap_offset;
	uint64_t size, offset;
};

enum {
	REGION_INFO = 0x6c,
	IOAS_MAP = 0x85,
	HWPT_ALLOC = 0x89,
	GET_HW_INFO = 0x8a,
	VIOMMU_ALLOC = 0x90,
	HWPT_INVALIDATE = 0x8d,
	VDEVICE_ALLOC = 0x91,
	VEVENTQ_ALLOC = 0x93,
};

enum { NEST_PARENT = 1, SMMUV3 = 1, DATA_SMMUV3 = 2, MAP_FIXED_READ_WRITE = 7 };
enum { REGION_BAR0 = 0, REGION_CONFIG = 7, COMMAND = 4, MEMORY_AND_MASTER = 6 };
enum { MAX_PIECES = 16 };

/* Guest memory: where the guest has it, and where this process does. */
struct piece {
	uint64_t address, length;
	unsigned char *bytes;
};

static struct piece pieces[MAX_PIECES];
static size_t piece_count;
static int events = -1;

static uint64_t wide(const char *word)
{
	return word ? strtoull(word, NULL, 0) : 0;
}

static void report_id(int r, uint64_t id)
{
	if (r < 0)
		agent_report(r);
	else
		agent_ok_numbers(1, &id);
}

/* smmu DEVICE: type, width, IDR0 to IDR5. */
static void smmu_info(char **words)
{
	struct smmu_info smmu = {0};
	struct hw_info info = {.size = sizeof(info),
		.dev_id = kernel_device_id(words[1]),
		.data_len = sizeof(smmu),
		.data_uptr = (uintptr_t)&smmu};

	if (ioctl(kernel_iommufd(), CALL(GET_HW_INFO), &info) < 0) {
		agent_report(-1);
		return;
	}
	printf("ok %u %u", info.out_type, info.out_max_pasid_log2);
	for (int i = 0; i < 6; i++)
		printf(" %#x", smmu.idr[i]);
	putchar('\n');
}

/* guest-memory IOAS ADDRESS LENGTH: zeroed. */
static void smmu_memory(char **words)
{
	struct ioas_map map = {.size = sizeof(map),
		.flags = MAP_FIXED_READ_WRITE,
		.ioas_id = agent_number(words[1]),
		.iova = wide(words[2]),
		.length = wide(words[3])};
	struct piece *piece = &pieces[piece_count];
	int r;

	errno = ENFILE;
	if (piece_count == MAX_PIECES) {
		agent_report(-1);
		return;
	}
	*piece = (struct piece){.address = map.iova, .length = map.length};
	piece->bytes = mmap(NULL, map.length, PROT_READ | PROT_WRITE,
		MAP_ANONYMOUS | MAP_PRIVATE | MAP_POPULATE, -1, 0);
	if (piece->bytes == MAP_FAILED) {
		agent_report(-1);
		return;
	}
	map.user_va = (uintptr_t)piece->bytes;
	r = ioctl(kernel_iommufd(), CALL(IOAS_MAP), &map);
	piece_count += r == 0;
	agent_report(r);
}

/* A 64-bit word of guest memory. */
static volatile uint64_t *find_word(uint64_t address)
{
	for (size_t i = 0; i < piece_count; i++) {
		struct piece *piece = &pieces[i];

		if (address >= piece->address && address - piece->address <= piece->length - 8)
			return (volatile uint64_t *)(void *)(piece->bytes +
							     (address - piece->address));
	}
	errno = EFAULT;
	return NULL;
}

/* poke ADDRESS VALUE... */
static void smmu_poke(char **words)
{
	volatile uint64_t *word;

	for (size_t i = 2; i == 2 || words[i]; i++) {
		word = find_word(wide(words[1]) + 8 * (i - 2));
		if (!word) {
			agent_report(-1);
			return;
		}
		*word = wide(words[i]);
	}
	agent_ok();
}

/* peek ADDRESS */
static void smmu_peek(char **words)
{
	volatile uint64_t *word = find_word(wide(words[1]));

	report_id(word ? 0 : -1, word ? *word : 0);
}

/* Flags that a test adds, which is none without a word. */
static uint32_t more_flags(const char *word)
{
	return word ? agent_number(word) : 0;
}

/* parent DEVICE IOAS [FLAGS]: the second stage of tables that guests own. */
static void smmu_parent(char **words)
{
	struct hwpt_alloc alloc = {.size = sizeof(alloc),
		.flags = NEST_PARENT | more_flags(words[3]),
		.dev_id = kernel_device_id(words[1]),
		.pt_id = agent_number(words[2])};
	int r = ioctl(kernel_iommufd(), CALL(HWPT_ALLOC), &alloc);

	report_id(r, alloc.out_id);
}

/* viommu DEVICE PARENT */
static void smmu_viommu(char **words)
{
	struct viommu_alloc alloc = {.size = sizeof(alloc),
		.type = SMMUV3,
		.dev_id = kernel_device_id(words[1]),
		.hwpt_id = agent_number(words[2])};
	int r = ioctl(kernel_iommufd(), CALL(VIOMMU_ALLOC), &alloc);

	report_id(r, alloc.out_id);
}

/* vdevice DEVICE VIOMMU STREAM: the stream id that the guest knows the device by. */
static void smmu_vdevice(char **words)
{
	struct vdevice_alloc alloc = {.size = sizeof(alloc),
		.dev_id = kernel_device_id(words[1]),
		.viommu_id = agent_number(words[2]),
		.virt_id = wide(words[3])};
	int r = ioctl(kernel_iommufd(), CALL(VDEVICE_ALLOC), &alloc);

	report_id(r, alloc.out_id);
}

/* ste DEVICE VIOMMU WORD0 WORD1 [FLAGS]: a page table that a guest's stream table entry is. */
static void smmu_ste(char **words)
{
	uint64_t entry[2] = {wide(words[3]), words[3] ? wide(words[4]) : 0};
	struct hwpt_alloc alloc = {.size = sizeof(alloc),
		.dev_id = kernel_device_id(words[1]),
		.pt_id = agent_number(words[2]),
		.data_type = DATA_SMMUV3,
		.data_len = sizeof(entry),
		.data_uptr = (uintptr_t)entry};
	int r;

	if (words[3] && words[4])
		alloc.flags = more_flags(words[5]);
	r = ioctl(kernel_iommufd(), CALL(HWPT_ALLOC), &alloc);
	report_id(r, alloc.out_id);
}

/* invalidate VIOMMU WORD0 WORD1: a command that a guest put in its SMMU's queue. */
static void smmu_invalidate(char **words)
{
	uint64_t command[2] = {wide(words[2]), words[2] ? wide(words[3]) : 0};
	struct hwpt_invalidate invalidate = {.size = sizeof(invalidate),
		.hwpt_id = agent_number(words[1]),
		.data_uptr = (uintptr_t)command,
		.data_type = SMMUV3,
		.entry_len = sizeof(command),
		.entry_num = 1};

	agent_report(ioctl(kernel_iommufd(), CALL(HWPT_INVALIDATE), &invalidate));
}

/* events VIOMMU: has the kernel queue what a guest's SMMU would report. */
static void smmu_events(char **words)
{
	struct veventq_alloc alloc = {.size = sizeof(alloc),
		.viommu_id = agent_number(words[1]),
		.type = SMMUV3,
		.depth = 16};
	int r = ioctl(kernel_iommufd(), CALL(VEVENTQ_ALLOC), &alloc);

	if (r == 0)
		events = (int)alloc.out_fd;
	report_id(r, alloc.out_id);
}

/* event MS: the four words of the next record, in the guest's form. */
static void smmu_event(char **words)
{
	struct {
		uint32_t flags, sequence;
		uint64_t words[4];
	} record = {0};
	struct pollfd poller = {.fd = events, .events = POLLIN};

	errno = ETIME;
	if (poll(&poller, 1, (int)agent_number(words[1])) != 1 ||
		read(events, &record, sizeof(record)) != sizeof(record))
		agent_report(-1);
	else
		agent_ok_numbers(4, record.words);
}

/* Where a region of the device begins in its descriptor; -1: none. */
static int64_t region(int fd, uint32_t index)
{
	struct vfio_region region = {.argsz = sizeof(region), .index = index};

	return ioctl(fd, CALL(REGION_INFO), &region) < 0 ? -1 : (int64_t)region.offset;
}

/* enable DEVICE: its memory decoding and its mastering of the bus. */
static void smmu_enable(char **words)
{
	int fd = kernel_device(words[1]);
	int64_t at = region(fd, REGION_CONFIG);
	uint16_t command = MEMORY_AND_MASTER;

	agent_report(at < 0 || pwrite(fd, &command, sizeof(command), at + COMMAND) < 0 ? -1 : 0);
}

/* register DEVICE OFFSET [VALUE]: reads or writes 32 bits of its first BAR. */
static void smmu_register(char **words)
{
	int fd = kernel_device(words[1]);
	int64_t at = region(fd, REGION_BAR0) + (int64_t)wide(words[2]);
	uint32_t value = agent_number(words[2] ? words[3] : NULL);
	ssize_t r;

	if (words[2] && words[3])
		r = pwrite(fd, &value, sizeof(value), at);
	else
		r = pread(fd, &value, sizeof(value), at);
	report_id(r == sizeof(value) ? 0 : -1, value);
}

const struct agent_command smmu_commands[] = {
	{"smmu", smmu_info},
	{"guest-memory", smmu_memory},
	{"poke", smmu_poke},
	{"peek", smmu_peek},
	{"parent", smmu_parent},
	{"viommu", smmu_viommu},
	{"vdevice", smmu_vdevice},
	{"ste", smmu_ste},
	{"invalidate", smmu_invalidate},
	{"events", smmu_events},
	{"event", smmu_event},
	{"enable", smmu_enable},
	{"register", smmu_register},
	{0},
};
