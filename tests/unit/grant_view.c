/* SPDX-License-Identifier: MIT */
#include "grant_view.h"

static bool set_is_going(struct fixture *f, struct set_id set)
{
	struct set_info info;

	return broker_set_get(f->broker, &f->admin, set, &info, &f->error) || info.dying;
}

void grant_view_take(struct grant_view *view, struct fixture *f)
{
	struct grant_info info;
	uint64_t cursor = 0;

	view->count = 0;
	while (broker_grant_next(f->broker, &f->admin, (struct set_id){0}, true, &cursor, &info)) {
		ck_assert_uint_lt(view->count, GRANT_VIEW);
		view->of[view->count].grant = info;
		view->of[view->count++].going = set_is_going(f, info.set);
	}
}

/* Numbers on their way out may have got further, but never past the time that they cool. */
static bool grant_agrees(const struct grant_info *old, bool going, const struct grant_info *now)
{
	const bool out = going || old->state != GRANT_ACTIVE;

	if (now->state == GRANT_IDLE)
		return out && old->cooling_ms == 0 && old->state == GRANT_QUARANTINED;
	if (now->set.v != old->set.v)
		return false;
	if (out)
		return now->state >= old->state;
	return now->state == GRANT_ACTIVE && now->has_guest == old->has_guest &&
	       now->guest.v == old->guest.v && now->data == old->data && now->holds == old->holds;
}

bool grant_view_kept(const struct grant_view *view, struct fixture *f, struct error *ret_error)
{
	for (uint32_t i = 0; i < view->count; i++) {
		const struct grant_info *old = &view->of[i].grant;
		struct grant_info now;

		ck_assert_int_eq(
			broker_host_find(f->broker, &f->admin, old->host, &now, &f->error), 0);
		if (grant_agrees(old, view->of[i].going, &now))
			continue;
		(void)error_set(ret_error, REASON_INTERNAL,
			"PASID %u was state %d of set %llu, and is state %d of set %llu",
			old->host.v, (int)old->state, (unsigned long long)old->set.v,
			(int)now.state, (unsigned long long)now.set.v);
		return false;
	}
	return true;
}
