/* SPDX-License-Identifier: MIT */
/* Other settings while the loop turns. */
#include "server_private.h"

struct event_base *server_base(struct server *server)
{
	return server->base;
}

bool server_is_stopping(const struct server *server)
{
	return server->stopping;
}

void server_set_notes(struct server *server, const char *const *notes, size_t count)
{
	dispatch_set_notes(server->dispatch, notes, count);
}

uint32_t server_configure(
	struct server *server, const struct server_settings *settings, uint64_t same)
{
	server->options.hello_ms = settings->hello_ms;
	server->options.stalled_ms = settings->stalled_ms;
	server->options.received_max = settings->received_max;
	server->io.received_max = settings->received_max ? settings->received_max : UINT32_MAX;
	server->freed = true; /* who waits for room is looked at again */
	return dispatch_configure(server->dispatch, settings->dispatch, same);
}

void server_ended(void *ctx, const struct outcome *outcome)
{
	const struct server *server = ctx;

	if (server->options.ended)
		server->options.ended(server->options.ended_ctx, outcome);
}
