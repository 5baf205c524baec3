/* SPDX-License-Identifier: MIT */
/* pasidctl tree: what was read in, lines and objects out. */
#include "suite.h"

#include <stdlib.h>
#include <string.h>

#include "pasidctl_colour.h"
#include "view_tree.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MANY          100000u

static char *text;

static const char *user(uint32_t uid)
{
	return uid == 64055 ? "libvirt-qemu" : NULL;
}

static void setup(void)
{
	colour_decide(COLOUR_NEVER);
	text = NULL;
}

static void teardown(void)
{
	free(text);
}

static const char *draw(struct view_tree *tree, bool utf8)
{
	struct view_look look = {80, utf8};
	size_t size;
	free(text);
	FILE *out = open_memstream(&text, &size);
	view_tree_print(out, tree, &look);
	fclose(out);
	return text;
}

/* Two users, three sets, of which the second has what there can be; nothing is in order. */
static struct pasid_set_info sets[] = {
	{.id = 3, .name = "web", .mode = PASID_SET_IDENTITY, .uid = 64055, .pasids = {.limit = 1}},
	{.id = 2,
		.name = "db",
		.mode = PASID_SET_TRANSLATED,
		.uid = 64055,
		.pasids = {.limit = 256, .current = 6},
		.quarantined = 2,
		.bindings = 3},
	{.id = 1, .name = "alone", .mode = PASID_SET_GUEST_OWNED, .uid = 0, .dying = true},
};
static struct pasid_device_info devices[] = {
	{.id = 9, .kind = PASID_DEVICE_SHARED, .address = "0000:00:03.0", .pasid_width = 20},
	{.id = 8,
		.kind = PASID_DEVICE_SLICE,
		.address = "0000:00:03.0",
		.set = 2,
		.shared = 9,
		.bindings = 3},
	{.id = 7,
		.kind = PASID_DEVICE_EXCLUSIVE,
		.address = "0000:00:01.0",
		.set = 2,
		.tainted = true,
		.bindings = 1},
};
static struct view_grant grants[] = {
	{.set = 2, .pasid = 1026, .guest = VIEW_TREE_NONE, .state = PASID_GRANT_ACTIVE},
	{.set = 2, .pasid = 1024, .guest = 5, .state = PASID_GRANT_ACTIVE, .bindings = 1},
	{.set = 2,
		.pasid = 1025,
		.guest = 6,
		.state = PASID_GRANT_ACTIVE,
		.bindings = 2,
		.holds = 1},
	{.set = 2, .pasid = 1027, .guest = VIEW_TREE_NONE, .state = PASID_GRANT_QUARANTINED},
	{.set = 2,
		.pasid = 1028,
		.guest = VIEW_TREE_NONE,
		.state = PASID_GRANT_QUARANTINED,
		.tainted = true},
	{.set = 77, .pasid = 4000, .guest = VIEW_TREE_NONE, .state = PASID_GRANT_QUARANTINED},
};
static struct view_binding bindings[] = {
	{.device = 8, .pasid = 1025, .guest = 6, .state = PASID_BINDING_BOUND},
	{.device = 7,
		.pasid = VIEW_TREE_NONE,
		.guest = VIEW_TREE_NONE,
		.state = PASID_BINDING_TAINTED},
	{.device = 8, .pasid = 1024, .guest = 5, .state = PASID_BINDING_BOUND},
};

static struct view_tree whole(void)
{
	/* each test is a process of its own: what one sorts is not another one's */
	return (struct view_tree){.host = "host",
		.sets = sets,
		.set_count = ARRAY_SIZE(sets),
		.devices = devices,
		.device_count = ARRAY_SIZE(devices),
		.grants = grants,
		.grant_count = ARRAY_SIZE(grants),
		.bindings = bindings,
		.binding_count = ARRAY_SIZE(bindings),
		.user = user};
}

START_TEST(everything_has_its_place)
	{
		struct view_tree tree = whole();
		ck_assert_str_eq(draw(&tree, false),
			"host\n"
			"|- user 0: 1 set, 0 PASIDs\n"
			"|  `- set alone (id:1) guest-owned, 0 of 0 PASIDs, 0 bound, dying\n"
			"|- user libvirt-qemu (64055): 2 sets, 6 PASIDs\n"
			"|  |- set db (id:2) translated, 6 of 256 PASIDs, 2 in quarantine, 3 bound\n"
			"|  |  |- PASID 1024-1026 (3), 2 bound, 1 held\n"
			"|  |  |- PASID 1027 quarantined\n"
			"|  |  |- PASID 1028 tainted\n"
			"|  |  |- 0000:00:01.0 exclusive, device 7, 1 bound, tainted\n"
			"|  |  |  `- RID tainted\n"
			"|  |  `- 0000:00:03.0 slice, device 8, 3 bound\n"
			"|  |     `- PASID 1024-1025 (2) bound\n"
			"|  `- set web (id:3) identity, 0 of 1 PASID, 0 bound\n"
			"|- of sets that are gone\n"
			"|  `- PASID 4000 quarantined\n"
			"`- shared devices\n"
			"   `- 0000:00:03.0 shared, device 9, 20 bits, 1 slice, 3 bound\n");
	}
END_TEST

START_TEST(boxes_are_drawn_where_there_are_any)
	{
		struct view_tree tree = whole();
		draw(&tree, true);
		ck_assert_ptr_nonnull(strstr(text, "\n\u251c\u2500 user 0: 1 set"));
		ck_assert_ptr_nonnull(strstr(
			text, "\n\u2502  \u2502     \u2514\u2500 PASID 1024-1025 (2) bound\n"));
		ck_assert_ptr_nonnull(strstr(text, "\n\u2514\u2500 shared devices\n"));
	}
END_TEST

START_TEST(all_shows_each_number_with_its_guests)
	{
		struct view_tree tree = whole();
		tree.all = true;
		draw(&tree, false);
		ck_assert_ptr_nonnull(strstr(text, "|- PASID 1024 guest 5, 1 bound\n"));
		ck_assert_ptr_nonnull(strstr(text, "|- PASID 1025 guest 6, 1 bound, 1 held\n"));
		ck_assert_ptr_nonnull(strstr(text, "|- PASID 1026\n"));
		ck_assert_ptr_nonnull(strstr(text, "`- PASID 1025 guest 6 bound\n"));
	}
END_TEST

START_TEST(nothing_is_a_tree_too)
	{
		struct view_tree tree = {.host = "host"};
		ck_assert_str_eq(draw(&tree, false), "host\n");
		json_t *json = view_tree_json(&tree);
		char *dump = json_dumps(json, JSON_COMPACT);
		ck_assert_str_eq(dump, "{\"users\":[],\"gone\":[],\"shared_devices\":[]}");
		free(dump);
		json_decref(json);
	}
END_TEST

/* A set with every other of 100000 numbers, the worst there is for runs. */
START_TEST(many_ranges_are_summed_up)
	{
		struct view_grant *many = calloc(MANY, sizeof(*many));
		struct view_tree tree = {.host = "host",
			.sets = &sets[1],
			.set_count = 1,
			.grants = many,
			.grant_count = MANY};
		ck_assert_ptr_nonnull(many);
		for (uint32_t i = 0; i < MANY; i++)
			many[i] = (struct view_grant){.set = 2,
				.pasid = 1024 + (MANY - i) * 2,
				.guest = VIEW_TREE_NONE,
				.state = PASID_GRANT_ACTIVE};
		draw(&tree, false);
		ck_assert_ptr_nonnull(
			strstr(text, "`- 99993 more numbers in 99993 ranges: --all shows them\n"));
		ck_assert_uint_lt(strlen(text), 1000);
		for (uint32_t i = 0; i < MANY; i++)
			many[i].pasid = 1024 + i;
		draw(&tree, false);
		ck_assert_ptr_nonnull(strstr(text, "`- PASID 1024-101023 (100000)\n"));
		free(many);
	}
END_TEST

START_TEST(exactly_eight_ranges_are_all_shown)
	{
		struct view_grant some[9] = {0};
		struct view_tree tree = {
			.host = "host", .sets = &sets[1], .set_count = 1, .grants = some};
		for (uint32_t i = 0; i < ARRAY_SIZE(some); i++)
			some[i] = (struct view_grant){.set = 2,
				.pasid = 1024 + i * 2,
				.guest = VIEW_TREE_NONE,
				.state = PASID_GRANT_ACTIVE};
		tree.grant_count = 8;
		ck_assert_ptr_null(strstr(draw(&tree, false), "more number"));
		tree.grant_count = 9;
		ck_assert_ptr_nonnull(strstr(draw(&tree, false), "`- 2 more numbers in 2 ranges"));
	}
END_TEST

START_TEST(programs_get_it_nested)
	{
		struct view_tree tree = whole();
		json_t *json = view_tree_json(&tree), *found;
		char *dump;
		ck_assert_uint_eq(json_array_size(json_object_get(json, "users")), 2);
		found = json_array_get(json_object_get(json, "users"), 1);
		ck_assert_str_eq(json_string_value(json_object_get(found, "name")), "libvirt-qemu");
		found = json_array_get(json_object_get(found, "sets"), 0);
		dump = json_dumps(json_object_get(found, "pasids"), JSON_COMPACT);
		ck_assert_str_eq(dump,
			"[{\"first\":1024,\"last\":1026,\"count\":3,\"state\":\"active\",\"bound\":2,\"held\":1},"
			"{\"first\":1027,\"last\":1027,\"count\":1,\"state\":\"quarantined\",\"bound\":0,\"held\":0},"
			"{\"first\":1028,\"last\":1028,\"count\":1,\"state\":\"tainted\",\"bound\":0,\"held\":0}]");
		free(dump);
		found = json_array_get(json_object_get(found, "devices"), 0);
		dump = json_dumps(json_object_get(found, "bound"), JSON_COMPACT);
		ck_assert_str_eq(
			dump, "[{\"first\":null,\"last\":null,\"count\":1,\"state\":\"tainted\"}]");
		free(dump);
		ck_assert_uint_eq(json_array_size(json_object_get(json, "shared_devices")), 1);
		ck_assert_uint_eq(json_array_size(json_object_get(json, "gone")), 1);
		json_decref(json);
		tree.all = true;
		json = view_tree_json(&tree);
		found = json_array_get(json_object_get(json, "users"), 1);
		found = json_array_get(json_object_get(found, "sets"), 0);
		found = json_array_get(json_object_get(found, "pasids"), 0);
		ck_assert_int_eq(json_integer_value(json_object_get(found, "guest")), 5);
		json_decref(json);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {everything_has_its_place, boxes_are_drawn_where_there_are_any,
		all_shows_each_number_with_its_guests, nothing_is_a_tree_too,
		many_ranges_are_summed_up, exactly_eight_ranges_are_all_shown,
		programs_get_it_nested};
	return suite_run("view_tree", "tree", tests, ARRAY_SIZE(tests), setup, teardown);
}
