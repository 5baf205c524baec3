/* SPDX-License-Identifier: MIT */
/*
 * The broker and the backend as the daemon has them, over a simulated kernel whose calls can fail:
 * a backend for each lane, in this process, and a VMM with descriptors of its own.
 */
#ifndef PASIDD_TEST_HARDWARE_RIG_H
#define PASIDD_TEST_HARDWARE_RIG_H

#include "faulty_calls.h"
#include "fixture.h"
#include "hw/backend.h"
#include "sim_rig.h"

#define HARDWARE_MAX   8 /* functions of each kind */
#define HARDWARE_LANES 16
#define HARDWARE_TEXT  8192
#define HARDWARE_LINES 256

enum hardware_kind {
	HARDWARE_ALONE,  /* functions of a group each */
	HARDWARE_GROUPS, /* two in each group */
	HARDWARE_SHARED, /* of a group each, meant to be shared */
	HARDWARE_KINDS
};

struct hardware_lane {
	uint64_t lane;
	struct backend *backend; /* NULL: the place is free */
};

struct hardware {
	struct fixture f; /* of its model of the hardware only the queue is used */
	struct rig rig;
	struct faulty faulty;
	struct hardware_lane lanes[HARDWARE_LANES];
	/* the VMM: its iommufd, memory that is mapped in its own IOAS, too, and its set */
	struct actor vmm;
	bool smmuv3;
	int iommufd, memfd;
	uint32_t ioas;
	char text[2][HARDWARE_TEXT];
};

void hardware_open(struct hardware *h);
/* The same on an SMMUv3, with sets whose guests own their tables. */
void hardware_open_smmuv3(struct hardware *h);
void hardware_close(struct hardware *h);
/* Another set of the VMM, with a name of its own. */
void hardware_set(struct hardware *h);

/* The VMM ends, with all that it has open, and is started anew. */
void hardware_vmm_again(struct hardware *h);

struct rid hardware_rid(enum hardware_kind kind, unsigned index);
/* The VMM opens a device node, as its own calls would. */
int hardware_node(struct hardware *h, struct rid rid);

/* Everything that waits is carried out. */
void hardware_run(struct hardware *h);
/* The same; the outcome with this cookie, which must be there. Its descriptors are closed. */
struct outcome hardware_outcome(struct hardware *h, uint64_t cookie);
/* What a request came to: `r` is what the broker answered to it, and its outcome has cookie 1. */
int hardware_result(struct hardware *h, int r);

/* Registers a function; the status. The VMM keeps no copy of its descriptor, or *ret_kept. */
int hardware_add(struct hardware *h, struct rid rid, int *ret_kept, struct device_id *ret_device);
/* The daemon opens it. */
int hardware_add_opened(struct hardware *h, struct rid rid, struct device_id *ret_device);
int hardware_share(struct hardware *h, struct rid rid, struct device_id *ret_device);
int hardware_remove(struct hardware *h, struct device_id device);
/* Maps the whole memory, at `space` times its length. */
int hardware_map(struct hardware *h, struct device_id device, uint32_t space);
int hardware_unmap(struct hardware *h, struct device_id device, uint32_t space);
int hardware_unbind(struct hardware *h, struct hpasid host);
/* Steps that must succeed: an exclusive device, or a shared one and its slice; with memory in space
 * 0. */
struct device_id hardware_device(struct hardware *h, enum hardware_kind kind, unsigned index);

/*
 * All that is recorded and charged, what stands in the tables of the hardware, the kernel's objects
 * and how many descriptors are open, as text; names that are never given twice are left out.
 */
const char *hardware_text(struct hardware *h, char text[HARDWARE_TEXT]);
/* The same without the kernel's objects: those that it refused to destroy are kept for later. */
const char *hardware_text_records(struct hardware *h, char text[HARDWARE_TEXT]);
/*
 * A recount agrees; what stands in the tables is recorded as bound, or as what nobody knows of; and
 * what is recorded as bound stands there.
 */
void hardware_agrees(struct hardware *h, const char *where);
/* Whether any binding is recorded as one that may be attached still. */
bool hardware_is_tainted(struct hardware *h);
/* The number is in nobody's use, has cooled, and yet cannot be had by anybody. */
void hardware_withheld(struct hardware *h, struct hpasid host, const char *where);
/* An admin says that nothing is queued in shared devices any more. */
void hardware_drained(struct hardware *h);

#endif
