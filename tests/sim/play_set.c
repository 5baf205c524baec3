/* SPDX-License-Identifier: MIT */
/*
 * Sets: made, given another quota, emptied, ended.
 */
#include "play.h"

/* ------------------------------------------------------------------ create */

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/*
 * What is reserved and in nobody's quota is promised to nobody but the first VM. Of a set that is
 * gone the numbers that rest may count as reserved ones or not, so there is a least and a most.
 */
static uint32_t set_aside(struct play *play, bool most)
{
	uint32_t reserved = play->world.reservation.pasids;

	return reserved - least(reserved, truth_promised_first(&play->now, !most));
}

/* What may still be promised to a set of the VM and user. */
static uint32_t promise_room(struct play *play, unsigned vm, uint32_t uid, bool most)
{
	uint32_t user = play->history->tight ? 9 : UINT32_MAX;
	uint32_t of_user = truth_promised(&play->now, uid), of_host = truth_promised(&play->now, 0);

	of_host += vm == 0 ? 0 : set_aside(play, !most);
	user = user > of_user ? user - of_user : 0;
	return least(user, of_host < WORLD_CAPACITY ? WORLD_CAPACITY - of_host : 0);
}

/* `r`: what was answered, where that is open. */
static enum reason promise_refusal(struct play *play, unsigned vm, uint32_t uid, uint32_t n, int r)
{
	if (n <= promise_room(play, vm, uid, false))
		return REASON_NONE;
	if (play->history->tight && truth_promised(&play->now, uid) + n > 9)
		return REASON_USER_QUOTA;
	return n <= promise_room(play, vm, uid, true) && r == 0 ? REASON_NONE : REASON_HOST_QUOTA;
}

static bool name_is_taken(struct play *play, unsigned vm)
{
	for (uint32_t i = 0; i < play->now.set_count; i++) {
		if (play->now.sets[i].vm == vm && play->now.sets[i].life != TRUTH_GONE)
			return true;
	}
	return false;
}

static void created(struct play *play, const struct truth_set *made)
{
	/* others would not have had it */
	play->coverage->reserved +=
		made->vm == 0 && made->quota > promise_room(play, 1, made->uid, true);
	*truth_set_new(&play->now) = *made;
	play->digest += made->name;
}

/* A quarter of them in identity mode, a tenth their guests' own. */
static enum set_mode mode_of(uint32_t choice)
{
	if (choice % 4 == 0)
		return SET_IDENTITY;
	return choice % 11 == HISTORY_GUEST_OWNED ? SET_GUEST_OWNED : SET_TRANSLATED;
}

static const char *mode_name(enum set_mode mode)
{
	static const char *const names[] = {[SET_TRANSLATED] = "translated",
		[SET_IDENTITY] = "identity",
		[SET_GUEST_OWNED] = "its guest's own"};

	return names[mode];
}

/* Where that is open it is what the set has. */
static uint32_t what_remains(struct play *play, unsigned vm, uint32_t uid, uint64_t name)
{
	uint32_t from = least(promise_room(play, vm, uid, false), WORLD_CAPACITY);
	uint32_t to = least(promise_room(play, vm, uid, true), WORLD_CAPACITY);
	struct set_info info;

	if (from == to || name == 0)
		return from;
	if (broker_set_get(play->world.broker, &play->world.admin, (struct set_id){name}, &info,
		    &play->world.error) ||
		info.pasids.limit < from || info.pasids.limit > to)
		world_fail("V: a set has not what remains, from %u to %u", from, to);
	return info.pasids.limit;
}

static void do_create(struct play *play)
{
	unsigned vm = play->step->vm % play->history->vms;
	struct truth_set *own = truth_set_of_vm(&play->now, vm);
	struct actor actor = play->world.vms[vm];
	struct truth_set made = {.life = TRUTH_LIVES, .vm = (uint8_t)vm};
	uint32_t quota = play_arg(play, 2, 12) ? 1 + play_arg(play, 3, 8) : 0;
	struct set_create create = {.mode = mode_of(play_arg(play, 1, 32)),
		.has_quota = play_arg(play, 4, 8),
		.quota = quota};
	char name[16];
	struct set_id id = {0};
	enum reason wanted;
	bool taken;
	int r;

	(void)snprintf(name, sizeof(name), "vm%u", vm);
	create.name = name;
	actor.set.v = own ? own->name : 0;
	actor.session = own ? own->session : ++play->sessions;
	made.uid = actor.peer->uid;
	made.quota = create.has_quota ? quota : 4;
	if (!create.has_quota && vm == 0 && play->world.reservation.pasids)
		made.quota = play->world.reservation.pasids;
	play_say(play, "vm%u creates its set, %s, with a quota of %u", vm, mode_name(create.mode),
		made.quota);
	taken = name_is_taken(play, vm);
	r = broker_set_create(play->world.broker, &actor, &create, &id, &play->world.error);
	if (made.quota == 0)
		made.quota = what_remains(play, vm, made.uid, r == 0 ? id.v : 0);
	wanted = taken ? REASON_SET_EXISTS
		       : promise_refusal(play, vm, made.uid, made.quota ? made.quota : 1, r);
	/* a user may have only so many sets, and those that are gone count while they are charged
	 */
	if (wanted && r && play->world.error.reason == REASON_LIMIT && play->history->tight)
		wanted = REASON_LIMIT;
	play_expect_or_limit(play, r, wanted);
	if (r)
		return;
	made.name = id.v;
	made.session = actor.session;
	made.mode = (uint8_t)create.mode;
	created(play, &made);
}

/* ------------------------------------------------------------------ adjust */

static enum reason adjust_wanted(
	struct play *play, const struct asker *asker, uint32_t quota, int r)
{
	enum reason gate = play_gate(asker);
	uint32_t use;

	if (gate)
		return gate;
	if (asker->actor.role != ROLE_ADMIN && quota > asker->set->quota)
		return REASON_ROLE;
	use = truth_count(&play->now, asker->set->name, GRANT_FREE);
	if (quota < use || quota == 0)
		return REASON_BELOW_USE;
	if (quota > asker->set->quota)
		return promise_refusal(
			play, asker->set->vm, asker->set->uid, quota - asker->set->quota, r);
	return REASON_NONE;
}

static void do_adjust(struct play *play)
{
	uint32_t quota = play_arg(play, 1, 10);
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker(play, &asker);
	play_say(play, "%s asks for a quota of %u", asker.name, quota);
	r = broker_set_adjust(
		play->world.broker, &asker.actor, asker.id, quota, &play->world.error);
	wanted = adjust_wanted(play, &asker, quota, r);
	play_expect(play, r, wanted);
	if (r == 0)
		asker.set->quota = quota;
}

/* ------------------------------------------------------------------ the end of a set */

/* Without force only a set in which nothing is, and nothing is under way. */
static enum reason destroy_wanted(struct play *play, const struct asker *asker, bool force, int r)
{
	enum reason gate = play_gate(asker);
	uint64_t name;
	bool open;

	if (gate == REASON_SET_EMPTYING && force)
		return REASON_NONE;
	if (gate || force)
		return gate;
	name = asker->set->name;
	if (truth_count(&play->now, name, GRANT_ACTIVE) ||
		truth_count(&play->now, name, GRANT_FREE_PENDING))
		return REASON_SET_NOT_EMPTY;
	open = asker->set->doubt; /* a recovery may be at work */
	for (uint32_t i = 0; i < play->now.op_count; i++)
		open |= play->now.ops[i].set == name; /* or ended, and it was not told yet */
	if (open)
		return r ? REASON_SET_NOT_EMPTY : REASON_NONE;
	return truth_devices_of(&play->now, name) ? REASON_SET_NOT_EMPTY : REASON_NONE;
}

static void do_destroy(struct play *play)
{
	bool force = play_arg(play, 1, 3);
	struct asker asker;
	int r;

	play_asker(play, &asker);
	play_say(play, "%s destroys the set%s", asker.name, force ? " with force" : "");
	r = broker_set_destroy(play->world.broker, &asker.actor, asker.id, force, ++play->cookies,
		&play->world.error);
	play_expect(play, r, destroy_wanted(play, &asker, force, r));
	if (r)
		return;
	truth_op_new(&play->now, play->cookies, STEP_DESTROY)->set = asker.set->name;
	truth_end(&play->now, asker.set, TRUTH_ENDS);
}

static void do_session_end(struct play *play)
{
	unsigned vm = play->step->vm % play->history->vms;
	struct truth_set *set = truth_set_of_vm(&play->now, vm);

	if (play_arg(play, 1, 4) == 0) {
		play_end_holder(play, play_arg(play, 2, TRUTH_HOLDERS));
		return;
	}
	if (play_arg(play, 1, 4) == 1) {
		play_end_party(play);
		return;
	}
	play_say(play, "the session of vm%u ends", vm);
	broker_session_end(play->world.broker, set ? set->session : 7);
	play_expect(play, 0, REASON_NONE);
	if (set)
		truth_end(&play->now, set, TRUTH_ENDS);
}

static void do_empty(struct play *play)
{
	unsigned vm = play->step->vm % play->history->vms;
	struct truth_set *set = truth_set_of_vm(&play->now, vm);

	play_say(play, "the VM of vm%u's set is gone", vm);
	broker_set_empty(play->world.broker, (struct set_id){set ? set->name : 7});
	play_expect(play, 0, REASON_NONE);
	if (set && set->life == TRUTH_LIVES)
		truth_end(&play->now, set, TRUTH_EMPTYING);
}

static void do_confirm(struct play *play)
{
	bool admin = play_arg(play, 1, 8), was = !play->now.unconfirmed;
	const struct actor *actor = admin ? &play->world.admin : &play->world.vms[0];
	int r;

	play_say(play, "%s confirms that no VMM holds a device", admin ? "an admin" : "vm0");
	r = broker_confirm(play->world.broker, actor, &was, &play->world.error);
	play_expect(play, r, admin ? REASON_NONE : REASON_ROLE);
	if (r)
		return;
	if (was != play->now.unconfirmed)
		world_fail("it said that grants were%s blocked before", was ? "" : " not");
	play->now.unconfirmed = false;
}

static void do_export(struct play *play)
{
	struct asker asker;
	struct set_id set = {0};
	enum reason wanted;
	int r;

	play_asker(play, &asker);
	wanted = play_gate(&asker);
	if (wanted == REASON_NONE && asker.set->mode == SET_GUEST_OWNED)
		wanted = REASON_SET_MODE;
	play_say(play, "%s has the map exported", asker.name);
	r = broker_set_export(play->world.broker, &asker.actor, asker.id, &set, &play->world.error);
	play_expect_or_limit(play, r, wanted);
	if (r == 0 && set.v != asker.set->name)
		world_fail("the map of another set was exported");
}

void play_set_step(struct play *play)
{
	switch ((int)play->step->kind) {
	case STEP_CREATE:
		do_create(play);
		break;
	case STEP_ADJUST:
		do_adjust(play);
		break;
	case STEP_EXPORT:
		do_export(play);
		break;
	case STEP_DESTROY:
		do_destroy(play);
		break;
	case STEP_SESSION_END:
		do_session_end(play);
		break;
	case STEP_EMPTY:
		do_empty(play);
		break;
	default:
		do_confirm(play);
		break;
	}
}
