/* SPDX-License-Identifier: MIT */
/* A daemon that is ended and started while its clients live. */
#include "bench_server.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_NS UINT64_C(20000000000)
#define HOME_MAX 90u /* the names in it go into a socket's address */

/* In the child. */
static _Noreturn void daemon_run(const struct bench_daemon *daemon)
{
	char simulate[128], config[128];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)snprintf(simulate, sizeof(simulate), "--simulate=%s/simulation", daemon->home);
	(void)snprintf(config, sizeof(config), "%s/config.json", daemon->home);
	(void)execl(daemon->program, "pasidd", simulate, "--runtime-dir", daemon->home, "--socket",
		daemon->socket, "--config", config, (char *)NULL);
	err(1, "%s", daemon->program);
}

/* -1: nobody listens yet. */
static int daemon_connect(const struct bench_daemon *daemon)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, daemon->socket, strlen(daemon->socket));
	if (fd < 0)
		err(1, "socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (errno != ENOENT && errno != ECONNREFUSED)
		err(1, "%s", daemon->socket);
	(void)close(fd);
	return -1;
}

uint64_t bench_daemon_start(struct bench_daemon *daemon)
{
	const uint64_t begin = bench_now_ns();
	struct bench_wire wire = {0};

	if (strlen(daemon->home) > HOME_MAX)
		errx(1, "%s: too long a path", daemon->home);
	(void)snprintf(daemon->socket, sizeof(daemon->socket), "%s/socket", daemon->home);
	daemon->pid = fork();
	if (daemon->pid < 0)
		err(1, "fork");
	if (daemon->pid == 0)
		daemon_run(daemon);
	while ((wire.fd = daemon_connect(daemon)) < 0) {
		if (waitpid(daemon->pid, NULL, WNOHANG) != 0 || bench_now_ns() - begin > START_NS)
			errx(1, "%s does not start", daemon->program);
		bench_sleep_ms(1);
	}
	bench_wire_ping(&wire);
	(void)close(wire.fd);
	return bench_now_ns() - begin;
}

void bench_daemon_end(struct bench_daemon *daemon, int signal)
{
	int status;

	if (kill(daemon->pid, signal) < 0 || waitpid(daemon->pid, &status, 0) < 0)
		err(1, "%s cannot be ended", daemon->program);
	if (WIFSIGNALED(status) ? WTERMSIG(status) != signal : WEXITSTATUS(status) != 0)
		errx(1, "%s ended with wait status %d", daemon->program, status);
}
