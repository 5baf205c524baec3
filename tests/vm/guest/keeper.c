/* SPDX-License-Identifier: MIT */
/*
 * usage: keeper PIDFILE PROGRAM [ARGUMENT...]
 *
 * Keeps a service as systemd does, as far as these tests need it: starts it again whenever it ends,
 * and gives it the descriptors that it had stored ($NOTIFY_SOCKET, FDSTORE=1 and FDSTOREREMOVE=1).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STORED_MAX = 64, NAME_MAX_SIZE = 256, FIRST = 3, TEXT_MAX = 4096 };

struct stored {
	char name[NAME_MAX_SIZE];
	int fd;
};

static struct stored stored[STORED_MAX];
static size_t count;

static void keeper_die(const char *what)
{
	perror(what);
	exit(1);
}

/* What says is heard at a name that needs no file. */
static int keeper_listen(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0keeper"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + sizeof("\0keeper") - 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0)
		keeper_die("socket");
	return fd;
}

/* In the child. The descriptors are moved away first, so that none is overwritten. */
static void keeper_become(char **program, const sigset_t *signals)
{
	char number[16], names[STORED_MAX * NAME_MAX_SIZE] = "";
	int moved[STORED_MAX];

	for (size_t i = 0; i < count; i++) {
		moved[i] = dup(stored[i].fd);
		while (moved[i] >= 0 && moved[i] < FIRST + STORED_MAX)
			moved[i] = dup(moved[i]);
		if (i > 0)
			strcat(names, ":");
		strcat(names, stored[i].name);
	}
	for (size_t i = 0; i < count; i++)
		if (moved[i] < 0 || dup2(moved[i], FIRST + (int)i) < 0)
			keeper_die("dup2");
	if (close_range(FIRST + (unsigned)count, ~0u, 0) < 0)
		keeper_die("close_range");
	setenv("NOTIFY_SOCKET", "@keeper", 1);
	if (count > 0) {
		snprintf(number, sizeof(number), "%zu", count);
		setenv("LISTEN_FDS", number, 1);
		setenv("LISTEN_FDNAMES", names, 1);
		snprintf(number, sizeof(number), "%d", (int)getpid());
		setenv("LISTEN_PID", number, 1);
	}
	sigprocmask(SIG_UNBLOCK, signals, NULL);
	execvp(program[0], program);
	keeper_die(program[0]);
}

static pid_t keeper_start(char **program, const char *pid_file, const sigset_t *signals)
{
	pid_t pid = fork();
	FILE *file;

	if (pid < 0)
		keeper_die("fork");
	if (pid == 0)
		keeper_become(program, signals);
	file = fopen(pid_file, "w");
	if (!file || fprintf(file, "%d\n", (int)pid) < 0 || fclose(file) != 0)
		keeper_die(pid_file);
	return pid;
}

/* The value behind "KEY=" in lines of text; NULL: there is none. */
static const char *keeper_value(char *text, const char *key, char *value)
{
	size_t length = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, length) == 0 && line[length] == '=') {
			snprintf(value, NAME_MAX_SIZE, "%.*s",
				(int)strcspn(line + length + 1, "\n"), line + length + 1);
			return value;
		}
	}
	return NULL;
}

static void keeper_forget(const char *name)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(stored[i].name, name) == 0)
			close(stored[i].fd);
		else
			stored[left++] = stored[i];
	}
	count = left;
}

/* One message: its text, and the one descriptor that may come with it. */
static void keeper_hear(int notify)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	char text[TEXT_MAX] = "", name[NAME_MAX_SIZE], value[NAME_MAX_SIZE];
	struct iovec iov = {text, sizeof(text) - 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *header;
	int fd = -1;

	if (recvmsg(notify, &message, MSG_CMSG_CLOEXEC) < 0)
		return;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	if (keeper_value(text, "FDSTOREREMOVE", value) && keeper_value(text, "FDNAME", name))
		keeper_forget(name);
	if (fd >= 0 && count < STORED_MAX && keeper_value(text, "FDSTORE", value) &&
		keeper_value(text, "FDNAME", name)) {
		stored[count].fd = fd;
		strcpy(stored[count++].name, name);
	} else if (fd >= 0) {
		close(fd); /* a barrier */
	}
}

int main(int argc, char **argv)
{
	int notify = keeper_listen(), ends;
	sigset_t signals;
	pid_t child;

	if (argc < 3)
		return 2;
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	ends = signalfd(-1, &signals, SFD_CLOEXEC);
	if (ends < 0)
		keeper_die("signalfd");
	/* workers that outlive the service are not this process's children */
	child = keeper_start(argv + 2, argv[1], &signals);
	for (;;) {
		struct pollfd poller[] = {
			{.fd = notify, .events = POLLIN}, {.fd = ends, .events = POLLIN}};
		struct signalfd_siginfo info;

		if (poll(poller, 2, -1) < 0 && errno != EINTR)
			keeper_die("poll");
		if (poller[0].revents)
			keeper_hear(notify);
		else if (poller[1].revents && read(ends, &info, sizeof(info)) > 0 &&
			 waitpid(child, NULL, WNOHANG) == child)
			child = keeper_start(argv + 2, argv[1], &signals);
	}
}
