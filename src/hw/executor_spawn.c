/* SPDX-License-Identifier: MIT */
#include "executor_state.h"

#include "../fd.h"
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The socket where the worker looks for it; standard error stays, all else is closed. */
static int executor_spawn_files(posix_spawn_file_actions_t *files, int socket)
{
	int r = posix_spawn_file_actions_adddup2(files, socket, WORKER_SOCKET);

	if (r == 0)
		r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(
			files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(files, WORKER_SOCKET + 1);
	return -r;
}

/*
 * Default signals, and a session of its own: an interrupt typed at the daemon's terminal must not
 * end workers before the daemon has decided what happens to their devices.
 */
static int executor_spawn_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	if (r == 0)
		r = posix_spawnattr_setflags(attributes,
			POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
	return -r;
}

static int executor_spawn_process(const struct executor *e, int socket, pid_t *ret_pid)
{
	const char *const argv[] = {"pasidd-worker", "--worker", "--lane", "spawner", "--start",
		e->program, e->simulate_dir ? "--simulate" : NULL, e->simulate_dir, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int r;

	r = -posix_spawn_file_actions_init(&files);
	if (r < 0)
		return r;
	r = -posix_spawnattr_init(&attributes);
	if (r < 0)
		goto out_files;
	r = executor_spawn_files(&files, socket);
	if (r == 0)
		r = executor_spawn_attributes(&attributes);
	if (r == 0)
		r = -posix_spawn(ret_pid, "/proc/self/exe", &files, &attributes,
			(char *const *)(uintptr_t)argv, environ);
	(void)posix_spawnattr_destroy(&attributes);
out_files:
	(void)posix_spawn_file_actions_destroy(&files);
	return r;
}

int executor_spawner_start(struct executor *e)
{
	FD_AUTO int ours = -1;
	FD_AUTO int theirs = -1;
	int pair[2], r;

	executor_spawner_stop(e);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = executor_spawn_process(e, theirs, &e->spawner);
	if (r == 0)
		e->spawner_socket = TAKE_FD(ours);
	return r;
}

void executor_spawner_stop(struct executor *e)
{
	if (e->spawner_socket >= 0)
		(void)close(e->spawner_socket);
	e->spawner_socket = -1;
	if (e->spawner > 0 && kill(e->spawner, SIGKILL) == 0)
		(void)waitpid(e->spawner, NULL, 0);
	e->spawner = 0;
}

/* 0, or -EPIPE when the spawner has gone, or another -errno. */
static int executor_spawner_ask(
	const struct executor *e, const char *lane, int socket, struct spawner_reply *ret_reply)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct spawner_request request = {0};
	struct iovec iov = {.iov_base = &request, .iov_len = sizeof(request)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n;

	strncpy(request.lane, lane, sizeof(request.lane) - 1);
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &socket, sizeof(socket));
	if (e->spawner_socket < 0 || sendmsg(e->spawner_socket, &msg, MSG_NOSIGNAL) < 0)
		return -EPIPE;
	do
		n = recv(e->spawner_socket, ret_reply, sizeof(*ret_reply), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(*ret_reply) ? 0 : -EPIPE;
}

static int executor_spawn_pidfd(const struct spawner_reply *reply, int *ret_pidfd)
{
	int r = reply->status;

	if (r == 0 && reply->pid <= 0)
		return -EBADMSG;
	if (r == 0) {
		/* Nobody else waits for our children, so the number is still this process's. */
		*ret_pidfd = pidfd_open(reply->pid, 0);
		if (*ret_pidfd >= 0)
			return 0;
		r = -errno;
		(void)kill(reply->pid, SIGKILL);
	}
	if (reply->pid > 0)
		(void)waitpid(reply->pid, NULL, 0);
	return r;
}

/* Asks with a socket pair that nobody has seen: who was asked last may have started one that lives.
 */
static int executor_spawn_ask(const struct executor *e, const char *lane,
	struct spawner_reply *ret_reply, int *ret_socket)
{
	FD_AUTO int ours = -1;
	FD_AUTO int theirs = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = executor_spawner_ask(e, lane, theirs, ret_reply);
	if (r == 0)
		*ret_socket = TAKE_FD(ours);
	return r;
}

int executor_spawn(
	struct executor *e, const char *lane, pid_t *ret_pid, int *ret_pidfd, int *ret_socket)
{
	struct spawner_reply reply = {0};
	FD_AUTO int ours = -1;
	int r = executor_spawn_ask(e, lane, &reply, &ours);

	if (r == -EPIPE) {
		r = executor_spawner_start(e);
		if (r == 0)
			r = executor_spawn_ask(e, lane, &reply, &ours);
	}
	if (r == 0)
		r = executor_spawn_pidfd(&reply, ret_pidfd);
	if (r < 0)
		return r == -EAGAIN ? -EUSERS : r; /* what fork() says at a limit of processes */
	*ret_pid = reply.pid;
	*ret_socket = TAKE_FD(ours);
	return 0;
}
