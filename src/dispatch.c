/* SPDX-License-Identifier: MIT */
/* Links, datagrams in, and time. */
#include "dispatch_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_GRACE_MS               30000u
#define DEFAULT_HAND_OVER_MS           30000u
#define DEFAULT_OPERATIONS_PER_SESSION 64u
#define DEFAULT_OPERATIONS_MAX         4096u
#define DEFAULT_OUTPUT_MAX             (256u << 10)
#define DEFAULT_EVENTS_MAX             1024u
#define COST_BYTES                     32u /* of a datagram that cost one, to be read */
#define DEFAULT_REMEMBERED_MAX         (2 * WIRE_DATAGRAM_MAX)

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

struct dispatch_config dispatch_defaults(const struct dispatch_config *from)
{
	struct dispatch_config config = *from;

	config.grace_ms = or_default(config.grace_ms, DEFAULT_GRACE_MS);
	config.hand_over_ms = or_default(config.hand_over_ms, DEFAULT_HAND_OVER_MS);
	config.operations_per_session =
		or_default(config.operations_per_session, DEFAULT_OPERATIONS_PER_SESSION);
	config.operations_max = or_default(config.operations_max, DEFAULT_OPERATIONS_MAX);
	config.output_max = or_default(config.output_max, DEFAULT_OUTPUT_MAX);
	config.events_max = or_default(config.events_max, DEFAULT_EVENTS_MAX);
	config.requests_max = or_default(config.requests_max, WIRE_REQUESTS_MAX);
	config.remembered_max = or_default(config.remembered_max, DEFAULT_REMEMBERED_MAX);
	return config;
}

static void dispatch_init_lists(struct dispatch *d)
{
	TAILQ_INIT(&d->links);
	for (size_t i = 0; i < WATCH_CLASSES; i++) {
		TAILQ_INIT(&d->ready[i]);
		TAILQ_INIT(&d->watch_all[i]);
	}
	TAILQ_INIT(&d->spare);
	TAILQ_INIT(&d->free_operations);
	TAILQ_INIT(&d->by_deadline);
	for (size_t i = 0; i < DISPATCH_WATCH_BUCKETS; i++)
		TAILQ_INIT(&d->watch_set[i]);
	for (size_t i = 0; i < DISPATCH_WATCH_BUCKETS; i++)
		TAILQ_INIT(&d->handed[i]);
	for (size_t i = 0; i < DISPATCH_WATCH_BUCKETS; i++)
		TAILQ_INIT(&d->handovers[i]);
	TAILQ_INIT(&d->open_handovers);
}

int dispatch_new(const struct dispatch_config *config, const struct dispatch_ports *ports,
	struct broker *broker, struct dispatch **ret_dispatch)
{
	struct dispatch *d = calloc(1, sizeof(*d));
	struct session_config sessions;
	int r;

	assert(config->limits && config->state);
	if (!d)
		return -ENOMEM;
	d->config = dispatch_defaults(config);
	d->ports = *ports;
	d->broker = broker;
	d->started = ports->now_ms(ports->ctx);
	d->next_change = broker_change_sequence(broker);
	d->next_told = broker_change_oldest(broker); /* with what the recovery changed */
	dispatch_init_lists(d);
	wire_arena_init(&d->arena, NULL, WIRE_ARENA_SIZE);
	sessions = (struct session_config){
		.grace_ms = d->config.grace_ms,
		.limits = d->config.limits,
		.reply_max = d->config.remembered_max,
		.state = d->config.state,
	};
	r = operations_init(d);
	if (!r)
		r = sessions_new(&sessions, ports->random, ports->ctx, &d->sessions);
	if (r) {
		dispatch_free(d);
		return r;
	}
	*ret_dispatch = d;
	return 0;
}

void link_free(struct dispatch *d, struct link *link)
{
	watch_stop(d, link);
	handed_free(d, link);
	output_clear(d, link);
	if (link->is_ready)
		TAILQ_REMOVE(&d->ready[link->ready_class], link, ready);
	TAILQ_REMOVE(&d->links, link, all);
	link->peer = peer_unref(link->peer, d->config.limits);
	limits_user_close(d->config.limits, link->place);
	free(link);
}

void dispatch_free(struct dispatch *d)
{
	if (!d)
		return;
	while (d->sessions && sessions_parked(d->sessions))
		d->ports.unpark(
			d->ports.ctx, session_unpark(d->sessions, sessions_parked(d->sessions)));
	while (!TAILQ_EMPTY(&d->links))
		link_free(d, TAILQ_FIRST(&d->links));
	handovers_free(d);
	sessions_free(d->sessions);
	output_done(d);
	wire_arena_done(&d->arena);
	free(d->operations);
	free(d);
}

void dispatch_shut_down(struct dispatch *d)
{
	d->shutting_down = true;
}

/* ---------------------------------------------------------------- links */

struct link *link_new(struct dispatch *d)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->place = LIMITS_NO_USER;
	TAILQ_INIT(&link->output);
	TAILQ_INSERT_TAIL(&d->links, link, all);
	return link;
}

int dispatch_connect(struct dispatch *d, const struct dispatch_peer *peer, struct link **ret_link,
	struct error *ret_error)
{
	struct link *link = link_new(d);
	int r;

	if (!link)
		return error_set(
			ret_error, REASON_NO_MEMORY, "no memory for another connection; try again");
	r = peer_new(&peer->who, peer->pid, peer->born, d->config.limits, &link->peer, ret_error);
	if (r) {
		link_free(d, link);
		return r;
	}
	link->place = limits_user_ref(d->config.limits, link->peer->user);
	*ret_link = link;
	return 0;
}

void link_set_user(struct link *link, void *user)
{
	link->user = user;
}

void *link_user(const struct link *link)
{
	return link->user;
}

uint64_t link_session(const struct link *link)
{
	return link->session ? link->session->id : 0;
}

bool link_who(const struct link *link, int32_t *ret_pid, uint32_t *ret_uid)
{
	if (!link->peer)
		return false;
	*ret_pid = link->peer->pid;
	*ret_uid = link->peer->uid;
	return true;
}

struct set_id link_set(const struct link *link)
{
	return link->session ? link->session->set : (struct set_id){0};
}

/* Below this, in the accounts, nothing more is read: there is always room for a whole datagram. */
#define READABLE_ROOM WIRE_DATAGRAM_MAX

bool dispatch_readable(const struct dispatch *d, const struct link *link)
{
	return !link->doomed && !link->ending && link->unsent < d->config.output_max &&
	       limits_room(d->config.limits, NULL, link->place, RESOURCE_UNREAD) >= READABLE_ROOM;
}

bool dispatch_doomed(const struct link *link)
{
	/* A datagram without anything in it is room for a reply that may come much later. */
	return link->doomed || (link->ending && !link->unsent);
}

/* Nobody waits for what is under way; `orphan`: nor can anybody ask for it later. */
static void dispatch_abandon(struct dispatch *d, struct session *session, bool orphan)
{
	struct remembered *remembered;

	TAILQ_FOREACH(remembered, &session->remembered, link)
	{
		struct operation *operation = remembered->operation;

		if (!operation)
			continue;
		operation_unwait(d, operation);
		if (orphan)
			operation->session = NULL;
	}
}

void dispatch_end_session(struct dispatch *d, struct session *session)
{
	dispatch_abandon(d, session, true);
	handover_end(d, session->handover);
	dispatch_cause_begin(d, session, NULL, 0);
	broker_session_end(d->broker, session->id);
	if (session->handed)
		broker_set_empty(d->broker, session->set);
	dispatch_cause_end(d);
	session_close(d->sessions, session);
}

void dispatch_leave(struct dispatch *d, struct link *link)
{
	dispatch_abandon(d, link->session, false);
	watch_stop(d, link);
	link->session->link = NULL;
	link->session = NULL;
}

void dispatch_detach(struct dispatch *d, struct link *link)
{
	dispatch_leave(d, link);
	link_doom(d, link);
}

/* Who only looks has nothing to lose, and what was handed out is gone with its
 * connection. */
bool dispatch_survives(const struct session *session)
{
	return !session->handed && session->role != ROLE_OBSERVER;
}

struct session *dispatch_disconnect(
	struct dispatch *d, struct link *link, bool peer_dead, void *user)
{
	struct session *session = link->session;

	link->session = NULL;
	link_free(d, link);
	if (!session)
		return NULL;
	session->link = NULL;
	if (peer_dead || !dispatch_survives(session)) {
		dispatch_end_session(d, session);
		watch_drain(d);
		dispatch_flush(d);
		return NULL;
	}
	dispatch_abandon(d, session, false);
	session_park(d->sessions, session, d->ports.now_ms(d->ports.ctx), user);
	return session;
}

static void dispatch_end_parked(struct dispatch *d, struct session *session)
{
	void *user = session_unpark(d->sessions, session);

	dispatch_end_session(d, session);
	d->ports.unpark(d->ports.ctx, user);
}

void dispatch_peer_dead(struct dispatch *d, struct session *session)
{
	dispatch_end_parked(d, session);
	dispatch_pump(d);
}

/* ---------------------------------------------------------------- datagrams in */

void dispatch_count(struct dispatch *d, const struct error *error)
{
	d->refused[error->reason < REASON_COUNT ? error->reason : REASON_INTERNAL]++;
}

void dispatch_dispose(struct dispatch *d, const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		d->ports.dispose_fd(d->ports.ctx, fds[i]);
}

void dispatch_set_actor(struct call *call)
{
	struct dispatch *d = call->d;
	struct session *session = call->session;

	/* Requests come in batches: nearly always it is the same peer as before. */
	if (d->peer_read != session->peer)
		peer_read(session->peer, &d->peer);
	d->peer_read = session->peer;
	call->actor = (struct actor){
		.role = session->role,
		.session = session->id,
		.set = session->set,
		.peer = &d->peer,
	};
}

/* Descriptors that no request of the datagram says are its own. */
static int dispatch_check_stray(
	struct dispatch *d, size_t fd_count, bool fds_truncated, struct error *ret_error)
{
	for (size_t i = 0; i < d->batch.count; i++) {
		if (d->batch.requests[i].descriptors)
			return 0;
	}
	if (fds_truncated)
		return error_set(ret_error, REASON_FD_TRUNCATED,
			"descriptors were lost on the way; send the datagram again");
	if (fd_count)
		return error_set_limit(ret_error, REASON_FD_COUNT, 0, 0, fd_count,
			"%zu descriptors came that no request says are its own", fd_count);
	return 0;
}

static int dispatch_check_count(const struct dispatch *d, struct error *ret_error)
{
	if (d->batch.count <= d->config.requests_max)
		return 0;
	return error_set_limit(ret_error, REASON_TOO_LARGE, 0, d->config.requests_max,
		d->batch.count, "the datagram has %zu requests, of at most %u", d->batch.count,
		d->config.requests_max);
}

static int dispatch_refuse(
	struct dispatch *d, struct link *link, int status, const struct error *error)
{
	dispatch_count(d, error);
	dispatch_count_edge(d, EDGE_DATAGRAMS_REFUSED);
	dispatch_tell_refused(d, link, error);
	link_refuse(d, link, status, error);
	return ++link->abuse > DISPATCH_ABUSE_MAX || link->doomed;
}

static void dispatch_seen(struct dispatch *d, struct link *link)
{
	if (link->session && d->batch.seen_below)
		session_seen_below(d->sessions, link->session, d->batch.seen_below);
}

static void dispatch_batch(
	struct dispatch *d, struct link *link, const int *fds, size_t fd_count, bool fds_truncated)
{
	d->dear = 0;
	dispatch_seen(d, link);
	for (size_t i = 0; i < d->batch.count && !link->doomed; i++) {
		const struct wire_request *request = &d->batch.requests[i];

		if (request->descriptors) {
			dispatch_request(d, link, request, fds, fd_count, fds_truncated);
			fd_count = 0;
		} else {
			dispatch_request(d, link, request, NULL, 0, false);
		}
	}
	dispatch_dispose(d, fds, fd_count);
	dispatch_seen(d, link); /* of a session that this datagram resumed */
	/* What one datagram causes must not outrun the records of changes. */
	watch_drain(d);
	dispatch_flush(d);
	if (!d->has_waits)
		return;
	/* Some of it may be done already, and a deadline of 0 has passed. */
	d->has_waits = false;
	dispatch_pump(d);
	operations_tick(d, d->ports.now_ms(d->ports.ctx));
}

int dispatch_receive(struct dispatch *d, struct link *link, const uint8_t *data, size_t size,
	const int *fds, size_t fd_count, bool fds_truncated)
{
	struct error error;
	int r;

	d->peer_read = NULL;
	d->cost += size / COST_BYTES;
	r = wire_read_batch(data, size, &d->batch, &error);
	if (!r)
		r = dispatch_check_count(d, &error);
	if (!r)
		r = dispatch_check_stray(d, fd_count, fds_truncated, &error);
	if (r) {
		dispatch_dispose(d, fds, fd_count);
		return dispatch_refuse(d, link, r, &error);
	}
	link->abuse = 0;
	dispatch_batch(d, link, fds, fd_count, fds_truncated);
	return link->doomed;
}

/* ---------------------------------------------------------------- time */

/* What the port refuses ends at once, and others begin that had waited for it. */
void dispatch_flush(struct dispatch *d)
{
	do {
		dispatch_settle(d);
		broker_flush(d->broker);
	} while (operations_drain(d));
}

void dispatch_ended(struct dispatch *d)
{
	d->peer_read = NULL;
	(void)operations_drain(d);
}

void dispatch_pump(struct dispatch *d)
{
	d->peer_read = NULL;
	operations_drain(d);
	watch_drain(d);
	handed_sweep(d);
	dispatch_flush(d);
	watch_drain(d);
}

void dispatch_tick(struct dispatch *d)
{
	uint64_t now = d->ports.now_ms(d->ports.ctx);
	struct session *session;

	broker_tick(d->broker);
	dispatch_ended(d); /* what only had to wait for its time */
	operations_tick(d, now);
	while ((session = sessions_expired(d->sessions, now)))
		dispatch_end_parked(d, session);
	handover_tick(d, now);
	dispatch_pump(d);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t dispatch_next_tick(const struct dispatch *d)
{
	return earlier(broker_next_tick(d->broker),
		earlier(sessions_next_expiry(d->sessions),
			earlier(operations_next_tick(d), handover_next_tick(d))));
}

uint64_t dispatch_cost(const struct dispatch *d)
{
	return d->cost;
}

void dispatch_count_edge(struct dispatch *d, enum edge_counter counter)
{
	d->edge[counter]++;
}

uint64_t dispatch_edge(const struct dispatch *d, enum edge_counter counter)
{
	return (size_t)counter < EDGE_COUNT ? d->edge[counter] : 0;
}

uint64_t dispatch_refusals(const struct dispatch *d, enum reason reason)
{
	return (size_t)reason < REASON_COUNT ? d->refused[reason] : 0;
}

uint32_t dispatch_sessions(const struct dispatch *d)
{
	return sessions_count(d->sessions);
}

uint32_t dispatch_operations(const struct dispatch *d)
{
	return d->operation_count;
}
