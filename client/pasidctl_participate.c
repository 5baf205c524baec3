/* SPDX-License-Identifier: MIT */
/* participate: what changes, as it happens, and acknowledges it. */
#include "pasidctl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 64

struct participate {
	struct ctl *ctl;
	uint64_t left; /* events to wait for; UINT64_MAX: no end */
};

static void participate_event(
	struct pasid_client *client, const struct pasid_event *event, void *userdata)
{
	struct participate *it = userdata;
	(void)client;
	if (it->left == 0)
		return;
	if (it->left != UINT64_MAX)
		it->left--;
	ctl_show_event(it->ctl, event);
}

/*
 * Until enough events came or the reader of the lines is gone, which must end us even when nothing
 * happens. `read_input`: what has come on standard input, unless it is NULL; false: that was all.
 */
static int participate_run(struct participate *it, const struct pasid_watch_args *args,
	bool (*read_input)(struct ctl *ctl))
{
	struct ctl *ctl = it->ctl;
	bool goes_on = true;
	int r = pasid_watch_events(ctl->client, args, participate_event, it);
	if (r != 0)
		return ctl_failed(ctl, r);
	struct pollfd fds[] = {
		{.fd = pasid_fd(ctl->client), .events = pasid_events(ctl->client)},
		{.fd = 1, .events = 0},
		{.fd = read_input ? 0 : -1, .events = POLLIN},
	};
	while (goes_on && it->left > 0 && !(fds[1].revents & (POLLERR | POLLHUP))) {
		(void)poll(fds, ARRAY_SIZE(fds), -1);
		r = pasid_dispatch(ctl->client, 0);
		if (r < 0)
			return ctl_failed(ctl, r);
		if (read_input != NULL && fds[2].revents)
			goes_on = read_input(ctl);
	}
	return EXIT_DONE;
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
	struct participate it = {ctl, ctl->given & CTL_EVENTS ? ctl->events : UINT64_MAX};
	struct pasid_watch_args args = {
		.from = ctl->from, .priority = PASID_EVENT_PRIORITY_CPU, .acknowledge = true};
	return participate_run(&it, &args, participate_read);
}
