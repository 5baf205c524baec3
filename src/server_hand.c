/* SPDX-License-Identifier: MIT */
/*
 * Connections that are made for one set and handed to its VMM. The kernel knows the daemon as the
 * peer of both ends, so who is there is learnt from the credentials of what comes before and with
 * hello; until the first of that nothing is waited for.
 */
#include "log.h"
#include "peer.h"
#include "server_private.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int hand_fail(struct error *ret_error, int error)
{
	if (error == EMFILE || error == ENFILE)
		return error_set(ret_error, REASON_OVERLOAD,
			"the daemon has no descriptor left for this connection; try again later");
	(void)error_set(
		ret_error, REASON_NO_MEMORY, "the connection cannot be made: %s", strerror(error));
	ret_error->sys_errno = error;
	return STATUS_RETRY;
}

/* Charges and introduces our end. */
static int hand_open(struct server *server, struct conn *conn, struct set_id set, uint32_t uid,
	struct error *ret_error)
{
	int r = server_charge(server, uid, conn, ret_error);

	if (r == 0)
		r = dispatch_connect_handed(server->dispatch, set, uid, &conn->link, ret_error);
	if (r != 0) {
		server_insert(server, conn, CONN_GONE);
		return r;
	}
	link_set_user(conn->link, conn);
	server_insert(server, conn, CONN_HANDED);
	server_watch(server, conn, false);
	log_write(LOG_LEVEL_INFO,
		&(struct log_about){.message = LOG_MESSAGE_CONNECTION,
			.operation = "set-connect",
			.vm = broker_set_name(server->options.broker, set),
			.set = set.v,
			.uid = uid,
			.has_uid = true,
			.by_client = true},
		"connection made for user %u", uid);
	return 0;
}

int server_hand(void *ctx, struct set_id set, uint32_t uid, int *ret_fd, struct error *ret_error)
{
	struct server *server = ctx;
	struct conn *conn;
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
		return hand_fail(ret_error, errno);
	r = peer_ask(ends[0], true);
	conn = r < 0 ? NULL : server_conn_new(server, ends[0], -1);
	if (conn == NULL) {
		close(ends[0]);
		close(ends[1]);
		return hand_fail(ret_error, r < 0 ? -r : ENOMEM);
	}
	conn->asking = true;
	r = hand_open(server, conn, set, uid, ret_error);
	if (r != 0) {
		close(TAKE_FD(conn->fd));
		close(ends[1]);
		return r;
	}
	*ret_fd = ends[1];
	return 0;
}

int server_export_fd(void *ctx, struct set_id set, int *ret_fd, struct error *ret_error)
{
	const struct server *server = ctx;
	const int r = export_memory_open(server->options.exports, set, ret_fd);

	if (r == 0)
		return 0;
	(void)error_set(ret_error,
		r == -EMFILE || r == -ENFILE ? REASON_OVERLOAD : REASON_NO_MEMORY,
		"the exported map of set %llu cannot be opened: %s; try again later",
		(unsigned long long)set.v, strerror(-r));
	ret_error->sys_errno = -r;
	return STATUS_RETRY;
}

void server_notice_end(void *ctx, void *user)
{
	struct conn *conn = user;

	if (conn_is_over(conn))
		server_drop(ctx, conn, false);
}

void server_close_own(void *ctx, int fd)
{
	(void)ctx;
	close(fd);
}

void server_identify(void *ctx, struct conn *conn, struct msghdr *header)
{
	struct server *server = ctx;
	struct dispatch_peer peer;
	struct error error;
	int pidfd = -1;
	int r = peer_identify_sender(header, server->options.dispatch->policy, &peer, &pidfd);

	if (conn->pidfd >= 0)
		close(conn->pidfd);
	conn->pidfd = pidfd;
	if (dispatch_identify(server->dispatch, conn->link, r == 0 ? &peer : NULL, &error) != 0)
		server_log_conn(server, conn, "hello", "handed connection: %s", error.text);
	/* The time to say hello begins with the first thing that is said. */
	if (conn->list == CONN_HANDED)
		server_move(server, conn, CONN_NEW);
}

static void hand_log(const struct server *server, const struct conn *conn)
{
	struct log_about about = {.message = LOG_MESSAGE_SESSION,
		.operation = "hello",
		.session = link_session(conn->link),
		.vm = broker_set_name(server->options.broker, link_set(conn->link)),
		.set = link_set(conn->link).v,
		.has_uid = true,
		.by_client = true};
	int32_t pid;

	if (link_who(conn->link, &pid, &about.uid))
		log_write(LOG_LEVEL_INFO, &about, "process %d of user %u serves the set", pid,
			about.uid);
}

int server_hand_greeted(struct server *server, struct conn *conn)
{
	struct epoll_event death = {.events = EPOLLIN, .data.ptr = conn};

	if (!conn->asking)
		return 0;
	conn->asking = false;
	(void)peer_ask(conn->fd, false);
	hand_log(server, conn);
	if (epoll_ctl(server->deaths_fd, EPOLL_CTL_ADD, conn->pidfd, &death) < 0)
		return -errno;
	return 0;
}
