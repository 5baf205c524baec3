/* SPDX-License-Identifier: MIT */
/*
 * Workers that take their time: an operation is carried out some time after it was handed over, and
 * the broker hears of it some time after that. Within a lane one after the other, between lanes in
 * any order.
 */
#include "world.h"

#include <errno.h>
#include <string.h>

const struct model_entry *world_entry(
	const struct world *world, uint32_t group, bool has_pasid, uint32_t pasid)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &world->hw.entries[i];

		if (entry->used && entry->group == group && entry->has_pasid == has_pasid &&
			(!has_pasid || entry->pasid == pasid))
			return entry;
	}
	return NULL;
}

/* ------------------------------------------------------------------ one step of a lane */

static bool hw_is_head(const struct model *hw, unsigned index)
{
	for (unsigned k = 0; k < index; k++) {
		if (hw->ops[k].lane == hw->ops[index].lane)
			return false;
	}
	return hw->hung_lane == 0 || hw->ops[index].lane != hw->hung_lane;
}

static unsigned hw_heads(const struct model *hw, unsigned heads[static WORLD_OPS])
{
	unsigned count = 0;

	for (unsigned i = 0; i < hw->count; i++) {
		if (hw_is_head(hw, i))
			heads[count++] = i;
	}
	return count;
}

/* What a kernel may refuse; the rest only closes and asks. */
static bool hw_may_refuse(enum hw_kind kind)
{
	return kind != HW_END && kind != HW_REPORT && kind != HW_LOOK;
}

static void hw_carry_out(struct world *world, unsigned index, bool fail)
{
	struct model *hw = &world->hw;
	struct hw_op op = model_take(hw, index);
	struct world_done *done = &world->done[world->done_count++];

	ck_assert_uint_le(world->done_count, WORLD_OPS);
	done->lane = op.lane;
	memset(&done->result, 0, offsetof(struct hw_result, error));
	done->result.error.reason = REASON_NONE;
	done->result.error.text[0] = '\0';
	done->result.id = op.id;
	done->result.device = op.device;
	if (fail && hw_may_refuse((enum hw_kind)op.kind)) {
		hw->fail_kind = (enum hw_kind)op.kind;
		hw->fail_status = STATUS_HARDWARE;
		hw->fail_skip = 0;
		hw->fail_times = 1;
		hw->fail_left = (enum hw_left)((op.id >> 32) % 3);
	}
	model_perform(hw, &op, &done->result);
	hw->fail_status = 0;
	if (op.kind == HW_ATTACH && op.lane >> 63 && done->result.status == 0)
		world_queue(world, op.pasid.v);
}

bool world_perform(struct world *world, unsigned n, bool fail)
{
	unsigned heads[WORLD_OPS], count = hw_heads(&world->hw, heads);

	if (count == 0)
		return false;
	hw_carry_out(world, heads[n % count], fail);
	return true;
}

static struct hw_result done_take(struct world *world, unsigned index)
{
	struct hw_result result = world->done[index].result;

	memmove(&world->done[index], &world->done[index + 1],
		(world->done_count - index - 1) * sizeof(world->done[0]));
	world->done_count--;
	return result;
}

bool world_deliver(struct world *world, unsigned n)
{
	struct hw_result result;
	unsigned index;

	if (world->done_count == 0)
		return false;
	index = n % world->done_count;
	/* the first of that lane */
	for (unsigned k = 0; k < index; k++) {
		if (world->done[k].lane == world->done[index].lane)
			index = k;
	}
	result = done_take(world, index);
	broker_complete(world->broker, &result);
	return true;
}

/* ------------------------------------------------------------------ the end of a worker */

bool world_waits(const struct world *world, uint64_t lane)
{
	for (unsigned i = 0; i < world->hw.count; i++) {
		if (world->hw.ops[i].lane == lane)
			return true;
	}
	for (unsigned i = 0; i < world->done_count; i++) {
		if (world->done[i].lane == lane)
			return true;
	}
	return false;
}

static void hw_tell_loss(struct world *world, uint64_t id)
{
	struct hw_result result = {.id = id, .status = -EPIPE};

	(void)error_set(&result.error, REASON_WORKER_LOST, "the worker is gone");
	broker_complete(world->broker, &result);
}

void world_lose(struct world *world, uint64_t lane)
{
	world->lost_lane = lane; /* also if the daemon dies before it has heard of that */
	for (unsigned i = 0; i < world->done_count;) {
		if (world->done[i].lane == lane)
			hw_tell_loss(world, done_take(world, i).id);
		else
			i++;
	}
	for (unsigned i = 0; i < world->hw.count;) {
		if (world->hw.ops[i].lane == lane)
			hw_tell_loss(world, model_take(&world->hw, i).id);
		else
			i++;
	}
	if (world->hw.hung_lane == lane)
		world->hw.hung_lane = 0;
	model_end(&world->hw, lane);
	broker_lane_lost(world->broker, lane);
	world->lost_lane = 0;
}
