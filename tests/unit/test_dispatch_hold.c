/* SPDX-License-Identifier: MIT */
/* Holds (F18), and participants that are waited for (F22), through datagrams. */
#include "broker_private.h"
#include "dispatch_rig.h"

#include <string.h>

static struct rig rig, *const r = &rig;

static Pasid__V1__SetRef *the_set(struct link *vmm)
{
	static Pasid__V1__SetRef ref;

	pasid__v1__set_ref__init(&ref);
	ref.key_case = PASID__V1__SET_REF__KEY_ID;
	ref.id = link_set(vmm).v;
	return &ref;
}

static Pasid__V1__SetRef *no_set(void)
{
	static Pasid__V1__SetRef ref;

	pasid__v1__set_ref__init(&ref);
	return &ref;
}

static void free_all(struct link *vmm)
{
	Pasid__V1__Free all = PASID__V1__FREE__INIT;

	all.all = true;
	(void)rig_ok(r, vmm, OPERATION(FREE), &all);
}

static void free_one(struct link *vmm, uint32_t number)
{
	Pasid__V1__Free one = PASID__V1__FREE__INIT;
	Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT, *refs[] = {&ref};

	ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
	ref.host = number;
	one.pasids = refs;
	one.n_pasids = 1;
	(void)rig_ok(r, vmm, OPERATION(FREE), &one);
}

/* ---------------------------------------------------------------- holds */

START_TEST(who_holds_a_number_is_listed)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		struct link *participant = rig_hello(r, ROLE_PARTICIPANT);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__Hold hold = PASID__V1__HOLD__INIT;
		Pasid__V1__Release release = PASID__V1__RELEASE__INIT;
		Pasid__V1__HoldList list = PASID__V1__HOLD_LIST__INIT;
		const Pasid__V1__HoldListResult *got;
		size_t found = 0;

		hold.host_pasid = release.host_pasid = rig_allocate(r, vmm);
		(void)rig_ok(r, vmm, OPERATION(HOLD), &hold);
		(void)rig_ok(r, vmm, OPERATION(HOLD), &hold);
		hold.set = the_set(vmm);
		(void)rig_ok(r, participant, OPERATION(HOLD), &hold);
		got = rig_ok(r, vmm, OPERATION(HOLD_LIST), &list)->hold_list;
		ck_assert_uint_eq(got->n_holds, 1); /* its own */
		list.set = the_set(vmm);
		got = rig_ok(r, admin, OPERATION(HOLD_LIST), &list)->hold_list;
		ck_assert_uint_eq(got->n_holds, 2);
		for (size_t i = 0; i < 2; i++) {
			const Pasid__V1__HoldInfo *info = got->holds[i];
			const bool own = info->session == link_session(vmm);

			ck_assert_uint_eq(info->times, own ? 2 : 1);
			ck_assert_uint_eq(info->uid, own ? RIG_VMM_UID : RIG_PARTICIPANT_UID);
			ck_assert_uint_eq(info->host_pasid, hold.host_pasid);
			ck_assert_uint_eq(info->set, link_set(vmm).v);
			ck_assert_str_eq(info->set_name, "vm");
		}
		list.limit = 1;
		do {
			got = rig_ok(r, admin, OPERATION(HOLD_LIST), &list)->hold_list;
			found += got->n_holds;
			list.after = got->next;
		} while (got->next);
		ck_assert_uint_eq(found, 2);
		(void)rig_ok(r, vmm, OPERATION(RELEASE), &release);
		(void)rig_ok(r, vmm, OPERATION(RELEASE), &release);
		rig_refused(r, vmm, OPERATION(RELEASE), &release, REASON_NOT_HELD);
		release.set = the_set(vmm);
		(void)rig_ok(r, participant, OPERATION(RELEASE), &release);
	}
END_TEST

START_TEST(a_hold_names_a_set_and_a_number_that_are_there)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		Pasid__V1__Hold hold = PASID__V1__HOLD__INIT;
		Pasid__V1__Release release = PASID__V1__RELEASE__INIT;
		Pasid__V1__HoldList list = PASID__V1__HOLD_LIST__INIT;

		hold.host_pasid = 7;
		rig_refused(r, vmm, OPERATION(HOLD), &hold, REASON_NO_PASID);
		hold.set = release.set = list.set = no_set();
		rig_refused(r, vmm, OPERATION(HOLD), &hold, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(RELEASE), &release, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(HOLD_LIST), &list, REASON_BAD_ARGUMENT);
	}
END_TEST

/* ---------------------------------------------------------------- participants */

static Pasid__V1__Watch participating(void)
{
	Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;

	watch.acknowledge = true;
	return watch;
}

START_TEST(a_number_waits_for_who_participates)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		struct link *participant = rig_hello(r, ROLE_PARTICIPANT);
		Pasid__V1__Watch watch = participating();
		Pasid__V1__Acknowledge acknowledge = PASID__V1__ACKNOWLEDGE__INIT;
		Pasid__V1__HostFind find = PASID__V1__HOST_FIND__INIT;
		const Pasid__V1__AcknowledgeResult *got;
		const Pasid__V1__GrantInfo *info;
		uint32_t numbers[2];

		(void)rig_ok(r, participant, OPERATION(WATCH), &watch);
		(void)rig_ok(r, participant, OPERATION(WATCH), &watch); /* it is so already */
		numbers[0] = find.host_pasid = rig_allocate(r, vmm);
		numbers[1] = numbers[0] + 1000;
		free_all(vmm);
		while (rig_read(r, participant)) {
		}
		info = rig_ok(r, rig_hello(r, ROLE_ADMIN), OPERATION(HOST_FIND), &find)->host_find;
		ck_assert_str_eq(info->quarantine[info->n_quarantine - 1], "unacknowledged");
		acknowledge.host_pasids = numbers;
		acknowledge.n_host_pasids = 2;
		got = rig_ok(r, participant, OPERATION(ACKNOWLEDGE), &acknowledge)->acknowledge;
		ck_assert_uint_eq(got->acknowledged, 1);
		ck_assert_uint_eq(got->unchanged, 1);
		acknowledge.n_host_pasids = 1;
		while (rig_read(r, participant)) {
		}
		got = rig_ok(r, participant, OPERATION(ACKNOWLEDGE), &acknowledge)->acknowledge;
		ck_assert_uint_eq(got->acknowledged, 0);
		ck_assert_uint_eq(got->unchanged, 1);
		rig_refused(r, vmm, OPERATION(ACKNOWLEDGE), &acknowledge, REASON_ROLE);
		ck_assert_ptr_nonnull(strstr(r->error.text, "participants"));
		numbers[0] = PASID_COUNT;
		rig_refused(r, participant, OPERATION(ACKNOWLEDGE), &acknowledge, REASON_BAD_RANGE);
		numbers[0] = rig_allocate(r, vmm);
		free_all(vmm);
		while (rig_read(r, participant)) {
		}
		got = rig_ok(r, participant, OPERATION(ACKNOWLEDGE), &acknowledge)->acknowledge;
		ck_assert_uint_eq(got->acknowledged, 1);
		ck_assert_uint_eq(got->unchanged, 0);
	}
END_TEST

/* Whom the number waits for, by its entry of a list and when it is looked for, which agree. */
static void awaits(struct link *asks, uint32_t number, uint64_t one, uint64_t other)
{
	Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;
	Pasid__V1__HostFind find = PASID__V1__HOST_FIND__INIT;
	const uint64_t sessions[] = {one, other};
	const size_t count = (size_t)(one != 0) + (other != 0);
	const Pasid__V1__GrantListResult *page;

	list.quarantined = true;
	find.host_pasid = number;
	for (unsigned listed = 0; listed < 2; listed++) {
		const Pasid__V1__GrantInfo *info = NULL;

		if (!listed)
			info = rig_ok(r, asks, OPERATION(HOST_FIND), &find)->host_find;
		else
			page = rig_ok(r, asks, OPERATION(GRANT_LIST), &list)->grant_list;
		for (size_t i = 0; listed && i < page->n_grants; i++)
			info = page->grants[i]->host_pasid == number ? page->grants[i] : info;
		ck_assert_ptr_nonnull(info);
		ck_assert_uint_eq(info->n_awaited, count);
		for (size_t i = 0; i < count; i++) {
			ck_assert_uint_eq(info->awaited[i]->session, sessions[i]);
			ck_assert_uint_eq(info->awaited[i]->uid, r->participant_uid);
			ck_assert_uint_eq(info->awaited[i]->pid, 4711);
		}
	}
}

/* F22: and not to VMMs. Who leaves is not waited for, also where the records say so still. */
START_TEST(whom_a_number_waits_for_is_told)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		struct link *first = rig_hello(r, ROLE_PARTICIPANT);
		struct link *second = rig_hello(r, ROLE_PARTICIPANT);
		const uint64_t one = link_session(first), other = link_session(second);
		const uint32_t kept = rig_allocate(r, vmm), both = rig_allocate(r, vmm);
		Pasid__V1__Watch watch = participating();
		Pasid__V1__Acknowledge acknowledge = PASID__V1__ACKNOWLEDGE__INIT;
		uint32_t number = rig_allocate(r, vmm);

		(void)rig_ok(r, first, OPERATION(WATCH), &watch);
		(void)rig_ok(r, second, OPERATION(WATCH), &watch);
		free_one(vmm, number);
		free_one(vmm, both);
		while (rig_read(r, first) || rig_read(r, second)) {
		}
		acknowledge.host_pasids = &number;
		acknowledge.n_host_pasids = 1;
		(void)rig_ok(r, first, OPERATION(ACKNOWLEDGE), &acknowledge);
		awaits(admin, number, other, 0);
		awaits(admin, both, one, other);
		awaits(admin, kept, 0, 0);
		awaits(rig_hello(r, ROLE_OBSERVER), both, one, other);
		awaits(vmm, both, 0, 0);
		participant_end_session(r->f.broker, one);
		awaits(admin, both, other, 0);
	}
END_TEST

static bool is_told(enum role role, const char *text)
{
	Pasid__V1__GetStatus get_status = PASID__V1__GET_STATUS__INIT;
	const Pasid__V1__StatusResult *status =
		rig_ok(r, rig_hello(r, role), OPERATION(GET_STATUS), &get_status)->get_status;
	bool found = false;

	for (size_t i = 0; i < status->n_notes; i++)
		found = found || strstr(status->notes[i], text);
	return found;
}

static void bind_hwpt(struct link *vmm, uint64_t device, Pasid__V1__PasidRef *number)
{
	Pasid__V1__Bind bind = PASID__V1__BIND__INIT;
	Pasid__V1__BindPair pair = PASID__V1__BIND_PAIR__INIT, *pairs[] = {&pair};
	Pasid__V1__Table table = PASID__V1__TABLE__INIT;

	table.source_case = PASID__V1__TABLE__SOURCE_HWPT;
	table.hwpt = 9;
	pair.device = device;
	pair.table = &table;
	bind.pasid = number;
	bind.n_pairs = 1;
	bind.pairs = pairs;
	(void)rig_ok(r, vmm, OPERATION(BIND), &bind);
}

/* The status names who let the time of an unbind pass, and not to VMMs. */
START_TEST(who_lets_an_unbind_wait_in_vain_is_named)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		struct link *late = rig_hello(r, ROLE_PARTICIPANT);
		Pasid__V1__Watch watch = participating();
		Pasid__V1__Unbind unbind = PASID__V1__UNBIND__INIT;
		Pasid__V1__PasidRef number = PASID__V1__PASID_REF__INIT;
		Pasid__V1__Acknowledge acknowledge = PASID__V1__ACKNOWLEDGE__INIT;
		const uint64_t device = rig_device(r, vmm, 8, 5);

		r->f.broker->config.unbind_wait_ms = 500;
		(void)rig_ok(r, late, OPERATION(WATCH), &watch);
		number.key_case = PASID__V1__PASID_REF__KEY_HOST;
		number.host = rig_allocate(r, vmm);
		bind_hwpt(vmm, device, &number);
		unbind.pasid = &number;
		rig_begin(r);
		(void)rig_add(r, OPERATION(UNBIND), &unbind);
		ck_assert_int_eq(rig_send(r, vmm, NULL, 0), 0);
		rig_run(r);
		ck_assert(!is_told(ROLE_ADMIN, "in vain"));
		r->f.now_ms += 500;
		dispatch_tick(r->d);
		rig_run(r);
		(void)rig_ok(r, rig_hello(r, ROLE_PARTICIPANT), OPERATION(WATCH), &watch);
		ck_assert(is_told(ROLE_ADMIN, "let 1 unbinds wait in vain"));
		ck_assert(is_told(ROLE_OBSERVER, "in vain"));
		ck_assert(!is_told(ROLE_VMM, "in vain"));
		acknowledge.host_pasids = &number.host;
		acknowledge.n_host_pasids = 1;
		while (rig_read(r, late)) {
		}
		(void)rig_ok(r, late, OPERATION(ACKNOWLEDGE), &acknowledge);
		ck_assert(!is_told(ROLE_ADMIN, "in vain"));
	}
END_TEST

/* Whoever is waited for hears of everything that it is waited for with. */
START_TEST(who_does_not_watch_all_does_not_participate)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		struct link *participant = rig_hello(r, ROLE_PARTICIPANT);
		Pasid__V1__EventKind kind = PASID__V1__EVENT_KIND__EVENT_GRANT_FREE_PENDING;
		Pasid__V1__Watch watch = participating();

		rig_refused(r, vmm, OPERATION(WATCH), &watch, REASON_ROLE);
		watch.only_case = PASID__V1__WATCH__ONLY_SET;
		watch.set = link_set(vmm).v;
		rig_refused(r, participant, OPERATION(WATCH), &watch, REASON_BAD_ARGUMENT);
		watch.only_case = PASID__V1__WATCH__ONLY_SET_NAME;
		watch.set_name = (char *)"vm";
		rig_refused(r, participant, OPERATION(WATCH), &watch, REASON_BAD_ARGUMENT);
		watch = participating();
		watch.kinds = &kind;
		watch.n_kinds = 1;
		rig_refused(r, participant, OPERATION(WATCH), &watch, REASON_BAD_ARGUMENT);
		watch = participating();
		watch.stop = true;
		rig_refused(r, participant, OPERATION(WATCH), &watch, REASON_BAD_ARGUMENT);
		(void)rig_allocate(r, vmm);
		free_all(vmm);
		ck_assert(!rig_read(r, participant)); /* nor does it watch */
		r->f.now_ms += 5000;
		dispatch_tick(r->d);
		rig_run(r);
		ck_assert_uint_eq(
			limits_account(r->limits, LIMITS_NO_USER, RESOURCE_PASIDS)->current, 0);
	}
END_TEST

/* One that is refused watches no more than before. */
START_TEST(there_are_so_many_participants)
	{
		struct link *link = NULL, *one = NULL;
		Pasid__V1__Watch watch = participating(), plain = PASID__V1__WATCH__INIT;

		for (unsigned i = 0; i < BROKER_PARTICIPANTS; i++) {
			link = rig_hello(r, ROLE_PARTICIPANT);
			(void)rig_ok(r, link, OPERATION(WATCH), &watch);
			one = one ? one : link;
		}
		link = rig_hello(r, ROLE_PARTICIPANT);
		rig_refused(r, link, OPERATION(WATCH), &watch, REASON_LIMIT);
		(void)rig_vmm(r, "vm", SET_TRANSLATED);
		ck_assert(!rig_read(r, link));
		(void)rig_ok(r, link, OPERATION(WATCH), &plain);
		rig_refused(r, link, OPERATION(WATCH), &watch, REASON_LIMIT);
		(void)rig_vmm(r, "vm2", SET_TRANSLATED);
		ck_assert(rig_read(r, link));
		ck_assert_ptr_null(dispatch_disconnect(r->d, one, true, NULL));
		r->f.now_ms += 1000;
		dispatch_tick(r->d);
		rig_run(r);
		while (rig_read(r, link)) {
		}
		(void)rig_ok(r, link, OPERATION(WATCH), &watch);
	}
END_TEST

/* ---------------------------------------------------------------- events of before */

START_TEST(of_what_was_before_it_hears_what_it_watches)
	{
		struct link *vmm = rig_hello(r, ROLE_VMM), *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__EventKind kind = PASID__V1__EVENT_KIND__EVENT_GRANT_ALLOCATED;
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;

		create.name = (char *)"vm";
		(void)rig_ok(r, vmm, OPERATION(SET_CREATE), &create);
		(void)rig_allocate(r, vmm);
		watch.start_case = PASID__V1__WATCH__START_FROM;
		watch.kinds = &kind;
		watch.n_kinds = 1;
		(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
		ck_assert_uint_eq(r->got->n_events, 1);
		ck_assert_int_eq(r->got->events[0]->kind, kind);
	}
END_TEST

/* More happened than is kept, and nobody was offered it yet, since it fell behind. */
START_TEST(what_is_gone_before_it_was_offered_is_a_gap)
	{
		static struct hpasid numbers[BROKER_ALLOCATE_MAX];
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct set_create create = {
			.name = "vm", .mode = SET_TRANSLATED, .has_quota = true, .quota = 30000};
		struct allocate many = {.max = PASID_LAST, .count = BROKER_ALLOCATE_MAX};
		Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
		uint64_t first, lost = 0, events = 0;

		ck_assert_int_eq(
			broker_set_create(r->f.broker, &r->f.admin, &create, &many.set, &r->error),
			0);
		first = broker_change_sequence(r->f.broker) - 1;
		watch.start_case = PASID__V1__WATCH__START_FROM;
		watch.from = first;
		rig_begin(r);
		(void)rig_add(r, OPERATION(WATCH), &watch);
		ck_assert_int_eq(rig_send(r, admin, NULL, 0), 0);
		for (unsigned n = 0; n <= BROKER_CHANGES; n += BROKER_ALLOCATE_MAX)
			ck_assert_int_eq(broker_allocate(r->f.broker, &r->f.admin, &many, numbers,
						 &r->error),
				0);
		do {
			while (rig_read(r, admin)) {
				events += r->got->n_events;
				for (size_t i = 0; i < r->got->n_events; i++)
					lost += r->got->events[i]->lost;
			}
			rig_run(r);
		} while (dispatch_peek(r->d, admin));
		ck_assert_uint_gt(lost, 0);
		ck_assert_uint_gt(events, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		who_holds_a_number_is_listed,
		a_hold_names_a_set_and_a_number_that_are_there,
		a_number_waits_for_who_participates,
		whom_a_number_waits_for_is_told,
		who_lets_an_unbind_wait_in_vain_is_named,
		who_does_not_watch_all_does_not_participate,
		there_are_so_many_participants,
		of_what_was_before_it_hears_what_it_watches,
		what_is_gone_before_it_was_offered_is_a_gap,
	};

	return rig_main(r, "dispatch, holds", tests, ARRAY_SIZE(tests));
}
