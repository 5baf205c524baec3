/* SPDX-License-Identifier: MIT */
/* Calls from their start to their result, and the events between them. */
#include "libpasid_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a request takes in a datagram beside its operation: generous. */
#define CALL_OVERHEAD 64

void call_list_append(struct call_list *list, struct call *call)
{
	call->next = NULL;
	call->prev = list->last;
	if (list->last != NULL)
		list->last->next = call;
	else
		list->first = call;
	list->last = call;
	list->count++;
}

void call_list_remove(struct call_list *list, struct call *call)
{
	if (call->prev != NULL)
		call->prev->next = call->next;
	else
		list->first = call->next;
	if (call->next != NULL)
		call->next->prev = call->prev;
	else
		list->last = call->prev;
	call->next = call->prev = NULL;
	list->count--;
}

/* By id: a call that is asked for again is older than those behind it. */
static void call_list_insert(struct call_list *list, struct call *call)
{
	struct call *next = list->first;
	while (next != NULL && next->id < call->id)
		next = next->next;
	if (next == NULL) {
		call_list_append(list, call);
		return;
	}
	call->next = next;
	call->prev = next->prev;
	if (next->prev != NULL)
		next->prev->next = call;
	else
		list->first = call;
	next->prev = call;
	list->count++;
}

static void call_close_fds(struct call *call)
{
	for (uint32_t i = 0; i < call->fd_count; i++)
		close(call->fds[i]);
	call->fd_count = 0;
}

void call_free(struct call *call)
{
	if (call == NULL)
		return;
	call_close_fds(call);
	if (call->result.fd >= 0)
		close(call->result.fd);
	if (call->storage != call->room)
		free(call->storage);
	free(call);
}

uint64_t call_seen_below(const struct pasid_client *client)
{
	uint64_t lowest = client->next_id;
	if (client->calls.first != NULL)
		lowest = client->calls.first->id;
	for (const struct call *call = client->parked.first; call != NULL; call = call->next)
		if (call->id < lowest)
			lowest = call->id;
	return lowest;
}

static int call_copy_fds(
	struct pasid_client *client, struct call *call, const int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		if (copy < 0) {
			int error = errno;
			return client_fail(client, -error, "bad-argument",
				"descriptor %d cannot be sent: %s", fds[i], strerror(error));
		}
		call->fds[call->fd_count++] = copy;
	}
	return 0;
}

/* A call that is not in any list yet. NULL: the client's error says why. */
static struct call *call_new(struct pasid_client *client, uint32_t operation,
	const ProtobufCMessage *message, const int *fds, uint32_t fd_count)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	if (size + CALL_OVERHEAD > client->session.datagram_limit) {
		client_fail(client, -E2BIG, "too-large",
			"the request takes %zu bytes, the daemon reads %u: split it", size,
			client->session.datagram_limit);
		return NULL;
	}
	struct call *call = malloc(sizeof(*call) + size);
	if (call == NULL) {
		client_fail(client, -ENOMEM, "no-memory", "no memory for a request");
		return NULL;
	}
	*call = (struct call){.operation = operation};
	call->result.fd = -1;
	call->body_size = protobuf_c_message_pack(message, call->body);
	if (call_copy_fds(client, call, fds, fd_count) != 0) {
		call_free(call);
		return NULL;
	}
	return call;
}

int call_start(struct pasid_client *client, uint32_t operation, const ProtobufCMessage *message,
	const int *fds, uint32_t fd_count, struct target target)
{
	int r = client_check(client);
	if (r != 0)
		return r;
	if (client->link == LINK_GONE) {
		client->error = client->gone;
		return client->error.code = -ENOTCONN;
	}
	struct call *call = call_new(client, operation, message, fds, fd_count);
	if (call == NULL)
		return client->error.code;
	call->id = client->next_id++;
	call->result.id = call->id;
	call->result.error = &call->error;
	call->target = target;
	call->state = CALL_QUEUED;
	if (target.sync != NULL) {
		call->has_deadline = client->timeout_ms != PASID_TIMEOUT_NONE;
		call->deadline_ms = client->timeout_ms;
		target.sync->call = call;
	}
	call_list_append(&client->calls, call);
	if (target.sync == NULL)
		loop_arm(client);
	return 0;
}

void call_forget_oldest(struct pasid_client *client)
{
	struct call *oldest = client->parked.first;
	call_list_remove(&client->parked, oldest); /* NOLINT: a false use after free */
	call_free(oldest);
}

static void call_park(struct pasid_client *client, struct call *call)
{
	if (client->parked.count == CLIENT_PARKED_MAX)
		call_forget_oldest(client);
	call->state = CALL_PARKED;
	call_list_append(&client->parked, call);
}

/* The call leaves the list of those under way; its result goes where it is awaited. */
static void call_finish(struct pasid_client *client, struct call *call)
{
	call_list_remove(&client->calls, call);
	call->result.code = call->error.code;
	struct sync *sync = call->target.sync;
	call->target.sync = NULL;
	if (call->error.code == PASID_PENDING)
		call->error.object = call->id;
	else
		call_close_fds(call);
	if (sync != NULL) {
		sync->done = true;
		call->state = CALL_FINISHED;
		if (call->error.code == PASID_PENDING)
			call_park(client, call);
	} else if (call->target.view != NULL) {
		view_renew(call->target.view, call);
		call_free(call);
	} else if (call->target.callback != NULL) {
		call->state = CALL_FINISHED;
		call_list_append(&client->finished, call);
	} else {
		call_free(call);
	}
}

void call_forget_view(struct pasid_client *client, const struct view *view)
{
	for (struct call *call = client->calls.first; call != NULL; call = call->next)
		if (call->target.view == view)
			call->target.view = NULL;
}

static struct call *call_find(const struct pasid_client *client, uint64_t id)
{
	for (struct call *call = client->calls.first; call != NULL && call->id <= id;
		call = call->next)
		if (call->id == id && call->state == CALL_SENT)
			return call;
	return NULL;
}

void call_reply(struct pasid_client *client, const Pasid__V1__Reply *reply, int fd)
{
	struct call *call = call_find(client, reply->id);
	if (call == NULL) { /* given up on, or answered already */
		if (fd >= 0)
			close(fd);
		return;
	}
	if (reply->status != NULL && link_waits_for_restart(client, reply->status))
		return; /* it is sent again on the next connection */
	client->fresh = false;
	call->result.fd = fd;
	if (reply->status != NULL && reply->status->code != PASID__V1__CODE__OK) {
		decode_status(reply->status, &call->error);
		call_finish(client, call);
		return;
	}
	int r = decode_reply(call, reply);
	if (r == 0 && reply->descriptors > 0 && fd < 0)
		error_fill(&call->error, -EMFILE, "descriptors-truncated",
			"done, but there was no room for the descriptor that came back: raise "
			"RLIMIT_NOFILE");
	else if (r != 0)
		error_fill(&call->error, r, "malformed", "the daemon's reply is not understood: %s",
			strerror(-r));
	call_finish(client, call);
}

void call_abort(struct pasid_client *client, struct call *call, const struct pasid_error *error)
{
	call->error = *error;
	call_finish(client, call);
}

void call_abort_all(struct pasid_client *client, const struct pasid_error *error, bool only_sent)
{
	struct call *next;
	for (struct call *call = client->calls.first; call != NULL; call = next) {
		next = call->next;
		if (call->was_sent || !only_sent)
			call_abort(client, call, error);
	}
}

void call_event(struct pasid_client *client, const Pasid__V1__Event *event)
{
	struct event_ring *ring = &client->events;
	if (client->event_callback == NULL)
		return;
	client->watch.next = event->sequence + 1;
	if (ring->events == NULL)
		ring->events = calloc(CLIENT_EVENTS_MAX, sizeof(*ring->events));
	if (ring->events == NULL || ring->count == CLIENT_EVENTS_MAX) {
		ring->dropped += 1 + event->lost;
		return;
	}
	struct pasid_event *to = &ring->events[(ring->first + ring->count++) % CLIENT_EVENTS_MAX];
	decode_event(event, to);
	to->lost += ring->dropped;
	ring->dropped = 0;
}

bool call_deliverable(const struct pasid_client *client)
{
	return client->finished.first != NULL || client->events.count > 0 ||
	       (client->connection_news != 0 && client->connection_callback != NULL);
}

size_t pasid_outstanding(const struct pasid_client *client)
{
	return client->calls.count + client->finished.count;
}

int pasid_again(struct pasid_client *client, uint64_t id, const struct pasid_result **ret_result)
{
	int r = client_check(client);
	if (r != 0)
		return r;
	struct call *call = client->parked.first;
	while (call != NULL && call->id != id)
		call = call->next;
	if (call == NULL)
		return client_fail(client, -ENOENT, "no-call", "no call with id %llu ended pending",
			(unsigned long long)id);
	if (client->link == LINK_GONE) {
		client->error = client->gone;
		return client->error.code = -ENOTCONN;
	}
	SYNC(client);
	call_list_remove(&client->parked, call);
	call->state = CALL_QUEUED;
	call->target = target_sync(&sync);
	call->has_deadline = client->timeout_ms != PASID_TIMEOUT_NONE;
	call->deadline_ms = client->timeout_ms;
	memset(&call->error, 0, sizeof(call->error));
	sync.call = call;
	call_list_insert(&client->calls, call);
	r = sync_wait(&sync, 0);
	if (sync.done && r != PASID_PENDING) {
		call_free(client->again);
		client->again = TAKE_PTR(sync.call);
		*ret_result = &client->again->result;
	}
	return r;
}
