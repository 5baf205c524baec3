/* SPDX-License-Identifier: MIT */
#include "confine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void confine_say(struct confinement *confinement)
{
	char calls[64] = "system calls are filtered", files[80];

	if (confinement->calls < 0)
		(void)snprintf(calls, sizeof(calls), "system calls are not filtered (%s)",
			strerror(-confinement->calls));
	if (confinement->files > 0)
		(void)snprintf(files, sizeof(files), "files are confined (Landlock %d)",
			confinement->files);
	else
		(void)snprintf(files, sizeof(files), "files are not confined (%s)",
			confinement->files == -EOPNOTSUPP || confinement->files == -ENOSYS
				? "no Landlock in this kernel"
				: strerror(-confinement->files));
	(void)snprintf(confinement->text, sizeof(confinement->text), "%s, %s", calls, files);
}

/* Files first: the calls that it takes are none that are left then. */
void confine_worker(bool simulated, struct confinement *ret_confinement)
{
	/* Whose simulated kernel it is looks into the memory of other workers, in /proc. */
	ret_confinement->files = simulated ? -EOPNOTSUPP : confine_worker_files();
	ret_confinement->calls = confine_worker_calls(simulated);
	confine_say(ret_confinement);
}

void confine_daemon(const char *const folders[static CONFINE_FOLDERS_MAX], const char *settings,
	struct confinement *ret_confinement)
{
	ret_confinement->files = confine_daemon_files(folders, settings);
	ret_confinement->calls = confine_daemon_calls();
	confine_say(ret_confinement);
}
