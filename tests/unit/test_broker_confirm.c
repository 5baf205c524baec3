/* SPDX-License-Identifier: MIT */
/* Records of this boot are missing: nothing is granted until an admin confirms (mutant N). */
#include "fixture.h"
#include "suite.h"

#define SHARED 5

static struct fixture f;
static struct actor vm;

static const struct set_id own = {0};

static void setup(void)
{
	fixture_config(&f);
	fixture_open(&f);
	broker_block(f.broker);
	fixture_settle(&f);
	vm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
}

static void teardown(void)
{
	model_run(&f);
	fixture_recount(&f);
	fixture_close(&f);
}

static bool is_blocked(void)
{
	struct broker_status status;

	broker_status(f.broker, &status);
	return status.unconfirmed;
}

static int allocate(const struct actor *actor, struct set_id set)
{
	const struct allocate one = {.set = set, .max = PASID_LAST, .count = 1};
	struct hpasid host;

	return broker_allocate(f.broker, actor, &one, &host, &f.error);
}

static void must_refuse(int status)
{
	ck_assert_int_eq(status, STATUS_STATE);
	ck_assert_uint_eq(f.error.reason, REASON_UNCONFIRMED);
	ck_assert_str_eq(f.error.text, BROKER_UNCONFIRMED_TEXT);
}

static bool confirm(void)
{
	bool was_blocked;

	ck_assert_int_eq(broker_confirm(f.broker, &f.admin, &was_blocked, &f.error), 0);
	return was_blocked;
}

START_TEST(nothing_is_granted_attached_or_registered)
	{
		const int fds[] = {10, MODEL_DEVICE_FD(0)};
		const struct bind_pair pair = {.table.kind = HW_TABLE_SPACE};
		const struct rid shared = {SHARED};
		struct device_id slice;
		struct broker *b = f.broker;

		(void)fixture_share(&f, SHARED); /* the daemon's own: the kernel gave it alone */
		must_refuse(allocate(&vm, own));
		must_refuse(allocate(&f.admin, vm.set));
		must_refuse(broker_bind(
			b, &vm, own, (struct pasid_ref){.number = 1024}, &pair, 1, 1, &f.error));
		must_refuse(broker_rid_attach(b, &vm, own, &pair, 1, &f.error));
		must_refuse(broker_device_add(b, &vm, own, fds, 2, NULL, 1, &f.error));
		must_refuse(broker_device_slice(
			b, &vm, own, (struct device_id){0}, shared, &slice, &f.error));
		ck_assert_uint_eq(model_entries(&f), 0);
		ck_assert_uint_eq(f.model.count, 0);
	}
END_TEST

START_TEST(who_may_not_know_a_set_still_does_not)
	{
		const struct actor other = {ROLE_VMM, 11, {0}, &f.peer};

		ck_assert_int_eq(allocate(&other, vm.set), STATUS_NOT_FOUND);
		ck_assert_uint_eq(f.error.reason, REASON_NO_SET);
	}
END_TEST

START_TEST(all_else_goes_on)
	{
		struct set_info info;
		uint32_t freed;

		ck_assert_int_eq(broker_set_get(f.broker, &vm, own, &info, &f.error), 0);
		ck_assert_int_eq(broker_set_adjust(f.broker, &vm, own, 10, &f.error), 0);
		ck_assert_int_eq(broker_free_all(f.broker, &vm, own, &freed, &f.error), 0);
		ck_assert_int_eq(broker_set_destroy(f.broker, &vm, own, false, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
	}
END_TEST

START_TEST(only_an_admin_confirms)
	{
		bool was_blocked = false;

		ck_assert_int_eq(
			broker_confirm(f.broker, &vm, &was_blocked, &f.error), STATUS_DENIED);
		ck_assert_int_eq(broker_confirm(f.broker, &f.observer, &was_blocked, &f.error),
			STATUS_DENIED);
		ck_assert(!was_blocked);
		ck_assert(is_blocked());
		must_refuse(allocate(&vm, own));
	}
END_TEST

START_TEST(after_it_was_confirmed_it_is_as_ever)
	{
		struct device_id device;

		ck_assert(confirm());
		ck_assert(!is_blocked());
		device = fixture_add(&f, &vm, 0, 10);
		ck_assert_int_eq(fixture_bind(&f, &vm, fixture_allocate(&f, &vm), &device, 1), 0);
	}
END_TEST

START_TEST(confirming_twice_is_no_error)
	{
		ck_assert(confirm());
		ck_assert(!confirm());
		ck_assert_int_eq(allocate(&vm, own), 0);
	}
END_TEST

START_TEST(a_restart_changes_nothing)
	{
		fixture_settle(&f);
		fixture_restart(&f, fixture_none_stands, NULL);
		ck_assert(is_blocked());
		must_refuse(allocate(&f.admin, vm.set));
		ck_assert(confirm());
		fixture_settle(&f);
		fixture_restart(&f, fixture_none_stands, NULL);
		ck_assert(!is_blocked());
		ck_assert_int_eq(allocate(&f.admin, vm.set), 0);
	}
END_TEST

START_TEST(a_confirmation_that_was_not_settled_was_none)
	{
		fixture_settle(&f);
		ck_assert(confirm());
		fixture_restart(&f, fixture_none_stands, NULL);
		ck_assert(is_blocked());
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		nothing_is_granted_attached_or_registered,
		who_may_not_know_a_set_still_does_not,
		all_else_goes_on,
		only_an_admin_confirms,
		after_it_was_confirmed_it_is_as_ever,
		confirming_twice_is_no_error,
		a_restart_changes_nothing,
		a_confirmation_that_was_not_settled_was_none,
	};

	return suite_run(
		"broker, missing records", "confirm", tests, ARRAY_SIZE(tests), setup, teardown);
}
