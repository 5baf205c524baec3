/* SPDX-License-Identifier: MIT */
/*
 * The recount finds every kind of disagreement: each test breaks one thing in a broker that agreed
 * with itself, and the recount must say what. A recount that finds nothing would let every other
 * test pass that ends with one.
 */
#include "broker_private.h"
#include "fixture.h"
#include "suite.h"

#include <string.h>

#define EXCLUSIVE 1
#define SHARED    2

static struct fixture f;
static struct broker *b;
static struct actor a, c;
static struct hpasid bound, held, resting, returnable, idle, other;
static struct device_id device, shared, slice;

static void pass_time(void)
{
	f.now_ms += 1000;
	broker_tick(b);
}

/* A number in each state, on an exclusive device and on a slice; and another set. */
static void setup(void)
{
	fixture_config(&f);
	fixture_open(&f);
	b = f.broker;
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 20);
	device = fixture_add(&f, &a, EXCLUSIVE, 11);
	shared = fixture_share(&f, SHARED);
	slice = fixture_slice(&f, &a, SHARED);
	bound = fixture_allocate_guest(&f, &a, 7);
	held = fixture_allocate(&f, &a);
	resting = fixture_allocate(&f, &a);
	returnable = fixture_allocate(&f, &a);
	idle = fixture_allocate(&f, &a);
	other = fixture_allocate(&f, &c);
	ck_assert_int_eq(fixture_bind(&f, &a, bound, (struct device_id[]){device, slice}, 2), 0);
	ck_assert_int_eq(fixture_bind(&f, &a, returnable, &slice, 1), 0);
	ck_assert_int_eq(fixture_unbind(&f, &a, returnable), 0);
	ck_assert_int_eq(fixture_free(&f, &a, returnable), 0);
	pass_time();
	ck_assert_int_eq(broker_hold(b, &a, (struct set_id){0}, held, &f.error), 0);
	ck_assert_int_eq(fixture_free(&f, &a, held), 0);
	ck_assert_int_eq(fixture_free(&f, &a, resting), 0);
	fixture_recount(&f);
}

/* What was broken stays so: there is nothing to recount any more. */
static void teardown(void)
{
	fixture_close(&f);
}

static struct grant_slot *grant(struct hpasid host)
{
	return &b->grant_slots[grant_of_host(b, host.v)];
}

static struct binding_slot *first_binding(struct hpasid host)
{
	return &b->binding_slots[grant(host)->bindings];
}

static struct set *set_of(const struct actor *actor)
{
	return &b->sets[set_slot_of(b, actor->set)];
}

static struct set_slot *set_record(const struct actor *actor)
{
	return &b->set_slots[set_slot_of(b, actor->set)];
}

static struct device *device_of(struct device_id id)
{
	return &b->devices[device_slot_of(b, id)];
}

static struct device_slot *device_record(struct device_id id)
{
	return &b->device_slots[device_slot_of(b, id)];
}

static void set_state_of(uint64_t *word, unsigned state)
{
	*word = (*word & ~UINT64_C(0xf)) | state;
}

/* The recount fails, and says this. */
static void ck_finds(const char *text)
{
	struct error error = {0};

	ck_assert_int_eq(broker_recount(b, &error), STATUS_INTERNAL);
	ck_assert_uint_eq(error.reason, REASON_INTERNAL);
	ck_assert_msg(strstr(error.text, text) != NULL, "%s: expected: %s", error.text, text);
}

/* The same, and once this is mended it agrees again. */
static void ck_finds_word(uint64_t *word, uint64_t value, const char *text)
{
	const uint64_t before = *word;

	*word = value;
	ck_finds(text);
	*word = before;
	fixture_recount(&f);
}

static void ck_finds_count(uint32_t *count, uint32_t value, const char *text)
{
	const uint32_t before = *count;

	*count = value;
	ck_finds(text);
	*count = before;
	fixture_recount(&f);
}

/* ------------------------------------------------------------------ U: numbers */

START_TEST(a_reserved_number_that_is_granted)
	{
		ck_finds_count(&b->config.reserved_last, 2000, "reserved number");
	}
END_TEST

START_TEST(a_granted_number_that_is_free)
	{
		space_give(&b->numbers, bound.v);
		ck_finds("free in the namespace");
	}
END_TEST

START_TEST(a_number_that_leads_to_another_grant)
	{
		ck_finds_count(&b->grant_of[bound.v], b->grant_of[idle.v], "two grants");
	}
END_TEST

START_TEST(a_number_that_is_neither_free_nor_granted)
	{
		space_take(&b->numbers, PASID_LAST);
		ck_finds("not all there are");
	}
END_TEST

START_TEST(a_summary_of_free_numbers_that_is_wrong)
	{
		ck_finds_word(&b->numbers.tops[0][0], ~b->numbers.tops[0][0], "summaries");
	}
END_TEST

START_TEST(a_grant_without_a_set)
	{
		ck_finds_count(&grant(idle)->set, b->set_pool.used, "no set");
		set_state_of(&set_record(&c)->word, SET_FREE);
		ck_finds("no set");
	}
END_TEST

/* ------------------------------------------------------------------ G: the guest's numbers */

START_TEST(a_freed_number_with_a_guest_number)
	{
		ck_finds_word(
			&grant(held)->word, grant(held)->word | GRANT_HAS_GUEST, "a freed number");
	}
END_TEST

START_TEST(a_guest_number_that_leads_elsewhere_or_nowhere)
	{
		struct translate *map = &set_of(&a)->map;

		ck_assert_int_eq(translate_detach(map, (struct gpasid){7}), 0);
		ck_assert_int_eq(translate_attach(map, (struct gpasid){7}, idle), 0);
		ck_finds("the map and a grant");
		ck_assert_int_eq(translate_detach(map, (struct gpasid){7}), 0);
		ck_finds("the map and a grant");
	}
END_TEST

START_TEST(a_map_with_more_entries_than_grants)
	{
		ck_assert_int_eq(translate_attach(&set_of(&a)->map, (struct gpasid){8}, idle), 0);
		ck_finds("other entries");
	}
END_TEST

START_TEST(an_export_that_is_not_the_map)
	{
		struct set_id set;

		ck_assert_int_eq(broker_set_export(b, &a, (struct set_id){0}, &set, &f.error), 0);
		fixture_recount(&f);
		export_detach(&set_of(&a)->export, (struct gpasid){7});
		ck_finds("an exported map and the map disagree");
	}
END_TEST

START_TEST(pages_of_a_map_that_were_not_counted)
	{
		ck_finds_count(&set_of(&a)->map.held, 9, "pages of a map");
	}
END_TEST

/* ------------------------------------------------------------------ D, O, H: bindings */

START_TEST(a_binding_that_its_grant_does_not_have)
	{
		struct binding_slot *binding = first_binding(bound);

		ck_finds_count(&binding->grant, grant_of_host(b, idle.v), "a binding and its");
		ck_finds_word(&binding->word, 0, "a binding and its");
		ck_finds_word(&b->device_slots[binding->device].word, 0, "a binding and its");
	}
END_TEST

START_TEST(a_number_in_quarantine_that_is_bound_or_about_to_be)
	{
		uint64_t *word = &first_binding(returnable)->word;
		const uint64_t rest = *word & ~UINT64_C(0xf);

		ck_finds_word(word, rest | BINDING_BOUND, "in quarantine is bound");
		ck_finds_word(word, rest | BINDING_BINDING, "in quarantine is bound");
	}
END_TEST

START_TEST(a_number_that_can_be_had_again_and_is_attached)
	{
		uint64_t *word = &first_binding(returnable)->word;
		const uint64_t rest = *word & ~UINT64_C(0xf);

		ck_finds_word(word, rest | BINDING_TAINTED, "had again is attached");
		ck_finds_word(word, rest | BINDING_UNBINDING, "had again is attached");
	}
END_TEST

START_TEST(a_number_that_can_be_had_again_and_is_held)
	{
		ck_finds_word(&grant(returnable)->word,
			grant(returnable)->word + (UINT64_C(1) << GRANT_HOLD_SHIFT),
			"H: a number that can be had again is held");
	}
END_TEST

START_TEST(a_number_of_an_earlier_vm_that_can_be_had_again)
	{
		ck_finds_word(&set_record(&a)->emptied, f.now_ms + 1, "an earlier VM");
	}
END_TEST

START_TEST(a_number_that_is_bound_for_another_set)
	{
		ck_finds_count(&first_binding(bound)->set, set_slot_of(b, c.set), "another set");
	}
END_TEST

START_TEST(a_number_that_is_bound_twice_in_one_table)
	{
		ck_finds_count(&device_record(device)->group, device_record(slice)->group,
			"twice in one table");
	}
END_TEST

START_TEST(a_number_that_waits_to_be_reclaimed_for_nothing)
	{
		const uint64_t one = UINT64_C(1) << GRANT_HOLD_SHIFT;

		ck_finds_word(&grant(held)->word, grant(held)->word - one, "H: nothing uses");
	}
END_TEST

START_TEST(a_number_in_the_wrong_kind_of_list)
	{
		uint64_t *active = &grant(idle)->word, *resting_word = &grant(resting)->word;
		const uint64_t list = (uint64_t)LIST_COOLING << GRANT_LIST_SHIFT;

		ck_finds_word(active, *active | list, "wrong list");
		ck_finds_word(resting_word, *resting_word & ~list, "wrong list");
	}
END_TEST

/* ------------------------------------------------------------------ Q: what is counted */

START_TEST(numbers_in_quarantine_that_were_not_counted)
	{
		ck_finds_count(&b->quarantined, 9, "numbers in quarantine");
	}
END_TEST

START_TEST(numbers_of_a_set_that_were_not_counted)
	{
		ck_finds_count(&set_of(&a)->active, 9, "numbers of a set");
		ck_finds_count(&set_of(&a)->quarantined, 9, "numbers of a set");
	}
END_TEST

START_TEST(a_number_in_the_list_of_another_set)
	{
		ck_finds_count(&grant(idle)->set, set_slot_of(b, c.set), "another set's list");
	}
END_TEST

START_TEST(bindings_of_a_set_that_were_not_counted)
	{
		ck_finds_count(&set_of(&a)->bindings, 9, "bindings of a set");
	}
END_TEST

START_TEST(devices_that_no_set_has_or_the_wrong_one)
	{
		ck_finds_count(&set_of(&a)->devices, 9, "devices that no set has");
		set_of(&a)->devices++;
		set_of(&c)->devices--;
		ck_finds("devices or bindings");
	}
END_TEST

START_TEST(a_set_that_cannot_be_found)
	{
		ck_finds_word(&set_record(&a)->session, 4711, "name or session");
		set_record(&a)->name[0] = 'z';
		ck_finds("name or session");
	}
END_TEST

START_TEST(an_end_of_a_set_without_an_operation)
	{
		uint64_t *word = &set_record(&c)->word;

		ck_finds_word(word, *word + SET_DYING - SET_ACTIVE, "the end of a set");
	}
END_TEST

START_TEST(a_set_that_is_to_come_back_and_is_not_going)
	{
		ck_finds_word(&set_record(&c)->word, set_record(&c)->word | SET_WORD_EMPTY,
			"come back that is not going");
	}
END_TEST

/* ------------------------------------------------------------------ Q: accounts */

START_TEST(descriptors_that_a_device_did_not_account_for)
	{
		ck_finds_count(&device_of(device)->descriptors, 0, "a device of set");
		ck_finds_count(&device_of(slice)->descriptors, 2, "a device of set");
	}
END_TEST

START_TEST(tables_that_a_device_did_not_account_for)
	{
		struct binding_slot *binding = first_binding(bound);

		ck_finds_count(&binding->table_shared, DEVICE_TABLES, "a device of set");
		ck_finds_count(&device_of(device)->tables[0].refs, 9, "a device of set");
	}
END_TEST

START_TEST(an_attached_rid_that_a_device_does_not_know)
	{
		ck_finds_count(&device_of(device)->rid_binding, device_of(device)->bindings,
			"a device of set");
	}
END_TEST

START_TEST(an_account_of_a_set_that_is_wrong_or_beyond_its_limit)
	{
		struct account *account = &set_of(&a)->accounts.of[RESOURCE_BINDINGS];

		ck_finds_count(&account->current, 9, "of set");
		ck_finds_count(&account->limit, 1, "of set");
	}
END_TEST

/* The accounts of users and the host belong to the limits; what they are to be is ours. */
START_TEST(an_account_of_a_user_or_the_host_that_is_wrong)
	{
		ck_assert_int_eq(limits_charge(f.limits, NULL, set_of(&a)->user, RESOURCE_BINDINGS,
					 1, &f.error),
			0);
		ck_finds("of user 1000");
		limits_release(f.limits, NULL, set_of(&a)->user, RESOURCE_BINDINGS, 1);
		fixture_recount(&f);
		ck_assert_int_eq(limits_charge(f.limits, NULL, LIMITS_NO_USER, RESOURCE_BINDINGS, 1,
					 &f.error),
			0);
		ck_finds("of host");
	}
END_TEST

START_TEST(an_account_of_the_host_beyond_its_limit)
	{
		limits_set_host(f.limits, RESOURCE_BINDINGS, 1);
		ck_finds("of host");
		b->was_recovered = true; /* what was recorded counts, under whatever limits */
		fixture_recount(&f);
	}
END_TEST

START_TEST(what_is_recovered_may_be_beyond_its_limits)
	{
		set_of(&a)->accounts.of[RESOURCE_BINDINGS].limit = 1;
		b->was_recovered = true;
		fixture_recount(&f);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_reserved_number_that_is_granted,
		a_granted_number_that_is_free,
		a_number_that_leads_to_another_grant,
		a_number_that_is_neither_free_nor_granted,
		a_summary_of_free_numbers_that_is_wrong,
		a_grant_without_a_set,
		a_freed_number_with_a_guest_number,
		a_guest_number_that_leads_elsewhere_or_nowhere,
		a_map_with_more_entries_than_grants,
		an_export_that_is_not_the_map,
		pages_of_a_map_that_were_not_counted,
		a_binding_that_its_grant_does_not_have,
		a_number_in_quarantine_that_is_bound_or_about_to_be,
		a_number_that_can_be_had_again_and_is_attached,
		a_number_that_can_be_had_again_and_is_held,
		a_number_of_an_earlier_vm_that_can_be_had_again,
		a_number_that_is_bound_for_another_set,
		a_number_that_is_bound_twice_in_one_table,
		a_number_that_waits_to_be_reclaimed_for_nothing,
		a_number_in_the_wrong_kind_of_list,
		numbers_in_quarantine_that_were_not_counted,
		numbers_of_a_set_that_were_not_counted,
		a_number_in_the_list_of_another_set,
		bindings_of_a_set_that_were_not_counted,
		devices_that_no_set_has_or_the_wrong_one,
		a_set_that_cannot_be_found,
		an_end_of_a_set_without_an_operation,
		a_set_that_is_to_come_back_and_is_not_going,
		descriptors_that_a_device_did_not_account_for,
		tables_that_a_device_did_not_account_for,
		an_attached_rid_that_a_device_does_not_know,
		an_account_of_a_set_that_is_wrong_or_beyond_its_limit,
		an_account_of_a_user_or_the_host_that_is_wrong,
		an_account_of_the_host_beyond_its_limit,
		what_is_recovered_may_be_beyond_its_limits,
	};

	return suite_run(
		"the recount finds", "disagreements", tests, ARRAY_SIZE(tests), setup, teardown);
}
