/* SPDX-License-Identifier: MIT */
/*
 * A guest's stream table entry, for a whole RID: what the kernel wants below it, and in which order
 * it lets go of that.
 */
#include "selftest_steps.h"

#include <errno.h>

enum {
	A = SELFTEST_A,
	B = SELFTEST_B,
	S = SELFTEST_SHARED,
};

const struct step smmuv3_steps[] = {
	STEP("an entry for a PASID", HW_ATTACH, A, 5, STE(V_PARENT, 1, 0x1000), REASON_TABLE_KIND),
	STEP("a table of VT-d", HW_ATTACH, A, AT_RID, NESTED(V_PARENT, 0x1000), REASON_NO_NESTING),
	STEP("an entry with a field that is not the guest's", HW_ATTACH, A, AT_RID,
		STE_FULL(HW_TABLE_HWPT, V_PARENT, 1, 0xb | 0x1000, UINT64_C(1) << 25),
		REASON_TABLE_FIELD),
	STEP("an entry on what is no nest parent", HW_ATTACH, A, AT_RID, STE(V_TABLE, 1, 0x1000),
		REASON_TABLE_KIND),
	STEP("an entry on nothing", HW_ATTACH, A, AT_RID, STE(V_GONE, 1, 0x1000), REASON_TABLE_ID),
	STEP("an entry on an address space that is none", HW_ATTACH, A, AT_RID,
		STE_IOAS(V_GONE, 1, 0x1000), REASON_TABLE_KIND),

	STEP("an entry", HW_ATTACH, A, AT_RID, STE(V_PARENT, 1, 0x1000), 0, .objects = 3,
		.made = true),
	STEP("the RID again", HW_ATTACH, A, AT_RID, STE(V_PARENT, 1, 0x2000), REASON_RID_ATTACHED),
	STEP("a PASID beside it", HW_ATTACH, A, 5, TABLE(V_TABLE), REASON_RID_CLAIMED),
	STEP("another entry in its place", HW_REPLACE, A, AT_RID, STE(V_PARENT, 1, 0x2000), 0,
		.made = true),
	STEP("one that bypasses", HW_REPLACE, A, AT_RID,
		STE_FULL(HW_TABLE_HWPT, V_PARENT, 1, 0x9, 0), 0, .made = true),
	STEP("one that is not valid", HW_REPLACE, A, AT_RID,
		STE_FULL(HW_TABLE_HWPT, V_PARENT, 1, 0x1000, 0), 0, .made = true),
	STEP("stage 1 again", HW_REPLACE, A, AT_RID, STE(V_PARENT, 1, 0x3000), 0, .made = true),
	STEP("in its place one of another stream", HW_REPLACE, A, AT_RID, STE(V_PARENT, 2, 0x4000),
		REASON_STREAM_FIXED),
	STEP("in its place one on another parent", HW_REPLACE, A, AT_RID, STE(V_TABLE, 1, 0x4000),
		REASON_STREAM_FIXED),
	STEP("in its place one with a bad field", HW_REPLACE, A, AT_RID,
		STE_FULL(HW_TABLE_HWPT, V_PARENT, 1, 0xd, 0), REASON_TABLE_FIELD),
	STEP("in its place nothing that there is", HW_REPLACE, A, AT_RID, TABLE(V_GONE),
		REASON_TABLE_ID),

	STEP("a further function of the VMM's is opened", HW_OPEN, B, 0, NO_TABLE, 0),
	STEP("its entry under the name of the first", HW_ATTACH, B, AT_RID,
		STE(V_PARENT, 1, 0x1000), REASON_STREAM_TAKEN),
	STEP("its entry under a name of its own, in the same IOMMU", HW_ATTACH, B, AT_RID,
		STE(V_PARENT, 2, 0x1000), 0, .objects = 2, .made = true),
	STEP("the VMM destroys a nest parent in use", STEP_VMM_DESTROYS, A, V_PARENT, NO_TABLE,
		EBUSY),
	STEP("the first is detached, and the IOMMU stays", HW_DETACH, A, AT_RID, NO_TABLE, 0,
		.objects = -2),
	STEP("a PASID there", HW_ATTACH, A, 5, TABLE(V_TABLE), 0),
	STEP("an entry beside a PASID", HW_ATTACH, A, AT_RID, STE(V_PARENT, 1, 0x1000),
		REASON_PASIDS_BOUND),
	STEP("the PASID is detached", HW_DETACH, A, 5, NO_TABLE, 0),
	STEP("an entry on an address space of the VMM's, in an IOMMU of its own", HW_ATTACH, A,
		AT_RID, STE_IOAS(V_IOAS, 1, 0x1000), 0, .objects = 4, .made = true),
	STEP("a page table of the VMM's in its place", HW_REPLACE, A, AT_RID, TABLE(V_TABLE), 0,
		.objects = -4),
	STEP("an entry in the place of that", HW_REPLACE, A, AT_RID, STE(V_PARENT, 1, 0x5000), 0,
		.objects = 2, .made = true),
	STEP("in its place one without ALLOC_PASID", HW_REPLACE, A, AT_RID, TABLE(V_PLAIN), 0,
		.objects = -2),
	STEP("an entry again", HW_REPLACE, A, AT_RID, STE(V_PARENT, 1, 0x6000), 0, .objects = 2,
		.made = true),
	STEP("the second is closed with its entry", HW_CLOSE, B, 0, NO_TABLE, 0, .objects = -2),

	STEP("a detach, and nothing stays", HW_DETACH, A, AT_RID, NO_TABLE, 0, .objects = -3),

	STEP("an entry", HW_ATTACH, A, AT_RID, STE(V_PARENT, 1, 0x1000), 0, .objects = 3,
		.made = true, .queue = true),
	STEP("the VMM makes an event queue", STEP_VMM_QUEUE, A, 0, NO_TABLE, 0, .objects = 1,
		.queue = true),
	STEP("a detach, and the IOMMU stays because of the queue", HW_DETACH, A, AT_RID, NO_TABLE,
		0, .objects = -2, .queue = true),
	STEP("an entry, in the IOMMU that stayed", HW_ATTACH, A, AT_RID, STE(V_PARENT, 3, 0x7000),
		0, .objects = 2, .made = true, .queue = true),
	STEP("the VMM ends the queue", STEP_VMM_QUEUE_ENDS, A, 0, NO_TABLE, 0, .objects = -1,
		.queue = true),
	STEP("a detach, and nothing stays", HW_DETACH, A, AT_RID, NO_TABLE, 0, .objects = -3,
		.queue = true),

	STEP("a shared function is opened", HW_OPEN, S, 0, NO_TABLE, 0),
	STEP("memory of a set there", HW_MAP, S, 1, NO_TABLE, 0, .objects = 1, .owner = 7),
	STEP("an entry on an id of the kernel's", HW_ATTACH, S, AT_RID, STE(V_PARENT, 1, 0x1000),
		REASON_TABLE_KIND, .owner = 7),
	STEP("an entry on memory of the set", HW_ATTACH, S, AT_RID, STE_SPACE(1, 1, 0x1000), 0,
		.objects = 4, .owner = 7, .made = true),
	STEP("the set leaves, attached", HW_LEAVE, S, 0, NO_TABLE, REASON_DEVICE_BUSY, .owner = 7),
	STEP("a detach there", HW_DETACH, S, AT_RID, NO_TABLE, 0, .objects = -4, .owner = 7),
	STEP("the set leaves", HW_LEAVE, S, 0, NO_TABLE, 0, .objects = -1, .owner = 7),

	STEP("an entry", HW_ATTACH, A, AT_RID, STE(V_PARENT, 1, 0x1000), 0, .objects = 3,
		.made = true),
	STEP("the function is closed with it", HW_CLOSE, A, 0, NO_TABLE, 0, .objects = -3),
};
const size_t smmuv3_step_count = ARRAY_SIZE(smmuv3_steps);
