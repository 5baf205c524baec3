/* SPDX-License-Identifier: MIT */
/* Operations on numbers: public functions, each with its message. */
#include "libpasid_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void number_key(Pasid__V1__PasidRef *ref, struct pasid_number number)
{
	pasid__v1__pasid_ref__init(ref);
	if (number.guest) {
		ref->key_case = PASID__V1__PASID_REF__KEY_GUEST;
		ref->guest = number.value;
	} else {
		ref->key_case = PASID__V1__PASID_REF__KEY_HOST;
		ref->host = number.value;
	}
}

static int number_check_allocate(
	struct pasid_client *client, const struct pasid_allocate_args *args)
{
	if (args->count > PASID_ALLOCATE_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"%u numbers in one allocate; the most is %u", args->count,
			PASID_ALLOCATE_MAX);
	if (args->device_count > PASID_PAIRS_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"%zu devices in one allocate; the most is %u", args->device_count,
			PASID_PAIRS_MAX);
	return 0;
}

static int start_allocate(
	struct pasid_client *client, const struct pasid_allocate_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
	int r = number_check_allocate(client, args);
	if (r != 0)
		return r;
	allocate.set = set_key(&key, &args->set);
	if (args->min != 0) {
		allocate.lowest_case = PASID__V1__ALLOCATE__LOWEST_MIN;
		allocate.min = args->min;
	}
	if (args->max != 0) {
		allocate.highest_case = PASID__V1__ALLOCATE__HIGHEST_MAX;
		allocate.max = args->max;
	}
	if (args->has_guest) {
		allocate.guest_case = PASID__V1__ALLOCATE__GUEST_GUEST_PASID;
		allocate.guest_pasid = args->guest_pasid;
	}
	allocate.count = args->count;
	allocate.consecutive = args->consecutive;
	allocate.data = args->data;
	allocate.n_devices = args->device_count;
	allocate.devices = (uint64_t *)args->devices;
	allocate.scope = (Pasid__V1__Scope)args->scope;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_ALLOCATE, &allocate.base, NULL, 0, target);
}

ASYNC_FUNCTION(allocate, const struct pasid_allocate_args *)

int pasid_allocate(
	struct pasid_client *client, const struct pasid_allocate_args *args, uint32_t *ret_numbers)
{
	SYNC(client);
	int r = sync_wait(&sync, start_allocate(client, args, target_sync(&sync)));
	if (r != 0)
		return r;
	const struct pasid_result *result = &sync.call->result;
	size_t wanted = args->count != 0 ? args->count : 1;
	if (result->allocated.count != wanted)
		return client_fail(client, -EPROTO, "malformed",
			"the daemon granted %zu numbers where %zu were asked for",
			result->allocated.count, wanted);
	memcpy(ret_numbers, result->allocated.numbers, wanted * sizeof(*ret_numbers));
	return 0;
}

/* ------------------------------------------------------------ free */

static int free_send(struct pasid_client *client, const struct pasid_free_args *args,
	Pasid__V1__PasidRef *refs, Pasid__V1__PasidRef **pointers, struct target target)
{
	struct set_key key;
	Pasid__V1__Free message = PASID__V1__FREE__INIT;
	for (size_t i = 0; i < args->count; i++) {
		number_key(&refs[i], args->pasids[i]);
		pointers[i] = &refs[i];
	}
	message.set = set_key(&key, &args->set);
	message.n_pasids = args->count;
	message.pasids = pointers;
	message.all = args->all;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_FREE, &message.base, NULL, 0, target);
}

static int start_free(
	struct pasid_client *client, const struct pasid_free_args *args, struct target target)
{
	if (args->count > PASID_ALLOCATE_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"%zu numbers in one free; the most is %u", args->count, PASID_ALLOCATE_MAX);
	Pasid__V1__PasidRef *refs = calloc(args->count + 1, sizeof(*refs));
	Pasid__V1__PasidRef **pointers = calloc(args->count + 1, sizeof(void *));
	int r = -ENOMEM;
	if (refs != NULL && pointers != NULL)
		r = free_send(client, args, refs, pointers, target);
	else
		client_fail(client, r, "no-memory", "no memory for a request");
	free(refs);
	free(pointers);
	return r;
}

ASYNC_FUNCTION(free, const struct pasid_free_args *)

int pasid_free(struct pasid_client *client, const struct pasid_free_args *args, uint32_t *ret_freed,
	uint32_t *ret_unchanged)
{
	SYNC(client);
	int r = sync_wait(&sync, start_free(client, args, target_sync(&sync)));
	if (r == 0 && ret_freed != NULL)
		*ret_freed = sync.call->result.freed.freed;
	if (r == 0 && ret_unchanged != NULL)
		*ret_unchanged = sync.call->result.freed.unchanged;
	return r;
}

static int start_extend(
	struct pasid_client *client, const struct pasid_extend_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__PasidRef number;
	Pasid__V1__Extend extend = PASID__V1__EXTEND__INIT;
	if (args->device_count > PASID_PAIRS_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"%zu devices in one extend; the most is %u", args->device_count,
			PASID_PAIRS_MAX);
	extend.set = set_key(&key, &args->set);
	number_key(&number, args->pasid);
	extend.pasid = &number;
	extend.n_devices = args->device_count;
	extend.devices = (uint64_t *)args->devices;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_EXTEND, &extend.base, NULL, 0, target);
}

ASYNC_FUNCTION(extend, const struct pasid_extend_args *)

int pasid_extend(
	struct pasid_client *client, const struct pasid_extend_args *args, uint32_t *ret_added)
{
	SYNC(client);
	int r = sync_wait(&sync, start_extend(client, args, target_sync(&sync)));
	if (r == 0 && ret_added != NULL)
		*ret_added = sync.call->result.added;
	return r;
}

/* ------------------------------------------------------------ guest numbers */

static int start_guest_attach(
	struct pasid_client *client, const struct pasid_guest_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__GuestAttach attach = PASID__V1__GUEST_ATTACH__INIT;
	attach.set = set_key(&key, &args->set);
	attach.host_pasid = args->host_pasid;
	attach.guest_pasid = args->guest_pasid;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_GUEST_ATTACH, &attach.base, NULL, 0, target);
}

ASYNC_FUNCTION(guest_attach, const struct pasid_guest_args *)
SYNC_FUNCTION(guest_attach, const struct pasid_guest_args *)

static int start_guest_detach(
	struct pasid_client *client, const struct pasid_guest_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__GuestDetach detach = PASID__V1__GUEST_DETACH__INIT;
	detach.set = set_key(&key, &args->set);
	detach.guest_pasid = args->guest_pasid;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_GUEST_DETACH, &detach.base, NULL, 0, target);
}

ASYNC_FUNCTION(guest_detach, const struct pasid_guest_args *)
SYNC_FUNCTION(guest_detach, const struct pasid_guest_args *)

static int start_guest_find(
	struct pasid_client *client, const struct pasid_guest_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__GuestFind find = PASID__V1__GUEST_FIND__INIT;
	find.set = set_key(&key, &args->set);
	find.guest_pasid = args->guest_pasid;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_GUEST_FIND, &find.base, NULL, 0, target);
}

ASYNC_FUNCTION(guest_find, const struct pasid_guest_args *)

int pasid_guest_find(
	struct pasid_client *client, const struct pasid_guest_args *args, uint32_t *ret_host_pasid)
{
	SYNC(client);
	int r = sync_wait(&sync, start_guest_find(client, args, target_sync(&sync)));
	if (r == 0)
		*ret_host_pasid = sync.call->result.host_pasid;
	return r;
}

/* ------------------------------------------------------------ host numbers */

static int start_host_find(
	struct pasid_client *client, const struct pasid_host_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__HostFind find = PASID__V1__HOST_FIND__INIT;
	find.set = set_key(&key, &args->set);
	find.host_pasid = args->host_pasid;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_HOST_FIND, &find.base, NULL, 0, target);
}

ASYNC_FUNCTION(host_find, const struct pasid_host_args *)

int pasid_host_find(struct pasid_client *client, const struct pasid_host_args *args,
	struct pasid_grant_info *ret_info)
{
	SYNC(client);
	int r = sync_wait(&sync, start_host_find(client, args, target_sync(&sync)));
	if (r != 0)
		return r;
	*ret_info = sync.call->result.grant;
	call_free(client->again); /* what the info points to stays with the client */
	client->again = TAKE_PTR(sync.call);
	return 0;
}

static int start_data_set(
	struct pasid_client *client, const struct pasid_data_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__PasidRef number;
	Pasid__V1__DataSet data = PASID__V1__DATA_SET__INIT;
	data.set = set_key(&key, &args->set);
	number_key(&number, args->pasid);
	data.pasid = &number;
	data.data = args->data;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_DATA_SET, &data.base, NULL, 0, target);
}

ASYNC_FUNCTION(data_set, const struct pasid_data_args *)
SYNC_FUNCTION(data_set, const struct pasid_data_args *)

static int start_quarantine_end(
	struct pasid_client *client, const struct pasid_host_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__QuarantineEnd end = PASID__V1__QUARANTINE_END__INIT;
	end.set = set_key(&key, &args->set);
	end.host_pasid = args->host_pasid;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_QUARANTINE_END, &end.base, NULL, 0, target);
}

ASYNC_FUNCTION(quarantine_end, const struct pasid_host_args *)
SYNC_FUNCTION(quarantine_end, const struct pasid_host_args *)
