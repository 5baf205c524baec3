/* SPDX-License-Identifier: MIT */
/*
 * Sessions that go to another process. The one that has a session is given a secret, and who says
 * hello with it has the session from then on. Secrets are in memory only: a restart makes void what
 * nobody has taken. Of what was taken, the digest is recorded together with the new process,
 * because that process knows nothing else if the answer to its hello was lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch_private.h"

#define TAKEN (UINT64_C(1) << 63) /* a digest in the records is never 0 */

static struct handover_list *handover_bucket(struct dispatch *d, uint64_t digest)
{
	return &d->handovers[digest % DISPATCH_WATCH_BUCKETS];
}

static uint64_t handover_digest(const struct dispatch *d, const uint8_t *secret)
{
	return session_digest(d->sessions, 0, 0, secret, SESSION_TOKEN_SIZE) | TAKEN;
}

/* Looks at every byte, whatever the first difference. */
static bool secret_equal(const uint8_t *a, const uint8_t *b)
{
	unsigned difference = 0;

	for (size_t i = 0; i < SESSION_TOKEN_SIZE; i++)
		difference |= (unsigned)(a[i] ^ b[i]);
	return difference == 0;
}

static struct handover *handover_find(struct dispatch *d, const ProtobufCBinaryData *secret)
{
	struct handover *handover;
	uint64_t digest;

	if (secret->len != SESSION_TOKEN_SIZE)
		return NULL;
	digest = handover_digest(d, secret->data);
	TAILQ_FOREACH(handover, handover_bucket(d, digest), same)
	{
		/* The digest is keyed: what it tells about a secret cannot be had from outside. */
		if (handover->digest == digest &&
			(handover->taken || secret_equal(handover->secret, secret->data)))
			return handover;
	}
	return NULL;
}

static void handover_insert(
	struct dispatch *d, struct session *session, struct handover *handover, uint64_t digest)
{
	handover->session = session;
	handover->digest = digest;
	session->handover = handover;
	TAILQ_INSERT_TAIL(handover_bucket(d, digest), handover, same);
}

/* The connection that was made for it serves nobody. */
static void handover_drop_heir(struct dispatch *d, struct handover *handover)
{
	struct link *heir = handover->heir;

	if (!heir)
		return;
	handover->heir = NULL;
	heir->handed->handover = NULL;
	heir->ending = true;
	link_announce(d, heir);
}

/* Nobody can take it any more. */
static void handover_close(struct dispatch *d, struct handover *handover)
{
	if (!handover->taken)
		TAILQ_REMOVE(&d->open_handovers, handover, open);
	explicit_bzero(handover->secret, sizeof(handover->secret));
}

void handover_end(struct dispatch *d, struct handover *handover)
{
	if (!handover)
		return;
	handover_drop_heir(d, handover);
	handover_close(d, handover);
	TAILQ_REMOVE(handover_bucket(d, handover->digest), handover, same);
	handover->session->handover = NULL;
	free(handover);
}

/* ---------------------------------------------------------------- time */

void handover_tick(struct dispatch *d, uint64_t now)
{
	struct handover *handover = TAILQ_FIRST(&d->open_handovers), *next;

	for (; handover && handover->until <= now; handover = next) {
		next = TAILQ_NEXT(handover, open);
		handover_end(d, handover);
	}
}

uint64_t handover_next_tick(const struct dispatch *d)
{
	const struct handover *handover = TAILQ_FIRST(&d->open_handovers);

	return handover ? handover->until : UINT64_MAX;
}

int handover_recover(struct dispatch *d, struct session *session)
{
	const uint64_t digest = session_taken(d->sessions, session);
	struct handover *handover;

	if (!digest)
		return 0;
	handover = calloc(1, sizeof(*handover));
	if (!handover)
		return -ENOMEM;
	handover->taken = true;
	handover_insert(d, session, handover, digest);
	return 0;
}

/* ---------------------------------------------------------------- it is taken */

static int handover_unknown(struct call *call)
{
	return error_set(&call->error, REASON_HANDOVER_UNKNOWN,
		"no session is handed over with this secret: it was taken, cancelled, came too late, "
		"or the daemon was restarted; ask the process that has the session for another");
}

/* The one who took it, and was not told. */
static bool handover_is_by(const struct handover *handover, const struct peer *peer)
{
	const struct peer *owner = handover->session->peer;

	return owner->uid == peer->uid && owner->pid == peer->pid && owner->born == peer->born;
}

/* May this process have it? Who may not is not told that there is something to be had. */
static int handover_check(struct call *call, const struct handover *handover)
{
	struct dispatch *d = call->d;
	const struct session *session = handover->session;
	const struct peer *peer = call->link->peer;

	/* There the connection is the authority, and leads to nothing else. */
	if ((session->handed || call->link->handed) && handover->heir != call->link)
		return handover_unknown(call);
	if (handover->taken)
		return handover_is_by(handover, peer) ? 0 : handover_unknown(call);
	if (handover->until <= d->ports.now_ms(d->ports.ctx))
		return handover_unknown(call);
	if (session->handed)
		return 0;
	if (peer->uid != session->peer->uid && hello_check_role(call, ROLE_ADMIN))
		return handover_unknown(call);
	return hello_check_role(call, session->role);
}

/* What it asked for and was not done yet is not read any more. */
static void handover_dismiss(struct call *call, const struct session *session, struct link *old)
{
	struct dispatch *d = call->d;
	struct error error;

	dispatch_leave(d, old);
	old->bereft = old->ending = true;
	if (old->handed)
		old->handed->spare = true;
	(void)error_set_limit(&error, REASON_HANDED_OVER, session->id, 0, 0,
		"session %llu was handed over to process %d; this connection is closed",
		(unsigned long long)session->id, call->link->peer->pid);
	dispatch_count(d, &error);
	link_refuse(d, old, STATUS_STATE, &error);
}

static void handover_take(struct call *call, struct handover *handover)
{
	struct dispatch *d = call->d;
	struct session *session = handover->session;
	const int32_t from = session->peer->pid;

	if (session->link)
		handover_dismiss(call, session, session->link);
	else
		d->ports.unpark(d->ports.ctx, session_unpark(d->sessions, session));
	session_hand_over(d->sessions, session, call->link->peer, handover->digest);
	d->peer_read = NULL;
	dispatch_count_edge(d, EDGE_HANDED_OVER);
	if (d->ports.handed_over)
		d->ports.handed_over(
			d->ports.ctx, session->id, session->set, from, call->link->peer->pid);
	handover_close(d, handover);
	handover->taken = true;
	if (!handover->heir)
		return;
	/* It is the connection of its set, and what ends with it cannot be asked for again. */
	handover->heir->handed->spare = false;
	handover->heir->handed->handover = NULL;
	handover->heir = NULL;
	handover_end(d, handover);
}

int handover_hello(struct call *call, const Pasid__V1__Hello *hello, struct session **ret_session)
{
	struct handover *handover = NULL;
	int r;

	if (hello->resume_case == PASID__V1__HELLO__RESUME_TAKE_OVER)
		handover = handover_find(call->d, &hello->take_over);
	r = handover ? handover_check(call, handover) : handover_unknown(call);
	if (r)
		return r;
	*ret_session = handover->session;
	if (handover->taken)
		hello_go_on(call, handover->session);
	else
		handover_take(call, handover);
	return 0;
}

/* ---------------------------------------------------------------- it is asked for */

/* The connection on which it can be taken. */
static int handover_make_heir(struct call *call, struct handover *handover)
{
	struct dispatch *d = call->d;
	const struct handed *handed = call->link->handed;
	int r;

	if (call->link->exports >= DISPATCH_EXPORTS_MAX)
		return error_set_limit(&call->error, REASON_LIMIT, handed->set.v,
			DISPATCH_EXPORTS_MAX, call->link->exports,
			"this connection was given descriptors %u times; use what it has",
			call->link->exports);
	r = d->ports.hand(d->ports.ctx, handed->set, handed->uid, &call->own_fd, &call->error);
	if (r)
		return r;
	call->has_own_fd = true;
	call->link->exports++;
	handover->heir = handed_newest(d, handed->set);
	handover->heir->handed->spare = true;
	handover->heir->handed->handover = handover;
	return 0;
}

static void handover_open(struct call *call, struct handover *handover)
{
	struct dispatch *d = call->d;

	handover_end(d, call->session->handover);
	d->ports.random(d->ports.ctx, handover->secret, sizeof(handover->secret));
	handover->until = d->ports.now_ms(d->ports.ctx) + d->config.hand_over_ms;
	TAILQ_INSERT_TAIL(&d->open_handovers, handover, open);
	handover_insert(d, call->session, handover, handover_digest(d, handover->secret));
}

static int handover_begin(struct call *call)
{
	Pasid__V1__HandOverResult result = PASID__V1__HAND_OVER_RESULT__INIT;
	struct handover *handover = calloc(1, sizeof(*handover));
	int r;

	if (!handover)
		return error_set(&call->error, REASON_NO_MEMORY,
			"no memory for a hand-over; nothing has changed, try again");
	r = call->session->handed ? handover_make_heir(call, handover) : 0;
	if (r) {
		free(handover);
		return r;
	}
	handover_open(call, handover);
	result.secret.data = handover->secret;
	result.secret.len = sizeof(handover->secret);
	result.valid_ms = call->d->config.hand_over_ms;
	call_write(call, &result.base);
	return 0;
}

/* Nothing of it is recorded, and asked for again it is another secret: nothing to remember. */
int handle_hand_over(struct call *call)
{
	const Pasid__V1__HandOver *request = (const void *)call->message;
	struct handover *handover = call->session->handover;

	if (!request->cancel)
		return handover_begin(call);
	if (handover && !handover->taken)
		handover_end(call->d, handover);
	return 0;
}

void handovers_free(struct dispatch *d)
{
	struct handover *handover, *next;

	for (size_t i = 0; i < DISPATCH_WATCH_BUCKETS; i++)
		for (handover = TAILQ_FIRST(&d->handovers[i]); handover; handover = next) {
			next = TAILQ_NEXT(handover, same);
			handover_end(d, handover);
		}
}
