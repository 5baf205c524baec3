/* SPDX-License-Identifier: MIT */
#include "recover_rig.h"

struct fixture f;

void recover_setup(void)
{
	fixture_config(&f);
	fixture_open(&f);
}

void recover_teardown(void)
{
	fixture_recount(&f);
	fixture_close(&f);
}

void recover_begin(bool workers_stand)
{
	if (!f.crash.dead)
		broker_flush(f.broker); /* what was asked for is on its way */
	fixture_restart(&f, workers_stand ? fixture_all_stand : fixture_none_stands, NULL);
	broker_flush(f.broker);
	fixture_recount(&f);
}

void recover_run(void)
{
	model_run(&f);
	fixture_recount(&f);
}

void recover_restart(bool workers_stand)
{
	fixture_settle(&f);
	recover_begin(workers_stand);
	recover_run();
	broker_tick(f.broker);
	fixture_recount(&f);
}

struct set_info recover_set(const char *name)
{
	struct set_info info;
	struct set_id set = {0};
	int r = broker_set_by_name(f.broker, &f.admin, name, &set, &f.error);

	ck_assert_msg(r == 0, "%s", f.error.text);
	ck_assert_int_eq(broker_set_get(f.broker, &f.admin, set, &info, &f.error), 0);
	return info;
}

struct grant_info recover_grant(struct hpasid host)
{
	struct grant_info info;

	ck_assert_int_eq(
		broker_host_find(f.broker, &f.admin, (struct set_id){0}, host, &info, &f.error), 0);
	return info;
}

struct device_info recover_device(enum device_kind kind)
{
	struct device_info info;
	uint64_t cursor = 0;

	while (broker_device_next(f.broker, &f.admin, (struct set_id){0}, &cursor, &info)) {
		if (info.kind == kind)
			return info;
	}
	return (struct device_info){.state = DEVICE_FREE};
}

uint32_t recover_host_use(enum resource resource)
{
	return limits_account(f.limits, LIMITS_NO_USER, resource)->current;
}

int recover_allocate(const struct actor *actor, uint32_t number)
{
	const struct allocate allocate = {.min = number, .max = number, .count = 1};
	struct hpasid host;

	return broker_allocate(f.broker, actor, &allocate, &host, &f.error);
}

void recover_bind(const struct actor *actor, struct hpasid host, const struct device_id *devices,
	size_t count)
{
	struct bind_pair pairs[BROKER_PAIRS_MAX] = {0};
	int r;

	for (size_t i = 0; i < count; i++)
		pairs[i] = (struct bind_pair){devices[i], {.kind = HW_TABLE_SPACE}};
	r = broker_bind(f.broker, actor, (struct set_id){0}, (struct pasid_ref){.number = host.v},
		pairs, count, 0, &f.error);
	ck_assert_msg(r == 0, "%s", f.error.text);
}
