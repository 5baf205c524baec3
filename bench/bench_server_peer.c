/* SPDX-License-Identifier: MIT */
/*
 * The peers: an echo, redis, memcached. Their clients are as small as can be: one send() and as
 * many recv() as there are pieces of the answer, on a blocking Unix socket, with the request made
 * beforehand. A reply is over when so many lines of it have come; an error is a line that begins
 * with '-' (redis) or a capital letter (memcached).
 */
#include "bench_server.h"

#include <ctype.h>
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ECHO_SIZE 64u
#define IN_SIZE   (1u << 20)

int bench_connect(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		errx(1, "%s: too long a path", path);
	memcpy(address.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "%s", path);
	return fd;
}

static void peer_send(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0)
			err(1, "send");
		data += n;
		size -= (size_t)n;
	}
}

static size_t peer_receive(int fd, char *data, size_t room)
{
	ssize_t n = recv(fd, data, room, 0);

	if (n <= 0)
		errx(1, "a peer ended its connection");
	return (size_t)n;
}

/* ------------------------------------------------------------ echo */

static _Noreturn void echo_serve(int fd)
{
	char data[ECHO_SIZE];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		ssize_t n = recv(fd, data, sizeof(data), 0);

		if (n <= 0 || send(fd, data, (size_t)n, MSG_NOSIGNAL) != n)
			_exit(0);
	}
}

static void echo_batch(struct bench_load *load, unsigned depth)
{
	char data[ECHO_SIZE] = {0};

	for (unsigned i = 0; i < depth; i++) {
		peer_send(load->fd, data, sizeof(data));
		if (peer_receive(load->fd, data, sizeof(data)) != sizeof(data))
			errx(1, "the echo is torn");
	}
}

void bench_load_echo(struct bench_load *load)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		err(1, "socketpair");
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		(void)close(fds[0]);
		echo_serve(fds[1]);
	}
	(void)close(fds[1]);
	*load = (struct bench_load){.name = "echo", .pid = pid, .batch = echo_batch, .fd = fds[0]};
}

/* ------------------------------------------------------------ text protocols */

static void text_check(const char *line)
{
	if (*line == '-' || isupper((unsigned char)*line))
		errx(1, "a peer answers: %.*s", (int)strcspn(line, "\r\n"), line);
}

/* Reads so many lines, and not one more. */
static void text_receive(struct bench_load *load, size_t lines)
{
	bool at_start = true;

	while (lines > 0) {
		const size_t size = peer_receive(load->fd, load->in, IN_SIZE);
		const char *at = load->in, *end = load->in + size;

		while (at < end) {
			const char *newline = memchr(at, '\n', (size_t)(end - at));

			if (at_start)
				text_check(at);
			at_start = newline != NULL;
			if (newline == NULL)
				break;
			if (lines-- == 0)
				errx(1, "a peer says more than it was asked");
			at = newline + 1;
		}
	}
}

static void text_batch(struct bench_load *load, unsigned depth)
{
	peer_send(load->fd, load->out, load->request_size * depth);
	text_receive(load, (size_t)depth * load->lines);
}

/* A request that is answered with this many lines. */
static void text_open(struct bench_load *load, const struct bench_server *server,
	const char *request, unsigned lines)
{
	load->pid = server->pid;
	load->fd = bench_connect(server->path, SOCK_STREAM);
	load->batch = text_batch;
	load->request_size = strlen(request);
	load->lines = lines;
	load->out = malloc(load->request_size * BENCH_DEPTH_MAX);
	load->in = malloc(IN_SIZE + 1);
	if (load->out == NULL || load->in == NULL)
		errx(1, "no memory");
	load->in[IN_SIZE] = '\0';
	for (size_t i = 0; i < BENCH_DEPTH_MAX; i++)
		memcpy(load->out + i * load->request_size, request, load->request_size);
}

static void text_call(struct bench_load *load, const char *request, unsigned lines)
{
	peer_send(load->fd, request, strlen(request));
	text_receive(load, lines);
}

/* ------------------------------------------------------------ redis, memcached */

/* As many members of the set "free" as pasidd has numbers to give; new ones for those that went. */
static void redis_fill(struct bench_load *load)
{
	char request[512];

	(void)snprintf(request, sizeof(request),
		"EVAL \"local k=%u-redis.call('SCARD','free') local n=redis.call('INCRBY','next',k) "
		"for i=n-k+1,n do redis.call('SADD','free',i) end redis.call('DEL','owner') "
		"return 1\" 0\r\n",
		BENCH_NUMBERS - BENCH_FIRST_FREE);
	text_call(load, request, 1);
}

void bench_load_redis_incr(struct bench_load *load, const struct bench_server *server)
{
	*load = (struct bench_load){.name = "redis INCR"};
	text_open(load, server, "*2\r\n$4\r\nINCR\r\n$5\r\ncount\r\n", 1);
}

void bench_load_redis_job(struct bench_load *load, const struct bench_server *server)
{
	static const char script[] =
		"local n=redis.call('SPOP',KEYS[1]) "
		"redis.call('HSET',KEYS[2],n,ARGV[1]) return n";
	char request[512], digest[41];

	*load = (struct bench_load){.name = "redis SPOP and HSET in a script"};
	text_open(load, server, "", 2);
	(void)snprintf(request, sizeof(request), "SCRIPT LOAD \"%s\"\r\n", script);
	text_call(load, request, 2);
	memcpy(digest, strchr(load->in, '\n') + 1, 40);
	digest[40] = '\0';
	(void)close(load->fd);
	free(load->out);
	free(load->in);
	(void)snprintf(request, sizeof(request),
		"*6\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n2\r\n$4\r\nfree\r\n$5\r\nowner\r\n"
		"$3\r\nvm1\r\n",
		digest);
	text_open(load, server, request, 2);
	redis_fill(load);
}

void bench_load_redis_spop(
	struct bench_load *load, const struct bench_server *server, uint32_t count)
{
	char request[64], digits[16];
	const int size = snprintf(digits, sizeof(digits), "%u", count);

	(void)snprintf(request, sizeof(request), "*3\r\n$4\r\nSPOP\r\n$4\r\nfree\r\n$%d\r\n%s\r\n",
		size, digits);
	*load = (struct bench_load){.name = "redis SPOP", .count = count};
	text_open(load, server, request, 1 + 2 * count);
	load->refill = redis_fill;
}

void bench_load_memcached_incr(struct bench_load *load, const struct bench_server *server)
{
	*load = (struct bench_load){.name = "memcached incr"};
	text_open(load, server, "incr count 1\r\n", 1);
	peer_send(load->fd, "set count 0 0 1 noreply\r\n0\r\n", 28);
}
