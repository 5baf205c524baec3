/* SPDX-License-Identifier: MIT */
/*
 * The production backend, driven as a worker drives it, over two kernels: the real iommufd with its
 * self-test device, and the simulator.
 */
#ifndef SELFTEST_H
#define SELFTEST_H

#include "hw/backend.h"

/* Two functions that a VMM has, and one that only the daemon has open. */
#define SELFTEST_A      0x08u
#define SELFTEST_B      0x10u
#define SELFTEST_SHARED 0x18u

struct world {
	const char *name;
	uint32_t iommu; /* enum hw_iommu: what it looks like */
	bool queues;    /* a VMM can make event queues */
	const struct calls *calls;
	void *ctx;
	/* Is exactly page table `pt_id` attached there (pasid NULL: at the RID), 0: nothing? As the
	   kernel has it, not as the backend remembers it. */
	bool (*stands)(const struct world *world, struct rid rid, const struct hpasid *pasid,
		uint32_t pt_id);
	/* Was the nested table made of this description? */
	bool (*nested_is)(const struct world *world, int iommufd, uint32_t hwpt,
		const struct hw_table *table);
	/* How many objects are there in the iommufd? */
	unsigned (*objects)(const struct world *world, int iommufd);
	/* The second of the attaches of this PASID that come now fails with ENOMEM. */
	void (*fail_second)(const struct world *world, struct hpasid pasid);
};

/* The self-test kernel does it with this number only. */
#define SELFTEST_FAILS 1024u

/* Each ends the program with a message when it cannot be had. */
struct world world_kernel(bool smmuv3);
struct world world_simulator(bool smmuv3);

/* Prints "ok" or "not ok" and what; `why` NULL or the reason that it failed. */
bool selftest_check(bool good, const char *why, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
extern unsigned selftest_failed;
_Noreturn void selftest_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- what a VMM has, and the backend of its lane --- */

/* What the VMM made; the ids in `struct vmm`. */
enum vmm_object {
	V_NONE = 0,
	V_TABLE,  /* a page table with ALLOC_PASID */
	V_OTHER,  /* another, over another address space */
	V_PARENT, /* a nest parent with ALLOC_PASID */
	V_PLAIN,  /* a page table without ALLOC_PASID */
	V_IOAS,
	V_COUNT,
	V_GONE = V_COUNT, /* an id that names nothing */
};

struct vmm {
	const struct world *world;
	struct backend *backend;
	int iommufd;
	uint32_t dev_id; /* of A */
	uint32_t object[V_COUNT + 1];
	uint32_t other;          /* the address space of V_OTHER */
	struct hw_result result; /* of the last operation */
};

/* A VMM with A registered and opened, and all objects made. */
void vmm_start(struct vmm *vmm, const struct world *world);
/* Makes a page table again that was destroyed. */
void vmm_remake(struct vmm *vmm, enum vmm_object object);
/* As if the worker and the VMM had been killed. */
void vmm_end(struct vmm *vmm);
/* Has the VMM's own backend take a further device; its dev_id is in the result. */
void vmm_open(struct vmm *vmm, uint32_t rid);
/* Executes; the reason of the refusal, 0: done. */
uint32_t vmm_run(struct vmm *vmm, struct hw_op op);
/* What a page table of the steps is called by this VMM. */
struct hw_table vmm_table(const struct vmm *vmm, struct hw_table symbolic);

#define TABLE(name) ((struct hw_table){.kind = HW_TABLE_HWPT, .id = (name)})
#define IOAS(name)  ((struct hw_table){.kind = HW_TABLE_IOAS, .id = (name)})
#define SPACE(n)    ((struct hw_table){.kind = HW_TABLE_SPACE, .id = (n)})
#define NESTED_FULL(on, name, root, width, s1_flags)                                               \
	((struct hw_table){.kind = HW_TABLE_VTD_S1,                                                \
		.id = (name),                                                                      \
		.parent_kind = (on),                                                               \
		.addr_width = (width),                                                             \
		.flags = (s1_flags),                                                               \
		.pgtbl_addr = (root)})
#define NESTED(name, root)       NESTED_FULL(HW_TABLE_HWPT, name, root, 48, 0)
#define NESTED_SPACE(name, root) NESTED_FULL(HW_TABLE_SPACE, name, root, 48, 0)

/* A guest's stream table entry, in stage 1, whose context descriptors lie at `at`. */
#define STE_FULL(on, name, number, word_0, word_1)                                                 \
	((struct hw_table){.kind = HW_TABLE_SMMUV3,                                                \
		.id = (name),                                                                      \
		.parent_kind = (on),                                                               \
		.stream = (number),                                                                \
		.ste = {(word_0), (word_1)}})
#define STE_STAGE_1                 (UINT64_C(4) << 59 | 0xb) /* 16 descriptors in a linear table */
#define STE(name, number, at)       STE_FULL(HW_TABLE_HWPT, name, number, STE_STAGE_1 | (at), 0)
#define STE_IOAS(name, number, at)  STE_FULL(HW_TABLE_IOAS, name, number, STE_STAGE_1 | (at), 0)
#define STE_SPACE(name, number, at) STE_FULL(HW_TABLE_SPACE, name, number, STE_STAGE_1 | (at), 0)

/* The operation on the RID. */
#define AT_RID UINT32_MAX
struct hw_op selftest_op(enum hw_kind kind, uint32_t rid, uint32_t pasid, struct hw_table table);

/* --- the parts of the program --- */

/* What to expect wrongly, to see that the checks can fail. */
enum wrong { WRONG_NOTHING, WRONG_REASON, WRONG_STANDS, WRONG_ABSENT, WRONG_NESTED, WRONG_OBJECTS };

void selftest_steps(const struct world *world, enum wrong wrong);
void selftest_faults(const struct world *world);
/* Steps at random: the same for the same seed. */
void selftest_random(const struct world *world, unsigned seed, unsigned count);

#endif
