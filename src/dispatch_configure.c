/* SPDX-License-Identifier: MIT */
/* Other settings at run time, and who loses a role by them. */
#include "dispatch_private.h"

#include <string.h>

void dispatch_set_notes(struct dispatch *d, const char *const *notes, size_t count)
{
	d->config.notes = notes;
	d->config.note_count = count;
}

/* What clients were told, or has its room made at the start, stays. */
static void configure_numbers(struct dispatch *d, const struct dispatch_config *config)
{
	struct dispatch_config next = dispatch_defaults(config);

	next.version = d->config.version;
	next.backend = d->config.backend;
	memcpy(next.instance, d->config.instance, sizeof(next.instance));
	next.operations_max = d->config.operations_max;
	next.requests_max = d->config.requests_max;
	next.policy = d->config.policy;
	next.limits = d->config.limits;
	next.state = d->config.state;
	d->config = next;
	sessions_configure(d->sessions, next.grace_ms, next.remembered_max);
}

static bool configure_allows(struct dispatch *d, const struct session *session)
{
	if (session->role == ROLE_VMM)
		return true;
	peer_read(session->peer, &d->peer);
	return policy_allows_role(d->config.policy, &d->peer, session->role);
}

uint32_t dispatch_configure(struct dispatch *d, const struct dispatch_config *config, uint64_t same)
{
	uint32_t ended = 0;
	struct link *link;

	configure_numbers(d, config);
	sessions_keep_cgroups(d->sessions, same);
	TAILQ_FOREACH(link, &d->links, all)
	{
		struct session *session = link->session;

		if (link->peer)
			link->peer->cgroups &= same;
		if (!session || configure_allows(d, session))
			continue;
		dispatch_detach(d, link);
		dispatch_end_session(d, session);
		ended++;
	}
	d->peer_read = NULL;
	dispatch_pump(d);
	return ended;
}
