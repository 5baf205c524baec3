/* SPDX-License-Identifier: MIT */
/* What the tests of the simulated SMMUv3 share: a simulation, a VMM and its memory, and the backend
 * over it. */
#ifndef PASIDD_TEST_SMMUV3_RIG_H
#define PASIDD_TEST_SMMUV3_RIG_H

#include "hw/backend.h"
#include "hw/uapi.h"
#include "sim_rig.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static struct rig rig;
static struct backend *backend;
static struct hw_result result;
static struct rig_vm vm;

static inline struct sim_config smmu_config(void)
{
	struct sim_config config = rig_config();

	config.smmuv3 = true;
	return config;
}

static inline void begin(void)
{
	const struct sim_config config = smmu_config();

	rig_open(&rig, &config);
	ck_assert_int_eq(backend_new(rig.calls, rig.sim, &backend), 0);
}

static inline void end(void)
{
	backend_free(backend);
	rig_close(&rig);
}

static inline int run(struct hw_op op)
{
	backend_execute(backend, &op, &result);
	for (uint32_t i = 0; result.status && i < result.fd_count; i++)
		(void)close(result.fds[i]);
	return result.status;
}

/* Opens a device as a VMM and passes it to the backend, which binds it. */
static inline void open_vm(struct rid rid)
{
	int device, iommufd;

	vm = (struct rig_vm){
		.iommufd = -1, .device = -1, .memfd = memfd_create("guest", MFD_CLOEXEC)};
	ck_assert_int_eq(ftruncate(vm.memfd, RIG_MEMORY), 0);
	ck_assert_int_eq(rig.calls->open_iommufd(rig.sim, &vm.iommufd), 0);
	ck_assert_int_eq(rig.calls->open_device(rig.sim, rid, &vm.device), 0);
	iommufd = dup(vm.iommufd);
	device = dup(vm.device);
	ck_assert_int_eq(
		run((struct hw_op){
			.kind = HW_IDENTIFY, .device = 1, .fd_count = 2, .fds = {iommufd, device}}),
		0);
	ck_assert_int_eq(run((struct hw_op){.kind = HW_OPEN, .device = 1}), 0);
	vm.dev_id = result.dev_id;
	ck_assert_int_eq(rig.calls->ioas_alloc(rig.sim, vm.iommufd, &vm.ioas), 0);
	ck_assert_int_eq(rig.calls->map_file(rig.sim, vm.iommufd, vm.ioas, vm.memfd, 0, RIG_MEMORY,
				 RIG_IOVA, HW_MAP_WRITE),
		0);
}

static inline void close_vm(void)
{
	rig_vm_close(&rig, &vm);
}

/* --- a guest's memory: what it writes at its own physical addresses --- */

static inline void poke(uint64_t address, const void *bytes, size_t length)
{
	ck_assert_int_eq(
		pwrite(vm.memfd, bytes, length, (off_t)(address - RIG_IOVA)), (ssize_t)length);
}

static inline void poke_word(uint64_t address, uint64_t word)
{
	poke(address, &word, sizeof(word));
}

#define CONTEXTS (RIG_IOVA + 0x10000)  /* descriptors, 64 KiB at most */
#define TABLES   (RIG_IOVA + 0x100000) /* first-stage tables: four pages for each descriptor */
#define PAGE     (RIG_IOVA + 0x200000) /* what they lead to: a page for each descriptor */
#define INPUT    UINT64_C(0x7000001000)

/* A descriptor that maps INPUT to a page of its own. */
static inline void guest_context(uint32_t number, bool write)
{
	uint64_t cd[SMMUV3_CD_WORDS] = {0}, table = TABLES + number * 0x4000ull;
	struct smmuv3_pte pte = {.valid = true, .table = true};

	smmuv3_cd_set(cd, SMMUV3_CD_V, 1);
	smmuv3_cd_set(cd, SMMUV3_CD_AA64, 1);
	smmuv3_cd_set(cd, SMMUV3_CD_T0SZ, 16);
	smmuv3_cd_set(cd, SMMUV3_CD_EPD1, 1);
	smmuv3_cd_set(cd, SMMUV3_CD_TTB0, table);
	poke(CONTEXTS + number * 64ull, cd, sizeof(cd));
	for (uint32_t level = 0; level < 4; level++) {
		uint64_t index = INPUT >> (12 + 9 * (3 - level)) & 511;

		if (level == 3)
			pte = (struct smmuv3_pte){.valid = true,
				.table = true,
				.accessed = true,
				.write = write,
				.user = true};
		pte.address =
			level == 3 ? PAGE + number * 0x1000ull : table + (level + 1) * 0x1000ull;
		poke_word(table + level * 0x1000ull + index * 8, smmuv3_pte_encode(true, &pte));
	}
}

static inline struct hw_table guest_table(uint64_t config, uint32_t cdmax, enum smmuv3_dss dss)
{
	struct hw_table table = {
		.kind = HW_TABLE_SMMUV3, .parent_kind = HW_TABLE_IOAS, .id = vm.ioas, .stream = 8};

	smmuv3_ste_set(table.ste, SMMUV3_STE_V, 1);
	smmuv3_ste_set(table.ste, SMMUV3_STE_Config, config);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1ContextPtr, CONTEXTS);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1CDMax, cdmax);
	smmuv3_ste_set(table.ste, SMMUV3_STE_S1DSS, (uint64_t)dss);
	return table;
}

static inline struct hw_op rid_op(enum hw_kind kind, struct hw_table table)
{
	return (struct hw_op){.kind = kind, .device = 1, .owner = 5, .table = table};
}

static inline struct sim_walk_result walk_to(
	struct rid rid, const struct hpasid *pasid, uint64_t address, bool write)
{
	struct sim_walk_result walk;

	ck_assert_int_eq(sim_walk(rig.sim, rid, pasid, address, write, &walk), 0);
	ck_assert(walk.is_smmuv3);
	return walk;
}

static inline enum smmuv3_stop stop_of(struct rid rid, const struct hpasid *pasid, uint64_t address)
{
	return walk_to(rid, pasid, address, false).smmuv3.stop;
}

/* The offset in the VM's memory that a transaction reaches. */
static inline uint64_t reach(struct rid rid, const struct hpasid *pasid, uint64_t address)
{
	struct sim_walk_result walk = walk_to(rid, pasid, address, false);

	ck_assert_msg(walk.smmuv3.stop == SMMUV3_REACHED, "%s stage %u",
		smmuv3_stop_text(walk.smmuv3.stop), walk.smmuv3.stage);
	ck_assert(walk.has_file);
	return walk.offset;
}

static inline void stream_entry(struct rid rid, uint64_t *ret_ste)
{
	struct sim_walk_result walk = walk_to(rid, NULL, 0, false);

	ck_assert(walk.smmuv3.has_ste);
	memcpy(ret_ste, walk.smmuv3.ste, SMMUV3_STE_BYTES);
}

/* How many objects the VM's iommufd has: freed ids are used again, so the next one tells. */
static inline uint32_t next_id(void)
{
	uint32_t id;

	ck_assert_int_eq(rig.calls->ioas_alloc(rig.sim, vm.iommufd, &id), 0);
	ck_assert_int_eq(rig.calls->destroy(rig.sim, vm.iommufd, id), 0);
	return id;
}

#endif
