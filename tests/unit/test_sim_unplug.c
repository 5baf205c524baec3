/* SPDX-License-Identifier: MIT */
/* Hot-unplug in the simulator: who is told, what is waited for, and what nobody can do any more. */
#include "hw/calls.h"
#include "sim_rig.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

static struct rig rig;
static struct rig_vm vm;

static void setup(void)
{
	struct sim_config config = rig_config();

	rig_open(&rig, &config);
	vm = rig_vm(&rig, rig_wide);
}

static void teardown(void)
{
	rig_vm_close(&rig, &vm);
	rig_close(&rig);
}

static bool told(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	return poll(&poller, 1, 0) == 1;
}

START_TEST(who_watches_is_told)
	{
		struct rig_vm other = rig_vm(&rig, rig_narrow);
		int fd, other_fd, late;

		ck_assert_int_eq(rig.calls->watch_removal(rig.sim, vm.device, &fd), 0);
		ck_assert_int_eq(rig.calls->watch_removal(rig.sim, other.device, &other_fd), 0);
		ck_assert(!told(fd));
		ck_assert_int_eq(sim_unplug(rig.sim, rig_wide), -EBUSY);
		ck_assert(told(fd));
		ck_assert(!told(other_fd));
		/* the kernel asks again and again */
		ck_assert_int_eq(rig.calls->watch_removal(rig.sim, vm.device, &late), 0);
		ck_assert(told(late));
		(void)close(late);
		(void)close(fd);
		(void)close(other_fd);
		rig_vm_close(&rig, &other);
	}
END_TEST

START_TEST(it_goes_with_the_last_copy_of_its_descriptor)
	{
		int copy = dup(vm.device), pt = (int)rig_hwpt(&rig, &vm, CALLS_HWPT_PASID);

		ck_assert_int_eq(rig_attach(&rig, &vm, (uint32_t)pt, 5), 0);
		ck_assert_int_eq(sim_unplug(rig.sim, rig_wide), -EBUSY);
		rig.calls->close(rig.sim, vm.device);
		ck_assert_int_eq(sim_unplug(rig.sim, rig_wide), -EBUSY);
		ck_assert_uint_ne(rig_reach(&rig, rig_wide, 5), 0);
		rig.calls->close(rig.sim, copy);
		ck_assert_int_eq(sim_unplug(rig.sim, rig_wide), 0);
		ck_assert_uint_eq(rig_entries(&rig, rig_wide), 0);
		vm.device = -1;
	}
END_TEST

START_TEST(nobody_opens_or_binds_it_until_it_is_back)
	{
		int early, fd = -1;
		uint32_t id;

		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_narrow, &early), 0);
		ck_assert_int_eq(sim_unplug(rig.sim, rig_narrow), 0);
		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_narrow, &fd), -ENODEV);
		ck_assert_int_eq(rig.calls->bind(rig.sim, early, vm.iommufd, &id), -ENODEV);
		ck_assert_int_eq(sim_plug(rig.sim, rig_narrow), 0);
		ck_assert_int_eq(rig.calls->bind(rig.sim, early, vm.iommufd, &id), 0);
		ck_assert_int_eq(rig.calls->open_device(rig.sim, rig_narrow, &fd), 0);
		rig.calls->close(rig.sim, early);
		(void)close(fd);
	}
END_TEST

START_TEST(a_function_that_is_not_there_has_no_device)
	{
		ck_assert_int_eq(sim_unplug(rig.sim, (struct rid){0xff00}), -ENODEV);
		ck_assert_int_eq(sim_plug(rig.sim, (struct rid){0xff00}), -ENODEV);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {who_watches_is_told,
		it_goes_with_the_last_copy_of_its_descriptor,
		nobody_opens_or_binds_it_until_it_is_back,
		a_function_that_is_not_there_has_no_device};

	return suite_run("sim_unplug", "sim_unplug", tests, sizeof(tests) / sizeof(tests[0]), setup,
		teardown);
}
