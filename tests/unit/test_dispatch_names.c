/* SPDX-License-Identifier: MIT */
/* What a request names: nothing, something that is not there, or too much for one page. */
#include "dispatch_private.h"
#include "dispatch_rig.h"

#include <string.h>

#define RID    8u
#define SHARED 5u
#define MANY   2100u /* bindings, more than one request passes over */

static struct rig rig, *const r = &rig;

static Pasid__V1__SetRef no_set = PASID__V1__SET_REF__INIT;
static Pasid__V1__PasidRef no_number = PASID__V1__PASID_REF__INIT;

/* ---------------------------------------------------------------- nothing */

/* Every message whose first field is a set. */
static Pasid__V1__SetAdjust adjust = PASID__V1__SET_ADJUST__INIT;
static Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
static Pasid__V1__SetConnect connect = PASID__V1__SET_CONNECT__INIT;
static Pasid__V1__SetGet get = PASID__V1__SET_GET__INIT;
static Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
static Pasid__V1__Free free_all = PASID__V1__FREE__INIT;
static Pasid__V1__GuestAttach attach = PASID__V1__GUEST_ATTACH__INIT;
static Pasid__V1__GuestDetach detach = PASID__V1__GUEST_DETACH__INIT;
static Pasid__V1__GuestFind guest_find = PASID__V1__GUEST_FIND__INIT;
static Pasid__V1__DataSet data_set = PASID__V1__DATA_SET__INIT;
static Pasid__V1__GrantList number_list = PASID__V1__GRANT_LIST__INIT;
static Pasid__V1__DeviceAdd add = PASID__V1__DEVICE_ADD__INIT;
static Pasid__V1__DeviceSlice slice = PASID__V1__DEVICE_SLICE__INIT;
static Pasid__V1__DeviceRemove remove_device = PASID__V1__DEVICE_REMOVE__INIT;
static Pasid__V1__DeviceList device_list = PASID__V1__DEVICE_LIST__INIT;
static Pasid__V1__DeviceDrained drained = PASID__V1__DEVICE_DRAINED__INIT;
static Pasid__V1__MemoryMap map = PASID__V1__MEMORY_MAP__INIT;
static Pasid__V1__MemoryUnmap unmap = PASID__V1__MEMORY_UNMAP__INIT;
static Pasid__V1__Bind bind = PASID__V1__BIND__INIT;
static Pasid__V1__Unbind unbind = PASID__V1__UNBIND__INIT;
static Pasid__V1__RidAttach rid_attach = PASID__V1__RID_ATTACH__INIT;
static Pasid__V1__RidDetach rid_detach = PASID__V1__RID_DETACH__INIT;
static Pasid__V1__Replace replace = PASID__V1__REPLACE__INIT;
static Pasid__V1__BindingList binding_list = PASID__V1__BINDING_LIST__INIT;
static Pasid__V1__LimitList limit_list = PASID__V1__LIMIT_LIST__INIT;

static const struct named {
	uint32_t operation;
	void *message;
	Pasid__V1__SetRef **set;
	size_t fd_count;
} named[] = {
	{OPERATION(SET_ADJUST), &adjust, &adjust.set, 0},
	{OPERATION(SET_DESTROY), &destroy, &destroy.set, 0},
	{OPERATION(SET_CONNECT), &connect, &connect.set, 0},
	{OPERATION(SET_GET), &get, &get.set, 0},
	{OPERATION(ALLOCATE), &allocate, &allocate.set, 0},
	{OPERATION(FREE), &free_all, &free_all.set, 0},
	{OPERATION(GUEST_ATTACH), &attach, &attach.set, 0},
	{OPERATION(GUEST_DETACH), &detach, &detach.set, 0},
	{OPERATION(GUEST_FIND), &guest_find, &guest_find.set, 0},
	{OPERATION(DATA_SET), &data_set, &data_set.set, 0},
	{OPERATION(GRANT_LIST), &number_list, &number_list.set, 0},
	{OPERATION(DEVICE_ADD), &add, &add.set, 2},
	{OPERATION(DEVICE_SLICE), &slice, &slice.set, 0},
	{OPERATION(DEVICE_REMOVE), &remove_device, &remove_device.set, 0},
	{OPERATION(DEVICE_LIST), &device_list, &device_list.set, 0},
	{OPERATION(MEMORY_MAP), &map, &map.set, 1},
	{OPERATION(MEMORY_UNMAP), &unmap, &unmap.set, 0},
	{OPERATION(BIND), &bind, &bind.set, 0},
	{OPERATION(UNBIND), &unbind, &unbind.set, 0},
	{OPERATION(RID_ATTACH), &rid_attach, &rid_attach.set, 0},
	{OPERATION(RID_DETACH), &rid_detach, &rid_detach.set, 0},
	{OPERATION(BINDING_LIST), &binding_list, &binding_list.set, 0},
	{OPERATION(LIMIT_LIST), &limit_list, &limit_list.set, 0},
	{OPERATION(REPLACE), &replace, &replace.set, 0},
};

static void expect_refusals(const struct named *one, struct link *link, enum reason reason)
{
	static const int fds[] = {90, 91};
	const unsigned before = r->disposed_count;

	rig_expect(
		r, rig_call_fds(r, link, one->operation, one->message, fds, one->fd_count), reason);
	ck_assert_uint_eq(r->disposed_count, before + one->fd_count);
}

/* An admin has no set of its own; a reference without a name or an id is no set either. */
START_TEST(a_set_that_is_not_named_is_none_whatever_is_asked)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);

		free_all.all = true;
		for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
			*named[i].set = &no_set;
			expect_refusals(&named[i], admin, REASON_BAD_ARGUMENT);
		}
	}
END_TEST

START_TEST(a_set_that_is_not_there_is_found_nowhere)
	{
		static const uint32_t beyond[] = {OPERATION(SET_ADJUST), OPERATION(SET_DESTROY),
			OPERATION(SET_CONNECT), OPERATION(SET_GET), OPERATION(ALLOCATE),
			OPERATION(FREE), OPERATION(GRANT_LIST), OPERATION(DEVICE_LIST),
			OPERATION(BINDING_LIST), OPERATION(LIMIT_LIST)};
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef gone = PASID__V1__SET_REF__INIT;

		gone.key_case = PASID__V1__SET_REF__KEY_ID;
		gone.id = 4711;
		free_all.all = true;
		for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
			*named[i].set = &gone;
			for (size_t k = 0; k < ARRAY_SIZE(beyond); k++)
				if (named[i].operation == beyond[k])
					expect_refusals(&named[i], admin, REASON_NO_SET);
		}
	}
END_TEST

START_TEST(a_device_that_is_not_named_is_none)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t ids[] = {0, 1};
		Pasid__V1__PasidRef number = PASID__V1__PASID_REF__INIT;

		rig_refused(r, vmm, OPERATION(DEVICE_REMOVE), &remove_device, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(MEMORY_UNMAP), &unmap, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(RID_DETACH), &rid_detach, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(RID_ATTACH), &rid_attach, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(REPLACE), &replace, REASON_BAD_ARGUMENT);
		rig_refused(r, admin, OPERATION(DEVICE_DRAINED), &drained, REASON_BAD_ARGUMENT);
		expect_refusals(&named[15], vmm, REASON_BAD_ARGUMENT);
		slice.key_case = PASID__V1__DEVICE_SLICE__KEY_DEVICE;
		rig_refused(r, vmm, OPERATION(DEVICE_SLICE), &slice, REASON_BAD_ARGUMENT);
		number.key_case = PASID__V1__PASID_REF__KEY_GUEST;
		unbind.pasid = &number;
		allocate.devices = unbind.devices = ids;
		allocate.n_devices = unbind.n_devices = ARRAY_SIZE(ids);
		rig_refused(r, vmm, OPERATION(UNBIND), &unbind, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(ALLOCATE), &allocate, REASON_BAD_ARGUMENT);
	}
END_TEST

START_TEST(a_number_that_is_not_named_is_none)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		Pasid__V1__PasidRef guest = PASID__V1__PASID_REF__INIT;
		Pasid__V1__PasidRef *both[] = {&no_number, &guest};

		bind.pasid = unbind.pasid = data_set.pasid = &no_number;
		rig_refused(r, vmm, OPERATION(BIND), &bind, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(UNBIND), &unbind, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(DATA_SET), &data_set, REASON_BAD_ARGUMENT);
		data_set.pasid = NULL;
		rig_refused(r, vmm, OPERATION(DATA_SET), &data_set, REASON_BAD_ARGUMENT);
		free_all.n_pasids = ARRAY_SIZE(both);
		free_all.pasids = both;
		rig_refused(r, vmm, OPERATION(FREE), &free_all, REASON_BAD_ARGUMENT);
		guest.key_case = PASID__V1__PASID_REF__KEY_GUEST;
		guest.guest = 7;
		both[0] = &guest;
		rig_refused(r, vmm, OPERATION(FREE), &free_all, REASON_GUEST_UNKNOWN);
	}
END_TEST

/* One more, and one less than there is; nothing between two of them. */
START_TEST(an_operation_that_is_not_in_the_table_is_none)
	{
		ck_assert_ptr_null(operation_type(0));
		ck_assert_ptr_null(operation_type(1));
		ck_assert_ptr_null(operation_type(OPERATION(REPLACE) + 1));
		ck_assert_ptr_null(operation_type(UINT32_MAX));
		ck_assert_ptr_nonnull(operation_type(OPERATION(HELLO)));
		ck_assert_ptr_nonnull(operation_type(OPERATION(BINDING_LIST)));
		ck_assert_uint_eq(dispatch_edge(r->d, EDGE_COUNT), 0);
		ck_assert_uint_eq(dispatch_refusals(r->d, REASON_COUNT), 0);
	}
END_TEST

/* ---------------------------------------------------------------- devices */

START_TEST(a_device_that_the_daemon_opens_comes_with_one_descriptor)
	{
		static const int fds[] = {90, 91};
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		const Pasid__V1__Reply *reply;

		rig_expect(r, rig_call_fds(r, vmm, OPERATION(DEVICE_ADD), &add, fds, 1),
			REASON_FD_COUNT);
		add.open_case = PASID__V1__DEVICE_ADD__OPEN_ADDRESS;
		add.address = "0000:00:01.0";
		reply = rig_call_fds(r, vmm, OPERATION(DEVICE_ADD), &add, fds, 2);
		rig_expect(r, reply, REASON_FD_COUNT);
		ck_assert_ptr_nonnull(strstr(reply->status->message, "one descriptor"));
		ck_assert_uint_eq(r->disposed_count, 3);
		add.address = "nowhere";
		rig_expect(r, rig_call_fds(r, vmm, OPERATION(DEVICE_ADD), &add, fds, 1),
			REASON_BAD_ARGUMENT);
	}
END_TEST

static uint64_t slice_of(struct link *vmm, uint64_t shared)
{
	slice.key_case = PASID__V1__DEVICE_SLICE__KEY_DEVICE;
	slice.device = shared;
	return rig_ok(r, vmm, OPERATION(DEVICE_SLICE), &slice)->device_slice->id;
}

static void bind_to(struct link *vmm, uint32_t host, uint64_t device)
{
	static Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT;
	static Pasid__V1__Table table = PASID__V1__TABLE__INIT;
	static Pasid__V1__BindPair pair = PASID__V1__BIND_PAIR__INIT, *pairs[] = {&pair};

	ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
	ref.host = host;
	table.source_case = PASID__V1__TABLE__SOURCE_SPACE;
	pair.device = device;
	pair.table = &table;
	bind.pasid = unbind.pasid = &ref;
	bind.n_pairs = 1;
	bind.pairs = pairs;
	(void)rig_ok(r, vmm, OPERATION(BIND), &bind);
}

START_TEST(what_was_drained_is_counted)
	{
		Pasid__V1__DeviceShare share = PASID__V1__DEVICE_SHARE__INIT;
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		uint64_t part[1];

		share.address = "0000:00:00.5";
		drained.device =
			rig_ok(r, admin, OPERATION(DEVICE_SHARE), &share)->device_share->id;
		part[0] = slice_of(vmm, drained.device);
		bind_to(vmm, rig_allocate(r, vmm), part[0]);
		unbind.n_devices = 1;
		unbind.devices = part;
		(void)rig_ok(r, vmm, OPERATION(UNBIND), &unbind);
		ck_assert_uint_eq(rig_ok(r, admin, OPERATION(DEVICE_DRAINED), &drained)
					  ->device_drained->released,
			1);
		ck_assert_uint_eq(rig_ok(r, admin, OPERATION(DEVICE_DRAINED), &drained)
					  ->device_drained->released,
			0);
	}
END_TEST

START_TEST(a_device_that_is_going_takes_its_bindings_along)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);

		remove_device.device = rig_device(r, vmm, RID, 5);
		bind_to(vmm, rig_allocate(r, vmm), remove_device.device);
		rig_refused(r, vmm, OPERATION(DEVICE_REMOVE), &remove_device, REASON_DEVICE_BUSY);
		remove_device.going = true;
		(void)rig_ok(r, vmm, OPERATION(DEVICE_REMOVE), &remove_device);
		ck_assert_uint_eq(model_entries(&r->f), 0);
	}
END_TEST

/* What the kernel names that we do not know has no registers that we could name. */
START_TEST(an_iommu_of_a_kind_that_is_not_known_has_no_name)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		const Pasid__V1__DeviceInfo *info;
		struct device_slot *slots = r->f.state.table[STATE_DEVICES];
		const uint64_t device = rig_device(r, vmm, RID, 5);

		info = rig_ok(r, vmm, OPERATION(DEVICE_LIST), &device_list)
			       ->device_list->devices[0];
		ck_assert_uint_eq(info->id, device);
		ck_assert_str_eq(info->iommu, "vtd");
		slots[0].iommu = 77;
		info = rig_ok(r, vmm, OPERATION(DEVICE_LIST), &device_list)
			       ->device_list->devices[0];
		ck_assert_str_eq(info->iommu, "");
		ck_assert_uint_eq(info->n_registers, 0);
	}
END_TEST

/* ---------------------------------------------------------------- tables */

START_TEST(a_guests_table_may_be_nested_on_a_space)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		Pasid__V1__GuestTable guest = PASID__V1__GUEST_TABLE__INIT;
		Pasid__V1__Table table = PASID__V1__TABLE__INIT;
		const uint64_t device = rig_device(r, vmm, RID, 5);

		bind_to(vmm, rig_allocate(r, vmm), device);
		bind.pasid->host = rig_allocate(r, vmm);
		table.source_case = PASID__V1__TABLE__SOURCE_GUEST;
		table.guest = &guest;
		guest.width = 48;
		guest.address = 0x1000;
		bind.pairs[0]->table = &table;
		rig_refused(r, vmm, OPERATION(BIND), &bind, REASON_BAD_ARGUMENT);
		guest.parent_case = PASID__V1__GUEST_TABLE__PARENT_PARENT_SPACE;
		(void)rig_ok(r, vmm, OPERATION(BIND), &bind);
		ck_assert(model_has(&r->f, RID, bind.pasid->host));
	}
END_TEST

/* ---------------------------------------------------------------- pages */

START_TEST(a_page_of_devices_ends_where_it_is_full)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		const Pasid__V1__Reply *reply;

		(void)rig_device(r, vmm, RID, 5);
		(void)rig_device(r, vmm, RID + 1, 5);
		device_list.limit = 1;
		reply = rig_ok(r, vmm, OPERATION(DEVICE_LIST), &device_list);
		ck_assert_uint_eq(reply->device_list->n_devices, 1);
		device_list.after = reply->device_list->next;
		ck_assert_uint_ne(device_list.after, 0);
		reply = rig_ok(r, vmm, OPERATION(DEVICE_LIST), &device_list);
		ck_assert_uint_eq(reply->device_list->n_devices, 1);
		ck_assert_uint_eq(reply->device_list->next, 0);
	}
END_TEST

START_TEST(a_binding_says_what_it_is_for_the_guest)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		const uint64_t device = rig_device(r, vmm, RID, 5);
		const Pasid__V1__BindingListResult *list;

		allocate.guest_case = PASID__V1__ALLOCATE__GUEST_GUEST_PASID;
		allocate.guest_pasid = 33;
		bind_to(vmm,
			rig_ok(r, vmm, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first,
			device);
		rid_attach.pair = bind.pairs[0];
		(void)rig_ok(r, vmm, OPERATION(RID_ATTACH), &rid_attach);
		/* that of the function itself has no number */
		binding_list.key_case = PASID__V1__BINDING_LIST__KEY_HOST_PASID;
		binding_list.host_pasid = bind.pasid->host;
		list = rig_ok(r, vmm, OPERATION(BINDING_LIST), &binding_list)->binding_list;
		ck_assert_uint_eq(list->n_bindings, 1);
		ck_assert_uint_eq(list->bindings[0]->guest_pasid, 33);
		binding_list.key_case = PASID__V1__BINDING_LIST__KEY__NOT_SET;
		binding_list.limit = 1;
		list = rig_ok(r, vmm, OPERATION(BINDING_LIST), &binding_list)->binding_list;
		ck_assert_uint_eq(list->n_bindings, 1);
		ck_assert_uint_ne(list->next, 0);
	}
END_TEST

/* Whoever asks for one of many has to ask more than once. */
START_TEST(a_request_passes_over_a_bounded_number_of_bindings)
	{
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		const uint64_t device = rig_device(r, vmm, RID, 5);
		const struct device_id id = {device};
		const struct actor actor = {ROLE_VMM, link_session(vmm), link_set(vmm), &r->f.peer};
		const Pasid__V1__BindingListResult *list;
		Pasid__V1__SetRef set = PASID__V1__SET_REF__INIT;
		struct hpasid last = {0};
		unsigned asked = 0;

		set.key_case = PASID__V1__SET_REF__KEY_ID;
		set.id = actor.set.v;
		adjust.set = &set;
		adjust.pasids = MANY;
		(void)rig_ok(r, rig_hello(r, ROLE_ADMIN), OPERATION(SET_ADJUST), &adjust);
		for (unsigned i = 0; i < MANY; i++) {
			last = fixture_allocate(&r->f, &actor);
			ck_assert_int_eq(fixture_bind(&r->f, &actor, last, &id, 1), 0);
		}
		binding_list.key_case = PASID__V1__BINDING_LIST__KEY_HOST_PASID;
		binding_list.host_pasid = last.v;
		do {
			list = rig_ok(r, vmm, OPERATION(BINDING_LIST), &binding_list)->binding_list;
			binding_list.after = list->next;
			asked++;
		} while (list->n_bindings == 0);
		ck_assert_uint_eq(list->bindings[0]->host_pasid, last.v);
		ck_assert_uint_eq(asked, 2);
	}
END_TEST

/* Where the next one begins has its place, however long the entries are. */
START_TEST(a_page_ends_where_its_room_does)
	{
		for (size_t size = 40; size < 80; size++) {
			Pasid__V1__Counter entry = PASID__V1__COUNTER__INIT;
			Pasid__V1__SetListResult *result;
			struct call call = {.d = r->d};
			uint8_t bytes[80];
			struct page page;
			unsigned added = 0;

			entry.limit = entry.hits = UINT64_MAX;
			call.out = wire_out_init(bytes, size);
			page = page_begin(&call, 0, 10);
			do
				page.cursor++;
			while (page_add(&page, &entry.base) && ++added);
			page_end(&page);
			ck_assert(!call.out.full);
			ck_assert_uint_lt(added, 4);
			ck_assert_uint_eq(page.next, added);
			/* whatever the entries are, the number of the next page is a field of its
			 * own */
			result = pasid__v1__set_list_result__unpack(NULL, call.out.size, bytes);
			ck_assert_ptr_nonnull(result);
			ck_assert_uint_eq(result->n_sets, added);
			ck_assert_uint_eq(result->next, added);
			pasid__v1__set_list_result__free_unpacked(result, NULL);
		}
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_set_that_is_not_named_is_none_whatever_is_asked,
		a_set_that_is_not_there_is_found_nowhere,
		a_device_that_is_not_named_is_none,
		a_number_that_is_not_named_is_none,
		an_operation_that_is_not_in_the_table_is_none,
		a_device_that_the_daemon_opens_comes_with_one_descriptor,
		what_was_drained_is_counted,
		a_device_that_is_going_takes_its_bindings_along,
		an_iommu_of_a_kind_that_is_not_known_has_no_name,
		a_guests_table_may_be_nested_on_a_space,
		a_page_of_devices_ends_where_it_is_full,
		a_binding_says_what_it_is_for_the_guest,
		a_request_passes_over_a_bounded_number_of_bindings,
		a_page_ends_where_its_room_does,
	};

	return rig_main(r, "dispatch_names", tests, ARRAY_SIZE(tests));
}
