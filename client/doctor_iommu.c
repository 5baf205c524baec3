/* SPDX-License-Identifier: MIT */
/* What the IOMMUs of a host can do. */
#include "doctor.h"

#include "hw/vtd_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool doctor_register(const char *text, uint64_t *ret_value)
{
	unsigned long long value;
	char *end;

	if (!text || strspn(text, "0123456789abcdefABCDEFx") == 0)
		return false;
	errno = 0;
	value = strtoull(text, &end, 16);
	if (errno != 0 || end == text || (*end != '\0' && *end != '\n'))
		return false;
	*ret_value = value;
	return true;
}

enum doctor_iommu doctor_iommu_kind(const char *name)
{
	if (strncmp(name, "dmar", 4) == 0)
		return DOCTOR_IOMMU_VTD;
	return strncmp(name, "smmu3", 5) == 0 ? DOCTOR_IOMMU_SMMUV3 : DOCTOR_IOMMU_OTHER;
}

static const char *iommu_guest_tables(const struct vtd_caps *caps)
{
	if (!caps->nest || !caps->first_stage || !caps->second_stage)
		return "no tables of guests (ECAP.NEST)";
	return caps->fl5lp ? "tables of guests with 48 or 57 bits"
			   : "tables of guests with 48 bits";
}

bool doctor_check_vtd(
	struct doctor_report *report, const char *unit, const char *cap, const char *ecap)
{
	char name[DOCTOR_NAME_MAX];
	struct vtd_caps caps;
	uint64_t words[2];

	(void)snprintf(name, sizeof(name), "unit %s", unit);
	if (!doctor_register(cap, &words[0]) || !doctor_register(ecap, &words[1])) {
		doctor_add(
			report, DOCTOR_UNKNOWN, name, NULL, "VT-d; its registers cannot be read");
		return true;
	}
	caps = vtd_caps_decode(words[0], words[1]);
	if (!caps.scalable || !caps.pasid)
		doctor_add(report, DOCTOR_WARNING, name,
			"use functions behind other units, or a host whose VT-d has scalable mode and PASIDs",
			"VT-d without %s: no PASID can be attached behind it",
			caps.scalable ? "PASIDs (ECAP.PASID)" : "scalable mode (ECAP.SMTS)");
	else
		doctor_add(report, DOCTOR_OK, name, NULL,
			"VT-d with scalable mode, PASIDs of %u bits, %s", caps.pasid_width,
			iommu_guest_tables(&caps));
	return caps.scalable && caps.pasid;
}

void doctor_check_smmuv3(struct doctor_report *report, const char *unit)
{
	char name[DOCTOR_NAME_MAX];

	(void)snprintf(name, sizeof(name), "unit %s", unit);
	doctor_add(report, DOCTOR_UNKNOWN, name,
		"compare with pasidctl devices, once a function is registered: WIDTH 0 is without substreams",
		"SMMUv3; whether it has substreams, which host-owned PASIDs need, is not in sysfs");
}

void doctor_check_iommu(
	struct doctor_report *report, enum doctor_iommu iommu, size_t units, size_t capable)
{
	static const char simulate[] =
		"switch it on in the firmware (VT-d, SMMU) and boot with intel_iommu=on,sm_on on Intel; "
		"without one, try pasidd with the simulator: pasidctl demo";

	if (iommu == DOCTOR_IOMMU_NONE)
		doctor_add(report, DOCTOR_PROBLEM, "iommu", simulate, "the kernel uses no IOMMU");
	else if (iommu == DOCTOR_IOMMU_OTHER)
		doctor_add(report, DOCTOR_PROBLEM, "iommu",
			"use a host with VT-d in scalable mode or SMMUv3; to try pasidd here: pasidctl demo",
			"%zu units, of a kind that attaches no PASIDs for user space", units);
	else if (capable == 0)
		doctor_add(report, DOCTOR_PROBLEM, "iommu",
			"use another host; to try pasidd here: pasidctl demo",
			"no unit of %zu can have PASIDs", units);
	else
		doctor_add(report, DOCTOR_OK, "iommu", NULL, "%s, %zu of %zu units can have PASIDs",
			iommu == DOCTOR_IOMMU_VTD ? "VT-d" : "SMMUv3", capable, units);
}
