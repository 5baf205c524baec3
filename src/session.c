/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

int peer_new(const struct policy_peer *who, int32_t pid, uint64_t born, struct limits *limits,
	struct peer **ret_peer, struct error *ret_error)
{
	/* Groups begin where the struct's padding would be: idle connections are counted in bytes.
	 */
	size_t groups = who->group_count * sizeof(who->groups[0]);
	struct peer *peer;
	int r;

	assert(who->group_count <= POLICY_GROUPS_MAX);
	peer = malloc(offsetof(struct peer, groups) + groups);
	if (!peer)
		return error_set(
			ret_error, REASON_NO_MEMORY, "no memory for another connection; try again");
	r = limits_user_open(limits, who->uid, &peer->user, ret_error);
	if (r) {
		free(peer);
		return r;
	}
	peer->refs = 1;
	peer->pid = pid;
	peer->born = born;
	peer->uid = who->uid;
	peer->cgroups = who->cgroups;
	peer->admitted = who->admitted;
	peer->group_count = (uint16_t)who->group_count;
	memcpy(peer->groups, who->groups, groups);
	*ret_peer = peer;
	return 0;
}

int peer_charge(struct peer *peer, struct limits *limits, uint32_t uid, struct error *ret_error)
{
	uint32_t user;
	int r = limits_user_open(limits, uid, &user, ret_error);

	if (r)
		return r;
	limits_user_close(limits, peer->user);
	peer->user = user;
	return 0;
}

struct peer *peer_ref(struct peer *peer)
{
	peer->refs++;
	return peer;
}

struct peer *peer_unref(struct peer *peer, struct limits *limits)
{
	if (!peer || --peer->refs)
		return NULL;
	limits_user_close(limits, peer->user);
	free(peer);
	return NULL;
}

void peer_read(const struct peer *peer, struct policy_peer *ret_who)
{
	ret_who->uid = peer->uid;
	ret_who->cgroups = peer->cgroups;
	ret_who->admitted = peer->admitted;
	ret_who->group_count = peer->group_count;
	memcpy(ret_who->groups, peer->groups, peer->group_count * sizeof(peer->groups[0]));
}

int sessions_new(const struct session_config *config, session_random_fn *random, void *random_ctx,
	struct sessions **ret_sessions)
{
	struct sessions *sessions = calloc(1, sizeof(*sessions));
	int r;

	if (!sessions)
		return -ENOMEM;
	sessions->config = *config;
	sessions->random = random;
	sessions->random_ctx = random_ctx;
	TAILQ_INIT(&sessions->parked);
	TAILQ_INIT(&sessions->spare);
	r = session_record_init(sessions);
	if (r) {
		free(sessions);
		return r;
	}
	*ret_sessions = sessions;
	return 0;
}

uint32_t sessions_count(const struct sessions *sessions)
{
	return sessions->count;
}

void sessions_configure(struct sessions *sessions, uint32_t grace_ms, uint32_t reply_max)
{
	sessions->config.grace_ms = grace_ms;
	sessions->config.reply_max = reply_max;
}

void sessions_keep_cgroups(struct sessions *sessions, uint64_t kept)
{
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		for (struct session *s = sessions->by_token[i]; s; s = s->next)
			s->peer->cgroups &= kept;
	}
}

/* ---------------------------------------------------------------- sessions */

static struct session **session_bucket(struct sessions *sessions, const uint8_t *token)
{
	uint64_t hash = siphash(&sessions->key, 0, token, SESSION_TOKEN_SIZE);

	return &sessions->by_token[hash % SESSION_BUCKETS];
}

struct session *session_new(struct sessions *sessions, struct peer *peer)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	session->user = limits_user_ref(sessions->config.limits, peer->user);
	session->peer = peer_ref(peer);
	TAILQ_INIT(&session->remembered);
	return session;
}

static void session_free(struct sessions *sessions, struct session *session)
{
	limits_user_close(sessions->config.limits, session->user);
	session->peer = peer_unref(session->peer, sessions->config.limits);
	free(session);
}

static void session_list(struct sessions *sessions, struct session *session)
{
	struct session **bucket = session_bucket(sessions, session_token(sessions, session));

	session->next = *bucket;
	*bucket = session;
}

static void session_unlist(struct sessions *sessions, struct session *session)
{
	struct session **at = session_bucket(sessions, session_token(sessions, session));

	while (*at != session)
		at = &(*at)->next;
	*at = session->next;
}

void session_enter(struct sessions *sessions, struct session *session)
{
	session_list(sessions, session);
	sessions->count++;
}

void session_hand_over(
	struct sessions *sessions, struct session *session, struct peer *peer, uint64_t secret)
{
	session_unlist(sessions, session);
	session_follow(sessions, session, peer);
	session_record_token(sessions, session, secret);
	session_list(sessions, session);
}

int session_open(struct sessions *sessions, struct peer *peer, enum role role,
	struct session **ret_session, struct error *ret_error)
{
	struct session *session;
	int r = session_pool_prepare(sessions, &sessions->session_pool, 1);

	session = r ? NULL : session_new(sessions, peer);
	if (!session)
		return error_set(ret_error, REASON_NO_MEMORY, "%s",
			r ? "there is no room to record another session; free space in the runtime "
			    "directory, or try again"
			  : "no memory for another session; try again");
	r = limits_charge(
		sessions->config.limits, NULL, peer->user, RESOURCE_SESSIONS, 1, ret_error);
	if (r) {
		session_free(sessions, session);
		return r;
	}
	session->role = role;
	session_record_open(sessions, session);
	session_enter(sessions, session);
	*ret_session = session;
	return 0;
}

/* `record`: it is over in the records, too. */
static void session_end(struct sessions *sessions, struct session *session, bool record)
{
	assert(session->parked_until == 0);
	session_memory_clear(sessions, session, record);
	session_unlist(sessions, session);
	if (record)
		session_record_close(sessions, session);
	limits_release(sessions->config.limits, NULL, session->user, RESOURCE_SESSIONS, 1);
	sessions->count--;
	session_free(sessions, session);
}

void session_close(struct sessions *sessions, struct session *session)
{
	session_end(sessions, session, true);
}

void sessions_free(struct sessions *sessions)
{
	if (!sessions)
		return;
	for (size_t i = 0; i < SESSION_BUCKETS; i++) {
		while (sessions->by_token[i]) {
			if (!sessions->by_token[i]->link)
				(void)session_unpark(sessions, sessions->by_token[i]);
			session_end(sessions, sessions->by_token[i], false);
		}
	}
	session_memory_done(sessions);
	session_record_done(sessions);
	free(sessions);
}

/* Looks at every byte, whatever the first difference. */
static bool session_token_equal(const uint8_t *a, const uint8_t *b)
{
	unsigned difference = 0;

	for (size_t i = 0; i < SESSION_TOKEN_SIZE; i++)
		difference |= (unsigned)(a[i] ^ b[i]);
	return difference == 0;
}

struct session *session_by_token(
	struct sessions *sessions, const uint8_t token[static SESSION_TOKEN_SIZE], uint32_t uid)
{
	struct session *session = *session_bucket(sessions, token);

	for (; session; session = session->next) {
		if (session_token_equal(session_token(sessions, session), token))
			return session->peer->uid == uid ? session : NULL;
	}
	return NULL;
}

const struct session *session_by_id(const struct sessions *sessions, uint64_t id)
{
	const struct session *session = NULL;

	for (size_t i = 0; i < SESSION_BUCKETS && !session; i++) {
		session = sessions->by_token[i];
		while (session && session->id != id)
			session = session->next;
	}
	return session;
}

void session_park(struct sessions *sessions, struct session *session, uint64_t now, void *user)
{
	struct session *before = TAILQ_LAST(&sessions->parked, session_list);

	assert(session->parked_until == 0);
	session->link = NULL;
	session->parked_user = user;
	session->parked_until = now + sessions->config.grace_ms;
	/* In the order of their ends: it is the last one, but where the time was made shorter. */
	while (before && before->parked_until > session->parked_until)
		before = TAILQ_PREV(before, session_list, parked);
	if (before)
		TAILQ_INSERT_AFTER(&sessions->parked, before, session, parked);
	else
		TAILQ_INSERT_HEAD(&sessions->parked, session, parked);
}

void *session_unpark(struct sessions *sessions, struct session *session)
{
	void *user = session->parked_user;

	if (session->parked_until)
		TAILQ_REMOVE(&sessions->parked, session, parked);
	session->parked_until = 0;
	session->parked_user = NULL;
	return user;
}

struct session *sessions_parked(const struct sessions *sessions)
{
	return TAILQ_FIRST(&sessions->parked);
}

struct session *sessions_expired(const struct sessions *sessions, uint64_t now)
{
	struct session *session = TAILQ_FIRST(&sessions->parked);

	return session && session->parked_until <= now ? session : NULL;
}

uint64_t sessions_next_expiry(const struct sessions *sessions)
{
	struct session *session = TAILQ_FIRST(&sessions->parked);

	return session ? session->parked_until : UINT64_MAX;
}
