/* SPDX-License-Identifier: MIT */
#include "run_words.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *run_skip_segment(const char *address)
{
	return strncmp(address, "0000:", 5) == 0 ? address + 5 : address;
}

bool run_same_address(const char *one, const char *other)
{
	return strcmp(run_skip_segment(one), run_skip_segment(other)) == 0;
}

/* ------------------------------------------------------------ names */

static const struct run_device *run_find(
	const struct run_names *names, const char *address, size_t length)
{
	char text[32];

	if (length >= sizeof(text))
		return NULL;
	memcpy(text, address, length);
	text[length] = '\0';
	for (size_t i = 0; i < names->device_count; i++)
		if (run_same_address(names->devices[i].address, text))
			return &names->devices[i];
	return NULL;
}

enum run_kind { RUN_SET, RUN_CONNECTION, RUN_IOMMUFD, RUN_DEVICE, RUN_DEV_ID };

static const struct {
	const char *begin; /* ends with '}' or ':' */
	enum run_kind kind;
} run_kinds[] = {
	{"{set}", RUN_SET},
	{"{connection}", RUN_CONNECTION},
	{"{iommufd}", RUN_IOMMUFD},
	{"{device:", RUN_DEVICE},
	{"{dev-id:", RUN_DEV_ID},
};

/* What stands for the name, in ret_text. false: there is no such thing. */
static bool run_value(enum run_kind kind, const struct run_names *names,
	const struct run_device *device, char *ret_text, size_t size)
{
	long number = kind == RUN_CONNECTION ? names->connection
		      : kind == RUN_IOMMUFD  ? names->iommufd
		      : device == NULL       ? -1
		      : kind == RUN_DEVICE   ? device->fd
					     : (long)device->dev_id;

	if (kind == RUN_SET)
		(void)snprintf(ret_text, size, "%s", names->set ? names->set : "");
	else
		(void)snprintf(ret_text, size, "%ld", number);
	return kind == RUN_SET ? names->set != NULL : number >= 0;
}

static bool run_begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* How long a name at the beginning of text is, 0: none is there; -1: one that means nothing. */
static long run_name(const char *text, const struct run_names *names, char *ret_text, size_t size)
{
	for (size_t i = 0; i < COUNT(run_kinds); i++) {
		const struct run_device *device = NULL;
		size_t length = strlen(run_kinds[i].begin);

		if (!run_begins(text, run_kinds[i].begin))
			continue;
		if (run_kinds[i].begin[length - 1] == ':') {
			size_t address = strcspn(text + length, "}");

			if (text[length + address] != '}')
				return -1;
			device = run_find(names, text + length, address);
			length += address + 1;
		}
		return run_value(run_kinds[i].kind, names, device, ret_text, size) ? (long)length
										   : -1;
	}
	return 0;
}

long run_replace(const char *word, const struct run_names *names, char *ret_text, size_t size,
	const char **ret_what)
{
	size_t used = 0;

	for (const char *at = word; *at != '\0';) {
		char value[128] = {*at, '\0'};
		long length = *at == '{' ? run_name(at, names, value, sizeof(value)) : 0;

		if (length < 0) {
			*ret_what = at;
			return -1;
		}
		if (length == 0)
			(void)snprintf(value, sizeof(value), "%c", *at);
		for (const char *p = value; *p != '\0'; p++, used++)
			if (used + 1 < size)
				ret_text[used] = *p;
		at += length > 0 ? length : 1;
	}
	if (size > 0)
		ret_text[used < size ? used : size - 1] = '\0';
	return (long)used;
}

/* ------------------------------------------------------------ lists and names */

void run_set_name(const char *command, unsigned long number, char *ret_name, size_t size)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	const char *slash = strrchr(command, '/');
	char suffix[24];
	size_t used = 0, room;

	(void)snprintf(suffix, sizeof(suffix), "-%lu", number);
	room = size - strlen(suffix) - 1;
	for (const char *p = slash ? slash + 1 : command; *p != '\0' && used < room; p++)
		ret_name[used++] = (char)(strchr(allowed, *p) ? *p : '_');
	(void)snprintf(ret_name + used, size - used, "%s", suffix);
}

bool run_list(const struct run_names *names, bool ids, char *ret_text, size_t size)
{
	size_t used = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; i < names->device_count; i++) {
		const struct run_device *device = &names->devices[i];

		used += (size_t)snprintf(ret_text + used, size - used, "%s%s=%lld",
			i > 0 ? "," : "", device->address,
			ids ? (long long)device->dev_id : (long long)device->fd);
		if (used >= size)
			return false;
	}
	return true;
}

bool run_simulated_iommu(const char *note, char *ret_path, size_t size)
{
	static const char before[] = "The IOMMU is simulated, in /",
			  behind[] = ": no device of this host";
	const char *path = note + sizeof(before) - 2; /* with its slash */
	const char *end;
	int length;

	if (strncmp(note, before, sizeof(before) - 1) != 0)
		return false;
	end = strstr(path, behind);
	if (end == NULL)
		return false;
	length = snprintf(ret_path, size, "%.*s/iommu", (int)(end - path), path);
	return length > 0 && (size_t)length < size;
}
