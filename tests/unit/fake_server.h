/* SPDX-License-Identifier: MIT */
/*
 * A daemon of a few lines for the tests of libpasid: a thread that speaks the protocol, remembers
 * what it was sent, and misbehaves on demand.
 */
#ifndef TESTS_FAKE_SERVER_H
#define TESTS_FAKE_SERVER_H

#include "fake_record.h"

#include <pasid.pb-c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_RECORDS 4096

struct fake {
	char dir[64], path[96];
	int listener; /* -1: no path */
	int peer;     /* the client's end of a pair; the test's */
	int served;   /* the other end */
	int control[2];
	pthread_t thread;

	/* What it says in hello. */
	uint32_t window, datagram_limit, request_limit, grace_ms;

	/* Misbehaviour, set before or while it runs. */
	atomic_int drop;  /* close the connection on the next so many changes, without an answer */
	atomic_bool deny; /* refuse hello */
	atomic_bool mute; /* do not even answer hello */
	atomic_bool silent;   /* answer nothing but hello */
	atomic_bool stopping; /* refuse everything, as a daemon does before it stops */
	atomic_bool forget;   /* know no resume token */
	atomic_int pending;   /* answer so many changes with PENDING first */
	atomic_bool refuse;   /* refuse the next datagram whole */
	atomic_bool quota;    /* refuse allocations for lack of quota */
	atomic_bool wrong;    /* answer allocations with another operation's result */
	atomic_bool extra_fd; /* send a descriptor that nobody asked for with every reply */
	atomic_int events;    /* send so many events with the next reply */
	atomic_bool hold;     /* keep replies back until released */
	atomic_int map; /* the test's memory that it gives as a set's map; 0: there is no set */
	atomic_uint map_size; /* and says how large it is */

	pthread_mutex_t lock;
	struct fake_record records[FAKE_RECORDS];
	uint32_t count, datagrams, connections;
	Pasid__V1__ToServer *last; /* the last datagram, unpacked */
	uint32_t last_fds;
};

/* With a path to connect to, or as one end of a pair. */
void fake_start(struct fake *fake, bool pair);
void fake_stop(struct fake *fake);
/* The daemon ends, and its socket with it; and it is back at the same place. */
void fake_leave(struct fake *fake);
void fake_return(struct fake *fake);

#endif
