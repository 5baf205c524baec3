/* SPDX-License-Identifier: MIT */
/* The command that shows what pasidd is for, on a simulated IOMMU, to whoever has just installed
 * it. */
#include "pasidctl_demo.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void demo_greet(struct demo *demo)
{
	if (demo->failed || demo->ctl->json)
		return;
	printf("pasidd serves a simulated IOMMU with five devices in %s, as user %u. No device of this host is "
	       "touched.\n",
		demo->folder, (unsigned)getuid());
	demo_show(demo, "pasidctl", (const char *const[]){"status", NULL});
}

static json_t *demo_json(struct demo *demo)
{
	json_t *json = json_object();

	json_object_set_new(json, "ok", json_boolean(!demo->failed));
	json_object_set_new(json, "failed", demo->failed ? json_string(demo->why) : json_null());
	json_object_set(json, "steps", demo->steps);
	return json;
}

/* All was shown already. */
static void demo_show_end(const struct ctl *ctl, const json_t *answer)
{
	(void)ctl;
	(void)answer;
	puts("\ndemo: ok");
}

static int ctl_demo(struct ctl *ctl)
{
	struct demo demo = {.ctl = ctl, .steps = json_array()};

	demo_start(&demo);
	demo_greet(&demo);
	demo_story(&demo);
	demo_stop(&demo);
	ctl->answer = demo_json(&demo);
	json_decref(demo.steps);
	if (!demo.failed)
		return EXIT_DONE;
	if (ctl->json)
		ctl_print(ctl);
	(void)fflush(stdout);
	fprintf(stderr, "pasidctl: demo: expected that %s\n", demo.why);
	return EXIT_FAILED;
}

static const struct ctl_command commands[] = {
	{.name = "demo",
		.arguments = "",
		.summary =
			"show what pasidd does, on a simulated IOMMU; touches nothing of this host",
		.help = "Starts a daemon of its own in a temporary folder, on an IOMMU that is simulated there, and two\n"
			"processes that are VMs: a PASID on two devices, a shared device, isolation, a bind that fails half\n"
			"way, the death of a VM, limits. Each step says what it proves, by the tables that stand in the\n"
			"IOMMU. Needs no root, no IOMMU and no running pasidd; what it has made it removes, also when it is\n"
			"interrupted. The programs pasidd and pasid-sim have to be installed.\n\n"
			"Examples:\n  pasidctl demo\n  pasidctl --json demo\n",
		.offline = true,
		.run = ctl_demo,
		.show = demo_show_end},
};
const struct ctl_group ctl_demo_commands = {commands, ARRAY_SIZE(commands)};
