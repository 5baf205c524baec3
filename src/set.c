/* SPDX-License-Identifier: MIT */
#include "set.h"

#include <assert.h>

static void host_at_most(struct limits *limits, enum resource resource, uint32_t most)
{
	if (limits_account(limits, LIMITS_NO_USER, resource)->limit > most)
		limits_set_host(limits, resource, most);
}

void ledger_init(struct ledger *ledger, struct limits *limits, uint32_t capacity)
{
	ledger->limits = limits;
	host_at_most(limits, RESOURCE_PASIDS, capacity);
	host_at_most(limits, RESOURCE_PROMISED, capacity);
}

static const struct account *of_user(
	const struct ledger *ledger, const struct set *set, enum resource resource)
{
	return limits_account(ledger->limits, set->user, resource);
}

static const struct account *of_host(const struct ledger *ledger, enum resource resource)
{
	return limits_account(ledger->limits, LIMITS_NO_USER, resource);
}

static bool account_takes(const struct account *account, uint32_t n)
{
	return account->current <= account->limit && n <= account->limit - account->current;
}

/* ------------------------------------------------------------------ sets and their quotas */

static void take_reservation(
	const struct ledger *ledger, struct set *set, uint32_t uid, const char *name)
{
	struct reservation *reservation = ledger_reservation(ledger, name);

	if (!reservation || reservation->uid != uid)
		return;
	set->reservation = reservation;
	reservation->live = set;
}

int ledger_open(struct ledger *ledger, struct set *set, uint32_t uid, const char *name,
	struct error *ret_error)
{
	int r;

	limits_open_set(ledger->limits, &set->accounts);
	set_pasids(set)->limit = 0;
	r = limits_user_open(ledger->limits, uid, &set->user, ret_error);
	if (r)
		return r;
	r = limits_charge(ledger->limits, NULL, set->user, RESOURCE_SETS, 1, ret_error);
	if (r)
		limits_user_close(ledger->limits, set->user);
	else
		take_reservation(ledger, set, uid, name);
	return r;
}

uint32_t ledger_remaining(const struct ledger *ledger, const struct set *set)
{
	const struct account *user = of_user(ledger, set, RESOURCE_PROMISED);
	uint32_t room = limits_room(ledger->limits, NULL, LIMITS_NO_USER, RESOURCE_PROMISED) +
			reserve_aside(set);
	uint32_t left = user->current < user->limit ? user->limit - user->current : 0;

	return left < room ? left : room;
}

/* Says why n more are not promised; limits_charge() has counted it. */
static int promise_refuse(struct ledger *ledger, const struct set *set, uint32_t quota, uint32_t n,
	bool tell, struct error *ret_error)
{
	const struct account *user = of_user(ledger, set, RESOURCE_PROMISED);
	const struct account *host = of_host(ledger, RESOURCE_PROMISED);

	if (!account_takes(user, n))
		return error_set_limit(ret_error, REASON_USER_QUOTA, quota, user->limit,
			user->current,
			"%u of the %u PASIDs that user %u may have are promised to sets, a quota "
			"of %u does not fit; ask for less, destroy or adjust other sets, or raise "
			"limits.promised_pasids.user",
			user->current, user->limit, limits_user_uid(ledger->limits, set->user),
			quota);
	if (!tell)
		return error_set_limit(ret_error, REASON_HOST_QUOTA, quota, 0, 0,
			"the host cannot promise a quota of %u now; ask for less, or try again "
			"when other sets are gone",
			quota);
	return error_set_limit(ret_error, REASON_HOST_QUOTA, quota, host->limit, host->current,
		"%u of the host's %u PASIDs are promised to sets, a quota of %u does not fit; ask "
		"for less, or destroy or adjust other sets",
		host->current, host->limit, quota);
}

static int promise(struct ledger *ledger, struct set *set, uint32_t quota, uint32_t n, bool tell,
	struct error *ret_error)
{
	uint32_t taken = reserve_take(ledger, set, n);
	int r = limits_charge(ledger->limits, NULL, set->user, RESOURCE_PROMISED, n, ret_error);

	if (r)
		r = promise_refuse(ledger, set, quota, n, tell, ret_error);
	else
		set_pasids(set)->limit = quota;
	reserve_taken(ledger, set, taken, r == 0);
	return r;
}

int ledger_promise(
	struct ledger *ledger, struct set *set, uint32_t quota, bool tell, struct error *ret_error)
{
	uint32_t n = quota ? quota : 1; /* what remains is nothing: not even one */

	assert(quota || ledger_remaining(ledger, set) == 0);
	return promise(ledger, set, quota, n, tell, ret_error);
}

int ledger_adjust(
	struct ledger *ledger, struct set *set, uint32_t quota, bool tell, struct error *ret_error)
{
	uint32_t current = set_use(set), before = set_quota(set);

	if (quota < current || quota == 0)
		return error_set_limit(ret_error, REASON_BELOW_USE, quota, before, current,
			"%u PASIDs are in use or in quarantine, a quota of %u is less; free some "
			"first, or ask for at least %u",
			current, quota, current ? current : 1);
	if (quota > before)
		return promise(ledger, set, quota, quota - before, tell, ret_error);
	limits_release(ledger->limits, NULL, set->user, RESOURCE_PROMISED, before - quota);
	set_pasids(set)->limit = quota;
	reserve_given_back(ledger, set);
	return 0;
}

/* A set that is gone has its reservation no more, but for what it covers of it. */
static void leave_reservation(struct set *set)
{
	if (set->reservation && set->reservation->live == set)
		set->reservation->live = NULL;
}

void ledger_close(struct ledger *ledger, struct set *set)
{
	limits_release(
		ledger->limits, NULL, set->user, RESOURCE_PROMISED, set_quota(set) - set_use(set));
	set_pasids(set)->limit = set_use(set);
	leave_reservation(set);
	reserve_given_back(ledger, set);
}

void ledger_forget(struct ledger *ledger, struct set *set)
{
	assert(set_quota(set) == 0);
	leave_reservation(set);
	limits_release(ledger->limits, NULL, set->user, RESOURCE_SETS, 1);
	limits_user_close(ledger->limits, set->user);
	set->user = LIMITS_NO_USER;
}

/* ------------------------------------------------------------------ numbers */

uint32_t ledger_room(const struct ledger *ledger, const struct set *set)
{
	uint32_t room = limits_room(ledger->limits, &set->accounts, set->user, RESOURCE_PASIDS);

	return MUTANT(Q) ? UINT32_MAX : room;
}

int ledger_refuse(struct ledger *ledger, struct set *set, const char *name, uint32_t n, bool tell,
	struct error *ret_error)
{
	const struct account *user = of_user(ledger, set, RESOURCE_PASIDS);
	const struct account *host = of_host(ledger, RESOURCE_PASIDS);
	int r = limits_charge(ledger->limits, &set->accounts, set->user, RESOURCE_PASIDS, n,
		ret_error); /* counts the hit */

	assert(r);
	(void)r;
	if (!account_takes(set_pasids(set), n))
		return error_set_limit(ret_error, REASON_SET_QUOTA, n, set_quota(set), set_use(set),
			"set '%s' has %u of its %u PASIDs (%u of them in quarantine), %u more do not "
			"fit; free some and wait for their quarantine, or have its quota raised",
			name, set_use(set), set_quota(set), set->quarantined, n);
	if (!account_takes(user, n))
		return error_set_limit(ret_error, REASON_USER_QUOTA, n, user->limit, user->current,
			"user %u has %u of %u PASIDs, %u more do not fit; free some, or raise "
			"limits.pasids.user",
			limits_user_uid(ledger->limits, set->user), user->current, user->limit, n);
	if (!tell)
		return error_set_limit(ret_error, REASON_HOST_QUOTA, n, 0, 0,
			"the host has no %u more PASIDs to give now; free some, or try again later",
			n);
	return error_set_limit(ret_error, REASON_HOST_QUOTA, n, host->limit, host->current,
		"%u of the host's %u PASIDs are out, %u more do not fit; free some and wait for their "
		"quarantine",
		host->current, host->limit, n);
}

void ledger_charge(struct ledger *ledger, struct set *set, uint32_t n)
{
	struct error error;
	int r = limits_charge(
		ledger->limits, &set->accounts, set->user, RESOURCE_PASIDS, n, &error);

	assert(r == 0 || MUTANT(Q)); /* there was room */
	(void)r;
}

void ledger_release(struct ledger *ledger, struct set *set, uint32_t n, bool open)
{
	limits_release(ledger->limits, &set->accounts, set->user, RESOURCE_PASIDS, n);
	if (open)
		return;
	set_pasids(set)->limit -= n;
	limits_release(ledger->limits, NULL, set->user, RESOURCE_PROMISED, n);
	reserve_given_back(ledger, set);
}
