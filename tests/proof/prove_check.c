/* SPDX-License-Identifier: MIT */
/*
 * The scan: of any grants that an earlier daemon may have left, what state_check() lets through.
 *
 *   U  no host PASID is granted twice, but of scope rids to two sets, and 0 never
 *   G  no guest PASID of a set stands for two
 *   Q  no set has more numbers than its quota
 *   and nothing belongs to a set that is not there
 *
 * It reads no more than is there, whatever the slots say.
 */
#include "proof.h"
#include "state_check.c"

#define SETS 2u
#ifndef GRANTS
#define GRANTS 3u
#endif

static struct set_slot sets[SETS];
static struct grant_slot grants[GRANTS];

static uint32_t host_of(const struct grant_slot *grant)
{
	return (uint32_t)(grant->word >> GRANT_HOST_SHIFT) & PASID_LAST;
}

static uint32_t guest_of(const struct grant_slot *grant)
{
	return (uint32_t)(grant->word >> GRANT_GUEST_SHIFT) & PASID_LAST;
}

/* Of two slots in use. */
static void prove_pair(const struct grant_slot *a, const struct grant_slot *b)
{
	if (!(a->word & GRANT_RIDS) || !(b->word & GRANT_RIDS) || a->set == b->set)
		PROVE(host_of(a) != host_of(b), "U: no number is granted twice");
	if (a->set == b->set && a->word & GRANT_HAS_GUEST && b->word & GRANT_HAS_GUEST)
		PROVE(guest_of(a) != guest_of(b), "G: no guest PASID stands for two");
}

static void prove_grant(uint32_t slot)
{
	const struct grant_slot *grant = &grants[slot];
	uint32_t count = 0;

	PROVE(host_of(grant) != 0, "U: 0 is never granted");
	PROVE(grant->set < SETS && sets[grant->set < SETS ? grant->set : 0].word != 0,
		"it belongs to a set");
	for (uint32_t i = 0; i < GRANTS; i++) {
		if (i < slot && grants[i].word != 0)
			prove_pair(&grants[i], grant);
		count += grants[i].word != 0 && grants[i].set == grant->set;
	}
	for (uint32_t set = 0; set < SETS; set++)
		PROVE(set != grant->set || count <= sets[set].quota, "Q: no set has too many");
}

void prove_check_grants(void)
{
	static const uint32_t used[STATE_TABLES] = {[STATE_SETS] = SETS, [STATE_GRANTS] = GRANTS};
	static uint64_t hosts[PASID_COUNT / 64], bits[PASID_COUNT / 64];
	static uint32_t starts[GRANTS + 1], last[GRANTS + 1], keys[GRANTS];
	static struct state_problem problem;
	const struct state_checking c = {
		.used = used,
		.sets = sets,
		.grants = grants,
		.problem = &problem,
		.hosts = hosts,
		.bits = bits,
		.starts = starts,
		.last = last,
		.keys = keys,
	};

	for (uint32_t i = 0; i < SETS; i++) {
		sets[i].word = nondet_u64();
		sets[i].quota = nondet_u32();
	}
	for (uint32_t i = 0; i < GRANTS; i++) {
		grants[i].word = nondet_u64();
		grants[i].set = nondet_u32();
	}
	if (state_check_grants(&c) != 0)
		return;
	for (uint32_t i = 0; i < GRANTS; i++)
		if (grants[i].word != 0)
			prove_grant(i);
}
