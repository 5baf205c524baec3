/* SPDX-License-Identifier: MIT */
/* Lists of those who have little on a host where others have much. */
#include "dispatch_rig.h"

static struct rig rig;
static struct rig *const r = &rig;

#define OTHERS 80000u /* more than one request looks at */

static void fill_host(void)
{
	static struct hpasid numbers[4000];
	struct set_create create = {
		.name = "others", .mode = SET_TRANSLATED, .has_quota = true, .quota = OTHERS};
	struct allocate allocate = {.max = PASID_LAST, .count = ARRAY_SIZE(numbers)};

	ck_assert_int_eq(
		broker_set_create(r->f.broker, &r->f.admin, &create, &allocate.set, &r->error), 0);
	for (uint32_t i = 0; i < OTHERS; i += allocate.count)
		ck_assert_int_eq(
			broker_allocate(r->f.broker, &r->f.admin, &allocate, numbers, &r->error),
			0);
}

START_TEST(a_page_may_be_empty_and_yet_not_the_last)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		Pasid__V1__GrantList list = PASID__V1__GRANT_LIST__INIT;
		Pasid__V1__Free request = PASID__V1__FREE__INIT;
		const Pasid__V1__GrantListResult *page;
		unsigned pages = 0, found = 0;
		uint32_t mine;

		fill_host();
		mine = rig_allocate(r, vm1);
		request.all = true;
		(void)rig_ok(r, vm1, OPERATION(FREE), &request);
		list.quarantined = true;
		do {
			page = rig_ok(r, vm1, OPERATION(GRANT_LIST), &list)->grant_list;
			ck_assert(page->next > list.after || page->next == 0);
			list.after = page->next;
			found += page->n_grants == 1 && page->grants[0]->host_pasid == mine;
			pages++;
		} while (page->next);
		ck_assert_uint_eq(found, 1);
		ck_assert_uint_gt(pages, 1);
		/* what is in use is found at once */
		mine = rig_allocate(r, vm1);
		list = (Pasid__V1__GrantList)PASID__V1__GRANT_LIST__INIT;
		page = rig_ok(r, vm1, OPERATION(GRANT_LIST), &list)->grant_list;
		ck_assert_uint_eq(page->n_grants, 1);
		ck_assert_uint_eq(page->grants[0]->host_pasid, mine);
	}
END_TEST

START_TEST(a_list_that_finds_nothing_ends)
	{
		struct link *vm1 = rig_vmm(r, "vm1", 0);
		Pasid__V1__BindingList list = PASID__V1__BINDING_LIST__INIT;
		const Pasid__V1__BindingListResult *page;

		list.key_case = PASID__V1__BINDING_LIST__KEY_HOST_PASID;
		list.host_pasid = 5000;
		page = rig_ok(r, vm1, OPERATION(BINDING_LIST), &list)->binding_list;
		ck_assert_uint_eq(page->n_bindings + page->next, 0);
		list.after = UINT64_MAX;
		page = rig_ok(r, vm1, OPERATION(BINDING_LIST), &list)->binding_list;
		ck_assert_uint_eq(page->n_bindings + page->next, 0);
	}
END_TEST

static void hold(const struct actor *actor, struct set_id set, struct hpasid number)
{
	ck_assert_msg(
		broker_hold(r->f.broker, actor, set, number, &r->error) == 0, "%s", r->error.text);
}

/* Of the holds of others, and a few of one's own between them, one request looks at so many. */
START_TEST(holds_are_found_between_those_of_others)
	{
		static struct hpasid numbers[BROKER_HOLDS_MAX];
		struct link *participant = rig_hello(r, ROLE_PARTICIPANT);
		struct set_create create = {.name = "others",
			.mode = SET_TRANSLATED,
			.has_quota = true,
			.quota = OTHERS};
		struct allocate allocate = {.max = PASID_LAST, .count = ARRAY_SIZE(numbers)};
		struct actor other = r->f.admin, own = r->f.admin;
		Pasid__V1__HoldList list = PASID__V1__HOLD_LIST__INIT;
		const Pasid__V1__HoldListResult *page;
		size_t pages = 0, found = 0, held = 0;

		own.session = link_session(participant);
		ck_assert_int_eq(broker_set_create(r->f.broker, &r->f.admin, &create, &allocate.set,
					 &r->error),
			0);
		for (uint32_t i = 0; i + allocate.count <= OTHERS; i += allocate.count) {
			struct policy_peer peer = {.uid = 5000 + i / (OTHERS / 2)};

			other.session = 100000 + i;
			other.peer = &peer;
			ck_assert_int_eq(broker_allocate(r->f.broker, &r->f.admin, &allocate,
						 numbers, &r->error),
				0);
			for (uint32_t n = 0; n < allocate.count; n++) {
				hold(&other, allocate.set, numbers[n]);
				if (n % 1000 == 0) {
					hold(&own, allocate.set, numbers[n]);
					held++;
				}
			}
		}
		do {
			page = rig_ok(r, participant, OPERATION(HOLD_LIST), &list)->hold_list;
			ck_assert(page->next > list.after || page->next == 0);
			list.after = page->next;
			found += page->n_holds;
			pages++;
		} while (page->next);
		ck_assert_uint_eq(found, held);
		ck_assert_uint_gt(pages, 1);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_page_may_be_empty_and_yet_not_the_last,
		a_list_that_finds_nothing_ends,
		holds_are_found_between_those_of_others,
	};

	return rig_main(r, "dispatch, pages", tests, ARRAY_SIZE(tests));
}
