/* SPDX-License-Identifier: MIT */
#include "log.h"
#include "server_private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define DEATHS_BURST 64

/* ---------------------------------------------------------------- one wake-up */

/* First thing in every callback: reads the time, and has the wake-up end with settling. */
void server_wake(struct server *server)
{
	if (server->awake)
		return;
	server->awake = true;
	clock_read(server->options.clock);
	audit_tick(server->options.audit, server->options.clock->now_ms);
}

static uint64_t server_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When the oldest of a list has waited for `limit_ms`. */
static uint64_t server_list_due(const struct server *server, enum conn_list list, uint32_t limit_ms)
{
	const struct conn *oldest = server->lists[list].first;

	return oldest == NULL ? UINT64_MAX : oldest->since_ms + limit_ms;
}

static void server_arm_timer(struct server *server)
{
	const uint64_t now = server->options.clock->now_ms;
	uint64_t at = dispatch_next_tick(server->dispatch);
	struct timeval delay = {0};

	at = server_min(at, server_list_due(server, CONN_NEW, server->options.hello_ms));
	at = server_min(at, server_list_due(server, CONN_STALLED, server->options.stalled_ms));
	at = server_min(at, server_min(server->accept_at, server->stop_at));
	at = server_min(at, server_min(server->hold_at, server->watchdog_at));
	at = server_min(at, server->kept_at);
	if (at == server->timer_at)
		return;
	server->timer_at = at;
	if (at == UINT64_MAX) {
		(void)event_del(&server->timer);
		return;
	}
	if (at > now) {
		delay.tv_sec = (time_t)((at - now) / 1000);
		delay.tv_usec = (suseconds_t)((at - now) % 1000 * 1000);
	}
	(void)event_add(&server->timer, &delay);
}

/* Sends what a connection has to be sent, and watches it for what comes next. */
static void server_flush(struct server *server, struct conn *conn)
{
	uint32_t sent;
	const enum conn_result result = conn_send(&server->io, conn, &sent);

	if (result == CONN_LOST || dispatch_doomed(conn->link)) {
		server_drop(server, conn, false);
		return;
	}
	if (result == CONN_BLOCKED)
		server_note_blocked(server, conn, sent);
	else if (conn->list == CONN_STALLED)
		server_move(server, conn, CONN_OPEN);
	server_watch(server, conn, result == CONN_BLOCKED);
}

static void server_check_stop(struct server *server)
{
	if (server->stopping && (dispatch_operations(server->dispatch) == 0 ||
					server->options.clock->now_ms >= server->stop_at))
		server->stopped = true;
}

/*
 * Tells the service manager that a turn of the loop has come to its end. Nothing else tells it:
 * what keeps the loop, or lets it fail, makes the silence after which we are started anew.
 */
static void server_feed_watchdog(struct server *server)
{
	const uint64_t now = server->options.clock->now_ms;

	if (now < server->watchdog_at)
		return;
	server->watchdog_at = now + server->watchdog_ms;
	(void)sd_notify(0, "WATCHDOG=1");
}

/* The end of a wake-up: everything that was ready has run. */
static void server_settle(struct server *server)
{
	struct link *link;

	dispatch_pump(server->dispatch);
	while ((link = dispatch_next_output(server->dispatch)) != NULL)
		server_flush(server, link_user(link));
	server_shed_unread(server);
	server_release(server);
	server_let_go(server);
	server_check_audit(server);
	log_flush();
	server_reap(server);
	server_check_accepting(server);
	server_check_stop(server);
	server_feed_watchdog(server);
	server_arm_timer(server);
	server->awake = false;
}

/* ---------------------------------------------------------------- connections */

static void server_on_io(evutil_socket_t fd, short what, void *arg)
{
	struct conn *conn = arg;
	struct server *server = conn->server;
	enum conn_result result = CONN_OK;
	uint32_t sent;

	(void)fd;
	server_wake(server);
	if (conn->list == CONN_GONE || conn->list == CONN_PARKED)
		return;
	if (what & EV_READ) /* its user may have come to a limit since it was waited for */
		result = dispatch_readable(server->dispatch, conn->link)
				 ? conn_receive(&server->io, conn)
				 : CONN_HELD;
	if (conn->list == CONN_NEW && link_session(conn->link) != 0) {
		server_move(server, conn, CONN_OPEN);
		if (server_hand_greeted(server, conn) < 0)
			result = CONN_LOST;
	}
	if (result == CONN_ABUSE && !dispatch_doomed(conn->link)) {
		server_log_conn(server, conn, "abuse", "disconnected: one refusal after another");
		dispatch_count_edge(server->dispatch, EDGE_ABUSE);
		(void)conn_send(&server->io, conn, &sent);
	}
	if (result == CONN_HELD)
		server_hold(server, conn);
	else if (result != CONN_OK || dispatch_doomed(conn->link)) {
		server_drop(server, conn, false);
		return;
	}
	if ((what & EV_WRITE) || conn->held || !dispatch_readable(server->dispatch, conn->link))
		server_flush(server, conn);
}

void server_watch(struct server *server, struct conn *conn, bool blocked)
{
	const bool read = !conn->held && dispatch_readable(server->dispatch, conn->link);
	const short events = (short)((read ? EV_READ : 0) | (blocked ? EV_WRITE : 0));

	conn->blocked = blocked;
	if (!read && !blocked) /* its user is at a limit, and it has nothing to do with that */
		server_hold(server, conn);
	if (event_initialized(&conn->io)) {
		if ((event_get_events(&conn->io) & (EV_READ | EV_WRITE)) == events)
			return;
		(void)event_del(&conn->io);
	}
	if (event_assign(&conn->io, server->base, conn->fd, (short)(events | EV_PERSIST),
		    server_on_io, conn) < 0 ||
		(events != 0 && event_add(&conn->io, NULL) < 0))
		server_drop(server, conn, false);
}

static void server_unplug(struct server *server, struct conn *conn)
{
	if (event_initialized(&conn->io))
		(void)event_del(&conn->io);
	conn_close(&server->io, conn);
	/* A session that waits is not charged as a connection: it must be able to come back. */
	server_discharge(server, conn);
}

void server_drop(struct server *server, struct conn *conn, bool peer_dead)
{
	struct session *session;

	server_unplug(server, conn);
	session = dispatch_disconnect(server->dispatch, conn->link, peer_dead, conn);
	conn->session = session;
	server_move(server, conn, session != NULL ? CONN_PARKED : CONN_GONE);
}

/* The dispatcher is done with a parked session. */
static void server_unpark(void *ctx, void *user)
{
	struct server *server = ctx;
	struct conn *conn = user;

	conn->session = NULL;
	server_move(server, conn, CONN_GONE);
}

static void server_bury(struct server *server, struct conn *conn)
{
	/* It stays readable: nothing more is to be heard of it. */
	(void)epoll_ctl(server->deaths_fd, EPOLL_CTL_DEL, conn->pidfd, NULL);
	if (conn->list == CONN_PARKED)
		dispatch_peer_dead(server->dispatch, conn->session);
	else if (conn->list != CONN_GONE)
		server_drop(server, conn, true);
}

static void server_on_deaths(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	struct epoll_event deaths[DEATHS_BURST];
	int n;

	(void)what;
	server_wake(server);
	n = epoll_wait(fd, deaths, DEATHS_BURST, 0);
	for (int i = 0; i < n; i++)
		server_bury(server, deaths[i].data.ptr);
}

/* Disconnects those of a list that have waited for too long. */
static void server_expire(struct server *server, enum conn_list list, uint32_t limit_ms,
	enum edge_counter counter, const char *text)
{
	const uint64_t now = server->options.clock->now_ms;

	while (server_list_due(server, list, limit_ms) <= now) {
		struct conn *conn = server->lists[list].first;

		server_log_conn(
			server, conn, "timeout", "disconnected: %s for %u ms", text, limit_ms);
		dispatch_count_edge(server->dispatch, counter);
		server_drop(server, conn, false);
	}
}

/* ---------------------------------------------------------------- timer, hardware, signals */

static void server_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	(void)fd;
	(void)what;
	server_wake(server);
	server->timer_at = UINT64_MAX;
	dispatch_tick(server->dispatch);
	server_expire(server, CONN_NEW, server->options.hello_ms, EDGE_HELLO_TIMEOUTS, "no hello");
	server_expire(server, CONN_STALLED, server->options.stalled_ms, EDGE_STALLED,
		"no reply was read");
	if (server->accept_at <= server->options.clock->now_ms)
		server_resume_accepting(server);
}

static void server_complete(void *ctx, const struct hw_result *result)
{
	struct server *server = ctx;

	broker_complete(server->options.broker, result);
	dispatch_ended(server->dispatch);
}

static void server_lane_lost(void *ctx, uint64_t lane, uint32_t version)
{
	struct server *server = ctx;
	const struct log_about about = {.message = LOG_MESSAGE_WORKER_LOST,
		.operation = "worker",
		.reason = reason_text(REASON_WORKER_LOST)};

	if (version != 0)
		log_write(LOG_LEVEL_ERROR, &about,
			"the worker of lane %llu was ended, for it speaks version %u of the "
			"messages and this pasidd another; what it held is detached",
			(unsigned long long)lane, version);
	else
		log_write(LOG_LEVEL_ERROR, &about,
			"the worker of lane %llu ended; what it held is detached",
			(unsigned long long)lane);
	broker_lane_lost(server->options.broker, lane);
	dispatch_ended(server->dispatch);
}

static void server_on_executor(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	const struct executor_handler handler = {server_complete, server_lane_lost, server};

	(void)fd;
	(void)what;
	server_wake(server);
	executor_dispatch(server->options.executor, &handler);
	if (executor_is_helpless(server->options.executor) && !server->helpless) {
		server->helpless = true;
		log_write(LOG_LEVEL_ERROR, NULL,
			"both processes that start workers were ended: no set can have devices any "
			"more until pasidd is started anew%s",
			server->options.kept ? ", which it is now" : "; restart it");
	}
}

static void server_on_signal(evutil_socket_t signal, short what, void *arg)
{
	(void)what;
	log_write(LOG_LEVEL_INFO, &(struct log_about){.message = LOG_MESSAGE_STOPPING},
		"stopping: %s", strsignal((int)signal));
	server_stop(arg);
}

void server_stop(struct server *server)
{
	if (server->stopping)
		return;
	server_wake(server);
	server->stopping = true;
	server->stop_at = server->options.clock->now_ms + SERVER_STOP_MS;
	server_stop_accepting(server);
	(void)sd_notify(0, "STOPPING=1\nSTATUS=Waiting for operations under way");
	dispatch_shut_down(server->dispatch);
}

/* ---------------------------------------------------------------- life */

static uint64_t server_now_ms(void *ctx)
{
	const struct server *server = ctx;

	return server->options.clock->now_ms;
}

static void server_random(void *ctx, void *ret_bytes, size_t size)
{
	(void)ctx;
	/* Up to 256 bytes are never interrupted: getrandom(2). */
	if (getrandom(ret_bytes, size, 0) != (ssize_t)size)
		abort();
}

static void server_dispose(void *ctx, int fd)
{
	const struct server *server = ctx;

	conn_dispose(&server->io, fd);
}

/* The executor has closed what was given to it for somebody. */
static void server_closed(void *ctx, uint64_t owner)
{
	struct server *server = ctx;

	conn_closed(&server->io, owner);
	server->freed = true;
}

static int server_start_dispatch(struct server *server)
{
	const struct dispatch_ports ports = {
		.now_ms = server_now_ms,
		.random = server_random,
		.dispose_fd = server_dispose,
		.unpark = server_unpark,
		.hand = server_hand,
		.export_fd = server_export_fd,
		.notice_end = server_notice_end,
		.revive = server_revive,
		.confirmed = server_log_confirmed,
		.handed_over = server_log_handed_over,
		.hanging = server_hanging,
		.changed = server_changed,
		.settled = server_settled,
		.refused = server_refused,
		.ended = server_ended,
		.close_own = server_close_own,
		.ctx = server,
	};

	return dispatch_new(
		server->options.dispatch, &ports, server->options.broker, &server->dispatch);
}

static int server_start_events(struct server *server)
{
	struct event_base *base = server->base;
	const int executor = executor_fd(server->options.executor);

	if (event_assign(&server->timer, base, -1, 0, server_on_timer, server) < 0 ||
		event_assign(&server->executor, base, executor, EV_READ | EV_PERSIST,
			server_on_executor, server) < 0 ||
		event_assign(&server->deaths, base, server->deaths_fd, EV_READ | EV_PERSIST,
			server_on_deaths, server) < 0 ||
		event_assign(&server->sigterm, base, SIGTERM, EV_SIGNAL | EV_PERSIST,
			server_on_signal, server) < 0 ||
		event_assign(&server->sigint, base, SIGINT, EV_SIGNAL | EV_PERSIST,
			server_on_signal, server) < 0)
		return -ENOMEM;
	if (event_add(&server->executor, NULL) < 0 || event_add(&server->deaths, NULL) < 0 ||
		event_add(&server->sigterm, NULL) < 0 || event_add(&server->sigint, NULL) < 0)
		return -ENOMEM;
	return 0;
}

/* One thread, and no clock of libevent's own on the way. */
static struct event_base *server_base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config == NULL)
		return NULL;
	if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

static int server_start(struct server *server)
{
	int r;

	clock_read(server->options.clock);
	audit_tick(server->options.audit, server->options.clock->now_ms);
	server_audit_run(server, AUDIT_STARTED);
	server->deaths_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server->deaths_fd < 0)
		return -errno;
	server->base = server_base_new();
	server->io.buffers = conn_buffers_new();
	if (server->base == NULL || server->io.buffers == NULL)
		return -ENOMEM;
	r = server_start_dispatch(server);
	if (r != 0)
		return r;
	server->io.dispatch = server->dispatch;
	server->io.executor = server->options.executor;
	server->io.limits = server->options.limits;
	server->io.received_max =
		server->options.received_max ? server->options.received_max : UINT32_MAX;
	server->io.identify = server_identify;
	server->io.ctx = server;
	executor_on_closed(server->options.executor, server_closed, server);
	r = server_start_events(server);
	if (r == 0)
		r = dispatch_recover(server->dispatch);
	if (r != 0)
		return r;
	return server_listen(server);
}

/* Often enough that one late turn is no silence. */
static void server_start_watchdog(struct server *server)
{
	uint64_t usec;

	server->watchdog_at = UINT64_MAX;
	if (sd_watchdog_enabled(0, &usec) <= 0)
		return;
	server->watchdog_ms = usec / 1000 / SERVER_WATCHDOG_PARTS;
	server->watchdog_at = 0;
}

int server_new(const struct server_options *options, struct server **ret_server)
{
	struct server *server = calloc(1, sizeof(*server));
	int r;

	if (server == NULL)
		return -ENOMEM;
	server->options = *options;
	server->timer_at = server->accept_at = server->stop_at = UINT64_MAX;
	server->hold_at = server->kept_at = UINT64_MAX;
	server->deaths_fd = server->spare_fd = -1;
	server_start_watchdog(server);
	r = server_start(server);
	if (r != 0) {
		server_free(server);
		return r;
	}
	*ret_server = server;
	return 0;
}

int server_run(struct server *server)
{
	int r = 0;

	/* Each turn runs what is ready. Settling as an event of its own would cost twice the time.
	 */
	server_wake(server);
	while (r == 0 && !server->stopped && !(server->helpless && server->options.kept)) {
		if (server->awake)
			server_settle(server);
		else
			r = event_base_loop(server->base, EVLOOP_ONCE);
	}
	if (r == 0)
		server_audit_run(server, AUDIT_STOPPED);
	if (r == 0 && server->helpless && server->options.kept)
		return -ECHILD;
	return r < 0 ? -EIO : 0;
}

/* Only the socket ends: its session is there for the next run, and the link goes with the rest. */
static void server_leave(struct server *server, struct conn *conn)
{
	server_unplug(server, conn);
	server_move(server, conn, CONN_GONE);
}

static void server_close_all(struct server *server)
{
	static const enum conn_list open[] = {CONN_HANDED, CONN_NEW, CONN_OPEN, CONN_STALLED};

	for (size_t i = 0; i < ARRAY_SIZE(open); i++)
		while (server->lists[open[i]].first != NULL)
			server_leave(server, server->lists[open[i]].first);
	(void)conn_let_go(&server->io, true);
	dispatch_free(server->dispatch); /* the parked ones come back */
	server_reap(server);
}

void server_free(struct server *server)
{
	if (server == NULL)
		return;
	if (server->dispatch != NULL)
		server_close_all(server);
	executor_on_closed(server->options.executor, NULL, NULL);
	conn_buffers_free(server->io.buffers);
	/* Frees no event, but takes them out: they are parts of us. */
	if (server->base != NULL)
		event_base_free(server->base);
	if (server->deaths_fd >= 0)
		close(server->deaths_fd);
	if (server->spare_fd >= 0)
		close(server->spare_fd);
	free(server);
}

uint32_t server_connections(const struct server *server)
{
	return server->lists[CONN_HANDED].count + server->lists[CONN_NEW].count +
	       server->lists[CONN_OPEN].count + server->lists[CONN_STALLED].count;
}

uint32_t server_parked(const struct server *server)
{
	return server->lists[CONN_PARKED].count;
}

uint64_t server_counted(const struct server *server, enum edge_counter counter)
{
	return dispatch_edge(server->dispatch, counter);
}
