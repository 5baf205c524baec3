/* SPDX-License-Identifier: MIT */
/*
 * F34: replacements of page tables of every kind, any call of which into the kernel fails, and any
 * call of the repair as well.
 */
#include "fault_trial.h"
#include "hw/uapi.h"
#include "suite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct hardware h;
static struct device_id device;
static struct hpasid host;
static uint32_t plain, parent; /* page tables that the VMM made */
static int status;             /* of the last replacement */
static enum reason reason;
static unsigned restored, gone;
static const struct set_id own = {0};

enum table { TABLE_SPACE, TABLE_IOAS, TABLE_HWPT, TABLE_NESTED, TABLE_NESTED_HWPT, TABLES };
static const char *const table_names[] = {
	"a space", "an IOAS", "a HWPT", "a nested table", "one nested on a HWPT"};
/* trial.table: from * TABLES + to */
#define FROM(trial) ((enum table)((trial)->table / TABLES))
#define TO(trial)   ((enum table)((trial)->table % TABLES))

static void setup(void)
{
	hardware_open(&h);
	host = fixture_allocate(&h.f, &h.vmm);
}

static void teardown(void)
{
	hardware_close(&h);
}

static uint32_t vmm_table(uint32_t dev_id, uint32_t flags)
{
	const struct calls_hwpt wanted = {
		.flags = CALLS_HWPT_PASID | flags, .dev_id = dev_id, .pt_id = h.ioas};
	uint32_t hwpt = 0;

	ck_assert_int_eq(h.rig.calls->hwpt_alloc(h.rig.sim, h.iommufd, &wanted, &hwpt), 0);
	return hwpt;
}

static void register_one(enum hardware_kind kind)
{
	struct device_info info;

	device = hardware_device(&h, kind, 0);
	if (kind == HARDWARE_SHARED)
		return;
	ck_assert_int_eq(broker_device_get(h.f.broker, &h.vmm, device, &info, &h.f.error), 0);
	plain = vmm_table(info.dev_id, 0);
	parent = vmm_table(info.dev_id, CALLS_HWPT_NEST_PARENT);
}

static struct hw_table table_of(enum table table)
{
	struct hw_table on = {.kind = HW_TABLE_VTD_S1,
		.parent_kind = HW_TABLE_SPACE,
		.addr_width = 48,
		.pgtbl_addr = 0x1000};

	switch (table) {
	case TABLE_SPACE:
		return (struct hw_table){.kind = HW_TABLE_SPACE};
	case TABLE_IOAS:
		return (struct hw_table){.kind = HW_TABLE_IOAS, .id = h.ioas};
	case TABLE_HWPT:
		return (struct hw_table){.kind = HW_TABLE_HWPT, .id = plain};
	case TABLE_NESTED:
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

static int bind_to(enum table table, bool rid)
{
	const struct bind_pair pair = {device, table_of(table)};
	const struct pasid_ref ref = {.number = host.v};

	return hardware_result(
		&h, rid ? broker_rid_attach(h.f.broker, &h.vmm, own, &pair, 1, &h.f.error)
			: broker_bind(h.f.broker, &h.vmm, own, ref, &pair, 1, 1, &h.f.error));
}

static int detach(bool rid)
{
	if (!rid)
		return hardware_unbind(&h, host);
	return hardware_result(
		&h, broker_rid_detach(h.f.broker, &h.vmm, own, device, 1, &h.f.error));
}

static int replace_by(enum table table, bool rid)
{
	const struct bind_pair pair = {device, table_of(table)};
	const struct pasid_ref ref = {.number = host.v};

	return hardware_result(&h,
		broker_replace(h.f.broker, &h.vmm, own, rid ? NULL : &ref, &pair, 1, &h.f.error));
}

static int act(const struct trial *trial)
{
	status = replace_by(TO(trial), trial->count > 1);
	reason = (enum reason)h.f.error.reason;
	return status;
}

static void must(int r)
{
	ck_assert_msg(r == 0, "%s", h.f.error.text);
}

static unsigned bindings(void)
{
	struct binding_info info;
	uint64_t cursor = 0;
	unsigned count = 0;

	while (broker_binding_next(h.f.broker, &h.f.admin, own, &cursor, &info))
		count++;
	return count;
}

/* Whatever it was told as is how it is, and from there all is as before again. */
static void mend(const struct trial *trial, const char *where)
{
	const bool rid = trial->count > 1;

	if (status == 0) {
		must(replace_by(FROM(trial), rid));
		return;
	}
	if (reason == REASON_BINDING_LOST) {
		gone++;
		ck_assert_msg(bindings() == 0, "%s: it is told as gone", where);
		hardware_drained(&h);
		must(bind_to(FROM(trial), rid));
		return;
	}
	ck_assert_msg(bindings() == 1, "%s: it is told as bound", where);
	if (reason == REASON_UNDO_FAILED) {
		ck_assert_msg(hardware_is_tainted(&h), "%s: it is told as tainted", where);
		must(detach(rid));
		hardware_drained(&h);
		must(bind_to(FROM(trial), rid));
		return;
	}
	/* the earlier one, as the caller compares */
	restored += strstr(h.f.error.text, "attached again") != NULL;
	ck_assert_msg(!hardware_is_tainted(&h), "%s: it is tainted", where);
}

static void each(enum hardware_kind kind, unsigned tables, bool rid)
{
	unsigned tainted = 0;

	register_one(kind);
	for (unsigned pair = 0; pair < TABLES * TABLES; pair++) {
		struct trial trial = {.h = &h,
			.act = act,
			.mend = mend,
			.kind = kind,
			.table = pair,
			.count = rid ? 2 : 1};

		if (!(tables >> FROM(&trial) & 1) || !(tables >> TO(&trial) & 1))
			continue;
		(void)snprintf(trial.name, sizeof(trial.name), "%s in place of %s",
			table_names[TO(&trial)], table_names[FROM(&trial)]);
		must(bind_to(FROM(&trial), rid));
		trial_run(&trial);
		tainted += trial.tainted;
		must(detach(rid));
		hardware_drained(&h);
	}
	ck_assert_uint_gt(tainted, 0);
	ck_assert_uint_gt(restored, 0);
	ck_assert(gone > 0 || trial_is_quick());
	trial_tried(&h, FAULTY_ATTACH);
	ck_assert_uint_gt(h.faulty.tried[FAULTY_DETACH], 0);
}

#define TABLE_BIT(table) (1u << (table))

/* F34 */
START_TEST(a_replacement_is_done_or_undone)
	{
		each(HARDWARE_ALONE,
			TABLE_BIT(TABLE_SPACE) | TABLE_BIT(TABLE_HWPT) | TABLE_BIT(TABLE_NESTED),
			false);
	}
END_TEST

START_TEST(a_replacement_in_a_group_is_done_or_undone)
	{
		each(HARDWARE_GROUPS, TABLE_BIT(TABLE_IOAS) | TABLE_BIT(TABLE_NESTED_HWPT), false);
	}
END_TEST

START_TEST(a_replacement_of_a_slice_is_done_or_undone)
	{
		each(HARDWARE_SHARED, TABLE_BIT(TABLE_SPACE) | TABLE_BIT(TABLE_NESTED), false);
	}
END_TEST

START_TEST(a_replacement_of_the_rid_is_done_or_undone)
	{
		each(HARDWARE_ALONE, TABLE_BIT(TABLE_SPACE) | TABLE_BIT(TABLE_HWPT), true);
	}
END_TEST

/*
 * A table that the VMM made itself, of a width that the IOMMU lacks: the kernel finds out after the
 * teardown, and believes the earlier one attached.
 */
START_TEST(trap_16_what_fails_after_the_teardown_is_mended)
	{
		const struct uapi_hwpt_vtd_s1 data = {.pgtbl_addr = 0x1000, .addr_width = 57};
		struct calls_hwpt wanted = {.flags = CALLS_HWPT_PASID,
			.data_type = UAPI_HWPT_DATA_VTD_S1,
			.data_len = sizeof(data),
			.data = &data};
		struct device_info info;
		uint32_t late = 0;

		register_one(HARDWARE_ALONE);
		ck_assert_int_eq(
			broker_device_get(h.f.broker, &h.vmm, device, &info, &h.f.error), 0);
		wanted.dev_id = info.dev_id;
		wanted.pt_id = parent;
		ck_assert_int_eq(h.rig.calls->hwpt_alloc(h.rig.sim, h.iommufd, &wanted, &late), 0);
		must(bind_to(TABLE_NESTED_HWPT, false));
		(void)hardware_text(&h, h.text[0]);
		plain = late;
		ck_assert_int_ne(replace_by(TABLE_HWPT, false), 0);
		ck_assert_int_eq(h.f.error.sys_errno, EINVAL);
		ck_assert_ptr_nonnull(strstr(h.f.error.text, "attached again"));
		hardware_agrees(&h, "after a late failure");
		ck_assert_str_eq(h.text[0], hardware_text(&h, h.text[1]));
		must(detach(false));
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_replacement_is_done_or_undone,
		a_replacement_in_a_group_is_done_or_undone,
		a_replacement_of_a_slice_is_done_or_undone,
		a_replacement_of_the_rid_is_done_or_undone,
		trap_16_what_fails_after_the_teardown_is_mended,
	};
	return suite_run("replacements, any call of which fails", "faults", tests,
		ARRAY_SIZE(tests), setup, teardown);
}
