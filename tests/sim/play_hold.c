/* SPDX-License-Identifier: MIT */
/* Holds: of a VM on numbers of its set, of an admin and a participant on any. */
#include "play.h"

/* Their sessions; each is followed by another one when it ends. */
static struct actor holder_actor(struct play *play, unsigned other)
{
	static const struct policy_peer nobody = {.uid = 4243};
	struct actor admin = play->world.admin;

	return other == 0 ? admin
			  : (struct actor){.role = ROLE_PARTICIPANT, .session = 2, .peer = &nobody};
}

static const char *holder_name(unsigned other)
{
	return other == 0 ? "an admin" : "a participant";
}

/* Who is meant by an asker of the step; TRUTH_HOLDERS: the VM. */
static unsigned holder_of(struct play *play, struct asker *asker)
{
	unsigned other = play_arg(play, 3, 2 * TRUTH_HOLDERS);

	if (asker->actor.role == ROLE_ADMIN)
		return 0;
	if (other != 1 || !asker->set)
		return TRUTH_HOLDERS;
	asker->actor = holder_actor(play, other);
	asker->id.v = asker->set->name;
	return other;
}

static uint32_t *holder_count(struct play *play, unsigned other, uint32_t host)
{
	struct truth_number *number = truth_number(&play->now, host);

	return other == TRUTH_HOLDERS ? &number->holds : &number->others[other];
}

void play_hold(struct play *play)
{
	struct asker asker;
	unsigned other;
	uint32_t host;
	int r;

	play_asker_with(play, true, false, &asker);
	host = play_pick_number(play, &asker, play->step->arg[1]);
	other = holder_of(play, &asker);
	play_say(play, "%s holds %u", other == TRUTH_HOLDERS ? asker.name : holder_name(other),
		host);
	r = broker_hold(play->world.broker, &asker.actor, asker.id, (struct hpasid){host},
		&play->world.error);
	play_expect(play, r, play_active_wanted(play, &asker, host));
	if (r == 0)
		(*holder_count(play, other, host))++;
}

static void let_go(struct play *play, unsigned other, const struct asker *asker, uint32_t host,
	enum reason wanted)
{
	int r = broker_release(play->world.broker, &asker->actor, asker->id, (struct hpasid){host},
		&play->world.error);

	play_expect(play, r, wanted);
	if (r)
		return;
	(*holder_count(play, other, host))--;
	truth_settle(&play->now, host, play->world.now_ms);
}

static bool is_held(const struct truth *truth, uint32_t host)
{
	return truth->numbers[host - WORLD_FIRST].holds;
}

static bool holds_itself(struct play *play, const struct asker *asker, uint32_t host)
{
	const struct truth_number *number = truth_number(&play->now, host);

	return asker->actor.role == ROLE_ADMIN ? number->others[0] : number->holds;
}

static void release_own(struct play *play)
{
	struct asker asker;
	enum reason wanted;
	uint32_t host;

	play_asker_with(play, true, false, &asker);
	host = play_pick_such(play, &asker, play->step->arg[1], is_held);
	wanted = asker.set ? play_resolve(play, &asker, host) : REASON_NO_SET;
	if (wanted == REASON_NONE && !holds_itself(play, &asker, host))
		wanted = REASON_NOT_HELD;
	play_say(play, "%s releases %u", asker.name, host);
	let_go(play, asker.actor.role == ROLE_ADMIN ? 0 : TRUTH_HOLDERS, &asker, host, wanted);
}

/* Of a set that may be gone. */
static void release_of(struct play *play, unsigned other, uint32_t host)
{
	struct asker asker = {.actor = holder_actor(play, other)};

	asker.id.v = truth_number(&play->now, host)->set;
	play_say(play, "%s releases %u", holder_name(other), host);
	let_go(play, other, &asker, host, REASON_NONE);
}

void play_release(struct play *play)
{
	unsigned other = play_arg(play, 3, TRUTH_HOLDERS);
	uint32_t found[WORLD_NUMBERS], count = 0;

	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		if (play->now.numbers[i].others[other])
			found[count++] = WORLD_FIRST + i;
	}
	if (count && play_arg(play, 2, 2))
		release_of(play, other, found[play_arg(play, 1, count)]);
	else
		release_own(play);
}

void play_end_holder(struct play *play, unsigned other)
{
	play_say(play, "the session of %s ends", holder_name(other));
	broker_session_end(play->world.broker, holder_actor(play, other).session);
	play_expect(play, 0, REASON_NONE);
	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		play->now.numbers[i].others[other] = 0;
		truth_settle(&play->now, WORLD_FIRST + i, play->world.now_ms);
	}
}
