/* SPDX-License-Identifier: MIT */
#include "spawner.h"

#include "worker.h"

#include <errno.h>
#include <fcntl.h>
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
	ret_request->path[sizeof(ret_request->path) - 1] = '\0';
	return 1;
}

/* What is to be started, and where it finds what was attached. */
struct spawner_program {
	const char *path;
	const char *const *argv;
	int place; /* WORKER_SOCKET, or STDOUT_FILENO */
};

/* In the new process: what was attached in its place, for a worker in place of ours, and nothing
 * else. What is read from a pipe says what is wrong there, and not in the journal, too. */
static int spawner_become(int fd, const struct spawner_program *program)
{
	const bool quiet = program->place == STDOUT_FILENO;
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (setsid() < 0 || dup2(fd, program->place) < 0 ||
		close_range(quiet ? STDERR_FILENO : WORKER_SOCKET + 1, ~0u, 0) < 0)
		return -errno;
	if (quiet && open("/dev/null", O_WRONLY) != STDERR_FILENO)
		return -errno;
	(void)execv(program->path, (char *const *)(uintptr_t)program->argv);
	return -errno;
}

/* A child of our parent. It shares one page with us, to say why it could not start. */
static void spawner_start(int fd, const struct spawner_program *program, int32_t *shared,
	struct spawner_reply *ret_reply)
{
	long pid;

	*shared = 0;
	pid = syscall(SYS_clone, CLONE_PARENT | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		*shared = spawner_become(fd, program);
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

static void spawner_serve(struct spawner_request *request, int fd, const char *program,
	const char *simulate_dir, int32_t *shared, struct spawner_reply *ret_reply)
{
	const char *const simulate = simulate_dir ? "--simulate" : NULL;
	const char *const worker[] = {
		"pasidd-worker", "--worker", "--lane", request->lane, simulate, simulate_dir, NULL};
	const char *const spare[] = {"pasidd-worker", "--worker", "--lane", "spawner", "--start",
		program, simulate, simulate_dir, NULL};
	const char *const settings[] = {"pasidd", "--check-config", "--json",
		request->path[0] ? "--config" : simulate, request->path[0] ? request->path : NULL,
		simulate, NULL};
	const struct spawner_program programs[] = {
		[SPAWNER_WORKER] = {program, worker, WORKER_SOCKET},
		[SPAWNER_SPARE] = {"/proc/self/exe", spare, WORKER_SOCKET},
		[SPAWNER_SETTINGS] = {"/proc/self/exe", settings, STDOUT_FILENO},
	};

	if (request->kind == SPAWNER_COMPARE)
		spawner_compare(request, ret_reply);
	else if (request->kind < ARRAY_SIZE(programs) && programs[request->kind].path != NULL)
		spawner_start(fd, &programs[request->kind], shared, ret_reply);
	else
		*ret_reply = (struct spawner_reply){0, -EINVAL};
}

int spawner_main(int socket, const char *program, const char *simulate_dir)
{
	struct spawner_request request;
	int32_t *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct spawner_reply reply;
	int fd = -1, r;

	if (shared == MAP_FAILED)
		return EXIT_FAILURE;
	while ((r = spawner_receive(socket, &request, &fd)) > 0) {
		spawner_serve(&request, fd, program, simulate_dir, shared, &reply);
		if (fd >= 0)
			(void)close(fd);
		if (send(socket, &reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply))
			break;
	}
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
