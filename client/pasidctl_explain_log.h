/* SPDX-License-Identifier: MIT */
/* Inside `pasidctl explain`: the log that it reads, and what is found in it. */
#ifndef PASIDCTL_EXPLAIN_LOG_H
#define PASIDCTL_EXPLAIN_LOG_H

#include "explain.h"
#include "hw/fault_read.h"
#include "pasidctl.h"

#define EXPLAIN_FINDINGS_MAX 1024

struct explain_log {
	struct fault_reader reader;
	uint64_t lines, others, parts, faults; /* others: nothing of an IOMMU's */
	uint64_t left_out; /* faults beyond EXPLAIN_FINDINGS_MAX different ones */
	struct explain_finding *findings;
	size_t finding_count;
};

/*
 * Reads what the command line says: its words, the journal, or standard input to its end. 0, or an
 * exit code after saying why. The caller frees log->findings in any case.
 */
int explain_log_read(struct ctl *ctl, struct explain_log *log);

/* In pasidctl_explain_trail.c: what the audit trail, where it may be read, knows of the findings'
 * PASIDs: when it was that happened last, and what no event says any more. */
void explain_trail(const struct ctl *ctl, struct explain_log *log);

#endif
