/* SPDX-License-Identifier: MIT */
/*
 * Numbers of scope rids: one and the same may be several sets', each in tables of its own. They are
 * few, so that sets meet in them all the time, and they are none of those that are global.
 */
#include "play.h"

#define NAMED_MAX 3u

/* ------------------------------------------------------------------ what is named */

struct named {
	struct device_id devices[NAMED_MAX];
	uint32_t count, groups;
	bool narrow; /* one of them has no PASIDs */
	bool foreign;
};

static uint32_t group_bit(const struct play *play, uint32_t rid)
{
	return 1u << world_group(&play->world, rid);
}

static void named_choose(struct play *play, const struct asker *asker, struct named *ret_named)
{
	*ret_named = (struct named){.count = 1 + play_arg(play, 2, NAMED_MAX)};
	for (uint32_t i = 0; i < ret_named->count; i++) {
		const uint64_t name =
			play_pick_device(play, asker, (uint16_t)(play->step->arg[3] + 8 * i));
		const struct truth_device *device = truth_device(&play->now, name);

		ret_named->devices[i].v = name;
		play_say(play, " %llx", (unsigned long long)name);
		if (!asker->set || !device || device->set != asker->set->name) {
			ret_named->foreign = true;
			continue;
		}
		ret_named->groups |= group_bit(play, device->rid);
		ret_named->narrow |= play->world.hw.width_of[device->rid] == 0;
	}
}

/* Such a number of the set, mostly; else any, or one that it has not. */
static uint32_t claim_pick(struct play *play, const struct asker *asker, uint16_t choice)
{
	uint32_t found[TRUTH_CLAIMS], count = 0;

	for (uint32_t i = 0; i < play->now.claim_count && choice % 8; i++) {
		const struct truth_claim *claim = &play->now.claims[i];

		if (asker->set && claim->set == asker->set->name &&
			(claim->state == GRANT_ACTIVE || choice % 8 == 1))
			found[count++] = claim->host;
	}
	return count ? found[choice / 8 % count] : 1 + choice / 8 % WORLD_CLAIMED;
}

static enum reason claim_gate(struct play *play, const struct asker *asker, bool grants)
{
	const enum reason gate = play_gate(asker);

	if (gate == REASON_NONE && grants && play->now.unconfirmed)
		return REASON_UNCONFIRMED;
	return gate == REASON_NONE && asker->set->mode == SET_GUEST_OWNED ? REASON_SET_MODE : gate;
}

/* What a request about such a number is refused with; NULL: it need not be active. */
static enum reason claim_wanted(
	struct play *play, const struct asker *asker, bool grants, bool active, uint32_t host)
{
	const enum reason gate = claim_gate(play, asker, grants);
	const struct truth_claim *claim;

	if (gate)
		return gate;
	claim = truth_claim(&play->now, asker->set->name, host);
	if (!claim)
		return REASON_NO_PASID;
	return active && claim->state != GRANT_ACTIVE ? REASON_NOT_ACTIVE : REASON_NONE;
}

/* A guest's own table under a RID leaves no room for numbers; that comes and goes by itself. */
static enum reason or_rid_claimed(struct play *play, int r, enum reason wanted)
{
	return r && wanted != REASON_NO_DEVICE && play->world.error.reason == REASON_RID_CLAIMED
		       ? REASON_RID_CLAIMED
		       : wanted;
}

/* ------------------------------------------------------------------ allocate */

static enum reason claim_allocate_wanted(struct play *play, const struct asker *asker,
	const struct named *named, const struct allocate *a)
{
	const enum reason gate = claim_gate(play, asker, true);
	uint32_t room, want, found = 0;

	if (gate)
		return gate;
	if (named->foreign)
		return REASON_NO_DEVICE;
	if (named->narrow)
		return REASON_NONE_FREE;
	for (uint32_t host = a->min; host <= a->max; host++)
		found += !truth_claimed(&play->now, asker->set->name, host, named->groups);
	room = play_room(play, asker->set);
	want = room < a->count ? room : a->count;
	if (found < want)
		return REASON_NONE_FREE;
	return want < a->count ? play_quota_refusal(play, asker->set, a->count) : REASON_NONE;
}

static void claimed(struct play *play, const struct asker *asker, const struct named *named,
	const struct allocate *a, uint32_t host)
{
	if (host < a->min || host > a->max)
		world_fail(
			"PASID %u was granted, from %u to %u were asked for", host, a->min, a->max);
	if (truth_claimed(&play->now, asker->set->name, host, named->groups))
		world_fail("U: PASID %u was granted for groups %x, where somebody has it", host,
			named->groups);
	for (uint32_t i = 0; i < play->now.claim_count; i++)
		play->coverage->overlaps += play->now.claims[i].host == host;
	*truth_claim_new(&play->now) = (struct truth_claim){.set = asker->set->name,
		.data = a->data,
		.host = host,
		.groups = named->groups,
		.state = GRANT_ACTIVE};
	play->digest = play->digest * 31 + host;
	play_say(play, " %u", host);
}

void play_claim(struct play *play)
{
	struct allocate a = {.count = 1 + play_arg(play, 4, 2), .scope = SCOPE_RIDS};
	struct hpasid numbers[2];
	struct named named;
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, false, true, &asker);
	a.min = 1 + play_arg(play, 5, 3);
	a.max = a.min + play_arg(play, 6, 8) / 5 * (WORLD_CLAIMED - a.min) + play_arg(play, 6, 2);
	a.max = a.max < WORLD_CLAIMED ? a.max : WORLD_CLAIMED;
	a.data = play->step->arg[7];
	a.set = asker.id;
	play_say(play, "%s claims %u from %u to %u on", asker.name, a.count, a.min, a.max);
	named_choose(play, &asker, &named);
	a.devices = named.devices;
	a.device_count = named.count;
	wanted = claim_allocate_wanted(play, &asker, &named, &a);
	r = broker_allocate(play->world.broker, &asker.actor, &a, numbers, &play->world.error);
	play_expect_or_limit(play, r, or_rid_claimed(play, r, wanted));
	for (uint32_t i = 0; r == 0 && i < a.count; i++)
		claimed(play, &asker, &named, &a, numbers[i].v);
}

/* ------------------------------------------------------------------ extend, free */

/* Somebody else's in a table that it is not the set's in yet. */
static bool is_in_the_way(
	const struct truth *truth, const struct truth_claim *claim, uint32_t groups)
{
	for (uint32_t i = 0; i < truth->claim_count; i++) {
		const struct truth_claim *other = &truth->claims[i];

		if (other != claim && other->host == claim->host &&
			other->groups & groups & ~claim->groups)
			return true;
	}
	return false;
}

void play_claim_extend(struct play *play)
{
	struct truth_claim *claim = NULL;
	uint32_t host, added = 0;
	struct named named;
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, false, true, &asker);
	host = claim_pick(play, &asker, play->step->arg[1]);
	play_say(play, "%s extends %u to", asker.name, host);
	named_choose(play, &asker, &named);
	wanted = claim_wanted(play, &asker, true, true, host);
	if (asker.set)
		claim = truth_claim(&play->now, asker.set->name, host);
	if (wanted == REASON_NONE && named.foreign)
		wanted = REASON_NO_DEVICE;
	if (wanted == REASON_NONE && named.narrow)
		wanted = REASON_DEVICE_NO_WIDTH;
	if (wanted == REASON_NONE && is_in_the_way(&play->now, claim, named.groups))
		wanted = REASON_PASID_TAKEN;
	r = broker_extend(play->world.broker, &asker.actor, asker.id,
		(struct pasid_ref){.number = host}, named.devices, named.count, &added,
		&play->world.error);
	play_expect(play, r, or_rid_claimed(play, r, wanted));
	if (r)
		return;
	if (added != (uint32_t)__builtin_popcount(named.groups & ~claim->groups))
		world_fail("%u is said to be in %u more tables, from groups %x to %x", host, added,
			claim->groups, claim->groups | named.groups);
	claim->groups |= named.groups;
}

void play_claim_free(struct play *play)
{
	uint32_t host, freed = 0, unchanged = 0;
	struct pasid_ref ref = {0};
	struct truth_claim *claim;
	struct asker asker;
	int r;

	play_asker_with(play, true, false, &asker);
	host = claim_pick(play, &asker, play->step->arg[1]);
	play_say(play, "%s frees %u", asker.name, host);
	ref.number = host;
	r = broker_free_pasids(play->world.broker, &asker.actor, asker.id, &ref, 1, &freed,
		&unchanged, &play->world.error);
	play_expect(play, r, claim_wanted(play, &asker, false, false, host));
	if (r)
		return;
	claim = truth_claim(&play->now, asker.set->name, host);
	if (freed != (claim->state == GRANT_ACTIVE) || freed + unchanged != 1)
		world_fail("%u of 1 are said to be freed, and it was in state %u", freed,
			claim->state);
	if (freed)
		claim->state = GRANT_FREE_PENDING;
}

/* ------------------------------------------------------------------ bind */

static void claim_under_way(
	struct play *play, const struct asker *asker, uint32_t host, const struct named *named)
{
	struct truth_op *op =
		truth_op_new(&play->now, play->cookies, (enum step_kind)play->step->kind);

	op->set = asker->set->name;
	op->host = host;
	op->count = (uint8_t)named->count;
	for (uint32_t i = 0; i < named->count; i++)
		op->devices[i] = named->devices[i].v;
	play_say(play, ", as %llu", (unsigned long long)play->cookies);
}

void play_claim_bind(struct play *play)
{
	struct bind_pair pairs[NAMED_MAX];
	struct named named;
	struct asker asker;
	enum reason wanted;
	uint32_t host;
	int r;

	play_asker_with(play, false, true, &asker);
	host = claim_pick(play, &asker, play->step->arg[1]);
	play_say(play, "%s binds %u on", asker.name, host);
	named_choose(play, &asker, &named);
	for (uint32_t i = 0; i < named.count; i++)
		pairs[i] = (struct bind_pair){
			named.devices[i], {.kind = HW_TABLE_SPACE, .id = play_arg(play, 6, 2)}};
	wanted = claim_wanted(play, &asker, true, false, host);
	if (wanted == REASON_NONE && named.foreign)
		wanted = REASON_NO_DEVICE;
	r = broker_bind(play->world.broker, &asker.actor, asker.id,
		(struct pasid_ref){.number = host}, pairs, named.count, ++play->cookies,
		&play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r)
		return;
	claim_under_way(play, &asker, host, &named);
	truth_claim(&play->now, asker.set->name, host)->was_bound = true;
}

/* In each table that was named; and the model of the hardware knows of no other set there. */
void play_claim_bound(struct play *play, const struct truth_op *op)
{
	const struct truth_claim *claim = truth_claim(&play->now, op->set, op->host);

	for (uint32_t i = 0; i < op->count; i++) {
		const struct truth_device *device = truth_device(&play->now, op->devices[i]);
		const struct model_entry *entry;

		if (!device)
			world_fail("it is bound on a device that is gone");
		entry = world_entry(
			&play->world, world_group(&play->world, device->rid), true, op->host);
		if (!entry || entry->owner != op->set)
			world_fail("%u is said to be bound on function %u, and is not", op->host,
				device->rid);
		if (!claim || !(claim->groups & group_bit(play, device->rid)))
			world_fail("U: %u is bound on function %u, where it is not the set's",
				op->host, device->rid);
	}
}

void play_claim_unbind(struct play *play)
{
	const bool all = play_arg(play, 4, 2);
	struct named named = {.count = 0};
	struct asker asker;
	enum reason wanted;
	uint32_t host;
	int r;

	play_asker_with(play, false, true, &asker);
	host = claim_pick(play, &asker, play->step->arg[1]);
	play_say(play, "%s unbinds %u%s", asker.name, host, all ? "" : " from");
	if (!all)
		named_choose(play, &asker, &named);
	wanted = claim_wanted(play, &asker, false, false, host);
	if (wanted == REASON_NONE && named.foreign)
		wanted = REASON_NO_DEVICE;
	r = broker_unbind(play->world.broker, &asker.actor, asker.id,
		(struct pasid_ref){.number = host}, named.devices, named.count, ++play->cookies,
		&play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r == 0)
		claim_under_way(play, &asker, host, &named);
}

/* ------------------------------------------------------------------ comparison */

void play_compare_claim_entry(struct play *play, const struct model_entry *entry)
{
	const struct truth_claim *claim = truth_claim(&play->now, entry->owner, entry->pasid);

	if (!claim)
		world_fail("D: %u is attached for set %llx, which has it not", entry->pasid,
			(unsigned long long)entry->owner);
	if (!(claim->groups & 1u << entry->group))
		world_fail("U: %u is attached in group %u for a set that has it in groups %x",
			entry->pasid, entry->group, claim->groups);
}

static bool claim_stands(const struct play *play, const struct truth_claim *claim)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &play->world.hw.entries[i];

		if (entry->used && entry->has_pasid && entry->pasid == claim->host &&
			entry->owner == claim->set)
			return true;
	}
	return false;
}

/* D: it rested, nothing has it attached, and no work of a shared device may carry it. */
static void claim_released(struct play *play, const struct truth_claim *claim)
{
	if (claim->state != GRANT_QUARANTINED)
		world_fail("D: %u of set %llx is free and was in state %u", claim->host,
			(unsigned long long)claim->set, claim->state);
	if (claim->cooled > play->world.now_ms)
		world_fail("D: %u is free %llu ms too early", claim->host,
			(unsigned long long)(claim->cooled - play->world.now_ms));
	if (claim_stands(play, claim))
		world_fail("D: %u is free and attached", claim->host);
	if (claim->groups & group_bit(play, WORLD_SHARED) && play->world.queued_claims[claim->host])
		world_fail("D: %u is free, and the shared device was not drained", claim->host);
}

static void claim_moved(struct play *play, struct truth_claim *claim, const struct grant_info *info)
{
	const bool ending = !play_set_lives(play, claim->set);

	if ((int)info->state < claim->state || claim->state == GRANT_QUARANTINED ||
		(claim->state == GRANT_ACTIVE && !ending))
		world_fail("%u was in state %u, and is in state %d", claim->host, claim->state,
			(int)info->state);
	claim->state = (uint8_t)info->state;
	if (info->state == GRANT_QUARANTINED)
		claim->cooled = play->world.now_ms + WORLD_COOLING;
}

static void compare_claim(
	struct play *play, const struct truth_claim *claim, const struct grant_info *info)
{
	uint32_t groups = 0;

	for (uint32_t i = 0; i < info->group_count; i++)
		groups |= 1u << info->groups[i];
	if (info->scope != SCOPE_RIDS || groups != claim->groups)
		world_fail("K: %u is the set's in groups %x, where %x must be", claim->host, groups,
			claim->groups);
	if (claim->state == GRANT_ACTIVE && info->data != claim->data)
		world_fail("K: %u has other data than it was given", claim->host);
	if (claim->state == GRANT_QUARANTINED && play->ticked && !claim->was_bound &&
		claim->cooled <= play->world.now_ms && !truth_live_parties(&play->now))
		world_fail("%u has cooled, was never bound, and is not free (%x)", claim->host,
			info->quarantine);
}

void play_compare_claims(struct play *play)
{
	for (uint32_t i = 0; i < play->now.claim_count; i++) {
		struct truth_claim *claim = &play->now.claims[i];
		struct grant_info info;
		const int r = broker_host_find(play->world.broker, &play->world.admin,
			(struct set_id){claim->set}, (struct hpasid){claim->host}, &info,
			&play->world.error);

		if (r || info.state == GRANT_IDLE) {
			claim_released(play, claim);
			truth_claim_drop(&play->now, claim);
			i--;
			continue;
		}
		if ((int)info.state != claim->state)
			claim_moved(play, claim, &info);
		compare_claim(play, claim, &info);
	}
}
