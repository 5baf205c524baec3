/* SPDX-License-Identifier: MIT */
/* A set whose VM is gone, and that waits for another one. */
#include "fixture.h"
#include "suite.h"

#define SHARED 5

static struct fixture f;
static struct set_id set;
static struct actor vm,
	other; /* the VM that uses the set of the admin's; another one with its own */

static const struct set_id own = {0};

static void setup(void)
{
	struct set_create create = {
		.name = "a", .mode = SET_TRANSLATED, .has_quota = true, .quota = 4};

	fixture_config(&f);
	fixture_open(&f);
	ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &set, &f.error), 0);
	vm = (struct actor){ROLE_VMM, 10, set, &f.peer};
	other = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 20);
}

static void teardown(void)
{
	fixture_leave(&f);
}

static struct set_info info_of(struct set_id id)
{
	struct set_info info;

	ck_assert_int_eq(broker_set_get(f.broker, &f.admin, id, &info, &f.error), 0);
	return info;
}

START_TEST(everything_is_torn_down_and_the_set_stays)
	{
		struct device_id device = fixture_add(&f, &vm, 0, 10), slice;
		struct hpasid host = fixture_allocate_guest(&f, &vm, 7);
		struct set_info info;

		(void)fixture_share(&f, SHARED);
		slice = fixture_slice(&f, &vm, SHARED);
		ck_assert_int_eq(fixture_bind(&f, &vm, host, &device, 1), 0);
		ck_assert_int_eq(fixture_bind(&f, &vm, host, &slice, 1), 0);
		broker_set_empty(f.broker, set);
		ck_assert(info_of(set).emptying && info_of(set).dying);
		ck_assert(broker_set_lives(f.broker, set));
		model_run(&f);
		fixture_recount(&f);
		info = info_of(set);
		ck_assert(!info.emptying && !info.dying);
		ck_assert_str_eq(info.name, "a");
		ck_assert_uint_eq(info.pasids.limit, 4);
		ck_assert_uint_eq(info.active + info.devices + info.bindings, 0);
		ck_assert_uint_eq(info.quarantined, 1);
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
	}
END_TEST

START_TEST(the_next_vm_begins_anew)
	{
		struct device_id device = fixture_add(&f, &vm, 0, 10);
		struct hpasid host = fixture_allocate_guest(&f, &vm, 7), next;

		ck_assert_int_eq(fixture_bind(&f, &vm, host, &device, 1), 0);
		broker_set_empty(f.broker, set);
		model_run(&f);
		next = fixture_allocate_guest(&f, &vm, 7);
		ck_assert_uint_ne(next.v, host.v);
		device = fixture_add(&f, &vm, 0, 12);
		ck_assert_int_eq(fixture_bind(&f, &vm, next, &device, 1), 0);
		ck_assert(model_has(&f, 0, next.v));
		/* and so does the one after it */
		broker_set_empty(f.broker, set);
		model_run(&f);
		ck_assert_uint_eq(model_entries(&f), 0);
	}
END_TEST

START_TEST(its_numbers_are_charged_until_they_are_released)
	{
		struct hpasid numbers[4];
		struct allocate all = {.min = 0, .max = PASID_LAST, .count = 4};

		ck_assert_int_eq(broker_allocate(f.broker, &vm, &all, numbers, &f.error), 0);
		broker_set_empty(f.broker, set);
		ck_assert_int_eq(
			broker_allocate(f.broker, &vm, &all, numbers, &f.error), STATUS_QUOTA);
		fixture_pass_second(&f);
		ck_assert_int_eq(broker_allocate(f.broker, &vm, &all, numbers, &f.error), 0);
	}
END_TEST

/* Frees the number undrained, so that its set could have it again at once. */
static struct hpasid leave_undrained(void)
{
	struct device_id slice;
	struct hpasid host;

	(void)fixture_share(&f, SHARED);
	slice = fixture_slice(&f, &vm, SHARED);
	host = fixture_allocate(&f, &vm);
	ck_assert_int_eq(fixture_bind(&f, &vm, host, &slice, 1), 0);
	ck_assert_int_eq(fixture_unbind(&f, &vm, host), 0);
	ck_assert_int_eq(fixture_free(&f, &vm, host), 0);
	return host;
}

static void check_not_had_again(struct hpasid host)
{
	struct allocate exact = {.min = host.v, .max = host.v, .count = 1};
	struct hpasid again;

	fixture_pass_second(&f);
	fixture_recount(&f);
	ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
	ck_assert_int_eq(
		broker_allocate(f.broker, &vm, &exact, &again, &f.error), STATUS_EXHAUSTED);
}

START_TEST(queued_work_of_one_vm_never_meets_the_next)
	{
		struct hpasid host = leave_undrained();

		fixture_pass_second(&f); /* it could be had again from here on */
		broker_set_empty(f.broker, set);
		model_run(&f);
		check_not_had_again(host);
	}
END_TEST

START_TEST(what_still_cools_is_not_for_the_next_vm_either)
	{
		struct hpasid host = leave_undrained();

		f.now_ms += 500;
		broker_set_empty(f.broker, set);
		model_run(&f);
		check_not_had_again(host);
	}
END_TEST

START_TEST(the_next_vm_has_its_own_numbers_again)
	{
		struct allocate exact = {.count = 1};
		struct hpasid host, again;

		broker_set_empty(f.broker, set);
		f.now_ms += 1;
		host = leave_undrained();
		exact.min = exact.max = host.v;
		fixture_pass_second(&f);
		ck_assert_int_eq(broker_allocate(f.broker, &vm, &exact, &again, &f.error), 0);
	}
END_TEST

START_TEST(meanwhile_requests_may_be_tried_again)
	{
		struct device_id device = fixture_add(&f, &vm, 0, 10);
		struct hpasid host = fixture_allocate(&f, &vm);
		struct pasid_ref ref = {false, host.v};
		struct bind_pair pair = {device, {.kind = HW_TABLE_SPACE}};
		struct allocate one = {.max = PASID_LAST, .count = 1};
		struct outcome outcome;

		ck_assert_int_eq(broker_bind(f.broker, &vm, own, ref, &pair, 1, 1, &f.error), 0);
		ck_assert_int_eq(broker_unbind(f.broker, &vm, own, ref, NULL, 0, 2, &f.error), 0);
		broker_set_empty(f.broker, set);
		broker_set_empty(f.broker, set); /* once more changes nothing */
		ck_assert(broker_next_outcome(f.broker, &outcome));
		ck_assert_uint_eq(outcome.cookie, 2);
		ck_assert_int_eq(outcome.status, STATUS_RETRY);
		ck_assert_uint_eq(outcome.error.reason, REASON_SET_EMPTYING);
		ck_assert_int_eq(
			broker_allocate(f.broker, &f.admin,
				&(struct allocate){.set = set, .max = PASID_LAST, .count = 1},
				&host, &f.error),
			STATUS_RETRY);
		model_run(&f);
		ck_assert_int_eq(broker_allocate(f.broker, &vm, &one, &host, &f.error), 0);
	}
END_TEST

START_TEST(a_destruction_meanwhile_wins)
	{
		struct outcome outcome;

		(void)fixture_add(&f, &vm, 0, 10);
		broker_set_empty(f.broker, set);
		ck_assert_int_eq(broker_set_destroy(f.broker, &f.admin, set, false, 5, &f.error),
			STATUS_RETRY);
		ck_assert_int_eq(broker_set_destroy(f.broker, &f.admin, set, true, 5, &f.error), 0);
		ck_assert(!info_of(set).emptying);
		ck_assert_int_eq(broker_set_destroy(f.broker, &f.admin, set, true, 6, &f.error),
			STATUS_STATE);
		outcome = fixture_outcome(&f, 5);
		ck_assert_int_eq(outcome.status, 0);
		ck_assert_int_eq(
			broker_set_get(f.broker, &f.admin, set, &(struct set_info){0}, &f.error),
			STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(a_destruction_under_way_is_not_undone)
	{
		(void)fixture_add(&f, &vm, 0, 10);
		ck_assert_int_eq(broker_set_destroy(f.broker, &f.admin, set, true, 5, &f.error), 0);
		broker_set_empty(f.broker, set);
		ck_assert_int_eq(fixture_outcome(&f, 5).status, 0);
		ck_assert(!broker_set_lives(f.broker, set));
	}
END_TEST

START_TEST(the_end_of_the_makers_session_wins_too)
	{
		struct set_id theirs = other.set;

		(void)fixture_add(&f, &other, 0, 10);
		broker_set_empty(f.broker, theirs);
		broker_session_end(f.broker, 11);
		model_run(&f);
		ck_assert(!broker_set_lives(f.broker, theirs));
	}
END_TEST

START_TEST(what_does_not_detach_stays_out_of_use)
	{
		struct device_id device = fixture_add(&f, &vm, 0, 10);
		struct hpasid host = fixture_allocate(&f, &vm);
		struct set_info info;

		ck_assert_int_eq(fixture_bind(&f, &vm, host, &device, 1), 0);
		f.model.fail_kind = HW_CLOSE;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		broker_set_empty(f.broker, set);
		model_run(&f);
		fixture_pass_second(&f);
		fixture_recount(&f);
		info = info_of(set);
		ck_assert(!info.dying);
		ck_assert_uint_eq(info.devices, 1);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		/* the same function, bound anew, proves that all of it is gone */
		(void)fixture_add(&f, &vm, 0, 12);
		fixture_pass_second(&f);
		ck_assert_int_eq(fixture_state(&f, host), GRANT_IDLE);
	}
END_TEST

START_TEST(an_unknown_set_is_nobodys_loss)
	{
		broker_set_empty(f.broker, (struct set_id){0});
		broker_set_empty(f.broker, (struct set_id){set.v + (1u << 24)});
		ck_assert(!info_of(set).dying);
		ck_assert(!broker_set_lives(f.broker, (struct set_id){0}));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		everything_is_torn_down_and_the_set_stays,
		the_next_vm_begins_anew,
		its_numbers_are_charged_until_they_are_released,
		queued_work_of_one_vm_never_meets_the_next,
		what_still_cools_is_not_for_the_next_vm_either,
		the_next_vm_has_its_own_numbers_again,
		meanwhile_requests_may_be_tried_again,
		a_destruction_meanwhile_wins,
		a_destruction_under_way_is_not_undone,
		the_end_of_the_makers_session_wins_too,
		what_does_not_detach_stays_out_of_use,
		an_unknown_set_is_nobodys_loss,
	};

	return suite_run(
		"broker, emptied sets", "empty", tests, ARRAY_SIZE(tests), setup, teardown);
}
