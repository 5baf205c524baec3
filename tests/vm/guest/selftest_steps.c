/* SPDX-License-Identifier: MIT */
/*
 * One table of steps, whatever the kernel is. Each step says what it must answer and how many
 * objects more there are; after each, every place is compared with what must be attached there.
 */
#include "selftest_steps.h"
#include "selftest_kernel.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	A = SELFTEST_A,
	B = SELFTEST_B,
	S = SELFTEST_SHARED,
};

static const struct step steps[] = {
	STEP("a page table of the VMM's", HW_ATTACH, A, 5, TABLE(V_TABLE), 0),
	STEP("the same PASID again, which the kernel would replace", HW_ATTACH, A, 5,
		TABLE(V_OTHER), REASON_ALREADY_BOUND),
	STEP("a page table without ALLOC_PASID", HW_ATTACH, A, 7, TABLE(V_PLAIN),
		REASON_TABLE_PASID),
	STEP("an address space as a page table", HW_ATTACH, A, 7, TABLE(V_IOAS),
		REASON_TABLE_PASID),
	STEP("an id that names nothing", HW_ATTACH, A, 7, TABLE(V_GONE), REASON_TABLE_ID),
	STEP("PASID 0", HW_ATTACH, A, 0, TABLE(V_TABLE), REASON_PASID_ZERO),
	STEP("a PASID beyond the width", HW_ATTACH, A, 1u << 20, TABLE(V_TABLE),
		REASON_PASID_WIDTH),
	STEP("the last PASID", HW_ATTACH, A, (1u << 20) - 1, TABLE(V_TABLE), 0),
	STEP("an address space of the VMM's", HW_ATTACH, A, 7, IOAS(V_IOAS), 0, .objects = 1,
		.made = true),
	STEP("the same for another PASID, which shares its page table", HW_ATTACH, A, 9,
		IOAS(V_IOAS), 0, .made = true),
	STEP("an address space that is none", HW_ATTACH, A, 10, IOAS(V_GONE), REASON_TABLE_KIND),
	STEP("a guest's table on the VMM's nest parent", HW_ATTACH, A, 11, NESTED(V_PARENT, 0x1000),
		0, .objects = 1, .made = true),
	STEP("a second one, which is another object", HW_ATTACH, A, 12, NESTED(V_PARENT, 0x2000), 0,
		.objects = 1, .made = true),
	STEP("a guest's table with each flag", HW_ATTACH, A, 13,
		NESTED_FULL(HW_TABLE_HWPT, V_PARENT, 0x7ffffffff000, 48,
			HW_VTD_S1_SRE | HW_VTD_S1_EAFE | HW_VTD_S1_WPE),
		0, .objects = 1, .made = true),
	STEP("a guest's table on what is no nest parent", HW_ATTACH, A, 14, NESTED(V_TABLE, 0x1000),
		REASON_TABLE_KIND),
	STEP("a guest's table on nothing", HW_ATTACH, A, 14, NESTED(V_GONE, 0x1000),
		REASON_TABLE_KIND),
	STEP("a guest's table of 57 bits", HW_ATTACH, A, 14,
		NESTED_FULL(HW_TABLE_HWPT, V_PARENT, 0x1000, 57, 0), REASON_TABLE_WIDTH),
	STEP("a guest's table of 39 bits", HW_ATTACH, A, 14,
		NESTED_FULL(HW_TABLE_HWPT, V_PARENT, 0x1000, 39, 0), REASON_TABLE_WIDTH),
	STEP("a guest's table within a page", HW_ATTACH, A, 14, NESTED(V_PARENT, 0x1800),
		REASON_TABLE_ADDRESS),
	STEP("a guest's table with an unknown flag", HW_ATTACH, A, 14,
		NESTED_FULL(HW_TABLE_HWPT, V_PARENT, 0x1000, 48, 8), REASON_TABLE_FLAGS),
	STEP("a kind of page table that there is not", HW_ATTACH, A, 14,
		((struct hw_table){.kind = 99}), REASON_TABLE_KIND),

	STEP("the RID, without ALLOC_PASID beside PASIDs", HW_ATTACH, A, AT_RID, TABLE(V_PLAIN),
		REASON_TABLE_KIND),
	STEP("the RID, with a guest's table", HW_ATTACH, A, AT_RID, NESTED(V_PARENT, 0x3000), 0,
		.objects = 1, .made = true),
	STEP("the RID again", HW_ATTACH, A, AT_RID, TABLE(V_TABLE), REASON_RID_ATTACHED),

	STEP("a guest's table in the place of the VMM's", HW_REPLACE, A, 5,
		NESTED(V_PARENT, 0x4000), 0, .objects = 1, .made = true),
	STEP("another guest's table in its place", HW_REPLACE, A, 5, NESTED(V_PARENT, 0x5000), 0,
		.made = true),
	STEP("in its place nothing that there is", HW_REPLACE, A, 5, TABLE(V_GONE),
		REASON_TABLE_ID),
	STEP("in its place one without ALLOC_PASID: the earlier is attached again", HW_REPLACE, A,
		5, TABLE(V_PLAIN), REASON_TABLE_PASID),
	STEP("in its place one on what is no nest parent", HW_REPLACE, A, 5,
		NESTED(V_TABLE, 0x1000), REASON_TABLE_KIND),
	STEP("in its place one of 57 bits", HW_REPLACE, A, 5,
		NESTED_FULL(HW_TABLE_HWPT, V_PARENT, 0x1000, 57, 0), REASON_TABLE_WIDTH),
	STEP("what was never attached, replaced", HW_REPLACE, A, 15, TABLE(V_TABLE),
		REASON_NOT_BOUND, .left = HW_LEFT_DOUBT),
	STEP("at the RID one without ALLOC_PASID: the earlier is attached again", HW_REPLACE, A,
		AT_RID, TABLE(V_PLAIN), REASON_TABLE_KIND),
	STEP("at the RID the VMM's page table", HW_REPLACE, A, AT_RID, TABLE(V_TABLE), 0,
		.objects = -1),
	STEP("at the RID a guest's again", HW_REPLACE, A, AT_RID, NESTED(V_PARENT, 0x6000), 0,
		.objects = 1, .made = true),
	STEP("the VMM's page table in the place of a guest's", HW_REPLACE, A, 11, TABLE(V_OTHER), 0,
		.objects = -1),
	STEP("what stands there", HW_LOOK, A, 11, NO_TABLE, 0),
	STEP("what does not", HW_LOOK, A, 15, NO_TABLE, 0, .left = HW_LEFT_NOTHING),

	STEP("the driver is to fail", STEP_FAIL_SECOND, A, SELFTEST_FAILS, NO_TABLE, 0),
	STEP("a PASID whose replacement fails", HW_ATTACH, A, SELFTEST_FAILS,
		NESTED(V_PARENT, 0x8000), 0, .objects = 1, .made = true),
	STEP("the driver fails: the earlier is attached again", HW_REPLACE, A, SELFTEST_FAILS,
		NESTED(V_PARENT, 0x9000), REASON_MEMLOCK),
	STEP("it is detached", HW_DETACH, A, SELFTEST_FAILS, NO_TABLE, 0, .objects = -1),

	STEP("the VMM destroys a nest parent in use", STEP_VMM_DESTROYS, A, V_PARENT, NO_TABLE,
		EBUSY),
	STEP("the VMM destroys a page table in use", STEP_VMM_DESTROYS, A, V_OTHER, NO_TABLE,
		EBUSY),
	STEP("a detach", HW_DETACH, A, 11, NO_TABLE, 0),
	STEP("the VMM destroys what is used no more", STEP_VMM_DESTROYS, A, V_OTHER, NO_TABLE, 0,
		.objects = -1),
	STEP("a detach of what is detached", HW_DETACH, A, 11, NO_TABLE, 0),
	STEP("a detach that destroys the guest's table", HW_DETACH, A, 12, NO_TABLE, 0,
		.objects = -1),
	STEP("a detach of one of two with one page table", HW_DETACH, A, 7, NO_TABLE, 0),
	STEP("a detach of the other", HW_DETACH, A, 9, NO_TABLE, 0, .objects = -1),

	STEP("a further function of the VMM's is opened", HW_OPEN, B, 0, NO_TABLE, 0),
	STEP("its PASID of the same number", HW_ATTACH, B, 5, NESTED(V_PARENT, 0xa000), 0,
		.objects = 1, .made = true),
	STEP("its RID", HW_ATTACH, B, AT_RID, TABLE(V_TABLE), 0),
	STEP("a detach there", HW_DETACH, B, 5, NO_TABLE, 0, .objects = -1),
	STEP("a guest's table there again", HW_ATTACH, B, 6, NESTED(V_PARENT, 0xb000), 0,
		.objects = 1, .made = true),
	STEP("the function is closed with what is attached", HW_CLOSE, B, 0, NO_TABLE, 0,
		.objects = -1),
	STEP("the function that is closed", HW_ATTACH, B, 5, TABLE(V_TABLE), REASON_NO_DEVICE),

	STEP("a shared function is opened", HW_OPEN, S, 0, NO_TABLE, 0),
	STEP("memory of a set there", HW_MAP, S, 1, NO_TABLE, 0, .objects = 1, .owner = 7),
	STEP("memory of another set", HW_MAP, S, 1, NO_TABLE, 0, .objects = 1, .owner = 8),
	STEP("a guest's table on memory of the set", HW_ATTACH, S, 20, NESTED_SPACE(1, 0x1000), 0,
		.objects = 2, .owner = 7, .made = true),
	STEP("a second one, on the same nest parent", HW_ATTACH, S, 21, NESTED_SPACE(1, 0x2000), 0,
		.objects = 1, .owner = 7, .made = true),
	STEP("a guest's table of the other set", HW_ATTACH, S, 22, NESTED_SPACE(1, 0x1000), 0,
		.objects = 2, .owner = 8, .made = true),
	STEP("the address space itself", HW_ATTACH, S, 23, SPACE(1), 0, .objects = 1, .owner = 7,
		.made = true),
	STEP("an address space that nobody filled", HW_ATTACH, S, 24, NESTED_SPACE(2, 0x1000),
		REASON_NOT_MAPPED, .owner = 7),
	STEP("an id of the kernel's", HW_ATTACH, S, 24, TABLE(V_TABLE), REASON_TABLE_KIND,
		.owner = 7),
	STEP("a guest's table on an id of the kernel's", HW_ATTACH, S, 24, NESTED(V_PARENT, 0x1000),
		REASON_TABLE_KIND, .owner = 7),
	STEP("the first in the place of a guest's", HW_REPLACE, S, 21, SPACE(1), 0, .objects = -1,
		.owner = 7, .made = true),
	STEP("a set leaves that is attached", HW_LEAVE, S, 0, NO_TABLE, REASON_DEVICE_BUSY,
		.owner = 8),
	STEP("its detach, and its nest parent goes", HW_DETACH, S, 22, NO_TABLE, 0, .objects = -2,
		.owner = 8),
	STEP("a set leaves", HW_LEAVE, S, 0, NO_TABLE, 0, .objects = -1, .owner = 8),
	STEP("a detach that leaves nothing nested", HW_DETACH, S, 20, NO_TABLE, 0, .objects = -2,
		.owner = 7),
	STEP("the shared function is closed with what is attached", HW_CLOSE, S, 0, NO_TABLE, 0,
		.objects = -2, .owner = 7),

	STEP("the first function is closed with what is attached", HW_CLOSE, A, 0, NO_TABLE, 0,
		.objects = -3),
};

/* Every place that a step names, and two beside them. */
const uint32_t steps_places[STEPS_PLACES] = {AT_RID, 1, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 20, 21,
	22, 23, 24, SELFTEST_FAILS, (1u << 20) - 1};

struct function {
	uint32_t rid;
	int iommufd; /* -1: not open */
	uint32_t at[STEPS_PLACES];
	struct hw_table table[STEPS_PLACES];
	unsigned objects;   /* that it is itself */
	unsigned *expected; /* of its iommufd */
};

static struct run {
	struct vmm vmm;
	enum wrong wrong;
	struct function functions[3];
	unsigned vmm_objects, shared_objects;
	uint32_t viommu; /* of the last table that has one */
	uint32_t queue;
	int queue_fd;
	char why[256];
} run;

static struct function *run_function(uint32_t rid)
{
	size_t i = 0;

	while (run.functions[i].rid != rid)
		i++;
	return &run.functions[i];
}

static size_t run_place(uint32_t pasid)
{
	for (size_t i = 0; i < STEPS_PLACES; i++)
		if (steps_places[i] == pasid)
			return i;
	return STEPS_PLACES;
}

static const char *reason_name(uint32_t reason)
{
	return reason ? reason_text((enum reason)reason) : "done";
}

__attribute__((format(printf, 1, 2))) static void run_say(const char *format, ...)
{
	va_list args;

	if (run.why[0])
		return;
	va_start(args, format);
	(void)vsnprintf(run.why, sizeof(run.why), format, args);
	va_end(args);
}

/* --- carrying out --- */

static void run_open(const struct step *step)
{
	struct function *function = run_function(step->rid);
	const struct world *world = run.vmm.world;
	unsigned before = 0;

	if (step->rid == S) {
		struct hw_op op = selftest_op(HW_IDENTIFY, S, 0, (struct hw_table){0});

		if (vmm_run(&run.vmm, op) ||
			vmm_run(&run.vmm, selftest_op(HW_OPEN, S, 0, op.table)))
			selftest_die("%s: %s", step->what, run.vmm.result.error.text);
		(void)vmm_run(&run.vmm, selftest_op(HW_REPORT, S, 0, op.table));
		function->iommufd = (int)run.vmm.result.iommufd_key;
	} else {
		before = world->objects(world, run.vmm.iommufd);
		vmm_open(&run.vmm, step->rid);
		function->iommufd = run.vmm.iommufd;
	}
	function->objects = world->objects(world, function->iommufd) - before;
	*function->expected += function->objects;
}

static uint32_t run_map(struct hw_op op)
{
	int memfd = memfd_create("selftest", MFD_CLOEXEC);

	if (memfd < 0 || ftruncate(memfd, 1 << 20) < 0)
		selftest_die("no memory to map");
	op.fd_count = 1;
	op.fds[0] = memfd;
	op.length = 1 << 20;
	op.iova = 0x10000000;
	op.map_flags = HW_MAP_WRITE;
	op.space = op.pasid.v;
	return vmm_run(&run.vmm, op);
}

static uint32_t run_execute(const struct step *step, struct hw_table table)
{
	const struct world *world = run.vmm.world;
	struct hw_op op = selftest_op((enum hw_kind)step->kind, step->rid, step->pasid, table);

	op.owner = step->owner;
	memset(&run.vmm.result, 0, sizeof(run.vmm.result));
	switch (step->kind) {
	case STEP_VMM_DESTROYS:
		return (uint32_t)-world->calls->destroy(
			world->ctx, run.vmm.iommufd, run.vmm.object[step->pasid]);
	case STEP_FAIL_SECOND:
		world->fail_second(world, (struct hpasid){step->pasid});
		return 0;
	case STEP_VMM_QUEUE:
		return (uint32_t)-selftest_event_queue(
			run.vmm.iommufd, run.viommu, &run.queue, &run.queue_fd);
	case STEP_VMM_QUEUE_ENDS:
		(void)close(run.queue_fd);
		return (uint32_t)-world->calls->destroy(world->ctx, run.vmm.iommufd, run.queue);
	case HW_OPEN:
		run_open(step);
		return 0;
	case HW_MAP:
		return run_map(op);
	default:
		return vmm_run(&run.vmm, op);
	}
}

/* --- what must be --- */

/* Keeps what must stand where from now on. */
static void run_expect(const struct step *step, uint32_t reason)
{
	struct function *function = run_function(step->rid);
	size_t place = run_place(step->pasid);

	*function->expected += (unsigned)step->objects;
	if (reason && step->kind == HW_REPLACE && run.vmm.result.left == HW_LEFT_NOTHING)
		function->at[place] = 0;
	if (reason)
		return;
	if (step->kind == HW_ATTACH || step->kind == HW_REPLACE) {
		function->at[place] = run.vmm.result.pt_id;
		function->table[place] = step->table;
	} else if (step->kind == HW_DETACH) {
		function->at[place] = 0;
	} else if (step->kind == HW_CLOSE) {
		*function->expected -= function->objects;
		function->iommufd = -1;
		memset(function->at, 0, sizeof(function->at));
	}
}

static bool step_nested(const struct hw_table *table)
{
	return table->kind == HW_TABLE_VTD_S1 || table->kind == HW_TABLE_SMMUV3;
}

static void run_compare_place(const struct function *function, size_t place)
{
	const struct world *world = run.vmm.world;
	const struct hpasid pasid = {steps_places[place]};
	const struct hpasid *at = steps_places[place] == AT_RID ? NULL : &pasid;
	const struct rid rid = {(uint16_t)function->rid};
	uint32_t pt_id = function->at[place];

	if (!world->stands(world, rid, at, pt_id))
		run_say("at %x of function %x there is not %u", steps_places[place], function->rid,
			pt_id);
	if (pt_id && world->stands(world, rid, at, 0))
		run_say("at %x of function %x there is nothing and something", steps_places[place],
			function->rid);
	if (pt_id && step_nested(&function->table[place]) &&
		!world->nested_is(world, function->iommufd, pt_id, &function->table[place]))
		run_say("page table %u is not what the guest described", pt_id);
}

static void run_compare(void)
{
	const struct world *world = run.vmm.world;

	for (size_t i = 0; i < ARRAY_SIZE(run.functions); i++) {
		const struct function *function = &run.functions[i];
		unsigned objects;

		if (function->iommufd < 0)
			continue;
		for (size_t place = 0; place < STEPS_PLACES; place++)
			run_compare_place(function, place);
		objects = world->objects(world, function->iommufd);
		if (objects != *function->expected)
			run_say("there are %u objects, not %u", objects, *function->expected);
	}
}

/* Expects something else than is right, at the first step where it can be told. */
static void run_spoil(struct step *step)
{
	struct function *first = &run.functions[0];
	static bool done;
	size_t place = run_place(run.vmm.world->iommu == HW_IOMMU_VTD ? 5 : AT_RID);
	enum wrong wrong = done ? WRONG_NOTHING : run.wrong;

	done = true;
	if (wrong == WRONG_REASON && step->reason)
		step->reason = REASON_INTERNAL;
	else if (wrong == WRONG_STANDS && first->at[place])
		first->at[place]++;
	else if (wrong == WRONG_ABSENT && first->at[place])
		first->at[place] = 0;
	else if (wrong == WRONG_NESTED && step_nested(&first->table[place])) {
		first->table[place].pgtbl_addr += 0x1000;
		first->table[place].ste[0] += 0x1000;
	} else if (wrong == WRONG_OBJECTS && step->objects)
		++*first->expected;
	else
		done = false;
}

static void run_step(struct step step)
{
	const struct hw_result *result = &run.vmm.result;
	uint32_t reason;

	if (step.queue && !run.vmm.world->queues)
		return;
	reason = run_execute(&step, vmm_table(&run.vmm, step.table));
	run.why[0] = '\0';
	run_expect(&step, reason);
	run_spoil(&step);
	if (reason != step.reason)
		run_say("it is %s, not %s: %s", reason_name(reason), reason_name(step.reason),
			result->error.text);
	if (reason == step.reason && result->left != step.left)
		run_say("left is %u, not %u", result->left, step.left);
	if (!reason && (step.kind == HW_ATTACH || step.kind == HW_REPLACE) &&
		result->made_pt != step.made)
		run_say("made is %u, not %u", result->made_pt, step.made);
	if (!reason && (step.kind == HW_ATTACH || step.kind == HW_REPLACE) &&
		(!result->viommu || !result->vdevice) == (step.table.kind == HW_TABLE_SMMUV3))
		run_say("the guest's IOMMU is %u, the device in it %u", result->viommu,
			result->vdevice);
	if (result->viommu)
		run.viommu = result->viommu;
	run_compare();
	/* What is the same on both kernels: ids may differ. */
	if (!step.queue)
		printf("step %s: %s, left %u, made %u, %+d objects\n", step.what,
			step.kind >= STEP_VMM_DESTROYS ? strerrorname_np((int)reason)
						       : reason_name(reason),
			result->left, result->made_pt, step.objects);
	selftest_check(!run.why[0], run.why, "%s: %s", run.vmm.world->name, step.what);
}

struct vmm *steps_begin(const struct world *world)
{
	vmm_start(&run.vmm, world);
	for (size_t i = 0; i < ARRAY_SIZE(run.functions); i++)
		run.functions[i].iommufd = -1;
	run.functions[0].rid = A;
	run.functions[0].iommufd = run.vmm.iommufd;
	run.functions[0].expected = run.functions[1].expected = &run.vmm_objects;
	run.functions[1].rid = B;
	run.functions[2].rid = S;
	run.functions[2].expected = &run.shared_objects;
	run.vmm_objects = world->objects(world, run.vmm.iommufd);
	return &run.vmm;
}

bool steps_open(uint32_t rid)
{
	return run_function(rid)->iommufd >= 0;
}

uint32_t steps_standing(uint32_t rid, size_t place)
{
	return run_function(rid)->at[place];
}

void steps_do(const struct step *step, bool raw)
{
	const struct world *world = run.vmm.world;
	const struct function *function = run_function(step->rid);
	uint32_t reason = run_execute(step, raw ? step->table : vmm_table(&run.vmm, step->table));
	int more = 0;

	if (step->kind == STEP_VMM_DESTROYS && !reason)
		vmm_remake(&run.vmm, (enum vmm_object)step->pasid);
	run.why[0] = '\0';
	run_expect(step, reason);
	/* The iommufd of a shared function that is closed is closed. */
	if (function->iommufd >= 0 || step->rid != S)
		more = (int)(world->objects(
				     world, step->rid == S ? function->iommufd : run.vmm.iommufd) -
			     *function->expected);
	*function->expected += (unsigned)more;
	run_compare();
	printf("step %s: %s, left %u, made %u, %+d objects\n", step->what,
		step->kind >= STEP_VMM_DESTROYS ? strerrorname_np((int)reason)
						: reason_name(reason),
		run.vmm.result.left, run.vmm.result.made_pt, more);
	if (run.why[0])
		selftest_check(false, run.why, "%s: %s", world->name, step->what);
}

void selftest_steps(const struct world *world, enum wrong wrong)
{
	run.wrong = wrong;
	(void)steps_begin(world);
	if (world->iommu == HW_IOMMU_SMMUV3)
		for (size_t i = 0; i < smmuv3_step_count; i++)
			run_step(smmuv3_steps[i]);
	else
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
			run_step(steps[i]);
	vmm_end(&run.vmm);
}
