/* SPDX-License-Identifier: MIT */
#include "fake_bind.h"

static size_t fake_bind_pairs(const Pasid__V1__Request *request, Pasid__V1__BindPair ***ret_pairs)
{
	switch ((int)request->operation_case) {
	case PASID__V1__REQUEST__OPERATION_REPLACE:
		*ret_pairs = &request->replace->pair;
		return request->replace->pair->device != 0;
	case PASID__V1__REQUEST__OPERATION_RID_ATTACH:
		*ret_pairs = &request->rid_attach->pair;
		return 1;
	default:
		*ret_pairs = request->bind->pairs;
		return request->bind->n_pairs;
	}
}

void fake_bind_fill(
	struct fake_bind *room, const Pasid__V1__Request *request, Pasid__V1__Reply *ret_reply)
{
	Pasid__V1__BindPair **pairs;
	const size_t count = fake_bind_pairs(request, &pairs);

	for (size_t i = 0; i < count; i++) {
		Pasid__V1__AttachedTable *told = &room->tables[i];
		const Pasid__V1__Table *table = pairs[i]->table;

		pasid__v1__attached_table__init(told);
		told->device = pairs[i]->device;
		told->hwpt = 40 + (uint32_t)i;
		told->made = 1;
		room->pointers[i] = told;
		if (table->source_case != PASID__V1__TABLE__SOURCE_STREAM)
			continue;
		told->viommu = 50;
		told->vdevice = 51;
		told->stream = table->stream->stream;
	}
	pasid__v1__bind_result__init(&room->result);
	room->result.host_pasid = 1024;
	room->result.n_tables = count;
	room->result.tables = room->pointers;
	if (request->operation_case == PASID__V1__REQUEST__OPERATION_RID_ATTACH)
		ret_reply->rid_attach = &room->tables[0];
	else
		ret_reply->bind = &room->result;
}
