/* SPDX-License-Identifier: MIT */
/*
 * Reserved capacity (F25): numbers that are promised to sets of one name and user only.
 *
 * Of the n numbers of a reservation some are covered: promised to sets that have it. The others are
 * set aside: charged to the host as promised, and to no set. What goes back from a set is set aside
 * again at once, so nobody else can have been promised it in between; a set that is gone goes on
 * covering what of it is in quarantine. A set's quota is covered first, as far as that goes.
 *
 * What cannot be set aside, because an earlier run promised it to others, is missing until they
 * give something back.
 */
#include "set.h"

#include <assert.h>
#include <string.h>

void ledger_unreserve(struct ledger *ledger)
{
	for (uint32_t i = 0; i < ledger->reservation_count; i++)
		limits_release(ledger->limits, NULL, LIMITS_NO_USER, RESOURCE_PROMISED,
			ledger->reservations[i].aside);
	ledger->reservation_count = 0;
	ledger->missing = 0;
}

void ledger_reserve_again(struct ledger *ledger, struct reservation *reservations, uint32_t count)
{
	ledger->reservations = reservations;
	ledger->reservation_count = count;
	for (uint32_t i = 0; i < count; i++)
		ledger->missing += reservations[i].account.limit;
}

void ledger_reserve(struct ledger *ledger, struct reservation *reservations, uint32_t count)
{
	ledger_reserve_again(ledger, reservations, count);
	reserve_fill(ledger);
}

struct reservation *ledger_reservation(const struct ledger *ledger, const char *name)
{
	for (uint32_t i = 0; i < ledger->reservation_count; i++) {
		if (strncmp(ledger->reservations[i].name, name, RESERVATION_NAME_MAX) == 0)
			return &ledger->reservations[i];
	}
	return NULL;
}

uint32_t reservation_missing(const struct reservation *reservation)
{
	return reservation->account.limit - reservation->account.current - reservation->aside;
}

/* So much of the set's quota is the host's to promise. */
static uint32_t uncovered(const struct set *set)
{
	return set ? set_quota(set) - set->covered : 0;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void cover(struct set *set, uint32_t n)
{
	set->covered += n;
	account_add(&set->reservation->account, n);
}

void reserve_detach(struct set *set)
{
	set->reservation = NULL;
	set->covered = 0;
}

void reserve_attach(
	struct ledger *ledger, struct set *set, uint32_t uid, const char *name, bool gone)
{
	struct reservation *reservation = ledger_reservation(ledger, name);
	uint32_t n;

	if (!reservation || reservation->uid != uid)
		return;
	set->reservation = reservation;
	if (!gone) {
		reservation->live = set; /* reserve_fill() covers it before anything is set aside */
		return;
	}
	n = least(reservation_missing(reservation), set_quota(set));
	cover(set, n);
	ledger->missing -= n;
}

void reserve_fill(struct ledger *ledger)
{
	for (uint32_t i = 0; ledger->missing && i < ledger->reservation_count; i++) {
		struct reservation *reservation = &ledger->reservations[i];
		uint32_t n = least(reservation_missing(reservation), uncovered(reservation->live));

		if (n) /* its set was promised it before */
			cover(reservation->live, n);
		ledger->missing -= n;
		n = least(reservation_missing(reservation),
			limits_room(ledger->limits, NULL, LIMITS_NO_USER, RESOURCE_PROMISED));
		if (MUTANT(V))
			n = 0;
		reservation->aside += n;
		ledger->missing -= n;
		limits_charge_anyway(ledger->limits, NULL, LIMITS_NO_USER, RESOURCE_PROMISED, n);
	}
}

void reserve_yield(struct ledger *ledger)
{
	for (uint32_t i = ledger->reservation_count; i-- > 0;) {
		const struct account *host =
			limits_account(ledger->limits, LIMITS_NO_USER, RESOURCE_PROMISED);
		uint32_t over = host->current > host->limit ? host->current - host->limit : 0;
		uint32_t n = least(over, ledger->reservations[i].aside);

		ledger->reservations[i].aside -= n;
		ledger->missing += n;
		limits_release(ledger->limits, NULL, LIMITS_NO_USER, RESOURCE_PROMISED, n);
	}
}

uint32_t reserve_aside(const struct set *set)
{
	return set->reservation ? set->reservation->aside : 0;
}

uint32_t reserve_take(struct ledger *ledger, struct set *set, uint32_t n)
{
	uint32_t taken = least(n, reserve_aside(set));

	if (taken == 0)
		return 0;
	set->reservation->aside -= taken;
	limits_release(ledger->limits, NULL, LIMITS_NO_USER, RESOURCE_PROMISED, taken);
	return taken;
}

void reserve_taken(struct ledger *ledger, struct set *set, uint32_t taken, bool promised)
{
	if (taken && promised) {
		cover(set, taken);
	} else if (taken) {
		set->reservation->aside += taken;
		limits_charge_anyway(
			ledger->limits, NULL, LIMITS_NO_USER, RESOURCE_PROMISED, taken);
	}
	if (promised)
		reserve_fill(ledger);
	else if (set->reservation)
		(void)account_refuse(&set->reservation->account);
}

void reserve_given_back(struct ledger *ledger, struct set *set)
{
	struct reservation *reservation = set->reservation;
	uint32_t back = set->covered - least(set->covered, set_quota(set)), n;

	if (back) {
		set->covered -= back;
		account_release(&reservation->account, back);
		/* what its next set was promised beyond what was set aside then */
		n = least(back, uncovered(reservation->live));
		if (n)
			cover(reservation->live, n);
		reservation->aside += back - n;
		limits_charge_anyway(
			ledger->limits, NULL, LIMITS_NO_USER, RESOURCE_PROMISED, back - n);
	}
	reserve_fill(ledger);
}
