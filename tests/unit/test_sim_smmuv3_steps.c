/* SPDX-License-Identifier: MIT */
/* F32: what the simulated kernel refuses on SMMUv3, and steps that are broken off. */
#include "smmuv3_rig.h"

#include <signal.h>
#include <sys/wait.h>

/* --- the kernel itself --- */

static int viommu_alloc(uint32_t hwpt, uint32_t *ret_viommu)
{
	return rig.calls->viommu_alloc(
		rig.sim, vm.iommufd, HW_IOMMU_SMMUV3, vm.dev_id, hwpt, ret_viommu);
}

static int ste_alloc(
	uint32_t viommu, uint64_t word0, uint64_t word1, uint32_t flags, uint32_t *ret_hwpt)
{
	const struct uapi_hwpt_smmuv3 data = {.ste = {htole64(word0), htole64(word1)}};
	const struct calls_hwpt args = {.flags = flags,
		.dev_id = vm.dev_id,
		.pt_id = viommu,
		.data_type = UAPI_HWPT_DATA_ARM_SMMUV3,
		.data_len = sizeof(data),
		.data = &data};

	return rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, ret_hwpt);
}

START_TEST(trap_07_flags_of_parents_and_nested_tables)
	{
		struct calls_hwpt args;
		uint32_t parent, viommu, hwpt;

		vm = rig_vm(&rig, rig_wide);
		args = (struct calls_hwpt){.flags = CALLS_HWPT_NEST_PARENT | CALLS_HWPT_PASID,
			.dev_id = vm.dev_id,
			.pt_id = vm.ioas};
		ck_assert_int_eq(
			rig.calls->hwpt_alloc(rig.sim, vm.iommufd, &args, &hwpt), -EOPNOTSUPP);
		parent = rig_hwpt(&rig, &vm, CALLS_HWPT_NEST_PARENT);
		ck_assert_int_eq(viommu_alloc(parent, &viommu), 0);
		ck_assert_int_eq(ste_alloc(viommu, 9, 0, CALLS_HWPT_PASID, &hwpt), -EOPNOTSUPP);
		ck_assert_int_eq(ste_alloc(parent, 9, 0, 0, &hwpt), -EOPNOTSUPP);
		ck_assert_int_eq(ste_alloc(viommu, 9, 0, 0, &hwpt), 0);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_08_the_kernel_takes_certain_bits)
	{
		uint32_t viommu, hwpt;

		vm = rig_vm(&rig, rig_wide);
		ck_assert_int_eq(
			viommu_alloc(rig_hwpt(&rig, &vm, CALLS_HWPT_NEST_PARENT), &viommu), 0);
		for (uint32_t bit = 0; bit < 128; bit++) {
			uint64_t word[2] = {9, 0};
			bool fits;

			word[bit / 64] |= UINT64_C(1) << bit % 64;
			fits = bit < 64 ? !(word[0] & (UINT64_C(0x7f) << 52))
					: bit < 72 || (bit >= 91 && bit <= 92);
			if (bit == 2)
				fits = false; /* Config 6: stage 2 */
			ck_assert_msg(
				ste_alloc(viommu, word[0], word[1], 0, &hwpt) == (fits ? 0 : -EIO),
				"bit %u", bit);
		}
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(trap_08_an_entry_needs_its_vdevice)
	{
		uint32_t viommu, vdevice, hwpt, again;

		vm = rig_vm(&rig, rig_wide);
		ck_assert_int_eq(
			viommu_alloc(rig_hwpt(&rig, &vm, CALLS_HWPT_NEST_PARENT), &viommu), 0);
		ck_assert_int_eq(ste_alloc(viommu, 9, 0, 0, &hwpt), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, NULL), -ENOENT);
		ck_assert_int_eq(rig.calls->vdevice_alloc(
					 rig.sim, vm.iommufd, viommu, vm.dev_id, 8, &vdevice),
			0);
		ck_assert_int_eq(
			rig.calls->vdevice_alloc(rig.sim, vm.iommufd, viommu, vm.dev_id, 9, &again),
			-EEXIST);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, NULL), 0);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, viommu), -EBUSY);
		ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, hwpt), -EBUSY);
		rig_vm_close(&rig, &vm);
		ck_assert_int_eq(stop_of(rig_wide, NULL, RIG_IOVA), SMMUV3_ABORTED);
	}
END_TEST

START_TEST(trap_07_guests_tables_and_pasids_exclude_each_other)
	{
		const struct hpasid pasid = {5};
		uint32_t viommu, vdevice, hwpt, plain;

		vm = rig_vm(&rig, rig_wide);
		ck_assert_int_eq(
			viommu_alloc(rig_hwpt(&rig, &vm, CALLS_HWPT_NEST_PARENT), &viommu), 0);
		ck_assert_int_eq(rig.calls->vdevice_alloc(
					 rig.sim, vm.iommufd, viommu, vm.dev_id, 8, &vdevice),
			0);
		ck_assert_int_eq(ste_alloc(viommu, 9, 0, 0, &hwpt), 0);
		plain = rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, plain, &pasid), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, NULL), -EINVAL);
		ck_assert_int_eq(rig.calls->detach(rig.sim, vm.device, &pasid), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, NULL), 0);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, plain, &pasid), -EINVAL);
		ck_assert_int_eq(rig.calls->attach(rig.sim, vm.device, hwpt, &pasid), -EINVAL);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(objects_of_another_smmu_do_not_fit)
	{
		uint32_t parent, far_id, viommu, vdevice;
		int far_device;

		vm = rig_vm(&rig, rig_wide);
		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_far, &far_device), 0);
		ck_assert_int_eq(rig.calls->bind(rig.sim, far_device, vm.iommufd, &far_id), 0);
		parent = rig_hwpt(&rig, &vm, CALLS_HWPT_NEST_PARENT);
		ck_assert_int_eq(rig.calls->viommu_alloc(rig.sim, vm.iommufd, HW_IOMMU_SMMUV3,
					 far_id, parent, &viommu),
			-EINVAL);
		ck_assert_int_eq(viommu_alloc(rig_hwpt(&rig, &vm, 0), &viommu), -EINVAL);
		ck_assert_int_eq(viommu_alloc(vm.ioas, &viommu), -ENOENT);
		ck_assert_int_eq(viommu_alloc(parent, &viommu), 0);
		ck_assert_int_eq(
			rig.calls->vdevice_alloc(rig.sim, vm.iommufd, viommu, far_id, 8, &vdevice),
			-EINVAL);
		ck_assert_int_eq(rig.calls->vdevice_alloc(
					 rig.sim, vm.iommufd, parent, vm.dev_id, 8, &vdevice),
			-ENOENT);
		ck_assert_int_eq(rig.calls->attach(rig.sim, far_device, parent, NULL), -EINVAL);
		rig.calls->close(rig.sim, far_device);
		rig_vm_close(&rig, &vm);
	}
END_TEST

START_TEST(an_smmu_without_nesting)
	{
		struct sim_config config = smmu_config();
		uint32_t id;

		end();
		config.nesting = false;
		config.linear = true;
		rig_open(&rig, &config);
		ck_assert_int_eq(backend_new(rig.calls, rig.sim, &backend), 0);
		open_vm(rig_narrow);
		ck_assert_uint_eq(result.info.caps, HW_CAP_PASID);
		ck_assert_int_eq(viommu_alloc(1, &id), -EOPNOTSUPP);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, guest_table(SMMUV3_BYPASS, 0, 0))),
			STATUS_UNSUPPORTED);
		ck_assert_uint_eq(result.error.reason, REASON_NO_NESTING);
		/* a stream table of one level */
		ck_assert_int_eq(stop_of(rig_narrow, NULL, 0), SMMUV3_ABORTED);
		ck_assert_uint_eq(walk_to(rig_narrow, NULL, 0, false).smmuv3.step_count, 1);
		close_vm();
	}
END_TEST

/* --- a step that is broken off --- */

static const struct step {
	enum sim_call call;
	uint32_t skip;
} steps[] = {
	{SIM_CALL_HWPT_ALLOC, 0}, /* the parent */
	{SIM_CALL_VIOMMU_ALLOC, 0},
	{SIM_CALL_VDEVICE_ALLOC, 0},
	{SIM_CALL_HWPT_ALLOC, 1}, /* the entry */
	{SIM_CALL_ATTACH_RID, 0},
};

START_TEST(an_error_at_any_step_leaves_nothing)
	{
		const struct sim_fault fault = {.kind = SIM_FAULT_FAIL,
			.call = steps[_i].call,
			.skip = steps[_i].skip,
			.times = 1,
			.error = ENOMEM};

		open_vm(rig_narrow);
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		ck_assert_int_eq(
			run(rid_op(HW_ATTACH, guest_table(SMMUV3_BYPASS, 0, 0))), STATUS_HARDWARE);
		ck_assert_uint_eq(next_id(), 3);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, RIG_IOVA), SMMUV3_ABORTED);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, guest_table(SMMUV3_BYPASS, 0, 0))), 0);
		ck_assert_int_eq(run((struct hw_op){.kind = HW_DETACH, .device = 1}), 0);
		ck_assert_uint_eq(next_id(), 3);
		close_vm();
	}
END_TEST

/* F32: the worker is a process of its own, and is killed while the kernel does the step. */
START_TEST(a_worker_that_dies_at_any_step_leaves_nothing)
	{
		const bool after = (size_t)_i == ARRAY_SIZE(steps);
		const struct step *step = &steps[after ? 0 : _i];
		const struct sim_fault fault = {.kind = SIM_FAULT_HANG,
			.call = step->call,
			.has_rid = true,
			.rid = rig_narrow,
			.skip = step->skip,
			.times = 1,
			.ms = 60000};
		const struct timespec moment = {.tv_nsec = 200000000};
		struct sim_walk_result walk;
		pid_t pid;

		if (!after)
			ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			open_vm(rig_narrow);
			(void)run(rid_op(HW_ATTACH, guest_table(SMMUV3_BYPASS, 0, 0)));
			for (;;)
				(void)pause();
		}
		(void)nanosleep(&moment, NULL);
		ck_assert_int_eq(sim_walk(rig.sim, rig_narrow, NULL, RIG_IOVA, false, &walk), 0);
		ck_assert_int_eq(walk.smmuv3.stop, after ? SMMUV3_REACHED : SMMUV3_ABORTED);
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, RIG_IOVA), SMMUV3_ABORTED);
		/* the next one does all of it anew */
		open_vm(rig_narrow);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, guest_table(SMMUV3_BYPASS, 0, 0))), 0);
		ck_assert_uint_eq(reach(rig_narrow, NULL, RIG_IOVA), 0);
		close_vm();
	}
END_TEST

/* A VMM that lives has the device open: what is attached stays as long as that. */
START_TEST(trap_09_an_entry_goes_with_the_last_descriptor)
	{
		open_vm(rig_narrow);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, guest_table(SMMUV3_BYPASS, 0, 0))), 0);
		backend_free(backend);
		ck_assert_uint_eq(reach(rig_narrow, NULL, RIG_IOVA), 0);
		close_vm();
		ck_assert_int_eq(stop_of(rig_narrow, NULL, RIG_IOVA), SMMUV3_ABORTED);
		ck_assert_int_eq(backend_new(rig.calls, rig.sim, &backend), 0);
		open_vm(rig_narrow);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, guest_table(SMMUV3_BYPASS, 0, 0))), 0);
		close_vm();
	}
END_TEST

START_TEST(trap_17_a_reset_parks_the_entry)
	{
		const struct sim_fault fault = {
			.kind = SIM_FAULT_RESET, .has_rid = true, .rid = rig_narrow, .ms = 50};
		const struct timespec moment = {.tv_nsec = 60000000};

		open_vm(rig_narrow);
		guest_context(0, true);
		ck_assert_int_eq(run(rid_op(HW_ATTACH, guest_table(SMMUV3_STAGE1, 0, 0))), 0);
		ck_assert_int_eq(sim_fault_add(rig.sim, &fault), 0);
		ck_assert_int_eq(stop_of(rig_narrow, NULL, INPUT), SMMUV3_ABORTED);
		(void)nanosleep(&moment, NULL);
		ck_assert_uint_eq(reach(rig_narrow, NULL, INPUT), 0x200000);
		close_vm();
	}
END_TEST

int main(void)
{
	const struct {
		const TTest *test;
		int count;
	} tests[] = {
		{trap_07_flags_of_parents_and_nested_tables, 1},
		{trap_08_the_kernel_takes_certain_bits, 1},
		{trap_08_an_entry_needs_its_vdevice, 1},
		{trap_07_guests_tables_and_pasids_exclude_each_other, 1},
		{objects_of_another_smmu_do_not_fit, 1},
		{an_smmu_without_nesting, 1},
		{an_error_at_any_step_leaves_nothing, ARRAY_SIZE(steps)},
		{a_worker_that_dies_at_any_step_leaves_nothing, ARRAY_SIZE(steps) + 1},
		{trap_09_an_entry_goes_with_the_last_descriptor, 1},
		{trap_17_a_reset_parks_the_entry, 1},
	};
	Suite *suite = suite_create("simulated SMMUv3: steps");
	TCase *tc = tcase_create("smmuv3");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, begin, end);
	tcase_set_timeout(tc, 30);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tc, tests[i].test, 0, tests[i].count);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
