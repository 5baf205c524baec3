/* SPDX-License-Identifier: MIT */
/*
 * A dispatcher over the real broker and the model of the hardware, and clients that speak to it in
 * datagrams.
 */
#ifndef PASIDD_TEST_DISPATCH_RIG_H
#define PASIDD_TEST_DISPATCH_RIG_H

#include "dispatch.h"
#include "fixture.h"
#include "journal.h"
#include "wire.h"

#define RIG_ADMIN_UID       0u
#define RIG_VMM_UID         1000u
#define RIG_OBSERVER_UID    1001u
#define RIG_PARTICIPANT_UID 1002u
#define RIG_HANDED_FD                                                                              \
	500 /* the other end of a connection that was made for a set; then 501, ...                \
	     */
#define RIG_NO_DEADLINE UINT32_MAX

struct rig {
	struct fixture f;
	struct journal journal; /* what the dispatcher records in */
	struct limits_config limits_config;
	struct limits *limits;
	struct dispatch_config config;
	struct dispatch *d;
	uint32_t admin_uid, observer_uid, participant_uid;
	uint64_t random;

	int disposed[1024]; /* descriptors that were given to dispose_fd */
	unsigned disposed_count;
	void *unparked; /* the last one that came back */
	unsigned unparks;
	void (*on_unpark)(void *user); /* NULL: nobody needs to know */

	int32_t dead; /* the process of that number does not live at a restart; 0: all do */
	struct session *revived; /* the last one that was asked for */
	unsigned revivals;

	struct link *handed; /* what the dispatcher had made last */
	unsigned hands;
	bool handed_over;        /* its other end is closed, which was not yet noticed */
	enum reason refuse_hand; /* REASON_NONE: it is made */
	int own_closed[64];
	unsigned own_closed_count;

	/* the audit trail's ports, for who sets them before the dispatcher is made; NULL: none */
	void (*changed)(void *ctx, const struct change *change, uint32_t count,
		const struct dispatch_cause *cause);
	void (*settled)(void *ctx);
	void (*refused)(void *ctx, const struct dispatch_refusal *refusal);
	void (*ended)(void *ctx, const struct outcome *outcome); /* the same */

	/* what the client writes */
	uint8_t datagram[WIRE_DATAGRAM_MAX];
	struct wire_out out;
	uint64_t last_id;

	/* what it read last */
	struct wire_arena arena;
	const Pasid__V1__ToClient *got;
	int got_fd; /* -1: none */
	struct error error;
};

/* The daemon's side; fields of r->config, r->limits_config and r->f.config may be changed between
 * the two. */
void rig_config(struct rig *r);
void rig_open(struct rig *r);
void rig_close(struct rig *r);
/* The daemon dies and starts anew: what is left of it is the state, and the broker. */
void rig_restart(struct rig *r);

/* What the dispatcher takes for unguessable; goes on from r->random. */
void rig_random(void *ctx, void *ret_bytes, size_t size);

struct link *rig_connect(struct rig *r, uint32_t uid);

/* A connection that an admin has made for the set, on which nobody has said hello. */
struct link *rig_hand(struct rig *r, struct link *admin, uint64_t set);
/* What comes next on it is from this user; RIG_NOBODY: without credentials. */
#define RIG_NOBODY UINT32_MAX
void rig_identify(struct rig *r, struct link *link, uint32_t uid);

/* Begins a datagram, adds a request with the next id (returned), sends it. */
void rig_begin(struct rig *r);
uint64_t rig_add(struct rig *r, uint32_t operation, const void *message);
void rig_add_as(struct rig *r, uint64_t id, uint32_t deadline_ms, uint32_t descriptors,
	uint32_t operation, const void *message);
int rig_send(struct rig *r, struct link *link, const int *fds, size_t fd_count);

/* The next datagram for the link into r->got; false: none. */
bool rig_read(struct rig *r, struct link *link);
/* The reply with this id in the next datagram, which must be there. */
const Pasid__V1__Reply *rig_reply(struct rig *r, struct link *link, uint64_t id);

/* Carries everything out and has it answered. */
void rig_run(struct rig *r);
/* One request with descriptors: sent, carried out, answered. */
const Pasid__V1__Reply *rig_call_fds(struct rig *r, struct link *link, uint32_t operation,
	const void *message, const int *fds, size_t fd_count);
const Pasid__V1__Reply *rig_call(
	struct rig *r, struct link *link, uint32_t operation, const void *message);
/* The same, and it must succeed; or must be refused for this reason. */
const Pasid__V1__Reply *rig_ok(
	struct rig *r, struct link *link, uint32_t operation, const void *message);
void rig_refused(struct rig *r, struct link *link, uint32_t operation, const void *message,
	enum reason reason);
void rig_expect(struct rig *r, const Pasid__V1__Reply *reply, enum reason reason);

/* A connection that has said hello in this role, as a user who may. */
struct link *rig_hello(struct rig *r, enum role role);
/* The same with a set of this name. */
struct link *rig_vmm(struct rig *r, const char *name, enum set_mode mode);
uint32_t rig_allocate(struct rig *r, struct link *link);
uint64_t rig_device(struct rig *r, struct link *link, uint32_t rid, int iommufd);

/* All invariants, and nothing is left over. */
void rig_check(struct rig *r);

/* main() of a test file: each test has `r` opened before and checked and closed after. */
int rig_main(struct rig *r, const char *name, const TTest *const *tests, size_t count);

#define OPERATION(name) PASID__V1__REQUEST__OPERATION_##name

#endif
