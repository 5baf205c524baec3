/* SPDX-License-Identifier: MIT */
/* Guests' own tables: the operations on RIDs, with a guest's stream table entry. */
#include "libpasid_internal.h"

#include <errno.h>

/* An entry as a message, with all that hangs on it. */
struct stream_message {
	Pasid__V1__BindPair pair;
	Pasid__V1__Table table;
	Pasid__V1__StreamTable stream;
};

/* -EINVAL for a parent that is none. */
static int stream_make(struct pasid_client *client, struct stream_message *to,
	const struct pasid_stream_args *from)
{
	pasid__v1__bind_pair__init(&to->pair);
	pasid__v1__table__init(&to->table);
	pasid__v1__stream_table__init(&to->stream);
	to->pair.device = from->device;
	to->pair.table = &to->table;
	to->table.source_case = PASID__V1__TABLE__SOURCE_STREAM;
	to->table.stream = &to->stream;
	to->stream.ste0 = from->ste[0];
	to->stream.ste1 = from->ste[1];
	to->stream.stream = from->stream;
	switch (from->parent_source) {
	case PASID_TABLE_HWPT:
		to->stream.parent_case = PASID__V1__STREAM_TABLE__PARENT_PARENT_HWPT;
		to->stream.parent_hwpt = from->parent;
		return 0;
	case PASID_TABLE_IOAS:
		to->stream.parent_case = PASID__V1__STREAM_TABLE__PARENT_PARENT_IOAS;
		to->stream.parent_ioas = from->parent;
		return 0;
	case PASID_TABLE_SPACE:
		to->stream.parent_case = PASID__V1__STREAM_TABLE__PARENT_PARENT_SPACE;
		to->stream.parent_space = from->parent;
		return 0;
	case PASID_TABLE_GUEST:
		break;
	}
	return client_fail(client, -EINVAL, "bad-argument",
		"the entry for device %llu has no parent (HWPT, IOAS or SPACE)",
		(unsigned long long)from->device);
}

static int stream_result(
	struct pasid_client *client, struct sync *sync, int r, struct pasid_stream_info *ret_info)
{
	if (r == 0 && sync->call->result.bound.count != 1)
		return client_fail(client, -EPROTO, "malformed",
			"the daemon tells %zu tables where one was installed",
			sync->call->result.bound.count);
	if (r == 0 && ret_info != NULL)
		*ret_info = sync->call->result.bound.stream;
	return r;
}

static int start_stream_install(
	struct pasid_client *client, const struct pasid_stream_args *args, struct target target)
{
	struct set_key key;
	struct stream_message entry;
	Pasid__V1__RidAttach attach = PASID__V1__RID_ATTACH__INIT;
	int r = stream_make(client, &entry, args);
	if (r != 0)
		return r;
	attach.set = set_key(&key, &args->set);
	attach.pair = &entry.pair;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_RID_ATTACH, &attach.base, NULL, 0, target);
}

ASYNC_FUNCTION(stream_install, const struct pasid_stream_args *)

int pasid_stream_install(struct pasid_client *client, const struct pasid_stream_args *args,
	struct pasid_stream_info *ret_info)
{
	SYNC(client);
	int r = sync_wait(&sync, start_stream_install(client, args, target_sync(&sync)));
	return stream_result(client, &sync, r, ret_info);
}

static int start_stream_replace(
	struct pasid_client *client, const struct pasid_stream_args *args, struct target target)
{
	struct set_key key;
	struct stream_message entry;
	Pasid__V1__Replace replace = PASID__V1__REPLACE__INIT;
	int r = stream_make(client, &entry, args);
	if (r != 0)
		return r;
	replace.set = set_key(&key, &args->set);
	replace.pair = &entry.pair;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_REPLACE, &replace.base, NULL, 0, target);
}

ASYNC_FUNCTION(stream_replace, const struct pasid_stream_args *)

int pasid_stream_replace(struct pasid_client *client, const struct pasid_stream_args *args,
	struct pasid_stream_info *ret_info)
{
	SYNC(client);
	int r = sync_wait(&sync, start_stream_replace(client, args, target_sync(&sync)));
	return stream_result(client, &sync, r, ret_info);
}

int pasid_stream_remove(struct pasid_client *client, const struct pasid_device_ref *device)
{
	return pasid_rid_detach(client, device);
}

int pasid_stream_remove_async(struct pasid_client *client, const struct pasid_device_ref *device,
	pasid_callback callback, void *userdata)
{
	return pasid_rid_detach_async(client, device, callback, userdata);
}
