/* SPDX-License-Identifier: MIT */
/* Records of this boot that are missing: nothing is granted until an admin vouches for it. */
#include "broker_private.h"

void broker_block(struct broker *b)
{
	broker_commit(b, &b->host_slot->unconfirmed, 1);
}

int broker_confirm(
	struct broker *b, const struct actor *actor, bool *ret_was_blocked, struct error *ret_error)
{
	int r = actor_must_be_admin(actor, "confirming that no VMM holds a device", ret_error);

	if (r)
		return r;
	*ret_was_blocked = b->host_slot->unconfirmed != 0;
	if (*ret_was_blocked)
		broker_commit(b, &b->host_slot->unconfirmed, 0);
	return 0;
}

_Static_assert(sizeof(BROKER_UNCONFIRMED_TEXT) <= sizeof(((struct error *)0)->text), "all of it");
