/* SPDX-License-Identifier: MIT */
/* The kernel's traps, each as the simulator shows it; numbered as in hw/sim.h. */
#include "sim_rig.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
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

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

START_TEST(trap_01_no_width_attach_succeeds_and_writes_nothing)
	{
		struct rig_vm vm = rig_vm(&rig, rig_none);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		struct calls_info info;

		ck_assert_int_eq(rig.calls->hw_info(rig.sim, vm.iommufd, vm.dev_id, &info), 0);
		ck_assert_uint_eq(info.max_pasid_log2, 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 5), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_none), 0);
		ck_assert_int_eq(rig_stop(&rig, rig_none, 5, RIG_IOVA), VTD_PASID_DISABLED);
		/* It believes itself attached all the same. */
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, hwpt), -EBUSY);
		ck_assert_int_eq(rig_detach(&rig, &vm, 5), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, hwpt), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_02_pasid_zero_takes_the_path_of_the_rid)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		struct sim_walk_result walk;

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 0), 0);
		ck_assert_int_eq(sim_walk(rig.sim, rig_wide, NULL, RIG_IOVA, true, &walk), 0);
		ck_assert_int_eq(walk.vtd.stop, VTD_REACHED);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, NULL), -EBUSY);
		/* A detach of the RID does not know of it. */
		ck_assert_int_eq(rig.calls->detach(rig.sim, vm.device, NULL), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 1);
		ck_assert_int_eq(rig_detach(&rig, &vm, 0), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_03_second_attach_replaces)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t one = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		uint32_t two = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		struct sim_walk_result before, after;

		ck_assert_int_eq(rig_attach(&rig, &vm, one, 9), 0);
		ck_assert_int_eq(
			sim_walk(rig.sim, rig_wide, &(struct hpasid){9}, RIG_IOVA, false, &before),
			0);
		ck_assert_int_eq(rig_attach(&rig, &vm, two, 9), 0);
		ck_assert_int_eq(
			sim_walk(rig.sim, rig_wide, &(struct hpasid){9}, RIG_IOVA, false, &after),
			0);
		ck_assert_uint_ne(before.vtd.entry.first, after.vtd.entry.first);
		ck_assert_uint_ne(before.vtd.entry.did, after.vtd.entry.did);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, one), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, two), -EBUSY);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_03_same_table_again_repairs_nothing)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 9), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 9), 0);
		ck_assert_int_eq(
			rig_detach(&rig, &vm, 9), 0); /* one detach is enough: it counted once */
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, hwpt), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_04_ioas_and_tables_without_pasid_are_refused)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t plain = rig_hwpt(&rig, &vm, 0);
		uint32_t good = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &vm, vm.ioas, 3), -EINVAL);
		ck_assert_int_eq(rig_attach(&rig, &vm, plain, 3), -EINVAL);
		ck_assert_int_eq(rig_attach(&rig, &vm, vm.dev_id, 3), -EINVAL);
		ck_assert_int_eq(rig_attach(&rig, &vm, 4000, 3), -ENOENT);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		/* The RID's table counts too, either way round. */
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, plain, NULL), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, good, 3), -EINVAL);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, good, NULL), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, good, 3), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, plain, NULL), -EINVAL);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_04_alloc_pasid_proves_nothing_about_the_device)
	{
		struct rig_vm vm = rig_vm(&rig, rig_none);

		ck_assert_uint_ne(rig_hwpt(&rig, &vm, CALLS_HWPT_PASID), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_06_attach_writes_every_capable_member)
	{
		struct rig_vm vm = rig_vm(&rig, rig_first);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 77), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_first), 1);
		ck_assert_uint_eq(rig_entries(&rig, rig_second), 1);
		ck_assert_uint_eq(rig_entries(&rig, rig_third), 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_second, 77), vm.ino);
		rig_vm_close(&rig, &vm);
		ck_assert_uint_eq(rig_entries(&rig, rig_second), 0);
	}
END_TEST

START_TEST(trap_06_detach_of_one_member_leaves_the_entries)
	{
		struct rig_vm vm = rig_vm(&rig, rig_first);
		struct rig_vm other = vm;
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_second, &other.device), 0);
		ck_assert_int_eq(
			rig.calls->bind(rig.sim, other.device, vm.iommufd, &other.dev_id), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 77), 0);
		ck_assert_int_eq(rig_attach(&rig, &other, hwpt, 77), 0);
		ck_assert_int_eq(rig_detach(&rig, &vm, 77), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_first), 1);
		ck_assert_uint_eq(rig_entries(&rig, rig_second), 1);
		ck_assert_int_eq(rig_detach(&rig, &other, 77), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_first), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_second), 0);
		rig.calls->close(rig.sim, other.device);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_06_member_that_names_another_table_is_refused)
	{
		struct rig_vm vm = rig_vm(&rig, rig_first);
		struct rig_vm other = vm;
		uint32_t one = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		uint32_t two = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_second, &other.device), 0);
		ck_assert_int_eq(
			rig.calls->bind(rig.sim, other.device, vm.iommufd, &other.dev_id), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, one, 77), 0);
		ck_assert_int_eq(rig_attach(&rig, &other, two, 77), -EINVAL);
		/* But a member that is attached replaces for all. */
		ck_assert_int_eq(rig_attach(&rig, &other, one, 77), 0);
		ck_assert_int_eq(rig_attach(&rig, &other, two, 77), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, one), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, two), -EBUSY);
		rig.calls->close(rig.sim, other.device);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_06_group_over_two_iommufds_is_refused)
	{
		struct rig_vm vm = rig_vm(&rig, rig_first);
		int iommufd = -1, device = -1;
		uint32_t dev_id = 0;

		ck_assert_int_eq(rig.calls->open_iommufd(rig.sim, &iommufd), 0);
		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_second, &device), 0);
		ck_assert_int_eq(rig.calls->bind(rig.sim, device, iommufd, &dev_id), -EPERM);
		/* The refusal leaves nothing behind: the right iommufd is taken. */
		ck_assert_int_eq(rig.calls->bind(rig.sim, device, vm.iommufd, &dev_id), 0);
		rig.calls->close(rig.sim, device);
		rig.calls->close(rig.sim, iommufd);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_09_closing_the_iommufd_detaches_nothing)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 9), 0);
		rig.calls->close(rig.sim, vm.iommufd);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 9), vm.ino);
		/* The device still knows its tables. */
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 10), 0);
		rig.calls->close(rig.sim, vm.device);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		(void)close(vm.memfd);
	}
END_TEST

START_TEST(trap_09_a_copy_of_the_device_keeps_everything)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		int copy = dup(vm.device);

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 9), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, NULL), 0);
		rig.calls->close(rig.sim, vm.device);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 2);
		rig.calls->close(rig.sim, copy);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, hwpt), 0);
		rig.calls->close(rig.sim, vm.iommufd);
		(void)close(vm.memfd);
	}
END_TEST

START_TEST(trap_10_second_open_binds_not)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID), dev_id = 0;
		int second = -1;

		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_wide, &second), 0);
		ck_assert_int_eq(rig.calls->bind(rig.sim, second, vm.iommufd, &dev_id), -EINVAL);
		ck_assert_int_eq(rig.calls->bind(rig.sim, vm.device, vm.iommufd, &dev_id), -EINVAL);
		ck_assert_int_eq(
			rig.calls->attach(rig.sim, second, hwpt, &(struct hpasid){9}), -EINVAL);
		ck_assert_int_eq(rig.calls->detach(rig.sim, second, &(struct hpasid){9}), -EINVAL);
		rig.calls->close(rig.sim, vm.device);
		ck_assert_int_eq(rig.calls->bind(rig.sim, second, vm.iommufd, &dev_id), 0);
		rig.calls->close(rig.sim, second);
		rig.calls->close(rig.sim, vm.iommufd);
		(void)close(vm.memfd);
	}
END_TEST

START_TEST(trap_10_page_tables_run_into_memlock)
	{
		const struct sim_fault fault = {.kind = SIM_FAULT_FAIL,
			.call = SIM_CALL_HWPT_ALLOC,
			.error = ENOMEM,
			.skip = 1,
			.times = 1};
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		const struct calls_hwpt args = {
			.flags = CALLS_HWPT_PASID, .dev_id = vm.dev_id, .pt_id = vm.ioas};
		uint32_t hwpt = 0;

		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &hwpt), 0);
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &hwpt), -ENOMEM);
		ck_assert_int_eq(rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &hwpt), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_15_detach_takes_the_entry_away_before_it_returns)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 700), 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 700), vm.ino);
		ck_assert_int_eq(rig_detach(&rig, &vm, 700), 0);
		ck_assert_int_eq(rig_stop(&rig, rig_wide, 700, RIG_IOVA), VTD_NO_ENTRY);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_16_failed_nested_replacement_loses_the_entry)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t parent = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT);
		uint32_t bad = 0, good = 0;

		ck_assert_int_eq(rig_nested(&rig, &vm, parent, 57, 0, 0x1000, &bad), 0);
		ck_assert_int_eq(rig_nested(&rig, &vm, parent, 48, 0, 0x1000, &good), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, bad, 9), -EINVAL);
		ck_assert_int_eq(rig_attach(&rig, &vm, good, 9), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 1);
		ck_assert_int_eq(rig_attach(&rig, &vm, bad, 9), -EINVAL);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		/* Attaching the same table again repairs nothing; detaching and attaching does. */
		ck_assert_int_eq(rig_attach(&rig, &vm, good, 9), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		ck_assert_int_eq(rig_detach(&rig, &vm, 9), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, good, 9), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 1);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_16_failed_replacement_is_mended_by_a_reset)
	{
		const struct sim_fault reset = {
			.kind = SIM_FAULT_RESET, .has_rid = true, .rid = rig_first, .ms = 60000};
		struct rig_vm vm = rig_vm(&rig, rig_first);
		uint32_t parent = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT);
		uint32_t good = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID), bad = 0;

		ck_assert_int_eq(rig_nested(&rig, &vm, parent, 57, 0, 0x1000, &bad), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, good, 9), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, bad, 9), -EINVAL);
		/* In a group the first member is torn, the others keep what they had. */
		ck_assert_uint_eq(rig_entries(&rig, rig_first), 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_second, 9), vm.ino);
		ck_assert_int_eq(sim_fault_add(rig.sim, &reset), 0);
		ck_assert_int_eq(sim_fault_clear(rig.sim), 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_first, 9), vm.ino);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_16_failed_replacement_of_the_rid_goes_back)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t parent = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID | CALLS_HWPT_NEST_PARENT);
		uint32_t good = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID), bad = 0;
		struct sim_walk_result walk;

		ck_assert_int_eq(rig_nested(&rig, &vm, parent, 57, 0, 0x1000, &bad), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, good, NULL), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, bad, NULL), -EINVAL);
		ck_assert_int_eq(sim_walk(rig.sim, rig_wide, NULL, RIG_IOVA, true, &walk), 0);
		ck_assert_int_eq(walk.vtd.stop, VTD_REACHED);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, bad), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

struct look {
	bool stop;
	unsigned absences;
};

static void *look_for_absence(void *arg)
{
	struct look *look = arg;
	struct sim_walk_result walk;
	struct sim *sim = NULL;

	if (sim_open(rig.dir, &sim) < 0)
		return NULL;
	while (!__atomic_load_n(&look->stop, __ATOMIC_ACQUIRE))
		if (sim_walk(sim, rig_wide, &(struct hpasid){9}, RIG_IOVA, false, &walk) == 0 &&
			walk.vtd.stop == VTD_NO_ENTRY)
			__atomic_add_fetch(&look->absences, 1, __ATOMIC_RELEASE);
	sim_close(sim);
	return NULL;
}

START_TEST(trap_16_replacement_is_absent_for_a_moment)
	{
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt[2] = {rig_hwpt(&rig, &vm, CALLS_HWPT_PASID),
			rig_hwpt(&rig, &vm, CALLS_HWPT_PASID)};
		struct look look = {0};
		double end = now() + 3;
		pthread_t thread;

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt[0], 9), 0);
		ck_assert_int_eq(pthread_create(&thread, NULL, look_for_absence, &look), 0);
		for (unsigned i = 1;
			now() < end && !__atomic_load_n(&look.absences, __ATOMIC_ACQUIRE); i++)
			ck_assert_int_eq(rig_attach(&rig, &vm, hwpt[i % 2], 9), 0);
		__atomic_store_n(&look.stop, true, __ATOMIC_RELEASE);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		ck_assert_uint_gt(look.absences, 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 9), vm.ino);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_17_reset_parks_entries_and_refuses_attaches)
	{
		const struct sim_fault fault = {
			.kind = SIM_FAULT_RESET, .has_rid = true, .rid = rig_wide, .ms = 60000};
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 9), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 10), 0);
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 11), -EBUSY);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, NULL), -EBUSY);
		ck_assert_int_eq(rig_detach(&rig, &vm, 10), 0);
		ck_assert_int_eq(sim_fault_clear(rig.sim), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 1);
		ck_assert_uint_eq(rig_reach(&rig, rig_wide, 9), vm.ino);
		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 11), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_17_reset_ends_by_time)
	{
		const struct sim_fault fault = {
			.kind = SIM_FAULT_RESET, .has_rid = true, .rid = rig_wide, .ms = 30};
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		uint32_t hwpt = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		double start = now();

		ck_assert_int_eq(rig_attach(&rig, &vm, hwpt, 9), 0);
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		while (rig_entries(&rig, rig_wide) == 0)
			ck_assert_msg(now() - start < 3, "the reset never ends");
		ck_assert_msg(now() - start >= 0.03, "the reset ended early");
		rig_vm_close(&rig, &vm);
	}
END_TEST

/* An attach on a thread of its own, that may be stuck. */
struct attempt {
	const struct rig_vm *vm;
	uint32_t hwpt, pasid;
	int result;
	pthread_t thread;
};

static void *attempt_run(void *arg)
{
	struct attempt *attempt = arg;
	int r = rig_attach(&rig, attempt->vm, attempt->hwpt, attempt->pasid);

	__atomic_store_n(&attempt->result, r, __ATOMIC_RELEASE);
	return NULL;
}

static void attempt_start(struct attempt *attempt, const struct rig_vm *vm)
{
	*attempt = (struct attempt){vm, rig_hwpt(&rig, vm, CALLS_HWPT_PASID), 9, 1, 0};
	ck_assert_int_eq(pthread_create(&attempt->thread, NULL, attempt_run, attempt), 0);
}

static bool attempt_stuck(struct attempt *attempt)
{
	(void)usleep(30000);
	return __atomic_load_n(&attempt->result, __ATOMIC_ACQUIRE) == 1;
}

START_TEST(trap_18_hang_reaches_the_unit_and_no_further)
	{
		const struct sim_fault fault = {.kind = SIM_FAULT_HANG,
			.call = SIM_CALL_ATTACH,
			.has_rid = true,
			.rid = rig_wide,
			.times = 1,
			.ms = 60000};
		struct rig_vm vm = rig_vm(&rig, rig_wide), far = rig_vm(&rig, rig_far);
		struct rig_vm near = rig_vm(&rig, rig_narrow);
		uint32_t far_hwpt = rig_hwpt(&rig, &far, CALLS_HWPT_PASID);
		uint32_t near_hwpt = rig_hwpt(&rig, &near, CALLS_HWPT_PASID);
		struct attempt hung,
			waiting = {.vm = &near, .hwpt = near_hwpt, .pasid = 9, .result = 1};

		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		attempt_start(&hung, &vm);
		ck_assert(attempt_stuck(&hung));
		ck_assert_int_eq(pthread_create(&waiting.thread, NULL, attempt_run, &waiting), 0);
		ck_assert(attempt_stuck(&waiting));
		/* Another unit does not notice, nor does who only looks. */
		ck_assert_int_eq(rig_attach(&rig, &far, far_hwpt, 9), 0);
		ck_assert_uint_eq(rig_reach(&rig, rig_far, 9), far.ino);
		ck_assert_int_eq(rig_stop(&rig, rig_wide, 9, RIG_IOVA), VTD_NO_DIRECTORY);
		ck_assert(attempt_stuck(&hung) && attempt_stuck(&waiting));
		ck_assert_int_eq(sim_fault_clear(rig.sim), 0);
		ck_assert_int_eq(pthread_join(hung.thread, NULL), 0);
		ck_assert_int_eq(pthread_join(waiting.thread, NULL), 0);
		ck_assert_int_eq(hung.result, 0);
		ck_assert_int_eq(waiting.result, 0);
		rig_vm_close(&rig, &near);
		rig_vm_close(&rig, &far);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_18_hang_of_a_whole_unit)
	{
		const struct sim_fault fault = {.kind = SIM_FAULT_HANG,
			.call = SIM_CALL_ATTACH,
			.has_rid = true,
			.rid = rig_narrow,
			.unit = true,
			.ms = 60000};
		struct rig_vm vm = rig_vm(&rig, rig_wide);
		struct attempt hung;

		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		attempt_start(&hung, &vm);
		ck_assert(attempt_stuck(&hung));
		ck_assert_int_eq(sim_fault_clear(rig.sim), 0);
		ck_assert_int_eq(pthread_join(hung.thread, NULL), 0);
		ck_assert_int_eq(hung.result, 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sim traps");
	TCase *tcase = tcase_create("traps");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, trap_01_no_width_attach_succeeds_and_writes_nothing);
	tcase_add_test(tcase, trap_02_pasid_zero_takes_the_path_of_the_rid);
	tcase_add_test(tcase, trap_03_second_attach_replaces);
	tcase_add_test(tcase, trap_03_same_table_again_repairs_nothing);
	tcase_add_test(tcase, trap_04_ioas_and_tables_without_pasid_are_refused);
	tcase_add_test(tcase, trap_04_alloc_pasid_proves_nothing_about_the_device);
	tcase_add_test(tcase, trap_06_attach_writes_every_capable_member);
	tcase_add_test(tcase, trap_06_detach_of_one_member_leaves_the_entries);
	tcase_add_test(tcase, trap_06_member_that_names_another_table_is_refused);
	tcase_add_test(tcase, trap_06_group_over_two_iommufds_is_refused);
	tcase_add_test(tcase, trap_09_closing_the_iommufd_detaches_nothing);
	tcase_add_test(tcase, trap_09_a_copy_of_the_device_keeps_everything);
	tcase_add_test(tcase, trap_10_second_open_binds_not);
	tcase_add_test(tcase, trap_10_page_tables_run_into_memlock);
	tcase_add_test(tcase, trap_15_detach_takes_the_entry_away_before_it_returns);
	tcase_add_test(tcase, trap_16_failed_nested_replacement_loses_the_entry);
	tcase_add_test(tcase, trap_16_failed_replacement_is_mended_by_a_reset);
	tcase_add_test(tcase, trap_16_failed_replacement_of_the_rid_goes_back);
	tcase_add_test(tcase, trap_16_replacement_is_absent_for_a_moment);
	tcase_add_test(tcase, trap_17_reset_parks_entries_and_refuses_attaches);
	tcase_add_test(tcase, trap_17_reset_ends_by_time);
	tcase_add_test(tcase, trap_18_hang_reaches_the_unit_and_no_further);
	tcase_add_test(tcase, trap_18_hang_of_a_whole_unit);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
