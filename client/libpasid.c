/* SPDX-License-Identifier: MIT */
/* The client as an object: making, ending, its last error, its process. */
#include "libpasid_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

uint64_t client_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

__attribute__((format(printf, 4, 0))) static void error_fill_va(
	struct pasid_error *error, int code, const char *reason, const char *format, va_list args)
{
	*error = (struct pasid_error){.code = code};
	decode_copy(error->reason, sizeof(error->reason), reason);
	vsnprintf(error->message, sizeof(error->message), format, args);
}

void error_fill(struct pasid_error *error, int code, const char *reason, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	error_fill_va(error, code, reason, format, args);
	va_end(args);
}

int client_fail(struct pasid_client *client, int code, const char *reason, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	error_fill_va(&client->error, code, reason, format, args);
	va_end(args);
	return code;
}

/* The page reads as zeros in a forked child; where the kernel cannot do that, the pid has to do. */
static int client_mark(struct pasid_client *client)
{
	void *page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -errno;
	client->mark = page;
	*client->mark = 1;
	client->pid = madvise(page, 1, MADV_WIPEONFORK) < 0 ? getpid() : 0;
	return 0;
}

static bool client_is_ours(const struct pasid_client *client)
{
	return *client->mark == 1 && (client->pid == 0 || client->pid == getpid());
}

int client_check(struct pasid_client *client)
{
	if (!client_is_ours(client))
		return client_fail(client, -ECHILD, "other-process",
			"this client belongs to the process that made it; open another one after fork()");
	if (client->closing)
		return client_fail(client, -ENOTCONN, "closed", "the client is being closed");
	return 0;
}

static int client_buffers(struct pasid_client *client)
{
	client->in = malloc(WIRE_DATAGRAM_MAX + 1);
	client->out = malloc(WIRE_DATAGRAM_MAX);
	client->scratch = malloc(WIRE_DATAGRAM_MAX);
	return client->in != NULL && client->out != NULL && client->scratch != NULL ? 0 : -ENOMEM;
}

static int client_descriptors(struct pasid_client *client)
{
	client->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll < 0)
		return -errno;
	client->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (client->timer < 0)
		return -errno;
	struct epoll_event event = {.events = EPOLLIN};
	if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, client->timer, &event) < 0)
		return -errno;
	return 0;
}

static int client_options(struct pasid_client *client, const struct pasid_options *options)
{
	if (options->name != NULL && strlen(options->name) > PASID_NAME_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"the client's name is longer than %u bytes", PASID_NAME_MAX);
	decode_copy(client->name, sizeof(client->name), options->name);
	client->role = options->role != 0 ? options->role : PASID_ROLE_VMM;
	client->resume_ms = options->resume_ms;
	client->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : PASID_TIMEOUT_DEFAULT;
	if (options->take_over != NULL) {
		_Static_assert(sizeof(client->token) == PASID_SECRET_SIZE, "a secret fits");
		memcpy(client->token, options->take_over->secret, PASID_SECRET_SIZE);
		client->token_size = PASID_SECRET_SIZE;
		client->taking = true;
	}
	if (options->has_fd)
		return 0;
	const char *path = options->path;
	if (path == NULL)
		path = getenv(PASID_SOCKET_ENV);
	client->path = strdup(path != NULL ? path : PASID_SOCKET_DEFAULT);
	return client->path != NULL ? 0 : -ENOMEM;
}

static struct pasid_client *client_new(void)
{
	struct pasid_client *client = calloc(1, sizeof(*client));
	if (client == NULL)
		return NULL;
	client->socket = client->epoll = client->timer = -1;
	client->next_id = 1;
	client->link = LINK_DOWN;
	client->session.features = client->features;
	wire_arena_init(&client->arena, NULL, WIRE_ARENA_SIZE);
	return client;
}

/* In order: each step can fail, and says why in the client's error. */
static int client_set_up(struct pasid_client *client, const struct pasid_options *options)
{
	int r = client_mark(client);
	if (r == 0)
		r = client_options(client, options);
	if (r == 0)
		r = client_buffers(client);
	if (r == 0)
		r = client_descriptors(client);
	if (r < 0 && client->error.code == 0)
		client_fail(client, r, "no-memory", "the client cannot be made: %s", strerror(-r));
	if (r == 0)
		r = link_open(client, options->has_fd ? options->fd : -1);
	return r;
}

int pasid_open(const struct pasid_options *options, struct pasid_client **ret_client,
	struct pasid_error *ret_error)
{
	static const struct pasid_options defaults;
	struct pasid_client *client = client_new();
	if (options == NULL)
		options = &defaults;
	if (client == NULL) {
		if (ret_error != NULL)
			error_fill(ret_error, -ENOMEM, "no-memory", "no memory for a client");
		return -ENOMEM;
	}
	int r = client_set_up(client, options);
	if (r == 0) {
		if (options->has_fd)
			close(options->fd); /* the client has a copy */
		*ret_client = client;
		return 0;
	}
	if (ret_error != NULL)
		*ret_error = client->error;
	client_destroy(client);
	return r;
}

static void client_free_list(struct call_list *list)
{
	while (list->first != NULL) {
		struct call *call = list->first;
		call_list_remove(list, call);
		call_free(call);
	}
}

void client_destroy(struct pasid_client *client)
{
	client_free_list(&client->calls);
	client_free_list(&client->finished);
	client_free_list(&client->parked);
	call_free(client->again);
	if (client->socket >= 0)
		close(client->socket);
	if (client->timer >= 0)
		close(client->timer);
	if (client->epoll >= 0)
		close(client->epoll);
	if (client->mark != NULL)
		munmap(client->mark, 1);
	view_free_all(client);
	wire_arena_done(&client->arena);
	free(client->events.events);
	free(client->in);
	free(client->out);
	free(client->scratch);
	free(client->path);
	free(client);
}

void pasid_close(struct pasid_client *client)
{
	if (client == NULL || client->closing)
		return;
	if (client->dispatching && client_is_ours(client))
		client->closing = true; /* pasid_dispatch() does the rest */
	else
		client_destroy(client);
}

const struct pasid_error *pasid_last_error(const struct pasid_client *client)
{
	return &client->error;
}

int pasid_set_timeout(struct pasid_client *client, uint32_t timeout_ms)
{
	int r = client_check(client);
	if (r == 0)
		client->timeout_ms = timeout_ms;
	return r;
}

const struct pasid_session *pasid_session_info(const struct pasid_client *client)
{
	return &client->session;
}

int pasid_on_connection(
	struct pasid_client *client, pasid_connection_callback callback, void *userdata)
{
	int r = client_check(client);
	if (r != 0)
		return r;
	client->connection_callback = callback;
	client->connection_userdata = userdata;
	return 0;
}

const char *pasid_status_text(int status)
{
	return status_text((enum status)status);
}

static const char *const event_texts[] = {
	[PASID_EVENT_SET_CREATED] = "set-created",
	[PASID_EVENT_SET_ADJUSTED] = "set-adjusted",
	[PASID_EVENT_SET_DESTROYED] = "set-destroyed",
	[PASID_EVENT_SET_LEAVING] = "set-leaving",
	[PASID_EVENT_SET_KEPT] = "set-kept",
	[PASID_EVENT_SET_GIVEN] = "set-given",
	[PASID_EVENT_SET_RESERVED] = "set-reserved",
	[PASID_EVENT_SET_TAKEN] = "set-taken",
	[PASID_EVENT_GRANT_ALLOCATED] = "grant-allocated",
	[PASID_EVENT_GRANT_FREE_PENDING] = "grant-free-pending",
	[PASID_EVENT_GRANT_QUARANTINED] = "grant-quarantined",
	[PASID_EVENT_GRANT_RELEASED] = "grant-released",
	[PASID_EVENT_GUEST_ATTACHED] = "guest-attached",
	[PASID_EVENT_GUEST_DETACHED] = "guest-detached",
	[PASID_EVENT_GRANT_EXTENDED] = "grant-extended",
	[PASID_EVENT_GRANT_HELD] = "grant-held",
	[PASID_EVENT_GRANT_LET_GO] = "grant-let-go",
	[PASID_EVENT_BINDING_BOUND] = "binding-bound",
	[PASID_EVENT_BINDING_UNBOUND] = "binding-unbound",
	[PASID_EVENT_BINDING_LOST] = "binding-lost",
	[PASID_EVENT_BINDING_REPLACED] = "binding-replaced",
	[PASID_EVENT_DEVICE_ADDED] = "device-added",
	[PASID_EVENT_DEVICE_REMOVED] = "device-removed",
	[PASID_EVENT_DEVICE_TAINTED] = "device-tainted",
	[PASID_EVENT_SET_ENDING] = "set-ending",
	[PASID_EVENT_SET_EMPTIED] = "set-emptied",
	[PASID_EVENT_GRANT_DATA] = "grant-data",
	[PASID_EVENT_GRANT_WAITING] = "grant-waiting",
	[PASID_EVENT_GRANT_ACKNOWLEDGED] = "grant-acknowledged",
	[PASID_EVENT_BINDING_UNBINDING] = "binding-unbinding",
	[PASID_EVENT_BINDING_DRAINED] = "binding-drained",
	[PASID_EVENT_BINDING_TAINTED] = "binding-tainted",
	[PASID_EVENT_UNBIND_UNACKNOWLEDGED] = "unbind-unacknowledged",
	[PASID_EVENT_DEVICE_HEALED] = "device-healed",
};

const char *pasid_event_text(enum pasid_event_kind kind)
{
	if ((size_t)kind >= sizeof(event_texts) / sizeof(event_texts[0]) ||
		event_texts[kind] == NULL)
		return "unknown";
	return event_texts[kind];
}
