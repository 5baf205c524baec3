/* SPDX-License-Identifier: MIT */
/* What a set translates, read where its VMM reads it. */
#include "pasidctl.h"

#include <stdio.h>

#define TRANSLATE_GUESTS (UINT32_C(1) << 20)
#define TRANSLATE_NAMED  8 /* so many of those that stand for nothing */

const struct ctl_column ctl_translate_columns[] = {
	{"GUEST", "guest"},
	{"PASID", "pasid"},
	{0},
};

static int translate_add(struct ctl *ctl, const struct pasid_map *map, uint32_t guest)
{
	uint32_t host;
	int r = pasid_map_find(map, guest, &host);
	if (r == 1)
		json_array_append_new(
			ctl->answer, json_pack("{s:I, s:I}", "guest", (json_int_t)guest, "pasid",
					     (json_int_t)host));
	return r;
}

/* numbers: the first of them. */
static int translate_unknown(const struct ctl *ctl, const char *numbers, size_t count)
{
	struct pasid_error error = {.code = PASID_NOT_FOUND, .reason = "guest-pasid-unknown"};
	char more[32] = "";
	if (count > TRANSLATE_NAMED)
		(void)snprintf(more, sizeof(more), " and %zu more", count - TRANSLATE_NAMED);
	(void)snprintf(error.message, sizeof(error.message),
		"guest PASID%s%s%s stand%s for no number of %.64s", count == 1 ? "" : "s", numbers,
		more, count == 1 ? "s" : "", ctl->args[0]);
	ctl_print_error(ctl, &error);
	return EXIT_REFUSED;
}

/* The guest's numbers that were named; one that stands for nothing is a failure. */
static int translate_some(struct ctl *ctl, const struct pasid_map *map)
{
	char unknown[TRANSLATE_NAMED * sizeof(" 1048575")] = "";
	size_t length = 0, count = 0;
	for (size_t i = 1; i < ctl->arg_count; i++) {
		uint64_t guest;
		if (!ctl_number(ctl->args[i], "a guest PASID", TRANSLATE_GUESTS - 1, &guest))
			return EXIT_USAGE;
		if (translate_add(ctl, map, (uint32_t)guest) == 1 || count++ >= TRANSLATE_NAMED)
			continue;
		length += (size_t)snprintf(
			unknown + length, sizeof(unknown) - length, " %u", (unsigned)guest);
	}
	return count == 0 ? EXIT_DONE : translate_unknown(ctl, unknown, count);
}

int ctl_translate(struct ctl *ctl)
{
	struct pasid_set_ref set = {0};
	struct pasid_map *map;
	int code = EXIT_DONE;
	if (!ctl_set(ctl->args[0], &set))
		return EXIT_USAGE;
	int r = pasid_map_open(ctl->client, &set, &map);
	if (r != 0)
		return ctl_failed(ctl, r);
	ctl->answer = json_array();
	if (ctl->arg_count > 1)
		code = translate_some(ctl, map);
	for (uint32_t guest = 0; ctl->arg_count == 1 && guest < TRANSLATE_GUESTS; guest++)
		(void)translate_add(ctl, map, guest);
	(void)pasid_map_close(ctl->client, map);
	return code;
}
