/* SPDX-License-Identifier: MIT */
/*
 * F42: what is refused while a set moves, whoever lies, mixes up messages or is in no position to
 * ask; and records of a move that cannot be.
 */
#include "broker_private.h"
#include "move_rig.h"
#include "state_check.h"
#include "suite.h"

#include <stdlib.h>
#include <string.h>

static const struct set_id own = {0};

static struct pasid_ref number(uint32_t i)
{
	return (struct pasid_ref){.number = m.numbers[i].v};
}

/* ------------------------------------------------------------------ while it is under way */

static int ask_allocate(struct fixture *f, const struct actor *actor, struct set_id set)
{
	const struct allocate allocate = {.set = set, .max = PASID_LAST, .count = 1};
	struct hpasid host;

	return broker_allocate(f->broker, actor, &allocate, &host, &f->error);
}

/* Requests about numbers and the set itself. */
static void refuses_changes_of_numbers(
	enum move_host host, const struct actor *actor, struct set_id set, enum reason reason)
{
	struct fixture *f = &m.host[host];
	struct set_id ignored;
	uint32_t n, k;

	ck_refused(ask_allocate(f, actor, set), host, reason);
	ck_refused(broker_free_all(f->broker, actor, set, &n, &f->error), host, reason);
	ck_refused(broker_free_pasids(f->broker, actor, set, NULL, 0, &n, &k, &f->error), host,
		reason);
	ck_refused(broker_guest_attach(
			   f->broker, actor, set, m.numbers[2], (struct gpasid){9}, &f->error),
		host, reason);
	ck_refused(broker_guest_detach(f->broker, actor, set, m.grants[0].guest, &f->error), host,
		reason);
	ck_refused(broker_data_set(f->broker, actor, set, number(0), 1, &f->error), host, reason);
	ck_refused(broker_hold(f->broker, actor, set, m.numbers[0], &f->error), host, reason);
	ck_refused(broker_set_adjust(f->broker, actor, set, 30, &f->error), host, reason);
	ck_refused(broker_set_export(f->broker, actor, set, &ignored, &f->error), host, reason);
	ck_refused(broker_set_destroy(f->broker, actor, set, true, 0, &f->error), host, reason);
}

/* Every request that would change what moves. */
static void refuses_changes(
	enum move_host host, const struct actor *actor, struct set_id set, enum reason reason)
{
	struct fixture *f = &m.host[host];
	const int fds[] = {50, MODEL_DEVICE_FD(4)};
	const struct bind_pair pair = {.table = {.kind = HW_TABLE_SPACE}};
	const struct memory memory = {.set = set, .length = 4096};
	struct device_id slice;

	refuses_changes_of_numbers(host, actor, set, reason);
	ck_refused(
		broker_device_add(f->broker, actor, set, fds, 2, NULL, 0, &f->error), host, reason);
	ck_refused(broker_device_slice(f->broker, actor, set, (struct device_id){0},
			   (struct rid){5}, &slice, &f->error),
		host, reason);
	ck_refused(broker_bind(f->broker, actor, set, number(0), &pair, 1, 0, &f->error), host,
		reason);
	ck_refused(broker_rid_attach(f->broker, actor, set, &pair, 0, &f->error), host, reason);
	ck_refused(broker_memory_map(f->broker, actor, &memory, 60, 0, &f->error), host, reason);
}

START_TEST(what_moves_stays_as_it_is)
	{
		struct fixture *s = &m.host[SOURCE], *t = &m.host[TARGET];
		struct set_info info;

		move_open(SET_TRANSLATED, false);
		move_do(STEP_EXPORT);
		refuses_changes(SOURCE, &m.vmm, own, REASON_SET_MOVING);
		refuses_changes(SOURCE, &s->admin, m.set, REASON_SET_MOVING);
		move_do(STEP_FIRST);
		ck_assert(move_has_set(TARGET, &info));
		refuses_changes(TARGET, &t->admin, info.id, REASON_SET_MOVING);
		ck_refused(broker_unbind(
				   t->broker, &t->admin, info.id, number(0), NULL, 0, 0, &t->error),
			TARGET, REASON_SET_MOVING);
		move_do(STEP_SECOND);
		refuses_changes(TARGET, &t->admin, info.id, REASON_SET_MOVING);
		move_do(STEP_COMMIT);
		refuses_changes(SOURCE, &m.vmm, own, REASON_SET_MOVED);
		refuses_changes(TARGET, &t->admin, info.id, REASON_SET_MOVING);
		move_do(STEP_TAKE);
		ck_assert_int_eq(ask_allocate(t, &t->admin, info.id), 0);
		move_close();
	}
END_TEST

/* Otherwise it could never be given. */
START_TEST(a_leaving_set_lets_go)
	{
		struct fixture *s = &m.host[SOURCE];
		struct device_id device;
		struct outcome outcome;

		move_open(SET_TRANSLATED, false);
		device = fixture_add(s, &m.vmm, 3, 50);
		ck_assert_int_eq(fixture_bind(s, &m.vmm, m.numbers[0], &device, 1), 0);
		ck_assert_int_eq(broker_hold(s->broker, &m.vmm, own, m.numbers[0], &s->error), 0);
		fixture_settle(s);
		move_until(STEP_COMMIT);
		ck_refused(move_send(STEP_COMMIT), SOURCE, REASON_SET_BOUND);
		ck_assert_int_eq(
			broker_unbind(s->broker, &m.vmm, own, number(0), NULL, 0, 77, &s->error),
			0);
		ck_refused(move_send(STEP_COMMIT), SOURCE, REASON_BUSY);
		outcome = fixture_outcome(s, 77);
		ck_assert_int_eq(outcome.status, 0);
		ck_assert_int_eq(
			broker_release(s->broker, &m.vmm, own, m.numbers[0], &s->error), 0);
		move_do(STEP_COMMIT);
		ck_assert_int_eq(
			broker_device_remove(s->broker, &m.vmm, own, device, 78, &s->error), 0);
		ck_assert_int_eq(fixture_outcome(s, 78).status, 0);
		fixture_settle(s);
		move_finish();
		move_check_moved();
		move_close();
	}
END_TEST

/* One that is freed and still held is not the set's any more. */
START_TEST(a_freed_number_that_is_held_does_not_move)
	{
		struct fixture *s = &m.host[SOURCE];
		struct hpasid held;

		move_open(SET_TRANSLATED, false);
		held = fixture_allocate(s, &m.vmm);
		ck_assert_int_eq(broker_hold(s->broker, &m.vmm, own, held, &s->error), 0);
		ck_assert_int_eq(fixture_free(s, &m.vmm, held), 0);
		fixture_settle(s);
		move_until(STEPS);
		ck_assert_uint_eq(m.exported.grants, MOVE_GRANTS);
		move_check_moved();
		move_close();
	}
END_TEST

/* ------------------------------------------------------------------ words and steps */

static int ask_take(uint64_t proof)
{
	struct fixture *t = &m.host[TARGET];

	return broker_move_take(t->broker, &t->admin, &m.token, proof, &t->error);
}

static int ask_drop(uint64_t proof, bool force)
{
	struct fixture *t = &m.host[TARGET];

	return broker_move_drop(t->broker, &t->admin, &m.token, proof, force, &t->error);
}

static int ask_release(uint64_t proof, bool force)
{
	struct fixture *s = &m.host[SOURCE];

	return broker_move_release(s->broker, &s->admin, &m.token, proof, force, &s->error);
}

static int ask_commit(uint64_t proof, uint32_t grants, uint64_t sum)
{
	struct fixture *s = &m.host[SOURCE];

	return broker_move_commit(s->broker, &s->admin, &m.token, proof, grants, sum, &s->error);
}

/* F42 */
START_TEST(nobody_is_believed_without_the_others_word)
	{
		move_open(SET_TRANSLATED, false);
		move_until(STEP_COMMIT);
		ck_refused(ask_take(5), TARGET, REASON_MOVE_WORD);
		ck_refused(ask_drop(5, false), TARGET, REASON_MOVE_WORD);
		move_do(STEP_COMMIT);
		ck_refused(ask_release(5, false), SOURCE, REASON_MOVE_WORD);
		/* to one target only */
		ck_refused(
			ask_commit(5, m.reserved.grants, m.reserved.sum), SOURCE, REASON_MOVE_WORD);
		move_finish();
		move_check_moved();
		move_close();
	}
END_TEST

START_TEST(an_admin_may_vouch_for_the_other_host)
	{
		struct set_info info;

		move_open(SET_TRANSLATED, true);
		move_until(STEP_TAKE);
		ck_assert_int_eq(ask_drop(0, true), 0);
		ck_assert_int_eq(ask_release(0, true), 0);
		for (unsigned i = 0; i < 2; i++) {
			fixture_settle(&m.host[i]);
			fixture_pass_second(&m.host[i]);
			ck_assert(!move_has_set((enum move_host)i, &info));
		}
		move_close();
	}
END_TEST

START_TEST(steps_have_an_order)
	{
		move_open(SET_TRANSLATED, false);
		move_do(STEP_EXPORT);
		ck_refused(ask_take(MOVE_RIG_SOURCE), TARGET, REASON_NO_MOVE);
		ck_refused(ask_release(MOVE_RIG_TARGET, true), SOURCE, REASON_MOVE_STEP);
		move_do(STEP_FIRST);
		ck_refused(ask_take(MOVE_RIG_SOURCE), TARGET, REASON_MOVE_STEP);
		ck_refused(move_reserve(4, 1, true), TARGET, REASON_BAD_ARGUMENT);
		ck_refused(move_reserve(5, 2, false), TARGET, REASON_MOVE_STEP);
		move_do(STEP_SECOND);
		ck_refused(broker_move_commit(m.host[TARGET].broker, &m.host[TARGET].admin,
				   &m.token, 1, 1, 1, &m.host[TARGET].error),
			TARGET, REASON_MOVE_STEP);
		ck_refused(broker_move_keep(m.host[TARGET].broker, &m.host[TARGET].admin, &m.token,
				   &m.host[TARGET].error),
			TARGET, REASON_MOVE_STEP);
		move_do(STEP_COMMIT);
		ck_refused(move_send(STEP_KEEP), SOURCE, REASON_MOVE_STEP);
		ck_assert_int_eq(move_send(STEP_EXPORT), 0); /* says that it was given */
		ck_assert_int_eq(m.exported.state, MOVE_GIVEN);
		move_do(STEP_TAKE);
		ck_refused(ask_drop(MOVE_RIG_SOURCE, true), TARGET, REASON_MOVE_STEP);
		move_finish();
		move_check_moved();
		ck_refused(ask_commit(MOVE_RIG_TARGET, 1, 1), SOURCE, REASON_NO_MOVE);
		move_close();
	}
END_TEST

START_TEST(a_set_is_not_given_for_other_numbers_than_it_has)
	{
		move_open(SET_TRANSLATED, false);
		move_until(STEP_COMMIT);
		ck_refused(ask_commit(MOVE_RIG_TARGET, m.reserved.grants - 1, m.reserved.sum),
			SOURCE, REASON_MOVE_CONTENT);
		ck_refused(ask_commit(MOVE_RIG_TARGET, m.reserved.grants, m.reserved.sum + 1),
			SOURCE, REASON_MOVE_CONTENT);
		move_call_off();
		/* the document was mixed up on its way */
		fixture_pass_second(&m.host[TARGET]);
		move_do(STEP_EXPORT);
		m.grants[3].data++;
		move_do(STEP_FIRST);
		move_do(STEP_SECOND);
		ck_refused(move_send(STEP_COMMIT), SOURCE, REASON_MOVE_CONTENT);
		m.grants[3].data--;
		move_call_off();
		move_check_stayed();
		move_close();
	}
END_TEST

/* ------------------------------------------------------------------ who may, and what is told */

START_TEST(moves_are_for_admins)
	{
		struct fixture *s = &m.host[SOURCE];
		struct move_reserve reserve;
		struct move_info info;
		uint64_t cursor = 0;

		move_open(SET_TRANSLATED, false);
		move_do(STEP_EXPORT);
		reserve = move_request(0, 1, false);
		for (unsigned i = 0; i < 2; i++) {
			const struct actor *who = i ? &s->observer : &m.vmm;
			struct error *e = &s->error;

			ck_refused(broker_move_export(s->broker, who, m.set, &m.token, &info, e),
				SOURCE, REASON_ROLE);
			ck_refused(broker_move_reserve(s->broker, who, &reserve, &info, m.conflicts,
					   &m.conflict_count, e),
				SOURCE, REASON_ROLE);
			ck_refused(broker_move_commit(s->broker, who, &m.token, 1, 1, 1, e), SOURCE,
				REASON_ROLE);
			ck_refused(broker_move_take(s->broker, who, &m.token, 1, e), SOURCE,
				REASON_ROLE);
			ck_refused(
				broker_move_keep(s->broker, who, &m.token, e), SOURCE, REASON_ROLE);
			ck_refused(broker_move_drop(s->broker, who, &m.token, 1, true, e), SOURCE,
				REASON_ROLE);
			ck_refused(broker_move_release(s->broker, who, &m.token, 1, true, e),
				SOURCE, REASON_ROLE);
			ck_refused(broker_move_get(s->broker, who, &m.token, &info, e), SOURCE,
				REASON_ROLE);
			ck_refused(broker_move_of_set(s->broker, who, m.set, &info, e), SOURCE,
				REASON_ROLE);
			ck_assert(!broker_move_next(s->broker, who, &cursor, &info));
			cursor = 0;
		}
		move_close();
	}
END_TEST

START_TEST(moves_are_listed_until_they_are_over)
	{
		struct fixture *s = &m.host[SOURCE], *t = &m.host[TARGET];
		struct move_info info;
		uint64_t cursor = 0;
		struct set_info set;

		move_open(SET_TRANSLATED, false);
		ck_refused(broker_move_of_set(s->broker, &s->admin, m.set, &info, &s->error),
			SOURCE, REASON_NO_MOVE);
		ck_refused(broker_move_of_set(s->broker, &s->admin, own, &info, &s->error), SOURCE,
			REASON_NO_SET);
		ck_assert(!broker_move_next(s->broker, &s->admin, &cursor, &info));
		move_until(STEP_COMMIT);
		m.token.v[1]++; /* another move */
		ck_assert_int_eq(move_state(SOURCE), MOVE_NONE);
		m.token.v[1]--;
		for (unsigned i = 0; i < 2; i++) {
			struct fixture *f = &m.host[i];

			cursor = 0;
			ck_assert(broker_move_next(f->broker, &f->admin, &cursor, &info));
			ck_assert_str_eq(info.name, "vm");
			ck_assert_uint_eq(info.token.v[1], m.token.v[1]);
			ck_assert_uint_eq(info.grants, MOVE_GRANTS);
			ck_assert(!broker_move_next(f->broker, &f->admin, &cursor, &info));
			ck_assert_uint_eq(cursor, BROKER_END);
		}
		move_do(STEP_COMMIT);
		move_do(STEP_TAKE);
		cursor = 0;
		ck_assert(!broker_move_next(t->broker, &t->admin, &cursor, &info));
		ck_assert(move_has_set(TARGET, &set));
		ck_assert_int_eq(
			broker_move_of_set(t->broker, &t->admin, set.id, &info, &t->error), 0);
		ck_assert_int_eq(info.state, MOVE_TAKEN);
		move_do(STEP_RELEASE);
		cursor = 0;
		ck_assert(broker_move_next(s->broker, &s->admin, &cursor, &info));
		ck_assert(info.ending);
		move_close();
	}
END_TEST

/* ------------------------------------------------------------------ records that cannot be */

static struct set_slot *slot_of(enum move_host host)
{
	return m.host[host].state.table[STATE_SETS];
}

static void finds(enum move_host host, const char *recounted, const char *checked)
{
	struct fixture *f = &m.host[host];
	struct state_problem problem = {.text = ""};
	struct error error = {0};
	void *scratch = malloc(state_check_scratch(f->crash.used));

	if (recounted) {
		ck_assert_int_eq(broker_recount(f->broker, &error), STATUS_INTERNAL);
		ck_assert_msg(strstr(error.text, recounted) != NULL, "%s", error.text);
	}
	if (checked) {
		ck_assert_int_ne(state_check(&f->state, f->crash.used, scratch, &problem), 0);
		ck_assert_msg(strstr(problem.text, checked) != NULL, "%s", problem.text);
	}
	free(scratch);
}

static void is_sound(enum move_host host)
{
	struct fixture *f = &m.host[host];
	struct state_problem problem = {.text = ""};
	void *scratch = malloc(state_check_scratch(f->crash.used));

	ck_assert_msg(
		state_check(&f->state, f->crash.used, scratch, &problem) == 0, "%s", problem.text);
	free(scratch);
}

static void with_word(
	enum move_host host, uint64_t word, const char *recounted, const char *checked)
{
	const uint64_t before = slot_of(host)->word;

	slot_of(host)->word = word;
	finds(host, recounted, checked);
	slot_of(host)->word = before;
}

static uint64_t word_with(enum move_host host, enum set_state state, unsigned move)
{
	const uint64_t word = slot_of(host)->word & ~(SET_MOVE_MASK | UINT64_C(0xf));

	return word | (uint64_t)move << SET_MOVE_SHIFT | state;
}

START_TEST(a_set_that_is_not_taken_is_used_by_nobody)
	{
		struct set *run;

		move_open(SET_TRANSLATED, true);
		move_until(STEP_COMMIT);
		run = &m.host[TARGET].broker->sets[0];
		run->ops++;
		finds(TARGET, "used before it is taken", NULL);
		run->ops--;
		move_close();
	}
END_TEST

START_TEST(records_of_moves_go_together)
	{
		struct fixture *s = &m.host[SOURCE];
		struct set_slot *slot;
		struct device_id device;

		move_open(SET_TRANSLATED, false);
		(void)fixture_vmm(s, 30, "second", SET_TRANSLATED, 9);
		device = fixture_add(s, &m.vmm, 3, 50);
		fixture_settle(s);
		move_do(STEP_EXPORT);
		slot = slot_of(SOURCE);
		for (enum set_move move = MOVE_LEAVING; move <= MOVE_RESERVED; move++) {
			if (move != MOVE_GIVEN)
				with_word(SOURCE, word_with(SOURCE, SET_DYING, move),
					"a set that ends is under way",
					"a set that ends is under way");
		}
		with_word(SOURCE, word_with(SOURCE, SET_ACTIVE, 6), NULL, "no state 6 of a move");
		with_word(SOURCE, word_with(SOURCE, SET_ACTIVE, MOVE_COMING),
			"used before it is taken", "not taken yet");
		slot[1].word |= (uint64_t)MOVE_LEAVING << SET_MOVE_SHIFT;
		finds(SOURCE, NULL, "without a name");
		slot[0].move[0] = 5;
		slot[0].move[1] = 5;
		for (unsigned first = 4; first <= 6; first++) {
			for (unsigned second = 4; second <= 6; second++) {
				slot[1].move[0] = first;
				slot[1].move[1] = second;
				if (first != 5 || second != 5)
					is_sound(SOURCE);
			}
		}
		slot[1].move[0] = 0;
		is_sound(SOURCE);
		slot[0].move[0] = m.token.v[0];
		slot[0].move[1] = m.token.v[1];
		slot[1].move[0] = slot[0].move[0];
		slot[1].move[1] = slot[0].move[1];
		finds(SOURCE, NULL, "another set is under way with the same move");
		slot[1].word &= ~SET_MOVE_MASK;
		move_do(STEP_KEEP);
		ck_assert_int_eq(fixture_bind(s, &m.vmm, m.numbers[0], &device, 1), 0);
		with_word(SOURCE, word_with(SOURCE, SET_ACTIVE, MOVE_GIVEN),
			"bound that is another host's", "another host's");
		with_word(SOURCE, word_with(SOURCE, SET_ACTIVE, MOVE_RESERVED),
			"bound that is another host's", "another host's");
		move_close();
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_moves_stays_as_it_is,
		a_leaving_set_lets_go,
		a_freed_number_that_is_held_does_not_move,
		nobody_is_believed_without_the_others_word,
		an_admin_may_vouch_for_the_other_host,
		steps_have_an_order,
		a_set_is_not_given_for_other_numbers_than_it_has,
		moves_are_for_admins,
		moves_are_listed_until_they_are_over,
		a_set_that_is_not_taken_is_used_by_nobody,
		records_of_moves_go_together,
	};

	return suite_run(
		"broker, what moves refuse", "refuse", tests, ARRAY_SIZE(tests), NULL, NULL);
}
