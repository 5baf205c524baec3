/* SPDX-License-Identifier: MIT */
/*
 * Several peers, some hostile, do random things through datagrams: requests good and bad, the same
 * ids again, lost connections, deaths, deadlines, hardware that fails. After each history nothing
 * is left, all invariants hold throughout, and every request whose session lives has exactly one
 * reply.
 */
#include "dispatch_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEERS   4
#define STEPS   1500
#define SEEDS   8
#define DEVICES 6

static struct rig rig, *const r = &rig;
static uint64_t state;

static uint32_t random_below(uint32_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % limit;
}

/* A client as the test sees it. */
struct peer_model {
	struct link *link;
	struct session *parked;
	uint64_t id; /* the last one used */
	uint64_t devices[4];
	uint32_t numbers[8]; /* some that it was given */
	uint32_t waiting;    /* replies that are still to come on this connection */
	uint8_t token[WIRE_TOKEN_SIZE];
	bool has_token;
};

static struct peer_model peers[PEERS];

/* ---------------------------------------------------------------- what is asked */

union any_message {
	Pasid__V1__SetCreate set_create;
	Pasid__V1__SetDestroy set_destroy;
	Pasid__V1__Allocate allocate;
	Pasid__V1__Free free;
	Pasid__V1__GuestAttach guest_attach;
	Pasid__V1__HostFind host_find;
	Pasid__V1__GrantList grant_list;
	Pasid__V1__DeviceAdd device_add;
	Pasid__V1__DeviceSlice device_slice;
	Pasid__V1__DeviceRemove device_remove;
	Pasid__V1__Unbind unbind;
	Pasid__V1__Watch watch;
};

static const char *const names[] = {"vm0", "vm1", "vm2", "vm3", "", "b a d"};
static const char *const addresses[] = {"00:02.0", "00:01.0", "00:03.7", "nowhere"};

/* One's own number, somebody else's, or none. */
static uint32_t some_number(const struct peer_model *peer)
{
	const struct peer_model *whose = random_below(4) ? peer : &peers[random_below(PEERS)];

	return random_below(8) ? whose->numbers[random_below(8)] : random_below(5000);
}

static uint64_t some_device(const struct peer_model *peer)
{
	const struct peer_model *whose = random_below(4) ? peer : &peers[random_below(PEERS)];

	return whose->devices[random_below(4)];
}

static void add_bind(struct peer_model *peer)
{
	Pasid__V1__Bind bind = PASID__V1__BIND__INIT;
	Pasid__V1__PasidRef pasid = PASID__V1__PASID_REF__INIT;
	Pasid__V1__Table table = PASID__V1__TABLE__INIT;
	Pasid__V1__BindPair pair[2] = {PASID__V1__BIND_PAIR__INIT, PASID__V1__BIND_PAIR__INIT};
	Pasid__V1__BindPair *pairs[2] = {&pair[0], &pair[1]};

	pasid.key_case = PASID__V1__PASID_REF__KEY_HOST;
	pasid.host = some_number(peer);
	table.source_case = PASID__V1__TABLE__SOURCE_SPACE;
	for (int i = 0; i < 2; i++) {
		pair[i].device = some_device(peer);
		pair[i].table = &table;
	}
	bind.pasid = &pasid;
	bind.n_pairs = 1 + random_below(2);
	bind.pairs = pairs;
	rig_add_as(r, ++peer->id, random_below(2) ? random_below(50) : RIG_NO_DEADLINE, 0,
		OPERATION(BIND), &bind);
}

static void add_unbind_or_free(struct peer_model *peer)
{
	Pasid__V1__PasidRef pasid = PASID__V1__PASID_REF__INIT, *pasids = &pasid;
	union any_message m;

	pasid.key_case = PASID__V1__PASID_REF__KEY_HOST;
	pasid.host = some_number(peer);
	if (random_below(2)) {
		pasid__v1__unbind__init(&m.unbind);
		m.unbind.pasid = &pasid;
		rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 0, OPERATION(UNBIND), &m);
		return;
	}
	pasid__v1__free__init(&m.free);
	m.free.all = random_below(20) == 0;
	m.free.n_pasids = m.free.all ? 0 : 1;
	m.free.pasids = &pasids;
	rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 0, OPERATION(FREE), &m);
}

static void add_other(struct peer_model *peer)
{
	union any_message m;

	switch (random_below(6)) {
	case 0:
		pasid__v1__guest_attach__init(&m.guest_attach);
		m.guest_attach.host_pasid = some_number(peer);
		m.guest_attach.guest_pasid = 1 + random_below(10);
		rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 0, OPERATION(GUEST_ATTACH), &m);
		break;
	case 1:
		pasid__v1__device_slice__init(&m.device_slice);
		m.device_slice.key_case = PASID__V1__DEVICE_SLICE__KEY_ADDRESS;
		m.device_slice.address = (char *)addresses[random_below(4)];
		rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 0, OPERATION(DEVICE_SLICE), &m);
		break;
	case 2:
		pasid__v1__device_remove__init(&m.device_remove);
		m.device_remove.device = some_device(peer);
		rig_add_as(r, ++peer->id, random_below(100), 0, OPERATION(DEVICE_REMOVE), &m);
		break;
	case 3:
		pasid__v1__grant_list__init(&m.grant_list);
		m.grant_list.quarantined = true;
		rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 0, OPERATION(GRANT_LIST), &m);
		break;
	case 4:
		pasid__v1__watch__init(&m.watch);
		m.watch.stop = (protobuf_c_boolean)random_below(2);
		rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 0, OPERATION(WATCH), &m);
		break;
	default:
		pasid__v1__set_destroy__init(&m.set_destroy);
		m.set_destroy.force = random_below(4) == 0;
		rig_add_as(r, ++peer->id, random_below(100), 0, OPERATION(SET_DESTROY), &m);
		break;
	}
}

static void add_request(struct peer_model *peer)
{
	union any_message m;

	switch (random_below(5)) {
	case 0:
		pasid__v1__set_create__init(&m.set_create);
		m.set_create.name = (char *)names[random_below(6)];
		rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 0, OPERATION(SET_CREATE), &m);
		break;
	case 1:
		pasid__v1__allocate__init(&m.allocate);
		m.allocate.count = random_below(4);
		rig_add_as(r, ++peer->id, random_below(10), 0, OPERATION(ALLOCATE), &m);
		break;
	case 2:
		add_bind(peer);
		break;
	case 3:
		add_unbind_or_free(peer);
		break;
	default:
		add_other(peer);
		break;
	}
	peer->waiting++;
}

/* ---------------------------------------------------------------- what is answered */

static void note_reply(struct peer_model *peer, const Pasid__V1__Reply *reply)
{
	ck_assert_uint_gt(peer->waiting, 0);
	peer->waiting--;
	if (reply->result_case == PASID__V1__REPLY__RESULT_HELLO) {
		memcpy(peer->token, reply->hello->resume_token.data, WIRE_TOKEN_SIZE);
		peer->has_token = true;
	}
	if (reply->result_case == PASID__V1__REPLY__RESULT_ALLOCATE)
		peer->numbers[random_below(8)] = reply->allocate->runs[0]->first;
	if (reply->result_case == PASID__V1__REPLY__RESULT_DEVICE_ADD)
		peer->devices[random_below(4)] = reply->device_add->id;
	if (reply->result_case == PASID__V1__REPLY__RESULT_DEVICE_SLICE)
		peer->devices[random_below(4)] = reply->device_slice->id;
}

static void read_replies(struct peer_model *peer)
{
	while (peer->link && rig_read(r, peer->link)) {
		for (size_t i = 0; i < r->got->n_replies; i++)
			note_reply(peer, r->got->replies[i]);
	}
}

/* ---------------------------------------------------------------- what happens */

/* The dispatcher is done with a parked session. */
static void come_back(void *user)
{
	struct peer_model *peer = user;

	ck_assert_ptr_nonnull(peer->parked);
	peer->parked = NULL;
}

static void say_hello(struct peer_model *peer, bool resume)
{
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;

	hello.version_min = hello.version_max = 1;
	if (resume && peer->has_token) {
		hello.resume_case = PASID__V1__HELLO__RESUME_RESUME_TOKEN;
		hello.resume_token = (ProtobufCBinaryData){WIRE_TOKEN_SIZE, peer->token};
	}
	rig_begin(r);
	rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 0, OPERATION(HELLO), &hello);
	peer->waiting++;
	ck_assert_int_eq(rig_send(r, peer->link, NULL, 0), 0);
	read_replies(peer);
}

static void step_connection(struct peer_model *peer)
{
	if (peer->parked && random_below(3) == 0) {
		dispatch_peer_dead(r->d, peer->parked);
		ck_assert_ptr_null(peer->parked);
		return;
	}
	if (!peer->link) {
		peer->link = rig_connect(r, RIG_VMM_UID);
		say_hello(peer, true);
		if (!link_session(peer->link))
			say_hello(peer, false);
		return;
	}
	if (random_below(10))
		return;
	peer->parked = dispatch_disconnect(r->d, peer->link, random_below(3) == 0, peer);
	peer->link = NULL;
	peer->waiting = 0;
}

static void step_device(struct peer_model *peer)
{
	Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
	int fds[] = {5 + (int)(peer - peers), MODEL_DEVICE_FD(random_below(DEVICES))};
	size_t count = random_below(8) ? 2 : random_below(3);

	rig_begin(r);
	rig_add_as(r, ++peer->id, RIG_NO_DEADLINE, 2, OPERATION(DEVICE_ADD), &add);
	peer->waiting++;
	ck_assert_int_eq(rig_send(r, peer->link, fds, count), 0);
}

static void step_requests(struct peer_model *peer)
{
	uint32_t count = 1 + random_below(6);

	rig_begin(r);
	if (random_below(3) == 0 && !peer->waiting)
		wire_out_uint(&r->out, WIRE_TO_SERVER_SEEN_BELOW, peer->id);
	for (uint32_t i = 0; i < count; i++)
		add_request(peer);
	ck_assert_int_eq(rig_send(r, peer->link, NULL, 0), 0);
	if (random_below(6))
		return;
	/* All of it once more, if it is answered, be it with PENDING: nothing is done twice. */
	read_replies(peer);
	if (peer->waiting)
		return;
	peer->waiting = count;
	ck_assert_int_eq(rig_send(r, peer->link, NULL, 0), 0);
}

static void step_hardware(void)
{
	if (random_below(12) == 0) {
		r->f.model.fail_kind = random_below(2) ? HW_ATTACH : HW_OPEN;
		r->f.model.fail_status = STATUS_HARDWARE;
		r->f.model.fail_times = 1;
	}
	for (uint32_t i = random_below(4); i > 0; i--)
		(void)model_step(&r->f, random_below(4));
	dispatch_pump(r->d);
}

static void step(void)
{
	struct peer_model *peer = &peers[random_below(PEERS)];

	if (!peer->link || random_below(8) == 0)
		step_connection(peer);
	else if (random_below(10) == 0)
		step_device(peer);
	else
		step_requests(peer);
	if (random_below(2))
		step_hardware();
	if (random_below(4) == 0) {
		r->f.now_ms += random_below(400);
		dispatch_tick(r->d);
	}
	if (random_below(3))
		read_replies(peer);
}

static void play(uint64_t seed)
{
	Pasid__V1__DeviceShare share = PASID__V1__DEVICE_SHARE__INIT;
	struct link *admin = rig_hello(r, ROLE_ADMIN);

	state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	share.address = "00:02.0";
	(void)rig_ok(r, admin, OPERATION(DEVICE_SHARE), &share);
	for (unsigned i = 0; i < STEPS; i++) {
		step();
		if (i % 50 == 0)
			rig_check(r);
	}
	for (struct peer_model *peer = peers; peer < &peers[PEERS]; peer++) {
		rig_run(r);
		read_replies(peer);
		/* a request whose deadline passed has had its reply, and is not waited for */
		ck_assert_uint_eq(peer->waiting, 0);
		if (peer->link)
			(void)dispatch_disconnect(r->d, peer->link, true, NULL);
	}
	r->f.now_ms += 60000;
	dispatch_tick(r->d);
	rig_run(r);
	ck_assert_uint_eq(dispatch_operations(r->d), 0);
	ck_assert_uint_eq(dispatch_sessions(r->d), 1);
	rig_check(r);
}

START_TEST(random_histories_keep_every_promise)
	{
		(void)fprintf(stderr, "seed %d\n", _i);
		play((uint64_t)_i + 1);
	}
END_TEST

static void setup(void)
{
	rig_config(r);
	r->on_unpark = come_back;
	rig_open(r);
}

static void teardown(void)
{
	rig_close(r);
}

int main(void)
{
	TCase *all = tcase_create("dispatch_random");
	Suite *suite = suite_create("dispatch_random");
	SRunner *runner = srunner_create(suite);
	const char *rounds = getenv("PASIDD_TEST_ROUNDS");
	int seeds = SEEDS * (rounds ? (int)strtol(rounds, NULL, 10) : 1);
	int failed;

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_loop_test(all, random_histories_keep_every_promise, 0, seeds);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
