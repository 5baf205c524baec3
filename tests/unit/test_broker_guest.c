/* SPDX-License-Identifier: MIT */
/* F7, F32: a guest's own table under the RID of a device, which it claims whole. */
#include "broker_private.h"
#include "limit_rig.h"
#include "suite.h"

#include <string.h>

#define PLAIN  6 /* a function behind VT-d */
#define SHARED 5
#define OTHER  3 /* a function behind another SMMU */

static struct actor g, a; /* the guest's set; one with numbers */
static struct device_id g1, g4;

static const struct set_id own = {0};
/* An entry that translates: valid, S1, a PASID table of 64 entries at 0x1000. */
static const struct hw_table entry = {.kind = HW_TABLE_SMMUV3,
	.parent_kind = HW_TABLE_HWPT,
	.id = 40,
	.ste = {UINT64_C(6) << 59 | 0x1000 | 5 << 1 | 1, 0},
	.stream = 8};

static void open_with(uint32_t width)
{
	fixture_config(&f);
	f.config.pasid_width = width;
	f.model.group_of[2] = f.model.group_of[1]; /* functions 1 and 2 are one group */
	f.model.group_of[9] = f.model.group_of[8]; /* and so are 8 and 9 */
	f.model.smmu_of[8] = f.model.smmu_of[9] = true;
	for (uint32_t rid = 0; rid < PLAIN; rid++)
		f.model.smmu_of[rid] = true;
	f.model.unit_of[OTHER] = 1;
	fixture_open(&f);
	g = fixture_vmm(&f, 10, "g", SET_GUEST_OWNED, 20);
	a = fixture_vmm(&f, 11, "a", SET_TRANSLATED, 20);
	g1 = fixture_add(&f, &g, 1, 10);
	g4 = fixture_add(&f, &g, 4, 10);
}

static void setup(void)
{
	open_with(0);
}

static void teardown(void)
{
	fixture_leave(&f);
}

/* ------------------------------------------------------------------ requests */

static struct outcome outcome_of(int r)
{
	struct outcome outcome = {.status = r};

	if (r)
		outcome.error = f.error;
	else
		outcome = fixture_outcome(&f, 7);
	f.error = outcome.error;
	fixture_recount(&f);
	return outcome;
}

static struct outcome attach_as(
	const struct actor *actor, struct device_id device, const struct hw_table *table)
{
	const struct bind_pair pair = {device, *table};

	return outcome_of(broker_rid_attach(f.broker, actor, own, &pair, 7, &f.error));
}

static struct outcome attach(struct device_id device, uint32_t stream)
{
	struct hw_table table = entry;

	table.stream = stream;
	return attach_as(&g, device, &table);
}

static struct outcome replace(struct device_id device, const struct hw_table *table)
{
	const struct bind_pair pair = {device, *table};

	return outcome_of(broker_replace(f.broker, &g, own, NULL, &pair, 7, &f.error));
}

static int detach(struct device_id device)
{
	return outcome_of(broker_rid_detach(f.broker, &g, own, device, 7, &f.error)).status;
}

static void refused(struct outcome outcome, enum reason reason)
{
	ck_assert_int_ne(outcome.status, 0);
	ck_assert_msg(outcome.error.reason == (uint32_t)reason, "%s", outcome.error.text);
}

static void done(struct outcome outcome)
{
	ck_assert_msg(outcome.status == 0, "%s", outcome.error.text);
}

/* What is told of the device's RID; state BINDING_FREE: nothing is attached. */
static struct binding_info binding_on(struct device_id device)
{
	struct binding_info info;
	uint64_t cursor = 0;

	while (broker_binding_next(f.broker, &f.admin, own, &cursor, &info)) {
		if (info.device.v == device.v)
			return info;
	}
	return (struct binding_info){.state = BINDING_FREE};
}

static const struct hw_table *standing(uint32_t rid)
{
	const struct model_entry *found = model_entry_in(&f.model, rid, 0);

	return found ? &found->table : NULL;
}

/* The list says of the first device's RID what the reply said. */
static void told_as(const struct attached_table *table)
{
	const struct binding_info info = binding_on(g1);

	ck_assert_uint_eq(info.device.v, table->device.v);
	ck_assert_uint_eq(info.table.pt_id, table->pt_id);
	ck_assert_uint_eq(info.table.viommu, table->viommu);
	ck_assert_uint_eq(info.table.vdevice, table->vdevice);
	ck_assert_uint_eq(info.table.stream, table->stream);
	ck_assert(info.table.made == table->made && !info.has_pasid);
	ck_assert_int_eq(info.state, BINDING_BOUND);
}

/* ------------------------------------------------------------------ what is done */

/* F7 F32 */
START_TEST(a_guests_entry_is_installed_replaced_and_removed)
	{
		struct hw_table bypass = entry;
		struct outcome outcome = attach(g1, 8);
		uint32_t hwpt = outcome.tables[0].pt_id;

		done(outcome);
		ck_assert_uint_eq(outcome.table_count, 1);
		ck_assert_uint_eq(outcome.tables[0].device.v, g1.v);
		ck_assert(outcome.tables[0].made);
		ck_assert_uint_eq(outcome.tables[0].viommu, 700 + (uint32_t)(g.set.v & 0xff));
		ck_assert_uint_eq(outcome.tables[0].vdevice, 801);
		ck_assert_uint_eq(outcome.tables[0].stream, 8);
		ck_assert_uint_eq(standing(1)->ste[0], entry.ste[0]);
		told_as(&outcome.tables[0]);
		bypass.ste[0] = 4 << 1 | 1;
		outcome = replace(g1, &bypass);
		done(outcome);
		ck_assert_uint_ne(outcome.tables[0].pt_id, hwpt);
		ck_assert_uint_eq(outcome.tables[0].vdevice, 801);
		ck_assert_uint_eq(standing(1)->ste[0], bypass.ste[0]);
		told_as(&outcome.tables[0]);
		ck_assert_int_eq(detach(g1), 0);
		ck_assert_ptr_null(standing(1));
		ck_assert_int_eq(detach(g1), STATUS_NOT_FOUND);
	}
END_TEST

/* The guest's table is made by the daemon, its second stage only if that is an address space. */
START_TEST(page_tables_are_charged)
	{
		struct hw_table space = entry;

		space.parent_kind = HW_TABLE_SPACE;
		space.id = 2;
		done(attach(g1, 8));
		ck_assert_uint_eq(limit_use(&g, RESOURCE_PAGE_TABLES), 1);
		ck_assert_int_eq(detach(g1), 0);
		done(attach_as(&g, g1, &space));
		ck_assert_uint_eq(limit_use(&g, RESOURCE_PAGE_TABLES), 2);
		done(replace(g1, &space));
		ck_assert_uint_eq(limit_use(&g, RESOURCE_PAGE_TABLES), 2);
		space.stream = 9;
		done(attach_as(&g, g4, &space));
		ck_assert_uint_eq(limit_use(&g, RESOURCE_PAGE_TABLES), 4);
		ck_assert_int_eq(detach(g1), 0);
		ck_assert_int_eq(detach(g4), 0);
		ck_assert_uint_eq(limit_use(&g, RESOURCE_PAGE_TABLES), 0);
		space.id = BROKER_SPACES_MAX;
		refused(attach_as(&g, g1, &space), REASON_TABLE_ID);
	}
END_TEST

/* ------------------------------------------------------------------ whose sets have one */

/* F7 */
START_TEST(only_sets_of_guests_have_one_and_they_have_nothing_else)
	{
		const struct hw_table plain = {.kind = HW_TABLE_HWPT, .id = 1};
		const struct device_id a3 = fixture_add(&f, &a, OTHER, 11);
		const struct hpasid host = fixture_allocate(&f, &a);
		const struct bind_pair pair = {a3, entry};

		refused(attach_as(&a, a3, &entry), REASON_SET_MODE);
		refused(outcome_of(broker_bind(f.broker, &a, own,
				(struct pasid_ref){.number = host.v}, &pair, 1, 7, &f.error)),
			REASON_SET_MODE);
		refused(attach_as(&g, g1, &plain), REASON_SET_MODE);
		done(attach(g1, 8));
		refused(replace(g1, &plain), REASON_SET_MODE);
		ck_assert_uint_eq(standing(1)->ste[0], entry.ste[0]);
		ck_assert_ptr_null(standing(OTHER));
	}
END_TEST

/* F32 */
START_TEST(it_takes_an_smmuv3_that_nests)
	{
		struct device_id device = fixture_add(&f, &g, PLAIN, 10);

		refused(attach(device, 8), REASON_NO_NESTING);
		f.model.lacks = HW_CAP_NESTED;
		device = fixture_add(&f, &g, OTHER, 10);
		refused(attach(device, 8), REASON_NO_NESTING);
	}
END_TEST

START_TEST(a_slice_has_no_rid_to_claim)
	{
		(void)fixture_share(&f, SHARED);
		refused(attach(fixture_slice(&f, &g, SHARED), 8), REASON_DEVICE_SHARED);
	}
END_TEST

/* F36: the smallest of device, IOMMU and configuration. */
START_TEST(the_guests_table_is_as_wide_as_what_is_told)
	{
		struct hw_table wide = entry;
		struct device_info info;

		teardown();
		open_with(8);
		ck_assert_int_eq(broker_device_get(f.broker, &g, g1, &info, &f.error), 0);
		ck_assert_uint_eq(info.hw.pasid_width, 8);
		wide.ste[0] = UINT64_C(9) << 59 | 5 << 1 | 1;
		refused(attach_as(&g, g1, &wide), REASON_TABLE_FIELD);
		ck_assert_uint_eq(f.error.limit, 8);
		wide.ste[0] ^= 1; /* not valid: it aborts, whatever else it says */
		done(attach_as(&g, g1, &wide));
		ck_assert_int_eq(detach(g1), 0);
		wide.ste[0] = UINT64_C(8) << 59 | 5 << 1 | 1;
		done(attach_as(&g, g1, &wide));
		f.model.width_of[OTHER] = 0;
		refused(attach_as(&g, fixture_add(&f, &g, OTHER, 10), &wide), REASON_TABLE_FIELD);
	}
END_TEST

/* ------------------------------------------------------------------ stream ids */

START_TEST(a_stream_is_one_devices)
	{
		const struct device_id g3 = fixture_add(&f, &g, OTHER, 10);
		const struct device_id g2 = fixture_add(&f, &g, 2, 10);

		done(attach(g1, 8));
		refused(attach(g4, 8), REASON_STREAM_TAKEN);
		refused(attach(g2, 8), REASON_RID_ATTACHED); /* one entry for the group */
		done(attach(g3, 8));                         /* behind another IOMMU */
		done(attach(g4, 9));
		ck_assert_int_eq(detach(g1), 0);
		ck_assert_int_eq(detach(g4), 0);
		done(attach(g4, 8));
		refused(attach(g1, 8), REASON_STREAM_TAKEN);
		/* another set's are another guest's */
		const struct actor other = fixture_vmm(&f, 12, "h", SET_GUEST_OWNED, 1);
		done(attach_as(&other, fixture_add(&f, &other, 0, 12), &entry));
	}
END_TEST

START_TEST(an_entry_is_replaced_by_one_of_its_stream)
	{
		struct binding_slot *slots = f.state.table[STATE_BINDINGS];
		struct hw_table moved = entry;
		const uint64_t word = (done(attach(g1, 8)), slots[0].word);

		moved.stream = 9;
		refused(replace(g1, &moved), REASON_STREAM_FIXED);
		ck_assert_uint_eq(f.error.used, 8);
		moved = entry;
		moved.id++;
		refused(replace(g1, &moved), REASON_STREAM_FIXED);
		moved = entry;
		moved.parent_kind = HW_TABLE_IOAS;
		refused(replace(g1, &moved), REASON_STREAM_FIXED);
		refused(replace(g4, &entry), REASON_NOT_BOUND);
		/* what a daemon attached that let such sets have other tables */
		slots[0].word = word ^ (uint64_t)(HW_TABLE_SMMUV3 ^ HW_TABLE_HWPT)
					       << BINDING_KIND_SHIFT;
		refused(replace(g1, &entry), REASON_STREAM_FIXED);
		ck_assert_uint_eq(binding_on(g1).table.vdevice, 0);
		slots[0].word = word;
		done(replace(g1, &entry));
	}
END_TEST

/* ------------------------------------------------------------------ beside numbers */

static int allocate_on(const struct actor *actor, struct device_id device, uint32_t number)
{
	const struct allocate allocate = {.min = number,
		.max = number,
		.count = 1,
		.devices = &device,
		.device_count = 1,
		.scope = SCOPE_RIDS};
	struct hpasid host;
	const int r = broker_allocate(f.broker, actor, &allocate, &host, &f.error);

	fixture_recount(&f);
	return r;
}

/* F7: what was claimed of the group's table comes first. */
START_TEST(it_waits_for_numbers_of_its_group)
	{
		const struct device_id a3 = fixture_add(&f, &a, OTHER, 11);
		struct device_id g3;

		ck_assert_int_eq(allocate_on(&a, a3, 7), 0);
		ck_assert_int_eq(broker_device_remove(f.broker, &a, own, a3, 7, &f.error), 0);
		done(outcome_of(0));
		g3 = fixture_add(&f, &g, OTHER, 10);
		refused(attach(g3, 8), REASON_RID_PASIDS);
		ck_assert_int_eq(fixture_free(&f, &a, (struct hpasid){7}), 0);
		refused(attach(g3, 8), REASON_RID_PASIDS); /* it cools */
		fixture_pass_second(&f);
		done(attach(g3, 8));
	}
END_TEST

/* F7: as does one that a dead worker left at another function, until that is bound anew. */
START_TEST(it_waits_for_numbers_that_a_dead_worker_left)
	{
		const struct device_id a8 = fixture_add(&f, &a, 8, 11);
		struct device_id g9;

		ck_assert_int_eq(fixture_bind(&f, &a, fixture_allocate(&f, &a), &a8, 1), 0);
		model_lose_lane(&f, a.set.v);
		g9 = fixture_add(&f, &g, 9, 10);
		refused(attach(g9, 8), REASON_RID_PASIDS);
		(void)fixture_add(&f, &g, 8, 10);
		done(attach(g9, 8));
	}
END_TEST

/* F7: and nobody gets a number where it stands, or where a dead worker left it. */
START_TEST(no_number_is_had_beside_it)
	{
		const struct hpasid host = fixture_allocate(&f, &a);
		const struct device_id a3 = fixture_add(&f, &a, OTHER, 11);
		struct device_id a2;
		uint32_t added;

		ck_assert_int_eq(allocate_on(&a, a3, 7), 0);
		done(attach(g1, 8));
		model_lose_lane(&f, g.set.v);
		ck_assert_int_eq(binding_on(g1).state, BINDING_TAINTED);
		ck_assert_uint_eq(binding_on(g1).table.stream, 8);
		a2 = fixture_add(&f, &a, 2, 11); /* the other function of the group */
		ck_assert_int_eq(allocate_on(&a, a2, 8), STATUS_STATE);
		ck_assert_uint_eq(f.error.reason, REASON_RID_CLAIMED);
		ck_assert_int_ne(broker_extend(f.broker, &a, own, (struct pasid_ref){.number = 7},
					 &a2, 1, &added, &f.error),
			0);
		ck_assert_uint_eq(f.error.reason, REASON_RID_CLAIMED);
		ck_assert_int_ne(fixture_bind(&f, &a, host, &a2, 1), 0);
		ck_assert_uint_eq(f.error.reason, REASON_RID_CLAIMED);
		(void)fixture_add(&f, &a, 1, 11);
		ck_assert_int_eq(allocate_on(&a, a2, 8), 0);
		ck_assert_int_eq(fixture_bind(&f, &a, host, &a2, 1), 0);
		fixture_recount(&f);
	}
END_TEST

/* What is queued in a device that was shared would go through the guest's table. */
START_TEST(it_waits_for_what_is_queued_in_the_device)
	{
		const struct device_id shared = fixture_share(&f, SHARED);
		const struct device_id slice = fixture_slice(&f, &a, SHARED);
		const struct hpasid host = fixture_allocate(&f, &a);
		struct device_id g5;
		uint32_t released;

		ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
		ck_assert_int_eq(fixture_unbind(&f, &a, host), 0);
		model_lose_lane(&f, BROKER_SHARED_LANE | shared.v);
		g5 = fixture_add(&f, &g, SHARED, 10);
		refused(attach(g5, 8), REASON_RID_PASIDS);
		ck_assert_int_eq(
			broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
		done(attach(g5, 8));
	}
END_TEST

/*
 * A shared device is lost with its worker, under a number of which a detach had failed or not; its
 * neighbour is the guest's. What is left of the number may be queued in the device, so it comes
 * first, whatever becomes of its set meanwhile.
 */
static void end_lost(bool tainted, unsigned how)
{
	const struct device_id shared = fixture_share(&f, 8), slice = fixture_slice(&f, &a, 8);
	const struct hpasid host = fixture_allocate(&f, &a);
	struct device_id g9;
	uint32_t released;

	ck_assert_int_eq(fixture_bind(&f, &a, host, &slice, 1), 0);
	if (tainted) {
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
		ck_assert_int_ne(fixture_unbind(&f, &a, host), 0);
	}
	model_lose_lane(&f, BROKER_SHARED_LANE | shared.v);
	g9 = fixture_add(&f, &g, 9, 10);
	refused(attach(g9, 8), REASON_RID_PASIDS);
	if (how == 0)
		broker_session_end(f.broker, 11);
	else if (how == 1)
		(void)outcome_of(broker_device_remove(f.broker, &a, own, slice, 7, &f.error));
	else
		ck_assert_int_eq(fixture_free(&f, &a, host), 0);
	model_run(&f);
	fixture_pass_second(&f);
	refused(attach(g9, 8), REASON_RID_PASIDS);
	ck_assert_int_eq(broker_device_drained(f.broker, &f.admin, shared, &released, &f.error), 0);
	done(attach(g9, 8));
	fixture_settle(&f);
	fixture_restart(&f, fixture_all_stand, NULL);
	model_run(&f);
	fixture_recount(&f);
	ck_assert_ptr_nonnull(standing(9));
}

START_TEST(it_waits_for_what_a_lost_shared_device_left)
	{
		for (unsigned how = 0; how < 6; how++) {
			end_lost(how % 2, how / 2);
			teardown();
			setup();
		}
	}
END_TEST

static void found(const char *what)
{
	struct error error;

	ck_assert_int_eq(broker_recount(f.broker, &error), STATUS_INTERNAL);
	ck_assert_msg(strstr(error.text, what) != NULL, "%s", error.text);
}

START_TEST(the_recount_sees_numbers_beside_it)
	{
		struct broker *b = f.broker;
		const struct device_id a3 = fixture_add(&f, &a, OTHER, 11);
		const uint32_t set = set_slot_of(b, g.set);
		struct device_slot *slot = &b->device_slots[device_slot_of(b, a3)];
		const uint32_t group = slot->group;
		const uint64_t word = b->set_slots[set].word;

		ck_assert_int_eq(fixture_bind(&f, &a, fixture_allocate(&f, &a), &a3, 1), 0);
		ck_assert_int_eq(allocate_on(&a, a3, 7), 0);
		done(attach(g1, 8));
		b->set_slots[set].word ^= (SET_GUEST_OWNED ^ SET_TRANSLATED) << 4;
		found("T: a set with numbers");
		b->set_slots[set].word = word;
		slot->group = f.model.group_of[1];
		found("T: a number is there");
		slot->group = group;
		b->device_slots[device_slot_of(b, g1)].group = group;
		found("T: a number is there");
		b->device_slots[device_slot_of(b, g1)].group = f.model.group_of[1];
		fixture_recount(&f);
	}
END_TEST

/* ------------------------------------------------------------------ ends */

/* F38 */
START_TEST(it_goes_with_its_vm)
	{
		done(attach(g1, 8));
		broker_session_end(f.broker, 10);
		model_run(&f);
		ck_assert_ptr_null(standing(1));
		ck_assert_uint_eq(limit_host_use(RESOURCE_PAGE_TABLES), 0);
	}
END_TEST

START_TEST(it_goes_with_a_device_that_is_unplugged)
	{
		done(attach(g1, 8));
		refused(outcome_of(broker_device_remove(f.broker, &g, own, g1, 7, &f.error)),
			REASON_DEVICE_BUSY);
		done(outcome_of(broker_device_going(f.broker, &g, own, g1, 7, &f.error)));
		ck_assert_ptr_null(standing(1));
		ck_assert_int_eq(binding_on(g1).state, BINDING_FREE);
	}
END_TEST

START_TEST(what_fails_leaves_nothing_or_is_tainted)
	{
		model_arrange(&f, HW_ATTACH, STATUS_HARDWARE, 0, 1);
		refused(attach(g1, 8), REASON_KERNEL_REFUSED);
		ck_assert_int_eq(binding_on(g1).state, BINDING_FREE);
		done(attach(g4, 8)); /* the stream is free again */
		done(attach(g1, 9));
		f.model.fail_left = HW_LEFT_EARLIER;
		model_arrange(&f, HW_REPLACE, STATUS_HARDWARE, 0, 1);
		refused(replace(g4, &entry), REASON_KERNEL_REFUSED);
		ck_assert_uint_eq(binding_on(g4).table.stream, 8);
		model_arrange(&f, HW_DETACH, STATUS_HARDWARE, 0, 1);
		ck_assert_int_ne(detach(g1), 0);
		ck_assert_int_eq(binding_on(g1).state, BINDING_TAINTED);
		refused(attach(g1, 9), REASON_DEVICE_TAINTED);
		ck_assert_int_eq(detach(g1), 0);
		done(attach(g1, 9));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_guests_entry_is_installed_replaced_and_removed,
		page_tables_are_charged,
		only_sets_of_guests_have_one_and_they_have_nothing_else,
		it_takes_an_smmuv3_that_nests,
		a_slice_has_no_rid_to_claim,
		the_guests_table_is_as_wide_as_what_is_told,
		a_stream_is_one_devices,
		an_entry_is_replaced_by_one_of_its_stream,
		it_waits_for_numbers_of_its_group,
		it_waits_for_numbers_that_a_dead_worker_left,
		no_number_is_had_beside_it,
		it_waits_for_what_is_queued_in_the_device,
		it_waits_for_what_a_lost_shared_device_left,
		the_recount_sees_numbers_beside_it,
		it_goes_with_its_vm,
		it_goes_with_a_device_that_is_unplugged,
		what_fails_leaves_nothing_or_is_tainted,
	};

	return suite_run(
		"broker: guests' own tables", "guest", tests, ARRAY_SIZE(tests), setup, teardown);
}
