/* SPDX-License-Identifier: MIT */
/* history: what the audit trail says of a number, a set or a device. No daemon is needed. */
#include "pasidctl_history.h"
#include "pasidctl.h"
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HISTORY_PATH_MAX 4096
#define HISTORY_LIMIT    1000 /* records, unless another number is asked for */

/* ------------------------------------------------------------ where it is */

/* A trail in the directory of the socket, which is the runtime directory, or where systemd's is. */
static const char *history_find(const struct ctl *ctl, char path[static HISTORY_PATH_MAX])
{
	static const char *const names[] = {AUDIT_FILE, AUDIT_FILE_SIMULATED};
	const char *socket = ctl->socket;
	if (socket == NULL)
		socket = getenv(PASID_SOCKET_ENV);
	if (socket == NULL)
		socket = PASID_SOCKET_DEFAULT;
	const char *slash = strrchr(socket, '/');
	const int length = slash != NULL ? (int)(slash - socket) : 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(path, HISTORY_PATH_MAX, "%.*s%s%s", length, socket,
			slash != NULL ? "/" : "", names[i]);
		if (access(path, F_OK) == 0)
			return path;
	}
	(void)snprintf(path, HISTORY_PATH_MAX, "%s/%s", AUDIT_DIRECTORY, AUDIT_FILE);
	return path;
}

static int history_failed(const struct ctl *ctl, int r, const char *text)
{
	const char *hint = r == -EACCES ? "; root may read it, and its group"
			   : r == -ENOENT
				   ? "; name one with --file, or the daemon's socket with --socket"
				   : "";
	fprintf(stderr, "pasidctl: %s%s\n", text, hint);
	if (ctl->json) {
		json_t *json = json_object();
		json_object_set_new(json, "ok", json_false());
		json_object_set_new(json, "message", json_string(text));
		json_dumpf(json, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(json);
	}
	return r == -EBADMSG ? EXIT_REFUSED : EXIT_FAILED;
}

/* ------------------------------------------------------------ what is asked for */

static int history_query(struct ctl *ctl, struct audit_query *query)
{
	uint64_t host;
	*query = (struct audit_query){.runs = true, .limit = HISTORY_LIMIT};
	if (ctl->arg_count > 0) {
		if (!ctl_number(ctl->args[0], "PASID", PASID_LAST, &host))
			return EXIT_USAGE;
		query->has_host = true;
		query->host = (uint32_t)host;
	}
	if (ctl->given & CTL_SET) {
		query->set = ctl->set.id;
		query->name = ctl->set.id != 0 ? NULL : ctl->set.name;
	}
	if (ctl->given & CTL_DEVICE) {
		struct rid rid;
		if (wire_rid_parse(ctl->device, &rid) != 0)
			return ctl_usage("\"%s\" is no address of a device, such as 0000:3a:00.1",
				ctl->device);
		query->has_rid = true;
		query->rid = rid.v;
	}
	if (ctl->given & CTL_LIMIT)
		query->limit = (uint32_t)ctl->limit;
	if ((ctl->given & CTL_SINCE) &&
		!history_parse_time(ctl->since, time(NULL), &query->since_ms))
		return ctl_usage(
			"\"%s\" is no time: 2h (ago; s, m, h, d), HH:MM, YYYY-MM-DD or "
			"\"YYYY-MM-DD HH:MM:SS\"",
			ctl->since);
	return EXIT_DONE;
}

/* ------------------------------------------------------------ what is so now */

/* What a running daemon says of the number; NULL: nobody says anything. */
static json_t *history_now(struct ctl *ctl, uint32_t host)
{
	static const enum pasid_role roles[] = {PASID_ROLE_ADMIN, PASID_ROLE_OBSERVER};
	struct pasid_options options = {
		.path = ctl->socket, .name = "pasidctl", .timeout_ms = ctl->timeout_ms};
	struct pasid_host_args args = {.host_pasid = host, .set = ctl->set};
	struct pasid_grant_info info;
	int r = PASID_DENIED;
	for (size_t i = 0; i < ARRAY_SIZE(roles) && r != 0; i++) {
		options.role = roles[i];
		r = pasid_open(&options, &ctl->client, NULL);
	}
	if (r != 0)
		return NULL;
	r = pasid_host_find(ctl->client, &args, &info);
	if (r == 0)
		return ctl_json_grant(&info);
	const char *reason = pasid_last_error(ctl->client)->reason;
	const bool several = r > 0 && reason != NULL && strcmp(reason, "pasid-ambiguous") == 0;
	json_t *json = json_object();
	json_object_set_new(json, "pasid", json_integer(host));
	json_object_set_new(json, "state",
		json_string(several                ? "of several sets"
			    : r == PASID_NOT_FOUND ? "free"
						   : "not known"));
	return json;
}

/* ------------------------------------------------------------ the answer */

int ctl_history(struct ctl *ctl)
{
	char path[HISTORY_PATH_MAX];
	const char *file = ctl->given & CTL_FILE ? ctl->file : history_find(ctl, path);
	struct audit_query query;
	struct audit_found found;
	struct audit_error error;
	int r = history_query(ctl, &query);
	if (r != EXIT_DONE)
		return r;
	r = audit_read(file, &query, &found, &error);
	if (r < 0)
		return history_failed(ctl, r, error.text);
	ctl->answer = history_json(file, &query, &found);
	free(found.records);
	/* A file that is named may be of another host, or another time. */
	json_t *now =
		query.has_host && !(ctl->given & CTL_FILE) ? history_now(ctl, query.host) : NULL;
	json_object_set_new(ctl->answer, "now", now != NULL ? now : json_null());
	return EXIT_DONE;
}

static const struct ctl_command commands[] = {
	{.name = "history",
		.arguments = "[PASID] [--set NAME] [--device ADDRESS] [--since TIME] [--limit N] "
			     "[--file FILE]",
		.summary = "what happened to a PASID, a set or a device, from the audit trail",
		.help = "Reads the trail that pasidd keeps, also when none is running, or a copy of one (--file).\n"
			"TIME is 30m (ago; s, m, h, d), HH:MM, YYYY-MM-DD or \"YYYY-MM-DD HH:MM:SS\". Shown are the\n"
			"last 1000 records, or N; 0: all. The last line is what a running pasidd says now.\n"
			"root may read it, and the group that its file has.\n\nExamples:\n"
			"  pasidctl history 1024\n"
			"  pasidctl history --set vm1 --since 2h\n"
			"  pasidctl --json history --device 0000:3b:00.0 --file copy-of-audit\n",
		.options = CTL_SET | CTL_DEVICE | CTL_SINCE | CTL_LIMIT | CTL_FILE,
		.max_args = 1,
		.offline = true,
		.run = ctl_history,
		.show = ctl_show_history},
};
const struct ctl_group ctl_history_commands = {commands, ARRAY_SIZE(commands)};
