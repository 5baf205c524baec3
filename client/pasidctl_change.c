/* SPDX-License-Identifier: MIT */
/* Commands that change something. */
#include "pasidctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The answer to a change without a result. */
static int change_done(struct ctl *ctl, int r)
{
	if (r != 0)
		return ctl_failed(ctl, r);
	ctl->answer = ctl_json_ok();
	return EXIT_DONE;
}

static int change_number(struct ctl *ctl, int r, const char *key, uint64_t value)
{
	r = change_done(ctl, r);
	if (r == EXIT_DONE)
		json_object_set_new(ctl->answer, key, json_integer((json_int_t)value));
	return r;
}

static void change_add(struct ctl *ctl, const char *key, json_t *value)
{
	json_object_set_new(ctl->answer, key, value);
}

/* ------------------------------------------------------------ sets */

int ctl_set_create(struct ctl *ctl)
{
	struct pasid_set_info info;
	struct pasid_set_create_args args = {
		.name = ctl->args[0],
		.mode = ctl->mode,
		.has_quota = (ctl->given & CTL_QUOTA) != 0,
		.quota = (uint32_t)ctl->quota,
		.has_owner = (ctl->given & CTL_OWNER) != 0,
		.owner_uid = ctl->owner,
		.scopes = ctl->scope,
	};
	int r = change_done(ctl, pasid_set_create(ctl->client, &args, &info));
	if (r == EXIT_DONE)
		change_add(ctl, "set", ctl_json_set(&info));
	return r;
}

int ctl_set_adjust(struct ctl *ctl)
{
	struct pasid_set_info info;
	uint64_t quota;
	if (!ctl_number(ctl->args[1], "QUOTA", PASID_MAX, &quota))
		return EXIT_USAGE;
	struct pasid_set_adjust_args args = {.quota = (uint32_t)quota};
	if (!ctl_set(ctl->args[0], &args.set))
		return EXIT_USAGE;
	int r = change_done(ctl, pasid_set_adjust(ctl->client, &args, &info));
	if (r == EXIT_DONE)
		change_add(ctl, "set", ctl_json_set(&info));
	return r;
}

int ctl_set_destroy(struct ctl *ctl)
{
	struct pasid_set_destroy_args args = {.force = (ctl->given & CTL_FORCE) != 0};
	if (!ctl_set(ctl->args[0], &args.set))
		return EXIT_USAGE;
	return change_done(ctl, pasid_set_destroy(ctl->client, &args));
}

/* ------------------------------------------------------------ numbers */

/* The devices that the words from `first` on name, PASID_PAIRS_MAX at most. */
static bool change_devices(
	struct ctl *ctl, size_t first, uint64_t *devices, size_t *ret_count, int *ret_code)
{
	*ret_count = ctl->arg_count - first;
	for (size_t i = 0; i < *ret_count; i++)
		if (!ctl_device(ctl, ctl->args[first + i], &devices[i], ret_code))
			return false;
	return true;
}

int ctl_alloc(struct ctl *ctl)
{
	static uint32_t numbers[PASID_ALLOCATE_MAX];
	uint64_t devices[PASID_PAIRS_MAX];
	int code;
	struct pasid_allocate_args args = {
		.set = ctl->set,
		.min = (uint32_t)ctl->min,
		.max = (uint32_t)ctl->max,
		.count = ctl->given & CTL_COUNT ? (uint32_t)ctl->count : 1,
		.consecutive = (ctl->given & CTL_CONSECUTIVE) != 0,
		.has_guest = (ctl->given & CTL_GUEST) != 0,
		.guest_pasid = (uint32_t)ctl->guest,
		.data = ctl->data,
		.devices = devices,
		.scope = ctl->scope,
	};
	if (args.count == 0)
		return ctl_usage("--count is at least 1");
	if (!change_devices(ctl, 0, devices, &args.device_count, &code))
		return code;
	int r = change_done(ctl, pasid_allocate(ctl->client, &args, numbers));
	if (r != EXIT_DONE)
		return r;
	json_t *array = json_array();
	for (uint32_t i = 0; i < args.count; i++)
		json_array_append_new(array, json_integer(numbers[i]));
	change_add(ctl, "pasids", array);
	return EXIT_DONE;
}

int ctl_extend(struct ctl *ctl)
{
	uint64_t devices[PASID_PAIRS_MAX];
	struct pasid_extend_args args = {.set = ctl->set, .devices = devices};
	uint32_t added = 0;
	int code;
	if (!ctl_pasid(ctl->args[0], &args.pasid))
		return EXIT_USAGE;
	if (!change_devices(ctl, 1, devices, &args.device_count, &code))
		return code;
	int r = change_done(ctl, pasid_extend(ctl->client, &args, &added));
	return change_number(ctl, r, "added", added);
}

void ctl_show_alloc(const struct ctl *ctl, const json_t *answer)
{
	const json_t *number;
	size_t i;
	(void)ctl;
	json_array_foreach ((json_t *)json_object_get(answer, "pasids"), i, number)
		printf("%lld\n", (long long)json_integer_value(number));
}

int ctl_free(struct ctl *ctl)
{
	struct pasid_number numbers[CTL_WORDS_MAX];
	uint32_t freed, unchanged;
	bool all = (ctl->given & CTL_ALL) != 0;
	if (all == (ctl->arg_count > 0))
		return ctl_usage("free takes PASIDs, or --all for every one of the set");
	for (size_t i = 0; i < ctl->arg_count; i++)
		if (!ctl_pasid(ctl->args[i], &numbers[i]))
			return EXIT_USAGE;
	struct pasid_free_args args = {
		.set = ctl->set, .pasids = numbers, .count = ctl->arg_count, .all = all};
	int r = change_done(ctl, pasid_free(ctl->client, &args, &freed, &unchanged));
	if (r != EXIT_DONE)
		return r;
	change_add(ctl, "freed", json_integer(freed));
	change_add(ctl, "unchanged", json_integer(unchanged));
	return EXIT_DONE;
}

static bool change_guest_args(
	struct ctl *ctl, const char *host, const char *guest, struct pasid_guest_args *ret_args)
{
	uint64_t host_number = 0, guest_number;
	if ((host != NULL && !ctl_number(host, "PASID", UINT32_MAX, &host_number)) ||
		!ctl_number(guest, "GUEST", UINT32_MAX, &guest_number))
		return false;
	*ret_args = (struct pasid_guest_args){.set = ctl->set,
		.host_pasid = (uint32_t)host_number,
		.guest_pasid = (uint32_t)guest_number};
	return true;
}

int ctl_guest_attach(struct ctl *ctl)
{
	struct pasid_guest_args args;
	if (!change_guest_args(ctl, ctl->args[0], ctl->args[1], &args))
		return EXIT_USAGE;
	return change_done(ctl, pasid_guest_attach(ctl->client, &args));
}

int ctl_guest_detach(struct ctl *ctl)
{
	struct pasid_guest_args args;
	if (!change_guest_args(ctl, NULL, ctl->args[0], &args))
		return EXIT_USAGE;
	return change_done(ctl, pasid_guest_detach(ctl->client, &args));
}

int ctl_guest_find(struct ctl *ctl)
{
	struct pasid_guest_args args;
	uint32_t host = 0;
	if (!change_guest_args(ctl, NULL, ctl->args[0], &args))
		return EXIT_USAGE;
	int r = pasid_guest_find(ctl->client, &args, &host);
	return change_number(ctl, r, "pasid", host);
}

int ctl_release(struct ctl *ctl)
{
	uint64_t host;
	if (!ctl_number(ctl->args[0], "PASID", UINT32_MAX, &host))
		return EXIT_USAGE;
	struct pasid_host_args args = {.host_pasid = (uint32_t)host, .set = ctl->set};
	return change_done(ctl, pasid_quarantine_end(ctl->client, &args));
}

int ctl_recover(struct ctl *ctl)
{
	bool was_blocked = false;
	int r = change_done(ctl, pasid_recover_confirm(ctl->client, &was_blocked));
	if (r == EXIT_DONE)
		change_add(ctl, "was_blocked", json_boolean(was_blocked));
	return r;
}

void ctl_show_recover(const struct ctl *ctl, const json_t *answer)
{
	(void)ctl;
	puts(json_is_true(json_object_get(answer, "was_blocked"))
			? "confirmed: numbers are granted again"
			: "nothing was blocked: there was nothing to confirm");
}

/* ------------------------------------------------------------ devices */

int ctl_share(struct ctl *ctl)
{
	struct pasid_device_info info;
	int r = change_done(ctl, pasid_device_share(ctl->client, ctl->args[0], &info));
	if (r == EXIT_DONE)
		change_add(ctl, "device", ctl_json_device(&info));
	return r;
}

int ctl_slice(struct ctl *ctl)
{
	struct pasid_device_info info;
	struct pasid_device_slice_args args = {.set = ctl->set, .address = ctl->args[0]};
	int r = change_done(ctl, pasid_device_slice(ctl->client, &args, &info));
	if (r == EXIT_DONE)
		change_add(ctl, "device", ctl_json_device(&info));
	return r;
}

int ctl_remove(struct ctl *ctl)
{
	struct pasid_device_ref device = {.set = ctl->set};
	int code;
	if (!ctl_device(ctl, ctl->args[0], &device.device, &code))
		return code;
	return change_done(ctl, ctl->given & CTL_FORCE ? pasid_device_going(ctl->client, &device)
						       : pasid_device_remove(ctl->client, &device));
}

struct change_search {
	const char *address;
	uint64_t id;
};

/* The shared device itself, among slices with the same address. */
static int change_match_shared(const struct pasid_device_info *info, void *userdata)
{
	struct change_search *search = userdata;
	if (info->kind == PASID_DEVICE_SHARED && ctl_same_address(info->address, search->address))
		search->id = info->id;
	return 0;
}

int ctl_drained(struct ctl *ctl)
{
	struct change_search search = {.address = ctl->args[0]};
	uint32_t released = 0;
	int r = 0;
	if (strchr(ctl->args[0], ':') == NULL) {
		if (!ctl_number(ctl->args[0], "DEVICE", UINT64_MAX, &search.id))
			return EXIT_USAGE;
	} else {
		r = pasid_device_list(ctl->client, NULL, change_match_shared, &search);
		if (r == 0 && search.id == 0)
			return ctl_no_device(ctl, "shared ", search.address);
	}
	if (r == 0)
		r = pasid_device_drained(ctl->client, search.id, &released);
	return change_number(ctl, r, "released", released);
}

/* ------------------------------------------------------------ memory */

/* A memfd with the file's bytes. -errno. */
static int change_copy_file(int file, uint64_t size, int memory)
{
	uint64_t done = 0;
	while (done < size) {
		ssize_t n = copy_file_range(file, NULL, memory, NULL, size - done, 0);
		if (n < 0 && errno == EXDEV) { /* not between these file systems */
			static char buffer[1 << 16];
			n = read(file, buffer, sizeof(buffer));
			if (n > 0 && write(memory, buffer, (size_t)n) != n)
				return -EIO;
		}
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (uint64_t)n;
	}
	return 0;
}

/* A memfd of that size, whole pages, filled from the file unless it is -1. -errno. */
static int change_memory(int file, uint64_t size, uint64_t *ret_length)
{
	uint64_t length = (size + 4095) & ~4095ull;
	int memory = memfd_create("pasidctl", MFD_CLOEXEC);
	if (memory < 0)
		return -errno;
	int r = ftruncate(memory, (off_t)length) < 0 ? -errno : 0;
	if (r == 0 && file >= 0)
		r = change_copy_file(file, size, memory);
	if (r < 0) {
		close(memory);
		return r;
	}
	*ret_length = length;
	return memory;
}

/* FILE or SIZE as a memfd. -errno; -EINVAL also for a file without bytes. */
static int change_open_memory(const char *what, uint64_t *ret_length)
{
	struct stat stat;
	uint64_t size;
	int file = open(what, O_RDONLY | O_CLOEXEC);
	if (file < 0) {
		if (what[0] < '0' || what[0] > '9')
			return -errno;
		return ctl_number(what, "SIZE", 1ull << 40, &size) && size > 0
			       ? change_memory(-1, size, ret_length)
			       : -EINVAL;
	}
	int r = -EINVAL;
	if (fstat(file, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size > 0)
		r = change_memory(file, (uint64_t)stat.st_size, ret_length);
	close(file);
	return r;
}

int ctl_map(struct ctl *ctl)
{
	struct pasid_memory_args args = {.set = ctl->set,
		.iova = ctl->iova,
		.offset = ctl->offset,
		.writeable = !(ctl->given & CTL_READ_ONLY)};
	uint64_t space, length = 0;
	int code = EXIT_USAGE;
	if (!ctl_number(ctl->args[1], "SPACE", UINT32_MAX, &space) ||
		!ctl_device(ctl, ctl->args[0], &args.device, &code))
		return code;
	int memory = change_open_memory(ctl->args[2], &length);
	if (memory < 0)
		return ctl_usage("%s is no memory to map: %s", ctl->args[2], strerror(-memory));
	if (ctl->offset >= length) {
		close(memory);
		return ctl_usage("--offset is beyond the end, %llu", (unsigned long long)length);
	}
	args.space = (uint32_t)space;
	args.memfd = memory;
	args.length = length - ctl->offset;
	int r = pasid_memory_map(ctl->client, &args);
	close(memory);
	return change_number(ctl, r, "length", args.length);
}

int ctl_unmap(struct ctl *ctl)
{
	struct pasid_memory_args args = {.set = ctl->set};
	uint64_t space;
	int code = EXIT_USAGE;
	if (!ctl_number(ctl->args[1], "SPACE", UINT32_MAX, &space) ||
		!ctl_number(ctl->args[2], "IOVA", UINT64_MAX, &args.iova) ||
		!ctl_number(ctl->args[3], "LENGTH", UINT64_MAX, &args.length) ||
		!ctl_device(ctl, ctl->args[0], &args.device, &code))
		return code;
	args.space = (uint32_t)space;
	return change_done(ctl, pasid_memory_unmap(ctl->client, &args));
}

/* ------------------------------------------------------------ bindings */

int ctl_bind(struct ctl *ctl)
{
	struct pasid_pair pairs[PASID_PAIRS_MAX];
	struct pasid_attached tables[PASID_PAIRS_MAX];
	struct pasid_bind_args args = {
		.set = ctl->set, .pairs = pairs, .count = ctl->arg_count - 1};
	uint32_t host = 0;
	int code;
	if (!ctl_pasid(ctl->args[0], &args.pasid))
		return EXIT_USAGE;
	for (size_t i = 0; i < args.count; i++)
		if (!ctl_pair(ctl, ctl->args[i + 1], &pairs[i], &code))
			return code;
	int r = change_number(ctl, pasid_bind(ctl->client, &args, &host, tables), "pasid", host);
	if (r != EXIT_DONE)
		return r;
	json_t *array = json_array();
	for (size_t i = 0; i < args.count; i++) {
		json_t *table = json_object();
		json_object_set_new(table, "device", json_integer((json_int_t)tables[i].device));
		json_object_set_new(table, "hwpt", json_integer(tables[i].hwpt));
		json_object_set_new(table, "made", json_boolean(tables[i].made));
		json_array_append_new(array, table);
	}
	change_add(ctl, "tables", array);
	change_add(ctl, "pasid", json_integer(host));
	return EXIT_DONE;
}

int ctl_unbind(struct ctl *ctl)
{
	uint64_t devices[PASID_PAIRS_MAX];
	struct pasid_unbind_args args = {.set = ctl->set, .devices = devices};
	int code;
	if (!ctl_pasid(ctl->args[0], &args.pasid))
		return EXIT_USAGE;
	if (!change_devices(ctl, 1, devices, &args.count, &code))
		return code;
	return change_done(ctl, pasid_unbind(ctl->client, &args));
}
