/* SPDX-License-Identifier: MIT */
#include "audit_shares.h"

#include "audit_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Shares by number; users have those from SHARE_USERS on. */
#define SHARE_NOBODY 0u /* no peer is known */
#define SHARE_COMMON 1u /* users without a share of their own */
#define SHARE_USERS  2u
#define SHARES       (SHARE_USERS + AUDIT_USERS)

/* Slots one after the other: the oldest record first. */
struct queue {
	uint32_t first, last, count; /* without a slot only the count means something */
};

struct audit_shares {
	struct queue free;
	uint32_t used;          /* shares */
	uint32_t uid[SHARES];   /* from SHARE_USERS on */
	uint32_t count[SHARES]; /* of slots */
	uint64_t at_ms[SHARES]; /* of the last refusal */
	struct queue kinds[SHARES][AUDIT_KINDS];
	uint32_t next[]; /* of each slot, in its queue */
};

/* ---------------------------------------------------------------- queues */

static void queue_put(struct audit_shares *shares, struct queue *queue, uint32_t slot)
{
	if (queue->count++ == 0)
		queue->first = slot;
	else
		shares->next[queue->last] = slot;
	queue->last = slot;
}

static uint32_t queue_take(struct audit_shares *shares, struct queue *queue)
{
	const uint32_t slot = queue->first;

	assert(queue->count > 0);
	queue->count--;
	queue->first = shares->next[slot]; /* of the last one it is anything */
	return slot;
}

/* What is in `from` comes behind what is in `to`. */
static void queue_join(struct audit_shares *shares, struct queue *to, struct queue *from)
{
	if (from->count == 0)
		return;
	if (to->count == 0)
		to->first = from->first;
	else
		shares->next[to->last] = from->first;
	to->last = from->last;
	to->count += from->count;
	from->count = 0;
}

/* ---------------------------------------------------------------- users */

static void shares_join_common(struct audit_shares *shares, uint32_t share)
{
	for (uint32_t i = 0; i < AUDIT_KINDS; i++)
		queue_join(shares, &shares->kinds[SHARE_COMMON][i], &shares->kinds[share][i]);
	shares->count[SHARE_COMMON] += shares->count[share];
	shares->count[share] = 0;
}

/* Who was not refused for the longest time. */
static uint32_t users_oldest(const struct audit_shares *shares)
{
	uint32_t oldest = SHARE_USERS;
	uint64_t first_ms = shares->at_ms[SHARE_USERS];

	for (uint32_t i = SHARE_USERS; i < SHARES; i++) {
		const uint64_t at_ms = shares->at_ms[i];

		oldest = at_ms < first_ms ? i : oldest;
		first_ms = at_ms < first_ms ? at_ms : first_ms;
	}
	return oldest;
}

/* Of a user that has none. */
static uint32_t shares_add(struct audit_shares *shares, const struct audit_record *record)
{
	uint32_t share = shares->used;

	if (share < SHARES) {
		shares->used++;
	} else {
		share = users_oldest(shares);
		if (record->time_ms < AUDIT_STALE_MS ||
			shares->at_ms[share] > record->time_ms - AUDIT_STALE_MS)
			return SHARE_COMMON;
		shares_join_common(shares, share);
	}
	shares->uid[share] = record->uid;
	return share;
}

static uint32_t shares_find(struct audit_shares *shares, const struct audit_record *record)
{
	if (!(record->flags & AUDIT_HAS_PEER))
		return SHARE_NOBODY;
	for (uint32_t i = SHARE_USERS; i < shares->used; i++) {
		if (shares->uid[i] == record->uid)
			return i;
	}
	return shares_add(shares, record);
}

static uint32_t kind_of(const struct audit_record *record)
{
	const uint64_t what = (uint64_t)record->operation << 8 | record->reason;

	return (uint32_t)(audit_mix(audit_mix(1, record->set), what) % AUDIT_KINDS);
}

/* ---------------------------------------------------------------- slots */

struct audit_shares *audit_shares_new(uint32_t capacity)
{
	struct audit_shares *shares;

	shares = calloc(1, sizeof(*shares) + (size_t)capacity * sizeof(shares->next[0]));
	if (shares != NULL)
		shares->used = SHARE_USERS;
	return shares;
}

void audit_shares_free(struct audit_shares *shares)
{
	free(shares);
}

void audit_shares_give(struct audit_shares *shares, uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		queue_put(shares, &shares->free, first + i);
}

bool audit_shares_is_full(const struct audit_shares *shares)
{
	return shares->free.count == 0;
}

static void shares_put(
	struct audit_shares *shares, uint32_t share, uint32_t kind, uint64_t time_ms, uint32_t slot)
{
	queue_put(shares, &shares->kinds[share][kind], slot);
	shares->count[share]++;
	shares->at_ms[share] = time_ms;
}

/* Who has most, `own` before its equals. */
static uint32_t shares_largest(const struct audit_shares *shares, uint32_t own)
{
	uint32_t largest = own, most = shares->count[own];

	for (uint32_t i = 0; i < shares->used; i++) {
		const uint32_t count = shares->count[i];

		largest = count > most ? i : largest;
		most = count > most ? count : most;
	}
	return largest;
}

/* Of what a share has most, `own` before its equals. */
static uint32_t kinds_largest(const struct queue kinds[static AUDIT_KINDS], uint32_t own)
{
	uint32_t largest = own, most = kinds[own].count;

	for (uint32_t i = 0; i < AUDIT_KINDS; i++) {
		const uint32_t count = kinds[i].count;

		largest = count > most ? i : largest;
		most = count > most ? count : most;
	}
	return largest;
}

static uint32_t shares_overwrite(struct audit_shares *shares, uint32_t own, uint32_t kind)
{
	const uint32_t share = shares_largest(shares, own);
	struct queue *kinds = shares->kinds[share];

	shares->count[share]--;
	return queue_take(shares, &kinds[kinds_largest(kinds, kind)]);
}

uint32_t audit_shares_take(struct audit_shares *shares, const struct audit_record *record)
{
	const uint32_t own = shares_find(shares, record), kind = kind_of(record);
	uint32_t slot;

	if (audit_shares_is_full(shares))
		slot = shares_overwrite(shares, own, kind);
	else
		slot = queue_take(shares, &shares->free);
	shares_put(shares, own, kind, record->time_ms, slot);
	return slot;
}

/* ---------------------------------------------------------------- what is there */

struct place {
	uint64_t sequence;
	uint32_t slot;
};

/* Two of one sequence are by their slots: a damaged file, too, has one order only. */
static int place_compare(const void *a, const void *b)
{
	const struct place *left = a, *right = b;

	if (left->sequence != right->sequence)
		return left->sequence < right->sequence ? -1 : 1;
	return left->slot < right->slot ? -1 : 1;
}

int audit_shares_rebuild(struct audit_shares *shares, const struct audit_record *slots,
	uint32_t count, uint64_t *ret_last, uint32_t *ret_next)
{
	struct place *places = calloc((size_t)count + 1, sizeof(*places));
	size_t n = 0;

	if (places == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		const struct audit_record record = slots[i];

		if (audit_is_whole(&record))
			places[n++] = (struct place){.sequence = record.sequence, .slot = i};
		else
			audit_shares_give(shares, i, 1);
	}
	qsort(places, n, sizeof(*places), place_compare);
	for (size_t i = 0; i < n; i++) {
		const struct audit_record record = slots[places[i].slot];
		const uint32_t share = shares_find(shares, &record);

		shares_put(shares, share, kind_of(&record), record.time_ms, places[i].slot);
	}
	*ret_last = n > 0 ? places[n - 1].sequence : 0;
	*ret_next = n > 0 ? places[n - 1].slot + 1 : 0;
	free(places);
	return 0;
}
