/* SPDX-License-Identifier: MIT */
#include "pasidd_share.h"

#include "wire.h"

#include <poll.h>
#include <unistd.h>

#define SHARE_MS       10000 /* that the start waits */
#define SHARE_BOUND_MS 2000  /* that the worker of a daemon that was killed may take to let go */
#define SHARE_RETRY_MS 50
#define SHARE_RETRIES                                                                              \
	64u /* devices that are tried again; more of them at once have other trouble */
/* Above all sessions of clients, and no client can be told of it. */
#define SHARE_SESSION UINT64_MAX

struct sharing {
	const struct share *share;
	uint32_t pending;
	uint64_t again; /* a bit for each device that is tried once more */
};

__attribute__((format(printf, 2, 3))) static void sharing_note(
	const struct share *share, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	share->note(share->ctx, format, args);
	va_end(args);
}

static void sharing_failed(const struct share *share, struct rid rid, const char *why)
{
	char address[WIRE_RID_LEN];

	wire_rid_format(rid, address);
	sharing_note(share,
		"Shared device %s is not served: %s. Mend it, then share the device (pasidctl) or "
		"restart pasidd.",
		address, why);
}

static void sharing_complete(void *ctx, const struct hw_result *result)
{
	const struct sharing *sharing = ctx;

	broker_complete(sharing->share->broker, result);
}

static void sharing_lost(void *ctx, uint64_t lane, uint32_t version)
{
	const struct sharing *sharing = ctx;

	(void)version;
	broker_lane_lost(sharing->share->broker, lane);
}

/*
 * Cookies count down from the largest number: the dispatcher, which hears of late ones, has smaller
 * ones.
 */
static uint64_t sharing_cookie(size_t device)
{
	return UINT64_MAX - device;
}

bool share_stands(struct broker *broker, const struct actor *actor, struct rid rid)
{
	struct device_info info;
	uint64_t cursor = 0;

	while (broker_device_next(broker, actor, (struct set_id){0}, &cursor, &info)) {
		if (info.kind == DEVICE_SHARED && info.rid.v == rid.v && info.state == DEVICE_READY)
			return true;
	}
	return false;
}

static void sharing_submit(struct sharing *sharing, size_t device)
{
	const struct share *share = sharing->share;
	const struct policy_device *of = &share->policy->devices[device];
	const struct policy_peer self = {.uid = geteuid(), .group_count = 0};
	const struct actor actor = {.role = ROLE_ADMIN, .session = SHARE_SESSION, .peer = &self};
	struct error error;

	if (of->use != POLICY_USE_SHARED || share_stands(share->broker, &actor, of->rid))
		return;
	if (broker_device_share(share->broker, &actor, of->rid, sharing_cookie(device), &error) ==
		0)
		sharing->pending++;
	else
		sharing_failed(share, of->rid, error.text);
}

static bool sharing_may_try_again(const struct sharing *sharing, size_t device,
	const struct outcome *outcome, uint64_t bound_until)
{
	return outcome->error.reason == REASON_BIND_REFUSED && device < SHARE_RETRIES &&
	       sharing->share->clock->now_ms < bound_until;
}

/* What was asked for goes to the workers; what has ended is told, or tried again in a moment. */
static void sharing_drain(struct sharing *sharing, uint64_t bound_until)
{
	const struct policy *policy = sharing->share->policy;
	struct outcome outcome;

	broker_flush(sharing->share->broker);
	while (broker_next_outcome(sharing->share->broker, &outcome)) {
		const uint64_t device = sharing_cookie(0) - outcome.cookie;

		if (device >= policy->device_count)
			continue;
		sharing->pending--;
		if (outcome.status == 0)
			continue;
		if (sharing_may_try_again(sharing, device, &outcome, bound_until))
			sharing->again |= UINT64_C(1) << device;
		else
			sharing_failed(
				sharing->share, policy->devices[device].rid, outcome.error.text);
	}
}

static void sharing_try_again(struct sharing *sharing)
{
	for (size_t i = 0; i < SHARE_RETRIES; i++) {
		if (sharing->again & UINT64_C(1) << i)
			sharing_submit(sharing, i);
	}
	sharing->again = 0;
}

void share_configured(const struct share *share)
{
	struct sharing sharing = {.share = share};
	const struct executor_handler handler = {sharing_complete, sharing_lost, &sharing};
	struct pollfd ready = {.fd = executor_fd(share->executor), .events = POLLIN};
	const uint64_t until = share->clock->now_ms + SHARE_MS;
	const uint64_t bound_until = share->clock->now_ms + SHARE_BOUND_MS;

	for (size_t i = 0; i < share->policy->device_count; i++)
		sharing_submit(&sharing, i);
	sharing_drain(&sharing, bound_until);
	while ((sharing.pending > 0 || sharing.again) && share->clock->now_ms < until) {
		const uint64_t left = until - share->clock->now_ms;

		if (poll(&ready, 1, (int)(sharing.again ? SHARE_RETRY_MS : left)) > 0)
			executor_dispatch(share->executor, &handler);
		else
			sharing_try_again(&sharing);
		clock_read(share->clock);
		sharing_drain(&sharing, bound_until);
	}
	if (sharing.pending > 0)
		sharing_note(share,
			"%u shared devices did not answer within %u s; they are taken "
			"in when they do.",
			sharing.pending, SHARE_MS / 1000);
}
