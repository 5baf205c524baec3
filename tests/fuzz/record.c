/* SPDX-License-Identifier: MIT */
/*
 * usage: fuzz_record FOLDER
 *
 * Makes the seeds of fuzz_datagram and fuzz_dispatch anew, in FOLDER/datagram and FOLDER/dispatch.
 */
#include "record.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define KEPT_MAX    128
#define SCRIPT_MAX  (1u << 16)

static struct {
	struct world world;
	pthread_mutex_t lock; /* of everything but the listener */
	pthread_t thread;
	const char *folder;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)], folder_of_path[64];
	int listener;
	enum world_slot expected;
	int sockets[WORLD_SLOTS]; /* -1: none */
	bool is_quick, stop;

	char name[64];
	uint8_t script[SCRIPT_MAX];
	size_t size;
	unsigned datagrams;
	int kept[KEPT_MAX];
	unsigned kept_count;
} recorder, *const r = &recorder;

/* ---------------------------------------------------------------- files */

static void record_write(const char *kind, const char *name, const void *data, size_t size)
{
	char path[512];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s/%s", r->folder, kind, name);
	file = fopen(path, "wbe");
	if (!file || fwrite(data, 1, size, file) != size || fclose(file))
		err(1, "%s", path);
}

static void record_append(
	enum script_action action, unsigned slot, const uint8_t *bytes, size_t size)
{
	struct script_record record = {
		.action = (uint8_t)action,
		.slot = (uint8_t)slot,
		.size = (uint16_t)size,
		.bytes = bytes,
	};
	size_t before = r->size;

	r->size = script_append(r->script, r->size, sizeof(r->script), &record);
	if (r->size == before)
		errx(1, "%s: the script is too long", r->name);
}

/* ---------------------------------------------------------------- descriptors */

int record_fd(enum world_fd_kind kind, unsigned number)
{
	char name[32];
	int fd;

	(void)snprintf(name, sizeof(name), "kind-%u-%u", (unsigned)kind, number);
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		err(1, "memfd_create");
	pthread_mutex_lock(&r->lock);
	if (r->kept_count == KEPT_MAX)
		errx(1, "too many descriptors");
	r->kept[r->kept_count++] = fd;
	pthread_mutex_unlock(&r->lock);
	return fd;
}

/* What a descriptor that came is: its name says so. */
static void record_read_kind(int fd, unsigned *ret_kind, unsigned *ret_number)
{
	static const char prefix[] = "/memfd:kind-";
	char link[64], name[128] = "", *end;

	*ret_kind = WORLD_FD_JUNK;
	*ret_number = 0;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, name, sizeof(name) - 1) < 0 ||
		strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return;
	*ret_kind = (unsigned)strtoul(name + sizeof(prefix) - 1, &end, 10);
	*ret_number = (unsigned)strtoul(end + 1, NULL, 10);
}

/* ---------------------------------------------------------------- the server */

/* A datagram with its descriptors becomes a file, a record of the script, and is taken. */
static void record_take(
	enum world_slot slot, const uint8_t *data, size_t size, const int *fds, size_t fd_count)
{
	static uint8_t bytes[SCRIPT_MAX];
	int numbers[SCRIPT_FDS_MAX];
	size_t front = 0;
	char name[96];

	bytes[front++] = (uint8_t)fd_count;
	for (size_t i = 0; i < fd_count; i++) {
		unsigned kind, number;

		record_read_kind(fds[i], &kind, &number);
		bytes[front++] = (uint8_t)kind;
		bytes[front++] = (uint8_t)number;
		numbers[i] = world_fd(&r->world, kind, number);
	}
	if (size > sizeof(bytes) - front)
		errx(1, "%s: a datagram of %zu bytes", r->name, size);
	memcpy(bytes + front, data, size);
	record_append(SCRIPT_SEND, slot, bytes, front + size);
	(void)snprintf(name, sizeof(name), "%s-%02u", r->name, r->datagrams++);
	record_write("datagram", name, data, size);
	world_send(&r->world, slot, data, size, numbers, fd_count, false);
}

static void record_close(enum world_slot slot)
{
	if (r->sockets[slot] >= 0)
		(void)close(r->sockets[slot]);
	r->sockets[slot] = -1;
}

/* A descriptor for the client: the end of a connection that is handed, or any. */
static int record_made_fd(int fd)
{
	int ends[2];

	if (fd < WORLD_OWN_FD)
		return dup(r->listener);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		err(1, "socketpair");
	record_close(WORLD_HANDED);
	r->sockets[WORLD_HANDED] = ends[0];
	return ends[1];
}

/* What the world has for the client. */
static void record_give(enum world_slot slot)
{
	const struct dispatch_datagram *datagram;
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	bool any = false;

	while ((datagram = world_peek(&r->world, slot))) {
		struct iovec part = {(void *)(uintptr_t)datagram->data, datagram->size};
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
		int fd = datagram->fd_count ? record_made_fd(datagram->fds[0]) : -1;
		ssize_t sent;

		if (fd >= 0) {
			message.msg_control = &control;
			message.msg_controllen = sizeof(control);
			control.head.cmsg_len = CMSG_LEN(sizeof(int));
			control.head.cmsg_level = SOL_SOCKET;
			control.head.cmsg_type = SCM_RIGHTS;
			memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
		}
		sent = sendmsg(r->sockets[slot], &message, MSG_NOSIGNAL);
		if (fd >= 0)
			(void)close(fd);
		if (sent < 0)
			break;
		dispatch_sent(r->world.d, r->world.links[slot].link);
		any = true;
	}
	if (any)
		record_append(SCRIPT_READ, slot, NULL, 0);
}

static void record_turn(void)
{
	static const uint8_t all[] = {15, 0};

	if (r->is_quick && r->world.f.model.count) {
		record_append(SCRIPT_STEP, 0, all, sizeof(all));
		world_step(&r->world, 16, 0);
	}
	for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
		if (r->sockets[slot] >= 0)
			record_give(slot);
	}
}

/* The client has gone. */
static void record_hang_up(enum world_slot slot)
{
	record_append(SCRIPT_DISCONNECT, slot, (const uint8_t[]){0}, 1);
	world_disconnect(&r->world, slot, false);
	record_close(slot);
}

static void record_receive(enum world_slot slot)
{
	static uint8_t data[WIRE_DATAGRAM_MAX];
	int fds[SCRIPT_FDS_MAX];
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control;
	struct iovec part = {data, sizeof(data)};
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t size = recvmsg(r->sockets[slot], &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *head = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	size_t count = 0;

	if (size < 0 && errno == EAGAIN)
		return;
	if (size <= 0) {
		record_hang_up(slot);
		return;
	}
	if (head && head->cmsg_type == SCM_RIGHTS) {
		count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(head), count * sizeof(int));
	}
	record_take(slot, data, (size_t)size, fds, count);
	for (size_t i = 0; i < count; i++)
		(void)close(fds[i]);
}

static void record_accept(void)
{
	int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (r->sockets[r->expected] >= 0)
		record_hang_up(r->expected);
	r->sockets[r->expected] = fd;
	record_append(SCRIPT_CONNECT, r->expected, NULL, 0);
	world_connect(&r->world, r->expected);
}

static void *record_serve(void *unused)
{
	struct pollfd polled[WORLD_SLOTS + 1];

	(void)unused;
	for (;;) {
		for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
			polled[slot] = (struct pollfd){.fd = r->sockets[slot], .events = POLLIN};
		polled[WORLD_SLOTS] = (struct pollfd){.fd = r->listener, .events = POLLIN};
		(void)poll(polled, ARRAY_SIZE(polled), 5);
		pthread_mutex_lock(&r->lock);
		if (r->stop)
			break;
		if (polled[WORLD_SLOTS].revents)
			record_accept();
		for (unsigned slot = 0; slot < WORLD_SLOTS; slot++) {
			if (polled[slot].revents && polled[slot].fd == r->sockets[slot])
				record_receive(slot);
		}
		record_turn();
		pthread_mutex_unlock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	return unused;
}

/* ---------------------------------------------------------------- for the scenes */

void record_begin(const char *name, bool has_honest)
{
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	r->datagrams = 0;
	r->is_quick = true;
	r->stop = false;
	r->script[0] = (uint8_t)(has_honest ? 0 : SCRIPT_ALONE);
	r->size = 1;
	for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
		r->sockets[slot] = -1;
	world_open(&r->world, has_honest);
	if (pthread_create(&r->thread, NULL, record_serve, NULL))
		errx(1, "no thread");
}

void record_end(void)
{
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_mutex_unlock(&r->lock);
	(void)pthread_join(r->thread, NULL);
	for (unsigned slot = 0; slot < WORLD_SLOTS; slot++)
		record_close(slot);
	while (r->kept_count)
		(void)close(r->kept[--r->kept_count]);
	world_close(&r->world);
	record_write("dispatch", r->name, r->script, r->size);
}

void record_expect(enum world_slot slot)
{
	pthread_mutex_lock(&r->lock);
	r->expected = slot;
	pthread_mutex_unlock(&r->lock);
}

void record_gone(enum world_slot slot)
{
	bool gone = false;

	while (!gone) {
		pthread_mutex_lock(&r->lock);
		gone = r->sockets[slot] < 0;
		pthread_mutex_unlock(&r->lock);
		(void)poll(NULL, 0, 1);
	}
}

static struct pasid_client *record_open(
	enum world_slot slot, enum pasid_role role, const struct pasid_hand_over *take_over)
{
	struct pasid_options options = {.path = r->path,
		.role = role,
		.name = "recorder",
		.timeout_ms = 10000,
		.take_over = take_over};
	struct pasid_client *client;
	struct pasid_error error;

	record_expect(slot);
	if (pasid_open(&options, &client, &error))
		errx(1, "%s: %s", r->name, error.message);
	return client;
}

struct pasid_client *record_client(enum world_slot slot, enum pasid_role role)
{
	return record_open(slot, role, NULL);
}

struct pasid_client *record_taking(enum world_slot slot, const struct pasid_hand_over *take_over)
{
	return record_open(slot, PASID_ROLE_VMM, take_over);
}

void record_hardware(bool is_quick)
{
	pthread_mutex_lock(&r->lock);
	r->is_quick = is_quick;
	pthread_mutex_unlock(&r->lock);
}

void record_action(
	enum script_action action, unsigned slot, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	const uint8_t bytes[] = {a, b, c, d};

	pthread_mutex_lock(&r->lock);
	record_append(action, slot, bytes, sizeof(bytes));
	if (action == SCRIPT_FAIL)
		world_fail(&r->world, a, b, c, d);
	else if (action == SCRIPT_TIME)
		world_time(&r->world, 10u * (1 + a + 256u * (b & 3)));
	else if (action == SCRIPT_LOSE)
		world_lose(&r->world, a);
	else if (action == SCRIPT_STEP)
		world_step(&r->world, 1 + a % 16, b);
	else if (action == SCRIPT_REFUSE)
		world_refuse_submits(&r->world, a & 1);
	else if (action == SCRIPT_HONEST)
		world_honest_act(&r->world);
	else if (action == SCRIPT_SHUT_DOWN)
		world_shut_down(&r->world);
	else if (action == SCRIPT_DISCONNECT) {
		world_disconnect(&r->world, slot, a & 1);
		record_close(slot);
	}
	pthread_mutex_unlock(&r->lock);
}

void record_expect_result(struct pasid_client *client, int result, bool wanted, const char *what)
{
	if ((result == 0) != wanted)
		errx(1, "%s: %s: %s", r->name, what,
			result ? pasid_last_error(client)->message : "done");
}

static void record_listen(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(r->folder_of_path, "/tmp/fuzz-record-XXXXXX");
	if (!mkdtemp(r->folder_of_path))
		err(1, "mkdtemp");
	(void)snprintf(r->path, sizeof(r->path), "%s/socket", r->folder_of_path);
	strcpy(address.sun_path, r->path);
	r->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&address, sizeof(address)) ||
		listen(r->listener, 8))
		err(1, "%s", r->path);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: fuzz_record FOLDER");
	r->folder = argv[1];
	pthread_mutex_init(&r->lock, NULL);
	record_listen();
	record_scenes();
	record_moves();
	record_scopes();
	record_streams();
	record_hard_scenes();
	(void)unlink(r->path);
	(void)rmdir(r->folder_of_path);
	return EXIT_SUCCESS;
}
