/* SPDX-License-Identifier: MIT */
#include "spawner.h"

#include "worker.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 1 with a request, 0 at the end, or -errno. *ret_fd: what was attached, or -1. */
static int spawner_receive(int socket, struct spawner_request *ret_request, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = ret_request, .iov_len = sizeof(*ret_request)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	c = CMSG_FIRSTHDR(&msg);
	*ret_fd = -1;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	if (n != sizeof(*ret_request) || ret_request->count > SPAWNER_FILES ||
		(*ret_fd < 0) != (ret_request->kind == SPAWNER_COMPARE))
		return -EBADMSG;
	ret_request->lane[sizeof(ret_request->lane) - 1] = '\0';
	return 1;
}

/* In the new process: the socket where a worker looks for it, in place of ours, and nothing else.
 */
static int spawner_become(int socket, const char *program, const char *const argv[])
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (setsid() < 0 || dup2(socket, WORKER_SOCKET) < 0 ||
		close_range(WORKER_SOCKET + 1, ~0u, 0) < 0)
		return -errno;
	(void)execv(program, (char *const *)(uintptr_t)argv);
	return -errno;
}

/* A child of our parent. It shares one page with us, to say why it could not start. */
static void spawner_start(int socket, const char *program, const char *const argv[],
	int32_t *shared, struct spawner_reply *ret_reply)
{
	long pid;

	*shared = 0;
	pid = syscall(SYS_clone, CLONE_PARENT | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		*shared = spawner_become(socket, program, argv);
		_exit(EXIT_FAILURE);
	}
	ret_reply->pid = pid < 0 ? 0 : (int32_t)pid;
	ret_reply->status = pid < 0 ? -errno : *shared;
}

/* 1: one open file, 0: two, or -errno. */
static int spawner_same(const struct spawner_file *a, const struct spawner_file *b)
{
	const long r = syscall(SYS_kcmp, a->pid, b->pid, KCMP_FILE, a->fd, b->fd);

	return r < 0 ? -errno : r == 0;
}

/*
 * The other process may be closing what is compared with, or be gone: an error there means that it
 * does not hold that file.
 */
static void spawner_compare(const struct spawner_request *request, struct spawner_reply *ret_reply)
{
	const int own = spawner_same(&request->file, &request->file);
	uint32_t i = 0;

	while (own > 0 && i < request->count &&
		spawner_same(&request->file, &request->others[i]) <= 0)
		i++;
	*ret_reply = (struct spawner_reply){(int32_t)i, own < 0 ? own : 0};
}

int spawner_main(int socket, const char *program, const char *simulate_dir)
{
	struct spawner_request request;
	const char *const argv[] = {"pasidd-worker", "--worker", "--lane", request.lane,
		simulate_dir ? "--simulate" : NULL, simulate_dir, NULL};
	const char *const spare[] = {"pasidd-worker", "--worker", "--lane", "spawner", "--start",
		program, simulate_dir ? "--simulate" : NULL, simulate_dir, NULL};
	int32_t *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct spawner_reply reply;
	int fd = -1, r;

	if (shared == MAP_FAILED)
		return EXIT_FAILURE;
	while ((r = spawner_receive(socket, &request, &fd)) > 0) {
		if (request.kind == SPAWNER_COMPARE)
			spawner_compare(&request, &reply);
		else if (request.kind == SPAWNER_SPARE)
			spawner_start(fd, "/proc/self/exe", spare, shared, &reply);
		else
			spawner_start(fd, program, argv, shared, &reply);
		if (fd >= 0)
			(void)close(fd);
		if (send(socket, &reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply))
			break;
	}
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
