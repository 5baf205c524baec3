/* SPDX-License-Identifier: MIT */
#include "policy.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const uint32_t root[] = {0};
static const uint32_t kvm[] = {36, 108};

static const struct policy_peer peer_root = {.uid = 0, .group_count = 1, .groups = {0}};
static const struct policy_peer peer_qemu = {
	.uid = 64055, .group_count = 2, .groups = {64055, 108}};
static const struct policy_peer peer_user = {.uid = 1000, .group_count = 1, .groups = {1000}};

START_TEST(role_by_user)
	{
		const struct policy policy = {.admins = {.uids = root, .uid_count = 1}};

		ck_assert(policy_allows_role(&policy, &peer_root, ROLE_ADMIN));
		ck_assert(!policy_allows_role(&policy, &peer_user, ROLE_ADMIN));
		ck_assert(!policy_allows_role(&policy, &peer_root, ROLE_VMM));
		ck_assert(!policy_allows_role(&policy, &peer_root, ROLE_OBSERVER));
	}
END_TEST

START_TEST(role_by_the_door_that_it_came_in)
	{
		const struct policy nobody = {.admins = {.everyone = false}};
		struct policy_peer peer = peer_user;

		peer.admitted = true;
		for (enum role role = ROLE_VMM; role <= ROLE_PARTICIPANT; role++) {
			ck_assert(policy_allows_role(&nobody, &peer, role));
			ck_assert(!policy_allows_role(&nobody, &peer_user, role));
		}
		ck_assert(!policy_allows_role(&nobody, &peer, ROLE_NONE));
		ck_assert(!policy_allows_device(
			&nobody, &peer, (struct rid){8}, POLICY_USE_EXCLUSIVE));
	}
END_TEST

START_TEST(role_by_any_group_of_the_peer)
	{
		const struct policy policy = {.vmms = {.gids = kvm, .gid_count = 2}};

		ck_assert(policy_allows_role(&policy, &peer_qemu, ROLE_VMM));
		ck_assert(!policy_allows_role(&policy, &peer_user, ROLE_VMM));
	}
END_TEST

START_TEST(role_ignores_groups_beyond_the_count)
	{
		const struct policy policy = {.vmms = {.gids = kvm, .gid_count = 2}};
		struct policy_peer peer = peer_qemu;

		peer.group_count = 1;
		ck_assert(!policy_allows_role(&policy, &peer, ROLE_VMM));
	}
END_TEST

START_TEST(role_ignores_groups_and_rules_beyond_what_is_kept)
	{
		const struct policy policy = {.vmms = {.gids = kvm, .gid_count = 2}};
		const struct {
			struct policy_peer peer;
			uint32_t behind;
		} many = {.peer = {.uid = 1, .group_count = POLICY_GROUPS_MAX + 1}, .behind = 108};
		const char *paths[POLICY_CGROUPS_MAX + 1];
		const struct policy cgroups = {
			.cgroups = paths, .cgroup_count = POLICY_CGROUPS_MAX + 1};

		ck_assert(!policy_allows_role(&policy, &many.peer, ROLE_VMM));
		for (size_t i = 0; i < POLICY_CGROUPS_MAX; i++)
			paths[i] = "/a";
		paths[POLICY_CGROUPS_MAX] = "/b";
		ck_assert_uint_eq(policy_match_cgroups(&cgroups, "/b"), 0);
		ck_assert_uint_eq(policy_match_cgroups(&cgroups, "/a"), UINT64_MAX);
	}
END_TEST

START_TEST(role_none_is_nobodys)
	{
		const struct policy policy = {.admins = {.everyone = true},
			.observers = {.everyone = true},
			.vmms = {.everyone = true}};

		ck_assert(policy_allows_role(&policy, &peer_user, ROLE_OBSERVER));
		ck_assert(!policy_allows_role(&policy, &peer_user, ROLE_NONE));
		ck_assert(!policy_allows_role(&policy, &peer_user, (enum role)77));
	}
END_TEST

START_TEST(user_number_is_no_group_number)
	{
		const uint32_t id[] = {1000};
		const struct policy by_uid = {.vmms = {.uids = id, .uid_count = 1}};
		const struct policy_peer in_group = {.uid = 5, .group_count = 1, .groups = {1000}};

		ck_assert(!policy_allows_role(&by_uid, &in_group, ROLE_VMM));
	}
END_TEST

START_TEST(role_by_cgroup)
	{
		static const char *const rules[] = {"/machine.slice", "/user.slice/a", "/"};
		const struct policy policy = {
			.cgroups = rules, .cgroup_count = 3, .vmms = {.cgroups = 1u << 1}};
		struct policy_peer peer = peer_user;

		ck_assert(!policy_allows_role(&policy, &peer, ROLE_VMM));
		peer.cgroups = policy_match_cgroups(&policy, "/machine.slice/a");
		ck_assert(!policy_allows_role(&policy, &peer, ROLE_VMM));
		peer.cgroups = policy_match_cgroups(&policy, "/user.slice/a/b");
		ck_assert(policy_allows_role(&policy, &peer, ROLE_VMM));
		ck_assert(!policy_allows_role(&policy, &peer, ROLE_ADMIN));
	}
END_TEST

START_TEST(cgroups_match_at_the_boundary_of_a_path)
	{
		static const char *const rules[] = {"/machine.slice", "/", "/machine.slice/a"};
		const struct policy policy = {.cgroups = rules, .cgroup_count = 3};

		ck_assert_uint_eq(policy_match_cgroups(&policy, "/machine.slice"), 3);
		ck_assert_uint_eq(policy_match_cgroups(&policy, "/machine.slice/a"), 7);
		ck_assert_uint_eq(policy_match_cgroups(&policy, "/machine.slice/ab"), 3);
		ck_assert_uint_eq(policy_match_cgroups(&policy, "/machine.slices"), 2);
		ck_assert_uint_eq(policy_match_cgroups(&policy, "/machine.slice (deleted)"), 2);
		ck_assert_uint_eq(policy_match_cgroups(&policy, "/"), 2);
		/* above the daemon's own root */
		ck_assert_uint_eq(policy_match_cgroups(&policy, "/../machine.slice"), 0);
		ck_assert_uint_eq(policy_match_cgroups(&policy, "/.."), 0);
		ck_assert_uint_eq(policy_match_cgroups(&policy, ""), 0);
		ck_assert_uint_eq(policy_match_cgroups(&policy, "machine.slice"), 0);
	}
END_TEST

START_TEST(participants_are_a_role_of_their_own)
	{
		const struct policy policy = {.participants = {.uids = root, .uid_count = 1},
			.admins = {.everyone = true}};

		ck_assert(policy_allows_role(&policy, &peer_root, ROLE_PARTICIPANT));
		ck_assert(!policy_allows_role(&policy, &peer_user, ROLE_PARTICIPANT));
	}
END_TEST

static const struct policy_device devices[] = {
	{.rid = {0x0100}, .use = POLICY_USE_EXCLUSIVE, .who = {.gids = kvm, .gid_count = 2}},
	{.rid = {0x0200}, .use = POLICY_USE_SHARED, .who = {.everyone = true}},
};

START_TEST(rules_that_both_have_keep_their_bits)
	{
		static const char *const before[] = {"/a", "/b", "/c"};
		static const char *const after[] = {"/x", "/c", "/y"};
		const char *rules[POLICY_CGROUPS_MAX], *more[POLICY_CGROUPS_MAX];
		const struct policy present = {.cgroups = before, .cgroup_count = 3};
		struct policy_device device = {.who = {.cgroups = 2}};
		struct policy next = {.cgroups = after,
			.cgroup_count = 3,
			.admins = {.cgroups = 1},
			.vmms = {.cgroups = 6},
			.devices = &device,
			.device_count = 1};
		struct policy last = {.cgroups = (const char *const[]){"/y"}, .cgroup_count = 1};
		const struct policy none = {.cgroup_count = 0};

		ck_assert_uint_eq(policy_renumber(&next, &device, &present, rules), 4);
		/* the new ones are where there was room, and "/c" is where it was */
		ck_assert_str_eq(next.cgroups[0], "/x");
		ck_assert_str_eq(next.cgroups[1], "/y");
		ck_assert_str_eq(next.cgroups[2], "/c");
		ck_assert_uint_eq(next.cgroup_count, 3);
		ck_assert_uint_eq(next.admins.cgroups, 1);
		ck_assert_uint_eq(next.vmms.cgroups, 6);
		ck_assert_uint_eq(device.who.cgroups, 4);
		/* what is left of them keeps its place, and the others are gaps */
		last.admins.cgroups = 1;
		ck_assert_uint_eq(policy_renumber(&last, NULL, &next, more), 2);
		ck_assert_uint_eq(last.cgroup_count, 2);
		ck_assert_ptr_null(last.cgroups[0]);
		ck_assert_uint_eq(last.admins.cgroups, 2);
		ck_assert_uint_eq(policy_match_cgroups(&last, "/y/z"), 2);
		ck_assert_uint_eq(policy_match_cgroups(&last, "/x"), 0);
		/* from gaps, and to nothing */
		next = (struct policy){.cgroups = after, .cgroup_count = 3};
		ck_assert_uint_eq(policy_renumber(&next, NULL, &last, rules), 2);
		ck_assert_str_eq(next.cgroups[0], "/x");
		ck_assert_str_eq(next.cgroups[1], "/y");
		ck_assert_str_eq(next.cgroups[2], "/c");
		last = none;
		ck_assert_uint_eq(policy_renumber(&last, NULL, &next, more), 0);
		ck_assert_uint_eq(last.cgroup_count, 0);
	}
END_TEST

START_TEST(as_many_rules_as_there_can_be_are_renumbered)
	{
		static char names[POLICY_CGROUPS_MAX][8];
		const char *before[POLICY_CGROUPS_MAX], *after[POLICY_CGROUPS_MAX];
		const char *rules[POLICY_CGROUPS_MAX];
		const struct policy present = {
			.cgroups = before, .cgroup_count = POLICY_CGROUPS_MAX};
		struct policy next = {.cgroups = after,
			.cgroup_count = POLICY_CGROUPS_MAX,
			.admins = {.cgroups = 1}};

		for (unsigned i = 0; i < POLICY_CGROUPS_MAX; i++) {
			(void)snprintf(names[i], sizeof(names[i]), "/%u", i);
			before[i] = names[i];
			after[POLICY_CGROUPS_MAX - 1 - i] = names[i];
		}
		after[0] = "/new"; /* in place of the last one */
		ck_assert_uint_eq(policy_renumber(&next, NULL, &present, rules), UINT64_MAX >> 1);
		ck_assert_uint_eq(next.admins.cgroups, UINT64_C(1) << 63);
		ck_assert_str_eq(next.cgroups[63], "/new");
	}
END_TEST

START_TEST(device_needs_rid_use_and_peer)
	{
		const struct policy policy = {.devices = devices, .device_count = 2};
		const struct rid one = {0x0100}, two = {0x0200}, other = {0x0300};

		ck_assert(policy_allows_device(&policy, &peer_qemu, one, POLICY_USE_EXCLUSIVE));
		ck_assert(!policy_allows_device(&policy, &peer_qemu, one, POLICY_USE_SHARED));
		ck_assert(!policy_allows_device(&policy, &peer_user, one, POLICY_USE_EXCLUSIVE));
		ck_assert(policy_allows_device(&policy, &peer_user, two, POLICY_USE_SHARED));
		ck_assert(!policy_allows_device(&policy, &peer_user, two, POLICY_USE_EXCLUSIVE));
		ck_assert(!policy_allows_device(&policy, &peer_root, other, POLICY_USE_EXCLUSIVE));
	}
END_TEST

START_TEST(simulation_opens_only_what_is_not_configured)
	{
		const struct policy policy = {
			.devices = devices, .device_count = 2, .any_device = true};
		const struct rid one = {0x0100}, other = {0x0300};

		ck_assert(policy_allows_device(&policy, &peer_user, other, POLICY_USE_EXCLUSIVE));
		ck_assert(policy_allows_device(&policy, &peer_user, other, POLICY_USE_SHARED));
		ck_assert(!policy_allows_device(&policy, &peer_user, one, POLICY_USE_EXCLUSIVE));
	}
END_TEST

int main(void)
{
	Suite *suite = suite_create("policy");
	TCase *tc = tcase_create("policy");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, role_by_user);
	tcase_add_test(tc, role_by_the_door_that_it_came_in);
	tcase_add_test(tc, role_by_any_group_of_the_peer);
	tcase_add_test(tc, role_ignores_groups_beyond_the_count);
	tcase_add_test(tc, role_ignores_groups_and_rules_beyond_what_is_kept);
	tcase_add_test(tc, role_none_is_nobodys);
	tcase_add_test(tc, user_number_is_no_group_number);
	tcase_add_test(tc, role_by_cgroup);
	tcase_add_test(tc, cgroups_match_at_the_boundary_of_a_path);
	tcase_add_test(tc, participants_are_a_role_of_their_own);
	tcase_add_test(tc, rules_that_both_have_keep_their_bits);
	tcase_add_test(tc, as_many_rules_as_there_can_be_are_renumbered);
	tcase_add_test(tc, device_needs_rid_use_and_peer);
	tcase_add_test(tc, simulation_opens_only_what_is_not_configured);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
