/* SPDX-License-Identifier: MIT */
/* F27: which number is granted next, and when another policy takes effect. */
#include "recover_rig.h"
#include "suite.h"

#include <string.h>

#define DRAWN 200

static void setup(void)
{
	recover_setup();
}

static void teardown(void)
{
	recover_teardown();
}

/* The daemon is started anew with that configuration. */
static void configure(enum broker_policy policy, uint64_t key)
{
	f.config.policy = policy;
	f.config.random_key[0] = key;
	recover_restart(true);
}

static struct broker_status status(void)
{
	struct broker_status status;

	broker_status(f.broker, &status);
	return status;
}

static void draw(const struct actor *actor, uint32_t min, uint32_t max, struct hpasid *ret_numbers)
{
	const struct allocate one = {.min = min, .max = max, .count = 1};

	for (unsigned i = 0; i < DRAWN; i++)
		ck_assert_int_eq(
			broker_allocate(f.broker, actor, &one, &ret_numbers[i], &f.error), 0);
}

static unsigned follows(const struct hpasid *numbers)
{
	unsigned count = 0;

	for (unsigned i = 1; i < DRAWN; i++)
		count += numbers[i].v == numbers[i - 1].v + 1;
	return count;
}

/* F27 */
START_TEST(randomized_numbers_come_from_anywhere)
	{
		struct hpasid numbers[DRAWN], again[DRAWN];
		const uint32_t narrow = 700000;
		unsigned quarters[4] = {0};
		struct actor a;

		configure(BROKER_RANDOMIZED, 4711);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10 * DRAWN);
		draw(&a, 1, PASID_LAST, numbers);
		for (unsigned i = 0; i < DRAWN; i++)
			quarters[numbers[i].v * UINT64_C(4) / PASID_COUNT]++;
		for (unsigned i = 0; i < 4; i++)
			ck_assert_uint_gt(quarters[i], DRAWN / 8);
		ck_assert_uint_lt(follows(numbers), 3);
		/* another key, other numbers; a range is kept to, and is used up */
		configure(BROKER_RANDOMIZED, 4712);
		draw(&a, 1, PASID_LAST, again);
		ck_assert_int_ne(memcmp(numbers, again, sizeof(numbers)), 0);
		draw(&a, narrow, narrow + DRAWN - 1, numbers);
		ck_assert_uint_lt(follows(numbers), DRAWN / 2);
		for (unsigned i = 0; i < DRAWN; i++)
			ck_assert(numbers[i].v >= narrow && numbers[i].v < narrow + DRAWN);
		ck_assert_int_eq(recover_allocate(&a, narrow), STATUS_EXHAUSTED);
	}
END_TEST

/* What a test, or a replay, needs. */
START_TEST(the_same_key_gives_the_same_numbers)
	{
		struct hpasid numbers[2][DRAWN];

		for (unsigned i = 0; i < 2; i++) {
			struct actor a;

			f.config.policy = BROKER_RANDOMIZED;
			f.config.random_key[1] = 9;
			fixture_close(&f);
			fixture_open(&f);
			a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10 * DRAWN);
			draw(&a, 1, PASID_LAST, numbers[i]);
		}
		ck_assert_int_eq(memcmp(numbers[0], numbers[1], sizeof(numbers[0])), 0);
	}
END_TEST

START_TEST(randomized_blocks_are_aligned)
	{
		const struct allocate block = {
			.min = 1, .max = PASID_LAST, .count = 64, .consecutive = true};
		struct hpasid numbers[2][64];
		struct actor a;

		configure(BROKER_RANDOMIZED, 1);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1000);
		for (unsigned i = 0; i < 2; i++) {
			ck_assert_int_eq(
				broker_allocate(f.broker, &a, &block, numbers[i], &f.error), 0);
			ck_assert_uint_eq(numbers[i][0].v % 64, 0);
			ck_assert_uint_eq(numbers[i][63].v, numbers[i][0].v + 63);
		}
		ck_assert_uint_ne(numbers[1][0].v, numbers[0][0].v + 64);
	}
END_TEST

/* F27 */
START_TEST(another_policy_waits_until_nothing_is_out)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid first = fixture_allocate(&f, &a), second;

		configure(BROKER_LOWEST, 0);
		ck_assert_int_eq(status().policy, BROKER_CYCLIC);
		ck_assert(status().policy_waits);
		second = fixture_allocate(&f, &a);
		ck_assert_uint_eq(second.v, first.v + 1);
		ck_assert_int_eq(fixture_free(&f, &a, first), 0);
		f.now_ms += 2000;
		broker_tick(f.broker);
		/* the lowest one is free */
		first = fixture_allocate(&f, &a);
		ck_assert_uint_eq(first.v, second.v + 1);
		ck_assert_int_eq(fixture_free(&f, &a, first), 0);
		ck_assert_int_eq(fixture_free(&f, &a, second), 0);
		ck_assert(status().policy_waits); /* they are in quarantine */
		/* also over another restart, and with a third wish */
		configure(BROKER_RANDOMIZED, 0);
		ck_assert_int_eq(status().policy, BROKER_CYCLIC);
		configure(BROKER_LOWEST, 0);
		f.now_ms += 2000;
		broker_tick(f.broker);
		ck_assert(!status().policy_waits);
		ck_assert_int_eq(status().policy, BROKER_LOWEST);
		first = fixture_allocate(&f, &a);
		ck_assert_uint_eq(first.v, 1024);
		ck_assert_int_eq(fixture_free(&f, &a, first), 0);
		/* from now on that one is in force */
		configure(BROKER_CYCLIC, 0);
		ck_assert_int_eq(status().policy, BROKER_LOWEST);
	}
END_TEST

/* Records of an earlier version say nothing of a policy. */
START_TEST(records_without_a_policy_take_the_configured_one)
	{
		struct host_slot *host = f.state.table[STATE_HOST];
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);

		(void)fixture_allocate(&f, &a);
		host->policy = 0;
		configure(BROKER_LOWEST, 0);
		ck_assert(!status().policy_waits);
		(void)fixture_allocate(&f, &a);
		configure(BROKER_CYCLIC, 0);
		ck_assert_int_eq(status().policy, BROKER_LOWEST);
	}
END_TEST

/* A refused allocation records no policy that is none, and a death takes back what was not settled.
 */
START_TEST(what_is_not_settled_is_not_in_force)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);

		fixture_settle(&f);
		(void)fixture_allocate(&f, &a);
		f.config.policy = BROKER_LOWEST;
		recover_begin(true);
		recover_run();
		ck_assert_int_eq(status().policy, BROKER_LOWEST);
		ck_assert_uint_eq(fixture_allocate(&f, &a).v, 1024);
	}
END_TEST

START_TEST(policies_have_names)
	{
		ck_assert_str_eq(broker_policy_text(BROKER_CYCLIC), "cyclic");
		ck_assert_str_eq(broker_policy_text(BROKER_LOWEST), "lowest");
		ck_assert_str_eq(broker_policy_text(BROKER_RANDOMIZED), "randomized");
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		randomized_numbers_come_from_anywhere,
		the_same_key_gives_the_same_numbers,
		randomized_blocks_are_aligned,
		another_policy_waits_until_nothing_is_out,
		records_without_a_policy_take_the_configured_one,
		what_is_not_settled_is_not_in_force,
		policies_have_names,
	};

	return suite_run("broker: policies", "policies", tests, ARRAY_SIZE(tests), setup, teardown);
}
