/* SPDX-License-Identifier: MIT */
#include "server_private.h"

#include <stdlib.h>
#include <unistd.h>

static void server_append(struct server *server, struct conn *conn, enum conn_list list)
{
	struct server_list *to = &server->lists[list];

	conn->list = list;
	conn->since_ms = server->options.clock->now_ms;
	conn->next = NULL;
	conn->prev = to->last;
	if (to->last != NULL)
		to->last->next = conn;
	else
		to->first = conn;
	to->last = conn;
	to->count++;
}

static void server_unlink(struct server *server, struct conn *conn)
{
	struct server_list *from = &server->lists[conn->list];

	if (conn->prev != NULL)
		conn->prev->next = conn->next;
	else
		from->first = conn->next;
	if (conn->next != NULL)
		conn->next->prev = conn->prev;
	else
		from->last = conn->prev;
	from->count--;
}

void server_insert(struct server *server, struct conn *conn, enum conn_list list)
{
	server_append(server, conn, list);
}

void server_move(struct server *server, struct conn *conn, enum conn_list list)
{
	server_unlink(server, conn);
	server_append(server, conn, list);
}

void server_reap(struct server *server)
{
	struct conn *conn;

	while ((conn = server->lists[CONN_GONE].first) != NULL) {
		server_unlink(server, conn);
		if (conn->pidfd >= 0)
			close(conn->pidfd);
		server->freed = true;
		server_discharge(server, conn);
		free(conn);
	}
}

void server_discharge(struct server *server, struct conn *conn)
{
	const uint32_t user = conn->user;

	if (user == LIMITS_NO_USER)
		return;
	conn->user = LIMITS_NO_USER;
	server->freed = true;
	limits_release(server->options.limits, NULL, user, RESOURCE_CONNECTIONS, 1);
	limits_user_close(server->options.limits, user);
}
