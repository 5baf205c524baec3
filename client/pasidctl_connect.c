/* SPDX-License-Identifier: MIT */
/* The command that hands a VMM its connection: another program takes our place with it. */
#include "pasidctl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_FD 3

static int connect_failed(const struct ctl *ctl, const char *what, const char *name)
{
	return ctl_cannot(ctl, EXIT_FAILED, "%s %.100s: %s", what, name, strerror(errno));
}

/* Everything else of ours is close-on-exec. */
static int connect_place(int fd, int number)
{
	if (fd == number)
		return fcntl(fd, F_SETFD, 0);
	if (dup2(fd, number) < 0)
		return -1;
	return close(fd);
}

int ctl_set_connect(struct ctl *ctl)
{
	struct pasid_set_ref set = {0};
	int number = ctl->given & CTL_FD ? (int)ctl->fd : CONNECT_FD, fd;
	char text[16];
	if (!ctl_set(ctl->args[0], &set))
		return EXIT_USAGE;
	int r = pasid_set_connect(ctl->client, &set, NULL, &fd);
	if (r != 0)
		return ctl_failed(ctl, r);
	/* The library's descriptors must not be in the place of this one. */
	pasid_close(ctl->client);
	ctl->client = NULL;
	snprintf(text, sizeof(text), "%d", number);
	if (connect_place(fd, number) < 0)
		return connect_failed(ctl, "descriptor", text);
	if (setenv("PASIDD_FD", text, 1) < 0)
		return connect_failed(ctl, "cannot set", "PASIDD_FD");
	signal(SIGPIPE, SIG_DFL);
	execvp(ctl->others[0], ctl->others);
	return connect_failed(ctl, "cannot run", ctl->others[0]);
}
