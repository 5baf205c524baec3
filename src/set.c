/* SPDX-License-Identifier: MIT */
#include "set.h"

#include <assert.h>
#include <string.h>

void ledger_init(
	struct ledger *ledger, uint32_t capacity, uint32_t user_quota, uint32_t sets_per_user)
{
	memset(ledger, 0, sizeof(*ledger));
	ledger->host.limit = capacity;
	ledger->user_quota = user_quota;
	ledger->sets_per_user = sets_per_user;
}

uint32_t ledger_remaining(const struct ledger *ledger)
{
	return ledger->host.limit - ledger->committed;
}

static bool user_is_free(const struct ledger_user *user)
{
	return user->sets == 0 && user->pasids.current == 0;
}

/* The user's place, or a free one that becomes the user's; LEDGER_USERS_MAX when there is none. */
static uint32_t user_place(struct ledger *ledger, uint32_t uid)
{
	uint32_t place = LEDGER_USERS_MAX;

	for (uint32_t i = 0; i < LEDGER_USERS_MAX; i++) {
		if (user_is_free(&ledger->users[i])) {
			place = place == LEDGER_USERS_MAX ? i : place;
		} else if (ledger->users[i].uid == uid) {
			return i;
		}
	}
	if (place < LEDGER_USERS_MAX) {
		memset(&ledger->users[place], 0, sizeof(ledger->users[place]));
		ledger->users[place].uid = uid;
		ledger->users[place].pasids.limit =
			ledger->user_quota ? ledger->user_quota : ledger->host.limit;
	}
	return place;
}

int ledger_open(struct ledger *ledger, struct set *set, uint32_t uid, uint32_t quota,
	struct error *ret_error)
{
	uint32_t place = user_place(ledger, uid);

	if (place == LEDGER_USERS_MAX)
		return error_set_limit(ret_error, REASON_LIMIT, uid, LEDGER_USERS_MAX,
			LEDGER_USERS_MAX,
			"%u users have sets already, the most that are served; destroy sets that are "
			"not needed",
			LEDGER_USERS_MAX);
	if (ledger->sets_per_user && ledger->users[place].sets >= ledger->sets_per_user)
		return error_set_limit(ret_error, REASON_USER_QUOTA, uid, ledger->sets_per_user,
			ledger->users[place].sets,
			"user %u has %u of %u sets (those that are gone count while numbers of theirs "
			"are in quarantine); destroy one, or raise quota.sets_per_user",
			uid, ledger->users[place].sets, ledger->sets_per_user);
	if (quota == 0 || quota > ledger_remaining(ledger))
		return error_set_limit(ret_error, REASON_HOST_QUOTA, quota, ledger->host.limit,
			ledger->committed,
			"%u of the host's %u PASIDs are promised to sets, a quota of %u does not fit; "
			"ask for less, or destroy or adjust other sets",
			ledger->committed, ledger->host.limit, quota);
	memset(&set->pasids, 0, sizeof(set->pasids));
	set->pasids.limit = quota;
	set->user = place;
	ledger->users[place].sets++;
	ledger->committed += quota;
	return 0;
}

int ledger_adjust(struct ledger *ledger, struct set *set, uint32_t quota, struct error *ret_error)
{
	uint32_t rest = ledger_remaining(ledger) + set->pasids.limit;

	if (quota < set->pasids.current || quota == 0)
		return error_set_limit(ret_error, REASON_BELOW_USE, quota, set->pasids.limit,
			set->pasids.current,
			"%u PASIDs are in use or in quarantine, a quota of %u is less; free some "
			"first, or ask for at least %u",
			set->pasids.current, quota, set->pasids.current ? set->pasids.current : 1);
	if (quota > rest)
		return error_set_limit(ret_error, REASON_HOST_QUOTA, quota, ledger->host.limit,
			ledger->committed,
			"a quota of %u is more than the %u PASIDs that remain for this set of the "
			"host's %u; ask for less, or destroy or adjust other sets",
			quota, rest, ledger->host.limit);
	ledger->committed = ledger->committed - set->pasids.limit + quota;
	set->pasids.limit = quota;
	return 0;
}

void ledger_close(struct ledger *ledger, struct set *set)
{
	ledger->committed -= set->pasids.limit - set->pasids.current;
	set->pasids.limit = set->pasids.current;
}

void ledger_forget(struct ledger *ledger, const struct set *set)
{
	assert(ledger->users[set->user].sets > 0 && set->pasids.current == 0);
	ledger->users[set->user].sets--;
}

static uint32_t account_left(const struct account *account)
{
	return account->limit - account->current;
}

uint32_t ledger_room(const struct ledger *ledger, const struct set *set)
{
	uint32_t room = account_left(&set->pasids);
	uint32_t user = account_left(&ledger->users[set->user].pasids);
	uint32_t host = account_left(&ledger->host);

	room = user < room ? user : room;
	room = host < room ? host : room;
	return MUTANT(Q) ? UINT32_MAX : room;
}

int ledger_refuse(struct ledger *ledger, struct set *set, const char *name, uint32_t n,
	struct error *ret_error)
{
	struct ledger_user *user = &ledger->users[set->user];

	if (!account_room(&set->pasids, n))
		return error_set_limit(ret_error, REASON_SET_QUOTA, n, set->pasids.limit,
			set->pasids.current,
			"set '%s' has %u of its %u PASIDs (%u of them in quarantine), %u more do not "
			"fit; free some and wait for their quarantine, or have its quota raised",
			name, set->pasids.current, set->pasids.limit, set->quarantined, n);
	if (!account_room(&user->pasids, n))
		return error_set_limit(ret_error, REASON_USER_QUOTA, user->uid, user->pasids.limit,
			user->pasids.current,
			"user %u has %u of %u PASIDs, %u more do not fit; free some, or raise "
			"quota.per_user",
			user->uid, user->pasids.current, user->pasids.limit, n);
	(void)account_room(&ledger->host, n);
	return error_set_limit(ret_error, REASON_HOST_QUOTA, n, ledger->host.limit,
		ledger->host.current,
		"%u of the host's %u PASIDs are out, %u more do not fit; free some and wait for their "
		"quarantine",
		ledger->host.current, ledger->host.limit, n);
}

void ledger_charge(struct ledger *ledger, struct set *set, uint32_t n)
{
	account_charge(&set->pasids, n);
	account_charge(&ledger->users[set->user].pasids, n);
	account_charge(&ledger->host, n);
}

void ledger_release(struct ledger *ledger, struct set *set, uint32_t n, bool open)
{
	account_release(&set->pasids, n);
	account_release(&ledger->users[set->user].pasids, n);
	account_release(&ledger->host, n);
	if (!open) {
		set->pasids.limit -= n;
		ledger->committed -= n;
	}
}
