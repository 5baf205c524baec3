/* SPDX-License-Identifier: MIT */
/* How pasid-sim shows the tables of an SMMUv3. */
#ifndef PASID_SIM_SMMUV3_H
#define PASID_SIM_SMMUV3_H

#include "hw/sim.h"

#include <jansson.h>

/* One line of `tables`, after a title. */
void smmuv3_title_print(void);
void smmuv3_entry_print(const struct sim_entry *entry);
/* What a walk read and where it ended, but for the memory that it reached. */
void smmuv3_walk_print(const struct smmuv3_walk_result *walk);
/* The same for programs; NULL when memory is short. */
json_t *smmuv3_entry_json(const struct sim_entry *entry);
json_t *smmuv3_walk_json(const struct smmuv3_walk_result *walk);

#endif
