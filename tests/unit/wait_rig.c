/* SPDX-License-Identifier: MIT */
#include "wait_rig.h"

struct fixture f;
struct actor a, one, two;
struct device_id device;
struct hpasid x;

const struct set_id own = {0};

void wait_participate(const struct actor *actor)
{
	ck_assert_int_eq(broker_participate(f.broker, actor, &f.error), 0);
}

void wait_open(void)
{
	fixture_config(&f);
	f.config.unbind_wait_ms = WAIT_MS;
	fixture_open(&f);
	a = fixture_vmm(&f, 10, "a", SET_TRANSLATED, 40);
	one = (struct actor){ROLE_PARTICIPANT, 21, {0}, &f.peer};
	two = (struct actor){ROLE_PARTICIPANT, 22, {0}, &f.peer};
	device = fixture_add(&f, &a, ONE_RID, 50);
	x = fixture_allocate_guest(&f, &a, 7);
	ck_assert_int_eq(fixture_bind(&f, &a, x, &device, 1), 0);
	wait_participate(&one);
	wait_participate(&two);
	fixture_settle(&f);
}

void wait_close(void)
{
	f.now_ms += WAIT_MS;
	broker_tick(f.broker);
	fixture_leave(&f);
}

uint32_t wait_acknowledge_seen(const struct actor *actor, struct hpasid host, uint64_t seen)
{
	uint32_t acknowledged = 99;

	ck_assert_int_eq(
		broker_acknowledge(f.broker, actor, &host, 1, seen, &acknowledged, &f.error), 0);
	return acknowledged;
}

uint32_t wait_acknowledge(const struct actor *actor, struct hpasid host)
{
	return wait_acknowledge_seen(actor, host, 0);
}

void wait_unbind(struct hpasid host, uint64_t cookie)
{
	ck_assert_int_eq(broker_unbind(f.broker, &a, own, (struct pasid_ref){.number = host.v},
				 NULL, 0, cookie, &f.error),
		0);
	model_run(&f);
}

bool wait_bound(struct hpasid host)
{
	return model_has(&f, ONE_RID, host.v);
}

int wait_ended(uint64_t cookie)
{
	struct outcome outcome;

	model_run(&f);
	ck_assert(broker_next_outcome(f.broker, &outcome));
	ck_assert_uint_eq(outcome.cookie, cookie);
	f.error = outcome.error;
	return outcome.status;
}

void wait_nothing_ended(void)
{
	struct outcome outcome;

	model_run(&f);
	ck_assert(!broker_next_outcome(f.broker, &outcome));
}

unsigned wait_told(enum change_kind kind, struct change *ret_last)
{
	struct change change;
	uint64_t from = 0;
	unsigned n = 0;

	for (; broker_change_get(f.broker, from, &change); from = change.sequence + 1) {
		if (change.kind != kind)
			continue;
		*ret_last = change;
		n++;
	}
	return n;
}

enum binding_state wait_listed(void)
{
	struct binding_info info;
	uint64_t cursor = 0;

	ck_assert(broker_binding_next(f.broker, &f.admin, own, &cursor, &info));
	return info.state;
}

uint32_t wait_why(struct hpasid host)
{
	struct grant_info info;

	ck_assert_int_eq(broker_host_find(f.broker, &f.admin, own, host, &info, &f.error), 0);
	return info.quarantine;
}

struct participant_info wait_about(const struct actor *actor)
{
	struct participant_info info;
	uint32_t cursor = 0;

	while (broker_participant_next(f.broker, &cursor, &info)) {
		if (info.session == actor->session)
			return info;
	}
	ck_abort_msg("it does not participate");
}

unsigned wait_participants(void)
{
	struct participant_info info;
	uint32_t cursor = 0;
	unsigned n = 0;

	while (broker_participant_next(f.broker, &cursor, &info))
		n++;
	return n;
}

void wait_pass(uint32_t ms)
{
	f.now_ms += ms;
	broker_tick(f.broker);
	model_run(&f);
}
