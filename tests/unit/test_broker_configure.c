/* SPDX-License-Identifier: MIT */
/* Another configuration while the broker serves: nobody loses what it has. */
#include "broker_private.h"
#include "recover_rig.h"
#include "suite.h"

#include <errno.h>
#include <string.h>

#define CAPACITY 100u
#define DB       7u
#define WEB      8u

static const struct broker_reservation both[] = {{"db", DB, 40}, {"web", WEB, 20}};
static const struct broker_reservation web_only[] = {{"web", WEB, 30}};
static struct policy_peer peers[2] = {{.uid = DB}, {.uid = WEB}};
static uint64_t sessions;

static void setup(void)
{
	sessions = 100;
	fixture_config(&f);
	f.config.capacity = CAPACITY;
	f.config.set_quota_default = 10;
	f.config.reservations = both;
	f.config.reservation_count = ARRAY_SIZE(both);
	fixture_open(&f);
}

static struct actor created(uint32_t uid, const char *name, uint32_t quota)
{
	const struct set_create create = {
		.name = name, .mode = SET_TRANSLATED, .has_quota = true, .quota = quota};
	struct actor vmm = {.role = ROLE_VMM, .session = ++sessions, .peer = &peers[uid - DB]};

	ck_assert_msg(broker_set_create(f.broker, &vmm, &create, &vmm.set, &f.error) == 0, "%s",
		f.error.text);
	fixture_recount(&f);
	return vmm;
}

static int create(uint32_t uid, const char *name, uint32_t quota)
{
	const struct set_create set = {
		.name = name, .mode = SET_TRANSLATED, .has_quota = true, .quota = quota};
	const struct actor vmm = {
		.role = ROLE_VMM, .session = ++sessions, .peer = &peers[uid - DB]};
	struct set_id id;
	int r = broker_set_create(f.broker, &vmm, &set, &id, &f.error);

	fixture_recount(&f);
	return r;
}

/* With what f.config and f.limits_config are now. */
static void configured(void)
{
	ck_assert_int_eq(broker_configure(f.broker, &f.config, &f.limits_config), 0);
	fixture_recount(&f);
}

static void reserve(const struct broker_reservation *reservations, uint32_t count)
{
	f.config.reservations = reservations;
	f.config.reservation_count = count;
	configured();
}

static void is(unsigned index, const char *name, uint32_t current, uint32_t aside, uint32_t missing)
{
	struct reservation_info info = {.uid = 0};
	uint64_t cursor = index;

	ck_assert(broker_reservation_next(f.broker, &f.observer, &cursor, &info));
	ck_assert_str_eq(info.name, name);
	ck_assert_uint_eq(info.account.current, current);
	ck_assert_uint_eq(info.aside, aside);
	ck_assert_uint_eq(info.missing, missing);
}

static void allocate_some(const struct actor *actor, unsigned count)
{
	while (count-- > 0)
		(void)fixture_allocate(&f, actor);
}

static int allocate_one(const struct actor *actor)
{
	const struct allocate allocate = {.count = 1, .max = PASID_LAST};
	struct hpasid host;
	int r = broker_allocate(f.broker, actor, &allocate, &host, &f.error);

	fixture_recount(&f);
	return r;
}

static void end(const struct actor *vmm)
{
	broker_session_end(f.broker, vmm->session);
	model_run(&f);
	fixture_recount(&f);
}

START_TEST(limits_below_what_is_in_use_refuse_only_what_is_new)
	{
		struct actor db = created(DB, "db", 40);
		const int fds[] = {13, MODEL_DEVICE_FD(2)};

		allocate_some(&db, 10);
		f.limits_config.of[RESOURCE_PASIDS].user = 5;
		f.limits_config.of[RESOURCE_SETS].user = 1;
		f.limits_config.of[RESOURCE_DEVICES].set = 1;
		configured();
		ck_assert_int_eq(allocate_one(&db), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_USER_QUOTA);
		ck_assert_int_eq(create(DB, "other", 1), STATUS_QUOTA);
		ck_assert_int_eq(create(WEB, "web", 1), 0);
		(void)fixture_add(&f, &db, 1, 13);
		ck_assert_int_eq(
			broker_device_add(f.broker, &db, db.set, fds, 2, NULL, 1, &f.error),
			STATUS_QUOTA);
		/* and what is given back brings it below the limit */
		f.limits_config.of[RESOURCE_PASIDS].user = 0;
		f.limits_config.of[RESOURCE_SETS].user = 0;
		configured();
		ck_assert_int_eq(allocate_one(&db), 0);
		ck_assert_int_eq(create(DB, "other", 1), 0);
	}
END_TEST

START_TEST(a_capacity_below_what_is_out_grants_nothing_more)
	{
		struct actor db = created(DB, "db", 40);

		allocate_some(&db, 30);
		f.config.reservation_count = 0;
		f.config.capacity = 20;
		configured();
		ck_assert_int_eq(allocate_one(&db), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_HOST_QUOTA);
		ck_assert_int_eq(create(DB, "other", 1), STATUS_QUOTA);
		f.config.capacity = 0;
		configured();
		ck_assert_int_eq(allocate_one(&db), 0);
		ck_assert_int_eq(create(DB, "other", 200), 0);
	}
END_TEST

START_TEST(quotas_of_new_sets_and_none_of_old_ones)
	{
		struct actor db = created(DB, "db", 40);
		struct set_info info;

		f.config.set_quota_max = 15;
		f.config.set_quota_default = 3;
		configured();
		ck_assert_int_eq(broker_set_get(f.broker, &db, db.set, &info, &f.error), 0);
		ck_assert_uint_eq(info.pasids.limit, 40);
		ck_assert_int_ne(create(DB, "other", 16), 0);
		ck_assert_int_eq(create(DB, "other", 15), 0);
	}
END_TEST

START_TEST(what_is_reserved_is_set_aside_anew)
	{
		struct actor db = created(DB, "db", 50);

		is(0, "db", 40, 0, 0);
		is(1, "web", 0, 20, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 70);
		reserve(web_only, 1);
		is(0, "web", 0, 30, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 80);
		/* what db had goes back to everybody */
		end(&db);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 30);
		ck_assert_int_eq(create(DB, "much", 70), 0);
		/* what others were promised is missing, until they give it back */
		reserve(both, 2);
		is(0, "db", 0, 30, 10);
		is(1, "web", 0, 0, 20);
	}
END_TEST

START_TEST(sets_that_are_there_have_what_is_reserved_for_them)
	{
		struct actor db, gone;

		reserve(NULL, 0);
		gone = created(DB, "db", 30);
		allocate_some(&gone, 12);
		end(&gone); /* 12 numbers of it rest, and are charged to it */
		db = created(DB, "db", 20);
		reserve(both, 2);
		/* those that rest come first, then the set that is there */
		is(0, "db", 32, 8, 0);
		is(1, "web", 0, 20, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 12 + 20 + 8 + 20);
		f.now_ms += 2000;
		broker_tick(f.broker);
		fixture_recount(&f);
		is(0, "db", 20, 20, 0);
		reserve(both, 2); /* the same once more changes nothing */
		is(0, "db", 20, 20, 0);
		end(&db);
		is(0, "db", 0, 40, 0);
	}
END_TEST

START_TEST(a_reservation_of_another_user_is_not_taken)
	{
		static const struct broker_reservation other[] = {{"db", WEB, 10}};
		struct actor db = created(DB, "db", 40);

		reserve(other, 1);
		is(0, "db", 0, 10, 0);
		end(&db);
		is(0, "db", 0, 10, 0);
		ck_assert_int_eq(create(WEB, "db", 10), 0);
		is(0, "db", 10, 0, 0);
	}
END_TEST

START_TEST(what_is_out_of_range_changes_nothing)
	{
		struct broker_config config = f.config;
		struct limits_config limits = f.limits_config;

		limits.of[RESOURCE_SETS].host = 1;
		config.set_quota_default = 0;
		ck_assert_int_eq(broker_configure(f.broker, &config, &limits), -EINVAL);
		config = f.config;
		config.reservation_count = BROKER_RESERVATIONS_MAX + 1;
		ck_assert_int_eq(broker_configure(f.broker, &config, &limits), -EINVAL);
		is(0, "db", 0, 40, 0);
		ck_assert_int_eq(create(DB, "a", 1), 0);
		ck_assert_int_eq(create(DB, "b", 1), 0);
	}
END_TEST

START_TEST(what_lasts_as_long_as_the_broker_stays)
	{
		const uint32_t operations =
			limits_account(f.limits, LIMITS_NO_USER, RESOURCE_OPERATIONS)->limit;
		struct actor db = created(DB, "db", 40);
		struct broker_status status;

		f.config.reserved_last = 0;
		f.config.name_key ^= 1;
		f.config.random_key[0] ^= 1;
		f.config.pasid_width = 16;
		configured();
		ck_assert_uint_eq(f.broker->config.pasid_width, 16);
		f.config.pasid_width = 0;
		f.limits_config.of[RESOURCE_OPERATIONS].host = 1;
		configured();
		broker_status(f.broker, &status);
		ck_assert_uint_ne(status.reserved_last, 0);
		ck_assert_uint_eq(
			limits_account(f.limits, LIMITS_NO_USER, RESOURCE_OPERATIONS)->limit,
			operations);
		ck_assert_uint_eq(f.broker->config.pasid_width, PASID_BITS);
		/* by name it is found still */
		ck_assert_int_eq(create(DB, "db", 1), STATUS_EXISTS);
		end(&db);
		ck_assert_int_eq(create(DB, "db", 1), 0);
	}
END_TEST

START_TEST(another_policy_waits_until_no_number_is_out)
	{
		struct actor db = created(DB, "db", 40);
		struct broker_status status;

		allocate_some(&db, 1);
		f.config.policy = BROKER_LOWEST;
		configured();
		broker_status(f.broker, &status);
		ck_assert(status.policy_waits);
		ck_assert_int_eq(status.policy, BROKER_CYCLIC);
		end(&db);
		f.now_ms += 2000;
		broker_tick(f.broker);
		broker_status(f.broker, &status);
		ck_assert(!status.policy_waits);
	}
END_TEST

START_TEST(numbers_that_rest_keep_their_time)
	{
		struct actor db = created(DB, "db", 40);
		struct hpasid one = fixture_allocate(&f, &db), other = fixture_allocate(&f, &db);

		ck_assert_int_eq(fixture_free(&f, &db, one), 0);
		f.config.cooling_ms = 0;
		configured();
		ck_assert_int_eq(fixture_free(&f, &db, other), 0);
		broker_tick(f.broker);
		ck_assert_int_eq(fixture_state(&f, one), GRANT_QUARANTINED);
		f.now_ms += 1000;
		broker_tick(f.broker);
		fixture_recount(&f);
		ck_assert_int_eq(fixture_state(&f, one), GRANT_IDLE);
		ck_assert_int_eq(fixture_state(&f, other), GRANT_IDLE);
	}
END_TEST

/* Nothing is recorded: the next run has what it is given. */
START_TEST(a_restart_after_it_recovers_the_same)
	{
		struct actor db = created(DB, "db", 40);

		allocate_some(&db, 10);
		f.limits_config.of[RESOURCE_PASIDS].user = 5;
		reserve(web_only, 1);
		fixture_settle(&f);
		recover_restart(true);
		is(0, "web", 0, 30, 0);
		ck_assert_uint_eq(recover_set("db").pasids.limit, 40);
		ck_assert_uint_eq(recover_set("db").pasids.current, 10);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {limits_below_what_is_in_use_refuse_only_what_is_new,
		a_capacity_below_what_is_out_grants_nothing_more,
		quotas_of_new_sets_and_none_of_old_ones, what_is_reserved_is_set_aside_anew,
		sets_that_are_there_have_what_is_reserved_for_them,
		a_reservation_of_another_user_is_not_taken, what_is_out_of_range_changes_nothing,
		what_lasts_as_long_as_the_broker_stays, another_policy_waits_until_no_number_is_out,
		numbers_that_rest_keep_their_time, a_restart_after_it_recovers_the_same};

	return suite_run("broker: configuration", "configure", tests, ARRAY_SIZE(tests), setup,
		recover_teardown);
}
