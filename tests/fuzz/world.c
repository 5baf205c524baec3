/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <string.h>

uint32_t world_uid(enum world_slot slot)
{
	static const uint32_t uids[WORLD_SLOTS] = {
		[WORLD_A] = 1000,
		[WORLD_A2] = 1000,
		[WORLD_B] = 1001,
		[WORLD_B2] = 1001,
		[WORLD_ADMIN] = 0,
		[WORLD_HANDED] = 1002,
		[WORLD_HONEST] = 2000,
		[WORLD_KEEPER] = 0,
	};

	return uids[slot];
}

/* ---------------------------------------------------------------- descriptors */

int world_fd(struct world *w, unsigned kind, unsigned number)
{
	if (w->fd_count == WORLD_FDS)
		return -1;
	w->fds[w->fd_count] = (struct world_fd){
		(uint8_t)(kind % WORLD_FD_KINDS), (uint8_t)(number % WORLD_RIDS), WORLD_FD_DAEMON};
	return WORLD_FD_FIRST + (int)w->fd_count++;
}

static struct world_fd *world_sent_fd(struct world *w, int fd)
{
	FUZZ_CHECK(fd >= WORLD_FD_FIRST && fd < WORLD_FD_FIRST + (int)w->fd_count);
	return &w->fds[fd - WORLD_FD_FIRST];
}

void world_dispose(void *ctx, int fd)
{
	struct world *w = ctx;

	if (fd >= WORLD_MADE_FD) {
		FUZZ_CHECK(fd < w->f.model.next_fd && fd < WORLD_MADE_FD + (int)WORLD_MADE);
		if (w->made_disposed[fd - WORLD_MADE_FD])
			FUZZ_FAIL("descriptor %d of the hardware is closed twice", fd);
		w->made_disposed[fd - WORLD_MADE_FD] = true;
		return;
	}
	if (world_sent_fd(w, fd)->state != WORLD_FD_DAEMON)
		FUZZ_FAIL("descriptor %d is closed in state %u", fd, world_sent_fd(w, fd)->state);
	world_sent_fd(w, fd)->state = WORLD_FD_DISPOSED;
}

/* ---------------------------------------------------------------- ports */

static uint64_t world_now(void *ctx)
{
	return ((struct world *)ctx)->f.now_ms;
}

/* Guessable on purpose: an attacker who knows every token gets no further than its own user's. */
static void world_random(void *ctx, void *ret_bytes, size_t size)
{
	struct world *w = ctx;

	memset(ret_bytes, ++w->random, size);
}

static void world_unpark(void *ctx, void *user)
{
	struct world_link *link = user;

	(void)ctx;
	FUZZ_CHECK(link->parked);
	link->parked = NULL;
}

/* One at a time; who asks for a second one is told that there is no descriptor. */
static int world_hand(
	void *ctx, struct set_id set, uint32_t uid, int *ret_fd, struct error *ret_error)
{
	struct world *w = ctx;
	struct world_link *link = &w->links[WORLD_HANDED];
	int r;

	if (link->link || w->own_count == WORLD_OWN)
		return error_set(ret_error, REASON_OVERLOAD, "no descriptor is left");
	r = dispatch_connect_handed(w->d, set, uid, &link->link, ret_error);
	if (r)
		return r;
	link_set_user(link->link, link);
	link->requests_count = link->refused_count = link->datagrams = 0;
	w->handed_set = set.v;
	w->handed_left = w->handed_hidden = false;
	*ret_fd = WORLD_OWN_FD + (int)w->own_count++;
	return 0;
}

static int world_export_fd(void *ctx, struct set_id set, int *ret_fd, struct error *ret_error)
{
	struct world *w = ctx;
	const struct fake_map *map = fake_export_of(&w->f.exports, set);

	FUZZ_CHECK(map && map->kept);
	if (w->own_count == WORLD_OWN)
		return error_set(ret_error, REASON_OVERLOAD, "no descriptor is left");
	*ret_fd = WORLD_OWN_FD + (int)w->own_count++;
	return 0;
}

static void world_notice_end(void *ctx, void *user)
{
	struct world *w = ctx;

	FUZZ_CHECK(user == &w->links[WORLD_HANDED] && w->links[WORLD_HANDED].link);
	if (w->handed_left)
		world_disconnect(w, WORLD_HANDED, false);
}

static void world_close_own(void *ctx, int fd)
{
	struct world *w = ctx;

	FUZZ_CHECK(fd >= WORLD_OWN_FD && fd < WORLD_OWN_FD + (int)w->own_count);
	if (w->own_closed[fd - WORLD_OWN_FD])
		FUZZ_FAIL("descriptor %d of a connection is closed twice", fd);
	w->own_closed[fd - WORLD_OWN_FD] = true;
}

/* What the worker would see when it looks at the descriptors, in the model's own numbers. */
static void world_identify(struct world *w, struct hw_op *op)
{
	const struct world_fd *first = world_sent_fd(w, op->fds[0]);
	bool good = first->kind == WORLD_FD_IOMMUFD;
	uint32_t rid = op->rid.v;

	if (op->fd_count == 2) {
		const struct world_fd *second = world_sent_fd(w, op->fds[1]);

		good = good && second->kind == WORLD_FD_DEVICE;
		rid = second->number;
	}
	op->rid.v = good ? rid : MODEL_RIDS;
	op->fds[0] = 5 + first->number;
	op->fds[1] = MODEL_DEVICE_FD(op->rid.v);
}

static int world_submit(void *ctx, const struct hw_op *op)
{
	struct world *w = ctx;
	struct model *model = &w->f.model;
	struct hw_op *queued = &model->ops[model->count];

	if (model->submit_status)
		return model->submit_status;
	FUZZ_CHECK(model->count < MODEL_OPS);
	for (uint32_t i = 0; i < op->fd_count; i++) {
		struct world_fd *fd = world_sent_fd(w, op->fds[i]);

		FUZZ_CHECK(fd->state == WORLD_FD_DAEMON);
		fd->state = WORLD_FD_HARDWARE;
	}
	*queued = *op;
	if (op->kind == HW_IDENTIFY && op->fd_count)
		world_identify(w, queued);
	model->count++;
	return 0;
}

/* ---------------------------------------------------------------- opening */

static void world_configure(struct world *w, struct limits_config *limits)
{
	static const char *const notes[] = {"fuzzed"};

	for (uint32_t rid = 0; rid < WORLD_RIDS; rid++)
		w->devices[rid] = (struct policy_device){.rid = {rid},
			.use = rid % 4 == 2 ? POLICY_USE_SHARED : POLICY_USE_EXCLUSIVE,
			.who.everyone = true};
	w->f.policy = (struct policy){
		.vmms.everyone = true,
		.global.everyone = true,
		.rids.everyone = true,
		.admins = {.uids = &w->admin_uid, .uid_count = 1},
		.observers = {.uids = &w->admin_uid, .uid_count = 1},
		.participants = {.uids = &w->admin_uid, .uid_count = 1},
		.devices = w->devices,
		.device_count = WORLD_RIDS,
	};
	w->f.model.group_of[5] = w->f.model.group_of[4]; /* two functions of one group */
	w->f.model.width_of[6] = 5;
	w->f.model.smmu_of[6] = w->f.model.smmu_of[7] = true;
	w->f.model.next_fd = WORLD_MADE_FD;
	w->f.config.reserved_last = WORLD_RESERVED_LAST;
	w->f.config.capacity = 160;
	w->f.config.set_quota_default = 24;
	w->f.config.set_quota_max = 32;
	limits_defaults(limits);
	limits->of[RESOURCE_PROMISED].user = 48;
	limits->of[RESOURCE_SETS].user = 6;
	limits->of[RESOURCE_OPERATIONS].set = 12;
	limits->of[RESOURCE_OPERATIONS].host = 64;
	limits->of[RESOURCE_SESSIONS].user = 6;
	limits->of[RESOURCE_DEVICES].set = WORLD_RIDS;
	limits->of[RESOURCE_BINDINGS].set = 48;
	limits->of[RESOURCE_WATCHES].user = 3;
	w->config = (struct dispatch_config){
		.version = "0",
		.backend = "simulated",
		.notes = notes,
		.note_count = ARRAY_SIZE(notes),
		.grace_ms = 5000,
		.operations_per_session = 12,
		.operations_max = 64,
		.output_max = 1 << 17,
		.events_max = 16,
		.policy = &w->f.policy,
	};
}

/* Nothing was recorded before a world begins. */
static int world_revive(
	void *ctx, struct session *session, int32_t pid, uint64_t born, void **ret_user)
{
	(void)ctx;
	(void)session;
	(void)pid;
	(void)born;
	(void)ret_user;
	FUZZ_CHECK(false);
	return -1;
}

static void world_open_broker(struct world *w)
{
	static const struct hw_ops ops = {.submit = world_submit};
	struct broker_ports ports = {
		.hw = {&ops, w}, .now_ms = world_now, .now_ctx = w, .policy = &w->f.policy};

	FUZZ_CHECK(state_file_memory(&w->f.memory) == 0);
	w->state = *state_file_state(w->f.memory);
	w->state.capacity[STATE_SETS] = 64; /* smaller is faster, and is filled */
	w->state.capacity[STATE_DEVICES] = 64;
	w->state.capacity[STATE_BINDINGS] = 512;
	ports.state = &w->state;
	ports.pages = state_file_pages(w->f.memory);
	ports.export = fake_export_port(&w->f.exports);
	ports.limits = w->limits;
	FUZZ_CHECK(broker_new(&w->f.config, &ports, &w->f.broker) == 0);
}

void world_open(struct world *w, bool has_honest)
{
	struct dispatch_ports ports = {
		.now_ms = world_now,
		.random = world_random,
		.dispose_fd = world_dispose,
		.unpark = world_unpark,
		.hand = world_hand,
		.export_fd = world_export_fd,
		.notice_end = world_notice_end,
		.revive = world_revive,
		.close_own = world_close_own,
		.ctx = w,
	};
	struct limits_config limits;

	memset(w, 0, offsetof(struct world, arena));
	fixture_config(&w->f);
	for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
		w->links[slot].requests = w->requests[slot];
	if (!w->arena.size)
		wire_arena_init(&w->arena, NULL, WIRE_ARENA_SIZE);
	world_configure(w, &limits);
	FUZZ_CHECK(limits_new(&limits, &w->limits) == 0);
	w->config.limits = w->limits;
	world_open_broker(w);
	w->config.state = &w->state;
	FUZZ_CHECK(dispatch_new(&w->config, &ports, w->f.broker, &w->d) == 0);
	FUZZ_CHECK(dispatch_recover(w->d) == 0);
	w->has_honest = has_honest;
	for (unsigned slot = WORLD_A; slot <= WORLD_ADMIN; slot++)
		world_connect(w, slot);
	world_honest_open(w);
}

/* ---------------------------------------------------------------- clients */

void world_connect(struct world *w, enum world_slot slot)
{
	struct world_link *link = &w->links[slot];
	uint32_t uid = world_uid(slot);
	struct dispatch_peer peer = {
		.who = {.uid = uid, .group_count = 1, .groups = {uid}}, .pid = 100 + (int)slot};

	if (link->link || link->parked || slot == WORLD_HANDED)
		return;
	link->requests_count = link->refused_count = link->datagrams = 0;
	if (dispatch_connect(w->d, &peer, &link->link, &w->error) == 0)
		link_set_user(link->link, link);
}

void world_disconnect(struct world *w, enum world_slot slot, bool dead)
{
	struct world_link *link = &w->links[slot];

	if (!link->link)
		return;
	link->parked = dispatch_disconnect(w->d, link->link, dead, link);
	link->link = NULL;
	FUZZ_CHECK(!(dead && link->parked));
	dispatch_pump(w->d);
}

void world_leave(struct world *w)
{
	w->handed_left = true;
}

void world_hide(struct world *w)
{
	w->handed_hidden = true;
}

void world_die(struct world *w, enum world_slot slot)
{
	if (!w->links[slot].parked)
		return;
	dispatch_peer_dead(w->d, w->links[slot].parked);
	FUZZ_CHECK(!w->links[slot].parked);
}

/* What root may do beside an honest peer: nothing that is about its set. */
static bool world_is_harmless(const struct wire_batch *batch)
{
	static const uint32_t harmless[] = {
		PASID__V1__REQUEST__OPERATION_HELLO,
		PASID__V1__REQUEST__OPERATION_PING,
		PASID__V1__REQUEST__OPERATION_GET_STATUS,
		PASID__V1__REQUEST__OPERATION_WATCH,
		PASID__V1__REQUEST__OPERATION_LIMIT_LIST,
		PASID__V1__REQUEST__OPERATION_RECOVER,
		PASID__V1__REQUEST__OPERATION_HAND_OVER,
		PASID__V1__REQUEST__OPERATION_SET_CREATE,
		PASID__V1__REQUEST__OPERATION_SET_GET,
		PASID__V1__REQUEST__OPERATION_SET_LIST,
		PASID__V1__REQUEST__OPERATION_SET_CONNECT,
		PASID__V1__REQUEST__OPERATION_GUEST_FIND,
		PASID__V1__REQUEST__OPERATION_HOST_FIND,
		PASID__V1__REQUEST__OPERATION_GRANT_LIST,
		PASID__V1__REQUEST__OPERATION_QUARANTINE_END,
		PASID__V1__REQUEST__OPERATION_RELEASE,
		PASID__V1__REQUEST__OPERATION_HOLD_LIST,
		PASID__V1__REQUEST__OPERATION_DEVICE_SHARE,
		PASID__V1__REQUEST__OPERATION_DEVICE_LIST,
		PASID__V1__REQUEST__OPERATION_DEVICE_DRAINED,
		PASID__V1__REQUEST__OPERATION_BINDING_LIST,
	};

	for (size_t i = 0; i < batch->count; i++) {
		bool known = false;

		for (size_t k = 0; k < ARRAY_SIZE(harmless); k++)
			known = known || harmless[k] == batch->requests[i].operation;
		if (!known)
			return false;
	}
	return true;
}

static void world_note_request(struct world_link *link, uint64_t id, bool is_due)
{
	for (uint32_t i = 0; i < link->requests_count; i++) {
		if (link->requests[i].id == id) {
			link->requests[i].sent++;
			link->requests[i].is_due |= is_due;
			return;
		}
	}
	FUZZ_CHECK(link->requests_count < WORLD_REQUESTS);
	link->requests[link->requests_count++] =
		(struct world_request){.id = id, .sent = 1, .is_due = is_due};
}

/* Notes what may be answered; false: this datagram is left out. */
static bool world_note_datagram(
	struct world *w, enum world_slot slot, const uint8_t *data, size_t size, bool plain)
{
	struct world_link *link = &w->links[slot];

	link->datagrams++;
	if (wire_read_batch(data, size, &w->batch, &w->error))
		return true;
	if (slot == WORLD_ADMIN && w->has_honest && !world_is_harmless(&w->batch))
		return false;
	if (link->requests_count + w->batch.count > WORLD_REQUESTS)
		return false;
	for (size_t i = 0; i < w->batch.count; i++)
		world_note_request(link, w->batch.requests[i].id, plain);
	return true;
}

/* The server tells who sent a datagram on a handed connection. */
static bool world_identify_sender(struct world *w)
{
	struct world_link *link = &w->links[WORLD_HANDED];
	struct dispatch_peer peer = {.who = {.uid = world_uid(WORLD_HANDED)}, .pid = 200};
	bool hidden = w->handed_hidden;

	w->handed_hidden = false;
	if (!link->link)
		return true;
	return dispatch_identify(w->d, link->link, hidden ? NULL : &peer, &w->error) == 0;
}

void world_send(struct world *w, enum world_slot slot, const uint8_t *data, size_t size,
	const int *fds, size_t fd_count, bool truncated)
{
	struct world_link *link = &w->links[slot];

	if (slot == WORLD_HANDED && (w->handed_left || !world_identify_sender(w)))
		world_disconnect(w, slot, false);
	if (!link->link || !dispatch_readable(w->d, link->link) ||
		!world_note_datagram(w, slot, data, size, !fd_count && !truncated)) {
		for (size_t i = 0; i < fd_count; i++)
			world_dispose(w, fds[i]);
		return;
	}
	if (dispatch_receive(w->d, link->link, data, size, fds, fd_count, truncated)) {
		world_read(w, slot, UINT32_MAX);
		world_disconnect(w, slot, false);
	}
	world_note_owners(w);
}

const struct dispatch_datagram *world_peek(struct world *w, enum world_slot slot)
{
	struct world_link *link = &w->links[slot];
	const struct dispatch_datagram *datagram =
		link->link ? dispatch_peek(w->d, link->link) : NULL;

	if (datagram)
		world_judge(w, slot, datagram);
	return datagram;
}

void world_read(struct world *w, enum world_slot slot, unsigned count)
{
	struct world_link *link = &w->links[slot];

	for (; count > 0 && world_peek(w, slot); count--)
		dispatch_sent(w->d, link->link);
	if (link->link && dispatch_doomed(link->link))
		world_disconnect(w, slot, false);
}

/* ---------------------------------------------------------------- hardware and time */

void world_step(struct world *w, unsigned count, unsigned which)
{
	while (count-- > 0 && model_step(&w->f, which))
		continue;
	dispatch_pump(w->d);
}

void world_time(struct world *w, uint32_t ms)
{
	w->f.now_ms += ms;
	dispatch_tick(w->d);
}

void world_fail(struct world *w, unsigned kind, unsigned status, unsigned skip, unsigned times)
{
	struct model *model = &w->f.model;

	model->fail_kind = (enum hw_kind)(HW_IDENTIFY + kind % HW_LOOK);
	model->fail_status = status % 2 ? STATUS_HARDWARE : -EIO;
	model->fail_skip = skip % 4;
	model->fail_times = 1 + times % 3;
}

/* A worker that has something; of those that the honest peer needs only with `all`. */
static uint64_t world_lane(const struct world *w, unsigned which, bool all)
{
	const struct model *model = &w->f.model;
	uint64_t lanes[MODEL_DEVICES];
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		uint64_t lane = model->devices[i].used ? model->devices[i].lane : 0;

		if (lane && (all || !(lane >> 63 || lane == w->honest_set)))
			lanes[count++] = lane;
	}
	return count ? lanes[which % count] : 0;
}

void world_hang(struct world *w, unsigned which)
{
	w->f.model.hung_lane = which % 4 == 3 ? 0 : world_lane(w, which, true);
}

void world_lose(struct world *w, unsigned which)
{
	uint64_t lane = world_lane(w, which, !w->has_honest);

	if (!lane)
		return;
	if (w->f.model.hung_lane == lane)
		w->f.model.hung_lane = 0;
	model_lose_lane(&w->f, lane);
	dispatch_pump(w->d);
}

void world_refuse_submits(struct world *w, bool refuse)
{
	w->f.model.submit_status = refuse ? -EAGAIN : 0;
}

void world_shut_down(struct world *w)
{
	w->shutting_down = true;
	dispatch_shut_down(w->d);
}

void world_check(struct world *w)
{
	struct error error = {0};

	if (broker_recount(w->f.broker, &error))
		FUZZ_FAIL("%s", error.text);
	world_honest_check(w);
}
