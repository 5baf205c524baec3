/* SPDX-License-Identifier: MIT */
#include "move_rig.h"

#include "state_check.h"

#include <stdlib.h>
#include <string.h>

struct move_rig m;

/* ------------------------------------------------------------------ two hosts */

static void open_grants(struct fixture *f, const struct actor *actor)
{
	for (uint32_t i = 0; i < MOVE_GRANTS; i++) {
		struct move_grant *grant = &m.grants[i];
		struct allocate allocate = {
			.set = m.set, .max = PASID_LAST, .count = 1, .data = 100 + i / 2};

		allocate.has_guest = m.mode == SET_TRANSLATED && i % 3 != 2;
		allocate.guest.v = 500000 - i;
		ck_assert_int_eq(
			broker_allocate(f->broker, actor, &allocate, &m.numbers[i], &f->error), 0);
		grant->data = allocate.data;
		grant->has_guest = allocate.has_guest || m.mode == SET_IDENTITY;
		grant->guest =
			m.mode == SET_IDENTITY ? (struct gpasid){m.numbers[i].v} : allocate.guest;
	}
}

void move_open(enum set_mode mode, bool by_admin)
{
	struct fixture *f = &m.host[SOURCE];
	struct set_create create = {"vm", mode, true, 20, false, 0, 0};
	struct hpasid freed;

	memset(&m, 0, offsetof(struct move_rig, conflicts));
	m.mode = mode;
	m.token = (struct move_token){{7, 8}};
	for (unsigned i = 0; i < 2; i++) {
		fixture_config(&m.host[i]);
		fixture_open(&m.host[i]);
	}
	m.vmm = f->admin;
	if (!by_admin)
		m.vmm = (struct actor){ROLE_VMM, 10, {0}, &f->peer};
	ck_assert_int_eq(broker_set_create(f->broker, &m.vmm, &create, &m.set, &f->error), 0);
	m.vmm.set = m.set;
	open_grants(f, &m.vmm);
	freed = fixture_allocate(f, &m.vmm);
	ck_assert_int_eq(fixture_free(f, &m.vmm, freed), 0);
	fixture_settle(f);
	fixture_settle(&m.host[TARGET]);
}

void move_close(void)
{
	move_check();
	fixture_leave(&m.host[SOURCE]);
	fixture_leave(&m.host[TARGET]);
}

void move_restart(enum move_host host)
{
	fixture_restart(&m.host[host], fixture_all_stand, NULL);
	model_run(&m.host[host]);
	fixture_settle(&m.host[host]);
}

/* ------------------------------------------------------------------ messages */

enum move_host move_host_of(enum move_step step)
{
	return step == STEP_FIRST || step == STEP_SECOND || step == STEP_TAKE || step == STEP_DROP
		       ? TARGET
		       : SOURCE;
}

struct move_reserve move_request(uint32_t first, uint32_t count, bool seal)
{
	return (struct move_reserve){
		.token = m.token,
		.proof = MOVE_RIG_SOURCE,
		.create = {"vm", m.mode, true, 20, true, 1007, 0},
		.max = PASID_LAST,
		.seal = seal,
		.total = MOVE_GRANTS,
		.first = first,
		.grants = m.grants + first,
		.count = count,
	};
}

int move_reserve(uint32_t first, uint32_t count, bool seal)
{
	const struct move_reserve reserve = move_request(first, count, seal);
	struct fixture *f = &m.host[TARGET];

	return broker_move_reserve(f->broker, &f->admin, &reserve, &m.reserved, m.conflicts,
		&m.conflict_count, &f->error);
}

static int move_export(void)
{
	struct fixture *f = &m.host[SOURCE];
	static uint64_t fresh = 100;
	const struct move_token token = {{fresh, 0}};
	int r = broker_move_export(f->broker, &f->admin, m.set, &token, &m.exported, &f->error);

	fresh++;
	if (r == 0)
		m.token = m.exported.token;
	return r;
}

static int move_ask(enum move_step step)
{
	struct fixture *s = &m.host[SOURCE], *t = &m.host[TARGET];

	switch (step) {
	case STEP_EXPORT:
		return move_export();
	case STEP_FIRST:
		return move_reserve(0, 4, false);
	case STEP_SECOND:
		return move_reserve(4, MOVE_GRANTS - 4, true);
	case STEP_COMMIT:
		return broker_move_commit(s->broker, &s->admin, &m.token, MOVE_RIG_TARGET,
			m.reserved.grants, m.reserved.sum, &s->error);
	case STEP_TAKE:
		return broker_move_take(t->broker, &t->admin, &m.token, MOVE_RIG_SOURCE, &t->error);
	case STEP_RELEASE:
		return broker_move_release(
			s->broker, &s->admin, &m.token, MOVE_RIG_TARGET, false, &s->error);
	case STEP_KEEP:
		return broker_move_keep(s->broker, &s->admin, &m.token, &s->error);
	case STEP_DROP:
	default:
		return broker_move_drop(
			t->broker, &t->admin, &m.token, MOVE_RIG_SOURCE, false, &t->error);
	}
}

int move_send(enum move_step step)
{
	struct fixture *f = &m.host[move_host_of(step)];
	int r = move_ask(step);

	if (r == 0) {
		model_run(f);
		fixture_settle(f);
	}
	return r;
}

void move_do(enum move_step step)
{
	int r = move_send(step);

	if (r)
		ck_abort_msg("step %d: %s", (int)step, m.host[move_host_of(step)].error.text);
	move_check();
}

void move_until(enum move_step step)
{
	for (enum move_step i = STEP_EXPORT; i < step; i++)
		move_do(i);
}

bool move_send_dying(enum move_step step, unsigned at)
{
	const enum move_host host = move_host_of(step);
	struct fixture *f = &m.host[host];

	f->crash.countdown = at;
	if (setjmp(f->crash.die) == 0) {
		move_do(step);
		f->crash.countdown = 0;
		return false;
	}
	move_restart(host);
	move_check();
	return true;
}

/* ------------------------------------------------------------------ who moves it */

enum set_move move_state(enum move_host host)
{
	struct fixture *f = &m.host[host];
	struct move_info info;

	return broker_move_get(f->broker, &f->admin, &m.token, &info, &f->error) ? MOVE_NONE
										 : info.state;
}

bool move_has_set(enum move_host host, struct set_info *ret_info)
{
	struct fixture *f = &m.host[host];
	struct set_id set;

	return broker_set_by_name(f->broker, &f->admin, "vm", &set, &f->error) == 0 &&
	       broker_set_get(f->broker, &f->admin, set, ret_info, &f->error) == 0;
}

void move_finish(void)
{
	struct set_info info;

	/* the token is not remembered: it is asked for */
	if (move_state(TARGET) != MOVE_TAKEN && move_has_set(SOURCE, &info))
		move_do(STEP_EXPORT);
	if (move_state(SOURCE) == MOVE_LEAVING) {
		move_do(STEP_FIRST);
		move_do(STEP_SECOND);
		move_do(STEP_COMMIT);
	}
	if (move_state(SOURCE) == MOVE_GIVEN && move_state(TARGET) == MOVE_RESERVED)
		move_do(STEP_TAKE);
	if (move_state(TARGET) == MOVE_TAKEN)
		move_do(STEP_RELEASE);
}

void move_call_off(void)
{
	move_do(STEP_KEEP);
	move_do(STEP_DROP);
}

/* ------------------------------------------------------------------ what must be so */

static void check_records(struct fixture *f)
{
	struct state_problem problem = {.text = ""};
	void *scratch = malloc(state_check_scratch(f->crash.used));

	if (state_check(&f->state, f->crash.used, scratch, &problem))
		ck_abort_msg("%s", problem.text);
	free(scratch);
}

void move_check(void)
{
	const int owners =
		(move_state(SOURCE) == MOVE_LEAVING) + (move_state(TARGET) == MOVE_TAKEN);

	ck_assert_int_le(owners, 1);
	if (move_state(SOURCE) == MOVE_GIVEN)
		ck_assert(move_state(TARGET) == MOVE_RESERVED || move_state(TARGET) == MOVE_TAKEN);
	for (unsigned i = 0; i < 2; i++) {
		check_records(&m.host[i]);
		fixture_recount(&m.host[i]);
	}
}

/* All of grants[], in any order, and none besides. */
static void check_content(struct fixture *f, struct set_id set)
{
	bool seen[MOVE_GRANTS] = {false};
	struct grant_info info;
	uint64_t cursor = 0;
	unsigned count = 0;

	for (; broker_grant_next(f->broker, &f->admin, set, false, &cursor, &info); count++) {
		unsigned i = 0;

		while (i < MOVE_GRANTS &&
			(seen[i] || info.data != m.grants[i].data ||
				info.has_guest != m.grants[i].has_guest ||
				(info.has_guest && info.guest.v != m.grants[i].guest.v)))
			i++;
		ck_assert_uint_lt(i, MOVE_GRANTS);
		seen[i] = true;
		ck_assert_int_eq(info.state, GRANT_ACTIVE);
		ck_assert(m.mode != SET_IDENTITY || info.host.v == m.numbers[i].v);
	}
	ck_assert_uint_eq(count, MOVE_GRANTS);
}

void move_check_moved(void)
{
	struct fixture *s = &m.host[SOURCE];
	struct set_info info;

	ck_assert(move_has_set(TARGET, &info));
	ck_assert_int_eq(info.move, MOVE_TAKEN);
	ck_assert_uint_eq(info.pasids.limit, 20);
	ck_assert_uint_eq(info.uid, 1007);
	check_content(&m.host[TARGET], info.id);
	ck_assert(!move_has_set(SOURCE, &info) || info.dying);
	for (unsigned i = 0; i < MOVE_GRANTS; i++)
		ck_assert_int_eq(fixture_state(s, m.numbers[i]), GRANT_QUARANTINED);
	fixture_pass_second(s);
	for (unsigned i = 0; i < MOVE_GRANTS; i++)
		ck_assert_int_eq(fixture_state(s, m.numbers[i]), GRANT_IDLE);
	ck_assert_int_eq(move_state(SOURCE), MOVE_NONE);
	move_check();
}

void move_check_stayed(void)
{
	struct fixture *t = &m.host[TARGET];
	struct set_info info;

	ck_assert(move_has_set(SOURCE, &info));
	ck_assert_int_eq(info.move, MOVE_NONE);
	check_content(&m.host[SOURCE], info.id);
	ck_assert(!move_has_set(TARGET, &info));
	fixture_pass_second(t);
	ck_assert_uint_eq(limits_account(t->limits, LIMITS_NO_USER, RESOURCE_PASIDS)->current, 0);
	ck_assert_uint_eq(limits_account(t->limits, LIMITS_NO_USER, RESOURCE_PROMISED)->current, 0);
	(void)fixture_allocate(&m.host[SOURCE], &m.vmm);
	move_check();
}

void move_check_refused(int r, enum move_host host, enum reason reason, unsigned stores)
{
	const struct fixture *f = &m.host[host];

	ck_assert_int_eq(r, (int)reason_status(reason));
	ck_assert_str_eq(reason_text(f->error.reason), reason_text(reason));
	ck_assert_uint_eq(f->crash.stores, stores);
}
