/* SPDX-License-Identifier: MIT */
/* F43: a hand-over where memory runs out. */
#include "dispatch_private.h"
#include "failing_memory.h"
#include "handover_rig.h"

#include <errno.h>

/* Buffers of datagrams that were sent are kept for others; without them each needs memory. */
static void forget_spare(void)
{
	output_done(r->d);
	r->d->spare_count = 0;
}

static uint64_t send_offer(struct link *link)
{
	uint64_t id;

	hand_over.cancel = false;
	rig_begin(r);
	id = rig_add(r, OPERATION(HAND_OVER), &hand_over);
	(void)rig_send(r, link, NULL, 0);
	return id;
}

START_TEST(what_there_is_no_memory_for_is_not_promised)
	{
		struct link *old = vmm();
		const Pasid__V1__Reply *reply;
		unsigned n = 0;
		uint64_t id;

		offer(old); /* that one stands until there is another */
		for (;; n++) {
			memory_fail_once_after(n);
			id = send_offer(old);
			if (!memory_recover())
				break;
			rig_expect(r, rig_reply(r, old, id), REASON_NO_MEMORY);
		}
		ck_assert_uint_ge(n, 1);
		refuse(heir(), REASON_HANDOVER_UNKNOWN); /* the secret of before */
		reply = rig_reply(r, old, id);
		ck_assert_uint_eq(reply->hand_over->secret.len, SECRET);
		memcpy(secret, reply->hand_over->secret.data, SECRET);
		(void)take(heir());
	}
END_TEST

/* Nobody can be told any more: the session goes all the same, and its old connection at once. */
START_TEST(who_cannot_be_told_loses_it_too)
	{
		struct link *old = vmm(), *new = heir();
		Pasid__V1__Hello hello;
		unsigned n;

		offer(old);
		for (n = 0; n < 20 && !link_session(new); n++) {
			hello = taking();
			rig_begin(r);
			(void)rig_add(r, OPERATION(HELLO), &hello);
			forget_spare();
			memory_fail_once_after(n);
			(void)rig_send(r, new, NULL, 0);
			if (memory_recover())
				while (rig_read(r, new))
					continue;
		}
		ck_assert_uint_ne(link_session(new), 0);
		ck_assert_uint_eq(link_session(old), 0);
		ck_assert(dispatch_doomed(old));
		(void)dispatch_disconnect(r->d, old, true, NULL);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
	}
END_TEST

START_TEST(what_was_taken_comes_back_or_the_start_fails)
	{
		struct link *old = vmm();
		const struct dispatch_ports ports = r->d->ports;
		struct dispatch *d;
		unsigned n = 0;
		int status;

		offer(old);
		(void)take(heir());
		dispatch_free(r->d);
		for (;; n++) {
			ck_assert_int_eq(dispatch_new(&r->config, &ports, r->f.broker, &d), 0);
			memory_fail_once_after(n);
			status = dispatch_recover(d);
			if (!memory_recover())
				break;
			ck_assert_int_eq(status, -ENOMEM);
			dispatch_free(d);
		}
		ck_assert_uint_ge(n, 3);
		r->d = d;
		refuse(connect_as(RIG_VMM_UID, OLD), REASON_HANDOVER_UNKNOWN);
		(void)take(heir());
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_there_is_no_memory_for_is_not_promised,
		who_cannot_be_told_loses_it_too,
		what_was_taken_comes_back_or_the_start_fails,
	};

	return rig_main(&rig, "dispatch_handover_memory", tests, ARRAY_SIZE(tests));
}
