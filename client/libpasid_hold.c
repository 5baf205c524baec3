/* SPDX-License-Identifier: MIT */
/* Holds: public functions, each with its message. */
#include "libpasid_internal.h"

static int start_hold(
	struct pasid_client *client, const struct pasid_hold_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__Hold hold = PASID__V1__HOLD__INIT;
	hold.set = set_key(&key, &args->set);
	hold.host_pasid = args->host_pasid;
	return call_start(client, PASID__V1__REQUEST__OPERATION_HOLD, &hold.base, NULL, 0, target);
}

ASYNC_FUNCTION(hold, const struct pasid_hold_args *)
SYNC_FUNCTION(hold, const struct pasid_hold_args *)

static int start_release(
	struct pasid_client *client, const struct pasid_hold_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__Release release = PASID__V1__RELEASE__INIT;
	release.set = set_key(&key, &args->set);
	release.host_pasid = args->host_pasid;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_RELEASE, &release.base, NULL, 0, target);
}

ASYNC_FUNCTION(release, const struct pasid_hold_args *)
SYNC_FUNCTION(release, const struct pasid_hold_args *)

static int start_hold_list(
	struct pasid_client *client, const struct pasid_list_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__HoldList list = PASID__V1__HOLD_LIST__INIT;
	list.set = set_key(&key, &args->set);
	list.after = args->after;
	list.limit = args->limit;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_HOLD_LIST, &list.base, NULL, 0, target);
}

LIST_FUNCTIONS(hold_list, holds, pasid_hold_info)
