/* SPDX-License-Identifier: MIT */
/*
 * Reserved capacity: from the configuration, shown, and recounted. The ledger keeps it (set.h).
 */
#include "broker_private.h"

#include <string.h>

/* Each of them can be set aside, at least when nothing was promised to anybody. */
int reservations_check(const struct broker_config *config)
{
	const uint32_t numbers = PASID_LAST - config->reserved_last;
	uint32_t room = config->capacity && config->capacity < numbers ? config->capacity : numbers;

	for (uint32_t i = 0; i < config->reservation_count; i++) {
		const struct broker_reservation *reservation = &config->reservations[i];

		if (reservation->pasids == 0 || reservation->pasids > room ||
			strnlen(reservation->name, STATE_NAME_MAX + 1) > STATE_NAME_MAX)
			return -1;
		room -= reservation->pasids;
	}
	return 0;
}

void reservations_open(struct broker *b)
{
	_Static_assert(RESERVATION_NAME_MAX == STATE_NAME_MAX, "they are sets' names");
	for (uint32_t i = 0; i < b->config.reservation_count; i++) {
		const struct broker_reservation *from = &b->config.reservations[i];
		struct reservation *to = &b->reservations[i];

		memcpy(to->name, from->name, strnlen(from->name, STATE_NAME_MAX));
		to->uid = from->uid;
		to->account.limit = from->pasids;
	}
	ledger_reserve(&b->ledger, b->reservations, b->config.reservation_count);
	b->config.reservations = NULL; /* the caller's */
}

bool broker_reservation_next(struct broker *b, const struct actor *actor, uint64_t *cursor,
	struct reservation_info *ret_info)
{
	const struct reservation *reservation;

	if (!actor_sees_all(actor) || *cursor >= b->ledger.reservation_count) {
		*cursor = BROKER_END;
		return false;
	}
	reservation = &b->reservations[(*cursor)++];
	*ret_info = (struct reservation_info){
		.uid = reservation->uid,
		.account = reservation->account,
		.aside = reservation->aside,
		.missing = reservation_missing(reservation),
	};
	memcpy(ret_info->name, reservation->name, sizeof(ret_info->name));
	return true;
}

/* ------------------------------------------------------------------ recounted */

void reservations_clear(struct broker *b)
{
	for (uint32_t i = 0; i < b->ledger.reservation_count; i++)
		b->reservations[i].recounted = 0;
}

int reservations_check_set(struct broker *b, uint32_t set, struct error *ret_error)
{
	const struct set *run = &b->sets[set];

	if (run->covered > (run->reservation ? set_quota(run) : 0))
		return recount_wrong(
			ret_error, "Q: a set has more of a reservation than its quota", set);
	if (!run->reservation)
		return 0;
	run->reservation->recounted += run->covered;
	if ((run->reservation->live == run) != (set_state(b, set) != SET_ZOMBIE))
		return recount_wrong(ret_error, "Q: a reservation and its set disagree", set);
	return 0;
}

/* Adds to *sum what is set aside. */
int reservations_check_sum(const struct broker *b, uint64_t *sum, struct error *ret_error)
{
	uint64_t missing = 0;

	for (uint32_t i = 0; i < b->ledger.reservation_count; i++) {
		const struct reservation *reservation = &b->reservations[i];
		const struct set *live = reservation->live;

		if (reservation->recounted != reservation->account.current ||
			reservation->account.current + reservation->aside >
				reservation->account.limit)
			return recount_wrong(ret_error, "Q: what sets have of a reservation", i);
		if (live && set_quota(live) > live->covered && reservation->aside)
			return recount_wrong(
				ret_error, "Q: a set has not what is reserved for it", i);
		*sum += reservation->aside;
		missing += reservation_missing(reservation);
	}
	return missing == b->ledger.missing
		       ? 0
		       : recount_wrong(ret_error, "Q: what could not be reserved", missing);
}
