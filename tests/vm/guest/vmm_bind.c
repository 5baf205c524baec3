/* SPDX-License-Identifier: MIT */
/* Page tables under numbers and RIDs. */
#include "vmm.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* The guest's table at ADDRESS, nested on a page table of the VMM's or on an address space. */
static bool vmm_parse_guest(const char *source, char *rest, struct pasid_table *table)
{
	const char *parent = strtok_r(NULL, ":", &rest);
	const char *address = strtok_r(NULL, ":", &rest);
	const char *width = strtok_r(NULL, ":", &rest);

	if (!address)
		return false;
	*table = (struct pasid_table){
		.source = PASID_TABLE_GUEST,
		.address = vmm_device_id(address),
		.width = width ? agent_number(width) : 48,
		.parent_is_space = strcmp(source, "guest-space") == 0,
		.parent = agent_number(parent),
	};
	return true;
}

/* DEVICE:hwpt:ID, DEVICE:ioas:ID, DEVICE:space:ID, or DEVICE:guest:HWPT:ADDRESS[:WIDTH],
 * DEVICE:guest-space:SPACE:ADDRESS[:WIDTH] */
static bool vmm_parse_pair(char *word, struct pasid_pair *ret_pair)
{
	static const char *const sources[] = {[PASID_TABLE_HWPT] = "hwpt",
		[PASID_TABLE_IOAS] = "ioas",
		[PASID_TABLE_SPACE] = "space"};
	char *rest = NULL;
	const char *device = strtok_r(word, ":", &rest);
	const char *source = strtok_r(NULL, ":", &rest);
	struct pasid_pair pair = {.device = vmm_device_id(device)};
	const char *id;

	if (source && strncmp(source, "guest", 5) == 0) {
		ret_pair->device = pair.device;
		return vmm_parse_guest(source, rest, &ret_pair->table);
	}
	id = strtok_r(NULL, ":", &rest);
	for (unsigned i = PASID_TABLE_HWPT; id && i <= PASID_TABLE_SPACE; i++)
		if (strcmp(source, sources[i]) == 0) {
			pair.table.source = (enum pasid_table_source)i;
			pair.table.id = agent_number(id);
			*ret_pair = pair;
			return true;
		}
	return false;
}

/* bind PASID DEVICE:SOURCE:ID...: answers with the host PASID. */
void vmm_bind(char **words)
{
	struct pasid_pair pairs[PASID_PAIRS_MAX] = {0};
	struct pasid_bind_args args = {.pasid = vmm_pasid(words[1]), .pairs = pairs};
	uint32_t host = 0;
	int r;

	for (; words[1] && words[args.count + 2] && args.count < PASID_PAIRS_MAX; args.count++)
		if (!vmm_parse_pair(words[args.count + 2], &pairs[args.count])) {
			agent_fail(EINVAL);
			return;
		}
	r = pasid_bind(vmm_session(), &args, &host, NULL);
	vmm_report_number(r, host);
}

/* unbind PASID [DEVICE...]: from all devices when none is named. */
void vmm_unbind(char **words)
{
	uint64_t devices[PASID_PAIRS_MAX] = {0};
	struct pasid_unbind_args args = {.pasid = vmm_pasid(words[1]), .devices = devices};

	args.count = words[1] ? vmm_devices(words, 2, devices) : 0;
	vmm_report(pasid_unbind(vmm_session(), &args));
}

/* replace PASID|rid DEVICE:SOURCE:ID: answers with the iommufd's name of the table that stands
 * there. */
void vmm_replace(char **words)
{
	struct pasid_replace_args args = {0};
	struct pasid_attached table = {0};
	int r;

	args.rid = words[1] && strcmp(words[1], "rid") == 0;
	args.pasid = vmm_pasid(args.rid ? NULL : words[1]);
	if (!words[1] || !words[2] || !vmm_parse_pair(words[2], &args.pair)) {
		agent_fail(EINVAL);
		return;
	}
	r = pasid_replace(vmm_session(), &args, &table);
	vmm_report_number(r, table.hwpt);
}

/* attach-rid DEVICE:SOURCE:ID: answers with the iommufd's name of the table. */
void vmm_attach_rid(char **words)
{
	struct pasid_rid_args args = {0};
	struct pasid_attached table = {0};
	int r;

	if (!words[1] || !vmm_parse_pair(words[1], &args.pair)) {
		agent_fail(EINVAL);
		return;
	}
	r = pasid_rid_attach(vmm_session(), &args, &table);
	vmm_report_number(r, table.hwpt);
}

/* detach-rid DEVICE */
void vmm_detach_rid(char **words)
{
	const struct pasid_device_ref device = {.device = vmm_device_id(words[1])};

	vmm_report(pasid_rid_detach(vmm_session(), &device));
}
