/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <errno.h>
#include <string.h>

/* ------------------------------------------------------------------ the model of the hardware */

static void model_carry_out(struct fixture *f, unsigned index)
{
	struct model *model = &f->model;
	struct hw_op op = model_take(model, index);
	struct hw_result result = {.id = op.id, .device = op.device};

	model_perform(model, &op, &result);
	broker_complete(f->broker, &result);
}

bool model_step(struct fixture *f, unsigned n)
{
	struct model *model = &f->model;
	unsigned heads[MODEL_OPS], count = 0;

	broker_flush(f->broker);
	for (unsigned i = 0; i < model->count; i++) {
		bool first = model->ops[i].lane != model->hung_lane || model->hung_lane == 0;

		for (unsigned k = 0; k < i; k++)
			first = first && model->ops[k].lane != model->ops[i].lane;
		if (first)
			heads[count++] = i;
	}
	if (count == 0)
		return false;
	model_carry_out(f, heads[n % count]);
	return true;
}

void model_run(struct fixture *f)
{
	unsigned steps = 0;

	while (model_step(f, 0))
		ck_assert_uint_lt(steps++, 100000);
}

bool model_has(const struct fixture *f, uint32_t rid, uint32_t pasid)
{
	return model_stands_in(&f->model, rid, pasid);
}

unsigned model_entries(const struct fixture *f)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_ENTRIES; i++)
		count += f->model.entries[i].used;
	return count;
}

void model_arrange(struct fixture *f, enum hw_kind kind, int status, unsigned skip, unsigned times)
{
	f->model.fail_kind = kind;
	f->model.fail_status = status;
	f->model.fail_skip = skip;
	f->model.fail_times = times;
}

void model_lose_lane(struct fixture *f, uint64_t lane)
{
	struct model *model = &f->model;

	broker_flush(f->broker);
	for (unsigned i = 0; i < model->count;) {
		struct hw_result result = {.id = model->ops[i].id, .status = -EPIPE};

		if (model->ops[i].lane != lane) {
			i++;
			continue;
		}
		(void)error_set(&result.error, REASON_WORKER_LOST, "the worker is gone");
		(void)model_take(model, i);
		broker_complete(f->broker, &result);
		i = 0;
	}
	model_end(model, lane);
	broker_lane_lost(f->broker, lane);
}

/* ------------------------------------------------------------------ the broker */

static uint64_t fixture_now(void *ctx)
{
	return ((const struct fixture *)ctx)->now_ms;
}

void fixture_config(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->now_ms = 1000000;
	f->config = (struct broker_config){
		.reserved_last = 1023,
		.set_quota_default = 1024,
		.set_quota_max = 65536,
		.cooling_ms = 1000,
		.owners_max = 8,
	};
	limits_defaults(&f->limits_config);
	f->limits_config.of[RESOURCE_OPERATIONS].host = 256;
	f->policy.any_device = true;
	f->policy.global.everyone = f->policy.rids.everyone = true;
	f->peer.uid = 1000;
	f->admin = (struct actor){ROLE_ADMIN, 1, {0}, &f->peer};
	f->observer = (struct actor){ROLE_OBSERVER, 2, {0}, &f->peer};
	for (uint32_t i = 0; i < MODEL_RIDS; i++) {
		f->model.group_of[i] = i + 1;
		f->model.width_of[i] = 20;
	}
}

static int crash_reserve(void *ctx, enum state_table table, uint32_t count)
{
	struct fixture *f = ctx;

	if (count > f->crash.used[table])
		f->crash.used[table] = count;
	return state_reserve(state_file_state(f->memory), table, count);
}

static void crash_settle(void *ctx)
{
	struct fixture *f = ctx;

	f->crash.stores = 0;
	f->crash.settles++;
	state_settle(state_file_state(f->memory));
}

static void crash_commit(void *ctx, uint64_t *word, uint64_t value)
{
	struct fixture *f = ctx;
	struct crash *crash = &f->crash;

	if (crash->countdown && --crash->countdown == 0) {
		crash->dead = true;
		longjmp(crash->die, 1);
	}
	if (crash->stores == CRASH_LOG) /* as state.h says */
		crash_settle(f);
	crash->word[crash->stores] = word;
	crash->before[crash->stores++] = *word;
	state_commit(state_file_state(f->memory), word, value);
}

static const struct state_ops crash_ops = {crash_reserve, crash_commit, crash_settle};

static void fixture_start(struct fixture *f)
{
	struct broker_ports ports = {
		.hw = {&model_ops, &f->model},
		.state = &f->state,
		.pages = state_file_pages(f->memory),
		.export = fake_export_port(&f->exports),
		.now_ms = fixture_now,
		.now_ctx = f,
		.policy = &f->policy,
	};

	ck_assert_int_eq(limits_new(&f->limits_config, &f->limits), 0);
	ports.limits = f->limits;
	ck_assert_int_eq(broker_new(&f->config, &ports, &f->broker), 0);
}

void fixture_open(struct fixture *f)
{
	ck_assert_int_eq(state_file_memory(&f->memory), 0);
	f->state = *state_file_state(f->memory);
	/* what is kept for each place is made anew with each restart */
	f->state.capacity[STATE_SETS] = FIXTURE_SETS;
	f->state.capacity[STATE_DEVICES] = FIXTURE_DEVICES;
	f->state.ops = &crash_ops;
	f->state.ctx = f;
	fixture_start(f);
}

void fixture_pass_second(struct fixture *f)
{
	f->now_ms += 1000;
	broker_tick(f->broker);
}

void fixture_leave(struct fixture *f)
{
	f->model.hung_lane = 0;
	f->model.submit_status = 0;
	fixture_pass_second(f);
	model_run(f);
	fixture_recount(f);
	fixture_close(f);
}

void fixture_settle(struct fixture *f)
{
	state_settle(&f->state);
}

bool fixture_all_stand(void *ctx, uint64_t lane)
{
	(void)ctx;
	return lane != 0;
}

bool fixture_none_stands(void *ctx, uint64_t lane)
{
	(void)ctx;
	return lane == 0;
}

/* Memory of exported maps outlives the daemon. */
static void fixture_adopt_maps(struct fixture *f)
{
	for (unsigned i = 0; i < FAKE_EXPORTS; i++) {
		struct fake_map *map = &f->exports.maps[i];

		if (map->kept)
			map->kept = broker_export_adopt(f->broker, map->set, map->base) == 0;
	}
}

int fixture_recover(struct fixture *f, bool (*stands)(void *ctx, uint64_t lane), void *ctx)
{
	const struct recovery recovery = {f->crash.used, stands, ctx};
	struct model *model = &f->model;
	int r;

	broker_free(f->broker);
	limits_free(f->limits);
	while (f->crash.stores > 0) {
		f->crash.stores--;
		*f->crash.word[f->crash.stores] = f->crash.before[f->crash.stores];
	}
	f->crash.countdown = 0;
	while (model->count)
		model_outlive(model, model->ops[0].lane, stands(ctx, model->ops[0].lane));
	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (model->devices[i].used && !stands(ctx, model->devices[i].lane))
			model_outlive(model, model->devices[i].lane, false);
	}
	fixture_start(f);
	f->crash.dead = false;
	f->crash.countdown = f->crash.recovery;
	f->crash.recovery = 0;
	r = broker_recover(f->broker, &recovery, &f->error);
	if (r == 0)
		fixture_adopt_maps(f);
	return r;
}

void fixture_restart(struct fixture *f, bool (*stands)(void *ctx, uint64_t lane), void *ctx)
{
	if (fixture_recover(f, stands, ctx))
		ck_abort_msg("%s", f->error.text);
}

void fixture_close(struct fixture *f)
{
	broker_free(f->broker);
	limits_free(f->limits);
	fake_export_free(&f->exports);
	state_file_free(f->memory);
}

struct actor fixture_vmm(
	struct fixture *f, uint64_t session, const char *name, enum set_mode mode, uint32_t quota)
{
	struct set_create create = {name, mode, quota != 0, quota, false, 0, 0};
	struct actor actor = {ROLE_VMM, session, {0}, &f->peer};
	int r = broker_set_create(f->broker, &actor, &create, &actor.set, &f->error);

	ck_assert_msg(r == 0, "%s", f->error.text);
	return actor;
}

struct outcome fixture_outcome(struct fixture *f, uint64_t cookie)
{
	struct outcome outcome;

	model_run(f);
	while (broker_next_outcome(f->broker, &outcome)) {
		if (outcome.cookie == cookie)
			return outcome;
	}
	ck_abort_msg("there is no outcome %llu", (unsigned long long)cookie);
}

void fixture_recount(struct fixture *f)
{
	struct error error = {0};

	if (broker_recount(f->broker, &error))
		ck_abort_msg("%s", error.text);
}

struct device_id fixture_add(
	struct fixture *f, const struct actor *actor, uint32_t rid, int iommufd)
{
	int fds[] = {iommufd, MODEL_DEVICE_FD(rid)};
	struct outcome outcome;
	int r = broker_device_add(
		f->broker, actor, (struct set_id){0}, fds, 2, NULL, 9001, &f->error);

	ck_assert_msg(r == 0, "%s", f->error.text);
	outcome = fixture_outcome(f, 9001);
	ck_assert_msg(outcome.status == 0, "%s", outcome.error.text);
	return outcome.device;
}

struct device_id fixture_share(struct fixture *f, uint32_t rid)
{
	struct outcome outcome;
	int r = broker_device_share(f->broker, &f->admin, (struct rid){rid}, 9002, &f->error);

	ck_assert_msg(r == 0, "%s", f->error.text);
	outcome = fixture_outcome(f, 9002);
	ck_assert_msg(outcome.status == 0, "%s", outcome.error.text);
	return outcome.device;
}

struct device_id fixture_slice(struct fixture *f, const struct actor *actor, uint32_t rid)
{
	struct device_id slice = {0};
	int r = broker_device_slice(f->broker, actor, (struct set_id){0}, (struct device_id){0},
		(struct rid){rid}, &slice, &f->error);

	ck_assert_msg(r == 0, "%s", f->error.text);
	return slice;
}

struct hpasid fixture_allocate(struct fixture *f, const struct actor *actor)
{
	struct allocate allocate = {.max = PASID_LAST, .count = 1};
	struct hpasid host = {0};
	int r = broker_allocate(f->broker, actor, &allocate, &host, &f->error);

	ck_assert_msg(r == 0, "%s", f->error.text);
	return host;
}

struct hpasid fixture_allocate_guest(struct fixture *f, const struct actor *actor, uint32_t guest)
{
	struct allocate allocate = {
		.max = PASID_LAST, .count = 1, .has_guest = true, .guest = {guest}};
	struct hpasid host = {0};
	int r = broker_allocate(f->broker, actor, &allocate, &host, &f->error);

	ck_assert_msg(r == 0, "%s", f->error.text);
	return host;
}

int fixture_bind(struct fixture *f, const struct actor *actor, struct hpasid host,
	const struct device_id *devices, size_t count)
{
	struct bind_pair pairs[BROKER_PAIRS_MAX] = {0};
	struct outcome outcome;
	int r;

	for (size_t i = 0; i < count; i++)
		pairs[i] = (struct bind_pair){devices[i], {.kind = HW_TABLE_SPACE}};
	r = broker_bind(f->broker, actor, (struct set_id){0}, (struct pasid_ref){.number = host.v},
		pairs, count, 9003, &f->error);
	if (r)
		return r;
	outcome = fixture_outcome(f, 9003);
	f->error = outcome.error;
	return outcome.status;
}

int fixture_unbind(struct fixture *f, const struct actor *actor, struct hpasid host)
{
	struct outcome outcome;
	int r = broker_unbind(f->broker, actor, (struct set_id){0},
		(struct pasid_ref){.number = host.v}, NULL, 0, 9004, &f->error);

	if (r)
		return r;
	outcome = fixture_outcome(f, 9004);
	f->error = outcome.error;
	return outcome.status;
}

int fixture_free(struct fixture *f, const struct actor *actor, struct hpasid host)
{
	struct pasid_ref ref = {.number = host.v};
	uint32_t freed, unchanged;

	return broker_free_pasids(
		f->broker, actor, (struct set_id){0}, &ref, 1, &freed, &unchanged, &f->error);
}

enum grant_state fixture_state(struct fixture *f, struct hpasid host)
{
	struct grant_info info;
	int r = broker_host_find(f->broker, &f->admin, (struct set_id){0}, host, &info, &f->error);

	ck_assert_msg(r == 0, "%s", f->error.text);
	return info.state;
}
