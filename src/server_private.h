/* SPDX-License-Identifier: MIT */
/* Of server.c and server_*.c only. */
#ifndef PASIDD_SERVER_PRIVATE_H
#define PASIDD_SERVER_PRIVATE_H

#include "audit.h"
#include "conn.h"
#include "server.h"

#include <event2/event.h>

struct server_list {
	struct conn *first, *last;
	uint32_t count;
};

struct server {
	struct server_options options;
	struct event_base *base;
	struct dispatch *dispatch;
	struct conn_io io;
	struct event listener, admin_listener, executor, deaths, timer, sigterm, sigint;
	struct server_list lists[CONN_LISTS];
	uint64_t timer_at;    /* what the timer is armed for, UINT64_MAX: not armed */
	uint64_t accept_at;   /* when accepting goes on, UINT64_MAX: it is on */
	uint64_t stop_at;     /* end of the shutdown, UINT64_MAX: none */
	uint64_t watchdog_ms; /* how often the service manager is told that the loop turns, 0: never
			       */
	uint64_t watchdog_at; /* when it is told next, UINT64_MAX: never */
	uint64_t hold_at;     /* when those who are held are looked at, UINT64_MAX: nobody is */
	uint64_t kept_at;     /* when conn_let_go() is due, UINT64_MAX: nothing is kept */
	int deaths_fd;        /* an epoll descriptor over all pidfds */
	int spare_fd;         /* given up to accept one more when there are no descriptors */
	bool awake, stopping, stopped;
	bool helpless;    /* executor_is_helpless() */
	bool audit_short; /* that its disk is full was logged */
	bool audit_lost;  /* that it cannot be reached was */
	bool freed;       /* a descriptor was closed, or a connection is gone */
};

/* ---------------------------------------------------------------- server.c */

/* Arms the events of a connection by what it may do now. */
void server_watch(struct server *server, struct conn *conn, bool blocked);
/* The socket is of no more use: its session is parked, or ends now with peer_dead. */
void server_drop(struct server *server, struct conn *conn, bool peer_dead);

/* ---------------------------------------------------------------- server_hand.c */

/* Ports of the dispatcher. */
int server_hand(void *ctx, struct set_id set, uint32_t uid, int *ret_fd, struct error *ret_error);
int server_export_fd(void *ctx, struct set_id set, int *ret_fd, struct error *ret_error);
void server_notice_end(void *ctx, void *user);
void server_close_own(void *ctx, int fd);
/* Of struct conn_io. */
void server_identify(void *ctx, struct conn *conn, struct msghdr *header);
/* It has a session: its process is known and watched from here on. -errno: it cannot be watched. */
int server_hand_greeted(struct server *server, struct conn *conn);

/* ---------------------------------------------------------------- server_configure.c */

/* A port of the dispatcher. */
void server_ended(void *ctx, const struct outcome *outcome);

/* ---------------------------------------------------------------- server_hang.c */

#define SERVER_HANGING_NS  1000000000u /* a hardware operation that takes longer is told of */
#define SERVER_HANGING_MAX 8u

/* A port of the dispatcher. */
bool server_hanging(void *ctx, uint32_t index, char *ret_text, size_t size);

/* ---------------------------------------------------------------- server_revive.c */

/* A port of the dispatcher: the process of a session that an earlier run has recorded. */
int server_revive(void *ctx, struct session *session, int32_t pid, uint64_t born, void **ret_user);

/* ---------------------------------------------------------------- server_accept.c */

/* NULL: no memory; the descriptors stay the caller's. */
struct conn *server_conn_new(struct server *server, int fd, int pidfd);
/* Room for another connection of this user? Charges it. STATUS_QUOTA. */
int server_charge(struct server *server, uint32_t uid, struct conn *conn, struct error *ret_error);
/* Listens on both sockets. 0 or -errno. */
int server_listen(struct server *server);
void server_stop_accepting(struct server *server);
void server_resume_accepting(struct server *server);
/* At the end of a wake-up: accepts again when what there was none of is there. */
void server_check_accepting(struct server *server);

/* ---------------------------------------------------------------- server_flow.c */

#define SERVER_UNREAD_ROOM 65536u /* bytes of unread replies that the host always has room for */

/* The connection is not read until its user has room. server_watch() comes next. */
void server_hold(struct server *server, struct conn *conn);
/* Reads those again who need not be held any more. */
void server_release(struct server *server);
/* Not everything could be sent to it, only so many bytes. */
void server_note_blocked(struct server *server, struct conn *conn, uint32_t sent);
/* Closes the sockets that waited for their other ends, and do so no more. */
void server_let_go(struct server *server);
/* Where the host's limit of unread replies is reached, who has not read for longest goes. */
void server_shed_unread(struct server *server);

/* ---------------------------------------------------------------- server_list.c */

/* Moves a connection to the end of a list, as of now. */
void server_move(struct server *server, struct conn *conn, enum conn_list list);
/* Adds a new one. */
void server_insert(struct server *server, struct conn *conn, enum conn_list list);
/* Frees what is in CONN_GONE. */
void server_reap(struct server *server);
/* The connection is charged to nobody any more. */
void server_discharge(struct server *server, struct conn *conn);

/* ---------------------------------------------------------------- server_audit.c */

/* Ports of the dispatcher: into the audit trail, and the journal. */
void server_changed(
	void *ctx, const struct change *change, uint32_t count, const struct dispatch_cause *cause);
void server_settled(void *ctx);
void server_refused(void *ctx, const struct dispatch_refusal *refusal);
/* The record alone; `rid` of the device that it is about, or NULL. */
void server_audit_refusal(
	struct server *server, const struct dispatch_refusal *refusal, const struct rid *rid);
/* Starts and stops of the daemon; name: its version. */
void server_audit_run(struct server *server, enum audit_kind kind);
/* At the end of a wake-up: is the trail complete, as far as we know? */
void server_check_audit(struct server *server);

/* ---------------------------------------------------------------- server_log.c */

/* Logs a change. */
void server_log_changes(struct server *server, const struct change *change, uint32_t count,
	const struct dispatch_cause *cause);
/* Logs a refusal if it is worth it; `rid` of the device that it is about, or NULL. */
void server_log_refusal(struct server *server, const struct dispatch_refusal *refusal,
	const char *operation, const struct rid *rid);
/* Of the dispatcher's ports: an admin has confirmed that no VMM holds a device. */
void server_log_confirmed(void *ctx, const struct actor *actor, bool was_blocked);
/* The same: a session is another process's. */
void server_log_handed_over(
	void *ctx, uint64_t session, struct set_id set, int32_t from, int32_t to);
/* Logs something about a connection. */
__attribute__((format(printf, 4, 5))) void server_log_conn(struct server *server,
	const struct conn *conn, const char *operation, const char *format, ...);

#endif
