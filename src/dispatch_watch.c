/* SPDX-License-Identifier: MIT */
/* Events: what changed in the broker, for those who watch and may be told. */
#include <assert.h>
#include <stdlib.h>

#include "broker_participant.h"
#include "dispatch_private.h"

#define WATCH_FIRST 16u /* events; doubled as needed */

/* A VMM hears of its own set only, so its changes need not be offered to all. */
static struct watcher_list *watch_list(struct dispatch *d, const struct watcher *watcher)
{
	return watcher->set ? &d->watch_set[watcher->set % DISPATCH_WATCH_BUCKETS]
			    : &d->watch_all[watcher->wish.priority];
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
	TAILQ_INSERT_TAIL(watch_list(d, watcher), watcher, link);
}

static void watch_remove(struct dispatch *d, struct watcher *watcher)
{
	TAILQ_REMOVE(watch_list(d, watcher), watcher, link);
}

static int watch_open(struct dispatch *d, struct link *link, struct error *ret_error)
{
	struct limits *limits = d->config.limits;
	struct watcher *watcher;
	int r = limits_charge(limits, NULL, link->place, RESOURCE_WATCHES, 1, ret_error);

	if (r)
		return r;
	watcher = calloc(1, sizeof(*watcher));
	if (!watcher) {
		limits_release(limits, NULL, link->place, RESOURCE_WATCHES, 1);
		return error_set(
			ret_error, REASON_NO_MEMORY, "no memory for another watch; try again");
	}
	watcher->owner = link;
	link->watcher = watcher;
	watch_insert(d, watcher);
	d->watcher_count++;
	return 0;
}

int watch_start(struct dispatch *d, struct link *link, const struct watch_wish *wish,
	struct error *ret_error)
{
	struct watcher *watcher;
	int r = 0;

	if (wish->from > broker_change_sequence(d->broker))
		return error_set_limit(ret_error, REASON_BAD_RANGE, wish->from,
			broker_change_sequence(d->broker), 0,
			"event %llu is still to come, the next one is %llu: the host was booted "
			"since then; list what there is and watch without `from`",
			(unsigned long long)wish->from,
			(unsigned long long)broker_change_sequence(d->broker));
	watch_drain(d); /* what was before is not for it, or in its place */
	if (!link->watcher)
		r = watch_open(d, link, ret_error);
	if (r)
		return r;
	watcher = link->watcher;
	watch_remove(d, watcher);
	watcher->wish = *wish;
	watch_insert(d, watcher);
	if (!wish->from)
		return 0;
	watcher->count = 0;
	watcher->lost = 0;
	watcher->next = wish->from;
	watcher->behind = wish->from < d->next_change;
	link_announce(d, link);
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

bool watch_has_events(const struct link *link)
{
	const struct watcher *watcher = link->watcher;

	return watcher && (watcher->count || watcher->lost || watcher->behind);
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
	assert(watcher->count <= watcher->room);
	for (uint32_t i = 0; i < watcher->count; i++)
		changes[i] = watcher->changes[(watcher->first + i) % watcher->room];
	free(watcher->changes);
	watcher->changes = changes;
	watcher->first = 0;
	watcher->room = room;
	return true;
}

static bool watch_has_room(struct dispatch *d, struct watcher *watcher)
{
	return watcher->count < watcher->room || watch_grow(d, watcher);
}

static void watch_put(struct watcher *watcher, const struct change *change)
{
	watcher->changes[(watcher->first + watcher->count++) % watcher->room] = *change;
}

static bool watch_wants(const struct watcher *watcher, const struct change *change)
{
	const struct watch_wish *wish = &watcher->wish;
	const struct session *session = watcher->owner->session;
	struct actor actor = {.role = session->role, .session = session->id, .set = session->set};

	return broker_change_visible(&actor, change) &&
	       (!wish->kinds || wish->kinds >> change->kind & 1) &&
	       (!wish->set || wish->set == change->set) &&
	       (!wish->name || wish->name == change->name);
}

static void watch_offer(struct dispatch *d, struct watcher *watcher, const struct change *change)
{
	if (!watch_wants(watcher, change))
		return;
	if (watcher->behind) {
		/* has its turn when those before it had theirs */
	} else if (watcher->lost || !watch_has_room(d, watcher)) {
		/* What was lost is told behind what is queued; until then nothing new goes in. */
		watcher->lost++;
		watcher->lost_sequence = change->sequence;
	} else {
		watch_put(watcher, change);
	}
	link_announce(d, watcher->owner);
}

/* Those of a class, who hear everything or of that set. */
static void watch_offer_class(struct dispatch *d, uint32_t class, const struct change *change)
{
	struct watcher *watcher;

	TAILQ_FOREACH(watcher, &d->watch_all[class], link)
	watch_offer(d, watcher, change);
	if (!change->set)
		return;
	TAILQ_FOREACH(watcher, &d->watch_set[change->set % DISPATCH_WATCH_BUCKETS], link)
	{
		if (watcher->wish.priority == class)
			watch_offer(d, watcher, change);
	}
}

/* Records that are gone may have been for anybody. Who is behind finds that out itself. */
static void watch_missed(struct dispatch *d, uint64_t missed, uint64_t sequence)
{
	struct link *link;

	d->handed_gone = true;
	TAILQ_FOREACH(link, &d->links, all)
	{
		if (!link->watcher || link->watcher->behind)
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
		for (uint32_t class = 0; class < WATCH_CLASSES; class ++)
			watch_offer_class(d, class, &change);
	}
}

/* What cannot be had any more, up to the one before `next`, in its place among the events. */
static void watch_put_gap(struct watcher *watcher, uint64_t next)
{
	watch_put(watcher, &(struct change){.sequence = next - 1, .device = next - watcher->next});
	watcher->next = next;
}

/* The ring is filled from what the broker keeps, up to where all others are. */
static void watch_catch_up(struct dispatch *d, struct watcher *watcher)
{
	struct change change;

	while (watcher->behind && watch_has_room(d, watcher)) {
		bool found;

		if (watcher->next == d->next_change) {
			watcher->behind = false;
			break;
		}
		found = broker_change_get(d->broker, watcher->next, &change);
		assert(found); /* there were changes since: it, or one that came later */
		(void)found;
		if (change.sequence >= d->next_change) {
			watch_put_gap(watcher, d->next_change);
		} else if (change.sequence > watcher->next) {
			watch_put_gap(watcher, change.sequence);
		} else {
			watcher->next++;
			if (watch_wants(watcher, &change))
				watch_put(watcher, &change);
		}
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

/* One of the ring, which may be a gap. */
static void watch_write_kept(struct wire_out *out, const struct change *change)
{
	if (change->kind)
		watch_write_event(out, change, 0);
	else
		watch_write_event(
			out, &(struct change){.sequence = change->sequence}, change->device);
}

void watch_write(struct dispatch *d, struct link *link, struct wire_out *out)
{
	struct watcher *watcher = link->watcher;

	watch_catch_up(d, watcher);
	while (watcher->count) {
		watch_write_kept(out, &watcher->changes[watcher->first]);
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

/* ---------------------------------------------------------------- the request */

static int watch_read(struct call *call, const Pasid__V1__Watch *request, struct watch_wish *wish)
{
	const uint32_t priority = request->priority ? request->priority : WATCH_CLASSES;

	if (request->start_case == PASID__V1__WATCH__START_FROM)
		wish->from = request->from ? request->from : 1;
	if (request->only_case == PASID__V1__WATCH__ONLY_SET)
		wish->set = request->set;
	if (request->only_case == PASID__V1__WATCH__ONLY_SET_NAME)
		wish->name = broker_name_hash(call->d->broker, request->set_name);
	if (request->only_case == PASID__V1__WATCH__ONLY_SET && !request->set)
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"0 names no set; leave it out to watch all");
	for (size_t i = 0; i < request->n_kinds; i++)
		wish->kinds |= UINT64_C(1) << request->kinds[i];
	wish->priority = priority - 1;
	return 0;
}

/* Whoever is waited for must hear of everything. */
static int watch_check_participant(struct call *call, const struct watch_wish *wish)
{
	const Pasid__V1__Watch *request = (const void *)call->message;

	if (call->actor.role != ROLE_PARTICIPANT)
		return error_set(&call->error, REASON_ROLE,
			"only a participant acknowledges; connect in that role, as a user that "
			"roles.participants names");
	if (request->stop || wish->set || wish->name || wish->kinds)
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"a participant that acknowledges watches, and all sets and kinds");
	return 0;
}

/* Not a change that is remembered: said again, it is so already. */
static int watch_participate(struct call *call)
{
	int r = broker_participate(call->d->broker, &call->actor, &call->error);
	if (!r)
		dispatch_settle(call->d);
	return r;
}

int handle_watch(struct call *call)
{
	const Pasid__V1__Watch *request = (const void *)call->message;
	struct dispatch *d = call->d;
	struct watch_wish wish = {0};
	const bool begins = !call->link->watcher;
	int r = request->stop ? 0 : watch_read(call, request, &wish);

	if (!r && request->acknowledge)
		r = watch_check_participant(call, &wish);
	if (!r && request->stop)
		watch_stop(d, call->link);
	else if (!r)
		r = watch_start(d, call->link, &wish, &call->error);
	if (!r && request->acknowledge) {
		r = watch_participate(call);
		if (r && begins)
			watch_stop(d, call->link);
	}
	if (r)
		return r;
	wire_out_uint(&call->out, 1, broker_change_sequence(d->broker));
	wire_out_uint(&call->out, 2, broker_change_oldest(d->broker));
	return 0;
}
