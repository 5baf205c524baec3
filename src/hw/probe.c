/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include "smmuv3.h"
#include "vtd.h"

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void probe_decode_other(const struct calls_info *raw, struct hw_info *info)
{
	(void)raw;
	info->caps = info->pasid_width > 0 ? HW_CAP_PASID : 0;
}

/* Whole functions, and PASIDs where the kernel takes them; nothing that needs to know the tables.
 */
static const struct backend_kind probe_other = {
	.name = "without a backend of its own",
	.decode = probe_decode_other,
};

const struct backend_kind *probe_kind(uint32_t type)
{
	if (type == HW_IOMMU_SMMUV3)
		return &smmuv3_kind;
	return type == HW_IOMMU_VTD ? &vtd_kind : &probe_other;
}

/* Counts the entries of a folder under sysfs whose names start with `prefix`; -1: no such folder.
 */
static int probe_count(const char *sysfs, const char *folder, const char *prefix)
{
	char path[PATH_MAX];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s/%s", sysfs, folder) >= (int)sizeof(path))
		return -1;
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			count++;
	(void)closedir(dir);
	return count;
}

__attribute__((format(printf, 2, 3))) static void probe_say(
	struct probe *probe, const char *format, ...)
{
	size_t used = strlen(probe->text);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(probe->text + used, sizeof(probe->text) - used, format, args);
	va_end(args);
}

static void probe_iommu(const char *sysfs, struct probe *probe)
{
	int vtd = probe_count(sysfs, "class/iommu", "dmar");
	int smmu = probe_count(sysfs, "class/iommu", "smmu3");
	int all = probe_count(sysfs, "class/iommu", "");

	if (vtd > 0) {
		probe->iommu = HW_IOMMU_VTD;
		probe_say(probe, "IOMMU: VT-d, %d units\n", vtd);
	} else if (smmu > 0) {
		probe->iommu = HW_IOMMU_SMMUV3;
		probe_say(probe, "IOMMU: SMMUv3, %d units\n", smmu);
	} else if (all > 0) {
		probe_say(probe, "IOMMU: %d units of a kind without PASID attach\n", all);
	} else {
		probe_say(probe,
			"IOMMU: none. Switch it on in the firmware; on Intel boot with "
			"intel_iommu=on,sm_on\n");
	}
}

static void probe_iommufd(const char *sysfs, const char *dev, struct probe *probe)
{
	char path[PATH_MAX];
	bool known = probe_count(sysfs, "class/misc/iommu", "dev") > 0;
	bool open = snprintf(path, sizeof(path), "%s/iommu", dev) < (int)sizeof(path) &&
		    access(path, R_OK | W_OK) == 0;

	probe->iommufd = known && open;
	if (!known)
		probe_say(probe,
			"iommufd: missing. Load the module iommufd; real tables need Linux 6.15 or "
			"later with CONFIG_IOMMUFD (Debian 12's own kernel can only simulate)\n");
	else if (!open)
		probe_say(probe, "iommufd: there, but %s cannot be opened by this user\n", path);
	else
		probe_say(probe, "iommufd: %s\n", path);
}

static void probe_devices(const char *sysfs, struct probe *probe)
{
	int count = probe_count(sysfs, "class/vfio-dev", "vfio");

	probe->cdev = count >= 0;
	probe->devices = count > 0 ? (uint32_t)count : 0;
	if (count < 0)
		probe_say(probe,
			"VFIO device nodes: missing. Load the module vfio-pci; the kernel "
			"needs CONFIG_VFIO_DEVICE_CDEV\n");
	else if (count == 0)
		probe_say(probe, "VFIO device nodes: none yet. Bind a function to vfio-pci\n");
	else
		probe_say(probe, "VFIO device nodes: %d\n", count);
}

void probe_host(const char *sysfs, const char *dev, struct probe *ret_probe)
{
	memset(ret_probe, 0, sizeof(*ret_probe));
	probe_iommu(sysfs, ret_probe);
	probe_iommufd(sysfs, dev, ret_probe);
	probe_devices(sysfs, ret_probe);
}
