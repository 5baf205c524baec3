/* SPDX-License-Identifier: MIT */
/*
 * Devices: registered, shared, sliced, removed, vouched for; and memory of their address spaces.
 */
#include "play.h"

#include <string.h>

/* ------------------------------------------------------------------ what is asked for */

static void under_way(struct play *play, uint64_t set, uint64_t device, uint32_t rid)
{
	struct truth_op *op =
		truth_op_new(&play->now, play->cookies, (enum step_kind)play->step->kind);

	op->set = set;
	op->rid = rid;
	op->devices[0] = device;
	op->count = device ? 1 : 0;
	play_say(play, ", as %llu", (unsigned long long)play->cookies);
}

static void do_add(struct play *play)
{
	uint32_t rid = play_arg(play, 1, WORLD_EXCLUSIVE), other = play_arg(play, 3, WORLD_VMS);
	const int vm = play->step->vm % play->history->vms;
	struct asker asker;
	enum reason wanted;
	int fds[2], r;

	play_asker(play, &asker);
	/* mostly the VMM's own iommufd, sometimes another's */
	fds[0] = 10 + (play_arg(play, 2, 8) || !asker.set ? vm : (int)other);
	fds[1] = MODEL_DEVICE_FD(rid);
	wanted = play_gate(&asker);
	if (wanted == REASON_NONE && play->now.unconfirmed)
		wanted = REASON_UNCONFIRMED;
	play_say(play, "%s registers function %u with iommufd %d", asker.name, rid, fds[0]);
	r = broker_device_add(play->world.broker, &asker.actor, asker.id, fds, 2, NULL,
		++play->cookies, &play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r == 0)
		under_way(play, asker.set->name, 0, rid);
}

static void do_share(struct play *play)
{
	bool admin = play_arg(play, 1, 8);
	int r;

	play_say(play, "%s shares function %u", admin ? "an admin" : "vm0", WORLD_SHARED);
	r = broker_device_share(play->world.broker,
		admin ? &play->world.admin : &play->world.vms[0], (struct rid){WORLD_SHARED},
		++play->cookies, &play->world.error);
	play_expect_or_load(play, r, admin ? REASON_NONE : REASON_ROLE);
	if (r == 0)
		under_way(play, 0, 0, WORLD_SHARED);
}

static struct truth_device *shared_ready(struct play *play)
{
	for (uint32_t i = 0; i < play->now.device_count; i++) {
		struct truth_device *device = &play->now.devices[i];

		if (device->kind == DEVICE_SHARED && device->state == DEVICE_READY)
			return device;
	}
	return NULL;
}

static enum reason slice_wanted(
	struct play *play, const struct asker *asker, const struct truth_device *shared)
{
	enum reason wanted = play_gate(asker);

	if (wanted)
		return wanted;
	if (play->now.unconfirmed)
		return REASON_UNCONFIRMED;
	if (!shared)
		return REASON_NO_DEVICE;
	for (uint32_t i = 0; i < play->now.device_count; i++) {
		const struct truth_device *device = &play->now.devices[i];

		if (device->kind == DEVICE_SLICE && device->set == asker->set->name &&
			device->lane == shared->lane)
			return REASON_DEVICE_TAKEN;
	}
	return REASON_NONE;
}

static void do_slice(struct play *play)
{
	struct truth_device *shared = shared_ready(play), *slice;
	uint64_t lane = shared ? shared->lane : 0;
	struct device_id id = {0};
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker(play, &asker);
	wanted = slice_wanted(play, &asker, shared);
	play_say(play, "%s registers a slice", asker.name);
	r = broker_device_slice(play->world.broker, &asker.actor, asker.id, (struct device_id){0},
		(struct rid){WORLD_SHARED}, &id, &play->world.error);
	play_expect_or_limit(play, r, wanted);
	if (r)
		return;
	slice = truth_device_new(&play->now);
	*slice = (struct truth_device){.name = id.v,
		.set = asker.set->name,
		.lane = lane,
		.rid = WORLD_SHARED,
		.kind = DEVICE_SLICE,
		.state = DEVICE_READY,
		.told = true};
	play_say(play, ", %llx", (unsigned long long)id.v);
}

/* What a VM is refused with when the device is not its set's; an admin may name any. */
static enum reason device_wanted(
	const struct asker *asker, const struct truth_device *device, bool admin)
{
	if (!device)
		return REASON_NO_DEVICE;
	if (admin)
		return REASON_NONE;
	return device->set == asker->set->name ? REASON_NONE : REASON_NO_DEVICE;
}

/* What is attached there may be gone at any time from now. */
static void takes_along(struct play *play, uint64_t device)
{
	for (uint32_t i = 0; i < play->now.bound_count; i++)
		play->now.bound[i].leaving |= play->now.bound[i].device == device;
}

static void do_remove(struct play *play)
{
	const bool going = play->step->kind == STEP_GOING;
	struct truth_device *device;
	struct asker asker;
	enum reason wanted;
	uint64_t name;
	bool admin;
	int r;

	play_asker_with(play, false, true, &asker);
	name = play_pick_device(play, &asker, play->step->arg[1]);
	device = truth_device(&play->now, name);
	admin = asker.actor.role == ROLE_ADMIN;
	if (admin)
		asker.id.v = 0;
	wanted = admin ? REASON_NONE : play_gate(&asker);
	if (wanted == REASON_NONE)
		wanted = device_wanted(&asker, device, admin);
	if (wanted == REASON_NONE && going && device && device->kind != DEVICE_EXCLUSIVE)
		wanted = REASON_DEVICE_SHARED;
	play_say(play, "%s removes device %llx%s", asker.name, (unsigned long long)name,
		going ? " with what is attached" : "");
	r = (going ? broker_device_going : broker_device_remove)(play->world.broker, &asker.actor,
		asker.id, (struct device_id){name}, ++play->cookies, &play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r)
		return;
	under_way(play, device->set, name, device->rid);
	device->going = true;
	if (going)
		takes_along(play, name);
}

/* Of what is queued nothing is left; an entry that stands may be used again. */
static void drained(struct play *play)
{
	uint32_t group = world_group(&play->world, WORLD_SHARED), shared = 0;

	for (uint32_t i = 0; i < play->now.device_count; i++)
		shared += play->now.devices[i].kind == DEVICE_SHARED;
	for (uint32_t host = 1; host <= WORLD_CLAIMED; host++)
		play->world.queued_claims[host] &=
			world_entry(&play->world, group, true, host) != NULL;
	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		if (!play->world.queued[i] ||
			world_entry(&play->world, group, true, WORLD_FIRST + i))
			continue;
		play->world.queued[i] = false;
		/* the broker has not heard yet that it is detached; or an earlier record of the
		 * function, whose worker died, has it */
		if (shared > 1 || truth_ops_of(&play->now, WORLD_FIRST + i) ||
			truth_bound_of(&play->now, WORLD_FIRST + i))
			truth_doubt(&play->now, WORLD_FIRST + i);
	}
}

static void do_drained(struct play *play)
{
	bool admin = play_arg(play, 2, 8);
	struct asker nobody = {.set = NULL};
	struct truth_device *device = NULL;
	uint32_t released = 0;
	enum reason wanted;
	uint64_t name;
	int r;

	for (uint32_t i = 0; i < play->now.device_count; i++) {
		if (play->now.devices[i].kind == DEVICE_SHARED)
			device = &play->now.devices[i];
	}
	name = device && play_arg(play, 3, 8)
		       ? device->name
		       : play_pick_device(play, &nobody, play->step->arg[1] & 0xfff8);
	device = truth_device(&play->now, name);
	wanted = !admin                                    ? REASON_ROLE
		 : device && device->kind == DEVICE_SHARED ? REASON_NONE
							   : REASON_NO_DEVICE;
	play_say(play, "%s says that device %llx is drained", admin ? "an admin" : "vm0",
		(unsigned long long)name);
	r = broker_device_drained(play->world.broker,
		admin ? &play->world.admin : &play->world.vms[0], (struct device_id){name},
		&released, &play->world.error);
	play_expect(play, r, wanted);
	if (r == 0)
		drained(play);
}

static void do_memory(struct play *play)
{
	bool map = play->step->kind == STEP_MAP;
	struct memory memory = {.space = play_arg(play, 2, 3), .length = 4096};
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, false, true, &asker);
	memory.set = asker.id;
	memory.device.v = play_pick_device(play, &asker, play->step->arg[1]);
	wanted = play_gate(&asker);
	if (wanted == REASON_NONE)
		wanted = device_wanted(&asker, truth_device(&play->now, memory.device.v), false);
	play_say(play, "%s %ss a page in space %u of device %llx", asker.name,
		map ? "map" : "unmap", memory.space, (unsigned long long)memory.device.v);
	if (map)
		r = broker_memory_map(play->world.broker, &asker.actor, &memory, 90,
			++play->cookies, &play->world.error);
	else
		r = broker_memory_unmap(play->world.broker, &asker.actor, &memory, ++play->cookies,
			&play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r == 0)
		under_way(play, asker.set->name, memory.device.v, 0);
}

void play_device_step(struct play *play)
{
	switch ((int)play->step->kind) {
	case STEP_ADD:
		do_add(play);
		break;
	case STEP_SHARE:
		do_share(play);
		break;
	case STEP_SLICE:
		do_slice(play);
		break;
	case STEP_REMOVE:
	case STEP_GOING:
		do_remove(play);
		break;
	case STEP_DRAINED:
		do_drained(play);
		break;
	default:
		do_memory(play);
		break;
	}
}
