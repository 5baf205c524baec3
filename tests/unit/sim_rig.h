/* SPDX-License-Identifier: MIT */
/* A simulated IOMMU for a test: made in a directory of its own, taken away at the end. */
#ifndef PASIDD_TESTS_SIM_RIG_H
#define PASIDD_TESTS_SIM_RIG_H

#include "hw/sim.h"

#define RIG_MEMORY (8u << 20)

struct rig {
	char dir[64];
	struct sim *sim;
	const struct calls *calls;
};

/* What a VMM has: an iommufd, memory mapped at RIG_IOVA, and a device. */
#define RIG_IOVA 0x10000000ull
struct rig_vm {
	int iommufd, device, memfd;
	uint32_t ioas, dev_id;
	uint64_t ino;
};

/* RIDs 0000:00:01.0 (20 bits), 0000:00:02.0 (8 bits), 0000:00:03.0 (no PASID); 0000:00:04.0 and .1
   in group 7 with 0000:00:04.2, which has no PASID; 0000:00:05.0 on IOMMU unit 1. */
struct sim_config rig_config(void);
extern const struct rid rig_wide, rig_narrow, rig_none, rig_first, rig_second, rig_third, rig_far;

void rig_open(struct rig *rig, const struct sim_config *config);
void rig_close(struct rig *rig);

/* Opens, binds and maps; every step must succeed. */
struct rig_vm rig_vm(struct rig *rig, struct rid rid);
void rig_vm_close(struct rig *rig, struct rig_vm *vm);
/* A page table over the VM's address space. */
uint32_t rig_hwpt(struct rig *rig, const struct rig_vm *vm, uint32_t flags);
/* A guest's first-stage table on `parent`; returns what the call says. */
int rig_nested(struct rig *rig, const struct rig_vm *vm, uint32_t parent, uint32_t width,
	uint64_t flags, uint64_t root, uint32_t *ret_hwpt);
int rig_attach(struct rig *rig, const struct rig_vm *vm, uint32_t pt_id, uint32_t pasid);
int rig_detach(struct rig *rig, const struct rig_vm *vm, uint32_t pasid);

/* Where a read of `address` ends. */
enum vtd_stop rig_stop(struct rig *rig, struct rid rid, uint32_t pasid, uint64_t address);
/* The inode that a read of RIG_IOVA reaches; 0: none. */
uint64_t rig_reach(struct rig *rig, struct rid rid, uint32_t pasid);
/* How many entries stand in the table of a device. */
unsigned rig_entries(struct rig *rig, struct rid rid);

#endif
