/* SPDX-License-Identifier: MIT */
/* Events: what changed in the broker, for those who watch and may be told. */
#include <assert.h>
#include <stdlib.h>

#include "dispatch_private.h"

#define WATCH_FIRST 16u /* events; doubled as needed */

/* A VMM hears of its own set only, so its changes need not be offered to all. */
static struct watcher_list *watch_list(struct dispatch *d, uint64_t set)
{
	return set ? &d->watch_set[set % DISPATCH_WATCH_BUCKETS] : &d->watch_all;
}

static bool watch_hears_all(const struct session *session)
{
	return session->role != ROLE_VMM;
}

static void watch_insert(struct dispatch *d, struct watcher *watcher)
{
	const struct session *session = watcher->owner->session;
	/* A VMM without a set hears nothing; any list of a set will do. */
	uint64_t set = session->set.v ? session->set.v : DISPATCH_WATCH_BUCKETS;

	watcher->set = watch_hears_all(session) ? 0 : set;
	TAILQ_INSERT_TAIL(watch_list(d, watcher->set), watcher, link);
}

static void watch_remove(struct dispatch *d, struct watcher *watcher)
{
	TAILQ_REMOVE(watch_list(d, watcher->set), watcher, link);
}

int watch_start(struct dispatch *d, struct link *link, struct error *ret_error)
{
	struct limits *limits = d->config.limits;
	struct watcher *watcher;
	int r;

	if (link->watcher)
		return 0;
	r = limits_charge(limits, NULL, link->place, RESOURCE_WATCHES, 1, ret_error);
	if (r)
		return r;
	watcher = calloc(1, sizeof(*watcher));
	if (!watcher) {
		limits_release(limits, NULL, link->place, RESOURCE_WATCHES, 1);
		return error_set(
			ret_error, REASON_NO_MEMORY, "no memory for another watch; try again");
	}
	watch_drain(d); /* what was before is not for it */
	watcher->owner = link;
	link->watcher = watcher;
	watch_insert(d, watcher);
	d->watcher_count++;
	return 0;
}

void watch_stop(struct dispatch *d, struct link *link)
{
	struct watcher *watcher = link->watcher;

	if (!watcher)
		return;
	watch_remove(d, watcher);
	d->watcher_count--;
	limits_release(d->config.limits, NULL, link->place, RESOURCE_WATCHES, 1);
	free(watcher->changes);
	free(watcher);
	link->watcher = NULL;
}

void watch_moved(struct dispatch *d, struct link *link)
{
	if (!link->watcher)
		return;
	watch_remove(d, link->watcher);
	watch_insert(d, link->watcher);
}

/* ---------------------------------------------------------------- in */

static bool watch_grow(struct dispatch *d, struct watcher *watcher)
{
	uint32_t room = watcher->room ? watcher->room * 2 : WATCH_FIRST;
	struct change *changes;

	if (room > d->config.events_max)
		room = d->config.events_max;
	if (room <= watcher->room)
		return false;
	changes = calloc(room, sizeof(*changes));
	if (!changes)
		return false;
	for (uint32_t i = 0; i < watcher->count; i++)
		changes[i] = watcher->changes[(watcher->first + i) % watcher->room];
	free(watcher->changes);
	watcher->changes = changes;
	watcher->first = 0;
	watcher->room = room;
	return true;
}

static void watch_offer(struct dispatch *d, struct watcher *watcher, const struct change *change)
{
	const struct session *session = watcher->owner->session;
	struct actor actor = {.role = session->role, .session = session->id, .set = session->set};

	if (!broker_change_visible(&actor, change))
		return;
	/* What was lost is told behind what is queued; until then nothing new goes in. */
	if (watcher->lost || (watcher->count == watcher->room && !watch_grow(d, watcher))) {
		watcher->lost++;
		watcher->lost_sequence = change->sequence;
	} else {
		watcher->changes[(watcher->first + watcher->count++) % watcher->room] = *change;
	}
	link_announce(d, watcher->owner);
}

static void watch_offer_list(
	struct dispatch *d, const struct watcher_list *list, const struct change *change)
{
	struct watcher *watcher;

	TAILQ_FOREACH(watcher, list, link)
	watch_offer(d, watcher, change);
}

/* Records that are gone may have been for anybody. */
static void watch_missed(struct dispatch *d, uint64_t missed, uint64_t sequence)
{
	struct link *link;

	d->handed_gone = true;
	TAILQ_FOREACH(link, &d->links, all)
	{
		if (!link->watcher)
			continue;
		link->watcher->lost += missed;
		link->watcher->lost_sequence = sequence;
		link_announce(d, link);
	}
}

void watch_drain(struct dispatch *d)
{
	struct change change;

	if (!d->watcher_count && !d->handed_count) {
		d->next_change = broker_change_sequence(d->broker);
		return;
	}
	while (broker_change_get(d->broker, d->next_change, &change)) {
		if (change.sequence > d->next_change)
			watch_missed(d, change.sequence - d->next_change, change.sequence - 1);
		d->next_change = change.sequence + 1;
		if (change.kind == CHANGE_SET_DESTROYED)
			d->handed_gone = true;
		watch_offer_list(d, &d->watch_all, &change);
		if (change.set)
			watch_offer_list(d, watch_list(d, change.set), &change);
	}
}

/* ---------------------------------------------------------------- out */

static void watch_write_event(struct wire_out *out, const struct change *change, uint64_t lost)
{
	Pasid__V1__Event event = PASID__V1__EVENT__INIT;

	event.sequence = change->sequence;
	event.kind = (Pasid__V1__EventKind)change->kind;
	event.set = change->set;
	event.host_pasid = change->host;
	event.device = change->device;
	event.lost = lost;
	if (change->has_guest) {
		event.guest_case = PASID__V1__EVENT__GUEST_GUEST_PASID;
		event.guest_pasid = change->guest;
	}
	wire_out_message(out, WIRE_TO_CLIENT_EVENTS, &event.base);
}

void watch_write(struct link *link, struct wire_out *out)
{
	struct watcher *watcher = link->watcher;

	while (watcher->count) {
		watch_write_event(out, &watcher->changes[watcher->first], 0);
		if (out->full)
			return;
		watcher->first = (watcher->first + 1) % watcher->room;
		watcher->count--;
	}
	if (!watcher->lost)
		return;
	watch_write_event(out, &(struct change){.sequence = watcher->lost_sequence}, watcher->lost);
	if (!out->full)
		watcher->lost = 0;
}
