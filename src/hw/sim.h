/* SPDX-License-Identifier: MIT */
/*
 * A simulated host IOMMU: the kernel's calls (calls.h) with their errors and traps, over tables
 * of VT-d or SMMUv3 that really stand in memory, in the layout of vtd_table.h or smmuv3_table.h.
 *
 * It lives in a directory and is shared by every process that opens it: DIR/memory holds the tables
 * (a simulated physical address below 2^47 is an offset in that file), DIR/iommu is what /dev/iommu
 * is, and DIR/devices/0000:00:01.0 what a node of /dev/vfio/devices is. Descriptors of the nodes
 * behave like the kernel's: they may be passed over sockets and duplicated, and when the last copy
 * goes, by SIGKILL too, everything attached through it is detached at the next look of anybody
 * (every call, sim_reap(), sim_walk(), sim_entries_init()). All functions may be called from
 * several processes, and threads, at once; a process may be killed anywhere in them.
 *
 * Modelled: contexts, IOAS, mappings of memfds, page tables (plain, nest parent, nested VTD_S1) and
 * their reference counts; first- and second-stage tables of 4 KiB and 2 MiB pages; domain ids; the
 * kernel's errors; failures, hangs, resets and latency on demand; and these traps of the kernel:
 *    1  without PASID width an attach returns 0 and writes nothing
 *    2  PASID 0 takes the path of the RID
 *    3  a second attach replaces without a word; with the same table it does nothing at all
 *    4  a PASID takes no IOAS (nor does a RID, as through iommufd.c) and no table without
 *       ALLOC_PASID; ALLOC_PASID itself proves nothing
 *    6  an attach writes the entry of every member of a group, the last detach takes them away
 *    9  the last reference to the device detaches everything, closing the iommufd nothing
 *   10  a second open works, only its BIND does not; page tables can exceed the memory limit
 *   15  a detach takes the entry away before it returns
 *   16  a replaced entry is absent for a moment; a nested replacement can fail after the teardown
 *   17  a reset parks entries, attaches meanwhile are EBUSY
 *   18  a hang reaches all devices of an IOMMU unit
 * and on SMMUv3, where a replacement is seamless instead of 16:
 *    7  a RID with a guest's table takes no PASIDs, nor PASIDs such a table; NEST_PARENT goes with
 *       no other flag, a nested table with none
 *    8  a guest's table needs its vDEVICE; stream table entries with other bits are EIO
 *
 * Not modelled: caches and their invalidation, page requests and fault queues, reserved regions
 * (the MSI window), dirty tracking, interrupt remapping, the charging of locked memory
 * (inject ENOMEM instead), and what a device does on its own: ask for a DMA with sim_walk(). An
 * unmap that hits part of a mapping changes nothing; the kernel may have unmapped others before.
 */
#ifndef PASIDD_HW_SIM_H
#define PASIDD_HW_SIM_H

#include "calls.h"
#include "smmuv3_walk.h"
#include "vtd_table.h"

#define SIM_DEVICES_MAX  64
#define SIM_UNITS_MAX    16
#define SIM_CONTEXTS_MAX 256

struct sim_device_config {
	struct rid rid;
	uint32_t pasid_width; /* bits, 0..20; 0: no PASID */
	uint32_t group;       /* IOMMU group; 0: one of its own */
	uint32_t unit;        /* IOMMU unit, below SIM_UNITS_MAX */
};

struct sim_config {
	struct sim_device_config devices[SIM_DEVICES_MAX];
	uint32_t device_count;
	uint32_t iommu_width; /* PASID bits of the IOMMU, 0..20: the smaller of both counts */
	bool smmuv3;          /* an SMMUv3; what is said of VT-d below then means nothing */
	bool linear;          /* SMMUv3: a stream table of one level */
	bool nesting;         /* ECAP.NEST; SMMUv3: IDR0.S2P, and devices that are coherent */
	bool first_stage;     /* ECAP.FSTS; without, plain tables are second-stage too */
	bool five_level;      /* 57-bit tables of both stages */
	bool supervisor;      /* ECAP.SRS */
	bool extended_access; /* ECAP.EAFS */
	uint32_t latency_us;  /* that each call takes */
	uint32_t replace_us;  /* that an entry is absent while it is replaced */
	uint32_t pages; /* simulated pages for tables; 0: 131072 (512 MiB, only what is used is
			   stored) */
};
/* No devices; an IOMMU that can do everything but five levels. */
#define SIM_CONFIG_DEFAULT                                                                         \
	((struct sim_config){                                                                      \
		.iommu_width = 20,                                                                 \
		.nesting = true,                                                                   \
		.first_stage = true,                                                               \
		.supervisor = true,                                                                \
		.extended_access = true,                                                           \
		.replace_us = 40,                                                                  \
	})

struct sim;

/*
 * Makes the directory (it may exist, then without a simulation in it) and all in it. 0,
 * STATUS_INVALID with *ret_error saying what is wrong with the configuration, or -errno (-EEXIST:
 * there is one already).
 */
int sim_create(const char *dir, const struct sim_config *config, struct error *ret_error);
/*
 * Attaches to a simulation. The handle keeps descriptors of its own (none of which counts as a use
 * of a node), all close-on-exec, and works in children after fork(). 0 or -errno (-EINVAL: not a
 * simulation, or of another version).
 */
int sim_open(const char *dir, struct sim **ret_sim);
/* Gives up the handle, not the simulation; NULL is fine. */
void sim_close(struct sim *sim);
static inline void sim_close_p(struct sim **sim)
{
	sim_close(*sim);
}

/* The kernel's calls; the context to pass is the struct sim itself. */
const struct calls *sim_calls(struct sim *sim);

/*
 * Does what the kernel does on release for every descriptor that has gone. Devices whose IOMMU unit
 * is hung are left for a later look, as their release would hang as well. 0 or -errno.
 */
int sim_reap(struct sim *sim);

/* The VMM's IOMMU_IOAS_MAP of its own memory: as map_file of `calls`, backed by nothing that can be
 * read. */
int sim_map_anonymous(struct sim *sim, int iommufd, uint32_t ioas, uint64_t length, uint64_t iova,
	uint32_t map_flags);

/* What a device was configured to be, in order of configuration; false beyond the last. */
bool sim_device(const struct sim *sim, uint32_t index, struct sim_device_config *ret_device);
/* Is the IOMMU an SMMUv3? Otherwise it is VT-d. */
bool sim_is_smmuv3(const struct sim *sim);
/* Where the root table (SMMUv3: the stream table) of the unit of a device stands. 0, or -ENODEV. */
int sim_root(const struct sim *sim, struct rid rid, uint64_t *ret_root);

/* Reads a word of simulated physical memory: what struct vtd_memory wants, with the sim as context.
 */
uint64_t sim_read(void *sim, uint64_t phys, bool *ok);

struct sim_walk_result {
	bool is_smmuv3; /* which of the two it is */
	struct vtd_walk_result vtd;
	struct smmuv3_walk_result smmuv3;
	bool has_file;     /* reached, and a file is behind the physical address */
	uint64_t dev, ino; /* of the memfd as fstat() says; dev 0: anonymous memory */
	uint64_t offset;   /* in it */
};
/*
 * What a DMA of the function would reach; pasid is NULL for a request without. A nested walk reads
 * the guest's tables in the memfd itself: possible in the process that mapped it, and in others
 * while that one lives and /proc allows it; otherwise it ends VTD_UNREADABLE. 0, -ENODEV for an
 * unknown RID, or -errno.
 */
int sim_walk(struct sim *sim, struct rid rid, const struct hpasid *pasid, uint64_t address,
	bool write, struct sim_walk_result *ret_result);

/* Did it reach memory? */
static inline bool sim_walk_reached(const struct sim_walk_result *walk)
{
	return walk->is_smmuv3 ? walk->smmuv3.stop == SMMUV3_REACHED
			       : walk->vtd.stop == VTD_REACHED;
}

/* All present entries of all devices, by device and PASID. Changes during the iteration may be
 * missed. */
struct sim_entries {
	struct sim *sim;
	uint32_t device;
	bool open;
	struct vtd_entries vtd;
	uint32_t next_pasid; /* SMMUv3 */
};
struct sim_entry {
	struct rid rid;
	uint32_t unit, group;
	bool is_smmuv3;
	struct vtd_entry_at at;
	/* SMMUv3: a stream table entry that does not abort as PASID 0, and the host's context
	   descriptors; those of a guest stand in its memory. */
	struct sim_smmuv3_entry {
		uint32_t pasid;
		uint64_t phys;
		bool has_cd;
		uint64_t ste[SMMUV3_STE_WORDS], cd[SMMUV3_CD_WORDS];
	} smmuv3;
};
/* 0 or -errno. Nothing to release. */
int sim_entries_init(struct sim_entries *entries, struct sim *sim);
/* 1 and *ret_entry, 0 at the end, or -errno. */
int sim_entries_next(struct sim_entries *entries, struct sim_entry *ret_entry);

/* The calls that a fault can be put on; the names are those of the tool. */
#define SIM_CALLS(C)                                                                               \
	C(ANY, "any")                                                                              \
	C(OPEN_IOMMUFD, "open-iommufd")                                                            \
	C(OPEN_DEVICE, "open-device")                                                              \
	C(BIND, "bind")                                                                            \
	C(HW_INFO, "hw-info")                                                                      \
	C(IOAS_ALLOC, "ioas-alloc")                                                                \
	C(MAP, "map")                                                                              \
	C(UNMAP, "unmap")                                                                          \
	C(HWPT_ALLOC, "hwpt-alloc")                                                                \
	C(VIOMMU_ALLOC, "viommu-alloc")                                                            \
	C(VDEVICE_ALLOC, "vdevice-alloc")                                                          \
	C(ATTACH, "attach")         /* of a PASID */                                               \
	C(ATTACH_RID, "attach-rid") /* of the RID itself */                                        \
	C(DETACH, "detach")                                                                        \
	C(DETACH_RID, "detach-rid")                                                                \
	C(WATCH, "watch-removal")                                                                  \
	C(DESTROY, "destroy")                                                                      \
	C(CLOSE, "close") /* the last close of a bound device: can hang, cannot fail */

enum sim_call {
#define C(name, text) SIM_CALL_##name,
	SIM_CALLS(C)
#undef C
		SIM_CALL_COUNT
};
/* The tool's name of a call, never NULL; and back: 0, or -EINVAL. */
const char *sim_call_text(enum sim_call call);
int sim_call_parse(const char *text, enum sim_call *ret_call);

enum sim_fault_kind {
	/* `call` fails with `error` and does nothing else. */
	SIM_FAULT_FAIL = 1,
	/* The caller sleeps `ms` inside the call, with the lock of the device's IOMMU unit held:
	   calls on devices of that unit wait, others go on. Only calls that name a device hang:
	   bind, hw-info, hwpt-alloc, viommu-alloc, vdevice-alloc, attach, detach, close. Ended
	   early by sim_fault_clear(). */
	SIM_FAULT_HANG,
	/* A reset of the function (has_rid) starts now and takes `ms`: its entries are parked,
	   attaches are EBUSY, and then the entries come back. */
	SIM_FAULT_RESET,
	/* Each `call` takes `us` longer. */
	SIM_FAULT_LATENCY,
};

struct sim_fault {
	uint32_t kind; /* enum sim_fault_kind */
	uint32_t call; /* enum sim_call */
	bool has_rid;  /* only calls on this device */
	struct rid rid;
	bool unit;      /* with has_rid: on any device of its unit */
	int error;      /* a positive errno */
	uint32_t skip;  /* the first calls that match go through */
	uint32_t times; /* how many are hit then; 0: all, until cleared */
	uint32_t ms;
	uint32_t us;
};
#define SIM_FAULTS_MAX 32
/* Arms a fault, for all processes. 0, -EINVAL, -ENODEV for an unknown RID, or -ENOSPC. */
int sim_fault_add(struct sim *sim, const struct sim_fault *fault);
/* Disarms all faults (a reset under way ends as well); hanging calls go on. 0 or -errno. */
int sim_fault_clear(struct sim *sim);

/*
 * Unplugs a function: asks who has it open to let go of it, and keeps others from opening it. 0
 * when nobody has it open any more, -EBUSY while somebody has (ask again), -ENODEV for an unknown
 * RID, or -errno. Only an open node that is bound to an iommufd is seen to be open.
 */
int sim_unplug(struct sim *sim, struct rid rid);
/* Puts it back. 0, -ENODEV, or -errno. */
int sim_plug(struct sim *sim, struct rid rid);

/* "0000:00:01.0" or "00:01.0" and back. sim_rid_parse: 0, or -EINVAL. */
int sim_rid_parse(const char *text, struct rid *ret_rid);
#define SIM_RID_TEXT 16
void sim_rid_format(struct rid rid, char ret_text[SIM_RID_TEXT]);

#endif
