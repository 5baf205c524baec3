/* SPDX-License-Identifier: MIT */
/* F43: hand-overs that are found in the same place, and who is almost the one. */
#include "dispatch_private.h"
#include "handover_rig.h"

static uint64_t bucket_of(const struct link *link)
{
	return link->session->handover->digest % DISPATCH_WATCH_BUCKETS;
}

/* Offers until its secret is in the same list as the other's. */
static void offer_beside(struct link *link, const struct link *other)
{
	for (unsigned i = 0; i < 100 * DISPATCH_WATCH_BUCKETS; i++) {
		offer(link);
		if (bucket_of(link) == bucket_of(other))
			return;
	}
	ck_abort_msg("no secret of %u is there", 100 * DISPATCH_WATCH_BUCKETS);
}

static struct link *another(const char *name)
{
	Pasid__V1__Hello hello = hello_with(PASID__V1__HELLO__RESUME__NOT_SET, NULL);
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	struct link *link = connect_as(RIG_VMM_UID, OLD);

	(void)rig_ok(r, link, OPERATION(HELLO), &hello);
	create.name = (char *)name;
	(void)rig_ok(r, link, OPERATION(SET_CREATE), &create);
	return link;
}

START_TEST(two_in_one_list_are_told_apart)
	{
		struct link *first = vmm(), *second = another("b");
		uint64_t session = link_session(second);
		uint8_t secret_of_first[SECRET];
		struct link *new = heir();

		offer(first);
		memcpy(secret_of_first, secret, SECRET);
		offer_beside(second, first);
		ck_assert_uint_eq(take(new)->session, session);
		ck_assert_uint_eq(link_session(new), session);
		memcpy(secret, secret_of_first, SECRET);
		session = link_session(first);
		ck_assert_uint_eq(take(heir())->session, session);
	}
END_TEST

START_TEST(the_first_in_a_list_may_go_first)
	{
		struct link *first = vmm(), *second = another("b");
		uint64_t session = link_session(second);

		offer(first);
		offer_beside(second, first);
		hand_over.cancel = true;
		(void)rig_ok(r, first, OPERATION(HAND_OVER), &hand_over);
		ck_assert_uint_eq(take(heir())->session, session);
	}
END_TEST

/* What tells secrets apart has 64 bits, and they have more. */
START_TEST(a_secret_is_compared_as_a_whole)
	{
		struct link *old = vmm();
		struct handover *handover;

		offer(old);
		handover = old->session->handover;
		handover->secret[SECRET - 1] ^= 1;
		refuse(heir(), REASON_HANDOVER_UNKNOWN);
		handover->secret[SECRET - 1] ^= 1;
		(void)take(heir());
	}
END_TEST

/* Who took it may ask again. Another process that has its number since is not it. */
START_TEST(a_process_is_its_number_and_its_birth)
	{
		struct dispatch_peer peer = {
			.who = {.uid = RIG_VMM_UID, .group_count = 1, .groups = {RIG_VMM_UID}},
			.pid = HEIR,
			.born = HEIR + 2,
		};
		struct link *old = vmm(), *late;

		offer(old);
		(void)take(heir());
		ck_assert_int_eq(dispatch_connect(r->d, &peer, &late, &r->error), 0);
		refuse(late, REASON_HANDOVER_UNKNOWN);
		(void)take(heir());
	}
END_TEST

START_TEST(what_was_taken_is_not_cancelled)
	{
		struct link *old = vmm(), *new = heir();

		offer(old);
		(void)take(new);
		hand_over.cancel = true;
		(void)rig_ok(r, new, OPERATION(HAND_OVER), &hand_over);
		/* its reply may have been lost, and so it is found still */
		(void)take(heir());
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		two_in_one_list_are_told_apart,
		the_first_in_a_list_may_go_first,
		a_secret_is_compared_as_a_whole,
		a_process_is_its_number_and_its_birth,
		what_was_taken_is_not_cancelled,
	};

	return rig_main(&rig, "dispatch_handover_rare", tests, ARRAY_SIZE(tests));
}
