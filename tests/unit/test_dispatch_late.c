/* SPDX-License-Identifier: MIT */
/* What comes late or was interrupted, and who hears of it: outcomes, restarts, handed connections.
 */
#include "broker_private.h"
#include "dispatch_private.h"
#include "dispatch_rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RID 8u
#define ID  77u

static struct rig rig, *const r = &rig;
static int user; /* its address is what a server would keep for a parked session */

static Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

static void reopen(void)
{
	rig_open(r);
}

static void config(void)
{
	rig_close(r);
	rig_config(r);
}

static void send_as(struct link *link, uint64_t id, uint32_t deadline, uint32_t operation,
	const void *message, const int *fds, uint32_t fd_count)
{
	rig_begin(r);
	rig_add_as(r, id, deadline, fd_count, operation, message);
	ck_assert_int_eq(rig_send(r, link, fds, fd_count), 0);
}

static void send_device_add(struct link *link, uint64_t id, uint32_t deadline)
{
	send_as(link, id, deadline, OPERATION(DEVICE_ADD), &add, (int[]){5, MODEL_DEVICE_FD(RID)},
		2);
}

/* ---------------------------------------------------------------- outcomes */

/* An unbind of a number that is bound nowhere ends at once. */
static void end_with(const struct actor *actor, uint32_t host, uint64_t cookie)
{
	const struct pasid_ref ref = {false, host};

	ck_assert_int_eq(broker_unbind(r->f.broker, actor, (struct set_id){0}, ref, NULL, 0, cookie,
				 &r->error),
		0);
	rig_run(r);
}

START_TEST(an_outcome_that_nobody_asked_for_is_told_nobody)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		const struct actor actor = {ROLE_VMM, link_session(vmm), link_set(vmm), &r->f.peer};
		const uint32_t host = rig_allocate(r, vmm);
		const uint64_t first = UINT64_C(1) << 32 | 1;

		send_device_add(vmm, ++r->last_id, RIG_NO_DEADLINE);
		rig_run(r);
		ck_assert(rig_read(r, vmm));
		end_with(&actor, host, 0);
		end_with(&actor, host, 4711);
		end_with(&actor, host, first); /* it is over */
		ck_assert_uint_eq(dispatch_operations(r->d), 0);
		r->f.model.hung_lane = actor.set.v;
		add.open_case = PASID__V1__DEVICE_ADD__OPEN__NOT_SET;
		send_as(vmm, ++r->last_id, RIG_NO_DEADLINE, OPERATION(DEVICE_ADD), &add,
			(int[]){5, MODEL_DEVICE_FD(RID + 1)}, 2);
		ck_assert_uint_eq(dispatch_operations(r->d), 1);
		end_with(&actor, host, first); /* its place has another use */
		ck_assert_uint_eq(dispatch_operations(r->d), 1);
		ck_assert(!rig_read(r, vmm));
		r->f.model.hung_lane = 0;
		rig_run(r);
		ck_assert_uint_eq(dispatch_operations(r->d), 0);
		ck_assert_ptr_null(rig_reply(r, vmm, r->last_id)->status);
	}
END_TEST

START_TEST(a_descriptor_for_a_session_that_ended_is_closed)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		bool closed = false;

		r->f.model.next_fd = 300;
		add.open_case = PASID__V1__DEVICE_ADD__OPEN_ADDRESS;
		add.address = "0000:00:01.0";
		send_as(vmm, ++r->last_id, RIG_NO_DEADLINE, OPERATION(DEVICE_ADD), &add, (int[]){5},
			1);
		ck_assert_ptr_null(dispatch_disconnect(r->d, vmm, true, NULL));
		rig_run(r);
		for (unsigned i = 0; i < r->disposed_count; i++)
			closed = closed || r->disposed[i] == 300;
		ck_assert(closed);
		ck_assert_uint_eq(dispatch_operations(r->d), 0);
	}
END_TEST

START_TEST(operations_of_all_have_a_limit_and_the_end_of_a_set_has_none)
	{
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		struct link *one, *two;

		config();
		r->config.operations_max = 1;
		reopen();
		one = rig_vmm(r, "vm1", SET_TRANSLATED);
		two = rig_vmm(r, "vm2", SET_TRANSLATED);
		send_device_add(one, ++r->last_id, RIG_NO_DEADLINE);
		send_device_add(two, ++r->last_id, RIG_NO_DEADLINE);
		rig_expect(r, rig_reply(r, two, r->last_id), REASON_OVERLOAD);
		(void)rig_ok(r, two, OPERATION(SET_DESTROY), &destroy);
		(void)rig_device(r, rig_vmm(r, "vm3", SET_TRANSLATED), RID + 2, 6);
	}
END_TEST

START_TEST(nobody_waits_for_a_function_longer_than_a_minute)
	{
		Pasid__V1__RidAttach attach = PASID__V1__RID_ATTACH__INIT;
		Pasid__V1__Table table = PASID__V1__TABLE__INIT;
		Pasid__V1__BindPair pair = PASID__V1__BIND_PAIR__INIT;
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);

		pair.device = rig_device(r, vmm, RID, 5);
		table.source_case = PASID__V1__TABLE__SOURCE_SPACE;
		pair.table = &table;
		attach.pair = &pair;
		send_as(vmm, ID, 600000, OPERATION(RID_ATTACH), &attach, NULL, 0);
		broker_flush(r->f.broker);
		ck_assert_uint_eq(r->f.model.ops[0].until_ms - r->f.now_ms,
			DISPATCH_PATIENCE_MAX_MS / UINT64_C(8) * 7);
		rig_run(r);
		ck_assert_ptr_null(rig_reply(r, vmm, ID)->status);
	}
END_TEST

START_TEST(a_set_may_be_gone_after_its_connection)
	{
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		struct session *session;

		(void)rig_device(r, vmm, RID, 5);
		destroy.force = true;
		send_as(vmm, ID, RIG_NO_DEADLINE, OPERATION(SET_DESTROY), &destroy, NULL, 0);
		session = dispatch_disconnect(r->d, vmm, false, &user);
		ck_assert_ptr_nonnull(session);
		ck_assert_uint_ne(session->set.v, 0);
		rig_run(r);
		ck_assert_uint_eq(session->set.v, 0);
	}
END_TEST

/* ---------------------------------------------------------------- no room for a reply */

/* What this connection of the user does not read leaves none to others of it. */
static void fill_account(struct link *busy)
{
	uint8_t payload[WIRE_STRING_MAX] = {0};
	Pasid__V1__Ping big = PASID__V1__PING__INIT;

	big.payload = (ProtobufCBinaryData){sizeof(payload), payload};
	for (unsigned n = 0; n < 16; n++) {
		rig_begin(r);
		for (unsigned i = 0; i < WIRE_REQUESTS_MAX; i++)
			rig_add(r, OPERATION(PING), &big);
		ck_assert_int_eq(rig_send(r, busy, NULL, 0), 0);
	}
	ck_assert(!dispatch_readable(r->d, busy));
}

START_TEST(who_has_no_room_for_a_reply_is_told_so_and_asks_again)
	{
		struct link *vmm, *busy;

		config();
		r->limits_config.of[RESOURCE_UNREAD].user = 131072;
		reopen();
		vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		busy = rig_hello(r, ROLE_VMM);
		send_as(vmm, ID, RIG_NO_DEADLINE, OPERATION(ALLOCATE), &allocate, NULL, 0);
		ck_assert(rig_read(r, vmm));
		send_device_add(vmm, ID + 1, 0); /* under way, and not waited for */
		rig_expect(r, rig_reply(r, vmm, ID + 1), REASON_DEADLINE);
		fill_account(busy);
		send_as(vmm, ID, RIG_NO_DEADLINE, OPERATION(ALLOCATE), &allocate, NULL, 0);
		rig_expect(r, rig_reply(r, vmm, ID), REASON_OVERLOAD);
		send_device_add(vmm, ID + 1, RIG_NO_DEADLINE);
		rig_expect(r, rig_reply(r, vmm, ID + 1), REASON_OVERLOAD);
		send_device_add(vmm, ID + 2, RIG_NO_DEADLINE);
		rig_expect(r, rig_reply(r, vmm, ID + 2), REASON_OVERLOAD);
		while (rig_read(r, busy))
			;
		send_as(vmm, ID, RIG_NO_DEADLINE, OPERATION(ALLOCATE), &allocate, NULL, 0);
		ck_assert_uint_eq(rig_reply(r, vmm, ID)->allocate->runs[0]->first, 1024);
		rig_run(r);
		send_device_add(vmm, ID + 1, RIG_NO_DEADLINE);
		ck_assert_ptr_null(rig_reply(r, vmm, ID + 1)->status);
	}
END_TEST

/* ---------------------------------------------------------------- restarts */

static uint8_t token[WIRE_TOKEN_SIZE];

static struct link *resume(void)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
	struct link *link = rig_connect(r, RIG_VMM_UID);

	hello.version_min = hello.version_max = 1;
	hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
	hello.resume_token = (ProtobufCBinaryData){WIRE_TOKEN_SIZE, token};
	(void)rig_ok(r, link, OPERATION(HELLO), &hello);
	return link;
}

/* The daemon dies while hardware is asked, which refuses; the client asks again, and so does it. */
static void interrupted(struct link *vmm, uint32_t operation, const void *message)
{
	memcpy(token, session_token(r->d->sessions, vmm->session), sizeof(token));
	send_as(vmm, ID, RIG_NO_DEADLINE, operation, message, NULL, 0);
	rig_restart(r);
	vmm = resume();
	send_as(vmm, ID, RIG_NO_DEADLINE, operation, message, NULL, 0);
	rig_run(r);
	rig_expect(r, rig_reply(r, vmm, ID), REASON_KERNEL_REFUSED);
	send_as(vmm, ID + 1, RIG_NO_DEADLINE, operation, message, NULL, 0);
	rig_run(r);
	ck_assert_ptr_null(rig_reply(r, vmm, ID + 1)->status);
}

static void refuse(enum hw_kind kind)
{
	r->f.model.fail_kind = kind;
	r->f.model.fail_status = STATUS_HARDWARE;
	r->f.model.fail_skip = 0;
	r->f.model.fail_times = 2;
}

START_TEST(what_was_interrupted_and_is_refused_for_another_reason_was_not_done)
	{
		Pasid__V1__DeviceRemove removal = PASID__V1__DEVICE_REMOVE__INIT;
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);

		removal.device = rig_device(r, vmm, RID, 5);
		refuse(HW_CLOSE);
		interrupted(vmm, OPERATION(DEVICE_REMOVE), &removal);
	}
END_TEST

START_TEST(an_unbind_that_was_interrupted_and_is_refused_was_not_done)
	{
		Pasid__V1__Unbind unbind = PASID__V1__UNBIND__INIT;
		Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT;
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		const struct actor actor = {ROLE_VMM, link_session(vmm), link_set(vmm), &r->f.peer};
		const struct device_id device = {rig_device(r, vmm, RID, 5)};
		const struct hpasid host = {rig_allocate(r, vmm)};

		ck_assert_int_eq(fixture_bind(&r->f, &actor, host, &device, 1), 0);
		ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
		ref.host = host.v;
		unbind.pasid = &ref;
		refuse(HW_DETACH);
		interrupted(vmm, OPERATION(UNBIND), &unbind);
	}
END_TEST

static int revive_nobody(
	void *ctx, struct session *session, int32_t pid, uint64_t born, void **ret_user)
{
	(void)ctx;
	(void)session;
	(void)pid;
	(void)born;
	(void)ret_user;
	return -EMFILE;
}

/* The daemon starts anew with another port. */
static int restart_with(const struct dispatch_ports *ports)
{
	dispatch_free(r->d);
	ck_assert_int_eq(dispatch_new(&r->config, ports, r->f.broker, &r->d), 0);
	return dispatch_recover(r->d);
}

START_TEST(a_start_fails_when_it_cannot_watch_over_a_session)
	{
		struct dispatch_ports ports = r->d->ports;
		const struct dispatch_ports good = ports;

		(void)rig_vmm(r, "vm1", SET_TRANSLATED);
		ports.revive = revive_nobody;
		ck_assert_int_eq(restart_with(&ports), -EMFILE);
		ck_assert_int_eq(restart_with(&good), 0);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
	}
END_TEST

START_TEST(a_set_of_a_session_that_is_not_recorded_ends_with_a_start)
	{
		const struct set_create create = {.name = "lost", .mode = SET_TRANSLATED};
		const struct actor actor = {ROLE_VMM, 4711, {0}, &r->f.peer};
		struct broker_status status;
		struct set_id set;

		ck_assert_int_eq(
			broker_set_create(r->f.broker, &actor, &create, &set, &r->error), 0);
		fixture_settle(&r->f);
		rig_restart(r);
		rig_run(r);
		broker_status(r->f.broker, &status);
		ck_assert_uint_eq(status.sets, 0);
	}
END_TEST

/* ---------------------------------------------------------------- errors of ours */

static int hand_status;

static int hand_fails(
	void *ctx, struct set_id set, uint32_t uid, int *ret_fd, struct error *ret_error)
{
	(void)ctx;
	(void)set;
	(void)uid;
	(void)ret_fd;
	(void)ret_error;
	return hand_status;
}

START_TEST(an_error_of_ours_is_told_as_one)
	{
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;
		Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		const Pasid__V1__Reply *reply;

		create.name = "handed";
		create.owner_case = PASID__V1__SET_CREATE__OWNER_UID;
		create.uid = 4242;
		reply = rig_ok(r, admin, OPERATION(SET_CREATE), &create);
		ck_assert_uint_eq(reply->set_create->uid, 4242);
		ref.key_case = PASID__V1__SET_REF__KEY_ID;
		ref.id = reply->set_create->id;
		connect.set = &ref;
		r->d->ports.hand = hand_fails;
		hand_status = -ENOMEM;
		rig_refused(r, admin, OPERATION(SET_CONNECT), &connect, REASON_NO_MEMORY);
		hand_status = -EIO;
		reply = rig_call(r, admin, OPERATION(SET_CONNECT), &connect);
		rig_expect(r, reply, REASON_INTERNAL);
		ck_assert_int_eq(reply->status->sys_errno, EIO);
		hand_status = 4242; /* which is no status */
		reply = rig_call(r, admin, OPERATION(SET_CONNECT), &connect);
		rig_expect(r, reply, REASON_INTERNAL);
		ck_assert_int_eq(reply->status->sys_errno, 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		an_outcome_that_nobody_asked_for_is_told_nobody,
		a_descriptor_for_a_session_that_ended_is_closed,
		operations_of_all_have_a_limit_and_the_end_of_a_set_has_none,
		nobody_waits_for_a_function_longer_than_a_minute,
		a_set_may_be_gone_after_its_connection,
		who_has_no_room_for_a_reply_is_told_so_and_asks_again,
		what_was_interrupted_and_is_refused_for_another_reason_was_not_done,
		an_unbind_that_was_interrupted_and_is_refused_was_not_done,
		a_start_fails_when_it_cannot_watch_over_a_session,
		a_set_of_a_session_that_is_not_recorded_ends_with_a_start,
		an_error_of_ours_is_told_as_one,
	};

	return rig_main(r, "dispatch_late", tests, ARRAY_SIZE(tests));
}
