/* SPDX-License-Identifier: MIT */
/*
 * Property test: random histories of three VMMs and an admin against hardware that answers late, in
 * any order between lanes, fails, hangs and dies. After every step the invariants are recounted
 * from the records, and the model of the hardware checks by itself that no entry is written twice
 * or removed by another set. PASIDD_SEED repeats one history; PASIDD_TEST_ROUNDS multiplies their
 * number.
 */
#include "fixture.h"
#include "grant_view.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTORS        3
#define STEPS         400
#define HISTORIES     75
#define RECOUNT_EVERY 7

/* What happened in all histories. */
struct reached {
	struct metrics metrics;
	uint64_t hits[RESOURCE_COUNT];
	uint64_t restarts;
};

struct history {
	struct fixture f;
	struct reached *reached;
	struct grant_view before;
	unsigned settles;  /* by then */
	uint64_t standing; /* decides whose workers outlive the daemon */
	uint64_t random;
	uint64_t seed;
	unsigned step;
	struct actor actors[ACTORS];
	struct policy_peer second; /* another user, whose the last actor is */
	uint64_t sessions;
	uint64_t cookies;
	uint32_t seen[256]; /* numbers that somebody had; tried by everybody */
	unsigned seen_count;
};

static uint32_t rnd(struct history *h, uint32_t n)
{
	h->random ^= h->random << 13;
	h->random ^= h->random >> 7;
	h->random ^= h->random << 17;
	return (uint32_t)(h->random >> 11) % n;
}

static struct actor *pick_actor(struct history *h)
{
	return &h->actors[rnd(h, ACTORS)];
}

/* One of the actor's own, or one that anybody had. */
static struct hpasid pick_number(struct history *h, const struct actor *actor)
{
	struct grant_info info = {.host = {2000}};
	uint64_t cursor = 0;
	uint32_t n = rnd(h, 12);

	if (rnd(h, 3) == 0 && h->seen_count)
		return (struct hpasid){h->seen[rnd(h, h->seen_count)]};
	while (broker_grant_next(
		h->f.broker, actor, (struct set_id){0}, rnd(h, 4) == 0, &cursor, &info)) {
		if (n-- == 0)
			break;
	}
	return info.host;
}

/* One of the actor's own, or any of the host. */
static struct device_id pick_device(struct history *h, const struct actor *actor)
{
	const struct actor *viewer = rnd(h, 4) ? actor : &h->f.admin;
	struct device_info info;
	struct device_id found = {0};
	uint64_t cursor = 0;
	uint32_t n = rnd(h, 8);

	while (broker_device_next(h->f.broker, viewer, (struct set_id){0}, &cursor, &info)) {
		found = info.id;
		if (n-- == 0)
			break;
	}
	return found;
}

/* Invariant O: nothing that an actor without a claim does may succeed. */
static bool owns_number(struct history *h, const struct actor *actor, struct hpasid host)
{
	struct grant_info info;

	ck_assert_int_eq(broker_host_find(h->f.broker, &h->f.admin, host, &info, &h->f.error), 0);
	return info.state != GRANT_IDLE && actor->set.v && info.set.v == actor->set.v;
}

static void do_create(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct set_create create = {.mode = rnd(h, 4) ? SET_TRANSLATED : SET_IDENTITY,
		.has_quota = true,
		.quota = rnd(h, 10) ? 1 + rnd(h, 6) : 0};
	char name[32];

	if (actor->set.v)
		return;
	(void)snprintf(name, sizeof(name), "vm%u", (unsigned)(actor - h->actors));
	create.name = name;
	actor->session = ++h->sessions;
	(void)broker_set_create(h->f.broker, actor, &create, &actor->set, &h->f.error);
}

static void do_allocate(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct allocate allocate = {.min = 1020, .max = 1060, .count = 1 + rnd(h, 3)};
	struct hpasid numbers[4];

	allocate.consecutive = allocate.count != 3 && rnd(h, 3) == 0;
	allocate.has_guest = rnd(h, 2);
	allocate.guest.v = 1 + rnd(h, 6);
	if (broker_allocate(h->f.broker, actor, &allocate, numbers, &h->f.error))
		return;
	ck_assert(actor->set.v);
	for (uint32_t i = 0; i < allocate.count; i++)
		h->seen[h->seen_count++ % 256] = numbers[i].v;
	if (h->seen_count > 256)
		h->seen_count = 256;
}

static void do_free(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct hpasid host = pick_number(h, actor);
	bool own = owns_number(h, actor, host);

	if (fixture_free(&h->f, actor, host) == 0)
		ck_assert(own);
	else
		ck_assert(!own || h->f.error.reason == REASON_SET_EMPTYING);
}

static void do_guest(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct gpasid guest = {1 + rnd(h, 6)};
	struct hpasid host = pick_number(h, actor);

	if (rnd(h, 3) == 0)
		(void)broker_guest_detach(
			h->f.broker, actor, (struct set_id){0}, guest, &h->f.error);
	else if (broker_guest_attach(
			 h->f.broker, actor, (struct set_id){0}, host, guest, &h->f.error) == 0)
		ck_assert(owns_number(h, actor, host));
}

static void do_bind(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct bind_pair pairs[3] = {0};
	struct hpasid host = pick_number(h, actor);
	size_t count = 1 + rnd(h, 3);

	for (size_t i = 0; i < count; i++) {
		pairs[i].device = pick_device(h, actor);
		pairs[i].table.kind = rnd(h, 4) ? HW_TABLE_SPACE : HW_TABLE_VTD_S1;
		pairs[i].table.parent_kind = rnd(h, 2) ? HW_TABLE_SPACE : HW_TABLE_HWPT;
		pairs[i].table.id = rnd(h, 2);
	}
	if (broker_bind(h->f.broker, actor, (struct set_id){0},
		    (struct pasid_ref){.number = host.v}, pairs, count, ++h->cookies,
		    &h->f.error) == 0)
		ck_assert(owns_number(h, actor, host));
}

static void do_unbind(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct device_id device = pick_device(h, actor);

	(void)broker_unbind(h->f.broker, actor, (struct set_id){0},
		(struct pasid_ref){.number = pick_number(h, actor).v}, &device, rnd(h, 2),
		++h->cookies, &h->f.error);
}

static void do_rid(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct bind_pair pair = {pick_device(h, actor), {.kind = HW_TABLE_SPACE}};

	if (rnd(h, 2))
		(void)broker_rid_attach(
			h->f.broker, actor, (struct set_id){0}, &pair, ++h->cookies, &h->f.error);
	else
		(void)broker_rid_detach(h->f.broker, actor, (struct set_id){0}, pair.device,
			++h->cookies, &h->f.error);
}

static void do_device(struct history *h)
{
	struct actor *actor = pick_actor(h);
	uint32_t rid = rnd(h, 5);
	/* mostly the VMM's own iommufd, sometimes another's */
	int fds[] = {rnd(h, 8) ? 10 + (int)(actor - h->actors) : 10 + (int)rnd(h, ACTORS),
		MODEL_DEVICE_FD(rid)};
	struct device_id id;

	switch (rnd(h, 6)) {
	case 0:
	case 1:
	case 2:
		(void)broker_device_add(h->f.broker, actor, (struct set_id){0}, fds, 2, NULL,
			++h->cookies, &h->f.error);
		break;
	case 3:
		(void)broker_device_share(
			h->f.broker, &h->f.admin, (struct rid){5}, ++h->cookies, &h->f.error);
		break;
	case 4:
		(void)broker_device_slice(h->f.broker, actor, (struct set_id){0},
			(struct device_id){0}, (struct rid){5}, &id, &h->f.error);
		break;
	default:
		(void)broker_device_remove(h->f.broker, rnd(h, 4) ? actor : &h->f.admin,
			(struct set_id){0}, pick_device(h, actor), ++h->cookies, &h->f.error);
	}
}

static void do_map(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct memory memory = {
		.device = pick_device(h, actor), .space = rnd(h, 3), .length = 4096};

	if (rnd(h, 3))
		(void)broker_memory_map(h->f.broker, actor, &memory, 90, ++h->cookies, &h->f.error);
	else
		(void)broker_memory_unmap(h->f.broker, actor, &memory, ++h->cookies, &h->f.error);
}

static void do_hold(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct hpasid host = pick_number(h, actor);

	if (rnd(h, 3) == 0)
		(void)broker_hold(h->f.broker, actor, (struct set_id){0}, host, &h->f.error);
	else
		(void)broker_release(h->f.broker, actor, (struct set_id){0}, host, &h->f.error);
}

static void do_end(struct history *h)
{
	struct actor *actor = pick_actor(h);

	if (rnd(h, 6) || !actor->set.v)
		return;
	if (rnd(h, 5) == 0) {
		broker_set_empty(h->f.broker, actor->set);
		return;
	}
	if (rnd(h, 2))
		broker_session_end(h->f.broker, actor->session);
	else if (broker_set_destroy(h->f.broker, actor, (struct set_id){0}, rnd(h, 2), ++h->cookies,
			 &h->f.error))
		return;
	actor->set.v = 0;
}

static void do_admin(struct history *h)
{
	uint32_t released;

	if (rnd(h, 3))
		return;
	if (rnd(h, 2))
		(void)broker_quarantine_end(
			h->f.broker, &h->f.admin, pick_number(h, pick_actor(h)), &h->f.error);
	else
		(void)broker_device_drained(h->f.broker, &h->f.admin, pick_device(h, &h->f.admin),
			&released, &h->f.error);
}

static void do_trouble(struct history *h)
{
	struct model *model = &h->f.model;
	static const enum hw_kind kinds[] = {HW_IDENTIFY, HW_OPEN, HW_CLOSE, HW_ATTACH, HW_DETACH};

	switch (rnd(h, 12)) {
	case 0:
		model->fail_kind = kinds[rnd(h, 5)];
		model->fail_status = STATUS_HARDWARE;
		model->fail_skip = rnd(h, 3);
		model->fail_times = 1 + rnd(h, 2);
		break;
	case 1:
		model->hung_lane = model->count ? model->ops[rnd(h, model->count)].lane : 0;
		break;
	case 2:
		if (model->count)
			model_lose_lane(&h->f, model->ops[rnd(h, model->count)].lane);
		break;
	case 3:
		model->submit_status = -11;
		break;
	default:
		model->hung_lane = 0;
		model->submit_status = 0;
	}
}

/* A number's whole life on the shared device, if nothing is in the way: it waits to be drained. */
static void do_share(struct history *h)
{
	struct actor *actor = pick_actor(h);
	struct bind_pair pair = {.table = {.kind = HW_TABLE_SPACE}};
	struct hpasid host = pick_number(h, actor);
	struct pasid_ref ref = {.number = host.v};

	(void)broker_device_slice(h->f.broker, actor, (struct set_id){0}, (struct device_id){0},
		(struct rid){5}, &pair.device, &h->f.error);
	if (!pair.device.v)
		pair.device = pick_device(h, actor);
	(void)broker_bind(
		h->f.broker, actor, (struct set_id){0}, ref, &pair, 1, ++h->cookies, &h->f.error);
	(void)broker_unbind(
		h->f.broker, actor, (struct set_id){0}, ref, NULL, 0, ++h->cookies, &h->f.error);
	for (uint32_t n = rnd(h, 12); n > 0; n--)
		(void)model_step(&h->f, rnd(h, 8));
	(void)fixture_free(&h->f, actor, host);
	h->f.now_ms += 1000;
	broker_tick(h->f.broker);
}

static void do_time(struct history *h)
{
	h->f.now_ms += rnd(h, 600);
	broker_tick(h->f.broker);
}

static void do_hardware(struct history *h)
{
	struct outcome outcome;

	for (uint32_t n = rnd(h, 4); n > 0; n--)
		(void)model_step(&h->f, rnd(h, 8));
	while (rnd(h, 2) && broker_next_outcome(h->f.broker, &outcome))
		ck_assert(outcome.status >= 0);
}

/* D and U against the hardware itself: an entry stands under a number that its owner still has. */
static void check_entries(struct history *h)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &h->f.model.entries[i];
		struct grant_info info;

		if (!entry->used || !entry->has_pasid)
			continue;
		ck_assert_int_eq(broker_host_find(h->f.broker, &h->f.admin,
					 (struct hpasid){entry->pasid}, &info, &h->f.error),
			0);
		if (info.state == GRANT_IDLE || info.set.v != entry->owner)
			ck_abort_msg(
				"seed %llu step %u: PASID %u is attached for a set that does "
				"not have it",
				(unsigned long long)h->seed, h->step, entry->pasid);
	}
}

/* ------------------------------------------------------------------ the daemon's death */

/* C: what was acknowledged is there. */
static void history_compare(struct history *h)
{
	struct error error = {0};

	if (!grant_view_kept(&h->before, &h->f, &error))
		ck_abort_msg(
			"seed %llu step %u: %s", (unsigned long long)h->seed, h->step, error.text);
}

static bool history_stands(void *ctx, uint64_t lane)
{
	const struct history *h = ctx;

	return (lane * 0x9e3779b97f4a7c15u ^ h->standing) >> 62;
}

/* Sets that came or went with what is taken back now are what their actors know again. */
static void history_recall_sets(struct history *h)
{
	for (unsigned i = 0; i < ACTORS; i++) {
		struct set_id set = {0};
		struct set_info info;
		char name[32];

		(void)snprintf(name, sizeof(name), "vm%u", i);
		h->actors[i].set.v = 0;
		if (broker_set_by_name(h->f.broker, &h->f.admin, name, &set, &h->f.error) ||
			broker_set_get(h->f.broker, &h->f.admin, set, &info, &h->f.error))
			continue;
		if (!info.dying || info.emptying)
			h->actors[i].set = set;
	}
}

/* What this run of the daemon did, and the refusals at any level that outlives the sets. */
static void history_note(struct history *h)
{
	struct broker_status status;
	uint32_t cursor = 0, user;
	uint64_t *hits = h->reached->hits;

	broker_status(h->f.broker, &status);
	for (enum metric m = 0; m < METRIC_COUNT; m++)
		h->reached->metrics.value[m] += status.metrics.value[m];
	for (unsigned i = 0; i < RESOURCE_COUNT; i++)
		hits[i] += limits_account(h->f.limits, LIMITS_NO_USER, (enum resource)i)->hits;
	while (limits_next_user(h->f.limits, &cursor, &user)) {
		for (unsigned i = 0; i < RESOURCE_COUNT; i++)
			hits[i] += limits_account(h->f.limits, user, (enum resource)i)->hits;
	}
}

static void history_restart(struct history *h)
{
	const bool told = h->f.crash.settles == h->settles;

	h->standing = (uint64_t)rnd(h, 1u << 16) << 48;
	h->f.model.submit_status = 0;
	history_note(h);
	fixture_restart(&h->f, history_stands, h);
	h->reached->restarts++;
	if (told)
		history_compare(h);
	history_recall_sets(h);
}

static void history_remember(struct history *h)
{
	fixture_settle(&h->f);
	h->settles = h->f.crash.settles;
	grant_view_take(&h->before, &h->f);
}

static void history_step(struct history *h)
{
	static void (*const moves[])(struct history *) = {do_create, do_allocate, do_allocate,
		do_free, do_guest, do_bind, do_bind, do_unbind, do_rid, do_device, do_device,
		do_map, do_share, do_hold, do_end, do_admin, do_trouble, do_time, do_hardware,
		do_hardware, do_hardware};
	struct error error = {0};

	history_remember(h);
	if (rnd(h, 40) == 0)
		h->f.crash.countdown = 1 + rnd(h, 12);
	if (setjmp(h->f.crash.die) != 0 || rnd(h, 150) == 0) {
		history_restart(h);
		fixture_settle(&h->f);
	} else {
		moves[rnd(h, ARRAY_SIZE(moves))](h);
	}
	h->f.crash.countdown = 0;
	check_entries(h);
	if (h->step % RECOUNT_EVERY && h->step + 1 < STEPS)
		return;
	if (broker_recount(h->f.broker, &error))
		ck_abort_msg(
			"seed %llu step %u: %s", (unsigned long long)h->seed, h->step, error.text);
	check_entries(h);
}

/* Every limit is hit in some histories; in the others there is room, and more happens. */
static void history_limits(struct history *h)
{
	struct limit_levels *of = h->f.limits_config.of;

	of[RESOURCE_OPERATIONS].host = 12;
	of[RESOURCE_PASIDS].user = 20;
	if (h->seed % 3)
		return;
	of[RESOURCE_SETS].user = 2;
	of[RESOURCE_PROMISED].user = 9;
	of[RESOURCE_PASIDS].user = 7;
	of[RESOURCE_OPERATIONS] = (struct limit_levels){6, 9, 10};
	of[RESOURCE_DESCRIPTORS] = (struct limit_levels){5, 7, 8};
	of[RESOURCE_DEVICES] = (struct limit_levels){3, 4, 0};
	of[RESOURCE_PAGE_TABLES] = (struct limit_levels){2, 2, 3};
	of[RESOURCE_BINDINGS] = (struct limit_levels){3, 3, 0};
	of[RESOURCE_MAP_PAGES] = (struct limit_levels){0, 3, 0};
}

static void history_run(uint64_t seed, struct reached *reached)
{
	struct history *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	fixture_config(&h->f);
	h->f.config.capacity = 24;
	h->seed = seed;
	h->reached = reached;
	history_limits(h);
	h->f.config.policy = seed % 2 ? BROKER_CYCLIC : BROKER_LOWEST;
	h->f.model.group_of[1] = h->f.model.group_of[0]; /* one group of two functions */
	h->f.model.width_of[2] = 11;
	h->f.model.width_of[3] = 0;
	fixture_open(&h->f);
	h->random = seed * 0x9e3779b97f4a7c15u + 1;
	h->sessions = 100;
	for (unsigned i = 0; i < ACTORS; i++)
		h->actors[i] = (struct actor){ROLE_VMM, 0, {0}, &h->f.peer};
	h->second.uid = 1001;
	h->actors[ACTORS - 1].peer = &h->second;
	(void)fixture_share(&h->f, 5);
	for (h->step = 0; h->step < STEPS; h->step++)
		history_step(h);
	history_note(h);
	fixture_close(&h->f);
	free(h);
}

/* The histories are worth something only if everything happens in them. */
static void check_reached(const struct reached *reached)
{
	static const enum resource limited[] = {RESOURCE_SETS, RESOURCE_PROMISED, RESOURCE_PASIDS,
		RESOURCE_OPERATIONS, RESOURCE_DESCRIPTORS, RESOURCE_DEVICES, RESOURCE_PAGE_TABLES,
		RESOURCE_BINDINGS, RESOURCE_MAP_PAGES};

	for (enum metric m = 0; m < METRIC_COUNT; m++) {
		if (m != METRIC_REFUSED && reached->metrics.value[m] == 0)
			ck_abort_msg("no history had any %s", metric_text(m));
	}
	ck_assert_uint_gt(reached->restarts, 0);
	for (size_t i = 0; i < ARRAY_SIZE(limited); i++) {
		if (reached->hits[limited[i]] == 0)
			ck_abort_msg("no history met the limit of %s", resource_text(limited[i]));
	}
}

START_TEST(invariants_hold_in_random_histories)
	{
		const char *one = getenv("PASIDD_SEED"), *rounds = getenv("PASIDD_TEST_ROUNDS");
		uint64_t first = one ? strtoull(one, NULL, 10) : 1;
		uint64_t count = one ? 1 : HISTORIES * (rounds ? strtoull(rounds, NULL, 10) : 1);
		struct reached reached = {.hits = {0}};

		for (uint64_t seed = first; seed < first + count; seed++)
			history_run(seed, &reached);
		if (!one)
			check_reached(&reached);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {invariants_hold_in_random_histories};

	return suite_run(
		"broker, random histories", "properties", tests, ARRAY_SIZE(tests), NULL, NULL);
}
