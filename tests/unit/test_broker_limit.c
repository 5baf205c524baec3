/* SPDX-License-Identifier: MIT */
/* What sets and users are charged for, what is refused at a limit, and what everything gives back.
 */
#include "fixture.h"
#include "suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct fixture f;
static const struct set_id own = {0};

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

/* Begins anew with other limits. */
static void limit(enum resource resource, uint32_t set, uint32_t user, uint32_t host)
{
	fixture_close(&f);
	f.limits_config.of[resource] = (struct limit_levels){set, user, host};
	fixture_open(&f);
}

static struct account of_host(enum resource resource)
{
	return *limits_account(f.limits, LIMITS_NO_USER, resource);
}

static uint32_t host_use(enum resource resource)
{
	return of_host(resource).current;
}

static struct account of_set(const struct actor *actor, enum resource resource)
{
	struct limit_info info = {.set = {0}};
	uint64_t cursor = 0;

	while (broker_limit_next(f.broker, actor, own, &cursor, &info)) {
		if (info.resource == resource)
			return info.account;
	}
	ck_abort_msg("a set has no account of %s", resource_text(resource));
}

static uint32_t use(const struct actor *actor, enum resource resource)
{
	return of_set(actor, resource).current;
}

/* Refused for this limit, at this level, and nothing was changed. */
static void ck_refused(int status, const char *what)
{
	ck_assert_int_eq(status, STATUS_QUOTA);
	ck_assert_uint_eq(f.error.reason, REASON_LIMIT);
	ck_assert_msg(strstr(f.error.text, what) != NULL, "%s", f.error.text);
	fixture_recount(&f);
}

static void end_all(void)
{
	struct outcome outcome;

	for (uint64_t session = 10; session < 20; session++)
		broker_session_end(f.broker, session);
	model_run(&f);
	while (broker_next_outcome(f.broker, &outcome))
		;
	f.now_ms += 1000;
	broker_tick(f.broker);
}

static void ck_nothing_left(void)
{
	for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
		ck_assert_msg(host_use((enum resource)i) == 0, "%u %s are left",
			host_use((enum resource)i), resource_text((enum resource)i));
		ck_assert_uint_eq(limits_sum(f.limits, (enum resource)i), 0);
	}
}

static int create(
	const struct actor *actor, const char *name, uint32_t quota, struct set_id *ret_set)
{
	struct set_create create = {name, SET_TRANSLATED, true, quota, false, 0};

	return broker_set_create(f.broker, actor, &create, ret_set, &f.error);
}

static int bind_table(const struct actor *actor, struct hpasid host, struct device_id device,
	const struct hw_table *table)
{
	struct bind_pair pair = {device, *table};
	struct outcome outcome;
	int r = broker_bind(
		f.broker, actor, own, (struct pasid_ref){.number = host.v}, &pair, 1, 77, &f.error);

	if (r)
		return r;
	outcome = fixture_outcome(&f, 77);
	f.error = outcome.error;
	return outcome.status;
}

static int map(const struct actor *actor, struct device_id device, uint32_t space)
{
	struct memory memory = {.device = device, .space = space, .length = 4096};
	struct outcome outcome;
	int r = broker_memory_map(f.broker, actor, &memory, 50, 78, &f.error);

	if (r)
		return r;
	outcome = fixture_outcome(&f, 78);
	f.error = outcome.error;
	return outcome.status;
}

/* ------------------------------------------------------------------ sets and what they were
 * promised */

START_TEST(sets_of_a_user_are_limited_until_they_are_gone_for_good)
	{
		struct set_id set;
		struct actor a, c = {ROLE_VMM, 12, {0}, &f.peer};
		struct policy_peer peer = {.uid = 2000};
		struct actor other = {ROLE_VMM, 13, {0}, &peer};

		limit(RESOURCE_SETS, 0, 1, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1);
		(void)fixture_allocate(&f, &a);
		ck_refused(create(&c, "c", 1, &set), "user 1000 has 1 of 1 sets");
		ck_assert_int_eq(create(&other, "o", 1, &set), 0);
		broker_session_end(f.broker, 10);
		ck_refused(create(&c, "c", 1, &set), "limits.sets.user");
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_int_eq(create(&c, "c", 1, &set), 0);
		end_all();
		ck_nothing_left();
	}
END_TEST

START_TEST(sets_that_end_unheard_of_keep_their_place)
	{
		struct actor a = {ROLE_VMM, 10, {0}, &f.peer};
		struct outcome outcome;
		int made = 0;

		limit(RESOURCE_SETS, 0, 4, 0);
		for (uint64_t i = 0; i < 10; i++) {
			if (create(&a, "a", 1, &a.set))
				continue;
			made++;
			ck_assert_int_eq(
				broker_set_destroy(f.broker, &a, own, true, i + 1, &f.error), 0);
			a.set.v = 0;
		}
		ck_assert_int_eq(made, 4); /* the place of each end is taken until it is told */
		while (broker_next_outcome(f.broker, &outcome))
			ck_assert_int_eq(outcome.status, 0);
		ck_assert_int_eq(create(&a, "a", 1, &a.set), 0);
		end_all();
		ck_nothing_left();
	}
END_TEST

START_TEST(quotas_are_promised_within_what_a_user_may_have)
	{
		struct policy_peer peer = {.uid = 2000};
		struct actor a = {ROLE_VMM, 10, {0}, &f.peer}, c = {ROLE_VMM, 11, {0}, &peer};
		struct set_info info;
		struct set_id set;

		limit(RESOURCE_PROMISED, 0, 100, 150);
		ck_assert_int_eq(create(&a, "a", 80, &a.set), 0);
		ck_assert_int_eq(create(&f.admin, "a2", 21, &set), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_USER_QUOTA);
		ck_assert_uint_eq(f.error.limit, 100);
		ck_assert_uint_eq(f.error.used, 80);
		ck_assert_ptr_nonnull(strstr(f.error.text, "limits.promised_pasids.user"));
		ck_assert_uint_eq(host_use(RESOURCE_PROMISED), 80);
		/* "what remains": of the user, then of the host */
		ck_assert_int_eq(create(&f.admin, "a2", 0, &set), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, set, &info, &f.error), 0);
		ck_assert_uint_eq(info.pasids.limit, 20);
		ck_assert_int_eq(create(&f.admin, "a3", 0, &set), STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_USER_QUOTA);
		ck_assert_int_eq(create(&c, "c", 0, &c.set), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &c, own, &info, &f.error), 0);
		ck_assert_uint_eq(info.pasids.limit, 50);
		ck_assert_int_eq(
			broker_set_adjust(f.broker, &f.admin, a.set, 81, &f.error), STATUS_QUOTA);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, 70, &f.error), 0);
		ck_assert_uint_eq(host_use(RESOURCE_PROMISED), 140);
		ck_assert_int_eq(broker_set_adjust(f.broker, &f.admin, a.set, 80, &f.error), 0);
	}
END_TEST

START_TEST(numbers_of_a_gone_set_stay_promised_until_they_are_released)
	{
		struct actor a, c = {ROLE_VMM, 11, {0}, &f.peer};

		limit(RESOURCE_PROMISED, 0, 10, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		(void)fixture_allocate(&f, &a);
		(void)fixture_allocate(&f, &a);
		broker_session_end(f.broker, 10);
		ck_assert_uint_eq(host_use(RESOURCE_PROMISED), 2);
		ck_assert_int_eq(create(&c, "c", 9, &c.set), STATUS_QUOTA);
		ck_assert_int_eq(create(&c, "c", 8, &c.set), 0);
		end_all();
		ck_nothing_left();
	}
END_TEST

START_TEST(an_admin_makes_a_set_that_another_user_is_charged_for)
	{
		struct set_create owned = {"o", SET_TRANSLATED, true, 5, true, 2000};
		struct actor vmm = {ROLE_VMM, 10, {0}, &f.peer};
		struct set_info info;
		struct set_id set;
		uint32_t user;

		ck_assert_int_eq(
			broker_set_create(f.broker, &vmm, &owned, &set, &f.error), STATUS_DENIED);
		ck_assert_uint_eq(f.error.reason, REASON_ROLE);
		owned.owner_uid = 1000; /* not even its own */
		ck_assert_int_eq(
			broker_set_create(f.broker, &vmm, &owned, &set, &f.error), STATUS_DENIED);
		owned.owner_uid = 2000;
		ck_assert_int_eq(broker_set_create(f.broker, &f.admin, &owned, &set, &f.error), 0);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, set, &info, &f.error), 0);
		ck_assert_uint_eq(info.uid, 2000);
		ck_assert(!info.owned_by_session);
		ck_assert_int_eq(limits_user_open(f.limits, 2000, &user, &f.error), 0);
		ck_assert_uint_eq(limits_account(f.limits, user, RESOURCE_SETS)->current, 1);
		ck_assert_uint_eq(limits_account(f.limits, user, RESOURCE_PROMISED)->current, 5);
		limits_user_close(f.limits, user);
	}
END_TEST

/* ------------------------------------------------------------------ devices and descriptors */

static int add(const struct actor *actor, uint32_t rid, uint64_t cookie)
{
	int fds[] = {10, MODEL_DEVICE_FD(rid)};

	return broker_device_add(f.broker, actor, own, fds, 2, NULL, cookie, &f.error);
}

START_TEST(a_registration_is_charged_when_it_is_taken_and_given_back_at_its_end)
	{
		struct actor a;
		struct device_id slice;

		limit(RESOURCE_DEVICES, 2, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1);
		(void)fixture_share(&f, 5);
		ck_assert_uint_eq(host_use(RESOURCE_DEVICES), 0); /* the daemon's own */
		ck_assert_int_eq(add(&a, 1, 1), 0);               /* not yet carried out */
		(void)fixture_slice(&f, &a, 5);
		ck_assert_uint_eq(use(&a, RESOURCE_DEVICES), 2);
		ck_assert_uint_eq(use(&a, RESOURCE_DESCRIPTORS), 2);
		ck_refused(add(&a, 2, 2), "the set has 2 of its 2 device registrations");
		ck_assert_int_eq(broker_device_slice(f.broker, &a, own, (struct device_id){0},
					 (struct rid){5}, &slice, &f.error),
			STATUS_EXISTS);
		ck_assert_uint_eq(use(&a, RESOURCE_DESCRIPTORS), 2);
		f.model.fail_kind = HW_IDENTIFY;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		ck_assert_int_ne(fixture_outcome(&f, 1).status, 0);
		ck_assert_uint_eq(use(&a, RESOURCE_DEVICES), 1);
		ck_assert_uint_eq(use(&a, RESOURCE_DESCRIPTORS), 0);
		(void)fixture_add(&f, &a, 1, 10);
		fixture_recount(&f);
		end_all();
		ck_nothing_left();
	}
END_TEST

START_TEST(a_registration_that_never_started_gives_back_what_it_was_charged)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1);
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct rid taken = {1};
		int fds[] = {10};

		/* refused at its start: the function is taken */
		ck_assert_int_eq(
			broker_device_add(f.broker, &a, own, fds, 1, &taken, 5, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 5).status, STATUS_EXISTS);
		ck_assert_uint_eq(use(&a, RESOURCE_DEVICES), 1);
		/* its set ends while it waits behind nothing that it could pass */
		f.model.hung_lane = a.set.v;
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 6, &f.error), 0);
		ck_assert_int_eq(add(&a, 2, 7), 0);
		broker_session_end(f.broker, 10);
		fixture_recount(&f);
		f.model.hung_lane = 0;
		end_all();
		ck_nothing_left();
	}
END_TEST

START_TEST(descriptors_are_charged_while_a_worker_has_them)
	{
		struct actor a;
		struct device_id device;
		struct memory memory = {.length = 4096};

		limit(RESOURCE_DESCRIPTORS, 3, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1);
		device = fixture_add(&f, &a, 1, 10);
		ck_refused(add(&a, 2, 1), "the set has 2 of its 3 descriptors, 2 more");
		ck_assert_uint_eq(use(&a, RESOURCE_DEVICES), 1);
		/* a memfd, as long as its operation lasts */
		memory.device = device;
		ck_assert_int_eq(broker_memory_map(f.broker, &a, &memory, 50, 2, &f.error), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_DESCRIPTORS), 3);
		ck_refused(broker_memory_map(f.broker, &a, &memory, 51, 3, &f.error),
			"limits.descriptors.set");
		ck_assert_int_eq(broker_memory_unmap(f.broker, &a, &memory, 4, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_uint_eq(use(&a, RESOURCE_DESCRIPTORS), 2);
		/* with its worker they are gone, though the device is not */
		model_lose_lane(&f, a.set.v);
		ck_assert_uint_eq(use(&a, RESOURCE_DESCRIPTORS), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_DEVICES), 1);
		fixture_recount(&f);
	}
END_TEST

/* ------------------------------------------------------------------ bindings and page tables */

START_TEST(a_binding_is_charged_until_its_record_is_gone)
	{
		struct actor a;
		struct device_id devices[2], shared, slice;
		struct hpasid host;
		uint32_t released;

		limit(RESOURCE_BINDINGS, 2, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		host = fixture_allocate(&f, &a);
		devices[0] = fixture_add(&f, &a, 1, 10);
		shared = fixture_share(&f, 5);
		slice = fixture_slice(&f, &a, 5);
		devices[1] = slice;
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_BINDINGS), 2);
		host = fixture_allocate(&f, &a);
		/* all or nothing: the second device has no room, so the first has no record */
		ck_refused(fixture_bind(&f, &a, host, devices, 2), "2 of its 2 bindings");
		ck_refused(fixture_bind(&f, &a, host, devices, 1), "limits.bindings.set");
		ck_assert_uint_eq(model_entries(&f), 2);
		end_all();
		/* what is to be drained is a record still, of a set that is gone */
		ck_assert_uint_eq(host_use(RESOURCE_BINDINGS), 1);
		ck_assert_uint_eq(host_use(RESOURCE_SETS), 1);
		ck_assert_uint_eq(host_use(RESOURCE_DEVICES), 0);
		ck_assert_uint_eq(host_use(RESOURCE_PAGE_TABLES), 0);
		fixture_recount(&f);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		ck_nothing_left();
	}
END_TEST

START_TEST(a_tainted_binding_is_charged)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_int_eq(fixture_bind(&f, &a, host, &device, 1), 0);
		f.model.fail_kind = HW_DETACH;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		ck_assert_int_eq(fixture_unbind(&f, &a, host), STATUS_HARDWARE);
		ck_assert_uint_eq(use(&a, RESOURCE_BINDINGS), 1);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 1);
		fixture_recount(&f);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_BINDINGS), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 0);
	}
END_TEST

START_TEST(page_tables_are_counted_as_a_worker_makes_them)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 100);
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hw_table table = {.kind = HW_TABLE_IOAS, .id = 7};
		struct hpasid hosts[4];

		for (int i = 0; i < 4; i++)
			hosts[i] = fixture_allocate(&f, &a);
		ck_assert_int_eq(bind_table(&a, hosts[0], device, &table), 0);
		ck_assert_int_eq(bind_table(&a, hosts[1], device, &table), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 1); /* one for both */
		table.id = 8;
		ck_assert_int_eq(bind_table(&a, hosts[2], device, &table), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 2);
		/* the VMM's own tables cost the daemon nothing */
		table = (struct hw_table){.kind = HW_TABLE_HWPT, .id = 9};
		ck_assert_int_eq(bind_table(&a, hosts[3], device, &table), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 2);
		ck_assert_int_eq(fixture_unbind(&f, &a, hosts[3]), 0);
		/* a nested one is one for itself, and one for the parent that it shares */
		table = (struct hw_table){.kind = HW_TABLE_VTD_S1,
			.parent_kind = HW_TABLE_SPACE,
			.id = 0,
			.addr_width = 48};
		ck_assert_int_eq(bind_table(&a, hosts[3], device, &table), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 4);
		fixture_recount(&f);
		for (int i = 0; i < 4; i++)
			ck_assert_int_eq(fixture_unbind(&f, &a, hosts[i]), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 0);
	}
END_TEST

START_TEST(more_tables_than_a_device_remembers_are_never_too_few)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 200);
		struct device_id device = fixture_add(&f, &a, 1, 10);
		struct hw_table table = {.kind = HW_TABLE_IOAS};
		struct hpasid hosts[100];

		for (uint32_t i = 0; i < 100; i++) {
			hosts[i] = fixture_allocate(&f, &a);
			table.id = i % 50;
			ck_assert_int_eq(bind_table(&a, hosts[i], device, &table), 0);
		}
		ck_assert_uint_ge(use(&a, RESOURCE_PAGE_TABLES), 50);
		ck_assert_uint_le(use(&a, RESOURCE_PAGE_TABLES), 100);
		fixture_recount(&f);
		for (uint32_t i = 0; i < 100; i++)
			ck_assert_int_eq(fixture_unbind(&f, &a, hosts[i]), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 0);
	}
END_TEST

START_TEST(address_spaces_and_tables_are_refused_at_the_limit)
	{
		struct actor a;
		struct device_id device;
		struct hw_table table = {.kind = HW_TABLE_SPACE};
		struct hpasid hosts[2];

		limit(RESOURCE_PAGE_TABLES, 3, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		device = fixture_add(&f, &a, 1, 10);
		hosts[0] = fixture_allocate(&f, &a);
		hosts[1] = fixture_allocate(&f, &a);
		ck_assert_int_eq(map(&a, device, 0), 0);
		ck_assert_int_eq(map(&a, device, 0), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 1);
		ck_assert_int_eq(map(&a, device, 1), 0);
		ck_assert_int_eq(bind_table(&a, hosts[0], device, &table), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 3);
		ck_refused(map(&a, device, 2), "the set has 3 of its 3 page tables");
		table.id = 1;
		ck_refused(bind_table(&a, hosts[1], device, &table), "limits.page_tables.set");
		ck_assert_uint_eq(use(&a, RESOURCE_BINDINGS), 1);
		ck_assert_uint_eq(of_set(&a, RESOURCE_PAGE_TABLES).hits, 2);
		table.id = 0; /* what is there already is shared */
		ck_assert_int_eq(bind_table(&a, hosts[1], device, &table), 0);
		end_all();
		ck_nothing_left();
	}
END_TEST

START_TEST(a_number_that_comes_back_to_a_slice_has_its_table_charged)
	{
		struct actor a;
		struct device_id slice;
		struct hpasid host;

		limit(RESOURCE_PAGE_TABLES, 1, 0, 0);
		(void)fixture_share(&f, 5);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		slice = fixture_slice(&f, &a, 5);
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_PAGE_TABLES), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_BINDINGS), 1); /* not drained */
		ck_assert_int_eq(map(&a, slice, 0), 0);
		ck_refused(fixture_bind(&f, &a, host, &slice, 1), "1 of its 1 page tables");
		fixture_recount(&f);
	}
END_TEST

/* ------------------------------------------------------------------ maps and operations */

START_TEST(pages_of_the_guest_map_are_charged_before_they_are_taken)
	{
		struct actor a, c;
		struct hpasid host;
		struct allocate allocate = {
			.max = PASID_LAST, .count = 1, .has_guest = true, .guest = {1024}};

		limit(RESOURCE_MAP_PAGES, 3, 4, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		(void)fixture_allocate_guest(&f, &a, 5);
		ck_assert_uint_eq(use(&a, RESOURCE_MAP_PAGES), 2); /* a directory and a table */
		(void)fixture_allocate_guest(&f, &a, 6);
		ck_assert_uint_eq(use(&a, RESOURCE_MAP_PAGES), 2);
		host = fixture_allocate_guest(&f, &a, 1024);
		ck_assert_uint_eq(use(&a, RESOURCE_MAP_PAGES), 3);
		allocate.guest.v = 2048;
		ck_refused(broker_allocate(f.broker, &a, &allocate, &host, &f.error),
			"3 of its 3 pages of guest PASID maps");
		ck_refused(broker_guest_attach(f.broker, &a, own, fixture_allocate(&f, &a),
				   (struct gpasid){2048}, &f.error),
			"limits.map_pages.set");
		c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		allocate.guest.v = 1;
		ck_refused(broker_allocate(f.broker, &c, &allocate, &host, &f.error),
			"user 1000 has 3 of 4");
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){1024}, &f.error), 0);
		ck_assert_uint_eq(use(&a, RESOURCE_MAP_PAGES), 2);
		ck_assert_int_eq(broker_allocate(f.broker, &c, &allocate, &host, &f.error), 0);
		fixture_recount(&f);
		end_all();
		ck_nothing_left();
	}
END_TEST

START_TEST(identity_numbers_that_find_no_page_are_not_granted)
	{
		struct actor a;
		struct allocate allocate = {.min = 2040, .max = 2050, .count = 11};
		struct hpasid numbers[11];

		limit(RESOURCE_MAP_PAGES, 2, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_IDENTITY, 20);
		/* eight of them are in one table, three in the next */
		ck_refused(broker_allocate(f.broker, &a, &allocate, numbers, &f.error),
			"limits.map_pages.set");
		ck_assert_uint_eq(use(&a, RESOURCE_PASIDS), 0);
		/* the directory stays with the set */
		ck_assert_uint_eq(use(&a, RESOURCE_MAP_PAGES), 1);
		allocate.max = 2047;
		allocate.count = 8;
		ck_assert_int_eq(broker_allocate(f.broker, &a, &allocate, numbers, &f.error), 0);
	}
END_TEST

START_TEST(operations_are_limited_for_set_user_and_host_and_ends_are_not)
	{
		struct actor a, c, d;
		struct policy_peer peer = {.uid = 2000};
		struct outcome outcome;

		limit(RESOURCE_OPERATIONS, 2, 3, 4);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 4);
		d = (struct actor){ROLE_VMM, 12, {0}, &peer};
		ck_assert_int_eq(create(&d, "d", 4, &d.set), 0);
		ck_assert_int_eq(add(&a, 1, 1), 0);
		ck_assert_int_eq(add(&a, 2, 2), 0);
		ck_assert_int_eq(add(&a, 3, 3), STATUS_RETRY);
		ck_assert_uint_eq(f.error.reason, REASON_OVERLOAD);
		ck_assert_uint_eq(use(&a, RESOURCE_DEVICES), 2);
		ck_assert_int_eq(add(&c, 3, 4), 0);
		ck_assert_int_eq(add(&c, 4, 5), STATUS_RETRY); /* the user's */
		ck_assert_int_eq(add(&d, 4, 6), 0);
		ck_assert_int_eq(add(&d, 5, 7), STATUS_RETRY); /* the host's */
		ck_assert_uint_eq(f.error.limit + f.error.used, 0);
		ck_assert_int_eq(
			broker_device_share(f.broker, &f.admin, (struct rid){6}, 8, &f.error),
			STATUS_RETRY);
		fixture_recount(&f);
		/* the end of a set always has its place */
		ck_assert_int_eq(broker_set_destroy(f.broker, &a, own, true, 9, &f.error), 0);
		broker_session_end(f.broker, 11);
		model_run(&f);
		fixture_recount(&f);
		/* until the outcome is fetched the place is taken, for all but the set */
		ck_assert_uint_eq(use(&d, RESOURCE_OPERATIONS), 0);
		ck_assert_uint_eq(host_use(RESOURCE_OPERATIONS), 4);
		while (broker_next_outcome(f.broker, &outcome))
			;
		ck_assert_uint_eq(host_use(RESOURCE_OPERATIONS), 0);
		end_all();
		ck_nothing_left();
	}
END_TEST

/* ------------------------------------------------------------------ who learns what */

START_TEST(accounts_are_shown_to_those_who_may_see_the_set)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct actor none = {ROLE_VMM, 12, {0}, &f.peer};
		struct limit_info info;
		uint64_t cursor = 0;
		unsigned own_count = 0, count = 0;

		(void)fixture_allocate(&f, &a);
		while (broker_limit_next(f.broker, &a, own, &cursor, &info)) {
			own_count++;
			ck_assert_uint_eq(info.set.v, a.set.v);
			ck_assert_str_eq(info.set_name, "a");
			ck_assert_uint_eq(info.uid, 1000);
			if (info.resource == RESOURCE_PASIDS) {
				ck_assert_uint_eq(info.account.limit, 10);
				ck_assert_uint_eq(info.account.current, 1);
			}
		}
		for (cursor = 0; broker_limit_next(f.broker, &f.observer, own, &cursor, &info);)
			count++;
		ck_assert_uint_eq(count, 2 * own_count);
		for (cursor = count = 0;
			broker_limit_next(f.broker, &f.admin, c.set, &cursor, &info); count++)
			ck_assert_str_eq(info.set_name, "c");
		ck_assert_uint_eq(count, own_count);
		cursor = 0;
		ck_assert(!broker_limit_next(f.broker, &a, c.set, &cursor, &info));
		ck_assert(!broker_limit_next(f.broker, &none, own, &cursor, &info));
		cursor = UINT64_MAX;
		ck_assert(!broker_limit_next(f.broker, &f.admin, own, &cursor, &info));
		cursor = UINT64_MAX;
		ck_assert(!broker_limit_next(f.broker, &a, own, &cursor, &info));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {sets_of_a_user_are_limited_until_they_are_gone_for_good,
		sets_that_end_unheard_of_keep_their_place,
		quotas_are_promised_within_what_a_user_may_have,
		numbers_of_a_gone_set_stay_promised_until_they_are_released,
		an_admin_makes_a_set_that_another_user_is_charged_for,
		a_registration_is_charged_when_it_is_taken_and_given_back_at_its_end,
		a_registration_that_never_started_gives_back_what_it_was_charged,
		descriptors_are_charged_while_a_worker_has_them,
		a_binding_is_charged_until_its_record_is_gone, a_tainted_binding_is_charged,
		page_tables_are_counted_as_a_worker_makes_them,
		more_tables_than_a_device_remembers_are_never_too_few,
		address_spaces_and_tables_are_refused_at_the_limit,
		a_number_that_comes_back_to_a_slice_has_its_table_charged,
		pages_of_the_guest_map_are_charged_before_they_are_taken,
		identity_numbers_that_find_no_page_are_not_granted,
		operations_are_limited_for_set_user_and_host_and_ends_are_not,
		accounts_are_shown_to_those_who_may_see_the_set};

	return suite_run("broker, limits", "limits", tests, ARRAY_SIZE(tests), setup, teardown);
}
