/* SPDX-License-Identifier: MIT */
/* The simulated IOMMU that the daemon serves: where it is, and what it is made like. */
#ifndef PASIDD_RUNTIME_SIMULATE_H
#define PASIDD_RUNTIME_SIMULATE_H

#include "runtime.h"

#define RUNTIME_SIMULATION_MAX (RUNTIME_PATH_MAX + sizeof("/simulation"))

/*
 * Makes the simulation in `asked`, or when that is NULL in the runtime directory, unless there is
 * one. 0; -errno; or STATUS_INVALID: the path or the configuration is at fault. The error is
 * filled.
 */
int runtime_simulate(const char *asked, const char *directory, const struct config_simulate *config,
	char ret_path[static RUNTIME_SIMULATION_MAX], struct runtime_error *ret_error);

#endif
