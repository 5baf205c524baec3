/* SPDX-License-Identifier: MIT */
/* stream: a guest's own tables, for who has its stream table entry at hand. */
#include "pasidctl.h"

#include <string.h>

static bool stream_parent(const char *text, struct pasid_stream_args *args)
{
	static const struct {
		const char *prefix;
		enum pasid_table_source source;
	} kinds[] = {
		{"hwpt:", PASID_TABLE_HWPT},
		{"ioas:", PASID_TABLE_IOAS},
		{"space:", PASID_TABLE_SPACE},
	};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t length = strlen(kinds[i].prefix);
		uint64_t id;
		if (strncmp(text, kinds[i].prefix, length) != 0)
			continue;
		if (!ctl_number(text + length, "PARENT", UINT32_MAX, &id))
			return false;
		args->parent_source = kinds[i].source;
		args->parent = (uint32_t)id;
		return true;
	}
	ctl_usage("\"%s\" is no PARENT: hwpt:N, ioas:N or space:N", text);
	return false;
}

/* DEVICE STREAM STE0 STE1 PARENT */
static bool stream_args(struct ctl *ctl, struct pasid_stream_args *args, int *ret_code)
{
	uint64_t stream;
	*ret_code = EXIT_USAGE;
	if (!ctl_number(ctl->args[1], "STREAM", UINT32_MAX, &stream) ||
		!ctl_number(ctl->args[2], "STE0", UINT64_MAX, &args->ste[0]) ||
		!ctl_number(ctl->args[3], "STE1", UINT64_MAX, &args->ste[1]) ||
		!stream_parent(ctl->args[4], args))
		return false;
	args->stream = (uint32_t)stream;
	return ctl_device(ctl, ctl->args[0], &args->device, ret_code);
}

static int stream_answer(struct ctl *ctl, int r, const struct pasid_stream_info *info)
{
	if (r != 0)
		return ctl_failed(ctl, r);
	ctl->answer = json_object();
	json_object_set_new(ctl->answer, "device", json_integer((json_int_t)info->device));
	json_object_set_new(ctl->answer, "hwpt", json_integer(info->hwpt));
	json_object_set_new(ctl->answer, "viommu", json_integer(info->viommu));
	json_object_set_new(ctl->answer, "vdevice", json_integer(info->vdevice));
	json_object_set_new(ctl->answer, "stream", json_integer(info->stream));
	return EXIT_DONE;
}

int ctl_stream_install(struct ctl *ctl)
{
	struct pasid_stream_args args = {.set = ctl->set};
	struct pasid_stream_info info = {0};
	int code;
	if (!stream_args(ctl, &args, &code))
		return code;
	return stream_answer(ctl, pasid_stream_install(ctl->client, &args, &info), &info);
}

int ctl_stream_replace(struct ctl *ctl)
{
	struct pasid_stream_args args = {.set = ctl->set};
	struct pasid_stream_info info = {0};
	int code;
	if (!stream_args(ctl, &args, &code))
		return code;
	return stream_answer(ctl, pasid_stream_replace(ctl->client, &args, &info), &info);
}

int ctl_stream_remove(struct ctl *ctl)
{
	struct pasid_device_ref device = {.set = ctl->set};
	int code;
	if (!ctl_device(ctl, ctl->args[0], &device.device, &code))
		return code;
	int r = pasid_stream_remove(ctl->client, &device);
	if (r != 0)
		return ctl_failed(ctl, r);
	ctl->answer = json_object();
	return EXIT_DONE;
}
