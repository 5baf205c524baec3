/* SPDX-License-Identifier: MIT */
/* Operations on devices and on the memory behind slices. */
#include "dispatch_private.h"

/* ---------------------------------------------------------------- what a device is */

#define CAPABILITY_TEXTS 6u

struct device_message {
	Pasid__V1__DeviceInfo info;
	char address[WIRE_RID_LEN];
	char *capabilities[CAPABILITY_TEXTS];
};

static void device_fill_capabilities(struct device_message *message, uint32_t caps)
{
	static const struct {
		uint32_t bit;
		const char *text;
	} texts[] = {
		{HW_CAP_PASID, "pasid"},
		{HW_CAP_NESTED, "nested"},
		{HW_CAP_SRE, "sre"},
		{HW_CAP_EAFE, "eafe"},
		{HW_CAP_FL5, "fl5"},
		{HW_CAP_WPE, "wpe"},
	};
	_Static_assert(ARRAY_SIZE(texts) == CAPABILITY_TEXTS, "room for every capability");

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (caps & texts[i].bit)
			message->capabilities[message->info.n_capabilities++] =
				(char *)texts[i].text;
	}
	message->info.capabilities = message->capabilities;
}

static void device_fill_iommu(struct device_message *message, struct hw_info *hw)
{
	static const struct {
		const char *name;
		size_t registers; /* how many of hw_info.raw it has */
	} iommus[] = {
		[HW_IOMMU_NONE] = {"", 0},
		[HW_IOMMU_VTD] = {"vtd", 2},
		[HW_IOMMU_SMMUV3] = {"smmuv3", 6},
	};
	uint32_t kind = hw->iommu < ARRAY_SIZE(iommus) ? hw->iommu : HW_IOMMU_NONE;

	message->info.iommu = (char *)iommus[kind].name;
	message->info.n_registers = iommus[kind].registers;
	message->info.registers = hw->raw;
	message->info.pasid_width = hw->pasid_width;
	device_fill_capabilities(message, hw->caps);
}

static void device_fill(struct device_message *message, struct device_info *info)
{
	pasid__v1__device_info__init(&message->info);
	message->info.id = info->id.v;
	message->info.kind = (Pasid__V1__DeviceKind)info->kind;
	wire_rid_format(info->rid, message->address);
	message->info.address = message->address;
	message->info.set = info->set.v;
	message->info.group = info->group;
	message->info.dev_id = info->dev_id;
	message->info.shared = info->shared.v;
	message->info.tainted = info->state == DEVICE_TAINTED;
	message->info.bindings = info->bindings;
	device_fill_iommu(message, &info->hw);
}

static int device_write(struct call *call, struct device_id device)
{
	struct device_message message;
	struct device_info info;
	int r;

	r = broker_device_get(call->d->broker, &call->actor, device, &info, &call->error);
	if (r)
		return r;
	device_fill(&message, &info);
	call_write(call, &message.info.base);
	return 0;
}

int finish_device(struct call *call, const struct outcome *outcome)
{
	return device_write(call, outcome->device);
}

/* ---------------------------------------------------------------- registration */

int handle_device_add(struct call *call)
{
	const Pasid__V1__DeviceAdd *request = (const void *)call->message;
	bool open = request->open_case == PASID__V1__DEVICE_ADD__OPEN_ADDRESS;
	struct rid rid = {0};
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r && open)
		r = ref_address(call, request->address, &rid);
	if (!r && call->fd_count != (open ? 1 : 2))
		r = error_set_limit(&call->error, REASON_FD_COUNT, call->id, open ? 1 : 2,
			call->fd_count,
			open ? "a device that the daemon opens comes with one descriptor, the iommufd"
			     : "a device comes with two descriptors, the iommufd and the device");
	if (!r)
		r = broker_device_add(call->d->broker, &call->actor, set, call->fds,
			(uint32_t)call->fd_count, open ? &rid : NULL, call->cookie, &call->error);
	if (!r)
		call->fd_count = 0;
	return r;
}

int handle_device_share(struct call *call)
{
	const Pasid__V1__DeviceShare *request = (const void *)call->message;
	struct rid rid;
	int r = ref_address(call, request->address, &rid);

	if (r)
		return r;
	return broker_device_share(call->d->broker, &call->actor, rid, call->cookie, &call->error);
}

/* The shared device that is meant, by its id or its address. */
static int slice_read(struct call *call, const Pasid__V1__DeviceSlice *request,
	struct device_id *ret_shared, struct rid *ret_rid)
{
	if (request->key_case == PASID__V1__DEVICE_SLICE__KEY_DEVICE)
		return ref_device(call, request->device, ret_shared);
	if (request->key_case == PASID__V1__DEVICE_SLICE__KEY_ADDRESS)
		return ref_address(call, request->address, ret_rid);
	return error_set(&call->error, REASON_BAD_ARGUMENT,
		"DeviceSlice names no device; give the shared device's id or address");
}

int handle_device_slice(struct call *call)
{
	const Pasid__V1__DeviceSlice *request = (const void *)call->message;
	struct device_id shared = {0}, slice;
	struct rid rid = {0};
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = slice_read(call, request, &shared, &rid);
	if (!r)
		r = broker_device_slice(
			call->d->broker, &call->actor, set, shared, rid, &slice, &call->error);
	return r ? r : device_write(call, slice);
}

int handle_device_remove(struct call *call)
{
	const Pasid__V1__DeviceRemove *request = (const void *)call->message;
	struct device_id device;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = ref_device(call, request->device, &device);
	if (r)
		return r;
	return (request->going ? broker_device_going : broker_device_remove)(
		call->d->broker, &call->actor, set, device, call->cookie, &call->error);
}

int handle_device_list(struct call *call)
{
	const Pasid__V1__DeviceList *request = (const void *)call->message;
	struct page page = page_begin(call, request->after, request->limit);
	struct device_message message;
	struct device_info info;
	struct set_id set;
	int r = ref_list(call, request->set, &set);

	if (r)
		return r;
	while (broker_device_next(call->d->broker, &call->actor, set, &page.cursor, &info)) {
		device_fill(&message, &info);
		if (!page_add(&page, &message.info.base))
			break;
	}
	page_end(&page);
	return 0;
}

int handle_device_drained(struct call *call)
{
	const Pasid__V1__DeviceDrained *request = (const void *)call->message;
	struct device_id device;
	uint32_t released = 0;
	int r = ref_device(call, request->device, &device);

	if (!r)
		r = broker_device_drained(
			call->d->broker, &call->actor, device, &released, &call->error);
	if (r)
		return r;
	if (released)
		wire_out_uint(&call->out, 1, released);
	return 0;
}

/* ---------------------------------------------------------------- memory */

int handle_memory_map(struct call *call)
{
	const Pasid__V1__MemoryMap *request = (const void *)call->message;
	struct memory memory = {
		.space = request->space,
		.iova = request->iova,
		.length = request->length,
		.offset = request->offset,
		.writeable = request->writeable,
	};
	int r = ref_set(call, request->set, &memory.set);

	if (!r)
		r = ref_device(call, request->device, &memory.device);
	if (!r)
		r = broker_memory_map(call->d->broker, &call->actor, &memory, call->fds[0],
			call->cookie, &call->error);
	if (!r)
		call->fd_count = 0;
	return r;
}

int handle_memory_unmap(struct call *call)
{
	const Pasid__V1__MemoryUnmap *request = (const void *)call->message;
	struct memory memory = {
		.space = request->space,
		.iova = request->iova,
		.length = request->length,
	};
	int r = ref_set(call, request->set, &memory.set);

	if (!r)
		r = ref_device(call, request->device, &memory.device);
	if (r)
		return r;
	return broker_memory_unmap(
		call->d->broker, &call->actor, &memory, call->cookie, &call->error);
}
