/* SPDX-License-Identifier: MIT */
#include "play.h"

#include <stdarg.h>
#include <string.h>

#define RECOUNT_EVERY 16u

/* ------------------------------------------------------------------ what people read */

void play_say(struct play *play, const char *format, ...)
{
	va_list arguments;

	if (!play->trace)
		return;
	va_start(arguments, format);
	(void)vfprintf(play->trace, format, arguments);
	va_end(arguments);
}

/* ------------------------------------------------------------------ answers */

static void play_note(struct play *play, enum reason reason)
{
	play->digest = (play->digest ^ reason) * 0x100000001b3u + play->index;
	play->coverage->reasons[reason]++;
	if (reason)
		play->coverage->refused[play->step->kind]++;
	else
		play->coverage->done[play->step->kind]++;
	play_say(play, ": %s", reason ? reason_text(reason) : "done");
}

void play_expect(struct play *play, int r, enum reason wanted)
{
	enum reason reason = r ? (enum reason)play->world.error.reason : REASON_NONE;

	play_note(play, reason);
	if (r < 0 || reason != wanted || (r && r != (int)reason_status(reason)))
		world_fail("step %s: answered %s where %s must be: %.200s",
			step_text((enum step_kind)play->step->kind),
			reason ? reason_text(reason) : "success",
			wanted ? reason_text(wanted) : "success", r ? play->world.error.text : "");
}

void play_expect_or_limit(struct play *play, int r, enum reason wanted)
{
	if (r && wanted == REASON_NONE && play->history->tight &&
		play->world.error.reason == REASON_LIMIT)
		wanted = REASON_LIMIT;
	play_expect(play, r, wanted);
}

void play_expect_or_load(struct play *play, int r, enum reason wanted)
{
	unsigned least = play->history->tight ? 4 : 16;

	if (r && play->world.error.reason == REASON_OVERLOAD &&
		play->now.op_count + play->now.removals >= least &&
		(wanted == REASON_NONE || wanted == REASON_NO_DEVICE))
		wanted = REASON_OVERLOAD;
	play_expect_or_limit(play, r, wanted);
}

/* ------------------------------------------------------------------ choices */

bool play_set_lives(struct play *play, uint64_t name)
{
	const struct truth_set *set = truth_set(&play->now, name);

	return set && set->life == TRUTH_LIVES;
}

static struct truth_set *any_set(struct play *play, uint32_t choice)
{
	struct truth_set *alive[TRUTH_SETS];
	uint32_t count = 0;

	for (uint32_t i = 0; i < play->now.set_count; i++) {
		if (play->now.sets[i].life != TRUTH_GONE)
			alive[count++] = &play->now.sets[i];
	}
	return count ? alive[choice % count] : NULL;
}

/* What somebody without it would only be refused; mostly it is asked for by one who has it. */
static unsigned pick_vm(struct play *play, bool numbers, bool devices)
{
	unsigned first = play->step->vm % play->history->vms;

	for (unsigned i = 0; i < play->history->vms && play->step->arg[0] / 64 % 8; i++) {
		unsigned vm = (first + i) % play->history->vms;
		const struct truth_set *set = truth_set_of_vm(&play->now, vm);

		if (set && set->life == TRUTH_LIVES &&
			(!numbers || truth_count(&play->now, set->name, GRANT_ACTIVE)) &&
			(!devices || truth_devices_of(&play->now, set->name)))
			return vm;
	}
	return first;
}

void play_asker(struct play *play, struct asker *ret_asker)
{
	play_asker_with(play, false, false, ret_asker);
}

void play_asker_with(struct play *play, bool numbers, bool devices, struct asker *ret_asker)
{
	unsigned vm = pick_vm(play, numbers, devices);
	struct truth_set *own = truth_set_of_vm(&play->now, vm), *other;
	uint32_t who = play_arg(play, 0, 32);

	*ret_asker = (struct asker){.actor = play->world.vms[vm], .set = own};
	ret_asker->actor.session = own ? own->session : 50 + vm;
	ret_asker->actor.set.v = own ? own->name : 0;
	(void)snprintf(ret_asker->name, sizeof(ret_asker->name), "vm%u", vm);
	if (who >= 4)
		return;
	other = any_set(play, play->step->arg[0] / 32);
	if (!other)
		return;
	ret_asker->id.v = other->name;
	if (who < 2)
		(void)snprintf(
			ret_asker->name, sizeof(ret_asker->name), "an admin for vm%u", other->vm);
	else
		(void)snprintf(
			ret_asker->name, sizeof(ret_asker->name), "vm%u as vm%u", vm, other->vm);
	if (who < 2)
		ret_asker->actor = play->world.admin;
	ret_asker->set = who < 2 || other == own ? other : NULL;
}

enum reason play_gate(const struct asker *asker)
{
	if (!asker->set)
		return REASON_NO_SET;
	if (asker->set->life == TRUTH_EMPTYING)
		return REASON_SET_EMPTYING;
	return asker->set->life == TRUTH_LIVES ? REASON_NONE : REASON_SET_DYING;
}

uint32_t play_pick_number(struct play *play, const struct asker *asker, uint16_t choice)
{
	uint32_t found[WORLD_NUMBERS], count = 0;
	bool any = choice % 8 == 0, active = choice % 8 < 6;

	if (choice % 128 == 8)
		return 0;
	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		const struct truth_number *number = &play->now.numbers[i];

		if (any || (asker->set && number->state != GRANT_IDLE &&
				   number->set == asker->set->name &&
				   (!active || number->state == GRANT_ACTIVE)))
			found[count++] = WORLD_FIRST + i;
	}
	return count ? found[choice / 8 % count] : WORLD_FIRST + choice / 8 % WORLD_NUMBERS;
}

uint32_t play_pick_such(struct play *play, const struct asker *asker, uint16_t choice,
	bool (*is_such)(const struct truth *truth, uint32_t host))
{
	uint32_t found[WORLD_NUMBERS], count = 0;

	for (unsigned i = 0; i < WORLD_NUMBERS && choice % 8; i++) {
		const struct truth_number *number = &play->now.numbers[i];

		if (asker->set && number->state != GRANT_IDLE && number->set == asker->set->name &&
			is_such(&play->now, WORLD_FIRST + i))
			found[count++] = WORLD_FIRST + i;
	}
	return count ? found[choice / 8 % count] : play_pick_number(play, asker, choice);
}

uint64_t play_pick_device(struct play *play, const struct asker *asker, uint16_t choice)
{
	uint64_t found[TRUTH_DEVICES];
	uint32_t count = 0;
	bool any = choice % 8 == 0;

	for (uint32_t i = 0; i < play->now.device_count; i++) {
		const struct truth_device *device = &play->now.devices[i];

		if (any || (asker->set && device->set == asker->set->name))
			found[count++] = device->name;
	}
	return count ? found[choice / 8 % count] : choice % 32;
}

enum reason play_resolve(struct play *play, const struct asker *asker, uint32_t host)
{
	const struct truth_number *number;

	if (asker->set->mode == SET_GUEST_OWNED)
		return REASON_SET_MODE;
	if (host == 0)
		return REASON_PASID_ZERO;
	number = truth_number(&play->now, host);
	if (number->state == GRANT_IDLE || number->set != asker->set->name)
		return REASON_NO_PASID;
	return REASON_NONE;
}

/* ------------------------------------------------------------------ the world's own steps */

static uint64_t pick_lane(const struct world *world, uint32_t choice)
{
	uint64_t lanes[MODEL_DEVICES + MODEL_OPS];
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (world->hw.devices[i].used)
			lanes[count++] = world->hw.devices[i].lane;
	}
	for (unsigned i = 0; i < world->hw.count; i++)
		lanes[count++] = world->hw.ops[i].lane;
	return count ? lanes[choice % count] : 0;
}

static void do_hardware(struct play *play, bool fail)
{
	struct world *world = &play->world;
	bool any = false;

	for (uint32_t n = 1 + play_arg(play, 0, 4); n > 0; n--) {
		any |= world_perform(
			world, play->step->arg[n], fail && play->step->arg[n] / 64 % 4);
		if (play->step->arg[n + 1] % 16)
			any |= world_deliver(world, play->step->arg[n + 1]);
	}
	play_note(play, any ? REASON_NONE : REASON_BUSY);
}

static void do_lose(struct play *play)
{
	uint64_t lane = pick_lane(&play->world, play->step->arg[0]);

	if (lane) {
		/* also if the daemon dies over it */
		truth_lose(&play->kept, lane);
		truth_lose(&play->now, lane);
		world_lose(&play->world, lane);
	}
	play_note(play, lane ? REASON_NONE : REASON_BUSY);
}

static void do_time(struct play *play)
{
	play->world.now_ms += play_arg(play, 0, 2) ? play_arg(play, 1, 700) : 1200;
	broker_tick(play->world.broker);
	play->ticked = true;
	play->now.parties_left = 0;
	play_say(play, "it is %u ms later", (unsigned)(play->world.now_ms - 1000000));
	play_note(play, REASON_NONE);
}

static void do_hang(struct play *play)
{
	struct model *hw = &play->world.hw;

	hw->hung_lane = hw->count ? hw->ops[play_arg(play, 0, hw->count)].lane : 0;
	play_note(play, hw->hung_lane ? REASON_NONE : REASON_BUSY);
}

/* What is reserved changes while the daemon serves. Others may have it by now, and owe it then. */
static void do_configure(struct play *play)
{
	const uint32_t numbers = play_arg(play, 0, 3) ? play_arg(play, 1, 13) : 0;

	world_configure(&play->world, numbers);
	play->world.owing = true;
	play_say(play, ", %u are reserved", numbers);
	play_note(play, REASON_NONE);
}

static void do_world(struct play *play)
{
	struct model *hw = &play->world.hw;

	switch ((int)play->step->kind) {
	case STEP_TIME:
		do_time(play);
		return;
	case STEP_HARDWARE:
		do_hardware(play, false);
		return;
	case STEP_REFUSE:
		do_hardware(play, true);
		return;
	case STEP_HANG:
		do_hang(play);
		return;
	case STEP_CONFIGURE:
		do_configure(play);
		return;
	case STEP_LOSE:
		do_lose(play);
		return;
	case STEP_PORT:
		hw->submit_status = -11;
		break;
	case STEP_GO_ON:
		hw->submit_status = 0;
		hw->hung_lane = 0;
		break;
	default:
		break;
	}
	play_note(play, REASON_NONE);
}

/* ------------------------------------------------------------------ steps */

static void play_ask(struct play *play)
{
	enum step_kind kind = (enum step_kind)play->step->kind;

	if (kind > STEP_TIME && kind != STEP_RESTART)
		play_say(play, "%s", step_text(kind));
	if (kind <= STEP_EXPORT || (kind >= STEP_DESTROY && kind <= STEP_EMPTY) ||
		kind == STEP_CONFIRM)
		play_set_step(play);
	else if (kind <= STEP_ACKNOWLEDGE || kind == STEP_QUARANTINE_END)
		play_number_step(play);
	else if (kind <= STEP_DRAINED || kind == STEP_MAP || kind == STEP_UNMAP)
		play_device_step(play);
	else if (kind <= STEP_RID_DETACH)
		play_bind_step(play);
	else
		do_world(play);
}

static void play_settle(struct play *play)
{
	world_settle(&play->world);
	truth_copy(&play->kept, &play->now);
}

/* The end of a turn of the loop, as the dispatcher does it. */
static void play_turn(struct play *play)
{
	play_outcomes(play);
	play_settle(play);
	broker_flush(play->world.broker);
	play_outcomes(play);
	play_settle(play);
}

static void play_do(struct play *play)
{
	const struct step *step = play->step;

	play_ask(play);
	/* a change and its reply are one, and so are a result and its reply */
	if (step->kind < STEP_TIME)
		play_settle(play);
	if (!step->more || step->kind >= STEP_TIME || play->index + 1 == play->history->count)
		play_turn(play);
}

/* What this life of the daemon counted. */
static void play_count_life(struct play *play)
{
	struct broker_status status;
	struct coverage *coverage = play->coverage;
	const struct limits *limits = play->world.limits;
	uint32_t cursor = 0, user;

	broker_status(play->world.broker, &status);
	for (unsigned i = 0; i < METRIC_COUNT; i++)
		coverage->metrics[i] += status.metrics.value[i];
	for (unsigned i = 0; i < RESOURCE_COUNT; i++)
		coverage->hits[i] += limits_account(limits, LIMITS_NO_USER, (enum resource)i)->hits;
	while (limits_next_user(limits, &cursor, &user)) {
		for (unsigned i = 0; i < RESOURCE_COUNT; i++)
			coverage->hits[i] += limits_account(limits, user, (enum resource)i)->hits;
	}
}

/* The daemon dies and another one takes up its records, which may die in that, too. */
static void play_restart(struct play *play)
{
	struct world *world = &play->world;

	play_count_life(play);
	play->coverage->deaths++;
	world->standing = play->step->standing;
	truth_copy(&play->now, &play->kept);
	for (uint32_t i = 0; i < play->now.device_count; i++) {
		if (!world_lane_stands(world, play->now.devices[i].lane))
			truth_lose(&play->now, play->now.devices[i].lane);
	}
	truth_interrupt(&play->now);
	/* an admin's word may be lost, which the world has taken for said */
	for (unsigned i = 0; i < WORLD_NUMBERS; i++)
		play->now.numbers[i].doubt |=
			play->step->kind == STEP_DRAINED || play->step->kind == STEP_QUARANTINE_END;
	world_die(world);
	if (setjmp(world->death.jump) != 0) {
		play->coverage->deaths_in_recovery++;
		play_say(play, ", and again while it recovers");
		world_die(world);
		world_recover(world, 0);
	} else {
		world_recover(world, play->step->crash_again);
	}
	play->ticked = false;
	play_settle(play);
	play_turn(play);
}

static void do_restart(struct play *play)
{
	play->world.missing = play_arg(play, 0, 8) == 0;
	play_say(play, "the daemon is killed%s",
		play->world.missing ? ", and records of this boot are missing" : "");
	if (play->world.missing) {
		play->kept.unconfirmed = true;
		play->coverage->blocked++;
	}
	play_restart(play);
	play_note(play, REASON_NONE);
}

static void play_step(struct play *play)
{
	struct world *world = &play->world;

	play->ticked = false;
	world->death.stores = 0;
	if (play->step->kind == STEP_RESTART) {
		do_restart(play);
		return;
	}
	world->death.countdown = play->step->crash;
	if (setjmp(world->death.jump) != 0) {
		play_say(play, "; the daemon is killed at its store %u", world->death.stores);
		if (world->death.stores > 1)
			play->coverage->deaths_between++;
		play_restart(play);
		return;
	}
	play_do(play);
	world->death.countdown = 0;
}

void play_compare(struct play *play)
{
	struct error error = {0};
	bool recount = play->index % RECOUNT_EVERY == RECOUNT_EVERY - 1 ||
		       play->index + 1 >= play->history->count;

	play_hear(play);
	play_compare_numbers(play);
	play_compare_sets(play);
	if (recount && broker_recount(play->world.broker, &error))
		world_fail("%s", error.text);
	truth_copy(&play->kept, &play->now);
}

void play_init(struct play *play)
{
	memset(play, 0, sizeof(*play));
	world_init(&play->world);
}

void play_history(struct play *play, const struct history *history)
{
	play->history = history;
	play->digest = history->seed;
	play->sessions = play->cookies = 100;
	play->heard = 0;
	world_open(&play->world, history);
	truth_init(&play->now);
	truth_copy(&play->kept, &play->now);
	for (play->index = 0; play->index < history->count; play->index++) {
		play->step = &history->steps[play->index];
		play_say(play, "%4u  ", play->index + 1);
		play_step(play);
		play_say(play, "\n");
		play_compare(play);
	}
	play_end(play);
	play->coverage->undone += play->world.undone;
	play_count_life(play);
	world_close(&play->world);
}
