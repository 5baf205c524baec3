/* SPDX-License-Identifier: MIT */
#include "executor_state.h"

#include "../fd.h"
#include "spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* So long the loop waits for a spawner, which starts a process and no more; less than the watchdog
 * does. */
#define SPAWNER_PATIENCE_S 5

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

/* One of the two: that which is asked, or its spare. */
static void executor_spawner_end(struct executor_spawner *spawner)
{
	if (spawner->socket >= 0)
		(void)close(spawner->socket);
	spawner->socket = -1;
	if (spawner->pid > 0 && kill(spawner->pid, SIGKILL) == 0)
		(void)waitpid(spawner->pid, NULL, 0);
	spawner->pid = 0;
}

static int executor_spawner_pair(int *ret_ours, int *ret_theirs)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ret_ours = pair[0];
	*ret_theirs = pair[1];
	return 0;
}

/* Its end is seen in the executor's epoll descriptor (executor_spawner_tend). */
static void executor_spawner_enter(
	struct executor *e, struct executor_spawner *spawner, int socket, pid_t pid)
{
	struct epoll_event end = {.events = EPOLLRDHUP, .data.ptr = NULL};

	const struct timeval patience = {.tv_sec = SPAWNER_PATIENCE_S};

	*spawner = (struct executor_spawner){.socket = socket, .pid = pid};
	(void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	(void)epoll_ctl(e->epoll, EPOLL_CTL_ADD, socket, &end);
}

/* 0, or -EPIPE when the spawner has gone, or another -errno. `fd` -1: none is attached. */
static int executor_spawner_ask(const struct executor *e, const struct spawner_request *request,
	int fd, struct spawner_reply *ret_reply)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)request, sizeof(*request)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	if (e->spawner.socket < 0)
		return -EPIPE;
	if (sendmsg(e->spawner.socket, &msg, MSG_NOSIGNAL) < 0) /* ETOOMANYREFS: it lives */
		return errno == ECONNRESET ? -EPIPE : -errno;
	do
		n = recv(e->spawner.socket, ret_reply, sizeof(*ret_reply), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) /* the loop waits: the other one has to do */
		(void)kill(e->spawner.pid, SIGKILL);
	return n == sizeof(*ret_reply) ? 0 : -EPIPE;
}

/*
 * A daemon that is confined can start none that is not. So one that lives starts the next: of two,
 * both would have to end at once. While there is none, a later attempt may find one.
 */
static void executor_spawner_add_spare(struct executor *e)
{
	const struct spawner_request request = {.kind = SPAWNER_SPARE};
	struct spawner_reply reply = {0};
	FD_AUTO int ours = -1;
	FD_AUTO int theirs = -1;

	if (e->spare.socket >= 0 || executor_spawner_pair(&ours, &theirs) < 0 ||
		executor_spawner_ask(e, &request, theirs, &reply) < 0)
		return;
	if (reply.status < 0) {
		if (reply.pid > 0)
			(void)waitpid(reply.pid, NULL, 0);
		return;
	}
	executor_spawner_enter(e, &e->spare, TAKE_FD(ours), reply.pid);
}

int executor_spawner_start(struct executor *e)
{
	FD_AUTO int ours = -1;
	FD_AUTO int theirs = -1;
	pid_t pid = 0;
	int r;

	executor_spawner_end(&e->spawner);
	if (e->spare.socket >= 0) {
		e->spawner = e->spare;
		e->spare = (struct executor_spawner){.socket = -1};
		executor_spawner_add_spare(e);
		return 0;
	}
	r = e->confined ? -EPERM : executor_spawner_pair(&ours, &theirs);
	if (r == 0)
		r = executor_spawn_process(e, theirs, &pid);
	if (r < 0)
		return r;
	executor_spawner_enter(e, &e->spawner, TAKE_FD(ours), pid);
	executor_spawner_add_spare(e);
	return 0;
}

void executor_confine(struct executor *executor)
{
	executor->confined = true;
}

bool executor_is_helpless(const struct executor *executor)
{
	return executor->confined && executor->spawner.socket < 0 && executor->spare.socket < 0;
}

static bool executor_spawner_is_gone(const struct executor_spawner *spawner)
{
	struct pollfd end = {.fd = spawner->socket, .events = POLLRDHUP};

	return spawner->socket < 0 || poll(&end, 1, 0) != 0;
}

void executor_spawner_tend(struct executor *e)
{
	if (executor_spawner_is_gone(&e->spare))
		executor_spawner_end(&e->spare);
	if (executor_spawner_is_gone(&e->spawner))
		(void)executor_spawner_start(e);
	else
		executor_spawner_add_spare(e);
}

void executor_spawner_stop(struct executor *e)
{
	executor_spawner_end(&e->spare);
	executor_spawner_end(&e->spawner);
}

/* Again with the spare one when the first has gone. */
static int executor_spawner_ask_any(struct executor *e, const struct spawner_request *request,
	int fd, struct spawner_reply *ret_reply)
{
	int r = executor_spawner_ask(e, request, fd, ret_reply);

	if (r != -EPIPE)
		return r;
	r = executor_spawner_start(e);
	return r < 0 ? r : executor_spawner_ask(e, request, fd, ret_reply);
}

int executor_spawner_compare(
	struct executor *e, const struct spawner_request *request, uint32_t *ret_index)
{
	struct spawner_reply reply = {0};
	int r = executor_spawner_ask_any(e, request, -1, &reply);

	if (r == 0)
		r = reply.status;
	if (r == 0)
		*ret_index = (uint32_t)reply.pid;
	return r;
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
	struct spawner_request request = {.kind = SPAWNER_WORKER};
	FD_AUTO int ours = -1;
	FD_AUTO int theirs = -1;
	int r = executor_spawner_pair(&ours, &theirs);

	if (r < 0)
		return r;
	strncpy(request.lane, lane, sizeof(request.lane) - 1);
	r = executor_spawner_ask(e, &request, theirs, ret_reply);
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

int executor_read_settings(
	struct executor *e, const char *path, int output, pid_t *ret_pid, int *ret_pidfd)
{
	struct spawner_request request = {.kind = SPAWNER_SETTINGS};
	struct spawner_reply reply = {0};
	int r;

	if (path != NULL && strlen(path) >= sizeof(request.path))
		return -ENAMETOOLONG;
	if (path != NULL)
		memcpy(request.path, path, strlen(path));
	r = executor_spawner_ask_any(e, &request, output, &reply);
	if (r == 0)
		r = executor_spawn_pidfd(&reply, ret_pidfd);
	if (r == 0)
		*ret_pid = reply.pid;
	return r;
}
