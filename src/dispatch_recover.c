/* SPDX-License-Identifier: MIT */
/* Sessions of an earlier run, and sets whose sessions are gone. */
#include <errno.h>
#include <stdlib.h>

#include "dispatch_private.h"

/* The sessions that go on. */
struct recovered {
	struct dispatch *d;
	uint64_t now;
	uint64_t *ids;
	size_t count, room;
};

static int recovered_add(struct recovered *all, uint64_t session)
{
	const size_t room = all->room ? all->room * 2 : 64;
	uint64_t *ids = all->ids;

	if (all->count == all->room) {
		ids = realloc(ids, room * sizeof(*ids));
		if (!ids)
			return -ENOMEM;
		all->ids = ids;
		all->room = room;
	}
	all->ids[all->count++] = session;
	return 0;
}

static int recover_parked(struct recovered *all, struct session *session)
{
	struct dispatch *d = all->d;
	const struct peer *peer = session->peer;
	void *user = NULL;
	int r = d->ports.revive(d->ports.ctx, session, peer->pid, peer->born, &user);

	if (r == -ESRCH) {
		dispatch_end_session(d, session);
		return 0;
	}
	if (r)
		return r;
	/* The period runs from now, when it can come back. */
	session_park(d->sessions, session, all->now, user);
	r = handover_recover(d, session);
	return r ? r : recovered_add(all, session->id);
}

/*
 * Its connection went with the run that made it, and nobody else is shown the way back. One whose
 * connection was kept would get a link here, as dispatch_connect_handed() makes it, and go on.
 */
static int recover_handed(struct recovered *all, struct session *session)
{
	dispatch_end_session(all->d, session);
	return 0;
}

static int recover_session(void *ctx, struct session *session)
{
	struct recovered *all = ctx;
	struct dispatch *d = all->d;

	if (session->set.v && !broker_set_lives(d->broker, session->set))
		session_use(d->sessions, session, (struct set_id){0});
	if (session->handed)
		return recover_handed(all, session);
	if (dispatch_survives(session))
		return recover_parked(all, session);
	dispatch_end_session(d, session);
	return 0;
}

static int recovered_compare(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* Sets that would have ended with their sessions if the daemon had been there. */
static void recover_sets(struct recovered *all)
{
	uint64_t cursor = 0, session;

	if (all->count)
		qsort(all->ids, all->count, sizeof(*all->ids), recovered_compare);
	while (broker_session_next(all->d->broker, &cursor, &session)) {
		if (!all->count || !bsearch(&session, all->ids, all->count, sizeof(*all->ids),
					   recovered_compare))
			broker_session_end(all->d->broker, session);
	}
}

int dispatch_recover(struct dispatch *d)
{
	struct recovered all = {.d = d, .now = d->ports.now_ms(d->ports.ctx)};
	int r = sessions_recover(d->sessions, recover_session, &all);

	if (!r) {
		recover_sets(&all);
		dispatch_pump(d);
	}
	free(all.ids);
	return r;
}
