/* SPDX-License-Identifier: MIT */
/*
 * The daemon dies at each store of each kind of request, with workers that live on and without.
 * What another one finds is the request done or not begun, and nothing between.
 */
#include "recover_rig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct set_id own = {0};

/* All that can be seen, as lines of text. */
struct sight {
	size_t length;
	char text[8192];
};

/* A VMM with an exclusive device, a slice, numbers and a bound one among them. */
static struct actor vmm;
static struct device_id devices[2];
static struct hpasid numbers[3];

__attribute__((format(printf, 2, 3))) static void sight_add(
	struct sight *sight, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(
		sight->text + sight->length, sizeof(sight->text) - sight->length, format, args);
	va_end(args);
	ck_assert(n > 0 && sight->length + (size_t)n < sizeof(sight->text));
	sight->length += (size_t)n;
}

static void sight_add_numbers(struct sight *sight)
{
	struct grant_info grant;
	uint64_t cursor = 0;

	while (broker_grant_next(f.broker, &f.admin, own, true, &cursor, &grant))
		sight_add(sight, "number %u of %s: %d guest %d %u data %llu holds %u bound %u %u\n",
			grant.host.v, grant.set_name, (int)grant.state, grant.has_guest,
			grant.guest.v, (unsigned long long)grant.data, grant.holds, grant.bindings,
			grant.quarantine);
}

static void sight_take(struct sight *sight)
{
	struct device_info device;
	struct binding_info binding;
	struct set_info set;
	uint64_t cursor = 0;

	sight->length = 0;
	while (broker_set_next(f.broker, &f.admin, &cursor, &set))
		sight_add(sight, "set %s: %u of %u, %u active, %u devices, %u bindings, %d\n",
			set.name, set.pasids.current, set.pasids.limit, set.active, set.devices,
			set.bindings, set.dying);
	sight_add_numbers(sight);
	cursor = 0;
	while (broker_device_next(f.broker, &f.admin, own, &cursor, &device))
		sight_add(sight, "device %u: %d, %u bindings\n", device.rid.v, (int)device.state,
			device.bindings);
	cursor = 0;
	while (broker_binding_next(f.broker, &f.admin, own, &cursor, &binding))
		sight_add(sight, "binding %u on %u: %d, made %d\n", binding.host.v, binding.rid.v,
			(int)binding.state, binding.table.made);
	for (uint32_t rid = 0; rid < 8; rid++) {
		for (uint32_t pasid = 1024; pasid < 1032; pasid++) {
			if (model_has(&f, rid, pasid))
				sight_add(sight, "entry %u on %u\n", pasid, rid);
		}
	}
	/* but an empty map's root, which stays for the run, and records of what is not drained */
	for (unsigned i = 0; i < RESOURCE_BINDINGS; i++)
		sight_add(sight, "%u %s\n", recover_host_use((enum resource)i),
			resource_text((enum resource)i));
}

/* ------------------------------------------------------------------ the requests */

static void do_allocate(void)
{
	struct allocate allocate = {.max = PASID_LAST, .count = 3, .data = 7};
	struct hpasid host[3];

	ck_assert_int_eq(broker_allocate(f.broker, &vmm, &allocate, host, &f.error), 0);
}

static void do_allocate_guest(void)
{
	(void)fixture_allocate_guest(&f, &vmm, 800000);
}

static void do_free(void)
{
	struct pasid_ref refs[] = {{.number = numbers[1].v}, {.number = numbers[2].v}};
	uint32_t freed, unchanged;

	ck_assert_int_eq(
		broker_free_pasids(f.broker, &vmm, own, refs, 2, &freed, &unchanged, &f.error), 0);
}

static void do_guest_attach(void)
{
	ck_assert_int_eq(broker_guest_attach(f.broker, &vmm, own, numbers[1],
				 (struct gpasid){900000}, &f.error),
		0);
}

static void do_guest_detach(void)
{
	ck_assert_int_eq(broker_guest_detach(f.broker, &vmm, own, (struct gpasid){5}, &f.error), 0);
}

static void do_data(void)
{
	struct pasid_ref ref = {.guest = true, .number = 5};

	ck_assert_int_eq(broker_data_set(f.broker, &vmm, own, ref, 99, &f.error), 0);
}

static void do_quota(void)
{
	ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, vmm.set, 50, &f.error), 0);
}

static void do_create(void)
{
	(void)fixture_vmm(&f, 11, "other", SET_TRANSLATED, 9);
}

static void do_destroy(void)
{
	ck_assert_int_eq(broker_set_destroy(f.broker, &vmm, own, true, 0, &f.error), 0);
}

static void do_session_end(void)
{
	broker_session_end(f.broker, 10);
}

static void do_bind(void)
{
	recover_bind(&vmm, numbers[1], devices, 2);
}

static void do_unbind(void)
{
	struct pasid_ref ref = {.number = numbers[0].v};

	ck_assert_int_eq(broker_unbind(f.broker, &vmm, own, ref, NULL, 0, 0, &f.error), 0);
}

static void do_replace(void)
{
	struct pasid_ref ref = {.number = numbers[0].v};
	struct bind_pair pair = {devices[0], {.kind = HW_TABLE_HWPT, .id = 77}};

	ck_assert_int_eq(broker_replace(f.broker, &vmm, own, &ref, &pair, 0, &f.error), 0);
}

static void do_add(void)
{
	const int fds[] = {50, MODEL_DEVICE_FD(4)};

	ck_assert_int_eq(broker_device_add(f.broker, &vmm, own, fds, 2, NULL, 0, &f.error), 0);
}

static void do_share(void)
{
	ck_assert_int_eq(broker_device_share(f.broker, &f.admin, (struct rid){6}, 0, &f.error), 0);
}

static void do_slice(void)
{
	(void)fixture_slice(&f, &vmm, 7);
}

static void do_remove(void)
{
	uint64_t cursor = 0;
	struct device_info device;

	while (broker_device_next(f.broker, &vmm, own, &cursor, &device)) {
		if (device.rid.v == 2)
			ck_assert_int_eq(
				broker_device_remove(f.broker, &vmm, own, device.id, 0, &f.error),
				0);
	}
}

static void do_tick(void)
{
	f.now_ms += 1000;
	broker_tick(f.broker);
}

struct request {
	const char *name;
	void (*ask)(void);
};

static const struct request requests[] = {
	{"allocate", do_allocate},
	{"free", do_free},
	{"attach a guest number", do_guest_attach},
	{"detach a guest number", do_guest_detach},
	{"set data", do_data},
	{"adjust a quota", do_quota},
	{"create a set", do_create},
	{"destroy a set", do_destroy},
	{"end a session", do_session_end},
	{"bind", do_bind},
	{"unbind", do_unbind},
	{"replace a page table", do_replace},
	{"add a device", do_add},
	{"share a device", do_share},
	{"register a slice", do_slice},
	{"remove a device", do_remove},
	{"pass time", do_tick},
	{"allocate with a guest number", do_allocate_guest},
};

/* ------------------------------------------------------------------ deaths */

static void crash_prepare(void)
{
	struct hpasid resting;

	recover_setup();
	vmm = fixture_vmm(&f, 10, "vm", SET_TRANSLATED, 40);
	devices[0] = fixture_add(&f, &vmm, 3, 50);
	(void)fixture_add(&f, &vmm, 2, 50);
	(void)fixture_share(&f, 5);
	(void)fixture_share(&f, 7);
	devices[1] = fixture_slice(&f, &vmm, 5);
	numbers[0] = fixture_allocate_guest(&f, &vmm, 5);
	numbers[1] = fixture_allocate(&f, &vmm);
	numbers[2] = fixture_allocate(&f, &vmm);
	resting = fixture_allocate(&f, &vmm);
	ck_assert_int_eq(fixture_bind(&f, &vmm, numbers[0], devices, 2), 0);
	ck_assert_int_eq(fixture_free(&f, &vmm, resting), 0);
	fixture_settle(&f);
}

/* A recovery leaves what is told of a device that was removed, or of cooling, to the next tick. */
static void crash_calm(void)
{
	struct outcome outcome;

	model_run(&f);
	broker_tick(f.broker);
	while (broker_next_outcome(f.broker, &outcome))
		ck_assert_int_ge(outcome.status, 0);
	fixture_settle(&f);
	fixture_recount(&f);
}

/* Asked and done, unless it dies before; false: it died. */
static bool crash_ask(const struct request *request, unsigned at)
{
	if (setjmp(f.crash.die) != 0)
		return false;
	f.crash.countdown = at;
	request->ask();
	model_run(&f);
	fixture_settle(&f);
	f.crash.countdown = 0;
	return true;
}

/* What stands in a table stands under a number of the set that has it. */
static void crash_check_entries(void)
{
	for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
		const struct model_entry *entry = &f.model.entries[i];

		if (!entry->used || !entry->has_pasid)
			continue;
		ck_assert_uint_eq(recover_grant((struct hpasid){entry->pasid}).set.v, entry->owner);
	}
}

START_TEST(a_request_is_done_or_not_begun_wherever_the_daemon_dies)
	{
		const struct request *request = &requests[_i];
		static struct sight before, after, found;
		unsigned at = 1;

		crash_prepare();
		crash_calm();
		sight_take(&before);
		ck_assert(crash_ask(request, 0));
		crash_calm();
		sight_take(&after);
		ck_assert_str_ne(before.text, after.text);
		recover_teardown();
		for (;; at++) {
			bool died;

			crash_prepare();
			died = !crash_ask(request, at);
			recover_begin(true);
			crash_calm();
			sight_take(&found);
			if (strcmp(found.text, after.text) != 0 &&
				(!died || strcmp(found.text, before.text) != 0))
				ck_abort_msg("%s, dead at store %u:\n%s\nbefore:\n%s\nafter:\n%s",
					request->name, at, found.text, before.text, after.text);
			crash_check_entries();
			recover_teardown();
			if (!died)
				break;
		}
		ck_assert_uint_gt(at, 1);
	}
END_TEST

START_TEST(numbers_are_kept_wherever_the_daemon_dies_with_its_workers)
	{
		const struct request *request = &requests[_i];
		bool died = true;

		for (unsigned at = 1; died; at++) {
			crash_prepare();
			died = !crash_ask(request, at);
			recover_begin(false);
			crash_calm();
			crash_check_entries();
			f.now_ms += 2000;
			crash_calm();
			crash_check_entries();
			recover_teardown();
		}
	}
END_TEST

/* Recovers and does what that finds, unless it dies before; false: it died. */
static bool crash_recover(unsigned at)
{
	if (setjmp(f.crash.die) != 0)
		return false;
	f.crash.recovery = at;
	recover_begin(true);
	model_run(&f);
	fixture_settle(&f);
	f.crash.countdown = 0;
	return true;
}

/* Something of everything is under way when it dies; the recovery dies too, and another follows. */
static bool crash_twice(unsigned at, struct sight *sight)
{
	bool died;

	crash_prepare();
	do_bind();
	ck_assert(model_step(&f, 0));
	do_remove();
	do_add();
	do_share();
	died = !crash_recover(at);
	recover_begin(true);
	crash_calm();
	sight_take(sight);
	recover_teardown();
	return died;
}

START_TEST(a_recovery_may_die_at_each_store_too)
	{
		static struct sight want, found;
		unsigned at = 1;

		ck_assert(!crash_twice(0, &want));
		while (crash_twice(at, &found)) {
			if (strcmp(found.text, want.text) != 0)
				ck_abort_msg("dead at store %u:\n%s\nwanted:\n%s", at, found.text,
					want.text);
			at++;
		}
		ck_assert_uint_gt(at, 1);
	}
END_TEST

START_TEST(a_recovery_may_itself_be_interrupted)
	{
		crash_prepare();
		recover_bind(&vmm, numbers[1], devices, 2);
		ck_assert(model_step(&f, 0));
		for (int steps = 0; steps < _i; steps++) {
			recover_begin(true);
			for (int n = 0; n < steps; n++)
				(void)model_step(&f, 0);
		}
		recover_begin(true);
		recover_run();
		ck_assert_uint_eq(model_entries(&f), 2);
		ck_assert_int_eq(fixture_bind(&f, &vmm, numbers[1], devices, 2), 0);
		recover_restart(true);
		recover_restart(true);
		ck_assert_uint_eq(model_entries(&f), 4);
		ck_assert_uint_eq(recover_set("vm").bindings, 4);
		recover_teardown();
	}
END_TEST

START_TEST(workers_may_go_while_a_recovery_is_interrupted)
	{
		crash_prepare();
		recover_bind(&vmm, numbers[1], devices, 1);
		recover_begin(true);
		recover_begin(false);
		recover_begin(true); /* there is another worker by then, which knows nothing */
		recover_run();
		ck_assert_uint_eq(recover_set("vm").bindings, 2);
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_TAINTED);
		recover_teardown();
	}
END_TEST

START_TEST(the_place_of_a_shared_device_may_be_anothers_before_it_was_asked_about)
	{
		struct device_id shared;
		struct device_id device;

		recover_setup();
		vmm = fixture_vmm(&f, 10, "vm", SET_TRANSLATED, 40);
		shared = fixture_share(&f, 5);
		fixture_settle(&f);
		f.model.submit_status = -EAGAIN;
		recover_begin(true);
		f.model.submit_status = 0;
		ck_assert_int_eq(
			broker_device_remove(f.broker, &f.admin, own, shared, 1, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 1).status, 0);
		device = fixture_add(&f, &vmm, 3, 50);
		ck_assert_uint_eq(device.v & 0xffffff, shared.v & 0xffffff);
		f.now_ms = broker_next_tick(f.broker);
		broker_tick(f.broker);
		recover_run();
		ck_assert_int_eq(recover_device(DEVICE_EXCLUSIVE).state, DEVICE_READY);
		recover_teardown();
	}
END_TEST

/*
 * An attach that fails frees its record, and the bind that waited for it takes that at once: what
 * was in it is there again when the daemon dies before both are settled.
 */
START_TEST(a_record_that_is_freed_and_taken_in_one_change_comes_back)
	{
		const struct binding_slot *slot;
		struct binding_slot before;
		struct bind_pair pair = {.table = {.kind = HW_TABLE_SPACE}};
		struct hpasid host;

		recover_setup();
		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		pair.device = fixture_add(&f, &vmm, 0, 10);
		host = fixture_allocate(&f, &vmm);
		ck_assert_int_eq(broker_rid_attach(f.broker, &vmm, own, &pair, 1, &f.error), 0);
		broker_flush(f.broker);
		ck_assert_int_eq(
			broker_bind(f.broker, &vmm, own, (struct pasid_ref){.number = host.v},
				&pair, 1, 2, &f.error),
			0);
		slot = f.state.table[STATE_BINDINGS];
		before = *slot;
		f.model.fail_kind = HW_ATTACH;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		fixture_settle(&f);
		ck_assert(model_step(&f, 0));
		ck_assert_uint_ne(slot->grant, before.grant);
		while (f.crash.stores > 0) {
			f.crash.stores--;
			*f.crash.word[f.crash.stores] = f.crash.before[f.crash.stores];
		}
		ck_assert_uint_eq(slot->word, before.word);
		ck_assert_uint_eq(slot->set, before.set);
		ck_assert_uint_eq(slot->grant, before.grant);
		ck_assert_uint_eq(slot->device, before.device);
		ck_assert_uint_eq(slot->table_id, before.table_id);
		recover_restart(true);
		recover_teardown();
	}
END_TEST

int main(void)
{
	const int kinds = ARRAY_SIZE(requests);
	Suite *suite = suite_create("broker, deaths at each store");
	TCase *tc = tcase_create("deaths");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, a_request_is_done_or_not_begun_wherever_the_daemon_dies, 0, kinds);
	tcase_add_loop_test(
		tc, numbers_are_kept_wherever_the_daemon_dies_with_its_workers, 0, kinds);
	tcase_add_test(tc, a_recovery_may_die_at_each_store_too);
	tcase_add_test(tc, a_record_that_is_freed_and_taken_in_one_change_comes_back);
	tcase_add_loop_test(tc, a_recovery_may_itself_be_interrupted, 0, 7);
	tcase_add_test(tc, workers_may_go_while_a_recovery_is_interrupted);
	tcase_add_test(tc, the_place_of_a_shared_device_may_be_anothers_before_it_was_asked_about);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
