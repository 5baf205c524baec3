/* SPDX-License-Identifier: MIT */
/* How a broker comes to be, and what it says when there is no room for one more record. */
#include "broker_private.h"
#include "failing_memory.h"
#include "fixture.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

static struct fixture f;
static struct actor a;
static const struct set_id own = {0};

/* Records that cannot grow, as when the file system is full. */
static struct state_ops narrow;
static enum state_table narrow_table;

static int narrow_reserve(void *ctx, enum state_table table, uint32_t count)
{
	(void)ctx;
	(void)count;
	return table == narrow_table ? -ENOSPC : 0;
}

static void make_narrow(enum state_table table)
{
	narrow = *f.state.ops;
	narrow.reserve = narrow_reserve;
	narrow_table = table;
	f.state.ops = &narrow;
}

/* Begins anew with places for so many records in one table. */
static void restart_with(enum state_table table, uint32_t capacity)
{
	f.state.capacity[table] = capacity;
	fixture_restart(&f, fixture_all_stand, NULL);
}

static void setup(void)
{
	fixture_config(&f);
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_recount(&f);
	fixture_close(&f);
}

/* What broker_new() says about this configuration and these ports; a broker that came is freed. */
static int new_status(const struct broker_config *config, const struct broker_ports *ports)
{
	struct broker *broker = NULL;
	int r = broker_new(config, ports, &broker);

	ck_assert((r == 0) == (broker != NULL));
	broker_free(broker);
	return r;
}

/* ------------------------------------------------------------------ life */

START_TEST(a_broker_comes_with_all_its_memory_or_not_at_all)
	{
		struct limits *none = NULL;
		unsigned n = 0;

		for (;; n++) {
			int r;

			memory_fail_once_after(n);
			r = new_status(&f.config, &f.broker->ports);
			if (!memory_recover())
				break;
			ck_assert_int_eq(r, -ENOMEM);
		}
		memory_fail_after(0);
		ck_assert_int_eq(limits_new(&f.limits_config, &none), -ENOMEM);
		ck_assert(memory_recover());
		ck_assert_ptr_null(none);
		ck_assert_uint_ge(n, 12); /* itself, eight tables and three pools */
		ck_assert_int_eq(new_status(&f.config, &f.broker->ports), 0);
	}
END_TEST

START_TEST(without_a_record_of_the_host_there_is_none)
	{
		make_narrow(STATE_HOST);
		ck_assert_int_eq(new_status(&f.config, &f.broker->ports), -ENOSPC);
	}
END_TEST

START_TEST(a_quota_of_nothing_or_no_policy_is_no_configuration)
	{
		struct broker_config config = f.config;

		config.set_quota_default = 0;
		ck_assert_int_eq(new_status(&config, &f.broker->ports), -EINVAL);
		config = f.config;
		config.set_quota_max = 0;
		ck_assert_int_eq(new_status(&config, &f.broker->ports), -EINVAL);
		config = f.config;
		config.policy = (enum broker_policy)(BROKER_RANDOMIZED + 1);
		ck_assert_int_eq(new_status(&config, &f.broker->ports), -EINVAL);
		config = f.config;
		config.pasid_width = PASID_BITS + 1;
		ck_assert_int_eq(new_status(&config, &f.broker->ports), -EINVAL);
	}
END_TEST

START_TEST(tables_must_have_places_that_can_be_named)
	{
		const uint32_t before = f.state.capacity[STATE_BINDINGS];

		f.state.capacity[STATE_BINDINGS] = 0;
		ck_assert_int_eq(new_status(&f.config, &f.broker->ports), -EINVAL);
		f.state.capacity[STATE_BINDINGS] = SLOT_MASK;
		ck_assert_int_eq(new_status(&f.config, &f.broker->ports), -EINVAL);
		f.state.capacity[STATE_BINDINGS] = before;
		ck_assert_int_eq(new_status(&f.config, &f.broker->ports), 0);
	}
END_TEST

START_TEST(operations_are_limited_even_where_the_configuration_has_no_limit)
	{
		limits_set_host(f.limits, RESOURCE_OPERATIONS, 0);
		ck_assert_int_eq(new_status(&f.config, &f.broker->ports), 0);
		ck_assert_uint_eq(
			limits_account(f.limits, LIMITS_NO_USER, RESOURCE_OPERATIONS)->limit,
			BROKER_OPS_MAX);
	}
END_TEST

START_TEST(a_capacity_is_at_most_all_numbers_that_are_not_reserved)
	{
		struct broker_config config = f.config;

		config.capacity = PASID_COUNT;
		ck_assert_int_eq(new_status(&config, &f.broker->ports), 0);
		ck_assert_uint_eq(limits_account(f.limits, LIMITS_NO_USER, RESOURCE_PASIDS)->limit,
			PASID_LAST - f.config.reserved_last);
		config.capacity = 100;
		ck_assert_int_eq(new_status(&config, &f.broker->ports), 0);
		ck_assert_uint_eq(
			limits_account(f.limits, LIMITS_NO_USER, RESOURCE_PASIDS)->limit, 100);
	}
END_TEST

START_TEST(there_is_a_user_for_each_set)
	{
		f.state.capacity[STATE_SETS] = LIMITS_USERS_MAX + 1;
		ck_assert_int_eq(new_status(&f.config, &f.broker->ports), -EINVAL);
		f.state.capacity[STATE_SETS] = LIMITS_USERS_MAX;
		ck_assert_int_eq(new_status(&f.config, &f.broker->ports), 0);
	}
END_TEST

/* ------------------------------------------------------------------ no room */

static int create(const char *name)
{
	const struct set_create request = {.name = name, .mode = SET_TRANSLATED};
	struct set_id set = {0};
	int r = broker_set_create(f.broker, &f.admin, &request, &set, &f.error);

	ck_assert((r == 0) == (set.v != 0));
	fixture_recount(&f);
	return r;
}

START_TEST(a_set_that_has_no_place_is_refused_until_another_went)
	{
		struct broker_status status;

		restart_with(STATE_SETS, 2);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 8);
		ck_assert_int_eq(create("b"), 0);
		ck_assert_int_eq(create("c"), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_LIMIT);
		ck_assert_ptr_nonnull(strstr(f.error.text, "no place for another set"));
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.sets, 2);
		broker_session_end(f.broker, a.session);
		ck_assert_int_eq(create("c"), 0);
	}
END_TEST

START_TEST(a_set_that_cannot_be_recorded_is_refused)
	{
		make_narrow(STATE_SETS);
		ck_assert_int_eq(create("a"), STATUS_RETRY);
		ck_assert_uint_eq(f.error.reason, REASON_NO_MEMORY);
		ck_assert_ptr_nonnull(strstr(f.error.text, "free space in the runtime directory"));
	}
END_TEST

START_TEST(a_set_of_one_user_too_many_is_refused)
	{
		struct set_create request = {
			.name = "late", .mode = SET_TRANSLATED, .has_owner = true};
		struct set_id set;
		uint32_t user;

		for (uint32_t uid = 1; uid <= LIMITS_USERS_MAX; uid++)
			ck_assert_int_eq(limits_user_open(f.limits, uid, &user, &f.error), 0);
		ck_assert_int_eq(create("a"), 0); /* of user 1000, who is known */
		request.owner_uid = LIMITS_USERS_MAX + 1;
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &request, &set, &f.error),
			STATUS_QUOTA);
		ck_assert_ptr_nonnull(strstr(f.error.text, "as many users"));
		fixture_recount(&f);
	}
END_TEST

START_TEST(a_device_that_has_no_place_is_refused_and_its_descriptors_come_back)
	{
		const int fds[] = {50, MODEL_DEVICE_FD(3)};
		struct device_id slice;
		struct outcome outcome;

		restart_with(STATE_DEVICES, 2);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 8);
		(void)fixture_add(&f, &a, 1, 50);
		(void)fixture_share(&f, 2);
		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, fds, 2, NULL, 1, &f.error), 0);
		outcome = fixture_outcome(&f, 1);
		ck_assert_int_eq(outcome.status, STATUS_QUOTA);
		ck_assert_ptr_nonnull(strstr(outcome.error.text, "another device registration"));
		ck_assert_uint_eq(outcome.unused_count, 2);
		ck_assert_int_eq(broker_device_slice(f.broker, &a, own, (struct device_id){0},
					 (struct rid){2}, &slice, &f.error),
			STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_LIMIT);
		fixture_recount(&f);
		ck_assert_uint_eq(
			limits_account(f.limits, LIMITS_NO_USER, RESOURCE_DEVICES)->current, 1);
	}
END_TEST

START_TEST(a_binding_that_has_no_place_takes_the_others_of_its_bind_back)
	{
		struct device_id devices[3];
		struct hpasid host;

		restart_with(STATE_BINDINGS, 2);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 8);
		for (uint32_t i = 0; i < 3; i++)
			devices[i] = fixture_add(&f, &a, 1 + i, 50);
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 3), STATUS_QUOTA);
		ck_assert_ptr_nonnull(strstr(f.error.text, "another binding"));
		ck_assert_uint_eq(model_entries(&f), 0);
		fixture_recount(&f);
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
	}
END_TEST

START_TEST(numbers_that_cannot_be_recorded_are_not_granted)
	{
		const struct allocate allocate = {.max = PASID_LAST, .count = 4};
		struct hpasid numbers[4];
		struct broker_status status;

		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 8);
		make_narrow(STATE_GRANTS);
		ck_assert_int_gt(broker_allocate(f.broker, &a, &allocate, numbers, &f.error), 0);
		ck_assert_uint_eq(f.error.reason, REASON_NO_MEMORY);
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.pasids.current, 0);
	}
END_TEST

/* There are fewer places that were never used than numbers asked for, and enough in all. */
START_TEST(places_of_numbers_that_went_are_used_again)
	{
		const struct allocate allocate = {.max = PASID_LAST, .count = 4};
		struct hpasid numbers[4];

		restart_with(STATE_GRANTS, 6);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 6);
		for (int round = 0; round < 3; round++) {
			ck_assert_int_eq(
				broker_allocate(f.broker, &a, &allocate, numbers, &f.error), 0);
			for (int i = 0; i < 4; i++)
				ck_assert_int_eq(fixture_free(&f, &a, numbers[i]), 0);
			f.now_ms += 1000;
			broker_tick(f.broker);
			fixture_recount(&f);
		}
	}
END_TEST

START_TEST(numbers_that_went_make_room_where_records_cannot_grow)
	{
		struct allocate allocate = {.max = PASID_LAST, .count = 4};
		struct hpasid numbers[5];

		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 6);
		ck_assert_int_eq(broker_allocate(f.broker, &a, &allocate, numbers, &f.error), 0);
		make_narrow(STATE_GRANTS);
		for (int i = 0; i < 4; i++)
			ck_assert_int_eq(fixture_free(&f, &a, numbers[i]), 0);
		fixture_pass_second(&f);
		allocate.count = 5;
		ck_assert_int_eq(
			broker_allocate(f.broker, &a, &allocate, numbers, &f.error), STATUS_RETRY);
		allocate.count = 4;
		ck_assert_int_eq(broker_allocate(f.broker, &a, &allocate, numbers, &f.error), 0);
		fixture_recount(&f);
	}
END_TEST

/* ------------------------------------------------------------------ no page for a guest's number
 */

static unsigned pages_left;
static struct translate_pages below;

static int scarce_take(void *ctx, uint64_t *ret_offset)
{
	if (pages_left == 0)
		return -ENOMEM;
	pages_left--;
	return below.take(ctx, ret_offset);
}

START_TEST(numbers_whose_map_finds_no_page_are_not_granted)
	{
		struct allocate allocate = {.min = 2047, .max = 2048, .count = 2};
		struct hpasid numbers[2];

		a = fixture_vmm(&f, 10, "a", SET_IDENTITY, 8);
		below = f.broker->ports.pages;
		f.broker->ports.pages.take = scarce_take;
		for (pages_left = 0; pages_left < 3; pages_left++) {
			unsigned before = pages_left;

			ck_assert_int_gt(
				broker_allocate(f.broker, &a, &allocate, numbers, &f.error), 0);
			ck_assert_uint_eq(f.error.reason, REASON_NO_MEMORY);
			fixture_recount(&f);
			/* a directory may stay, no table */
			ck_assert_uint_le(limits_sum(f.limits, RESOURCE_MAP_PAGES), 1);
			pages_left = before;
		}
		ck_assert_int_eq(broker_allocate(f.broker, &a, &allocate, numbers, &f.error), 0);
		f.broker->ports.pages = below;
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_broker_comes_with_all_its_memory_or_not_at_all,
		without_a_record_of_the_host_there_is_none,
		a_quota_of_nothing_or_no_policy_is_no_configuration,
		tables_must_have_places_that_can_be_named,
		there_is_a_user_for_each_set,
		operations_are_limited_even_where_the_configuration_has_no_limit,
		a_capacity_is_at_most_all_numbers_that_are_not_reserved,
		a_set_that_has_no_place_is_refused_until_another_went,
		a_set_that_cannot_be_recorded_is_refused,
		a_set_of_one_user_too_many_is_refused,
		a_device_that_has_no_place_is_refused_and_its_descriptors_come_back,
		a_binding_that_has_no_place_takes_the_others_of_its_bind_back,
		numbers_that_cannot_be_recorded_are_not_granted,
		places_of_numbers_that_went_are_used_again,
		numbers_that_went_make_room_where_records_cannot_grow,
		numbers_whose_map_finds_no_page_are_not_granted,
	};

	return suite_run(
		"broker, beginnings and room", "room", tests, ARRAY_SIZE(tests), setup, teardown);
}
