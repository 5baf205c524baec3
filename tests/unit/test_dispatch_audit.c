/* SPDX-License-Identifier: MIT */
/* What the dispatcher tells of for an audit trail: each change once, who caused it, when it is
 * final; and what was refused. */
#include "audit.h"
#include "broker_private.h"
#include "dispatch_rig.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

#define TOLD_MAX 4096

static struct rig rig, *const r = &rig;

static struct {
	struct {
		struct change change;
		struct dispatch_cause cause;
	} of[TOLD_MAX];
	struct {
		uint32_t kind, host, count;
	} spans[TOLD_MAX];
	size_t count, calls, settled, settles;
	uint64_t missed;
	struct dispatch_refusal refusal; /* the last one */
	struct error error;
	char set_name[STATE_NAME_MAX + 1];
	size_t refusals;
} told;

/* Spans number by number, as they were made. */
static void on_change(
	void *ctx, const struct change *change, uint32_t count, const struct dispatch_cause *cause)
{
	ck_assert_ptr_eq(ctx, r);
	ck_assert_uint_ge(count, 1);
	if (change->kind == 0) {
		told.missed += change->device;
		return;
	}
	told.spans[told.calls].kind = change->kind;
	told.spans[told.calls].host = change->host;
	told.spans[told.calls++].count = count;
	for (uint32_t i = 0; i < count && told.count < TOLD_MAX; i++) {
		told.of[told.count].change = *change;
		told.of[told.count].change.sequence += i;
		told.of[told.count].change.host += i;
		told.of[told.count++].cause = *cause;
	}
}

/* Nothing that was not told before is ever final. */
static void on_settled(void *ctx)
{
	ck_assert_ptr_eq(ctx, r);
	ck_assert_uint_eq(r->journal.count, 0);
	told.settled = told.count;
	told.settles++;
}

static void on_refused(void *ctx, const struct dispatch_refusal *refusal)
{
	ck_assert_ptr_eq(ctx, r);
	told.refusal = *refusal;
	told.error = *refusal->error;
	if (refusal->subject.set_name)
		(void)snprintf(
			told.set_name, sizeof(told.set_name), "%s", refusal->subject.set_name);
	told.refusals++;
}

/* The last change of that kind. */
static const struct change *last(enum change_kind kind, struct dispatch_cause *ret_cause)
{
	for (size_t i = told.count; i-- > 0;) {
		if (told.of[i].change.kind != (uint32_t)kind)
			continue;
		*ret_cause = told.of[i].cause;
		return &told.of[i].change;
	}
	ck_abort_msg("no change of kind %d was told", (int)kind);
}

static void caused(enum change_kind kind, struct link *link, uint32_t operation)
{
	struct dispatch_cause cause;

	(void)last(kind, &cause);
	ck_assert(cause.has_peer);
	ck_assert_uint_eq(cause.session, link_session(link));
	ck_assert_uint_eq(cause.operation, operation);
	ck_assert_uint_eq(cause.uid, RIG_VMM_UID);
}

static void open_rig(void)
{
	memset(&told, 0, sizeof(told));
	rig_config(r);
	r->changed = on_change;
	r->settled = on_settled;
	r->refused = on_refused;
	rig_open(r);
}

static void close_rig(void)
{
	rig_close(r);
}

START_TEST(each_change_is_told_once_and_before_it_is_final)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		Pasid__V1__Free all = PASID__V1__FREE__INIT;

		(void)rig_allocate(r, vmm);
		ck_assert_uint_eq(told.settled, told.count);
		all.all = true;
		(void)rig_ok(r, vmm, OPERATION(FREE), &all);
		ck_assert_uint_eq(told.settled, told.count);
		ck_assert_uint_gt(told.settles, 2);
		for (size_t i = 0; i < told.count; i++)
			ck_assert_uint_eq(
				told.of[i].change.sequence, told.of[0].change.sequence + i);
		ck_assert_uint_eq(told.missed, 0);
	}
END_TEST

/* An allocate of many numbers is told at once, number by number only where that matters. */
START_TEST(neighbours_are_told_as_one)
	{
		struct link *one = rig_vmm(r, "one", SET_TRANSLATED);
		struct link *two = rig_vmm(r, "two", SET_IDENTITY);
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__Free all = PASID__V1__FREE__INIT;
		size_t calls = told.calls, count = told.count;

		allocate.count = 64;
		(void)rig_ok(r, one, OPERATION(ALLOCATE), &allocate);
		ck_assert_uint_eq(told.calls, calls + 1);
		ck_assert_uint_eq(told.count, count + 64);
		for (uint32_t i = 0; i < 64; i++)
			ck_assert_uint_eq(told.of[count + i].change.sequence,
				told.of[count].change.sequence + i);
		/* another set's begin behind them, and have a number of a guest each */
		calls = told.calls, count = told.count;
		allocate.count = 3;
		(void)rig_ok(r, two, OPERATION(ALLOCATE), &allocate);
		ck_assert_uint_ge(told.calls, calls + 3);
		for (size_t i = count; i < told.count; i++)
			ck_assert(told.of[i].change.has_guest);
		calls = told.calls;
		(void)rig_allocate(r, one);
		(void)rig_allocate(r, one);
		ck_assert_uint_eq(told.calls, calls + 2);
		all.all = true;
		(void)rig_ok(r, one, OPERATION(FREE), &all);
		caused(CHANGE_GRANT_QUARANTINED, one, OPERATION(FREE));
		for (size_t i = 0; i < told.count; i++)
			ck_assert_uint_le(told.of[i].change.sequence,
				told.of[0].change.sequence + told.count);
		ck_assert_uint_lt(told.calls, calls + 2 + 8);
	}
END_TEST

/* What was told since the last time, and nothing else. */
static void spans(const uint32_t (*expected)[3], size_t count)
{
	static size_t from;

	dispatch_pump(r->d);
	if (!expected) {
		from = told.calls;
		return;
	}
	ck_assert_uint_eq(told.calls - from, count);
	for (size_t i = 0; i < count; i++, from++) {
		ck_assert_uint_eq(told.spans[from].kind, expected[i][0]);
		ck_assert_uint_eq(told.spans[from].host, expected[i][1]);
		ck_assert_uint_eq(told.spans[from].count, expected[i][2]);
	}
}

#define SPANS(...)                                                                                 \
	do {                                                                                       \
		const uint32_t expected_[][3] = {__VA_ARGS__};                                     \
		spans(expected_, ARRAY_SIZE(expected_));                                           \
	} while (0)

static struct hpasid held(struct actor *actor)
{
	struct hpasid host = fixture_allocate(&r->f, actor);

	ck_assert_int_eq(broker_hold(r->f.broker, &r->f.admin, actor->set, host, &r->error), 0);
	return host;
}

START_TEST(spans_end_where_something_else_begins)
	{
		enum {
			A = CHANGE_GRANT_ALLOCATED,
			F = CHANGE_GRANT_FREE_PENDING,
			Q = CHANGE_GRANT_QUARANTINED,
		};
		struct actor a = fixture_vmm(&r->f, 71, "a", SET_TRANSLATED, 100);
		struct actor b = fixture_vmm(&r->f, 72, "b", SET_TRANSLATED, 100);
		struct hpasid of[12];
		uint32_t n;

		spans(NULL, 0);
		for (size_t i = 0; i < 12; i++)
			of[i] = i < 2 ? held(&a) : fixture_allocate(&r->f, &a);
		n = of[0].v;
		spans(NULL, 0);
		/* up and down, and not on from where it turned */
		for (size_t i = 4; i < 8; i++)
			fixture_free(&r->f, &a, of[i]);
		SPANS({F, n + 4, 4}, {Q, n + 4, 4});
		fixture_free(&r->f, &a, of[10]);
		fixture_free(&r->f, &a, of[9]);
		fixture_free(&r->f, &a, of[8]);
		SPANS({F, n + 8, 3}, {Q, n + 8, 3});
		fixture_free(&r->f, &a, of[11]);
		fixture_free(&r->f, &a, of[2]);
		fixture_free(&r->f, &a, of[3]);
		SPANS({F, n + 11, 1}, {Q, n + 11, 1}, {F, n + 2, 2}, {Q, n + 2, 2});
		/* another set's, and with a guest's number */
		(void)fixture_allocate(&r->f, &a);
		(void)fixture_allocate(&r->f, &b);
		of[2] = fixture_allocate_guest(&r->f, &b, 5);
		(void)fixture_allocate(&r->f, &b);
		(void)fixture_allocate(&r->f, &b);
		(void)fixture_allocate(&r->f, &a);
		SPANS({A, n + 12, 1}, {A, n + 13, 1}, {A, n + 14, 1}, {A, n + 15, 2},
			{A, n + 17, 1});
		/* what is held is not in quarantine: beside it others go on, as far as it does */
		fixture_free(&r->f, &a, of[0]);
		fixture_free(&r->f, &a, of[1]);
		SPANS({F, n, 2});
		of[0] = fixture_allocate(&r->f, &a);
		of[1] = held(&a);
		of[2] = fixture_allocate(&r->f, &a);
		spans(NULL, 0);
		for (size_t i = 0; i < 3; i++)
			fixture_free(&r->f, &a, of[i]);
		SPANS({F, of[0].v, 2}, {Q, of[0].v, 1}, {F, of[2].v, 1}, {Q, of[2].v, 1});
	}
END_TEST

/* Of a file that may be anybody's. */
START_TEST(a_span_that_cannot_be_is_one_number)
	{
		static const uint64_t is[][3] = {/* count, host, span */
			{2, PASID_LAST - 1, 2}, {3, PASID_LAST - 1, 1}, {0, 5, 1},
			{UINT64_MAX, 5, 1}, {1, UINT32_MAX, 1}, {UINT64_C(1) << 32, 1, 1},
			{PASID_LAST, 1, PASID_LAST}};

		for (size_t i = 0; i < ARRAY_SIZE(is); i++) {
			const uint32_t host = (uint32_t)is[i][1];
			struct audit_record record = {
				.flags = AUDIT_IS_SPAN, .count = is[i][0], .host = host};

			ck_assert_uint_eq(audit_span(&record), is[i][2]);
			ck_assert(audit_is_about(&record, host));
			ck_assert(!audit_is_about(&record, host - 1));
			record.flags = 0;
			ck_assert_uint_eq(audit_span(&record), 1);
		}
	}
END_TEST

START_TEST(the_request_is_the_cause)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		struct dispatch_cause cause;
		const struct change *change;

		caused(CHANGE_SET_CREATED, vmm, OPERATION(SET_CREATE));
		(void)rig_allocate(r, vmm);
		caused(CHANGE_GRANT_ALLOCATED, vmm, OPERATION(ALLOCATE));
		(void)rig_device(r, vmm, 1, 10);
		caused(CHANGE_DEVICE_ADDED, vmm, OPERATION(DEVICE_ADD));
		change = last(CHANGE_DEVICE_ADDED, &cause);
		ck_assert_uint_eq(change->rid, 1);
		ck_assert_str_eq(broker_set_name(r->f.broker, (struct set_id){change->set}), "vm");
	}
END_TEST

/* Nobody asked for what time does, and a session's end is its user's. */
START_TEST(what_nobody_asked_for_is_nobodys)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		const uint64_t set = link_set(vmm).v, session = link_session(vmm);
		Pasid__V1__Free all = PASID__V1__FREE__INIT;
		struct dispatch_cause cause;

		(void)rig_allocate(r, vmm);
		all.all = true;
		(void)rig_ok(r, vmm, OPERATION(FREE), &all);
		caused(CHANGE_GRANT_QUARANTINED, vmm, OPERATION(FREE));
		fixture_pass_second(&r->f);
		dispatch_tick(r->d);
		ck_assert_uint_eq(last(CHANGE_GRANT_RELEASED, &cause)->set, set);
		ck_assert(!cause.has_peer);
		ck_assert_uint_eq(cause.session, 0);
		(void)dispatch_disconnect(r->d, vmm, true, NULL);
		rig_run(r);
		(void)last(CHANGE_SET_ENDING, &cause);
		ck_assert(cause.has_peer);
		ck_assert_uint_eq(cause.session, session);
		ck_assert_uint_eq(cause.operation, 0);
	}
END_TEST

static void add_device(struct link *link, uint32_t rid, int iommufd)
{
	const Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
	const int fds[] = {iommufd, MODEL_DEVICE_FD(rid)};

	rig_begin(r);
	rig_add_as(r, ++r->last_id, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &add);
	ck_assert_int_eq(rig_send(r, link, fds, 2), 0);
}

/* Hardware answers two at once: what one asked for is not said to be the other's. */
START_TEST(what_ends_together_is_not_mixed_up)
	{
		struct link *one = rig_vmm(r, "one", SET_TRANSLATED);
		struct link *two = rig_vmm(r, "two", SET_TRANSLATED);

		add_device(one, 1, 10);
		add_device(two, 2, 11);
		rig_run(r);
		for (size_t i = 0; i < told.count; i++)
			if (told.of[i].change.kind == CHANGE_DEVICE_ADDED &&
				told.of[i].cause.has_peer)
				ck_assert_uint_eq(told.of[i].cause.session,
					link_session(told.of[i].change.rid == 1 ? one : two));
	}
END_TEST

static unsigned ended;

static void on_ended(void *ctx, const struct outcome *outcome)
{
	ck_assert_ptr_eq(ctx, r);
	ck_assert_uint_eq(outcome->cookie, 9);
	ended++;
}

/* What the daemon asked for itself, it hears of. */
START_TEST(what_no_client_asked_for_is_the_daemons)
	{
		rig_close(r);
		memset(&told, 0, sizeof(told));
		rig_config(r);
		r->ended = on_ended;
		rig_open(r);
		ended = 0;
		ck_assert_int_eq(broker_device_share(
					 r->f.broker, &r->f.admin, (struct rid){6}, 9, &r->error),
			0);
		rig_run(r);
		ck_assert_uint_eq(ended, 1);
	}
END_TEST

START_TEST(a_refusal_is_told_with_what_it_is_about)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;
		Pasid__V1__Unbind unbind = PASID__V1__UNBIND__INIT;
		Pasid__V1__PasidRef pasid = PASID__V1__PASID_REF__INIT;
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		uint64_t devices[] = {4711, 4712};

		pasid.key_case = PASID__V1__PASID_REF__KEY_GUEST;
		pasid.guest = 7;
		unbind.pasid = &pasid;
		unbind.n_devices = 2;
		unbind.devices = devices;
		rig_refused(r, vmm, OPERATION(UNBIND), &unbind, REASON_GUEST_UNKNOWN);
		ck_assert_uint_eq(told.refusals, 1);
		ck_assert_uint_eq(told.error.reason, REASON_GUEST_UNKNOWN);
		ck_assert(told.refusal.is_change);
		ck_assert_uint_eq(told.refusal.cause.operation, OPERATION(UNBIND));
		ck_assert_uint_eq(told.refusal.cause.session, link_session(vmm));
		ck_assert_uint_eq(told.refusal.subject.set, link_set(vmm).v);
		ck_assert(told.refusal.subject.has_number && told.refusal.subject.guest);
		ck_assert_uint_eq(told.refusal.subject.number, 7);
		ck_assert_uint_eq(told.refusal.subject.device, 4711);
		create.name = (char *)"vm";
		rig_refused(r, admin, OPERATION(SET_CREATE), &create, REASON_SET_EXISTS);
		ck_assert_str_eq(told.set_name, "vm");
		ref.key_case = PASID__V1__SET_REF__KEY_NAME;
		ref.name = (char *)"none";
		unbind.set = &ref;
		rig_refused(r, admin, OPERATION(UNBIND), &unbind, REASON_NO_SET);
		ck_assert_str_eq(told.set_name, "none");
		ck_assert_uint_eq(told.refusal.subject.set, 0);
		ck_assert_uint_eq(told.refusals, 3);
	}
END_TEST

START_TEST(a_datagram_that_is_none_is_a_refusal)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		const uint8_t bytes[] = {0xff, 0xff, 0xff};

		ck_assert_int_eq(
			dispatch_receive(r->d, vmm, bytes, sizeof(bytes), NULL, 0, false), 0);
		ck_assert_uint_eq(told.refusals, 1);
		ck_assert_uint_eq(told.error.reason, REASON_MALFORMED);
		ck_assert_uint_eq(told.refusal.cause.operation, 0);
		ck_assert_uint_eq(told.refusal.cause.uid, RIG_VMM_UID);
	}
END_TEST

/* Sent again it is answered again, and told of once. */
START_TEST(a_refusal_that_is_answered_again_is_none)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		Pasid__V1__GuestDetach detach = PASID__V1__GUEST_DETACH__INIT;

		detach.guest_pasid = 5;
		for (int i = 0; i < 2; i++) {
			rig_begin(r);
			rig_add_as(r, 100, RIG_NO_DEADLINE, 0, OPERATION(GUEST_DETACH), &detach);
			ck_assert_int_eq(rig_send(r, vmm, NULL, 0), 0);
			rig_expect(r, rig_reply(r, vmm, 100), REASON_GUEST_UNKNOWN);
		}
		ck_assert_uint_eq(told.refusals, 1);
	}
END_TEST

/* The deadline has passed and the work goes on: nothing was refused. */
START_TEST(a_passed_deadline_is_no_refusal)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		const int fds[] = {10, 11};

		rig_begin(r);
		rig_add_as(r, 100, 0, 2, OPERATION(DEVICE_ADD), &add);
		ck_assert_int_eq(rig_send(r, vmm, fds, 2), 0);
		rig_expect(r, rig_reply(r, vmm, 100), REASON_DEADLINE);
		ck_assert_uint_eq(told.refusals, 0);
		rig_run(r);
	}
END_TEST

START_TEST(changes_that_came_too_fast_are_counted)
	{
		static struct hpasid numbers[BROKER_ALLOCATE_MAX];
		struct set_create create = {
			.name = "vm", .mode = SET_TRANSLATED, .has_quota = true, .quota = 30000};
		struct allocate many = {.max = PASID_LAST, .count = BROKER_ALLOCATE_MAX};

		ck_assert_int_eq(
			broker_set_create(r->f.broker, &r->f.admin, &create, &many.set, &r->error),
			0);
		dispatch_pump(r->d);
		for (unsigned n = 0; n <= BROKER_CHANGES; n += BROKER_ALLOCATE_MAX)
			ck_assert_int_eq(broker_allocate(r->f.broker, &r->f.admin, &many, numbers,
						 &r->error),
				0);
		dispatch_pump(r->d);
		ck_assert_uint_eq(told.missed, BROKER_ALLOCATE_MAX);
	}
END_TEST

/* The names that records have, while there is one who can be named. */
START_TEST(names_outlast_what_they_name_by_a_turn)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		const struct set_id set = link_set(vmm), none = {0},
				    other = {set.v + (UINT64_C(1) << WORD_GENERATION_SHIFT)};
		const struct device_id device = {rig_device(r, vmm, 1, 10)};
		struct rid rid = {0};

		ck_assert_str_eq(broker_set_name(r->f.broker, set), "vm");
		ck_assert_ptr_null(broker_set_name(r->f.broker, none));
		ck_assert_ptr_null(broker_set_name(r->f.broker, other));
		ck_assert(broker_device_rid(r->f.broker, device, &rid));
		ck_assert_uint_eq(rid.v, 1);
		ck_assert(!broker_device_rid(r->f.broker, (struct device_id){0}, &rid));
		(void)dispatch_disconnect(r->d, vmm, true, NULL);
		rig_run(r);
		ck_assert(!broker_set_lives(r->f.broker, set));
		ck_assert_str_eq(broker_set_name(r->f.broker, set), "vm");
		ck_assert(!broker_device_rid(r->f.broker, device, &rid));
		(void)rig_vmm(r, "next", SET_TRANSLATED);
		ck_assert_ptr_null(broker_set_name(r->f.broker, set));
	}
END_TEST

START_TEST(what_a_recovery_changes_is_told)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);

		(void)rig_device(r, vmm, 1, 10);
		memset(&told, 0, sizeof(told));
		fixture_settle(&r->f);
		rig_restart(r);
		rig_run(r);
		ck_assert_uint_eq(told.settled, told.count);
		for (size_t i = 0; i < told.count; i++)
			ck_assert(!told.of[i].cause.has_peer);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		each_change_is_told_once_and_before_it_is_final,
		neighbours_are_told_as_one,
		spans_end_where_something_else_begins,
		a_span_that_cannot_be_is_one_number,
		the_request_is_the_cause,
		what_nobody_asked_for_is_nobodys,
		what_ends_together_is_not_mixed_up,
		what_no_client_asked_for_is_the_daemons,
		a_refusal_is_told_with_what_it_is_about,
		a_datagram_that_is_none_is_a_refusal,
		a_refusal_that_is_answered_again_is_none,
		a_passed_deadline_is_no_refusal,
		changes_that_came_too_fast_are_counted,
		names_outlast_what_they_name_by_a_turn,
		what_a_recovery_changes_is_told,
	};

	return suite_run("dispatch, audit", "all", tests, ARRAY_SIZE(tests), open_rig, close_rig);
}
