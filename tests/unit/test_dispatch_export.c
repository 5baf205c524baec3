/* SPDX-License-Identifier: MIT */
/* The request for an exported map: who gets a descriptor, how many, and what becomes of them. */
#include "dispatch_rig.h"

#include <string.h>

static struct rig rig, *const r = &rig;

static void ask(struct link *link, uint64_t *ret_set)
{
	Pasid__V1__SetExport export = PASID__V1__SET_EXPORT__INIT;
	const Pasid__V1__SetExportResult *result =
		rig_ok(r, link, OPERATION(SET_EXPORT), &export)->set_export;

	ck_assert_uint_eq(result->size, EXPORT_SIZE);
	ck_assert_uint_eq(result->version, EXPORT_VERSION);
	*ret_set = result->set;
}

START_TEST(a_vmm_gets_its_own_map)
	{
		struct link *vmm = rig_vmm(r, "vm1", 0);
		uint64_t set;

		ask(vmm, &set);
		ck_assert_uint_eq(set, link_set(vmm).v);
		ck_assert_int_eq(r->got_fd, RIG_HANDED_FD);
		ck_assert_uint_eq(r->own_closed_count, 1); /* our copy, once it was sent */
		ask(vmm, &set);
		ck_assert_int_eq(r->got_fd, RIG_HANDED_FD + 1);
	}
END_TEST

START_TEST(nobody_elses_and_no_observer)
	{
		Pasid__V1__SetExport export = PASID__V1__SET_EXPORT__INIT;
		Pasid__V1__SetRef ref = PASID__V1__SET_REF__INIT;
		struct link *vmm = rig_vmm(r, "vm1", 0), *other = rig_vmm(r, "vm2", 0);
		struct link *observer = rig_hello(r, ROLE_OBSERVER);
		struct link *admin = rig_hello(r, ROLE_ADMIN);

		ref.key_case = PASID__V1__SET_REF__KEY_NAME;
		ref.name = (char *)"vm1";
		export.set = &ref;
		rig_refused(r, other, OPERATION(SET_EXPORT), &export, REASON_NO_SET);
		rig_refused(r, observer, OPERATION(SET_EXPORT), &export, REASON_ROLE);
		(void)rig_ok(r, admin, OPERATION(SET_EXPORT), &export);
		ck_assert_uint_eq(r->hands, 1);
		(void)vmm;
	}
END_TEST

START_TEST(a_connection_is_given_a_few)
	{
		Pasid__V1__SetExport export = PASID__V1__SET_EXPORT__INIT;
		struct link *vmm = rig_vmm(r, "vm1", 0);
		uint64_t set;

		for (unsigned i = 0; i < 8; i++)
			ask(vmm, &set);
		rig_refused(r, vmm, OPERATION(SET_EXPORT), &export, REASON_LIMIT);
		ck_assert_uint_eq(r->hands, 8);
		ck_assert_uint_eq(r->own_closed_count, 8);
	}
END_TEST

START_TEST(without_a_descriptor_it_may_be_asked_again)
	{
		Pasid__V1__SetExport export = PASID__V1__SET_EXPORT__INIT;
		struct link *vmm = rig_vmm(r, "vm1", 0);
		uint64_t set;

		r->refuse_hand = REASON_OVERLOAD;
		rig_refused(r, vmm, OPERATION(SET_EXPORT), &export, REASON_OVERLOAD);
		r->refuse_hand = REASON_NONE;
		ask(vmm, &set);
		ck_assert_uint_eq(r->f.exports.count, 1);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_vmm_gets_its_own_map, nobody_elses_and_no_observer,
		a_connection_is_given_a_few, without_a_descriptor_it_may_be_asked_again};

	return rig_main(&rig, "dispatch_export", tests, ARRAY_SIZE(tests));
}
