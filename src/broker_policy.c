/* SPDX-License-Identifier: MIT */
/*
 * Where the search for a free number begins (F27).
 *
 * The policy in force is recorded, and is another only when nothing is out: no number is granted
 * and none is in quarantine. What a daemon is configured with meanwhile waits until then, so that
 * what a policy promises of numbers (such as that one comes back as late as possible) holds for as
 * long as any of them is out.
 */
#include "broker_private.h"

#include "siphash.h"

_Static_assert(STATE_POLICIES == BROKER_RANDOMIZED + 1, "each can be recorded");

static uint64_t policy_wanted(const struct broker *b)
{
	return 1 + (uint64_t)b->config.policy;
}

static bool policy_may_change(const struct broker *b)
{
	return b->host_slot->policy == 0 ||
	       limits_account(b->ports.limits, LIMITS_NO_USER, RESOURCE_PASIDS)->current == 0;
}

enum broker_policy policy_in_force(const struct broker *b)
{
	if (policy_may_change(b))
		return b->config.policy;
	return (enum broker_policy)(b->host_slot->policy - 1);
}

/* Any of them with the same chance; nobody who does not know the key can say which. */
static uint32_t policy_draw(struct broker *b, uint32_t min, uint32_t max)
{
	const struct siphash_key key = {{b->config.random_key[0], b->config.random_key[1]}};
	const uint8_t nothing = 0;
	const uint64_t drawn = siphash(&key, b->drawn++, &nothing, 0) >> 32;

	return min + (uint32_t)(drawn * (max - min + UINT64_C(1)) >> 32);
}

uint32_t policy_start(struct broker *b, uint32_t cursor, uint32_t min, uint32_t max)
{
	enum broker_policy policy = policy_in_force(b);

	if (b->host_slot->policy != policy_wanted(b) && policy_may_change(b))
		broker_commit(b, &b->host_slot->policy, policy_wanted(b));
	if (policy == BROKER_CYCLIC)
		return cursor;
	return policy == BROKER_LOWEST ? min : policy_draw(b, min, max);
}

const char *broker_policy_text(enum broker_policy policy)
{
	static const char *const texts[] = {
		[BROKER_CYCLIC] = "cyclic",
		[BROKER_LOWEST] = "lowest",
		[BROKER_RANDOMIZED] = "randomized",
	};

	return texts[policy];
}
