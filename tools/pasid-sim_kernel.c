/* SPDX-License-Identifier: MIT */
#include "pasid-sim_kernel.h"

#include "hw/smmuv3_fault.h"
#include "hw/vtd_fault.h"

#include <stdio.h>

/* Where the walk ended, as a fault reason. First-stage and second-stage refusals of an absent page
 * are one reason for reads and another for writes, where the hardware has them so. */
static uint32_t vtd_reason(enum vtd_stop stop, bool write)
{
	static const uint32_t reasons[VTD_STOP_COUNT] = {
		[VTD_NO_ROOT] = VTD_REASON_ROOT_ABSENT,
		[VTD_NO_CONTEXT] = VTD_REASON_CONTEXT_ABSENT,
		[VTD_PASID_DISABLED] = VTD_REASON_PASID_DISABLED,
		[VTD_PASID_RANGE] = VTD_REASON_PASID_RANGE,
		[VTD_NO_DIRECTORY] = VTD_REASON_DIRECTORY_ABSENT,
		[VTD_NO_ENTRY] = VTD_REASON_ENTRY_ABSENT,
		[VTD_BAD_ENTRY] = VTD_REASON_ENTRY_BAD,
		[VTD_ADDRESS] = VTD_REASON_NOT_CANONICAL,
		[VTD_FIRST_ABSENT] = VTD_REASON_FIRST_ABSENT,
		[VTD_SECOND_ABSENT] = VTD_REASON_SECOND_DENIED,
		[VTD_SECOND_DENIED] = VTD_REASON_SECOND_DENIED,
		[VTD_RESERVED] = VTD_REASON_FIRST_RESERVED,
		[VTD_UNREADABLE] = VTD_REASON_FIRST_ACCESS,
	};

	if (stop == VTD_FIRST_DENIED)
		return write ? VTD_REASON_NO_WRITE : VTD_REASON_NO_READ;
	return stop < VTD_STOP_COUNT ? reasons[stop] : 0;
}

/* As an event; 0: none is reported. */
static uint32_t smmuv3_event(enum smmuv3_stop stop)
{
	return stop == SMMUV3_UNREADABLE ? SMMUV3_F_WALK_EABT
					 : smmuv3_event_find(smmuv3_stop_text(stop));
}

static void print_vtd(struct fault *fault, enum vtd_stop stop)
{
	char line[VTD_FAULT_LINE_MAX];

	fault->code = vtd_reason(stop, fault->write);
	if (fault->code && vtd_fault_format(fault, line, sizeof(line)))
		(void)printf("DMAR: DRHD: handling fault status reg 2\n%s\n", line);
}

static void print_smmuv3(struct fault *fault, const struct smmuv3_walk_result *walk)
{
	char lines[SMMUV3_FAULT_LINES_MAX];

	fault->code = smmuv3_event(walk->stop);
	fault->stream = fault->rid.v & 0xffff;
	fault->stage = walk->stage;
	if (!walk->stage) {
		fault->has_address = false;
		fault->has_access = false;
	}
	if (fault->code && smmuv3_fault_format(fault, lines, sizeof(lines)))
		(void)fputs(lines, stdout);
}

void kernel_lines_print(struct rid rid, const struct hpasid *pasid, uint64_t address, bool write,
	const struct sim_walk_result *walk)
{
	struct fault fault = {
		.kind = FAULT_DMA,
		.rid = rid,
		.has_rid = true,
		.has_pasid = pasid != NULL,
		.pasid = pasid ? pasid->v : 0,
		.has_address = true,
		.address = address,
		.has_access = true,
		.write = write,
		.has_code = true,
	};

	if (walk->is_smmuv3)
		print_smmuv3(&fault, &walk->smmuv3);
	else
		print_vtd(&fault, walk->vtd.stop);
}
