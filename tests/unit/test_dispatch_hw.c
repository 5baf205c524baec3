/* SPDX-License-Identifier: MIT */
/* Operations that need the hardware, through datagrams: devices, memory, bindings. */
#include "dispatch_rig.h"

#include <string.h>

static struct rig rig, *const r = &rig;

static Pasid__V1__DeviceList device_list = PASID__V1__DEVICE_LIST__INIT;
static Pasid__V1__BindingList binding_list = PASID__V1__BINDING_LIST__INIT;

/* ---------------------------------------------------------------- devices */

START_TEST(a_device_is_added_listed_and_removed)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		Pasid__V1__DeviceRemove remove = PASID__V1__DEVICE_REMOVE__INIT;
		const Pasid__V1__DeviceInfo *info;

		remove.device = rig_device(r, vm1, 8, 5);
		info = rig_ok(r, vm1, OPERATION(DEVICE_LIST), &device_list)
			       ->device_list->devices[0];
		ck_assert_uint_eq(info->id, remove.device);
		ck_assert_int_eq(info->kind, PASID__V1__DEVICE_KIND__DEVICE_EXCLUSIVE);
		ck_assert_str_eq(info->address, "0000:00:01.0");
		ck_assert_str_eq(info->iommu, "vtd");
		ck_assert_uint_eq(info->pasid_width, 20);
		ck_assert_uint_eq(info->n_registers, 2);
		ck_assert_uint_eq(info->n_capabilities, 2);
		ck_assert_str_eq(info->capabilities[1], "nested");
		ck_assert_uint_eq(info->dev_id, 108);
		ck_assert_uint_eq(rig_ok(r, vm2, OPERATION(DEVICE_LIST), &device_list)
					  ->device_list->n_devices,
			0);
		rig_refused(r, vm2, OPERATION(DEVICE_REMOVE), &remove, REASON_NO_DEVICE);
		(void)rig_ok(r, vm1, OPERATION(DEVICE_REMOVE), &remove);
		rig_refused(r, vm1, OPERATION(DEVICE_REMOVE), &remove, REASON_NO_DEVICE);
		remove.device = 0;
		rig_refused(r, vm1, OPERATION(DEVICE_REMOVE), &remove, REASON_BAD_ARGUMENT);
	}
END_TEST

START_TEST(a_device_of_another_set_is_refused)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		int fds[] = {6, MODEL_DEVICE_FD(8)};

		(void)rig_device(r, vm1, 8, 5);
		rig_expect(r, rig_call_fds(r, vm2, OPERATION(DEVICE_ADD), &add, fds, 2),
			REASON_DEVICE_TAKEN);
		fds[0] = 5; /* vm1's iommufd */
		fds[1] = MODEL_DEVICE_FD(9);
		rig_expect(r, rig_call_fds(r, vm2, OPERATION(DEVICE_ADD), &add, fds, 2),
			REASON_FD_FOREIGN);
	}
END_TEST

START_TEST(descriptors_of_an_operation_that_never_ran_are_disposed_of)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		int fd = 6;

		(void)rig_device(r, vm1, 8, 5);
		add.open_case = PASID__V1__DEVICE_ADD__OPEN_ADDRESS;
		add.address = "0000:00:01.0";
		/* accepted, and refused before a worker was asked */
		rig_expect(r, rig_call_fds(r, vm2, OPERATION(DEVICE_ADD), &add, &fd, 1),
			REASON_DEVICE_TAKEN);
		ck_assert_uint_eq(r->disposed_count, 1);
		ck_assert_int_eq(r->disposed[0], fd);
	}
END_TEST

START_TEST(an_address_that_is_none_is_refused)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
		Pasid__V1__DeviceShare share = PASID__V1__DEVICE_SHARE__INIT;
		Pasid__V1__DeviceSlice slice = PASID__V1__DEVICE_SLICE__INIT;
		int fd = 5;

		add.open_case = PASID__V1__DEVICE_ADD__OPEN_ADDRESS;
		add.address = share.address = slice.address = "eth0";
		rig_expect(r, rig_call_fds(r, vm1, OPERATION(DEVICE_ADD), &add, &fd, 1),
			REASON_BAD_ARGUMENT);
		ck_assert_uint_eq(r->disposed_count, 1);
		rig_refused(r, admin, OPERATION(DEVICE_SHARE), &share, REASON_BAD_ARGUMENT);
		rig_refused(r, vm1, OPERATION(DEVICE_SLICE), &slice, REASON_BAD_ARGUMENT);
		slice.key_case = PASID__V1__DEVICE_SLICE__KEY_ADDRESS;
		rig_refused(r, vm1, OPERATION(DEVICE_SLICE), &slice, REASON_BAD_ARGUMENT);
		slice.address = "00:07.7";
		rig_refused(r, vm1, OPERATION(DEVICE_SLICE), &slice, REASON_NO_DEVICE);
	}
END_TEST

/* A shared device at RID 16, and a slice of it for the link's set. */
static uint64_t slice_of_16(struct link *link)
{
	Pasid__V1__DeviceSlice slice = PASID__V1__DEVICE_SLICE__INIT;

	slice.key_case = PASID__V1__DEVICE_SLICE__KEY_ADDRESS;
	slice.address = "0000:00:02.0";
	return rig_ok(r, link, OPERATION(DEVICE_SLICE), &slice)->device_slice->id;
}

static uint64_t share_16(struct link *admin)
{
	Pasid__V1__DeviceShare share = PASID__V1__DEVICE_SHARE__INIT;

	share.address = "00:02.0";
	return rig_ok(r, admin, OPERATION(DEVICE_SHARE), &share)->device_share->id;
}

/* ---------------------------------------------------------------- bindings */

static Pasid__V1__PasidRef host_ref(uint32_t number)
{
	Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT;

	ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
	ref.host = number;
	return ref;
}

/* Up to two pairs over address space 0, and what they point to. */
struct bind_message {
	Pasid__V1__Bind bind;
	Pasid__V1__PasidRef pasid;
	Pasid__V1__BindPair pair[2], *pairs[2];
	Pasid__V1__Table table;
};

static void bind_fill(
	struct bind_message *message, uint32_t number, const uint64_t *devices, size_t count)
{
	pasid__v1__bind__init(&message->bind);
	pasid__v1__table__init(&message->table);
	message->pasid = host_ref(number);
	message->table.source_case = PASID__V1__TABLE__SOURCE_SPACE;
	for (size_t i = 0; i < count; i++) {
		pasid__v1__bind_pair__init(&message->pair[i]);
		message->pair[i].device = devices[i];
		message->pair[i].table = &message->table;
		message->pairs[i] = &message->pair[i];
	}
	message->bind.pasid = &message->pasid;
	message->bind.n_pairs = count;
	message->bind.pairs = message->pairs;
}

START_TEST(one_number_is_bound_to_two_devices_and_unbound_from_all)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		uint64_t devices[] = {rig_device(r, vm1, 8, 5), rig_device(r, vm1, 9, 5)};
		uint32_t number = rig_allocate(r, vm1);
		Pasid__V1__Unbind unbind = PASID__V1__UNBIND__INIT;
		struct bind_message message;
		const Pasid__V1__BindResult *result;
		const Pasid__V1__BindingInfo *info;

		bind_fill(&message, number, devices, 2);
		message.table.source_case = PASID__V1__TABLE__SOURCE_IOAS;
		message.table.ioas = 3;
		result = rig_ok(r, vm1, OPERATION(BIND), &message)->bind;
		ck_assert_uint_eq(result->host_pasid, number);
		ck_assert_uint_eq(result->n_tables, 2);
		ck_assert_uint_eq(result->tables[1]->device, devices[1]);
		ck_assert_uint_ge(result->tables[1]->hwpt, 500);
		ck_assert(result->tables[1]->made);
		ck_assert(model_has(&r->f, 8, number) && model_has(&r->f, 9, number));
		rig_refused(r, vm1, OPERATION(BIND), &message, REASON_ALREADY_BOUND);
		binding_list.key_case = PASID__V1__BINDING_LIST__KEY_HOST_PASID;
		binding_list.host_pasid = number;
		ck_assert_uint_eq(rig_ok(r, vm1, OPERATION(BINDING_LIST), &binding_list)
					  ->binding_list->n_bindings,
			2);
		info = r->got->replies[0]->binding_list->bindings[0];
		ck_assert_int_eq(info->state, PASID__V1__BINDING_STATE__BINDING_BOUND);
		ck_assert_uint_eq(info->host_pasid, number);
		ck_assert_str_eq(info->set_name, "vm1");
		binding_list.host_pasid = number + 1;
		ck_assert_uint_eq(rig_ok(r, vm1, OPERATION(BINDING_LIST), &binding_list)
					  ->binding_list->n_bindings,
			0);
		unbind.pasid = &message.pasid;
		(void)rig_ok(r, vm1, OPERATION(UNBIND), &unbind);
		ck_assert_uint_eq(model_entries(&r->f), 0);
		rig_refused(r, vm1, OPERATION(UNBIND), &unbind, REASON_NOT_BOUND);
	}
END_TEST

START_TEST(a_bind_whose_second_step_fails_leaves_nothing_and_says_why)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		uint64_t devices[] = {rig_device(r, vm1, 8, 5), rig_device(r, vm1, 9, 5)};
		struct bind_message message;

		bind_fill(&message, rig_allocate(r, vm1), devices, 2);
		message.table.source_case = PASID__V1__TABLE__SOURCE_HWPT;
		message.table.hwpt = 12;
		r->f.model.fail_kind = HW_ATTACH;
		r->f.model.fail_status = STATUS_HARDWARE;
		r->f.model.fail_skip = 1;
		r->f.model.fail_times = 1;
		rig_refused(r, vm1, OPERATION(BIND), &message, REASON_KERNEL_REFUSED);
		ck_assert_uint_eq(model_entries(&r->f), 0);
		(void)rig_ok(r, vm1, OPERATION(BIND), &message);
	}
END_TEST

START_TEST(a_bind_that_names_too_little_is_refused)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		uint64_t device = rig_device(r, vm1, 8, 5);
		Pasid__V1__GuestTable guest = PASID__V1__GUEST_TABLE__INIT;
		struct bind_message message;

		bind_fill(&message, rig_allocate(r, vm1), &device, 1);
		message.pair[0].table = NULL;
		rig_refused(r, vm1, OPERATION(BIND), &message, REASON_BAD_ARGUMENT);
		message.pair[0].table = &message.table;
		message.table.source_case = PASID__V1__TABLE__SOURCE_GUEST;
		message.table.guest = &guest;
		rig_refused(r, vm1, OPERATION(BIND), &message, REASON_BAD_ARGUMENT);
		message.bind.n_pairs = 0;
		rig_refused(r, vm1, OPERATION(BIND), &message, REASON_BAD_ARGUMENT);
		message.bind.pasid = NULL;
		rig_refused(r, vm1, OPERATION(BIND), &message, REASON_BAD_ARGUMENT);
	}
END_TEST

/* F31 */
START_TEST(a_guests_table_reaches_the_hardware_as_it_was_described)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		uint64_t device = rig_device(r, vm1, 8, 5);
		Pasid__V1__GuestTable guest = PASID__V1__GUEST_TABLE__INIT;
		struct bind_message message;
		const struct hw_table *table;

		bind_fill(&message, rig_allocate(r, vm1), &device, 1);
		message.table.source_case = PASID__V1__TABLE__SOURCE_GUEST;
		message.table.guest = &guest;
		guest.address = 0x1234000;
		guest.width = 48;
		guest.flags = 4;
		guest.parent_case = PASID__V1__GUEST_TABLE__PARENT_PARENT_HWPT;
		guest.parent_hwpt = 17;
		rig_begin(r);
		rig_add(r, OPERATION(BIND), &message);
		ck_assert_int_eq(rig_send(r, vm1, NULL, 0), 0);
		ck_assert_uint_eq(r->f.model.count, 1);
		table = &r->f.model.ops[0].table;
		ck_assert_uint_eq(table->kind, HW_TABLE_VTD_S1);
		ck_assert_uint_eq(table->parent_kind, HW_TABLE_HWPT);
		ck_assert_uint_eq(table->id, 17);
		ck_assert_uint_eq(table->addr_width, 48);
		ck_assert_uint_eq(table->flags, 4);
		ck_assert_uint_eq(table->pgtbl_addr, 0x1234000);
		rig_run(r);
		ck_assert_ptr_null(rig_reply(r, vm1, r->last_id)->status);
	}
END_TEST

static void stream_fill(struct bind_message *message, Pasid__V1__StreamTable *stream,
	uint64_t device, uint64_t ste0)
{
	bind_fill(message, 1, &device, 1);
	pasid__v1__stream_table__init(stream);
	message->table.source_case = PASID__V1__TABLE__SOURCE_STREAM;
	message->table.stream = stream;
	stream->ste0 = ste0;
	stream->ste1 = UINT64_MAX;
	stream->stream = UINT32_MAX;
}

static void attached_is(const Pasid__V1__AttachedTable *table, uint64_t device)
{
	ck_assert_uint_eq(table->device, device);
	ck_assert_uint_ne(table->viommu, 0);
	ck_assert_uint_eq(table->vdevice, 808);
	ck_assert_uint_eq(table->stream, UINT32_MAX);
}

/* F32 */
START_TEST(a_guests_stream_table_entry_goes_under_the_rid)
	{
		struct link *vm1;
		Pasid__V1__RidAttach attach = PASID__V1__RID_ATTACH__INIT;
		Pasid__V1__RidDetach detach = PASID__V1__RID_DETACH__INIT;
		Pasid__V1__Replace replace = PASID__V1__REPLACE__INIT;
		Pasid__V1__StreamTable stream;
		struct bind_message message;
		const struct model_entry *entry;
		uint64_t device;

		r->f.model.smmu_of[8] = true;
		vm1 = rig_vmm(r, "vm1", SET_GUEST_OWNED);
		device = rig_device(r, vm1, 8, 5);
		stream_fill(&message, &stream, device, 0x123b);
		attach.pair = replace.pair = &message.pair[0];
		rig_refused(r, vm1, OPERATION(RID_ATTACH), &attach, REASON_BAD_ARGUMENT);
		stream.parent_case = PASID__V1__STREAM_TABLE__PARENT_PARENT_HWPT;
		stream.parent_hwpt = 17;
		attached_is(rig_ok(r, vm1, OPERATION(RID_ATTACH), &attach)->rid_attach, device);
		entry = model_entry_in(&r->f.model, 8, 0);
		ck_assert_uint_eq(entry->table.kind, HW_TABLE_SMMUV3);
		ck_assert_uint_eq(entry->table.parent_kind, HW_TABLE_HWPT);
		ck_assert_uint_eq(entry->table.id, 17);
		ck_assert(entry->table.ste[0] == 0x123b && entry->table.ste[1] == UINT64_MAX);
		ck_assert_uint_eq(entry->table.stream, UINT32_MAX);
		stream.ste0 = 9;
		attached_is(
			rig_ok(r, vm1, OPERATION(REPLACE), &replace)->replace->tables[0], device);
		ck_assert_uint_eq(entry->table.ste[0], 9);
		stream.parent_case = PASID__V1__STREAM_TABLE__PARENT_PARENT_SPACE;
		stream.parent_space = 3;
		rig_refused(r, vm1, OPERATION(REPLACE), &replace, REASON_STREAM_FIXED);
		binding_list.key_case = PASID__V1__BINDING_LIST__KEY__NOT_SET;
		attached_is(rig_ok(r, vm1, OPERATION(BINDING_LIST), &binding_list)
				    ->binding_list->bindings[0]
				    ->table,
			device);
		detach.device = device;
		for (int i = 0; i < 2; i++) {
			(void)rig_ok(r, vm1, OPERATION(RID_DETACH), &detach);
			attached_is(
				rig_ok(r, vm1, OPERATION(RID_ATTACH), &attach)->rid_attach, device);
			entry = model_entry_in(&r->f.model, 8, 0);
			ck_assert_uint_eq(
				entry->table.parent_kind, i ? HW_TABLE_IOAS : HW_TABLE_SPACE);
			ck_assert_uint_eq(entry->table.id, i ? 4 : 3);
			stream.parent_case = PASID__V1__STREAM_TABLE__PARENT_PARENT_IOAS;
			stream.parent_ioas = 4;
		}
	}
END_TEST

START_TEST(the_rid_itself_is_attached_and_detached)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		Pasid__V1__RidAttach attach = PASID__V1__RID_ATTACH__INIT;
		Pasid__V1__RidDetach detach = PASID__V1__RID_DETACH__INIT;
		uint64_t device = rig_device(r, vm1, 8, 5);
		struct bind_message message;
		const Pasid__V1__BindingInfo *info;

		rig_refused(r, vm1, OPERATION(RID_ATTACH), &attach, REASON_BAD_ARGUMENT);
		bind_fill(&message, 1, &device, 1);
		message.table.source_case = PASID__V1__TABLE__SOURCE_IOAS;
		attach.pair = &message.pair[0];
		ck_assert_uint_eq(
			rig_ok(r, vm1, OPERATION(RID_ATTACH), &attach)->rid_attach->device, device);
		ck_assert(model_has(&r->f, 8, 0));
		binding_list.key_case = PASID__V1__BINDING_LIST__KEY__NOT_SET;
		info = rig_ok(r, vm1, OPERATION(BINDING_LIST), &binding_list)
			       ->binding_list->bindings[0];
		ck_assert_int_eq(info->pasid_case, PASID__V1__BINDING_INFO__PASID__NOT_SET);
		detach.device = device;
		(void)rig_ok(r, vm1, OPERATION(RID_DETACH), &detach);
		ck_assert(!model_has(&r->f, 8, 0));
		rig_refused(r, vm1, OPERATION(RID_DETACH), &detach, REASON_NOT_BOUND);
	}
END_TEST

/* ---------------------------------------------------------------- slices and memory */

START_TEST(two_sets_share_a_device_without_meeting)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		Pasid__V1__DeviceDrained drained = PASID__V1__DEVICE_DRAINED__INIT;
		Pasid__V1__MemoryMap map = PASID__V1__MEMORY_MAP__INIT;
		Pasid__V1__MemoryUnmap unmap = PASID__V1__MEMORY_UNMAP__INIT;
		uint32_t one = rig_allocate(r, vm1), two = rig_allocate(r, vm2);
		struct bind_message message;
		uint64_t slices[2];
		int memfd = 60;

		drained.device = share_16(admin);
		slices[0] = slice_of_16(vm1);
		slices[1] = slice_of_16(vm2);
		map.device = unmap.device = slices[0];
		map.length = unmap.length = 0x200000;
		rig_refused(r, vm1, OPERATION(MEMORY_MAP), &map, REASON_FD_COUNT);
		rig_expect(r, rig_call_fds(r, vm2, OPERATION(MEMORY_MAP), &map, &memfd, 1),
			REASON_NO_DEVICE);
		ck_assert_ptr_null(
			rig_call_fds(r, vm1, OPERATION(MEMORY_MAP), &map, &memfd, 1)->status);
		bind_fill(&message, one, &slices[0], 1);
		ck_assert_uint_eq(
			rig_ok(r, vm1, OPERATION(BIND), &message)->bind->tables[0]->hwpt, 0);
		bind_fill(&message, one, &slices[1], 1);
		rig_refused(r, vm2, OPERATION(BIND), &message, REASON_NO_PASID);
		bind_fill(&message, two, &slices[1], 1);
		(void)rig_ok(r, vm2, OPERATION(BIND), &message);
		ck_assert(model_has(&r->f, 16, one) && model_has(&r->f, 16, two));
		(void)rig_ok(r, admin, OPERATION(DEVICE_DRAINED), &drained);
		drained.device = slices[0] + 77;
		rig_refused(r, admin, OPERATION(DEVICE_DRAINED), &drained, REASON_NO_DEVICE);
		(void)rig_ok(r, vm1, OPERATION(MEMORY_UNMAP), &unmap);
		unmap.device = 0;
		rig_refused(r, vm1, OPERATION(MEMORY_UNMAP), &unmap, REASON_BAD_ARGUMENT);
	}
END_TEST

START_TEST(a_killed_vmm_leaves_nothing_and_others_do_not_notice)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		uint64_t devices[] = {rig_device(r, vm1, 8, 5), rig_device(r, vm2, 9, 6)};
		uint32_t one = rig_allocate(r, vm1), two = rig_allocate(r, vm2);
		struct bind_message message;

		bind_fill(&message, one, &devices[0], 1);
		message.table.source_case = PASID__V1__TABLE__SOURCE_IOAS;
		(void)rig_ok(r, vm1, OPERATION(BIND), &message);
		bind_fill(&message, two, &devices[1], 1);
		message.table.source_case = PASID__V1__TABLE__SOURCE_IOAS;
		(void)rig_ok(r, vm2, OPERATION(BIND), &message);
		(void)dispatch_disconnect(r->d, vm1, true, NULL);
		rig_run(r);
		ck_assert(!model_has(&r->f, 8, one));
		ck_assert(model_has(&r->f, 9, two));
		ck_assert(!rig_read(r, vm2));
	}
END_TEST

/* Nobody is charged for them, so they must not take what others are to have. */
START_TEST(ends_of_sets_that_hang_take_no_place_of_others)
	{
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		struct link *vms[3];
		char name[] = "vm0";

		rig_close(r);
		rig_config(r);
		r->config.operations_max = 2;
		rig_open(r);
		for (unsigned i = 0; i < 3; i++) {
			name[2] = (char)('0' + i);
			vms[i] = rig_vmm(r, name, SET_TRANSLATED);
		}
		destroy.force = true;
		for (unsigned i = 0; i < 2; i++) {
			(void)rig_device(r, vms[i], 8 + i, 5 + (int)i);
			rig_begin(r);
			(void)rig_add(r, OPERATION(SET_DESTROY), &destroy);
			/* it is not carried out before the test is over */
			ck_assert_int_eq(rig_send(r, vms[i], NULL, 0), 0);
			r->f.model.hung_lane = link_set(vms[0]).v;
		}
		ck_assert_uint_eq(dispatch_operations(r->d), 2);
		(void)rig_device(r, vms[2], 10, 7);
		r->f.model.hung_lane = 0;
		rig_run(r);
		ck_assert_uint_eq(dispatch_operations(r->d), 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_device_is_added_listed_and_removed,
		a_device_of_another_set_is_refused,
		descriptors_of_an_operation_that_never_ran_are_disposed_of,
		an_address_that_is_none_is_refused,
		one_number_is_bound_to_two_devices_and_unbound_from_all,
		a_bind_whose_second_step_fails_leaves_nothing_and_says_why,
		a_bind_that_names_too_little_is_refused,
		a_guests_table_reaches_the_hardware_as_it_was_described,
		a_guests_stream_table_entry_goes_under_the_rid,
		the_rid_itself_is_attached_and_detached,
		two_sets_share_a_device_without_meeting,
		a_killed_vmm_leaves_nothing_and_others_do_not_notice,
		ends_of_sets_that_hang_take_no_place_of_others,
	};

	return rig_main(r, "dispatch_hw", tests, ARRAY_SIZE(tests));
}
