/* SPDX-License-Identifier: MIT */
/* Operations on sessions and sets: public functions, each with its message. */
#include "libpasid_internal.h"

#include <errno.h>

Pasid__V1__SetRef *set_key(struct set_key *key, const struct pasid_set_ref *set)
{
	pasid__v1__set_ref__init(&key->ref);
	if (set->name != NULL) {
		key->ref.key_case = PASID__V1__SET_REF__KEY_NAME;
		key->ref.name = (char *)set->name;
	} else if (set->id != 0) {
		key->ref.key_case = PASID__V1__SET_REF__KEY_ID;
		key->ref.id = set->id;
	} else {
		return NULL;
	}
	return &key->ref;
}

/* ------------------------------------------------------------ session */

int pasid_ping_async(struct pasid_client *client, pasid_callback callback, void *userdata)
{
	Pasid__V1__Ping ping = PASID__V1__PING__INIT;
	return call_start(client, PASID__V1__REQUEST__OPERATION_PING, &ping.base, NULL, 0,
		target_async(callback, userdata));
}

int pasid_ping(struct pasid_client *client)
{
	SYNC(client);
	Pasid__V1__Ping ping = PASID__V1__PING__INIT;
	return sync_wait(&sync, call_start(client, PASID__V1__REQUEST__OPERATION_PING, &ping.base,
					NULL, 0, target_sync(&sync)));
}

static int start_status(struct pasid_client *client, struct target target)
{
	Pasid__V1__GetStatus message = PASID__V1__GET_STATUS__INIT;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_GET_STATUS, &message.base, NULL, 0, target);
}

int pasid_status_async(struct pasid_client *client, pasid_callback callback, void *userdata)
{
	return start_status(client, target_async(callback, userdata));
}

int pasid_status(struct pasid_client *client, struct pasid_host_status *ret_status)
{
	SYNC(client);
	int r = sync_wait(&sync, start_status(client, target_sync(&sync)));
	if (r == 0)
		*ret_status = *sync.call->result.status;
	return r;
}

static int start_recover(struct pasid_client *client, struct target target)
{
	Pasid__V1__Recover recover = PASID__V1__RECOVER__INIT;
	recover.confirm_no_devices = true;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_RECOVER, &recover.base, NULL, 0, target);
}

int pasid_recover_confirm_async(
	struct pasid_client *client, pasid_callback callback, void *userdata)
{
	return start_recover(client, target_async(callback, userdata));
}

int pasid_recover_confirm(struct pasid_client *client, bool *ret_was_blocked)
{
	SYNC(client);
	int r = sync_wait(&sync, start_recover(client, target_sync(&sync)));
	if (r == 0 && ret_was_blocked != NULL)
		*ret_was_blocked = sync.call->result.was_blocked;
	return r;
}

/* ------------------------------------------------------------ sets */

static int set_result(struct sync *sync, int r, struct pasid_set_info *ret_info)
{
	if (r == 0 && ret_info != NULL)
		*ret_info = sync->call->result.set;
	return r;
}

static int start_set_create(
	struct pasid_client *client, const struct pasid_set_create_args *args, struct target target)
{
	Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
	if (args->name == NULL)
		return client_fail(client, -EINVAL, "bad-argument", "a set needs a name");
	create.name = (char *)args->name;
	create.mode = (Pasid__V1__SetMode)args->mode;
	Pasid__V1__Scope scopes[2];
	create.scopes = scopes;
	for (unsigned scope = PASID_SCOPE_GLOBAL; scope <= PASID_SCOPE_RIDS; scope++)
		if (args->scopes & scope)
			scopes[create.n_scopes++] = (Pasid__V1__Scope)scope;
	if (args->has_quota) {
		create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
		create.pasids = args->quota;
	}
	if (args->has_owner) {
		create.owner_case = PASID__V1__SET_CREATE__OWNER_UID;
		create.uid = args->owner_uid;
	}
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_SET_CREATE, &create.base, NULL, 0, target);
}

ASYNC_FUNCTION(set_create, const struct pasid_set_create_args *)

int pasid_set_create(struct pasid_client *client, const struct pasid_set_create_args *args,
	struct pasid_set_info *ret_info)
{
	SYNC(client);
	int r = sync_wait(&sync, start_set_create(client, args, target_sync(&sync)));
	return set_result(&sync, r, ret_info);
}

static int start_set_adjust(
	struct pasid_client *client, const struct pasid_set_adjust_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__SetAdjust adjust = PASID__V1__SET_ADJUST__INIT;
	adjust.set = set_key(&key, &args->set);
	adjust.pasids = args->quota;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_SET_ADJUST, &adjust.base, NULL, 0, target);
}

ASYNC_FUNCTION(set_adjust, const struct pasid_set_adjust_args *)

int pasid_set_adjust(struct pasid_client *client, const struct pasid_set_adjust_args *args,
	struct pasid_set_info *ret_info)
{
	SYNC(client);
	int r = sync_wait(&sync, start_set_adjust(client, args, target_sync(&sync)));
	return set_result(&sync, r, ret_info);
}

static int start_set_destroy(struct pasid_client *client, const struct pasid_set_destroy_args *args,
	struct target target)
{
	struct set_key key;
	Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
	destroy.set = set_key(&key, &args->set);
	destroy.force = args->force;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_SET_DESTROY, &destroy.base, NULL, 0, target);
}

ASYNC_FUNCTION(set_destroy, const struct pasid_set_destroy_args *)
SYNC_FUNCTION(set_destroy, const struct pasid_set_destroy_args *)

static int start_set_get(
	struct pasid_client *client, const struct pasid_set_ref *set, struct target target)
{
	struct set_key key;
	Pasid__V1__SetGet get = PASID__V1__SET_GET__INIT;
	if (set != NULL)
		get.set = set_key(&key, set);
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_SET_GET, &get.base, NULL, 0, target);
}

ASYNC_FUNCTION(set_get, const struct pasid_set_ref *)

int pasid_set_get(struct pasid_client *client, const struct pasid_set_ref *set,
	struct pasid_set_info *ret_info)
{
	SYNC(client);
	int r = sync_wait(&sync, start_set_get(client, set, target_sync(&sync)));
	return set_result(&sync, r, ret_info);
}

static int start_set_connect(
	struct pasid_client *client, const struct pasid_set_ref *set, struct target target)
{
	struct set_key key;
	Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;
	connect.set = set_key(&key, set);
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_SET_CONNECT, &connect.base, NULL, 0, target);
}

ASYNC_FUNCTION(set_connect, const struct pasid_set_ref *)

int pasid_set_connect(struct pasid_client *client, const struct pasid_set_ref *set,
	struct pasid_set_info *ret_info, int *ret_fd)
{
	SYNC(client);
	int r = sync_wait(&sync, start_set_connect(client, set, target_sync(&sync)));
	if (r == 0)
		*ret_fd = TAKE_FD(sync.call->result.fd);
	return set_result(&sync, r, ret_info);
}

/* ------------------------------------------------------------ lists */

static int start_set_list(
	struct pasid_client *client, const struct pasid_list_args *args, struct target target)
{
	Pasid__V1__SetList list = PASID__V1__SET_LIST__INIT;
	list.after = args->after;
	list.limit = args->limit;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_SET_LIST, &list.base, NULL, 0, target);
}

static int start_limit_list(
	struct pasid_client *client, const struct pasid_list_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__LimitList list = PASID__V1__LIMIT_LIST__INIT;
	list.set = set_key(&key, &args->set);
	list.after = args->after;
	list.limit = args->limit;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_LIMIT_LIST, &list.base, NULL, 0, target);
}

/* NULL: any device. */
static Pasid__V1__DeviceRef *device_ref(
	Pasid__V1__DeviceRef *ref, const struct pasid_list_args *args)
{
	pasid__v1__device_ref__init(ref);
	if (args->address != NULL) {
		ref->key_case = PASID__V1__DEVICE_REF__KEY_ADDRESS;
		ref->address = (char *)args->address;
	} else if (args->device != 0) {
		ref->key_case = PASID__V1__DEVICE_REF__KEY_ID;
		ref->id = args->device;
	} else {
		return NULL;
	}
	return ref;
}

static int start_grant_list(
	struct pasid_client *client, const struct pasid_list_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__DeviceRef device;
	Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;
	list.set = set_key(&key, &args->set);
	list.after = args->after;
	list.limit = args->limit;
	list.quarantined = args->quarantined;
	list.device = device_ref(&device, args);
	if (args->has_data) {
		list.key_case = PASID__V1__GRANT_LIST__KEY_DATA;
		list.data = args->data;
	}
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_GRANT_LIST, &list.base, NULL, 0, target);
}

static int start_device_list(
	struct pasid_client *client, const struct pasid_list_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__DeviceList list = PASID__V1__DEVICE_LIST__INIT;
	list.set = set_key(&key, &args->set);
	list.after = args->after;
	list.limit = args->limit;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_DEVICE_LIST, &list.base, NULL, 0, target);
}

static int start_binding_list(
	struct pasid_client *client, const struct pasid_list_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__DeviceRef device;
	Pasid__V1__BindingList list = PASID__V1__BINDING_LIST__INIT;
	list.set = set_key(&key, &args->set);
	list.after = args->after;
	list.limit = args->limit;
	list.device = device_ref(&device, args);
	if (args->has_host) {
		list.key_case = PASID__V1__BINDING_LIST__KEY_HOST_PASID;
		list.host_pasid = args->host_pasid;
	}
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_BINDING_LIST, &list.base, NULL, 0, target);
}

int list_walk(struct pasid_client *client, const struct pasid_list_args *args, list_start *start,
	list_each *each, void *context)
{
	struct pasid_list_args page = args != NULL ? *args : (struct pasid_list_args){0};
	for (;;) {
		SYNC(client);
		int r = sync_wait(&sync, start(client, &page, target_sync(&sync)));
		if (r != 0)
			return r;
		const struct pasid_result *result = &sync.call->result;
		for (size_t i = 0; i < result->page.count; i++) {
			r = each(result, i, context);
			if (r != 0)
				return r;
		}
		if (result->page.next == 0)
			return 0;
		page.after = result->page.next;
	}
}

LIST_FUNCTIONS(set_list, sets, pasid_set_info)
LIST_FUNCTIONS(limit_list, limits, pasid_limit_info)
LIST_FUNCTIONS(grant_list, grants, pasid_grant_info)
LIST_FUNCTIONS(device_list, devices, pasid_device_info)
LIST_FUNCTIONS(binding_list, bindings, pasid_binding_info)
