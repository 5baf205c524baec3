/* SPDX-License-Identifier: MIT */
/* What a VMM does with pasidd when its guest owns its tables. */
#include "vmm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* hwpt:ID, ioas:ID or space:ID */
static bool stream_parent(const char *word, struct pasid_stream_args *args)
{
	static const struct {
		const char *prefix;
		enum pasid_table_source source;
	} sources[] = {{"hwpt:", PASID_TABLE_HWPT}, {"ioas:", PASID_TABLE_IOAS},
		{"space:", PASID_TABLE_SPACE}};

	for (size_t i = 0; word && i < sizeof(sources) / sizeof(sources[0]); i++) {
		size_t length = strlen(sources[i].prefix);

		if (strncmp(word, sources[i].prefix, length) == 0) {
			args->parent_source = sources[i].source;
			args->parent = agent_number(word + length);
			return true;
		}
	}
	return false;
}

/* DEVICE STREAM STE0 STE1 PARENT: answers with hwpt, viommu, vdevice, stream. */
static void stream_with(
	char **words, int (*call)(struct pasid_client *, const struct pasid_stream_args *,
			      struct pasid_stream_info *))
{
	struct pasid_stream_args args = {.device = vmm_device_id(words[1])};
	struct pasid_stream_info info = {0};
	uint64_t numbers[4];
	int r;

	if (!words[1] || !words[2] || !words[3] || !words[4] || !stream_parent(words[5], &args)) {
		agent_fail(EINVAL);
		return;
	}
	args.stream = agent_number(words[2]);
	args.ste[0] = strtoull(words[3], NULL, 0);
	args.ste[1] = strtoull(words[4], NULL, 0);
	r = call(vmm_session(), &args, &info);
	numbers[0] = info.hwpt;
	numbers[1] = info.viommu;
	numbers[2] = info.vdevice;
	numbers[3] = info.stream;
	if (r == 0)
		agent_ok_numbers(4, numbers);
	else
		vmm_report(r);
}

static void stream_install(char **words)
{
	stream_with(words, pasid_stream_install);
}

static void stream_change(char **words)
{
	stream_with(words, pasid_stream_replace);
}

/* uninstall DEVICE */
static void stream_uninstall(char **words)
{
	struct pasid_device_ref device = {.device = vmm_device_id(words[1])};

	vmm_report(pasid_stream_remove(vmm_session(), &device));
}

const struct agent_command stream_commands[] = {
	{"install", stream_install},
	{"change", stream_change},
	{"uninstall", stream_uninstall},
	{0},
};
