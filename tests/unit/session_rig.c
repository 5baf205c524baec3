/* SPDX-License-Identifier: MIT */
#include "session_rig.h"

#include "state_check.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define GRACE 30000

struct journal journal;
static struct state_file *memory;
struct limits_config limits_config;
struct limits *limits;
struct sessions *sessions;
struct session *session; /* the first one */
struct session *others[8];
unsigned recovered;
struct peer *peer;
struct error error;
static uint64_t seed;

static void test_random(void *ctx, void *ret_bytes, size_t size)
{
	uint8_t *bytes = ret_bytes;

	(void)ctx;
	for (size_t i = 0; i < size; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
		bytes[i] = (uint8_t)(seed >> 56);
	}
}

static int take(void *ctx, struct session *found)
{
	(void)ctx;
	found->link = &peer;
	if (recovered == 0)
		session = found;
	else
		others[recovered - 1] = found;
	recovered++;
	return 0;
}

int check_records(void)
{
	struct state_problem problem = {.text = ""};
	uint32_t used[STATE_TABLES];
	void *scratch;
	int r;

	for (unsigned t = 0; t < STATE_TABLES; t++)
		used[t] = state_file_used(memory, (enum state_table)t);
	scratch = malloc(state_check_scratch(used));
	ck_assert_ptr_nonnull(scratch);
	r = state_check(state_file_state(memory), used, scratch, &problem);
	free(scratch);
	return r;
}

void start(void)
{
	const struct session_config config = {GRACE, limits, REPLY_MAX, &journal.state};

	recovered = 0;
	ck_assert_int_eq(check_records(), 0);
	ck_assert_int_eq(sessions_new(&config, test_random, NULL, &sessions), 0);
	ck_assert_int_eq(sessions_recover(sessions, take, NULL), 0);
}

void restart(void)
{
	sessions_free(sessions);
	ck_assert_uint_eq(limits_sum(limits, RESOURCE_SESSIONS), 0);
	ck_assert_uint_eq(limits_sum(limits, RESOURCE_REMEMBERED), 0);
	start();
}

void crash(void)
{
	journal_crash(&journal);
	restart();
}

struct session *open_session(void)
{
	struct session *made;

	ck_assert_int_eq(session_open(sessions, peer, ROLE_VMM, &made, &error), 0);
	made->link = &peer;
	return made;
}

void session_rig_open(void)
{
	const struct policy_peer who = {.uid = 1000, .group_count = 1, .groups = {1000}};

	limits_defaults(&limits_config);
	ck_assert_int_eq(limits_new(&limits_config, &limits), 0);
	ck_assert_int_eq(state_file_memory(&memory), 0);
	journal_open(&journal, state_file_state(memory));
	seed = 1;
	ck_assert_int_eq(peer_new(&who, 4711, 99, limits, &peer, &error), 0);
	start();
	session = open_session();
	sessions_settle(sessions);
}

void session_rig_close(void)
{
	sessions_free(sessions);
	peer = peer_unref(peer, limits);
	limits_free(limits);
	state_file_free(memory);
}

static int begin_any(uint64_t id, uint64_t digest, enum session_verdict *ret_verdict,
	struct remembered **ret_remembered)
{
	return session_begin(
		sessions, session, id, 48, digest, ret_verdict, ret_remembered, &error);
}

enum session_verdict begin(uint64_t id, struct remembered **ret_remembered)
{
	enum session_verdict verdict = 0;

	ck_assert_int_eq(begin_any(id, id, &verdict, ret_remembered), 0);
	return verdict;
}

void expect_refusal(uint64_t id, uint64_t digest, enum reason reason)
{
	struct remembered *remembered;
	enum session_verdict verdict;

	ck_assert_int_eq(begin_any(id, digest, &verdict, &remembered), (int)reason_status(reason));
	ck_assert_uint_eq(error.reason, reason);
}

/* What the change with this id is answered. */
static void fill(uint64_t id, uint8_t *ret_reply, size_t size)
{
	for (size_t i = 0; i < size; i++)
		ret_reply[i] = (uint8_t)(id * 7 + i);
}

void finish(struct remembered *remembered, size_t size, bool had_fds)
{
	static uint8_t reply[REPLY_MAX];

	fill(remembered->id, reply, size);
	session_finish(sessions, session, remembered, reply, size, had_fds);
}

void done(uint64_t id, size_t size)
{
	struct remembered *remembered;

	ck_assert_int_eq(begin(id, &remembered), SESSION_RUN);
	ck_assert_int_eq(session_reserve(sessions, session, remembered, size, id % 2, &error), 0);
	finish(remembered, size, false);
}

void expect_reply(uint64_t id, size_t size)
{
	static uint8_t reply[REPLY_MAX], got[REPLY_MAX];
	struct remembered *remembered;

	ck_assert_int_eq(begin(id, &remembered), SESSION_REPLAY);
	ck_assert_uint_eq(remembered->size, size);
	fill(id, reply, size);
	session_reply(sessions, remembered, got);
	ck_assert_mem_eq(got, reply, size);
}

void expect_no_start(int r)
{
	const struct session_config config = {GRACE, limits, REPLY_MAX, &journal.state};

	recovered = 0;
	ck_assert_int_eq(sessions_new(&config, test_random, NULL, &sessions), 0);
	ck_assert_int_eq(sessions_recover(sessions, take, NULL), r);
}
