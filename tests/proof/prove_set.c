/* SPDX-License-Identifier: MIT */
/*
 * Quotas: one step of set.c and limit.c from any ledger of three sets of two users in which Q
 * holds, so that it holds after any number of steps. Quotas, uses and limits are any numbers.
 *
 *   Q  the counts of users and of the host equal the sums of those of their sets, and none exceeds
 *      its limit, whatever is asked and whatever is refused; a refusal changes nothing
 *
 * A set that was closed keeps what it has until that is released: it may then be adjusted or
 * charged no more.
 */
#include "limit.c"
#include "proof.h"
#include "set.h"

#define SETS 3u

static const uint32_t user_of[SETS] = {0, 1, 1};

struct world {
	struct limits *limits;
	struct ledger ledger;
	struct set sets[SETS];
	bool open[SETS];
};

static const enum resource both[] = {RESOURCE_PASIDS, RESOURCE_PROMISED};

static bool account_is_sum(const struct world *w, uint32_t user, unsigned which)
{
	const struct account *account = limits_account(w->limits, user, both[which]);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < SETS; i++)
		if (user == LIMITS_NO_USER || user == user_of[i])
			sum += which == 0 ? set_use(&w->sets[i]) : set_quota(&w->sets[i]);
	return account->current == sum && account->current <= account->limit;
}

/* Q, recounted. A closed set is promised what it has and nothing more. */
static bool world_agrees(const struct world *w)
{
	bool agrees = true;

	for (uint32_t i = 0; i < SETS; i++) {
		agrees &= set_use(&w->sets[i]) <= set_quota(&w->sets[i]);
		agrees &= w->open[i] || set_use(&w->sets[i]) == set_quota(&w->sets[i]);
	}
	for (unsigned which = 0; which < 2; which++)
		agrees &= account_is_sum(w, 0, which) && account_is_sum(w, 1, which) &&
			  account_is_sum(w, LIMITS_NO_USER, which);
	return agrees;
}

static void world_any(struct world *w)
{
	w->limits = any_memory(sizeof(*w->limits));
	w->limits->used = 2;
	w->limits->waived = false;
	w->ledger = (struct ledger){.limits = w->limits}; /* nothing is reserved */
	for (uint32_t i = 0; i < SETS; i++) {
		w->sets[i].user = user_of[i];
		w->sets[i].reservation = NULL;
		w->sets[i].covered = 0;
		w->open[i] = nondet_bool();
	}
	ASSUME(world_agrees(w));
}

static int world_charge(struct world *w, struct set *set)
{
	const uint32_t n = any_of(1, UINT32_MAX), use = set_use(set);
	struct error error;

	if (ledger_room(&w->ledger, set) < n)
		return ledger_refuse(&w->ledger, set, "", n, nondet_bool(), &error);
	ledger_charge(&w->ledger, set, n);
	PROVE(set_use(set) == use + n, "Q: what there is room for is charged");
	return 0;
}

static int world_release(struct world *w, struct set *set, bool open)
{
	const uint32_t n = nondet_u32();

	ASSUME(n <= set_use(set));
	ledger_release(&w->ledger, set, n, open);
	return 0;
}

static int world_promise(struct world *w, struct set *set)
{
	const uint32_t quota = any_of(1, UINT32_MAX);
	struct error error;

	ASSUME(set_quota(set) == 0);
	return ledger_promise(&w->ledger, set, quota, nondet_bool(), &error);
}

static int world_step(struct world *w, uint32_t at)
{
	struct set *set = &w->sets[at];
	struct error error;

	switch (any_of(w->open[at] ? 0 : 4, 4)) {
	case 0:
		return world_promise(w, set);
	case 1:
		return ledger_adjust(&w->ledger, set, nondet_u32(), nondet_bool(), &error);
	case 2:
		return world_charge(w, set);
	case 3:
		ledger_close(&w->ledger, set);
		w->open[at] = false;
		return 0;
	default:
		return world_release(w, set, w->open[at]);
	}
}

static void prove_quota_of(uint32_t at)
{
	struct world w;
	uint32_t use, quota;
	int r;

	world_any(&w);
	use = set_use(&w.sets[at]);
	quota = set_quota(&w.sets[at]);
	r = world_step(&w, at);
	PROVE(world_agrees(&w), "Q: counts are what a recount gives, and within their limits");
	PROVE(r == 0 || r == STATUS_QUOTA, "a refusal is one of a quota");
	PROVE(r == 0 || (set_use(&w.sets[at]) == use && set_quota(&w.sets[at]) == quota),
		"Q: a refusal changes nothing");
}

/* The only set of its user, and one of two. */

void prove_set_quota(void)
{
	prove_quota_of(0);
}

void prove_set_quota_shared(void)
{
	prove_quota_of(2);
}
