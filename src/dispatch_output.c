/* SPDX-License-Identifier: MIT */
/* Datagrams on their way out: replies in batches, then events. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch_private.h"

#define OUTBUF_FIRST  1024u /* bytes; doubled as needed */
#define OUTBUF_SPARE  8u
#define OUTBUF_EVENTS 16384u /* room that is made for events */

/* ---------------------------------------------------------------- accounts */

/* Charges are made in pieces of this size, so that a small reply seldom needs one. */
#define ACCOUNT_PIECE 4096u

/* More is charged, as far as it goes. */
static void account_grow(struct dispatch *d, struct link *link, uint32_t want)
{
	struct limits *limits = d->config.limits;
	uint32_t n = (want - link->charged + ACCOUNT_PIECE - 1) / ACCOUNT_PIECE * ACCOUNT_PIECE;
	const uint32_t room = limits_room(limits, NULL, link->place, RESOURCE_UNREAD);
	struct error error;

	int r;

	if (n > room)
		n = room;
	r = limits_charge(limits, NULL, link->place, RESOURCE_UNREAD, n, &error);
	assert(r == 0); /* there was room */
	(void)r;
	link->charged += n;
}

/*
 * What does not fit into the account is there uncharged: the refusals of a burst that was read
 * before the limit was reached, and a status for who waits. Nobody is read any more then
 * (dispatch_readable), so that it is little.
 */
void link_account(struct dispatch *d, struct link *link)
{
	const uint32_t want = link->unsent + link->reserved;
	uint32_t spare;

	if (want > link->charged)
		account_grow(d, link, want);
	spare = want < link->charged ? link->charged - want : 0;
	if (want && spare < ACCOUNT_PIECE)
		return;
	spare -= want ? spare % ACCOUNT_PIECE : 0;
	limits_release(d->config.limits, NULL, link->place, RESOURCE_UNREAD, spare);
	link->charged -= spare;
}

/* ---------------------------------------------------------------- buffers */

static struct outbuf *outbuf_new(struct dispatch *d)
{
	struct outbuf *outbuf = TAILQ_FIRST(&d->spare);

	if (outbuf) {
		TAILQ_REMOVE(&d->spare, outbuf, link);
		d->spare_count--;
	} else {
		outbuf = calloc(1, sizeof(*outbuf));
		if (!outbuf)
			return NULL;
	}
	outbuf->size = 0;
	outbuf->fd = -1;
	outbuf->sealed = false;
	return outbuf;
}

static void output_drop_fd(struct dispatch *d, int fd, bool own)
{
	if (fd < 0)
		return;
	if (own)
		d->ports.close_own(d->ports.ctx, fd);
	else
		d->ports.dispose_fd(d->ports.ctx, fd);
}

static void outbuf_free(struct dispatch *d, struct outbuf *outbuf)
{
	output_drop_fd(d, outbuf->fd, outbuf->fd_own);
	if (d->spare_count < OUTBUF_SPARE) {
		TAILQ_INSERT_HEAD(&d->spare, outbuf, link);
		d->spare_count++;
		return;
	}
	free(outbuf->data);
	free(outbuf);
}

/* False: the datagram would be too long, or there is no memory. */
static bool outbuf_grow(struct outbuf *outbuf, size_t need)
{
	size_t room = outbuf->room ? outbuf->room : OUTBUF_FIRST;
	uint8_t *data;

	if (need > WIRE_DATAGRAM_MAX)
		return false;
	while (room < need)
		room *= 2;
	data = realloc(outbuf->data, room);
	if (!data)
		return false;
	outbuf->data = data;
	outbuf->room = (uint32_t)room;
	return true;
}

/* Room for `size` more bytes. */
static inline bool outbuf_reserve(struct outbuf *outbuf, size_t size)
{
	const size_t need = outbuf->size + size;

	return need <= outbuf->room || outbuf_grow(outbuf, need);
}

/* The link's last datagram if it has room for this, else another one. NULL: no memory. */
static struct outbuf *output_tail(struct dispatch *d, struct link *link, size_t size, bool with_fd)
{
	struct outbuf *outbuf = TAILQ_LAST(&link->output, outbuf_list);

	if (outbuf && !outbuf->sealed && !(with_fd && outbuf->fd >= 0) &&
		outbuf_reserve(outbuf, size))
		return outbuf;
	outbuf = outbuf_new(d);
	if (!outbuf)
		return NULL;
	if (!outbuf_reserve(outbuf, size)) {
		outbuf_free(d, outbuf);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&link->output, outbuf, link);
	return outbuf;
}

static struct wire_out outbuf_open(const struct outbuf *outbuf)
{
	return (struct wire_out){outbuf->data, outbuf->size, outbuf->room, false};
}

static void outbuf_close(
	struct dispatch *d, struct link *link, struct outbuf *outbuf, const struct wire_out *out)
{
	assert(!out->full);
	link->unsent += (uint32_t)out->size - outbuf->size;
	outbuf->size = (uint32_t)out->size;
	if (link->unsent + link->reserved > link->charged)
		link_account(d, link);
}

void output_clear(struct dispatch *d, struct link *link)
{
	while (!TAILQ_EMPTY(&link->output)) {
		struct outbuf *outbuf = TAILQ_FIRST(&link->output);

		TAILQ_REMOVE(&link->output, outbuf, link);
		outbuf_free(d, outbuf);
	}
	link->unsent = link->reserved = 0;
	link_account(d, link);
}

void output_done(struct dispatch *d)
{
	while (!TAILQ_EMPTY(&d->spare)) {
		struct outbuf *outbuf = TAILQ_FIRST(&d->spare);

		TAILQ_REMOVE(&d->spare, outbuf, link);
		free(outbuf->data);
		free(outbuf);
	}
}

/* ---------------------------------------------------------------- in */

/* Whoever has events to be told of before others is served before others. */
static uint8_t link_class(const struct link *link)
{
	return watch_has_events(link) ? (uint8_t)link->watcher->wish.priority : WATCH_CLASSES - 1;
}

static void link_unready(struct dispatch *d, struct link *link)
{
	if (link->is_ready)
		TAILQ_REMOVE(&d->ready[link->ready_class], link, ready);
	link->is_ready = false;
}

void link_announce(struct dispatch *d, struct link *link)
{
	const uint8_t class = link_class(link);

	if (link->announced && (!link->is_ready || class >= link->ready_class))
		return;
	link_unready(d, link);
	link->announced = true;
	link->is_ready = true;
	link->ready_class = class;
	TAILQ_INSERT_TAIL(&d->ready[class], link, ready);
}

void link_doom(struct dispatch *d, struct link *link)
{
	link->doomed = true;
	link_announce(d, link);
}

static void output_reply(struct dispatch *d, struct link *link, uint64_t id, const uint8_t *body,
	size_t size, int fd, bool own)
{
	struct outbuf *outbuf = output_tail(d, link, size + WIRE_REPLY_OVERHEAD, fd >= 0);
	struct wire_out out;

	if (!outbuf) { /* a client that misses a reply would wait for ever */
		output_drop_fd(d, fd, own);
		link_doom(d, link);
		return;
	}
	out = outbuf_open(outbuf);
	wire_out_reply(&out, id, fd >= 0 ? 1 : 0, body, size);
	outbuf_close(d, link, outbuf, &out);
	if (fd >= 0) {
		outbuf->fd = fd;
		outbuf->fd_own = own;
	}
	link_announce(d, link);
}

void link_reply(struct dispatch *d, struct link *link, uint64_t id, const uint8_t *body,
	size_t size, int fd)
{
	output_reply(d, link, id, body, size, fd, false);
}

void link_reply_own(struct dispatch *d, struct link *link, uint64_t id, const uint8_t *body,
	size_t size, int fd)
{
	output_reply(d, link, id, body, size, fd, true);
}

int link_check_account(struct dispatch *d, struct link *link, size_t size, struct error *ret_error)
{
	const uint32_t want = link->unsent + link->reserved + (uint32_t)size;

	if (want <= link->charged)
		return 0;
	account_grow(d, link, want);
	if (want <= link->charged)
		return 0;
	(void)limits_charge(d->config.limits, NULL, link->place, RESOURCE_UNREAD,
		want - link->charged, ret_error); /* counts the hit, and says why */
	ret_error->reason = REASON_OVERLOAD;
	return STATUS_RETRY;
}

int link_make_room(struct dispatch *d, struct link *link, size_t size, struct error *ret_error)
{
	int r = link_check_account(d, link, size, ret_error);

	if (!r && !output_tail(d, link, size, false))
		r = error_set(ret_error, REASON_NO_MEMORY,
			"no memory for a reply, so nothing was done; try again");
	return r;
}

void link_refuse(struct dispatch *d, struct link *link, int status, const struct error *error)
{
	struct outbuf *outbuf = output_tail(d, link, sizeof(*error) + 64, false);
	struct wire_out out;

	if (!outbuf) {
		link_doom(d, link);
		return;
	}
	out = outbuf_open(outbuf);
	wire_out_status(&out, WIRE_TO_CLIENT_REFUSED, status, error);
	outbuf_close(d, link, outbuf, &out);
	outbuf->sealed = true; /* ToClient has room for one refusal */
	link_announce(d, link);
}

/* ---------------------------------------------------------------- out */

struct link *dispatch_next_output(struct dispatch *d)
{
	struct link *link = NULL;

	for (size_t i = 0; i < WATCH_CLASSES && !link; i++)
		link = TAILQ_FIRST(&d->ready[i]);
	if (link)
		link_unready(d, link);
	return link;
}

/* Events go behind the replies, in the last datagram. */
static void output_add_events(struct dispatch *d, struct link *link)
{
	struct outbuf *outbuf;
	struct wire_out out;

	if (!watch_has_events(link))
		return;
	outbuf = output_tail(d, link, OUTBUF_FIRST, false);
	if (!outbuf)
		return; /* they stay where they are */
	if (outbuf->size < OUTBUF_EVENTS)
		(void)outbuf_reserve(outbuf, OUTBUF_EVENTS - outbuf->size);
	out = outbuf_open(outbuf);
	watch_write(d, link, &out);
	out.full = false; /* the rest goes with the next one */
	outbuf_close(d, link, outbuf, &out);
}

const struct dispatch_datagram *dispatch_peek(struct dispatch *d, struct link *link)
{
	struct outbuf *outbuf = TAILQ_FIRST(&link->output);

	if (!outbuf || outbuf == TAILQ_LAST(&link->output, outbuf_list)) {
		output_add_events(d, link);
		outbuf = TAILQ_FIRST(&link->output);
	}
	/* One that is empty is room for a reply that is still to come. */
	if (!outbuf || !outbuf->size) {
		link->announced = false;
		link_unready(d, link);
		return NULL;
	}
	d->datagram = (struct dispatch_datagram){
		.data = outbuf->data,
		.size = outbuf->size,
		.fds = &outbuf->fd,
		.fd_count = outbuf->fd >= 0 ? 1 : 0,
	};
	return &d->datagram;
}

void dispatch_sent(struct dispatch *d, struct link *link)
{
	struct outbuf *outbuf = TAILQ_FIRST(&link->output);

	assert(outbuf);
	TAILQ_REMOVE(&link->output, outbuf, link);
	link->unsent -= outbuf->size;
	link_account(d, link);
	outbuf_free(d, outbuf);
}

size_t dispatch_unsent(const struct link *link)
{
	return link->unsent;
}
