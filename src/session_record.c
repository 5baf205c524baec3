/* SPDX-License-Identifier: MIT */
/* Slots of the records: which are free, and what stands in those of sessions and replies. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

#define SESSION_BATCH 64u   /* slots of sessions that are made sure of at once */
#define REPLY_BATCH   1024u /* and of replies */
#define ID_BATCH      64u   /* ids of sessions that are taken at once */

static void record_commit(const struct sessions *sessions, uint64_t *word, uint64_t value)
{
	state_commit(sessions->config.state, word, value);
}

void sessions_settle(struct sessions *sessions)
{
	state_settle(sessions->config.state);
	sessions->session_pool.usable = sessions->session_pool.top;
	sessions->reply_pool.usable = sessions->reply_pool.top;
}

/* ---------------------------------------------------------------- free slots */

static bool pool_has(const struct session_pool *pool, uint32_t n)
{
	return (uint64_t)pool->usable + (pool->mark - pool->fresh) >= (uint64_t)pool->kept + n;
}

/* Slots below `mark` can be written from here on, and can be freed. */
static int pool_raise(struct sessions *sessions, struct session_pool *pool, uint32_t mark)
{
	uint32_t *stack = realloc(pool->stack, mark * sizeof(*stack));
	int r;

	if (!stack)
		return -ENOMEM;
	pool->stack = stack;
	r = state_reserve(sessions->config.state, pool->table, mark);
	if (r)
		return r;
	record_commit(sessions, pool->recorded, mark);
	pool->mark = mark;
	return 0;
}

static int pool_grow(struct sessions *sessions, struct session_pool *pool, uint32_t n)
{
	const uint32_t capacity = sessions->config.state->capacity[pool->table];
	uint64_t mark = (uint64_t)pool->fresh + pool->kept + n - pool->usable;

	mark = (mark + pool->batch - 1) / pool->batch * pool->batch;
	if (mark > capacity)
		mark = capacity;
	if (mark + pool->usable < (uint64_t)pool->fresh + pool->kept + n)
		return -ENOSPC;
	return pool_raise(sessions, pool, (uint32_t)mark);
}

int session_pool_prepare(struct sessions *sessions, struct session_pool *pool, uint32_t n)
{
	if (pool_has(pool, n))
		return 0;
	/* Nothing of the next change was done yet, so what was freed before can be had. */
	if (pool->top > pool->usable)
		sessions_settle(sessions);
	return pool_has(pool, n) ? 0 : pool_grow(sessions, pool, n);
}

uint32_t session_pool_take(struct session_pool *pool)
{
	uint32_t slot;

	assert(pool->usable || pool->fresh < pool->mark);
	if (!pool->usable)
		return pool->fresh++;
	slot = pool->stack[--pool->usable];
	/* One of those that wait fills the place, so that they stay together. */
	pool->stack[pool->usable] = pool->stack[--pool->top];
	return slot;
}

void session_pool_give(struct session_pool *pool, uint32_t slot)
{
	assert(pool->top < pool->mark);
	pool->stack[pool->top++] = slot;
}

/* ---------------------------------------------------------------- the host */

/* A key that lasts: digests of before a restart must be known after it. */
static void record_key(struct sessions *sessions)
{
	struct host_slot *host = sessions->host;
	uint64_t key[2] = {host->digest[0], host->digest[1]};

	if (!key[0] && !key[1]) {
		sessions->random(sessions->random_ctx, key, sizeof(key));
		record_commit(sessions, &host->digest[0], key[0]);
		record_commit(sessions, &host->digest[1], key[1]);
		record_commit(sessions, &host->word, HOST_USED);
		state_settle(sessions->config.state);
	}
	_Static_assert(sizeof(sessions->key) == sizeof(key), "the key is two words");
	memcpy(&sessions->key, key, sizeof(key));
}

int session_record_init(struct sessions *sessions)
{
	const struct state *state = sessions->config.state;
	int r = state_reserve(state, STATE_HOST, 1);

	if (r)
		return r;
	sessions->host = state->table[STATE_HOST];
	sessions->slots = state->table[STATE_SESSIONS];
	sessions->replies = state->table[STATE_REPLIES];
	sessions->session_pool = (struct session_pool){
		.table = STATE_SESSIONS,
		.batch = SESSION_BATCH,
		.recorded = &sessions->host->session_slots,
	};
	sessions->reply_pool = (struct session_pool){
		.table = STATE_REPLIES,
		.batch = REPLY_BATCH,
		.recorded = &sessions->host->reply_slots,
	};
	record_key(sessions);
	/* All below the recorded one may have been used. */
	sessions->last_session = sessions->host->session ? sessions->host->session - 1 : 0;
	return 0;
}

void session_record_done(struct sessions *sessions)
{
	free(sessions->session_pool.stack);
	free(sessions->reply_pool.stack);
}

/* ---------------------------------------------------------------- sessions */

static uint64_t record_next_id(struct sessions *sessions)
{
	const uint64_t id = ++sessions->last_session;

	if (id >= sessions->host->session)
		record_commit(sessions, &sessions->host->session, id + ID_BATCH);
	return id;
}

static uint64_t record_word(const struct session *session)
{
	return SESSION_LIVE | (uint64_t)session->role << SESSION_WORD_ROLE |
	       (session->handed ? SESSION_WORD_HANDED : 0);
}

void session_record_open(struct sessions *sessions, struct session *session)
{
	struct session_slot *slot;

	session->slot = session_pool_take(&sessions->session_pool);
	session->id = record_next_id(sessions);
	slot = &sessions->slots[session->slot];
	slot->id = session->id;
	sessions->random(sessions->random_ctx, slot->token, sizeof(slot->token));
	slot->set = session->set.v;
	slot->floor = session->floor;
	slot->born = session->peer->born;
	slot->uid = session->peer->uid;
	slot->pid = session->peer->pid;
	slot->charged = limits_user_uid(sessions->config.limits, session->user);
	slot->taken = 0;
	record_commit(sessions, &slot->word, record_word(session));
}

void session_record_close(struct sessions *sessions, struct session *session)
{
	record_commit(sessions, &sessions->slots[session->slot].word, SESSION_FREE);
	session_pool_give(&sessions->session_pool, session->slot);
}

void session_record_floor(struct sessions *sessions, const struct session *session)
{
	record_commit(sessions, &sessions->slots[session->slot].floor, session->floor);
}

void session_record_token(struct sessions *sessions, const struct session *session, uint64_t secret)
{
	struct session_slot *slot = &sessions->slots[session->slot];
	uint64_t token[ARRAY_SIZE(slot->token)];

	sessions->random(sessions->random_ctx, token, sizeof(token));
	for (size_t i = 0; i < ARRAY_SIZE(token); i++)
		record_commit(sessions, &slot->token[i], token[i]);
	record_commit(sessions, &slot->taken, secret);
}

uint64_t session_taken(const struct sessions *sessions, const struct session *session)
{
	return sessions->slots[session->slot].taken;
}

const uint8_t *session_token(const struct sessions *sessions, const struct session *session)
{
	_Static_assert(sizeof(sessions->slots->token) == SESSION_TOKEN_SIZE, "a token fits");
	return (const uint8_t *)sessions->slots[session->slot].token;
}

void session_use(struct sessions *sessions, struct session *session, struct set_id set)
{
	if (session->set.v == set.v)
		return;
	session->set = set;
	record_commit(sessions, &sessions->slots[session->slot].set, set.v);
}

void session_serve(struct sessions *sessions, struct session *session, struct set_id set)
{
	session_use(sessions, session, set);
	session->handed = true;
	record_commit(sessions, &sessions->slots[session->slot].word, record_word(session));
}

void session_follow(struct sessions *sessions, struct session *session, struct peer *peer)
{
	struct session_slot *slot = &sessions->slots[session->slot];
	const struct session_slot who = {.uid = peer->uid, .pid = peer->pid};

	(void)peer_ref(peer);
	(void)peer_unref(session->peer, sessions->config.limits);
	session->peer = peer;
	record_commit(sessions, &slot->born, peer->born);
	record_commit(sessions, &slot->who, who.who);
}

/* ---------------------------------------------------------------- replies */

static uint64_t reply_word(enum reply_state state, const struct remembered *remembered)
{
	return (uint64_t)state | (remembered->had_fds ? REPLY_WORD_FDS : 0) |
	       (uint64_t)remembered->number << REPLY_WORD_NUMBER | (uint64_t)remembered->size << 32;
}

static struct reply_slot *reply_write_head(struct sessions *sessions, const struct session *session,
	const struct remembered *remembered)
{
	struct reply_slot *slot = &sessions->replies[remembered->slot];

	slot->session = session->slot;
	slot->more = STATE_NONE;
	slot->id = remembered->id;
	slot->digest = remembered->digest;
	return slot;
}

void session_record_start(struct sessions *sessions, const struct session *session,
	const struct remembered *remembered)
{
	struct reply_slot *slot = &sessions->replies[remembered->slot];

	if (slot->word) /* it was interrupted, and is recorded as it is */
		return;
	(void)reply_write_head(sessions, session, remembered);
	record_commit(sessions, &slot->word, reply_word(REPLY_UNDER_WAY, remembered));
}

/* The last piece first, so that each names the next. Returns the first of them. */
static uint32_t reply_write_more(struct sessions *sessions, const struct session *session,
	const uint8_t *reply, uint32_t size)
{
	uint32_t next = STATE_NONE;
	uint32_t left = session_record_more(size);

	while (left--) {
		const uint32_t at = STATE_REPLY_FIRST + left * STATE_REPLY_MORE;
		const uint32_t n = size - at < STATE_REPLY_MORE ? size - at : STATE_REPLY_MORE;
		const uint32_t index = session_pool_take(&sessions->reply_pool);
		struct reply_slot *slot = &sessions->replies[index];

		slot->session = session->slot;
		slot->more = next;
		memcpy(slot->bytes, reply + at, n);
		record_commit(sessions, &slot->word, REPLY_MORE | (uint64_t)n << 32);
		next = index;
	}
	return next;
}

void session_record_finish(struct sessions *sessions, const struct session *session,
	struct remembered *remembered, const uint8_t *reply)
{
	const uint32_t size = remembered->size;
	struct reply_slot *slot;
	uint32_t more = STATE_NONE;

	if (size > STATE_REPLY_FIRST)
		more = reply_write_more(sessions, session, reply, size);
	if (remembered->slot == STATE_NONE)
		remembered->slot = session_pool_take(&sessions->reply_pool);
	/* While it is under way, what is written here means nothing; id and digest stay. */
	slot = reply_write_head(sessions, session, remembered);
	slot->more = more;
	if (size)
		memcpy(slot->first, reply, size < STATE_REPLY_FIRST ? size : STATE_REPLY_FIRST);
	record_commit(sessions, &slot->word, reply_word(REPLY_FINAL, remembered));
}

void session_record_drop(struct sessions *sessions, struct remembered *remembered)
{
	uint32_t left = remembered->final ? session_record_more(remembered->size) + 1 : 1;
	uint32_t index = remembered->slot;

	if (index == STATE_NONE)
		return;
	while (left--) {
		struct reply_slot *slot = &sessions->replies[index];

		record_commit(sessions, &slot->word, REPLY_FREE);
		session_pool_give(&sessions->reply_pool, index);
		index = slot->more;
	}
	remembered->slot = STATE_NONE;
}

void session_reply(
	const struct sessions *sessions, const struct remembered *remembered, uint8_t *ret_reply)
{
	const struct reply_slot *slot = &sessions->replies[remembered->slot];
	const uint32_t size = remembered->size;
	uint32_t at = size < STATE_REPLY_FIRST ? size : STATE_REPLY_FIRST;

	assert(remembered->final);
	memcpy(ret_reply, slot->first, at);
	while (at < size) {
		const uint32_t n = size - at < STATE_REPLY_MORE ? size - at : STATE_REPLY_MORE;

		slot = &sessions->replies[slot->more];
		memcpy(ret_reply + at, slot->bytes, n);
		at += n;
	}
}
