/* SPDX-License-Identifier: MIT */
/*
 * Clients that do not read, and users whose clients bring more than is closed: who is not read for
 * a while, who is disconnected, and who stays charged for that.
 */
#include "log.h"
#include "server_private.h"

#define HOLD_MS 20u /* after which those who are held are looked at again */

/*
 * A client that reads, but never everything that it had not read, may do so for so many times
 * stalled_ms.
 */
#define STALLED_PERIODS 4u

/* ---------------------------------------------------------------- held */

static bool server_may_read(const struct server *server, const struct conn *conn)
{
	return conn_has_room(&server->io, conn) && dispatch_readable(server->dispatch, conn->link);
}

void server_hold(struct server *server, struct conn *conn)
{
	if (conn->held)
		return;
	conn->held = true;
	dispatch_count_edge(server->dispatch, EDGE_HELD);
	if (server->hold_at == UINT64_MAX)
		server->hold_at = server->options.clock->now_ms + HOLD_MS;
}

/* Returns whether some are held still. */
static bool server_release_list(struct server *server, enum conn_list list)
{
	struct conn *conn, *next;
	bool held = false;

	for (conn = server->lists[list].first; conn != NULL; conn = next) {
		next = conn->next;
		if (!conn->held)
			continue;
		conn->held = !server_may_read(server, conn);
		held = held || conn->held;
		if (!conn->held)
			server_watch(server, conn, conn->blocked);
	}
	return held;
}

void server_release(struct server *server)
{
	static const enum conn_list lists[] = {CONN_HANDED, CONN_NEW, CONN_OPEN, CONN_STALLED};
	const uint64_t now = server->options.clock->now_ms;
	bool held = false;

	if (server->hold_at > now)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		held = server_release_list(server, lists[i]) || held;
	server->hold_at = held ? now + HOLD_MS : UINT64_MAX;
}

/* ---------------------------------------------------------------- kept */

#define KEPT_MS 1000u /* after which sockets that wait for their other ends are looked at again */

void server_let_go(struct server *server)
{
	const uint64_t now = server->options.clock->now_ms;

	if (now >= server->kept_at)
		server->kept_at = conn_let_go(&server->io, false) ? now + KEPT_MS : UINT64_MAX;
	else if (server->kept_at == UINT64_MAX && conn_keeps(&server->io))
		server->kept_at = now + KEPT_MS;
}

/* ---------------------------------------------------------------- stalled */

static void server_begin_period(struct server *server, struct conn *conn)
{
	conn->period_ms = (uint32_t)server->options.clock->now_ms;
	conn->owed = (uint32_t)dispatch_unsent(conn->link);
	server_move(server, conn, CONN_STALLED);
}

void server_note_blocked(struct server *server, struct conn *conn, uint32_t sent)
{
	/* It is over, one way or the other, before the low bits of time come round. */
	const uint32_t since = (uint32_t)server->options.clock->now_ms - conn->period_ms;
	const uint32_t patience = server->options.stalled_ms;

	if (conn->list == CONN_OPEN) {
		server_begin_period(server, conn);
		return;
	}
	if (conn->list != CONN_STALLED || sent == 0)
		return;
	conn->owed -= sent < conn->owed ? sent : conn->owed;
	if (conn->owed == 0 && since <= patience)
		server_begin_period(server, conn);
	else if (since < (uint64_t)(STALLED_PERIODS - 1) * patience)
		server_move(server, conn, CONN_STALLED); /* its time starts again */
}

void server_shed_unread(struct server *server)
{
	const struct limits *limits = server->options.limits;
	struct conn *conn;

	while ((conn = server->lists[CONN_STALLED].first) != NULL &&
		limits_room(limits, NULL, LIMITS_NO_USER, RESOURCE_UNREAD) < SERVER_UNREAD_ROOM) {
		server_log_conn(server, conn, "unread",
			"disconnected: the host's limit of unread replies is reached, and it has "
			"not read for longest");
		dispatch_count_edge(server->dispatch, EDGE_STALLED);
		server_drop(server, conn, false);
	}
}
