/* SPDX-License-Identifier: MIT */
#include "pasid-sim_words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int usage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("pasid-sim: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputs("; pasid-sim --help tells more\n", stderr);
	va_end(args);
	return EXIT_USAGE;
}

int failed(const char *what, int error)
{
	(void)fprintf(stderr, "pasid-sim: %s: %s\n", what, strerror(-error));
	return EXIT_FAILURE;
}

int number_parse(const char *what, const char *text, uint64_t max, uint64_t *ret_number)
{
	char *end = NULL;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno != 0 || end == text || *end != '\0' || *text == '-' || number > max)
		return usage("%s '%s' is not a number from 0 to %" PRIu64, what, text, max);
	*ret_number = number;
	return 0;
}

int number32_parse(const char *what, const char *text, uint32_t max, uint32_t *ret_number)
{
	uint64_t number = 0;
	int r = number_parse(what, text, max, &number);

	if (r == 0)
		*ret_number = (uint32_t)number;
	return r;
}

int rid_parse(const char *text, struct rid *ret_rid)
{
	return sim_rid_parse(text, ret_rid) == 0
		       ? 0
		       : usage("'%s' is not a RID like 0000:00:01.0", text);
}

int call_parse(const char *text, uint32_t *ret_call)
{
	enum sim_call call;

	if (sim_call_parse(text, &call) < 0)
		return usage("'%s' is no call", text);
	*ret_call = (uint32_t)call;
	return 0;
}

static const struct {
	const char *name;
	int error;
} errors[] = {
	{"EPERM", EPERM},
	{"ENOENT", ENOENT},
	{"EINTR", EINTR},
	{"EIO", EIO},
	{"EBADF", EBADF},
	{"EAGAIN", EAGAIN},
	{"ENOMEM", ENOMEM},
	{"EACCES", EACCES},
	{"EFAULT", EFAULT},
	{"EBUSY", EBUSY},
	{"EEXIST", EEXIST},
	{"ENODEV", ENODEV},
	{"EINVAL", EINVAL},
	{"EMFILE", EMFILE},
	{"ENOTTY", ENOTTY},
	{"ENOSPC", ENOSPC},
	{"EOVERFLOW", EOVERFLOW},
	{"EOPNOTSUPP", EOPNOTSUPP},
	{"EADDRINUSE", EADDRINUSE},
	{"ETIMEDOUT", ETIMEDOUT},
};

int error_parse(const char *text, int *ret_error)
{
	char *end = NULL;
	unsigned long number;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		if (strcmp(text, errors[i].name) == 0) {
			*ret_error = errors[i].error;
			return 0;
		}
	}
	number = strtoul(text, &end, 0);
	if (*text < '0' || *text > '9' || *end != '\0' || number == 0 || number > 4095)
		return usage(
			"'%s' is no error: a name such as EIO, or a number from 1 to 4095", text);
	*ret_error = (int)number;
	return 0;
}

json_t *json_hex(uint64_t number)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "0x%" PRIx64, number);
	return json_string(text);
}
