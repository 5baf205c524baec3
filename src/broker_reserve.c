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

	if (config->reservation_count > BROKER_RESERVATIONS_MAX)
		return -1;
	for (uint32_t i = 0; i < config->reservation_count; i++) {
		const struct broker_reservation *reservation = &config->reservations[i];

		if (reservation->pasids == 0 || reservation->pasids > room ||
			strnlen(reservation->name, STATE_NAME_MAX + 1) > STATE_NAME_MAX)
			return -1;
		room -= reservation->pasids;
	}
	return 0;
}

static void reservations_fill(struct broker *b)
{
	_Static_assert(RESERVATION_NAME_MAX == STATE_NAME_MAX, "they are sets' names");
	for (uint32_t i = 0; i < b->config.reservation_count; i++) {
		const struct broker_reservation *from = &b->config.reservations[i];
		struct reservation *to = &b->reservations[i];

		memset(to, 0, sizeof(*to));
		memcpy(to->name, from->name, strnlen(from->name, STATE_NAME_MAX));
		to->uid = from->uid;
		to->account.limit = from->pasids;
	}
	b->config.reservations = NULL; /* the caller's */
}

void reservations_open(struct broker *b)
{
	reservations_fill(b);
	ledger_reserve(&b->ledger, b->reservations, b->config.reservation_count);
}

/* What is reserved for a name is for the set that is there, beyond what earlier ones still have. */
static void reservations_attach(struct broker *b, bool gone)
{
	for (uint32_t i = 0; i < b->set_pool.used; i++) {
		const struct set_slot *slot = &b->set_slots[i];

		if (set_state(b, i) != SET_FREE && (set_state(b, i) == SET_ZOMBIE) == gone)
			reserve_attach(&b->ledger, &b->sets[i], slot->uid, slot->name, gone);
	}
}

void reservations_replace(struct broker *b)
{
	ledger_unreserve(&b->ledger);
	for (uint32_t i = 0; i < b->set_pool.used; i++) {
		if (set_state(b, i) != SET_FREE)
			reserve_detach(&b->sets[i]);
	}
	reservations_fill(b);
	ledger_reserve_again(&b->ledger, b->reservations, b->config.reservation_count);
	reservations_attach(b, true);
	reservations_attach(b, false);
	reserve_fill(&b->ledger);
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
