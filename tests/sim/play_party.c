/* SPDX-License-Identifier: MIT */
/*
 * Participants: what is freed waits for their acknowledgement, and an unbind for a time. They hear
 * of changes as they happen; of each unbind the truth keeps whom it waited for when it was told.
 */
#include "play.h"

#include "broker_participant.h"

static struct actor party_actor(const struct play *play, unsigned party)
{
	return (struct actor){.role = ROLE_PARTICIPANT,
		.session = play->now.parties[party],
		.peer = &play->world.peers[0]};
}

uint32_t truth_live_parties(const struct truth *truth)
{
	uint32_t live = 0;

	for (unsigned i = 0; i < TRUTH_PARTIES; i++)
		live |= truth->parties[i] ? 1u << i : 0;
	return live;
}

/* One that takes part; TRUTH_PARTIES: nobody does. */
static unsigned party_pick(const struct play *play, unsigned choice)
{
	for (unsigned i = 0; i < TRUTH_PARTIES; i++) {
		const unsigned party = (choice + i) % TRUTH_PARTIES;

		if (play->now.parties[party])
			return party;
	}
	return TRUTH_PARTIES;
}

void play_participate(struct play *play)
{
	const unsigned party = play_arg(play, 1, TRUTH_PARTIES);
	const bool again = play->now.parties[party] != 0;
	struct actor actor = party_actor(play, party);
	int r;

	if (!again)
		actor.session = ++play->sessions;
	if (play_arg(play, 0, 8) == 0)
		actor.role = ROLE_ADMIN;
	play_say(play, "participant %u takes part", party);
	/* those that left have their places until time passes */
	if (play->now.parties_left + TRUTH_PARTIES >= BROKER_PARTICIPANTS) {
		play_expect(play, 0, REASON_NONE);
		return;
	}
	r = broker_participate(play->world.broker, &actor, &play->world.error);
	play_expect(play, r, actor.role == ROLE_ADMIN ? REASON_ROLE : REASON_NONE);
	if (r == 0)
		play->now.parties[party] = actor.session;
}

/* A number that waits for it, if there is one. */
static uint32_t party_number(const struct play *play, unsigned party)
{
	uint32_t found[WORLD_NUMBERS], count = 0;

	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		const struct truth_number *number = &play->now.numbers[i];

		if ((number->awaits | number->unbind_awaits) >> party & 1)
			found[count++] = WORLD_FIRST + i;
	}
	return count && play_arg(play, 3, 8) ? found[play_arg(play, 2, count)]
					     : WORLD_FIRST + play_arg(play, 2, WORLD_NUMBERS);
}

static void acknowledged(struct play *play, unsigned party, uint32_t host, uint32_t count)
{
	struct truth_number *number = truth_number(&play->now, host);
	const bool waited = (number->awaits | number->unbind_awaits) >> party & 1;

	/* an unbind that was told may have gone on, if it failed or its time was over */
	if (count > 1 || (count == 0 && number->awaits >> party & 1) || (count == 1 && !waited))
		world_fail("D: %u numbers waited for participant %u, of which %u %s one", count,
			party, host, waited ? "is" : "is not");
	play->coverage->acknowledged += count;
	number->awaits &= ~(1u << party);
	number->unbind_awaits &= ~(1u << party);
	play->now.parties_late &= ~(1u << party);
}

void play_acknowledge(struct play *play)
{
	const unsigned party = party_pick(play, play_arg(play, 1, TRUTH_PARTIES));
	struct actor actor = party < TRUTH_PARTIES ? party_actor(play, party) : play->world.admin;
	const uint64_t seen =
		play_arg(play, 4, 2) ? 0 : broker_change_sequence(play->world.broker) - 1;
	struct hpasid host = {WORLD_FIRST};
	uint32_t count = 0;
	int r;

	if (party < TRUTH_PARTIES)
		host.v = party_number(play, party);
	play_say(play, "participant %u acknowledges %u", party, host.v);
	r = broker_acknowledge(
		play->world.broker, &actor, &host, 1, seen, &count, &play->world.error);
	play_expect(play, r, party < TRUTH_PARTIES ? REASON_NONE : REASON_ROLE);
	if (r == 0)
		acknowledged(play, party, host.v, count);
}

static void party_end(struct play *play, unsigned party)
{
	broker_session_end(play->world.broker, play->now.parties[party]);
	play->now.parties_left++;
	play->now.parties[party] = 0;
	play->now.parties_late &= ~(1u << party);
	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		play->now.numbers[i].awaits &= ~(1u << party);
		play->now.numbers[i].unbind_awaits &= ~(1u << party);
	}
}

void play_end_party(struct play *play)
{
	const unsigned party = party_pick(play, play_arg(play, 2, TRUTH_PARTIES));

	play_say(play, "the session of participant %u ends", party);
	if (party < TRUTH_PARTIES)
		party_end(play, party);
	play_expect(play, 0, REASON_NONE);
}

void play_end_parties(struct play *play)
{
	for (unsigned i = 0; i < TRUTH_PARTIES; i++) {
		if (play->now.parties[i])
			party_end(play, i);
	}
}

/* ------------------------------------------------------------------ what they hear */

static void unbind_told(struct play *play, struct truth_number *number)
{
	uint32_t awaits = truth_live_parties(&play->now) & ~play->now.parties_late;

	if (number->state >= GRANT_FREE_PENDING)
		awaits &= number->awaits; /* the others let go of it when it was freed */
	number->unbind_awaits = awaits;
	play->coverage->awaited += awaits != 0;
	number->unbind_told = play->world.now_ms;
	number->unbind_lost = false;
}

/*
 * Not before each has acknowledged, or has ended, or has had its time; or the set ends, or it went
 * with its device.
 */
static void unbound_told(
	struct play *play, const struct change *change, const struct truth_number *number)
{
	const struct truth_device *device = truth_device(&play->now, change->device);

	if (number->doubt || number->unbind_awaits == 0 || number->unbind_lost ||
		!play_set_lives(play, number->set) || !device || device->going)
		return;
	if (play->world.now_ms < number->unbind_told + WORLD_WAIT)
		world_fail("D: %u was detached, and waits for participants (%x)", change->host,
			number->unbind_awaits);
}

static void party_is_late(struct play *play, uint64_t session)
{
	play->coverage->late++;
	for (unsigned i = 0; i < TRUTH_PARTIES; i++)
		play->now.parties_late |= play->now.parties[i] == session ? 1u << i : 0;
}

static void party_hears(struct play *play, const struct change *change)
{
	struct truth_number *number =
		world_knows(change->host) ? truth_number(&play->now, change->host) : NULL;

	/* late is late, whatever the number */
	if (change->kind == CHANGE_UNBIND_UNACKNOWLEDGED) {
		party_is_late(play, change->session);
		return;
	}
	if (!number)
		return;
	switch ((int)change->kind) {
	case CHANGE_BINDING_UNBINDING:
		unbind_told(play, number);
		break;
	case CHANGE_BINDING_UNBOUND:
		unbound_told(play, change, number);
		break;
	case CHANGE_BINDING_LOST:
	case CHANGE_BINDING_TAINTED:
		/* the unbind may go on, to find that there is nothing to detach */
		number->unbind_lost = true;
		break;
	default:
		break;
	}
}

void play_hear(struct play *play)
{
	struct change change;

	while (broker_change_get(play->world.broker, play->heard, &change)) {
		play->heard = change.sequence + 1;
		party_hears(play, &change);
	}
}

void truth_interrupt_parties(struct truth *truth)
{
	truth->parties_late = 0;
	for (unsigned i = 0; i < WORLD_NUMBERS; i++)
		truth->numbers[i].unbind_awaits = 0;
}
