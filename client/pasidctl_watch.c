/* SPDX-License-Identifier: MIT */
/* watch: what changes, as it happens; participate: the same, and acknowledges it. */
#include "pasidctl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 64

struct watch {
	struct ctl *ctl;
	uint64_t left; /* events to wait for; UINT64_MAX: no end */
};

static void watch_event_line(const struct pasid_event *event)
{
	printf("%llu %s", (unsigned long long)event->sequence, pasid_event_text(event->kind));
	if (event->set != 0)
		printf(" set=id:%llu", (unsigned long long)event->set);
	if (event->host_pasid != 0)
		printf(" pasid=%u", event->host_pasid);
	if (event->has_guest)
		printf(" guest=%u", event->guest_pasid);
	if (event->device != 0)
		printf(" device=%llu", (unsigned long long)event->device);
	if (event->lost != 0)
		printf(" lost=%llu", (unsigned long long)event->lost);
	putchar('\n');
}

static void watch_event(
	struct pasid_client *client, const struct pasid_event *event, void *userdata)
{
	struct watch *watch = userdata;
	(void)client;
	if (watch->left == 0)
		return;
	if (watch->left != UINT64_MAX)
		watch->left--;
	if (watch->ctl->json) {
		json_t *json = ctl_json_event(event);
		json_dumpf(json, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(json);
	} else {
		watch_event_line(event);
	}
	fflush(stdout);
}

/*
 * Until enough events came or the reader of the lines is gone, which must end us even when nothing
 * happens. `read_input`: what has come on standard input, unless it is NULL; false: that was all.
 */
static int watch_run(struct watch *watch, const struct pasid_watch_args *args,
	bool (*read_input)(struct ctl *ctl))
{
	struct ctl *ctl = watch->ctl;
	bool goes_on = true;
	int r = pasid_watch_events(ctl->client, args, watch_event, watch);
	if (r != 0)
		return ctl_failed(ctl, r);
	struct pollfd fds[] = {
		{.fd = pasid_fd(ctl->client), .events = pasid_events(ctl->client)},
		{.fd = 1, .events = 0},
		{.fd = read_input ? 0 : -1, .events = POLLIN},
	};
	while (goes_on && watch->left > 0 && !(fds[1].revents & (POLLERR | POLLHUP))) {
		(void)poll(fds, ARRAY_SIZE(fds), -1);
		r = pasid_dispatch(ctl->client, 0);
		if (r < 0)
			return ctl_failed(ctl, r);
		if (read_input != NULL && fds[2].revents)
			goes_on = read_input(ctl);
	}
	return EXIT_DONE;
}

int ctl_watch(struct ctl *ctl)
{
	struct watch watch = {ctl, ctl->given & CTL_EVENTS ? ctl->events : UINT64_MAX};
	struct pasid_watch_args args = {.from = ctl->from, .set = ctl->set};
	return watch_run(&watch, &args, NULL);
}

/* ------------------------------------------------------------ participate */

/* PASID, or PASID SEQUENCE. What is wrong with it is said, and it is passed over. */
static void participate_line(struct ctl *ctl, char *line)
{
	struct pasid_acknowledge_args args = {.count = 1};
	uint32_t host_pasid, acknowledged;
	uint64_t number;
	char *rest = NULL;
	const char *first = strtok_r(line, " \t\r", &rest), *second;
	if (first == NULL || !ctl_number(first, "PASID", UINT32_MAX, &number))
		return;
	host_pasid = (uint32_t)number;
	args.host_pasids = &host_pasid;
	second = strtok_r(NULL, " \t\r", &rest);
	if (second != NULL && !ctl_number(second, "SEQUENCE", UINT64_MAX, &args.seen))
		return;
	if (pasid_acknowledge(ctl->client, &args, &acknowledged) != 0)
		fprintf(stderr, "pasidctl: %s\n", pasid_last_error(ctl->client)->message);
	else if (acknowledged == 0)
		fprintf(stderr, "pasidctl: %u does not wait for this session\n", host_pasid);
}

/* What of a line has come so far; one that is too long is passed over. */
static char participate_input[LINE_SIZE];
static size_t participate_have;

static bool participate_read(struct ctl *ctl)
{
	char bytes[256];
	ssize_t n = read(0, bytes, sizeof(bytes));
	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			if (participate_have < LINE_SIZE)
				participate_input[participate_have++] = bytes[i];
			continue;
		}
		if (participate_have < LINE_SIZE) {
			participate_input[participate_have] = '\0';
			participate_line(ctl, participate_input);
		} else {
			fputs("pasidctl: a line that is too long is no PASID\n", stderr);
		}
		participate_have = 0;
	}
	return n > 0;
}

int ctl_participate(struct ctl *ctl)
{
	struct watch watch = {ctl, ctl->given & CTL_EVENTS ? ctl->events : UINT64_MAX};
	struct pasid_watch_args args = {
		.from = ctl->from, .priority = PASID_EVENT_PRIORITY_CPU, .acknowledge = true};
	return watch_run(&watch, &args, participate_read);
}
