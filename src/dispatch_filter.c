/* SPDX-License-Identifier: MIT */
/* What lists are narrowed to. */
#include "dispatch_private.h"

int filter_read(
	struct call *call, const Pasid__V1__DeviceRef *device, struct device_filter *ret_filter)
{
	*ret_filter = (struct device_filter){.given = device != NULL};
	if (!device)
		return 0;
	if (device->key_case == PASID__V1__DEVICE_REF__KEY_ID)
		return ref_device(call, device->id, &ret_filter->id);
	if (device->key_case == PASID__V1__DEVICE_REF__KEY_ADDRESS)
		return ref_address(call, device->address, &ret_filter->rid);
	return error_set(&call->error, REASON_BAD_ARGUMENT,
		"DeviceRef names no device; give its id or its address");
}
