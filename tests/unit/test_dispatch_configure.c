/* SPDX-License-Identifier: MIT */
/* Other settings while clients are connected: who loses its connection by them, and who does not.
 */
#include "dispatch_rig.h"

#include <string.h>

static struct rig r;

/* With what r.config and the policy are now. */
static uint32_t configured(uint64_t same)
{
	return dispatch_configure(r.d, &r.config, same);
}

static void ping(struct link *link)
{
	const Pasid__V1__Ping ping = PASID__V1__PING__INIT;

	(void)rig_ok(&r, link, OPERATION(PING), &ping);
}

START_TEST(who_loses_a_role_is_closed_and_vmms_are_not)
	{
		struct link *admin = rig_hello(&r, ROLE_ADMIN);
		struct link *observer = rig_hello(&r, ROLE_OBSERVER);
		struct link *participant = rig_hello(&r, ROLE_PARTICIPANT);
		struct link *vmm = rig_vmm(&r, "one", SET_TRANSLATED);
		struct link *silent = rig_connect(&r, RIG_ADMIN_UID);
		const struct set_create create = {.name = "handed", .mode = SET_TRANSLATED};
		struct set_id set;

		ck_assert_int_eq(
			broker_set_create(r.f.broker, &r.f.admin, &create, &set, &r.error), 0);
		(void)rig_hand(&r, admin, set.v); /* of which nobody knows who has it */
		ck_assert_uint_eq(configured(UINT64_MAX), 0);
		ping(admin);
		r.f.policy.observers.uid_count = 0;
		r.f.policy.participants.uid_count = 0;
		r.f.policy.vmms.everyone = false;
		r.f.policy.vmms.uid_count = 0;
		ck_assert_uint_eq(configured(UINT64_MAX), 2);
		ck_assert(dispatch_doomed(observer) && dispatch_doomed(participant));
		ck_assert(!dispatch_doomed(admin) && !dispatch_doomed(vmm) &&
			  !dispatch_doomed(silent));
		ping(admin);
		(void)rig_allocate(&r, vmm);
		ck_assert_ptr_null(dispatch_disconnect(r.d, observer, false, NULL));
		ck_assert_ptr_null(dispatch_disconnect(r.d, participant, false, NULL));
		ck_assert_uint_eq(dispatch_sessions(r.d), 2);
		r.f.policy.admins.uid_count = 0;
		ck_assert_uint_eq(configured(UINT64_MAX), 1);
		ck_assert(dispatch_doomed(admin));
		ck_assert_uint_eq(configured(UINT64_MAX), 0); /* once */
	}
END_TEST

START_TEST(what_cgroups_were_matched_is_cut_to_what_both_know)
	{
		static const char *const rules[] = {"/a", "/b"};
		struct dispatch_peer peer = {.who = {.uid = 77, .cgroups = 3}, .pid = 5};
		Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
		struct link *links[2];

		hello.version_min = hello.version_max = 1;
		hello.client = (char *)"test";
		hello.role = PASID__V1__ROLE__ROLE_OBSERVER;
		r.f.policy.cgroups = rules;
		r.f.policy.cgroup_count = 2;
		r.f.policy.observers.cgroups = 3;
		for (size_t i = 0; i < 2; i++)
			ck_assert_int_eq(dispatch_connect(r.d, &peer, &links[i], &r.error), 0);
		(void)rig_ok(&r, links[0], OPERATION(HELLO), &hello);
		ck_assert_uint_eq(configured(2), 0);
		ping(links[0]);
		r.f.policy.observers.cgroups = 1; /* another rule, which neither matched */
		rig_refused(&r, links[1], OPERATION(HELLO), &hello, REASON_ROLE);
		ck_assert_uint_eq(configured(2), 1);
		ck_assert(dispatch_doomed(links[0]));
	}
END_TEST

START_TEST(numbers_are_others_and_what_was_told_stays)
	{
		const Pasid__V1__GetStatus status = PASID__V1__GET_STATUS__INIT;
		static const char *const notes[] = {"one", "two"};
		struct link *admin = rig_hello(&r, ROLE_ADMIN), *vmm;
		const Pasid__V1__Reply *reply;
		uint8_t instance[DISPATCH_INSTANCE_SIZE];

		memcpy(instance, r.config.instance, sizeof(instance));
		r.config.instance[0] ^= 1;
		r.config.requests_max = 1;
		r.config.grace_ms = 77;
		r.config.version = "other";
		ck_assert_uint_eq(configured(UINT64_MAX), 0);
		dispatch_set_notes(r.d, notes, 2);
		reply = rig_ok(&r, admin, OPERATION(GET_STATUS), &status);
		ck_assert_mem_eq(reply->get_status->instance.data, instance, sizeof(instance));
		ck_assert_str_ne(reply->get_status->version, "other");
		ck_assert_uint_ge(reply->get_status->n_notes, 2);
		ck_assert_str_eq(reply->get_status->notes[1], "two");
		rig_begin(&r);
		(void)rig_add(&r, OPERATION(GET_STATUS), &status);
		(void)rig_add(&r, OPERATION(GET_STATUS), &status);
		ck_assert_int_eq(rig_send(&r, admin, NULL, 0), 0);
		ck_assert(rig_read(&r, admin));
		ck_assert_uint_eq(r.got->n_replies, 2);
		vmm = rig_vmm(&r, "one", SET_TRANSLATED);
		ck_assert_ptr_nonnull(dispatch_disconnect(r.d, vmm, false, NULL));
		ck_assert_uint_eq(dispatch_next_tick(r.d), r.f.now_ms + 77);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		who_loses_a_role_is_closed_and_vmms_are_not,
		what_cgroups_were_matched_is_cut_to_what_both_know,
		numbers_are_others_and_what_was_told_stays,
	};

	return rig_main(&r, "dispatch_configure", tests, sizeof(tests) / sizeof(tests[0]));
}
