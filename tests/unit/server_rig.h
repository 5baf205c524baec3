/* SPDX-License-Identifier: MIT */
/*
 * The server around a real broker and dispatcher: its loop runs in a thread, the test is the
 * client.
 */
#ifndef PASIDD_TEST_SERVER_RIG_H
#define PASIDD_TEST_SERVER_RIG_H

#include "server.h"
#include "wire.h"

#include <check.h>
#include <sys/socket.h>
#include <sys/un.h>

extern struct sockaddr_un address;
extern struct limits *limits; /* while the server is there */
extern struct server *server;

/* Starts it with limits of connections; or with options and limits that were changed. */
void start(uint32_t connections, uint32_t per_user);
struct server_options server_rig_options(struct limits_config *ret_limits);
void start_with(struct server_options options, const struct limits_config *config);
/* As the daemon is stopped. */
void stop(void);

/* A socket, one that is connected, one that has said hello. */
int client_socket(void);
int client_connect(void);
int client_open(void);
void client_hello(int fd);
void client_ping(int fd, uint64_t id);
/* One datagram; returns how many replies it has, counting only those that say OK. 0: end of file.
 */
size_t client_replies(int fd);
size_t encode_hello(uint8_t *data, size_t room, uint64_t id);
size_t encode_ping(uint8_t *data, size_t room, uint64_t id);

/* main() of a test file: each test has a socket that listens, and what it starts is freed. */
int server_rig_main(
	int argc, char *argv[], const char *name, const TTest *const *tests, size_t count);

#endif
