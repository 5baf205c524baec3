/* SPDX-License-Identifier: MIT */
/* What a kernel's log would say of a DMA that the simulated IOMMU refuses. */
#ifndef PASID_SIM_KERNEL_H
#define PASID_SIM_KERNEL_H

#include "hw/sim.h"

/*
 * Prints the lines, as Linux 6.14 and later have them; nothing for a DMA that gets through, or one
 * that is refused without a word. `pasid`: NULL for a DMA without one.
 */
void kernel_lines_print(struct rid rid, const struct hpasid *pasid, uint64_t address, bool write,
	const struct sim_walk_result *walk);

#endif
