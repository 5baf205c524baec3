/* SPDX-License-Identifier: MIT */
/* The part of the work that is the VMM's own: address spaces, memory and page tables on its
 * iommufd. */
#include "vmm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm_kernel.h"
#include "vmm_lend.h"

/* ------------------------------------------------------------ commands: the VMM's own part */

/* The device of ours that is named, with an iommufd of its own. NULL after saying why. */
static struct vmm_device *vmm_own_device(struct vmm *vmm, const char *name)
{
	struct vmm_device *device = vmm_find_device(vmm, name);
	if (device != NULL && device->iommufd >= 0)
		return device;
	vmm_failed(vmm, -ENODEV, "usage", "%s is no exclusive device of this VMM", name);
	return NULL;
}

/* ioas DEV SIZE [IOVA]: an address space on the device's iommufd, with memory in it. */
void vmm_make_ioas(struct vmm *vmm, char **words, size_t count)
{
	struct vmm_device *device = vmm_own_device(vmm, words[0]);
	uint64_t size, iova = 0;
	uint32_t ioas = 0;
	if (device == NULL || !vmm_number(vmm, words[1], &size) ||
		(count > 2 && !vmm_number(vmm, words[2], &iova)))
		return;
	int r = vmm_ioas(device->iommufd, &ioas);
	if (r == 0)
		r = vmm_map(device->iommufd, ioas, iova, size);
	if (r < 0) {
		vmm_failed(vmm, r, "kernel", "no address space: %s", strerror(-r));
		return;
	}
	device->table = (struct pasid_table){.source = PASID_TABLE_IOAS, .id = ioas};
	vmm_done(vmm, ", \"ioas\": %u", ioas);
}

/* hwpt DEV IOAS: a page table that may be bound to PASIDs; binds of the device take it from here
 * on. */
void vmm_make_hwpt(struct vmm *vmm, char **words, size_t count)
{
	struct vmm_device *device = vmm_own_device(vmm, words[0]);
	uint64_t ioas;
	uint32_t hwpt = 0;
	(void)count;
	if (device == NULL || !vmm_number(vmm, words[1], &ioas))
		return;
	int r = vmm_hwpt(device->iommufd, device->info.dev_id, (uint32_t)ioas, &hwpt);
	if (r < 0) {
		vmm_failed(vmm, r, "kernel", "no page table: %s", strerror(-r));
		return;
	}
	device->table = (struct pasid_table){.source = PASID_TABLE_HWPT, .id = hwpt};
	vmm_done(vmm, ", \"hwpt\": %u", hwpt);
}

/* destroy DEV ID: an object on the device's iommufd. */
void vmm_destroy_object(struct vmm *vmm, char **words, size_t count)
{
	const struct vmm_device *device = vmm_own_device(vmm, words[0]);
	uint64_t id;
	(void)count;
	if (device == NULL || !vmm_number(vmm, words[1], &id))
		return;
	int r = vmm_destroy(device->iommufd, (uint32_t)id);
	if (r < 0)
		vmm_failed(vmm, r, "kernel", "not destroyed: %s", strerror(-r));
	else
		vmm_done(vmm, "%s", "");
}

static void vmm_on_borrower(evutil_socket_t listener, short what, void *userdata)
{
	struct vmm *vmm = userdata;
	(void)what;
	vmm_lend_give((int)listener, vmm->lent);
	event_free(vmm->lend_event);
	vmm->lend_event = NULL;
}

/* lend IOMMUFD SOCKET: the next one who connects there gets a copy of our iommufd. */
void vmm_lend(struct vmm *vmm, char **words, size_t count)
{
	(void)count;
	vmm->lent = vmm_open_iommufd(vmm, words[0]);
	int listener = vmm->lent < 0 ? vmm->lent : vmm_lend_listen(words[1]);
	if (listener < 0 || vmm->lend_event != NULL) {
		vmm_failed(vmm, listener, "lend", "cannot lend at %s", words[1]);
		return;
	}
	vmm->lend_event = event_new(vmm->base, listener, EV_READ, vmm_on_borrower, vmm);
	event_add(vmm->lend_event, NULL);
	vmm_done(vmm, "%s", "");
}

/* borrow SOCKET NAME: what is lent there, as an iommufd that `add NAME ...` knows. */
void vmm_borrow_iommufd(struct vmm *vmm, char **words, size_t count)
{
	(void)count;
	int fd = vmm->iommufd_count < VMM_IOMMUFDS_MAX ? vmm_borrow(words[0]) : -EMFILE;
	if (fd < 0) {
		vmm_failed(vmm, fd, "borrow", "%s: %s", words[0], strerror(-fd));
		return;
	}
	struct vmm_iommufd *slot = &vmm->iommufds[vmm->iommufd_count++];
	snprintf(slot->path, sizeof(slot->path), "%s", words[1]);
	slot->fd = fd;
	vmm_done(vmm, "%s", "");
}
