/* SPDX-License-Identifier: MIT */
/* Failures, hangs, resets and latency on demand. They stand in the shared memory: any process arms
 * them. */
#include "sim_memory.h"

#include <errno.h>
#include <string.h>

#define SLICE_US 2000u /* how soon a sleeper notices that the faults were cleared */

static const char *const call_names[] = {
#define C(name, text) [SIM_CALL_##name] = (text),
	SIM_CALLS(C)
#undef C
};
_Static_assert(ARRAY_SIZE(call_names) == SIM_CALL_COUNT, "every call has its name");

const char *sim_call_text(enum sim_call call)
{
	return (size_t)call < ARRAY_SIZE(call_names) ? call_names[call] : "unknown";
}

int sim_call_parse(const char *text, enum sim_call *ret_call)
{
	for (size_t i = 0; i < ARRAY_SIZE(call_names); i++) {
		if (strcmp(text, call_names[i]) == 0) {
			*ret_call = (enum sim_call)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* The calls that work on a device, and can be stuck there. */
static bool call_names_device(uint32_t call)
{
	return call == SIM_CALL_ANY || call == SIM_CALL_BIND || call == SIM_CALL_HW_INFO ||
	       call == SIM_CALL_HWPT_ALLOC || call == SIM_CALL_VIOMMU_ALLOC ||
	       call == SIM_CALL_VDEVICE_ALLOC || call == SIM_CALL_ATTACH ||
	       call == SIM_CALL_ATTACH_RID || call == SIM_CALL_DETACH ||
	       call == SIM_CALL_DETACH_RID || call == SIM_CALL_CLOSE;
}

struct sim_node *sim_node_find(struct sim *sim, struct rid rid, uint32_t *ret_index)
{
	for (uint32_t i = 0; i < sim->header->config.device_count; i++) {
		if (sim->header->nodes[i].config.rid.v == rid.v) {
			*ret_index = i;
			return &sim->header->nodes[i];
		}
	}
	return NULL;
}

static bool fault_valid(const struct sim_fault *fault)
{
	if (fault->call >= SIM_CALL_COUNT || (fault->unit && !fault->has_rid))
		return false;
	switch ((enum sim_fault_kind)fault->kind) {
	case SIM_FAULT_FAIL:
		return fault->error > 0 && fault->error < 4096 && fault->call != SIM_CALL_CLOSE;
	case SIM_FAULT_HANG:
		return fault->ms > 0 && call_names_device(fault->call);
	case SIM_FAULT_RESET:
		return fault->ms > 0 && fault->has_rid;
	case SIM_FAULT_LATENCY:
		return fault->us > 0;
	}
	return false;
}

static int fault_put(struct sim *sim, const struct sim_fault *fault)
{
	for (uint32_t i = 0; i < SIM_FAULTS_MAX; i++) {
		struct sim_fault_slot *slot = &sim->header->faults[i];

		if (slot->used)
			continue;
		slot->fault = *fault;
		__atomic_store_n(&slot->used, 1, __ATOMIC_RELEASE);
		return 0;
	}
	return -ENOSPC;
}

int sim_fault_add(struct sim *sim, const struct sim_fault *fault)
{
	struct sim_node *node = NULL;
	uint32_t index = 0;
	int r;

	if (!fault_valid(fault))
		return -EINVAL;
	r = sim_lock(sim);
	if (r < 0)
		return r;
	if (fault->has_rid)
		node = sim_node_find(sim, fault->rid, &index);
	if (fault->has_rid && !node) {
		r = -ENODEV;
	} else if (fault->kind == SIM_FAULT_RESET) {
		sim_node_park(sim, index);
		node->reset_until = sim_now() + fault->ms * 1000000ull;
	} else {
		r = fault_put(sim, fault);
	}
	sim_unlock(sim);
	return r;
}

int sim_fault_clear(struct sim *sim)
{
	struct sim_header *header = sim->header;
	int r = sim_lock(sim);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < SIM_FAULTS_MAX; i++)
		header->faults[i].used = 0;
	__atomic_add_fetch(&header->fault_generation, 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < header->config.device_count; i++)
		if (header->nodes[i].reset_until)
			header->nodes[i].reset_until = 1; /* long ago */
	sim_reap_locked(sim);
	sim_unlock(sim);
	return 0;
}

static bool fault_matches(struct sim *sim, const struct sim_fault *fault, enum sim_call call,
	const struct sim_node *node)
{
	uint32_t index;

	if (fault->call != SIM_CALL_ANY && fault->call != (uint32_t)call)
		return false;
	if (fault->kind == SIM_FAULT_FAIL && call == SIM_CALL_CLOSE)
		return false;
	if (fault->kind == SIM_FAULT_HANG && !node)
		return false;
	if (!fault->has_rid)
		return true;
	if (!node)
		return false;
	if (fault->unit)
		return sim_node_find(sim, fault->rid, &index)->config.unit == node->config.unit;
	return fault->rid.v == node->config.rid.v;
}

struct sim_fate sim_fault_fate(struct sim *sim, enum sim_call call, const struct sim_node *node)
{
	struct sim_header *header = sim->header;
	struct sim_fate fate = {
		.latency_us = header->config.latency_us, .generation = header->fault_generation};

	for (uint32_t i = 0; i < SIM_FAULTS_MAX; i++) {
		struct sim_fault_slot *slot = &header->faults[i];
		struct sim_fault *fault = &slot->fault;

		if (!slot->used || !fault_matches(sim, fault, call, node))
			continue;
		if (fault->skip > 0) {
			fault->skip--;
			continue;
		}
		if (fault->kind == SIM_FAULT_FAIL && fate.error == 0)
			fate.error = -fault->error;
		else if (fault->kind == SIM_FAULT_HANG)
			fate.hang_ms += fault->ms;
		else if (fault->kind == SIM_FAULT_LATENCY)
			fate.latency_us += fault->us;
		if (fault->times > 0 && --fault->times == 0)
			slot->used = 0;
	}
	return fate;
}

void sim_fault_hang(struct sim *sim, const struct sim_fate *fate)
{
	uint64_t end = sim_now() + fate->hang_ms * 1000000u;

	while (sim_now() < end && __atomic_load_n(&sim->header->fault_generation,
					  __ATOMIC_ACQUIRE) == fate->generation)
		sim_sleep_us(SLICE_US);
}
