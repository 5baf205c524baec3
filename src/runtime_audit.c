/* SPDX-License-Identifier: MIT */
#include "runtime_audit.h"

#include "runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#define AUDIT_PATH_MAX (CONFIG_AUDIT_PATH_MAX + 1)

static int audit_path_long(struct audit_error *ret_error)
{
	(void)snprintf(ret_error->text, sizeof(ret_error->text),
		"the path of the audit trail is longer than %d bytes", CONFIG_AUDIT_PATH_MAX);
	return -ENAMETOOLONG;
}

static int audit_find_path(const struct config_audit *config, const char *usual, const char *name,
	char path[static AUDIT_PATH_MAX], struct audit_error *ret_error)
{
	const char *logs = getenv("LOGS_DIRECTORY");
	int n;

	if (config->path != NULL)
		n = snprintf(path, AUDIT_PATH_MAX, "%s", config->path);
	else if (logs != NULL && logs[0] == '/') /* with several names the first is ours */
		n = snprintf(path, AUDIT_PATH_MAX, "%.*s/%s", (int)strcspn(logs, ":"), logs, name);
	else
		n = snprintf(path, AUDIT_PATH_MAX, "%s", usual);
	return n < 0 || n >= AUDIT_PATH_MAX ? audit_path_long(ret_error) : 0;
}

/* What has the name in the runtime directory, and is no name of ours, is kept. */
static void audit_name_it(const char *usual, const char *path, struct audit_error *ret_said)
{
	struct stat st;

	if (strcmp(usual, path) == 0)
		return;
	if (lstat(usual, &st) == 0) {
		if (S_ISLNK(st.st_mode))
			(void)unlink(usual);
		else
			(void)audit_aside(usual, ret_said);
	}
	if (symlink(path, usual) < 0)
		return; /* who looks for it can be told with --file, too */
}

int runtime_audit_open(const struct config_audit *config, const char *directory, bool simulated,
	struct audit **ret_audit, struct audit_error *ret_error)
{
	const char *name = simulated ? AUDIT_FILE_SIMULATED : AUDIT_FILE;
	char path[AUDIT_PATH_MAX], usual[RUNTIME_PATH_MAX + sizeof("/" AUDIT_FILE_SIMULATED)];
	sd_id128_t boot;
	int r;

	*ret_audit = NULL;
	if (config->records == 0)
		return 0;
	(void)snprintf(usual, sizeof(usual), "%s/%s", directory, name);
	r = audit_find_path(config, usual, name, path, ret_error);
	if (r < 0)
		return r;
	r = sd_id128_get_boot(&boot);
	if (r < 0)
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			"the kernel does not tell which boot this is: %s", strerror(-r));
	else
		r = audit_open(path, config->records, boot.bytes, ret_audit, ret_error);
	if (r == 0)
		audit_name_it(usual, path, ret_error);
	return r;
}
