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
		server_user_release(server, conn->user);
		free(conn);
	}
}

static struct conn_user **server_bucket(struct server *server, uint32_t uid)
{
	return &server->users[uid % SERVER_USER_BUCKETS];
}

struct conn_user *server_user(struct server *server, uint32_t uid)
{
	struct conn_user **bucket = server_bucket(server, uid);
	struct conn_user *user = *bucket;

	while (user != NULL && user->uid != uid)
		user = user->next;
	if (user != NULL)
		return user;
	user = calloc(1, sizeof(*user));
	if (user == NULL)
		return NULL;
	user->uid = uid;
	user->next = *bucket;
	*bucket = user;
	return user;
}

void server_user_release(struct server *server, struct conn_user *user)
{
	struct conn_user **link;

	if (user == NULL || --user->count > 0)
		return;
	link = server_bucket(server, user->uid);
	while (*link != user)
		link = &(*link)->next;
	*link = user->next;
	free(user);
}
