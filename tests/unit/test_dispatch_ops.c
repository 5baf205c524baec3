/* SPDX-License-Identifier: MIT */
/* Each operation through datagrams: what it does, and how it is refused. */
#include "dispatch_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig, *const r = &rig;

static Pasid__V1__SetRef set_named(const char *name)
{
	Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;

	ref.key_case = PASID__V1__SET_REF__KEY_NAME;
	ref.name = (char *)name;
	return ref;
}

static Pasid__V1__PasidRef host_ref(uint32_t number)
{
	Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT;

	ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
	ref.host = number;
	return ref;
}

/* ---------------------------------------------------------------- sets */

START_TEST(set_create_answers_what_was_made)
	{
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		struct link *vmm = rig_hello(r, ROLE_VMM);
		const Pasid__V1__SetInfo *info;

		create.name = "vm-1.a";
		create.quota_case = PASID__V1__SET_CREATE__QUOTA_PASIDS;
		create.pasids = 10;
		info = rig_ok(r, vmm, OPERATION(SET_CREATE), &create)->set_create;
		ck_assert_uint_ne(info->id, 0);
		ck_assert_str_eq(info->name, "vm-1.a");
		ck_assert_int_eq(info->mode, PASID__V1__SET_MODE__SET_MODE_TRANSLATED);
		ck_assert_uint_eq(info->uid, RIG_VMM_UID);
		ck_assert_uint_eq(info->pasids->limit, 10);
		ck_assert(info->owned_by_session);
		ck_assert_uint_eq(link_set(vmm).v, info->id);
		rig_refused(r, vmm, OPERATION(SET_CREATE), &create, REASON_SET_EXISTS);
		ck_assert_uint_eq(r->error.object, link_set(vmm).v);
	}
END_TEST

START_TEST(names_of_sets_are_checked)
	{
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		struct link *vmm = rig_hello(r, ROLE_VMM), *other = rig_vmm(r, "vm2", 0);

		rig_refused(r, vmm, OPERATION(SET_CREATE), &create, REASON_BAD_ARGUMENT);
		create.name = "no spaces";
		rig_refused(r, vmm, OPERATION(SET_CREATE), &create, REASON_BAD_ARGUMENT);
		create.name = "vm2";
		rig_refused(r, vmm, OPERATION(SET_CREATE), &create, REASON_SET_EXISTS);
		ck_assert_uint_ne(link_set(other).v, 0);
		ck_assert_uint_eq(link_set(vmm).v, 0);
	}
END_TEST

START_TEST(a_vmm_acts_on_its_own_set_only_an_admin_on_any)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef ref = set_named("vm1");
		Pasid__V1__SetGet get = PASID__V1__SET_GET__INIT;

		ck_assert_str_eq(rig_ok(r, vm2, OPERATION(SET_GET), &get)->set_get->name, "vm2");
		rig_refused(r, admin, OPERATION(SET_GET), &get, REASON_NO_SET);
		get.set = &ref;
		ck_assert_str_eq(rig_ok(r, vm1, OPERATION(SET_GET), &get)->set_get->name, "vm1");
		ck_assert_str_eq(rig_ok(r, admin, OPERATION(SET_GET), &get)->set_get->name, "vm1");
		rig_refused(r, vm2, OPERATION(SET_GET), &get, REASON_NO_SET);
		ref.key_case = PASID__V1__SET_REF__KEY_ID;
		ref.id = link_set(vm1).v;
		rig_refused(r, vm2, OPERATION(SET_GET), &get, REASON_NO_SET);
		ck_assert_str_eq(rig_ok(r, admin, OPERATION(SET_GET), &get)->set_get->name, "vm1");
		ref.id = 0;
		rig_refused(r, admin, OPERATION(SET_GET), &get, REASON_BAD_ARGUMENT);
		ref.key_case = PASID__V1__SET_REF__KEY__NOT_SET;
		rig_refused(r, admin, OPERATION(SET_GET), &get, REASON_BAD_ARGUMENT);
	}
END_TEST

START_TEST(a_set_that_an_admin_destroys_is_not_in_the_way_of_another)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__SetRef ref = set_named("vm1");

		destroy.set = &ref;
		(void)rig_allocate(r, vm1);
		rig_refused(r, admin, OPERATION(SET_DESTROY), &destroy, REASON_SET_NOT_EMPTY);
		destroy.force = true;
		(void)rig_ok(r, admin, OPERATION(SET_DESTROY), &destroy);
		create.name = "vm1b";
		(void)rig_ok(r, vm1, OPERATION(SET_CREATE), &create);
		(void)rig_allocate(r, vm1);
	}
END_TEST

START_TEST(a_set_that_is_destroyed_is_nobodys_even_while_its_numbers_cool)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		Pasid__V1__SetDestroy destroy = PASID__V1__SET_DESTROY__INIT;
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;

		(void)rig_allocate(r, vm1);
		destroy.force = true;
		(void)rig_ok(r, vm1, OPERATION(SET_DESTROY), &destroy);
		ck_assert_uint_eq(link_set(vm1).v, 0);
		rig_refused(r, vm1, OPERATION(ALLOCATE), &allocate, REASON_NO_SET);
		create.name = "vm1b";
		(void)rig_ok(r, vm1, OPERATION(SET_CREATE), &create);
	}
END_TEST

START_TEST(a_quota_is_not_lowered_below_use)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		Pasid__V1__SetAdjust adjust = PASID__V1__SET_ADJUST__INIT;

		(void)rig_allocate(r, vm1);
		(void)rig_allocate(r, vm1);
		adjust.pasids = 1;
		rig_refused(r, vm1, OPERATION(SET_ADJUST), &adjust, REASON_BELOW_USE);
		ck_assert_uint_eq(r->error.used, 2);
		adjust.pasids = 2;
		ck_assert_uint_eq(
			rig_ok(r, vm1, OPERATION(SET_ADJUST), &adjust)->set_adjust->pasids->limit,
			2);
	}
END_TEST

START_TEST(a_list_comes_in_pages_that_miss_nothing)
	{
		Pasid__V1__SetList list = PASID__V1__SET_LIST__INIT;
		struct link *observer = rig_hello(r, ROLE_OBSERVER), *vmm = NULL;
		unsigned seen = 0, pages = 0;
		char name[16];

		for (int i = 0; i < 25; i++) {
			(void)snprintf(name, sizeof(name), "vm%d", i);
			vmm = rig_vmm(r, name, 0);
		}
		list.limit = 10;
		do {
			const Pasid__V1__SetListResult *page =
				rig_ok(r, observer, OPERATION(SET_LIST), &list)->set_list;

			for (size_t i = 0; i < page->n_sets; i++) {
				(void)snprintf(name, sizeof(name), "vm%u", seen++);
				ck_assert_str_eq(page->sets[i]->name, name);
			}
			list.after = page->next;
			pages++;
		} while (list.after);
		ck_assert_uint_eq(seen, 25);
		ck_assert_uint_eq(pages, 3);
		list.limit = 0;
		ck_assert_uint_eq(rig_ok(r, vmm, OPERATION(SET_LIST), &list)->set_list->n_sets, 1);
	}
END_TEST

/* ---------------------------------------------------------------- numbers */

START_TEST(allocate_answers_in_runs)
	{
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		const Pasid__V1__AllocateResult *result;

		allocate.lowest_case = PASID__V1__ALLOCATE__LOWEST_MIN;
		allocate.highest_case = PASID__V1__ALLOCATE__HIGHEST_MAX;
		allocate.min = allocate.max = 2002;
		(void)rig_ok(r, vm1, OPERATION(ALLOCATE), &allocate);
		rig_refused(r, vm1, OPERATION(ALLOCATE), &allocate, REASON_NONE_FREE);
		allocate.min = 2000;
		allocate.max = 2005;
		allocate.count = 5;
		result = rig_ok(r, vm1, OPERATION(ALLOCATE), &allocate)->allocate;
		ck_assert_uint_eq(result->n_runs, 2);
		ck_assert_uint_eq(result->runs[0]->count + result->runs[1]->count, 5);
		allocate = (Pasid__V1__Allocate)PASID__V1__ALLOCATE__INIT;
		allocate.count = 64;
		allocate.consecutive = true;
		result = rig_ok(r, vm1, OPERATION(ALLOCATE), &allocate)->allocate;
		ck_assert_uint_eq(result->n_runs, 1);
		ck_assert_uint_eq(result->runs[0]->count, 64);
		ck_assert_uint_eq(result->runs[0]->first % 64, 0);
		allocate.count = 63;
		rig_refused(r, vm1, OPERATION(ALLOCATE), &allocate, REASON_BAD_ARGUMENT);
	}
END_TEST

START_TEST(allocate_checks_devices_and_ranges)
	{
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		uint64_t device;

		r->f.model.width_of[8] = 11;
		device = rig_device(r, vm1, 8, 5);
		allocate.n_devices = 1;
		allocate.devices = &device;
		ck_assert_uint_lt(
			rig_ok(r, vm1, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first,
			2048);
		rig_refused(r, vm2, OPERATION(ALLOCATE), &allocate, REASON_NO_DEVICE);
		device = 0;
		rig_refused(r, vm1, OPERATION(ALLOCATE), &allocate, REASON_BAD_ARGUMENT);
		allocate.n_devices = 0;
		allocate.lowest_case = PASID__V1__ALLOCATE__LOWEST_MIN;
		allocate.min = UINT32_MAX;
		rig_refused(r, vm1, OPERATION(ALLOCATE), &allocate, REASON_BAD_RANGE);
		allocate.min = 0;
		allocate.count = UINT32_MAX;
		rig_refused(r, vm1, OPERATION(ALLOCATE), &allocate, REASON_LIMIT);
	}
END_TEST

START_TEST(free_names_numbers_or_says_all)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		Pasid__V1__Free request = PASID__V1__FREE__INIT;
		Pasid__V1__PasidRef ref = host_ref(rig_allocate(r, vm1));
		Pasid__V1__PasidRef *refs[] = {&ref};
		const Pasid__V1__FreeResult *result;

		rig_refused(r, vm1, OPERATION(FREE), &request, REASON_BAD_ARGUMENT);
		request.n_pasids = 1;
		request.pasids = refs;
		rig_refused(r, vm2, OPERATION(FREE), &request, REASON_NO_PASID);
		result = rig_ok(r, vm1, OPERATION(FREE), &request)->free;
		ck_assert_uint_eq(result->freed, 1);
		result = rig_ok(r, vm1, OPERATION(FREE), &request)->free;
		ck_assert_uint_eq(result->freed, 0);
		ck_assert_uint_eq(result->unchanged, 1);
		request.all = true;
		rig_refused(r, vm1, OPERATION(FREE), &request, REASON_BAD_ARGUMENT);
		(void)rig_allocate(r, vm1);
		request.n_pasids = 0;
		ck_assert_uint_eq(rig_ok(r, vm1, OPERATION(FREE), &request)->free->freed, 1);
		request.all = false;
		request.n_pasids = 1;
		ref.key_case = PASID__V1__PASID_REF__KEY__NOT_SET;
		rig_refused(r, vm1, OPERATION(FREE), &request, REASON_BAD_ARGUMENT);
		ref = host_ref(0);
		rig_refused(r, vm1, OPERATION(FREE), &request, REASON_PASID_ZERO);
	}
END_TEST

START_TEST(two_sets_may_hold_one_guest_pasid)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__GuestFind find = PASID__V1__GUEST_FIND__INIT;
		Pasid__V1__GuestDetach detach = PASID__V1__GUEST_DETACH__INIT;
		Pasid__V1__GuestAttach attach = PASID__V1__GUEST_ATTACH__INIT;
		uint32_t one, two;

		allocate.guest_case = PASID__V1__ALLOCATE__GUEST_GUEST_PASID;
		allocate.guest_pasid = find.guest_pasid = detach.guest_pasid = 7;
		one = rig_ok(r, vm1, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first;
		two = rig_ok(r, vm2, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first;
		ck_assert_uint_ne(one, two);
		rig_refused(r, vm1, OPERATION(ALLOCATE), &allocate, REASON_GUEST_TAKEN);
		ck_assert_uint_eq(
			rig_ok(r, vm2, OPERATION(GUEST_FIND), &find)->guest_find->host_pasid, two);
		(void)rig_ok(r, vm2, OPERATION(GUEST_DETACH), &detach);
		rig_refused(r, vm2, OPERATION(GUEST_FIND), &find, REASON_GUEST_UNKNOWN);
		attach.guest_pasid = 9;
		attach.host_pasid = one;
		rig_refused(r, vm2, OPERATION(GUEST_ATTACH), &attach, REASON_NO_PASID);
		attach.host_pasid = two;
		(void)rig_ok(r, vm2, OPERATION(GUEST_ATTACH), &attach);
	}
END_TEST

START_TEST(host_find_tells_a_vmm_nothing_of_others)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *vm2 = rig_vmm(r, "vm2", 0);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__HostFind find = PASID__V1__HOST_FIND__INIT;
		Pasid__V1__DataSet data = PASID__V1__DATA_SET__INIT;
		Pasid__V1__PasidRef ref;
		char somebodys[300], nobodys[300];
		const Pasid__V1__GrantInfo *info;

		find.host_pasid = rig_allocate(r, vm1);
		ref = host_ref(find.host_pasid);
		data.pasid = &ref;
		data.data = 42;
		(void)rig_ok(r, vm1, OPERATION(DATA_SET), &data);
		rig_refused(r, vm2, OPERATION(DATA_SET), &data, REASON_NO_PASID);
		info = rig_ok(r, vm1, OPERATION(HOST_FIND), &find)->host_find;
		ck_assert_uint_eq(info->data, 42);
		ck_assert_int_eq(info->state, PASID__V1__GRANT_STATE__GRANT_ACTIVE);
		info = rig_ok(r, admin, OPERATION(HOST_FIND), &find)->host_find;
		ck_assert_str_eq(info->set_name, "vm1");
		/* somebody else's and nobody's: the same words, but for the number */
		rig_refused(r, vm2, OPERATION(HOST_FIND), &find, REASON_NO_PASID);
		(void)snprintf(somebodys, sizeof(somebodys), "%s", r->error.text);
		find.host_pasid++;
		rig_refused(r, vm2, OPERATION(HOST_FIND), &find, REASON_NO_PASID);
		(void)snprintf(nobodys, sizeof(nobodys), "%s", r->error.text);
		ck_assert_uint_eq(strlen(somebodys), strlen(nobodys));
		info = rig_ok(r, admin, OPERATION(HOST_FIND), &find)->host_find;
		ck_assert_int_eq(info->state, PASID__V1__GRANT_STATE__GRANT_IDLE);
		ck_assert_uint_eq(info->set, 0);
	}
END_TEST

START_TEST(quarantined_numbers_are_listed_with_their_reason)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__Free request = PASID__V1__FREE__INIT;
		Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;
		Pasid__V1__QuarantineEnd end = PASID__V1__QUARANTINE_END__INIT;
		const Pasid__V1__GrantListResult *page;

		(void)rig_allocate(r, vm1);
		request.all = true;
		(void)rig_ok(r, vm1, OPERATION(FREE), &request);
		ck_assert_uint_eq(
			rig_ok(r, admin, OPERATION(GRANT_LIST), &list)->grant_list->n_grants, 0);
		list.quarantined = true;
		page = rig_ok(r, admin, OPERATION(GRANT_LIST), &list)->grant_list;
		ck_assert_uint_eq(page->n_grants, 1);
		ck_assert_uint_eq(page->grants[0]->n_quarantine, 1);
		ck_assert_str_eq(page->grants[0]->quarantine[0], "cooling");
		ck_assert_uint_eq(page->grants[0]->cooling_ms, 1000);
		end.host_pasid = page->grants[0]->host_pasid;
		(void)rig_ok(r, admin, OPERATION(QUARANTINE_END), &end);
		rig_refused(r, admin, OPERATION(QUARANTINE_END), &end, REASON_NOT_ACTIVE);
	}
END_TEST

START_TEST(a_list_of_a_set_that_is_not_there_says_so)
	{
		static const struct {
			uint32_t operation;
			const ProtobufCMessageDescriptor *type;
		} lists[] = {
			{OPERATION(GRANT_LIST), &pasid__v1__grant_list__descriptor},
			{OPERATION(DEVICE_LIST), &pasid__v1__device_list__descriptor},
			{OPERATION(BINDING_LIST), &pasid__v1__binding_list__descriptor},
			{OPERATION(LIMIT_LIST), &pasid__v1__limit_list__descriptor},
		};
		struct link *vm1 = rig_vmm(r, "vm1", SET_TRANSLATED);
		struct link *vm2 = rig_vmm(r, "vm2", SET_TRANSLATED);
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;
		Pasid__V1__SetGet get = PASID__V1__SET_GET__INIT;

		ref.key_case = PASID__V1__SET_REF__KEY_ID;
		for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
			/* `set` is the first field of all of them. */
			Pasid__V1__GrantList *list = calloc(1, lists[i].type->sizeof_message);

			protobuf_c_message_init(lists[i].type, list);
			list->set = &ref;
			ref.id = rig_ok(r, vm1, OPERATION(SET_GET), &get)->set_get->id;
			(void)rig_ok(r, vm1, lists[i].operation, list);
			(void)rig_ok(r, admin, lists[i].operation, list);
			rig_refused(r, vm2, lists[i].operation, list, REASON_NO_SET);
			ref.id += 1000000;
			rig_refused(r, admin, lists[i].operation, list, REASON_NO_SET);
			free(list);
		}
	}
END_TEST

START_TEST(a_page_of_grants_always_fits_a_datagram)
	{
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;
		char name[65];
		struct link *vm1;
		unsigned seen = 0;

		memset(name, 'x', 64);
		name[64] = 0;
		vm1 = rig_vmm(r, name, 0);
		allocate.count = 1024;
		allocate.data = UINT64_MAX;
		(void)rig_ok(r, vm1, OPERATION(ALLOCATE), &allocate);
		list.limit = UINT32_MAX;
		do {
			const Pasid__V1__GrantListResult *page =
				rig_ok(r, vm1, OPERATION(GRANT_LIST), &list)->grant_list;

			ck_assert_uint_le(page->n_grants, 512);
			for (size_t i = 0; i < page->n_grants; i++)
				ck_assert_uint_eq(page->grants[i]->host_pasid, 1024 + seen++);
			list.after = page->next;
		} while (list.after);
		ck_assert_uint_eq(seen, 1024);
	}
END_TEST

/* ---------------------------------------------------------------- status */

START_TEST(what_happens_at_the_edge_is_in_the_status_by_name)
	{
		/* Programs know these names: they stay as they are. */
		static const char *const names[] = {"hello-timeouts", "stalled-disconnects",
			"abuse-disconnects", "connections-turned-away", "accept-pauses-descriptors",
			"accept-pauses-limit", "datagrams-refused", "connections-held",
			"sessions-handed-over"};
		struct link *link = rig_hello(r, ROLE_OBSERVER);
		Pasid__V1__GetStatus get = PASID__V1__GET_STATUS__INIT;
		const Pasid__V1__StatusResult *status;

		_Static_assert(ARRAY_SIZE(names) == EDGE_COUNT, "a name for each");
		for (unsigned i = 0; i < EDGE_COUNT; i++)
			for (unsigned n = 0; n <= i; n++)
				dispatch_count_edge(r->d, (enum edge_counter)i);
		status = rig_ok(r, link, OPERATION(GET_STATUS), &get)->get_status;
		for (unsigned i = 0; i < EDGE_COUNT; i++) {
			size_t at = 0;

			while (at < status->n_counters &&
				strcmp(status->counters[at]->name, names[i]) != 0)
				at++;
			ck_assert_msg(at < status->n_counters, "%s", names[i]);
			ck_assert_uint_eq(status->counters[at]->value, i + 1);
		}
	}
END_TEST

static uint64_t counter(const Pasid__V1__StatusResult *status, const char *name)
{
	for (size_t i = 0; i < status->n_counters; i++) {
		if (strcmp(status->counters[i]->name, name) == 0)
			return status->counters[i]->value;
	}
	return 0;
}

START_TEST(status_counts_what_there_is_and_what_was_refused)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0), *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__GetStatus get = PASID__V1__GET_STATUS__INIT;
		Pasid__V1__SetGet set_get = PASID__V1__SET_GET__INIT;
		const Pasid__V1__StatusResult *status;

		(void)rig_allocate(r, vm1);
		rig_refused(r, admin, OPERATION(SET_GET), &set_get, REASON_NO_SET);
		r->f.now_ms += 5000;
		status = rig_ok(r, admin, OPERATION(GET_STATUS), &get)->get_status;
		ck_assert_str_eq(status->version, "0.1.0");
		ck_assert_str_eq(status->backend, "simulated");
		ck_assert_uint_eq(status->uptime_ms, 5000);
		ck_assert_uint_eq(status->instance.len, 16);
		ck_assert_uint_eq(status->pasids->current, 1);
		ck_assert_uint_eq(status->sets, 1);
		ck_assert_uint_eq(status->sessions, 2);
		ck_assert_uint_eq(status->reserved_first, 1);
		ck_assert_uint_eq(status->reserved_last, 1023);
		ck_assert_uint_eq(status->pasid_width, PASID_BITS);
		ck_assert_uint_eq(status->n_notes, 1);
		ck_assert_str_eq(status->notes[0], "a simulated IOMMU");
		ck_assert_uint_eq(counter(status, "pasids-allocated"), 1);
		ck_assert_uint_eq(counter(status, "refused-no-set"), 1);
		ck_assert_uint_eq(counter(status, "requests-refused"), 1);
		ck_assert(status->consistent);
		status = rig_ok(r, vm1, OPERATION(GET_STATUS), &get)->get_status;
		ck_assert(!status->consistent); /* not asked: for admins only */
	}
END_TEST

START_TEST(an_admin_confirms_that_no_vmm_holds_a_device)
	{
		Pasid__V1__GetStatus get = PASID__V1__GET_STATUS__INIT;
		Pasid__V1__Recover recover = PASID__V1__RECOVER__INIT;
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		struct link *admin = rig_hello(r, ROLE_ADMIN), *observer;
		struct link *vmm = rig_vmm(r, "vm1", SET_TRANSLATED);
		const Pasid__V1__StatusResult *status;

		observer = rig_hello(r, ROLE_OBSERVER);
		broker_block(r->f.broker);
		rig_refused(r, vmm, OPERATION(ALLOCATE), &allocate, REASON_UNCONFIRMED);
		status = rig_ok(r, observer, OPERATION(GET_STATUS), &get)->get_status;
		ck_assert_uint_ge(status->n_notes, 1);
		ck_assert_str_eq(status->notes[0], BROKER_UNCONFIRMED_TEXT);
		rig_refused(r, admin, OPERATION(RECOVER), &recover, REASON_BAD_ARGUMENT);
		recover.confirm_no_devices = true;
		rig_refused(r, vmm, OPERATION(RECOVER), &recover, REASON_ROLE);
		rig_refused(r, observer, OPERATION(RECOVER), &recover, REASON_ROLE);
		rig_refused(r, vmm, OPERATION(ALLOCATE), &allocate, REASON_UNCONFIRMED);
		ck_assert(rig_ok(r, admin, OPERATION(RECOVER), &recover)->recover->was_blocked);
		ck_assert(!rig_ok(r, admin, OPERATION(RECOVER), &recover)->recover->was_blocked);
		(void)rig_allocate(r, vmm);
		status = rig_ok(r, observer, OPERATION(GET_STATUS), &get)->get_status;
		ck_assert(
			!status->n_notes || strcmp(status->notes[0], BROKER_UNCONFIRMED_TEXT) != 0);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		set_create_answers_what_was_made,
		names_of_sets_are_checked,
		a_vmm_acts_on_its_own_set_only_an_admin_on_any,
		a_set_that_an_admin_destroys_is_not_in_the_way_of_another,
		a_set_that_is_destroyed_is_nobodys_even_while_its_numbers_cool,
		a_quota_is_not_lowered_below_use,
		a_list_comes_in_pages_that_miss_nothing,
		allocate_answers_in_runs,
		allocate_checks_devices_and_ranges,
		free_names_numbers_or_says_all,
		two_sets_may_hold_one_guest_pasid,
		host_find_tells_a_vmm_nothing_of_others,
		quarantined_numbers_are_listed_with_their_reason,
		a_list_of_a_set_that_is_not_there_says_so,
		a_page_of_grants_always_fits_a_datagram,
		what_happens_at_the_edge_is_in_the_status_by_name,
		status_counts_what_there_is_and_what_was_refused,
		an_admin_confirms_that_no_vmm_holds_a_device,
	};

	return rig_main(r, "dispatch_ops", tests, ARRAY_SIZE(tests));
}
