/* SPDX-License-Identifier: MIT */
#include "selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned selftest_failed;

bool selftest_check(bool good, const char *why, const char *format, ...)
{
	va_list args;

	printf("%s ", good ? "ok" : "not ok");
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	printf("%s%s\n", good ? "" : ": ", good || !why ? "" : why);
	if (!good)
		selftest_failed++;
	return good;
}

void selftest_die(const char *format, ...)
{
	va_list args;

	printf("not ok the program ends: ");
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(1);
}

struct hw_op selftest_op(enum hw_kind kind, uint32_t rid, uint32_t pasid, struct hw_table table)
{
	return (struct hw_op){
		.kind = kind,
		.device = rid,
		.rid = {(uint16_t)rid},
		.has_pasid = pasid != AT_RID,
		.pasid = {pasid == AT_RID ? 0 : pasid},
		.table = table,
	};
}

uint32_t vmm_run(struct vmm *vmm, struct hw_op op)
{
	const struct world *world = vmm->world;

	backend_execute(vmm->backend, &op, &vmm->result);
	if (vmm->result.status == 0)
		return 0;
	for (uint32_t i = 0; i < vmm->result.fd_count; i++)
		world->calls->close(world->ctx, vmm->result.fds[i]);
	return vmm->result.error.reason;
}

struct hw_table vmm_table(const struct vmm *vmm, struct hw_table symbolic)
{
	bool nested = symbolic.kind == HW_TABLE_VTD_S1 || symbolic.kind == HW_TABLE_SMMUV3;

	if ((nested && symbolic.parent_kind != HW_TABLE_SPACE) || symbolic.kind == HW_TABLE_HWPT ||
		symbolic.kind == HW_TABLE_IOAS)
		symbolic.id = vmm->object[symbolic.id];
	return symbolic;
}

void vmm_open(struct vmm *vmm, uint32_t rid)
{
	const struct world *world = vmm->world;
	struct hw_op op = selftest_op(HW_IDENTIFY, rid, AT_RID, (struct hw_table){0});
	int device = -1, r = world->calls->open_device(world->ctx, op.rid, &device);

	op.fd_count = 2;
	op.fds[0] = fcntl(vmm->iommufd, F_DUPFD_CLOEXEC, 0);
	op.fds[1] = device;
	if (r < 0 || vmm_run(vmm, op) || vmm_run(vmm, selftest_op(HW_OPEN, rid, 0, op.table)))
		selftest_die("function %x cannot be opened: %s", rid, vmm->result.error.text);
}

void vmm_remake(struct vmm *vmm, enum vmm_object object)
{
	const struct world *world = vmm->world;
	/* An SMMUv3 takes not both. */
	uint32_t parent =
		CALLS_HWPT_NEST_PARENT | (world->iommu == HW_IOMMU_VTD ? CALLS_HWPT_PASID : 0);
	const uint32_t flags[V_COUNT] = {
		[V_TABLE] = CALLS_HWPT_PASID, [V_OTHER] = CALLS_HWPT_PASID, [V_PARENT] = parent};
	const struct calls_hwpt hwpt = {.flags = flags[object],
		.dev_id = vmm->dev_id,
		.pt_id = object == V_OTHER ? vmm->other : vmm->object[V_IOAS]};
	int r = world->calls->hwpt_alloc(world->ctx, vmm->iommufd, &hwpt, &vmm->object[object]);

	if (r < 0)
		selftest_die("no page table: %s", strerror(-r));
}

void vmm_start(struct vmm *vmm, const struct world *world)
{
	*vmm = (struct vmm){.world = world, .iommufd = -1, .object[V_GONE] = 400};
	if (backend_new(world->calls, world->ctx, &vmm->backend) < 0 ||
		world->calls->open_iommufd(world->ctx, &vmm->iommufd) < 0)
		selftest_die("there is no iommufd");
	(void)world->objects(world, vmm->iommufd); /* whatever looks is there from now on */
	vmm_open(vmm, SELFTEST_A);
	vmm->dev_id = vmm->result.dev_id;
	selftest_check(vmm->result.info.iommu == world->iommu &&
			       vmm->result.info.pasid_width == 20 &&
			       (vmm->result.info.caps & (HW_CAP_PASID | HW_CAP_NESTED)) ==
				       (HW_CAP_PASID | HW_CAP_NESTED),
		NULL, "%s: the function is behind an IOMMU that nests, with 20 bits", world->name);
	if (world->calls->ioas_alloc(world->ctx, vmm->iommufd, &vmm->object[V_IOAS]) < 0 ||
		world->calls->ioas_alloc(world->ctx, vmm->iommufd, &vmm->other) < 0)
		selftest_die("no address space");
	for (enum vmm_object object = V_TABLE; object <= V_PLAIN; object++)
		vmm_remake(vmm, object);
}

void vmm_end(struct vmm *vmm)
{
	backend_free(vmm->backend);
	vmm->world->calls->close(vmm->world->ctx, vmm->iommufd);
}

static enum wrong wrong_of(const char *text)
{
	static const char *const names[] = {
		"nothing", "reason", "stands", "absent", "nested", "objects"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], text) == 0)
			return (enum wrong)i;
	selftest_die("no such mistake: %s", text);
}

int main(int argc, char **argv)
{
	const char *part = argc > 1 ? argv[1] : "";
	const char *seed = argc > 2 && strncmp(argv[2], "random-", 7) == 0 ? argv[2] + 7 : NULL;
	struct world world;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(part, "simulator") == 0)
		world = world_simulator(false);
	else if (strcmp(part, "smmuv3-simulator") == 0)
		world = world_simulator(true);
	else if (strcmp(part, "kernel") == 0 || strcmp(part, "faults") == 0)
		world = world_kernel(false);
	else if (strcmp(part, "smmuv3-kernel") == 0 || strcmp(part, "smmuv3-faults") == 0)
		world = world_kernel(true);
	else
		selftest_die(
			"usage: selftest [smmuv3-]kernel|[smmuv3-]simulator [MISTAKE|random-SEED], or "
			"selftest [smmuv3-]faults");
	if (strstr(part, "faults"))
		selftest_faults(&world);
	else if (seed)
		selftest_random(&world, (unsigned)strtoul(seed, NULL, 10), 200);
	else
		selftest_steps(&world, wrong_of(argc > 2 ? argv[2] : "nothing"));
	printf("end %u failed\n", selftest_failed);
	return selftest_failed ? 1 : 0;
}
