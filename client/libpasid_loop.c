/* SPDX-License-Identifier: MIT */
/* Waiting: for one call, or in somebody's event loop; and handing out what came. */
#include "libpasid_internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TIMER_OFF 0u
#define TIMER_NOW 1u

static int loop_poll_timeout(uint64_t until)
{
	if (until == UINT64_MAX)
		return -1;
	uint64_t now = client_now_ms();
	if (until <= now)
		return 0;
	return until - now > INT_MAX ? INT_MAX : (int)(until - now);
}

int loop_step(struct pasid_client *client, uint64_t until)
{
	io_flush(client);
	uint64_t due = link_next(client);
	if (client->socket < 0 && due == UINT64_MAX)
		return 0; /* gone: nothing will ever happen */
	struct pollfd fd = {.fd = client->socket, .events = POLLIN};
	if (client->epoll_out)
		fd.events |= POLLOUT;
	int r = poll(&fd, 1, loop_poll_timeout(due < until ? due : until));
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	if (fd.revents & ~POLLOUT)
		io_receive(client);
	else if (r == 0 && client_now_ms() >= due)
		link_retry(client);
	if (fd.revents & POLLOUT)
		client->epoll_out = false;
	io_flush(client);
	return 0;
}

void loop_arm(struct pasid_client *client)
{
	uint64_t at = TIMER_OFF;
	if (call_deliverable(client) || io_sendable(client))
		at = TIMER_NOW;
	else if (link_next(client) != UINT64_MAX)
		at = link_next(client);
	if (at == client->timer_at)
		return;
	struct itimerspec spec = {0};
	if (at == TIMER_NOW) {
		spec.it_value.tv_nsec = 1;
	} else {
		spec.it_value.tv_sec = (time_t)(at / 1000);
		spec.it_value.tv_nsec = (long)(at % 1000) * 1000000;
	}
	if (timerfd_settime(client->timer, TFD_TIMER_ABSTIME, &spec, NULL) == 0)
		client->timer_at = at;
}

/* ------------------------------------------------------------ one call */

static int sync_give_up(struct sync *sync, int code)
{
	struct call *call = sync->call;
	call->target = (struct target){0}; /* its reply, should it come, is dropped */
	sync->call = NULL;
	if (code == -ETIMEDOUT)
		return client_fail(sync->client, code, "no-answer",
			"the daemon did not answer within %u ms; whether the request was done is not known",
			sync->client->timeout_ms);
	return client_fail(sync->client, code, "no-answer", "waiting for the daemon failed");
}

/* How long we wait for an answer, as the daemon keeps time too. */
static uint32_t loop_limit(uint32_t timeout_ms)
{
	return timeout_ms < UINT32_MAX - CLIENT_MARGIN_MS ? timeout_ms + CLIENT_MARGIN_MS
							  : UINT32_MAX;
}

int sync_wait(struct sync *sync, int started)
{
	if (started != 0)
		return started;
	struct pasid_client *client = sync->client;
	uint64_t until = UINT64_MAX;
	uint32_t limit_ms = 0;
	if (client->timeout_ms != PASID_TIMEOUT_NONE) {
		limit_ms = loop_limit(client->timeout_ms);
		until = client_now_ms() + limit_ms;
	}
	/* Nearly always the next thing to come is the reply: one call to send, one to receive. */
	io_flush(client);
	io_receive_wait(client, limit_ms);
	while (!sync->done) {
		int r = client_now_ms() >= until ? -ETIMEDOUT : loop_step(client, until);
		if (r < 0 && !sync->done)
			return sync_give_up(sync, r);
	}
	loop_arm(client);
	if (sync->call->error.code != 0)
		client->error = sync->call->error;
	return sync->call->error.code;
}

void sync_done(struct sync *sync)
{
	if (sync->call == NULL)
		return;
	if (sync->call->state == CALL_FINISHED)
		call_free(sync->call);
}

/* ------------------------------------------------------------ event loops */

int pasid_fd(const struct pasid_client *client)
{
	return client->epoll;
}

short pasid_events(const struct pasid_client *client)
{
	(void)client;
	return POLLIN;
}

int pasid_flush(struct pasid_client *client)
{
	int r = client_check(client);
	if (r != 0)
		return r;
	io_flush(client);
	loop_arm(client);
	if (client->link == LINK_GONE) {
		client->error = client->gone;
		return client->error.code = -ENOTCONN;
	}
	return 0;
}

static int loop_deliver_news(struct pasid_client *client)
{
	int count = 0;
	uint32_t news = client->connection_news;
	client->connection_news = 0;
	for (int kind = PASID_CONNECTION_LOST; kind <= PASID_CONNECTION_GONE; kind++) {
		if (!(news & 1u << kind) || client->connection_callback == NULL || client->closing)
			continue;
		client->connection_callback(
			client, (enum pasid_connection)kind, client->connection_userdata);
		count++;
	}
	return count;
}

/* Only what was there at the start: a callback that makes more of it cannot keep us here. */
static int loop_deliver_calls(struct pasid_client *client)
{
	int count = 0;
	for (size_t left = client->finished.count; left > 0 && !client->closing; left--) {
		struct call *call = client->finished.first;
		if (call == NULL)
			break;
		call_list_remove(&client->finished, call);
		call->target.callback(client, &call->result, call->target.userdata);
		call->result.fd = -1; /* the callback's */
		call_free(call);
		count++;
	}
	return count;
}

static int loop_deliver_events(struct pasid_client *client)
{
	struct event_ring *ring = &client->events;
	int count = 0;
	for (size_t left = ring->count; left > 0 && !client->closing; left--) {
		if (ring->count == 0)
			break;
		struct pasid_event event = ring->events[ring->first];
		ring->first = (ring->first + 1) % CLIENT_EVENTS_MAX;
		ring->count--;
		if (client->event_callback == NULL)
			continue;
		client->watch_told = event.sequence + 1;
		client->event_callback(client, &event, client->event_userdata);
		count++;
	}
	return count;
}

static int loop_wait(struct pasid_client *client, int timeout_ms)
{
	int r = loop_step(client, 0);
	uint64_t until = timeout_ms < 0 ? UINT64_MAX : client_now_ms() + (uint64_t)timeout_ms;
	while (r == 0 && timeout_ms != 0 && !call_deliverable(client) &&
		client->link != LINK_GONE && client_now_ms() < until)
		r = loop_step(client, until);
	return r;
}

int pasid_dispatch(struct pasid_client *client, int timeout_ms)
{
	int r = client_check(client);
	if (r != 0)
		return r;
	if (client->dispatching)
		return client_fail(client, -EBUSY, "in-callback",
			"pasid_dispatch() was called from a callback");
	client->dispatching = true;
	r = loop_wait(client, timeout_ms);
	int count = loop_deliver_news(client);
	count += loop_deliver_calls(client);
	count += loop_deliver_events(client);
	client->dispatching = false;
	if (client->closing) {
		client_destroy(client);
		return count;
	}
	io_flush(client);
	loop_arm(client);
	if (count > 0)
		return count;
	if (client->link == LINK_GONE) {
		client->error = client->gone;
		return client->error.code = -ENOTCONN;
	}
	return r;
}
