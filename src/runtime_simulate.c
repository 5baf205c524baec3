/* SPDX-License-Identifier: MIT */
#include "runtime_simulate.h"

#include "hw/sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct sim_config simulate_config(const struct config_simulate *from)
{
	struct sim_config config = SIM_CONFIG_DEFAULT;

	_Static_assert(CONFIG_SIM_DEVICES_MAX <= SIM_DEVICES_MAX, "what is configured fits");
	config.device_count = from->device_count;
	for (uint32_t i = 0; i < from->device_count; i++)
		config.devices[i] = (struct sim_device_config){
			.rid = from->devices[i].rid,
			.pasid_width = from->devices[i].width,
			.group = from->devices[i].group,
			.unit = from->devices[i].unit,
		};
	config.smmuv3 = from->smmuv3 != 0;
	config.iommu_width = from->pasid_width;
	config.nesting = from->nesting;
	config.five_level = from->five_level;
	config.latency_us = from->latency_us;
	return config;
}

int runtime_simulate(const char *asked, const char *directory, const struct config_simulate *config,
	char ret_path[static RUNTIME_SIMULATION_MAX], struct runtime_error *ret_error)
{
	const struct sim_config made = simulate_config(config);
	char path[RUNTIME_SIMULATION_MAX];
	struct error error = {0};
	int r;

	if (asked != NULL)
		r = snprintf(path, sizeof(path), "%s", asked);
	else
		r = snprintf(path, sizeof(path), "%s/simulation", directory);
	if ((size_t)r >= sizeof(path)) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			"--simulate: the path is too long");
		return STATUS_INVALID;
	}
	r = sim_create(path, &made, &error);
	if (r != 0 && r != -EEXIST) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			"%s: the simulation cannot be made: %.232s", path,
			r > 0 ? error.text : strerror(-r));
		return r;
	}
	memcpy(ret_path, path, strlen(path) + 1);
	return 0;
}
