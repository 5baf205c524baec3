/* SPDX-License-Identifier: MIT */
#include "limit.h"
#include "suite.h"

#include <string.h>

static struct limits *limits;
static struct limits_config config;
static struct error error;

static void setup(void)
{
	memset(&config, 0, sizeof(config));
	memset(&error, 0, sizeof(error));
	config.of[RESOURCE_PAGE_TABLES] = (struct limit_levels){10, 20, 30};
	ck_assert_int_eq(limits_new(&config, &limits), 0);
}

static void teardown(void)
{
	limits_free(limits);
}

static uint32_t open_user(uint32_t uid)
{
	uint32_t user = LIMITS_NO_USER;

	ck_assert_int_eq(limits_user_open(limits, uid, &user, &error), 0);
	return user;
}

static int charge(struct accounts *set, uint32_t user, uint32_t n)
{
	return limits_charge(limits, set, user, RESOURCE_PAGE_TABLES, n, &error);
}

static const struct account *of_user(uint32_t user)
{
	return limits_account(limits, user, RESOURCE_PAGE_TABLES);
}

static const struct account *of_host(void)
{
	return limits_account(limits, LIMITS_NO_USER, RESOURCE_PAGE_TABLES);
}

/* ---------------------------------------------------------------- charges */

START_TEST(a_charge_counts_for_set_user_and_host_and_goes_back)
	{
		struct accounts set;
		uint32_t user = open_user(1000);

		limits_open_set(limits, &set);
		ck_assert_int_eq(charge(&set, user, 7), 0);
		ck_assert_uint_eq(set.of[RESOURCE_PAGE_TABLES].current, 7);
		ck_assert_uint_eq(of_user(user)->current, 7);
		ck_assert_uint_eq(of_host()->current, 7);
		limits_release(limits, &set, user, RESOURCE_PAGE_TABLES, 4);
		ck_assert_uint_eq(set.of[RESOURCE_PAGE_TABLES].current, 3);
		ck_assert_uint_eq(of_user(user)->current, 3);
		ck_assert_uint_eq(of_host()->current, 3);
		ck_assert_uint_eq(of_user(user)->peak, 7);
		ck_assert_uint_eq(set.of[RESOURCE_BINDINGS].current, 0);
	}
END_TEST

START_TEST(what_one_level_refuses_is_charged_nowhere_and_counts_there_alone)
	{
		struct accounts sets[4];
		uint32_t one = open_user(1), two = open_user(2);

		for (int i = 0; i < 4; i++)
			limits_open_set(limits, &sets[i]);
		ck_assert_int_eq(charge(&sets[0], one, 11), STATUS_QUOTA);
		ck_assert_uint_eq(sets[0].of[RESOURCE_PAGE_TABLES].hits, 1);
		ck_assert_uint_eq(of_user(one)->hits + of_host()->hits, 0);
		ck_assert_uint_eq(of_user(one)->current + of_host()->current, 0);

		ck_assert_int_eq(charge(&sets[0], one, 10), 0);
		ck_assert_int_eq(charge(&sets[1], one, 10), 0);
		ck_assert_int_eq(charge(&sets[2], one, 1), STATUS_QUOTA);
		ck_assert_uint_eq(sets[2].of[RESOURCE_PAGE_TABLES].current, 0);
		ck_assert_uint_eq(sets[2].of[RESOURCE_PAGE_TABLES].hits, 0);
		ck_assert_uint_eq(of_user(one)->hits, 1);
		ck_assert_uint_eq(of_host()->hits, 0);
		ck_assert_uint_eq(of_host()->current, 20);

		ck_assert_int_eq(charge(&sets[3], two, 10), 0);
		ck_assert_int_eq(charge(NULL, two, 1), STATUS_QUOTA);
		ck_assert_uint_eq(of_user(two)->current, 10);
		ck_assert_uint_eq(of_user(two)->hits, 0);
		ck_assert_uint_eq(of_host()->hits, 1);
		ck_assert_uint_eq(of_host()->current, 30);
	}
END_TEST

START_TEST(the_set_is_asked_before_the_user_and_the_user_before_the_host)
	{
		struct accounts set;
		uint32_t user = open_user(1);

		limits_open_set(limits, &set);
		ck_assert_int_eq(charge(&set, user, 31), STATUS_QUOTA); /* beyond all three */
		ck_assert_ptr_nonnull(strstr(error.text, "the set has 0 of its 10 page tables"));
		ck_assert_int_eq(charge(NULL, user, 31), STATUS_QUOTA);
		ck_assert_ptr_nonnull(strstr(error.text, "user 1 has 0 of 20 page tables"));
		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 31), STATUS_QUOTA);
		ck_assert_ptr_nonnull(strstr(error.text, "the host's limit"));
		ck_assert_uint_eq(set.of[RESOURCE_PAGE_TABLES].hits, 1);
		ck_assert_uint_eq(of_user(user)->hits, 1);
		ck_assert_uint_eq(of_host()->hits, 1);
	}
END_TEST

START_TEST(errors_name_limit_use_and_the_key_to_change)
	{
		struct accounts set;
		uint32_t user = open_user(77);

		limits_open_set(limits, &set);
		ck_assert_int_eq(charge(&set, user, 9), 0);
		ck_assert_int_eq(charge(&set, user, 2), STATUS_QUOTA);
		ck_assert_uint_eq(error.reason, REASON_LIMIT);
		ck_assert_uint_eq(error.limit, 10);
		ck_assert_uint_eq(error.used, 9);
		ck_assert_ptr_nonnull(strstr(error.text, "limits.page_tables.set"));
		ck_assert_int_eq(charge(NULL, user, 12), STATUS_QUOTA);
		ck_assert_uint_eq(error.limit, 20);
		ck_assert_uint_eq(error.used, 9);
		ck_assert_ptr_nonnull(strstr(error.text, "user 77"));
		ck_assert_ptr_nonnull(strstr(error.text, "limits.page_tables.user"));
	}
END_TEST

START_TEST(a_refusal_by_the_host_tells_nothing_of_its_size_or_use)
	{
		struct error full, empty;
		uint32_t user = open_user(1);

		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 29), 0);
		ck_assert_int_eq(charge(NULL, user, 15), STATUS_QUOTA);
		full = error;
		limits_release(limits, NULL, LIMITS_NO_USER, RESOURCE_PAGE_TABLES, 10);
		limits_set_host(limits, RESOURCE_PAGE_TABLES, 21);
		ck_assert_int_eq(charge(NULL, user, 15), STATUS_QUOTA);
		empty = error;
		ck_assert_mem_eq(&full, &empty, sizeof(full)); /* whatever others have */
		ck_assert_uint_eq(full.limit, 0);
		ck_assert_uint_eq(full.used, 0);
		ck_assert_ptr_nonnull(strstr(full.text, "limits.page_tables.host"));
	}
END_TEST

START_TEST(no_limit_is_none_at_any_level)
	{
		struct accounts set;
		uint32_t user = open_user(1);

		limits_open_set(limits, &set);
		ck_assert_int_eq(
			limits_charge(limits, &set, user, RESOURCE_BINDINGS, UINT32_MAX, &error),
			0);
		ck_assert_int_eq(limits_charge(limits, &set, user, RESOURCE_BINDINGS, 1, &error),
			STATUS_QUOTA); /* more than can be counted */
		limits_release(limits, &set, user, RESOURCE_BINDINGS, UINT32_MAX);
		ck_assert_uint_eq(set.of[RESOURCE_BINDINGS].limit, UINT32_MAX);
	}
END_TEST

START_TEST(room_is_the_least_of_the_three_and_counts_no_hit)
	{
		struct accounts set;
		uint32_t user = open_user(1);

		limits_open_set(limits, &set);
		ck_assert_uint_eq(limits_room(limits, &set, user, RESOURCE_PAGE_TABLES), 10);
		ck_assert_uint_eq(limits_room(limits, NULL, user, RESOURCE_PAGE_TABLES), 20);
		ck_assert_uint_eq(
			limits_room(limits, NULL, LIMITS_NO_USER, RESOURCE_PAGE_TABLES), 30);
		ck_assert_int_eq(charge(NULL, user, 15), 0);
		ck_assert_uint_eq(limits_room(limits, &set, user, RESOURCE_PAGE_TABLES), 5);
		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 13), 0);
		ck_assert_uint_eq(limits_room(limits, &set, user, RESOURCE_PAGE_TABLES), 2);
		limits_set_host(limits, RESOURCE_PAGE_TABLES, 5); /* below use */
		ck_assert_uint_eq(limits_room(limits, &set, user, RESOURCE_PAGE_TABLES), 0);
		ck_assert_uint_eq(of_host()->hits + of_user(user)->hits, 0);
		ck_assert_uint_eq(set.of[RESOURCE_PAGE_TABLES].hits, 0);
	}
END_TEST

START_TEST(a_limit_of_the_host_changes_for_what_comes)
	{
		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 30), 0);
		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 1), STATUS_QUOTA);
		limits_set_host(limits, RESOURCE_PAGE_TABLES, 31);
		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 1), 0);
		limits_set_host(limits, RESOURCE_PAGE_TABLES, 2);
		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 1), STATUS_QUOTA);
		limits_set_host(limits, RESOURCE_PAGE_TABLES, 0); /* none */
		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 1000), 0);
		limits_release(limits, NULL, LIMITS_NO_USER, RESOURCE_PAGE_TABLES, 1031);
		ck_assert_uint_eq(of_host()->current, 0);
	}
END_TEST

/* ---------------------------------------------------------------- users */

START_TEST(a_user_keeps_its_place_and_its_counters)
	{
		uint32_t user = open_user(1000), again = open_user(1000), other = open_user(1001);

		ck_assert_uint_eq(user, again);
		ck_assert_uint_ne(user, other);
		ck_assert_uint_eq(limits_user_refs(limits, user), 2);
		ck_assert_uint_eq(limits_user_ref(limits, user), user);
		ck_assert_int_eq(charge(NULL, user, 20), 0);
		ck_assert_int_eq(charge(NULL, user, 1), STATUS_QUOTA);
		limits_release(limits, NULL, user, RESOURCE_PAGE_TABLES, 20);
		for (int i = 0; i < 3; i++)
			limits_user_close(limits, user);
		ck_assert_uint_eq(limits_user_refs(limits, user), 0);
		limits_user_close(limits, LIMITS_NO_USER);
		/* nobody needed the place in between */
		ck_assert_uint_eq(open_user(1000), user);
		ck_assert_uint_eq(of_user(user)->peak, 20);
		ck_assert_uint_eq(of_user(user)->hits, 1);
		ck_assert_uint_eq(limits_user_uid(limits, user), 1000);
	}
END_TEST

/* In long loops: an assertion of Check writes to a file each time. */
static void must_open(uint32_t uid, uint32_t place)
{
	uint32_t user = LIMITS_NO_USER;

	if (limits_user_open(limits, uid, &user, &error) || user != place)
		ck_abort_msg("user %u got place %u instead of %u", uid, user, place);
}

/* As many as there is room for: each bucket has several. */
static void open_all(void)
{
	for (uint32_t uid = 0; uid < LIMITS_USERS_MAX; uid++)
		must_open(uid * 7, uid);
}

START_TEST(a_full_table_refuses_and_serves_again_when_one_is_gone)
	{
		uint32_t user = LIMITS_NO_USER;

		open_all();
		ck_assert_int_eq(limits_user_open(limits, 5, &user, &error), STATUS_QUOTA);
		ck_assert_uint_eq(error.reason, REASON_LIMIT);
		ck_assert_uint_eq(user, LIMITS_NO_USER);
		/* who is there is found, whatever else is in the bucket */
		for (uint32_t uid = 0; uid < LIMITS_USERS_MAX; uid++) {
			must_open(uid * 7, uid);
			limits_user_close(limits, uid);
		}
		limits_user_close(limits, 4711);
		ck_assert_uint_eq(open_user(5), 4711);
		ck_assert_uint_eq(limits_user_uid(limits, 4711), 5);
		ck_assert_int_eq(limits_user_open(limits, 6, &user, &error), STATUS_QUOTA);
	}
END_TEST

START_TEST(the_place_that_was_idle_longest_is_taken_with_fresh_counters)
	{
		open_all();
		ck_assert_int_eq(charge(NULL, 30, 20), 0);
		ck_assert_int_eq(charge(NULL, 30, 1), STATUS_QUOTA);
		limits_release(limits, NULL, 30, RESOURCE_PAGE_TABLES, 20);
		limits_user_close(limits, 30);
		limits_user_close(limits, 20);
		limits_user_close(limits, 10);
		limits_user_close(limits, 40);
		/* in the middle of the idle ones, at the end, at the start */
		ck_assert_uint_eq(open_user(20 * 7), 20);
		ck_assert_uint_eq(open_user(40 * 7), 40);
		ck_assert_uint_eq(open_user(1000001), 30);
		ck_assert_uint_eq(of_user(30)->peak + of_user(30)->hits, 0);
		ck_assert_uint_eq(of_user(30)->limit, 20);
		ck_assert_uint_eq(open_user(1000002), 10);
		limits_user_close(limits, 10);
		/* whose place it was starts anew, elsewhere */
		ck_assert_uint_eq(open_user(30 * 7), 10);
		ck_assert_int_eq(
			limits_user_open(limits, 1000002, &(uint32_t){0}, &error), STATUS_QUOTA);
	}
END_TEST

START_TEST(churn_of_users_loses_nobody)
	{
		open_all();
		/* each newcomer takes a place out of the middle of some bucket */
		for (uint32_t i = 0; i < 3 * LIMITS_USERS_MAX; i++) {
			uint32_t place = (i * 2654435761u) % LIMITS_USERS_MAX;

			limits_user_close(limits, place);
			must_open(1000000 + i, place);
		}
		for (uint32_t place = 0; place < LIMITS_USERS_MAX; place++) {
			must_open(limits_user_uid(limits, place), place);
			if (limits_user_refs(limits, place) != 2)
				ck_abort_msg("place %u is not referred to twice", place);
		}
	}
END_TEST

START_TEST(all_users_are_seen_and_summed)
	{
		uint32_t one = open_user(1), two = open_user(2), cursor = 0, user;

		ck_assert_int_eq(charge(NULL, one, 3), 0);
		ck_assert_int_eq(charge(NULL, two, 4), 0);
		ck_assert_int_eq(charge(NULL, LIMITS_NO_USER, 5), 0);
		ck_assert_uint_eq(limits_sum(limits, RESOURCE_PAGE_TABLES), 7);
		ck_assert_uint_eq(limits_sum(limits, RESOURCE_BINDINGS), 0);
		ck_assert(limits_next_user(limits, &cursor, &user));
		ck_assert_uint_eq(limits_user_uid(limits, user), 1);
		ck_assert(limits_next_user(limits, &cursor, &user));
		ck_assert_uint_eq(limits_user_uid(limits, user), 2);
		ck_assert(!limits_next_user(limits, &cursor, &user));
		cursor = UINT32_MAX;
		ck_assert(!limits_next_user(limits, &cursor, &user));
	}
END_TEST

/* ---------------------------------------------------------------- names, defaults */

START_TEST(every_resource_has_names_of_its_own_and_defaults)
	{
		struct limits_config defaults;

		limits_defaults(&defaults);
		for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
			ck_assert_uint_gt(strlen(resource_text((enum resource)i)), 0);
			ck_assert_uint_gt(strlen(resource_what((enum resource)i)), 0);
			for (unsigned k = 0; k < i; k++)
				ck_assert_str_ne(resource_text((enum resource)i),
					resource_text((enum resource)k));
		}
		ck_assert_str_eq(resource_text(RESOURCE_COUNT), "unknown");
		ck_assert_str_eq(resource_what(RESOURCE_COUNT), "unknown");
		ck_assert_uint_eq(defaults.of[RESOURCE_SETS].user, 3072);
		ck_assert_uint_eq(defaults.of[RESOURCE_OPERATIONS].set, 64);
		ck_assert_uint_eq(defaults.of[RESOURCE_OPERATIONS].host, 4096);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_charge_counts_for_set_user_and_host_and_goes_back,
		what_one_level_refuses_is_charged_nowhere_and_counts_there_alone,
		the_set_is_asked_before_the_user_and_the_user_before_the_host,
		errors_name_limit_use_and_the_key_to_change,
		a_refusal_by_the_host_tells_nothing_of_its_size_or_use,
		no_limit_is_none_at_any_level, room_is_the_least_of_the_three_and_counts_no_hit,
		a_limit_of_the_host_changes_for_what_comes, a_user_keeps_its_place_and_its_counters,
		a_full_table_refuses_and_serves_again_when_one_is_gone,
		the_place_that_was_idle_longest_is_taken_with_fresh_counters,
		churn_of_users_loses_nobody, all_users_are_seen_and_summed,
		every_resource_has_names_of_its_own_and_defaults};

	return suite_run("limit", "limits", tests, ARRAY_SIZE(tests), setup, teardown);
}
