/* SPDX-License-Identifier: MIT */
/* The simulated IOMMU: mappings, page tables, walks, and readers from outside. */
#include "hw/uapi.h"
#include "sim_rig.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

static struct vtd_walk_result walk(
	struct rid rid, uint32_t pasid, uint64_t address, struct sim_walk_result *ret_result)
{
	ck_assert_int_eq(
		sim_walk(rig.sim, rid, &(struct hpasid){pasid}, address, false, ret_result), 0);
	return ret_result->vtd;
}

static int map(struct rig_vm *vm, uint64_t offset, uint64_t length, uint64_t iova)
{
	return rig.calls->map_file(
		rig.sim, vm->iommufd, vm->ioas, vm->memfd, offset, length, iova, HW_MAP_WRITE);
}

START_TEST(map_errors)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		int node = -1;

		ck_assert_int_eq(map(&vm, 0, 0x1000, RIG_IOVA + 0x1000), -EEXIST);
		ck_assert_int_eq(map(&vm, 0, 0x2000, RIG_IOVA - 0x1000), -EEXIST);
		ck_assert_int_eq(map(&vm, 0, 0x1001, 0), -EINVAL);
		ck_assert_int_eq(map(&vm, 0, 0, 0), -EINVAL);
		ck_assert_int_eq(map(&vm, 0, 0x1000, 0x800), -EINVAL);
		ck_assert_int_eq(map(&vm, 0x800, 0x1000, 0), -EINVAL);
		ck_assert_int_eq(map(&vm, RIG_MEMORY, 0x1000, 0), -EINVAL); /* beyond the file */
		ck_assert_int_eq(map(&vm, 0, 0x2000, UINT64_MAX - 0xfff), -EOVERFLOW);
		ck_assert_int_eq(map(&vm, UINT64_MAX - 0xfff, 0x2000, 0), -EOVERFLOW);
		ck_assert_int_eq(
			rig.calls->map_file(rig.sim, vm.iommufd, 4000, vm.memfd, 0, 0x1000, 0, 0),
			-ENOENT);
		ck_assert_int_eq(
			rig.calls->map_file(rig.sim, vm.iommufd, vm.ioas, -1, 0, 0x1000, 0, 0),
			-EBADF);
		ck_assert_int_eq(rig.calls->open_iommufd(rig.sim, &node), 0);
		ck_assert_int_eq(
			rig.calls->map_file(rig.sim, vm.iommufd, vm.ioas, node, 0, 0x1000, 0, 0),
			-EINVAL);
		rig.calls->close(rig.sim, node);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(unmap_errors)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		const struct calls *calls = rig.calls;

		ck_assert_int_eq(calls->unmap(rig.sim, vm.iommufd, vm.ioas, 0, 0x1000), -ENOENT);
		ck_assert_int_eq(
			calls->unmap(rig.sim, vm.iommufd, vm.ioas, RIG_IOVA, 0x1000), -ENOENT);
		ck_assert_int_eq(calls->unmap(rig.sim, vm.iommufd, vm.ioas, RIG_IOVA, 0), -EINVAL);
		ck_assert_int_eq(
			calls->unmap(rig.sim, vm.iommufd, vm.ioas, UINT64_MAX, 0x1000), -EOVERFLOW);
		ck_assert_int_eq(
			calls->unmap(rig.sim, vm.iommufd, 4000, RIG_IOVA, 0x1000), -ENOENT);
		ck_assert_int_eq(calls->unmap(rig.sim, vm.iommufd, vm.ioas, 0, 2 * RIG_IOVA), 0);
		ck_assert_int_eq(
			calls->unmap(rig.sim, vm.iommufd, vm.ioas, 0, 2 * RIG_IOVA), -ENOENT);
		ck_assert_int_eq(calls->unmap(rig.sim, vm.iommufd, vm.ioas, 0, UINT64_MAX), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(addresses_beyond_the_tables_are_refused)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		struct calls_hwpt args = {
			.flags = CALLS_HWPT_PASID, .dev_id = vm.dev_id, .pt_id = vm.ioas};
		uint32_t hwpt = 0;

		/* Without a page table there is no limit yet; then the table is refused instead. */
		ck_assert_int_eq(map(&vm, 0, 0x1000, 1ull << 47), 0);
		ck_assert_int_eq(
			rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &hwpt), -EADDRINUSE);
		args.flags |= CALLS_HWPT_NEST_PARENT; /* second stage: twice as wide */
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &hwpt), 0);
		ck_assert_int_eq(map(&vm, 0, 0x1000, 1ull << 48), -EINVAL);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(first_stage_tables_lead_to_the_memfd)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		struct sim_walk_result result;

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 1000), 0);
		ck_assert_int_eq(
			walk(rig_wide, 1000, RIG_IOVA + 0x212345, &result).stop, VTD_REACHED);
		ck_assert_uint_eq(result.vtd.entry.pgtt, VTD_PGTT_FIRST);
		ck_assert_uint_eq(result.vtd.page_size, 1 << 21); /* aligned: a large page */
		ck_assert_uint_eq(result.ino, vm.ino);
		ck_assert_uint_eq(result.offset, 0x212345);
		ck_assert(result.vtd.writeable);
		ck_assert_int_eq(walk(rig_wide, 1000, RIG_IOVA + RIG_MEMORY, &result).stop,
			VTD_FIRST_ABSENT);
		/* What is mapped later appears in the table that is attached already; unaligned:
		 * small pages. */
		ck_assert_int_eq(rig.calls->map_file(rig.sim, vm.iommufd, vm.ioas, vm.memfd, 0x3000,
					 0x2000, 0x7000, 0),
			0);
		ck_assert_int_eq(walk(rig_wide, 1000, 0x8010, &result).stop, VTD_REACHED);
		ck_assert_uint_eq(result.vtd.page_size, 4096);
		ck_assert_uint_eq(result.offset, 0x4010);
		ck_assert(!result.vtd.writeable);
		ck_assert_int_eq(rig.calls->unmap(rig.sim, vm.iommufd, vm.ioas, 0x7000, 0x2000), 0);
		ck_assert_int_eq(walk(rig_wide, 1000, 0x8010, &result).stop, VTD_FIRST_ABSENT);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 1000), vm.ino);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(two_vms_reach_their_own_memory)
	{
		struct rig_vm one = rig_vm(&rig, rig_wide), two = rig_vm(&rig, rig_narrow);

		ck_assert_int_eq(
			rig_attach(&rig, &one, rig_hwpt(&rig, &one, CALLS_HWPT_PASID), 5), 0);
		ck_assert_int_eq(
			rig_attach(&rig, &two, rig_hwpt(&rig, &two, CALLS_HWPT_PASID), 5), 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 5), one.ino);
		ck_assert_uint_eq(rig_reach(&rig, rig_narrow, 5), two.ino);
		rig_vm_close(&rig, &one);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 5), 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_narrow, 5), two.ino);
		rig_vm_close(&rig, &two);
	}
END_TEST

START_TEST(anonymous_memory_is_mapped)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		struct sim_walk_result result;

		ck_assert_int_eq(sim_map_anonymous(rig.sim, vm.iommufd, vm.ioas, 0x4000, 0, 0), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 5), 0);
		ck_assert_int_eq(walk(rig_wide, 5, 0x3fff, &result).stop, VTD_REACHED);
		ck_assert(result.has_file);
		ck_assert_uint_eq(result.dev, 0);
		ck_assert_uint_eq(result.offset, 0x3fff);
		rig_vm_close(&rig, &vm);
	}
END_TEST

/* A guest's tables in its own memory, guest-physical RIG_IOVA + n at offset n of the memfd: 0x5000
   is mapped to guest-physical RIG_IOVA + 0x6000. */
static void guest_tables(int memfd)
{
	const uint64_t gpa = RIG_IOVA;

	for (uint64_t level = 0; level < 4; level++) {
		uint64_t index = level == 3 ? 5 : 0;
		uint64_t word = (gpa + 0x2000 + level * 0x1000) | 7;

		if (level == 3)
			word = (gpa + 0x6000) | 7;
		ck_assert_int_eq(
			pwrite(memfd, &word, 8, (off_t)(0x1000 + level * 0x1000 + index * 8)), 8);
	}
}

START_TEST(nested_walk_reads_the_guests_tables)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t parent = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT);
		struct sim_walk_result result;
		uint32_t nested = 0;

		guest_tables(vm.memfd);
		ck_assert_int_eq(rig_nested(&rig, &vm, parent, 48, HW_VTD_S1_SRE | HW_VTD_S1_WPE,
					 RIG_IOVA + 0x1000, &nested),
			0);
		ck_assert_int_eq(rig_attach(&rig, &vm, nested, 5), 0);
		ck_assert_int_eq(walk(rig_wide, 5, 0x5678, &result).stop, VTD_REACHED);
		ck_assert_uint_eq(result.vtd.entry.pgtt, VTD_PGTT_NESTED);
		ck_assert(result.vtd.entry.supervisor && result.vtd.entry.write_protect);
		ck_assert(!result.vtd.entry.extended_access);
		ck_assert_uint_eq(result.offset, 0x6678);
		ck_assert_uint_eq(result.ino, vm.ino);
		ck_assert_int_eq(walk(rig_wide, 5, 0x6000, &result).stop, VTD_FIRST_ABSENT);
		/* The second stage shows through once the guest's memory goes. */
		ck_assert_int_eq(
			rig.calls->unmap(rig.sim, vm.iommufd, vm.ioas, RIG_IOVA, RIG_MEMORY), 0);
		ck_assert_int_eq(walk(rig_wide, 5, 0x5678, &result).stop, VTD_SECOND_ABSENT);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(nested_flags_need_the_capability)
	{
		struct sim_config config = rig_config();
		struct rig_vm vm;
		uint32_t parent, nested = 0;

		rig_close(&rig);
		config.supervisor = config.extended_access = false;
		config.five_level = true;
		rig_open(&rig, &config);
		vm = rig_vm(&rig, rig_wide);
		parent = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT);
		ck_assert_int_eq(
			rig_nested(&rig, &vm, parent, 48, HW_VTD_S1_SRE, 0x1000, &nested), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, nested, 5), -EINVAL);
		ck_assert_int_eq(
			rig_nested(&rig, &vm, parent, 48, HW_VTD_S1_EAFE, 0x1000, &nested), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, nested, 5), -EINVAL);
		ck_assert_int_eq(rig_nested(&rig, &vm, parent, 57, 0, 0x1000, &nested), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, nested, 5), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(five_levels_and_second_stage_only)
	{
		struct sim_config config = rig_config();
		struct sim_walk_result result;
		struct rig_vm vm;

		rig_close(&rig);
		config.five_level = true;
		config.first_stage = false;
		rig_open(&rig, &config);
		vm = rig_vm(&rig, rig_wide);
		ck_assert_int_eq(map(&vm, 0x1000, 0x1000, 1ull << 56), 0);
		ck_assert_int_eq(
			rig_attach(&rig, &vm, rig_hwpt(&rig, &vm, CALLS_HWPT_PASID), 5), 0);
		ck_assert_int_eq(walk(rig_wide, 5, (1ull << 56) + 7, &result).stop, VTD_REACHED);
		ck_assert_uint_eq(result.vtd.entry.pgtt, VTD_PGTT_SECOND);
		ck_assert_uint_eq(result.vtd.entry.aw, 3);
		ck_assert_uint_eq(result.offset, 0x1007);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(pages_are_given_back)
	{
		struct sim_config config = rig_config();
		struct rig_vm vm;

		rig_close(&rig);
		config.pages = 4096;
		rig_open(&rig, &config);
		vm = rig_vm(&rig, rig_wide);
		/* 4 KiB pages all over: 1024 rounds of 8 tables or so would not fit. */
		for (int i = 0; i < 1024; i++) {
			uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
			uint64_t iova = (uint64_t)i << 30 | 0x1000;

			ck_assert_int_eq(map(&vm, 0, 0x3000, iova), 0);
			ck_assert_int_eq(
				rig.calls->unmap(rig.sim, vm.iommufd, vm.ioas, iova, 0x3000), 0);
			ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, hwpt), 0);
		}
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(a_map_that_runs_out_of_pages_leaves_nothing)
	{
		struct sim_config config = rig_config();
		struct sim_walk_result result;
		struct rig_vm vm;
		int r = 0;

		rig_close(&rig);
		config.pages = 4096;
		rig_open(&rig, &config);
		vm = rig_vm(&rig, rig_wide);
		ck_assert_int_eq(ftruncate(vm.memfd, (off_t)16 << 30), 0);
		ck_assert_int_eq(
			rig_attach(&rig, &vm, rig_hwpt(&rig, &vm, CALLS_HWPT_PASID), 5), 0);
		/* Misaligned by a page: 512 small pages for each 2 MiB. */
		r = map(&vm, 0x1000, 12ull << 30, 1ull << 40);
		ck_assert_int_eq(r, -ENOMEM);
		ck_assert_int_eq(walk(rig_wide, 5, 1ull << 40, &result).stop, VTD_FIRST_ABSENT);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 5), vm.ino);
		ck_assert_int_eq(map(&vm, 0x1000, 1ull << 30, 1ull << 40), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(entries_are_listed_in_order)
	{
		static const uint32_t pasids[] = {5, 63, 64, 1048575};
		struct rig_vm vm = rig_vm(&rig, rig_wide), far = rig_vm(&rig, rig_far);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		struct sim_entries entries;
		struct sim_entry entry;

		for (size_t i = ARRAY_SIZE(pasids); i-- > 0;)
			ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, pasids[i]), 0);
		ck_assert_int_eq(
			rig_attach(&rig, &far, rig_hwpt(&rig, &far, CALLS_HWPT_PASID), 5), 0);
		ck_assert_int_eq(sim_entries_init(&entries, rig.sim), 0);
		for (size_t i = 0; i < ARRAY_SIZE(pasids); i++) {
			ck_assert_int_eq(sim_entries_next(&entries, &entry), 1);
			ck_assert_uint_eq(entry.rid.v, rig_wide.v);
			ck_assert_uint_eq(entry.at.pasid, pasids[i]);
			ck_assert_uint_eq(entry.unit, 0);
		}
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 1);
		ck_assert_uint_eq(entry.rid.v, rig_far.v);
		ck_assert_uint_eq(entry.unit, 1);
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 0);
		ck_assert_int_eq(sim_entries_next(&entries, &entry), 0);
		rig_vm_close(&rig, &far);
		rig_vm_close(&rig, &vm);
	}
END_TEST

/* Somebody who has nothing but the file finds the same: an address is an offset in it. */
static uint64_t file_read(void *ctx, uint64_t phys, bool *ok)
{
	uint64_t word = 0;

	if (pread(*(int *)ctx, &word, sizeof(word), (off_t)phys) != (ssize_t)sizeof(word))
		*ok = false;
	return word;
}

START_TEST(an_outside_reader_sees_the_same_tables)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		struct vtd_request request = {.rid = rig_wide,
			.has_pasid = true,
			.pasid = {5},
			.address = RIG_IOVA + 0x1234};
		struct vtd_walk_result result;
		struct sim_walk_result own;
		uint64_t root = 0;
		char path[128];
		int fd;
		struct vtd_memory memory = {.read = file_read, .ctx = &fd};

		ck_assert_int_eq(
			rig_attach(&rig, &vm, rig_hwpt(&rig, &vm, CALLS_HWPT_PASID), 5), 0);
		(void)snprintf(path, sizeof(path), "%s/memory", rig.dir);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_eq(sim_root(rig.sim, rig_wide, &root), 0);
		ck_assert_int_eq(sim_root(rig.sim, (struct rid){0x99}, &root), -ENODEV);
		vtd_walk(&memory, root, &request, &result);
		(void)walk(rig_wide, 5, RIG_IOVA + 0x1234, &own);
		ck_assert_int_eq(result.stop, VTD_REACHED);
		ck_assert_uint_eq(result.phys, own.vtd.phys);
		(void)close(fd);
		rig_vm_close(&rig, &vm);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sim memory");
	TCase *memory = tcase_create("memory");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(memory, setup, teardown);
	tcase_add_test(memory, map_errors);
	tcase_add_test(memory, unmap_errors);
	tcase_add_test(memory, addresses_beyond_the_tables_are_refused);
	tcase_add_test(memory, first_stage_tables_lead_to_the_memfd);
	tcase_add_test(memory, two_vms_reach_their_own_memory);
	tcase_add_test(memory, anonymous_memory_is_mapped);
	tcase_add_test(memory, nested_walk_reads_the_guests_tables);
	tcase_add_test(memory, nested_flags_need_the_capability);
	tcase_add_test(memory, five_levels_and_second_stage_only);
	tcase_add_test(memory, pages_are_given_back);
	tcase_add_test(memory, a_map_that_runs_out_of_pages_leaves_nothing);
	tcase_add_test(memory, entries_are_listed_in_order);
	tcase_add_test(memory, an_outside_reader_sees_the_same_tables);
	suite_add_tcase(suite, memory);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
