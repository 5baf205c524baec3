/* SPDX-License-Identifier: MIT */
/* What lists are narrowed to, scopes, replacement, reservations: through datagrams. */
#include "broker_private.h"
#include "dispatch_rig.h"

#include <string.h>

static struct rig rig, *const r = &rig;

static Pasid__V1__SetRef *no_set(void)
{
	static Pasid__V1__SetRef ref;

	pasid__v1__set_ref__init(&ref);
	return &ref;
}

static Pasid__V1__PasidRef host_ref(uint32_t number)
{
	Pasid__V1__PasidRef ref = PASID__V1__PASID_REF__INIT;

	ref.key_case = PASID__V1__PASID_REF__KEY_HOST;
	ref.host = number;
	return ref;
}

static Pasid__V1__DeviceRef by_id(uint64_t device)
{
	Pasid__V1__DeviceRef ref = PASID__V1__DEVICE_REF__INIT;

	ref.key_case = PASID__V1__DEVICE_REF__KEY_ID;
	ref.id = device;
	return ref;
}

static Pasid__V1__DeviceRef by_address(const char *address)
{
	Pasid__V1__DeviceRef ref = PASID__V1__DEVICE_REF__INIT;

	ref.key_case = PASID__V1__DEVICE_REF__KEY_ADDRESS;
	ref.address = (char *)address;
	return ref;
}

static Pasid__V1__BindPair pair_of(uint64_t device, Pasid__V1__Table *table, uint32_t hwpt)
{
	Pasid__V1__BindPair pair = PASID__V1__BIND_PAIR__INIT;

	pasid__v1__table__init(table);
	table->source_case = PASID__V1__TABLE__SOURCE_HWPT;
	table->hwpt = hwpt;
	pair.device = device;
	pair.table = table;
	return pair;
}

static void bind_to(struct link *link, uint32_t number, uint64_t device)
{
	Pasid__V1__Bind bind = PASID__V1__BIND__INIT;
	Pasid__V1__PasidRef ref = host_ref(number);
	Pasid__V1__Table table;
	Pasid__V1__BindPair pair = pair_of(device, &table, 70), *pairs[] = {&pair};

	bind.pasid = &ref;
	bind.pairs = pairs;
	bind.n_pairs = 1;
	(void)rig_ok(r, link, OPERATION(BIND), &bind);
}

/* ---------------------------------------------------------------- filters */

static const char *const addresses[] = {"0000:00:01.0", "0000:00:01.1"}; /* of RIDs 8 and 9 */

/* Two functions, a number on each, and one on none. */
static struct link *make_two(uint64_t devices[static 2], uint32_t numbers[static 3])
{
	struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
	Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;

	for (uint32_t i = 0; i < 3; i++) {
		allocate.data = 50 + i;
		numbers[i] =
			rig_ok(r, vmm, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first;
	}
	for (uint32_t i = 0; i < 2; i++) {
		devices[i] = rig_device(r, vmm, 8 + i, 5);
		bind_to(vmm, numbers[i], devices[i]);
	}
	return vmm;
}

static void lists(struct link *link, const Pasid__V1__GrantList *list, uint32_t number)
{
	const Pasid__V1__GrantListResult *got =
		rig_ok(r, link, OPERATION(GRANT_LIST), list)->grant_list;

	ck_assert_uint_eq(got->n_grants, number ? 1 : 0);
	if (number)
		ck_assert_uint_eq(got->grants[0]->host_pasid, number);
}

START_TEST(numbers_are_listed_by_private_data_and_by_device)
	{
		uint64_t devices[2];
		uint32_t numbers[3];
		struct link *vmm = make_two(devices, numbers);
		Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;
		Pasid__V1__DeviceRef ref;
		Pasid__V1__Free request = PASID__V1__FREE__INIT;
		Pasid__V1__PasidRef third = host_ref(numbers[2]), *thirds[] = {&third};

		for (uint32_t i = 0; i < 3; i++) {
			list.key_case = PASID__V1__GRANT_LIST__KEY_DATA;
			list.data = 50 + i;
			list.device = NULL;
			lists(vmm, &list, numbers[i]);
			list.key_case = PASID__V1__GRANT_LIST__KEY__NOT_SET;
			if (i == 2)
				continue;
			list.device = &ref;
			ref = by_id(devices[i]);
			lists(vmm, &list, numbers[i]);
			ref = by_address(addresses[i]);
			lists(vmm, &list, numbers[i]);
		}
		list.device = &ref;
		ref = by_address("0000:ff:00.0");
		lists(vmm, &list, 0);
		/* what rests has no private data any more */
		request.pasids = thirds;
		request.n_pasids = 1;
		(void)rig_ok(r, vmm, OPERATION(FREE), &request);
		list.device = NULL;
		list.quarantined = true;
		list.key_case = PASID__V1__GRANT_LIST__KEY_DATA;
		list.data = 0;
		lists(vmm, &list, 0);
		list.data = 52;
		lists(vmm, &list, 0);
	}
END_TEST

START_TEST(bindings_are_listed_by_device_and_number)
	{
		uint64_t devices[2];
		uint32_t numbers[3];
		struct link *vmm = make_two(devices, numbers);
		Pasid__V1__BindingList list = PASID__V1__BINDING_LIST__INIT;
		const Pasid__V1__BindingListResult *got;
		Pasid__V1__DeviceRef ref;

		for (uint32_t i = 0; i < 4; i++) {
			ref = i < 2 ? by_id(devices[i]) : by_address(addresses[i - 2]);
			list.device = &ref;
			list.key_case = PASID__V1__BINDING_LIST__KEY__NOT_SET;
			got = rig_ok(r, vmm, OPERATION(BINDING_LIST), &list)->binding_list;
			ck_assert_uint_eq(got->n_bindings, 1);
			ck_assert_uint_eq(got->bindings[0]->device, devices[i % 2]);
			ck_assert_uint_eq(got->bindings[0]->host_pasid, numbers[i % 2]);
			list.key_case = PASID__V1__BINDING_LIST__KEY_HOST_PASID;
			list.host_pasid = numbers[1 - i % 2];
			got = rig_ok(r, vmm, OPERATION(BINDING_LIST), &list)->binding_list;
			ck_assert_uint_eq(got->n_bindings, 0);
		}
	}
END_TEST

START_TEST(a_filter_names_a_device)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		Pasid__V1__DeviceRef refs[] = {
			PASID__V1__DEVICE_REF__INIT, by_id(0), by_address("here")};
		Pasid__V1__GrantList grants = PASID__V1__GRANT_LIST__INIT;
		Pasid__V1__BindingList bindings = PASID__V1__BINDING_LIST__INIT;

		for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
			grants.device = bindings.device = &refs[i];
			rig_refused(r, vmm, OPERATION(GRANT_LIST), &grants, REASON_BAD_ARGUMENT);
			rig_refused(
				r, vmm, OPERATION(BINDING_LIST), &bindings, REASON_BAD_ARGUMENT);
		}
		bindings.set = grants.set = no_set();
		rig_refused(r, vmm, OPERATION(GRANT_LIST), &grants, REASON_BAD_ARGUMENT);
		rig_refused(r, vmm, OPERATION(BINDING_LIST), &bindings, REASON_BAD_ARGUMENT);
	}
END_TEST

/* A participant may know whose a number is, an admin ends its rest: both name what is there. */
START_TEST(sets_that_are_none_are_refused)
	{
		struct link *admin = rig_hello(r, ROLE_ADMIN);
		Pasid__V1__HostFind find = PASID__V1__HOST_FIND__INIT;
		Pasid__V1__QuarantineEnd end = PASID__V1__QUARANTINE_END__INIT;

		find.set = end.set = no_set();
		rig_refused(r, admin, OPERATION(HOST_FIND), &find, REASON_BAD_ARGUMENT);
		rig_refused(r, admin, OPERATION(QUARANTINE_END), &end, REASON_BAD_ARGUMENT);
	}
END_TEST

/* ---------------------------------------------------------------- scopes */

START_TEST(a_number_is_for_some_devices_and_for_more)
	{
		struct link *vmm = rig_hello(r, ROLE_VMM);
		Pasid__V1__SetCreate create = PASID__V1__SET_CREATE__INIT;
		Pasid__V1__Scope scopes[] = {
			PASID__V1__SCOPE__SCOPE_RIDS, PASID__V1__SCOPE__SCOPE_GLOBAL};
		Pasid__V1__Allocate allocate = PASID__V1__ALLOCATE__INIT;
		Pasid__V1__Extend extend = PASID__V1__EXTEND__INIT;
		const Pasid__V1__SetInfo *info;
		Pasid__V1__PasidRef ref;
		uint64_t devices[2], none = 0;

		create.name = (char *)"vm";
		create.scopes = scopes;
		create.n_scopes = 1;
		info = rig_ok(r, vmm, OPERATION(SET_CREATE), &create)->set_create;
		ck_assert_uint_eq(info->n_scopes, 1);
		ck_assert_int_eq(info->scopes[0], PASID__V1__SCOPE__SCOPE_RIDS);
		for (uint32_t i = 0; i < 2; i++)
			devices[i] = rig_device(r, vmm, 8 + i, 5);
		allocate.scope = PASID__V1__SCOPE__SCOPE_RIDS;
		rig_refused(r, vmm, OPERATION(ALLOCATE), &allocate, REASON_BAD_ARGUMENT);
		allocate.devices = devices;
		allocate.n_devices = 1;
		ref = host_ref(
			rig_ok(r, vmm, OPERATION(ALLOCATE), &allocate)->allocate->runs[0]->first);
		rig_refused(r, vmm, OPERATION(EXTEND), &extend, REASON_BAD_ARGUMENT);
		extend.pasid = &ref;
		rig_refused(r, vmm, OPERATION(EXTEND), &extend, REASON_BAD_ARGUMENT);
		extend.n_devices = 1;
		extend.devices = &none;
		rig_refused(r, vmm, OPERATION(EXTEND), &extend, REASON_BAD_ARGUMENT);
		extend.devices = devices;
		extend.n_devices = 2;
		ck_assert_uint_eq(rig_ok(r, vmm, OPERATION(EXTEND), &extend)->extend->added, 1);
		ck_assert_uint_eq(rig_ok(r, vmm, OPERATION(EXTEND), &extend)->extend->added, 0);
		ref = host_ref(77);
		rig_refused(r, vmm, OPERATION(EXTEND), &extend, REASON_NO_PASID);
		extend.set = no_set();
		rig_refused(r, vmm, OPERATION(EXTEND), &extend, REASON_BAD_ARGUMENT);
		allocate.set = no_set();
		rig_refused(r, vmm, OPERATION(ALLOCATE), &allocate, REASON_BAD_ARGUMENT);
	}
END_TEST

/* ---------------------------------------------------------------- replacement */

START_TEST(a_table_is_replaced_of_a_number_or_of_the_function)
	{
		struct link *vmm = rig_vmm(r, "vm", SET_TRANSLATED);
		uint64_t device = rig_device(r, vmm, 8, 5);
		uint32_t number = rig_allocate(r, vmm);
		Pasid__V1__RidAttach attach = PASID__V1__RID_ATTACH__INIT;
		Pasid__V1__Replace replace = PASID__V1__REPLACE__INIT;
		Pasid__V1__PasidRef ref = host_ref(number), nothing = PASID__V1__PASID_REF__INIT;
		Pasid__V1__Table table;
		Pasid__V1__BindPair pair;
		const Pasid__V1__Reply *reply;

		bind_to(vmm, number, device);
		pair = pair_of(device, &table, 70);
		attach.pair = &pair;
		(void)rig_ok(r, vmm, OPERATION(RID_ATTACH), &attach);
		rig_refused(r, vmm, OPERATION(REPLACE), &replace, REASON_BAD_ARGUMENT);
		pair = pair_of(device, &table, 71);
		replace.pair = &pair;
		reply = rig_ok(r, vmm, OPERATION(REPLACE), &replace);
		ck_assert_uint_eq(reply->replace->n_tables, 1);
		ck_assert_uint_eq(reply->replace->tables[0]->hwpt, 71);
		replace.pasid = &nothing;
		rig_refused(r, vmm, OPERATION(REPLACE), &replace, REASON_BAD_ARGUMENT);
		replace.pasid = &ref;
		reply = rig_ok(r, vmm, OPERATION(REPLACE), &replace);
		ck_assert_uint_eq(reply->replace->host_pasid, number);
		replace.set = no_set();
		rig_refused(r, vmm, OPERATION(REPLACE), &replace, REASON_BAD_ARGUMENT);
	}
END_TEST

/* ---------------------------------------------------------------- reservations, status */

START_TEST(reservations_are_listed_behind_the_sets)
	{
		static const struct broker_reservation both[] = {
			{"db", RIG_VMM_UID, 40}, {"web", 8, 20}};
		Pasid__V1__LimitList list = PASID__V1__LIMIT_LIST__INIT;
		const Pasid__V1__LimitListResult *got;
		struct link *admin;
		size_t found = 0;

		rig_close(r);
		rig_config(r);
		r->f.config.reservations = both;
		r->f.config.reservation_count = ARRAY_SIZE(both);
		rig_open(r);
		admin = rig_hello(r, ROLE_ADMIN);
		(void)rig_vmm(r, "db", SET_TRANSLATED);
		list.limit = 1;
		do {
			got = rig_ok(r, admin, OPERATION(LIMIT_LIST), &list)->limit_list;
			ck_assert_uint_le(got->n_limits, 1);
			list.after = got->next;
			if (!got->n_limits ||
				got->limits[0]->level != PASID__V1__LIMIT_LEVEL__LIMIT_RESERVATION)
				continue;
			ck_assert_str_eq(got->limits[0]->set_name, both[found].name);
			ck_assert_uint_eq(got->limits[0]->uid, both[found].uid);
			found++;
		} while (got->next);
		ck_assert_uint_eq(found, ARRAY_SIZE(both));
		list = (Pasid__V1__LimitList)PASID__V1__LIMIT_LIST__INIT;
		got = rig_ok(r, admin, OPERATION(LIMIT_LIST), &list)->limit_list;
		ck_assert_str_eq(got->limits[got->n_limits - 1]->key, "reservations");
	}
END_TEST

/* Whether it was asked for or is the default, which is the same number here, nobody remembers. */
START_TEST(what_changes_a_quota_is_the_command)
	{
		Pasid__V1__LimitList list = PASID__V1__LIMIT_LIST__INIT;
		const Pasid__V1__LimitListResult *got;
		unsigned quotas = 0;

		got = rig_ok(r, rig_vmm(r, "vm", SET_TRANSLATED), OPERATION(LIMIT_LIST), &list)
			      ->limit_list;
		for (size_t i = 0; i < got->n_limits; i++) {
			const Pasid__V1__LimitInfo *info = got->limits[i];
			const bool is_quota = !strcmp(info->resource, "pasids");

			ck_assert_int_eq(is_quota, !strcmp(info->key, "pasidctl set adjust"));
			quotas += is_quota && info->use->limit == r->f.config.set_quota_default;
		}
		ck_assert_uint_eq(quotas, 1);
	}
END_TEST

static bool notes_have(const Pasid__V1__StatusResult *status, const char *text)
{
	bool found = false;

	for (size_t i = 0; i < status->n_notes; i++)
		found = found || strstr(status->notes[i], text);
	return found;
}

START_TEST(status_notes_what_waits)
	{
		struct link *observer = rig_hello(r, ROLE_OBSERVER);
		Pasid__V1__GetStatus get = PASID__V1__GET_STATUS__INIT;
		const Pasid__V1__StatusResult *status;
		struct broker *broker = r->f.broker;
		const enum broker_policy policy = broker->config.policy;

		(void)rig_allocate(r, rig_vmm(r, "vm", SET_TRANSLATED));
		status = rig_ok(r, observer, OPERATION(GET_STATUS), &get)->get_status;
		ck_assert(!notes_have(status, "namespace.policy"));
		ck_assert(!notes_have(status, "set aside"));
		/* as after a start with another configuration */
		broker->config.policy = BROKER_RANDOMIZED;
		broker->ledger.missing = 17;
		status = rig_ok(r, observer, OPERATION(GET_STATUS), &get)->get_status;
		ck_assert(notes_have(status, "namespace.policy"));
		ck_assert(notes_have(status, "17 reserved PASIDs"));
		broker->config.policy = policy;
		broker->ledger.missing = 0;
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		numbers_are_listed_by_private_data_and_by_device,
		bindings_are_listed_by_device_and_number,
		a_filter_names_a_device,
		sets_that_are_none_are_refused,
		a_number_is_for_some_devices_and_for_more,
		a_table_is_replaced_of_a_number_or_of_the_function,
		reservations_are_listed_behind_the_sets,
		what_changes_a_quota_is_the_command,
		status_notes_what_waits,
	};

	return rig_main(r, "dispatch, lists", tests, ARRAY_SIZE(tests));
}
