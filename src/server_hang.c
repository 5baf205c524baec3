/* SPDX-License-Identifier: MIT */
#include "fd.h"
#include "server_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static const char *server_hang_name(uint32_t kind)
{
	static const char *const names[] = {
		[HW_IDENTIFY] = "looking at a device",
		[HW_OPEN] = "opening a device",
		[HW_CLOSE] = "closing a device",
		[HW_MAP] = "mapping memory",
		[HW_UNMAP] = "unmapping memory",
		[HW_ATTACH] = "an attach",
		[HW_DETACH] = "a detach",
		[HW_LEAVE] = "giving up a slice",
		[HW_END] = "closing everything",
		[HW_REPORT] = "an account of a device",
		[HW_REPLACE] = "a replacement",
		[HW_LOOK] = "a look at a table",
	};

	return kind < ARRAY_SIZE(names) && names[kind] ? names[kind] : "what an earlier run asked";
}

bool server_hanging(void *ctx, uint32_t index, char *ret_text, size_t size)
{
	const struct server *server = ctx;
	struct executor_lane lanes[SERVER_HANGING_MAX];
	const struct executor_lane *lane = &lanes[index];
	char where[FD_RID_LEN] = "no device";
	struct timespec now;

	if (index >= SERVER_HANGING_MAX ||
		executor_hanging(server->options.executor, SERVER_HANGING_NS, lanes,
			SERVER_HANGING_MAX) <= index)
		return false;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (lane->rid.v)
		fd_format_rid(lane->rid, where);
	(void)snprintf(ret_text, size,
		"Worker %" PRId32 " hangs: %s, device %s, for %" PRIu64
		" s; %u operations of its set wait for it.",
		lane->pid, server_hang_name(lane->kind), where,
		((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - lane->since_ns) /
			1000000000,
		lane->pending);
	return true;
}
