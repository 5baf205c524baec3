/* SPDX-License-Identifier: MIT */
#include "pasidd_confine.h"

#include "hw/confine.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The folder that a path is in; "." for a bare name. False: it does not fit. */
static bool confine_parent(const char *path, char *ret_folder, size_t size)
{
	const char *name = strrchr(path, '/');
	const int length = name == NULL ? snprintf(ret_folder, size, ".")
			   : name == path
				   ? snprintf(ret_folder, size, "/")
				   : snprintf(ret_folder, size, "%.*s", (int)(name - path), path);

	return length >= 0 && (size_t)length < size;
}

/* What systemd made for us; with several names the first is ours. */
static const char *confine_made(const char *variable, char *ret_folder, size_t size)
{
	const char *made = getenv(variable);

	if (made == NULL || made[0] != '/')
		return NULL;
	(void)snprintf(ret_folder, size, "%.*s", (int)strcspn(made, ":"), made);
	return ret_folder;
}

__attribute__((format(printf, 2, 3))) static void confine_note(
	const struct confine *confine, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	confine->note(confine->ctx, format, args);
	va_end(args);
}

void confine_process(const struct confine *confine)
{
	char state[4096], logs[4096], settings[4096], own[2][RUNTIME_PATH_MAX];
	const char *folders[CONFINE_FOLDERS_MAX] = {
		confine->runtime_dir, confine->simulate_dir, confine->options->state_dir};
	const char *config = confine->options->config;
	struct confinement result;

	folders[3] = confine_made("STATE_DIRECTORY", state, sizeof(state));
	folders[4] = confine_made("LOGS_DIRECTORY", logs, sizeof(logs));
	/* What we made we remove when we end. */
	if (confine->sockets->own && confine_parent(confine->sockets->path, own[0], sizeof(own[0])))
		folders[5] = own[0];
	if (confine->sockets->own_admin &&
		confine_parent(confine->sockets->admin_path, own[1], sizeof(own[1])))
		folders[6] = own[1];
	if (config != NULL && !confine_parent(config, settings, sizeof(settings)))
		config = NULL;
	confine_daemon(folders, config != NULL ? settings : NULL, &result);
	if (result.calls < 0)
		confine_note(
			confine, "The daemon is less confined than it could be: %s.", result.text);
	else
		log_write(LOG_LEVEL_INFO, NULL, "confined: %s", result.text);
}
