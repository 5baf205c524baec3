/* SPDX-License-Identifier: MIT */
/* Arm SMMUv3: capabilities, and stream table entries of guests, which the kernel nests on page
 * tables of ours or the VMM's. */
#ifndef PASIDD_HW_SMMUV3_H
#define PASIDD_HW_SMMUV3_H

#include "backend.h"

extern const struct backend_kind smmuv3_kind;

/*
 * Checks the two words of a guest's stream table entry, and each refusal names the field: only what
 * the kernel takes may be set (KERNEL trap 8: V, Config abort, bypass or stage 1, S1Fmt,
 * S1ContextPtr, S1CDMax; S1DSS, S1CIR, S1COR, S1CSH, S1STALLD, EATS off or on), and what describes
 * the table of context descriptors must be what this SMMU can read. An entry that is not valid is
 * one that aborts, whatever else it says: the kernel takes it so. Arm IHI 0070, section 5.2.
 * Returns 0, or a status with REASON_NO_NESTING or _TABLE_FIELD.
 */
int smmuv3_check_nested(
	const struct hw_info *info, const struct hw_table *table, struct error *ret_error);

#endif
