/* SPDX-License-Identifier: MIT */
/*
 * F32: a daemon that dies at each store while a guest's table is installed, replaced or removed,
 * and in the recovery from that. Workers live on or go with it; what is recorded is what stands.
 */
#include "recover_rig.h"

#include <stdio.h>
#include <string.h>

static struct actor g;
static struct device_id device, other;

static const struct set_id own = {0};

static struct hw_table entry(uint64_t word)
{
	return (struct hw_table){.kind = HW_TABLE_SMMUV3,
		.parent_kind = HW_TABLE_SPACE,
		.ste = {word, 0},
		.stream = 8};
}

/* ------------------------------------------------------------------ requests */

static void do_attach(void)
{
	const struct bind_pair pair = {device, entry(0xb)};

	ck_assert_int_eq(broker_rid_attach(f.broker, &g, own, &pair, 0, &f.error), 0);
}

static void do_replace(void)
{
	const struct bind_pair pair = {device, entry(0x9)};

	ck_assert_int_eq(broker_replace(f.broker, &g, own, NULL, &pair, 0, &f.error), 0);
}

static void do_detach(void)
{
	ck_assert_int_eq(broker_rid_detach(f.broker, &g, own, device, 0, &f.error), 0);
}

static void do_going(void)
{
	ck_assert_int_eq(broker_device_going(f.broker, &g, own, device, 0, &f.error), 0);
}

static void do_session_end(void)
{
	broker_session_end(f.broker, 10);
}

static const struct {
	const char *name;
	void (*ask)(void);
	bool attached; /* beforehand */
} requests[] = {
	{"attach", do_attach, false},
	{"replace", do_replace, true},
	{"detach", do_detach, true},
	{"unplug", do_going, true},
	{"end the session", do_session_end, true},
};

/* ------------------------------------------------------------------ what there is */

static struct binding_info binding(void)
{
	struct binding_info info = {.state = BINDING_FREE};
	uint64_t cursor = 0;

	(void)broker_binding_next(f.broker, &f.admin, own, &cursor, &info);
	return info;
}

/* What is told of the RID, and the first word of the entry that stands there. */
static void sight_take(char *sight, size_t size)
{
	const struct model_entry *found = model_entry_in(&f.model, 1, 0);
	const struct binding_info info = binding();

	(void)snprintf(sight, size, "state %d device %d: %u %u %u, page tables %u, entry %llx",
		(int)info.state, recover_device(DEVICE_EXCLUSIVE).state, info.table.viommu,
		info.table.vdevice, info.table.stream, recover_host_use(RESOURCE_PAGE_TABLES),
		found ? (unsigned long long)found->table.ste[0] : 0);
	ck_assert(info.state != BINDING_BOUND || found);
	if (found && info.state == BINDING_BOUND)
		ck_assert_uint_eq(info.table.pt_id, found->pt_id);
}

static void calm(void)
{
	struct outcome outcome;

	model_run(&f);
	broker_tick(f.broker);
	while (broker_next_outcome(f.broker, &outcome))
		ck_assert_int_ge(outcome.status, 0);
	fixture_settle(&f);
	fixture_recount(&f);
}

static void prepare(bool attached)
{
	fixture_config(&f);
	f.model.smmu_of[1] = f.model.smmu_of[4] = true;
	fixture_open(&f);
	g = fixture_vmm(&f, 10, "g", SET_GUEST_OWNED, 4);
	other = fixture_add(&f, &g, 4, 50);
	device = fixture_add(&f, &g, 1, 50);
	if (attached)
		do_attach();
	calm();
}

/* Asked and done, unless it dies before; false: it died. */
static bool ask(void (*request)(void), unsigned at)
{
	if (setjmp(f.crash.die) != 0)
		return false;
	f.crash.countdown = at;
	request();
	model_run(&f);
	fixture_settle(&f);
	f.crash.countdown = 0;
	return true;
}

/* Recovers and does what that finds, unless it dies before; false: it died. */
static bool recover(unsigned at, bool stands)
{
	if (setjmp(f.crash.die) != 0)
		return false;
	f.crash.recovery = at;
	recover_begin(stands);
	model_run(&f);
	fixture_settle(&f);
	f.crash.countdown = 0;
	return true;
}

/* ------------------------------------------------------------------ deaths */

/* F32 */
START_TEST(it_is_done_or_not_begun_wherever_the_daemon_dies)
	{
		char before[200], after[200], seen[200];
		bool died = true;

		prepare(requests[_i].attached);
		sight_take(before, sizeof(before));
		ck_assert(ask(requests[_i].ask, 0));
		calm();
		sight_take(after, sizeof(after));
		ck_assert_str_ne(before, after);
		recover_teardown();
		for (unsigned at = 1; died; at++) {
			prepare(requests[_i].attached);
			died = !ask(requests[_i].ask, at);
			recover_begin(true);
			calm();
			sight_take(seen, sizeof(seen));
			/* an attach that nobody heard of is taken back, a detach is done */
			if (strcmp(seen, after) != 0 && (!died || strcmp(seen, before) != 0))
				ck_abort_msg("%s, dead at store %u:\n%s\nbefore:\n%s\nafter:\n%s",
					requests[_i].name, at, seen, before, after);
			recover_teardown();
		}
	}
END_TEST

/* Its VMM has the device open still: what was attached may be, and says so. */
START_TEST(with_its_workers_gone_it_is_lost_as_if_they_died_now)
	{
		bool died = true;

		for (unsigned at = 1; died; at++) {
			prepare(requests[_i].attached);
			died = !ask(requests[_i].ask, at);
			recover_begin(false);
			calm();
			ck_assert_int_ne(binding().state, BINDING_BOUND);
			if (binding().state != BINDING_FREE)
				ck_assert_uint_eq(binding().table.stream, 8);
			/* registered anew it is as ever: the kernel let go of what was there */
			if (broker_set_lives(f.broker, g.set)) {
				const struct device_id again = fixture_add(&f, &g, 1, 51);
				const struct bind_pair pair = {again, entry(0xb)};

				ck_assert_int_eq(
					broker_rid_attach(f.broker, &g, own, &pair, 5, &f.error),
					0);
				ck_assert_int_eq(fixture_outcome(&f, 5).status, 0);
			}
			recover_teardown();
		}
	}
END_TEST

START_TEST(a_recovery_may_die_at_each_store_too)
	{
		char want[200], seen[200];
		bool died = true;

		for (unsigned at = 0; died || at == 1; at++) {
			prepare(requests[_i].attached);
			requests[_i].ask();
			broker_flush(f.broker);
			died = !recover(at, true);
			recover_begin(true);
			calm();
			sight_take(seen, sizeof(seen));
			if (at == 0)
				memcpy(want, seen, sizeof(want));
			ck_assert_str_eq(seen, want);
			recover_teardown();
		}
	}
END_TEST

/* F40: entries stay, and what is told of them. */
START_TEST(what_stands_is_there_after_a_restart)
	{
		char before[200], seen[200];
		struct bind_pair pair = {other, entry(0xb)};

		prepare(true);
		pair.device = other;
		do_replace();
		calm();
		sight_take(before, sizeof(before));
		recover_restart(true);
		sight_take(seen, sizeof(seen));
		ck_assert_str_eq(seen, before);
		ck_assert_uint_eq(binding().table.vdevice, 801);
		/* its stream is still taken, and its own */
		ck_assert_int_eq(broker_rid_attach(f.broker, &g, own, &pair, 5, &f.error), 0);
		ck_assert_uint_eq(fixture_outcome(&f, 5).error.reason, REASON_STREAM_TAKEN);
		do_replace();
		calm();
		ck_assert_int_eq(binding().state, BINDING_BOUND);
		recover_teardown();
	}
END_TEST

int main(void)
{
	const int kinds = ARRAY_SIZE(requests);
	Suite *suite = suite_create("broker: guests' own tables and restart");
	TCase *tc = tcase_create("restart");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, it_is_done_or_not_begun_wherever_the_daemon_dies, 0, kinds);
	tcase_add_loop_test(tc, with_its_workers_gone_it_is_lost_as_if_they_died_now, 0, kinds);
	tcase_add_loop_test(tc, a_recovery_may_die_at_each_store_too, 0, kinds);
	tcase_add_test(tc, what_stands_is_there_after_a_restart);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
