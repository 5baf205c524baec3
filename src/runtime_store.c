/* SPDX-License-Identifier: MIT */
#include "runtime_store.h"

#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* A name in the store; systemd takes no ':' in it. */
#define STORE_LANE "lane-%016" PRIx64 "-%" PRId32
#define STORE_MAP  "map-%016" PRIx64
#define STORE_NAME 64

struct store_message {
	struct store_message *next;
	int fd; /* a copy; -1: its name is to be forgotten */
	char text[32 + STORE_NAME];
};

struct runtime_store {
	int fd;                               /* -1: nobody keeps anything */
	struct store_message *unsent, **last; /* oldest first */
};

/* ---------------------------------------------------------------- what was kept */

/* A name that we gave reads back as what it was made of, and is made of it again. */
static bool store_read_lane(const char *name, struct runtime_lane *ret_lane)
{
	static const char prefix[] = "lane-";
	char again[STORE_NAME];
	char *rest;
	long pid;

	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return false;
	ret_lane->lane = strtoull(name + strlen(prefix), &rest, 16);
	if (*rest != '-')
		return false;
	pid = strtol(rest + 1, NULL, 10);
	if (pid <= 0 || pid > INT32_MAX)
		return false;
	ret_lane->pid = (int32_t)pid;
	(void)snprintf(again, sizeof(again), STORE_LANE, ret_lane->lane, ret_lane->pid);
	return strcmp(again, name) == 0;
}

static bool store_read_map(const char *name, struct runtime_map *ret_map)
{
	static const char prefix[] = "map-";
	char again[STORE_NAME];

	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return false;
	ret_map->set.v = strtoull(name + strlen(prefix), NULL, 16);
	(void)snprintf(again, sizeof(again), STORE_MAP, ret_map->set.v);
	return strcmp(again, name) == 0;
}

/* Whoever can open it is an admin: its path's mode is all that stands before it (unix(7)). */
static int store_check_admin(int fd, struct runtime_error *ret_error)
{
	struct sockaddr_un address = {0};
	socklen_t size = sizeof(address) - 1; /* so that its path is terminated */
	struct stat status;

	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0 || address.sun_path[0] == '\0')
		return runtime_fail(ret_error, -EPERM,
			"the passed socket named admin has no path, so that everybody could open "
			"it and be an administrator; ListenSequentialPacket= takes a path");
	if (stat(address.sun_path, &status) == 0 && (status.st_mode & S_IWOTH))
		return runtime_fail(ret_error, -EPERM,
			"%s: everybody can open it (mode %04o) and be an administrator; set "
			"SocketMode=0600 in its unit",
			address.sun_path, (unsigned int)(status.st_mode & 07777));
	return 0;
}

/* One socket for everybody, and one for admins, which its unit must give that name. */
static int store_take_listening(
	int fd, const char *name, struct runtime_passed *passed, struct runtime_error *ret_error)
{
	const bool admin = strcmp(name, "admin") == 0;
	int *place = admin ? &passed->admin_fd : &passed->listen_fd;
	const int flags = fcntl(fd, F_GETFL);

	if (*place >= 0 || sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) <= 0)
		return runtime_fail(ret_error, -EINVAL,
			"systemd passed a descriptor named '%.64s'; pasidd takes one listening Unix "
			"socket, ListenSequentialPacket= in the socket unit, one with "
			"FileDescriptorName=admin, and what it stored itself",
			name);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return runtime_fail(ret_error, -EINVAL, "the passed socket: %s", strerror(errno));
	*place = fd;
	return admin ? store_check_admin(fd, ret_error) : 0;
}

static int store_take(
	int fd, const char *name, struct runtime_passed *passed, struct runtime_error *ret_error)
{
	struct runtime_lane lane = {.fd = fd};
	struct runtime_map map = {.fd = fd};

	if (store_read_map(name, &map)) {
		passed->maps[passed->map_count++] = map;
		return 0;
	}
	if (store_read_lane(name, &lane) && sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, 0) > 0) {
		passed->lanes[passed->lane_count++] = lane;
		return 0;
	}
	return store_take_listening(fd, name, passed, ret_error);
}

int runtime_passed(struct runtime_passed *ret_passed, struct runtime_error *ret_error)
{
	struct runtime_passed passed = {.listen_fd = -1, .admin_fd = -1};
	char **names = NULL;
	const int count = sd_listen_fds_with_names(1, &names);
	int r = 0;

	if (count > 0) {
		passed.lanes = calloc((size_t)count, sizeof(*passed.lanes));
		passed.maps = calloc((size_t)count, sizeof(*passed.maps));
		if (passed.lanes == NULL || passed.maps == NULL)
			r = -ENOMEM;
	}
	for (int i = 0; r == 0 && i < count; i++)
		r = store_take(SD_LISTEN_FDS_START + i, names[i], &passed, ret_error);
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
	if (r < 0) {
		free(passed.lanes);
		free(passed.maps);
		return r;
	}
	*ret_passed = passed;
	return 0;
}

void runtime_passed_done(struct runtime_passed *passed)
{
	for (size_t i = 0; i < passed->lane_count; i++) {
		if (passed->lanes[i].fd >= 0)
			close(passed->lanes[i].fd);
	}
	for (size_t i = 0; i < passed->map_count; i++) {
		if (passed->maps[i].fd >= 0)
			close(passed->maps[i].fd);
	}
	free(passed->lanes);
	free(passed->maps);
	passed->lanes = NULL;
	passed->maps = NULL;
	passed->lane_count = passed->map_count = 0;
}

/* ---------------------------------------------------------------- what is to be kept */

static int store_connect(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	FD_AUTO int fd = -1;
	size_t length = path != NULL ? strlen(path) : 0;

	if (length < 2 || length >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return -1;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		return -1;
	return TAKE_FD(fd);
}

int runtime_store_new(struct runtime_store **ret_store)
{
	struct runtime_store *store = calloc(1, sizeof(*store));

	if (store == NULL)
		return -ENOMEM;
	store->last = &store->unsent;
	store->fd = store_connect();
	*ret_store = store;
	return 0;
}

static void store_pop(struct runtime_store *store)
{
	struct store_message *message = store->unsent;

	store->unsent = message->next;
	if (store->unsent == NULL)
		store->last = &store->unsent;
	if (message->fd >= 0)
		close(message->fd);
	free(message);
}

void runtime_store_free(struct runtime_store *store)
{
	if (store == NULL)
		return;
	runtime_store_flush(store);
	while (store->unsent != NULL)
		store_pop(store);
	if (store->fd >= 0)
		close(store->fd);
	free(store);
}

/* 0, or -errno. */
static int store_send(int fd, const struct store_message *message)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)message->text, strlen(message->text)};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

	if (message->fd >= 0) {
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &message->fd, sizeof(message->fd));
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void runtime_store_flush(struct runtime_store *store)
{
	while (store->unsent != NULL) {
		if (store_send(store->fd, store->unsent) == -EAGAIN)
			return;
		store_pop(store);
	}
}

/* What cannot be said is not kept: it ends with us, and counts as lost then. */
static void store_tell(struct runtime_store *store, const char *name, int fd, bool stands)
{
	struct store_message *message;

	if (store->fd < 0)
		return;
	message = calloc(1, sizeof(*message));
	if (message == NULL)
		return;
	message->fd = -1;
	if (stands)
		message->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	(void)snprintf(message->text, sizeof(message->text),
		stands ? "FDSTORE=1\nFDPOLL=0\nFDNAME=%s" : "FDSTOREREMOVE=1\nFDNAME=%s", name);
	if (stands && message->fd < 0) {
		free(message);
		return;
	}
	*store->last = message;
	store->last = &message->next;
	runtime_store_flush(store);
}

void runtime_store_lane(void *ctx, uint64_t lane, int32_t pid, int socket, bool stands)
{
	char name[STORE_NAME];

	(void)snprintf(name, sizeof(name), STORE_LANE, lane, pid);
	store_tell(ctx, name, socket, stands);
}

void runtime_store_map(void *ctx, struct set_id set, int fd, bool stands)
{
	char name[STORE_NAME];

	(void)snprintf(name, sizeof(name), STORE_MAP, set.v);
	store_tell(ctx, name, fd, stands);
}

bool runtime_store_keeps(const struct runtime_store *store)
{
	return store != NULL && store->fd >= 0;
}
