/* SPDX-License-Identifier: MIT */
/* replace: another page table in the place of a bound one. */
#include "pasidctl.h"

#include <string.h>

int ctl_replace(struct ctl *ctl)
{
	struct pasid_replace_args args = {.set = ctl->set};
	struct pasid_attached table = {0};
	int code;
	args.rid = strcmp(ctl->args[0], "rid") == 0;
	if (!args.rid && !ctl_pasid(ctl->args[0], &args.pasid))
		return EXIT_USAGE;
	if (!ctl_pair(ctl, ctl->args[1], &args.pair, &code))
		return code;
	int r = pasid_replace(ctl->client, &args, &table);
	if (r != 0)
		return ctl_failed(ctl, r);
	ctl->answer = json_object();
	json_object_set_new(ctl->answer, "device", json_integer((json_int_t)table.device));
	json_object_set_new(ctl->answer, "hwpt", json_integer(table.hwpt));
	json_object_set_new(ctl->answer, "made", json_boolean(table.made));
	return EXIT_DONE;
}
