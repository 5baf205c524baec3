/* SPDX-License-Identifier: MIT */
/*
 * F32: a guest's stream table entry is installed and replaced, any call of which into the kernel
 * fails, and any call of what makes it good as well. Broker and backend are the daemon's own.
 */
#include "fault_trial.h"
#include "hw/smmuv3_table.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

static struct hardware h;
static struct device_id device;
static uint32_t parent; /* a nest parent that the VMM made */
static int status;      /* of the last replacement */
static enum reason reason;
static unsigned restored;
static const struct set_id own = {0};

enum { ON_SPACE, ON_IOAS, ON_HWPT, PARENTS };
static const char *const parent_names[] = {"a space", "an IOAS", "a HWPT"};

static void setup(void)
{
	struct device_info info;
	struct calls_hwpt wanted = {.flags = CALLS_HWPT_NEST_PARENT};

	hardware_open_smmuv3(&h);
	wanted.pt_id = h.ioas;
	device = hardware_device(&h, HARDWARE_ALONE, 0);
	ck_assert_int_eq(broker_device_get(h.f.broker, &h.vmm, device, &info, &h.f.error), 0);
	wanted.dev_id = info.dev_id;
	ck_assert_int_eq(h.rig.calls->hwpt_alloc(h.rig.sim, h.iommufd, &wanted, &parent), 0);
}

static void teardown(void)
{
	hardware_close(&h);
}

static struct bind_pair entry_on(unsigned on, uint64_t config)
{
	static const uint32_t kinds[] = {HW_TABLE_SPACE, HW_TABLE_IOAS, HW_TABLE_HWPT};
	const uint32_t ids[] = {0, h.ioas, parent};
	struct bind_pair pair = {.device = device,
		.table = {.kind = HW_TABLE_SMMUV3,
			.parent_kind = kinds[on],
			.id = ids[on],
			.stream = 8}};

	smmuv3_ste_set(pair.table.ste, SMMUV3_STE_V, 1);
	smmuv3_ste_set(pair.table.ste, SMMUV3_STE_Config, config);
	return pair;
}

static void must(int r)
{
	ck_assert_msg(r == 0, "%s", h.f.error.text);
}

static int attach(unsigned on)
{
	const struct bind_pair pair = entry_on(on, SMMUV3_BYPASS);

	return hardware_result(
		&h, broker_rid_attach(h.f.broker, &h.vmm, own, &pair, 1, &h.f.error));
}

static int detach(void)
{
	return hardware_result(
		&h, broker_rid_detach(h.f.broker, &h.vmm, own, device, 1, &h.f.error));
}

static int act_attach(const struct trial *trial)
{
	return attach(trial->table);
}

static void take_back_attach(const struct trial *trial)
{
	(void)trial;
	must(detach());
}

static void mend_attach(const struct trial *trial, const char *where)
{
	(void)trial;
	ck_assert_msg(hardware_is_tainted(&h), "%s: nothing is tainted", where);
	must(detach());
}

START_TEST(an_entry_is_installed_or_nothing_is)
	{
		for (unsigned on = 0; on < PARENTS; on++) {
			struct trial trial = {.h = &h,
				.act = act_attach,
				.take_back = take_back_attach,
				.mend = mend_attach,
				.kind = HARDWARE_ALONE,
				.count = 1,
				.table = on};

			(void)snprintf(
				trial.name, sizeof(trial.name), "an entry on %s", parent_names[on]);
			trial_run(&trial);
		}
		trial_tried(&h, FAULTY_ATTACH);
		trial_tried(&h, FAULTY_VIOMMU_ALLOC);
		trial_tried(&h, FAULTY_VDEVICE_ALLOC);
		trial_tried(&h, FAULTY_HWPT_ALLOC);
	}
END_TEST

static int act_replace(const struct trial *trial)
{
	const struct bind_pair pair = entry_on(trial->table, SMMUV3_STAGE1);

	status = hardware_result(
		&h, broker_replace(h.f.broker, &h.vmm, own, NULL, &pair, 1, &h.f.error));
	reason = (enum reason)h.f.error.reason;
	return status;
}

/* Whatever it was told as is how it is, and from there all is as before again. */
static void mend_replace(const struct trial *trial, const char *where)
{
	if (status && reason != REASON_BINDING_LOST && reason != REASON_UNDO_FAILED) {
		restored += strstr(h.f.error.text, "attached again") != NULL;
		ck_assert_msg(!hardware_is_tainted(&h), "%s: it is tainted", where);
		return;
	}
	if (reason == REASON_UNDO_FAILED)
		ck_assert_msg(hardware_is_tainted(&h), "%s: it is told as tainted", where);
	if (status == 0 || reason == REASON_UNDO_FAILED)
		must(detach());
	hardware_drained(&h);
	must(attach(trial->table));
}

START_TEST(an_entry_is_replaced_or_stays)
	{
		for (unsigned on = 0; on < PARENTS; on++) {
			struct trial trial = {.h = &h,
				.act = act_replace,
				.mend = mend_replace,
				.kind = HARDWARE_ALONE,
				.count = 1,
				.table = on};

			(void)snprintf(trial.name, sizeof(trial.name), "another entry on %s",
				parent_names[on]);
			must(attach(on));
			trial_run(&trial);
			must(detach());
		}
		ck_assert_uint_gt(restored, 0);
		trial_tried(&h, FAULTY_ATTACH);
	}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		an_entry_is_installed_or_nothing_is,
		an_entry_is_replaced_or_stays,
	};

	return suite_run("guests' tables, any call of which fails", "faults", tests,
		ARRAY_SIZE(tests), setup, teardown);
}
