/* SPDX-License-Identifier: MIT */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *text;
	enum status status;
} reasons[] = {
#define R(name, text, status) [REASON_##name] = {text, status},
	ERROR_REASONS(R)
#undef R
};
_Static_assert(ARRAY_SIZE(reasons) == REASON_COUNT, "every reason has its text and status");

static const char *const statuses[] = {
	[STATUS_OK] = "ok",
	[STATUS_INVALID] = "invalid",
	[STATUS_NOT_FOUND] = "not-found",
	[STATUS_DENIED] = "denied",
	[STATUS_EXISTS] = "exists",
	[STATUS_BUSY] = "busy",
	[STATUS_QUOTA] = "quota",
	[STATUS_EXHAUSTED] = "exhausted",
	[STATUS_UNSUPPORTED] = "unsupported",
	[STATUS_STATE] = "state",
	[STATUS_PENDING] = "pending",
	[STATUS_HARDWARE] = "hardware",
	[STATUS_RETRY] = "retry",
	[STATUS_INTERNAL] = "internal",
};

const char *reason_text(enum reason reason)
{
	return (size_t)reason < ARRAY_SIZE(reasons) ? reasons[reason].text : "internal";
}

enum status reason_status(enum reason reason)
{
	return (size_t)reason < ARRAY_SIZE(reasons) ? reasons[reason].status : STATUS_INTERNAL;
}

const char *status_text(enum status status)
{
	return (size_t)status < ARRAY_SIZE(statuses) ? statuses[status] : "internal";
}

__attribute__((format(printf, 3, 0))) static void error_fill(
	struct error *error, enum reason reason, const char *format, va_list args)
{
	memset(error, 0, sizeof(*error));
	error->reason = reason;
	(void)vsnprintf(error->text, sizeof(error->text), format, args);
}

int error_set(struct error *ret_error, enum reason reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_fill(ret_error, reason, format, args);
	va_end(args);
	return (int)reason_status(reason);
}

int error_set_limit(struct error *ret_error, enum reason reason, uint64_t object, uint64_t limit,
	uint64_t used, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_fill(ret_error, reason, format, args);
	va_end(args);
	ret_error->object = object;
	ret_error->limit = limit;
	ret_error->used = used;
	return (int)reason_status(reason);
}
