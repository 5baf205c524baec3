/* SPDX-License-Identifier: MIT */
/*
 * The hardware port: what the broker asks of an IOMMU, whoever carries it out.
 *
 * Operations are plain memory: the executor sends them to worker processes as they stand. They are
 * carried out one after the other within a lane, and independently between lanes; each submitted
 * operation gets exactly one result, later, never from within hw_submit().
 *
 * A lane is what one worker holds: the descriptors of one set, or of one shared device. Handles
 * (`device`) are chosen by the broker, unique among all lanes, and mean something to the worker of
 * that lane only.
 */
#ifndef PASIDD_HW_HW_H
#define PASIDD_HW_HW_H

#include "../base.h"
#include "../error.h"

/* What can be asked. What each kind reads and answers is said beside it. */
enum hw_kind {
	/*
	 * Takes the descriptors into the lane under `device` and says what they are; changes
	 * nothing. reads: fds {iommufd, device} with fd_count 2; or {iommufd} with fd_count 1 and
	 * rid, when the daemon is to open the device; or none and rid: both are opened by the
	 * daemon (shared devices). answers: rid, group, iommufd_key. On failure the lane keeps
	 * nothing of it.
	 */
	HW_IDENTIFY = 1,
	/* Binds an identified device to its iommufd. answers: info, dev_id; the opened device's
	   descriptor in fds[0] (fd_count 1) when the daemon opened it for an exclusive owner. */
	HW_OPEN,
	/* Forgets a device: detaches what is attached, destroys what was made for it, closes our
	   copies. Also undoes an IDENTIFY alone. Success proves that nothing is left attached by
	   us. */
	HW_CLOSE,
	/* Maps `length` bytes of the memfd fds[0] from `offset` at `iova` in address space `space`
	   of `device` (made on first use, one per set and number). fd_count 1. */
	HW_MAP,
	HW_UNMAP,
	/* Attaches `table` to `pasid` of `device`, or to its RID when has_pasid is false.
	   The broker has made sure that nothing is attached there. answers: pt_id, made_pt. */
	HW_ATTACH,
	/* Detaches and destroys the page table that the attach made. Success proves absence. */
	HW_DETACH,
	/* The set gave up its part of a shared device: unmaps and destroys all its address spaces
	   there. */
	HW_LEAVE,
	/* Last operation of a lane: everything is closed, the worker ends. */
	HW_END,
	/* Says what the lane has of an opened device, for a daemon that was started anew; changes
	   nothing. answers: rid, group, iommufd_key, dev_id; viommu and vdevice, if its RID has a
	   guest's table. */
	HW_REPORT,
	/* Puts `table` in the place of what is attached to `pasid`, or to the RID; a guest's on
	   SMMUv3 with the stream and the parent that it has. What can be
	   known to fail is refused before anything is touched; what fails nevertheless is made good
	   by a detach and an attach of the earlier table. answers: pt_id, made_pt; on failure
	   left. */
	HW_REPLACE,
	/* Says what stands there as far as the lane knows, for a daemon that was started anew;
	   changes nothing. answers: pt_id, made_pt, left. */
	HW_LOOK,
};

/* Where the page table of an attach comes from. */
enum hw_table_kind {
	HW_TABLE_NONE = 0,
	HW_TABLE_HWPT,   /* `id` is a page table that the VMM made on its own iommufd */
	HW_TABLE_IOAS,   /* `id` is an IOAS of the VMM's; the daemon makes the page table over it */
	HW_TABLE_SPACE,  /* `id` is the number of an address space that HW_MAP filled */
	HW_TABLE_VTD_S1, /* a guest's first-stage table, nested on the parent described by
			    parent_kind/id */
	/* The guest's stream table entry, with the PASID table (context descriptors) it names,
	   nested on that parent; for a RID only, which it claims whole. SMMUv3. */
	HW_TABLE_SMMUV3,
};

struct hw_table {
	uint32_t kind; /* enum hw_table_kind */
	uint32_t id;   /* HWPT, IOAS or space number; for a nested table that of its parent */
	uint32_t parent_kind; /* nested only: HW_TABLE_HWPT (made with NEST_PARENT),
				 HW_TABLE_SPACE, or on SMMUv3 HW_TABLE_IOAS */
	uint32_t addr_width;  /* nested only: 48 or 57 bits */
	uint64_t flags;       /* nested only: HW_VTD_S1_* */
	uint64_t pgtbl_addr;  /* nested only: guest-physical address of the first-stage root, 4 KiB
				 aligned */
	/* HW_TABLE_SMMUV3 only: the first two words of the guest's stream table entry, as numbers
	   (Arm IHI 0070, section 5.2), and the stream id under which the guest knows the device */
	uint64_t ste[2];
	uint32_t stream;
	uint32_t gap; /* 0: tables are compared as bytes */
};
ASSERT_SIZE(struct hw_table, 56);

/* A guest's, over a second stage that others may share. */
static inline bool hw_table_is_nested(const struct hw_table *table)
{
	return table->kind == HW_TABLE_VTD_S1 || table->kind == HW_TABLE_SMMUV3;
}

/* How many bits of a PASID a guest's stream table entry has: S1CDMax (word 0, from bit 59) of a
   valid one (V) that translates (Config 5). Arm IHI 0070, section 5.2. */
static inline uint32_t hw_stream_width(const struct hw_table *table)
{
	return (table->ste[0] & 0xf) == (5 << 1 | 1) ? (uint32_t)(table->ste[0] >> 59) : 0;
}

/* struct iommu_hwpt_vtd_s1.flags, linux/iommufd.h */
#define HW_VTD_S1_SRE  1u
#define HW_VTD_S1_EAFE 2u
#define HW_VTD_S1_WPE  4u

#define HW_MAP_WRITE 1u /* mappings are readable always, writeable with this */

#define HW_FDS_MAX 2

struct hw_op {
	uint64_t id; /* chosen by the broker, comes back in the result */
	uint64_t lane;
	uint64_t owner;  /* the set, for what is kept per set on a shared device; 0 is the daemon */
	uint32_t kind;   /* enum hw_kind */
	uint32_t device; /* handle */
	struct rid rid;
	struct hpasid pasid;
	uint32_t has_pasid;
	uint32_t space;
	uint32_t map_flags;
	uint32_t fd_count;
	int32_t fds[HW_FDS_MAX];
	uint64_t iova, length, offset;
	/* CLOCK_BOOTTIME: until then an attach or detach that a reset refuses is tried again. */
	uint64_t until_ms;
	struct hw_table table;
	uint64_t spare[8]; /* 0; what a later version adds is here or behind it (worker.h) */
};

enum hw_iommu {
	HW_IOMMU_NONE = 0,
	HW_IOMMU_VTD = 1,    /* IOMMU_HW_INFO_TYPE_INTEL_VTD */
	HW_IOMMU_SMMUV3 = 2, /* IOMMU_HW_INFO_TYPE_ARM_SMMUV3 */
};

#define HW_CAP_PASID  1u  /* PASID attach works: the device has a width and the kernel the call */
#define HW_CAP_NESTED 2u  /* first-stage tables of a guest can be nested */
#define HW_CAP_SRE    4u  /* supervisor requests */
#define HW_CAP_EAFE   8u  /* extended accessed flags */
#define HW_CAP_FL5    16u /* five-level first-stage tables (57 bits) */
#define HW_CAP_WPE    32u /* write protection for supervisor requests */

/* What a device and its IOMMU can do. */
struct hw_info {
	uint32_t iommu;       /* enum hw_iommu */
	uint32_t pasid_width; /* bits, 0: no PASID can be bound (KERNEL trap 1) */
	uint32_t caps;        /* HW_CAP_* */
	uint32_t unit;        /* number of the IOMMU unit where known, 0 otherwise */
	uint64_t raw[6]; /* capability registers as the kernel gave them: VT-d cap, ecap; SMMUv3
			    idr[] */
};

/* What a replacement that failed left in the entry. */
enum hw_left {
	HW_LEFT_EARLIER = 0, /* the earlier table, as if nothing had been asked */
	HW_LEFT_NOTHING,     /* proven absent */
	HW_LEFT_DOUBT,       /* nothing, the earlier table or the new one: a detach failed */
};

struct hw_result {
	uint64_t id;
	int32_t status; /* as everywhere: 0, a status, or -errno; error is filled unless 0 */
	uint32_t device;
	struct rid rid;
	uint32_t group;       /* IOMMU group number */
	uint64_t iommufd_key; /* equal for two operations if and only if both passed the same open
				 file */
	uint32_t dev_id;      /* iommufd's name for the device */
	uint32_t pt_id;       /* iommufd's name for the attached page table */
	uint32_t made_pt;     /* 1: the page table was made by the attach, goes with the detach */
	uint32_t left;        /* enum hw_left */
	uint32_t viommu, vdevice; /* HW_TABLE_SMMUV3: iommufd's names for what it was made with */
	uint32_t fd_count;
	int32_t fds[HW_FDS_MAX];
	struct hw_info info;
	struct error error;
	uint64_t spare[8]; /* 0; as in an operation */
};

struct hw_ops {
	/*
	 * Takes the operation, and its descriptors on success. -EAGAIN when too much is under way
	 * in that lane, -EUSERS when no process is to be had for it, another -errno when the lane
	 * cannot be served at all; then nothing was taken and no result comes.
	 */
	int (*submit)(void *ctx, const struct hw_op *op);
};

/* The injected hardware. Results reach the broker through broker_complete(). */
struct hw {
	const struct hw_ops *ops;
	void *ctx;
};

static inline int hw_submit(const struct hw *hw, const struct hw_op *op)
{
	return hw->ops->submit(hw->ctx, op);
}

#endif
