/* SPDX-License-Identifier: MIT */
/* Intel VT-d: capabilities, and first-stage tables of guests nested on page tables of ours or the
 * VMM's. */
#ifndef PASIDD_HW_VTD_H
#define PASIDD_HW_VTD_H

#include "backend.h"

extern const struct backend_kind vtd_kind;

/*
 * Checks a first-stage table of a guest against the capability registers, because a nested
 * replacement with a bad width fails only after the teardown (KERNEL trap 16): width 48, or 57 with
 * five-level tables (CAP.FL5LP); flags that ECAP has; root 4 KiB aligned. VT-d specification,
 * sections 9.6 and 11.4. Returns 0, or a status with REASON_NO_NESTING, _TABLE_WIDTH, _TABLE_FLAGS
 * or _TABLE_ADDRESS.
 */
int vtd_check_nested(
	const struct hw_info *info, const struct hw_table *table, struct error *ret_error);

#endif
