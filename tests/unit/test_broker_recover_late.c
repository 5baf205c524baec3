/* SPDX-License-Identifier: MIT */
/* Recoveries in which something comes late: an answer, a death, or what a set began meanwhile. */
#include "recover_rig.h"
#include "suite.h"

#include <errno.h>

static const struct set_id own = {0};
static struct actor vmm;

/* The worker dies before it closed the device, and the daemon before it heard so. */
START_TEST(a_device_whose_end_was_interrupted_can_be_registered_again)
	{
		struct bind_pair pair = {.table = {.kind = HW_TABLE_SPACE}};
		struct hpasid host;
		struct actor other;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		other = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
		pair.device = fixture_add(&f, &vmm, 0, 10);
		host = fixture_allocate(&f, &vmm);
		ck_assert_int_eq(fixture_bind(&f, &vmm, host, &pair.device, 1), 0);
		ck_assert_int_eq(broker_rid_attach(f.broker, &vmm, own, &pair, 1, &f.error), 0);
		broker_flush(f.broker);
		broker_session_end(f.broker, vmm.session);
		model_lose_lane(&f, vmm.set.v);
		fixture_settle(&f);
		recover_begin(true);
		recover_run();
		ck_assert_int_eq(fixture_state(&f, host), GRANT_QUARANTINED);
		(void)fixture_add(&f, &other, 0, 11);
		f.now_ms += 1000;
		broker_tick(f.broker);
		ck_assert_int_eq(broker_set_get(f.broker, &f.admin, vmm.set, &(struct set_info){0},
					 &f.error),
			STATUS_NOT_FOUND);
	}
END_TEST

/* What a set began when its own recovery was over is none of the shared device's recovery. */
START_TEST(a_recovery_takes_back_what_an_earlier_run_began_only)
	{
		struct device_id slice;
		struct hpasid host;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		(void)fixture_share(&f, 5);
		slice = fixture_slice(&f, &vmm, 5);
		host = fixture_allocate(&f, &vmm);
		ck_assert_int_eq(fixture_bind(&f, &vmm, host, &slice, 1), 0);
		for (uint64_t cookie = 1; cookie <= 2; cookie++) {
			ck_assert_int_eq(broker_unbind(f.broker, &vmm, own,
						 (struct pasid_ref){.number = host.v}, NULL, 0,
						 cookie, &f.error),
				0);
			if (cookie == 1)
				recover_begin(true);
		}
		f.model.fail_kind = HW_DETACH;
		f.model.fail_status = STATUS_HARDWARE;
		f.model.fail_times = 1;
		ck_assert_int_eq(fixture_outcome(&f, 2).status, 0);
		recover_run();
		ck_assert_uint_eq(recover_set("a").bindings, 0);
	}
END_TEST

/* The worker dies before it is known what it has, and the function is registered by another set:
 * what was asked of that worker is no answer about the record that went, nor about its place. */
START_TEST(an_answer_about_a_device_that_went_meanwhile_changes_nothing)
	{
		struct hw_result late = {.status = -EPIPE};
		struct device_id device, again;
		struct actor other;
		struct hw_op report;

		vmm = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 7);
		other = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 7);
		device = fixture_add(&f, &vmm, 0, 10);
		fixture_settle(&f);
		recover_begin(true);
		broker_flush(f.broker);
		ck_assert_uint_eq(f.model.count, 1);
		report = model_take(&f.model, 0);
		ck_assert_int_eq(report.kind, HW_REPORT);
		model_lose_lane(&f, report.lane);
		again = fixture_add(&f, &other, 0, 11);
		ck_assert_int_eq(broker_device_get(f.broker, &f.admin, device,
					 &(struct device_info){0}, &f.error),
			STATUS_NOT_FOUND);
		late.id = report.id;
		(void)error_set(&late.error, REASON_WORKER_LOST, "the worker is gone");
		broker_complete(f.broker, &late);
		recover_run();
		ck_assert_uint_eq(recover_set("a").devices, 0);
		ck_assert_uint_eq(recover_device(DEVICE_EXCLUSIVE).id.v, again.v);
		fixture_recount(&f);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_device_whose_end_was_interrupted_can_be_registered_again,
		a_recovery_takes_back_what_an_earlier_run_began_only,
		an_answer_about_a_device_that_went_meanwhile_changes_nothing};

	return suite_run("broker, what comes late in a recovery", "late", tests, ARRAY_SIZE(tests),
		recover_setup, recover_teardown);
}
