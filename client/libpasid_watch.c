/* SPDX-License-Identifier: MIT */
/* Events, and what participants acknowledge. */
#include "libpasid_internal.h"

#include <errno.h>
#include <string.h>

/* ------------------------------------------------------------ watch */

static int watch_start(
	struct pasid_client *client, const struct watch *wanted, bool stop, struct target target)
{
	Pasid__V1__Watch watch = PASID__V1__WATCH__INIT;
	Pasid__V1__EventKind kinds[64];
	watch.stop = stop;
	if (wanted->next != 0) {
		watch.start_case = PASID__V1__WATCH__START_FROM;
		watch.from = wanted->next;
	}
	if (wanted->name[0] != '\0') {
		watch.only_case = PASID__V1__WATCH__ONLY_SET_NAME;
		watch.set_name = (char *)wanted->name;
	} else if (wanted->set != 0) {
		watch.only_case = PASID__V1__WATCH__ONLY_SET;
		watch.set = wanted->set;
	}
	watch.kinds = kinds;
	for (unsigned kind = 0; kind < 64; kind++)
		if (wanted->kinds >> kind & 1)
			kinds[watch.n_kinds++] = (Pasid__V1__EventKind)kind;
	watch.priority = (Pasid__V1__EventPriority)wanted->priority;
	watch.acknowledge = wanted->acknowledge;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_WATCH, &watch.base, NULL, 0, target);
}

void watch_again(struct pasid_client *client)
{
	if (client->event_callback != NULL)
		(void)watch_start(client, &client->watch, false, (struct target){0});
}

/* Unless events came with the reply already, the first one to come is where a watch goes on. */
static void watch_began(struct pasid_client *client, uint64_t next)
{
	if (client->watch.next == 0)
		client->watch.next = next;
	if (client->watch_told == 0)
		client->watch_told = next;
}

uint64_t pasid_watch_next(const struct pasid_client *client)
{
	return client->event_callback != NULL ? client->watch_told : 0;
}

static int watch_change(struct pasid_client *client, const struct watch *wanted,
	pasid_event_callback callback, void *userdata)
{
	SYNC(client);
	const struct watch old = client->watch;
	const uint64_t old_told = client->watch_told;
	pasid_event_callback old_callback = client->event_callback;
	void *old_userdata = client->event_userdata;
	/* From before the reply: the first event may come in the same datagram. */
	client->watch = *wanted;
	client->watch_told = wanted->next;
	client->event_callback = callback;
	client->event_userdata = userdata;
	int r = sync_wait(&sync, watch_start(client, wanted, callback == NULL, target_sync(&sync)));
	if (r == 0) {
		watch_began(client, sync.call->result.next_sequence);
		return 0;
	}
	client->watch = old;
	client->watch_told = old_told;
	client->event_callback = old_callback;
	client->event_userdata = old_userdata;
	return r;
}

int pasid_watch(struct pasid_client *client, pasid_event_callback callback, void *userdata)
{
	int r = client_check(client);
	return r != 0 ? r : watch_change(client, &(struct watch){0}, callback, userdata);
}

int pasid_watch_events(struct pasid_client *client, const struct pasid_watch_args *args,
	pasid_event_callback callback, void *userdata)
{
	struct watch wanted = {
		.next = args->from,
		.set = args->set.id,
		.kinds = args->kinds,
		.priority = args->priority,
		.acknowledge = args->acknowledge,
	};
	int r = client_check(client);
	if (r != 0)
		return r;
	if (args->set.name != NULL && strlen(args->set.name) > PASID_NAME_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"a set's name has up to %d characters", PASID_NAME_MAX);
	if (args->set.name != NULL)
		decode_copy(wanted.name, sizeof(wanted.name), args->set.name);
	return watch_change(client, &wanted, callback, userdata);
}

/* ------------------------------------------------------------ acknowledge */

static int start_acknowledge(struct pasid_client *client, const struct pasid_acknowledge_args *args,
	struct target target)
{
	Pasid__V1__Acknowledge message = PASID__V1__ACKNOWLEDGE__INIT;
	if (args->count > PASID_ALLOCATE_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"%zu numbers in one request; the most is %u", args->count,
			PASID_ALLOCATE_MAX);
	message.n_host_pasids = args->count;
	message.host_pasids = (uint32_t *)args->host_pasids;
	message.seen = args->seen;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_ACKNOWLEDGE, &message.base, NULL, 0, target);
}

ASYNC_FUNCTION(acknowledge, const struct pasid_acknowledge_args *)

int pasid_acknowledge(struct pasid_client *client, const struct pasid_acknowledge_args *args,
	uint32_t *ret_acknowledged)
{
	SYNC(client);
	int r = sync_wait(&sync, start_acknowledge(client, args, target_sync(&sync)));
	if (r == 0 && ret_acknowledged != NULL)
		*ret_acknowledged = sync.call->result.acknowledged;
	return r;
}
