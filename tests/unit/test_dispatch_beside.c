/* SPDX-License-Identifier: MIT */
/* Clients beside others: connections of several sets, watches, what is limited, and the status. */
#include "broker_private.h"
#include "dispatch_private.h"
#include "dispatch_rig.h"

#include <stdio.h>
#include <string.h>

#define RID 8u

static struct rig rig, *const r = &rig;

static Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
static Pasid__V1__GetStatus get_status = PASID__V1__GET_STATUS__INIT;
static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

static uint64_t make_set(struct link *admin, unsigned number)
{
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	char name[STATE_NAME_MAX + 1];

	(void)snprintf(name, sizeof(name), "%064u", number);
	create.name = name;
	create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
	create.pasids = 8;
	return rig_ok(r, admin, OPERATION(SET_CREATE), &create)->set_create->id;
}

/* Two sets that are found in the same place. */
static void make_neighbours(struct link *admin, uint64_t *ret_one, uint64_t *ret_two)
{
	unsigned number = 0;

	*ret_one = make_set(admin, number++);
	do
		*ret_two = make_set(admin, number++);
	while (*ret_one % DISPATCH_WATCH_BUCKETS != *ret_two % DISPATCH_WATCH_BUCKETS);
}

static Pasid__V1__SetRef ref_of(uint64_t set)
{
	Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;

	ref.key_case = PASID__V1__SET_REF__KEY_ID;
	ref.id = set;
	return ref;
}

static struct link *hello_on(struct link *link, enum reason reason)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	rig_identify(r, link, RIG_VMM_UID);
	if (reason)
		rig_refused(r, link, OPERATION(HELLO), &hello, reason);
	else
		(void)rig_ok(r, link, OPERATION(HELLO), &hello);
	return link;
}

/* ---------------------------------------------------------------- handed connections */

START_TEST(sets_that_share_a_place_have_connections_of_their_own)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN), *first, *second;
		uint64_t one, two;

		make_neighbours(admin, &one, &two);
		first = hello_on(rig_hand(r, admin, one), REASON_NONE);
		second = hello_on(rig_hand(r, admin, two), REASON_NONE);
		ck_assert_uint_eq(link_set(first).v, one);
		ck_assert_uint_eq(link_set(second).v, two);
		(void)rig_allocate(r, second);
		ck_assert_ptr_null(dispatch_disconnect(r->d, first, false, NULL));
		rig_run(r);
		(void)rig_allocate(r, second);
		(void)hello_on(rig_hand(r, admin, one), REASON_NONE);
	}
END_TEST

START_TEST(a_vmm_does_not_hear_of_a_set_that_shares_its_place)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN), *first, *second;
		uint64_t one, two;

		make_neighbours(admin, &one, &two);
		first = hello_on(rig_hand(r, admin, one), REASON_NONE);
		second = hello_on(rig_hand(r, admin, two), REASON_NONE);
		(void)rig_ok(r, first, OPERATION(WATCH), &watch);
		(void)rig_allocate(r, second);
		ck_assert(!rig_read(r, first));
		(void)rig_ok(r, first, OPERATION(ALLOCATE), &allocate);
		ck_assert_uint_eq(r->got->n_events, 1);
		ck_assert_uint_eq(r->got->events[0]->set, one);
	}
END_TEST

START_TEST(who_is_known_stays_known)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *handed = hello_on(rig_hand(r, admin, make_set(admin, 1)), REASON_NONE);
		uint32_t uid;
		int32_t pid;

		ck_assert(link_who(handed, &pid, &uid));
		ck_assert_uint_eq(uid, RIG_VMM_UID);
		ck_assert_int_eq(pid, 4712);
		rig_identify(r, admin, RIG_NOBODY);
		ck_assert_uint_eq(admin->peer->uid, RIG_ADMIN_UID);
		rig_identify(r, handed, RIG_NOBODY);
		ck_assert_uint_eq(handed->peer->uid, RIG_VMM_UID);
		handed = rig_hand(r, admin, make_set(admin, 2));
		ck_assert(!link_who(handed, &pid, &uid));
		handed = rig_connect(r, RIG_VMM_UID); /* accepted, and before hello */
		rig_identify(r, handed, RIG_NOBODY);
		ck_assert_uint_eq(handed->peer->uid, RIG_VMM_UID);
	}
END_TEST

START_TEST(a_handed_connection_has_a_session_like_others)
	{
		struct link *admin;

		rig_close(r);
		rig_config(r);
		r->limits_config.of[RESOURCE_SESSIONS].user = 1;
		rig_open(r);
		admin = rig_hello(r, ROLE_ADMIN); /* is charged for both */
		(void)hello_on(rig_hand(r, admin, make_set(admin, 1)), REASON_LIMIT);
	}
END_TEST

START_TEST(a_set_that_is_being_destroyed_gets_no_connection)
	{
		Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef ref = ref_of(make_set(admin, 1));

		connect.set = destroy.set = add.set = &ref;
		ck_assert_ptr_null(rig_call_fds(
			r, admin, OPERATION(DEVICE_ADD), &add, (int[]){5, MODEL_DEVICE_FD(RID)}, 2)
					   ->status);
		destroy.force = true;
		rig_begin(r);
		rig_add(r, OPERATION(SET_DESTROY), &destroy);
		rig_add(r, OPERATION(SET_CONNECT), &connect);
		ck_assert_int_eq(rig_send(r, admin, NULL, 0), 0);
		rig_expect(r, rig_reply(r, admin, r->last_id), REASON_SET_DYING);
		rig_run(r);
		ck_assert_ptr_null(rig_reply(r, admin, r->last_id - 1)->status);
	}
END_TEST

/* A datagram has room for one descriptor. */
START_TEST(two_connections_that_are_asked_for_at_once_come_in_two_datagrams)
	{
		Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef refs[] = {ref_of(make_set(admin, 1)), ref_of(make_set(admin, 2))};

		rig_begin(r);
		for (unsigned i = 0; i < 2; i++) {
			connect.set = &refs[i];
			rig_add(r, OPERATION(SET_CONNECT), &connect);
		}
		ck_assert_int_eq(rig_send(r, admin, NULL, 0), 0);
		for (unsigned i = 0; i < 2; i++) {
			ck_assert(rig_read(r, admin));
			ck_assert_uint_eq(r->got->n_replies, 1);
			ck_assert_int_eq(r->got_fd, RIG_HANDED_FD + (int)i);
		}
	}
END_TEST

/* ---------------------------------------------------------------- watches */

START_TEST(watches_of_a_user_are_limited)
	{
		struct link *admin, *vmm;

		rig_close(r);
		rig_config(r);
		r->limits_config.of[RESOURCE_WATCHES].user = 1;
		rig_open(r);
		vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		admin = rig_hello(r, ROLE_ADMIN);
		(void)rig_ok(r, vmm, OPERATION(WATCH), &watch);
		(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
		rig_refused(r, rig_vmm(r, "vm2", SET_TRANSLATED), OPERATION(WATCH), &watch,
			REASON_LIMIT);
	}
END_TEST

START_TEST(what_happens_to_no_set_is_told_those_who_see_all)
	{
		Pasid__V1__DeviceShare share = PASID__V1__DEVICE_SHARE__INIT;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);

		(void)rig_ok(r, vmm, OPERATION(WATCH), &watch);
		(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
		share.address = "0000:00:00.5";
		(void)rig_ok(r, admin, OPERATION(DEVICE_SHARE), &share);
		ck_assert_uint_eq(r->got->n_events, 1);
		ck_assert_uint_eq(r->got->events[0]->set, 0);
		ck_assert(!rig_read(r, vmm));
	}
END_TEST

/* Events of one watcher with room for so many, behind a reply of this length. */
static void count_events(unsigned room, size_t payload)
{
	static uint8_t bytes[WIRE_STRING_MAX];
	Pasid__V1__Ping before = PASID__V1__PING__INIT;
	struct link *admin = rig_hello(r, ROLE_ADMIN);
	struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
	uint64_t told = 0, lost = 0;

	allocate.count = room + 1;
	(void)rig_ok(r, admin, OPERATION(WATCH), &watch);
	before.payload = (ProtobufCBinaryData){payload, bytes};
	rig_begin(r);
	rig_add(r, OPERATION(PING), &before);
	ck_assert_int_eq(rig_send(r, admin, NULL, 0), 0);
	(void)rig_ok(r, vmm, OPERATION(ALLOCATE), &allocate);
	while (rig_read(r, admin)) {
		for (size_t i = 0; i < r->got->n_events; i++) {
			lost += r->got->events[i]->lost;
			told += r->got->events[i]->host_pasid != 0;
		}
	}
	ck_assert_uint_eq(told, room);
	ck_assert_uint_eq(lost, 1);
}

/* However the datagram ends: behind an event, in one, or where it is told what was lost. */
START_TEST(each_event_is_told_or_counted_wherever_a_datagram_ends)
	{
		/* about as many as fit into one */
		for (unsigned room = 1060; room < 1140; room++) {
			rig_close(r);
			rig_config(r);
			r->config.events_max = room;
			r->f.config.set_quota_default = 2 * room;
			rig_open(r);
			count_events(room, room % WIRE_STRING_MAX);
		}
	}
END_TEST

/* ---------------------------------------------------------------- limits */

static Pasid__V1__LimitList list = PASID__V1__LIMIT_LIST__INIT;

/* Reads all pages; how many there were, and how many entries of each level. */
static unsigned read_limits(struct link *link, unsigned *counts)
{
	const Pasid__V1__LimitListResult *result;
	unsigned pages = 0;

	memset(counts, 0, 4 * sizeof(*counts));
	list.after = 0;
	do {
		result = rig_ok(r, link, OPERATION(LIMIT_LIST), &list)->limit_list;
		for (size_t i = 0; i < result->n_limits; i++) {
			ck_assert_uint_lt(result->limits[i]->level, 4);
			counts[result->limits[i]->level]++;
		}
		list.after = result->next;
		pages++;
	} while (list.after);
	return pages;
}

START_TEST(limits_are_listed_alike_in_pages_of_any_size)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		unsigned whole[4], counts[4];

		for (unsigned i = 0; i < 5; i++)
			(void)rig_allocate(
				r, rig_vmm(r, (char[]){'v', (char)('0' + i), 0}, SET_TRANSLATED));
		list.limit = DISPATCH_PAGE_MAX;
		ck_assert_uint_eq(read_limits(admin, whole), 1);
		ck_assert_uint_eq(whole[PASID__V1__LIMIT_LEVEL__LIMIT_HOST], RESOURCE_COUNT);
		ck_assert_uint_gt(whole[PASID__V1__LIMIT_LEVEL__LIMIT_USER], 4);
		ck_assert_uint_ge(whole[PASID__V1__LIMIT_LEVEL__LIMIT_SET], 5);
		for (list.limit = 1; list.limit < 8; list.limit++) {
			(void)read_limits(admin, counts);
			ck_assert_mem_eq(counts, whole, sizeof(counts));
		}
	}
END_TEST

START_TEST(a_limit_that_there_is_none_of_is_told_as_none)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		const Pasid__V1__LimitListResult *result;

		list.limit = DISPATCH_PAGE_MAX;
		list.after = 0;
		result = rig_ok(r, admin, OPERATION(LIMIT_LIST), &list)->limit_list;
		for (size_t i = 0; i < RESOURCE_COUNT; i++) {
			const uint32_t limit = r->limits_config.of[i].host;

			ck_assert_uint_ne(result->limits[i]->use->limit, UINT32_MAX);
			if (limit || i == RESOURCE_SETS)
				ck_assert_uint_eq(result->limits[i]->use->limit, limit);
		}
	}
END_TEST

/* The list of users from this position on: how many entries, and of whom the first is. */
static size_t limits_from(struct link *link, uint64_t after, uint32_t *ret_uid)
{
	const Pasid__V1__LimitListResult *result;
	size_t users = 0;

	list.after = after;
	list.limit = DISPATCH_PAGE_MAX;
	result = rig_ok(r, link, OPERATION(LIMIT_LIST), &list)->limit_list;
	while (users < result->n_limits &&
		result->limits[users]->level == PASID__V1__LIMIT_LEVEL__LIMIT_USER)
		users++;
	if (users)
		*ret_uid = result->limits[0]->uid;
	return users;
}

/* A position is what a client says it is. */
START_TEST(a_position_among_the_users_may_be_any)
	{
		const uint64_t first = UINT64_C(1) << 62, end = UINT64_C(1) << 63;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint32_t uid = 4711;

		(void)rig_vmm(r, "vm1", SET_TRANSLATED);
		ck_assert_uint_gt(limits_from(admin, first, &uid), 4);
		ck_assert_uint_eq(uid, RIG_ADMIN_UID);
		ck_assert_uint_gt(limits_from(admin, first + 64, &uid), 0);
		ck_assert_uint_eq(uid, RIG_VMM_UID);
		ck_assert_uint_eq(limits_from(admin, first + 64 + RESOURCE_COUNT, &uid), 0);
		ck_assert_uint_eq(limits_from(admin, first + UINT64_C(64) * 4711, &uid), 0);
		ck_assert_uint_eq(limits_from(admin, end - 1, &uid), 0);
		ck_assert_uint_eq(limits_from(admin, UINT64_MAX, &uid), 0);
	}
END_TEST

/* It never had any, and asked. */
START_TEST(a_user_who_was_only_refused_is_listed)
	{
		struct link *admin, *vmm;
		const Pasid__V1__LimitListResult *result;
		bool found = false;

		rig_close(r);
		rig_config(r);
		r->limits_config.of[RESOURCE_PASIDS].user = 5;
		rig_open(r);
		admin = rig_hello(r, ROLE_ADMIN);
		vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		allocate.count = 6;
		rig_refused(r, vmm, OPERATION(ALLOCATE), &allocate, REASON_USER_QUOTA);
		list.limit = DISPATCH_PAGE_MAX;
		list.after = UINT64_C(1) << 62;
		result = rig_ok(r, admin, OPERATION(LIMIT_LIST), &list)->limit_list;
		for (size_t i = 0; i < result->n_limits; i++)
			found = found || (strcmp(result->limits[i]->resource, "pasids") == 0 &&
						 result->limits[i]->level ==
							 PASID__V1__LIMIT_LEVEL__LIMIT_USER &&
						 result->limits[i]->use->peak == 0 &&
						 result->limits[i]->use->hits == 1);
		ck_assert(found);
	}
END_TEST

START_TEST(limits_of_one_set_are_of_that_one_only)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN), *vmm;
		struct link *other = rig_vmm(r, "vm2", SET_TRANSLATED);
		Pasid__V1__SetRef ref;
		unsigned counts[4], mine[4];

		vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		(void)rig_allocate(r, vmm);
		(void)rig_allocate(r, other);
		list.limit = DISPATCH_PAGE_MAX;
		ref = ref_of(link_set(vmm).v);
		list.set = &ref;
		(void)read_limits(admin, counts);
		list.set = NULL;
		(void)read_limits(vmm, mine);
		ck_assert_mem_eq(counts, mine, sizeof(counts));
		ck_assert_uint_eq(counts[PASID__V1__LIMIT_LEVEL__LIMIT_HOST], 0);
		ck_assert_uint_eq(counts[PASID__V1__LIMIT_LEVEL__LIMIT_USER], 0);
		ck_assert_uint_gt(counts[PASID__V1__LIMIT_LEVEL__LIMIT_SET], 0);
		list.limit = 1; /* the next page begins among the sets */
		(void)read_limits(vmm, counts);
		ck_assert_mem_eq(counts, mine, sizeof(counts));
	}
END_TEST

/* ---------------------------------------------------------------- status */

START_TEST(records_that_contradict_themselves_are_told_an_admin)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);

		ck_assert(rig_ok(r, admin, OPERATION(GET_STATUS), &get_status)
				  ->get_status->consistent);
		r->f.broker->quarantined++;
		ck_assert(!rig_ok(r, admin, OPERATION(GET_STATUS), &get_status)
				   ->get_status->consistent);
		r->f.broker->quarantined--;
	}
END_TEST

static uint32_t hanging_count;

static bool hanging(void *ctx, uint32_t index, char *ret_text, size_t size)
{
	(void)ctx;
	if (index >= hanging_count)
		return false;
	(void)snprintf(ret_text, size, "operation %u hangs", index);
	return true;
}

static size_t hanging_notes(struct link *link)
{
	const Pasid__V1__StatusResult *status =
		rig_ok(r, link, OPERATION(GET_STATUS), &get_status)->get_status;
	size_t notes = 0;

	for (size_t i = 0; i < status->n_notes; i++)
		notes += strstr(status->notes[i], "hangs") != NULL;
	return notes;
}

START_TEST(of_many_operations_that_hang_the_first_are_named)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);

		r->d->ports.hanging = hanging;
		ck_assert_uint_eq(hanging_notes(admin), 0);
		hanging_count = 3;
		ck_assert_uint_eq(hanging_notes(admin), 3);
		hanging_count = 100;
		ck_assert_uint_eq(hanging_notes(admin), 8);
	}
END_TEST

static unsigned confirmed_count;

static void confirmed(void *ctx, const struct actor *actor, bool was_blocked)
{
	(void)ctx;
	ck_assert_int_eq(actor->role, ROLE_ADMIN);
	ck_assert(!was_blocked);
	confirmed_count++;
}

/* The table asks for an admin; so does who does it. */
START_TEST(only_an_admin_confirms_whatever_the_table_says)
	{
		Pasid__V1__Recover recover = PASID__V1__RECOVER__INIT;
		struct call call = {.d = r->d,
			.actor = {.role = ROLE_VMM, .peer = &r->f.peer},
			.message = &recover.base};

		r->d->ports.confirmed = confirmed;
		recover.confirm_no_devices = true;
		ck_assert_int_eq(handle_recover(&call), STATUS_DENIED);
		ck_assert_uint_eq(confirmed_count, 0);
		(void)rig_ok(r, rig_hello(r, ROLE_ADMIN), OPERATION(RECOVER), &recover);
		ck_assert_uint_eq(confirmed_count, 1);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		sets_that_share_a_place_have_connections_of_their_own,
		a_vmm_does_not_hear_of_a_set_that_shares_its_place,
		who_is_known_stays_known,
		a_handed_connection_has_a_session_like_others,
		a_set_that_is_being_destroyed_gets_no_connection,
		two_connections_that_are_asked_for_at_once_come_in_two_datagrams,
		watches_of_a_user_are_limited,
		what_happens_to_no_set_is_told_those_who_see_all,
		each_event_is_told_or_counted_wherever_a_datagram_ends,
		limits_are_listed_alike_in_pages_of_any_size,
		a_limit_that_there_is_none_of_is_told_as_none,
		a_position_among_the_users_may_be_any,
		a_user_who_was_only_refused_is_listed,
		limits_of_one_set_are_of_that_one_only,
		records_that_contradict_themselves_are_told_an_admin,
		of_many_operations_that_hang_the_first_are_named,
		only_an_admin_confirms_whatever_the_table_says,
	};

	return rig_main(r, "dispatch_beside", tests, ARRAY_SIZE(tests));
}
