/* SPDX-License-Identifier: MIT */
#include "executor_state.h"

#include "../fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
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

static int executor_spawn_process(
	const struct executor *e, const char *lane, int socket, pid_t *ret_pid)
{
	const char *const argv[] = {"pasidd-worker", "--worker", "--lane", lane,
		e->simulate_dir ? "--simulate" : NULL, e->simulate_dir, NULL};
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
		r = -posix_spawn(ret_pid, e->program, &files, &attributes,
			(char *const *)(uintptr_t)argv, environ);
	(void)posix_spawnattr_destroy(&attributes);
out_files:
	(void)posix_spawn_file_actions_destroy(&files);
	return r;
}

int executor_spawn(
	const struct executor *e, const char *lane, pid_t *ret_pid, int *ret_pidfd, int *ret_socket)
{
	FD_AUTO int ours = -1;
	FD_AUTO int theirs = -1;
	int pair[2], pidfd, r;
	pid_t pid = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	r = executor_spawn_process(e, lane, theirs, &pid);
	if (r < 0)
		return r;
	/* Nobody else waits for our children, so the number is still this process's. */
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		r = -errno;
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	*ret_socket = TAKE_FD(ours);
	return 0;
}
