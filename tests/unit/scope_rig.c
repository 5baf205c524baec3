/* SPDX-License-Identifier: MIT */
#include "scope_rig.h"

struct fixture f;
struct actor a, c;
struct device_id a0, a1, c3;
const struct set_id own = {0};

void scope_setup(void)
{
	fixture_config(&f);
	f.config.owners_max = SCOPE_OWNERS;
	f.config.policy = BROKER_LOWEST;
	f.model.group_of[2] = f.model.group_of[1]; /* functions 1 and 2 are one group */
	f.model.width_of[8] = 8;
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 40);
	c = fixture_vmm(&f, 11, "c", SET_TRANSLATED, 40);
	a0 = fixture_add(&f, &a, 0, 10);
	a1 = fixture_add(&f, &a, 1, 10);
	c3 = fixture_add(&f, &c, 3, 11);
}

void scope_teardown(void)
{
	fixture_leave(&f);
}

struct allocate scope_ask(const struct device_id *devices, size_t count)
{
	return (struct allocate){.max = PASID_LAST,
		.count = 1,
		.devices = devices,
		.device_count = count,
		.scope = SCOPE_RIDS};
}

uint32_t scope_take(const struct actor *actor, const struct allocate *allocate)
{
	struct hpasid numbers[64];
	int r = broker_allocate(f.broker, actor, allocate, numbers, &f.error);

	ck_assert_msg(r == 0, "%s", f.error.text);
	fixture_recount(&f);
	return numbers[0].v;
}

uint32_t scope_take_on(
	const struct actor *actor, const struct device_id *devices, size_t count, uint32_t number)
{
	struct allocate allocate = scope_ask(devices, count);

	if (number)
		allocate.min = allocate.max = number;
	return scope_take(actor, &allocate);
}

void scope_refused(const struct actor *actor, const struct allocate *allocate, enum reason reason)
{
	struct hpasid numbers[BROKER_ALLOCATE_MAX];

	ck_assert_int_ne(broker_allocate(f.broker, actor, allocate, numbers, &f.error), 0);
	ck_assert_msg(f.error.reason == reason, "%s", f.error.text);
	fixture_recount(&f);
}

void scope_not_free_on(
	const struct actor *actor, const struct device_id *devices, size_t count, uint32_t number)
{
	struct allocate allocate = scope_ask(devices, count);

	allocate.min = allocate.max = number;
	scope_refused(actor, &allocate, REASON_NONE_FREE);
}

uint32_t scope_claims_of(const struct actor *actor)
{
	struct limit_info info;
	uint64_t cursor = 0;

	while (broker_limit_next(f.broker, &f.admin, actor->set, &cursor, &info))
		if (info.resource == RESOURCE_CLAIMS)
			return info.account.current;
	return UINT32_MAX;
}

struct grant_info scope_info_of(const struct actor *actor, uint32_t number)
{
	struct grant_info info;
	int r = broker_host_find(
		f.broker, &f.admin, actor->set, (struct hpasid){number}, &info, &f.error);

	ck_assert_msg(r == 0, "%s", f.error.text);
	return info;
}

int scope_extend(const struct actor *actor, uint32_t number, const struct device_id *devices,
	size_t count, uint32_t *ret_added)
{
	int r = broker_extend(f.broker, actor, own, (struct pasid_ref){false, number}, devices,
		count, ret_added, &f.error);

	fixture_recount(&f);
	return r;
}
