/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "state_check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ what fails */

void world_fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
	(void)fflush(NULL);
	_exit(1);
}

/* The model of the hardware belongs to tests that run under Check. */
void _mark_point(const char *file, int line)
{
	(void)file;
	(void)line;
}

void _ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
	char text[256] = "";
	va_list arguments;

	if (msg) {
		va_start(arguments, msg);
		(void)vsnprintf(text, sizeof(text), msg, arguments);
		va_end(arguments);
	}
	world_fail("hardware: %s (%s, %s:%d)", text, expr, file, line);
}

/* ------------------------------------------------------------------ records */

/* It dies before the store. */
static void death_count(struct world *world)
{
	world->death.stores++;
	if (world->death.countdown && --world->death.countdown == 0)
		longjmp(world->death.jump, 1);
}

static int world_reserve(void *ctx, enum state_table table, uint32_t count)
{
	struct world *world = ctx;

	return state_reserve(state_file_state(world->memory), table, count);
}

static void world_commit(void *ctx, uint64_t *word, uint64_t value)
{
	struct world *world = ctx;

	death_count(world);
	state_commit(state_file_state(world->memory), word, value);
}

static void world_settle_records(void *ctx)
{
	struct world *world = ctx;

	death_count(world);
	state_settle(state_file_state(world->memory));
}

static const struct state_ops world_state_ops = {world_reserve, world_commit, world_settle_records};

void world_settle(struct world *world)
{
	state_settle(&world->state);
}

/* As the records of a host that was just booted: what was ever used is zero again. */
static void records_clear(struct state_file *memory)
{
	for (unsigned t = 0; t < STATE_TABLES; t++) {
		uint32_t used = memory->header->used[t];

		memset(memory->state.table[t], 0,
			(size_t)used * memory->header->tables[t].slot_size);
		memory->header->used[t] = 0;
	}
	memory->header->changes = 0;
	state_take_counters(memory);
	for (uint32_t i = 0; i < memory->pages.fresh; i++)
		memory->pages.given[i] = i;
	memory->pages.given_count = memory->pages.fresh;
}

/* ------------------------------------------------------------------ the daemon */

static uint64_t world_now(void *ctx)
{
	return ((const struct world *)ctx)->now_ms;
}

static void daemon_start(struct world *world)
{
	struct broker_ports ports = {
		.hw = {&model_ops, &world->hw},
		.state = &world->state,
		.pages = state_file_pages(world->memory),
		.export = fake_export_port(&world->exports),
		.now_ms = world_now,
		.now_ctx = world,
		.policy = &world->policy,
	};

	world->config.reservations = &world->reservation;
	if (limits_new(&world->limits_config, &world->limits))
		world_fail("no memory for limits");
	ports.limits = world->limits;
	if (broker_new(&world->config, &ports, &world->broker))
		world_fail("no broker");
}

static void daemon_end(struct world *world)
{
	broker_free(world->broker);
	limits_free(world->limits);
	world->broker = NULL;
	world->limits = NULL;
}

static void limits_prepare(struct limits_config *config, bool tight)
{
	struct limit_levels *of = config->of;

	limits_defaults(config);
	of[RESOURCE_OPERATIONS].host = 16;
	of[RESOURCE_PASIDS].user = 20;
	if (!tight)
		return;
	of[RESOURCE_SETS].user = 2;
	of[RESOURCE_PROMISED].user = 9;
	of[RESOURCE_PASIDS].user = 7;
	of[RESOURCE_OPERATIONS] = (struct limit_levels){4, 5, 6};
	of[RESOURCE_DESCRIPTORS] = (struct limit_levels){5, 7, 8};
	of[RESOURCE_DEVICES] = (struct limit_levels){3, 4, 0};
	of[RESOURCE_PAGE_TABLES] = (struct limit_levels){3, 4, 4};
	of[RESOURCE_BINDINGS] = (struct limit_levels){2, 2, 0};
	of[RESOURCE_MAP_PAGES] = (struct limit_levels){0, 3, 0};
}

static void actors_prepare(struct world *world, const struct history *history)
{
	world->peers[0].uid = 1000;
	world->peers[1].uid = 1001;
	world->admin = (struct actor){ROLE_ADMIN, 1, {0}, &world->peers[0]};
	for (unsigned i = 0; i < WORLD_VMS; i++)
		world->vms[i] =
			(struct actor){ROLE_VMM, 0, {0}, &world->peers[i >= history->vms / 2u]};
}

void world_init(struct world *world)
{
	memset(world, 0, sizeof(*world));
	if (state_file_memory(&world->memory))
		world_fail("no memory for records");
	world->state = *state_file_state(world->memory);
	/* what is kept for each place is made anew with each restart */
	world->state.capacity[STATE_SETS] = 24;
	world->state.capacity[STATE_DEVICES] = 32;
	world->state.capacity[STATE_BINDINGS] = 64;
	world->state.ops = &world_state_ops;
	world->state.ctx = world;
}

void world_done(struct world *world)
{
	state_file_free(world->memory);
	free(world->scratch);
}

static void hardware_prepare(struct model *hw)
{
	memset(hw->devices, 0, sizeof(hw->devices));
	memset(hw->entries, 0, sizeof(hw->entries));
	hw->count = hw->carried_out = 0;
	hw->fail_status = hw->submit_status = hw->next_fd = 0;
	hw->hung_lane = 0;
	for (uint32_t i = 0; i < MODEL_RIDS; i++) {
		hw->group_of[i] = i + 1;
		hw->width_of[i] = 20;
		hw->smmu_of[i] = i < WORLD_SMMU;
	}
	hw->group_of[1] = hw->group_of[0];
	hw->width_of[2] = 11;
	hw->width_of[3] = 0;
}

void world_open(struct world *world, const struct history *history)
{
	records_clear(world->memory);
	world->now_ms = 1000000;
	world->done_count = 0;
	world->missing = false;
	world->undone = 0;
	memset(world->queued, 0, sizeof(world->queued));
	memset(world->queued_claims, 0, sizeof(world->queued_claims));
	hardware_prepare(&world->hw);
	world->death.countdown = world->death.stores = 0;
	world->policy.any_device = true;
	world->policy.global.everyone = world->policy.rids.everyone = true;
	world->config = (struct broker_config){
		.reserved_last = WORLD_RESERVED,
		.capacity = WORLD_CAPACITY,
		.set_quota_default = 4,
		.set_quota_max = WORLD_CAPACITY,
		.cooling_ms = WORLD_COOLING,
		.unbind_wait_ms = WORLD_WAIT,
		.policy = (enum broker_policy)history->policy,
		.random_key = {history->seed, 1},
		.owners_max = 8,
	};
	limits_prepare(&world->limits_config, history->tight);
	actors_prepare(world, history);
	world->reservation =
		(struct broker_reservation){"vm0", world->vms[0].peer->uid, history->reserved};
	world->config.reservation_count = history->reserved ? 1 : 0;
	world->owing = false;
	daemon_start(world);
	world_settle(world);
}

void world_configure(struct world *world, uint32_t numbers)
{
	world->reservation.pasids = numbers;
	world->config.reservations = &world->reservation;
	world->config.reservation_count = numbers ? 1 : 0;
	if (broker_configure(world->broker, &world->config, &world->limits_config))
		world_fail("a configuration was refused");
}

void world_close(struct world *world)
{
	daemon_end(world);
	fake_export_free(&world->exports);
}

/* ------------------------------------------------------------------ death and recovery */

bool world_lane_stands(void *ctx, uint64_t lane)
{
	const struct world *world = ctx;
	uint64_t bits = lane * 0x9e3779b97f4a7c15u ^ (uint64_t)world->standing << 56;

	if (lane == world->lost_lane)
		return false;
	if (world->standing < 64)
		return world->standing >= 8; /* all of them, or none */
	return bits >> 62;
}

static void workers_outlive(struct world *world)
{
	struct model *hw = &world->hw;

	world->done_count = 0;
	hw->fail_status = hw->submit_status = 0;
	while (hw->count) {
		uint64_t lane = hw->ops[0].lane;
		bool stands = world_lane_stands(world, lane);

		for (unsigned i = 0; stands && i < hw->count; i++) {
			const struct hw_op *op = &hw->ops[i];

			if (op->lane == lane && op->kind == HW_ATTACH && op->lane >> 63)
				world_queue(world, op->pasid.v);
		}
		model_outlive(hw, lane, stands);
	}
	for (unsigned i = 0; i < MODEL_DEVICES; i++) {
		if (hw->devices[i].used && !world_lane_stands(world, hw->devices[i].lane))
			model_outlive(hw, hw->devices[i].lane, false);
	}
}

void world_die(struct world *world)
{
	world->death.countdown = 0;
	daemon_end(world);
	world->undone += state_undo_all(world->memory);
	workers_outlive(world);
}

static void records_check(struct world *world, const uint32_t *used)
{
	struct state_problem problem;
	size_t size = state_check_scratch(used);

	if (size > world->scratch_size) {
		free(world->scratch);
		world->scratch = calloc(1, size);
		world->scratch_size = size;
	}
	if (!world->scratch)
		world_fail("no memory to check the records");
	if (state_check(state_file_state(world->memory), used, world->scratch, &problem))
		world_fail("the records make no sense after a death: %s", problem.text);
}

/* Memory of exports outlives the daemon, but for some that nobody kept. */
static void exports_outlive(struct world *world)
{
	for (unsigned i = 0; i < FAKE_EXPORTS; i++) {
		struct fake_map *map = &world->exports.maps[i];
		const bool lost = map->set.v % 4 == world->standing % 8u;

		if (map->kept && lost)
			*map = (struct fake_map){.base = map->base};
		else if (map->kept)
			map->kept = broker_export_adopt(world->broker, map->set, map->base) == 0;
	}
}

void world_recover(struct world *world, unsigned countdown)
{
	uint32_t used[STATE_TABLES];
	struct recovery recovery = {used, world_lane_stands, world};

	for (unsigned t = 0; t < STATE_TABLES; t++)
		used[t] = state_file_used(world->memory, (enum state_table)t);
	records_check(world, used);
	daemon_start(world);
	world->death.countdown = countdown;
	if (world->missing)
		broker_block(world->broker);
	if (broker_recover(world->broker, &recovery, &world->error))
		world_fail("the records are not taken up: %s", world->error.text);
	world->death.countdown = 0;
	exports_outlive(world);
	world->lost_lane = 0;
	world->missing = false;
}
