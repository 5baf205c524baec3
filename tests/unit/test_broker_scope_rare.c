/* SPDX-License-Identifier: MIT */
/* F4: who may have numbers of scope rids, how they are named, what is full, and what death leaves.
 */
#include "scope_rig.h"
#include "suite.h"

#include <string.h>

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
			broker_acknowledge(f.broker, &two, named, 2, &acknowledged, &f.error), 0);
		ck_assert_uint_eq(acknowledged, 1);
		ck_assert_uint_eq(scope_claims_of(&a) + scope_claims_of(&c), 2);
		ck_assert_int_eq(
			broker_acknowledge(f.broker, &one, named, 2, &acknowledged, &f.error), 0);
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

/* ------------------------------------------------------------------ death */

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
		a_restart_keeps_claims,
		with_its_vm_all_of_it_goes,
	};

	return suite_run("broker_scope, rare", "rare", tests, ARRAY_SIZE(tests), scope_setup,
		scope_teardown);
}
