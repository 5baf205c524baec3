/* SPDX-License-Identifier: MIT */
/* metrics: what the daemon counts, for Prometheus. */
#include "pasidctl_metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pasidctl_file.h"

#define METRICS_TIMEOUT_MS 5000u

/* ------------------------------------------------------------ asking */

static double metrics_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Room for one more; each array has room for a power of two. */
static void *metrics_grow(void *items, size_t count, size_t size)
{
	if ((count & (count - 1)) == 0) {
		items = reallocarray(items, count > 0 ? count * 2 : 1, size);
		if (items == NULL)
			abort();
	}
	return items;
}

static int metrics_limit(const struct pasid_limit_info *info, void *userdata)
{
	struct metrics_read *read = userdata;
	if (info->level != PASID_LIMIT_HOST &&
		!(read->view.sets && info->level == PASID_LIMIT_USER))
		return 0;
	read->limits = metrics_grow(read->limits, read->view.limit_count, sizeof(*info));
	read->limits[read->view.limit_count++] = *info;
	return 0;
}

static int metrics_device(const struct pasid_device_info *info, void *userdata)
{
	struct metrics_read *read = userdata;
	read->devices = metrics_grow(read->devices, read->view.device_count, sizeof(*info));
	read->devices[read->view.device_count++] = *info;
	return 0;
}

static int metrics_set(const struct pasid_set_info *info, void *userdata)
{
	struct metrics_read *read = userdata;
	read->sets = metrics_grow(read->sets, read->view.set_count, sizeof(*info));
	read->sets[read->view.set_count++] = *info;
	return 0;
}

void metrics_free(struct metrics_read *read)
{
	free(read->limits);
	free(read->devices);
	free(read->sets);
	*read = (struct metrics_read){.view.sets = read->view.sets};
}

static int metrics_query(struct pasid_client *client, struct metrics_read *read)
{
	double begun = metrics_now();
	int r = pasid_status(client, &read->status);
	if (r == 0)
		r = pasid_limit_list(client, NULL, metrics_limit, read);
	if (r == 0)
		r = pasid_device_list(client, NULL, metrics_device, read);
	if (r == 0 && read->view.sets)
		r = pasid_set_list(client, NULL, metrics_set, read);
	if (r != 0)
		return r;
	read->view.status = &read->status;
	read->view.limits = read->limits;
	read->view.devices = read->devices;
	read->view.set = read->sets;
	read->view.seconds = metrics_now() - begun;
	return 0;
}

int metrics_ask(struct ctl *ctl, struct pasid_client **client, struct metrics_read *ret_read,
	struct pasid_error *ret_error)
{
	struct pasid_options options = {.path = ctl->socket,
		.name = "pasidctl metrics",
		.role = PASID_ROLE_OBSERVER,
		.resume_ms = 1, /* who is gone is away: that is what is asked */
		.timeout_ms = ctl->timeout_ms != 0 ? ctl->timeout_ms : METRICS_TIMEOUT_MS};
	bool again = *client != NULL;
	int r;
	*ret_read = (struct metrics_read){.view.sets = (ctl->given & CTL_PER_SET) != 0};
	do {
		r = *client != NULL ? 0 : pasid_open(&options, client, ret_error);
		if (r != 0)
			return r;
		r = metrics_query(*client, ret_read);
		if (r == 0)
			return 0;
		*ret_error = *pasid_last_error(*client);
		pasid_close(*client);
		*client = NULL;
		metrics_free(ret_read);
		/* A connection of before that was lost meanwhile says nothing of the daemon. */
	} while (again && (again = false, r == -ENOTCONN || r == -ECONNRESET));
	return r;
}

char *metrics_text(
	const struct metrics_read *read, enum view_metrics_format format, size_t *ret_size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_size);
	if (out == NULL)
		abort();
	view_metrics_print(out, &read->view, format);
	if (fclose(out) != 0)
		abort();
	return text;
}

/* ------------------------------------------------------------ once */

static int metrics_write(
	struct ctl *ctl, const struct metrics_read *read, enum view_metrics_format format)
{
	size_t size;
	char *text = metrics_text(read, format, &size);
	int r = 0;
	if (ctl->given & CTL_OUTPUT)
		r = file_replace(ctl->output, 0644, text, size);
	else
		fwrite(text, 1, size, stdout);
	free(text);
	if (r == 0)
		return EXIT_DONE;
	fprintf(stderr, "pasidctl: cannot write %s: %s%s\n", ctl->output, strerror(-r),
		r == -EEXIST ? ", and is no regular file" : "");
	return EXIT_FAILED;
}

/* A file says that there is no daemon; who reads standard output sees it by the exit code. */
static int metrics_once(struct ctl *ctl, enum view_metrics_format format)
{
	struct metrics_read read;
	struct pasid_error error = {0};
	int r = metrics_ask(ctl, &ctl->client, &read, &error), code = EXIT_DONE;
	if (r == 0 && ctl->json)
		ctl->answer = view_metrics_json(&read.view);
	else if (r == 0 || (ctl->given & CTL_OUTPUT))
		code = metrics_write(ctl, &read, format);
	if (r != 0) {
		ctl_print_error(ctl, &error);
		code = ctl_exit_code(r);
	}
	metrics_free(&read);
	return code;
}

static int ctl_metrics(struct ctl *ctl)
{
	enum view_metrics_format format = VIEW_METRICS_TEXT;
	if ((ctl->given & CTL_FORMAT) && !view_metrics_parse(ctl->format, &format))
		return ctl_usage("--format is text or openmetrics");
	if ((ctl->given & CTL_LISTEN) && ((ctl->given & (CTL_OUTPUT | CTL_FORMAT)) || ctl->json))
		return ctl_usage("--listen goes without --output, --format and --json");
	if ((ctl->given & CTL_OUTPUT) && ctl->json)
		return ctl_usage("--output goes without --json");
	return ctl->given & CTL_LISTEN ? metrics_listen(ctl) : metrics_once(ctl, format);
}

static const struct ctl_command commands[] = {
	{.name = "metrics",
		.arguments =
			"[--sets] [--format FORMAT] [--output FILE | --listen ADDRESS [--force]]",
		.summary = "what the daemon counts, for Prometheus",
		.help = "FORMAT is text (the default: what node_exporter's textfile collector and "
			"promtool read) or\nopenmetrics. --sets adds series for each set and user, at "
			"most 1000 sets. --output puts FILE in\nthe place of the one before, whole; "
			"without a daemon it says pasidd_up 0, and the exit code is 3.\n\n--listen "
			"serves /metrics over HTTP: ADDRESS is IP:PORT, [IPv6]:PORT, a path, or fd:N for\n"
			"a socket that listens already. The format is what the request wants. The daemon is asked at most "
			"once a second; while it is away,\npasidd_up is 0. Needs the role observer, "
			"and no privilege: as root only with --force.\n\nExamples:\n"
			"  pasidctl metrics | promtool check metrics\n"
			"  pasidctl metrics --output /var/lib/prometheus/node-exporter/pasidd.prom\n"
			"  pasidctl metrics --sets --listen 127.0.0.1:9942\n",
		.options = CTL_PER_SET | CTL_FORMAT | CTL_OUTPUT | CTL_LISTEN | CTL_FORCE,
		.followers = CTL_FORCE,
		.leader = CTL_LISTEN,
		.offline = true, /* it asks when it is asked */
		.roles = {PASID_ROLE_OBSERVER},
		.run = ctl_metrics},
};
const struct ctl_group ctl_metrics_commands = {commands, ARRAY_SIZE(commands)};
