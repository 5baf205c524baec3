/* SPDX-License-Identifier: MIT */
/*
 * Attaching and detaching: what is asked for.
 */
#include "play.h"

static void table_choose(struct play *play, unsigned index, struct hw_table *table)
{
	uint32_t choice = play->step->arg[index];

	*table = (struct hw_table){
		.kind = choice % 4 ? HW_TABLE_SPACE : HW_TABLE_VTD_S1,
		.parent_kind = choice % 3 ? HW_TABLE_SPACE : HW_TABLE_HWPT,
		.id = choice / 16 % 2,
	};
}

/* A guest's stream table entry; some are wider than their device, some take another's stream. */
static void entry_choose(struct play *play, unsigned index, uint64_t device, struct hw_table *table)
{
	const uint32_t choice = play->step->arg[index];
	const struct truth_device *known = truth_device(&play->now, device);

	*table = (struct hw_table){
		.kind = HW_TABLE_SMMUV3,
		.parent_kind = choice / 4 % 2 ? HW_TABLE_SPACE : HW_TABLE_HWPT,
		.id = choice / 32 % 8 == 0,
		.ste = {(uint64_t)(choice % 16 == 5 ? 12 : 0) << 59 | choice << 6 | 5 << 1 | 1,
			choice / 32},
		.stream = choice % 4 && known ? known->rid : choice / 32 % 4,
	};
}

/* What goes under a RID, mostly of the kind that the set takes. */
static void rid_table_choose(
	struct play *play, const struct asker *asker, uint64_t device, struct hw_table *table)
{
	const bool owned = asker->set && asker->set->mode == SET_GUEST_OWNED;

	if (owned != (play->step->arg[7] % 8 == 0))
		entry_choose(play, 6, device, table);
	else
		table_choose(play, 6, table);
}

static enum reason devices_wanted(
	struct play *play, const struct asker *asker, const uint64_t *names, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct truth_device *device = truth_device(&play->now, names[i]);

		if (!device || device->set != asker->set->name)
			return REASON_NO_DEVICE;
	}
	return REASON_NONE;
}

static enum reason bind_wanted(struct play *play, const struct asker *asker, bool bind,
	const uint32_t *host, const uint64_t *names, uint32_t count)
{
	enum reason wanted = play_gate(asker);

	if (wanted == REASON_NONE && bind && play->now.unconfirmed)
		wanted = REASON_UNCONFIRMED;
	if (wanted == REASON_NONE && host)
		wanted = play_resolve(play, asker, *host);
	if (wanted == REASON_NONE)
		wanted = devices_wanted(play, asker, names, count);
	return wanted;
}

static struct truth_op *under_way(struct play *play, const struct asker *asker, uint32_t host,
	const uint64_t *names, uint32_t count)
{
	struct truth_op *op =
		truth_op_new(&play->now, play->cookies, (enum step_kind)play->step->kind);

	op->set = asker->set->name;
	op->host = host;
	op->count = (uint8_t)count;
	for (uint32_t i = 0; i < count; i++)
		op->devices[i] = names[i];
	play_say(play, ", as %llu", (unsigned long long)play->cookies);
	return op;
}

/* What was asked to be detached may be gone at any time from now. */
static void leaving(struct play *play, uint32_t host, const uint64_t *names, uint32_t count)
{
	for (uint32_t i = 0; i < play->now.bound_count; i++) {
		struct truth_bound *bound = &play->now.bound[i];

		if (bound->host != host)
			continue;
		for (uint32_t k = 0; k < count; k++) {
			const struct truth_device *device = truth_device(&play->now, names[k]);

			if (device && world_group(&play->world, device->rid) ==
					      world_group(&play->world, bound->rid))
				bound->leaving = true;
		}
		bound->leaving |= host && count == 0;
	}
}

static bool is_bound(const struct truth *truth, uint32_t host)
{
	return truth_bound_of(truth, host);
}

static void do_bind(struct play *play)
{
	uint32_t count = play_arg(play, 2, 6) < 3 ? 1 : 2 + play_arg(play, 2, 2), host;
	struct bind_pair pairs[3] = {{{0}, {0}}};
	uint64_t names[3] = {0};
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, true, true, &asker);
	host = play_pick_number(play, &asker, play->step->arg[1]);
	play_say(play, "%s binds %u on", asker.name, host);
	for (uint32_t i = 0; i < count; i++) {
		/* another one each, as far as there are */
		names[i] = play_pick_device(play, &asker, (uint16_t)(play->step->arg[3] + 8 * i));
		pairs[i].device.v = names[i];
		table_choose(play, 6, &pairs[i].table);
		play_say(play, " %llx", (unsigned long long)names[i]);
	}
	table_choose(play, 7, &pairs[0].table);
	wanted = bind_wanted(play, &asker, true, &host, names, count);
	r = broker_bind(play->world.broker, &asker.actor, asker.id,
		(struct pasid_ref){.number = host}, pairs, count, ++play->cookies,
		&play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r == 0)
		(void)under_way(play, &asker, host, names, count);
}

static void do_unbind(struct play *play)
{
	uint32_t count = play_arg(play, 2, 3), host;
	struct device_id devices[2];
	uint64_t names[2] = {0};
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, true, true, &asker);
	host = play_pick_such(play, &asker, play->step->arg[1], is_bound);
	play_say(play, "%s unbinds %u%s", asker.name, host, count ? " from" : "");
	for (uint32_t i = 0; i < count; i++) {
		names[i] = play_pick_device(play, &asker, play->step->arg[3 + i]);
		devices[i].v = names[i];
		play_say(play, " %llx", (unsigned long long)names[i]);
	}
	wanted = bind_wanted(play, &asker, false, &host, names, count);
	r = broker_unbind(play->world.broker, &asker.actor, asker.id,
		(struct pasid_ref){.number = host}, devices, count, ++play->cookies,
		&play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r)
		return;
	(void)under_way(play, &asker, host, names, count);
	leaving(play, host, names, count);
}

static void do_replace(struct play *play)
{
	bool rid = play_arg(play, 2, 8) == 0;
	struct pasid_ref ref = {0};
	struct bind_pair pair;
	struct asker asker;
	enum reason wanted;
	int r;

	play_asker_with(play, !rid, true, &asker);
	ref.number = rid ? 0 : play_pick_such(play, &asker, play->step->arg[1], is_bound);
	pair.device.v = play_pick_device(play, &asker, play->step->arg[3]);
	if (rid)
		rid_table_choose(play, &asker, pair.device.v, &pair.table);
	else
		table_choose(play, 6, &pair.table);
	play_say(play, "%s replaces the table of %u on %llx", asker.name, ref.number,
		(unsigned long long)pair.device.v);
	wanted = bind_wanted(play, &asker, true, rid ? NULL : &ref.number, &pair.device.v, 1);
	r = broker_replace(play->world.broker, &asker.actor, asker.id, rid ? NULL : &ref, &pair,
		++play->cookies, &play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r == 0)
		under_way(play, &asker, ref.number, &pair.device.v, 1)->table = pair.table;
}

static void do_rid(struct play *play)
{
	bool attach = play->step->kind == STEP_RID_ATTACH;
	struct bind_pair pair;
	struct asker asker;
	enum reason wanted;
	uint64_t name;
	int r;

	play_asker_with(play, false, true, &asker);
	name = play_pick_device(play, &asker, play->step->arg[1]);
	pair.device.v = name;
	rid_table_choose(play, &asker, name, &pair.table);
	wanted = bind_wanted(play, &asker, attach, NULL, &name, 1);
	play_say(play, "%s %s the RID of device %llx", asker.name, attach ? "attaches" : "detaches",
		(unsigned long long)name);
	if (attach)
		r = broker_rid_attach(play->world.broker, &asker.actor, asker.id, &pair,
			++play->cookies, &play->world.error);
	else
		r = broker_rid_detach(play->world.broker, &asker.actor, asker.id, pair.device,
			++play->cookies, &play->world.error);
	play_expect_or_load(play, r, wanted);
	if (r)
		return;
	(void)under_way(play, &asker, 0, &name, 1);
	if (!attach)
		leaving(play, 0, &name, 1);
}

void play_bind_step(struct play *play)
{
	switch ((int)play->step->kind) {
	case STEP_BIND:
		do_bind(play);
		break;
	case STEP_UNBIND:
		do_unbind(play);
		break;
	case STEP_REPLACE:
		do_replace(play);
		break;
	case STEP_CLAIM_BIND:
		play_claim_bind(play);
		break;
	case STEP_CLAIM_UNBIND:
		play_claim_unbind(play);
		break;
	default:
		do_rid(play);
		break;
	}
}
