/* SPDX-License-Identifier: MIT */
/*
 * What became of what hardware was asked for: each outcome is one that somebody waits for, and what
 * it says is so in the tables.
 */
#include "play.h"

#include <string.h>

/* ------------------------------------------------------------------ devices */

static void device_added(struct play *play, const struct truth_op *op, uint64_t name, bool shared)
{
	struct truth_device *device = truth_device_new(&play->now);

	*device = (struct truth_device){
		.name = name,
		.set = op->set,
		.lane = op->set,
		.rid = op->rid,
		.kind = shared ? DEVICE_SHARED : DEVICE_EXCLUSIVE,
		.state = DEVICE_READY,
		.told = true,
	};
	device->lane = shared ? WORLD_SHARED_LANE | name : op->set;
	/* it goes with its set */
	device->going = !shared && !play_set_lives(play, op->set);
}

/* The device is asked for with all that is attached there. */
static bool is_going(struct play *play, uint64_t device)
{
	for (uint32_t i = 0; i < play->now.op_count; i++) {
		if (play->now.ops[i].kind == STEP_GOING && play->now.ops[i].devices[0] == device)
			return true;
	}
	return false;
}

/* All of it is gone; or it failed in hardware, and nobody knows; or nothing was done. */
static void taken_along(struct play *play, const struct truth_op *op, enum reason reason)
{
	bool open = reason == REASON_KERNEL_REFUSED || reason == REASON_WORKER_LOST;

	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		struct truth_bound *bound = &play->now.bound[i];
		const struct model_entry *entry;

		if (bound->device != op->devices[0])
			continue;
		entry = world_entry(&play->world, world_group(&play->world, bound->rid),
			bound->host != 0, bound->host);
		if (reason == REASON_NONE && entry && entry->owner == op->set)
			world_fail("function %u is gone, and %u is attached there", bound->rid,
				bound->host);
		if (open)
			truth_doubt(&play->now, bound->host);
		if (open || reason == REASON_NONE)
			truth_bound_drop(&play->now, &play->now.bound[i--]);
		else if (truth_ops_of(&play->now, bound->host) == 0)
			bound->leaving = is_going(play, bound->device);
	}
}

static void device_removed(struct play *play, const struct truth_op *op, enum reason reason)
{
	struct truth_device *device = truth_device(&play->now, op->devices[0]);

	if (!device)
		return;
	if (op->kind == STEP_GOING)
		taken_along(play, op, reason);
	if (reason != REASON_NONE) {
		device->going = device->set && !play_set_lives(play, device->set);
		return;
	}
	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		const struct truth_bound *bound = &play->now.bound[i];

		if (bound->device == device->name && !bound->leaving)
			world_fail("device %llx was removed, on which %u is bound",
				(unsigned long long)device->name, bound->host);
	}
	truth_device_drop(&play->now, device);
}

/* ------------------------------------------------------------------ attached */

static const struct model_entry *entry_of(struct play *play, uint32_t host, uint32_t rid)
{
	return world_entry(&play->world, world_group(&play->world, rid), host != 0, host);
}

static bool group_is_bound(struct play *play, uint32_t host, uint32_t rid)
{
	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		const struct truth_bound *bound = &play->now.bound[i];

		if (bound->host == host &&
			world_group(&play->world, bound->rid) == world_group(&play->world, rid))
			return true;
	}
	return false;
}

/* Its end was asked for before it was there. */
static bool is_leaving(struct play *play, const struct truth_op *op, uint64_t device)
{
	for (uint32_t i = 0; i < play->now.op_count; i++) {
		const struct truth_op *other = &play->now.ops[i];

		if (op->host ? other->kind == STEP_UNBIND && other->host == op->host
			     : other->kind == STEP_RID_DETACH && other->set == op->set)
			return true;
	}
	return is_going(play, device);
}

/* T: a guest's own table is under a RID, of a set that has nothing else. */
static void entry_is_allowed(struct play *play, uint64_t set, const struct model_entry *entry)
{
	const struct truth_set *known = truth_set(&play->now, set);

	if (known && (known->mode == SET_GUEST_OWNED) != (entry->table.kind == HW_TABLE_SMMUV3))
		world_fail("T: set vm%u, of mode %u, has a table of kind %u on function %u",
			known->vm, known->mode, entry->table.kind, entry->rid);
	if (entry->table.kind == HW_TABLE_SMMUV3 && entry->rid >= WORLD_SMMU)
		world_fail("function %u takes no guest's table, and has one", entry->rid);
}

static void bound(struct play *play, const struct truth_op *op)
{
	for (uint32_t i = 0; i < op->count; i++) {
		const struct truth_device *device = truth_device(&play->now, op->devices[i]);
		const struct model_entry *entry;
		struct truth_bound made = {.set = op->set, .host = op->host};

		if (!device)
			world_fail("it is bound on a device that is gone");
		entry = entry_of(play, op->host, device->rid);
		if (!entry || entry->owner != op->set)
			world_fail("%u is said to be bound on function %u, and is not", op->host,
				device->rid);
		entry_is_allowed(play, op->set, entry);
		if (!play_set_lives(play, op->set))
			truth_doubt(&play->now, op->host); /* it goes with its set */
		if (!play_set_lives(play, op->set) || group_is_bound(play, op->host, device->rid))
			continue;
		made.device = device->name;
		made.lane = device->lane;
		made.rid = device->rid;
		made.table = entry->table;
		made.leaving = is_leaving(play, op, made.device);
		truth_bound_add(&play->now, &made);
		if (op->host)
			truth_number(&play->now, op->host)->was_bound = true;
	}
}

/* A: all or nothing. */
static void bind_failed(struct play *play, const struct truth_op *op, enum reason reason)
{
	/* no-device may be what a worker says that came after the one that attached it */
	if (reason == REASON_UNDO_FAILED || reason == REASON_WORKER_LOST ||
		reason == REASON_NO_DEVICE) {
		truth_doubt(&play->now, op->host);
		return;
	}
	/* another bind of it may be in the tables, or something that failed before */
	if (op->host &&
		(truth_number(&play->now, op->host)->doubt || truth_ops_of(&play->now, op->host)))
		return;
	for (uint32_t i = 0; i < op->count; i++) {
		const struct truth_device *device = truth_device(&play->now, op->devices[i]);

		if (device && op->host && !device->lost &&
			!group_is_bound(play, op->host, device->rid) &&
			entry_of(play, op->host, device->rid))
			world_fail("A: a bind of %u failed (%s), and it is attached to function %u",
				op->host, reason_text(reason), device->rid);
	}
}

static bool is_meant(struct play *play, const struct truth_op *op, const struct truth_bound *bound)
{
	if (bound->host != op->host)
		return false;
	for (uint32_t i = 0; i < op->count; i++) {
		const struct truth_device *device = truth_device(&play->now, op->devices[i]);

		if (device && world_group(&play->world, device->rid) ==
				      world_group(&play->world, bound->rid))
			return true;
	}
	return op->host && op->count == 0;
}

static void unbound(struct play *play, const struct truth_op *op)
{
	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		struct truth_bound *bound = &play->now.bound[i];
		const struct model_entry *entry;

		if (!is_meant(play, op, bound))
			continue;
		entry = entry_of(play, bound->host, bound->rid);
		if (entry && entry->owner == op->set)
			world_fail("%u is said to be unbound from function %u, and is attached",
				bound->host, bound->rid);
		truth_bound_drop(&play->now, bound);
		i--;
	}
}

/* Hardware that failed leaves it open; any other refusal changed nothing. */
static void unbind_failed(struct play *play, const struct truth_op *op, enum reason reason)
{
	bool open = reason == REASON_KERNEL_REFUSED || reason == REASON_WORKER_LOST ||
		    (op->host && op->count == 0);

	if (open)
		truth_doubt(&play->now, op->host);
	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		struct truth_bound *bound = &play->now.bound[i];

		if (!is_meant(play, op, bound))
			continue;
		if (open)
			truth_bound_drop(&play->now, &play->now.bound[i--]);
		else if (op->host && truth_ops_of(&play->now, op->host) == 0)
			bound->leaving = is_going(play, bound->device);
	}
}

/* ------------------------------------------------------------------ replaced */

static void replaced(struct play *play, const struct truth_op *op)
{
	const struct truth_device *device = truth_device(&play->now, op->devices[0]);
	const struct model_entry *entry;

	if (!device)
		world_fail("a table is replaced on a device that is gone");
	entry = entry_of(play, op->host, device->rid);
	if (!entry || entry->owner != op->set ||
		memcmp(&entry->table, &op->table, sizeof(op->table)) != 0)
		world_fail("the table of %u is said to be replaced on function %u, and is not",
			op->host, device->rid);
	entry_is_allowed(play, op->set, entry);
	if (!play_set_lives(play, op->set))
		truth_doubt(&play->now, op->host);
	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		if (is_meant(play, op, &play->now.bound[i]))
			play->now.bound[i].table = op->table;
	}
}

/* It is gone, or nobody knows; after any other refusal the earlier table stands. */
static void replace_failed(struct play *play, const struct truth_op *op, enum reason reason)
{
	bool open = reason == REASON_BINDING_LOST || reason == REASON_UNDO_FAILED ||
		    reason == REASON_WORKER_LOST || reason == REASON_NO_DEVICE;

	if (open)
		truth_doubt(&play->now, op->host);
	for (uint32_t i = 0; open && i < play->now.bound_count; i++) {
		struct truth_bound *bound = &play->now.bound[i];
		const struct model_entry *entry;

		if (!is_meant(play, op, bound))
			continue;
		entry = entry_of(play, bound->host, bound->rid);
		if (reason == REASON_BINDING_LOST && entry && entry->owner == op->set)
			world_fail("%u is said to be bound on function %u no more, and is",
				bound->host, bound->rid);
		truth_bound_drop(&play->now, bound);
		i--;
	}
}

/* ------------------------------------------------------------------ one outcome */

static void ended(struct play *play, const struct truth_op *op, const struct outcome *outcome)
{
	bool ok = outcome->status == 0;
	enum reason reason = ok ? REASON_NONE : (enum reason)outcome->error.reason;

	switch ((int)op->kind) {
	case STEP_ADD:
	case STEP_SHARE:
		if (ok)
			device_added(play, op, outcome->device.v, op->kind == STEP_SHARE);
		break;
	case STEP_REMOVE:
	case STEP_GOING:
		device_removed(play, op, reason);
		break;
	case STEP_BIND:
	case STEP_RID_ATTACH:
		if (ok)
			bound(play, op);
		else
			bind_failed(play, op, reason);
		break;
	case STEP_CLAIM_BIND:
		if (ok)
			play_claim_bound(play, op);
		break;
	case STEP_REPLACE:
		if (ok)
			replaced(play, op);
		else
			replace_failed(play, op, reason);
		break;
	case STEP_UNBIND:
	case STEP_RID_DETACH:
		if (ok)
			unbound(play, op);
		else
			unbind_failed(play, op, reason);
		break;
	default:
		break;
	}
}

void play_outcomes(struct play *play)
{
	struct outcome outcome;
	struct truth_op op;

	while (broker_next_outcome(play->world.broker, &outcome)) {
		bool ok = outcome.status == 0;
		uint32_t reason = ok ? REASON_NONE : outcome.error.reason;

		play_say(play, "\n        -> %llu: %s", (unsigned long long)outcome.cookie,
			ok ? "done" : reason_text((enum reason)reason));
		if (outcome.cookie == 0) /* what a recovery went on with */
			continue;
		if (!truth_op_take(&play->now, outcome.cookie, &op))
			world_fail("an outcome that nobody waits for");
		if (outcome.status < 0 || reason >= REASON_COUNT ||
			outcome.status != (int)reason_status((enum reason)reason) ||
			reason == REASON_INTERNAL || (!ok && reason == REASON_NONE))
			world_fail("an outcome is %d, %s: %.200s", outcome.status,
				reason_text((enum reason)reason), ok ? "" : outcome.error.text);
		if (ok)
			play->coverage->ended[op.kind]++;
		else
			play->coverage->failed[op.kind]++;
		play->coverage->reasons[reason]++;
		play->digest = play->digest * 31 + outcome.cookie * 64 + reason;
		ended(play, &op, &outcome);
	}
}
