/* SPDX-License-Identifier: MIT */
/* What is attached to the mock devices of an iommufd, as the kernel's self-test says. */
#include "vmm.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

/* struct iommu_test_cmd of Linux 7.3, drivers/iommu/iommufd/iommufd_test.h */
struct test_check {
	uint32_t size, op, id, reserved;
	uint32_t pasid, hwpt;
	uint64_t room[5];
	uint32_t last;
};
enum { TEST_CMD = 0xa0, TEST_PASID_CHECK_HWPT = 21, IDS = 128 };

static int check(uint32_t id, uint32_t pasid, uint32_t hwpt)
{
	struct test_check cmd = {.size = sizeof(cmd),
		.op = TEST_PASID_CHECK_HWPT,
		.id = id,
		.pasid = pasid,
		.hwpt = hwpt};

	return ioctl(vmm_iommufd(), _IO(';', TEST_CMD), &cmd) < 0 ? -errno : 0;
}

/* The id of a mock device, counted in the order of their ids; 0: there are not so many. */
static uint32_t mock_device(uint32_t index)
{
	for (uint32_t id = 1; id < IDS; id++)
		if (check(id, 1, 0) != -ENOENT && index-- == 0)
			return id;
	return 0;
}

/* standing INDEX PASID|rid: the page table that is attached there, 0: none. */
void vmm_standing(char **words)
{
	uint32_t pasid =
		words[1] && words[2] && strcmp(words[2], "rid") != 0 ? agent_number(words[2]) : 0;
	uint32_t device = mock_device(agent_number(words[1]));
	uint64_t found = 0;

	if (!device) {
		agent_fail(ENODEV);
		return;
	}
	for (uint32_t hwpt = 1; hwpt < IDS; hwpt++)
		if (check(device, pasid, hwpt) == 0)
			found = hwpt;
	if ((check(device, pasid, 0) == 0) != (found == 0))
		agent_fail(EBADE);
	else
		agent_ok_numbers(1, &found);
}

/* objects: how many there are in the iommufd. */
void vmm_objects(char **words)
{
	uint32_t device = mock_device(0);
	uint64_t count = 0;

	(void)words;
	for (uint32_t id = 1; device && id < IDS; id++)
		count += check(device, 1, id) != -ENOENT;
	if (device)
		agent_ok_numbers(1, &count);
	else
		agent_fail(ENODEV);
}
