/* SPDX-License-Identifier: MIT */
/* Operations on devices, memory and bindings: public functions, each with its message. */
#include "libpasid_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int device_result(struct sync *sync, int r, struct pasid_device_info *ret_info)
{
	if (r == 0 && ret_info != NULL)
		*ret_info = sync->call->result.device;
	return r;
}

static int start_device_add(
	struct pasid_client *client, const struct pasid_device_add_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
	const int fds[2] = {args->iommufd, args->device};
	add.set = set_key(&key, &args->set);
	if (args->address != NULL) {
		add.open_case = PASID__V1__DEVICE_ADD__OPEN_ADDRESS;
		add.address = (char *)args->address;
	}
	return call_start(client, PASID__V1__REQUEST__OPERATION_DEVICE_ADD, &add.base, fds,
		args->address != NULL ? 1 : 2, target);
}

ASYNC_FUNCTION(device_add, const struct pasid_device_add_args *)

int pasid_device_add(struct pasid_client *client, const struct pasid_device_add_args *args,
	struct pasid_device_info *ret_info, int *ret_fd)
{
	SYNC(client);
	int r = sync_wait(&sync, start_device_add(client, args, target_sync(&sync)));
	if (r == 0 && ret_fd != NULL)
		*ret_fd = TAKE_FD(sync.call->result.fd);
	return device_result(&sync, r, ret_info);
}

static int start_device_share(
	struct pasid_client *client, const char *address, struct target target)
{
	Pasid__V1__DeviceShare share = PASID__V1__DEVICE_SHARE__INIT;
	share.address = (char *)address;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_DEVICE_SHARE, &share.base, NULL, 0, target);
}

ASYNC_FUNCTION(device_share, const char *)

int pasid_device_share(
	struct pasid_client *client, const char *address, struct pasid_device_info *ret_info)
{
	SYNC(client);
	int r = sync_wait(&sync, start_device_share(client, address, target_sync(&sync)));
	return device_result(&sync, r, ret_info);
}

static int start_device_slice(struct pasid_client *client,
	const struct pasid_device_slice_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__DeviceSlice slice = PASID__V1__DEVICE_SLICE__INIT;
	slice.set = set_key(&key, &args->set);
	if (args->address != NULL) {
		slice.key_case = PASID__V1__DEVICE_SLICE__KEY_ADDRESS;
		slice.address = (char *)args->address;
	} else {
		slice.key_case = PASID__V1__DEVICE_SLICE__KEY_DEVICE;
		slice.device = args->device;
	}
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_DEVICE_SLICE, &slice.base, NULL, 0, target);
}

ASYNC_FUNCTION(device_slice, const struct pasid_device_slice_args *)

int pasid_device_slice(struct pasid_client *client, const struct pasid_device_slice_args *args,
	struct pasid_device_info *ret_info)
{
	SYNC(client);
	int r = sync_wait(&sync, start_device_slice(client, args, target_sync(&sync)));
	return device_result(&sync, r, ret_info);
}

static int device_take_back(struct pasid_client *client, const struct pasid_device_ref *device,
	bool going, struct target target)
{
	struct set_key key;
	Pasid__V1__DeviceRemove remove = PASID__V1__DEVICE_REMOVE__INIT;
	remove.set = set_key(&key, &device->set);
	remove.device = device->device;
	remove.going = going;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_DEVICE_REMOVE, &remove.base, NULL, 0, target);
}

static int start_device_remove(
	struct pasid_client *client, const struct pasid_device_ref *device, struct target target)
{
	return device_take_back(client, device, false, target);
}

ASYNC_FUNCTION(device_remove, const struct pasid_device_ref *)
SYNC_FUNCTION(device_remove, const struct pasid_device_ref *)

static int start_device_going(
	struct pasid_client *client, const struct pasid_device_ref *device, struct target target)
{
	return device_take_back(client, device, true, target);
}

ASYNC_FUNCTION(device_going, const struct pasid_device_ref *)
SYNC_FUNCTION(device_going, const struct pasid_device_ref *)

static int start_device_drained(struct pasid_client *client, uint64_t device, struct target target)
{
	Pasid__V1__DeviceDrained drained = PASID__V1__DEVICE_DRAINED__INIT;
	drained.device = device;
	return call_start(client, PASID__V1__REQUEST__OPERATION_DEVICE_DRAINED, &drained.base, NULL,
		0, target);
}

ASYNC_FUNCTION(device_drained, uint64_t)

int pasid_device_drained(struct pasid_client *client, uint64_t device, uint32_t *ret_released)
{
	SYNC(client);
	int r = sync_wait(&sync, start_device_drained(client, device, target_sync(&sync)));
	if (r == 0 && ret_released != NULL)
		*ret_released = sync.call->result.released;
	return r;
}

/* ------------------------------------------------------------ memory */

static int start_memory_map(
	struct pasid_client *client, const struct pasid_memory_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__MemoryMap map = PASID__V1__MEMORY_MAP__INIT;
	map.set = set_key(&key, &args->set);
	map.device = args->device;
	map.space = args->space;
	map.iova = args->iova;
	map.length = args->length;
	map.offset = args->offset;
	map.writeable = args->writeable;
	return call_start(client, PASID__V1__REQUEST__OPERATION_MEMORY_MAP, &map.base, &args->memfd,
		1, target);
}

ASYNC_FUNCTION(memory_map, const struct pasid_memory_args *)
SYNC_FUNCTION(memory_map, const struct pasid_memory_args *)

static int start_memory_unmap(
	struct pasid_client *client, const struct pasid_memory_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__MemoryUnmap unmap = PASID__V1__MEMORY_UNMAP__INIT;
	unmap.set = set_key(&key, &args->set);
	unmap.device = args->device;
	unmap.space = args->space;
	unmap.iova = args->iova;
	unmap.length = args->length;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_MEMORY_UNMAP, &unmap.base, NULL, 0, target);
}

ASYNC_FUNCTION(memory_unmap, const struct pasid_memory_args *)
SYNC_FUNCTION(memory_unmap, const struct pasid_memory_args *)

/* ------------------------------------------------------------ bindings */

/* A pair as a message, with all that hangs on it. */
struct pair_message {
	Pasid__V1__BindPair pair;
	Pasid__V1__Table table;
	Pasid__V1__GuestTable guest;
};

static void pair_guest(Pasid__V1__GuestTable *guest, const struct pasid_table *from)
{
	pasid__v1__guest_table__init(guest);
	guest->address = from->address;
	guest->width = from->width;
	guest->flags = from->flags;
	if (from->parent_is_space) {
		guest->parent_case = PASID__V1__GUEST_TABLE__PARENT_PARENT_SPACE;
		guest->parent_space = from->parent;
	} else {
		guest->parent_case = PASID__V1__GUEST_TABLE__PARENT_PARENT_HWPT;
		guest->parent_hwpt = from->parent;
	}
}

/* -EINVAL for a source that is none. */
static int pair_make(struct pair_message *to, const struct pasid_pair *from)
{
	pasid__v1__bind_pair__init(&to->pair);
	pasid__v1__table__init(&to->table);
	to->pair.device = from->device;
	to->pair.table = &to->table;
	switch (from->table.source) {
	case PASID_TABLE_HWPT:
		to->table.source_case = PASID__V1__TABLE__SOURCE_HWPT;
		to->table.hwpt = from->table.id;
		return 0;
	case PASID_TABLE_IOAS:
		to->table.source_case = PASID__V1__TABLE__SOURCE_IOAS;
		to->table.ioas = from->table.id;
		return 0;
	case PASID_TABLE_SPACE:
		to->table.source_case = PASID__V1__TABLE__SOURCE_SPACE;
		to->table.space = from->table.id;
		return 0;
	case PASID_TABLE_GUEST:
		to->table.source_case = PASID__V1__TABLE__SOURCE_GUEST;
		to->table.guest = &to->guest;
		pair_guest(&to->guest, &from->table);
		return 0;
	}
	return -EINVAL;
}

static int pair_refused(struct pasid_client *client, const struct pasid_pair *pair)
{
	return client_fail(client, -EINVAL, "bad-argument",
		"the page table for device %llu has no source (HWPT, IOAS, SPACE or GUEST)",
		(unsigned long long)pair->device);
}

static int start_bind(
	struct pasid_client *client, const struct pasid_bind_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__PasidRef number;
	Pasid__V1__Bind bind = PASID__V1__BIND__INIT;
	struct pair_message pairs[PASID_PAIRS_MAX];
	Pasid__V1__BindPair *pointers[PASID_PAIRS_MAX];
	if (args->count == 0 || args->count > PASID_PAIRS_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"a bind takes 1 to %u devices, not %zu", PASID_PAIRS_MAX, args->count);
	for (size_t i = 0; i < args->count; i++) {
		if (pair_make(&pairs[i], &args->pairs[i]) < 0)
			return pair_refused(client, &args->pairs[i]);
		pointers[i] = &pairs[i].pair;
	}
	number_key(&number, args->pasid);
	bind.set = set_key(&key, &args->set);
	bind.pasid = &number;
	bind.n_pairs = args->count;
	bind.pairs = pointers;
	return call_start(client, PASID__V1__REQUEST__OPERATION_BIND, &bind.base, NULL, 0, target);
}

ASYNC_FUNCTION(bind, const struct pasid_bind_args *)

int pasid_bind(struct pasid_client *client, const struct pasid_bind_args *args,
	uint32_t *ret_host_pasid, struct pasid_attached *ret_tables)
{
	SYNC(client);
	int r = sync_wait(&sync, start_bind(client, args, target_sync(&sync)));
	if (r != 0)
		return r;
	const struct pasid_result *result = &sync.call->result;
	if (result->bound.count != args->count)
		return client_fail(client, -EPROTO, "malformed",
			"the daemon tells %zu page tables where %zu were bound",
			result->bound.count, args->count);
	if (ret_host_pasid != NULL)
		*ret_host_pasid = result->bound.host_pasid;
	if (ret_tables != NULL)
		memcpy(ret_tables, result->bound.tables, args->count * sizeof(*ret_tables));
	return 0;
}

static int start_unbind(
	struct pasid_client *client, const struct pasid_unbind_args *args, struct target target)
{
	struct set_key key;
	Pasid__V1__PasidRef number;
	Pasid__V1__Unbind unbind = PASID__V1__UNBIND__INIT;
	if (args->count > PASID_PAIRS_MAX)
		return client_fail(client, -EINVAL, "bad-argument",
			"an unbind takes up to %u devices, not %zu", PASID_PAIRS_MAX, args->count);
	number_key(&number, args->pasid);
	unbind.set = set_key(&key, &args->set);
	unbind.pasid = &number;
	unbind.n_devices = args->count;
	unbind.devices = (uint64_t *)args->devices;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_UNBIND, &unbind.base, NULL, 0, target);
}

ASYNC_FUNCTION(unbind, const struct pasid_unbind_args *)
SYNC_FUNCTION(unbind, const struct pasid_unbind_args *)

static int start_rid_attach(
	struct pasid_client *client, const struct pasid_rid_args *args, struct target target)
{
	struct set_key key;
	struct pair_message pair;
	Pasid__V1__RidAttach attach = PASID__V1__RID_ATTACH__INIT;
	if (pair_make(&pair, &args->pair) < 0)
		return pair_refused(client, &args->pair);
	attach.set = set_key(&key, &args->set);
	attach.pair = &pair.pair;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_RID_ATTACH, &attach.base, NULL, 0, target);
}

ASYNC_FUNCTION(rid_attach, const struct pasid_rid_args *)

int pasid_rid_attach(struct pasid_client *client, const struct pasid_rid_args *args,
	struct pasid_attached *ret_table)
{
	SYNC(client);
	int r = sync_wait(&sync, start_rid_attach(client, args, target_sync(&sync)));
	if (r == 0 && ret_table != NULL)
		*ret_table = sync.call->result.bound.tables[0];
	return r;
}

static int start_rid_detach(
	struct pasid_client *client, const struct pasid_device_ref *device, struct target target)
{
	struct set_key key;
	Pasid__V1__RidDetach detach = PASID__V1__RID_DETACH__INIT;
	detach.set = set_key(&key, &device->set);
	detach.device = device->device;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_RID_DETACH, &detach.base, NULL, 0, target);
}

ASYNC_FUNCTION(rid_detach, const struct pasid_device_ref *)
SYNC_FUNCTION(rid_detach, const struct pasid_device_ref *)

static int start_replace(
	struct pasid_client *client, const struct pasid_replace_args *args, struct target target)
{
	struct set_key key;
	struct pair_message pair;
	Pasid__V1__PasidRef number;
	Pasid__V1__Replace replace = PASID__V1__REPLACE__INIT;
	if (pair_make(&pair, &args->pair) < 0)
		return pair_refused(client, &args->pair);
	number_key(&number, args->pasid);
	replace.set = set_key(&key, &args->set);
	replace.pasid = args->rid ? NULL : &number;
	replace.pair = &pair.pair;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_REPLACE, &replace.base, NULL, 0, target);
}

ASYNC_FUNCTION(replace, const struct pasid_replace_args *)

int pasid_replace(struct pasid_client *client, const struct pasid_replace_args *args,
	struct pasid_attached *ret_table)
{
	SYNC(client);
	int r = sync_wait(&sync, start_replace(client, args, target_sync(&sync)));
	if (r == 0 && sync.call->result.bound.count != 1)
		return client_fail(client, -EPROTO, "malformed",
			"the daemon tells %zu page tables where one was replaced",
			sync.call->result.bound.count);
	if (r == 0 && ret_table != NULL)
		*ret_table = sync.call->result.bound.tables[0];
	return r;
}
