/* SPDX-License-Identifier: MIT */
/* Refusals without their texts, for proofs that are not about what people read. */
#include "error.h"

int error_set(struct error *ret_error, enum reason reason, const char *format, ...)
{
	(void)format;
	ret_error->reason = reason;
	return STATUS_STATE;
}

int error_set_limit(struct error *ret_error, enum reason reason, uint64_t object, uint64_t limit,
	uint64_t used, const char *format, ...)
{
	(void)object;
	(void)limit;
	(void)used;
	(void)format;
	ret_error->reason = reason;
	return STATUS_STATE;
}
