/* SPDX-License-Identifier: MIT */
/*
 * A model of the hardware and of the workers. It keeps what stands in the tables, and fails the
 * test by itself when something is attached twice, when two sets meet in one table entry, or when
 * an operation names what was never opened.
 */
#ifndef PASIDD_TEST_HARDWARE_MODEL_H
#define PASIDD_TEST_HARDWARE_MODEL_H

#include "hw/hw.h"

#include <check.h>

#ifndef MODEL_ENTRIES
#define MODEL_OPS     1024
#define MODEL_DEVICES 256
#define MODEL_ENTRIES 4096
#endif
#define MODEL_RIDS 128
/* A test passes numbers for descriptors: the iommufd's identity, and 1000 + RID for a device. */
#define MODEL_DEVICE_FD(rid) (1000 + (int)(rid))

struct model_entry {
	bool used, has_pasid;
	uint32_t group, pasid, handle, rid;
	uint64_t owner, key;
	uint32_t pt_id, made_pt;
	bool doubtful; /* its worker does not know what stands there */
	struct hw_table table;
};

struct model_device {
	bool used, open, by_daemon; /* the daemon opens it for its set */
	uint64_t lane, key;
	uint32_t handle, rid;
};

struct model {
	struct hw_op ops[MODEL_OPS]; /* submitted, not yet carried out */
	unsigned count;
	struct model_device devices[MODEL_DEVICES];
	struct model_entry entries[MODEL_ENTRIES];
	uint32_t group_of[MODEL_RIDS], width_of[MODEL_RIDS];
	/* the next operation of this kind fails so, after `skip` of them; 0: none */
	enum hw_kind fail_kind;
	int fail_status;
	unsigned fail_skip, fail_times;
	enum hw_left fail_left;   /* what a replacement that fails so leaves */
	uint64_t hung_lane;       /* nothing of it is carried out */
	int submit_status;        /* what submit itself returns */
	uint32_t lacks;           /* capabilities that no function has */
	bool smmu_of[MODEL_RIDS]; /* it is behind an SMMUv3 */
	uint32_t unit_of[MODEL_RIDS];
	int next_fd; /* of a device that was opened for a set; 0: none comes back */
	unsigned carried_out;
	uint32_t tables; /* page tables that were made */
};

/* Its context is the model: keeps the operation until it is carried out. */
extern const struct hw_ops model_ops;

/* Takes a waiting operation out. */
struct hw_op model_take(struct model *model, unsigned index);
/* Carries it out, or fails as arranged. */
void model_perform(struct model *model, const struct hw_op *op, struct hw_result *result);
/* The worker is gone; of an exclusive device the VMM still has its own descriptor, and the entries
 * stay. */
void model_end(struct model *model, uint64_t lane);
/* The daemon is gone: the lane's worker does what was sent to it, or ends with it. */
void model_outlive(struct model *model, uint64_t lane, bool stands);
/* The entry; NULL: there is none. */
const struct model_entry *model_entry_in(const struct model *model, uint32_t rid, uint32_t pasid);
/* Is there an entry? */
bool model_stands_in(const struct model *model, uint32_t rid, uint32_t pasid);

#endif
