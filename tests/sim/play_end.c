/* SPDX-License-Identifier: MIT */
/*
 * The end of each history: hardware works, everybody leaves, shared devices are drained and
 * functions whose user is gone are bound anew. Then nothing of anything may be left.
 */
#include "play.h"

#define ROUNDS_MAX 400u

static void end_turn(struct play *play)
{
	play_outcomes(play);
	world_settle(&play->world);
	broker_flush(play->world.broker);
	play_outcomes(play);
	world_settle(&play->world);
}

/* Until nothing is left to do; what was refused is asked for again after a while. */
static void end_work(struct play *play)
{
	unsigned rounds = 0;

	play->world.hw.hung_lane = 0;
	play->world.hw.submit_status = 0;
	do {
		play->world.now_ms += 200;
		broker_tick(play->world.broker);
		end_turn(play);
		while (world_perform(&play->world, 0, false) || world_deliver(&play->world, 0)) {
			while (world_deliver(&play->world, 0))
				;
			end_turn(play);
			if (rounds++ == ROUNDS_MAX)
				world_fail("at the end hardware is asked for ever more");
		}
	} while (play->world.hw.count || play->world.done_count ||
		 broker_next_tick(play->world.broker) <= play->world.now_ms);
}

static void end_sets(struct play *play)
{
	for (uint32_t i = 0; i < play->now.set_count; i++) {
		struct truth_set *set = &play->now.sets[i];

		if (set->life != TRUTH_LIVES && set->life != TRUTH_EMPTYING)
			continue;
		broker_session_end(play->world.broker, set->session);
		truth_end(&play->now, set, TRUTH_ENDS);
	}
	end_work(play);
}

static void end_shared(struct play *play, uint64_t name)
{
	struct truth_op *op;
	uint32_t released;

	if (broker_device_drained(play->world.broker, &play->world.admin, (struct device_id){name},
		    &released, &play->world.error))
		world_fail("the shared device is not drained: %.200s", play->world.error.text);
	if (broker_device_remove(play->world.broker, &play->world.admin, (struct set_id){0},
		    (struct device_id){name}, ++play->cookies, &play->world.error))
		world_fail("the shared device is not removed: %.200s", play->world.error.text);
	op = truth_op_new(&play->now, play->cookies, STEP_REMOVE);
	op->devices[0] = name;
	end_work(play);
}

/* What failed to detach is known to be detached when the device is closed, and waits for its drain.
 */
static void end_all_shared(struct play *play)
{
	struct device_info info;
	uint64_t cursor = 0;

	while (broker_device_next(
		play->world.broker, &play->world.admin, (struct set_id){0}, &cursor, &info)) {
		for (unsigned n = 0; info.kind == DEVICE_SHARED && n < 2; n++) {
			if (broker_device_get(play->world.broker, &play->world.admin, info.id,
				    &info, &play->world.error) == 0)
				end_shared(play, info.id.v);
		}
	}
}

/* A function whose worker died is registered anew, as the kernel allows when its VMM is gone. */
static void end_function(struct play *play, uint32_t rid)
{
	struct set_create create = {.name = "last",
		.mode = SET_TRANSLATED,
		.has_quota = true,
		.quota = 1,
		.has_owner = true,
		.owner_uid = 4242};
	struct actor admin = play->world.admin;
	int fds[2] = {99, MODEL_DEVICE_FD(rid)};
	struct set_id set;
	struct truth_op *op;

	if (broker_set_create(play->world.broker, &admin, &create, &set, &play->world.error))
		world_fail("no set at the end: %.200s", play->world.error.text);
	if (broker_device_add(play->world.broker, &admin, set, fds, 2, NULL, ++play->cookies,
		    &play->world.error))
		world_fail("no device at the end: %.200s", play->world.error.text);
	op = truth_op_new(&play->now, play->cookies, STEP_ADD);
	op->set = set.v;
	op->rid = rid;
	end_work(play);
	if (broker_set_destroy(
		    play->world.broker, &admin, set, true, ++play->cookies, &play->world.error))
		world_fail("no end of the set: %.200s", play->world.error.text);
	(void)truth_op_new(&play->now, play->cookies, STEP_DESTROY);
	end_work(play);
}

static void end_functions(struct play *play)
{
	struct device_info info;
	uint64_t cursor = 0;

	for (unsigned n = 0; n < 2 * WORLD_RIDS; n++) {
		if (!broker_device_next(play->world.broker, &play->world.admin, (struct set_id){0},
			    &cursor, &info))
			return;
		end_function(play, info.rid.v);
		cursor = 0;
	}
}

static void end_check(struct play *play)
{
	struct broker_status status;
	struct error error = {0};

	broker_status(play->world.broker, &status);
	if (status.pasids.current || status.sets || status.devices || status.bindings ||
		status.operations)
		world_fail(
			"all have left, and %u numbers, %u sets, %u devices, %u bindings and %u "
			"operations are left",
			status.pasids.current, status.sets, status.devices, status.bindings,
			status.operations);
	if (broker_recount(play->world.broker, &error))
		world_fail("%s", error.text);
	if (state_file_pages_taken(play->world.memory))
		world_fail("all have left, and pages of guest maps are left");
	if (play->now.op_count)
		world_fail("an operation has no outcome");
}

void play_end(struct play *play)
{
	bool was;

	play_say(play, " end  all leave");
	play_end_parties(play);
	end_work(play);
	if (play->now.op_count)
		world_fail("hardware has done everything, and an operation has no outcome");
	(void)broker_confirm(play->world.broker, &play->world.admin, &was, &play->world.error);
	end_sets(play);
	for (unsigned i = 0; i < TRUTH_HOLDERS; i++)
		play_end_holder(play, i);
	end_work(play);
	end_all_shared(play);
	play->world.now_ms += 2ul * WORLD_COOLING;
	end_work(play);
	end_functions(play);
	play->world.now_ms += 2ul * WORLD_COOLING;
	end_work(play);
	end_check(play);
}
