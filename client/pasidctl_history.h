/* SPDX-License-Identifier: MIT */
/* The parts of the command history that need no file and no daemon. */
#ifndef PASIDCTL_HISTORY_H
#define PASIDCTL_HISTORY_H

#include <jansson.h>
#include <time.h>

#include "audit.h"

/* So long before `now`, or a time of the local clock; milliseconds since 1970. */
bool history_parse_time(const char *text, time_t now, uint64_t *ret_ms);
/* What was found; the caller owns it. */
json_t *history_json(
	const char *file, const struct audit_query *query, const struct audit_found *found);

#endif
