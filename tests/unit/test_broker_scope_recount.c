/* SPDX-License-Identifier: MIT */
/* F4: the recount finds each disagreement of numbers of scope rids and their claims. */
#include "scope_rig.h"
#include "suite.h"

#include <string.h>

static struct broker *b;
static struct hpasid global, idle;
static uint32_t of_a, of_c, claim_of_a; /* grants of the number 7 */

static struct space *space_of(uint32_t function)
{
	return &b->owner_spaces[scope_owner(b, f.model.group_of[function])];
}

static struct owner *owner_of(uint32_t function)
{
	return &b->owners[scope_owner(b, f.model.group_of[function])];
}

static void setup(void)
{
	scope_setup();
	b = f.broker;
	global = fixture_allocate(&f, &a);
	idle = fixture_allocate(&f, &a);
	(void)scope_take_on(&a, &a0, 1, 7);
	(void)scope_take_on(&c, &c3, 1, 7);
	of_a = grant_of_set(b, set_slot_of(b, a.set), 7);
	of_c = grant_of_set(b, set_slot_of(b, c.set), 7);
	claim_of_a = b->first_tie[of_a] - 1;
	ck_assert_int_eq(fixture_bind(&f, &a, (struct hpasid){7}, &a0, 1), 0);
	fixture_recount(&f);
}

/* The recount says this; what was broken is to be mended then. */
static void finds(const char *text)
{
	struct error error = {0};

	ck_assert_int_eq(broker_recount(b, &error), STATUS_INTERNAL);
	ck_assert_msg(strstr(error.text, text) != NULL, "%s: expected: %s", error.text, text);
}

static void finds_count(uint32_t *count, uint32_t value, const char *text)
{
	const uint32_t before = *count;

	*count = value;
	finds(text);
	*count = before;
	fixture_recount(&f);
}

START_TEST(a_number_in_both_scopes)
	{
		b->has_unshared = false;
		finds("both scopes");
		b->has_unshared = true;
		space_take(b->unshared, 7);
		finds("both scopes");
		space_give(b->unshared, 7);
		fixture_recount(&f);
	}
END_TEST

START_TEST(a_number_that_is_nobodys)
	{
		finds_count(&b->first_tie[of_a], 0, "nobody's");
		finds_count(&b->grant_of[7], of_a + 1, "nobody's"); /* c's is not found */
	}
END_TEST

START_TEST(a_number_that_is_bound_where_it_is_not_claimed)
	{
		b->tie_slots[claim_of_a].to = f.model.group_of[1];
		finds("outside its scope");
		b->tie_slots[claim_of_a].to = f.model.group_of[0];
		fixture_recount(&f);
	}
END_TEST

/* A record of a claim that no grant's list has. */
static void finds_claim(uint32_t grant, uint64_t group)
{
	const uint32_t i = b->tie_pool.used++;

	ck_assert_int_eq(state_reserve(&f.state, STATE_TIES, i + 1), 0);
	b->tie_slots[i] = (struct tie_slot){
		.word = (uint64_t)TIE_OWNER << 4 | TIE_MADE, .to = group, .grant = grant};
	finds("a claim of a number that is free");
	b->tie_slots[i].word = 0;
	b->tie_pool.used--;
	fixture_recount(&f);
}

START_TEST(a_claim_of_nothing)
	{
		const uint32_t freed = grant_of_host(b, idle.v);

		ck_assert_int_eq(fixture_free(&f, &a, idle), 0);
		fixture_pass_second(&f);
		ck_assert_int_eq(grant_state(&b->grant_slots[freed]), GRANT_FREE);
		finds_claim(freed, f.model.group_of[0]);
		finds_claim(grant_of_host(b, global.v), f.model.group_of[0]);
		finds_claim(of_a, 9999);
		(void)scope_take_on(&a, &a1, 1, 8);
		finds_claim(of_a, f.model.group_of[1]);
	}
END_TEST

START_TEST(a_group_with_other_claims_than_are_counted)
	{
		finds_count(&owner_of(0)->claims, 0, "claims of an IOMMU group");
		finds_count(&owner_of(0)->claims, 2, "claims of an IOMMU group");
		space_of(3)->tops[0][0] ^= 2;
		finds("claims of an IOMMU group");
		space_of(3)->tops[0][0] ^= 2;
		/* one more, and nobody's */
		space_take(space_of(0), 9);
		owner_of(0)->claims++;
		finds("claims that no set has");
		owner_of(0)->claims--;
		space_give(space_of(0), 9);
		fixture_recount(&f);
	}
END_TEST

START_TEST(numbers_that_are_global_and_not_counted_so)
	{
		space_take(b->unshared, 5);
		finds("not granted globally");
		space_give(b->unshared, 5);
		b->unshared->tops[0][0] ^= 2;
		finds("not granted globally");
		b->unshared->tops[0][0] ^= 2;
		fixture_recount(&f);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_number_in_both_scopes,
		a_number_that_is_nobodys,
		a_number_that_is_bound_where_it_is_not_claimed,
		a_claim_of_nothing,
		a_group_with_other_claims_than_are_counted,
		numbers_that_are_global_and_not_counted_so,
	};

	return suite_run("broker_scope, the recount finds", "recount", tests, ARRAY_SIZE(tests),
		setup, scope_teardown);
}
