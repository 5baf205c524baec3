/* SPDX-License-Identifier: MIT */
/*
 * A VMM as a test drives it: what pasidd does is asked of it through libpasid, what a VMM does
 * itself (open devices, map memory, make page tables) is done with iommufd directly.
 * A refusal of pasidd is answered by "error CODE REASON message".
 */
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct pasid_client *client;
static struct pasid_map *map;
static int foreign_iommufd = -1, foreign_device = -1;

static void vmm_refused(int r, const struct pasid_error *error)
{
	if (r < 0) {
		agent_fail(-r);
		return;
	}
	printf("error %s %s %s\n", pasid_status_text(r), error->reason[0] ? error->reason : "-",
		error->message);
}

struct pasid_client *vmm_session(void)
{
	return client;
}

int vmm_iommufd(void)
{
	return foreign_iommufd >= 0 ? foreign_iommufd : kernel_iommufd();
}

void vmm_report(int r)
{
	if (r == 0)
		agent_ok();
	else
		vmm_refused(r, pasid_last_error(client));
}

void vmm_report_number(int r, uint64_t number)
{
	if (r == 0)
		agent_ok_numbers(1, &number);
	else
		vmm_refused(r, pasid_last_error(client));
}

/* "5" is a host PASID, "g5" a guest PASID. */
struct pasid_number vmm_pasid(const char *word)
{
	bool guest = word && word[0] == 'g';

	return (struct pasid_number){
		.guest = guest, .value = agent_number(guest ? word + 1 : word)};
}

/* pasidd's number of a device, which has more bits than others. */
uint64_t vmm_device_id(const char *word)
{
	return word ? strtoull(word, NULL, 0) : 0;
}

/* connect [admin|observer] */
static void vmm_connect(char **words)
{
	struct pasid_options options = {.name = "test-vmm", .role = PASID_ROLE_VMM};
	struct pasid_error error = {0};
	int r;

	if (words[1] && strcmp(words[1], "admin") == 0)
		options.role = PASID_ROLE_ADMIN;
	if (words[1] && strcmp(words[1], "observer") == 0)
		options.role = PASID_ROLE_OBSERVER;
	r = pasid_open(&options, &client, &error);
	if (r == 0)
		agent_ok();
	else
		vmm_refused(r, &error);
}

/* hand-over [cancel]: answers with the secret in hexadecimal, for another process's "take-over". */
static void vmm_hand_over(char **words)
{
	struct pasid_hand_over over = {0};
	int fd = -1;
	int r;

	if (words[1] && strcmp(words[1], "cancel") == 0) {
		vmm_report(pasid_hand_over_cancel(client));
		return;
	}
	r = pasid_hand_over(client, &over, &fd);
	if (r != 0) {
		vmm_report(r);
		return;
	}
	printf("ok ");
	for (size_t i = 0; i < sizeof(over.secret); i++)
		printf("%02x", over.secret[i]);
	putchar('\n');
}

/* take-over SECRET: instead of "connect"; answers with the set. */
static void vmm_take_over(char **words)
{
	struct pasid_hand_over over = {0};
	struct pasid_options options = {.name = "test-heir", .take_over = &over};
	struct pasid_error error = {0};
	uint64_t set;
	int r;

	for (size_t i = 0; words[1] && i < sizeof(over.secret) && words[1][2 * i]; i++) {
		const char digits[3] = {words[1][2 * i], words[1][2 * i + 1], '\0'};

		over.secret[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	r = pasid_open(&options, &client, &error);
	if (r != 0) {
		vmm_refused(r, &error);
		return;
	}
	set = pasid_session_info(client)->set;
	agent_ok_numbers(1, &set);
}

/* change-process: the kernel charges us for what is mapped through the iommufd that we pass. */
static void vmm_change_process(char **words)
{
	int r = pasid_change_process(foreign_iommufd >= 0 ? foreign_iommufd : kernel_iommufd());

	(void)words;
	if (r < 0)
		agent_fail(-r);
	else
		agent_ok();
}

/* connected: is the daemon still there? */
static void vmm_connected(char **words)
{
	(void)words;
	vmm_report(pasid_ping(client));
}

/* timeout MS: of what is asked from here on. */
static void vmm_timeout(char **words)
{
	vmm_report(pasid_set_timeout(client, agent_number(words[1])));
}

/* set NAME [QUOTA [identity|guest-owned]] */
static void vmm_set(char **words)
{
	struct pasid_set_create_args args = {.name = words[1]};
	struct pasid_set_info info = {0};
	int r;

	if (words[1] && words[2]) {
		args.has_quota = true;
		args.quota = agent_number(words[2]);
		args.mode = words[3] ? PASID_SET_IDENTITY : PASID_SET_TRANSLATED;
		if (words[3] && strcmp(words[3], "guest-owned") == 0)
			args.mode = PASID_SET_GUEST_OWNED;
	}
	r = pasid_set_create(client, &args, &info);
	vmm_report_number(r, info.id);
}

/* allocate [GUEST]: one number. */
static void vmm_allocate(char **words)
{
	struct pasid_allocate_args args = {.count = 1};
	uint32_t host = 0;
	int r;

	if (words[1]) {
		args.has_guest = true;
		args.guest_pasid = agent_number(words[1]);
	}
	r = pasid_allocate(client, &args, &host);
	vmm_report_number(r, host);
}

size_t vmm_devices(char **words, size_t first, uint64_t *devices)
{
	size_t count = 0;

	while (count < PASID_PAIRS_MAX && words[first + count]) {
		devices[count] = vmm_device_id(words[first + count]);
		count++;
	}
	return count;
}

/* rids NUMBER DEVICE...: this number, for these devices only. */
static void vmm_rids(char **words)
{
	uint64_t devices[PASID_PAIRS_MAX] = {0};
	struct pasid_allocate_args args = {
		.count = 1, .devices = devices, .scope = PASID_SCOPE_RIDS};
	uint32_t host = 0;
	int r;

	args.min = args.max = agent_number(words[1]);
	args.device_count = words[1] ? vmm_devices(words, 2, devices) : 0;
	r = pasid_allocate(client, &args, &host);
	vmm_report_number(r, host);
}

/* extend PASID DEVICE...: answers with how many groups it is for now that it was not for. */
static void vmm_extend(char **words)
{
	uint64_t devices[PASID_PAIRS_MAX] = {0};
	struct pasid_extend_args args = {.pasid = vmm_pasid(words[1]), .devices = devices};
	uint32_t added = 0;
	int r;

	args.device_count = words[1] ? vmm_devices(words, 2, devices) : 0;
	r = pasid_extend(client, &args, &added);
	vmm_report_number(r, added);
}

/* free PASID */
static void vmm_free(char **words)
{
	struct pasid_number number = vmm_pasid(words[1]);
	struct pasid_free_args args = {.pasids = &number, .count = 1};

	vmm_report(pasid_free(client, &args, NULL, NULL));
}

static uint64_t vmm_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A number that is allocated and freed. */
static int vmm_churn_once(void)
{
	struct pasid_allocate_args allocate = {.count = 1};
	struct pasid_number number = {0};
	struct pasid_free_args args = {.pasids = &number, .count = 1};
	int r = pasid_allocate(client, &allocate, &number.value);

	return r == 0 ? pasid_free(client, &args, NULL, NULL) : r;
}

/*
 * churn MS: allocates and frees for so long. Answers with the rounds, the microseconds of the
 * longest, and how many failed; the last failure goes to standard error.
 */
static void vmm_churn(char **words)
{
	enum { PAUSE_US = 10000 }; /* freed numbers cool, and count against the quota until then */
	uint64_t now = vmm_now_us(), end = now + 1000ull * agent_number(words[1]);
	uint64_t numbers[3] = {0};

	while (now < end) {
		uint64_t begin = now;

		if (vmm_churn_once() != 0) {
			numbers[2]++;
			fprintf(stderr, "churn: %s\n", pasid_last_error(client)->message);
		}
		now = vmm_now_us();
		if (now - begin > numbers[1])
			numbers[1] = now - begin;
		numbers[0]++;
		usleep(PAUSE_US);
		now = vmm_now_us();
	}
	agent_ok_numbers(3, numbers);
}

/* find HOST: answers with the set and the number of bindings. */
static void vmm_find(char **words)
{
	struct pasid_grant_info info = {0};
	struct pasid_host_args find = {.host_pasid = agent_number(words[1])};
	int r = pasid_host_find(client, &find, &info);
	uint64_t numbers[] = {info.set, info.bindings};

	if (r == 0)
		agent_ok_numbers(2, numbers);
	else
		vmm_report(r);
}

/* translate GUEST: what it stands for, looked up in memory; 0: nothing. */
static void vmm_translate(char **words)
{
	uint32_t host = 0;
	int r = map ? 0 : pasid_map_open(client, NULL, &map);

	if (r != 0) {
		vmm_report(r);
		return;
	}
	r = pasid_map_find(map, agent_number(words[1]), &host);
	vmm_report_number(r < 0 ? r : 0, host);
}

static void vmm_report_device(int r, const struct pasid_device_info *info)
{
	uint64_t numbers[] = {info->id, info->pasid_width, info->group, info->dev_id};

	if (r == 0)
		agent_ok_numbers(4, numbers);
	else
		vmm_report(r);
}

/* device DEVICE: registers what "node" or "open" opened. */
static void vmm_device(char **words)
{
	struct pasid_device_add_args args = {
		.iommufd = vmm_iommufd(), .device = kernel_device(words[1])};
	struct pasid_device_info info = {0};
	int r;

	if (foreign_device >= 0)
		args.device = foreign_device;
	r = pasid_device_add(client, &args, &info, NULL);
	if (r == 0)
		kernel_bound(words[1], info.dev_id);
	vmm_report_device(r, &info);
}

/* remove DEVICE: pasidd gives up its copies. */
static void vmm_remove(char **words)
{
	struct pasid_device_ref device = {.device = vmm_device_id(words[1])};

	vmm_report(pasid_device_remove(client, &device));
}

/* going DEVICE: the same with what is attached there. */
static void vmm_going(char **words)
{
	struct pasid_device_ref device = {.device = vmm_device_id(words[1])};

	vmm_report(pasid_device_going(client, &device));
}

/* device-open ADDRESS: pasidd opens the function; what it hands back we keep until we end. */
static void vmm_device_open(char **words)
{
	struct pasid_device_add_args args = {
		.iommufd = kernel_iommufd(), .device = -1, .address = words[1]};
	struct pasid_device_info info = {0};
	int fd = -1;

	vmm_report_device(pasid_device_add(client, &args, &info, &fd), &info);
}

static int vmm_take(int process, const char *descriptor)
{
	return (int)syscall(SYS_pidfd_getfd, process, (int)agent_number(descriptor), 0);
}

static void vmm_forget_foreign(void)
{
	if (foreign_iommufd >= 0)
		close(foreign_iommufd);
	if (foreign_device >= 0)
		close(foreign_device);
	foreign_iommufd = foreign_device = -1;
}

/*
 * foreign PROCESS IOMMUFD [DEVICE]: from here on, "device" passes another process's descriptors,
 * which a VMM could have come by in some other way.
 */
static void vmm_foreign(char **words)
{
	int process = (int)syscall(SYS_pidfd_open, (pid_t)agent_number(words[1]), 0);

	vmm_forget_foreign();
	if (process >= 0) {
		foreign_iommufd = vmm_take(process, words[2]);
		if (words[2] && words[3])
			foreign_device = vmm_take(process, words[3]);
		close(process);
	}
	agent_report(foreign_iommufd < 0 || (words[3] && foreign_device < 0) ? -1 : 0);
}

static int vmm_open(const char *path)
{
	int fd = path && strcmp(path, "-") != 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;

	return fd < 0 && path && errno == EISDIR ? open(path, O_RDONLY | O_CLOEXEC) : fd;
}

/* pass IOMMUFD DEVICE: paths of what "device" passes from here on; "-": what it would have. */
static void vmm_pass(char **words)
{
	vmm_forget_foreign();
	if (!words[1] || !words[2]) {
		agent_fail(EINVAL);
		return;
	}
	foreign_iommufd = vmm_open(words[1]);
	foreign_device = vmm_open(words[2]);
	agent_report((foreign_iommufd < 0 && strcmp(words[1], "-") != 0) ||
				     (foreign_device < 0 && strcmp(words[2], "-") != 0)
			     ? -1
			     : 0);
}

/* own: ends "foreign" and "pass". */
static void vmm_own(char **words)
{
	(void)words;
	vmm_forget_foreign();
	agent_ok();
}

/* descriptors [DEVICE]: numbers in this process, for another one's "foreign". */
static void vmm_descriptors(char **words)
{
	uint64_t numbers[] = {(uint64_t)kernel_iommufd(), 0};

	if (words[1])
		numbers[1] = (uint64_t)kernel_device(words[1]);
	agent_ok_numbers(words[1] ? 2 : 1, numbers);
}

/* share ADDRESS: admins. */
static void vmm_share(char **words)
{
	struct pasid_device_info info = {0};

	vmm_report_device(pasid_device_share(client, words[1], &info), &info);
}

/* slice ADDRESS */
static void vmm_slice(char **words)
{
	struct pasid_device_slice_args args = {.address = words[1]};
	struct pasid_device_info info = {0};

	vmm_report_device(pasid_device_slice(client, &args, &info), &info);
}

/* drained DEVICE: admins. */
static void vmm_drained(char **words)
{
	uint32_t released = 0;
	int r = pasid_device_drained(client, vmm_device_id(words[1]), &released);

	vmm_report_number(r, released);
}

/* memory DEVICE SPACE IOVA TEXT: a page behind a slice that begins with TEXT. */
static void vmm_memory(char **words)
{
	struct pasid_memory_args args = {.device = vmm_device_id(words[1]),
		.space = agent_number(words[2]),
		.iova = words[2] && words[3] ? strtoull(words[3], NULL, 0) : 0,
		.length = 4096,
		.writeable = true,
		.memfd = memfd_create("guest-memory", MFD_CLOEXEC)};
	const char *text = words[3] && words[4] ? words[4] : "";

	if (args.memfd < 0 || ftruncate(args.memfd, 4096) < 0 ||
		pwrite(args.memfd, text, strlen(text), 0) < 0)
		agent_report(-1);
	else
		vmm_report(pasid_memory_map(client, &args));
	if (args.memfd >= 0)
		close(args.memfd);
}

static const struct agent_command vmm_commands[] = {
	{"connect", vmm_connect},
	{"hand-over", vmm_hand_over},
	{"take-over", vmm_take_over},
	{"change-process", vmm_change_process},
	{"connected", vmm_connected},
	{"timeout", vmm_timeout},
	{"set", vmm_set},
	{"allocate", vmm_allocate},
	{"rids", vmm_rids},
	{"extend", vmm_extend},
	{"free", vmm_free},
	{"churn", vmm_churn},
	{"find", vmm_find},
	{"translate", vmm_translate},
	{"device", vmm_device},
	{"device-open", vmm_device_open},
	{"remove", vmm_remove},
	{"going", vmm_going},
	{"foreign", vmm_foreign},
	{"pass", vmm_pass},
	{"own", vmm_own},
	{"descriptors", vmm_descriptors},
	{"share", vmm_share},
	{"slice", vmm_slice},
	{"drained", vmm_drained},
	{"memory", vmm_memory},
	{"bind", vmm_bind},
	{"unbind", vmm_unbind},
	{"replace", vmm_replace},
	{"attach-rid", vmm_attach_rid},
	{"detach-rid", vmm_detach_rid},
	{"standing", vmm_standing},
	{"objects", vmm_objects},
	{0},
};

int main(void)
{
	int r = kernel_init();

	if (r < 0) {
		agent_fail(-r);
		return 1;
	}
	agent_add(stream_commands);
	agent_add(smmu_commands);
	agent_run(vmm_commands, kernel_commands);
	return 0;
}
