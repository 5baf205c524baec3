/* SPDX-License-Identifier: MIT */
/*
 * One connection: datagrams and descriptors between its socket and the dispatcher. No policy: what
 * to do with a connection is the server's decision.
 */
#ifndef PASIDD_CONN_H
#define PASIDD_CONN_H

#include "dispatch.h"
#include "hw/executor.h"

#include <event2/event_struct.h>
#include <sys/socket.h>

#define CONN_BURST_MAX 8 /* datagrams of one client in one wake-up */
/* A turn that cost more (dispatch_cost) is followed by one of a single datagram. */
#define CONN_TURN_COST (DISPATCH_COST_MAX / 4)

/*
 * SCM_MAX_FD, include/net/scm.h. There is always room for all that a datagram can carry:
 * descriptors that do not fit are closed by the kernel in the middle of our recvmsg(), and a close
 * may block.
 */
#define CONN_FDS_MAX 253

struct conn;

/* Which list of the server's a connection is in; each of them is ordered by `since_ms`. */
enum conn_list {
	CONN_HANDED, /* made for one set: nothing has come from its other end yet */
	CONN_NEW,    /* has not said hello */
	CONN_OPEN,
	CONN_STALLED, /* has replies that it does not read */
	CONN_PARKED,  /* the socket is gone, the session waits for another one */
	CONN_GONE,    /* to be freed at the end of the wake-up */
	CONN_LISTS,
};

/* Kept small: an idle connection is this, its link and its session. */
struct conn {
	struct event io;
	struct conn *next, *prev;
	struct server *server;
	union {
		struct link *link;       /* while the socket is there */
		struct session *session; /* CONN_PARKED */
	};
	uint64_t since_ms;
	struct conn_share *share; /* NULL: no descriptors have come */
	/* CONN_STALLED: when `owed` was what it had not read, the low bits of it */
	uint32_t period_ms;
	uint32_t owed;
	int fd, pidfd;
	uint32_t user; /* who is charged for it while there is a socket, else LIMITS_NO_USER */
	enum conn_list list : 8;
	uint8_t burst;    /* datagrams to ask for at the next wake-up */
	uint8_t filled;   /* how often so many came */
	bool eof : 1;     /* the other end is closed and everything was read */
	bool held : 1;    /* not read until its user has room for descriptors and replies */
	bool blocked : 1; /* not everything could be sent */
	bool asking : 1;  /* credentials come with every datagram: nobody has said hello yet */
	bool passed : 1;  /* descriptors were sent */
};

/* What all connections share. Descriptors that nobody will look at go to the executor. */
struct conn_io {
	struct dispatch *dispatch;
	struct executor *executor;
	struct limits *limits;
	uint32_t received_max; /* descriptors of one connection that may wait to be closed */
	struct conn_buffers *buffers;
	/* Told of each datagram of a connection that is `asking`, before the dispatcher is. */
	void (*identify)(void *ctx, struct conn *conn, struct msghdr *header);
	void *ctx;
};

/* Room for a burst; memory only where datagrams were that large. Returns NULL without memory. */
struct conn_buffers *conn_buffers_new(void);
void conn_buffers_free(struct conn_buffers *buffers);

enum conn_result {
	CONN_OK,
	CONN_BLOCKED, /* not everything could be sent */
	CONN_LOST,    /* end of file, or an error: the socket is of no more use */
	CONN_ABUSE,   /* to be disconnected */
	CONN_HELD, /* too many descriptors of it or its user wait to be closed: nothing was read */
};

/*
 * Takes in up to a burst of datagrams. CONN_OK, CONN_LOST, CONN_ABUSE or CONN_HELD. Descriptors
 * that come are charged to the connection's user until they are closed or the broker has them.
 */
enum conn_result conn_receive(const struct conn_io *io, struct conn *conn);
/* Has it room for the descriptors of another datagram, and its user? */
bool conn_has_room(const struct conn_io *io, const struct conn *conn);
/* The dispatcher's port: a descriptor that nobody will look at. */
void conn_dispose(const struct conn_io *io, int fd);
/* What executor_on_closed() told of. */
void conn_closed(const struct conn_io *io, uint64_t owner);

/* Is the other end closed, and everything read? */
bool conn_is_over(struct conn *conn);

/* Sends what the dispatcher has for it, so many bytes. CONN_OK, CONN_BLOCKED or CONN_LOST. */
enum conn_result conn_send(const struct conn_io *io, struct conn *conn, uint32_t *ret_sent);

/*
 * Gives up the socket. What may still lie in it unread, with descriptors of any kind, is closed by
 * a worker: that could block. Until then its user stays charged for the connection; and, where the
 * other end was sent descriptors, until that has read what it was sent, or is closed everywhere.
 */
void conn_close(const struct conn_io *io, struct conn *conn);
/* Are there sockets that were given up and wait for their other ends? */
bool conn_keeps(const struct conn_io *io);
/* Looks at them, and closes those that wait no more, or all. Returns whether some are left. */
bool conn_let_go(const struct conn_io *io, bool all);

#endif
