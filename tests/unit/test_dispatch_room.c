/* SPDX-License-Identifier: MIT */
/*
 * Room for replies: whatever runs out, memory or an account, a change is either not done or its
 * reply can be had. And what a datagram may cost.
 */
#include "dispatch_rig.h"
#include "failing_memory.h"

#include <string.h>

#define ID              77u
#define DISPATCH_STATUS 512u /* bytes that are kept at least */

static struct rig rig, *const r = &rig;
static int user; /* its address is what a server would keep for a parked session */

static Pasid__V1__Ping ping = PASID__V1__PING__INIT;
static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

/* ---------------------------------------------------------------- memory */

static uint8_t token[WIRE_TOKEN_SIZE];

static Pasid__V1__Hello hello_message(bool resume)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	if (resume) {
		hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
		hello.resume_token = (ProtobufCBinaryData){WIRE_TOKEN_SIZE, token};
	}
	return hello;
}

/* A connection whose token is noted; the same session again with `resume`. */
static struct link *connect_vmm(bool resume)
{
	Pasid__V1__Hello hello = hello_message(resume);
	struct link *link = rig_connect(r, RIG_VMM_UID);
	const Pasid__V1__Reply *reply;

	rig_begin(r);
	rig_add(r, OPERATION(HELLO), &hello);
	ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
	reply = rig_reply(r, link, r->last_id);
	ck_assert_ptr_null(reply->status);
	memcpy(token, reply->hello->resume_token.data, WIRE_TOKEN_SIZE);
	return link;
}

/* What there is of whatever the change makes. */
static uint32_t count_sets(void)
{
	struct broker_status status;

	broker_status(r->f.broker, &status);
	return status.sets;
}

static uint32_t count_numbers(void)
{
	struct broker_status status;

	broker_status(r->f.broker, &status);
	return status.pasids.current - status.quarantined;
}

static uint32_t count_devices(void)
{
	struct broker_status status;

	broker_status(r->f.broker, &status);
	return status.devices;
}

static uint32_t count_bindings(void)
{
	struct broker_status status;

	broker_status(r->f.broker, &status);
	return status.bindings;
}

static Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
static Pasid__V1__Free free_all = PASID__V1__FREE__INIT;
static Pasid__V1__DeviceAdd device_add = PASID__V1__DEVICE_ADD__INIT;
static Pasid__V1__Bind bind = PASID__V1__BIND__INIT;
static Pasid__V1__BindPair pair = PASID__V1__BIND_PAIR__INIT, *pairs[] = {&pair};
static Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT;
static Pasid__V1__Table table = PASID__V1__TABLE__INIT;

static struct link *before_create(void)
{
	/* Its reply needs memory of its own to be remembered. */
	create.name = "a-set-whose-name-is-as-long-as-the-name-of-a-set-can-be";
	create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
	create.pasids = 32768;
	return connect_vmm(false);
}

static struct link *before_allocate(void)
{
	struct link *link = before_create();

	(void)rig_ok(r, link, OPERATION(SET_CREATE), &create);
	allocate.count = 1;
	return link;
}

static struct link *before_free(void)
{
	struct link *link = before_allocate();

	(void)rig_allocate(r, link);
	free_all.all = true;
	return link;
}

static struct link *before_bind(void)
{
	struct link *link = before_allocate();

	ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
	ref.host = rig_allocate(r, link);
	table.source_case = PASID__V1__TABLE__SOURCE_HWPT;
	table.hwpt = 9;
	pair.device = rig_device(r, link, 8, 5);
	pair.table = &table;
	bind.pasid = &ref;
	bind.n_pairs = 1;
	bind.pairs = pairs;
	return link;
}

static const struct change_case {
	uint32_t operation;
	const void *message;
	struct link *(*before)(void);
	uint32_t (*count)(void);
	uint32_t fd_count, after; /* what count() says once it is done */
} cases[] = {
	{OPERATION(SET_CREATE), &create, before_create, count_sets, 0, 1},
	{OPERATION(ALLOCATE), &allocate, before_allocate, count_numbers, 0, 1},
	{OPERATION(FREE), &free_all, before_free, count_numbers, 0, 0},
	{OPERATION(DEVICE_ADD), &device_add, before_allocate, count_devices, 2, 1},
	{OPERATION(BIND), &bind, before_bind, count_bindings, 0, 1},
};

static int send_change(const struct change_case *change, struct link *link)
{
	static const int fds[] = {5, MODEL_DEVICE_FD(8)};

	rig_begin(r);
	rig_add_as(r, ID, RIG_NO_DEADLINE, change->fd_count, change->operation, change->message);
	return rig_send(r, link, fds, change->fd_count);
}

/* The reply to the change in what waits for the link; NULL: none. */
static const Pasid__V1__Reply *find_reply(struct link *link)
{
	while (rig_read(r, link)) {
		for (size_t i = 0; i < r->got->n_replies; i++)
			if (r->got->replies[i]->id == ID)
				return r->got->replies[i];
	}
	return NULL;
}

/* Asks without memory from the n-th allocation on; returns whether some was missing. */
static bool ask_without_memory(
	const struct change_case *change, struct link **link, unsigned n, bool *ret_done)
{
	const uint32_t before = change->count();
	const Pasid__V1__Reply *reply;
	bool failed;

	memory_fail_after(n);
	(void)send_change(change, *link);
	failed = memory_recover();
	model_run(&r->f);
	memory_fail_after(n);
	dispatch_pump(r->d);
	failed = memory_recover() || failed;
	*ret_done = false;
	if (dispatch_doomed(*link)) {
		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, *link, false, &user));
		*link = connect_vmm(true);
		return failed;
	}
	reply = find_reply(*link);
	ck_assert_msg(reply != NULL, "neither a reply nor an end of the connection");
	*ret_done = reply->status == NULL;
	if (!*ret_done) {
		ck_assert_int_eq(reply->status->code, PASID__V1__CODE__RETRY);
		ck_assert_uint_eq(change->count(), before);
	}
	return failed;
}

static bool try_case(const struct change_case *change, unsigned n)
{
	struct link *link;
	const Pasid__V1__Reply *reply;
	bool failed, done;

	rig_close(r);
	rig_config(r);
	rig_open(r);
	link = change->before();
	failed = ask_without_memory(change, &link, n, &done);
	if (done)
		ck_assert_uint_eq(change->count(), change->after);
	/* Asked again, with memory: the reply that it had, or it is done now. */
	ck_assert_int_eq(send_change(change, link), 0);
	rig_run(r);
	reply = find_reply(link);
	ck_assert_ptr_nonnull(reply);
	ck_assert_msg(!reply->status, "%s", reply->status ? reply->status->message : "");
	ck_assert_uint_eq(change->count(), change->after);
	return failed;
}

START_TEST(without_memory_a_change_is_not_done_or_its_reply_is_had)
	{
		unsigned failures = 0;

		for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
			for (unsigned n = 0; try_case(&cases[i], n); n++)
				failures++;
		ck_assert_uint_ge(failures, 2); /* replies need no memory of their own */
	}
END_TEST

/* ---------------------------------------------------------------- accounts */

static void fill_output(struct link *link)
{
	uint8_t payload[WIRE_STRING_MAX] = {0};
	Pasid__V1__Ping big = PASID__V1__PING__INIT;

	big.payload = (ProtobufCBinaryData){sizeof(payload), payload};
	rig_begin(r);
	for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
		rig_add(r, OPERATION(PING), &big);
	ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
}

static void restart_with(enum resource resource, uint32_t of_user)
{
	rig_close(r);
	rig_config(r);
	r->limits_config.of[resource].user = of_user;
	rig_open(r);
}

START_TEST(unread_replies_of_a_user_hold_that_user_only)
	{
		struct link *idle, *busy, *other;
		const Pasid__V1__Reply *reply;

		restart_with(RESOURCE_UNREAD, 131072);
		idle = before_allocate();
		busy = rig_hello(r, ROLE_VMM);
		other = rig_hello(r, ROLE_ADMIN);
		while (dispatch_readable(r->d, busy))
			fill_output(busy);
		ck_assert(!dispatch_readable(r->d, idle));
		ck_assert(dispatch_readable(r->d, other));
		/* What was on its way already is done while there is room, and then it is not. */
		for (unsigned i = 0; i < 8; i++)
			fill_output(busy);
		ck_assert_int_eq(send_change(&cases[1], idle), 0);
		reply = find_reply(idle);
		ck_assert_ptr_nonnull(reply);
		rig_expect(r, reply, REASON_OVERLOAD);
		ck_assert_uint_eq(count_numbers(), 0);
		(void)rig_ok(r, other, OPERATION(PING), &ping);
		while (rig_read(r, busy))
			;
		ck_assert(dispatch_readable(r->d, idle));
		ck_assert_int_eq(send_change(&cases[1], idle), 0);
		ck_assert_ptr_null(find_reply(idle)->status);
		ck_assert_uint_eq(count_numbers(), 1);
	}
END_TEST

START_TEST(the_account_of_unread_bytes_is_what_is_unread)
	{
		struct link *link = rig_hello(r, ROLE_VMM);
		const struct account *host =
			limits_account(r->f.limits, LIMITS_NO_USER, RESOURCE_UNREAD);

		ck_assert_uint_eq(host->current, 0);
		fill_output(link);
		ck_assert_uint_ge(host->current, dispatch_unsent(link));
		ck_assert_uint_lt(host->current, dispatch_unsent(link) + 2 * 4096ul);
		ck_assert_uint_gt(host->current, 256ul * WIRE_STRING_MAX);
		ck_assert_uint_eq(limits_sum(r->f.limits, RESOURCE_UNREAD), host->current);
		while (rig_read(r, link))
			;
		ck_assert_uint_eq(host->current, 0);
	}
END_TEST

START_TEST(what_is_under_way_keeps_room_for_its_reply_while_it_is_waited_for)
	{
		struct link *link = before_bind();
		const struct account *host =
			limits_account(r->f.limits, LIMITS_NO_USER, RESOURCE_UNREAD);

		ck_assert_int_eq(send_change(&cases[4], link), 0);
		ck_assert_uint_gt(host->current, DISPATCH_STATUS);
		ck_assert_ptr_nonnull(dispatch_disconnect(r->d, link, false, &user));
		ck_assert_uint_eq(host->current, 0);
		link = connect_vmm(true);
		ck_assert_int_eq(send_change(&cases[4], link), 0); /* waits again */
		ck_assert_uint_gt(host->current, DISPATCH_STATUS);
		rig_run(r);
		ck_assert_ptr_null(find_reply(link)->status);
		ck_assert_uint_eq(host->current, 0);
	}
END_TEST

/* Changes whose replies are refusals, which are remembered. */
static void fill_memory(struct link *link)
{
	Pasid__V1__GuestDetach detach = PASID__V1__GUEST_DETACH__INIT;

	rig_begin(r);
	for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
		rig_add(r, OPERATION(GUEST_DETACH), &detach);
	ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
	while (rig_read(r, link))
		;
}

static void say_seen(struct link *link)
{
	rig_begin(r);
	wire_out_uint(&r->out, WIRE_TO_SERVER_SEEN_BELOW, r->last_id + 1);
	ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
}

START_TEST(a_change_whose_reply_could_not_be_remembered_is_not_done)
	{
		struct link *link, *full[4];
		const Pasid__V1__Reply *reply;
		const struct account *host;

		restart_with(RESOURCE_REMEMBERED, 131072);
		host = limits_account(r->f.limits, LIMITS_NO_USER, RESOURCE_REMEMBERED);
		link = before_allocate();
		say_seen(link); /* nothing of its own makes room */
		for (size_t i = 0; i < ARRAY_SIZE(full); i++) {
			full[i] = rig_hello(r, ROLE_VMM);
			fill_memory(full[i]);
		}
		ck_assert_uint_gt(host->current, 131072 - 1024);
		ck_assert_uint_le(host->current, 131072);
		ck_assert_int_eq(send_change(&cases[1], link), 0);
		reply = find_reply(link);
		rig_expect(r, reply, REASON_OVERLOAD);
		ck_assert_uint_eq(count_numbers(), 0);
		/* Others are not affected, and who has replies of its own makes room with them. */
		fill_memory(full[3]);
		say_seen(full[0]);
		ck_assert_int_eq(send_change(&cases[1], link), 0);
		ck_assert_ptr_null(find_reply(link)->status);
		ck_assert_uint_eq(count_numbers(), 1);
	}
END_TEST

/* ---------------------------------------------------------------- cost */

START_TEST(a_datagram_does_not_ask_for_any_number_of_numbers)
	{
		struct link *link = before_allocate();
		uint64_t cost;

		allocate.count = BROKER_ALLOCATE_MAX;
		rig_begin(r);
		for (unsigned i = 0; i < WIRE_REQUESTS_MAX - 1; i++)
			rig_add(r, OPERATION(ALLOCATE), &allocate);
		rig_add(r, OPERATION(PING), &ping);
		cost = dispatch_cost(r->d);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		cost = dispatch_cost(r->d) - cost;
		ck_assert_uint_eq(count_numbers(), DISPATCH_COST_MAX);
		ck_assert_uint_le(
			cost, DISPATCH_COST_MAX + WIRE_DATAGRAM_MAX / 32 + WIRE_REQUESTS_MAX);
		ck_assert_uint_eq(dispatch_refusals(r->d, REASON_OVERLOAD),
			WIRE_REQUESTS_MAX - 1 - DISPATCH_COST_MAX / BROKER_ALLOCATE_MAX);
		/* What costs nothing is answered all the same, and the rest in the next one. */
		while (rig_read(r, link))
			;
		ck_assert_uint_eq(r->got->replies[r->got->n_replies - 1]->id, r->last_id);
		ck_assert_ptr_null(r->got->replies[r->got->n_replies - 1]->status);
		(void)rig_ok(r, link, OPERATION(ALLOCATE), &allocate);
	}
END_TEST

START_TEST(what_cannot_be_divided_is_done_when_it_comes_first)
	{
		struct link *link = before_allocate();

		allocate.count = BROKER_ALLOCATE_MAX;
		for (unsigned i = 0; i < 4; i++)
			(void)rig_ok(r, link, OPERATION(ALLOCATE), &allocate);
		free_all.all = true;
		rig_begin(r);
		allocate.count = 1;
		rig_add(r, OPERATION(ALLOCATE), &allocate);
		rig_add(r, OPERATION(FREE), &free_all); /* 16385 numbers */
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		while (rig_read(r, link))
			;
		rig_expect(r, r->got->replies[1], REASON_OVERLOAD);
		(void)rig_ok(r, link, OPERATION(FREE), &free_all);
		ck_assert_uint_eq(count_numbers(), 0);
	}
END_TEST

START_TEST(a_datagram_has_as_many_requests_as_were_announced)
	{
		struct link *link;
		Pasid__V1__Hello hello = hello_message(false);

		rig_close(r);
		rig_config(r);
		r->config.requests_max = 3;
		rig_open(r);
		link = rig_connect(r, RIG_VMM_UID);
		ck_assert_uint_eq(
			rig_ok(r, link, OPERATION(HELLO), &hello)->hello->request_limit, 3);
		rig_begin(r);
		for (unsigned i = 0; i < 4; i++)
			rig_add(r, OPERATION(PING), &ping);
		ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
		ck_assert(rig_read(r, link));
		ck_assert_ptr_nonnull(r->got->refused);
		ck_assert_str_eq(r->got->refused->reason, reason_text(REASON_TOO_LARGE));
		ck_assert_uint_eq(dispatch_edge(r->d, EDGE_DATAGRAMS_REFUSED), 1);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		without_memory_a_change_is_not_done_or_its_reply_is_had,
		unread_replies_of_a_user_hold_that_user_only,
		the_account_of_unread_bytes_is_what_is_unread,
		what_is_under_way_keeps_room_for_its_reply_while_it_is_waited_for,
		a_change_whose_reply_could_not_be_remembered_is_not_done,
		a_datagram_does_not_ask_for_any_number_of_numbers,
		what_cannot_be_divided_is_done_when_it_comes_first,
		a_datagram_has_as_many_requests_as_were_announced,
	};

	return rig_main(r, "dispatch_room", tests, ARRAY_SIZE(tests));
}
