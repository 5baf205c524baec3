/* SPDX-License-Identifier: MIT */
/*
 * Memory behind address spaces that the daemon keeps for a set.
 */
#include "broker_private.h"

#define PAGE_MASK UINT64_C(0xfff)

static int memory_check_range(const struct memory *memory, struct error *ret_error)
{
	if (memory->space >= BROKER_SPACES_MAX)
		return error_set_limit(ret_error, REASON_BAD_RANGE, memory->space,
			BROKER_SPACES_MAX, 0,
			"there is no address space %u; they are numbered from 0 to %u",
			memory->space, BROKER_SPACES_MAX - 1);
	if (memory->length == 0 || ((memory->iova | memory->length | memory->offset) & PAGE_MASK))
		return error_set(ret_error, REASON_BAD_RANGE,
			"address, length and offset of a mapping are multiples of 4096 bytes, the "
			"length not 0");
	if (memory->iova + memory->length - 1 < memory->iova ||
		memory->offset + memory->length < memory->offset)
		return error_set(ret_error, REASON_BAD_RANGE,
			"the mapping goes beyond the end of the address space");
	return 0;
}

static int memory_op(struct broker *b, const struct actor *actor, enum op_kind kind,
	const struct memory *memory, uint64_t cookie, struct op **ret_op, struct error *ret_error)
{
	uint32_t set, device;
	struct op *op;
	int r;

	if (kind == OP_MAP)
		r = set_for_change(b, actor, memory->set, &set, ret_error);
	else
		r = set_for_letting_go(b, actor, memory->set, &set, ret_error);
	if (r == 0)
		r = memory_check_range(memory, ret_error);
	if (r == 0)
		r = device_for_change(b, actor, set, memory->device, &device, ret_error);
	if (r == 0)
		r = op_new(b, kind, set, cookie, &op, ret_error);
	if (r)
		return r;
	if (kind == OP_MAP)
		r = op_charge(b, op, 0, 1, ret_error);
	if (r) {
		op_discard(b, op);
		return r;
	}
	op->device = device;
	op->device_name = memory->device.v;
	op->hw.space = memory->space;
	op->hw.iova = memory->iova;
	op->hw.length = memory->length;
	op->hw.offset = memory->offset;
	op->hw.map_flags = memory->writeable ? HW_MAP_WRITE : 0;
	*ret_op = op;
	return 0;
}

int broker_memory_map(struct broker *b, const struct actor *actor, const struct memory *memory,
	int fd, uint64_t cookie, struct error *ret_error)
{
	struct op *op;
	int r;

	r = memory_op(b, actor, OP_MAP, memory, cookie, &op, ret_error);
	if (r)
		return r;
	op->hw.fd_count = 1;
	op->hw.fds[0] = fd;
	op_queue(b, op);
	return 0;
}

int broker_memory_unmap(struct broker *b, const struct actor *actor, const struct memory *memory,
	uint64_t cookie, struct error *ret_error)
{
	struct op *op;
	int r;

	r = memory_op(b, actor, OP_UNMAP, memory, cookie, &op, ret_error);
	if (r)
		return r;
	op_queue(b, op);
	return 0;
}

void memory_start(struct broker *b, struct op *op)
{
	struct rid rid = {b->device_slots[op->device].rid};
	struct hw_op hw;

	if (!device_is_meant(b, op->device, op->device_name)) {
		op->outcome.status = error_set(&op->outcome.error, REASON_NO_DEVICE,
			"the device was removed in the meantime");
		op_end(b, op);
		return;
	}
	if (device_state(b, op->device) != DEVICE_READY) {
		op->outcome.status = error_set_limit(&op->outcome.error, REASON_DEVICE_GOING,
			device_name_of(b, op->device), 0, 0,
			"device " RID_FORMAT " is being removed, or failed to detach something",
			RID_ARGS(rid));
		op_end(b, op);
		return;
	}
	if (op->kind == OP_MAP)
		op->outcome.status = table_use_space(
			b, op->device, op->hw.space, &op->fresh, &op->outcome.error);
	if (op->outcome.status) {
		op_end(b, op);
		return;
	}
	device_hw(b, op->device, op->kind == OP_MAP ? HW_MAP : HW_UNMAP, &hw);
	hw.space = op->hw.space;
	hw.iova = op->hw.iova;
	hw.length = op->hw.length;
	hw.offset = op->hw.offset;
	hw.map_flags = op->hw.map_flags;
	hw.fd_count = op->hw.fd_count;
	hw.fds[0] = op->hw.fds[0];
	op_submit(b, op, &hw);
}

void memory_completed(struct broker *b, struct op *op, const struct hw_result *result)
{
	if (result->status)
		op_take_error(op, result);
	/* of a worker that is gone nobody knows how far it came; with the record all of it went */
	if (result->status > 0 && op->fresh && device_is_meant(b, op->device, op->device_name))
		table_drop_space(b, op->device, op->hw.space);
	op_end(b, op);
}
