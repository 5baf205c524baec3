/* SPDX-License-Identifier: MIT */
/*
 * The dispatcher and the broker of the daemon over the hardware model of the unit tests, with
 * clients of several users at it. Everything that happens is asked for by the caller, so that one
 * input is one history; what was promised to be so is checked throughout, and ends the program
 * where it is not.
 *
 * Descriptors are numbers that are counted: each that is sent, and each that the hardware makes,
 * must be disposed of once, or be the hardware's.
 */
#ifndef PASIDD_FUZZ_WORLD_H
#define PASIDD_FUZZ_WORLD_H

#include "../unit/fixture.h"
#include "dispatch.h"
#include "fuzz.h"
#include "wire.h"

#define WORLD_RESERVED_LAST 15u /* numbers begin at 16 */
#define WORLD_RIDS          8u  /* 00:00.0 to 00:00.7 */
#define WORLD_HONEST_RID    1u
#define WORLD_SHARED_RID    2u

/* Whose connections there are. */
enum world_slot {
	WORLD_A, /* two of each hostile user */
	WORLD_A2,
	WORLD_B,
	WORLD_B2,
	WORLD_ADMIN,  /* root: admin, observer, or whatever it says hello as */
	WORLD_HANDED, /* who has the connection that an admin made for a set */
	WORLD_HONEST,
	WORLD_KEEPER, /* the admin who shared the device */
	WORLD_SLOTS,
};

/* What a descriptor that is sent turns out to be. */
enum world_fd_kind {
	WORLD_FD_JUNK,
	WORLD_FD_IOMMUFD, /* number: which one; the honest peer's is 0 */
	WORLD_FD_DEVICE,  /* number: the RID */
	WORLD_FD_MEMFD,
	WORLD_FD_KINDS,
};

enum world_fd_state {
	WORLD_FD_UNUSED,
	WORLD_FD_DAEMON,   /* the dispatcher's or the broker's */
	WORLD_FD_HARDWARE, /* went to a worker */
	WORLD_FD_DISPOSED,
};

#define WORLD_FDS      4096u
#define WORLD_FD_FIRST 100
#define WORLD_MADE     1024u
#define WORLD_MADE_FD  100000 /* of devices that the daemon opened */
#define WORLD_OWN      256u
#define WORLD_OWN_FD   200000 /* of connections that are handed, and of exported maps */
#define WORLD_REQUESTS 4096u
#define WORLD_OWNERS   512u
#define WORLD_NUMBERS  6u

struct world_fd {
	uint8_t kind, number, state;
};

/* A request that was sent on a connection. */
struct world_request {
	uint64_t id;
	uint32_t sent, answered;
	bool is_due; /* its datagram cannot have been refused */
};

struct world_link {
	struct link *link;
	struct session *parked;
	uint32_t requests_count, refused_count, datagrams;
	struct world_request *requests; /* WORLD_REQUESTS of them */
};

struct world_owner {
	uint64_t set;
	uint32_t uid;
};

struct world {
	struct fixture f;
	struct state state;
	struct dispatch *d;
	struct limits *limits;
	struct dispatch_config config;
	struct policy_device devices[WORLD_RIDS];
	uint32_t admin_uid;
	bool has_honest, shutting_down;

	struct world_fd fds[WORLD_FDS];
	unsigned fd_count;
	bool made_disposed[WORLD_MADE], own_closed[WORLD_OWN];
	unsigned own_count;
	uint64_t handed_set;
	bool handed_hidden;
	bool handed_left; /* the other end is closed, and it was not noticed yet */

	struct world_link links[WORLD_SLOTS];
	struct world_owner owners[WORLD_OWNERS];
	unsigned owner_count;
	uint8_t random;

	/* of the honest peer */
	uint64_t honest_set, honest_device, honest_slice;
	uint32_t numbers[WORLD_NUMBERS];
	unsigned honest_bindings;
	uint64_t last_id, honest_acted;

	/* from here on nothing is cleared at the start */
	struct wire_arena arena;
	struct wire_batch batch;
	struct world_request requests[WORLD_SLOTS][WORLD_REQUESTS];
	struct error error;
	uint8_t datagram[WIRE_DATAGRAM_MAX];
};

/* has_honest: the honest peer is there, and root's datagrams are limited to what cannot touch it.
 */
void world_open(struct world *w, bool has_honest);
/* Everybody leaves, the hardware works again, and nothing may be left. */
void world_close(struct world *w);
/* All invariants, and what the honest peer was promised. */
void world_check(struct world *w);

/* ---------------------------------------------------------------- what happens */

void world_connect(struct world *w, enum world_slot slot);
void world_disconnect(struct world *w, enum world_slot slot, bool dead);
/* The process of a parked session has died. */
void world_die(struct world *w, enum world_slot slot);
/* The other end of the handed connection is closed. */
void world_leave(struct world *w);
/* Who sends next on the handed connection cannot be seen. */
void world_hide(struct world *w);
/* A new descriptor of this kind; -1: there are enough. */
int world_fd(struct world *w, unsigned kind, unsigned number);
/* The descriptors are taken. */
void world_send(struct world *w, enum world_slot slot, const uint8_t *data, size_t size,
	const int *fds, size_t fd_count, bool truncated);
/* Reads up to so many datagrams, and judges them. */
void world_read(struct world *w, enum world_slot slot, unsigned count);
/* What is sent there next, NULL: nothing; then it is as if read. For the recorder. */
const struct dispatch_datagram *world_peek(struct world *w, enum world_slot slot);
void world_step(struct world *w, unsigned count, unsigned which);
void world_time(struct world *w, uint32_t ms);
void world_fail(struct world *w, unsigned kind, unsigned status, unsigned skip, unsigned times);
void world_hang(struct world *w, unsigned which);
void world_lose(struct world *w, unsigned which);
void world_refuse_submits(struct world *w, bool refuse);
void world_shut_down(struct world *w);

/* The daemon's port: a descriptor is closed. */
void world_dispose(void *ctx, int fd);

/* ---------------------------------------------------------------- world_honest.c */

void world_honest_open(struct world *w);
void world_honest_check(struct world *w);
/* It does a little, which must succeed. */
void world_honest_act(struct world *w);

/* ---------------------------------------------------------------- world_reply.c */

/* A datagram for a client: well-formed, for it, and about its own things. */
void world_judge(struct world *w, enum world_slot slot, const struct dispatch_datagram *datagram);
uint32_t world_uid(enum world_slot slot);
/* Remembers whose the sets are that there are now. */
void world_note_owners(struct world *w);

#endif
