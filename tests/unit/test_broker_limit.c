/* SPDX-License-Identifier: MIT */
/* What sets are charged for, what is refused at a limit, and what everything gives back. */
#include "limit_rig.h"
#include "suite.h"

#include <string.h>

static const struct set_id own = {0};

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

		limit_open(RESOURCE_DEVICES, 2, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1);
		(void)fixture_share(&f, 5);
		ck_assert_uint_eq(limit_host_use(RESOURCE_DEVICES), 0); /* the daemon's own */
		ck_assert_int_eq(add(&a, 1, 1), 0);                     /* not yet carried out */
		(void)fixture_slice(&f, &a, 5);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DEVICES), 2);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DESCRIPTORS), 2);
		limit_ck_refused(add(&a, 2, 2), "the set has 2 of its 2 device registrations");
		ck_assert_int_eq(broker_device_slice(f.broker, &a, own, (struct device_id){0},
					 (struct rid){5}, &slice, &f.error),
			STATUS_EXISTS);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DESCRIPTORS), 2);
		f.model.fail_kind = HW_IDENTIFY;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		ck_assert_int_ne(fixture_outcome(&f, 1).status, 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DEVICES), 1);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DESCRIPTORS), 0);
		(void)fixture_add(&f, &a, 1, 10);
		fixture_recount(&f);
		limit_end_all();
		limit_ck_nothing_left();
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
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DEVICES), 1);
		/* its set ends while it waits behind nothing that it could pass */
		f.model.hung_lane = a.set.v;
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, device, 6, &f.error), 0);
		ck_assert_int_eq(add(&a, 2, 7), 0);
		broker_session_end(f.broker, 10);
		fixture_recount(&f);
		f.model.hung_lane = 0;
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(descriptors_are_charged_while_a_worker_has_them)
	{
		struct actor a;
		struct device_id device;
		struct memory memory = {.length = 4096};

		limit_open(RESOURCE_DESCRIPTORS, 3, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 1);
		device = fixture_add(&f, &a, 1, 10);
		limit_ck_refused(add(&a, 2, 1), "the set has 2 of its 3 descriptors, 2 more");
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DEVICES), 1);
		/* a memfd, as long as its operation lasts */
		memory.device = device;
		ck_assert_int_eq(broker_memory_map(f.broker, &a, &memory, 50, 2, &f.error), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DESCRIPTORS), 3);
		limit_ck_refused(broker_memory_map(f.broker, &a, &memory, 51, 3, &f.error),
			"limits.descriptors.set");
		ck_assert_int_eq(broker_memory_unmap(f.broker, &a, &memory, 4, &f.error), 0);
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DESCRIPTORS), 2);
		/* with its worker they are gone, though the device is not */
		model_lose_lane(&f, a.set.v);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DESCRIPTORS), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DEVICES), 1);
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

		limit_open(RESOURCE_BINDINGS, 2, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		host = fixture_allocate(&f, &a);
		devices[0] = fixture_add(&f, &a, 1, 10);
		shared = fixture_share(&f, 5);
		slice = fixture_slice(&f, &a, 5);
		devices[1] = slice;
		ck_assert_int_eq(fixture_bind(&f, &a, host, devices, 2), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_BINDINGS), 2);
		host = fixture_allocate(&f, &a);
		/* all or nothing: the second device has no room, so the first has no record */
		limit_ck_refused(fixture_bind(&f, &a, host, devices, 2), "2 of its 2 bindings");
		limit_ck_refused(fixture_bind(&f, &a, host, devices, 1), "limits.bindings.set");
		ck_assert_uint_eq(model_entries(&f), 2);
		limit_end_all();
		/* what is to be drained is a record still, of a set that is gone */
		ck_assert_uint_eq(limit_host_use(RESOURCE_BINDINGS), 1);
		ck_assert_uint_eq(limit_host_use(RESOURCE_SETS), 1);
		ck_assert_uint_eq(limit_host_use(RESOURCE_DEVICES), 0);
		ck_assert_uint_eq(limit_host_use(RESOURCE_PAGE_TABLES), 0);
		fixture_recount(&f);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		limit_ck_nothing_left();
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
		ck_assert_uint_eq(limit_use(&a, RESOURCE_BINDINGS), 1);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 1);
		fixture_recount(&f);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_BINDINGS), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 0);
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
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 1); /* one for both */
		table.id = 8;
		ck_assert_int_eq(bind_table(&a, hosts[2], device, &table), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 2);
		/* the VMM's own tables cost the daemon nothing */
		table = (struct hw_table){.kind = HW_TABLE_HWPT, .id = 9};
		ck_assert_int_eq(bind_table(&a, hosts[3], device, &table), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 2);
		ck_assert_int_eq(fixture_unbind(&f, &a, hosts[3]), 0);
		/* a nested one is one for itself, and one for the parent that it shares */
		table = (struct hw_table){.kind = HW_TABLE_VTD_S1,
			.parent_kind = HW_TABLE_SPACE,
			.id = 0,
			.addr_width = 48};
		ck_assert_int_eq(bind_table(&a, hosts[3], device, &table), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 4);
		fixture_recount(&f);
		for (int i = 0; i < 4; i++)
			ck_assert_int_eq(fixture_unbind(&f, &a, hosts[i]), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 0);
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
		ck_assert_uint_ge(limit_use(&a, RESOURCE_PAGE_TABLES), 50);
		ck_assert_uint_le(limit_use(&a, RESOURCE_PAGE_TABLES), 100);
		fixture_recount(&f);
		for (uint32_t i = 0; i < 100; i++)
			ck_assert_int_eq(fixture_unbind(&f, &a, hosts[i]), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 0);
	}
END_TEST

START_TEST(address_spaces_and_tables_are_refused_at_the_limit)
	{
		struct actor a;
		struct device_id device;
		struct hw_table table = {.kind = HW_TABLE_SPACE};
		struct hpasid hosts[2];

		limit_open(RESOURCE_PAGE_TABLES, 3, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		device = fixture_add(&f, &a, 1, 10);
		hosts[0] = fixture_allocate(&f, &a);
		hosts[1] = fixture_allocate(&f, &a);
		ck_assert_int_eq(map(&a, device, 0), 0);
		ck_assert_int_eq(map(&a, device, 0), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 1);
		ck_assert_int_eq(map(&a, device, 1), 0);
		ck_assert_int_eq(bind_table(&a, hosts[0], device, &table), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 3);
		limit_ck_refused(map(&a, device, 2), "the set has 3 of its 3 page tables");
		table.id = 1;
		limit_ck_refused(
			bind_table(&a, hosts[1], device, &table), "limits.page_tables.set");
		ck_assert_uint_eq(limit_use(&a, RESOURCE_BINDINGS), 1);
		ck_assert_uint_eq(limit_of_set(&a, RESOURCE_PAGE_TABLES).hits, 2);
		table.id = 0; /* what is there already is shared */
		ck_assert_int_eq(bind_table(&a, hosts[1], device, &table), 0);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(an_address_space_that_was_not_made_is_not_charged)
	{
		struct device_id device;
		struct actor a;

		limit_open(RESOURCE_PAGE_TABLES, 0, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
		device = fixture_add(&f, &a, 1, 10);
		model_arrange(&f, HW_MAP, STATUS_HARDWARE, 0, 1);
		ck_assert_int_eq(map(&a, device, 2), STATUS_HARDWARE);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 0);
		ck_assert_int_eq(map(&a, device, 2), 0);
		/* one that is there already stays */
		model_arrange(&f, HW_MAP, STATUS_HARDWARE, 0, 1);
		ck_assert_int_eq(map(&a, device, 2), STATUS_HARDWARE);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 1);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(a_number_that_comes_back_to_a_slice_has_its_table_charged)
	{
		struct actor a;
		struct device_id slice;
		struct hpasid host;

		limit_open(RESOURCE_PAGE_TABLES, 1, 0, 0);
		(void)fixture_share(&f, 5);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		slice = fixture_slice(&f, &a, 5);
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PAGE_TABLES), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_BINDINGS), 1); /* not drained */
		ck_assert_int_eq(map(&a, slice, 0), 0);
		limit_ck_refused(fixture_bind(&f, &a, host, &slice, 1), "1 of its 1 page tables");
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

		limit_open(RESOURCE_MAP_PAGES, 3, 4, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		(void)fixture_allocate_guest(&f, &a, 5);
		ck_assert_uint_eq(
			limit_use(&a, RESOURCE_MAP_PAGES), 2); /* a directory and a table */
		(void)fixture_allocate_guest(&f, &a, 6);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 2);
		host = fixture_allocate_guest(&f, &a, 1024);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 3);
		allocate.guest.v = 2048;
		limit_ck_refused(broker_allocate(f.broker, &a, &allocate, &host, &f.error),
			"3 of its 3 pages of guest PASID maps");
		limit_ck_refused(broker_guest_attach(f.broker, &a, own, fixture_allocate(&f, &a),
					 (struct gpasid){2048}, &f.error),
			"limits.map_pages.set");
		c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		allocate.guest.v = 1;
		limit_ck_refused(broker_allocate(f.broker, &c, &allocate, &host, &f.error),
			"user 1000 has 3 of 4");
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){1024}, &f.error), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 2);
		ck_assert_int_eq(broker_allocate(f.broker, &c, &allocate, &host, &f.error), 0);
		fixture_recount(&f);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(identity_numbers_that_find_no_page_are_not_granted)
	{
		struct actor a;
		struct allocate allocate = {.min = 2040, .max = 2050, .count = 11};
		struct hpasid numbers[11];

		limit_open(RESOURCE_MAP_PAGES, 2, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_IDENTITY, 20);
		/* eight of them are in one table, three in the next */
		limit_ck_refused(broker_allocate(f.broker, &a, &allocate, numbers, &f.error),
			"limits.map_pages.set");
		ck_assert_uint_eq(limit_use(&a, RESOURCE_PASIDS), 0);
		/* the directory stays with the set */
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 1);
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

		limit_open(RESOURCE_OPERATIONS, 2, 3, 4);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 4);
		c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 4);
		d = (struct actor){ROLE_VMM, 12, {0}, &peer};
		ck_assert_int_eq(limit_create(&d, "d", 4, &d.set), 0);
		ck_assert_int_eq(add(&a, 1, 1), 0);
		ck_assert_int_eq(add(&a, 2, 2), 0);
		ck_assert_int_eq(add(&a, 3, 3), STATUS_RETRY);
		ck_assert_uint_eq(f.error.reason, REASON_OVERLOAD);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DEVICES), 2);
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
		ck_assert_uint_eq(limit_use(&d, RESOURCE_OPERATIONS), 0);
		ck_assert_uint_eq(limit_host_use(RESOURCE_OPERATIONS), 4);
		while (broker_next_outcome(f.broker, &outcome))
			;
		ck_assert_uint_eq(limit_host_use(RESOURCE_OPERATIONS), 0);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_registration_is_charged_when_it_is_taken_and_given_back_at_its_end,
		a_registration_that_never_started_gives_back_what_it_was_charged,
		descriptors_are_charged_while_a_worker_has_them,
		a_binding_is_charged_until_its_record_is_gone, a_tainted_binding_is_charged,
		page_tables_are_counted_as_a_worker_makes_them,
		more_tables_than_a_device_remembers_are_never_too_few,
		address_spaces_and_tables_are_refused_at_the_limit,
		an_address_space_that_was_not_made_is_not_charged,
		a_number_that_comes_back_to_a_slice_has_its_table_charged,
		pages_of_the_guest_map_are_charged_before_they_are_taken,
		identity_numbers_that_find_no_page_are_not_granted,
		operations_are_limited_for_set_user_and_host_and_ends_are_not};

	return suite_run("broker, limits", "limits of what sets have", tests, ARRAY_SIZE(tests),
		limit_setup, limit_teardown);
}
