/* SPDX-License-Identifier: MIT */
/* holds: who refers to which numbers; hold: refers to some while another program runs. */
#include "pasidctl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const struct ctl_column ctl_hold_columns[] = {
	{"PASID", "pasid"},
	{"SET", "set"},
	{"STATE", "state"},
	{"SESSION", "session"},
	{"UID", "uid"},
	{"TIMES", "times"},
	{0},
};

static int hold_read(const struct pasid_hold_info *info, void *userdata)
{
	/* as `pasids` names it */
	const struct pasid_grant_info grant = {.state = info->state};
	json_t *json = json_object(), *as_grant = ctl_json_grant(&grant);
	json_object_set_new(json, "pasid", json_integer(info->host_pasid));
	json_object_set_new(json, "set", json_string(info->set_name));
	json_object_set_new(json, "set_id", json_integer((json_int_t)info->set));
	json_object_set(json, "state", json_object_get(as_grant, "state"));
	json_object_set_new(json, "session", json_integer((json_int_t)info->session));
	json_object_set_new(json, "uid", json_integer(info->uid));
	json_object_set_new(json, "times", json_integer(info->times));
	json_decref(as_grant);
	return json_array_append_new(userdata, json);
}

int ctl_holds(struct ctl *ctl)
{
	struct pasid_list_args args = {.set = ctl->set};
	ctl->answer = json_array();
	int r = pasid_hold_list(ctl->client, &args, hold_read, ctl->answer);
	return r == 0 ? EXIT_DONE : ctl_failed(ctl, r);
}

static int hold_failed(const struct ctl *ctl, const char *name)
{
	int code = ctl_cannot(ctl, EXIT_FAILED, "cannot run %.100s: %s", name, strerror(errno));
	(void)fflush(stdout); /* a child ends without that */
	return code;
}

/* Runs it and waits; signals from the terminal are for it. */
static int hold_run(const struct ctl *ctl)
{
	char *const *line = ctl->others;
	int status = 0;
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	pid_t pid = fork();
	if (pid < 0)
		return hold_failed(ctl, line[0]);
	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		signal(SIGPIPE, SIG_DFL);
		execvp(line[0], line);
		_exit(hold_failed(ctl, line[0]));
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The end of the session lets go of all, also of what was held before a refusal. */
int ctl_hold(struct ctl *ctl)
{
	struct pasid_hold_args args = {.set = ctl->set};
	for (size_t i = 0; i < ctl->arg_count; i++) {
		uint64_t host;
		if (!ctl_number(ctl->args[i], "PASID", UINT32_MAX, &host))
			return EXIT_USAGE;
		args.host_pasid = (uint32_t)host;
		int r = pasid_hold(ctl->client, &args);
		if (r != 0)
			return ctl_failed(ctl, r);
	}
	return hold_run(ctl);
}
