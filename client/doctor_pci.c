/* SPDX-License-Identifier: MIT */
/* Functions: what their configuration space says, and what stands in the way of PASIDs. */
#include "doctor.h"

#include <stdio.h>
#include <string.h>

/* Offsets and ids of PCI Express 6.0, chapter 7; PCI Local Bus 3.0, chapter 6. */
#define PCI_STATUS           0x06
#define PCI_STATUS_CAPS      0x10
#define PCI_SUBCLASS         0x0a
#define PCI_CLASS            0x0b
#define PCI_CLASS_BRIDGE     0x06
#define PCI_SUBCLASS_PCI     0x04
#define PCI_CAPS             0x34
#define PCI_PLAIN            64u /* what everybody may read */
#define PCI_EXTENDED         0x100u
#define PCI_SIZE             4096u
#define CAP_EXPRESS          0x10
#define EXPRESS_CAPS2        0x24u
#define EXPRESS_CAPS2_PREFIX (UINT32_C(1) << 21)
#define EXT_ACS              0x000d
#define EXT_ATS              0x000f
#define EXT_PRI              0x0013
#define EXT_PASID            0x001b

struct pci_bytes {
	const uint8_t *bytes;
	size_t size;
};

/* Little endian; beyond the end is 0. */
static uint32_t pci_get(const struct pci_bytes *space, size_t offset, size_t width)
{
	uint32_t value = 0;

	for (size_t i = 0; i < width; i++)
		if (offset + i < space->size)
			value |= (uint32_t)space->bytes[offset + i] << (8 * i);
	return value;
}

/* The list of the first 256 bytes, which may be a ring. */
static void pci_parse_plain(const struct pci_bytes *space, struct doctor_pci *pci)
{
	size_t at = pci_get(space, PCI_CAPS, 1) & 0xfc;

	if (!(pci_get(space, PCI_STATUS, 2) & PCI_STATUS_CAPS))
		return;
	for (unsigned steps = 0; at >= PCI_PLAIN && at < PCI_EXTENDED && steps < 48; steps++) {
		if (pci_get(space, at, 1) == CAP_EXPRESS) {
			pci->express = true;
			pci->prefixes =
				(pci_get(space, at + EXPRESS_CAPS2, 4) & EXPRESS_CAPS2_PREFIX) != 0;
		}
		at = pci_get(space, at + 1, 1) & 0xfc;
	}
}

static void pci_parse_pasid(const struct pci_bytes *space, size_t at, struct doctor_pci *pci)
{
	pci->pasid = true;
	pci->pasid_width = pci_get(space, at + 4, 2) >> 8 & 0x1f;
	pci->pasid_enabled = (pci_get(space, at + 6, 2) & 1) != 0;
}

static void pci_parse_extended(const struct pci_bytes *space, struct doctor_pci *pci)
{
	size_t at = PCI_EXTENDED;

	for (unsigned steps = 0; at >= PCI_EXTENDED && at < PCI_SIZE && steps < 480; steps++) {
		uint32_t header = pci_get(space, at, 4);

		if (header == 0 || header == UINT32_MAX)
			return;
		switch (header & 0xffff) {
		case EXT_ACS:
			pci->acs = true;
			break;
		case EXT_ATS:
			pci->ats = true;
			break;
		case EXT_PRI:
			pci->pri = true;
			break;
		case EXT_PASID:
			pci_parse_pasid(space, at, pci);
			break;
		default:
			break;
		}
		at = header >> 20 & 0xffc;
	}
}

void doctor_pci_parse(const uint8_t *bytes, size_t size, struct doctor_pci *ret_pci)
{
	struct pci_bytes space = {bytes, size};
	struct doctor_pci pci = {.readable = size > PCI_PLAIN};

	pci.bridge = pci_get(&space, PCI_CLASS, 1) == PCI_CLASS_BRIDGE &&
		     pci_get(&space, PCI_SUBCLASS, 1) == PCI_SUBCLASS_PCI;
	if (pci.readable)
		pci_parse_plain(&space, &pci);
	if (size > PCI_EXTENDED)
		pci_parse_extended(&space, &pci);
	*ret_pci = pci;
}

/* ------------------------------------------------------------ functions that VMs may get */

static bool pci_check_group(
	struct doctor_report *report, const char *name, const struct doctor_function *function)
{
	if (!function->group) {
		doctor_add(report, DOCTOR_WARNING, name,
			"switch the IOMMU on; functions without a group are not protected from each other",
			"it is in no IOMMU group");
		return false;
	}
	if (function->group_strangers > 0) {
		doctor_add(report, DOCTOR_WARNING, name,
			"bind the others of its group to vfio-pci too, or put it into a slot with ACS",
			"IOMMU group %s has %zu further functions, and %zu are not bound to vfio-pci",
			function->group, function->group_others, function->group_strangers);
		return false;
	}
	if (function->group_others > 0)
		doctor_add(report, DOCTOR_WARNING, name,
			"give all of the group to one VM; ACS in the slot's switch would part them",
			"IOMMU group %s has %zu further functions: they have one PASID table and one user",
			function->group, function->group_others);
	return true;
}

static bool pci_check_path(
	struct doctor_report *report, const char *name, const struct doctor_function *function)
{
	if (function->blocking) {
		doctor_add(report, DOCTOR_WARNING, name, "put it into another slot",
			"the bridge %s above it passes no end-end TLP prefixes, with which PASIDs travel",
			function->blocking);
		return false;
	}
	if (function->pci.express && !function->pci.prefixes) {
		doctor_add(report, DOCTOR_WARNING, name, "ask its vendor for firmware that does",
			"it has a PASID capability, and does not say that it sends end-end TLP prefixes");
		return false;
	}
	return true;
}

static bool pci_check_pasid(
	struct doctor_report *report, const char *name, const struct doctor_function *function)
{
	const struct doctor_pci *pci = &function->pci;

	if (!pci->readable) {
		doctor_add(report, DOCTOR_UNKNOWN, name, "run pasidctl doctor as root",
			"bound to vfio-pci; its capabilities can be read by root only");
		return true;
	}
	if (!pci->pasid) {
		doctor_add(report, DOCTOR_WARNING, name,
			"use it as a whole: its RID can be attached", "%s no PASID capability",
			function->is_virtual ? "its physical function has" : "it has");
		return false;
	}
	if (!pci_check_path(report, name, function))
		return false;
	doctor_add(report, DOCTOR_OK, name, NULL, "PASIDs of %u bits%s%s, group %s, node %s",
		pci->pasid_width, pci->ats ? ", ATS" : ", no ATS", pci->pri ? ", PRI" : "",
		function->group ? function->group : "none",
		function->node ? function->node : "none");
	return true;
}

bool doctor_check_function(struct doctor_report *report, const struct doctor_function *function)
{
	char name[DOCTOR_NAME_MAX];
	bool usable;

	(void)snprintf(name, sizeof(name), "function %s", function->address);
	usable = pci_check_pasid(report, name, function);
	if (!pci_check_group(report, name, function))
		usable = false;
	if (!function->node) {
		doctor_add(report, DOCTOR_WARNING, name,
			"load vfio_pci of a kernel with CONFIG_VFIO_DEVICE_CDEV, then bind it anew",
			"bound to vfio-pci, and without a node in /dev/vfio/devices");
		usable = false;
	}
	return usable;
}

void doctor_check_functions(struct doctor_report *report, const struct doctor_functions *functions)
{
	static const char remedy[] =
		"driverctl set-override ADDRESS vfio-pci, or echo vfio-pci to its driver_override, and probe it anew";

	if (functions->bound == 0 && functions->candidates > 0)
		doctor_add(report, DOCTOR_WARNING, "functions", remedy,
			"none is bound to vfio-pci; %zu have PASIDs and could be, such as %s",
			functions->candidates, functions->first_candidate);
	else if (functions->bound == 0)
		doctor_add(report, DOCTOR_WARNING, "functions", remedy,
			"none is bound to vfio-pci%s",
			functions->unread > 0 ? "; which have PASIDs only root can see"
					      : ", and none has PASIDs");
	else if (functions->usable == 0)
		doctor_add(report, DOCTOR_PROBLEM, "functions", "see what is said of each",
			"none of the %zu that are bound to vfio-pci can have PASIDs",
			functions->bound);
	else
		doctor_add(report, DOCTOR_OK, "functions", NULL,
			"%zu bound to vfio-pci; nothing stands in the way of PASIDs on %zu of them",
			functions->bound, functions->usable);
}
