/* SPDX-License-Identifier: MIT */
/* Binds and unbinds on 1 to 8 devices, any call of which into the kernel fails. */
#include "fault_trial.h"
#include "suite.h"

#include <stdio.h>

static struct hardware h;
static struct device_id devices[HARDWARE_MAX];
static struct hpasid host;
static uint32_t plain, parent; /* page tables that the VMM made */
static const struct set_id own = {0};

enum table { TABLE_SPACE, TABLE_IOAS, TABLE_HWPT, TABLE_NESTED, TABLE_NESTED_HWPT, TABLES };
static const char *const table_names[] = {
	"a space", "an IOAS", "a HWPT", "a nested table", "one nested on a HWPT"};

static void setup(void)
{
	hardware_open(&h);
	host = fixture_allocate(&h.f, &h.vmm);
}

static void teardown(void)
{
	hardware_close(&h);
}

/* ------------------------------------------------------------------ what is bound */

static uint32_t vmm_table(uint32_t dev_id, uint32_t flags)
{
	const struct calls_hwpt wanted = {
		.flags = CALLS_HWPT_PASID | flags, .dev_id = dev_id, .pt_id = h.ioas};
	uint32_t hwpt = 0;

	ck_assert_int_eq(h.rig.calls->hwpt_alloc(h.rig.sim, h.iommufd, &wanted, &hwpt), 0);
	return hwpt;
}

/* All devices of a kind, with memory in their space 0. */
static void register_all(enum hardware_kind kind)
{
	struct device_info info;

	for (unsigned i = 0; i < HARDWARE_MAX; i++)
		devices[i] = hardware_device(&h, kind, i);
	if (kind == HARDWARE_SHARED)
		return;
	ck_assert_int_eq(broker_device_get(h.f.broker, &h.vmm, devices[0], &info, &h.f.error), 0);
	plain = vmm_table(info.dev_id, 0);
	parent = vmm_table(info.dev_id, CALLS_HWPT_NEST_PARENT);
}

static struct hw_table table_of(enum table table)
{
	const struct hw_table nested = {
		.kind = HW_TABLE_VTD_S1, .addr_width = 48, .pgtbl_addr = 0x1000};
	struct hw_table on = nested;

	switch (table) {
	case TABLE_SPACE:
		return (struct hw_table){.kind = HW_TABLE_SPACE};
	case TABLE_IOAS:
		return (struct hw_table){.kind = HW_TABLE_IOAS, .id = h.ioas};
	case TABLE_HWPT:
		return (struct hw_table){.kind = HW_TABLE_HWPT, .id = plain};
	case TABLE_NESTED:
		on.parent_kind = HW_TABLE_SPACE;
		return on;
	case TABLE_NESTED_HWPT:
		on.parent_kind = HW_TABLE_HWPT;
		on.id = parent;
		return on;
	case TABLES:
		break;
	}
	ck_abort_msg("no such table");
}

static int bind_devices(const struct trial *trial)
{
	struct bind_pair pairs[HARDWARE_MAX];

	for (unsigned i = 0; i < trial->count; i++)
		pairs[i] = (struct bind_pair){devices[i], table_of((enum table)trial->table)};
	return hardware_result(
		&h, broker_bind(h.f.broker, &h.vmm, own, (struct pasid_ref){.number = host.v},
			    pairs, trial->count, 1, &h.f.error));
}

static int unbind_devices(const struct trial *trial)
{
	(void)trial;
	return hardware_unbind(&h, host);
}

static void must(int status)
{
	ck_assert_msg(status == 0, "%s", h.f.error.text);
}

static void bind_again(const struct trial *trial)
{
	must(bind_devices(trial));
}

static void unbind_again(const struct trial *trial)
{
	must(unbind_devices(trial));
}

/* ------------------------------------------------------------------ what is tainted */

/* Freed, it is nobody's: until a detach succeeds. */
static void free_and_detach(const char *where)
{
	ck_assert_int_eq(fixture_free(&h.f, &h.vmm, host), 0);
	hardware_withheld(&h, host, where);
	must(hardware_unbind(&h, host));
	hardware_drained(&h);
	fixture_pass_second(&h.f);
	ck_assert_uint_eq(fixture_allocate(&h.f, &h.vmm).v, host.v);
}

static void mend_bind(const struct trial *trial, const char *where)
{
	if (trial->tainted % 2)
		free_and_detach(where);
	else
		must(hardware_unbind(&h, host));
}

static void mend_unbind(const struct trial *trial, const char *where)
{
	mend_bind(trial, where);
	bind_again(trial);
}

/* ------------------------------------------------------------------ tests */

static struct trial bind_trial(enum hardware_kind kind, unsigned table, unsigned count)
{
	struct trial trial = {.h = &h,
		.act = bind_devices,
		.take_back = unbind_again,
		.mend = mend_bind,
		.kind = kind,
		.table = table,
		.count = count};

	(void)snprintf(trial.name, sizeof(trial.name), "a bind to %s", table_names[table]);
	return trial;
}

static void each_bind(enum hardware_kind kind, unsigned tables)
{
	unsigned tainted = 0, failed = 0;

	register_all(kind);
	for (unsigned table = 0; table < TABLES; table++) {
		for (unsigned count = 1; (tables >> table & 1) && count <= HARDWARE_MAX; count++) {
			struct trial trial = bind_trial(kind, table, count);

			trial_run(&trial);
			failed += trial.failed;
			tainted += trial.tainted;
		}
	}
	ck_assert_uint_gt(failed, 0);
	ck_assert_uint_gt(tainted, 0);
	trial_tried(&h, FAULTY_ATTACH);
	trial_tried(&h, FAULTY_DETACH);
}

#define TABLE_BIT(table) (1u << (table))

START_TEST(a_bind_of_exclusive_devices_is_done_or_undone)
	{
		each_bind(HARDWARE_ALONE, TABLE_BIT(TABLE_SPACE) | TABLE_BIT(TABLE_HWPT));
	}
END_TEST

START_TEST(a_nested_bind_is_done_or_undone)
	{
		each_bind(HARDWARE_ALONE, TABLE_BIT(TABLE_NESTED) | TABLE_BIT(TABLE_NESTED_HWPT));
	}
END_TEST

START_TEST(a_bind_of_slices_is_done_or_undone)
	{
		each_bind(HARDWARE_SHARED, TABLE_BIT(TABLE_SPACE) | TABLE_BIT(TABLE_NESTED));
	}
END_TEST

START_TEST(a_bind_in_groups_is_done_or_undone)
	{
		each_bind(HARDWARE_GROUPS, TABLE_BIT(TABLE_IOAS) | TABLE_BIT(TABLE_NESTED_HWPT));
	}
END_TEST

static void each_unbind(enum hardware_kind kind, unsigned table)
{
	unsigned tainted = 0;

	register_all(kind);
	for (unsigned count = 1; count <= HARDWARE_MAX; count++) {
		struct trial trial = bind_trial(kind, table, count);

		(void)snprintf(
			trial.name, sizeof(trial.name), "an unbind of %s", table_names[table]);
		bind_again(&trial);
		trial.act = unbind_devices;
		trial.take_back = bind_again;
		trial.mend = mend_unbind;
		trial_run(&trial);
		tainted += trial.tainted;
		unbind_again(&trial);
		hardware_drained(&h);
	}
	ck_assert_uint_gt(tainted, 0);
	trial_tried(&h, FAULTY_DETACH);
}

START_TEST(an_unbind_that_fails_says_what_may_be_attached)
	{
		each_unbind(HARDWARE_ALONE, TABLE_NESTED);
	}
END_TEST

START_TEST(an_unbind_of_slices_that_fails_says_what_may_be_attached)
	{
		each_unbind(HARDWARE_SHARED, TABLE_SPACE);
	}
END_TEST

START_TEST(an_unbind_in_groups_that_fails_says_what_may_be_attached)
	{
		each_unbind(HARDWARE_GROUPS, TABLE_HWPT);
	}
END_TEST

/* ------------------------------------------------------------------ freed while it is bound */

static int free_and_unbind(const struct trial *trial)
{
	ck_assert_int_eq(fixture_free(&h.f, &h.vmm, host), 0);
	ck_assert_int_eq(fixture_state(&h.f, host), GRANT_FREE_PENDING);
	return unbind_devices(trial);
}

static void grant_again(const struct trial *trial)
{
	hardware_drained(&h);
	fixture_pass_second(&h.f);
	ck_assert_uint_eq(fixture_allocate(&h.f, &h.vmm).v, host.v);
	bind_again(trial);
}

static void mend_freed(const struct trial *trial, const char *where)
{
	hardware_withheld(&h, host, where);
	unbind_again(trial);
	grant_again(trial);
}

static void each_freed(enum hardware_kind kind, unsigned table)
{
	register_all(kind);
	for (unsigned count = 1; count <= HARDWARE_MAX; count++) {
		struct trial trial = bind_trial(kind, table, count);

		(void)snprintf(
			trial.name, sizeof(trial.name), "a last unbind of %s", table_names[table]);
		bind_again(&trial);
		trial.act = free_and_unbind;
		trial.take_back = grant_again;
		trial.mend = mend_freed;
		trial_run(&trial);
		ck_assert_uint_gt(trial.tainted, 0);
		unbind_again(&trial);
		hardware_drained(&h);
	}
}

START_TEST(a_freed_number_whose_last_unbind_fails_is_had_by_nobody)
	{
		each_freed(HARDWARE_ALONE, TABLE_IOAS);
	}
END_TEST

START_TEST(a_freed_number_whose_last_unbind_from_slices_fails_is_had_by_nobody)
	{
		each_freed(HARDWARE_SHARED, TABLE_NESTED);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_bind_of_exclusive_devices_is_done_or_undone,
		a_nested_bind_is_done_or_undone,
		a_bind_of_slices_is_done_or_undone,
		a_bind_in_groups_is_done_or_undone,
		an_unbind_that_fails_says_what_may_be_attached,
		an_unbind_of_slices_that_fails_says_what_may_be_attached,
		an_unbind_in_groups_that_fails_says_what_may_be_attached,
		a_freed_number_whose_last_unbind_fails_is_had_by_nobody,
		a_freed_number_whose_last_unbind_from_slices_fails_is_had_by_nobody,
	};
	return suite_run("binds, any call of which fails", "faults", tests, ARRAY_SIZE(tests),
		setup, teardown);
}
