/* SPDX-License-Identifier: MIT */
/* The daemon is started anew: sessions go on, and what was asked for is done once. */
#include "dispatch_rig.h"
#include "random.h"

#include <string.h>

#define GRACE  UINT64_C(30000)
#define VMM_ID 4711 /* the process of every rig_connect() */

static struct rig rig, *const r = &rig;
static uint8_t token[WIRE_TOKEN_SIZE];
static uint64_t session;

static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
static Pasid__V1__Free free_all = PASID__V1__FREE__INIT;

static struct link *vmm(void)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	struct link *link = rig_connect(r, RIG_VMM_UID);
	const Pasid__V1__Reply *reply;

	hello.version_min = hello.version_max = 1;
	reply = rig_ok(r, link, OPERATION(HELLO), &hello);
	memcpy(token, reply->hello->resume_token.data, WIRE_TOKEN_SIZE);
	session = reply->hello->session;
	create.name = "vm1";
	(void)rig_ok(r, link, OPERATION(SET_CREATE), &create);
	return link;
}

static Pasid__V1__Hello resume_message(void)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
	hello.resume_token = (ProtobufCBinaryData){WIRE_TOKEN_SIZE, token};
	return hello;
}

static const Pasid__V1__HelloResult *resume(struct link **ret_link)
{
	Pasid__V1__Hello hello = resume_message();

	*ret_link = rig_connect(r, RIG_VMM_UID);
	return rig_ok(r, *ret_link, OPERATION(HELLO), &hello)->hello;
}

static void expect_no_session(void)
{
	Pasid__V1__Hello hello = resume_message();

	rig_refused(
		r, rig_connect(r, RIG_VMM_UID), OPERATION(HELLO), &hello, REASON_RESUME_UNKNOWN);
}

static void send_as(struct link *link, uint64_t id, uint32_t operation, const void *message)
{
	rig_begin(r);
	rig_add_as(r, id, RIG_NO_DEADLINE, 0, operation, message);
	ck_assert_int_eq(rig_send(r, link, NULL, 0), 0);
}

static const Pasid__V1__Reply *ask_as(
	struct link *link, uint64_t id, uint32_t operation, const void *message)
{
	send_as(link, id, operation, message);
	rig_run(r);
	return rig_reply(r, link, id);
}

static struct broker_status status(void)
{
	struct broker_status now;

	broker_status(r->f.broker, &now);
	return now;
}

/* ---------------------------------------------------------------- sessions */

START_TEST(a_session_goes_on_after_a_restart)
	{
		struct link *link = vmm();
		const Pasid__V1__HelloResult *hello;
		const Pasid__V1__Reply *reply;
		uint32_t number = rig_allocate(r, link);
		uint64_t id = r->last_id;

		rig_restart(r);
		ck_assert_uint_eq(r->revivals, 1);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
		hello = resume(&link);
		ck_assert(hello->resumed);
		ck_assert_uint_eq(hello->session, session);
		ck_assert_uint_ne(hello->set, 0);
		ck_assert_uint_eq(hello->last_id, id);
		ck_assert_uint_eq(hello->instance.data[0], 2);
		ck_assert_ptr_eq(r->unparked, r->revived);
		/* the reply once more, not another number */
		reply = ask_as(link, id, OPERATION(ALLOCATE), &allocate);
		ck_assert_uint_eq(reply->allocate->runs[0]->first, number);
		ck_assert_uint_eq(status().pasids.current, 1);
		rig_expect(r, ask_as(link, id, OPERATION(FREE), &free_all), REASON_ID_REUSED);
	}
END_TEST

START_TEST(a_session_that_is_resumed_is_there_after_the_next_restart)
	{
		struct link *link = vmm();

		for (int i = 0; i < 5; i++) {
			rig_restart(r);
			ck_assert(resume(&link)->resumed);
			(void)rig_allocate(r, link);
		}
		ck_assert_uint_eq(status().pasids.current, 5);
	}
END_TEST

START_TEST(the_grace_period_runs_from_the_restart)
	{
		(void)vmm();
		r->f.now_ms += 10 * GRACE;
		rig_restart(r);
		ck_assert_uint_le(dispatch_next_tick(r->d), r->f.now_ms + GRACE);
		r->f.now_ms += GRACE - 1;
		dispatch_tick(r->d);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
		r->f.now_ms += 1;
		dispatch_tick(r->d);
		rig_run(r);
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
		ck_assert_uint_eq(status().sets, 0);
		expect_no_session();
		rig_restart(r);
		expect_no_session();
	}
END_TEST

START_TEST(whose_process_is_dead_ends_at_once)
	{
		(void)vmm();
		r->dead = VMM_ID;
		rig_restart(r);
		rig_run(r);
		ck_assert_uint_eq(dispatch_sessions(r->d), 0);
		ck_assert_uint_eq(status().sets, 0);
		expect_no_session();
	}
END_TEST

START_TEST(whose_process_dies_later_ends_then)
	{
		(void)vmm();
		rig_restart(r);
		dispatch_peer_dead(r->d, r->revived);
		ck_assert_uint_eq(r->unparks, 1);
		ck_assert_uint_eq(status().sets, 0);
	}
END_TEST

START_TEST(who_only_looks_has_nothing_to_come_back_to)
	{
		(void)rig_hello(r, ROLE_OBSERVER);
		(void)rig_hello(r, ROLE_ADMIN);
		rig_restart(r);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1);
	}
END_TEST

START_TEST(a_set_whose_session_is_not_there_ends)
	{
		(void)vmm();
		(void)fixture_vmm(&r->f, 4242, "lost", SET_TRANSLATED, 0);
		ck_assert_uint_eq(status().sets, 2);
		rig_restart(r);
		rig_run(r);
		ck_assert_uint_eq(status().sets, 1);
	}
END_TEST

START_TEST(a_session_whose_set_is_gone_has_none)
	{
		struct link *link = vmm();

		broker_session_end(r->f.broker, session);
		rig_restart(r);
		ck_assert_uint_eq(resume(&link)->set, 0);
	}
END_TEST

START_TEST(what_was_handed_ends_and_its_set_is_emptied)
	{
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
		struct link *admin = rig_hello(r, ROLE_ADMIN), *link;
		uint64_t set;

		create.name = "vm2";
		set = rig_ok(r, admin, OPERATION(SET_CREATE), &create)->set_create->id;
		link = rig_hand(r, admin, set);
		rig_identify(r, link, RIG_VMM_UID);
		hello.version_min = hello.version_max = 1;
		(void)rig_ok(r, link, OPERATION(HELLO), &hello);
		(void)rig_allocate(r, link);
		rig_restart(r);
		rig_run(r);
		ck_assert_uint_eq(dispatch_sessions(r->d), 1); /* the admin's */
		ck_assert_uint_eq(status().sets, 1);
		ck_assert_uint_eq(status().quarantined, 1);
		/* and is there for another one */
		admin = rig_hello(r, ROLE_ADMIN);
		(void)rig_hand(r, admin, set);
	}
END_TEST

/* ---------------------------------------------------------------- interrupted */

struct bound {
	struct link *link;
	uint64_t device;
	uint32_t number;
};

struct bind_message {
	Pasid__V1__Bind bind;
	Pasid__V1__BindPair pair, *pairs[1];
	Pasid__V1__Table table;
	Pasid__V1__PasidRef ref;
};

static const Pasid__V1__Bind *bind_message(struct bind_message *m, uint64_t device, uint32_t number)
{
	*m = (struct bind_message){PASID__V1__BIND__INIT, PASID__V1__BIND_PAIR__INIT, {&m->pair},
		PASID__V1__TABLE__INIT, PASID__V1__PASID_REF__INIT};
	m->ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
	m->ref.host = number;
	m->table.source_case = PASID__V1__TABLE__SOURCE_HWPT;
	m->table.hwpt = 9;
	m->pair.device = device;
	m->pair.table = &m->table;
	m->bind.pasid = &m->ref;
	m->bind.n_pairs = 1;
	m->bind.pairs = m->pairs;
	return &m->bind;
}

static struct bound bound_vmm(void)
{
	struct bound b = {.link = vmm()};
	struct bind_message m;

	b.device = rig_device(r, b.link, 8, 5);
	b.number = rig_allocate(r, b.link);
	(void)rig_ok(r, b.link, OPERATION(BIND), bind_message(&m, b.device, b.number));
	return b;
}

/* Two end in one wake-up, and the daemon dies before that is over: both are done, and told. */
START_TEST(what_ended_is_recorded_with_its_reply)
	{
		struct link *link = vmm();
		uint64_t device = rig_device(r, link, 8, 5), first = r->last_id + 3;
		struct bind_message messages[2];

		for (uint32_t i = 0; i < 2; i++)
			(void)bind_message(&messages[i], device, rig_allocate(r, link));
		for (uint32_t i = 0; i < 2; i++)
			send_as(link, first + i, OPERATION(BIND), &messages[i].bind);
		for (uint32_t i = 0; i < 2; i++) {
			ck_assert(model_step(&r->f, 0));
			dispatch_ended(r->d);
		}
		rig_restart(r);
		(void)resume(&link);
		for (uint32_t i = 0; i < 2; i++)
			ck_assert(!ask_as(link, first + i, OPERATION(BIND), &messages[i].bind)
					   ->status);
	}
END_TEST

/* Begins it, is restarted before there is a reply, and asks again: it is done already. */
static void interrupted(struct link *link, uint32_t operation, const void *message, enum reason why)
{
	uint64_t id = ++r->last_id;
	const Pasid__V1__Reply *reply;

	send_as(link, id, operation, message);
	rig_restart(r);
	(void)resume(&link);
	rig_expect(r, ask_as(link, id, OPERATION(ALLOCATE), &allocate), REASON_ID_REUSED);
	reply = ask_as(link, id, operation, message);
	ck_assert_msg(!reply->status, "%s", reply->status ? reply->status->message : "");
	/* that is its reply from now on */
	rig_restart(r);
	(void)resume(&link);
	ck_assert(!ask_as(link, id, operation, message)->status);
	/* and for whoever asks anew, it is a refusal */
	rig_refused(r, link, operation, message, why);
}

START_TEST(an_unbind_that_was_interrupted_is_done)
	{
		struct bound b = bound_vmm();
		Pasid__V1__Unbind unbind = PASID__V1__UNBIND__INIT;
		Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT;

		ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
		ref.host = b.number;
		unbind.pasid = &ref;
		interrupted(b.link, OPERATION(UNBIND), &unbind, REASON_NOT_BOUND);
		ck_assert(!model_has(&r->f, 8, b.number));
	}
END_TEST

START_TEST(a_removal_that_was_interrupted_is_done)
	{
		struct link *link = vmm();
		Pasid__V1__DeviceRemove removal = PASID__V1__DEVICE_REMOVE__INIT;

		removal.device = rig_device(r, link, 8, 5);
		interrupted(link, OPERATION(DEVICE_REMOVE), &removal, REASON_NO_DEVICE);
	}
END_TEST

START_TEST(the_end_of_a_set_that_was_interrupted_is_done)
	{
		struct bound b = bound_vmm();
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;

		destroy.force = true;
		interrupted(b.link, OPERATION(SET_DESTROY), &destroy, REASON_NO_SET);
		ck_assert_uint_eq(status().bindings, 0);
	}
END_TEST

START_TEST(what_was_refused_is_refused_again)
	{
		struct link *link = vmm();
		Pasid__V1__DeviceRemove removal = PASID__V1__DEVICE_REMOVE__INIT;
		uint64_t id;

		removal.device = 0x1000001;
		rig_refused(r, link, OPERATION(DEVICE_REMOVE), &removal, REASON_NO_DEVICE);
		id = r->last_id;
		rig_restart(r);
		(void)resume(&link);
		rig_expect(
			r, ask_as(link, id, OPERATION(DEVICE_REMOVE), &removal), REASON_NO_DEVICE);
	}
END_TEST

/* ---------------------------------------------------------------- any history */

#define IDS 600

/* What each allocation was told, in the order of ids; 0: the client has no reply. */
static uint32_t told[IDS];
static uint32_t first_id, ids;

static void ask_again(struct link *link, uint32_t n)
{
	const Pasid__V1__Reply *reply = ask_as(link, first_id + n, OPERATION(ALLOCATE), &allocate);
	uint32_t number;

	ck_assert_msg(!reply->status, "%s", reply->status ? reply->status->message : "");
	number = reply->allocate->runs[0]->first;
	ck_assert(told[n] == 0 || told[n] == number);
	told[n] = number;
}

static void send_unheard(struct link *link)
{
	send_as(link, first_id + ids, OPERATION(ALLOCATE), &allocate);
	told[ids++] = 0;
}

START_TEST(each_change_is_done_once_however_often_the_daemon_is_restarted)
	{
		struct link *link = vmm();
		struct random dice = random_begin("dispatch_restart");

		memset(told, 0, sizeof(told));
		first_id = (uint32_t)r->last_id + 1;
		ids = 0;
		r->last_id += 100000; /* hello's ids are not those of changes */
		while (ids < IDS) {
			uint32_t from = ids > 200 ? ids - 200 : 0;

			send_unheard(link);
			if (random_chance(&dice, 50))
				ask_again(link, random_between(&dice, from, ids - 1));
			if (!random_chance(&dice, 20))
				continue;
			rig_restart(r);
			(void)resume(&link);
			for (uint32_t n = from; n < ids; n++) {
				if (told[n] == 0)
					ask_again(link, n);
			}
		}
		ck_assert_uint_eq(status().pasids.current, IDS);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_session_goes_on_after_a_restart,
		a_session_that_is_resumed_is_there_after_the_next_restart,
		the_grace_period_runs_from_the_restart,
		whose_process_is_dead_ends_at_once,
		whose_process_dies_later_ends_then,
		who_only_looks_has_nothing_to_come_back_to,
		a_set_whose_session_is_not_there_ends,
		a_session_whose_set_is_gone_has_none,
		what_was_handed_ends_and_its_set_is_emptied,
		what_ended_is_recorded_with_its_reply,
		an_unbind_that_was_interrupted_is_done,
		a_removal_that_was_interrupted_is_done,
		the_end_of_a_set_that_was_interrupted_is_done,
		what_was_refused_is_refused_again,
		each_change_is_done_once_however_often_the_daemon_is_restarted,
	};

	return rig_main(r, "dispatch_restart", tests, ARRAY_SIZE(tests));
}
