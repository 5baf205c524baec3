/* SPDX-License-Identifier: MIT */
/* Operations on bindings. */
#include <assert.h>

#include "dispatch_private.h"

/* ---------------------------------------------------------------- page tables in requests */

static int table_read_guest(
	struct call *call, const Pasid__V1__GuestTable *guest, struct hw_table *table)
{
	table->kind = HW_TABLE_VTD_S1;
	table->addr_width = guest->width;
	table->flags = guest->flags;
	table->pgtbl_addr = guest->address;
	if (guest->parent_case == PASID__V1__GUEST_TABLE__PARENT_PARENT_HWPT) {
		table->parent_kind = HW_TABLE_HWPT;
		table->id = guest->parent_hwpt;
		return 0;
	}
	if (guest->parent_case == PASID__V1__GUEST_TABLE__PARENT_PARENT_SPACE) {
		table->parent_kind = HW_TABLE_SPACE;
		table->id = guest->parent_space;
		return 0;
	}
	return error_set(&call->error, REASON_BAD_ARGUMENT,
		"GuestTable names no parent; a guest's table is nested on a second stage");
}

static int table_read_stream(
	struct call *call, const Pasid__V1__StreamTable *stream, struct hw_table *table)
{
	table->kind = HW_TABLE_SMMUV3;
	table->ste[0] = stream->ste0;
	table->ste[1] = stream->ste1;
	table->stream = stream->stream;
	if (stream->parent_case == PASID__V1__STREAM_TABLE__PARENT_PARENT_HWPT) {
		table->parent_kind = HW_TABLE_HWPT;
		table->id = stream->parent_hwpt;
		return 0;
	}
	if (stream->parent_case == PASID__V1__STREAM_TABLE__PARENT_PARENT_SPACE) {
		table->parent_kind = HW_TABLE_SPACE;
		table->id = stream->parent_space;
		return 0;
	}
	if (stream->parent_case == PASID__V1__STREAM_TABLE__PARENT_PARENT_IOAS) {
		table->parent_kind = HW_TABLE_IOAS;
		table->id = stream->parent_ioas;
		return 0;
	}
	return error_set(&call->error, REASON_BAD_ARGUMENT,
		"StreamTable names no parent; a guest's entry is nested on a second stage");
}

static int table_read(struct call *call, const Pasid__V1__Table *table, struct hw_table *ret_table)
{
	*ret_table = (struct hw_table){0};
	switch (table ? table->source_case : PASID__V1__TABLE__SOURCE__NOT_SET) {
	case PASID__V1__TABLE__SOURCE_HWPT:
		ret_table->kind = HW_TABLE_HWPT;
		ret_table->id = table->hwpt;
		return 0;
	case PASID__V1__TABLE__SOURCE_IOAS:
		ret_table->kind = HW_TABLE_IOAS;
		ret_table->id = table->ioas;
		return 0;
	case PASID__V1__TABLE__SOURCE_SPACE:
		ret_table->kind = HW_TABLE_SPACE;
		ret_table->id = table->space;
		return 0;
	case PASID__V1__TABLE__SOURCE_GUEST:
		return table_read_guest(call, table->guest, ret_table);
	case PASID__V1__TABLE__SOURCE_STREAM:
		return table_read_stream(call, table->stream, ret_table);
	case PASID__V1__TABLE__SOURCE__NOT_SET:
	case _PASID__V1__TABLE__SOURCE__CASE_IS_INT_SIZE:
	default:
		return error_set(&call->error, REASON_BAD_ARGUMENT,
			"the pair names no page table; give hwpt, ioas, space, guest or "
			"stream");
	}
}

static int pair_read(struct call *call, const Pasid__V1__BindPair *pair, struct bind_pair *ret_pair)
{
	int r;

	if (!pair)
		return error_set(
			&call->error, REASON_BAD_ARGUMENT, "no device and page table are named");
	r = ref_device(call, pair->device, &ret_pair->device);
	return r ? r : table_read(call, pair->table, &ret_pair->table);
}

/* ---------------------------------------------------------------- bind, unbind */

int handle_bind(struct call *call)
{
	const Pasid__V1__Bind *request = (const void *)call->message;
	struct dispatch *d = call->d;
	struct pasid_ref ref;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = ref_pasid(call, request->pasid, &ref);
	if (!r && !request->n_pairs)
		r = error_set(&call->error, REASON_BAD_ARGUMENT,
			"Bind needs at least one device and page table");
	for (size_t i = 0; i < request->n_pairs && !r; i++)
		r = pair_read(call, request->pairs[i], &d->pairs[i]);
	if (r)
		return r;
	return broker_bind(d->broker, &call->actor, set, ref, d->pairs, request->n_pairs,
		call->cookie, &call->error);
}

static Pasid__V1__AttachedTable attached_table(const struct attached_table *table)
{
	Pasid__V1__AttachedTable message = PASID__V1__ATTACHED_TABLE__INIT;

	message.device = table->device.v;
	message.hwpt = table->pt_id;
	message.made = table->made;
	message.viommu = table->viommu;
	message.vdevice = table->vdevice;
	message.stream = table->stream;
	return message;
}

int finish_bind(struct call *call, const struct outcome *outcome)
{
	wire_out_uint(&call->out, 1, outcome->host.v);
	for (uint32_t i = 0; i < outcome->table_count; i++) {
		Pasid__V1__AttachedTable table = attached_table(&outcome->tables[i]);

		wire_out_message(&call->out, 2, &table.base);
	}
	return 0;
}

int handle_unbind(struct call *call)
{
	const Pasid__V1__Unbind *request = (const void *)call->message;
	struct dispatch *d = call->d;
	struct pasid_ref ref;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = ref_pasid(call, request->pasid, &ref);
	if (!r)
		r = ref_devices(call, request->devices, request->n_devices);
	if (r)
		return r;
	return broker_unbind(d->broker, &call->actor, set, ref, d->devices, request->n_devices,
		call->cookie, &call->error);
}

/* ---------------------------------------------------------------- the RID itself */

int handle_rid_attach(struct call *call)
{
	const Pasid__V1__RidAttach *request = (const void *)call->message;
	struct dispatch *d = call->d;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = pair_read(call, request->pair, &d->pairs[0]);
	if (r)
		return r;
	return broker_rid_attach(
		d->broker, &call->actor, set, &d->pairs[0], call->cookie, &call->error);
}

int finish_rid_attach(struct call *call, const struct outcome *outcome)
{
	Pasid__V1__AttachedTable table;

	assert(outcome->table_count == 1);
	table = attached_table(&outcome->tables[0]);
	call_write(call, &table.base);
	return 0;
}

int handle_rid_detach(struct call *call)
{
	const Pasid__V1__RidDetach *request = (const void *)call->message;
	struct device_id device;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r)
		r = ref_device(call, request->device, &device);
	if (r)
		return r;
	return broker_rid_detach(
		call->d->broker, &call->actor, set, device, call->cookie, &call->error);
}

/* ---------------------------------------------------------------- either */

/* Without a number it is the RID. */
int handle_replace(struct call *call)
{
	const Pasid__V1__Replace *request = (const void *)call->message;
	struct dispatch *d = call->d;
	struct pasid_ref ref;
	struct set_id set;
	int r = ref_set(call, request->set, &set);

	if (!r && request->pasid)
		r = ref_pasid(call, request->pasid, &ref);
	if (!r)
		r = pair_read(call, request->pair, &d->pairs[0]);
	if (r)
		return r;
	return broker_replace(d->broker, &call->actor, set, request->pasid ? &ref : NULL,
		&d->pairs[0], call->cookie, &call->error);
}

/* ---------------------------------------------------------------- what there is */

struct binding_message {
	Pasid__V1__BindingInfo info;
	Pasid__V1__AttachedTable table;
	char address[WIRE_RID_LEN];
};

static void binding_fill(struct binding_message *message, struct binding_info *info)
{
	pasid__v1__binding_info__init(&message->info);
	message->table = attached_table(&info->table);
	message->info.table = &message->table;
	message->info.id = info->id;
	message->info.set = info->set.v;
	message->info.set_name = info->set_name;
	message->info.device = info->device.v;
	wire_rid_format(info->rid, message->address);
	message->info.address = message->address;
	message->info.state = (Pasid__V1__BindingState)info->state;
	if (info->has_pasid) {
		message->info.pasid_case = PASID__V1__BINDING_INFO__PASID_HOST_PASID;
		message->info.host_pasid = info->host.v;
	}
	if (info->has_guest) {
		message->info.guest_case = PASID__V1__BINDING_INFO__GUEST_GUEST_PASID;
		message->info.guest_pasid = info->guest.v;
	}
}

static bool binding_matches(const Pasid__V1__BindingList *request,
	const struct device_filter *filter, const struct binding_info *info)
{
	if (filter->given &&
		(filter->id.v ? info->device.v != filter->id.v : info->rid.v != filter->rid.v))
		return false;
	return request->key_case != PASID__V1__BINDING_LIST__KEY_HOST_PASID ||
	       (info->has_pasid && info->host.v == request->host_pasid);
}

int handle_binding_list(struct call *call)
{
	const Pasid__V1__BindingList *request = (const void *)call->message;
	struct page page = page_begin(call, request->after, request->limit);
	struct binding_message message;
	struct device_filter filter;
	struct binding_info info;
	struct set_id set;
	int r = ref_list(call, request->set, &set);

	if (!r)
		r = filter_read(call, request->device, &filter);
	if (r)
		return r;
	while (page_goes_on(&page) &&
		broker_binding_next(call->d->broker, &call->actor, set, &page.cursor, &info)) {
		if (!binding_matches(request, &filter, &info))
			continue;
		binding_fill(&message, &info);
		if (!page_add(&page, &message.info.base))
			break;
	}
	page_end(&page);
	return 0;
}
