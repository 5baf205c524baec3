/* SPDX-License-Identifier: MIT */
/*
 * Inside the simulator: what stands in DIR/memory, and the functions that its parts offer each
 * other.
 *
 * Two kinds of state. The truth: configuration, contexts, objects, mappings, attachments and
 * faults; each is a slot that one word puts in force, written last. Everything else (tables, page
 * tables, counters, the page allocator) follows from it and can be made again: when a process dies
 * while it holds the lock, the next one does so (sim_rebuild).
 *
 * Locks: that of an IOMMU unit first, held over a whole attach or detach as the kernel's
 * invalidation queue is, also while it hangs; then the global one, held briefly and never while
 * sleeping.
 */
#ifndef PASIDD_HW_SIM_MEMORY_H
#define PASIDD_HW_SIM_MEMORY_H

#include "sim.h"

#include <pthread.h>
#include <sys/types.h>

#define SIM_PAGE        4096u
#define SIM_OBJECTS_MAX 4096u /* ids of a context: 1..4096 */
#define SIM_AREAS_MAX   4096u /* mappings of a context */
#define SIM_FILES_MAX   1024u
#define SIM_MEMBERS_MAX 16u   /* devices of a group */
#define SIM_CHUNK       1024u /* PASIDs that are counted together */
#define SIM_DID_FIRST   2u    /* as Linux: 0 and 1 are reserved */

/* Simulated addresses from here on are memory of somebody: slot of the file << 40 | offset in it.
 */
#define SIM_FRAMES      (1ull << 47)
#define SIM_FRAMES_FILE 37

enum object_type {
	OBJECT_NONE = 0,
	OBJECT_DEVICE,
	OBJECT_IOAS,
	OBJECT_HWPT,
	OBJECT_VIOMMU,
	OBJECT_VDEVICE,
};

struct sim_object {
	uint32_t type;      /* enum object_type, written last */
	uint32_t users;     /* derived */
	uint32_t device;    /* device, vDEVICE: its index */
	uint32_t unit;      /* SMMUv3, page table and vIOMMU: the SMMU that it is for */
	uint32_t ioas;      /* page table: over this address space, or 0 */
	uint32_t parent;    /* page table: nested on this one (SMMUv3: in this vIOMMU), or 0;
			       vIOMMU: its page table; vDEVICE: its vIOMMU */
	uint32_t flags;     /* page table: CALLS_HWPT_* */
	uint32_t automatic; /* page table: made by attaching an IOAS, goes with the last detach */
	uint32_t first;     /* page table: in first-stage format */
	uint32_t did;
	uint32_t s1_width;
	uint64_t s1_flags, s1_root;
	uint64_t ste[2];  /* SMMUv3, nested: the guest's */
	uint64_t virt_id; /* vDEVICE */
	uint64_t root;    /* page table: derived */
};

struct sim_area {
	uint32_t ioas; /* 0: free; written last */
	uint32_t write;
	uint64_t iova, length, phys;
};

struct sim_file {
	uint32_t used;
	uint32_t users;    /* areas; derived */
	uint64_t dev, ino; /* dev 0: anonymous */
	int32_t pid, fd;   /* who mapped it last, to read a guest's tables there */
};

/*
 * What is attached at one PASID of a group, in one word: the page table's id (0: nothing), whether
 * its entry is missing on the first member since a replacement failed (trap 16), the members that
 * attached it, and those of them that came to PASID 0 by naming it (trap 2).
 */
#define ATTACH_HWPT(word)    ((uint32_t)((word)&0xffff))
#define ATTACH_TORN          (1ull << 16)
#define ATTACH_MEMBERS(word) ((uint32_t)((word) >> 32 & 0xffff))
#define ATTACH_MEMBER(i)     (1ull << (32 + (i)))
#define ATTACH_NAMED(i)      (1ull << (48 + (i)))

struct sim_group {
	uint32_t number;
	uint32_t member_count;
	uint32_t members[SIM_MEMBERS_MAX];
	/* Words in use in each chunk; raised before a word is written, so never too low. */
	uint16_t chunk[PASID_COUNT / SIM_CHUNK];
};

struct sim_node {
	struct sim_device_config config;
	uint32_t width;  /* of device and IOMMU */
	uint32_t group;  /* index */
	uint32_t member; /* number in the group */
	uint32_t bound;  /* context + 1, written last; 0: not bound */
	uint32_t dev_id;
	uint32_t going;       /* to be unplugged, or gone: nobody can open it */
	uint64_t reset_until; /* CLOCK_MONOTONIC ns; entries are parked until then */
	uint64_t directory;   /* derived; SMMUv3: the host's table of context descriptors */
};

struct sim_unit {
	pthread_mutex_t lock;
	/* Not 0: its holder has let go of the global lock halfway through a replacement, and has so
	   many references to the page table `changing_to` (context << 16 | id). */
	uint32_t changing, changing_to;
	uint64_t root; /* derived */
};

struct sim_fault_slot {
	uint32_t used;
	struct sim_fault fault;
};

struct sim_header {
	uint64_t magic;
	uint32_t version, header_size;
	uint64_t size, objects, areas, attach, bitmap, pool; /* offsets */
	uint32_t group_count, page_count;
	struct sim_config config;
	uint64_t cap, ecap;
	uint64_t idr[SMMUV3_IDRS];
	pthread_mutex_t lock;
	uint32_t stale;                      /* derived state must be made again */
	uint32_t fault_generation;           /* raised by sim_fault_clear() */
	uint32_t page_next;                  /* where the page allocator looks first */
	uint64_t anonymous;                  /* numbers given to anonymous memory */
	uint32_t contexts[SIM_CONTEXTS_MAX]; /* 1: in use */
	struct sim_unit units[SIM_UNITS_MAX];
	struct sim_node nodes[SIM_DEVICES_MAX];
	struct sim_group groups[SIM_DEVICES_MAX];
	struct sim_file files[SIM_FILES_MAX];
	struct sim_fault_slot faults[SIM_FAULTS_MAX];
	uint64_t dids[65536 / 64]; /* derived */
};

struct sim {
	int dir_fd;
	size_t size;
	int iommu_fd; /* observers: no lock is ever taken through them */
	int node_fds[SIM_DEVICES_MAX];
	dev_t iommu_dev, node_dev[SIM_DEVICES_MAX];
	ino_t iommu_ino, node_ino[SIM_DEVICES_MAX];
	int file_fds[SIM_FILES_MAX]; /* copies of the memfds that this process mapped */
	struct sim_header *header;   /* start of the mapping */
	struct sim_object *objects;
	struct sim_area *areas;
	uint64_t *attach;
	uint64_t *bitmap;
};

/* --- sim.c --- */

/* Opens a node of a device, or the iommufd, as any user would. 0 or -errno. */
#define SIM_NODE_IOMMU UINT32_MAX
int sim_node_open(struct sim *sim, uint32_t node, int *ret_fd);

/* --- sim_memory.c: locks, pages --- */

/* The global lock. Makes derived state again when its last holder died in it. 0 or -errno. */
int sim_lock(struct sim *sim);
void sim_unlock(struct sim *sim);
/* The lock of an IOMMU unit; wait false: -EBUSY instead of waiting. */
int sim_unit_lock(struct sim *sim, uint32_t unit, bool wait);
void sim_unit_unlock(struct sim *sim, uint32_t unit);
/* A mutex that processes share and that survives its holder. */
int sim_mutex_init(pthread_mutex_t *mutex);
/* Zeroed pages in a row; -ENOMEM when there are none. */
int sim_pages_alloc(struct sim *sim, uint32_t count, uint64_t *ret_phys);
void sim_pages_free(struct sim *sim, uint64_t phys, uint32_t count);
void sim_pages_reset(struct sim *sim);
/* The word at a simulated address of a table, or NULL when that is no table memory. */
uint64_t *sim_word(struct sim *sim, uint64_t phys);
uint64_t sim_now(void);
void sim_sleep_us(uint64_t us);

/* --- sim_fd.c: descriptors --- */

/* Which device node is this? 0, -EBADF when it is not open, -ENOTTY when it is something else. */
int sim_fd_node(struct sim *sim, int fd, uint32_t *ret_node);
int sim_fd_is_iommu(struct sim *sim, int fd);
/* The context of an iommufd, made on first use. As above, or -ENOSPC. */
int sim_fd_context(struct sim *sim, int fd, uint32_t *ret_context);
/* The context if there is one already: true. */
bool sim_fd_has_context(struct sim *sim, int fd, uint32_t *ret_context);
/* Are two descriptors the same open file? 1, 0 or -errno. With the global lock held. */
int sim_fd_same(int a, int b);
/* Takes the lock that says "bound": 0, or -EINVAL when another open file has it. */
int sim_fd_bind(int fd);
void sim_fd_unbind(int fd);
/* Is this the open file that the node was bound through? */
bool sim_fd_owns(struct sim *sim, int fd, uint32_t node);
/* Does any open file hold the lock of a node, of a context? */
bool sim_node_held(struct sim *sim, uint32_t node);
bool sim_context_held(struct sim *sim, uint32_t context);

/* --- sim_table.c: what the hardware reads --- */

/* The root, context and directory of every device. */
int sim_tables_init(struct sim *sim);
/* Writes the PASID table entry of a node; does nothing while it is parked. 0 or -ENOMEM. */
int sim_entry_set(
	struct sim *sim, struct sim_node *node, uint32_t pasid, const struct vtd_entry *entry);
void sim_entry_clear(struct sim *sim, struct sim_node *node, uint32_t pasid);
/* Paging tables of `levels`: mapping leaves nothing behind on failure (-ENOMEM). */
struct sim_paging {
	bool arm; /* in the formats of SMMUv3 */
	bool first;
	unsigned levels;
	uint64_t root;
};
int sim_paging_map(struct sim *sim, const struct sim_paging *paging, uint64_t iova, uint64_t phys,
	uint64_t length, bool write);
void sim_paging_unmap(
	struct sim *sim, const struct sim_paging *paging, uint64_t iova, uint64_t length);
/* Frees all tables, the root too. */
void sim_paging_free(struct sim *sim, const struct sim_paging *paging);

/* Puts words in force: all but the first, then the first, which has the present bit. */
void sim_words_write(uint64_t *to, const uint64_t *from, unsigned count);

/* --- sim_smmuv3.c: the stream table, the host's context descriptors, IOMMUs of guests --- */

/* As sim_tables_init(), for the node: an entry that aborts. */
int sim_smmuv3_init(struct sim *sim, struct sim_node *node);
/*
 * Writes what the page table `hwpt` of a context means for a node: for PASID 0 the stream table
 * entry, and descriptor 0; otherwise a descriptor. `pasids`: others are attached, `rid`: something
 * is attached to the RID. Does nothing while the node is parked. 0 or -ENOMEM.
 */
struct sim_smmuv3_place {
	uint32_t context, pasid;
	bool rid, pasids;
};
int sim_smmuv3_set(struct sim *sim, struct sim_node *node, const struct sim_smmuv3_place *place,
	const struct sim_object *hwpt);
void sim_smmuv3_clear(struct sim *sim, struct sim_node *node, const struct sim_smmuv3_place *place);
/* Does the kernel attach this page table to the node? 0 or -errno. */
int sim_smmuv3_fits(struct sim *sim, uint32_t node, uint32_t context, uint32_t pasid,
	const struct sim_object *hwpt);
int sim_viommu_alloc(struct sim *sim, uint32_t context, uint32_t node, uint32_t type, uint32_t hwpt,
	uint32_t *ret_id);
int sim_vdevice_alloc(struct sim *sim, uint32_t context, uint32_t node, uint32_t viommu,
	uint64_t virt_id, uint32_t *ret_id);
/* A guest's stream table entry, nested in the vIOMMU that `hwpt` names. */
int sim_ste_alloc(
	struct sim *sim, uint32_t context, const struct calls_hwpt *hwpt, uint32_t *ret_id);
/* A device that is given up leaves its guest's IOMMU. */
void sim_vdevice_release(struct sim *sim, uint32_t context, uint32_t node);
struct smmuv3_streams sim_smmuv3_streams(const struct sim *sim, uint32_t unit);
/* The next entry of a node from *next on: 1 and *ret_entry, or 0. With the global lock held. */
int sim_smmuv3_entry_next(struct sim *sim, const struct sim_node *node, uint32_t *next,
	struct sim_smmuv3_entry *ret_entry);

/* --- sim_object.c: contexts, address spaces, page tables --- */

struct sim_object *sim_object_at(struct sim *sim, uint32_t context, uint32_t id);
/* NULL when there is none with that id. */
struct sim_object *sim_object_find(struct sim *sim, uint32_t context, uint32_t id);
struct sim_area *sim_areas(struct sim *sim, uint32_t context);
/* Puts *object in force under the lowest free id. 0 or -ENOMEM. */
int sim_object_add(
	struct sim *sim, uint32_t context, const struct sim_object *object, uint32_t *ret_id);
int sim_hwpt_alloc(
	struct sim *sim, uint32_t context, const struct calls_hwpt *hwpt, uint32_t *ret_id);
/* The page table that attaching an IOAS makes or finds. */
int sim_hwpt_automatic(
	struct sim *sim, uint32_t context, uint32_t dev_id, uint32_t ioas, uint32_t *ret_id);
int sim_object_destroy(struct sim *sim, uint32_t context, uint32_t id);
void sim_context_free(struct sim *sim, uint32_t context);
/* Where the paging tables of a page table that is not nested are. */
struct sim_paging sim_hwpt_paging(const struct sim *sim, const struct sim_object *hwpt);
/* Derived state of all page tables and address spaces. */
int sim_objects_rebuild(struct sim *sim);

/* --- sim_ioas.c: mappings --- */

int sim_map_memfd(struct sim *sim, uint32_t context, uint32_t ioas, int memfd, uint64_t offset,
	uint64_t length, uint64_t iova, uint32_t map_flags);
int sim_map_nothing(struct sim *sim, uint32_t context, uint32_t ioas, uint64_t length,
	uint64_t iova, uint32_t map_flags);
int sim_unmap(struct sim *sim, uint32_t context, uint32_t ioas, uint64_t iova, uint64_t length);
void sim_area_drop(struct sim *sim, struct sim_area *area);
/* Addresses below this can be mapped: the tables translate no more. */
uint64_t sim_aperture(const struct sim_header *header, bool first);
/* Closes copies of memfds that nothing maps any more. */
void sim_files_sweep(struct sim *sim);
/* A word of a file's memory. */
uint64_t sim_file_read(struct sim *sim, uint32_t file, uint64_t offset, bool *ok);

/* --- sim_attach.c: devices, groups, PASIDs --- */

int sim_bind(struct sim *sim, uint32_t node, uint32_t context, uint32_t *ret_dev_id);
/* pasid NULL: the RID. Both want the lock of the unit and the global one; a replacement lets go of
   the global one for a moment. */
int sim_attach(struct sim *sim, uint32_t node, uint32_t pt_id, const struct hpasid *pasid);
int sim_detach(struct sim *sim, uint32_t node, const struct hpasid *pasid);
/* The last close: PASIDs first, then the RID, then the binding. */
void sim_release(struct sim *sim, uint32_t node);
/* Takes all entries of a node away, and writes them again as they are attached. */
void sim_node_park(struct sim *sim, uint32_t node);
void sim_node_restore(struct sim *sim, uint32_t node);
/* The same at the end of a reset. */
void sim_node_mend(struct sim *sim, uint32_t node);
void sim_attach_rebuild(struct sim *sim);

/* --- sim_reap.c --- */

/* With the global lock held: releases what has gone, ends resets. */
void sim_reap_locked(struct sim *sim);
/* Makes all derived state again. */
int sim_rebuild(struct sim *sim);

/* --- sim_unplug.c --- */

/* A descriptor that can be read when the node is to be unplugged. 0 or -errno. */
int sim_watch_removal(struct sim *sim, uint32_t node, int *ret_fd);

/* --- sim_fault.c --- */

/* With the global lock held; NULL: there is none of this RID. */
struct sim_node *sim_node_find(struct sim *sim, struct rid rid, uint32_t *ret_index);
/* What happens to a call before it starts; node NULL: it names no device. */
struct sim_fate {
	int error; /* 0 or -errno */
	uint64_t hang_ms;
	uint64_t latency_us;
	uint32_t generation;
};
struct sim_fate sim_fault_fate(struct sim *sim, enum sim_call call, const struct sim_node *node);
/* Sleeps as long as the fate says, or until the faults are cleared. */
void sim_fault_hang(struct sim *sim, const struct sim_fate *fate);

#endif
