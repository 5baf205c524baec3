/* SPDX-License-Identifier: MIT */
/*
 * The broker's state and the truth: the same, or a step further where that is left open.
 */
#include "play.h"

#include <string.h>

/* ------------------------------------------------------------------ numbers */

static bool stands_anywhere(struct play *play, uint32_t host)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &play->world.hw.entries[i];

		if (entry->used && entry->has_pasid && entry->pasid == host)
			return true;
	}
	return false;
}

/* D: it rested, nothing has it attached, and no work of a shared device may carry it. */
static void number_released(struct play *play, uint32_t host, struct truth_number *number)
{
	if (number->state != GRANT_QUARANTINED)
		world_fail("D: %u is free and was in state %u", host, number->state);
	if (number->cooled > play->world.now_ms)
		world_fail("D: %u is free %llu ms too early", host,
			(unsigned long long)(number->cooled - play->world.now_ms));
	if (stands_anywhere(play, host))
		world_fail("D: %u is free and attached", host);
	if (truth_others(number))
		world_fail("H: %u is free and held", host);
	if (play->world.queued[host - WORLD_FIRST])
		world_fail("D: %u is free, and the shared device was not drained", host);
	if (number->awaits)
		world_fail("D: %u is free, and waits for participants (%x)", host, number->awaits);
	number->state = GRANT_IDLE;
}

/* It got further on its way out. */
static void number_moved(struct play *play, uint32_t host, struct truth_number *number,
	const struct grant_info *info)
{
	bool ending = !play_set_lives(play, number->set);

	if (number->state != GRANT_ACTIVE && number->state != GRANT_FREE_PENDING)
		world_fail("%u was in state %u, and is in state %d", host, number->state,
			(int)info->state);
	if ((int)info->state < number->state || (number->state == GRANT_ACTIVE && !ending))
		world_fail("%u was in state %u, and is in state %d", host, number->state,
			(int)info->state);
	if (info->state == GRANT_QUARANTINED && number->holds + truth_others(number) && !ending)
		world_fail("H: %u is reclaimed, and is held", host);
	if (info->state == GRANT_QUARANTINED && truth_stays_bound(&play->now, host))
		world_fail("D: %u is reclaimed, and is bound", host);
	if (number->state == GRANT_ACTIVE)
		number->awaits = truth_live_parties(&play->now);
	number->state = (uint8_t)info->state;
	number->has_guest = false;
	number->guest = 0;
	if (info->state == GRANT_QUARANTINED)
		number->cooled = play->world.now_ms + WORLD_COOLING;
}

static void number_in_use(struct play *play, uint32_t host, struct truth_number *number,
	const struct grant_info *info)
{
	bool ending = !play_set_lives(play, number->set);

	if (ending && info->holds >= truth_others(number))
		number->holds = info->holds - truth_others(number);
	if (info->has_guest != number->has_guest || info->guest.v != number->guest ||
		info->data != number->data || info->holds != number->holds + truth_others(number))
		world_fail(
			"%u has guest PASID %u, data %llu and %u holds where %u, %llu and %u "
			"must be",
			host, info->guest.v, (unsigned long long)info->data, info->holds,
			number->guest, (unsigned long long)number->data,
			number->holds + truth_others(number));
	if (info->bindings < truth_stays_bound(&play->now, host))
		world_fail("%u has %u bindings, of which %u are known", host, info->bindings,
			truth_stays_bound(&play->now, host));
}

static void number_rests(struct play *play, uint32_t host, struct truth_number *number,
	const struct grant_info *info)
{
	uint64_t now = play->world.now_ms;
	uint64_t left = number->cooled > now ? number->cooled - now : 0;

	number->holds = 0;
	number->quarantine = info->quarantine;
	if (info->holds != truth_others(number) ||
		!(info->quarantine & QUARANTINE_HELD) != !info->holds)
		world_fail("H: %u rests with %u holds where %u must be", host, info->holds,
			truth_others(number));
	if (info->cooling_ms != left)
		world_fail("D: %u cools for %llu ms more, where %llu must be", host,
			(unsigned long long)info->cooling_ms, (unsigned long long)left);
	if (number->awaits && !(info->quarantine & QUARANTINE_UNACKNOWLEDGED))
		world_fail("D: %u rests, and does not wait for participants (%x)", host,
			number->awaits);
	if (play->ticked && left == 0 && !number->doubt && !truth_others(number) &&
		!number->awaits && !truth_ops_of(&play->now, host) &&
		!play->world.queued[host - WORLD_FIRST])
		world_fail(
			"%u has cooled, nothing has it attached, and it is not free (%x, "
			"%u bindings)",
			host, info->quarantine, info->bindings);
}

static void compare_number(struct play *play, uint32_t host)
{
	struct truth_number *number = truth_number(&play->now, host);
	struct grant_info info;

	if (broker_host_find(play->world.broker, &play->world.admin, (struct set_id){0},
		    (struct hpasid){host}, &info, &play->world.error))
		world_fail("%u is not found: %.200s", host, play->world.error.text);
	truth_settle(&play->now, host, play->world.now_ms);
	if (info.state == GRANT_IDLE) {
		if (number->state != GRANT_IDLE)
			number_released(play, host, number);
		return;
	}
	if (number->state == GRANT_IDLE || info.set.v != number->set)
		world_fail("U: %u is in state %d of set %llx, where state %u of set %llx must be",
			host, (int)info.state, (unsigned long long)info.set.v, number->state,
			(unsigned long long)number->set);
	if ((int)info.state != number->state)
		number_moved(play, host, number, &info);
	if (info.state == GRANT_QUARANTINED)
		number_rests(play, host, number, &info);
	else
		number_in_use(play, host, number, &info);
}

/* T: where a guest's own table stands there is no number. */
static void compare_claim(struct play *play, const struct model_entry *claim)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &play->world.hw.entries[i];

		if (entry->used && entry->has_pasid && entry->group == claim->group)
			world_fail("T: %u is attached to function %u, beside a guest's table",
				entry->pasid, entry->rid);
	}
}

/* U, D: what stands in a table stands there for whoever has the number. */
static void compare_entries(struct play *play)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &play->world.hw.entries[i];
		const struct truth_number *number;

		if (entry->used && entry->table.kind == HW_TABLE_SMMUV3)
			compare_claim(play, entry);
		if (!entry->used || !entry->has_pasid)
			continue;
		if (!world_knows(entry->pasid)) {
			play_compare_claim_entry(play, entry);
			continue;
		}
		number = truth_number(&play->now, entry->pasid);
		if (number->state == GRANT_IDLE || number->set != entry->owner)
			world_fail("D: %u is attached for set %llx, and is in state %u of set %llx",
				entry->pasid, (unsigned long long)entry->owner, number->state,
				(unsigned long long)number->set);
	}
}

/* In identity mode a number of scope rids stands for itself. */
static uint32_t claim_wanted(const struct play *play, uint64_t set, uint32_t guest)
{
	for (uint32_t i = 0; i < play->now.set_count; i++) {
		if (play->now.sets[i].name == set && play->now.sets[i].mode != SET_IDENTITY)
			return 0;
	}
	for (uint32_t i = 0; i < play->now.claim_count; i++) {
		const struct truth_claim *claim = &play->now.claims[i];

		if (claim->state == GRANT_ACTIVE && claim->set == set && claim->host == guest)
			return guest;
	}
	return 0;
}

/* What a guest's number of the set stands for; 0: nothing. */
static uint32_t guest_wanted(const struct play *play, uint64_t set, uint32_t guest)
{
	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		const struct truth_number *number = &play->now.numbers[i];

		if (number->state == GRANT_ACTIVE && number->set == set && number->has_guest &&
			number->guest == guest)
			return WORLD_FIRST + i;
	}
	return claim_wanted(play, set, guest);
}

/* What readers of each export see is so; of those that nobody keeps up to date they see nothing. */
static void compare_exports(struct play *play)
{
	for (unsigned i = 0; i < FAKE_EXPORTS; i++) {
		const struct fake_map *map = &play->world.exports.maps[i];

		if (!map->base || !map->set.v)
			continue;
		for (uint32_t k = 0; k < 6 + WORLD_NUMBERS; k++) {
			const uint32_t guest = k < 6 ? 1 + k : WORLD_FIRST + k - 6;
			const uint32_t wanted =
				map->kept ? guest_wanted(play, map->set.v, guest) : 0;

			if (fake_export_read(map, guest) != wanted)
				world_fail(
					"G: a reader finds %u behind guest PASID %u where %u "
					"must be",
					fake_export_read(map, guest), guest, wanted);
		}
	}
}

/* G: one guest number of one set, another in each step. */
static void compare_guest(struct play *play)
{
	struct truth_set *set = truth_set_of_vm(&play->now, play->index % play->history->vms);
	struct gpasid guest = {1 + play->index / 4 % 6};
	struct hpasid host = {0};
	uint32_t wanted;
	int r;

	if (!set || set->mode != SET_TRANSLATED)
		return;
	wanted = guest_wanted(play, set->name, guest.v);
	r = broker_guest_find(play->world.broker, &play->world.admin, (struct set_id){set->name},
		guest, &host, &play->world.error);
	if ((r == 0) != (wanted != 0) || host.v != wanted)
		world_fail("G: guest PASID %u of vm%u stands for %u, where %u must be", guest.v,
			set->vm, host.v, wanted);
}

void play_compare_numbers(struct play *play)
{
	for (uint32_t i = 0; i < WORLD_NUMBERS; i++)
		compare_number(play, WORLD_FIRST + i);
	play_compare_claims(play);
	compare_entries(play);
	compare_guest(play);
	compare_exports(play);
}

/* ------------------------------------------------------------------ sets */

static void set_gone(struct play *play, struct truth_set *set)
{
	if (truth_count(&play->now, set->name, GRANT_ACTIVE) ||
		truth_count(&play->now, set->name, GRANT_FREE_PENDING))
		world_fail("set vm%u is gone, and has numbers", set->vm);
	set->life = TRUTH_GONE;
}

/* Its next VM gets nothing that the earlier one's work may still carry. */
static void set_returned(struct play *play, struct truth_set *set)
{
	if (truth_count(&play->now, set->name, GRANT_ACTIVE))
		world_fail("set vm%u is said to be empty, and has numbers", set->vm);
	set->life = TRUTH_LIVES;
	set->emptied = play->world.now_ms;
	for (unsigned i = 0; i < WORLD_NUMBERS; i++) {
		if (play->now.numbers[i].set == set->name)
			play->now.numbers[i].earlier = true;
	}
}

static void set_counts(struct play *play, const struct truth_set *set, const struct set_info *info)
{
	uint32_t all = truth_count(&play->now, set->name, GRANT_FREE);
	uint32_t resting = truth_count(&play->now, set->name, GRANT_QUARANTINED);

	if (info->pasids.current != all || info->quarantined != resting ||
		info->active != all - resting || info->pasids.limit != set->quota)
		world_fail(
			"Q: set vm%u is charged for %u of %u numbers, %u in quarantine, where "
			"%u of %u and %u must be",
			set->vm, info->pasids.current, info->pasids.limit, info->quarantined, all,
			set->quota, resting);
	if (info->mode != (enum set_mode)set->mode || info->uid != set->uid)
		world_fail("set vm%u is not what was asked for", set->vm);
}

static void compare_set(struct play *play, struct truth_set *set)
{
	struct set_id id = {set->name};
	struct set_info info;
	bool there = broker_set_lives(play->world.broker, id) &&
		     broker_set_get(play->world.broker, &play->world.admin, id, &info,
			     &play->world.error) == 0;

	if (!there && set->life != TRUTH_ENDS)
		world_fail("K: set vm%u is gone", set->vm);
	if (!there) {
		set_gone(play, set);
		return;
	}
	if (set->life == TRUTH_LIVES && info.dying)
		world_fail("set vm%u is being ended, and nobody asked for that", set->vm);
	if (set->life == TRUTH_ENDS && (!info.dying || info.emptying))
		world_fail("set vm%u is not being ended any more", set->vm);
	if (set->life == TRUTH_EMPTYING && !info.dying)
		set_returned(play, set);
	set_counts(play, set, &info);
}

/* ------------------------------------------------------------------ devices */

static void compare_device(struct play *play, const struct device_info *info)
{
	struct truth_device *device = truth_device(&play->now, info->id.v);

	if (!device)
		world_fail(
			"there is a device that nobody was told of: %llx, function %u of set %llx, "
			"state %d",
			(unsigned long long)info->id.v, info->rid.v,
			(unsigned long long)info->set.v, info->state);
	if (device->rid != info->rid.v || device->set != info->set.v ||
		device->kind != (uint8_t)info->kind)
		world_fail("device %llx is not what it was", (unsigned long long)device->name);
	device->state = (uint8_t)info->state;
	device->seen = true;
	if (info->state != DEVICE_READY || info->kind == DEVICE_SLICE)
		return;
	for (uint32_t i = 0; i < play->now.device_count; i++) {
		const struct truth_device *other = &play->now.devices[i];

		if (other != device && other->seen && other->state == DEVICE_READY &&
			other->kind != DEVICE_SLICE &&
			world_group(&play->world, other->rid) ==
				world_group(&play->world, device->rid) &&
			(other->set != device->set || other->rid == device->rid))
			world_fail("O: function %u and function %u are in use by different sets",
				other->rid, device->rid);
	}
}

static void compare_devices(struct play *play)
{
	struct device_info info;
	uint64_t cursor = 0;

	for (uint32_t i = 0; i < play->now.device_count; i++)
		play->now.devices[i].seen = false;
	while (broker_device_next(
		play->world.broker, &play->world.admin, (struct set_id){0}, &cursor, &info))
		compare_device(play, &info);
	for (uint32_t i = 0; i < play->now.device_count; i++) {
		struct truth_device *device = &play->now.devices[i];

		if (device->seen)
			continue;
		/* what is tainted goes when its function is registered anew */
		if (!device->going && !device->lost && !device->interrupted &&
			device->state != DEVICE_TAINTED)
			world_fail("K: device %llx is gone", (unsigned long long)device->name);
		truth_device_drop(&play->now, device);
		i--;
	}
}

/* ------------------------------------------------------------------ bindings */

static bool bound_is_known(struct play *play, const struct binding_info *info)
{
	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		const struct truth_bound *bound = &play->now.bound[i];

		if (bound->host == info->host.v && bound->device == info->device.v &&
			bound->set == info->set.v)
			return true;
	}
	if (!info->has_pasid || !play_set_lives(play, info->set.v))
		return true;
	return truth_number(&play->now, info->host.v)->doubt ||
	       truth_ops_of(&play->now, info->host.v);
}

/* What stands there is open until its outcome is told. */
static bool is_being_replaced(const struct play *play, const struct truth_bound *bound)
{
	for (uint32_t i = 0; i < play->now.op_count; i++) {
		const struct truth_op *op = &play->now.ops[i];

		if (op->kind == STEP_REPLACE && op->host == bound->host && op->set == bound->set)
			return true;
	}
	return false;
}

static void compare_entry(struct play *play, const struct truth_bound *bound)
{
	const struct model_entry *entry = world_entry(
		&play->world, world_group(&play->world, bound->rid), bound->host != 0, bound->host);

	if (is_being_replaced(play, bound))
		return;
	if (!entry || entry->owner != bound->set)
		world_fail(
			"%u is bound on function %u, and is not attached", bound->host, bound->rid);
	if (memcmp(&entry->table, &bound->table, sizeof(bound->table)) != 0)
		world_fail("%u has another table on function %u than was told", bound->host,
			bound->rid);
}

static void compare_bound(struct play *play)
{
	struct binding_info info;
	uint32_t wanted = 0, found = 0;
	uint64_t cursor = 0;

	while (broker_binding_next(
		play->world.broker, &play->world.admin, (struct set_id){0}, &cursor, &info)) {
		const struct truth_bound *bound;

		/* those of scope rids are looked at where they stand */
		if (info.state != BINDING_BOUND || (info.has_pasid && !world_knows(info.host.v)))
			continue;
		if (!bound_is_known(play, &info))
			world_fail("%u is bound on function %u, and nobody was told", info.host.v,
				info.rid.v);
		bound = truth_bound(&play->now, info.host.v, info.rid.v);
		found += bound && !bound->leaving;
	}
	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		const struct truth_bound *bound = &play->now.bound[i];

		if (bound->leaving)
			continue;
		wanted++;
		compare_entry(play, bound);
	}
	if (found != wanted)
		world_fail("K: %u of %u bindings that were told are there", found, wanted);
}

/*
 * V: others were promised nothing of what is reserved, and all of it is there, but for what they
 * were promised before it was reserved: so much is owed, and nothing is left to be promised.
 */
static void compare_reserved(struct play *play)
{
	const unsigned first = truth_promised_first(&play->now, true);
	const unsigned reserved = play->world.reservation.pasids;
	const unsigned wanted = first < reserved ? reserved - first : 0;
	const unsigned live = truth_promised_first(&play->now, false);
	const struct account *promised =
		limits_account(play->world.limits, LIMITS_NO_USER, RESOURCE_PROMISED);
	struct reservation_info info = {.missing = 0};
	uint64_t cursor = 0;

	while (broker_reservation_next(play->world.broker, &play->world.admin, &cursor, &info)) {
		if (info.account.current + info.aside + info.missing != reserved ||
			(info.missing && promised->current != WORLD_CAPACITY) ||
			info.account.current < (live < reserved ? live : reserved))
			world_fail("V: of %u reserved numbers %u are promised and %u set aside",
				reserved, info.account.current, info.aside);
	}
	if (info.missing && !play->world.owing)
		world_fail("V: %u reserved numbers are missing", info.missing);
	play->world.owing = info.missing != 0;
	if (!info.missing && truth_promised(&play->now, 0) + wanted > WORLD_CAPACITY)
		world_fail("V: of %u reserved numbers %u are promised, and others have the rest",
			reserved, first);
}

void play_compare_sets(struct play *play)
{
	struct broker_status status;

	for (uint32_t i = 0; i < play->now.set_count; i++) {
		if (play->now.sets[i].life != TRUTH_GONE)
			compare_set(play, &play->now.sets[i]);
	}
	compare_devices(play);
	compare_bound(play);
	compare_reserved(play);
	broker_status(play->world.broker, &status);
	if (status.pasids.current != truth_used(&play->now, 0))
		world_fail("Q: %u numbers of the host are said to be out, %u are",
			status.pasids.current, truth_used(&play->now, 0));
	if (status.unconfirmed != play->now.unconfirmed)
		world_fail("grants are%s blocked", status.unconfirmed ? "" : " not");
}
