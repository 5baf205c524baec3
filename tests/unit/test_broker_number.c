/* SPDX-License-Identifier: MIT */
/* Guest numbers, and the way of a number from its last use to its next grant. */
#include "fixture.h"
#include "suite.h"

static struct fixture f;

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

static const struct set_id own = {0};

static int allocate(const struct actor *actor, uint32_t min, uint32_t max, uint32_t count,
	bool consecutive, struct hpasid *ret_numbers)
{
	struct allocate a = {.min = min, .max = max, .count = count, .consecutive = consecutive};

	return broker_allocate(f.broker, actor, &a, ret_numbers, &f.error);
}

/* ------------------------------------------------------------------ G, F5, F6, F16 */

START_TEST(two_sets_share_a_guest_number_never_a_host_number)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct hpasid x = fixture_allocate_guest(&f, &a, 7), y, found;

		y = fixture_allocate_guest(&f, &c, 7);
		ck_assert_uint_ne(x.v, y.v);
		ck_assert_int_eq(
			broker_guest_find(f.broker, &a, own, (struct gpasid){7}, &found, &f.error),
			0);
		ck_assert_uint_eq(found.v, x.v);
		ck_assert_int_eq(
			broker_guest_find(f.broker, &c, own, (struct gpasid){7}, &found, &f.error),
			0);
		ck_assert_uint_eq(found.v, y.v);
	}
END_TEST

START_TEST(guest_map_is_injective)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid x = fixture_allocate_guest(&f, &a, 7), y = fixture_allocate(&f, &a);
		struct allocate again = {
			.max = PASID_LAST, .count = 1, .has_guest = true, .guest = {7}};

		ck_assert_int_eq(
			broker_guest_attach(f.broker, &a, own, y, (struct gpasid){7}, &f.error),
			STATUS_EXISTS);
		ck_assert_int_eq(
			broker_guest_attach(f.broker, &a, own, x, (struct gpasid){8}, &f.error),
			STATUS_EXISTS);
		ck_assert_int_eq(
			broker_allocate(f.broker, &a, &again, &y, &f.error), STATUS_EXISTS);
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){7}, &f.error), 0);
		ck_assert_int_eq(
			broker_guest_attach(f.broker, &a, own, y, (struct gpasid){7}, &f.error), 0);
		ck_assert_int_eq(
			broker_guest_attach(f.broker, &a, own, x, (struct gpasid){0}, &f.error),
			STATUS_INVALID);
	}
END_TEST

/* F6 */
START_TEST(identity_sets_use_the_hosts_numbers)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_IDENTITY, 10);
		struct hpasid x = fixture_allocate(&f, &a), found;

		ck_assert_int_eq(broker_guest_find(
					 f.broker, &a, own, (struct gpasid){x.v}, &found, &f.error),
			0);
		ck_assert_uint_eq(found.v, x.v);
		ck_assert_int_eq(
			broker_guest_attach(f.broker, &a, own, x, (struct gpasid){8}, &f.error),
			STATUS_STATE);
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){x.v}, &f.error),
			STATUS_STATE);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_int_eq(broker_guest_find(
					 f.broker, &a, own, (struct gpasid){x.v}, &found, &f.error),
			STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(guest_owned_sets_are_granted_nothing)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_GUEST_OWNED, 10);
		struct hpasid host;

		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 1, false, &host), STATUS_STATE);
		ck_assert_uint_eq(f.error.reason, REASON_SET_MODE);
	}
END_TEST

/* F7 */
START_TEST(nothing_is_done_to_numbers_of_guest_owned_sets)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_GUEST_OWNED, 10);
		const struct hpasid host = {1024};
		const struct pasid_ref refs[] = {{false, 1024}, {true, 7}, {false, 0}};
		struct hpasid found;
		uint32_t freed, unchanged;

		for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
			ck_assert_int_eq(broker_free_pasids(f.broker, &a, own, &refs[i], 1, &freed,
						 &unchanged, &f.error),
				STATUS_STATE);
			ck_assert_int_eq(broker_data_set(f.broker, &a, own, refs[i], 1, &f.error),
				STATUS_STATE);
			ck_assert_uint_eq(f.error.reason, REASON_SET_MODE);
		}
		ck_assert_int_eq(
			broker_guest_attach(f.broker, &a, own, host, (struct gpasid){7}, &f.error),
			STATUS_STATE);
		ck_assert_int_eq(
			broker_guest_detach(f.broker, &a, own, (struct gpasid){7}, &f.error),
			STATUS_STATE);
		ck_assert_int_eq(
			broker_guest_find(f.broker, &a, own, (struct gpasid){7}, &found, &f.error),
			STATUS_STATE);
		ck_assert_uint_eq(f.error.reason, REASON_SET_MODE);
	}
END_TEST

START_TEST(freeing_drops_the_guest_number_at_once)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid x = fixture_allocate_guest(&f, &a, 7);

		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		(void)fixture_allocate_guest(&f, &a, 7);
	}
END_TEST

/* ------------------------------------------------------------------ D, H, F15, F19 */

START_TEST(free_is_idempotent_until_the_number_is_gone)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid x = fixture_allocate(&f, &a);
		struct pasid_ref refs[] = {{false, x.v}, {false, x.v}};
		uint32_t freed, unchanged;

		ck_assert_int_eq(broker_free_pasids(
					 f.broker, &a, own, refs, 2, &freed, &unchanged, &f.error),
			0);
		ck_assert_uint_eq(freed, 1);
		ck_assert_uint_eq(unchanged, 1);
		ck_assert_int_eq(broker_free_pasids(
					 f.broker, &a, own, refs, 1, &freed, &unchanged, &f.error),
			0);
		ck_assert_uint_eq(unchanged, 1);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_int_eq(fixture_free(&f, &a, x), STATUS_NOT_FOUND);
	}
END_TEST

START_TEST(free_of_several_is_all_or_none)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid x = fixture_allocate(&f, &a);
		struct pasid_ref refs[] = {{false, x.v}, {false, x.v + 1}, {false, 0}};
		uint32_t freed, unchanged;

		ck_assert_int_eq(broker_free_pasids(
					 f.broker, &a, own, refs, 2, &freed, &unchanged, &f.error),
			STATUS_NOT_FOUND);
		ck_assert_int_eq(broker_free_pasids(f.broker, &a, own, &refs[2], 1, &freed,
					 &unchanged, &f.error),
			STATUS_INVALID);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_ACTIVE);
	}
END_TEST

START_TEST(free_all_frees_every_number_of_the_set)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct hpasid numbers[10], other = fixture_allocate(&f, &c);
		uint32_t freed;

		ck_assert_int_eq(allocate(&a, 0, PASID_LAST, 10, false, numbers), 0);
		ck_assert_int_eq(broker_free_all(f.broker, &a, own, &freed, &f.error), 0);
		ck_assert_uint_eq(freed, 10);
		ck_assert_int_eq(fixture_state(&f, numbers[9]), GRANT_QUARANTINED);
		ck_assert_int_eq(fixture_state(&f, other), GRANT_ACTIVE);
	}
END_TEST

START_TEST(a_number_cools_before_anybody_has_it_again)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct actor c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 10);
		struct hpasid x = fixture_allocate(&f, &a), y;
		struct grant_info info;

		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_uint_eq(broker_next_tick(f.broker), f.now_ms + 1000);
		f.now_ms += 400;
		ck_assert_int_eq(
			broker_host_find(f.broker, &a, (struct set_id){0}, x, &info, &f.error), 0);
		ck_assert_uint_eq(info.quarantine, QUARANTINE_COOLING);
		ck_assert_uint_eq(info.cooling_ms, 600);
		ck_assert_int_eq(allocate(&c, x.v, x.v, 1, false, &y), STATUS_EXHAUSTED);
		f.now_ms += 600;
		broker_tick(f.broker);
		ck_assert_int_eq(allocate(&c, x.v, x.v, 1, false, &y), 0);
		ck_assert_uint_eq(broker_next_tick(f.broker), UINT64_MAX);
	}
END_TEST

START_TEST(an_admin_ends_a_quarantine)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid x = fixture_allocate(&f, &a);

		ck_assert_int_eq(
			broker_quarantine_end(f.broker, &f.admin, (struct set_id){0}, x, &f.error),
			STATUS_STATE);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_int_eq(
			broker_quarantine_end(f.broker, &f.admin, (struct set_id){0}, x, &f.error),
			0);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_IDLE);
		ck_assert_int_eq(
			broker_quarantine_end(f.broker, &f.admin, (struct set_id){0}, x, &f.error),
			STATUS_STATE);
	}
END_TEST

START_TEST(a_held_number_is_reclaimed_at_the_last_release)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct hpasid x = fixture_allocate(&f, &a);

		ck_assert_int_eq(broker_release(f.broker, &a, own, x, &f.error), STATUS_STATE);
		ck_assert_int_eq(broker_hold(f.broker, &a, own, x, &f.error), 0);
		ck_assert_int_eq(broker_hold(f.broker, &a, own, x, &f.error), 0);
		ck_assert_int_eq(fixture_free(&f, &a, x), 0);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_FREE_PENDING);
		ck_assert_int_eq(broker_hold(f.broker, &a, own, x, &f.error), STATUS_STATE);
		ck_assert_int_eq(broker_release(f.broker, &a, own, x, &f.error), 0);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_FREE_PENDING);
		ck_assert_int_eq(broker_release(f.broker, &a, own, x, &f.error), 0);
		ck_assert_int_eq(fixture_state(&f, x), GRANT_QUARANTINED);
	}
END_TEST

START_TEST(private_data_is_attached_replaced_and_read)
	{
		struct actor a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 10);
		struct allocate with = {.max = PASID_LAST, .count = 1, .data = 0x1122334455667788};
		struct hpasid x;
		struct grant_info info;

		ck_assert_int_eq(broker_allocate(f.broker, &a, &with, &x, &f.error), 0);
		ck_assert_int_eq(
			broker_host_find(f.broker, &a, (struct set_id){0}, x, &info, &f.error), 0);
		ck_assert_uint_eq(info.data, 0x1122334455667788);
		ck_assert_int_eq(broker_data_set(f.broker, &a, own, (struct pasid_ref){false, x.v},
					 UINT64_MAX, &f.error),
			0);
		ck_assert_int_eq(
			broker_host_find(f.broker, &a, (struct set_id){0}, x, &info, &f.error), 0);
		ck_assert_uint_eq(info.data, UINT64_MAX);
	}
END_TEST

static uint64_t now(void *ctx)
{
	(void)ctx;
	return f.now_ms;
}

START_TEST(no_more_numbers_are_out_than_there_is_room_to_record)
	{
		struct state small = *state_file_state(f.memory);
		struct broker_ports ports = {.now_ms = now, .policy = &f.policy, .state = &small};
		struct broker_status status;

		small.capacity[STATE_GRANTS] = 4;
		broker_free(f.broker);
		ports.pages = state_file_pages(f.memory);
		ports.limits = f.limits;
		ck_assert_int_eq(broker_new(&f.config, &ports, &f.broker), 0);
		broker_status(f.broker, &status);
		ck_assert_uint_eq(status.pasids.limit, 4);
		fixture_close(&f);
		fixture_open(&f);
	}
END_TEST

START_TEST(gone_sets_count_against_their_user_while_they_have_numbers)
	{
		struct actor a, next = {ROLE_VMM, 12, {0}, &f.peer};
		struct set_create create = {"next", SET_TRANSLATED, true, 1, false, 0, 0};

		fixture_close(&f);
		f.limits_config.of[RESOURCE_SETS].user = 1;
		fixture_open(&f);
		a = fixture_vmm(&f, 11, "a", SET_TRANSLATED, 1);
		(void)fixture_allocate(&f, &a);
		broker_session_end(f.broker, 11);
		/* otherwise one user's churn takes the places of all */
		ck_assert_int_eq(broker_set_create(f.broker, &next, &create, &next.set, &f.error),
			STATUS_QUOTA);
		ck_assert_uint_eq(f.error.reason, REASON_LIMIT);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_int_eq(
			broker_set_create(f.broker, &next, &create, &next.set, &f.error), 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {two_sets_share_a_guest_number_never_a_host_number,
		guest_map_is_injective, identity_sets_use_the_hosts_numbers,
		guest_owned_sets_are_granted_nothing,
		nothing_is_done_to_numbers_of_guest_owned_sets,
		freeing_drops_the_guest_number_at_once, free_is_idempotent_until_the_number_is_gone,
		free_of_several_is_all_or_none, free_all_frees_every_number_of_the_set,
		a_number_cools_before_anybody_has_it_again, an_admin_ends_a_quarantine,
		a_held_number_is_reclaimed_at_the_last_release,
		private_data_is_attached_replaced_and_read,
		gone_sets_count_against_their_user_while_they_have_numbers,
		no_more_numbers_are_out_than_there_is_room_to_record};

	return suite_run("broker, numbers", "guest numbers and quarantine", tests,
		ARRAY_SIZE(tests), setup, teardown);
}
