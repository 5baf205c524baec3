/* SPDX-License-Identifier: MIT */
/* Exported maps: equal to the map whatever happens, charged, closed with their set. */
#include "limit_rig.h"
#include "suite.h"

#include <string.h>

static const struct set_id own = {0};

static struct fake_map *export(const struct actor *actor)
{
	struct set_id set;

	ck_assert_msg(
		broker_set_export(f.broker, actor, own, &set, &f.error) == 0, "%s", f.error.text);
	ck_assert_uint_eq(set.v, actor->set.v);
	return fake_export_of(&f.exports, set);
}

static int attach(const struct actor *actor, struct hpasid host, uint32_t guest)
{
	return broker_guest_attach(f.broker, actor, own, host, (struct gpasid){guest}, &f.error);
}

static struct actor begin(enum set_mode mode)
{
	limit_open(RESOURCE_MAP_PAGES, 0, 0, 0);
	return fixture_vmm(&f, 10, "a", mode, 20);
}

START_TEST(an_export_follows_its_map)
	{
		struct actor a = begin(SET_TRANSLATED);
		struct hpasid before = fixture_allocate_guest(&f, &a, 7), after;
		struct hpasid last = fixture_allocate_guest(&f, &a, PASID_LAST);
		const struct fake_map *map = export(&a);

		ck_assert_uint_eq(fake_export_read(map, 7), before.v);
		ck_assert_uint_eq(fake_export_read(map, PASID_LAST), last.v);
		after = fixture_allocate_guest(&f, &a, 900000);
		ck_assert_uint_eq(fake_export_read(map, 900000), after.v);
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){7}, &f.error), 0);
		ck_assert_uint_eq(fake_export_read(map, 7), 0);
		ck_assert_int_eq(attach(&a, before, 8), 0);
		ck_assert_uint_eq(fake_export_read(map, 8), before.v);
		fixture_recount(&f);
		ck_assert_int_eq(fixture_free(&f, &a, before), 0);
		ck_assert_uint_eq(fake_export_read(map, 8), 0);
		ck_assert_uint_eq(fake_export_read(map, 900000), after.v);
		ck_assert_ptr_eq(export(&a), map); /* the same, asked for again */
		ck_assert_uint_eq(f.exports.count, 1);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(an_identity_set_exports_each_number_as_itself)
	{
		struct actor a = begin(SET_IDENTITY);
		struct hpasid host = fixture_allocate(&f, &a);

		ck_assert_uint_eq(fake_export_read(export(&a), host.v), host.v);
		limit_end_all();
	}
END_TEST

START_TEST(who_may_not_change_a_set_gets_no_export_of_it)
	{
		struct actor a = begin(SET_TRANSLATED), other, guest;
		struct set_id set;

		other = fixture_vmm(&f, 11, "b", SET_TRANSLATED, 1);
		guest = fixture_vmm(&f, 12, "c", SET_GUEST_OWNED, 1);
		ck_assert_int_eq(broker_set_export(f.broker, &other, a.set, &set, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_ne(
			broker_set_export(f.broker, &f.observer, a.set, &set, &f.error), 0);
		ck_assert_int_eq(
			broker_set_export(f.broker, &guest, own, &set, &f.error), STATUS_STATE);
		ck_assert_uint_eq(f.error.reason, REASON_SET_MODE);
		ck_assert_uint_eq(f.exports.count, 0);
		ck_assert_int_eq(broker_set_export(f.broker, &f.admin, a.set, &set, &f.error), 0);
		limit_end_all();
	}
END_TEST

START_TEST(an_export_ends_with_its_set)
	{
		struct actor a = begin(SET_TRANSLATED);
		const struct fake_map *map;
		uint32_t host = fixture_allocate_guest(&f, &a, 7).v;

		map = export(&a);
		ck_assert_uint_eq(fake_export_read(map, 7), host);
		broker_session_end(f.broker, a.session);
		model_run(&f);
		ck_assert(!map->kept);
		ck_assert_uint_eq(fake_export_read(map, 7), 0);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

/* ---------------------------------------------------------------- pages */

START_TEST(its_pages_are_charged_and_a_limit_refuses_what_is_beyond)
	{
		struct actor a;
		struct set_id set;
		struct hpasid hosts[3];

		/* two of the map, three and one of the export, two more for another table */
		limit_open(RESOURCE_MAP_PAGES, 8, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
		hosts[0] = fixture_allocate_guest(&f, &a, 7);
		ck_assert_int_eq(broker_set_export(f.broker, &a, own, &set, &f.error), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 6);
		hosts[1] = fixture_allocate_guest(&f, &a, 5000);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 8);
		hosts[2] = fixture_allocate(&f, &a);
		limit_ck_refused(attach(&a, hosts[2], 9000),
			"the set has 8 of its 8 pages of guest PASID maps");
		ck_assert_uint_eq(fake_export_read(fake_export_of(&f.exports, set), 9000), 0);
		/* a table of the map goes back, that of the export stays */
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){5000}, &f.error), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 7);
		fixture_recount(&f);
		ck_assert_int_eq(attach(&a, hosts[2], 5001), 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 8);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(an_export_beyond_the_limit_is_refused_and_changes_nothing)
	{
		struct actor a;
		struct set_id set;

		limit_open(RESOURCE_MAP_PAGES, 5, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
		(void)fixture_allocate_guest(&f, &a, 7);
		limit_ck_refused(broker_set_export(f.broker, &a, own, &set, &f.error),
			"the set has 2 of its 5 pages of guest PASID maps");
		ck_assert_uint_eq(f.exports.count, 0);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 2);
		limit_end_all();
	}
END_TEST

START_TEST(its_descriptor_is_charged_too)
	{
		struct actor a;
		struct set_id set;

		limit_open(RESOURCE_DESCRIPTORS, 3, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
		(void)fixture_add(&f, &a, 1, 10);
		(void)export(&a);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DESCRIPTORS), 3);
		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_DESCRIPTORS), 3);
		limit_end_all();
		limit_ck_nothing_left();
		limit_open(RESOURCE_DESCRIPTORS, 2, 0, 0);
		a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 20);
		(void)fixture_add(&f, &a, 1, 10);
		limit_ck_refused(broker_set_export(f.broker, &a, own, &set, &f.error),
			"the set has 2 of its 2 descriptors");
		ck_assert_uint_eq(f.exports.count, 0);
		limit_end_all();
	}
END_TEST

START_TEST(memory_that_cannot_be_had_leaves_everything_as_it_was)
	{
		struct actor a = begin(SET_TRANSLATED);
		struct set_id set;
		struct hpasid host = fixture_allocate_guest(&f, &a, 7);
		const struct fake_map *map;

		f.exports.fail_make = 1;
		ck_assert_int_eq(
			broker_set_export(f.broker, &a, own, &set, &f.error), STATUS_RETRY);
		ck_assert_uint_eq(f.error.reason, REASON_NO_MEMORY);
		f.exports.fail_reserve = 1; /* of the table that there is */
		ck_assert_int_eq(
			broker_set_export(f.broker, &a, own, &set, &f.error), STATUS_RETRY);
		ck_assert(!fake_export_of(&f.exports, a.set)->kept);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 2);
		map = export(&a);
		f.exports.fail_reserve = 1;
		host = fixture_allocate(&f, &a);
		ck_assert_int_eq(attach(&a, host, 5000), STATUS_RETRY);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 6);
		fixture_recount(&f);
		ck_assert_int_eq(attach(&a, host, 5000), 0);
		ck_assert_uint_eq(fake_export_read(map, 5000), host.v);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

/* ---------------------------------------------------------------- another run of the daemon */

START_TEST(readers_go_on_in_the_same_memory_after_a_restart)
	{
		struct actor a = begin(SET_TRANSLATED);
		const struct fake_map *map = export(&a);
		struct hpasid host = fixture_allocate_guest(&f, &a, 7), late;

		fixture_settle(&f);
		fixture_restart(&f, fixture_all_stand, NULL);
		ck_assert(map->kept);
		ck_assert_uint_eq(fake_export_read(map, 7), host.v);
		fixture_recount(&f);
		late = fixture_allocate_guest(&f, &a, 100000);
		ck_assert_uint_eq(fake_export_read(map, 100000), late.v);
		ck_assert_ptr_eq(export(&a), map);
		limit_end_all();
		limit_ck_nothing_left();
	}
END_TEST

START_TEST(a_change_that_was_taken_back_is_taken_back_for_readers_too)
	{
		struct actor a = begin(SET_TRANSLATED);
		const struct fake_map *map = export(&a);
		struct hpasid host = fixture_allocate_guest(&f, &a, 7);

		fixture_settle(&f);
		/* the daemon dies before either of these is settled */
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){7}, &f.error), 0);
		(void)fixture_allocate_guest(&f, &a, 70000);
		fixture_restart(&f, fixture_all_stand, NULL);
		ck_assert_uint_eq(fake_export_read(map, 7), host.v);
		ck_assert_uint_eq(fake_export_read(map, 70000), 0);
		fixture_recount(&f);
		limit_end_all();
	}
END_TEST

/* Memory of an earlier run that says it is this set's, with an entry. */
static const struct fake_map *left(struct set_id set)
{
	struct export_port port = fake_export_port(&f.exports);
	const struct gpasid guest = {7};
	struct export export;
	uint8_t *base;

	ck_assert_int_eq(port.make(port.ctx, (struct set_id){1 + f.exports.count}, &base), 0);
	ck_assert_int_eq(
		port.reserve(port.ctx, (struct set_id){f.exports.count}, export_offset(guest)), 0);
	export_format(&export, base, set);
	export_add(&export, guest);
	export_attach(&export, guest, (struct hpasid){4000});
	return &f.exports.maps[f.exports.count - 1];
}

START_TEST(what_is_no_living_sets_memory_is_closed)
	{
		struct actor a = begin(SET_TRANSLATED);
		const struct set_id nobody = {a.set.v + 1};
		const struct fake_map *map = export(&a), *second = left(a.set),
				      *third = left(nobody);

		ck_assert_uint_eq(fake_export_read(third, 7), 4000);
		ck_assert_int_ne(broker_export_adopt(f.broker, nobody, third->base), 0);
		ck_assert_uint_eq(fake_export_read(third, 7), 0);
		ck_assert_int_ne(
			broker_export_adopt(f.broker, a.set, second->base), 0); /* it has one */
		ck_assert_uint_eq(fake_export_read(second, 7), 0);
		second = left(nobody);
		ck_assert_int_ne(broker_export_adopt(f.broker, a.set, second->base), 0);
		ck_assert_uint_eq(
			fake_export_read(second, 7), 4000); /* somebody else's: left alone */
		ck_assert(map->kept);
		fixture_recount(&f);
	}
END_TEST

START_TEST(a_table_that_cannot_be_added_at_the_start_closes_the_memory)
	{
		struct actor a = begin(SET_TRANSLATED);
		const struct fake_map *map = export(&a);

		(void)fixture_allocate_guest(&f, &a, 7);
		fixture_settle(&f);
		/* as if the table had never been: what the map has needs one */
		memset(map->base + TRANSLATE_PAGE, 0, TRANSLATE_PAGE);
		f.exports.fail_reserve = 1;
		fixture_restart(&f, fixture_all_stand, NULL);
		ck_assert(!map->kept);
		ck_assert_uint_eq(limit_use(&a, RESOURCE_MAP_PAGES), 2);
		fixture_recount(&f);
		ck_assert_ptr_ne(export(&a), map);
		limit_end_all();
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {an_export_follows_its_map,
		an_identity_set_exports_each_number_as_itself,
		who_may_not_change_a_set_gets_no_export_of_it, an_export_ends_with_its_set,
		its_pages_are_charged_and_a_limit_refuses_what_is_beyond,
		an_export_beyond_the_limit_is_refused_and_changes_nothing,
		its_descriptor_is_charged_too,
		memory_that_cannot_be_had_leaves_everything_as_it_was,
		readers_go_on_in_the_same_memory_after_a_restart,
		a_change_that_was_taken_back_is_taken_back_for_readers_too,
		what_is_no_living_sets_memory_is_closed,
		a_table_that_cannot_be_added_at_the_start_closes_the_memory};

	return suite_run(
		"broker, exports", "maps", tests, ARRAY_SIZE(tests), limit_setup, limit_teardown);
}
