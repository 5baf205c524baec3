/* SPDX-License-Identifier: MIT */
/* F4: who may have numbers of scope rids, how they are named, what is full, and what death leaves.
 */
#include "scope_rig.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

static void not_extended(const struct actor *actor, uint32_t number, const struct device_id *device,
	enum reason reason)
{
	uint32_t added = 9;

	ck_assert_int_ne(scope_extend(actor, number, device, 1, &added), 0);
	ck_assert_msg(f.error.reason == reason, "%s", f.error.text);
}

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
		scope_refused(&actor, &allocate, REASON_SCOPE);
		device = fixture_add(&f, &actor, 4, 12);
		(void)scope_take_on(&actor, &device, 1, 3);
		create = (struct set_create){"g", SET_TRANSLATED, true, 4, false, 0, SCOPE_GLOBAL};
		actor = (struct actor){ROLE_VMM, 21, {0}, &f.peer};
		ck_assert_int_eq(
			broker_set_create(f.broker, &actor, &create, &actor.set, &f.error), 0);
		allocate = scope_ask(&a0, 1);
		scope_refused(&actor, &allocate, REASON_SCOPE);
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
		/* nobody asks whom nobody knows, and where there is no policy */
		f.policy.global.everyone = f.policy.rids.everyone = false;
		create.name = "s";
		actor = (struct actor){ROLE_VMM, 22, {0}, NULL};
		ck_assert_int_eq(broker_set_create(f.broker, &actor, &create, &set, &f.error), 0);
		create.name = "t";
		actor = (struct actor){ROLE_VMM, 23, {0}, &f.peer};
		f.broker->ports.policy = NULL;
		ck_assert_int_eq(broker_set_create(f.broker, &actor, &create, &set, &f.error), 0);
		f.broker->ports.policy = &f.policy;
	}
END_TEST

START_TEST(a_set_of_before_scopes_is_global)
	{
		struct allocate allocate = scope_ask(&a0, 1);

		f.broker->set_slots[set_slot_of(f.broker, a.set)].scopes = 0;
		scope_refused(&a, &allocate, REASON_SCOPE);
		(void)fixture_allocate(&f, &a);
	}
END_TEST

START_TEST(a_number_of_several_sets_is_named_with_its_set)
	{
		struct grant_info info;
		const struct hpasid seven = {7};

		(void)scope_take_on(&a, &a0, 1, 7);
		ck_assert_int_eq(
			broker_host_find(f.broker, &f.observer, own, seven, &info, &f.error), 0);
		ck_assert_uint_eq(info.set.v, a.set.v);
		(void)scope_take_on(&c, &c3, 1, 7);
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

/* F22 */
START_TEST(an_acknowledgement_is_for_all_sets_that_have_the_number)
	{
		const struct actor one = {ROLE_PARTICIPANT, 21, {0}, &f.peer};
		const struct actor two = {ROLE_PARTICIPANT, 22, {0}, &f.peer};
		const struct hpasid named[] = {{7}, {8}};
		uint32_t acknowledged = 9;

		(void)scope_take_on(&a, &a0, 1, 7);
		(void)scope_take_on(&c, &c3, 1, 7);
		ck_assert_int_eq(broker_participate(f.broker, &one, &f.error), 0);
		ck_assert_int_eq(fixture_free(&f, &a, named[0]), 0);
		ck_assert_int_eq(broker_participate(f.broker, &two, &f.error), 0);
		ck_assert_int_eq(fixture_free(&f, &c, named[0]), 0);
		fixture_pass_second(&f);
		/* two is waited for by one of both, and numbers are counted, not those who wait */
		ck_assert_int_eq(
			broker_acknowledge(f.broker, &two, named, 2, 0, &acknowledged, &f.error),
			0);
		ck_assert_uint_eq(acknowledged, 1);
		ck_assert_uint_eq(scope_claims_of(&a) + scope_claims_of(&c), 2);
		ck_assert_int_eq(
			broker_acknowledge(f.broker, &one, named, 2, 0, &acknowledged, &f.error),
			0);
		ck_assert_uint_eq(acknowledged, 1);
		ck_assert_uint_eq(scope_claims_of(&a) + scope_claims_of(&c), 0);
		(void)scope_take_on(&a, &a0, 1, 7);
	}
END_TEST

START_TEST(there_are_places_for_so_many_owners)
	{
		struct actor actor = fixture_vmm(&f, 20, "o", SET_TRANSLATED, 40);
		struct device_id device = {0};
		struct allocate allocate;

		(void)scope_take_on(&a, &a0, 1, 7);
		(void)scope_take_on(&a, &a1, 1, 8);
		(void)scope_take_on(&c, &c3, 1, 7);
		for (uint32_t rid = 9; rid < 9 + SCOPE_OWNERS - 3; rid++) {
			f.model.width_of[rid] = 20;
			device = fixture_add(&f, &actor, rid, 13);
			(void)scope_take_on(&actor, &device, 1, rid);
		}
		f.model.width_of[15] = 20;
		device = fixture_add(&f, &actor, 15, 13);
		allocate = scope_ask(&device, 1);
		scope_refused(&actor, &allocate, REASON_LIMIT);
		ck_assert_int_eq(fixture_free(&f, &c, (struct hpasid){7}), 0);
		fixture_pass_second(&f);
		(void)scope_take(&actor, &allocate);
	}
END_TEST

START_TEST(one_place_for_two_owners_is_kept)
	{
		struct actor actor = fixture_vmm(&f, 20, "o", SET_TRANSLATED, 40);
		struct device_id two[2];
		struct allocate both = scope_ask(two, 2);

		for (uint32_t rid = 9; rid < 9 + SCOPE_OWNERS - 1; rid++) {
			two[0] = fixture_add(&f, &actor, rid, 13);
			(void)scope_take_on(&actor, &two[0], 1, rid);
		}
		for (uint32_t i = 0; i < 2; i++)
			two[i] = fixture_add(&f, &actor, 20 + i, 13);
		scope_refused(&actor, &both, REASON_LIMIT);
		ck_assert_uint_eq(scope_claims_of(&actor), SCOPE_OWNERS - 1);
		(void)scope_take_on(&actor, &two[1], 1, 30);
		not_extended(&actor, 30, &two[0], REASON_LIMIT);
	}
END_TEST

START_TEST(groups_may_meet_in_a_bucket)
	{
		struct actor actor = fixture_vmm(&f, 20, "o", SET_TRANSLATED, 40);
		struct device_id devices[3];

		for (uint32_t i = 0; i < 3; i++) {
			f.model.group_of[20 + i] = 7 + i * BROKER_OWNER_BUCKETS;
			devices[i] = fixture_add(&f, &actor, 20 + i, 13);
		}
		for (uint32_t i = 0; i < 3; i++)
			(void)scope_take_on(&actor, &devices[i], 1, 1 + i);
		/* the one that came first is last */
		for (uint32_t i = 0; i < 3; i++) {
			ck_assert_int_eq(fixture_free(&f, &actor, (struct hpasid){1 + i}), 0);
			fixture_pass_second(&f);
			fixture_recount(&f);
			ck_assert_uint_eq(
				scope_owner(f.broker, f.model.group_of[20 + i]), STATE_NONE);
		}
	}
END_TEST

START_TEST(claims_are_limited)
	{
		struct allocate two = scope_ask(&a0, 1);

		limits_set_host(f.limits, RESOURCE_CLAIMS, 1);
		two.count = 2;
		scope_refused(&a, &two, REASON_LIMIT);
		(void)scope_take_on(&a, &a0, 1, 7);
		not_extended(&a, 7, &a1, REASON_LIMIT);
		ck_assert_uint_eq(scope_claims_of(&a), 1);
	}
END_TEST

static int full_reserve(void *ctx, enum state_table table, uint32_t count)
{
	(void)ctx;
	(void)count;
	return table == STATE_TIES ? -ENOSPC : 0;
}

START_TEST(claims_need_records)
	{
		struct pool *ties = &f.broker->tie_pool;
		const struct state_ops *ops = f.state.ops;
		const uint32_t capacity = ties->capacity;
		struct allocate allocate = scope_ask(&a0, 1);
		struct state_ops full = *ops;

		full.reserve = full_reserve;
		f.state.ops = &full;
		scope_refused(&a, &allocate, REASON_NO_MEMORY);
		f.state.ops = ops;
		(void)scope_take_on(&a, &a0, 1, 7);
		ties->capacity = ties->used;
		scope_refused(&a, &allocate, REASON_LIMIT);
		/* what was used before needs no room */
		f.state.ops = &full;
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){7}), 0);
		fixture_pass_second(&f);
		(void)scope_take(&a, &allocate);
		ties->capacity = capacity;
		f.state.ops = ops;
	}
END_TEST

START_TEST(a_number_is_for_so_many_groups)
	{
		struct device_id devices[BROKER_PAIRS_MAX + 1] = {{0}};
		struct allocate allocate = scope_ask(devices, ARRAY_SIZE(devices));
		struct grant_info info;

		/* as many owners as there can be */
		fixture_close(&f);
		fixture_config(&f);
		f.config.owners_max = 0;
		fixture_open(&f);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 40);
		for (uint32_t i = 0; i < ARRAY_SIZE(devices); i++)
			devices[i] = fixture_add(&f, &a, 10 + i, 13);
		scope_refused(&a, &allocate, REASON_LIMIT);
		allocate.device_count = BROKER_PAIRS_MAX;
		allocate.min = allocate.max = 9;
		(void)scope_take(&a, &allocate);
		not_extended(&a, 9, &devices[BROKER_PAIRS_MAX], REASON_LIMIT);
		info = scope_info_of(&a, 9);
		ck_assert_uint_eq(info.group_count, BROKER_PAIRS_MAX);
	}
END_TEST

/* ------------------------------------------------------------------ the search */

START_TEST(a_search_passes_over_so_many_of_its_set)
	{
		struct actor actor = fixture_vmm(&f, 20, "big", SET_TRANSLATED, 20000);
		const struct device_id here = fixture_add(&f, &actor, 20, 13);
		const struct device_id there = fixture_add(&f, &actor, 21, 13);
		static struct hpasid numbers[BROKER_ALLOCATE_MAX];
		struct allocate allocate = scope_ask(&here, 1);

		allocate.count = BROKER_ALLOCATE_MAX;
		for (uint32_t i = 0; i < BROKER_SEARCH_MAX / BROKER_ALLOCATE_MAX; i++)
			ck_assert_int_eq(
				broker_allocate(f.broker, &actor, &allocate, numbers, &f.error), 0);
		ck_assert_uint_eq(numbers[BROKER_ALLOCATE_MAX - 1].v, BROKER_SEARCH_MAX);
		allocate = scope_ask(&there, 1);
		scope_refused(&actor, &allocate, REASON_NONE_FREE);
		allocate.min = 2;
		ck_assert_uint_eq(scope_take(&actor, &allocate), BROKER_SEARCH_MAX + 1);
	}
END_TEST

START_TEST(a_block_comes_round)
	{
		struct allocate block = scope_ask(&a0, 1);

		f.broker->config.policy = BROKER_CYCLIC;
		f.broker->rids_cursor = 20;
		block.min = 8;
		block.max = 23;
		block.count = 8;
		block.consecutive = true;
		ck_assert_uint_eq(scope_take(&a, &block), 8);
	}
END_TEST

START_TEST(the_last_number_is_followed_by_the_first)
	{
		f.broker->config.policy = BROKER_CYCLIC;
		f.config.policy = BROKER_CYCLIC;
		(void)scope_take_on(&a, &a0, 1, PASID_LAST);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		model_run(&f);
		ck_assert_uint_eq(scope_take_on(&a, &a0, 1, 0), 1);
	}
END_TEST

START_TEST(what_is_free_again_is_so_for_the_first_claim_too)
	{
		const struct hpasid global = fixture_allocate(&f, &a),
				    kept = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_free(&f, &a, global), 0);
		fixture_pass_second(&f);
		(void)scope_take_on(&c, &c3, 1, global.v);
		scope_not_free_on(&c, &c3, 1, kept.v);
	}
END_TEST

/* ------------------------------------------------------------------ more devices, and holds */

START_TEST(who_holds_a_number_and_where_it_is_are_two_things)
	{
		const struct actor other = {ROLE_PARTICIPANT, 21, {0}, &f.peer};
		const struct hpasid seven = {7};
		uint32_t added;

		(void)scope_take_on(&a, &a0, 1, 7);
		ck_assert_int_eq(broker_hold(f.broker, &a, own, seven, &f.error), 0);
		ck_assert_int_eq(broker_hold(f.broker, &other, a.set, seven, &f.error), 0);
		ck_assert_int_eq(scope_extend(&a, 7, &a1, 1, &added), 0);
		ck_assert_int_eq(broker_hold(f.broker, &a, own, seven, &f.error), 0);
		ck_assert_uint_eq(scope_info_of(&a, 7).holds, 3);
		ck_assert_uint_eq(scope_info_of(&a, 7).group_count, 2);
		ck_assert_int_eq(fixture_bind(&f, &a, seven, &a0, 1), 0);
		ck_assert_int_eq(broker_release(f.broker, &other, a.set, seven, &f.error), 0);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		model_run(&f);
		fixture_recount(&f);
		broker_session_end(f.broker, a.session);
		model_run(&f);
		fixture_pass_second(&f);
		fixture_recount(&f);
		ck_assert_uint_eq(f.broker->tie_pool.live, 0);
	}
END_TEST

START_TEST(a_device_that_has_numbers_already_takes_another)
	{
		uint32_t added = 9;

		(void)scope_take_on(&a, &a1, 1, 9);
		(void)scope_take_on(&a, &a0, 1, 6);
		ck_assert_int_eq(scope_extend(&a, 6, &a1, 1, &added), 0);
		ck_assert_uint_eq(added, 1);
		ck_assert_int_eq(broker_extend(f.broker, &c, a.set, (struct pasid_ref){false, 6},
					 &c3, 1, &added, &f.error),
			STATUS_NOT_FOUND);
		broker_block(f.broker);
		not_extended(&a, 9, &a0, REASON_UNCONFIRMED);
	}
END_TEST

START_TEST(a_vmm_without_that_set_finds_nothing)
	{
		const struct actor none = {ROLE_VMM, 30, {0}, &f.peer};
		const struct hpasid seven = {7};
		struct grant_info info;

		(void)scope_take_on(&a, &a0, 1, 7);
		ck_assert_int_eq(broker_host_find(f.broker, &none, own, seven, &info, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(broker_host_find(f.broker, &a, a.set, seven, &info, &f.error), 0);
	}
END_TEST

START_TEST(where_a_number_is_bound)
	{
		const struct hpasid seven = {7};
		struct grant_info info;
		uint64_t cursor = 0;
		struct device_id shared, slice;

		shared = fixture_share(&f, SCOPE_SHARED);
		slice = fixture_slice(&f, &a, SCOPE_SHARED);
		(void)scope_take_on(&a, (struct device_id[]){a0, slice}, 2, 7);
		ck_assert_int_eq(
			fixture_bind(&f, &a, seven, (struct device_id[]){slice, a0}, 2), 0);
		ck_assert(broker_grant_next(f.broker, &a, own, false, &cursor, &info));
		ck_assert(broker_grant_is_on(f.broker, &info, a0, (struct rid){0}));
		ck_assert(!broker_grant_is_on(f.broker, &info, a1, (struct rid){0}));
		ck_assert(broker_grant_is_on(f.broker, &info, slice, (struct rid){0}));
		ck_assert(!broker_grant_is_on(f.broker, &info, shared, (struct rid){0}));
		ck_assert(broker_grant_is_on(
			f.broker, &info, (struct device_id){0}, (struct rid){SCOPE_SHARED}));
		ck_assert(!broker_grant_is_on(
			f.broker, &info, (struct device_id){0}, (struct rid){1}));
		ck_assert_int_eq(fixture_unbind(&f, &a, seven), 0);
		/* it drains, and is not attached */
		ck_assert(!broker_grant_is_on(
			f.broker, &info, (struct device_id){0}, (struct rid){SCOPE_SHARED}));
	}
END_TEST

/* ------------------------------------------------------------------ death */

static void not_recovered(const char *what)
{
	ck_assert_int_ne(fixture_recover(&f, fixture_all_stand, NULL), 0);
	ck_assert_msg(strstr(f.error.text, what) != NULL, "%s", f.error.text);
}

/* Host PASID in a grant's word. */
static void renumber(uint32_t grant, uint32_t host)
{
	uint64_t *word = &f.broker->grant_slots[grant].word;

	*word = (*word & ~((uint64_t)PASID_LAST << GRANT_HOST_SHIFT)) | (uint64_t)host
										<< GRANT_HOST_SHIFT;
}

START_TEST(a_number_is_not_recovered_in_both_scopes_or_twice)
	{
		const struct hpasid before = fixture_allocate(&f, &a);
		struct hpasid after;
		uint32_t rids;

		(void)scope_take_on(&a, &a0, 1, 7);
		(void)scope_take_on(&a, &a1, 1, 8);
		(void)scope_take_on(&c, &c3, 1, 7);
		after = fixture_allocate(&f, &a);
		rids = grant_of_set(f.broker, set_slot_of(f.broker, a.set), 8);
		fixture_settle(&f);
		renumber(rids, before.v);
		not_recovered("two grants");
		renumber(rids, after.v);
		not_recovered("two grants");
		renumber(rids, 7); /* the set has it on a0 */
		not_recovered("two grants");
		renumber(rids, 8);
		fixture_restart(&f, fixture_all_stand, NULL);
		fixture_recount(&f);
	}
END_TEST

START_TEST(claims_that_meet_or_have_no_place_are_not_recovered)
	{
		uint32_t claim;

		(void)scope_take_on(&a, &a0, 1, 7);
		(void)scope_take_on(&c, &c3, 1, 7);
		fixture_settle(&f);
		f.config.owners_max = 1;
		not_recovered("a claim in IOMMU group");
		f.config.owners_max = SCOPE_OWNERS;
		fixture_restart(&f, fixture_all_stand, NULL);
		claim = f.broker->first_tie[grant_of_set(
				f.broker, set_slot_of(f.broker, c.set), 7)] -
			1;
		f.broker->tie_slots[claim].to = f.model.group_of[0];
		not_recovered("a claim in IOMMU group");
		f.broker->tie_slots[claim].to = f.model.group_of[3];
		fixture_restart(&f, fixture_all_stand, NULL);
		fixture_recount(&f);
	}
END_TEST

START_TEST(a_restart_keeps_claims)
	{
		const struct device_id both[] = {a0, a1};
		struct allocate again;

		(void)scope_take_on(&a, both, 2, 7);
		(void)scope_take_on(&c, &c3, 1, 7);
		(void)scope_take_on(&a, &a0, 1, 8);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){7}, both, 2), 0);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){8}), 0);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		fixture_recount(&f);
		ck_assert_uint_eq(scope_info_of(&a, 7).group_count, 2);
		ck_assert_uint_eq(scope_info_of(&c, 7).group_count, 1);
		ck_assert_uint_eq(scope_claims_of(&a), 3);
		again = scope_ask(&a1, 1);
		again.min = again.max = 8;
		scope_refused(
			&a, &again, REASON_NONE_FREE); /* the set has it still, on another device */
		fixture_pass_second(&f);
		ck_assert_uint_eq(scope_claims_of(&a), 2);
		ck_assert_uint_eq(scope_take(&a, &again), 8);
	}
END_TEST

START_TEST(with_its_vm_all_of_it_goes)
	{
		const struct device_id both[] = {a0, a1};

		(void)scope_take_on(&a, both, 2, 7);
		(void)scope_take_on(&c, &c3, 1, 7);
		ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){7}, both, 2), 0);
		broker_session_end(f.broker, 10);
		model_run(&f);
		ck_assert(!model_has(&f, 0, 7));
		fixture_pass_second(&f);
		fixture_recount(&f);
		ck_assert_uint_eq(scope_info_of(&c, 7).state, GRANT_ACTIVE);
		ck_assert_uint_eq(scope_owner(f.broker, f.model.group_of[0]), STATE_NONE);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_set_uses_the_scopes_that_it_was_made_with,
		the_policy_says_which_scopes_there_are,
		a_set_of_before_scopes_is_global,
		a_number_of_several_sets_is_named_with_its_set,
		an_acknowledgement_is_for_all_sets_that_have_the_number,
		there_are_places_for_so_many_owners,
		one_place_for_two_owners_is_kept,
		groups_may_meet_in_a_bucket,
		claims_are_limited,
		claims_need_records,
		a_number_is_for_so_many_groups,
		a_search_passes_over_so_many_of_its_set,
		a_block_comes_round,
		the_last_number_is_followed_by_the_first,
		what_is_free_again_is_so_for_the_first_claim_too,
		who_holds_a_number_and_where_it_is_are_two_things,
		a_device_that_has_numbers_already_takes_another,
		a_vmm_without_that_set_finds_nothing,
		where_a_number_is_bound,
		a_number_is_not_recovered_in_both_scopes_or_twice,
		claims_that_meet_or_have_no_place_are_not_recovered,
		a_restart_keeps_claims,
		with_its_vm_all_of_it_goes,
	};

	return suite_run("broker_scope, rare", "rare", tests, ARRAY_SIZE(tests), scope_setup,
		scope_teardown);
}
