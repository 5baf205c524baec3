/* SPDX-License-Identifier: MIT */
/*
 * Random histories of numbers of scope rids, compared with a plain table of whose each number is in
 * each group. Three sets with a function each of their own and slices of a shared one; global
 * numbers in between; VMs die, and the daemon does between any two requests.
 */
#include "fixture.h"
#include "random.h"
#include "suite.h"

#include <string.h>

#define SETS    3u
#define NUMBERS 12u /* 1 to this one; above reserved_last they can be global, too */
#define GROUPS  4u  /* of the sets' own functions, then the shared one */
#define SHARED  5u
#define STEPS   400u

static struct fixture f;
static struct random rng;

struct truth_number {
	enum grant_state state; /* IDLE, ACTIVE, QUARANTINED */
	bool global, undrained;
	uint32_t groups; /* bits */
	uint64_t cooled;
};

static struct truth_number truth[SETS][NUMBERS + 1];
static struct actor vms[SETS];
static struct device_id own_device[SETS], slice[SETS];

static uint32_t group_of(uint32_t set, bool shared)
{
	return shared ? SETS : set;
}

static void start_vm(uint32_t set, uint64_t session)
{
	static const char *const names[SETS] = {"a", "b", "c"};
	char name[16];

	(void)snprintf(name, sizeof(name), "%s%llu", names[set], (unsigned long long)session);
	vms[set] = fixture_vmm(&f, session, name, SET_TRANSLATED, 30);
	own_device[set] = fixture_add(&f, &vms[set], set, 10 + (int)set);
	slice[set] = fixture_slice(&f, &vms[set], SHARED);
	memset(truth[set], 0, sizeof(truth[set]));
}

static void setup(void)
{
	fixture_config(&f);
	f.config.reserved_last = 4;
	fixture_open(&f);
	(void)fixture_share(&f, SHARED);
	for (uint32_t set = 0; set < SETS; set++)
		start_vm(set, 100 + set);
}

static void teardown(void)
{
	fixture_leave(&f);
}

/* ------------------------------------------------------------------ the plain truth */

static bool is_out(const struct truth_number *number)
{
	return number->state == GRANT_ACTIVE || number->state == GRANT_QUARANTINED;
}

static bool may_have(uint32_t set, uint32_t n, bool global, uint32_t groups)
{
	if (global && n <= f.config.reserved_last)
		return false;
	for (uint32_t other = 0; other < SETS; other++) {
		const struct truth_number *number = &truth[other][n];

		if (is_out(number) &&
			(global || number->global || other == set || (number->groups & groups)))
			return false;
	}
	return true;
}

/* It comes back to its own set, in scope global, before the shared device is drained. */
static bool comes_back(uint32_t set, uint32_t n, bool global)
{
	const struct truth_number *number = &truth[set][n];

	return global && number->state == GRANT_QUARANTINED && number->global &&
	       number->undrained && number->cooled <= f.now_ms;
}

static void pass_time(uint64_t ms)
{
	f.now_ms += ms;
	broker_tick(f.broker);
	for (uint32_t set = 0; set < SETS; set++)
		for (uint32_t n = 1; n <= NUMBERS; n++) {
			struct truth_number *number = &truth[set][n];

			if (number->state == GRANT_QUARANTINED && !number->undrained &&
				number->cooled <= f.now_ms)
				*number = (struct truth_number){0};
		}
}

static void compare(void)
{
	for (uint32_t set = 0; set < SETS; set++)
		for (uint32_t n = 1; n <= NUMBERS; n++) {
			const struct truth_number *number = &truth[set][n];
			struct grant_info info;
			int r = broker_host_find(f.broker, &f.admin, vms[set].set,
				(struct hpasid){n}, &info, &f.error);

			ck_assert_int_eq(r, 0);
			ck_assert_uint_eq(info.state == GRANT_IDLE, !is_out(number));
			if (!is_out(number))
				continue;
			ck_assert_uint_eq(info.state, number->state);
			ck_assert_uint_eq(info.scope, number->global ? SCOPE_GLOBAL : SCOPE_RIDS);
			ck_assert_uint_eq(
				info.group_count, (uint32_t)__builtin_popcount(number->groups));
		}
}

/* ------------------------------------------------------------------ steps */

static uint32_t some_devices(uint32_t set, struct device_id *devices, size_t *ret_count)
{
	const uint32_t which = random_between(&rng, 1, 3);
	uint32_t groups = 0;

	*ret_count = 0;
	if (which & 1) {
		devices[(*ret_count)++] = own_device[set];
		groups |= 1u << group_of(set, false);
	}
	if (which & 2) {
		devices[(*ret_count)++] = slice[set];
		groups |= 1u << group_of(set, true);
	}
	return groups;
}

static void step_allocate(uint32_t set)
{
	const bool global = random_chance(&rng, 25);
	const uint32_t first = random_between(&rng, 1, NUMBERS);
	const uint32_t last = random_between(&rng, first, NUMBERS);
	struct device_id devices[2];
	struct allocate a = {.min = first, .max = last, .count = 1, .devices = devices};
	uint32_t groups = some_devices(set, devices, &a.device_count);
	struct hpasid found = {0};
	bool free = false;
	int r;

	a.scope = global ? SCOPE_GLOBAL : SCOPE_RIDS;
	if (global)
		a.device_count = groups = 0;
	for (uint32_t n = first; n <= last; n++)
		free = free || may_have(set, n, global, groups) || comes_back(set, n, global);
	r = broker_allocate(f.broker, &vms[set], &a, &found, &f.error);
	ck_assert_msg((r == 0) == free, "set %u, %u to %u: %s", set, first, last, f.error.text);
	if (r)
		return;
	ck_assert_uint_ge(found.v, first);
	ck_assert_uint_le(found.v, last);
	ck_assert(may_have(set, found.v, global, groups) || comes_back(set, found.v, global));
	truth[set][found.v] = (struct truth_number){.state = GRANT_ACTIVE,
		.global = global,
		.groups = groups,
		.undrained = truth[set][found.v].undrained};
}

static void step_extend(uint32_t set, uint32_t n)
{
	struct truth_number *number = &truth[set][n];
	struct device_id devices[2];
	uint32_t added = 0, groups;
	size_t count;
	bool free = true;
	int r;

	groups = some_devices(set, devices, &count);
	for (uint32_t other = 0; other < SETS; other++)
		free = free && (other == set || !is_out(&truth[other][n]) ||
				       !(truth[other][n].groups & groups & ~number->groups));
	r = broker_extend(f.broker, &vms[set], (struct set_id){0}, (struct pasid_ref){false, n},
		devices, count, &added, &f.error);
	if (number->state != GRANT_ACTIVE) {
		ck_assert_int_ne(r, 0);
		return;
	}
	ck_assert_msg((r == 0) == (number->global || free), "%s", f.error.text);
	if (r == 0 && !number->global)
		number->groups |= groups;
}

static void step_bind(uint32_t set, uint32_t n)
{
	struct truth_number *number = &truth[set][n];
	const bool shared = random_chance(&rng, 50);
	const bool allowed = number->state == GRANT_ACTIVE &&
			     (number->global || (number->groups & 1u << group_of(set, shared)));
	const struct hpasid host = {n};

	if (number->state != GRANT_ACTIVE)
		return;
	ck_assert_int_eq(
		fixture_bind(&f, &vms[set], host, shared ? &slice[set] : &own_device[set], 1) == 0,
		allowed);
	if (!allowed)
		return;
	number->undrained = number->undrained || shared;
	ck_assert_int_eq(fixture_unbind(&f, &vms[set], host), 0);
}

static void step_free(uint32_t set, uint32_t n)
{
	struct truth_number *number = &truth[set][n];

	if (number->state != GRANT_ACTIVE)
		return;
	ck_assert_int_eq(fixture_free(&f, &vms[set], (struct hpasid){n}), 0);
	number->state = GRANT_QUARANTINED;
	number->cooled = f.now_ms + f.config.cooling_ms;
}

static void step_drained(void)
{
	struct device_info info;
	uint64_t cursor = 0;
	uint32_t released;

	while (broker_device_next(f.broker, &f.admin, (struct set_id){0}, &cursor, &info))
		if (info.kind == DEVICE_SHARED)
			ck_assert_int_eq(broker_device_drained(
						 f.broker, &f.admin, info.id, &released, &f.error),
				0);
	for (uint32_t set = 0; set < SETS; set++)
		for (uint32_t n = 1; n <= NUMBERS; n++)
			truth[set][n].undrained = false;
	pass_time(0);
}

/* What it had rests, charged to a set that is gone; nobody has it before all of that is over. */
static void step_die(uint32_t set, uint64_t session)
{
	broker_session_end(f.broker, vms[set].session);
	model_run(&f);
	step_drained();
	pass_time(f.config.cooling_ms);
	for (uint32_t n = 1; n <= NUMBERS; n++)
		truth[set][n] = (struct truth_number){0};
	start_vm(set, session);
}

static void step(uint64_t i)
{
	const uint32_t set = random_below(&rng, SETS), n = random_between(&rng, 1, NUMBERS);

	switch (random_below(&rng, 12)) {
	case 0 ... 3:
		step_allocate(set);
		break;
	case 4 ... 5:
		step_extend(set, n);
		break;
	case 6 ... 7:
		step_bind(set, n);
		break;
	case 8 ... 9:
		step_free(set, n);
		break;
	case 10:
		random_chance(&rng, 80) ? pass_time(random_below(&rng, 1200)) : step_drained();
		break;
	default:
		if (random_chance(&rng, 20)) {
			step_die(set, 1000 + i);
			break;
		}
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		model_run(&f);
		pass_time(0);
	}
}

START_TEST(each_number_is_whose_it_is_in_each_table)
	{
		rng = random_begin("each_number_is_whose_it_is_in_each_table");
		for (uint32_t i = 0; i < STEPS; i++) {
			step(i);
			compare();
			fixture_recount(&f);
		}
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {each_number_is_whose_it_is_in_each_table};

	return suite_run("scope_random", "scope", tests, ARRAY_SIZE(tests), setup, teardown);
}
