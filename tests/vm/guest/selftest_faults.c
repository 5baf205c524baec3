/* SPDX-License-Identifier: MIT */
/*
 * Each place where the kernel can be short of memory, or loses an object, within one operation of
 * the backend: fails once, one after the other. What is there afterwards must be what the answer
 * says, and nothing may be left behind.
 */
#include "selftest.h"
#include "selftest_kernel.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	A = SELFTEST_A,
	B = SELFTEST_B,
	S = SELFTEST_SHARED,
	OWNER = 7,
	PLACES_MAX = 500, /* an operation has some ten */
};

static const struct trial {
	const char *what;
	uint32_t kind, rid, pasid;
	struct hw_table table;
	struct hw_table before; /* what is replaced or detached */
	uint32_t reason;        /* when nothing is made to fail */
} trials[] = {
	{"attach of the VMM's page table", HW_ATTACH, A, 30, TABLE(V_TABLE), {0}, 0},
	{"attach of an address space", HW_ATTACH, A, 30, IOAS(V_IOAS), {0}, 0},
	{"attach of a guest's table", HW_ATTACH, A, 30, NESTED(V_PARENT, 0x1000), {0}, 0},
	{"attach of a guest's table to the RID", HW_ATTACH, A, AT_RID, NESTED(V_PARENT, 0x1000),
		{0}, 0},
	{"attach of a guest's table on a set's memory", HW_ATTACH, S, 30, NESTED_SPACE(1, 0x1000),
		{0}, 0},
	{"a guest's table in the place of the VMM's", HW_REPLACE, A, 30, NESTED(V_PARENT, 0x2000),
		TABLE(V_TABLE), 0},
	{"a guest's table in the place of a guest's", HW_REPLACE, A, 30, NESTED(V_PARENT, 0x2000),
		NESTED(V_PARENT, 0x1000), 0},
	{"a guest's table in the place of a guest's on a set's memory", HW_REPLACE, S, 30,
		NESTED_SPACE(1, 0x2000), NESTED_SPACE(1, 0x1000), 0},
	{"the VMM's page table in the place of a guest's", HW_REPLACE, A, 30, TABLE(V_OTHER),
		NESTED(V_PARENT, 0x1000), 0},
	{"a guest's table in the place of a guest's at the RID", HW_REPLACE, A, AT_RID,
		NESTED(V_PARENT, 0x2000), NESTED(V_PARENT, 0x1000), 0},
	{"a replacement that the driver refuses anyhow", HW_REPLACE, A, SELFTEST_FAILS,
		NESTED(V_PARENT, 0x2000), NESTED(V_PARENT, 0x1000), REASON_MEMLOCK},
	{"detach of a guest's table", HW_DETACH, A, 30, {0}, NESTED(V_PARENT, 0x1000), 0},
};

/* Of an SMMUv3, where the guest's IOMMU and the device in it come with the table. */
static const struct trial smmuv3_trials[] = {
	{"attach of an entry", HW_ATTACH, A, AT_RID, STE(V_PARENT, 1, 0x1000), {0}, 0},
	{"attach of an entry on an address space", HW_ATTACH, A, AT_RID,
		STE_IOAS(V_IOAS, 1, 0x1000), {0}, 0},
	{"attach of an entry on a set's memory", HW_ATTACH, S, AT_RID, STE_SPACE(1, 1, 0x1000), {0},
		0},
	{"an entry in the place of an entry", HW_REPLACE, A, AT_RID, STE(V_PARENT, 1, 0x2000),
		STE(V_PARENT, 1, 0x1000), 0},
	{"an entry in the place of the VMM's page table", HW_REPLACE, A, AT_RID,
		STE(V_PARENT, 1, 0x2000), TABLE(V_TABLE), 0},
	{"an entry on an address space in the place of the VMM's page table", HW_REPLACE, A, AT_RID,
		STE_IOAS(V_IOAS, 1, 0x2000), TABLE(V_TABLE), 0},
	{"the VMM's page table in the place of an entry", HW_REPLACE, A, AT_RID, TABLE(V_TABLE),
		STE(V_PARENT, 1, 0x1000), 0},
	{"detach of an entry", HW_DETACH, A, AT_RID, {0}, STE(V_PARENT, 1, 0x1000), 0},
};

static struct {
	struct vmm vmm;
	int iommufd;       /* of the trial's function */
	uint32_t earlier;  /* the page table that was there */
	unsigned nothing;  /* objects when nothing is attached */
	unsigned attached; /* objects with the earlier page table */
	unsigned left[3];  /* enum hw_left: how often */
	char why[400];
} state;

static uint32_t trial_run(const struct trial *trial, uint32_t kind, struct hw_table table)
{
	struct hw_op op = selftest_op(
		(enum hw_kind)kind, trial->rid, trial->pasid, vmm_table(&state.vmm, table));

	op.owner = OWNER;
	return vmm_run(&state.vmm, op);
}

static bool trial_stands(const struct trial *trial, uint32_t pt_id)
{
	const struct world *world = state.vmm.world;
	const struct hpasid pasid = {trial->pasid};

	return world->stands(world, (struct rid){(uint16_t)trial->rid},
		trial->pasid == AT_RID ? NULL : &pasid, pt_id);
}

/* Keeps the first thing that is wrong. */
static void trial_must(bool good, const char *what, unsigned n)
{
	if (!good && !state.why[0])
		(void)snprintf(state.why, sizeof(state.why), "%s, when place %u failed: %s", what,
			n, state.vmm.result.error.text);
}

static unsigned trial_objects(void)
{
	return state.vmm.world->objects(state.vmm.world, state.iommufd);
}

/* What a refused operation says is there, is. */
static void trial_refused(const struct trial *trial, unsigned n)
{
	uint32_t left = state.vmm.result.left;

	if (trial->kind == HW_ATTACH) {
		trial_must(trial_stands(trial, 0), "something is attached", n);
		trial_must(trial_objects() == state.nothing, "objects are left", n);
		trial_must(trial_run(trial, HW_ATTACH, trial->table) == 0, "no second try", n);
		return;
	}
	state.left[left]++;
	if (left == HW_LEFT_EARLIER) {
		trial_must(trial_stands(trial, state.earlier), "the earlier is not attached", n);
		trial_must(trial_objects() == state.attached, "objects are left or gone", n);
	} else if (left == HW_LEFT_NOTHING) {
		trial_must(trial_stands(trial, 0), "something is attached", n);
		trial_must(trial_objects() == state.nothing, "objects are left", n);
	}
	trial_must(trial_run(trial, HW_LOOK, trial->table) == 0 && state.vmm.result.left == left,
		"it is not remembered what is left", n);
}

/* One round; false: there is no such place any more. */
static bool trial_round(const struct trial *trial, unsigned n)
{
	uint32_t reason;
	bool fired;

	state.nothing = trial_objects();
	if (trial->before.kind) {
		trial_must(trial_run(trial, HW_ATTACH, trial->before) == 0, "no first attach", n);
		state.earlier = state.vmm.result.pt_id;
		state.attached = trial_objects();
	}
	if (selftest_arm(n) < 0)
		selftest_die("no fail-nth: the kernel has no fault injection");
	reason = trial_run(trial, trial->kind, trial->table);
	fired = selftest_disarm();
	if (!fired)
		trial_must(reason == trial->reason, "another answer", n);
	if (reason)
		trial_refused(trial, n);
	else if (trial->kind != HW_DETACH)
		trial_must(trial_stands(trial, state.vmm.result.pt_id), "it is not attached", n);
	trial_must(trial_run(trial, HW_DETACH, trial->table) == 0, "no detach", n);
	trial_must(trial_stands(trial, 0), "something is attached after the detach", n);
	trial_must(trial_objects() == state.nothing, "objects are left after the detach", n);
	return fired;
}

static void trial_all(const struct trial *trial)
{
	unsigned n = 1;

	state.why[0] = '\0';
	memset(state.left, 0, sizeof(state.left));
	while (n < PLACES_MAX && trial_round(trial, n))
		n++;
	trial_must(n < PLACES_MAX, "too many places", n);
	trial_must(n > 1 || trial->kind == HW_DETACH, "no place ever failed", n);
	if (trial->reason) {
		trial_must(state.left[HW_LEFT_EARLIER] > 0, "no repair went well", n);
		trial_must(state.left[HW_LEFT_NOTHING] > 0, "no second attach failed", n);
		trial_must(state.left[HW_LEFT_DOUBT] > 0, "no detach failed", n);
	}
	selftest_check(!state.why[0], state.why,
		"%s: %u places fail, and what is left is what is said (earlier %u, nothing %u, "
		"doubt %u)",
		trial->what, n - 1, state.left[0], state.left[1], state.left[2]);
}

static uint32_t map_run(uint64_t owner)
{
	struct hw_op op = selftest_op(HW_MAP, S, AT_RID, (struct hw_table){0});

	op.fds[0] = memfd_create("selftest", MFD_CLOEXEC);
	if (op.fds[0] < 0 || ftruncate(op.fds[0], 1 << 20) < 0)
		selftest_die("no memory to map");
	op.fd_count = 1;
	op.owner = owner;
	op.space = 1;
	op.length = 1 << 20;
	op.iova = 0x10000000;
	op.map_flags = HW_MAP_WRITE;
	return vmm_run(&state.vmm, op);
}

static void trial_map(void)
{
	struct hw_op leave = selftest_op(HW_LEAVE, S, AT_RID, (struct hw_table){0});
	bool fired = true;
	unsigned n;

	state.why[0] = '\0';
	leave.owner = OWNER + 1;
	for (n = 1; fired && n < PLACES_MAX; n++) {
		unsigned before = trial_objects();

		(void)selftest_arm(n);
		if (map_run(leave.owner) == 0)
			trial_must(trial_objects() == before + 1, "not one address space", n);
		else
			trial_must(trial_objects() == before, "an address space is left", n);
		fired = selftest_disarm();
		trial_must(map_run(leave.owner) == 0 || !fired ||
				   state.vmm.result.error.reason == REASON_MAP_OVERLAP,
			"no second try", n);
		trial_must(vmm_run(&state.vmm, leave) == 0, "the set cannot leave", n);
		trial_must(trial_objects() == before, "the set leaves something", n);
	}
	selftest_check(!state.why[0] && n > 2, state.why, "mapping memory: %u places fail", n - 2);
}

/* The bind: what VFIO and the platform do for it is the mock's; the device object is the core's. */
static void trial_open(void)
{
	const struct world *world = state.vmm.world;
	struct hw_op open = selftest_op(HW_OPEN, B, AT_RID, (struct hw_table){0});
	bool fired = true;
	unsigned n;

	state.why[0] = '\0';
	for (n = 1; fired && n < PLACES_MAX; n++) {
		struct hw_op op = selftest_op(HW_IDENTIFY, B, AT_RID, (struct hw_table){0});
		unsigned before = trial_objects();
		uint32_t reason;

		op.fd_count = 2;
		op.fds[0] = dup(state.vmm.iommufd);
		if (world->calls->open_device(world->ctx, op.rid, &op.fds[1]) < 0 ||
			vmm_run(&state.vmm, op))
			selftest_die("no further function");
		(void)selftest_arm(n);
		reason = vmm_run(&state.vmm, open);
		fired = selftest_disarm();
		trial_must(
			reason || !fired || state.vmm.result.info.pasid_width == 20, "no width", n);
		trial_must(!reason || vmm_run(&state.vmm, open) == 0, "no second try", n);
		op.kind = HW_CLOSE;
		op.fd_count = 0;
		trial_must(vmm_run(&state.vmm, op) == 0, "no close", n);
		trial_must(trial_objects() == before, "objects are left", n);
	}
	selftest_check(
		!state.why[0] && n > 2, state.why, "binding a function: %u places fail", n - 2);
}

static void trials_run(const struct trial *trial, size_t count, int shared)
{
	for (size_t i = 0; i < count; i++) {
		state.iommufd = trial[i].rid == S ? shared : state.vmm.iommufd;
		trial_all(&trial[i]);
	}
}

/*
 * The worker's descriptors go as when it is killed: what was attached is detached, the page table
 * made for that (and the guest's IOMMU, not the device in it) stays in the VMM's iommufd.
 */
static void worker_dies(void)
{
	const struct world *world = state.vmm.world;
	bool smmuv3 = world->iommu == HW_IOMMU_SMMUV3;
	unsigned stay = smmuv3 ? 2 : 1, before, after;

	state.iommufd = state.vmm.iommufd;
	before = trial_objects();
	if (trial_run(&(struct trial){.rid = A, .pasid = smmuv3 ? AT_RID : 30}, HW_ATTACH,
		    smmuv3 ? STE(V_PARENT, 1, 0x1000) : NESTED(V_PARENT, 0x1000)))
		selftest_die("no last attach: %s", state.vmm.result.error.text);
	backend_free(state.vmm.backend);
	state.vmm.backend = NULL;
	after = trial_objects();
	(void)snprintf(state.why, sizeof(state.why), "%u objects before, %u after", before, after);
	selftest_check(after == before - 2 + stay, state.why,
		"the worker dies: the device goes, %u objects that it made stay with the VMM",
		stay);
}

void selftest_faults(const struct world *world)
{
	struct hw_op op = selftest_op(HW_IDENTIFY, S, AT_RID, (struct hw_table){0});
	int shared;

	vmm_start(&state.vmm, world);
	if (vmm_run(&state.vmm, op))
		selftest_die("no shared function");
	shared = (int)state.vmm.result.iommufd_key;
	op.kind = HW_OPEN;
	if (vmm_run(&state.vmm, op))
		selftest_die("the shared function cannot be opened");
	if (map_run(OWNER))
		selftest_die("no memory: %s", state.vmm.result.error.text);
	(void)world->objects(world, shared);
	if (world->iommu == HW_IOMMU_SMMUV3) {
		trials_run(smmuv3_trials, ARRAY_SIZE(smmuv3_trials), shared);
	} else {
		trials_run(trials, ARRAY_SIZE(trials), shared);
		state.iommufd = shared;
		trial_map();
		state.iommufd = state.vmm.iommufd;
		trial_open();
	}
	worker_dies();
	vmm_end(&state.vmm);
}
