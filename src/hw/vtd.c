/* SPDX-License-Identifier: MIT */
#include "vtd.h"

#include "uapi.h"
#include "vtd_table.h"

_Static_assert(HW_VTD_S1_SRE == 1 && HW_VTD_S1_EAFE == 2 && HW_VTD_S1_WPE == 4, "as in iommufd.h");

static struct vtd_caps vtd_caps(const struct hw_info *info)
{
	return vtd_caps_decode(info->raw[0], info->raw[1]);
}

static void vtd_decode(const struct calls_info *raw, struct hw_info *info)
{
	const struct vtd_caps caps = vtd_caps_decode(raw->raw[0], raw->raw[1]);
	uint32_t bits = 0;

	/* The kernel's width is that of device and IOMMU together. */
	if (info->pasid_width > 0)
		bits |= HW_CAP_PASID;
	if (caps.scalable && caps.nest && caps.first_stage && caps.second_stage)
		bits |= HW_CAP_NESTED;
	if (caps.supervisor)
		bits |= HW_CAP_SRE | HW_CAP_WPE;
	if (caps.extended_access)
		bits |= HW_CAP_EAFE;
	if (caps.fl5lp)
		bits |= HW_CAP_FL5;
	info->caps = bits;
}

static int vtd_check_flags(
	const struct hw_info *info, const struct hw_table *table, struct error *ret_error)
{
	static const struct {
		uint64_t flag;
		uint32_t cap;
		const char *name;
	} known[] = {
		{HW_VTD_S1_SRE, HW_CAP_SRE, "SRE (supervisor requests)"},
		{HW_VTD_S1_EAFE, HW_CAP_EAFE, "EAFE (extended accessed flag)"},
		{HW_VTD_S1_WPE, HW_CAP_WPE, "WPE (supervisor write protection)"},
	};
	uint64_t rest = table->flags;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if ((rest & known[i].flag) && !(info->caps & known[i].cap))
			return error_set(ret_error, REASON_TABLE_FLAGS,
				"the IOMMU does not have %s", known[i].name);
		rest &= ~known[i].flag;
	}
	if (rest)
		return error_set(ret_error, REASON_TABLE_FLAGS,
			"unknown flags 0x%llx: SRE 1, EAFE 2 and WPE 4 are known",
			(unsigned long long)rest);
	return 0;
}

int vtd_check_nested(
	const struct hw_info *info, const struct hw_table *table, struct error *ret_error)
{
	uint32_t mgaw = vtd_caps(info).mgaw;

	if (!(info->caps & HW_CAP_NESTED))
		return error_set(ret_error, REASON_NO_NESTING,
			"this IOMMU does not nest first-stage tables (ECAP.NEST)");
	if (table->addr_width != 48 && table->addr_width != 57)
		return error_set(ret_error, REASON_TABLE_WIDTH,
			"a first-stage table has 48 or 57 address bits, not %u", table->addr_width);
	if (table->addr_width == 57 && !(info->caps & HW_CAP_FL5))
		return error_set_limit(ret_error, REASON_TABLE_WIDTH, 0, 48, 57,
			"this IOMMU has no first-stage tables of 57 bits (CAP.FS5LP): use 48");
	if (table->pgtbl_addr & 0xfff)
		return error_set(ret_error, REASON_TABLE_ADDRESS,
			"the root of the table must be 4 KiB aligned");
	if (mgaw < 64 && table->pgtbl_addr >> mgaw)
		return error_set(ret_error, REASON_TABLE_ADDRESS,
			"the root of the table is beyond the %u address bits of the IOMMU", mgaw);
	return vtd_check_flags(info, table, ret_error);
}

static int vtd_nest(const struct calls *calls, void *ctx, int iommufd, uint32_t dev_id,
	uint32_t parent, const struct hw_table *table, uint32_t *ret_hwpt)
{
	const struct uapi_hwpt_vtd_s1 data = {
		.flags = table->flags,
		.pgtbl_addr = table->pgtbl_addr,
		.addr_width = table->addr_width,
	};
	const struct calls_hwpt hwpt = {
		.flags = CALLS_HWPT_PASID,
		.dev_id = dev_id,
		.pt_id = parent,
		.data_type = UAPI_HWPT_DATA_VTD_S1,
		.data_len = sizeof(data),
		.data = &data,
	};

	return calls->hwpt_alloc(ctx, iommufd, &hwpt, ret_hwpt);
}

const struct backend_kind vtd_kind = {
	.name = "VT-d",
	.nests = HW_TABLE_VTD_S1,
	.decode = vtd_decode,
	.check_nested = vtd_check_nested,
	.nest = vtd_nest,
};
