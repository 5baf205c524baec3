/* SPDX-License-Identifier: MIT */
/*
 * Another configuration while the broker serves. Nothing of it is recorded: the next run has its
 * own.
 */
#include "broker_private.h"

#include <errno.h>

/* What lasts as long as the broker does: numbers were granted, and hashed, by it. */
static void configure_keep(struct broker_config *config, const struct broker_config *before)
{
	config->reserved_last = before->reserved_last;
	config->owners_max = before->owners_max;
	config->random_key[0] = before->random_key[0];
	config->random_key[1] = before->random_key[1];
	config->name_key = before->name_key;
	if (config->pasid_width == 0)
		config->pasid_width = PASID_BITS;
}

int broker_configure(
	struct broker *b, const struct broker_config *config, const struct limits_config *limits)
{
	struct broker_config next = *config;

	configure_keep(&next, &b->config);
	if (broker_check_config(&next, b->ports.state))
		return -EINVAL;
	b->config = next;
	b->was_recovered = true; /* there may be more than the limits allow from now on */
	/* places of operations are made when the broker is */
	limits_configure(b->ports.limits, limits, RESOURCE_OPERATIONS);
	for (uint32_t i = 0; i < b->set_pool.used; i++) {
		if (set_state(b, i) != SET_FREE)
			limits_configure_set(b->ports.limits, &b->sets[i].accounts);
	}
	ledger_init(&b->ledger, b->ports.limits, broker_numbers(b));
	reservations_replace(b);
	await_shorten(b);
	return 0;
}
