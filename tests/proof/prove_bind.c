/* SPDX-License-Identifier: MIT */
/*
 * A bind over several devices and its undo: broker_bind.c, of any devices in any groups, while the
 * kernel refuses and workers are lost at any step.
 *
 *   A  it is attached everywhere, or nowhere; what could not be undone is tainted and keeps its
 *      record, so that the number stays out of use; nothing is attached that no record says may be;
 *      all intents are recorded before the first device is touched
 *   A  what is told is what is so
 *
 * The records of bindings, operations and the hardware are stood for by what their headers promise:
 * a binding has the number of the device that it goes through. Devices are exclusive.
 */
#include "broker_bind.c"
#include "proof.h"

#ifndef DEVICES
#define DEVICES 3u
#endif

static struct broker the_broker, *broker = &the_broker;
static struct grant_slot grant;
static struct device_slot devices[DEVICES];
static struct binding_slot bindings[DEVICES];
static struct op op;

static bool attached[DEVICES]; /* in the hardware */
static bool is_ended, is_pending;
static struct hw_op pending;

/* ---------------------------------------------------------------- neighbours */

uint64_t device_name_of(const struct broker *b, uint32_t device)
{
	(void)b;
	return device + 1u;
}

uint32_t device_holder(const struct broker *b, uint32_t device)
{
	(void)b;
	return device;
}

bool device_is_meant(const struct broker *b, uint32_t device, uint64_t name)
{
	(void)b;
	return name == device + 1u;
}

bool op_grant_is_meant(const struct broker *b, const struct op *asked)
{
	(void)b;
	(void)asked;
	return nondet_bool();
}

uint32_t binding_find(const struct broker *b, uint32_t of, uint32_t device)
{
	(void)b;
	(void)of;
	for (uint32_t i = 0; i < DEVICES; i++)
		if (bindings[i].word != 0 && devices[i].group == devices[device].group)
			return i;
	return STATE_NONE;
}

void binding_commit_state(struct broker *b, uint32_t binding, enum binding_state state)
{
	(void)b;
	PROVE(bindings[binding].word != 0, "a record that is there");
	bindings[binding].word = (bindings[binding].word & ~UINT64_C(0xf)) | state;
}

int binding_make(struct broker *b, uint32_t set, uint32_t of, const struct op_pair *pair,
	uint32_t *ret_binding, struct error *ret_error)
{
	(void)set;
	(void)of;
	PROVE(binding_find(b, of, pair->device) == STATE_NONE, "U: one binding a group");
	if (nondet_bool())
		return error_set(ret_error, REASON_LIMIT, "no room");
	bindings[pair->device].word = BINDING_BINDING;
	*ret_binding = pair->device;
	return 0;
}

void binding_drop(struct broker *b, uint32_t binding)
{
	(void)b;
	PROVE(!attached[binding], "A: what may be attached keeps its record");
	bindings[binding].word = 0;
}

void binding_gone(struct broker *b, uint32_t binding)
{
	binding_drop(b, binding);
}

void binding_taint(struct broker *b, uint32_t binding, enum change_kind kind)
{
	PROVE(kind == CHANGE_BINDING_TAINTED, "A: what is told is what is so");
	binding_commit_state(b, binding, BINDING_TAINTED);
}

void binding_hw(const struct broker *b, uint32_t binding, enum hw_kind kind, struct hw_op *ret_hw)
{
	(void)b;
	*ret_hw = (struct hw_op){.kind = kind, .device = binding};
}

void binding_take_draining(struct broker *b, uint32_t binding, uint32_t device)
{
	(void)b;
	(void)binding;
	(void)device;
	PROVE(false, "nothing drains on an exclusive device");
}

int binding_charge_tables(struct broker *b, uint32_t binding, uint32_t device,
	const struct hw_table *table, struct error *ret_error)
{
	(void)table;
	(void)ret_error;
	binding_take_draining(b, binding, device);
	return 0;
}

void binding_release_tables(struct broker *b, uint32_t binding, uint32_t device)
{
	binding_take_draining(b, binding, device);
}

void broker_change(
	struct broker *b, enum change_kind kind, uint32_t set, uint32_t of, uint32_t device)
{
	(void)b;
	(void)kind;
	(void)set;
	(void)of;
	(void)device;
}

void broker_commit(struct broker *b, uint64_t *word, uint64_t value)
{
	(void)b;
	*word = value;
}

void op_submit(struct broker *b, struct op *of, const struct hw_op *hw)
{
	(void)b;
	(void)of;
	PROVE(!is_pending && !is_ended, "one step at a time");
	is_pending = true;
	pending = *hw;
}

void op_end(struct broker *b, struct op *of)
{
	(void)b;
	(void)of;
	PROVE(!is_pending && !is_ended, "an operation ends once");
	is_ended = true;
}

void op_take_loss(struct op *of)
{
	of->outcome.status = STATUS_HARDWARE;
}

void op_take_error(struct op *of, const struct hw_result *result)
{
	(void)result;
	if (of->outcome.status == 0)
		of->outcome.status = STATUS_HARDWARE;
}

/* Of scope global, or extended to what is named: a refusal is one before anything is recorded. */
int scope_check_bind(const struct broker *b, uint32_t of, uint32_t device, struct error *ret_error)
{
	(void)of;
	(void)device;
	for (uint32_t i = 0; i < DEVICES; i++)
		PROVE(b->binding_slots[i].word == 0, "A: checked before it is recorded");
	return nondet_bool() ? 0 : error_set(ret_error, REASON_OUTSIDE_SCOPE, "no");
}

/* Tables of the kind that the set may have; the same. */
int guest_check_mode(const struct broker *b, uint32_t device, const struct hw_table *table,
	struct error *ret_error)
{
	(void)table;
	return scope_check_bind(b, 0, device, ret_error);
}

int guest_check_table(const struct broker *b, uint32_t device, const struct hw_table *table,
	struct error *ret_error)
{
	(void)table;
	return scope_check_bind(b, 0, device, ret_error);
}

int guest_check_number(const struct broker *b, uint32_t device, struct error *ret_error)
{
	return scope_check_bind(b, 0, device, ret_error);
}

void guest_record_ids(struct broker *b, uint32_t device, const struct hw_result *result)
{
	(void)b;
	(void)device;
	(void)result;
}

void guest_tell(const struct broker *b, uint32_t binding, struct attached_table *told)
{
	(void)b;
	(void)binding;
	(void)told;
}

/* ---------------------------------------------------------------- hardware */

/* Done; refused, which leaves what was there; or lost with its worker: who knows. */
static void hardware_step(void)
{
	struct hw_result result = {.status = any_of(0, 2) == 0 ? 0 : STATUS_HARDWARE};
	const uint32_t binding = (uint32_t)pending.device;

	PROVE(bindings[binding].word != 0, "A: what is asked of hardware is recorded");
	if (result.status != 0 && nondet_bool())
		result.status = -1;
	if (result.status == 0 || (result.status < 0 && nondet_bool()))
		attached[binding] = pending.kind == HW_ATTACH;
	is_pending = false;
	bind_completed(broker, &op, &result);
}

/* ---------------------------------------------------------------- the proof */

static void bind_any(void)
{
	broker->grant_slots = &grant;
	broker->device_slots = devices;
	broker->binding_slots = bindings;
	grant.word = GRANT_ACTIVE | UINT64_C(5) << GRANT_HOST_SHIFT;
	grant.bindings = STATE_NONE;
	for (uint32_t i = 0; i < DEVICES; i++) {
		devices[i].word = DEVICE_READY | DEVICE_EXCLUSIVE << 4;
		devices[i].group = any_of(0, DEVICES - 1);
		devices[i].pasid_width = any_of(0, 20);
		devices[i].caps = nondet_u32();
		op.pairs[i].device = i;
		op.pairs[i].name = i + 1;
		op.pairs[i].table.kind = HW_TABLE_HWPT;
		op.pairs[i].table.id = any_of(0, 1);
	}
	op.pair_count = DEVICES;
	op.state = OP_RUNNING;
}

static void prove_device(uint32_t i)
{
	const enum binding_state state = binding_state(broker, i);
	const uint32_t stands = binding_find(broker, 0, i);

	PROVE(state == BINDING_FREE || state == BINDING_BOUND || state == BINDING_TAINTED,
		"A: no intent is left");
	PROVE(!attached[i] || state != BINDING_FREE, "A: what is attached is recorded");
	if (op.outcome.status == 0)
		PROVE(stands != STATE_NONE && attached[stands] &&
				binding_state(broker, stands) == BINDING_BOUND,
			"A: done: it is attached in every group");
	else
		PROVE(state != BINDING_BOUND, "A: failed: it is bound nowhere");
}

void prove_bind(void)
{
	bind_any();
	bind_start(broker, &op);
	for (uint32_t i = 0; i < 2 * DEVICES && is_pending; i++)
		hardware_step();
	PROVE(is_ended, "it ends");
	for (uint32_t i = 0; i < DEVICES; i++)
		prove_device(i);
}
