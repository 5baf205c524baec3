/* SPDX-License-Identifier: MIT */
/*
 * The runtime directory, the lock that makes the daemon the only one, and its socket.
 */
#ifndef PASIDD_RUNTIME_H
#define PASIDD_RUNTIME_H

#include "config.h"

#define RUNTIME_PATH_MAX 108 /* of struct sockaddr_un */
#define RUNTIME_SOCKET   "pasidd.socket"

/* For people: what went wrong and what to do. */
struct runtime_error {
	char text[384];
};

/* Writes the text; returns r. */
__attribute__((format(printf, 3, 4))) int runtime_fail(
	struct runtime_error *ret_error, int r, const char *format, ...);

/*
 * Where the daemon keeps what lives as long as the host's uptime: `asked` when it is not NULL; else
 * what systemd made ($RUNTIME_DIRECTORY), else /run/pasidd for root, else $XDG_RUNTIME_DIR/pasidd,
 * else /tmp/pasidd-UID. Made when it is not there. Fails for a directory that is another user's, or
 * that others may write to: they could put a socket of theirs in place of ours. 0 or -errno, with
 * the error filled.
 */
int runtime_directory(
	const char *asked, char ret_path[static RUNTIME_PATH_MAX], struct runtime_error *ret_error);

/* Sleeps 10 ms and counts them; false, and at once, when they were enough. */
bool runtime_wait(unsigned *spent_ms, unsigned most_ms);

/* How long something may be held in the name of a daemon that has died. */
#define RUNTIME_ORPHAN_MS 5000u

/*
 * Takes the lock in the directory and writes `socket_path` beside our number into it. It lasts
 * until the descriptor is closed. One whose owner has died is waited for. -EBUSY: another one has
 * it; the text says which.
 */
int runtime_lock(const char *directory, const char *socket_path, int *ret_fd,
	struct runtime_error *ret_error);

/*
 * Binds and listens (SOCK_SEQPACKET, non-blocking). Only with the lock held: a socket that nobody
 * listens on any more is replaced. -EADDRINUSE: somebody does, or there is something else.
 */
int runtime_listen(const char *path, const struct config_socket *config, int *ret_fd,
	struct runtime_error *ret_error);

/*
 * Raises the limit of open descriptors as far as it goes, and cuts *connections to what fits: each
 * takes two (its socket and the pidfd of its peer). Returns true when it was cut.
 */
bool runtime_descriptors(uint32_t *connections);
/* How many more there may be beside so many connections and what the daemon needs itself. */
uint32_t runtime_descriptors_left(uint32_t connections);

#endif
