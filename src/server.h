/* SPDX-License-Identifier: MIT */
/*
 * The loop: listening, timers, the executor's results, the death of peers, shutdown.
 *
 * One wake-up runs everything that is ready, a bounded part of each connection, and then settles
 * once: what ended becomes replies, what is to be sent is sent in batches, what is gone is freed.
 */
#ifndef PASIDD_SERVER_H
#define PASIDD_SERVER_H

#include "clock.h"
#include "dispatch.h"
#include "export_memory.h"
#include "hw/executor.h"

/* A sign of life comes so many times in the time after which the service manager takes us for dead.
 */
#define SERVER_WATCHDOG_PARTS 3
#define SERVER_STOP_MS        500 /* that a shutdown waits for operations; a restart is to be short */
#define SERVER_ACCEPT_MS      1000 /* that accepting rests when there is no room, at most */

struct event_base;
struct server;

struct server_options {
	int listen_fd; /* SOCK_SEQPACKET, listening, non-blocking; stays the caller's */
	int admin_fd;  /* the same; who comes in here is an admin (policy_peer.admitted); -1: none
			*/
	struct broker *broker;
	struct executor *executor;
	struct clock *clock; /* the broker's; the server reads the time into it */
	const struct dispatch_config *dispatch;
	struct export_memory *exports; /* of the broker's port */
	struct audit *audit;           /* NULL: there is no trail */
	struct limits *limits; /* of the dispatcher, too: connections are charged to users */
	bool kept; /* somebody keeps what is to outlive us, and starts us anew when we fail */
	uint32_t hello_ms;
	uint32_t stalled_ms;
	uint32_t received_max; /* descriptors of a connection that are not closed; 0: no limit */
	/* What has ended in hardware, and was none of a client's; NULL: nobody wants to know. */
	void (*ended)(void *ctx, const struct outcome *outcome);
	void *ended_ctx;
};

/* What of the options may be another one while it serves. */
struct server_settings {
	uint32_t hello_ms, stalled_ms, received_max;
	const struct dispatch_config *dispatch; /* see dispatch_configure() */
};

/* What `options` points to is borrowed until server_free(). Returns 0 or -errno. */
int server_new(const struct server_options *options, struct server **ret_server);

/*
 * Serves until server_stop(), SIGTERM or SIGINT; then accepts nothing more, refuses what comes,
 * waits up to SERVER_STOP_MS for what is under way, and returns. 0 or -errno.
 */
int server_run(struct server *server);
/* From within the loop or before it. */
void server_stop(struct server *server);

/* From within the loop; `same` and the result are those of dispatch_configure(). */
uint32_t server_configure(
	struct server *server, const struct server_settings *settings, uint64_t same);
void server_set_notes(struct server *server, const char *const *notes, size_t count);
/* For events of others, each of whose callbacks calls server_wake() before it does anything. */
struct event_base *server_base(struct server *server);
void server_wake(struct server *server);
bool server_is_stopping(const struct server *server);

/* Closes all connections. NULL is fine. */
void server_free(struct server *server);

/* For tests and the log: connections with a socket, and sessions that wait for one. */
uint32_t server_connections(const struct server *server);
uint32_t server_parked(const struct server *server);
uint64_t server_counted(const struct server *server, enum edge_counter counter);

#endif
