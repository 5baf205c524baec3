/* SPDX-License-Identifier: MIT */
/*
 * Numbers: allocated, freed, translated, held. The truth says exactly what is answered; only which
 * of the free numbers are granted is the broker's choice.
 */
#include "play.h"

/* ------------------------------------------------------------------ allocate */

/* It comes back to its own set before the shared device is drained. */
static bool is_returnable(const struct truth_number *number, const struct truth_set *set)
{
	return number->state == GRANT_QUARANTINED && number->set == set->name &&
	       number->quarantine == QUARANTINE_UNDRAINED && !number->earlier &&
	       /* what began to rest in the same millisecond counts as the earlier VM's */
	       (!set->emptied || number->cooled > set->emptied + WORLD_COOLING);
}

struct range {
	uint32_t min, max; /* as far as there are numbers */
	uint32_t idle, returnable;
};

static struct range range_count(
	struct play *play, const struct asker *asker, uint32_t min, uint32_t max)
{
	struct range range = {min < WORLD_FIRST ? WORLD_FIRST : min, max, 0, 0};

	for (uint32_t host = range.min; host <= range.max; host++) {
		const struct truth_number *number = truth_number(&play->now, host);

		range.idle += number->state == GRANT_IDLE;
		range.returnable += is_returnable(number, asker->set);
	}
	return range;
}

static bool has_block(struct play *play, const struct range *range, uint32_t count)
{
	for (uint32_t first = range->min; first + count - 1 <= range->max; first++) {
		uint32_t n = 0;

		while (n < count && truth_number(&play->now, first + n)->state == GRANT_IDLE)
			n++;
		if (n == count && first % count == 0)
			return true;
	}
	return false;
}

uint32_t play_room(struct play *play, const struct truth_set *set)
{
	uint32_t use = truth_count(&play->now, set->name, GRANT_FREE);
	uint32_t of_set = set->quota > use ? set->quota - use : 0;
	uint32_t limit = play->history->tight ? 7 : 20, used = truth_used(&play->now, set->uid);
	uint32_t of_user = limit > used ? limit - used : 0;
	uint32_t of_host = WORLD_CAPACITY - truth_used(&play->now, 0);
	uint32_t room = of_set < of_user ? of_set : of_user;

	return room < of_host ? room : of_host;
}

enum reason play_quota_refusal(struct play *play, const struct truth_set *set, uint32_t count)
{
	if (truth_count(&play->now, set->name, GRANT_FREE) + count > set->quota)
		return REASON_SET_QUOTA;
	if (truth_used(&play->now, set->uid) + count > (play->history->tight ? 7 : 20))
		return REASON_USER_QUOTA;
	return REASON_HOST_QUOTA;
}

static bool guest_is_taken(struct play *play, const struct truth_set *set, uint32_t guest)
{
	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		const struct truth_number *number = &play->now.numbers[i];

		if (number->state == GRANT_ACTIVE && number->set == set->name &&
			number->has_guest && number->guest == guest)
			return true;
	}
	return false;
}

static enum reason allocate_wanted(struct play *play, const struct asker *asker,
	const struct allocate *a, struct range *ret_range)
{
	enum reason gate = play_gate(asker);
	uint32_t room, want, found, total;

	if (gate || play->now.unconfirmed)
		return gate ? gate : REASON_UNCONFIRMED;
	if (asker->set->mode == SET_GUEST_OWNED)
		return REASON_SET_MODE;
	if (a->has_guest && a->count != 1)
		return REASON_BAD_ARGUMENT;
	if (a->has_guest && asker->set->mode != SET_TRANSLATED)
		return REASON_SET_MODE;
	if (a->has_guest && guest_is_taken(play, asker->set, a->guest.v))
		return REASON_GUEST_TAKEN;
	if (a->max < WORLD_FIRST)
		return REASON_NONE_FREE;
	*ret_range = range_count(play, asker, a->min, a->max);
	room = play_room(play, asker->set);
	if (a->consecutive && room >= a->count)
		return has_block(play, ret_range, a->count) ? REASON_NONE : REASON_NONE_FREE;
	want = room < a->count ? room : a->count;
	found = ret_range->idle < want ? ret_range->idle : want;
	total = found;
	if (!a->consecutive)
		total += ret_range->returnable;
	if (total >= a->count)
		return REASON_NONE;
	return found < want ? REASON_NONE_FREE : play_quota_refusal(play, asker->set, a->count);
}

static void granted(
	struct play *play, const struct asker *asker, const struct allocate *a, uint32_t host)
{
	struct truth_number *number;
	bool identity = asker->set->mode == SET_IDENTITY;

	if (host < a->min || host > a->max || host < WORLD_FIRST)
		world_fail(
			"PASID %u was granted, from %u to %u were asked for", host, a->min, a->max);
	number = truth_number(&play->now, host);
	if (number->state != GRANT_IDLE && !is_returnable(number, asker->set))
		world_fail("U: PASID %u was granted, which is in state %u of set %llx", host,
			number->state, (unsigned long long)number->set);
	if (number->awaits)
		world_fail("D: PASID %u was granted, and waits for participants (%x)", host,
			number->awaits);
	if (number->state == GRANT_IDLE)
		number->doubt = number->earlier = number->was_bound = false;
	number->state = GRANT_ACTIVE;
	number->set = asker->set->name;
	number->data = a->data;
	number->has_guest = identity || a->has_guest;
	number->guest = !number->has_guest ? 0 : identity ? host : a->guest.v;
	number->holds = number->quarantine = 0;
	number->awaits = number->unbind_awaits = 0;
	play->digest = play->digest * 31 + host;
	play_say(play, " %u", host);
}

static bool is_undrained(const struct truth *truth, uint32_t host)
{
	const struct truth_number *number = &truth->numbers[host - WORLD_FIRST];

	return number->state == GRANT_QUARANTINED && number->quarantine == QUARANTINE_UNDRAINED;
}

/* Some numbers, sometimes none that is free; or one that the set itself gave back. */
static void choose_range(struct play *play, const struct asker *asker, struct allocate *a)
{
	uint32_t host = play_pick_such(play, asker, play->step->arg[4], is_undrained);

	a->min = 1020 + play_arg(play, 2, 36);
	a->max = a->min + play_arg(play, 4, 48);
	a->max = a->max < 1060 ? a->max : 1060;
	if (host && is_undrained(&play->now, host) && play_arg(play, 2, 3))
		a->min = a->max = host;
}

static void do_allocate(struct play *play)
{
	struct allocate a = {.count = 1 + play_arg(play, 3, 3)};
	struct range range = {0};
	struct hpasid numbers[4];
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker(play, &asker);
	choose_range(play, &asker, &a);
	a.consecutive = a.count != 3 && play_arg(play, 5, 3) == 0;
	a.has_guest = play_arg(play, 6, 2) && (a.count == 1 || play_arg(play, 6, 8) == 1);
	a.guest.v = 1 + play_arg(play, 7, 6);
	a.data = play->step->arg[7];
	a.set = asker.id;
	wanted = allocate_wanted(play, &asker, &a, &range);
	play_say(play, "%s allocates %u%s from %u to %u", asker.name, a.count,
		a.consecutive ? " in a row" : "", a.min, a.max);
	if (a.has_guest)
		play_say(play, " as guest PASID %u", a.guest.v);
	r = broker_allocate(play->world.broker, &asker.actor, &a, numbers, &play->world.error);
	play_expect_or_limit(play, r, wanted);
	for (uint32_t i = 0; r == 0 && i < a.count; i++)
		granted(play, &asker, &a, numbers[i].v);
}

/* ------------------------------------------------------------------ free */

/* It was bound, so that more than time is needed. */
static bool was_bound(const struct truth *truth, uint32_t host)
{
	return truth->numbers[host - WORLD_FIRST].state == GRANT_ACTIVE &&
	       truth->numbers[host - WORLD_FIRST].was_bound && !truth_bound_of(truth, host);
}

static void do_free(struct play *play)
{
	uint32_t count = 1 + play_arg(play, 1, 2), freed = 0, unchanged = 0, expected = 0;
	struct pasid_ref refs[2] = {{0}};
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, true, false, &asker);
	wanted = play_gate(&asker);
	play_say(play, "%s frees", asker.name);
	for (uint32_t i = 0; i < count; i++) {
		refs[i].number = play_pick_such(play, &asker, play->step->arg[2 + i], was_bound);
		play_say(play, " %u", refs[i].number);
		if (wanted == REASON_NONE)
			wanted = play_resolve(play, &asker, refs[i].number);
	}
	r = broker_free_pasids(play->world.broker, &asker.actor, asker.id, refs, count, &freed,
		&unchanged, &play->world.error);
	play_expect(play, r, wanted);
	if (r)
		return;
	for (uint32_t i = 0; i < count; i++) {
		expected += truth_number(&play->now, refs[i].number)->state == GRANT_ACTIVE;
		truth_free(&play->now, refs[i].number, play->world.now_ms);
	}
	if (freed != expected || freed + unchanged != count)
		world_fail("%u of %u are said to be freed, %u were active", freed, count, expected);
}

static void do_free_all(struct play *play)
{
	uint32_t freed = 0, expected;
	struct asker asker;
	int r;

	play_asker(play, &asker);
	play_say(play, "%s frees all", asker.name);
	r = broker_free_all(play->world.broker, &asker.actor, asker.id, &freed, &play->world.error);
	play_expect(play, r, play_gate(&asker));
	if (r)
		return;
	expected = truth_count(&play->now, asker.set->name, GRANT_ACTIVE);
	for (uint32_t i = 0; i < WORLD_NUMBERS; i++) {
		if (play->now.numbers[i].set == asker.set->name)
			truth_free(&play->now, WORLD_FIRST + i, play->world.now_ms);
	}
	for (uint32_t i = 0; i < play->now.claim_count; i++) {
		struct truth_claim *claim = &play->now.claims[i];

		if (claim->set == asker.set->name && claim->state == GRANT_ACTIVE)
			claim->state = GRANT_FREE_PENDING;
	}
	if (freed != expected)
		world_fail("%u are said to be freed, %u were active", freed, expected);
}

/* ------------------------------------------------------------------ guest numbers, data */

enum reason play_active_wanted(struct play *play, const struct asker *asker, uint32_t host)
{
	enum reason wanted = play_gate(asker);

	if (wanted == REASON_NONE)
		wanted = play_resolve(play, asker, host);
	if (wanted == REASON_NONE && truth_number(&play->now, host)->state != GRANT_ACTIVE)
		wanted = REASON_NOT_ACTIVE;
	return wanted;
}

static bool has_guest(const struct truth *truth, uint32_t host)
{
	return truth->numbers[host - WORLD_FIRST].has_guest;
}

static void do_guest_attach(struct play *play)
{
	uint32_t guest = 1 + play_arg(play, 2, 6), host;
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, true, false, &asker);
	host = play_pick_number(play, &asker, play->step->arg[1]);
	wanted = play_active_wanted(play, &asker, host);
	if (wanted == REASON_NONE && asker.set->mode != SET_TRANSLATED)
		wanted = REASON_SET_MODE;
	if (wanted == REASON_NONE && (truth_number(&play->now, host)->has_guest ||
					     guest_is_taken(play, asker.set, guest)))
		wanted = REASON_GUEST_TAKEN;
	play_say(play, "%s makes guest PASID %u stand for %u", asker.name, guest, host);
	r = broker_guest_attach(play->world.broker, &asker.actor, asker.id, (struct hpasid){host},
		(struct gpasid){guest}, &play->world.error);
	play_expect_or_limit(play, r, wanted);
	if (r)
		return;
	truth_number(&play->now, host)->has_guest = true;
	truth_number(&play->now, host)->guest = guest;
}

static void do_guest_detach(struct play *play)
{
	uint32_t guest = 1 + play_arg(play, 2, 6), host;
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, true, false, &asker);
	host = play_pick_such(play, &asker, play->step->arg[1], has_guest);
	if (host && has_guest(&play->now, host) && play_arg(play, 3, 8))
		guest = truth_number(&play->now, host)->guest;
	wanted = play_gate(&asker);
	if (wanted == REASON_NONE && asker.set->mode != SET_TRANSLATED)
		wanted = REASON_SET_MODE;
	if (wanted == REASON_NONE && !guest_is_taken(play, asker.set, guest))
		wanted = REASON_GUEST_UNKNOWN;
	play_say(play, "%s takes guest PASID %u away", asker.name, guest);
	r = broker_guest_detach(play->world.broker, &asker.actor, asker.id, (struct gpasid){guest},
		&play->world.error);
	play_expect(play, r, wanted);
	for (unsigned i = 0; r == 0 && i < WORLD_NUMBERS; i++) {
		struct truth_number *number = &play->now.numbers[i];

		if (number->set == asker.set->name && number->has_guest && number->guest == guest) {
			number->has_guest = false;
			number->guest = 0;
		}
	}
}

static void do_data(struct play *play)
{
	uint64_t data = play->step->arg[2];
	struct asker asker;
	uint32_t host;
	int r;

	play_asker_with(play, true, false, &asker);
	host = play_pick_number(play, &asker, play->step->arg[1]);
	play_say(play, "%s gives %u the data %llu", asker.name, host, (unsigned long long)data);
	r = broker_data_set(play->world.broker, &asker.actor, asker.id,
		(struct pasid_ref){.number = host}, data, &play->world.error);
	play_expect(play, r, play_active_wanted(play, &asker, host));
	if (r == 0)
		truth_number(&play->now, host)->data = data;
}

/* ------------------------------------------------------------------ an admin's word */

static enum reason quarantine_end_wanted(struct play *play, uint32_t host, bool admin)
{
	const struct truth_number *number;

	if (!admin)
		return REASON_ROLE;
	if (host == 0)
		return REASON_NOT_ACTIVE;
	number = truth_number(&play->now, host);
	if (number->state != GRANT_QUARANTINED)
		return REASON_NOT_ACTIVE;
	if (number->quarantine & QUARANTINE_TAINTED)
		return REASON_DEVICE_TAINTED;
	return truth_others(number) ? REASON_HELD : REASON_NONE;
}

static void do_quarantine_end(struct play *play)
{
	bool admin = play_arg(play, 2, 8);
	uint32_t found[WORLD_NUMBERS], count = 0, host = WORLD_FIRST + play_arg(play, 1, 40);
	int r;

	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		if (play->now.numbers[i].state == GRANT_QUARANTINED)
			found[count++] = WORLD_FIRST + i;
	}
	if (count && play_arg(play, 3, 8))
		host = found[play_arg(play, 1, count)];
	play_say(play, "%s ends the quarantine of %u", admin ? "an admin" : "vm0", host);
	r = broker_quarantine_end(play->world.broker,
		admin ? &play->world.admin : &play->world.vms[0], (struct set_id){0},
		(struct hpasid){host}, &play->world.error);
	play_expect(play, r, quarantine_end_wanted(play, host, admin));
	if (r)
		return;
	truth_number(&play->now, host)->state = GRANT_IDLE;
	truth_number(&play->now, host)->awaits = 0;
	play->world.queued[host - WORLD_FIRST] = false;
}

void play_number_step(struct play *play)
{
	static void (*const steps[])(struct play *) = {
		[STEP_ALLOCATE] = do_allocate,
		[STEP_FREE] = do_free,
		[STEP_FREE_ALL] = do_free_all,
		[STEP_GUEST_ATTACH] = do_guest_attach,
		[STEP_GUEST_DETACH] = do_guest_detach,
		[STEP_DATA] = do_data,
		[STEP_CLAIM] = play_claim,
		[STEP_CLAIM_EXTEND] = play_claim_extend,
		[STEP_CLAIM_FREE] = play_claim_free,
		[STEP_HOLD] = play_hold,
		[STEP_RELEASE] = play_release,
		[STEP_PARTICIPATE] = play_participate,
		[STEP_ACKNOWLEDGE] = play_acknowledge,
		[STEP_QUARANTINE_END] = do_quarantine_end,
	};

	steps[play->step->kind](play);
}
