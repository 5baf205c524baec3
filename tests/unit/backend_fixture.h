/* SPDX-License-Identifier: MIT */
/* What the tests of the backend share: one backend over the scripted kernel, and short ways to ask
 * it. */
#ifndef TEST_BACKEND_FIXTURE_H
#define TEST_BACKEND_FIXTURE_H

#include "fake_calls.h"
#include "hw/backend.h"
#include "hw/probe.h"

#include <stdlib.h>

static struct fake fake;
static struct backend *backend;
static struct hw_result result;

static inline void setup(void)
{
	fake_init(&fake);
	fake.info = (struct calls_info){.type = 3, .max_pasid_log2 = 20};
	ck_assert_int_eq(backend_new(&fake_calls, &fake, &backend), 0);
}

static inline void teardown(void)
{
	backend_free(backend);
	ck_assert_uint_eq(fake_open_fds(&fake), 0);
}

static inline int run(struct hw_op op)
{
	op.id = 42;
	backend_execute(backend, &op, &result);
	ck_assert_uint_eq(result.id, 42);
	ck_assert_uint_eq(result.device, op.device);
	if (result.status != 0) {
		for (uint32_t i = 0; i < result.fd_count; i++)
			fake_close(&fake, result.fds[i]);
		ck_assert_uint_ne(result.error.reason, REASON_NONE);
		ck_assert_int_ne(result.error.text[0], '\0');
	}
	return result.status;
}

#define RID 0x0108

/* An exclusive device: the VMM's descriptors. Returns the device's descriptor. */
static inline int open_device(uint32_t handle)
{
	int iommufd = fake_add_fd(&fake, FAKE_IOMMUFD, 1, 0);
	int device = fake_add_fd(&fake, FAKE_DEVICE, 200 + (int)handle, RID + handle);

	ck_assert_int_eq(run((struct hw_op){.kind = HW_IDENTIFY,
				 .device = handle,
				 .fd_count = 2,
				 .fds = {iommufd, device}}),
		0);
	ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = handle}), 0);
	fake.log[0] = '\0';
	return device;
}

static inline void open_shared(uint32_t handle)
{
	ck_assert_int_eq(
		run((struct hw_op){.kind = HW_IDENTIFY, .device = handle, .rid = {RID}}), 0);
	ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = handle}), 0);
	fake.log[0] = '\0';
}

static inline struct hw_op attach_op(uint32_t device, uint32_t pasid, struct hw_table table)
{
	return (struct hw_op){.kind = HW_ATTACH,
		.device = device,
		.owner = 5,
		.has_pasid = pasid != FAKE_RID,
		.pasid = {pasid},
		.table = table};
}

static inline struct hw_op detach_op(uint32_t device, uint32_t pasid)
{
	return (struct hw_op){.kind = HW_DETACH,
		.device = device,
		.has_pasid = pasid != FAKE_RID,
		.pasid = {pasid}};
}

static inline int map(uint32_t device, uint64_t owner, uint32_t space, uint64_t iova)
{
	int memfd = fake_add_fd(&fake, FAKE_MEMFD, 900, 0);

	return run((struct hw_op){.kind = HW_MAP,
		.device = device,
		.owner = owner,
		.space = space,
		.iova = iova,
		.length = 4096,
		.fd_count = 1,
		.fds = {memfd, -1}});
}

#define VMM_TABLE(n) ((struct hw_table){.kind = HW_TABLE_HWPT, .id = (n)})
#define VMM_IOAS(n)  ((struct hw_table){.kind = HW_TABLE_IOAS, .id = (n)})
#define SPACE(n)     ((struct hw_table){.kind = HW_TABLE_SPACE, .id = (n)})

#endif
