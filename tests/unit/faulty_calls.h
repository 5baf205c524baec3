/* SPDX-License-Identifier: MIT */
/*
 * The kernel's calls with one or two of them failing: all go to a `struct calls` behind, are
 * counted on the way, and those with the arranged numbers fail instead, each with an error that the
 * kernel has for it.
 */
#ifndef PASIDD_TEST_FAULTY_CALLS_H
#define PASIDD_TEST_FAULTY_CALLS_H

#include "hw/calls.h"

#define FAULTY_CALLS(C)                                                                            \
	C(NONE)                                                                                    \
	C(CHECK_IOMMUFD)                                                                           \
	C(CHECK_DEVICE)                                                                            \
	C(CHECK_MEMORY)                                                                            \
	C(SAME_FILE)                                                                               \
	C(OPEN_IOMMUFD)                                                                            \
	C(OPEN_DEVICE)                                                                             \
	C(BIND)                                                                                    \
	C(HW_INFO)                                                                                 \
	C(IOAS_ALLOC)                                                                              \
	C(MAP)                                                                                     \
	C(UNMAP)                                                                                   \
	C(HWPT_ALLOC)                                                                              \
	C(VIOMMU_ALLOC)                                                                            \
	C(VDEVICE_ALLOC)                                                                           \
	C(ATTACH)                                                                                  \
	C(DETACH)                                                                                  \
	C(DESTROY)                                                                                 \
	C(WATCH)

enum faulty_call {
#define C(name) FAULTY_##name,
	FAULTY_CALLS(C)
#undef C
		FAULTY_CALL_COUNT
};

struct faulty_fault {
	unsigned at;          /* number of the call from arming on, from 1; 0: none */
	enum faulty_call hit; /* the call that failed; FAULTY_NONE: there was none of that number */
	int error;            /* its errno; 0: a check, which says in words what is wrong */
};

struct faulty {
	const struct calls *real;
	void *ctx;
	unsigned calls; /* since the faults were armed */
	struct faulty_fault first, second;
	unsigned tried[FAULTY_CALL_COUNT]; /* how often a call failed: with one error after the
					      other */
};

/* Its context is the struct faulty. */
extern const struct calls faulty_calls;

/* Call `first` fails from now on, and with `second` other than 0 so many calls later another. */
void faulty_arm(struct faulty *faulty, unsigned first, unsigned second);
void faulty_disarm(struct faulty *faulty);
/* How many errors a call can fail with. */
unsigned faulty_errors(enum faulty_call call);
const char *faulty_text(enum faulty_call call);

#endif
