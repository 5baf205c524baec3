/* SPDX-License-Identifier: MIT */
#include "limit_rig.h"

#include <string.h>

struct fixture f;

void limit_setup(void)
{
	fixture_config(&f);
	fixture_open(&f);
}

void limit_teardown(void)
{
	fixture_recount(&f);
	fixture_close(&f);
}

/* Begins anew with other limits. */
void limit_open(enum resource resource, uint32_t set, uint32_t user, uint32_t host)
{
	fixture_close(&f);
	f.limits_config.of[resource] = (struct limit_levels){set, user, host};
	fixture_open(&f);
}

struct account limit_of_host(enum resource resource)
{
	return *limits_account(f.limits, LIMITS_NO_USER, resource);
}

uint32_t limit_host_use(enum resource resource)
{
	return limit_of_host(resource).current;
}

struct account limit_of_set(const struct actor *actor, enum resource resource)
{
	struct limit_info info = {.set = {0}};
	uint64_t cursor = 0;

	while (broker_limit_next(f.broker, actor, (struct set_id){0}, &cursor, &info)) {
		if (info.resource == resource)
			return info.account;
	}
	ck_abort_msg("a set has no account of %s", resource_text(resource));
}

uint32_t limit_use(const struct actor *actor, enum resource resource)
{
	return limit_of_set(actor, resource).current;
}

/* Refused for this limit, at this level, and nothing was changed. */
void limit_ck_refused(int status, const char *what)
{
	ck_assert_int_eq(status, STATUS_QUOTA);
	ck_assert_uint_eq(f.error.reason, REASON_LIMIT);
	ck_assert_msg(strstr(f.error.text, what) != NULL, "%s", f.error.text);
	fixture_recount(&f);
}

void limit_end_all(void)
{
	struct outcome outcome;

	for (uint64_t session = 10; session < 20; session++)
		broker_session_end(f.broker, session);
	model_run(&f);
	while (broker_next_outcome(f.broker, &outcome))
		;
	f.now_ms += 1000;
	broker_tick(f.broker);
}

void limit_ck_nothing_left(void)
{
	for (unsigned i = 0; i < RESOURCE_COUNT; i++) {
		ck_assert_msg(limit_host_use((enum resource)i) == 0, "%u %s are left",
			limit_host_use((enum resource)i), resource_text((enum resource)i));
		ck_assert_uint_eq(limits_sum(f.limits, (enum resource)i), 0);
	}
}

int limit_create(
	const struct actor *actor, const char *name, uint32_t quota, struct set_id *ret_set)
{
	struct set_create create = {name, SET_TRANSLATED, true, quota, false, 0, 0};

	return broker_set_create(f.broker, actor, &create, ret_set, &f.error);
}
