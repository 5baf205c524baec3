/* SPDX-License-Identifier: MIT */
/* The simulated IOMMU: making one, descriptors, objects, faults. */
#include "hw/uapi.h"
#include "sim_rig.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct rig rig;

static void setup(void)
{
	struct sim_config config = rig_config();

	rig_open(&rig, &config);
}

static void teardown(void)
{
	rig_close(&rig);
}

/* --- configuration --- */

static int create_status(struct sim_config config)
{
	struct error error = {0};
	int r = sim_create("/nonexistent/simulation", &config, &error);

	if (r > 0)
		ck_assert_uint_gt(strlen(error.text), 20);
	return r;
}

START_TEST(bad_configurations_are_refused)
	{
		struct sim_config config = rig_config();

		ck_assert_int_eq(create_status(config), -ENOENT);
		config.devices[1].rid = config.devices[0].rid;
		ck_assert_int_eq(create_status(config), STATUS_INVALID);
		config = rig_config();
		config.devices[0].pasid_width = 21;
		ck_assert_int_eq(create_status(config), STATUS_INVALID);
		config = rig_config();
		config.devices[0].unit = SIM_UNITS_MAX;
		ck_assert_int_eq(create_status(config), STATUS_INVALID);
		config = rig_config();
		config.devices[6].group = 7; /* on another unit than the group */
		ck_assert_int_eq(create_status(config), STATUS_INVALID);
		config = rig_config();
		config.device_count = SIM_DEVICES_MAX + 1;
		ck_assert_int_eq(create_status(config), STATUS_INVALID);
		config = rig_config();
		config.iommu_width = 21;
		ck_assert_int_eq(create_status(config), STATUS_INVALID);
		config = rig_config();
		config.pages = 1;
		ck_assert_int_eq(create_status(config), STATUS_INVALID);
	}
END_TEST

START_TEST(a_second_creation_is_refused)
	{
		struct sim_config config = rig_config();
		struct error error;

		ck_assert_int_eq(sim_create(rig.dir, &config, &error), -EEXIST);
	}
END_TEST

START_TEST(opening_what_is_no_simulation)
	{
		struct sim *sim = NULL;
		char path[128];
		int fd;

		ck_assert_int_eq(sim_open("/nonexistent/simulation", &sim), -ENOENT);
		(void)snprintf(path, sizeof(path), "%s/memory", rig.dir);
		fd = open(path, O_RDWR | O_CLOEXEC);
		ck_assert_int_eq(pwrite(fd, "X", 1, 0), 1);
		ck_assert_int_eq(sim_open(rig.dir, &sim), -EINVAL);
		ck_assert_ptr_null(sim);
		(void)close(fd);
	}
END_TEST

START_TEST(devices_are_as_configured)
	{
		struct sim_device_config device;
		uint32_t count = 0, group_wide = 0;
		char text[SIM_RID_TEXT];

		while (sim_device(rig.sim, count, &device)) {
			if (device.rid.v == rig_wide.v)
				group_wide = device.group;
			if (device.rid.v == rig_second.v)
				ck_assert_uint_eq(device.group, 7);
			count++;
		}
		ck_assert_uint_eq(count, 7);
		ck_assert_uint_ne(group_wide, 0);
		ck_assert_uint_ne(group_wide, 7);
		sim_rid_format(rig_second, text);
		ck_assert_str_eq(text, "0000:00:04.1");
	}
END_TEST

START_TEST(rids_are_read_and_written)
	{
		static const struct {
			const char *text;
			uint32_t rid;
		} good[] = {{"0000:00:01.0", 8}, {"00:1.0", 8}, {"1:2:3.4", 0x1021c},
			{"ffff:ff:1f.7", UINT32_MAX}};
		static const char *const bad[] = {"", "0", ":", "0:0", "00:20.0", "00:01.8",
			"00:01.0x", "0000:00:01", "10000:00:01.0", "0:0:0:0.0", "g:1.0", " 0:1.0",
			"00:01.-1"};
		struct rid rid;

		for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
			ck_assert_int_eq(sim_rid_parse(good[i].text, &rid), 0);
			ck_assert_uint_eq(rid.v, good[i].rid);
		}
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			ck_assert_msg(sim_rid_parse(bad[i], &rid) == -EINVAL, "'%s'", bad[i]);
	}
END_TEST

/* --- descriptors --- */

START_TEST(descriptors_are_told_apart)
	{
		struct rig_vm vm = rig_vm(&rig, rig_first);
		struct error error = {0};
		struct calls_node node;
		char path[128];
		int plain;

		ck_assert_int_eq(rig.calls->check_iommufd(rig.sim, vm.iommufd, &error), 0);
		ck_assert_int_eq(rig.calls->check_device(rig.sim, vm.device, &node, &error), 0);
		ck_assert_uint_eq(node.rid.v, rig_first.v);
		ck_assert_uint_eq(node.group, 7);
		ck_assert_int_eq(
			rig.calls->check_iommufd(rig.sim, vm.device, &error), STATUS_INVALID);
		ck_assert_uint_eq(error.reason, REASON_FD_KIND);
		ck_assert_int_eq(rig.calls->check_device(rig.sim, vm.iommufd, &node, &error),
			STATUS_INVALID);
		ck_assert_int_eq(
			rig.calls->check_device(rig.sim, vm.memfd, &node, &error), STATUS_INVALID);
		ck_assert_int_eq(rig.calls->check_iommufd(rig.sim, -1, &error), STATUS_INVALID);
		(void)snprintf(path, sizeof(path), "%s/iommu", rig.dir);
		plain = open(path, O_PATH | O_CLOEXEC);
		ck_assert_int_eq(rig.calls->check_iommufd(rig.sim, plain, &error), STATUS_INVALID);
		ck_assert_ptr_nonnull(strstr(error.text, "O_PATH"));
		(void)close(plain);
		plain = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_eq(rig.calls->check_iommufd(rig.sim, plain, &error), STATUS_INVALID);
		(void)close(plain);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(same_file_means_the_same_open_file)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		int copy = dup(vm.iommufd), other = -1;

		ck_assert_int_eq(rig.calls->open_iommufd(rig.sim, &other), 0);
		ck_assert_int_eq(rig.calls->same_file(rig.sim, vm.iommufd, copy), 1);
		ck_assert_int_eq(rig.calls->same_file(rig.sim, vm.iommufd, other), 0);
		ck_assert_int_eq(rig.calls->same_file(rig.sim, vm.iommufd, vm.device), 0);
		ck_assert_int_eq(rig.calls->same_file(rig.sim, vm.iommufd, -1), -EBADF);
		(void)close(copy);
		rig.calls->close(rig.sim, other);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(calls_on_the_wrong_descriptor)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		int device = -1;
		uint32_t id = 77;

		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_narrow, &device), 0);
		ck_assert_int_eq(rig.calls->bind(rig.sim, device, vm.memfd, &id), -EBADFD);
		ck_assert_int_eq(rig.calls->bind(rig.sim, device, -1, &id), -EBADF);
		ck_assert_int_eq(rig.calls->bind(rig.sim, vm.memfd, vm.iommufd, &id), -ENOTTY);
		ck_assert_int_eq(
			rig.calls->attach(rig.sim, device, vm.ioas, NULL), -EINVAL); /* unbound */
		ck_assert_int_eq(rig.calls->ioas_alloc(rig.sim, vm.device, &id), -ENOTTY);
		ck_assert_int_eq(rig.calls->ioas_alloc(rig.sim, -1, &id), -EBADF);
		ck_assert_int_eq(
			rig.calls->open_device(rig.sim, (struct rid){0x99}, &device), -ENOENT);
		ck_assert_uint_eq(id, 77); /* untouched */
		rig.calls->close(rig.sim, device);
		rig_vm_close(&rig, &vm);
	}
END_TEST

/* --- objects --- */

START_TEST(ids_belong_to_one_iommufd)
	{
		struct rig_vm one = rig_vm(&rig, rig_wide), two = rig_vm(&rig, rig_narrow);
		uint32_t hwpt = rig_hwpt(&rig, &one, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &two, hwpt, 3), -ENOENT);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, two.iommufd, hwpt), -ENOENT);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, one.iommufd, hwpt), 0);
		rig_vm_close(&rig, &one);
		rig_vm_close(&rig, &two);
	}
END_TEST

START_TEST(destroy_counts_references)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t parent = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT),
			 nested = 0;

		ck_assert_int_eq(rig_nested(&rig, &vm, parent, 48, 0, 0x1000, &nested), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, vm.ioas), -EBUSY);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, parent), -EBUSY);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, vm.dev_id), -EBUSY);
		ck_assert_int_eq(rig_attach(&rig, &vm, nested, 3), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, nested), -EBUSY);
		ck_assert_int_eq(rig_detach(&rig, &vm, 3), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, nested), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, nested), -ENOENT);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, parent), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, vm.ioas), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(hwpt_alloc_errors)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		struct calls_hwpt args = {.dev_id = vm.dev_id, .pt_id = vm.ioas};
		uint32_t plain = rig_hwpt(&rig, &vm, 0), id = 0;

		args.flags = 2; /* dirty tracking */
		ck_assert_int_eq(
			rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &id), -EOPNOTSUPP);
		args.flags = 0;
		args.pt_id = 4000; /* of the two ids only an unknown device is ENOENT */
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &id), -EINVAL);
		args.pt_id = vm.dev_id;
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &id), -EINVAL);
		args.pt_id = vm.ioas;
		args.dev_id = vm.ioas;
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &id), -ENOENT);
		/* Nesting wants a parent made for it, the right type and a structure that is long
		 * enough. */
		ck_assert_int_eq(rig_nested(&rig, &vm, plain, 48, 0, 0x1000, &id), -EINVAL);
		args = (struct calls_hwpt){
			.dev_id = vm.dev_id, .data_type = 1, .data_len = 8, .data = &args};
		args.pt_id = rig_hwpt(&rig, &vm, CALLS_HWPT_NEST_PARENT);
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &id), -EINVAL);
		args.data_type = 2;
		args.data_len = sizeof(struct uapi_hwpt_vtd_s1);
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &id), -EINVAL);
		ck_assert_uint_eq(id, 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(nesting_is_refused_where_the_iommu_has_none)
	{
		struct sim_config config = rig_config();
		struct rig_vm vm;
		struct calls_hwpt args;
		uint32_t id = 0;

		rig_close(&rig);
		config.nesting = false;
		rig_open(&rig, &config);
		vm = rig_vm(&rig, rig_wide);
		args = (struct calls_hwpt){
			.flags = CALLS_HWPT_NEST_PARENT, .dev_id = vm.dev_id, .pt_id = vm.ioas};
		ck_assert_int_eq(
			rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &id), -EOPNOTSUPP);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(pasids_beyond_the_width_are_refused)
	{
		struct rig_vm vm = rig_vm(&rig, rig_narrow), group = rig_vm(&rig, rig_second);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		uint32_t group_hwpt = rig_hwpt(&rig, &group, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 255), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 256), -EINVAL);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, PASID_COUNT), -EINVAL);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, UINT32_MAX), -EINVAL);
		/* The narrowest member of a group that has PASIDs decides. */
		ck_assert_int_eq(rig_attach(&rig, &group, group_hwpt, 65535), 0);
		ck_assert_int_eq(rig_attach(&rig, &group, group_hwpt, 65536), -EINVAL);
		ck_assert_int_eq(rig_detach(&rig, &vm, 17), 0); /* never attached */
		ck_assert_int_eq(rig_detach(&rig, &vm, UINT32_MAX), 0);
		rig_vm_close(&rig, &group);
		rig_vm_close(&rig, &vm);
	}
END_TEST

/* As through iommufd.c: the kernel would attach a table of its own choice. */
START_TEST(a_rid_takes_no_ioas)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, 0);

		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, vm.ioas, NULL), -EINVAL);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		/* In the place of another table it takes that away, and leaves nothing either. */
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, NULL), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, vm.ioas, NULL), -EINVAL);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, hwpt), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, vm.ioas), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(hardware_information)
	{
		struct rig_vm vm = rig_vm(&rig, rig_narrow);
		struct calls_info info;
		struct vtd_caps caps;

		ck_assert_int_eq(rig.calls->hw_info(rig.sim, vm.iommufd, vm.dev_id, &info), 0);
		ck_assert_uint_eq(info.type, HW_IOMMU_VTD);
		ck_assert_uint_eq(info.max_pasid_log2, 8);
		caps = vtd_caps_decode(info.raw[0], info.raw[1]);
		ck_assert(caps.scalable && caps.nest && caps.first_stage && caps.second_stage);
		ck_assert(caps.supervisor && caps.extended_access && !caps.fl5lp);
		ck_assert_uint_eq(caps.pasid_width, 20);
		ck_assert_int_eq(rig.calls->hw_info(rig.sim, vm.iommufd, vm.ioas, &info), -ENOENT);
		rig_vm_close(&rig, &vm);
	}
END_TEST

/* --- faults --- */

START_TEST(failures_hit_the_call_and_device_they_name)
	{
		const struct sim_fault fault = {.kind = SIM_FAULT_FAIL,
			.call = SIM_CALL_ATTACH,
			.has_rid = true,
			.rid = rig_narrow,
			.error = EIO,
			.skip = 1,
			.times = 2};
		struct rig_vm one = rig_vm(&rig, rig_wide), two = rig_vm(&rig, rig_narrow);
		uint32_t first = rig_hwpt(&rig, &one, CALLS_HWPT_PASID);
		uint32_t second = rig_hwpt(&rig, &two, CALLS_HWPT_PASID);

		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, two.device, second, NULL), 0);
		ck_assert_int_eq(rig_attach(&rig, &two, second, 1), 0);
		ck_assert_int_eq(rig_attach(&rig, &one, first, 1), 0);
		ck_assert_int_eq(rig_attach(&rig, &two, second, 2), -EIO);
		ck_assert_int_eq(rig_attach(&rig, &one, first, 2), 0);
		ck_assert_int_eq(rig_attach(&rig, &two, second, 2), -EIO);
		ck_assert_uint_eq(rig_entries(&rig, rig_narrow), 2);
		ck_assert_int_eq(rig_attach(&rig, &two, second, 2), 0);
		rig_vm_close(&rig, &one);
		rig_vm_close(&rig, &two);
	}
END_TEST

START_TEST(every_call_can_be_made_to_fail)
	{
		struct sim_fault fault = {.kind = SIM_FAULT_FAIL, .error = EIO, .times = 1};
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		struct calls_hwpt args = {.dev_id = vm.dev_id, .pt_id = vm.ioas};
		struct calls_info info;
		struct hpasid pasid = {5};
		const struct calls *c = rig.calls;
		uint32_t id = 0;
		int fd = -1;

		for (uint32_t call = SIM_CALL_OPEN_IOMMUFD; call < SIM_CALL_CLOSE; call++) {
			int r[SIM_CALL_COUNT] = {0};

			fault.call = call;
			ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
			r[SIM_CALL_OPEN_IOMMUFD] = c->open_iommufd(rig.sim, &fd);
			if (fd >= 0)
				(void)close(fd);
			fd = -1;
			r[SIM_CALL_OPEN_DEVICE] = c->open_device(rig.sim, rig_wide, &fd);
			r[SIM_CALL_BIND] = c->bind(rig.sim, vm.device, vm.iommufd, &id);
			if (fd >= 0)
				(void)close(fd);
			fd = -1;
			r[SIM_CALL_HW_INFO] = c->hw_info(rig.sim, vm.iommufd, vm.dev_id, &info);
			r[SIM_CALL_IOAS_ALLOC] = c->ioas_alloc(rig.sim, vm.iommufd, &id);
			r[SIM_CALL_MAP] = c->map_file(
				rig.sim, vm.iommufd, vm.ioas, vm.memfd, 0, 0x1000, 0, 0);
			r[SIM_CALL_UNMAP] = c->unmap(rig.sim, vm.iommufd, vm.ioas, 0, 0x1000);
			r[SIM_CALL_HWPT_ALLOC] = c->hwpt_alloc(rig.sim, vm.iommufd, &args, &id);
			r[SIM_CALL_VIOMMU_ALLOC] = c->viommu_alloc(
				rig.sim, vm.iommufd, HW_IOMMU_VTD, vm.dev_id, 1, &id);
			r[SIM_CALL_VDEVICE_ALLOC] =
				c->vdevice_alloc(rig.sim, vm.iommufd, 1, vm.dev_id, 8, &id);
			r[SIM_CALL_ATTACH] = c->attach(rig.sim, vm.device, vm.ioas, &pasid);
			r[SIM_CALL_ATTACH_RID] = c->attach(rig.sim, vm.device, 4000, NULL);
			r[SIM_CALL_DETACH] = c->detach(rig.sim, vm.device, &pasid);
			r[SIM_CALL_DETACH_RID] = c->detach(rig.sim, vm.device, NULL);
			r[SIM_CALL_WATCH] = c->watch_removal(rig.sim, vm.device, &fd);
			if (fd >= 0)
				(void)close(fd);
			fd = -1;
			r[SIM_CALL_DESTROY] = c->destroy(rig.sim, vm.iommufd, 4000);
			for (uint32_t i = 0; i < SIM_CALL_COUNT; i++)
				ck_assert_msg((r[i] == -EIO) == (i == call), "%s: %d",
					sim_call_text((enum sim_call)i), r[i]);
		}
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(bad_faults_are_refused)
	{
		struct sim_fault fault = {.kind = SIM_FAULT_FAIL, .error = EIO};
		enum sim_call call;

		fault.call = SIM_CALL_CLOSE;
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), -EINVAL);
		fault.call = SIM_CALL_COUNT;
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), -EINVAL);
		fault = (struct sim_fault){.kind = SIM_FAULT_FAIL};
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), -EINVAL);
		fault = (struct sim_fault){.kind = SIM_FAULT_HANG, .call = SIM_CALL_MAP, .ms = 1};
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), -EINVAL);
		fault = (struct sim_fault){.kind = SIM_FAULT_RESET, .ms = 1};
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), -EINVAL);
		fault.has_rid = true;
		fault.rid.v = 0x99;
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), -ENODEV);
		fault = (struct sim_fault){.kind = 99};
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), -EINVAL);
		fault = (struct sim_fault){.kind = SIM_FAULT_FAIL, .error = EIO};
		for (int i = 0; i < SIM_FAULTS_MAX; i++)
			ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), -ENOSPC);
		ck_assert_int_eq(sim_fault_clear(rig.sim), 0);
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		ck_assert_int_eq(sim_call_parse("attach-rid", &call), 0);
		ck_assert_int_eq(call, SIM_CALL_ATTACH_RID);
		ck_assert_int_eq(sim_call_parse("attach-", &call), -EINVAL);
	}
END_TEST

START_TEST(latency_is_taken_without_a_lock)
	{
		const struct sim_fault fault = {.kind = SIM_FAULT_LATENCY,
			.call = SIM_CALL_IOAS_ALLOC,
			.us = 30000,
			.times = 1};
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		struct timespec before, after;
		uint32_t id;
		int64_t us;

		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		(void)clock_gettime(CLOCK_MONOTONIC, &before);
		ck_assert_int_eq(rig.calls->ioas_alloc(rig.sim, vm.iommufd, &id), 0);
		(void)clock_gettime(CLOCK_MONOTONIC, &after);
		us = (after.tv_sec - before.tv_sec) * 1000000 +
		     (after.tv_nsec - before.tv_nsec) / 1000;
		ck_assert_int_ge(us, 30000);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(contexts_run_out_and_come_back)
	{
		int fds[SIM_CONTEXTS_MAX + 1];
		uint32_t id;

		for (int i = 0; i <= SIM_CONTEXTS_MAX; i++) {
			ck_assert_int_eq(rig.calls->open_iommufd(rig.sim, &fds[i]), 0);
			ck_assert_int_eq(rig.calls->ioas_alloc(rig.sim, fds[i], &id),
				i < SIM_CONTEXTS_MAX ? 0 : -ENOSPC);
		}
		(void)close(fds[0]);
		ck_assert_int_eq(rig.calls->ioas_alloc(rig.sim, fds[SIM_CONTEXTS_MAX], &id), 0);
		ck_assert_uint_eq(id, 1); /* the new owner finds nothing of the old one's */
		for (int i = 1; i <= SIM_CONTEXTS_MAX; i++)
			(void)close(fds[i]);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sim");
	TCase *make = tcase_create("make"), *objects = tcase_create("objects");
	TCase *faults = tcase_create("faults");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(make, setup, teardown);
	tcase_add_test(make, bad_configurations_are_refused);
	tcase_add_test(make, a_second_creation_is_refused);
	tcase_add_test(make, opening_what_is_no_simulation);
	tcase_add_test(make, devices_are_as_configured);
	tcase_add_test(make, rids_are_read_and_written);
	tcase_add_test(make, descriptors_are_told_apart);
	tcase_add_test(make, same_file_means_the_same_open_file);
	tcase_add_test(make, calls_on_the_wrong_descriptor);
	tcase_add_test(make, contexts_run_out_and_come_back);
	tcase_add_checked_fixture(objects, setup, teardown);
	tcase_add_test(objects, ids_belong_to_one_iommufd);
	tcase_add_test(objects, destroy_counts_references);
	tcase_add_test(objects, hwpt_alloc_errors);
	tcase_add_test(objects, nesting_is_refused_where_the_iommu_has_none);
	tcase_add_test(objects, pasids_beyond_the_width_are_refused);
	tcase_add_test(objects, a_rid_takes_no_ioas);
	tcase_add_test(objects, hardware_information);
	tcase_add_checked_fixture(faults, setup, teardown);
	tcase_add_test(faults, failures_hit_the_call_and_device_they_name);
	tcase_add_test(faults, every_call_can_be_made_to_fail);
	tcase_add_test(faults, bad_faults_are_refused);
	tcase_add_test(faults, latency_is_taken_without_a_lock);
	suite_add_tcase(suite, make);
	suite_add_tcase(suite, objects);
	suite_add_tcase(suite, faults);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
