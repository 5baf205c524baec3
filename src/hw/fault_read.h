/* SPDX-License-Identifier: MIT */
/* A log, line by line: who printed a line, and to whose format it is handed. */
#ifndef PASIDD_HW_FAULT_READ_H
#define PASIDD_HW_FAULT_READ_H

#include "smmuv3_fault.h"
#include "vtd_fault.h"

/* All zero at the beginning. */
struct fault_reader {
	struct vtd_fault_state vtd;
	struct smmuv3_fault_state smmuv3;
	struct fault_queue queue;
};

/*
 * A line without its newline, as dmesg, journalctl or /dev/kmsg give it: with or without time,
 * host, "kernel:", level. What another program than the kernel wrote is nothing of an IOMMU's,
 * whatever it says. Take the faults out with fault_reader_next() after each line.
 */
enum fault_line fault_reader_line(struct fault_reader *reader, const char *line, size_t length);
/* The log ends: what is still waited for does not come. */
void fault_reader_end(struct fault_reader *reader);
/* The next fault that is whole; false: there is none yet. */
bool fault_reader_next(struct fault_reader *reader, struct fault *ret_fault);

#endif
