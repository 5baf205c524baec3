/* SPDX-License-Identifier: MIT */
/* One step: what is asked, and what must come of it. */
#ifndef SELFTEST_STEPS_H
#define SELFTEST_STEPS_H

#include "selftest.h"

/* Beside the operations of the port. */
enum {
	STEP_VMM_DESTROYS = 1000, /* the object `pasid`; `reason` is an errno */
	STEP_FAIL_SECOND,
	STEP_VMM_QUEUE, /* an event queue on the guest's IOMMU of the last table */
	STEP_VMM_QUEUE_ENDS,
};

#define NO_TABLE ((struct hw_table){.kind = HW_TABLE_NONE})
#define STEP(text, call, function, number, pt, refusal, ...)                                       \
	{                                                                                          \
		.what = (text), .kind = (call), .rid = (function), .pasid = (number), .table = pt, \
		.reason = (refusal), __VA_ARGS__                                                   \
	}

struct step {
	const char *what;
	uint32_t kind, rid, pasid;
	struct hw_table table;
	uint32_t reason; /* enum reason; 0: done */
	int objects;     /* more than before */
	uint64_t owner;  /* of a shared device's address space */
	uint32_t left;   /* enum hw_left */
	bool made;       /* the page table is ours */
	bool queue;      /* about an event queue of the VMM's */
};

/* Of an SMMUv3. */
extern const struct step smmuv3_steps[];
extern const size_t smmuv3_step_count;

/* --- for steps that nobody wrote down --- */

/* A VMM with all that it has, to which steps are given. */
struct vmm *steps_begin(const struct world *world);
/* Carries one out, whatever comes of it, checks that what stands is what was answered, and prints
   that. `raw`: the ids are the kernel's. What the VMM destroys it makes anew. */
void steps_do(const struct step *step, bool raw);
bool steps_open(uint32_t rid);
/* The page table at a place of a function, 0: none. */
uint32_t steps_standing(uint32_t rid, size_t place);
#define STEPS_PLACES 19
extern const uint32_t steps_places[STEPS_PLACES];

#endif
