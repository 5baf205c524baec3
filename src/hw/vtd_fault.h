/* SPDX-License-Identifier: MIT */
/*
 * The faults of Intel VT-d: reasons (Intel VT-d specification 4.1, section 7.1 and appendix), and
 * the lines of Linux's drivers/iommu/intel since 5.0 ("DMAR: ").
 *
 *   to 5.4       [DMA Read] Request device [02:00.0] fault addr 1000 [fault reason 06] ...
 *   to 5.13      [DMA Read] Request device [02:00.0] PASID ffffffff fault addr 1000 [fault reason
 *                06] ...   (the reason is decimal; ffffffff: no PASID)
 *   5.14         [DMA Read NO_PASID] Request device [0x02:0x00.0] fault addr 0x1000 [fault reason
 *                0x06] ...
 *   since 5.15   [DMA Read PASID 0x400] Request device [02:00.0] fault addr 0x1000 [fault reason
 *                0x59] ...; with a segment in some kernels: [0000:02:00.0]
 *
 * and those of interrupts, page requests, and the invalidation queue.
 */
#ifndef PASIDD_HW_VTD_FAULT_H
#define PASIDD_HW_VTD_FAULT_H

#include "fault.h"

/* Fault reasons of scalable mode that the tables here can lead to. */
enum vtd_reason {
	VTD_REASON_ROOT_ABSENT = 0x39,
	VTD_REASON_CONTEXT_ABSENT = 0x41,
	VTD_REASON_PASID_DISABLED = 0x45,
	VTD_REASON_PASID_RANGE = 0x46,
	VTD_REASON_DIRECTORY_ABSENT = 0x51,
	VTD_REASON_ENTRY_ABSENT = 0x59,
	VTD_REASON_ENTRY_BAD = 0x5b,
	VTD_REASON_FIRST_ACCESS = 0x70, /* the structure cannot be read */
	VTD_REASON_FIRST_ABSENT = 0x71,
	VTD_REASON_FIRST_RESERVED = 0x72,
	VTD_REASON_SECOND_DENIED = 0x79, /* or absent */
	VTD_REASON_NOT_CANONICAL = 0x80,
	VTD_REASON_NO_WRITE = 0x85,
	VTD_REASON_NO_READ = 0x86,
};

/* The kernel's words for one of these; "Unknown" for others. */
const char *vtd_reason_text(uint32_t reason);
/* What a reason, of any mode, means to whoever looks after the host; NULL: nothing can be said. */
const char *vtd_reason_meaning(uint32_t reason);

/* What is kept between lines. All zero at the beginning. */
struct vtd_fault_state {
	bool in_fault;    /* a fault was read: tables that are dumped are of it */
	bool has_request; /* a page request was complained about, which comes next */
	char unit[32], complaint[96];
};

/* A message of the kernel's, behind "DMAR: ". */
enum fault_line vtd_fault_line(
	struct vtd_fault_state *state, struct fault_text message, struct fault_queue *queue);
/* The log ends here. */
void vtd_fault_end(struct vtd_fault_state *state, struct fault_queue *queue);

/*
 * The line, as 5.15 and later print it, of a DMA with rid, address, code and access set; the
 * segment is left out, as there. Returns its length, which is less than `size`.
 */
#define VTD_FAULT_LINE_MAX 256
size_t vtd_fault_format(const struct fault *fault, char *ret_line, size_t size);

#endif
