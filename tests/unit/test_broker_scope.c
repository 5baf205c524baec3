/* SPDX-License-Identifier: MIT */
/* F4: numbers of scope rids, which are a set's in the tables of some devices and nowhere else. */
#include "broker_private.h"
#include "fixture.h"
#include "suite.h"

#include <string.h>

#define SHARED 5
#define OWNERS 6u

static struct fixture f;
static struct actor a, c;
static struct device_id a0, a1, c3;

static const struct set_id own = {0};

static void setup(void)
{
	fixture_config(&f);
	f.config.owners_max = OWNERS;
	f.config.policy = BROKER_LOWEST;
	f.model.group_of[2] = f.model.group_of[1]; /* functions 1 and 2 are one group */
	f.model.width_of[8] = 8;
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 40);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 40);
	a0 = fixture_add(&f, &a, 0, 10);
	a1 = fixture_add(&f, &a, 1, 10);
	c3 = fixture_add(&f, &c, 3, 11);
}

static void teardown(void)
{
	fixture_leave(&f);
}

static struct allocate scoped(const struct device_id *devices, size_t count)
{
	return (struct allocate){.max = PASID_LAST,
		.count = 1,
		.devices = devices,
		.device_count = count,
		.scope = SCOPE_RIDS};
}

static uint32_t take(const struct actor *actor, const struct allocate *allocate)
{
	struct hpasid numbers[64];
	int r = broker_allocate(f.broker, actor, allocate, numbers, &f.error);

	ck_assert_msg(r == 0, "%s", f.error.text);
	fixture_recount(&f);
	return numbers[0].v;
}

/* One number for these devices, which is that if it is not 0. */
static uint32_t take_on(
	const struct actor *actor, const struct device_id *devices, size_t count, uint32_t number)
{
	struct allocate allocate = scoped(devices, count);

	if (number)
		allocate.min = allocate.max = number;
	return take(actor, &allocate);
}

static void refused(const struct actor *actor, const struct allocate *allocate, enum reason reason)
{
	struct hpasid numbers[BROKER_ALLOCATE_MAX];

	ck_assert_int_ne(broker_allocate(f.broker, actor, allocate, numbers, &f.error), 0);
	ck_assert_msg(f.error.reason == reason, "%s", f.error.text);
	fixture_recount(&f);
}

static void not_free_on(
	const struct actor *actor, const struct device_id *devices, size_t count, uint32_t number)
{
	struct allocate allocate = scoped(devices, count);

	allocate.min = allocate.max = number;
	refused(actor, &allocate, REASON_NONE_FREE);
}

static uint32_t claims_of(const struct actor *actor)
{
	struct limit_info info;
	uint64_t cursor = 0;

	while (broker_limit_next(f.broker, &f.admin, actor->set, &cursor, &info))
		if (info.resource == RESOURCE_CLAIMS)
			return info.account.current;
	return UINT32_MAX;
}

static struct grant_info info_of(const struct actor *actor, uint32_t number)
{
	struct grant_info info;
	int r = broker_host_find(
		f.broker, &f.admin, actor->set, (struct hpasid){number}, &info, &f.error);

	ck_assert_msg(r == 0, "%s", f.error.text);
	return info;
}

/* ------------------------------------------------------------------ whose a number is */

START_TEST(one_number_is_two_sets_on_different_devices)
	{
		ck_assert_uint_eq(take_on(&a, &a0, 1, 7), 7);
		ck_assert_uint_eq(take_on(&c, &c3, 1, 7), 7);
		ck_assert_uint_eq(info_of(&a, 7).set.v, a.set.v);
		ck_assert_uint_eq(info_of(&c, 7).set.v, c.set.v);
		ck_assert_uint_eq(info_of(&a, 7).scope, SCOPE_RIDS);
		ck_assert_uint_eq(info_of(&a, 7).group_count, 1);
		ck_assert_uint_eq(info_of(&a, 7).groups[0], f.model.group_of[0]);
		ck_assert_uint_eq(claims_of(&a), 1);
	}
END_TEST

START_TEST(both_are_bound_and_gone_apart_from_each_other)
	{
		const struct hpasid seven = {7};

		(void)take_on(&a, &a0, 1, 7);
		(void)take_on(&c, &c3, 1, 7);
		ck_assert_int_eq(fixture_bind(&f, &a, seven, &a0, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &c, seven, &c3, 1), 0);
		ck_assert(model_has(&f, 0, 7) && model_has(&f, 3, 7));
		ck_assert_int_eq(fixture_unbind(&f, &a, seven), 0);
		ck_assert(!model_has(&f, 0, 7) && model_has(&f, 3, 7));
		ck_assert_int_eq(fixture_free(&f, &a, seven), 0);
		not_free_on(&a, &a0, 1, 7); /* it cools there */
		fixture_pass_second(&f);
		ck_assert_uint_eq(claims_of(&a), 0);
		ck_assert_uint_eq(take_on(&a, &a0, 1, 7), 7);
		ck_assert_uint_eq(info_of(&c, 7).bindings, 1);
	}
END_TEST

START_TEST(a_number_is_free_on_all_named_devices_at_once)
	{
		const struct device_id both[] = {a0, a1};

		(void)take_on(&a, &a0, 1, 1);
		(void)take_on(&a, &a1, 1, 2);
		/* 1 is taken in one table, 2 in the other */
		ck_assert_uint_eq(take_on(&a, both, 2, 0), 3);
		ck_assert_uint_eq(claims_of(&a), 4);
		not_free_on(&a, both, 2, 1);
		not_free_on(&a, both, 2, 2);
	}
END_TEST

START_TEST(a_set_has_a_number_once)
	{
		(void)take_on(&a, &a0, 1, 1);
		not_free_on(&a, &a1, 1, 1);
		ck_assert_uint_eq(take_on(&a, &a1, 1, 0), 2);
	}
END_TEST

START_TEST(two_devices_of_one_group_are_one_table)
	{
		const struct device_id group[] = {a1, fixture_add(&f, &a, 2, 10)};

		ck_assert_uint_eq(take_on(&a, group, 2, 9), 9);
		ck_assert_uint_eq(claims_of(&a), 1);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){9}, &group[1], 1), 0);
	}
END_TEST

START_TEST(slices_of_one_device_never_meet)
	{
		struct device_id of_a, of_c;
		const struct hpasid four = {4};

		(void)fixture_share(&f, SHARED);
		of_a = fixture_slice(&f, &a, SHARED);
		of_c = fixture_slice(&f, &c, SHARED);
		(void)take_on(&a, &of_a, 1, 4);
		not_free_on(&c, &of_c, 1, 4);
		(void)take_on(&c, &of_c, 1, 5);
		ck_assert_int_eq(fixture_bind(&f, &a, four, &of_a, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, four), 0);
		ck_assert_int_eq(fixture_free(&f, &a, four), 0);
		fixture_pass_second(&f);
		/* queued in the device perhaps: neither the one nor the other has it again by time
		 */
		not_free_on(&c, &of_c, 1, 4);
		not_free_on(&a, &of_a, 1, 4);
		(void)take_on(&c, &c3, 1, 4); /* another table */
	}
END_TEST

/* ------------------------------------------------------------------ global ones */

START_TEST(a_global_number_is_nobody_elses_anywhere)
	{
		struct hpasid global = fixture_allocate(&f, &a);

		not_free_on(&c, &c3, 1, global.v);
		not_free_on(&a, &a0, 1, global.v);
		(void)take_on(&c, &c3, 1, global.v + 1);
		/* and the other way round */
		ck_assert_uint_ne(fixture_allocate(&f, &a).v, global.v + 1);
		ck_assert_int_eq(fixture_free(&f, &a, global), 0);
		fixture_pass_second(&f);
		(void)take_on(&c, &c3, 1, global.v);
		(void)take_on(&a, &a0, 1, global.v);
	}
END_TEST

START_TEST(it_is_global_again_when_nobody_has_it)
	{
		const uint32_t number = f.config.reserved_last + 1;
		struct allocate global = {.min = number, .max = number, .count = 1};

		(void)take_on(&a, &a0, 1, number);
		(void)take_on(&c, &c3, 1, number);
		refused(&a, &global, REASON_NONE_FREE);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){number}), 0);
		fixture_pass_second(&f);
		refused(&a, &global, REASON_NONE_FREE);
		ck_assert_int_eq(fixture_free(&f, &c, (struct hpasid){number}), 0);
		fixture_pass_second(&f);
		ck_assert_uint_eq(take(&a, &global), number);
	}
END_TEST

START_TEST(the_kernels_numbers_are_for_scope_rids_too)
	{
		ck_assert_uint_gt(f.config.reserved_last, 0);
		ck_assert_uint_eq(take_on(&a, &a0, 1, 0), 1);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){1}), 0);
		fixture_pass_second(&f);
		ck_assert_uint_eq(take_on(&c, &c3, 1, 0), 1);
		ck_assert_uint_gt(fixture_allocate(&f, &a).v, f.config.reserved_last);
	}
END_TEST

/* ------------------------------------------------------------------ the search */

START_TEST(many_and_blocks)
	{
		const struct device_id both[] = {a0, a1};
		struct allocate many = scoped(both, 2);
		struct hpasid numbers[16];

		(void)take_on(&a, &a0, 1, 18);
		many.count = 8;
		many.consecutive = true;
		ck_assert_uint_eq(take(&a, &many), 8);
		ck_assert_uint_eq(take(&a, &many), 24); /* 0 is none, 18 is taken */
		many.consecutive = false;
		many.count = 16;
		ck_assert_int_eq(broker_allocate(f.broker, &a, &many, numbers, &f.error), 0);
		ck_assert_uint_eq(numbers[0].v, 1);
		ck_assert_uint_eq(numbers[6].v, 7);
		ck_assert_uint_eq(numbers[7].v, 16);
		ck_assert_uint_eq(numbers[9].v, 19);
		ck_assert_uint_eq(claims_of(&a), 1 + 16 + 16 + 32);
		fixture_recount(&f);
	}
END_TEST

START_TEST(a_block_around_a_number_of_the_set_is_passed_over)
	{
		struct allocate block = scoped(&a1, 1);

		(void)take_on(&a, &a0, 1, 5); /* on another device */
		block.count = 4;
		block.consecutive = true;
		ck_assert_uint_eq(take(&a, &block), 8);
	}
END_TEST

START_TEST(a_search_comes_round)
	{
		struct allocate few = scoped(&a0, 1);

		f.broker->config.policy = BROKER_CYCLIC;
		few.min = 10;
		few.max = 13;
		ck_assert_uint_eq(take(&a, &few), 10);
		ck_assert_uint_eq(take(&a, &few), 11);
		f.broker->rids_cursor = 13;
		ck_assert_uint_eq(take(&a, &few), 13);
		ck_assert_uint_eq(take(&a, &few), 12);
		refused(&a, &few, REASON_NONE_FREE);
		few.min = few.max = 20;
		few.count = 2;
		refused(&a, &few, REASON_NONE_FREE);
	}
END_TEST

START_TEST(devices_bound_the_choice)
	{
		struct device_id narrow = fixture_add(&f, &a, 8, 10);
		struct allocate allocate = scoped(&narrow, 1);
		uint32_t added;

		allocate.min = 256;
		refused(&a, &allocate, REASON_NONE_FREE);
		(void)take_on(&a, &a0, 1, 300);
		ck_assert_int_eq(broker_extend(f.broker, &a, own, (struct pasid_ref){false, 300},
					 &narrow, 1, &added, &f.error),
			STATUS_INVALID);
		ck_assert_uint_eq(f.error.reason, REASON_PASID_WIDTH);
	}
END_TEST

START_TEST(what_cannot_be_asked_for)
	{
		struct device_id many[17];
		struct allocate allocate = scoped(NULL, 0);

		refused(&a, &allocate, REASON_BAD_ARGUMENT);
		allocate = scoped(&c3, 1);
		refused(&a, &allocate, REASON_NO_DEVICE);
		allocate.scope = (enum scope)3;
		refused(&a, &allocate, REASON_BAD_ARGUMENT);
		for (size_t i = 0; i < ARRAY_SIZE(many); i++)
			many[i] = a0;
		allocate = scoped(many, ARRAY_SIZE(many));
		allocate.count = BROKER_ALLOCATE_MAX / ARRAY_SIZE(many) + 1;
		refused(&a, &allocate, REASON_LIMIT);
		allocate = scoped(&a0, 1);
		allocate.count = 41;
		refused(&a, &allocate, REASON_SET_QUOTA);
	}
END_TEST

static int extend(const struct actor *actor, uint32_t number, const struct device_id *devices,
	size_t count, uint32_t *ret_added)
{
	int r = broker_extend(f.broker, actor, own, (struct pasid_ref){false, number}, devices,
		count, ret_added, &f.error);

	fixture_recount(&f);
	return r;
}

START_TEST(a_device_that_is_being_added_has_no_table_yet)
	{
		int fds[] = {10, MODEL_DEVICE_FD(4)};
		struct device_id adding;
		struct allocate allocate;
		uint32_t slot = 0;

		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, fds, 2, NULL, 9, &f.error), 0);
		while (device_state(f.broker, slot) != DEVICE_ADDING)
			slot++;
		adding.v = device_name_of(f.broker, slot);
		allocate = scoped(&adding, 1);
		refused(&a, &allocate, REASON_NONE_FREE); /* its width is not known */
		(void)take_on(&a, &a0, 1, 6);
		ck_assert_int_eq(extend(&a, 6, &adding, 1, &(uint32_t){0}), STATUS_BUSY);
		ck_assert_int_eq(fixture_outcome(&f, 9).status, 0);
	}
END_TEST

/* ------------------------------------------------------------------ more devices */

START_TEST(a_number_is_extended_and_then_bound_there)
	{
		const struct device_id both[] = {a0, a1};
		uint32_t added = 9;

		(void)take_on(&a, &a0, 1, 6);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){6}, both, 2), STATUS_STATE);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(extend(&a, 6, both, 2, &added), 0);
		ck_assert_uint_eq(added, 1);
		ck_assert_int_eq(extend(&a, 6, both, 2, &added), 0);
		ck_assert_uint_eq(added, 0);
		ck_assert_uint_eq(claims_of(&a), 2);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){6}, both, 2), 0);
	}
END_TEST

START_TEST(where_it_is_taken_it_is_refused_for_all)
	{
		struct device_id of[3] = {a0, a1};
		uint32_t added = 9;

		(void)fixture_share(&f, SHARED);
		of[2] = fixture_slice(&f, &a, SHARED);
		(void)take_on(&c, &(struct device_id){fixture_slice(&f, &c, SHARED).v}, 1, 6);
		(void)take_on(&a, &a0, 1, 6);
		ck_assert_int_eq(extend(&a, 6, of, 3, &added), STATUS_EXISTS);
		ck_assert_uint_eq(f.error.reason, REASON_PASID_TAKEN);
		ck_assert_uint_eq(claims_of(&a), 1);
		ck_assert_int_eq(extend(&a, 6, of, 2, &added), 0);
	}
END_TEST

START_TEST(what_is_not_extended)
	{
		struct hpasid global = fixture_allocate(&f, &a);
		uint32_t added = 9;

		ck_assert_int_eq(extend(&a, global.v, &a1, 1, &added), 0);
		ck_assert_uint_eq(added, 0);
		ck_assert_int_eq(extend(&a, 4, &a1, 1, &added), STATUS_NOT_FOUND);
		(void)take_on(&a, &a0, 1, 4);
		ck_assert_int_eq(extend(&c, 4, &c3, 1, &added), STATUS_NOT_FOUND);
		ck_assert_int_eq(extend(&a, 4, &c3, 1, &added), STATUS_NOT_FOUND);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){4}), 0);
		ck_assert_int_eq(extend(&a, 4, &a1, 1, &added), STATUS_STATE);
	}
END_TEST

/* ------------------------------------------------------------------ who may, and how much */

START_TEST(a_set_uses_the_scopes_that_it_was_made_with)
	{
		struct set_create create = {"r", SET_TRANSLATED, true, 4, false, 0, SCOPE_RIDS};
		struct actor actor = {ROLE_VMM, 20, {0}, &f.peer};
		struct allocate allocate = {.max = PASID_LAST, .count = 1};
		struct set_info info;
		struct device_id device;

		ck_assert_int_eq(
			broker_set_create(f.broker, &actor, &create, &actor.set, &f.error), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &actor, own, &info, &f.error), 0);
		ck_assert_uint_eq(info.scopes, SCOPE_RIDS);
		refused(&actor, &allocate, REASON_SCOPE);
		device = fixture_add(&f, &actor, 4, 12);
		(void)take_on(&actor, &device, 1, 3);
		create = (struct set_create){"g", SET_TRANSLATED, true, 4, false, 0, SCOPE_GLOBAL};
		actor = (struct actor){ROLE_VMM, 21, {0}, &f.peer};
		ck_assert_int_eq(
			broker_set_create(f.broker, &actor, &create, &actor.set, &f.error), 0);
		allocate = scoped(&a0, 1);
		refused(&actor, &allocate, REASON_SCOPE);
	}
END_TEST

START_TEST(the_policy_says_which_scopes_there_are)
	{
		struct set_create create = {"r", SET_TRANSLATED, true, 4, false, 0, SCOPE_RIDS};
		struct actor actor = {ROLE_VMM, 20, {0}, &f.peer};
		struct set_info info;
		struct set_id set;

		f.policy.rids.everyone = false;
		ck_assert_int_eq(broker_set_create(f.broker, &actor, &create, &set, &f.error),
			STATUS_DENIED);
		ck_assert_uint_eq(f.error.reason, REASON_POLICY);
		ck_assert_ptr_nonnull(strstr(f.error.text, "scope rids"));
		create.scopes = SCOPE_GLOBAL | SCOPE_RIDS;
		ck_assert_int_eq(broker_set_create(f.broker, &actor, &create, &set, &f.error),
			STATUS_DENIED);
		create.scopes = 0;
		ck_assert_int_eq(
			broker_set_create(f.broker, &actor, &create, &actor.set, &f.error), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &actor, own, &info, &f.error), 0);
		ck_assert_uint_eq(info.scopes, SCOPE_GLOBAL);
		f.policy.global.everyone = false;
		create.name = "n";
		actor = (struct actor){ROLE_VMM, 21, {0}, &f.peer};
		ck_assert_int_eq(broker_set_create(f.broker, &actor, &create, &set, &f.error),
			STATUS_DENIED);
		ck_assert_ptr_nonnull(strstr(f.error.text, "global or rids"));
		f.policy.rids.everyone = true;
		create.scopes = SCOPE_GLOBAL;
		ck_assert_int_eq(broker_set_create(f.broker, &actor, &create, &set, &f.error),
			STATUS_DENIED);
		ck_assert_ptr_nonnull(strstr(f.error.text, "scope global"));
		create.scopes = 4;
		ck_assert_int_eq(broker_set_create(f.broker, &actor, &create, &set, &f.error),
			STATUS_INVALID);
		/* an admin decides for others */
		create.scopes = SCOPE_GLOBAL | SCOPE_RIDS;
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &set, &f.error), 0);
	}
END_TEST

START_TEST(a_set_of_before_scopes_is_global)
	{
		struct allocate allocate = scoped(&a0, 1);

		f.broker->set_slots[set_slot_of(f.broker, a.set)].scopes = 0;
		refused(&a, &allocate, REASON_SCOPE);
		(void)fixture_allocate(&f, &a);
	}
END_TEST

START_TEST(a_number_of_several_sets_is_named_with_its_set)
	{
		struct grant_info info;
		const struct hpasid seven = {7};

		(void)take_on(&a, &a0, 1, 7);
		ck_assert_int_eq(
			broker_host_find(f.broker, &f.observer, own, seven, &info, &f.error), 0);
		ck_assert_uint_eq(info.set.v, a.set.v);
		(void)take_on(&c, &c3, 1, 7);
		ck_assert_int_eq(
			broker_host_find(f.broker, &f.observer, own, seven, &info, &f.error),
			STATUS_INVALID);
		ck_assert_uint_eq(f.error.reason, REASON_AMBIGUOUS);
		/* a VM has one of them, and sees no other */
		ck_assert_int_eq(broker_host_find(f.broker, &c, own, seven, &info, &f.error), 0);
		ck_assert_uint_eq(info.set.v, c.set.v);
		ck_assert_int_eq(broker_host_find(f.broker, &c, a.set, seven, &info, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(fixture_free(&f, &a, seven), 0);
		ck_assert_int_eq(broker_quarantine_end(f.broker, &f.admin, own, seven, &f.error),
			STATUS_INVALID);
		ck_assert_int_eq(broker_quarantine_end(f.broker, &f.admin, c.set, seven, &f.error),
			STATUS_STATE);
		ck_assert_int_eq(
			broker_quarantine_end(f.broker, &f.admin, a.set, seven, &f.error), 0);
		ck_assert_int_eq(
			broker_host_find(f.broker, &f.admin, a.set, seven, &info, &f.error), 0);
		ck_assert_uint_eq(info.state, GRANT_IDLE);
		ck_assert_int_eq(broker_host_find(f.broker, &f.admin, (struct set_id){99}, seven,
					 &info, &f.error),
			STATUS_NOT_FOUND);
		fixture_recount(&f);
	}
END_TEST

START_TEST(there_are_places_for_so_many_owners)
	{
		struct actor actor = fixture_vmm(&f, 20, "o", SET_TRANSLATED, 40);
		struct device_id device = {0};
		struct allocate allocate;

		(void)take_on(&a, &a0, 1, 7);
		(void)take_on(&a, &a1, 1, 8);
		(void)take_on(&c, &c3, 1, 7);
		for (uint32_t rid = 9; rid < 9 + OWNERS - 3; rid++) {
			f.model.width_of[rid] = 20;
			device = fixture_add(&f, &actor, rid, 13);
			(void)take_on(&actor, &device, 1, rid);
		}
		f.model.width_of[15] = 20;
		device = fixture_add(&f, &actor, 15, 13);
		allocate = scoped(&device, 1);
		refused(&actor, &allocate, REASON_LIMIT);
		ck_assert_int_eq(fixture_free(&f, &c, (struct hpasid){7}), 0);
		fixture_pass_second(&f);
		(void)take(&actor, &allocate);
	}
END_TEST

/* ------------------------------------------------------------------ death */

START_TEST(a_restart_keeps_claims)
	{
		const struct device_id both[] = {a0, a1};
		struct allocate again;

		(void)take_on(&a, both, 2, 7);
		(void)take_on(&c, &c3, 1, 7);
		(void)take_on(&a, &a0, 1, 8);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){7}, both, 2), 0);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){8}), 0);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		fixture_recount(&f);
		ck_assert_uint_eq(info_of(&a, 7).group_count, 2);
		ck_assert_uint_eq(info_of(&c, 7).group_count, 1);
		ck_assert_uint_eq(claims_of(&a), 3);
		again = scoped(&a1, 1);
		again.min = again.max = 8;
		refused(&a, &again, REASON_NONE_FREE); /* the set has it still, on another device */
		fixture_pass_second(&f);
		ck_assert_uint_eq(claims_of(&a), 2);
		ck_assert_uint_eq(take(&a, &again), 8);
	}
END_TEST

START_TEST(with_its_vm_all_of_it_goes)
	{
		const struct device_id both[] = {a0, a1};

		(void)take_on(&a, both, 2, 7);
		(void)take_on(&c, &c3, 1, 7);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){7}, both, 2), 0);
		broker_session_end(f.broker, 10);
		model_run(&f);
		ck_assert(!model_has(&f, 0, 7));
		fixture_pass_second(&f);
		fixture_recount(&f);
		ck_assert_uint_eq(info_of(&c, 7).state, GRANT_ACTIVE);
		ck_assert_uint_eq(scope_owner(f.broker, f.model.group_of[0]), STATE_NONE);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		one_number_is_two_sets_on_different_devices,
		both_are_bound_and_gone_apart_from_each_other,
		a_number_is_free_on_all_named_devices_at_once,
		a_set_has_a_number_once,
		two_devices_of_one_group_are_one_table,
		slices_of_one_device_never_meet,
		a_global_number_is_nobody_elses_anywhere,
		it_is_global_again_when_nobody_has_it,
		the_kernels_numbers_are_for_scope_rids_too,
		many_and_blocks,
		a_block_around_a_number_of_the_set_is_passed_over,
		a_search_comes_round,
		devices_bound_the_choice,
		what_cannot_be_asked_for,
		a_device_that_is_being_added_has_no_table_yet,
		a_number_is_extended_and_then_bound_there,
		where_it_is_taken_it_is_refused_for_all,
		what_is_not_extended,
		a_set_uses_the_scopes_that_it_was_made_with,
		the_policy_says_which_scopes_there_are,
		a_set_of_before_scopes_is_global,
		a_number_of_several_sets_is_named_with_its_set,
		there_are_places_for_so_many_owners,
		a_restart_keeps_claims,
		with_its_vm_all_of_it_goes,
	};

	return suite_run("broker_scope", "scope", tests, ARRAY_SIZE(tests), setup, teardown);
}
