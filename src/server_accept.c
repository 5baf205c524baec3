/* SPDX-License-Identifier: MIT */
/*
 * Accepting: our own listener event, because a listener that is still readable when no descriptor
 * is left must rest, not spin.
 */
#include "log.h"
#include "peer.h"
#include "server_private.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENERS      2 /* for everybody, and for admins */
#define ACCEPT_BURST   64
#define ACCEPT_BACKLOG 1024u /* descriptors that wait to be closed while others are accepted */
/* Connections that are left to admins: one of so many, and so many at most. */
#define ACCEPT_LEFT     64u
#define ACCEPT_LEFT_MAX 16u

static struct event *server_listeners(struct server *server, size_t index)
{
	return index == 0 ? &server->listener : &server->admin_listener;
}

void server_stop_accepting(struct server *server)
{
	for (size_t i = 0; i < LISTENERS; i++)
		if (event_initialized(server_listeners(server, i)))
			(void)event_del(server_listeners(server, i));
}

/* `everybody`: admins are still let in. */
static void server_pause_accepting(struct server *server, enum edge_counter counter, bool everybody)
{
	dispatch_count_edge(server->dispatch, counter);
	server->freed = false;
	if (everybody)
		(void)event_del(&server->listener);
	else
		server_stop_accepting(server);
	server->accept_at = server->options.clock->now_ms + SERVER_ACCEPT_MS;
}

void server_resume_accepting(struct server *server)
{
	server->accept_at = UINT64_MAX;
	for (size_t i = 0; i < LISTENERS && !server->stopping; i++)
		if (event_initialized(server_listeners(server, i)))
			(void)event_add(server_listeners(server, i), NULL);
}

/* Whoever takes all connections must not keep those out who could end that. */
static uint32_t server_room(const struct server *server, bool admin)
{
	const struct limits *limits = server->options.limits;
	const uint32_t room = limits_room(limits, NULL, LIMITS_NO_USER, RESOURCE_CONNECTIONS);
	const uint32_t most =
		limits_account(limits, LIMITS_NO_USER, RESOURCE_CONNECTIONS)->limit / ACCEPT_LEFT;
	const uint32_t left = most < ACCEPT_LEFT_MAX ? most : ACCEPT_LEFT_MAX;

	if (admin || server->options.admin_fd < 0)
		return room;
	return room > left ? room - left : 0;
}

void server_check_accepting(struct server *server)
{
	if (server->accept_at != UINT64_MAX && server->freed && server_room(server, false) > 0)
		server_resume_accepting(server);
}

/* Tells a client why it is not served, as far as that goes without waiting, and closes. */
static void server_turn_away(struct server *server, int fd, const struct error *error)
{
	uint8_t data[512];
	struct wire_out out = wire_out_init(data, sizeof(data));
	ssize_t n;

	dispatch_count_edge(server->dispatch, EDGE_TURNED_AWAY);
	wire_out_status(&out, WIRE_TO_CLIENT_REFUSED, (int)reason_status(error->reason), error);
	do
		n = out.full ? 0 : send(fd, data, out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	executor_dispose(server->options.executor, fd);
}

/* No descriptor is left for it. */
static void server_turn_away_bare(struct server *server, int fd)
{
	struct error error;

	(void)error_set(&error, REASON_OVERLOAD,
		"the daemon has no descriptor left for this connection; try again later");
	server_turn_away(server, fd, &error);
}

/* No descriptor is left: uses the spare one, so that at least one waiting client is told. */
static void server_shed(struct server *server, int listen_fd)
{
	const struct log_about about = {
		.message = LOG_MESSAGE_CONNECTION, .operation = "accept", .by_client = true};
	int fd;

	log_write(LOG_LEVEL_ERROR, &about,
		"no descriptor is left for another connection; raise LimitNOFILE= of the service");
	if (server->spare_fd < 0)
		return;
	close(server->spare_fd);
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		server_turn_away_bare(server, fd);
	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

struct conn *server_conn_new(struct server *server, int fd, int pidfd)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->server = server;
	conn->fd = fd;
	conn->pidfd = pidfd;
	conn->user = LIMITS_NO_USER;
	conn->burst = 1;
	return conn;
}

int server_charge(struct server *server, uint32_t uid, struct conn *conn, struct error *ret_error)
{
	struct limits *limits = server->options.limits;
	uint32_t user;
	int r = limits_user_open(limits, uid, &user, ret_error);

	if (r != 0)
		return r;
	r = limits_charge(limits, NULL, user, RESOURCE_CONNECTIONS, 1, ret_error);
	if (r != 0)
		limits_user_close(limits, user);
	else
		conn->user = user;
	return r;
}

/* Makes the connection known to the dispatcher and to the watch over deaths. */
static int server_introduce(struct server *server, struct conn *conn,
	const struct dispatch_peer *peer, struct error *ret_error)
{
	struct epoll_event death = {.events = EPOLLIN, .data.ptr = conn};
	int r = server_charge(server, peer->who.uid, conn, ret_error);

	if (r != 0)
		return r;
	if (epoll_ctl(server->deaths_fd, EPOLL_CTL_ADD, conn->pidfd, &death) < 0)
		return error_set(ret_error, REASON_NO_MEMORY,
			"the connection cannot be watched: %s", strerror(errno));
	r = dispatch_connect(server->dispatch, peer, &conn->link, ret_error);
	if (r != 0)
		return r;
	link_set_user(conn->link, conn);
	return 0;
}

/* 0, or -EMFILE or -ENFILE: the next one will fare no better. */
static int server_accept_one(struct server *server, int listen_fd, int fd)
{
	struct log_about about = {
		.message = LOG_MESSAGE_CONNECTION, .operation = "accept", .by_client = true};
	struct dispatch_peer peer;
	struct error error = {0};
	struct conn *conn;
	int pidfd;
	int r = peer_identify(fd, server->options.dispatch->policy, &peer, &pidfd);

	if (r == -EMFILE || r == -ENFILE) {
		server_turn_away_bare(server, fd);
		return r;
	}
	if (r < 0) {
		if (r != -ESRCH)
			log_write(LOG_LEVEL_WARNING, &about, "a peer cannot be identified: %s",
				strerror(-r));
		executor_dispose(server->options.executor, fd);
		return 0;
	}
	peer.who.admitted = listen_fd == server->options.admin_fd;
	conn = server_conn_new(server, fd, pidfd);
	if (conn == NULL) {
		close(pidfd);
		executor_dispose(server->options.executor, fd);
		return 0;
	}
	if (server_introduce(server, conn, &peer, &error) != 0) {
		about.uid = peer.who.uid;
		about.has_uid = true;
		about.reason = reason_text((enum reason)error.reason);
		server_audit_refusal(server,
			&(struct dispatch_refusal){
				.cause = {.uid = about.uid, .pid = peer.pid, .has_peer = true},
				.error = &error},
			NULL);
		log_write(LOG_LEVEL_WARNING, &about, "process %d was turned away: %s", peer.pid,
			error.text);
		server_turn_away(server, fd, &error);
		conn->fd = -1;
		server_insert(server, conn, CONN_GONE);
		return 0;
	}
	server_insert(server, conn, CONN_NEW);
	server_watch(server, conn, false);
	return 0;
}

/* One of those who wait. 0, or -errno: no more now. */
static int server_accept(struct server *server, int listen_fd)
{
	int fd, r;

	if (server_room(server, listen_fd == server->options.admin_fd) == 0)
		return -EUSERS;
	/* Those who were turned away wait to be closed, too. */
	if (executor_backlog(server->options.executor) > ACCEPT_BACKLOG)
		return -ENOBUFS;
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		return server_accept_one(server, listen_fd, fd);
	if (errno == EINTR || errno == ECONNABORTED)
		return 0;
	r = -errno;
	if (r == -EMFILE || r == -ENFILE)
		server_shed(server, listen_fd);
	return r;
}

static void server_on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct server *server = arg;
	int r = 0;

	(void)what;
	server_wake(server);
	if (server->spare_fd < 0) /* it could not be opened again when it was last needed */
		server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < ACCEPT_BURST && r == 0; i++)
		r = server_accept(server, listen_fd);
	if (r != 0 && r != -EAGAIN)
		server_pause_accepting(server,
			r == -EUSERS ? EDGE_ACCEPT_LIMIT : EDGE_ACCEPT_DESCRIPTORS,
			r == -EUSERS && listen_fd != server->options.admin_fd);
}

int server_listen(struct server *server)
{
	const int fds[LISTENERS] = {server->options.listen_fd, server->options.admin_fd};

	server->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (server->spare_fd < 0)
		return -errno;
	for (size_t i = 0; i < LISTENERS; i++) {
		struct event *listener = server_listeners(server, i);

		if (fds[i] >= 0 && (event_assign(listener, server->base, fds[i],
					    EV_READ | EV_PERSIST, server_on_accept, server) < 0 ||
					   event_add(listener, NULL) < 0))
			return -ENOMEM;
	}
	return 0;
}
