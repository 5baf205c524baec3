/* SPDX-License-Identifier: MIT */
#include "sim_rig.h"

#include "hw/uapi.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const struct rid rig_wide = {0x08}, rig_narrow = {0x10}, rig_none = {0x18}, rig_first = {0x20},
		 rig_second = {0x21}, rig_third = {0x22}, rig_far = {0x28};

struct sim_config rig_config(void)
{
	struct sim_config config = SIM_CONFIG_DEFAULT;
	const struct sim_device_config devices[] = {
		{.rid = rig_wide, .pasid_width = 20},
		{.rid = rig_narrow, .pasid_width = 8},
		{.rid = rig_none},
		{.rid = rig_first, .pasid_width = 16, .group = 7},
		{.rid = rig_second, .pasid_width = 20, .group = 7},
		{.rid = rig_third, .group = 7},
		{.rid = rig_far, .pasid_width = 20, .unit = 1},
	};

	memcpy(config.devices, devices, sizeof(devices));
	config.device_count = ARRAY_SIZE(devices);
	return config;
}

void rig_open(struct rig *rig, const struct sim_config *config)
{
	struct error error = {0};

	(void)snprintf(rig->dir, sizeof(rig->dir), "%s/test-sim-XXXXXX",
		access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(rig->dir));
	ck_assert_msg(sim_create(rig->dir, config, &error) == 0, "%s", error.text);
	ck_assert_int_eq(sim_open(rig->dir, &rig->sim), 0);
	rig->calls = sim_calls(rig->sim);
}

static void folder_remove(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		(void)closedir(dir);
	(void)rmdir(path);
}

void rig_close(struct rig *rig)
{
	char devices[80];

	sim_close(rig->sim);
	(void)snprintf(devices, sizeof(devices), "%s/devices", rig->dir);
	folder_remove(devices);
	folder_remove(rig->dir);
}

struct rig_vm rig_vm(struct rig *rig, struct rid rid)
{
	struct rig_vm vm = {.iommufd = -1, .device = -1};
	struct stat st;

	vm.memfd = memfd_create("guest", MFD_CLOEXEC);
	ck_assert_int_ge(vm.memfd, 0);
	ck_assert_int_eq(ftruncate(vm.memfd, RIG_MEMORY), 0);
	ck_assert_int_eq(fstat(vm.memfd, &st), 0);
	vm.ino = st.st_ino;
	ck_assert_int_eq(rig->calls->open_iommufd(rig->sim, &vm.iommufd), 0);
	ck_assert_int_eq(rig->calls->open_device(rig->sim, rid, &vm.device), 0);
	ck_assert_int_eq(rig->calls->bind(rig->sim, vm.device, vm.iommufd, &vm.dev_id), 0);
	ck_assert_int_eq(rig->calls->ioas_alloc(rig->sim, vm.iommufd, &vm.ioas), 0);
	ck_assert_int_eq(rig->calls->map_file(rig->sim, vm.iommufd, vm.ioas, vm.memfd, 0,
				 RIG_MEMORY, RIG_IOVA, HW_MAP_WRITE),
		0);
	return vm;
}

void rig_vm_close(struct rig *rig, struct rig_vm *vm)
{
	rig->calls->close(rig->sim, vm->device);
	rig->calls->close(rig->sim, vm->iommufd);
	(void)close(vm->memfd);
}

uint32_t rig_hwpt(struct rig *rig, const struct rig_vm *vm, uint32_t flags)
{
	const struct calls_hwpt args = {.flags = flags, .dev_id = vm->dev_id, .pt_id = vm->ioas};
	uint32_t hwpt = 0;

	ck_assert_int_eq(rig->calls->hwpt_alloc(rig->sim, vm->iommufd, &args, &hwpt), 0);
	return hwpt;
}

int rig_nested(struct rig *rig, const struct rig_vm *vm, uint32_t parent, uint32_t width,
	uint64_t flags, uint64_t root, uint32_t *ret_hwpt)
{
	const struct uapi_hwpt_vtd_s1 s1 = {
		.flags = flags, .pgtbl_addr = root, .addr_width = width};
	const struct calls_hwpt args = {.flags = CALLS_HWPT_PASID,
		.dev_id = vm->dev_id,
		.pt_id = parent,
		.data_type = UAPI_HWPT_DATA_VTD_S1,
		.data_len = sizeof(s1),
		.data = &s1};

	return rig->calls->hwpt_alloc(rig->sim, vm->iommufd, &args, ret_hwpt);
}

int rig_attach(struct rig *rig, const struct rig_vm *vm, uint32_t pt_id, uint32_t pasid)
{
	return rig->calls->attach(rig->sim, vm->device, pt_id, &(struct hpasid){pasid});
}

int rig_detach(struct rig *rig, const struct rig_vm *vm, uint32_t pasid)
{
	return rig->calls->detach(rig->sim, vm->device, &(struct hpasid){pasid});
}

enum vtd_stop rig_stop(struct rig *rig, struct rid rid, uint32_t pasid, uint64_t address)
{
	struct sim_walk_result result;

	ck_assert_int_eq(
		sim_walk(rig->sim, rid, &(struct hpasid){pasid}, address, false, &result), 0);
	return result.vtd.stop;
}

uint64_t rig_reach(struct rig *rig, struct rid rid, uint32_t pasid)
{
	struct sim_walk_result result;

	ck_assert_int_eq(
		sim_walk(rig->sim, rid, &(struct hpasid){pasid}, RIG_IOVA, false, &result), 0);
	return result.has_file ? result.ino : 0;
}

unsigned rig_entries(struct rig *rig, struct rid rid)
{
	struct sim_entries entries;
	struct sim_entry entry;
	unsigned count = 0;

	ck_assert_int_eq(sim_entries_init(&entries, rig->sim), 0);
	while (sim_entries_next(&entries, &entry) > 0)
		count += entry.rid.v == rid.v;
	return count;
}
