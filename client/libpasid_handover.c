/* SPDX-License-Identifier: MIT */
/* The session goes to another process. The one that takes it opens its client with the secret. */
#include "libpasid_internal.h"

#include <errno.h>
#include <sys/ioctl.h>

/* Linux 6.14, include/uapi/linux/iommufd.h: struct iommu_ioas_change_process */
#define IOAS_CHANGE_PROCESS _IO(';', 0x92)
struct ioas_change_process {
	uint32_t size;
	uint32_t reserved;
};
_Static_assert(sizeof(struct ioas_change_process) == 8, "as the kernel has it");

static int start_hand_over(struct pasid_client *client, bool cancel, struct target target)
{
	Pasid__V1__HandOver message = PASID__V1__HAND_OVER__INIT;
	message.cancel = cancel;
	return call_start(
		client, PASID__V1__REQUEST__OPERATION_HAND_OVER, &message.base, NULL, 0, target);
}

int pasid_hand_over_async(struct pasid_client *client, pasid_callback callback, void *userdata)
{
	return start_hand_over(client, false, target_async(callback, userdata));
}

int pasid_hand_over(struct pasid_client *client, struct pasid_hand_over *ret_hand_over, int *ret_fd)
{
	SYNC(client);
	int r = sync_wait(&sync, start_hand_over(client, false, target_sync(&sync)));
	if (r != 0)
		return r;
	*ret_hand_over = sync.call->result.hand_over;
	*ret_fd = TAKE_FD(sync.call->result.fd);
	return 0;
}

int pasid_hand_over_cancel(struct pasid_client *client)
{
	SYNC(client);
	return sync_wait(&sync, start_hand_over(client, true, target_sync(&sync)));
}

int pasid_change_process(int iommufd)
{
	struct ioas_change_process change = {.size = sizeof(change)};
	if (ioctl(iommufd, IOAS_CHANGE_PROCESS, &change) == 0)
		return 0;
	/* What a kernel says of a call that it does not have, and a file that is no iommufd. */
	return errno == ENOTTY ? -EOPNOTSUPP : -errno;
}
