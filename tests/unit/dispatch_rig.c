/* SPDX-License-Identifier: MIT */
#include "dispatch_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t rig_now(void *ctx)
{
	return ((struct rig *)ctx)->f.now_ms;
}

void rig_random(void *ctx, void *ret_bytes, size_t size)
{
	struct rig *r = ctx;
	uint8_t *bytes = ret_bytes;

	for (size_t i = 0; i < size; i++) {
		r->random = r->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		bytes[i] = (uint8_t)(r->random >> 56);
	}
}

static void rig_dispose(void *ctx, int fd)
{
	struct rig *r = ctx;

	ck_assert_int_ge(fd, 0);
	r->disposed[r->disposed_count++ % ARRAY_SIZE(r->disposed)] = fd;
}

static void rig_unpark(void *ctx, void *user)
{
	struct rig *r = ctx;

	r->unparked = user;
	r->unparks++;
	if (r->on_unpark)
		r->on_unpark(user);
}

static int rig_make_handed(
	void *ctx, struct set_id set, uint32_t uid, int *ret_fd, struct error *ret_error)
{
	struct rig *r = ctx;
	int status;

	if (r->refuse_hand)
		return error_set(ret_error, r->refuse_hand, "as the test wants it");
	status = dispatch_connect_handed(r->d, set, uid, &r->handed, ret_error);
	if (!status)
		*ret_fd = RIG_HANDED_FD + (int)r->hands++;
	return status;
}

static int rig_export_fd(void *ctx, struct set_id set, int *ret_fd, struct error *ret_error)
{
	struct rig *r = ctx;
	const struct fake_map *map = fake_export_of(&r->f.exports, set);

	ck_assert(map && map->kept);
	if (r->refuse_hand)
		return error_set(ret_error, r->refuse_hand, "as the test wants it");
	*ret_fd = RIG_HANDED_FD + (int)r->hands++;
	return 0;
}

static void rig_notice_end(void *ctx, void *user)
{
	struct rig *r = ctx;

	(void)user;
	if (r->handed_over)
		(void)dispatch_disconnect(r->d, r->handed, false, NULL);
}

static void rig_close_own(void *ctx, int fd)
{
	struct rig *r = ctx;

	ck_assert_int_ge(fd, RIG_HANDED_FD);
	r->own_closed[r->own_closed_count++ % ARRAY_SIZE(r->own_closed)] = fd;
}

void rig_config(struct rig *r)
{
	static const char *const notes[] = {"a simulated IOMMU"};

	memset(r, 0, sizeof(*r));
	fixture_config(&r->f);
	r->admin_uid = RIG_ADMIN_UID;
	r->observer_uid = RIG_OBSERVER_UID;
	r->f.policy.vmms.everyone = true;
	r->f.policy.global.everyone = r->f.policy.rids.everyone = true;
	r->f.policy.admins = (struct policy_who){.uids = &r->admin_uid, .uid_count = 1};
	r->f.policy.observers = (struct policy_who){.uids = &r->observer_uid, .uid_count = 1};
	r->participant_uid = RIG_PARTICIPANT_UID;
	r->f.policy.participants = (struct policy_who){.uids = &r->participant_uid, .uid_count = 1};
	r->config = (struct dispatch_config){
		.version = "0.1.0",
		.backend = "simulated",
		.instance = {1, 2, 3},
		.notes = notes,
		.note_count = ARRAY_SIZE(notes),
		.policy = &r->f.policy,
	};
	limits_defaults(&r->limits_config);
	r->random = 1;
	r->got_fd = -1;
	wire_arena_init(&r->arena, NULL, WIRE_ARENA_SIZE);
}

static int rig_revive(
	void *ctx, struct session *session, int32_t pid, uint64_t born, void **ret_user)
{
	struct rig *r = ctx;

	(void)born;
	r->revived = session;
	r->revivals++;
	if (pid == r->dead)
		return -ESRCH;
	*ret_user = session;
	return 0;
}

static void rig_open_dispatch(struct rig *r)
{
	struct dispatch_ports ports = {
		.now_ms = rig_now,
		.random = rig_random,
		.dispose_fd = rig_dispose,
		.unpark = rig_unpark,
		.hand = rig_make_handed,
		.export_fd = rig_export_fd,
		.notice_end = rig_notice_end,
		.revive = rig_revive,
		.close_own = rig_close_own,
		.changed = r->changed,
		.settled = r->settled,
		.refused = r->refused,
		.ended = r->ended,
		.ctx = r,
	};

	journal_open(&r->journal, &r->f.state);
	r->config.state = &r->journal.state;
	ck_assert_int_eq(dispatch_new(&r->config, &ports, r->f.broker, &r->d), 0);
	ck_assert_int_eq(dispatch_recover(r->d), 0);
}

void rig_open(struct rig *r)
{
	r->f.limits_config = r->limits_config;
	fixture_open(&r->f);
	r->limits = r->f.limits;
	r->config.limits = r->limits;
	rig_open_dispatch(r);
}

/* What was under way ends without anybody who waits for it. */
static void rig_abandon(struct rig *r)
{
	static struct outcome outcome;

	model_run(&r->f);
	while (broker_next_outcome(r->f.broker, &outcome)) {
		for (uint32_t i = 0; i < outcome.unused_count; i++)
			rig_dispose(r, outcome.unused[i]);
		if (outcome.fd_count)
			rig_dispose(r, outcome.fd);
	}
}

void rig_restart(struct rig *r)
{
	dispatch_free(r->d);
	ck_assert_uint_eq(r->journal.count, 0); /* nothing is recorded as ended */
	rig_abandon(r);
	r->config.instance[0]++;
	rig_open_dispatch(r);
}

/* Nothing that clients were charged for outlives them. */
static void rig_check_released(const struct rig *r)
{
	static const enum resource edge[] = {RESOURCE_CONNECTIONS, RESOURCE_SESSIONS,
		RESOURCE_UNREAD, RESOURCE_REMEMBERED, RESOURCE_WATCHES};

	for (size_t i = 0; i < ARRAY_SIZE(edge); i++) {
		ck_assert_uint_eq(limits_account(r->limits, LIMITS_NO_USER, edge[i])->current, 0);
		ck_assert_uint_eq(limits_sum(r->limits, edge[i]), 0);
	}
}

void rig_close(struct rig *r)
{
	dispatch_free(r->d);
	rig_check_released(r);
	fixture_close(&r->f);
	wire_arena_done(&r->arena);
}

struct link *rig_connect(struct rig *r, uint32_t uid)
{
	struct dispatch_peer peer = {
		.who = {.uid = uid, .group_count = 1, .groups = {uid}}, .pid = 4711};
	struct link *link;

	ck_assert_int_eq(dispatch_connect(r->d, &peer, &link, &r->error), 0);
	return link;
}

void rig_identify(struct rig *r, struct link *link, uint32_t uid)
{
	struct dispatch_peer peer = {
		.who = {.uid = uid, .group_count = 1, .groups = {uid}}, .pid = 4712};

	ck_assert_int_eq(
		dispatch_identify(r->d, link, uid == RIG_NOBODY ? NULL : &peer, &r->error), 0);
}

struct link *rig_hand(struct rig *r, struct link *admin, uint64_t set)
{
	Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;
	Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;
	const Pasid__V1__Reply *reply;

	ref.key_case = PASID__V1__SET_REF__KEY_ID;
	ref.id = set;
	connect.set = &ref;
	reply = rig_ok(r, admin, OPERATION(SET_CONNECT), &connect);
	ck_assert_uint_eq(reply->descriptors, 1);
	ck_assert_int_eq(r->got_fd, RIG_HANDED_FD + (int)r->hands - 1);
	return r->handed;
}

/* ---------------------------------------------------------------- datagrams */

void rig_begin(struct rig *r)
{
	r->out = wire_out_init(r->datagram, sizeof(r->datagram));
}

void rig_add_as(struct rig *r, uint64_t id, uint32_t deadline_ms, uint32_t descriptors,
	uint32_t operation, const void *message)
{
	struct wire_request head = {
		.id = id,
		.operation = operation,
		.descriptors = descriptors,
		.deadline_ms = deadline_ms,
		.has_deadline = deadline_ms != RIG_NO_DEADLINE,
	};

	wire_out_request(&r->out, &head, message);
	ck_assert(!r->out.full);
}

uint64_t rig_add(struct rig *r, uint32_t operation, const void *message)
{
	rig_add_as(r, ++r->last_id, RIG_NO_DEADLINE, 0, operation, message);
	return r->last_id;
}

int rig_send(struct rig *r, struct link *link, const int *fds, size_t fd_count)
{
	int status = dispatch_receive(r->d, link, r->datagram, r->out.size, fds, fd_count, false);

	/* A reply can go out now, so what it tells of must be there after a crash. */
	ck_assert_uint_eq(r->journal.count, 0);
	return status;
}

bool rig_read(struct rig *r, struct link *link)
{
	const struct dispatch_datagram *datagram = dispatch_peek(r->d, link);

	if (!datagram)
		return false;
	ck_assert_uint_le(datagram->size, WIRE_DATAGRAM_MAX);
	wire_arena_reset(&r->arena);
	ck_assert_int_eq(
		wire_unpack_replies(&r->arena, datagram->data, datagram->size, &r->got, &r->error),
		0);
	ck_assert_uint_le(datagram->fd_count, 1);
	r->got_fd = datagram->fd_count ? datagram->fds[0] : -1;
	dispatch_sent(r->d, link);
	return true;
}

const Pasid__V1__Reply *rig_reply(struct rig *r, struct link *link, uint64_t id)
{
	ck_assert_msg(rig_read(r, link), "no datagram where reply %llu was expected",
		(unsigned long long)id);
	for (size_t i = 0; i < r->got->n_replies; i++) {
		if (r->got->replies[i]->id == id)
			return r->got->replies[i];
	}
	ck_abort_msg("no reply %llu", (unsigned long long)id);
}

void rig_run(struct rig *r)
{
	model_run(&r->f);
	dispatch_pump(r->d);
	ck_assert_uint_eq(r->journal.count, 0);
}

const Pasid__V1__Reply *rig_call_fds(struct rig *r, struct link *link, uint32_t operation,
	const void *message, const int *fds, size_t fd_count)
{
	uint64_t id = ++r->last_id;

	rig_begin(r);
	rig_add_as(r, id, RIG_NO_DEADLINE, (uint32_t)fd_count, operation, message);
	ck_assert_int_eq(rig_send(r, link, fds, fd_count), 0);
	rig_run(r);
	return rig_reply(r, link, id);
}

const Pasid__V1__Reply *rig_call(
	struct rig *r, struct link *link, uint32_t operation, const void *message)
{
	return rig_call_fds(r, link, operation, message, NULL, 0);
}

const Pasid__V1__Reply *rig_ok(
	struct rig *r, struct link *link, uint32_t operation, const void *message)
{
	const Pasid__V1__Reply *reply = rig_call(r, link, operation, message);

	ck_assert_msg(!reply->status, "%s", reply->status->message);
	return reply;
}

void rig_expect(struct rig *r, const Pasid__V1__Reply *reply, enum reason reason)
{
	ck_assert_msg(reply->status, "done, where %s was expected", reason_text(reason));
	ck_assert_str_eq(reply->status->reason, reason_text(reason));
	ck_assert_int_eq(wire_read_status(reply->status, &r->error), (int)reason_status(reason));
	ck_assert_uint_gt(strlen(reply->status->message), 0);
}

void rig_refused(struct rig *r, struct link *link, uint32_t operation, const void *message,
	enum reason reason)
{
	uint64_t before = dispatch_refusals(r->d, reason);

	rig_expect(r, rig_call(r, link, operation, message), reason);
	ck_assert_uint_eq(dispatch_refusals(r->d, reason), before + 1);
}

/* ---------------------------------------------------------------- steps */

struct link *rig_hello(struct rig *r, enum role role)
{
	static const uint32_t uids[] = {
		[ROLE_VMM] = RIG_VMM_UID,
		[ROLE_ADMIN] = RIG_ADMIN_UID,
		[ROLE_OBSERVER] = RIG_OBSERVER_UID,
		[ROLE_PARTICIPANT] = RIG_PARTICIPANT_UID,
	};
	Pasid__V1__Hello hello = PASID__V1__HELLO__INIT;
	struct link *link = rig_connect(r, uids[role]);

	hello.version_min = hello.version_max = 1;
	hello.role = (Pasid__V1__Role)role;
	(void)rig_ok(r, link, OPERATION(HELLO), &hello);
	return link;
}

struct link *rig_vmm(struct rig *r, const char *name, enum set_mode mode)
{
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	struct link *link = rig_hello(r, ROLE_VMM);

	create.name = (char *)name;
	create.mode = (Pasid__V1__SetMode)mode;
	(void)rig_ok(r, link, OPERATION(SET_CREATE), &create);
	return link;
}

uint32_t rig_allocate(struct rig *r, struct link *link)
{
	Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
	const Pasid__V1__Reply *reply = rig_ok(r, link, OPERATION(ALLOCATE), &allocate);

	ck_assert_uint_eq(reply->allocate->n_runs, 1);
	ck_assert_uint_eq(reply->allocate->runs[0]->count, 1);
	return reply->allocate->runs[0]->first;
}

uint64_t rig_device(struct rig *r, struct link *link, uint32_t rid, int iommufd)
{
	Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
	int fds[] = {iommufd, MODEL_DEVICE_FD(rid)};
	const Pasid__V1__Reply *reply = rig_call_fds(r, link, OPERATION(DEVICE_ADD), &add, fds, 2);

	ck_assert_msg(!reply->status, "%s", reply->status->message);
	return reply->device_add->id;
}

void rig_check(struct rig *r)
{
	fixture_recount(&r->f);
}

/* ---------------------------------------------------------------- main */

static struct rig *rig_of_test;

static void rig_setup(void)
{
	rig_config(rig_of_test);
	rig_open(rig_of_test);
}

static void rig_teardown(void)
{
	rig_check(rig_of_test);
	rig_close(rig_of_test);
}

int rig_main(struct rig *r, const char *name, const TTest *const *tests, size_t count)
{
	TCase *all = tcase_create(name);
	Suite *suite = suite_create(name);
	SRunner *runner = srunner_create(suite);
	int failed;

	rig_of_test = r;
	tcase_add_checked_fixture(all, rig_setup, rig_teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(all, tests[i]);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
