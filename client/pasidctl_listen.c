/* SPDX-License-Identifier: MIT */
/*
 * metrics --listen: a small server of HTTP, in a process that may do nothing but look. It serves
 * one thing, the daemon is asked at most once a second, and what a client can make it hold is
 * bounded: the size of a request, for how long a connection is idle, and how many there are.
 *
 * Connections are bounded by descriptors, because libevent tells nobody of a new one: one more is
 * not accepted, and waits in the kernel's queue. Some descriptors are held for the daemon, who
 * would seem to be away otherwise.
 */
#include "pasidctl_metrics.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_CONNECTIONS 64
#define LISTEN_OWN         24 /* descriptors of the loop, the listener, standard ones */
#define LISTEN_DAEMON      16 /* held for the client of the daemon */
#define LISTEN_HEADERS     8192
#define LISTEN_BODY        1024
#define LISTEN_IDLE        10 /* seconds; beyond what the daemon may take */
#define LISTEN_ANSWER_MS   2000
#define LISTEN_ANSWER_MAX  5000
#define LISTEN_CACHE_MS    1000
#define LISTEN_PAUSE_US    100000L

#define LISTEN_FORMATS 2

struct listen {
	struct ctl *ctl;
	struct event_base *base;
	struct evhttp *http;
	struct evconnlistener *listener;
	struct event *resume, *signals[2];
	const char *path; /* of our socket, to be unlinked; or NULL */
	struct pasid_client *client;
	int held[LISTEN_DAEMON]; /* descriptors of nothing; -1 */
	bool was_away;           /* said already */
	int64_t asked_ms;
	char *text[LISTEN_FORMATS]; /* the last answer; NULL: none yet */
	size_t size[LISTEN_FORMATS];
};

/* The one of this process: libevent gives the listener's callbacks an argument of its own. */
static struct listen *listen_here;

/* ------------------------------------------------------------ the daemon */

static int64_t listen_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Of descriptors, as many as all that we take needs; fewer are what a unit says. */
static void listen_bound(void)
{
	struct rlimit limit;
	rlim_t count = LISTEN_OWN + LISTEN_CONNECTIONS + LISTEN_DAEMON;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= count)
		return;
	limit.rlim_cur = count;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Those that are free now are nobody else's. */
static void listen_hold(struct listen *listen)
{
	for (int i = 0; i < LISTEN_DAEMON; i++)
		if (listen->held[i] < 0)
			listen->held[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
}

static void listen_let_go(struct listen *listen)
{
	for (int i = 0; i < LISTEN_DAEMON; i++) {
		if (listen->held[i] >= 0)
			close(listen->held[i]);
		listen->held[i] = -1;
	}
}

/* Says once that the daemon is away, and once that it is back. */
static void listen_tell(struct listen *listen, int r, const struct pasid_error *error)
{
	if (r != 0 && !listen->was_away)
		fprintf(stderr, "pasidctl: %s (%s); pasidd_up is 0 until it answers\n",
			error->message, error->reason);
	else if (r == 0 && listen->was_away)
		fputs("pasidctl: pasidd answers again\n", stderr);
	listen->was_away = r != 0;
}

static void listen_refresh(struct listen *listen)
{
	struct metrics_read read;
	struct pasid_error error = {0};
	if (listen->text[0] != NULL && listen_now_ms() - listen->asked_ms < LISTEN_CACHE_MS)
		return;
	listen_let_go(listen);
	int r = metrics_ask(listen->ctl, &listen->client, &read, &error);
	listen_hold(listen);
	listen_tell(listen, r, &error);
	for (int i = 0; i < LISTEN_FORMATS; i++) {
		free(listen->text[i]);
		listen->text[i] =
			metrics_text(&read, (enum view_metrics_format)i, &listen->size[i]);
	}
	metrics_free(&read);
	/* From its end: a daemon that takes long is not asked all the time. */
	listen->asked_ms = listen_now_ms();
}

/* ------------------------------------------------------------ requests */

static void listen_reply(
	struct evhttp_request *request, int code, const char *reason, const char *text, size_t size)
{
	struct evbuffer *body = evbuffer_new();
	if (body == NULL || evbuffer_add(body, text, size) < 0)
		evhttp_send_error(request, HTTP_INTERNAL, NULL);
	else
		evhttp_send_reply(request, code, reason, body);
	if (body != NULL)
		evbuffer_free(body);
}

static void listen_request(struct evhttp_request *request, void *arg)
{
	static const char missing[] = "There is /metrics.\n", method[] = "GET or HEAD.\n";
	struct listen *listen = arg;
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
	const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
	enum evhttp_cmd_type command = evhttp_request_get_command(request);
	char size[24];
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	if (path == NULL || strcmp(path, "/metrics") != 0) {
		evhttp_add_header(headers, "Content-Type", "text/plain; charset=utf-8");
		listen_reply(request, HTTP_NOTFOUND, "Not Found", missing, strlen(missing));
	} else if (command != EVHTTP_REQ_GET && command != EVHTTP_REQ_HEAD) {
		evhttp_add_header(headers, "Allow", "GET, HEAD");
		evhttp_add_header(headers, "Content-Type", "text/plain; charset=utf-8");
		listen_reply(request, HTTP_BADMETHOD, "Method Not Allowed", method, strlen(method));
	} else {
		enum view_metrics_format format = view_metrics_negotiate(
			evhttp_find_header(evhttp_request_get_input_headers(request), "Accept"));
		listen_refresh(listen);
		evhttp_add_header(headers, "Content-Type", view_metrics_content_type(format));
		evhttp_add_header(headers, "Vary", "Accept");
		if (command == EVHTTP_REQ_HEAD) { /* there is no body that libevent would count */
			snprintf(size, sizeof(size), "%zu", listen->size[format]);
			evhttp_add_header(headers, "Content-Length", size);
		}
		listen_reply(request, HTTP_OK, "OK", listen->text[format], listen->size[format]);
	}
}

/* ------------------------------------------------------------ the listener */

static void listen_resume(evutil_socket_t fd, short events, void *arg)
{
	struct listen *listen = arg;
	(void)fd;
	(void)events;
	evconnlistener_enable(listen->listener);
}

/* No descriptor for another connection: a while later there may be one. */
static void listen_full(struct evconnlistener *listener, void *arg)
{
	const struct timeval pause = {.tv_usec = LISTEN_PAUSE_US};
	(void)arg;
	evconnlistener_disable(listener);
	event_add(listen_here->resume, &pause);
}

static void listen_end(evutil_socket_t fd, short events, void *arg)
{
	struct listen *listen = arg;
	(void)fd;
	(void)events;
	event_base_loopexit(listen->base, NULL);
}

/* A socket of before that nobody listens on any more is in the way. */
static void listen_unlink_dead(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
		errno == ECONNREFUSED)
		(void)unlink(address->sun_path);
	close(fd);
}

/* IP:PORT; libevent takes port 0, which is any, only where there is none. */
static bool listen_parse(const char *text, struct sockaddr *address, int *ret_size)
{
	const char *colon = strrchr(text, ':');
	char copy[64];
	*ret_size = sizeof(struct sockaddr_storage);
	if (colon == NULL || colon == text || colon[1] == '\0' || strchr(colon, ']') != NULL ||
		strlen(text) >= sizeof(copy))
		return false;
	memcpy(copy, text, strlen(text) + 1);
	if (strcmp(colon, ":0") == 0)
		copy[colon - text] = '\0';
	return evutil_parse_sockaddr_port(copy, address, ret_size) == 0;
}

/* Where to listen, of the text; false after saying what is wrong with it. */
static bool listen_address(const char *text, struct sockaddr_storage *address, int *ret_size)
{
	struct sockaddr_un *local = (struct sockaddr_un *)address;
	memset(address, 0, sizeof(*address));
	if (text[0] == '/') {
		if (strlen(text) >= sizeof(local->sun_path)) {
			ctl_usage("--listen: a path has up to %zu characters",
				sizeof(local->sun_path) - 1);
			return false;
		}
		local->sun_family = AF_UNIX;
		memcpy(local->sun_path, text, strlen(text) + 1);
		*ret_size = sizeof(*local);
		listen_unlink_dead(local);
		return true;
	}
	if (!listen_parse(text, (struct sockaddr *)address, ret_size)) {
		ctl_usage(
			"--listen takes IP:PORT, [IPv6]:PORT, a path or fd:N, such as 127.0.0.1:9942");
		return false;
	}
	return true;
}

/* Where it listens in fact, port 0 being any. */
static void listen_say_where(const struct listen *listen, const char *text)
{
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof(address);
	unsigned port = 0;
	if (getsockname(evconnlistener_get_fd(listen->listener), (struct sockaddr *)&address,
		    &size) == 0) {
		if (address.ss_family == AF_INET)
			port = ntohs(((const struct sockaddr_in *)&address)->sin_port);
		else if (address.ss_family == AF_INET6)
			port = ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
	}
	if (port != 0)
		fprintf(stderr, "pasidctl: serves http://%.*s:%u/metrics\n",
			(int)(strrchr(text, ':') - text), text, port);
	else
		fprintf(stderr, "pasidctl: serves /metrics on %s\n", text);
}

/* A socket that somebody made for us, as systemd does, and that listens. */
static bool listen_inherited(const char *text, int *ret_fd)
{
	uint64_t number;
	int listens = 0;
	socklen_t size = sizeof(listens);
	if (!ctl_number(text, "--listen fd:", 65535, &number))
		return false;
	*ret_fd = (int)number;
	if (getsockopt(*ret_fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || listens == 0) {
		ctl_usage("--listen: descriptor %d is no socket that listens", *ret_fd);
		return false;
	}
	return evutil_make_socket_nonblocking(*ret_fd) == 0 &&
	       evutil_make_socket_closeonexec(*ret_fd) == 0;
}

/* An exit code. */
static int listen_open(struct listen *listen, const char *text)
{
	struct sockaddr_storage address;
	int size, fd;
	unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC;
	if (strncmp(text, "fd:", 3) == 0) {
		if (!listen_inherited(text + 3, &fd))
			return EXIT_USAGE;
		listen->listener = evconnlistener_new(listen->base, NULL, NULL, flags, 0, fd);
	} else {
		if (!listen_address(text, &address, &size))
			return EXIT_USAGE;
		listen->listener =
			evconnlistener_new_bind(listen->base, NULL, NULL, flags | LEV_OPT_REUSEABLE,
				LISTEN_CONNECTIONS, (struct sockaddr *)&address, size);
	}
	if (listen->listener == NULL) {
		fprintf(stderr, "pasidctl: cannot listen on %s: %s\n", text, strerror(errno));
		return EXIT_FAILED;
	}
	listen->path = text[0] == '/' ? text : NULL;
	evhttp_set_gencb(listen->http, listen_request, listen);
	evhttp_set_max_headers_size(listen->http, LISTEN_HEADERS);
	evhttp_set_max_body_size(listen->http, LISTEN_BODY);
	evhttp_set_timeout(listen->http, LISTEN_IDLE);
	/* All of them, so that those we have not are refused as the standard says. */
	evhttp_set_allowed_methods(
		listen->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
				      EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
				      EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
	if (evhttp_bind_listener(listen->http, listen->listener) == NULL)
		return EXIT_FAILED;
	listen_here = listen;
	evconnlistener_set_error_cb(listen->listener, listen_full);
	return EXIT_DONE;
}

static bool listen_start(struct listen *listen)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	listen->base = event_base_new();
	listen->http = listen->base != NULL ? evhttp_new(listen->base) : NULL;
	if (listen->http == NULL)
		return false;
	listen->resume = event_new(listen->base, -1, 0, listen_resume, listen);
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
		listen->signals[i] = evsignal_new(listen->base, numbers[i], listen_end, listen);
		if (listen->signals[i] == NULL || event_add(listen->signals[i], NULL) < 0)
			return false;
	}
	return listen->resume != NULL;
}

static void listen_free(struct listen *listen)
{
	listen_let_go(listen);
	for (int i = 0; i < LISTEN_FORMATS; i++)
		free(listen->text[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(listen->signals); i++)
		if (listen->signals[i] != NULL)
			event_free(listen->signals[i]);
	if (listen->resume != NULL)
		event_free(listen->resume);
	if (listen->http != NULL)
		evhttp_free(listen->http); /* and with it the listener */
	if (listen->base != NULL)
		event_base_free(listen->base);
	if (listen->path != NULL)
		(void)unlink(listen->path);
	pasid_close(listen->client);
}

int metrics_listen(struct ctl *ctl)
{
	struct listen listen = {.ctl = ctl};
	int code = EXIT_FAILED;
	for (int i = 0; i < LISTEN_DAEMON; i++)
		listen.held[i] = -1;
	if (geteuid() == 0 && !(ctl->given & CTL_FORCE))
		return ctl_usage(
			"--listen is for an unprivileged user, such as that of "
			"pasidd-metrics.service; as root with --force only");
	if (ctl->timeout_ms == 0)
		ctl->timeout_ms = LISTEN_ANSWER_MS;
	else if (ctl->timeout_ms > LISTEN_ANSWER_MAX)
		ctl->timeout_ms = LISTEN_ANSWER_MAX;
	if (listen_start(&listen))
		code = listen_open(&listen, ctl->listen);
	if (code == EXIT_DONE) {
		listen_say_where(&listen, ctl->listen);
		listen_bound();
		listen_hold(&listen);
		code = event_base_dispatch(listen.base) == 0 ? EXIT_DONE : EXIT_FAILED;
	}
	listen_free(&listen);
	return code;
}
