/* SPDX-License-Identifier: MIT */
/* Devices that come and go, their memory, their RIDs and the ends of sets, while any call into the
 * kernel fails. */
#include "fault_trial.h"
#include "suite.h"

#include <stdio.h>
#include <unistd.h>

static struct hardware h;
static struct device_id devices[HARDWARE_MAX], device; /* the last is the one that it is about */
static struct hpasid hosts[HARDWARE_MAX];
static int kept[HARDWARE_MAX]; /* copies of the VMM's */
static const struct set_id own = {0};

static void setup(void)
{
	hardware_open(&h);
}

static void teardown(void)
{
	hardware_close(&h);
}

static void must(int status)
{
	ck_assert_msg(status == 0, "%s", h.f.error.text);
}

static struct rid rid_of(const struct trial *trial)
{
	return hardware_rid(trial->kind, trial->count - 1);
}

static void never(const struct trial *trial, const char *where)
{
	(void)trial;
	ck_abort_msg("%s: something is tainted", where);
}

static struct trial trial_of(const char *name, enum hardware_kind kind)
{
	struct trial trial = {.h = &h, .kind = kind, .mend = never};

	(void)snprintf(trial.name, sizeof(trial.name), "%s", name);
	return trial;
}

/* ------------------------------------------------------------------ devices come */

static int add_passed(const struct trial *trial)
{
	return hardware_add(&h, rid_of(trial), NULL, &device);
}

static int add_opened(const struct trial *trial)
{
	return hardware_add_opened(&h, rid_of(trial), &device);
}

static int share(const struct trial *trial)
{
	return hardware_share(&h, rid_of(trial), &device);
}

static void remove_again(const struct trial *trial)
{
	(void)trial;
	must(hardware_remove(&h, device));
}

/* One device after the other, beside those that are there already. */
static void each_add(const char *name, enum hardware_kind kind, int (*add)(const struct trial *))
{
	struct trial trial = trial_of(name, kind);

	trial.act = add;
	trial.take_back = remove_again;
	for (trial.count = 1; trial.count <= HARDWARE_MAX; trial.count++) {
		trial_run(&trial);
		must(add(&trial));
	}
	ck_assert_uint_gt(trial.failed, 0);
	trial_tried(&h, FAULTY_HW_INFO);
	trial_tried(&h, FAULTY_BIND);
}

START_TEST(a_device_that_is_passed_is_registered_or_let_go_of)
	{
		each_add("a registration", HARDWARE_ALONE, add_passed);
	}
END_TEST

START_TEST(a_device_of_a_group_is_registered_or_let_go_of)
	{
		each_add("a registration in a group", HARDWARE_GROUPS, add_passed);
	}
END_TEST

START_TEST(a_device_that_is_opened_is_registered_or_closed)
	{
		each_add("a registration by address", HARDWARE_ALONE, add_opened);
		trial_tried(&h, FAULTY_OPEN_DEVICE);
	}
END_TEST

START_TEST(a_device_is_shared_or_closed)
	{
		each_add("sharing", HARDWARE_SHARED, share);
		trial_tried(&h, FAULTY_OPEN_IOMMUFD);
		trial_tried(&h, FAULTY_WATCH);
	}
END_TEST

/* ------------------------------------------------------------------ devices go */

static int remove_one(const struct trial *trial)
{
	(void)trial;
	return hardware_remove(&h, device);
}

static void come_again(const struct trial *trial)
{
	device = hardware_device(&h, trial->kind, trial->count - 1);
	must(hardware_map(&h, device, 1));
}

/* A slice with two spaces: its part of the shared device alone goes. */
static void slice_again(const struct trial *trial)
{
	device = fixture_slice(&h.f, &h.vmm, rid_of(trial).v);
	must(hardware_map(&h, device, 0));
	must(hardware_map(&h, device, 1));
}

START_TEST(a_device_goes_whatever_the_kernel_does_not_destroy)
	{
		struct trial trial = trial_of("a removal", HARDWARE_ALONE);

		trial.act = remove_one;
		trial.take_back = come_again;
		for (trial.count = 1; trial.count <= HARDWARE_MAX; trial.count++) {
			come_again(&trial);
			trial_run(&trial);
		}
		ck_assert_uint_eq(trial.failed, 0);
		trial_tried(&h, FAULTY_DESTROY);
	}
END_TEST

START_TEST(a_slice_that_cannot_go_can_be_removed_later)
	{
		struct trial trial = trial_of("a removal of a slice", HARDWARE_SHARED);

		trial.act = remove_one;
		trial.take_back = slice_again;
		for (trial.count = 1; trial.count <= HARDWARE_MAX; trial.count++) {
			come_again(&trial);
			trial_run(&trial);
		}
		ck_assert_uint_gt(trial.failed, 0);
		trial_tried(&h, FAULTY_DESTROY);
	}
END_TEST

/* ------------------------------------------------------------------ memory */

static int map(const struct trial *trial)
{
	return hardware_map(&h, device, trial->table);
}

static int unmap(const struct trial *trial)
{
	return hardware_unmap(&h, device, trial->table);
}

static void map_again(const struct trial *trial)
{
	must(map(trial));
}

static void unmap_again(const struct trial *trial)
{
	must(unmap(trial));
}

/* A mapping in a space that has some keeps the space when it goes; the first of a space makes it.
 */
static void map_in_new_space_again(const struct trial *trial)
{
	must(hardware_remove(&h, device));
	if (trial->kind == HARDWARE_SHARED)
		device = fixture_slice(&h.f, &h.vmm, rid_of(trial).v);
	else
		must(add_passed(trial));
}

static void each_memory(enum hardware_kind kind)
{
	struct trial trial = trial_of("the first mapping of a space", kind);

	for (trial.count = 1; trial.count <= HARDWARE_MAX; trial.count++) {
		device = hardware_device(&h, kind, trial.count - 1);
		map_in_new_space_again(&trial);
		trial.act = map;
		trial.take_back = map_in_new_space_again;
		trial_run(&trial);
		must(map(&trial));
		(void)snprintf(trial.name, sizeof(trial.name), "an unmapping");
		trial.act = unmap;
		trial.take_back = map_again;
		trial_run(&trial);
		must(unmap(&trial));
		(void)snprintf(trial.name, sizeof(trial.name), "another mapping of a space");
		trial.act = map;
		trial.take_back = unmap_again;
		trial_run(&trial);
	}
	trial_tried(&h, FAULTY_IOAS_ALLOC);
	trial_tried(&h, FAULTY_MAP);
	trial_tried(&h, FAULTY_UNMAP);
	trial_tried(&h, FAULTY_CHECK_MEMORY);
}

START_TEST(memory_of_a_device_is_mapped_or_not)
	{
		each_memory(HARDWARE_ALONE);
	}
END_TEST

START_TEST(memory_of_a_slice_is_mapped_or_not)
	{
		each_memory(HARDWARE_SHARED);
	}
END_TEST

/* ------------------------------------------------------------------ RIDs */

static int attach_rid(const struct trial *trial)
{
	const struct bind_pair pair = {
		device, {.kind = trial->table, .id = trial->table == HW_TABLE_IOAS ? h.ioas : 0}};

	return hardware_result(
		&h, broker_rid_attach(h.f.broker, &h.vmm, own, &pair, 1, &h.f.error));
}

static int detach_rid(const struct trial *trial)
{
	(void)trial;
	return hardware_result(
		&h, broker_rid_detach(h.f.broker, &h.vmm, own, device, 1, &h.f.error));
}

static void attach_rid_again(const struct trial *trial)
{
	must(attach_rid(trial));
}

static void detach_rid_again(const struct trial *trial)
{
	must(detach_rid(trial));
}

static void mend_rid(const struct trial *trial, const char *where)
{
	(void)where;
	must(detach_rid(trial));
	must(attach_rid(trial));
}

static void each_rid(enum hardware_kind kind, unsigned table)
{
	struct trial trial = trial_of("attaching a RID", kind);

	trial.table = table;
	for (trial.count = 1; trial.count <= HARDWARE_MAX; trial.count += 2) {
		device = hardware_device(&h, kind, trial.count - 1);
		trial.act = attach_rid;
		trial.take_back = detach_rid_again;
		trial_run(&trial);
		must(attach_rid(&trial));
		trial.act = detach_rid;
		trial.take_back = attach_rid_again;
		trial.mend = mend_rid;
		trial_run(&trial);
	}
	ck_assert_uint_gt(trial.failed, 0);
	ck_assert_uint_gt(trial.tainted, 0);
}

START_TEST(a_rid_is_attached_or_not)
	{
		each_rid(HARDWARE_ALONE, HW_TABLE_SPACE);
	}
END_TEST

START_TEST(a_rid_in_a_group_is_attached_or_not)
	{
		each_rid(HARDWARE_GROUPS, HW_TABLE_IOAS);
	}
END_TEST

/* ------------------------------------------------------------------ all at once */

static void bind_number(unsigned index, const struct device_id *on, unsigned count)
{
	struct bind_pair pairs[HARDWARE_MAX];

	for (unsigned i = 0; i < count; i++)
		pairs[i] = (struct bind_pair){on[i], {.kind = HW_TABLE_SPACE}};
	hosts[index] = fixture_allocate(&h.f, &h.vmm);
	must(hardware_result(&h,
		broker_bind(h.f.broker, &h.vmm, own, (struct pasid_ref){.number = hosts[index].v},
			pairs, count, 1, &h.f.error)));
}

static int going(const struct trial *trial)
{
	(void)trial;
	return hardware_result(
		&h, broker_device_going(h.f.broker, &h.vmm, own, device, 1, &h.f.error));
}

/* Registered anew, with as many numbers bound. */
static void come_with_numbers(const struct trial *trial)
{
	device = hardware_device(&h, trial->kind, 0);
	for (unsigned i = 0; i < trial->count; i++)
		bind_number(i, &device, 1);
}

static void gone(const struct trial *trial)
{
	for (unsigned i = 0; i < trial->count; i++)
		ck_assert_int_eq(fixture_free(&h.f, &h.vmm, hosts[i]), 0);
	fixture_pass_second(&h.f);
	come_with_numbers(trial);
}

/* What may be attached is had by nobody until the device could be let go of. */
static void mend_going(const struct trial *trial, const char *where)
{
	for (unsigned i = 0; i < trial->count; i++)
		ck_assert_int_eq(fixture_free(&h.f, &h.vmm, hosts[i]), 0);
	for (unsigned i = 0; i < trial->count; i++)
		hardware_withheld(&h, hosts[i], where);
	must(going(trial));
	fixture_pass_second(&h.f);
	come_with_numbers(trial);
}

START_TEST(a_device_that_goes_with_its_numbers_can_be_asked_again)
	{
		for (unsigned count = 1; count <= HARDWARE_MAX; count++) {
			struct trial trial = trial_of("going", HARDWARE_ALONE);

			trial.count = count;
			trial.act = going;
			trial.take_back = gone;
			trial.mend = mend_going;
			come_with_numbers(&trial);
			trial_run(&trial);
			must(going(&trial));
			for (unsigned i = 0; i < count; i++)
				ck_assert_int_eq(fixture_free(&h.f, &h.vmm, hosts[i]), 0);
			fixture_pass_second(&h.f);
			ck_assert_uint_gt(trial.tainted, 0);
		}
	}
END_TEST

/* A set with one number that is bound to all its devices, of which the VMM has copies. */
static void found_set(const struct trial *trial)
{
	hardware_set(&h);
	for (unsigned i = 0; i < trial->count; i++) {
		struct rid rid = hardware_rid(trial->kind, i);

		if (trial->kind == HARDWARE_SHARED)
			devices[i] = fixture_slice(&h.f, &h.vmm, rid.v);
		else
			must(hardware_add(&h, rid, &kept[i], &devices[i]));
		must(hardware_map(&h, devices[i], 0));
	}
	bind_number(0, devices, trial->count);
}

static int destroy(const struct trial *trial)
{
	(void)trial;
	return hardware_result(
		&h, broker_set_destroy(h.f.broker, &h.f.admin, h.vmm.set, true, 1, &h.f.error));
}

/* The VMM is gone, too: whoever registers a function then proves that nothing is attached. */
static void close_copies(const struct trial *trial)
{
	if (trial->kind == HARDWARE_SHARED)
		return;
	for (unsigned i = 0; i < trial->count; i++)
		h.rig.calls->close(h.rig.sim, kept[i]);
	hardware_vmm_again(&h);
}

/* The daemon closes a shared device, which proves as much, and opens it again. */
static void share_again(const struct trial *trial)
{
	for (unsigned i = 0; i < trial->count; i++) {
		struct device_info info;
		uint64_t cursor = 0;

		while (broker_device_next(
			       h.f.broker, &h.f.admin, (struct set_id){0}, &cursor, &info) &&
			info.rid.v != hardware_rid(trial->kind, i).v)
			;
		(void)hardware_remove(&h, info.id);
		hardware_drained(&h);
		if (broker_device_get(h.f.broker, &h.f.admin, info.id, &info, &h.f.error) == 0)
			must(hardware_remove(&h, info.id));
		must(hardware_share(&h, hardware_rid(trial->kind, i), &info.id));
	}
}

static void mend_destroyed(const struct trial *trial, const char *where)
{
	bool tainted = hardware_is_tainted(&h);

	if (tainted) {
		must(broker_set_get(
			h.f.broker, &h.f.admin, h.vmm.set, &(struct set_info){0}, &h.f.error));
		hardware_set(&h);
		hardware_withheld(&h, hosts[0], where);
		must(destroy(trial));
	}
	close_copies(trial);
	hardware_drained(&h);
	if (tainted && trial->kind == HARDWARE_SHARED)
		share_again(trial);
	fixture_pass_second(&h.f);
	found_set(trial);
	/* heals when its function is registered, and cools no more */
	if (hosts[0].v != trial->table) {
		must(hardware_unbind(&h, hosts[0]));
		ck_assert_int_eq(fixture_free(&h.f, &h.vmm, hosts[0]), 0);
		hardware_drained(&h);
		fixture_pass_second(&h.f);
		bind_number(0, devices, trial->count);
	}
}

/* The last set ends without a fault: of none of them is anything left. */
static void check_nothing_left(const struct trial *trial, const char *before)
{
	must(destroy(trial));
	close_copies(trial);
	hardware_drained(&h);
	fixture_pass_second(&h.f);
	ck_assert_str_eq(hardware_text(&h, h.text[1]), before);
}

static void each_destroy(enum hardware_kind kind)
{
	static char before[HARDWARE_TEXT];
	unsigned tainted = 0;

	must(destroy(NULL));
	for (unsigned count = 1; count <= HARDWARE_MAX; count++) {
		struct trial trial = trial_of("the end of a set", kind);

		trial.count = count;
		trial.act = destroy;
		trial.mend = mend_destroyed;
		if (kind == HARDWARE_SHARED)
			must(hardware_share(&h, hardware_rid(kind, count - 1), &device));
		(void)hardware_text(&h, before);
		found_set(&trial);
		trial.table = hosts[0].v;
		trial_run(&trial);
		check_nothing_left(&trial, before);
		tainted += trial.tainted;
	}
	ck_assert_uint_gt(tainted, 0);
}

START_TEST(a_set_ends_and_what_it_may_have_attached_is_had_by_nobody)
	{
		each_destroy(HARDWARE_ALONE);
	}
END_TEST

START_TEST(a_set_in_groups_ends_and_what_it_may_have_attached_is_had_by_nobody)
	{
		each_destroy(HARDWARE_GROUPS);
	}
END_TEST

START_TEST(a_set_with_slices_ends_and_what_it_may_have_attached_is_had_by_nobody)
	{
		each_destroy(HARDWARE_SHARED);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_device_that_is_passed_is_registered_or_let_go_of,
		a_device_of_a_group_is_registered_or_let_go_of,
		a_device_that_is_opened_is_registered_or_closed,
		a_device_is_shared_or_closed,
		a_device_goes_whatever_the_kernel_does_not_destroy,
		a_slice_that_cannot_go_can_be_removed_later,
		memory_of_a_device_is_mapped_or_not,
		memory_of_a_slice_is_mapped_or_not,
		a_rid_is_attached_or_not,
		a_rid_in_a_group_is_attached_or_not,
		a_device_that_goes_with_its_numbers_can_be_asked_again,
		a_set_ends_and_what_it_may_have_attached_is_had_by_nobody,
		a_set_in_groups_ends_and_what_it_may_have_attached_is_had_by_nobody,
		a_set_with_slices_ends_and_what_it_may_have_attached_is_had_by_nobody,
	};
	return suite_run("devices, any call about which fails", "faults", tests, ARRAY_SIZE(tests),
		setup, teardown);
}
