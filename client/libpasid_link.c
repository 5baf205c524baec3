/* SPDX-License-Identifier: MIT */
/*
 * The connection: made, lost, taken up again.
 *
 * down -> hello -> up -> down ...; gone is the end. A session is taken up with its token for as
 * long as the daemon keeps it, counted from the first loss since something was last answered: a
 * daemon that closes every connection at once is not asked for ever. A daemon that is started anew
 * knows the session, and what it was answered: what was not is sent again under the same ids.
 */
#include "libpasid_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A daemon that reads less at a time makes no sense. */
#define LINK_DATAGRAM_MIN 256u

static void link_close(struct pasid_client *client)
{
	if (client->socket >= 0) {
		/* A child may have a copy, with which it would stay in the set, readable for ever.
		 */
		(void)epoll_ctl(client->epoll, EPOLL_CTL_DEL, client->socket, NULL);
		close(client->socket);
	}
	client->socket = -1;
	client->epoll_out = false;
}

/* Calls that may have been done and calls that were never sent end differently. */
static void link_abort_calls(struct pasid_client *client)
{
	struct pasid_error error = client->gone;
	error.code = -ECONNRESET;
	call_abort_all(client, &error, true);
	error.code = -ENOTCONN;
	call_abort_all(client, &error, false);
}

static void link_gone(struct pasid_client *client, const struct pasid_error *error)
{
	link_close(client);
	client->link = LINK_GONE;
	client->gone = *error;
	client->connection_news |= 1u << PASID_CONNECTION_GONE;
	link_abort_calls(client);
}

static bool link_registered(struct pasid_client *client)
{
	struct epoll_event event = {.events = EPOLLIN};
	return epoll_ctl(client->epoll, EPOLL_CTL_ADD, client->socket, &event) == 0;
}

/* The socket is connected: introduces itself. */
static int link_begin(struct pasid_client *client)
{
	int flags = fcntl(client->socket, F_GETFL);
	if (!link_registered(client))
		return -errno;
	client->blocking = flags >= 0 && !(flags & O_NONBLOCK);
	client->receive_ms = 0;
	client->hello_id = client->next_id++;
	client->link = LINK_HELLO;
	client->fresh = true;
	int r = io_send_hello(client);
	/* Closed already: what it said before that is read as an answer would be. */
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

static int link_connect(struct pasid_client *client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(client->path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, client->path, strlen(client->path) + 1);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	client->socket = fd;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;
		link_close(client);
		return -error;
	}
	/* Only connecting must not wait: for the rest each call says whether it may. */
	(void)fcntl(fd, F_SETFL, 0);
	int r = link_begin(client);
	if (r < 0) {
		link_close(client);
		client->link = LINK_DOWN;
	}
	return r;
}

/* May the daemon be there in a moment? */
static bool link_worth_retry(const struct pasid_client *client, int error)
{
	if (error == -EAGAIN)
		return true;
	return client->token_size > 0 && (error == -ECONNREFUSED || error == -ENOENT ||
						 error == -ECONNRESET || error == -EPIPE);
}

static void link_give_up(struct pasid_client *client, int code, int cause)
{
	struct pasid_error error;
	if (client->token_size > 0 && !client->taking)
		error_fill(&error, code, "connection-lost",
			"the connection to %s was lost and could not be taken up again: %s",
			client->path != NULL ? client->path : "the daemon", strerror(-cause));
	else
		error_fill(&error, code, "no-daemon", "cannot connect to %s: %s%s",
			client->path != NULL ? client->path : "the daemon", strerror(-cause),
			cause == -ENOENT || cause == -ECONNREFUSED ? "; is pasidd running?" : "");
	link_gone(client, &error);
}

static uint64_t link_limit(const struct pasid_client *client)
{
	uint64_t limit = client->timeout_ms;
	if (client->token_size > 0 && !client->taking)
		limit = client->resume_ms != 0 ? client->resume_ms : client->session.grace_ms;
	return limit < UINT64_MAX - client->lost_at ? client->lost_at + limit : UINT64_MAX;
}

/* The next attempt comes in a while, and a longer one each time. */
static void link_retry_later(struct pasid_client *client, uint64_t now)
{
	client->retry_at = now + client->retry_ms;
	client->retry_ms *= 2;
	if (client->retry_ms > CLIENT_RETRY_MAX)
		client->retry_ms = CLIENT_RETRY_MAX;
	/* The last one is at the end, not after it. */
	if (client->retry_at > link_limit(client))
		client->retry_at = link_limit(client);
}

void link_retry(struct pasid_client *client)
{
	if (client->link == LINK_HELLO) { /* somebody took the connection and says nothing */
		link_give_up(client, -ETIMEDOUT, -ETIMEDOUT);
		return;
	}
	int r = link_connect(client);
	if (r == 0)
		return;
	uint64_t now = client_now_ms();
	if (!link_worth_retry(client, r) || now >= link_limit(client))
		link_give_up(client, r, r);
	else
		link_retry_later(client, now);
}

void link_lost(struct pasid_client *client, int error)
{
	if (client->link == LINK_GONE)
		return;
	link_close(client);
	uint64_t now = client_now_ms();
	bool first = !client->fresh;
	if (first) {
		client->lost_at = now;
		client->retry_ms = CLIENT_RETRY_MS;
	}
	client->fresh = true;
	if (client->path == NULL || client->token_size == 0 || now > link_limit(client)) {
		link_give_up(client, error, error);
		return;
	}
	for (struct call *call = client->calls.first; call != NULL; call = call->next)
		call->state = CALL_QUEUED;
	client->link = LINK_DOWN;
	client->retry_at = now;
	if (!first)
		link_retry_later(client, now);
	client->connection_news |= 1u << PASID_CONNECTION_LOST;
}

uint64_t link_next(const struct pasid_client *client)
{
	if (client->link == LINK_DOWN)
		return client->retry_at;
	/* The first hello is waited for in link_open(). */
	return client->link == LINK_HELLO && client->token_size > 0 ? link_limit(client)
								    : UINT64_MAX;
}

/* ------------------------------------------------------------ hello */

static void link_features(struct pasid_client *client, const Pasid__V1__HelloResult *hello)
{
	size_t size = 0;
	client->features[0] = '\0';
	for (size_t i = 0; i < hello->n_features; i++) {
		int n = snprintf(client->features + size, sizeof(client->features) - size, "%s%s",
			i > 0 ? " " : "", hello->features[i]);
		if (n < 0 || size + (size_t)n >= sizeof(client->features))
			break;
		size += (size_t)n;
	}
}

/* Zero means that the daemon did not say: the protocol's own limit then. */
static uint32_t link_within(uint32_t value, uint32_t limit)
{
	return value == 0 || value > limit ? limit : value;
}

/*
 * Is the largest datagram one that we can work with? Requests were measured with the limit that a
 * session began with, so it must not shrink.
 */
static bool link_fits(const struct pasid_client *client, const Pasid__V1__HelloResult *hello)
{
	uint32_t least = client->token_size > 0 && !client->taking ? client->session.datagram_limit
								   : LINK_DATAGRAM_MIN;
	return link_within(hello->datagram_limit, WIRE_DATAGRAM_MAX) >= least;
}

static void link_agreed(struct pasid_client *client, const Pasid__V1__HelloResult *hello)
{
	struct pasid_session *session = &client->session;
	session->version = hello->version;
	session->session = hello->session;
	session->role = (enum pasid_role)hello->role;
	session->window = link_within(hello->window, 256);
	session->datagram_limit = link_within(hello->datagram_limit, WIRE_DATAGRAM_MAX);
	session->request_limit = link_within(hello->request_limit, WIRE_REQUESTS_MAX);
	session->grace_ms = hello->grace_ms;
	if (hello->instance.len == sizeof(session->instance))
		memcpy(session->instance, hello->instance.data, hello->instance.len);
	if (client->taking || client->path == NULL)
		session->set = hello->set;
	if (client->taking && client->next_id <= hello->last_id)
		client->next_id = hello->last_id + 1; /* those were the other process's */
	client->taking = false;
	client->token_size = 0; /* none: the session cannot be taken up again */
	if (hello->resume_token.len > 0 && hello->resume_token.len <= sizeof(client->token)) {
		client->token_size = hello->resume_token.len;
		memcpy(client->token, hello->resume_token.data, hello->resume_token.len);
	}
	link_features(client, hello);
}

bool link_waits_for_restart(const struct pasid_client *client, const Pasid__V1__Status *status)
{
	return client->path != NULL && client->token_size > 0 && status->reason != NULL &&
	       strcmp(status->reason, reason_text(REASON_SHUTTING_DOWN)) == 0;
}

bool link_is_handed_over(struct pasid_client *client, const Pasid__V1__Status *refused)
{
	struct pasid_error error;
	if (refused->reason == NULL ||
		strcmp(refused->reason, reason_text(REASON_HANDED_OVER)) != 0)
		return false;
	decode_status(refused, &error);
	link_gone(client, &error);
	return true;
}

void link_hello(struct pasid_client *client, const Pasid__V1__Reply *reply)
{
	bool resuming = client->token_size > 0;
	struct pasid_error error;
	if (reply->status != NULL && reply->status->code != PASID__V1__CODE__OK) {
		decode_status(reply->status, &error);
		if (resuming && error.code == PASID_RETRY)
			link_lost(client, -EAGAIN);
		else
			link_gone(client, &error);
		return;
	}
	const Pasid__V1__HelloResult *hello =
		reply->result_case == PASID__V1__REPLY__RESULT_HELLO ? reply->hello : NULL;
	if (hello == NULL || hello->version != 1 || (resuming && !hello->resumed) ||
		!link_fits(client, hello)) {
		error_fill(&error, -EPROTO, "malformed",
			"the daemon's reply to hello is not understood");
		link_gone(client, &error);
		return;
	}
	link_agreed(client, hello);
	client->link = LINK_UP;
	if (resuming) {
		client->connection_news |= 1u << PASID_CONNECTION_RESUMED;
		watch_again(client);
		view_ask_again(client);
	}
}

/* ------------------------------------------------------------ the first time */

static int link_adopt(struct pasid_client *client, int fd)
{
	client->socket = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (client->socket < 0)
		return -errno;
	return link_begin(client);
}

int link_open(struct pasid_client *client, int fd)
{
	client->lost_at = client_now_ms();
	client->retry_ms = CLIENT_RETRY_MS;
	uint64_t until = client->timeout_ms == PASID_TIMEOUT_NONE
				 ? UINT64_MAX
				 : client->lost_at + client->timeout_ms;
	if (client->path == NULL) {
		int r = link_adopt(client, fd);
		if (r < 0)
			return client_fail(client, r, "no-daemon",
				"the descriptor %d is no connection to pasidd: %s", fd,
				strerror(-r));
	} else {
		link_retry(client);
	}
	while (client->link == LINK_DOWN || client->link == LINK_HELLO) {
		if (client_now_ms() >= until)
			return client_fail(client, -ETIMEDOUT, "no-answer",
				"the daemon did not answer within %u ms", client->timeout_ms);
		int r = loop_step(client, until);
		if (r < 0)
			return client_fail(
				client, r, "no-answer", "waiting failed: %s", strerror(-r));
	}
	client->connection_news = 0;
	if (client->link == LINK_GONE) {
		client->error = client->gone;
		return client->error.code;
	}
	client->fresh = false;
	return 0;
}
