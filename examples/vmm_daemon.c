/* SPDX-License-Identifier: MIT */
/* Commands that ask the daemon, and the words in them. */
#include "vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------ words */

bool vmm_number(struct vmm *vmm, const char *text, uint64_t *ret_number)
{
	char *end;
	uint64_t number = strtoull(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
	if (*text < '0' || *text > '9' || *end != '\0') {
		vmm_failed(vmm, -EINVAL, "usage", "\"%s\" is no number", text);
		return false;
	}
	*ret_number = number;
	return true;
}

/* `guest N` or `host N`. */
static bool vmm_pasid(struct vmm *vmm, char **words, struct pasid_number *ret_pasid)
{
	uint64_t value;
	bool guest = strcmp(words[0], "guest") == 0;
	if (!guest && strcmp(words[0], "host") != 0) {
		vmm_failed(vmm, -EINVAL, "usage", "\"%s\" is neither guest nor host", words[0]);
		return false;
	}
	if (!vmm_number(vmm, words[1], &value))
		return false;
	*ret_pasid = (struct pasid_number){.guest = guest, .value = (uint32_t)value};
	return true;
}

/* By our name for it, or its address. NULL: none. */
struct vmm_device *vmm_find_device(struct vmm *vmm, const char *name)
{
	for (size_t i = 0; i < vmm->device_count; i++)
		if (strcmp(vmm->devices[i].name, name) == 0 ||
			strcmp(vmm->devices[i].info.address, name) == 0)
			return &vmm->devices[i];
	return NULL;
}

/* A device of ours, or any number: the daemon is there to say whose it is. */
static bool vmm_device_id(struct vmm *vmm, const char *word, uint64_t *ret_id)
{
	const struct vmm_device *device = vmm_find_device(vmm, word);
	if (device == NULL)
		return vmm_number(vmm, word, ret_id);
	*ret_id = device->info.id;
	return true;
}

/* DEV[=hwpt:N|ioas:N|space:N] */
static bool vmm_pair(struct vmm *vmm, char *word, struct pasid_pair *ret_pair)
{
	uint64_t id;
	char *equals = strchr(word, '=');
	if (equals != NULL)
		*equals = '\0';
	const struct vmm_device *device = vmm_find_device(vmm, word);
	*ret_pair = (struct pasid_pair){.table.source = PASID_TABLE_SPACE};
	if (device != NULL)
		ret_pair->table = device->table;
	if (!vmm_device_id(vmm, word, &ret_pair->device))
		return false;
	if (equals == NULL)
		return true;
	char *table = equals + 1, *colon = strchr(table, ':');
	if (colon == NULL || !vmm_number(vmm, colon + 1, &id))
		return colon != NULL
			       ? false
			       : (vmm_failed(vmm, -EINVAL, "usage", "no table in \"%s\"", table),
					 false);
	ret_pair->table = (struct pasid_table){.source = table[0] == 'h'   ? PASID_TABLE_HWPT
							 : table[0] == 'i' ? PASID_TABLE_IOAS
									   : PASID_TABLE_SPACE,
		.id = (uint32_t)id};
	return true;
}

/* A call was started, or refused at once. */
static void vmm_started(struct vmm *vmm, int r)
{
	if (r != 0)
		vmm_refused(vmm, pasid_last_error(vmm->client));
}

/* ------------------------------------------------------------ commands: the daemon's part */

void vmm_set(struct vmm *vmm, char **words, size_t count)
{
	uint64_t quota = 0;
	if (count > 2 && !vmm_number(vmm, words[2], &quota))
		return;
	struct pasid_set_create_args args = {
		.name = words[0],
		.mode = count > 1 && strcmp(words[1], "identity") == 0 ? PASID_SET_IDENTITY
								       : PASID_SET_TRANSLATED,
		.has_quota = count > 2,
		.quota = (uint32_t)quota,
	};
	vmm_started(vmm, pasid_set_create_async(vmm->client, &args, vmm_on_set, vmm));
}

void vmm_info(struct vmm *vmm, char **words, size_t count)
{
	(void)words;
	(void)count;
	vmm_started(vmm, pasid_set_get_async(vmm->client, NULL, vmm_on_set, vmm));
}

/* One open file for each path, as a VMM has one iommufd. -errno. */
int vmm_open_iommufd(struct vmm *vmm, const char *path)
{
	for (size_t i = 0; i < vmm->iommufd_count; i++)
		if (strcmp(vmm->iommufds[i].path, path) == 0)
			return vmm->iommufds[i].fd;
	if (vmm->iommufd_count == VMM_IOMMUFDS_MAX)
		return -EMFILE;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct vmm_iommufd *slot = &vmm->iommufds[vmm->iommufd_count++];
	snprintf(slot->path, sizeof(slot->path), "%s", path);
	slot->fd = fd;
	return fd;
}

/* Prepares vmm->pending; false after saying why not. */
static bool vmm_new_device(struct vmm *vmm, const char *iommufd_path)
{
	vmm->pending = (struct vmm_device){.fd = -1, .iommufd = -1};
	if (vmm->device_count == VMM_DEVICES_MAX) {
		vmm_failed(vmm, -ENOSPC, "usage", "more than %d devices", VMM_DEVICES_MAX);
		return false;
	}
	if (iommufd_path == NULL)
		return true;
	vmm->pending.iommufd = vmm_open_iommufd(vmm, iommufd_path);
	if (vmm->pending.iommufd >= 0)
		return true;
	vmm_failed(vmm, vmm->pending.iommufd, "open", "%s: %s", iommufd_path,
		strerror(-vmm->pending.iommufd));
	return false;
}

void vmm_add(struct vmm *vmm, char **words, size_t count)
{
	(void)count;
	if (!vmm_new_device(vmm, words[0]))
		return;
	int fd = open(words[1], O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		vmm_failed(vmm, -errno, "open", "%s: %s", words[1], strerror(errno));
		return;
	}
	vmm->pending.fd = fd;
	struct pasid_device_add_args args = {.iommufd = vmm->pending.iommufd, .device = fd};
	vmm_started(vmm, pasid_device_add_async(vmm->client, &args, vmm_on_device, vmm));
}

void vmm_open(struct vmm *vmm, char **words, size_t count)
{
	if (!vmm_new_device(vmm, count > 1 ? words[1] : "/dev/iommu"))
		return;
	struct pasid_device_add_args args = {
		.iommufd = vmm->pending.iommufd, .device = -1, .address = words[0]};
	vmm_started(vmm, pasid_device_add_async(vmm->client, &args, vmm_on_device, vmm));
}

void vmm_slice(struct vmm *vmm, char **words, size_t count)
{
	(void)count;
	if (!vmm_new_device(vmm, NULL))
		return;
	struct pasid_device_slice_args args = {.address = words[0]};
	vmm_started(vmm, pasid_device_slice_async(vmm->client, &args, vmm_on_device, vmm));
}

void vmm_remove(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_device_ref ref = {0};
	(void)count;
	if (vmm_device_id(vmm, words[0], &ref.device))
		vmm_started(vmm, pasid_device_remove_async(vmm->client, &ref, vmm_on_done, vmm));
}

static void vmm_on_mapped(
	struct pasid_client *client, const struct pasid_result *result, void *userdata)
{
	struct vmm *vmm = userdata;
	if (result->code != 0)
		vmm_on_done(client, result, userdata);
	else
		vmm_done(vmm, ", \"inode\": %" PRIu64, vmm->pending_inode);
}

/* map DEV SPACE SIZE [IOVA]: guest memory from a memfd, which its inode number tells from others.
 */
void vmm_map_memory(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_memory_args args = {.writeable = true};
	struct stat stat = {0};
	uint64_t space;
	if (!vmm_device_id(vmm, words[0], &args.device) || !vmm_number(vmm, words[1], &space) ||
		!vmm_number(vmm, words[2], &args.length) ||
		(count > 3 && !vmm_number(vmm, words[3], &args.iova)))
		return;
	args.space = (uint32_t)space;
	args.memfd = memfd_create("vmm-memory", MFD_CLOEXEC);
	if (args.memfd < 0 || ftruncate(args.memfd, (off_t)args.length) < 0 ||
		fstat(args.memfd, &stat) < 0) {
		vmm_failed(vmm, -errno, "memory", "no memfd of that size: %s", strerror(errno));
	} else {
		vmm->pending_inode = stat.st_ino;
		vmm_started(vmm, pasid_memory_map_async(vmm->client, &args, vmm_on_mapped, vmm));
	}
	if (args.memfd >= 0)
		close(args.memfd); /* the library has a copy, and then the daemon */
}

void vmm_unmap(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_memory_args args = {0};
	uint64_t space;
	(void)count;
	if (!vmm_device_id(vmm, words[0], &args.device) || !vmm_number(vmm, words[1], &space) ||
		!vmm_number(vmm, words[2], &args.iova) || !vmm_number(vmm, words[3], &args.length))
		return;
	args.space = (uint32_t)space;
	vmm_started(vmm, pasid_memory_unmap_async(vmm->client, &args, vmm_on_done, vmm));
}

/* alloc host [COUNT] | alloc guest N | alloc range MIN MAX */
void vmm_alloc(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_allocate_args args = {.count = 1};
	uint64_t first = 1, last = 0;
	if ((count > 1 && !vmm_number(vmm, words[1], &first)) ||
		(count > 2 && !vmm_number(vmm, words[2], &last)))
		return;
	if (strcmp(words[0], "guest") == 0 && count > 1) {
		args.has_guest = true;
		args.guest_pasid = (uint32_t)first;
	} else if (strcmp(words[0], "range") == 0 && count > 2) {
		args.min = (uint32_t)first;
		args.max = (uint32_t)last;
	} else {
		args.count = (uint32_t)first;
	}
	vmm_started(vmm, pasid_allocate_async(vmm->client, &args, vmm_on_allocated, vmm));
}

void vmm_free(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_number number;
	struct pasid_free_args args = {.pasids = &number, .count = 1};
	if (count == 1) /* free all */
		args = (struct pasid_free_args){.all = true};
	else if (!vmm_pasid(vmm, words, &number))
		return;
	vmm_started(vmm, pasid_free_async(vmm->client, &args, vmm_on_freed, vmm));
}

/* attach HOST GUEST; detach GUEST; find guest N; find host N */
void vmm_attach(struct vmm *vmm, char **words, size_t count)
{
	uint64_t host, guest;
	(void)count;
	if (!vmm_number(vmm, words[0], &host) || !vmm_number(vmm, words[1], &guest))
		return;
	struct pasid_guest_args args = {
		.host_pasid = (uint32_t)host, .guest_pasid = (uint32_t)guest};
	vmm_started(vmm, pasid_guest_attach_async(vmm->client, &args, vmm_on_done, vmm));
}

void vmm_detach(struct vmm *vmm, char **words, size_t count)
{
	uint64_t guest;
	(void)count;
	if (!vmm_number(vmm, words[0], &guest))
		return;
	struct pasid_guest_args args = {.guest_pasid = (uint32_t)guest};
	vmm_started(vmm, pasid_guest_detach_async(vmm->client, &args, vmm_on_done, vmm));
}

void vmm_find(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_number number;
	(void)count;
	if (!vmm_pasid(vmm, words, &number))
		return;
	struct pasid_guest_args args = {.guest_pasid = number.value};
	vmm_started(vmm, number.guest
				 ? pasid_guest_find_async(vmm->client, &args, vmm_on_found, vmm)
				 : pasid_host_find_async(vmm->client,
					   &(struct pasid_host_args){.host_pasid = number.value},
					   vmm_on_grant, vmm));
}

/* bind guest|host N DEV[=TABLE]... */
void vmm_bind(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_pair pairs[VMM_DEVICES_MAX];
	struct pasid_bind_args args = {.pairs = pairs, .count = count - 2};
	if (!vmm_pasid(vmm, words, &args.pasid))
		return;
	for (size_t i = 0; i < args.count && i < VMM_DEVICES_MAX; i++)
		if (!vmm_pair(vmm, words[i + 2], &pairs[i]))
			return;
	vmm_started(vmm, pasid_bind_async(vmm->client, &args, vmm_on_bound, vmm));
}

void vmm_unbind(struct vmm *vmm, char **words, size_t count)
{
	uint64_t devices[VMM_DEVICES_MAX];
	struct pasid_unbind_args args = {.devices = devices, .count = count - 2};
	if (!vmm_pasid(vmm, words, &args.pasid))
		return;
	for (size_t i = 0; i < args.count && i < VMM_DEVICES_MAX; i++)
		if (!vmm_device_id(vmm, words[i + 2], &devices[i]))
			return;
	vmm_started(vmm, pasid_unbind_async(vmm->client, &args, vmm_on_done, vmm));
}

void vmm_rid(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_rid_args args = {0};
	(void)count;
	if (vmm_pair(vmm, words[0], &args.pair))
		vmm_started(vmm, pasid_rid_attach_async(vmm->client, &args, vmm_on_bound, vmm));
}

void vmm_unrid(struct vmm *vmm, char **words, size_t count)
{
	struct pasid_device_ref ref = {0};
	(void)count;
	if (vmm_device_id(vmm, words[0], &ref.device))
		vmm_started(vmm, pasid_rid_detach_async(vmm->client, &ref, vmm_on_done, vmm));
}

void vmm_watch(struct vmm *vmm, char **words, size_t count)
{
	(void)words;
	(void)count;
	if (pasid_watch(vmm->client, vmm_on_event, vmm) != 0)
		vmm_refused(vmm, pasid_last_error(vmm->client));
	else
		vmm_done(vmm, "%s", "");
}
