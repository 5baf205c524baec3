/* SPDX-License-Identifier: MIT */
/*
 * F25: capacity that is kept for sets of one name and user. A host of 100 numbers, of which 40 are
 * for the set "db" of user 7, and 20 for "web" of user 8.
 */
#include "broker_private.h"
#include "recover_rig.h"
#include "suite.h"

#include <string.h>

#define CAPACITY 100u
#define DB       7u
#define WEB      8u
#define ELSE     9u
#define WHATEVER 1000u /* no quota is asked for */

static const struct broker_reservation both[] = {{"db", DB, 40}, {"web", WEB, 20}};
static struct policy_peer peers[3] = {{.uid = DB}, {.uid = WEB}, {.uid = ELSE}};
static uint64_t sessions;

static void setup(void)
{
	fixture_config(&f);
	f.config.capacity = CAPACITY;
	f.config.set_quota_default = 10;
	f.config.reservations = both;
	f.config.reservation_count = ARRAY_SIZE(both);
	fixture_open(&f);
}

static void teardown(void)
{
	recover_teardown();
}

/* A set with a quota, of a VMM of that user; the status. */
static int create(uint32_t uid, const char *name, uint32_t quota, struct actor *ret_vmm)
{
	const struct set_create create = {.name = name,
		.mode = SET_TRANSLATED,
		.has_quota = quota != WHATEVER,
		.quota = quota};
	struct actor vmm = {
		.role = ROLE_VMM, .session = ++sessions + 100, .peer = &peers[uid - DB]};
	int r = broker_set_create(f.broker, &vmm, &create, &vmm.set, &f.error);

	fixture_recount(&f);
	if (r == 0 && ret_vmm)
		*ret_vmm = vmm;
	return r;
}

static struct actor created(uint32_t uid, const char *name, uint32_t quota)
{
	struct actor vmm = {0};

	ck_assert_msg(create(uid, name, quota, &vmm) == 0, "%s", f.error.text);
	return vmm;
}

static struct reservation_info look(unsigned index)
{
	struct reservation_info info = {.uid = 0};
	uint64_t cursor = index;

	ck_assert(broker_reservation_next(f.broker, &f.observer, &cursor, &info));
	ck_assert_str_eq(info.name, both[index].name);
	ck_assert_uint_eq(info.uid, both[index].uid);
	return info;
}

static void is(unsigned index, uint32_t current, uint32_t aside, uint32_t missing)
{
	const struct reservation_info info = look(index);

	ck_assert_uint_eq(info.account.current, current);
	ck_assert_uint_eq(info.aside, aside);
	ck_assert_uint_eq(info.missing, missing);
	fixture_recount(&f);
}

static void end(const struct actor *vmm)
{
	broker_session_end(f.broker, vmm->session);
	model_run(&f);
	fixture_recount(&f);
}

static void pass(void)
{
	f.now_ms += 2000;
	broker_tick(f.broker);
	fixture_recount(&f);
}

static uint32_t quota_of(const struct actor *vmm)
{
	struct set_info info;

	ck_assert_int_eq(broker_set_get(f.broker, vmm, vmm->set, &info, &f.error), 0);
	return info.pasids.limit;
}

/* F25 */
START_TEST(what_is_reserved_is_promised_to_nobody_else)
	{
		struct actor a;

		is(0, 0, 40, 0);
		is(1, 0, 20, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 60);
		ck_assert_int_eq(create(ELSE, "a", 41, NULL), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_HOST_QUOTA);
		a = created(ELSE, "a", 40);
		ck_assert_int_eq(create(ELSE, "b", 1, NULL), STATUS_QUOTA);
		/* nor to the user under another name, nor to another user under that name */
		ck_assert_int_eq(create(DB, "other", 1, NULL), STATUS_QUOTA);
		ck_assert_int_eq(create(ELSE, "db", 1, NULL), STATUS_DENIED);
		ck_assert_uint_eq(f.error.reason, REASON_POLICY);
		ck_assert_ptr_null(strstr(f.error.text, "7"));
		ck_assert_int_eq(create(WEB, "db", 1, NULL), STATUS_DENIED);
		ck_assert_int_eq(create(DB, "db", 40, NULL), 0);
		is(0, 40, 0, 0);
		ck_assert_int_eq(create(WEB, "web", 20, NULL), 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 100);
		ck_assert_uint_eq(quota_of(&a), 40);
	}
END_TEST

START_TEST(a_quota_takes_of_the_reservation_first)
	{
		struct actor db = created(DB, "db", 15);

		is(0, 15, 25, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 60);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, db.set, 70, &f.error), 0);
		is(0, 40, 0, 0); /* and 30 of the rest */
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 90);
		ck_assert_int_eq(
			broker_set_adjust(f.broker, &f.admin, db.set, 81, &f.error), STATUS_QUOTA);
		is(0, 40, 0, 0);
		ck_assert_uint_eq(look(0).account.hits, 1);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, db.set, 50, &f.error), 0);
		is(0, 40, 0, 0); /* the rest goes back first */
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 70);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, db.set, 5, &f.error), 0);
		is(0, 5, 35, 0);
		ck_assert_uint_eq(look(0).account.peak, 40);
		ck_assert_uint_eq(look(0).account.limit, 40);
	}
END_TEST

START_TEST(a_refused_set_changes_nothing)
	{
		(void)created(ELSE, "a", 40);
		ck_assert_int_eq(create(DB, "db", 41, NULL), STATUS_QUOTA);
		is(0, 0, 40, 0);
		ck_assert_uint_eq(look(0).account.hits, 1);
		ck_assert_int_eq(create(DB, "db", 40, NULL), 0);
	}
END_TEST

/* A set that asks for no quota gets what is reserved, one that asks for what remains all of it. */
START_TEST(quotas_that_nobody_says)
	{
		struct actor db = created(DB, "db", WHATEVER), web;

		ck_assert_uint_eq(quota_of(&db), 40);
		web = created(WEB, "web", 0);
		ck_assert_uint_eq(quota_of(&web), 60);
		is(1, 20, 0, 0);
		ck_assert_int_eq(create(ELSE, "a", 0, NULL), STATUS_QUOTA);
	}
END_TEST

START_TEST(what_a_gone_set_had_is_reserved_again_after_its_quarantine)
	{
		struct actor db = created(DB, "db", 60), again;

		for (unsigned i = 0; i < 30; i++)
			(void)fixture_allocate(&f, &db);
		end(&db);
		/* 30 numbers are in quarantine, and count there */
		is(0, 30, 10, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 60);
		ck_assert_int_eq(create(ELSE, "a", 40, NULL), 0);
		again = created(DB, "db", 10);
		is(0, 40, 0, 0);
		ck_assert_int_eq(create(DB, "other", 1, NULL), STATUS_QUOTA);
		pass();
		is(0, 10, 30, 0);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, again.set, 40, &f.error), 0);
		is(0, 40, 0, 0);
		end(&again);
		is(0, 0, 40, 0);
	}
END_TEST

/* What the next one had to take of the rest goes back when the earlier one is over. */
START_TEST(the_next_set_is_covered_by_what_comes_back)
	{
		struct actor db = created(DB, "db", 40);

		for (unsigned i = 0; i < 40; i++)
			(void)fixture_allocate(&f, &db);
		end(&db);
		db = created(DB, "db", 35);
		is(0, 40, 0, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 95);
		pass();
		is(0, 35, 5, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 60);
	}
END_TEST

START_TEST(an_admin_makes_it_for_its_user)
	{
		struct set_create create = {
			.name = "db", .mode = SET_TRANSLATED, .has_owner = true};
		struct set_id set;

		create.owner_uid = ELSE;
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &set, &f.error),
			STATUS_DENIED);
		ck_assert_ptr_nonnull(strstr(f.error.text, "user 7"));
		create.owner_uid = DB;
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &create, &set, &f.error), 0);
		is(0, 40, 0, 0);
		/* emptied for another VM it is the same set */
		broker_set_empty(f.broker, set);
		model_run(&f);
		is(0, 40, 0, 0);
	}
END_TEST

/* A user's own limit is not what is reserved for it. */
START_TEST(limits_of_the_user_go_before)
	{
		fixture_close(&f);
		f.limits_config.of[RESOURCE_PROMISED].user = 30;
		fixture_open(&f);
		ck_assert_int_eq(create(DB, "db", 31, NULL), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_USER_QUOTA);
		is(0, 0, 40, 0);
		struct actor db = created(DB, "db", 0);
		ck_assert_uint_eq(quota_of(&db), 30);
		is(0, 30, 10, 0);
	}
END_TEST

START_TEST(only_those_who_see_everything_see_it)
	{
		struct actor db = created(DB, "db", 5);
		struct reservation_info info;
		uint64_t cursor = 0;

		ck_assert(!broker_reservation_next(f.broker, &db, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_END);
		cursor = 2;
		ck_assert(!broker_reservation_next(f.broker, &f.admin, &cursor, &info));
		ck_assert_uint_eq(cursor, BROKER_END);
	}
END_TEST

/* ------------------------------------------------------------------ restarts */

START_TEST(a_restart_keeps_it)
	{
		struct actor db = created(DB, "db", 50), web = created(WEB, "web", 10);

		for (unsigned i = 0; i < 45; i++)
			(void)fixture_allocate(&f, &db);
		for (unsigned i = 0; i < 4; i++)
			(void)fixture_allocate(&f, &web);
		end(&web);
		f.config.reservations = both;
		recover_restart(true);
		is(0, 40, 0, 0);
		is(1, 4, 16, 0);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 70);
		ck_assert_uint_eq(quota_of(&db), 50);
		pass();
		is(1, 0, 20, 0);
		ck_assert_int_eq(create(ELSE, "a", 31, NULL), STATUS_QUOTA);
		ck_assert_int_eq(create(ELSE, "a", 30, NULL), 0);
	}
END_TEST

/* The record of the one that is gone may be behind that of the one that has it now. */
START_TEST(a_restart_keeps_it_for_the_set_that_is_there)
	{
		struct actor first = created(DB, "db", 10), gone = first, db;

		(void)fixture_allocate(&f, &first);
		end(&first);
		gone = created(DB, "db", 20);
		pass();
		for (unsigned i = 0; i < 15; i++)
			(void)fixture_allocate(&f, &gone);
		end(&gone);
		db = created(DB, "db", 35);
		ck_assert_uint_lt(db.set.v & SLOT_MASK, gone.set.v & SLOT_MASK);
		is(0, 40, 0, 0);
		f.config.reservations = both;
		recover_restart(true);
		is(0, 40, 0, 0);
		pass();
		is(0, 35, 5, 0);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, db.set, 40, &f.error), 0);
		is(0, 40, 0, 0);
		end(&db);
		is(0, 0, 40, 0);
	}
END_TEST

/* Sets keep what they were promised; what cannot be set aside is told, and is when they give back.
 */
START_TEST(what_others_were_promised_before_is_missing_until_it_comes_back)
	{
		struct broker_status status;
		struct actor a, b, db;

		f.config.reservation_count = 0;
		recover_restart(true);
		a = created(ELSE, "a", 30);
		b = created(ELSE, "b", 40);
		db = created(DB, "db", 15);
		f.config.reservations = both;
		f.config.reservation_count = 2;
		recover_restart(true);
		/* 15 are left: the first in the list has them */
		is(0, 15, 15, 10);
		is(1, 0, 0, 20);
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.missing, 30);
		ck_assert_int_eq(create(WEB, "web", 1, NULL), STATUS_QUOTA);
		ck_assert_uint_eq(quota_of(&a), 30);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, 15, &f.error), 0);
		is(0, 15, 25, 0);
		is(1, 0, 5, 15);
		ck_assert_int_eq(create(ELSE, "c", 1, NULL), STATUS_QUOTA);
		ck_assert_int_eq(create(WEB, "web", 5, NULL), 0);
		is(1, 5, 0, 15);
		end(&b);
		is(1, 5, 15, 0);
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.missing, 0);
		ck_assert_uint_eq(quota_of(&db), 15);
	}
END_TEST

/* Its own set has it already: that is no missing capacity. */
START_TEST(a_set_that_has_more_than_is_left_covers_itself)
	{
		f.config.reservation_count = 0;
		recover_restart(true);
		(void)created(ELSE, "a", 60);
		(void)created(DB, "db", 40);
		f.config.reservations = both;
		f.config.reservation_count = 1;
		recover_restart(true);
		is(0, 40, 0, 0);
	}
END_TEST

START_TEST(less_or_nothing_is_reserved_afterwards)
	{
		static const struct broker_reservation less[] = {{"db", DB, 10}};
		struct actor db = created(DB, "db", 40);

		f.config.reservations = less;
		f.config.reservation_count = 1;
		recover_restart(true);
		ck_assert_uint_eq(quota_of(&db), 40);
		ck_assert_uint_eq(look(0).account.current, 10);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 40);
		f.config.reservation_count = 0;
		recover_restart(true);
		ck_assert_uint_eq(quota_of(&db), 40);
		ck_assert_int_eq(create(ELSE, "a", 60, NULL), 0);
	}
END_TEST

/* The set is another user's by now: the name is not its. */
START_TEST(a_set_of_another_user_does_not_have_it)
	{
		static const struct broker_reservation theirs[] = {{"db", WEB, 40}};
		struct actor db = created(DB, "db", 30);

		f.config.reservations = theirs;
		f.config.reservation_count = 1;
		recover_restart(true);
		ck_assert_uint_eq(quota_of(&db), 30);
		ck_assert_uint_eq(recover_host_use(RESOURCE_PROMISED), 70);
		ck_assert_int_eq(create(WEB, "db", 1, NULL), STATUS_EXISTS);
	}
END_TEST

START_TEST(what_is_no_configuration)
	{
		static const struct broker_reservation wrong[] = {{"a", 1, 0},
			{"a", 1, CAPACITY + 1},
			{"01234567890123456789012345678901234567890123456789012345678901234", 1,
				1}};
		struct broker_config config = f.config;
		struct broker *broker = NULL;

		for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
			config.reservations = &wrong[i];
			config.reservation_count = 1;
			ck_assert_int_ne(broker_new(&config, &f.broker->ports, &broker), 0);
		}
		ck_assert_ptr_null(broker);
	}
END_TEST

static void finds(const char *what)
{
	ck_assert_int_eq(broker_recount(f.broker, &f.error), STATUS_INTERNAL);
	ck_assert_msg(strstr(f.error.text, what) != NULL, "%s", f.error.text);
}

START_TEST(a_recount_finds_what_is_wrong)
	{
		struct actor db = created(DB, "db", 15), a = created(ELSE, "a", 5);
		struct broker *b = f.broker;
		struct set *set = &b->sets[set_slot_of(b, db.set)];
		struct set *other = &b->sets[set_slot_of(b, a.set)];
		struct reservation *reservation = &b->reservations[0];

		other->covered++;
		finds("more of a reservation");
		other->covered--;
		set->covered += 20;
		finds("more of a reservation");
		set->covered -= 20;
		reservation->live = other;
		finds("and its set disagree");
		reservation->live = set;
		set->covered--;
		finds("what sets have");
		reservation->account.current--;
		reservation->aside++;
		finds("has not what is reserved");
		set->covered++;
		reservation->account.current++;
		reservation->aside += 25;
		finds("what sets have");
		reservation->aside -= 26;
		b->ledger.missing++;
		finds("could not be reserved");
		b->ledger.missing--;
		reservation->aside--;
		b->ledger.missing++;
		finds("of host");
		reservation->aside++;
		b->ledger.missing--;
		fixture_recount(&f);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_is_reserved_is_promised_to_nobody_else,
		a_quota_takes_of_the_reservation_first,
		a_refused_set_changes_nothing,
		quotas_that_nobody_says,
		what_a_gone_set_had_is_reserved_again_after_its_quarantine,
		the_next_set_is_covered_by_what_comes_back,
		an_admin_makes_it_for_its_user,
		limits_of_the_user_go_before,
		only_those_who_see_everything_see_it,
		a_restart_keeps_it,
		a_restart_keeps_it_for_the_set_that_is_there,
		what_others_were_promised_before_is_missing_until_it_comes_back,
		a_set_that_has_more_than_is_left_covers_itself,
		less_or_nothing_is_reserved_afterwards,
		a_set_of_another_user_does_not_have_it,
		what_is_no_configuration,
		a_recount_finds_what_is_wrong,
	};

	return suite_run(
		"broker: reservations", "reservations", tests, ARRAY_SIZE(tests), setup, teardown);
}
